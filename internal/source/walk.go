package source

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"spoor/internal/intel"
)

// The bounds on what one file on disk may unfold to.
const (
	maxNesting = 4       // archives within archives
	maxMembers = 100_000 // of all archives in the file
	maxRatio   = 300     // unpacked to packed bytes, once more than freeBytes are unpacked
	freeBytes  = 1 << 30
	maxSpool   = 8 << 30 // of one zip within another archive, which must be kept on disk to be read

	maxXZWindow = 64 << 20 // bytes, which is what xz -9 asks for
)

// Visit takes the inputs that Walk finds. An error ends the walk and comes back from it, unless it is that the input's own bytes cannot be
// read on: then the input is refused, and the walk goes on.
type Visit func(in *Input) error

// Walk visits every input under the paths: files, directories in the order of their names, and the members of zip, gz, bz2, zst, xz and tar,
// also within each other. What cannot be opened is refused, and the rest goes on. It fails when a path that was named is not there.
func Walk(ctx context.Context, paths []string, visit Visit, refuse func(intel.Refusal)) error {
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("opening %s: %w", p, err)
		}
		if !info.IsDir() {
			if err := walkFile(ctx, p, visit, refuse); err != nil {
				return err
			}
			continue
		}
		// With its separator a path that is a link to a directory is taken for the directory.
		err = filepath.WalkDir(p+string(filepath.Separator), func(name string, entry fs.DirEntry, err error) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err != nil {
				refuse(intel.Refusal{Input: name, Reason: err.Error()})
				if entry != nil && entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if entry.IsDir() || junk(name) {
				return nil
			}
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
				return nil // sockets, pipes, dangling links
			}
			return walkFile(ctx, name, visit, refuse)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// junk reports whether a path is what a Mac leaves in archives and folders.
func junk(name string) bool {
	name = filepath.ToSlash(name)
	return strings.Contains("/"+name, "/__MACOSX/") || path.Base(name) == ".DS_Store" || strings.HasPrefix(path.Base(name), "._")
}

func walkFile(ctx context.Context, name string, visit Visit, refuse func(intel.Refusal)) error {
	f, err := os.Open(name)
	if err != nil {
		refuse(intel.Refusal{Input: name, Reason: err.Error()})
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		refuse(intel.Refusal{Input: name, Reason: err.Error()})
		return nil
	}
	u := &unpacker{ctx: ctx, visit: visit, refuse: refuse, packed: max(info.Size(), 1)}
	return u.whole(name, f, f, info.Size())
}

// WalkReader visits the inputs in a stream, as Walk does in a file.
func WalkReader(ctx context.Context, name string, r io.Reader, visit Visit, refuse func(intel.Refusal)) error {
	u := &unpacker{ctx: ctx, visit: visit, refuse: refuse, packed: freeBytes}
	return u.whole(name, r, nil, -1)
}

// unpacker unfolds one file on disk.
type unpacker struct {
	ctx      context.Context
	visit    Visit
	refuse   func(intel.Refusal)
	packed   int64
	unpacked int64
	members  int
}

// whole visits what the file or stream holds.
func (u *unpacker) whole(name string, r io.Reader, at io.ReaderAt, size int64) error {
	err := u.open(name, r, at, size, 0)
	var g *givenUp
	if errors.As(err, &g) {
		u.refuse(intel.Refusal{Input: name, Reason: g.Error()})
		return nil
	}
	return err
}

// givenUp says that a file unfolds to more than a bound: all the rest of it is left.
type givenUp struct{ why string }

func (g *givenUp) Error() string { return g.why + ": the rest of it is given up" }

var errBomb = &givenUp{fmt.Sprintf("it unpacks to more than %d times its size", maxRatio)}

// counted bounds what is unpacked, all layers together.
type counted struct {
	u   *unpacker
	r   io.Reader
	err error // comes again: who looks ahead may pass over it once
}

func (c *counted) Read(p []byte) (n int, err error) {
	if c.err == nil {
		c.err = c.u.ctx.Err()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, c.err = c.r.Read(p)
	c.u.unpacked += int64(n)
	if c.u.unpacked > freeBytes && c.u.unpacked/maxRatio > c.u.packed {
		c.err = errBomb
	}
	return n, c.err
}

// open visits a stream that is said to have at least size bytes, -1 when nothing is said, or what is packed in it. at, when not nil, reads the
// same bytes at any place, and they are as many.
func (u *unpacker) open(name string, r io.Reader, at io.ReaderAt, size int64, depth int) error {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(512)
	var over *givenUp
	switch {
	case u.ctx.Err() != nil:
		return u.ctx.Err()
	case errors.As(err, &over):
		return err
	case err != nil && !errors.Is(err, io.EOF) && len(head) == 0:
		u.refuse(intel.Refusal{Input: name, Reason: "reading: " + cause(err)})
		return nil
	}
	kind := packing(head)
	if kind != "" && depth >= maxNesting {
		u.refuse(intel.Refusal{Input: name, Reason: fmt.Sprintf("packed more than %d times over", maxNesting)})
		return nil
	}
	// Only a fault of the packing is this input's own; an error of the visitor ends the walk.
	fault := func(err error) error {
		if err == nil {
			return nil
		}
		var v *visitError
		if errors.As(err, &v) || errors.As(err, &over) || u.ctx.Err() != nil {
			return err
		}
		u.refuse(intel.Refusal{Input: name, Reason: kind + ": " + cause(err)})
		return nil
	}
	switch kind {
	case "zip":
		return fault(u.zip(name, buffered, at, size, depth))
	case "gzip":
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fault(err)
		}
		z.Multistream(false)
		return u.open(inner(name, ".gz", ".tgz"), &counted{u: u, r: &gzipMembers{z, buffered}}, nil, size, depth+1)
	case "bzip2":
		return u.open(inner(name, ".bz2"), &counted{u: u, r: bzip2.NewReader(buffered)}, nil, size, depth+1)
	case "zstd":
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return fault(err)
		}
		defer z.Close()
		return u.open(inner(name, ".zst"), &counted{u: u, r: z}, nil, size, depth+1)
	case "xz":
		z, err := xz.NewReader(buffered, maxXZWindow)
		if err != nil {
			return fault(err)
		}
		return u.open(inner(name, ".xz", ".txz"), &counted{u: u, r: z}, nil, size, depth+1)
	case "tar":
		return fault(u.tar(name, buffered, depth))
	}
	in := NewInput(name, buffered)
	in.Size = max(size, 0)
	if err := u.visit(in); err != nil {
		var own *streamError
		switch {
		case u.ctx.Err() != nil || !errors.As(err, &own):
			return &visitError{err}
		case errors.As(own, &over):
			return own
		}
		u.refuse(intel.Refusal{Input: name, Reason: "reading: " + cause(own)})
	}
	return nil
}

