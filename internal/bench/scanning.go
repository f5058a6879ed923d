package bench

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/intel"
	"spoor/internal/scan"
	"spoor/internal/worker"
)

// scanning measures what YARA adds to the inspection of an archive of many small members, against a yara of its own for each of them.
func scanning(ctx context.Context, o *Options, dir string) ([]Result, error) {
	const members, files, apart = 5000, 50, 200
	if _, err := exec.LookPath("yara"); err != nil || len(o.Confine) == 0 {
		o.say("YARA is not installed, or cannot be confined here: its rules are not measured")
		return nil, nil
	}
	o.say("inspecting %d members with %d files of YARA rules", members, files)
	dir = filepath.Join(dir, "rules")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var all strings.Builder
	for k := range files {
		rule := fmt.Sprintf("rule R%d { strings: $a = \"marker number %d \" $b = { 4d 5a %02x %02x 10 20 } condition: any of them }\n", k, k, k, k)
		all.WriteString(rule)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yar", k)), []byte(rule), 0o600); err != nil {
			return nil, err
		}
	}
	name := filepath.Join(dir, "members.zip")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	z := zip.NewWriter(f)
	text := func(k int) string {
		return fmt.Sprintf("member %d\n", k) + strings.Repeat(fmt.Sprintf("line %d of a small text\n", k), k%100) + fmt.Sprintf("marker number %d \n", k%(10*files))
	}
	for k := range members {
		w, err := z.Create(fmt.Sprintf("%d.txt", k))
		if err == nil {
			_, err = w.Write([]byte(text(k)))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		return nil, err
	}
	s, err := scan.New(scan.Config{Rules: dir, Confine: o.Confine, Scratch: dir})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var asked time.Duration // by the one worker
	c := worker.Config{Command: o.Worker, Workers: 1, Scratch: dir, Scan: func(ctx context.Context, f *os.File, size int64) ([]intel.Detection, []string) {
		start := time.Now()
		defer func() { asked += time.Since(start) }()
		return s.Scan(ctx, f, size)
	}}
	took, _, _, err := inspectWith(ctx, c, []string{name})
	if err != nil {
		return nil, err
	}
	one, source := filepath.Join(dir, "one.txt"), filepath.Join(dir, "all.source")
	if err := os.WriteFile(source, []byte(all.String()), 0o600); err != nil {
		return nil, err
	}
	compiled := filepath.Join(dir, "all.compiled")
	if out, err := exec.CommandContext(ctx, "yarac", source, compiled).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("yarac: %w: %s", err, out)
	}
	var peer time.Duration
	for k := range apart {
		if err := os.WriteFile(one, []byte(text(k)), 0o600); err != nil {
			return nil, err
		}
		start := time.Now()
		if out, err := exec.CommandContext(ctx, "yara", "-C", compiled, one).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("yara: %w: %s", err, out)
		}
		peer += time.Since(start)
	}
	return []Result{
		atLeast("small files matched with 50 YARA rules", members/asked.Seconds(), "files/s", "a yara for each, rules compiled, no sandbox", apart/peer.Seconds(), 1),
		told("inspection of a zip of 5000 of them, one worker", members/took.Seconds(), "files/s"),
	}, nil
}
