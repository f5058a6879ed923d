package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"spoor/internal/inspect/document"
	"spoor/internal/inspect/exe"
	"spoor/internal/inspect/filetype"
	"spoor/internal/inspect/signature"
	"spoor/internal/inspect/unpack"
	"spoor/internal/intel"
	"spoor/internal/similar/digest"
)

// Revision is that of the readers. A file that another revision has inspected may be inspected again.
const Revision = "2"

// Method is that of the detections which are made here and by no engine.
const Method = "spoor"

// MaxLevel is the deepest level of a member: 0 is in the file itself.
const MaxLevel = 5

// Limits bound one inspection.
type Limits struct {
	Members int           // in all levels together
	Bytes   int64         // unpacked, in all levels together
	Ratio   int64         // of unpacked to the file's own bytes; looked at from RatioFrom on
	Memory  int64         // that one decompressor may use
	Rounds  int64         // of hashes, for passwords that are tried, in all containers together; see [unpack.MaxRounds]
	Time    time.Duration // of the whole
}

// RatioFrom is how many unpacked bytes are free of a ratio.
const RatioFrom = 64 << 20

// DefaultLimits are those of a worker that is told nothing else.
var DefaultLimits = Limits{Members: 250_000, Bytes: 8 << 30, Ratio: 250, Memory: 128 << 20, Rounds: unpack.MaxRounds, Time: 10 * time.Minute}

// File is what is to be inspected.
type File struct {
	io.ReaderAt
	Size int64
	Name string // as it was handed in; may be empty. It names what a container without names holds, and is not told itself
}

// Scanner is asked of every file, the one handed in and each member. level is -1 for the file handed in; of a member, all bytes stand in the
// scratch of its level. It returns what was detected, and notes of what could not be asked.
type Scanner func(level int, size int64) (found []intel.Detection, notes []string, err error)

// Inspector reads one file at a time.
type Inspector struct {
	Limits    Limits
	Source    intel.Source // whose observations they are
	Trust     *signature.Trust
	Passwords []string
	Patterns  *exe.Patterns         // of packers, beside those that are built in; may be nil
	Scratch   [MaxLevel + 1]Scratch // a place for a member of each level
	Scan      Scanner               // may be nil

	// Attempt is called before each reading of foreign bytes, in an order that is the same whenever the same file is inspected. An error says why this
	// one is to be left alone: it ran away before. A note tells it. It may be nil.
	Attempt func() error

	// Used returns how much processor time this process has used, of which an inspection gets so much as its file is large; see [Allowance]. When nil, only
	// [Limits].Time bounds it.
	Used func() time.Duration

	spools [MaxLevel + 1]spool
}

// Allowance is how much processor time the inspection of a file of so many bytes may take: a minute, and two seconds a MiB. Real files take tenths of a
// second a MiB. Small ones that are made to take long, by whatever there is a thousand times in them, shall not take as long as the largest may.
func Allowance(size int64) time.Duration { return time.Minute + 2*time.Second*time.Duration(size>>20) }

// Summary is what an inspection did.
type Summary struct {
	File     intel.Hashes `json:"file"`
	Size     int64        `json:"size"`
	Type     string       `json:"type,omitempty"`
	Members  int          `json:"members"`  // found, at all levels
	Unpacked int64        `json:"unpacked"` // bytes
	Notes    int          `json:"notes"`    // of what could not be read
}

// Inspect tells emit what the bytes of f say. It fails only when emit or the context does, or when f itself cannot be read; everything else is
// told as a note. now is the moment of the observations.
func (i *Inspector) Inspect(ctx context.Context, f File, now time.Time, emit func(intel.Observation) error) (Summary, error) {
	w := &walk{Inspector: i, now: now, emit: emit, root: f.Size, seen: map[intel.Hash]struct{}{}, spend: unpack.Spender(i.Limits.Rounds)}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeoutCause(ctx, i.Limits.Time, errTime)
	defer cancel()
	if i.Used != nil {
		w.until = i.Used() + Allowance(f.Size)
	}
	for k := range i.spools {
		i.spools[k].scratch = i.Scratch[k]
	}
	hashes, n, err := HashReader(io.NewSectionReader(f, 0, f.Size))
	if err == nil && n != f.Size {
		err = fmt.Errorf("%d bytes of %d could be read", n, f.Size)
	}
	if err != nil {
		return w.sum, fmt.Errorf("reading the file: %w", err)
	}
	w.sum.File, w.sum.Size = hashes, n
	w.seen[hashes.SHA256] = struct{}{}
	if w.sum.Type, err = w.file(f, f.Size, hashes, f.Name, unpack.Member{}, -1); err != nil {
		return w.sum, err
	}
	if err := w.byCatalogue(); err != nil {
		return w.sum, err
	}
	if err := w.ofMembers(hashes); err != nil {
		return w.sum, err
	}
	return w.sum, w.tell(hashes, intel.Attribute{Name: intel.Inspected, Value: "revision " + Revision})
}

