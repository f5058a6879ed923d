package dossier_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

var (
	noon   = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	equal  = cmp.Comparer(func(a, b intel.Hash) bool { return a == b })
	source = intel.Source{Type: intel.Telemetry, Name: "test"}
)

// file makes the hashes of an invented file.
func file(name string) (f intel.Hashes) {
	m, s, l := md5.Sum([]byte(name)), sha1.Sum([]byte(name)), sha256.Sum256([]byte(name))
	for _, x := range []struct {
		a intel.Algorithm
		b []byte
	}{{intel.MD5, m[:]}, {intel.SHA1, s[:]}, {intel.SHA256, l[:]}} {
		h, err := intel.HashFromBytes(x.a, x.b)
		if err != nil {
			panic(err)
		}
		f.Set(h)
	}
	return f
}

// said is one observation, made a number of times at a time.
func said(f intel.Hashes, n uint64, at time.Time, fact intel.Fact) intel.Observation {
	return intel.Observation{Source: source, Time: at, Count: n, File: f, Fact: fact}
}

// related is one relation between two invented files.
func related(verb intel.Verb, from, to string, n uint64, at time.Time) intel.Observation {
	return said(intel.Hashes{}, n, at, intel.Relation{Verb: verb, From: intel.Object{Hashes: file(from)}, To: intel.Object{Hashes: file(to)}})
}

func detected(name string, z intel.Zone) intel.Observation {
	return said(file(name), 1, noon, intel.Detection{Name: "T." + name, Zone: z})
}

// build records the observations in a new store and makes the dossier of a file.
func build(t *testing.T, name string, q dossier.Query, observations ...intel.Observation) *dossier.Dossier {
	t.Helper()
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i := range observations {
		if err := observations[i].Check(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Record(t.Context(), []byte("1"), observations); err != nil {
		t.Fatal(err)
	}
	d, err := dossier.Build(t.Context(), s.View(intel.TLPRed), file(name).MD5, q)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func only(s ...dossier.Section) dossier.Query { return dossier.Query{Sections: s} }

// TestOrder: red first, then hits, then the last date, then the row's own key.
func TestOrder(t *testing.T) {
	later := noon.Add(time.Hour)
	d := build(t, "a", dossier.Query{},
		related(intel.Started, "a", "gray, hit 9 times", 9, noon),
		related(intel.Started, "a", "gray, hit twice", 2, noon),
		related(intel.Started, "a", "gray, hit twice, later", 2, later),
		related(intel.Started, "a", "green, hit 50 times", 50, later),
		related(intel.Started, "a", "orange", 1, noon),
		related(intel.Started, "a", "red", 1, noon),
		said(intel.Hashes{}, 2, noon, intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: file("a")}, To: intel.Object{Path: "/b/y"}}),
		said(intel.Hashes{}, 2, noon, intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: file("a")}, To: intel.Object{Path: "/b/x"}}),
		detected("red", intel.Red), detected("orange", intel.Orange),
		said(file("green, hit 50 times"), 1, noon, intel.Listing{Feed: "w", Zone: intel.Green}),

		said(file("a"), 1, noon, intel.Access{URL: "http://b.example/"}),
		said(file("a"), 1, noon, intel.Access{URL: "http://a.example/"}),
		said(file("a"), 1, later, intel.Access{URL: "http://late.example/"}),
		said(file("a"), 3, noon, intel.Access{URL: "http://often.example/"}),
		said(file("a"), 1, noon, intel.Access{URL: "http://bad.example/x"}),
		intel.Observation{Source: source, Address: "bad.example", Fact: intel.Listing{Feed: "f", Zone: intel.Red}},

		said(file("a"), 1, noon, intel.Sighting{Path: "/b/2", Host: "h2"}),
		said(file("a"), 1, noon, intel.Sighting{Path: "/b/1", Host: "h1"}),
		said(file("a"), 1, later, intel.Sighting{Path: "/b/3", Host: "h3"}),
		said(file("a"), 2, noon, intel.Sighting{Path: "/b/4", Host: "h4"}),

		said(file("a"), 9, later, intel.Detection{Name: "often", Zone: intel.Yellow}),
		said(file("a"), 1, noon, intel.Detection{Name: "worse", Zone: intel.Orange}),
		said(file("a"), 1, later, intel.Detection{Name: "worse, later", Zone: intel.Orange}),
		said(file("a"), 1, noon, intel.Detection{Name: "worse", Method: "m", Zone: intel.Orange}),

		said(file("a"), 1, noon, intel.Certificate{MD5: file("c1").MD5}),
		said(file("a"), 1, noon, intel.Certificate{MD5: file("c2").MD5, Trusted: true}),
		said(file("a"), 1, noon, intel.Certificate{MD5: file("c3").MD5, Revoked: true}),
	)
	names := map[intel.Hash]string{}
	for _, n := range []string{"gray, hit 9 times", "gray, hit twice", "gray, hit twice, later", "green, hit 50 times", "orange", "red", "c1", "c2", "c3"} {
		names[file(n).MD5] = n
	}
	var started, accessed, paths, detections, certificates []string
	for _, r := range d.Started {
		n := names[r.File.MD5]
		if n == "" {
			n = r.Path
		}
		started = append(started, n)
	}
	for _, r := range d.Accessed {
		accessed = append(accessed, r.Host)
	}
	for _, r := range d.Paths {
		paths = append(paths, r.Path)
	}
	for _, r := range d.Detections {
		detections = append(detections, strings.TrimSpace(r.Name+" "+r.Method))
	}
	for _, r := range d.Certificates {
		certificates = append(certificates, names[r.MD5])
	}
	for _, tt := range []struct {
		section   string
		got, want []string
	}{
		// A file known by its path alone has no hash, and so stands before those that have one.
		{"started", started, []string{"red", "orange", "gray, hit 9 times", "gray, hit twice, later", "/b/x", "/b/y", "gray, hit twice", "green, hit 50 times"}},
		{"accessed", accessed, []string{"bad.example", "often.example", "late.example", "a.example", "b.example"}},
		{"paths", paths, []string{"/b/4", "/b/3", "/b/1", "/b/2"}},
		{"detections", detections, []string{"worse, later", "worse", "worse m", "often"}},
		{"certificates", certificates, []string{"c3", "c1", "c2"}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s:\n%s", tt.section, diff)
		}
	}
}

