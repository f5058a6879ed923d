package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// jsonField is what a field of an entry holds.
type jsonField uint8

const (
	jsonOther jsonField = iota
	jsonHash
	jsonIndicator // a hash or an address
	jsonURL       // of an entry with a hash: where the file came from; else the indicator itself
	jsonIP
	jsonName
	jsonSize
	jsonFileType
	jsonThreat
	jsonSince
	jsonLink
	jsonImphash
	jsonSSDeep
	jsonTLSH
)

// jsonFields are the spellings of field names that were met, letters and digits alone, in lower case.
var jsonFields = map[string]jsonField{
	"md5": jsonHash, "sha1": jsonHash, "sha256": jsonHash, "md5hash": jsonHash, "sha1hash": jsonHash, "sha256hash": jsonHash, "responsemd5": jsonHash,
	"responsesha256": jsonHash, "hash": jsonHash, "filehash": jsonHash, "hashmd5": jsonHash, "hashsha1": jsonHash, "hashsha256": jsonHash,
	"ioc": jsonIndicator, "iocvalue": jsonIndicator, "indicator": jsonIndicator, "value": jsonIndicator,
	"url": jsonURL, "urls": jsonURL, "downloadurl": jsonURL, "domain": jsonURL,
	"ip": jsonIP, "ips": jsonIP,
	"filename": jsonName, "filenames": jsonName, "originalname": jsonName,
	"filesize": jsonSize, "size": jsonSize, "responsesize": jsonSize,
	"filetype": jsonFileType, "type": jsonFileType,
	"signature": jsonThreat, "threat": jsonThreat, "malwareprintable": jsonThreat, "malwarefamily": jsonThreat, "family": jsonThreat, "threatname": jsonThreat,
	"firstseen": jsonSince, "firstseenutc": jsonSince, "dateadded": jsonSince, "created": jsonSince,
	"reference": jsonLink, "link": jsonLink, "report": jsonLink,
	"imphash": jsonImphash, "ssdeep": jsonSSDeep, "tlsh": jsonTLSH,
}

func fieldOf(name string) jsonField { return jsonFields[plainName(name)] }

// plainName brings a field's name to letters and digits in lower case.
func plainName(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return -1
	}, name)
}

// sniffJSONList is sure of JSON whose entries have the field names of a list of files or indicators.
func sniffJSONList(s *sample) int {
	if !s.json() {
		return 0
	}
	for _, mark := range []string{`"sha256_hash"`, `"ioc_value"`, `"urlhaus_link"`, `"urlhaus_reference"`, `"ioc_type"`} {
		if bytes.Contains(s.head, []byte(mark)) {
			return 60
		}
	}
	if s.has("MD5", "threat") || s.has("SHA256", "threat") {
		return 60
	}
	return 0
}

// jsonLimit bounds how much of the input one entry may take.
type jsonLimit struct {
	in   io.Reader
	left int
}

var errLongEntry = fmt.Errorf("an entry longer than %d bytes", maxObject)

func (l *jsonLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongEntry
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// readJSONList reads lists of JSON objects: MalwareBazaar, ThreatFox, URLhaus, Kaspersky's data feeds, and others that name their fields as
// these do; bare, in an array, an object a line, or in an object around them. An object with a hash or an indicator of its own is an entry.
func readJSONList(r *reader) error {
	limit := &jsonLimit{in: r.in, left: 2 * maxObject}
	list := &jsonList{r: r, d: json.NewDecoder(limit), limit: limit}
	for {
		limit.left = 2 * maxObject
		t, err := list.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return list.fault(err)
		}
		if err := list.value(t, 0); err != nil {
			return list.fault(err)
		}
	}
}

type jsonList struct {
	r      *reader
	d      *json.Decoder
	limit  *jsonLimit
	row    listed
	hashes foundHashes
	feed   string // of the entry before
	own    string // that the entries' own fields told last; it gives the threats their names
}

// fault tells of what ends the reading: of text that is no JSON from here on, as a refusal.
func (l *jsonList) fault(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errLongEntry), errors.Is(err, io.EOF):
		l.r.refuse(0, "", fmt.Sprintf("entry %d, at byte %d: %v; what follows is not read", l.r.result.Records+1, l.d.InputOffset(), err))
		return nil
	}
	return err
}

