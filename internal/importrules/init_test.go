package importrules

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// compiled at initialisation is what every start pays for, whether it is used or not.
var compiled = map[string]string{
	"regexp.MustCompile": "use internal/lazyregexp", "regexp.Compile": "use internal/lazyregexp", "template.Must": "use sync.OnceValue",
}

// initialises returns what a file compiles in the initialisation of its package, and the expressions that it gives to lazyregexp.
func initialises(f *ast.File) (bad []string, exprs []string) {
	name := func(e ast.Expr) string {
		if s, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				return x.Name + "." + s.Sel.Name
			}
		}
		return ""
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if fn, isFunc := d.(*ast.FuncDecl); !ok && !(isFunc && fn.Name.Name == "init" && fn.Recv == nil) || ok && g.Tok != token.VAR {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false // when it is called
			case *ast.CallExpr:
				called := name(n.Fun)
				if why, ok := compiled[called]; ok {
					bad = append(bad, called+" at initialisation: "+why)
				}
				if lit, ok := first(n.Args).(*ast.BasicLit); ok && called == "lazyregexp.New" {
					if expr, err := strconv.Unquote(lit.Value); err == nil {
						exprs = append(exprs, expr)
					}
				}
			}
			return true
		})
	}
	return bad, exprs
}

func first(args []ast.Expr) ast.Expr {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// TestInitialisation: no package that is linked into the programs compiles an expression or a template that may not be needed, and all
// expressions that are compiled later will compile.
func TestInitialisation(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}`, "./cmd/...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dirs := strings.Fields(string(out))
	lazy := 0
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			bad, exprs := initialises(f)
			for _, b := range bad {
				t.Errorf("%s/%s: %s", f.Name, e.Name(), b)
			}
			for _, expr := range exprs {
				lazy++
				if _, err := regexp.Compile(expr); err != nil {
					t.Errorf("%s/%s: %v", f.Name, e.Name(), err)
				}
			}
		}
	}
	if len(dirs) < 20 || lazy < 10 {
		t.Errorf("%d packages with %d expressions were looked at: that is not all", len(dirs), lazy)
	}
}

// TestInitialisationBites: the rule sees what it forbids, and no more.
func TestInitialisationBites(t *testing.T) {
	const src = `package p
var a = regexp.MustCompile("a")
var b = map[string]*regexp.Regexp{"b": regexp.MustCompile("b")}
var c = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("c") })
var d = lazyregexp.New("d[")
func e() { regexp.MustCompile("e") }
func init() { x = template.Must(y) }
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", bytes.NewReader([]byte(src)), parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	bad, exprs := initialises(f)
	if len(bad) != 3 || len(exprs) != 1 || exprs[0] != "d[" {
		t.Errorf("found %q and %q", bad, exprs)
	}
}
