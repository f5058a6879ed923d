package feed

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// object is a STIX indicator of one file.
func object(n int) string {
	return fmt.Sprintf(`{"type":"indicator","pattern":"[file:hashes.MD5 = '%s']"}`, md5Of(n))
}

// TestTAXII: pages are asked for one after another; a run that breaks off goes on at its page; the next one asks for what was added since.
func TestTAXII(t *testing.T) {
	fail := true
	var asked []string
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api1/collections/c1/objects/" || r.Header.Get("Accept") != taxiiType {
			t.Errorf("%s, %s", r.URL.Path, r.Header.Get("Accept"))
		}
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Content-Type", taxiiType)
		q := r.URL.Query()
		switch {
		case q.Get("added_after") == "2026-05-02T00:00:00.000000Z":
			io.WriteString(w, `{}`)
		case q.Get("next") == "":
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-05-01T00:00:00.000000Z")
			fmt.Fprintf(w, `{"more":true,"next":"p2","objects":[%s,%s]}`, object(0), object(1))
		case q.Get("next") == "p2" && fail:
			w.WriteHeader(404)
		case q.Get("next") == "p2":
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-05-01T12:00:00.000000Z")
			fmt.Fprintf(w, `{"objects":[%s],"next":"p3","more":true}`, object(2))
		default:
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-05-02T00:00:00.000000Z")
			fmt.Fprintf(w, `{"objects":[%s]}`, object(3))
		}
	})
	h := newHouse(t, "feeds:\n  - {name: t, taxii: '"+address+"/api1/collections/c1/', format: hashes}\n")
	if s := h.want("t", Failing, 2); !strings.Contains(s.Error, "404") {
		t.Errorf("%q", s.Error)
	}
	if a, b := h.listed(md5Of(1)), h.listed(md5Of(2)); a != "red; t 1–1" || b != "unknown" {
		t.Errorf("%s, %s", a, b)
	}
	fail = false
	h.open()
	h.want("t", OK, 4)
	h.later(48 * time.Hour)
	h.want("t", OK, 4)
	if got := h.listed(md5Of(0)); got != "red; t 1–1" {
		t.Errorf("increments are no snapshots, but: %s", got)
	}
	want := []string{"", "next=p2", "next=p2", "next=p3", "added_after=2026-05-02T00%3A00%3A00.000000Z"}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q\nwant  %q", asked, want)
	}
}

// TestTAXIIHostile: envelopes that are none, that break off or lead in circles end the run with an error.
func TestTAXIIHostile(t *testing.T) {
	for _, tt := range []struct{ body, err string }{
		{`[]`, "no JSON object"},
		{`{"more":true,"objects":[` + object(1) + `]}`, "not how to go on"},
		{`{"objects":[` + object(1) + `,`, "breaks off"},
		{`{"objects":{}}`, "a list stands elsewhere"},
		{`{"objects":[` + object(1) + `}`, "TAXII"},
		{``, "breaks off"},
	} {
		address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.body) })
		h := newHouse(t, "feeds:\n  - {name: t, taxii: '"+address+"/c/', format: hashes}\n")
		if s := h.run("t"); s.State != Failing || !strings.Contains(s.Error, tt.err) {
			t.Errorf("%s: %s %q, want %q", tt.body, s.State, s.Error, tt.err)
		}
		if got := h.listed(md5Of(1)); got != "unknown" {
			t.Errorf("%s: %s", tt.body, got)
		}
	}
}

// TestTAXIIHeld: a page that calls trusted files bad waits, and those behind it with it.
func TestTAXIIHeld(t *testing.T) {
	address, asked := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("next") == "" && r.URL.Query().Get("added_after") == "" {
			fmt.Fprintf(w, `{"more":true,"next":"2","objects":[%s]}`, object(1))
			return
		}
		w.Header().Set("X-TAXII-Date-Added-Last", "2026-05-02T00:00:00.000000Z")
		fmt.Fprintf(w, `{"objects":[%s]}`, object(2))
	})
	h := newHouse(t, "feeds:\n  - {name: t, taxii: '"+address+"/c/', format: hashes}\n")
	h.record(`{"source":{"type":"feed","name":"good"},"file":{"md5":"` + md5Of(1) + `"},"listing":{"feed":"good","zone":"green"}}`)
	h.want("t", HeldUp, 0)
	h.want("t", HeldUp, 0)
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	if err := h.runner.Do(t.Context(), "t", true); err != nil {
		t.Fatal(err)
	}
	h.want("t", OK, 2)
	if a, b := h.listed(md5Of(1)), h.listed(md5Of(2)); !strings.HasPrefix(a, "red") || b != "red; t 1–1" {
		t.Errorf("%s, %s", a, b)
	}
}

// TestMISP: a server's events are asked for page by page with its key, then those since the last time.
func TestMISP(t *testing.T) {
	t.Setenv("MISP_KEY", "the-key")
	var asked []map[string]any
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/events/restSearch" || r.Header.Get("Authorization") != "the-key" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s %s %v", r.Method, r.URL.Path, r.Header)
		}
		var q map[string]any
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked = append(asked, q)
		n := mispPage
		if q["page"] == 2.0 {
			n = 3
		}
		if q["timestamp"] != nil {
			n = 0
		}
		io.WriteString(w, `{"response": [`)
		for i := range n {
			if i > 0 {
				io.WriteString(w, ",\n")
			}
			fmt.Fprintf(w, `{"Event":{"info":"x","Attribute":[{"type":"md5","value":"%s"}]}}`, md5Of(int(q["page"].(float64))*1000+i))
		}
		io.WriteString(w, "]}\n")
	})
	h := newHouse(t, "feeds:\n  - {name: m, misp: '"+address+"', format: hashes, credential: {env: MISP_KEY}}\n")
	began := h.clock()
	h.want("m", OK, mispPage+3)
	h.later(24 * time.Hour)
	h.want("m", OK, mispPage+3)
	if got := h.listed(md5Of(1000)); got != "red; m 1–1" {
		t.Error(got)
	}
	if len(asked) != 3 || asked[0]["page"] != 1.0 || asked[0]["timestamp"] != nil || asked[1]["page"] != 2.0 || asked[2]["page"] != 1.0 ||
		asked[2]["timestamp"] != fmt.Sprint(began.Unix()-3600) {
		t.Errorf("%v", asked)
	}
}