// value reads the value whose first token is t.
func (l *jsonList) value(t json.Token, depth int) error {
	switch t {
	case json.Delim('['):
		for l.d.More() {
			if l.r.ctx.Err() != nil {
				return l.r.ctx.Err()
			}
			l.limit.left = 2 * maxObject
			t, err := l.d.Token()
			if err != nil {
				return err
			}
			if err := l.value(t, depth+1); err != nil {
				return err
			}
		}
		_, err := l.d.Token()
		return err
	case json.Delim('{'):
		return l.object(depth)
	}
	return nil
}

// object reads an object whose opening brace was read. What lies in an entry is part of it; an object around a list is only its cover.
func (l *jsonList) object(depth int) error {
	fields := map[string]any{}
	for l.d.More() {
		t, err := l.d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if t, err = l.d.Token(); err != nil {
			return err
		}
		switch {
		case t == json.Delim('[') && !entryLike(fields) && depth < 8 && !partOfEntry[plainName(key)]:
			if err := l.value(t, depth+1); err != nil {
				return err
			}
		case t == json.Delim('{') && !entryLike(fields) && depth < 8:
			if err := l.object(depth + 1); err != nil {
				return err
			}
		default:
			if fields[key], err = l.rest(t, 0); err != nil {
				return err
			}
		}
	}
	if _, err := l.d.Token(); err != nil {
		return err
	}
	if !entryLike(fields) {
		return nil
	}
	l.r.result.Records++
	return l.entry(fields)
}

// partOfEntry are fields with arrays that may come before an entry's hashes.
var partOfEntry = map[string]bool{"urls": true, "filenames": true, "tags": true, "ip": true, "ips": true, "hashes": true, "codesign": true}

var errDeepEntry = errors.New("nested too deeply")

