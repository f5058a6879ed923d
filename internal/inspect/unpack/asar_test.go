package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// asarOf writes an archive of Electron of a header and what follows it.
func asarOf(header, data string) []byte {
	le := binary.LittleEndian
	padded := (len(header) + 3) &^ 3
	b := le.AppendUint32(nil, 4)
	b = le.AppendUint32(b, uint32(padded+8))
	b = le.AppendUint32(b, uint32(padded+4))
	b = le.AppendUint32(b, uint32(len(header)))
	b = append(append(b, header...), make([]byte, padded-len(header))...)
	return append(b, data...)
}

// The hash is the SHA-256 of "content".
const asarHeader = `{"files":{"a":{"files":{"x.txt":{"size":7,"integrity":{"algorithm":"SHA256","hash":"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73","blockSize":4194304,"blocks":["x"]},"offset":"0"},` +
	`"link":{"link":"a/x.txt"}}},"beside.node":{"size":5,"unpacked":true},"empty":{"size":0,"offset":"7"},"..":{"files":{"z":{"executable":true,"offset":"7","size":4}}}}}`

func TestAsar(t *testing.T) {
	b := asarOf(asarHeader, "contentmore")
	if got := filetype.Detect(bytes.NewReader(b), int64(len(b))).Format; got != filetype.Asar {
		t.Errorf("detected as %q", got)
	}
	got, err := list(t, filetype.Asar, b, Options{})
	want := []entry{{"a/x.txt", 7, sum([]byte("content")), ""}, {"beside.node", 5, "", "asar: member beside.node: it lies beside the archive, in the folder of what is not packed"},
		{"empty", 0, sum(nil), ""}, {"z", 4, sum([]byte("more")), ""}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
}

func TestAsarHostile(t *testing.T) {
	one := func(node string) []byte { return asarOf(`{"files":{"x":`+node+`}}`, "content") }
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"damaged":              {asarOf(asarHeader, "CONTENTmore"), "a/x.txt asar: member a/x.txt: the checksum differs"},
		"beyond the end":       {one(`{"size":8,"offset":"0"}`), "x asar: member x: the data ends too early"},
		"a place of 2^63":      {one(`{"size":7,"offset":"9223372036854775807"}`), "the data ends too early"},
		"a negative place":     {one(`{"size":7,"offset":"-7"}`), "the header is damaged"},
		"a negative size":      {one(`{"size":-1,"offset":"0"}`), "the header is damaged"},
		"a size of text":       {one(`{"size":"x","offset":"0"}`), "the header: x: "},
		"no size":              {one(`{"offset":"0"}`), "x has no size"},
		"no object":            {one(`[]`), "the header is damaged"},
		"folders in folders":   {asarOf(strings.Repeat(`{"files":{"x":`, 100_000), ""), "folders in each other beyond 256"},
		"a header that is cut": {asarOf(asarHeader[:100], ""), "the data ends too early"},
		"a header of 4 GiB":    {append(asarOf("{}", "")[:4], "\xff\xff\xff\xff\xfb\xff\xff\xff\xf0\xff\xff\xff{}"...), "bytes claimed"},
	} {
		got, err := list(t, filetype.Asar, c.in, Options{})
		text := fmt.Sprint(err)
		for _, e := range got {
			text += "; " + e.Path + " " + e.Err
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %.300s; want %q", name, text, c.want)
		}
	}
}

func FuzzAsar(f *testing.F) {
	f.Add(asarOf(asarHeader, "contentmore"))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.Asar, b) })
}
