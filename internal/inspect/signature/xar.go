package signature

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a xar archive's table of contents.
const (
	maxTOC      = 32 << 20 // bytes, packed and not
	maxXARFiles = 100_000
)

type xarData struct {
	offset, length int64
	style, sum     string
	name           string
}

type xarSignature struct {
	style        string
	offset, size int64
	certificates [][]byte
}

// xarTOC is what a table of contents says that signatures need.
type xarTOC struct {
	style        string
	offset, size int64
	signatures   []*xarSignature
	data         []xarData
}

// parseTOC reads the XML. It keeps no tree, for a hostile one may be deep.
func parseTOC(b []byte) (*xarTOC, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	t := &xarTOC{}
	var path []string
	var sig *xarSignature
	var data *xarData
	var text strings.Builder
	name := ""
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, errors.New("a damaged table of contents")
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			path = append(path, tok.Name.Local)
			if len(path) > 256 {
				return nil, errors.New("a table of contents that is too deep")
			}
			text.Reset()
			style := ""
			for _, a := range tok.Attr {
				if a.Name.Local == "style" {
					style = a.Value
				}
			}
			switch parent := last(path, 1); tok.Name.Local {
			case "signature", "x-signature":
				if parent == "toc" {
					sig = &xarSignature{style: style}
				}
			case "data":
				if parent == "file" {
					data = &xarData{name: name}
				}
			case "checksum":
				if parent == "toc" {
					t.style = style
				}
			case "archived-checksum":
				if data != nil {
					data.style = style
				}
			}
		case xml.CharData:
			if text.Len() < 64<<10 {
				text.Write(tok)
			}
		case xml.EndElement:
			value := strings.TrimSpace(text.String())
			text.Reset()
			n, _ := strconv.ParseInt(value, 10, 64)
			parent := last(path, 1)
			switch el := last(path, 0); {
			case el == "name" && parent == "file":
				name = value
			case parent == "checksum" && last(path, 2) == "toc" && el == "offset":
				t.offset = n
			case parent == "checksum" && last(path, 2) == "toc" && el == "size":
				t.size = n
			case sig != nil && el == "offset":
				sig.offset = n
			case sig != nil && el == "size":
				sig.size = n
			case sig != nil && el == "X509Certificate" && len(sig.certificates) < maxCarried:
				if der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), "")); err == nil {
					sig.certificates = append(sig.certificates, der)
				}
			case sig != nil && (el == "signature" || el == "x-signature"):
				if len(t.signatures) < maxSigners {
					t.signatures = append(t.signatures, sig)
				}
				sig = nil
			case data != nil && el == "offset" && parent == "data":
				data.offset = n
			case data != nil && el == "length" && parent == "data":
				data.length = n
			case data != nil && el == "archived-checksum":
				data.sum = value
			case data != nil && el == "data":
				if len(t.data) == maxXARFiles {
					return nil, errors.New("a table of contents of too many files")
				}
				t.data = append(t.data, *data)
				data = nil
			}
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		}
	}
}

func last(path []string, back int) string {
	if len(path) <= back {
		return ""
	}
	return path[len(path)-1-back]
}

func xarHash(style string) crypto.Hash {
	switch strings.ToLower(style) {
	case "md5":
		return crypto.MD5
	case "sha1":
		return crypto.SHA1
	case "sha256":
		return crypto.SHA256
	case "sha512":
		return crypto.SHA512
	}
	return 0
}

// xar verifies a macOS package: the table of contents is signed, and has the digests of the files.
func (f *file) xar() error {
	head, err := f.bytes(0, 28)
	if err != nil || string(head[:4]) != "xar!" {
		return nil
	}
	be := binary.BigEndian
	start, packed := int64(be.Uint16(head[4:])), int64(be.Uint64(head[8:]))
	if start < 28 || packed <= 0 || packed > maxTOC || start+packed > f.size {
		return nil
	}
	raw, err := f.bytes(start, packed)
	if err != nil {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(z, maxTOC+1))
	if err != nil || len(text) > maxTOC {
		return errors.New("a damaged or too large table of contents")
	}
	t, err := parseTOC(text)
	if err != nil {
		return err
	}
	if len(t.signatures) == 0 {
		return nil
	}
	heap := start + packed
	h := xarHash(t.style)
	if h == 0 {
		return fmt.Errorf("a table of contents with a digest %s, which is not known", quoted(clean(t.style)))
	}
	kept, err := f.bytes(heap+t.offset, int64(h.Size()))
	toc := sum(h, raw)
	tocBad := err != nil || !bytes.Equal(kept, toc)
	why := f.xarFiles(t, heap)
	for _, s := range t.signatures {
		if s.size <= 0 || s.size > maxCMS {
			f.add(&finding{kind: "xar", state: malformed, why: fmt.Sprintf("a signature of %d bytes", s.size)})
			continue
		}
		blob, err := f.bytes(heap+s.offset, s.size)
		if err != nil {
			f.add(&finding{kind: "xar", state: malformed, why: "the signature is cut off"})
			continue
		}
		for _, x := range f.xarSigners(s, blob, h, toc) {
			x.hash = h
			if weak(h) {
				x.remark("weak digest %s", digestName(h))
			}
			if tocBad {
				x.fail(changed, "changed after signing: the table of contents is not the signed one")
			}
			if why != "" {
				x.fail(changed, "changed after signing: %s", why)
			}
			f.add(x)
		}
	}
	return nil
}

func (f *file) xarSigners(s *xarSignature, blob []byte, h crypto.Hash, toc []byte) []*finding {
	if strings.EqualFold(s.style, "CMS") {
		sd, err := parseCMS(blob)
		if err != nil {
			return []*finding{{kind: "xar CMS", state: malformed, why: err.Error()}}
		}
		var all []*finding
		for _, si := range sd.signers {
			all = append(all, f.signer("xar CMS", sd, si, of(toc), ""))
		}
		return all
	}
	x := &finding{kind: "xar"}
	for _, der := range s.certificates {
		if c, err := parseCertificate(der); err == nil {
			x.carried = append(x.carried, c)
		}
	}
	if len(x.carried) == 0 {
		x.signer = "unknown (no certificate)"
		x.fail(malformed, "no certificate of the signer")
		return []*finding{x}
	}
	x.cert = x.carried[0]
	x.signer = x.cert.owner
	if x.signer == "" {
		x.signer = "unnamed (certificate " + orNone(x.cert.serial) + ")"
	}
	if err := verifyDigest(x.cert.key, h, -1, toc, blob); err != nil && verifyDigest(x.cert.key, h, -1, sum(h, toc), blob) != nil {
		x.fail(changed, "changed after signing: the signature is not of this table of contents")
	}
	f.trust(x, &signerInfo{}, "")
	return []*finding{x}
}

// xarFiles compares the packed files with their digests; it returns the first that differs.
func (f *file) xarFiles(t *xarTOC, heap int64) string {
	left := 2*f.size + 1<<20 // files may share bytes, but not so many
	for _, d := range t.data {
		h := xarHash(d.style)
		if h == 0 {
			return fmt.Sprintf("%s has no digest that is known", quoted(clean(d.name)))
		}
		if left -= d.length; d.length < 0 || left < 0 {
			return "its files overlap"
		}
		w := h.New()
		if d.offset < 0 || f.copyTo(w, heap+d.offset, heap+d.offset+d.length) != nil || !strings.EqualFold(hex.EncodeToString(w.Sum(nil)), d.sum) {
			return fmt.Sprintf("%s is not as it was signed", quoted(clean(d.name)))
		}
	}
	return ""
}