// rest reads the value whose first token is t into memory; the entry's bound is the memory's.
func (l *jsonList) rest(t json.Token, depth int) (any, error) {
	if depth > maxLevels {
		return nil, errDeepEntry
	}
	switch t {
	case json.Delim('['):
		var all []any
		for l.d.More() {
			t, err := l.d.Token()
			if err != nil {
				return nil, err
			}
			v, err := l.rest(t, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		_, err := l.d.Token()
		return all, err
	case json.Delim('{'):
		all := map[string]any{}
		for l.d.More() {
			k, err := l.d.Token()
			if err != nil {
				return nil, err
			}
			t, err := l.d.Token()
			if err != nil {
				return nil, err
			}
			if all[fmt.Sprint(k)], err = l.rest(t, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := l.d.Token()
		return all, err
	}
	return t, nil
}

// entryLike reports whether an object's fields so far make it an entry.
func entryLike(fields map[string]any) bool {
	for k, v := range fields {
		if s, ok := v.(string); ok && s != "" {
			switch f := fieldOf(k); {
			case f == jsonHash, f == jsonIndicator && len(FindHashes([]byte(s))) > 0, k == "ioc", k == "ioc_value", k == "url":
				return true
			}
		}
	}
	return false
}

// feedOf tells whose list an entry is of, "" when its fields do not say.
func feedOf(fields map[string]any) string {
	has := func(keys ...string) bool {
		for _, k := range keys {
			if _, ok := fields[k]; !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("sha256_hash", "reporter"), has("sha256_hash", "signature", "tlsh"):
		return "MalwareBazaar"
	case has("ioc", "threat_type"), has("ioc_value", "threat_type"):
		return "ThreatFox"
	case has("urlhaus_link"), has("urlhaus_reference"), has("url", "url_status"), has("sha256_hash", "urlhaus_download"):
		return "URLhaus"
	case has("threat", "popularity"):
		return "Kaspersky"
	}
	return ""
}

// hasHash reports whether one of the fields is the hash of a file.
func hasHash(fields map[string]any) bool {
	for k, v := range fields {
		if s, ok := v.(string); ok && fieldOf(k) == jsonHash && len(FindHashes([]byte(s))) > 0 {
			return true
		}
	}
	return false
}

// entry tells of one entry.
func (l *jsonList) entry(fields map[string]any) error {
	own := feedOf(fields)
	feed := l.r.feed(own)
	if l.own = cmp.Or(own, l.own); feed != "" {
		l.feed = feed
	} else if feed = l.feed; feed == "" {
		return &intel.Refusal{Reason: "its entries do not tell whose list it is: say with --feed NAME"}
	}
	file := hasHash(fields)
	e := &l.row
	*e = listed{engine: l.own}
	l.hashes.reset()
	var addresses []string
	add := func(k string, v any) {
		var text string
		switch v := v.(type) {
		case string:
			text = strings.TrimSpace(v)
		case float64:
			text = fmt.Sprintf("%.0f", v)
		}
		if text == "" || text == "null" {
			return
		}
		switch fieldOf(k) {
		case jsonHash:
			l.hashes.add([]byte(text))
		case jsonIndicator:
			before := len(l.hashes.all)
			if l.hashes.add([]byte(text)); len(l.hashes.all) > before {
				break
			}
			if a, ok := listAddress(text, true); ok {
				addresses = append(addresses, a)
			}
		case jsonURL:
			a, ok := listAddress(text, true)
			switch {
			case ok && file:
				e.from = append(e.from, a)
			case ok:
				addresses = append(addresses, a)
			}
		case jsonIP: // where the file came from, in the file's own entry alone
			for ip := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == ';' || c == ' ' }) {
				if a, ok := listAddress(ip, true); ok && file && len(e.from) < intel.MaxIPs {
					e.from = append(e.from, a)
				}
			}
		case jsonName:
			e.name(text)
		case jsonSize:
			e.size(text)
		case jsonFileType:
			if file {
				e.add(intel.Type, text)
			}
		case jsonThreat:
			if e.threat == "" {
				e.threat = meaningful(text)
			}
		case jsonSince:
			if e.since.IsZero() {
				e.since, _ = parseTime(text)
			}
		case jsonLink:
			if _, link := linkIn(text); link != "" {
				if p, ok := report("", link); ok {
					e.reports = append(e.reports, p)
				}
			}
		case jsonImphash:
			e.resembles(intel.Imphash, text)
		case jsonSSDeep:
			e.resembles(intel.SSDeep, text)
		case jsonTLSH:
			e.resembles(intel.TLSH, text)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		list, ok := fields[k].([]any)
		if !ok {
			add(k, fields[k])
			continue
		}
		for _, x := range list[:min(len(list), 64)] {
			if o, ok := x.(map[string]any); ok {
				x = o["url"]
				if fieldOf(k) != jsonURL {
					continue
				}
			}
			add(k, x)
		}
	}
	// MalwareBazaar's certificates of the file, of which those on its blocklist are discredited.
	certificates, _ := fields["code_sign"].([]any)
	for _, c := range certificates[:min(len(certificates), maxSigners)] {
		if c, ok := c.(map[string]any); ok {
			signer, _ := c["subject_cn"].(string)
			e.signed(signer, c["cscb_listed"] == true || fmt.Sprint(c["cscb_listed"]) == "true")
		}
	}
	line := l.r.result.Records
	for _, n := range l.hashes.wrong {
		l.r.refuseCut(line, "", n)
	}
	files := l.hashes.files()
	if len(files)+len(addresses) > 0 {
		l.r.result.Used++
	} else if len(l.hashes.wrong) == 0 {
		l.r.result.Other++
	}
	for _, f := range files {
		if e.file = f; len(files) > 1 { // what else the entry says is of one file, and nobody knows which
			e.attribute, e.fuzzy, e.from, e.signature = nil, nil, nil, nil
		}
		if err := l.r.listFile(line, feed, e); err != nil {
			return err
		}
	}
	for _, a := range addresses {
		if err := l.r.list(line, feed, entry{address: a, threat: cutText(e.threat, maxThreat), since: e.since}); err != nil {
			return err
		}
	}
	// URLhaus states with an address the files that came from it.
	payloads, _ := fields["payloads"].([]any)
	for _, p := range payloads {
		if payload, ok := p.(map[string]any); ok && !file && entryLike(payload) {
			payload["download_url"] = fields["url"]
			delete(payload, "payloads")
			l.r.result.Records++
			if err := l.entry(payload); err != nil {
				return err
			}
		}
	}
	return nil
}
