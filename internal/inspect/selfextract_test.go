package inspect

import (
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/realdata"
)

// TestSelfExtractorSamples opens those that Lhasa and libarchive have for samples.
func TestSelfExtractorSamples(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(realdata.Sample(t, "lhasa", "test", "archives"), "*", "sfx*.exe"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(realdata.Sample(t, "libarchive", "libarchive", "test"), "*_sfx.exe.uu"))
	if err != nil {
		t.Fatal(err)
	}
	if paths = append(paths, more...); len(paths) < 8 {
		t.Errorf("samples %q", paths)
	}
	for _, path := range paths {
		_, all := look(t, realdata.Decoded(t, path), filepath.Base(path), nil)
		got := strings.Join(members(all), "\n")
		if !strings.Contains(strings.ToLower(got), "gpl") && !strings.Contains(got, "test") {
			t.Errorf("%s: %s, %q", path, got, notesOf(all))
		}
	}
}
