package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

func TestSTIXPattern(t *testing.T) {
	for _, test := range []struct{ pattern, fault string }{
		{`[a:b = 1]`, ""},
		{`  [ a:b = 1.5 ]  `, ""},
		{"[a:b\n=\t'x']", ""},
		{`[a:b = 'it\'s \\ C:\Windows']`, ""},
		{`[a:b = true AND a:c = t'2026-01-01T00:00:00Z' AND a:d = h'00Ff' AND a:e = b'AA==']`, ""},
		{`[a:b IN (1, 2,3) OR NOT a:c[*].'d e'[3].f NOT LIKE '%x_' AND EXISTS a:g]`, ""},
		{`[a:b ISSUBSET '192.0.2.0/24' AND a:b NOT ISSUPERSET 'x' OR a:b MATCHES '^x$']`, ""},
		{`[a:b < 1 AND a:b <= 1 AND a:b > 1 AND a:b >= -1 AND a:b != 1 AND a:b == 1 AND a:b <> 2]`, ""},
		{`([a:b=1] AND [a:b=2] OR [a:b=3]) FOLLOWEDBY [a:b=4] WITHIN 5 SECONDS REPEATS 2 TIMES START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'`, ""},
		{`([a:b=1]) WITHIN 1.5 SECONDS`, ""},
		{`[((a:b=1))]`, ""},
		{`[a:b=1 and (a:c=2 or a:d=3)]`, ""},
		{``, `at character 1: the end instead of "["`},
		{`[]`, `at character 2: "]" instead of an object's path`},
		{`[a:b = 1`, `at character 9: the end instead of "]"`},
		{`[a:b = 1] x`, `at character 11: "x" does not belong there`},
		{`[a:b = 'x]`, `at character 8: a text without its end`},
		{`[a:b = x]`, `at character 8: "x" instead of a value in quotes`},
		{`[a:b x 1]`, `at character 6: "x": no comparison; one of = != < <= > >= IN LIKE MATCHES ISSUBSET ISSUPERSET is`},
		{`[a = 1]`, `at character 4: "=" instead of ":"`},
		{`[a:b = 1] WITHIN x SECONDS`, `at character 18: "x" instead of a number`},
		{`[a:b = h'0']`, `at character 9: "0" is no hex`},
		{`[a:b[x] = 1]`, `at character 6: "x" instead of an index`},
		{`[a:b IN ()]`, `at character 10: ")" instead of a value`},
		{`[a:b = 1; c]`, `at character 9: ';' does not belong there`},
		{strings.Repeat("(", 100_000), `at character 66: nested too deeply`},
		{"[" + strings.Repeat("(", 100_000), `at character 66: nested too deeply`},
		{"[a:b IN (1" + strings.Repeat(",1", maxPatternValues) + ")]", fmt.Sprintf("at character %d: more than %d values", 2*maxPatternValues+8, maxPatternValues)},
	} {
		_, err := parseStixPattern(test.pattern)
		if got := fmt.Sprint(err); got != test.fault && (err != nil || test.fault != "") {
			t.Errorf("%.80s: %s, want %s", test.pattern, got, test.fault)
		}
	}
}

func TestSTIXPatternValues(t *testing.T) {
	found, err := parseStixPattern(`[file:name = 'a\'b\\c\d' AND x:'y z'[*].w NOT IN ('1', 2)] AND [EXISTS q:r]`)
	if err != nil {
		t.Fatal(err)
	}
	want := []*stixExpression{
		{of: []*stixExpression{
			{test: &stixTest{object: "file", path: []string{"name"}, op: "=", values: []string{`a'b\c\d`}}},
			{test: &stixTest{object: "x", path: []string{"y z", "*", "w"}, op: "IN", not: true, values: []string{"1", "2"}}},
		}},
		{test: &stixTest{object: "q", path: []string{"r"}, op: "EXISTS"}},
	}
	if diff := cmp.Diff(want, found, cmp.AllowUnexported(stixExpression{}, stixTest{})); diff != "" {
		t.Error(diff)
	}
}

