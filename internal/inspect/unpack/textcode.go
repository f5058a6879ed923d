package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// textLines calls each with every line, the offset where it begins, and the offset behind it. A line longer than 64 KiB is passed over.
func (c *container) textLines(each func(line []byte, from, to int64) error) error {
	l := lineReader{r: bufio.NewReaderSize(c.section(0, c.size), mailLine)}
	for {
		from := l.at
		line, whole, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !whole || l.in {
			continue
		}
		if err := each(bytes.TrimRight(line, "\r\n"), from, l.at); err != nil {
			return err
		}
	}
}

var uuLine = regexp.MustCompile(`^begin(-base64)? [0-7]{3,4} (.+)`)

// readUU tells the files that are uuencoded in a text, by the names that they begin with.
func readUU(c *container) error {
	end := "" // of the file that the lines are in
	files := 0
	err := c.textLines(func(line []byte, from, to int64) error {
		if end != "" {
			if string(bytes.TrimRight(line, " ")) == end {
				end = ""
			}
			return nil
		}
		m := uuLine.FindSubmatch(line)
		if m == nil {
			return nil
		}
		files++
		end = "end"
		t := Member{Path: cleanPath(strings.ReplaceAll(latin1Name(m[2]), "/", "_")), Size: -1}
		if t.Path == "" {
			t.Path = fmt.Sprintf("file-%d", files)
		}
		if len(m[1]) > 0 {
			end = "===="
			t.Reader = &lazyReader{open: func() (io.Reader, error) {
				return &base64Reader{r: bufio.NewReaderSize(&untilLine{lines: c.lines(to), end: end}, 16<<10)}, nil
			}}
		} else {
			t.Reader = &lazyReader{open: func() (io.Reader, error) { return &uuReader{lines: c.lines(from)}, nil }}
		}
		return c.tell(t)
	})
	switch {
	case err != nil:
		return err
	case files == 0:
		return errors.New("no line begins a file")
	case end != "":
		return errCut
	}
	return nil
}

func (c *container) lines(from int64) lineReader {
	return lineReader{r: bufio.NewReaderSize(c.section(from, c.size-from), mailLine)}
}

// untilLine reads up to a line.
type untilLine struct {
	lines lineReader
	end   string
	out   []byte
}

func (u *untilLine) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(u.out) == 0 {
		line, whole, err := u.lines.next()
		if err != nil {
			return 0, err
		}
		if whole && string(bytes.TrimRight(line, " \r\n")) == u.end {
			return 0, io.EOF
		}
		u.out = line
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// readYEnc tells the files, or parts of files, that are encoded by yEnc.
func readYEnc(c *container) error {
	inside := false
	files := 0
	err := c.textLines(func(line []byte, _, to int64) error {
		if inside {
			inside = !bytes.HasPrefix(line, []byte("=yend"))
			return nil
		}
		rest, ok := bytes.CutPrefix(line, []byte("=ybegin "))
		if !ok {
			return nil
		}
		files++
		inside = true
		params, name, _ := strings.Cut(string(rest), "name=")
		t := Member{Path: cleanPath(strings.ReplaceAll(latin1Name([]byte(strings.TrimSpace(name))), "/", "_")), Size: -1}
		if t.Path == "" {
			t.Path = fmt.Sprintf("file-%d", files)
		}
		size, part := yencNumber(params, "size="), yencNumber(params, "part=")
		if part > 0 {
			t.Path += fmt.Sprintf(".%03d", part)
		} else {
			t.Size = size
		}
		t.Reader = &lazyReader{open: func() (io.Reader, error) {
			return &yencReader{lines: c.lines(to), part: part > 0, crc: crc32.NewIEEE()}, nil
		}}
		return c.tell(t)
	})
	switch {
	case err != nil:
		return err
	case files == 0:
		return errors.New("no line begins a file")
	case inside:
		return errCut
	}
	return nil
}

// yencNumber is a parameter, -1 when it is not there.
func yencNumber(params, key string) int64 {
	for _, p := range strings.Fields(params) {
		if v, ok := strings.CutPrefix(p, key); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}

// yencReader decodes up to the line =yend, whose checksum and length it compares.
type yencReader struct {
	lines lineReader
	part  bool
	crc   hash.Hash32
	n     int64
	out   []byte
	split bool // a line's piece ended at an escape
}

func (y *yencReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(y.out) == 0 {
		line, whole, err := y.lines.next()
		if err == io.EOF {
			err = errCut
		}
		if err != nil {
			return 0, err
		}
		if !y.lines.in {
			line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		}
		if whole {
			y.split = false
			if bytes.HasPrefix(line, []byte("=ypart ")) {
				continue
			}
			if bytes.HasPrefix(line, []byte("=yend")) {
				return 0, y.end(string(line))
			}
		}
		y.out = make([]byte, 0, len(line))
		for _, b := range line {
			switch {
			case y.split:
				y.out, y.split = append(y.out, b-64-42), false
			case b == '=':
				y.split = true
			default:
				y.out = append(y.out, b-42)
			}
		}
		y.crc.Write(y.out)
		y.n += int64(len(y.out))
	}
	n := copy(p, y.out)
	y.out = y.out[n:]
	return n, nil
}

func (y *yencReader) end(line string) error {
	if size := yencNumber(line, "size="); size >= 0 && size != y.n {
		return fmt.Errorf("it has %d bytes where its last line says %d", y.n, size)
	}
	key := "crc32="
	if y.part {
		key = "pcrc32="
	}
	for _, p := range strings.Fields(line) {
		if v, ok := strings.CutPrefix(p, key); ok {
			if want, err := strconv.ParseUint(v, 16, 32); err == nil && uint32(want) != y.crc.Sum32() {
				return errChecksum
			}
		}
	}
	return io.EOF
}
