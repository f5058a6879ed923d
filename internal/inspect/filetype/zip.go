package filetype

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Bounds on how much of a zip is looked at to tell its kind.
const (
	zipTail    = 64<<10 + 22 // the end record and the longest comment
	zipEntries = 1 << 16
)

// zip tells the kind of a zip by the names in it.
func (s *sample) zip() Type {
	names := s.zipNames()
	if names == nil {
		names = s.localNames()
	}
	return s.zipType(names)
}

// appendedZip finds a zip behind something else.
func (s *sample) appendedZip() (Type, bool) {
	names := s.zipNames()
	if len(names) == 0 {
		return Type{}, false
	}
	return s.zipType(names), true
}

// zipNames returns the names of the central directory, nil when it cannot be found.
func (s *sample) zipNames() []string {
	tail := s.at(max(0, s.size-zipTail), zipTail)
	le16, le32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	for end := len(tail); ; {
		i := bytes.LastIndex(tail[:end], []byte("PK\x05\x06"))
		if i < 0 {
			return nil
		}
		end = i
		b := tail[i:]
		if len(b) < 22 || int(le16(b[20:])) > len(b)-22 {
			continue
		}
		length, off := int64(le32(b[12:])), int64(le32(b[16:]))
		at := s.size - int64(len(tail)) + int64(i) // of the end record
		if off == 1<<32-1 || length == 1<<32-1 {
			if z := s.at(at-20-56, 56); len(z) == 56 && string(z[:4]) == "PK\x06\x06" {
				length, off = int64(binary.LittleEndian.Uint64(z[40:])), int64(binary.LittleEndian.Uint64(z[48:]))
				at -= 20 + 56
			}
		}
		// The directory ends where the end record begins, whatever was put before the archive.
		start := at - length
		if length <= 0 || start < 0 || !s.is(start, "PK\x01\x02") {
			if !s.is(off, "PK\x01\x02") {
				continue
			}
			start = off
		}
		return s.centralNames(start, length)
	}
}

func (s *sample) centralNames(off, length int64) []string {
	var names []string
	b := s.at(off, length)
	for len(b) >= 46 && string(b[:4]) == "PK\x01\x02" && len(names) < zipEntries {
		n, x, c := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:])), int(binary.LittleEndian.Uint16(b[32:]))
		if 46+n+x+c > len(b) {
			break
		}
		names = append(names, string(b[46:46+n]))
		b = b[46+n+x+c:]
	}
	return names
}

// localNames follows the members themselves, for a zip that was cut off.
func (s *sample) localNames() []string {
	var names []string
	off := int64(0)
	for i := bytes.Index(s.head[:min(len(s.head), 16)], []byte("PK\x03\x04")); i > 0; i = 0 {
		off = int64(i)
	}
	for len(names) < 64 {
		b := s.at(off, 30)
		if len(b) < 30 || string(b[:4]) != "PK\x03\x04" {
			break
		}
		n, x := int64(binary.LittleEndian.Uint16(b[26:])), int64(binary.LittleEndian.Uint16(b[28:]))
		if name := string(s.at(off+30, n)); name != "" {
			names = append(names, name)
		}
		if b[6]&8 != 0 && binary.LittleEndian.Uint32(b[18:]) == 0 { // the size follows the data, and the next member that
			i := bytes.Index(s.at(off+30, 1<<20), []byte("PK\x03\x04"))
			if i < 0 {
				break
			}
			off += 30 + int64(i)
			continue
		}
		off += 30 + n + x + int64(binary.LittleEndian.Uint32(b[18:]))
	}
	return names
}

// jarMark reports whether the first member has the extra field that Java's own archiver writes.
func (s *sample) jarMark() bool {
	b := s.at(0, 30)
	if len(b) < 30 || string(b[:4]) != "PK\x03\x04" || binary.LittleEndian.Uint16(b[28:]) < 4 {
		return false
	}
	return s.is(30+int64(binary.LittleEndian.Uint16(b[26:])), "\xFE\xCA\x00\x00")
}

