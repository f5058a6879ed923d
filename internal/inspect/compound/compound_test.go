package compound

import (
	"bytes"
	"io"
	"os"
	"testing"

	"spoor/internal/realdata"
)

func TestOpenOfRealFile(t *testing.T) {
	b, err := os.ReadFile(realdata.Path(t, "files", "relic-functest", "dummy.msi"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	e := f.Find("\x05SummaryInformation")
	if e == nil {
		t.Fatalf("no summary among %d entries", len(f.Entries))
	}
	// The stream is a property set: byte order mark, version 0.
	if got := f.Read(e, 1<<20); int64(len(got)) != e.Size || !bytes.HasPrefix(got, []byte("\xFE\xFF\x00\x00")) {
		t.Errorf("%d bytes of %d: % x", len(got), e.Size, got[:min(len(got), 4)])
	}
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Kind == Stream && int64(len(f.Read(e, e.Size))) != e.Size {
			t.Errorf("%q is cut", e.Path)
		} else if e.Kind == Stream {
			if got, err := io.ReadAll(f.Stream(e, e.Size)); err != nil || !bytes.Equal(got, f.Read(e, e.Size)) {
				t.Errorf("%q: as a stream it has %d bytes, %v", e.Path, len(got), err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	b := make([]byte, 2048)
	copy(b, Magic)
	b[30], b[32], b[48], b[57] = 9, 6, 1, 0x10
	b[512], b[513], b[514], b[515] = 0xFD, 0xFF, 0xFF, 0xFF
	b[516], b[517], b[518], b[519] = 0xFE, 0xFF, 0xFF, 0xFF
	b[1024], b[1088], b[1090] = 'R', 4, 5
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for i := range file.Entries {
			if e := &file.Entries[i]; i > 0 {
				path := e.Name
				if e.Parent < 0 || e.Parent >= i {
					t.Fatalf("%q is in the entry %d", e.Path, e.Parent)
				} else if e.Parent > 0 {
					path = file.Entries[e.Parent].Path + "/" + path
				}
				if e.Path != path || file.Entries[e.Parent].Kind == Stream {
					t.Errorf("%q is in %q", e.Path, file.Entries[e.Parent].Path)
				}
			}
			if got := file.Read(&file.Entries[i], 1<<30); len(got) > len(b) {
				t.Fatalf("%d bytes of a file of %d", len(got), len(b))
			}
			if got, _ := io.ReadAll(file.Stream(&file.Entries[i], 1<<30)); len(got) > len(b) {
				t.Fatalf("a stream of %d bytes in a file of %d", len(got), len(b))
			}
		}
	})
}
