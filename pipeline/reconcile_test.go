package pipeline_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/audit/audittest"
	"coffer/envelope/mem"
	"coffer/internal/awsfake/maciefake"
	"coffer/internal/fault"
	"coffer/job"
	"coffer/macie"
	"coffer/macie/live"
	"coffer/object"
	objectmem "coffer/object/mem"
	"coffer/pipeline"
	"coffer/remedy"
	storemem "coffer/store/mem"
	"coffer/triage"
)

const (
	bucket  = "moontrust-statements"
	results = "moontrust-macie-results"
)

var began = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// world is an installation on memory adapters with a Macie over HTTP's own round trip.
type world struct {
	t       testing.TB
	ctx     context.Context
	fake    *maciefake.Fake
	api     macie.API
	inj     *fault.Injector
	objects *objectmem.Store
	db      *storemem.DB
	headers *storemem.DB
	keys    *mem.Keys
	dir     string
	now     time.Time
	config  app.Config
	a       *app.App
	stopped func() // looks at what is there when a run was broken off; nil: nobody does
}

func newWorld(t testing.TB) *world {
	dir, err := os.MkdirTemp("/dev/shm", "coffer-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, ctx: context.Background(), fake: maciefake.New(), inj: fault.New(), db: &storemem.DB{}, headers: &storemem.DB{}, dir: dir, now: began}
	w.fake.Fault = w.inj
	m, err := live.Open(live.Config{
		AWS: aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIACOFFERMACIE", "secret", ""),
			HTTPClient: &http.Client{Transport: w.fake.Transport()}},
		Backoff: retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil }), Unpaced: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.api = m
	w.objects, w.keys = objectmem.New(), &mem.Keys{}
	w.objects.Now = func() time.Time { return w.now.Add(-10 * time.Minute) }
	for _, b := range []string{bucket, results, "originals"} {
		w.objects.CreateBucket(b)
	}
	w.config = app.Config{Buckets: []string{bucket}, Macie: &app.Macie{Results: "s3://" + results + "/macie"}}
	w.start()
	w.objects.Fault, w.db.Fault = w.inj, w.inj
	return w
}

func (w *world) start() {
	files, key := audittest.Parts(w.t, w.dir)
	for {
		a, err := app.Assemble(w.ctx, app.Adapters{
			Objects: w.objects, Originals: w.objects, DB: w.db, Headers: w.headers, Keys: w.keys, Macie: w.api,
			Log: files, LogKey: key,
		}, w.config, func() time.Time { return w.now })
		if err == nil {
			w.a = a
			w.t.Cleanup(func() { _ = a.Close() })
			return
		}
		if !errors.Is(err, fault.ErrInjected) && !w.inj.Dead() {
			w.t.Fatalf("start: %v", err)
		}
		w.inj.Restart()
	}
}

func (w *world) ask() access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: "timed", Name: "timed work", Kind: access.ServiceCaller, Roles: []string{access.RoleService}},
		Context: access.Context{Now: w.now},
	}
}

func (w *world) put(bucket, key string, body []byte) string {
	w.objects.Foreign().Put(bucket, key, body, object.Attrs{})
	return fmt.Sprintf("%x", md5.Sum(body))
}

// finding makes an object and a finding on it, with its discovery result where it belongs if there is to be one.
func (w *world) finding(i int, at time.Time, result bool) coffer.Finding {
	w.t.Helper()
	key := fmt.Sprintf("f/%d.csv", i)
	body := fmt.Appendf(nil, "id,bank_account_number\r\n1,%d\r\n", 1405270021+i)
	f := coffer.Finding{
		ID: fmt.Sprintf("%032x", i+1), AccountID: "111122223333", Region: "eu-central-1", Type: "SensitiveData:S3Object/Financial",
		Severity: coffer.SeverityHigh, CreatedAt: at, JobID: "j1",
		Object: coffer.Object{Bucket: bucket, Key: key, ETag: w.put(bucket, key, body)}, Size: int64(len(body)), Status: "COMPLETE", MIMEType: "text/csv",
		ResultLocation: "s3://" + results + "/macie/AWSLogs/111122223333/Macie/eu-central-1/j1/111122223333/" + fmt.Sprint(i) + ".jsonl.gz",
		Detections:     []coffer.Detection{{Type: coffer.BankAccountNumber, Category: "FINANCIAL_INFORMATION", Count: 1}},
		Occurrences:    []coffer.Occurrence{{N: 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2}, Source: coffer.FromFinding}},
	}
	if result {
		w.result(i, f)
	}
	return f
}

func (w *world) result(i int, f coffer.Finding) {
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	f.ID = fmt.Sprintf("%032x", 1<<40+i)
	_, _ = zw.Write(macie.ResultLines(f))
	_ = zw.Close()
	w.put(results, strings.TrimPrefix(f.ResultLocation, "s3://"+results+"/"), z.Bytes())
}

