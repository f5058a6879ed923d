package store

import (
	"context"
	"crypto/sha256"
	"fmt"

	"spoor/internal/intel"
	"spoor/internal/kv"
)

// Marks tell how far something that arrives in pieces has been taken in. A mark is a name and a number that only grows, written in the same
// atomic step as the observations that it stands for. So a stream whose deliveries are cut anew each time, and which therefore has no batch
// to name, counts each piece once, also after a crash: the position in a partition of a log, or 1 for a document by its own name. The last batch of an input
// leaves marks, too, by which it is known when the input has grown (ingest/grown.go).

// RecordMarked keeps the observations, durably, and raises the marks to the numbers given, all or none. Every observation must have passed
// its Check. Who wants each piece to count once looks at [Store.Marks] first, and lets nobody else write the same marks meanwhile.
func (s *Store) RecordMarked(ctx context.Context, marks map[string]uint64, observations []intel.Observation) error {
	_, err := s.record(ctx, nil, observations, marks)
	return err
}

// RecordEnd records a batch as [Store.Record] does, and raises marks in the same step, if it was not recorded before.
func (s *Store) RecordEnd(ctx context.Context, id []byte, marks map[string]uint64, observations []intel.Observation) (repeated bool, err error) {
	return s.record(ctx, id, observations, marks)
}

// Marks returns the number of each name's mark, 0 where there is none.
func (s *Store) Marks(ctx context.Context, names []string) ([]uint64, error) {
	numbers := make([]uint64, len(names))
	ranges := make([]kv.Range, len(names))
	for i, name := range names {
		ranges[i] = kv.Range{Partition: markPartition(name), Limit: 1}
	}
	err := s.kv.Scan(ctx, ranges, func(r kv.Row) error {
		numbers[r.Range] = uint64(r.Value.Last)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %d marks: %w", len(names), s.kind(err))
	}
	return numbers, nil
}

// markPartition is the partition of a mark. Half of SHA-256 is enough: nobody finds two names that share it.
func markPartition(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return append([]byte{spaceMark}, sum[:16]...)
}

// marks adds the marks' rows.
func (b *batch) marks(marks map[string]uint64) {
	for name, number := range marks {
		split := b.begin(markPartition(name))
		b.name = append(b.name, 0)
		b.merge(split, &kv.Value{Last: int64(number), Learned: b.learned})
	}
}
