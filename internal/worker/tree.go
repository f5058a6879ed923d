package worker

import (
	"errors"
	"fmt"

	"spoor/internal/inspect"
	"spoor/internal/intel"
)

// tree is the files that a child has told of: the one handed over, and members of what it told before. A child that foreign bytes have taken over can
// make up members, and lie about them and the file; of any other file it says nothing.
type tree struct {
	root  intel.Hashes // zero until it is known
	files map[intel.Hashes]struct{}
	most  int                 // members
	found map[string]struct{} // methods of the engines, which the parent asks, that have found something
}

// newTree begins with the hashes of the file handed over, when they are known.
func newTree(root intel.Hashes, members int) *tree {
	t := &tree{root: root, files: map[intel.Hashes]struct{}{}, most: members, found: map[string]struct{}{}}
	if !root.IsZero() {
		t.files[root] = struct{}{}
	}
	return t
}

// scanned takes what the engines found.
func (t *tree) scanned(all []intel.Detection) {
	for _, d := range all {
		t.found[d.Method] = struct{}{}
	}
}

// take says why an observation, of a kind that bytes tell, cannot be what those of this file do.
func (t *tree) take(o intel.Observation) error {
	file := o.File
	if relation, ok := o.Fact.(intel.Relation); ok {
		file = relation.From.Hashes
	}
	if t.root.IsZero() { // the first is of the file itself
		if !whole(file) {
			return errors.New("it tells of a file without its hashes")
		}
		t.root = file
		t.files[file] = struct{}{}
	}
	if _, ok := t.files[file]; !ok {
		return errors.New("it tells of a file that was not handed over")
	}
	switch fact := o.Fact.(type) {
	case intel.Attribute:
		if fact.Name == intel.Inspected && file != t.root {
			return errors.New("it tells that a file was inspected that was not handed over")
		}
	case intel.Detection:
		if _, ok := t.found[fact.Method]; !ok && fact.Method != inspect.Method {
			return fmt.Errorf("it tells a detection by %.40q, which found none", fact.Method)
		}
	case intel.Relation:
		switch {
		case !whole(fact.To.Hashes):
			return errors.New("it tells of a member without its hashes")
		case len(t.files) > t.most:
			return fmt.Errorf("it tells of more than %d members", t.most)
		}
		t.files[fact.To.Hashes] = struct{}{}
	}
	return nil
}

// whole reports whether all three hashes are there.
func whole(h intel.Hashes) bool { return !h.MD5.IsZero() && !h.SHA1.IsZero() && !h.SHA256.IsZero() }
