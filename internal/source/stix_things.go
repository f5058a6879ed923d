package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// stixFile is one file that a pattern or an object names.
type stixFile struct {
	hashes intel.Hashes
	fuzzy  []intel.FuzzyHash
	name   string
	size   string
	object string // which object of the pattern it is: "file:", "process:binary_ref"
	set    bool   // of alternatives, not stated together
}

// stixThings are what a pattern is about: files and addresses.
type stixThings struct {
	files     []stixFile
	addresses []string
	wrong     []string // of values that are not what they are said to be
}

// stixPatternThings returns the files and addresses that a pattern names by equality.
//
// What one comparison expression states of one object with AND is one file, as long as no algorithm is given two values. Alternatives (OR) are
// different files, with one exception: exporters write [file:hashes.MD5 = … OR file:hashes.'SHA-1' = … OR file:hashes.'SHA-256' = …] of a single
// file, any of whose hashes may be at hand. So single hashes of one object in one chain of OR are one file when the chain holds two or three
// of them, each of another algorithm, and nothing that is no file. As soon as one algorithm occurs twice the chain is a list, and all are
// separate: which belongs to which is not said. Nothing is tied across observation expressions.
func stixPatternThings(pattern string) (stixThings, error) {
	found, err := parseStixPattern(pattern)
	if err != nil {
		return stixThings{}, err
	}
	var all stixThings
	for _, e := range found {
		t := stixEvaluate(e)
		all.add(&t)
	}
	return all, nil
}

func (s *stixThings) add(t *stixThings) {
	s.files = append(s.files, t.files...)
	s.addresses = append(s.addresses, t.addresses...)
	s.wrong = append(s.wrong, t.wrong...)
}

func stixEvaluate(e *stixExpression) stixThings {
	if e.test != nil {
		return stixEvaluateTest(e.test)
	}
	var all stixThings
	for _, part := range e.of {
		t := stixEvaluate(part)
		all.add(&t)
	}
	if e.or {
		all.files = stixEither(all.files, len(all.addresses) > 0)
	} else {
		all.files = stixBoth(all.files)
	}
	return all
}

// stixEither joins the files of alternatives.
func stixEither(files []stixFile, mixed bool) []stixFile {
	one := stixFile{}
	seen := 0
	for _, f := range files {
		if f.hashes.IsZero() {
			continue // a name or size alone says nothing of the alternatives beside it
		}
		h := f.hashes.Strongest()
		tied := !mixed && !f.set && f.name == "" && f.size == "" && f.hashes == intel.HashesOf(h)
		if !tied || !one.hashes.Get(h.Algorithm()).IsZero() || seen > 0 && one.object != f.object {
			return stixAlternatives(files)
		}
		one.object = f.object
		one.hashes.Set(h)
		seen++
	}
	if seen < 2 {
		return stixAlternatives(files)
	}
	return []stixFile{one}
}

// stixAlternatives are files that nothing ties, without those that have no hash.
func stixAlternatives(files []stixFile) []stixFile {
	kept := files[:0]
	for _, f := range files {
		if !f.hashes.IsZero() {
			f.set = true
			kept = append(kept, f)
		}
	}
	return kept
}

// stixBoth joins what is stated together, object by object.
func stixBoth(files []stixFile) []stixFile {
	var objects []string
	of := map[string][]stixFile{}
	for _, f := range files {
		if of[f.object] == nil {
			objects = append(objects, f.object)
		}
		of[f.object] = append(of[f.object], f)
	}
	var out []stixFile
	for _, object := range objects {
		one := stixFile{object: object}
		var apart []stixFile
		tied := true
		for _, f := range of[object] {
			if !f.hashes.IsZero() {
				apart = append(apart, f)
			}
			tied = tied && !f.set && one.takes(&f)
		}
		if tied {
			out = append(out, one)
		} else {
			out = append(out, stixAlternatives(apart)...)
		}
	}
	return out
}

// takes puts what is known of the same file into f, and reports whether it fits.
func (f *stixFile) takes(o *stixFile) bool {
	for _, a := range []intel.Algorithm{intel.MD5, intel.SHA1, intel.SHA256} {
		mine, other := f.hashes.Get(a), o.hashes.Get(a)
		if !mine.IsZero() && !other.IsZero() && mine != other {
			return false
		}
		f.hashes.Set(other)
	}
	f.name, f.size = cmp.Or(f.name, o.name), cmp.Or(f.size, o.size)
	f.fuzzy = append(f.fuzzy, o.fuzzy...)
	return true
}

