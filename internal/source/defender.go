package source

import (
	"bytes"
	"strings"

	"spoor/internal/intel"
)

// Defender's advanced hunting: the tables DeviceProcessEvents, DeviceFileEvents, DeviceImageLoadEvents, DeviceNetworkEvents, DeviceEvents
// and DeviceFileCertificateInfo, as JSON of the API, as streamed to an event hub or storage, and as CSV of the portal. A record is known by
// its ActionType, for an export often does not say its table.

func isDefender(f *fields) bool {
	if f.has("event_simpleName", "class_uid") {
		return false
	}
	return f.has("ActionType") && f.has("DeviceName", "DeviceId", "InitiatingProcessFileName") ||
		f.has("CertificateSerialNumber") && f.has("SHA1") && f.has("IsTrusted", "Signer")
}

func readDefenderRecord(t *telemetry) error {
	if !t.when("Timestamp", "TimeGenerated") {
		return nil
	}
	t.host = t.any("DeviceName", "DeviceId")
	file := intel.Object{Hashes: t.hashes("MD5", "SHA1", "SHA256"), Path: defenderPath(t.get("FolderPath"), t.get("FileName")), Name: t.get("FileName")}
	action := t.get("ActionType")
	if action == "" { // DeviceFileCertificateInfo is about a file's bytes, not a sighting of it
		return t.signature(file.Hashes, t.get("Signer"), trusted(isYes(t.get("IsTrusted"))))
	}
	by := intel.Object{Hashes: t.hashes("InitiatingProcessMD5", "InitiatingProcessSHA1", "InitiatingProcessSHA256"),
		Path: defenderPath(t.get("InitiatingProcessFolderPath"), t.get("InitiatingProcessFileName")), Name: t.get("InitiatingProcessFileName")}
	if defenderReaches(action) {
		return t.access(by.Hashes, t.get("RemoteUrl"), t.get("RemoteIP"))
	}
	if err := t.sighting(file); err != nil {
		return err
	}
	if err := t.defenderAttributes(file.Hashes, "ProcessVersionInfo"); err != nil {
		return err
	}
	if err := t.attribute(file.Hashes, intel.Size, t.get("FileSize")); err != nil {
		return err
	}
	if err := t.defenderAttributes(by.Hashes, "InitiatingProcessVersionInfo"); err != nil {
		return err
	}
	switch {
	case action == "ProcessCreated":
		return t.relation(intel.Started, by, file)
	case action == "AntivirusDetection":
		more := fields{at: map[string]int{}}
		if text := t.get("AdditionalFields"); text != "" && more.parse([]byte(text)) == nil {
			if name := more.get("ThreatName"); name != "" {
				return t.fact(file.Hashes, intel.Detection{Name: name, Method: "Microsoft Defender", Zone: intel.Red})
			}
		}
	}
	return t.download(by, file, t.get("FileOriginUrl"), t.get("FileOriginReferrerUrl"), t.get("FileOriginIP"))
}

// defenderReaches reports whether an action is one by which the initiating process reached the remote address, not the other way round.
func defenderReaches(action string) bool {
	switch {
	case strings.HasPrefix(action, "Inbound"), strings.HasPrefix(action, "Listening"), strings.HasSuffix(action, "Acknowledged"):
		return false
	}
	return strings.HasPrefix(action, "Connection") || strings.HasSuffix(action, "ConnectionInspected")
}

// defenderPath returns the whole path of a file. FolderPath mostly is one, in spite of its name.
func defenderPath(folder, name string) string {
	if folder == "" || name == "" || strings.EqualFold(intel.BaseName(folder), name) {
		return folder
	}
	if separator := folder[len(folder)-1]; separator == '\\' || separator == '/' {
		return folder + name
	}
	if strings.HasPrefix(folder, "/") {
		return folder + "/" + name
	}
	return folder + `\` + name
}

// defenderAttributes tells what the version resource says, from the fields with this prefix.
func (t *telemetry) defenderAttributes(file intel.Hashes, prefix string) error {
	for _, a := range [...]struct {
		name  intel.AttributeName
		field string
	}{{intel.Company, "CompanyName"}, {intel.Product, "ProductName"}, {intel.Description, "FileDescription"}, {intel.Version, "ProductVersion"},
		{intel.OriginalName, "OriginalFileName"}} {
		if err := t.attribute(file, a.name, t.get(prefix+a.field)); err != nil {
			return err
		}
	}
	return nil
}

func sniffDefender(s *sample) int {
	names := s.head
	if !s.json() {
		names = s.first
		if bytes.IndexByte(names, '{') >= 0 {
			return 0
		}
	}
	holds := func(all ...string) bool {
		for _, name := range all {
			if !bytes.Contains(names, []byte(name)) {
				return false
			}
		}
		return true
	}
	switch {
	case holds(`"AdvancedHunting-Device`), s.has("ActionType", "DeviceName"), s.has("ActionType", "DeviceId"):
		// Surer than the names that a record shares with lists of known-good files: FileName, FileSize, MD5.
		return 80
	case holds("ActionType", "Device", "InitiatingProcess"), holds("ActionType", "DeviceName", "SHA1"), holds("CertificateSerialNumber", "SHA1", "Signer"):
		return 60
	}
	return 0
}
