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

// dateTime reads "2006-01-02 15:04:05" or the same with a T between, from 1971 on, as parseTime does: most of what lists and logs bear has this
// form. ok is false for all else.
func dateTime(s string) (t time.Time, ok bool) {
	if len(s) != len(time.DateTime) || s[4] != '-' || s[7] != '-' || s[10] != ' ' && s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	two := func(at int) int {
		a, b := s[at]-'0', s[at+1]-'0'
		if a > 9 || b > 9 {
			ok = false
		}
		return int(a)*10 + int(b)
	}
	ok = true
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if !ok || year < 1971 || year >= 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day // else the month has no such day
}
