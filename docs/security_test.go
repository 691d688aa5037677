package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSecurity: docs/security.md says something of every requirement once, and every test and document that it names exists.
func TestSecurity(t *testing.T) {
	b, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("testdata/asvs-5.0.0.txt")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if id, _, ok := strings.Cut(line, " "); ok && id != "#" {
			open[id] = true
		}
	}
	all := len(open)
	if all != 253 {
		t.Fatalf("%d requirements", all)
	}
	span := regexp.MustCompile(`^(V\d+\.\d+)\.(\d+)(?:-(\d+))?$`)
	states := map[string]int{}
	tests := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) < 2 {
			continue
		}
		shown := cells[len(cells)-1]
		if ids := strings.TrimSpace(cells[0]); strings.HasPrefix(ids, "V") && len(cells) == 3 {
			state := strings.TrimSpace(cells[1])
			for id := range strings.SplitSeq(ids, ", ") {
				m := span.FindStringSubmatch(id)
				if m == nil {
					t.Errorf("%s is no requirement", id)
					continue
				}
				from, _ := strconv.Atoi(m[2])
				to, err := strconv.Atoi(m[3])
				if err != nil {
					to = from
				}
				for n := from; n <= to; n++ {
					one := m[1] + "." + strconv.Itoa(n)
					if !open[one] {
						t.Errorf("%s is named twice, or is not of these levels", one)
					}
					delete(open, one)
					states[state]++
				}
			}
			switch state {
			case "met":
				if !evidence(t, shown, tests) {
					t.Errorf("%s: nothing shows it", ids)
				}
			case "n/a", "open":
				if len(strings.TrimSpace(shown)) < 8 {
					t.Errorf("%s: no reason", ids)
				}
				evidence(t, shown, tests)
			default:
				t.Errorf("%s is %q", ids, state)
			}
		} else if strings.Contains(shown, " Test") {
			evidence(t, shown, tests)
		}
	}
	for id := range open {
		t.Errorf("%s is missing", id)
	}
	t.Logf("%d requirements: %v; %d tests named", all, states, len(tests))
}

var (
	pieces   = regexp.MustCompile("`[^`]+`|root|\\bTest[A-Z][A-Za-z0-9]*")
	document = regexp.MustCompile("^`(docs/[^`]+)`$")
)

// evidence looks for every test and document that a cell names, and reports whether there is any.
func evidence(t *testing.T, cell string, tests map[string]bool) (any bool) {
	t.Helper()
	folder := ""
	for _, s := range pieces.FindAllString(cell, -1) {
		switch {
		case s == "root":
			folder = ".."
		case strings.HasPrefix(s, "Test"):
			if folder == "" || !declared(folder, s) {
				t.Errorf("there is no test %s in %s", s, folder)
			}
			tests[folder+"."+s], any = true, true
		default:
			name := strings.Trim(s, "`")
			if m := document.FindStringSubmatch(s); m != nil {
				if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
					t.Errorf("there is no document %s", m[1])
				}
				any = true
			} else if info, err := os.Stat(filepath.Join("..", name)); err == nil && info.IsDir() {
				folder = filepath.Join("..", name)
			}
		}
	}
	return any
}

// declared reports whether a package in the folder has the test.
func declared(folder, name string) bool {
	files, _ := filepath.Glob(filepath.Join(folder, "*_test.go"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
