package intel_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

var (
	noon  = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	equal = cmp.Comparer(func(a, b intel.Hash) bool { return a == b })
)

// each returns one whole observation of each kind.
func each(t testing.TB) []intel.Observation {
	file := intel.Hashes{MD5: parse(t, md5Hex), SHA1: parse(t, sha1Hex), SHA256: parse(t, sha256Hex)}
	of := func(f intel.Fact) intel.Observation {
		return intel.Observation{Source: intel.Source{Type: intel.Telemetry, Name: "t", Marking: intel.TLPAmberStrict}, Time: noon, Last: noon.Add(time.Hour),
			Count: 7, File: file, Fact: f}
	}
	relation := of(intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: file, Path: "/a", Name: "a"}, To: intel.Object{Hashes: file, Path: "b", Name: "b"}, Weak: true})
	relation.File = intel.Hashes{}
	address := of(intel.Listing{Feed: "F", Zone: intel.Orange, Threat: "T"})
	address.File, address.Address = intel.Hashes{}, "http://example.com/"
	return []intel.Observation{
		of(intel.Attribute{Name: intel.Size, Value: "0"}),
		of(intel.Sighting{Path: `C:\ä\b.exe`, Name: "b.exe", Host: "h"}),
		relation,
		of(intel.Access{URL: "example.com", IPs: []string{"203.0.113.1", "2001:db8::1"}}),
		of(intel.Download{URL: "http://example.com/<&>", Referrer: "r", IPs: []string{"203.0.113.1"}}),
		of(intel.Detection{Name: "N", Method: "m", Zone: intel.Red, URL: "u"}),
		of(intel.Listing{Feed: "F", Zone: intel.Green, Threat: "T"}),
		of(intel.Signature{Signer: "S", Status: intel.NotTrusted}),
		of(intel.Certificate{MD5: file.MD5, Serial: "1", Vendor: "V", Publisher: "P", Signed: noon, Issued: noon, Expires: noon, Direct: true, Trusted: true, Revoked: true, Discredited: true}),
		of(intel.Publication{ID: "1", Type: intel.APT, Title: "T", URL: "u"}),
		of(intel.FuzzyHash{Algorithm: intel.TLSH, Value: "T1"}),
		of(intel.AnalystVerdict{Zone: intel.Yellow, Analyst: "a", Comment: "c\u2028d"}),
		address,
	}
}

// TestRoundTrip: what is written is read again the same, of each kind, whole and with nothing but what must be there.
func TestRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range each(t) {
		seen[o.Fact.Kind()] = true
		for _, bare := range []bool{false, true} {
			if bare {
				o.Time, o.Last, o.Count, o.Source.Marking = time.Time{}, time.Time{}, 0, intel.TLPClear
			}
			line, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := intel.ParseObservation(line)
			if diff := cmp.Diff(o, got, equal); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", line, err, diff)
			}
		}
	}
	for _, kind := range intel.Kinds() {
		if !seen[kind] {
			t.Errorf("no %s", kind)
		}
	}
	if _, err := json.Marshal(intel.Observation{}); !errors.Is(err, intel.ErrInvalid) {
		t.Errorf("without a fact: %v", err)
	}
}

