package source

// The formats, by name.
const (
	SysmonEVTX   Format = "sysmon-evtx"
	SysmonXML    Format = "sysmon-xml"
	SysmonJSON   Format = "sysmon-json"
	ZeekTSV      Format = "zeek-tsv"
	ZeekJSON     Format = "zeek-json"
	Suricata     Format = "suricata"
	NSRL         Format = "nsrl"
	Hashlookup   Format = "hashlookup"
	DebIndex     Format = "deb-index"
	RPMIndex     Format = "rpm-index"
	Dpkg         Format = "dpkg"
	Deb          Format = "deb"
	RPM          Format = "rpm"
	Hashdeep     Format = "hashdeep"
	Sums         Format = "sums"
	Defender     Format = "defender"
	ECS          Format = "ecs"
	Osquery      Format = "osquery"
	OCSF         Format = "ocsf"
	CrowdStrike  Format = "crowdstrike"
	Wazuh        Format = "wazuh"
	Velociraptor Format = "velociraptor"
	Observations Format = "observations"
	HashList     Format = "hashes"
	LOLDrivers   Format = "loldrivers"
	STIX         Format = "stix"
	MISP         Format = "misp"
	OpenIOC      Format = "openioc"
	CSV          Format = "csv"
	JSONList     Format = "json-list"
	YARA         Format = "yara"

	MalwareBazaarCSV Format = "malwarebazaar-csv"
	ThreatFoxCSV     Format = "threatfox-csv"
	URLhausCSV       Format = "urlhaus-csv"
)

// formats are all that can be read, the table that everything about them comes from.
var formats = []format{
	{name: SysmonEVTX, help: "Sysmon in Windows event log files", sniff: sniffEVTX, read: readSysmonEVTX},
	{name: SysmonXML, help: "Sysmon as <Event> elements, among anything else", sniff: sniffSysmonXML, read: readSysmonXML},
	{name: SysmonJSON, help: "Sysmon as JSON: winlogbeat, NXLog, Azure, dumps of event logs", sniff: sniffSysmonJSON, read: readSysmonJSON},
	{name: ZeekTSV, help: "Zeek's logs in columns; files.log and http.log of one folder or archive are joined", sniff: sniffZeekTSV, read: readZeekTSV},
	{name: ZeekJSON, help: "Zeek's logs as JSON lines", sniff: sniffZeekJSON, read: readZeekJSON},
	{name: Suricata, help: "Suricata's EVE log", sniff: sniffSuricata, read: readSuricata},
	{name: NSRL, help: "known good: NSRL's RDSv3, an SQLite database", list: true, good: true, sniff: sniffNSRL, read: readNSRL},
	{name: Hashlookup, help: "known good: dumps of CIRCL's hashlookup", list: true, good: true, sniff: sniffHashlookup, read: readHashlookup},
	{name: DebIndex, help: "known good: Packages of a Debian repository", list: true, good: true, sniff: sniffDebIndex, read: readDebIndex},
	{name: RPMIndex, help: "known good: primary.xml of an RPM repository", list: true, good: true, sniff: sniffRPMIndex, read: readRPMIndex},
	{name: Dpkg, help: "known good: what a Debian package installs, NAME.md5sums", list: true, good: true, sniff: sniffDpkg, read: readDpkg},
	{name: Deb, help: "a Debian package: its own hashes, and the MD5 of each file in it", list: true, anonymous: true, sniff: sniffDeb, read: readDeb},
	{name: RPM, help: "an RPM package: its own hashes, and the digest of each file in it", list: true, anonymous: true, sniff: sniffRPM, read: readRPM},
	{name: Hashdeep, help: "known good: output of hashdeep", list: true, good: true, sniff: sniffHashdeep, read: readHashdeep},
	{name: Sums, help: "output of md5sum, sha1sum, sha256sum, as of BSD too", list: true, anonymous: true, sniff: sniffSums, read: readSums},
	{name: Defender, help: "Defender advanced hunting: JSON, streamed records, the portal's CSV", sniff: sniffDefender, read: readTelemetry},
	{name: ECS, help: "Elastic Common Schema: Elastic Endpoint, Winlogbeat, Filebeat", sniff: sniffECS, read: readTelemetry},
	{name: Osquery, help: "osquery results: events, snapshots, batches, rows", sniff: sniffOsquery, read: readTelemetry},
	{name: OCSF, help: "Open Cybersecurity Schema events", sniff: sniffOCSF, read: readTelemetry},
	{name: CrowdStrike, help: "CrowdStrike Falcon Data Replicator", sniff: sniffCrowdStrike, read: readTelemetry},
	{name: Wazuh, help: "Wazuh alerts: file integrity, Sysmon", sniff: sniffWazuh, read: readTelemetry},
	{name: Velociraptor, help: "Velociraptor rows with a path and a Hash", sniff: sniffVelociraptor, read: readTelemetry},
	{name: Observations, help: "Spoor's own NDJSON, docs/observations.md", sniff: sniffObservations, read: readObservations},
	{name: STIX, help: "STIX 2.0 and 2.1: bundles, TAXII envelopes, an object a line", list: true, sniff: sniffSTIX, read: readSTIX},
	{name: MISP, help: "MISP events, alone, in responses and in feeds", list: true, sniff: sniffMISP, read: readMISP},
	{name: OpenIOC, help: "OpenIOC 1.0 and 1.1", list: true, sniff: sniffOpenIOC, read: readOpenIOC},
	{name: MalwareBazaarCSV, help: "MalwareBazaar's exports as CSV", list: true, sniff: sniffCSVOf("MalwareBazaar"), read: readCSV},
	{name: ThreatFoxCSV, help: "ThreatFox's exports as CSV", list: true, sniff: sniffCSVOf("ThreatFox"), read: readCSV},
	{name: URLhausCSV, help: "URLhaus's exports as CSV, of addresses and of payloads", list: true, sniff: sniffCSVOf("URLhaus"), read: readCSV},
	{name: CSV, help: "a list as CSV, TSV or the like, its columns told by their header", list: true, anonymous: true, sniff: sniffCSVOf(""), read: readCSV},
	{name: LOLDrivers, help: "LOLDrivers, as YAML or JSON", list: true, sniff: sniffLOLDrivers, read: readLOLDrivers},
	{name: JSONList, help: "lists as JSON: MalwareBazaar, ThreatFox, URLhaus, Kaspersky's data feeds", list: true, sniff: sniffJSONList, read: readJSONList},
	{name: YARA, help: "YARA rules: the files whose hashes their meta name", list: true, anonymous: true, sniff: sniffYARA, read: readYARA},
	{name: HashList, help: "text with hashes in it, a file a line", list: true, anonymous: true, read: readHashList},
}
