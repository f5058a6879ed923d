package main

import (
	"bytes"
	"testing"
	"time"
)

// TestProgressLines checks that a log gets a line of progress after a second, and then one now and then. (On a terminal: terminal.txtar.)
func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.say("at once")
	p.last = p.last.Add(-firstProgress) // a second goes by
	p.say("%d of %d", 1, 2)
	p.say("too soon")
	p.last = p.last.Add(-p.every)
	p.say("later")
	p.step("a step")
	p.line("a fault")
	p.done()
	if got, want := out.String(), "1 of 2\nlater\na step\na fault\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestHeadway: files count when they are done, a guess of the time left never counts what was inspected before, and one that says nothing is left out.
func TestHeadway(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	h := &headway{start: start, files: 5, total: 2e12}
	expect := func(now int, members int64, want string) {
		t.Helper()
		if got := h.say(at(now), members); got != want {
			t.Errorf("after %d s: %q, want %q", now, got, want)
		}
	}
	expect(4, 8, "0 of 5 files, 8 members, 2.0 members/s, 4s")
	h.add(&inspected{size: 5e11, again: true}, at(1))
	h.add(&inspected{size: 5e11, again: true}, at(2))
	expect(10, 0, "2 of 5 files, 0 members, 0.2 files/s, 100000.0 MB/s")
	h.add(&inspected{size: 20}, at(10))
	expect(20, 3, "3 of 5 files, 3 members, 0.1 files/s, 50000.0 MB/s") // 16,000 years
	h.add(&inspected{size: 2e10}, at(11))
	expect(110, 3, "4 of 5 files, 3 members, 0.0 files/s, 9272.7 MB/s, 1h21m40s left")
	expect(20010, 3, "4 of 5 files, 3 members, 0.0 files/s, 51.0 MB/s, 11 days left")
}
