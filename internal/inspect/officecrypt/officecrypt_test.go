package officecrypt

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// What this decrypts of whole documents, and what msoffcrypto-tool does of the same, is compared in internal/inspect/unpack.

// TestXORSums has the key and the verifier that every workbook with Excel's own password begins with.
func TestXORSums(t *testing.T) {
	if key, verifier := xorSums([]byte("VelvetSweatshop")); key != 0xB359 || verifier != 0x9A0A {
		t.Errorf("%#x, %#x", key, verifier)
	}
}

// TestDescriptions holds that what describes an encryption is not believed.
func TestDescriptions(t *testing.T) {
	api := func(size, algorithm, bits string) string {
		return "\x02\x00\x02\x00" + "\x04\x00\x00\x00" + size + "\x00\x00\x00" + strings.Repeat("\x00", 8) + algorithm + "\x68\x00\x00" + "\x04\x80\x00\x00" + bits + "\x00\x00\x00" +
			strings.Repeat("\x00", 12) + strings.Repeat("v", 60)
	}
	for name, c := range map[string]struct{ in, err string }{
		"RC4":             {"\x01\x00\x01\x00" + strings.Repeat("x", 48), ""},
		"RC4, cut":        {"\x01\x00\x01\x00" + strings.Repeat("x", 47), "what describes the encryption is cut"},
		"CryptoAPI":       {api("\x20", "\x01", "\x80"), ""},
		"no bits":         {api("\x20", "\x01", "\x00"), ""},
		"many bits":       {api("\x20", "\x01", "\xf8"), "encryption by the algorithm 0x6801 of 248 bits is not read"},
		"odd bits":        {api("\x20", "\x01", "\x2c"), "encryption by the algorithm 0x6801 of 44 bits is not read"},
		"AES":             {api("\x20", "\x0e", "\x80"), "encryption by the algorithm 0x680e of 128 bits is not read"},
		"a long header":   {api("\xff", "\x01", "\x80"), "what describes the encryption is cut"},
		"a short header":  {api("\x10", "\x01", "\x80"), "what describes the encryption is cut"},
		"another version": {"\x05\x00\x01\x00", "encryption of version 5.1 is not read"},
		"nothing":         {"", "what describes the encryption is cut"},
	} {
		s, err := openRC4([]byte(c.in))
		if err == nil && (c.err != "" || s.try("a password")) || err != nil && err.Error() != c.err {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}

// TestSteps holds that the bytes do not depend on the steps in which they are read, and that what is cut keeps its length.
func TestSteps(t *testing.T) {
	c := &cipher{api: true, length: 16, salt: make([]byte, 16), verifier: make([]byte, 16), verified: make([]byte, 20)}
	c.try("a password")
	for path, d := range map[string]*Document{"Data": {stream: "WordDocument", scheme: c}, "Workbook": {excel: true, stream: "Workbook", scheme: c}} {
		in := bytes.Repeat([]byte("\x2f\x00\x02\x00xx\x3c\x00\x10\x03"), 900)
		whole, err := io.ReadAll(d.Reader(path, bytes.NewReader(in)))
		if err != nil || len(whole) != len(in) || bytes.Equal(whole, in) {
			t.Errorf("%s: %d bytes of %d, %v", path, len(whole), len(in), err)
		}
		slow, err := io.ReadAll(iotest.OneByteReader(d.Reader(path, iotest.HalfReader(bytes.NewReader(in)))))
		if err != nil || !bytes.Equal(slow, whole) {
			t.Errorf("%s: in steps %d bytes differ, %v", path, len(slow), err)
		}
	}
}
