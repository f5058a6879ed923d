package scan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"spoor/internal/intel"
)

// clamd speaks clamd's protocol: a command that ends with a zero byte, and for INSTREAM chunks, each after its length in four bytes, big end first.
type clamd struct{ network, address string }

// The times of one question.
const (
	dialTime = 5 * time.Second
	scanTime = 2 * time.Minute
)

func newClamd(address string) *clamd {
	if strings.Contains(address, "/") {
		return &clamd{"unix", strings.TrimPrefix(address, "unix:")}
	}
	return &clamd{"tcp", address}
}

func (c *clamd) dial(ctx context.Context) (net.Conn, func(), error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
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

// scan has the bytes of r scanned.
func (c *clamd) scan(ctx context.Context, r io.Reader) ([]intel.Detection, error) {
	conn, end, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	sendErr := send(conn, r)
	// When clamd has had enough it says so and closes: what it says counts for more than that it could not be told the rest.
	got, err := answer(conn)
	switch name, found := strings.CutSuffix(strings.TrimPrefix(got, "stream: "), " FOUND"); {
	case found && err == nil:
		return []intel.Detection{{Name: name, Method: "clamav", Zone: clamZone(name)}}, nil
	case got == "stream: OK" && sendErr == nil && err == nil:
		return nil, nil
	case got != "" && got != "stream: OK":
		return nil, errors.New(strings.TrimSuffix(got, " ERROR"))
	}
	return nil, errors.Join(sendErr, err)
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
