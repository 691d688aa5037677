package web_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coffer"
	"coffer/api"
	"coffer/audit"
	"coffer/demo"
)

// answer sends a request and reads the answer, which must have the status.
func answer[T any](w *world, status int, method, path, token, body string, header ...string) (out T, rec *httptest.ResponseRecorder) {
	w.Helper()
	rec = w.send(method, path, token, body, header...)
	if rec.Code != status {
		w.Errorf("%s %s as %s: %d %s, want %d", method, path, token, rec.Code, rec.Body, status)
		return out, rec
	}
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			w.Errorf("%s %s: %v", method, path, err)
		}
	}
	return out, rec
}

var attempts int

func key() []string {
	attempts++
	return []string{api.IdempotencyKey, "attempt-" + strconv.Itoa(attempts)}
}

// indexed lets card numbers be searched.
func (w *world) indexed() {
	w.Helper()
	index, err := w.local.SetIndex(w.Context(), "", []string{"CREDIT_CARD_NUMBER"})
	if err != nil {
		w.Fatal(err)
	}
	for _, err := range w.local.Watch(w.Context(), index.Job) {
		if err != nil {
			w.Fatal(err)
		}
	}
}

// TestAccessOnRequest: a person who may not see values by their own right asks, somebody else approves exactly what was shown, and it is
// good once.
func TestAccessOnRequest(t *testing.T) {
	w := newWorld(t)
	const officer, approver = "privacy-officer/user", "approver/user"
	reveal := "/v1/findings/" + w.one() + "/reveal"
	answer[api.Problem](w, 403, "POST", reveal, officer, `{`+reason+`}`)
	ask := `{"action":"value.reveal","finding":"` + w.one() + `",` + reason + `}`
	again := key()
	req, rec := answer[api.Request](w, 201, "POST", "/v1/access/requests", officer, ask, again...)
	if twice, _ := answer[api.Request](w, 201, "POST", "/v1/access/requests", officer, ask, again...); twice.Request != req.Request || rec.Header().Get("Location") != "/v1/access/requests/"+req.Request {
		t.Errorf("one attempt made %s and %s", req.Request, twice.Request)
	}
	path := "/v1/access/requests/" + req.Request
	answer[api.Problem](w, 404, "GET", path, "engineer/user", "")
	answer[api.Problem](w, 403, "POST", "/v1/access/requests", approver, ask, key()...)
	inbox, _ := answer[api.Requests](w, 200, "GET", "/v1/access/requests?inbox=true", approver, "")
	if len(inbox.Requests) != 1 || inbox.Requests[0].Hash != req.Hash {
		t.Fatalf("inbox: %+v", inbox)
	}
	shown, rec := answer[api.Request](w, 200, "GET", path, approver, "")
	tag := rec.Header().Get("ETag")
	hash := `{"hash":"` + shown.Hash + `"}`
	answer[api.Problem](w, 409, "POST", path+"/approve", approver, `{"hash":"`+strings.Repeat("0", 64)+`"}`, key()...)
	answer[api.Problem](w, 422, "POST", path+"/approve", approver, `{}`, key()...)
	answer[api.Problem](w, 412, "POST", path+"/approve", approver, hash, append(key(), "If-Match", `"another"`)...)
	if p, _ := answer[api.Problem](w, 403, "POST", path+"/approve", officer, hash, key()...); p.Code != "denied" {
		t.Errorf("own request: %+v", p)
	}
	answer[api.Problem](w, 404, "POST", path+"/approve", "engineer/user", hash, key()...)
	done, _ := answer[api.Request](w, 200, "POST", path+"/approve", approver, hash, append(key(), "If-Match", tag)...)
	if done.State != "approved" || done.Until == nil || len(done.Approvals) != 1 {
		t.Fatalf("approved: %+v", done)
	}
	answer[api.Problem](w, 404, "POST", path+"/withdraw", "engineer/user", "", key()...)
	with := `{` + reason + `,"grant":"` + req.Request + `"}`
	answer[api.Problem](w, 403, "POST", reveal, "engineer/user", with)
	if got, _ := answer[api.Reveal](w, 200, "POST", reveal, officer, with); len(got.Values) != 1 {
		t.Errorf("%d values", len(got.Values))
	}
	answer[api.Problem](w, 403, "POST", reveal, officer, with)

	w.indexed()
	// What is wrong with a request is said of what one may know of, and of nothing else.
	short := `{"action":"value.reveal","finding":"` + w.one() + `","reason":"audit","note":"short"}`
	for body, code := range map[string]int{
		short: 403, strings.Replace(short, w.one(), "unknown", 1): 404, `{"action":"value.search","reason":"audit","note":"short"}`: 403,
	} {
		p, _ := answer[api.Problem](w, code, "POST", "/v1/access/requests", officer, body, key()...)
		if code == 403 && !slices.Contains(p.Rules, "request-needs-reason") {
			t.Errorf("%s: refused by %v", body, p.Rules)
		}
	}

	// One search, for somebody who may not search.
	req, _ = answer[api.Request](w, 201, "POST", "/v1/access/requests", "engineer/user", `{"action":"value.search",`+reason+`}`, key()...)
	search := `{"value":"4111111111111111",` + reason + `,"grant":"` + req.Request + `"}`
	answer[api.Problem](w, 403, "POST", "/v1/values/search", "engineer/user", search)
	answer[api.Request](w, 200, "POST", "/v1/access/requests/"+req.Request+"/approve", approver, `{"hash":"`+req.Hash+`"}`, key()...)
	answer[api.Hits](w, 200, "POST", "/v1/values/search", "engineer/user", search)
	answer[api.Problem](w, 403, "POST", "/v1/values/search", "engineer/user", search)

	// What is denied or withdrawn is over.
	for end, who := range map[string]string{"deny": approver, "withdraw": officer} {
		req, _ = answer[api.Request](w, 201, "POST", "/v1/access/requests", officer, ask, key()...)
		body := ""
		if end == "deny" {
			body = `{"note":"ask the owner"}`
		}
		answer[api.Request](w, 200, "POST", "/v1/access/requests/"+req.Request+"/"+end, who, body, key()...)
		answer[api.Problem](w, 409, "POST", "/v1/access/requests/"+req.Request+"/approve", approver, `{"hash":"`+req.Hash+`"}`, key()...)
	}

	// Broken glass is seen by everybody, used by who broke it, and reviewed by somebody else.
	const duty = "responder/user"
	incident := `"reason":"incident","note":"the exports are on the street","ticket":"INC-7"`
	answer[api.Problem](w, 403, "POST", "/v1/access/glass", "engineer/user", `{`+incident+`}`, key()...)
	glass, _ := answer[api.Request](w, 201, "POST", "/v1/access/glass", duty, `{`+incident+`}`, key()...)
	if open, _ := answer[api.Requests](w, 200, "GET", "/v1/access/glass", "engineer/user", ""); len(open.Requests) != 1 || open.Requests[0].Request != glass.Request {
		t.Errorf("banner: %+v", open)
	}
	answer[api.Reveal](w, 200, "POST", reveal, duty, `{`+incident+`,"grant":"`+glass.Request+`"}`)
	review := "/v1/access/requests/" + glass.Request + "/review"
	answer[api.Problem](w, 404, "POST", review, "engineer/user", `{"note":"it was right to look"}`, key()...)
	if r, _ := answer[api.Request](w, 200, "POST", review, "auditor/user", `{"note":"it was right to look"}`, key()...); r.State != "reviewed" {
		t.Errorf("reviewed: %+v", r)
	}
	answer[api.Problem](w, 403, "POST", reveal, duty, `{`+incident+`,"grant":"`+glass.Request+`"}`)
}