// TestMISPFeed: of a feed's events those are fetched whose time stamp is new; a name that is no event's is none.
func TestMISPFeed(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }
	manifest := map[string]any{id(1): map[string]string{"timestamp": "100"}, id(2): map[string]any{"timestamp": 100}, "../../secret": map[string]string{"timestamp": "1"}}
	var asked []string
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, strings.TrimPrefix(r.URL.Path, "/osint/"))
		if strings.HasSuffix(r.URL.Path, "/manifest.json") {
			json.NewEncoder(w).Encode(manifest)
			return
		}
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/osint/%08x-", &n); err != nil {
			t.Errorf("%s is asked for", r.URL.Path)
		}
		fmt.Fprintf(w, `{"Event":{"Attribute":[{"type":"md5","value":"%s"}]}}`, md5Of(n))
	})
	h := newHouse(t, "feeds:\n  - {name: o, misp-feed: '"+address+"/osint/', format: hashes}\n")
	h.want("o", OK, 2)
	h.open()
	h.want("o", OK, 2)
	manifest[id(2)] = map[string]string{"timestamp": "101"}
	delete(manifest, id(1))
	h.want("o", OK, 3)
	want := []string{"manifest.json", id(1) + ".json", id(2) + ".json", "manifest.json", "manifest.json", id(2) + ".json"}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q", asked)
	}
	if a, b := h.listed(md5Of(1)), h.listed(md5Of(2)); a != "red; o 1–1" || b != "red; o 1–1" {
		t.Errorf("%s, %s", a, b)
	}
}

// TestSignature holds the signature against the example that AWS publishes for GET Object.
func TestSignature(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", "bytes=0-9")
	signV4(r, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	const want = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := r.Header.Get("Authorization"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := awsEscape("/a b+c=ü/~x", true); got != "/a%20b%2Bc%3D%C3%BC/~x" {
		t.Error(got)
	}
}

// TestS3: an object is asked for at its bucket's path, signed.
func TestS3(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bucket/a/b c.txt" || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=ID/20260501/r1/s3/aws4_request,") ||
			r.Header.Get("X-Amz-Content-Sha256") != emptyPayload || r.Header.Get("X-Amz-Date") != "20260501T080000Z" {
			t.Errorf("%s %v", r.URL.Path, r.Header)
		}
		io.WriteString(w, hashes(0, 2))
	})
	h := newHouse(t, "feeds:\n  - {name: s, s3: 's3://bucket/a/b c.txt', endpoint: '"+address+"', region: r1, credential: {user: ID, file: "+secret+"}}\n")
	if s := h.want("s", OK, 2); s.Place != "s3://bucket/a/b c.txt" {
		t.Error(s.Place)
	}
}

// TestEnvelopeBounded: one endless object is given up; many that are large together are not.
func TestEnvelopeBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"objects":["`), zeros{})
	if _, _, _, err := envelope(endless, io.Discard); err == nil || !strings.Contains(err.Error(), "one value is larger") {
		t.Errorf("%v", err)
	}
	large := `"` + strings.Repeat("x", maxObject/8) + `"`
	many := `{"objects":[` + strings.Repeat(large+",", 9) + large + `],"next":"n"}`
	if n, _, next, err := envelope(strings.NewReader(many), io.Discard); err != nil || n != 10 || next != "n" {
		t.Errorf("%d %q %v", n, next, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// FuzzEnvelope: whatever a TAXII server sends is read or refused, and what is written is a bundle.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"more":true,"next":"x","objects":[{"type":"indicator"},{}]}`))
	f.Add([]byte(`{"objects":null,"more":false}`))
	f.Add([]byte(`{"objects":[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var out strings.Builder
		n, _, _, err := envelope(strings.NewReader(string(body)), &out)
		if err != nil {
			return
		}
		var bundle struct{ Objects []json.RawMessage }
		if err := json.Unmarshal([]byte(out.String()), &bundle); err != nil || len(bundle.Objects) != n {
			t.Fatalf("%v: %d of %d objects", err, len(bundle.Objects), n)
		}
	})
}

// TestTAXIISTIX: what a collection gives is recognised as STIX.
func TestTAXIISTIX(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"objects":[{"type":"indicator","spec_version":"2.1","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","created":"2026-04-01T00:00:00Z","modified":"2026-04-01T00:00:00Z",`+
			`"indicator_types":["malicious-activity"],"name":"x","pattern":"[file:hashes.MD5 = '%s']","pattern_type":"stix","valid_from":"2026-04-01T00:00:00Z"}]}`, md5Of(1))
	})
	h := newHouse(t, "feeds:\n  - {name: t, taxii: '"+address+"/c/'}\n")
	h.want("t", OK, 1)
	if got := h.listed(md5Of(1)); got != "red; t 1–1" {
		t.Error(got)
	}
}