// errTime is why an inspection that takes too long ends.
var errTime = errors.New("time")

// walk is one inspection.
type walk struct {
	*Inspector
	ctx  context.Context
	now  time.Time
	emit func(intel.Observation) error
	root int64 // bytes of the file handed in
	seen map[intel.Hash]struct{}
	sum  Summary

	listed   []signature.Listed // by the catalogues that were met
	digests  int                // of these
	unsigned []intel.Hashes     // members that are not signed themselves
	by       map[[16]byte]int   // these, by the beginning of each digest that a catalogue can list them by

	// Members that have notes. Whoever looks at the file handed in would not find them among thousands.
	noted int
	first []string // names of the first of them

	until time.Duration           // Used may come to
	spend func(rounds int64) bool // what trying passwords costs, in all containers together
}

// maxUnsigned bounds the members that are kept for catalogues, maxListed the digests that catalogues list.
const (
	maxUnsigned = 20_000
	maxListed   = 200_000
)

// unsign keeps a member that carries no signature, in case that a catalogue beside it does.
func (w *walk) unsign(r io.ReaderAt, size int64, hashes intel.Hashes, typ filetype.Type) error {
	if len(w.unsigned) == maxUnsigned {
		return nil
	}
	var all []string
	if typ.Format == filetype.PE {
		err := w.guarded(func() (err error) {
			all, err = signature.ProgramDigests(r, size)
			return err
		})
		if err != nil {
			return err
		}
	}
	if w.by == nil {
		w.by = map[[16]byte]int{}
	}
	for _, d := range append(all, string(hashes.SHA1.Bytes()), string(hashes.SHA256.Bytes())) {
		w.by[[16]byte([]byte(d))] = len(w.unsigned)
	}
	w.unsigned = append(w.unsigned, hashes)
	return nil
}

// ofMembers tells of the file handed in that its members have notes.
func (w *walk) ofMembers(file intel.Hashes) error {
	var text string
	switch {
	case w.noted == 0:
		return nil
	case w.noted == 1:
		text = "a member has notes of its own: " + w.first[0]
	default:
		text = fmt.Sprintf("%d members have notes of their own: %s", w.noted, strings.Join(w.first, ", "))
	}
	if w.noted > len(w.first) {
		text += ", …"
	}
	return w.tell(file, intel.Attribute{Name: intel.InspectionNote, Value: clip(text)})
}

