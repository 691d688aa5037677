package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"coffer/access"
	"coffer/api"
	"coffer/app"
	"coffer/audit"
	"coffer/demo"
	"coffer/macie"
	"coffer/web"
)

// kind is what the log has of one kind of act.
type kind struct {
	about   string   // members that say what it is about: finding, plan, object, occurrences, values
	detail  string   // names in detail, beside the circumstances
	outcome string   // in the order they come, for the first act of the kind that succeeds
	reason  bool     // reason and note are members
	system  bool     // nobody asked for it: there is no request
	also    []string // steps of the same action that must be there too
}

// kinds are the kinds of entries: every action, with what section "Entry" of docs/format-log.md promises and the act has to say.
var kinds = map[access.Action]kind{
	access.EventIngest:    {about: "finding object occurrences", detail: "occurrences sealed state step", outcome: "done", also: []string{"received", "seal", "tag"}},
	access.EventReconcile: {detail: "step since until listed", outcome: "done"},
	access.EventConfirm:   {about: "finding", outcome: "done"},
	access.FindingList:    {outcome: "done", also: []string{"export"}},
	access.FindingRead:    {about: "finding", outcome: "done"},
	access.ObjectRead:     {about: "object", outcome: "done"},
	access.ValueReveal:    {about: "finding object occurrences values", detail: "types", outcome: "intent done", reason: true},
	access.ValueSearch:    {detail: "types", outcome: "intent done", also: []string{"seen"}},
	access.VerdictSet:     {about: "finding object", detail: "change", outcome: "done"},
	access.RemedyPlan:     {about: "plan", detail: "action", outcome: "done"},
	access.RemedyApprove:  {about: "plan", outcome: "done"},
	access.RemedyApply:    {about: "plan", outcome: "intent done"},
	access.RemedyUndo:     {about: "plan", outcome: "intent done"},
	access.RemedyPurge:    {about: "plan", outcome: "intent done"},
	access.AccessList:     {outcome: "done"},
	access.AccessRequest:  {about: "finding", detail: "by for hash request seconds state step values", outcome: "done", reason: true},
	access.AccessApprove:  {about: "finding", detail: "by for hash request seconds state step values", outcome: "done", also: []string{"approve", "denied"}},
	access.AccessBreak:    {detail: "by hash request seconds state step values", outcome: "done", reason: true},
	access.AccessReview:   {detail: "by hash request step", outcome: "done"},
	access.AuditRead:      {detail: "step", outcome: "done", also: []string{"list", "export", "review", "checkpoint", "verify", "person"}},
	access.SessionStart:   {outcome: "done"},
	access.SessionEnd:     {outcome: "done"},
	access.TokenCreate:    {outcome: "done"},
	access.KeyRotate:      {outcome: "done"},
	access.PolicyWrite:    {detail: "from to", outcome: "done", system: true},
	access.AdminUser:      {outcome: "done"},
	access.AdminToken:     {outcome: "done"},
	access.AdminIndex:     {detail: "index types", outcome: "done"},
	access.AdminObject:    {outcome: "done"},
	access.AdminPerson:    {outcome: "done"},
	access.AdminBackup:    {detail: "keys step", outcome: "intent done"},
	access.AdminCheck:     {outcome: "done"},
	access.AdminJob:       {outcome: "done"},
	access.AdminNotify:    {detail: "step", outcome: "done"},
}

// noFindings is a Macie that lists nothing.
type noFindings struct{ macie.API }

func (noFindings) List(context.Context, macie.Query) iter.Seq2[[]string, error] {
	return func(func([]string, error) bool) {}
}

