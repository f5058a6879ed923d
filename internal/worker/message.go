package worker

import (
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
}

// observed begins a line of a child that is an observation, which follows; any other line is an answer. Observations are nearly all that is said, and
// one in an answer would be read twice.
const observed = 'o'

// answer is a message from a child: one of its fields.
type answer struct {
	Ready  []string         `json:"ready,omitempty"` // the guards that hold, once, at first
	Scan   *scan            `json:"scan,omitempty"`  // waits for a verdict
	Done   *inspect.Summary `json:"done,omitempty"`
	Failed string           `json:"failed,omitempty"` // the file could not be read at all
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
