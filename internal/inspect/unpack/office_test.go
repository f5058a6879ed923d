package unpack

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/filetype"
)

// cbc encrypts with a key that is completed and an initial value; b is a whole number of blocks.
func cbc(key, iv, b []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(b))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, b)
	return out
}

func blocks(b []byte) []byte { return append(bytes.Clone(b), make([]byte, -len(b)&15)...) }

// agileOf encrypts a package as Office since 2010 does.
func agileOf(password string, spinCount int64, name string, newHash func() hash.Hash, bits int, content []byte) []byte {
	keySalt, passSalt, key, input := []byte("salt of the data"), []byte("salt of password"), bytes.Repeat([]byte("k"), bits/8), []byte("verifier's input")
	sum := spin(newHash, passSalt, password, spinCount)
	seal := func(what string, b []byte) string {
		h := newHash()
		h.Write(append(bytes.Clone(sum), what...))
		k := append(h.Sum(nil), bytes.Repeat([]byte{0x36}, 32)...)[:bits/8]
		return base64.StdEncoding.EncodeToString(cbc(k, passSalt, blocks(b)))
	}
	h := newHash()
	h.Write(input)
	parts := fmt.Sprintf(`saltSize="16" blockSize="16" keyBits="%d" hashSize="%d" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="%s"`, bits, newHash().Size(), name)
	info := "\x04\x00\x04\x00\x40\x00\x00\x00" + fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password">`+
		`<keyData %s saltValue="%s"/><dataIntegrity encryptedHmacKey="" encryptedHmacValue=""/><keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="%d" %s saltValue="%s" encryptedVerifierHashInput="%s" encryptedVerifierHashValue="%s" encryptedKeyValue="%s"/></keyEncryptor></keyEncryptors></encryption>`,
		parts, base64.StdEncoding.EncodeToString(keySalt), spinCount, parts, base64.StdEncoding.EncodeToString(passSalt),
		seal("\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", input), seal("\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", h.Sum(nil)), seal("\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", key))
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(content)))
	for n := uint32(0); len(content) > 0; n++ {
		part := content[:min(len(content), officeSegment)]
		content = content[len(part):]
		h := newHash()
		h.Write(binary.LittleEndian.AppendUint32(bytes.Clone(keySalt), n))
		data = append(data, cbc(key, h.Sum(nil)[:16], blocks(part))...)
	}
	// Other readers take a stream below 4,096 bytes to lie in mini sectors, which compoundOf does not make.
	return compoundOf("EncryptionInfo", info+strings.Repeat(" ", max(0, 4096-len(info))), "EncryptedPackage", string(data))
}

// standardOf encrypts a package as Office 2007 does.
func standardOf(password string, bits int, content []byte) []byte {
	le := binary.LittleEndian
	s := &standard{salt: []byte("salt of password"), verifier: make([]byte, 16), verified: make([]byte, 32), length: bits / 8}
	s.try(password) // makes the key
	seal := func(b []byte) string {
		b = blocks(b)
		for i := 0; i < len(b); i += 16 {
			s.block.Encrypt(b[i:], b[i:])
		}
		return string(b)
	}
	input := []byte("verifier's input")
	sum := sha1.Sum(input)
	header := le.AppendUint32(nil, 0x24)
	for _, v := range []uint32{0, map[int]uint32{128: 0x660E, 192: 0x660F, 256: 0x6610}[bits], 0x8004, uint32(bits), 0x18, 0, 0} {
		header = le.AppendUint32(header, v)
	}
	header = append(header, utf16Of("Microsoft Enhanced RSA and AES Cryptographic Provider\x00")...)
	info := append([]byte("\x04\x00\x02\x00\x24\x00\x00\x00"), le.AppendUint32(nil, uint32(len(header)))...)
	info = append(append(info, header...), "\x10\x00\x00\x00"...)
	info = append(append(info, s.salt...), seal(input)...)
	info = append(append(info, "\x14\x00\x00\x00"...), seal(sum[:])...)
	return compoundOf("EncryptionInfo", string(info)+strings.Repeat("\x00", 4096-len(info)), "EncryptedPackage", string(le.AppendUint64(nil, uint64(len(content))))+seal(content))
}

