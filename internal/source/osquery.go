package source

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// osquery's results: an event a line ({"name", "hostIdentifier", "columns", "action"}), snapshots, batches of differences, and the bare rows
// of osqueryi --json. A row that has a path and a hash is a sighting, whatever the query's name and tables; rows that went away are none.

func isOsquery(f *fields) bool {
	return f.has("hostIdentifier") || f.has("path", "target_path") && f.has("md5", "sha1", "sha256")
}

func readOsqueryRecord(t *telemetry) error {
	if !t.when("unixTime", "calendarTime") {
		return nil
	}
	at, root := t.at, t.root
	t.host = t.any("decorations.hostname", "decorations.computer_name", "hostIdentifier")
	if !t.has("hostIdentifier") {
		return t.osqueryRow(at)
	}
	if t.get("action") == "removed" {
		return nil
	}
	rows := []string{"columns."}
	for _, list := range []string{"snapshot", "diffResults.added"} {
		rows = append(rows, t.osqueryRows(list)...)
	}
	for _, row := range rows {
		t.root = root + row
		if err := t.osqueryRow(at); err != nil {
			return err
		}
	}
	return nil
}

// osqueryRows returns the roots of a list's rows, in order.
func (t *telemetry) osqueryRows(list string) (rows []string) {
	under := t.root + list + "."
	for _, f := range t.list {
		rest, ok := strings.CutPrefix(f.path, under)
		if !ok {
			continue
		}
		n, _, ok := strings.Cut(rest, ".")
		if _, err := strconv.Atoi(n); err != nil || !ok {
			continue
		}
		if row := list + "." + n + "."; len(rows) == 0 || rows[len(rows)-1] != row {
			rows = append(rows, row)
		}
	}
	return slices.Compact(rows)
}

// osqueryRow reads one row. Tables of events have a time of their own; the others' is that of the result.
func (t *telemetry) osqueryRow(result time.Time) error {
	t.at = result
	file := intel.Object{Hashes: t.hashes("md5", "sha1", "sha256"), Path: t.any("target_path", "path"), Name: t.any("filename", "name")}
	if file.IsZero() || t.get("hashed") == "0" || !t.when("time") {
		return nil
	}
	if t.get("action") == "removed" {
		return nil
	}
	if err := t.sighting(file); err != nil {
		return err
	}
	if err := t.attribute(file.Hashes, intel.Size, t.get("size")); err != nil {
		return err
	}
	parent := intel.Object{Hashes: t.hashes("parent_md5", "parent_sha1", "parent_sha256"), Path: t.get("parent_path"), Name: t.get("parent_name")}
	if err := t.relation(intel.Started, parent, file); err != nil {
		return err
	}
	if err := t.access(file.Hashes, "", t.get("remote_address")); err != nil {
		return err
	}
	// The table authenticode, joined by path.
	status := intel.NotTrusted
	switch t.get("result") {
	case "trusted", "valid":
		status = intel.Trusted
	case "distrusted":
		status = intel.Discredited
	}
	return t.signature(file.Hashes, t.get("subject_name"), status)
}

func sniffOsquery(s *sample) int {
	switch {
	case s.has("hostIdentifier"):
		return 60
	case s.has("path", "sha256"), s.has("path", "sha1", "md5"), s.has("target_path", "sha256"):
		return 40
	}
	return 0
}
