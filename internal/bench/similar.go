package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"spoor/internal/similar"
	"spoor/internal/similar/digest"
)

// similarity measures searches among TLSH and ssdeep digests, on one core, against comparing with every one and against the reference tools' own search.
func similarity(ctx context.Context, o *Options, dir string) ([]Result, error) {
	var all []Result
	sizes := []int{1_000_000, 10_000_000}
	if o.Quick {
		sizes = sizes[:1]
	}
	for _, n := range sizes {
		rs, err := searchTLSH(ctx, o, dir, n)
		if err != nil {
			return all, err
		}
		all = append(all, rs...)
		runtime.GC()
	}
	n := 1_000_000
	if o.Quick {
		n = 100_000
	}
	rs, err := searchSSDeep(ctx, o, dir, n)
	return append(all, rs...), err
}

// tlshMaker makes digests in families. Lengths and quartiles are spread as those of 75,000 files of a Linux machine are: that decides how much of an
// index a search looks at.
type tlshMaker struct {
	r    *rand.Rand
	last digest.TLSH
}

func (m *tlshMaker) next(i int) digest.TLSH {
	t := &m.last
	if i%10 == 0 {
		near := func(mean, spread float64) byte { return byte(int(mean + spread*m.r.NormFloat64() + 256)) }
		t.Length, t.Q1, t.Q2 = near(24, 11.4), near(7.2, 4.5)&15, near(6.5, 4.4)&15
		for j := range t.Body {
			t.Body[j] = byte(m.r.Uint32())
		}
	}
	for range m.r.IntN(6) {
		t.Body[m.r.IntN(32)] ^= 1 << m.r.IntN(8)
	}
	t.Checksum = byte(m.r.Uint32())
	return *t
}

