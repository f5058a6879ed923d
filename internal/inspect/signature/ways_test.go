package signature

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestSigningWays signs a file of every form that osslsigncode signs in every way that it knows, and compares what both make of the result, and of the
// result with a bit changed.
func TestSigningWays(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	dir := t.TempDir()
	now := time.Now()
	root := issue(t, nil, dir, "Test Root", now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0))
	leaf := issue(t, root, dir, "Test Publisher", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	past := issue(t, root, dir, "Past Publisher", now.AddDate(-3, 0, 0), now.AddDate(-2, 0, 0), x509.ExtKeyUsageCodeSigning)
	tsa := issue(t, root, dir, "Test Stamper", now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0), x509.ExtKeyUsageTimeStamping)
	trust := &Trust{Roots: []*x509.Certificate{root.cert}}

	relic := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(realdata.Path(t, "files", "relic-functest"), name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wide := func(s string) []byte {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return b
	}
	const (
		power = "param($Name)\r\n$text = 'Grüße an \u20ac und \U0001F600'\r\nWrite-Host \"$text $Name\"\r\n"
		xml   = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<Types><Type><Name>Ä</Name></Type></Types>\r\n"
		mof   = "#pragma autorecover\r\nclass Ünit\r\n{\r\n  [key] string Name;\r\n};\r\n"
	)
	ways := map[string][]string{
		"plain": {"-h", "sha256"}, "SHA-1": {"-h", "sha1"}, "SHA-384": {"-h", "sha384"}, "SHA-512": {"-h", "sha512"},
		"named":     {"-h", "sha256", "-n", "Programm für alle", "-i", "https://example.org/", "-comm"},
		"timed":     {"-h", "sha256", "-time", fmt.Sprint(now.AddDate(0, -1, 0).Unix())},
		"stamped":   {"-h", "sha256", "-TSA-certs", tsa.certFile(), "-TSA-key", tsa.keyFile(), "-TSA-time", fmt.Sprint(now.AddDate(0, -2, 0).Unix())},
		"past":      {"-h", "sha256"}, // by a certificate that has expired
		"past, but": {"-h", "sha256", "-TSA-certs", tsa.certFile(), "-TSA-key", tsa.keyFile(), "-TSA-time", fmt.Sprint(now.AddDate(-2, -6, 0).Unix())},
		"nested":    {"-h", "sha512", "-nest"},
		"pages":     {"-h", "sha256", "-ph"}, "pages, SHA-1": {"-h", "sha1", "-ph"}, "blob": {"-h", "sha256", "-addUnauthenticatedBlob"},
		"extended": {"-h", "sha256", "-add-msi-dse"}, "low": {"-h", "sha256", "-jp", "low"},
	}
	every := []string{"plain", "SHA-1", "SHA-384", "SHA-512", "named", "timed", "stamped", "past", "past, but"}
	for _, in := range []struct {
		name    string
		content []byte
		more    []string // ways beyond those that every form knows
		text    bool     // of which there are many forms, so that they are signed in few ways
	}{
		{"program.exe", image(20000), []string{"nested", "pages", "pages, SHA-1", "blob"}, false},
		{"odd.exe", append(image(700), "an overlay of odd size"...), []string{"nested", "pages", "blob"}, false},
		{"installer.msi", relic("dummy.msi"), []string{"nested", "extended"}, false},
		{"cabinet.cab", relic("dummy.cab"), []string{"nested", "low"}, false},
		{"catalogue.cat", relic("hyperv.cat"), nil, false},
		{"package.appx", relic("App1_1.0.3.0_x64.appx"), nil, false},
		{"utf8.ps1", []byte(power), nil, true}, {"bom.ps1", []byte("\xef\xbb\xbf" + power), nil, true}, {"wide.ps1", wide(power), nil, true},
		{"unix.ps1", []byte(strings.ReplaceAll(power, "\r\n", "\n")), nil, true}, {"open.ps1", []byte(strings.TrimSpace(power)), nil, true}, {"wideopen.ps1", wide(strings.TrimSpace(power)), nil, true},
		{"module.psm1", []byte("function Get-A { 1 }\r\nExport-ModuleMember -Function Get-A\r\n"), nil, true}, {"manifest.psd1", []byte("@{\r\n  ModuleVersion = '1.0'\r\n  GUID = 'd0a9150d-b6a4-4b17-a325-e3a24fed0aa9'\r\n}\r\n"), nil, true},
		{"types.ps1xml", []byte(xml), nil, true}, {"wide.ps1xml", wide(strings.ReplaceAll(xml, "utf-8", "utf-16")), nil, true}, {"bom.ps1xml", []byte("\xef\xbb\xbf" + xml), nil, true}, {"console.psc1", []byte(xml), nil, true}, {"c.cdxml", []byte(xml), nil, true},
		{"classes.mof", []byte(mof), nil, true}, {"wide.mof", wide(mof), nil, true},
	} {
		t.Run(in.name, func(t *testing.T) {
			plain := filepath.Join(dir, "plain-"+in.name)
			if err := os.WriteFile(plain, in.content, 0o600); err != nil {
				t.Fatal(err)
			}
			all := append(slices.Clone(every), in.more...)
			if in.text {
				all = []string{"plain", "SHA-1", "stamped"}
			}
			for _, way := range all {
				from, who := plain, leaf
				if strings.HasPrefix(way, "past") {
					who = past
				}
				if way == "nested" {
					from = filepath.Join(dir, "plain-SHA-1-"+in.name)
				}
				name := strings.ReplaceAll(way, ", ", "-") + "-" + in.name
				out := filepath.Join(dir, "plain-"+name)
				_ = os.Remove(out)
				args := slices.Concat([]string{"sign", "-certs", who.certFile(), "-key", who.keyFile(), "-ac", root.certFile()}, ways[way], []string{"-in", from, "-out", out})
				if b, err := exec.Command(osslsigncode, args...).CombinedOutput(); err != nil {
					t.Fatalf("osslsigncode %v: %v\n%s", args, err, b)
				}
				good, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				want := 1
				if way == "nested" {
					want = 2
				}
				compare := func(what string, b []byte, right bool) {
					t.Helper()
					path := filepath.Join(dir, "compared-"+in.name)
					if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
					typ := filetype.Detect(bytes.NewReader(b), int64(len(b)))
					found, err := verify(typ.Format, bytes.NewReader(b), int64(len(b)), trust)
					if err != nil {
						t.Fatal(err)
					}
					says, output := osslsigncodeSays(t, path, root.certFile())
					ours := len(found) == want && !slices.ContainsFunc(found, func(f *finding) bool { return f.state != valid })
					theirs := len(says) == want && !slices.ContainsFunc(says, func(s saying) bool { return !s.valid })
					notes := ""
					for i, f := range found {
						notes += f.note(i+1) + "\n"
					}
					if ours != theirs || ours != right {
						t.Errorf("%s (%s), %s: valid for us: %v, for osslsigncode: %v, should be: %v\n%s%s", name, typ.Name, what, ours, theirs, right, notes, output)
					}
					for i := range min(len(says), len(found)) {
						if s, x := says[i], found[i]; s.valid && (x.cert == nil || !strings.HasSuffix(s.subject, "="+x.signer) || x.stamp != nil && !x.stamp.at.Equal(s.stamped)) {
							t.Errorf("%s: %s for osslsigncode, stamped %v\n%s", name, s.subject, s.stamped, notes)
						}
					}
				}
				compare("as signed", good, way != "past")
				at := changeable(in.name, good)
				if at < 20 {
					t.Fatalf("%s: nothing to change was found", name)
				}
				changed := bytes.Clone(good)
				changed[at] ^= 2
				compare(fmt.Sprintf("byte %d changed", at), changed, false)
				if in.name == "cabinet.cab" { // the sizes of the reserves of each folder and block, and what marks the signature
					for _, at := range []int{38, 39, 41, 42} {
						changed := bytes.Clone(good)
						changed[at] ^= 4
						compare(fmt.Sprintf("byte %d of the header changed", at), changed, false)
					}
				}
			}
		})
	}
}

// changeable is the place of a byte of a signed file that the signature covers.
func changeable(name string, b []byte) int {
	switch filepath.Ext(name) {
	case ".exe":
		return 0x450
	case ".msi": // in the text of a stream
		return bytes.Index(b, []byte("_Validation")) + 2
	case ".cab":
		return bytes.Index(b, []byte("dummy")) + 1
	case ".cat":
		return bytes.Index(b, []byte("0\x00E\x00B\x000\x004\x00")) + 2 // in the name of a member
	case ".appx":
		return bytes.Index(b, []byte("AppxManifest.xml")) + 120
	}
	return 20
}
