package scan

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

func need(t *testing.T, program, pack string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian's package %s)", program, pack)
	}
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	put(t, name, content)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMain(m *testing.M) {
	lookEvery = 50 * time.Millisecond
	os.Exit(m.Run())
}

func newScanner(t *testing.T, dir string) *Scanner {
	t.Helper()
	need(t, "yarac", "yara")
	s, err := New(Config{Rules: dir, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// ask scans a content, of which all must be said.
func ask(t *testing.T, s *Scanner, content string) []intel.Detection {
	t.Helper()
	found, notes := s.Scan(t.Context(), open(t, content), int64(len(content)))
	if len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	return found
}

func TestYARA(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "good.yar"), `
rule Plain { strings: $a = "marker" condition: $a }
rule Scored : tag { meta: author = "someone [else], \"quoted\"" score = 80 reference = "https://reports.example/1" strings: $a = "marker" condition: $a }
rule Weak { meta: score = 40 strings: $a = "marker" condition: $a }
rule Told { meta: zone = "Green" score = 90 reference = "not a URL" strings: $a = "marker" condition: $a }
rule Several { meta: score = "75" reference = "see https://reports.example/é, http://other.example" strings: $a = "marker" condition: $a }
rule Other { strings: $a = "absent" condition: $a }`)
	bad := filepath.Join(dir, "sub", "bad.yara")
	if err := os.Mkdir(filepath.Dir(bad), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, bad, `rule Bad { condition: nonsense }`)
	put(t, filepath.Join(dir, "note.txt"), "no rules")
	s := newScanner(t, dir)
	if used, wrong := s.Rules(); used != 1 || len(wrong) != 1 || !strings.Contains(wrong[bad], "nonsense") {
		t.Errorf("%d used, wrong: %v", used, wrong)
	}
	want := []intel.Detection{{Name: "Plain", Method: "yara", Zone: intel.Orange}, {Name: "Scored", Method: "yara", Zone: intel.Red, URL: "https://reports.example/1"},
		{Name: "Weak", Method: "yara", Zone: intel.Yellow}, {Name: "Told", Method: "yara", Zone: intel.Green},
		{Name: "Several", Method: "yara", Zone: intel.Red, URL: "https://reports.example/é"}}
	if diff := cmp.Diff(want, ask(t, s, "a marker here")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := ask(t, s, "nothing"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	// A change is taken up: the bad file is put right, the good one is gone.
	put(t, bad, `rule Good { strings: $a = "marker" condition: $a }`)
	if err := os.Remove(filepath.Join(dir, "good.yar")); err != nil {
		t.Fatal(err)
	}
	become(t, s, "a marker", []intel.Detection{{Name: "Good", Method: "yara", Zone: intel.Orange}})
	// And another file that is wrong costs none of the others.
	put(t, filepath.Join(dir, "bad2.yar"), `rule`)
	put(t, filepath.Join(dir, "good2.yar"), `rule Again { strings: $a = "marker" condition: $a }`)
	become(t, s, "a marker", []intel.Detection{{Name: "Again", Method: "yara", Zone: intel.Orange}, {Name: "Good", Method: "yara", Zone: intel.Orange}})
	if err := os.RemoveAll(filepath.Dir(bad)); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "good2.yar"), `rule`)
	become(t, s, "a marker", nil)
	if _, err := New(Config{Rules: filepath.Join(dir, "nowhere")}); err == nil {
		t.Error("a folder that is not there is taken")
	}
}

// become waits until a content is detected as said.
func become(t *testing.T, s *Scanner, content string, want []intel.Detection) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(lookEvery) {
		diff := cmp.Diff(want, ask(t, s, content))
		if diff == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after a change (-want +got):\n%s", diff)
		}
	}
}

