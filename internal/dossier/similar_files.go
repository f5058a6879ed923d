package dossier

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// What one piece of evidence says on its own, 0 to 1: that two files share most of their content. docs/similarity.md tells what each means.
const (
	sameContent  = 0.95 // authentihash: all that is signed
	sameTLSH     = 0.90 // and less with each step of distance
	nearTLSH     = 0.55 // at a distance of 30
	farTLSH      = 0.10 // at a distance of 100
	sameSSDeep   = 0.90 // and in proportion to the score
	shortDigest  = 0.10 // an ssdeep of a few characters: very many small files have the same
	sameImports  = 0.60 // imphash, telfhash, symhash
	sameTools    = 0.40 // Rich hash
	sameIcon     = 0.30
	sameSigner   = 0.15 // these two support others, and are nothing without them
	sameNames    = 0.10
	mostSure     = 99 // a file that is the same in everything is the same file, and not listed
	supportedFor = 200
)

const neededBySimilarFiles = intel.SectionSimilar | intel.SectionCertificates | intel.SectionNames

// kinds of evidence: what is of one kind says much the same, so that the strongest of it counts alone.
type kind uint8

const (
	ofContent kind = iota
	ofBytes
	ofImports
	ofTools
	ofIcon
	ofSigner
	ofNames
	kinds
)

// evidence is one way in which two files are alike.
type evidence struct {
	kind kind
	says float64
	text string
}

// evidenceOf weighs an equal or a near fuzzy hash.
func evidenceOf(r *intel.Resemblance) evidence {
	switch a := r.By.Algorithm; a {
	case intel.Authentihash:
		return evidence{ofContent, sameContent, string(a)}
	case intel.TLSH:
		return evidence{ofBytes, byDistance(r.Distance), fmt.Sprintf("tlsh distance %d", r.Distance)}
	case intel.SSDeep:
		same := sameSSDeep
		if shortSSDeep(r.By.Value) {
			same = shortDigest
		}
		return evidence{ofBytes, same * float64(r.Score) / 100, fmt.Sprintf("ssdeep score %d", r.Score)}
	case intel.Imphash, intel.Telfhash, intel.Symhash:
		return evidence{ofImports, sameImports, string(a)}
	case intel.RichHash:
		return evidence{ofTools, sameTools, string(a)}
	default:
		return evidence{ofIcon, sameIcon, string(a)}
	}
}

// shortSSDeep reports whether no part of an ssdeep has the seven characters that a comparison wants in common.
func shortSSDeep(value string) bool {
	_, rest, _ := strings.Cut(value, ":")
	first, second, _ := strings.Cut(rest, ":")
	return len(first) < 7 && len(second) < 7
}

// byDistance falls with the distance of two TLSH: slowly to 30, where files are nearly the same, and to little at 100.
func byDistance(d int) float64 {
	if d <= 30 {
		return sameTLSH - (sameTLSH-nearTLSH)*float64(d)/30
	}
	return max(nearTLSH-(nearTLSH-farTLSH)*float64(d-30)/70, 0.01)
}

// confidence unites evidence: what is left of doubt after each kind has taken its part. More evidence, or stronger, never makes it less.
func confidence(all []evidence) int {
	var says [kinds]float64
	for _, e := range all {
		says[e.kind] = max(says[e.kind], e.says)
	}
	doubt := 1.0
	for _, s := range says {
		doubt *= 1 - s
	}
	return min(max(int(math.Round(100*(1-doubt))), 1), mostSure)
}

// similarFiles lists the files that resemble this one, each once, with all that says so.
func (b *builder) similarFiles() error {
	if b.d.Similar != nil { // two sections tell of it
		return nil
	}
	rows, err := similarRows(b.ctx, b.view, b.facts, b.facts.Similar)
	b.d.Similar = rows[:min(len(rows), b.count)]
	return err
}

// SimilarQuery asks for the files that resemble a file, or that have one of some fuzzy hashes or a TLSH or ssdeep near one.
type SimilarQuery struct {
	File   intel.Hash // zero: none
	Hashes []intel.FuzzyHash
	Reach  intel.Reach
	Count  int // greatest number of rows; 0 means MaxRows
}

// Similar answers a query, the surest first. It fails with [intel.ErrUnknown] when nothing at all is known of the file that it names.
func Similar(ctx context.Context, view View, q SimilarQuery) ([]SimilarRow, error) {
	of := &intel.Facts{}
	if !q.File.IsZero() {
		var err error
		if of, err = view.Recall(ctx, q.File, intel.SectionFuzzyHashes|intel.SectionCertificates|intel.SectionNames); err != nil {
			return nil, err
		}
	}
	hashes := slices.Clone(q.Hashes)
	for i := range of.FuzzyHashes {
		hashes = append(hashes, of.FuzzyHashes[i].Value)
	}
	found, err := view.Similar(ctx, hashes, q.Reach)
	if err != nil {
		return nil, err
	}
	self := of.File.Strongest()
	found = slices.DeleteFunc(found, func(r intel.Resemblance) bool { return !self.IsZero() && r.Head.File.Strongest() == self })
	rows, err := similarRows(ctx, view, of, found)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b SimilarRow) int { return -cmp.Compare(a.Confidence, b.Confidence) })
	return rows[:min(len(rows), cmp.Or(q.Count, MaxRows))], nil
}

