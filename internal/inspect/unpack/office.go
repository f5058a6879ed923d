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
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"unicode/utf16"

	"spoor/internal/inspect/compound"
	"spoor/internal/inspect/officecrypt"
)

// Bounds of encrypted Office documents.
const (
	maxEncryptionInfo = 64 << 10
	officeSegment     = 4096
	standardRounds    = 50_000
	officeRound       = 16 // of those that c.spend counts: a round is a hash made anew, at worst of SHA-512
)

// encryptedPackage tells the document in an encrypted OOXML document, where a password opens it.
func (c *container) encryptedPackage(f *compound.File) error {
	info, data := f.Find("EncryptionInfo"), f.Find("EncryptedPackage")
	if info == nil || data == nil {
		return nil
	}
	m := Member{Path: "package", Size: -1}
	b := f.Read(info, maxEncryptionInfo)
	o, err := readEncryptionInfo(b)
	if err == nil {
		err = errPassword
		for _, p := range slices.Concat(officecrypt.Passwords, c.candidates()) {
			if !c.spend(o.rounds() * officeRound) {
				err = errors.New("encrypted, and trying further passwords takes too long")
				break
			}
			if o.try(p) {
				m.Password, c.password, err = p, p, nil
				break
			}
		}
	}
	if err != nil {
		m.Err = err
		return c.tell(m)
	}
	r := f.Stream(data, c.o.Memory)
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		m.Err = errCut
		return c.tell(m)
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > uint64(c.size) {
		m.Err = fmt.Errorf("it claims %d bytes in a file of %d", n, c.size)
		return c.tell(m)
	}
	m.Size, m.Reader = int64(n), &exactReader{r: &segmentReader{o: o, r: r}, left: int64(n)}
	return c.tell(m)
}

// encryptedDocument opens an encrypted document of Word or Excel with one of the passwords; nil when none is there or none opens it.
func (c *container) encryptedDocument(f *compound.File) (*officecrypt.Document, error) {
	d, err := officecrypt.Open(f)
	if d == nil || err != nil {
		return nil, err
	}
	for _, p := range slices.Concat(officecrypt.Passwords, c.candidates()) {
		if !c.spend(officeRound) {
			return nil, errTries
		}
		if d.Try(p) {
			c.password = p
			return d, nil
		}
	}
	return nil, errPassword
}

// officeCrypt is how a package is encrypted.
type officeCrypt interface {
	rounds() int64
	try(password string) bool // and keep the key if it fits
	segment(n uint32, b []byte)
}

// readEncryptionInfo reads the description, of either kind.
func readEncryptionInfo(b []byte) (officeCrypt, error) {
	if len(b) < 8 {
		return nil, errCut
	}
	le := binary.LittleEndian
	major, minor := le.Uint16(b), le.Uint16(b[2:])
	switch {
	case major == 4 && minor == 4:
		return readAgile(b[8:])
	case minor == 2 && major >= 2 && major <= 4:
		return readStandard(b[8:])
	}
	return nil, fmt.Errorf("encryption of version %d.%d is not read", major, minor)
}

// standard encryption is AES without chaining, its key made by SHA-1.
type standard struct {
	salt, verifier, verified []byte
	length                   int
	block                    cipher.Block
}

func readStandard(b []byte) (*standard, error) {
	le := binary.LittleEndian
	if len(b) < 4 {
		return nil, errCut
	}
	n := int64(le.Uint32(b))
	b = b[4:]
	if n < 20 || int64(len(b)) < n+4+16+16+4+32 {
		return nil, errCut
	}
	algorithm, bits := le.Uint32(b[8:]), le.Uint32(b[16:])
	if algorithm != 0x660E && algorithm != 0x660F && algorithm != 0x6610 || bits != 128 && bits != 192 && bits != 256 {
		return nil, fmt.Errorf("encryption by the algorithm %#x of %d bits is not read", algorithm, bits)
	}
	b = b[n+4:]
	return &standard{salt: b[:16], verifier: b[16:32], verified: b[36:68], length: int(bits / 8)}, nil
}

func (s *standard) rounds() int64 { return standardRounds }

func (s *standard) try(password string) bool {
	h := spin(sha1.New, s.salt, password, standardRounds)
	last := sha1.Sum(append(h, 0, 0, 0, 0))
	var key []byte
	for _, fill := range []byte{0x36, 0x5C} {
		b := bytes.Repeat([]byte{fill}, 64)
		for i, v := range last {
			b[i] ^= v
		}
		x := sha1.Sum(b)
		key = append(key, x[:]...)
	}
	block, err := aes.NewCipher(key[:s.length])
	if err != nil {
		return false
	}
	s.block = block
	verifier, verified := bytes.Clone(s.verifier), bytes.Clone(s.verified)
	s.segment(0, verifier)
	s.segment(0, verified)
	want := sha1.Sum(verifier)
	return bytes.Equal(want[:], verified[:len(want)])
}

func (s *standard) segment(_ uint32, b []byte) {
	for ; len(b) >= aes.BlockSize; b = b[aes.BlockSize:] {
		s.block.Decrypt(b, b)
	}
}

// spin is the hash of a password that is made dear by rounds.
func spin(hash func() hash.Hash, salt []byte, password string, rounds int64) []byte {
	h := hash()
	h.Write(salt)
	for _, u := range utf16.Encode([]rune(password)) {
		h.Write(binary.LittleEndian.AppendUint16(nil, u))
	}
	sum := h.Sum(nil)
	var counter [4]byte
	for i := range rounds {
		binary.LittleEndian.PutUint32(counter[:], uint32(i))
		h.Reset()
		h.Write(counter[:])
		h.Write(sum)
		sum = h.Sum(sum[:0])
	}
	return sum
}