// TestCount: count cuts each section but the detections and the containers' certificates.
func TestCount(t *testing.T) {
	var all []intel.Observation
	const n = 5
	for i := range n {
		name := fmt.Sprint("x", i)
		all = append(all,
			said(file("a"), 1, noon, intel.Sighting{Path: "/b/" + name, Host: name}),
			said(file("a"), 1, noon, intel.Access{URL: name + ".example"}),
			said(file("a"), 1, noon, intel.Download{URL: name + ".example"}),
			said(file("a"), 1, noon, intel.Detection{Name: name, Zone: intel.Yellow}),
			said(file("a"), 1, noon, intel.Listing{Feed: name, Zone: intel.Yellow}),
			said(file("a"), 1, noon, intel.Certificate{MD5: file("c" + name).MD5}),
			said(file("a"), 1, noon, intel.FuzzyHash{Algorithm: intel.Imphash, Value: "1"}),
			said(file("like "+name), 1, noon, intel.FuzzyHash{Algorithm: intel.Imphash, Value: "1"}),
			related(intel.Started, "a", "s"+name, 1, noon), related(intel.Started, "p"+name, "a", 1, noon),
			related(intel.Downloaded, "a", "d"+name, 1, noon), related(intel.Downloaded, "l"+name, "a", 1, noon),
			related(intel.Contains, "a", "m"+name, 1, noon), related(intel.Contains, "z"+name, "a", 1, noon),
			said(file("z"+name), 1, noon, intel.Certificate{MD5: file("k" + name).MD5}),
		)
	}
	sizes := func(d *dossier.Dossier) map[string]int {
		return map[string]int{"Paths": len(d.Paths), "Names": len(d.Names), "Accessed": len(d.Accessed), "DownloadedFrom": len(d.DownloadedFrom),
			"Detections": len(d.Detections), "Feeds": len(d.Feeds), "Certificates": len(d.Certificates), "ParentCertificates": len(d.ParentCertificates),
			"Similar": len(d.Similar), "Started": len(d.Started), "StartedBy": len(d.StartedBy), "Downloaded": len(d.Downloaded),
			"DownloadedBy": len(d.DownloadedBy), "UnpackedFrom": len(d.UnpackedFrom), "UnpackedObjects": len(d.UnpackedObjects), "Hosts": len(d.Hosts)}
	}
	for _, count := range []int{0, 1, 3, dossier.MaxRows} {
		want := map[string]int{}
		for name := range sizes(&dossier.Dossier{}) {
			want[name] = n
			if count > 0 && count < n && name != "Detections" && name != "ParentCertificates" {
				want[name] = count
			}
		}
		d := build(t, "a", dossier.Query{Sections: dossier.AllSections(), Count: count}, all...)
		if diff := cmp.Diff(want, sizes(d)); diff != "" {
			t.Errorf("count %d:\n%s", count, diff)
		}
	}
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, count := range []int{-1, dossier.MaxRows + 1} {
		if _, err := dossier.Build(t.Context(), s.View(intel.TLPRed), file("a").MD5, dossier.Query{Count: count}); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("count %d: %v", count, err)
		}
	}
	if _, err := dossier.Build(t.Context(), s.View(intel.TLPRed), file("a").MD5, dossier.Query{}); !errors.Is(err, intel.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

// TestSections: what was not asked for is nil, what has nothing is empty, and the order is the page's.
func TestSections(t *testing.T) {
	d := build(t, "a", only(dossier.FileNames, dossier.Zone), detected("a", intel.Red))
	if d.Names == nil || len(d.Names) != 0 || d.Paths != nil || d.Detections != nil || d.Verdict.Zone != intel.Red {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]dossier.Section{dossier.Zone, dossier.FileNames}, d.Sections); diff != "" {
		t.Error(diff)
	}
	if n := len(dossier.PageSections()); n != 19 {
		t.Errorf("the page has %d sections", n)
	}
}

