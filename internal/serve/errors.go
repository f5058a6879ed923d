// Package serve is what the handlers of api and web share: credentials, errors as statuses, limits, the request log, recovery, metrics,
// and a server that stops gracefully.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spoor/internal/access"
	"spoor/internal/intel"
)

// The kinds of error that only HTTP has.
var (
	ErrNotFound  = errors.New("no such page")
	ErrMethod    = errors.New("method not allowed")
	ErrTooLarge  = errors.New("too large")
	ErrTooLong   = errors.New("too long")
	ErrMediaType = errors.New("unsupported media type")
	ErrFormat    = errors.New("not acceptable")
	ErrNoRoom    = errors.New("no room for a file")
)

// Failure is an error as a client sees it.
type Failure struct {
	Status     int
	Code       string // for programs
	Message    string // what happened and what to do
	RetryAfter time.Duration
}

// kinds is the one table from errors to statuses; the first that matches counts. An empty message means the error's own.
var kinds = []struct {
	is      error
	status  int
	code    string
	message string
	retry   time.Duration
}{
	{access.ErrCredential, http.StatusUnauthorized, "unauthorized", "no valid credential: send a token as 'Authorization: Bearer TOKEN', as the password of HTTP Basic, or as 'x-api-key: TOKEN'; 'spoor token create' makes one", 0},
	{access.ErrForbidden, http.StatusForbidden, "forbidden", "", 0},
	{access.ErrQuota, http.StatusTooManyRequests, "quota_exceeded", "the account's daily quota is used up; it begins anew at midnight UTC", 0},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "", 0},
	{ErrTooLong, http.StatusRequestURITooLong, "too_long", "", 0},
	{ErrMediaType, http.StatusUnsupportedMediaType, "unsupported_media_type", "", 0},
	{ErrFormat, http.StatusNotAcceptable, "not_acceptable", "", 0},
	{ErrNotFound, http.StatusNotFound, "not_found", "", 0},
	{ErrMethod, http.StatusMethodNotAllowed, "method_not_allowed", "", 0},
	{intel.ErrInvalid, http.StatusBadRequest, "bad_request", "", 0},
	{intel.ErrUnknown, http.StatusNotFound, "unknown_hash", "", 0},
	{ErrNoRoom, http.StatusServiceUnavailable, "unavailable", "there is no room for the file now: too many wait for their inspection, or the disk is full, as the server's log tells; try again later", time.Minute},
	{intel.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "the store cannot answer now; try again in a moment", 2 * time.Second},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable", "the store did not answer in time; try again in a moment", 2 * time.Second},
	{context.Canceled, 499, "cancelled", "the client went away", 0},
}

// FailureOf finds how an error is told. What the table does not know is a fault of ours: 500, without its inside.
func FailureOf(err error) Failure {
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			f := Failure{k.status, k.code, k.message, k.retry}
			if f.Message == "" {
				f.Message = err.Error()
			}
			if k.is == access.ErrQuota {
				f.RetryAfter = untilMidnight(time.Now())
			}
			return f
		}
	}
	return Failure{Status: http.StatusInternalServerError, Code: "internal", Message: "an error inside Spoor; its log says more"}
}

// Fail answers a request with an error as JSON.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	WriteFailure(w, r, FailureOf(err), err)
}

func untilMidnight(now time.Time) time.Duration {
	now = now.UTC()
	return now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
}

// WriteFailure answers with a failure as JSON; cause, when not nil, goes to the log of a server error.
func WriteFailure(w http.ResponseWriter, r *http.Request, f Failure, cause error) {
	if f.Status >= 500 && cause != nil {
		slog.New(logOf(r).Handler()).ErrorContext(r.Context(), "request failed", "path", cut(r.URL.Path, 200), "error", cause)
	}
	SetFailureHeaders(w, f)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	w.Write(errorBody(f.Code, f.Message))
}

// errorBody is the body of every error.
func errorBody(code, message string) []byte {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = code, message
	b, err := json.Marshal(&body)
	if err != nil { // strings cannot fail
		return []byte("{}\n")
	}
	return append(b, '\n')
}

// SetFailureHeaders sets what goes with a failure beside its body.
func SetFailureHeaders(w http.ResponseWriter, f Failure) {
	h := w.Header()
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if f.Status == http.StatusUnauthorized {
		h.Add("WWW-Authenticate", `Bearer realm="spoor"`)
		h.Add("WWW-Authenticate", `Basic realm="spoor", charset="UTF-8"`)
	}
}

// Methods lets only the named methods through; GET brings HEAD. Others get 405 and the list.
func Methods(allow string, next http.Handler) http.Handler {
	list := allow
	if allow == http.MethodGet {
		list = "GET, HEAD"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == allow || allow == http.MethodGet && r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Allow", list)
		Fail(w, r, fmt.Errorf("%s: %w here; use %s", cut(r.Method, 16), ErrMethod, list))
	})
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
