// Package inspect reads the bytes of a file, and of every file in it to six generations, and tells what they say as observations: hashes, size,
// type, packer, signatures and certificates, fuzzy hashes, what contains what, and what could not be read and why.
//
// It runs in a worker process (package worker), for the bytes are foreign. What it bounds itself: levels, members, bytes unpacked, the ratio of
// unpacked to packed bytes, time. Each bound that is reached is told as a note of the file in which it was reached.
package inspect
