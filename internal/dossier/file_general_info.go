package dossier

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// fileGeneralInfo fills the overview.
func (b *builder) fileGeneralInfo() error {
	h := &b.facts.Head
	g := &b.d.General
	first, last := seen(h)
	g.FirstSeen, g.LastSeen = first.Time(), last.Time()
	g.Hits = h.Seen.Count
	if s := signature(h); s != nil {
		g.Signer, g.SignerStatus, g.SignerZone = s.Signer, s.Status, verdict.Signer(s.Status)
	}
	g.Packer = attribute(h, intel.Packer)
	g.Size = size(h)
	g.Type = attribute(h, intel.Type)
	g.Product, g.Company = attribute(h, intel.Product), attribute(h, intel.Company)
	g.Description, g.Version = attribute(h, intel.Description), attribute(h, intel.Version)
	g.OriginalName = attribute(h, intel.OriginalName)
	g.Publications = make([]intel.Publication, 0, len(h.Publications))
	for _, p := range h.Publications {
		g.Publications = append(g.Publications, p.Value)
	}
	slices.SortFunc(g.Publications, func(x, y intel.Publication) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(string(x.Type), string(y.Type)))
	})
	return nil
}

// seen returns when a file was first and last seen: on the fleet when it was there at all, else by anyone who said something of it.
func seen(h *intel.Head) (first, last intel.Seconds) {
	if h.Seen.First != 0 {
		return h.Seen.First, h.Seen.Last
	}
	widen := func(t *intel.Tally) {
		if t.First != 0 && (first == 0 || t.First < first) {
			first = t.First
		}
		last = max(last, t.Last)
	}
	for i := range h.Attributes {
		widen(&h.Attributes[i].Tally)
	}
	for i := range h.Detections {
		widen(&h.Detections[i].Tally)
	}
	for i := range h.Listings {
		widen(&h.Listings[i].Tally)
	}
	for i := range h.Signatures {
		widen(&h.Signatures[i].Tally)
	}
	for i := range h.Publications {
		widen(&h.Publications[i].Tally)
	}
	return first, last
}

// signature returns the signature to show: a discredited one before all, then a trusted one, for who could not verify one says less than who could;
// of these the most often seen, then the latest, then by name.
func signature(h *intel.Head) *intel.Signature {
	var best *intel.Row[intel.Signature]
	rank := map[intel.SignatureStatus]int{intel.Trusted: 1, intel.Discredited: 2}
	better := func(a, b *intel.Row[intel.Signature]) bool {
		return cmp.Or(cmp.Compare(rank[a.Value.Status], rank[b.Value.Status]), cmp.Compare(a.Count, b.Count), cmp.Compare(a.Last, b.Last), cmp.Compare(b.Value.Signer, a.Value.Signer), cmp.Compare(a.Value.Status, b.Value.Status)) > 0
	}
	for i := range h.Signatures {
		if best == nil || better(&h.Signatures[i], best) {
			best = &h.Signatures[i]
		}
	}
	if best == nil {
		return nil
	}
	return &best.Value
}

// size returns the file's size in bytes, -1 when unknown.
func size(h *intel.Head) int64 {
	if n, err := strconv.ParseInt(attribute(h, intel.Size), 10, 64); err == nil {
		return n
	}
	return -1
}
