package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
)

// codeSigned makes a Mach-O program of some pages with a code signature: a code directory, and what cms makes of it.
func codeSigned(pages int, cms func(directory []byte) []byte) []byte {
	be, le := binary.BigEndian, binary.LittleEndian
	const page = 4096
	code := make([]byte, pages*page-100) // the last page is not full
	for i := range code {
		code[i] = byte(i * 11 >> 4)
	}
	copy(code, "\xcf\xfa\xed\xfe\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00") // 64 bits, x86-64, a program
	le.PutUint32(code[16:], 1)                                                     // load commands
	le.PutUint32(code[20:], 16)                                                    // their size
	clear(code[24:48])
	le.PutUint32(code[32:], 0x1d) // LC_CODE_SIGNATURE
	le.PutUint32(code[36:], 16)
	le.PutUint32(code[40:], uint32(len(code)))

	requirements := []byte("\xfa\xde\x0c\x01\x00\x00\x00\x0c\x00\x00\x00\x00")
	const head = 44
	directory := make([]byte, head, head+4+(2+pages)*sha256.Size)
	directory = append(directory, "app\x00"...)
	sumOf := func(b []byte) { s := sha256.Sum256(b); directory = append(directory, s[:]...) }
	sumOf(requirements)                                              // the special slot 2
	directory = append(directory, make([]byte, sha256.Size)...)      // the special slot 1 is not there
	be.PutUint32(directory[16:], uint32(len(directory)))             // where the digests of the pages begin
	be.PutUint32(directory[24:], 2)                                  // special slots
	be.PutUint32(directory[28:], uint32(pages))                      //
	be.PutUint32(directory[32:], uint32(len(code)))                  // what they cover
	directory[36], directory[37], directory[39] = sha256.Size, 2, 12 // SHA-256, pages of 4 KiB
	be.PutUint32(directory[8:], 0x20100)
	be.PutUint32(directory[20:], head)

	fill := func(n int) { le.PutUint32(code[44:], uint32(n)) }
	build := func() (b []byte) {
		d := bytes.Clone(directory)
		for p := range slices.Chunk(code, page) {
			s := sha256.Sum256(p)
			d = append(d, s[:]...)
		}
		be.PutUint32(d, magicCode)
		be.PutUint32(d[4:], uint32(len(d)))
		parts := []struct {
			slot uint32
			b    []byte
		}{{0, d}, {2, requirements}}
		if message := cms(d); message != nil {
			w := be.AppendUint32(be.AppendUint32(nil, magicWrapper), uint32(8+len(message)))
			parts = append(parts, struct {
				slot uint32
				b    []byte
			}{slotCMS, append(w, message...)})
		}
		off := 12 + 8*len(parts)
		index, blobs := []byte(nil), []byte(nil)
		for _, p := range parts {
			index = be.AppendUint32(be.AppendUint32(index, p.slot), uint32(off+len(blobs)))
			blobs = append(blobs, p.b...)
		}
		b = be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, magicSuper), uint32(off+len(blobs))), uint32(len(parts)))
		return append(append(b, index...), blobs...)
	}
	// The signature's room stands in the code that it signs: first a guess that is large enough.
	const room = 16 << 10
	fill(room)
	super := build()
	return append(code, append(super, make([]byte, room-len(super))...)...)
}

// TestMachO signs a plain Mach-O program, and a fat one of two, with openssl's CMS over the code directory.
func TestMachO(t *testing.T) {
	openssl := tool(t, "openssl", "openssl")
	dir := t.TempDir()
	who := issue(t, nil, dir, "Apple Publisher", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), x509.ExtKeyUsageCodeSigning)
	trust := &Trust{Roots: []*x509.Certificate{who.cert}}
	sign := func(directory []byte) []byte {
		cmd := exec.Command(openssl, "cms", "-sign", "-binary", "-outform", "DER", "-md", "sha256", "-signer", who.certFile(), "-inkey", who.keyFile())
		cmd.Stdin = bytes.NewReader(directory)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	good := codeSigned(5, sign)
	adHoc := codeSigned(3, func([]byte) []byte { return nil })
	at := bytes.Index(good, []byte("\xfa\xde\x0c\xc0"))
	requirements := bytes.LastIndex(good, []byte("\xfa\xde\x0c\x01"))
	be := binary.BigEndian
	fat := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), 2)
	offset := 8192
	for _, b := range [][]byte{good, adHoc} {
		for _, v := range []int{0x01000007, 3, offset, len(b), 12} {
			fat = be.AppendUint32(fat, uint32(v))
		}
		offset += (len(b) + 4095) &^ 4095
	}
	for _, b := range [][]byte{good, adHoc} {
		fat = append(fat, make([]byte, (4096-len(fat)%4096)%4096)...)
		if len(fat) < 8192 {
			fat = append(fat, make([]byte, 8192-len(fat))...)
		}
		fat = append(fat, b...)
	}
	for _, tt := range []struct {
		what string
		b    []byte
		want []state
	}{
		{"signed", good, []state{valid}},
		{"a page changed", flipped(good, 9000), []state{changed}},
		{"the last page changed", flipped(good, at-1), []state{changed}},
		{"the requirements changed", flipped(good, requirements+11), []state{changed}},
		{"the code directory changed", flipped(good, at+12+3*8+12), []state{changed}},
		{"bytes appended", append(bytes.Clone(good), "more"...), []state{appended}},
		{"ad hoc", adHoc, []state{unchecked}},
		{"ad hoc, changed", flipped(adHoc, 5000), []state{changed}},
		{"fat", fat, []state{valid, unchecked}},
		{"cut off", good[:len(good)-8000], []state{malformed}},
	} {
		typ := filetype.Detect(bytes.NewReader(tt.b), int64(len(tt.b)))
		found, err := verify(typ.Format, bytes.NewReader(tt.b), int64(len(tt.b)), trust)
		if err != nil || !slices.Equal(states(found), tt.want) {
			t.Errorf("%s (%s): %v, %v, want %v", tt.what, typ.Name, states(found), err, tt.want)
			for i, f := range found {
				t.Log(f.note(i + 1))
			}
		}
	}
}
