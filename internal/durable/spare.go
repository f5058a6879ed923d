package durable

import "cmp"

// mostSpare is the most that is left of a disk to others when nobody has said how much.
const mostSpare = 1 << 30

// Crowded reports whether less of the disk of a folder is free than is to be left to others, the store above all, whose process ends when it finds its
// disk full: spare, or when that is 0 a twentieth of the disk and 1 GiB at most. Where free bytes cannot be counted it is not.
func Crowded(dir string, spare int64) (free, left int64, crowded bool) {
	free, size, err := Room(dir)
	left = cmp.Or(spare, min(size/20, mostSpare))
	return free, left, err == nil && free < left
}
