package worker

import (
	"crypto/x509"
	"encoding/json"
	"time"

	"spoor/internal/inspect"
	"spoor/internal/inspect/signature"
	"spoor/internal/intel"
)

// setup is the first message to a child.
type setup struct {
	Limits      inspect.Limits `json:"limits"`
	Memory      int64          `json:"memory"`
	Passwords   []string       `json:"passwords"`
	Scan        bool           `json:"scan"`
	Roots       [][]byte       `json:"roots"` // certificates and CRLs, DER
	Extra       [][]byte       `json:"extra"`
	Revocations [][]byte       `json:"revocations"`
}

// request asks for one inspection. The file's descriptor comes with it.
type request struct {
	Path string    `json:"path,omitempty"` // where descriptors cannot be handed over
	Name string    `json:"name"`
	Size int64     `json:"size"`
	Now  time.Time `json:"now"`
}

// answer is a message from a child: one of its fields.
type answer struct {
	Ready       []string         `json:"ready,omitempty"` // the guards that hold, once, at first
	Observation json.RawMessage  `json:"observation,omitempty"`
	Scan        *scan            `json:"scan,omitempty"` // waits for a verdict
	Done        *inspect.Summary `json:"done,omitempty"`
	Failed      string           `json:"failed,omitempty"` // the file could not be read at all
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

func (s *setup) trust(t *signature.Trust) {
	if t == nil {
		return
	}
	for _, c := range t.Roots {
		s.Roots = append(s.Roots, c.Raw)
	}
	for _, c := range t.Extra {
		s.Extra = append(s.Extra, c.Raw)
	}
	for _, l := range t.Revocations {
		s.Revocations = append(s.Revocations, l.Raw)
	}
}

func (s *setup) toTrust() (*signature.Trust, error) {
	t := &signature.Trust{}
	for _, list := range []struct {
		der  [][]byte
		into *[]*x509.Certificate
	}{{s.Roots, &t.Roots}, {s.Extra, &t.Extra}} {
		for _, der := range list.der {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			*list.into = append(*list.into, c)
		}
	}
	for _, der := range s.Revocations {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, err
		}
		t.Revocations = append(t.Revocations, l)
	}
	return t, nil
}
