package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Record keeps the observations, durably, all or none. id names the batch: recording a batch whose id was recorded
// before changes nothing and is reported as repeated. Every observation must have passed its Check.
//
// Writing reads nothing: each observation becomes a few merges, added up in memory first, so that a row is written
// once a batch however often it occurs in it.
func (s *Store) Record(ctx context.Context, id []byte, observations []intel.Observation) (repeated bool, err error) {
	return s.record(ctx, id, observations, nil)
}

func (s *Store) record(ctx context.Context, id []byte, observations []intel.Observation, marks map[string]uint64) (repeated bool, err error) {
	b := newBatch(s.now())
	b.observations(s, observations)
	b.marks(marks)
	batch := kv.Batch{ID: id, Writes: b.writes()}
	repeated, err = s.kv.Apply(ctx, &batch)
	if err != nil {
		return false, fmt.Errorf("recording %d observations: %w", len(observations), s.kind(err))
	}
	for id, name := range b.sources {
		s.sources.learn(id, name)
	}
	if !repeated {
		s.changed(batch.Writes)
	}
	return repeated, nil
}

// batch adds rows up before they are written.
type batch struct {
	learned int64
	index   map[string]int32 // row name (partition length, partition, key) to its place in rows
	rows    []batchRow
	values  []kv.Value        // slab that rows' values are cut from
	sources map[uint32]string // new ones, whose names this batch writes
	hosts   kv.Sketch         // all that are seen
	pile    *pile             // when not nil, rows go there, and are added up later
	hinted  []intel.Hashes    // files whose hints this batch wrote, as far as they are remembered: by the strongest hash, a power of two of them

	source sourceKey // of the observation before, and its id as a set of one
	set    []uint32

	// Buffers that are used again for each row: its whole name, its partition, its object.
	name, partition, object []byte
}

type batchRow struct {
	name  string
	split int // where the key begins in name
	value *kv.Value
}

func newBatch(now time.Time) *batch {
	return &batch{learned: now.Unix(), index: make(map[string]int32, 4096), sources: make(map[uint32]string)}
}

// merge adds a value to the row that b.name names, whose key begins at split. The value's slices are kept, not copied.
func (b *batch) merge(split int, v *kv.Value) {
	if b.pile != nil {
		b.pile.put(b.name, split, v)
		return
	}
	if i, ok := b.index[string(b.name)]; ok {
		b.rows[i].value.Merge(v)
		return
	}
	if len(b.values) == cap(b.values) {
		b.values = make([]kv.Value, 0, 1024)
	}
	b.values = append(b.values, *v)
	name := string(b.name)
	b.index[name] = int32(len(b.rows))
	b.rows = append(b.rows, batchRow{name: name, split: split, value: &b.values[len(b.values)-1]})
}

// begin starts the name of a row with its partition and returns where the key begins.
func (b *batch) begin(partition []byte) int {
	b.name = append(append(b.name[:0], byte(len(partition))), partition...)
	return len(b.name)
}

func (b *batch) writes() []kv.Write {
	w := make([]kv.Write, len(b.rows))
	for i, r := range b.rows {
		name := []byte(r.name)
		w[i] = kv.Write{Partition: name[1:r.split:r.split], Key: name[r.split:], Value: r.value}
	}
	return w
}

// fact is one observation on its way into rows: the tally that each of its rows gets.
type fact struct {
	*batch
	tally   kv.Value
	marking intel.Marking
}

// put merges the fact's tally into the row of one object of a partition.
func (f *fact) put(partition []byte, tag, detail byte, object []byte, extra string) {
	k := key{tag: tag, detail: [2]byte{detail}, object: object, marking: f.marking}
	v := f.tally
	if t := k.text(extra); t != nil {
		v.Text = kv.Text{At: v.Last, Data: t}
	}
	split := f.begin(partition)
	f.name = k.append(f.name)
	f.merge(split, &v)
}

func (f *fact) putText(partition []byte, tag, detail byte, object, extra string) {
	f.object = append(f.object[:0], object...)
	f.put(partition, tag, detail, f.object, extra)
}

