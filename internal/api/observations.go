package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/access"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/wire"
)

// The bounds of one request.
const (
	maxBody     = 256 << 20 // as sent
	maxUnpacked = 2 << 30   // once unpacked
	inMemory    = 4 << 20   // of a body without batch id, which is named by its hash and so must be kept until its end
	beforeTurn  = 256 << 10 // read before it is the sender's turn
	maxRefusals = 100       // named in the receipt
	maxReason   = 400       // bytes of a refusal's reason, which may quote the sender
	ingestTime  = 10 * time.Minute
	turnTime    = 30 * time.Second // to wait for a turn
)

// sending is one body that is being taken in.
type sending struct {
	ctx    context.Context
	id     *access.Identity
	batch  string    // the sender's name for it, "" when it has none
	packed io.Reader // as sent
	end    func()    // must be called
}

// admit lets a body in: it finds out whether the sender may, checks the headers with acceptable, and waits for the sender's turn. When it
// returns nil it has answered.
func (a *api) admit(w http.ResponseWriter, r *http.Request, acceptable func(*http.Request) error) *sending {
	id, err := a.Gate.Identify(r, access.Ingest)
	if err != nil {
		serve.Fail(w, r, err)
		return nil
	}
	if err := acceptable(r); err != nil {
		serve.Fail(w, r, err)
		return nil
	}
	batch := r.Header.Get(wire.BatchID)
	switch {
	case len(r.Header.Values(wire.BatchID)) > 1:
		serve.Fail(w, r, &intel.Refusal{Field: wire.BatchID, Reason: "given more than once"})
		return nil
	case len(batch) > 256:
		serve.Fail(w, r, &intel.Refusal{Field: wire.BatchID, Reason: "longer than 256 bytes"})
		return nil
	}
	if r.ContentLength > maxBody {
		bodyFailed(w, r, fmt.Errorf("the body is %w: %d bytes, at most %d; send it in parts", serve.ErrTooLarge, r.ContentLength, maxBody))
		return nil
	}
	packed := serve.Body(w, r, maxBody)
	// A sender gets its turn when its body, or the beginning of a longer one, is here: slow ones keep nobody waiting.
	var head bytes.Buffer
	if _, err := io.CopyN(&head, packed, beforeTurn); err != nil && !errors.Is(err, io.EOF) {
		bodyFailed(w, r, bodyError(err))
		return nil
	}
	select {
	case a.taking <- struct{}{}:
	case <-time.After(turnTime):
		serve.Fail(w, r, fmt.Errorf("%d bodies are being taken in: %w", takingIn, intel.ErrUnavailable))
		return nil
	}
	// Taking in much takes long; what ends it is the sender's going away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), ingestTime)
	return &sending{ctx: ctx, id: id, batch: batch, packed: io.MultiReader(&head, packed), end: func() {
		cancel()
		<-a.taking
	}}
}

// observations answers POST /api/observations: NDJSON, plain or packed. What was acknowledged is durable; what is sent again under the same
// batch id, or word for word without one, counts nothing.
func (a *api) observations(w http.ResponseWriter, r *http.Request) {
	in := a.admit(w, r, acceptable)
	if in == nil {
		return
	}
	defer in.end()
	ctx, id, batch, packed := in.ctx, in.id, in.batch, in.packed
	if batch == "" {
		spooled, sum, err := spool(packed)
		if err != nil {
			bodyFailed(w, r, bodyError(err))
			return
		}
		defer spooled.Close()
		packed, batch = spooled, "sha256:"+sum
	}
	body, err := unpack(r, packed)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	receipt, err := a.take(ctx, id, batch, body)
	a.count(&receipt)
	if err != nil {
		bodyFailed(w, r, bodyError(err))
		return
	}
	writeReceipt(w, r, &receipt, "no line is an observation; refusals says why")
}

func (a *api) count(receipt *wire.Receipt) {
	a.recorded.WithLabelValues("accepted").Add(float64(receipt.Accepted))
	a.recorded.WithLabelValues("repeated").Add(float64(receipt.Repeated))
	a.recorded.WithLabelValues("refused").Add(float64(receipt.Refused))
}

// writeReceipt answers with a receipt; nothing says what it means that all was refused.
func writeReceipt(w http.ResponseWriter, r *http.Request, receipt *wire.Receipt, nothing string) {
	if receipt.Refused > 0 && receipt.Accepted == 0 && receipt.Repeated == 0 {
		writeJSON(w, r, http.StatusBadRequest, &struct {
			wire.Error
			wire.Receipt
		}{wire.Error{Error: wire.ErrorInfo{Code: "bad_request", Message: nothing}}, *receipt})
		return
	}
	writeJSON(w, r, http.StatusOK, receipt)
}

