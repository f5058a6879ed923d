package pdf

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// method is how strings or streams are encrypted.
type method string

const (
	identity method = "Identity"
	rc4V2    method = "V2"
	aesV2    method = "AESV2"
	aesV3    method = "AESV3"
)

// crypt decrypts by the standard security handler.
type crypt struct {
	revision       int64
	length         int // of the key of RC4, in bytes
	o, u, oe, ue   []byte
	permissions    uint32
	id             []byte
	metadata       bool
	key            []byte
	strings, other method // of strings and streams
	embedded       method // of streams that are embedded files
	filters        Dict   // the named methods
}

// What trying a password costs, in rounds of a hash of 20 ns; revision 6 takes milliseconds.
const (
	tryRounds    = 1 << 10
	costlyRounds = 1 << 16
)

// maxID bounds the file's identifier, which is hashed for each password. Real ones have 16 bytes.
const maxID = 1 << 10

// unlock looks for encryption in trailers and cross-reference streams, and for the password.
func (f *File) unlock(passwords []string, spend func(rounds int64) bool) {
	var d Dict
	var id any
	ref := Ref{}
	for i := range f.places {
		p := &f.places[i]
		if p.kind != trailer && p.kind != streamed || f.budget <= 0 {
			continue
		}
		o, t := f.at(p, f.walker)
		if o.Stream && !f.isXRef(t) {
			continue
		}
		if v := t.Get("Encrypt"); v != nil {
			if e, ok := f.Resolve(v).(Dict); ok {
				d = e
				ref, _ = v.(Ref)
			} else {
				f.Encrypted, f.locked = true, errors.New("it is encrypted, and how cannot be read")
			}
		}
		if v := f.Resolve(t.Get("ID")); v != nil {
			id = v
		}
	}
	if d == nil {
		return
	}
	f.Encrypted = true
	c, err := f.newCrypt(d, id)
	if err == nil {
		f.Password, err = c.open(passwords, spend)
	}
	if f.locked = err; err != nil {
		return
	}
	f.crypt = c
	// Its own strings are not encrypted: the object is not needed any more.
	if ref.Num != 0 {
		for i := range f.places {
			if p := &f.places[i]; p.num == ref.Num && p.kind == plain {
				p.kind = trailer
			}
		}
	}
}

func (f *File) newCrypt(d Dict, id any) (*crypt, error) {
	if name, _ := f.Resolve(d.Get("Filter")).(Name); name != "Standard" {
		return nil, fmt.Errorf("it is encrypted by the handler %.40q, which is not read", string(name))
	}
	text := func(key Name) []byte { s, _ := f.Resolve(d.Get(key)).(String); return []byte(s) }
	version, bits := f.number(d, "V", 0), f.number(d, "Length", 40)
	c := &crypt{revision: f.number(d, "R", 0), o: text("O"), u: text("U"), oe: text("OE"), ue: text("UE"), permissions: uint32(f.number(d, "P", 0)), metadata: true,
		strings: rc4V2, other: rc4V2, embedded: rc4V2, length: 5}
	if b, ok := f.Resolve(d.Get("EncryptMetadata")).(bool); ok {
		c.metadata = b
	}
	if a, ok := id.(Array); ok && len(a) > 0 {
		s, _ := f.Resolve(a[0]).(String)
		c.id = []byte(s[:min(len(s), maxID)])
	}
	switch {
	case version == 1:
	case version == 2 || version == 3:
		if bits >= 40 && bits <= 128 {
			c.length = int(bits / 8)
		}
	case version == 4 || version == 5:
		c.length = 16
		c.filters, _ = f.Resolve(d.Get("CF")).(Dict)
		c.strings, c.other = c.named(f, d, "StrF", identity), c.named(f, d, "StmF", identity)
		c.embedded = c.named(f, d, "EFF", c.other)
	default:
		return nil, fmt.Errorf("encryption of version %d is not read", version)
	}
	need := 32
	if c.revision >= 5 {
		need = 48
	}
	if c.revision < 2 || c.revision > 6 || len(c.o) < need || len(c.u) < need || c.revision >= 5 && (len(c.oe) < 32 || len(c.ue) < 32) {
		return nil, fmt.Errorf("encryption of revision %d with keys of %d and %d bytes is not read", c.revision, len(c.o), len(c.u))
	}
	c.o, c.u = c.o[:need], c.u[:need]
	return c, nil
}

