package pdf

import (
	"bytes"
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
	f, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()), nil)
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
	f, err := Open(bytes.NewReader(in), int64(len(in)), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint32]any{}
	f.Each(func(o Object) error { got[o.Num] = o.Value; return nil })
	if d := cmp.Diff(map[uint32]any{1: Dict{{"Length", int64(99)}}, 2: Dict{{"JS", String("a")}}}, got); d != "" {
		t.Error(d)
	}
}
