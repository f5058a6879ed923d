package unpack

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
)

// The two encryptions that zips are passed on with: PKWARE's old one and WinZip's AES.

var (
	errPassword  = errors.New("encrypted, and none of the passwords opens it")
	errTries     = errors.New("encrypted, and the passwords were not all tried: that would take too long")
	errEncrypted = errors.New("encrypted, and no passwords are given")
)

// zipAES is WinZip's extra field.
type zipAES struct {
	version  uint16 // 2 has no checksum
	strength byte   // 1, 2, 3: 128, 192, 256 bits
	method   uint16 // of the compression below
}

func (a *zipAES) sizes() (salt, key int, ok bool) {
	switch a.strength {
	case 1:
		return 8, 16, true
	case 2:
		return 12, 24, true
	case 3:
		return 16, 32, true
	}
	return 0, 0, false
}

// zipTrial is how much of a member a password is tried on. PKWARE's check has one byte, so that a wrong password passes it once in 256 times.
const zipTrial = 1 << 20

// zipAESRounds is what a key of AES costs.
const zipAESRounds = 32 << 10

// unlock finds the password of a member.
func (z *zipReader) unlock(h *zipHeader, data int64) (string, error) {
	if len(z.o.Passwords) == 0 {
		return "", errEncrypted
	}
	for _, password := range z.candidates() {
		if h.aes != nil {
			if !z.spend(zipAESRounds) {
				return "", errTries
			}
			if _, _, err := z.decrypt(h, data, password); err != nil {
				if errors.Is(err, errPassword) {
					continue
				}
				return "", err
			}
			z.password = password
			return password, nil
		}
		if !z.spend(16) {
			return "", errTries
		}
		if _, _, err := z.decrypt(h, data, password); err != nil {
			if errors.Is(err, errPassword) {
				continue
			}
			return "", err
		}
		r, err := z.content(h, data, password)
		if err != nil {
			continue
		}
		// Data that are whole but for the checksum of a later part count as opened.
		n, err := io.CopyN(io.Discard, r, zipTrial)
		if !z.spend(n / 2) {
			return "", errTries
		}
		if err != nil && err != io.EOF {
			continue
		}
		z.password = password
		return password, nil
	}
	return "", errPassword
}

// decrypt opens a member's data with a password and tells how many bytes there are.
func (z *zipReader) decrypt(h *zipHeader, data int64, password string) (io.Reader, int64, error) {
	if h.aes != nil {
		return z.decryptAES(h, data, password)
	}
	if h.packed < 12 {
		return nil, 0, errCut
	}
	k := newZipKeys(password)
	header, err := z.readAt(data, 12)
	if err != nil {
		return nil, 0, err
	}
	k.decrypt(header)
	// The last byte is the checksum's highest or, when that was not yet known, the time's; some writers differ.
	if check := header[11]; check != byte(h.crc>>24) && check != byte(h.time>>8) {
		return nil, 0, errPassword
	}
	return &zipCryptReader{r: z.section(data+12, h.packed-12), k: k}, h.packed - 12, nil
}

// zipKeys is the state of PKWARE's encryption.
type zipKeys [3]uint32

func newZipKeys(password string) *zipKeys {
	k := &zipKeys{0x12345678, 0x23456789, 0x34567890}
	for i := range len(password) {
		k.update(password[i])
	}
	return k
}

func (k *zipKeys) update(b byte) {
	k[0] = crc32.IEEETable[byte(k[0])^b] ^ k[0]>>8
	k[1] = (k[1]+k[0]&0xff)*134775813 + 1
	k[2] = crc32.IEEETable[byte(k[2])^byte(k[1]>>24)] ^ k[2]>>8
}

func (k *zipKeys) decrypt(p []byte) {
	for i := range p {
		t := k[2] | 2
		p[i] ^= byte(t * (t ^ 1) >> 8)
		k.update(p[i])
	}
}

type zipCryptReader struct {
	r io.Reader
	k *zipKeys
}

func (z *zipCryptReader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	z.k.decrypt(p[:n])
	return n, err
}

func (z *zipReader) decryptAES(h *zipHeader, data int64, password string) (io.Reader, int64, error) {
	saltSize, keySize, ok := h.aes.sizes()
	if !ok {
		return nil, 0, errors.New("the AES key size is not known")
	}
	size := h.packed - int64(saltSize) - 2 - 10
	if size < 0 {
		return nil, 0, errCut
	}
	b, err := z.readAt(data, saltSize+2)
	if err != nil {
		return nil, 0, err
	}
	keys, err := pbkdf2.Key(sha1.New, password, b[:saltSize], 1000, 2*keySize+2)
	if err != nil {
		return nil, 0, err
	}
	if !bytes.Equal(keys[2*keySize:], b[saltSize:]) {
		return nil, 0, errPassword
	}
	block, err := aes.NewCipher(keys[:keySize])
	if err != nil {
		return nil, 0, err
	}
	return &zipAESReader{
		r: z.section(data+int64(saltSize)+2, size), block: block, mac: hmac.New(sha1.New, keys[keySize:2*keySize]), left: size, used: aes.BlockSize,
		check: func() ([]byte, error) { return z.readAt(data+int64(saltSize)+2+size, 10) },
	}, size, nil
}

// zipAESReader is AES in counter mode, the counter little-endian from 1, and an HMAC over the encrypted bytes.
type zipAESReader struct {
	r       io.Reader
	block   cipher.Block
	mac     hash.Hash
	left    int64
	counter uint64
	key     [aes.BlockSize]byte
	used    int
	check   func() ([]byte, error)
}

func (z *zipAESReader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	z.mac.Write(p[:n])
	z.left -= int64(n)
	for i := range n {
		if z.used == len(z.key) {
			z.counter++
			var b [aes.BlockSize]byte
			binary.LittleEndian.PutUint64(b[:], z.counter)
			z.block.Encrypt(z.key[:], b[:])
			z.used = 0
		}
		p[i] ^= z.key[z.used]
		z.used++
	}
	if err == io.EOF {
		if z.left > 0 {
			return n, errCut
		}
		sum, err := z.check()
		if err != nil {
			return n, err
		}
		if subtle.ConstantTimeCompare(z.mac.Sum(nil)[:10], sum) != 1 {
			return n, errors.New("the authentication code differs")
		}
	}
	return n, err
}
