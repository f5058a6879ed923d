package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// Zeek's logs, as text in columns and as JSON. files.log names the files that went over the wire, with their hashes where the sensor makes
// them; http.log names the addresses that they came from, tied by the file's id (fuid) within one folder or archive, see [Joins]. All other
// logs say nothing of a file's hash: the addresses of a download's host come from http.log itself, which names the server.
//
// A file's host is the machine that received it, see fleetHosts; the sensor has no file. A certificate of a TLS handshake is a file to Zeek,
// and its hash is that of its bytes: it is told with its MIME type.

func sniffZeekTSV(s *sample) int {
	if bytes.HasPrefix(s.trimmed, []byte("#separator ")) {
		return 100
	}
	if bytes.HasPrefix(s.trimmed, []byte("#")) && bytes.Contains(s.head, []byte("\n#fields\t")) && bytes.Contains(s.head, []byte("\n#types\t")) {
		return 90
	}
	return 0
}

func sniffZeekJSON(s *sample) int {
	if !s.json() {
		return 0
	}
	switch {
	case s.has("_path", "ts"), s.has("@stream", "ts"):
		return 80
	case s.has("ts", "fuid"), s.has("ts", "uid", "id.orig_h"), s.has("ts", "uid", "id_orig_h"), s.has("ts", "uid", "id"):
		return 70
	}
	return 0
}

// zeekField is a column that is read.
type zeekField int

const (
	zeekTS zeekField = iota
	zeekFuid
	zeekMime
	zeekFilename
	zeekSeen
	zeekTotal
	zeekMissing
	zeekOverflow
	zeekTx
	zeekRx
	zeekOrigH
	zeekRespH
	zeekRespP
	zeekIsOrig
	zeekMD5
	zeekSHA1
	zeekSHA256
	zeekHost
	zeekURI
	zeekReferrer
	zeekStatus
	zeekMethod
	zeekRespFuids
	zeekFields // how many there are
)

var zeekNames = map[string]zeekField{"ts": zeekTS, "fuid": zeekFuid, "mime_type": zeekMime, "filename": zeekFilename, "seen_bytes": zeekSeen, "total_bytes": zeekTotal,
	"missing_bytes": zeekMissing, "overflow_bytes": zeekOverflow, "tx_hosts": zeekTx, "rx_hosts": zeekRx, "id.orig_h": zeekOrigH, "id.resp_h": zeekRespH,
	"id.resp_p": zeekRespP, "is_orig": zeekIsOrig, "md5": zeekMD5, "sha1": zeekSHA1, "sha256": zeekSHA256, "host": zeekHost, "uri": zeekURI, "referrer": zeekReferrer,
	"status_code": zeekStatus, "method": zeekMethod, "resp_fuids": zeekRespFuids}

// zeek reads one input.
type zeek struct {
	network
	joins *joining
}

func newZeek(r *reader) *zeek { return &zeek{newNetwork(r, "zeek"), r.join()} }

// zeekFile and zeekRequest are the rows that are read; texts are as in the log, without what is unset.
type (
	zeekFile struct {
		ts, fuid, mime, name           string
		seen, total, missing, overflow string
		tx, rx                         []string
		origH, respH, isOrig           string
		md5, sha1, sha256              string
	}
	zeekRequest struct {
		ts, host, uri, referrer, status, method string
		respH, respP                            string
		fuids                                   []string
	}
)

// file tells of a row of files.log.
func (z *zeek) file(line int64, f *zeekFile) error {
	r := z.r
	faults := 0
	var file intel.Hashes
	for _, h := range [...]struct {
		field, value string
		a            intel.Algorithm
	}{{"md5", f.md5, intel.MD5}, {"sha1", f.sha1, intel.SHA1}, {"sha256", f.sha256, intel.SHA256}} {
		one := r.namedHash(line, h.field, h.value, h.a)
		if one.IsZero() && meaningful(h.value) != "" {
			faults++
		}
		file.Set(one)
	}
	if file.IsZero() {
		if faults == 0 {
			r.result.Other++
		}
		return nil
	}
	seen, seenOK := zeekCount(f.seen)
	total, totalOK := zeekCount(f.total)
	missing, _ := zeekCount(f.missing)
	overflow, _ := zeekCount(f.overflow)
	if missing > 0 || overflow > 0 || seenOK && totalOK && seen < total {
		r.refuse(line, "seen_bytes", fmt.Sprintf("hashes of a part are not the file's: %s of %s bytes seen, %d missing", orUnknown(f.seen), orUnknown(f.total), missing+overflow))
		return nil
	}
	at, ok := zeekTime(f.ts)
	if !ok {
		r.refuse(line, "ts", "no time; seconds since 1970 or ISO 8601 are right")
		return nil
	}
	r.result.Used++
	t := transfer{line: line, at: at, file: file, name: clean(f.name), mime: clean(f.mime)}
	if t.size = f.seen; seenOK && (t.size[0] < '1' || t.size[0] > '9') { // as "007"
		t.size = strconv.FormatInt(seen, 10)
	} else if !seenOK {
		t.size = ""
	}
	switch {
	case len(f.rx) > 0 || len(f.tx) > 0:
		t.from, t.to = z.machines(z.from[:0], f.tx...), z.machines(z.to[:0], f.rx...)
	case f.isOrig == "T" || f.isOrig == "true":
		t.from, t.to = z.machines(z.from[:0], f.origH), z.machines(z.to[:0], f.respH)
	default:
		t.from, t.to = z.machines(z.from[:0], f.respH), z.machines(z.to[:0], f.origH)
	}
	z.from, z.to = t.from, t.to
	if err := z.sight(&t); err != nil {
		return err
	}
	if isFuid(f.fuid) {
		return z.joins.has(z.source, line, f.fuid, file)
	}
	return nil
}

