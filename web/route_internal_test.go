package web

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"testing"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/triage"
)

// TestIncompleteRouteIsNotBuilt: a route that forgot its action, or says something else than it does, stops the server from being built.
func TestIncompleteRouteIsNotBuilt(t *testing.T) {
	good := route{id: "good", method: http.MethodGet, path: "/v1/good", tag: "public", summary: "Good", action: access.FindingList}
	for name, spoil := range map[string]func(*route){
		"no action":               func(r *route) { r.action = "" },
		"action that is none":     func(r *route) { r.action = "finding.steal" },
		"public with an action":   func(r *route) { r.id = "health" },
		"finding, not on it":      func(r *route) { r.path = "/v1/findings/{finding}" },
		"on a finding, not of it": func(r *route) { r.on = finding },
		"plan, not on it":         func(r *route) { r.path = "/v1/plans/{plan}" },
		"job, not on it":          func(r *route) { r.path = "/v1/jobs/{job}" },
		"request, not on it":      func(r *route) { r.path = "/v1/access/requests/{request}" },
	} {
		r := good
		spoil(&r)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it is built", name)
				}
			}()
			handle[none, reply[api.Build]](&Server{}, &r, nil)
		}()
	}
	(&Server{}).claim(&good, public) // does not panic
}

func TestWantsJob(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "respond-async": true, "Respond-Async; foo=1": true, "return=minimal, respond-async , wait=10": true, "respond-asynchronously": false,
	} {
		if wantsJob(header) != want {
			t.Errorf("%q: %v", header, !want)
		}
	}
}

// TestExportIsNoFormula: names of objects are other people's.
func TestExportIsNoFormula(t *testing.T) {
	var b bytes.Buffer
	err := writeFindingsCSV(&b, []triage.Summary{
		{ID: "f1", Object: coffer.Object{Bucket: "b", Key: `=HYPERLINK("http://x","y")`}, Severity: coffer.SeverityHigh},
		{ID: "f2", Object: coffer.Object{Bucket: "b", Key: "+1"}, Tickets: []string{"@SUM(A1)"}, Owner: "-x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || len(rows[0]) != len(findingColumns) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if cell != "" && bytes.ContainsRune([]byte("=+-@\t\r"), rune(cell[0])) {
				t.Errorf("column %s is a formula", rows[0][i])
			}
		}
	}
	if rows[1][8] != `'=HYPERLINK("http://x","y")` || rows[1][2] != "high" {
		t.Errorf("row %q", rows[1])
	}
}
