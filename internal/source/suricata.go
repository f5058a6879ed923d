package source

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"spoor/internal/intel"
)

// Suricata's EVE log: fileinfo events name files with their hashes and, over HTTP, where they came from. All other events say nothing of a
// file's hash. A file's host is the machine that received it, as with Zeek; the sensor's own name, where the log has it, is not a file's host.

func sniffSuricata(s *sample) int {
	if s.json() && s.has("event_type", "timestamp") && (s.has("flow_id") || s.has("src_ip") || s.has("stats") || s.has("pcap_cnt") || s.has("engine")) {
		return 80
	}
	return 0
}

type suricataEvent struct {
	Timestamp zeekText `json:"timestamp"`
	Type      zeekText `json:"event_type"`
	SrcIP     zeekText `json:"src_ip"`
	SrcPort   zeekText `json:"src_port"`
	DestIP    zeekText `json:"dest_ip"`
	DestPort  zeekText `json:"dest_port"`
	AppProto  zeekText `json:"app_proto"`
	Direction zeekText `json:"direction"`
	HTTP      struct {
		Hostname zeekText `json:"hostname"`
		Port     zeekText `json:"http_port"`
		URL      zeekText `json:"url"`
		Referrer zeekText `json:"http_refer"`
		Method   zeekText `json:"http_method"`
		Status   zeekText `json:"status"`
	} `json:"http"`
	File struct {
		Filename zeekText `json:"filename"`
		Magic    zeekText `json:"magic"`
		MimeType zeekText `json:"mimetype"`
		MD5      zeekText `json:"md5"`
		SHA1     zeekText `json:"sha1"`
		SHA256   zeekText `json:"sha256"`
		Size     zeekText `json:"size"`
		State    zeekText `json:"state"`
		Gaps     zeekText `json:"gaps"`
	} `json:"fileinfo"`
}

func readSuricata(r *reader) error {
	n := newNetwork(r, "suricata")
	checked := 0
	return r.eachObject(func(object []byte, line int64) (bool, error) {
		if !bytes.Contains(object, []byte(`"fileinfo"`)) {
			if checked++; checked <= firstLines && !json.Valid(object) {
				return false, nil
			}
			r.result.Other++
			return true, nil
		}
		var e suricataEvent
		if json.Unmarshal(object, &e) != nil {
			return false, nil
		}
		return true, n.suricata(line, &e)
	})
}

func (n *network) suricata(line int64, e *suricataEvent) error {
	r, f := n.r, &e.File
	if e.Type != "fileinfo" {
		r.result.Other++
		return nil
	}
	var file intel.Hashes
	faults := 0
	for _, h := range [...]struct {
		field string
		value zeekText
		a     intel.Algorithm
	}{{"fileinfo.md5", f.MD5, intel.MD5}, {"fileinfo.sha1", f.SHA1, intel.SHA1}, {"fileinfo.sha256", f.SHA256, intel.SHA256}} {
		one := r.namedHash(line, h.field, string(h.value), h.a)
		if one.IsZero() && h.value != "" {
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
	if f.State != "" && f.State != "CLOSED" || f.Gaps == "true" {
		r.refuse(line, "fileinfo.state", "hashes of a part are not the file's: state "+string(f.State)+", gaps "+string(f.Gaps))
		return nil
	}
	at, ok := parseTime(string(e.Timestamp))
	if !ok && e.Timestamp != "" {
		r.refuse(line, "timestamp", "no time; ISO 8601 is right")
		return nil
	}
	r.result.Used++
	t := transfer{line: line, at: at, file: file, name: clean(string(f.Filename)), mime: clean(string(f.Magic))}
	if t.mime == "" {
		t.mime = clean(string(f.MimeType))
	}
	if size, ok := zeekCount(string(f.Size)); ok {
		t.size = strconv.FormatInt(size, 10)
	}
	if h := &e.HTTP; h.URL != "" { // then the name is the URL's path, which is no path on a host
		t.name, _, _ = strings.Cut(t.name, "?")
		t.name = t.name[strings.LastIndexByte(t.name, '/')+1:]
	}
	t.from, t.to = n.machines(n.from[:0], string(e.SrcIP)), n.machines(n.to[:0], string(e.DestIP))
	n.from, n.to = t.from, t.to
	if err := n.sight(&t); err != nil {
		return err
	}
	h := &e.HTTP
	if h.URL == "" || e.upload() || !delivers(string(h.Status)) {
		return nil
	}
	scheme, port := "http", string(h.Port)
	if port == "" {
		port = string(e.SrcPort)
	}
	if port == "443" {
		scheme = "https"
	}
	d := intel.Download{Referrer: clean(string(h.Referrer))}
	if d.URL, d.IPs = webAddress(scheme, string(h.Hostname), string(h.URL), string(e.SrcIP), port); d.URL == "" {
		return nil
	}
	return r.observe(line, &intel.Observation{Source: n.source, Time: at, File: file, Fact: d})
}

// upload reports whether the client sent the file. Where the event does not say its direction, a request that may send one tells by the
// ports: the client's is the higher one.
func (e *suricataEvent) upload() bool {
	switch e.Direction {
	case "to_server":
		return true
	case "to_client":
		return false
	}
	if m := e.HTTP.Method; m != "POST" && m != "PUT" && m != "PATCH" {
		return false
	}
	from, _ := zeekCount(string(e.SrcPort))
	to, _ := zeekCount(string(e.DestPort))
	return from > to
}
