// Package arch holds the house to its plan: the tables of ARCHITECTURE.md say which package may import which, and why each library is
// there; these tests fail when the code says otherwise.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	root   = "../.."
	module = "spoor"
)

// code is what the Go files of one package say, tests left out.
type code struct {
	imports map[string]string // import path to the file that has it
	doc     string
}

// packages reads every Go file below the root. It reads them itself: a subprocess would let 'go test' answer from its cache after a violation.
func packages(t *testing.T) map[string]*code {
	t.Helper()
	all := map[string]*code{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), ".") && name != root || e.Name() == "testdata") {
			return fs.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		p := all[filepath.ToSlash(rel)]
		if p == nil {
			p = &code{imports: map[string]string{}}
			all[filepath.ToSlash(rel)] = p
		}
		if f.Doc != nil {
			p.doc = f.Doc.Text()
		}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			p.imports[imported] = filepath.ToSlash(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// table reads the rows of the table of ARCHITECTURE.md whose first column has this title: the first cell, unquoted, to the other cells.
func table(t *testing.T, title string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	within := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			within = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		first := strings.Trim(cells[0], "`")
		switch {
		case first == title:
			within = true
		case within && strings.Trim(first, "-") != "":
			if _, twice := rows[first]; twice {
				t.Errorf("ARCHITECTURE.md names %s twice", first)
			}
			rows[first] = cells[1:]
		}
	}
	if len(rows) == 0 {
		t.Fatalf("ARCHITECTURE.md has no table whose first column is %q", title)
	}
	return rows
}

// TestImports holds the table of packages: what imports what of ours, no more and no less, and that each says what it is for.
func TestImports(t *testing.T) {
	all, allowed := packages(t), table(t, "package")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		row, ok := allowed[name]
		if !ok || len(row) != 2 {
			t.Errorf("package %s is not in the table of ARCHITECTURE.md, with a sentence that says what it is for and its imports", name)
			continue
		}
		if row[0] == "" || p.doc == "" {
			t.Errorf("package %s has no sentence that says what it is for, in its package comment and in ARCHITECTURE.md", name)
		}
		var may []string
		for part := range strings.SplitSeq(row[1], ",") {
			if part = strings.Trim(strings.TrimSpace(part), "`"); part != "" && part != "–" {
				may = append(may, part)
			}
		}
		everything := slices.Equal(may, []string{"everything"})
		for imported, file := range p.imports {
			ours, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs && !everything && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which the table of ARCHITECTURE.md does not allow", file, ours)
			}
		}
		for _, m := range may {
			if _, ok := p.imports[module+"/"+m]; !ok && !everything {
				t.Errorf("ARCHITECTURE.md lets %s import %s, which it does not", name, m)
			}
		}
		if base := path.Base(name); slices.Contains([]string{"util", "utils", "common", "types", "models", "pkg", "helpers", "misc"}, base) {
			t.Errorf("package %s has a name that says nothing", name)
		}
	}
	for name := range allowed {
		if all[name] == nil {
			t.Errorf("ARCHITECTURE.md names the package %s, which is not there", name)
		}
	}
}

// TestOneWay holds what no edit of the table may change: intel knows nothing of ours, kv does not know what it keeps, and the printers know
// neither each other nor the store.
func TestOneWay(t *testing.T) {
	all := packages(t)
	for _, rule := range []struct{ who, never string }{
		{`^internal/intel$`, `.`},
		{`^wire$`, `.`},
		{`^client$`, `^internal/`},
		{`^internal/kv(/.*)?$`, `^(internal/(intel|store|source|dossier|verdict|api|web|serve|access|ingest)|wire|client)$`},
		{`^internal/store$`, `^(internal/(source|dossier|verdict|api|web|serve|access|ingest|kv/.*)|wire|client)$`},
		{`^internal/(source|verdict)(/.*)?$`, `^(internal/(kv|store|dossier|api|web|serve|access|ingest).*|wire|client)$`},
		{`^internal/dossier$`, `^(internal/(kv|store|source|api|web|serve|access|ingest).*|wire|client)$`},
		{`^internal/ingest$`, `^(internal/(kv|store|dossier|verdict|api|web|serve|access).*|wire|client)$`},
		{`^internal/api$`, `^internal/(web|store|kv).*`},
		{`^internal/web$`, `^(internal/(api|store|kv).*|wire|client)$`},
	} {
		who, never := regexp.MustCompile(rule.who), regexp.MustCompile(rule.never)
		for name, p := range all {
			if !who.MatchString(name) {
				continue
			}
			for imported, file := range p.imports {
				ours, ok := strings.CutPrefix(imported, module+"/")
				if ok && !strings.HasPrefix(ours, name+"/") && never.MatchString(ours) {
					t.Errorf("%s imports %s: imports point one way", file, ours)
				}
			}
		}
	}
}

// TestLibraries holds the table of libraries: each direct dependency has a sentence that says why, and is there.
func TestLibraries(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	tools := map[string]bool{} // named by their command
	for _, tool := range mod.Tool {
		tools[tool.Path] = true
	}
	why := table(t, "library")
	named := map[string]bool{}
	for _, r := range mod.Require {
		if !r.Indirect {
			named[r.Mod.Path] = true
		}
	}
	for tool := range tools {
		named[tool] = true
	}
	for name := range named {
		if row := why[name]; len(row) == 0 || row[0] == "" {
			t.Errorf("ARCHITECTURE.md does not say why %s is there", name)
		}
	}
	for name := range why {
		if !named[name] {
			t.Errorf("ARCHITECTURE.md says why %s is there, but go.mod does not require it directly", name)
		}
	}
}
