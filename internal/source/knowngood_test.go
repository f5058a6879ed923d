package source

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// TestDpkgRealLists counts the real lists again: each line is a listing of its package, and a name.
func TestDpkgRealLists(t *testing.T) {
	lists, err := filepath.Glob(filepath.Join(realdata.Path(t, "knowngood"), "*.md5sums"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no lists: %v", err)
	}
	for _, path := range lists {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		k := &kept{}
		result, err := Read(t.Context(), NewInput(path, bytes.NewReader(b)), Options{Now: testNow}, k)
		if err != nil || result.Format != Dpkg || len(k.refusals) > 0 {
			t.Errorf("%s: %v, %+v, %v", path, err, result, k.refusals)
		}
		checkAll(t, k)
		i := 0
		for line := range strings.Lines(string(b)) {
			sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
			o, named := k.observations[2*i], k.observations[2*i+1]
			listing := intel.Listing{Feed: "dpkg", Zone: intel.Green, Threat: strings.TrimSuffix(filepath.Base(path), ".md5sums")}
			if o.File.MD5.String() != sum || o.Fact != listing || named.Fact != (intel.Attribute{Name: intel.OriginalName, Value: name[strings.LastIndexByte(name, '/')+1:]}) {
				t.Errorf("%s: %q became %+v, %+v", path, line, o, named)
			}
			i++
		}
		if len(k.observations) != 2*i {
			t.Errorf("%s: %d observations of %d lines", path, len(k.observations), i)
		}
	}
}

// TestNSRLHostile: a database that is cut, changed or of something else is refused in part or whole, and nothing else happens.
func TestNSRLHostile(t *testing.T) {
	whole := golden(t, "testdata/nsrl/rds", "input")
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for i := range 120 {
		b := bytes.Clone(whole)
		switch {
		case i < 20:
			b = b[:max(len(b)*i/20, 16)]
		default:
			for range 1 + random.IntN(8) {
				b[16+random.IntN(len(b)-16)] = byte(random.Uint32())
			}
		}
		k, _ := read(t, bytes.NewReader(b), Options{Now: testNow})
		checkAll(t, k)
		refused += len(k.refusals)
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
