package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/job/jobtest"
)

// scrape returns the metrics as a collector reads them.
func (w *world) scrape() string {
	rec := httptest.NewRecorder()
	w.web.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil))
	return rec.Body.String()
}

// TestBrokenGlassIsLoud: each use is a line of the program's log at the level of errors, a metric that stays until it is reviewed, and an
// entry; none of them has the note or a value.
func TestBrokenGlassIsLoud(t *testing.T) {
	w := newWorld(t)
	const duty = "responder/user"
	incident := `"reason":"incident","note":"the exports are on the street","ticket":"INC-7"`
	glass, _ := answer[api.Request](w, 201, "POST", "/v1/access/glass", duty, `{`+incident+`}`, key()...)
	shown, _ := answer[api.Reveal](w, 200, "POST", "/v1/findings/"+w.one()+"/reveal", duty, `{`+incident+`,"grant":"`+glass.Request+`"}`)
	loud := 0
	for _, line := range strings.Split(w.log.String(), "\n") {
		if strings.Contains(line, "on the street") || strings.Contains(line, shown.Values[0].Value) {
			t.Error("the program's log has the note or the value")
		}
		if strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, "glass") && strings.Contains(line, `"grant":"`+glass.Request+`"`) && strings.Contains(line, `"by":"p-responder"`) {
			loud++
		}
	}
	if loud != 2 {
		t.Errorf("%d loud lines of the break and of one reveal, want 2", loud)
	}
	for _, want := range []string{"coffer_broken_glass 1\n", "coffer_broken_glass_values 1\n"} {
		if !strings.Contains(w.scrape(), want) {
			t.Errorf("no %q", want)
		}
	}
	acts := map[access.Action]int{}
	for e, err := range w.app.Log.Entries(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Action == access.AccessBreak || e.Detail["breakGlass"] != "" {
			acts[e.Action]++
		}
	}
	if acts[access.AccessBreak] != 1 || acts[access.ValueReveal] != 2 {
		t.Errorf("entries of it: %v", acts)
	}
	answer[api.Request](w, 200, "POST", "/v1/access/requests/"+glass.Request+"/review", "auditor/user", `{"note":"it was right to look"}`, key()...)
	if !strings.Contains(w.scrape(), "coffer_broken_glass 0\n") {
		t.Error("reviewed glass is still counted")
	}
}

// TestRepeatedAfterCrash: a process that died between a change and the record of its answer leaves an attempt without one. Sent again,
// the change is not made twice, whatever it was.
func TestRepeatedAfterCrash(t *testing.T) {
	w := newWorld(t)
	finding := "/v1/findings/" + w.one()
	died := func() {
		t.Helper()
		if n, err := jobtest.LoseAnswers(t.Context(), w.app.DB); err != nil || n == 0 {
			t.Fatalf("%d answers were kept that could be lost, %v", n, err)
		}
	}
	for i, c := range []struct{ method, path, body string }{
		{"POST", finding + "/notes", `{"text":"seen by the owner"}`},
		{"POST", finding + "/verdict", `{"verdict":"true","note":"a real account"}`},
		{"POST", finding + "/close", `{"disposition":"migrated","authenticationData":false,"origin":"an export","correctiveAction":"none any more"}`},
		{"POST", "/v1/findings/work", `{"findings":["` + w.one() + `"],"do":"note","note":"one of several"}`},
	} {
		k := []string{api.IdempotencyKey, fmt.Sprintf("crashed-%d", i)}
		first := w.send(c.method, c.path, "engineer/user", c.body, k...)
		if first.Code != 200 {
			t.Fatalf("%s: %d %s", c.path, first.Code, first.Body)
		}
		died()
		again := w.send(c.method, c.path, "engineer/user", c.body, k...)
		if again.Code != 200 || again.Body.String() != first.Body.String() {
			t.Errorf("%s again: %d %s, want %s", c.path, again.Code, again.Body, first.Body)
		}
	}
	notes, _ := answer[api.Notes](w, 200, "GET", finding+"/notes", "engineer/user", "")
	if len(notes.Notes) != 2 {
		t.Errorf("%d notes, want 2", len(notes.Notes))
	}
}
