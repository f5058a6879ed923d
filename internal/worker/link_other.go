//go:build !unix

package worker

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// link is standard input and output of the child. A file is handed over by its name, and so is scratch, in the environment.
type link struct {
	io.Reader
	io.WriteCloser
}

func (l *link) Close() error { return l.WriteCloser.Close() }

// scratchNames is the variable that names the scratch files, with a character between them that no name has.
const scratchNames, between = "SPOOR_SCRATCH_FILES", "|"

func attach(cmd *exec.Cmd, scratch []*os.File) (*link, func(), error) {
	var names []string
	for _, f := range scratch {
		name, err := filepath.Abs(f.Name())
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	cmd.Env = append(cmd.Env, scratchNames+"="+strings.Join(names, between))
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
	for _, name := range strings.Split(os.Getenv(scratchNames), between) {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return nil, nil, err
		}
		scratch = append(scratch, f)
	}
	return &link{os.Stdin, os.Stdout}, scratch, nil
}

// orphaned never returns here: a child that writes to a parent who is gone ends by that.
func (l *link) orphaned() {
	for {
		time.Sleep(time.Hour)
	}
}

func (l *link) send(r *request, f *os.File) error {
	with := *r
	var err error
	if with.Path, err = filepath.Abs(f.Name()); err != nil { // the child stands in another folder
		return err
	}
	message, err := json.Marshal(&with)
	if err == nil {
		_, err = l.Write(append(message, '\n'))
	}
	return err
}

func (l *link) file(r *request) (*os.File, error) { return os.Open(r.Path) }

// processorTime is not told here: an inspection ends by its time.
func processorTime() time.Duration { return 0 }
