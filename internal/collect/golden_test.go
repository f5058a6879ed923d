package collect_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/collect"
	"spoor/internal/intel"
	"spoor/internal/source"
)

type goldenSink struct {
	told    []string
	refused int
}

func (s *goldenSink) Observe(o intel.Observation) error {
	line := o.File.SHA256.String()[:8] + " " + o.Source.Name + " "
	switch f := o.Fact.(type) {
	case intel.Listing:
		line += "listed " + f.Zone.String() + " in " + f.Feed
	case intel.Attribute:
		line += string(f.Name) + " " + f.Value
	default:
		line += f.Kind()
	}
	if o.File.MD5.IsZero() || o.File.SHA1.IsZero() {
		line += " without all hashes"
	}
	s.told = append(s.told, line)
	return nil
}
func (s *goldenSink) Refuse(intel.Refusal) { s.refused++ }

func TestGoldenImage(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"bin/a": "one", "lib/b.so": "two", "lib/same": "one", "junk": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s, files := &goldenSink{}, 0
	if err := collect.Golden(t.Context(), []string{dir}, source.Options{Now: time.Unix(1777622400, 0)}, s, func(string, int64) { files++ }); err != nil {
		t.Fatal(err)
	}
	short := func(content string) string {
		sum := sha256.Sum256([]byte(content))
		return hex.EncodeToString(sum[:4]) + " golden image "
	}
	want := []string{
		short("one") + "listed green in golden image", short("one") + "original_name a", short("one") + "size 3",
		short("") + "listed green in golden image", short("") + "original_name junk", short("") + "size 0",
		short("two") + "listed green in golden image", short("two") + "original_name b.so", short("two") + "size 3",
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(s.told, "\n")); diff != "" || files != 4 || s.refused != 0 {
		t.Errorf("%d files, %d refused, (-want +got):\n%s", files, s.refused, diff)
	}
}

// TestGoldenPackages: a package is a container of the files that it states, and they are known good with it; a damaged one is a file as any other.
func TestGoldenPackages(t *testing.T) {
	dir := t.TempDir()
	for name, from := range map[string]string{"a.deb": "deb/gzip", "b.rpm": "rpm/sha256"} {
		b, err := os.ReadFile(filepath.Join("../source/testdata", from, "input"))
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{name: b, "cut-" + name: b[:len(b)-3]} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := &factSink{}
	if err := collect.Golden(t.Context(), []string{dir}, source.Options{Now: time.Unix(1777622400, 0)}, s, func(string, int64) {}); err != nil {
		t.Fatal(err)
	}
	listings, members := map[string]string{}, map[string]string{}
	for _, o := range s.observations {
		switch f := o.Fact.(type) {
		case intel.Listing:
			if f.Feed != collect.GoldenFeed || f.Zone != intel.Green {
				t.Errorf("%+v", o)
			}
			listings[o.File.Strongest().String()] = f.Threat
		case intel.Relation:
			members[f.To.Path] = f.From.Name
		}
	}
	if len(listings) != 8 || listings["5d41402abc4b2a76b9719d911017c592"] != "amber-tools 1:2.0-3" {
		t.Errorf("listings: %v", listings)
	}
	if diff := cmp.Diff(map[string]string{"usr/bin/amber": "a.deb", "usr/share/doc/amber tools/copyright": "a.deb", "/usr/bin/amber": "b.rpm", "/usr/share/copyright": "b.rpm"}, members); diff != "" {
		t.Error(diff)
	}
	if s.refused != 5 { // three faulty digests, two packages that are cut
		t.Errorf("%d refused", s.refused)
	}
}

type factSink struct {
	observations []intel.Observation
	refused      int
}

func (s *factSink) Observe(o intel.Observation) error {
	s.observations = append(s.observations, o)
	return nil
}
func (s *factSink) Refuse(intel.Refusal) { s.refused++ }