// TestRules: what rules of the field do.
func TestRules(t *testing.T) {
	const rule = `rule %s { strings: $a = "marker" condition: $a }`
	named := func(names ...string) (d []intel.Detection) {
		for _, n := range names {
			d = append(d, intel.Detection{Name: n, Method: "yara", Zone: intel.Orange})
		}
		return d
	}
	many := ""
	for i := range maxMatches + 5 {
		many += fmt.Sprintf(rule, fmt.Sprintf("R%03d", i))
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  []intel.Detection
		note  string
		wrong []string
	}{
		"private":                 {map[string]string{"a.yar": `private rule P { strings: $a = "marker" condition: $a } rule Q { condition: P }`}, named("Q"), "", nil},
		"global, of its own file": {map[string]string{"a.yar": `global rule G { condition: filesize > 1MB } ` + fmt.Sprintf(rule, "A"), "b.yar": fmt.Sprintf(rule, "B")}, named("B"), "", nil},
		"a name in two files":     {map[string]string{"a.yar": fmt.Sprintf(rule, "A"), "b.yar": fmt.Sprintf(rule, "A")}, named("A"), "", nil},
		"a name twice in a file":  {map[string]string{"a.yar": fmt.Sprintf(rule, "A") + fmt.Sprintf(rule, "A"), "b.yar": fmt.Sprintf(rule, "B")}, named("B"), "", []string{"a.yar"}},
		"a name that ends":        {map[string]string{"a.yar": fmt.Sprintf(rule, "end"), "b.yar": fmt.Sprintf(rule, "end_")}, named("end", "end_"), "", nil},
		"variables of others":     {map[string]string{"a.yar": `rule A { strings: $a = "marker" condition: $a and not filename contains "x" and extension == "" }`}, named("A"), "", nil},
		"a variable of nobody":    {map[string]string{"a.yar": `rule A { condition: nobody == 1 }`, "b.yar": fmt.Sprintf(rule, "B")}, named("B"), "", []string{"a.yar"}},
		"an odd name of a file":   {map[string]string{"-a:b \n\xff.yar": fmt.Sprintf(rule, "A"), "B.YARA": fmt.Sprintf(rule, "B")}, named("A", "B"), "", nil},
		"one that includes":       {map[string]string{"a.yar": `include "sub/b.inc"`, "sub/b.inc": fmt.Sprintf(rule, "B")}, named("B"), "", nil},
		"one that includes none":  {map[string]string{"a.yar": `include "b.inc"`, "b.yar": fmt.Sprintf(rule, "B")}, named("B"), "", []string{"a.yar"}},
		"hidden":                  {map[string]string{".git/a.yar": fmt.Sprintf(rule, "A"), "b.yar": fmt.Sprintf(rule, "B")}, named("B"), "", nil},
		"what it says itself":     {map[string]string{"a.yar": `import "console" rule A { condition: console.log("end") and console.log("x-0:Fake [] y") }`, "b.yar": fmt.Sprintf(rule, "B")}, named("A", "B"), "", nil},
		"none":                    {map[string]string{"a.txt": ""}, nil, "", nil},
		"empty":                   {map[string]string{"a.yar": ""}, nil, "", nil},
		"long": {map[string]string{"a.yar": "rule A { meta: score = 90 " + strings.Repeat(`a = "`+strings.Repeat("x", 1000)+`" `, 3*maxLine/1000) + "condition: true }", "b.yar": fmt.Sprintf(rule, "B")},
			[]intel.Detection{{Name: "A", Method: "yara", Zone: intel.Red}, named("B")[0]}, "", nil},
		"too many": {map[string]string{"a.yar": many}, nil, "yara: 5 rules more match than the 200 that are told", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				put(t, path, text)
			}
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			s := newScanner(t, link)
			_, wrong := s.Rules()
			var left []string
			for path := range wrong {
				left = append(left, filepath.Base(path))
			}
			if diff := cmp.Diff(tt.wrong, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			for range 2 { // the second time by the same process
				found, notes := s.Scan(t.Context(), open(t, "a marker"), 8)
				if strings.Join(notes, "") != tt.note {
					t.Errorf("notes %q, want %q", notes, tt.note)
				}
				if tt.note != "" && len(found) == maxMatches {
					continue
				}
				if diff := cmp.Diff(tt.want, found); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestInclude: a change of what a file of rules includes is taken up, too.
func TestInclude(t *testing.T) {
	dir, lib := t.TempDir(), filepath.Join(t.TempDir(), "lib")
	put(t, lib, `rule Before { condition: true }`)
	put(t, filepath.Join(dir, "a.yar"), "// what follows is elsewhere\n include \""+lib+"\"\n")
	s := newScanner(t, dir)
	become(t, s, "x", []intel.Detection{{Name: "Before", Method: "yara", Zone: intel.Orange}})
	put(t, lib, `rule Afterwards { condition: true }`)
	become(t, s, "x", []intel.Detection{{Name: "Afterwards", Method: "yara", Zone: intel.Orange}})
}

// TestReload: rules change while files are scanned; each answer is what the rules before or those afterwards say, and none is missing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	rules := func(n int) {
		t.Helper()
		put(t, filepath.Join(dir, "new"), fmt.Sprintf("rule A%d { condition: true } rule B%d { condition: true } // %s", n, n, strings.Repeat("x", n)))
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "a.yar")); err != nil {
			t.Fatal(err)
		}
	}
	rules(0)
	s := newScanner(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		f := open(t, "some bytes")
		wg.Go(func() {
			for last := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				found, notes := s.Scan(t.Context(), f, 10)
				if len(found) != 2 || len(notes) > 0 {
					t.Errorf("%v %q", found, notes)
					return
				}
				n, err := strconv.Atoi(found[0].Name[1:])
				if err != nil || n < last || found[1].Name != "B"+found[0].Name[1:] {
					t.Errorf("%v after rules %d", found, last)
				}
				last = n
			}
		})
	}
	for n := 1; n <= 5; n++ {
		rules(n)
		become(t, s, "x", []intel.Detection{{Name: fmt.Sprint("A", n), Method: "yara", Zone: intel.Orange}, {Name: fmt.Sprint("B", n), Method: "yara", Zone: intel.Orange}})
	}
	close(stop)
	wg.Wait()
}