// request tells of a row of http.log.
func (z *zeek) request(line int64, q *zeekRequest) error {
	r := z.r
	if !delivers(q.status) || len(q.fuids) == 0 {
		r.result.Other++
		return nil
	}
	at, ok := zeekTime(q.ts)
	if !ok {
		r.refuse(line, "ts", "no time; seconds since 1970 or ISO 8601 are right")
		return nil
	}
	d := intel.Download{Referrer: clean(q.referrer)}
	if d.URL, d.IPs = webAddress("http", q.host, q.uri, q.respH, q.respP); d.URL == "" {
		r.result.Other++
		return nil
	}
	r.result.Used++
	for _, id := range q.fuids[:min(len(q.fuids), maxTransferHosts)] {
		if !isFuid(id) {
			continue
		}
		if err := z.joins.downloaded(z.source, line, at, id, d); err != nil {
			return err
		}
	}
	return nil
}

// isFuid reports whether a text is a file's id, not a mask over one.
func isFuid(s string) bool { return len(s) > 3 && len(s) <= 64 && strings.Trim(s, "X") != "" }

func zeekCount(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0
}

func orUnknown(s string) string {
	if s == "" {
		return "an unknown number"
	}
	return s
}

// zeekTime reads ts: seconds since 1970 with a fraction, or ISO 8601. One that is masked, as XXXXXXXXXX.XXXXXX in published logs, is unknown.
func zeekTime(s string) (time.Time, bool) {
	if strings.Trim(s, "X.") == "" {
		return time.Time{}, true
	}
	if whole, fraction, _ := strings.Cut(s, "."); len(whole) <= 10 && digits(whole) && digits(fraction) {
		n, err := strconv.ParseInt(whole, 10, 64)
		if err == nil && n > 0 && n < 7e9 {
			return time.Unix(n, 0).UTC(), true
		}
	}
	return parseTime(s)
}

// zeekHeader is what the lines that begin with # say of the rows after them.
type zeekHeader struct {
	separator, set, unset, empty string
	columns                      []zeekField // which field stands in each column, zeekFields for one that is not read; no more than needed
	count                        int         // of columns
	files, http                  bool
	known                        bool // #fields were there
}

func newZeekHeader() zeekHeader {
	return zeekHeader{separator: "\t", set: ",", unset: "-", empty: "(empty)"}
}

// take reads one line of the header.
func (h *zeekHeader) take(line string) {
	if v, ok := strings.CutPrefix(line, "#separator "); ok {
		*h = newZeekHeader()
		if v = zeekUnescape(strings.TrimSpace(v)); v != "" {
			h.separator = v
		}
		return
	}
	name, rest, ok := strings.Cut(line, h.separator)
	if !ok {
		return
	}
	switch name {
	case "#set_separator":
		if rest != "" {
			h.set = zeekUnescape(rest)
		}
	case "#unset_field":
		h.unset = rest
	case "#empty_field":
		h.empty = rest
	case "#path":
		h.known, h.files, h.http = false, false, false
	case "#fields":
		h.columns, h.count, h.known = nil, 0, true
		var has [zeekFields + 1]bool
		for more := true; more; {
			name, rest, more = strings.Cut(rest, h.separator)
			f, ok := zeekNames[name]
			if h.count++; !ok || has[f] {
				continue
			}
			has[f] = true
			for len(h.columns) < h.count-1 {
				h.columns = append(h.columns, zeekFields)
			}
			h.columns = append(h.columns, f)
		}
		h.files = has[zeekFuid] && (has[zeekMD5] || has[zeekSHA1] || has[zeekSHA256])
		h.http = !h.files && has[zeekURI] && has[zeekRespFuids]
	}
}