// inFile and inAddress return partitions in a buffer that the next call uses again.
func (f *fact) inFile(h intel.Hash) []byte {
	f.partition = filePartition(f.partition[:0], h)
	return f.partition
}

func (f *fact) inAddress(space byte, s string) []byte {
	f.partition = addressPartition(f.partition[:0], space, s)
	return f.partition
}

// maxHinted is how many files' hints are remembered.
const maxHinted = 1024

// observations turns observations into rows. Those of one file often follow each other; each of them ties its hashes, and they do so together.
func (b *batch) observations(s *Store, all []intel.Observation) {
	// What one batch wrote another must not rely on: a batch that was recorded before is left out.
	if want := 1 << bits.Len(uint(min(len(all), maxHinted)-1)); len(b.hinted) < want {
		b.hinted = make([]intel.Hashes, want)
	} else {
		clear(b.hinted)
	}
	for i := 0; i < len(all); {
		o := &all[i]
		end, count := i+1, max(o.Count, 1)
		for ; end < len(all) && all[end].File == o.File && all[end].Source == o.Source; end++ {
			count += max(all[end].Count, 1)
		}
		for ; i < end; i++ {
			b.observation(s, &all[i], count)
			count = 0
		}
	}
	b.fleet()
}

// observation turns one observation into rows. ties is how often it and those after it tie its file's hashes, 0 when one before it told.
func (b *batch) observation(s *Store, o *intel.Observation, ties uint64) {
	count := max(o.Count, 1)
	first := int64(intel.SecondsOf(o.Time))
	last := int64(intel.SecondsOf(o.Last))
	if last == 0 {
		last = first
	}
	if k := (sourceKey{o.Source.Type, o.Source.Name}); k != b.source {
		b.source, b.set = k, b.sourceID(s, k)
	}
	f := &fact{batch: b, marking: o.Source.Marking,
		tally: kv.Value{Count: count, First: first, Last: last, Learned: b.learned, Sources: b.set}}
	if ties > 0 {
		f.tie(&o.File, ties)
	}
	file := o.File.Strongest()
	switch t := o.Fact.(type) {
	case intel.Attribute:
		tag := byte(tagAttribute)
		if t.Name.IsDetail() {
			tag = tagDetail
		}
		f.putText(f.inFile(file), tag, 0, pair(string(t.Name), t.Value), "")
	case intel.Sighting:
		f.sighting(file, &t)
	case intel.Relation:
		f.relation(&t)
	case intel.Access:
		f.web(file, tagAccessed, tagContacted, t.URL, t.IPs)
	case intel.Download:
		f.web(file, tagCameFrom, tagCame, t.URL, t.IPs)
	case intel.Detection:
		f.putText(f.inFile(file), tagDetection, byte(t.Zone), pair(t.Name, t.Method), t.URL)
	case intel.Listing:
		f.putText(f.listed(file, o.Address), tagListing, byte(t.Zone), pair(t.Feed, t.Threat), "")
	case intel.Signature:
		f.putText(f.inFile(file), tagSignature, statusByte(t.Status), t.Signer, "")
	case intel.Certificate:
		f.certificate(file, &t)
	case intel.Publication:
		f.putText(f.inFile(file), tagPublication, 0, pair(string(t.Type), t.ID), pair(t.Title, t.URL))
		f.publication(&t, file)
	case intel.FuzzyHash:
		t = t.Canonical()
		object := pair(string(t.Algorithm), t.Value)
		f.putText(f.inFile(file), tagFuzzy, 0, object, "")
		f.backTo(f.inAddress(spaceFuzzy, object), tagMemberFile, file)
		f.catalogue(&t)
	case intel.AnalystVerdict:
		f.putText(f.inFile(file), tagVerdict, byte(t.Zone), pair(t.Analyst, t.Comment), "")
	}
}

