package verdict_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

func row[T any](v T, last intel.Seconds) intel.Row[T] {
	return intel.Row[T]{Value: v, Tally: intel.Tally{Count: 1, First: last, Last: last}}
}

func detected(z intel.Zone, names ...string) (rows []intel.Row[intel.Detection]) {
	for _, n := range names {
		rows = append(rows, row(intel.Detection{Name: n, Zone: z}, 1))
	}
	return rows
}

func listed(z intel.Zone, feeds ...string) (rows []intel.Row[intel.Listing]) {
	for _, n := range feeds {
		rows = append(rows, row(intel.Listing{Feed: n, Zone: z}, 1))
	}
	return rows
}

func discounted(z intel.Zone, discount uint8) []intel.Row[intel.Listing] {
	return []intel.Row[intel.Listing]{row(intel.Listing{Feed: "F", Zone: z, Threat: "T", Discount: discount}, 1)}
}

func TestJudge(t *testing.T) {
	nothing := "no detection, no listing and no decision: nothing says that it is bad or good"
	for _, tt := range []struct {
		name string
		head intel.Head
		want intel.Verdict
	}{
		{"nothing", intel.Head{}, intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{nothing}}},
		{"a sighting says nothing", intel.Head{Seen: intel.Tally{Count: 9}}, intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{nothing}}},
		{"a signature says nothing", intel.Head{Signatures: []intel.Row[intel.Signature]{row(intel.Signature{Signer: "S", Status: intel.Trusted}, 1)}},
			intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{nothing}}},
		{"known good", intel.Head{Listings: listed(intel.Green, "dpkg")},
			intel.Verdict{Zone: intel.Green, Score: 10, Reasons: []string{"known good: listed in dpkg (green)"}}},
		{"more say good", intel.Head{Listings: listed(intel.Green, "c", "a", "b")},
			intel.Verdict{Zone: intel.Green, Score: 0, Reasons: []string{"known good: listed in a (green)", "known good: listed in b (green)", "known good: listed in c (green)"}}},
		{"a green detection", intel.Head{Detections: detected(intel.Green, "clean")},
			intel.Verdict{Zone: intel.Green, Score: 10, Reasons: []string{"detected as clean (green)"}}},
		{"gray does not undo green", intel.Head{Listings: append(listed(intel.Gray, "g"), listed(intel.Green, "w")...)},
			intel.Verdict{Zone: intel.Green, Score: 10, Reasons: []string{"listed in g (gray)", "known good: listed in w (green)"}}},
		{"gray alone", intel.Head{Listings: listed(intel.Gray, "g", "h")},
			intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{"listed in g (gray)", "listed in h (gray)"}}},
		{"yellow goes before green", intel.Head{Detections: detected(intel.Yellow, "Ad"), Listings: listed(intel.Green, "w")},
			intel.Verdict{Zone: intel.Yellow, Score: 35, Reasons: []string{"detected as Ad (yellow)", "known good: listed in w (green)"}}},
		{"the gravest decides, wherever it stands", intel.Head{Detections: append(detected(intel.Yellow, "Ad"), detected(intel.Orange, "Odd")...),
			Listings: append(listed(intel.Green, "w"), row(intel.Listing{Feed: "block", Zone: intel.Red, Threat: "Harbour"}, 1))},
			intel.Verdict{Zone: intel.Red, Score: 85, Reasons: []string{"listed in block as Harbour (red)", "detected as Odd (orange)", "detected as Ad (yellow)", "known good: listed in w (green)"}}},
		{"voices of the zone add", intel.Head{Detections: detected(intel.Red, "B", "A"), Listings: append(listed(intel.Red, "F"), listed(intel.Orange, "G")...)},
			intel.Verdict{Zone: intel.Red, Score: 95, Reasons: []string{"detected as A (red)", "detected as B (red)", "listed in F (red)", "listed in G (orange)"}}},
		{"red stays at 100", intel.Head{Detections: detected(intel.Red, "a", "b", "c", "d", "e", "f")},
			intel.Verdict{Zone: intel.Red, Score: 100, Reasons: []string{"detected as a (red)", "detected as b (red)", "detected as c (red)", "detected as d (red)", "detected as e (red)", "detected as f (red)"}}},
		{"orange stays below red", intel.Head{Detections: detected(intel.Orange, "a", "b", "c", "d", "e")},
			intel.Verdict{Zone: intel.Orange, Score: 74, Reasons: []string{"detected as a (orange)", "detected as b (orange)", "detected as c (orange)", "detected as d (orange)", "detected as e (orange)"}}},
		{"yellow stays below orange", intel.Head{Detections: detected(intel.Yellow, "a", "b", "c", "d", "e")},
			intel.Verdict{Zone: intel.Yellow, Score: 49, Reasons: []string{"detected as a (yellow)", "detected as b (yellow)", "detected as c (yellow)", "detected as d (yellow)", "detected as e (yellow)"}}},
		{"by a method", intel.Head{Detections: []intel.Row[intel.Detection]{row(intel.Detection{Name: "N", Method: "yara", Zone: intel.Orange}, 1)}},
			intel.Verdict{Zone: intel.Orange, Score: 60, Reasons: []string{"detected as N by yara (orange)"}}},
		{"an analyst goes before everything", intel.Head{Detections: detected(intel.Red, "B"), Verdicts: []intel.Row[intel.AnalystVerdict]{
			row(intel.AnalystVerdict{Zone: intel.Green, Analyst: "mira", Comment: "our own tool"}, 5)}},
			intel.Verdict{Zone: intel.Green, Score: 10, Reasons: []string{"mira decided: green: our own tool", "detected as B (red)"}}},
		{"the newest decision stands", intel.Head{Verdicts: []intel.Row[intel.AnalystVerdict]{
			row(intel.AnalystVerdict{Zone: intel.Red, Analyst: "old"}, 5), row(intel.AnalystVerdict{Zone: intel.Gray}, 6), row(intel.AnalystVerdict{Zone: intel.Red, Analyst: "undated"}, 0)}},
			intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{"an analyst decided: gray"}}},
		{"of two at one moment the graver stands", intel.Head{Verdicts: []intel.Row[intel.AnalystVerdict]{
			row(intel.AnalystVerdict{Zone: intel.Yellow, Analyst: "a"}, 5), row(intel.AnalystVerdict{Zone: intel.Orange, Analyst: "b"}, 5), row(intel.AnalystVerdict{Zone: intel.Green, Analyst: "c"}, 5)}},
			intel.Verdict{Zone: intel.Orange, Score: 60, Reasons: []string{"b decided: orange"}}},
		{"a listing of less weight counts as what it comes to", intel.Head{Listings: discounted(intel.Red, 50)},
			intel.Verdict{Zone: intel.Orange, Score: 55, Reasons: []string{"listed in F as T (red, of weight 50: counts as orange)"}}},
		{"a little less", intel.Head{Listings: discounted(intel.Red, 10)},
			intel.Verdict{Zone: intel.Red, Score: 79, Reasons: []string{"listed in F as T (red, of weight 90)"}}},
		{"no weight", intel.Head{Listings: append(discounted(intel.Red, 100), listed(intel.Green, "w")...)},
			intel.Verdict{Zone: intel.Green, Score: 10, Reasons: []string{"listed in F as T (red, of weight 0: counts as gray)", "known good: listed in w (green)"}}},
		{"known good by a little", intel.Head{Listings: discounted(intel.Green, 80)},
			intel.Verdict{Zone: intel.Green, Score: 22, Reasons: []string{"known good: listed in F as T (green, of weight 20)"}}},
		{"a whole voice beside one of less weight", intel.Head{Detections: detected(intel.Orange, "Odd"), Listings: discounted(intel.Red, 50)},
			intel.Verdict{Zone: intel.Orange, Score: 65, Reasons: []string{"detected as Odd (orange)", "listed in F as T (red, of weight 50: counts as orange)"}}},
		{"a publication is named and decides nothing", intel.Head{Publications: []intel.Row[intel.Publication]{row(intel.Publication{Title: "Harbour", Type: intel.APT}, 1)}},
			intel.Verdict{Zone: intel.Gray, Score: 25, Reasons: []string{"named in the report Harbour (APT)"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := verdict.Judge(&tt.head)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if z := verdict.Zone(&tt.head); z != tt.want.Zone {
				t.Errorf("Zone says %s", z)
			}
		})
	}
}

