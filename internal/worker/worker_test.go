//go:build unix

package worker

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect"
	"spoor/internal/inspect/signature"
	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// TestMain is also the child: "-child" serves, "-child=HOW" misbehaves once it has a request.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-child") {
		if err := child1(strings.TrimPrefix(os.Args[1], "-child=")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child1(how string) error {
	parent := os.Getppid() // it cannot be asked for later
	if how == "-child" {
		return Serve()
	}
	if at, ok := strings.CutPrefix(how, "fragile:"); ok {
		return serve(func(i *inspect.Inspector) {
			attempt, n := i.Attempt, 0
			i.Attempt = func() error {
				n++
				err := attempt()
				if err == nil && slices.Contains(strings.Split(at, ","), fmt.Sprint(n)) {
					died := make(chan struct{})
					go func() { panic("died of attempt " + fmt.Sprint(n)) }() // which nothing can catch
					<-died
				}
				return err
			}
		})
	}
	l, _, err := inherit()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(l) // or the collector closes it while this child misbehaves, and the parent sees its end in that
	in := bufio.NewReader(l)
	var s setup
	if err := receive(in, &s); err != nil {
		return err
	}
	var guards []string
	if how == "calls" {
		guards, how, err = onlyFilter(), "rights", nil
	} else {
		guards, err = restrict(&s)
	}
	if err != nil {
		return err
	}
	say := func(a answer) {
		b, _ := json.Marshal(a)
		_, _ = l.Write(append(b, '\n'))
	}
	say(answer{Ready: guards})
	var r request
	if err := receive(in, &r); err != nil {
		return err
	}
	switch how {
	case "memory":
		var kept [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
			runtime.KeepAlive(kept)
		}
	case "hang":
		time.Sleep(time.Hour)
	case "spin":
		for i := 0; ; i++ {
			runtime.KeepAlive(i)
		}
	case "panic":
		panic("index out of range [7] with length 3")
	case "chatter":
		for {
			lie(l, hashesOf("x"), intel.Attribute{Name: intel.Type, Value: "x"})
		}
	case "nonsense":
		fmt.Fprintln(l, "{")
		time.Sleep(time.Hour)
	case "liar":
		fmt.Fprintln(l, `o{"file":{"md5":"`+strings.Repeat("0", 31)+`1"},"source":{"type":"inspection","name":"x"},"listing":{"feed":"x","zone":"green"}}`)
		time.Sleep(time.Hour)
	case "detection", "inspected", "engine", "weak", "mixed", "flood", "summary", "silent":
		f, err := l.file(&r)
		if err != nil {
			return err
		}
		self, _, err := inspect.HashReader(f)
		if err != nil {
			return err
		}
		other := hashesOf("some other file")
		contains := func(member intel.Hashes) intel.Relation {
			return intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: self}, To: intel.Object{Hashes: member, Path: "x", Name: "x"}}
		}
		sum := inspect.Summary{File: self, Size: r.Size}
		switch how {
		case "detection":
			lie(l, self, intel.Attribute{Name: intel.Size, Value: "10"})
			lie(l, other, intel.Detection{Name: "EICAR-Test-File", Method: inspect.Method, Zone: intel.Red})
		case "inspected":
			lie(l, intel.Hashes{}, contains(other))
			lie(l, other, intel.Attribute{Name: intel.Inspected, Value: "revision " + inspect.Revision})
		case "engine":
			lie(l, self, intel.Detection{Name: "Win.Trojan", Method: "clamav", Zone: intel.Red})
		case "weak":
			lie(l, intel.Hashes{}, contains(intel.Hashes{MD5: other.MD5}))
		case "mixed":
			lie(l, intel.Hashes{MD5: other.MD5, SHA1: self.SHA1, SHA256: self.SHA256}, intel.Attribute{Name: intel.Type, Value: "x"})
		case "flood":
			for n := range 100 {
				lie(l, intel.Hashes{}, contains(hashesOf(fmt.Sprint(n))))
			}
		case "summary":
			lie(l, self, intel.Attribute{Name: intel.Size, Value: "10"})
			sum.File = other
		}
		say(answer{Done: &sum})
		time.Sleep(time.Hour)
	case "rights":
		say(answer{Failed: "could " + strings.Join(rights(parent, len(guards) > 1), ", ")})
		time.Sleep(time.Hour)
	}
	return fmt.Errorf("no such way to misbehave: %s", how)
}

