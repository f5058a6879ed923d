package collect

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"time"

	"spoor/internal/intel"
)

// The bounds of what rpm tells.
const (
	rpmTime  = 2 * time.Minute
	rpmFiles = 4 << 20
)

// readRPM adds which file each rpm package installed, as the program rpm itself tells: its database is its own business. It does nothing where
// the machine has no packages of rpm's; told is false when it has some and rpm does not tell.
func readRPM(ctx context.Context, t *tree, program string, files map[string]packaged) (told bool) {
	if len(t.list("/var/lib/rpm"))+len(t.list("/usr/lib/sysimage/rpm")) == 0 {
		return true
	}
	if program == "" {
		if t.root != nil {
			return false // an image's database would be read by this machine's rpm, with whatever the image put into it
		}
		var err error
		if program, err = exec.LookPath("rpm"); err != nil {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, rpmTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-qa", "--queryformat", `[%{=NAME} %{=VERSION}-%{=RELEASE}\t%{FILEDIGESTS}\t%{FILENAMES}\n]`)
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false
	}
	if err := cmd.Start(); err != nil {
		return false
	}
	merged := mergedFolders(t)
	in := bufio.NewScanner(out)
	n := 0
	for in.Scan() && n < rpmFiles {
		name, rest, _ := strings.Cut(in.Text(), "\t")
		sum, path, ok := strings.Cut(rest, "\t")
		h, err := intel.ParseHash(sum) // folders, links and ghosts have none; MD5 before rpm 4.6, SHA-256 since
		if !ok || err != nil || !strings.HasPrefix(path, "/") {
			continue
		}
		n++
		path = merged(path)
		if _, ok := files[path]; !ok {
			files[path] = packaged{h, "rpm", name}
		}
	}
	complete := in.Err() == nil && n < rpmFiles
	if !complete {
		cancel() // it would wait for a reader
	}
	return cmd.Wait() == nil && complete
}