// TestOrderOfRows: the verdict does not depend on the order in which the rows come, two verdicts at one moment included.
func TestOrderOfRows(t *testing.T) {
	a := row(intel.AnalystVerdict{Zone: intel.Red, Analyst: "a", Comment: "x"}, 5)
	b := row(intel.AnalystVerdict{Zone: intel.Red, Analyst: "b", Comment: "y"}, 5)
	one := verdict.Judge(&intel.Head{Verdicts: []intel.Row[intel.AnalystVerdict]{a, b}, Detections: detected(intel.Red, "x", "y")})
	two := verdict.Judge(&intel.Head{Verdicts: []intel.Row[intel.AnalystVerdict]{b, a}, Detections: detected(intel.Red, "y", "x")})
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
	p, q := row(intel.Publication{Title: "P", Type: intel.APT}, 1), row(intel.Publication{Title: "Q", Type: intel.OSINT}, 2)
	one = verdict.Judge(&intel.Head{Publications: []intel.Row[intel.Publication]{p, q}})
	two = verdict.Judge(&intel.Head{Publications: []intel.Row[intel.Publication]{q, p}})
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
}

// TestDiscounts: whatever a listing's discount, its zone is the band that its score is in, and a larger discount never says more.
func TestDiscounts(t *testing.T) {
	for _, zone := range []intel.Zone{intel.Red, intel.Orange, intel.Yellow, intel.Gray, intel.Green} {
		before := verdict.Judge(&intel.Head{Listings: discounted(zone, 0)})
		for d := range 256 {
			v := verdict.Judge(&intel.Head{Listings: discounted(zone, uint8(d))})
			in := map[intel.Zone][2]int{intel.Red: {75, 100}, intel.Orange: {50, 74}, intel.Yellow: {26, 49}, intel.Gray: {25, 25}, intel.Green: {0, 24}}[v.Zone]
			if v.Score < in[0] || v.Score > in[1] {
				t.Errorf("%s less %d: %s %d", zone, d, v.Zone, v.Score)
			}
			if zone == intel.Green && v.Score < before.Score || zone != intel.Green && v.Score > before.Score {
				t.Errorf("%s less %d scores %d, less a little less %d", zone, d, v.Score, before.Score)
			}
			if before = v; d >= 100 && v.Zone != intel.Gray {
				t.Errorf("%s less %d: %s", zone, d, v.Zone)
			}
		}
	}
}