func searchTLSH(ctx context.Context, o *Options, dir string, n int) ([]Result, error) {
	o.say("making and indexing %d TLSH digests", n)
	before := heap()
	var x similar.TLSH
	m := tlshMaker{r: rand.New(rand.NewPCG(21, uint64(n)))}
	var asked []digest.TLSH
	for i := range n {
		t := m.next(i)
		x.Add(&t)
		if i%(n/500) == 0 {
			asked = append(asked, t)
		}
		if i%1_000_000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	memory := float64(heap()-before) / float64(x.Len())
	million := n / 1_000_000
	within := func(distance int) (mean float64, found int) {
		start := time.Now()
		for i := range asked {
			hits, _ := x.Search(&asked[i], distance, 1000)
			found += len(hits)
		}
		return float64(time.Since(start)) / float64(len(asked)) / 1e6, found
	}
	within(30) // once to warm up
	near, found := within(30)
	far, _ := within(100)
	limit := 1.2
	if million > 1 {
		limit = 10
	}
	results := []Result{
		below(fmt.Sprintf("TLSH within 30 among %d M, mean", million), near, "ms", limit),
		below(fmt.Sprintf("TLSH within 100 among %d M, mean", million), far, "ms", limit),
		told(fmt.Sprintf("memory of an index of %d M TLSH, for each", million), memory, "bytes"),
	}
	if million > 1 {
		return results, nil
	}

	o.say("comparing with every one of them")
	m = tlshMaker{r: rand.New(rand.NewPCG(21, uint64(n)))}
	every := make([]digest.TLSH, n)
	for i := range every {
		every[i] = m.next(i)
	}
	const few = 20
	start := time.Now()
	seen := 0
	for i := range few {
		for j := range every {
			if every[j].Distance(&asked[i]) <= 30 {
				seen++
			}
		}
	}
	brute := float64(time.Since(start)) / few / 1e6
	exact := 0
	for i := range few {
		hits, _ := x.Search(&asked[i], 30, n)
		exact += len(hits)
	}
	if distinct := x.Len(); found == 0 || exact > seen || seen-exact > n-distinct {
		return results, fmt.Errorf("the index finds %d of %d near digests: %w", exact, seen, errors.ErrUnsupported)
	}
	results = append(results, atLeast("searches a second among 1 M TLSH", 1000/near, "/s", "comparing with each in the same words", 1000/brute, 1))

	tool, err := exec.LookPath("tlsh")
	if err != nil {
		return append(results, told("searches of tlsh's own (not installed: not measured)", 0, "/s")), nil
	}
	// Debian's tlsh crashes on a list of many: it gets the million in parts.
	const part = 20_000
	o.say("letting tlsh search its list")
	var taken time.Duration
	list := filepath.Join(dir, "tlsh.list")
	defer os.Remove(list)
	for rest := every; len(rest) > 0; {
		some := rest[:min(len(rest), part)]
		rest = rest[len(some):]
		err := write(list, 0, func(w *bufio.Writer, _ int64) error {
			for i := range some {
				if _, err := w.WriteString(some[i].String()[2:] + "\n"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return results, err
		}
		start = time.Now()
		if err := exec.CommandContext(ctx, tool, "-c", asked[0].String()[2:], "-T", "30", "-l", list).Run(); err != nil {
			return results, fmt.Errorf("running tlsh: %w", err)
		}
		taken += time.Since(start)
	}
	return append(results, atLeast("the same, against the tool", 1000/near, "/s", "tlsh -c -T 30 -l of the same, in parts", 1/taken.Seconds(), 1)), nil
}

// ssdeepText makes digests in families: a long one of which a stretch is changed.
func ssdeepText(r *rand.Rand, i int, last []byte) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	if i%10 == 0 || len(last) == 0 {
		last = make([]byte, 96)
		for j := range last {
			last[j] = letters[r.IntN(64)]
		}
	}
	at := r.IntN(60)
	for j := range 1 + r.IntN(20) {
		last[at+j] = letters[r.IntN(64)]
	}
	return last
}

func searchSSDeep(ctx context.Context, o *Options, dir string, n int) ([]Result, error) {
	o.say("making and indexing %d ssdeep digests", n)
	before := heap()
	x := new(similar.SSDeep)
	r := rand.New(rand.NewPCG(22, uint64(n)))
	list := filepath.Join(dir, "ssdeep.list")
	var asked []string
	err := write(list, 0, func(w *bufio.Writer, _ int64) error {
		if _, err := w.WriteString("ssdeep,1.1--blocksize:hash:hash,filename\n"); err != nil {
			return err
		}
		var last []byte
		block := 0
		for i := range n {
			if i%10 == 0 {
				block = 3 << (3 + r.IntN(12))
			}
			last = ssdeepText(r, i, last)
			s := strconv.Itoa(block) + ":" + string(last[:64]) + ":" + string(last[64:])
			x.Add(s)
			if i%(n/500) == 0 {
				asked = append(asked, s)
			}
			if _, err := fmt.Fprintf(w, "%s,\"%d\"\n", s, i); err != nil {
				return err
			}
			if i%100_000 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer os.Remove(list)
	memory := float64(heap()-before) / float64(x.Len())
	queries := make([]digest.SSDeep, len(asked))
	for i := range asked {
		if queries[i], err = digest.ParseSSDeep(asked[i]); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	for i := range queries {
		x.Search(&queries[i], 1, 1000)
	}
	mean := float64(time.Since(start)) / float64(len(queries)) / 1e6
	name := fmt.Sprintf("%d ssdeep", n)
	results := []Result{
		told("search among "+name+", mean", mean, "ms"),
		told("memory of an index of "+name+", for each", memory, "bytes"),
	}
	tool, err := exec.LookPath("ssdeep")
	if err != nil {
		return append(results, told("searches of ssdeep's own (not installed: not measured)", 0, "/s")), nil
	}
	o.say("letting ssdeep search its list")
	one := filepath.Join(dir, "ssdeep.one")
	if err := os.WriteFile(one, []byte("ssdeep,1.1--blocksize:hash:hash,filename\n"+asked[0]+",\"asked\"\n"), 0o600); err != nil {
		return results, err
	}
	start = time.Now()
	out, err := exec.CommandContext(ctx, tool, "-s", "-c", "-t", "1", "-k", list, one).Output()
	taken := time.Since(start)
	if err != nil && len(out) == 0 {
		return results, fmt.Errorf("running ssdeep: %w", err)
	}
	theirs := strings.Count(string(out), "\n")
	ours, _ := x.Search(&queries[0], 2, n) // -t 1: more than 1
	if theirs != len(ours) {
		return results, fmt.Errorf("ssdeep finds %d, the index %d: %w", theirs, len(ours), errors.ErrUnsupported)
	}
	return append(results, atLeast("searches a second among "+name, 1000/mean, "/s", "ssdeep -k of the same, reading its list too", 1/taken.Seconds(), 1)), nil
}

// heap is how many bytes of the heap are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