// agile encryption is described by XML: AES with chaining in segments.
type agile struct {
	data, password agileKey
	block          cipher.Block
}

type agileKey struct {
	BlockSize  int    `xml:"blockSize,attr"`
	KeyBits    int    `xml:"keyBits,attr"`
	Cipher     string `xml:"cipherAlgorithm,attr"`
	Chaining   string `xml:"cipherChaining,attr"`
	Hash       string `xml:"hashAlgorithm,attr"`
	Salt       string `xml:"saltValue,attr"`
	Spin       int64  `xml:"spinCount,attr"`
	InputText  string `xml:"encryptedVerifierHashInput,attr"`
	ValueText  string `xml:"encryptedVerifierHashValue,attr"`
	KeyText    string `xml:"encryptedKeyValue,attr"`
	salt       []byte
	input      []byte
	value      []byte
	wrapped    []byte
	hash       func() hash.Hash
	hashLength int
}

func readAgile(b []byte) (*agile, error) {
	var d struct {
		KeyData agileKey `xml:"keyData"`
		Keys    []struct {
			Password *agileKey `xml:"encryptedKey"`
		} `xml:"keyEncryptors>keyEncryptor"`
	}
	if err := xml.Unmarshal(bytes.TrimRight(b, "\x00"), &d); err != nil {
		return nil, fmt.Errorf("what describes the encryption cannot be read: %w", err)
	}
	a := &agile{data: d.KeyData}
	for _, k := range d.Keys {
		if k.Password != nil && k.Password.Spin > 0 {
			a.password = *k.Password
		}
	}
	for _, k := range []*agileKey{&a.data, &a.password} {
		switch k.Hash {
		case "SHA1", "SHA-1":
			k.hash = sha1.New
		case "SHA256":
			k.hash = sha256.New
		case "SHA384":
			k.hash = sha512.New384
		case "SHA512":
			k.hash = sha512.New
		default:
			return nil, fmt.Errorf("encryption by the hash %.20q is not read", k.Hash)
		}
		k.hashLength = k.hash().Size()
		var errs [4]error
		k.salt, errs[0] = base64.StdEncoding.DecodeString(k.Salt)
		k.input, errs[1] = base64.StdEncoding.DecodeString(k.InputText)
		k.value, errs[2] = base64.StdEncoding.DecodeString(k.ValueText)
		k.wrapped, errs[3] = base64.StdEncoding.DecodeString(k.KeyText)
		if err := errors.Join(errs[:]...); err != nil || len(k.salt) == 0 {
			return nil, errors.New("what describes the encryption is damaged")
		}
		if k.Cipher != "AES" || k.Chaining != "ChainingModeCBC" || k.BlockSize != aes.BlockSize || k.KeyBits != 128 && k.KeyBits != 192 && k.KeyBits != 256 {
			return nil, fmt.Errorf("encryption by %.20q, %.20q of %d bits is not read", k.Cipher, k.Chaining, k.KeyBits)
		}
	}
	p := &a.password
	if p.Spin > 10_000_000 || len(p.salt) < aes.BlockSize || len(p.input) == 0 || len(p.input)%aes.BlockSize != 0 || len(p.value) < p.hashLength || len(p.value)%aes.BlockSize != 0 ||
		len(p.wrapped) < a.data.KeyBits/8 || len(p.wrapped)%aes.BlockSize != 0 {
		return nil, errors.New("what describes the encryption is damaged")
	}
	return a, nil
}

func (a *agile) rounds() int64 { return a.password.Spin }

func (a *agile) try(password string) bool {
	p := &a.password
	sum := spin(p.hash, p.salt, password, p.Spin)
	open := func(what string, b []byte) []byte {
		h := p.hash()
		h.Write(sum)
		h.Write([]byte(what))
		key := append(h.Sum(nil), bytes.Repeat([]byte{0x36}, 32)...)[:p.KeyBits/8]
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil
		}
		out := make([]byte, len(b))
		cipher.NewCBCDecrypter(block, p.salt[:aes.BlockSize]).CryptBlocks(out, b)
		return out
	}
	h := p.hash()
	h.Write(open("\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", p.input))
	if value := open("\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", p.value); !bytes.Equal(h.Sum(nil), value[:min(len(value), p.hashLength)]) {
		return false
	}
	block, err := aes.NewCipher(open("\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", p.wrapped)[:a.data.KeyBits/8])
	a.block = block
	return err == nil
}

func (a *agile) segment(n uint32, b []byte) {
	h := a.data.hash()
	h.Write(a.data.salt)
	h.Write(binary.LittleEndian.AppendUint32(nil, n))
	cipher.NewCBCDecrypter(a.block, h.Sum(nil)[:aes.BlockSize]).CryptBlocks(b, b)
}

// segmentReader decrypts segment by segment.
type segmentReader struct {
	o   officeCrypt
	r   io.Reader
	n   uint32
	buf [officeSegment]byte
	out []byte
}

func (s *segmentReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.out) == 0 {
		n, err := io.ReadFull(s.r, s.buf[:])
		if n &^= aes.BlockSize - 1; n == 0 {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
		s.out = s.buf[:n]
		s.o.segment(s.n, s.out)
		s.n++
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}
