// Package durable puts files in their place so that whoever looks, also after a crash or a loss of power, finds the old or the new one whole.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// unfinished begins the name of a file that Replace has not put in its place yet.
const unfinished = ".new-"

// RemoveUnfinished removes from a folder what a Replace left that was cut off. Nobody may be replacing a file there meanwhile.
func RemoveUnfinished(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	for _, n := range names {
		_ = os.Remove(n) // it is in nobody's way
	}
}

// Replace writes a file in the place of another one, or as a new one, and returns when it will be found there. Only its owner may read it; what root
// writes belongs to whoever owns the folder.
func Replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when all went well
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	Own(f.Name())
	return Rename(f.Name(), path)
}

// Rename gives a file, whose content is synced, another name on the same disk and returns when it will be found there.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}
