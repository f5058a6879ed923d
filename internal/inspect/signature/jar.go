package signature

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// The digests that a manifest names, strongest first.
var manifestDigests = []struct {
	name string
	hash crypto.Hash
}{{"sha-512", crypto.SHA512}, {"sha-384", crypto.SHA384}, {"sha-256", crypto.SHA256}, {"sha-224", crypto.SHA224}, {"sha1", crypto.SHA1}, {"sha-1", crypto.SHA1}, {"md5", crypto.MD5}}

// section is a part of a manifest, with its own bytes, which signature files have digests of.
type section struct {
	raw  []byte
	attr map[string]string
}

// digest returns the strongest digest that the section has under such a name: "-digest" for "SHA-256-Digest".
func (s *section) digest(suffix string) (crypto.Hash, []byte) {
	for _, d := range manifestDigests {
		if v, ok := s.attr[d.name+suffix]; ok {
			if b, err := base64.StdEncoding.DecodeString(v); err == nil {
				return d.hash, b
			}
		}
	}
	return 0, nil
}

// maxSections bounds a manifest; each member of the archive has one.
const maxSections = maxZipEntries + 1

// parseManifest splits a manifest into its main section and those of its members.
func parseManifest(b []byte) (main section, byName map[string]*section, err error) {
	byName = map[string]*section{}
	first := true
	for n := 0; len(b) > 0; n++ {
		if n > maxSections {
			return main, nil, errors.New("a manifest of too many sections")
		}
		s := section{attr: map[string]string{}}
		start, last := b, ""
		for len(b) > 0 {
			line := b
			if i := bytes.IndexByte(b, '\n'); i >= 0 {
				line, b = b[:i+1], b[i+1:]
			} else {
				b = nil
			}
			text := strings.TrimRight(string(line), "\r\n")
			if text == "" {
				break
			}
			if text[0] == ' ' && last != "" {
				if len(s.attr[last]) < 64<<10 {
					s.attr[last] += text[1:]
				}
				continue
			}
			k, v, _ := strings.Cut(text, ":")
			last = strings.ToLower(k)
			s.attr[last] = strings.TrimPrefix(v, " ")
		}
		s.raw = start[:len(start)-len(b)]
		switch name := s.attr["name"]; {
		case first:
			main, first = s, false
		case name != "":
			byName[name] = &s
		}
	}
	return main, byName, nil
}

// jar verifies the signatures of a JAR, also of an APK by its first scheme.
func (f *file) jar() error {
	a, err := f.zip()
	if err != nil {
		return nil // no zip: others say so
	}
	return f.jarSignatures(a, "JAR")
}

func (f *file) jarSignatures(a *archive, kind string) error {
	var blocks []*zipEntry
	files := map[string]*zipEntry{}
	var manifest *zipEntry
	for i := range a.entries {
		e := &a.entries[i]
		base, ok := metaInf(e.name)
		if !ok {
			continue
		}
		switch {
		case base == "MANIFEST.MF":
			manifest = e
		case strings.HasSuffix(base, ".SF"):
			files[strings.TrimSuffix(base, ".SF")] = e
		case strings.HasSuffix(base, ".RSA") || strings.HasSuffix(base, ".DSA") || strings.HasSuffix(base, ".EC"):
			if len(blocks) < maxSigners {
				blocks = append(blocks, e)
			}
		}
	}
	if len(blocks) == 0 {
		return nil
	}
	if manifest == nil {
		return errors.New("signed, but META-INF/MANIFEST.MF is not there")
	}
	raw, err := a.member(manifest.name)
	if err != nil {
		return err
	}
	main, sections, err := parseManifest(raw)
	if err != nil {
		return err
	}
	var bad string   // what is not as the manifest says
	var loose string // what the manifest does not name
	var loosely int
	checked := false
	for _, block := range blocks {
		base, _ := metaInf(block.name)
		of1 := files[base[:strings.LastIndexByte(base, '.')]]
		blob, err := a.member(block.name)
		if err != nil {
			return err
		}
		sd, err := parseCMS(blob)
		if err != nil {
			f.add(&finding{kind: kind, state: malformed, why: clean(block.name) + ": " + err.Error()})
			continue
		}
		if of1 == nil {
			f.add(&finding{kind: kind, state: malformed, why: clean(block.name) + " signs a file that is not there"})
			continue
		}
		sf, err := a.member(of1.name)
		if err != nil {
			return err
		}
		for _, si := range sd.signers {
			x := f.signer(kind, sd, si, of(sf), oidCodeSigning)
			why, added := signatureFile(sf, raw, &main, sections)
			switch {
			case why != "":
				x.fail(changed, "changed after signing: %s", why)
			case added != "" && kind != "JAR":
				x.fail(changed, "changed after signing: %s was added to the manifest", quoted(clean(added)))
			case added != "": // by a later signer, or by nobody
				x.remark("it does not sign %s, which was added to the manifest", quoted(clean(added)))
			}
			if h := weakIn(sections); h != 0 {
				x.remark("weak digest %s of members", digestName(h))
			}
			if !checked {
				bad, loose, loosely, err = a.members(sections)
				if err != nil {
					x.fail(unchecked, "%v", err)
				}
				checked = true
			}
			if bad != "" {
				x.fail(changed, "changed after signing: %s is not as it was signed", quoted(clean(bad)))
			}
			if loosely > 0 {
				if kind != "JAR" {
					x.fail(changed, "changed after signing: %s was added", quoted(clean(loose)))
				} else {
					x.remark("%d members are not signed, %s the first", loosely, quoted(clean(loose)))
				}
			}
			if a.twice != "" {
				x.remark("the name %s occurs twice", quoted(clean(a.twice)))
			}
			f.add(x)
		}
	}
	return nil
}

