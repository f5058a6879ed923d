package document

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"spoor/internal/inspect/pdf"
)

// pdfNames are counted, in this order.
var pdfNames = []string{"JavaScript", "JS", "OpenAction", "AA", "Launch", "EmbeddedFile", "XFA", "RichMedia", "SubmitForm", "ImportData", "GoToE", "Rendition"}

// maxTargets bounds the lines that tell what actions start or reach.
const maxTargets = 16

// readPDF counts the names that act in all objects, of object streams and earlier revisions, too, and tells what actions start or reach.
func readPDF(t *teller, r io.ReaderAt, size int64, passwords []string, spend func(rounds int64) bool) error {
	f, err := pdf.Open(r, size, passwords, spend)
	if err != nil {
		return err
	}
	counts, targets := map[string]int{}, 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case pdf.Name:
			if slices.Contains(pdfNames, string(v)) {
				counts[string(v)]++
			}
		case pdf.Array:
			for _, e := range v {
				walk(e)
			}
		case pdf.Dict:
			for _, p := range v {
				walk(p.Key)
				walk(p.Value)
			}
			if s := pdfTarget(f, v); s != "" && targets < maxTargets && f.Locked() == nil {
				targets++
				t.active("%s", s)
			}
		}
	}
	err = f.Each(func(o pdf.Object) error { walk(o.Value); return nil })
	var parts []string
	js := max(counts["JavaScript"], counts["JS"])
	for _, n := range pdfNames {
		switch {
		case n == "JS" || counts[n] == 0 && (n != "JavaScript" || js == 0):
		case n == "JavaScript":
			parts = append(parts, fmt.Sprintf("JavaScript %d", js))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", n, counts[n]))
		}
	}
	encrypted := ""
	switch {
	case f.Locked() != nil:
		encrypted = " (encrypted; object streams cannot be read)"
	case f.Encrypted:
		encrypted = " (encrypted)"
	}
	if len(parts) > 0 {
		t.active("PDF: %s%s", strings.Join(parts, ", "), encrypted)
	}
	if faults := f.Faults(); err == nil && len(faults) > 0 {
		err = faults[0]
	}
	return err
}

// pdfTarget is what an action starts, sends to or opens elsewhere; "" when the dictionary is none.
func pdfTarget(f *pdf.File, d pdf.Dict) string {
	action, _ := f.Resolve(d.Get("S")).(pdf.Name)
	text := func(v any) string {
		v = f.Resolve(v)
		if spec, ok := v.(pdf.Dict); ok {
			if v = f.Resolve(spec.Get("UF")); v == nil {
				v = f.Resolve(spec.Get("F"))
			}
		}
		s, _ := v.(pdf.String)
		return pdf.Text(s)
	}
	switch action {
	case "Launch":
		program := text(d.Get("F"))
		if win, ok := f.Resolve(d.Get("Win")).(pdf.Dict); ok {
			if s := text(win.Get("F")); s != "" {
				program = s
			}
			program += " " + text(win.Get("P"))
		}
		if strings.TrimSpace(program) != "" {
			return "PDF launches: " + program
		}
	case "SubmitForm", "ImportData", "GoToR", "GoToE":
		s := text(d.Get("F"))
		if action == "GoToR" && !strings.HasPrefix(s, `\\`) && !strings.HasPrefix(s, "//") && !strings.Contains(s, ":") {
			return "" // a link to another document beside this one
		}
		if s != "" {
			return fmt.Sprintf("PDF %s: %s", action, s)
		}
	}
	return ""
}
