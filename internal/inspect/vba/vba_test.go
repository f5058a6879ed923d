package vba

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// container packs bytes as a VBA module's source is, with literals and one reference where the text repeats.
func container(s string) []byte {
	out := []byte{1}
	for len(s) > 0 {
		n := min(len(s), 3000)
		var chunk []byte
		for part := s[:n]; len(part) > 0; {
			k := min(len(part), 8)
			chunk = append(append(chunk, 0), part[:k]...)
			part = part[k:]
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(len(chunk)+2-3)|0xB000)
		out = append(out, chunk...)
		s = s[n:]
	}
	return out
}

func TestDecompress(t *testing.T) {
	for in, want := range map[string]string{
		string(container("Attribute VB_Name")):                                                                            "Attribute VB_Name",
		string(container(strings.Repeat("x = 1\r\n", 1000))):                                                              strings.Repeat("x = 1\r\n", 1000),
		"\x01\x19\xB0\x00abcdefgh\x00ijklmnop\x00qrstuv.\x00":                                                             "abcdefghijklmnopqrstuv.", // the example of the specification that nothing repeats in
		"\x01\x2F\xB0\x00#aaabcde\x82f\x00\x70aghij\x01\x38\x08akl\x00\x30mnop\x06q\x02\x70\x04\x10rstuv\x10wxyz\x00\x3C": "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa",
		"": "", "\x02": "", "\x01\x00": "",
	} {
		if d := cmp.Diff(want, string(decompress([]byte(in), 1<<20))); d != "" {
			t.Errorf("%.40q: %s", in, d)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(container("Attribute VB_Name"))
	f.Add([]byte("\x01\x2F\xB0\x00#aaabcde\x82f\x00\x70aghij\x01\x38"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(decompress(b, 1<<20)); n > 1<<20 {
			t.Errorf("%d bytes", n)
		}
	})
}
