package unpack

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

const oneSection = "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"

// oneFile is a file as it lies in a section.
func oneFile(content string) string {
	b := binary.LittleEndian.AppendUint64([]byte(oneDataBegin), uint64(len(content)))
	b = append(append(b, make([]byte, 12)...), content...)
	b = append(b, make([]byte, -len(content)&7)...)
	return string(b) + oneDataEnd
}

func TestOneNote(t *testing.T) {
	far := oneSection + strings.Repeat("x", 256<<10-24) // the mark lies across two steps
	for name, c := range map[string]struct {
		in   string
		want []entry
		err  string
	}{
		"two":          {oneSection + strings.Repeat("\x00", 1000) + oneFile("MZ program") + "between" + oneFile(""), []entry{member("file-1", "MZ program"), member("file-2", "")}, ""},
		"far":          {far + oneFile("content"), []entry{member("file-1", "content")}, ""},
		"in a file":    {oneSection + oneFile(oneSection+oneFile("inner")), []entry{member("file-1", oneSection+oneFile("inner"))}, ""},
		"no end":       {oneSection + strings.TrimSuffix(oneFile("content!"), oneDataEnd) + oneFile("second"), []entry{member("file-1", "content!"), member("file-2", "second")}, "onenote: no mark ends the file at 16 of 8 bytes"},
		"claims much":  {oneSection + oneDataBegin + "\xff\xff\xff\xff\xff\xff\xff\xff" + strings.Repeat("\x00", 12) + oneFile("x"), []entry{{Path: "file-1", Size: -1, Err: "onenote: member file-1: it claims 18446744073709551615 bytes of the 60 that follow"}, member("file-2", "x")}, ""},
		"mark at last": {oneSection + oneDataBegin, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.OneNote, []byte(c.in), Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if told := filetype.Detect(strings.NewReader(c.in), int64(len(c.in))); told.Format != filetype.OneNote {
				t.Errorf("told as %v", told)
			}
		})
	}
}

func FuzzOneNote(f *testing.F) {
	f.Add([]byte(oneSection + oneFile("content") + oneFile("second")))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.OneNote, b) })
}
