// Package filetype tells what format a file's bytes have, by content alone.
package filetype

import (
	"io"
	"strings"
)

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
	TNEF  Format = "tnef" // winmail.dat

	// Carriers of files in mail and documents.
	OneNote     Format = "onenote" // a section
	UUEncode    Format = "uuencode"
	YEnc        Format = "yenc"
	AppleDouble Format = "appledouble" // and AppleSingle
	ActiveMime  Format = "activemime"  // objects of Office beside HTML and XML

	// Known by name; no reader opens them.
	Audio Format = "audio"
	Video Format = "video"
	Font  Format = "font"
	Other Format = "other"

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
	Zlib     Format = "zlib"     // without a container: RFC 1950
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
	FAT      Format = "fat" // FAT 12, 16 and 32
	ExFAT    Format = "exfat"
	NTFS     Format = "ntfs"
	Ext      Format = "ext"    // ext2, ext3 and ext4
	HFS      Format = "hfs"    // HFS+ and HFSX
	Volume   Format = "volume" // another file system: APFS, XFS, BitLocker, …
	Disk     Format = "disk"   // partitions: MBR, GPT, Apple's map
	Virtual  Format = "vhd"    // a virtual machine's disk: VHD, VHDX, VMDK, QCOW, VDI
	WIM      Format = "wim"
	XAR      Format = "xar"  // .pkg of macOS
	SZDD     Format = "szdd" // compress.exe of MS-DOS; and KWAJ
	BinHex   Format = "binhex"
	Archive  Format = "archive" // of a kind that no reader opens, as ACE, ARC, Zoo or StuffIt
	NSIS     Format = "nsis"    // the data that an installer of NSIS appends to its program

	// What other programs carry or append.
	PyInstaller Format = "pyinstaller" // scripts and libraries of Python
	PYZ         Format = "pyz"         // modules of Python, in the former
	Inno        Format = "inno setup"  // the whole program is its installer
	Asar        Format = "asar"        // Electron

	InstallShield Format = "installshield" // the files behind a setup program
)

// Type is what a file is.
type Type struct {
	Format Format
	Name   string // in the field's words: "PE32+ DLL x64", "ELF 64 LE shared object x86-64", "OOXML with macros (DOCM)", "script: PowerShell"; "" when unknown
	Short  string // one word, the usual name or extension in capitals: "PE", "ELF", "DOCM", "PS1", "ZIP"; "" when unknown
}

// headSize is how much of the beginning is read at once.
const headSize = 16 << 10

// sample is a file that is being told.
type sample struct {
	r    io.ReaderAt
	size int64
	head []byte
}

// at returns n bytes at off, fewer where the file ends; it never reads more than 4 MiB.
func (s *sample) at(off, n int64) []byte {
	if off < 0 || off >= s.size || n <= 0 {
		return nil
	}
	n = min(n, s.size-off, 4<<20)
	if off+n <= int64(len(s.head)) {
		return s.head[off : off+n]
	}
	b := make([]byte, n)
	k, _ := s.r.ReadAt(b, off)
	return b[:k]
}

// is reports whether the bytes at off are those of mark.
func (s *sample) is(off int64, mark string) bool { return string(s.at(off, int64(len(mark)))) == mark }

// Detect tells what the size bytes of r are. It reads little (beginning, end, and what they point to), and never fails: what cannot be read or
// told is [Unknown].
func Detect(r io.ReaderAt, size int64) Type {
	if size <= 0 {
		return Type{Empty, "empty", "EMPTY"}
	}
	s := &sample{r: r, size: size}
	s.head = make([]byte, min(size, headSize))
	n, _ := r.ReadAt(s.head, 0)
	s.head = s.head[:n]

	if s.pyInstaller() {
		return Type{PyInstaller, "PyInstaller archive", "PYINSTALLER"}
	}
	t := s.magic()
	if t.Format == Unknown {
		t = s.text()
	}
	if t.Format == Unknown || t.Format == Text && strings.HasPrefix(t.Name, "text: ") {
		if e := s.encoded(); e.Format != Unknown {
			t = e
		}
	}
	switch t.Format {
	case Unknown, Text, Script, Image, Audio, Video, HTML, Other:
		// A zip is read from its end, so it may follow anything.
		if z, ok := s.appendedZip(); ok {
			switch {
			case z.Short == "JMOD":
			case t.Format == Unknown:
				z.Name += " after other data"
			default:
				z.Name += " after " + t.Name
			}
			return z
		}
	}
	if t.Format == Unknown {
		t = s.late()
	}
	if t.Format == Unknown {
		t = s.fallback()
	}
	return t
}
