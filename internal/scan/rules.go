package scan

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// rules is a folder of rules. What they are compiled to is made anew when a file of them has changed; until then, what is there is used.
type rules struct {
	dir string
	log *slog.Logger

	includes map[string]includes // of each file, as it was when it was read; used by one goroutine at a time
	looked   map[string]stamp    // at the last look
	lost     bool                // the folder could not be read at the last look

	mu       sync.RWMutex
	files    map[string]stamp  // as they were when they were compiled
	wrong    map[string]string // path to what is wrong with it
	used     int
	compiled *compiled // nil when there are none
}

// compiled are rules as yarac makes them.
type compiled struct {
	file *os.File // without a name: it is gone with this process
	mark string   // begins the namespace of each rule, and so each line that tells a match; no file can know it
}

// stamp tells whether a file changed.
type stamp struct {
	size int64
	time time.Time
}

// includes are the files that a file of rules names.
type includes struct {
	of    stamp
	paths []string
}

// lookEvery is how often the folder is looked at. What has changed counts at the second look: it may be half written at the first.
var lookEvery = 2 * time.Second

const (
	compileTime = 30 * time.Second
	fileTime    = 10 * time.Millisecond // more for each file
	siftTime    = 10 * time.Minute      // to find the files that are wrong
	maxRules    = 10_000                // files
	maxPaths    = 1 << 20               // bytes of their paths: what a program may be started with is bounded
	maxTold     = 100                   // of those left out
	maxSource   = 64 << 20              // of a file that is looked through for includes
)

// externals are variables that rules of the field take to be there, for what their own scanners know of a file. A member of an archive has none of
// them for us: they are empty texts, so that the other rules beside them can be used.
var externals = []string{"filename", "filepath", "extension", "filetype", "owner", "md5"}

// padding makes the namespace of the last rule longer than what the C library holds back of what a program says: see [process.scan].
const padding = 16 << 10

func newRules(dir string, log *slog.Logger) (*rules, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir) // WalkDir does not follow one
	if err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	return &rules{dir: dir, log: log, includes: map[string]includes{}}, nil
}

func (r *rules) state() (int, map[string]string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.used, maps.Clone(r.wrong)
}

// watch compiles the rules anew whenever they have changed, until ctx ends; told is called then.
func (r *rules) watch(ctx context.Context, told func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.again(ctx, told)
		}
	}
}

// again compiles the rules if they have changed, and are what they were at the last look.
func (r *rules) again(ctx context.Context, told func()) {
	paths, files, wrong, err := r.look()
	if err != nil {
		if !r.lost {
			r.log.Error("reading the YARA rules; those compiled before stay", "folder", r.dir, "reason", reason(err))
		}
		r.lost = true
		return
	}
	r.lost = false
	settled := maps.Equal(files, r.looked)
	r.looked = files
	r.mu.RLock()
	changed := !maps.Equal(files, r.files)
	r.mu.RUnlock()
	if settled && changed && r.compile(ctx, paths, files, wrong) {
		told()
	}
}

// look returns the files of rules, the stamps of these and of all that they include, and what is wrong with those that cannot be read. It fails when the
// folder itself cannot be read.
func (r *rules) look() (paths []string, files map[string]stamp, wrong map[string]string, err error) {
	files, wrong = map[string]stamp{}, map[string]string{}
	size := 0
	err = filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if path == r.dir {
				return err
			}
			wrong[path] = reason(err)
			files[path] = stamp{} // to be told once, not at each look
			return nil
		}
		if e.IsDir() {
			if path != r.dir && strings.HasPrefix(e.Name(), ".") {
				return fs.SkipDir // .git, or where Kubernetes keeps what its links lead to
			}
			return nil
		}
		if ext := strings.ToLower(filepath.Ext(path)); ext != ".yar" && ext != ".yara" {
			return nil
		}
		info, err := os.Stat(path) // also by a link
		switch {
		case err != nil:
			wrong[path] = reason(err)
			files[path] = stamp{}
		case !info.Mode().IsRegular():
		case len(paths) == maxRules || size > maxPaths:
			wrong[path] = fmt.Sprintf("more than %d files of rules, or %d bytes of their paths", maxRules, maxPaths)
			files[path] = stamp{info.Size(), info.ModTime()}
		default:
			files[path] = stamp{info.Size(), info.ModTime()}
			paths = append(paths, path)
			size += len(path)
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	// What another yarac has compiled is of no use to yara.
	if program, err := exec.LookPath("yarac"); err == nil {
		if info, err := os.Stat(program); err == nil {
			files[program] = stamp{info.Size(), info.ModTime()}
		}
	}
	slices.Sort(paths)
	// What a file includes may be anywhere, and may include more.
	for left := slices.Clone(paths); len(left) > 0 && len(files) < 2*maxRules; {
		path := left[0]
		left = left[1:]
		known, ok := r.includes[path]
		if !ok || known.of != files[path] {
			known = includes{files[path], included(path)}
			r.includes[path] = known
		}
		for _, p := range known.paths {
			if _, seen := files[p]; seen {
				continue
			}
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
				files[p] = stamp{info.Size(), info.ModTime()}
				left = append(left, p)
			}
		}
	}
	maps.DeleteFunc(r.includes, func(path string, _ includes) bool { _, ok := files[path]; return !ok })
	return paths, files, wrong, nil
}

