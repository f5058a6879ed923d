package signature

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
	"spoor/internal/realdata"
)

// TestPages signs digests of pages that are not those of the file, whose digest is right, with osslsigncode, and compares what both say.
func TestPages(t *testing.T) {
	osslsigncode := tool(t, "osslsigncode", "osslsigncode")
	dir := t.TempDir()
	now := time.Now()
	root := issue(t, nil, dir, "Test Root", now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0))
	leaf := issue(t, root, dir, "Test Publisher", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	trust := &Trust{Roots: []*x509.Certificate{root.cert}}
	program := image(10000)
	plain := filepath.Join(dir, "plain.exe")
	if err := os.WriteFile(plain, program, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if b, err := exec.Command(osslsigncode, args...).CombinedOutput(); err != nil {
			t.Fatalf("osslsigncode %v: %v\n%s", args, err, b)
		}
	}
	unsigned := filepath.Join(dir, "data.der")
	run("extract-data", "-h", "sha256", "-ph", "-in", plain, "-out", unsigned)
	data, err := os.ReadFile(unsigned)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(data, []byte("\x00\x04\x00\x00")) - 36 // the second page is at 0x400
	if first < 0 || binary.LittleEndian.Uint32(data[first:]) != 0 {
		t.Fatal("no digests of pages in what osslsigncode is to sign")
	}
	end := bytes.LastIndex(data, make([]byte, 32)) - 4
	if size := int(binary.LittleEndian.Uint32(data[end:])); size != len(program) {
		t.Fatalf("the digests of pages end at %d, the file at %d", size, len(program))
	}
	for _, tt := range []struct {
		what    string
		change  func([]byte)
		want    state
		differs bool // for osslsigncode, as docs/signatures.md says
	}{
		{"right", func([]byte) {}, valid, false},
		{"the headers' digest", func(b []byte) { b[first+4] ^= 1 }, changed, false},
		{"the first page's digest", func(b []byte) { b[first+40] ^= 1 }, changed, false},
		{"the last page's digest", func(b []byte) { b[end-1] ^= 1 }, changed, false},
		{"a page's offset", func(b []byte) { b[first+37] ^= 1 }, changed, false},
		{"the end's offset", func(b []byte) { b[end+1] ^= 0x10 }, valid, true},
		{"no SHA-1 nor SHA-256", func(b []byte) { b[bytes.Index(b, []byte(oidPagesSHA256))+len(oidPagesSHA256)-1] = 9 }, malformed, false},
		{"another class", func(b []byte) { b[bytes.Index(b, []byte(classPages))] ^= 1 }, malformed, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b := bytes.Clone(data)
			tt.change(b)
			in, message, out := filepath.Join(dir, "in.der"), filepath.Join(dir, "message.der"), filepath.Join(dir, "out.exe")
			_, _ = os.Remove(message), os.Remove(out) // of the case before
			if err := os.WriteFile(in, b, 0o600); err != nil {
				t.Fatal(err)
			}
			run("sign", "-certs", leaf.certFile(), "-key", leaf.keyFile(), "-ac", root.certFile(), "-h", "sha256", "-in", in, "-out", message)
			// It attaches what it then finds wrong, and fails.
			said, _ := exec.Command(osslsigncode, "attach-signature", "-CAfile", root.certFile(), "-sigin", message, "-in", plain, "-out", out).CombinedOutput()
			signed, err := os.ReadFile(out)
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			found, err := verify(filetype.PE, bytes.NewReader(signed), int64(len(signed)), trust)
			if err != nil || !slices.Equal(states(found), []state{tt.want}) {
				t.Errorf("%v, %v, want %v", states(found), err, tt.want)
				for i, x := range found {
					t.Log(x.note(i + 1))
				}
			}
			theirs := exec.Command(osslsigncode, "verify", "-ignore-cdp", "-in", out, "-CAfile", root.certFile()).Run() == nil
			if ours := tt.want == valid; theirs != (ours && !tt.differs) {
				t.Errorf("valid for us: %v, for osslsigncode: %v", ours, theirs)
			}
		})
	}
}

