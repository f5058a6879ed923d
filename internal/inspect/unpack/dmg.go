package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
)

const (
	dmgTrailer   = 512
	dmgSector    = 512
	dmgMaxPlist  = 16 << 20
	dmgMaxDepth  = 100 // elements of the property list
	dmgHead      = 204 // bytes before the runs of a partition
	dmgRun       = 40
	dmgZero      = 0
	dmgRaw       = 1
	dmgIgnored   = 2
	dmgADC       = 0x80000004
	dmgZlib      = 0x80000005
	dmgBzip2     = 0x80000006
	dmgLZFSE     = 0x80000007
	dmgXZ        = 0x80000008
	dmgComment   = 0x7ffffffe
	dmgEndOfRuns = 0xffffffff
)

// readDMG tells the partitions of an Apple disk image. What they hold is a file system, which is a container of its own or none that is read.
func readDMG(c *container) error {
	t, err := c.readAt(c.size-dmgTrailer, dmgTrailer)
	if err != nil || string(t[:4]) != "koly" {
		return errors.New("it does not end as it should")
	}
	be := binary.BigEndian
	data, from, n := int64(be.Uint64(t[0x18:])), int64(be.Uint64(t[0xd8:])), int64(be.Uint64(t[0xe0:]))
	if n == 0 {
		return errors.New("it has no property list: its partitions are told by a resource fork, which is not read")
	}
	if data < 0 || data > c.size || from < 0 || from > c.size || n < 0 || n > c.size-from {
		return errCut
	}
	if n > dmgMaxPlist {
		return fmt.Errorf("the property list is longer than %d bytes", dmgMaxPlist)
	}
	d := xml.NewDecoder(c.section(from, n))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var (
		depth     int
		blkx      bool // inside of the array of partitions, which stands at depth inside
		inside    int
		key, last string
		name      string
		table     []byte
		text      []byte
		told      int
	)
	for {
		token, err := d.RawToken()
		if err == io.EOF && depth == 0 {
			if told == 0 {
				return errors.New("the property list names no partition")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("the property list: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > dmgMaxDepth {
				return fmt.Errorf("the property list is nested deeper than %d levels", dmgMaxDepth)
			}
			text = text[:0]
			if t.Name.Local == "array" && key == "blkx" {
				blkx, inside = true, depth
			}
			if t.Name.Local == "dict" && blkx {
				name, table = "", nil
			}
			last, key = key, ""
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			if depth--; depth < 0 {
				return errors.New("the property list is damaged")
			}
			switch t.Name.Local {
			case "key":
				key = strings.TrimSpace(string(text))
			case "string":
				if last == "Name" || last == "CFName" && name == "" {
					name = string(text)
				}
			case "data":
				if last == "Data" && blkx {
					if table, err = base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil))); err != nil {
						table = nil
					}
				}
			case "dict":
				if blkx && depth == inside {
					told++
					if err := c.dmgPartition(name, table, data); err != nil {
						return err
					}
				}
			case "array":
				blkx = blkx && depth >= inside
			}
			text = text[:0]
		}
	}
}

// dmgPartition tells a partition of a table of runs. Runs lie behind data in the file.
func (c *container) dmgPartition(name string, table []byte, data int64) error {
	be := binary.BigEndian
	m := Member{Path: cleanPath(strings.ReplaceAll(strings.TrimSpace(name), "/", "_")), Size: -1}
	if len(table) < dmgHead || string(table[:4]) != "mish" {
		m.Err = errors.New("its table of runs is damaged")
		return c.tell(m)
	}
	sectors, off := be.Uint64(table[16:]), int64(be.Uint64(table[24:]))
	runs := table[dmgHead:]
	if n := be.Uint32(table[200:]); sectors > 1<<50 || uint64(n) > uint64(len(runs)/dmgRun) {
		m.Err = errors.New("its table of runs is damaged")
		return c.tell(m)
	}
	m.Size = int64(sectors) * dmgSector
	m.Reader = &exactReader{r: &dmgReader{c: c, runs: runs[:int(be.Uint32(table[200:]))*dmgRun], base: data + off}, left: m.Size}
	return c.tell(m)
}

