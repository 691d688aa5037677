package web_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"coffer/api"
	"coffer/internal/lookalike"
	"coffer/web"
)

// TestContractByAStranger has schemathesis ask a server with demo data everything that its OpenAPI document allows and much that it does
// not: no server error, and no answer that is not documented.
func TestContractByAStranger(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	command := lookalike.Schemathesis(t)
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(nil)
	s, err := w.app.API(web.Config{Auth: badge{w.app.Now}, Hosts: []string{srv.Listener.Addr().String()}, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	planned, err := w.local.MakePlans(t.Context(), api.PlanBody{Findings: []string{w.one()}, Action: "mask"})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config = s.HTTP()
	// What it makes up for an id names nothing; every other time something is there.
	var n atomic.Int64
	srv.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if parts := strings.Split(r.URL.Path, "/"); len(parts) > 3 && n.Add(1)%2 == 0 {
			switch {
			case parts[2] == "findings" && (len(parts) > 4 && parts[3] != "by-token" || r.Method == http.MethodGet):
				parts[3] = w.one()
			case parts[2] == "plans" && (len(parts) > 4 || r.Method == http.MethodGet):
				parts[3] = planned.Plan.Plan
			}
			r.URL.Path, r.URL.RawPath = strings.Join(parts, "/"), ""
		}
		s.ServeHTTP(rw, r)
	})
	srv.Start()
	defer srv.Close()
	for _, token := range []string{"engineer+auditor+privacy-officer+platform/user"} {
		cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], "run", srv.URL+"/v1/openapi.json",
			"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method",
			"--phases", "examples,coverage,fuzzing", "--max-examples", "2", "--seed", "1", "--workers", "2", "--request-timeout", "60", "--no-color",
			"--header", "Authorization: Bearer "+token, "--header", "Host: "+srv.Listener.Addr().String(),
			// These answer until they are told to stop.
			"--exclude-operation-id", "follow-log", "--exclude-operation-id", "follow-job")...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		text := string(out)
		if err != nil {
			if len(text) > 12000 {
				text = text[:6000] + "\n...\n" + text[len(text)-6000:]
			}
			t.Errorf("as %s: %v\n%s", token, err, text)
			continue
		}
		t.Logf("as %s:\n%s", token, text[max(0, strings.LastIndex(text, "SUMMARY")):])
	}
}
