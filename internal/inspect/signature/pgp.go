package signature

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxPGP bounds an OpenPGP signature.
const maxPGP = 256 << 10

var pgpHashes = map[byte]crypto.Hash{1: crypto.MD5, 2: crypto.SHA1, 8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512, 11: crypto.SHA224}

// pgp names the signatures of OpenPGP in b: whose key, and when by the signer's own word. There are no keys here to verify them with.
func (f *file) pgp(kind string, b []byte) {
	if i := bytes.Index(b, []byte("-----BEGIN PGP SIGNATURE-----")); i >= 0 {
		b = dearmor(b[i:])
	}
	for n := 0; len(b) > 0 && n < maxSigners; n++ {
		tag, body, rest, ok := pgpPacket(b)
		if !ok {
			if n == 0 {
				f.add(&finding{kind: kind, state: malformed, why: "no OpenPGP signature"})
			}
			return
		}
		b = rest
		if tag != 2 {
			continue
		}
		x := &finding{kind: kind, state: unchecked, why: "no OpenPGP keys are kept here"}
		key := pgpSignature(body, x)
		if key == "" {
			key = "unknown"
		}
		x.signer = "OpenPGP key " + key
		f.add(x)
	}
}

func dearmor(b []byte) []byte {
	var text strings.Builder
	body := false
	for i, line := range strings.Split(string(b[:min(len(b), maxPGP)]), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case i == 0:
		case strings.HasPrefix(line, "-----END"), body && strings.HasPrefix(line, "="):
			out, _ := base64.StdEncoding.DecodeString(text.String())
			return out
		case line == "":
			body = true
		case body:
			text.WriteString(line)
		}
	}
	return nil
}

// pgpPacket splits off one packet.
func pgpPacket(b []byte) (tag byte, body, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x80 == 0 {
		return 0, nil, nil, false
	}
	var n, head uint64
	if b[0]&0x40 != 0 { // the newer form
		tag = b[0] & 0x3f
		switch c := b[1]; {
		case c < 192:
			n, head = uint64(c), 2
		case c < 224 && len(b) > 2:
			n, head = (uint64(c)-192)<<8+uint64(b[2])+192, 3
		case c == 255 && len(b) > 5:
			n, head = uint64(binary.BigEndian.Uint32(b[2:])), 6
		default:
			return 0, nil, nil, false
		}
	} else {
		tag = b[0] >> 2 & 0xf
		switch kind := b[0] & 3; {
		case kind == 0:
			n, head = uint64(b[1]), 2
		case kind == 1 && len(b) > 2:
			n, head = uint64(binary.BigEndian.Uint16(b[1:])), 3
		case kind == 2 && len(b) > 4:
			n, head = uint64(binary.BigEndian.Uint32(b[1:])), 5
		default:
			return 0, nil, nil, false
		}
	}
	if n > uint64(len(b))-head {
		return 0, nil, nil, false
	}
	return tag, b[head : head+n], b[head+n:], true
}

// pgpSignature fills digest and time; it returns the key's id, or its fingerprint.
func pgpSignature(b []byte, x *finding) (key string) {
	if len(b) < 6 {
		return ""
	}
	switch b[0] {
	case 3:
		if len(b) < 17 {
			return ""
		}
		x.claimed = unix(b[3:])
		x.hash = pgpHashes[b[16]]
		return strings.ToUpper(hex.EncodeToString(b[7:15]))
	case 4, 5:
		x.hash = pgpHashes[b[3]]
		b = b[4:]
		for range 2 { // what is signed, then what is not
			n := int(binary.BigEndian.Uint16(b))
			if n > len(b)-2 {
				return key
			}
			for s := b[2 : 2+n]; len(s) > 1; {
				size, head := int(s[0]), 1
				if size >= 192 {
					if size < 255 {
						size, head = (size-192)<<8+int(s[1])+192, 2
					} else if len(s) > 5 {
						size, head = int(binary.BigEndian.Uint32(s[1:])&0xffffff), 5
					}
				}
				if size == 0 || size > len(s)-head {
					break
				}
				v := s[head+1 : head+size]
				switch s[head] & 0x7f {
				case 2:
					if len(v) == 4 && x.claimed.IsZero() {
						x.claimed = unix(v)
					}
				case 16:
					if key == "" {
						key = strings.ToUpper(hex.EncodeToString(v[:min(len(v), 8)]))
					}
				case 33:
					if len(v) > 1 {
						key = strings.ToUpper(hex.EncodeToString(v[1:min(len(v), 33)]))
					}
				}
				s = s[head+size:]
			}
			b = b[2+n:]
			if len(b) < 2 {
				break
			}
		}
	}
	return key
}

func unix(b []byte) time.Time { return time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC() }

// The entries of an RPM's signature header that are OpenPGP signatures.
var rpmSignatures = map[uint32]string{267: "RPM header", 268: "RPM header", 1002: "RPM header and payload", 1005: "RPM header and payload", 278: "RPM"}

// rpm names who signed an RPM.
func (f *file) rpm() error {
	lead, err := f.bytes(0, 96+16)
	if err != nil || !bytes.Equal(lead[:4], []byte("\xed\xab\xee\xdb")) || !bytes.Equal(lead[96:99], []byte("\x8e\xad\xe8")) {
		return nil
	}
	be := binary.BigEndian
	count, size := int64(be.Uint32(lead[104:])), int64(be.Uint32(lead[108:]))
	if count > 1024 || size > 1<<20 {
		return fmt.Errorf("a signature header of %d entries and %d bytes", count, size)
	}
	index, err := f.bytes(112, count*16)
	if err != nil {
		return nil
	}
	store, err := f.bytes(112+count*16, size)
	if err != nil {
		return nil
	}
	for ; len(index) >= 16; index = index[16:] {
		tag, kind, off, n := be.Uint32(index), be.Uint32(index[4:]), int64(be.Uint32(index[8:])), int64(be.Uint32(index[12:]))
		what := rpmSignatures[tag]
		if what == "" || off > size {
			continue
		}
		if kind == 7 && n <= size-off { // bytes
			f.pgp(what, store[off:off+n])
		} else if kind == 8 || kind == 6 { // text: base64
			text, _, _ := bytes.Cut(store[off:], []byte{0})
			if b, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
				f.pgp(what, b)
			}
		}
	}
	return nil
}

// deb names who signed a Debian package: debsigs and dpkg-sig add members of names that begin with _gpg.
func (f *file) deb() error {
	magic, err := f.bytes(0, 8)
	if err != nil || string(magic) != "!<arch>\n" {
		return nil
	}
	at := int64(8)
	for range 64 {
		h, err := f.bytes(at, 60)
		if err != nil {
			return nil
		}
		name := strings.TrimRight(strings.TrimSpace(string(h[:16])), "/")
		n, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || n < 0 || n > f.size-at-60 {
			return nil
		}
		if strings.HasPrefix(name, "_gpg") {
			b, err := f.bytes(at+60, min(n, maxPGP))
			if err != nil {
				return nil
			}
			f.pgp("deb "+clean(strings.TrimPrefix(name, "_gpg")), b)
		}
		at += 60 + n + n&1
	}
	return nil
}
