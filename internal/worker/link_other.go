//go:build !unix

package worker

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"

	"spoor/internal/inspect"
)

// link is standard input and output of the child. A file is handed over by its name, and scratch is the child's own.
type link struct {
	io.Reader
	io.WriteCloser
}

func (l *link) Close() error { return l.WriteCloser.Close() }

func attach(cmd *exec.Cmd, _ []*os.File) (*link, func(), error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return &link{out, in}, func() {}, nil
}

func inherit() (*link, []*os.File, error) {
	var scratch []*os.File
	for range inspect.MaxLevel + 1 {
		f, err := os.CreateTemp("", "spoor-scratch-")
		if err != nil {
			return nil, nil, err
		}
		scratch = append(scratch, f)
	}
	return &link{os.Stdin, os.Stdout}, scratch, nil
}

func (l *link) send(r *request, f *os.File) error {
	with := *r
	with.Path = f.Name()
	message, err := json.Marshal(&with)
	if err == nil {
		_, err = l.Write(append(message, '\n'))
	}
	return err
}

func (l *link) file(r *request) (*os.File, error) { return os.Open(r.Path) }