func TestScoreBands(t *testing.T) {
	for zone, band := range map[intel.Zone][2]int{intel.Red: {75, 100}, intel.Orange: {50, 74}, intel.Yellow: {26, 49}, intel.Gray: {25, 25}, intel.Green: {0, 24}} {
		var names []string
		for range 40 {
			names = append(names, "n")
			s := verdict.Judge(&intel.Head{Detections: detected(zone, names...)}).Score
			if s < band[0] || s > band[1] {
				t.Errorf("%s with %d voices scores %d, not within %v", zone, len(names), s, band)
			}
		}
	}
}

func TestDetection(t *testing.T) {
	at := func(z intel.Zone, name string, last intel.Seconds) intel.Row[intel.Detection] {
		return row(intel.Detection{Name: name, Zone: z}, last)
	}
	threat := func(z intel.Zone, name string, last intel.Seconds) intel.Row[intel.Listing] {
		return row(intel.Listing{Feed: "F", Zone: z, Threat: name}, last)
	}
	for _, tt := range []struct {
		name string
		head *intel.Head
		want string
	}{
		{"no head", nil, ""},
		{"nothing", &intel.Head{}, ""},
		{"the gravest", &intel.Head{Detections: []intel.Row[intel.Detection]{at(intel.Yellow, "z", 9), at(intel.Red, "a", 1), at(intel.Orange, "y", 5)}}, "a"},
		{"the newest of the gravest", &intel.Head{Detections: []intel.Row[intel.Detection]{at(intel.Red, "z", 1), at(intel.Red, "a", 2)}}, "a"},
		{"by name among equals", &intel.Head{Detections: []intel.Row[intel.Detection]{at(intel.Red, "b", 1), at(intel.Red, "a", 1), at(intel.Red, "c", 1)}}, "a"},
		{"a detection before a threat", &intel.Head{Detections: []intel.Row[intel.Detection]{at(intel.Yellow, "d", 1)}, Listings: []intel.Row[intel.Listing]{threat(intel.Red, "t", 2)}}, "d"},
		{"a threat", &intel.Head{Listings: []intel.Row[intel.Listing]{threat(intel.Red, "", 3), threat(intel.Yellow, "t", 2)}}, "t"},
		{"of a listing that counts as yellow", &intel.Head{Listings: append(discounted(intel.Red, 80), threat(intel.Orange, "u", 0))}, "u"},
		{"of a listing that counts for nothing", &intel.Head{Listings: discounted(intel.Red, 100)}, ""},
		{"the package of a known-good list is no threat", &intel.Head{Listings: []intel.Row[intel.Listing]{threat(intel.Green, "coreutils", 3), threat(intel.Gray, "x", 3)}}, ""},
	} {
		if got := verdict.Detection(tt.head); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestOthers(t *testing.T) {
	if z := verdict.Zone(nil); z != intel.Gray {
		t.Errorf("no head: %s", z)
	}
	for _, tt := range []struct {
		listings []intel.Row[intel.Listing]
		want     intel.Zone
	}{{nil, intel.Gray}, {listed(intel.Green, "w"), intel.Green}, {append(listed(intel.Green, "w"), listed(intel.Orange, "b")...), intel.Orange}} {
		if got := verdict.Address(tt.listings); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.listings, got, tt.want)
		}
	}
	for _, tt := range []struct {
		c    intel.Certificate
		want intel.Zone
	}{
		{intel.Certificate{}, intel.Gray},
		{intel.Certificate{Trusted: true}, intel.Green},
		{intel.Certificate{Revoked: true}, intel.Red},
		{intel.Certificate{Trusted: true, Revoked: true}, intel.Gray},
		{intel.Certificate{Trusted: true, Revoked: true, Discredited: true}, intel.Red},
		{intel.Certificate{Trusted: true, Discredited: true}, intel.Red},
	} {
		if got := verdict.Certificate(&tt.c); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.c, got, tt.want)
		}
	}
	for s, want := range map[intel.SignatureStatus]intel.Zone{intel.Trusted: intel.Green, intel.NotTrusted: intel.Gray, intel.Discredited: intel.Red, "": intel.Gray} {
		if got := verdict.Signer(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// TestAllocations: a dossier asks the zone of thousands of files.
func TestAllocations(t *testing.T) {
	h := &intel.Head{Detections: detected(intel.Red, "a", "b"), Listings: listed(intel.Green, "w"), Verdicts: []intel.Row[intel.AnalystVerdict]{row(intel.AnalystVerdict{Zone: intel.Gray}, 1)}}
	if n := testing.AllocsPerRun(10, func() { verdict.Zone(h) }); n != 0 {
		t.Errorf("Zone allocates %v times", n)
	}
}