// TestOffice opens what this test encrypts, which msoffcrypto-tool opens, too.
func TestOffice(t *testing.T) {
	var noise []byte // so that there are several segments
	for i := range byte(200) {
		s := sha512.Sum512([]byte{i})
		noise = append(noise, s[:]...)
	}
	content := zipOf(t, "[Content_Types].xml", "<Types/>", "word/document.xml", string(noise))
	dir := t.TempDir()
	for name, c := range map[string]struct {
		in       []byte
		password string
	}{
		"agile":         {agileOf("infected", 1000, "SHA512", sha512.New, 256, content), "infected"},
		"agile 128":     {agileOf("infected", 1000, "SHA1", sha1.New, 128, content), "infected"},
		"agile 256":     {agileOf("VelvetSweatshop", 1000, "SHA256", sha256.New, 256, content), "VelvetSweatshop"},
		"agile SHA-384": {agileOf("infected", 1000, "SHA384", sha512.New384, 256, content), "infected"},
		"standard":      {standardOf("infected", 128, content), "infected"},
		"standard 256":  {standardOf("VelvetSweatshop", 256, content), "VelvetSweatshop"},
	} {
		t.Run(name, func(t *testing.T) {
			if told := filetype.Detect(bytes.NewReader(c.in), int64(len(c.in))); told.Name != "OOXML, encrypted" {
				t.Errorf("told as %v", told)
			}
			var found *entry
			got, err := list(t, filetype.OLE, c.in, Options{Passwords: []string{"wrong", "infected"}})
			for i := range got {
				if got[i].Path == "package" {
					found = &got[i]
				}
			}
			want := entry{Path: "package", Size: int64(len(content)), SHA256: sum(content)}
			if err != nil || found == nil || *found != want {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
			if c.password == "infected" {
				got, err = list(t, filetype.OLE, c.in, Options{Passwords: []string{"wrong"}})
				if want := (entry{Path: "package", Size: -1, Err: "ole: member package: " + errPassword.Error()}); err != nil || got[len(got)-1] != want {
					t.Errorf("without the password: %v, %v", got, err)
				}
			}
			in, out := filepath.Join(dir, name), filepath.Join(dir, name+" out")
			if err := os.WriteFile(in, c.in, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, dir, "msoffcrypto-tool", "-p", c.password, in, out)
			theirs, err := os.ReadFile(out)
			if err != nil || !bytes.Equal(theirs, content) {
				t.Errorf("msoffcrypto-tool gives %d bytes of %d, %v", len(theirs), len(content), err)
			}
		})
	}
}

// TestOfficeHostile holds that what describes an encryption is not believed.
func TestOfficeHostile(t *testing.T) {
	good := agileOf("infected", 1000, "SHA512", sha512.New, 256, []byte("content"))
	f, err := compound.Open(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	info := string(f.Read(f.Find("EncryptionInfo"), 1<<20))
	data := string(f.Read(f.Find("EncryptedPackage"), 1<<20))
	for name, c := range map[string]struct{ info, data, err string }{
		"dear":           {strings.Replace(info, `spinCount="1000"`, `spinCount="99999999"`, 1), data, "what describes the encryption is damaged"},
		"takes too long": {strings.Replace(info, `spinCount="1000"`, `spinCount="9999999"`, 1), data, "trying further passwords takes too long"},
		"no hash":        {strings.ReplaceAll(info, "SHA512", "SHA999"), data, `encryption by the hash "SHA999" is not read`},
		"short salt":     {strings.ReplaceAll(info, `saltValue="`, `saltValue="" x="`), data, "what describes the encryption is damaged"},
		"no XML":         {info[:20], data, "what describes the encryption cannot be read"},
		"claims":         {info, "\xff\xff\xff\xff\xff\xff\xff\x7f" + data[8:], "it claims 9223372036854775807 bytes"},
		"version":        {"\x09\x00\x09\x00" + info[4:], data, "encryption of version 9.9 is not read"},
		"cut":            {info, data[:5], "the data ends too early"},
	} {
		in := compoundOf("EncryptionInfo", c.info, "EncryptedPackage", c.data)
		got, _ := list(t, filetype.OLE, in, Options{Passwords: []string{"1", "2", "3", "4", "5", "6", "infected"}, Spend: Spender(MaxRounds / 8)})
		if len(got) == 0 || !strings.Contains(got[len(got)-1].Err, c.err) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// pptRecord is a record of PowerPoint 97.
func pptRecord(ver, kind uint16, data string) string {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, ver), kind)
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(data)))) + data
}

