package digest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func text(n int) []byte {
	r := rand.New(rand.NewPCG(7, 7))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString([]string{"alpha ", "beta ", "gamma\n", "delta, ", "42 ", "the ", "of "}[r.IntN(7)])
	}
	return b.Bytes()[:n]
}

// TestGolden holds digests that the reference tools made of the same bytes.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want Digests
	}{
		{"empty", nil, Digests{SSDeep: "3::"}},
		{"one byte", []byte("a"), Digests{SSDeep: "3:E:E"}},
		{"short", text(49), Digests{SSDeep: "3:IC9Z1EvRSXEsKJR:Ifvnhf"}},
		{"text", text(5000), Digests{"T1FEA1180E99A9BBBD4CE7287C20AD79D271CD93785C76B6E2908AA764F104CD11CB34E1",
			"96:JT7oTOC2+nqofcZ9Jp/KU9OiLG+6mQr2JUggTwaDW/RhJS8/eR/XDhRyKJgxrduM:J3GOt+q4I/KUtt6mQv1TwoW/LX/eR/XM"}},
		{"zeros", make([]byte, 10000), Digests{SSDeep: "3::"}},
		{"one letter", bytes.Repeat([]byte("a"), 10000), Digests{SSDeep: "3:tjl:X"}},
	} {
		got, err := Read(bytes.NewReader(c.data))
		if err != nil || got != c.want {
			t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, err)
		}
		at, err := ReadAt(bytes.NewReader(append(c.data[:len(c.data):len(c.data)], "more"...)), int64(len(c.data)))
		if err != nil || at != c.want {
			t.Errorf("%s, as a part: %q, want %q (%v)", c.name, at, c.want, err)
		}
	}
}

func TestParseTLSH(t *testing.T) {
	digits := "A4633C0A779214BCC15341789AD7A4B322B4BDB556222D7F3B88F7362FB1E045B1DE22"
	for _, s := range []string{digits, "T1" + digits, strings.ToLower(digits), "t1" + strings.ToLower(digits)} {
		if sum, err := ParseTLSH(s); err != nil || sum.String() != "T1"+digits {
			t.Errorf("%s reads as %s, %v", s, sum, err)
		}
	}
	for _, s := range []string{"", "T1", "TNULL", digits[1:], digits + "00", "T1" + digits[1:] + "G", "T2" + digits} {
		if sum, err := ParseTLSH(s); err == nil {
			t.Errorf("%q reads as %s", s, sum)
		}
	}
}

// TestCodes holds the words for comparing against the definition, all pairs of codes in all places.
func TestCodes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var a, b TLSH
		for i := range a.Body {
			a.Body[i], b.Body[i] = byte(r.Uint32()), byte(r.Uint32())
		}
		ca, cb := a.Codes(), b.Codes()
		if ca.Body() != a.Body {
			t.Fatal("codes do not give the body back")
		}
		d := 0
		for i := range ca {
			d += CodeDistance(ca[i], cb[i])
		}
		if want := a.Distance(&b); d != want || b.Distance(&a) != want {
			t.Fatalf("%d by words, %d and %d by the table", d, want, b.Distance(&a))
		}
	}
}

func TestParseSSDeep(t *testing.T) {
	for s, want := range map[string]SSDeep{
		"3::":                    {3, "", ""},
		"6:aaaaab:bbbb,\"name\"": {6, "aaab", "bbb"},
		"3221225472:ab:c":        {3 << 30, "ab", "c"},
	} {
		if d, err := ParseSSDeep(s); err != nil || d != want {
			t.Errorf("%s reads as %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "3", "3:a", "0:a:b", "4:a:b", "9:a:b", "6442450944:a:b", "-3:a:b", "3:a b:c", "3:" + strings.Repeat("ab", 33) + ":c", "3:é:c"} {
		if d, err := ParseSSDeep(s); err == nil {
			t.Errorf("%q reads as %v", s, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("T1A4633C0A779214BCC15341789AD7A4B322B4BDB556222D7F3B88F7362FB1E045B1DE22", "3:abcdefghijk:abc")
	f.Add("", "3221225472:aaaaaaaa:aaaaaaaa,x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if sum, err := ParseTLSH(a); err == nil {
			if again, err := ParseTLSH(sum.String()); err != nil || again != sum || sum.Distance(&again) != 0 {
				t.Errorf("%q is %s, then %s, %v", a, sum, again, err)
			}
		}
		x, err := ParseSSDeep(a)
		y, err2 := ParseSSDeep(b)
		if err == nil && err2 == nil {
			if s := x.Score(&y); s < 0 || s > 100 || s != y.Score(&x) || x.Score(&x) != 100 {
				t.Errorf("%v and %v score %d and %d", x, y, s, y.Score(&x))
			}
		}
	})
}

// FuzzPieces holds that the seams between what is written do not matter.
func FuzzPieces(f *testing.F) {
	f.Add(text(600), uint16(3))
	f.Add(bytes.Repeat([]byte{0, 1}, 400), uint16(799))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		whole, _ := Read(bytes.NewReader(data))
		cut := min(int(at), len(data))
		tw, sw := NewTLSHWriter(), NewSSDeepWriter()
		for _, p := range [][]byte{data[:cut], nil, data[cut:]} {
			tw.Write(p)
			sw.Write(p)
		}
		sum, ok := tw.Sum()
		if sw.Sum() != whole.SSDeep || ok != (whole.TLSH != "") || ok && sum.String() != whole.TLSH {
			t.Errorf("in pieces %s and %s, whole %v", sum, sw.Sum(), whole)
		}
	})
}

func BenchmarkTLSH(b *testing.B)   { benchmark(b, NewTLSHWriter()) }
func BenchmarkSSDeep(b *testing.B) { benchmark(b, NewSSDeepWriter()) }

func benchmark(b *testing.B, w interface{ Write([]byte) (int, error) }) {
	data := text(1 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w.Write(data)
	}
}
