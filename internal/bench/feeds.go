package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/intel"
	spoorpebble "spoor/internal/kv/pebble"
	"spoor/internal/store"
)

// feeds measures what comes as lists and logs of other makers: a large table of known-good files, imported by a process of its own so that its
// memory can be told, and a file each of STIX, CSV and Zeek's logs.
func feeds(ctx context.Context, o *Options, dir string) ([]Result, error) {
	results, err := knownGood(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, format string
		target       float64 // MB/s
		write        func(w *bufio.Writer, size int64) error
		in           Input
	}{
		{"STIX", "stix", 20, writeSTIX, Input{}},
		{"CSV", "csv", 50, writeCSV, Input{Feed: "bench"}},
		{"Zeek TSV", "zeek", 50, writeZeek, Input{}},
	} {
		name := "import of " + f.name
		if !slices.ContainsFunc(o.Formats, func(known string) bool { return strings.HasPrefix(known, f.format) }) {
			results = append(results, told(name+" (this program does not read it: not measured)", 0, "MB/s"))
			continue
		}
		const size = 64 << 20 // more of Zeek's files.log in one folder than is kept for its http.log would be told, and is another figure
		o.say("writing %d MB of %s", size>>20, f.name)
		f.in.File = filepath.Join(dir, "feed."+f.format)
		if err := write(f.in.File, size, f.write); err != nil {
			return nil, err
		}
		o.say("importing them")
		start := time.Now()
		if err := o.Import(ctx, filepath.Join(dir, f.format), f.in); err != nil {
			return nil, fmt.Errorf("importing %s: %w", f.name, err)
		}
		results = append(results, reaches(name, float64(size)/1e6/time.Since(start).Seconds(), "MB/s", f.target))
		if err := os.Remove(f.in.File); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// knownGood imports a table in the shape of NSRL's, sorted by SHA-256, and looks some of its files up by each of their hashes.
func knownGood(ctx context.Context, o *Options, dir string) ([]Result, error) {
	size := int64(5e9)
	if o.Quick {
		size = 5e8
	}
	o.say("writing a table of known-good files, %d MB", size/1e6)
	in := Input{File: filepath.Join(dir, "known-good.csv"), Format: "hashes", Feed: "NSRL", KnownGood: true}
	var files uint64
	if err := write(in.File, size, func(w *bufio.Writer, size int64) (err error) { files, err = writeKnownGood(w, size); return err }); err != nil {
		return nil, err
	}
	defer os.Remove(in.File)
	o.say("importing it in a process of its own")
	data := filepath.Join(dir, "known-good")
	start := time.Now()
	memory, err := o.ImportApart(ctx, data, in)
	if err != nil {
		return nil, fmt.Errorf("importing known-good files: %w", err)
	}
	rate := float64(files) / time.Since(start).Seconds()
	disk, err := checkKnownGood(ctx, o.StoreDir(data), files)
	if err != nil {
		return nil, err
	}
	results := []Result{
		reaches("known-good hashes imported a second", 3*rate, "hashes/s", 1e6),
		told("known-good files imported a second, of three hashes each", rate, "files/s"),
		below("bytes on disk a known-good file", float64(disk)/float64(files), "bytes", 120),
	}
	if memory == 0 {
		return append(results, told("memory while importing (this system does not tell it)", 0, "MB")), nil
	}
	return append(results, below(fmt.Sprintf("memory while importing %.1f GB, greatest", float64(size)/1e9), float64(memory)/1e6, "MB", 500)), nil
}

// checkKnownGood looks up some of the files by each of their hashes and returns the store's size on disk, at rest.
func checkKnownGood(ctx context.Context, dir string, files uint64) (disk uint64, err error) {
	engine, err := spoorpebble.Open(dir, spoorpebble.Options{})
	if err != nil {
		return 0, err
	}
	s, err := store.New(engine, store.Options{})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	const looked = 500
	for i := range uint64(looked) {
		h := knownGoodFile(i*(files-1)/(looked-1), files)
		for _, one := range []intel.Hash{h.MD5, h.SHA1, h.SHA256} {
			f, err := s.View(intel.TLPRed).Recall(ctx, one, 0)
			if err != nil {
				return 0, fmt.Errorf("looking up a known-good file: %w", err)
			}
			if f.Head.File != h || len(f.Head.Listings) != 1 || f.Head.Listings[0].Value.Zone != intel.Green || f.Head.Listings[0].Tally.Count != 1 {
				return 0, fmt.Errorf("looking up known-good %s: its listings are %v: %w", one, f.Head.Listings, intel.ErrUnavailable)
			}
		}
	}
	if err := engine.Flush(); err != nil {
		return 0, err
	}
	for quiet := 0; quiet < 5; quiet++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if engine.Busy() {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	return engine.Stats().DiskBytes, nil
}

// knownGoodFile is the i-th of n files in the order of their SHA-256.
func knownGoodFile(i, n uint64) intel.Hashes {
	h := hashesOf(int(i))
	b := h.SHA256.Bytes()
	step := math.MaxUint64 / n
	binary.BigEndian.PutUint64(b, i*step+binary.BigEndian.Uint64(b)%step)
	h.SHA256, _ = intel.HashFromBytes(intel.SHA256, b)
	return h
}

// write writes a file of about size bytes.
func write(file string, size int64, content func(*bufio.Writer, int64) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = content(w, size)
	if err == nil {
		err = w.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// writeKnownGood writes about size bytes of lines like those of NSRL's FILE table and returns how many files they are.
func writeKnownGood(w *bufio.Writer, size int64) (files uint64, err error) {
	const line = 190 // bytes, about
	files = uint64(size / line)
	if _, err := w.WriteString("sha256,sha1,md5,crc32,file_name,file_size,package_id\n"); err != nil {
		return 0, err
	}
	var b []byte
	for i := range files {
		h := knownGoodFile(i, files)
		b = fmt.Appendf(b[:0], "%X,%X,%X,%08X,msvc-runtime-%d.dll,%d,%d\n", h.SHA256.Bytes(), h.SHA1.Bytes(), h.MD5.Bytes(), uint32(i*2654435761), i%1_000_000, 1000+i%9_000_000, i%70_000)
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
	}
	return files, nil
}

// writeSTIX writes a bundle of indicators, each for one file with its hashes, and what they indicate.
func writeSTIX(w *bufio.Writer, size int64) error {
	const at = `"spec_version":"2.1","created":"2026-01-01T10:00:00.000Z","modified":"2026-01-02T10:00:00.000Z"`
	b := []byte(`{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[` + "\n" +
		`{"type":"identity","id":"identity--00000000-0000-4000-8000-000000000001",` + at + `,"name":"Bench","identity_class":"organization"}`)
	for n, written := 0, int64(0); written < size; n++ {
		h := hashesOf(n)
		if n%50 == 0 {
			b = fmt.Appendf(b, ",\n"+`{"type":"malware","id":"malware--00000000-0000-4000-8001-%012x",%s,"created_by_ref":"identity--00000000-0000-4000-8000-000000000001","name":"Family%d","is_family":true,"malware_types":["trojan"]}`, n, at, n/50)
		}
		b = fmt.Appendf(b, ",\n"+`{"type":"indicator","id":"indicator--00000000-0000-4000-8002-%012x",%s,"created_by_ref":"identity--00000000-0000-4000-8000-000000000001","name":"Family%d sample","description":"A file that was seen with Family%d.","indicator_types":["malicious-activity"],"pattern":"[file:hashes.'MD5' = '%s' OR file:hashes.'SHA-1' = '%s' OR file:hashes.'SHA-256' = '%s']","pattern_type":"stix","valid_from":"2026-01-01T10:00:00Z","labels":["malware"]}`,
			n, at, n/50, n/50, h.MD5, h.SHA1, h.SHA256)
		b = fmt.Appendf(b, ",\n"+`{"type":"relationship","id":"relationship--00000000-0000-4000-8003-%012x",%s,"relationship_type":"indicates","source_ref":"indicator--00000000-0000-4000-8002-%012x","target_ref":"malware--00000000-0000-4000-8001-%012x"}`, n, at, n, n/50*50)
		if _, err := w.Write(b); err != nil {
			return err
		}
		written += int64(len(b))
		b = b[:0]
	}
	_, err := w.WriteString("\n]}\n")
	return err
}

// writeCSV writes a feed of files as many are written: a header, quoted fields, a name for the threat.
func writeCSV(w *bufio.Writer, size int64) error {
	b := []byte(`"first_seen_utc","sha256_hash","md5_hash","sha1_hash","reporter","file_name","file_type","signature"` + "\n")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n, written := 0, int64(0); written < size; n++ {
		h := hashesOf(n)
		b = fmt.Appendf(b, `"%s","%s","%s","%s","reporter%d","invoice, %d.exe","exe","Family%d"`+"\n",
			at.Add(time.Duration(n)*time.Second).Format(time.DateTime), h.SHA256, h.MD5, h.SHA1, n%90, n, n%300)
		if _, err := w.Write(b); err != nil {
			return err
		}
		written += int64(len(b))
		b = b[:0]
	}
	return nil
}

// writeZeek writes a files.log in columns, as sensors write it that make all three hashes.
func writeZeek(w *bufio.Writer, size int64) error {
	b := []byte("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tfiles\n#open\t2026-01-01-00-00-00\n" +
		"#fields\tts\tfuid\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tsource\tdepth\tanalyzers\tmime_type\tfilename\tduration\tlocal_orig\tis_orig\tseen_bytes\ttotal_bytes\tmissing_bytes\toverflow_bytes\ttimedout\tparent_fuid\tmd5\tsha1\tsha256\textracted\textracted_cutoff\textracted_size\n" +
		"#types\ttime\tstring\tstring\taddr\tport\taddr\tport\tstring\tcount\tset[string]\tstring\tstring\tinterval\tbool\tbool\tcount\tcount\tcount\tcount\tbool\tstring\tstring\tstring\tstring\tstring\tbool\tcount\n")
	g := newGenerator(11, 50_000)
	for n, written := 0, int64(0); written < size; n++ {
		i := int(g.zipf.Uint64())
		h := hashesOf(i)
		b = fmt.Appendf(b, "%d.%06d\tF%016x\tC%016x\t10.0.%d.%d\t%d\t198.51.100.%d\t80\tHTTP\t0\tSHA256,MD5,SHA1,PE\tapplication/x-dosexec\tsetup_%d.exe\t0.015\tF\tF\t%d\t%d\t0\t0\tF\t-\t%s\t%s\t%s\t-\t-\t-\n",
			1767225600+n/100, n%1_000_000, n, n/2, n%40, n%250+1, 49152+n%16000, i%250+1, i, 1000+i*7, 1000+i*7, h.MD5, h.SHA1, h.SHA256)
		if _, err := w.Write(b); err != nil {
			return err
		}
		written += int64(len(b))
		b = b[:0]
	}
	_, err := w.WriteString("#close\t2026-01-02-00-00-00\n")
	return err
}
