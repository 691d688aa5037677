package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/client"
	"coffer/web"
)

const marker = "MARK4000056655665556"

const reason = `"reason":"investigation","note":"asked by a customer"`

// TestHostileRequestsComeToNothing sends a marker wherever a request can hold one, as everybody, and demands that no answer and no line
// of the log has it.
func TestHostileRequestsComeToNothing(t *testing.T) {
	w := newWorld(t)
	d := w.document()
	bodies := []string{
		`{"` + marker + `":1}`, `{"reason":"` + marker + `","note":"` + marker + ` and more"}`, `{"finding":"` + marker + `"}`, marker, `"` + marker + `"`,
		`{"reason":{"` + marker + `":1},"note":["` + marker + `"]}`, `{"filter":["` + marker + `=1","` + marker + `.` + marker + `=1"]}`,
		`{"filter":["severity=` + marker + `"]}`, `{"filter":["created.` + marker + `=1"]}`, `{"findings":["` + marker + `"],"action":"redact"}`,
		`{"verdict":"` + marker + `","note":"x"}`, `{"bucket":"` + marker + `","key":"` + marker + `"}`, `{"token":"tok_` + marker + `",` + reason + `}`,
		`{"cursor":"` + marker + `"}`, `{"order":"` + marker + `"}`, `{"facets":["` + marker + `"]}`, `{"plans":["` + marker + `"]}`, `{"action":"` + marker + `"}`,
		`{"type":"` + marker + `","value":"` + marker + `"}`, `{"checkpoint":"` + marker + `"}`, `{"numbers":["` + marker + `"],` + reason + `}`,
		`{"types":["` + marker + `"]}`, `{"versioning":"` + marker + `"}`, "{\"a\":\"" + marker + "\xff\"}",
	}
	n := 0
	check := func(what string, rec *httptest.ResponseRecorder) {
		t.Helper()
		n++
		if rec.Code >= 500 {
			t.Errorf("%s: %d %s", what, rec.Code, rec.Body)
		}
		var head bytes.Buffer
		_ = rec.Header().Write(&head)
		if strings.Contains(rec.Body.String(), marker) || strings.Contains(head.String(), marker) {
			t.Errorf("%s: the answer repeats it: %d %s %s", what, rec.Code, head.String(), rec.Body)
		}
	}
	for path, ops := range d.Paths {
		for method, op := range ops {
			if strings.HasSuffix(op.ID, "follow-log") || op.ID == "set-index" {
				continue // one does not end, and the other does what it is told
			}
			method = strings.ToUpper(method)
			hostile := strings.NewReplacer("{finding}", marker, "{plan}", "plan-"+marker, "{job}", "job-"+marker, "{bucket}", marker, "{person}", marker,
				"{request}", "req-"+marker, "{user}", marker, "{token}", marker, "{session}", marker).Replace(path)
			for _, token := range []string{"", "engineer/user", "auditor/user", "operator/operator"} {
				if strings.Contains(path, "{bucket}") || strings.Contains(path, "{person}") {
					continue // names that an answer is about are in it
				}
				check(op.ID+" path", w.send(method, hostile, token, "", api.IdempotencyKey, "key-"+op.ID+token))
				query := "?" + url.Values{marker: {"1"}, "limit": {marker}, "cursor": {marker}, "severity": {marker}, marker + ".gte": {marker}}.Encode()
				check(op.ID+" query", w.send(method, fill(path, w.one(), "plan-1", "job-1")+query, token, "", api.IdempotencyKey, "key-q"+op.ID+token))
				check(op.ID+" headers", w.send(method, fill(path, w.one(), "plan-1", "job-1"), token, "", api.IdempotencyKey, "key "+marker,
					"If-Match", marker, "Traceparent", marker, "X-Request-Id", marker, "Content-Type", "text/"+marker, "Accept", marker, "Last-Event-ID", marker))
			}
			if op.RequestBody == nil || op.ID == "ingest" {
				continue
			}
			for i, b := range bodies {
				for _, token := range []string{"engineer/user", "privacy-officer/user"} {
					check(fmt.Sprintf("%s body %d", op.ID, i), w.send(method, fill(path, w.one(), "plan-1", "job-1"), token, b, api.IdempotencyKey, fmt.Sprintf("key-%d%s", i, op.ID)))
				}
			}
		}
	}
	check("host", w.send("GET", "/v1/findings", "engineer/user", "", "Host", marker))
	check("no route", w.send("GET", "/v1/"+marker, "engineer/user", ""))
	check("no route", w.send(marker, "/v1/findings", "engineer/user", ""))
	check("token", w.send("GET", "/v1/findings", marker, ""))
	check("unclean", w.send("GET", "/v1/findings/../"+marker, "", ""))
	check("origin", w.send("POST", "/v1/findings/query", "engineer/user", `{}`, "Origin", "https://"+marker, "Sec-Fetch-Site", "cross-site"))
	if s := w.log.String(); strings.Contains(s, marker) {
		i := strings.Index(s, marker)
		t.Errorf("the program's log has it: %s", s[max(0, i-300):i+60])
	}
	var b bytes.Buffer
	if err := audit.WriteJSON(&b, w.app.Log.Entries(t.Context(), audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, marker) {
		i := strings.Index(s, marker)
		t.Errorf("the audit log has it: %s", s[max(0, i-500):i+60])
	}
	t.Logf("%d requests", n)
}

func TestRevealIsRecordedAndNotKept(t *testing.T) {
	w := newWorld(t)
	path := "/v1/findings/" + w.one() + "/reveal"
	for _, c := range []struct {
		name, token, body string
		code              int
		want              string
	}{
		{"no reason", "engineer/user", `{}`, 422, "invalid"},
		{"a short note", "engineer/user", `{"reason":"investigation","note":"short"}`, 403, "denied"},
		{"an unheard-of reason", "engineer/user", `{"reason":"curiosity","note":"I should like to know"}`, 403, "denied"},
		{"no such number", "engineer/user", `{"numbers":[77],` + reason + `}`, 404, "not-found"},
		{"an auditor", "auditor/user", `{` + reason + `}`, 404, "not-found"},
		{"twice the same member", "engineer/user", `{"reason":"audit",` + reason + `}`, 400, "malformed"},
		{"something behind", "engineer/user", `{` + reason + `} {}`, 400, "malformed"},
		{"unknown member", "engineer/user", `{` + reason + `,"approvers":["p-approver"]}`, 422, "invalid"},
		{"other case", "engineer/user", `{"Reason":"investigation","note":"asked by a customer"}`, 422, "invalid"},
		{"half a surrogate", "engineer/user", `{"reason":"investigation","note":"asked by a customer \ud800"}`, 400, "malformed"},
	} {
		rec := w.send("POST", path, c.token, c.body)
		if rec.Code == 200 {
			t.Errorf("%s: the value is shown", c.name)
			continue
		}
		if p := problemOf(t, rec.Body.Bytes()); rec.Code != c.code || p.Code != c.want {
			t.Errorf("%s: %d %s, want %d %s", c.name, rec.Code, rec.Body, c.code, c.want)
		}
	}
	if rec := w.send("POST", path, "engineer/user", "note", "Content-Type", "text/plain"); rec.Code != 415 {
		t.Errorf("text: %d, want 415", rec.Code)
	}
	rec := w.send("POST", path, "engineer/user", `{`+reason+`,"ticket":"T-1"}`, "Accept-Encoding", "gzip", "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if rec.Code != 200 || rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("ETag") != "" || rec.Header().Get("Content-Encoding") != "" {
		t.Fatalf("reveal: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	var out api.Reveal
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || len(out.Values) != 1 || out.Values[0].Value == "" {
		t.Fatalf("reveal: %v, %d values", err, len(out.Values))
	}
	id := rec.Header().Get(api.RequestID)
	intents := 0
	for e, err := range w.app.Log.Entries(t.Context(), audit.Filter{Action: "value.reveal", Outcome: audit.Intent}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Request == id+".4bf92f3577b34da6a3ce929d0e0e4736" && e.Finding == w.one() {
			intents++
		}
	}
	if intents != 1 {
		t.Errorf("%d intents of the request, want 1", intents)
	}
	if strings.Contains(w.log.String(), out.Values[0].Value) {
		t.Error("the log has the value")
	}
}

func TestActsOnceForItsKey(t *testing.T) {
	w := newWorld(t)
	body := `{"findings":["` + w.one() + `"],"action":"mask"}`
	var wg sync.WaitGroup
	var mu sync.Mutex
	var ok, busy int
	ids := map[string]bool{}
	for range 16 {
		wg.Go(func() {
			rec := w.send("POST", "/v1/plans", "engineer/user", body, api.IdempotencyKey, "one-attempt")
			mu.Lock()
			defer mu.Unlock()
			switch rec.Code {
			case 201:
				ok++
				ids[rec.Header().Get("Location")] = true
			case 409:
				busy++
			default:
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
	wg.Wait()
	plans := func() (n int) {
		for _, err := range w.app.Remedy.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if ok == 0 || len(ids) != 1 || plans() != 1 {
		t.Errorf("%d made, %d busy, %d places, %d plans; want one plan", ok, busy, len(ids), plans())
	}
	first := w.send("POST", "/v1/plans", "engineer/user", body, api.IdempotencyKey, "one-attempt")
	again := w.send("POST", "/v1/plans", "engineer/user", body, api.IdempotencyKey, "one-attempt")
	if first.Body.String() != again.Body.String() || first.Header().Get("ETag") != again.Header().Get("ETag") || plans() != 1 {
		t.Error("the same attempt has two answers")
	}
	if rec := w.send("POST", "/v1/plans", "engineer/user", strings.Replace(body, "mask", "redact", 1), api.IdempotencyKey, "one-attempt"); rec.Code != 422 || problemOf(t, rec.Body.Bytes()).Code != "key-reused" {
		t.Errorf("another request under the key: %d %s", rec.Code, rec.Body)
	}
	if rec := w.send("POST", "/v1/plans", "engineer/user", body); rec.Code != 422 {
		t.Errorf("no key: %d", rec.Code)
	}
	// A key is its caller's own.
	if rec := w.send("POST", "/v1/plans", "operator/user", body, api.IdempotencyKey, "one-attempt"); rec.Code != 403 {
		t.Errorf("somebody else's key: %d %s", rec.Code, rec.Body)
	}
	// A failed attempt leaves its key to be used again.
	if rec := w.send("POST", "/v1/plans", "engineer/user", `{"action":"mask"}`, api.IdempotencyKey, "second-attempt"); rec.Code != 422 {
		t.Errorf("nothing to plan: %d", rec.Code)
	}
	if rec := w.send("POST", "/v1/plans", "engineer/user", body, api.IdempotencyKey, "second-attempt"); rec.Code != 201 || plans() != 2 {
		t.Errorf("after a failure: %d %s", rec.Code, rec.Body)
	}
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	path := "/v1/findings/" + w.one()
	tag := w.send("GET", path, "engineer/user", "").Header().Get("ETag")
	judge := func(key, match string) int {
		return w.send("POST", path+"/verdict", "engineer/user", `{"verdict":"true","note":"looked at it"}`, api.IdempotencyKey, key, "If-Match", match).Code
	}
	if got := judge("judge-one", tag); got != 200 {
		t.Errorf("with the tag: %d", got)
	}
	if got := judge("judge-two", tag); got != 412 {
		t.Errorf("with the old tag: %d, want 412", got)
	}
	if got := judge("judge-three", "*"); got != 200 {
		t.Errorf("with any: %d", got)
	}
}

// TestTheWholeWay walks through what a data engineer and an approver do, over a socket.
func TestTheWholeWay(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = w.web.HTTP()
	api2, err := w.app.API(web.Config{Auth: badge{w.app.Now}, Hosts: []string{srv.Listener.Addr().String()}, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api2.Close)
	srv.Config = api2.HTTP()
	srv.Start()
	defer srv.Close()
	ctx := t.Context()
	as := func(token string) *client.Client {
		cl, err := client.New(srv.URL, token)
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	engineer, approver, auditor, officer := as("engineer/user"), as("approver/user"), as("auditor/user"), as("privacy-officer/user")
	n := 0
	for f, err := range engineer.Findings(ctx, []string{"severity.gte=low", "status=open"}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Finding == "" || f.Object.ETag != "" {
			t.Errorf("finding %+v", f)
		}
		n++
	}
	if n < 10 {
		t.Errorf("%d findings", n)
	}
	values, err := engineer.Reveal(ctx, w.one(), api.RevealBody{Reason: "investigation", Note: "is it a real one?"})
	if err != nil || len(values) != 1 {
		t.Fatalf("reveal: %v", err)
	}
	index, tag, err := w.local.Index(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if index, err = w.local.SetIndex(ctx, tag, append(index.Types, values[0].Type)); err != nil || index.Job == "" {
		t.Fatalf("index: %v %+v", err, index)
	}
	var last api.Job
	for j, err := range w.local.Watch(ctx, index.Job) {
		if err != nil {
			t.Fatal(err)
		}
		last = j
	}
	if last.State != "done" {
		t.Errorf("index job: %+v", last)
	}
	hits, err := officer.Search(ctx, api.SearchBody{Value: values[0].Value})
	if err != nil || len(hits) == 0 || strings.Contains(fmt.Sprint(hits), values[0].Value) {
		t.Errorf("search: %v, %d hits", err, len(hits))
	}
	if _, err := engineer.Search(ctx, api.SearchBody{Value: values[0].Value}); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("search by an engineer: %v", err)
	}
	made, err := engineer.MakePlans(ctx, api.PlanBody{Findings: []string{w.one()}, Action: "redact"})
	if err != nil || made.Plan == nil {
		t.Fatalf("plan: %v", err)
	}
	id := made.Plan.Plan
	if _, err := engineer.Apply(ctx, id, "", api.ApplyBody{}); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("apply without approval: %v", err)
	}
	_, tag, err = approver.Plan(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engineer.Approve(ctx, id, ""); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("approval by an engineer: %v", err)
	}
	if _, err := approver.Approve(ctx, id, tag); err != nil {
		t.Fatalf("approve: %v", err)
	}
	applied, err := engineer.Apply(ctx, id, "", api.ApplyBody{Origin: "a test"})
	if err != nil || applied.Status != "applied" || !applied.Verified {
		t.Fatalf("apply: %v %+v", err, applied)
	}
	if cert, err := engineer.Certificate(ctx, id); err != nil || cert.Plan != id || len(cert.Findings) == 0 {
		t.Errorf("certificate: %v", err)
	}
	if undone, err := engineer.Undo(ctx, id); err != nil || undone.Status != "undone" {
		t.Errorf("undo: %v", err)
	}
	if _, err := auditor.Verify(ctx, api.VerifyBody{}); err != nil {
		t.Errorf("verify: %v", err)
	}
	var export bytes.Buffer
	if err := auditor.Export(ctx, url.Values{"format": {"csv"}, "action": {"remedy.*"}}, &export); err != nil || strings.Count(export.String(), "\n") < 4 {
		t.Errorf("export: %v, %d lines", err, strings.Count(export.String(), "\n"))
	}
	if _, err := engineer.Verify(ctx, api.VerifyBody{}); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("verify by an engineer: %v", err)
	}
	var refused *api.Error
	_, err = engineer.Keys(ctx)
	if !errors.As(err, &refused) || !errors.Is(err, coffer.ErrDenied) || len(refused.Problem.Ask) == 0 {
		t.Errorf("keys by an engineer: %v, want whom to ask", err)
	}
}

// TestFollowLog takes a stream of the log up where it broke off.
func TestFollowLog(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := w.app.Log.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	size, err := w.app.Log.Size()
	if err != nil || size < 20 {
		t.Fatalf("%d entries, %v", size, err)
	}
	for _, from := range []int64{0, 7, size - 3} {
		var got []int64
		for e, err := range w.local.Follow(ctx, nil, from) {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := audit.Decode(e.Entry); err != nil {
				t.Fatalf("entry %d is not as it is in the log: %v", e.Index, err)
			}
			if got = append(got, e.Index); e.Index == size-1 {
				break
			}
		}
		want := make([]int64, 0, size)
		for i := from + 1; i < size; i++ {
			want = append(want, i)
		}
		if !slices.Equal(got, want) {
			t.Errorf("from behind %d: %d entries, want %d", from, len(got), len(want))
		}
	}
	// With a filter: what it chooses, also of what comes later, and nothing else.
	denied := url.Values{"outcome": {"denied"}}
	w.send("GET", "/v1/audit/entries", "engineer/user", "")
	if err := w.app.Log.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range w.local.Follow(ctx, denied, size-1) {
		if err != nil {
			t.Fatal(err)
		}
		entry, err := audit.Decode(e.Entry)
		if err != nil || entry.Outcome != audit.Denied || entry.Action != access.AuditRead {
			t.Fatalf("entry %d: %s %s, %v", e.Index, entry.Action, entry.Outcome, err)
		}
		if n++; n == 2 {
			break
		}
		w.send("GET", "/v1/findings", "engineer/user", "") // not chosen
		w.send("GET", "/v1/audit/entries", "engineer/user", "")
		if err := w.app.Log.Sequence(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range w.local.Follow(ctx, url.Values{"colour": {"red"}}, -1) {
		if !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("a field that is none: %v", err)
		}
	}
}

func TestJobOfManyPlans(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	made, err := w.local.MakePlans(ctx, api.PlanBody{Filter: []string{"status=open", "sealed.gte=1"}, Action: "redact"})
	if err != nil || made.Job == nil {
		t.Fatalf("plans: %v %+v", err, made)
	}
	var last api.Job
	for j, err := range w.local.Watch(ctx, made.Job.Job) {
		if err != nil {
			t.Fatal(err)
		}
		last = j
	}
	if !last.Over() || last.Done < 5 || last.Done+last.Failed != last.Total {
		t.Errorf("job: %+v", last)
	}
	plans := 0
	for i, err := range w.local.Items(ctx, last.Job) {
		if err != nil {
			t.Fatal(err)
		}
		if i.State == "done" {
			if _, _, err := w.local.Plan(ctx, i.Result); err != nil {
				t.Errorf("result of %s: %v", i.Ref, err)
			}
			plans++
		}
	}
	if plans != last.Done {
		t.Errorf("%d plans, %d done", plans, last.Done)
	}
	if _, err := w.local.Cancel(ctx, last.Job); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("cancelling an ended job: %v", err)
	}
}