// TestFolderLost: while the folder cannot be read, the rules stay.
func TestFolderLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rules")
	rules := func(name string) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "a.yar"), fmt.Sprintf(`rule %s { condition: true }`, name))
	}
	rules("Before")
	s := newScanner(t, dir)
	if err := os.Rename(dir, dir+" elsewhere"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * lookEvery) // a wrong one would be quicker
	if diff := cmp.Diff([]intel.Detection{{Name: "Before", Method: "yara", Zone: intel.Orange}}, ask(t, s, "x")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rules("Afterwards")
	become(t, s, "x", []intel.Detection{{Name: "Afterwards", Method: "yara", Zone: intel.Orange}})
}

// TestManyRules: thousands of files, of which some are wrong, are compiled within the time of a test.
func TestManyRules(t *testing.T) {
	dir := t.TempDir()
	const n = 1500
	for i := range n {
		text := fmt.Sprintf(`rule R%d { strings: $a = "marker %d " condition: $a }`, i, i)
		if i%600 == 17 {
			text = "rule {"
		}
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.yar", i)), text)
	}
	s := newScanner(t, dir)
	if used, wrong := s.Rules(); used != n-3 || len(wrong) != 3 || wrong[filepath.Join(dir, "0617.yar")] == "" {
		t.Errorf("%d used, wrong: %v", used, wrong)
	}
	if diff := cmp.Diff([]intel.Detection{{Name: "R1499", Method: "yara", Zone: intel.Orange}}, ask(t, s, "marker 1499 marker 17 ")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOneByOne: what processes tell that read many files, at the same time, large ones and small ones, with some of them killed, is what a yara tells that
// is started for one file.
func TestOneByOne(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString(`import "hash" import "math" import "elf" import "pe"
rule Entropy { condition: math.entropy(0, filesize) > 7 }
rule Length { condition: filesize % 3 == 0 }
rule Elf { condition: elf.number_of_sections > 3 }
rule Pe { condition: pe.number_of_sections > 3 }
rule Hash { condition: hash.md5(0, filesize) contains "00" }
rule Often { strings: $a = "a" condition: #a > 5 }
rule Last { strings: $a = /z.{0,3}$/ condition: $a }
`)
	words := make([]string, 40)
	for i := range words {
		words[i] = fmt.Sprintf("%x", random.Uint64())
		fmt.Fprintf(&text, "rule W%d { strings: $a = %q nocase condition: $a at 0 or #a > %d }\n", i, words[i], i%3)
	}
	put(t, filepath.Join(dir, "all.yar"), text.String())
	s := newScanner(t, dir)

	files := t.TempDir()
	var names []string
	add := func(content []byte) {
		name := filepath.Join(files, fmt.Sprint(len(names)))
		put(t, name, string(content))
		names = append(names, name)
	}
	for range 150 {
		var b []byte
		for range random.IntN(6) {
			switch random.IntN(4) {
			case 0:
				b = append(b, words[random.IntN(len(words))]...)
			case 1:
				b = append(b, strings.ToUpper(words[random.IntN(len(words))])...)
			case 2:
				b = append(b, strings.Repeat("a", random.IntN(4000))...)
			default:
				for range random.IntN(3000) {
					b = append(b, byte(random.Uint32()))
				}
			}
		}
		add(b) // also empty ones
	}
	add([]byte(strings.Repeat(words[0]+words[1], (copied+1)/32+1)))
	add([]byte(strings.Repeat(words[2], 2<<20/len(words[2]))))
	for _, program := range []string{"/bin/cat", "/bin/sh", "/bin/ls"} {
		b, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		add(b)
	}
	want := make([]string, len(names))
	matched := 0
	for i, name := range names {
		out, err := exec.Command("yara", "-w", filepath.Join(dir, "all.yar"), name).Output()
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			continue // not asked about
		}
		matched += strings.Count(string(out), "\n")
		want[i] = strings.ReplaceAll(string(out), " "+name+"\n", " ")
	}
	if matched < 250 {
		t.Fatalf("only %d matches", matched)
	}
	const at, rounds = 4, 3
	var wg sync.WaitGroup
	for k := range at {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(k), 3))
			for range rounds {
				for _, i := range random.Perm(len(names)) {
					f, err := os.Open(names[i])
					if err != nil {
						t.Error(err)
						return
					}
					info, err := f.Stat()
					if err != nil {
						t.Error(err)
						return
					}
					if info.Size() > 1<<20 && random.IntN(10) > 0 {
						f.Close()
						continue
					}
					if random.IntN(100) == 0 {
						s.yara.mu.Lock()
						for _, p := range s.yara.idle {
							_ = p.cmd.Process.Kill()
						}
						s.yara.mu.Unlock()
					}
					found, notes := s.Scan(t.Context(), f, info.Size())
					f.Close()
					got := ""
					for _, d := range found {
						got += d.Name + " "
					}
					if got != want[i] || len(notes) > 0 {
						t.Errorf("%s: %s, %q; want %s", names[i], got, notes, want[i])
					}
				}
			}
		})
	}
	wg.Wait()
	s.yara.mu.Lock()
	defer s.yara.mu.Unlock()
	if n := len(s.yara.idle); n == 0 || n > at {
		t.Errorf("%d processes for %d scans at once", n, at)
	}
	for _, p := range s.yara.idle {
		if info, err := p.scratch.Stat(); err != nil || info.Size() > 1<<20 {
			t.Errorf("%v, %v: room is kept", info, err)
		}
	}
}

