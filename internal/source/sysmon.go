package source

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"sort"
	"strings"
	"time"
	"unicode"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
)

// event is what Spoor needs of one Sysmon event, whatever form it came in. Texts are as in the log.
type event struct {
	id                                               int
	line                                             int64
	host                                             string
	utcTime                                          string
	hashes, hash                                     string // "SHA1=…,MD5=…"; event 15 spells its field Hash
	image, loaded, target                            string
	guid, parentGuid, parentImage                    string
	signed, signature, signatureStatus               string
	company, product, description, version, original string
	contents                                         string // of an alternate stream
	initiated, destinationHost, destinationIP        string // event 3
	query, queryResults                              string // event 22
	provider, channel                                string
}

// isSysmon reports whether the event is Sysmon's; where nothing names it, whether it is one that carries a file's hash or an address.
func (e *event) isSysmon() bool {
	if e.provider != "" {
		return strings.Contains(e.provider, "Sysmon")
	}
	if e.channel != "" {
		return strings.Contains(e.channel, "Sysmon")
	}
	return e.utcTime != "" && (e.hashes != "" || e.hash != "" || e.guid != "" && (e.destinationIP != "" || e.query != ""))
}

// sysmon turns the events of one input into observations. Facts that need another event wait for it: a start for its parent's event, a
// download for the stream that says where from. What never comes is told at the end of the input without it.
type sysmon struct {
	r      *reader
	source intel.Source

	seen  map[[2]uint64]struct{} // events so far, byte for byte
	seed  maphash.Seed
	names map[string]string // texts that come again and again
	told  map[string]struct{}

	processes map[string]intel.Object // by GUID, of Event 1
	waiting   map[string][]start      // by the GUID of the parent, in order
	orphans   []string                // GUIDs in waiting, in the order in which they came
	accesses  sysmonAccesses

	order   int      // of the events that were read
	streams []stream // of event 15, in order
	files   map[streamKey][]streamFile
}

type start struct {
	line   int64
	time   time.Time
	parent intel.Object // by path alone
	child  intel.Object
}

type streamKey struct{ target, guid string }

type stream struct {
	key      streamKey
	line     int64
	order    int
	time     time.Time
	image    string
	contents string
}

type streamFile struct {
	order int
	file  intel.Hashes
}

func newSysmon(r *reader) *sysmon {
	return &sysmon{r: r, source: intel.Source{Type: intel.Telemetry, Name: "sysmon", Marking: r.o.Marking},
		seen: map[[2]uint64]struct{}{}, seed: maphash.MakeSeed(), names: map[string]string{}, told: map[string]struct{}{},
		processes: map[string]intel.Object{}, waiting: map[string][]start{}, files: map[streamKey][]streamFile{}}
}

// repeated reports whether the event's bytes were met before in this input, and remembers them.
// The seed is random, so nobody can make two events that are taken for one.
func (s *sysmon) repeated(raw []byte) bool {
	key := [2]uint64{xxhash.Sum64(raw), maphash.Bytes(s.seed, raw)}
	if _, ok := s.seen[key]; ok {
		s.r.result.Repeats++
		return true
	}
	s.seen[key] = struct{}{}
	return false
}

// intern returns the text as one shared string.
func (s *sysmon) intern(b []byte) string {
	if t, ok := s.names[string(b)]; ok {
		return t
	}
	t := clean(string(b))
	if len(s.names) < 1<<16 && len(b) <= 512 {
		s.names[string(b)] = t
	}
	return t
}

// carrier returns the path of the file whose hash the event carries, and whether the event is one that carries one.
func (e *event) carrier() (path string, ok bool) {
	switch e.id {
	case 1:
		return e.image, true
	case 6, 7:
		return e.loaded, true
	case 15, 23, 26, 27, 29:
		// The file of 27 was kept from running, or from staying, at the path where it was met: it was there to be hashed.
		return e.target, true
	}
	return "", false
}

