package exe

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
)

// Bounds of resources.
const (
	maxResources = 4096
	maxVersion   = 64 << 10
	maxIcon      = 4 << 20
	maxProbes    = 256 // resources that are looked at for what they begin with
)

// The types of resource that are told apart.
const (
	rtIcon      = 3
	rtRCData    = 10
	rtGroupIcon = 14
	rtVersion   = 16
	rtManifest  = 24
)

// windowsOwn are types that hold parts of the user interface, never files.
var windowsOwn = map[string]string{"1": "CURSOR", "2": "BITMAP", "3": "ICON", "4": "MENU", "5": "DIALOG", "6": "STRING", "7": "FONTDIR", "9": "ACCELERATOR",
	"11": "MESSAGETABLE", "12": "GROUP_CURSOR", "14": "GROUP_ICON", "16": "VERSION", "17": "DLGINCLUDE", "21": "ANICURSOR", "22": "ANIICON", "24": "MANIFEST"}

// resource is a leaf of the tree.
type resource struct {
	kind, name string // a number in digits, or a name
	off, size  int64
	embed      bool
}

func (r *resource) path() string {
	kind := r.kind
	switch r.kind {
	case "10":
		kind = "RCDATA"
	case "23":
		kind = "HTML"
	}
	return kind + "/" + r.name
}

func (p *pe) readResources() {
	root, size := p.dir(2)
	base, left := p.offset(root)
	if root == 0 || size == 0 || base < 0 {
		return
	}
	visits := 0
	// entries calls f with each entry of a directory: its id and where it points to.
	entries := func(at uint32, f func(id string, to uint32)) {
		if int64(at) > left {
			return
		}
		b := p.in.full(base+int64(at), 16)
		if b == nil {
			return
		}
		n := int64(le.Uint16(b[12:])) + int64(le.Uint16(b[14:]))
		for i := int64(0); i < n && visits < 4*maxResources; i++ {
			visits++
			e := p.in.full(base+int64(at)+16+8*i, 8)
			if e == nil {
				return
			}
			id, to := le.Uint32(e), le.Uint32(e[4:])
			if id&(1<<31) == 0 {
				f(strconv.Itoa(int(id&0xFFFF)), to)
				continue
			}
			f(p.unicode(base+int64(id&^(1<<31))), to)
		}
	}
	const down = 1 << 31
	entries(0, func(kind string, to uint32) {
		if to&down == 0 {
			return
		}
		entries(to&^down, func(name string, to uint32) {
			if to&down == 0 {
				return
			}
			many := 0
			entries(to&^down, func(language string, to uint32) {
				if to&down != 0 || len(p.resources) >= maxResources {
					return
				}
				b := p.in.full(base+int64(to), 16)
				if b == nil {
					return
				}
				off, left := p.offset(le.Uint32(b))
				if n := int64(le.Uint32(b[4:])); off >= 0 && n > 0 && n <= left {
					r := resource{kind: kind, name: name, off: off, size: n}
					if many++; many > 1 {
						r.name += "/" + language
					}
					p.resources = append(p.resources, r)
				}
			})
		})
	})
	probes := 0
	for i := range p.resources {
		r := &p.resources[i]
		if windowsOwn[r.kind] != "" || r.size < 16 || probes >= maxProbes {
			continue
		}
		probes++
		switch f := filetype.Detect(io.NewSectionReader(p.in.r, r.off, r.size), r.size).Format; f {
		case filetype.Unknown, filetype.Text, filetype.Empty:
		default:
			r.embed = true
		}
	}
}

// unicode reads a string of a resource directory: its length, then UTF-16.
func (p *pe) unicode(off int64) string {
	b := p.in.full(off, 2)
	if b == nil {
		return ""
	}
	return utf16Text(p.in.at(off+2, 2*int64(min(le.Uint16(b), 256))))
}

func utf16Text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, le.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// first returns the bytes of the first resource of a type, at most most.
func (p *pe) first(kind int, most int64) []byte {
	k := strconv.Itoa(kind)
	for i := range p.resources {
		if r := &p.resources[i]; r.kind == k {
			return p.in.at(r.off, min(r.size, most))
		}
	}
	return nil
}

