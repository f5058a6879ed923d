package collect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/intel"
)

// fingerprint tells whether a file may have changed since it was read. The time of its last change of any kind is part of it: unlike the time of
// its content's, no program can set it back.
type fingerprint struct {
	Size     int64  `json:"s"`
	Modified int64  `json:"m"` // Unix nanoseconds, as the next
	Changed  int64  `json:"c"`
	Inode    uint64 `json:"i"`
	Device   uint64 `json:"d"`
}

// known is what is remembered of the file at one path.
type known struct {
	fingerprint
	Read   int64  `json:"r"` // when, Unix nanoseconds
	Hashes []byte `json:"h"` // MD5, SHA-1, SHA-256, one after the other
	Told   bool   `json:"t,omitempty"`
	Origin string `json:"u,omitempty"` // the address that it was told to have come from

	met bool // in this run
}

func (k *known) hashes() (h intel.Hashes) {
	rest := k.Hashes
	for _, a := range []intel.Algorithm{intel.MD5, intel.SHA1, intel.SHA256} {
		if len(rest) < a.Size() {
			return intel.Hashes{}
		}
		if x, err := intel.HashFromBytes(a, rest[:a.Size()]); err == nil {
			h.Set(x)
		}
		rest = rest[a.Size():]
	}
	return h
}

// memory is what a sensor told so far, and what it read so that it need not read it again. It is written whole, in one step, together with the
// names of the batches that tell of it.
type memory struct {
	Version int               `json:"version"`
	Boot    string            `json:"boot"`
	Starts  map[int]int64     `json:"starts"`  // told starts of this boot: process id to the moment of its start, in ticks
	Files   map[string]*known `json:"files"`   // by path
	Pending []string          `json:"pending"` // batches that the server has not acknowledged, oldest first

	mu   sync.Mutex
	full int
	seen map[int]bool // processes of this run
}

const memoryVersion = 1

// maxKnown bounds the files that a memory holds, about 250 bytes each. A machine with more has the rest left out: what is not remembered would
// be told again each time.
const maxKnown = 200_000

var errFull = errors.New("more files than are remembered")

// settled is how long a file must have been as it is when it was read: the clock of a file system is coarse, and one that changes twice in one of
// its moments looks the same.
const settled = 2 * time.Second

// file returns what is remembered of a path's file, nil when that is nothing or of another file.
func (m *memory) file(key string, now fingerprint) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.Files[key]
	if k == nil || k.fingerprint != now || k.hashes().IsZero() || now.Changed > k.Read-int64(settled) {
		return nil
	}
	k.met = true
	return k
}

// learn remembers a path's file, and keeps that it was told when only its times changed. It returns nil when the memory is full.
func (m *memory) learn(key string, now fingerprint, h *intel.Hashes) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &known{fingerprint: now, Read: time.Now().UnixNano(), Hashes: bytes.Join([][]byte{h.MD5.Bytes(), h.SHA1.Bytes(), h.SHA256.Bytes()}, nil), met: true}
	switch old := m.Files[key]; {
	case old == nil && len(m.Files) >= m.full:
		return nil
	case old != nil && bytes.Equal(old.Hashes, k.Hashes):
		k.Told, k.Origin = old.Told, old.Origin
	}
	m.Files[key] = k
	return k
}

// boot forgets the starts of an earlier boot: their process ids are given anew.
func (m *memory) boot(id string) {
	if m.Boot != id {
		m.Boot, m.Starts = id, map[int]int64{}
	}
	m.seen = map[int]bool{}
}

// start reports whether a process's start is new, and remembers it.
func (m *memory) start(pid int, ticks int64) bool {
	m.seen[pid] = true
	if old, ok := m.Starts[pid]; ok && old == ticks {
		return false
	}
	m.Starts[pid] = ticks
	return true
}

// forget drops what a whole run did not meet: files that are gone, processes that ended.
func (m *memory) forget() {
	for path, k := range m.Files {
		if !k.met {
			delete(m.Files, path)
		}
	}
	for pid := range m.Starts {
		if !m.seen[pid] {
			delete(m.Starts, pid)
		}
	}
}

// loadMemory reads the memory of a folder; a new one where there is none.
func loadMemory(dir string) (*memory, error) {
	m := &memory{Version: memoryVersion, Starts: map[int]int64{}, Files: map[string]*known{}, full: maxKnown}
	path := filepath.Join(dir, memoryName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err == nil && m.Version != memoryVersion {
		err = fmt.Errorf("its version is %d, not %d", m.Version, memoryVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read; without it everything is told again: remove it for that: %w", path, err)
	}
	if m.Starts == nil {
		m.Starts = map[int]int64{}
	}
	if m.Files == nil {
		m.Files = map[string]*known{}
	}
	for path, k := range m.Files {
		if k == nil {
			delete(m.Files, path)
		}
	}
	return m, nil
}

const memoryName = "memory.json"

// save writes the memory, wholly or not at all, also through a crash.
func (m *memory) save(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing what was told: %w", err)
	}
	if err := durable.Replace(filepath.Join(dir, memoryName), b); err != nil {
		return fmt.Errorf("writing what was told: %w", err)
	}
	return nil
}
