package dossier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// section is one part of the answer: what it needs of the store, and how it is made.
type section struct {
	name  Section
	needs intel.Section
	build func(*builder) error
	paged bool // its rows can be paged through
	own   bool // Spoor's own: only when asked for by name
}

// sections lists all of them in the page's order.
var sections = []section{
	{name: LicenseInfo}, // the API fills it in
	{name: Zone, build: (*builder).zone},
	{name: RelatedObjects, needs: neededByRelatedObjects, build: (*builder).relatedObjects},
	{name: FileGeneralInfo, build: (*builder).fileGeneralInfo},
	{name: DetectionsInfo, build: (*builder).detectionsInfo},
	{name: FilePaths, needs: intel.SectionPaths, build: (*builder).filePaths, paged: true},
	{name: FileNames, needs: intel.SectionNames, build: (*builder).fileNames, paged: true},
	{name: FileDownloadedFromUrls, needs: intel.SectionDownloadedFrom, build: (*builder).fileDownloadedFromUrls, paged: true},
	{name: FileAccessedUrls, needs: intel.SectionAccessed, build: (*builder).fileAccessedUrls, paged: true},
	{name: FileStartedObjects, needs: intel.SectionStarted, build: (*builder).fileStartedObjects, paged: true},
	{name: FileStartedBy, needs: intel.SectionStartedBy, build: (*builder).fileStartedBy, paged: true},
	{name: FileDownloadedObjects, needs: intel.SectionDownloaded, build: (*builder).fileDownloadedObjects, paged: true},
	{name: FileDownloadedBy, needs: intel.SectionDownloadedBy, build: (*builder).fileDownloadedBy, paged: true},
	{name: FileCertificates, needs: intel.SectionCertificates, build: (*builder).fileCertificates, paged: true},
	{name: FileParentCertificates, needs: intel.SectionContainedIn, build: (*builder).fileParentCertificates},
	{name: FileUnpackedFrom, needs: intel.SectionContainedIn, build: (*builder).fileUnpackedFrom, paged: true},
	{name: FileUnpackedObjects, needs: intel.SectionContains, build: (*builder).fileUnpackedObjects, paged: true},
	{name: SimilarFiles, needs: neededBySimilarFiles, build: (*builder).similarFiles},
	{name: DataFeeds, build: (*builder).dataFeeds},
	{name: Hosts, needs: intel.SectionHosts, build: (*builder).hosts, paged: true, own: true},
	{name: SimilarEvidence, needs: neededBySimilarFiles, build: (*builder).similarFiles, own: true},
	{name: MemberPaths, needs: intel.SectionContains, build: (*builder).fileUnpackedObjects, own: true},
	{name: Reasons, build: (*builder).zone, own: true},
	{name: Conflicts, build: (*builder).conflicts, own: true},
	{name: Inspection, needs: intel.SectionDetails | intel.SectionFuzzyHashes, build: (*builder).inspection, own: true},
}

// PageSections returns the nineteen sections of an answer that names none, in the page's order.
func PageSections() (names []Section) {
	for _, s := range sections {
		if !s.own {
			names = append(names, s.name)
		}
	}
	return names
}

// AllSections returns every section, Spoor's own last.
func AllSections() (names []Section) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// ParseSections reads a comma-separated list of names, as clients send it; blanks around a name and empty names are passed over.
// An unknown name is an [intel.ErrInvalid] that lists the valid ones. The result is in the page's order; nil when the list is empty.
func ParseSections(list string) ([]Section, error) {
	asked := map[Section]bool{}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.ContainsFunc(sections, func(s section) bool { return string(s.name) == name }) {
			valid := make([]string, len(sections))
			for i, s := range sections {
				valid[i] = string(s.name)
			}
			return nil, &intel.Refusal{Field: "sections", Reason: fmt.Sprintf("there is no section %q; valid are %s", cut(name, 64), strings.Join(valid, ", "))}
		}
		asked[Section(name)] = true
	}
	var names []Section
	for _, s := range sections {
		if asked[s.name] {
			names = append(names, s.name)
		}
	}
	return names, nil
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// builder is one dossier on its way. What several sections share it makes once.
type builder struct {
	ctx   context.Context
	view  View
	facts *intel.Facts
	d     *Dossier
	count int
	depth int // deepest level of unpacking that is told

	up, down *tree // containers, members
}

