package source

import (
	"strings"

	"spoor/internal/intel"
)

// Wazuh's alerts: file integrity monitoring (syscheck). Its alerts of Sysmon's events are events of Sysmon in a spelling of their own.

func isWazuh(f *fields) bool { return f.has("syscheck.path", "syscheck.event") }

func readWazuhRecord(t *telemetry) error {
	if !t.when("timestamp", "@timestamp") {
		return nil
	}
	t.host = t.any("agent.name", "agent.id")
	file := intel.Object{Hashes: t.hashes("syscheck.md5_after", "syscheck.sha1_after", "syscheck.sha256_after"), Path: t.get("syscheck.path")}
	if file.IsZero() && t.get("syscheck.event") == "deleted" {
		file.Hashes = t.hashes("syscheck.md5_before", "syscheck.sha1_before", "syscheck.sha256_before")
	}
	if err := t.sighting(file); err != nil {
		return err
	}
	return t.attribute(file.Hashes, intel.Size, t.get("syscheck.size_after"))
}

// wazuhSysmon returns the event of Sysmon in an alert of Wazuh, whose fields begin with a small letter.
func wazuhSysmon(f *fields, line int64) (e event, ok bool) {
	const data = "data.win.eventdata."
	for _, f.root = range telemetryRoots {
		if provider := f.get("data.win.system.providerName"); strings.Contains(provider, "Sysmon") {
			e = event{line: line, provider: provider, id: max(number(f.get("data.win.system.eventID")), 0), host: f.any("data.win.system.computer", "agent.name")}
			for _, field := range e.fields() {
				*field.into = f.get(data + strings.ToLower(field.name[:1]) + field.name[1:])
			}
			return e, true
		}
	}
	return e, false
}

func sniffWazuh(s *sample) int {
	switch {
	case s.has("syscheck"):
		return 60
	case s.has("rule", "agent", "decoder"), s.has("rule", "agent", "manager"):
		return 60
	}
	return 0
}
