package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// client sends one run's requests to the one host that the feed names.
type client struct {
	feed   *Feed
	secret string
	http   *http.Client
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	left   int64 // bytes that this run may still take
}

// errRefused marks what no repetition can help.
var errRefused = errors.New("refused")

func (r *Runner) newClient(f *Feed) (*client, error) {
	c := &client{feed: f, now: r.o.Now, sleep: r.o.Sleep, left: f.MaxSize}
	var err error
	if c.secret, err = f.Credential.secret(); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the authorities: %s holds no PEM certificate", f.CA)
		}
	}
	// No proxy: the guard below could not see where a proxy connects to.
	transport := &http.Transport{DialContext: f.dial, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 30 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 256 << 10, IdleConnTimeout: time.Minute}
	c.http = &http.Client{Transport: authorising{c, transport}, CheckRedirect: f.redirect}
	return c, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// secret reads the secret.
func (c *Credential) secret() (string, error) {
	if c == nil {
		return "", nil
	}
	var s string
	if c.Env != "" {
		if s = strings.TrimSpace(os.Getenv(c.Env)); s == "" {
			return "", fmt.Errorf("the environment has no %s, which holds the secret", c.Env)
		}
	} else {
		b, err := os.ReadFile(c.File)
		if err != nil {
			return "", fmt.Errorf("reading the secret: %w", err)
		}
		if s = strings.TrimSpace(string(b)); s == "" {
			return "", fmt.Errorf("reading the secret: %s is empty", c.File)
		}
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		return "", errors.New("the secret holds a line break")
	}
	return s, nil
}

// authorising adds the credential, to requests for the configured host alone: no redirect carries it elsewhere.
type authorising struct {
	c    *client
	next http.RoundTripper
}

func (a authorising) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Referer") // it would tell the query of the place before
	r.Header.Set("User-Agent", "spoor")
	f := a.c.feed
	if c := f.Credential; c != nil && r.URL.Scheme == f.url.Scheme && hostPort(r.URL) == hostPort(f.url) {
		switch c.Scheme {
		case "basic":
			r.SetBasicAuth(c.User, a.c.secret)
		case "header":
			r.Header.Set(c.Header, a.c.secret)
		case "s3":
			signV4(r, c.User, a.c.secret, f.Region, a.c.now())
		default:
			r.Header.Set("Authorization", "Bearer "+a.c.secret)
		}
	}
	return a.next.RoundTrip(r)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// redirect lets a redirect lead to the configured host, or to one that is listed; never to an address that is not public.
func (f *Feed) redirect(r *http.Request, via []*http.Request) error {
	to := r.URL
	switch {
	case len(via) > 10:
		return fmt.Errorf("%w: more than 10 redirects", errRefused)
	case to.Scheme != "https" && (to.Scheme != "http" || f.url.Scheme == "https"):
		return fmt.Errorf("%w: the redirect to %s leaves TLS", errRefused, shownURL(to))
	case hostPort(to) == hostPort(f.url):
		return nil
	}
	if ip, err := netip.ParseAddr(to.Hostname()); strings.EqualFold(to.Hostname(), "localhost") || err == nil && !public(ip) {
		return fmt.Errorf("%w: the redirect to %s leads to an address that is not public", errRefused, shownURL(to))
	}
	if strings.EqualFold(to.Hostname(), f.url.Hostname()) && to.Scheme == "https" && to.Port() == "" {
		return nil // from HTTP to TLS
	}
	for _, h := range f.Hosts {
		if strings.EqualFold(h, to.Host) || strings.EqualFold(h, to.Hostname()) {
			return nil
		}
	}
	return fmt.Errorf("%w: the redirect leads to %s, which is not listed in hosts", errRefused, to.Host)
}

// dial connects, and looks at the address that it really connects to, so that a name that resolves to another one the second time gains nothing.
func (f *Feed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	own := strings.EqualFold(address, hostPort(f.url))
	literal, err := netip.ParseAddr(f.url.Hostname())
	named := strings.EqualFold(f.url.Hostname(), "localhost")
	d := net.Dialer{Timeout: 30 * time.Second, Control: func(_, to string, _ syscall.RawConn) error {
		at, parseErr := netip.ParseAddrPort(to)
		ip := at.Addr().WithZone("").Unmap()
		switch {
		case parseErr != nil:
		case public(ip):
			return nil
		case own && err == nil && ip == literal.WithZone("").Unmap():
			return nil // the configuration names this very address
		case own && named && ip.IsLoopback():
			return nil
		case own && f.Private && (ip.IsPrivate() || ip.IsLoopback()):
			return nil
		}
		return fmt.Errorf("%w: %s is at %s, which is not a public address (private: true allows it for the feed's own host)", errRefused, address, to)
	}}
	return d.DialContext(ctx, network, address)
}