// edge is a row of unpacking in words.
func edges(rows []dossier.MemberRow, names ...string) (out []string) {
	by := map[intel.Hash]string{}
	for _, n := range names {
		by[file(n).SHA256] = n
	}
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%d %s>%s", r.Level, by[r.Parent.SHA256], by[r.Child.SHA256]))
	}
	return out
}

func TestUnpacking(t *testing.T) {
	contains := func(pairs ...string) (all []intel.Observation) {
		for _, p := range pairs {
			all = append(all, related(intel.Contains, p[:1], p[1:], 1, noon))
		}
		return all
	}
	for _, tt := range []struct {
		name     string
		asked    string
		contains []string
		up, down []string
	}{
		{"six generations and no more", "a", []string{"ba", "cb", "dc", "ed", "fe", "gf", "hg", "ai", "ij", "jk", "kl", "lm", "mn", "no"},
			[]string{"0 b>a", "1 c>b", "2 d>c", "3 e>d", "4 f>e", "5 g>f"}, []string{"0 a>i", "1 i>j", "2 j>k", "3 k>l", "4 l>m", "5 m>n"}},
		{"a container that holds itself", "a", []string{"aa"}, []string{"0 a>a"}, []string{"0 a>a"}},
		{"two that hold each other", "a", []string{"ab", "ba"}, []string{"0 b>a", "1 a>b"}, []string{"0 a>b", "1 b>a"}},
		{"a cycle further down", "a", []string{"ab", "bc", "cb"}, nil, []string{"0 a>b", "1 b>c", "2 c>b"}},
		{"a diamond: each edge once", "a", []string{"ab", "ac", "bd", "cd", "de"}, nil, []string{"0 a>b", "0 a>c", "1 b>d", "1 c>d", "2 d>e"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := build(t, tt.asked, only(dossier.FileUnpackedFrom, dossier.FileUnpackedObjects), contains(tt.contains...)...)
			names := strings.Split("abcdefghijklmno", "")
			sorted := cmp.Transformer("sorted", func(s []string) map[string]bool {
				m := map[string]bool{}
				for _, x := range s {
					m[x] = true
				}
				return m
			})
			up, down := edges(d.UnpackedFrom, names...), edges(d.UnpackedObjects, names...)
			if diff := cmp.Diff(tt.up, up, sorted); diff != "" || len(up) != len(tt.up) {
				t.Errorf("containers: %v\n%s", up, diff)
			}
			if diff := cmp.Diff(tt.down, down, sorted); diff != "" || len(down) != len(tt.down) {
				t.Errorf("members: %v\n%s", down, diff)
			}
		})
	}
}

