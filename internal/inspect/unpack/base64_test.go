package unpack

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

func TestBase64(t *testing.T) {
	archive := string(zipOf(t, "run.js", strings.Repeat("content", 10), "b", string(sources(600)["noise.bin"])))
	document := string(compoundOf("a", "first"))
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	var lines strings.Builder
	for s := encode(document); s != ""; {
		n := min(76, len(s))
		lines.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	for name, c := range map[string]struct {
		format filetype.Format
		in     string
		want   []entry
	}{
		"page":                 {filetype.HTML, `<html><script>var b = atob("` + encode(archive) + `"); var c = "` + encode(document) + `"</script></html>`, []entry{member("base64-1", archive), member("base64-2", document)}},
		"lines":                {filetype.Script, "$b = @'\r\n" + lines.String() + "'@\r\n", []entry{member("base64-1", document)}},
		"at the end":           {filetype.Script, "x=" + encode(archive), []entry{member("base64-1", archive)}},
		"picture, text, noise": {filetype.HTML, `<img src="data:image/png;base64,` + encode("\x89PNG\r\n\x1a\n"+strings.Repeat("pixels", 500)) + `">` + encode(strings.Repeat("text ", 500)) + `"` + strings.Repeat("word", 1000), nil},
		"short":                {filetype.HTML, encode("PK\x03\x04 too little to be a file"), nil},
	} {
		got, err := list(t, c.format, []byte(c.in), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzBase64(f *testing.F) {
	f.Add([]byte("x='" + base64.StdEncoding.EncodeToString([]byte("PK\x03\x04"+strings.Repeat("\x14\x00", 400))) + "'"))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.HTML, b) })
}