// TestBudgets: a spent budget answers 429, and says when to come back.
func TestBudgets(t *testing.T) {
	w := newWorld(t)
	w.app.Grants.Rules.Budgets.Reveals.Hour = 1
	w.app.Grants.Rules.Budgets.Searches.Hour = 1
	w.app.Grants.Rules.Budgets.Tokens.Hour = 1
	w.indexed()
	for _, c := range []struct{ path, token, body string }{
		{"/v1/findings/" + w.one() + "/reveal", "engineer/user", `{` + reason + `}`},
		{"/v1/values/search", "privacy-officer/user", `{"value":"4111111111111111"}`},
		{"/v1/plans", "engineer/user", `{"findings":["` + w.one() + `"],"action":"tokenise"}`},
	} {
		first := w.send("POST", c.path, c.token, c.body, key()...)
		if first.Code >= 300 {
			t.Errorf("%s: %d %s", c.path, first.Code, first.Body)
		}
		p, rec := answer[api.Problem](w, 429, "POST", c.path, c.token, c.body, key()...)
		after, err := strconv.Atoi(rec.Header().Get("Retry-After"))
		if err != nil || after < 1 || after > 7200 || p.Code != "too-many" || p.RetryAfter != after {
			t.Errorf("%s: Retry-After %q, %+v", c.path, rec.Header().Get("Retry-After"), p)
		}
		// It is the caller's own.
		if other := w.send("POST", c.path, strings.Replace(c.token, "/", "+nobody/", 1), c.body, key()...); other.Code >= 300 {
			t.Errorf("%s, somebody else: %d %s", c.path, other.Code, other.Body)
		}
	}
}