// similarRows makes the rows of what was found, in the order of all sections.
func similarRows(ctx context.Context, view View, of *intel.Facts, found []intel.Resemblance) ([]SimilarRow, error) {
	type candidate struct {
		head     *intel.Head
		evidence []evidence
	}
	var all []candidate
	index := map[intel.Hash]int{}
	for i := range found {
		r := &found[i]
		key := r.Head.File.Strongest()
		k, ok := index[key]
		if !ok {
			k = len(all)
			index[key] = k
			all = append(all, candidate{head: r.Head})
		}
		all[k].evidence = append(all[k].evidence, evidenceOf(r))
	}
	// Names and certificates are looked at for the likeliest.
	if len(of.Certificates)+len(of.Names)+len(of.Signatures) > 0 {
		likeliest := make([]int, len(all))
		for i := range likeliest {
			likeliest[i] = i
		}
		slices.SortStableFunc(likeliest, func(x, y int) int { return -cmp.Compare(confidence(all[x].evidence), confidence(all[y].evidence)) })
		likeliest = likeliest[:min(len(likeliest), supportedFor)]
		files := make([]intel.Hash, len(likeliest))
		for i, k := range likeliest {
			files[i] = all[k].head.File.Strongest()
		}
		support, err := supports(ctx, view, of, files)
		if err != nil {
			return nil, err
		}
		for i, k := range likeliest {
			all[k].evidence = append(all[k].evidence, support[i]...)
			if s := sharedSigner(&of.Head, all[k].head); s && !slices.ContainsFunc(support[i], func(e evidence) bool { return e.kind == ofSigner }) {
				all[k].evidence = append(all[k].evidence, evidence{ofSigner, sameSigner, "same signer"})
			}
		}
	}
	rows := make([]SimilarRow, len(all))
	for i := range all {
		h := all[i].head
		slices.SortStableFunc(all[i].evidence, func(x, y evidence) int { return cmp.Or(-cmp.Compare(x.says, y.says), strings.Compare(x.text, y.text)) })
		var by []string
		for _, e := range all[i].evidence {
			by = append(by, e.text)
		}
		first, last := seen(h)
		rows[i] = SimilarRow{File: h.File, Zone: verdict.Zone(h), Confidence: confidence(all[i].evidence), By: slices.Compact(by), Detection: verdict.Detection(h),
			Hits: h.Seen.Count, First: first.Time(), Last: last.Time(), Type: attribute(h, intel.Type), Size: size(h)}
	}
	return capped(rows, len(rows), func(r *SimilarRow) order { return order{r.Zone, r.Hits, r.Last.Unix()} },
		func(x, y *SimilarRow) int { return compareFiles(x.File, y.File) }), nil
}

// supports finds what certificates and names each file has in common with the one that is asked about.
func supports(ctx context.Context, view View, of *intel.Facts, files []intel.Hash) ([][]evidence, error) {
	out := make([][]evidence, len(files))
	if len(of.Certificates) > 0 {
		ours := map[intel.Hash]bool{}
		for i := range of.Certificates {
			ours[of.Certificates[i].Value.MD5] = true
		}
		theirs, err := view.Certificates(ctx, files)
		if err != nil {
			return nil, err
		}
		for i := range theirs {
			if slices.ContainsFunc(theirs[i], func(c intel.Row[intel.Certificate]) bool { return ours[c.Value.MD5] }) {
				out[i] = append(out[i], evidence{ofSigner, sameSigner, "same certificate"})
			}
		}
	}
	ours := map[string]bool{}
	for i := range of.Names {
		if shape := nameShape(of.Names[i].Value); shape != "" {
			ours[shape] = true
		}
	}
	if len(ours) > 0 {
		theirs, err := view.Names(ctx, files)
		if err != nil {
			return nil, err
		}
		for i := range theirs {
			if slices.ContainsFunc(theirs[i], func(n intel.Row[string]) bool { return ours[nameShape(n.Value)] }) {
				out[i] = append(out[i], evidence{ofNames, sameNames, "name alike"})
			}
		}
	}
	return out, nil
}

// sharedSigner reports whether the two are signed, and trusted or not alike, by one signer.
func sharedSigner(a, b *intel.Head) bool {
	for i := range a.Signatures {
		for j := range b.Signatures {
			if a.Signatures[i].Value == b.Signatures[j].Value {
				return true
			}
		}
	}
	return false
}

// nameShape is a file's name without what tells copies and versions apart: case, and every run of digits, which stands as #. A name with fewer than
// four letters before its extension has no shape: too many files are called a.exe.
func nameShape(name string) string {
	var b strings.Builder
	letters, digits := 0, false
	name = strings.ToLower(name)
	stem := strings.LastIndexByte(name, '.')
	for i, c := range name {
		switch {
		case '0' <= c && c <= '9':
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		case c >= 'a' && c != '.' && (stem < 0 || i < stem):
			letters++
		}
		digits = false
		b.WriteRune(c)
	}
	if letters < 4 {
		return ""
	}
	return b.String()
}
