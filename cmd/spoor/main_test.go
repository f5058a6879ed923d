package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"spoor/internal/intel"
)

// TestMain lets the test binary be spoor itself, for scripts and for the crash test. What it says must not depend on how fast the machine is.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"spoor": func() {
		firstProgress = time.Hour
		main()
	}})
}

// fileNumber makes the hashes of the n-th file of a test.
func fileNumber(n int) intel.Hashes {
	text := fmt.Append(nil, "file ", n)
	sum := sha256.Sum256(text)
	weak := md5.Sum(text)
	var h intel.Hashes
	for _, x := range []struct {
		a intel.Algorithm
		b []byte
	}{{intel.MD5, weak[:]}, {intel.SHA256, sum[:]}} {
		one, err := intel.HashFromBytes(x.a, x.b)
		if err != nil {
			panic(err)
		}
		h.Set(one)
	}
	return h
}

// writeObservations writes n lines about a number of files, and returns those files' MD5s.
func writeObservations(t *testing.T, file string, n, files int) (hashes string) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for i := range n {
		f := fileNumber(r.IntN(files))
		o := intel.Observation{Source: intel.Source{Type: intel.Telemetry, Name: "test"}, Time: time.Unix(1_700_000_000+int64(i), 0).UTC(), File: f}
		switch i % 4 {
		case 0, 1:
			o.Fact = intel.Sighting{Path: fmt.Sprintf(`C:\Program Files\app%d\run.exe`, r.IntN(50)), Host: fmt.Sprint("host", r.IntN(500))}
		case 2:
			o.File = intel.Hashes{}
			o.Fact = intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: f}, To: intel.Object{Hashes: fileNumber(r.IntN(files))}}
		case 3:
			o.File.SHA256 = intel.Hash{}
			o.Fact = intel.Access{URL: fmt.Sprintf("http://host%d.example/", r.IntN(1000))}
		}
		if err := e.Encode(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for i := range files {
		fmt.Fprintln(&all, fileNumber(i).MD5)
	}
	return all.String()
}

// spoor runs the command in a process of its own and returns what it prints.
func spoor(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "spoor", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("spoor %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// TestKill kills an import (SIGKILL) at random points, twenty times, and takes it up again until it is through. The answers must be those of
// an undisturbed import, hit counts included.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "observations.ndjson")
	hashes := writeObservations(t, input, 250_000, 1500)
	undisturbed := filepath.Join(dir, "undisturbed")
	start := time.Now()
	spoor(t, "", "import", "--data", undisturbed, input)
	whole := time.Since(start)
	want := spoor(t, hashes, "lookup", "--data", undisturbed, "--json")
	if strings.Contains(want, `"Known":false`) {
		t.Fatal("the undisturbed import left a file unknown")
	}

	r := rand.New(rand.NewPCG(uint64(start.UnixNano()), 1)) // the points are random indeed; the outcome must not depend on them
	kills := 0
	for round := 0; ; round++ {
		data := filepath.Join(dir, fmt.Sprint("killed", round))
		killed := 0
		for {
			cmd := exec.CommandContext(t.Context(), "spoor", "import", "--data", data, input)
			cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			through := make(chan error, 1)
			go func() { through <- cmd.Wait() }()
			var err error
			select {
			case err = <-through:
				if err != nil {
					t.Fatalf("after %d kills the import fails: %v", killed, err)
				}
			case <-time.After(time.Duration(r.Float64() * float64(whole))):
				if kills+killed >= 20 { // enough: let this one finish
					err = <-through
				} else if killErr := cmd.Process.Kill(); killErr == nil {
					err = <-through
				}
			}
			if err == nil {
				break
			}
			killed++
		}
		if killed == 0 && kills < 20 {
			continue // it was through before its time was up
		}
		kills += killed
		got := spoor(t, hashes, "lookup", "--data", data, "--json")
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Fatalf("after %d kills the answers differ (-undisturbed +killed):\n%s", killed, diff)
		}
		if kills >= 20 {
			return
		}
	}
}