// sourceID returns a source's id as a set of one, and has its name written when it is new.
func (b *batch) sourceID(s *Store, k sourceKey) []uint32 {
	set, isNew := s.sources.id(k.typ, k.name)
	if _, ok := b.sources[set[0]]; isNew && !ok {
		b.sources[set[0]] = k.name
		split := b.begin([]byte{spaceSources})
		b.name = binary.BigEndian.AppendUint32(b.name, set[0])
		b.merge(split, &kv.Value{Text: kv.Text{Data: []byte(pair(string(k.typ), k.name))}})
	}
	return set
}

// tie records so many times that the hashes name one file: a row in the strongest one's partition, and a hint from each weaker one to it.
func (f *fact) tie(h *intel.Hashes, count uint64) {
	strong := h.Strongest()
	if strong.IsZero() || h.MD5.IsZero() && h.SHA1.IsZero() {
		return // nothing is tied
	}
	if hinted := &f.hinted[(int(strong.Byte(14))<<8|int(strong.Byte(15)))&(len(f.hinted)-1)]; *hinted != *h {
		*hinted = *h
		f.hint(h.MD5, strong)
		f.hint(h.SHA1, strong)
	}
	var mask byte
	object := f.object[:0]
	for _, weak := range [...]intel.Hash{h.MD5, h.SHA1} {
		if !weak.IsZero() && weak != strong {
			mask |= byte(weak.Algorithm())
			object = weak.Append(object)
		}
	}
	f.object = object
	if mask != 0 {
		t := *f
		t.tally.Count, t.tally.First, t.tally.Last = count, 0, 0 // a tie is of no time
		t.put(f.inFile(strong), tagTies, mask, object, "")
	}
}

// hint writes the row by which a weak hash finds the strongest one of its file. One that is the strongest there is gets a hint to itself: it says
// that there are facts under it.
func (b *batch) hint(weak, strong intel.Hash) {
	if weak.IsZero() {
		return
	}
	b.partition = aliasPartition(b.partition[:0], weak)
	split := b.begin(b.partition)
	b.name = append(b.name, byte(strong.Algorithm()))
	b.name = strong.Append(b.name)[:split+1+hintBytes]
	b.merge(split, &kv.Value{})
}

func (f *fact) sighting(file intel.Hash, t *intel.Sighting) {
	in := f.inFile(file)
	seen := *f
	if t.Host != "" {
		host := xxhash.Sum64String(t.Host)
		seen.tally.Hosts.Add(host)
		f.hosts.Add(host)
		f.putText(in, tagHost, 0, t.Host, "")
	}
	seen.put(in, tagSeen, 0, nil, "")
	if t.Path != "" {
		f.putText(in, tagPath, 0, t.Path, "")
	}
	name := t.Name
	if name == "" {
		name = intel.BaseName(t.Path)
	}
	if name != "" {
		f.putText(in, tagName, 0, name, "")
	}
}

// fleet adds the hosts that were seen to those of the fleet.
func (b *batch) fleet() {
	if b.hosts.Count() == 0 {
		return
	}
	split := b.begin([]byte{spaceFleet})
	b.name = append(b.name, 0)
	b.merge(split, &kv.Value{Hosts: b.hosts})
	b.hosts = kv.Sketch{}
}

// relation writes the row at both ends that have a hash; a reader of either end sees the other.
func (f *fact) relation(t *intel.Relation) {
	forth, back := byte(tagStarted), byte(tagStartedBy)
	switch t.Verb {
	case intel.Downloaded:
		forth, back = tagDownloaded, tagDownloadedBy
	case intel.Contains:
		forth, back = tagContains, tagContainedIn
	}
	var weak byte
	if t.Weak {
		weak = 1
	}
	f.tie(&t.From.Hashes, f.tally.Count)
	f.tie(&t.To.Hashes, f.tally.Count)
	end := func(from, to, named *intel.Object, tag byte) {
		h := from.Strongest()
		if h.IsZero() {
			return
		}
		f.object = fileObject(f.object[:0], to)
		extra := ""
		if !to.Strongest().IsZero() {
			extra = pair(named.Path, named.Name)
		}
		f.put(f.inFile(h), tag, weak, f.object, extra)
	}
	end(&t.From, &t.To, &t.To, forth)
	if t.Verb == intel.Contains { // both ends say where in its container the member is
		end(&t.To, &t.From, &t.To, back)
	} else {
		end(&t.To, &t.From, &t.From, back)
	}
	// A member that no machine saw is known by the name that it has in its container.
	if member := t.To.Strongest(); t.Verb == intel.Contains && !member.IsZero() {
		name := t.To.Name
		if name == "" {
			name = intel.BaseName(t.To.Path)
		}
		if name != "" {
			f.putText(f.inFile(member), tagName, 0, name, "")
		}
	}
}

