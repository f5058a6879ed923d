package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/kv/mem"
	"spoor/internal/store"
)

// TestMarks: a mark grows and never shrinks, stands in the same step as its observations, and one that nobody wrote is 0.
func TestMarks(t *testing.T) {
	s, err := store.New(mem.New(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	names := []string{"a", "b", "a", "nobody's"}
	look := func(want ...uint64) {
		t.Helper()
		got, err := s.Marks(t.Context(), names)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	look(0, 0, 0, 0)
	o, err := intel.ParseObservation([]byte(`{"source":{"type":"telemetry","name":"t"},"file":{"md5":"0123456789abcdef0123456789abcdef"},"sighting":{"host":"h"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, marks := range []map[string]uint64{{"a": 7, "b": 1}, {"a": 3}, {"b": 1 << 60}} {
		if err := s.RecordMarked(t.Context(), marks, []intel.Observation{o}); err != nil {
			t.Fatal(err)
		}
	}
	look(7, 1<<60, 7, 0)
	many := map[string]uint64{}
	names = nil
	for i := range 5000 {
		names = append(names, fmt.Sprint(i))
		many[names[i]] = uint64(i)
	}
	if err := s.RecordMarked(t.Context(), many, nil); err != nil {
		t.Fatal(err)
	}
	got, err := s.Marks(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range got {
		if n != uint64(i) {
			t.Fatalf("mark %d is %d", i, n)
		}
	}
}
