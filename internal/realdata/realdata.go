// Package realdata finds the real logs, feeds and packages that tests read where they are there. They are never part of this repository.
package realdata

import (
	"os"
	"path/filepath"
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
