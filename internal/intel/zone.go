package intel

import "fmt"

// Zone is the colour of a verdict. The zero Zone is "not said". A larger value is more severe, so red sorts first descending.
type Zone uint8

// The zones, mildest first.
const (
	Green  Zone = iota + 1 // clean
	Gray                   // not categorized
	Yellow                 // adware and other
	Orange                 // not trusted (score 50–74)
	Red                    // malware
)

var zoneNames = [...]string{"", "green", "gray", "yellow", "orange", "red"}

// String returns the lower-case name as observations spell it ("gray").
func (z Zone) String() string {
	if int(z) < len(zoneNames) {
		return zoneNames[z]
	}
	return fmt.Sprintf("zone(%d)", uint8(z))
}

// Label returns the status that stands beside the zone on a page.
func (z Zone) Label() string {
	switch z {
	case Red:
		return "Malware"
	case Orange:
		return "Not trusted"
	case Yellow:
		return "Adware and other"
	case Green:
		return "Clean"
	}
	return "Not categorized"
}

// MarshalText writes the lower-case name.
func (z Zone) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// UnmarshalText reads a lower-case name; "grey" is taken for "gray".
func (z *Zone) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "grey" {
		s = "gray"
	}
	for i, n := range zoneNames {
		if n == s {
			*z = Zone(i)
			return nil
		}
	}
	return &Refusal{Reason: fmt.Sprintf("%s is no zone; one of red, orange, yellow, gray, green", quoteShort(s))}
}

// A Verdict says how bad a file is and why.
type Verdict struct {
	Zone    Zone     `json:"zone"`
	Score   int      `json:"score"`   // 0 (good) to 100 (bad); 50 to 74 is orange
	Reasons []string `json:"reasons"` // sentences for people, strongest first
}

// Marking is a Traffic Light Protocol marking: who may see what a source says. A larger value is more restricted.
type Marking uint8

// The TLP 2.0 markings. Clear is the zero value: a source that says nothing may be seen by every account.
const (
	TLPClear Marking = iota
	TLPGreen
	TLPAmber
	TLPAmberStrict
	TLPRed
)

var markingNames = [...]string{"clear", "green", "amber", "amber+strict", "red"}

func (m Marking) String() string {
	if int(m) < len(markingNames) {
		return markingNames[m]
	}
	return fmt.Sprintf("marking(%d)", uint8(m))
}

// MarshalText writes the lower-case name without "TLP:".
func (m Marking) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a lower-case name.
func (m *Marking) UnmarshalText(b []byte) error {
	for i, n := range markingNames {
		if n == string(b) {
			*m = Marking(i)
			return nil
		}
	}
	return &Refusal{Reason: fmt.Sprintf("%s is no marking; one of clear, green, amber, amber+strict, red", quoteShort(string(b)))}
}
