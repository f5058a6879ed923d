package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// publicationFields are what is kept of a publication itself, each as a text, "" when it is not said.
var publicationFields = [...]struct {
	name string
	text func(*intel.Publication) string
	set  func(*intel.Publication, string)
}{
	{"type", func(p *intel.Publication) string { return string(p.Type) }, func(p *intel.Publication, s string) { p.Type = intel.PublicationType(s) }},
	{"title", func(p *intel.Publication) string { return p.Title }, func(p *intel.Publication, s string) { p.Title = s }},
	{"url", func(p *intel.Publication) string { return p.URL }, func(p *intel.Publication, s string) { p.URL = s }},
	{"description", func(p *intel.Publication) string { return p.Description }, func(p *intel.Publication, s string) { p.Description = s }},
	{"published", func(p *intel.Publication) string { return moment(p.Published) }, func(p *intel.Publication, s string) { p.Published = parseMoment(s) }},
	{"updated", func(p *intel.Publication) string { return moment(p.Updated) }, func(p *intel.Publication, s string) { p.Updated = parseMoment(s) }},
	{"tags", func(p *intel.Publication) string {
		if len(p.Tags) == 0 {
			return ""
		}
		text, err := json.Marshal(p.Tags)
		if err != nil {
			return "" // texts always marshal
		}
		return string(text)
	}, func(p *intel.Publication, s string) { _ = json.Unmarshal([]byte(s), &p.Tags) }}, // our own spelling; what is none leaves no tags
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func parseMoment(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Publication returns a publication and the files that it names, as [View.Recall] does related files. It fails with [intel.ErrUnknown] when
// nothing that the reader may see has this id.
func (v *View) Publication(ctx context.Context, id string) (*intel.PublicationFacts, error) {
	p := addressPartition(nil, spacePublication, id)
	v.stamps = append(v.stamps, v.s.changes.stamp(p))
	ranges := []kv.Range{
		{Partition: p, To: tagBound(endOfHead), Limit: v.s.hubs.scanBudget()},
		{Partition: p, From: tagBound(tagMemberFile), To: tagBound(tagMemberFile + 1), Limit: v.s.hubs.scanBudget()},
	}
	groups := make([][]row, len(ranges))
	err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		if r, ok := v.keep(&kr); ok {
			groups[kr.Range] = append(groups[kr.Range], r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recalling a publication: %w", v.s.kind(err))
	}
	f := &intel.PublicationFacts{}
	for i := range groups {
		if len(groups[i]) > 0 {
			groups[i] = united([]*node{{rows: groups[i]}})
		}
	}
	for i := range groups[0] {
		r := &groups[0][i]
		switch {
		case r.tag == tagGap && r.detail == [2]byte{tagMemberFile, 'r'}:
			f.Gap.Rows += r.tally.Count
		case r.tag == tagGap && r.detail == [2]byte{tagMemberFile, 'h'}:
			f.Gap.Hits += r.tally.Count
		}
	}
	f.Row = aboutPublication(id, groups[0])
	if f.Value.Title == "" {
		return nil, fmt.Errorf("no publication has this id: %w", intel.ErrUnknown)
	}
	files := groups[1]
	if len(files) > 0 {
		if files, err = v.best(ctx, groups[1]); err != nil {
			return nil, err
		}
		f.Gap.Rows += uint64(len(groups[1]) - len(files))
		f.Gap.Hits += hitsOf(groups[1]) - hitsOf(files)
	}
	related, err := v.related(ctx, [][]row{files})
	if err != nil {
		return nil, err
	}
	f.Files = related[0]
	return f, nil
}

// aboutPublication makes of the rows of a publication's head what they say of itself; its tally is that of its title, which every publication has.
func aboutPublication(id string, rows []row) (p intel.Row[intel.Publication]) {
	p.Value.ID = id
	for i := range rows {
		r := &rows[i]
		if r.tag != tagPublication {
			continue
		}
		for _, field := range publicationFields {
			if field.name == r.object {
				field.set(&p.Value, r.extra)
			}
		}
		if r.object == "title" {
			p.Tally = r.tally
		}
	}
	return p
}

// Publications returns what is said of each publication itself, without its files; of one that is not known only the id.
func (v *View) Publications(ctx context.Context, ids []string) ([]intel.Row[intel.Publication], error) {
	ranges := make([]kv.Range, len(ids))
	for i, id := range ids {
		p := addressPartition(nil, spacePublication, id)
		v.stamps = append(v.stamps, v.s.changes.stamp(p))
		ranges[i] = kv.Range{Partition: p, To: tagBound(endOfHead), Limit: v.s.hubs.scanBudget()}
	}
	groups := make([][]row, len(ids))
	err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		if r, ok := v.keep(&kr); ok {
			groups[kr.Range] = append(groups[kr.Range], r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recalling publications: %w", v.s.kind(err))
	}
	all := make([]intel.Row[intel.Publication], len(ids))
	for i, id := range ids {
		if len(groups[i]) > 0 {
			groups[i] = united([]*node{{rows: groups[i]}})
		}
		all[i] = aboutPublication(id, groups[i])
	}
	return all, nil
}
