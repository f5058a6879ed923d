package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// publicationBody is a publication as its page shows it.
type publicationBody struct {
	Title       string
	Type        intel.PublicationType
	Overview    []field
	Description []string // its paragraphs
	Files       panel
	Left        uint64 // files that the page leaves out
}

// publicationPath is the address of a publication's page. An id may hold anything, slashes too.
func publicationPath(id string) string { return "/publication/" + url.PathEscape(id) }

// publication answers GET /publication/{id}. It uses a unit of quota as the API does.
func (w *web) publication(rw http.ResponseWriter, r *http.Request) {
	id := w.identify(rw, r)
	if id == nil {
		return
	}
	var d *dossier.PublicationDossier
	_, err := w.Gate.Access.Counted(id.Account, func() (err error) {
		d, err = dossier.Publication(r.Context(), w.View(id.Account.Clearance), r.PathValue("id"), shownRows)
		return err
	})
	if err != nil {
		if errors.Is(err, intel.ErrUnknown) {
			err = unknownPublication{}
		}
		w.fail(rw, r, err)
		return
	}
	b := publicationBody{Title: d.Title, Type: d.Type, Left: d.Left}
	for line := range strings.Lines(d.Description) {
		if line = strings.TrimSpace(line); line != "" {
			b.Description = append(b.Description, line)
		}
	}
	add := func(name string, c cell) {
		if c.Text != "" || !c.Time.IsZero() {
			b.Overview = append(b.Overview, field{name, c})
		}
	}
	add("Type", cell{Text: string(d.Type)})
	add("Id", cell{Text: d.ID})
	add("Published", cell{Time: d.Published})
	add("Updated", cell{Time: d.Updated})
	read := outward(d.URL, d.URL)
	read.Note = "" // the text says it
	add("To read at", read)
	add("Tags", cell{Text: strings.Join(d.Tags, ", ")})
	add("Named by", cell{Text: strings.Join(d.Sources, ", ")})
	add("Known since", cell{Time: d.Learned.Time()})
	b.Files = panel{ID: "files", Title: "Files that it names", Columns: []string{"Zone", "File", "Detection name", "Hits", "First seen", "Last seen"}, Count: len(d.Files), More: d.Left}
	for i := range d.Files {
		f := &d.Files[i]
		b.Files.Rows = append(b.Files.Rows, []cell{{Zone: f.Zone}, fileCell(f.File), {Text: f.Detection}, number(f.Hits), {Time: f.First}, {Time: f.Last}})
	}
	w.render(rw, r, http.StatusOK, "publication.html", page{Title: visible(d.Title), Account: id.Account.Name, Body: b})
}

// unknownPublication is told on its page without the id, which may be any text.
type unknownPublication struct{}

func (unknownPublication) Error() string { return "no publication with this id is known" }
func (unknownPublication) Unwrap() error { return intel.ErrUnknown }
