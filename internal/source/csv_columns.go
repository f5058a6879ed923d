package source

import (
	"maps"
	"slices"
	"strings"
)

// column is what a column of a list holds.
type column uint8

const (
	columnNone     column = iota
	columnMD5             // as columnHash; the name is what refusals tell
	columnSHA1            //
	columnSHA256          //
	columnHash            // one hash or several
	columnValue           // hash or address: the type says, else its look
	columnAny             // as columnValue, in a list without a header
	columnType            // what manner of value columnValue holds
	columnAddress         // URL, domain or IP address
	columnC2              // an address that the row's file contacts
	columnDownload        // an address that the row's file came from
	columnName            // file name
	columnSize            // in bytes
	columnFileType        // format of the file
	columnThreat          // family or other name of the threat
	columnDetected        // a name that an engine gives
	columnComment         // text; it names the threat where no other column does
	columnSince           // when it was listed or first seen
	columnLink            // of a report
	columnImphash
	columnSSDeep
	columnTLSH
)

// columnNames are the names of what a column holds, as Options.Columns takes them.
var columnNames = map[string]column{"none": columnNone, "md5": columnMD5, "sha1": columnSHA1, "sha256": columnSHA256, "hash": columnHash, "value": columnValue,
	"type": columnType, "address": columnAddress, "c2": columnC2, "download": columnDownload, "name": columnName, "size": columnSize,
	"file_type": columnFileType, "threat": columnThreat, "detection": columnDetected, "comment": columnComment, "since": columnSince, "link": columnLink,
	"imphash": columnImphash, "ssdeep": columnSSDeep, "tlsh": columnTLSH}

// ColumnKinds lists what Options.Columns may say of a column.
func ColumnKinds() []string { return slices.Sorted(maps.Keys(columnNames)) }

// columnSpellings are the names that feeds give to columns, in lower case, letters and digits alone.
var columnSpellings = func() map[string]column {
	m := map[string]column{}
	for kind, names := range map[column]string{
		columnNone: "malwarebazaar tags reporter anonymous confidencelevel urlid urlstatus lastonline lastseen lastseenutc urlhauslink vtpercent iocid hashtype indicatorid " +
			"indicatordescription iocdescription filedescription md5certificate sha384hash sha3384hash",
		columnMD5:      "md5 md5hash filehashmd5 hashmd5 md5sum md5digest filemd5",
		columnSHA1:     "sha1 sha1hash filehashsha1 hashsha1 sha1sum filesha1",
		columnSHA256:   "sha256 sha256hash filehashsha256 hashsha256 sha256sum filesha256 sha2",
		columnHash:     "hash hashes filehash filehashes checksum digest hashvalue samplehash malwarehash filehashvalue",
		columnValue:    "value values data ioc iocs indicator indicators iocvalue indicatorvalue observable observables artifact artefact sample samples observablevalue indicatorofcompromise indicatorsofcompromise attributevalue",
		columnType:     "type indicatortype ioctype entitytype kind observabletype datatype attributetype subtype valuetype category indicatorcategory ioccategory",
		columnAddress:  "url urls uri domain domains domainname fqdn host hosts hostname hostnames ip ips ipaddress ipaddresses ipv4 ipv6 address addresses ipport associatedurl dstip srcip destinationip sourceip networkindicator domainip ipdomain",
		columnC2:       "c2 c2s c2server c2servers c2domain c2domains c2url c2urls c2address c2addresses c2ip cnc cncserver ccserver cc command commandandcontrol candc cand c2host",
		columnDownload: "downloadurl itwurl payloadurl distributionurl hostingurl",
		columnName:     "filename filenames file name originalfilename itwfilename samplename filepath drivername packagename package path originalname filenameorpath",
		columnSize:     "filesize size sizebytes filesizebytes sizeinbytes filelength bytes",
		columnFileType: "filetype filetypeguess mimetype mime filetypemime fileformat format magic",
		columnThreat: "threat threatname family malwarefamily malware signature malwareprintable malwarename toolname tool associatedmalware app component " +
			"ransomware ransomwarefamily classification campaign actor threatactor cluster1",
		columnDetected: "detection detectionname detections esetdetectionname clamav virusname avdetection",
		columnComment:  "threattype malwaretype note notes comment comments description desc details detail context info information remark remarks othercontext",
		columnSince:    "firstseen firstseenutc dateadded date added datefirstseen firstsubmission created createdat timegenerated firstseendate addeddate firstsubmissiondate seen",
		columnLink:     "reference references referenceurl link links report reporturl reportlink source sourceurl blog blogpost externalreference publication reflink refs ref",
		columnImphash:  "imphash", columnSSDeep: "ssdeep", columnTLSH: "tlsh",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = kind
		}
	}
	return m
}()

// columnOf tells by a name what a column holds; known is false for a name that says nothing.
func columnOf(name string) (kind column, known bool) {
	plain := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	if len(name) > 60 || plain == "" || strings.ContainsAny(name, `="`) {
		return columnNone, false
	}
	if kind, known = columnSpellings[plain]; known {
		return kind, true
	}
	other := false // what the row's file makes, or what is no threat
	words(name, func(w string) bool {
		other = other || w == "log" || w == "decoy" || w == "dropped" || strings.HasPrefix(w, "victim") || strings.HasPrefix(w, "target") || strings.HasPrefix(w, "legit")
		return true
	})
	if other || namesNoFile(name) {
		return columnNone, true
	}
	has := func(s string) bool { return strings.Contains(plain, s) }
	switch {
	case has("sha256"):
		return columnSHA256, true
	case has("sha1") && !has("sha1withrsa"):
		return columnSHA1, true
	case has("md5"):
		return columnMD5, true
	case strings.HasSuffix(plain, "hash"), strings.HasSuffix(plain, "hashes"):
		return columnHash, true
	case has("detectionname"), has("detection") && len(plain) < 24:
		return columnDetected, true
	}
	last := ""
	words(name, func(w string) bool { last = w; return true })
	switch last {
	case "ioc", "iocs", "indicator", "indicators":
		return columnValue, true
	case "url", "urls", "domain", "domains", "hostname", "ip", "ips":
		return columnAddress, true
	case "filename", "filenames":
		return columnName, true
	case "family":
		return columnThreat, true
	}
	return columnNone, false
}

// bears reports whether a column names what is listed.
func (c column) bears() bool {
	return c >= columnMD5 && c <= columnValue || c >= columnAddress && c <= columnDownload
}
