package signature

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The kinds of WIN_CERTIFICATE.
const (
	winCertPKCS = 0x0002
	winCertEFI  = 0x0ef0
	winCertGUID = 0x0ef1

	winCertRevision = 0x0200 // the one that is read
)

// peLayout is where the parts of a PE are that its digest leaves out.
type peLayout struct {
	header    int64
	firmware  bool // a program for EFI firmware
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
	l.header, l.checksum = pe, opt+64
	count, err := f.bytes(opt+dirs-4, 4)
	if err != nil {
		return l, errors.New("the header is cut off")
	}
	if le.Uint32(count) < 5 || optSize < dirs+5*8 {
		return l, nil
	}
	if subsystem, err := f.bytes(opt+68, 2); err == nil {
		l.firmware = subsystem[0] >= 10 && subsystem[0] <= 13 && subsystem[1] == 0
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

// firmwareDigest is the digest as the format's description and firmware compute it: the headers, each section in the order of the file, and what
// the file has beyond as many bytes as these. It differs from peDigest where there are gaps between the sections, whose bytes it does not see.
func (f *file) firmwareDigest(l peLayout) func(crypto.Hash) ([]byte, error) {
	return f.memo(func(h crypto.Hash) ([]byte, error) {
		le := binary.LittleEndian
		head, err := f.bytes(l.header, 24)
		if err != nil {
			return nil, err
		}
		n := int64(le.Uint16(head[6:]))
		table, err := f.bytes(l.header+24+int64(le.Uint16(head[20:])), n*40)
		if err != nil {
			return nil, err
		}
		size, err := f.bytes(l.checksum-4, 4) // of the headers
		if err != nil {
			return nil, err
		}
		type section struct{ at, size int64 }
		var sections []section
		for ; len(table) > 0; table = table[40:] {
			if s := (section{int64(le.Uint32(table[20:])), int64(le.Uint32(table[16:]))}); s.size > 0 {
				sections = append(sections, s)
			}
		}
		slices.SortStableFunc(sections, func(a, b section) int { return cmp.Compare(a.at, b.at) })
		w := h.New()
		hashed := int64(le.Uint32(size))
		if err := errors.Join(
			f.copyTo(w, 0, l.checksum),
			f.copyTo(w, l.checksum+4, l.directory),
			f.copyTo(w, l.directory+8, hashed),
		); err != nil {
			return nil, err
		}
		for _, s := range sections {
			hashed += s.size
			if hashed > f.size { // sections that overlap would be read many times over
				return nil, errors.New("sections of more bytes than the file has")
			}
			if err := f.copyTo(w, s.at, s.at+s.size); err != nil {
				return nil, err
			}
		}
		if hashed < l.table {
			if err := f.copyTo(w, hashed, l.table); err != nil {
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
	exact, firmware := f.peDigest(l, true), f.firmwareDigest(l)
	check := func(in *indirect, x *finding) {
		asFirmware := false
		if got, err := exact(in.hash); l.firmware && err == nil && !bytes.Equal(got, in.digest) {
			got, err := firmware(in.hash)
			asFirmware = err == nil && bytes.Equal(got, in.digest)
		}
		if asFirmware {
			x.remark("its %s is right as firmware computes it, which does not see the bytes between the sections", digestName(in.hash))
		} else {
			f.compare(exact)(in, x)
		}
		f.checkPages(l, in, x)
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
		revision, kind := binary.LittleEndian.Uint16(head[4:]), binary.LittleEndian.Uint16(head[6:])
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
			if revision != winCertRevision {
				f.add(&finding{kind: "Authenticode", state: unchecked, why: fmt.Sprintf("an entry of the unknown revision 0x%04x", revision)})
				break
			}
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
