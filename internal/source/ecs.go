package source

import (
	"bytes"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// Documents in the Elastic Common Schema: Elastic Endpoint, Winlogbeat, Filebeat, Auditbeat. The file that a document is about is its dll where it is
// about a library, else its file, else its process; a process that stands beside a file did it.

func isECS(f *fields) bool {
	return f.has("@timestamp", "ecs.version") && (ecsHashed(f, "process") || ecsHashed(f, "file") || ecsHashed(f, "dll") || ecsHashed(f, "process.parent"))
}

func ecsHashed(f *fields, of string) bool {
	return f.has(of+".hash.sha256", of+".hash.sha1", of+".hash.md5")
}

func readECSRecord(t *telemetry) error {
	times := []string{"@timestamp"}
	if t.has("winlog.event_data.UtcTime") && strings.Contains(t.any("winlog.provider_name", "event.provider"), "Sysmon") {
		times = []string{"winlog.event_data.UtcTime"} // the exporter's may be hours away
	}
	if !t.when(times...) {
		return nil
	}
	t.host = t.any("host.name", "host.hostname", "winlog.computer_name", "agent.hostname", "agent.name")
	dll, file, process, parent := t.ecsObject("dll"), t.ecsObject("file"), t.ecsObject("process"), t.ecsObject("process.parent")
	categories, types := t.all("event.category"), t.all("event.type")
	is := func(category string) bool { return slices.Contains(categories, category) }

	var about string
	var carrier intel.Object
	switch {
	case !dll.IsZero() && (file.IsZero() || is("library") || is("driver")):
		about, carrier = "dll", dll
	case !file.IsZero():
		about, carrier = "file", file
	case is("network") || is("dns") || is("web"):
	default:
		about, carrier = "process", process
	}
	if _, stream := cutStream(carrier.Path); stream != "" {
		return nil // the hash is the alternate stream's
	}
	if err := t.sighting(carrier); err != nil {
		return err
	}
	for i, of := range [...]struct {
		name string
		file intel.Hashes
	}{{about, carrier.Hashes}, {"process", process.Hashes}, {"process.parent", parent.Hashes}} {
		if of.name == "process" && i == 1 && about == "process" {
			continue
		}
		if err := t.ecsAbout(of.name, of.file, of.name == about); err != nil {
			return err
		}
	}
	switch {
	case about == "process":
		action := t.get("event.action")
		started := slices.Contains(types, "start") || action == "start" || action == "exec" || strings.HasPrefix(action, "Process Create") || action == "process_started"
		if !started && len(types) == 0 && action == "" {
			started = !parent.IsZero() || parent.Path != "" // nothing says what happened, but who started it is told
		}
		if started && !slices.Contains(types, "end") {
			return t.relation(intel.Started, parent, process)
		}
	case about == "file":
		url, referrer := t.any("file.origin_url", "file.Ext.origin_url"), t.any("file.origin_referrer_url", "file.Ext.origin_referrer_url")
		if url == "" {
			url, referrer = t.any("url.full", "url.original"), t.get("http.request.referrer")
		}
		return t.download(process, file, url, referrer, t.get("destination.ip"))
	case about == "":
		switch t.get("network.direction") {
		case "ingress", "inbound", "incoming":
			return nil
		}
		if action := t.get("event.action"); strings.HasPrefix(action, "connection_accepted") {
			return nil
		}
		url := t.any("url.full", "destination.domain", "url.domain")
		if url == "" && t.has("dns.question.name") {
			return t.access(process.Hashes, t.get("dns.question.name"), t.all("dns.resolved_ip")...)
		}
		return t.access(process.Hashes, url, t.get("destination.ip"))
	}
	return nil
}

// ecsObject returns a file that the document names.
func (t *telemetry) ecsObject(of string) intel.Object {
	return intel.Object{Hashes: t.hashes(of+".hash.md5", of+".hash.sha1", of+".hash.sha256"), Path: t.any(of+".path", of+".executable"), Name: t.get(of + ".name")}
}

// ecsAbout tells what the document says of a file's bytes; who signed it, only of the file that it is about.
func (t *telemetry) ecsAbout(of string, file intel.Hashes, signed bool) error {
	if of == "" || file.IsZero() {
		return nil
	}
	if signed && t.get(of+".code_signature.exists") != "false" {
		if err := t.signature(file, t.get(of+".code_signature.subject_name"), t.ecsStatus(of)); err != nil {
			return err
		}
	}
	for _, a := range [...]struct {
		name  intel.AttributeName
		field string
	}{{intel.Size, ".size"}, {intel.Company, ".pe.company"}, {intel.Product, ".pe.product"}, {intel.Description, ".pe.description"},
		{intel.Version, ".pe.file_version"}, {intel.OriginalName, ".pe.original_file_name"}} {
		if err := t.attribute(file, a.name, t.get(of+a.field)); err != nil {
			return err
		}
	}
	if err := t.fuzzy(file, intel.Imphash, t.any(of+".pe.imphash", of+".hash.imphash")); err != nil {
		return err
	}
	if err := t.fuzzy(file, intel.SSDeep, t.get(of+".hash.ssdeep")); err != nil {
		return err
	}
	return t.fuzzy(file, intel.TLSH, t.get(of+".hash.tlsh"))
}

// ecsStatus returns the trust in a signature. Valid bytes alone are not trust.
func (t *telemetry) ecsStatus(of string) intel.SignatureStatus {
	status := t.get(of + ".code_signature.status")
	switch {
	case strings.Contains(strings.ToLower(status), "revoked"):
		return intel.Discredited
	case t.has(of + ".code_signature.trusted"):
		return trusted(isYes(t.get(of + ".code_signature.trusted")))
	}
	return trusted(strings.EqualFold(status, "trusted") || strings.EqualFold(status, "Valid"))
}

// ecsSysmon returns the event of Sysmon whose fields Elastic's pipelines moved to those of the schema, so that it is joined with the others by
// its GUIDs.
func ecsSysmon(f *fields, id int, line int64) (e event, ok bool) {
	for _, f.root = range telemetryRoots {
		if f.has("@timestamp") && f.has("process.entity_id", "process.executable") {
			ok = true
			break
		}
	}
	if !ok {
		return e, false
	}
	hashed := "process"
	e = event{id: id, line: line, provider: "Sysmon", host: f.any("host.name", "winlog.computer_name", "host.hostname"),
		utcTime: f.any("winlog.event_data.UtcTime", "@timestamp"), guid: f.get("process.entity_id"), image: f.get("process.executable"),
		parentGuid: f.get("process.parent.entity_id"), parentImage: f.get("process.parent.executable"),
		target: f.get("file.path"), loaded: f.any("dll.path", "file.path"), contents: f.any("winlog.event_data.Contents", "sysmon.file.contents"),
		initiated: f.get("winlog.event_data.Initiated"), destinationHost: f.get("destination.domain"), destinationIP: f.get("destination.ip"),
		query: f.get("dns.question.name"), queryResults: strings.Join(f.all("dns.resolved_ip"), ";")}
	if e.initiated == "" && f.get("network.direction") != "ingress" && f.get("network.direction") != "inbound" {
		e.initiated = "true"
	}
	if id != 1 {
		hashed = "file"
		if id <= 7 && ecsHashed(f, "dll") || !ecsHashed(f, "file") {
			hashed = "dll"
		}
		if !ecsHashed(f, hashed) {
			hashed = "process" // older pipelines keep every hash there
		}
	}
	for _, algorithm := range [...]string{"md5", "sha1", "sha256"} {
		if hash := f.get(hashed + ".hash." + algorithm); hash != "" {
			e.hashes += algorithm + "=" + hash + ","
		}
	}
	if imphash := f.any(hashed+".pe.imphash", hashed+".hash.imphash"); imphash != "" {
		e.hashes += "imphash=" + imphash
	}
	signature := hashed + ".code_signature."
	e.signature, e.signed, e.signatureStatus = f.any(signature+"subject_name"), f.any(signature+"signed", signature+"exists"), f.get(signature+"status")
	pe := hashed + ".pe."
	e.company, e.product, e.description = f.any(pe+"company", "winlog.event_data.Company"), f.any(pe+"product", "winlog.event_data.Product"), f.any(pe+"description", "winlog.event_data.Description")
	e.version, e.original = f.any(pe+"file_version", "winlog.event_data.FileVersion"), f.any(pe+"original_file_name", "winlog.event_data.OriginalFileName")
	return e, true
}

func sniffECS(s *sample) int {
	names := s.head
	if !s.json() {
		names = s.first
	}
	if !bytes.Contains(names, []byte("@timestamp")) || s.has("winlog") || s.has("event_id") || s.has("EventID") {
		return 0
	}
	for _, of := range []string{"process", "file", "dll"} {
		if bytes.Contains(names, []byte(of+".hash.")) || bytes.Contains(names, []byte(`"`+of+`"`)) && bytes.Contains(names, []byte(`"hash"`)) {
			return 60
		}
	}
	return 0
}
