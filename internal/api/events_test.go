package api_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/store"
	"spoor/wire"
)

// sysmonStart is a start as winlogbeat tells of it.
func sysmonStart(n int) string {
	return fmt.Sprintf(`{"@timestamp":"2026-05-01T09:00:00.000Z","event":{"code":"1"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational","provider_name":"Microsoft-Windows-Sysmon",`+
		`"computer_name":"desk-%d.example.com","record_id":%d,"event_id":1,"event_data":{"UtcTime":"2026-05-01 09:00:00.000","ProcessGuid":"{5c1e37f0-0000-665f-03e9-%012x}","Image":"C:\\a\\b.exe","Hashes":"MD5=%s,SHA256=%s"}}}`,
		n%7, n, n+1, strings.ToUpper(knownMD5), strings.ToUpper(knownSHA256))
}

func sysmonLog(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(sysmonStart(i) + "\n")
	}
	return b.String()
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEvents: raw logs, packed or not, count once by their content or by their batch id; what is refused is named by its place.
func TestEvents(t *testing.T) {
	s := newServer(t, store.Options{})
	log := sysmonLog(0, 10)
	for _, tt := range []struct {
		name, query string
		body        []byte
		header      map[string]string
		status      int
		want        wire.Receipt // without the reasons of refusals
		hits        uint64
	}{
		{"plain", "", []byte(log), nil, 200, wire.Receipt{Accepted: 10}, 10},
		{"the same, packed", "", gzipped(t, log), map[string]string{"Content-Encoding": "gzip"}, 200, wire.Receipt{Repeated: 10}, 10},
		{"the same in an archive, with others", "?format=auto", zipped(t, map[string]string{"a.json": log, "b.json": sysmonLog(10, 15)}), nil, 200, wire.Receipt{Accepted: 5, Repeated: 10}, 15},
		{"under a name", "", []byte(sysmonLog(15, 17)), map[string]string{"Spoor-Batch-Id": "n"}, 200, wire.Receipt{Accepted: 2}, 17},
		{"the name again", "", zstandard(t, sysmonLog(15, 17)), map[string]string{"Spoor-Batch-Id": "n"}, 200, wire.Receipt{Repeated: 2}, 17},
		{"one line broken", "?format=sysmon-json", []byte(sysmonLog(17, 18) + strings.Replace(sysmonStart(18), "MD5=", "MD5=zz", 1) + "\n"), nil, 200,
			wire.Receipt{Accepted: 2, Refused: 1, Refusals: []wire.Refusal{{Line: 2, Field: "Hashes"}}}, 19},
		{"the feed's name is missing", "", []byte(knownMD5 + "\n"), nil, 400, wire.Receipt{Refused: 1, Refusals: []wire.Refusal{{}}}, 19},
		{"a list", "?feed=F&zone=yellow&marking=green", []byte(knownMD5 + "\n"), nil, 200, wire.Receipt{Accepted: 1}, 19},
		{"nothing", "", nil, nil, 200, wire.Receipt{}, 19},
		{"an archive cut short", "", zipped(t, map[string]string{"c.json": sysmonLog(30, 40)})[:60], nil, 400, wire.Receipt{Refused: 1, Refusals: []wire.Refusal{{}}}, 19},
		{"a broken one within", "", zipped(t, map[string]string{"d.bin": "\x00\x01\x02"}), nil, 400, wire.Receipt{Refused: 1, Refusals: []wire.Refusal{{Input: "d.bin"}}}, 19},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		a := s.ask(t, request{method: "POST", path: "/api/events" + tt.query, body: bytes.NewReader(tt.body), header: h})
		var got wire.Receipt
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		for i := range got.Refusals {
			got.Refusals[i].Reason = ""
		}
		if tt.want.Refusals == nil {
			tt.want.Refusals = []wire.Refusal{}
		}
		if diff := cmp.Diff(tt.want, got); a.status != tt.status || diff != "" {
			t.Errorf("%s: %d %s\n%s", tt.name, a.status, a.body, diff)
		}
		if got := s.hits(t); got != tt.hits {
			t.Errorf("%s: %d hits, want %d", tt.name, got, tt.hits)
		}
	}
}

// TestEventsRefused holds the answers to requests that are refused as a whole.
func TestEventsRefused(t *testing.T) {
	s := newServer(t, store.Options{})
	look := s.token(t, access.NewToken{Account: "soc"})
	for _, tt := range []struct {
		name   string
		q      request
		status int
		body   string
	}{
		{"no credential", request{method: "POST", path: "/api/events", token: "none"}, 401, "unauthorized"},
		{"no credential, and a bad parameter", request{method: "POST", path: "/api/events?format=x", token: "none"}, 401, "unauthorized"},
		{"look-ups only", request{method: "POST", path: "/api/events", token: look}, 403, "ingest"},
		{"GET", request{path: "/api/events"}, 405, "use POST"},
		{"a format that is none", request{method: "POST", path: "/api/events?format=x"}, 400, `format: there is no format \"x\"`},
		{"a zone that is none", request{method: "POST", path: "/api/events?feed=f&zone=x"}, 400, "zone: "},
		{"a zone without feed", request{method: "POST", path: "/api/events?zone=red"}, 400, "feed="},
		{"a marking that is none", request{method: "POST", path: "/api/events?marking=x"}, 400, "marking: "},
		{"twice", request{method: "POST", path: "/api/events?format=auto&format=auto"}, 400, "more than once"},
		{"a form", request{method: "POST", path: "/api/events", header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}}, 415, "--data-binary"},
		{"an encoding that is none", request{method: "POST", path: "/api/events", header: http.Header{"Content-Encoding": {"br"}}}, 415, "gzip or zstd"},
	} {
		if tt.q.method == "POST" {
			tt.q.body = strings.NewReader("x")
		}
		if a := s.ask(t, tt.q); a.status != tt.status || !strings.Contains(a.body, tt.body) {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
	}
}
