package notify_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/internal/fault"
	"coffer/notify"
	"coffer/object"
	objectmem "coffer/object/mem"
	"coffer/store/mem"
)

var policies = sync.OnceValue(func() *access.Policy {
	p, err := access.Load(nil)
	if err != nil {
		panic(err)
	}
	return p
})

// world is an installation with a log and targets, and the receivers behind them.
type world struct {
	*testing.T
	mu     sync.Mutex // guards at
	at     time.Time
	db     *mem.DB
	faults *fault.Injector
	home   string
	conf   notify.Config // of the next process
	*process
}

// process is one run of the program.
type process struct {
	log   *audit.Log
	guard *audit.Guard
	*notify.Notifier
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// newWorld starts an installation whose targets are on record before anything happens.
func newWorld(t *testing.T, targets ...notify.Target) *world {
	t.Helper()
	in := fault.New()
	w := &world{T: t, at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), faults: in, db: &mem.DB{Fault: in}, home: t.TempDir()}
	w.write("secret", secrets...)
	w.conf = notify.Config{Targets: targets, Portal: "https://coffer.test"}
	w.process = w.start("p1")
	w.step()
	return w
}

func (w *world) write(name string, lines ...string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.home, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *world) start(worker string) *process {
	w.Helper()
	log := audittest.Open(w.T, w.db, w.home, w.now, nil)
	p := &process{log: log, guard: &audit.Guard{Log: log, Policy: policies()}}
	c := w.conf
	c.DB, c.Guard, c.Home, c.Now, c.Worker = w.db, p.guard, w.home, w.now, worker
	var err error
	if p.Notifier, err = notify.New(c); err != nil {
		w.Fatal(err)
	}
	return p
}

// ask is a schedule's.
func (w *world) ask() access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: "timed-work", Kind: access.ServiceCaller, Roles: []string{access.RoleService}},
		Context: access.Context{Now: w.now(), Request: "r-1"},
	}
}

func (w *world) step() {
	w.Helper()
	if err := w.Step(w.Context(), w.ask()); err != nil {
		w.Fatal(err)
	}
}

// happens records an act of the operator's and brings the log into order.
func (w *world) happens(action access.Action, kind access.Kind, id string, outcome audit.Outcome, detail map[string]string) audit.Ref {
	w.Helper()
	who := access.Caller{ID: "op-1", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
	how := access.Context{Now: w.now(), Local: true, Request: "r-2", Reason: "incident", Note: "the customer Jane Roe asked for it", Ticket: "INC-7"}
	if action == access.AccessBreak {
		who = access.Caller{ID: "dan", Kind: access.UserCaller, Roles: []string{access.RoleResponder}}
		how.Local, how.SignedIn, how.MFA = false, w.now(), true
	}
	res := access.Resource{Kind: kind, ID: id}
	if kind != access.System {
		res.Origins = []coffer.Origin{coffer.OriginMacie}
	}
	permit, err := w.guard.Check(w.Context(), who, action, res, how)
	if err != nil {
		w.Fatal(err)
	}
	e := permit.Entry(outcome)
	e.Detail = detail
	ref, err := w.log.Append(w.Context(), e)
	if err == nil {
		err = w.log.Sequence(w.Context())
	}
	if err != nil {
		w.Fatal(err)
	}
	return ref
}

// judged records as many verdicts, which every target is told of.
func (w *world) judged(n int) (refs []string) {
	w.Helper()
	for i := range n {
		r := w.happens(access.VerdictSet, access.Finding, fmt.Sprintf("f-%d", i+1), audit.Done, map[string]string{"change": "verdict"})
		refs = append(refs, fmt.Sprintf("coffer-%s-%d", r.Writer, r.Seq))
	}
	return refs
}

// status of the only target.
func (w *world) status() notify.Status {
	w.Helper()
	list, err := w.Status(w.Context())
	if err != nil || len(list) != 1 {
		w.Fatal(list, err)
	}
	return list[0]
}

// entries returns the entries that delivery itself wrote, by step.
func (w *world) steps() (out []string) {
	w.Helper()
	for e, err := range w.log.Entries(w.Context(), audit.Filter{Action: "admin.notify"}) {
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, e.Detail["step"])
	}
	return out
}