// dmgReader reads a partition run by run.
type dmgReader struct {
	c    *container
	runs []byte
	base int64
	at   uint64 // sectors that were given
	cur  io.Reader
}

func (r *dmgReader) Read(p []byte) (int, error) {
	for {
		if r.cur != nil {
			n, err := r.cur.Read(p)
			if err == io.EOF {
				r.cur, err = nil, nil
			}
			if n > 0 || err != nil || len(p) == 0 {
				return n, err
			}
			continue
		}
		if len(r.runs) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
}

// next opens the next run.
func (r *dmgReader) next() error {
	be := binary.BigEndian
	run := r.runs[:dmgRun]
	r.runs = r.runs[dmgRun:]
	kind, start, sectors := be.Uint32(run), be.Uint64(run[8:]), be.Uint64(run[16:])
	from, n := int64(be.Uint64(run[24:])), int64(be.Uint64(run[32:]))
	if kind == dmgComment || kind == dmgEndOfRuns {
		return nil
	}
	if start != r.at || sectors > 1<<50 {
		return errors.New("the runs are out of order")
	}
	r.at += sectors
	size := int64(sectors) * dmgSector
	if kind == dmgZero || kind == dmgIgnored {
		r.cur = io.LimitReader(zeroReader{}, size)
		return nil
	}
	if from < 0 || n < 0 || from > r.c.size-r.base || n > r.c.size-r.base-from {
		return errCut
	}
	packed := r.c.section(r.base+from, n)
	var unpacked io.Reader
	var err error
	switch kind {
	case dmgRaw:
		unpacked = packed
	case dmgZlib:
		unpacked, err = zlib.NewReader(packed)
	case dmgBzip2:
		unpacked = bzip2.NewReader(packed)
	case dmgXZ:
		unpacked = newXZReader(packed, r.c)
	case dmgADC:
		unpacked = &adcReader{in: buffered(packed), window: ring{buf: make([]byte, 1<<17)}}
	case dmgLZFSE:
		unpacked = newLZFSE(buffered(packed), lzfseWindow)
	default:
		err = fmt.Errorf("compression 0x%x is not known", kind)
	}
	if err != nil {
		return err
	}
	r.cur = &exactReader{r: unpacked, left: size}
	return nil
}

// zeroReader gives zeros without end.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// adcReader decompresses what Apple calls ADC: bytes as they are, and matches of two lengths.
type adcReader struct {
	in       *bufio.Reader
	window   ring // at least twice the longest distance
	literals int
	match    int // bytes of it to come
	distance int
}

func (a *adcReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for a.window.out == a.window.pos {
		for a.window.free() > 0 && a.window.pos-a.window.out < len(p) {
			if err := a.step(); err == io.EOF && a.window.pos > a.window.out {
				break
			} else if err != nil {
				return 0, err
			}
		}
	}
	return a.window.take(p), nil
}

// step gives a byte.
func (a *adcReader) step() error {
	if a.literals == 0 && a.match == 0 {
		b, err := a.in.ReadByte()
		if err != nil {
			return err
		}
		var more [2]byte
		n := 2
		switch {
		case b&0x80 != 0:
			a.literals, n = int(b&0x7f)+1, 0
		case b&0x40 == 0:
			n = 1
		}
		if _, err := io.ReadFull(a.in, more[:n]); err != nil {
			return errCut
		}
		switch n {
		case 1:
			a.match, a.distance = int(b>>2)+3, (int(b&3)<<8|int(more[0]))+1
		case 2:
			a.match, a.distance = int(b&0x3f)+4, (int(more[0])<<8|int(more[1]))+1
		}
		if int64(a.distance) > a.window.total && a.match > 0 {
			return errors.New("the ADC data is damaged")
		}
	}
	if a.match > 0 {
		a.match--
		a.window.put(a.window.back(a.distance))
		return nil
	}
	b, err := a.in.ReadByte()
	if err != nil {
		return errCut
	}
	a.literals--
	a.window.put(b)
	return nil
}
