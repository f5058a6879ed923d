package unpack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"spoor/internal/inspect/pdf"
)

// maxPDFStreams bounds the streams of a PDF that are members.
const maxPDFStreams = 1 << 17

// pdfReader gathers which streams of a PDF are members.
type pdfReader struct {
	*container
	f       *pdf.File
	names   map[uint32]string // by number, of what is told as a stream
	scripts map[uint32]int    // of objects that have told some
	damaged error             // the first stream that ended early
}

// readPDF tells embedded files by their names, also those that nothing refers to any more; scripts, and forms of XFA. It is told what stands in
// the file: also what an earlier revision had.
func readPDF(c *container) error {
	f, err := pdf.Open(c.r, c.size, c.candidates(), c.spend)
	if err != nil {
		return err
	}
	p := &pdfReader{container: c, f: f, names: map[uint32]string{}, scripts: map[uint32]int{}}
	if err := f.Each(p.object); err != nil {
		return err
	}
	numbers := slices.SortedFunc(maps.Keys(p.names), func(a, b uint32) int { return cmp.Compare(a, b) })
	for _, num := range numbers {
		if err := f.All(num, p.stream); err != nil {
			return err
		}
	}
	err = p.locked(f.Locked())
	if err == nil && p.damaged != nil {
		err = p.damaged
	}
	if faults := f.Faults(); err == nil && len(faults) > 0 {
		err = faults[0]
	}
	return err
}

// object looks for what refers to members, and tells scripts that are strings.
func (p *pdfReader) object(o pdf.Object) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if d, ok := o.Value.(pdf.Dict); ok && o.Stream {
		if kind, _ := p.f.Resolve(d.Get("Type")).(pdf.Name); kind == "EmbeddedFile" {
			p.want(o.Num, "")
		}
	}
	return p.value(o.Num, o.Value)
}

// want makes the streams of a number members.
func (p *pdfReader) want(num uint32, name string) {
	if p.names[num] == "" && (len(p.names) < maxPDFStreams) {
		p.names[num] = name
	}
}

func (p *pdfReader) value(num uint32, v any) error {
	switch v := v.(type) {
	case pdf.Array:
		for _, e := range v {
			if err := p.value(num, e); err != nil {
				return err
			}
		}
	case pdf.Dict:
		p.fileSpec(v)
		for _, e := range v {
			switch e.Key {
			case "JS", "OnInstantiate":
				if err := p.script(num, e.Value); err != nil {
					return err
				}
			case "XFA":
				p.form(e.Value)
			}
			if err := p.value(num, e.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileSpec takes the streams of a file specification and the name that it gives them.
func (p *pdfReader) fileSpec(d pdf.Dict) {
	v := d.Get("EF")
	if v == nil {
		return
	}
	files, _ := p.f.Resolve(v).(pdf.Dict)
	keys := []pdf.Name{"UF", "F", "Unix", "Mac", "DOS"}
	name := ""
	for _, key := range keys {
		if s, ok := p.f.Resolve(d.Get(key)).(pdf.String); ok && name == "" && p.f.Locked() == nil {
			name = cleanPath(pdf.Text(s))
		}
	}
	for _, key := range keys {
		if ref, ok := files.Get(key).(pdf.Ref); ok {
			p.want(ref.Num, name)
		}
	}
}

// form takes the parts of a form of XFA: one stream, or names and streams by turns.
func (p *pdfReader) form(v any) {
	if ref, ok := v.(pdf.Ref); ok {
		if v = p.f.Resolve(v); v != nil {
			if _, list := v.(pdf.Array); !list {
				p.want(ref.Num, "xfa.xml")
				return
			}
		}
	}
	parts, _ := v.(pdf.Array)
	name := ""
	for _, part := range parts {
		switch part := part.(type) {
		case pdf.String:
			name = strings.ReplaceAll(pdf.Text(part), "/", "_")
		case pdf.Ref:
			p.want(part.Num, cleanPath("xfa-"+name+".xml"))
		}
	}
}

// script tells a script that is a string, and takes one that is a stream.
func (p *pdfReader) script(num uint32, v any) error {
	if ref, ok := v.(pdf.Ref); ok {
		num = ref.Num
		if v = p.f.Resolve(v); v != nil {
			if _, text := v.(pdf.String); !text {
				p.want(num, fmt.Sprintf("javascript-%d.js", num))
				return nil
			}
		}
		if p.scripts[num] > 0 { // one string that several refer to
			return nil
		}
	}
	s, ok := v.(pdf.String)
	if !ok || len(s) == 0 || p.f.Locked() != nil {
		return nil
	}
	p.scripts[num]++
	m := Member{Path: fmt.Sprintf("javascript-%d.js", num), Password: p.f.Password}
	if n := p.scripts[num]; n > 1 {
		m.Path = fmt.Sprintf("javascript-%d-%d.js", num, n)
	}
	text := pdf.Text(s)
	m.Size, m.Reader = int64(len(text)), strings.NewReader(text)
	return p.tell(m)
}

// stream tells one revision of a stream.
func (p *pdfReader) stream(o pdf.Object) error {
	if !o.Stream {
		return nil
	}
	m := Member{Path: p.names[o.Num], Size: -1, Password: p.f.Password}
	if m.Path == "" {
		m.Path = fmt.Sprintf("embedded-%d", o.Num)
	}
	r, err := p.f.Open(o)
	if err != nil {
		m.Err = p.locked(err)
		return p.tell(m)
	}
	m.Reader = &damageReader{p: p, path: m.Path, r: r}
	return p.tell(m)
}

// locked says in this package's words that a password is needed.
func (p *pdfReader) locked(err error) error {
	switch {
	case !errors.Is(err, pdf.ErrPassword):
		return err
	case len(p.o.Passwords) == 0:
		return errEncrypted
	}
	return errPassword
}

// damageReader ends at damage as readers of PDF do, and keeps it to be told.
type damageReader struct {
	p    *pdfReader
	path string
	r    io.Reader
	any  bool
}

func (d *damageReader) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	d.any = d.any || n > 0
	if d.any && errors.Is(err, pdf.ErrDamaged) {
		if d.p.damaged == nil {
			d.p.damaged = &Problem{d.p.memberName(d.path), err.Error()}
		}
		err = io.EOF
	}
	return n, err
}