// pageAsked and pageNeeds are what an answer that names no sections takes.
var pageAsked, pageNeeds = chosen(PageSections())

// chosen returns the sections of these names, and what they need of the store.
func chosen(names []Section) (asked []*section, want intel.Section) {
	for i := range sections {
		if slices.Contains(names, sections[i].name) {
			asked = append(asked, &sections[i])
			want |= sections[i].needs
		}
	}
	return asked, want
}

// Build recalls what view knows of h and makes the dossier of it. It fails with [intel.ErrUnknown] when nothing at all is known
// of h, with [intel.ErrInvalid] when the query asks for a count out of bounds, and as the view does.
func Build(ctx context.Context, view View, h intel.Hash, q Query) (*Dossier, error) {
	if q.Count == 0 {
		q.Count = MaxRows
	}
	if q.Count < 1 || q.Count > MaxRows {
		return nil, &intel.Refusal{Field: "count", Reason: fmt.Sprintf("%d is not within 1 to %d", q.Count, MaxRows)}
	}
	asked, want := pageAsked, pageNeeds
	if q.Sections != nil {
		asked, want = chosen(q.Sections)
	}
	facts, err := view.Recall(ctx, h, want)
	if err != nil {
		if errors.Is(err, intel.ErrUnknown) {
			return nil, err
		}
		return nil, fmt.Errorf("looking up %s: %w", h, err)
	}
	b := newBuilder(ctx, view, h, facts, q.Count, MaxLevel)
	for _, s := range asked {
		b.d.Sections = append(b.d.Sections, s.name)
		if s.build == nil {
			continue
		}
		if err := s.build(b); err != nil {
			return nil, fmt.Errorf("building %s of %s: %w", s.name, h, err)
		}
		if g := facts.Gaps[s.needs]; g.Rows > 0 && s.name != RelatedObjects {
			if b.d.Gaps == nil {
				b.d.Gaps = map[Section]intel.Gap{}
			}
			b.d.Gaps[s.name] = g
		}
	}
	if q.Publications {
		if err := b.aboutPublications(); err != nil {
			return nil, fmt.Errorf("the publications of %s: %w", h, err)
		}
	}
	return b.d, nil
}

// aboutPublications completes the publications of the general info.
func (b *builder) aboutPublications() error {
	publications := b.d.General.Publications[:min(len(b.d.General.Publications), MaxRows)]
	if len(publications) == 0 {
		return nil
	}
	ids := make([]string, len(publications))
	for i := range publications {
		ids[i] = publications[i].ID
	}
	about, err := b.view.Publications(b.ctx, ids)
	if err != nil {
		return err
	}
	for i := range publications {
		p := &publications[i]
		p.Description, p.Published, p.Updated, p.Tags = about[i].Value.Description, about[i].Value.Published, about[i].Value.Updated, about[i].Value.Tags
	}
	return nil
}

func newBuilder(ctx context.Context, view View, h intel.Hash, facts *intel.Facts, count, depth int) *builder {
	b := &builder{ctx: ctx, view: view, facts: facts, count: count, depth: depth, d: &Dossier{Asked: h, File: facts.File}}
	b.d.General.Size = -1
	return b
}

// Pages reports whether a section's rows can be paged through.
func Pages(name Section) bool {
	i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
	return i >= 0 && sections[i].paged
}

// Page makes a dossier of about count rows of one section, those that follow after, and says where the next page begins, nil at the end.
// From nil on it meets every row that the store has, also those that a hub's answer leaves out; of containers and members the direct ones.
// Pages follow each other in no order that means anything. It fails as Build does, and with [intel.ErrInvalid] for a section that has no pages.
func Page(ctx context.Context, view View, h intel.Hash, name Section, after []byte, count int) (d *Dossier, next []byte, err error) {
	if !Pages(name) {
		return nil, nil, &intel.Refusal{Field: "cursor", Reason: fmt.Sprintf("the section %q has no pages", cut(string(name), 64))}
	}
	asked, group := chosen([]Section{name})
	facts, next, err := view.Page(ctx, h, group, after, count)
	if err != nil {
		return nil, nil, err
	}
	b := newBuilder(ctx, view, h, facts, count, 0)
	b.d.Sections = []Section{name}
	if err := asked[0].build(b); err != nil {
		return nil, nil, fmt.Errorf("building %s of %s: %w", name, h, err)
	}
	return b.d, next, nil
}

