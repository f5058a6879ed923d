package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Recall returns the facts of the file that h names, with the groups that want names. It fails with [intel.ErrUnknown] when nothing at
// all is known of h, and with [intel.ErrUnavailable] when the engine cannot answer.
func (v *View) Recall(ctx context.Context, h intel.Hash, want intel.Section) (*intel.Facts, error) {
	f, _, err := v.recall(ctx, h, want)
	return f, err
}

// recall returns the facts, and the hashes under which they stand.
func (v *View) recall(ctx context.Context, h intel.Hash, want intel.Section) (*intel.Facts, []intel.Hash, error) {
	if want&intel.SectionSimilar != 0 {
		want |= intel.SectionFuzzyHashes
	}
	g := &graph{asked: h}
	g.add(h)
	if err := v.load(ctx, []*graph{g}, want); err != nil {
		return nil, nil, err
	}
	var id identity
	var rows []row
	if n := g.nodes[0]; len(g.nodes) > 1 || len(n.rows) > 0 {
		id = g.decide()
		rows = united(id.unite)
	} else if !n.facts {
		return nil, nil, unknown{h}
	}
	if !slices.ContainsFunc(rows, func(r row) bool { return r.tag != tagGap }) {
		if want|everything == want {
			return nil, nil, unknown{h}
		}
		// What was asked for says nothing; whether anything else is known decides between an empty answer and none.
		all, under, err := v.recall(ctx, h, everything)
		if err != nil {
			return nil, nil, err
		}
		return &intel.Facts{Asked: h, Head: all.Head, Conflicts: all.Conflicts}, under, nil
	}
	f := &intel.Facts{Asked: h, Conflicts: id.conflicts}
	f.Head = *v.headOf(id.hashes, rows)
	if err := v.body(ctx, f, rows, want); err != nil {
		return nil, nil, err
	}
	under := make([]intel.Hash, len(id.unite))
	for i, n := range id.unite {
		under[i] = n.hash
	}
	return f, under, nil
}

