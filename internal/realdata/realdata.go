// Package realdata finds the real logs, feeds and packages that tests read where they are there. They are never part of this repository.
package realdata

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Path returns where a part of the data is: below $SPOOR_SHARED, else below the folder shared beside the project's root.
// The test is skipped, and says why, where it is not there.
func Path(t testing.TB, part ...string) string {
	t.Helper()
	shared := os.Getenv("SPOOR_SHARED")
	if shared == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
			if filepath.Dir(root) == root {
				t.Fatal("no go.mod above the working directory")
			}
			root = filepath.Dir(root)
		}
		shared = filepath.Join(filepath.Dir(root), "shared")
	}
	path := filepath.Join(append([]string{shared, "data"}, part...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real data is not there: %v", err)
	}
	return path
}

// Sample returns where a file of a Debian source package is that .ci/samples fetched into the folder $SPOOR_SAMPLES: package and path in it.
// The test is skipped, and says how to have it, where it is not there.
func Sample(t testing.TB, pkg string, part ...string) string {
	t.Helper()
	folder := os.Getenv("SPOOR_SAMPLES")
	if folder == "" {
		t.Skip("the sample archives of Debian's source packages are not there: fetch them by .ci/samples FOLDER and set SPOOR_SAMPLES=FOLDER")
	}
	path := filepath.Join(append([]string{folder, pkg}, part...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the sample is not there, run .ci/samples again: %v", err)
	}
	return path
}

// Decoded returns the bytes of a file, which are decoded when its name ends in .uu, as libarchive keeps its samples.
func Decoded(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) != ".uu" {
		return b
	}
	var out []byte
	begun := false
	for _, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if !begun || line == "" {
			begun = begun || strings.HasPrefix(line, "begin ") // "begin 644 name"; some have a word before it
			continue
		}
		if line == "end" {
			return out
		}
		n := int(line[0]-' ') & 63
		var group []byte
		for at := 1; len(group) < n; at += 4 {
			var v uint32
			for k := range 4 {
				v <<= 6
				if at+k < len(line) {
					v |= uint32(line[at+k]-' ') & 63
				}
			}
			group = append(group, byte(v>>16), byte(v>>8), byte(v))
		}
		out = append(out, group[:n]...)
	}
	t.Fatalf("%s: no end", path)
	return nil
}