// bodyFailed answers with an error of reading the body. When the body is too large the rest of it is read first: many a client looks for an answer
// only when it has sent everything, and would see a broken connection.
func bodyFailed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, serve.ErrTooLarge) && r.Header.Get("Expect") == "" {
		serve.Drain(w, r)
	}
	serve.Fail(w, r, err)
}

// acceptable fails for a body that cannot be NDJSON. What a shell's tools call a form by default is taken for what it is.
func acceptable(r *http.Request) error {
	if t := r.Header.Get("Content-Type"); t != "" {
		media, _, err := mime.ParseMediaType(t)
		switch {
		case err != nil:
			return fmt.Errorf("the Content-Type is not well formed: %w", serve.ErrMediaType)
		case media == "application/x-ndjson", media == "application/ndjson", media == "application/jsonl", media == "application/json",
			media == "application/octet-stream", media == "text/plain", media == "application/x-www-form-urlencoded":
		default:
			return fmt.Errorf("%s: %w; send application/x-ndjson", cut(media), serve.ErrMediaType)
		}
	}
	return acceptableEncoding(r)
}

func acceptableEncoding(r *http.Request) error {
	switch e := encoding(r); e {
	case "", "identity", "gzip", "zstd":
		return nil
	default:
		return fmt.Errorf("Content-Encoding %s: %w; send it plain, gzip or zstd", cut(e), serve.ErrMediaType)
	}
}

// encoding is the Content-Encoding; several, in one header or in more, are one that nobody knows.
func encoding(r *http.Request) string {
	return strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ",")))
}

// unpack undoes the Content-Encoding, bounded.
func unpack(r *http.Request, packed io.Reader) (io.Reader, error) {
	var in io.Reader
	var err error
	switch encoding(r) {
	case "gzip":
		in, err = gzip.NewReader(packed)
	case "zstd":
		in, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
	default:
		return packed, nil
	}
	if err != nil {
		return nil, bodyError(err)
	}
	return &bounded{in, maxUnpacked}, nil
}

type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, fmt.Errorf("the unpacked body is %w: at most %d bytes; send it in parts", serve.ErrTooLarge, int64(maxUnpacked))
	}
	return n, err
}

// bodyError gives an error of reading the body its kind: all but our own and the store's are the sender's.
func bodyError(err error) error {
	if errors.Is(err, serve.ErrTooLarge) || errors.Is(err, intel.ErrUnavailable) || errors.Is(err, intel.ErrInvalid) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var local *os.PathError
	if errors.As(err, &local) {
		return fmt.Errorf("%w: %w", intel.ErrUnavailable, err)
	}
	return &intel.Refusal{Reason: "the body cannot be read: " + err.Error()}
}

// spooled is a body kept until its end.
type spooled struct {
	io.Reader
	file *os.File
}

func (s *spooled) Close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// spool keeps a body, in a file when it is large, and hashes it.
func spool(r io.Reader) (*spooled, string, error) {
	sum := sha256.New()
	var small bytes.Buffer
	_, err := io.CopyN(io.MultiWriter(&small, sum), r, inMemory)
	if errors.Is(err, io.EOF) {
		return &spooled{Reader: &small}, fmt.Sprintf("%x", sum.Sum(nil)), nil
	}
	if err != nil {
		return nil, "", err
	}
	f, err := os.CreateTemp("", "spoor-body-*")
	if err != nil {
		return nil, "", err
	}
	s := &spooled{file: f}
	if _, err = io.Copy(io.MultiWriter(f, sum), r); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		s.Close()
		return nil, "", err
	}
	s.Reader = io.MultiReader(&small, f)
	return s, fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// take records the lines. Batches are named by the account, the sender's batch id and their number, so a request that broke off and is
// sent again goes on where it ended.
func (a *api) take(ctx context.Context, id *access.Identity, batch string, body io.Reader) (wire.Receipt, error) {
	receipt := wire.Receipt{Refusals: []wire.Refusal{}}
	name := func(n uint64) []byte {
		h := sha256.New()
		fmt.Fprintf(h, "api\x00%s\x00%s\x00", id.Account.Name, batch)
		h.Write(binary.BigEndian.AppendUint64(nil, n))
		return h.Sum(nil)
	}
	b := ingest.NewBatcher(ctx, a.Recorder, name, func(r intel.Refusal) {
		receipt.Refused++
		if len(receipt.Refusals) < maxRefusals {
			receipt.Refusals = append(receipt.Refusals, wire.Refusal{Line: r.Line, Field: cut(r.Field), Reason: cutTo(r.Reason, maxReason)})
		}
	})
	_, err := source.Read(ctx, source.NewInput("the body", body), source.Options{Format: source.Observations}, b)
	var closeErr error
	receipt.Accepted, receipt.Repeated, closeErr = b.Close()
	if closeErr != nil && !errors.Is(closeErr, intel.ErrUnavailable) {
		closeErr = fmt.Errorf("%w: %w", intel.ErrUnavailable, closeErr)
	}
	return receipt, errors.Join(closeErr, err)
}
