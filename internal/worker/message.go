package worker

import (
	"encoding/binary"
	"io"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/signature"
	"spoor/internal/intel"
)

// setup is the first message to a child.
type setup struct {
	Limits    inspect.Limits   `json:"limits"`
	Memory    int64            `json:"memory"`
	Passwords []string         `json:"passwords"`
	Scan      bool             `json:"scan"`
	Trust     *signature.Trust `json:"trust"`
	Patterns  *exe.Patterns    `json:"patterns"`
}

// request asks for one inspection. The file's descriptor comes with it.
type request struct {
	Path string    `json:"path,omitempty"` // where descriptors cannot be handed over
	Name string    `json:"name"`
	Size int64     `json:"size"`
	Now  time.Time `json:"now"`

	Avoid map[int]string `json:"avoid,omitempty"` // the attempts that a child before died in, and of what
}

// observed begins a line of a child that is an observation, which follows; any other line is an answer. Observations are nearly all that is said, and
// one in an answer would be read twice.
const observed = 'o'

// answer is a message from a child: one of its fields.
type answer struct {
	Ready  []string         `json:"ready,omitempty"` // the guards that hold, once, at first
	Scan   *scan            `json:"scan,omitempty"`  // waits for a verdict
	Done   *inspect.Summary `json:"done,omitempty"`
	Spent  bool             `json:"spent,omitempty"`  // with Done: the next file should have a fresh child
	Failed string           `json:"failed,omitempty"` // the file could not be read at all
}

// files is how many files of its own a child gets: a scratch of each level, and behind them the one with the mark.
const (
	markFile = inspect.MaxLevel + 1
	files    = markFile + 1
)

// mark says where in a file a child is. It stands in a file of its own, so that it is there whatever the child dies of: as two numbers of eight
// bytes, little-endian.
type mark struct {
	attempt int // the last that was begun, from 1; see [inspect.Inspector].Attempt
	told    int // observations before it
}

func (m mark) write(f io.WriterAt) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(m.attempt))
	_, err := f.WriteAt(binary.LittleEndian.AppendUint64(b, uint64(m.told)), 0)
	return err
}

// readMark reads what a child wrote, who may be anybody: false means that there is no sense in it.
func readMark(f io.ReaderAt) (m mark, ok bool) {
	var b [16]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return m, false
	}
	m = mark{int(binary.LittleEndian.Uint64(b[:])), int(binary.LittleEndian.Uint64(b[8:]))}
	return m, m.attempt > 0 && m.told >= 0
}

// scan asks the parent to scan what the child has laid into the scratch of a level; -1 is the file itself.
type scan struct {
	Level int   `json:"level"`
	Size  int64 `json:"size"`
}

// scanned is the answer to a scan.
type scanned struct {
	Detections []intel.Detection `json:"detections"`
	Notes      []string          `json:"notes"`
}