// TestEntryOfEveryAct does everything that there is an action for, and demands of each kind of entry that the act wrote it before its answer
// (lists and readings within a second), that it has all its members, and that none of them has a value, a name, a bucket or a key.
func TestEntryOfEveryAct(t *testing.T) {
	p := newPortal(t, "engineer")
	w := p.world
	var err error
	p.web, err = p.app.API(web.Config{Auth: badge{p.app.Now}, People: p.app.Identity, Hosts: []string{host}, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.web.Close)
	requests := map[string]string{} // by id, what was asked for
	secrets := []string{"a-test-person"}
	do := func(status int, method, path, token, body string) []byte {
		t.Helper()
		rec := w.send(method, path, token, body, key()...)
		if rec.Code != status {
			t.Fatalf("%s %s as %s: %d %s", method, path, token, rec.Code, rec.Body)
		}
		requests[rec.Header().Get(api.RequestID)] = method + " " + path
		return rec.Body.Bytes()
	}
	get := func(b []byte, name string) string {
		t.Helper()
		m := regexp.MustCompile(`"` + name + `":"([^"]+)"`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("no %s in %s", name, b)
		}
		return string(m[1])
	}
	id := w.one()
	detail, _, err := w.local.Finding(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, detail.Object.Bucket, detail.Object.Key)
	const engineer, approver, auditor, officer, duty, platform = "engineer/user", "approver/user", "auditor/user", "privacy-officer/user", "responder/user", "platform/user"
	f := "/v1/findings/" + id

	var doc []byte
	for _, d := range demo.New().Findings {
		if bytes.Contains(d.Body, []byte(id)) {
			doc = bytes.ReplaceAll(d.Body, []byte(id), []byte(strings.Repeat("0", 31)+"7"))
		}
	}
	do(200, "POST", "/v1/events", engineer, string(doc))
	do(200, "POST", "/v1/findings/"+strings.Repeat("0", 31)+"7/confirm", "engineer+nobody/user", "")
	do(200, "GET", "/v1/findings", engineer, "")
	do(200, "POST", "/v1/findings/export", engineer, `{"format":"csv"}`)
	do(200, "GET", f, engineer, "")
	do(200, "GET", f+"/notes", engineer, "")
	shown := do(200, "POST", f+"/reveal", engineer, `{`+reason+`,"ticket":"INC-7","purpose":"fraud"}`)
	secrets = append(secrets, get(shown, "value"))
	w.indexed()
	do(200, "POST", "/v1/values/search", officer, `{"value":"`+get(shown, "value")+`"}`)
	do(200, "POST", f+"/elsewhere", officer, "")
	do(200, "POST", f+"/verdict", engineer, `{"verdict":"true","note":"a real card"}`)
	do(200, "POST", "/v1/objects/query", engineer, `{"bucket":"`+detail.Object.Bucket+`","key":"`+detail.Object.Key+`"}`)

	plan := get(do(201, "POST", "/v1/plans", engineer, `{"findings":["`+id+`"],"action":"redact"}`), "plan")
	do(200, "POST", "/v1/plans/"+plan+"/approve", approver, "")
	do(200, "POST", "/v1/plans/"+plan+"/apply", engineer, `{"origin":"a test"}`)
	do(200, "POST", "/v1/plans/"+plan+"/undo", engineer, "")
	plan = get(do(201, "POST", "/v1/plans", engineer, `{"findings":["`+id+`"],"action":"redact"}`), "plan")
	do(200, "POST", "/v1/plans/"+plan+"/approve", approver, "")
	do(200, "POST", "/v1/plans/"+plan+"/apply", engineer, `{"origin":"a test"}`)
	do(200, "POST", "/v1/plans/"+plan+"/approve", approver, "")
	do(200, "POST", "/v1/plans/"+plan+"/purge", engineer, `{}`)

	other := w.findings["payouts.csv"]
	for name, x := range w.findings {
		if x != id && other == "" {
			other = x
			_ = name
		}
	}
	ask := func() []byte {
		return do(201, "POST", "/v1/access/requests", officer, `{"action":"value.reveal","finding":"`+other+`",`+reason+`,"ticket":"INC-8"}`)
	}
	req := ask()
	do(200, "GET", "/v1/access/requests", approver, "")
	do(200, "POST", "/v1/access/requests/"+get(req, "request")+"/approve", approver, `{"hash":"`+get(req, "hash")+`"}`)
	do(200, "POST", "/v1/access/requests/"+get(ask(), "request")+"/deny", approver, `{"note":"ask the owner of it"}`)
	do(200, "POST", "/v1/access/requests/"+get(ask(), "request")+"/withdraw", officer, "")
	glass := get(do(201, "POST", "/v1/access/glass", duty, `{"reason":"incident","note":"the exports are on the street","ticket":"INC-7"}`), "request")
	do(200, "GET", "/v1/access/glass", engineer, "")
	do(200, "POST", "/v1/access/requests/"+glass+"/review", auditor, `{"note":"it was right to look"}`)

	for _, path := range []string{"/v1/audit/entries?limit=1", "/v1/audit/export?format=csv", "/v1/audit/review?from=-1d", "/v1/audit/checkpoint", "/v1/people/p-engineer"} {
		do(200, "GET", path, auditor, "")
	}
	do(200, "POST", "/v1/audit/verify", auditor, `{}`)
	do(200, "POST", "/v1/audit/seen", "auditor+privacy-officer/user", `{"value":"`+get(shown, "value")+`"}`)

	user := get(do(201, "POST", "/v1/users", platform, `{"name":"a-test-person","roles":["engineer"],"teams":[]}`), "user")
	do(204, "PUT", "/v1/users/"+user+"/roles", platform, `{"roles":["auditor"],"teams":[]}`)
	do(204, "PUT", "/v1/users/"+user+"/disabled", platform, `{"disabled":true}`)
	do(200, "GET", "/v1/users/"+user+"/tokens", platform, "")
	do(200, "GET", "/v1/caller/tokens", engineer, "")
	do(200, "GET", "/v1/users/"+user+"/sessions", platform, "")
	do(204, "DELETE", "/v1/people/"+user, officer, "")
	do(200, "GET", "/v1/keys", platform, "")
	do(200, "GET", "/v1/jobs", platform, "")
	do(200, "GET", "/v1/config", platform, "")
	do(200, "POST", "/v1/check", platform, `{}`)
	do(200, "PUT", "/v1/buckets/"+detail.Object.Bucket+"/versioning", platform, `{"versioning":"on"}`)

	// What people do in the portal, the operator on the command line, and who changes the files of the policies.
	p.signedInAndOut()
	operator, err := p.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	at := access.Ask{Caller: operator, Context: access.Context{Now: p.app.Now(), Local: true, Request: "cli-1"}}
	if _, err := p.app.Notifier.List(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if _, err := p.app.Backup(t.Context(), at, filepath.Join(t.TempDir(), "backup"), app.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	p.app.Pipeline.Macie = noFindings{} // no request is under way
	steps, err := p.app.Pipeline.Reconcile(t.Context(), at, p.app.Now().Add(-time.Hour))
	if err != nil || len(steps) < 2 {
		t.Fatalf("reconcile: %d steps, %v", len(steps), err)
	}
	if _, err := p.app.Pipeline.ReconcileStep(t.Context(), at, steps[0]); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	roles, err := os.ReadFile("../access/policies/roles.cedar")
	if err != nil {
		t.Fatal(err)
	}
	write := func(extra string) {
		old := time.Now().Add(-time.Hour)
		name := filepath.Join(folder, "roles.cedar")
		err := os.WriteFile(name, append(bytes.Clone(roles), extra...), 0o600)
		for _, n := range []string{name, folder} {
			if err == nil {
				err = os.Chtimes(n, old, old)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("")
	for _, extra := range []string{"", "\n// changed\n"} {
		write(extra)
		followed, err := access.Follow(os.DirFS(folder))
		if err != nil {
			t.Fatal(err)
		}
		g := audit.Guard{Log: p.app.Log, Policy: followed.Policy(), Folder: followed}
		if _, err := g.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	var dump bytes.Buffer
	var entries []audit.Entry
	for e, err := range p.app.Log.Entries(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := audit.WriteJSON(&dump, func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(dump.String(), s) {
			t.Errorf("the log has something of %d characters that has no place in it", len(s))
		}
	}
	recorded := map[string]bool{}
	for _, e := range entries {
		recorded[e.Request] = true
	}
	for id, what := range requests {
		if !recorded[id] {
			t.Errorf("%s has no entry", what)
		}
	}
	for _, d := range access.Actions {
		want, ok := kinds[d.Action]
		if !ok {
			t.Errorf("%s: no kind of entry is described", d.Action)
			continue
		}
		var of []audit.Entry
		steps := map[string]bool{}
		for _, e := range entries {
			if e.Action == d.Action {
				of = append(of, e)
				steps[e.Detail["step"]] = true
			}
		}
		var first, result *audit.Entry
		for i := range of {
			e := &of[i]
			for name, missing := range map[string]bool{
				"time": e.Time.IsZero(), "writer": e.Writer == "", "seq": e.Seq == 0, "actor": e.Actor.ID == "" || e.Actor.Kind == "", "decision": e.Decision == "",
				"policyHash": len(e.Hash) != 64, "outcome": e.Outcome == "", "request": e.Request == "" && !want.system && !e.Actor.Local,
				"policies": e.Decision == audit.Allow && len(e.Policies) == 0 && !want.system,
				"roles":    len(e.Actor.Roles) == 0 && e.Decision == audit.Allow,
			} {
				if missing {
					t.Errorf("%s %s: no %s in %s", d.Action, e.Outcome, name, e.Ref())
				}
			}
			if first == nil && e.Decision == audit.Allow && (strings.HasPrefix(want.outcome, string(e.Outcome))) && hasAll(e, want.about, want.detail) {
				first = e
			}
			if first != nil && result == nil && e.Intent == first.Ref() && !e.Intent.IsZero() {
				result = e
			}
		}
		if first == nil {
			var have []string
			for _, e := range of {
				b, _ := json.Marshal(e.Detail)
				have = append(have, fmt.Sprintf("%s f=%t o=%t p=%t occ=%v v=%d %s", e.Outcome, e.Finding != "", e.Object != "", e.Plan != "", e.Occurrences, len(e.Values), b))
			}
			t.Errorf("%s: no entry with %q and %q; there are:\n\t%s", d.Action, want.about, want.detail, strings.Join(have, "\n\t"))
			continue
		}
		if want.reason && (first.Reason == "" || first.Note == "") {
			t.Errorf("%s: reason %q, note of %d bytes", d.Action, first.Reason, len(first.Note))
		}
		if strings.Contains(want.outcome, " ") && (result == nil || string(result.Outcome) != strings.Fields(want.outcome)[1]) {
			t.Errorf("%s: the intent has no result", d.Action)
		}
		if strings.Contains(want.about, "values") && (result == nil || len(result.Values) != len(first.Occurrences)) {
			t.Errorf("%s: the result does not say which values were shown", d.Action)
		}
		for _, s := range want.also {
			if !steps[s] {
				t.Errorf("%s: no entry of the step %s", d.Action, s)
			}
		}
	}
	t.Logf("%d entries of %d kinds, %d requests", len(entries), len(kinds), len(requests))
}

// hasAll reports whether an entry has the members and names in detail; values are in the result alone.
func hasAll(e *audit.Entry, about, detail string) bool {
	for _, name := range strings.Fields(about) {
		if missing := map[string]bool{"finding": e.Finding == "", "object": e.Object == "", "plan": e.Plan == "", "occurrences": len(e.Occurrences) == 0}[name]; missing {
			return false
		}
	}
	for _, name := range strings.Fields(detail) {
		if e.Detail[name] == "" {
			return false
		}
	}
	return true
}

// signedInAndOut has the engineer sign in to the portal, make a token and sign out, over a socket.
func (p *portal) signedInAndOut() {
	p.Helper()
	v := p.visitor()
	v.signIn("engineer")
	if res, _ := v.ask(http.MethodPost, "/sign-out", url.Values{}); res.StatusCode >= 400 {
		p.Errorf("sign out: %d", res.StatusCode)
	}
}
