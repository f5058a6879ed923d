package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Run serves until ctx ends, then stops taking connections, lets requests under way finish for up to grace, and returns.
func Run(ctx context.Context, l net.Listener, h http.Handler, tlsConfig *tls.Config, grace time.Duration, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		// The longest request is one that takes observations in. Answers have a narrower bound of their own, answerTime.
		WriteTimeout:   15 * time.Minute,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10, // well above maxTarget, so that a target that is too long is told so
		TLSConfig:      tlsConfig,
		ErrorLog:       log.New(debugLog{logger}, "", 0),
	}
	failed := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			failed <- server.ServeTLS(l, "", "")
		} else {
			failed <- server.Serve(refusing{l})
		}
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		server.Close()
		return fmt.Errorf("stopping: requests were still under way after %s: %w", grace, err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// debugLog takes the server's own messages: clients that break off, TLS handshakes that fail.
type debugLog struct{ l *slog.Logger }

func (d debugLog) Write(b []byte) (int, error) {
	d.l.Debug("http", "message", string(b[:max(len(b)-1, 0)]))
	return len(b), nil
}

// The bounds on time of a request's body.
const (
	bodyTime  = 15 * time.Second // for the whole of it, where the handler does not call Body
	bodyPause = 30 * time.Second // between two reads of Body
	bodyWhole = 10 * time.Minute // for the whole of a Body
)

// Body returns the request's body, bounded: reading more than most bytes fails with [ErrTooLarge], and a sender that pauses for more
// than 30 seconds, or takes more than ten minutes, is given up.
func Body(w http.ResponseWriter, r *http.Request, most int64) io.Reader {
	return &body{r: r.Body, control: http.NewResponseController(w), left: most, most: most, end: time.Now().Add(bodyWhole)}
}

// The bounds of Drain.
const (
	drainBytes = 512 << 20
	drainTime  = 10 * time.Second
)

// Drain reads what is left of a request's body and lets it go, within bounds.
func Drain(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes) // whatever ends it, there is nothing more to do
}

type body struct {
	r          io.Reader
	control    *http.ResponseController
	left, most int64
	end        time.Time
}

func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the body is %w: at most %d bytes; send it in parts", ErrTooLarge, b.most)
	}
	pause := time.Now().Add(bodyPause)
	if pause.After(b.end) {
		pause = b.end
	}
	// A recorder in a test has no deadline; that is no reason to fail.
	_ = b.control.SetReadDeadline(pause)
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n, fmt.Errorf("the body is %w: at most %d bytes; send it in parts", ErrTooLarge, b.most)
	}
	return n, err
}
