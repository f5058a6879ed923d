//go:build linux

package collect_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"spoor/internal/collect"
	"spoor/internal/intel"
)

// machine is a file system made up below a folder.
type machine struct {
	*testing.T
	root string
}

func newMachine(t *testing.T) machine {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can be collected from")
	}
	return machine{t, t.TempDir()}
}

func (m machine) file(path, content string, mode os.FileMode) {
	m.Helper()
	name := filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		m.Fatal(err)
	}
}

func (m machine) link(path, to string) {
	m.Helper()
	name := filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		m.Fatal(err)
	}
}

// process adds a process that was started so many seconds after the machine.
func (m machine) process(pid, parent int, name, exe string, seconds int) {
	m.Helper()
	m.link(fmt.Sprintf("proc/%d/exe", pid), exe)
	m.file(fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf("%d (%s) S %d%s %d00 1 2 3\n", pid, name, parent, strings.Repeat(" 0", 17), seconds), 0o644)
}

// sink keeps what is told, as text.
type sink struct {
	lines []string
	fail  error
}

func (s *sink) Observe(o intel.Observation) error {
	if s.fail != nil {
		return s.fail
	}
	h := o.File.MD5.String()
	at := ""
	if !o.Time.IsZero() {
		at = o.Time.UTC().Format("15:04:05 ")
	}
	switch f := o.Fact.(type) {
	case intel.Sighting:
		s.lines = append(s.lines, fmt.Sprintf("%s%.4s at %s on %s", at, h, f.Path, f.Host))
	case intel.Attribute:
		s.lines = append(s.lines, fmt.Sprintf("%.4s %s %s", h, f.Name, f.Value))
	case intel.Download:
		s.lines = append(s.lines, fmt.Sprintf("%.4s from %s by %s", h, f.URL, f.Referrer))
	case intel.Listing:
		s.lines = append(s.lines, fmt.Sprintf("%.4s of %s %s: %s", h, f.Feed, f.Threat, f.Zone))
	case intel.Relation:
		s.lines = append(s.lines, fmt.Sprintf("%s%.4s %s %s %.4s %s", at, f.From.MD5, f.From.Path, f.Verb, f.To.MD5, f.To.Path))
	}
	return nil
}

func (s *sink) Refuse(r intel.Refusal) { s.lines = append(s.lines, "refused "+r.Error()) }

func sum(content string) string { return fmt.Sprintf("%x", md5.Sum([]byte(content))) }

func (m machine) run(o collect.Options) ([]string, *collect.Summary) {
	m.Helper()
	o.Root, o.Host = m.root, "h"
	o.Now = func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	var s sink
	got, err := collect.Run(m.Context(), o, &s)
	if err != nil {
		m.Fatal(err)
	}
	slices.Sort(s.lines)
	return s.lines, got
}

// told writes the lines of a test with the file's content instead of its hash.
func told(lines ...string) []string {
	for i, line := range lines {
		words := strings.Split(line, " ")
		for j, w := range words {
			if content, ok := strings.CutPrefix(w, "="); ok {
				words[j] = sum(content)[:4]
			}
		}
		lines[i] = strings.Join(words, " ")
	}
	slices.Sort(lines)
	return lines
}