// TestHasRedZone: each kind of related object, also one that no row of the answer shows; a red file itself, and one that only looks alike, do not count.
func TestHasRedZone(t *testing.T) {
	listed := func(address string) intel.Observation {
		return intel.Observation{Source: source, Address: address, Fact: intel.Listing{Feed: "f", Zone: intel.Red}}
	}
	revoked := intel.Certificate{MD5: file("c").MD5, Revoked: true}
	tooLate := intel.Certificate{MD5: file("c").MD5, Trusted: true, Revoked: true}
	known := said(file("a"), 1, noon, intel.Sighting{Host: "h"})
	chain := func(up bool, to int) (all []intel.Observation) {
		last := "a"
		for i := range to {
			next := fmt.Sprint("g", i)
			if up {
				all = append(all, related(intel.Contains, next, last, 1, noon))
			} else {
				all = append(all, related(intel.Contains, last, next, 1, noon))
			}
			last = next
		}
		return all
	}
	for _, tt := range []struct {
		name string
		all  []intel.Observation
		want bool
	}{
		{"nothing", nil, false},
		{"the file itself", []intel.Observation{detected("a", intel.Red)}, false},
		{"orange", []intel.Observation{related(intel.Started, "a", "b", 1, noon), detected("b", intel.Orange)}, false},
		{"started", []intel.Observation{related(intel.Started, "a", "b", 1, noon), detected("b", intel.Red)}, true},
		{"started by", []intel.Observation{related(intel.Started, "b", "a", 1, noon), detected("b", intel.Red)}, true},
		{"downloaded", []intel.Observation{related(intel.Downloaded, "a", "b", 1, noon), detected("b", intel.Red)}, true},
		{"downloaded by", []intel.Observation{related(intel.Downloaded, "b", "a", 1, noon), detected("b", intel.Red)}, true},
		{"member", []intel.Observation{related(intel.Contains, "a", "b", 1, noon), detected("b", intel.Red)}, true},
		{"container", []intel.Observation{related(intel.Contains, "b", "a", 1, noon), detected("b", intel.Red)}, true},
		{"member of the sixth generation", append(chain(false, 6), detected("g5", intel.Red)), true},
		{"member of the seventh generation", append(chain(false, 7), detected("g6", intel.Red)), false},
		{"container of the sixth generation", append(chain(true, 6), detected("g5", intel.Red)), true},
		{"URL", []intel.Observation{said(file("a"), 1, noon, intel.Access{URL: "http://b.example/x"}), listed("http://b.example/x")}, true},
		{"another URL of the host", []intel.Observation{said(file("a"), 1, noon, intel.Access{URL: "http://b.example/x"}), listed("http://b.example/y")}, false},
		{"domain of a URL", []intel.Observation{said(file("a"), 1, noon, intel.Download{URL: "http://www.b.example/x"}), listed("b.example")}, true},
		{"address of a URL", []intel.Observation{said(file("a"), 1, noon, intel.Download{URL: "http://203.0.113.1/x"}), listed("203.0.113.1")}, true},
		{"certificate", []intel.Observation{said(file("a"), 1, noon, revoked)}, true},
		{"certificate that was revoked after a trusted signature", []intel.Observation{said(file("a"), 1, noon, tooLate)}, false},
		{"certificate of a container", []intel.Observation{related(intel.Contains, "b", "a", 1, noon), said(file("b"), 1, noon, revoked)}, true},
		{"certificate of a member", []intel.Observation{related(intel.Contains, "a", "b", 1, noon), said(file("b"), 1, noon, revoked)}, false},
		{"a file that looks alike", []intel.Observation{said(file("a"), 1, noon, intel.FuzzyHash{Algorithm: intel.TLSH, Value: "1"}),
			said(file("b"), 1, noon, intel.FuzzyHash{Algorithm: intel.TLSH, Value: "1"}), detected("b", intel.Red)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, q := range []dossier.Query{{}, only(dossier.RelatedObjects), {Count: 1}} {
				if d := build(t, "a", q, append(tt.all, known)...); d.HasRedZone != tt.want {
					t.Errorf("%+v: %v, want %v", q, d.HasRedZone, tt.want)
				}
			}
		})
	}
}

