package source

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

// fuzzRead reads foreign bytes: no panic; what comes out passes its check; what does not has a reason; all bounded; the same twice.
func fuzzRead(t *testing.T, b []byte, o Options) {
	t.Helper()
	o.Now = testNow
	first, result := read(t, bytes.NewReader(b), o)
	checkAll(t, first)
	if most := 10*len(b) + 10; len(first.observations)+len(first.refusals) > most {
		t.Errorf("%d observations and %d refusals of %d bytes", len(first.observations), len(first.refusals), len(b))
	}
	if result.Used+result.Repeats+result.Other > result.Records {
		t.Errorf("more than there is: %+v", result)
	}
	second, again := read(t, iotestChunks{bytes.NewReader(b), 7}, o)
	if diff := cmp.Diff(string(ndjson(t, first.observations)), string(ndjson(t, second.observations))); diff != "" {
		t.Errorf("not the same twice:\n%s", diff)
	}
	if diff := cmp.Diff(first.refusals, second.refusals); diff != "" {
		t.Errorf("not refused twice:\n%s", diff)
	}
	if result != again {
		t.Errorf("%+v, then %+v", result, again)
	}
}

// seeds adds the inputs of the golden cases of a reader.
func seeds(f *testing.F, reader string) {
	n := 0
	for _, dir := range goldenCases(f) {
		if filepath.Base(filepath.Dir(dir)) == reader {
			f.Add(golden(f, dir, "input"))
			n++
		}
	}
	if n == 0 {
		f.Fatalf("no seeds for %s", reader)
	}
}

func FuzzSysmonJSON(f *testing.F) {
	seeds(f, "sysmon-json")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: SysmonJSON}) })
}

func FuzzSysmonXML(f *testing.F) {
	seeds(f, "sysmon-xml")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: SysmonXML}) })
}

func FuzzHashList(f *testing.F) {
	seeds(f, "hashes")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: HashList}) })
}

func FuzzCSV(f *testing.F) {
	for _, reader := range []Format{CSV, MalwareBazaarCSV, ThreatFoxCSV, URLhausCSV} {
		seeds(f, string(reader))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: CSV}) })
}

func FuzzObservations(f *testing.F) {
	seeds(f, "observations")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: Observations}) })
}

// FuzzDetect reads by content.
func FuzzDetect(f *testing.F) {
	for _, reader := range []string{"sysmon-json", "sysmon-xml", "hashes", "observations", "defender", "ecs", "osquery", "ocsf", "crowdstrike", "wazuh", "velociraptor"} {
		seeds(f, reader)
	}
	f.Add([]byte("ElfFile\x00"))
	f.Add([]byte("\xff\xfe{\x00}\x00"))
	f.Add([]byte("{\x00\"\x00a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{}) })
}

func FuzzFindHashes(f *testing.F) {
	seeds(f, "hashes")
	f.Fuzz(func(t *testing.T, b []byte) {
		found := FindHashes(b)
		at := 0
		lower := bytes.ToLower(b)
		if len(lower) != len(b) {
			return // a character whose lower case is longer: places differ
		}
		for _, h := range found {
			// Each stands there, behind the one before, as it is and whole.
			i := bytes.Index(lower[at:], []byte(h.String()))
			if h.IsZero() || i < 0 {
				t.Fatalf("%v is not there from byte %d", h, at)
			}
			at += i + len(h.String())
		}
		if again := FindHashes(b); !slices.Equal(found, again) {
			t.Errorf("%v, then %v", found, again)
		}
	})
}

// FuzzFields holds the helpers that read single fields.
func FuzzFields(f *testing.F) {
	for _, s := range []string{"", "-", "2026-05-01 08:00:00.123", "2026-05-01T08:00:00Z", "2026-05-01T08:00:00+02:00", `C:\a.exe:Zone.Identifier`, `a:b:$DATA`, "C:", `\\server\share\f:s`,
		"[ZoneTransfer]  ZoneId=3  ReferrerUrl=https://example.com/  HostUrl=https://example.com/a.exe  ", "HostUrl=about:internet", "HostUrl=https://",
		"SHA1=DA39A3EE5E6B4B0D3255BFEF95601890AFD80709,MD5=D41D8CD98F00B204E9800998ECF8427E", "IMPHASH=00000000000000000000000000000000", "Unknown", "{5c1e37f0-0000-665f-0001-000000000400}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := sysmonTime(s); err != nil && !at.IsZero() {
			t.Errorf("%q is no time and %v", s, at)
		}
		file, stream := cutStream(s)
		if stream == "" && file != s && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, ":$DATA") {
			t.Errorf("%q lost its end: %q", s, file)
		}
		if !strings.HasPrefix(s, file) || strings.Contains(stream, "\\") && strings.LastIndexByte(s, '\\') < len(file) {
			t.Errorf("%q was parted into %q and %q", s, file, stream)
		}
		if url, _ := zoneTransfer(s); url != "" {
			if _, err := intel.ParseAddress(url); err != nil || !strings.Contains(s, "HostUrl="+url) {
				t.Errorf("%q holds no address %q", s, url)
			}
		}
		if id := guid(s); id != guid(id) {
			t.Errorf("%q has two spellings: %q, %q", s, id, guid(id))
		}
		k := &kept{}
		hashes, imphash := newSysmon(&reader{sink: k, name: "input"}).parseHashes(1, "Hashes", s)
		checkAll(t, k)
		for _, h := range []string{hashes.MD5.String(), hashes.SHA1.String(), hashes.SHA256.String(), imphash} {
			if !strings.Contains(strings.ToLower(s), h) {
				t.Errorf("%s is not in %q", h, s)
			}
		}
	})
}

