package dossier

import "strings"

// hosts lists the machines that saw the file, and counts them.
func (b *builder) hosts() error {
	rows := make([]HostRow, len(b.facts.Hosts))
	for i, r := range b.facts.Hosts {
		rows[i] = HostRow{Host: r.Value, Hits: r.Count, First: r.First.Time(), Last: r.Last.Time()}
	}
	b.d.Hosts = capped(rows, b.count, func(r *HostRow) order { return order{0, r.Hits, r.Last.Unix()} },
		func(x, y *HostRow) int { return strings.Compare(x.Host, y.Host) })
	b.d.HostCount = b.facts.HostCount
	return nil
}
