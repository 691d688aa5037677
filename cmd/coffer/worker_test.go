package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coffer/access"
	"coffer/app"
	"coffer/internal/awsfake/s3fake"
	"coffer/job"
	"coffer/remedy"
	"coffer/web"
)

// workshop is a home whose jobs the tests hand to workers.
type workshop struct {
	*testing.T
	home string
}

// open opens the home, with a clock that is ahead by so much: to whoever opens it, leases of others have ended by then.
func (w *workshop) open(ahead time.Duration, role app.Role) *app.App {
	w.Helper()
	a, err := app.Open(w.Context(), app.Options{Home: w.home, Role: role, Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = a.Close() })
	return a
}

// hand leaves a job to a worker, on behalf of the operator.
func (w *workshop) hand(a *app.App, kind string, params map[string]string, refs ...string) *job.Job {
	w.Helper()
	who, err := a.Operator()
	if err != nil {
		w.Fatal(err)
	}
	j, err := a.Jobs.New(w.Context(), who, kind, params, refs)
	if err == nil {
		j, err = a.Jobs.Hand(w.Context(), access.Ask{Caller: who, Context: access.Context{Now: a.Now(), Local: true, Request: "test"}}, j.ID)
	}
	if err != nil {
		w.Fatal(err)
	}
	return j
}

func (w *workshop) job(a *app.App, id string) *job.Job {
	w.Helper()
	j, err := a.Jobs.Get(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return j
}

// worker starts `coffer worker` as a process of its own.
func (w *workshop) worker(args ...string) *workerProcess {
	w.Helper()
	p := &workerProcess{T: w.T, cmd: exec.CommandContext(w.Context(), "coffer", append([]string{"worker", "--home", w.home}, args...)...)}
	p.cmd.Env = append(os.Environ(), "COFFER_SERVER=")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it has ended, unless the test failed
	return p
}

type workerProcess struct {
	*testing.T
	cmd      *exec.Cmd
	out, log said
}

// said is what a process says, which may be looked at while it runs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (p *workerProcess) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// end waits for the end of the process, which must have this exit code and have said nothing that it must not say.
func (p *workerProcess) end(code int) {
	p.Helper()
	_ = p.cmd.Wait() // its code is looked at
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.Fatalf("the worker ended with %d, want %d: %s", got, code, p.log.String())
	}
	if strings.Contains(p.out.String()+p.log.String(), fakeCard) {
		p.Error("the worker said the value")
	}
}

// once runs `coffer worker --once` to its end and returns the jobs that it tells of.
func (w *workshop) once(code int) []map[string]any {
	w.Helper()
	p := w.worker("--once", "--json")
	p.end(code)
	return lines(w.T, p.out.String())
}

// TestWorker: a worker of a home in a folder does what waits and no more, and says what became of it.
func TestWorker(t *testing.T) {
	w := &workshop{t, smallHome(t)}
	const first, second = "00000000000000000000000000000001", "00000000000000000000000000000002"
	a := w.open(0, app.Whole)
	if got := w.once(exitDone); len(got) != 0 {
		t.Errorf("with nothing to do: %v", got)
	}

	begun := w.hand(a, "remedy.plan", map[string]string{"action": "mask"}, first, second)
	for what, j := range map[string]*job.Job{
		"of sealed values": w.hand(a, "value.index", map[string]string{"types": "CREDIT_CARD_NUMBER"}, first),
		"that is not handed out": func() *job.Job {
			j, _ := a.Jobs.New(t.Context(), access.Caller{ID: begun.By}, "remedy.plan", nil, []string{first})
			return j
		}(),
	} {
		defer func() {
			if now := w.job(a, j.ID); now.Done != 0 || now.State != job.Interrupted {
				t.Errorf("a job %s: %s, %d done", what, now.State, now.Done)
			}
		}()
	}
	got := w.once(exitDone)
	if len(got) != 1 || got[0]["job"] != begun.ID || got[0]["state"] != "done" || got[0]["done"] != 2.0 {
		t.Fatalf("the worker told %v", got)
	}
	items, err := a.Jobs.Items(t.Context(), begun.ID)
	if err != nil || len(items) != 2 {
		t.Fatal(err)
	}

	// An item that cannot be done does not keep the next from being done, and for people there is a line with the reason.
	w.hand(a, "remedy.apply", nil, "plan-0000000000000000", items[0].Result, items[1].Result)
	p := w.worker("--once")
	p.end(exitDone)
	if said := p.out.String(); !strings.Contains(said, "remedy.apply  failed, 2 of 3 items: ") || !strings.Contains(said, "not found") {
		t.Errorf("for people: %s", said)
	}
	if log := p.log.String(); !strings.Contains(log, `"msg":"a job is taken up"`) || !strings.Contains(log, `"items":3`) {
		t.Errorf("in the log: %s", log)
	}
	for _, i := range items {
		if p, err := a.Remedy.Get(t.Context(), i.Result); err != nil || p.State != remedy.Applied {
			t.Errorf("a plan that the worker applied: %v", err)
		}
	}
	want(t, 0, []string{"check"})
}

