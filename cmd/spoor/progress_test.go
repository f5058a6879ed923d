package main

import (
	"bytes"
	"testing"
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
