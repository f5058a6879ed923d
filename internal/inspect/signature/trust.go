package signature

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"spoor/internal/intel"
)

// Trust is what signatures are verified against. It is plain data, for it is handed to another process.
// It must not be changed once something was verified with it.
type Trust struct {
	Roots       []*x509.Certificate    // trusted to sign code and time stamps
	Extra       []*x509.Certificate    // intermediates that may complete a chain
	Revocations []*x509.RevocationList // imported CRLs
	Keys        [][]byte               // OpenPGP public keys that are trusted to sign packages: key rings in binary form
	At          time.Time              // as of when a signature without a time stamp is judged; zero: now

	once sync.Once
	pool *pool // made of the above when first used
}

// Bounds of what is loaded.
const (
	maxTrustFile  = 64 << 20 // bytes of one file; the largest CRLs have some ten million
	maxTrustFiles = 20000
)

// systemBundles are where Linux distributions keep the roots of the system; the first that is there counts.
var systemBundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// LoadTrust reads a folder as docs/signatures.md describes it: roots/ and authroot/ hold roots, extra/ intermediates, crl/ revocation lists, as PEM
// (also many in a file) or DER; certificates in the folder itself are roots, too. OpenPGP keys may lie anywhere in it. With system, the roots of the operating system are added. An empty
// folder name is no folder. What cannot be read is refused by name and left out; an error is that the folder itself cannot be read.
func LoadTrust(folder string, system bool) (*Trust, []*intel.Refusal, error) {
	l := &loader{trust: &Trust{}, seen: map[[sha256.Size]byte]bool{}}
	if system {
		for _, path := range systemBundles {
			if b, err := os.ReadFile(path); err == nil {
				l.load(path, "roots", b)
				break
			}
		}
	}
	if folder != "" {
		if err := l.walk(os.DirFS(folder)); err != nil {
			return nil, l.refused, fmt.Errorf("trust folder %s: %w", folder, err)
		}
	}
	return l.trust, l.refused, nil
}

// TrustFolder is what [LoadTrust] reads, to be read anew when its files change.
type TrustFolder struct {
	Folder string
	System bool

	read, seen map[string]fileStamp // as the files were when read, and when last looked at
}

type fileStamp struct {
	size int64
	at   time.Time
}

// Load reads the folder.
func (t *TrustFolder) Load() (*Trust, []*intel.Refusal, error) {
	t.read = t.stamps()
	t.seen = t.read
	return LoadTrust(t.Folder, t.System)
}

// Reload reads the folder again if its files have changed since, and not since the last look, for files are still being written then. It returns nil
// when there is nothing new. After an error it tries again with the next change.
func (t *TrustFolder) Reload() (*Trust, []*intel.Refusal, error) {
	now := t.stamps()
	still := maps.Equal(now, t.seen)
	t.seen = now
	if !still || maps.Equal(now, t.read) {
		return nil, nil, nil
	}
	t.read = now
	return LoadTrust(t.Folder, t.System)
}

// stamps tells of the files what changes with them.
func (t *TrustFolder) stamps() map[string]fileStamp {
	all := map[string]fileStamp{}
	add := func(path string) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && len(all) <= maxTrustFiles {
			all[path] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	if t.System {
		for _, path := range systemBundles {
			add(path)
		}
	}
	if t.Folder != "" {
		// What cannot be read now will be another time.
		_ = filepath.WalkDir(t.Folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				add(path)
			}
			return nil
		})
	}
	return all
}

type loader struct {
	trust   *Trust
	refused []*intel.Refusal
	seen    map[[sha256.Size]byte]bool
}

func (l *loader) refuse(path, format string, args ...any) {
	l.refused = append(l.refused, &intel.Refusal{Input: path, Reason: fmt.Sprintf(format, args...)})
}

func (l *loader) walk(fsys fs.FS) error {
	files := 0
	return fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == "." {
				return err
			}
			l.refuse(path, "cannot be read: %v", err)
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") && path != "." {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if files++; files > maxTrustFiles {
			return fmt.Errorf("more than %d files", maxTrustFiles)
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".md", ".txt", ".url":
			return nil // notes of the operator
		}
		f, err := fsys.Open(path)
		if err != nil {
			l.refuse(path, "cannot be read: %v", err)
			return nil
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxTrustFile+1))
		switch {
		case err != nil:
			l.refuse(path, "cannot be read: %v", err)
		case len(b) > maxTrustFile:
			l.refuse(path, "larger than %d MiB", maxTrustFile>>20)
		default:
			kind, _, _ := strings.Cut(path, "/")
			l.load(path, kind, b)
		}
		return nil
	})
}

