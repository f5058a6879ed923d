package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree is the file system that is looked at: the machine's own, or a mounted image below a folder. Its paths are absolute and as the machine
// itself has them; in an image no link leads outside.
type tree struct {
	root *os.Root // nil for the machine's own
}

// maxLinks is how many links a path may lead over, as in the kernel.
const maxLinks = 40

var errLinks = errors.New("too many links")

func openTree(dir string) (*tree, error) {
	if filepath.Clean(dir) == "/" {
		return &tree{}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the root of the file system: %w", err)
	}
	return &tree{root}, nil
}

func (t *tree) close() error {
	if t.root == nil {
		return nil
	}
	return t.root.Close()
}

// below is how a path is called below the root.
func below(path string) string {
	if path = strings.TrimPrefix(filepath.Clean(path), "/"); path == "" {
		return "."
	}
	return path
}

// resolve returns the path without links. An absolute link in an image begins at the image's root, and ".." ends there.
func (t *tree) resolve(path string) (string, error) {
	if t.root == nil {
		return filepath.EvalSymlinks(path)
	}
	done, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		next := filepath.Join(done, element)
		info, err := t.root.Lstat(below(next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: %w", path, errLinks)
		}
		to, err := t.root.Readlink(below(next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(to) {
			done = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return done, nil
}

// lstat, readlink and open take a path whose folders hold no links.
func (t *tree) lstat(real string) (fs.FileInfo, error) {
	if t.root == nil {
		return os.Lstat(real)
	}
	return t.root.Lstat(below(real))
}

func (t *tree) readlink(real string) (string, error) {
	if t.root == nil {
		return os.Readlink(real)
	}
	return t.root.Readlink(below(real))
}

// open opens what is no link, and never waits for the other end of a pipe.
func (t *tree) open(real string) (*os.File, error) {
	if t.root == nil {
		return os.OpenFile(real, openPlainly, 0)
	}
	return t.root.OpenFile(below(real), openPlainly, 0)
}

// stat follows links.
func (t *tree) stat(path string) (fs.FileInfo, error) {
	real, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	return t.lstat(real)
}

// find opens a regular file that links may lead to.
func (t *tree) find(path string) (*os.File, error) {
	real, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	f, err := t.open(real)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s: not a regular file: %w", path, fs.ErrInvalid)
	}
	return f, nil
}

// readDir lists a folder in the order of names; without links in its path.
func (t *tree) readDir(real string) ([]fs.DirEntry, error) {
	if t.root == nil {
		return os.ReadDir(real)
	}
	f, err := t.open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// list returns the paths of what is in a folder that links may lead to; none where there is no such folder.
func (t *tree) list(dir string) (paths []string) {
	real, err := t.resolve(dir)
	if err != nil {
		return nil
	}
	entries, err := t.readDir(real)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		paths = append(paths, filepath.Join(real, e.Name()))
	}
	return paths
}
