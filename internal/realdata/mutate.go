package realdata

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Seeds returns the contents of the files below folders that are small enough to be mutated many times.
func Seeds(t testing.TB, folders ...string) (seeds [][]byte) {
	t.Helper()
	for _, dir := range folders {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if len(b) > 0 && len(b) < 128<<10 {
				seeds = append(seeds, b)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seeds) < 10 {
		t.Fatalf("%d files to begin with", len(seeds))
	}
	return seeds
}

// Mutate makes an input of one or two of the seeds: bytes changed, runs copied, cut and repeated, numbers made large.
func Mutate(rnd *rand.Rand, seeds [][]byte) []byte {
	b := append([]byte(nil), seeds[rnd.IntN(len(seeds))]...)
	for range 1 + rnd.IntN(8) {
		if len(b) == 0 {
			return b
		}
		at := rnd.IntN(len(b))
		if rnd.IntN(2) == 0 {
			at = rnd.IntN(min(len(b), 512)) // headers say most
		}
		run := 1 + rnd.IntN(16)
		switch end := min(len(b), at+run); rnd.IntN(8) {
		case 0:
			b[at] ^= 1 << rnd.IntN(8)
		case 1:
			for i := at; i < end; i++ {
				b[i] = byte(rnd.Uint32())
			}
		case 2: // a number becomes very large, or zero
			fill := []byte{0xFF, 0x7F, 0x80, 0}[rnd.IntN(4)]
			for i := at; i < min(len(b), at+1<<rnd.IntN(4)); i++ {
				b[i] = fill
			}
		case 3:
			b = b[:at]
		case 4:
			b = append(b[:at:at], b[end:]...)
		case 5: // a run again
			from := rnd.IntN(len(b))
			b = append(b[:at:at], append(append([]byte(nil), b[from:min(len(b), from+1+rnd.IntN(4096))]...), b[at:]...)...)
		case 6: // a part of another file
			other := seeds[rnd.IntN(len(seeds))]
			from := rnd.IntN(len(other))
			copy(b[at:], other[from:min(len(other), from+1+rnd.IntN(4096))])
		case 7:
			b = append(b, seeds[rnd.IntN(len(seeds))]...)
		}
		if len(b) > 1<<20 {
			b = b[:1<<20]
		}
	}
	return b
}
