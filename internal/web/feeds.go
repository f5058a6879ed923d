package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"spoor/internal/access"
	"spoor/internal/feed"
	"spoor/internal/intel"
	"spoor/internal/serve"
)

// Feeds is what the page of feeds needs of their runner.
type Feeds interface {
	Status() (all []feed.Status, wrong string)
	Accept(name string) error
}

// feedsPage is the state of the handlers of /feeds.
type feedsPage struct {
	web
	feeds Feeds
}

// RegisterFeeds adds the page of feeds to a mux.
func RegisterFeeds(mux *http.ServeMux, c Config, feeds Feeds) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p := &feedsPage{web{c}, feeds}
	mux.Handle("/feeds", serve.Methods(http.MethodGet, http.HandlerFunc(p.list)))
	mux.Handle("/feeds/accept", serve.Methods(http.MethodPost, p.sameOrigin(p.accept)))
}

// heldFeed is a feed that waits for a person.
type heldFeed struct {
	Name    string
	Entries string
	Since   cell
	Reasons []string
	Files   []cell
	Accept  bool // whoever looks may let it in
}

// feedsBody is the page of feeds.
type feedsBody struct {
	Table panel
	Held  []heldFeed
	Wrong string // of the configuration, for those who may change it
}

// list answers GET /feeds: the feeds whose marking the account may see.
func (p *feedsPage) list(rw http.ResponseWriter, r *http.Request) {
	id := p.identify(rw, r)
	if id == nil {
		return
	}
	admin := id.May(access.Admin)
	body := feedsBody{Table: panel{ID: "feeds", Title: "Feeds", Columns: []string{"Feed", "State", "Entries", "Last success", "Next", "Last error", "From"}}}
	all, wrong := p.feeds.Status()
	if admin {
		body.Wrong = wrong
	}
	for i := range all {
		s := &all[i]
		if s.Marking > id.Account.Clearance {
			continue
		}
		next := cell{Time: s.Next}
		if s.Next.IsZero() && s.State != feed.Running && s.State != feed.Removed {
			next = cell{Text: "now"}
		}
		body.Table.Rows = append(body.Table.Rows, []cell{{Text: s.Name, Kind: "name"}, {Text: s.State}, number(s.Entries), {Time: s.Success}, next, {Text: s.Error}, {Text: s.Place, Kind: "path"}})
		if h := s.Held; h != nil {
			x := heldFeed{Name: s.Name, Entries: group(h.Entries), Since: cell{Time: h.At}, Reasons: h.Reasons, Accept: admin}
			for _, f := range h.Files {
				x.Files = append(x.Files, cell{Text: f, Link: "/hash/" + f, Kind: "hash"})
			}
			body.Held = append(body.Held, x)
		}
	}
	body.Table.Count = len(body.Table.Rows)
	p.render(rw, r, http.StatusOK, "feeds.html", page{Title: "Feeds", Account: id.Account.Name, Body: body})
}

// accept answers POST /feeds/accept, a form of this server's own page: what is held of a feed is let in.
func (p *feedsPage) accept(rw http.ResponseWriter, r *http.Request) {
	id, err := p.Gate.Identify(reading(r), access.Admin) // a browser's session counts here: the form came from this server
	if err != nil {
		p.fail(rw, r, err)
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, 16<<10)
	name := r.PostFormValue("feed")
	all, _ := p.feeds.Status()
	for i := range all {
		if all[i].Name != name || all[i].Marking > id.Account.Clearance {
			continue
		}
		if err := p.feeds.Accept(name); err != nil {
			p.fail(rw, r, err)
			return
		}
		p.Logger.Info("a held feed is accepted", "feed", name, "account", id.Account.Name)
		http.Redirect(rw, r, "/feeds", http.StatusSeeOther)
		return
	}
	p.fail(rw, r, &intel.Refusal{Field: "feed", Reason: fmt.Sprintf("there is no feed %q", cut(strings.ToValidUTF8(name, ""), 80))})
}
