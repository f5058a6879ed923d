package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"spoor/docs"
	"spoor/internal/intel"
)

// observation compiles the schema; formats such as date-time are checked, not only noted.
func observation(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.ObservationSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("observation.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("observation.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate holds a line against the schema.
func validate(s *jsonschema.Schema, line string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// examples returns the lines of the fenced blocks of observations.md.
func examples(t *testing.T) (lines []string) {
	t.Helper()
	page, err := os.ReadFile("observations.md")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(page)) {
		switch line = strings.TrimSpace(line); {
		case line == "```json":
			inside = true
		case line == "```":
			inside = false
		case inside:
			lines = append(lines, line)
		}
	}
	return lines
}

// TestExamples: each example of the page fits the schema and is taken, and every kind, verb, field and way of naming is shown.
func TestExamples(t *testing.T) {
	s := observation(t)
	shown := map[string]bool{}
	for _, line := range examples(t) {
		if err := validate(s, line); err != nil {
			t.Errorf("%s\n%v", line, err)
		}
		o, err := intel.ParseObservation([]byte(line))
		if err != nil {
			t.Errorf("%s\n%v", line, err)
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		for name := range fields {
			shown[name] = true
		}
		var fact map[string]json.RawMessage
		if err := json.Unmarshal(fields[o.Fact.Kind()], &fact); err != nil {
			t.Fatal(err)
		}
		for name := range fact {
			shown[o.Fact.Kind()+"."+name] = true
		}
		if r, ok := o.Fact.(intel.Relation); ok {
			shown["verb "+string(r.Verb)] = true
		}
		if _, ok := o.Fact.(intel.Listing); ok && o.Address == "" {
			shown["listing of a file"] = true
		}
	}
	want := []string{"source", "time", "last", "count", "file", "address", "verb started", "verb downloaded", "verb contains", "listing of a file"}
	for kind, fact := range facts {
		want = append(want, kind)
		for name := range tags(reflect.TypeOf(fact)) {
			want = append(want, kind+"."+name)
		}
	}
	for _, name := range want {
		if !shown[name] {
			t.Errorf("no example shows %s", name)
		}
	}
}

// facts has one of each kind.
var facts = map[string]intel.Fact{}

func init() {
	for _, f := range []intel.Fact{intel.Attribute{}, intel.Sighting{}, intel.Relation{}, intel.Access{}, intel.Download{}, intel.Detection{}, intel.Listing{},
		intel.Signature{}, intel.Certificate{}, intel.Publication{}, intel.FuzzyHash{}, intel.AnalystVerdict{}} {
		facts[f.Kind()] = f
	}
}

// tags returns the fields of a struct as JSON spells them, those of embedded structs too.
func tags(t reflect.Type) map[string]reflect.Type {
	names := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names[name] = f.Type
		}
	}
	return names
}

// TestFields: the schema has the fields of the Go structs, and no other; no object of it takes a field that it does not name.
func TestFields(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(slices.Values(intel.Kinds())), slices.Sorted(maps.Keys(facts))); diff != "" {
		t.Errorf("this test does not know every kind:\n%s", diff)
	}
	var doc map[string]any
	if err := json.Unmarshal(docs.ObservationSchema, &doc); err != nil {
		t.Fatal(err)
	}
	same := func(at string, schema any, want []string) {
		o := schema.(map[string]any)
		if o["additionalProperties"] != false || o["type"] != "object" {
			t.Errorf("%s is no closed object", at)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(o["properties"].(map[string]any)))); diff != "" {
			t.Errorf("%s (-Go +schema):\n%s", at, diff)
		}
	}
	properties, defs := doc["properties"].(map[string]any), doc["$defs"].(map[string]any)
	envelope := intel.Kinds()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[intel.Observation]()) {
		if f.Name != "Fact" {
			envelope = append(envelope, strings.ToLower(f.Name))
		}
	}
	same("observation", doc, envelope)
	same("source", properties["source"], slices.Collect(maps.Keys(tags(reflect.TypeFor[intel.Source]()))))
	same("file", properties["file"], slices.Collect(maps.Keys(tags(reflect.TypeFor[intel.Hashes]()))))
	same("object", defs["object"], slices.Collect(maps.Keys(tags(reflect.TypeFor[intel.Object]()))))
	for kind, fact := range facts {
		same(kind, properties[kind], slices.Collect(maps.Keys(tags(reflect.TypeOf(fact)))))
	}
}