// weakIn is a weak digest among those by which the manifest names members, 0 when there is none.
func weakIn(sections map[string]*section) crypto.Hash {
	for _, name := range sortedNames(sections) {
		if h, _ := sections[name].digest("-digest"); weak(h) {
			return h
		}
	}
	return 0
}

// signatureFile compares a signature file with the manifest; it returns what is wrong, or else a member that the manifest names and it does not.
func signatureFile(sf, manifest []byte, main *section, sections map[string]*section) (wrong, added string) {
	head, own, err := parseManifest(sf)
	if err != nil {
		return err.Error(), ""
	}
	if h, want := head.digest("-digest-manifest"); h != 0 && bytes.Equal(sum(h, manifest), want) {
		return "", ""
	}
	if h, want := head.digest("-digest-manifest-main-attributes"); h != 0 && !bytes.Equal(sum(h, main.raw), want) {
		return "the manifest's main section", ""
	}
	if len(own) == 0 {
		return "the manifest", ""
	}
	// The manifest as a whole may have been added to since, by another signer. Then each section counts.
	for _, name := range sortedNames(own) {
		s := own[name]
		h, want := s.digest("-digest")
		if h == 0 {
			return fmt.Sprintf("%s has no digest that is known", quoted(clean(name))), ""
		}
		m := sections[name]
		if m == nil {
			return fmt.Sprintf("%s is no longer in the manifest", quoted(clean(name))), ""
		}
		if !bytes.Equal(sum(h, m.raw), want) && !bytes.Equal(sum(h, bytes.TrimRight(m.raw, "\r\n"), []byte("\r\n")), want) {
			return fmt.Sprintf("%s in the manifest", quoted(clean(name))), ""
		}
	}
	for _, name := range sortedNames(sections) {
		if own[name] == nil {
			return "", name
		}
	}
	return "", ""
}

func sortedNames(m map[string]*section) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// members compares every member with the manifest. It returns the first that differs or is missing, and what the manifest does not name.
func (a *archive) members(sections map[string]*section) (bad, loose string, loosely int, err error) {
	seen := map[string]bool{}
	for i := range a.entries {
		e := &a.entries[i]
		seen[e.name] = true
		if strings.HasSuffix(e.name, "/") {
			continue
		}
		if base, ok := metaInf(e.name); ok && (base == "MANIFEST.MF" || strings.HasSuffix(base, ".SF") || strings.HasSuffix(base, ".RSA") ||
			strings.HasSuffix(base, ".DSA") || strings.HasSuffix(base, ".EC") || strings.HasPrefix(base, "SIG-")) {
			continue
		}
		s := sections[e.name]
		if s == nil {
			if loosely++; loose == "" {
				loose = e.name
			}
			continue
		}
		h, want := s.digest("-digest")
		if h == 0 {
			if loosely++; loose == "" {
				loose = e.name
			}
			continue
		}
		var w hash.Hash = h.New()
		r, err := a.open(e)
		if err == nil {
			_, err = io.Copy(w, r)
		}
		switch {
		case errors.Is(err, errTooMuch):
			return bad, loose, loosely, fmt.Errorf("%s: %w", clean(e.name), err)
		case err != nil || !bytes.Equal(w.Sum(nil), want):
			if bad == "" {
				bad = e.name
			}
			return bad, loose, loosely, nil
		}
	}
	for _, name := range sortedNames(sections) {
		if h, _ := sections[name].digest("-digest"); h != 0 && !seen[name] && !strings.HasSuffix(name, "/") {
			return name, loose, loosely, nil
		}
	}
	return bad, loose, loosely, nil
}
