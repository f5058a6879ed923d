package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// bulkOf puts an action before each document.
func bulkOf(action string, documents ...string) string {
	return action + "\n" + strings.Join(documents, "\n"+action+"\n") + "\n"
}

// TestShippersRequests holds what each shipper sends, recorded by form, against what it needs back.
func TestShippersRequests(t *testing.T) {
	s := newServer(t, store.Options{})
	token := s.token(t, access.NewToken{Account: "ship", Scopes: []access.Scope{access.Ingest}})
	key := http.Header{"Authorization": {"ApiKey " + base64.StdEncoding.EncodeToString([]byte("any:"+token))}}
	ndjson := http.Header{"Authorization": key["Authorization"], "Content-Type": {"application/x-ndjson"}}
	vnd := http.Header{"Authorization": key["Authorization"], "Content-Type": {"application/vnd.elasticsearch+json;compatible-with=8"}, "Content-Encoding": {"gzip"}}
	for _, tt := range []struct {
		name   string
		q      request
		status int
		want   string // in the body
		hits   uint64
	}{
		{"winlogbeat asks for the version", request{path: "/elastic/", header: key}, 200, `"number":"8.`, 0},
		{"and for it without a slash, with another credential", request{path: "/elastic", token: token, account: "ship"}, 200, `"tagline":"You Know, for Search"`, 0},
		{"and for the licence", request{path: "/elastic/_license?human=false", header: key}, 200, `"status":"active"`, 0},
		{"and for the policy", request{path: "/elastic/_ilm/policy/winlogbeat", header: key}, 200, `{}`, 0},
		{"and sets it up", request{method: "PUT", path: "/elastic/_ilm/policy/winlogbeat", header: key, body: strings.NewReader(`{}`)}, 200, `"acknowledged":true`, 0},
		{"and its template", request{method: "PUT", path: "/elastic/_index_template/winlogbeat-8.17.0", header: key, body: strings.NewReader(`{}`)}, 200, `"acknowledged":true`, 0},
		{"and its data stream", request{method: "PUT", path: "/elastic/_data_stream/winlogbeat-8.17.0", header: key}, 200, `"acknowledged":true`, 0},
		{"and delivers", request{method: "POST", path: "/elastic/_bulk?filter_path=errors%2Citems", header: vnd,
			body: bytes.NewReader(gzipped(t, bulkOf(`{"create":{"_index":"winlogbeat-8.17.0"}}`, sysmonStart(1), sysmonStart(2))))}, 200, `"result":"created","status":201`, 2},
		{"filebeat delivers a line as message", request{method: "POST", path: "/elastic/_bulk", header: ndjson,
			body: strings.NewReader(bulkOf(`{"create":{"_index":"filebeat-8.17.0","_id":"a1"}}`, `{"@timestamp":"2026-05-01T09:00:00.000Z","message":`+quoted(sysmonStart(3))+`,"log":{"offset":0}}`))}, 200, `"status":201`, 3},
		{"vector looks first", request{method: "HEAD", path: "/elastic/", header: key}, 200, ``, 3},
		{"vector's health", request{path: "/elastic/_cluster/health", header: key}, 200, `"status":"green"`, 3},
		{"rsyslog's health", request{path: "/elastic/_cat/health", header: key}, 200, `green`, 3},
		{"vector delivers", request{method: "POST", path: "/elastic/_bulk", header: ndjson,
			body: strings.NewReader(bulkOf(`{"create":{"_index":"vector-2026.05.01","_id":"v"}}`, `{"message":`+quoted(sysmonStart(4))+`,"source_type":"file"}`))}, 200, `"_id":"v"`, 4},
		{"fluent bit delivers its tail's log", request{method: "POST", path: "/elastic/_bulk", header: ndjson,
			body: strings.NewReader(bulkOf(`{"create":{"_index":"fluent-bit","_type":"_doc"}}`, `{"@timestamp":"2026-05-01T09:00:00.000Z","log":`+quoted(sysmonStart(5))+`}`))}, 200, `"errors":false`, 5},
		{"a document alone", request{method: "POST", path: "/elastic/logs/_doc", header: key, body: strings.NewReader(`{}`)}, 404, `_bulk alone`, 5},
		{"a search", request{method: "POST", path: "/elastic/logs/_search", header: key, body: strings.NewReader(`{}`)}, 404, `_bulk alone`, 5},
		{"something deleted", request{method: "DELETE", path: "/elastic/logs", header: key}, 405, `method_not_allowed`, 5},
		{"an ApiKey that is none", request{path: "/elastic/", header: http.Header{"Authorization": {"ApiKey abc"}}}, 401, `unauthorized`, 5},
	} {
		tt.q.undocumented = tt.status == 404
		a := s.ask(t, tt.q)
		if a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
		if a.header.Get("X-Elastic-Product") != "Elasticsearch" {
			t.Errorf("%s: the product's header is missing", tt.name)
		}
		if tt.hits == 0 {
			continue
		}
		if got := s.hits(t); got != tt.hits {
			t.Errorf("%s: %d hits, want %d", tt.name, got, tt.hits)
		}
	}
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestBulkItems: each document has its own fate, and one that is wrong hurts no other.
func TestBulkItems(t *testing.T) {
	s := newServer(t, store.Options{})
	body := bulkOf(`{"create":{}}`, sysmonStart(1)) +
		bulkOf(`{"index":{"_index":"own","_id":"7"}}`, sysmonStart(2)) +
		bulkOf(`{"create":{}}`, `{"broken":`) +
		bulkOf(`{"create":{}}`, `{"message":"nothing of files"}`) +
		bulkOf(`{"create":{}}`, sysmonStart(1)) + // the same document again
		`{"delete":{"_id":"7"}}` + "\n" +
		bulkOf(`{"update":{"_id":"7"}}`, `{"doc":{}}`) +
		bulkOf(`{"create":{}}`, strings.Replace(sysmonStart(3), "SHA256=", "SHA256=0", 1)) +
		bulkOf(`{"create":{}}`, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`) +
		bulkOf(`{"create":{}}`, sysmonStart(4))
	type result struct {
		Index  string `json:"_index"`
		Result string
		Status int
		Error  *struct{ Type string }
	}
	fates := func() (all []string) {
		a := s.ask(t, request{method: "POST", path: "/elastic/logs/_bulk", body: strings.NewReader(body)})
		var got struct {
			Errors bool
			Items  []map[string]result
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || !got.Errors {
			t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		for _, item := range got.Items {
			for action, r := range item {
				fate := fmt.Sprintf("%s %s %d %s", action, r.Index, r.Status, r.Result)
				if r.Error != nil {
					fate += r.Error.Type
				}
				all = append(all, fate)
			}
		}
		return all
	}
	want := []string{"create logs 201 created", "index own 201 created", "create logs 400 illegal_argument_exception", "create logs 200 noop", "create logs 200 noop",
		"delete logs 400 illegal_argument_exception", "update logs 400 illegal_argument_exception", "create logs 400 document_parsing_exception",
		"create logs 400 illegal_argument_exception", "create logs 201 created"}
	if diff := cmp.Diff(want, fates()); diff != "" {
		t.Error(diff)
	}
	// The MD5 of the one that is partly wrong was taken, and is tied to the file by the others.
	if got := s.hits(t); got != 4 {
		t.Errorf("%d hits, want 4", got)
	}
	fates()
	if got := s.hits(t); got != 4 {
		t.Errorf("%d hits after the same again, want 4", got)
	}
	for _, tt := range []struct{ body, want string }{
		{"", "holds no document"},
		{"\n\n", "holds no document"},
		{`{"create":{}}`, "line 2: the document of the last action is missing"},
		{"{}\n{}\n", "line 1: not an action"},
		{sysmonStart(1), "line 1: not an action"},
		{bulkOf(`{"invent":{}}`, `{}`), "there is no action"},
		{strings.Repeat("x", 2<<20), "line 1: not an action"},
	} {
		if a := s.ask(t, request{method: "POST", path: "/elastic/_bulk", body: strings.NewReader(tt.body)}); a.status != 400 || !strings.Contains(a.body, tt.want) {
			t.Errorf("%.40q: %d %s", tt.body, a.status, a.body)
		}
	}
}

// TestBulkAnyCutting: documents that are delivered again and again, in other company each time, while the store fails now and then, count once.
func TestBulkAnyCutting(t *testing.T) {
	const n = 300
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := newServerOn(t, &unsteady{Store: mem.New(), rnd: rnd}, store.Options{})
		missing := map[int]bool{}
		for i := range n {
			missing[i] = true
		}
		for rounds := 0; len(missing) > 0; rounds++ {
			if rounds > 1000 {
				t.Fatal("it never ends")
			}
			from := rnd.IntN(n+80) - 80
			from, to := max(from, 0), min(from+80, n)
			var documents []string
			for i := from; i < to; i++ {
				documents = append(documents, sysmonStart(i))
			}
			a := s.ask(t, request{method: "POST", path: "/elastic/_bulk", body: strings.NewReader(bulkOf(`{"create":{}}`, documents...))})
			switch a.status {
			case 200:
				for i := from; i < to; i++ {
					delete(missing, i)
				}
			case 503:
			default:
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		if got := s.hits(t); got != n {
			t.Errorf("seed %d: %d hits, want %d", seed, got, n)
		}
	}
}

// TestBulkParents: a process whose parent's start came in an earlier request of the same account is tied to it by hash; of another account, it is not.
func TestBulkParents(t *testing.T) {
	s := newServer(t, store.Options{})
	child := func(n int) string {
		text := strings.NewReplacer(strings.ToUpper(knownSHA256), strings.ToUpper(otherSHA256[1:])+fmt.Sprint(n), strings.ToUpper(knownMD5), strings.ToUpper(unknownMD5[1:])+fmt.Sprint(n),
			`"Image":`, fmt.Sprintf(`"ParentProcessGuid":"{5c1e37f0-0000-665f-03e9-%012x}","ParentImage":"C:\\a\\b.exe","Image":`, 2)).Replace(sysmonStart(10 + n))
		return bulkOf(`{"create":{}}`, text)
	}
	for i, account := range []string{"one", "one", "two"} {
		token := s.token(t, access.NewToken{Account: account, Scopes: []access.Scope{access.Ingest}})
		body := bulkOf(`{"create":{}}`, sysmonStart(1))
		if i > 0 {
			body = child(i)
		}
		if a := s.ask(t, request{method: "POST", path: "/elastic/_bulk", token: token, body: strings.NewReader(body)}); a.status != 200 || !strings.Contains(a.body, `"created"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	a := s.ask(t, request{path: "/api/hash/" + knownSHA256 + "?sections=FileStartedObjects"})
	if strings.Count(a.body, `"HitsCount":1`) != 1 || !strings.Contains(strings.ToLower(a.body), unknownMD5[1:]+"1") {
		t.Errorf("what it started: %s", a.body)
	}
	a = s.ask(t, request{path: "/api/hash/" + otherSHA256[1:] + "2?sections=FileStartedBy"})
	if !strings.Contains(a.body, `"Md5":""`) || !strings.Contains(a.body, `b.exe`) {
		t.Errorf("of the other account, by path alone: %s", a.body)
	}
}

// TestBulkAtOnce: the same documents in several requests at once count once.
func TestBulkAtOnce(t *testing.T) {
	s := newServer(t, store.Options{})
	var documents []string
	for i := range 200 {
		documents = append(documents, sysmonStart(i))
	}
	body := bulkOf(`{"create":{}}`, documents...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a := s.ask(t, request{method: "POST", path: "/elastic/_bulk", body: strings.NewReader(body)}); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	if got := s.hits(t); got != 200 {
		t.Errorf("%d hits, want 200", got)
	}
}

// TestBulkOrderOfKeys: a document whose keys come in another order, as Filebeat writes them at each try, is the same; one with another number is not.
func TestBulkOrderOfKeys(t *testing.T) {
	s := newServer(t, store.Options{})
	send := func(around string) {
		t.Helper()
		document := strings.Replace(around, "LINE", quoted(sysmonStart(1)), 1)
		if a := s.ask(t, request{method: "POST", path: "/elastic/logs/_bulk", body: strings.NewReader(bulkOf(`{"create":{}}`, document))}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for i, step := range []struct {
		document string
		hits     uint64
	}{
		{`{"message":LINE,"log":{"offset":12345678901234567890,"file":{"path":"/a"}},"ecs":{"version":"1.12.0"}}`, 1},
		{`{"ecs":{"version":"1.12.0"},"log":{"file":{"path":"/a"},"offset":12345678901234567890},"message":LINE}`, 1},
		{`{"ecs":{"version":"1.12.0"},"log":{"file":{"path":"/a"},"offset":12345678901234567891},"message":LINE}`, 2},
	} {
		if send(step.document); s.hits(t) != step.hits {
			t.Errorf("after %d: %d hits, want %d", i+1, s.hits(t), step.hits)
		}
	}
}
