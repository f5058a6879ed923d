package unpack

import (
	"encoding/binary"
	"errors"
	"strings"

	"spoor/internal/inspect/compound"
)

// An installer of Windows (MSI) is a database in a compound file. Its files lie in cabinets under the keys of the table File, which says what they are
// called, and by the tables Component and Directory where.

const (
	msiMaxTable   = 16 << 20
	msiMaxStrings = 1 << 22
	msiMaxDepth   = 64 // folders in each other
	msiMaxNames   = 1 << 18
	msiMaxPaths   = 16 << 20 // bytes of all paths, which may share what they are made of
)

// msiDatabase is the tables of an installer.
type msiDatabase struct {
	f       *compound.File
	streams map[string]*compound.Entry // by decoded names
	strings []string
	ref     int                    // bytes of a string's number
	columns map[string][]msiColumn // of each table
}

type msiColumn struct {
	name string
	kind uint16
}

// text reports whether a column has numbers of strings.
func (c msiColumn) text() bool { return c.kind&0x0800 != 0 }

// binary reports whether a column says only whether a stream is there.
func (c msiColumn) binary() bool { return c.kind&^0x1000 == 0x0900 }

// openMSI reads the strings and the columns.
func openMSI(f *compound.File) (*msiDatabase, error) {
	d := &msiDatabase{f: f, streams: map[string]*compound.Entry{}, columns: map[string][]msiColumn{}}
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Kind == compound.Stream {
			d.streams[msiName(e.Path)] = e
		}
	}
	pool, data := d.read("!_StringPool"), d.read("!_StringData")
	le := binary.LittleEndian
	if len(pool) < 4 {
		return nil, errors.New("the database has no strings")
	}
	d.ref = 2
	if le.Uint16(pool[2:])&0x8000 != 0 {
		d.ref = 3
	}
	d.strings = append(d.strings, "")
	for b := pool[4:]; len(b) >= 4 && len(d.strings) < msiMaxStrings; {
		n, uses := int64(le.Uint16(b)), le.Uint16(b[2:])
		b = b[4:]
		if n == 0 && uses != 0 && len(b) >= 4 { // longer than 64 KiB: the length follows
			n = int64(le.Uint32(b))
			b = b[4:]
		}
		n = min(n, int64(len(data)))
		d.strings = append(d.strings, latin1Name(data[:n]))
		data = data[n:]
	}
	// The table of columns describes itself.
	own := []msiColumn{{"Table", 0x0d40}, {"Number", 0x0502}, {"Name", 0x0d40}, {"Type", 0x0502}}
	d.columns["_Columns"] = own
	all := map[string][]msiColumn{}
	d.each("_Columns", func(row map[string]string, numbers map[string]int64) {
		if t := row["Table"]; t != "" && len(all[t]) < 256 {
			all[t] = append(all[t], msiColumn{row["Name"], uint16(numbers["Type"])})
		}
	})
	for t, columns := range all {
		d.columns[t] = columns
	}
	return d, nil
}

// read is a stream, at most so much of it.
func (d *msiDatabase) read(name string) []byte {
	e := d.streams[name]
	if e == nil || e.Size > msiMaxTable {
		return nil
	}
	return d.f.Read(e, e.Size)
}

// each calls f with each row of a table. Rows are stored column by column.
func (d *msiDatabase) each(table string, f func(row map[string]string, numbers map[string]int64)) {
	columns := d.columns[table]
	b := d.read("!" + table)
	width := 0
	sizes := make([]int, len(columns))
	for i, c := range columns {
		switch {
		case c.binary():
			sizes[i] = 2
		case c.text():
			sizes[i] = d.ref
		case c.kind&0xff == 4:
			sizes[i] = 4
		default:
			sizes[i] = 2
		}
		width += sizes[i]
	}
	if width == 0 {
		return
	}
	rows := len(b) / width
	row, numbers := map[string]string{}, map[string]int64{}
	for r := range rows {
		at := 0
		for i, c := range columns {
			var v int64
			cell := b[at+r*sizes[i]:]
			for k := range sizes[i] {
				v |= int64(cell[k]) << (8 * k)
			}
			at += rows * sizes[i]
			switch {
			case c.text() && !c.binary():
				row[c.name] = ""
				if v < int64(len(d.strings)) {
					row[c.name] = d.strings[v]
				}
			case sizes[i] == 4:
				numbers[c.name] = v ^ 1<<31
			default:
				numbers[c.name] = v ^ 1<<15
			}
		}
		f(row, numbers)
	}
}

// msiLong is the long name of "short|long", of where a folder is made of "where:from".
func msiLong(name string) string {
	name, _, _ = strings.Cut(name, ":")
	if _, long, ok := strings.Cut(name, "|"); ok {
		return long
	}
	return name
}

// names are the paths of the files by their keys.
func (d *msiDatabase) names() map[string]string {
	type folder struct{ parent, name string }
	folders, components := map[string]folder{}, map[string]string{}
	d.each("Directory", func(row map[string]string, _ map[string]int64) {
		folders[row["Directory"]] = folder{row["Directory_Parent"], msiLong(row["DefaultDir"])}
	})
	d.each("Component", func(row map[string]string, _ map[string]int64) { components[row["Component"]] = row["Directory_"] })
	known := map[string]string{} // paths of folders
	left := msiMaxPaths
	var path func(id string, depth int) string
	path = func(id string, depth int) string {
		if p, ok := known[id]; ok {
			return p
		}
		f, ok := folders[id]
		if !ok || f.parent == "" || f.parent == id || depth > msiMaxDepth {
			return ""
		}
		name := f.name
		switch {
		case id == "ProgramFilesFolder" || id == "ProgramFiles64Folder":
			name = "Program Files"
		case name == ".":
			name = ""
		}
		p := path(f.parent, depth+1) + "/" + name
		if len(p) > maxPath || len(p) > left {
			p = "" // not made again for each file
		}
		left -= len(p)
		known[id] = p
		return p
	}
	out := map[string]string{}
	d.each("File", func(row map[string]string, _ map[string]int64) {
		key, name := row["File"], msiLong(row["FileName"])
		if key == "" || name == "" || len(name) > maxPath || len(out) >= msiMaxNames {
			return
		}
		if p := cleanPath(path(components[row["Component_"]], 0) + "/" + name); p != "" && len(p) <= left {
			left -= len(p)
			out[key] = p
		}
	})
	return out
}

// cabinets are those beside the installer.
func (d *msiDatabase) cabinets() []string {
	var out []string
	d.each("Media", func(row map[string]string, _ map[string]int64) {
		if name := row["Cabinet"]; name != "" && name[0] != '#' && len(out) < 256 {
			out = append(out, name)
		}
	})
	return out
}