var secrets = []string{"whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("n"), 32)), "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("o"), 24))}

// inbox is a receiver of HTTP requests over TLS.
type inbox struct {
	t       *testing.T
	srv     *httptest.Server
	mu      sync.Mutex // guards the rest
	ids     []string   // of messages that were taken
	bodies  [][]byte
	answer  func(id string, body []byte) int // 0: take it
	headers http.Header                      // of the last request
	later   string                           // Retry-After of answers that are not 0
	tries   int
}

func newInbox(t *testing.T) *inbox {
	in := &inbox{t: t}
	in.srv = httptest.NewTLSServer(in)
	t.Cleanup(in.srv.Close)
	return in
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		in.t.Error(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	id := r.Header.Get("webhook-id")
	in.headers = r.Header
	in.tries++
	if in.answer != nil {
		if code := in.answer(id, body); code != 0 {
			if in.later != "" {
				w.Header().Set("Retry-After", in.later)
			}
			w.WriteHeader(code)
			return
		}
	}
	in.ids, in.bodies = append(in.ids, id), append(in.bodies, body)
}

// target is the configuration of the inbox.
func (in *inbox) target(w string, kind notify.Kind) notify.Target {
	return notify.Target{Name: w, Kind: kind, URL: in.srv.URL + "/private-path", SecretFile: "secret", CAFile: "ca.pem", Allow: []string{"127.0.0.1/32"}}
}

// trusted writes the certificate of the inbox where its target looks for it.
func (in *inbox) trusted(home string) {
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: in.srv.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(home, "ca.pem"), b, 0o600); err != nil {
		in.t.Fatal(err)
	}
}

func (in *inbox) took() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.ids)
}

// hooked is a world with one webhook.
func hooked(t *testing.T) (*world, *inbox) {
	in := newInbox(t)
	w := newWorld(t, in.target("soc", notify.Webhook))
	in.trusted(w.home)
	return w, in
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d messages %v, want %d %v", what, len(got), got, len(want), want)
	}
}

