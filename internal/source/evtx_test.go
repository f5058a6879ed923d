package source

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/realdata"
)

// evtxWriter makes a chunk of an event log, for there is no library that writes one.
type evtxWriter struct {
	b    []byte
	last uint64
}

func newEVTX() *evtxWriter {
	w := &evtxWriter{b: make([]byte, evtxRecords)}
	copy(w.b, "ElfChnk\x00")
	return w
}

func (w *evtxWriter) u16(n int) *evtxWriter {
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(n))
	return w
}

func (w *evtxWriter) u32(n int) *evtxWriter {
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n))
	return w
}

func (w *evtxWriter) bytes(b ...byte) *evtxWriter {
	w.b = append(w.b, b...)
	return w
}

func (w *evtxWriter) string16(s string) *evtxWriter {
	for _, c := range utf16.Encode([]rune(s)) {
		w.u16(int(c))
	}
	return w
}

// name writes a name where it is used.
func (w *evtxWriter) name(s string) *evtxWriter {
	return w.u32(len(w.b) + 4).u32(0).u16(0).u16(len(utf16.Encode([]rune(s)))).string16(s).u16(0)
}

// open begins an element; attribute and value may be "". Within a template dependency stands before the size.
func (w *evtxWriter) open(name, attribute, value string, template bool) *evtxWriter {
	w.bytes(0x41)
	if template {
		w.u16(0xFFFF)
	}
	w.u32(0).name(name).u32(0)
	if attribute != "" {
		w.bytes(0x06).name(attribute).text(value)
	}
	return w.bytes(0x02)
}

func (w *evtxWriter) text(s string) *evtxWriter {
	return w.bytes(0x05, 1).u16(len(utf16.Encode([]rune(s)))).string16(s)
}

func (w *evtxWriter) close() *evtxWriter { return w.bytes(0x04) }

// record writes a record around what content writes.
func (w *evtxWriter) record(content func()) *evtxWriter {
	start := len(w.b)
	w.last++
	w.bytes('*', '*', 0, 0).u32(0)
	w.b = binary.LittleEndian.AppendUint64(w.b, w.last)
	w.b = binary.LittleEndian.AppendUint64(w.b, 0)
	content()
	size := len(w.b) - start + 4
	binary.LittleEndian.PutUint32(w.b[start+4:], uint32(size))
	return w.u32(size)
}

// system writes the System element of an event of Sysmon.
func (w *evtxWriter) system(id string, template bool) *evtxWriter {
	w.open("System", "", "", template).open("Provider", "Name", "Microsoft-Windows-Sysmon", template).close()
	w.open("EventID", "", "", template).text(id).close()
	return w.open("Computer", "", "", template).text("desk").close().close()
}

// plain writes a whole event without a template.
func (w *evtxWriter) plain(id string, data ...string) {
	w.bytes(0x0F, 1, 1, 0).open("Event", "", "", false).system(id, false).open("EventData", "", "", false)
	for i := 0; i+1 < len(data); i += 2 {
		w.open("Data", "Name", data[i], false).text(data[i+1]).close()
	}
	w.close().close().bytes(0)
}

// log ends the chunk and makes a log of chunks.
func (w *evtxWriter) log(more ...*evtxWriter) []byte {
	head := make([]byte, evtxHeader)
	copy(head, "ElfFile\x00")
	binary.LittleEndian.PutUint16(head[42:], uint16(1+len(more)))
	for _, c := range append([]*evtxWriter{w}, more...) {
		chunk := make([]byte, evtxChunk)
		copy(chunk, c.b)
		binary.LittleEndian.PutUint32(chunk[48:], uint32(len(c.b)))
		head = append(head, chunk...)
	}
	return head
}

func md5Field(s string) string { return fmt.Sprintf("MD5=%X", md5.Sum([]byte(s))) }

func started(w *evtxWriter, path string) *evtxWriter {
	return w.record(func() {
		w.plain("1", "UtcTime", "2026-05-01 08:00:00.000", "Image", path, "Hashes", md5Field(path), "ParentImage", `C:\p.exe`)
	})
}

