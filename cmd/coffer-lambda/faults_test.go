package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"coffer/access"
	"coffer/app"
	"coffer/internal/lambdaharness"
	"coffer/job"
	"coffer/remedy"
	"coffer/web"
)

// batchOf is an event of SQS with these bodies.
func batchOf(t testing.TB, bodies ...string) []byte {
	var e events.SQSEvent
	for i, b := range bodies {
		e.Records = append(e.Records, events.SQSMessage{MessageId: fmt.Sprintf("message-%d", i), Body: b, EventSource: "aws:sqs"})
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// second is another process of a role.
func (s *site) second(r app.Role) *lambdaharness.Function {
	f := &lambdaharness.Function{Name: string(r) + "-2", Binary: movable.built(s)}
	s.add(r, f)
	return f
}

// handed asks for a plan to be applied, and returns the job, at which nobody is yet.
func (s *site) handed(plans ...string) (id string) {
	s.Helper()
	answer := s.do("POST", "/v1/plans/apply", map[string]any{"plans": plans})
	id, _ = answer["job"].(string)
	if id == "" {
		s.Fatalf("no job: %v", answer)
	}
	return id
}

func (s *site) ended(id string) bool {
	j, err := s.app.Jobs.Get(s.Context(), id)
	return err == nil && j.State == job.Done
}

// TestTwoProcesses has two processes of a function at the same queue, at the same findings and at the same job.
func TestTwoProcesses(t *testing.T) {
	s := newSite(t)
	t.Run("one queue", func(t *testing.T) {
		for i := range 6 {
			id := fmt.Sprintf("both-%d", i)
			s.put(id)
			for range 2 {
				s.send(app.Intake, string(s.events[id]))
			}
		}
		var wg sync.WaitGroup
		for _, f := range []*lambdaharness.Function{s.fn[app.Intake], s.second(app.Intake)} {
			m := &lambdaharness.Mapping{SQS: s.sqs, URL: s.queue[app.Intake], Function: f, Batch: 4, Reverse: true, Twice: true}
			wg.Go(func() {
				for {
					got, _, err := m.Poll(s.Context())
					if err != nil {
						t.Error(err)
					}
					if got > 0 {
						continue
					}
					if n, err := m.Lapse(s.Context()); err != nil || n == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		for i := range 6 {
			s.sealed(fmt.Sprintf("both-%d", i))
			s.stands(fmt.Sprintf("both-%d", i), cardList, "sensitive")
		}
	})
	// One process stops before a call, as long as stopped says, another is given the same work, and the first goes on. What is longer than a
	// lease has the other do it from beginning to end. By default at one of step calls, with COFFER_TEST_FULL=1 at each.
	over := func(name string, r app.Role, stopped time.Duration, step int, prepare func(id string) (message string), after func(id string)) {
		t.Run(name, func(t *testing.T) {
			other, tried := s.second(r), 0
			if full() {
				step = 1
			}
			for n := 1; ; n += step {
				id := fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "-"), n)
				message := prepare(id)
				var count atomic.Int64
				came := false
				s.tap.Decide(nil)
				s.tap.Pause(func(c lambdaharness.Call) {
					if c.Function != string(r) || count.Add(1) != int64(n) {
						return
					}
					came = true
					s.pass(stopped)
					if out, err := other.Invoke(batchOf(t, message)); err != nil || strings.Contains(string(out), "message-0") {
						t.Errorf("the second process at call %d: %v %s\n%s", n, err, out, other.Said())
					}
				})
				_, err := s.fn[r].Invoke(batchOf(t, message))
				if err != nil {
					t.Errorf("the first process, stopped at call %d: %v", n, err)
				}
				s.tap.Decide(nil)
				after(id)
				if !came {
					break
				}
				tried++
			}
			t.Logf("%d interleavings", tried)
		})
	}
	over("one finding", app.Intake, visibility, 7, func(id string) string {
		s.put(id)
		return string(s.events[id])
	}, func(id string) {
		s.sealed(id)
		s.stands(id, cardList, "sensitive")
	})
	plans, jobs := map[string]string{}, map[string]string{}
	prepare := func(id string) string {
		s.taken(id)
		plans[id] = s.planned(id)
		s.approved(plans[id])
		jobs[id] = s.handed(plans[id])
		b, err := json.Marshal(app.Wake{Job: jobs[id]})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	after := func(id string) {
		if !s.ended(jobs[id]) {
			t.Errorf("%s: the job is not done", id)
		}
		s.fixed(plans[id], remedy.Applied)
		s.stands(id, redacted, "redacted")
		s.sealed(id)
	}
	over("one job", app.Remedy, visibility, 7, prepare, after)
	// While the first one holds it, the other is done with its message at once.
	over("a job that is held", app.Remedy, 0, 20, prepare, after)
	s.end()
}

// perMessage is the most calls that a function makes to one service for a message while that service turns all away.
const perMessage = 40

// TestThrottled has one service after the other turn functions away: for the first calls, and for the whole of an invocation. By default some of
// the services, with COFFER_TEST_FULL=1 all of them.
func TestThrottled(t *testing.T) {
	for _, x := range []struct {
		service string
		role    app.Role // that asks it
		full    bool
	}{
		{"macie2", app.Intake, false}, {"kms", app.Intake, true}, {"s3", app.Intake, true}, {"dynamodb", app.Intake, false},
		{"s3", app.Remedy, false}, {"kms", app.Remedy, true}, {"dynamodb", app.Remedy, true}, {"lambda", app.Remedy, false}, {"sqs", app.API, true},
	} {
		if x.full && !full() {
			continue
		}
		t.Run(string(x.role)+" by "+x.service, func(t *testing.T) {
			t.Parallel() // it is all waiting
			s := newSite(t)
			for _, first := range []int{3, 1 << 20} { // the first calls; all of them
				id := fmt.Sprintf("throttled-%d", first)
				plan, from, done := "", app.Intake, func() bool { return true }
				if x.role == app.Intake {
					s.put(id)
					s.send(app.Intake, string(s.events[id]))
				} else {
					s.taken(id)
					plan = s.planned(id)
					s.approved(plan)
					from = app.Remedy
				}
				n := 0
				s.tap.Decide(func(c lambdaharness.Call) lambdaharness.Fate {
					if c.Service == x.service && c.Function == string(x.role) {
						if n++; n <= first {
							return lambdaharness.Throttle
						}
					}
					return lambdaharness.Pass
				})
				if from == app.Remedy {
					j := s.handed(plan)
					done = func() bool { return s.ended(j) }
				}
				f := s.fn[from]
				f.Timeout = 20 * time.Second
				s.mapping[from].Answer = func(_ []byte, err error) {
					if errors.Is(err, lambdaharness.ErrTimedOut) {
						t.Errorf("%s was ended at its deadline", from)
					}
				}
				s.poll(from)
				f.Timeout = 0
				_, met := s.tap.Calls()
				s.tap.Decide(nil)
				if len(met) == 0 || len(met) > perMessage {
					t.Errorf("%d calls were turned away", len(met))
				}
				s.whole(id)
				s.settle(from, done)
				s.sealed(id)
				if plan != "" {
					s.fixed(plan, remedy.Applied)
					s.stands(id, redacted, "redacted")
				} else {
					s.stands(id, cardList, "sensitive")
				}
				t.Logf("of the first %d calls %d were turned away", first, len(met))
			}
			s.offered() // a job whose whole time went by was left to the worker, too
			s.end()
		})
	}
}

// offered takes from the queue of the worker what it is told of, and returns how many messages these were.
func (s *site) offered() (n int) {
	s.Helper()
	url := s.queue[app.Worker]
	for {
		out, err := s.sqs.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil {
			s.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return n
		}
		for _, m := range out.Messages {
			n++
			if _, err := s.sqs.DeleteMessage(s.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				s.Fatal(err)
			}
		}
	}
}

// TestKeyDisabled has the key disabled while findings come in: nothing is taken in, nobody is shown a value, and it is said why. After three
// tries the messages are among the dead letters; when the key is enabled they are put back, and done once.
func TestKeyDisabled(t *testing.T) {
	s := newSite(t)
	c, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys := kms.NewFromConfig(c, func(o *kms.Options) { o.BaseEndpoint = &s.direct })
	home := t.TempDir()
	conf := s.config(s.direct)
	yaml := fmt.Sprintf("objects: %q\noriginals: %q\nlog: %q\nkeys: %q\nstore: %q\n", conf.Objects, conf.Originals, conf.Log, conf.Keys, conf.Store)
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	opt := app.Options{Home: home, Now: s.now}
	open := func() (*app.App, access.Ask, error) {
		a, err := app.Open(t.Context(), opt)
		if err == nil {
			t.Cleanup(func() { _ = a.Close() })
		}
		return a, s.ask, err
	}
	if _, _, err := open(); err != nil { // the home is there from before
		t.Fatal(err)
	}

	// One finding was taken in before, and both functions are warm.
	s.put("before")
	s.send(app.Intake, string(s.events["before"]))
	s.poll(app.Intake)
	s.sealed("before")
	reveal := request("POST", "/v1/findings/before/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})
	if status, _ := s.try(reveal); status != 200 {
		t.Fatalf("reveal before: %d", status)
	}
	alias := aws.String("alias/" + s.name)
	key, err := keys.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: alias})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}

	for i := range 3 {
		id := fmt.Sprintf("dead-%d", i)
		s.put(id)
		s.send(app.Intake, string(s.events[id]))
	}
	s.send(app.Intake, "{not JSON")
	for try := range 4 {
		if try == 2 {
			s.cold() // a new process cannot even open the installation
		}
		s.poll(app.Intake)
		s.lapse(app.Intake)
	}
	if said := s.fn[app.Intake].Said(); !strings.Contains(said, "DisabledException") {
		t.Errorf("the log of intake does not name the reason")
	}
	dead := s.queue[app.Intake] + "-dead"
	if n := s.waiting(dead); n != 3 {
		t.Errorf("%d messages are among the dead letters, not the three findings\n%s", n, s.fn[app.Intake].Said())
	}
	for i := range 3 {
		id := fmt.Sprintf("dead-%d", i)
		if rec, err := s.app.Records.Get(t.Context(), id); err == nil && rec.Sealed > 0 {
			t.Errorf("%s is sealed, without a key", id)
		}
		if s.body(id) != cardList || s.state(id) == "sensitive" {
			t.Errorf("%s was touched", id)
		}
	}
	s.scan()
	s.fn[app.API].Kill()
	for _, name := range []string{"cold", "warm"} {
		reveal = request("POST", "/v1/findings/before/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})
		status, answer := s.try(reveal)
		if b, _ := json.Marshal(answer); status < 500 || strings.Contains(string(b), card) {
			t.Errorf("reveal, %s, with the key disabled: %d", name, status)
		}
	}
	if said := s.fn[app.API].Said(); !strings.Contains(said, "DisabledException") {
		t.Errorf("the log of api does not name the reason")
	}
	named, found := false, []string(nil)
	for _, d := range app.Diagnose(t.Context(), opt, open) {
		found = append(found, string(d.Level)+" "+d.About+": "+d.Found)
		if d.Level == app.Fail && strings.Contains(d.Found, "is Disabled") {
			named = true
		}
	}
	if !named {
		t.Errorf("the doctor does not say that the key is disabled:\n%s", strings.Join(found, "\n"))
	}

	if _, err := keys.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: key.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	// Put back as the console's redrive does: each is received, sent to where it came from, and deleted.
	for {
		out, err := s.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dead, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			break
		}
		for _, m := range out.Messages {
			s.send(app.Intake, *m.Body)
			if _, err := s.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &dead, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.settle(app.Intake, func() bool { return true })
	for i := range 3 {
		s.sealed(fmt.Sprintf("dead-%d", i))
		s.stands(fmt.Sprintf("dead-%d", i), cardList, "sensitive")
	}
	if status, _ := s.try(request("POST", "/v1/findings/before/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})); status != 200 {
		t.Errorf("reveal after: %d", status)
	}
	arrived := map[string]int{}
	for a, err := range s.app.Pipeline.Arrivals(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		arrived[a.Finding]++
	}
	if arrived["dead-0"] != 1 || arrived[""] != 1 || len(arrived) != 5 {
		t.Errorf("arrivals: %v", arrived)
	}
	s.end()
}

// TestStopsAtDeadline gives functions less time than their work takes.
func TestStopsAtDeadline(t *testing.T) {
	s := newSite(t)
	const short = 2 * time.Second
	t.Run("a batch", func(t *testing.T) {
		s.invoke(app.Intake, batchOf(t, `{"coffer.job":"job-0000"}`)) // it is warm
		for i := range 8 {
			s.put(fmt.Sprintf("late-%d", i))
			s.send(app.Intake, string(s.events[fmt.Sprintf("late-%d", i)]))
		}
		tagged := 0
		s.tap.Decide(func(c lambdaharness.Call) lambdaharness.Fate {
			if c.Service == "s3" && c.Op == "PUT tagging" {
				if tagged++; tagged > 3 {
					return lambdaharness.Hang
				}
			}
			return lambdaharness.Pass
		})
		f, m := s.fn[app.Intake], s.mapping[app.Intake]
		starts := f.Starts()
		f.Timeout = short
		got, done, err := m.Poll(t.Context())
		f.Timeout = 0
		s.tap.Decide(nil)
		if err != nil || got != 8 || done != 3 {
			t.Errorf("%d messages, done with %d: %v\n%s", got, done, err, f.Said())
		}
		if f.Starts() != starts {
			t.Error("the process was ended")
		}
		s.settle(app.Intake, func() bool { return true })
		if f.Starts() != starts {
			t.Error("the process was ended later")
		}
		for i := range 8 {
			s.sealed(fmt.Sprintf("late-%d", i))
			s.stands(fmt.Sprintf("late-%d", i), cardList, "sensitive")
		}
	})
	for _, x := range []struct {
		name  string
		fit   int // items
		to    app.Role
		after func(id string)
	}{
		{"a job that goes on", 1, app.Remedy, func(id string) { s.settle(app.Remedy, func() bool { return s.ended(id) }) }},
		{"a job that is too long", 0, app.Worker, func(id string) {
			api, err := s.app.API(web.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer api.Close()
			if j, err := api.Work(t.Context(), id, nil); err != nil || j.State != job.Done {
				t.Errorf("the worker: %v", err)
			}
			s.offered()
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var plans, ids []string
			for i := range 3 {
				id := fmt.Sprintf("job-%d-%d", x.fit, i)
				s.taken(id)
				p := s.planned(id)
				s.approved(p)
				plans, ids = append(plans, p), append(ids, id)
			}
			id := s.handed(plans...)
			f := s.fn[app.Remedy]
			s.invoke(app.Remedy, batchOf(t, `{"coffer.job":"job-0000"}`))
			starts := f.Starts()
			s.tap.Decide(func(c lambdaharness.Call) lambdaharness.Fate {
				if c.Service == "s3" && c.Function == string(app.Remedy) {
					if j, err := s.app.Jobs.Get(t.Context(), id); err != nil || j.Done >= x.fit {
						return lambdaharness.Hang
					}
				}
				return lambdaharness.Pass
			})
			f.Timeout = short
			got, done, err := s.mapping[app.Remedy].Poll(t.Context())
			f.Timeout = 0
			s.tap.Decide(nil)
			if err != nil || got != 1 || done != 1 || f.Starts() != starts {
				t.Errorf("%d messages, done with %d, %d processes: %v\n%s", got, done, f.Starts()-starts, err, f.Said())
			}
			if j, err := s.app.Jobs.Get(t.Context(), id); err != nil || j.Done != x.fit || j.State != job.Interrupted {
				t.Errorf("the job after its time: %v", errors.Join(err))
			}
			if n := s.waiting(s.queue[x.to]); n != 1 {
				t.Errorf("%d messages tell %s of the job", n, x.to)
			}
			for _, id := range ids {
				s.whole(id)
			}
			x.after(id)
			for i, p := range plans {
				s.fixed(p, remedy.Applied)
				s.stands(ids[i], redacted, "redacted")
			}
		})
	}
	s.end()
}