// TestRelatedWithoutMD5: a row whose MD5 is unknown is there, with what is known.
func TestRelatedWithoutMD5(t *testing.T) {
	long := intel.HashesOf(file("b").SHA256)
	d := build(t, "a", only(dossier.FileStartedObjects),
		said(intel.Hashes{}, 1, noon, intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: file("a")}, To: intel.Object{Hashes: long, Path: `C:\x\b.exe`}}),
		said(long, 1, noon, intel.Detection{Name: "T.b", Zone: intel.Red}))
	want := []dossier.FileRow{{File: long, Zone: intel.Red, Hits: 1, Path: `C:\x\b.exe`, Location: "C:", Name: "b.exe", First: noon, Last: noon, Detection: "T.b"}}
	if diff := cmp.Diff(want, d.Started, equal); diff != "" {
		t.Error(diff)
	}
}

// TestCertificatesOnce: one certificate of two containers stands once, in whatever zone its times were written.
func TestCertificatesOnce(t *testing.T) {
	east := time.FixedZone("", 2*60*60)
	d := build(t, "a", only(dossier.FileParentCertificates), related(intel.Contains, "b", "a", 1, noon), related(intel.Contains, "c", "a", 1, noon),
		said(file("b"), 1, noon, intel.Certificate{MD5: file("k").MD5, Issued: noon.In(east)}),
		said(file("c"), 1, noon, intel.Certificate{MD5: file("k").MD5, Issued: noon}))
	if len(d.ParentCertificates) != 1 {
		t.Errorf("%+v", d.ParentCertificates)
	}
}

func TestGeneral(t *testing.T) {
	d := build(t, "a", only(dossier.FileGeneralInfo), said(file("a"), 3, noon, intel.Listing{Feed: "f", Zone: intel.Green}))
	if g := d.General; g.Size != -1 || g.Hits != 0 || !g.FirstSeen.Equal(noon) || g.Publications == nil || g.SignerStatus != "" {
		t.Errorf("without a sighting: %+v", g)
	}
	d = build(t, "a", only(dossier.FileGeneralInfo),
		said(file("a"), 1, noon.Add(time.Hour), intel.Sighting{}),
		said(file("a"), 9, noon, intel.Listing{Feed: "f", Zone: intel.Green}),
		said(file("a"), 1, noon, intel.Attribute{Name: intel.Size, Value: "7"}),
		said(file("a"), 2, noon, intel.Attribute{Name: intel.Size, Value: "5"}),
		said(file("a"), 1, noon, intel.Attribute{Name: intel.Type, Value: "PE32"}),
		said(file("a"), 1, noon.Add(1), intel.Attribute{Name: intel.Packer, Value: "UPX"}),
		said(file("a"), 9, noon, intel.Signature{Signer: "often", Status: intel.Trusted}),
		said(file("a"), 1, noon, intel.Signature{Signer: "bad", Status: intel.Discredited}),
		said(file("a"), 1, noon, intel.Publication{ID: "2", Type: intel.APT, Title: "B"}),
		said(file("a"), 1, noon, intel.Publication{ID: "1", Type: intel.OSINT, Title: "C"}))
	want := dossier.General{FirstSeen: noon.Add(time.Hour), LastSeen: noon.Add(time.Hour), Hits: 1, Size: 5, Type: "PE32", Packer: "UPX",
		Signer: "bad", SignerStatus: intel.Discredited, SignerZone: intel.Red,
		Publications: []intel.Publication{{ID: "1", Type: intel.OSINT, Title: "C"}, {ID: "2", Type: intel.APT, Title: "B"}}}
	if diff := cmp.Diff(want, d.General); diff != "" {
		t.Error(diff)
	}
}

