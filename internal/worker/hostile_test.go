//go:build unix

package worker

import (
	"fmt"
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

// TestHostile sends real files through the workers, mutated by a program: bytes changed, runs copied, cut and repeated, numbers made large; of
// two in ten the numbers, names and checksums as the format has them, packed into other archives. Whatever they hold, each inspection ends with the hashes of its file and says that it has ended; no worker that dies takes another file's inspection along.
func TestHostile(t *testing.T) {
	seeds := realdata.Seeds(t, realdata.Path(t, "files"), filepath.Join("..", "inspect", "unpack", "testdata"))
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
				mutate := realdata.Mutate
				if n%10 < 2 {
					mutate = realdata.MutateFields
				}
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