func TestFields(t *testing.T) {
	for _, test := range []struct{ path, file, stream string }{
		{`C:\a.exe`, `C:\a.exe`, ""},
		{`C:\a.exe:Zone.Identifier`, `C:\a.exe`, "Zone.Identifier"},
		{`C:\a.exe:Zone.Identifier:$DATA`, `C:\a.exe`, "Zone.Identifier"},
		{`C:a.exe:s`, `C:a.exe`, "s"},
		{`C:\d:s\a.exe`, `C:\d:s\a.exe`, ""},
		{`\\server\share\a.exe:s`, `\\server\share\a.exe`, "s"},
		{`a.exe:s`, `a.exe`, "s"},
		{"", "", ""},
	} {
		if file, stream := cutStream(test.path); file != test.file || stream != test.stream {
			t.Errorf("cutStream(%q) = %q, %q; want %q, %q", test.path, file, stream, test.file, test.stream)
		}
	}
	for _, test := range []struct{ contents, url, referrer string }{
		{"", "", ""}, {"-", "", ""},
		{"[ZoneTransfer]  ZoneId=3", "", ""},
		{"[ZoneTransfer]\r\nZoneId=3\r\nHostUrl=https://a.example.com/x\r\nReferrerUrl=https://r.example.com\r\n", "https://a.example.com/x", "https://r.example.com"},
		{"HostUrl=about:internet ReferrerUrl=r", "", "r"},
		{"HostUrl=https:// ReferrerUrl=", "", ""},
		{"hostname=HostUrl=https://a.example.com", "", ""},
	} {
		if url, referrer := zoneTransfer(test.contents); url != test.url || referrer != test.referrer {
			t.Errorf("zoneTransfer(%q) = %q, %q; want %q, %q", test.contents, url, referrer, test.url, test.referrer)
		}
	}
}

func FuzzZeekTSV(f *testing.F) {
	seeds(f, "zeek-tsv")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: ZeekTSV}) })
}

func FuzzZeekJSON(f *testing.F) {
	seeds(f, "zeek-json")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: ZeekJSON}) })
}

func FuzzSuricata(f *testing.F) {
	seeds(f, "suricata")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: Suricata}) })
}

func FuzzSums(f *testing.F) {
	seeds(f, "sums")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: Sums}) })
}

func FuzzDpkg(f *testing.F) {
	seeds(f, "dpkg")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: Dpkg}) })
}

func FuzzHashdeep(f *testing.F) {
	seeds(f, "hashdeep")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: Hashdeep}) })
}

func FuzzDebIndex(f *testing.F) {
	seeds(f, "deb-index")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: DebIndex}) })
}

func FuzzRPMIndex(f *testing.F) {
	seeds(f, "rpm-index")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: RPMIndex}) })
}

func FuzzHashlookup(f *testing.F) {
	seeds(f, "hashlookup")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: Hashlookup}) })
}

func FuzzNSRL(f *testing.F) {
	seeds(f, "nsrl")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: NSRL}) })
}

func FuzzJSONList(f *testing.F) {
	seeds(f, "json-list")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: JSONList, Feed: "a feed"}) })
}

func FuzzLOLDrivers(f *testing.F) {
	seeds(f, "loldrivers")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: LOLDrivers}) })
}

func FuzzYARA(f *testing.F) {
	seeds(f, "yara")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: YARA}) })
}
