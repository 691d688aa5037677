package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/job"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/triage"
)

// Kinds of jobs. They are those of the command line, with the same parameters: either can resume what the other began.
const (
	kindPlan   = "remedy.plan"
	kindApply  = "remedy.apply"
	kindIndex  = "value.index"
	kindRotate = "key.rotate"
	kindUndo   = "remedy.undo"
	kindPurge  = remedy.PurgeJob
	kindSweep  = remedy.SweepJob
	// Of findings.
	kindRelocate = "finding.relocate"
	kindConfirm  = "event.confirm"
	kindTake     = pipeline.TakeJob
	kindWork     = "finding.work"
	// Of Macie's list.
	kindReconcile = pipeline.ReconcileJob
)

// atOnce is how many jobs a process works at; others wait.
const atOnce = 2

// runner works at the jobs that requests start.
type runner struct {
	s       *Server
	ctx     context.Context
	stop    context.CancelFunc
	places  chan struct{}
	running atomic.Int64
	queued  atomic.Int64
	wg      sync.WaitGroup
	mu      sync.Mutex // guards the rest
	closed  bool
	at      map[string]int // the jobs that run or wait here
}

func newRunner(s *Server) *runner {
	ctx, stop := context.WithCancel(context.Background())
	return &runner{s: s, ctx: ctx, stop: stop, places: make(chan struct{}, atOnce), at: map[string]int{}}
}

// close stops the jobs after the item that each is doing now, and waits. They can be resumed.
func (r *runner) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
}

// start records a job and begins to work at it. attempt names it, so that a repeated attempt finds it; empty: any name.
func (r *runner) start(ctx context.Context, c *call, kind, attempt string, params map[string]string, refs []string) (*job.Job, error) {
	j, err := r.s.Jobs.Named(ctx, c.ask.Caller, attempt, kind, params, refs)
	if err != nil {
		return nil, err
	}
	return j, r.work(ctx, c, j)
}

// work works at a job in the background, as the caller of c, or hands it to who does.
func (r *runner) work(ctx context.Context, c *call, j *job.Job) error {
	if r.s.Hand != nil {
		return r.hand(ctx, c, j)
	}
	do, err := r.s.items(j)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("the server is ending; resume the job later: %w", coffer.ErrUnavailable)
	}
	r.queued.Add(1)
	r.at[j.ID]++
	ask := c.ask
	r.wg.Go(func() {
		defer r.left(j.ID)
		select {
		case r.places <- struct{}{}:
			r.queued.Add(-1)
		case <-r.ctx.Done():
			r.queued.Add(-1)
			return
		}
		defer func() { <-r.places }()
		r.running.Add(1)
		defer r.running.Add(-1)
		_, err := r.run(r.ctx, ask, j, do, nil)
		if err != nil && !errors.Is(err, coffer.ErrConflict) && r.ctx.Err() == nil {
			r.s.log.Error("a job stopped", "job", j.ID, "error", err)
		}
	})
	return nil
}

// run works at a job on behalf of ask.
func (r *runner) run(ctx context.Context, ask access.Ask, j *job.Job, do doing, progress func(*job.Job)) (*job.Job, error) {
	return r.s.Jobs.Run(ctx, j.ID, func(ctx context.Context, ref string) (string, error) {
		ask := ask
		ask.Context.Now = r.s.Now()
		result := ""
		who, err := r.s.still(ctx, ask)
		if err == nil {
			ask.Caller = who
			result, err = do(ctx, ask, ref)
		}
		outcome := "done"
		if err != nil {
			outcome = "failed"
		}
		r.s.metrics.items.WithLabelValues(j.Kind, outcome).Inc()
		return result, err
	}, progress)
}

// still returns who began work as they are by now: each item is done for them, and of who was kept out none is. In a worker, to which
// nobody comes, the people of the installation are asked.
func (s *Server) still(ctx context.Context, ask access.Ask) (access.Caller, error) {
	switch {
	case s.Auth != nil:
		return s.Auth.Still(ctx, ask)
	case s.People != nil:
		return s.People.Still(ctx, ask)
	}
	return ask.Caller, nil
}