// TestSigner says which of several signatures is shown.
func TestSigner(t *testing.T) {
	type row struct {
		signer string
		status intel.SignatureStatus
		n      uint64
		at     time.Time
	}
	for _, tt := range []struct {
		what string
		rows []row
		want row
	}{
		{"discredited before trusted", []row{{"A", intel.Trusted, 9, noon}, {"B", intel.Discredited, 1, noon}}, row{signer: "B", status: intel.Discredited}},
		{"one of two in a file verified", []row{{"A", intel.NotTrusted, 1, noon}, {"B", intel.Trusted, 1, noon}, {"C", intel.NotTrusted, 1, noon}}, row{signer: "B", status: intel.Trusted}},
		{"before the roots were there, and after", []row{{"A", intel.NotTrusted, 3, noon}, {"A", intel.Trusted, 1, noon.Add(time.Hour)}}, row{signer: "A", status: intel.Trusted}},
		{"the most often seen", []row{{"A", intel.Trusted, 1, noon.Add(time.Hour)}, {"B", intel.Trusted, 2, noon}}, row{signer: "B", status: intel.Trusted}},
		{"the latest", []row{{"A", intel.NotTrusted, 1, noon}, {"B", intel.NotTrusted, 1, noon.Add(time.Hour)}}, row{signer: "B", status: intel.NotTrusted}},
		{"by name", []row{{"B", intel.NotTrusted, 1, noon}, {"A", intel.NotTrusted, 1, noon}}, row{signer: "A", status: intel.NotTrusted}},
	} {
		var all []intel.Observation
		for _, r := range tt.rows {
			all = append(all, said(file("a"), r.n, r.at, intel.Signature{Signer: r.signer, Status: r.status}))
		}
		g := build(t, "a", only(dossier.FileGeneralInfo), all...).General
		if g.Signer != tt.want.signer || g.SignerStatus != tt.want.status {
			t.Errorf("%s: %q, %s; want %q, %s", tt.what, g.Signer, g.SignerStatus, tt.want.signer, tt.want.status)
		}
	}
}

func TestParseSections(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []dossier.Section
	}{
		{"", nil},
		{" , ,", nil},
		{"Zone", []dossier.Section{dossier.Zone}},
		{" FilePaths ,Zone,FilePaths", []dossier.Section{dossier.Zone, dossier.FilePaths}},
		{"Hosts,LicenseInfo", []dossier.Section{dossier.LicenseInfo, dossier.Hosts}},
	} {
		got, err := dossier.ParseSections(tt.in)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", tt.in, err, diff)
		}
	}
	for _, in := range []string{"zone", "Zone,Nothing", "Zone;FilePaths", strings.Repeat("x", 1<<16), "\xff"} {
		_, err := dossier.ParseSections(in)
		var r *intel.Refusal
		if !errors.As(err, &r) || r.Field != "sections" || !strings.Contains(r.Reason, "valid are LicenseInfo, Zone, RelatedObjects,") || len(r.Reason) > 1000 {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

// TestPage: paging meets every row once, and refuses a section that has no pages.
func TestPage(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []intel.Observation
	for i := range 25 {
		all = append(all, related(intel.Started, "a", fmt.Sprint("b", i), 1, noon))
	}
	if _, err := s.Record(t.Context(), []byte("1"), all); err != nil {
		t.Fatal(err)
	}
	met := map[intel.Hash]int{}
	var after []byte
	for range 25 {
		d, next, err := dossier.Page(t.Context(), s.View(intel.TLPRed), file("a").MD5, dossier.FileStartedObjects, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range d.Started {
			met[r.File.Strongest()]++
		}
		if after = next; next == nil {
			break
		}
	}
	if after != nil || len(met) != 25 {
		t.Errorf("%d rows, the end %x", len(met), after)
	}
	for h, n := range met {
		if n != 1 {
			t.Errorf("%s came %d times", h, n)
		}
	}
	for _, name := range []dossier.Section{dossier.Zone, dossier.FileParentCertificates, "x"} {
		if _, _, err := dossier.Page(t.Context(), s.View(intel.TLPRed), file("a").MD5, name, nil, 10); !errors.Is(err, intel.ErrInvalid) || dossier.Pages(name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