// web writes the row of the file, and the rows by which the URL, its host and its registered domain find the file again.
func (f *fact) web(file intel.Hash, tag, back byte, url string, ips []string) {
	a, err := intel.ParseAddress(url)
	if err != nil {
		return // Check let it pass, so this does not happen
	}
	var truncated byte
	if a.Truncated {
		truncated = 1
	}
	f.putText(f.inFile(file), tag, truncated, a.URL, "")
	f.backTo(f.inAddress(spaceURL, a.URL), back, file)
	f.backTo(f.inAddress(spaceHost, a.Host), back, file)
	f.putText(f.inAddress(spaceHost, a.Host), tagURL, 0, a.URL, "")
	if up := intel.UpperDomain(a.Host); up != a.Host {
		f.backTo(f.inAddress(spaceHost, up), back, file)
		f.putText(f.inAddress(spaceHost, up), tagURL, 0, a.URL, "")
	}
	for _, ip := range ips {
		f.putText(f.inAddress(spaceHost, a.Host), tagIP, 0, ip, "")
		if is, err := intel.ParseAddress(ip); err == nil && is.Host != a.Host {
			f.putText(f.inAddress(spaceHost, is.Host), tagDomain, 0, a.Host, "")
		}
	}
}

// backTo writes, in another partition, the row by which it finds the file.
func (f *fact) backTo(partition []byte, tag byte, file intel.Hash) {
	f.object = file.Append(append(f.object[:0], byte(file.Algorithm())))
	f.put(partition, tag, 0, f.object, "")
}

// listed is the partition of what is listed: a file, or an address.
func (f *fact) listed(file intel.Hash, address string) []byte {
	if address == "" {
		return f.inFile(file)
	}
	a, err := intel.ParseAddress(address)
	switch {
	case err != nil: // Check let it pass, so this does not happen
		return f.inAddress(spaceURL, address)
	case a.URL == a.Host:
		return f.inAddress(spaceHost, a.Host)
	}
	return f.inAddress(spaceURL, a.URL)
}

// publication keeps, with the publication, what it is and that it names the file. Each field has a row of its own: a source that says less than
// another takes nothing away.
func (f *fact) publication(p *intel.Publication, file intel.Hash) {
	in := f.inAddress(spacePublication, p.ID)
	f.backTo(in, tagMemberFile, file)
	for i := range publicationFields {
		if text := publicationFields[i].text(p); text != "" {
			f.putText(in, tagPublication, 0, publicationFields[i].name, text)
		}
	}
}

func (f *fact) certificate(file intel.Hash, c *intel.Certificate) {
	// One moment has one spelling, so that one certificate has one text.
	for _, at := range []*time.Time{&c.Signed, &c.Issued, &c.Expires} {
		*at = at.UTC().Truncate(time.Second)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return // texts and times within the years that Check allows always marshal
	}
	id := string(c.MD5.Bytes())
	f.putText(f.inFile(file), tagCertificate, 0, id, string(text))
	f.backTo(f.inAddress(spaceCertificate, id), tagMemberFile, file)
}

var statuses = [...]intel.SignatureStatus{"", intel.Trusted, intel.NotTrusted, intel.Discredited}

func statusByte(s intel.SignatureStatus) byte {
	for i, t := range statuses {
		if s == t {
			return byte(i)
		}
	}
	return 0
}
