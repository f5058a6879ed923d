package store

import (
	"context"
	"fmt"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// maxIPs bounds how many resolutions of a host are counted.
const maxIPs = 4096

// addresses tells what is known of the URLs of a file's rows: one scan for all of them, each host once.
func (v *View) addresses(ctx context.Context, rows []row) ([]intel.Row[intel.WebAddress], error) {
	out := make([]intel.Row[intel.WebAddress], 0, len(rows))
	type about struct {
		listings []intel.Row[intel.Listing]
		ips      int
	}
	known := map[string]*about{} // by partition
	index := map[string]int{}    // by URL
	var ranges []kv.Range
	var targets []*about
	ask := func(p []byte, ips bool) {
		if _, ok := known[string(p)]; ok {
			return
		}
		a := &about{}
		known[string(p)] = a
		v.stamps = append(v.stamps, v.s.changes.stamp(p))
		ranges = append(ranges, kv.Range{Partition: p, From: tagBound(tagListing), To: tagBound(tagListing + 1), Limit: 64})
		targets = append(targets, a)
		if ips {
			ranges = append(ranges, kv.Range{Partition: p, From: tagBound(tagIP), To: tagBound(tagIP + 1), Limit: maxIPs})
			targets = append(targets, a)
		}
	}
	for i := range rows {
		a, err := intel.ParseAddress(rows[i].object)
		if err != nil {
			a = intel.Address{URL: rows[i].object}
		}
		a.Truncated = rows[i].detail[0] == 1
		if k, ok := index[a.URL]; ok { // the same URL, once with and once without credentials cut out
			addTally(&out[k].Tally, &rows[i].tally)
			out[k].Value.Truncated = out[k].Value.Truncated || a.Truncated
			continue
		}
		index[a.URL] = len(out)
		out = append(out, intel.Row[intel.WebAddress]{Value: intel.WebAddress{Address: a}, Tally: rows[i].tally})
		ask(addressPartition(nil, spaceURL, a.URL), false)
		if a.Host != "" {
			ask(addressPartition(nil, spaceHost, a.Host), true)
			ask(addressPartition(nil, spaceHost, intel.UpperDomain(a.Host)), true)
		}
	}
	if len(ranges) == 0 {
		return out, nil
	}
	err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		t := targets[kr.Range]
		if r, ok := v.keep(&kr); ok {
			switch r.tag {
			case tagListing:
				t.listings = v.appendLive(t.listings, listingOf(&r))
			case tagIP:
				t.ips++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recalling addresses: %w", v.s.kind(err))
	}
	for i := range out {
		w := &out[i].Value
		w.Listings = known[string(addressPartition(nil, spaceURL, w.URL))].listings
		if w.Host == "" {
			continue
		}
		host := known[string(addressPartition(nil, spaceHost, w.Host))]
		w.IPs = host.ips
		w.Listings = append(w.Listings[:len(w.Listings):len(w.Listings)], host.listings...)
		if up := intel.UpperDomain(w.Host); up != w.Host {
			w.Listings = append(w.Listings[:len(w.Listings):len(w.Listings)], known[string(addressPartition(nil, spaceHost, up))].listings...)
		}
	}
	return out, nil
}

// Address returns what is known of a URL, domain or IP address; an unseen one has empty facts, not an error.
func (v *View) Address(ctx context.Context, a intel.Address) (*intel.AddressFacts, error) {
	space := byte(spaceURL)
	if a.URL == a.Host {
		space = spaceHost
	}
	p := addressPartition(nil, space, a.URL)
	v.stamps = append(v.stamps, v.s.changes.stamp(p))
	f := &intel.AddressFacts{Address: a}
	ranges := []kv.Range{{Partition: p, From: tagBound(tagListing), To: tagBound(tagListing + 1), Limit: 64}}
	for _, t := range []byte{tagURL, tagIP, tagCame, tagContacted, tagDomain} {
		ranges = append(ranges, kv.Range{Partition: p, From: tagBound(t), To: tagBound(t + 1), Limit: v.s.hubs.scanBudget()})
	}
	groups := make([][]row, len(ranges))
	err := v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		if r, ok := v.keep(&kr); ok {
			groups[kr.Range] = append(groups[kr.Range], r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recalling %s: %w", a.URL, v.s.kind(err))
	}
	for i := range groups {
		if len(groups[i]) > 0 {
			if groups[i], err = v.best(ctx, united([]*node{{rows: groups[i]}})); err != nil {
				return nil, err
			}
		}
	}
	for i := range groups[0] {
		f.Listings = v.appendLive(f.Listings, listingOf(&groups[0][i]))
	}
	if up := intel.UpperDomain(a.Host); up != a.URL {
		parents, err := v.addresses(ctx, []row{{object: a.URL}})
		if err != nil {
			return nil, err
		}
		f.Listings = parents[0].Value.Listings
	}
	if f.URLs, err = v.addresses(ctx, groups[1]); err != nil {
		return nil, err
	}
	for i := range groups[2] {
		f.IPs = append(f.IPs, intel.Row[string]{Value: groups[2][i].object, Tally: groups[2][i].tally})
	}
	if f.Domains, err = v.addresses(ctx, groups[5]); err != nil {
		return nil, err
	}
	related, err := v.related(ctx, groups[3:5])
	if err != nil {
		return nil, err
	}
	f.Downloaded, f.Accessed = related[0], related[1]
	return f, nil
}
