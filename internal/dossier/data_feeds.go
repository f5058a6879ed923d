package dossier

import "strings"

// dataFeeds lists the feeds that name the file, each once, with its gravest listing.
func (b *builder) dataFeeds() error {
	var rows []FeedRow
	index := map[string]int{}
	for _, r := range b.facts.Listings {
		row := FeedRow{Listing: r.Value, First: r.First.Time(), Last: r.Last.Time()}
		i, ok := index[row.Feed]
		if !ok {
			index[row.Feed] = len(rows)
			rows = append(rows, row)
			continue
		}
		old := &rows[i]
		if row.Zone > old.Zone || row.Zone == old.Zone && row.Threat > old.Threat {
			old.Listing = row.Listing
		}
		if old.First.IsZero() || !row.First.IsZero() && row.First.Before(old.First) {
			old.First = row.First
		}
		if row.Last.After(old.Last) {
			old.Last = row.Last
		}
	}
	b.d.Feeds = capped(rows, b.count, func(r *FeedRow) order { return order{r.Zone, 0, r.Last.Unix()} },
		func(x, y *FeedRow) int { return strings.Compare(x.Feed, y.Feed) })
	return nil
}
