package source

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"

	"spoor/internal/intel"
)

// Package files state what they install: a .deb by the MD5 of each file in its control archive, an .rpm by a digest of each in its header. A package
// and its members are told as container and members. That anybody made a package does not make it good: it is listed in the feed that whoever imports
// it names, in that feed's zone, and its members with it only where the zone is green, for what is malicious as a package may install good files too.

// The bounds of a package.
const (
	maxControl = 64 << 20 // bytes that are kept of what tells the members
	maxFiles   = 1 << 20  // members that are told
)

// PackageFormat recognises a package file by its beginning; "" when it is none.
func PackageFormat(head []byte) Format {
	switch s := newSample("", head); {
	case sniffDeb(s) > 0:
		return Deb
	case sniffRPM(s) > 0:
		return RPM
	}
	return ""
}

// hashed reads the rest of an input and hashes all three ways.
type hashed struct {
	ctx    context.Context
	r      io.Reader
	md5    hash.Hash
	sha1   hash.Hash
	sha256 hash.Hash
	n      int64
}

func (r *reader) hashed() *hashed {
	return &hashed{ctx: r.ctx, r: r.in, md5: md5.New(), sha1: sha1.New(), sha256: sha256.New()}
}

func (h *hashed) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	for _, sum := range []hash.Hash{h.md5, h.sha1, h.sha256} {
		sum.Write(p[:n])
	}
	h.n += int64(n)
	return n, err
}

// hashes returns the hashes of what has been read.
func (h *hashed) hashes() (file intel.Hashes) {
	for _, sum := range []hash.Hash{h.md5, h.sha1, h.sha256} {
		if one, err := intel.ParseHash(fmt.Sprintf("%x", sum.Sum(nil))); err == nil {
			file.Set(one)
		}
	}
	return file
}

// container is a package that was read whole.
type container struct {
	file intel.Hashes
	size int64
	of   string // its name and version
	feed string
	name string
}

// pack tells of a package itself.
func (r *reader) pack(h *hashed, of string) (*container, error) {
	name := strings.ReplaceAll(r.name, `\`, "/")
	c := &container{file: h.hashes(), size: h.n, of: clean(of), feed: r.feed(""), name: clean(name[strings.LastIndexAny(name, "/!")+1:])}
	r.result.Records++
	return c, r.good(0, c.feed, good{file: c.file, of: c.of, name: c.name, size: fmt.Sprint(c.size)})
}

// member tells of a file that a package installs at a path. size is "" when the package does not say it.
func (r *reader) member(c *container, line int64, h intel.Hash, path, size string) error {
	path = clean(path)
	o := intel.Observation{Source: r.feedSource(c.feed), Time: r.o.Now, Fact: intel.Relation{Verb: intel.Contains,
		From: intel.Object{Hashes: c.file, Name: c.name}, To: intel.Object{Hashes: intel.HashesOf(h), Path: path}}}
	if err := r.observe(line, &o); err != nil {
		return err
	}
	if r.o.Zone != intel.Green {
		r.result.Used++
		return nil
	}
	return r.good(line, c.feed, good{file: intel.HashesOf(h), of: c.of, name: path, size: size})
}

// bounded reads all of a stream that is no longer than a bound; what is longer is refused.
func bounded(in io.Reader, most int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(in, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b.Bytes(), err
}
