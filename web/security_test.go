package web_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"coffer/api"
	"coffer/audit"
	"coffer/web"
)

// TestHeadersOfEveryAnswer: what protects a reader's browser is in every answer, whatever came of the request.
func TestHeadersOfEveryAnswer(t *testing.T) {
	w := newWorld(t)
	answers := map[string]*httptest.ResponseRecorder{
		"a list":             w.send("GET", "/v1/findings", "engineer/user", ""),
		"a stranger":         w.send("GET", "/v1/findings", "", ""),
		"a denial":           w.send("GET", "/v1/audit/entries", "engineer/user", ""),
		"nothing there":      w.send("GET", "/v1/nothing", "engineer/user", ""),
		"another method":     w.send("PATCH", "/v1/findings", "engineer/user", ""),
		"a trace":            w.send("TRACE", "/v1/findings", "engineer/user", ""),
		"another host":       w.send("GET", "/v1/findings", "engineer/user", "", "Host", "elsewhere.example"),
		"a malformed body":   w.send("POST", "/v1/findings/query", "engineer/user", "{"),
		"another type":       w.send("POST", "/v1/findings/query", "engineer/user", "{}", "Content-Type", "text/plain"),
		"a reveal":           w.send("POST", "/v1/findings/"+w.one()+"/reveal", "engineer/user", "{"+reason+"}"),
		"an export":          w.send("GET", "/v1/audit/export", "auditor/user", ""),
		"the description":    w.send("GET", "/v1/openapi.json", "", ""),
		"its page":           w.send("GET", "/docs", "", ""),
		"health":             w.send("GET", "/healthz", "", ""),
		"a question of CORS": w.send("OPTIONS", "/v1/findings", "", "", "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "GET"),
	}
	for what, rec := range answers {
		h := rec.Header()
		csp := h.Get("Content-Security-Policy")
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" ||
			h.Get("Cross-Origin-Resource-Policy") != "same-origin" || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") ||
			strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: %d %v", what, rec.Code, h)
		}
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s answers other origins: %s", what, name)
			}
		}
		if rec.Body.Len() > 0 && h.Get("Content-Type") == "" {
			t.Errorf("%s has no type", what)
		}
	}
	if code := answers["a trace"].Code; code < 400 {
		t.Errorf("TRACE: %d", code)
	}
	if h := w.send("GET", "/v1/findings", "engineer/user", "").Header().Get("Strict-Transport-Security"); h != "" {
		t.Errorf("without TLS: %q", h)
	}
	s, err := w.app.API(web.Config{Auth: badge{w.app.Now}, Hosts: []string{host}, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "https://"+host+"/healthz", nil))
	if h := rec.Header().Get("Strict-Transport-Security"); !strings.HasPrefix(h, "max-age=63072000; includeSubDomains") {
		t.Errorf("with TLS: %q", h)
	}
	if srv := s.HTTP(); srv.TLSConfig.MinVersion < tls.VersionTLS12 || srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.WriteTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Error("the server has no limits, or takes old versions of TLS")
	}
}