// event hands in the event of a finding, as the queue does.
func (w *world) event(f coffer.Finding) (pipeline.Result, error) {
	for d, err := range macie.Decode(w.ctx, bytes.NewReader(macie.Event(f))) {
		if err != nil {
			w.t.Fatal(err)
		}
		return w.a.Pipeline.TakeDocument(w.ctx, w.ask(), d, coffer.OriginOperator, "queue")
	}
	panic("no document")
}

// reconcile runs as a job does: a step that fails for a fault is done again, by a new process when the old one died.
func (w *world) reconcile(since time.Time) {
	w.t.Helper()
	var j *job.Job
	for range 40 {
		err := func() (err error) {
			if j == nil {
				steps, err := w.a.Pipeline.Reconcile(w.ctx, w.ask(), since)
				if err != nil {
					return err
				}
				if j, err = w.a.Jobs.New(w.ctx, w.ask().Caller, "event.reconcile", nil, steps); err != nil {
					return err
				}
			}
			done, err := w.a.Jobs.Run(w.ctx, j.ID, func(ctx context.Context, ref string) (string, error) {
				return w.a.Pipeline.ReconcileStep(ctx, w.ask(), ref)
			}, nil)
			if err == nil && done.State != job.Done {
				w.t.Fatalf("the job is %s: %s", done.State, done.Error)
			}
			if errors.Is(err, coffer.ErrConflict) && done != nil && done.State == job.Done {
				return nil // its end was recorded, and the answer to that was lost
			}
			return err
		}()
		if err == nil {
			return
		}
		if !errors.Is(err, fault.ErrInjected) && !errors.Is(err, coffer.ErrUnavailable) && !w.inj.Dead() {
			w.t.Fatalf("reconcile: %v", err)
		}
		w.inj.Restart()
		w.now = w.now.Add(2 * time.Minute)
		w.start()
		if w.stopped != nil {
			w.stopped()
		}
	}
	w.t.Fatal("reconcile: does not succeed after the fault is over")
}

