package api

import (
	"slices"
	"testing"
)

// TestTagsOf: only a machine tag says whether it names a place, an industry or an actor.
func TestTagsOf(t *testing.T) {
	tags := []string{`misp-galaxy:sector="Finance"`, `misp-galaxy:threat-actor="A = B"`, "tlp:clear", `sector="none"`, `misp-galaxy:sector=""`, `misp-galaxy:sector="Finance"`}
	if got := tagsOf(tags, industryTags); !slices.Equal(got, []string{"Finance"}) {
		t.Error(got)
	}
	if got := tagsOf(tags, actorTags); !slices.Equal(got, []string{"A = B"}) {
		t.Error(got)
	}
	if got := tagsOf(tags, geoTags); got == nil || len(got) != 0 {
		t.Error(got)
	}
}