var include = regexp.MustCompile(`(?m)^\s*include\s+"([^"\n]+)"`)

// included returns the files that a file of rules names. One that cannot be read is told by yarac.
func included(path string) (paths []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSource))
	if err != nil || !bytes.Contains(text, []byte("include")) {
		return nil
	}
	for _, m := range include.FindAllSubmatch(text, maxRules) {
		p := string(m[1])
		if !filepath.IsAbs(p) {
			p = filepath.Join(filepath.Dir(path), p)
		}
		paths = append(paths, p)
	}
	return paths
}

// compile compiles the files, all at once; only when that fails, the bad ones are looked for. It reports whether there are others than before.
func (r *rules) compile(ctx context.Context, paths []string, files map[string]stamp, wrong map[string]string) bool {
	good := paths
	next, err := build(ctx, good)
	if err != nil && ctx.Err() == nil {
		sifting, cancel := context.WithTimeout(ctx, siftTime)
		var bad map[string]string
		good, bad = sift(sifting, paths)
		cancel()
		maps.Copy(wrong, bad)
		next, err = build(ctx, good)
	}
	if ctx.Err() != nil { // it is the end
		if err == nil {
			next.close()
		}
		return false
	}
	for k, path := range slices.Sorted(maps.Keys(wrong)) {
		if k == maxTold {
			r.log.Warn("left out of the YARA rules, and not told one by one", "files", len(wrong)-maxTold)
			break
		}
		r.log.Warn("left out of the YARA rules", "file", path, "reason", wrong[path])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files, r.wrong = files, wrong
	if err != nil {
		r.log.Error("the YARA rules do not compile together; those compiled before stay", "reason", err)
		return false
	}
	r.compiled.close()
	r.used, r.compiled = len(good), next
	if r.used == 0 {
		r.log.Warn("no file of YARA rules can be used: *.yar and *.yara are looked for", "folder", r.dir, "left_out", len(wrong))
	} else {
		r.log.Info("YARA rules compiled", "files", len(good), "left_out", len(wrong))
	}
	return true
}

// close lets go of what is compiled, if there is anything.
func (c *compiled) close() {
	if c != nil {
		c.file.Close()
	}
}

// sift returns those of the files that compile, and what is wrong with the others. Files that compile together are not tried one by one.
func sift(ctx context.Context, paths []string) (good []string, wrong map[string]string) {
	wrong = map[string]string{}
	c, err := build(ctx, paths)
	switch {
	case err == nil:
		c.close()
		return paths, wrong
	case ctx.Err() != nil:
		for _, path := range paths {
			wrong[path] = fmt.Sprintf("not compiled within %s, with all others", siftTime)
		}
		return nil, wrong
	case len(paths) == 1:
		wrong[paths[0]] = err.Error()
		return nil, wrong
	}
	half := len(paths) / 2
	for _, part := range [][]string{paths[:half], paths[half:]} {
		fine, bad := sift(ctx, part)
		good = append(good, fine...)
		maps.Copy(wrong, bad)
	}
	return good, wrong
}

// build compiles files together, each in a namespace of its own, so that names may repeat. Without any it returns nil.
func build(ctx context.Context, paths []string) (_ *compiled, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, compileTime+time.Duration(len(paths))*fileTime)
	defer cancel()
	dir, err := os.MkdirTemp("", "spoor-yara-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := &compiled{mark: rand.Text()}
	last, into := filepath.Join(dir, "last"), filepath.Join(dir, "compiled")
	if err := os.WriteFile(last, []byte("rule end { condition: true }\n"), 0o600); err != nil {
		return nil, err
	}
	line := []string{"-w"}
	for _, name := range externals {
		line = append(line, "-d", name+"=")
	}
	for i, path := range paths {
		line = append(line, fmt.Sprintf("%s-%d:%s", c.mark, i, path))
	}
	line = append(line, c.mark+strings.Repeat(endMark, padding)+":"+last, into)
	out := &bounded{most: 16 << 10}
	cmd := exec.CommandContext(ctx, "yarac", line...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("compiling takes too long")
		}
		return nil, errors.New(cmp.Or(out.first(), reason(err)))
	}
	c.file, err = os.Open(into)
	return c, err
}

// reason says for a person what went wrong.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the path is known
	}
	return strings.ToValidUTF8(err.Error(), "\uFFFD")
}