// named is the method that an entry names.
func (c *crypt) named(f *File, d Dict, key Name, otherwise method) method {
	name, ok := f.Resolve(d.Get(key)).(Name)
	if !ok {
		return otherwise
	}
	return c.filter(f, name)
}

func (c *crypt) filter(f *File, name Name) method {
	if name == "Identity" {
		return identity
	}
	filter, _ := f.Resolve(c.filters.Get(name)).(Dict)
	switch m, _ := f.Resolve(filter.Get("CFM")).(Name); m {
	case "V2", "AESV2", "AESV3":
		return method(m)
	}
	return identity
}

// open looks for the password that fits, as the user's and as the owner's.
func (c *crypt) open(passwords []string, spend func(rounds int64) bool) (string, error) {
	cost := int64(tryRounds)
	if c.revision == 6 {
		cost = costlyRounds
	}
	for _, p := range append([]string{""}, passwords...) {
		if !spend(cost) {
			return "", errTries
		}
		if c.try(p) {
			return p, nil
		}
	}
	return "", ErrPassword
}

// padding completes passwords to 32 bytes.
const padding = "\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A"

func padded(p []byte) []byte { return append(bytes.Clone(p), padding...)[:32] }

func (c *crypt) try(password string) bool {
	if c.revision >= 5 {
		return c.tryAES([]byte(password[:min(len(password), 127)]))
	}
	// A password of characters that Latin-1 has is in that; others are left as they are.
	narrow := make([]byte, 0, len(password))
	for _, r := range password {
		if r > 0xff {
			narrow = []byte(password)
			break
		}
		narrow = append(narrow, byte(r))
	}
	if c.tryUser(narrow) {
		return true
	}
	h := md5.Sum(padded(narrow))
	if c.revision >= 3 {
		for range 50 {
			h = md5.Sum(h[:c.length])
		}
	}
	user := bytes.Clone(c.o)
	if c.revision == 2 {
		xorKeyed(h[:c.length], 0, user)
	} else {
		for i := 19; i >= 0; i-- {
			xorKeyed(h[:c.length], byte(i), user)
		}
	}
	return c.tryUser(user)
}

// xorKeyed applies RC4 with a key of which every byte is changed by x.
func xorKeyed(key []byte, x byte, data []byte) {
	k := bytes.Clone(key)
	for i := range k {
		k[i] ^= x
	}
	s, err := rc4.NewCipher(k)
	if err == nil {
		s.XORKeyStream(data, data)
	}
}

func (c *crypt) tryUser(password []byte) bool {
	h := md5.New()
	h.Write(padded(password))
	h.Write(c.o)
	h.Write(binary.LittleEndian.AppendUint32(nil, c.permissions))
	h.Write(c.id)
	if c.revision >= 4 && !c.metadata {
		h.Write([]byte{0xff, 0xff, 0xff, 0xff})
	}
	key := h.Sum(nil)
	if c.revision >= 3 {
		for range 50 {
			s := md5.Sum(key[:c.length])
			key = s[:]
		}
	}
	key = key[:c.length]
	var want []byte
	n := 32
	if c.revision == 2 {
		want = []byte(padding)
		xorKeyed(key, 0, want)
	} else {
		s := md5.Sum(append([]byte(padding), c.id...))
		want, n = s[:], 16
		for i := range 20 {
			xorKeyed(key, byte(i), want)
		}
	}
	if !bytes.Equal(want[:n], c.u[:n]) {
		return false
	}
	c.key = key
	return true
}

// tryAES is for keys of 256 bits: 32 bytes of hash, 8 of salt for the check and 8 for the key.
func (c *crypt) tryAES(password []byte) bool {
	for _, who := range []struct{ check, key, user []byte }{{c.u, c.ue, nil}, {c.o, c.oe, c.u}} {
		if !bytes.Equal(c.hash(password, who.check[32:40], who.user), who.check[:32]) {
			continue
		}
		b, err := aes.NewCipher(c.hash(password, who.check[40:48], who.user))
		if err != nil {
			continue
		}
		c.key = make([]byte, 32)
		cipher.NewCBCDecrypter(b, make([]byte, 16)).CryptBlocks(c.key, who.key[:32])
		return true
	}
	return false
}

