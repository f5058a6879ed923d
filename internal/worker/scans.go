package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/intel"
)

// maxAnswers bounds the bytes of the answers to one inspection's scans that are kept; 250,000 members of which nothing is said take 8 MiB.
const maxAnswers = 16 << 20

// scanShare is which part of an inspection's time other engines get: one that hangs shall cost what it would have said, not what is read here.
var scanShare time.Duration = 2

// scans are what other engines have said in one inspection. A child that takes another's place asks the same in the same order, and is answered as that one
// was: so it tells as much before it goes on, and nothing is read twice.
type scans struct {
	asked   int      // by this child
	answers [][]byte // messages
	size    int      // of the answers, also of those that are not kept
	took    time.Duration
}

// kept reports whether another child can be answered as this one was.
func (s *scans) kept() bool { return s.size <= maxAnswers }

// scan answers a child's question.
func (c *child) scan(ctx context.Context, i *inspection, s *scan) error {
	f, size := i.f, i.size
	if s.Level != -1 {
		if s.Level < 0 || s.Level > inspect.MaxLevel {
			return fmt.Errorf("it asks for level %d to be scanned", s.Level)
		}
		f, size = c.scratch[s.Level], s.Size
		if info, err := f.Stat(); err != nil || info.Size() != size {
			return fmt.Errorf("it asks for %d bytes of level %d to be scanned, and others are there: %v", size, s.Level, err)
		}
	}
	if i.said.asked++; i.said.asked <= len(i.said.answers) {
		_, err := c.link.Write(i.said.answers[i.said.asked-1])
		return err
	}
	found := scanned{Detections: []intel.Detection{}}
	most := c.c.Limits.Time / scanShare
	switch left := most - i.said.took; {
	case c.c.Scan == nil:
	case left <= 0:
		found.Notes = []string{fmt.Sprintf("other engines not asked: they have taken %s of this inspection", most)}
	default:
		began := time.Now() // before the timeout is: who takes all has nothing left
		asking, cancel := context.WithTimeout(ctx, left)
		d, notes := c.c.Scan(asking, f, size)
		i.said.took += time.Since(began)
		cancel()
		found.Detections, found.Notes = append(found.Detections, d...), notes
	}
	message, err := json.Marshal(&found)
	if err != nil {
		return err
	}
	i.tree.scanned(found.Detections)
	message = append(message, '\n')
	if i.said.size += len(message); i.said.kept() {
		i.said.answers = append(i.said.answers, message)
	}
	_, err = c.link.Write(message)
	return err
}
