package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of WIN_CERTIFICATE.
const (
	winCertPKCS = 0x0002
	winCertEFI  = 0x0ef0
	winCertGUID = 0x0ef1
)

// peLayout is where the parts of a PE are that its digest leaves out.
type peLayout struct {
	checksum  int64
	directory int64 // entry of the certificate table; 0 when the header has none
	table     int64 // the certificate table; 0 when there is none
	length    int64
}

func (f *file) peLayout() (peLayout, error) {
	var l peLayout
	le := binary.LittleEndian
	dos, err := f.bytes(0, 64)
	if err != nil || dos[0] != 'M' || dos[1] != 'Z' {
		return l, errors.New("no MZ header")
	}
	pe := int64(le.Uint32(dos[60:]))
	head, err := f.bytes(pe, 24+2)
	if err != nil || !bytes.Equal(head[:4], []byte("PE\x00\x00")) {
		return l, errors.New("no PE header")
	}
	opt := pe + 24
	optSize := int64(le.Uint16(head[20:]))
	var dirs int64
	switch le.Uint16(head[24:]) {
	case 0x10b:
		dirs = 96
	case 0x20b:
		dirs = 112
	default:
		return l, errors.New("an optional header of an unknown kind")
	}
	l.checksum = opt + 64
	count, err := f.bytes(opt+dirs-4, 4)
	if err != nil {
		return l, errors.New("the header is cut off")
	}
	if le.Uint32(count) < 5 || optSize < dirs+5*8 {
		return l, nil
	}
	l.directory = opt + dirs + 4*8
	entry, err := f.bytes(l.directory, 8)
	if err != nil {
		return l, errors.New("the header is cut off")
	}
	l.table, l.length = int64(le.Uint32(entry)), int64(le.Uint32(entry[4:]))
	if l.table == 0 || l.length == 0 {
		l.table, l.length = 0, 0
	}
	return l, nil
}

// peDigest is the Authenticode digest of the bytes up to end, without checksum, the directory's entry and the certificate table.
// skipTail leaves out what follows the table.
func (f *file) peDigest(l peLayout, skipTail bool) func(crypto.Hash) ([]byte, error) {
	return f.memo(func(h crypto.Hash) ([]byte, error) {
		w := h.New()
		end := l.table
		if end == 0 {
			end = f.size
		}
		if err := errors.Join(
			f.copyTo(w, 0, l.checksum),
			f.copyTo(w, l.checksum+4, l.directory),
			f.copyTo(w, l.directory+8, end),
		); err != nil {
			return nil, err
		}
		if !skipTail && l.table != 0 {
			if err := f.copyTo(w, l.table+l.length, f.size); err != nil {
				return nil, err
			}
		}
		return w.Sum(nil), nil
	})
}

func (f *file) pe() error {
	l, err := f.peLayout()
	if err != nil || l.table == 0 {
		return nil // no PE after all, or unsigned: others say so
	}
	if l.table > f.size || l.length > f.size-l.table {
		return fmt.Errorf("the certificate table reaches beyond the end of the file (offset %d, %d bytes)", l.table, l.length)
	}
	if l.table < l.directory+8 {
		return fmt.Errorf("the certificate table lies in the header (offset %d)", l.table)
	}
	tail := f.size - l.table - l.length
	exact := f.peDigest(l, true)
	check := func(in *indirect, x *finding) {
		f.compare(exact)(in, x)
		if tail > 0 {
			// Windows and the loader take no signature from a table that is not at the end.
			x.fail(appended, "%d bytes after the certificate table", tail)
		}
	}
	entries := 0
	for at, end := l.table, l.table+l.length; end-at >= 8; {
		head, err := f.bytes(at, 8)
		if err != nil {
			return errors.New("the certificate table is cut off")
		}
		size := int64(binary.LittleEndian.Uint32(head))
		kind := binary.LittleEndian.Uint16(head[6:])
		if size == 0 && entries > 0 && f.zeros(at, end) {
			break
		}
		if size < 8 || size > end-at {
			return fmt.Errorf("entry %d of the certificate table claims %d bytes of %d", entries+1, size, end-at)
		}
		if entries++; entries > maxFound {
			return fmt.Errorf("more than %d entries in the certificate table", maxFound)
		}
		switch kind {
		case winCertPKCS:
			if size > maxCMS {
				f.add(&finding{kind: "Authenticode", state: malformed, why: fmt.Sprintf("a signature of %d bytes; at most %d are read", size, maxCMS)})
				break
			}
			blob, err := f.bytes(at+8, size-8)
			if err != nil {
				return errors.New("the certificate table is cut off")
			}
			before := len(f.found)
			f.authenticode("Authenticode", blob, check)
			if before < len(f.found) {
				d := &der{b: blob}
				d.next()
				if hidden := len(bytes.TrimRight(d.b, "\x00")); d.err == nil && hidden > 0 {
					f.found[before].remark("%d bytes after the signature in its entry of the certificate table, which nothing signs", hidden)
				} else if d.err == nil && len(d.b) > 4096 {
					f.found[before].remark("%d zero bytes after the signature in its entry", len(d.b))
				}
			}
		case winCertEFI, winCertGUID:
			f.add(&finding{kind: "EFI", state: unchecked, signer: "", why: fmt.Sprintf("an entry of kind 0x%04x, which only firmware reads", kind)})
		default:
			f.add(&finding{kind: "WIN_CERTIFICATE", state: unchecked, why: fmt.Sprintf("an entry of the unknown kind 0x%04x", kind)})
		}
		at += (size + 7) &^ 7
	}
	return nil
}

// zeros reports whether there are only zeros in a stretch, of which a little is looked at.
func (f *file) zeros(from, to int64) bool {
	b, err := f.bytes(from, min(to-from, 64<<10))
	return err == nil && len(bytes.TrimLeft(b, "\x00")) == 0
}