// cause is what an error says without the path, which the refusal names itself; that of a zip kept in a file for a while says nothing.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// gzipMembers reads the members of a gzip one after another, and passes over what stands behind the last, as gzip does.
type gzipMembers struct {
	z  *gzip.Reader
	in *bufio.Reader
}

func (g *gzipMembers) Read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) {
				err = nil // the next call tells
			}
			return n, err
		}
		head, err := g.in.Peek(2)
		switch {
		case len(head) < 2 && err != nil && !errors.Is(err, io.EOF):
			return 0, err
		case !bytes.Equal(head, []byte{0x1F, 0x8B}):
			return 0, io.EOF
		}
		if err := g.z.Reset(g.in); err != nil {
			return 0, err
		}
		g.z.Multistream(false)
	}
}

// visitError marks an error that is not the archive's.
type visitError struct{ err error }

func (v *visitError) Error() string { return v.err.Error() }
func (v *visitError) Unwrap() error { return v.err }

// packing recognises what an input is packed with, "" when it is not.
func packing(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return "zip"
	case bytes.HasPrefix(head, []byte{0x1F, 0x8B, 8}):
		return "gzip"
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) > 10 && bytes.Equal(head[4:10], []byte{0x31, 0x41, 0x59, 0x26, 0x53, 0x59}):
		return "bzip2"
	case bytes.HasPrefix(head, []byte{0x28, 0xB5, 0x2F, 0xFD}):
		return "zstd"
	case bytes.HasPrefix(head, []byte("\xFD7zXZ\x00")):
		return "xz"
	case len(head) >= 265 && bytes.Equal(head[257:262], []byte("ustar")):
		return "tar"
	}
	return ""
}

