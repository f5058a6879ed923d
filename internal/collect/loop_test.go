//go:build linux

package collect

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestBackOff: while the receiver is away the sensor waits longer each time, but no longer than until its next look, and begins anew when it is back.
func TestBackOff(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/a"), []byte("a"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	away := errors.New("away")
	fails := []error{away, away, away, away, nil}
	var waits []time.Duration
	s := &Sensor{Dir: t.TempDir(), Every: 24 * time.Hour, Options: Options{Root: root}}
	s.Send = func(context.Context, string, []byte) error {
		err := fails[0]
		fails = fails[1:]
		return err
	}
	s.wait = func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d.Round(time.Hour/60))
		if len(fails) == 0 {
			cancel()
		}
		return ctx.Err()
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 24 * time.Hour}; !slices.Equal(waits, want) {
		t.Errorf("it waited %v, want %v", waits, want)
	}
}

// TestFull: a machine with more files than are remembered has the rest left out, rather than told again each time.
func TestFull(t *testing.T) {
	m, err := loadMemory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m.full = 1
	h := (&known{Hashes: make([]byte, 68)}).hashes()
	if m.learn("/a", fingerprint{Size: 1}, &h) == nil || m.learn("/b", fingerprint{Size: 1}, &h) != nil || m.learn("/a", fingerprint{Size: 2}, &h) == nil {
		t.Error("the bound does not hold")
	}
	if late := (fingerprint{Size: 2, Changed: time.Now().UnixNano()}); m.learn("/a", late, &h) == nil || m.file("/a", late) != nil {
		t.Error("a file that changed a moment ago is taken for read")
	}
	if m.learn("/a", fingerprint{Size: 2}, &h); m.file("/a", fingerprint{Size: 1}) != nil || m.file("/a", fingerprint{Size: 2}) == nil {
		t.Error("a file is taken for what it was before")
	}
}

// TestHumble lowers this process for good, as the sensor does.
func TestHumble(t *testing.T) {
	if err := Humble(); err != nil {
		t.Fatal(err)
	}
}