func hashesOf(content string) intel.Hashes {
	h, _, _ := inspect.HashReader(strings.NewReader(content)) // no reading from memory fails
	return h
}

// lie says what no honest child would.
func lie(w io.Writer, file intel.Hashes, fact intel.Fact) {
	o := intel.Observation{Source: intel.Source{Type: intel.InspectionSource, Name: SourceName}, Time: now, File: file, Fact: fact}
	b, err := o.MarshalJSON()
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, "%c%s\n", observed, b)
}

func newTestPool(t *testing.T, c Config, mode string) *Pool {
	t.Helper()
	c.Command = []string{os.Args[0], mode}
	c.Scratch = t.TempDir()
	p := NewPool(c)
	t.Cleanup(p.Close)
	return p
}

func write(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var now = time.Date(2026, 5, 2, 10, 0, 0, 0, time.UTC)

// gather inspects a file and returns its facts as "kind value", without hashes.
func gather(t *testing.T, p *Pool, f *os.File, name string) (Result, []string) {
	t.Helper()
	var facts []string
	r, err := p.Inspect(t.Context(), f, Job{Name: name, Now: now}, func(o intel.Observation) error {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		if want := (intel.Source{Type: intel.InspectionSource, Name: SourceName}); o.Source != want || !o.Time.Equal(now) {
			t.Errorf("source %v at %v", o.Source, o.Time)
		}
		facts = append(facts, fmt.Sprintf("%s %v", o.Fact.Kind(), o.Fact))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, facts
}

// eicar is the test file's text, in parts so that no engine takes this file for it.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`

func TestInspect(t *testing.T) {
	p := newTestPool(t, Config{}, "-child")
	for range 3 { // several files a worker
		r, facts := gather(t, p, write(t, eicar), "dir/eicar.com")
		if r.Stopped != "" {
			t.Fatalf("stopped: %s", r.Stopped)
		}
		if got, want := r.File.MD5.String(), "44d88612fea8a8f36de82e1278abb02f"; got != want {
			t.Errorf("MD5 %s, want %s", got, want)
		}
		for _, want := range []string{"attribute {size 68}", "detection {EICAR-Test-File spoor red }"} {
			if !slices.Contains(facts, want) {
				t.Errorf("%q lacks %q", facts, want)
			}
		}
	}
}

// TestEncryptedRAR: what the passwords are tried on takes no more memory than a worker has. With a wrong one RAR 3 seems to be PPMd of any size.
func TestEncryptedRAR(t *testing.T) {
	p := newTestPool(t, Config{Passwords: strings.Fields("infected malware virus password 1234 12345 123456 test admin secret none abc")}, "-child")
	for name, want := range map[string][]string{
		"data":      {"rar: member bar.txt: encrypted, and none of the passwords opens it", "rar: member foo.txt: encrypted, and none of the passwords opens it"},
		"partially": {"rar: member foo.txt: encrypted, and none of the passwords opens it"},
	} {
		b := realdata.Decoded(t, realdata.Sample(t, "libarchive", "libarchive", "test", "test_read_format_rar_encryption_"+name+".rar.uu"))
		for range 3 {
			r, facts := gather(t, p, write(t, string(b)), name)
			var notes []string
			for _, f := range facts {
				if n, ok := strings.CutPrefix(f, "attribute {inspection_note "); ok {
					notes = append(notes, strings.TrimSuffix(n, "}"))
				}
			}
			slices.Sort(notes)
			if d := cmp.Diff(want, notes); d != "" || r.Stopped != "" {
				t.Errorf("%s: %q, %s", name, r.Stopped, d)
			}
		}
	}
}

// TestRestart: a child that dies of one reading costs that reading, and nothing else: nothing is told twice, and what follows is told.
// TestExtra: a file gets a child beyond their number while all are at others, and the child ends with it.
func TestExtra(t *testing.T) {
	p := newTestPool(t, Config{Workers: 1}, "-child")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	small, tried := write(t, "small"), false
	_, err := p.Inspect(ctx, write(t, "long"), Job{Now: now}, func(intel.Observation) error {
		if tried {
			return nil
		}
		tried = true
		var told int
		r, err := p.Inspect(ctx, small, Job{Now: now, Extra: true}, func(intel.Observation) error { told++; return nil })
		if err == nil && (r.Stopped != "" || told == 0) {
			err = fmt.Errorf("%d observations, stopped: %q", told, r.Stopped)
		}
		return err
	})
	if err != nil || !tried {
		t.Errorf("beside a file that has the only worker: %v", err)
	}
	if c := <-p.slots; c == nil || c.dead() {
		t.Error("the only worker has gone")
	} else {
		p.slots <- c
	}
}

// TestCrowdedScratch: what unpacks to much does not take what is left of the disk to others.
func TestCrowdedScratch(t *testing.T) {
	bomb := bytes.Repeat(gzipped(make([]byte, 16<<20)), 256) // 4 GiB
	for name, want := range map[string]string{"bomb": "no room in the scratch folder for large members: ", "small": ""} {
		content := bomb
		if name == "small" {
			content = gzipped(make([]byte, 16<<20))
		}
		r, _ := gather(t, newTestPool(t, Config{Spare: 1 << 62}, "-child"), write(t, string(content)), name)
		if want == "" && r.Stopped != "" || !strings.HasPrefix(r.Stopped, want) {
			t.Errorf("%s: stopped: %q", name, r.Stopped)
		}
	}
}

func TestRestart(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for k := range 200 {
		w, err := z.Create(fmt.Sprintf("%03d.txt", k))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(w, "member", k)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	of := func(at string) (Result, []string) {
		if at == "" {
			return gather(t, newTestPool(t, Config{}, "-child"), write(t, b.String()), "x.zip")
		}
		return gather(t, newTestPool(t, Config{}, "-child=fragile:"+at), write(t, b.String()), "x.zip")
	}
	r, whole := of("")
	if r.Members != 200 || r.Stopped != "" {
		t.Fatalf("%d members, stopped: %q", r.Members, r.Stopped)
	}
	count := func(facts []string) map[string]int {
		n := map[string]int{}
		for _, f := range facts {
			n[f]++
		}
		return n
	}
	died := func(what, attempt string) string {
		return "attribute {inspection_note " + what + ": stopped: the reader failed: panic: died of attempt " + attempt + "}"
	}
	for _, tt := range []struct {
		at    string // attempts, of the file: what it is, as a program, as a document, its signature, what lies in it, its members; then of each member
		notes []string
		lost  bool // all that follows the first of them
	}{
		{"2", []string{died("zip", "2")}, false},
		{"4,5", []string{died("signature", "4"), died("looking for archives inside", "5")}, false},
		{"6", []string{died("zip", "6")}, true},
		{"8,13,300,600", []string{died("text", "8"), died("text", "13"), died("signature", "300"), died("signature", "600"),
			"attribute {inspection_note 4 members have notes of their own: 000.txt, 001.txt, 058.txt, …}"}, false},
		{"2,3,4,5,8,9,10,11", []string{died("zip", "2"), died("zip", "3"), died("signature", "4"), died("looking for archives inside", "5"),
			died("text", "8"), died("text", "9"), died("signature", "10"), died("looking for archives inside", "11"),
			"attribute {inspection_note a member has notes of its own: 000.txt}"}, false},
	} {
		r, facts := of(tt.at)
		if r.Stopped != "" {
			t.Errorf("%s: stopped: %s", tt.at, r.Stopped)
		}
		want := count(append(slices.Clone(whole), tt.notes...))
		got := count(facts)
		if tt.lost {
			maps.DeleteFunc(want, func(f string, _ int) bool { return got[f] == 0 && !slices.Contains(tt.notes, f) })
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", tt.at, d)
		}
	}
	// There is an end to it: who dies of everything is stopped.
	r, facts := of("2,3,4,5,8,9,10,11,12,13,14")
	if want := "the reader failed: panic: died of attempt "; !strings.HasPrefix(r.Stopped, want) || !slices.Contains(facts, "attribute {inspection_note inspection stopped: "+r.Stopped+"}") {
		t.Errorf("stopped %q, want %q: %.500q", r.Stopped, want, facts)
	}
}

// TestMisbehaving: whatever a child does, the inspection ends with a reason, the file's hashes and a note, and the next one gets a fresh child.
func TestMisbehaving(t *testing.T) {
	limits := inspect.DefaultLimits
	limits.Time = 500*time.Millisecond - grace // the parent's clock is what is tried
	slow := inspect.DefaultLimits
	slow.Time = time.Minute
	for _, tt := range []struct {
		how  string
		c    Config
		want string
	}{
		{"memory", Config{Memory: 128 << 20, Limits: slow}, "128 MiB of memory"},
		{"hang", Config{Limits: limits}, "of time"},
		{"spin", Config{Limits: limits}, "of "}, // time, or processor time, whichever comes first
		{"panic", Config{}, "the reader failed: panic: index out of range [7] with length 3"},
		{"chatter", Config{Output: 1 << 20}, "1 MiB of output"},
		{"nonsense", Config{}, "the worker failed: it speaks nonsense"},
		{"liar", Config{}, "the worker failed: it tells a listing, which no bytes can"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			p := newTestPool(t, tt.c, "-child="+tt.how)
			for range 2 {
				r, facts := gather(t, p, write(t, "some bytes"), "x")
				if !strings.Contains(r.Stopped, tt.want) {
					t.Errorf("stopped: %q, want %q", r.Stopped, tt.want)
				}
				if r.File.SHA256.IsZero() && tt.how != "chatter" {
					t.Error("no hashes of the file")
				}
				if want := "attribute {inspection_note inspection stopped: " + r.Stopped + "}"; !slices.Contains(facts, want) {
					t.Errorf("%.500q lacks %q", facts, want)
				}
			}
		})
	}
}

// TestEndsWhileHashing: who interrupts need not wait for the hashes of a file that no child came to; here they would take an hour.
func TestEndsWhileHashing(t *testing.T) {
	f := write(t, "a disk")
	if err := os.Truncate(f.Name(), 1<<40); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	p := newTestPool(t, Config{}, "-child=nonsense")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopping := time.AfterFunc(100*time.Millisecond, cancel)
	defer stopping.Stop()
	if _, err := p.Inspect(ctx, f, Job{Name: "x", Now: now}, func(intel.Observation) error { return nil }); err != context.Canceled {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestLies: a child that foreign bytes have taken over tells of nothing but the file that it was handed and of what it says is in it, and does not speak
// for the engines that the parent asks.
func TestLies(t *testing.T) {
	limits := inspect.DefaultLimits
	limits.Members = 10
	const content = "some bytes"
	for _, tt := range []struct {
		how, want string
		known     bool // the parent knows the file's hashes
	}{
		{"detection", "it tells of a file that was not handed over", false},
		{"inspected", "it tells that a file was inspected that was not handed over", false},
		{"engine", `it tells a detection by "clamav", which found none`, false},
		{"weak", "it tells of a member without its hashes", false},
		{"mixed", "it tells of a file that was not handed over", true},
		{"flood", "it tells of more than 10 members", false},
		{"silent", "it says that it is done, and has told nothing", false},
		{"summary", "", false},
	} {
		t.Run(tt.how, func(t *testing.T) {
			p := newTestPool(t, Config{Limits: limits}, "-child="+tt.how)
			j := Job{Name: "x", Now: now}
			if tt.known {
				j.File = hashesOf(content)
			}
			r, err := p.Inspect(t.Context(), write(t, content), j, func(o intel.Observation) error {
				if o.File == hashesOf("some other file") {
					t.Errorf("the lie is told: %+v", o)
				}
				return nil
			})
			if err != nil || r.File != hashesOf(content) || !strings.Contains(r.Stopped, tt.want) || tt.want == "" && r.Stopped != "" {
				t.Errorf("of %v; stopped: %q, want %q; %v", r.File, r.Stopped, tt.want, err)
			}
		})
	}
}

func TestCallersOwnErrors(t *testing.T) {
	p := newTestPool(t, Config{}, "-child")
	if _, err := p.Inspect(t.Context(), write(t, "x"), Job{Name: "x", Now: now}, func(intel.Observation) error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Errorf("error %v, want the receiver's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Inspect(ctx, write(t, "x"), Job{Name: "x", Now: now}, func(intel.Observation) error { return nil }); err != context.Canceled {
		t.Errorf("error %v, want that of the context", err)
	}
	if r, facts := gather(t, p, write(t, "x"), "x"); r.Stopped != "" || len(facts) == 0 {
		t.Errorf("after that: stopped %q, %d facts", r.Stopped, len(facts))
	}
}

// TestScan: the parent scans the file and its members in place of the child.
func TestScan(t *testing.T) {
	var seen []string
	p := newTestPool(t, Config{Scan: func(_ context.Context, r *os.File, size int64) ([]intel.Detection, []string) {
		b, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, string(b))
		return []intel.Detection{{Name: "Rule", Method: "test", Zone: intel.Orange}}, []string{"other: not asked"}
	}}, "-child")
	_, facts := gather(t, p, write(t, "hello"), "x")
	if diff := cmp.Diff([]string{"hello"}, seen); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(facts, "detection {Rule test orange }") || !slices.Contains(facts, "attribute {inspection_note other: not asked}") {
		t.Errorf("%q", facts)
	}
}

// TestScanAgain: a child that takes the place of one that died is answered as that one was, whatever other engines say by now: each file is scanned once, and
// nothing is lost or told twice.
func TestScanAgain(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	const members = 50
	for k := range members {
		w, err := z.Create(fmt.Sprintf("%03d.txt", k))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(w, "member", k)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	p := newTestPool(t, Config{Scan: func(context.Context, *os.File, int64) (found []intel.Detection, notes []string) {
		asked++
		for k := range asked % 3 {
			found = append(found, intel.Detection{Name: fmt.Sprintf("Rule%d.%d", asked, k), Method: "test", Zone: intel.Orange})
		}
		if asked%5 == 0 {
			notes = []string{fmt.Sprintf("other: note %d", asked)}
		}
		return found, notes
	}}, "-child=fragile:8,60,150")
	r, facts := gather(t, p, write(t, b.String()), "x.zip")
	if r.Members != members || r.Stopped != "" || asked != members+1 {
		t.Errorf("%d members, %d scans, stopped: %q", r.Members, asked, r.Stopped)
	}
	var got, want []string
	for _, f := range facts {
		if strings.HasPrefix(f, "detection") || strings.Contains(f, " other: note") {
			got = append(got, f)
		}
	}
	for n := 1; n <= asked; n++ {
		if n%5 == 0 {
			want = append(want, fmt.Sprintf("attribute {inspection_note other: note %d}", n))
		}
		for k := range n % 3 {
			want = append(want, fmt.Sprintf("detection {Rule%d.%d test orange }", n, k))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestScanTime: engines that hang cost what they would have said, not what is read here.
func TestScanTime(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for k := range 5 {
		w, err := z.Create(fmt.Sprint(k))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, eicar, strings.Repeat(" ", k))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	before := scanShare
	t.Cleanup(func() { scanShare = before })
	scanShare = 600 // a second
	p := newTestPool(t, Config{Scan: func(ctx context.Context, _ *os.File, _ int64) ([]intel.Detection, []string) {
		<-ctx.Done()
		return nil, []string{"other: no answer"}
	}}, "-child")
	r, facts := gather(t, p, write(t, b.String()), "x.zip")
	notes, found := 0, 0
	for _, f := range facts {
		if strings.Contains(f, "other engines not asked: they have taken 1s") {
			notes++
		}
		if strings.HasPrefix(f, "detection {EICAR") {
			found++
		}
	}
	if r.Stopped != "" || r.Members != 5 || notes != 5 || found != 5 || !slices.Contains(facts, "attribute {inspection_note other: no answer}") {
		t.Errorf("stopped %q, %d members, %d notes: %q", r.Stopped, r.Members, notes, facts)
	}
}

// TestSetTrust: files that are inspected after it are verified against the new trust, also by a child that is there already.
func TestSetTrust(t *testing.T) {
	e, err := openpgp.NewEntity("Packager", "", "p@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	var public, sig bytes.Buffer
	if err := e.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	if err := openpgp.DetachSign(&sig, e, strings.NewReader("2.0\n"), nil); err != nil {
		t.Fatal(err)
	}
	deb := "!<arch>\n"
	for _, m := range [][2]string{{"debian-binary", "2.0\n"}, {"_gpgorigin", sig.String()}} {
		deb += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m[0], 0, 0, 0, "100644", len(m[1]), m[1]) + strings.Repeat("\n", len(m[1])%2)
	}
	p := newTestPool(t, Config{}, "-child")
	said := func() string {
		_, facts := gather(t, p, write(t, deb), "x.deb")
		i := slices.IndexFunc(facts, func(f string) bool { return strings.HasPrefix(f, "signature ") })
		if i < 0 {
			t.Fatalf("no signature: %q", facts)
		}
		return facts[i]
	}
	before := said()
	p.SetTrust(&signature.Trust{Keys: [][]byte{public.Bytes()}})
	if after := said(); !strings.HasSuffix(before, " not trusted}") || after != "signature {Packager <p@example.org> trusted}" {
		t.Errorf("before: %s, after: %s", before, after)
	}
}