// run does one run of which steps may fail for good, and returns how it ended.
func (w *world) run(since time.Time) *job.Job {
	w.t.Helper()
	steps, err := w.a.Pipeline.Reconcile(w.ctx, w.ask(), since)
	if err != nil {
		w.t.Fatal(err)
	}
	j, err := w.a.Jobs.New(w.ctx, w.ask().Caller, pipeline.ReconcileJob, nil, steps)
	if err != nil {
		w.t.Fatal(err)
	}
	done, err := w.a.Jobs.Run(w.ctx, j.ID, func(ctx context.Context, ref string) (string, error) {
		return w.a.Pipeline.ReconcileStep(ctx, w.ask(), ref)
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// strange is a Macie whose lists fail where fails says so.
type strange struct {
	macie.API
	lists int
	fails func(macie.Query) error
}

func (s *strange) List(ctx context.Context, q macie.Query) iter.Seq2[[]string, error] {
	s.lists++
	if err := s.fails(q); err != nil {
		return func(yield func([]string, error) bool) { yield(nil, err) }
	}
	return s.API.List(ctx, q)
}

// covers says whether a query asks for an instant.
func covers(q macie.Query, at time.Time) bool { return !at.Before(q.Since) && at.Before(q.Until) }

// TestUncompared: a time whose list cannot be read is named, is not taken for compared, and is compared by a later run, whenever that is.
func TestUncompared(t *testing.T) {
	for name, failure := range map[string]error{"limit": coffer.ErrLimit, "denied": coffer.ErrDenied, "conflict": coffer.ErrConflict} {
		for _, ago := range []time.Duration{2 * time.Hour, 40 * time.Hour, 30 * 24 * time.Hour} {
			w := newWorld(t)
			at := began.Add(-ago)
			w.fake.Put(macie.Event(w.finding(1, at, true)))
			w.fake.Put(macie.Event(w.finding(2, began.Add(-50*24*time.Hour), true)))
			m := &strange{API: w.api, fails: func(q macie.Query) error {
				if covers(q, at) {
					return failure
				}
				return nil
			}}
			w.a.Pipeline.Macie = m
			for range 2 { // the second run does not forget what the first left
				if done := w.run(time.Time{}); done.State != job.Failed || done.Failed != 1 {
					t.Fatalf("%s: the run is %s, with %d failures", name, done.State, done.Failed)
				}
				got := w.ledger()
				// The discovery result knows of the finding, too.
				if got.Retaken != 1 || got.Gaps != 2 || got.Named[1].Kind != pipeline.GapNoFinding || got.Named[0].Kind != pipeline.GapNotCompared || !covers(macie.Query{Since: got.Named[0].Time.From, Until: got.Named[0].Time.Until}, at) {
					t.Fatalf("%s, %s ago: %+v", name, ago, got)
				}
				w.now = w.now.Add(3 * time.Hour)
			}
			w.now = w.now.Add(5 * 24 * time.Hour)
			m.fails = func(macie.Query) error { return nil }
			m.lists = 0
			w.reconcile(time.Time{})
			if got := w.ledger(); got.Retaken != 2 || got.Stored != 2 || got.Gaps != 0 {
				t.Errorf("%s, %s ago, afterwards: %+v", name, ago, got)
			}
			// One window for each day that is missing, and not the 90 days again.
			if m.lists > 2*2*10 {
				t.Errorf("%s, %s ago: %d lists", name, ago, m.lists)
			}
		}
	}
}

// TestComparedAgain: what was compared within a day of its time is compared again, also when a run in between could not do it.
func TestComparedAgain(t *testing.T) {
	w := newWorld(t)
	w.reconcile(time.Time{})
	w.now = w.now.Add(2 * time.Hour)
	m := &strange{API: w.api, fails: func(q macie.Query) error {
		if covers(q, began.Add(-time.Hour)) {
			return coffer.ErrDenied
		}
		return nil
	}}
	w.a.Pipeline.Macie = m
	w.run(time.Time{})
	w.fake.Put(macie.Event(w.finding(1, began.Add(-time.Hour), true))) // shows late
	w.now = w.now.Add(30 * time.Hour)
	m.fails = func(macie.Query) error { return nil }
	w.reconcile(time.Time{})
	if got := w.ledger(); got.Retaken != 1 || got.Gaps != 0 {
		t.Errorf("%+v", got)
	}
}

// TestSince: a run over a time of the caller's choice leaves no time before it for compared.
func TestSince(t *testing.T) {
	w := newWorld(t)
	w.fake.Put(macie.Event(w.finding(1, began.Add(-10*24*time.Hour), true)))
	w.reconcile(began.Add(-2 * time.Hour))
	if got := w.ledger(); got.Listed != 0 {
		t.Errorf("%+v", got)
	}
	w.reconcile(time.Time{})
	if got := w.ledger(); got.Retaken != 1 || got.Gaps != 0 {
		t.Errorf("%+v", got)
	}
	w.now = w.now.Add(20 * 24 * time.Hour)
	w.fake.Put(macie.Event(w.finding(2, began.Add(10*24*time.Hour), true)))
	w.reconcile(w.now.Add(-time.Hour))
	w.reconcile(time.Time{})
	if got := w.ledger(); got.Retaken != 2 || got.Gaps != 0 {
		t.Errorf("%+v", got)
	}
}

// TestUnexamined: discovery results that cannot be listed are named, and examined by a later run.
func TestUnexamined(t *testing.T) {
	w := newWorld(t)
	f := w.finding(1, began.Add(-time.Hour), false)
	w.result(1, f) // and no finding
	w.a.Pipeline.Results.Bucket = "moontrust-elsewhere"
	if done := w.run(time.Time{}); done.State != job.Failed {
		t.Fatalf("the run is %s", done.State)
	}
	got := w.ledger()
	if got.Gaps < 90 || got.Named[0].Kind != pipeline.GapNotExamined {
		t.Errorf("%+v", got)
	}
	w.a.Pipeline.Results.Bucket = results
	w.now = w.now.Add(4 * 24 * time.Hour)
	w.reconcile(time.Time{})
	orphans := 0
	for _, g := range w.ledger().Named {
		if g.Kind == pipeline.GapNoFinding {
			orphans++
		} else if g.Kind != pipeline.GapNotExamined || g.Time.Until.After(w.now.Add(-macie.Retention)) { // beyond which no run reaches
			t.Errorf("afterwards: %+v, %v", g, g.Time)
		}
	}
	if orphans != 1 {
		t.Errorf("afterwards: %d objects without a finding", orphans)
	}
}

// TestSplit: a time with more findings than Macie lists is compared in parts; one that cannot be divided is named.
func TestSplit(t *testing.T) {
	w := newWorld(t)
	const n, most = 23, 4
	for i := range n {
		w.fake.Put(macie.Event(w.finding(i, began.Add(-time.Hour+time.Duration(i)*time.Second), true)))
	}
	m := &limited{w.api, most}
	w.a.Pipeline.Macie = m
	w.reconcile(began.Add(-2 * time.Hour))
	if got := w.ledger(); got.Retaken != n || got.Gaps != 0 {
		t.Errorf("%+v", got)
	}
	w = newWorld(t)
	for i := range most {
		w.fake.Put(macie.Event(w.finding(i, began.Add(-time.Hour), true)))
	}
	w.a.Pipeline.Macie = &limited{w.api, most}
	if done := w.run(began.Add(-2 * time.Hour)); done.State != job.Failed {
		t.Errorf("the run is %s", done.State)
	}
	if got := w.ledger(); got.Retaken != most || got.Gaps != 1 || got.Named[0].Kind != pipeline.GapNotCompared {
		t.Errorf("%+v", got)
	}
}

// limited is a Macie that lists at most so many findings.
type limited struct {
	macie.API
	most int
}

func (l *limited) List(ctx context.Context, q macie.Query) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		left := l.most
		for ids, err := range l.API.List(ctx, q) {
			ids = ids[:min(left, len(ids))]
			left -= len(ids)
			if !yield(ids, err) || err != nil {
				return
			}
			if left == 0 {
				yield(nil, coffer.ErrLimit)
				return
			}
		}
	}
}

// custom makes an object and a finding on it, of a custom identifier.
func (w *world) custom(i int, id, name, text string) coffer.Finding {
	f := w.finding(i, began.Add(-time.Hour), false)
	body := fmt.Appendf(nil, "note\r\n%s\r\n", text)
	f.Object.ETag, f.Size = w.put(bucket, f.Object.Key, body), int64(len(body))
	f.Detections = []coffer.Detection{{Type: coffer.DataType(name), Custom: id, Category: "CUSTOM_IDENTIFIER", Count: 1}}
	f.Occurrences[0].Type, f.Occurrences[0].Custom = coffer.DataType(name), id
	f.Occurrences[0].At = coffer.Location{Kind: coffer.Cell, Row: 2, Column: 1}
	w.fake.Put(macie.Event(f))
	return f
}

func (w *world) outcome(f coffer.Finding) (coffer.Outcome, *triage.Record) {
	w.t.Helper()
	rec, err := w.a.Records.Get(w.ctx, f.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := w.a.Records.Lines(w.ctx, f.ID)
	if err != nil || len(lines) != 1 {
		w.t.Fatalf("%d lines, %v", len(lines), err)
	}
	return lines[0].Outcome, rec
}

const ticketID = "0f3a6c1e-5b7d-4e2f-9a81-3c5d7e9f1b20"

func ticket(regex string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"name":"ticket","regex":%q,"maximumMatchDistance":50}`, ticketID, regex)
}

// TestIdentifiers: what a custom identifier of a finding means is asked of Macie once, and the fix, its verification and the check find by
// the same definition, whatever is configured or known by then.
func TestIdentifiers(t *testing.T) {
	w := newWorld(t)
	w.fake.PutIdentifier(ticketID, ticket("T-[0-9]{6}"))
	one, two := w.custom(1, ticketID, "ticket", "see T-140527 for it"), w.custom(2, "arn:aws:macie2:eu-central-1:111122223333:custom-data-identifier/"+ticketID, "ticket", "T-140528")
	w.reconcile(began.Add(-2 * time.Hour))
	for _, f := range []coffer.Finding{one, two} {
		got, rec := w.outcome(f)
		if got != coffer.OutcomeExact || rec.State != triage.StateSealed || rec.Reason != "" || len(rec.Identifiers) != 1 {
			t.Errorf("%s: %s, %+v", f.Object.Key, got, rec)
		}
	}
	if n := w.fake.Calls("GetCustomDataIdentifier"); n > 4 { // two, and two of the schedule
		t.Errorf("Macie was asked %d times", n)
	}
	// Another process, in which the identifier is configured as something else, and while Macie says something else.
	w.fake.PutIdentifier(ticketID, ticket("[A-Z]-[0-9]{3}"))
	w.config.Identifiers = []app.Identifier{{Name: "ticket", ID: ticketID, Regex: "see"}}
	w.start()
	groups, err := w.a.Remedy.Groups(w.ctx, one.ID)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.a.Remedy.Plan(w.ctx, w.ask2(), groups[0], remedy.Options{Action: remedy.Redact})
	if err == nil {
		plan, err = w.a.Remedy.Apply(w.ctx, w.ask2(), plan.ID, remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"})
	}
	if err != nil || plan.State != remedy.Applied || plan.Changes != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	body, err := w.objects.Open(w.ctx, coffer.Object{Bucket: bucket, Key: one.Object.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err != nil || string(text) != "note\r\nsee REDACTED for it\r\n" {
		t.Errorf("%d bytes are left, %v", len(text), err)
	}
	// A finding that comes now is read by what is configured now.
	three := w.custom(3, ticketID, "ticket", "see T-140529 for it")
	if _, err := w.event(three); err != nil {
		t.Fatal(err)
	}
	_, was := w.outcome(two)
	if got, rec := w.outcome(three); got != coffer.OutcomeExact || rec.Identifiers[ticketID] == "" || rec.Identifiers[ticketID] == was.Identifiers[two.Detections[0].Custom] {
		t.Errorf("%s, %+v", got, rec.Identifiers)
	}
}

// TestUndefined: an identifier without a definition is named with its reason, its values are whole places, and it is asked for again;
// while Macie cannot answer nothing is taken in.
func TestUndefined(t *testing.T) {
	for problem, set := range map[string]func(*world){
		"Macie does not have it":                          func(*world) {},
		"macie2:GetCustomDataIdentifier is not permitted": func(w *world) { w.fake.Deny("GetCustomDataIdentifier", true) },
		"regex does not compile":                          func(w *world) { w.fake.PutIdentifier(ticketID, ticket(`T-\d++(?<=1)`)) },
		"is not the JSON of GetCustomDataIdentifier":      func(w *world) { w.fake.PutIdentifier(ticketID, []byte(`[]`)) },
	} {
		w := newWorld(t)
		set(w)
		f := w.custom(1, ticketID, "ticket", "see T-140527 and other words")
		if res, err := w.event(f); err != nil || res.Status != pipeline.Sealed || !strings.Contains(res.Reason, "custom identifier ticket: ") || !strings.Contains(res.Reason, problem) {
			t.Errorf("%s: %+v, %v", problem, res, err)
		}
		got, rec := w.outcome(f)
		if v, ok := rec.Identifiers[ticketID]; got == coffer.OutcomeExact && rec.Sealed != 1 || !ok || v != "" {
			t.Errorf("%s: %s, %+v", problem, got, rec.Identifiers)
		}
		asked := w.fake.Calls("GetCustomDataIdentifier")
		if _, err := w.event(w.custom(2, ticketID, "ticket", "see T-140528 and other words")); err != nil || w.fake.Calls("GetCustomDataIdentifier") != asked {
			t.Errorf("%s: asked again at once: %v", problem, err)
		}
		w.fake.Deny("GetCustomDataIdentifier", false)
		w.fake.PutIdentifier(ticketID, ticket("T-[0-9]{6}"))
		w.now = w.now.Add(10 * time.Minute)
		w.reconcile(began.Add(-time.Minute)) // the schedule
		late := w.custom(3, ticketID, "ticket", "see T-140529 and other words")
		if _, err := w.event(late); err != nil {
			t.Fatal(err)
		}
		if got, rec := w.outcome(late); got != coffer.OutcomeExact || rec.Reason != "" {
			t.Errorf("%s, afterwards: %s, %q", problem, got, rec.Reason)
		}
	}
	w := newWorld(t)
	f := w.custom(1, ticketID, "ticket", "see T-140527 for it")
	w.fake.Fail("ThrottlingException", 100, "GetCustomDataIdentifier")
	if _, err := w.event(f); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("throttled: %v", err)
	}
	if rec, err := w.a.Records.Get(w.ctx, f.ID); err != nil || rec.State != triage.StateReceived {
		t.Errorf("throttled: %+v, %v", rec, err)
	}
}

// ledger returns the sum of all days, and looks at what always holds.
func (w *world) ledger() pipeline.Day {
	w.t.Helper()
	var sum pipeline.Day
	w.inj.Aside(func() {
		l, err := w.a.Pipeline.Ledger(w.ctx, w.ask2(), time.Time{})
		if err != nil {
			w.t.Fatal(err)
		}
		sum = l.Sum()
		stored := 0
		for s, err := range w.a.Records.All(w.ctx) {
			if err != nil {
				w.t.Fatal(err)
			}
			if s.Origin == coffer.OriginMacie {
				stored++
			}
		}
		if sum.Events+sum.Retaken != sum.Stored || sum.Stored != stored {
			w.t.Errorf("%d events and %d re-taken make %d stored; the store has %d", sum.Events, sum.Retaken, sum.Stored, stored)
		}
		if sum.Gaps != len(sum.Named) && sum.Gaps <= 1000 {
			w.t.Errorf("%d gaps, %d of them named", sum.Gaps, len(sum.Named))
		}
	})
	return sum
}

func (w *world) ask2() access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: "op-1", Name: "tester", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}},
		Context: access.Context{Now: w.now, Local: true},
	}
}

func same(a, b pipeline.Day) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// TestLedger: what came, what did not, what is suppressed, an example, gone, or without result, each counted and named.
func TestLedger(t *testing.T) {
	w := newWorld(t)
	at := began.Add(-3 * time.Hour)
	var all []coffer.Finding
	for i := range 8 {
		all = append(all, w.finding(i, at.Add(time.Duration(i)*time.Minute), i != 2))
		w.fake.Put(macie.Event(all[i]))
	}
	w.fake.Change(all[3].ID, map[string]any{"archived": true})
	w.fake.Change(all[4].ID, map[string]any{"sample": true})
	w.fake.Forget(all[5].ID)
	w.result(100, w.finding(100, at, false)) // analysed, and Macie has no finding
	for _, i := range []int{0, 1} {
		if res, err := w.event(all[i]); err != nil || res.Status != pipeline.Sealed {
			t.Fatalf("event %d: %+v, %v", i, res, err)
		}
	}
	w.reconcile(time.Time{})
	got := w.ledger()
	if got.Events != 2 || got.Retaken != 3 || got.Listed != 8 || got.Suppressed != 1 || got.Samples != 1 || got.Results != 5 || got.Classified != 8 {
		t.Errorf("%+v", got)
	}
	kinds := map[pipeline.GapKind]string{}
	for _, g := range got.Named {
		kinds[g.Kind] += g.Finding
		if g.Object != nil {
			kinds[g.Kind] += g.Object.Key
		}
	}
	// Of the results, two are about objects whose findings Macie has no more, or has as samples.
	orphans := 0
	for _, key := range []string{"f/4.csv", "f/5.csv", "f/100.csv"} {
		orphans += strings.Count(kinds[pipeline.GapNoFinding], key)
	}
	if len(got.Named) != 5 || orphans != 3 || kinds[pipeline.GapGone] != all[5].ID || kinds[pipeline.GapNoResult] != all[2].ID {
		t.Errorf("gaps: %v", got.Named)
	}
	// Again, and with every event late: nothing changes.
	w.now = w.now.Add(time.Hour)
	for i := range 8 {
		if i != 3 && i != 4 && i != 5 {
			if _, err := w.event(all[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reconcile(time.Time{})
	again := w.ledger()
	if again.AsOf = got.AsOf; !same(again, got) {
		t.Errorf("again: %+v, was %+v", again, got)
	}
	for s := range w.a.Records.All(w.ctx) {
		if s.Origin != coffer.OriginMacie || s.Sealed != 1 {
			t.Errorf("record %+v", s)
		}
	}
}

// TestEventIsNotBelieved: what a service hands in and Macie does not know is submitted and not read; what Macie knows is taken in as
// Macie says it, whatever the event said; without Macie nothing is.
func TestEventIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	f := w.finding(1, began.Add(-time.Hour), true)
	forged := w.finding(2, began.Add(-time.Hour), false)
	w.fake.Put(macie.Event(f))
	w.objects.Fault = nil
	res, err := w.event(forged)
	if err != nil || res.Status != pipeline.Skipped || res.Sealed != 0 {
		t.Errorf("forged: %+v, %v", res, err)
	}
	rec, err := w.a.Records.Get(w.ctx, forged.ID)
	if err != nil || rec.Finding.Origin != coffer.OriginSubmitted || !rec.Unconfirmed() || rec.Read != nil {
		t.Errorf("forged record: %+v, %v", rec, err)
	}
	lie := f
	lie.Object = forged.Object
	if res, err = w.event(lie); err != nil || res.Status != pipeline.Sealed || res.Object.Key != f.Object.Key {
		t.Errorf("an event that lies about its object: %+v, %v", res, err)
	}
	g := w.finding(3, began.Add(-time.Hour), true)
	w.fake.Put(macie.Event(g))
	w.fake.Fail("ThrottlingException", 100, "GetFindings")
	if _, err := w.event(g); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("throttled: %v", err)
	}
	if _, err := w.a.Records.Get(w.ctx, g.ID); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("something was taken in: %v", err)
	}
	// When Macie comes to know what was submitted, the next run takes it in.
	w.fake.Fail("ThrottlingException", 0)
	w.fake.Put(macie.Event(forged))
	w.reconcile(time.Time{})
	if rec, err = w.a.Records.Get(w.ctx, forged.ID); err != nil || rec.Finding.Origin != coffer.OriginMacie || rec.Sealed != 1 {
		t.Errorf("confirmed by Macie: %+v, %v", rec, err)
	}
	if got := w.ledger(); got.Events != 1 || got.Retaken != 2 {
		t.Errorf("%+v", got)
	}
}

// TestRetakenInBulk: every number of findings around a page, in any mix with events, adds up.
func TestRetakenInBulk(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 51, 101} {
		w := newWorld(t)
		for i := range n {
			f := w.finding(i, began.Add(-20*24*time.Hour+time.Duration(i)*3*time.Hour), true)
			w.fake.Put(macie.Event(f))
			if i%3 == 0 {
				if _, err := w.event(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.reconcile(time.Time{})
		got := w.ledger()
		if got.Events != (n+2)/3 || got.Stored != n || got.Results != n || got.Gaps != 0 {
			t.Errorf("%d findings: %+v", n, got)
		}
	}
}

// TestMovingList: a finding that is archived or changed between two pages moves all behind it; none of them is lost.
func TestMovingList(t *testing.T) {
	w := newWorld(t)
	var all []coffer.Finding
	for i := range 120 {
		all = append(all, w.finding(i, began.Add(-2*time.Hour+time.Duration(i)*time.Second), true))
		w.fake.Put(macie.Event(all[i]))
	}
	w.fake.Before = func(op string, n int) {
		if op == "ListFindings" && n == 2 {
			w.fake.Change(all[0].ID, map[string]any{"archived": true})
			w.fake.Change(all[1].ID, map[string]any{"updatedAt": began.Add(-time.Hour).Format(time.RFC3339)})
		}
	}
	w.reconcile(began.Add(-3 * time.Hour))
	got := w.ledger()
	if got.Retaken != 120 || got.Stored != 120 || got.Gaps != 0 {
		t.Errorf("%+v", got)
	}
	// Changed after it was taken in: said, and not a silent difference.
	w.now = w.now.Add(time.Hour)
	w.fake.Change(all[7].ID, map[string]any{"updatedAt": began.Add(30 * time.Minute).Format(time.RFC3339)})
	w.reconcile(time.Time{})
	// So is the one that was changed while it was listed.
	if got = w.ledger(); got.Gaps != 2 || got.Named[0] != (pipeline.Gap{Kind: pipeline.GapChanged, Finding: all[1].ID}) ||
		got.Named[1] != (pipeline.Gap{Kind: pipeline.GapChanged, Finding: all[7].ID}) {
		t.Errorf("%+v", got)
	}
}

// TestFaults: the run is broken at each of its calls, before and after the effect, and the process killed there; what comes out is the same.
func TestFaults(t *testing.T) {
	story := func(w *world) pipeline.Day {
		at := began.Add(-time.Hour)
		for i := range 3 {
			f := w.finding(i, at.Add(time.Duration(i)*time.Second), i != 2)
			w.fake.Put(macie.Event(f))
		}
		w.fake.Change(fmt.Sprintf("%032x", 2), map[string]any{"archived": true})
		w.inj.Arm()
		return pipeline.Day{}
	}
	w := newWorld(t)
	story(w)
	before := w.inj.Calls()
	w.reconcile(began.Add(-2 * time.Hour))
	calls := w.inj.Calls() - before
	want := w.ledger()
	if want.Retaken != 2 || want.Suppressed != 1 || want.Gaps != 1 || want.Results != 2 {
		t.Fatalf("%+v", want)
	}
	stride := 11
	if os.Getenv("COFFER_TEST_FULL") != "" {
		stride = 1
	}
	n := 0
	for k := 1; k <= calls; k += stride {
		for _, f := range []fault.Fault{{Call: k}, {Call: k, When: fault.After}, {Call: k, Crash: true}, {Call: k, When: fault.After, Crash: true}} {
			w := newWorld(t)
			story(w)
			w.inj.Arm(f)
			w.reconcile(began.Add(-2 * time.Hour))
			got := w.ledger()
			if got.AsOf = want.AsOf; !same(got, want) {
				t.Errorf("%s: %+v, want %+v", f, got, want)
			}
			n++
		}
	}
	t.Logf("%d calls, %d faults", calls, n)
}

// TestTenThousand: ten thousand findings over ten days are compared with as few calls as their pages take, while every fourth call is
// throttled; a process that is killed in the middle leaves to the next one the days that it has not done; a second run reads what is of the
// last day alone. One in fifty is to be taken in, all with COFFER_TEST_FULL=1; the others are examples of Macie's.
func TestTenThousand(t *testing.T) {
	const n, days, of = 10_000, 10, 50
	take := n / of
	w := newWorld(t)
	for i := range n {
		f := w.finding(i, began.Add(-days*24*time.Hour-time.Hour+time.Duration(i)*days*24*time.Hour/n), false)
		f.ResultLocation = ""
		w.fake.Put(macie.Event(f))
		if i%of != 0 && os.Getenv("COFFER_TEST_FULL") == "" {
			w.fake.Change(f.ID, map[string]any{"sample": true})
		}
	}
	if os.Getenv("COFFER_TEST_FULL") != "" {
		take = n
	}
	all, throttled := 0, 0
	w.fake.Before = func(op string, _ int) {
		if all++; all%4 == 0 {
			throttled++
			w.fake.Fail("ThrottlingException", 1, op)
		}
	}
	// Killed in the middle of a page of the sixth day.
	read := 0
	w.a.Pipeline.Macie = &killed{API: w.api, after: n / 2, read: &read, die: func() { w.inj.Arm(fault.Fault{Call: w.inj.Calls() + 5, Crash: true}) }}
	w.reconcile(time.Time{})
	got := w.ledger()
	if got.Listed != n || got.Retaken != take || got.Samples != n-take || got.Gaps != take { // none has a result
		t.Errorf("%d listed, %d re-taken, %d samples, %d gaps", got.Listed, got.Retaken, got.Samples, got.Gaps)
	}
	lists, gets := w.fake.Calls("ListFindings"), w.fake.Calls("GetFindings")
	// Every page is listed twice, for what moves meanwhile, and read once; the day that was broken off once more. Each of the 91 days has a
	// list of what is archived, too, and ends with a page that is not full.
	const pages = n / macie.MaxIDs
	if most := (2*pages + 2*(pages/days+1) + 4*91) * 4 / 3; lists > most {
		t.Errorf("%d lists, at most %d", lists, most)
	}
	if most := (pages + pages/days + 4*(days+2)) * 4 / 3; gets > most {
		t.Errorf("%d reads, at most %d", gets, most)
	}
	t.Logf("%d lists, %d reads, %d of them throttled", lists, gets, throttled)
	w.now = w.now.Add(time.Hour)
	w.reconcile(time.Time{})
	if again := w.ledger(); again.Retaken != got.Retaken || again.Listed != got.Listed {
		t.Errorf("a second run: %d listed, %d re-taken", again.Listed, again.Retaken)
	}
	if l, g := w.fake.Calls("ListFindings")-lists, w.fake.Calls("GetFindings")-gets; l > (2*pages/days+20)*4/3 || g > (pages/days+10)*4/3 {
		t.Errorf("a second run: %d lists, %d reads", l, g)
	}
}

// killed is a Macie that has the process die some calls after it has read so many findings.
type killed struct {
	macie.API
	after int
	read  *int
	die   func()
}

func (k *killed) Findings(ctx context.Context, ids []string) (map[string]macie.Document, error) {
	out, err := k.API.Findings(ctx, ids)
	if before := *k.read; before < k.after && before+len(out) >= k.after {
		k.die()
	}
	*k.read += len(out)
	return out, err
}

// TestAccountsAndRegions: the findings of member accounts, whose results stand under their own account or under the administrator's, are
// taken in; results of another Region's Macie in the same bucket are not missed here, and an event of its is not believed.
func TestAccountsAndRegions(t *testing.T) {
	w := newWorld(t)
	w.a.Pipeline.Results.Region = "eu-central-1"
	member := w.finding(1, began.Add(-time.Hour), false)
	member.AccountID = "444455556666"
	member.ResultLocation = strings.ReplaceAll(member.ResultLocation, "/111122223333/1.", "/444455556666/1.")
	w.result(1, member)
	w.fake.Put(macie.Event(member))
	orphan := w.finding(2, began.Add(-time.Hour), true) // of this Region, and no finding
	elsewhere := w.finding(3, began.Add(-time.Hour), false)
	elsewhere.Region = "us-east-1"
	elsewhere.ResultLocation = strings.ReplaceAll(elsewhere.ResultLocation, "/eu-central-1/", "/us-east-1/")
	w.result(3, elsewhere)
	if res, err := w.event(elsewhere); err != nil || res.Status != pipeline.Skipped || res.Sealed != 0 ||
		!strings.Contains(res.Reason, "a finding of us-east-1, and this installation asks Macie in eu-central-1") {
		t.Errorf("an event of another Region: %+v, %v", res, err)
	}
	if _, a := w.seen(elsewhere.ID); !strings.Contains(a.Reason, "us-east-1") {
		t.Errorf("what came in: %q", a.Reason)
	}
	forged := w.finding(4, began.Add(-time.Hour), false)
	forged.Region = "1405270021"
	if res, err := w.event(forged); err != nil || res.Status != pipeline.Skipped || !strings.Contains(res.Reason, "of another Region") || strings.Contains(res.Reason, forged.Region) {
		t.Errorf("an event of no Region: %s, %v", res.Status, err)
	}
	w.reconcile(began.Add(-2 * time.Hour))
	got := w.ledger()
	if got.Retaken != 1 || got.Results != 1 || got.Classified != 2 || got.Gaps != 1 || got.Named[0].Kind != pipeline.GapNoFinding ||
		got.Named[0].Object.Key != orphan.Object.Key {
		t.Errorf("%+v", got)
	}
	if rec, err := w.a.Records.Get(w.ctx, member.ID); err != nil || rec.Finding.AccountID != "444455556666" || rec.Sealed != 1 {
		t.Errorf("%+v, %v", rec, err)
	}
}