func TestPresentation(t *testing.T) {
	object := string(compoundOf("a", "first"))
	packed := string(binary.LittleEndian.AppendUint32(nil, uint32(len(object)))) + deflated(object)
	stream := pptRecord(0x0f, 0x03E8, pptRecord(0, 0x03E9, "atom")+pptRecord(0, 0x1011, object)) + pptRecord(0x10, 0x1011, packed) + pptRecord(0x10, 0x1011, "\x01") + "\x00\x00\x11\x10\xff\xff\xff\xffcut"
	got, err := list(t, filetype.OLE, compoundOf("PowerPoint Document", stream), Options{})
	if err != nil {
		t.Error(err)
	}
	const at = "PowerPoint Document/object-"
	want := []entry{member("PowerPoint Document", stream), member(at+"1.ole", object), member(at+"2.ole", object),
		{Path: at + "3.ole", SHA256: sum(nil), Err: "ole: member " + at + "3.ole: the data ends too early"},
		{Path: at + "4.ole", Size: 3, SHA256: sum([]byte("cut")), Err: "ole: member " + at + "4.ole: the data ends too early"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// TestMacroSource compares the modules of a project that Excel wrote with what it says itself.
func TestMacroSource(t *testing.T) {
	b, err := os.ReadFile("/usr/share/doc/python3-xlsxwriter/examples/vbaProject.bin")
	if err != nil {
		t.Skip("Debian's python3-xlsxwriter is not installed: ", err)
	}
	modules := map[string]bool{}
	if err := eachWhole(filetype.OLE, b, func(w whole) {
		name, ok := strings.CutSuffix(filepath.Base(w.Path), ".bas")
		if ok {
			modules[name] = strings.HasPrefix(string(w.data), "Attribute VB_Name = \""+name+"\"\r\n")
		}
		if filepath.Base(w.Path) == "Module1.bas" && !strings.Contains(string(w.data), "Sub say_hello()") {
			t.Errorf("%s: %s", w.Path, w.data)
		}
	}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]bool{"Module1": true, "Sheet1": true, "Sheet2": true, "ThisWorkbook": true, "ThisWorkbook1": true}, modules); diff != "" {
		t.Error(diff)
	}
}

// TestMessage holds that what is attached to a message in a message is told under the names that people see.
func TestMessage(t *testing.T) {
	at, object := "__attach_version1.0_#00000000", "/__substg1.0_3701000D"
	in := compoundOf(
		at+"/__substg1.0_3001001F", utf16Of("Re: x/y"),
		at+object+"/__properties_version1.0", "p",
		at+object+"/"+at+"/__substg1.0_37010102", "bytes",
		at+object+"/"+at+"/__substg1.0_3707001E", "invoice.doc",
		"__attach_version1.0_#00000001/__substg1.0_3707001F", utf16Of("sheet"),
		"__attach_version1.0_#00000001"+object+"/\x01Ole10Native", packageOf("run.exe", "MZ program"),
		"__substg1.0_10090102", lzfu(`{\rtf1\ansi the text of a message}`),
		"__substg1.0_10130102", "<html>",
		"__properties_version1.0", "p",
	)
	got, err := list(t, filetype.MSG, in, Options{})
	if err != nil {
		t.Error(err)
	}
	want := []entry{
		member(at+"/__substg1.0_3001001F", utf16Of("Re: x/y")), member("Re: x_y.msg/__properties_version1.0", "p"), member("Re: x_y.msg/"+at+"/invoice.doc", "bytes"),
		member("Re: x_y.msg/"+at+"/__substg1.0_3707001E", "invoice.doc"), member("__attach_version1.0_#00000001/__substg1.0_3707001F", utf16Of("sheet")), member("sheet/run.exe", "MZ program"),
		member("body.rtf", `{\rtf1\ansi the text of a message}`), member("body.html", "<html>"), member("__properties_version1.0", "p"),
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func FuzzOffice(f *testing.F) {
	f.Add(agileOf("infected", 10, "SHA512", sha512.New, 256, []byte("content")))
	f.Add(standardOf("infected", 128, []byte("content")))
	f.Add(compoundOf("PowerPoint Document", pptRecord(0x0f, 1000, pptRecord(0x10, 0x1011, "\x01\x00\x00\x00"+deflated("x")))))
	f.Fuzz(func(t *testing.T, b []byte) { unpackAny(t, filetype.OLE, b) })
}

// TestOfficeLocked holds that documents before 2007 that are encrypted are named so.
func TestOfficeLocked(t *testing.T) {
	for want, in := range map[string][]byte{
		"OLE Word document, encrypted (DOC)":  compoundOf("WordDocument", "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x01"+strings.Repeat("\x00", 100)),
		"OLE Word document (DOC)":             compoundOf("WordDocument", "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x02"),
		"OLE Excel workbook, encrypted (XLS)": compoundOf("Workbook", "\x09\x08\x04\x00\x00\x06\x05\x00\x2f\x00\x04\x00\x01\x00\x01\x00"),
		"OLE Excel workbook (XLS)":            compoundOf("Workbook", "\x09\x08\x04\x00\x00\x06\x05\x00\xe1\x00\xff\xff/"),
	} {
		if told := filetype.Detect(bytes.NewReader(in), int64(len(in))); told.Name != want {
			t.Errorf("told as %v, want %s", told, want)
		}
	}
}
