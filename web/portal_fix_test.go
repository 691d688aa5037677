package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"coffer/access"
)

// hidden returns the hidden fields of the form that posts to path.
func (v *visitor) hidden(body, path string) url.Values {
	v.Helper()
	_, form, ok := strings.Cut(body, `action="`+path+`"`)
	if !ok {
		v.Fatalf("no form that posts to %s", path)
	}
	form, _, _ = strings.Cut(form, "</form>")
	out := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		out.Add(m[1], strings.NewReplacer("&#34;", `"`, "&#43;", "+", "&amp;", "&").Replace(m[2]))
	}
	return out
}

// with adds fields to a form.
func with(form url.Values, pairs ...string) url.Values {
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// planned plans to redact what is in an object, and returns the path of the fix.
func (v *visitor) planned(name string) string {
	v.Helper()
	id := v.findings[name]
	form := v.hidden(v.get("/fixes/new?finding="+id), "/fixes")
	res, body := v.ask(http.MethodPost, "/fixes", with(form, "action", "redact"))
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Request.URL.Path, "/fixes/plan-") || !strings.Contains(body, "Nothing has been written yet") {
		v.Fatalf("a plan leads to %s, %d", res.Request.URL, res.StatusCode)
	}
	return res.Request.URL.Path
}

// settled waits for the job that a redirect named and returns the page without it.
func (v *visitor) settled(res arrived) string {
	v.Helper()
	id := res.Request.URL.Query().Get("job")
	if id == "" {
		v.Fatalf("no job at %s, %d", res.Request.URL, res.StatusCode)
	}
	for _, err := range v.local.Watch(v.Context(), id) {
		if err != nil {
			v.Fatal(err)
		}
	}
	return v.get(res.Request.URL.RequestURI())
}

// TestFixWithFourEyes goes from a finding to the certificate, without scripts: one person plans and applies, another decides.
func TestFixWithFourEyes(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleApprover)
	engineer, approver := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	approver.signIn(access.RoleApprover)
	if body := engineer.get("/findings/" + p.one()); !strings.Contains(body, "/fixes/new?finding="+p.one()) {
		t.Error("the finding leads to no plan")
	}
	fix := engineer.planned("receipt.html")
	plan := strings.TrimPrefix(fix, "/fixes/")
	body := engineer.get(fix)
	for _, want := range []string{"Redact ", "Apply, once approved", "someone else decides", "Where copies remain", "Beyond Macie", "REDACTED", "Withdraw"} {
		if !strings.Contains(body, want) {
			t.Errorf("the plan does not say %q", want)
		}
	}
	if strings.Contains(body, `id="decide"`) {
		t.Error("who planned it is offered to approve it")
	}

	// Neither by forging what is not offered.
	if res, _ := engineer.ask(http.MethodPost, fix+"/approve", url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("approved by who planned it: %d", res.StatusCode)
	}
	if res, _ := engineer.ask(http.MethodPost, fix+"/apply", url.Values{"key": {"forged"}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("applied without an approval: %d", res.StatusCode)
	}
	if res, _ := approver.ask(http.MethodPost, fix+"/withdraw", url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("withdrawn by somebody else: %d", res.StatusCode)
	}

	inbox := approver.get("/requests")
	if !strings.Contains(inbox, "Waits for you 1") || !strings.Contains(inbox, "/requests/fixes/"+plan) || !strings.Contains(inbox, "REDACTED") {
		t.Error("the plan does not wait for the approver, with its diff")
	}
	if own := engineer.get("/requests"); !strings.Contains(own, "Yours, with others 1") || !strings.Contains(own, "You asked for this; someone else decides") {
		t.Error("the plan is not among what others decide")
	}
	// The navigation says so to who can decide, and to nobody else. A page waits 50 ms for the number and shows the last one otherwise.
	const badge = `<span class="n waits">1<span class="vh"> waits for you</span></span>`
	for range 100 {
		if inbox = approver.get("/requests"); strings.Contains(inbox, badge) {
			break
		}
	}
	if !strings.Contains(inbox, badge) || strings.Contains(engineer.get("/requests"), badge) {
		t.Error("the number beside Requests is not that of what waits for the reader")
	}
	form := approver.hidden(inbox, fix+"/approve")
	stale := with(url.Values{}, "match", `"another"`)
	if res, _ := approver.ask(http.MethodPost, fix+"/approve", stale); res.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("another plan than was shown: %d", res.StatusCode)
	}
	if res, body := approver.ask(http.MethodPost, fix+"/deny", with(url.Values{}, "match", form.Get("match"))); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Say why") {
		t.Errorf("denied without a note: %d", res.StatusCode)
	}
	res, body := approver.ask(http.MethodPost, fix+"/approve", form)
	if res.Request.URL.Path != "/requests/fixes/"+plan || !strings.Contains(body, "Approved:") {
		t.Fatalf("approved, at %s, %d", res.Request.URL, res.StatusCode)
	}

	if body := engineer.get(fix); !strings.Contains(body, `<dialog id="apply"`) || strings.Contains(body, `<dialog id="undo"`) || strings.Contains(body, `<dialog id="purge"`) {
		t.Error("over the page of a fix opens another dialog than that of what can be done now")
	}
	form = engineer.hidden(engineer.get(fix+"/apply"), fix+"/apply")
	res, _ = engineer.ask(http.MethodPost, fix+"/apply", with(form, "origin", "a test", "correctiveAction", "another test"))
	if body = engineer.settled(res); !strings.Contains(body, "redacted, read back and scanned again") {
		t.Errorf("after the apply the page does not say so")
	}
	cert := engineer.get("/certificates/" + plan)
	for _, want := range []string{"Certificate of removal", "can still be brought back", "SHA-256", "Approved", "Applied, verified", "What was not looked at", "another test", "Tree of "} {
		if !strings.Contains(cert, want) {
			t.Errorf("the certificate does not say %q", want)
		}
	}
	res, file := engineer.ask(http.MethodGet, "/certificates/"+plan+"/file", nil)
	if res.Header.Get("Content-Disposition") == "" || !strings.Contains(file, `"checkpoint": "`) {
		t.Errorf("no file: %d", res.StatusCode)
	}
	if !strings.Contains(engineer.get("/certificates"), "/certificates/"+plan) || !strings.Contains(engineer.get("/fixes?show=undo"), fix) {
		t.Error("the fix is not in the lists")
	}

	// A purge takes a consent of its own, and the name of the bucket.
	if res, _ := engineer.ask(http.MethodPost, fix+"/purge", url.Values{"bucket": {"any"}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("purged on the approval of the apply: %d", res.StatusCode)
	}
	approver.ask(http.MethodPost, fix+"/approve", approver.hidden(approver.get(fix), fix+"/approve"))
	form = engineer.hidden(engineer.get(fix+"/purge"), fix+"/purge")
	if res, body := engineer.ask(http.MethodPost, fix+"/purge", with(form, "bucket", "another")); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Nothing was destroyed") {
		t.Errorf("purged without the name of the bucket: %d", res.StatusCode)
	}
	form.Del("bucket")
	bucket := regexp.MustCompile(`Type <code>([^<]*)</code>`).FindStringSubmatch(engineer.get(fix + "/purge"))
	if bucket == nil {
		t.Fatal("the bucket is not named")
	}
	res, _ = engineer.ask(http.MethodPost, fix+"/purge", with(form, "bucket", bucket[1]))
	if body = engineer.settled(res); !strings.Contains(body, "cannot come back") {
		t.Error("after the purge the page does not say so")
	}
	if cert = engineer.get("/certificates/" + plan); !strings.Contains(cert, "None can be recovered") || strings.Contains(cert, "−1") || !strings.Contains(cert, "Key destroyed") {
		t.Error("the certificate after the purge")
	}
}

