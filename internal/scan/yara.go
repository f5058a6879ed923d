package scan

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
)

// yara matches a folder's rules, by processes that read one file after another: to start one takes a hundred times as long as to read a small file.
type yara struct {
	rules   *rules
	program string
	confine []string
	scratch string
	end     func() // of the watch over the rules

	mu   sync.Mutex
	idle []*process // at most as many as there have been scans at once
}

const (
	// copied is the size up to which a file is copied to where a process reads it. A larger one has a process of its own: it takes longer to read than
	// that takes to start, and no room is needed for it.
	copied     = 16 << 20
	fresh      = 1000     // files until a process is replaced, as those of internal/worker are
	maxLine    = 64 << 10 // of a line that tells a match; the rest of its meta is not looked at
	maxOutput  = 64 << 20 // of one file
	maxMatches = 200      // detections of one file
)

// tryTime is how long the rules may take for a byte, when they are tried at first, without a warning.
var tryTime = 20 * time.Second

// What a process finds open.
const (
	list   = "/proc/self/fd/0" // a pipe: a line of it is a file to be read
	target = "/proc/self/fd/3" // the file
	loaded = "/proc/self/fd/4" // the compiled rules
)

// endMark stands, again and again, behind the mark of the namespace whose rule is matched last, by every file.
const endMark = "="

func newYARA(c *Config) (*yara, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("YARA rules are matched on Linux only")
	}
	y := &yara{confine: c.Confine, scratch: c.Scratch}
	for _, program := range []string{"yarac", "yara"} {
		var err error
		if y.program, err = exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("the rules of %s need the programs yara and yarac (Debian's package yara): %w", c.Rules, err)
		}
	}
	var err error
	if y.rules, err = newRules(c.Rules, c.Log); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	paths, files, wrong, err := y.rules.look()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	y.rules.looked = files
	y.rules.compile(ctx, paths, files, wrong)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		y.rules.watch(ctx, y.drain)
	}()
	y.end = func() { cancel(); <-watched }
	// What cannot be started now would cost each file a note.
	trying, done := context.WithTimeout(ctx, tryTime)
	defer done()
	p, err := y.start(nil)
	if err == nil && p != nil {
		_, err = p.scan(trying, strings.NewReader("."), 1)
		y.put(p, err)
		if err != nil && trying.Err() != nil {
			c.Log.Warn("the YARA rules take long for a file of one byte", "folder", c.Rules, "at_least", tryTime)
			err = nil
		}
	}
	if err != nil {
		y.close()
		return nil, fmt.Errorf("trying the YARA rules: %w", err)
	}
	return y, nil
}

func (y *yara) close() {
	y.end()
	y.drain()
	y.rules.mu.Lock()
	defer y.rules.mu.Unlock()
	y.rules.compiled.close()
	y.rules.compiled = nil
}

// drain ends the processes that have nothing to do.
func (y *yara) drain() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, p := range y.idle {
		p.kill()
	}
	y.idle = nil
}

// take returns a process that has nothing to do, nil when there is none with the rules as they are now.
func (y *yara) take() *process {
	y.rules.mu.RLock()
	defer y.rules.mu.RUnlock()
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.idle) == 0 || y.idle[len(y.idle)-1].rules != y.rules.compiled {
		return nil // others are about to be drained
	}
	p := y.idle[len(y.idle)-1]
	y.idle = y.idle[:len(y.idle)-1]
	return p
}

