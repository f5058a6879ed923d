package collect

import (
	"bufio"
	"io/fs"
	"path/filepath"
	"strings"

	"spoor/internal/intel"
)

// The bounds of what one machine's folders are looked through for.
const (
	maxHomes     = 1000
	maxDownloads = 10_000 // files below one download folder
	downloadDeep = 4      // folders below it
	maxScript    = 1 << 20
)

// lines calls each for the lines of a small text file; one that is not there has none.
func (c *collector) lines(path string, each func(line string)) {
	f, err := c.tree.find(path)
	if err != nil {
		return
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxScript)
	for in.Scan() {
		each(strings.TrimSpace(in.Text()))
	}
}

// homes returns the home folders of the machine's users.
func (c *collector) homes() (dirs []string) {
	seen := map[string]bool{"/": true}
	c.lines("/etc/passwd", func(line string) {
		fields := strings.Split(line, ":")
		if len(fields) < 7 || !filepath.IsAbs(fields[5]) || len(dirs) == maxHomes {
			return
		}
		if real, err := c.tree.resolve(fields[5]); err == nil && !seen[real] {
			seen[real] = true
			dirs = append(dirs, real)
		}
	})
	return dirs
}

// started returns the executables and scripts that services, timers, cron and the beginning of sessions start, as their configuration names
// them. Where it names a program without its folder, the PATH decides.
func (c *collector) started(homes []string) (paths []string) {
	program := func(name string) {
		name = strings.Trim(name, `"'`)
		if filepath.IsAbs(name) {
			paths = append(paths, name)
			return
		}
		if name == "" || strings.ContainsAny(name, "/%$") {
			return
		}
		for _, dir := range filepath.SplitList(c.o.Path) {
			if _, err := c.tree.stat(filepath.Join(dir, name)); err == nil && filepath.IsAbs(dir) {
				paths = append(paths, filepath.Join(dir, name))
				return
			}
		}
	}
	first := func(command string) {
		if fields := strings.Fields(command); len(fields) > 0 {
			program(fields[0])
		}
	}
	named := func(dir, suffix string, each func(path string)) {
		for _, path := range c.tree.list(dir) {
			if strings.HasSuffix(path, suffix) {
				each(path)
			}
		}
	}
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		named(dir, ".service", func(path string) {
			c.lines(path, func(line string) {
				key, command, ok := strings.Cut(line, "=")
				if ok && strings.HasPrefix(key, "Exec") {
					first(strings.TrimLeft(command, "@-:+!| \t")) // the marks that systemd.service(5) gives a command
				}
			})
		})
	}
	desktop := func(path string) {
		c.lines(path, func(line string) {
			if command, ok := strings.CutPrefix(line, "Exec="); ok {
				first(command)
			}
		})
	}
	named("/etc/xdg/autostart", ".desktop", desktop)
	for _, home := range homes {
		named(filepath.Join(home, ".config/autostart"), ".desktop", desktop)
	}
	cron := func(path string) {
		c.lines(path, func(line string) {
			if strings.HasPrefix(line, "#") {
				return
			}
			for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t;|&()<>=", r) }) {
				if filepath.IsAbs(strings.Trim(word, `"'`)) {
					program(word)
				}
			}
		})
	}
	cron("/etc/crontab")
	for _, dir := range []string{"/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs"} {
		named(dir, "", cron)
	}
	for _, dir := range []string{"/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly", "/etc/init.d", "/etc/profile.d"} {
		named(dir, "", func(path string) { paths = append(paths, path) })
	}
	return append(paths, "/etc/rc.local", "/etc/rc.d/rc.local", "/etc/profile")
}

// downloads returns the files in users' download folders whose attributes say where they came from, and what they say.
func (c *collector) downloads(homes []string) (paths []string, from map[string]intel.Download, err error) {
	from = map[string]intel.Download{}
	seen := map[string]bool{}
	for _, home := range homes {
		dirs := []string{filepath.Join(home, "Downloads")}
		c.lines(filepath.Join(home, ".config/user-dirs.dirs"), func(line string) {
			if dir, ok := strings.CutPrefix(line, "XDG_DOWNLOAD_DIR="); ok {
				dir = strings.Trim(dir, `"`)
				if rest, ok := strings.CutPrefix(dir, "$HOME"); ok {
					dir = home + rest
				}
				dirs = append(dirs, dir)
			}
		})
		for _, dir := range dirs {
			real, err := c.tree.resolve(dir)
			if err != nil || !filepath.IsAbs(dir) || seen[real] {
				continue
			}
			seen[real] = true
			left := maxDownloads
			err = c.walk(real, downloadDeep, func(path string, info fs.FileInfo) error {
				if left--; left < 0 {
					return fs.SkipAll
				}
				f, err := c.tree.open(path)
				if err != nil {
					c.summary.Unreadable++
					return nil
				}
				defer f.Close()
				// The names that browsers and download programs agreed on.
				if url := attribute(f, "user.xdg.origin.url"); url != "" {
					paths = append(paths, path)
					from[path] = intel.Download{URL: url, Referrer: attribute(f, "user.xdg.referrer.url")}
				}
				return nil
			})
			if err != nil {
				return paths, from, err
			}
		}
	}
	return paths, from, nil
}