// TestCheck holds what a line of JSON cannot say; docs/docs_test.go has the rest of the refusals.
func TestCheck(t *testing.T) {
	file := intel.HashesOf(parse(t, md5Hex))
	good := func(f intel.Fact) intel.Observation {
		return intel.Observation{Source: intel.Source{Type: intel.Telemetry, Name: "t"}, File: file, Fact: f}
	}
	with := func(edit func(*intel.Observation)) intel.Observation {
		o := good(intel.Sighting{})
		edit(&o)
		return o
	}
	for _, tt := range []struct {
		o     intel.Observation
		field string // "-" is taken
	}{
		{good(intel.Sighting{}), "-"},
		{with(func(o *intel.Observation) { o.Fact = nil }), ""},
		{with(func(o *intel.Observation) { o.Source.Marking = intel.TLPRed + 1 }), "source.marking"},
		{with(func(o *intel.Observation) { o.Source.Name = "\xff" }), "source.name"},
		{with(func(o *intel.Observation) { o.Count = intel.MaxCount }), "-"},
		{with(func(o *intel.Observation) { o.Count = intel.MaxCount + 1 }), "count"},
		{with(func(o *intel.Observation) { o.Time = time.Unix(0, 0) }), "time"},
		{with(func(o *intel.Observation) { o.Time = time.Unix(1, 0) }), "-"},
		{with(func(o *intel.Observation) { o.Time = time.Date(2200, 1, 1, 0, 0, 1, 0, time.UTC) }), "time"},
		{with(func(o *intel.Observation) { o.Time, o.Last = noon, noon }), "-"},
		{with(func(o *intel.Observation) { o.Time, o.Last = noon, noon.Add(-time.Second) }), "last"},
		{with(func(o *intel.Observation) { o.Last = noon }), "last"},
		{with(func(o *intel.Observation) { o.File.SHA256 = parse(t, md5Hex) }), "file.sha256"},
		{good(intel.Sighting{Path: strings.Repeat("x", intel.MaxText)}), "-"},
		{good(intel.Sighting{Path: strings.Repeat("x", intel.MaxText+1)}), "sighting.path"},
		{good(intel.Sighting{Name: "\xff"}), "sighting.name"},
		{good(intel.Sighting{Host: "a\x00"}), "sighting.host"},
		{good(intel.Attribute{Name: intel.Size, Value: "9223372036854775807"}), "-"},
		{good(intel.Attribute{Name: intel.Size, Value: "9223372036854775808"}), "attribute.value"},
		{good(intel.Attribute{Name: intel.Size, Value: "18446744073709551617"}), "attribute.value"},
		{good(intel.Attribute{Name: intel.Size, Value: "-1"}), "attribute.value"},
		{good(intel.Attribute{Name: intel.Type, Value: "a\x00"}), "attribute.value"},
		{good(intel.Access{URL: "\x00.example"}), "access.url"},
		{good(intel.Access{URL: "intranet"}), "access.url"},
		{good(intel.Access{URL: "example.com", IPs: []string{"203.0.113.1:80"}}), "access.ips"},
		{good(intel.Access{URL: "example.com", IPs: make([]string, intel.MaxIPs+1)}), "access.ips"},
		{good(intel.Download{URL: "example.com", Referrer: "\xff"}), "download.referrer"},
		{good(intel.Download{}), "download.url"},
		{good(intel.Detection{Name: "n", Zone: intel.Red + 1}), "detection.zone"},
		{good(intel.Detection{Name: "n", Zone: intel.Red, Method: "\xff"}), "detection.method"},
		{good(intel.Detection{Name: "n", Zone: intel.Red, URL: "\xff"}), "detection.url"},
		{good(intel.Listing{Feed: "f", Zone: intel.Red, Threat: "\xff"}), "listing.threat"},
		{good(intel.Signature{Status: intel.Trusted}), "signature.signer"},
		{good(intel.Certificate{MD5: parse(t, md5Hex), Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}), "certificate.expires"},
		{good(intel.Certificate{MD5: parse(t, md5Hex), Expires: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -2*60*60))}), "certificate.expires"},
		{good(intel.Certificate{MD5: parse(t, md5Hex), Serial: "\xff"}), "certificate.serial"},
		{good(intel.Certificate{MD5: parse(t, sha256Hex)}), "certificate.md5"},
		{good(intel.Publication{Type: intel.OSINT, Title: "t"}), "publication.id"},
		{good(intel.Publication{Type: intel.OSINT, ID: "1", Title: "t", URL: "\xff"}), "publication.url"},
		{good(intel.FuzzyHash{Algorithm: intel.SSDeep}), "fuzzy_hash.value"},
		{good(intel.AnalystVerdict{Zone: intel.Red, Comment: "\xff"}), "verdict.comment"},
		{good(intel.AnalystVerdict{Zone: intel.Red, Analyst: "\x00"}), "verdict.analyst"},
		{with(func(o *intel.Observation) {
			o.File = intel.Hashes{}
			o.Fact = intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: intel.Hashes{MD5: parse(t, sha1Hex)}}, To: intel.Object{Name: "x"}}
		}), "relation.from.md5"},
		{with(func(o *intel.Observation) {
			o.File = intel.Hashes{}
			o.Fact = intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: file}, To: intel.Object{Path: "\xff"}}
		}), "relation.to.path"},
		{with(func(o *intel.Observation) {
			o.File, o.Address, o.Fact = intel.Hashes{}, "http://\x01/", intel.Listing{Feed: "f", Zone: intel.Red}
		}), "address"},
	} {
		err := tt.o.Check()
		if tt.field == "-" {
			if err != nil {
				t.Errorf("%+v: %v", tt.o, err)
			}
			continue
		}
		var r *intel.Refusal
		if !errors.As(err, &r) || r.Field != tt.field || r.Reason == "" {
			t.Errorf("%+v: %v, want it refused at %q", tt.o.Fact, err, tt.field)
		}
	}
}