// hand leaves a job to the workers. That one is told of it only makes it quicker: they look for what waits, too.
func (r *runner) hand(ctx context.Context, c *call, j *job.Job) error {
	handed, err := r.s.Jobs.Hand(ctx, c.ask, j.ID)
	if errors.Is(err, coffer.ErrConflict) && j.State.Ended() {
		return nil // a repeated attempt, whose job is done
	}
	if err != nil {
		return err
	}
	if err := r.s.Hand(ctx, handed); err != nil {
		r.s.log.WarnContext(ctx, "no worker was told of a job; it waits", "job", j.ID, "error", err)
	}
	return nil
}

// Work takes up a job that waits (see [job.Jobs.Hand]) and works at it, on behalf of who asked for it, until it has ended or ctx has. It
// returns the job as it stands then. One that does not wait, since another worker is at it or it has ended, gives an error wrapping
// coffer.ErrConflict; other errors are those of [job.Jobs.Run]. progress, if not nil, is told how far it has come.
func (s *Server) Work(ctx context.Context, id string, progress func(*job.Job)) (*job.Job, error) {
	j, err := s.Jobs.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !j.Waits(s.Now()) {
		return j, fmt.Errorf("job %s does not wait for a worker: %w", id, coffer.ErrConflict)
	}
	do, err := s.items(j)
	if err != nil {
		return j, err
	}
	s.runner.running.Add(1)
	defer s.runner.running.Add(-1)
	return s.runner.run(ctx, j.Ask, j, do, progress)
}

func (r *runner) left(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at[id]--; r.at[id] == 0 {
		delete(r.at, id)
	}
}

// has reports whether the job runs or waits in this process.
func (r *runner) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[id] > 0
}

// doing does an item of a job and returns a short result.
type doing func(ctx context.Context, ask access.Ask, ref string) (string, error)

// items returns what the items of a job do. Each asks the policy by itself.
func (s *Server) items(j *job.Job) (doing, error) {
	p := j.Params
	switch j.Kind {
	case kindPlan:
		opt := remedy.Options{Action: remedy.Action(p["action"]), Include: include(strings.Fields(p["include"])), OnlyReported: p["onlyReported"] == "true"}
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			groups, err := s.Remedy.Groups(ctx, ref)
			if err != nil {
				return "", err
			}
			made, err := s.Remedy.Plan(ctx, ask, groups[0], opt)
			if err != nil {
				return "", err
			}
			return made.ID, nil
		}, nil
	case kindApply:
		closing := remedy.Closing{Origin: p["origin"], CorrectiveAction: p["correctiveAction"]}
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			done, err := s.Remedy.Apply(ctx, ask, ref, closing)
			if err != nil {
				return "", err
			}
			return string(done.State), nil
		}, nil
	case kindUndo:
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			_, err := s.Remedy.Undo(ctx, ask, ref)
			return s.reached(ctx, ref, remedy.Undone, err)
		}, nil
	case kindPurge:
		opt := remedy.PurgeOptions{Values: p["values"] == "true"}
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			_, err := s.Remedy.Purge(ctx, ask, ref, opt)
			return s.reached(ctx, ref, remedy.Purged, err)
		}, nil
	case kindSweep:
		return func(ctx context.Context, _ access.Ask, _ string) (string, error) {
			n, err := s.Home.SweepStages(ctx)
			return strconv.Itoa(n), err
		}, nil
	case kindRelocate, kindConfirm:
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			res, err := pipeline.Result{}, error(nil)
			if j.Kind == kindRelocate {
				res, err = s.Pipeline.Relocate(ctx, ask, ref)
			} else {
				res, err = s.Pipeline.Confirm(ctx, ask, ref, p["seen"])
			}
			s.metrics.sealed.Add(float64(res.Sealed))
			return string(res.Status), err
		}, nil
	case kindTake:
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			res, err := s.Pipeline.Resume(ctx, ask, ref)
			s.metrics.sealed.Add(float64(res.Sealed))
			return string(res.Status), err
		}, nil
	case kindReconcile:
		return s.Pipeline.ReconcileStep, nil
	case kindWork:
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			rec, err := s.do(ctx, ask, triage.Target{Finding: ref, Attempt: j.ID}, p)
			if err != nil {
				return "", err
			}
			return string(rec.Status), nil
		}, nil
	case kindIndex:
		var types []coffer.DataType
		for _, t := range strings.Fields(p["types"]) {
			types = append(types, coffer.DataType(t))
		}
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			n, err := s.Vault.IndexFinding(ctx, ask, ref, types)
			if notThere(err) {
				err = nil // its values were destroyed
			}
			return strconv.Itoa(n), err
		}, nil
	case kindRotate:
		return func(ctx context.Context, ask access.Ask, ref string) (string, error) {
			n, err := s.Home.Rewrap(ctx, ask, ref)
			return strconv.Itoa(n), err
		}, nil
	}
	return nil, fmt.Errorf("a job of this kind is not run by a server: %w", coffer.ErrUnsupported)
}

