package bench

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/intel"
	"spoor/internal/worker"
)

// inspecting measures the reading of files: hashing, programs, and packages made of this machine's own files.
func inspecting(ctx context.Context, o *Options, dir string) ([]Result, error) {
	var all []Result
	for _, part := range []func(context.Context, *Options, string) ([]Result, error){hashing, programs, packages, scanning} {
		rs, err := part(ctx, o, dir)
		all = append(all, rs...)
		if err != nil {
			return all, fmt.Errorf("measuring inspection: %w", err)
		}
	}
	return all, nil
}

// hashing compares the three hashes in one pass with MD5, the slowest of them, alone.
func hashing(_ context.Context, o *Options, _ string) ([]Result, error) {
	o.say("hashing")
	data := make([]byte, 64<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], rnd.Uint64())
	}
	// In turn, the best of each: what else the machine does slows both.
	var three, one float64
	for range 6 {
		start := time.Now()
		if _, _, err := inspect.HashReader(bytes.NewReader(data)); err != nil {
			return nil, err
		}
		three = max(three, float64(len(data))/1e6/time.Since(start).Seconds())
		start = time.Now()
		md5.Sum(data)
		one = max(one, float64(len(data))/1e6/time.Since(start).Seconds())
	}
	return []Result{atLeast("MD5, SHA-1 and SHA-256 in one pass", three, "MB/s", "MD5 alone, same bytes", one, 0.9)}, nil
}

// inspectAll inspects files, as many at once as there are workers, and returns how long it took, how many members were found, and the most memory that a
// worker had.
func inspectAll(ctx context.Context, o *Options, files []string, workers int) (took time.Duration, members int, memory int64, err error) {
	return inspectWith(ctx, worker.Config{Command: o.Worker, Workers: workers, Scratch: filepath.Dir(files[0])}, files)
}

// inspectWith is inspectAll by a pool that works in a certain way.
func inspectWith(ctx context.Context, c worker.Config, files []string) (took time.Duration, members int, memory int64, err error) {
	p := worker.NewPool(c)
	defer p.Close()
	next := make(chan string)
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range c.Workers {
		wg.Go(func() {
			for name := range next {
				f, openErr := os.Open(name)
				var r worker.Result
				if openErr == nil {
					r, openErr = p.Inspect(ctx, f, worker.Job{Name: filepath.Base(name), Now: start}, func(intel.Observation) error { return nil })
					f.Close()
				}
				if openErr == nil && r.Stopped != "" {
					openErr = errors.New(r.Stopped)
				}
				mu.Lock()
				members += r.Members
				err = errors.Join(err, openErr)
				mu.Unlock()
			}
		})
	}
	for _, name := range files {
		next <- name
	}
	close(next)
	wg.Wait()
	took = time.Since(start)
	p.Close()
	return took, members, p.PeakMemory(), err
}

// programs measures the inspection of PE files, with one worker.
func programs(ctx context.Context, o *Options, dir string) ([]Result, error) {
	n := 2000
	if o.Quick {
		n = 500
	}
	o.say("inspecting %d programs", n)
	dir = filepath.Join(dir, "programs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var files []string
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("%d.exe", i))
		if err := os.WriteFile(name, program(i), 0o600); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	took, _, _, err := inspectAll(ctx, o, files, 1)
	if err != nil {
		return nil, err
	}
	return []Result{reaches("PE inspection, one worker, 150 KB each", float64(n)/took.Seconds(), "files/s", 200)}, nil
}

// program makes a PE of 150 KB: code that looks like code to entropy, and an import table.
func program(i int) []byte {
	le := binary.LittleEndian
	const headers, code, data = 0x400, 140 << 10, 10 << 10
	b := make([]byte, headers+code+data)
	copy(b, "MZ")
	le.PutUint32(b[0x3C:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], 0x14C)
	le.PutUint16(p[6:], 2)
	le.PutUint32(p[8:], 1_700_000_000+uint32(i))
	le.PutUint16(p[20:], 224)
	le.PutUint16(p[22:], 0x102)
	opt := p[24:]
	le.PutUint16(opt, 0x10B)
	le.PutUint32(opt[16:], 0x1000)
	le.PutUint32(opt[28:], 0x400000)
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], 0x200)
	le.PutUint32(opt[56:], 0x40000)
	le.PutUint32(opt[60:], headers)
	le.PutUint32(opt[92:], 16)
	const base = 0x30000
	le.PutUint32(opt[104:], base)
	le.PutUint32(opt[108:], 40)
	for k, s := range []struct {
		name          string
		va, off, size uint32
		flags         uint32
	}{{".text", 0x1000, headers, code, 0x60000020}, {".rdata", base, headers + code, data, 0x40000040}} {
		h := opt[224+40*k:]
		copy(h, s.name)
		le.PutUint32(h[8:], s.size)
		le.PutUint32(h[12:], s.va)
		le.PutUint32(h[16:], s.size)
		le.PutUint32(h[20:], s.off)
		le.PutUint32(h[36:], s.flags)
	}
	rnd := rand.New(rand.NewPCG(uint64(i), 3))
	for k := headers; k < headers+code; k++ {
		b[k] = byte(rnd.Uint32() & rnd.Uint32()) // zeros are frequent, as in code
	}
	d := b[headers+code:]
	const imports = 100
	names := 40 + 4*(imports+1)
	le.PutUint32(d[0:], base+40)
	le.PutUint32(d[16:], base+40)
	for k := range imports {
		le.PutUint32(d[40+4*k:], base+uint32(names))
		names += 2 + copy(d[names+2:], fmt.Sprintf("Function%d\x00", (k*7+i)%1000))
	}
	le.PutUint32(d[12:], base+uint32(names))
	copy(d[names:], "KERNEL32.dll\x00")
	return b
}

