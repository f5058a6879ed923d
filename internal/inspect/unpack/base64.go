package unpack

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"

	"spoor/internal/inspect/filetype"
)

// base64Least is how many digits on end are looked at, in a page or a script.
const base64Least = 512

// carried are the formats that pages and scripts carry in base64 to write them out and start them. Pictures and fonts in pages are no news.
var carried = []filetype.Format{filetype.PE, filetype.ELF, filetype.MachO, filetype.LNK, filetype.OLE, filetype.MSI, filetype.OOXML, filetype.PDF, filetype.RTF, filetype.OneNote,
	filetype.Zip, filetype.Jar, filetype.APK, filetype.Appx, filetype.SevenZip, filetype.RAR, filetype.Gzip, filetype.XZ, filetype.Cab, filetype.ISO}

// readBase64 tells the files that a page or a script carries in base64: programs, documents and archives, told by their first bytes.
func readBase64(c *container) error {
	r := bufio.NewReaderSize(c.section(0, c.size), mailLine)
	found := 0
	from, digits := int64(0), 0
	for at := int64(0); ; at++ {
		b, err := r.ReadByte()
		if err == nil && base64Digits[b] != 0xff {
			if digits == 0 {
				from = at
			}
			digits++
			continue
		}
		if err == nil && (b == '\r' || b == '\n') && digits > 0 {
			continue
		}
		if digits >= base64Least {
			n := at - from
			open := func() io.Reader { return &base64Reader{r: bufio.NewReaderSize(c.section(from, n), 4<<10)} }
			head, _ := io.ReadAll(io.LimitReader(open(), 4<<10))
			if t := filetype.Detect(bytes.NewReader(head), int64(len(head))); slices.Contains(carried, t.Format) {
				found++
				if err := c.tell(Member{Path: fmt.Sprintf("base64-%d", found), Size: -1, Reader: open()}); err != nil {
					return err
				}
			}
		}
		digits = 0
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
