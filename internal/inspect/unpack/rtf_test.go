package unpack

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// objectOf is an embedded object of OLE 1.0.
func objectOf(class, native string) string {
	le := binary.LittleEndian
	b := append(le.AppendUint32(le.AppendUint32(nil, 0x501), 2), le.AppendUint32(nil, uint32(len(class)+1))...)
	b = append(append(b, class...), 0)
	b = append(le.AppendUint32(b, 0), 0, 0, 0, 0)
	return string(append(le.AppendUint32(b, uint32(len(native))), native...))
}

func TestRTF(t *testing.T) {
	pack := hex.EncodeToString([]byte(objectOf("Package", packageOf("run.exe", "MZ program")[4:])))
	ole := string(compoundOf("a", "first"))
	doc := func(digits string) string {
		return `{\rtf1 text {\object\objemb{\*\objclass x}{\*\objdata ` + digits + `}{\result x}} more}`
	}
	for name, c := range map[string]struct {
		in   string
		want []entry
	}{
		"package":                  {doc(pack), []entry{member("object-1/run.exe", "MZ program")}},
		"hidden":                   {doc(strings.ToUpper(pack[:6]) + "\r\n{\\*\\x 41}\\bin0 " + pack[6:20] + "\\'41 " + pack[20:]), []entry{member("object-1/run.exe", "MZ program")}},
		"bytes between the digits": {doc(pack[:20] + "\\bin3 " + string(mustHex(pack[20:26])) + pack[26:]), []entry{member("object-1/run.exe", "MZ program")}},
		"compound":                 {doc(hex.EncodeToString([]byte(objectOf("Word.Document.8", ole)))), []entry{member("object-1.ole", ole)}},
		"two":                      {doc(pack) + doc(pack), []entry{member("object-1/run.exe", "MZ program"), member("object-2/run.exe", "MZ program")}},
		"other":                    {doc(hex.EncodeToString([]byte(objectOf("Equation.3", "native")))), []entry{member("object-1.bin", "native")}},
		"no OLE":                   {doc("0102"), []entry{member("object-1.bin", "\x01\x02")}},
		"none":                     {`{\rtf1 text \objdat a}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.RTF, []byte(c.in), Options{})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// TestRTFCut holds that a package that is cut short is told as what is there of it.
func TestRTFCut(t *testing.T) {
	in := `{\rtf1{\objdata ` + hex.EncodeToString([]byte(objectOf("Package", packageOf("run.exe", "MZ program")[4:])))
	got, err := list(t, filetype.RTF, []byte(in[:200]), Options{})
	if err != nil || len(got) != 1 || got[0].Path != "object-1.bin" || got[0].Size == 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestRTFClamAV finds the program in a document of Debian's clamav-testfiles.
func TestRTFClamAV(t *testing.T) {
	b, err := os.ReadFile(clamAV(t, "clam.exe.rtf"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(clamAV(t, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t, filetype.RTF, b, Options{})
	if err != nil || len(got) != 1 || got[0].SHA256 != sum(program) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzRTF(f *testing.F) {
	f.Add([]byte(`{\rtf1{\objdata ` + hex.EncodeToString([]byte(objectOf("Package", packageOf("run.exe", "MZ")[4:]))) + `}}`))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.RTF, b) })
}
