package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"spoor/internal/bench"
	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// TestHelp walks all commands: each says what it does, with examples that are commands indeed, its exit codes, and every flag.
func TestHelp(t *testing.T) {
	root := newRoot()
	root.InitDefaultHelpCmd()
	var names []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden { // no person calls it
			return
		}
		names = append(names, c.CommandPath())
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") {
				t.Errorf("the short text %q is none, or a sentence", c.Short)
			}
			if len(c.Long) <= len(c.Short) {
				t.Errorf("the long text %q says no more than the short one", c.Long)
			}
			if !regexp.MustCompile(`(?m)^Exit codes: 0 `).MatchString(c.Long) {
				t.Error("the exit codes are not told")
			}
			if c.Runnable() && c.HasParent() && !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("no example has %q", c.CommandPath())
			}
			for line := range strings.SplitSeq(c.Example, "\n") {
				checkExample(t, root, line)
			}
			c.InitDefaultHelpFlag()
			flags := 0
			for line := range strings.Lines(c.Flags().FlagUsages()) {
				m := flagLine.FindStringSubmatch(line)
				if m == nil {
					t.Errorf("the flag is not described: %q", line)
					continue
				}
				flags++
				if name, kind, usage := m[1], m[2], m[3]; len(usage) < 8 || strings.HasSuffix(usage, ".") {
					t.Errorf("--%s is described by %q", name, usage)
				} else if kind == "string" || kind == "strings" || kind == "uint" {
					t.Errorf("--%s: name its value by the field's word, in back quotes, not %q", name, kind)
				}
			}
			if flags == 0 {
				t.Error("there is no --help")
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for _, want := range []string{"spoor serve", "spoor import", "spoor lookup", "spoor collect", "spoor demo", "spoor bench", "spoor completion", "spoor help",
		"spoor feed", "spoor feed list", "spoor feed status", "spoor feed run", "spoor feed accept", "spoor token", "spoor token create", "spoor token list", "spoor token revoke"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no command %q", want)
		}
	}
}

// flagLine is a flag in the help: its name, what kind of value it takes, if any, and what it does.
var flagLine = regexp.MustCompile(`^ +(?:-\w, )?--([\w-]+)(?: (\S+))? {3,}(.+)\n$`)

// checkExample checks that the command and the flags in an example are there.
func checkExample(t *testing.T, root *cobra.Command, line string) {
	t.Helper()
	if strings.TrimSpace(line) == "" {
		return
	}
	_, command, found := strings.Cut(line, "spoor ")
	if !found {
		t.Errorf("the example %q has no spoor in it", line)
		return
	}
	words := strings.Fields(regexp.MustCompile(`[|<>)].*`).ReplaceAllString(command, ""))
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		t.Errorf("the example %q: there is no such command", line)
		return
	}
	for _, w := range rest {
		if name, ok := strings.CutPrefix(w, "--"); ok && c.Flags().Lookup(name) == nil {
			t.Errorf("the example %q: there is no --%s", line, name)
		}
	}
}

// TestFlagValues holds what completion offers and help names against what is taken.
func TestFlagValues(t *testing.T) {
	for _, z := range zones {
		var zone intel.Zone
		if err := zone.UnmarshalText([]byte(z)); err != nil || zone == 0 {
			t.Errorf("zone %q: %v", z, err)
		}
	}
	for _, m := range markings {
		var marking intel.Marking
		if err := marking.UnmarshalText([]byte(m)); err != nil {
			t.Errorf("marking %q: %v", m, err)
		}
	}
	for _, s := range dossier.AllSections() {
		if _, err := dossier.ParseSections(string(s)); err != nil {
			t.Errorf("section %q: %v", s, err)
		}
	}
}

// TestBenchJSON checks the form of bench's figures, which programs read.
func TestBenchJSON(t *testing.T) {
	var out bytes.Buffer
	err := printResults(&out, []bench.Result{{Name: "recording", Value: 400000, Unit: "observations/s", Peer: "bare engine", PeerValue: 500000, Ratio: 0.8, Target: ">= 0.5", Reached: true}, {Name: "memory", Unit: "MB"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		var keys []string
		for k := range r {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if diff := cmp.Diff([]string{"name", "peer", "peer_value", "ratio", "reached", "target", "unit", "value"}, keys); diff != "" {
			t.Error(diff)
		}
	}
}
