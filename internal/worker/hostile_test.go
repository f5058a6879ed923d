//go:build unix

package worker

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"spoor/internal/inspect"
	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// hostileInputs is how many mutated files go through the workers.
const hostileInputs = 10_000

// TestHostile sends real files through the workers, mutated by a program: bytes changed, runs copied, cut and repeated, numbers made large. Whatever
// they hold, each inspection ends with the hashes of its file and says that it has ended; no worker that dies takes another file's inspection along.
func TestHostile(t *testing.T) {
	var seeds [][]byte
	for _, dir := range []string{realdata.Path(t, "files"), filepath.Join("..", "inspect", "unpack", "testdata")} {
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
	const workers = 2
	limits := inspect.DefaultLimits
	limits.Bytes = 256 << 20 // so that what unpacks to much costs little time
	p := newTestPool(t, Config{Workers: workers, Limits: limits, Memory: 256 << 20}, "-child")
	var mu sync.Mutex
	stopped := map[string]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			name := filepath.Join(t.TempDir(), fmt.Sprint(w))
			for n := w; n < hostileInputs; n += workers {
				rnd := rand.New(rand.NewPCG(uint64(n), 11))
				content := mutate(rnd, seeds)
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Error(err)
					return
				}
				f, err := os.Open(name)
				if err != nil {
					t.Error(err)
					return
				}
				whole := false
				r, err := p.Inspect(t.Context(), f, Job{Name: "x", Now: now}, func(o intel.Observation) error {
					if err := o.Check(); err != nil {
						t.Errorf("input %d: %+v: %v", n, o, err)
					}
					if a, ok := o.Fact.(intel.Attribute); ok && a.Name == intel.Inspected {
						whole = true
					} else if ok && strings.Contains(a.Value, "the reader failed") {
						t.Errorf("input %d: a reader panics: %s", n, a.Value)
					}
					return nil
				})
				f.Close()
				if err != nil {
					t.Errorf("input %d: %v", n, err)
					return
				}
				if want, _, _ := inspect.HashReader(strings.NewReader(string(content))); r.File != want || !whole {
					t.Errorf("input %d: %v, whole %v", n, r.File, whole)
				}
				if r.Stopped != "" {
					mu.Lock()
					stopped[r.Stopped]++
					if stopped[r.Stopped] == 1 {
						t.Logf("input %d stopped: %s", n, r.Stopped)
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for why, n := range stopped {
		total += n
		if strings.Contains(why, "the reader failed") {
			t.Errorf("%d inspections: %s", n, why)
		}
	}
	if total > hostileInputs/100 {
		t.Errorf("%d of %d inspections were stopped: %v", total, hostileInputs, stopped)
	}
}

// mutate makes an input of one or two of the seeds.
func mutate(rnd *rand.Rand, seeds [][]byte) []byte {
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
