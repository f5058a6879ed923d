package intel_test

import (
	"errors"
	"testing"

	"spoor/internal/intel"
)

func TestZoneText(t *testing.T) {
	for _, tt := range []struct {
		text, label string
		zone        intel.Zone
	}{
		{"red", "Malware", intel.Red},
		{"orange", "Not trusted", intel.Orange},
		{"yellow", "Adware and other", intel.Yellow},
		{"gray", "Not categorized", intel.Gray},
		{"green", "Clean", intel.Green},
		{"", "Not categorized", 0},
	} {
		var z intel.Zone
		if err := z.UnmarshalText([]byte(tt.text)); err != nil || z != tt.zone || z.String() != tt.text || z.Label() != tt.label {
			t.Errorf("%q: %d %s %s, %v", tt.text, z, z, z.Label(), err)
		}
		if b, err := tt.zone.MarshalText(); err != nil || string(b) != tt.text {
			t.Errorf("%q is written %q, %v", tt.text, b, err)
		}
	}
	var z intel.Zone
	if err := z.UnmarshalText([]byte("grey")); err != nil || z != intel.Gray {
		t.Errorf("grey: %s, %v", z, err)
	}
	for _, bad := range []string{"Red", "purple", " red", "zone(9)"} {
		if err := z.UnmarshalText([]byte(bad)); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if s := intel.Zone(9).String(); s != "zone(9)" {
		t.Error(s)
	}
	if intel.Red <= intel.Orange || intel.Orange <= intel.Yellow || intel.Yellow <= intel.Gray || intel.Gray <= intel.Green {
		t.Error("the zones are not in the order of their severity")
	}
}

func TestMarkingText(t *testing.T) {
	for i, text := range []string{"clear", "green", "amber", "amber+strict", "red"} {
		var m intel.Marking
		if err := m.UnmarshalText([]byte(text)); err != nil || m != intel.Marking(i) || m.String() != text {
			t.Errorf("%q: %d %s, %v", text, m, m, err)
		}
	}
	var m intel.Marking
	for _, bad := range []string{"", "TLP:RED", "Red", "white", "marking(9)"} {
		if err := m.UnmarshalText([]byte(bad)); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if s := intel.Marking(9).String(); s != "marking(9)" {
		t.Error(s)
	}
}

func TestRefusalText(t *testing.T) {
	for _, tt := range []struct {
		r    intel.Refusal
		want string
	}{
		{intel.Refusal{Reason: "no"}, "no"},
		{intel.Refusal{Field: "zone", Reason: "no"}, "zone: no"},
		{intel.Refusal{Input: "a.zip!b", Line: 3, Field: "zone", Reason: "no"}, "a.zip!b: line 3: zone: no"},
	} {
		if got := tt.r.Error(); got != tt.want || !errors.Is(&tt.r, intel.ErrInvalid) || errors.Is(&tt.r, intel.ErrUnknown) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
