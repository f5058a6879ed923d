package intel

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of error. Every error that a caller is meant to tell apart wraps one of them.
var (
	// ErrInvalid: the input is not what it should be. The message names the place.
	ErrInvalid = errors.New("invalid input")
	// ErrUnknown: nothing at all is known of what was asked.
	ErrUnknown = errors.New("unknown")
	// ErrInUse: another process holds the data directory.
	ErrInUse = errors.New("in use")
	// ErrUnavailable: the store cannot answer now; trying again may help.
	ErrUnavailable = errors.New("unavailable")
)

// A Refusal says which part of an input was not taken, and why. It is an [ErrInvalid].
type Refusal struct {
	Input  string `json:"input,omitempty"` // file or member, as "logs.zip!sysmon.json"; empty when there is one input only
	Line   int64  `json:"line,omitempty"`  // 1-based line or record; 0 when the whole input is meant
	Field  string `json:"field,omitempty"` // the field at fault, as it is spelled in the input
	Reason string `json:"reason"`          // what is wrong and what would be right
}

func (r *Refusal) Error() string {
	var b strings.Builder
	if r.Input != "" {
		b.WriteString(r.Input)
		b.WriteString(": ")
	}
	if r.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", r.Line)
	}
	if r.Field != "" {
		fmt.Fprintf(&b, "%s: ", r.Field)
	}
	b.WriteString(r.Reason)
	return b.String()
}

// Is makes every Refusal an [ErrInvalid].
func (r *Refusal) Is(target error) bool { return target == ErrInvalid }