// TestSubmittedFindings: nothing is read for them until a second person, or who can be trusted, says the same.
func TestSubmittedFindings(t *testing.T) {
	w := newWorld(t)
	var doc []byte
	for _, d := range demo.New().Findings {
		if bytes.Contains(d.Body, []byte(w.one())) {
			doc = d.Body
		}
	}
	submit := func(id string) {
		t.Helper()
		b := bytes.ReplaceAll(doc, []byte(w.one()), []byte(id))
		rec := w.send("POST", "/v1/events", "engineer/user", string(b))
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), "submitted") {
			t.Fatalf("submit: %d %s", rec.Code, rec.Body)
		}
	}
	const id, id2 = "00000000000000000000000000000001", "00000000000000000000000000000002"
	submit(id)
	path := "/v1/findings/" + id
	answer[api.Problem](w, 409, "POST", path+"/relocate", "engineer/user", "", key()...)
	answer[api.Problem](w, 409, "POST", "/v1/plans", "engineer/user", `{"findings":["`+id+`"],"action":"redact"}`, key()...)
	if p, _ := answer[api.Problem](w, 403, "POST", path+"/confirm", "engineer/user", "", key()...); !slices.Contains(p.Rules, "submitter-may-not-confirm") {
		t.Errorf("the submitter confirms: %+v", p)
	}
	answer[api.Problem](w, 403, "POST", path+"/confirm", "engineer/token", "", key()...)
	answer[api.Problem](w, 412, "POST", path+"/confirm", "engineer+nobody/user", "", append(key(), "If-Match", `"r99"`)...)
	got, _ := answer[api.FindingDetail](w, 200, "POST", path+"/confirm", "engineer+nobody/user", "", key()...)
	if got.Confirmed == nil || got.Confirmed.By != "p-engineer.nobody" || got.State != "sealed" || got.Origin != "submitted" {
		t.Errorf("confirmed: %+v, %s, %s", got.Confirmed, got.State, got.Origin)
	}
	answer[api.Problem](w, 409, "POST", path+"/confirm", "engineer+nobody/user", "", key()...)
	if p, _ := answer[api.Problem](w, 403, "POST", path+"/reveal", "engineer/user", `{`+reason+`}`); !slices.Contains(p.Rules, "submitter-may-not-reveal") {
		t.Errorf("the submitter reveals: %+v", p)
	}
	if r, _ := answer[api.Reveal](w, 200, "POST", path+"/reveal", "engineer+nobody/user", `{`+reason+`}`); len(r.Values) != 1 {
		t.Errorf("somebody else reveals %d values", len(r.Values))
	}
	answer[api.Problem](w, 403, "POST", "/v1/findings/"+w.one()+"/confirm", "engineer/user", "", key()...)

	// What was submitted under an id gives way to what a trusted source says of it.
	submit(id2)
	for line, err := range w.local.Ingest(t.Context(), bytes.NewReader(bytes.ReplaceAll(doc, []byte(w.one()), []byte(id2))), "", false) {
		if err != nil || line.Status != "sealed" {
			t.Errorf("%v %+v", err, line)
		}
	}
	if got, _ := answer[api.FindingDetail](w, 200, "GET", "/v1/findings/"+id2, "engineer/user", ""); got.Origin != "operator" || got.State != "sealed" || got.Confirmed != nil {
		t.Errorf("superseded: %s, %s", got.Origin, got.State)
	}
}