func (s *sample) zipType(names []string) Type {
	has := map[string]bool{} // names that decide, and first folders
	macros, dex, suffix := false, false, map[string]bool{}
	for _, name := range names {
		name = strings.ReplaceAll(name, `\`, "/")
		dir, rest, inside := strings.Cut(name, "/")
		if inside {
			has[dir+"/"] = true
		}
		base := name[strings.LastIndexByte(name, '/')+1:]
		switch {
		case strings.EqualFold(base, "vbaProject.bin"):
			macros = true
		case !inside && strings.HasSuffix(base, ".dex"):
			dex = true
		case strings.HasSuffix(dir, ".dist-info") && rest == "WHEEL":
			suffix["wheel"] = true
		case !inside && strings.HasSuffix(base, ".nuspec"):
			suffix["nuspec"] = true
		case dir == "Payload" && strings.Contains(rest, ".app/"):
			suffix["ipa"] = true
		}
		if len(has) < 4096 {
			has[name] = true
		}
	}
	first := ""
	if s.is(0, "PK\x03\x04") && s.is(30, "mimetype") {
		n := int64(binary.LittleEndian.Uint32(s.at(18, 4)))
		x := int64(binary.LittleEndian.Uint16(s.at(28, 2)))
		if len(s.head) > 30 && binary.LittleEndian.Uint16(s.head[8:]) == 0 {
			first = string(s.at(38+x, min(n, 100)))
		}
	}
	with := func(word, plain, withMacros string) Type {
		if macros {
			return Type{OOXML, word + " with macros (" + withMacros + ")", withMacros}
		}
		return Type{OOXML, word + " (" + plain + ")", plain}
	}
	switch {
	case strings.HasPrefix(first, "application/epub+zip"):
		return Type{Zip, "EPUB", "EPUB"}
	case strings.HasPrefix(first, "application/vnd.oasis.opendocument."):
		return odf(strings.TrimPrefix(first, "application/vnd.oasis.opendocument."))
	case strings.HasPrefix(first, "application/vnd.sun.xml."):
		return Type{ODF, "OpenOffice.org 1 document", "SXW"}
	case strings.HasPrefix(first, "image/openraster"):
		return Type{Zip, "OpenRaster image", "ORA"}
	case has["AppxManifest.xml"] || has["AppxMetadata/AppxBundleManifest.xml"]:
		if has["AppxMetadata/AppxBundleManifest.xml"] {
			return Type{Appx, "Windows app bundle (APPX)", "APPXBUNDLE"}
		}
		return Type{Appx, "Windows app package (APPX)", "APPX"}
	case has["extension.vsixmanifest"]:
		return Type{Appx, "Visual Studio extension (VSIX)", "VSIX"}
	case has["[Content_Types].xml"] && has["xl/workbook.bin"]:
		if macros {
			return Type{OOXML, "OOXML with macros (XLSB)", "XLSB"}
		}
		return Type{OOXML, "OOXML (XLSB)", "XLSB"}
	case has["[Content_Types].xml"] && has["word/"]:
		return with("OOXML", "DOCX", "DOCM")
	case has["[Content_Types].xml"] && has["xl/"]:
		return with("OOXML", "XLSX", "XLSM")
	case has["[Content_Types].xml"] && has["ppt/"]:
		return with("OOXML", "PPTX", "PPTM")
	case has["[Content_Types].xml"] && has["visio/"]:
		return with("OOXML", "VSDX", "VSDM")
	case has["FixedDocSeq.fdseq"] || has["FixedDocumentSequence.fdseq"]:
		return Type{OOXML, "XPS document", "XPS"}
	case suffix["nuspec"]:
		return Type{Zip, "NuGet package", "NUPKG"}
	case has["AndroidManifest.xml"] && has["classes.jar"]:
		return Type{Jar, "Android library (AAR)", "AAR"}
	case has["AndroidManifest.xml"]:
		return Type{APK, "Android package (APK)", "APK"}
	case has["BundleConfig.pb"] && has["base/"]:
		return Type{Jar, "Android app bundle (AAB)", "AAB"}
	case suffix["ipa"]:
		return Type{Zip, "iOS app (IPA)", "IPA"}
	case has["AppManifest.xaml"]:
		return Type{Zip, "Silverlight application (XAP)", "XAP"}
	case has["WEB-INF/"]:
		return Type{Jar, "Java web application (WAR)", "WAR"}
	case has["META-INF/application.xml"]:
		return Type{Jar, "Java enterprise application (EAR)", "EAR"}
	case has["classes/"] && s.is(0, "JM\x01\x00"):
		return Type{Zip, "Java module (JMOD)", "JMOD"}
	case has["module-info.class"] || has["META-INF/MANIFEST.MF"] || s.jarMark():
		return Type{Jar, "Java archive (JAR)", "JAR"}
	case suffix["wheel"]:
		return Type{Zip, "Python wheel", "WHL"}
	case has["manifest.json"] && (has["META-INF/"] || has["_metadata/"]) || has["install.rdf"]:
		return Type{Zip, "browser extension (XPI)", "XPI"}
	case has["META-INF/manifest.xml"] && has["content.xml"]:
		return Type{ODF, "OpenDocument", "ODF"}
	case has["__main__.py"]:
		return Type{Zip, "ZIP of a Python program", "PYZ"}
	case has["[Content_Types].xml"]:
		return Type{OOXML, "Open Packaging Conventions package", "OPC"}
	case dex:
		return Type{Jar, "ZIP with Dalvik bytecode", "ZIP"}
	}
	return Type{Zip, "ZIP archive", "ZIP"}
}

func odf(kind string) Type {
	for _, k := range []struct{ mime, name, short string }{
		{"text-template", "text template", "OTT"}, {"text-master", "master document", "ODM"}, {"text", "text", "ODT"},
		{"spreadsheet-template", "spreadsheet template", "OTS"}, {"spreadsheet", "spreadsheet", "ODS"},
		{"presentation-template", "presentation template", "OTP"}, {"presentation", "presentation", "ODP"},
		{"graphics-template", "drawing template", "OTG"}, {"graphics", "drawing", "ODG"},
		{"chart", "chart", "ODC"}, {"formula", "formula", "ODF"}, {"database", "database", "ODB"}, {"base", "database", "ODB"},
	} {
		if strings.HasPrefix(kind, k.mime) {
			return Type{ODF, "OpenDocument " + k.name + " (" + k.short + ")", k.short}
		}
	}
	return Type{ODF, "OpenDocument", "ODF"}
}
