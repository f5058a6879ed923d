//go:build linux

package collect_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/collect"
	"spoor/internal/intel"
)

// receiver takes batches as a server does: each name once.
type receiver struct {
	fail error
	// lost makes an answer get lost after the batch was taken.
	lost  bool
	taken map[string]bool
	sink
}

func (r *receiver) send(_ context.Context, batch string, ndjson []byte) error {
	if r.fail != nil {
		return r.fail
	}
	if !r.taken[batch] {
		if r.taken == nil {
			r.taken = map[string]bool{}
		}
		r.taken[batch] = true
		for line := range bytes.Lines(ndjson) {
			o, err := intel.ParseObservation(line)
			if err != nil {
				return err
			}
			if err := r.Observe(o); err != nil {
				return err
			}
		}
	}
	if r.lost {
		return errors.New("the answer is lost")
	}
	return nil
}

// take returns what came since.
func (r *receiver) take() []string {
	lines := r.lines
	r.lines = nil
	slices.Sort(lines)
	return lines
}

// sensor looks at the machine once.
func (m machine) sensor(r *receiver, dir string, change func(*collect.Sensor)) error {
	m.Helper()
	s := &collect.Sensor{Dir: dir, Send: r.send, Options: collect.Options{Root: m.root, Host: "h", Path: "/usr/bin", Folders: []string{}}}
	s.Now = func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	if change != nil {
		change(s)
	}
	return s.Run(m.Context())
}

// running makes up a machine on which two programs run.
func running(t *testing.T) machine {
	m := newMachine(t)
	m.file("proc/stat", "btime 1777600000\n", 0o644)
	m.file("proc/sys/kernel/random/boot_id", "boot-1\n", 0o644)
	m.file("usr/bin/a", "aaa", 0o755)
	m.file("usr/bin/b", "bbb", 0o755)
	m.process(1, 0, "a", "/usr/bin/a", 1)
	m.process(2, 1, "b", "/usr/bin/b", 2)
	return m
}

var firstLook = []string{
	"12:00:00 =aaa at /usr/bin/a on h", "=aaa size 3", "12:00:00 =bbb at /usr/bin/b on h", "=bbb size 3",
	"01:46:42 =aaa /usr/bin/a started =bbb /usr/bin/b",
}

