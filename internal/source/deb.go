package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"spoor/internal/intel"
)

// A .deb is an ar archive of debian-binary, a control archive and a data archive. The control archive holds, beside what the package is called, the MD5
// of every file that it installs. The data archive is not opened.

const arMagic = "!<arch>\n"

func sniffDeb(s *sample) int {
	if bytes.HasPrefix(s.head, []byte(arMagic+"debian-binary")) {
		return 100
	}
	return 0
}

func readDeb(r *reader) error {
	damaged := func(why string, args ...any) error {
		return &intel.Refusal{Reason: "deb: " + fmt.Sprintf(why, args...)}
	}
	// What cannot be read on is the input's own fault, or the walk's bounds.
	cut := func(what string, err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("the input ends within %s", what)
		}
		return err
	}
	h := r.hashed()
	var head [60]byte
	if _, err := io.ReadFull(h, head[:len(arMagic)]); err != nil {
		return cut("its first bytes", err)
	}
	if string(head[:len(arMagic)]) != arMagic {
		return damaged("it does not begin as an ar archive")
	}
	var control, sums []byte
	found, data := false, false
	for {
		if _, err := io.ReadFull(h, head[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return cut("the head of a member", err)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/")
		size, err := strconv.ParseUint(strings.TrimRight(string(head[48:58]), " "), 10, 40)
		if err != nil || string(head[58:]) != "`\n" {
			return damaged("the head of the member %.16q is none", name)
		}
		body := &io.LimitedReader{R: h, N: int64(size)}
		switch {
		case strings.HasPrefix(name, "control.tar") && !found:
			found = true
			if control, sums, err = readDebControl(name, body); err != nil {
				if r.ctx.Err() != nil {
					return r.ctx.Err()
				}
				return damaged("%s: %s", name, short(cause(err)))
			}
		case strings.HasPrefix(name, "data.tar"):
			data = true
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if body.N > 0 {
			return damaged("the input ends within the member %.16q", name)
		}
		if size%2 == 1 { // the last may lack its padding
			if _, err := io.ReadFull(h, head[:1]); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	if !found || !data {
		return damaged("it has no control archive or no data archive")
	}
	of, version := "", ""
	for line := range bytes.Lines(control) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Package":
			of = string(bytes.TrimSpace(value))
		case "Version":
			version = string(bytes.TrimSpace(value))
		}
	}
	c, err := r.pack(h, strings.TrimSpace(of+" "+version))
	if err != nil {
		return err
	}
	number := int64(0)
	for line := range bytes.Lines(sums) {
		number++
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		if r.result.Records > maxFiles {
			r.refuse(number, "md5sums", fmt.Sprintf("more than %d files: the rest is left", maxFiles))
			return nil
		}
		r.result.Records++
		sum, name, named, ok := parseSum(line)
		if !ok || named != 0 {
			r.refuse(number, "md5sums", "no line of an MD5 and a path")
			continue
		}
		if md5 := r.namedHash(number, "md5sums", string(sum), intel.MD5); !md5.IsZero() {
			if err := r.member(c, number, md5, string(name), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDebControl reads the two members of a control archive that matter here. A package that installs no files has no md5sums.
func readDebControl(name string, packed io.Reader) (control, sums []byte, err error) {
	in := packed
	switch path.Ext(name) {
	case ".tar":
	case ".gz":
		if in, err = gzip.NewReader(packed); err != nil {
			return nil, nil, err
		}
	case ".xz":
		if in, err = xz.NewReader(packed, maxXZWindow); err != nil {
			return nil, nil, err
		}
	case ".zst":
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, nil, err
		}
		defer z.Close()
		in = z
	default:
		return nil, nil, errors.New("packed in a way that is not read")
	}
	unpacked := &io.LimitedReader{R: in, N: maxControl}
	for t := tar.NewReader(unpacked); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			if unpacked.N == 0 {
				err = fmt.Errorf("it unpacks to more than %d bytes", maxControl)
				return nil, nil, err
			}
			return control, sums, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		switch path.Clean(h.Name) {
		case "control":
			control, err = bounded(t, maxLine)
		case "md5sums":
			sums, err = bounded(t, maxControl)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}