func readZeekTSV(r *reader) error {
	z := newZeek(r)
	defer z.joins.done()
	h := newZeekHeader()
	row := zeekRow{h: &h}
	return r.eachRaw(func(line []byte) error {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return nil
		}
		if line[0] == '#' {
			h.take(string(line))
			return nil
		}
		r.result.Records++
		switch {
		case !h.known:
			r.refuse(r.in.number, "", "a row before #fields")
		case !h.files && !h.http:
			r.result.Other++
		case !row.split(string(line)):
			r.refuse(r.in.number, "", fmt.Sprintf("a row of %d fields, not %d as #fields has: it is cut or damaged", 1+bytes.Count(line, []byte(h.separator)), h.count))
		case h.files:
			return row.file(z, r.in.number)
		default:
			return row.request(z, r.in.number)
		}
		return nil
	})
}

// zeekRow is one row, parted. Its fields are parts of one text.
type zeekRow struct {
	h      *zeekHeader
	fields [zeekFields + 1]string
	long   bool // so long that what is told of it must not keep the whole of it in memory
}

// split parts a row; it reports whether it has as many fields as it should.
func (w *zeekRow) split(line string) bool {
	clear(w.fields[:])
	w.long = len(line) > intel.MaxText
	h, n := w.h, 0
	sep := h.separator[0]
	for ; n < len(h.columns); n++ {
		i := -1
		if len(h.separator) == 1 {
			i = strings.IndexByte(line, sep)
		} else {
			i = strings.Index(line, h.separator)
		}
		if i < 0 {
			w.fields[h.columns[n]] = line
			return n+1 == h.count
		}
		w.fields[h.columns[n]] = line[:i]
		line = line[i+len(h.separator):]
	}
	return n+1+strings.Count(line, h.separator) == h.count
}

// raw returns a field as it stands, "" when it is unset or empty.
func (w *zeekRow) raw(f zeekField) string {
	v := w.fields[f]
	if v == w.h.unset || v == w.h.empty {
		return ""
	}
	return v
}

func (w *zeekRow) text(f zeekField) string {
	if w.long {
		return strings.Clone(zeekUnescape(w.raw(f)))
	}
	return zeekUnescape(w.raw(f))
}

// list returns the parts of a set or vector.
func (w *zeekRow) list(f zeekField) []string {
	v := w.raw(f)
	if v == "" {
		return nil
	}
	var parts []string
	for more := true; more && len(parts) < maxTransferHosts; {
		var part string
		part, v, more = strings.Cut(v, w.h.set)
		if part != "" && part != w.h.unset {
			if w.long {
				part = strings.Clone(part)
			}
			parts = append(parts, zeekUnescape(part))
		}
	}
	return parts
}

func (w *zeekRow) file(z *zeek, line int64) error {
	if w.raw(zeekMD5) == "" && w.raw(zeekSHA1) == "" && w.raw(zeekSHA256) == "" {
		z.r.result.Other++
		return nil
	}
	return z.file(line, &zeekFile{ts: w.text(zeekTS), fuid: w.text(zeekFuid), mime: w.text(zeekMime), name: w.text(zeekFilename), seen: w.text(zeekSeen),
		total: w.text(zeekTotal), missing: w.text(zeekMissing), overflow: w.text(zeekOverflow), tx: w.list(zeekTx), rx: w.list(zeekRx), origH: w.text(zeekOrigH),
		respH: w.text(zeekRespH), isOrig: w.text(zeekIsOrig), md5: w.text(zeekMD5), sha1: w.text(zeekSHA1), sha256: w.text(zeekSHA256)})
}

func (w *zeekRow) request(z *zeek, line int64) error {
	if w.raw(zeekRespFuids) == "" {
		z.r.result.Other++
		return nil
	}
	return z.request(line, &zeekRequest{ts: w.text(zeekTS), host: w.text(zeekHost), uri: w.text(zeekURI), referrer: w.text(zeekReferrer), status: w.text(zeekStatus),
		method: w.text(zeekMethod), respH: w.text(zeekRespH), respP: w.text(zeekRespP), fuids: w.list(zeekRespFuids)})
}

// zeekUnescape undoes \x09 and the like, which stand for separators and for what cannot be printed, and the doubled backslash.
func zeekUnescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		if len(s) >= 4 && s[0] == '\\' && s[1] == 'x' {
			if hi, lo := hexValue[s[2]], hexValue[s[3]]; hi < 16 && lo < 16 {
				out = append(out, hi<<4|lo)
				s = s[4:]
				continue
			}
		}
		out = append(out, s[0])
		if strings.HasPrefix(s, `\\`) {
			s = s[1:]
		}
		s = s[1:]
	}
	return string(out)
}

