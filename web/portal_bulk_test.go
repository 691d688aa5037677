package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"coffer/access"
)

// TestManyAtOnce acts on several findings without scripts, takes it back, and is refused where the API would refuse.
func TestManyAtOnce(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor)
	v := p.visitor()
	v.signIn(access.RoleEngineer)
	const filter = "muted=no&status=in-progress%2Copen"
	two := []string{p.one(), p.findings["payments.xml"]}
	act := func(form url.Values) (arrived, string) {
		form.Set("filter", filter)
		return v.ask(http.MethodPost, "/findings/bulk", form)
	}
	for _, one := range []struct{ act, said string }{
		{"mute", "Muted: 2 findings."}, {"mine", "Assigned to you: 2 findings."}, {"false-positive", "Verdict set to false positive: 2 findings."},
		{"begin", "In progress: 2 findings."},
	} {
		res, body := act(url.Values{"finding": two, "act": {one.act}})
		if res.Request.URL.RawQuery != filter || !strings.Contains(body, one.said) || !strings.Contains(body, `action="/findings/undo"`) {
			t.Errorf("%s leads to %s", one.act, res.Request.URL)
		}
		res, body = v.ask(http.MethodPost, "/findings/undo", url.Values{"to": {"/findings?" + filter}})
		if res.Request.URL.RawQuery != filter || !strings.Contains(body, "Taken back: 2 findings.") || strings.Contains(body, `action="/findings/undo"`) {
			t.Errorf("%s taken back leads to %s", one.act, res.Request.URL)
		}
		for _, id := range two {
			if body := v.get("/findings/" + id); strings.Contains(body, "<span>Muted</span>") || !strings.Contains(body, "Unjudged") || !strings.Contains(body, "Owner nobody") {
				t.Errorf("%s taken back leaves something", one.act)
			}
		}
	}
	// What somebody changed in the meantime stays.
	act(url.Values{"finding": two, "act": {"mine"}})
	if _, body := v.ask(http.MethodPost, "/findings/"+two[0]+"/note", url.Values{"text": {"a note of somebody's"}}); !strings.Contains(body, "The note is kept.") {
		t.Error("no note")
	}
	if _, body := v.ask(http.MethodPost, "/findings/undo", url.Values{"to": {"/findings?" + filter}}); !strings.Contains(body, "Taken back: 1 finding. 1 other changed since") {
		t.Error("another's change was taken back, too")
	}
	if _, body := v.ask(http.MethodPost, "/findings/undo", url.Values{}); !strings.Contains(body, "Nothing was taken back") {
		t.Error("something is taken back twice")
	}
	// All that match, but not when there are others by now.
	if _, body := act(url.Values{"all": {"1"}, "count": {"3"}, "act": {"mute"}}); !strings.Contains(body, "Nothing was done: other findings match now") {
		t.Error("a list that changed was acted on")
	}
	if _, body := act(url.Values{"all": {"1"}, "count": {"16"}, "act": {"mute"}}); !strings.Contains(body, "Muted: 16 findings.") || !strings.Contains(body, "16 more are muted") {
		t.Error("all that match were not muted")
	}
	if res, _ := act(url.Values{"finding": two, "act": {"delete"}}); res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusBadRequest {
		t.Errorf("an act that there is none of: %d", res.StatusCode)
	}
	// The export has what the filter selects, and reach beside it.
	res, body := v.ask(http.MethodPost, "/findings/export", url.Values{"filter": {"severity=high"}, "all": {"1"}, "count": {"16"}})
	if res.Header.Get("Content-Type") != "text/csv; charset=utf-8" || strings.Count(body, "\r\n") != 17 || !strings.Contains(body, ",reach,") {
		t.Errorf("the export has %d lines of %s", strings.Count(body, "\r\n"), res.Header.Get("Content-Type"))
	}
	// The place in the list is carried by the URL.
	list := url.QueryEscape("severity=high")
	if body := v.get("/findings/" + p.one() + "?list=" + list); !strings.Contains(body, " of 16") || !strings.Contains(body, `rel="next"`) || !strings.Contains(body, `rel="prev"`) {
		t.Error("the finding does not say where it stands")
	}
	if body := v.get("/findings/" + p.one() + "?list=" + url.QueryEscape("no=filter")); strings.Contains(body, "class=\"beside\"") {
		t.Error("a list that is none has places")
	}
	auditor := p.visitor()
	auditor.signIn(access.RoleAuditor)
	if res, _ := auditor.ask(http.MethodPost, "/findings/bulk", url.Values{"filter": {filter}, "finding": two, "act": {"mute"}}); res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusNotFound {
		t.Errorf("an auditor mutes: %d", res.StatusCode)
	}
}