func (c *crypt) hash(password, salt, user []byte) []byte {
	s := sha256.Sum256(bytes.Join([][]byte{password, salt, user}, nil))
	k := s[:]
	if c.revision == 5 {
		return k
	}
	for i := 0; ; i++ {
		e := bytes.Repeat(bytes.Join([][]byte{password, k, user}, nil), 64)
		b, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(b, k[16:32]).CryptBlocks(e, e)
		remainder := 0
		for _, v := range e[:16] {
			remainder += int(v) // 256 is 1 modulo 3
		}
		last := int(e[len(e)-1])
		switch remainder % 3 {
		case 0:
			s := sha256.Sum256(e)
			k = s[:]
		case 1:
			s := sha512.Sum384(e)
			k = s[:]
		default:
			s := sha512.Sum512(e)
			k = s[:]
		}
		if i >= 63 && last <= i-31 {
			return k[:32]
		}
	}
}

// objectKey is the key of an object's strings and stream.
func (c *crypt) objectKey(m method, num uint32, gen uint16) []byte {
	if m == aesV3 {
		return c.key
	}
	b := append(bytes.Clone(c.key), byte(num), byte(num>>8), byte(num>>16), byte(gen), byte(gen>>8))
	if m == aesV2 {
		b = append(b, "sAlT"...)
	}
	s := md5.Sum(b)
	return s[:min(len(c.key)+5, 16)]
}

// text decrypts the strings of a value, in place.
func (c *crypt) text(v any, num uint32, gen uint16) any {
	switch v := v.(type) {
	case String:
		r, err := c.reader(c.strings, bytes.NewReader([]byte(v)), num, gen)
		if err != nil {
			return v
		}
		b, err := io.ReadAll(r)
		if err != nil && len(b) == 0 {
			return v
		}
		return String(b)
	case Array:
		for i := range v {
			v[i] = c.text(v[i], num, gen)
		}
	case Dict:
		for i := range v {
			v[i].Value = c.text(v[i].Value, num, gen)
		}
	}
	return v
}

// stream decrypts a stream by the method that it names itself, or that of its kind.
func (c *crypt) stream(f *File, r io.Reader, d Dict, num uint32, gen uint16) (io.Reader, error) {
	m := c.other
	if f.isType(d, "EmbeddedFile") {
		m = c.embedded
	}
	for i, v := range f.list(f.Resolve(d.Get("Filter"))) {
		if name, _ := f.Resolve(v).(Name); name != "Crypt" {
			continue
		}
		m = identity
		if params := f.list(f.Resolve(d.Get("DecodeParms"))); i < len(params) {
			p, _ := f.Resolve(params[i]).(Dict)
			if name, ok := f.Resolve(p.Get("Name")).(Name); ok {
				m = c.filter(f, name)
			}
		}
		break
	}
	return c.reader(m, r, num, gen)
}

func (c *crypt) reader(m method, r io.Reader, num uint32, gen uint16) (io.Reader, error) {
	switch m {
	case identity:
		return r, nil
	case rc4V2:
		s, err := rc4.NewCipher(c.objectKey(m, num, gen))
		if err != nil {
			return nil, err
		}
		return cipher.StreamReader{S: s, R: r}, nil
	}
	b, err := aes.NewCipher(c.objectKey(m, num, gen))
	if err != nil {
		return nil, err
	}
	return &cbcReader{r: bufio.NewReaderSize(r, 16<<10), block: b}, nil
}

// cbcReader decrypts AES in CBC, whose first block is the initial value and whose last bytes say how many were added.
type cbcReader struct {
	r     *bufio.Reader
	block cipher.Block
	mode  cipher.BlockMode
	buf   [4 << 10]byte
	out   []byte
}

func (c *cbcReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.out) == 0 {
		if c.mode == nil {
			var iv [16]byte
			if _, err := io.ReadFull(c.r, iv[:]); err != nil {
				return 0, whole(err)
			}
			c.mode = cipher.NewCBCDecrypter(c.block, iv[:])
		}
		n, err := io.ReadFull(c.r, c.buf[:])
		n &^= 15
		if n == 0 {
			return 0, whole(err)
		}
		c.mode.CryptBlocks(c.buf[:n], c.buf[:n])
		c.out = c.buf[:n]
		if next, _ := c.r.Peek(16); len(next) < 16 {
			if pad := int(c.buf[n-1]); pad >= 1 && pad <= 16 {
				c.out = c.buf[:n-pad]
			}
			if len(c.out) == 0 {
				return 0, io.EOF
			}
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// whole is the end of what need not be a whole number of blocks.
func whole(err error) error {
	if err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	return err
}

func wide(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return strings.ToValidUTF8(string(utf16.Decode(units)), "\uFFFD")
}
