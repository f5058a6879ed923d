package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// example is one command of a document and what it is said to print: "…" stands for anything, alone on a line for any lines.
type example struct {
	line    int
	command string
	prints  []string
}

// examples reads the console blocks of a document.
func examples(t *testing.T, file string) (all []example) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	within := false
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			within = line == "```console"
		case !within:
		case strings.HasPrefix(line, "$ "):
			all = append(all, example{line: i + 1, command: line[2:]})
		case len(all) == 0:
			t.Fatalf("%s:%d: output before the first command", file, i+1)
		default:
			e := &all[len(all)-1]
			e.prints = append(e.prints, line)
		}
	}
	return all
}

// pattern matches what an example is said to print; blank lines at the end, as between an answer and the prompt, do not count.
func (e *example) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A\n?`)
	for _, line := range e.prints {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "\n")
	}
	b.WriteString(`\n*\z`)
	return regexp.MustCompile(b.String())
}

// demoPort is where the demo serves when the port is free, as the README has it; else it takes another.
const demoPort = "127.0.0.1:8420"

// servePort is where the README has a server listen.
const servePort = "127.0.0.1:8421"

// TestReadme runs every example of README.md in order, in a fresh copy of the project, as a newcomer would. Only the ports are any that are free: others
// may have those on this machine.
func TestReadme(t *testing.T) {
	for _, part := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(part); err != nil {
			t.Skipf("the examples need %s: %v", part, err)
		}
	}
	dir := copyOfProject(t)
	env := append(os.Environ(), "SPOOR_DATA=", "SPOOR_SERVER=", "SPOOR_TOKEN=", "JOURNAL_STREAM=")
	for _, e := range examples(t, "../../README.md") {
		if e.command == "./check" { // it runs this very test
			if info, err := os.Stat(filepath.Join(dir, "check")); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("README.md:%d: %s: %v", e.line, e.command, err)
			}
			continue
		}
		for i, line := range e.prints {
			e.prints[i] = strings.ReplaceAll(line, demoPort, "127.0.0.1:…")
		}
		// Two of the examples build the program first. Servers run until the end.
		ctx := t.Context()
		runsOn := strings.Contains(e.command, " serve ") || strings.HasSuffix(e.command, " demo")
		if !runsOn {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 10*patience)
			defer cancel()
		}
		cmd := exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(e.command, servePort, "127.0.0.1:0"))
		cmd.Dir, cmd.Env = dir, env
		var stderr strings.Builder
		cmd.Stderr = &stderr
		want := e.pattern()
		if !runsOn {
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("README.md:%d: %s: %v\n%s%s", e.line, e.command, err, out, stderr.String())
			}
			if !want.Match(append(out, '\n')) {
				t.Errorf("README.md:%d: %s\nprints\n%s\nand not\n%s", e.line, e.command, out, strings.Join(e.prints, "\n"))
			}
			continue
		}
		// A server runs on behind the examples that follow.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			_ = cmd.Wait()
		})
		var printed strings.Builder
		in := bufio.NewReader(out)
		for !want.MatchString(printed.String()) || strings.HasSuffix(e.command, " demo") && !strings.Contains(printed.String(), "sign in with") {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("README.md:%d: %s: %v\n%s%s", e.line, e.command, err, printed.String(), stderr.String())
			}
			printed.WriteString(line)
		}
		go io.Copy(io.Discard, in)
		if m := regexp.MustCompile(`(?s)Spoor serves at +(\S+).*sign in with +(\S+)`).FindStringSubmatch(printed.String()); m != nil {
			env = append(env, "SPOOR="+m[1], "TOKEN="+m[2])
		}
	}
}

// copyOfProject copies the project without its history.
func copyOfProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir("../..", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("../..", name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		switch {
		case e.IsDir() && (e.Name() == ".git" || e.Name() == "spoor-data"):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(to, 0o755)
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUnits holds the systemd units to the commands that they start: every flag of them is one, and where systemd is there, it takes them.
func TestUnits(t *testing.T) {
	for name, command := range map[string]string{"spoor.service": "serve", "spoor-collect.service": "collect"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("../../deploy/" + name)
			if err != nil {
				t.Fatal(err)
			}
			m := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/spoor (.*)$`).FindSubmatch(b)
			if m == nil {
				t.Fatal("the unit starts no spoor")
			}
			cmd, rest, err := newRoot().Find(strings.Fields(string(m[1])))
			if err != nil || cmd.Name() != command {
				t.Fatalf("the unit starts %v: %v", cmd, err)
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Error(err)
			}
			analyze, err := exec.LookPath("systemd-analyze")
			if err != nil {
				t.Skipf("only systemd can say whether it takes the unit: %v", err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(copied, bytes.ReplaceAll(b, []byte("/usr/local/bin/spoor"), []byte(self)), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), analyze, "verify", copied).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}
