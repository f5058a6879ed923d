package source

import (
	"strconv"
	"strings"
	"time"
)

// layouts are the times met in feeds and logs, those with a zone first; one without a zone is UTC.
var layouts = [...]string{
	time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05 MST",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02", "2006/01/02 15:04:05", "2006/01/02",
	"01/02/2006 15:04:05", "1/2/2006 15:04:05", "1/2/2006 3:04:05 PM", "1/2/2006 15:04", "1/2/2006", "02-Jan-2006", "2 Jan 2006", "Jan 2, 2006", "January 2, 2006",
	"2 January 2006", "02.01.2006 15:04:05", "02.01.2006 15:04", "02.01.2006", time.RFC1123Z, time.RFC1123, time.UnixDate, time.ANSIC,
}

// parseTime reads a time of a foreign format, UTC when it names no zone; digits alone are seconds, milliseconds, microseconds or nanoseconds
// since 1970, by their number. Month stands before day where both are digits and the year comes last, but for dates with dots. ok is false for what is none of these, or outside 1970 to 2200.
func parseTime(s string) (t time.Time, ok bool) {
	if s = meaningful(s); s == "" || len(s) > 64 {
		return t, false
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && (strings.Contains(s, ".") || len(s) >= 9) {
		switch {
		case f >= 1e17:
			f /= 1e9
		case f >= 1e14:
			f /= 1e6
		case f >= 1e11:
			f /= 1e3
		}
		if f < 1 || f > 7e9 {
			return t, false
		}
		return time.Unix(int64(f), 0).UTC(), true
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1970 && t.Unix() > 0 && t.Year() < 2200
		}
	}
	return t, false
}
