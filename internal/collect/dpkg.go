package collect

import (
	"bufio"
	"io/fs"
	"path/filepath"
	"strings"

	"spoor/internal/intel"
)

// packaged is what a package installed at a path.
type packaged struct {
	sum     intel.Hash
	manager string // "dpkg", "rpm"
	name    string // "coreutils 9.1-1"
}

// is reports whether a file is what the package installed.
func (p *packaged) is(f *intel.Hashes) bool {
	switch p.sum.Algorithm() {
	case intel.MD5:
		return p.sum == f.MD5
	case intel.SHA1:
		return p.sum == f.SHA1
	}
	return p.sum == f.SHA256
}

// readDpkg adds which file each dpkg package installed, by path.
func readDpkg(t *tree, files map[string]packaged) {
	const dir = "/var/lib/dpkg"
	versions := readVersions(t, dir+"/status")
	merged := mergedFolders(t)
	for _, list := range t.list(dir + "/info") {
		name, ok := strings.CutSuffix(filepath.Base(list), ".md5sums")
		if !ok {
			continue
		}
		f, err := t.find(list)
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
			files[merged("/"+path)] = packaged{h, "dpkg", full}
		}
		f.Close()
	}
}

// readVersions reads the installed version of each package.
func readVersions(t *tree, status string) map[string]string {
	versions := map[string]string{}
	f, err := t.find(status)
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
func mergedFolders(t *tree) func(string) string {
	links := map[string]bool{}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if info, err := t.lstat(d); err == nil && info.Mode()&fs.ModeSymlink != 0 {
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
