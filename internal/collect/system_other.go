//go:build !linux

package collect

import (
	"errors"
	"io/fs"
	"os"
)

const openPlainly = os.O_RDONLY

func fingerprintOf(info fs.FileInfo) fingerprint {
	return fingerprint{Size: info.Size(), Modified: info.ModTime().UnixNano()}
}

func attribute(*os.File, string) string { return "" }

func lock(*os.File) error { return errors.ErrUnsupported }

// Humble lets every other process of the machine go first; only Linux can be collected from.
func Humble() error { return errors.ErrUnsupported }
