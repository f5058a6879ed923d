package feed

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"spoor/internal/intel"
)

// page is docs/feeds.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/feeds.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDocumented: the page's example is one, it shows every kind of place, and the page describes every key and no other.
func TestDocumented(t *testing.T) {
	text := page(t)
	_, example, _ := strings.Cut(text, "```yaml\n")
	example, _, _ = strings.Cut(example, "```\n")
	c, err := ParseConfig("feeds.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[Kind]bool{}
	for _, f := range c.Feeds {
		kinds[f.Kind] = true
	}
	if len(kinds) != 6 {
		t.Errorf("the example shows %v", kinds)
	}
	f := c.Feeds[0]
	if f.Name != "blocklist" || f.Every != time.Hour || f.Zone != intel.Red || f.Weight != 90 || f.Decay != 180*24*time.Hour || f.MaxSize != 2<<30 || f.Timeout != 15*time.Minute {
		t.Errorf("%+v", f)
	}
	if c.Guard != (Guard{Hosts: 50, Share: 5}) {
		t.Errorf("%+v", c.Guard)
	}
	described := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| [A-Z`]").FindAllStringSubmatch(text, -1) {
		described[m[1]] = true
	}
	keys := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[written](), reflect.TypeFor[Credential]()} {
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			keys[key] = true
			if !described[key] {
				t.Errorf("docs/feeds.md does not describe %s", key)
			}
		}
	}
	for key := range described {
		if !keys[key] {
			t.Errorf("docs/feeds.md describes %s, which there is not", key)
		}
	}
}

// TestConfigRefused: what is wrong is named with its line.
func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		line       int64
		field, why string
	}{
		{"an unknown key", "feeds:\n  - name: a\n    url: http://h.example/\n    urll: x\n", 4, "urll", "no such key"},
		{"an unknown key of a credential", "feeds:\n  - name: a\n    url: http://h.example/\n    credential:\n      password: x\n", 5, "password", "no such key"},
		{"an unknown key at the top", "feed: []\n", 1, "feed", "no such key"},
		{"no YAML", "feeds:\n\t- x\n", 2, "", "cannot start any token"},
		{"another type", "feeds:\n  - name: [a]\n", 2, "", "cannot unmarshal"},
		{"two documents", "feeds: []\n---\nfeeds: []\n", 0, "", "second"},
		{"no name", "feeds:\n  - url: http://h.example/\n", 2, "name", "1 to 63"},
		{"a name that leads elsewhere", "feeds:\n  - name: ../../etc/passwd\n    path: x\n", 2, "name", "1 to 63"},
		{"a hidden name", "feeds:\n  - name: .x\n    path: x\n", 2, "name", "1 to 63"},
		{"a name twice", "feeds:\n  - {name: a, path: x}\n  - {name: A, path: y}\n", 3, "name", "another feed"},
		{"no place", "feeds:\n  - name: a\n", 2, "name", "no place"},
		{"two places", "feeds:\n  - name: a\n    path: x\n    url: http://h.example/\n", 4, "url", "one place"},
		{"no web address", "feeds:\n  - name: a\n    url: ftp://h.example/\n", 3, "url", "no http"},
		{"a password in the address", "feeds:\n  - name: a\n    url: http://u:p@h.example/\n", 3, "url", "credential"},
		{"a bucket alone", "feeds:\n  - name: a\n    s3: s3://bucket\n    region: x\n", 3, "s3", "s3://bucket/key"},
		{"S3 without a region", "feeds:\n  - name: a\n    s3: s3://bucket/key\n", 3, "s3", "region"},
		{"a format", "feeds:\n  - name: a\n    path: x\n    format: pdf\n", 4, "format", "no format"},
		{"a zone", "feeds:\n  - name: a\n    path: x\n    zone: blue\n", 4, "zone", "none of red"},
		{"a marking", "feeds:\n  - name: a\n    path: x\n    marking: blue\n", 4, "marking", "none of clear"},
		{"a weight", "feeds:\n  - name: a\n    path: x\n    weight: 101\n", 4, "weight", "0 to 100"},
		{"too often", "feeds:\n  - name: a\n    path: x\n    every: 1s\n", 4, "every", "90d"},
		{"no time", "feeds:\n  - name: a\n    path: x\n    decay: soon\n", 4, "decay", "90d"},
		{"no size", "feeds:\n  - name: a\n    path: x\n    max-size: 9999999GiB\n", 4, "max-size", "no size"},
		{"no host", "feeds:\n  - name: a\n    url: http://h.example/\n    hosts: [http://x]\n", 4, "hosts", "no host"},
		{"no secret", "feeds:\n  - name: a\n    url: http://h.example/\n    credential: {}\n", 4, "credential", "file or env"},
		{"two secrets", "feeds:\n  - name: a\n    url: http://h.example/\n    credential: {file: a, env: b}\n", 4, "credential", "file or env"},
		{"basic without user", "feeds:\n  - name: a\n    url: http://h.example/\n    credential: {scheme: basic, env: b}\n", 4, "credential", "user"},
		{"an unknown scheme", "feeds:\n  - name: a\n    url: http://h.example/\n    credential: {scheme: digest, env: b}\n", 4, "credential", "none of"},
		{"a header that is none", "feeds:\n  - name: a\n    url: http://h.example/\n    credential: {scheme: header, header: 'a: b', env: b}\n", 4, "credential", "header"},
		{"a path with a secret", "feeds:\n  - name: a\n    path: x\n    credential: {env: b}\n", 4, "credential", "no credential"},
		{"the guard", "feeds: []\nguard: {hosts: 0}\n", 2, "guard", "1 or more"},
	} {
		_, err := ParseConfig("feeds.yaml", []byte(tt.text))
		var r *intel.Refusal
		if !errors.As(err, &r) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if r.Input != "feeds.yaml" || r.Line != tt.line || r.Field != tt.field || !strings.Contains(r.Reason, tt.why) {
			t.Errorf("%s: %v (field %q), want line %d, %q, %q", tt.name, r, r.Field, tt.line, tt.field, tt.why)
		}
	}
	if c, err := ParseConfig("feeds.yaml", nil); err != nil || len(c.Feeds) != 0 {
		t.Errorf("an empty file: %v", err)
	}
}

// FuzzConfig: whatever stands in the file, it is read or refused.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("feeds:\n  - name: a\n    url: http://h.example/\n    credential: {env: X}\n"))
	f.Add([]byte("guard: {hosts: 1}\nfeeds: [{name: a, s3: 's3://b/k', region: r}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig("f", text)
		var r *intel.Refusal
		if err != nil && !errors.As(err, &r) || err == nil && c == nil {
			t.Fatal(err)
		}
	})
}

func TestIsName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "_x": true, "Ünïcode 2.1-b": true, "9": true, strings.Repeat("é", 63): true,
		"": false, " a": false, ".a": false, "-a": false, "a/b": false, "a\\b": false, "a\nb": false, "a\xff": false, strings.Repeat("a", 64): false,
	} {
		if got := isName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
