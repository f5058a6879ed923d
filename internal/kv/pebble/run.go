package pebble

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cockroachdb/pebble/v2/vfs"

	"spoor/internal/kv"
)

// run is rows in the order of their names, in a file that only this process reads, in pieces of whole rows:
//
//	shared uvarint | rest uvarint | value uvarint | rest of the name | value, unless one before it is the same
//
// where shared is how many bytes the name has in common with the one before. A piece says all by itself: it refers to no row before it.
type run struct {
	name   string
	file   vfs.File
	pieces []piece // the last has no rows: it is the end
	last   []byte  // name
}

// What stands for a value's size where the value does not follow.
const (
	sameValue    = 0 // it is that of the row before
	earlierValue = 1 // it is that of the row before that one
	// Else it is the size, which is 1 at least, and 1.
)

// piece is whole rows of a run, read at once.
type piece struct {
	first []byte // name
	at    int64  // in the file
	size  int64
}

// pieceBytes is about how large a piece is.
const pieceBytes = 32 << 10

func (r *run) size() int64 { return r.pieces[len(r.pieces)-1].at }

// remove closes and removes the file. What cannot be removed now is when the directory is opened again.
func (r *run) remove(t *tables) {
	if r.file != nil {
		_ = r.file.Close()
	}
	_ = t.fs.Remove(r.name)
}

// writeRun writes rows to a run; it returns nil when there are none.
func (t *tables) writeRun(ctx context.Context, rows iter.Seq[kv.Write]) (_ *run, err error) {
	name, f, err := t.create("run")
	if err != nil {
		return nil, fmt.Errorf("writing rows to load: %w", err)
	}
	r := &run{name: name}
	defer func() {
		if err != nil || len(r.pieces) == 0 {
			r.remove(t)
		}
	}()
	err = r.write(ctx, f, rows)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("writing rows to load: %w", closeErr)
	}
	if err != nil || len(r.pieces) == 0 {
		return nil, err
	}
	if r.file, err = t.fs.Open(name, vfs.RandomReadsOption); err != nil {
		return nil, fmt.Errorf("reading rows to load: %w", err)
	}
	return r, nil
}