// iconHash returns the MD5 of the bytes of the icon that stands for the program: of the first group, the image with the most pixels,
// of these the one with the most colours.
func (p *pe) iconHash() string {
	group := p.first(rtGroupIcon, 64<<10)
	if len(group) < 6 {
		return ""
	}
	best, most := "", -1
	for b := group[6:]; len(b) >= 14; b = b[14:] {
		w, h := int(b[0]), int(b[1])
		if w == 0 {
			w = 256
		}
		if h == 0 {
			h = 256
		}
		if rank := w*h<<8 | int(min(le.Uint16(b[6:]), 255)); rank > most {
			best, most = strconv.Itoa(int(le.Uint16(b[12:]))), rank
		}
	}
	for i := range p.resources {
		if r := &p.resources[i]; r.kind == "3" && r.name == best && r.size <= maxIcon {
			sum := md5.Sum(p.in.at(r.off, r.size))
			return hex.EncodeToString(sum[:])
		}
	}
	return ""
}

// versionNode is a node of a version resource: a key, a value and children.
type versionNode struct {
	key      string
	value    []byte
	children []byte
	whole    int // its length with padding
}

func versionAt(b []byte) (versionNode, bool) {
	if len(b) < 6 {
		return versionNode{}, false
	}
	n, value, wide := int(le.Uint16(b)), int(le.Uint16(b[2:])), le.Uint16(b[4:]) == 1
	if n < 6 || n > len(b) {
		return versionNode{}, false
	}
	v := versionNode{whole: min((n+3)&^3, len(b))}
	b = b[:n]
	at := 6
	for at+1 < n && (b[at] != 0 || b[at+1] != 0) {
		at += 2
	}
	v.key = utf16Text(b[6:min(at, n)])
	at = min((at+2+3)&^3, n)
	if wide {
		value *= 2
	}
	// Some compilers count a text's bytes, others its characters.
	value = min(value, n-at)
	v.value = b[at : at+value]
	v.children = b[min((at+value+3)&^3, n):]
	return v, true
}

// versionStrings calls f with each string of the first table.
func versionStrings(b []byte, f func(key, value string)) (fixed []byte) {
	root, ok := versionAt(b)
	if !ok {
		return nil
	}
	fixed = root.value
	budget := 1024
	for info := root.children; budget > 0; budget-- {
		node, ok := versionAt(info)
		if !ok {
			break
		}
		if node.key == "StringFileInfo" {
			if table, ok := versionAt(node.children); ok {
				for rest := table.children; budget > 0; budget-- {
					s, ok := versionAt(rest)
					if !ok {
						break
					}
					value, _, _ := strings.Cut(utf16Text(s.value), "\x00")
					f(s.key, value)
					rest = rest[s.whole:]
				}
			}
		}
		info = info[node.whole:]
	}
	return fixed
}

// version tells the version resource.
func (p *pe) version(t *teller) {
	b := p.first(rtVersion, maxVersion)
	if b == nil {
		return
	}
	values := map[string]string{}
	fixed := versionStrings(b, func(key, value string) {
		if value = clean(value); value != "" && values[key] == "" {
			values[key] = value
		}
	})
	version := values["FileVersion"]
	if version == "" && len(fixed) >= 16 && le.Uint32(fixed) == 0xFEEF04BD {
		high, low := le.Uint32(fixed[8:]), le.Uint32(fixed[12:])
		if high|low != 0 {
			version = fmt.Sprintf("%d.%d.%d.%d", high>>16, high&0xFFFF, low>>16, low&0xFFFF)
		}
	}
	t.attribute(intel.Product, values["ProductName"])
	t.attribute(intel.Company, values["CompanyName"])
	t.attribute(intel.Description, values["FileDescription"])
	t.attribute(intel.Version, version)
	t.attribute(intel.OriginalName, values["OriginalFilename"])
}