// byCatalogue tells which members are signed by way of a catalogue.
func (w *walk) byCatalogue() error {
	for _, l := range w.listed {
		told := map[int]bool{}
		for _, d := range l.Digests {
			if len(d) < 16 {
				continue
			}
			i, ok := w.by[[16]byte([]byte(d))]
			if !ok || told[i] {
				continue
			}
			told[i] = true
			for _, fact := range l.Facts {
				if err := w.tell(w.unsigned[i], fact); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// failed is an error of the receiver of observations, which ends everything; others are foreign bytes' own.
type failed struct{ err error }

func (f *failed) Error() string { return f.err.Error() }
func (f *failed) Unwrap() error { return f.err }

// errEnough ends the reading of containers: a bound of the whole inspection is reached.
var errEnough = errors.New("enough")

// errDeep ends the reading of a container that has members, too deep to be looked at.
var errDeep = errors.New("deep")

// tell emits one fact of a file.
func (w *walk) tell(file intel.Hashes, fact intel.Fact) error {
	o := intel.Observation{Source: w.Source, Time: w.now, File: file, Fact: fact}
	if _, ok := fact.(intel.Relation); ok {
		o.File = intel.Hashes{}
	}
	if err := o.Check(); err != nil {
		// A fact of foreign bytes that the store does not take is told by its reason.
		w.sum.Notes++
		o.Fact = intel.Attribute{Name: intel.InspectionNote, Value: clip(fmt.Sprintf("%s left out: %s", fact.Kind(), err))}
		o.File = file
	}
	if err := w.emit(o); err != nil {
		return &failed{err}
	}
	return nil
}

// maxNotes bounds the notes of one file.
const maxNotes = 32

// notes are those of one file.
type notes struct {
	w    *walk
	file intel.Hashes
	told map[string]struct{}
	left int
}

func (n *notes) add(format string, args ...any) error {
	text := clip(fmt.Sprintf(format, args...))
	if _, again := n.told[text]; again {
		return nil
	}
	n.w.sum.Notes++
	if len(n.told) >= maxNotes {
		n.left++
		return nil
	}
	if n.told == nil {
		n.told = map[string]struct{}{}
	}
	n.told[text] = struct{}{}
	return n.w.tell(n.file, intel.Attribute{Name: intel.InspectionNote, Value: text})
}

func (n *notes) close() error {
	if n.left == 0 {
		return nil
	}
	return n.w.tell(n.file, intel.Attribute{Name: intel.InspectionNote, Value: fmt.Sprintf("and %d notes more", n.left)})
}

// file tells all of one file and of what is in it. as is the member that it was told as, of which only Names and Opened are looked at; level is its
// own, -1 for the file handed in.
func (w *walk) file(r io.ReaderAt, size int64, hashes intel.Hashes, name string, as unpack.Member, level int) (string, error) {
	n := &notes{w: w, file: hashes}
	typ, err := w.detect(r, size)
	if err != nil {
		if err := n.add("type: %s", err); err != nil {
			return typ.Name, err
		}
	}
	facts := []intel.Fact{intel.Attribute{Name: intel.Size, Value: strconv.FormatInt(size, 10)}}
	if typ.Name != "" {
		facts = append(facts, intel.Attribute{Name: intel.Type, Value: typ.Name})
	}
	if typ.Short != "" {
		facts = append(facts, intel.Attribute{Name: intel.ShortType, Value: typ.Short})
	}
	var info exe.Info
	err = w.guarded(func() (err error) {
		info, err = exe.Options{Patterns: w.Patterns}.Read(typ.Format, r, size)
		return err
	})
	if err != nil {
		if err := n.add("%s: %s", cmp.Or(typ.Format, "file"), err); err != nil {
			return typ.Name, err
		}
	}
	facts = append(facts, info.Facts...)
	var acts exe.Info
	err = w.guarded(func() (err error) {
		acts, err = document.Read(typ.Format, r, size, w.Passwords, w.spend)
		return err
	})
	if err != nil {
		if err := n.add("%s: %s", cmp.Or(typ.Format, "file"), err); err != nil {
			return typ.Name, err
		}
	}
	facts = append(facts, acts.Facts...)
	info.Embedded = append(info.Embedded, acts.Embedded...)
	var result signature.Result
	if signature.Signed(typ.Format) {
		err := w.guarded(func() (err error) {
			result, err = signature.Verify(typ.Format, r, size, w.Trust)
			return err
		})
		if err != nil {
			if err := n.add("signature: %s", err); err != nil {
				return typ.Name, err
			}
		}
		facts = append(facts, result.Facts...)
		for _, l := range result.Listed {
			if w.digests += len(l.Digests); w.digests <= maxListed {
				w.listed = append(w.listed, l)
			}
		}
	}
	if level >= 0 && len(result.Facts) == 0 {
		if err := w.unsign(r, size, hashes, typ); err != nil {
			if err := n.add("signature: %s", err); err != nil {
				return typ.Name, err
			}
		}
	}
	alike, err := digest.ReadAt(r, size)
	if err != nil {
		if err := n.add("fuzzy hashes: %s", err); err != nil {
			return typ.Name, err
		}
	}
	if alike.TLSH != "" {
		facts = append(facts, intel.FuzzyHash{Algorithm: intel.TLSH, Value: alike.TLSH})
	}
	if alike.SSDeep != "" && size > 0 {
		facts = append(facts, intel.FuzzyHash{Algorithm: intel.SSDeep, Value: alike.SSDeep})
	}
	if isEICAR(r, size) {
		facts = append(facts, intel.Detection{Name: "EICAR-Test-File", Method: Method, Zone: intel.Red})
	}
	if w.Scan != nil {
		found, wrong, err := w.scan(level, size)
		if err != nil {
			return typ.Name, err
		}
		for _, d := range found {
			facts = append(facts, d)
		}
		for _, text := range wrong {
			if err := n.add("%s", text); err != nil {
				return typ.Name, err
			}
		}
	}
	for _, fact := range facts {
		if err := w.tell(hashes, fact); err != nil {
			return typ.Name, err
		}
	}
	if err := w.inside(r, size, hashes, name, as, level, typ, info.Embedded, n); err != nil {
		return typ.Name, err
	}
	if level >= 0 && len(n.told) > 0 {
		const names = 3
		if w.noted++; len(w.first) < names {
			w.first = append(w.first, name)
		}
	}
	return typ.Name, n.close()
}

// detect tells a file's format, and why it cannot be told when a reader fails on it.
func (w *walk) detect(r io.ReaderAt, size int64) (t filetype.Type, err error) {
	err = w.guarded(func() error { t = filetype.Detect(r, size); return nil })
	return t, err
}

func (w *walk) scan(level int, size int64) ([]intel.Detection, []string, error) {
	if level >= 0 {
		if err := w.spools[level].lay(); err != nil {
			return nil, nil, err
		}
	}
	found, notes, err := w.Scan(level, size)
	if err != nil {
		return nil, nil, &failed{err}
	}
	return found, notes, nil
}

// inside tells what is in a file.
func (w *walk) inside(r io.ReaderAt, size int64, hashes intel.Hashes, name string, as unpack.Member, level int, typ filetype.Type, embedded []exe.Embedded, n *notes) error {
	if unpack.Closed(typ.Format) && !as.Opened {
		if err := n.add("not opened: no reader opens files of the type %s", typ.Name); err != nil {
			return err
		}
	}
	opens := typ.Format
	installer := filetype.Unknown
	err := w.guarded(func() error { embedded, installer = w.carve(r, size, typ, embedded); return nil })
	if err != nil {
		if err := n.add("looking for archives inside: %s", err); err != nil {
			return err
		}
	}
	if installer != filetype.Unknown {
		opens = installer
	}
	if !unpack.Opens(opens) && len(embedded) == 0 {
		return nil
	}
	err = w.members(r, size, hashes, name, as.Names, level, opens, embedded, n)
	var f *failed
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, errDeep):
		return n.add("not opened: what lies deeper than six generations is not looked at")
	case errors.Is(err, errEnough):
		if level >= 0 {
			return err // the file handed in says why, too
		}
		return nil
	case w.ctx.Err() != nil:
		if errors.Is(context.Cause(w.ctx), errTime) {
			return n.add("stopped after %s: what followed was not looked at", w.Limits.Time)
		}
		return w.ctx.Err()
	}
	if p := (*unpack.Problem)(nil); !errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", cmp.Or(opens, "file"), err)
	}
	return n.add("%s", err)
}

func (w *walk) members(r io.ReaderAt, size int64, hashes intel.Hashes, name string, names map[string]string, level int, format filetype.Format, embedded []exe.Embedded, n *notes) error {
	read := int64(0)
	for _, e := range embedded {
		if err := unpack.Overlaps(read, size); err != nil {
			if err := n.add("%s", err); err != nil {
				return err
			}
			break
		}
		read += e.Size
		run := io.NewSectionReader(r, e.Offset, e.Size)
		if err := w.member(unpack.Member{Path: e.Path, Size: e.Size, Reader: run}, hashes, level, n, nil); err != nil {
			return err
		}
	}
	if !unpack.Opens(format) {
		return nil
	}
	known := map[string]intel.Hashes{}
	o := unpack.Options{Passwords: w.Passwords, Memory: w.Limits.Memory, Spend: w.spend, Attempt: w.Attempt}
	return w.guarded(func() error {
		return unpack.Each(w.ctx, format, r, size, o, func(m unpack.Member) error {
			if m.Path == "" {
				m.Path = without(name)
			}
			if name, ok := names[m.Path]; ok {
				m.Path = name
			}
			return w.member(m, hashes, level, n, known)
		})
	})
}

// guarded attempts a reading, and makes an error of a panic, so that what other readers say of the file, and what follows it, is not lost.
func (w *walk) guarded(read func() error) (err error) {
	if w.Attempt != nil {
		if err := w.Attempt(); err != nil {
			return err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the reader failed: %v", p)
		}
	}()
	return read()
}

// member tells one member of a container at a level, and what is in it. known are the hashes of the container's members before it, by their keys.
func (w *walk) member(m unpack.Member, container intel.Hashes, level int, n *notes, known map[string]intel.Hashes) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.sum.Members >= w.Limits.Members {
		if err := n.add("stopped after %d members: what followed was not looked at", w.Limits.Members); err != nil {
			return err
		}
		return errEnough
	}
	if level >= MaxLevel {
		return errDeep
	}
	if w.Used != nil && w.Used() > w.until {
		if err := n.add("stopped after %s of processor time, for a file of %d bytes: what followed was not looked at", Allowance(w.root), w.root); err != nil {
			return err
		}
		return errEnough
	}
	w.sum.Members++
	if m.Outside != "" {
		if err := n.add("%s: the container names it \"%s\", outside of itself", m.Path, m.Outside); err != nil {
			return err
		}
	}
	if m.Reader == nil {
		return n.add("%s", cause(&m))
	}
	contains := func(hashes intel.Hashes) error {
		to := intel.Object{Hashes: hashes, Path: clip(m.Path), Name: clip(path.Base(m.Path))}
		return w.tell(container, intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: container}, To: to})
	}
	if hashes, ok := known[m.Key]; ok { // never by an empty key
		return contains(hashes)
	}
	most := w.left()
	s := &w.spools[level+1]
	hashes, more, err := s.fill(m.Reader, most)
	w.sum.Unpacked += s.size
	var f *failed
	switch {
	case more:
		why := fmt.Sprintf("%d bytes unpacked", w.Limits.Bytes)
		if w.sum.Unpacked < w.Limits.Bytes {
			why = fmt.Sprintf("%d times the file's own bytes unpacked", w.Limits.Ratio)
		}
		if err := n.add("stopped at %s, after %s: what followed was not looked at", m.Path, why); err != nil {
			return err
		}
		return errEnough
	case errors.As(err, &f):
		return err
	case err != nil:
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		m.Err = err
		return n.add("%s", cause(&m))
	}
	if m.Password != "" {
		if err := n.add("%s: opened with the password %q", m.Path, m.Password); err != nil {
			return err
		}
	}
	if m.Key != "" {
		known[m.Key] = hashes
	}
	if err := contains(hashes); err != nil {
		return err
	}
	if _, again := w.seen[hashes.SHA256]; again {
		return nil
	}
	w.seen[hashes.SHA256] = struct{}{}
	_, err = w.file(s, s.size, hashes, path.Base(m.Path), m, level+1)
	return err
}