// TestMetricsAndTraces runs a story with a marker wherever a request can hold one, and demands that metrics and traces have none of it:
// labels with few words, all known to the program; spans with the finding's id, and no value, name of an object, note or path.
func TestMetricsAndTraces(t *testing.T) {
	w := newWorld(t)
	id := w.one()
	detail, _, err := w.local.Finding(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{marker, "p-engineer", "p-auditor", "asked by a customer", detail.Object.Bucket, detail.Object.Key}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	send := func(method, path, token, body string) *httptest.ResponseRecorder {
		return w.send(method, path, token, body, "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	}
	send("GET", "/v1/findings?bucket="+url.QueryEscape(detail.Object.Bucket), "engineer/user", "")
	send("GET", "/v1/findings/"+id, "engineer/user", "")
	send("GET", "/v1/findings/"+marker, "engineer/user", "")
	send("GET", "/"+marker, "engineer/user", "")
	send(marker, "/v1/findings", "engineer/user", "")
	send("POST", "/v1/findings/"+id+"/reveal", "engineer/user", `{`+reason+`,"ticket":"`+marker+`"}`)
	rec := send("POST", "/v1/findings/"+id+"/reveal", "engineer/user", `{`+reason+`}`)
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	values := regexp.MustCompile(`"value":"([^"]+)"`).FindAllStringSubmatch(rec.Body.String(), -1)
	for _, m := range values {
		secrets = append(secrets, m[1])
	}
	if len(values) == 0 {
		t.Fatal("nothing was revealed")
	}
	send("POST", "/v1/findings/"+id+"/reveal", "auditor/user", `{`+reason+`}`)
	send("POST", "/v1/values/search", "privacy-officer/user", `{"value":"`+values[0][1]+`"}`)
	send("POST", "/v1/audit/seen", "auditor+privacy-officer/user", `{"value":"`+values[0][1]+`"}`)
	send("POST", "/v1/plans", "engineer/user", `{"findings":["`+id+`"],"action":"redact"}`)
	send("GET", "/v1/audit/review?from=-1d&person=p-engineer", "auditor/user", "")

	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	scraped := httptest.NewRecorder()
	w.web.Metrics().ServeHTTP(scraped, r)
	text := scraped.Body.String()
	if !strings.HasSuffix(text, "# EOF\n") || !strings.HasPrefix(scraped.Header().Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("not OpenMetrics: %s", scraped.Header().Get("Content-Type"))
	}
	for _, s := range append(secrets, id, trace) {
		if strings.Contains(text, s) {
			t.Errorf("the metrics hold something of %d characters that was in a request or an answer", len(s))
		}
	}
	words := regexp.MustCompile(`^([a-z0-9.+-]+|[+]Inf)$`)
	for _, m := range regexp.MustCompile(`([a-z]+)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !words.MatchString(m[2]) || len(m[2]) > 40 {
			t.Errorf("label %s is no word of the program", m[1])
		}
	}
	if !strings.Contains(text, "coffer_revealed_values_total") || !strings.Contains(text, `route="reveal-values"`) {
		t.Errorf("the story is not in the metrics: %.400s", text)
	}

	spans := w.log.String()
	for _, s := range secrets {
		if s == "p-engineer" || s == "p-auditor" {
			continue // whose request it was is in the program's log, as a pseudonym
		}
		if strings.Contains(spans, s) {
			t.Errorf("the spans hold something of %d characters that was in a request or an answer", len(s))
		}
	}
	if !regexp.MustCompile(`"route":"reveal-values","status":200,.*"trace":"` + trace + `".*"finding":"` + id + `"`).MatchString(spans) {
		t.Error("no span with the trace and the finding of the reveal")
	}
	if rec := w.send("GET", "/metrics", "operator/operator", ""); rec.Code != 404 {
		t.Errorf("the API serves its metrics: %d", rec.Code)
	}
}

// TestEveryTextIsScrubbed puts a card number into every text that somebody can write, and demands that neither the log nor any record of
// the store has it.
func TestEveryTextIsScrubbed(t *testing.T) {
	w := newWorld(t)
	const card = "4000056655665556"
	text := "the card was 4000 0566 5566 5556, or " + card
	id := w.one()
	quoted := `"` + text + `"`
	n := 0
	send := func(want int, method, path, token, body string) {
		t.Helper()
		rec := w.send(method, path, token, body, api.IdempotencyKey, "scrub-"+strings.Repeat("0", n+8))
		if n++; rec.Code != want {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
		if strings.Contains(rec.Body.String(), card) && path != "/v1/findings/"+id+"/reveal" {
			t.Errorf("%s shows it", path)
		}
	}
	f := "/v1/findings/" + id
	send(200, "POST", f+"/reveal", "engineer/user", `{"reason":"audit","note":`+quoted+`,"purpose":"`+card+`"}`)
	send(200, "POST", f+"/verdict", "engineer/user", `{"verdict":"true","note":`+quoted+`}`)
	for _, of := range []string{"notes", "close", "tickets", "owner", "status"} {
		// Whichever of them this installation takes.
		for _, method := range []string{"POST", "PUT"} {
			w.send(method, f+"/"+of, "engineer/user", `{"text":`+quoted+`,"note":`+quoted+`,"origin":`+quoted+`,"correctiveAction":`+quoted+`,"tickets":["`+card+`"],"owner":"`+card+`"}`)
			w.send(method, f+"/"+of, "engineer/user", `{"text":`+quoted+`}`)
		}
	}
	plans, err := w.local.MakePlans(t.Context(), api.PlanBody{Findings: []string{id}, Action: "redact"})
	if err != nil || plans.Plan == nil {
		t.Fatalf("no plan: %v", err)
	}
	if _, err := w.local.Apply(t.Context(), plans.Plan.Plan, "", api.ApplyBody{Origin: text, CorrectiveAction: text}); err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if err := audit.WriteJSON(&dump, w.app.Log.Entries(t.Context(), audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	leaked := func(where string, b []byte) {
		for _, s := range []string{card, "4000 0566 5566 5556"} {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s has it", where)
			}
		}
	}
	leaked("the log", dump.Bytes())
	if !strings.Contains(dump.String(), "the card was") {
		t.Error("the notes are not in the log")
	}
	items := 0
	for it, err := range w.app.DB.Scan(t.Context(), 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		items++
		leaked("a record of "+it.Key.Part[:min(len(it.Key.Part), 12)], it.Value)
	}
	t.Logf("%d requests, %d records", n, items)
}
