package unpack

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An archive of PyInstaller's modules (PYZ) is their code, each compressed by itself, and a table in Python's own format of data (marshal): pairs of a name and
// of kind, place and length.

const (
	pyzHead     = 12
	pyzMaxTable = 16 << 20
	pyzMaxDepth = 8 // of data in data
	pyzMaxCount = 1 << 20
)

func readPYZ(c *container) error {
	h, err := c.readAt(0, pyzHead)
	if err != nil {
		return err
	}
	if string(h[:4]) != "PYZ\x00" {
		return errors.New("it does not begin as it should")
	}
	at := int64(binary.BigEndian.Uint32(h[8:]))
	if at > c.size {
		return errCut
	}
	table, err := readSome(c.section(at, c.size-at), c.size-at, pyzMaxTable)
	if err != nil {
		return fmt.Errorf("the table: %w", err)
	}
	m := &marshal{b: table}
	all, ok := m.value(0).([]any)
	if m.err == nil && !ok {
		m.err = errMarshal
	}
	if m.err != nil {
		return fmt.Errorf("the table: %w", m.err)
	}
	for _, e := range all {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			return fmt.Errorf("the table: %w", errMarshal)
		}
		name, named := pair[0].(string)
		place, _ := pair[1].([]any)
		if !named || len(place) != 3 {
			return fmt.Errorf("the table: %w", errMarshal)
		}
		kind, _ := place[0].(int64)
		from, ok1 := place[1].(int64)
		n, ok2 := place[2].(int64)
		if !ok1 || !ok2 {
			return fmt.Errorf("the table: %w", errMarshal)
		}
		const namespace = 3 // a folder of modules, which has no code
		if kind == namespace || n == 0 {
			continue
		}
		member := Member{Path: cleanPath(latin1Name([]byte(name))), Size: -1}
		if from < 0 || n < 0 || from > at || n > at-from {
			member.Err = errCut
		} else {
			data := c.stored(from, n)
			member.Reader = &lazyReader{open: func() (io.Reader, error) {
				z, err := zlib.NewReader(buffered(data))
				if err == zlib.ErrHeader {
					err = errors.New("it is encrypted, or damaged")
				}
				return z, err
			}}
		}
		if err := c.tell(member); err != nil {
			return err
		}
	}
	return nil
}

var errMarshal = errors.New("the data of Python are damaged, or of a kind that is not known")

// marshal reads what Python's module of that name writes, as far as tables need it: numbers, texts, and lists, tuples and dictionaries of them. The
// latter are all []any; of a dictionary, pairs.
type marshal struct {
	b     []byte
	refs  []any
	count int
	err   error
}

func (m *marshal) fail() any {
	if m.err == nil {
		m.err = errMarshal
	}
	return nil
}

func (m *marshal) take(n int) []byte {
	if n < 0 || n > len(m.b) {
		m.fail()
		return make([]byte, 4) // enough for a number
	}
	b := m.b[:n]
	m.b = m.b[n:]
	return b
}

func (m *marshal) number() int { return int(int32(binary.LittleEndian.Uint32(m.take(4)))) }

func (m *marshal) value(depth int) any {
	if m.count++; m.err != nil || depth > pyzMaxDepth || m.count > pyzMaxCount || len(m.b) == 0 {
		return m.fail()
	}
	kind := m.b[0]
	m.b = m.b[1:]
	const kept = 0x80 // it may be referred to later
	at := -1
	if kind&kept != 0 {
		at = len(m.refs)
		m.refs = append(m.refs, nil)
		kind &^= kept
	}
	var v any
	switch kind {
	case 'N':
	case 'T':
		v = int64(1)
	case 'F':
		v = int64(0)
	case 'i':
		v = int64(m.number())
	case 's', 't', 'u', 'a', 'A':
		v = string(m.take(m.number()))
	case 'z', 'Z':
		v = string(m.take(int(m.take(1)[0])))
	case '(', '[', ')':
		n := 0
		if kind == ')' {
			n = int(m.take(1)[0])
		} else {
			n = m.number()
		}
		var list []any
		for ; n > 0 && m.err == nil; n-- {
			list = append(list, m.value(depth+1))
		}
		v = list
	case '{':
		var list []any
		for m.err == nil && (len(m.b) == 0 || m.b[0] != '0') {
			list = append(list, []any{m.value(depth + 1), m.value(depth + 1)})
		}
		m.take(1)
		v = list
	case 'r':
		n := m.number()
		if n < 0 || n >= len(m.refs) {
			return m.fail()
		}
		return m.refs[n]
	default:
		return m.fail()
	}
	if at >= 0 {
		m.refs[at] = v
	}
	return v
}
