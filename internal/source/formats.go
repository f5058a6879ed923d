package source

// The formats, by name.
const (
	SysmonEVTX   Format = "sysmon-evtx"
	SysmonXML    Format = "sysmon-xml"
	SysmonJSON   Format = "sysmon-json"
	ZeekTSV      Format = "zeek-tsv"
	ZeekJSON     Format = "zeek-json"
	Suricata     Format = "suricata"
	Observations Format = "observations"
	HashList     Format = "hashes"
)

// formats are all that can be read, the table that everything about them comes from.
var formats = []format{
	{name: SysmonEVTX, help: "Sysmon in Windows event log files", sniff: sniffEVTX, read: readSysmonEVTX},
	{name: SysmonXML, help: "Sysmon as <Event> elements, among anything else", sniff: sniffSysmonXML, read: readSysmonXML},
	{name: SysmonJSON, help: "Sysmon as JSON: winlogbeat, NXLog, Azure, dumps of event logs", sniff: sniffSysmonJSON, read: readSysmonJSON},
	{name: ZeekTSV, help: "Zeek's logs in columns; files.log and http.log of one folder or archive are joined", sniff: sniffZeekTSV, read: readZeekTSV},
	{name: ZeekJSON, help: "Zeek's logs as JSON lines", sniff: sniffZeekJSON, read: readZeekJSON},
	{name: Suricata, help: "Suricata's EVE log", sniff: sniffSuricata, read: readSuricata},
	{name: Observations, help: "Spoor's own NDJSON, docs/observations.md", sniff: sniffObservations, read: readObservations},
	{name: HashList, help: "text with hashes in it, a file a line", list: true, anonymous: true, read: readHashList},
}
