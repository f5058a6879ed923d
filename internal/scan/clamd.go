package scan

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"spoor/internal/intel"
)

// clamd speaks clamd's protocol: a command that ends with a zero byte, and for INSTREAM chunks, each after its length in four bytes, big end first.
// Each file has a connection of its own: a session of many would save a fifth of what clamd takes for a small file, and would end for all of them when
// clamd does not like one.
type clamd struct {
	network, address string

	mu   sync.Mutex
	down time.Time // when it could not be reached
	why  error
}

// The times of one question.
const (
	dialTime = 5 * time.Second
	downTime = 15 * time.Second // that one which cannot be reached is not tried again: an archive may have ten thousand members
)

func newClamd(address string) *clamd {
	if strings.Contains(address, "/") {
		return &clamd{network: "unix", address: strings.TrimPrefix(address, "unix:")}
	}
	return &clamd{network: "tcp", address: address}
}

func (c *clamd) dial(ctx context.Context) (net.Conn, func(), error) {
	c.mu.Lock()
	why, down := c.why, time.Since(c.down) < downTime
	c.mu.Unlock()
	if down {
		return nil, nil, why
	}
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
		if ctx.Err() == nil {
			c.mu.Lock()
			c.why, c.down = err, time.Now()
			c.mu.Unlock()
		}
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(scanTime)) // no socket lacks deadlines
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

func (c *clamd) ping(ctx context.Context) error {
	conn, end, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return err
	}
	got, err := answer(conn)
	if err == nil && got != "PONG" {
		err = fmt.Errorf("it answers %q", got)
	}
	return err
}

// answer reads one answer.
func answer(r io.Reader) (string, error) {
	const most = 4096
	b, err := io.ReadAll(io.LimitReader(r, most))
	text := strings.TrimRight(string(b), "\x00\n")
	if err != nil || text != "" {
		return strings.ToValidUTF8(text, "\uFFFD"), err
	}
	return "", io.ErrUnexpectedEOF
}

// scan has the size bytes of f scanned.
func (c *clamd) scan(ctx context.Context, f *os.File, size int64) ([]intel.Detection, error) {
	conn, end, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("not asked: %w", err)
	}
	defer end()
	sendErr := send(conn, io.NewSectionReader(f, 0, size))
	// When clamd has had enough it says so and closes: what it says counts for more than that it could not be told the rest.
	got, err := answer(conn)
	switch name, found := strings.CutSuffix(strings.TrimPrefix(got, "stream: "), " FOUND"); {
	case found && err == nil:
		return []intel.Detection{{Name: name, Method: "clamav", Zone: clamZone(name)}}, nil
	case got == "stream: OK" && sendErr == nil && err == nil:
		return nil, nil
	case got != "" && got != "stream: OK":
		return nil, fmt.Errorf("no answer: %s", strings.TrimSuffix(got, " ERROR"))
	}
	return nil, fmt.Errorf("no answer: %w", cmp.Or(sendErr, err))
}

func send(w io.Writer, r io.Reader) error {
	if _, err := io.WriteString(w, "zINSTREAM\x00"); err != nil {
		return err
	}
	b := make([]byte, 4+64<<10)
	for {
		n, err := io.ReadFull(r, b[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(b, uint32(n))
			if _, err := w.Write(b[:4+n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			_, err = w.Write([]byte{0, 0, 0, 0})
			return err
		}
		if err != nil {
			return err
		}
	}
}

// clamZone is what a name of ClamAV's means: unwanted programs and guesses are told apart from malware by their names.
func clamZone(name string) intel.Zone {
	switch {
	case strings.HasPrefix(name, "PUA."):
		return intel.Yellow
	case strings.HasPrefix(name, "Heuristics."):
		return intel.Orange
	}
	return intel.Red
}
