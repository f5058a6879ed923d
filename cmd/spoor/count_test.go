package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/dossier"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/realdata"
	"spoor/internal/store"
)

// TestCount imports real Sysmon logs and holds every answer against a count of the same logs that shares no code with the readers: it
// decodes each line into a map and adds up.
func TestCount(t *testing.T) {
	const sets = "otrf-security-datasets/"
	var paths []string
	for _, p := range []string{sets + "atomic", sets + "compound/Log4Shell", "splunk-attack-data/T1027", "splunk-attack-data/T1047"} {
		paths = append(paths, realdata.Path(t, "telemetry", filepath.FromSlash(p)))
	}
	c := &count{t: t, tie: map[string]string{}, met: map[[32]byte]bool{}, files: map[string]*countedFile{}}
	for _, p := range paths {
		c.unpack(p)
	}
	c.sum()
	if c.events < 10_000 || len(c.files) < 1000 {
		t.Fatalf("the count found %d events of %d files: it counts too little to prove anything", c.events, len(c.files))
	}

	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	im := ingest.Importer{Recorder: s}
	if _, err := im.Import(t.Context(), paths, nil); err != nil {
		t.Fatal(err)
	}
	again, err := im.Import(t.Context(), paths, nil)
	if err != nil || again.Accepted != 0 {
		t.Fatalf("imported again, %d observations were taken for new (%v)", again.Accepted, err)
	}

	query := dossier.Query{Sections: []dossier.Section{dossier.FileGeneralInfo, dossier.FilePaths, dossier.FileNames, dossier.Hosts,
		dossier.FileStartedObjects, dossier.FileStartedBy, dossier.FileDownloadedFromUrls, dossier.FileDownloadedBy}}
	for _, hash := range slices.Sorted(maps.Keys(c.tie)) {
		file := c.files[c.root(hash)]
		if file == nil {
			continue // the hash of an alternate stream, which is no file
		}
		h, err := intel.ParseHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), h, query)
		if err != nil {
			t.Errorf("%s: %v", hash, err)
			continue
		}
		if diff := cmp.Diff(file.told(), c.answer(d)); diff != "" {
			t.Errorf("%s (-count +answer):\n%s", hash, diff)
		}
		// A file may bear several signatures; which of them is shown is not counted.
		signer := fmt.Sprintf("signer %s %v", d.General.Signer, d.General.SignerStatus == intel.Trusted)
		if signed := file.signed(); d.General.Signer == "" && signed || d.General.Signer != "" && file.rows[signer] == 0 {
			t.Errorf("%s: the answer says %q; the count: signed is %v", hash, signer, signed)
		}
		if t.Failed() {
			return // one file's difference says enough
		}
	}
	t.Logf("%d events, %d files, %d hashes", c.events, len(c.files), len(c.tie))
}

// count adds up what the logs say. Texts that stand for a fact carry its name and object; the number is how often it was met.
type count struct {
	t      *testing.T
	met    map[[32]byte]bool // contents of inputs
	tie    map[string]string // hashes of one file lead to one of them
	events int
	facts  []countedFact
	files  map[string]*countedFile
}

type countedFact struct {
	hash   string // of the file that it is of
	name   string // "path", "host", …
	object string
	other  string // a hash of the other file, if it has one; object is its path else
	time   string // to the minute
}

type countedFile struct {
	first, last string
	rows        map[string]int
	latest      map[string]string // of the rows that have a date of their own
}

func (f *countedFile) told() []string {
	out := []string{fmt.Sprintf("seen %s to %s", f.first, f.last)}
	for row, n := range f.rows {
		switch {
		case strings.HasPrefix(row, "url "):
			out = append(out, fmt.Sprintf("%s %s", row, f.latest[row])) // a URL's row tells no number
		case strings.HasPrefix(row, "signer "):
		default:
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s ×%d %s", row, n, f.latest[row])))
		}
	}
	slices.Sort(out)
	return out
}

func (f *countedFile) signed() bool {
	for row := range f.rows {
		if strings.HasPrefix(row, "signer ") {
			return true
		}
	}
	return false
}

func (c *count) root(hash string) string {
	for c.tie[hash] != hash {
		hash = c.tie[hash]
	}
	return hash
}