// TestRealRules: the rules of two publishers, and what yara itself says of their own sources, which hold many of their texts, and of programs.
func TestRealRules(t *testing.T) {
	need(t, "yarac", "yara")
	dir := realdata.Path(t, "feeds", "signature-base", "yara")
	s := newScanner(t, dir)
	sources, err := filepath.Glob(filepath.Join(dir, "*.yar"))
	if err != nil {
		t.Fatal(err)
	}
	if used, wrong := s.Rules(); used != len(sources) || len(wrong) > 0 {
		t.Errorf("%d used of %d, wrong: %v", used, len(sources), wrong)
	}
	line := []string{"-w", "--scan-list"}
	for _, name := range externals {
		line = append(line, "-d", name+"=")
	}
	for i, name := range sources {
		line = append(line, fmt.Sprintf("n%d:%s", i, name))
	}
	programs, err := filepath.Glob("/usr/bin/[a-m]*")
	if err != nil {
		t.Fatal(err)
	}
	files := append(slices.Clone(sources), programs[:min(len(programs), 100)]...)
	list := filepath.Join(t.TempDir(), "list")
	put(t, list, strings.Join(files, "\n"))
	out, err := exec.Command("yara", append(line, "-p", "1", list)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	for text := range strings.Lines(string(out)) {
		rule, name, _ := strings.Cut(strings.TrimSpace(text), " ")
		want[name] = append(want[name], rule)
	}
	if len(want) < 20 {
		t.Fatalf("only %d files match", len(want))
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		found, notes := s.Scan(t.Context(), f, info.Size())
		f.Close()
		if len(notes) > 0 {
			t.Errorf("%s: %q", name, notes)
		}
		for _, d := range found {
			got[name] = append(got[name], d.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-yara +got):\n%s", diff)
	}
}

// TestFresh: a process is replaced when it has read its share, and one after another reads all.
func TestFresh(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yar"), `rule A { condition: true }`)
	s := newScanner(t, dir)
	f := open(t, "x")
	first := s.yara.idle[0]
	for k := range fresh + 1 {
		if found, notes := s.Scan(t.Context(), f, 1); len(found) != 1 || len(notes) > 0 {
			t.Fatalf("%d: %v %q", k, found, notes)
		}
	}
	if len(s.yara.idle) != 1 || s.yara.idle[0] == first || first.scans != fresh {
		t.Errorf("%d processes; the first has read %d files", len(s.yara.idle), first.scans)
	}
}

// TestFailing: a file that a process does not get through, or at which it dies, is told by the reason, and costs no other its answer.
func TestFailing(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yar"), `
rule Slow { strings: $a = "slow marker" condition: $a and for all i in (1..0x7fffffffffff) : (i > 0) }
rule Marker { strings: $a = "marker" condition: $a }`)
	s := newScanner(t, dir)
	want := []intel.Detection{{Name: "Marker", Method: "yara", Zone: intel.Orange}}
	for range 2 {
		if diff := cmp.Diff(want, ask(t, s, "a marker")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		found, notes := s.Scan(ctx, open(t, "a slow marker"), 13)
		cancel()
		if len(found) != 0 || len(notes) != 1 || !strings.HasPrefix(notes[0], "yara: no answer within ") {
			t.Errorf("%v %q", found, notes)
		}
	}
	// It dies while it reads: once it is tried again, and then it is told.
	done := make(chan struct{})
	go func() {
		defer close(done)
		found, notes := s.Scan(t.Context(), open(t, "a slow marker"), 13)
		if len(found) != 0 || len(notes) != 1 || notes[0] != "yara: no answer: the program has ended: signal: terminated" {
			t.Errorf("%v %q", found, notes)
		}
	}()
	for ended := false; !ended; {
		for _, pid := range children(t) {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Signal(syscall.SIGTERM) // it may have ended
			}
		}
		select {
		case <-done:
			ended = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	// A file that cannot be opened is told by what yara says.
	f := open(t, strings.Repeat("marker", copied))
	f.Close()
	if found, notes := s.Scan(t.Context(), f, copied+1); len(found) != 0 || len(notes) != 1 || !strings.HasPrefix(notes[0], "yara: not asked: ") {
		t.Errorf("%v %q", found, notes)
	}
	if diff := cmp.Diff(want, ask(t, s, "a marker")); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
	// Nothing is left over.
	s.Close()
	if left := children(t); len(left) > 0 {
		t.Errorf("%d processes after the end", len(left))
	}
}

// TestSlowRules: rules that do not come to an end with any file are no reason not to start.
func TestSlowRules(t *testing.T) {
	before := tryTime
	t.Cleanup(func() { tryTime = before })
	tryTime = 200 * time.Millisecond
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yar"), `rule Slow { condition: for all i in (1..0x7fffffffffff) : (i > 0) }`)
	s := newScanner(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if found, notes := s.Scan(ctx, open(t, "x"), 1); len(found) != 0 || len(notes) != 1 || !strings.HasPrefix(notes[0], "yara: no answer within ") {
		t.Errorf("%v %q", found, notes)
	}
	put(t, filepath.Join(dir, "a.yar"), `rule Quick { condition: true }`)
	end := time.Now().Add(time.Minute)
	for wait := 500 * time.Millisecond; ; wait *= 2 { // a slow machine may not start a program in that
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		found, _ := s.Scan(ctx, open(t, "x"), 1)
		cancel()
		if len(found) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("they stay")
		}
	}
}

// children returns this process's children that run yara.
func children(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var pid, parent int
		var comm, state string
		b, _ := os.ReadFile(name) // it may have ended
		if _, err := fmt.Sscan(string(b), &pid, &comm, &state, &parent); err == nil && comm == "(yara)" && state != "Z" && parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestClamd(t *testing.T) {
	need(t, "clamd", "clamav-daemon")
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	var signatures strings.Builder
	for name, marker := range map[string]string{"Test.Spoor.Marker": "spoor marker one", "PUA.Spoor.Tool": "spoor marker two"} {
		fmt.Fprintf(&signatures, "%s:0:*:%s\n", name, hex.EncodeToString([]byte(marker)))
	}
	put(t, filepath.Join(dir, "test.ndb"), signatures.String())
	put(t, filepath.Join(dir, "conf"), fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nTemporaryDirectory %s\nStreamMaxLength 1M\nDetectPUA yes\n", socket, dir, dir))
	cmd := exec.Command("clamd", "-c", filepath.Join(dir, "conf"))
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for newClamd(socket).ping(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatalf("clamd does not come up: %s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	s, err := New(Config{Clamd: socket})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		content string
		want    []intel.Detection
		note    string
	}{
		{"x spoor marker one x", []intel.Detection{{Name: "Test.Spoor.Marker.UNOFFICIAL", Method: "clamav", Zone: intel.Red}}, ""},
		{"x spoor marker two x", []intel.Detection{{Name: "PUA.Spoor.Tool.UNOFFICIAL", Method: "clamav", Zone: intel.Yellow}}, ""},
		{"harmless", nil, ""},
		{"", nil, ""},
		{strings.Repeat("harmless", 1<<18), nil, "clamav: no answer: INSTREAM size limit exceeded."},
	} {
		found, notes := s.Scan(ctx, open(t, tt.content), int64(len(tt.content)))
		if diff := cmp.Diff(tt.want, found); diff != "" {
			t.Errorf("%.20q (-want +got):\n%s", tt.content, diff)
		}
		if strings.Join(notes, "") != tt.note {
			t.Errorf("%.20q: notes %q, want %q", tt.content, notes, tt.note)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	found, notes := s.Scan(ctx, open(t, "x"), 1)
	if len(found) != 0 || len(notes) != 1 || !strings.HasPrefix(notes[0], "clamav: not asked: ") {
		t.Errorf("clamd is gone: %v %q", found, notes)
	}
}

// TestClamdDown: a clamd that cannot be reached is not tried again for each file.
func TestClamdDown(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	c := newClamd(socket)
	f := open(t, "x")
	if _, err := c.scan(t.Context(), f, 1); err == nil {
		t.Fatal("nobody is there")
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	went := make(chan struct{}, 2)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			went <- struct{}{}
			conn.Close()
		}
	}()
	if _, err := c.scan(t.Context(), f, 1); err == nil || !strings.HasPrefix(err.Error(), "not asked: dial unix ") {
		t.Errorf("%v", err)
	}
	c.down = time.Now().Add(-downTime)
	if _, err := c.scan(t.Context(), f, 1); err == nil || !strings.HasPrefix(err.Error(), "no answer: ") {
		t.Errorf("%v", err)
	}
	<-went
	if len(went) > 0 {
		t.Error("it was tried while it was known to be down")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("Rule [author=\"a \\\"b\\\"\",score =75,x=true] /t")
	f.Add("Rule [] /t")
	f.Add("Rule [a=\"\\303\\251\\n\\q\\\\\",b=\"")
	f.Add("[")
	h, err := intel.ParseHash(strings.Repeat("0", 31) + "1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d, ok := match(line)
		if !ok {
			return
		}
		o := intel.Observation{Source: intel.Source{Type: intel.InspectionSource, Name: "inspection"}, Time: time.Unix(1e9, 0), File: intel.HashesOf(h), Fact: d}
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	})
}
