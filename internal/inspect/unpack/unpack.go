// Package unpack lists what is in a container, member by member, and opens each as a stream.
//
// It keeps no count of members, bytes or levels: that is the caller's, who stops by an error of yield. What it bounds itself is memory:
// nothing is allocated by a number that the container claims, and a dictionary larger than [Options.Memory] is refused.
package unpack

import (
	"context"
	"fmt"
	"io"
	"slices"

	"spoor/internal/inspect/filetype"
)

// Member is one thing in a container.
type Member struct {
	Path     string    // as the container says, but with forward slashes, valid UTF-8, and nothing that climbs out of it; "" when it has none
	Size     int64     // bytes, as the container claims; -1 when it does not say
	Reader   io.Reader // its bytes, unpacked as they are read; good until yield returns; nil when it cannot be opened
	Err      error     // why it cannot be opened; a *Problem
	Password string    // by which it was opened
	Outside  string    // the name that the container has for it when that leads out of where it is unpacked; in valid UTF-8 without control characters, clipped

	// Key names its bytes: members of one container with the same key have the same bytes, as those with several names in a file system do. It is ""
	// where that cannot be told without reading them.
	Key string

	// Names are what the files in it are called, by the paths that it has for them; nil when they are called so. A cabinet in an installer has keys.
	Names map[string]string

	// Opened says that what is in it is told as members of the same container, which has all its parts.
	Opened bool
}

// Problem is why a container or a member cannot be opened, in whole or in part.
type Problem struct {
	What   string // "zip: member docs/a.txt"
	Reason string // "method 19 (LZ77) is not known"
}

func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.What, p.Reason) }

// Options are how containers are opened.
type Options struct {
	Passwords []string // tried on encrypted members, in this order; see [DefaultPasswords]
	Memory    int64    // bytes that one decompressor may use; 0 means 128 MiB

	// Attempt is asked before what may take more than Memory; an error says that it is to be left alone. It may be nil.
	Attempt func() error

	// Spend is asked before each try of a password, with what it costs, and tells whether there is enough left for it. It is for a bound that many
	// containers share, since an archive of some hundred bytes may cost a second. When nil, [MaxRounds] bound each container.
	Spend func(rounds int64) bool
}

// Opens reports whether Each can open containers of a format.
func Opens(f filetype.Format) bool { return readers[f] != nil }

// holders are formats that hold files and that some reader may not open.
var holders = []filetype.Format{filetype.OLE, filetype.MSI, filetype.MSG, filetype.Mail, filetype.Mbox, filetype.Cab, filetype.ISO, filetype.UDF, filetype.ARJ, filetype.LZH,
	filetype.CHM, filetype.SquashFS, filetype.DMG, filetype.WIM, filetype.XAR, filetype.SZDD,
	filetype.FAT, filetype.ExFAT, filetype.NTFS, filetype.Ext, filetype.HFS, filetype.Volume, filetype.Disk, filetype.Virtual, filetype.Archive}

// Closed reports whether files of a format hold others that Each cannot open.
func Closed(f filetype.Format) bool { return readers[f] == nil && slices.Contains(holders, f) }

// Each calls yield with each member of the container of format f in the size bytes of r, in the container's order. Directories, links and
// devices are left out. It returns yield's error as it is; a *Problem when the container cannot be read to its end (the members before it have
// been told); or the context's error.
func Each(ctx context.Context, f filetype.Format, r io.ReaderAt, size int64, o Options, yield func(Member) error) error {
	read := readers[f]
	if read == nil {
		return &Problem{string(f), "no reader opens this format"}
	}
	if o.Memory == 0 {
		o.Memory = 128 << 20
	}
	if o.Attempt == nil {
		o.Attempt = func() error { return nil }
	}
	if o.Spend == nil {
		o.Spend = Spender(MaxRounds)
	}
	file := &fileReader{ctx: ctx, r: r, size: size}
	c := &container{ctx: ctx, format: f, r: file, file: file, size: size, o: o, yield: yield}
	err := c.guard(read)
	switch {
	case c.stop != nil:
		return c.stop
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	}
	return c.problem(string(f), err)
}

// readers opens each format. A reader is a file of its own.
var readers = map[filetype.Format]func(*container) error{
	filetype.Zip:      readZip,
	filetype.Jar:      readZip,
	filetype.APK:      readZip,
	filetype.Appx:     readZip,
	filetype.OOXML:    readZip,
	filetype.ODF:      readZip,
	filetype.SevenZip: readSevenZip,
	filetype.RAR:      readRAR,
	filetype.ARJ:      readARJ,
	filetype.LZH:      readLZH,
	filetype.SZDD:     readMSCompress,
	filetype.Tar:      readTar,
	filetype.Gzip:     readGzip,
	filetype.Bzip2:    readBzip2,
	filetype.XZ:       readXZ,
	filetype.Zstd:     readZstd,
	filetype.Lzip:     readLzip,
	filetype.LZMA:     readLZMA,
	filetype.LZ4:      readLZ4,
	filetype.Compress: readCompress,
	filetype.Zlib:     readZlib,
	filetype.Ar:       readAr,
	filetype.Deb:      readAr,
	filetype.RPM:      readRPM,
	filetype.CPIO:     readCPIO,
	filetype.Cab:      readCab,
	filetype.Mail:     readMail,
	filetype.Mbox:     readMbox,
	filetype.RTF:      readRTF,
	filetype.OLE:      readCompound,
	filetype.MSI:      readCompound,
	filetype.MSG:      readCompound,
	filetype.ISO:      readISO,
	filetype.XAR:      readXAR,
	filetype.DMG:      readDMG,
	filetype.SquashFS: readSquashFS,

	filetype.PDF:         readPDF,
	filetype.TNEF:        readTNEF,
	filetype.OneNote:     readOneNote,
	filetype.UUEncode:    readUU,
	filetype.YEnc:        readYEnc,
	filetype.BinHex:      readBinHex,
	filetype.AppleDouble: readAppleDouble,
	filetype.ActiveMime:  readActiveMime,
	filetype.HTML:        readBase64,
	filetype.Script:      readBase64,

	// What programs carry.
	filetype.PyInstaller: readPyInstaller,
	filetype.PYZ:         readPYZ,
	filetype.NSIS:        readNSIS,
	filetype.Inno:        readInno,
	filetype.Asar:        readAsar,

	filetype.InstallShield: readInstallShield,
	filetype.CHM:           readCHM,
	filetype.WIM:           readWIM,
	filetype.UDF:           readUDF,
	filetype.FAT:           readFAT,
	filetype.ExFAT:         readExFAT,
	filetype.HFS:           readHFS,
	filetype.NTFS:          readNTFS,
	filetype.Ext:           readExt,
	filetype.Disk:          readDisk,
	filetype.Virtual:       readVirtual,
}