// TestUndoAndDenial puts an original back, and ends plans that nobody applies.
func TestUndoAndDenial(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleApprover)
	engineer, approver := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	approver.signIn(access.RoleApprover)
	fix := engineer.planned("receipt.html")
	approver.ask(http.MethodPost, fix+"/approve", url.Values{})
	res, _ := engineer.ask(http.MethodPost, fix+"/apply", engineer.hidden(engineer.get(fix+"/apply"), fix+"/apply"))
	engineer.settled(res)
	res, _ = engineer.ask(http.MethodPost, fix+"/undo", engineer.hidden(engineer.get(fix+"/undo"), fix+"/undo"))
	if body := engineer.settled(res); !strings.Contains(body, "back byte for byte") {
		t.Error("after the undo the page does not say so")
	}

	fix = engineer.planned("receipt.html")
	const why = "ask the team of the exports first"
	approver.ask(http.MethodPost, fix+"/deny", url.Values{"note": {why}})
	if body := engineer.get(fix); !strings.Contains(body, why) || !strings.Contains(body, "Plan again") || strings.Contains(body, fix+"/apply") {
		t.Error("who planned it does not read why it was denied, or can apply it still")
	}
	if res, _ := approver.ask(http.MethodPost, fix+"/approve", url.Values{}); res.StatusCode != http.StatusConflict {
		t.Errorf("a denied plan is approved: %d", res.StatusCode)
	}
	fix = engineer.planned("receipt.html")
	if res, body := engineer.ask(http.MethodPost, fix+"/withdraw", url.Values{}); res.StatusCode != http.StatusOK || !strings.Contains(body, "withdrawn") {
		t.Errorf("withdrawn: %d", res.StatusCode)
	}
}

// TestPlansForMany plans fixes for several findings at once, as the list of findings asks for it, and follows the job.
func TestPlansForMany(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleApprover)
	v, other := p.visitor(), p.visitor()
	v.signIn(access.RoleEngineer)
	other.signIn(access.RoleApprover)
	ids := url.Values{"id": {p.findings["receipt.html"], p.findings["customers-2026-07.jsonl"]}, "filter": {"status=open"}, "count": {"99"}, "act": {"true"}}
	res, body := v.ask(http.MethodPost, "/fixes", ids)
	if res.StatusCode != http.StatusOK || !strings.Contains(body, "Plan fixes for 2 findings") {
		t.Fatalf("the list's form: %d", res.StatusCode)
	}
	res, _ = v.ask(http.MethodPost, "/fixes", with(v.hidden(body, "/fixes"), "action", "redact"))
	job := res.Request.URL.Path
	if !strings.HasPrefix(job, "/jobs/") {
		t.Fatalf("many plans lead to %s, %d", job, res.StatusCode)
	}
	for _, err := range v.local.Watch(t.Context(), strings.TrimPrefix(job, "/jobs/")) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if body = v.get(job); strings.Count(body, `href="/fixes/plan-`) != 2 || !strings.Contains(body, "receipt.html") {
		t.Error("the job does not lead to its plans")
	}
	if res, _ := other.ask(http.MethodGet, job, nil); res.StatusCode == http.StatusOK {
		t.Error("the job of somebody else is shown")
	}
	if res, _ := other.ask(http.MethodPost, "/fixes", ids); res.StatusCode != http.StatusForbidden {
		t.Errorf("planned by who may not: %d", res.StatusCode)
	}
	if res, _ := v.ask(http.MethodPost, "/fixes", url.Values{"all": {"1"}, "filter": {"status=open"}, "count": {"1"}, "action": {"redact"}}); res.StatusCode == http.StatusOK {
		t.Error("planned for others than the reader was told")
	}
}