// TestWebhook delivers over TLS and verifies what arrives as a receiver would, with code of its own.
func TestWebhook(t *testing.T) {
	w, in := hooked(t)
	want := w.judged(3)
	w.happens(access.FindingRead, access.Finding, "f-1", audit.Done, nil) // is nobody's business
	w.happens(access.RemedyApply, access.Plan, "plan-1", audit.Intent, map[string]string{"step": "apply"})
	w.step()
	w.step()
	same(t, "delivered", in.took(), want)
	if !in.signedBy(secrets...) {
		t.Error("a secret did not sign")
	}
	var got struct {
		Type      string
		Timestamp time.Time
		Data      notify.Message
	}
	if err := json.Unmarshal(in.bodies[0], &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "verdict.set" || got.Data.Finding != "f-1" || got.Data.Link != "https://coffer.test/findings/f-1" || got.Timestamp.IsZero() {
		t.Errorf("%s", in.bodies[0])
	}
	if s := w.status(); s.State != "ok" || s.Behind != 0 || s.Sent != 3 {
		t.Errorf("%+v", s)
	}
	same(t, "on record", w.steps(), []string{"configure"})
	for _, body := range in.bodies {
		if bytes.Contains(body, []byte("Jane")) {
			t.Error("a message repeats what somebody wrote")
		}
	}
}

// TestWaits goes through an outage second by second: how long a target waits is doubled up to an hour, a receiver that says how long it
// wants to be left alone is, and each try has the id of the message and the time of the try.
func TestWaits(t *testing.T) {
	w, in := hooked(t)
	id := w.judged(1)[0]
	in.answer = func(string, []byte) int { return http.StatusServiceUnavailable }
	var stamps []string
	try := func(want time.Duration) {
		t.Helper()
		before := w.status().RetryAt
		if !before.IsZero() {
			w.pass(before.Sub(w.now()) - time.Second)
			tries := in.tries
			if w.step(); in.tries != tries {
				t.Errorf("it was tried before %s", before)
			}
			w.pass(time.Second)
		}
		w.step()
		if got := w.status().RetryAt.Sub(w.now()); got != want {
			t.Errorf("it waits %s, want %s", got, want)
		}
		if got := in.headers.Get("webhook-id"); got != id {
			t.Errorf("a try under %q, want %q", got, id)
		}
		stamp := in.headers.Get("webhook-timestamp")
		if want := strconv.FormatInt(w.now().Unix(), 10); stamp != want || slices.Contains(stamps, stamp) {
			t.Errorf("a try of %s, want %s", stamp, want)
		}
		stamps = append(stamps, stamp)
	}
	for _, seconds := range []int{5, 10, 20, 40} {
		try(time.Duration(seconds) * time.Second)
	}
	in.answer, in.later = func(string, []byte) int { return http.StatusTooManyRequests }, "1800"
	try(30 * time.Minute)
	in.later = "3" // sooner than we would come anyway
	try(160 * time.Second)
	in.later = ""
	for _, seconds := range []int{320, 640, 1280, 2560, 3600, 3600} {
		try(time.Duration(seconds) * time.Second)
	}
	in.answer = nil
	w.pass(time.Hour)
	w.step()
	same(t, "delivered", in.took(), []string{id})
	if s := w.status(); !s.RetryAt.IsZero() || s.State != "ok" {
		t.Errorf("%+v", s)
	}
}

// signedBy reports whether the last request has a signature by each of these secrets and by no other.
func (in *inbox) signedBy(secrets ...string) bool {
	in.t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	var want []string
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			in.t.Fatal(err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(in.headers.Get("webhook-id") + "." + in.headers.Get("webhook-timestamp") + "." + string(in.bodies[len(in.bodies)-1])))
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return slices.Equal(strings.Fields(in.headers.Get("webhook-signature")), want)
}

// TestRotation replaces a secret while messages go: whoever has the old one, or the new one, can verify every message that comes in between.
func TestRotation(t *testing.T) {
	w, in := hooked(t)
	for _, now := range [][]string{secrets[:1], secrets, secrets[1:]} {
		w.write("secret", now...)
		w.judged(1)
		w.step()
		if !in.signedBy(now...) {
			t.Errorf("with %d secrets in the file other ones signed", len(now))
		}
	}
	// Without a good secret nothing goes, and what was to go waits.
	for _, bad := range [][]string{nil, {"whsec_c2hvcnQ="}, {secrets[0], "whsec_!"}} {
		w.write("secret", bad...)
		w.judged(1)
		w.pass(time.Hour)
		w.step()
		if s := w.status(); s.State != "failing" || !strings.Contains(s.Error, "secretFile") || s.Dead != 0 {
			t.Errorf("%+v", s)
		}
	}
	if got := len(in.took()); got != 3 {
		t.Errorf("%d messages", got)
	}
	w.write("secret", secrets[1])
	w.pass(time.Hour)
	w.step()
	if got := len(in.took()); got != 6 {
		t.Errorf("%d messages", got)
	}
}

// TestOutage has a receiver that is down for days: nothing is passed over, the order stays, the outage is on record once.
func TestOutage(t *testing.T) {
	w, in := hooked(t)
	tried := 0
	in.answer = func(string, []byte) int { tried++; return http.StatusServiceUnavailable }
	want := w.judged(3)
	for range 60 {
		w.step()
		w.pass(time.Hour)
	}
	if tried != 60 {
		t.Errorf("%d tries in 60 hours", tried)
	}
	w.step()
	before := tried
	w.step()
	if tried != before {
		t.Error("it did not wait")
	}
	if s := w.status(); s.State != "failing" || s.Dead != 0 || s.Failing.IsZero() || !strings.Contains(s.Error, "503") || strings.Contains(s.Error, "private-path") {
		t.Errorf("%+v", s)
	}
	want = append(want, w.judged(1)...)
	in.answer = nil
	w.pass(time.Hour)
	w.step()
	same(t, "delivered", in.took(), want)
	if s := w.status(); s.State != "ok" || s.Error != "" {
		t.Errorf("%+v", s)
	}
	same(t, "on record", w.steps(), []string{"configure", "failing"})
}

// TestRefused has a receiver that refuses one message as such: it is put aside, on record, those behind it come through, and it can be sent again.
func TestRefused(t *testing.T) {
	w, in := hooked(t)
	want := w.judged(3)
	in.answer = func(id string, _ []byte) int {
		if id == want[1] {
			return http.StatusBadRequest
		}
		return 0
	}
	for range 10 {
		w.step()
		w.pass(time.Hour)
	}
	same(t, "delivered", in.took(), []string{want[0], want[2]})
	if s := w.status(); s.State != "dead" || s.Dead != 1 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	if out, err := w.Retry(w.Context(), w.ask(), "soc"); out.Delivered != 0 || !strings.Contains(out.Error, "400") || err != nil {
		t.Errorf("sent again %+v: %v", out, err)
	}
	in.answer = nil
	if out, err := w.Retry(w.Context(), w.ask(), "soc"); out.Delivered != 1 || out.Error != "" || err != nil {
		t.Errorf("sent again %+v: %v", out, err)
	}
	same(t, "delivered", in.took(), []string{want[0], want[2], want[1]})
	if s := w.status(); s.State != "ok" || s.Dead != 0 {
		t.Errorf("%+v", s)
	}
	same(t, "on record", w.steps(), []string{"configure", "dead", "retry", "retry", "retry", "retry"}) // each as intended, and as it went
	if out, err := w.Test(w.Context(), w.ask(), "soc"); err != nil || out.Error != "" {
		t.Error(out, err)
	}
	if _, err := w.Test(w.Context(), w.ask(), "other"); !errors.Is(err, coffer.ErrNotFound) {
		t.Error(err)
	}
}

// TestAskedElsewhere asks a process that reaches no target: nothing goes from it, what is asked is on record and done once, with the next
// step of the process that delivers, also while the target waits.
func TestAskedElsewhere(t *testing.T) {
	w, in := hooked(t)
	ids := w.judged(2)
	in.answer = func(id string, _ []byte) int {
		if id == ids[0] {
			return http.StatusBadRequest
		}
		return http.StatusServiceUnavailable
	}
	for range 8 {
		w.step()
		w.pass(time.Hour)
	}
	w.step()
	if s := w.status(); s.Dead != 1 || s.State != "failing" || !w.now().Before(s.RetryAt) {
		t.Fatalf("%+v", s)
	}
	w.conf.Elsewhere = true
	front, tries := w.start("p2"), in.tries
	for range 2 {
		for _, ask := range []func(context.Context, access.Ask, string) (notify.Outcome, error){front.Test, front.Retry} {
			if out, err := ask(w.Context(), w.ask(), "soc"); err != nil || !out.Asked {
				t.Errorf("%+v, %v", out, err)
			}
		}
	}
	if s := w.status(); in.tries != tries || !slices.Equal(s.Asked, []string{"retry", "test"}) {
		t.Errorf("%d tries, %+v", in.tries-tries, s)
	}
	in.answer = nil
	w.step()
	got := in.took()
	if len(got) != 3 || got[0] != ids[0] || !strings.HasPrefix(got[1], "coffer-test-") || got[2] != ids[1] {
		t.Errorf("%v", got)
	}
	d, err := front.Show(w.Context(), w.ask(), "soc")
	if err != nil || d.State != "ok" || d.Asked != nil || d.Tested.IsZero() || d.TestError != "" || len(d.Put)+len(d.Waiting) != 0 ||
		len(d.Last) != 2 || d.Last[0].ID != ids[1] || d.Last[1].ID != ids[0] {
		t.Errorf("%+v, %v", d, err)
	}
	w.step()
	if len(in.took()) != 3 {
		t.Error("it was done twice")
	}
}

// TestShow says what was delivered, what waits and what was put aside.
func TestShow(t *testing.T) {
	w, in := hooked(t)
	ids := w.judged(30)
	w.happens(access.FindingRead, access.Finding, "f-1", audit.Done, nil) // is nobody's business
	in.answer = func(id string, _ []byte) int {
		switch id {
		case ids[3]:
			return http.StatusBadRequest
		case ids[28]:
			return http.StatusServiceUnavailable
		}
		return 0
	}
	for range 8 {
		w.step()
		w.pass(time.Hour)
	}
	d, err := w.Show(w.Context(), w.ask(), "soc")
	if err != nil {
		t.Fatal(err)
	}
	list := func(rs []notify.Receipt) (out []string) {
		for _, r := range rs {
			if r.Type != "verdict.set" || r.At.IsZero() || r.Entry < 0 {
				t.Errorf("%+v", r)
			}
			out = append(out, r.ID)
		}
		return out
	}
	newest := slices.Clone(ids[8:28])
	slices.Reverse(newest)
	same(t, "delivered", list(d.Last), newest)
	same(t, "waits", list(d.Waiting), ids[28:])
	same(t, "put aside", list(d.Put), ids[3:4])
	if d.Put[0].Error == "" || d.Sent != 27 || !strings.Contains(d.Error, "503") {
		t.Errorf("%+v", d)
	}
}

// TestCrashes kills the process at every call of the store, before and after its effect. Every message arrives, in order; what comes twice
// has the same id.
func TestCrashes(t *testing.T) {
	duplicates := 0
	for _, when := range []fault.When{fault.Before, fault.After} {
		for call := 1; ; call++ {
			w, in := hooked(t)
			want := w.judged(3)
			w.faults.Arm(fault.Fault{Call: call, When: when, Crash: true})
			err := w.Step(w.Context(), w.ask())
			hit := w.faults.Dead()
			w.faults.Restart()
			w.faults.Disarm()
			w.pass(10 * time.Minute) // the lease of the dead process ends
			w.process = w.start("p2")
			w.step()
			got := in.took()
			duplicates += len(got) - len(want)
			once := slices.Compact(slices.Clone(got))
			if !slices.Equal(once, want) {
				t.Fatalf("call %d, %v (%v): %v, want %v", call, when, err, got, want)
			}
			if !hit {
				break
			}
		}
	}
	if duplicates == 0 {
		t.Error("no crash fell between a delivery and its record")
	}
}

// TestManyProcesses has four processes deliver at once: each message arrives once, in order.
func TestManyProcesses(t *testing.T) {
	w, in := hooked(t)
	want := w.judged(20)
	var work sync.WaitGroup
	for i := range 4 {
		p := w.start(fmt.Sprintf("p%d", i+2))
		work.Go(func() {
			for range 5 {
				if err := p.Step(w.Context(), w.ask()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	w.step()
	same(t, "delivered", in.took(), want)
}

// TestNotPermitted shows that messages do not go on behalf of somebody whom the policies do not let, and that this is on record.
func TestNotPermitted(t *testing.T) {
	w, in := hooked(t)
	w.judged(1)
	ask := w.ask()
	ask.Caller = access.Caller{ID: "eve", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	if err := w.Step(w.Context(), ask); err != nil {
		t.Fatal(err)
	}
	if len(in.took()) != 0 {
		t.Error("a message went")
	}
	for _, err := range []error{
		func() error { _, err := w.List(w.Context(), ask); return err }(),
		func() error { _, err := w.Show(w.Context(), ask, "soc"); return err }(),
		func() error { _, err := w.Test(w.Context(), ask, "soc"); return err }(),
		func() error { _, err := w.Retry(w.Context(), ask, "soc"); return err }(),
	} {
		if !errors.Is(err, coffer.ErrDenied) {
			t.Error(err)
		}
	}
	w.pass(time.Hour)
	w.step()
	if len(in.took()) != 1 {
		t.Error("the message did not go afterwards")
	}
}

// TestForms sends to each kind of receiver, and looks at what it is for.
func TestForms(t *testing.T) {
	in := newInbox(t)
	w := newWorld(t, in.target("a", notify.Slack), in.target("b", notify.Teams), in.target("c", notify.Jira))
	in.trusted(w.home)
	w.happens(access.AccessBreak, access.System, "", audit.Done, map[string]string{"step": "break", "request": "g-1", "values": "25"})
	w.step()
	if len(in.bodies) != 3 {
		t.Fatalf("%d messages", len(in.bodies))
	}
	all := string(bytes.Join(in.bodies, nil))
	for _, want := range []string{`"blocks"`, `"AdaptiveCard"`, `"summary":"The glass was broken"`, `"priority":"High"`, "https://coffer.test/requests/g-1", `"color":"attention"`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
}

// TestFilter tells a target of what its filter chooses and of nothing else, and never of delivery itself.
func TestFilter(t *testing.T) {
	in := newInbox(t)
	target := in.target("soc", notify.Webhook)
	target.Filter = []string{"action=finding.*,admin.notify", "outcome=done"}
	w := newWorld(t, target)
	in.trusted(w.home)
	w.judged(1)
	r := w.happens(access.FindingRead, access.Finding, "f-1", audit.Done, nil)
	if _, err := w.List(w.Context(), w.ask()); err != nil {
		t.Fatal(err)
	}
	if err := w.log.Sequence(w.Context()); err != nil {
		t.Fatal(err)
	}
	w.step()
	same(t, "delivered", in.took(), []string{fmt.Sprintf("coffer-%s-%d", r.Writer, r.Seq)})
}

// TestTargetsChange shows that a change of the configuration is on record, and that a new target begins at the end of the log.
func TestTargetsChange(t *testing.T) {
	w, in := hooked(t)
	w.judged(1)
	w.step()
	other := in.target("duty", notify.Webhook)
	w.conf.Targets = []notify.Target{other}
	w.process = w.start("p2")
	w.step()
	want := w.judged(1)
	w.step()
	if got := in.took(); len(got) != 2 || got[1] != want[0] {
		t.Errorf("%v", got)
	}
	var last audit.Entry
	for e, err := range w.log.Entries(w.Context(), audit.Filter{Action: "admin.notify"}) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	if last.Detail["added"] != "duty" || last.Detail["removed"] != "soc" {
		t.Errorf("%v", last.Detail)
	}
}

// TestArchive writes the log as OCSF files and crashes at every call: together the files hold every entry once, as an export does, each in the
// folder of its day.
func TestArchive(t *testing.T) {
	for _, when := range []fault.When{fault.Before, fault.After} {
		for call := 1; ; call++ {
			bucket := objectmem.New()
			bucket.CreateBucket("lake")
			w := &world{T: t, at: time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC), faults: fault.New(), home: t.TempDir()}
			w.db, bucket.Fault = &mem.DB{Fault: w.faults}, w.faults
			w.conf = notify.Config{
				Targets: []notify.Target{{Name: "lake", Kind: notify.OCSF, To: "s3:lake", Prefix: "ext/coffer", Region: "eu-central-1", Account: "123456789012"}},
				Bucket:  func(context.Context, string) (object.Store, string, error) { return bucket, "lake", nil },
			}
			w.process = w.start("p1")
			w.step()
			w.judged(3)
			w.pass(2 * time.Hour)
			w.judged(2)
			w.pass(time.Hour)
			w.faults.Arm(fault.Fault{Call: call, When: when, Crash: true})
			err := w.Step(w.Context(), w.ask())
			hit := w.faults.Dead()
			w.faults.Restart()
			w.faults.Disarm()
			w.pass(time.Hour)
			w.process = w.start("p2")
			w.step()
			w.pass(time.Hour)
			w.step()

			var whole, files bytes.Buffer
			size, _ := w.log.Size()
			if err := audit.WriteOCSF(&whole, w.log.Entries(w.Context(), audit.Filter{Before: size})); err != nil {
				t.Fatal(err)
			}
			var names []string
			for info, err := range bucket.List(w.Context(), "lake", "", "") {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, info.Key)
				files.Write(gunzip(t, bucket, info.Object))
			}
			if whole.String() != files.String() || !strings.HasPrefix(names[0], "ext/coffer/region=eu-central-1/accountId=123456789012/eventDay=20260301/") ||
				!strings.Contains(names[len(names)-1], "/eventDay=20260302/") {
				t.Fatalf("call %d, %v (%v): %d bytes in %v, want %d", call, when, err, files.Len(), names, whole.Len())
			}
			if !hit {
				break
			}
		}
	}
}

func gunzip(t *testing.T, st object.Reader, o coffer.Object) []byte {
	t.Helper()
	body, err := st.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	z, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