const (
	md5Hex    = "00112233445566778899aabbccddeeff"
	sha1Hex   = md5Hex + "00112233"
	sha256Hex = md5Hex + md5Hex
	from      = `"source":{"type":"telemetry","name":"t"}`
	of        = from + `,"file":{"sha256":"` + sha256Hex + `"}`
	hashed    = `{"sha256":"` + sha256Hex + `"}`
)

// TestRefused: what the schema refuses, the reader refuses too, at the same place.
func TestRefused(t *testing.T) {
	s := observation(t)
	long := strings.Repeat("x", intel.MaxText+1)
	ips := `"203.0.113.1"` + strings.Repeat(`,"203.0.113.1"`, intel.MaxIPs)
	for _, tt := range []struct{ name, line, field string }{
		{"no object", `[]`, ""},
		{"a number", `7`, ""},
		{"an unknown field", `{` + of + `,"sighting":{},"colour":1}`, "colour"},
		{"an unknown field of the source", `{"source":{"type":"feed","name":"t","url":"x"},"file":` + hashed + `,"sighting":{}}`, "source.url"},
		{"an unknown field of the file", `{` + from + `,"file":{"sha512":"00"},"sighting":{}}`, "file.sha512"},
		{"an unknown field of a fact", `{` + of + `,"sighting":{"colour":"red"}}`, "sighting.colour"},
		{"an unknown field of an end", `{` + from + `,"relation":{"verb":"started","from":` + hashed + `,"to":{"pid":4}}}`, "relation.to.pid"},
		{"two facts", `{` + of + `,"sighting":{},"signature":{"signer":"S","status":"trusted"}}`, ""},
		{"no fact", `{` + of + `}`, ""},
		{"no source", `{"file":` + hashed + `,"sighting":{}}`, "source.type"},
		{"a source of no type", `{"source":{"name":"t"},"file":` + hashed + `,"sighting":{}}`, "source.type"},
		{"a source of a bad type", `{"source":{"type":"rumour","name":"t"},"file":` + hashed + `,"sighting":{}}`, "source.type"},
		{"a source without name", `{"source":{"type":"feed","name":""},"file":` + hashed + `,"sighting":{}}`, "source.name"},
		{"a bad marking", `{"source":{"type":"feed","name":"t","marking":"TLP:RED"},"file":` + hashed + `,"sighting":{}}`, "source.marking"},
		{"a time before 1970", `{` + of + `,"time":"1969-12-31T23:59:59Z","sighting":{}}`, "time"},
		{"a time after 2199", `{` + of + `,"time":"2200-06-01T00:00:00Z","sighting":{}}`, "time"},
		{"a time that is none", `{` + of + `,"time":"yesterday","sighting":{}}`, "time"},
		{"a time without zone", `{` + of + `,"time":"2026-05-01T08:00:00","sighting":{}}`, "time"},
		{"a day that is none", `{` + of + `,"time":"2026-02-30T08:00:00Z","sighting":{}}`, "time"},
		{"a time as number", `{` + of + `,"time":1777777777,"sighting":{}}`, "time"},
		{"last without time", `{` + of + `,"last":"2026-05-01T08:00:00Z","sighting":{}}`, "last"},
		{"a negative count", `{` + of + `,"count":-1,"sighting":{}}`, "count"},
		{"a broken count", `{` + of + `,"count":1.5,"sighting":{}}`, "count"},
		{"a count too large", `{` + of + `,"count":1099511627777,"sighting":{}}`, "count"},
		{"a count as text", `{` + of + `,"count":"1","sighting":{}}`, "count"},
		{"no file", `{` + from + `,"sighting":{}}`, "file"},
		{"a file without hash", `{` + from + `,"file":{},"sighting":{}}`, "file"},
		{"a file of a relation", `{` + of + `,"relation":{"verb":"started","from":` + hashed + `,"to":` + hashed + `}}`, "file"},
		{"a short hash", `{` + from + `,"file":{"md5":"0011"},"sighting":{}}`, "file.md5"},
		{"a hash in the wrong field", `{` + from + `,"file":{"md5":"` + sha1Hex + `"},"sighting":{}}`, "file.md5"},
		{"a letter that is no digit", `{` + from + `,"file":{"md5":"g` + md5Hex[1:] + `"},"sighting":{}}`, "file.md5"},
		{"an address of a sighting", `{` + from + `,"address":"example.com","sighting":{}}`, "address"},
		{"a file and an address", `{` + of + `,"address":"example.com","listing":{"feed":"F","zone":"red"}}`, "address"},
		{"neither file nor address", `{` + from + `,"listing":{"feed":"F","zone":"red"}}`, "file"},
		{"text too long", `{` + of + `,"sighting":{"path":"` + long + `"}}`, "sighting.path"},
		{"text with NUL", `{` + of + `,"sighting":{"host":"a\u0000b"}}`, "sighting.host"},
		{"text as number", `{` + of + `,"sighting":{"host":7}}`, "sighting.host"},
		{"a fact as text", `{` + of + `,"sighting":"yes"}`, "sighting"},
		{"a bad attribute", `{` + of + `,"attribute":{"name":"mood","value":"x"}}`, "attribute.name"},
		{"an attribute without value", `{` + of + `,"attribute":{"name":"type"}}`, "attribute.value"},
		{"a size in hex", `{` + of + `,"attribute":{"name":"size","value":"0x10"}}`, "attribute.value"},
		{"a size with a leading zero", `{` + of + `,"attribute":{"name":"size","value":"010"}}`, "attribute.value"},
		{"a size above the largest", `{` + of + `,"attribute":{"name":"size","value":"9223372036854775808"}}`, "attribute.value"},
		{"a bad verb", `{` + from + `,"relation":{"verb":"ate","from":` + hashed + `,"to":` + hashed + `}}`, "relation.verb"},
		{"an end without anything", `{` + from + `,"relation":{"verb":"started","from":` + hashed + `,"to":{}}}`, "relation.to"},
		{"no end with a hash", `{` + from + `,"relation":{"verb":"started","from":{"path":"/a"},"to":{"path":"/b"}}}`, "relation.from"},
		{"a member without hash", `{` + from + `,"relation":{"verb":"contains","from":` + hashed + `,"to":{"path":"b"}}}`, "relation.from"},
		{"weak as text", `{` + from + `,"relation":{"verb":"started","from":` + hashed + `,"to":` + hashed + `,"weak":"yes"}}`, "relation.weak"},
		{"an access without URL", `{` + of + `,"access":{}}`, "access.url"},
		{"no IP address", `{` + of + `,"access":{"url":"example.com","ips":["example.com"]}}`, "access.ips"},
		{"IP addresses as text", `{` + of + `,"access":{"url":"example.com","ips":"203.0.113.1"}}`, "access.ips"},
		{"too many IP addresses", `{` + of + `,"download":{"url":"example.com","ips":[` + ips + `]}}`, "download.ips"},
		{"a bad zone", `{` + of + `,"detection":{"name":"N","zone":"purple"}}`, "detection.zone"},
		{"no zone", `{` + of + `,"detection":{"name":"N"}}`, "detection.zone"},
		{"a detection without name", `{` + of + `,"detection":{"zone":"red"}}`, "detection.name"},
		{"a listing without feed", `{` + of + `,"listing":{"zone":"red"}}`, "listing.feed"},
		{"a bad status", `{` + of + `,"signature":{"signer":"S","status":"fine"}}`, "signature.status"},
		{"a certificate without MD5", `{` + of + `,"certificate":{"serial":"1"}}`, "certificate.md5"},
		{"a certificate by SHA-1", `{` + of + `,"certificate":{"md5":"` + sha1Hex + `"}}`, "certificate.md5"},
		{"a certificate of 1949", `{` + of + `,"certificate":{"md5":"` + md5Hex + `","issued":"1949-01-01T00:00:00Z"}}`, "certificate.issued"},
		{"a bad type of publication", `{` + of + `,"publication":{"id":"1","type":"apt","title":"T"}}`, "publication.type"},
		{"a publication without title", `{` + of + `,"publication":{"id":"1","type":"APT"}}`, "publication.title"},
		{"a bad fuzzy algorithm", `{` + of + `,"fuzzy_hash":{"algorithm":"sha256","value":"x"}}`, "fuzzy_hash.algorithm"},
		{"a verdict without zone", `{` + of + `,"verdict":{"analyst":"a"}}`, "verdict.zone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate(s, tt.line); err == nil {
				t.Error("the schema takes it")
			}
			_, err := intel.ParseObservation([]byte(tt.line))
			var r *intel.Refusal
			if !errors.As(err, &r) {
				t.Fatalf("the reader says %v", err)
			}
			if r.Field != tt.field {
				t.Errorf("refused at %q (%s), want %q", r.Field, r.Reason, tt.field)
			}
		})
	}
}

