package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"spoor/internal/intel"
)

// Lists of known-good files: what packages install, what package indexes offer, what sums of a clean system were written down. Each row is a
// listing, green where the format is one of known-good files alone. A list names files and their sizes, but no machine of the fleet has them
// for that: names and sizes are attributes, never sightings.

// good is one row of such a list.
type good struct {
	file intel.Hashes
	of   string // the package or product that it belongs to
	name string // a file name, or a path to take it from
	size string // decimal digits
}

// good tells of a row.
func (r *reader) good(line int64, feed string, g good) error {
	r.result.Used++
	if err := r.list(line, feed, entry{file: g.file, threat: g.of}); err != nil {
		return err
	}
	o := intel.Observation{Source: r.feedSource(feed), Time: r.o.Now, File: g.file}
	if name := clean(intel.BaseName(g.name)); name != "" {
		o.Fact = intel.Attribute{Name: intel.OriginalName, Value: name}
		if err := r.observe(line, &o); err != nil {
			return err
		}
	}
	if n, err := strconv.ParseUint(g.size, 10, 63); err == nil {
		o.Fact = intel.Attribute{Name: intel.Size, Value: strconv.FormatUint(n, 10)}
		return r.observe(line, &o)
	}
	return nil
}

// anyHash reads a hash of any of the three kinds; a digest of another length is refused.
func (r *reader) anyHash(line int64, field string, value []byte) (intel.Hash, bool) {
	h, err := intel.ParseHash(string(value))
	if err != nil {
		r.refuse(line, field, err.Error())
		return h, false
	}
	return h, true
}

// sum is a line of md5sum, sha1sum, sha256sum or of BSD's: "hash  path", "hash *path", "SHA256 (path) = hash". named is the algorithm that
// it names, 0 when none.
func parseSum(line []byte) (hash, name []byte, named intel.Algorithm, ok bool) {
	if open := bytes.Index(line, []byte(" (")); open > 0 && open <= 8 {
		switch string(line[:open]) {
		case "MD5":
			named = intel.MD5
		case "SHA1":
			named = intel.SHA1
		case "SHA256", "SHA2-256":
			named = intel.SHA256
		default:
			return nil, nil, 0, false
		}
		end := bytes.LastIndex(line, []byte(") = "))
		if end < open+2 {
			return nil, nil, 0, false
		}
		return line[end+4:], line[open+2 : end], named, true
	}
	escaped := line[0] == '\\'
	if escaped {
		line = line[1:]
	}
	n := 0
	for n < len(line) && isHex(line[n:n+1]) {
		n++
	}
	if n < 30 || n > 66 || n+2 >= len(line) || line[n] != ' ' || line[n+1] != ' ' && line[n+1] != '*' {
		return nil, nil, 0, false
	}
	if name = line[n+2:]; escaped {
		name = []byte(strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(string(name)))
	}
	return line[:n], name, 0, true
}

