package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/intel"
)

// Serve is the child's side: it inspects what the parent hands over until the parent closes. It returns when it cannot go on.
func Serve() error { return serve(func(*inspect.Inspector) {}) }

// serve is Serve, with an inspector that a test has changed.
func serve(change func(*inspect.Inspector)) error {
	link, scratch, err := inherit()
	if err == nil && len(scratch) != files {
		err = fmt.Errorf("%d files are handed over, not %d", len(scratch), files)
	}
	if err != nil {
		return fmt.Errorf("this command is started by spoor itself, not by a person: %w", err)
	}
	in := bufio.NewReader(link)
	out := bufio.NewWriterSize(link, 64<<10)
	var s setup
	if err := receive(in, &s); err != nil {
		return fmt.Errorf("reading how to work: %w", err)
	}
	debug.SetMemoryLimit(s.Memory / 4 * 3) // the collector's; the kernel's is the hard one
	guards, err := restrict(&s)
	if err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	send := func(a *answer) error {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = out.Write(append(b, '\n'))
		return err
	}
	if err := errors.Join(send(&answer{Ready: guards}), out.Flush()); err != nil {
		return err
	}
	go func() {
		link.orphaned()
		os.Exit(1) // nobody is left to tell anything
	}()
	i := &inspect.Inspector{Limits: s.Limits, Trust: s.Trust, Passwords: s.Passwords, Patterns: s.Patterns, Source: intel.Source{Type: intel.InspectionSource, Name: SourceName}}
	i.Used = processorTime
	for k := range i.Scratch {
		i.Scratch[k] = scratch[k]
	}
	var at mark
	var avoid map[int]string
	i.Attempt = func() error {
		at.attempt++
		if why, ok := avoid[at.attempt]; ok {
			return fmt.Errorf("stopped: %s", why)
		}
		return at.write(scratch[markFile])
	}
	change(i)
	if s.Scan {
		i.Scan = func(level int, size int64) ([]intel.Detection, []string, error) {
			if err := errors.Join(send(&answer{Scan: &scan{level, size}}), out.Flush()); err != nil {
				return nil, nil, err
			}
			var found scanned
			if err := receive(in, &found); err != nil {
				return nil, nil, err
			}
			return found.Detections, found.Notes, nil
		}
	}
	for {
		var r request
		if err := receive(in, &r); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading what to inspect: %w", err)
		}
		f, err := link.file(&r)
		if err != nil {
			return err
		}
		at, avoid = mark{}, r.Avoid
		flushed := time.Now()
		sum, err := i.Inspect(context.Background(), inspect.File{ReaderAt: f, Size: r.Size, Name: r.Name}, r.Now, func(o intel.Observation) error {
			b, err := o.MarshalJSON()
			if err != nil {
				return err
			}
			at.told++
			_ = out.WriteByte(observed) // bufio keeps its error
			_, err = out.Write(append(b, '\n'))
			if err == nil && time.Since(flushed) > flushEvery {
				flushed, err = time.Now(), out.Flush()
			}
			return err
		})
		f.Close()
		end := &answer{Done: &sum, Spent: held() > s.Memory/2}
		if err != nil {
			end = &answer{Failed: err.Error()}
		}
		if err := errors.Join(send(end), out.Flush()); err != nil {
			return err
		}
	}
}

// held returns the bytes of memory that this process has mapped for its heap. What a file leaves behind in it is in the next one's way.
func held() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

// flushEvery is how long what was told may be held back: somebody watches the number of members, and what stands in the buffer when the process
// is killed is lost.
const flushEvery = 200 * time.Millisecond

func receive(in *bufio.Reader, v any) error {
	line, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		var rest []byte
		line = append([]byte(nil), line...)
		if rest, err = in.ReadBytes('\n'); err == nil {
			line = append(line, rest...)
		}
	}
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}