// TestBeyondTheSchema: where the page says that reader and schema differ, they do.
func TestBeyondTheSchema(t *testing.T) {
	s := observation(t)
	for _, tt := range []struct {
		name, line     string
		schema, reader bool // takes it
	}{
		{"last before time", `{` + of + `,"time":"2026-05-02T00:00:00Z","last":"2026-05-01T00:00:00Z","sighting":{}}`, true, false},
		{"an address that names no host", `{` + from + `,"address":"http:///x","listing":{"feed":"F","zone":"red"}}`, true, false},
		{"bytes, not characters, are counted", `{` + of + `,"sighting":{"path":"` + strings.Repeat("ä", 3000) + `"}}`, true, false},
		{"null", `{` + of + `,"time":null,"detection":null,"sighting":{"path":null}}`, false, true},
		{"a hash with 0x and blanks", `{` + from + `,"file":{"md5":" 0x` + md5Hex + ` "},"sighting":{}}`, false, true},
		{"grey", `{` + of + `,"detection":{"name":"N","zone":"grey"}}`, false, true},
		{"a field's name in upper case", `{` + of + `,"Sighting":{"PATH":"/a"}}`, false, true},
	} {
		if err := validate(s, tt.line); (err == nil) != tt.schema {
			t.Errorf("%s: the schema says %v", tt.name, err)
		}
		if _, err := intel.ParseObservation([]byte(tt.line)); (err == nil) != tt.reader {
			t.Errorf("%s: the reader says %v", tt.name, err)
		}
	}
}

