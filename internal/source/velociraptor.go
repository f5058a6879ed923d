package source

import (
	"strings"

	"spoor/internal/intel"
)

// Velociraptor's results: a row a line, of any artifact that has a path and a Hash. They are what a hunt found, not what happened: a row's own
// times are those of the file, so a sighting is dated by when the row was made, where it says so.

func isVelociraptor(f *fields) bool {
	return f.has("OSPath", "FullPath", "Exe", "Path") && f.has("Hash.SHA256", "Hash.SHA1", "Hash.MD5")
}

func readVelociraptorRecord(t *telemetry) error {
	if !t.when("_ts", "Timestamp") {
		return nil
	}
	t.host = t.any("Fqdn", "Hostname", "ClientId")
	file := intel.Object{Hashes: t.hashes("Hash.MD5", "Hash.SHA1", "Hash.SHA256"), Path: t.any("OSPath", "FullPath", "Exe", "Path"), Name: t.get("Name")}
	if err := t.sighting(file); err != nil {
		return err
	}
	if err := t.attribute(file.Hashes, intel.Size, t.get("Size")); err != nil {
		return err
	}
	return t.signature(file.Hashes, t.get("Authenticode.SubjectName"), trusted(strings.EqualFold(t.get("Authenticode.Trusted"), "trusted")))
}

func sniffVelociraptor(s *sample) int {
	switch {
	case s.has("Hash", "OSPath"), s.has("Hash", "FullPath"), s.has("Hash", "Exe"), s.has("Hash", "ClientId"):
		return 60
	}
	return 0
}
