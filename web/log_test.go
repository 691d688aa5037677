package web_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"coffer/access"
	"coffer/api"
	"coffer/audit"
)

// TestLogFilterExportReview: the grammar of filters, the formats of an export, the access review and the question who saw a value, over HTTP;
// and each reading of the log is an entry itself.
func TestLogFilterExportReview(t *testing.T) {
	w := newWorld(t)
	shown := map[string]string{} // value -> finding
	for _, id := range []string{w.findings["receipt.html"], w.findings["receipt.html"]} {
		rec := w.send("POST", "/v1/findings/"+id+"/reveal", "engineer/user", `{`+reason+`}`)
		if rec.Code != 200 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		var out api.Reveal
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || len(out.Values) == 0 {
			t.Fatalf("no values: %v", err)
		}
		for _, v := range out.Values {
			shown[v.Value] = v.Finding
		}
	}
	w.send("POST", "/v1/findings/"+w.one()+"/reveal", "auditor/user", `{`+reason+`}`) // denied
	get := func(path string, into any) {
		t.Helper()
		rec := w.send("GET", path, "auditor/user", "")
		if rec.Code != 200 {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{
		"action=value.*&outcome=intent":                      2,
		"action=value.reveal&outcome!=intent&decision!=deny": 2,
		"action=value.reveal&decision=deny":                  1,
		"action=value.reveal&role=auditor":                   1,
		"action=value.reveal&actor=p-engineer,p-auditor":     5,
		"action=value.reveal&time.gte=-1h":                   5,
		"action=value.reveal&time.lt=-1h":                    0,
		"action=value.reveal&since=-1h":                      5,
	} {
		var p api.Entries
		if get("/v1/audit/entries?"+query, &p); len(p.Entries) != want {
			t.Errorf("%s: %d entries, want %d", query, len(p.Entries), want)
		}
	}
	if rec := w.send("GET", "/v1/audit/entries?colour=red", "auditor/user", ""); rec.Code != 422 && rec.Code != 400 {
		t.Errorf("an unknown field: %d", rec.Code)
	}
	for format, first := range map[string]string{"jsonl": `{"index":`, "csv": "index,", "ocsf": `{"activity_id":`} {
		rec := w.send("GET", "/v1/audit/export?action=value.*&format="+format, "auditor/user", "")
		if rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), first) || !strings.Contains(rec.Header().Get("Content-Disposition"), format) {
			t.Errorf("%s: %d %.60s", format, rec.Code, rec.Body)
		}
		for value := range shown {
			if strings.Contains(rec.Body.String(), value) {
				t.Errorf("%s holds a value", format)
			}
		}
	}

	var rv api.Review
	get("/v1/audit/review?from=-1d", &rv)
	i := slices.IndexFunc(rv.People, func(p api.Reviewed) bool { return p.Person == "p-engineer" })
	if i != 0 || rv.People[0].Reveals != 2 || rv.People[0].Values < 2 || rv.People[0].Name != "engineer" || len(rv.People[0].Findings) != 1 || len(rv.People[0].Types) == 0 ||
		rv.People[0].Reasons["investigation"] != 2 {
		t.Errorf("review: %+v", rv.People)
	}
	get("/v1/audit/review?from=-1d&person=p-auditor", &rv)
	if len(rv.People) != 1 || rv.People[0].Denials != 1 || rv.People[0].LogReads < 5 {
		t.Errorf("review of the auditor: %+v", rv.People)
	}
	if rec := w.send("GET", "/v1/audit/review?from=-1d", "engineer/user", ""); rec.Code != 403 {
		t.Errorf("an engineer's review: %d", rec.Code)
	}

	seen := func(value, token string) (int, api.Sights) {
		t.Helper()
		b, _ := json.Marshal(api.SeenBody{Value: value})
		rec := w.send("POST", "/v1/audit/seen", token, string(b))
		var out api.Sights
		_ = json.Unmarshal(rec.Body.Bytes(), &out)
		return rec.Code, out
	}
	for value, id := range shown {
		code, out := seen(value, "auditor+privacy-officer/user")
		if code != 200 || len(out.Sights) != 2 || out.Sights[0].Finding != id || out.Sights[0].Person != "p-engineer" || out.Sights[0].Possible {
			t.Errorf("who saw it: %d %+v", code, out)
		}
	}
	if code, out := seen("000000", "auditor+privacy-officer/user"); code != 200 || len(out.Sights) != 0 {
		t.Errorf("who saw what nobody did: %d %+v", code, out)
	}
	for _, token := range []string{"auditor/user", "privacy-officer/user", "engineer/user"} {
		if code, _ := seen("000000", token); code != 403 {
			t.Errorf("%s asks who saw a value: %d", token, code)
		}
	}

	// Reading the log is on record, with what was done.
	steps := map[string]bool{}
	hashes := map[string]int{}
	var dump bytes.Buffer
	for e, err := range w.app.Log.Entries(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Action == access.AuditRead && e.Outcome == audit.Done {
			steps[e.Detail["step"]] = true
		}
		for _, v := range e.Values {
			hashes[v]++
		}
	}
	for _, s := range []string{"list", "export", "review"} {
		if !steps[s] {
			t.Errorf("%s of the log is no entry", s)
		}
	}
	if len(hashes) != len(shown) {
		t.Errorf("%d hashes of %d values", len(hashes), len(shown))
	}
	if err := audit.WriteJSON(&dump, w.app.Log.Entries(t.Context(), audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	for value := range shown {
		if strings.Contains(dump.String(), value) {
			t.Error("the log holds a value")
		}
	}
	n := 0
	for _, err := range w.local.Entries(t.Context(), url.Values{"action": {"value.reveal"}, "outcome!": {"intent"}}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("the client got %d entries", n)
	}
}
