package unpack

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	arHeader   = 60
	arMaxNames = 16 << 20 // bytes of the table of long names that are taken
)

// readAr tells the members of an ar: a static library, or a Debian package, whose members are themselves containers. Symbol tables are left out.
func readAr(c *container) error {
	magic, err := c.readAt(0, 8)
	if err != nil {
		return err
	}
	thin := string(magic) == "!<thin>\n"
	if !thin && string(magic) != "!<arch>\n" {
		return errors.New("it does not begin as it should")
	}
	var names []byte // the table of long names
	for at := int64(8); at < c.size; {
		if end, err := c.skipZeros(at); err != nil || end == c.size { // padding, as tapes have it
			return err
		}
		h, err := c.readAt(at, arHeader)
		if err != nil {
			if at == c.size-1 { // padding of the last member
				return nil
			}
			return fmt.Errorf("the header at %d: %w", at, errCut)
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if string(h[58:60]) != "`\n" || err != nil || size < 0 {
			return fmt.Errorf("the header at %d is damaged", at)
		}
		at += arHeader
		data, left := at, size
		name := strings.TrimRight(string(h[:16]), " ")
		stored := !thin
		switch {
		case name == "/" || name == "/SYM64/" || name == "__.SYMDEF" || name == "__.SYMDEF SORTED":
			stored, name = true, ""
		case name == "//":
			stored, name = true, ""
			if names, err = readSome(c.section(data, size), size, arMaxNames); err != nil {
				return fmt.Errorf("the table of names: %w", err)
			}
		case strings.HasPrefix(name, "#1/"): // BSD: the name stands before the data
			n, err := strconv.ParseInt(name[3:], 10, 64)
			if err != nil || n < 0 || n > size || n > maxPath {
				return fmt.Errorf("the header before %d has a damaged name", at)
			}
			b, err := c.readAt(data, int(n))
			if err != nil {
				return err
			}
			name = string(bytes.TrimRight(b, "\x00"))
			if strings.HasPrefix(name, "__.SYMDEF") {
				name = ""
			}
			data, left = data+n, size-n
		case strings.HasPrefix(name, "/"): // GNU: the name stands in the table
			if n, err := strconv.Atoi(name[1:]); err == nil && n >= 0 && n < len(names) {
				long := names[n:]
				if len(long) > maxPath {
					long = long[:maxPath]
				}
				if end := bytes.IndexByte(long, '\n'); end >= 0 {
					long = long[:end]
				}
				name = strings.TrimSuffix(string(long), "/")
			}
		default:
			name = strings.TrimSuffix(name, "/")
		}
		if name != "" {
			m := c.named(latin1Name([]byte(name)))
			m.Size = left
			if stored {
				m.Reader = c.stored(data, left)
			} else {
				m.Outside = "" // it names files beside itself
				m.Err = errors.New("a thin archive names its members and does not hold them")
			}
			if err := c.tell(m); err != nil {
				return err
			}
		}
		if !stored {
			continue
		}
		if size > c.size-at {
			return errCut
		}
		at += size + size&1
	}
	return nil
}