// TestNestedCatalogue nests signatures in one of a catalogue: one that has the list itself, and one over the outer list.
func TestNestedCatalogue(t *testing.T) {
	osslsigncode, openssl := tool(t, "osslsigncode", "osslsigncode"), tool(t, "openssl", "openssl")
	dir := t.TempDir()
	now := time.Now()
	root := issue(t, nil, dir, "Test Root", now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0))
	leaf := issue(t, root, dir, "Test Publisher", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	second := issue(t, root, dir, "Second Publisher", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	trust := &Trust{Roots: []*x509.Certificate{root.cert}}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, b)
		}
	}
	plain := filepath.Join(realdata.Path(t, "files", "relic-functest"), "hyperv.cat")
	for name, who := range map[string]*authority{"outer.cat": leaf, "second.cat": second} {
		run(osslsigncode, "sign", "-certs", who.certFile(), "-key", who.keyFile(), "-ac", root.certFile(), "-h", "sha256", "-in", plain, "-out", name)
	}
	outer := read("outer.cat")
	sd, err := parseCMS(outer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "list"), sd.whole, 0o600); err != nil {
		t.Fatal(err)
	}
	run(openssl, "cms", "-sign", "-binary", "-in", "list", "-signer", second.certFile(), "-inkey", second.keyFile(), "-outform", "DER", "-out", "detached", "-md", "sha256")
	if err := os.WriteFile(filepath.Join(dir, "other"), append(bytes.Clone(sd.whole), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	run(openssl, "cms", "-sign", "-binary", "-in", "other", "-signer", second.certFile(), "-inkey", second.keyFile(), "-outform", "DER", "-out", "elsewhere", "-md", "sha256")
	changedList := read("second.cat")
	changedList[changeable("second.cat", changedList)] ^= 2
	for _, tt := range []struct {
		what   string
		nested []byte
		want   []state
		theirs string // what osslsigncode says of it, “” when it is right for it
	}{
		{"with a list", read("second.cat"), []state{valid, valid}, ""},
		{"with a list that was changed", changedList, []state{valid, changed}, "Verification failed"},
		{"over the outer list", read("detached"), []state{valid, valid}, "Corrupted data content"},
		{"over another list", read("elsewhere"), []state{valid, changed}, "Corrupted data content"},
		{"nothing", []byte("\x30\x03\x02\x01\x01"), []state{valid, malformed}, "none"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b := nest(t, outer, tt.nested)
			found, err := verify(filetype.Catalog, bytes.NewReader(b), int64(len(b)), trust)
			if err != nil || !slices.Equal(states(found), tt.want) || !found[len(found)-1].nested {
				t.Errorf("%v, %v, want %v", states(found), err, tt.want)
				for i, x := range found {
					t.Log(x.note(i + 1))
				}
			}
			path := filepath.Join(dir, "nested.cat")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			says, output := osslsigncodeSays(t, path, root.certFile())
			switch {
			case tt.theirs == "none":
			case len(says) != 2 || !says[0].valid || says[1].valid != (tt.theirs == "") || !strings.Contains(says[1].subject, "Second"):
				t.Errorf("osslsigncode says otherwise:\n%s", output)
			}
		})
	}
}

// tlv is a value in DER, of less than 16 MiB.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append([]byte{tag, 0x83, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// FuzzPages reads digests of pages and compares them with a program.
func FuzzPages(f *testing.F) {
	program := image(5000)
	l, err := (&file{r: &guarded{r: bytes.NewReader(program)}, size: int64(len(program))}).peLayout()
	if err != nil {
		f.Fatal(err)
	}
	for _, kind := range []string{oidPagesSHA1, oidPagesSHA256, oidCTL} {
		attribute := tlv(0x30, tlv(tagOID, []byte(kind)), tlv(0x31, tlv(tagOctets, make([]byte, 5*36))))
		object := tlv(0xa1, tlv(tagOctets, []byte(classPages)), tlv(tagOctets, tlv(0x31, attribute)))
		f.Add(slices.Concat(tlv(tagOID, []byte(oidSpcIndirectData)), tlv(0x30, tlv(tagBits, []byte{0}), tlv(0xa0, object))), uint32(0x1000), uint32(0x400))
	}
	f.Fuzz(func(t *testing.T, image []byte, page, size uint32) {
		p, err := parsePages(image)
		if err != nil || p == nil {
			return
		}
		b := bytes.Clone(program)
		binary.LittleEndian.PutUint32(b[0x80+24+32:], page)
		binary.LittleEndian.PutUint32(b[0x80+24+240+16:], size)
		if err := (&file{r: &guarded{r: bytes.NewReader(b)}, size: int64(len(b))}).comparePages(l, p); err == nil {
			t.Errorf("digests that were made of nothing are right: %x", p.table)
		}
	})
}

// FuzzList reads the list of a catalogue.
func FuzzList(f *testing.F) {
	head := slices.Concat(tlv(0x30, tlv(tagOID, []byte{1})), tlv(tagOctets, []byte("0123456789abcdef")), tlv(23, []byte("010909014640Z")), tlv(0x30, tlv(tagOID, []byte{1})))
	value := tlv(0x30, tlv(0x30), tlv(0x30, tlv(0x30, tlv(tagOID, []byte(oidPagesSHA1))), tlv(tagOctets, make([]byte, 20))))
	f.Add(slices.Concat(head, tlv(0x30, tlv(0x30, tlv(tagOctets, make([]byte, 32)), tlv(0x31)), tlv(0x30, tlv(tagOctets, []byte("A")), tlv(0x31, tlv(0x30, tlv(tagOID, []byte(oidSpcIndirectData)), tlv(0x31, value)))))))
	f.Fuzz(func(t *testing.T, list []byte) {
		if all := digestsIn(list); len(all) > len(list) {
			t.Errorf("%d digests in %d bytes", len(all), len(list))
		}
	})
}

// nest puts a message into the attributes, which nobody signs, of the one signer of another.
func nest(t *testing.T, outer, nested []byte) []byte {
	t.Helper()
	attribute := tlv(0xa1, tlv(0x30, tlv(tagOID, []byte(oidNested)), tlv(0x31, nested)))
	info := (&der{b: outer}).want(tagSequence)
	d := info.inside()
	d.oid()
	oid := info.body[:len(info.body)-len(d.b)]
	content, _ := d.optional(0)
	data := content.inside().want(tagSequence)
	in := data.inside()
	in.want(tagInteger)
	in.want(tagSet)
	in.want(tagSequence)
	in.optional(0)
	before := data.body[:len(data.body)-len(in.b)]
	signers := in.want(tagSet)
	signer := signers.inside().want(tagSequence)
	if in.err != nil || len(signer.body) == 0 {
		t.Fatal("the message that is nested in is no catalogue of osslsigncode's")
	}
	return tlv(0x30, oid, tlv(0xa0, tlv(0x30, before, tlv(0x31, tlv(0x30, signer.body, attribute)))))
}
