package pipeline_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/app"
	"coffer/check"
	"coffer/internal/fault"
	"coffer/macie"
	"coffer/object"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
)

// A value without a digit, that nobody can tell from what stands around it without a definition.
const (
	password      = "QX AZURE"
	passwordRegex = "QX [A-Z]{5}"
	sentence      = "tell them " + password + " and nothing else"
)

// waiting makes findings that were taken in while their identifier had no definition, which there is by now.
func (w *world) waiting(n int) []coffer.Finding {
	w.t.Helper()
	w.fake.Deny("GetCustomDataIdentifier", true)
	w.fake.PutIdentifier(ticketID, ticket(passwordRegex))
	var all []coffer.Finding
	for i := range n {
		all = append(all, w.custom(i, ticketID, "ticket", sentence))
		if _, err := w.event(all[i]); err != nil {
			w.t.Fatal(err)
		}
		if got, rec := w.outcome(all[i]); got != coffer.OutcomeRegion || rec.Sealed != 1 {
			w.t.Fatalf("%s, %+v", got, rec)
		}
	}
	w.fake.Deny("GetCustomDataIdentifier", false)
	w.now = w.now.Add(10 * time.Minute)
	return all
}

// sealed is what is sealed of a finding with one value.
func (w *world) sealed(f coffer.Finding) string {
	w.t.Helper()
	ask := w.ask2()
	ask.Context.Reason, ask.Context.Note = "audit", "a test of what is sealed"
	got, err := w.a.Vault.Reveal(w.ctx, ask, f.ID)
	if err != nil || len(got) != 1 {
		w.t.Fatalf("%d values, %v", len(got), err)
	}
	defer got[0].Plain.Wipe()
	return string(got[0].Plain.Expose())
}

