package api

import (
	"fmt"
	"net/http"

	"spoor/internal/access"
	"spoor/internal/feed"
	"spoor/internal/serve"
	"spoor/wire"
)

// Feeds is what the API needs of the runner of feeds.
type Feeds interface {
	Status() (all []feed.Status, wrong string)
	Start(name string) error
	Accept(name string) error
}

// FeedOf spells a feed's status.
func FeedOf(s *feed.Status) wire.Feed {
	f := wire.Feed{Name: s.Name, Kind: string(s.Kind), Place: s.Place, Zone: s.Zone.String(), Marking: s.Marking.String(), State: s.State, Entries: s.Entries,
		Snapshot: s.Snapshot, Attempt: s.Attempt, Success: s.Success, Next: s.Next, Error: s.Error, Failures: s.Failures}
	if h := s.Held; h != nil {
		f.Held = &wire.HeldFeed{At: h.At, Entries: h.Entries, Reasons: append([]string{}, h.Reasons...), Files: append([]string{}, h.Files...)}
	}
	return f
}

// FeedsOf spells the status of all.
func FeedsOf(all []feed.Status, wrong string) *wire.Feeds {
	out := &wire.Feeds{Feeds: []wire.Feed{}, ConfigError: wrong}
	for i := range all {
		out.Feeds = append(out.Feeds, FeedOf(&all[i]))
	}
	return out
}

// feedsAPI is the state of the handlers of feeds.
type feedsAPI struct {
	gate  *serve.Gate
	feeds Feeds
}

// RegisterFeeds adds the paths of feeds to a mux.
func RegisterFeeds(mux *http.ServeMux, gate *serve.Gate, feeds Feeds) {
	a := &feedsAPI{gate, feeds}
	mux.Handle("/api/feeds", serve.Methods(http.MethodGet, http.HandlerFunc(a.list)))
	mux.Handle("/api/feeds/{name}/{action}", serve.Methods(http.MethodPost, http.HandlerFunc(a.act)))
}

// list answers GET /api/feeds.
func (a *feedsAPI) list(w http.ResponseWriter, r *http.Request) {
	if _, err := a.gate.Identify(r, access.Admin); err != nil {
		serve.Fail(w, r, err)
		return
	}
	writeJSON(w, r, http.StatusOK, FeedsOf(a.feeds.Status()))
}

// act answers POST /api/feeds/{name}/run and accept: it begins, and what comes of it stands in the feed's status.
func (a *feedsAPI) act(w http.ResponseWriter, r *http.Request) {
	if _, err := a.gate.Identify(r, access.Admin); err != nil {
		serve.Fail(w, r, err)
		return
	}
	name, act := r.PathValue("name"), a.feeds.Start
	switch r.PathValue("action") {
	case "run":
	case "accept":
		act = a.feeds.Accept
	default:
		serve.Fail(w, r, fmt.Errorf("%w; a feed has run and accept", serve.ErrNotFound))
		return
	}
	find := func() *feed.Status {
		all, _ := a.feeds.Status()
		for i := range all {
			if all[i].Name == name {
				return &all[i]
			}
		}
		return nil
	}
	if find() == nil {
		serve.Fail(w, r, fmt.Errorf("%w: there is no feed %q", serve.ErrNotFound, cut(name)))
		return
	}
	if err := act(name); err != nil {
		serve.Fail(w, r, err)
		return
	}
	s := find()
	if s == nil { // the configuration changed meanwhile
		serve.Fail(w, r, fmt.Errorf("%w: there is no feed %q", serve.ErrNotFound, cut(name)))
		return
	}
	writeJSON(w, r, http.StatusOK, FeedOf(s))
}