// TestWorkOnFindings: what people do with findings, one by one and many at once.
func TestWorkOnFindings(t *testing.T) {
	w := newWorld(t)
	const engineer = "engineer/user"
	path := "/v1/findings/" + w.one()
	_, rec := answer[api.FindingDetail](w, 200, "GET", path, engineer, "")
	seen := rec.Header().Get("ETag")
	f, rec := answer[api.Finding](w, 200, "POST", path+"/status", engineer, `{"status":"begin"}`, append(key(), "If-Match", seen)...)
	if f.Status != "in-progress" || rec.Header().Get("ETag") == seen {
		t.Errorf("begin: %s", f.Status)
	}
	answer[api.Problem](w, 412, "PUT", path+"/owner", engineer, `{"owner":"p-engineer"}`, "If-Match", seen)
	if f, _ = answer[api.Finding](w, 200, "PUT", path+"/owner", engineer, `{"owner":"p-engineer"}`); f.Owner != "p-engineer" {
		t.Errorf("owner %q", f.Owner)
	}
	if f, _ = answer[api.Finding](w, 200, "PUT", path+"/tickets", engineer, `{"tickets":["T-2","T-1"]}`); !slices.Equal(f.Tickets, []string{"T-1", "T-2"}) {
		t.Errorf("tickets %v", f.Tickets)
	}
	answer[api.Problem](w, 422, "PUT", path+"/tickets", engineer, `{"tickets":["two words"]}`)
	answer[api.Finding](w, 200, "POST", path+"/notes", engineer, `{"text":"the number 4111 1111 1111 1111 is a test card"}`, key()...)
	notes, _ := answer[api.Notes](w, 200, "GET", path+"/notes", "approver/user", "")
	if len(notes.Notes) != 1 || strings.Contains(notes.Notes[0].Text, "1111 1111") || notes.Notes[0].By != "p-engineer" {
		t.Errorf("notes: %d", len(notes.Notes))
	}
	answer[api.Finding](w, 200, "POST", path+"/close", engineer,
		`{"disposition":"deleted","authenticationData":false,"origin":"an export","correctiveAction":"the export is off"}`, key()...)
	d, _ := answer[api.FindingDetail](w, 200, "GET", path, engineer, "")
	if d.Status != "closed" || d.Closing == nil || d.Closing.Origin != "an export" || d.Closing.By != "p-engineer" {
		t.Errorf("closed: %+v", d.Closing)
	}
	answer[api.Problem](w, 409, "POST", path+"/close", engineer, `{"disposition":"deleted","authenticationData":false,"origin":"an export","correctiveAction":"off"}`, key()...)
	answer[api.Finding](w, 200, "POST", path+"/status", engineer, `{"status":"reopen"}`, key()...)
	answer[api.Protections](w, 200, "GET", path+"/protections", engineer, "")
	answer[api.Problem](w, 403, "POST", path+"/elsewhere", engineer, "")
	answer[api.Shared](w, 200, "POST", path+"/elsewhere", "privacy-officer/user", "")

	// Many at once: a result for each, or a job, which is its maker's own.
	list, _ := answer[api.Findings](w, 200, "POST", "/v1/findings/query", engineer, `{"filter":["status=open"]}`)
	worked, _ := answer[api.Worked](w, 200, "POST", "/v1/findings/work", engineer,
		`{"do":"assign","owner":"p-engineer","findings":["`+list.Findings[0].Finding+`","`+strings.Repeat("0", 32)+`"]}`, key()...)
	if len(worked.Results) != 2 || worked.Results[0].Now == nil || worked.Results[0].Now.Owner != "p-engineer" || worked.Results[1].Code != "not-found" {
		t.Errorf("worked: %+v", worked)
	}
	answer[api.Problem](w, 409, "POST", "/v1/findings/work", engineer, `{"do":"begin","filter":["status=open"],"count":1}`, key()...)
	answer[api.Problem](w, 403, "POST", "/v1/findings/work", "auditor/user", `{"do":"begin","filter":["status=open"],"count":1}`, key()...)
	j, rec := answer[api.Job](w, 202, "POST", "/v1/findings/work", engineer,
		`{"do":"begin","filter":["status=open"],"count":`+strconv.Itoa(list.Total)+`}`, append(key(), "Prefer", "respond-async")...)
	if rec.Header().Get("Preference-Applied") != "respond-async" || rec.Header().Get("Location") != "/v1/jobs/"+j.Job {
		t.Errorf("headers %v", rec.Header())
	}
	for _, err := range w.local.Watch(t.Context(), j.Job) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if j, _ = answer[api.Job](w, 200, "GET", "/v1/jobs/"+j.Job, engineer, ""); j.State != "done" || j.Done != list.Total {
		t.Errorf("job: %+v", j)
	}
	answer[api.Problem](w, 404, "GET", "/v1/jobs/"+j.Job, "engineer+nobody/user", "")
	answer[api.Problem](w, 404, "POST", "/v1/jobs/"+j.Job+"/cancel", "engineer+nobody/user", "", key()...)
	answer[api.Problem](w, 409, "POST", "/v1/jobs/"+j.Job+"/cancel", engineer, "", key()...)
	for token, want := range map[string]int{engineer: 1, "engineer+nobody/user": 0, "platform/user": 1} {
		if jobs, _ := answer[api.Jobs](w, 200, "GET", "/v1/jobs", token, ""); len(jobs.Jobs) != want {
			t.Errorf("%s sees %d jobs, want %d", token, len(jobs.Jobs), want)
		}
	}

	// Lists, taken away as they are filtered.
	counts, _ := answer[api.Counts](w, 200, "POST", "/v1/findings/count", "auditor/user", `{"filter":["status=in-progress"],"by":["severity"]}`)
	sum := 0
	for _, n := range counts.By["severity"].Values {
		sum += n.Count
	}
	if counts.Total != list.Total || sum != counts.Total {
		t.Errorf("counted %d, by severity %d, worked on %d", counts.Total, sum, list.Total)
	}
	var jsonl, csv bytes.Buffer
	for format, to := range map[string]*bytes.Buffer{"jsonl": &jsonl, "csv": &csv} {
		if err := w.local.ExportFindings(t.Context(), api.ExportBody{Filter: []string{"status=in-progress"}, Format: format}, to); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := bytes.Count(jsonl.Bytes(), []byte("\n")), bytes.Count(csv.Bytes(), []byte("\n"))-1; a != counts.Total || b != counts.Total {
		t.Errorf("exported %d and %d of %d", a, b, counts.Total)
	}
	exports := 0
	for e, err := range w.app.Log.Entries(t.Context(), audit.Filter{Action: "finding.list"}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Detail["step"] == "export" {
			exports++
		}
	}
	if exports != 2 {
		t.Errorf("%d exports in the log, want 2", exports)
	}
	answer[api.Rates](w, 200, "POST", "/v1/findings/false-positives", "auditor/user", `{}`)

	// Views.
	save := `{"name":"mine","filter":["severity.gte=high"],"shared":true}`
	answer[struct{}](w, 204, "PUT", "/v1/views", engineer, save)
	answer[api.Problem](w, 403, "PUT", "/v1/views", "auditor/user", save)
	if v, _ := answer[api.Views](w, 200, "GET", "/v1/views", "auditor/user", ""); len(v.Views) != 1 || v.Views[0].By != "p-engineer" || v.Views[0].Match == "" {
		t.Errorf("views: %+v", v)
	}
	answer[api.Problem](w, 409, "PUT", "/v1/views", engineer, `{"name":"mine","filter":[],"shared":true,"match":"another"}`)
	once := key()
	answer[struct{}](w, 204, "POST", "/v1/views/delete", engineer, `{"name":"mine","shared":true}`, once...)
	answer[struct{}](w, 204, "POST", "/v1/views/delete", engineer, `{"name":"mine","shared":true}`, once...)
	answer[api.Problem](w, 404, "POST", "/v1/views/delete", engineer, `{"name":"mine","shared":true}`, key()...)

	// Long acts, as jobs.
	planned, err := w.local.MakePlans(t.Context(), api.PlanBody{Findings: []string{w.one()}, Action: "redact"})
	if err != nil {
		t.Fatal(err)
	}
	for _, act := range []string{"apply", "undo"} {
		j, err := w.local.Long(t.Context(), act, planned.Plan.Plan, "", map[string]any{"apply": api.ApplyBody{}}[act])
		if err != nil {
			t.Fatalf("%s: %v", act, err)
		}
		for last, err := range w.local.Watch(t.Context(), j.Job) {
			if j = last; err != nil {
				t.Fatal(err)
			}
		}
		if j.State != "done" || j.Done != 1 {
			t.Errorf("%s: %+v", act, j)
		}
	}
	if p, _, err := w.local.Plan(t.Context(), planned.Plan.Plan); err != nil || p.Status != "undone" {
		t.Errorf("after apply and undo: %v %s", err, p.Status)
	}
}

// TestPeople: secrets are in the first answer and nowhere else.
func TestPeople(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const platform = "platform/user"
	again := key()
	add := `{"name":"newcomer","roles":["engineer"],"teams":["payments"]}`
	u, _ := answer[api.NewUser](w, 201, "POST", "/v1/users", platform, add, again...)
	twice, _ := answer[api.NewUser](w, 201, "POST", "/v1/users", platform, add, again...)
	if u.Code == "" || twice.Code != "" || twice.User.User != u.User.User || u.User.User == "" {
		t.Errorf("a code the first time %v, the second %v", u.Code != "", twice.Code != "")
	}
	answer[api.Problem](w, 409, "POST", "/v1/users", platform, add, key()...)
	answer[api.Problem](w, 403, "POST", "/v1/users", "engineer/user", add, key()...)
	id := u.User.User
	if err := w.local.SetRoles(ctx, id, api.RolesBody{Roles: []string{"approver"}, Teams: []string{}}); err != nil {
		t.Error(err)
	}
	if err := w.local.SetDisabled(ctx, id, false); err != nil {
		t.Error(err)
	}
	code, err := w.local.NewCode(ctx, id)
	if err != nil || code == "" || code == u.Code {
		t.Errorf("new code: %v", err)
	}
	users, err := w.local.Users(ctx)
	if err != nil || !slices.ContainsFunc(users, func(x api.User) bool {
		return x.User == id && x.Name == "newcomer" && slices.Equal(x.Roles, []string{"approver"}) && x.CodeUntil != nil
	}) {
		t.Errorf("users: %v", err)
	}
	token, err := w.local.CreateToken(ctx, id, api.NewTokenBody{Scopes: []string{"finding.list"}, Days: 1, Networks: []string{"10.0.0.0/8"}, Label: "nightly"})
	if err != nil || token.Secret == "" || token.Token.User != id {
		t.Fatalf("token: %v", err)
	}
	answer[api.Problem](w, 403, "POST", "/v1/users/"+id+"/tokens", platform, `{"scopes":["finding.list"]}`, key()...)
	rec := w.send("GET", "/v1/users/"+id+"/tokens", platform, "")
	if rec.Code != 200 || strings.Contains(rec.Body.String(), token.Secret) || !strings.Contains(rec.Body.String(), token.Token.Token) {
		t.Errorf("tokens: %d", rec.Code)
	}
	if err := w.local.RevokeToken(ctx, id, token.Token.Token); err != nil {
		t.Error(err)
	}
	if err := w.local.RevokeToken(ctx, id, token.Token.Token); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if own, _ := answer[api.Tokens](w, 200, "GET", "/v1/caller/tokens", "engineer/user", ""); len(own.Tokens) != 0 {
		t.Errorf("own tokens: %d", len(own.Tokens))
	}
	if s, err := w.local.Sessions(ctx, id); err != nil || len(s) != 0 {
		t.Errorf("sessions: %v, %d", err, len(s))
	}
	if err := w.local.EndSessions(ctx, id); err != nil {
		t.Error(err)
	}
	if err := w.local.EndSession(ctx, id, "s-none"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("no session: %v", err)
	}
	answer[api.Problem](w, 403, "GET", "/v1/users/"+id+"/sessions", "engineer/user", "")
	for _, secret := range []string{u.Code, code, token.Secret} {
		if strings.Contains(w.log.String(), secret) {
			t.Error("the log has a secret")
		}
	}

	// Policies answer questions that nobody asked in earnest.
	m, err := w.local.Matrix(ctx)
	if err != nil || !slices.Contains(m.Cells, api.MatrixCell{Role: "auditor", Category: "FINANCIAL_INFORMATION", Sight: "exists"}) {
		t.Errorf("matrix: %v", err)
	}
	tests, err := w.local.TestPolicies(ctx, []api.PolicyCase{
		{Caller: api.PolicyCaller{Roles: []string{"engineer"}}, Action: "value.reveal", Context: api.PolicyContext{Reason: "audit", Note: "quarterly check", Values: 1}, Expect: "allow", By: []string{"engineer-reveal"}},
		{Caller: api.PolicyCaller{Roles: []string{"engineer"}}, Action: "value.reveal", Context: api.PolicyContext{Reason: "audit", Note: "quarterly check", SignInSeconds: 901}, Expect: "deny"},
		{Caller: api.PolicyCaller{Roles: []string{"auditor"}}, Action: "value.reveal", Expect: "allow"},
	})
	if err != nil || tests.Failed != 1 || !tests.Answers[0].OK || !tests.Answers[1].OK || tests.Answers[2].OK {
		t.Errorf("tests: %v %+v", err, tests)
	}
}
