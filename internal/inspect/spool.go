package inspect

import (
	"errors"
	"fmt"
	"io"

	"spoor/internal/intel"
)

// Scratch is where members larger than a little are laid while they are read: an [os.File] that nobody else writes.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// spoolMemory is how much of a member is kept in memory before it goes to scratch.
const spoolMemory = 1 << 20

// spool holds one member at a time. It is used again for the next one at its level.
type spool struct {
	scratch Scratch // nil: nothing larger than spoolMemory can be held
	mem     []byte
	size    int64
	laid    bool // all of it stands in scratch
}

// errNoScratch is a member that there is no room for.
var errNoScratch = errors.New("larger than the room there is for members")

// fill reads a member to its end, at most most bytes of it, and hashes it. more reports that there is more than that.
func (s *spool) fill(r io.Reader, most int64) (hashes intel.Hashes, more bool, err error) {
	if s.mem == nil {
		s.mem = make([]byte, spoolMemory)
	}
	s.size, s.laid = 0, false
	h := NewHasher()
	defer func() {
		if err != nil || more {
			h.Sum() // ends its goroutine
		}
	}()
	n, err := io.ReadFull(io.LimitReader(r, most+1), s.mem)
	s.size = int64(n)
	h.Write(s.mem[:n])
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		// LimitReader and ReadFull make these of an ordinary end; a reader's own cut end is another error.
		if s.size > most {
			return hashes, true, nil
		}
		hashes, _ = h.Sum()
		return hashes, false, nil
	case err != nil:
		return hashes, false, err
	}
	if s.scratch == nil {
		return hashes, false, errNoScratch
	}
	if err := s.lay(); err != nil {
		return hashes, false, err
	}
	for s.size <= most {
		n, err := r.Read(s.mem) // its memory serves as the buffer now
		if n > 0 {
			h.Write(s.mem[:n])
			// No more than most: the system may hold a file to that.
			if _, err := s.scratch.WriteAt(s.mem[:min(int64(n), most-s.size)], s.size); err != nil {
				return hashes, false, noRoom(err)
			}
			s.size += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return hashes, false, err
		}
	}
	if s.size > most {
		return hashes, true, nil
	}
	hashes, _ = h.Sum()
	return hashes, false, nil
}

// lay writes what is in memory to scratch, where it is read from then on.
func (s *spool) lay() error {
	if s.laid || s.scratch == nil {
		return nil
	}
	// Whoever reads the file itself shall find this member and nothing of the one before.
	err := s.scratch.Truncate(0)
	if err == nil {
		_, err = s.scratch.WriteAt(s.mem[:s.size], 0)
	}
	if err != nil {
		return noRoom(err)
	}
	s.laid = true
	return nil
}

// noRoom is that scratch takes no more. It is no fault of the file, and ends the inspection.
func noRoom(err error) error {
	return &failed{fmt.Errorf("no room in the scratch folder for a large member (%w): give it more, or another by --scratch", err)}
}

// ReadAt implements [io.ReaderAt].
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	if s.laid {
		short := false
		if int64(len(p)) > s.size-off {
			p, short = p[:s.size-off], true
		}
		n, err := s.scratch.ReadAt(p, off)
		if err == nil && short {
			err = io.EOF
		}
		return n, err
	}
	n := copy(p, s.mem[off:s.size])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
