package filetype

import (
	"strings"
	"testing"
)

// TestHints: the texts that are looked for first never hide what an expression matches.
func TestHints(t *testing.T) {
	for _, tt := range []struct{ expression, matches string }{
		{`(?i)\bcreateobject\s*\(`, "x = CreateObject (1)"},
		{`===|!==`, "a !== b"},
		{`(?im)^\s*@?(set(local)?|goto|rem)\b`, "@SETLOCAL"},
		{`(?m)^\s*$`, "\n\n"},
		{`(abc)?d+`, "d"},
	} {
		h := newHint(tt.expression, 1)
		if !h.re.MatchString(tt.matches) || !h.in(tt.matches, strings.ToLower(tt.matches)) {
			t.Errorf("%s: %q is hidden by %q", tt.expression, tt.matches, h.oneOf)
		}
	}
	without := 0
	for _, l := range scriptLanguages {
		for _, h := range l.hints {
			if len(h.oneOf) == 0 {
				without++
				t.Logf("%s: %s", l.Name, h.re)
			}
		}
	}
	if without > 4 {
		t.Errorf("%d expressions have nothing to look for first", without)
	}
}
