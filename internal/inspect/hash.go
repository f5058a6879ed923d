package inspect

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"io"

	"spoor/internal/intel"
)

// Hasher makes the three hashes of what is written to it. MD5, the slowest, is made beside the other two.
type Hasher struct {
	md5, sha1, sha256 hash.Hash
	work              chan []byte // to the goroutine that makes the MD5; nil until there is enough to be worth one
	done              chan struct{}
	free              chan []byte // blocks to hand over, for the caller's bytes may change
	size              int64
}

// hashBlock is how much is handed over at once; what is smaller in all is hashed in place.
const hashBlock = 256 << 10

// NewHasher returns an empty one. Sum must be called, or nothing written.
func NewHasher() *Hasher {
	return &Hasher{md5: md5.New(), sha1: sha1.New(), sha256: sha256.New()}
}

// Write implements [io.Writer]; it never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	n := len(p)
	h.size += int64(n)
	for len(p) > 0 {
		part := p[:min(len(p), hashBlock)]
		p = p[len(part):]
		if h.work == nil && h.size < 2*hashBlock {
			h.md5.Write(part)
		} else {
			h.beside(part)
		}
		h.sha1.Write(part)
		h.sha256.Write(part)
	}
	return n, nil
}

// hashBlocks is how many blocks there are: enough that neither side waits for the other's being woken.
const hashBlocks = 6

// beside hands a copy of a part to the goroutine of the MD5.
func (h *Hasher) beside(part []byte) {
	if h.work == nil {
		h.work, h.free, h.done = make(chan []byte, hashBlocks), make(chan []byte, hashBlocks), make(chan struct{}, 1)
		for range hashBlocks {
			h.free <- make([]byte, hashBlock)
		}
		go func(work <-chan []byte, free chan<- []byte, done chan<- struct{}) {
			for b := range work {
				h.md5.Write(b)
				free <- b[:hashBlock]
			}
			done <- struct{}{}
		}(h.work, h.free, h.done)
	}
	b := <-h.free
	h.work <- b[:copy(b, part)]
}

// Sum ends the writing and returns the hashes and how many bytes they are of.
func (h *Hasher) Sum() (intel.Hashes, int64) {
	if h.work != nil {
		close(h.work)
		<-h.done
		h.work = nil
	}
	var out intel.Hashes
	var sum [sha256.Size]byte
	out.MD5, _ = intel.HashFromBytes(intel.MD5, h.md5.Sum(sum[:0]))
	out.SHA1, _ = intel.HashFromBytes(intel.SHA1, h.sha1.Sum(sum[:0]))
	out.SHA256, _ = intel.HashFromBytes(intel.SHA256, h.sha256.Sum(sum[:0]))
	return out, h.size
}

// While reads r while ctx lasts, and then fails with the context's cause: the bytes of a disk may take hours.
func While(ctx context.Context, r io.Reader) io.Reader { return &lasting{ctx, r} }

type lasting struct {
	ctx context.Context
	r   io.Reader
}

func (l *lasting) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	return l.r.Read(p)
}

// HashReader makes the three hashes of all that r gives.
func HashReader(r io.Reader) (intel.Hashes, int64, error) {
	h := NewHasher()
	_, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, hashBlock))
	hashes, n := h.Sum()
	return hashes, n, err
}
