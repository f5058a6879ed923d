package source

import (
	"sync"

	"spoor/internal/intel"
)

// Processes remembers which file each process of the last while was, so that events of a stream are tied to one another though they come in
// inputs of their own. It is memory alone: after a restart a process is unknown until its start comes again. It may be used from many goroutines.
type Processes struct {
	mu       sync.Mutex
	now, old map[string]intel.Object // by GUID
}

// maxProcesses bounds a generation of those remembered; there are two.
const maxProcesses = 1 << 15

func (p *Processes) learn(guid string, file intel.Object) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.now) >= maxProcesses {
		p.old, p.now = p.now, nil
	}
	if p.now == nil {
		p.now = map[string]intel.Object{}
	}
	p.now[guid] = file
}

func (p *Processes) find(guid string) (intel.Object, bool) {
	if p == nil {
		return intel.Object{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	file, ok := p.now[guid]
	if !ok {
		file, ok = p.old[guid]
	}
	return file, ok
}