// stixFileRefs are the properties that lead from another object to a file.
var stixFileRefs = []string{"binary_ref", "image_ref", "content_ref", "body_raw_ref", "contains_refs", "service_dll_refs"}

func stixEvaluateTest(t *stixTest) (found stixThings) {
	if t.not || t.op != "=" && t.op != "IN" || len(t.path) == 0 {
		return found
	}
	if stixIsAddress(t) {
		for _, v := range t.values {
			v = strings.TrimSpace(v)
			if strings.HasPrefix(t.object, "ipv") {
				// A network is no address, but for one that is a single address.
				if v = strings.TrimSuffix(strings.TrimSuffix(v, "/32"), "/128"); strings.Contains(v, "/") {
					continue
				}
			}
			found.addresses = append(found.addresses, v)
		}
		return found
	}
	// The path of a file's property: of the object itself, or through one of the references to a file.
	path := t.path
	object := t.object + ":"
	isFile := t.object == "file" || t.object == "artifact"
	for i := len(path) - 1; i >= 0; i-- {
		if !strings.HasSuffix(path[i], "_ref") && !strings.HasSuffix(path[i], "_refs") {
			continue
		}
		isFile = slices.Contains(stixFileRefs, path[i])
		rest := i + 1
		if rest < len(path) && strings.HasSuffix(path[i], "_refs") {
			rest++ // its index
		}
		object, path = object+strings.Join(path[:rest], "."), path[rest:]
		break
	}
	if !isFile {
		return found
	}
	switch {
	case len(path) == 2 && path[0] == "hashes":
		for _, v := range t.values {
			var f stixFile
			if why := f.digest(path[1], v); why != "" {
				found.wrong = append(found.wrong, why)
				continue
			}
			f.object, f.set = object, len(t.values) > 1
			found.files = append(found.files, f)
		}
	case len(path) == 1 && path[0] == "name" && t.op == "=":
		found.files = []stixFile{{object: object, name: t.values[0]}}
	case len(path) == 1 && path[0] == "size" && t.op == "=":
		found.files = []stixFile{{object: object, size: t.values[0]}}
	}
	return found
}

func stixIsAddress(t *stixTest) bool {
	last := t.path[len(t.path)-1]
	if last != "value" {
		return false
	}
	switch t.object {
	case "domain-name", "url", "ipv4-addr", "ipv6-addr":
		return len(t.path) == 1
	case "network-traffic":
		return len(t.path) == 2 && (t.path[0] == "dst_ref" || t.path[0] == "src_ref")
	}
	return false
}

// digest takes a digest by the name of its algorithm; why is not empty when the value is none of that.
func (f *stixFile) digest(algorithm, value string) (why string) {
	fuzzy := func(a intel.FuzzyAlgorithm) {
		if value = strings.TrimSpace(value); value != "" && len(value) <= intel.MaxText {
			f.fuzzy = append(f.fuzzy, intel.FuzzyHash{Algorithm: a, Value: value})
		}
	}
	a, ok := stixAlgorithm(algorithm)
	if !ok {
		switch strings.ToLower(algorithm) {
		case "ssdeep":
			fuzzy(intel.SSDeep)
		case "tlsh":
			fuzzy(intel.TLSH)
		}
		return ""
	}
	h, err := intel.ParseHash(value)
	switch {
	case err != nil:
		return err.Error()
	case h.Algorithm() != a:
		return fmt.Sprintf("%s is a %s, not a %s", h, h.Algorithm(), a)
	}
	f.hashes.Set(h)
	return ""
}

// stixAlgorithm reads the name of an algorithm in its many spellings: "SHA-256", "sha256", "SHA_256".
func stixAlgorithm(name string) (intel.Algorithm, bool) {
	var plain [8]byte
	n := 0
	for _, c := range []byte(name) {
		switch {
		case c == '-' || c == '_' || c == ' ':
			continue
		case n == len(plain):
			return 0, false
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		plain[n] = c
		n++
	}
	switch string(plain[:n]) {
	case "MD5":
		return intel.MD5, true
	case "SHA1":
		return intel.SHA1, true
	case "SHA256":
		return intel.SHA256, true
	}
	return 0, false
}

// stixDigests reads the hashes of an object, in the order of their algorithms' names.
func (f *stixFile) stixDigests(hashes map[string]string) (wrong []string) {
	names := make([]string, 0, len(hashes))
	for name := range hashes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if why := f.digest(name, hashes[name]); why != "" {
			wrong = append(wrong, why)
		}
	}
	return wrong
}
