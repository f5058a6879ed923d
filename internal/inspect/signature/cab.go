package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
)

// cab verifies the signature that follows a cabinet; its place stands in the header's reserve.
func (f *file) cab() error {
	head, err := f.bytes(0, 60)
	if err != nil || !bytes.Equal(head[:4], []byte("MSCF")) {
		return nil
	}
	le := binary.LittleEndian
	if le.Uint16(head[30:])&4 == 0 || le.Uint16(head[36:]) != 20 {
		return nil // no reserve, or one of another kind
	}
	at, n := int64(le.Uint32(head[44:])), int64(le.Uint32(head[48:]))
	if at == 0 || n == 0 {
		return nil
	}
	if at < 60 || at > f.size || n > f.size-at {
		return fmt.Errorf("the signature reaches beyond the end of the file (offset %d, %d bytes)", at, n)
	}
	blob, err := f.bytes(at, min(n, maxCMS+1))
	if err != nil {
		return errors.New("the signature is cut off")
	}
	digest := f.memo(func(h crypto.Hash) ([]byte, error) {
		w := h.New()
		w.Write(head[:4])
		w.Write(head[8:34]) // without reserved field and the cabinet's number in its set
		w.Write(head[56:60])
		err := f.copyTo(w, 60, at)
		return w.Sum(nil), err
	})
	tail := f.size - at - n
	f.authenticode("cabinet", blob, func(in *indirect, x *finding) {
		f.compare(digest)(in, x)
		// Nobody signs the sizes of the reserves, which say where folders and their data begin.
		if folder, data := head[38], head[39]; folder != 0 || data != 0 || !bytes.Equal(head[40:44], []byte{0, 0, 0x10, 0}) {
			x.fail(changed, "changed after signing: the header's reserves are not those that a signer makes")
		}
		if size := int64(le.Uint32(head[8:])); size != at {
			x.fail(changed, "changed after signing: the header says %d bytes, the signature follows %d", size, at)
		}
		if tail > 0 {
			x.fail(appended, "%d bytes after the signature", tail)
		}
	})
	return nil
}
