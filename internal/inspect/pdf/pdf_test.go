package pdf

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for in, want := range map[String]string{
		"plain \xfc": "plain ü", "\x80\x93\xa0\x1f": "•ﬁ€˜", "\xfe\xff\x20\xac\xd8\x3d\xde\x00": "€😀", "\xff\xfea\x00": "a", "\xef\xbb\xbfü\xff": "ü\uFFFD", "": "",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]any{
		"<< /A#42 1 /C [1.5 true null (a\\053\\)(b)\\\n) <4a4> 2 0 R] /D << >> % comment\n /E 7 >>": Dict{{"AB", int64(1)}, {"C", Array{1.5, true, nil, String("a+)(b)"), String("J@"), Ref{2, 0}}}, {"D", Dict(nil)}, {"E", int64(7)}},
		"-12 endobj": int64(-12), "/Name": Name("Name"), "[ (cut": Array{String("cut")}, "<< /K": Dict{{"K", nil}}, "": nil,
		"[ 1 0 R 99999999999 0 R 3 R ]": Array{Ref{1, 0}, nil, int64(3)},
	} {
		budget := int64(1 << 20)
		got, err := newLexer(bytes.NewReader([]byte(in)), int64(len(in)), 4, &budget).object(0)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", in, d)
		}
	}
}

// TestFind holds that objects are found across the steps that a file is read in, and none in streams.
func TestFind(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	for b.Len() < 1<<20 {
		b.WriteString("12 0 obj << /A (x) >> endobj\n13 0\tobj<< /Length 8 >>stream\n99 0 obj\nendstream\n")
	}
	f, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()), nil, free)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint32]int{}
	f.Each(func(o Object) error { got[o.Num]++; return nil })
	n := bytes.Count(b.Bytes(), []byte("12 0 obj"))
	if d := cmp.Diff(map[uint32]int{12: n, 13: n}, got); d != "" {
		t.Error(d)
	}
	if len(f.Faults()) > 0 {
		t.Error(f.Faults())
	}
}

// TestUnended holds that a stream without an end hides none of the objects behind it.
func TestUnended(t *testing.T) {
	in := []byte("%PDF-1.7\n1 0 obj << /Length 99 >> stream\ndata\n2 0 obj << /JS (a) >> endobj")
	f, err := Open(bytes.NewReader(in), int64(len(in)), nil, free)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint32]any{}
	f.Each(func(o Object) error { got[o.Num] = o.Value; return nil })
	if d := cmp.Diff(map[uint32]any{1: Dict{{"Length", int64(99)}}, 2: Dict{{"JS", String("a")}}}, got); d != "" {
		t.Error(d)
	}
}

// TestHidden has an object in the stream of another, whose length ends it at a keyword that is a decoy: it is one where a table has it.
func TestHidden(t *testing.T) {
	const hidden = "9 0 obj << /JS (hidden) >> endobj"
	file := func(front, inside string) string {
		data := "x\nendstream endobj\n" + inside + "\n"
		return front + "%PDF-1.7\n" + fmt.Sprintf("1 0 obj << /Length %d >>\nstream\n%s\nendstream endobj\n", len(data), data)
	}
	table := func(num, off int) string {
		return fmt.Sprintf("xref\n0 1\n0000000000 65535 f \n%d 1\n%010d 00000 n \ntrailer << >>\n", num, off)
	}
	stream := func(num int, dict string, offs ...int) string {
		var b []byte
		for _, off := range offs {
			b = append(b, 1, byte(off>>8), byte(off), 0)
		}
		return fmt.Sprintf("%d 0 obj << /Type /XRef /W [1 2 1] %s /Length %d >>\nstream\n%s\nendstream endobj\n", num, dict, len(b), b)
	}
	plain := file("", hidden)
	at := strings.Index(plain, hidden)
	shifted := file("junk\n", hidden)
	// The table that has the object is itself hidden, and startxref has it.
	own := stream(8, "/Index [9 1]", at)
	both := file("", hidden+"\n"+own)
	for name, c := range map[string]struct {
		in   string
		told bool
	}{
		"no table":         {plain, false},
		"table":            {plain + table(9, at), true},
		"white space":      {plain + table(9, at-1), true},
		"another's number": {plain + table(7, at), false},
		"another place":    {plain + table(9, at+1), false},
		"from the header":  {shifted + table(9, at), true},
		"stream":           {plain + stream(2, "/Index [9 1]", at), true},
		"stream, by size":  {plain + stream(2, "/Size 10", 0, 0, 0, 0, 0, 0, 0, 0, 0, at), true},
		"not compressed":   {plain + strings.Replace(stream(2, "/Index [9 1]", at), "\x01", "\x02", 1), false},
		"hidden stream":    {both + fmt.Sprintf("startxref\n%d\n%%%%EOF", strings.Index(both, own)), true},
		"hidden, no start": {both, false},
		"cut":              {plain + table(9, at)[:30], false},
		"without end":      {plain + "xref 0 99999999999\n" + strings.Repeat("0 0 f ", 5000), false},
	} {
		f, err := Open(strings.NewReader(c.in), int64(len(c.in)), nil, free)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		told, outer := false, false
		f.Each(func(o Object) error {
			told = told || o.Num == 9 && cmp.Equal(o.Value, Dict{{"JS", String("hidden")}})
			if o.Num == 1 {
				r, _ := f.Open(o)
				b, _ := io.ReadAll(r)
				outer = bytes.Contains(b, []byte(hidden))
			}
			return nil
		})
		if told != c.told || !outer {
			t.Errorf("%s: told %t, want %t; in the stream %t", name, told, c.told, outer)
		}
		if faults := f.Faults(); c.told != (len(faults) > 0) {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

// free is what trying passwords costs where it does not matter.
func free(int64) bool { return true }