// sniffLines reports whether the first whole lines of a sample, but for blank ones and comments, are such lines, one in four at most not.
func (s *sample) sniffLines(is func(line []byte) bool) bool {
	n, not := 0, 0
	for line := range bytes.Lines(s.trimmed) {
		if line[len(line)-1] != '\n' && n > 0 {
			break // it may be cut
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if n++; !is(line) {
			not++
		}
		if n == 50 {
			break
		}
	}
	return n > 0 && 4*not <= n
}

func sniffSums(s *sample) int {
	if s.sniffLines(func(line []byte) bool { _, _, _, ok := parseSum(line); return ok }) {
		return 50
	}
	return 0
}

// packageFolders are where packages install files, as dpkg lists them.
var packageFolders = map[string]bool{"usr": true, "bin": true, "sbin": true, "lib": true, "lib32": true, "lib64": true, "libx32": true, "opt": true, "var": true, "boot": true, "etc": true, "srv": true}

func sniffDpkg(s *sample) int {
	if s.sniffLines(func(line []byte) bool {
		hash, name, named, ok := parseSum(line)
		first, _, inFolder := bytes.Cut(name, []byte("/"))
		return ok && named == 0 && len(hash) == 32 && line[33] == ' ' && inFolder && (packageFolders[string(first)] || strings.HasSuffix(s.base, ".md5sums"))
	}) {
		return 60
	}
	return 0
}

func readSums(r *reader) error { return r.sums(r.feed(""), "") }

// readDpkg reads the list of one package: dpkg keeps it as NAME.md5sums or NAME:ARCH.md5sums, a .deb as md5sums.
func readDpkg(r *reader) error {
	name := filepath.ToSlash(r.name)
	base := name[strings.LastIndexAny(name, "/!")+1:]
	of, ok := strings.CutSuffix(base, ".md5sums")
	if !ok {
		of = ""
		if dir := path.Base(path.Dir(name)); base == "md5sums" && dir != "." && dir != "/" && dir != "DEBIAN" {
			of = dir
		}
	}
	of, _, _ = strings.Cut(of, ":")
	return r.sums(r.feed("dpkg"), of)
}

func (r *reader) sums(feed, of string) error {
	return r.each(func(line []byte, number int64) error {
		hash, name, named, ok := parseSum(line)
		if !ok {
			r.result.Other++
			return nil
		}
		h, ok := r.anyHash(number, "", hash)
		if !ok {
			return nil
		}
		if named != 0 && h.Algorithm() != named {
			r.refuse(number, "", fmt.Sprintf("%s is a %s, not a %s", h, h.Algorithm(), named))
			return nil
		}
		return r.good(number, feed, good{file: intel.HashesOf(h), of: of, name: string(name)})
	})
}

func sniffHashdeep(s *sample) int {
	if bytes.HasPrefix(s.first, []byte("%%%% HASHDEEP-")) {
		return 100
	}
	return 0
}

func readHashdeep(r *reader) error {
	var columns []string
	feed := r.feed("hashdeep")
	return r.each(func(line []byte, number int64) error {
		switch {
		case bytes.HasPrefix(line, []byte("%%%% HASHDEEP")), line[0] == '#':
			r.result.Other++
			return nil
		case bytes.HasPrefix(line, []byte("%%%% ")):
			r.result.Other++
			columns = strings.Split(strings.ToLower(string(line[5:min(len(line), 512)])), ",")
			return nil
		case columns == nil:
			r.refuse(number, "", `a row before the line "%%%% size,md5,sha256,filename" that names its columns`)
			return nil
		}
		fields := strings.SplitN(string(line), ",", len(columns)) // the last, a file's name, may hold commas
		if len(fields) < len(columns) {
			r.refuse(number, "", fmt.Sprintf("a row of %d fields, not %d: it is cut", len(fields), len(columns)))
			return nil
		}
		var g good
		for i, c := range columns {
			switch c {
			case "size":
				g.size = fields[i]
			case "filename":
				g.name = fields[i]
			case "md5":
				g.file.Set(r.namedHash(number, c, fields[i], intel.MD5))
			case "sha1":
				g.file.Set(r.namedHash(number, c, fields[i], intel.SHA1))
			case "sha256":
				g.file.Set(r.namedHash(number, c, fields[i], intel.SHA256))
			}
		}
		if g.file.IsZero() {
			return nil
		}
		return r.good(number, feed, g)
	})
}

func sniffDebIndex(s *sample) int {
	if bytes.HasPrefix(s.first, []byte("Package: ")) && bytes.Contains(s.head, []byte("\nFilename: ")) &&
		(bytes.Contains(s.head, []byte("\nSHA256: ")) || bytes.Contains(s.head, []byte("\nMD5sum: ")) || bytes.Contains(s.head, []byte("\nSHA1: "))) {
		return 80
	}
	return 0
}

// readDebIndex reads the stanzas of a Packages file: each names a .deb. Other hashes in it, as Description-md5, are of no file.
func readDebIndex(r *reader) error {
	feed := r.feed("apt")
	var g good
	var version string
	var begins int64
	open, refused := false, false
	end := func() error {
		if !open {
			return nil
		}
		r.result.Records++
		open = false
		g.of = strings.TrimSpace(g.of + " " + version)
		switch {
		case g.file.IsZero() && !refused:
			r.result.Other++
		case !g.file.IsZero():
			if err := r.good(begins, feed, g); err != nil {
				return err
			}
		}
		g, version, refused = good{}, "", false
		return nil
	}
	hash := func(field string, value []byte, a intel.Algorithm) {
		h := r.namedHash(r.in.number, field, string(value), a)
		refused = refused || h.IsZero()
		g.file.Set(h)
	}
	for {
		line, err := r.in.next()
		switch {
		case errors.Is(err, errLongLine):
			r.refuse(r.in.number, "", fmt.Sprintf("longer than %d bytes", maxLine))
			continue
		case errors.Is(err, io.EOF):
			return end()
		case err != nil:
			return errors.Join(end(), err)
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		line = bytes.TrimRight(line, " \t\r")
		if len(line) == 0 {
			if err := end(); err != nil {
				return err
			}
			continue
		}
		if !open {
			open, begins = true, r.in.number
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		value = bytes.TrimSpace(value)
		switch string(key) {
		case "Package":
			g.of = string(value)
		case "Version":
			version = string(value)
		case "Filename":
			g.name = string(value)
		case "Size":
			g.size = string(value)
		case "MD5sum":
			hash("MD5sum", value, intel.MD5)
		case "SHA1":
			hash("SHA1", value, intel.SHA1)
		case "SHA256":
			hash("SHA256", value, intel.SHA256)
		}
	}
}

func sniffRPMIndex(s *sample) int {
	if bytes.HasPrefix(s.trimmed, []byte("<")) && bytes.Contains(s.head, []byte(`="http://linux.duke.edu/metadata/common"`)) && bytes.Contains(s.head, []byte("<metadata")) {
		return 100
	}
	return 0
}

type rpmPackage struct {
	Name    string `xml:"name"`
	Version struct {
		Epoch string `xml:"epoch,attr"`
		Ver   string `xml:"ver,attr"`
		Rel   string `xml:"rel,attr"`
	} `xml:"version"`
	Checksums []struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	} `xml:"checksum"`
	Size struct {
		Package string `xml:"package,attr"`
	} `xml:"size"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
}

// readRPMIndex reads a repository's primary.xml, a <package> at a time: each names an .rpm.
func readRPMIndex(r *reader) error {
	feed := r.feed("rpm")
	var raw []byte
	var begins int64
	in, tooLong := false, false
	line := int64(1)
	for {
		part, err := r.in.ReadSlice('>')
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if i := bytes.LastIndex(part, []byte("<package")); i >= 0 && (bytes.HasPrefix(part[i+8:], []byte(" ")) || bytes.HasPrefix(part[i+8:], []byte(">"))) {
			if in {
				r.result.Records++
				r.refuse(begins, "package", "another package begins within this one")
			}
			in, tooLong, begins = true, false, line+int64(bytes.Count(part[:i], []byte("\n")))
			raw = append(raw[:0], part[i:]...)
		} else if in {
			if len(raw)+len(part) > maxObject {
				tooLong = true
			} else {
				raw = append(raw, part...)
			}
		}
		line += int64(bytes.Count(part, []byte("\n")))
		if in && bytes.HasSuffix(part, []byte("</package>")) {
			in = false
			r.result.Records++
			var p rpmPackage
			switch {
			case tooLong:
				r.refuse(begins, "package", fmt.Sprintf("longer than %d bytes", maxObject))
			default:
				if err := xml.Unmarshal(raw, &p); err != nil {
					r.refuse(begins, "package", "not XML: "+err.Error())
				} else if err := r.rpm(begins, feed, &p); err != nil {
					return err
				}
			}
		}
		switch {
		case err == nil || isBufferFull(err):
			continue
		case in:
			r.result.Records++
			r.refuse(begins, "package", "the input ends within this package")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

func (r *reader) rpm(line int64, feed string, p *rpmPackage) error {
	g := good{name: p.Location.Href, size: p.Size.Package, of: strings.TrimSpace(p.Name + " " + p.Version.Ver)}
	if p.Version.Rel != "" {
		g.of += "-" + p.Version.Rel
	}
	faults := false
	for _, c := range p.Checksums {
		algorithms := map[string]intel.Algorithm{"md5": intel.MD5, "sha": intel.SHA1, "sha1": intel.SHA1, "sha256": intel.SHA256}
		a, ok := algorithms[strings.ToLower(c.Type)]
		if !ok {
			continue
		}
		h := r.namedHash(line, "checksum", c.Text, a)
		faults = faults || h.IsZero()
		g.file.Set(h)
	}
	switch {
	case !g.file.IsZero():
		return r.good(line, feed, g)
	case !faults:
		r.result.Other++
	}
	return nil
}

func sniffHashlookup(s *sample) int {
	switch {
	case !s.json():
		return 0
	case s.has("hashlookup:trust"), s.has("hashlookup:parent-total"):
		return 90
	case s.has("SHA-1", "FileName"), s.has("SHA-1", "MD5"), s.has("SHA-1", "SHA-256"), s.has("MD5", "FileName", "FileSize"):
		return 70
	}
	return 0
}

type hashlookupRecord struct {
	MD5       zeekText `json:"MD5"`
	SHA1      zeekText `json:"SHA-1"`
	SHA256    zeekText `json:"SHA-256"`
	Name      zeekText `json:"FileName"`
	Size      zeekText `json:"FileSize"`
	Package   zeekText `json:"PackageName"`
	Version   zeekText `json:"PackageVersion"`
	Source    zeekText `json:"source"`
	DB        zeekText `json:"db"`
	Malicious zeekText `json:"KnownMalicious"`
}

// readHashlookup reads a dump of CIRCL's hashlookup: an object a file. One that the dump itself calls malicious is listed red.
func readHashlookup(r *reader) error {
	feed := r.feed("hashlookup")
	return r.eachObject(func(object []byte, line int64) (bool, error) {
		var j hashlookupRecord
		if json.Unmarshal(object, &j) != nil {
			return false, nil
		}
		var g good
		faults := false
		for _, h := range [...]struct {
			field string
			value zeekText
			a     intel.Algorithm
		}{{"MD5", j.MD5, intel.MD5}, {"SHA-1", j.SHA1, intel.SHA1}, {"SHA-256", j.SHA256, intel.SHA256}} {
			one := r.namedHash(line, h.field, string(h.value), h.a)
			faults = faults || one.IsZero() && h.value != ""
			g.file.Set(one)
		}
		if g.file.IsZero() {
			if !faults {
				r.result.Other++
			}
			return true, nil
		}
		g.name, g.size = string(j.Name), string(j.Size)
		g.of = strings.TrimSpace(string(j.Package + " " + j.Version))
		if g.of == "" {
			g.of = string(cmp.Or(j.Source, j.DB))
		}
		if j.Malicious != "" {
			r.result.Used++
			return true, r.list(line, feed, entry{file: g.file, zone: intel.Red, threat: string(j.Malicious)})
		}
		return true, r.good(line, feed, g)
	})
}
