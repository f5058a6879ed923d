package api

import (
	"sync"
	"sync/atomic"

	"spoor/internal/dossier"
	"spoor/internal/intel"
)

// answer is an encoded body: the object without its first key, LicenseInfo, which is each account's own.
type answer struct {
	rest    []byte // "{" and "LicenseInfo" left out: from the second key to the closing brace
	license bool   // LicenseInfo was asked for
	etag    string
	view    dossier.View // tells whether the answer still stands
	used    atomic.Int64 // when it was last given, by the shard's count of gives
}

// question names an answer.
type question struct {
	hash      intel.Hash
	clearance intel.Marking
	sections  uint32 // bits, in the page's order
	count     int
	form      form
}

// form is the spelling of an answer.
type form uint8

const (
	portal  form = iota // /api
	openTIP             // /api/v1
	stix
)

// cache keeps answers while nothing that they were made of has changed. When it is full, the one that was given longest ago of a few drawn
// at random goes: nearly as good as the oldest of all, and no list needs keeping.
type cache struct {
	shards [16]shard
	most   int // bytes of a shard
}

type shard struct {
	mu      sync.Mutex
	answers map[question]*answer
	bytes   int
	gives   atomic.Int64
}

func newCache(bytes int) *cache {
	c := &cache{most: bytes / 16}
	for i := range c.shards {
		c.shards[i].answers = map[question]*answer{}
	}
	return c
}

func (c *cache) shard(q *question) *shard { return &c.shards[q.hash.Byte(1)&15] }

func (c *cache) get(q *question) *answer {
	s := c.shard(q)
	s.mu.Lock()
	a := s.answers[*q]
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	if a.view.Fresh() {
		a.used.Store(s.gives.Add(1))
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers[*q] == a {
		s.remove(q, a)
	}
	return nil
}

func (a *answer) size() int { return len(a.rest) + 256 + a.view.Size() }

func (s *shard) remove(q *question, a *answer) {
	delete(s.answers, *q)
	s.bytes -= a.size()
}

func (c *cache) put(q *question, a *answer) {
	size := a.size()
	if size > c.most/8 {
		return
	}
	s := c.shard(q)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.answers[*q]; old != nil {
		s.remove(q, old)
	}
	a.used.Store(s.gives.Add(1))
	for s.bytes+size > c.most && len(s.answers) > 0 {
		s.evict()
	}
	s.answers[*q] = a
	s.bytes += size
}

// evict lets go of the answer that was given longest ago among a few; the order of a map's keys is random.
func (s *shard) evict() {
	const drawn = 5
	var oldest question
	var answer *answer
	n := 0
	for k, a := range s.answers {
		if answer == nil || a.used.Load() < answer.used.Load() {
			oldest, answer = k, a
		}
		if n++; n == drawn {
			break
		}
	}
	s.remove(&oldest, answer)
}
