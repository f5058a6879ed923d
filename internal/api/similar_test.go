package api_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/access"
	"spoor/internal/intel"
	"spoor/internal/store"
	"spoor/wire"
)

const (
	tlshA   = "T1FEA1180E99A9BBBD4CE7287C20AD79D271CD93785C76B6E2908AA764F104CD11CB34E1"
	tlshB   = "T1FEA1180E99A9BBBD4CE7287C20AD79D271CD93785C76B6E2908AA764F104CD11CB34E0" // distance 1
	tlshC   = "T1FEA1180E99A9BBBD4CE7287C20AD79D271CD93785C76B6E2908AA764F104CD1100000F" // farther than 30
	ssdeepA = "96:JT7oTOC2+nqofcZ9Jp/KU9OiLG+6mQr2JUggTwaDW:J3GOt+q4I/KUtt6mQv1TwoW"
	ssdeepB = "96:JT7oTOC2+nqofcZ9Jp/KU9OiLG+6mQr2JUggTwaXX:J3GOt+q4I/KUtt6mQv1TXXX"
	imphash = "f34d5f2d4577ed6d9ceec516c1f5a744"
)

// TestSimilar: what resembles what, the surest first, with evidence; bounds, quota, markings and refusals as of other calls.
func TestSimilar(t *testing.T) {
	s := newServer(t, store.Options{})
	file := func(digit string) string { return strings.Repeat(digit, 32) }
	say := func(digit, algorithm, value, marking string) string {
		return `{"source":{"type":"feed","name":"f","marking":"` + marking + `"},"file":{"md5":"` + file(digit) + `"},"fuzzy_hash":{"algorithm":"` + algorithm + `","value":"` + value + `"}}` + "\n"
	}
	s.send(t, []byte(say("a", "tlsh", tlshA, "green")+say("a", "ssdeep", ssdeepA, "green")+say("a", "imphash", imphash, "green")+
		say("b", "tlsh", strings.ToLower(tlshB[2:]), "green")+say("b", "imphash", strings.ToUpper(imphash), "green")+
		say("c", "tlsh", tlshC, "green")+say("d", "ssdeep", ssdeepB, "green")+say("e", "tlsh", tlshA, "red")), nil)
	green := intel.TLPGreen
	low := s.token(t, access.NewToken{Account: "low", Clearance: &green})
	type row struct {
		Md5, Evidence string
		Confidence    int
	}
	for _, tt := range []struct {
		query string
		want  []row
	}{
		{"tlsh=" + tlshA, []row{{"a", "tlsh distance 0", 90}, {"b", "tlsh distance 1", 89}}},
		{"tlsh=" + strings.ToLower(tlshA[2:]) + "&distance=0", []row{{"a", "tlsh distance 0", 90}}},
		{"tlsh=" + tlshA + "&count=1", []row{{"a", "tlsh distance 0", 90}}},
		{"imphash=" + imphash, []row{{"a", "imphash", 60}, {"b", "imphash", 60}}},
		{"imphash=" + imphash + "&tlsh=" + tlshA, []row{{"a", "tlsh distance 0; imphash", 96}, {"b", "tlsh distance 1; imphash", 96}}},
		{"ssdeep=" + ssdeepA, []row{{"a", "ssdeep score 100", 90}, {"d", "ssdeep score 96", 86}}}, // the plus is not escaped
		{"ssdeep=" + url.QueryEscape(ssdeepA) + "&score=97", []row{{"a", "ssdeep score 100", 90}}},
		{"hash=" + file("a"), []row{{"b", "tlsh distance 1; imphash", 96}, {"d", "ssdeep score 96", 86}}},
		{"imphash=" + file("0"), nil},
		{"hash=" + file("c"), nil},
	} {
		t.Run(tt.query, func(t *testing.T) {
			a := s.ask(t, request{path: "/api/similar?" + tt.query, token: low})
			var r wire.SimilarReport
			if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 || r.LicenseInfo == nil {
				t.Fatalf("%d %s", a.status, a.body)
			}
			var got []row
			for _, x := range r.SimilarFiles {
				got = append(got, row{strings.ToLower(x.Md5[:1]), strings.Join(x.Evidence, "; "), x.Confidence})
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if a := s.ask(t, request{path: "/api/similar?distance=100&tlsh=" + tlshA, token: low}); !strings.Contains(a.body, strings.ToUpper(file("c"))) {
		t.Errorf("nothing farther than 30 within 100: %s", a.body)
	}
	if a := s.ask(t, request{path: "/api/similar?tlsh=" + tlshA}); !strings.Contains(a.body, strings.ToUpper(file("e"))) {
		t.Errorf("who may see all does not: %s", a.body)
	}
	for query, status := range map[string]int{"": 400, "tlsh=": 400, "tlsh=TNULL": 400, "tlsh=" + tlshA + "&tlsh=" + tlshA: 400, "tlsh=" + tlshA + "&distance=101": 400, "tlsh=" + tlshA + "&distance=x": 400,
		"ssdeep=3:a": 400, "ssdeep=" + ssdeepA + "&score=0": 400, "imphash=xyz": 400, "imphash=" + imphash + "&count=0": 400, "hash=1": 400, "distance=3": 400, "hash=" + file("9"): 404} {
		if a := s.ask(t, request{path: "/api/similar?" + query, token: low}); a.status != status {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	if a := s.ask(t, request{path: "/api/similar?tlsh=" + tlshA, token: "none"}); a.status != 401 {
		t.Errorf("without a token: %d", a.status)
	}
	one := uint64(1)
	poor := s.token(t, access.NewToken{Account: "poor", Quota: &one})
	for _, status := range []int{200, 429} {
		if a := s.ask(t, request{path: "/api/similar?tlsh=" + tlshA, token: poor}); a.status != status {
			t.Errorf("%d, want %d: %s", a.status, status, a.body)
		}
	}
	// The portal's rows have no evidence; the section that is asked for by name has.
	a := s.ask(t, request{path: "/api/hash/" + file("a") + "?sections=SimilarFiles,SimilarEvidence", token: low})
	var r wire.HashReport
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || len(r.SimilarFiles) != 2 || len(r.SimilarEvidence) != 2 || r.SimilarFiles[0].Evidence != nil || r.SimilarEvidence[0].Evidence == nil {
		t.Errorf("%s", a.body)
	}
	if a := s.ask(t, request{path: "/api/hash/" + file("a"), token: low}); strings.Contains(a.body, "vidence") {
		t.Errorf("%s", a.body)
	}
}
