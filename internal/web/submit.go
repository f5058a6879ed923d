package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"spoor/internal/access"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/submit"
)

// Submissions is what the pages need of the queue of files to inspect.
type Submissions interface {
	Submit(ctx context.Context, r io.Reader, s submit.Submission) (submit.Ticket, error)
	State(h intel.Hash, clearance intel.Marking) (submit.Progress, bool)
	Wait(ctx context.Context, h intel.Hash)
}

// formBytes is how much a form may be larger than the file in it.
const formBytes = 1 << 20

// shortWait is how long a submission waits for its inspection, so that most lead to a page that is whole.
const shortWait = 5 * time.Second

// submit takes the file of the form in and leads to its page.
func (w *web) submit(rw http.ResponseWriter, r *http.Request) {
	id, err := w.Gate.Identify(reading(r), access.Submit) // a browser's session counts here: the form came from this server
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if r.ContentLength > submit.MaxFile+formBytes {
		w.tooLarge(rw, r)
		return
	}
	raw := r.Body
	r.Body = io.NopCloser(serve.Body(rw, r, submit.MaxFile+formBytes))
	form, err := r.MultipartReader()
	if err != nil {
		w.fail(rw, r, &intel.Refusal{Reason: "the form cannot be read: " + err.Error()})
		return
	}
	part, err := filePart(form)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	file := bufio.NewReader(part)
	if _, err := file.Peek(1); err == io.EOF && part.FileName() == "" {
		w.fail(rw, r, &intel.Refusal{Reason: "no file was chosen"})
		return
	}
	var ticket submit.Ticket
	_, err = w.Gate.Access.Counted(id.Account, func() (err error) {
		ticket, err = w.Submissions.Submit(context.WithoutCancel(r.Context()), file, submit.Submission{Name: part.FileName(), Account: id.Account.Name})
		return err
	})
	switch {
	case errors.Is(err, submit.ErrTooLarge), errors.Is(err, serve.ErrTooLarge):
		r.Body = raw
		w.tooLarge(rw, r)
		return
	case errors.Is(err, submit.ErrFull):
		err = fmt.Errorf("%w: %w", serve.ErrNoRoom, err)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), shortWait)
	defer cancel()
	w.Submissions.Wait(ctx, ticket.File.SHA256)
	http.Redirect(rw, r, "/hash/"+ticket.File.SHA256.String(), http.StatusSeeOther)
}

// tooLarge answers about a file that is too large. The rest of it is read first: a browser that is still sending would tell of a broken connection.
func (w *web) tooLarge(rw http.ResponseWriter, r *http.Request) {
	serve.Drain(rw, r)
	w.fail(rw, r, fmt.Errorf("the file is %w: at most %d MiB", serve.ErrTooLarge, submit.MaxFile>>20))
}

// filePart finds the file in a form.
func filePart(form *multipart.Reader) (*multipart.Part, error) {
	const most = 16 // fields before it
	for range most {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, &intel.Refusal{Reason: "the form cannot be read: " + err.Error()}
		}
		if part.FormName() == "file" {
			return part, nil
		}
	}
	return nil, &intel.Refusal{Field: "file", Reason: "there is no file in the form"}
}

// lookAgain is after how many seconds the page of a file that is being inspected is asked for again, by the browser itself. Each time takes a unit
// of quota, so who has waited long waits longer.
func lookAgain(waited time.Duration) int {
	return int(min(max(waited/10, 3*time.Second), time.Minute).Seconds())
}

// inspecting says how far a file is that waits for its inspection or is at it, "" for others. Then the page is asked for again.
func (w *web) inspecting(rw http.ResponseWriter, h intel.Hash, clearance intel.Marking) string {
	if w.Submissions == nil {
		return ""
	}
	p, waits := w.Submissions.State(h, clearance)
	if !waits {
		return ""
	}
	since := time.Since(p.Since).Round(time.Second)
	rw.Header().Set("Refresh", strconv.Itoa(lookAgain(since)))
	switch {
	case p.State == submit.Inspecting:
		return fmt.Sprintf("is being inspected, for %s now: %d members so far", since, p.Members)
	case p.Ahead == 1:
		return fmt.Sprintf("waits for its inspection, for %s now, behind one other file", since)
	}
	return fmt.Sprintf("waits for its inspection, for %s now, behind %d others", since, p.Ahead)
}
