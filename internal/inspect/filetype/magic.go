package filetype

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gabriel-vasile/mimetype"
)

// mark is bytes at a place by which a format is known.
type mark struct {
	off   int64
	bytes string
	Type
}

// marks are looked at in this order, after those formats whose beginning says only half (MZ, zip, compound files).
var marks = []mark{
	{0, "7z\xBC\xAF\x27\x1C", Type{SevenZip, "7-Zip archive", "7Z"}},
	{0, "Rar!\x1A\x07\x01\x00", Type{RAR, "RAR 5 archive", "RAR"}},
	{0, "Rar!\x1A\x07\x00", Type{RAR, "RAR 4 archive", "RAR"}},
	{0, "RE\x7E\x5E", Type{RAR, "RAR 1 archive", "RAR"}},
	{0, "\xFD7zXZ\x00", Type{XZ, "XZ", "XZ"}},
	{0, "\x28\xB5\x2F\xFD", Type{Zstd, "Zstandard", "ZST"}},
	{0, "\xFD\x2F\xB5\x1E", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x22\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x23\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x24\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x25\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x26\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x27\xB5\x2F\xFD", Type{Archive, "Zstandard before 0.8", "ZST"}},
	{0, "\x04\x22\x4D\x18", Type{LZ4, "LZ4", "LZ4"}},
	{0, "\x02\x21\x4C\x18", Type{LZ4, "LZ4 (legacy)", "LZ4"}},
	{0, "LZIP\x01", Type{Lzip, "lzip", "LZ"}},
	{0, "LZIP\x00", Type{Lzip, "lzip", "LZ"}}, // of version 0, without a size at its end
	{0, "\x1F\x9D", Type{Compress, "compress", "Z"}},
	{0, "MSCF\x00\x00\x00\x00", Type{Cab, "Microsoft Cabinet", "CAB"}},
	{0, "ISc(", Type{Archive, "InstallShield Cabinet", "CAB"}},
	{0, "070701", Type{CPIO, "cpio (newc)", "CPIO"}},
	{0, "070702", Type{CPIO, "cpio (crc)", "CPIO"}},
	{0, "070707", Type{CPIO, "cpio (odc)", "CPIO"}},
	{0, "\xC7\x71", Type{CPIO, "cpio (binary)", "CPIO"}},
	{0, "\x71\xC7", Type{CPIO, "cpio (binary, big-endian)", "CPIO"}},
	{0, "!<arch>\ndebian-binary", Type{Deb, "Debian package", "DEB"}},
	{0, "!<arch>\n", Type{Ar, "ar archive", "AR"}},
	{0, "!<thin>\n", Type{Ar, "ar archive (thin)", "AR"}},
	{0, "\xED\xAB\xEE\xDB", Type{RPM, "RPM package", "RPM"}},
	{0, "ITSF\x03\x00\x00\x00", Type{CHM, "Compiled HTML Help", "CHM"}},
	{0, "ITSF\x02\x00\x00\x00", Type{CHM, "Compiled HTML Help", "CHM"}},
	{0, "ITOLITLS", Type{Other, "Microsoft Reader e-book", "LIT"}},
	{0, "hsqs", Type{SquashFS, "SquashFS", "SQUASHFS"}},
	{0, "sqsh", Type{SquashFS, "SquashFS (big-endian)", "SQUASHFS"}},
	{0, "MSWIM\x00\x00\x00", Type{WIM, "Windows Imaging", "WIM"}},
	{0, "WLPWM\x00\x00\x00", Type{WIM, "Windows Imaging (pipable)", "WIM"}},
	{0, "xar!\x00", Type{XAR, "XAR archive", "XAR"}},
	{0, "SZDD\x88\xF0\x27\x33A", Type{SZDD, "MS-DOS compress (SZDD)", "SZDD"}},
	{0, "SZ \x88\xF0\x27\x33\xD1", Type{SZDD, "MS-DOS compress (QBasic SZDD)", "SZDD"}},
	{0, "KWAJ\x88\xF0\x27\xD1", Type{SZDD, "MS-DOS compress (KWAJ)", "KWAJ"}},
	{0, "PYZ\x00", Type{PYZ, "PyInstaller module archive", "PYZ"}},
	{0, "InstallShield\x00", Type{InstallShield, "InstallShield setup files", "INSTALLSHIELD"}},
	{0, "ISSetupStream\x00", Type{InstallShield, "InstallShield setup files", "INSTALLSHIELD"}},
	{4, "\xEF\xBE\xAD\xDENullsoftInst", Type{NSIS, "NSIS installer data", "NSIS"}},
	{0, "\x78\x9F\x3E\x22", Type{TNEF, "TNEF message", "TNEF"}},
	{0, "=ybegin ", Type{YEnc, "yEnc data", "YENC"}},
	{0, "\x00\x05\x16\x00\x00", Type{AppleDouble, "AppleSingle", "AS"}},
	{0, "\x00\x05\x16\x07\x00", Type{AppleDouble, "AppleDouble", "AD"}},
	{0, "ActiveMime\x00", Type{ActiveMime, "ActiveMime object", "MSO"}},
	{0, "WARC/1.", Type{Other, "web archive (WARC)", "WARC"}},
	{7, "**ACE**", Type{Archive, "ACE archive", "ACE"}},
	{0, "StuffIt (c)1997-", Type{Archive, "StuffIt archive", "SIT"}},
	{0, "StuffIt!", Type{Archive, "StuffIt X archive", "SITX"}},
	{0, "StuffIt?", Type{Archive, "StuffIt X archive", "SITX"}},
	{10, "rLau", Type{Archive, "StuffIt archive", "SIT"}},
	{0, "# PaCkAgE DaTaStReAm", Type{Archive, "Solaris package (data stream)", "PKG"}},
	{20, "\xDC\xA7\xC4\xFD", Type{Archive, "Zoo archive", "ZOO"}},
	{0, "ALZ\x01", Type{Archive, "ALZip archive", "ALZ"}},
	{0, "EGGA\x00\x01", Type{Archive, "ALZip archive (EGG)", "EGG"}},
	{0, "ArC\x01", Type{Archive, "FreeArc archive", "ARC"}},
	{0, "7kSt", Type{Archive, "ZPAQ archive", "ZPAQ"}},
	{0, "zPQ", Type{Archive, "ZPAQ archive", "ZPAQ"}},
	{0, "LRZI", Type{Archive, "lrzip", "LRZ"}},
	{0, "RZIP\x02", Type{Archive, "rzip", "RZ"}},
	{0, "\x89LZO\x00\r\n\x1A\n", Type{Archive, "lzop", "LZO"}},
	{0, "GRZipII\x00\x02\x04:)", Type{Archive, "GRZip", "GRZ"}},
	{0, "AFsc", Type{Archive, "AFsc archive", "AFSC"}},
	{0, "\x00\x00\x00\x00\x00\x00\x00\x00\x19\x04\x00\x10", Type{Archive, "Symbian package", "SIS"}},
	{8, "\x19\x04\x00\x10", Type{Archive, "Symbian package", "SIS"}},
	{0, "\x7A\x1A\x20\x10", Type{Archive, "Symbian package", "SIS"}},

	// Programs and their parts.
	{0, "dex\n", Type{DEX, "Dalvik bytecode", "DEX"}},
	{0, "dey\n", Type{DEX, "Dalvik bytecode (odex)", "DEX"}},
	{0, "cdex", Type{DEX, "Dalvik bytecode (compact)", "DEX"}},
	{0, "vdex", Type{Other, "Android VDEX", "VDEX"}},
	{0, "art\n", Type{Other, "Android ART image", "ART"}},
	{0, "\xC6\x1F\xBC\x03\xC1\x03\x19\x1F", Type{Other, "Hermes bytecode", "HBC"}},
	{0, "\x1BLJ", Type{Other, "LuaJIT bytecode", "LUAC"}},
	{0, "FasdUAS ", Type{Other, "compiled AppleScript", "SCPT"}},
	{0, "Microsoft C/C++ MSF 7.00\r\n\x1ADS", Type{Other, "program database (PDB)", "PDB"}},
	{0, "Microsoft C/C++ program database 2.00\r\n\x1AJG", Type{Other, "program database (PDB)", "PDB"}},
	{0, "BSJB", Type{Other, "portable program database (PDB)", "PDB"}},
	{0, "GOBJ\nMETADATA\r\n\x1A", Type{Other, "GObject type library", "TYPELIB"}},
	{0, "oat\n", Type{Other, "Android OAT", "OAT"}},
	{0, "\x00asm", Type{WASM, "WebAssembly", "WASM"}},
	{0, "BC\xC0\xDE", Type{Other, "LLVM bitcode", "BC"}},
	{0, "\x1BLua", Type{Other, "Lua bytecode", "LUAC"}},
	{0, "\x4C\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46", Type{LNK, "LNK", "LNK"}},
	{0, "\xA3HK\xBE\x98\x6C\x4A\xA9\x99\x4C\x53\x0A\x86\xD6\x48\x7D", Type{Archive, "AutoIt compiled script", "A3X"}},

	// Documents and data.
	{0, "{\\rt", Type{RTF, "RTF", "RTF"}},
	{0, "%!PS-Adobe", Type{Other, "PostScript", "PS"}},
	{0, "%!", Type{Other, "PostScript", "PS"}},
	{0, "\xC5\xD0\xD3\xC6", Type{Other, "Encapsulated PostScript (DOS)", "EPS"}},
	{0, "SQLite format 3\x00", Type{Other, "SQLite 3 database", "SQLITE"}},
	{4, "Standard Jet DB", Type{Other, "Microsoft Access database", "MDB"}},
	{4, "Standard ACE DB", Type{Other, "Microsoft Access database", "ACCDB"}},
	{0, "ElfFile\x00", Type{Other, "Windows event log (EVTX)", "EVTX"}},
	{0, "\x30\x00\x00\x00LfLe", Type{Other, "Windows event log (EVT)", "EVT"}},
	{4, "\xEF\xCD\xAB\x89", Type{Other, "Extensible Storage Engine database", "ESE"}},
	{8, "sdbf", Type{Other, "Windows shim database", "SDB"}},
	{0, "CMMM", Type{Other, "Windows thumbnail cache", "DB"}},
	{0, "FILE0\x00", Type{Other, "NTFS master file table", "MFT"}},
	{0, "Inno Setup Uninstall Log (b", Type{Other, "Inno Setup uninstall log", "DAT"}},
	{0, "Inno Setup Messages (", Type{Other, "Inno Setup messages", "DAT"}},
	{0, "EVF\x09\x0D\x0A\xFF\x00", Type{Other, "EnCase disk image (EWF)", "E01"}},
	{0, "EMiL", Type{Other, "LiME memory dump", "LIME"}},
	{0, "hibr", Type{Other, "Windows hibernation file", "HIBR"}},
	{0, "HIBR", Type{Other, "Windows hibernation file", "HIBR"}},
	{0, "\x03\xD9\xA2\x9A\x67\xFB\x4B\xB5", Type{Other, "KeePass database", "KDBX"}},
	{0, "\x00\x00\x00\x01Bud1", Type{Other, "Apple folder settings (DS_Store)", "DS_STORE"}},
	{0, "ANDROID!", Type{Other, "Android boot image", "IMG"}},
	{0, "VNDRBOOT", Type{Other, "Android vendor boot image", "IMG"}},
	{0, "\x3A\xFF\x26\xED", Type{Other, "Android sparse image", "IMG"}},
	{0, "\x27\x05\x19\x56", Type{Other, "U-Boot image", "UIMAGE"}},
	{0x202, "HdrS", Type{Other, "Linux kernel (bzImage)", "BZIMAGE"}}, // what has a part for UEFI is a PE, too, and told as that
	{0, "\x45\x3D\xCD\x28", Type{Other, "cramfs", "CRAMFS"}},
	{0, "UF2\n\x57\x51\x5D\x9E", Type{Other, "UF2 firmware", "UF2"}},
	{0, "-rom1fs-", Type{Other, "romfs", "ROMFS"}},
	{0, "\x3C\xB8\x64\x18\xCA\xEF\x9C\x95\xCD\x21\x1C\xBF\x60\xA1\xBD\xDD", Type{Other, "Qt message catalogue", "QM"}},
	{0, "UBI#", Type{Other, "UBI image", "UBI"}},
	{0, "GVariant", Type{Other, "GVariant database", "GVDB"}},
	{0, "b0VIM ", Type{Other, "Vim swap file", "SWP"}},
	{0, "\xCE\x9A\x57\x13", Type{Other, "GNU dbm database", "GDBM"}},
	{12, "\x61\x15\x06\x00", Type{Other, "Berkeley DB", "BDB"}},
	{12, "\x62\x31\x05\x00", Type{Other, "Berkeley DB", "BDB"}},
	{0, "GGUF", Type{Other, "GGUF model", "GGUF"}},
	{0, "regf", Type{Other, "Windows registry hive", "HIVE"}},
	{0, "!BDN", Type{Other, "Outlook data file", "PST"}},
	{0, "\xE4\x52\x5C\x7B\x8C\xD8\xA7\x4D\xAE\xB1\x53\x78\xD0\x29\x96\xD3", Type{OneNote, "OneNote section", "ONE"}},
	{0, "\xA1\x2F\xFF\x43\xD9\xEF\x76\x4C\x9E\xE2\x10\xEA\x57\x22\x76\x5F", Type{Other, "OneNote table of contents", "ONETOC2"}},
	{0, "\x3F\x5F\x03\x00", Type{Other, "Windows Help", "HLP"}},
	{0, "MAM\x04", Type{Other, "Windows prefetch (compressed)", "PF"}},
	{4, "SCCA", Type{Other, "Windows prefetch", "PF"}},
	{0, "MDMP", Type{Other, "Windows minidump", "DMP"}},
	{0, "PAGEDU", Type{Other, "Windows memory dump", "DMP"}},
	{0, "bplist00", Type{Other, "property list (binary)", "PLIST"}},
	{0, "\xD4\xC3\xB2\xA1", Type{Other, "packet capture (pcap)", "PCAP"}},
	{0, "\xA1\xB2\xC3\xD4", Type{Other, "packet capture (pcap)", "PCAP"}},
	{0, "\x4D\x3C\xB2\xA1", Type{Other, "packet capture (pcap)", "PCAP"}},
	{0, "\xA1\xB2\x3C\x4D", Type{Other, "packet capture (pcap)", "PCAP"}},
	{0, "\x0A\x0D\x0D\x0A", Type{Other, "packet capture (pcapng)", "PCAPNG"}},
	{0, "\xDE\x12\x04\x95", Type{Other, "GNU message catalogue", "MO"}},
	{0, "\x95\x04\x12\xDE", Type{Other, "GNU message catalogue", "MO"}},
	{0, "TZif", Type{Other, "time zone data", "TZIF"}},
	{0, "\xAC\xED\x00\x05", Type{Other, "Java serialized data", "SER"}},
	{0, "\xFE\xED\xFE\xED", Type{Other, "Java keystore", "JKS"}},
	{0, "\xCA\xFE\xD0\x0D", Type{Other, "Java pack200", "PACK"}},
	{0, "PACK\x00\x00\x00\x02", Type{Other, "Git pack", "PACK"}},
	{0, "DIRC\x00\x00\x00", Type{Other, "Git index", "GIT"}},
	{0, "\xD0\x0D\xFE\xED", Type{Other, "device tree", "DTB"}},
	{0, "KDMV", Type{Virtual, "VMware disk", "VMDK"}},
	{0, "QFI\xFB", Type{Virtual, "QEMU disk", "QCOW"}},
	{0, "vhdxfile", Type{Virtual, "Hyper-V disk", "VHDX"}},
	{0, "conectix", Type{Virtual, "Virtual PC disk", "VHD"}},
	{0x40, "\x7F\x10\xDA\xBE", Type{Virtual, "VirtualBox disk", "VDI"}},
	{0, "XFSB\x00\x00", Type{Volume, "XFS file system", "XFS"}},
	{0, "Cr24", Type{Other, "Chrome extension", "CRX"}},
	{0, "d8:announce", Type{Other, "BitTorrent", "TORRENT"}},
	{0, "Salted__", Type{Other, "OpenSSL encrypted data", "ENC"}},
	{0, "LUKS\xBA\xBE", Type{Other, "LUKS volume", "LUKS"}},
	{0, "age-encryption.org/v1\n", Type{Other, "age encrypted data", "AGE"}},
	{0, "\xFFWPC", Type{Other, "WordPerfect document", "WPD"}},
	{0, "AT&TFORM", Type{Other, "DjVu document", "DJVU"}},
	{0, "Obj\x01", Type{Other, "Avro data", "AVRO"}},
	{0, "PAR1", Type{Other, "Parquet data", "PARQUET"}},
	{0, "\x89HDF\r\n\x1A\n", Type{Other, "HDF5 data", "HDF5"}},
	{0, "\x93NUMPY", Type{Other, "NumPy array", "NPY"}},

	// Images.
	{0, "\x89PNG\r\n\x1A\n", Type{Image, "PNG image", "PNG"}},
	{0, "\x8AMNG\r\n\x1A\n", Type{Image, "MNG image", "MNG"}},
	{0, "GIF87a", Type{Image, "GIF image", "GIF"}},
	{0, "GIF89a", Type{Image, "GIF image", "GIF"}},
	{0, "\xFF\xD8\xFF", Type{Image, "JPEG image", "JPEG"}},
	{0, "\x00\x00\x00\x0CjP  \r\n\x87\n", Type{Image, "JPEG 2000 image", "JP2"}},
	{0, "\xFF\x4F\xFF\x51\x00", Type{Image, "JPEG 2000 codestream", "J2K"}},
	{0, "\xFF\x0A", Type{Image, "JPEG XL image", "JXL"}},
	{0, "\x00\x00\x00\x0CJXL \r\n\x87\n", Type{Image, "JPEG XL image", "JXL"}},
	{0, "II*\x00", Type{Image, "TIFF image", "TIFF"}},
	{0, "MM\x00*", Type{Image, "TIFF image", "TIFF"}},
	{0, "II\xBC\x01", Type{Image, "JPEG XR image", "JXR"}},
	{0, "8BPS", Type{Image, "Photoshop image", "PSD"}},
	{0, "gimp xcf ", Type{Image, "GIMP image", "XCF"}},
	{0, "\xD7\xCD\xC6\x9A", Type{Image, "Windows metafile", "WMF"}},
	{0, "icns", Type{Image, "Apple icon", "ICNS"}},
	{0, "Xcur", Type{Image, "X11 cursor", "XCUR"}},
	{0, "/* XPM */", Type{Image, "XPM image", "XPM"}},
	{0, "DDS \x7C\x00\x00\x00", Type{Image, "DirectDraw surface", "DDS"}},
	{0, "qoif", Type{Image, "QOI image", "QOI"}},
	{0, "farbfeld", Type{Image, "farbfeld image", "FF"}},

	// Sound and film.
	{0, "ID3", Type{Audio, "MP3 audio", "MP3"}},
	{0, "fLaC", Type{Audio, "FLAC audio", "FLAC"}},
	{0, "MThd\x00\x00\x00\x06", Type{Audio, "MIDI", "MIDI"}},
	{0, "#!AMR", Type{Audio, "AMR audio", "AMR"}},
	{0, ".snd", Type{Audio, "AU audio", "AU"}},
	{0, "wvpk", Type{Audio, "WavPack audio", "WV"}},
	{0, "MAC ", Type{Audio, "Monkey's Audio", "APE"}},
	{0, "Extended Module: ", Type{Audio, "FastTracker module", "XM"}},
	{0, "IMPM", Type{Audio, "Impulse Tracker module", "IT"}},
	{0, "DSD \x1C\x00\x00\x00\x00\x00\x00\x00", Type{Audio, "DSD audio", "DSF"}},
	{12, "DSD FVER", Type{Audio, "DSD audio (DSDIFF)", "DFF"}},
	{44, "SCRM", Type{Audio, "Scream Tracker module", "S3M"}},
	{0, "\x1A\x45\xDF\xA3", Type{Video, "Matroska video", "MKV"}},
	{0, "\x30\x26\xB2\x75\x8E\x66\xCF\x11", Type{Video, "ASF (Windows Media)", "ASF"}},
	{0, "FLV\x01", Type{Video, "Flash video", "FLV"}},
	{0, "\x00\x00\x01\xBA", Type{Video, "MPEG video", "MPEG"}},
	{0, "\x00\x00\x01\xB3", Type{Video, "MPEG video", "MPEG"}},
	{0, ".RMF", Type{Video, "RealMedia", "RM"}},

	// Fonts.
	{0, "wOFF", Type{Font, "WOFF font", "WOFF"}},
	{0, "wOF2", Type{Font, "WOFF 2 font", "WOFF2"}},
	{0, "OTTO\x00", Type{Font, "OpenType font", "OTF"}},
	{0, "ttcf\x00", Type{Font, "TrueType font collection", "TTC"}},
	{0, "true\x00", Type{Font, "TrueType font", "TTF"}},
	{0, "\x01fcp", Type{Font, "X11 font (PCF)", "PCF"}},
	{0, "\x72\xB5\x4A\x86\x00\x00\x00\x00", Type{Font, "console font (PSF 2)", "PSF"}},
	{0, "FILE\x00\x00\x00\x04PFF2", Type{Font, "GRUB font (PFF2)", "PF2"}},
}

// magic tells formats by what they begin with.
func (s *sample) magic() Type {
	h := s.head
	if len(h) < 2 {
		return Type{}
	}
	le16, le32, be16, be32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.BigEndian.Uint16, binary.BigEndian.Uint32
	has := func(prefix string) bool { return len(h) >= len(prefix) && string(h[:len(prefix)]) == prefix }
	switch {
	case has("MZ") || has("ZM"):
		if t := s.mz(); t.Format != Unknown {
			return t
		}
	case has("LX\x00\x00\x00\x00\x00\x00") && len(h) >= 20: // as OS/2 also loads it, without the program for DOS before it
		return linear(h)
	case has("\x7FELF"):
		return s.elf()
	case has("PK\x03\x04") || has("PK\x05\x06") || has("PK00PK\x03\x04") || has("PK\x07\x08PK\x03\x04"):
		return s.zip()
	case has("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"):
		return s.ole()
	case has("\xCA\xFE\xBA\xBE") && len(h) >= 8:
		// A class of Java has its version where a universal binary has its count of architectures.
		if v := be32(h[4:]); v > 0 && v < 40 {
			return s.fat()
		}
		return Type{Class, fmt.Sprintf("Java class %d", be16(h[6:])), "CLASS"}
	case has("\x04\x00\x00\x00") && len(h) > 16 && h[16] == '{' && le32(h[8:]) == le32(h[4:])-4 && le32(h[12:]) <= le32(h[8:])-4:
		return Type{Asar, "Electron archive (asar)", "ASAR"}
	case has("\xCA\xFE\xBA\xBF") && len(h) >= 8:
		return s.fat()
	case has("\xFE\xED\xFA\xCE") || has("\xFE\xED\xFA\xCF") || has("\xCE\xFA\xED\xFE") || has("\xCF\xFA\xED\xFE"):
		return s.macho(0, true)
	case has("\x1A\x45\xDF\xA3") && bytes.Contains(h[:min(len(h), 64)], []byte("webm")):
		return Type{Video, "WebM video", "WEBM"}
	case (has("\x05\x02") || has("\x05\x04")) && s.kerberos():
		if h[1] == 2 {
			return Type{Other, "Kerberos keytab", "KEYTAB"}
		}
		return Type{Other, "Kerberos credential cache", "CCACHE"}
	case has("\x80") && s.pickle():
		return Type{Other, "Python pickle", "PICKLE"}
	case h[0] >= 0x80 && s.openPGP() != "":
		return Type{Other, "OpenPGP " + s.openPGP(), "PGP"}
	case (has("\x1A\x01") || has("\x1E\x02")) && s.terminfo():
		return Type{Other, "terminfo entry", "TERMINFO"}
	case has("%!PS-AdobeFont") || has("%!FontType"):
		return Type{Font, "Type 1 font", "PFA"}
	case has("\x80\x01") && s.is(6, "%!"):
		return Type{Font, "Type 1 font", "PFB"}
	case has("\x1F\x8B\x08") && len(h) >= 10 && h[3]&0xE0 == 0:
		return Type{Gzip, "gzip", "GZ"}
	case len(h) >= 8 && h[0]>>4 == 5 && string(h[1:4]) == "\x2A\x4D\x18" && s.is(8+int64(le32(h[4:])), "\x28\xB5\x2F\xFD"):
		return Type{Zstd, "Zstandard", "ZST"} // behind a frame that is skipped, as pzstd begins
	case has("FOR1") && s.is(8, "BEAM"):
		return Type{Other, "Erlang bytecode (BEAM)", "BEAM"}
	case has("BZh") && len(h) >= 10 && h[3] >= '1' && h[3] <= '9' && (string(h[4:10]) == "\x31\x41\x59\x26\x53\x59" || string(h[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Type{Bzip2, "bzip2", "BZ2"}
	case has("\x60\xEA") && len(h) > 34 && le16(h[2:]) >= 30 && le16(h[2:]) <= 2600 && h[10] == 2:
		return Type{ARJ, "ARJ archive", "ARJ"}
	case len(h) > 22 && h[2] == '-' && h[6] == '-' && (h[3] == 'l' && (h[4] == 'h' || h[4] == 'z') || h[3] == 'p' && h[4] == 'm') && h[20] <= 3:
		return Type{LZH, "LHA archive", "LZH"}
	case has("UHA") && len(h) > 3 && h[3] < ' ':
		return Type{Archive, "UHARC archive", "UHA"}
	case has("PATCH") && len(h) >= 8 && (s.is(s.size-3, "EOF") || s.is(s.size-6, "EOF")): // the latter with the size to cut to
		return Type{Other, "IPS patch", "IPS"}
	case has("\x36\x04") && len(h) > 4 && h[2] <= 5 && h[3] > 0 && s.size >= 4+256*int64(h[3])*int64(1+h[2]&1):
		return Type{Font, "console font (PSF 1)", "PSF"}
	case h[0] == 0x1A && s.arc():
		return Type{Archive, "ARC archive", "ARC"}
	case has("\x5D\x00\x00") && len(h) > 18 && s.lzma():
		return Type{LZMA, "LZMA", "LZMA"}
	case has("RIFF") && len(h) >= 12 || has("RIFX") && len(h) >= 12:
		switch string(h[8:12]) {
		case "WAVE":
			return Type{Audio, "WAV audio", "WAV"}
		case "AVI ":
			return Type{Video, "AVI video", "AVI"}
		case "WEBP":
			return Type{Image, "WebP image", "WEBP"}
		case "ACON":
			return Type{Image, "animated cursor", "ANI"}
		case "CDDA", "RMID", "DLS ", "sfbk":
			return Type{Audio, "RIFF audio", "RIFF"}
		}
		return Type{Other, "RIFF data", "RIFF"}
	case has("FORM") && len(h) >= 12 && (string(h[8:12]) == "AIFF" || string(h[8:12]) == "AIFC"):
		return Type{Audio, "AIFF audio", "AIFF"}
	case has("OggS\x00"):
		if i := bytes.Index(h[:min(len(h), 128)], []byte("theora")); i > 0 {
			return Type{Video, "Ogg video", "OGV"}
		}
		if bytes.Contains(h[:min(len(h), 128)], []byte("OpusHead")) {
			return Type{Audio, "Ogg Opus audio", "OPUS"}
		}
		return Type{Audio, "Ogg audio", "OGG"}
	case len(h) >= 12 && string(h[4:8]) == "ftyp":
		return isoMedia(string(h[8:12]))
	case len(h) >= 8 && (string(h[4:8]) == "moov" || string(h[4:8]) == "mdat" || string(h[4:8]) == "wide" || string(h[4:8]) == "skip"):
		return Type{Video, "QuickTime video", "MOV"}
	case has("BM") && len(h) >= 26 && le32(h[6:]) == 0 && (le32(h[14:]) == 12 || le32(h[14:]) >= 40 && le32(h[14:]) <= 124):
		return Type{Image, "Windows bitmap", "BMP"}
	case (has("\x00\x00\x01\x00") || has("\x00\x00\x02\x00")) && len(h) >= 22 && s.icon():
		if h[2] == 2 {
			return Type{Image, "Windows cursor", "CUR"}
		}
		return Type{Image, "Windows icon", "ICO"}
	case has("\x01\x00\x00\x00") && s.is(40, " EMF"):
		return Type{Image, "Enhanced metafile", "EMF"}
	case (has("CWS") || has("FWS") || has("ZWS")) && len(h) > 8 && h[3] > 0 && h[3] < 64:
		return Type{Other, "Flash", "SWF"}
	case has("\x00\x01\x00\x00") && len(h) >= 12 && be16(h[4:]) > 0 && be16(h[4:]) < 64 && sfntTag(h[12:]):
		return Type{Font, "TrueType font", "TTF"}
	case len(h) >= 36 && string(h[34:36]) == "LP" && le32(h) == uint32(min(s.size, 1<<32-1)):
		return Type{Font, "Embedded OpenType font", "EOT"}
	case has("\xFF\xFB") || has("\xFF\xF3") || has("\xFF\xF2") || has("\xFF\xFA"):
		if len(h) > 4 && h[2]>>4 != 15 && h[2]>>4 != 0 && h[2]>>2&3 != 3 {
			return Type{Audio, "MP3 audio", "MP3"}
		}
	case has("\xFF\xF1") || has("\xFF\xF9"):
		return Type{Audio, "AAC audio", "AAC"}
	case len(h) >= 16 && h[2] == '\r' && h[3] == '\n' && s.pyc():
		return Type{Other, "Python bytecode", "PYC"}
	case h[0] == 0x30 && s.catalog():
		return Type{Catalog, "Windows security catalogue", "CAT"}
	case h[0] == 0x30 && s.der():
		return s.derType()
	case bytes.HasPrefix(bytes.TrimLeft(h[:min(len(h), 64)], "\r\n \t\xEF\xBB\xBF"), []byte("%PDF-")):
		return s.pdf()
	}
	for i := range marks {
		m := &marks[i]
		if s.is(m.off, m.bytes) {
			return m.Type
		}
	}
	if t := s.coff(); t.Format != Unknown {
		return t
	}
	if len(h) > 8 && h[0] == 'P' && h[1] >= '1' && h[1] <= '7' && (h[2] == '\n' || h[2] == ' ') && (h[3] == '#' || h[3] >= '0' && h[3] <= '9' || h[1] == '7') {
		return Type{Image, "Netpbm image", []string{"PBM", "PGM", "PPM", "PBM", "PGM", "PPM", "PAM"}[h[1]-'1']}
	}
	// The mark and its version; of text that speaks of "ustar" just there, the checksum says that it is none.
	if s.is(257, "ustar\x00") || s.is(257, "ustar  \x00") || s.oldTar() {
		return Type{Tar, "tar archive", "TAR"}
	}
	if i := bytes.Index(h[:min(len(h), 1024)], []byte("(This file must be converted")); i >= 0 && (i == 0 || h[i-1] == '\n' || h[i-1] == '\r') {
		return Type{BinHex, "BinHex", "HQX"}
	}
	return Type{}
}

func isoMedia(brand string) Type {
	switch strings.TrimRight(brand, " ") {
	case "qt":
		return Type{Video, "QuickTime video", "MOV"}
	case "M4A", "M4B", "M4P":
		return Type{Audio, "MPEG-4 audio", "M4A"}
	case "heic", "heix", "hevc", "mif1", "msf1", "heim", "heis":
		return Type{Image, "HEIF image", "HEIC"}
	case "avif", "avis":
		return Type{Image, "AVIF image", "AVIF"}
	case "crx":
		return Type{Image, "Canon raw image", "CR3"}
	case "3gp4", "3gp5", "3gp6", "3ge6", "3gg6", "3g2a", "3g2b":
		return Type{Video, "3GPP video", "3GP"}
	case "jp2":
		return Type{Image, "JPEG 2000 image", "JP2"}
	}
	return Type{Video, "MPEG-4 video", "MP4"}
}

// lzma reports whether the 13-byte header of an .lzma file is one.
func (s *sample) lzma() bool {
	h := s.head
	dict := binary.LittleEndian.Uint32(h[1:])
	size := binary.LittleEndian.Uint64(h[5:])
	return h[13] == 0 && (dict&(dict-1) == 0 || dict&(dict-1)&(dict-2) == 0 || dict%(1<<20) == 0) && dict >= 1<<12 && (size == ^uint64(0) || size < 1<<38)
}

func (s *sample) icon() bool {
	h := s.head
	n := binary.LittleEndian.Uint16(h[4:])
	length, off := int64(binary.LittleEndian.Uint32(h[14:])), int64(binary.LittleEndian.Uint32(h[18:]))
	return n > 0 && n < 1024 && h[9] == 0 && length > 0 && off >= 6+16*int64(n) && off < s.size
}

func sfntTag(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for _, c := range b[:4] {
		if c != ' ' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// pyc knows the magic numbers of CPython: 62xxx of Python 2, 3000 to 4000 of Python 3; the code object is marked by c or, with a reference, 0xE3.
func (s *sample) pyc() bool {
	h := s.head
	v := binary.LittleEndian.Uint16(h)
	switch {
	case v >= 60202 && v <= 62300:
		return h[8] == 'c'
	case v >= 3000 && v < 4000:
		return h[12] == 0xE3 || h[12] == 'c' || len(h) > 16 && (h[16] == 0xE3 || h[16] == 'c') || h[8] == 'c'
	}
	return false
}

// coff knows the object files of Windows compilers by a header that fits the file.
func (s *sample) coff() Type {
	h := s.head
	if len(h) < 60 {
		return Type{}
	}
	m := binary.LittleEndian.Uint16(h)
	sections, symbols, n := int64(binary.LittleEndian.Uint16(h[2:])), int64(binary.LittleEndian.Uint32(h[8:])), int64(binary.LittleEndian.Uint32(h[12:]))
	if m != 0x14C && m != 0x8664 && m != 0xAA64 && m != 0x1C4 || sections == 0 || sections > 1<<12 || binary.LittleEndian.Uint16(h[16:]) != 0 || 20+40*sections > s.size || symbols == 0 || symbols+18*n > s.size || symbols < 20+40*sections {
		return Type{}
	}
	return Type{Other, "COFF object " + Machine(m), "OBJ"}
}

// oldTar knows a tar without "ustar" by its checksum.
func (s *sample) oldTar() bool {
	h := s.head
	if len(h) < 512 || h[0] == 0 {
		return false
	}
	want, digits := 0, 0
	for _, c := range h[148:156] {
		switch {
		case c >= '0' && c <= '7':
			want, digits = want*8+int(c-'0'), digits+1
		case c != ' ' && c != 0:
			return false
		}
	}
	sum := 0
	for i, c := range h[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	return digits >= 3 && sum == want
}

// der reports whether the file is one ASN.1 sequence as long as it is.
func (s *sample) der() bool {
	h := s.head
	if len(h) < 8 || h[1] != 0x82 && h[1] != 0x83 && h[1] != 0x84 {
		return false
	}
	n, k := int64(0), int(h[1]&0x7F)
	for _, c := range h[2 : 2+k] {
		n = n<<8 | int64(c)
	}
	total := n + int64(2+k)
	return total <= s.size && total >= s.size-2 // some tools append a line end
}

func (s *sample) derType() Type {
	h := s.head[:min(len(s.head), 64)]
	switch {
	case bytes.Contains(h, []byte("\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02")):
		return Type{Other, "PKCS #7 signed data", "P7B"}
	case bytes.Contains(h, []byte("\x02\x01\x03\x30")) && bytes.Contains(h, []byte("\x2A\x86\x48\x86\xF7\x0D\x01\x07")):
		return Type{Other, "PKCS #12 key store", "P12"}
	case len(h) > 6 && h[4] == 0x30 && bytes.Contains(h, []byte("\xA0\x03\x02\x01")):
		return Type{Other, "X.509 certificate (DER)", "CER"}
	}
	return Type{}
}

// catalog knows signed data whose content is a certificate trust list (1.3.6.1.4.1.311.10.1).
func (s *sample) catalog() bool {
	h := s.head[:min(len(s.head), 256)]
	return bytes.Contains(h, []byte("\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02")) && bytes.Contains(h, []byte("\x06\x09\x2B\x06\x01\x04\x01\x82\x37\x0A\x01"))
}

func (s *sample) pdf() Type {
	name := "PDF"
	if i := bytes.Index(s.head, []byte("%PDF-")); i >= 0 && i+8 <= len(s.head) {
		v := s.head[i+5 : i+8]
		if v[0] >= '1' && v[0] <= '9' && v[1] == '.' && v[2] >= '0' && v[2] <= '9' {
			name += " " + string(v)
		}
	}
	return Type{PDF, name, "PDF"}
}

// kerberos reports whether a keytab's first entry, or a credential cache's header, has a length that fits the file.
func (s *sample) kerberos() bool {
	h := s.head
	if len(h) < 12 {
		return false
	}
	if h[1] == 4 {
		n := binary.BigEndian.Uint16(h[2:])
		return n < 64 && (n == 0 || binary.BigEndian.Uint16(h[4:]) == 1)
	}
	n, parts := int64(binary.BigEndian.Uint32(h[2:])), binary.BigEndian.Uint16(h[6:])
	return n >= 16 && n <= s.size-6 && parts >= 1 && parts <= 8
}

// pickle reports whether protocol 2 to 5 of Python's pickles is announced and the file ends as they do.
func (s *sample) pickle() bool {
	h := s.head
	if len(h) < 4 || h[1] < 2 || h[1] > 5 || !s.is(s.size-1, ".") {
		return false
	}
	if h[1] >= 4 && h[2] == 0x95 { // a frame
		return len(h) >= 11 && binary.LittleEndian.Uint64(h[3:]) <= uint64(s.size-11)
	}
	return bytes.IndexByte([]byte("}](cX"), h[2]) >= 0 && (h[2] != 'c' || isText(h[3:min(len(h), 12)]))
}

// openPGP names what the first packet holds; "" where it does not look like one.
func (s *sample) openPGP() string {
	h := s.head
	if len(h) < 16 {
		return ""
	}
	tag, body, n := int(h[0]>>2&15), h[2:], int64(h[1])
	switch {
	case h[0]&0x40 != 0: // the newer form
		tag = int(h[0] & 63)
		switch {
		case h[1] >= 192 && h[1] < 224:
			n, body = (int64(h[1])-192)<<8+int64(h[2])+192, h[3:]
		case h[1] == 255:
			n, body = int64(binary.BigEndian.Uint32(h[2:])), h[6:]
		case h[1] > 223:
			return ""
		}
	case h[0]&3 == 1:
		n, body = int64(binary.BigEndian.Uint16(h[1:])), h[3:]
	case h[0]&3 == 2:
		n, body = int64(binary.BigEndian.Uint32(h[1:])), h[5:]
	case h[0]&3 == 3:
		return ""
	}
	if n < 10 || n > s.size-2 {
		return ""
	}
	// The version, and behind it an algorithm that is registered or a time that can be.
	v := body[0]
	switch tag {
	case 1: // a session's key, for the holder of a key
		if v == 3 && n < 2048 && (body[9] >= 1 && body[9] <= 3 || body[9] >= 16 && body[9] <= 28) {
			return "message"
		}
	case 2:
		if v == 4 && n < 4096 && body[1] <= 0x50 && (body[2] >= 1 && body[2] <= 3 || body[2] >= 17 && body[2] <= 28) && body[3] <= 14 || v == 3 && body[1] == 5 && n < 4096 {
			return "signature"
		}
	case 5, 6:
		if (v == 4 && body[5] <= 28 && body[5] > 0 || v == 3 && body[7] >= 1 && body[7] <= 3) && body[1] >= 0x20 && n < 16<<10 {
			return []string{"private key", "public key"}[tag-5]
		}
	}
	return ""
}

// terminfo reports whether the counts of a compiled entry fit, and its names are text.
func (s *sample) terminfo() bool {
	h := s.head
	if len(h) < 14 || s.size > 64<<10 {
		return false
	}
	names := int(binary.LittleEndian.Uint16(h[2:]))
	return names >= 2 && names <= 512 && 12+names <= len(h) && h[12+names-1] == 0 && isText(h[12:12+names-1]) && binary.LittleEndian.Uint16(h[4:]) <= 64 && binary.LittleEndian.Uint16(h[6:]) <= 64
}

// late tells what is known by marks far from the beginning.
func (s *sample) late() Type {
	if s.installShield() {
		return Type{InstallShield, "InstallShield setup files", "INSTALLSHIELD"}
	}
	// Readers of PDF take up to 1,024 bytes before the header.
	if i := bytes.Index(s.head[:min(len(s.head), 1024)], []byte("%PDF-1.")); i > 0 {
		t := s.pdf()
		t.Name += fmt.Sprintf(" after %d bytes of other data", i)
		return t
	}
	if t := s.firmware(); t.Format != Unknown {
		return t
	}
	if t := s.tex(); t.Format != Unknown {
		return t
	}
	for _, mark := range []string{"M.K.", "M!K!", "FLT4", "FLT8", "4CHN", "6CHN", "8CHN"} {
		if s.is(1080, mark) {
			return Type{Audio, "ProTracker module", "MOD"}
		}
	}
	if t := s.volume(); t.Format != Unknown {
		return t
	}
	if s.zlib() {
		return Type{Zlib, "zlib", "ZLIB"}
	}
	return Type{}
}

// tex tells the fonts of TeX: metrics by the counts of their tables, which add up to the size; virtual fonts by the font that their preamble is followed by.
func (s *sample) tex() Type {
	h := s.head
	if len(h) >= 24 && s.size < 1<<18 {
		var n [12]int
		for i := range n {
			n[i] = int(binary.BigEndian.Uint16(h[2*i:]))
		}
		sum := 6 + n[1] + n[3] - n[2] + 1
		for _, k := range n[4:] {
			sum += k
		}
		if int64(n[0])*4 == s.size && sum == n[0] && n[1] >= 2 {
			return Type{Font, "TeX font metrics", "TFM"}
		}
	}
	if len(h) >= 12 && h[0] == 0xF7 && h[1] == 0xCA {
		if b := s.at(11+int64(h[2]), 1); len(b) == 1 && b[0] >= 242 && b[0] <= 246 {
			return Type{Font, "TeX virtual font", "VF"}
		}
	}
	return Type{}
}

// firmware tells what a PC's firmware is made of, by its checksums.
func (s *sample) firmware() Type {
	h := s.head
	sum := func(n int64) (sum byte) {
		b := s.at(0, n)
		for _, c := range b {
			sum += c
		}
		return sum | byte(n-int64(len(b)))
	}
	// A ROM of a card says how many units of 512 bytes it has; one that its maker's tool still signs has another structure to be known by.
	if len(h) >= 64 && h[0] == 0x55 && h[1] == 0xAA && h[2] > 0 && 512*int64(h[2]) <= s.size {
		if s.is(int64(binary.LittleEndian.Uint16(h[0x18:])), "PCIR") || s.is(0x1E, "IBM") || sum(512*int64(h[2])) == 0 {
			return Type{Other, "PC option ROM", "ROM"}
		}
	}
	// A table of ACPI: four letters, its size, a checksum of all of it.
	if len(h) >= 36 && int64(binary.LittleEndian.Uint32(h[4:])) == s.size && s.size <= 4<<20 && !bytes.ContainsFunc(h[:4], func(r rune) bool { return r < '0' || r > 'Z' || r > '9' && r < 'A' }) && sum(s.size) == 0 {
		return Type{Other, "ACPI table " + string(h[:4]), "AML"}
	}
	return Type{}
}

// zlib reports whether a stream of zlib begins there: its header has no other mark than a remainder, so what follows must inflate.
func (s *sample) zlib() bool {
	h := s.head
	if len(h) < 8 || h[0]&0x8F != 8 || h[1]&0x20 != 0 || binary.BigEndian.Uint16(h)%31 != 0 {
		return false
	}
	z, err := zlib.NewReader(bytes.NewReader(h))
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, 64<<10))
	switch {
	case err == nil: // to its checksum, or far enough to be none by chance
		return n > 0
	case int64(len(h)) < s.size:
		return n >= 256 && err == io.ErrUnexpectedEOF
	}
	return false
}

// volume tells images of discs, disks and their file systems.
func (s *sample) volume() Type {
	// Volume descriptors begin at sector 16. UDF and ISO 9660 may share a disk; which is read first does not matter, so ISO wins. A raw image has bytes
	// of the drive around those of each sector.
	stride, skip, raw := int64(2048), int64(0), ""
	if s.is(0, "\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00") {
		stride, skip, raw = 2352, 16, " (raw sectors)"
		if !s.is(stride, "\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00") {
			stride = 2448
		}
		if s.is(15, "\x02") {
			skip = 24
		}
	}
	iso, udf := false, false
	for sector := int64(16); sector < 24; sector++ {
		switch b := s.at(sector*stride+skip, 6); {
		case len(b) < 6:
		case string(b[1:]) == "CD001":
			iso = true
		case string(b[1:]) == "NSR02" || string(b[1:]) == "NSR03":
			udf = true
		}
	}
	switch {
	case iso && udf:
		return Type{ISO, "ISO 9660 image with UDF" + raw, "ISO"}
	case iso:
		return Type{ISO, "ISO 9660 image" + raw, "ISO"}
	case udf && raw == "":
		return Type{UDF, "UDF image", "UDF"}
	}
	if s.is(s.size-512, "koly\x00\x00\x00\x04") {
		return Type{DMG, "Apple disk image", "DMG"}
	}
	if s.is(1080, "\x53\xEF") && s.size >= 64<<10 {
		return Type{Ext, "ext file system", "EXT"}
	}
	switch {
	case s.is(1024, "H+\x00\x04"):
		return Type{HFS, "HFS+ file system", "HFS"}
	case s.is(1024, "HX\x00\x05"):
		return Type{HFS, "HFSX file system", "HFS"}
	case s.is(1024, "BD") && s.is(1024+124, "H+"):
		return Type{HFS, "HFS+ file system (wrapped)", "HFS"}
	case s.is(1024, "BD") && s.is(1024+20, "\x00\x00") && s.size >= 400<<10:
		return Type{Volume, "HFS file system", "HFS"}
	case s.is(32, "NXSB"):
		return Type{Volume, "APFS container", "APFS"}
	case s.is(0x10040, "_BHRfS_M"):
		return Type{Volume, "Btrfs file system", "BTRFS"}
	case s.is(0, "ER") && s.is(512, "PM\x00\x00"):
		return Type{Disk, "disk image (Apple partition map)", "IMG"}
	}
	if s.is(510, "\x55\xAA") {
		switch {
		case s.is(3, "NTFS    "):
			return Type{NTFS, "NTFS file system", "NTFS"}
		case s.is(3, "EXFAT   "):
			return Type{ExFAT, "exFAT file system", "EXFAT"}
		case s.is(3, "-FVE-FS-"):
			return Type{Volume, "BitLocker volume", "BITLOCKER"}
		}
	}
	// A fixed disk of Virtual PC is a disk as it is, before what tells that it is one.
	if s.is(s.size-512, "conectix\x00\x00\x00") {
		return Type{Virtual, "Virtual PC disk", "VHD"}
	}
	if s.is(510, "\x55\xAA") {
		switch {
		case s.is(512, "EFI PART") || s.is(4096, "EFI PART"):
			return Type{Disk, "disk image (GPT)", "IMG"}
		case s.is(54, "FAT") || s.is(82, "FAT32"):
			return Type{FAT, "FAT file system", "FAT"}
		case s.partitions():
			return Type{Disk, "disk image (MBR)", "IMG"}
		}
	}
	if s.fatVolume() {
		return Type{FAT, "FAT file system", "FAT"}
	}
	if s.is(510, "\x55\xAA") {
		return Type{Other, "boot sector", "MBR"}
	}
	return Type{}
}

// partitions reports whether the table of a boot sector has partitions that the image can hold.
func (s *sample) partitions() bool {
	h := s.at(0, 512)
	if len(h) < 512 {
		return false
	}
	some := false
	for e := h[446:510]; len(e) >= 16; e = e[16:] {
		if e[0]&0x7F != 0 {
			return false
		}
		start, n := int64(binary.LittleEndian.Uint32(e[8:])), binary.LittleEndian.Uint32(e[12:])
		some = some || e[4] != 0 && n > 0 && start > 0 && start < s.size/512
	}
	return some
}

// fat knows a FAT volume by the parameters in its boot sector: floppy disks of old times have no other mark.
func (s *sample) fatVolume() bool {
	h := s.at(0, 64)
	if len(h) < 64 || h[0] != 0xEB && h[0] != 0xE9 || h[21] < 0xF0 || h[16] < 1 || h[16] > 2 {
		return false
	}
	sector, cluster, reserved := binary.LittleEndian.Uint16(h[11:]), h[13], binary.LittleEndian.Uint16(h[14:])
	roots, total, table := binary.LittleEndian.Uint16(h[17:]), int64(binary.LittleEndian.Uint16(h[19:])), binary.LittleEndian.Uint16(h[22:])
	if total == 0 {
		total = int64(binary.LittleEndian.Uint32(h[32:]))
	}
	return sector >= 512 && sector <= 4096 && sector&(sector-1) == 0 && cluster > 0 && cluster&(cluster-1) == 0 && reserved > 0 && roots > 0 && table > 0 &&
		total > int64(table)*int64(h[16]) && total*int64(sector) <= s.size+int64(sector)
}

var wholeInput = sync.OnceFunc(func() { mimetype.SetLimit(0) })

// fallback asks the library for what we do not know. It is handed the beginning only; its notion of text is not taken, ours has decided.
func (s *sample) fallback() Type {
	wholeInput()
	m := mimetype.Detect(s.head)
	if m == nil || m.Is("application/octet-stream") || m.Is("application/zlib") || strings.HasPrefix(m.String(), "text/") {
		return Type{}
	}
	kind, sub, _ := strings.Cut(m.String(), "/")
	sub, _, _ = strings.Cut(sub, ";")
	f := Other
	switch kind {
	case "image":
		f = Image
	case "audio":
		f = Audio
	case "video":
		f = Video
	case "font":
		f = Font
	}
	return Type{f, kind + "/" + sub, strings.ToUpper(strings.TrimPrefix(m.Extension(), "."))}
}

// arc tells whether a member of an ARC archive begins there: its method, a name of MS-DOS, and where its data end, the next member or the end.
func (s *sample) arc() bool {
	h := s.head
	if len(h) < 29 || h[1] < 2 || h[1] > 11 {
		return false
	}
	name, _, ended := bytes.Cut(h[2:15], []byte{0})
	if !ended || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	return s.is(29+int64(binary.LittleEndian.Uint32(h[15:])), "\x1A")
}
