package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"spoor/internal/access"
	"spoor/internal/store"
	"spoor/wire"
)

// TestClients asks as the public clients of the portal and of OpenTIP do, and reads what they read without looking whether it is there.
func TestClients(t *testing.T) {
	s := filled(t)
	s.send(t, []byte(`{"source":{"type":"feed","name":"reports"},"file":{"md5":"`+knownMD5+`"},"publication":{"id":"R-1","type":"APT","title":"Harbour"}}`), nil)
	soar := s.token(t, access.NewToken{Account: "soar"})
	key := http.Header{"X-Api-Key": {soar}, "Accept": {"application/json"}, "Content-Type": {"application/json"}}
	for _, tt := range []struct {
		name string
		q    request
		keys string // dotted; each must be there and not null
	}{
		{"SOAR: connection test", request{path: "/api/domain/example.com?sections=Zone,LicenseInfo", account: "soar", token: soar}, "Zone LicenseInfo.DayQuota LicenseInfo.DayRequests"},
		{"SOAR: file", request{path: "/api/hash/" + knownMD5 + "?sections=Zone,FileGeneralInfo,DetectionsInfo", account: "soar", token: soar},
			"Zone FileGeneralInfo.Md5 FileGeneralInfo.Sha1 FileGeneralInfo.Sha256 FileGeneralInfo.HitsCount FileGeneralInfo.HasApt FileGeneralInfo.RelatedAptReports DetectionsInfo.0.DetectionName"},
		{"SOAR: domain", request{path: "/api/domain/unseen.example?sections=Zone,DomainGeneralInfo", account: "soar", token: soar},
			"Zone DomainGeneralInfo.Domain DomainGeneralInfo.HitsCount DomainGeneralInfo.Categories DomainGeneralInfo.HasApt DomainGeneralInfo.RelatedAptReports"},
		{"SOAR: address", request{path: "/api/ip/192.0.2.1?sections=Zone,IpGeneralInfo", account: "soar", token: soar},
			"Zone IpGeneralInfo.Ip IpGeneralInfo.HitsCount IpGeneralInfo.Categories IpGeneralInfo.HasApt IpGeneralInfo.RelatedAptReports IpGeneralInfo.ThreatScore"},
		{"SOAR: URL, without scheme", request{path: "/api/url/evil.example%2Fx?sections=Zone,UrlGeneralInfo", account: "soar", token: soar},
			"Zone UrlGeneralInfo.Url UrlGeneralInfo.Categories UrlGeneralInfo.HasApt UrlGeneralInfo.RelatedAptReports"},
		{"SOAR: more", request{path: "/api/ip/192.0.2.1?count=100", account: "soar", token: soar}, "Zone FilesDownloadedFromIp HostedUrls IpDnsResolutions"},
		{"SOAR: report", request{path: "/api/publications/get_one?publication_id=R-1&include_info=all", account: "soar", token: soar},
			"return_data.name return_data.id return_data.desc return_data.tags_geo return_data.tags_industry return_data.tags_actors"},
		{"a plug-in without query", request{path: "/api/hash/" + strings.ToUpper(knownSHA1), account: "soar", token: soar}, "FileGeneralInfo.HitsCount FileGeneralInfo.FirstSeen FileGeneralInfo.LastSeen"},
		{"enrichment: file", request{path: "/api/hash/" + knownSHA256 + "?count=1&format=json&sections=LicenseInfo%2CZone%2CFileGeneralInfo%2CDetectionsInfo%2CFileDownloadedFromUrls%2CIndustries%2CFileNames", token: soar},
			"LicenseInfo.DayRequests LicenseInfo.DayQuota FileGeneralInfo FileNames.0.FileName DetectionsInfo.0.LastDetectDate DetectionsInfo.0.DetectionMethod FileDownloadedFromUrls.0.Url FileDownloadedFromUrls.0.Zone"},
		{"enrichment: address", request{path: "/api/ip/192.0.2.9?count=1&format=json&sections=LicenseInfo%2CZone%2CIpGeneralInfo%2CFilesDownloadedFromIp%2CHostedUrls%2CIpWhoIs%2CIpDnsResolutions%2CIndustries", token: soar},
			"LicenseInfo.DayRequests IpGeneralInfo FilesDownloadedFromIp HostedUrls IpDnsResolutions.0.Domain IpDnsResolutions.0.Zone IpDnsResolutions.0.FirstSeen IpDnsResolutions.0.HitsCount"},
		{"enrichment: domain", request{path: "/api/domain/evil.example?count=1&format=json&sections=LicenseInfo%2CZone%2CDomainGeneralInfo%2CDomainDnsResolutions%2CFilesDownloaded%2CFilesAccessed%2CIndustries", token: soar},
			"LicenseInfo.DayRequests DomainDnsResolutions.0.Ip FilesAccessed.0.Md5 FilesAccessed.0.Zone FilesAccessed.0.Url FilesAccessed.0.FirstSeen FilesAccessed.0.LastSeen"},
		{"a hosted URL", request{path: "/api/domain/cdn.example", token: soar}, "HostedUrls.0.Url HostedUrls.0.Zone HostedUrls.0.FirstSeen HostedUrls.0.LastSeen FilesDownloaded.0.Md5"},
		{"a section that Spoor keeps nothing for, alone", request{path: "/api/hash/" + knownMD5 + "?sections=Industries", token: soar}, ""},
		{"a base address with a slash", request{path: "//api/hash/" + knownMD5 + "?sections=Zone", token: soar}, "Zone"},
		{"a slash at the end", request{path: "/api/hash/" + knownMD5 + "/?sections=Zone", token: soar}, "Zone"},
		{"a URL that is not escaped", request{path: "/api/url/http://evil.example/x", token: soar}, "FilesAccessed.0.Zone"},
		{"OpenTIP: hash", request{path: "/api/v1/search/hash?request=" + knownMD5, token: "none", header: key}, "Zone FileGeneralInfo.FileStatus FileGeneralInfo.Md5 DetectionsInfo.0.DetectionName"},
		{"OpenTIP: a slash at the end", request{path: "/api/v1/search/hash/?request=" + knownMD5, token: "none", header: key}, "Zone"},
		{"OpenTIP: a URL that is not escaped", request{path: "/api/v1/search/url?request=http://evil.example/x;y=1?a=b&c=d", token: "none", header: key}, "Zone UrlGeneralInfo.Url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.undocumented = strings.HasPrefix(tt.q.path, "//api") || strings.Contains(tt.q.path, "/?") // the description names each path once
			a := s.ask(t, tt.q)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			var v any
			if err := json.Unmarshal([]byte(a.body), &v); err != nil {
				t.Fatal(err)
			}
			for path := range strings.FieldsSeq(tt.keys) {
				at := v
				for name := range strings.SplitSeq(path, ".") {
					switch x := at.(type) {
					case map[string]any:
						at = x[name]
					case []any:
						if at = nil; len(x) > 0 {
							at = x[0]
						}
					default:
						at = nil
					}
				}
				if at == nil {
					t.Errorf("there is no %s: %s", path, a.body)
				}
			}
		})
	}
}

