package source

import (
	"spoor/internal/intel"
)

// CrowdStrike's Falcon Data Replicator: an event a line, known by event_simpleName. Parents are named by their base name alone.

func isCrowdStrike(f *fields) bool { return f.has("event_simpleName") }

func readCrowdStrikeRecord(t *telemetry) error {
	if !t.when("ContextTimeStamp", "ContextTimeStamp_decimal", "ProcessStartTime", "timestamp", "@timestamp") {
		return nil
	}
	t.host = t.any("ComputerName", "aid")
	file := intel.Object{Hashes: t.hashes("MD5HashData", "SHA1HashData", "SHA256HashData"), Path: t.any("TargetFileName", "ImageFileName"), Name: t.get("FileName")}
	if err := t.sighting(file); err != nil {
		return err
	}
	if err := t.attribute(file.Hashes, intel.Size, t.get("Size")); err != nil {
		return err
	}
	switch t.get("event_simpleName") {
	case "ProcessRollup2", "SyntheticProcessRollup2":
		return t.relation(intel.Started, intel.Object{Name: t.get("ParentBaseFileName")}, file)
	}
	return nil
}

func sniffCrowdStrike(s *sample) int {
	if s.has("event_simpleName") {
		return 60
	}
	return 0
}
