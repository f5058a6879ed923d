package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/submit"
	"spoor/wire"
)

// Submissions is what the API needs of the queue of files to inspect.
type Submissions interface {
	Submit(ctx context.Context, r io.Reader, s submit.Submission) (submit.Ticket, error)
	State(h intel.Hash, clearance intel.Marking) (submit.Progress, bool)
	Wait(ctx context.Context, h intel.Hash)
}

// How long a submission waits for its inspection before it is answered with what is known by then.
const (
	defaultWait = 10 * time.Second
	maxWait     = 25 * time.Second // less than a request may take
)

// scanSections are those of the answer about a submitted file.
var scanSections = append(slices.Clone(pageSections[1:]), dossier.Inspection) // without LicenseInfo

// complete is the status of a file that has been inspected; the others are those of the queue.
const complete = "complete"

// scanFile answers POST /api/v1/scan/file?filename=: the body is the file. It counts as one request of the quota.
func (a *api) scanFile(w http.ResponseWriter, r *http.Request) {
	id, err := a.Gate.Identify(r, access.Submit)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id, v1: true}
	s, err := readScan(r)
	if err == nil && s.Marking > id.Account.Clearance {
		err = &intel.Refusal{Field: "marking", Reason: fmt.Sprintf("%s is stricter than %s, the clearance of the account, which could not see what the file says", s.Marking, id.Account.Clearance)}
	}
	if err == nil {
		err = plainBody(r)
	}
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	s.Account = id.Account.Name
	if r.ContentLength > submit.MaxFile {
		bodyFailed(w, r, fmt.Errorf("the file is %w: %d bytes, at most %d", serve.ErrTooLarge, r.ContentLength, submit.MaxFile))
		return
	}
	usage, err := a.Gate.Access.Use(id.Account, 1)
	if err != nil {
		a.fail(w, r, q, usage, err)
		return
	}
	body := serve.Body(w, r, submit.MaxFile+1) // the queue says what is too large for it
	// The body has its own times; what follows has those of the request.
	ctx := context.WithoutCancel(r.Context())
	ticket, err := a.Submissions.Submit(ctx, body, s.Submission)
	switch {
	case errors.Is(err, submit.ErrTooLarge):
		err = fmt.Errorf("the file is %w: at most %d MiB", serve.ErrTooLarge, submit.MaxFile>>20)
	case errors.Is(err, submit.ErrFull):
		err = fmt.Errorf("%w: %w", serve.ErrNoRoom, err)
	}
	if err != nil {
		// It was taken before the bytes came, so that many uploads at once cannot exceed the quota. What is refused costs none.
		if err := a.Gate.Access.Return(id.Account, usage, 1); err != nil {
			serve.Fail(w, r, err)
			return
		}
		bodyFailed(w, r, bodyError(err))
		return
	}
	if !ticket.Done && s.wait > 0 {
		wait, cancel := context.WithTimeout(r.Context(), s.wait)
		a.Submissions.Wait(wait, ticket.File.SHA256)
		cancel()
	}
	q.clearance = id.Account.Clearance
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	a.scanned(ctx, w, r, q, usage, ticket.File.SHA256, &ticket)
}

// scanRequest is the query of a submission.
type scanRequest struct {
	submit.Submission
	wait time.Duration
}

// plainBody fails for a body that is not the file itself. What a shell's tools call a form by default is taken for what it is.
func plainBody(r *http.Request) error {
	if e := encoding(r); e != "" && e != "identity" {
		return fmt.Errorf("the Content-Encoding %s: %w; send the file as it is", cut(e), serve.ErrMediaType)
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(media, "multipart/") {
		return fmt.Errorf("%s: %w; send the file itself as the body, as curl --data-binary @FILE does", cut(media), serve.ErrMediaType)
	}
	return nil
}

func readScan(r *http.Request) (s scanRequest, err error) {
	values, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return s, err
	}
	s.wait = defaultWait
	for name, v := range values {
		if len(v) > 1 {
			return s, &intel.Refusal{Field: cut(name), Reason: "given more than once"}
		}
		switch name {
		case "filename":
			if len(v[0]) > intel.MaxText {
				return s, &intel.Refusal{Field: name, Reason: fmt.Sprintf("longer than %d bytes", intel.MaxText)}
			}
			s.Name = v[0]
		case "marking":
			if err := s.Marking.UnmarshalText([]byte(v[0])); err != nil {
				return s, &intel.Refusal{Field: name, Reason: err.Error()}
			}
		case "again":
			if s.Again, err = strconv.ParseBool(v[0]); err != nil {
				return s, &intel.Refusal{Field: name, Reason: fmt.Sprintf("%q is neither true nor false", cut(v[0]))}
			}
		case "wait":
			n, err := strconv.Atoi(v[0])
			if s.wait = time.Duration(n) * time.Second; err != nil || n < 0 || s.wait > maxWait {
				return s, &intel.Refusal{Field: name, Reason: fmt.Sprintf("%q is no whole number of seconds within 0 to %d", cut(v[0]), int(maxWait.Seconds()))}
			}
		}
	}
	return s, nil
}

// getResult answers POST /api/v1/getresult/file?request=HASH: how far a submitted file is, and what is known of it.
func (a *api) getResult(w http.ResponseWriter, r *http.Request) {
	id, err := a.Gate.Identify(r, access.Lookup)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	request, err := requestOf(r)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	h, err := intel.ParseHash(request)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	q := &ask{id: id, v1: true, question: question{clearance: id.Account.Clearance}}
	usage, err := a.Gate.Access.Use(id.Account, 1)
	if err != nil {
		a.fail(w, r, q, usage, err)
		return
	}
	a.scanned(r.Context(), w, r, q, usage, h, nil)
}

// scanned answers with what is known of a file and how far its inspection is.
func (a *api) scanned(ctx context.Context, w http.ResponseWriter, r *http.Request, q *ask, u access.Usage, h intel.Hash, t *submit.Ticket) {
	progress, waits := a.Submissions.State(h, q.clearance)
	view, size := a.View(q.clearance), int64(-1)
	switch {
	case t != nil:
		view, size = submitted{view, t.File}, t.Size
	case waits:
		view, size = submitted{view, progress.File}, progress.Size
	}
	d, err := dossier.Build(ctx, view, h, dossier.Query{Sections: scanSections})
	if err != nil {
		a.fail(w, r, q, u, err)
		return
	}
	if d.General.Size < 0 {
		d.General.Size = size
	}
	report := encoder{wire.Seconds}.report(d)
	report.FileGeneralInfo.FileStatus = fileStatus(d)
	report.Status = string(progress.State)
	if !waits {
		report.Status = string(submit.Waiting)
		if slices.ContainsFunc(report.Inspection, func(p wire.Property) bool { return p.Name == string(intel.Inspected) }) {
			report.Status = complete
		}
	}
	serve.QuotaHeaders(w, u)
	w.Header()["Cache-Control"] = noStore
	writeJSON(w, r, http.StatusOK, report)
}

// submitted is what is known of a file that somebody has submitted: at the least its hashes. So its answer has the same sections before its
// inspection as after.
type submitted struct {
	dossier.View
	file intel.Hashes
}

// Recall implements [dossier.View].
func (s submitted) Recall(ctx context.Context, h intel.Hash, want intel.Section) (*intel.Facts, error) {
	f, err := s.View.Recall(ctx, h, want)
	if errors.Is(err, intel.ErrUnknown) {
		return &intel.Facts{Head: intel.Head{File: s.file}, Asked: h}, nil
	}
	return f, err
}
