package web

import (
	"html/template"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTemplates has html/template look at every page: it finds what it cannot escape only when it is about to.
func TestTemplates(t *testing.T) {
	p, err := newPortal()
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range p.pages {
		if err := page.ExecuteTemplate(io.Discard, "layout", frame{Person: "somebody"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileText shows texts that would act on the page around them.
func TestHostileText(t *testing.T) {
	p, err := newPortal()
	if err != nil {
		t.Fatal(err)
	}
	parts := template.Must(p.pages["keys"].Clone())
	for _, one := range []struct{ text, want, not string }{
		{`<img src=x onerror=alert(1)>"'`, `&lt;img src=x onerror=alert(1)&gt;`, "<img"},
		{"pay\u202eslip\u2066", "U+202E", "\u202e"},
		{"4000\u200b1234\ufeff", "U+200B", "\u200b"},
		{"a\x00b\x1b[31m", "U+0000", "\x1b"},
		{"\xff\xfe", "U+FFFD", "\xff"},
		{"\u00ad\u034f\ufe0f", "U+00AD", "\u00ad"},
		{strings.Repeat("long ", 1<<18), "cut here, 1.3 MB more", strings.Repeat("long ", 500)},
	} {
		var b strings.Builder
		if err := parts.ExecuteTemplate(&b, "text", one.text); err != nil {
			t.Fatal(err)
		}
		// A plus sign is escaped, too; the test is about the rest.
		if got := strings.ReplaceAll(b.String(), "&#43;", "+"); !strings.HasPrefix(got, "<bdi>") || !strings.Contains(got, one.want) || strings.Contains(got, one.not) {
			t.Errorf("%.40q is shown as %.200q", one.text, got)
		}
	}
}

// TestContrast computes the contrast of the pairs of colours that are used, in both themes, from the style sheet itself (WCAG 2.2, 1.4.3 and
// 1.4.11).
func TestContrast(t *testing.T) {
	css, err := staticFiles.ReadFile("static/coffer.css")
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to string) map[string]string {
		_, rest, _ := strings.Cut(string(css), from)
		block, _, _ := strings.Cut(rest, to)
		out := map[string]string{}
		for _, m := range regexp.MustCompile(`(--[a-z0-9-]+):\s+(#[0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
			out[m[1]] = m[2]
		}
		return out
	}
	light, system, dark := read("[data-theme=light] {", "\n}"), read("prefers-color-scheme: dark) {", "\n}"), read("\n[data-theme=dark] {", "\n}")
	if len(light) < 40 || len(dark) != len(light) || len(system) != len(dark) {
		t.Fatalf("%d, %d and %d tokens", len(light), len(system), len(dark))
	}
	for name, v := range dark {
		if system[name] != v {
			t.Errorf("%s is %s by the system and %s by choice", name, system[name], v)
		}
	}
	for _, one := range []struct {
		fore  string
		backs string
		need  float64
	}{
		{"--ink", "canvas sunk select raised exposed-bg diff-del-2 diff-add-2 heat-1 heat-2 heat-3 heat-4", 4.5}, {"--ink-2", "canvas sunk hover select rail", 4.5},
		{"--ink-3", "canvas sunk hover select nav-on rail raised", 4.5}, {"--accent", "canvas sunk hover select", 4.5}, {"#ffffff", "accent-solid accent-hover high-solid bulk", 4.5},
		{"--high", "canvas high-bg select", 4.5}, {"--warn", "canvas warn-bg select", 4.5}, {"--good", "canvas good-bg select rail", 4.5}, {"--exposed", "canvas exposed-bg", 4.5},
		{"--mask-ink", "mask-bg", 4.5}, {"--control", "canvas sunk raised", 3}, {"--focus", "canvas select rail exposed-bg", 3}, {"--warn-mark", "canvas select", 3},
		{"--exposed-line", "canvas", 3}, {"--plot-1", "heat-1", 3}, {"--plot-2", "heat-1", 3}, {"--mask-dim", "canvas", 3},
	} {
		for theme, tokens := range map[string]map[string]string{"light": light, "dark": dark} {
			fore := one.fore
			if strings.HasPrefix(fore, "--") {
				fore = tokens[fore]
			}
			for _, back := range strings.Fields(one.backs) {
				if c := contrast(t, fore, tokens["--"+back]); c < one.need {
					t.Errorf("%s: %s on --%s: %.2f, needs %.1f", theme, one.fore, back, c, one.need)
				}
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(c string) float64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(c, "#"), 16, 32)
		if err != nil {
			t.Fatalf("colour %q", c)
		}
		var l float64
		for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
			v := float64(n>>(8*i)&0xff) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			l += weight * v
		}
		return l
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
