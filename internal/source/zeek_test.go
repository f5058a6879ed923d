package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// TestZeekRealLogs counts the real logs again, by nothing but the columns' names: every row with a hash is told of, once a row.
func TestZeekRealLogs(t *testing.T) {
	dir := realdata.Path(t, "network")
	want, got := map[string]int{}, map[string]int{}
	rows := 0
	visit := func(in *Input) error {
		all, err := io.ReadAll(in.blocks.r)
		if err != nil {
			return err
		}
		var columns []string
		for line := range strings.Lines(string(all)) {
			line = strings.TrimSuffix(line, "\n")
			if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
				columns = strings.Split(rest, "\t")
			}
			fields := strings.Split(line, "\t")
			if strings.HasPrefix(line, "#") || len(fields) != len(columns) {
				continue
			}
			row := map[string]string{}
			for i := range fields {
				row[columns[i]] = fields[i]
			}
			if row["fuid"] == "" {
				continue
			}
			if key := strings.Trim(strings.Join([]string{row["md5"], row["sha1"], row["sha256"]}, " "), "- "); key != "" {
				want[strings.TrimSuffix(strings.ReplaceAll(key, " -", "")+" "+row["id.orig_h"], "-")]++
				rows++
			}
		}
		k := &kept{}
		if _, err := Read(t.Context(), NewInput(in.Name, bytes.NewReader(all)), Options{}, k); err != nil && !errors.Is(err, intel.ErrInvalid) {
			return err
		}
		checkAll(t, k)
		for _, o := range k.observations {
			s, ok := o.Fact.(intel.Sighting)
			if ok && len(columns) > 0 {
				got[strings.TrimSpace(fmt.Sprintf("%s %s %s", o.File.MD5, o.File.SHA1, o.File.SHA256))+" "+s.Host]++
			}
		}
		return nil
	}
	if err := Walk(t.Context(), []string{dir}, visit, func(r intel.Refusal) { t.Error(&r) }); err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		t.Fatal("no row with a hash: the data has changed")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-counted +told):\n%s", diff)
	}
}

// TestZeekHostile: a header of very many fields, rows without end, and a separator that never comes cost no more than their bytes.
func TestZeekHostile(t *testing.T) {
	many := strings.Repeat("\tx", 100_000)
	for name, text := range map[string]string{
		"many fields":     "#separator \\x09\n#fields\tfuid\tmd5" + many + "\nF0001\td41d8cd98f00b204e9800998ecf8427e" + many + "\n",
		"no separator":    "#separator \\x01\n#fields\tfuid\tmd5\nF0001\td41d8cd98f00b204e9800998ecf8427e\n",
		"empty separator": "#separator \n#separator \\x\n#fields\tfuid\tmd5\nF0001\td41d8cd98f00b204e9800998ecf8427e\n",
		"a long row":      "#separator \\x09\n#fields\tfuid\tmd5\nF0001\t" + strings.Repeat("d", maxLine) + "\nF0001\td41d8cd98f00b204e9800998ecf8427e\n",
	} {
		k, result := read(t, strings.NewReader(text), Options{})
		checkAll(t, k)
		if want := map[bool]int{true: 0, false: 1}[strings.HasSuffix(name, "separator")]; len(k.observations) != want || result.Format != ZeekTSV {
			t.Errorf("%s: %d observations, %+v, %v", name, len(k.observations), result, k.refusals)
		}
	}
}

func TestFolderOf(t *testing.T) {
	for name, want := range map[string]string{
		"input": ".", "logs/files.log": "logs", "logs/files.log.gz!files.log": "logs", "logs/files.log.gz!": "logs", "a.zip!files.log": "a.zip!.",
		"a.zip!day/files.log": "a.zip!day", "a.zip!day/files.log.gz!files.log": "a.zip!day", "d/a.tgz!a.tar!x/files.log": "d/a.tgz!a.tar!x",
	} {
		if got := folderOf(name); got != want {
			t.Errorf("folderOf(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestJoinsBounded: what waits and what is known stay within their bounds, and what had to go is said.
func TestJoinsBounded(t *testing.T) {
	joins := NewJoins()
	k := &kept{}
	reading := func(name string) *joining {
		r := &reader{ctx: t.Context(), input: NewInput(name, strings.NewReader("")), name: name, sink: k, o: Options{Joins: joins}}
		return r.join()
	}
	j := reading("day/http.log")
	d := intel.Download{URL: "http://files.example.com/" + strings.Repeat("a", 4000)}
	for i := range 2 * maxWaiting / 4000 {
		if err := j.downloaded(intel.Source{}, 1, testNow, fmt.Sprintf("F%d", i), d); err != nil {
			t.Fatal(err)
		}
	}
	if joins.held > maxWaiting || len(joins.waiting) > maxWaiting/4000 || len(joins.waitingOrder.keys) > 4*maxWaiting/4000 {
		t.Errorf("%d bytes, %d downloads wait", joins.held, len(joins.waiting))
	}
	j.done()
	j = reading("day/files.log")
	one := intel.HashesOf(FindHashes([]byte("d41d8cd98f00b204e9800998ecf8427e"))[0])
	for i := range maxJoinedFiles + 2 {
		if err := j.has(intel.Source{Type: intel.Telemetry, Name: "zeek"}, 1, fmt.Sprintf("G%d", i), one); err != nil {
			t.Fatal(err)
		}
	}
	if len(joins.files) > maxJoinedFiles {
		t.Errorf("%d files", len(joins.files))
	}
	if len(k.refusals) != 1 || len(k.observations) != 0 {
		t.Errorf("%v, %d observations", k.refusals, len(k.observations))
	}
}
