package main

import (
	"os"
	"strconv"
	"strings"
)

// caches are the sizes of what a server keeps in memory to answer from, in bytes.
type caches struct {
	blocks  int64 // of the store's files, unpacked
	answers int   // ready to be sent
}

// cachesFor sizes the caches by the memory that there is: a sixteenth for blocks, a sixty-fourth for answers.
func cachesFor(memory int64) caches {
	return caches{blocks: min(max(memory/16, 128<<20), 8<<30), answers: int(min(max(memory/64, 32<<20), 1<<30))}
}

// machineMemory is how many bytes of memory this process may have: the machine's, or less where a control group bounds it; 4 GiB where that
// cannot be told.
func machineMemory() int64 {
	memory := int64(4 << 30)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
					memory = kb << 10
				}
			}
		}
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			memory = min(memory, n)
		}
	}
	return memory
}