// body is what stands in the object of a finding now.
func (w *world) body(f coffer.Finding) string {
	w.t.Helper()
	b, err := w.objects.Open(w.ctx, coffer.Object{Bucket: bucket, Key: f.Object.Key})
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// clean looks at every invariant, and that nothing waits and no generation is left.
func (w *world) clean() {
	w.t.Helper()
	report, err := check.Run(w.ctx, w.a.CheckParts(), w.ask2(), check.Options{})
	if err != nil || len(report.Violations)+len(report.Litter) > 0 {
		w.t.Errorf("%+v, %v", report, err)
	}
	for it, err := range w.db.Scan(w.ctx, 0, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.HasPrefix(it.Key.Part, "CW#") {
			w.t.Errorf("%s waits", it.Key.Sort)
		}
	}
	for s, err := range w.a.Records.All(w.ctx) {
		if err != nil {
			w.t.Fatal(err)
		}
		if rec, err := w.a.Records.Get(w.ctx, s.ID); err != nil || len(rec.Stale) > 0 {
			w.t.Errorf("%+v, %v", rec, err)
		}
	}
}

// TestDefinedLater: what was sealed as a whole place is sealed as the value when its identifier comes to be known; not where somebody has
// judged it, and not where the object is another one.
func TestDefinedLater(t *testing.T) {
	w := newWorld(t)
	all := w.waiting(4)
	if _, err := w.a.Desk.Judge(w.ctx, w.ask2(), triage.Target{Finding: all[1].ID}, triage.True, "seen by a person"); err != nil {
		t.Fatal(err)
	}
	w.objects.Foreign().Put(bucket, all[2].Object.Key, []byte("note\r\nanother\r\n"), object.Attrs{})
	w.reconcile(began.Add(-time.Minute))
	for i, f := range all {
		want, text, version := coffer.OutcomeExact, password, true
		if i == 1 || i == 2 {
			want, text, version = coffer.OutcomeRegion, sentence, false
		}
		got, rec := w.outcome(f)
		if got != want || (rec.Identifiers[ticketID] != "") != version || rec.Sealed != 1 {
			t.Errorf("finding %d: %s, %+v", i, got, rec)
		}
		if w.sealed(f) != text {
			t.Errorf("finding %d: what is sealed is not what it is to be", i)
		}
		if version && rec.Reason != "" {
			t.Errorf("finding %d: %q", i, rec.Reason)
		}
	}
	w.clean()
	boxes := 0
	for it, err := range w.db.Query(w.ctx, "V#"+all[0].ID, store.Range{}) {
		t.Errorf("%v, %v", it.Key, err)
	}
	for it, err := range w.db.Scan(w.ctx, 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(it.Key.Part, "V#"+all[0].ID+"#") {
			boxes++
		}
	}
	if boxes == 0 {
		t.Error("no sealed values")
	}
	// Again, and by an event that comes again: nothing changes.
	_, was := w.outcome(all[0])
	w.reconcile(began.Add(-time.Minute))
	if _, err := w.event(all[0]); err != nil {
		t.Fatal(err)
	}
	if _, now := w.outcome(all[0]); now.Generation != was.Generation || now.Revision != was.Revision {
		t.Errorf("changed again: %+v", now)
	}
}

// TestDefinedAfterAPlan: a fix that was planned on the whole place, which is not what is sealed any more, takes nothing; one that is planned
// afterwards takes the value alone, and can be undone.
func TestDefinedAfterAPlan(t *testing.T) {
	w := newWorld(t)
	f := w.waiting(1)[0]
	plan := func() *remedy.Plan {
		groups, err := w.a.Remedy.Groups(w.ctx, f.ID)
		if err != nil {
			t.Fatal(err)
		}
		p, err := w.a.Remedy.Plan(w.ctx, w.ask2(), groups[0], remedy.Options{Action: remedy.Redact})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	body := func() string { return w.body(f) }
	old := plan()
	w.reconcile(began.Add(-time.Minute))
	if w.sealed(f) != password {
		t.Error("it was not taken in again")
	}
	closing := remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"}
	done, err := w.a.Remedy.Apply(w.ctx, w.ask2(), old.ID, closing)
	if err != nil || done.State != remedy.Conflict || !strings.Contains(done.Reason, "found anew") || body() != "note\r\n"+sentence+"\r\n" {
		t.Fatalf("%+v, %v", done, err)
	}
	w.clean()
	next := plan()
	done, err = w.a.Remedy.Apply(w.ctx, w.ask2(), next.ID, closing)
	if err != nil || done.State != remedy.Applied || body() != "note\r\ntell them REDACTED and nothing else\r\n" {
		t.Errorf("%+v, %v", done, err)
	}
	w.clean()
	if _, err := w.a.Remedy.Undo(w.ctx, w.ask2(), next.ID); err != nil || body() != "note\r\n"+sentence+"\r\n" {
		t.Error(err)
	}
	w.clean()
}

// TestAgainFaults: at each call of taking a finding in again, before and after its effect, and with the process killed there: what is sealed
// can be read all the time, and in the end it is the value alone.
func TestAgainFaults(t *testing.T) {
	w := newWorld(t)
	w.waiting(1)
	w.inj.Arm()
	before := w.inj.Calls()
	w.reconcile(w.now.Add(-6 * time.Minute))
	calls := w.inj.Calls() - before
	stride := 5
	if os.Getenv("COFFER_TEST_FULL") != "" {
		stride = 1
	}
	n := 0
	for k := 1; k <= calls; k += stride {
		for _, x := range []fault.Fault{{Call: k}, {Call: k, When: fault.After}, {Call: k, Crash: true}, {Call: k, When: fault.After, Crash: true}} {
			w := newWorld(t)
			f := w.waiting(1)[0]
			w.inj.Arm(x)
			w.stopped = func() {
				w.inj.Aside(func() {
					if got := w.sealed(f); got != sentence && got != password {
						t.Errorf("%s: what is sealed cannot be read", x)
					}
				})
			}
			w.reconcile(w.now.Add(-6 * time.Minute))
			w.inj.Arm()       // a call that was not made
			if w.inj.Dead() { // with the last one
				w.inj.Restart()
				w.start()
			}
			if got, _ := w.outcome(f); got != coffer.OutcomeExact || w.sealed(f) != password {
				t.Errorf("%s: %s", x, got)
			}
			w.clean()
			n++
		}
	}
	t.Logf("%d calls, %d faults", calls, n)
}

// comes hands in the event of a finding to a process, which takes it in again.
func (w *world) comes(a *app.App, f coffer.Finding) error {
	for d, err := range macie.Decode(w.ctx, bytes.NewReader(macie.Event(f))) {
		if err != nil {
			return err
		}
		if _, err := a.Pipeline.TakeDocument(w.ctx, w.ask(), d, coffer.OriginOperator, "queue"); err != nil {
			return err
		}
	}
	return nil
}

// tokenises has a process plan and apply a fix of a finding's object, once more when its values were found anew in between.
func (w *world) tokenises(a *app.App, f coffer.Finding) error {
	p, err := w.tokenise(a, f)
	if err == nil && p.State == remedy.Conflict {
		p, err = w.tokenise(a, f)
	}
	if err == nil && p.State != remedy.Applied {
		err = fmt.Errorf("the plan is %s: %s", p.State, p.Reason)
	}
	return err
}

func (w *world) tokenise(a *app.App, f coffer.Finding) (*remedy.Plan, error) {
	groups, err := a.Remedy.Groups(w.ctx, f.ID)
	if err != nil {
		return nil, err
	}
	p, err := a.Remedy.Plan(w.ctx, w.ask2(), groups[0], remedy.Options{Action: remedy.Tokenise})
	if err != nil {
		return nil, err
	}
	return a.Remedy.Apply(w.ctx, w.ask2(), p.ID, remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"})
}

// token returns the token that stands in the object of a finding, and what it is to lead back to.
func (w *world) token(f coffer.Finding) (token, was string) {
	token = strings.TrimSuffix(strings.TrimPrefix(w.body(f), "note\r\n"), "\r\n")
	if in, ok := strings.CutPrefix(token, "tell them "); ok {
		return strings.TrimSuffix(in, " and nothing else"), password
	}
	return token, sentence
}

// TestAgainBeside has another process act before each call of one that takes a finding in again, or fixes its object. Both end well. Nothing is
// left of what a process that lost had deposited, and the tokens in a fixed object lead back to what they took the place of.
func TestAgainBeside(t *testing.T) {
	for name, x := range map[string]struct {
		first, other func(*world, *app.App, coffer.Finding) error
		fixed        bool
	}{
		"two that take it in again":        {(*world).comes, (*world).comes, false},
		"a fix while it is taken in again": {(*world).comes, (*world).tokenises, true},
		"taken in again during a fix":      {(*world).tokenises, (*world).comes, true},
	} {
		t.Run(name, func(t *testing.T) {
			n, fixes := 0, map[string]int{}
			for came := true; came; n++ {
				w := newWorld(t)
				second := w.a
				w.start()
				f := w.waiting(1)[0]
				w.now = w.now.Add(2 * time.Hour) // by then Macie is asked again
				from := w.inj.Calls()
				came = false
				w.inj.Watch(func(call int, _ string) {
					if call != from+n+1 {
						return
					}
					came = true
					if err := x.other(w, second, f); err != nil {
						t.Errorf("the other, before call %d: %v", n+1, err)
					}
				})
				err := x.first(w, w.a, f)
				w.inj.Watch(nil)
				if err != nil {
					t.Errorf("joined before call %d: %v", n+1, err)
				}
				w.reconcile(w.now.Add(-6 * time.Minute)) // nothing waits any more
				w.clean()
				if !x.fixed {
					if got, rec := w.outcome(f); got != coffer.OutcomeExact || rec.Sealed != 1 || w.sealed(f) != password {
						t.Errorf("joined before call %d: %s, %d sealed", n+1, got, rec.Sealed)
					}
					continue
				}
				if !came && w.body(f) == "note\r\n"+sentence+"\r\n" {
					continue // the fix was what did not come
				}
				token, was := w.token(f)
				fixes[was]++
				ask := w.ask2()
				ask.Context.Reason, ask.Context.Note = "audit", "a test of what is sealed"
				back, err := w.a.Vault.Detokenise(w.ctx, ask, token)
				if err != nil || string(back.Plain.Expose()) != was {
					t.Errorf("joined before call %d: the token does not lead back: %v", n+1, err)
				}
			}
			if n < 20 || x.fixed && (fixes[sentence] == 0 || fixes[password] == 0) {
				t.Errorf("only %d interleavings, %d fixes of the whole place, %d of the value", n-1, fixes[sentence], fixes[password])
			}
			t.Logf("%d interleavings, %d fixes of the whole place, %d of the value", n-1, fixes[sentence], fixes[password])
		})
	}
}

// TestCutOut: what an identifier of Macie's finds is cut out of notes and of names that are shown, by every process, once one of them has
// learned of it, and also after Macie means something else by it.
func TestCutOut(t *testing.T) {
	w := newWorld(t)
	other := w.a
	note, at := "they use "+password+" there", coffer.Location{Kind: coffer.Record, Path: "$." + password}
	if w.a.Scrub(note) != note || w.a.Pipeline.Identifiers.All(w.ctx).Cut(at) != at {
		t.Fatal("it is known before anybody learned of it")
	}
	w.start() // a second process, which learns of it
	w.fake.PutIdentifier(ticketID, ticket(passwordRegex))
	if _, err := w.event(w.custom(1, ticketID, "ticket", sentence)); err != nil {
		t.Fatal(err)
	}
	look := func(who string) {
		t.Helper()
		for name, a := range map[string]*app.App{"this": w.a, "the other": other} {
			if got := a.Scrub(note); got != "they use [removed] there" {
				t.Errorf("%s, %s process: a note of %d characters stays", who, name, len(got))
			}
			if got := a.Pipeline.Identifiers.All(w.ctx).Cut(at); got.Path != "$...." {
				t.Errorf("%s, %s process: a name of %d characters stays", who, name, len(got.Path))
			}
		}
	}
	if w.a.Scrub(note) == note {
		t.Error("who learned of it does not cut it out at once")
	}
	w.now = w.now.Add(2 * time.Minute)
	look("learned")
	w.fake.PutIdentifier(ticketID, ticket("T-[0-9]{6}"))
	w.reconcile(began.Add(-2 * time.Hour))
	w.now = w.now.Add(2 * time.Minute)
	look("changed")
}