// order is what rows of every section are sorted by: red first, then hits, then the last date, then the row's own key.
type order struct {
	zone intel.Zone
	hits uint64
	last int64
}

func (a order) compare(b order) int {
	return cmp.Or(-cmp.Compare(a.zone, b.zone), -cmp.Compare(a.hits, b.hits), -cmp.Compare(a.last, b.last))
}

// best returns the indices of the best rows, most at most, in order. Rows themselves stay where they are: sorting large ones by value
// costs more than all else.
func best[T any](rows []T, most int, by func(*T) order, key func(a, b *T) int) []int {
	type place struct {
		order
		index int
	}
	places := make([]place, len(rows))
	for i := range rows {
		places[i] = place{by(&rows[i]), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := a.compare(b.order); c != 0 {
			return c
		}
		return key(&rows[a.index], &rows[b.index])
	})
	out := make([]int, min(len(rows), most))
	for i := range out {
		out[i] = places[i].index
	}
	return out
}

// capped returns the best rows in order, never nil.
func capped[T any](rows []T, most int, by func(*T) order, key func(a, b *T) int) []T {
	out := make([]T, 0, min(len(rows), most))
	for _, i := range best(rows, most, by, key) {
		out = append(out, rows[i])
	}
	return out
}

// fileRows makes the rows of a relation to other files.
func (b *builder) fileRows(related []intel.Row[intel.Related]) []FileRow {
	zero := &intel.Head{}
	head := func(r *intel.Row[intel.Related]) *intel.Head {
		if r.Value.Head == nil {
			return zero
		}
		return r.Value.Head
	}
	rows := make([]FileRow, 0, min(len(related), b.count))
	for _, i := range best(related, b.count,
		func(r *intel.Row[intel.Related]) order {
			return order{verdict.Zone(r.Value.Head), r.Count, int64(r.Last)}
		},
		func(x, y *intel.Row[intel.Related]) int {
			return cmp.Or(compareFiles(head(x).File, head(y).File), strings.Compare(x.Value.Path, y.Value.Path), strings.Compare(x.Value.Name, y.Value.Name))
		}) {
		r := &related[i]
		rows = append(rows, FileRow{File: head(r).File, Zone: verdict.Zone(r.Value.Head), Hits: r.Count, Path: r.Value.Path, Location: intel.Location(r.Value.Path),
			Name: r.Value.Name, First: r.First.Time(), Last: r.Last.Time(), Detection: verdict.Detection(r.Value.Head), Weak: r.Value.Weak})
	}
	return rows
}

func compareFiles(a, b intel.Hashes) int {
	return cmp.Or(a.MD5.Compare(b.MD5), a.SHA256.Compare(b.SHA256), a.SHA1.Compare(b.SHA1))
}

// urlRows makes the rows of a relation to web addresses.
func (b *builder) urlRows(addresses []intel.Row[intel.WebAddress]) []URLRow {
	rows := make([]URLRow, len(addresses))
	for i := range addresses {
		a := &addresses[i]
		rows[i] = URLRow{URL: a.Value.URL, Truncated: a.Value.Truncated, Host: a.Value.Host, Domain: intel.UpperDomain(a.Value.Host),
			Zone: verdict.Address(a.Value.Listings), Hits: a.Count, Last: a.Last.Time(), IPs: a.Value.IPs}
	}
	return capped(rows, b.count, func(r *URLRow) order { return order{r.Zone, r.Hits, r.Last.Unix()} },
		func(x, y *URLRow) int { return strings.Compare(x.URL, y.URL) })
}

// attribute returns the best attested value of an attribute: the most often said, then the latest, then the largest text.
func attribute(h *intel.Head, name intel.AttributeName) string {
	var best *intel.Row[intel.Attribute]
	for i := range h.Attributes {
		a := &h.Attributes[i]
		if a.Value.Name == name && (best == nil || cmp.Or(cmp.Compare(a.Count, best.Count), cmp.Compare(a.Last, best.Last), cmp.Compare(a.Value.Value, best.Value.Value)) > 0) {
			best = a
		}
	}
	if best == nil {
		return ""
	}
	return best.Value.Value
}
