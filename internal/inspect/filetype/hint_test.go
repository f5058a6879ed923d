package filetype

import (
	"regexp"
	"strings"
	"testing"
)

// TestHints: what is looked for first never hides what an expression matches, and finds nothing else.
func TestHints(t *testing.T) {
	for _, tt := range []struct {
		expression string
		matches    []string
		others     []string
	}{
		{`(?i)\bcreateobject\s*\(`, []string{"x = CreateObject (1)", "CREATEOBJECT("}, []string{"recreateobject(", "createobject"}},
		{`===|!==`, []string{"a !== b", "==="}, []string{"a != b"}},
		{`(?im)^\s*@?(set(local)?|goto|rem)\b`, []string{"@SETLOCAL", "a\n\n \t goto x"}, []string{"a goto b", "setup"}},
		{`(?m)^:[a-z]+\s*$`, []string{"a\n:b \nc"}, []string{" :b"}},
		{`(?m)^\s*\$[a-z]+ =`, []string{"é\n\f$x ="}, []string{"é$x ="}},
		{`(abc)?d+`, []string{"d", "abcd"}, []string{"abc"}},
		{`%%~?[a-z]\b`, []string{"for %%i in"}, []string{"%%ij", "%i"}},
		{`(?i)\b(write-(host|output)|new-object)\b`, []string{"(New-Object x)", "WRITE-OUTPUT"}, []string{"rewrite-host", "write-hosts"}},
	} {
		h := newHint(tt.expression, 1)
		whole := regexp.MustCompile(tt.expression)
		for i, text := range append(tt.matches, tt.others...) {
			l := look(text)
			if want := i < len(tt.matches); h.in(&l) != want || whole.MatchString(text) != want {
				t.Errorf("%s in %q: %v, by the expression alone %v", tt.expression, text, h.in(&l), whole.MatchString(text))
			}
		}
	}
	slow := 0
	for _, l := range scriptLanguages {
		for _, h := range l.hints {
			if strings.Contains(h.expression, `)^\s*`) && !h.places().indent {
				t.Errorf("%s: %s begins a line and is not known to", l.Name, h.expression)
			}
			if h.places().whole != nil {
				slow++
				t.Logf("%s: %s is tried everywhere", l.Name, h.expression)
			}
		}
	}
	if slow > 4 {
		t.Errorf("%d expressions are tried everywhere", slow)
	}
}

// FuzzHints: of any text the hints say what the expressions say.
func FuzzHints(f *testing.F) {
	f.Add("set x = createobject (\"a\")\r\n  end if\n\n\tif [ -f x ]; then\nfi\n")
	f.Add("$x = 5\n\n<#\nparam (\n[string]$a)\nfunction Get-It {}\n%%i %PATH%\n")
	f.Add("#!\nuse strict;\nmy $x = @_;\n=head1\n1;\nelse:\n  def x():\n\v:label\n\u212A\u017F")
	var whole []*regexp.Regexp
	for _, l := range scriptLanguages {
		for _, h := range l.hints {
			whole = append(whole, regexp.MustCompile(h.expression))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), longest-1)] // what is longer may match by more than is looked at
		l, k := look(text), 0
		// Signs that fold to ASCII letters only by Unicode are no letters here.
		folds := strings.ContainsAny(text, "\u212A\u017F")
		for _, lang := range scriptLanguages {
			for i := range lang.hints {
				h, re := &lang.hints[i], whole[k]
				k++
				if got, want := h.in(&l), re.MatchString(text); got != want && !folds {
					t.Errorf("%s in %q: %v, by the expression alone %v", h.expression, text, got, want)
				}
			}
		}
	})
}
