package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"coffer/access"
)

// TestAskAndDecide asks for values without scripts, has somebody else decide, and opens them on the approval, once.
func TestAskAndDecide(t *testing.T) {
	p := newPortal(t, access.RolePrivacyOfficer, access.RoleApprover, access.RoleEngineer)
	officer, approver, engineer := p.visitor(), p.visitor(), p.visitor()
	officer.signIn(access.RolePrivacyOfficer)
	approver.signIn(access.RoleApprover)
	engineer.signIn(access.RoleEngineer)
	ask := "/findings/" + p.one() + "/ask"
	said := func(note string) url.Values {
		return with(officer.hidden(officer.get(ask+"?n=1"), ask), "scope", "some", "reason", "customer-request", "note", note, "hours", "2")
	}
	if res, body := officer.ask(http.MethodPost, ask, said("short")); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "Nothing was asked for") || !strings.Contains(body, "short") {
		t.Errorf("asked without a reason that suffices: %d", res.StatusCode)
	}
	const hostile = `<b onclick="x">somebody</b> asked what we hold` + "\u202e"
	form := said(hostile)
	res, body := officer.ask(http.MethodPost, ask, form)
	path := res.Request.URL.Path
	if !strings.HasPrefix(path, "/requests/") || !strings.Contains(body, "You asked for this; someone else decides") || strings.Contains(body, "<b onclick") || strings.Contains(body, "\u202e") || strings.Contains(body, `id="decide"`) {
		t.Fatalf("asked, at %s, %d", res.Request.URL, res.StatusCode)
	}
	if again, _ := officer.ask(http.MethodPost, ask, form); again.Request.URL.Path != path {
		t.Errorf("the same form twice asks at %s and %s", path, again.Request.URL.Path)
	}
	if res, _ := engineer.ask(http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a request of somebody else is shown to one who may not decide: %d", res.StatusCode)
	}
	if res, _ := officer.ask(http.MethodPost, path+"/approve", url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("own request approved: %d", res.StatusCode)
	}
	shown := approver.get("/requests")
	if !strings.Contains(shown, "Waits for you 1") || !strings.Contains(shown, "to reveal 1 value in receipt.html") {
		t.Error("the request does not wait for the approver")
	}
	form = approver.hidden(shown, path+"/approve")
	if res, body := approver.ask(http.MethodPost, path+"/deny", url.Values{"match": form["match"]}); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Say why") {
		t.Errorf("denied without a note: %d", res.StatusCode)
	}
	if res, _ := approver.ask(http.MethodPost, path+"/approve", with(url.Values{"match": form["match"]}, "hash", strings.Repeat("0", 64))); res.StatusCode != http.StatusConflict {
		t.Errorf("something else than was shown is approved: %d", res.StatusCode)
	}
	if res, body := approver.ask(http.MethodPost, path+"/approve", form); res.StatusCode != http.StatusOK || !strings.Contains(body, "Approved.") {
		t.Fatalf("approved: %d", res.StatusCode)
	}
	body = officer.get(path)
	if !strings.Contains(body, "/reveal?grant="+strings.TrimPrefix(path, "/requests/")) {
		t.Error("what was approved leads to no reveal")
	}
	use := "/findings/" + p.one() + "/reveal"
	form = with(officer.hidden(officer.get(use+"?n=1&grant="+strings.TrimPrefix(path, "/requests/")), use), "scope", "some", "reason", "customer-request", "note", "somebody asked what we hold")
	form.Set("grant", strings.TrimPrefix(path, "/requests/"))
	if res, body := officer.ask(http.MethodPost, use, form); res.StatusCode != http.StatusOK || !strings.Contains(body, "open-value") {
		t.Errorf("revealed on the approval: %d", res.StatusCode)
	}
	form.Set("key", "another-attempt")
	if res, body := officer.ask(http.MethodPost, use, form); res.StatusCode != http.StatusForbidden || !strings.Contains(body, ask+"?n=1") {
		t.Errorf("an approval twice: %d", res.StatusCode)
	}
}

// TestAskFromWhereItIsRefused leads who may not see a value from its row to the form that asks for it.
func TestAskFromWhereItIsRefused(t *testing.T) {
	p := newPortal(t, access.RolePrivacyOfficer)
	v := p.visitor()
	v.signIn(access.RolePrivacyOfficer)
	if body := v.get("/findings/" + p.one()); !strings.Contains(body, "/findings/"+p.one()+"/ask?n=1") {
		t.Error("a value that may not be seen leads to no request")
	}
}
