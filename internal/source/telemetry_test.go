package source

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fuzzFormat(f *testing.F, format Format) {
	seeds(f, string(format))
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Format: format}) })
}

func FuzzDefender(f *testing.F)     { fuzzFormat(f, Defender) }
func FuzzECS(f *testing.F)          { fuzzFormat(f, ECS) }
func FuzzOsquery(f *testing.F)      { fuzzFormat(f, Osquery) }
func FuzzOCSF(f *testing.F)         { fuzzFormat(f, OCSF) }
func FuzzCrowdStrike(f *testing.F)  { fuzzFormat(f, CrowdStrike) }
func FuzzWazuh(f *testing.F)        { fuzzFormat(f, Wazuh) }
func FuzzVelociraptor(f *testing.F) { fuzzFormat(f, Velociraptor) }

// TestTelemetryShapes holds that one set of records, told in every shape, gives the same observations.
func TestTelemetryShapes(t *testing.T) {
	for _, shapes := range [][]string{
		{"defender/api-response", "defender/storage"},
		{"ecs/endpoint", "ecs/dotted"},
	} {
		want := string(golden(t, "testdata/"+shapes[0], "observations.ndjson"))
		if want == "" {
			t.Fatalf("%s tells nothing", shapes[0])
		}
		for _, shape := range shapes[1:] {
			if diff := cmp.Diff(want, string(golden(t, "testdata/"+shape, "observations.ndjson"))); diff != "" {
				t.Errorf("%s differs from %s:\n%s", shape, shapes[0], diff)
			}
		}
	}
}

// TestTelemetryDispatch holds that a record is read as what it is, whatever format the input is taken for.
func TestTelemetryDispatch(t *testing.T) {
	for _, dir := range []string{"defender/lines", "ecs/hits", "osquery/snapshot", "ocsf/activity", "crowdstrike/events", "wazuh/fim", "wazuh/sysmon", "velociraptor/rows", "sysmon-json/mixed"} {
		in, want := golden(t, "testdata/"+dir, "input"), string(golden(t, "testdata/"+dir, "observations.ndjson"))
		for _, format := range []Format{SysmonJSON, Defender, ECS, Velociraptor} {
			k, _ := read(t, bytes.NewReader(in), Options{Format: format, Now: testNow})
			if diff := cmp.Diff(want, string(ndjson(t, k.observations))); diff != "" {
				t.Errorf("%s as %s:\n%s", dir, format, diff)
			}
		}
	}
}

// TestFieldsBounds: paths are bounded, whatever the names in them; what stands deeper than that is not kept, and the rest is.
func TestFieldsBounds(t *testing.T) {
	long := strings.Repeat("k", 10_000)
	f := fields{at: map[string]int{}}
	if err := f.parse(fmt.Appendf(nil, `{"a":{"b.c":[1,"x",{"d":null,"e":true}]},%q:{"a":1,"b":2},"z":"\u0041"}`, long)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range f.list {
		got = append(got, f.list[i].path+"="+f.list[i].say())
	}
	if diff := cmp.Diff([]string{"a.b.c=1", "a.b.c=x", "a.b.c.2.e=true", "z=A"}, got); diff != "" {
		t.Error(diff)
	}
	if got := f.all("a.b.c"); len(got) != 2 {
		t.Errorf("the list has %q", got)
	}
	for _, bad := range []string{`{`, `{"a"`, `{"a":`, `{"a":}`, `{"a":1 "b":2`, `[`, `{a:1}`, strings.Repeat(`{"a":`, 1000)} {
		if f.parse([]byte(bad)) == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
}

// TestTableRows: quotes that never end do not take the rest of a table with them.
func TestTableRows(t *testing.T) {
	const header = "Timestamp,DeviceName,ActionType,FileName,FolderPath,SHA1\n"
	row := func(n int) string {
		return fmt.Sprintf("2026-05-01T08:00:00Z,ws-%d,FileCreated,a.exe,C:\\a.exe,%040x\n", n, n+1)
	}
	open := "2026-05-01T08:00:00Z,\"ws\n" + strings.Repeat("x,y\n", maxLine/4)
	k, result := read(t, strings.NewReader(header+row(1)+open+row(2)+row(3)), Options{})
	if result.Format != Defender || len(k.observations) != 3 || len(k.refusals) == 0 || k.refusals[0].Line != 3 {
		t.Errorf("%+v, %d observations, %.200v", result, len(k.observations), k.refusals)
	}
}
