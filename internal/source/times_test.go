package source

import (
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	at := time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC)
	day := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-03-04T15:06:07Z": at, "2026-03-04T15:06:07.123456Z": at, "2026-03-04 15:06:07": at, "2026-03-04T17:06:07+0200": at,
		"2026-03-04T17:06:07+02:00": at, "2026-03-04 15:06:07 UTC": at, "2026-03-04T15:06:07": at, "1772636767": at, "1772636767.25": at,
		"1772636767000": at, "1772636767000000": at, "1772636767000000000": at, "3/4/2026 15:06:07": at, "03/04/2026 15:06:07": at,
		"3/4/2026 3:06:07 PM": at, "2026-03-04": day, "03/04/2026": day, "Mar 4, 2026": day, " 4 March 2026 ": day, "2026/03/04": day,
	} {
		if got, ok := parseTime(s); !ok || !got.Truncate(time.Second).Equal(want) {
			t.Errorf("%q is read as %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "-", "n/a", "2026-02-30", "13/13/2026", "0", "1969-12-31", "2300-01-01", "12345", "1e400", "NaN", "yesterday"} {
		if got, ok := parseTime(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

// TestPublicationID: the address decides, however its end and case are written, and without one the title.
func TestPublicationID(t *testing.T) {
	a := publicationID("https://example.com/Report/", "A")
	if a != publicationID("https://example.com/report", "B") || a == publicationID("", "A") || publicationID("", "A") == publicationID("", "B") {
		t.Error("two publications are taken for one, or one for two")
	}
}

// TestDateTime: the short way to read a date and time reads what the time package does, and refuses what it refuses.
func TestDateTime(t *testing.T) {
	for _, s := range []string{"2026-01-02 03:04:05", "2026-01-02T03:04:05", "2024-02-29 00:00:00", "2023-02-29 00:00:00", "2026-13-01 00:00:00", "2026-00-01 00:00:00",
		"2026-04-31 00:00:00", "2026-04-00 00:00:00", "2026-01-02 24:00:00", "2026-01-02 23:60:00", "2026-01-02 23:59:60", "2026-01-02 23:59:5x", "2026/01/02 03:04:05",
		"2026-01-02_03:04:05", "+026-01-02 03:04:05", "2026-01-02 03:04", "2199-12-31 23:59:59", ""} {
		want, err := time.Parse(time.DateTime, strings.Replace(s, "T", " ", 1))
		got, ok := dateTime(s)
		if ok != (err == nil) || ok && (!got.Equal(want) || got.Location() != time.UTC) {
			t.Errorf("%q: %v, %v, want %v, %v", s, got, ok, want, err)
		}
	}
	for _, s := range []string{"1970-12-31 23:59:59", "2200-01-01 00:00:00"} { // parseTime has the bounds
		if got, ok := dateTime(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}