// reserved are the ranges beyond those that netip knows that nothing public stands in, or that stand for another address.
var reserved = func() (out []netip.Prefix) {
	for _, p := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "100::/64", "2001:db8::/32", "fec0::/10"} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

// public reports whether an address is one of the open net.
func public(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// shownURL is a URL without what may be secret.
func shownURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// The retries of one request, and the wait before the first of them, which doubles.
const (
	tries     = 4
	firstWait = 2 * time.Second
	longWait  = time.Minute // the longest that a server may ask for within a run
)

// badStatus is an answer that is neither content nor "not modified".
type badStatus struct {
	code  int
	retry time.Duration
}

func (b *badStatus) Error() string {
	return fmt.Sprintf("the server answers %d %s", b.code, http.StatusText(b.code))
}

// fetch sends a request, again when that may help, and hands the answer's body to take, which may be called anew after a body that broke off.
// A 304 is handed on with an empty body.
func (c *client) fetch(ctx context.Context, build func() (*http.Request, error), take func(h http.Header, status int, body io.Reader) error) error {
	wait := firstWait
	for try := 1; ; try++ {
		err := c.once(ctx, build, take)
		if err == nil || try == tries || ctx.Err() != nil || !temporary(err) {
			return err
		}
		pause := wait
		var bad *badStatus
		if errors.As(err, &bad) && bad.retry > pause {
			if pause = bad.retry; pause > longWait {
				return err
			}
		}
		if err := c.sleep(ctx, pause); err != nil {
			return err
		}
		wait *= 2
	}
}

func temporary(err error) bool {
	var bad *badStatus
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	switch {
	case errors.Is(err, errRefused), errors.Is(err, errTooLarge), errors.As(err, &unknown), errors.As(err, &wrongHost):
		return false
	case errors.As(err, &bad):
		return bad.code >= 500 || bad.code == http.StatusTooManyRequests || bad.code == http.StatusRequestTimeout
	}
	var broken *brokenBody
	var request *url.Error
	return errors.As(err, &request) || errors.As(err, &broken)
}

// brokenBody is a body that could not be read to its end.
type brokenBody struct{ err error }

func (b *brokenBody) Error() string { return "the answer breaks off: " + b.err.Error() }
func (b *brokenBody) Unwrap() error { return b.err }

var errTooLarge = errors.New("larger than max-size")

func (c *client) once(ctx context.Context, build func() (*http.Request, error), take func(http.Header, int, io.Reader) error) error {
	req, err := build()
	if err != nil {
		return err
	}
	res, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotModified {
		bad := &badStatus{code: res.StatusCode}
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			bad.retry = time.Duration(min(s, 86400)) * time.Second
		} else if at, err := http.ParseTime(res.Header.Get("Retry-After")); err == nil {
			bad.retry = at.Sub(c.now())
		}
		return bad
	}
	if res.ContentLength > c.left {
		return fmt.Errorf("%w (%d bytes; %d are allowed)", errTooLarge, res.ContentLength, c.feed.MaxSize)
	}
	return take(res.Header, res.StatusCode, &bounded{c: c, r: res.Body})
}

// bounded counts what a run takes.
type bounded struct {
	c *client
	r io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.c.left -= int64(n); b.c.left < 0 {
		return 0, fmt.Errorf("%w (%d bytes)", errTooLarge, b.c.feed.MaxSize)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &brokenBody{err}
	}
	return n, err
}

// message is an error as people see it: no query of a URL and no secret, on one line.
func message(err error, secret string) string {
	text := err.Error()
	var u *url.Error
	if errors.As(err, &u) {
		if to, parseErr := url.Parse(u.URL); parseErr == nil {
			text = strings.ReplaceAll(text, u.URL, shownURL(to))
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		text = "the time for it is over: " + text
	}
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "[secret]")
		text = strings.ReplaceAll(text, url.QueryEscape(secret), "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	const most = 600
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
