package unpack

import (
	"bytes"
	"compress/lzw"
	"compress/zlib"
	"encoding/ascii85"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// pdfOf makes a file of numbered objects, in order, without a table of references.
func pdfOf(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	for i, o := range objects {
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	fmt.Fprintf(&b, "trailer << /Root 1 0 R /Size %d >>\n%%%%EOF\n", len(objects)+1)
	return b.Bytes()
}

func pdfStream(dict, data string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// lzwed packs as PDF's LZW does, with the code's width growing early: clearing before it would have to.
func lzwed(s string) string {
	var bits bitsBig
	for i := range len(s) {
		if i%200 == 0 {
			bits.write(256, 9)
		}
		bits.write(uint32(s[i]), 9)
	}
	bits.write(257, 9)
	return bits.flush()
}

type bitsBig struct {
	out  []byte
	v    uint32
	have uint
}

func (b *bitsBig) write(v uint32, n uint) {
	b.v, b.have = b.v<<n|v, b.have+n
	for b.have >= 8 {
		b.have -= 8
		b.out = append(b.out, byte(b.v>>b.have))
	}
}

func (b *bitsBig) flush() string {
	if b.have > 0 {
		b.out = append(b.out, byte(b.v<<(8-b.have)))
	}
	return string(b.out)
}

func TestPDFMembers(t *testing.T) {
	const content = "the content of a file that is embedded"
	file := func(filters, data string) []byte {
		return pdfOf("<< /Type /Catalog >>", "<< /Type /Filespec /F (a.txt) /EF << /F 3 0 R >> >>", pdfStream(filters, data))
	}
	one := []entry{member("a.txt", content)}
	eighty := make([]byte, ascii85.MaxEncodedLen(len(content)))
	eighty = eighty[:ascii85.Encode(eighty, []byte(content))]
	var late bytes.Buffer // as GIF and late change have it, the first bit the highest
	w := lzw.NewWriter(&late, lzw.MSB, 8)
	text := strings.Repeat(content, 50)
	io.WriteString(w, text)
	w.Close()
	inner := string(pdfOf("<< >>", "<< /JS (not this one) >>"))
	for name, c := range map[string]struct {
		in   []byte
		want []entry
		err  string
	}{
		"stored":       {in: file("", content), want: one},
		"flate":        {in: file("/Filter /FlateDecode", deflated(content)), want: one},
		"escaped name": {in: file("/F#69lter /Fl#61teDecode", deflated(content)), want: one},
		"lzw":          {in: file("/Filter /LZWDecode", lzwed(content)), want: one},
		"lzw late":     {in: file("/Filter /LZW /DecodeParms << /EarlyChange 0 >>", late.String()), want: []entry{member("a.txt", text)}},
		"hex":          {in: file("/Filter [/ASCIIHexDecode]", hex.EncodeToString([]byte(content))+" >"), want: one},
		"ascii85":      {in: file("/Filter /A85", string(eighty)+"~>"), want: one},
		"run length":   {in: file("/Filter /RunLengthDecode", "\x02abc\xfdx\x80junk"), want: []entry{member("a.txt", "abcxxxx")}},
		"chained":      {in: file("/Filter [/AHx /FlateDecode /Fl]", hex.EncodeToString([]byte(deflated(deflated(content))))+">"), want: one},
		"png rows":     {in: file("/Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 3 >>", deflated("\x00abc\x02\x01\x01\x01\x01a\x01\x01\x04\x01\x00\x00\x03\x01\x00\x00")), want: []entry{member("a.txt", "abcbcdabcbbc2JV")}},
		"tiff rows":    {in: file("/Filter /FlateDecode /DecodeParms [<< /Predictor 2 /Columns 3 >>]", deflated("a\x01\x01a\x01\x01")), want: []entry{member("a.txt", "abcabc")}},
		"image":        {in: file("/Filter [/Fl /DCTDecode]", deflated("\xff\xd8 a picture")), want: []entry{member("a.txt", "\xff\xd8 a picture")}},
		"damaged": {in: file("/Filter /FlateDecode", deflated(content + strings.Repeat("x", 1000))[:30]), want: []entry{member("a.txt", content[:10])},
			err: "pdf: member a.txt: the stream is damaged after 10 bytes inflated"},
		"not known":        {in: file("/Filter /Xyz", content), want: []entry{{Path: "a.txt", Size: -1, Err: `pdf: member a.txt: filter "Xyz" is not known`}}},
		"length that lies": {in: bytes.Replace(file("", content), []byte(fmt.Sprintf("/Length %d", len(content))), []byte("/Length 999999999999"), 1), want: one},
		"length elsewhere": {in: append(pdfOf("<< >>", "<< /EF << /F 3 0 R >> /UF <FEFF00FC> >>", "<< /Length 4 0 R >> stream\r\n"+inner+"\r\nendstream"), fmt.Sprintf("4 0 obj %d endobj", len(inner))...),
			want: []entry{member("ü", inner)}},
		"no reference":  {in: pdfOf("<< >>", pdfStream("/Type /EmbeddedFile", content)), want: []entry{member("embedded-2", content)}},
		"two revisions": {in: append(file("", content), "3 0 obj\n"+pdfStream("", "newer")+"\nendobj\n"...), want: []entry{member("a.txt", content), member("a.txt", "newer")}},
		"object stream": {in: pdfOf(pdfStream("/Type /ObjStm /N 3 /First 15 /Filter /FlateDecode", deflated("5 0 6 36 7 56  << /F 6 0 R /EF << /F 2 0 R >> >>   (in an object.txt)  7 0 R")), pdfStream("", content)),
			want: []entry{member("in an object.txt", content)}},
		"scripts": {in: pdfOf("<< /OpenAction << /S /JavaScript /JS (app.alert\\(\"\\374\"\\)) >> /AA << /O << /JS 2 0 R >> /C << /JS 3 0 R >> >> >>", "(two)", pdfStream("", "three")),
			want: []entry{member("javascript-1.js", `app.alert("ü")`), member("javascript-2.js", "two"), member("javascript-3.js", "three")}},
		"form":    {in: pdfOf("<< /XFA [(preamble) 2 0 R (template) 3 0 R] >>", pdfStream("", "<a>"), pdfStream("", "</a>")), want: []entry{member("xfa-preamble.xml", "<a>"), member("xfa-template.xml", "</a>")}},
		"path":    {in: bytes.Replace(file("", content), []byte("a.txt"), []byte("../../etc/x\\000"), 1), want: []entry{member("etc/x_", content)}},
		"nothing": {in: []byte("%PDF-1.4"), err: "pdf: it has no object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.PDF, c.in, Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(sorted(c.want), sorted(got)); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPDFPeers compares attachments with qpdf's and pdfdetach's, plain and by every encryption that qpdf writes.
func TestPDFPeers(t *testing.T) {
	dir := t.TempDir()
	for name, content := range sources(400) {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := pdfOf("<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (app.alert\\(1\\);) >> >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>")
	if err := os.WriteFile(filepath.Join(dir, "base.pdf"), base, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--warning-exit-0", "base.pdf"}
	var want []entry
	for _, e := range tree(t, dir) {
		if e.Path != "base.pdf" {
			args = append(args, "--add-attachment", e.Path, "--filename=ü "+e.Path, "--")
			want = append(want, entry{Path: "ü " + e.Path, Size: e.Size, SHA256: e.SHA256})
		}
	}
	want = append(want, member("javascript-1.js", "app.alert(1);"))
	run(t, dir, "qpdf", append(args, "attached.pdf")...)
	for i, encryption := range [][]string{nil,
		{"", "own", "40"}, {"", "own", "128"}, {"", "own", "128", "--force-V4"}, {"", "own", "128", "--use-aes=y"}, {"", "own", "128", "--use-aes=y", "--cleartext-metadata"},
		{"", "own", "256"}, {"", "own", "256", "--force-R5"},
		{"infected", "own", "40"}, {"infected", "own", "128"}, {"infected", "own", "128", "--use-aes=y"}, {"infected", "own", "256"}, {"infected", "own", "256", "--force-R5"},
		{"x", "infected", "40"}, {"x", "infected", "128"}, {"x", "infected", "128", "--use-aes=y"}, {"x", "infected", "256"}, {"x", "infected", "256", "--force-R5"},
	} {
		for _, objects := range []string{"disable", "generate"} {
			args := []string{"--allow-weak-crypto", "--object-streams=" + objects, "attached.pdf"}
			if encryption != nil {
				args = append(append(append(args, "--encrypt"), encryption...), "--")
			}
			name := fmt.Sprintf("%d-%s.pdf", i, objects)
			run(t, dir, "qpdf", append(args, name)...)
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, filetype.PDF, b, Options{Passwords: []string{"wrong", "infected"}})
			for k := range got {
				if strings.HasPrefix(got[k].Path, "javascript-") {
					got[k].Path = "javascript-1.js"
				}
			}
			if err != nil {
				t.Errorf("%s %v: %v", name, encryption, err)
			}
			if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
				t.Errorf("%s %v: (-want +got):\n%s", name, encryption, diff)
			}
			if encryption != nil && encryption[0] != "" {
				if _, err := list(t, filetype.PDF, b, Options{Passwords: []string{"wrong"}}); err == nil || !strings.Contains(err.Error(), errPassword.Error()) {
					t.Errorf("%s %v: without the password: %v", name, encryption, err)
				}
				continue
			}
			out := t.TempDir()
			run(t, out, "pdfdetach", "-saveall", filepath.Join(dir, name))
			var theirs, ours []entry
			theirs = tree(t, out)
			for _, e := range got {
				if e.Path != "javascript-1.js" {
					ours = append(ours, e)
				}
			}
			if diff := cmp.Diff(sorted(theirs), sorted(ours)); diff != "" {
				t.Errorf("%s %v: (-pdfdetach +ours):\n%s", name, encryption, diff)
			}
		}
	}
}

// TestPDFHostile holds that what points at itself, claims too much or lies over itself is told in bounded memory and time.
func TestPDFHostile(t *testing.T) {
	packed := func(n int, s string) string {
		return pdfStream(fmt.Sprintf("/Type /ObjStm /N %d /First 10 /Filter /FlateDecode", n), deflated(s))
	}
	for name, c := range map[string]struct {
		in    []byte
		limit uint64
	}{
		"references in a circle":          {pdfOf("2 0 R", "1 0 R", "<< /EF 1 0 R /JS 2 0 R /Filter 1 0 R /XFA [1 0 R (a) 2 0 R] >>"), 1 << 20},
		"object stream that needs itself": {pdfOf(pdfStream("/Type /ObjStm /N 1 /First 10 /Filter 5 0 R", "5 0       /Fl"), packed(1, "2 0       << /EF << /F 2 0 R >> >>")), 1 << 20},
		"nesting":                         {pdfOf(strings.Repeat("[", 1<<20), strings.Repeat("<</a", 1<<18)), 8 << 20},
		"rows of 2^40 bytes":              {pdfOf(pdfStream("/Type /EmbeddedFile /Filter /Fl /DecodeParms << /Predictor 12 /Columns 1099511627776 /Colors 60 >>", deflated("x"))), 1 << 20},
		"objects without number":          {pdfOf(packed(1<<40, "1 0       << >>")), 1 << 20},
		"strings in strings":              {[]byte("%PDF-1.7\n" + strings.Repeat("1 0 obj(", 1<<15)), 64 << 20},
		"filters":                         {pdfOf(pdfStream("/Type /EmbeddedFile /Filter ["+strings.Repeat("/Fl ", 10000)+"]", "x")), 8 << 20},
		"one place, many objects":         {pdfOf(packed(5000, strings.Repeat("3 0 ", 5000)+strings.Repeat("[1 2 3]", 10000))), 64 << 20},
		"bomb":                            {pdfOf(packed(1, "1 0       "+strings.Repeat("\x00", 64<<20))), 256 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			n := allocated(func() {
				if got, _ := list(t, filetype.PDF, c.in, Options{}); len(got) > 16 {
					t.Errorf("%d members", len(got))
				}
			})
			if n > c.limit {
				t.Errorf("%d bytes were allocated for %d bytes of input", n, len(c.in))
			}
		})
	}
}

func FuzzPDF(f *testing.F) {
	f.Add(pdfOf("<< /JS (a) /F (x) /EF << /F 2 0 R >> >>", pdfStream("/Filter [/AHx /Fl] /DecodeParms [null << /Predictor 12 /Columns 2 >>]", hex.EncodeToString([]byte(deflated("\x02abcd")))+">")))
	f.Add(pdfOf(pdfStream("/Type /ObjStm /N 1 /First 10", "5 0       << /EF << /F 2 0 R >> /XFA 2 0 R >>"), pdfStream("/Type /EmbeddedFile /Filter /LZW", lzwed("abc"))))
	f.Add(pdfOf(pdfStream("/Type /EmbeddedFile /Filter [/A85 /RL]", "5sdq,~>"), "<< /Filter /Standard /V 4 /R 4 /O ("+strings.Repeat("o", 32)+") /U ("+strings.Repeat("u", 32)+") /P -4 /StmF /StdCF /StrF /StdCF /CF << /StdCF << /CFM /AESV2 >> >> >>\nendobj\ntrailer << /Encrypt 2 0 R /ID [(a) (b)] >>"))
	f.Add(pdfOf(pdfStream("/Type /XRef /Encrypt << /Filter /Standard /V 5 /R 6 /O ("+strings.Repeat("o", 48)+") /U ("+strings.Repeat("u", 48)+") /OE ("+strings.Repeat("e", 32)+") /UE ("+strings.Repeat("e", 32)+") >>", "x"), pdfStream("/Type /EmbeddedFile", "x")))
	f.Add([]byte("%PDF-1.7\n1 0 obj<</Length 52>>stream\nx\nendstream endobj\n2 0 obj<</JS (a)>>endobj\n\nendstream endobj\nxref\n2 1\n0000000060 00000 n \ntrailer<<>>startxref 117"))
	f.Add(pdfOf(pdfStream("/First 1", "3 0 obj (a) endobj"), pdfStream("/Type /XRef /W [0 1 0] /Index [3 1 4 99999999]", "\x3d")))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.PDF, b) })
}
