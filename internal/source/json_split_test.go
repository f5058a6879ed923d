package source

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

// TestLongLine holds that a line has no bound of its own: an array of many records on one line, an object around it, and XML on one line.
func TestLongLine(t *testing.T) {
	const events = 4000 // about 1.3 MiB
	var records, elements []string
	for i := range events {
		name := strings.Repeat("x", i%200) + ".exe"
		records = append(records, `{"EventID":7,"Channel":"Microsoft-Windows-Sysmon/Operational","RecordNumber":`+number10(i)+
			`,"UtcTime":"2026-05-01 08:00:01.123","ImageLoaded":"C:\\`+name+`","Hashes":"MD5=09E592C4A21A21B39F22AA7D7170F162"}`)
		elements = append(elements, `<Event><System><Provider Name="Microsoft-Windows-Sysmon"/><EventID>7</EventID><EventRecordID>`+number10(i)+
			`</EventRecordID></System><EventData><Data Name="UtcTime">2026-05-01 08:00:01.123</Data><Data Name="ImageLoaded">C:\`+name+
			`</Data><Data Name="Hashes">MD5=09E592C4A21A21B39F22AA7D7170F162</Data></EventData></Event>`)
	}
	for name, input := range map[string]string{
		"array":   "[" + strings.Join(records, ",") + "]",
		"objects": strings.Join(records, ""),
		"around":  `{"took":1,"hits":{"hits":[` + strings.Join(records, ",") + `]},"next":{"x":[{}]}}`,
		"XML":     "<Events>" + strings.Join(elements, "") + "</Events>",
	} {
		t.Run(name, func(t *testing.T) {
			if len(input) < maxLine {
				t.Fatalf("only %d bytes", len(input))
			}
			k, result := read(t, strings.NewReader(input), Options{})
			if len(k.observations) != events || result.Records != events || result.Used != events || len(k.refusals) > 0 {
				t.Errorf("%d observations, %+v, refused: %v", len(k.observations), result, k.refusals)
			}
			for i, o := range k.observations {
				if s, ok := o.Fact.(intel.Sighting); !ok || len(s.Path) != len(`C:\.exe`)+i%200 {
					t.Fatalf("observation %d: %+v", i, o.Fact)
				}
			}
		})
	}
}

func number10(i int) string {
	b, _ := json.Marshal(i) // a number always marshals
	return string(b)
}

// TestSplitter tells which objects are found in a stream, and what is refused.
func TestSplitter(t *testing.T) {
	for name, test := range map[string]struct {
		in      string
		objects []string
		refused []string
	}{
		"nothing":            {"  \n", nil, nil},
		"one after another":  {`{"a":1}{"b":2} {"c":{}}`, []string{`{"a":1}`, `{"b":2}`, `{"c":{}}`}, nil},
		"braces in a text":   {`{"a":"}{\"\\"}` + "\n" + `{"b":"["}`, []string{`{"a":"}{\"\\"}`, `{"b":"["}`}, nil},
		"over lines":         {"{\n\"a\":\n{\n}\n}", []string{"{\n\"a\":\n{\n}\n}"}, nil},
		"records":            {`{"n":1,"v":[{"EventID":1},{"EventID":2}],"o":{}}`, []string{`{"EventID":1}`, `{"EventID":2}`}, nil},
		"records, deep":      {`{"v":[{"w":[{"EventID":1}]},{"w":[{"EventID":2}]}]}`, []string{`{"EventID":1}`, `{"EventID":2}`}, nil},
		"records, behind":    {`{"v":[{"x":1},{"EventID":1},3,{"EventID":2}]}`, []string{`{"EventID":1}`, `{"EventID":2}`}, nil},
		"parts":              {`{"EventID":1,"Data":[{"Name":"a"},{"Name":"b"}]}`, []string{`{"EventID":1,"Data":[{"Name":"a"},{"Name":"b"}]}`}, nil},
		"cut in a text":      {"{\"a\":\"b\n{\"c\":1}", []string{`{"c":1}`}, []string{"1: another object begins within a text of this one"}},
		"cut between":        {"{\"a\":1,\n{\"c\":1}", []string{`{"c":1}`}, []string{"1: another object begins within this one"}},
		"cut in the records": {"{\"v\":[{\"EventID\":1},\n{\"EventID\":2,\n{\"EventID\":3}", []string{`{"EventID":1}`, `{"EventID":3}`}, []string{"2: another object begins within this one"}},
		"cut at the end":     {"{\"a\":1}\n{\"c\":", []string{`{"a":1}`}, []string{"2: the input ends within this object"}},
		"wrong bracket":      {`{"a":[1}` + "\n" + `{"c":1}`, []string{`{"c":1}`}, []string{"1: a bracket that does not belong there"}},
		"too deep":           {strings.Repeat(`{"a":`, maxLevels+1), nil, []string{"1: nested too deeply"}},
		"too long":           {`{"a":"` + strings.Repeat("x", maxObject) + `"}{"c":1}`, []string{`{"c":1}`}, []string{"1: an object longer than 4194304 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kept{}
			r := &reader{ctx: t.Context(), sink: k}
			var objects []string
			s := splitter{r: r, fresh: true, emit: func(object []byte, _ int64) error {
				objects = append(objects, string(object))
				return nil
			}}
			in := &lines{}
			r.in = in
			for line := range bytes.Lines([]byte(test.in)) {
				in.number++
				for len(line) > 0 { // in parts, as a long line comes
					n := min(len(line), 7)
					if err := s.feed(line[:n]); err != nil {
						t.Fatal(err)
					}
					line = line[n:]
				}
			}
			s.end()
			var refused []string
			for _, x := range k.refusals {
				refused = append(refused, number10(int(x.Line))+": "+x.Reason)
			}
			if diff := cmp.Diff(test.objects, objects); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.refused, refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}