// put takes a process back, of whose last scan err came. One that has failed, that has read enough or that has other rules than there are now is ended.
func (y *yara) put(p *process, err error) {
	y.rules.mu.RLock()
	defer y.rules.mu.RUnlock() // so that the rules change before this, or what is put back is drained afterwards
	if err != nil || p.scans >= fresh || p.rules != y.rules.compiled {
		p.kill()
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.idle = append(y.idle, p)
}

// scan matches the rules against a file. What a process that has read others fails at is tried again by a new one, whose word counts: so the answer is
// that of a process which reads nothing else.
func (y *yara) scan(ctx context.Context, f *os.File, size int64) ([]intel.Detection, error) {
	if size == 0 {
		return nil, nil
	}
	if size <= copied {
		if p := y.take(); p != nil {
			found, err := p.scan(ctx, f, size)
			y.put(p, err)
			if err == nil {
				return found.told()
			}
			if ctx.Err() != nil {
				return nil, err
			}
		}
	}
	var own *os.File
	if size > copied {
		if _, err := f.Stat(); err != nil { // it would read something else in its place
			return nil, fmt.Errorf("not asked: %w", err)
		}
		own = f
	}
	p, err := y.start(own)
	if err != nil {
		return nil, fmt.Errorf("not asked: %w", err)
	}
	if p == nil {
		return nil, nil
	}
	found, err := p.scan(ctx, f, size)
	if own != nil {
		p.kill()
	} else {
		y.put(p, err)
	}
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return found.told()
}

// process is a yara that waits for files to read.
type process struct {
	rules   *compiled
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	said    *complaints
	scratch *os.File // where it reads what it is given; nil when it reads another file
	buffer  []byte
	scans   int
}

// start starts a process that reads f, or, when that is nil, what it is given. It returns nil when there are no rules.
func (y *yara) start(f *os.File) (_ *process, err error) {
	y.rules.mu.RLock()
	defer y.rules.mu.RUnlock() // the rules stay open
	if y.rules.compiled == nil {
		return nil, nil
	}
	p := &process{rules: y.rules.compiled}
	defer func() {
		if err != nil && p.scratch != nil {
			p.scratch.Close()
		}
	}()
	if f == nil {
		if p.scratch, err = os.CreateTemp(y.scratch, "spoor-yara-"); err != nil {
			return nil, err
		}
		f, err = os.Open(p.scratch.Name()) // to be read only
		_ = os.Remove(p.scratch.Name())
		if err != nil {
			return nil, err
		}
		defer f.Close()
	}
	line := []string{y.program, "-C", "-w", "-m", "-e", "-p", "1", "--scan-list", loaded, list}
	if len(y.confine) > 0 {
		line = slices.Concat(y.confine, []string{target, loaded, "--"}, line)
	}
	p.cmd = exec.Command(line[0], line[1:]...)
	if len(y.confine) > 0 {
		p.cmd.Args[0] = os.Args[0]
	}
	p.cmd.Env = []string{}
	p.cmd.ExtraFiles = []*os.File{f, p.rules.file}
	p.said = &complaints{process: p, bounded: bounded{most: 16 << 10}}
	p.cmd.Stderr = p.said
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, maxLine)
	return p, p.cmd.Start()
}

// kill ends a process, whatever it is at.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	_ = p.cmd.Wait()
	if p.scratch != nil {
		p.scratch.Close()
	}
}

// scan has the process read a file, whose bytes r has when the process does not read it where it is. After an error it is of no more use.
//
// It prints a line a match, in the order of the rules, and nothing when it has read the file; and the C library holds back what does not fill its
// buffer. So the last rule is one that each file matches, in a namespace whose name is longer than any buffer: when its line has begun, every line before
// it is here. The end of that line comes before the next file's.
func (p *process) scan(ctx context.Context, r io.ReaderAt, size int64) (m matches, err error) {
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	if p.scratch != nil {
		if err := p.fill(r, size); err != nil {
			return m, fmt.Errorf("giving it a copy: %w", err)
		}
	}
	p.scans++
	if _, err := io.WriteString(p.in, target+"\n"); err != nil {
		return m, p.why(err)
	}
	left := int64(maxOutput)
	if p.scans > 1 {
		if _, err := p.line(&left); err != nil {
			return m, p.why(err)
		}
	}
	for end := p.rules.mark + endMark; ; {
		begin, err := p.out.Peek(len(end))
		if err != nil {
			return m, p.why(err)
		}
		if string(begin) == end {
			break
		}
		line, err := p.line(&left)
		if err != nil {
			return m, p.why(err)
		}
		if of, ok := strings.CutPrefix(line, p.rules.mark+"-"); ok {
			_, text, _ := strings.Cut(of, ":")
			m.add(text)
		}
	}
	if p.scratch != nil && size > 1<<20 {
		_ = p.scratch.Truncate(0) // only gives room back
	}
	return m, nil
}