func compare(m machine, want, got []string, summary, wanted collect.Summary) {
	m.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		m.Errorf("observations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wanted, summary, cmpopts.IgnoreFields(collect.Summary{}, "Took", "Seconds"), cmpopts.EquateEmpty()); diff != "" {
		m.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestProcesses(t *testing.T) {
	m := newMachine(t)
	m.file("proc/stat", "cpu 1 2 3\nbtime 1777600000\nprocesses 9\n", 0o644) // 2026-05-01 01:46:40
	m.file("proc/version", "x", 0o644)
	m.file("usr/sbin/init", "init", 0o755)
	m.file("usr/bin/odd", "odd", 0o755)
	m.process(1, 0, "init", "/usr/sbin/init", 1)
	m.process(7, 1, "odd) S 99 (x", "/usr/bin/odd", 10)
	m.process(8, 7, ")(", "/usr/bin/odd", 20)
	m.process(9, 2, "orphan", "/usr/bin/odd", 30)    // its parent is a thread of the kernel
	m.file("proc/2/stat", "2 (kthreadd) S 0", 0o644) // without a file
	m.process(10, 1, "short", "/usr/bin/odd", 1)
	m.file("proc/10/stat", "10 (short) S 1 2", 0o644)
	m.process(11, 1, "nothing", "/usr/bin/nothing", 1)
	m.file("proc/12/stat", "no bracket at all", 0o644)
	m.link("proc/12/exe", "/usr/bin/odd")
	got, summary := m.run(collect.Options{Path: "/nothing", Folders: []string{}})
	compare(m, told(
		"12:00:00 =init at /usr/sbin/init on h", "=init size 4",
		"12:00:00 =odd at /usr/bin/odd on h", "12:00:00 =odd at /usr/bin/odd on h", "12:00:00 =odd at /usr/bin/odd on h", "=odd size 3",
		"01:46:50 =init /usr/sbin/init started =odd /usr/bin/odd",
		"01:47:00 =odd /usr/bin/odd started =odd /usr/bin/odd",
	), got, *summary, collect.Summary{Processes: 4, Starts: 2, Files: 2, Bytes: 7})
}

// TestReplaced: a process goes on running a file that was deleted or replaced; the file that is at its path now is another.
func TestReplaced(t *testing.T) {
	m := newMachine(t)
	m.file("usr/bin/daemon (deleted)", "version 1", 0o755)
	m.file("usr/bin/daemon", "version-2", 0o755)
	m.file("usr/bin/gone (deleted)", "gone", 0o755)
	m.file("var/lib/dpkg/status", "Package: daemon\nStatus: install ok installed\nVersion: 2\n", 0o644)
	m.file("var/lib/dpkg/info/daemon.md5sums", sum("version-2")+"  usr/bin/daemon\n", 0o644)
	m.process(1, 0, "old", "/usr/bin/daemon (deleted)", 1)
	m.process(2, 1, "new", "/usr/bin/daemon", 1)
	m.process(3, 1, "old", "/usr/bin/daemon (deleted)", 1)
	m.process(4, 9, "gone", "/usr/bin/gone (deleted)", 1)
	got, summary := m.run(collect.Options{Path: "/usr/bin", Folders: []string{}})
	one, two := sum("version 1")[:4], sum("version-2")[:4]
	compare(m, told(
		"12:00:00 "+one+" at /usr/bin/daemon on h", "12:00:00 "+one+" at /usr/bin/daemon on h", one+" size 9",
		"12:00:00 "+two+" at /usr/bin/daemon on h", two+" size 9", two+" of dpkg daemon 2: green",
		"12:00:00 =gone at /usr/bin/gone on h", "=gone size 4",
		one+" /usr/bin/daemon started "+two+" /usr/bin/daemon", one+" /usr/bin/daemon started "+one+" /usr/bin/daemon",
		// What stands in the fake folder under the mark's name is a file as any.
		"12:00:00 "+one+" at /usr/bin/daemon (deleted) on h", one+" size 9", "12:00:00 =gone at /usr/bin/gone (deleted) on h", "=gone size 4",
	), got, *summary, collect.Summary{Processes: 4, Starts: 2, Files: 5, Bytes: 35, Packaged: 1})
}

func TestFolders(t *testing.T) {
	m := newMachine(t)
	m.file("proc/stat", "", 0o644)
	m.file("usr/bin/ls", "ls", 0o755)
	m.file("usr/bin/changed", "changed", 0o755)
	m.file("usr/bin/own", "own", 0o755)
	m.file("usr/bin/readme.txt", "no executable", 0o644)
	m.file("usr/bin/empty", "", 0o755)
	m.file("usr/bin/sub/deep", "a folder of the PATH is not entered", 0o755)
	m.file("usr/bin/secret", "secret", 0o100)
	m.link("usr/bin/dir", "ls")
	m.link("bin", "usr/bin")
	m.link("lib", "usr/lib")
	m.file("usr/lib/x/libx.so.1", "libx", 0o644)
	m.file("usr/lib/x/data", "data", 0o644)
	m.file("opt/tool/run", "run", 0o755)
	m.file("var/lib/dpkg/status", "Package: coreutils\nStatus: install ok installed\nVersion: 9.1-1\n\nPackage: libx\nArchitecture: amd64\nVersion: 3\n", 0o644)
	m.file("var/lib/dpkg/info/coreutils.md5sums", sum("ls")+"  bin/ls\n"+sum("as it was")+"  usr/bin/changed\nno hash  bin/own\n\n"+sum("own")+" bin/own\n", 0o644)
	m.file("var/lib/dpkg/info/libx:amd64.md5sums", sum("libx")+"  lib/x/libx.so.1\n", 0o644)
	m.file("var/lib/dpkg/info/other.list", "/usr/bin/own\n", 0o644)
	got, summary := m.run(collect.Options{Path: "/bin:/usr/bin::relative:/missing", Folders: []string{"/usr/lib", "/lib", "/opt", "/opt/tool"}})
	want := []string{
		"12:00:00 =ls at /usr/bin/ls on h", "=ls size 2", "=ls of dpkg coreutils 9.1-1: green",
		"12:00:00 =changed at /usr/bin/changed on h", "=changed size 7",
		"12:00:00 =own at /usr/bin/own on h", "=own size 3",
		"12:00:00 =libx at /usr/lib/x/libx.so.1 on h", "=libx size 4", "=libx of dpkg libx 3: green",
		"12:00:00 =run at /opt/tool/run on h", "=run size 3",
	}
	sums := collect.Summary{Files: 5, Bytes: 19, Packaged: 2, Changed: []string{"/usr/bin/changed"}, Unreadable: 1}
	if os.Geteuid() == 0 { // root reads everything
		want = append(want, "12:00:00 =secret at /usr/bin/secret on h", "=secret size 6")
		sums.Files, sums.Bytes, sums.Unreadable = 6, 25, 0
	}
	compare(m, told(want...), got, *summary, sums)
}

func TestEnds(t *testing.T) {
	m := newMachine(t)
	m.file("usr/bin/ls", "ls", 0o755)
	o := collect.Options{Root: m.root, Host: "h", Path: "/usr/bin", Folders: []string{}}
	if summary, err := collect.Run(t.Context(), o, &sink{}); err != nil || summary.Files != 1 || summary.Processes != 0 {
		t.Errorf("an image, which has no processes: %+v, %v", summary, err)
	}
	m.process(1, 0, "ls", "/usr/bin/ls", 1)
	o.Budget = 1
	if summary, err := collect.Run(t.Context(), o, &sink{}); err != nil || !summary.CutShort || summary.Files != 0 {
		t.Errorf("out of time: %+v, %v", summary, err)
	}
	o.Budget = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect.Run(ctx, o, &sink{}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	full := errors.New("full")
	if _, err := collect.Run(t.Context(), o, &sink{fail: full}); !errors.Is(err, full) {
		t.Errorf("a sink that fails: %v", err)
	}
	var seen []string
	o.Progress = func(n int, path string) { seen = append(seen, fmt.Sprint(n, path)) }
	if summary, err := collect.Run(t.Context(), o, &sink{}); err != nil || summary.CutShort || !slices.Equal(seen, []string{"0/usr/bin/ls"}) {
		t.Errorf("%+v %q, %v", summary, seen, err)
	}
}

// TestLinksStayInside: no link of an image leads out of it, wherever it points.
func TestLinksStayInside(t *testing.T) {
	m := newMachine(t)
	outside := newMachine(t)
	outside.file("usr/bin/theirs", "outside", 0o755)
	m.file("usr/bin/ours", "ours", 0o755)
	m.link("usr/bin/absolute", "/usr/bin/ours")
	m.link("bin", "/usr/bin")
	m.link("opt/out", outside.root+"/usr/bin")
	m.link("sbin", outside.root+"/usr/bin")
	m.link("up", "../../../../../../../../../.."+outside.root+"/usr/bin")
	m.link("loop", "/loop")
	m.link("var/lib/dpkg/info", outside.root)
	m.link("etc/rc.local", "../../../../../../../../../.."+outside.root+"/usr/bin/theirs")
	m.link("proc/1/exe", outside.root+"/usr/bin/theirs")
	m.file("proc/1/stat", "1 (x) S 0"+strings.Repeat(" 0", 17)+" 1\n", 0o644)
	got, summary := m.run(collect.Options{Path: "/bin:/sbin:/up:/loop:/opt/out", Folders: []string{"/opt", "/up", "/loop"}})
	compare(m, told("12:00:00 =ours at /usr/bin/ours on h", "=ours size 4"), got, *summary, collect.Summary{Files: 1, Bytes: 4})
}

// TestImage: an image is called what it calls itself, and its own folders are looked at, whatever this process's PATH says.
func TestImage(t *testing.T) {
	m := newMachine(t)
	t.Setenv("PATH", "/nowhere")
	m.file("etc/hostname", "# a comment\nws-7\n", 0o644)
	m.file("usr/local/bin/tool", "tool", 0o755)
	var s sink
	if _, err := collect.Run(t.Context(), collect.Options{Root: m.root}, &s); err != nil || len(s.lines) != 2 || !strings.HasSuffix(s.lines[0], "at /usr/local/bin/tool on ws-7") {
		t.Errorf("%q, %v", s.lines, err)
	}
}

// TestStarted: what services, cron, sessions and boot scripts name is looked at, once, wherever it lies.
func TestStarted(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"unit", "pre", "quoted", "cron", "own", "user", "session", "mine", "found", "timer", "unnamed"} {
		m.file("srv/"+name, name, 0o755)
	}
	m.file("usr/bin/bypath", "bypath", 0o755)
	m.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\nbad\neve:x:1:1::relative:/bin/sh\n", 0o644)
	m.file("etc/systemd/system/a.service", "[Service]\nExecStartPre=-/srv/pre x\nExecStart=@/srv/unit argv0 /srv/unnamed\nExecStop=/srv/missing\n# ExecStart=/srv/unnamed\n", 0o644)
	m.file("usr/lib/systemd/system/b.service", "ExecStart=\"/srv/quoted\" x\nExecStart=\nExecStart=%h/x\nExecReload=bypath\n", 0o644)
	m.file("etc/systemd/system/c.timer", "ExecStart=/srv/unnamed\n", 0o644)
	m.link("lib", "usr/lib")
	m.file("etc/crontab", "SHELL=/bin/sh\n# 1 1 * * * root /srv/unnamed\n*/5 * * * * root cd / && /srv/cron --x >/dev/null\n", 0o644)
	m.file("var/spool/cron/crontabs/ann", "@daily '/srv/user' | /srv/own;\n", 0o644)
	m.file("etc/xdg/autostart/s.desktop", "[Desktop Entry]\nName=/srv/unnamed\nExec=/srv/session %u\n", 0o644)
	m.file("home/ann/.config/autostart/m.desktop", "Exec=/srv/mine\n", 0o644)
	m.file("etc/profile.d/p.sh", "echo p", 0o644)
	m.file("etc/cron.daily/d", "echo d", 0o755)
	m.link("etc/rc.local", "/srv/found")
	got, summary := m.run(collect.Options{Path: "/usr/bin", Folders: []string{}})
	var want []string
	for _, name := range []string{"unit", "pre", "quoted", "cron", "own", "user", "session", "mine", "found"} {
		want = append(want, "12:00:00 ="+name+" at /srv/"+name+" on h", fmt.Sprintf("=%s size %d", name, len(name)))
	}
	d, p := sum("echo d")[:4], sum("echo p")[:4]
	want = append(want, "12:00:00 =bypath at /usr/bin/bypath on h", "=bypath size 6",
		"12:00:00 "+d+" at /etc/cron.daily/d on h", d+" size 6", "12:00:00 "+p+" at /etc/profile.d/p.sh on h", p+" size 6")
	compare(m, told(want...), got, *summary, collect.Summary{Files: 12, Bytes: int64(len("unitprequotedcronownusersessionminefoundbypathecho decho p"))})
}

// attribute sets a text beside a file's content; the test is skipped where the file system has none.
func (m machine) attribute(path, name, value string) {
	m.Helper()
	if err := unix.Setxattr(filepath.Join(m.root, path), name, []byte(value), 0); err != nil {
		m.Skipf("the file system of %s keeps no attributes: %v", m.root, err)
	}
}

func TestDownloads(t *testing.T) {
	m := newMachine(t)
	m.file("etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n", 0o644)
	m.file("home/ann/Downloads/setup.bin", "setup", 0o644)
	m.file("home/ann/Downloads/deep/er/b", "deeper", 0o644)
	m.file("home/ann/Downloads/plain.txt", "nobody says where it is from", 0o644)
	m.file("home/ann/elsewhere/c", "elsewhere", 0o644)
	m.file("home/bob/.config/user-dirs.dirs", "# x\nXDG_DESKTOP_DIR=\"$HOME/Desktop\"\nXDG_DOWNLOAD_DIR=\"$HOME/Heruntergeladen\"\n", 0o644)
	m.file("home/bob/Heruntergeladen/d", "bobs", 0o644)
	m.file("home/bob/Heruntergeladen/bad", "bad", 0o644)
	if err := unix.Mkfifo(filepath.Join(m.root, "home/bob/Heruntergeladen/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.attribute("home/ann/Downloads/setup.bin", "user.xdg.origin.url", "https://cdn.example/setup")
	m.attribute("home/ann/Downloads/setup.bin", "user.xdg.referrer.url", "https://shop.example/")
	m.attribute("home/ann/Downloads/deep/er/b", "user.xdg.origin.url", "https://cdn.example/b")
	m.attribute("home/ann/elsewhere/c", "user.xdg.origin.url", "https://cdn.example/c")
	m.attribute("home/bob/Heruntergeladen/d", "user.xdg.origin.url", "https://cdn.example/d")
	m.attribute("home/bob/Heruntergeladen/bad", "user.xdg.origin.url", "\xff")
	got, summary := m.run(collect.Options{Path: "/usr/bin", Folders: []string{}})
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "refused download.url: ") })
	compare(m, told(
		"12:00:00 =setup at /home/ann/Downloads/setup.bin on h", "=setup size 5", "=setup from https://cdn.example/setup by https://shop.example/",
		"12:00:00 =deeper at /home/ann/Downloads/deep/er/b on h", "=deeper size 6", "=deeper from https://cdn.example/b by ",
		"12:00:00 =bobs at /home/bob/Heruntergeladen/d on h", "=bobs size 4", "=bobs from https://cdn.example/d by ",
		"12:00:00 =bad at /home/bob/Heruntergeladen/bad on h", "=bad size 3",
	), got, *summary, collect.Summary{Files: 4, Bytes: 18, Downloads: 4})
}

// TestRPM: what rpm says of a file's digest decides, and a machine whose rpm says nothing is told of.
func TestRPM(t *testing.T) {
	m := newMachine(t)
	m.file("usr/bin/ls", "ls", 0o755)
	m.file("usr/bin/old", "old", 0o755)
	m.file("usr/bin/changed", "changed", 0o755)
	m.file("usr/bin/both", "both", 0o755)
	m.file("var/lib/rpm/rpmdb.sqlite", "", 0o644)
	m.link("bin", "usr/bin")
	m.file("var/lib/dpkg/info/both.md5sums", sum("both")+"  usr/bin/both\n", 0o644)
	m.file("rpm", "#!/bin/sh\nprintf '"+strings.Join([]string{
		"coreutils 9.1-1\\t%s\\t/bin/ls", "coreutils 9.1-1\\t\\t/usr/bin", "old 1-1\\t%s\\t/usr/bin/old", "new 1-2\\t%s\\t/usr/bin/changed", "none", "both 1-1\\t%s\\t/usr/bin/both"}, "\\n")+
		fmt.Sprintf("' %x %s %s %s\n", sha256.Sum256([]byte("ls")), sum("old"), sum("as it was"), sum("other")), 0o755)
	m.file("failing", "#!/bin/sh\nexit 1\n", 0o755)
	o := collect.Options{Path: "/usr/bin", Folders: []string{}, RPM: filepath.Join(m.root, "rpm")}
	got, summary := m.run(o)
	want := []string{"=ls of rpm coreutils 9.1-1: green", "=old of rpm old 1-1: green", "=both of dpkg both: green"}
	for _, name := range []string{"ls", "old", "changed", "both"} {
		want = append(want, "12:00:00 ="+name+" at /usr/bin/"+name+" on h", fmt.Sprintf("=%s size %d", name, len(name)))
	}
	compare(m, told(want...), got, *summary, collect.Summary{Files: 4, Bytes: 16, Packaged: 3, Changed: []string{"/usr/bin/changed"}})
	for _, o.RPM = range []string{filepath.Join(m.root, "failing"), filepath.Join(m.root, "none"), ""} {
		if _, summary := m.run(o); summary.Untold != "rpm's packages" {
			t.Errorf("rpm %q: %+v", o.RPM, summary)
		}
	}
}

// TestBudget: what was found of the processes when the time is up is told.
func TestBudget(t *testing.T) {
	m := newMachine(t)
	m.file("proc/stat", "btime 1777600000\n", 0o644)
	m.file("usr/bin/a", "first", 0o755)
	m.file("usr/bin/b", "second", 0o755)
	m.process(1, 0, "a", "/usr/bin/a", 1)
	m.process(2, 1, "b", "/usr/bin/b", 2)
	m.process(3, 2, "a", "/usr/bin/a", 3)
	clock := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	o := collect.Options{Root: m.root, Host: "h", Path: "/usr/bin", Folders: []string{}, Budget: 6 * time.Second}
	o.Now = func() time.Time { clock = clock.Add(time.Second); return clock } // it is looked at once at the beginning, once a process, twice a file
	var s sink
	summary, err := collect.Run(t.Context(), o, &s)
	if err != nil || !summary.CutShort || summary.Processes != 2 || summary.Starts != 1 || len(s.lines) != 5 {
		t.Errorf("%+v, %v\n%s", summary, err, strings.Join(s.lines, "\n"))
	}
}