func (r *run) write(ctx context.Context, w io.Writer, rows iter.Seq[kv.Write]) error {
	const most = 256 << 10 // bytes that are written at once
	buf := make([]byte, 0, most+most/8)
	var key, last []byte
	var value, before, earlier []byte // the latter two are those of the two rows before
	written, begun := int64(0), int64(0)
	n := 0
	for row := range rows {
		if err := kv.CheckWrite(&row); err != nil {
			return err
		}
		key, value = diskKey(key[:0], row.Partition, row.Key), row.Value.Append(value[:0])
		shared := 0
		for shared < len(key) && shared < len(last) && key[shared] == last[shared] {
			shared++
		}
		if n > 0 && (shared == len(key) || shared < len(last) && key[shared] < last[shared]) {
			return kv.Unsorted(&row)
		}
		if at := written + int64(len(buf)); n == 0 || at-begun >= pieceBytes {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if len(buf) >= most {
				if _, err := w.Write(buf); err != nil {
					return fmt.Errorf("writing rows to load: %w", err)
				}
				written, buf = at, buf[:0]
			}
			r.pieces = append(r.pieces, piece{first: bytes.Clone(key), at: at})
			begun, shared, before, earlier = at, 0, before[:0], earlier[:0]
		}
		buf = binary.AppendUvarint(buf, uint64(shared))
		buf = binary.AppendUvarint(buf, uint64(len(key)-shared))
		switch {
		case bytes.Equal(value, before):
			buf = append(append(buf, sameValue), key[shared:]...)
		case bytes.Equal(value, earlier):
			buf = append(append(buf, earlierValue), key[shared:]...)
		default:
			buf = binary.AppendUvarint(buf, uint64(len(value)+1))
			buf = append(append(buf, key[shared:]...), value...)
		}
		key, last = last, key
		value, before, earlier = earlier, value, before
		n++
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if n == 0 {
		return nil
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("writing rows to load: %w", err)
	}
	r.last = last
	r.pieces = append(r.pieces, piece{at: written + int64(len(buf))})
	for i := range r.pieces[1:] {
		r.pieces[i].size = r.pieces[i+1].at - r.pieces[i].at
	}
	return nil
}

// cursor goes through the rows of a run.
type cursor struct {
	run   *run
	piece int    // the next
	buf   []byte // what is left of the piece under way, whose bytes begin at all
	all   []byte
	key   []byte
	value []byte // in all, as is the one before it

	earlier []byte
}

var errRun = errors.New("pebble: a run does not hold what was written to it")

// seek brings the cursor to the first row that does not come before from. ok is false when there is none.
func (c *cursor) seek(from []byte) (ok bool, err error) {
	c.piece = 0
	if from != nil {
		lo, hi := 0, len(c.run.pieces)-1
		for lo < hi { // the first piece that begins after from
			if mid := (lo + hi) / 2; bytes.Compare(c.run.pieces[mid].first, from) <= 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		c.piece = max(lo-1, 0)
	}
	for {
		if ok, err = c.next(); !ok || err != nil || bytes.Compare(c.key, from) >= 0 {
			return ok, err
		}
	}
}

// next goes on to the next row.
func (c *cursor) next() (ok bool, err error) {
	if len(c.buf) == 0 {
		if c.piece == len(c.run.pieces)-1 {
			return false, nil
		}
		b := &c.run.pieces[c.piece]
		c.piece++
		if int64(cap(c.all)) < b.size {
			c.all = make([]byte, b.size+b.size/8)
		}
		c.buf = c.all[:b.size]
		if _, err := c.run.file.ReadAt(c.buf, b.at); err != nil {
			return false, fmt.Errorf("reading rows to load: %w", err)
		}
		c.key, c.value, c.earlier = c.key[:0], nil, nil
	}
	shared, a := binary.Uvarint(c.buf)
	if a <= 0 || shared > uint64(len(c.key)) {
		return false, errRun
	}
	rest, b := binary.Uvarint(c.buf[a:])
	if b <= 0 {
		return false, errRun
	}
	size, d := binary.Uvarint(c.buf[a+b:])
	if d <= 0 {
		return false, errRun
	}
	left := c.buf[a+b+d:]
	if rest > uint64(len(left)) {
		return false, errRun
	}
	c.key = append(c.key[:shared], left[:rest]...)
	left = left[rest:]
	switch size {
	case sameValue:
		c.earlier = c.value
	case earlierValue:
		c.value, c.earlier = c.earlier, c.value
	default:
		if size-1 > uint64(len(left)) {
			return false, errRun
		}
		c.value, c.earlier, left = left[:size-1], c.value, left[size-1:]
	}
	c.buf = left
	return true, nil
}

// cursors is a heap of cursors by the rows that they stand on; the beginning of a row's name decides most comparisons.
type cursors []standing

type standing struct {
	prefix uint64
	*cursor
}

func stand(c *cursor) standing {
	var short [8]byte
	if len(c.key) >= 8 {
		return standing{binary.BigEndian.Uint64(c.key), c}
	}
	copy(short[:], c.key)
	return standing{binary.BigEndian.Uint64(short[:]), c}
}

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	if h[i].prefix != h[j].prefix {
		return h[i].prefix < h[j].prefix
	}
	return bytes.Compare(h[i].key, h[j].key) < 0
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(standing)) }
func (h *cursors) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// down lets the first cursor sink to its place: heap.Fix for the first, without its calls.
func (h cursors) down() {
	at := 0
	for {
		child := 2*at + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h.Less(child+1, child) {
			child++
		}
		if !h.Less(child, at) {
			return
		}
		h.Swap(at, child)
		at = child
	}
}

// mergeRuns yields the rows of a part in order, each once, the values of equal ones merged.
func mergeRuns(ctx context.Context, runs []*run, p part, yield func(key, value []byte) error) error {
	var h cursors
	for _, r := range runs {
		if p.from != nil && bytes.Compare(r.last, p.from) < 0 || p.to != nil && bytes.Compare(r.pieces[0].first, p.to) >= 0 {
			continue
		}
		c := &cursor{run: r}
		ok, err := c.seek(p.from)
		if err != nil {
			return err
		}
		if ok {
			h = append(h, stand(c))
		}
	}
	heap.Init(&h)
	var key, value, spare []byte // the row to be yielded; a buffer
	var sum, more kv.Value
	has := false
	for n := 0; len(h) > 0; n++ {
		if n&0xFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		c := h[0].cursor
		if p.to != nil && bytes.Compare(c.key, p.to) >= 0 {
			break // those of all others come later still
		}
		if has && bytes.Equal(key, c.key) {
			if err := errors.Join(sum.Decode(value), more.Decode(c.value)); err != nil {
				return err
			}
			sum.Merge(&more)
			spare = sum.Append(spare[:0]) // not into value, to which sum's text may point
			value, spare = spare, value
		} else {
			if has {
				if err := yield(key, value); err != nil {
					return err
				}
			}
			key, value, has = append(key[:0], c.key...), append(value[:0], c.value...), true
		}
		ok, err := c.next()
		switch {
		case err != nil:
			return err
		case ok:
			h[0] = stand(c)
			h.down()
		default:
			heap.Pop(&h)
		}
	}
	if has {
		return yield(key, value)
	}
	return nil
}
