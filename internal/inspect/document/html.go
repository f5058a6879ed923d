package document

import (
	"bytes"
	"io"
	"strings"
)

// maxHTML is how much of a page is looked at.
const maxHTML = 16 << 20

// What a page needs that makes a file of its own text and hands it to its reader, past filters of mail and web: something that makes bytes, and
// something that saves them. And the links that start programs of Windows.
var (
	htmlMakes = []string{"atob(", "blob(", "uint8array(", "fromcharcode("}
	htmlSaves = []string{"createobjecturl", "mssaveoropenblob", "mssaveblob"}
	htmlStart = []string{"search-ms:", "ms-msdt:", "ms-officecmd:", "ms-appinstaller:", "ms-word:", "ms-excel:", "ms-powerpoint:"}
)

// readHTML tells pages that hand out a file of their own making, and links that start programs.
func readHTML(t *teller, r io.ReaderAt, size int64) {
	text := bytes.ToLower(at(r, size, 0, maxHTML))
	has := func(words []string) (out []string) {
		for _, w := range words {
			if bytes.Contains(text, []byte(w)) {
				out = append(out, strings.TrimRight(w, "(:"))
			}
		}
		return out
	}
	if saves := has(htmlSaves); len(saves) > 0 {
		if makes := has(htmlMakes); len(makes) > 0 {
			t.active("HTML makes a file of its own text: %s", strings.Join(append(makes, saves...), ", "))
		}
	}
	if starts := has(htmlStart); len(starts) > 0 {
		t.active("HTML starts programs by links: %s", strings.Join(starts, ", "))
	}
}
