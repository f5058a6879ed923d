package collect

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"spoor/internal/intel"
)

// packaged is what a package installed at a path.
type packaged struct {
	md5  intel.Hash
	name string // "coreutils 9.1-1"
}

// readPackages reads which file each dpkg package installed, by path; empty where there is no dpkg.
func readPackages(root string) map[string]packaged {
	dir := filepath.Join(root, "var/lib/dpkg")
	versions := readVersions(filepath.Join(dir, "status"))
	files := map[string]packaged{}
	lists, _ := filepath.Glob(filepath.Join(dir, "info", "*.md5sums"))
	merged := mergedFolders(root)
	for _, list := range lists {
		name := strings.TrimSuffix(filepath.Base(list), ".md5sums")
		f, err := os.Open(list)
		if err != nil {
			continue
		}
		plain, _, _ := strings.Cut(name, ":") // "libc6:amd64"
		full := strings.TrimSpace(plain + " " + versions[plain])
		in := bufio.NewScanner(f)
		for in.Scan() {
			sum, path, ok := strings.Cut(in.Text(), "  ")
			h, err := intel.ParseHash(sum)
			if !ok || err != nil || h.Algorithm() != intel.MD5 {
				continue
			}
			files[merged("/"+path)] = packaged{h, full}
		}
		f.Close()
	}
	return files
}

// readVersions reads the installed version of each package.
func readVersions(status string) map[string]string {
	versions := map[string]string{}
	f, err := os.Open(status)
	if err != nil {
		return versions
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	name := ""
	for in.Scan() {
		if v, ok := strings.CutPrefix(in.Text(), "Package: "); ok {
			name = v
		} else if v, ok := strings.CutPrefix(in.Text(), "Version: "); ok {
			versions[name] = v
		}
	}
	return versions
}

// mergedFolders returns how a path of a package is found on a machine where /bin, /lib and the like are links into /usr.
func mergedFolders(root string) func(string) string {
	links := map[string]bool{}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if info, err := os.Lstat(filepath.Join(root, d)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			links[d] = true
		}
	}
	return func(path string) string {
		if i := strings.IndexByte(path[1:], '/'); i >= 0 && links[path[:i+1]] {
			return "/usr" + path
		}
		return path
	}
}
