package web

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"spoor/internal/access"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/serve"
)

// shownRows is how many rows of a panel the page holds; the API has up to a thousand.
const shownRows = 200

// cell is one cell of a table. At most one of Link, Out, Time and Zone is set.
type cell struct {
	Text string
	Link string // to a page of this server, or a place on this one
	Out  string // to a page elsewhere: http or https, see [outward]
	Time time.Time
	Zone intel.Zone
	Kind string // class: "number", "hash", "path", "name", "none"
	Note string // small, beside the text
}

// panel is one folding table of the page.
type panel struct {
	ID, Title string
	Section   dossier.Section
	Columns   []string
	Rows      [][]cell
	Count     int    // rows that there are
	More      uint64 // rows that the store holds beyond
	All       string // page of all rows, where this one leaves some out
}

// field is one line of the overview.
type field struct {
	Name string
	cell
}

// hashBody is the dossier as the page shows it.
type hashBody struct {
	Hash       string
	Zone       intel.Zone
	Label      string
	Score      int
	Reasons    []string
	RedZone    bool
	Overview   []field
	Reports    []report
	Panels     []panel
	Inspecting string // how far the inspection is that is not done, "" when there is none
}

// unknownBody is the page of a file of which nothing is known.
type unknownBody struct {
	Hash       string
	Inspecting string
}

// report is a publication that names the file.
type report struct {
	Type intel.PublicationType
	ID   string
	Page cell // its title, which leads to its page
	cell      // where it can be read
}

// hash answers GET /hash/{hash}. It uses a unit of quota as the API does.
func (w *web) hash(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, r)
	if id == nil {
		return
	}
	h, err := intel.ParseHash(r.PathValue("hash"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if canonical := "/hash/" + h.String(); r.URL.Path != canonical {
		http.Redirect(rw, r, canonical, http.StatusMovedPermanently)
		return
	}
	inspecting := w.inspecting(rw, h, id.Account.Clearance)
	d, err := w.build(r, id, h, dossier.AllSections())
	if errors.Is(err, intel.ErrUnknown) {
		p := page{Title: "Unknown " + h.String(), Account: id.Account.Name, Query: h.String(), Body: unknownBody{h.String(), inspecting}}
		status := http.StatusNotFound
		if inspecting != "" {
			p.Title, status = "Being inspected "+h.String(), http.StatusOK
		}
		w.render(rw, r, status, "unknown.html", p)
		return
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	body := bodyOf(d)
	body.Inspecting = inspecting
	w.render(rw, r, http.StatusOK, "hash.html", page{Title: d.Verdict.Zone.Label() + " " + h.String(), Account: id.Account.Name, Query: h.String(), Body: body})
}

// rowsBody is one page of one section's rows.
type rowsBody struct {
	Hash  string
	Table panel
	Next  string // address of the next page, "" at the end
}

// rows answers GET /hash/{hash}/{section}: every row of a section, page by page, also those that a large relation keeps out of the dossier.
func (w *web) rows(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, r)
	if id == nil {
		return
	}
	h, err := intel.ParseHash(r.PathValue("hash"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	section := dossier.Section(r.PathValue("section"))
	if !dossier.Pages(section) {
		w.fail(rw, r, fmt.Errorf("%w: %s", serve.ErrNotFound, cut(r.URL.Path, 100)))
		return
	}
	var after []byte
	if cursor := r.URL.Query().Get("after"); cursor != "" {
		if after, err = base64.RawURLEncoding.DecodeString(cursor); err != nil {
			w.fail(rw, r, &intel.Refusal{Field: "after", Reason: "it is not one that a page gave"})
			return
		}
	}
	var d *dossier.Dossier
	var next []byte
	_, err = w.Gate.Access.Counted(id.Account, func() (err error) {
		d, next, err = dossier.Page(r.Context(), w.View(id.Account.Clearance), h, section, after, shownRows)
		return err
	})
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	body := rowsBody{Hash: h.String()}
	for _, p := range panelsOf(d) {
		if p.Section == section {
			body.Table = p
		}
	}
	if next != nil {
		body.Next = "?after=" + base64.RawURLEncoding.EncodeToString(next)
	}
	w.render(rw, r, http.StatusOK, "rows.html", page{Title: body.Table.Title + " " + h.String(), Account: id.Account.Name, Query: h.String(), Body: body})
}

// build makes a dossier and takes a unit of quota for it, known or not.
func (w *web) build(r *http.Request, id *access.Identity, h intel.Hash, sections []dossier.Section) (*dossier.Dossier, error) {
	var d *dossier.Dossier
	_, err := w.Gate.Access.Counted(id.Account, func() (err error) {
		d, err = dossier.Build(r.Context(), w.View(id.Account.Clearance), h, dossier.Query{Sections: sections})
		return err
	})
	return d, err
}

// listBody is the answer to a text with several hashes.
type listBody struct {
	Table panel
	Left  int // hashes that were not looked up
}

// list answers several hashes, a line each.
func (w *web) list(rw http.ResponseWriter, r *http.Request, id *access.Identity, hashes []intel.Hash) {
	body := listBody{Left: max(len(hashes)-maxFound, 0)}
	t := panel{ID: "found", Title: "Found in the text", Columns: []string{"Zone", "Hash", "Hits", "Last seen", "Detection", "Name"}}
	for _, h := range hashes[:len(hashes)-body.Left] {
		d, err := w.build(r, id, h, []dossier.Section{dossier.Zone, dossier.FileGeneralInfo, dossier.DetectionsInfo, dossier.FileNames})
		row := []cell{{Text: "unknown"}, {Text: h.String(), Link: "/hash/" + h.String(), Kind: "hash"}, {Kind: "number"}, {}, {}, {}}
		if err == nil {
			row[0] = cell{Zone: d.Verdict.Zone}
			row[2] = number(d.General.Hits)
			row[3] = cell{Time: d.General.LastSeen}
			if len(d.Detections) > 0 {
				row[4].Text = d.Detections[0].Name
			}
			if len(d.Names) > 0 {
				row[5].Text = d.Names[0].Name
			}
		} else if !errors.Is(err, intel.ErrUnknown) {
			w.fail(rw, r, err)
			return
		}
		t.Rows = append(t.Rows, row)
	}
	t.Count = len(t.Rows)
	body.Table = t
	w.render(rw, r, http.StatusOK, "list.html", page{Title: fmt.Sprintf("%d hashes", len(hashes)), Account: id.Account.Name, Body: body})
}

func number(n uint64) cell { return cell{Text: group(n), Kind: "number"} }

// group writes a number with a thin space between thousands.
func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// size is a number of bytes in a table, empty when unknown.
func size(n int64) cell {
	if n < 0 {
		return cell{Kind: "number"}
	}
	return number(uint64(n))
}

// byteSize is a number of bytes for reading, "" when unknown.
func byteSize(n int64) string {
	if n < 0 {
		return ""
	}
	exact := group(uint64(n)) + " bytes"
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB (%s)", float64(n)/(1<<30), exact)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB (%s)", float64(n)/(1<<20), exact)
	case n >= 10<<10:
		return fmt.Sprintf("%.1f KiB (%s)", float64(n)/(1<<10), exact)
	}
	return exact
}

// fileCell links to a related file by the hash that people know it by.
func fileCell(f intel.Hashes) cell {
	for _, h := range []intel.Hash{f.MD5, f.SHA256, f.SHA1} {
		if !h.IsZero() {
			return cell{Text: h.String(), Link: "/hash/" + h.String(), Kind: "hash"}
		}
	}
	return cell{Text: "no hash known", Kind: "none"}
}

// outward links a text to a page elsewhere. An address that is none of the web's is shown beside the text instead: a link would be a trap.
func outward(text, address string) cell {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return cell{Text: text, Out: address}
	}
	return cell{Text: text, Note: address}
}