// TestAddressCount: count caps the rows of an address, too, and only json is a format there.
func TestAddressCount(t *testing.T) {
	s := newServer(t, store.Options{})
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, `{"source":{"type":"telemetry","name":"t"},"file":{"md5":"%032x"},"download":{"url":"http://h.example/%d"}}`+"\n", i+1, i)
	}
	s.send(t, []byte(b.String()+`{"source":{"type":"feed","name":"F"},"address":"http://h.example/3","listing":{"feed":"F","zone":"red"}}`), nil)
	a := s.ask(t, request{path: "/api/domain/h.example?count=2"})
	var r wire.DomainReport
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || len(r.FilesDownloaded) != 2 || len(r.HostedUrls) != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if u := r.HostedUrls[0]; u.Url != "http://h.example/3" || u.Zone != wire.Red {
		t.Errorf("first comes %+v, want the red one", u)
	}
	for _, query := range []string{"?count=0", "?count=1001", "?count=x", "?format=stix", "?format=xml"} {
		if a := s.ask(t, request{path: "/api/domain/h.example" + query}); a.status != 400 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// TestTooLong: a target over 8 KiB is 414 on every path of the API.
func TestTooLong(t *testing.T) {
	s := newServer(t, store.Options{})
	long := strings.Repeat("a", 8<<10)
	for _, path := range []string{"/api/hash/" + long, "/api/hash/" + knownMD5 + "?sections=" + long, "/api/domain/" + long, "/api/v1/search/url?request=" + long} {
		if a := s.ask(t, request{path: path}); a.status != 414 || !strings.Contains(a.body, "too_long") {
			t.Errorf("%.40s: %d %s", path, a.status, a.body)
		}
	}
}

// TestReceiptIsBounded: what a sender writes into a line does not come back whole, whichever field it is in.
func TestReceiptIsBounded(t *testing.T) {
	s := newServer(t, store.Options{})
	long := strings.Repeat("z", 100_000)
	file := `{"source":{"type":"telemetry","name":"t"},"file":{"sha256":"` + knownSHA256 + `"},`
	var b strings.Builder
	for range 40 {
		for _, line := range []string{`{"` + long + `":1}`, file + `"time":"` + long + `","sighting":{}}`, file + `"sighting":{"` + long + `":1}}`, `{"file":{"md5":"` + long + `"}}`,
			file + `"detection":{"name":"x","zone":"` + long + `"}}`, strings.Repeat("[", 100_000), strings.Repeat(`{"source":`, 10_000)} {
			b.WriteString(line + "\n")
		}
	}
	if status, r, body := s.send(t, []byte(b.String()), nil); status != 400 || r.Refused != 280 || len(body) > 100_000 {
		t.Errorf("%d, %d refused, %d bytes: %.300s", status, r.Refused, len(body), body)
	}
}

// TestBodyHeaders: what is given twice and may stand once is refused; a body that says it is too large is told before it is read.
func TestBodyHeaders(t *testing.T) {
	s := newServer(t, store.Options{})
	for _, tt := range []struct {
		header http.Header
		status int
	}{
		{http.Header{"Spoor-Batch-Id": {"a", "b"}}, 400},
		{http.Header{"Content-Encoding": {"gzip", "gzip"}}, 415},
		{http.Header{"Content-Encoding": {"gzip, gzip"}}, 415},
	} {
		if a := s.ask(t, request{method: "POST", path: "/api/observations", header: tt.header, body: strings.NewReader(sightings(1))}); a.status != tt.status {
			t.Errorf("%v: %d %s, want %d", tt.header, a.status, a.body, tt.status)
		}
	}
}

// TestCrowd: a thousand clients look up and send at once. Nothing fails, every acknowledged observation is counted once, and the server's
// goroutines go back to what they were.
func TestCrowd(t *testing.T) {
	s := filled(t)
	before := s.hits(t)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	idle := runtime.NumGoroutine()
	var sent atomic.Uint64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			method, path, body, want := http.MethodGet, "/api/hash/"+knownMD5, "", 200
			switch i % 4 {
			case 0:
				method, path, body = http.MethodPost, "/api/observations", sightings(1+i%7)
			case 1:
				path, want = "/api/hash/"+unknownMD5, 404
			case 2:
				path = "/api/domain/evil.example"
			}
			req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+s.admin)
			req.Header.Set(wire.BatchID, fmt.Sprint(i))
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
			if method == http.MethodPost {
				sent.Add(uint64(1 + i%7))
			}
		})
	}
	wg.Wait()
	client.CloseIdleConnections()
	if got := s.hits(t); got != before+sent.Load() {
		t.Errorf("%d hits, want %d", got, before+sent.Load())
	}
	if !eventually(func() bool { return runtime.NumGoroutine() <= idle+10 }) {
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), idle)
	}
}
