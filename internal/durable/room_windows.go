package durable

import (
	"math"

	"golang.org/x/sys/windows"
)

// Room returns how many bytes of the disk of a folder this process may still use, and how many the disk has.
func Room(dir string) (free, size int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var mine, all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &mine, &all, nil); err != nil {
		return 0, 0, err
	}
	return int64(min(mine, math.MaxInt64)), int64(min(all, math.MaxInt64)), nil
}
