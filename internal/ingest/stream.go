package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// Marker is what ingest needs of the store for streams, whose deliveries are cut anew each time and so have no batch to name. A mark is a
// name and a number that only grows, written in the same step as the observations that it stands for.
type Marker interface {
	// RecordMarked keeps the observations, durably, and raises the marks, all or none. Every observation has passed Check.
	RecordMarked(ctx context.Context, marks map[string]uint64, observations []intel.Observation) error
	// Marks returns the number of each name's mark, 0 where there is none.
	Marks(ctx context.Context, names []string) ([]uint64, error)
}

// The bounds on the messages that are taken in one step.
const (
	StreamMessages = 4096
	StreamBytes    = 8 << 20
)

// Fate is what became of a message.
type Fate uint8

// What may become of a message.
const (
	Other    Fate = iota // read, or of no format that is known, and it says nothing of a file
	Taken                // observations were made, of it or of those that were read together with it, and recorded
	Repeated             // taken in before: nothing changed
	Refused              // it, or a part of it, was not read
)

func (f Fate) String() string { return [...]string{"other", "taken", "repeated", "refused"}[f] }

// Message is one of a stream: a document of a log shipper, a record of a log broker. Its bytes are one input, or a part of one: an
// event, or several.
type Message struct {
	Name string // its own, the same at each delivery; used by [Stream.Take] alone
	Data []byte
}

// Told is what became of one message.
type Told struct {
	Fate    Fate
	Refusal *intel.Refusal // the first, when something was refused
}

// Stream takes messages in, many at a time, each of which counts once. The messages of one delivery may be of several formats.
type Stream struct {
	Marker Marker

	// One delivery looks at its messages' marks and writes them; a second with the same ones waits meanwhile.
	mu sync.Mutex
}

// Take records what the messages say, but for those that were taken in before, which it knows by their names. It fails, having recorded
// nothing, when the store cannot answer.
func (s *Stream) Take(ctx context.Context, o source.Options, messages []Message) ([]Told, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(messages))
	for i := range messages {
		names[i] = messages[i].Name
	}
	marks, err := s.Marker.Marks(ctx, names)
	if err != nil {
		return nil, err
	}
	told := make([]Told, len(messages))
	raised := make(map[string]uint64, len(messages))
	var fresh []Message
	var places []int
	for i := range messages {
		if _, twice := raised[names[i]]; twice || marks[i] > 0 {
			told[i].Fate = Repeated
			continue
		}
		raised[names[i]] = 1
		fresh = append(fresh, messages[i])
		places = append(places, i)
	}
	if len(fresh) == 0 {
		return told, nil
	}
	observations, read, err := Read(ctx, o, fresh)
	if err != nil {
		return nil, err
	}
	for i, t := range read {
		told[places[i]] = t
		if t.Fate == Other {
			delete(raised, fresh[i].Name) // it counted nothing and never will: no need to remember it
		}
	}
	if len(observations) == 0 {
		return told, nil
	}
	return told, s.Marker.RecordMarked(ctx, raised, observations)
}

// Read makes observations of messages. It never fails for what they hold: what is not read is told.
func Read(ctx context.Context, o source.Options, messages []Message) ([]intel.Observation, []Told, error) {
	told := make([]Told, len(messages))
	kinds := make([]kind, len(messages))
	texts := make([][]byte, len(messages))
	groups := map[kind][]int{}
	var order []kind
	var alone []int
	for i := range messages {
		texts[i], kinds[i] = recognise(bytes.TrimSpace(messages[i].Data), o.Format)
		switch {
		case kinds[i].format == "":
		case texts[i][0] != '{' || bytes.IndexByte(texts[i], '\n') >= 0 || !json.Valid(texts[i]):
			// Only what is whole on one line by itself is read together with others: what is wrong with one must not touch the next.
			alone = append(alone, i)
		default:
			if _, ok := groups[kinds[i]]; !ok {
				order = append(order, kinds[i])
			}
			groups[kinds[i]] = append(groups[kinds[i]], i)
		}
	}
	var all []intel.Observation
	read := func(format source.Format, places []int) (bool, error) {
		var joined bytes.Buffer
		for _, i := range places {
			joined.Write(texts[i])
			joined.WriteByte('\n')
		}
		c := &collecting{ctx: ctx}
		one := o
		one.Format = format
		_, err := source.Read(ctx, source.NewInput("message", &joined), one, c)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil && len(places) > 1:
			return false, nil
		case err != nil:
			r := intel.Refusal{Reason: err.Error()}
			if refusal := (*intel.Refusal)(nil); errors.As(err, &refusal) {
				r = *refusal
			}
			c.refusals = append(c.refusals, r)
		}
		if len(c.observations) > 0 {
			for _, i := range places {
				told[i].Fate = Taken
			}
		}
		for _, r := range c.refusals {
			n := 0
			if len(places) > 1 {
				n = int(min(max(r.Line-1, 0), int64(len(places)-1)))
			}
			if t := &told[places[n]]; t.Refusal == nil {
				t.Fate, t.Refusal = Refused, &r
			}
		}
		all = append(all, c.observations...)
		return true, nil
	}
	for _, k := range order {
		whole, err := read(k.format, groups[k])
		if err != nil {
			return nil, nil, err
		}
		if !whole { // one of them ended the reading: each by itself
			alone = append(alone, groups[k]...)
		}
	}
	slices.Sort(alone)
	for _, i := range alone {
		if _, err := read(kinds[i].format, []int{i}); err != nil {
			return nil, nil, err
		}
	}
	return all, told, nil
}

// collecting is a sink that keeps what comes.
type collecting struct {
	ctx          context.Context
	observations []intel.Observation
	refusals     []intel.Refusal
}

// maxMade bounds what the messages of one step unfold to.
const maxMade = 1 << 20

func (c *collecting) Observe(o intel.Observation) error {
	if len(c.observations) >= maxMade {
		return fmt.Errorf("more than %d observations in one step", maxMade)
	}
	c.observations = append(c.observations, o)
	return nil
}

func (c *collecting) Refuse(r intel.Refusal) {
	if len(c.refusals) < maxRefusals {
		c.refusals = append(c.refusals, r)
	}
}

// kind is what messages have in common that are read together.
type kind struct {
	format source.Format
	sure   bool // by more than its shape
}

// recognise finds the kind of a message and the text to read as it: the message's own, or what a shipper put into an object around the
// line that it had read, as message (Filebeat, Vector, rsyslog) or log (Fluent Bit). Only JSON and XML tell by one event what they are;
// the format is "" of anything else, unless it was asked for.
func recognise(data []byte, asked source.Format) ([]byte, kind) {
	known := func(b []byte) (k kind) {
		if len(b) > 0 && (b[0] == '{' || b[0] == '[' || b[0] == '<') {
			k.format, k.sure = source.Recognise(b)
		}
		return k
	}
	if len(data) == 0 {
		return nil, kind{}
	}
	if asked != "" && asked != source.Auto {
		return data, kind{asked, true}
	}
	own := known(data)
	if own.sure || data[0] != '{' {
		return data, own
	}
	var around struct{ Message, Log json.RawMessage }
	if json.Unmarshal(data, &around) != nil {
		return data, own
	}
	for _, line := range []json.RawMessage{around.Message, around.Log} {
		var text string
		if json.Unmarshal(line, &text) != nil {
			continue
		}
		inner := bytes.TrimSpace([]byte(text))
		if k := known(inner); k.format != "" {
			return inner, k
		}
	}
	return data, own
}