// TestNothingTwice: each look tells only what is new since the last one, over restarts of the sensor and of the machine.
func TestNothingTwice(t *testing.T) {
	m := running(t)
	dir := t.TempDir()
	var r receiver
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"the first look", func() {}, firstLook},
		{"nothing happened", func() {}, nil},
		{"a process of known files started", func() { m.process(3, 1, "b", "/usr/bin/b", 30) }, []string{"01:47:10 =aaa /usr/bin/a started =bbb /usr/bin/b"}},
		{"it ended, and its number was given anew", func() {
			os.RemoveAll(filepath.Join(m.root, "proc/3"))
			m.process(3, 2, "a", "/usr/bin/a", 40)
		}, []string{"01:47:20 =bbb /usr/bin/b started =aaa /usr/bin/a"}},
		{"a file was touched", func() { os.Chtimes(filepath.Join(m.root, "usr/bin/b"), old, old) }, nil},
		{"a file changed, with its size and times as they were", func() {
			m.file("usr/bin/b", "ccc", 0o755)
			os.Chtimes(filepath.Join(m.root, "usr/bin/b"), old, old)
		}, []string{"12:00:00 =ccc at /usr/bin/b on h", "=ccc size 3"}},
		{"a file came", func() { m.file("usr/bin/d", "dddd", 0o755) }, []string{"12:00:00 =dddd at /usr/bin/d on h", "=dddd size 4"}},
		{"it went", func() { os.Remove(filepath.Join(m.root, "usr/bin/d")) }, nil},
		{"it came back", func() { m.file("usr/bin/d", "dddd", 0o755) }, []string{"12:00:00 =dddd at /usr/bin/d on h", "=dddd size 4"}},
		{"the machine started anew", func() {
			m.file("proc/sys/kernel/random/boot_id", "boot-2\n", 0o644)
			m.file("proc/stat", "btime 1777600100\n", 0o644)
			os.RemoveAll(filepath.Join(m.root, "proc/3"))
		}, []string{"01:48:22 =aaa /usr/bin/a started =ccc /usr/bin/b"}},
		{"and nothing happened", func() {}, nil},
	} {
		step.do()
		if err := m.sensor(&r, dir, nil); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got, want := r.take(), told(step.want...); !slices.Equal(got, want) {
			t.Errorf("%s: told\n\t%s\nwant\n\t%s", step.name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

// TestOriginOnce: where a file came from is told once, also when that is only said later.
func TestOriginOnce(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	m.file("etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n", 0o644)
	m.file("home/ann/Downloads/x", "x", 0o644)
	m.file("usr/bin/y", "y", 0o755)
	m.attribute("home/ann/Downloads/x", "user.xdg.origin.url", "https://cdn.example/1")
	var r receiver
	look := func(want ...string) {
		t.Helper()
		if err := m.sensor(&r, dir, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := r.take(), told(want...); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	look("12:00:00 =x at /home/ann/Downloads/x on h", "=x size 1", "=x from https://cdn.example/1 by ", "12:00:00 =y at /usr/bin/y on h", "=y size 1")
	look()
	m.attribute("home/ann/Downloads/x", "user.xdg.origin.url", "https://cdn.example/2")
	look("=x from https://cdn.example/2 by ")
	look()
}

// TestReceiverAway: what was found is kept until it is acknowledged, through restarts, and what was taken without an answer counts once.
func TestReceiverAway(t *testing.T) {
	m := running(t)
	dir := t.TempDir()
	away := errors.New("connection refused")
	r := receiver{fail: away}
	if err := m.sensor(&r, dir, nil); !errors.Is(err, away) {
		t.Fatal(err)
	}
	m.file("usr/bin/d", "dddd", 0o755)
	if err := m.sensor(&r, dir, nil); !errors.Is(err, away) {
		t.Fatal(err)
	}
	r.fail, r.lost = nil, true
	if err := m.sensor(&r, dir, nil); err == nil {
		t.Fatal("a lost answer is taken for one")
	}
	r.lost = false
	if err := m.sensor(&r, dir, nil); err != nil {
		t.Fatal(err)
	}
	want := told(append(slices.Clone(firstLook), "12:00:00 =dddd at /usr/bin/d on h", "=dddd size 4")...)
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if left, err := os.ReadDir(filepath.Join(dir, "pending")); err != nil || len(left) > 0 {
		t.Errorf("what was acknowledged is still there: %v, %v", left, err)
	}
	// A batch that is refused for good is given up; the next ones go on.
	r.fail = collect.ErrRefused
	m.file("usr/bin/e", "e", 0o755)
	if err := m.sensor(&r, dir, nil); err != nil {
		t.Error(err)
	}
	r.fail = nil
	m.file("usr/bin/f", "f", 0o755)
	if err := m.sensor(&r, dir, nil); err != nil || len(r.lines) != 2 {
		t.Errorf("%q, %v", r.lines, err)
	}
}

// TestCutOff: a look that was cut off before it was noted leaves nothing, and is told whole by the next.
func TestCutOff(t *testing.T) {
	m := running(t)
	dir := t.TempDir()
	var r receiver
	if err := os.MkdirAll(filepath.Join(dir, "pending"), 0o700); err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(dir, "pending", "collect-0123.ndjson") // as a crash leaves it: written, and not in the memory
	if err := os.WriteFile(leftover, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &collect.Sensor{Dir: dir, Send: r.send, Options: collect.Options{Root: m.root, Host: "h", Path: "/usr/bin", Folders: []string{}}}
	s.Progress = func(int, string) { cancel() }
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) || len(r.lines) > 0 {
		t.Fatalf("%v, %q", err, r.lines)
	}
	if err := m.sensor(&r, dir, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := r.take(), told(slices.Clone(firstLook)...); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was cut off is still there: %v", err)
	}
}

// TestSensorFolder: two sensors never share a folder, and a damaged memory is told of, not thrown away.
func TestSensorFolder(t *testing.T) {
	m := running(t)
	dir := t.TempDir()
	var r receiver
	var within error
	if err := m.sensor(&r, dir, func(s *collect.Sensor) {
		s.Told = func(*collect.Summary) { within = m.sensor(&receiver{}, dir, nil) }
	}); err != nil {
		t.Fatal(err)
	}
	if within == nil || !strings.Contains(within.Error(), "another sensor's") {
		t.Errorf("a second sensor: %v", within)
	}
	for _, damaged := range []string{"", "{", `{"version":2}`, `{"version":1,"files":[]}`} {
		if err := os.WriteFile(filepath.Join(dir, "memory.json"), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.sensor(&r, dir, nil); err == nil || !strings.Contains(err.Error(), "memory.json cannot be read") {
			t.Errorf("%q: %v", damaged, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.json"), []byte(`{"version":1,"files":{"/usr/bin/a":null,"/usr/bin/b":{"h":"AAAA","t":true}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.take()
	if err := m.sensor(&r, dir, nil); err != nil || len(r.lines) != 5 {
		t.Errorf("%q, %v", r.lines, err)
	}
}