// visible shows, as "[U+202E]", the characters of foreign text that change how the rest is read: controls and those that turn its direction.
func visible(s string) string {
	turns := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}
	if strings.IndexFunc(s, turns) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if turns(r) {
			fmt.Fprintf(&b, "[U+%04X]", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// brief is the beginning of a text that is too long to stand in a row, "" for one that is not. The page folds the whole behind it.
func brief(s string) string {
	const most, shown = 300, 120 // runes
	n := 0
	for i := range s {
		if n == shown {
			if utf8.RuneCountInString(s) <= most {
				return ""
			}
			return s[:i] + "…"
		}
		n++
	}
	return ""
}

func bodyOf(d *dossier.Dossier) *hashBody {
	g := &d.General
	b := &hashBody{Hash: d.Asked.String(), Zone: d.Verdict.Zone, Label: d.Verdict.Zone.Label(), Score: d.Verdict.Score, Reasons: d.Verdict.Reasons,
		RedZone: d.HasRedZone}
	for _, p := range g.Publications {
		b.Reports = append(b.Reports, report{p.Type, p.ID, cell{Text: p.Title, Link: publicationPath(p.ID)}, outward("to read", p.URL)})
	}
	add := func(name string, c cell) {
		if c.Text != "" || !c.Time.IsZero() {
			b.Overview = append(b.Overview, field{name, c})
		}
	}
	hash := func(h intel.Hash) cell { return cell{Text: h.String(), Kind: "hash"} }
	add("MD5", hash(d.File.MD5))
	add("SHA-1", hash(d.File.SHA1))
	add("SHA-256", hash(d.File.SHA256))
	add("Hits", number(g.Hits))
	hosts := number(d.HostCount)
	if d.HostCount > 0 {
		hosts.Link = "#hosts"
	}
	add("Hosts", hosts)
	add("First seen", cell{Time: g.FirstSeen})
	add("Last seen", cell{Time: g.LastSeen})
	if g.Signer != "" {
		add("Signer", cell{Text: g.Signer, Note: string(g.SignerStatus)})
	}
	add("Packer", cell{Text: g.Packer})
	add("Size", cell{Text: byteSize(g.Size)})
	add("Type", cell{Text: g.Type})
	add("Product", cell{Text: strings.TrimSpace(g.Product + " " + g.Version)})
	add("Company", cell{Text: g.Company})
	add("Description", cell{Text: g.Description})
	add("Original name", cell{Text: g.OriginalName})
	b.Panels = panelsOf(d)
	return b
}
