package unpack

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/nwaples/rardecode/v2"
)

const (
	rarTrial  = 64 << 20        // bytes of a member that a password is tried on
	rarRounds = 1 << 20         // what a try costs, about
	rarAgain  = 16              // times that the library goes on behind what it failed at
	rarTry    = 5 * time.Second // a try that takes longer is the last: the file says how many rounds there are
)

// readRAR tells the members of a RAR of version 1.5 to 7. The library may panic on damaged input; that is told as a problem.
func readRAR(c *container) error {
	z := &rarReader{container: c, chain: c.lookOver(0, nil)}
	err := z.open("", false)
	if errors.Is(err, rardecode.ErrArchiveEncrypted) {
		// The list of members is encrypted, too.
		err = z.unlock(0)
	}
	var failed error // the first time that the library failed
	for n, again := 0, 0; err == nil; n++ {
		var h *rardecode.FileHeader
		h, err = z.next()
		if n == 0 && errors.Is(err, rardecode.ErrArchiveEncrypted) && z.password == "" {
			if err = z.unlock(0); err == nil {
				h, err = z.next()
			}
		}
		if err != nil && err != io.EOF && n < z.chain.members && again < rarAgain && !z.split && c.ctx.Err() == nil {
			again++
			if failed == nil {
				failed = err
			}
			z.chain = c.lookOver(n, rarError(err))
			if err = z.again(n); err == nil {
				h = z.header
			}
		}
		if err == nil {
			err = z.member(h, n)
		}
	}
	if c.stop != nil || c.ctx.Err() != nil {
		return err
	}
	switch {
	case err == io.EOF:
		err = failed
	case z.split:
		err = rardecode.ErrMultiVolume
	}
	if lost := z.chain.lost; len(lost) > 0 {
		return fmt.Errorf("%s; the members behind it were found by their headers", lost[0])
	}
	if err == nil {
		return nil
	}
	return rarError(err)
}

// rarError says what the library says, in our words where it is told often.
func rarError(err error) error {
	switch {
	case errors.Is(err, rardecode.ErrMultiVolume):
		return errors.New("it goes on in the next volume, which is another file")
	case errors.Is(err, rardecode.ErrUnexpectedArcEnd), errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case errors.Is(err, rardecode.ErrBadFileChecksum):
		return errChecksum
	case errors.Is(err, rardecode.ErrDictionaryTooLarge):
		return errDictionary
	case errors.Is(err, rardecode.ErrBadPassword):
		return errPassword
	}
	if text, ok := strings.CutPrefix(err.Error(), "rardecode: "); ok {
		return errors.New(text)
	}
	return err
}

type rarReader struct {
	*container
	chain  *rarChain
	r      *rardecode.Reader
	header *rardecode.FileHeader // the last
	split  bool                  // the last member goes on in the next volume
	locked error                 // why no password was found; the search is made once
}

func (z *rarReader) open(password string, with bool) error {
	options := []rardecode.Option{rardecode.MaxDictionarySize(z.o.Memory)}
	if with {
		options = append(options, rardecode.Password(password))
	}
	var err error
	// Not a SectionReader: the library must not seek, so that it reads no block twice.
	z.r, err = rardecode.NewReader(struct{ io.Reader }{z.chain.reader()}, options...)
	return err
}

func (z *rarReader) next() (h *rardecode.FileHeader, err error) {
	if err := z.ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	z.header, err = z.r.Next()
	return z.header, err
}

// unlock finds the password by the n-th member, and opens the archive anew, up to that member, with it.
func (z *rarReader) unlock(n int) error {
	if len(z.o.Passwords) == 0 {
		return errEncrypted
	}
	for _, password := range z.candidates() {
		if !z.spend(rarRounds) {
			return errTries
		}
		// With a wrong password half of all members of RAR 3 seem to be PPMd, with models of any size, which the library allocates. They may be more than
		// there is memory, in which case this attempt is the only loss: what seems to need so much is no member.
		if err := z.o.Attempt(); err != nil {
			continue
		}
		z.r, z.header = nil, nil
		runtime.GC()
		begun := time.Now()
		try := func() error {
			if err := z.open(password, true); err != nil {
				return err
			}
			for range n + 1 {
				if _, err := z.next(); err != nil {
					return err
				}
			}
			_, err := io.CopyN(io.Discard, z.r, rarTrial)
			return err
		}
		if err := try(); err == nil || err == io.EOF {
			z.password = password
			if err := z.open(password, true); err != nil {
				return err
			}
			for range n {
				if _, err := z.next(); err != nil {
					return err
				}
			}
			return nil
		}
		if err := z.ctx.Err(); err != nil {
			return err
		}
		if time.Since(begun) > rarTry {
			return errTries
		}
	}
	z.r, z.header = nil, nil
	runtime.GC()
	return errPassword
}

func (z *rarReader) member(h *rardecode.FileHeader, n int) error {
	if h.IsDir || h.Mode().Type() != 0 || h.LinkType != rardecode.LinkTypeNone {
		return nil
	}
	m := z.named(h.Name)
	m.Size = h.UnPackedSize
	if h.UnKnownSize {
		m.Size = -1
	}
	if reason := z.chain.reasons[n]; reason != nil {
		m.Err = reason
		return z.tell(m)
	}
	if h.Encrypted {
		if z.password == "" && z.locked == nil {
			if z.locked = z.unlock(n); z.locked == nil {
				if _, err := z.next(); err != nil { // the member itself, with the password
					return err
				}
			} else if err := z.again(n); err != nil {
				return err
			}
		}
		if z.locked != nil {
			m.Err = z.locked
			return z.tell(m)
		}
		m.Password = z.password
	} else if h.HeaderEncrypted {
		m.Password = z.password
	}
	m.Reader = rarMember{z}
	return z.tell(m)
}

// again opens the archive anew, with the password that was found if one was, up to and with the n-th member.
func (z *rarReader) again(n int) error {
	if err := z.open(z.password, z.password != ""); err != nil {
		return err
	}
	for range n + 1 {
		if _, err := z.next(); err != nil {
			return err
		}
	}
	return nil
}

type rarMember struct{ z *rarReader }

func (m rarMember) Read(p []byte) (int, error) {
	n, err := m.z.r.Read(p)
	if err != nil && err != io.EOF {
		m.z.split = m.z.split || errors.Is(err, rardecode.ErrMultiVolume)
		err = rarError(err)
	}
	return n, err
}
