// Package intel holds the words of Spoor: hash, file, observation, facts, zone, verdict, and the kinds of error.
//
// It knows no other package of ours. Readers of foreign formats make [Observation]s, the store merges them, and
// what the store recalls of one file is [Facts]. Everything here is plain data: no I/O, no clock.
package intel
