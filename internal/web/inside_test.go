package web

import (
	"testing"
	"time"
)

func TestLookAgain(t *testing.T) {
	for waited, want := range map[time.Duration]int{0: 3, 29 * time.Second: 3, 2 * time.Minute: 12, time.Hour: 60} {
		if got := lookAgain(waited); got != want {
			t.Errorf("after %s: in %d s, want %d", waited, got, want)
		}
	}
}

func TestTotal(t *testing.T) {
	for want, p := range map[string]panel{"7": {Count: 7}, "999": {Count: 999}, "1\u202f000 or more": {Count: 1000}, "1\u202f205": {Count: 1000, More: 205}} {
		if got := p.Total(); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}