// TestWorkerThatDies: what a killed worker began waits as long as its lease lasts, and then goes on where it was.
func TestWorkerThatDies(t *testing.T) {
	w := &workshop{t, smallHome(t)}
	a := w.open(0, app.Whole)
	// Enough items for the worker to be in the middle of them whenever it is looked at.
	refs := strings.Fields(strings.Repeat("00000000000000000000000000000001 00000000000000000000000000000002 ", 200))
	j := w.hand(a, "remedy.plan", map[string]string{"action": "mask"}, refs...)
	p := w.worker()
	for w.job(a, j.ID).Done == 0 {
		if t.Context().Err() != nil {
			t.Fatal(p.log.String())
		}
		time.Sleep(time.Millisecond) // another process; there is nothing to wait for
	}
	p.signal(syscall.SIGKILL)
	p.end(-1)
	now := w.job(a, j.ID)
	if now.State != job.Running || now.Done == 0 || now.Done >= len(refs) {
		t.Fatalf("after the kill: %s, %d done", now.State, now.Done)
	}
	if got := w.once(exitDone); len(got) != 0 {
		t.Errorf("another took it before its lease had ended: %v", got)
	}
	later := w.open(2*time.Minute, app.Worker)
	after, err := w.serve(later).Work(t.Context(), j.ID, nil)
	if err != nil || after.State != job.Done || after.Done != len(refs) || after.Failed != 0 {
		t.Errorf("when the lease had ended: %v", err)
	}
	want(t, 0, []string{"check"})
}

func (w *workshop) serve(a *app.App) *web.Server {
	w.Helper()
	s, err := a.API(web.Config{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(s.Close)
	return s
}

// TestWorkersInTheCloud: a worker is stopped in the middle of a fix, at each request that writes, by being told to end, by being killed, and by
// being frozen for longer than its lease. Another does the fix, once, and what the frozen one still wants to do when it goes on is refused.
func TestWorkersInTheCloud(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {Versioning: s3fake.VersioningEnabled}})
	// The log in a bucket, where a worker does not put it in order: its clock is wrong on purpose.
	config, err := os.OpenFile(filepath.Join(f.home, "config.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(config, "log: %q\n", "s3:moontrust-log?retention=1d&"+strings.TrimPrefix(f.objects, "s3:?"))
	if err := errors.Join(err, config.Close()); err != nil {
		t.Fatal(err)
	}
	f.coffer(exitDone, "setup")
	w := &workshop{t, f.home}
	whole := w.open(0, app.Whole)
	later := w.open(2*time.Minute, app.Worker)
	n := 0
	for _, write := range []int{1, 2} { // the kept original, the object
		for _, how := range []string{"told to end", "killed", "frozen"} {
			t.Run(fmt.Sprintf("%s at write %d", how, write), func(t *testing.T) {
				w, f := &workshop{t, f.home}, *f
				f.T = t
				n++
				key, id := fmt.Sprintf("cards-%d.csv", n), fmt.Sprintf("%032d", n)
				f.coffer(exitDone, "ingest", f.put(fakeBucket, key, id, []byte(fakeTable), s3fake.Attrs{}, fakePlace))
				plan := f.elements("remedy", "plan", id, "--action", "mask")[0]["plan"].(string)
				j := w.hand(whole, "remedy.apply", nil, plan)

				reached, goOn := make(chan struct{}), make(chan struct{})
				var writes atomic.Int64
				f.s3.Fault(func(op string, _ int) s3fake.Kind {
					if op == "PutObject" && writes.Add(1) == int64(write) {
						close(reached)
						<-goOn
					}
					return s3fake.None
				})
				defer f.s3.Fault(nil)
				p := w.worker()
				<-reached
				switch how {
				case "told to end":
					p.signal(syscall.SIGTERM)
					p.end(exitDone) // although its request is still unanswered
					if !strings.Contains(p.log.String(), "told to end; the job waits for another worker") {
						t.Errorf("it said: %s", p.log.String())
					}
					close(goOn)
					// Nobody waits for a lease.
					if waits := w.job(whole, j.ID); !waits.Waits(whole.Now()) {
						t.Fatalf("the job is %s", waits.State)
					}
				case "killed":
					p.signal(syscall.SIGKILL)
					p.end(-1)
					close(goOn)
				case "frozen":
					p.signal(syscall.SIGSTOP)
					p.frozen()
				}
				after, err := w.serve(later).Work(t.Context(), j.ID, nil)
				if err != nil || after.State != job.Done || after.Done != 1 {
					t.Fatalf("another worker: %v, %+v", err, after)
				}
				if how == "frozen" {
					done := f.s3.Versions(fakeBucket, key)
					p.signal(syscall.SIGCONT)
					close(goOn)
					refused := func() bool { return strings.Contains(p.log.String(), "another worker has the job now") }
					for !refused() && p.out.String() == "" {
						time.Sleep(5 * time.Millisecond) // another process
					}
					if !refused() {
						t.Errorf("the frozen worker was not refused: it said %s%s", p.out.String(), p.log.String())
					}
					p.signal(syscall.SIGTERM)
					p.end(exitDone)
					if now := f.s3.Versions(fakeBucket, key); len(now) != len(done) || now[0].ID != done[0].ID {
						t.Errorf("the frozen worker wrote: %d versions, then %d", len(done), len(now))
					}
					if now := w.job(whole, j.ID); now.State != job.Done || now.Failed != 0 {
						t.Errorf("the frozen worker changed the job: %s", now.State)
					}
				}
				versions := f.s3.Versions(fakeBucket, key)
				body := make([]byte, versions[0].Size)
				if _, err := versions[0].Body.ReadAt(body, 0); err != nil || len(versions) != 2 || bytes.Contains(body, []byte(fakeCard)) {
					t.Errorf("%d versions, the value still there: %t", len(versions), bytes.Contains(body, []byte(fakeCard)))
				}
				if p, err := whole.Remedy.Get(t.Context(), plan); err != nil || p.State != remedy.Applied {
					t.Errorf("the plan: %v", err)
				}
			})
		}
	}
	f.coffer(exitDone, "check")
}

// frozen waits until the system has stopped the process.
func (p *workerProcess) frozen() {
	p.Helper()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			p.Skip("no /proc")
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "T") {
			return
		}
		time.Sleep(time.Millisecond) // the system's doing
	}
}
