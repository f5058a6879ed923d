package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// Format is the name of an input format, as --format takes it.
type Format string

// UnmarshalText reads a format's name. It fails with an [intel.ErrInvalid] for a name that is none.
func (f *Format) UnmarshalText(name []byte) error {
	if *f = Format(name); *f == "" || *f == Auto {
		return nil
	}
	_, err := formatOf(*f)
	return err
}

// Auto lets the content decide.
const Auto Format = "auto"

// format is how one format is recognised and read. A new reader is a file of its own with its read function, and a row in formats.
type format struct {
	name Format
	help string // what it is, in a few words, for people
	list bool   // its records are entries of a list: it may be read as the feed that --feed names
	// anonymous says that nothing in it tells whose list it is, so that it cannot be read without --feed.
	anonymous bool
	// good says that it lists known-good files: being listed means green, unless Options say otherwise; else red.
	good bool
	// sniff says how sure the beginning of an input makes it that this is the format: 0 not at all; 20 loosely, by shape alone; 60 by known
	// names of columns or fields; 80 by a schema's own mark; 100 by a magic number. The surest reads it; of equals the first in formats.
	sniff func(*sample) int
	read  func(*reader) error
}

// Formats lists what --format takes.
func Formats() []Format {
	names := []Format{Auto}
	for i := range formats {
		names = append(names, formats[i].name)
	}
	return names
}

// FormatHelp returns a line for each format: its name and what it is.
func FormatHelp() string {
	var b strings.Builder
	for i := range formats {
		fmt.Fprintf(&b, "  %-14s %s\n", formats[i].name, formats[i].help)
	}
	return b.String()
}

// Zone is what being listed in a list of this format means, where nothing else says it.
func (f Format) Zone() intel.Zone {
	if i := slices.IndexFunc(formats, func(known format) bool { return known.name == f }); i >= 0 && formats[i].good {
		return intel.Green
	}
	return intel.Red
}

// formatOf finds a format by its name.
func formatOf(name Format) (*format, error) {
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
	if i < 0 {
		return nil, &intel.Refusal{Field: "format", Reason: fmt.Sprintf("there is no format %q; known are %v", name, Formats())}
	}
	return &formats[i], nil
}

// choose finds the format of an input: the one that was asked for, else the one that its beginning makes surest; nil of an empty one, which
// says nothing and lacks nothing.
func choose(in *Input, head []byte, o *Options) (*format, error) {
	var f *format
	var err error
	if o.Format == "" || o.Format == Auto {
		f = recognise(newSample(in.Name, head), o.Feed != "")
	} else if f, err = formatOf(o.Format); err != nil {
		return nil, err
	}
	refuse := func(why string, args ...any) error {
		return &intel.Refusal{Input: in.Name, Reason: fmt.Sprintf(why, args...)}
	}
	switch {
	case f == nil && len(bytes.TrimSpace(head)) == 0:
		return nil, nil
	case f == nil && len(FindHashes(head)) > 0:
		return nil, refuse("it looks like a list of hashes: say with --feed NAME whose list it is")
	case f == nil:
		return nil, refuse("its format is not recognised; 'spoor import --help' lists those that are known, and --format names one")
	case o.Feed != "" && !f.list:
		return f, refuse("it is %s, not a list: import it without --feed", f.name)
	case o.Feed == "" && f.anonymous:
		return f, refuse("%s needs --feed NAME, to say whose list it is", f.name)
	}
	return f, nil
}

// recognise finds the format that a sample makes surest, nil when none; among lists alone when a feed is named.
func recognise(s *sample, feed bool) (found *format) {
	best := 0
	for i := range formats {
		f := &formats[i]
		if f.sniff == nil || feed && !f.list && f.sniff(s) < 100 {
			continue
		}
		if n := f.sniff(s); n > best {
			found, best = f, n
		}
	}
	if found == nil && feed && len(s.trimmed) > 0 {
		found, _ = formatOf(HashList)
	}
	return found
}

// Recognise returns the format that the beginning of an input makes surest, and whether more than its shape does; "" when none does, or
// when only --feed could say whose list it is.
func Recognise(head []byte) (name Format, sure bool) {
	s := newSample("", head[:min(len(head), sniffed)])
	f := recognise(s, false)
	if f == nil || f.anonymous {
		return "", false
	}
	return f.name, f.sniff(s) >= 60
}

// sample is the beginning of an input, as recognition looks at it.
type sample struct {
	base    string // the input's own name in lower case, without folders and archives; it breaks ties at most
	head    []byte // the first 64 KiB, UTF-8
	trimmed []byte // head without blanks before it
	first   []byte // its first line, without blanks around
	keys    map[string]bool
	plan    *csvPlan
}

func newSample(name string, head []byte) *sample {
	s := &sample{head: head, trimmed: bytes.TrimLeft(head, " \t\r\n\x00")}
	s.base = strings.ToLower(path.Base(filepath.ToSlash(name[strings.LastIndexByte(name, '!')+1:])))
	s.first, _, _ = bytes.Cut(s.trimmed, []byte("\n"))
	s.first = bytes.TrimSpace(s.first)
	return s
}

// json reports whether the sample begins as JSON does.
func (s *sample) json() bool {
	return len(s.trimmed) > 0 && (s.trimmed[0] == '{' || s.trimmed[0] == '[')
}

// has reports whether the first JSON object of the sample, at the top or within a list, has all of these keys at its top, as far as it is in sight.
func (s *sample) has(keys ...string) bool {
	if s.keys == nil {
		s.keys = topKeys(s.trimmed)
	}
	for _, k := range keys {
		if !s.keys[k] {
			return false
		}
	}
	return len(s.keys) > 0
}

// topKeys returns the keys of the first object of a JSON text that may be cut.
func topKeys(text []byte) map[string]bool {
	keys := map[string]bool{}
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return keys
	}
	d := json.NewDecoder(bytes.NewReader(text))
	var open []json.Delim
	first, key := 0, false // depth of the first object; whether a key comes next
	for {
		t, err := d.Token()
		if err != nil {
			return keys
		}
		if name, ok := t.(string); ok && key {
			if key = false; len(open) == first {
				keys[name] = true
			}
			continue
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open = append(open, t.(json.Delim))
			if t == json.Delim('{') && first == 0 {
				first = len(open)
			}
		case json.Delim('}'), json.Delim(']'):
			if len(open) == first && first > 0 {
				return keys
			}
			open = open[:len(open)-1]
		}
		key = len(open) > 0 && open[len(open)-1] == '{'
	}
}
