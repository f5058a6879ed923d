package signature

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// realSigned are files of others' that carry signatures: relic's, Debian's boot files for three architectures, and what lies in the folder SPOOR_SIGNED.
func realSigned(t *testing.T) (files []string) {
	t.Helper()
	dirs := []string{realdata.Path(t, "files", "relic-functest"), realdata.Sample(t, "signed")}
	if more := os.Getenv("SPOOR_SIGNED"); more != "" {
		dirs = append(dirs, more)
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// saying is what osslsigncode prints of one signature.
type saying struct {
	signed, digest  string // the digest that was signed, and that of the file
	subject, serial string
	stamped         time.Time
	valid           bool
	pages           bool // that the digests of the pages are not those of the file
	wantsCRL        bool // it fails since it has not the list that a certificate names
	why             string
}

var (
	oslIndex   = regexp.MustCompile(`(?m)^Signature Index: .*$`)
	oslField   = func(name string) *regexp.Regexp { return regexp.MustCompile(`(?m)^\s*` + name + `\s*: *(.*?)\s*$`) }
	oslSigned  = oslField("Current (?:message digest|DigitalSignature)")
	oslDigest  = oslField("Calculated (?:message digest|DigitalSignature)")
	oslSubject = oslField("Subject")
	oslSerial  = oslField("Serial ")
	oslStamp   = oslField("Timestamp time")
	oslError   = regexp.MustCompile(`(?m)^\s*(?:Error|Verify error|.*:Verify error): *(.*?)\s*$`)
)

// osslsigncodeSays runs osslsigncode and reads what it says of each signature.
func osslsigncodeSays(t *testing.T, path, roots string, more ...string) (all []saying, output string) {
	t.Helper()
	args := append([]string{"verify", "-ignore-cdp", "-in", path, "-CAfile", roots, "-TSA-CAfile", roots}, more...) // and ask the network for no list
	cmd := exec.Command(tool(t, "osslsigncode", "osslsigncode"), args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, _ := cmd.Output() // its exit code says less than its words
	output = string(out)
	defer func() { output += errors.String() }() // whose lines come in the middle of others
	first := func(re *regexp.Regexp, s string) string {
		if m := re.FindStringSubmatch(s); m != nil {
			return m[1]
		}
		return ""
	}
	starts := oslIndex.FindAllStringIndex(output, -1)
	for i, at := range starts {
		end := len(output)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		part := output[at[0]:end]
		s := saying{signed: first(oslSigned, part), digest: first(oslDigest, part), subject: first(oslSubject, part), serial: first(oslSerial, part)}
		if v := first(oslStamp, part); v != "" && v != "N/A" {
			at, err := time.Parse("Jan _2 15:04:05 2006 MST", v)
			if err != nil {
				t.Fatalf("%s: a time of osslsigncode: %v", path, err)
			}
			s.stamped = at
		}
		s.valid = regexp.MustCompile(`(?m)^Signature verification: ok`).MatchString(part) // of the time stamp is another line
		s.pages = strings.Contains(part, "MISMATCH")
		s.wantsCRL = regexp.MustCompile(`Use the "-(TSA-)?CRLfile" option|unable to get certificate CRL`).MatchString(part)
		s.why = first(oslError, part)
		all = append(all, s)
	}
	return all, output
}

// TestRealSignatures compares, for every signature of every real file that both read, what osslsigncode and we say: the digests, the signer and the
// number of his certificate, the time of the stamp, and the verdict against the roots that the files themselves carry. What may differ is in
// docs/signatures.md.
func TestRealSignatures(t *testing.T) {
	tool(t, "osslsigncode", "osslsigncode")
	type real struct {
		path  string
		typ   filetype.Format
		found []*finding
	}
	var all []real
	trust := &Trust{}
	seen := map[[sha256.Size]byte]bool{}
	var bundle bytes.Buffer
	read := func(path string, trust *Trust) (filetype.Format, []*finding) {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		typ := filetype.Detect(f, info.Size()).Format
		found, err := verify(typ, f, info.Size(), trust)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return typ, found
	}
	for _, path := range realSigned(t) {
		typ, found := read(path, &Trust{})
		if len(found) > 0 {
			all = append(all, real{path, typ, found})
		} else if filepath.Ext(path) != ".cer" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range certificatesIn(b) { // in the signatures, and in boot loaders those that they trust themselves
			if sum := sha256.Sum256(c.Raw); !seen[sum] && bytes.Equal(c.RawIssuer, c.RawSubject) {
				seen[sum] = true
				trust.Roots = append(trust.Roots, c)
				if err := pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, bundle.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	compared, valids, stamps := 0, 0, 0
	for _, r := range all {
		switch r.typ {
		case filetype.PE, filetype.MSI, filetype.Cab, filetype.Appx, filetype.Catalog, filetype.Script, filetype.Text, filetype.XML:
		default:
			continue
		}
		_, found := read(r.path, trust)
		says, output := osslsigncodeSays(t, r.path, roots)
		switch {
		case len(says) > 0:
		case strings.Contains(output, "Corrupt") && len(found) > 1, strings.Contains(output, "unsupported input file type"):
			t.Logf("%s cannot be read by osslsigncode", filepath.Base(r.path))
			continue
		}
		if len(says) != len(found) {
			t.Errorf("%s: %d signatures for us, %d for osslsigncode\n%s", r.path, len(found), len(says), output)
			continue
		}
		for i, s := range says {
			x := found[i]
			if s.signed != s.digest && slices.ContainsFunc(x.remarks, func(r string) bool { return strings.Contains(r, "as firmware computes it") }) {
				t.Logf("%s has gaps between its sections, which osslsigncode digests and sbverify does not", filepath.Base(r.path))
				continue
			}
			if s.pages && x.state != changed {
				t.Logf("%s: signature %d has digests of pages with an end of its own, which only osslsigncode looks at", filepath.Base(r.path), i+1)
				continue
			}
			compared++
			bad := func(format string, args ...any) {
				t.Errorf("%s: signature %d: %s\n%s", r.path, i+1, fmt.Sprintf(format, args...), x.note(i+1))
			}
			if right := s.signed == s.digest; right == (x.state == changed) {
				bad("osslsigncode finds the digest right: %v", right)
			} else if !right {
				continue // it looks no further
			}
			if slices.Contains(x.remarks, borrowedList) {
				continue // osslsigncode wants a list of its own there
			}
			if s.serial == "" || x.cert == nil || strings.TrimLeft(s.serial, "0") != strings.TrimLeft(x.cert.serial, "0") {
				bad("the signer's certificate has the number %s for osslsigncode", s.serial)
			}
			if !strings.Contains(strings.ReplaceAll(s.subject, `\x00`, ""), x.signer) {
				bad("the signer is %s for osslsigncode", s.subject)
			}
			var stamped time.Time
			if x.stamp != nil {
				stamped = x.stamp.at.Truncate(time.Second)
			}
			if !stamped.Equal(s.stamped) {
				bad("stamped %v for us, %v for osslsigncode", stamped, s.stamped)
			}
			if !s.stamped.IsZero() {
				stamps++
			}
			if s.valid {
				valids++
			}
			switch {
			case s.valid == (x.state == valid):
			case x.state == valid && s.wantsCRL:
				t.Logf("%s: signature %d is valid but for the list of revocations that osslsigncode wants", filepath.Base(r.path), i+1)
			default:
				bad("valid for osslsigncode: %v (%s)", s.valid, s.why)
			}
		}
	}
	t.Logf("%d files carry signatures; %d signatures compared with osslsigncode, %d with a time stamp, %d valid for it", len(all), compared, stamps, valids)
	if compared < 25 {
		t.Errorf("only %d signatures could be compared", compared)
	}
}

// TestRealSecureBoot compares with sbverify, which can be told one certificate to trust: the signer's own, and that of another.
func TestRealSecureBoot(t *testing.T) {
	sbverify := tool(t, "sbverify", "sbsigntool")
	compared := 0
	for _, path := range realSigned(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(b))
		if filetype.Detect(bytes.NewReader(b), size).Format != filetype.PE {
			continue
		}
		unknown, err := verify(filetype.PE, bytes.NewReader(b), size, &Trust{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range unknown {
			if x.nested { // firmware does not look at them
				continue
			}
			for _, c := range x.path.chain {
				root, err := x509.ParseCertificate(c.raw)
				if err != nil {
					t.Fatal(err)
				}
				at := x.cert.notBefore.Add(time.Hour)
				found, err := verify(filetype.PE, bytes.NewReader(b), size, &Trust{Roots: []*x509.Certificate{root}, At: at})
				if err != nil {
					t.Fatal(err)
				}
				// It knows no digest but SHA-256, and asks neither for validity nor for a purpose.
				ours := slices.ContainsFunc(found, func(f *finding) bool {
					return !f.nested && f.hash == crypto.SHA256 && (f.state == valid || f.state == purpose || f.state == early)
				})
				file := filepath.Join(t.TempDir(), "root.pem")
				if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.raw}), 0o600); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(sbverify, "--cert", file, path).CombinedOutput()
				if theirs := err == nil; theirs != ours {
					if ours && len(x.path.chain) > 1 && c.same(x.cert) && slices.ContainsFunc(x.carried, func(c *certificate) bool { return c.selfIssued() }) {
						t.Logf("%s carries its root, so that for sbverify its signer's certificate is not enough", filepath.Base(path))
						continue
					}
					t.Errorf("%s, trusting %s: valid for us: %v, for sbverify: %v\n%s%s", path, c.owner, ours, theirs, out, found[0].note(1))
				}
				compared++
			}
		}
	}
	t.Logf("%d verdicts compared with sbverify", compared)
	if compared < 35 {
		t.Errorf("only %d verdicts could be compared", compared)
	}
}

// TestRealModules verifies Debian's kernel modules. Their key was made for one build of the kernel, and its certificate is in that kernel only: the
// kernel for arm64 carries it plainly.
func TestRealModules(t *testing.T) {
	dir := realdata.Sample(t, "signed", "linux-image-cloud-arm64_arm64")
	kernels, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("%v, %v", kernels, err)
	}
	kernel, err := os.ReadFile(kernels[0])
	if err != nil {
		t.Fatal(err)
	}
	trust := &Trust{Roots: certificatesIn(kernel)}
	t.Logf("the kernel carries %d certificates", len(trust.Roots))
	modules := 0
	for _, path := range realSigned(t) {
		if filepath.Ext(path) != ".ko" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ours := strings.HasPrefix(path, dir)
		for _, broken := range []bool{false, true} {
			want := unchecked // of another kernel
			if ours {
				want = valid
			}
			if broken {
				b[len(b)/3] ^= 4
				if ours { // without the key there is no telling: the message holds no digest
					want = changed
				}
			}
			found, err := verify(filetype.Detect(bytes.NewReader(b), int64(len(b))).Format, bytes.NewReader(b), int64(len(b)), trust)
			if err != nil || len(found) != 1 || found[0].state != want {
				t.Errorf("%s (changed: %v): %v, %v, want %v", path, broken, states(found), err, want)
				continue
			}
			if theirs := opensslVerifies(t, b, trust); theirs != (want == valid) {
				t.Errorf("%s (changed: %v): valid for openssl: %v", path, broken, theirs)
			}
		}
		modules++
	}
	t.Logf("%d modules", modules)
	if modules < 20 {
		t.Errorf("only %d modules", modules)
	}
}

// certificatesIn finds the certificates that stand plainly in a file.
func certificatesIn(b []byte) (all []*x509.Certificate) {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], []byte("\x30\x82"))
		if i < 0 || at+i+4 > len(b) {
			return all
		}
		at += i
		if n := 4 + int(b[at+2])<<8 + int(b[at+3]); at+n <= len(b) {
			if c, err := x509.ParseCertificate(b[at : at+n]); err == nil {
				all = append(all, c)
			}
		}
	}
}

// opensslVerifies verifies the message that is appended to a module, as openssl cms does with certificates that are at hand.
func opensslVerifies(t *testing.T, module []byte, trust *Trust) bool {
	t.Helper()
	dir := t.TempDir()
	end := len(module) - len(moduleMark) - 12
	start := end - int(binary.BigEndian.Uint32(module[end+8:]))
	var certs []byte
	for _, c := range trust.Roots {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	for name, b := range map[string][]byte{"content": module[:start], "message": module[start:end], "certs": certs} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool(t, "openssl", "openssl"), "cms", "-verify", "-binary", "-inform", "DER", "-in", "message", "-content", "content", "-certfile", "certs", "-CAfile", "certs",
		"-nointern", "-purpose", "any", "-out", "out")
	cmd.Dir = dir
	return cmd.Run() == nil
}
