//go:build !linux && !darwin && !freebsd && !windows

package durable

import "errors"

// Room fails: it is not known here.
func Room(string) (free, size int64, err error) { return 0, 0, errors.ErrUnsupported }
