package unpack

import (
	"bufio"
	"fmt"
	"io"

	"github.com/stangelandcl/ppmd"
)

// ppmdReader reads PPMd of variant H, as 7z has it. The library panics on some damaged data; that is an error here.
type ppmdReader struct {
	r   ppmd.Reader
	err error
}

func newPPMd7(r *bufio.Reader, order byte, memory uint32, size int64, c *container) (d io.Reader, err error) {
	if int64(memory) > c.o.Memory {
		return nil, fmt.Errorf("PPMd needs %d bytes of memory, more than is allowed", memory)
	}
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("the PPMd data are damaged: %v", p)
		}
	}()
	m, err := ppmd.NewH7zReader(r, int(order), int(memory), int(size))
	if err != nil {
		return nil, err
	}
	return &ppmdReader{r: m}, nil
}

func (d *ppmdReader) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	defer func() {
		if p := recover(); p != nil {
			d.err = fmt.Errorf("the PPMd data are damaged: %v", p)
			n, err = 0, d.err
		}
	}()
	n, err = d.r.Read(p)
	d.err = err
	return n, err
}
