package feed

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// portion is what one fetch gave: the whole of a snapshot, or a page of a feed in increments.
type portion struct {
	path   string // of the file or folder; "" when there is nothing new
	digest string
	cursor Cursor // where to go on once this is recorded
	more   bool   // another page follows at once
}

// next fetches the next portion into dir.
func (c *client) next(ctx context.Context, cur Cursor, dir string) (*portion, error) {
	switch c.feed.Kind {
	case Path:
		digest, err := digestPath(ctx, c.feed.Place)
		return &portion{path: c.feed.Place, digest: digest, cursor: cur}, err
	case TAXII:
		return c.taxii(ctx, cur, dir)
	case MISP:
		return c.misp(ctx, cur, dir)
	case MISPFeed:
		return c.mispFeed(ctx, cur, dir)
	}
	return c.whole(ctx, cur, dir)
}

// digestPath names the state of a file or folder: names, sizes, times of change.
func digestPath(ctx context.Context, root string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil || info.IsDir() && name != root {
			return nil // gone meanwhile, or a dangling link
		}
		if !info.IsDir() {
			fmt.Fprintf(h, "%s\x00%d\x00%d\x00", name, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// spool is a file of a run's folder that content is kept in. Only its own Write may write to it, so that its digest is right.
type spool struct {
	file *os.File
	sum  hash.Hash
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "content-*")
	if err != nil {
		return nil, fmt.Errorf("keeping what was fetched: %w", err)
	}
	return &spool{f, sha256.New()}, nil
}

// again empties the file, for content that is fetched anew.
func (s *spool) again() error {
	s.sum.Reset()
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.file.Truncate(0)
}

func (s *spool) Write(b []byte) (int, error) {
	s.sum.Write(b)
	return s.file.Write(b)
}

func (s *spool) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }

// whole fetches the place's content, unless it is as before.
func (c *client) whole(ctx context.Context, cur Cursor, dir string) (*portion, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	p := &portion{path: s.file.Name()}
	err = c.fetch(ctx, func() (*http.Request, error) {
		r, err := http.NewRequest(http.MethodGet, c.feed.url.String(), nil)
		if err != nil {
			return nil, err
		}
		if cur.ETag != "" {
			r.Header.Set("If-None-Match", cur.ETag)
		}
		if cur.LastModified != "" {
			r.Header.Set("If-Modified-Since", cur.LastModified)
		}
		return r, nil
	}, func(h http.Header, status int, body io.Reader) error {
		if status == http.StatusNotModified {
			p.path, p.cursor = "", cur
			return nil
		}
		if err := s.again(); err != nil {
			return err
		}
		p.cursor = Cursor{ETag: h.Get("ETag"), LastModified: h.Get("Last-Modified")}
		_, err := io.Copy(s, body)
		return err
	})
	p.digest = s.digest()
	return p, err
}

const taxiiType = "application/taxii+json;version=2.1"

// taxii fetches one page of a collection, and writes its objects down as a STIX bundle.
func (c *client) taxii(ctx context.Context, cur Cursor, dir string) (*portion, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	u := c.feed.url.JoinPath("objects")
	u.Path += "/"
	q := c.feed.url.Query()
	if cur.AddedAfter != "" {
		q.Set("added_after", cur.AddedAfter)
	}
	if cur.Next != "" {
		q.Set("next", cur.Next)
	}
	u.RawQuery = q.Encode()
	p := &portion{path: s.file.Name()}
	err = c.fetch(ctx, func() (*http.Request, error) {
		r, err := http.NewRequest(http.MethodGet, u.String(), nil)
		if err == nil {
			r.Header.Set("Accept", taxiiType)
		}
		return r, err
	}, func(h http.Header, _ int, body io.Reader) error {
		if err := s.again(); err != nil {
			return err
		}
		n, more, next, err := envelope(body, s)
		if err != nil {
			return fmt.Errorf("reading the TAXII envelope: %w", err)
		}
		last := h.Get("X-TAXII-Date-Added-Last")
		if p.path = s.file.Name(); n == 0 {
			p.path = ""
		}
		p.more = more
		p.cursor = Cursor{AddedAfter: cur.AddedAfter, Next: next}
		switch {
		case more && next == "" && (last == "" || last == cur.AddedAfter):
			return fmt.Errorf("reading the TAXII envelope: more pages are announced, but not how to go on")
		case more && next != "" && next == cur.Next && n == 0:
			return fmt.Errorf("reading the TAXII envelope: an empty page leads to itself")
		case more && next == "":
			p.cursor.AddedAfter = last
		case !more:
			p.cursor = Cursor{AddedAfter: cmp.Or(last, cur.AddedAfter)}
		}
		return nil
	})
	p.digest = s.digest()
	return p, err
}

// maxObject bounds one value of JSON that is read value by value.
const maxObject = 64 << 20

// envelope copies the objects of a TAXII envelope into a bundle.
func envelope(in io.Reader, out io.Writer) (n int, more bool, next string, err error) {
	_, err = io.WriteString(out, `{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[`)
	if err != nil {
		return 0, false, "", err
	}
	err = eachKey(in, func(key string, d *elements) error {
		switch key {
		case "more":
			return d.Decode(&more)
		case "next":
			return d.Decode(&next)
		case "objects":
			return eachElement(d, func(raw json.RawMessage) error {
				n++
				sep := []byte("\n")
				if n > 1 {
					sep = []byte(",\n")
				}
				if _, err := out.Write(sep); err != nil {
					return err
				}
				_, err := out.Write(raw)
				return err
			})
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	if err == nil {
		_, err = io.WriteString(out, "\n]}\n")
	}
	return n, more, next, err
}

// eachKey calls f for every key of a JSON object; f decodes the value. What breaks off or is none is told as such.
func eachKey(in io.Reader, f func(key string, d *elements) error) error {
	step := &stepped{r: in}
	d := &elements{json.NewDecoder(step), step}
	step.again()
	t, err := d.Token()
	if err != nil {
		return notJSON(err)
	}
	if t != json.Delim('{') {
		return errors.New("it is no JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return notJSON(err)
		}
		key, _ := t.(string)
		d.step.again()
		if err := f(key, d); err != nil {
			return notJSON(err)
		}
		d.step.again()
	}
	_, err = d.Token()
	return notJSON(err)
}

// elements decodes values one by one, each bounded.
type elements struct {
	*json.Decoder
	step *stepped
}

// stepped bounds what is read for one value, so that no value is kept whole that is larger.
type stepped struct {
	r    io.Reader
	left int64
}

func (s *stepped) again() { s.left = maxObject }

func (s *stepped) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("one value is larger than %d bytes", maxObject)
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

func eachElement(d *elements, f func(json.RawMessage) error) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == nil {
		return nil
	}
	if t != json.Delim('[') {
		return errors.New("a list stands elsewhere")
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		d.step.again()
		if err := f(raw); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// notJSON makes an end that comes too early one that is tried again.
func notJSON(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return &brokenBody{io.ErrUnexpectedEOF}
	}
	return err
}

// mispPage is how many events are asked for at once.
const mispPage = 100

// misp fetches one page of a MISP server's events that were published or changed since the last time.
func (c *client) misp(ctx context.Context, cur Cursor, dir string) (*portion, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	if cur.Page == 0 {
		cur.Page, cur.Began = 1, c.now().Unix()
	}
	ask := map[string]any{"returnFormat": "json", "limit": mispPage, "page": cur.Page, "published": true}
	if cur.Since > 0 {
		ask["timestamp"] = strconv.FormatInt(cur.Since, 10)
	}
	question, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	p := &portion{}
	err = c.fetch(ctx, func() (*http.Request, error) {
		r, err := http.NewRequest(http.MethodPost, c.feed.url.JoinPath("events", "restSearch").String(), bytes.NewReader(question))
		if err == nil {
			r.Header.Set("Accept", "application/json")
			r.Header.Set("Content-Type", "application/json")
		}
		return r, err
	}, func(_ http.Header, _ int, body io.Reader) error {
		if err := s.again(); err != nil {
			return err
		}
		n := 0
		err := eachKey(io.TeeReader(body, s), func(key string, d *elements) error {
			if key == "response" {
				return eachElement(d, func(json.RawMessage) error { n++; return nil })
			}
			var other json.RawMessage
			return d.Decode(&other)
		})
		if err != nil {
			return fmt.Errorf("reading the MISP server's answer: %w", err)
		}
		if _, err := io.Copy(s, body); err != nil { // blanks behind the end
			return err
		}
		p.path, p.more = s.file.Name(), n >= mispPage
		if n == 0 {
			p.path = ""
		}
		p.cursor = Cursor{Since: cur.Since, Began: cur.Began, Page: cur.Page + 1}
		if !p.more {
			// An hour is asked for twice: the server's clock is not ours, and what comes twice counts nothing anew.
			p.cursor = Cursor{Since: cur.Began - 3600}
		}
		return nil
	})
	p.digest = s.digest()
	return p, err
}

// eventID is what the manifest of a MISP feed names its events by.
var eventID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// The bounds of a MISP feed.
const (
	maxManifest  = 256 << 20
	maxEvents    = 200_000
	eventsAtOnce = 100
)

// mispFeed fetches events of a MISP feed whose time stamp in the manifest is not the one that was read, some at once.
func (c *client) mispFeed(ctx context.Context, cur Cursor, dir string) (*portion, error) {
	stamps := map[string]string{}
	err := c.fetch(ctx, c.get("manifest.json"), func(_ http.Header, _ int, body io.Reader) error {
		clear(stamps)
		return eachKey(io.LimitReader(body, maxManifest), func(key string, d *elements) error {
			var event struct {
				Timestamp json.RawMessage `json:"timestamp"`
			}
			if err := d.Decode(&event); err != nil {
				return fmt.Errorf("reading the manifest: %w", err)
			}
			if !eventID.MatchString(key) {
				return nil // it would be part of a path
			}
			if len(stamps) >= maxEvents {
				return fmt.Errorf("reading the manifest: more than %d events", maxEvents)
			}
			stamps[key] = string(bytes.Trim(event.Timestamp[:min(len(event.Timestamp), 40)], `"`))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	p := &portion{cursor: Cursor{Events: maps.Clone(cur.Events)}}
	if p.cursor.Events == nil {
		p.cursor.Events = map[string]string{}
	}
	maps.DeleteFunc(p.cursor.Events, func(id, _ string) bool { _, there := stamps[id]; return !there })
	var changed []string
	for id, at := range stamps {
		if cur.Events[id] != at || at == "" && cur.Events == nil {
			changed = append(changed, id)
		}
	}
	if len(changed) == 0 {
		return p, nil
	}
	slices.Sort(changed)
	p.more = len(changed) > eventsAtOnce
	changed = changed[:min(len(changed), eventsAtOnce)]
	folder, err := os.MkdirTemp(dir, "events-*")
	if err != nil {
		return nil, fmt.Errorf("keeping what was fetched: %w", err)
	}
	sum := sha256.New()
	for _, id := range changed {
		f, err := os.Create(filepath.Join(folder, id+".json"))
		if err != nil {
			return nil, fmt.Errorf("keeping what was fetched: %w", err)
		}
		err = c.fetch(ctx, c.get(id+".json"), func(_ http.Header, _ int, body io.Reader) error {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if err := f.Truncate(0); err != nil {
				return err
			}
			_, err := io.Copy(f, body)
			return err
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("fetching event %s: %w", id, err)
		}
		fmt.Fprintf(sum, "%s %s\n", id, stamps[id])
		p.cursor.Events[id] = stamps[id]
	}
	p.path, p.digest = folder, hex.EncodeToString(sum.Sum(nil))
	return p, nil
}

// get builds requests for a file below the place.
func (c *client) get(name string) func() (*http.Request, error) {
	u := c.feed.url.JoinPath(url.PathEscape(name))
	return func() (*http.Request, error) { return http.NewRequest(http.MethodGet, u.String(), nil) }
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