// take reads one Sysmon event.
func (s *sysmon) take(e *event) error {
	if e.id == 3 || e.id == 22 {
		return s.accessed(e)
	}
	path, ok := e.carrier()
	if !ok {
		s.r.result.Other++
		return nil
	}
	at, err := sysmonTime(e.utcTime)
	if err != nil {
		s.r.refuse(e.line, "UtcTime", err.Error())
		return nil
	}
	s.r.result.Used++
	s.order++
	text, field := e.hashes, "Hashes"
	if text == "" {
		text, field = e.hash, "Hash"
	}
	file, imphash := s.parseHashes(e.line, field, text)
	if e.id == 15 {
		if main, name := cutStream(path); name != "" {
			if strings.EqualFold(name, "Zone.Identifier") {
				s.streams = append(s.streams, stream{streamKey{main, guid(e.guid)}, e.line, s.order, at, e.image, e.contents})
			}
			return nil
		}
		if !file.IsZero() {
			key := streamKey{path, guid(e.guid)}
			s.files[key] = append(s.files[key], streamFile{s.order, file})
		}
	}
	if !file.IsZero() {
		if err := s.observe(e.line, at, file, intel.Sighting{Path: path, Host: e.host}); err != nil {
			return err
		}
		if err := s.about(e, at, file, imphash); err != nil {
			return err
		}
	}
	if e.id == 1 {
		return s.started(e, at, file)
	}
	return nil
}

func (s *sysmon) observe(line int64, at time.Time, file intel.Hashes, fact intel.Fact) error {
	return s.r.observe(line, &intel.Observation{Source: s.source, Time: at, File: file, Fact: fact})
}

// about tells what the event says of the bytes. Attributes do not count, so each is told once an input.
func (s *sysmon) about(e *event, at time.Time, file intel.Hashes, imphash string) error {
	if e.id == 6 || e.id == 7 {
		if signer := meaningful(e.signature); signer != "" {
			status := intel.NotTrusted
			switch {
			case strings.EqualFold(e.signatureStatus, "Valid"):
				status = intel.Trusted
			case strings.EqualFold(e.signatureStatus, "Revoked"):
				status = intel.Discredited
			}
			if err := s.observe(e.line, at, file, intel.Signature{Signer: signer, Status: status}); err != nil {
				return err
			}
		}
	}
	if e.id != 1 && e.id != 7 && imphash == "" {
		return nil
	}
	strongest := file.Strongest()
	key := string(strongest.Prefix(nil, 16)) + e.company + "\x00" + e.product + "\x00" + e.description + "\x00" + e.version + "\x00" + e.original + "\x00" + imphash
	if _, ok := s.told[key]; ok {
		return nil
	}
	s.told[key] = struct{}{}
	for _, a := range [...]intel.Attribute{{Name: intel.Company, Value: e.company}, {Name: intel.Product, Value: e.product},
		{Name: intel.Description, Value: e.description}, {Name: intel.Version, Value: e.version}, {Name: intel.OriginalName, Value: e.original}} {
		if a.Value = meaningful(a.Value); a.Value == "" {
			continue
		}
		if err := s.observe(e.line, at, file, a); err != nil {
			return err
		}
	}
	if imphash != "" {
		return s.observe(e.line, at, file, intel.FuzzyHash{Algorithm: intel.Imphash, Value: imphash})
	}
	return nil
}

// meaningful turns the ways in which a log says "nothing" into nothing.
func meaningful(s string) string {
	s = strings.TrimSpace(s)
	if s == "-" || s == "?" || strings.EqualFold(s, "n/a") {
		return ""
	}
	return s
}

// started tells of a process's start by its parent, now or when the parent's own event comes.
func (s *sysmon) started(e *event, at time.Time, file intel.Hashes) error {
	child := intel.Object{Hashes: file, Path: e.image}
	if id := guid(e.guid); id != "" && !file.IsZero() {
		if _, ok := s.processes[id]; !ok {
			s.processes[id] = child
			s.r.o.Processes.learn(id, child)
			for _, w := range s.waiting[id] {
				w.parent = child
				if err := s.relation(w); err != nil {
					return err
				}
			}
			delete(s.waiting, id)
			if err := s.accessedBefore(id, file); err != nil {
				return err
			}
		}
	}
	w := start{line: e.line, time: at, child: child, parent: intel.Object{Path: meaningful(e.parentImage)}}
	id := guid(e.parentGuid)
	if p, ok := s.process(id); ok && id != "" {
		w.parent = p
		return s.relation(w)
	}
	if id == "" {
		return s.relation(w)
	}
	if _, ok := s.waiting[id]; !ok {
		s.orphans = append(s.orphans, id)
	}
	s.waiting[id] = append(s.waiting[id], w)
	return nil
}

