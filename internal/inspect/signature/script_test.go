package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"spoor/internal/inspect/filetype"
)

// indirectMessage has openssl sign the digest of a file as Authenticode does.
func indirectMessage(t *testing.T, who *authority, digest []byte) []byte {
	t.Helper()
	spc, err := asn1.Marshal(struct{ Type asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 30}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue}, digest})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, "openssl", "openssl"), "cms", "-sign", "-binary", "-nodetach", "-econtent_type", "1.3.6.1.4.1.311.2.1.4", "-outform", "DER", "-signer", who.certFile(), "-inkey", who.keyFile())
	cmd.Stdin = bytes.NewReader(append(spc, info...))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWindowsHost signs scripts as Windows Script Host does, whose digest is over the text's UTF-16 and the number of its units.
func TestWindowsHost(t *testing.T) {
	dir := t.TempDir()
	who := issue(t, nil, dir, "Script Publisher", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	trust := &Trust{Roots: []*x509.Certificate{who.cert}}
	wide := func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return b
	}
	swapped := func(b []byte) []byte {
		b = bytes.Clone(b)
		for i := 1; i < len(b); i += 2 {
			b[i-1], b[i] = b[i], b[i-1]
		}
		return b
	}
	lines := func(message []byte, first, prefix, last string) string {
		var b strings.Builder
		b.WriteString("\r\n" + first + "\r\n")
		for s := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(message)), 44) {
			b.WriteString(prefix + string(s) + "\r\n")
		}
		b.WriteString(last + "\r\n")
		return b.String()
	}
	asIs := func(s string) []byte { return []byte(s) }
	for _, tt := range []struct {
		what, before, after string
		read                string // what Windows takes the text for, when not for what it is
		first, prefix, last string
		write               func(string) []byte
	}{
		{"VBScript", "WScript.Echo \"hello\"\r\n' done\r\n", "", "", "'' SIG '' Begin signature block", "'' SIG '' ", "'' SIG '' End signature block", asIs},
		{"JScript", "var x = 'hello';\r\nWScript.Echo(x);", "", "", "// SIG // Begin signature block", "// SIG // ", "// SIG // End signature block", asIs},
		{"JScript in UTF-8, taken for Windows-1252", "var x = 'Ýä€';", "", "var x = 'Ã\u009dÃ¤â‚¬';", "// SIG // Begin signature block", "// SIG // ", "// SIG // End signature block", asIs},
		{"JScript in UTF-8, with its mark", "var x = 'Ýä€';", "", "", "// SIG // Begin signature block", "// SIG // ", "// SIG // End signature block", func(s string) []byte { return []byte("\xef\xbb\xbf" + s) }},
		{"VBScript in UTF-16", "WScript.Echo \"Grüße \U0001F600\"\r\n", "", "", "'' SIG '' Begin signature block", "'' SIG '' ", "'' SIG '' End signature block", func(s string) []byte { return append([]byte{0xff, 0xfe}, wide(s)...) }},
		{"VBScript in UTF-16, the other way round", "WScript.Echo \"Grüße\"\r\n", "", "", "'' SIG '' Begin signature block", "'' SIG '' ", "'' SIG '' End signature block", func(s string) []byte { return swapped(append([]byte{0xff, 0xfe}, wide(s)...)) }},
		{"WSF", "<job id=\"a\">\r\n<script language=\"JScript\">WScript.Echo(1);</script>", "</job>\r\n", "", "<signature>", "** SIG ** ", "</signature>", asIs},
	} {
		t.Run(tt.what, func(t *testing.T) {
			read := tt.read
			if read == "" {
				read = tt.before + tt.after
			}
			content := wide(read)
			sum := sha256.Sum256(binary.LittleEndian.AppendUint32(content, uint32(len(content)/2)))
			block := lines(indirectMessage(t, who, sum[:]), tt.first, tt.prefix, tt.last)
			good := tt.write(tt.before + block + tt.after)
			check := func(what string, b []byte, want state) {
				t.Helper()
				typ := filetype.Detect(bytes.NewReader(b), int64(len(b)))
				found, err := verify(typ.Format, bytes.NewReader(b), int64(len(b)), trust)
				if err != nil || len(found) != 1 || found[0].state != want {
					t.Errorf("%s (%s): %v, %v, want %v", what, typ.Name, states(found), err, want)
					for i, f := range found {
						t.Log(f.note(i + 1))
					}
				}
			}
			check("as signed", good, valid)
			check("changed", tt.write(strings.Replace(tt.before, "a", "o", 1)+strings.Replace(tt.before, "r", "R", 1)+block+tt.after), changed)
			check("a blank more before the block", tt.write(tt.before+" "+block+tt.after), changed)
			if tt.after != "" {
				check("changed after the block", tt.write(tt.before+block+strings.Replace(tt.after, ">", " >", 1)), changed)
			} else {
				check("text after the block", tt.write(tt.before+block+"WScript.Echo(2)"), appended)
				check("cut off", tt.write(tt.before+strings.Replace(block, tt.last, "", 1)), malformed)
			}
		})
	}
}

// TestScriptCodePage: a script that is no UTF-8 was signed as the Windows-1252 that it is. osslsigncode takes all such bytes for the same character,
// so that it would not see one changed to another.
func TestScriptCodePage(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	dir := t.TempDir()
	who := issue(t, nil, dir, "Script Publisher", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	in, out := filepath.Join(dir, "in.ps1"), filepath.Join(dir, "out.ps1")
	if err := os.WriteFile(in, []byte("Write-Host 'Grüße'\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(osslsigncode, "sign", "-certs", who.certFile(), "-key", who.keyFile(), "-h", "sha256", "-in", in, "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]state{"Gr\xfc\xdfe": valid, "Gr\xfd\xdfe": changed} {
		b := bytes.Replace(b, []byte("Grüße"), []byte(text), 1)
		found, err := verify(filetype.Script, bytes.NewReader(b), int64(len(b)), &Trust{Roots: []*x509.Certificate{who.cert}})
		if err != nil || len(found) != 1 || found[0].state != want {
			t.Errorf("%q: %v, %v, want %v", text, states(found), err, want)
		}
	}
}
