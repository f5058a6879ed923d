package kv

import (
	"errors"
	"fmt"
)

// The errors that a caller tells apart.
var (
	// ErrClosed: the engine was closed before the call.
	ErrClosed = errors.New("kv: closed")
	// ErrInUse: another process holds the engine's directory.
	ErrInUse = errors.New("kv: directory in use by another process")
	// ErrTooLong: a partition, key or batch ID is empty or longer than the seam allows.
	ErrTooLong = errors.New("kv: name empty or too long")
)

// MaxID is the longest batch ID in bytes.
const MaxID = 64

// CheckBatch fails with [ErrTooLong] when a name in the batch is empty or too long. Engines call it first.
func CheckBatch(b *Batch) error {
	if len(b.ID) > MaxID {
		return fmt.Errorf("batch ID of %d bytes: %w", len(b.ID), ErrTooLong)
	}
	for i := range b.Writes {
		if err := CheckWrite(&b.Writes[i]); err != nil {
			return err
		}
	}
	return nil
}

// CheckWrite is CheckBatch for one write.
func CheckWrite(w *Write) error {
	if len(w.Partition) == 0 || len(w.Partition) > MaxPartition {
		return fmt.Errorf("partition of %d bytes: %w", len(w.Partition), ErrTooLong)
	}
	if len(w.Key) == 0 || len(w.Key) > MaxKey {
		return fmt.Errorf("key of %d bytes: %w", len(w.Key), ErrTooLong)
	}
	return nil
}