// TestEVTX reads logs made here: whole, and broken in every way.
func TestEVTX(t *testing.T) {
	three := func() *evtxWriter { return started(started(started(newEVTX(), "a"), "b"), "c") }
	second := func(b []byte) int { // where the second record of a log begins
		return evtxHeader + evtxRecords + int(binary.LittleEndian.Uint32(b[evtxHeader+evtxRecords+4:]))
	}
	change := func(f func(b []byte) []byte) []byte { return f(three().log()) }
	for _, test := range []struct {
		name    string
		log     []byte
		paths   string // of the sightings
		refused []string
	}{
		{"whole", three().log(), "a b c", nil},
		{"two chunks and room", append(three().log(started(newEVTX(), "d")), make([]byte, evtxChunk)...), "a b c d", nil},
		{"a template", templated(t).log(), "a b", nil},
		{"no records", newEVTX().log(), "", nil},
		{"header alone", three().log()[:evtxHeader], "", nil},
		{"cut header", three().log()[:100], "", []string{"input: the event log is cut within its header"}},
		{"cut chunk", three().log(started(newEVTX(), "d"))[:evtxHeader+evtxChunk+600], "a b c", []string{"input: chunk 1 is cut after 600 of 65536 bytes"}},
		{"wrong magic of a chunk", change(func(b []byte) []byte { b[evtxHeader] = 'X'; return b }), "", []string{"input: chunk 0 does not begin with ElfChnk"}},
		{"wrong magic of a record", change(func(b []byte) []byte { b[second(b)] = 'X'; return b }), "a c", []string{"input: chunk 0 is not readable from byte 1324 to 2136"}},
		{"a size too small", change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[second(b)+4:], 5); return b }), "a c", []string{"input: chunk 0 is not readable from byte 1324 to 2136"}},
		{"a size too large", change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[second(b)+4:], 1<<31); return b }), "a c", []string{"input: chunk 0 is not readable from byte 1324 to 2136"}},
		{"no such token", change(func(b []byte) []byte { b[second(b)+evtxRecordHeader] = 0x3F; return b }), "a c", []string{"input: line 2: not readable in chunk 0: no such token: 0x3f at byte 1348"}},
		{"records that the chunk does not count yet", change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[evtxHeader+48:], evtxRecords); return b }), "a b c", nil},
		{"what is left of older records", change(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[evtxHeader+48:], uint32(second(b)-evtxHeader))
			b[second(b)+8] = 77
			return b
		}), "a", nil},
		{"an end beyond the chunk", change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[evtxHeader+48:], 1<<32-1); return b }), "a b c", []string{"input: chunk 0 is not readable from byte 2948 to 65536"}},
		{"many values claimed", values(1<<30-1, 0).log(), "", []string{"input: line 1: not readable in chunk 0: it goes beyond its end"}},
		{"a long value claimed", values(1, 0xFFFF).log(), "", []string{"input: line 1: not readable in chunk 0: it goes beyond its end"}},
		{"a template in itself", nested(1).log(), "", []string{"input: line 1: not readable in chunk 0: it unfolds to too much"}},
		{"a template twice in itself", nested(2).log(), "", []string{"input: line 1: not readable in chunk 0: it unfolds to too much"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, result := read(t, bytes.NewReader(test.log), Options{})
			if result.Format != SysmonEVTX {
				t.Errorf("recognised as %q", result.Format)
			}
			checkAll(t, k)
			var paths, refused []string
			for line := range strings.Lines(string(ndjson(t, k.observations))) {
				if _, path, ok := strings.Cut(line, `"sighting":{"path":"`); ok {
					path, _, _ = strings.Cut(path, `","host":"desk"`)
					paths = append(paths, path)
				}
			}
			for _, r := range k.refusals {
				refused = append(refused, r.Error())
			}
			if diff := cmp.Diff(test.paths, strings.Join(paths, " ")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.refused, refused); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// templated makes two records by one template: the second names it by its place. The values are of several types.
func templated(t *testing.T) *evtxWriter {
	t.Helper()
	w := newEVTX()
	at := 0
	instance := func(path string) {
		w.bytes(0x0F, 1, 1, 0, 0x0C, 1).u32(7)
		if at == 0 {
			at = len(w.b) + 4
			w.u32(at).u32(0).bytes(make([]byte, 16)...)
			size := len(w.b)
			w.u32(0).bytes(0x0F, 1, 1, 0).open("Event", "", "", true)
			w.open("System", "", "", true).open("Provider", "Name", "Microsoft-Windows-Sysmon", true).close()
			w.open("EventID", "", "", true).bytes(0x0E).u16(0).bytes(6).close()
			w.open("Computer", "", "", true).bytes(0x0D).u16(1).bytes(1).close().close()
			w.bytes(0x0E).u16(2).bytes(0x21).close().bytes(0)
			binary.LittleEndian.PutUint32(w.b[size:], uint32(len(w.b)-size-4))
		} else {
			w.u32(at)
		}
		// The value 2 is binary XML in itself: written apart first, to know its size, for its offsets count from where it stands.
		table := len(w.b) + 4
		data := func(start int) []byte {
			v := &evtxWriter{b: make([]byte, start)}
			v.open("EventData", "", "", false)
			for _, f := range [][2]string{{"UtcTime", "2026-05-01 08:00:00.000"}, {"Image", path}, {"Hashes", md5Field(path)}} {
				v.open("Data", "Name", f[0], false).text(f[1]).close()
			}
			return v.close().bytes(0).b[start:]
		}
		start := table + 3*4 + 2 + 8
		b := data(start)
		w.u32(3).u16(2).u16(6).u16(8).u16(1).u16(len(b)).u16(0x21)
		w.u16(1).string16("desk").bytes(b...)
		w.bytes(0)
	}
	w.record(func() { instance("a") })
	return w.record(func() { instance("b") })
}

// values makes an instance that claims count values, the first of them of the given size.
func values(count, size int) *evtxWriter {
	w := newEVTX()
	return w.record(func() {
		w.bytes(0x0C, 1).u32(1).u32(len(w.b) + 4).u32(0).bytes(make([]byte, 16)...).u32(1).bytes(0)
		w.u32(count).u16(size).u16(1)
	})
}

// nested makes a template that holds n instances of itself.
func nested(n int) *evtxWriter {
	w := newEVTX()
	return w.record(func() {
		w.bytes(0x0C, 1).u32(1)
		at := len(w.b) + 4
		w.u32(at).u32(0).bytes(make([]byte, 16)...).u32(n*14 + 1)
		for range n {
			w.bytes(0x0C, 1).u32(1).u32(at).u32(0)
		}
		w.bytes(0).u32(0)
	})
}

// TestEVTXReal reads the real logs, the broken ones too.
func TestEVTXReal(t *testing.T) {
	dir := realdata.Path(t, "telemetry", "evtx-omerbenamram")
	type figures struct {
		Result       Result
		Observations int
		Refusals     int
	}
	got := map[string]figures{}
	logs, err := filepath.Glob(filepath.Join(dir, "*.evtx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		k, result := read(t, f, Options{})
		checkAll(t, k)
		got[filepath.Base(path)] = figures{result, len(k.observations), len(k.refusals)}
	}
	for name, want := range map[string]figures{
		"sysmon.evtx":                        {Result{Format: SysmonEVTX, Records: 358, Used: 231, Other: 127}, 499, 0},
		"Application_no_crc32.evtx":          {Result{Format: SysmonEVTX, Records: 17, Other: 17}, 0, 0},
		"issue_201.evtx":                     {Result{Format: SysmonEVTX, Records: 1, Other: 1}, 0, 0},
		"sample_with_a_bad_chunk_magic.evtx": {Result{Format: SysmonEVTX, Records: 298, Other: 298}, 0, 5},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// FuzzEVTX reads foreign bytes as one chunk.
func FuzzEVTX(f *testing.F) {
	for _, w := range []*evtxWriter{started(newEVTX(), "a"), values(1, 2), nested(2)} {
		f.Add(w.b)
	}
	shared := os.Getenv("SPOOR_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	if b, err := os.ReadFile(filepath.Join(shared, "data", "telemetry", "evtx-omerbenamram", "sysmon.evtx")); err == nil {
		f.Add(b[evtxHeader : evtxHeader+evtxChunk])
	}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		log := make([]byte, evtxHeader, evtxHeader+evtxChunk)
		copy(log, "ElfFile\x00")
		log[42] = 1
		log = append(log, chunk[:min(len(chunk), evtxChunk)]...)
		log = append(log, make([]byte, evtxHeader+evtxChunk-len(log))...)
		fuzzRead(t, log, Options{Format: SysmonEVTX})
	})
}
