package dossier

import (
	"cmp"
	"strings"

	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// confidence is how much an equal digest of each kind says that two files are alike, 0 to 100: the same signed content, nearly the
// same bytes, the same imports or symbols, the same build tools, the same picture.
var confidence = map[intel.FuzzyAlgorithm]int{
	intel.Authentihash: 95, intel.TLSH: 90, intel.SSDeep: 90, intel.Imphash: 60, intel.Telfhash: 60, intel.Symhash: 60, intel.RichHash: 40, intel.IconHash: 30,
}

// similarFiles lists the files that share a fuzzy hash, each once, by what says most.
func (b *builder) similarFiles() error {
	var rows []SimilarRow
	index := map[intel.Hash]int{}
	for i := range b.facts.Similar {
		r := &b.facts.Similar[i]
		h := r.Head
		first, last := seen(h)
		row := SimilarRow{File: h.File, Zone: verdict.Zone(h), Confidence: confidence[r.By.Algorithm], By: r.By, Detection: verdict.Detection(h),
			Hits: h.Seen.Count, First: first.Time(), Last: last.Time(), Type: attribute(h, intel.Type), Size: size(h)}
		key := h.File.Strongest()
		if k, ok := index[key]; !ok {
			index[key] = len(rows)
			rows = append(rows, row)
		} else if cmp.Or(cmp.Compare(row.Confidence, rows[k].Confidence), strings.Compare(string(rows[k].By.Algorithm), string(row.By.Algorithm))) > 0 {
			rows[k] = row
		}
	}
	b.d.Similar = capped(rows, b.count, func(r *SimilarRow) order { return order{r.Zone, r.Hits, r.Last.Unix()} },
		func(x, y *SimilarRow) int { return compareFiles(x.File, y.File) })
	return nil
}