// TestLineRefusals: a refused line says where and what would be right, in words that are not Go's.
func TestLineRefusals(t *testing.T) {
	for _, tt := range []struct{ line, says string }{
		{``, `not JSON: the line ends before the object does`},
		{`{"source":`, `not JSON: the line ends before the object does`},
		{`hello`, `not JSON at byte 1: invalid character 'h' looking for beginning of value`},
		{`{"source":{"type":"feed",}}`, `not JSON at byte 26: invalid character '}' looking for beginning of object key string`},
		{`[1]`, `a JSON array where an object belongs`},
		{`{} {}`, `more than one JSON value on the line`},
		{`{"source":7}`, `source: a JSON number where an object belongs`},
		{`{"source":{"name":[]}}`, `source.name: a JSON array where a string belongs`},
		{`{"count":-1}`, `count: a JSON number -1 where a whole number from 0 to 1099511627776 belongs`},
		{`{"count":1e99}`, `count: a JSON number 1e99 where a whole number from 0 to 1099511627776 belongs`},
		{`{"time":"now"}`, `time: "now" is no time; give one like "2026-05-01T08:15:30Z" (RFC 3339)`},
		{`{"file":{"md5":"1"}}`, `file.md5: "1" is not a hash: 1 characters; give an MD5 (32 hex digits), SHA-1 (40) or SHA-256 (64)`},
		{`{"file":{"md5":{}}}`, `file.md5: a JSON object where a string belongs`},
		{`{"relation":{"to":{"sha1":"x"}}}`, `relation.to.sha1: "x" is not a hash: 1 characters; give an MD5 (32 hex digits), SHA-1 (40) or SHA-256 (64)`},
		{`{"relation":{"weak":1}}`, `relation.weak: a JSON number where true or false belongs`},
		{`{"access":{"ips":{}}}`, `access.ips: a JSON object where a list belongs`},
		{`{"access":{"ips":[1]}}`, `access.ips: a JSON number where a string belongs`},
		{`{"certificate":{"a\u001b[31m":1}}`, `certificate.a\x1b[31m: no such field in an observation`},
		{`{}`, `0 facts on the line; give exactly one of attribute, sighting, relation, access, download, detection, listing, signature, certificate, publication, fuzzy_hash, verdict`},
	} {
		_, err := intel.ParseObservation([]byte(tt.line))
		if !errors.Is(err, intel.ErrInvalid) || err.Error() != tt.says {
			t.Errorf("%s\n got %v\nwant %s", tt.line, err, tt.says)
		}
	}
}

// FuzzParseObservation: what is taken is written and taken again the same.
func FuzzParseObservation(f *testing.F) {
	for _, o := range each(f) {
		line, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"source":{"type":"feed","name":"x","colour":{}},"file":{"md5":null}}`))
	f.Add([]byte(`{"Source":{"TYPE":"feed","name":"\ud800"},"sighting":{},"sighting":{"path":"a"},"file":{"md5":"` + md5Hex + `"},"time":"2026-05-01T10:00:00.5+02:00"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		o, err := intel.ParseObservation(line)
		if err != nil {
			if !errors.Is(err, intel.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%s: not written: %v", line, err)
		}
		p, err := intel.ParseObservation(again)
		if err != nil {
			t.Fatalf("%s\n%s: %v", line, again, err)
		}
		if third, err := json.Marshal(p); err != nil || string(third) != string(again) {
			t.Fatalf("%s\n%s\n%v", again, third, err)
		}
	})
}