// left is how many more bytes may be unpacked.
func (w *walk) left() int64 {
	most := w.Limits.Bytes
	if w.root < most/w.Limits.Ratio { // so that the product is no more than most
		most = min(most, max(w.root*w.Limits.Ratio, RatioFrom))
	}
	return max(0, most-w.sum.Unpacked)
}

// cause is why a member could not be read.
func cause(m *unpack.Member) string {
	var p *unpack.Problem
	if errors.As(m.Err, &p) {
		return p.Error()
	}
	if m.Err == nil {
		return m.Path + ": cannot be opened"
	}
	return m.Path + ": " + m.Err.Error()
}

// without returns the name that a member of a container without names has: that of the container without its last suffix.
func without(name string) string {
	base := BaseName(name)
	switch ext := path.Ext(base); {
	case base == "":
		return "content"
	case strings.EqualFold(ext, ".tgz") || strings.EqualFold(ext, ".tbz") || strings.EqualFold(ext, ".txz"):
		return strings.TrimSuffix(base, ext) + ".tar"
	case ext != "" && ext != base:
		return strings.TrimSuffix(base, ext)
	}
	return base + " content"
}

// BaseName returns the last element of a path of any system, as an observation takes it; "" when there is none.
func BaseName(name string) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "" || base == "." || base == ".." || base == "/" {
		return ""
	}
	return clip(base)
}

// clip makes a text that an observation takes: UTF-8, without NUL, not too long.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) <= intel.MaxText {
		return s
	}
	const mark = "…"
	cut := intel.MaxText - len(mark)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// isEICAR reports whether a file is the test file that every engine must detect: its 68 characters, and white space up to 128.
func isEICAR(r io.ReaderAt, size int64) bool {
	if size < 68 || size > 128 {
		return false
	}
	b := make([]byte, size)
	if n, _ := r.ReadAt(b, 0); int64(n) != size {
		return false
	}
	// Kept in parts, so that no engine takes this program for the file.
	const a, z = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `-ANTIVIRUS-TEST-FILE!$H+H*`
	rest, ok := bytes.CutPrefix(b, []byte(a+z))
	return ok && len(bytes.Trim(rest, " \t\r\n\x1a")) == 0
}
