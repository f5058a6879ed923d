package store

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"sync"

	"spoor/internal/intel"
)

// sources gives every source a small id and finds its name again. An id is a hash of the name, the same on every machine and
// after every restart, so that it can be written without asking; the name is written beside it once.
type sources struct {
	mu    sync.RWMutex
	names map[uint32]string      // known and written
	ids   map[sourceKey][]uint32 // one-element sets, handed out again
	sets  map[string][]string    // encoded id sets to sorted names, handed out again
}

type sourceKey struct {
	typ  intel.SourceType
	name string
}

func newSources() *sources {
	return &sources{names: make(map[uint32]string), ids: make(map[sourceKey][]uint32), sets: make(map[string][]string)}
}

// id returns the source's id as a set of one, and whether its name is yet to be written.
func (s *sources) id(typ intel.SourceType, name string) (set []uint32, isNew bool) {
	k := sourceKey{typ, name}
	s.mu.RLock()
	set = s.ids[k]
	s.mu.RUnlock()
	if set != nil {
		return set, false
	}
	h := fnv.New32a()
	h.Write([]byte(pair(string(typ), name)))
	set = []uint32{h.Sum32()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[set[0]] == name {
		if len(s.ids) < 1<<16 { // a bound; beyond it an id is computed each time
			s.ids[k] = set
		}
		return set, false
	}
	return set, true
}

// learn takes notice of a name as it stands in the store.
func (s *sources) learn(id uint32, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[id] = name
	clear(s.sets)
}

// nameSet returns the sorted names of a set of ids. The result is shared.
func (s *sources) nameSet(ids []uint32) []string {
	if len(ids) == 0 {
		return nil
	}
	var buf [64]byte
	key := buf[:0]
	for _, id := range ids {
		key = binary.BigEndian.AppendUint32(key, id)
	}
	s.mu.RLock()
	set, ok := s.sets[string(key)]
	s.mu.RUnlock()
	if ok {
		return set
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if n, ok := s.names[id]; ok && !slices.Contains(set, n) {
			set = append(set, n)
		}
	}
	slices.Sort(set)
	if len(s.sets) >= 1<<14 {
		clear(s.sets)
	}
	s.sets[string(key)] = set
	return set
}