// reached is the result of an item that brings a plan into a state. One that is there already is the work of the same item, before
// its worker died.
func (s *Server) reached(ctx context.Context, plan string, state remedy.State, err error) (string, error) {
	if errors.Is(err, coffer.ErrConflict) {
		if p, gerr := s.Remedy.Get(ctx, plan); gerr == nil && p.State == state {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	return string(state), nil
}

func include(words []string) remedy.Include {
	return remedy.Include{Rejected: slices.Contains(words, "rejected"), Region: slices.Contains(words, "region"), Possible: slices.Contains(words, "possible")}
}

type itemsIn struct {
	Job    string `path:"job" maxLength:"64"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000"`
	Cursor string `query:"cursor" maxLength:"512"`
}

type streamIn struct {
	Job  string `path:"job" maxLength:"64"`
	Last string `header:"Last-Event-ID" maxLength:"64" doc:"Id of the last event that was seen."`
}

func (s *Server) jobRoutes() {
	handle(s, &route{
		id: "list-jobs", method: http.MethodGet, path: "/v1/jobs", tag: "jobs", action: access.AdminJob, own: true, summary: "List long work, newest first: all, or what the caller started",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Jobs], error) {
		list, err := s.Jobs.List(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Jobs]{Status: http.StatusOK, Body: api.Jobs{Jobs: []api.Job{}}}
		for _, j := range list {
			out.Body.Jobs = append(out.Body.Jobs, s.jobOf(j))
		}
		return out, nil
	})
	handle(s, &route{
		id: "show-job", method: http.MethodGet, path: "/v1/jobs/{job}", tag: "jobs", action: access.AdminJob, on: work, summary: "Show a job",
	}, func(ctx context.Context, _ *call, in *ofJob) (*reply[api.Job], error) {
		j, err := s.Jobs.Get(ctx, in.Job)
		if err != nil {
			return nil, err
		}
		return &reply[api.Job]{Status: http.StatusOK, Body: s.jobOf(j)}, nil
	})
	handle(s, &route{
		id: "list-items", method: http.MethodGet, path: "/v1/jobs/{job}/items", tag: "jobs", action: access.AdminJob, on: work,
		summary: "The items of a job with their results",
	}, func(ctx context.Context, c *call, in *itemsIn) (*reply[api.Items], error) {
		var start int
		if _, err := s.from(c, in.Job, in.Cursor, &start); err != nil {
			return nil, err
		}
		list, err := s.Jobs.Items(ctx, in.Job)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Items]{Status: http.StatusOK, Body: api.Items{Items: []api.Item{}}}
		start = min(start, len(list))
		end := min(len(list), start+pageLimit(in.Limit))
		for _, i := range list[start:end] {
			out.Body.Items = append(out.Body.Items, api.Item{Ref: i.Ref, State: string(i.State), Result: i.Result, Error: i.Error})
		}
		if end < len(list) {
			out.Body.Next, err = s.cursor(c, in.Job, end)
		}
		return out, err
	})
	handle(s, &route{
		id: "cancel-job", method: http.MethodPost, path: "/v1/jobs/{job}/cancel", tag: "jobs", action: access.AdminJob, on: work,
		summary: "Stop a job after the item that it is doing now", also: []int{409},
	}, func(ctx context.Context, c *call, in *actsOnJob) (*reply[api.Job], error) {
		j, err := s.Jobs.Cancel(ctx, c.ask, in.Job)
		if err != nil {
			return nil, err
		}
		return &reply[api.Job]{Status: http.StatusOK, Body: s.jobOf(j)}, nil
	})
	handle(s, &route{
		id: "resume-job", method: http.MethodPost, path: "/v1/jobs/{job}/resume", tag: "jobs", action: access.AdminJob, on: work, status: http.StatusAccepted,
		summary: "Take up a job that was interrupted, or try again what failed", also: []int{409},
		doc: "The items are done on behalf of who resumes the job, and each asks the policies by itself.",
	}, func(ctx context.Context, c *call, in *actsOnJob) (*reply[api.Job], error) {
		j, err := s.Jobs.Get(ctx, in.Job)
		if err != nil {
			return nil, err
		}
		if shown := s.jobOf(j); shown.State != string(job.Interrupted) && shown.State != string(job.Failed) {
			return nil, fmt.Errorf("the job is %s: %w", j.State, coffer.ErrConflict)
		}
		if err := s.runner.work(ctx, c, j); err != nil {
			return nil, err
		}
		return s.accepted(j), nil
	})
	handle(s, &route{
		id: "follow-job", method: http.MethodGet, path: "/v1/jobs/{job}/events", tag: "jobs", action: access.AdminJob, on: work,
		summary: "Follow a job by server-sent events", stream: eventStream,
		doc: "An event `job` with the job whenever it came further, the last when it ends. Taken up with Last-Event-ID it begins with what is new.",
	}, s.followJob)
}