// load takes in one file. kind is the first folder of its path; it decides only between roots and intermediates.
func (l *loader) load(path, kind string, b []byte) {
	if bytes.Contains(b, []byte("-----BEGIN PGP ")) || len(b) > 0 && (b[0]&0xfc == 0x98 || b[0] == 0xc6) { // armour, or the packet of a public key
		l.keys(path, b)
		return
	}
	got := 0
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		for rest := b; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			got++
			switch block.Type {
			case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
				l.certificates(path, kind, block.Bytes)
			case "X509 CRL":
				l.list(path, block.Bytes)
			case "PKCS7", "CMS":
				l.message(path, kind, block.Bytes)
			default:
				l.refuse(path, "holds a %s; certificates and CRLs are wanted", clean(block.Type))
			}
		}
		if got == 0 {
			l.refuse(path, "damaged PEM")
		}
		return
	}
	d := &der{b: b}
	outer := d.want(tagSequence)
	if d.err != nil {
		l.refuse(path, "neither PEM nor DER; a certificate, a bundle or a CRL is wanted")
		return
	}
	switch first := outer.inside().next(); {
	case first.is(tagOID):
		l.message(path, kind, b)
	default:
		if _, err := parseCertificate(b); err == nil {
			l.certificates(path, kind, b)
		} else {
			l.list(path, b)
		}
	}
}

// keys takes in OpenPGP public keys.
func (l *loader) keys(path string, b []byte) {
	rings := [][]byte{b}
	if b[0]&0x80 == 0 {
		rings = nil
		for rest := bufio.NewReader(bytes.NewReader(b)); ; {
			block, err := armor.Decode(rest)
			if err != nil {
				break
			}
			ring, err := io.ReadAll(block.Body)
			if err != nil {
				l.refuse(path, "damaged OpenPGP armour: %v", err)
				return
			}
			if block.Type != openpgp.PublicKeyType {
				l.refuse(path, "holds a %s; public keys are wanted", clean(block.Type))
				return
			}
			rings = append(rings, ring)
		}
	}
	got := 0
	for _, ring := range rings {
		keys, err := pgpKeys(ring)
		if err != nil {
			l.refuse(path, "no OpenPGP keys: %v", err)
			return
		}
		got += len(keys)
		if sum := sha256.Sum256(ring); len(keys) > 0 && !l.seen[sum] {
			l.seen[sum] = true
			l.trust.Keys = append(l.trust.Keys, ring)
		}
	}
	if got == 0 {
		l.refuse(path, "no OpenPGP key that may sign")
	}
}

func (l *loader) certificates(path, kind string, b []byte) {
	d := &der{b: b}
	e := d.next() // OpenSSL's TRUSTED CERTIFICATE has its own remarks after it
	cs, err := x509.ParseCertificate(e.raw)
	if err != nil {
		l.refuse(path, "no certificate: %v", err)
		return
	}
	sum := sha256.Sum256(cs.Raw)
	if l.seen[sum] {
		return
	}
	l.seen[sum] = true
	if kind == "extra" {
		l.trust.Extra = append(l.trust.Extra, cs)
	} else {
		l.trust.Roots = append(l.trust.Roots, cs)
	}
}

func (l *loader) list(path string, b []byte) {
	x, err := x509.ParseRevocationList(b)
	if err != nil {
		l.refuse(path, "no certificate and no CRL: %v", err)
		return
	}
	sum := sha256.Sum256(x.Raw)
	if !l.seen[sum] {
		l.seen[sum] = true
		l.trust.Revocations = append(l.trust.Revocations, x)
	}
}

// message takes the certificates of a PKCS #7 bundle (.p7b), as Windows exports them.
func (l *loader) message(path, kind string, b []byte) {
	sd, err := parseCMS(b)
	if err != nil || len(sd.carried) == 0 {
		l.refuse(path, "no PKCS #7 bundle of certificates")
		return
	}
	for _, c := range sd.carried {
		l.certificates(path, kind, c.raw)
	}
}

// plain is the form in which Trust goes to another process.
type plain struct {
	Roots       [][]byte  `json:"roots"`
	Extra       [][]byte  `json:"extra,omitempty"`
	Revocations [][]byte  `json:"revocations,omitempty"`
	Keys        [][]byte  `json:"keys,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

// MarshalJSON writes the certificates and lists as their DER.
func (t *Trust) MarshalJSON() ([]byte, error) {
	p := plain{At: t.At, Keys: t.Keys}
	for _, c := range t.Roots {
		p.Roots = append(p.Roots, c.Raw)
	}
	for _, c := range t.Extra {
		p.Extra = append(p.Extra, c.Raw)
	}
	for _, c := range t.Revocations {
		p.Revocations = append(p.Revocations, c.Raw)
	}
	return json.Marshal(p)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Trust) UnmarshalJSON(b []byte) error {
	if t.pool != nil {
		return errors.New("this trust is in use")
	}
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	t.Roots, t.Extra, t.Revocations, t.Keys, t.At = nil, nil, nil, p.Keys, p.At
	for _, raw := range slices.Concat(p.Roots, p.Extra) {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return err
		}
		if len(t.Roots) < len(p.Roots) {
			t.Roots = append(t.Roots, c)
		} else {
			t.Extra = append(t.Extra, c)
		}
	}
	for _, raw := range p.Revocations {
		c, err := x509.ParseRevocationList(raw)
		if err != nil {
			return err
		}
		t.Revocations = append(t.Revocations, c)
	}
	return nil
}
