package source

import (
	"strconv"
	"strings"

	"spoor/internal/intel"
)

// Events in the Open Cybersecurity Schema: file (1001), module (1005) and process (1007) activity; what reaches an address, HTTP (4002), DNS
// (4003) and the other network classes (4xxx).

func isOCSF(f *fields) bool { return f.has("class_uid") }

func readOCSFRecord(t *telemetry) error {
	class, _ := strconv.Atoi(t.get("class_uid"))
	if !t.when("time", "time_dt") {
		return nil
	}
	t.host = t.any("device.hostname", "device.name", "device.uid")
	actor := t.ocsfObject("actor.process.file", "actor.process")
	switch {
	case class == 1007:
		file := t.ocsfObject("process.file", "process")
		if err := t.ocsfSighting("process.file", file); err != nil {
			return err
		}
		if activity := t.get("activity_id"); activity != "1" && activity != "" { // 1 is Launch
			return nil
		}
		if actor.IsZero() && actor.Path == "" && actor.Name == "" {
			actor = t.ocsfObject("process.parent_process.file", "process.parent_process")
		}
		return t.relation(intel.Started, actor, file)
	case class == 1005:
		return t.ocsfSighting("module.file", t.ocsfObject("module.file", ""))
	case class/1000 == 4:
		if t.get("connection_info.direction_id") == "1" { // inbound
			return nil
		}
		var ips []string
		for i := range 16 {
			ips = append(ips, t.get("answers."+strconv.Itoa(i)+".rdata"))
		}
		url := t.any("http_request.url.url_string", "url.url_string", "query.hostname", "dst_endpoint.hostname", "dst_endpoint.domain")
		return t.access(actor.Hashes, url, append([]string{t.ocsfServer()}, ips...)...)
	}
	file := t.ocsfObject("file", "")
	if err := t.ocsfSighting("file", file); err != nil {
		return err
	}
	return t.download(actor, file, t.any("file.url.url_string", "file.source_url"), "", "")
}

// ocsfServer returns the IP address of the other side; of a DNS question it is the resolver's, which is not what was reached.
func (t *telemetry) ocsfServer() string {
	if t.get("class_uid") == "4003" {
		return ""
	}
	return t.get("dst_endpoint.ip")
}

func (t *telemetry) ocsfSighting(of string, file intel.Object) error {
	if err := t.sighting(file); err != nil {
		return err
	}
	if err := t.attribute(file.Hashes, intel.Size, t.get(of+".size")); err != nil {
		return err
	}
	return t.attribute(file.Hashes, intel.Company, t.get(of+".company_name"))
}

// ocsfObject returns the file under a path; the process that runs it may tell its name.
func (t *telemetry) ocsfObject(of, process string) intel.Object {
	o := intel.Object{Path: t.get(of + ".path"), Name: t.get(of + ".name")}
	if process != "" && o.Name == "" {
		o.Name = t.get(process + ".name")
	}
	for i := range 16 {
		hash := of + ".hashes." + strconv.Itoa(i)
		if !t.has(hash+".value", hash+".algorithm_id") {
			break
		}
		var want intel.Algorithm
		switch id, name := t.get(hash+".algorithm_id"), strings.ToUpper(strings.ReplaceAll(t.get(hash+".algorithm"), "-", "")); {
		case id == "1" || id == "" && name == "MD5":
			want = intel.MD5
		case id == "2" || id == "" && name == "SHA1":
			want = intel.SHA1
		case id == "3" || id == "" && name == "SHA256":
			want = intel.SHA256
		default:
			continue // SHA-512, fuzzy hashes: they name no file here
		}
		t.setHash(&o.Hashes, want, hash+".value", t.get(hash+".value"))
	}
	return o
}

func sniffOCSF(s *sample) int {
	if s.has("class_uid") {
		return 60
	}
	return 0
}
