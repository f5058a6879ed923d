package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
)

// seen is one sighting on a host of its own.
func seen(n int) string {
	return fmt.Sprintf(`{"source":{"type":"telemetry","name":"t"},"file":{"md5":"0123456789abcdef0123456789abcdef"},"sighting":{"host":"h%d"}}`, n)
}

const oneStart = `{"EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Computer":"h","UtcTime":"2026-05-01 09:00:01.000","Image":"C:\\a.exe","Hashes":"MD5=7CE84B229B752A8ACEF67C11A6325F49"}`

const oneXML = `<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Provider Name="Microsoft-Windows-Sysmon"/><EventID>1</EventID><Computer>h</Computer></System>
<EventData><Data Name="UtcTime">2026-05-01 09:00:01.000</Data><Data Name="Image">C:\b.exe</Data><Data Name="Hashes">MD5=89EAA1BA9F5CF356652D7B4B2BC89F13</Data></EventData></Event>`

// TestStreamRead: messages of several formats are read side by side, each has its own fate, and what is wrong with one touches no other.
func TestStreamRead(t *testing.T) {
	around := `{"message":` + fmt.Sprintf("%q", seen(3)) + `}`
	for _, tt := range []struct {
		name     string
		format   source.Format
		messages []string
		fates    []ingest.Fate
		made     int
	}{
		{"none", "", nil, nil, 0},
		{"blank", "", []string{"", " \n"}, []ingest.Fate{ingest.Other, ingest.Other}, 0},
		{"of several formats", "", []string{seen(1), oneStart, oneXML, seen(2), around}, []ingest.Fate{ingest.Taken, ingest.Taken, ingest.Taken, ingest.Taken, ingest.Taken}, 5},
		{"the middle one is cut", "", []string{seen(1), seen(2)[:60], seen(3)}, []ingest.Fate{ingest.Taken, ingest.Refused, ingest.Taken}, 2},
		{"the middle one lacks a field", "", []string{seen(1), strings.Replace(seen(2), `"host":"h2"`, `"hosts":1`, 1), seen(3)}, []ingest.Fate{ingest.Taken, ingest.Refused, ingest.Taken}, 2},
		{"one is several lines", "", []string{seen(1) + "\n" + seen(2), seen(3)}, []ingest.Fate{ingest.Taken, ingest.Taken}, 3},
		{"brackets that would swallow the next", "", []string{`[`, `{"a":[`, oneStart, `{"x":"`, oneStart}, []ingest.Fate{ingest.Other, ingest.Refused, ingest.Taken, ingest.Refused, ingest.Taken}, 1},
		{"text, and JSON that says nothing", "", []string{"0123456789abcdef0123456789abcdef", `{"x":1}`, seen(1)}, []ingest.Fate{ingest.Other, ingest.Other, ingest.Taken}, 1},
		{"the format is told", source.Observations, []string{"text", seen(1)}, []ingest.Fate{ingest.Refused, ingest.Taken}, 1},
		{"bytes", "", []string{"\x00\xff\xfe", "ElfFile\x00", "\x1f\x8b\x08", "{\x00}"}, []ingest.Fate{ingest.Other, ingest.Other, ingest.Other, ingest.Other}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var messages []ingest.Message
			for _, m := range tt.messages {
				messages = append(messages, ingest.Message{Data: []byte(m)})
			}
			made, told, err := ingest.Read(t.Context(), source.Options{Format: tt.format}, messages)
			if err != nil {
				t.Fatal(err)
			}
			var fates []ingest.Fate
			for _, f := range told {
				fates = append(fates, f.Fate)
				if (f.Fate == ingest.Refused) != (f.Refusal != nil) {
					t.Errorf("fate %v, refusal %v", f.Fate, f.Refusal)
				}
			}
			if diff := cmp.Diff(tt.fates, fates); diff != "" || len(made) != tt.made {
				t.Errorf("%d observations, want %d\n%s", len(made), tt.made, diff)
			}
		})
	}
}

// TestStreamTake: a message counts once by its name, within a delivery and between them; one that the store did not record may come again.
func TestStreamTake(t *testing.T) {
	s := newStore(t)
	broken := &refusing{Marker: s}
	stream := &ingest.Stream{Marker: broken}
	take := func(names ...string) (fates []ingest.Fate, err error) {
		var messages []ingest.Message
		for i, n := range names {
			messages = append(messages, ingest.Message{Name: n, Data: []byte(seen(i))})
		}
		told, err := stream.Take(t.Context(), source.Options{}, messages)
		for _, f := range told {
			fates = append(fates, f.Fate)
		}
		return fates, err
	}
	broken.err = errors.New("not now")
	if _, err := take("a"); !errors.Is(err, broken.err) {
		t.Errorf("the store's error is lost: %v", err)
	}
	broken.err = nil
	for _, tt := range []struct {
		names []string
		want  []ingest.Fate
	}{
		{[]string{"a", "b", "a"}, []ingest.Fate{ingest.Taken, ingest.Taken, ingest.Repeated}},
		{[]string{"b", "c"}, []ingest.Fate{ingest.Repeated, ingest.Taken}},
		{[]string{"c", "a"}, []ingest.Fate{ingest.Repeated, ingest.Repeated}},
	} {
		fates, err := take(tt.names...)
		if diff := cmp.Diff(tt.want, fates); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", tt.names, err, diff)
		}
	}
	h, err := intel.ParseHash("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.View(intel.TLPRed).Recall(t.Context(), h, 0); err != nil || f.Seen.Count != 3 {
		t.Errorf("%+v %v", f, err)
	}
}

type refusing struct {
	ingest.Marker
	err error
}

func (r *refusing) RecordMarked(ctx context.Context, marks map[string]uint64, o []intel.Observation) error {
	if r.err != nil {
		return r.err
	}
	return r.Marker.RecordMarked(ctx, marks, o)
}

// FuzzStreamRead: whatever a message holds, its neighbours are read.
func FuzzStreamRead(f *testing.F) {
	for _, m := range []string{"", "[", `{"a":[`, oneStart, oneXML, seen(1), `{"message":"{"}`, `{"log":{"offset":1},"message":"<Event>"}`, "\x00", `{"source":`, "ElfFile\x00"} {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		made, told, err := ingest.Read(t.Context(), source.Options{}, []ingest.Message{{Data: []byte(seen(1))}, {Data: m}, {Data: []byte(seen(2))}})
		if err != nil || told[0].Fate != ingest.Taken || told[2].Fate != ingest.Taken {
			t.Fatalf("%q: %v %v", m, told, err)
		}
		hosts := map[string]bool{}
		for _, o := range made {
			if s, ok := o.Fact.(intel.Sighting); ok {
				hosts[s.Host] = true
			}
		}
		if !hosts["h1"] || !hosts["h2"] {
			t.Fatalf("%q: the neighbours are lost: %v", m, hosts)
		}
	})
}