// packages measures the inspection of packages of this machine's own files, against 7-Zip's test of the same packages and sha256sum of their members.
func packages(ctx context.Context, o *Options, dir string) ([]Result, error) {
	n := 1000
	if o.Quick {
		n = 100
	}
	dir = filepath.Join(dir, "packages")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o.say("packing this machine's files into %d packages", n)
	files, loose, size, err := pack(ctx, dir, n)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	o.say("inspecting %d packages of %d MB unpacked", len(files), size>>20)
	took, members, memory, err := inspectAll(ctx, o, files, runtime.NumCPU())
	if err != nil {
		return nil, err
	}
	rate := Result{Name: fmt.Sprintf("inspection of %d packages, %d members", len(files), members), Value: round(float64(size) / 1e6 / took.Seconds()), Unit: "MB/s unpacked", Reached: true}
	all := []Result{rate, told("the same in packages", float64(len(files))/took.Seconds(), "files/s")}
	if memory > 0 {
		all = append(all, below("most memory of a worker at it", float64(memory)/1e6, "MB", 512))
	}
	submitted, err := submitting(ctx, o, dir, files)
	all = append(all, submitted...)
	if err != nil {
		return all, err
	}
	seven := ""
	for _, name := range []string{"7zz", "7z", "7za"} {
		if path, err := exec.LookPath(name); err == nil {
			seven = path
			break
		}
	}
	sum, sumErr := exec.LookPath("sha256sum")
	if seven == "" || sumErr != nil {
		all[0].Name += " (7z or sha256sum is not installed: no peer)"
		return all, nil
	}
	o.say("the same with 7z and sha256sum")
	start := time.Now()
	for _, f := range files {
		if out, err := exec.CommandContext(ctx, seven, "t", "-bd", f).CombinedOutput(); err != nil {
			return all, fmt.Errorf("7z: %w: %s", err, out)
		}
	}
	cmd := exec.CommandContext(ctx, "xargs", "-0", sum)
	cmd.Stdin, cmd.Stdout = strings.NewReader(strings.Join(loose, "\x00")), io.Discard
	if err := cmd.Run(); err != nil {
		return all, fmt.Errorf("sha256sum: %w", err)
	}
	peer := float64(size) / 1e6 / time.Since(start).Seconds()
	all[0].Peer, all[0].PeerValue, all[0].Ratio = "7z t, and sha256sum of the members", round(peer), round(all[0].Value/peer)
	return all, nil
}

// pack makes packages of the files below /usr: a hundred files or 4 MB each. It returns the packages, the files in them, and their bytes.
func pack(ctx context.Context, dir string, n int) (packed, loose []string, size int64, err error) {
	var z *zip.Writer
	var f *os.File
	inIt, bytesIn := 0, int64(0)
	end := func() error {
		if z == nil {
			return nil
		}
		err := errors.Join(z.Close(), f.Close())
		z = nil
		return err
	}
	enough := errors.New("enough")
	err = filepath.WalkDir("/usr", func(path string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() || info.Size() == 0 || info.Size() > 4<<20 {
			return nil
		}
		in, err := os.Open(path)
		if err != nil {
			return nil // not ours to read
		}
		defer in.Close()
		if z == nil {
			if len(packed) == n {
				return enough
			}
			name := filepath.Join(dir, fmt.Sprintf("%d.zip", len(packed)))
			if f, err = os.Create(name); err != nil {
				return err
			}
			z, inIt, bytesIn = zip.NewWriter(f), 0, 0
			packed = append(packed, name)
		}
		w, err := z.Create(strings.TrimPrefix(path, "/"))
		if err == nil {
			_, err = io.Copy(w, in)
		}
		if err != nil {
			return err
		}
		loose = append(loose, path)
		size += info.Size()
		if inIt, bytesIn = inIt+1, bytesIn+info.Size(); inIt >= 100 || bytesIn >= 4<<20 {
			return end()
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return packed, loose, size, errors.Join(err, end())
}