// process returns the file of a process whose start came before, in this input or in an earlier one of the stream.
func (s *sysmon) process(guid string) (intel.Object, bool) {
	if p, ok := s.processes[guid]; ok {
		return p, true
	}
	return s.r.o.Processes.find(guid)
}

// relation tells of a start, when at least one end has a hash and the other at least a path.
func (s *sysmon) relation(w start) error {
	if w.parent.IsZero() && (w.parent.Path == "" || w.child.IsZero()) || w.child.IsZero() && w.child.Path == "" {
		return nil
	}
	return s.observe(w.line, w.time, intel.Hashes{}, intel.Relation{Verb: intel.Started, From: w.parent, To: w.child})
}

// end tells what was waiting for an event that never came, and the downloads.
func (s *sysmon) end() error {
	for _, id := range s.orphans {
		for _, w := range s.waiting[id] {
			if err := s.relation(w); err != nil {
				return err
			}
		}
		delete(s.waiting, id)
	}
	s.r.result.Other += s.accesses.events // of processes whose start is not in the input
	s.accesses = sysmonAccesses{}
	type download struct {
		key  streamKey
		file intel.Hashes
		url  string
	}
	told := map[download]bool{}
	for _, st := range s.streams {
		file := s.fileOf(st)
		if file.IsZero() {
			continue
		}
		// Who wrote the mark is who downloaded: once for each file that it wrote at a path.
		d := download{key: st.key, file: file}
		if !told[d] {
			told[d] = true
			from, ok := s.process(st.key.guid)
			if !ok {
				from = intel.Object{Path: meaningful(st.image)}
			}
			if ok || from.Path != "" {
				if err := s.observe(st.line, st.time, intel.Hashes{}, intel.Relation{Verb: intel.Downloaded, From: from, To: intel.Object{Hashes: file, Path: st.key.target}}); err != nil {
					return err
				}
			}
		}
		url, referrer := zoneTransfer(st.contents)
		if url == "" {
			continue
		}
		d.url = url
		if !told[d] {
			told[d] = true
			if err := s.observe(st.line, st.time, file, intel.Download{URL: url, Referrer: referrer}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileOf finds the file that a stream belongs to: the latest before it that the same process wrote at the same path, else the first after.
func (s *sysmon) fileOf(st stream) intel.Hashes {
	files := s.files[st.key] // in order
	if len(files) == 0 {
		return intel.Hashes{}
	}
	after := sort.Search(len(files), func(i int) bool { return files[i].order > st.order })
	return files[max(after-1, 0)].file
}

// zoneTransfer reads the address and the referrer in a Zone.Identifier stream; its line breaks may have become blanks. An address that
// is none ("about:internet", a partial one without a host) is "".
func zoneTransfer(contents string) (url, referrer string) {
	for _, part := range strings.Fields(contents) {
		if v, ok := strings.CutPrefix(part, "HostUrl="); ok {
			url = v
		}
		if v, ok := strings.CutPrefix(part, "ReferrerUrl="); ok {
			referrer = v
		}
	}
	if !strings.Contains(url, "://") {
		return "", referrer
	}
	if _, err := intel.ParseAddress(url); err != nil {
		return "", referrer
	}
	return url, referrer
}

// cutStream parts a path from the name of an alternate stream: `C:\a.exe:Zone.Identifier`.
func cutStream(path string) (file, stream string) {
	base := strings.LastIndexByte(path, '\\') + 1
	if base == 0 && len(path) > 1 && path[1] == ':' {
		base = 2
	}
	file, stream, ok := strings.Cut(path[base:], ":")
	if !ok {
		return path, ""
	}
	return path[:base] + file, strings.TrimSuffix(stream, ":$DATA")
}

// guid brings a process GUID to one spelling; "" when it says nothing.
func guid(s string) string {
	s = strings.Trim(s, "{} ")
	if strings.Trim(s, "0-") == "" {
		return ""
	}
	return strings.ToUpper(s)
}

// betweenHashes reports whether the character parts hashes: a comma or the like, a blank of any kind, a mark without width.
func betweenHashes(c rune) bool {
	return c == ',' || c == ';' || c == '|' || unicode.IsSpace(c) || unicode.Is(unicode.Cf, c)
}

// parseHashes reads "SHA1=…,MD5=…,SHA256=…,IMPHASH=…" in any order and subset. What is no hash is refused; the others stand.
func (s *sysmon) parseHashes(line int64, field, text string) (file intel.Hashes, imphash string) {
	for part := range strings.FieldsFuncSeq(text, betweenHashes) {
		name, value, named := strings.Cut(part, "=")
		if !named {
			name, value = "", part
		}
		if strings.EqualFold(name, "IMPHASH") {
			switch {
			case value == "-", strings.EqualFold(value, "Unknown"), strings.Trim(value, "0") == "": // an image without imports
			case len(value) == 32 && isHex([]byte(value)):
				imphash = strings.ToLower(value)
			default:
				s.r.refuse(line, field, "an IMPHASH has 32 hex digits")
			}
			continue
		}
		if value == "" || value == "-" || strings.EqualFold(value, "Unknown") {
			continue
		}
		h, err := intel.ParseHash(value)
		if err == nil && named && !strings.EqualFold(name, strings.ReplaceAll(h.Algorithm().String(), "-", "")) {
			err = fmt.Errorf("%s holds a %s", name, h.Algorithm())
		}
		if err != nil {
			s.r.refuse(line, field, err.Error())
			continue
		}
		if strings.Trim(value, "0") == "" {
			continue // Sysmon's way to say that it could not read the file
		}
		file.Set(h)
	}
	return file, imphash
}

var errTime = errors.New(`no time; "2006-01-02 15:04:05.000" is right`)

// sysmonTime reads UtcTime, "2006-01-02 15:04:05.000", which has no zone mark and is UTC; ISO forms too. An empty one is unknown.
func sysmonTime(s string) (time.Time, error) {
	if s = meaningful(s); s == "" {
		return time.Time{}, nil
	}
	if len(s) >= 19 && s[4] == '-' && s[7] == '-' && (s[10] == ' ' || s[10] == 'T') && s[13] == ':' && s[16] == ':' {
		rest := strings.TrimSuffix(s[19:], "Z")
		if rest == "" || rest[0] == '.' && len(rest) <= 10 && digits(rest[1:]) {
			y, mo, d := number(s[0:4]), number(s[5:7]), number(s[8:10])
			h, mi, sec := number(s[11:13]), number(s[14:16]), number(s[17:19])
			if y >= 1970 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h >= 0 && h < 24 && mi >= 0 && mi < 60 && sec >= 0 && sec <= 60 {
				if t := time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC); t.Day() == d || sec == 60 {
					return t, nil
				}
			}
			return time.Time{}, errTime
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	return time.Time{}, errTime
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// number reads a few decimal digits, -1 when they are none.
func number(s string) (n int) {
	if !digits(s) {
		return -1
	}
	for _, c := range []byte(s) {
		n = 10*n + int(c-'0')
	}
	return n
}

// mayMatter reports whether a record's bytes can hold what Spoor reads: every event that carries a hash names its field; a start, its
// parent; and what reaches an address, the address, in names that Wazuh begins with small letters.
func mayMatter(raw []byte) bool {
	return bytes.Contains(raw, []byte("Hash")) || bytes.Contains(raw, []byte("ParentProcessG")) ||
		bytes.Contains(raw, []byte("estinationIp")) || bytes.Contains(raw, []byte("ueryName"))
}
