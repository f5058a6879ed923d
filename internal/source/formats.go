package source

// The formats, by name.
const (
	SysmonEVTX   Format = "sysmon-evtx"
	SysmonXML    Format = "sysmon-xml"
	SysmonJSON   Format = "sysmon-json"
	Observations Format = "observations"
	HashList     Format = "hashes"
	STIX         Format = "stix"
	MISP         Format = "misp"
	OpenIOC      Format = "openioc"
)

// formats are all that can be read, the table that everything about them comes from.
var formats = []format{
	{name: SysmonEVTX, help: "Sysmon in Windows event log files", sniff: sniffEVTX, read: readSysmonEVTX},
	{name: SysmonXML, help: "Sysmon as <Event> elements, among anything else", sniff: sniffSysmonXML, read: readSysmonXML},
	{name: SysmonJSON, help: "Sysmon as JSON: winlogbeat, NXLog, Azure, dumps of event logs", sniff: sniffSysmonJSON, read: readSysmonJSON},
	{name: Observations, help: "Spoor's own NDJSON, docs/observations.md", sniff: sniffObservations, read: readObservations},
	{name: STIX, help: "STIX 2.0 and 2.1: bundles, TAXII envelopes, an object a line", list: true, sniff: sniffSTIX, read: readSTIX},
	{name: MISP, help: "MISP events, alone, in responses and in feeds", list: true, sniff: sniffMISP, read: readMISP},
	{name: OpenIOC, help: "OpenIOC 1.0 and 1.1", list: true, sniff: sniffOpenIOC, read: readOpenIOC},
	{name: HashList, help: "text with hashes in it, a file a line", list: true, anonymous: true, read: readHashList},
}
