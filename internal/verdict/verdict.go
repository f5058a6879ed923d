// Package verdict judges: the facts at the head of a file in, its zone, score and reasons out. Pure rules; no clock, no I/O.
//
// The rules, strongest first: the newest decision of an analyst stands; else the gravest detection or listing of yellow or worse;
// else a listing among known-good files is green; else gray.
//
// A listing that counts less, by its feed's weight or its age, moves the score from gray towards its zone by so much less, and says what that
// score says: a red one of half the weight is orange. One of no weight says nothing.
package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// Zone returns the zone alone. It allocates nothing: a dossier asks it for every related file.
func Zone(h *intel.Head) intel.Zone {
	if h == nil {
		return intel.Gray
	}
	if v := decision(h); v != nil {
		return v.Value.Zone
	}
	worst, good := intel.Gray, false
	for i := range h.Detections {
		worst = max(worst, h.Detections[i].Value.Zone)
		good = good || h.Detections[i].Value.Zone == intel.Green
	}
	for i := range h.Listings {
		zone, _ := counted(&h.Listings[i].Value)
		worst = max(worst, zone)
		good = good || zone == intel.Green
	}
	if worst == intel.Gray && good {
		return intel.Green
	}
	return worst
}

// decision returns the newest verdict of an analyst, nil when none has decided. Of two at one moment the graver stands,
// of two alike the first by its words.
func decision(h *intel.Head) (newest *intel.Row[intel.AnalystVerdict]) {
	for i := range h.Verdicts {
		v := &h.Verdicts[i]
		if newest == nil || cmp.Or(cmp.Compare(v.Last, newest.Last), cmp.Compare(v.Value.Zone, newest.Value.Zone),
			strings.Compare(newest.Value.Analyst, v.Value.Analyst), strings.Compare(newest.Value.Comment, v.Value.Comment)) > 0 {
			newest = v
		}
	}
	return newest
}

// Judge returns the whole verdict.
func Judge(h *intel.Head) intel.Verdict {
	v := intel.Verdict{Zone: Zone(h), Reasons: []string{}}
	type reason struct {
		zone intel.Zone
		text string
	}
	strongest := -1 // of the voices for the zone: how far from gray the one is that says it most
	voice := func(zone intel.Zone, base int) {
		if zone == v.Zone {
			strongest = max(strongest, base-gray, gray-base)
		}
	}
	if decision(h) != nil {
		voice(v.Zone, base(v.Zone))
	}
	var reasons []reason
	against := 0 // distinct names that say the file is as bad as its zone
	if d := decision(h); d != nil {
		who := cmp.Or(d.Value.Analyst, "an analyst")
		text := fmt.Sprintf("%s decided: %s", who, d.Value.Zone)
		if d.Value.Comment != "" {
			text += ": " + d.Value.Comment
		}
		v.Reasons = append(v.Reasons, text)
	}
	for _, r := range h.Detections {
		text := fmt.Sprintf("detected as %s", r.Value.Name)
		if r.Value.Method != "" {
			text += " by " + r.Value.Method
		}
		voice(r.Value.Zone, base(r.Value.Zone))
		reasons = append(reasons, reason{r.Value.Zone, text + " (" + r.Value.Zone.String() + ")"})
	}
	for _, r := range h.Listings {
		text := "listed in " + r.Value.Feed
		if r.Value.Zone == intel.Green {
			text = "known good: listed in " + r.Value.Feed
		}
		if r.Value.Threat != "" {
			text += " as " + r.Value.Threat
		}
		zone, score := counted(&r.Value)
		voice(zone, score)
		text += " (" + r.Value.Zone.String()
		if r.Value.Discount > 0 {
			text += fmt.Sprintf(", of weight %d", 100-min(r.Value.Discount, 100))
		}
		if zone != r.Value.Zone {
			text += ": counts as " + zone.String()
		}
		reasons = append(reasons, reason{zone, text + ")"})
	}
	slices.SortFunc(reasons, func(a, b reason) int {
		return cmp.Or(-cmp.Compare(a.zone, b.zone), strings.Compare(a.text, b.text))
	})
	for _, r := range reasons {
		v.Reasons = append(v.Reasons, r.text)
		if r.zone == v.Zone {
			against++
		}
	}
	named := len(v.Reasons)
	for _, p := range h.Publications {
		v.Reasons = append(v.Reasons, fmt.Sprintf("named in the report %s (%s)", p.Value.Title, p.Value.Type))
	}
	slices.Sort(v.Reasons[named:])
	if len(v.Reasons) == 0 {
		v.Reasons = append(v.Reasons, "no detection, no listing and no decision: nothing says that it is bad or good")
	}
	v.Score = score(v.Zone, strongest, against)
	return v
}

