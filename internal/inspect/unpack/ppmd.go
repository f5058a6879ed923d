package unpack

import (
	"bufio"
	"errors"
	"io"
)

func newPPMd7(r *bufio.Reader, order int, memory uint32, size int64, c *container) (io.Reader, error) {
	return nil, errors.New("PPMd is not read")
}

func newPPMd8(r *bufio.Reader, size int64, c *container) (io.Reader, error) {
	return nil, errors.New("PPMd is not read")
}