// FleetHosts returns how many machines were ever seen, of any marking.
func (v *View) FleetHosts(ctx context.Context) (n uint64, err error) {
	err = v.s.kv.Scan(ctx, []kv.Range{{Partition: []byte{spaceFleet}, Limit: 1}}, func(r kv.Row) error {
		n = r.Value.Hosts.Count()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting the fleet's hosts: %w", v.s.kind(err))
	}
	return n, nil
}

// everything is what must be looked at before a file is unknown: all but the hosts, which come with a sighting only.
const everything = intel.AllSections &^ intel.SectionHosts

// unknown is the most frequent error of all, so it makes its text only when it is asked for.
type unknown struct{ hash intel.Hash }

func (u unknown) Error() string {
	return fmt.Sprintf("nothing is known of %s %s", u.hash.Algorithm(), u.hash)
}
func (u unknown) Unwrap() error { return intel.ErrUnknown }

// headOf makes the head of a file of its united rows. Of its listings those that are live are told.
func (v *View) headOf(hashes intel.Hashes, rows []row) *intel.Head {
	h := &intel.Head{File: hashes}
	for i := range rows {
		r := &rows[i]
		switch r.tag {
		case tagSeen:
			h.Seen = r.tally
		case tagAttribute:
			name, value := cutPair(r.object)
			h.Attributes = append(h.Attributes, intel.Row[intel.Attribute]{Value: intel.Attribute{Name: intel.AttributeName(name), Value: value}, Tally: r.tally})
		case tagDetection:
			name, method := cutPair(r.object)
			h.Detections = append(h.Detections, intel.Row[intel.Detection]{Value: intel.Detection{Name: name, Method: method, Zone: intel.Zone(r.detail[0]), URL: r.extra}, Tally: r.tally})
		case tagListing:
			h.Listings = v.appendLive(h.Listings, listingOf(r))
		case tagVerdict:
			analyst, comment := cutPair(r.object)
			h.Verdicts = append(h.Verdicts, intel.Row[intel.AnalystVerdict]{Value: intel.AnalystVerdict{Zone: intel.Zone(r.detail[0]), Analyst: analyst, Comment: comment}, Tally: r.tally})
		case tagSignature:
			status := intel.NotTrusted
			if int(r.detail[0]) < len(statuses) {
				status = statuses[r.detail[0]]
			}
			h.Signatures = append(h.Signatures, intel.Row[intel.Signature]{Value: intel.Signature{Signer: r.object, Status: status}, Tally: r.tally})
		case tagPublication:
			typ, id := cutPair(r.object)
			title, url := cutPair(r.extra)
			h.Publications = append(h.Publications, intel.Row[intel.Publication]{Value: intel.Publication{ID: id, Type: intel.PublicationType(typ), Title: title, URL: url}, Tally: r.tally})
		default:
			if r.tag >= endOfHead {
				return h
			}
		}
	}
	return h
}

func listingOf(r *row) intel.Row[intel.Listing] {
	feed, threat := cutPair(r.object)
	return intel.Row[intel.Listing]{Value: intel.Listing{Feed: feed, Threat: threat, Zone: intel.Zone(r.detail[0])}, Tally: r.tally}
}

// body fills what follows the head.
func (v *View) body(ctx context.Context, f *intel.Facts, rows []row, want intel.Section) error {
	byTag := func(tag byte) []row {
		lo, _ := slices.BinarySearchFunc(rows, tag, func(r row, t byte) int { return int(r.tag) - int(t) })
		hi, _ := slices.BinarySearchFunc(rows, int(tag)+1, func(r row, t int) int { return int(r.tag) - t })
		return rows[lo:hi]
	}
	gaps := map[byte]intel.Gap{}
	for _, r := range byTag(tagGap) {
		g := gaps[r.detail[0]]
		if r.detail[1] == 'r' {
			g.Rows += r.tally.Count
		} else {
			g.Hits += r.tally.Count
		}
		gaps[r.detail[0]] = g
	}
	// wanted returns the best rows of a relation, and notes what is left out. What fails is told at the end.
	var failed error
	wanted := func(s intel.Section) []row {
		if want&s == 0 {
			return nil
		}
		tag := tagOf(s)
		all := byTag(tag)
		best, err := v.best(ctx, all)
		failed = cmp.Or(failed, err)
		gap := gaps[tag]
		gap.Rows += uint64(len(all) - len(best))
		gap.Hits += hitsOf(all) - hitsOf(best)
		if gap.Rows > 0 {
			if f.Gaps == nil {
				f.Gaps = map[intel.Section]intel.Gap{}
			}
			f.Gaps[s] = gap
		}
		return best
	}
	texts := func(s intel.Section) []intel.Row[string] {
		rs := wanted(s)
		out := make([]intel.Row[string], len(rs))
		for i := range rs {
			out[i] = intel.Row[string]{Value: rs[i].object, Tally: rs[i].tally}
		}
		return out
	}
	if seen := byTag(tagSeen); len(seen) > 0 && seen[0].hosts != nil {
		f.HostCount = seen[0].hosts.Count()
	}
	f.Paths = texts(intel.SectionPaths)
	f.Names = texts(intel.SectionNames)
	f.Hosts = texts(intel.SectionHosts)
	if want&intel.SectionHosts != 0 && f.Gaps[intel.SectionHosts].Rows == 0 {
		f.HostCount = uint64(len(f.Hosts)) // exact
	}
	for _, r := range wanted(intel.SectionCertificates) {
		var c intel.Certificate
		if json.Unmarshal([]byte(r.extra), &c) == nil {
			f.Certificates = append(f.Certificates, intel.Row[intel.Certificate]{Value: c, Tally: r.tally})
		}
	}
	for _, r := range wanted(intel.SectionFuzzyHashes) {
		a, value := cutPair(r.object)
		f.FuzzyHashes = append(f.FuzzyHashes, intel.Row[intel.FuzzyHash]{Value: intel.FuzzyHash{Algorithm: intel.FuzzyAlgorithm(a), Value: value}, Tally: r.tally})
	}
	for _, r := range wanted(intel.SectionDetails) {
		name, value := cutPair(r.object)
		f.Details = append(f.Details, intel.Row[intel.Attribute]{Value: intel.Attribute{Name: intel.AttributeName(name), Value: value}, Tally: r.tally})
	}
	relations := []struct {
		section intel.Section
		into    *[]intel.Row[intel.Related]
	}{
		{intel.SectionStarted, &f.Started}, {intel.SectionStartedBy, &f.StartedBy},
		{intel.SectionDownloaded, &f.Downloaded}, {intel.SectionDownloadedBy, &f.DownloadedBy},
		{intel.SectionContains, &f.Contains}, {intel.SectionContainedIn, &f.ContainedIn},
	}
	sets := make([][]row, len(relations))
	for i, r := range relations {
		sets[i] = wanted(r.section)
	}
	related, err := v.related(ctx, sets)
	if err != nil {
		return err
	}
	for i, r := range relations {
		*r.into = related[i]
	}
	if f.DownloadedFrom, err = v.addresses(ctx, wanted(intel.SectionDownloadedFrom)); err != nil {
		return err
	}
	if f.Accessed, err = v.addresses(ctx, wanted(intel.SectionAccessed)); err != nil {
		return err
	}
	if want&intel.SectionSimilar != 0 {
		hashes := make([]intel.FuzzyHash, len(f.FuzzyHashes))
		for i := range hashes {
			hashes[i] = f.FuzzyHashes[i].Value
		}
		if f.Similar, err = v.similar(ctx, hashes, intel.DefaultReach, f.File.Strongest()); err != nil {
			return err
		}
	}
	return failed
}

func hitsOf(rows []row) (n uint64) {
	for i := range rows {
		n += rows[i].tally.Count
	}
	return n
}

// related resolves the files of several sets of relation rows at once, and unites rows that name one file by different hashes.
func (v *View) related(ctx context.Context, sets [][]row) ([][]intel.Row[intel.Related], error) {
	n := 0
	for _, rows := range sets {
		n += len(rows)
	}
	hashes := make([]intel.Hash, 0, n)
	for _, rows := range sets {
		for i := range rows {
			if h, _, _, ok := parseFileObject(rows[i].object); ok && !h.IsZero() {
				hashes = append(hashes, h)
			}
		}
	}
	heads, err := v.resolve(ctx, hashes)
	if err != nil {
		return nil, err
	}
	out := make([][]intel.Row[intel.Related], len(sets))
	for i, rows := range sets {
		places := make([]intel.Row[intel.Related], 0, len(rows))
		at := make([]int64, 0, len(rows)) // when the path and name of each were written
		byHash := make(map[intel.Hash]int, len(rows))
		byName := map[string]int{}
		for j := range rows {
			r := &rows[j]
			h, path, name, ok := parseFileObject(r.object)
			if !ok {
				continue
			}
			p := intel.Row[intel.Related]{Tally: r.tally, Value: intel.Related{Path: path, Name: name, Weak: r.detail[0] == 1}}
			var k int
			var seen bool
			if h.IsZero() {
				k, seen = byName[r.object]
			} else {
				c := heads[0]
				heads = heads[1:]
				p.Value.Hash, p.Value.Head = c.canonical, c.head
				p.Value.Path, p.Value.Name = cutPair(r.extra)
				k, seen = byHash[c.canonical]
			}
			if p.Value.Name == "" {
				p.Value.Name = intel.BaseName(p.Value.Path)
			}
			if !seen {
				if h.IsZero() {
					byName[r.object] = len(places)
				} else {
					byHash[p.Value.Hash] = len(places)
				}
				places, at = append(places, p), append(at, r.at)
				continue
			}
			old := &places[k]
			addTally(&old.Tally, &p.Tally)
			old.Value.Weak = old.Value.Weak && p.Value.Weak
			if later(r.at, p.Value.Path, p.Value.Name, at[k], old.Value.Path, old.Value.Name) {
				at[k], old.Value.Path, old.Value.Name = r.at, p.Value.Path, p.Value.Name
			}
		}
		out[i] = places
	}
	return out, nil
}

// later is the last-writer rule for a path and name, as kv has it for texts.
func later(at int64, path, name string, oldAt int64, oldPath, oldName string) bool {
	if path == "" && name == "" {
		return false
	}
	if oldPath == "" && oldName == "" || at != oldAt {
		return oldPath == "" && oldName == "" || at > oldAt
	}
	return pair(path, name) > pair(oldPath, oldName)
}

// resolve returns the canonical hash and head of every hash, in their order, from the cache where that is fresh.
func (v *View) resolve(ctx context.Context, hashes []intel.Hash) ([]*cachedHead, error) {
	out := make([]*cachedHead, len(hashes))
	var missing map[intel.Hash][]int // hashes to read, and where they stand
	var graphs []*graph
	for i, h := range hashes {
		if c := v.s.heads.get(headKey{h, v.clearance}); c != nil && v.s.changes.fresh(c.stamps) {
			out[i] = c
			v.stamps = append(v.stamps, c.stamps...)
			continue
		}
		if missing == nil {
			missing = map[intel.Hash][]int{}
		}
		if missing[h] == nil {
			g := &graph{asked: h}
			g.add(h)
			graphs = append(graphs, g)
		}
		missing[h] = append(missing[h], i)
	}
	// The stamps of what is read now are taken anew for each head, before the read, so that the cache is exact.
	for len(graphs) > 0 {
		some := graphs[:min(len(graphs), 256)]
		graphs = graphs[len(some):]
		w := &View{s: v.s, clearance: v.clearance}
		if err := w.load(ctx, some, 0); err != nil {
			return nil, err
		}
		v.stamps = append(v.stamps, w.stamps...)
		stamps := make(map[uint32]stamp, len(w.stamps))
		for _, st := range w.stamps {
			if _, ok := stamps[st.slot]; !ok { // the first, taken before any read
				stamps[st.slot] = st
			}
		}
		for _, g := range some {
			id := g.decide()
			one := View{s: v.s} // a look of its own tells on which feeds' snapshots this head depends
			c := &cachedHead{canonical: id.canonical, head: one.headOf(id.hashes, united(id.unite))}
			c.stamps = one.stamps
			v.stamps = append(v.stamps, one.stamps...)
			for _, n := range id.unite {
				if n.facts {
					c.under = append(c.under, n.hash)
				}
			}
			for _, n := range g.nodes {
				if n.read {
					c.stamps = append(c.stamps, stamps[v.s.changes.slot(filePartition(nil, n.hash))])
				}
				if n.hash.Algorithm() < intel.SHA256 {
					c.stamps = append(c.stamps, stamps[v.s.changes.slot(aliasPartition(nil, n.hash))])
				}
			}
			v.s.heads.put(headKey{g.asked, v.clearance}, c)
			for _, i := range missing[g.asked] {
				out[i] = c
			}
		}
	}
	return out, nil
}

// Relatives returns, for each file, the rows of one relation. An unknown file has none.
func (v *View) Relatives(ctx context.Context, files []intel.Hash, relation intel.Section) ([][]intel.Row[intel.Related], error) {
	sets, err := v.group(ctx, files, relation)
	if err != nil {
		return nil, err
	}
	return v.related(ctx, sets)
}

// Certificates returns the certificates of each file.
func (v *View) Certificates(ctx context.Context, files []intel.Hash) ([][]intel.Row[intel.Certificate], error) {
	sets, err := v.group(ctx, files, intel.SectionCertificates)
	if err != nil {
		return nil, err
	}
	out := make([][]intel.Row[intel.Certificate], len(sets))
	for i, rows := range sets {
		for _, r := range rows {
			var c intel.Certificate
			if json.Unmarshal([]byte(r.extra), &c) == nil {
				out[i] = append(out[i], intel.Row[intel.Certificate]{Value: c, Tally: r.tally})
			}
		}
	}
	return out, nil
}

// group returns the rows of one group of each file. Who a file is comes from the cache of heads, where it is for files that an answer has
// just met, so that this is one scan.
func (v *View) group(ctx context.Context, files []intel.Hash, section intel.Section) ([][]row, error) {
	heads, err := v.resolve(ctx, files)
	if err != nil {
		return nil, err
	}
	tag := tagOf(section)
	var ranges []kv.Range
	var of []int // whose range it is
	for i, c := range heads {
		for _, h := range c.under {
			ranges = append(ranges, kv.Range{Partition: filePartition(nil, h), From: tagBound(tag), To: tagBound(tag + 1), Limit: v.s.hubs.scanBudget()})
			of = append(of, i)
		}
	}
	out := make([][]row, len(files))
	err = v.s.kv.Scan(ctx, ranges, func(kr kv.Row) error {
		if r, ok := v.keep(&kr); ok {
			out[of[kr.Range]] = append(out[of[kr.Range]], r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recalling what %d files have relations with: %w", len(files), v.s.kind(err))
	}
	for i := range out {
		if len(out[i]) == 0 {
			continue
		}
		if out[i], err = v.best(ctx, united([]*node{{rows: out[i]}})); err != nil {
			return nil, err
		}
	}
	return out, nil
}