// stixOf makes n indicators of files, a relation of each to one malware, and a report of every hundred.
func stixOf(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		fmt.Fprint(w, `{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000001","objects":[{"type":"malware","id":"malware--1","name":"Redcap"}`)
		for i := range n {
			fmt.Fprintf(w, `,{"type":"indicator","spec_version":"2.1","id":"indicator--%d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"a file of the kind","indicator_types":["malicious-activity"],"pattern":"[file:hashes.'SHA-256' = '%064x']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`, i, i)
		}
		for i := range n {
			fmt.Fprintf(w, `,{"type":"relationship","spec_version":"2.1","id":"relationship--%d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","relationship_type":"indicates","source_ref":"indicator--%d","target_ref":"malware--1"}`, i, i)
		}
		fmt.Fprint(w, `]}`)
		w.Close()
	}()
	return r
}

// TestSTIXMany: relations that come long after what they relate.
func TestSTIXMany(t *testing.T) {
	const n = 20_000
	k, result := read(t, stixOf(n), Options{Now: testNow})
	if len(k.observations) != n || len(k.refusals) != 0 || result.Records != 2*n+1 {
		t.Fatalf("%d observations, %d refusals, %+v", len(k.observations), len(k.refusals), result)
	}
	for i, o := range k.observations {
		if l, ok := o.Fact.(intel.Listing); !ok || l.Threat != "Redcap" || o.File.SHA256.String() != fmt.Sprintf("%064x", i) {
			t.Fatalf("%d: %+v", i, o)
		}
	}
}

// TestSTIXHostile: what is small stays small, what is deep is refused, what is wrong in the middle does not hide what follows.
func TestSTIXHostile(t *testing.T) {
	good := `{"type":"indicator","id":"indicator--1","pattern":"[file:hashes.MD5 = '0123456789abcdef0123456789abcdef']"}`
	var reports strings.Builder
	reports.WriteString(`{"type":"bundle","objects":[{"type":"indicator","id":"indicator--1","pattern":"[file:hashes.MD5 IN (`)
	for i := range 2000 {
		fmt.Fprintf(&reports, `'%032x',`, i)
	}
	reports.WriteString(`'ffffffffffffffffffffffffffffffff')]"}`)
	for i := range 2000 {
		fmt.Fprintf(&reports, `,{"type":"report","id":"report--%d","object_refs":["indicator--1"]}`, i)
	}
	reports.WriteString(`]}`)
	for name, test := range map[string]struct {
		in           string
		observations int // at most
		least        int
		refusal      string
	}{
		"deep":      {strings.Repeat("[", 1_000_000) + "\n" + good, 1, 1, "nested too deeply"},
		"objects":   {strings.Repeat(`{"a":`, 1_000_000) + "\n" + good, 1, 1, "nested too deeply"},
		"long":      {`{"type":"indicator","id":"indicator--2","x":[` + strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 5000) + `1]}` + "\n" + good, 1, 1, "longer than"},
		"text":      {`{"type":"indicator","id":"indicator--1","description":"` + strings.Repeat("é", maxJSONText) + `","pattern":"[file:hashes.MD5 = '0123456789abcdef0123456789abcdef']"}`, 1, 1, ""},
		"escapes":   {`{"type":"indicator","id":"indicator--2","x":"` + strings.Repeat(`\\`, 2<<20) + `"}` + "\n" + good, 1, 1, ""},
		"surplus":   {`[` + good + `,,{"a":1,},]`, 1, 1, ""},
		"brackets":  {`{"type":"bundle","objects":[{"type":"indicator"]}` + "\n" + good, 1, 1, "does not belong there"},
		"quotes":    {`{"type":"bundle","objects":[{"type":"indic` + "\n" + good + "\n]}", 1, 1, "does not end on its line"},
		"reports":   {reports.String(), 2001 + 64 + reports.Len()/16, 2001, "too many reports"},
		"self":      {`{"type":"bundle","objects":[{"type":"file","id":"file--1","hashes":{"MD5":"0123456789abcdef0123456789abcdef"},"contains_refs":["file--1"]}]}`, 0, 0, ""},
		"no values": {`{"type":"indicator","id":5,"pattern":{},"labels":"x","kill_chain_phases":[1],"external_references":"x"}`, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := read(t, strings.NewReader(test.in), Options{Format: STIX, Now: testNow})
			checkAll(t, k)
			if n := len(k.observations); n > test.observations || n < test.least {
				t.Errorf("%d observations", n)
			}
			if test.refusal == "" {
				if len(k.refusals) != 0 {
					t.Errorf("refused: %v", k.refusals)
				}
				return
			}
			if !slices.ContainsFunc(k.refusals, func(r intel.Refusal) bool { return strings.Contains(r.Reason, test.refusal) }) {
				t.Errorf("not refused as %q: %.300v", test.refusal, k.refusals)
			}
			if len(k.refusals) > 10 {
				t.Errorf("%d refusals", len(k.refusals))
			}
		})
	}
}

