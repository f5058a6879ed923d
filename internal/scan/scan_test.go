package scan

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
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

func TestYARA(t *testing.T) {
	need(t, "yarac", "yara")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "good.yar"), `
rule Plain { strings: $a = "marker" condition: $a }
rule Scored : tag { meta: author = "someone [else], \"quoted\"" score = 80 reference = "https://reports.example/1" strings: $a = "marker" condition: $a }
rule Weak { meta: score = 40 strings: $a = "marker" condition: $a }
rule Told { meta: zone = "green" reference = "not a URL" strings: $a = "marker" condition: $a }
rule Other { strings: $a = "absent" condition: $a }`)
	bad := filepath.Join(dir, "sub", "bad.yara")
	if err := os.Mkdir(filepath.Dir(bad), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, bad, `rule Bad { condition: nonsense }`)
	put(t, filepath.Join(dir, "note.txt"), "no rules")
	s, err := New(Config{Rules: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if used, wrong := s.Rules(); used != 1 || len(wrong) != 1 || !strings.Contains(wrong[bad], "nonsense") {
		t.Errorf("%d used, wrong: %v", used, wrong)
	}
	scan := func(content string) []intel.Detection {
		t.Helper()
		f := open(t, content)
		found, notes := s.Scan(t.Context(), f, int64(len(content)))
		if len(notes) > 0 {
			t.Errorf("notes %q", notes)
		}
		return found
	}
	want := []intel.Detection{{Name: "Plain", Method: "yara", Zone: intel.Orange}, {Name: "Scored", Method: "yara", Zone: intel.Red, URL: "https://reports.example/1"},
		{Name: "Weak", Method: "yara", Zone: intel.Yellow}, {Name: "Told", Method: "yara", Zone: intel.Green}}
	if diff := cmp.Diff(want, scan("a marker here")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := scan("nothing"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	// A change is taken up: the bad file is put right, the good one is gone.
	put(t, bad, `rule Good { strings: $a = "marker" condition: $a }`)
	if err := os.Remove(filepath.Join(dir, "good.yar")); err != nil {
		t.Fatal(err)
	}
	s.yara.mu.Lock()
	s.yara.looked = time.Time{}
	s.yara.mu.Unlock()
	if diff := cmp.Diff([]intel.Detection{{Name: "Good", Method: "yara", Zone: intel.Orange}}, scan("a marker")); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	if _, err := New(Config{Rules: filepath.Join(dir, "nowhere")}); err == nil {
		t.Error("a folder that is not there is taken")
	}
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
	c := newClamd(socket)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for c.ping(ctx) != nil {
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
		{strings.Repeat("harmless", 1<<18), nil, "clamav: not asked: INSTREAM size limit exceeded."},
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

func FuzzMatches(f *testing.F) {
	f.Add("Rule [author=\"a \\\"b\\\"\",score=75,x=true] /t\n", "/t")
	f.Add("Rule [] /t", "/t")
	f.Add("[", "")
	f.Fuzz(func(t *testing.T, said, target string) {
		for _, d := range matches(said, target) {
			if d.Name == "" || d.Zone == 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}
