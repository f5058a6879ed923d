package signature

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
)

// moduleMark ends a Linux kernel module that is signed.
const moduleMark = "~Module signature appended~\n"

// module verifies the signature that is appended to a kernel module. The signer's certificate is seldom in it: it is the kernel's.
func (f *file) module() error {
	n := int64(len(moduleMark))
	tail, err := f.bytes(f.size-n-12, n+12)
	if err != nil || string(tail[12:]) != moduleMark {
		return nil
	}
	size := int64(binary.BigEndian.Uint32(tail[8:]))
	end := f.size - n - 12
	if tail[2] != 2 {
		f.add(&finding{kind: "kernel module", state: unchecked, why: fmt.Sprintf("a signature of the old kind %d", tail[2])})
		return nil
	}
	if size == 0 || size > maxCMS || size > end {
		return fmt.Errorf("the module's signature claims %d bytes", size)
	}
	blob, err := f.bytes(end-size, size)
	if err != nil {
		return err
	}
	sd, err := parseCMS(blob)
	if err != nil {
		return err
	}
	digest := f.memo(func(h crypto.Hash) ([]byte, error) {
		w := h.New()
		err := f.copyTo(w, 0, end-size)
		return w.Sum(nil), err
	})
	for _, si := range sd.signers {
		f.add(f.signer("kernel module", sd, si, digest, ""))
	}
	if len(sd.signers) == 0 {
		return fmt.Errorf("a module's signature without a signer")
	}
	if sd.rest > 0 {
		f.found[len(f.found)-1].remark("%d bytes after the message", len(bytes.TrimRight(blob, "\x00")))
	}
	return nil
}
