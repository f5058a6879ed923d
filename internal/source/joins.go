package source

import (
	"hash/maphash"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"spoor/internal/intel"
)

// Joins keeps, for one import, what an input tells that only another one of the same folder or archive completes: Zeek writes a file's hashes
// into files.log and its address into http.log, tied by the file's id.
//
// The ids are taken to be one's own of a folder, for sensors with a fixed seed give the same ids again. What is kept is bounded: the oldest
// goes, and where that may lose something it is said.
type Joins struct {
	seed    maphash.Seed
	inputs  [][32]byte // digests of those read so far, by number
	folders map[string]int32

	files  map[joinKey]uint32 // places in joined
	joined []joinedFile       // in the order in which they came; once there are as many as are kept, the oldest stands at oldest
	oldest int

	waiting      map[joinKey][]waitingDownload
	waitingOrder fifo
	held         int             // bytes in waiting, about
	lost         map[int32]int64 // downloads of a folder that waited and had to go
}

// The bounds of what is kept: about 150 MB in all.
const (
	maxJoinedFiles = 1 << 19
	maxWaiting     = 48 << 20 // bytes
)

// NewJoins returns an empty one.
func NewJoins() *Joins {
	return &Joins{seed: maphash.MakeSeed(), folders: map[string]int32{}, files: map[joinKey]uint32{}, waiting: map[joinKey][]waitingDownload{}, lost: map[int32]int64{}}
}

// joinKey is a file's id within its folder.
type joinKey [2]uint64

type joinedFile struct {
	key    joinKey
	file   intel.Hashes
	input  int32
	folder int32
}

type waitingDownload struct {
	at     time.Time
	fact   intel.Download
	line   int64
	input  int32
	folder int32
}

func (w *waitingDownload) size() int { return 200 + len(w.fact.URL) + len(w.fact.Referrer) }

// JoinedSink is a [Sink] that is told apart what was made of two inputs. with is the digest of the other one, which was read before. A sink
// that names batches by content needs it: the same pair gives the same observations, whatever else is read.
type JoinedSink interface {
	Sink
	ObserveJoined(with [32]byte, o intel.Observation) error
}

// joining is one input's part in the joins.
type joining struct {
	*Joins
	r      *reader
	input  int32
	folder int32
	told   bool // that something had to go
}

// join begins to join the reader's input; done must be called with its digest at the end.
func (r *reader) join() *joining {
	j := r.o.Joins
	if j == nil {
		j = NewJoins()
	}
	folder := folderOf(r.name)
	n, ok := j.folders[folder]
	if !ok {
		n = int32(len(j.folders))
		j.folders[folder] = n
	}
	j.inputs = append(j.inputs, [32]byte{})
	return &joining{Joins: j, r: r, input: int32(len(j.inputs) - 1), folder: n}
}

func (j *joining) done() { j.inputs[j.input] = j.r.input.Digest() }

func (j *joining) key(id string) joinKey {
	b := make([]byte, 0, 64)
	b = append(b, byte(j.folder), byte(j.folder>>8), byte(j.folder>>16), byte(j.folder>>24))
	b = append(b, id...)
	return joinKey{xxhash.Sum64(b), maphash.Bytes(j.seed, b)}
}

// has takes a file in, and tells of the downloads that waited for it.
func (j *joining) has(source intel.Source, line int64, id string, file intel.Hashes) error {
	if n := j.lost[j.folder]; n > 0 && !j.told {
		j.told = true
		j.r.refuse(line, "fuid", "an earlier log of this folder told of more downloads than are kept until their files are known; import the folder with files.log before http.log")
	}
	key := j.key(id)
	one := joinedFile{key, file, j.input, j.folder}
	if i, ok := j.files[key]; ok {
		j.joined[i] = one
	} else if len(j.joined) < maxJoinedFiles {
		j.files[key] = uint32(len(j.joined))
		j.joined = append(j.joined, one)
	} else {
		old := &j.joined[j.oldest]
		if old.folder == j.folder && !j.told {
			j.told = true
			j.r.refuse(line, "fuid", "more files in one folder than are kept for http.log: downloads of the first are not told; import it in parts")
		}
		delete(j.files, old.key)
		*old, j.files[key] = one, uint32(j.oldest)
		j.oldest = (j.oldest + 1) % maxJoinedFiles
	}
	waiting, ok := j.waiting[key]
	if !ok {
		return nil
	}
	delete(j.waiting, key)
	for i := range waiting {
		w := &waiting[i]
		j.held -= w.size()
		if err := j.tell(line, w.input, &intel.Observation{Source: source, Time: w.at, File: file, Fact: w.fact}); err != nil {
			return err
		}
	}
	return nil
}

// downloaded tells of a download of the file of that id, now or when the file is known.
func (j *joining) downloaded(source intel.Source, line int64, at time.Time, id string, d intel.Download) error {
	key := j.key(id)
	if i, ok := j.files[key]; ok {
		f := &j.joined[i]
		return j.tell(line, f.input, &intel.Observation{Source: source, Time: at, File: f.file, Fact: d})
	}
	w := waitingDownload{at: at, fact: d, line: line, input: j.input, folder: j.folder}
	j.waiting[key] = append(j.waiting[key], w)
	j.waitingOrder.push(key)
	for j.held += w.size(); j.held > maxWaiting; {
		old := j.waitingOrder.pop()
		if list := j.waiting[old]; len(list) > 0 {
			j.held -= list[0].size()
			j.lost[list[0].folder]++
			if j.waiting[old] = list[1:]; len(list) == 1 {
				delete(j.waiting, old)
			}
		}
	}
	return nil
}

// tell hands on what this input and another one, maybe itself, tell together.
func (j *joining) tell(line int64, with int32, o *intel.Observation) error {
	sink, ok := j.r.sink.(JoinedSink)
	if !ok || with == j.input {
		return j.r.observe(line, o)
	}
	err := o.Check()
	if err == nil {
		err = sink.ObserveJoined(j.inputs[with], *o)
	}
	return j.r.refusal(line, err)
}

// fifo is a queue of keys.
type fifo struct {
	keys []joinKey
	head int
}

func (q *fifo) push(k joinKey) { q.keys = append(q.keys, k) }

func (q *fifo) pop() joinKey {
	if q.head == len(q.keys) {
		return joinKey{}
	}
	k := q.keys[q.head]
	if q.head++; q.head > len(q.keys)/2 && q.head > 1024 {
		q.keys = append(q.keys[:0], q.keys[q.head:]...)
		q.head = 0
	}
	return k
}

// folderOf returns the folder or archive folder that an input lies in. What a single stream is packed in, as in "logs/files.log.gz!files.log",
// is no folder.
func folderOf(name string) string {
	name = filepath.ToSlash(name)
	for {
		i := strings.LastIndexByte(name, '!')
		if i < 0 {
			return path.Dir(name)
		}
		outer, inner := name[:i], name[i+1:]
		if single := inner == "" || hasSuffix(strings.ToLower(outer), ".gz", ".bz2", ".zst"); single && !strings.Contains(inner, "/") {
			name = outer
			continue
		}
		return outer + "!" + path.Dir(inner)
	}
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}