// zeekJSON are the fields of a JSON record. The connection's ends are spelled with a dot, with a line, or as an object.
type zeekJSON struct {
	TS       zeekText `json:"ts"`
	Fuid     zeekText `json:"fuid"`
	Mime     zeekText `json:"mime_type"`
	Filename zeekText `json:"filename"`
	Seen     zeekText `json:"seen_bytes"`
	Total    zeekText `json:"total_bytes"`
	Missing  zeekText `json:"missing_bytes"`
	Overflow zeekText `json:"overflow_bytes"`
	Tx       zeekList `json:"tx_hosts"`
	Rx       zeekList `json:"rx_hosts"`
	OrigH    zeekText `json:"id.orig_h"`
	RespH    zeekText `json:"id.resp_h"`
	RespP    zeekText `json:"id.resp_p"`
	OrigH2   zeekText `json:"id_orig_h"`
	RespH2   zeekText `json:"id_resp_h"`
	RespP2   zeekText `json:"id_resp_p"`
	ID       zeekID   `json:"id"`
	IsOrig   zeekText `json:"is_orig"`
	MD5      zeekText `json:"md5"`
	SHA1     zeekText `json:"sha1"`
	SHA256   zeekText `json:"sha256"`
	Host     zeekText `json:"host"`
	URI      zeekText `json:"uri"`
	Referrer zeekText `json:"referrer"`
	Status   zeekText `json:"status_code"`
	Method   zeekText `json:"method"`
	Fuids    zeekList `json:"resp_fuids"`
}

// zeekText is a text, number or truth as text; anything else is nothing.
type zeekText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *zeekText) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = zeekText(meaningful(s))
	case b[0] != '{' && b[0] != '[' && !bytes.Equal(b, []byte("null")):
		*t = zeekText(b)
	}
	return nil
}

// zeekList is a list of texts, or one text.
type zeekList []string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *zeekList) UnmarshalJSON(b []byte) error {
	*l = nil
	var many []zeekText
	if b[0] == '[' {
		if err := json.Unmarshal(b, &many); err != nil {
			return err
		}
	} else if one := zeekText(""); one.UnmarshalJSON(b) == nil && one != "" {
		many = []zeekText{one}
	}
	for _, t := range many[:min(len(many), maxTransferHosts)] {
		if t != "" {
			*l = append(*l, string(t))
		}
	}
	return nil
}

// zeekID are the ends of a connection where they are an object.
type zeekID struct{ origH, respH, respP zeekText }

// UnmarshalJSON implements [json.Unmarshaler].
func (id *zeekID) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil // other logs have a text here
	}
	var o struct {
		OrigH zeekText `json:"orig_h"`
		RespH zeekText `json:"resp_h"`
		RespP zeekText `json:"resp_p"`
	}
	err := json.Unmarshal(b, &o)
	*id = zeekID{o.OrigH, o.RespH, o.RespP}
	return err
}

func readZeekJSON(r *reader) error {
	z := newZeek(r)
	defer z.joins.done()
	checked := 0
	return r.eachObject(func(object []byte, line int64) (bool, error) {
		if !bytes.Contains(object, []byte(`fuid`)) {
			// A few are looked at wholly, so that what only looks like lines of objects goes through the splitter.
			if checked++; checked <= firstLines && !json.Valid(object) {
				return false, nil
			}
			r.result.Other++
			return true, nil
		}
		var j zeekJSON
		if json.Unmarshal(object, &j) != nil {
			return false, nil
		}
		origH, respH, respP := j.OrigH+j.OrigH2+j.ID.origH, j.RespH+j.RespH2+j.ID.respH, j.RespP+j.RespP2+j.ID.respP
		switch {
		case j.Fuid != "":
			return true, z.file(line, &zeekFile{ts: string(j.TS), fuid: string(j.Fuid), mime: string(j.Mime), name: string(j.Filename), seen: string(j.Seen), total: string(j.Total),
				missing: string(j.Missing), overflow: string(j.Overflow), tx: j.Tx, rx: j.Rx, origH: string(origH), respH: string(respH), isOrig: string(j.IsOrig),
				md5: string(j.MD5), sha1: string(j.SHA1), sha256: string(j.SHA256)})
		case len(j.Fuids) > 0:
			return true, z.request(line, &zeekRequest{ts: string(j.TS), host: string(j.Host), uri: string(j.URI), referrer: string(j.Referrer), status: string(j.Status),
				method: string(j.Method), respH: string(respH), respP: string(respP), fuids: j.Fuids})
		}
		r.result.Other++
		return true, nil
	})
}

func isBufferFull(err error) bool { return errors.Is(err, bufio.ErrBufferFull) }
