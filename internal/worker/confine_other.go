//go:build !linux

package worker

import (
	"fmt"
	"runtime"
)

// Confine is not available here.
func Confine([]string, []string) error {
	return fmt.Errorf("programs cannot be confined on %s", runtime.GOOS)
}
