package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"spoor/internal/inspect/compound"
)

const rtfWord = "\\objdata"

// readRTF tells what the objects of a document hold: the file of a package, a compound file, or the native data of another class.
// Each object's digits are kept in memory only as the bytes that they mean.
func readRTF(c *container) error {
	r := bufio.NewReaderSize(c.section(0, c.size), mailLine)
	matched, n := 0, 0
	for {
		b, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case b == rtfWord[matched]:
			matched++
		case b == '\\':
			matched = 1
		default:
			matched = 0
		}
		if matched < len(rtfWord) {
			continue
		}
		matched = 0
		n++
		data, err := rtfData(r, c.o.Memory/2)
		m := Member{Path: fmt.Sprintf("object-%d", n), Size: -1, Err: err}
		if err == nil {
			var content []byte
			m.Path, content = rtfObject(m.Path, data)
			m.Size, m.Reader = int64(len(content)), bytes.NewReader(content)
		}
		if err := c.tell(m); err != nil {
			return err
		}
	}
}

// rtfData reads digits up to the end of their group. Control words and groups between them, which hide the digits from scanners, are passed over.
func rtfData(r *bufio.Reader, limit int64) ([]byte, error) {
	var out []byte
	high, depth := byte(16), 0
	for {
		b, err := r.ReadByte()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case b == '{':
			depth++
		case b == '}':
			if depth--; depth < 0 {
				return out, nil
			}
		case b == '\\':
			word, number := "", 0
			for first := true; ; first = false {
				next, err := r.ReadByte()
				if err != nil {
					break
				}
				letter := next|0x20 >= 'a' && next|0x20 <= 'z'
				if letter || !first && (next == '-' || next >= '0' && next <= '9') {
					if letter && len(word) < 32 {
						word += string(rune(next))
					} else if !letter && next != '-' && number < 1<<28 {
						number = number*10 + int(next-'0')
					}
					continue
				}
				if !first {
					if next != ' ' {
						r.UnreadByte()
					}
				} else if next == '\'' {
					r.Discard(2)
				}
				break
			}
			if word == "bin" && depth == 0 { // bytes that are no digits
				if int64(len(out)+number) > limit {
					return nil, errors.New("an object is larger than the memory that is allowed")
				}
				raw, err := readSome(r, int64(number), limit)
				out = append(out, raw...)
				if err != nil {
					return out, nil // the file ends in them
				}
			}
		case depth == 0:
			d := hexDigit(b)
			if d > 15 {
				continue
			}
			if high > 15 {
				high = d
				continue
			}
			if int64(len(out)) >= limit {
				return nil, errors.New("an object is larger than the memory that is allowed")
			}
			out = append(out, high<<4|d)
			high = 16
		}
	}
}

// rtfObject is what the data of an object hold, and its path.
func rtfObject(path string, b []byte) (string, []byte) {
	le := binary.LittleEndian
	rest := b
	text := func() (string, bool) {
		if len(rest) < 4 {
			return "", false
		}
		n := le.Uint32(rest)
		if rest = rest[4:]; int64(n) > int64(len(rest)) {
			return "", false
		}
		s := string(bytes.TrimRight(rest[:n], "\x00"))
		rest = rest[n:]
		return s, true
	}
	// The version is not looked at: what opens the file does not look either.
	if len(rest) >= 8 && le.Uint32(rest[4:]) == 2 {
		rest = rest[8:]
		class, ok := text()
		for range 2 { // the topic and the item
			if ok {
				_, ok = text()
			}
		}
		if ok && len(rest) >= 4 {
			n := le.Uint32(rest)
			native := rest[4:]
			if int64(n) < int64(len(native)) {
				native = native[:n]
			}
			if strings.EqualFold(class, "package") {
				// It has no length of its own here, as the stream of a compound file has.
				if name, content, err := olePackage(append(le.AppendUint32(nil, n), native...)); err == nil {
					return cleanPath(path + "/" + name), content
				}
			}
			if bytes.HasPrefix(native, []byte(compound.Magic)) {
				return path + ".ole", native
			}
			return path + ".bin", native
		}
	}
	if i := bytes.Index(b[:min(len(b), 4096)], []byte(compound.Magic)); i >= 0 {
		return path + ".ole", b[i:]
	}
	return path + ".bin", b
}
