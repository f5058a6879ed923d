package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"spoor/internal/access"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/source"
	"spoor/wire"
)

// bodyName is how the refusals of readers call the body.
const bodyName = "body"

// events answers POST /api/events: a whole input of any format that the import reads, also packed, also an archive of several. What was
// acknowledged is durable. What is sent again under the same batch id counts nothing; without one, what has the same content, however it
// is packed and also when it was imported before from a file.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	in, o := a.admitEvents(w, r)
	if in == nil {
		return
	}
	defer in.end()
	// The body is kept first: of one that breaks off nothing is taken, so that it counts once when it comes whole.
	kept, _, err := spool(in.packed)
	if err != nil {
		bodyFailed(w, r, bodyError(err))
		return
	}
	defer kept.Close()
	receipt := wire.Receipt{Refusals: []wire.Refusal{}}
	im := ingest.Importer{Recorder: a.Recorder, Options: o, Each: func(f intel.Refusal) {
		receipt.Refused++
		if len(receipt.Refusals) < maxRefusals {
			input := strings.TrimLeft(strings.TrimPrefix(f.Input, bodyName), "!")
			receipt.Refusals = append(receipt.Refusals, wire.Refusal{Input: cutTo(input, maxReason), Line: f.Line, Field: cut(f.Field), Reason: cutTo(f.Reason, maxReason)})
		}
	}}
	if in.batch != "" {
		im.Batch = in.id.Account.Name + "\x00" + in.batch
	}
	// What Content-Encoding tells, the content tells, too.
	summary, err := im.ImportReader(in.ctx, bodyName, kept)
	receipt.Accepted, receipt.Repeated = summary.Accepted, summary.Repeated
	a.count(&receipt)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", intel.ErrUnavailable, err)
		}
		serve.Fail(w, r, err)
		return
	}
	writeReceipt(w, r, &receipt, "nothing in it could be read; refusals says why")
}

// acceptableEvents fails for a body that cannot be an input by itself.
func acceptableEvents(r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && strings.HasPrefix(media, "multipart/") {
		return fmt.Errorf("%s: %w; send the file itself as the body, as curl's --data-binary @FILE does", cut(media), serve.ErrMediaType)
	}
	return acceptableEncoding(r)
}

// admitEvents lets a body of events in, and says how they are to be read. When it returns nil it has answered; who may not send learns that
// before what is wrong with the query.
func (a *api) admitEvents(w http.ResponseWriter, r *http.Request) (*sending, source.Options) {
	o := source.Options{Now: time.Now()}
	if err := eventOptions(&o, r.URL.RawQuery); err != nil {
		if _, authErr := a.Gate.Identify(r, access.Ingest); authErr != nil {
			err = authErr
		}
		serve.Fail(w, r, err)
		return nil, o
	}
	return a.admit(w, r, acceptableEvents), o
}

// eventOptions reads how the events are to be read: format, feed, zone, marking, as 'spoor import' has them.
func eventOptions(o *source.Options, rawQuery string) error {
	values, err := parseQuery(rawQuery)
	if err != nil {
		return err
	}
	for name, v := range values {
		if len(v) > 1 {
			return &intel.Refusal{Field: cut(name), Reason: "given more than once"}
		}
		value := v[0]
		var err error
		switch name {
		case "format":
			err = o.Format.UnmarshalText([]byte(value))
		case "feed":
			if o.Feed = value; len(value) > 256 {
				err = errors.New("longer than 256 bytes")
			}
		case "zone":
			err = o.Zone.UnmarshalText([]byte(value))
		case "marking":
			err = o.Marking.UnmarshalText([]byte(value))
		}
		if err != nil {
			var refusal *intel.Refusal
			if errors.As(err, &refusal) {
				err = errors.New(refusal.Reason)
			}
			return &intel.Refusal{Field: name, Reason: cutTo(err.Error(), maxReason)}
		}
	}
	if o.Zone != 0 && o.Feed == "" {
		return &intel.Refusal{Field: "zone", Reason: "it says what being listed in a feed means: name the feed with feed="}
	}
	return nil
}