// gray is the score of a file of which nothing is said.
const gray = 25

// base is the score of one voice for a zone, which counts wholly.
func base(z intel.Zone) int {
	switch z {
	case intel.Red:
		return 85
	case intel.Orange:
		return 60
	case intel.Yellow:
		return 35
	case intel.Green:
		return 10
	}
	return gray
}

// counted is what a listing says with its discount, and the score of that alone.
func counted(l *intel.Listing) (intel.Zone, int) {
	if l.Discount == 0 {
		return l.Zone, base(l.Zone)
	}
	score := gray + (base(l.Zone)-gray)*(100-int(min(l.Discount, 100)))/100
	switch {
	case score >= 75:
		return intel.Red, score
	case score >= 50:
		return intel.Orange, score
	case score > gray:
		return intel.Yellow, score
	case score < gray:
		return intel.Green, score
	}
	return intel.Gray, score
}

// score places a file inside its zone's band: red 75 to 100, orange 50 to 74, yellow 26 to 49, gray 25, green 0 to 24. strongest is how far from
// gray the strongest voice is; each further voice for a bad zone adds five, and each further one for green takes five.
func score(z intel.Zone, strongest, voices int) int {
	more := max(strongest, 0) + 5*max(voices-1, 0)
	switch z {
	case intel.Red:
		return min(gray+more, 100)
	case intel.Orange:
		return min(gray+more, 74)
	case intel.Yellow:
		return min(gray+more, 49)
	case intel.Green:
		return max(gray-more, 0)
	}
	return gray
}

// Detection returns the name of the gravest detection, else of the gravest threat that a listing of yellow or worse names, else "".
// Among equals the newest goes first, then the name.
func Detection(h *intel.Head) string {
	if h == nil {
		return ""
	}
	var name string
	var zone intel.Zone
	var last intel.Seconds
	better := func(z intel.Zone, l intel.Seconds, n string) bool {
		return cmp.Or(cmp.Compare(z, zone), cmp.Compare(l, last), cmp.Compare(name, n)) > 0
	}
	for i := range h.Detections {
		if r := &h.Detections[i]; name == "" || better(r.Value.Zone, r.Last, r.Value.Name) {
			name, zone, last = r.Value.Name, r.Value.Zone, r.Last
		}
	}
	if name != "" {
		return name
	}
	for i := range h.Listings {
		r := &h.Listings[i]
		if z, _ := counted(&r.Value); r.Value.Threat != "" && z >= intel.Yellow && (name == "" || better(z, r.Last, r.Value.Threat)) {
			name, zone, last = r.Value.Threat, z, r.Last
		}
	}
	return name
}

// Address returns the zone of a web address by its listings: the gravest, green only when nothing says worse.
func Address(listings []intel.Row[intel.Listing]) intel.Zone {
	return Zone(&intel.Head{Listings: listings})
}

// Certificate returns the zone of a certificate as the file carries it: red when it is discredited, or revoked without that its signature is trusted;
// green when it is trusted. One that was revoked only after a signature that is trusted says nothing against this file, and nothing for the next: gray.
func Certificate(c *intel.Certificate) intel.Zone {
	switch {
	case c.Discredited || c.Revoked && !c.Trusted:
		return intel.Red
	case c.Trusted && !c.Revoked:
		return intel.Green
	}
	return intel.Gray
}

// Signer returns the zone of a signature's trust level: red, gray or green.
func Signer(s intel.SignatureStatus) intel.Zone {
	switch s {
	case intel.Discredited:
		return intel.Red
	case intel.Trusted:
		return intel.Green
	}
	return intel.Gray
}