// TestWords: every word that the schema lists is one that the reader takes.
func TestWords(t *testing.T) {
	var doc struct {
		Properties map[string]struct {
			Properties map[string]struct {
				Enum []string `json:"enum"`
			} `json:"properties"`
		} `json:"properties"`
		Defs struct {
			Zone struct {
				Enum []string `json:"enum"`
			} `json:"zone"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(docs.ObservationSchema, &doc); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		words  []string
		before string
		after  string
		want   int
	}{
		{doc.Properties["source"].Properties["type"].Enum, `{"source":{"name":"t","type":"`, `"},"file":` + hashed + `,"sighting":{}}`, 4},
		{doc.Properties["source"].Properties["marking"].Enum, `{"source":{"name":"t","type":"feed","marking":"`, `"},"file":` + hashed + `,"sighting":{}}`, 5},
		{doc.Properties["attribute"].Properties["name"].Enum, `{` + of + `,"attribute":{"value":"1","name":"`, `"}}`, 18},
		{doc.Properties["relation"].Properties["verb"].Enum, `{` + from + `,"relation":{"from":` + hashed + `,"to":` + hashed + `,"verb":"`, `"}}`, 3},
		{doc.Properties["signature"].Properties["status"].Enum, `{` + of + `,"signature":{"signer":"S","status":"`, `"}}`, 3},
		{doc.Properties["publication"].Properties["type"].Enum, `{` + of + `,"publication":{"id":"1","title":"T","type":"`, `"}}`, 4},
		{doc.Properties["fuzzy_hash"].Properties["algorithm"].Enum, `{` + of + `,"fuzzy_hash":{"value":"1","algorithm":"`, `"}}`, 8},
		{doc.Defs.Zone.Enum, `{` + of + `,"verdict":{"zone":"`, `"}}`, 5},
	} {
		if len(tt.words) != tt.want {
			t.Errorf("%q: %d words, want %d", tt.words, len(tt.words), tt.want)
		}
		for _, word := range tt.words {
			if _, err := intel.ParseObservation([]byte(tt.before + word + tt.after)); err != nil {
				t.Errorf("%s: %v", word, err)
			}
		}
	}
}

// TestGolden: the observations of the command's golden cases fit the schema.
func TestGolden(t *testing.T) {
	s := observation(t)
	files, err := filepath.Glob("../cmd/spoor/testdata/golden/*/observations.ndjson")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if err := validate(s, line); err != nil {
				t.Errorf("%s: %s\n%v", name, line, err)
			}
		}
	}
}