// inner is the name of what is in a stream that packs one file.
func inner(name string, suffixes ...string) string {
	for _, s := range suffixes {
		if strings.HasSuffix(strings.ToLower(name), s) {
			cut := name[:len(name)-len(s)]
			if s == ".tgz" || s == ".txz" {
				cut += ".tar"
			}
			return name + "!" + cut[strings.LastIndexAny(filepath.ToSlash(cut), "/!")+1:]
		}
	}
	return name + "!"
}

func (u *unpacker) member() error {
	if u.members++; u.members > maxMembers {
		return &givenUp{fmt.Sprintf("it holds more than %d members", maxMembers)}
	}
	return u.ctx.Err()
}

func (u *unpacker) tar(name string, r io.Reader, depth int) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// What follows the last member is padding, but reading it tells whether what the tar is packed in is whole.
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		if err := u.member(); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || junk(h.Name) {
			continue
		}
		// Counted, because a sparse member unfolds, too.
		if err := u.open(name+"!"+cleanName(h.Name), &counted{u: u, r: t}, nil, h.Size, depth+1); err != nil {
			return err
		}
	}
}

// cleanName makes a member's name fit to be told: UTF-8 of bounded length, without what a terminal obeys.
func cleanName(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			return '?'
		}
		return c
	}, short(strings.ToValidUTF8(s, "?")))
}

// zipMethods names the methods of packing that are not read.
var zipMethods = map[uint16]string{1: "shrink", 6: "implode", 9: "deflate64", 14: "LZMA", 95: "xz", 98: "PPMd", 99: "AES"}

func (u *unpacker) zip(name string, r io.Reader, at io.ReaderAt, size int64, depth int) error {
	if at == nil { // a zip is read from its end: one within a stream goes through a file
		f, err := os.CreateTemp("", "spoor-zip-*")
		if err != nil {
			return &visitError{fmt.Errorf("unpacking %s: %w", name, err)}
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if size, err = io.Copy(f, io.LimitReader(r, maxSpool+1)); err != nil {
			return err
		}
		if size > maxSpool {
			return fmt.Errorf("a zip of more than %d bytes within another archive", int64(maxSpool))
		}
		at = f
	}
	z, err := zip.NewReader(at, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor())
	z.RegisterDecompressor(zstd.ZipMethodPKWare, zstd.ZipDecompressor())
	z.RegisterDecompressor(12, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	for _, f := range z.File {
		if err := u.member(); err != nil {
			return err
		}
		if !f.Mode().IsRegular() || junk(f.Name) {
			continue
		}
		member := name + "!" + cleanName(f.Name)
		if f.Flags&1 != 0 {
			u.refuse(intel.Refusal{Input: member, Reason: "encrypted; unpack it first"})
			continue
		}
		m, err := f.Open()
		if errors.Is(err, zip.ErrAlgorithm) {
			method, ok := zipMethods[f.Method]
			if !ok {
				method = fmt.Sprintf("method %d", f.Method)
			}
			u.refuse(intel.Refusal{Input: member, Reason: "packed with " + method + ", which is not read; unpack it first"})
			continue
		}
		if err != nil {
			u.refuse(intel.Refusal{Input: member, Reason: "zip: " + cause(err)})
			continue
		}
		err = u.open(member, &counted{u: u, r: m}, nil, int64(min(f.UncompressedSize64, math.MaxInt64)), depth+1)
		m.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