// unpack counts every log below a folder.
func (c *count) unpack(folder string) {
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(name, ".zip"):
			z, err := zip.OpenReader(name)
			if err != nil {
				return err
			}
			defer z.Close()
			for _, m := range z.File {
				if strings.HasPrefix(m.Name, "__MACOSX") || strings.HasSuffix(m.Name, "/") {
					continue
				}
				r, err := m.Open()
				if err != nil {
					return err
				}
				c.input(r)
			}
		case strings.HasSuffix(name, ".tar.gz"):
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				return err
			}
			for r := tar.NewReader(z); ; {
				h, err := r.Next()
				if err != nil { // its end, or what stands behind the packed bytes of one of these files
					return nil
				}
				if h.Typeflag == tar.TypeReg {
					c.input(r)
				}
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// minute is how answers give a date.
func minute(utc string) string {
	if len(utc) < 16 {
		return ""
	}
	return utc[:10] + "T" + utc[11:16] + "Z"
}

var (
	hashPart = regexp.MustCompile(`(MD5|SHA1|SHA256)=([0-9A-Fa-f]+)`)
	hostURL  = regexp.MustCompile(`HostUrl=(\S+://\S+)`)
)

// input counts one log: an object a line.
func (c *count) input(r io.Reader) {
	raw, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		c.t.Fatal(err)
	}
	if sum := sha256.Sum256(raw); c.met[sum] {
		return
	} else {
		c.met[sum] = true
	}
	type process struct{ hash, path string }
	type mark struct{ file, guid string }
	processes := map[string]process{}
	written := map[mark]string{}
	var starts, marks []map[string]any
	lines := map[string]bool{}
	for line := range strings.SplitSeq(string(raw), "\n") {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "Microsoft-Windows-Sysmon") || !strings.Contains(line, "Hash") || lines[line] {
			continue
		}
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			c.t.Fatalf("%v: %.80s", err, line)
		}
		e := countedEvent(o)
		if e == nil {
			continue
		}
		lines[line] = true
		id := fmt.Sprint(e["id"])
		carrier := map[string]string{"1": "Image", "6": "ImageLoaded", "7": "ImageLoaded",
			"15": "TargetFilename", "23": "TargetFilename", "26": "TargetFilename", "29": "TargetFilename"}[id]
		if carrier == "" {
			continue
		}
		c.events++
		field := func(name string) string { s, _ := e[name].(string); return s }
		path, at := field(carrier), minute(field("UtcTime"))
		hash := ""
		for _, m := range hashPart.FindAllStringSubmatch(field("Hashes")+","+field("Hash"), -1) {
			h := strings.ToUpper(m[2])
			if c.tie[h] == "" {
				c.tie[h] = h
			}
			if hash == "" {
				hash = h
			}
			c.tie[c.root(h)] = c.root(hash)
		}
		e["hash"], e["guid"], e["parent"] = hash, strings.ToLower(strings.Trim(field("ProcessGuid"), "{}")), strings.ToLower(strings.Trim(field("ParentProcessGuid"), "{}"))
		if id == "15" && strings.Count(path, ":") > 1 {
			if strings.HasSuffix(path, ":Zone.Identifier") {
				marks = append(marks, e)
			}
			continue
		}
		if hash == "" {
			continue
		}
		add := func(name, object string) {
			if object != "" {
				c.facts = append(c.facts, countedFact{hash: hash, name: name, object: object, time: at})
			}
		}
		add("hits", "of all")
		add("path", path)
		add("name", path[strings.LastIndex(path, `\`)+1:])
		add("host", field("host"))
		switch id {
		case "1":
			if _, ok := processes[field("guid")]; !ok {
				processes[field("guid")] = process{hash, path}
			}
			starts = append(starts, e)
		case "6", "7":
			if signer := field("Signature"); signer != "" && signer != "-" {
				add("signer", signer+" "+fmt.Sprint(field("SignatureStatus") == "Valid"))
			}
		case "15":
			written[mark{path, field("guid")}] = hash
		}
	}
	for _, e := range starts {
		hash, at := e["hash"].(string), minute(e["UtcTime"].(string))
		image, _ := e["Image"].(string)
		parentImage, _ := e["ParentImage"].(string)
		if p, ok := processes[e["parent"].(string)]; ok {
			c.facts = append(c.facts, countedFact{hash, "started by", "", p.hash, at}, countedFact{p.hash, "started", image, hash, at})
		} else if parentImage != "" && parentImage != "-" {
			c.facts = append(c.facts, countedFact{hash, "started by", parentImage, "", at})
		}
	}
	told := map[string]bool{}
	for _, e := range marks {
		path, guid := strings.TrimSuffix(e["TargetFilename"].(string), ":Zone.Identifier"), e["guid"].(string)
		hash, at := written[mark{path, guid}], minute(e["UtcTime"].(string))
		if hash == "" {
			continue
		}
		by, _ := e["Image"].(string)
		p := processes[guid]
		if key := path + guid; !told[key] {
			told[key] = true
			c.facts = append(c.facts, countedFact{hash, "downloaded by", by, p.hash, at})
		}
		contents, _ := e["Contents"].(string)
		if m := hostURL.FindStringSubmatch(contents); m != nil && !told[path+guid+m[1]] {
			told[path+guid+m[1]] = true
			c.facts = append(c.facts, countedFact{hash, "url", m[1], "", at})
		}
	}
}

// countedEvent brings the shapes that these logs have to one: the event's data, and its id and host. nil when it is not Sysmon's.
func countedEvent(o map[string]any) map[string]any {
	data := map[string]any{}
	maps.Copy(data, o)
	provider, id, host := o["SourceName"], o["EventID"], o["Hostname"]
	switch {
	case o["event_data"] != nil: // winlogbeat 6
		data, _ = o["event_data"].(map[string]any)
		provider, id, host = o["source_name"], o["event_id"], o["computer_name"]
	case o["EventData"] != nil && o["Provider"] != nil: // Azure
		text, _ := o["EventData"].(string)
		if json.Unmarshal([]byte(text), &data) != nil {
			return nil
		}
		provider, host = o["Provider"], o["Computer"]
	case provider == nil && o["Channel"] == "Microsoft-Windows-Sysmon/Operational": // one set keeps the channel alone
		provider = "Microsoft-Windows-Sysmon"
	}
	if data == nil || provider != "Microsoft-Windows-Sysmon" {
		return nil
	}
	data["id"], data["host"] = id, host
	return data
}

// sum adds up the facts of each file, once all ties are known.
func (c *count) sum() {
	for _, f := range c.facts {
		root := c.root(f.hash)
		file := c.files[root]
		if file == nil {
			file = &countedFile{rows: map[string]int{}, latest: map[string]string{}}
			c.files[root] = file
		}
		row := f.name + " " + f.object
		if f.other != "" {
			row = f.name + " file " + c.root(f.other)
		}
		file.rows[row]++
		switch f.name {
		case "hits":
			if file.first == "" || f.time < file.first {
				file.first = f.time
			}
			file.last = max(file.last, f.time)
		case "started", "started by", "downloaded by", "url":
			file.latest[row] = max(file.latest[row], f.time)
		}
	}
}

// answer tells a dossier as a countedFile does.
func (c *count) answer(d *dossier.Dossier) []string {
	const layout = "2006-01-02T15:04Z"
	out := []string{
		fmt.Sprintf("seen %s to %s", d.General.FirstSeen.Format(layout), d.General.LastSeen.Format(layout)),
		fmt.Sprintf("hits of all ×%d", d.General.Hits),
	}
	for _, r := range d.Paths {
		out = append(out, fmt.Sprintf("path %s ×%d", r.Path, r.Hits))
	}
	for _, r := range d.Names {
		out = append(out, fmt.Sprintf("name %s ×%d", r.Name, r.Hits))
	}
	for _, r := range d.Hosts {
		out = append(out, fmt.Sprintf("host %s ×%d", r.Host, r.Hits))
	}
	for _, r := range d.DownloadedFrom {
		out = append(out, fmt.Sprintf("url %s %s", r.URL, r.Last.Format(layout)))
	}
	for name, rows := range map[string][]dossier.FileRow{"started": d.Started, "started by": d.StartedBy, "downloaded by": d.DownloadedBy} {
		for _, r := range rows {
			object := r.Path
			if h := r.File.Strongest(); !h.IsZero() {
				object = "file " + c.root(strings.ToUpper(h.String()))
			}
			out = append(out, fmt.Sprintf("%s %s ×%d %s", name, object, r.Hits, r.Last.Format(layout)))
		}
	}
	slices.Sort(out)
	return out
}
