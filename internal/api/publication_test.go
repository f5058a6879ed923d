package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/intel"
	"spoor/internal/store"
	"spoor/wire"
)

const reportID = "https://r.example/1?a=b&c"

// published is a server that knows two publications, one of them for few eyes.
func published(t *testing.T) *server {
	t.Helper()
	s := newServer(t, store.Options{})
	line := func(marking, file, publication string) string {
		return `{"source":{"type":"feed","name":"reports","marking":"` + marking + `"},"time":"2026-05-01T08:00:00Z","file":` + file + `,"publication":{` + publication + `}}` + "\n"
	}
	s.send(t, []byte(lines()+
		line("clear", `{"md5":"`+knownMD5+`"}`, `"id":"`+reportID+`","type":"APT","title":"A & B","description":"<b>x","published":"2026-04-01T00:00:00Z","tags":["t"]`)+
		line("clear", `{"sha256":"`+otherSHA256+`"}`, `"id":"`+reportID+`","type":"APT","title":"A & B"`)+
		line("red", `{"sha256":"`+otherSHA256+`"}`, `"id":"R-2","type":"OSINT","title":"secret"`)), nil)
	return s
}

func TestPublications(t *testing.T) {
	s := published(t)
	green := intel.TLPGreen
	low := s.token(t, access.NewToken{Account: "low", Clearance: &green})
	sender := s.token(t, access.NewToken{Account: "sender", Scopes: []access.Scope{access.Ingest}})
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	id := "publication_id=" + url.QueryEscape(reportID)
	get := "/api/publications/get_one?include_info=all&" + id
	for _, tt := range []struct {
		name   string
		q      request
		status int
		body   string
	}{
		{"GET", request{path: get}, 200, `"name":"A & B"`},
		{"without the body", request{method: "HEAD", path: get}, 200, ``},
		{"POST, in the query", request{method: "POST", path: get}, 200, `"status":"ok"`},
		{"POST, in the query, with a type", request{method: "POST", path: get, header: form}, 200, `"status":"ok"`},
		{"POST, in a form", request{method: "POST", path: "/api/publications/get_one", header: form, body: strings.NewReader("include_info=all&" + id)}, 200, `"desc":"<b>x"`},
		{"in both", request{method: "POST", path: get, header: form, body: strings.NewReader(id)}, 400, `publication_id: give it once`},
		{"in none", request{path: "/api/publications/get_one"}, 400, `publication_id`},
		{"empty", request{path: "/api/publications/get_one?publication_id="}, 400, `publication_id`},
		{"twice", request{path: get + "&" + id}, 400, `publication_id`},
		{"a broken query", request{path: "/api/publications/get_one?publication_id=%zz"}, 400, `not well formed`},
		{"too long", request{path: "/api/publications/get_one?publication_id=" + strings.Repeat("x", 5000)}, 400, `at most 4096`},
		{"JSON", request{method: "POST", path: "/api/publications/get_one", header: http.Header{"Content-Type": {"application/json"}}, body: strings.NewReader("{}")}, 415, `unsupported_media_type`},
		{"a large form", request{method: "POST", path: "/api/publications/get_one", header: form, body: strings.NewReader(id + strings.Repeat("x", 70_000))}, 413, `too_large`},
		{"unknown", request{path: "/api/publications/get_one?publication_id=%3Cnone%3E"}, 404, `{"status":"error","status_msg":"no publication with this id is known","error":{"code":"unknown_publication"`},
		{"for other eyes", request{path: "/api/publications/get_one?publication_id=R-2", token: low}, 404, `unknown_publication`},
		{"for these", request{path: "/api/publications/get_one?publication_id=R-2"}, 200, `secret`},
		{"another method", request{method: "DELETE", path: get}, 405, `use GET, HEAD, POST`},
		{"no credential", request{path: get, token: "none"}, 401, `unauthorized`},
		{"a token that may only send", request{path: get, token: sender}, 403, `forbidden`},
		{"no such call", request{path: "/api/publications/get_list", undocumented: true}, 404, `not_found`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := s.ask(t, tt.q); a.status != tt.status || !strings.Contains(a.body, tt.body) {
				t.Errorf("%d %s, want %d and %s", a.status, a.body, tt.status, tt.body)
			}
		})
	}
	var got wire.PublicationReport
	if err := json.Unmarshal([]byte(s.ask(t, request{path: get}).body), &got); err != nil {
		t.Fatal(err)
	}
	upper := strings.ToUpper
	want := wire.PublicationReport{Status: "ok", ReturnData: wire.Publication{Id: reportID, Name: "A & B", Desc: "<b>x", Published: 1775001600, Updated: 1775001600,
		ReportGroup: "apt", Tags: []string{"t"}, TagsGeo: []string{}, TagsIndustry: []string{}, TagsActors: []string{}, Type: "APT", Sources: []string{"reports"},
		Files: []wire.PublicationFile{
			{Zone: wire.Red, Md5: upper(knownMD5), Sha1: upper(knownSHA1), Sha256: upper(knownSHA256), HitsCount: 4, FirstSeen: "2026-05-01T08:15Z", LastSeen: "2026-05-01T08:15Z", DetectionName: "T.A"},
			{Zone: wire.Grey, Sha256: upper(otherSHA256)},
		}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	// A file's STIX bundle gives the report its own date, not the file's.
	if a := s.ask(t, request{path: "/api/hash/" + knownMD5 + "?format=stix"}); !strings.Contains(a.body, `"published":"2026-04-01T00:00:00.000Z"`) || !strings.Contains(a.body, `"labels":["t"]`) {
		t.Errorf("no date or tags of the report in %s", a.body)
	}
	// Every Id of a file's answer is one that get_one knows.
	var report wire.HashReport
	if err := json.Unmarshal([]byte(s.ask(t, request{path: "/api/hash/" + knownMD5}).body), &report); err != nil {
		t.Fatal(err)
	}
	for _, r := range report.FileGeneralInfo.RelatedAptReports {
		if a := s.ask(t, request{path: "/api/publications/get_one?publication_id=" + url.QueryEscape(r.Id)}); a.status != 200 {
			t.Errorf("%s: %d %s", r.Id, a.status, a.body)
		}
	}
	if n := len(report.FileGeneralInfo.RelatedAptReports); n != 1 {
		t.Errorf("%d reports", n)
	}
}

// TestPublicationQuota: an answer and an unknown id cost a unit each, what is refused nothing, and nothing is answered beyond.
func TestPublicationQuota(t *testing.T) {
	s := published(t)
	quota := uint64(2)
	token := s.token(t, access.NewToken{Account: "few", Quota: &quota})
	path := "/api/publications/get_one?publication_id="
	for i, tt := range []struct {
		id     string
		status int
	}{{"", 400}, {"none", 404}, {url.QueryEscape(reportID), 200}, {url.QueryEscape(reportID), 429}, {"none", 429}} {
		if a := s.ask(t, request{path: path + tt.id, token: token}); a.status != tt.status {
			t.Errorf("%d: %d %s, want %d", i, a.status, a.body, tt.status)
		}
	}
}