// TestSTIXParts: a bundle larger than what is kept is told in parts, and says so.
func TestSTIXParts(t *testing.T) {
	k := &kept{}
	r := &reader{ctx: t.Context(), sink: k, name: "input", o: Options{Now: testNow, Zone: intel.Red}}
	x := newSTIX(r)
	object := func(s string) {
		if err := x.object([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	object(`{"type":"malware","id":"malware--1","name":"Redcap"}`)
	object(`{"type":"indicator","id":"indicator--1","pattern":"[file:hashes.MD5 = '0123456789abcdef0123456789abcdef']"}`)
	x.size = maxSTIXKept + 1
	object(`{"type":"indicator","id":"indicator--2","pattern":"[file:hashes.MD5 = '1123456789abcdef0123456789abcdef']"}`)
	object(`{"type":"relationship","id":"relationship--1","relationship_type":"indicates","source_ref":"indicator--1","target_ref":"malware--1"}`)
	object(`{"type":"relationship","id":"relationship--2","relationship_type":"indicates","source_ref":"indicator--2","target_ref":"malware--1"}`)
	if err := x.tell(); err != nil {
		t.Fatal(err)
	}
	if len(k.refusals) != 1 || !strings.Contains(k.refusals[0].Reason, "more objects than can be joined") {
		t.Errorf("refusals: %v", k.refusals)
	}
	var got []string
	for _, o := range k.observations {
		got = append(got, o.File.MD5.String()[:1]+o.Fact.(intel.Listing).Threat)
	}
	if diff := cmp.Diff([]string{"0", "1Redcap"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSTIXRecord: what is kept of a file comes back as it was.
func TestSTIXRecord(t *testing.T) {
	md5, _ := intel.ParseHash("0123456789abcdef0123456789abcdef")
	sha256, _ := intel.ParseHash(strings.Repeat("ab", 32))
	records := []stixRecord{
		{},
		{key: 1, creator: 1 << 60, line: 1 << 40, listed: true, attacks: true, zone: intel.Orange, marking: intel.TLPRed, since: testNow, address: "example.com"},
		{file: stixFile{hashes: intel.Hashes{MD5: md5, SHA256: sha256}, name: "né.exe", size: "5", fuzzy: []intel.FuzzyHash{{Algorithm: intel.TLSH, Value: "T1"}, {Algorithm: intel.SSDeep, Value: "3:"}}}},
	}
	x := newSTIX(&reader{})
	for i := range records {
		x.keep(&records[i])
	}
	var got []stixRecord
	for _, chunk := range x.kept {
		for len(chunk) > 0 {
			var rec stixRecord
			rec, chunk = stixTake(chunk)
			got = append(got, rec)
		}
	}
	if diff := cmp.Diff(records, got, cmp.AllowUnexported(stixRecord{}, stixFile{}), cmp.Comparer(func(a, b intel.Hash) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestMarkings(t *testing.T) {
	for s, want := range map[string]string{"white": "clear", "TLP:CLEAR": "clear", "tlp:green": "green", "TLP: Amber": "amber", "tlp:amber+strict": "amber+strict", "red": "red", "TLP-RED": "red", "tlp:ex:chr": "", "": "", "PAP:RED": ""} {
		m, ok := tlpMarking(s)
		if ok != (want != "") || ok && m.String() != want {
			t.Errorf("%q: %v, %v", s, m, ok)
		}
	}
}

// figures are distinct hashes and addresses that are listed, hashes that are published of, and publications.
type figures struct{ Inputs, Listed, Addresses, Published, Publications int }

// sharedFigures are what an independent count, by another program and in another way, found in the developers' data.
var sharedFigures = map[Format]figures{
	STIX:    {58, 511, 1797, 406, 28},
	MISP:    {70, 1489, 743, 1496, 55},
	OpenIOC: {30, 419, 226, 419, 18},
}

func TestSharedFeeds(t *testing.T) {
	dir := realdata.Path(t, "feeds")
	found := map[Format]map[string]map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		ext := filepath.Ext(path)
		if err != nil || d.IsDir() || ext != ".json" && ext != ".stix2" && ext != ".ioc" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		k, result := read(t, bytes.NewReader(b), Options{Now: testNow})
		checkAll(t, k)
		if found[result.Format] == nil {
			found[result.Format] = map[string]map[string]bool{}
		}
		see := func(what string, values ...string) {
			if found[result.Format][what] == nil {
				found[result.Format][what] = map[string]bool{}
			}
			for _, v := range values {
				if v != "" {
					found[result.Format][what][v] = true
				}
			}
		}
		see("inputs", path)
		for _, o := range k.observations {
			hashes := []string{o.File.MD5.String(), o.File.SHA1.String(), o.File.SHA256.String()}
			switch f := o.Fact.(type) {
			case intel.Listing:
				see("addresses", o.Address)
				see("listed", hashes...)
			case intel.Publication:
				see("publications", f.ID)
				see("published", hashes...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range sharedFigures {
		n := found[format]
		got := figures{len(n["inputs"]), len(n["listed"]), len(n["addresses"]), len(n["published"]), len(n["publications"])}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func FuzzSTIXPattern(f *testing.F) {
	var bundle struct{ Objects []stixObject }
	if err := json.Unmarshal(golden(f, "testdata/stix/pattern-forms", "input"), &bundle); err != nil || len(bundle.Objects) == 0 {
		f.Fatal(err)
	}
	for _, o := range bundle.Objects {
		f.Add(o.Pattern)
	}
	f.Add(`[a:b = h'00' AND a:c = b'AA==' AND a:d = t'2026-01-01T00:00:00Z'] START t'x' STOP t'y'`)
	f.Fuzz(func(t *testing.T, s string) {
		things, err := stixPatternThings(s)
		if err != nil && len(things.files)+len(things.addresses) > 0 {
			t.Errorf("%v, and %v", err, things)
		}
		lower := strings.ToLower(s)
		for _, f := range things.files {
			for _, h := range []intel.Hash{f.hashes.MD5, f.hashes.SHA1, f.hashes.SHA256} {
				if !strings.Contains(strings.ReplaceAll(lower, `\`, ""), h.String()) {
					t.Errorf("%s is not there", h)
				}
			}
		}
	})
}

func FuzzSTIX(f *testing.F) {
	seeds(f, "stix")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: STIX}) })
}

func FuzzMISP(f *testing.F) {
	seeds(f, "misp")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: MISP}) })
}

func FuzzOpenIOC(f *testing.F) {
	seeds(f, "openioc")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: OpenIOC}) })
}

// TestHostileEvents: MISP and OpenIOC that are deep, cut, large or of the wrong kind.
func TestHostileEvents(t *testing.T) {
	good := `{"Event":{"info":"x","Attribute":[{"type":"md5","to_ids":true,"value":"0123456789abcdef0123456789abcdef"}]}}`
	item := `<IndicatorItem condition="is"><Context search="FileItem/Md5sum"/><Content>0123456789abcdef0123456789abcdef</Content></IndicatorItem>`
	for name, test := range map[string]struct {
		format  Format
		in      string
		files   int
		refusal string
	}{
		"MISP deep":          {MISP, strings.Repeat(`{"Event":`, 100_000) + "\n" + good, 1, "nested too deeply"},
		"MISP lists":         {MISP, strings.Repeat(`[`, 100_000) + "\n" + good, 1, "nested too deeply"},
		"MISP kinds":         {MISP, `{"Event":{"info":{"a":1},"Tag":"x","Orgc":5,"Attribute":[5,"x",{"type":5,"value":{},"to_ids":[],"Tag":7}],"Object":{"a":1}}}` + "\n" + good, 1, ""},
		"MISP sample":        {MISP, strings.Replace(good, `"value"`, `"data":"`+strings.Repeat("QUFB", 2<<20)+`","value"`, 1), 1, ""},
		"MISP cut":           {MISP, good[:len(good)-3] + `,{"type":"md5","val`, 1, "the input ends"},
		"MISP without comma": {MISP, strings.Replace(good, `[{`, `[{"type":"md5","value":"1123456789abcdef0123456789abcdef","to_ids":1}{`, 1), 2, ""},
		"OpenIOC deep":       {OpenIOC, `<ioc>` + strings.Repeat(`<Indicator operator="AND">`, 100_000) + item, 0, "nested too deeply"},
		"OpenIOC entities": {OpenIOC, `<!DOCTYPE a [<!ENTITY a "0123456789abcdef"><!ENTITY b "&a;&a;">]><ioc><Indicator operator="OR">` +
			strings.Replace(item, "0123456789abcdef0123456789abcdef", "&b;", 1) + item + `</Indicator></ioc>`, 1, "is not a hash"},
		"OpenIOC bytes":    {OpenIOC, "<ioc><short_description>caf\xe9 \x01</short_description><Indicator>" + item + "</Indicator></ioc>", 1, ""},
		"OpenIOC cut":      {OpenIOC, "<ioc><Indicator>" + item + "<IndicatorItem", 1, "not XML"},
		"OpenIOC twice":    {OpenIOC, "<ioc><Indicator>" + item + "</Indicator></ioc>\n<?xml version=\"1.0\"?><ioc><Indicator>" + strings.Replace(item, "012", "112", 1) + "</Indicator></ioc>", 2, ""},
		"OpenIOC elements": {OpenIOC, "<Content>x</Content></Indicator></IndicatorItem></ioc></ioc><ioc><Indicator>" + item + "</Indicator></ioc>", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := read(t, strings.NewReader(test.in), Options{Format: test.format, Now: testNow})
			checkAll(t, k)
			files := map[intel.Hashes]bool{}
			for _, o := range k.observations {
				files[o.File] = true
			}
			if len(files) != test.files {
				t.Errorf("%d files, want %d", len(files), test.files)
			}
			refused := slices.ContainsFunc(k.refusals, func(r intel.Refusal) bool { return strings.Contains(r.Reason, test.refusal) })
			if test.refusal == "" && len(k.refusals) > 0 || test.refusal != "" && !refused || len(k.refusals) > 5 {
				t.Errorf("refused: %.500v", k.refusals)
			}
		})
	}
}

// TestOpenIOCLong: an input is read as far as its bound, whatever is in it.
func TestOpenIOCLong(t *testing.T) {
	in := NewInput("input", strings.NewReader(`<ioc><Indicator><IndicatorItem condition="is"><Context search="FileItem/Md5sum"/><Content>0123456789abcdef0123456789abcdef</Content></IndicatorItem></Indicator><!-- `+strings.Repeat("x", 1<<20)))
	text, _, err := in.open()
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{}
	if err := readOpenIOCUpTo(&reader{ctx: t.Context(), in: text, name: "input", sink: k, o: Options{Now: testNow, Zone: intel.Red}}, 4096); err != nil {
		t.Fatal(err)
	}
	if len(k.observations) != 1 || len(k.refusals) != 1 || k.refusals[0].Reason != "longer than 4096 bytes: the rest is not read" {
		t.Errorf("%v, refused: %v", k.observations, k.refusals)
	}
}

// TestCutFeeds: an input whose stream breaks tells what came before, and the fault.
func TestCutFeeds(t *testing.T) {
	for _, dir := range []string{"stix/bundle", "stix/lines", "misp/event", "openioc/mixed"} {
		in := golden(t, filepath.Join("testdata", dir), "input")
		for cut := 0; cut < len(in); cut += max(1, len(in)/23) {
			broken := io.MultiReader(bytes.NewReader(in[:cut]), iotest.ErrReader(io.ErrUnexpectedEOF))
			k, _ := read(t, broken, Options{Format: Format(filepath.Dir(dir)), Now: testNow})
			checkAll(t, k)
			if n := len(k.refusals); n == 0 || !strings.Contains(k.refusals[n-1].Reason, "unexpected EOF") {
				t.Fatalf("%s cut at %d: not told: %v", dir, cut, k.refusals)
			}
		}
	}
}
