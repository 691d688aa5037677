package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"coffer"
	"coffer/api"
	"coffer/internal/awsfake/maciefake"
	"coffer/macie"
	"coffer/macie/live"
	"coffer/pipeline"
)

// compared gives a world a Macie which has five findings of an hour ago: one that came as an event, one that never came, one that is
// suppressed, a sample, and one that it lists and does not have. It returns the ids of the first and the last.
func (w *world) compared(f *maciefake.Fake) (came, gone string) {
	w.Helper()
	m, err := live.Open(live.Config{
		AWS: aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIACOFFERMACIE", "secret", ""),
			HTTPClient: &http.Client{Transport: f.Transport()}},
		Backoff: retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil }), Unpaced: true,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.app.Pipeline.Macie = m
	at := w.app.Now().Add(-time.Hour)
	var events [][]byte
	var ids []string
	for i, x := range []map[string]any{{}, {}, {"archived": true}, {"sample": true}, {}} {
		id := strings.Repeat("c", 31) + string(rune('0'+i))
		events, ids = append(events, macie.Event(coffer.Finding{
			ID: id, AccountID: "111122223333", Region: "eu-central-1", Type: "SensitiveData:S3Object/Financial", Severity: coffer.SeverityHigh,
			CreatedAt: at.Add(time.Duration(i) * time.Second), Object: coffer.Object{Bucket: "moontrust-statements", Key: "ledger/" + id + ".csv", ETag: "e"},
			Size: 10, Status: "COMPLETE", MIMEType: "text/csv",
			Detections:  []coffer.Detection{{Type: coffer.BankAccountNumber, Category: "FINANCIAL_INFORMATION", Count: 1}},
			Occurrences: []coffer.Occurrence{{N: 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2}, Source: coffer.FromFinding}},
		})), append(ids, id)
		f.Put(events[i])
		if len(x) > 0 {
			f.Change(id, x)
		}
	}
	f.Forget(ids[4])
	for _, err := range w.local.Ingest(w.Context(), bytes.NewReader(events[0]), "", false) {
		if err != nil {
			w.Fatal(err)
		}
	}
	return ids[0], ids[4]
}

// reconcile does a run, of which each step may fail for good.
func (w *world) reconcile() {
	w.Helper()
	ask := w.app.Service("test", "run")
	steps, err := w.app.Pipeline.Reconcile(w.Context(), ask, time.Time{})
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range steps {
		if _, err := w.app.Pipeline.ReconcileStep(w.Context(), ask, s); err != nil {
			w.Logf("%s: %v", s, err)
		}
	}
}

// ledgerOf returns the ledger as somebody sees it.
func (w *world) ledgerOf(token string) api.Ledger {
	w.Helper()
	rec := w.send("GET", "/v1/intake/ledger", token, "")
	var l api.Ledger
	if err := json.Unmarshal(rec.Body.Bytes(), &l); rec.Code != http.StatusOK || err != nil {
		w.Fatalf("%s: %d %s %v", token, rec.Code, rec.Body, err)
	}
	return l
}

// TestLedger: the ledger says when there is no Macie, when it was never compared, and what the comparison came to, with the gaps by name, to
// whoever may see that findings exist and to nobody else; who may not start a run is refused.
func TestLedger(t *testing.T) {
	w := newWorld(t)
	if l := w.ledgerOf("engineer/user"); l.Configured || len(l.Days) != 0 || !l.Until.IsZero() {
		t.Errorf("without a Macie: %+v", l)
	}
	f := maciefake.New()
	came, gone := w.compared(f)
	if l := w.ledgerOf("engineer/user"); !l.Configured || !l.Until.IsZero() || !l.Finished.IsZero() {
		t.Errorf("never compared: %+v", l)
	}
	w.reconcile()
	for _, role := range []string{"engineer", "approver", "auditor", "privacy-officer", "platform", "responder"} {
		l := w.ledgerOf(role + "/user")
		s := l.Sum
		if s.Events != 1 || s.Retaken != 1 || s.Stored != 2 || s.Listed != 5 || s.Suppressed != 1 || s.Samples != 1 || s.Results != 0 || l.Until.IsZero() {
			t.Errorf("%s: %+v", role, l)
		}
		named := false
		for _, g := range s.Named {
			named = named || g.Kind == string(pipeline.GapGone) && g.Finding == gone && g.Means != ""
		}
		if !named || s.Gaps != len(s.Named) {
			t.Errorf("%s: %d gaps: %+v", role, s.Gaps, s.Named)
		}
	}
	for _, token := range []string{"", "stranger", "nobody/user", "service/user", "operator/operator"} {
		rec := w.send("GET", "/v1/intake/ledger", token, "")
		if rec.Code < 400 || strings.Contains(rec.Body.String(), came) || strings.Contains(rec.Body.String(), gone) {
			t.Errorf("%q: %d %s", token, rec.Code, rec.Body)
		}
	}
	for token, want := range map[string]int{"": 401, "auditor/user": 403, "engineer/user": 403, "approver/user": 403, "platform/user": 202} {
		if rec := w.send("POST", "/v1/intake/reconcile", token, `{}`, api.IdempotencyKey, "key-"+token); rec.Code != want {
			t.Errorf("a run by %q: %d %s, want %d", token, rec.Code, rec.Body, want)
		}
	}
	// A day of before since is left out.
	l := w.ledgerOf("engineer/user")
	rec := w.send("GET", "/v1/intake/ledger?since="+w.app.Now().Add(48*time.Hour).UTC().Format(time.RFC3339), "engineer/user", "")
	var later api.Ledger
	if err := json.Unmarshal(rec.Body.Bytes(), &later); err != nil || len(later.Days) != 0 || len(l.Days) == 0 {
		t.Errorf("%d days, later %d, %v", len(l.Days), len(later.Days), err)
	}
}

// TestLedgerInThePortal: the overview compares with Macie when there is one; a time that was never compared, or could not be, is not shown as
// one without gaps; gaps are named and lead to their finding.
func TestLedgerInThePortal(t *testing.T) {
	p := newPortal(t, "engineer", "platform")
	v := p.visitor()
	v.signIn("engineer")
	if body := v.get("/overview"); strings.Contains(body, "Compared with Macie") || strings.Contains(body, "Not accounted for") {
		t.Error("compared without a Macie")
	}
	f := maciefake.New()
	_, gone := p.compared(f)
	never := v.get("/overview")
	if !strings.Contains(never, "Not compared with Macie yet") || !strings.Contains(never, `href="#intake">–</a>`) {
		t.Error("never compared, and it is not said")
	}
	f.Deny("ListFindings", true)
	p.reconcile()
	if body := v.get("/overview"); !strings.Contains(body, "could not be read to its end") || !strings.Contains(body, " to ") || strings.Contains(body, `href="#intake">0</a>`) {
		t.Error("a time that could not be compared is not named")
	}
	f.Deny("ListFindings", false)
	p.reconcile()
	body := v.get("/overview")
	for _, want := range []string{"Compared with Macie, until", "Listed by Macie", "Came as events", "Taken from Macie&#39;s list", "does not have the finding", gone[:8]} {
		if !strings.Contains(body, want) {
			t.Errorf("the overview has no %q", want)
		}
	}
	out := p.visitor()
	if res, body := out.ask(http.MethodGet, "/overview", nil); res.Request.URL.Path != "/sign-in" || strings.Contains(body, "Compared with Macie") {
		t.Errorf("who is not signed in comes to %s", res.Request.URL.Path)
	}
}
