// Package filetype tells what format a file's bytes have, by content alone.
package filetype

import "io"

// Format is what the readers of a file's insides are chosen by.
type Format string

// The formats that some reader opens or tells apart.
const (
	Unknown Format = ""
	Empty   Format = "empty"
	Text    Format = "text"
	Script  Format = "script"

	// Executables.
	PE      Format = "pe"
	MZ      Format = "mz" // DOS, NE, LE: MZ without PE
	ELF     Format = "elf"
	MachO   Format = "macho" // thin or fat
	DEX     Format = "dex"
	Class   Format = "class" // Java
	WASM    Format = "wasm"
	LNK     Format = "lnk"
	Catalog Format = "cat" // PKCS #7 of a Windows catalogue

	// Documents.
	OLE   Format = "ole"   // compound file that is no MSI and no message
	MSI   Format = "msi"   // compound file of an installer
	MSG   Format = "msg"   // compound file of an Outlook message
	OOXML Format = "ooxml" // a zip
	ODF   Format = "odf"   // a zip
	PDF   Format = "pdf"
	RTF   Format = "rtf"
	HTML  Format = "html"
	XML   Format = "xml"
	Mail  Format = "mail" // RFC 5322
	Mbox  Format = "mbox"
	Image Format = "image"

	// Containers. Jar, APK and Appx are zips.
	Zip      Format = "zip"
	Jar      Format = "jar"
	APK      Format = "apk"
	Appx     Format = "appx" // and MSIX, VSIX: packages signed as the Open Packaging Conventions say
	SevenZip Format = "7z"
	RAR      Format = "rar"
	Tar      Format = "tar"
	Gzip     Format = "gzip"
	Bzip2    Format = "bzip2"
	XZ       Format = "xz"
	Zstd     Format = "zstd"
	Lzip     Format = "lzip"
	LZMA     Format = "lzma"
	LZ4      Format = "lz4"
	Compress Format = "compress" // .Z
	Cab      Format = "cab"
	ISO      Format = "iso"
	UDF      Format = "udf"
	CPIO     Format = "cpio"
	Ar       Format = "ar"
	Deb      Format = "deb" // an ar
	RPM      Format = "rpm"
	ARJ      Format = "arj"
	LZH      Format = "lzh"
	CHM      Format = "chm"
	SquashFS Format = "squashfs"
	DMG      Format = "dmg"
	WIM      Format = "wim"
	XAR      Format = "xar" // .pkg of macOS
)

// Type is what a file is.
type Type struct {
	Format Format
	Name   string // in the field's words: "PE32+ DLL x64", "ELF 64 LE", "OOXML with macros", "script: PowerShell"; "" when unknown
	Short  string // as the portal spells a type: "PE", "ELF", "DOCX", "ZIP", "PS1"; "" when unknown
}

// Detect tells what the size bytes of r are. It reads little (beginning, end, and what they point to), and never fails: what cannot be read or
// told is [Unknown].
func Detect(r io.ReaderAt, size int64) Type {
	if size == 0 {
		return Type{Empty, "empty", "EMPTY"}
	}
	return Type{}
}