func (s *Server) accepted(j *job.Job) *reply[api.Job] {
	return &reply[api.Job]{Status: http.StatusAccepted, Location: "/v1/jobs/" + j.ID, Body: s.jobOf(j)}
}

// jobOf shows a job. One that waits for its place is not interrupted.
func (s *Server) jobOf(j *job.Job) api.Job {
	state := j.State
	if state == job.Interrupted && (s.runner.has(j.ID) || j.Waits(s.Now())) {
		state = job.Running
	}
	return api.Job{
		Job: j.ID, Kind: j.Kind, Params: j.Params, By: j.By, State: string(state), Created: j.Created, Ended: j.Ended, Total: j.Total,
		Done: j.Done, Failed: j.Failed, Error: j.Error,
	}
}

// followJob sends how far the job has come until it ends. Whoever works at it, in this process or another, records it in the store; that
// is looked at once a second.
func (s *Server) followJob(_ context.Context, _ *call, in *streamIn) (*streamed, error) {
	return &streamed{Body: func(hc huma.Context) {
		ctx := hc.Context()
		ev := newEvents(s, hc)
		if of(ctx).local {
			ev.tick = 10 * time.Millisecond // in the process itself somebody waits for the end and nothing else
		}
		last := in.Last
		for {
			j, err := s.Jobs.Get(ctx, in.Job)
			if err != nil {
				ev.fail(ctx, err)
				return
			}
			shown := s.jobOf(j)
			over := j.State.Ended() || shown.State == string(job.Interrupted)
			id := fmt.Sprintf("%d-%d-%s", j.Done, j.Failed, shown.State)
			if id != last || over {
				if !ev.send("job", id, shown) {
					return
				}
				last = id
			}
			if over || !ev.wait(ctx) {
				return
			}
		}
	}}, nil
}

const eventStream = "text/event-stream"

// heartbeat is how long a stream of events is silent at most, so that what stands between does not take it for dead.
const heartbeat = 15 * time.Second

// events writes server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type events struct {
	*lines
	c      *call
	tick   time.Duration // between two looks
	silent time.Duration
}

func newEvents(s *Server, hc huma.Context) *events {
	return &events{lines: newLines(s, hc, eventStream), c: of(hc.Context()), tick: s.tick}
}

// send writes one event and reports whether the reader is still there.
func (e *events) send(kind, id string, v any) bool {
	var b strings.Builder
	if marshal(&b, v) != nil {
		return false
	}
	e.silent = 0
	return e.raw("event: " + kind + "\nid: " + id + "\ndata: " + strings.TrimSuffix(b.String(), "\n") + "\n\n")
}

// wait waits until it is time to look again, and reports whether there is still somebody to look for, who may still see it.
func (e *events) wait(ctx context.Context) bool {
	if !e.begun && !e.raw(": begun\n\n") {
		return false
	}
	t := time.NewTimer(e.tick)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-e.s.closing:
		return false
	case <-t.C:
	}
	if p := e.s.again(ctx, e.c); p != nil {
		e.send("problem", "", p.Problem)
		return false
	}
	if e.silent += e.tick; e.silent >= heartbeat {
		e.silent = 0
		return e.raw(": still here\n\n")
	}
	return true
}

// fail ends the stream with an error.
func (e *events) fail(ctx context.Context, err error) {
	var p *problem
	asProblem(e.s.fail(ctx, err), &p)
	if !e.begun {
		p.write(e.w)
		return
	}
	e.send("problem", "", p.Problem)
}
