package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"coffer/access"
	"coffer/api"
	"coffer/app"
	"coffer/triage"
	"coffer/triage/triagetest"
)

// TestKeptFinding: an answer that is kept is given for as long as the finding is as it was, and to nobody who may not have it. The very next
// request shows what changed, whichever process changed it, and every one of them is on record.
func TestKeptFinding(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.findings["receipt.html"]
	path := "/v1/findings/" + id
	get := func(who string) (d api.FindingDetail, tag string, status int) {
		t.Helper()
		rec := w.send(http.MethodGet, path, who, "")
		if rec.Code == http.StatusOK {
			if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil {
				t.Fatal(err)
			}
		}
		return d, rec.Header().Get("ETag"), rec.Code
	}
	settled := func() (d api.FindingDetail, tag string) {
		t.Helper()
		for range 4 { // read, kept, answered from what is kept
			var status int
			if d, tag, status = get("engineer/user"); status != http.StatusOK {
				t.Fatal(status)
			}
		}
		return d, tag
	}
	other, err := app.Open(ctx, app.Options{Home: w.home})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	operator, err := other.Operator()
	if err != nil {
		t.Fatal(err)
	}
	ask := access.Ask{Caller: operator, Context: access.Context{Local: true}}

	_, tag := settled()
	for _, nobody := range []string{"", "stranger/user"} {
		if _, _, status := get(nobody); status == http.StatusOK {
			t.Errorf("%q is shown what another may see", nobody)
		}
	}
	// The long way gives the same bytes and headers as the short one.
	short, long := w.send(http.MethodGet, path, "engineer/user", ""), w.send(http.MethodGet, path, "engineer/user", "", "Accept", "application/json, text/plain")
	for _, h := range []http.Header{short.Header(), long.Header()} {
		h.Del(api.RequestID)
	}
	if short.Body.String() != long.Body.String() || len(short.Header()) != len(long.Header()) || short.Code != long.Code {
		t.Errorf("the short way answers %d %v, the long one %d %v", short.Code, short.Header(), long.Code, long.Header())
	}
	if rec := w.send(http.MethodGet, path+"?x=1", "engineer/user", ""); rec.Code != http.StatusUnprocessableEntity {
		t.Errorf("an unknown query parameter: %d", rec.Code)
	}
	for i, desk := range []*triage.Desk{w.app.Desk, other.Desk} {
		verdict := []triage.Verdict{triage.True, triage.FalsePositive}[i]
		if _, err := desk.Judge(ctx, ask, triage.Target{Finding: id}, verdict, "seen by a test of what is kept"); err != nil {
			t.Fatal(err)
		}
		d, now, _ := get("engineer/user")
		if d.Verdict != string(verdict) || now == tag {
			t.Errorf("process %d judged: verdict %q, ETag %s", i, d.Verdict, now)
		}
		if d, tag = settled(); d.Verdict != string(verdict) || tag != now {
			t.Errorf("process %d judged, some requests later: verdict %q, ETag %s", i, d.Verdict, tag)
		}
	}
	before := strings.Count(w.log.String(), `"route":"show-finding"`)
	if before == 0 {
		t.Error("the requests are not in the program's log")
	}
	// Gone, by another process.
	if err := triagetest.Forget(ctx, other.DB, id); err != nil {
		t.Fatal(err)
	}
	if _, _, status := get("engineer/user"); status != http.StatusNotFound {
		t.Errorf("a finding that is gone: %d", status)
	}
}
