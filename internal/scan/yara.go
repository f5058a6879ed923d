package scan

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
)

// yara holds a folder's rules, compiled. They are compiled anew when a file of them changes.
type yara struct {
	dir     string
	confine []string
	log     *slog.Logger
	temp    string // of what is compiled

	mu      sync.Mutex
	looked  time.Time
	files   map[string]stamp  // as they were when compiled
	wrong   map[string]string // path to what is wrong with it
	used    int
	current string // the compiled rules, "" when there are none
	serial  int
}

// stamp tells whether a file changed.
type stamp struct {
	size int64
	time time.Time
}

const (
	lookEvery   = 5 * time.Second // at the folder, at most
	compileTime = time.Minute
	maxRules    = 10_000 // files
	maxOutput   = 1 << 20
	maxMatches  = 200 // detections of one file
)

func newYARA(dir string, confine []string, log *slog.Logger) (*yara, error) {
	for _, program := range []string{"yara", "yarac"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("the rules of %s need the programs yara and yarac (Debian's package yara): %w", dir, err)
		}
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	temp, err := os.MkdirTemp("", "spoor-yara-")
	if err != nil {
		return nil, fmt.Errorf("compiling the rules: %w", err)
	}
	y := &yara{dir: dir, confine: confine, log: log, temp: temp, files: map[string]stamp{}, wrong: map[string]string{}}
	y.rules(context.Background())
	return y, nil
}

func (y *yara) close() { _ = os.RemoveAll(y.temp) }

func (y *yara) state() (int, map[string]string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.used, maps.Clone(y.wrong)
}

// rules returns the compiled rules as they stand now, "" when there are none.
func (y *yara) rules(ctx context.Context) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	if time.Since(y.looked) < lookEvery {
		return y.current
	}
	y.looked = time.Now()
	files := map[string]stamp{}
	err := filepath.WalkDir(y.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := strings.ToLower(filepath.Ext(path)); e.IsDir() || ext != ".yar" && ext != ".yara" {
			return nil
		}
		info, err := os.Stat(path) // also by a link
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if len(files) < maxRules {
			files[path] = stamp{info.Size(), info.ModTime()}
		}
		return nil
	})
	if err != nil {
		y.log.Error("reading the YARA rules; those read before stay", "folder", y.dir, "error", err)
		return y.current
	}
	if maps.Equal(files, y.files) {
		return y.current
	}
	y.compile(ctx, files)
	return y.current
}

// compile compiles each file by itself, to know the bad ones, and then the good ones together.
func (y *yara) compile(ctx context.Context, files map[string]stamp) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), compileTime)
	defer cancel()
	wrong := map[string]string{}
	var good []string
	probe := filepath.Join(y.temp, "probe")
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if y.files[path] == files[path] && y.wrong[path] == "" { // it was good before
			good = append(good, path)
			continue
		}
		if err := yarac(ctx, probe, path); err != nil {
			wrong[path] = err.Error()
			y.log.Warn("a file of YARA rules is left out", "file", path, "reason", err)
			continue
		}
		good = append(good, path)
	}
	y.serial++
	next := filepath.Join(y.temp, fmt.Sprintf("rules-%d", y.serial))
	arguments := make([]string, len(good))
	for i, path := range good {
		arguments[i] = fmt.Sprintf("f%d:%s", i, path) // a namespace a file, so that names may repeat
	}
	if len(good) > 0 {
		if err := yarac(ctx, next, arguments...); err != nil {
			y.log.Error("the YARA rules do not compile together; those compiled before stay", "reason", err)
			y.files, y.wrong = files, wrong
			return
		}
	} else {
		next = ""
	}
	if y.current != "" {
		old := y.current
		time.AfterFunc(2*scanTime, func() { _ = os.Remove(old) }) // scans under way read it
	}
	y.files, y.wrong, y.used, y.current = files, wrong, len(good), next
	y.log.Info("YARA rules compiled", "files", len(good), "left_out", len(wrong))
}

func yarac(ctx context.Context, into string, from ...string) error {
	out, err := exec.CommandContext(ctx, "yarac", append(append([]string{"-w"}, from...), into)...).CombinedOutput()
	if err == nil {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return errors.New(strings.ToValidUTF8(cmp.Or(first, err.Error()), "\uFFFD"))
}

// scan matches the rules against a file, in a program of its own without rights.
func (y *yara) scan(ctx context.Context, f *os.File, size int64) ([]intel.Detection, error) {
	rules := y.rules(ctx)
	if rules == "" || size == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	const target = "/proc/self/fd/3" // the first of the extra files
	program, err := exec.LookPath("yara")
	if err != nil {
		return nil, err
	}
	line := []string{program, "-C", "-w", "-m", "--timeout=" + strconv.Itoa(int(scanTime.Seconds())), rules, target}
	if len(y.confine) > 0 {
		line = slices.Concat(y.confine, []string{rules, target, "--"}, line)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	if len(y.confine) > 0 {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{f}
	var said, wrong bounded
	cmd.Stdout, cmd.Stderr = &said, &wrong
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(wrong.String()), "\n")
		return nil, errors.New(strings.ToValidUTF8(cmp.Or(first, err.Error()), "\uFFFD"))
	}
	return matches(said.String(), target), nil
}

// matches reads what yara prints: a line a match, "RULE [name=value,…] TARGET". A text in it may hold anything but a line break.
func matches(said, target string) (found []intel.Detection) {
	for line := range strings.Lines(said) {
		line = strings.TrimSuffix(strings.TrimRight(line, "\r\n"), " "+target)
		rule, meta, ok := strings.Cut(line, " ")
		if !ok || rule == "" || !strings.HasPrefix(meta, "[") {
			continue
		}
		if len(found) == maxMatches {
			break
		}
		d := intel.Detection{Name: rule, Method: "yara", Zone: intel.Orange}
		values := metaOf(meta)
		if score, err := strconv.Atoi(values["score"]); err == nil {
			switch {
			case score >= 75:
				d.Zone = intel.Red
			case score < 60:
				d.Zone = intel.Yellow
			}
		}
		var z intel.Zone
		if values["zone"] != "" && z.UnmarshalText([]byte(values["zone"])) == nil {
			d.Zone = z
		}
		if u := values["reference"]; strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
			d.URL = u
		}
		found = append(found, d)
	}
	return found
}

// metaOf reads "[author=\"x\",score=75,shared=true]". In a text a quote is \", and a byte that is not printed is \xHH.
func metaOf(s string) map[string]string {
	values := map[string]string{}
	s = strings.TrimPrefix(s, "[")
	for s != "" && s[0] != ']' {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		var value strings.Builder
		if strings.HasPrefix(rest, `"`) {
			rest = rest[1:]
			for rest != "" && rest[0] != '"' {
				if rest[0] == '\\' && len(rest) > 1 {
					rest = rest[1:]
				}
				value.WriteByte(rest[0])
				rest = rest[1:]
			}
			rest = strings.TrimPrefix(rest, `"`)
		} else {
			end := strings.IndexAny(rest, ",]")
			if end < 0 {
				break
			}
			value.WriteString(rest[:end])
			rest = rest[end:]
		}
		name = strings.TrimSpace(name) // a number has a blank before its sign of equality
		if _, again := values[name]; !again {
			values[name] = value.String()
		}
		s = strings.TrimPrefix(rest, ",")
	}
	return values
}

// bounded keeps the beginning of what a program says.
type bounded struct{ bytes.Buffer }

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, maxOutput-b.Len()))])
	return len(p), nil
}
