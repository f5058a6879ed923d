// Package client is the Go client of a Spoor server: look-ups and the sending of observations.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"spoor/wire"
)

// The errors that a caller tells apart.
var (
	ErrUnknown    = errors.New("nothing is known of this hash") // 404
	ErrCredential = errors.New("the server refuses the token")  // 401, 403
	ErrQuota      = errors.New("the daily quota is used up")    // 429
	ErrRefused    = errors.New("the server does not take this") // 400, 413, 415: sending it again does not help
)

// Client asks one server. It may be used from many goroutines.
type Client struct {
	base  *url.URL
	token string
	// HTTP sends the requests; it may be replaced before the first, for a private certificate authority say.
	HTTP *http.Client
}

// New makes a client of the server at address, "https://spoor.example:8443", with a token of 'spoor token create'.
func New(address, token string) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no server address; give one like https://spoor.example:8443", address)
	}
	if strings.ContainsAny(token, "\r\n") {
		return nil, errors.New("the token holds a line break")
	}
	return &Client{base: u, token: token, HTTP: &http.Client{Timeout: 5 * time.Minute}}, nil
}

// Hash asks what is known of a file by its MD5, SHA-1 or SHA-256 in hex. sections names what is wanted, the page's nineteen when empty.
// It fails with [ErrUnknown], [ErrCredential] or [ErrQuota], else with the server's own words.
func (c *Client) Hash(ctx context.Context, hash string, sections ...string) (*wire.HashReport, error) {
	u := c.base.JoinPath("api", "hash", url.PathEscape(hash))
	if len(sections) > 0 {
		u.RawQuery = url.Values{"sections": {strings.Join(sections, ",")}}.Encode()
	}
	var r wire.HashReport
	if err := c.call(ctx, http.MethodGet, u, nil, nil, &r); err != nil {
		return nil, fmt.Errorf("looking up %s: %w", hash, err)
	}
	return &r, nil
}

// Similar asks which files resemble what query says, the surest first: a file by "hash", or fuzzy hashes by "tlsh", "ssdeep", "imphash" and the
// others; "distance" bounds the distance of a TLSH, "score" that of an ssdeep, "count" the rows. It fails as Hash does.
func (c *Client) Similar(ctx context.Context, query url.Values) (*wire.SimilarReport, error) {
	u := c.base.JoinPath("api", "similar")
	u.RawQuery = query.Encode()
	var r wire.SimilarReport
	if err := c.call(ctx, http.MethodGet, u, nil, nil, &r); err != nil {
		return nil, fmt.Errorf("looking for similar files: %w", err)
	}
	return &r, nil
}

// Observe sends observations in their NDJSON form. batch names them: sending the same batch again changes nothing; without a name the
// server takes the body's own hash for it. It returns what was accepted, repeated and refused.
func (c *Client) Observe(ctx context.Context, batch string, ndjson []byte) (*wire.Receipt, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(ndjson); err != nil {
		return nil, fmt.Errorf("packing observations: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("packing observations: %w", err)
	}
	h := http.Header{"Content-Type": {"application/x-ndjson"}, "Content-Encoding": {"gzip"}}
	if batch != "" {
		h.Set(wire.BatchID, batch)
	}
	var r wire.Receipt
	if err := c.call(ctx, http.MethodPost, c.base.JoinPath("api", "observations"), h, packed.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("sending observations: %w", err)
	}
	return &r, nil
}

// Feeds asks how the server's feeds stand. It needs a token with the scope admin.
func (c *Client) Feeds(ctx context.Context) (*wire.Feeds, error) {
	var f wire.Feeds
	if err := c.call(ctx, http.MethodGet, c.base.JoinPath("api", "feeds"), nil, nil, &f); err != nil {
		return nil, fmt.Errorf("asking for the feeds: %w", err)
	}
	return &f, nil
}

// RunFeed makes the server fetch a feed now; AcceptFeed lets in what it holds back of one. Both begin it only: [Client.Feeds] tells what came of it.
func (c *Client) RunFeed(ctx context.Context, name string) (*wire.Feed, error) {
	return c.feed(ctx, name, "run")
}

// AcceptFeed lets in what the server holds back of a feed.
func (c *Client) AcceptFeed(ctx context.Context, name string) (*wire.Feed, error) {
	return c.feed(ctx, name, "accept")
}

func (c *Client) feed(ctx context.Context, name, action string) (*wire.Feed, error) {
	var f wire.Feed
	if _, err := c.once(ctx, http.MethodPost, c.base.JoinPath("api", "feeds", url.PathEscape(name), action), nil, nil, &f); err != nil {
		return nil, fmt.Errorf("%s of the feed %s: %w", action, name, err)
	}
	return &f, nil
}

// retries is how often a request is sent again when the server is busy or not there: every call of this client may be repeated safely.
const retries = 4

func (c *Client) call(ctx context.Context, method string, u *url.URL, h http.Header, body []byte, into any) error {
	var err error
	for try := range retries {
		var again bool
		if again, err = c.once(ctx, method, u, h, body, into); err == nil || !again || try == retries-1 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(1<<try) * 250 * time.Millisecond):
		}
	}
	return err
}

// once sends a request once; again says that sending it again may help.
func (c *Client) once(ctx context.Context, method string, u *url.URL, h http.Header, body []byte, into any) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for k, v := range h {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", "spoor-client")
	res, err := c.HTTP.Do(req)
	if err != nil {
		return ctx.Err() == nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 256<<20))
	if err != nil {
		return ctx.Err() == nil, err
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, into); err != nil {
			return false, fmt.Errorf("the server's answer is not understood: %w", err)
		}
		return false, nil
	}
	var failure wire.Error
	message := res.Status
	if json.Unmarshal(b, &failure) == nil && failure.Error.Message != "" {
		message = failure.Error.Message
	}
	switch {
	case failure.Error.Code == "unknown_hash":
		return false, ErrUnknown
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return false, fmt.Errorf("%w: %s", ErrCredential, message)
	case res.StatusCode == http.StatusTooManyRequests:
		return false, fmt.Errorf("%w: %s", ErrQuota, message)
	}
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return false, fmt.Errorf("%w: the server answers %d: %s", ErrRefused, res.StatusCode, message)
	}
	return res.StatusCode >= 500, fmt.Errorf("the server answers %d: %s", res.StatusCode, message)
}
