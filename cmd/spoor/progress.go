package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress tells on stderr how far something is: on a terminal one line that is written over, else a plain line now and then.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	term  bool
	every time.Duration
	last  time.Time
	shown int // characters on the terminal's line
}

// firstProgress is how long something may take before a log is told how far it is.
var firstProgress = time.Second

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, term: isTerminal(out), every: 10 * time.Second}
	p.last = time.Now().Add(firstProgress - p.every)
	if p.term {
		p.every, p.last = 150*time.Millisecond, time.Time{}
	}
	return p
}

// say tells where things stand, if it is time to.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < p.every {
		return
	}
	p.last = time.Now()
	p.write(fmt.Sprintf(format, args...))
}

// step tells of a new step, at once.
func (p *progress) step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.write(fmt.Sprintf(format, args...))
}

func (p *progress) write(line string) {
	if !p.term {
		fmt.Fprintln(p.out, line)
		return
	}
	width := 100
	if f, ok := p.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 10 {
			width = w
		}
	}
	runes := []rune(line)
	if len(runes) >= width {
		runes = append(runes[:width-2], '…')
	}
	fmt.Fprintf(p.out, "\r%s%s", string(runes), strings.Repeat(" ", max(p.shown-len(runes), 0)))
	p.shown = len(runes)
}

// line prints a line of its own, above the progress.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// done takes the progress away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.term && p.shown > 0 {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.shown))
		p.shown = 0
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether text to w may have colours: on a terminal, unless NO_COLOR or TERM=dumb say no.
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