// fill lays a file where the process reads it.
func (p *process) fill(r io.ReaderAt, size int64) error {
	if p.buffer == nil {
		p.buffer = make([]byte, 64<<10)
	}
	for at := int64(0); at < size; {
		n, err := r.ReadAt(p.buffer[:min(int64(len(p.buffer)), size-at)], at)
		if n == 0 {
			return cmp.Or(err, io.ErrNoProgress)
		}
		if _, err := p.scratch.WriteAt(p.buffer[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return p.scratch.Truncate(size)
}

// line reads a line, of which it returns the beginning when it is long.
func (p *process) line(left *int64) (string, error) {
	part, err := p.out.ReadSlice('\n')
	line := string(part)
	for ; ; part, err = p.out.ReadSlice('\n') {
		if *left -= int64(len(part)); *left < 0 {
			return "", fmt.Errorf("it says more than %d MiB", maxOutput>>20)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// why ends a process and says what it died of, when err is that nothing more comes from it.
func (p *process) why(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "broken pipe") {
		return err
	}
	_ = p.cmd.Wait() // all that it said is here then; how it ended is asked of its state
	if first := p.said.first(); first != "" {
		return errors.New(strings.TrimPrefix(first, "error scanning "+target+": "))
	}
	return fmt.Errorf("the program has ended: %s", p.cmd.ProcessState)
}

// matches are what the rules say of a file.
type matches struct {
	found []intel.Detection
	more  int // than are told
}

// add takes what is printed of a match.
func (m *matches) add(line string) {
	d, ok := match(line)
	switch {
	case !ok || slices.Contains(m.found, d): // the same rule may stand in several files
	case len(m.found) < maxMatches:
		m.found = append(m.found, d)
	default:
		m.more++
	}
}

func (m *matches) told() ([]intel.Detection, error) {
	if m.more > 0 {
		return m.found, fmt.Errorf("%d rules more match than the %d that are told", m.more, maxMatches)
	}
	return m.found, nil
}

// identifier is what a rule can be called.
var identifier = regexp.MustCompile(`^[A-Za-z_]\w{0,127}$`)

// match reads what is printed of a match: "RULE [name=value,…] TARGET".
func match(line string) (d intel.Detection, ok bool) {
	rule, meta, ok := strings.Cut(line, " ")
	if !ok || !identifier.MatchString(rule) || !strings.HasPrefix(meta, "[") {
		return d, false
	}
	d = intel.Detection{Name: rule, Method: "yara", Zone: intel.Orange}
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
	if values["zone"] != "" && z.UnmarshalText([]byte(strings.ToLower(values["zone"]))) == nil {
		d.Zone = z
	}
	// Some name several addresses in one text.
	for word := range strings.FieldsSeq(values["reference"]) {
		if word = strings.TrimRight(word, ",;"); strings.HasPrefix(word, "https://") || strings.HasPrefix(word, "http://") {
			if word = strings.ToValidUTF8(word, "\uFFFD"); len(word) <= intel.MaxText && !strings.Contains(word, "\x00") {
				d.URL = word
			}
			break
		}
	}
	return d, true
}

// metaOf reads "[author=\"x\",score =75,shared=true]". The first of several values of a name counts.
func metaOf(s string) map[string]string {
	values := map[string]string{}
	s = strings.TrimPrefix(s, "[")
	for s != "" && s[0] != ']' {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest = quoted(rest[1:])
		} else {
			end := strings.IndexAny(rest, ",]")
			if end < 0 {
				break
			}
			value, rest = rest[:end], rest[end:]
		}
		key = strings.TrimSpace(key) // a number has a blank before its sign of equality
		if _, again := values[key]; !again {
			values[key] = value
		}
		s = strings.TrimPrefix(rest, ",")
	}
	return values
}

// quoted reads a text behind its first quote, and returns what follows the last one. As in C, a byte that is not printable ASCII is a letter or three
// octal digits behind a backslash, and so are quotes and the backslash itself.
func quoted(s string) (value, rest string) {
	var b strings.Builder
	for s != "" && s[0] != '"' {
		if s[0] != '\\' || len(s) == 1 {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) >= 4 {
			if n, err := strconv.ParseUint(s[1:4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = s[4:]
				continue
			}
		}
		if i := strings.IndexByte("abtnvfr", s[1]); i >= 0 {
			b.WriteByte('\a' + byte(i))
		} else {
			b.WriteByte(s[1])
		}
		s = s[2:]
	}
	return b.String(), strings.TrimPrefix(s, `"`)
}

// bounded keeps the beginning of what a program says.
type bounded struct {
	mu   sync.Mutex
	b    bytes.Buffer
	most int
}

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p[:min(len(p), max(0, b.most-b.b.Len()))])
	return len(p), nil
}

// first returns the first line of it.
func (b *bounded) first() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(b.b.String()), "\n")
	return strings.ToValidUTF8(line, "\uFFFD")
}

// complaints is what a process says on standard error. It goes on after a file that it cannot read, and says nothing else of it, so it is ended then.
type complaints struct {
	bounded
	process *process
}

// Write implements [io.Writer].
func (c *complaints) Write(p []byte) (int, error) {
	n, err := c.bounded.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, after, failed := bytes.Cut(c.b.Bytes(), []byte("error scanning ")); failed && bytes.IndexByte(after, '\n') >= 0 {
		_ = c.process.cmd.Process.Kill()
	}
	return n, err
}
