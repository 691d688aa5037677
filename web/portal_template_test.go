package web

import (
	"io"
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
