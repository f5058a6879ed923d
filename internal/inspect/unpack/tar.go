package unpack

import (
	"archive/tar"
	"io"
)

// readTar tells the files of a tar: v7, ustar, pax and GNU, with holes filled.
func readTar(c *container) error {
	t := tar.NewReader(c.section(0, c.size))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeXGlobalHeader,
			'D', 'M', 'V': // of GNU: a directory's list, the rest of a file of another volume, a label
			continue
		}
		m := c.named(latin1Name([]byte(h.Name)))
		m.Size, m.Reader = h.Size, t
		if err := c.tell(m); err != nil {
			return err
		}
	}
}
