//go:build !linux && !windows

package worker

import "os"

// contain has nothing to hold a child with here.
func contain(*os.Process, int64) ([]string, func(), error) { return nil, func() {}, nil }
