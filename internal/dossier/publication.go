package dossier

import (
	"context"

	"spoor/internal/intel"
)

// PublicationDossier is the answer for a publication.
type PublicationDossier struct {
	intel.Publication
	Sources []string      // who named it
	Learned intel.Seconds // when Spoor first heard of it
	Files   []FileRow     // that it names; hits and dates are those of their sightings
	Left    uint64        // files that are left out
}

// Publication makes the answer for a publication, with at most count of its files. It fails with [intel.ErrUnknown] when there is none with
// this id, and as the view does.
func Publication(ctx context.Context, view View, id string, count int) (*PublicationDossier, error) {
	facts, err := view.Publication(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range facts.Files {
		facts.Files[i].Tally = intel.Tally{}
		if h := facts.Files[i].Value.Head; h != nil {
			facts.Files[i].Tally = h.Seen
		}
	}
	b := &builder{count: count}
	d := &PublicationDossier{Publication: facts.Value, Sources: facts.Sources, Learned: facts.Learned, Files: b.fileRows(facts.Files)}
	d.Left = facts.Gap.Rows + uint64(len(facts.Files)-len(d.Files))
	return d, nil
}
