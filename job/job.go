package job

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// State is where a job stands.
type State string

// The states of a job.
const (
	Running     State = "running"
	Interrupted State = "interrupted" // nobody is at it; it waits for a worker, or can be resumed
	Done        State = "done"
	Failed      State = "failed" // all items were tried and some failed; they can be tried again by resuming
	Cancelled   State = "cancelled"
)

// Ended reports whether no worker is or will be at the job unless it is resumed.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

const (
	leaseTTL = time.Minute
	// MaxItems is the greatest number of items of a job.
	MaxItems = 1_000_000
	// keepFor is how long an ended job is listed.
	keepFor = 30 * 24 * time.Hour
	// maxError bounds the error that is kept of an item, in bytes.
	maxError = 500
	// Mandate is how long a worker may act on the word of who asked for a job that was handed to it. What is left then has to be asked for
	// again: by then the caller may have lost the rights that they came with. A part of the installation loses none, and nobody would ask again
	// in its stead: what it handed out waits until it is done.
	Mandate = 24 * time.Hour
)

// Job is long work: a list of items that are done one after the other, each with its own result. Items must be safe to repeat,
// because a worker can die between doing one and recording it.
//
//	J#<id>  meta          the job
//	J#<id>  i#<number>    an item and its result
//	J#<id>  lease         who is at it
//	J#<id>  cancel        somebody asked to stop it
//	JL      <id>          the list of jobs
//	JW      <id>          the list of those that wait for a worker
type Job struct {
	ID      string            `json:"job"`
	Kind    string            `json:"kind"`
	Params  map[string]string `json:"params,omitempty"` // what a resume needs to know
	By      string            `json:"by"`               // id of the caller who started it
	State   State             `json:"state"`
	Created time.Time         `json:"created"`
	Ended   time.Time         `json:"ended,omitzero"`
	Total   int               `json:"total"`
	Done    int               `json:"done"`
	Failed  int               `json:"failed"`
	Error   string            `json:"error,omitempty"` // of the item that failed last, or what stopped the worker
	// Handed is when the job was left to whatever worker is free, in this process or another, which acts on behalf of Ask. Zero: it is
	// worked at where it was asked for.
	Handed time.Time  `json:"handed,omitzero"`
	Ask    access.Ask `json:"ask,omitzero"`

	version string
}

// Waits reports whether a worker may take the job up: it was handed over, nobody is at it, and it was asked for not too long ago; see [Mandate].
func (j *Job) Waits(now time.Time) bool {
	return j.State == Interrupted && !j.Handed.IsZero() && (now.Sub(j.Handed) < Mandate || j.Ask.Caller.Kind == access.ServiceCaller)
}

// Item is one piece of a job.
type Item struct {
	Ref    string `json:"ref"` // what it is about: an id
	State  State  `json:"state,omitempty"`
	Result string `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Jobs keeps jobs in a store. It is safe for concurrent use, by several processes on one store.
type Jobs struct {
	DB     store.DB
	Guard  *audit.Guard
	Now    func() time.Time
	Worker string // names this process in leases
}

func part(id string) string           { return "J#" + id }
func metaKey(id string) store.Key     { return store.Key{Part: part(id), Sort: "meta"} }
func cancelKey(id string) store.Key   { return store.Key{Part: part(id), Sort: "cancel"} }
func leaseKey(id string) store.Key    { return store.Key{Part: part(id), Sort: "lease"} }
func listKey(id string) store.Key     { return store.Key{Part: "JL", Sort: id} }
func waitKey(id string) store.Key     { return store.Key{Part: "JW", Sort: id} }
func itemSort(n int) string           { return fmt.Sprintf("i#%08d", n) }
func put(k store.Key, v any) store.Op { return putIf(k, v, store.Any) }

func putIf(k store.Key, v any, expect string) store.Op {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers and times
	}
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{Key: k, Value: b, Version: store.NewVersion()}}
}

// New records a job with these items, which nobody works at yet. What each item does asks the policy by itself; making a job
// gives no right to anything. Jobs that ended more than 30 days ago are removed.
func (q *Jobs) New(ctx context.Context, who access.Caller, kind string, params map[string]string, refs []string) (*Job, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return q.Named(ctx, who, hex.EncodeToString(b[:]), kind, params, refs)
}

// Named is New for a job named after the attempt that makes it (see [Once.Attempt]): when the attempt is repeated it returns the job
// that is there. Without an attempt it is New.
func (q *Jobs) Named(ctx context.Context, who access.Caller, attempt, kind string, params map[string]string, refs []string) (*Job, error) {
	if attempt == "" {
		return q.New(ctx, who, kind, params, refs)
	}
	if j, err := q.Get(ctx, "job-"+attempt); !errors.Is(err, coffer.ErrNotFound) {
		return j, err
	}
	if len(refs) > MaxItems {
		return nil, fmt.Errorf("job of %d items, at most %d: %w", len(refs), MaxItems, coffer.ErrLimit)
	}
	if err := q.prune(ctx); err != nil {
		return nil, err
	}
	j := &Job{ID: "job-" + attempt, Kind: kind, Params: params, By: who.ID, State: Running, Created: q.Now().UTC(), Total: len(refs)}
	n := 0
	for batch := range slices.Chunk(refs, store.MaxOps) {
		var ops []store.Op
		for _, ref := range batch {
			ops = append(ops, put(store.Key{Part: part(j.ID), Sort: itemSort(n)}, Item{Ref: ref}))
			n++
		}
		if err := q.DB.Apply(ctx, ops...); err != nil {
			return nil, fmt.Errorf("store job: %w", err)
		}
	}
	// The job last: what a crash leaves of a half-made one is in no list.
	op := putIf(metaKey(j.ID), j, store.Absent)
	j.version = op.Item.Version
	if err := q.DB.Apply(ctx, op, put(listKey(j.ID), j.Kind)); err != nil {
		return nil, fmt.Errorf("store job: %w", err)
	}
	return j, nil
}

// Get returns a job; an error wrapping coffer.ErrNotFound when there is none.
func (q *Jobs) Get(ctx context.Context, id string) (*Job, error) {
	if !strings.HasPrefix(id, "job-") || len(id) > 64 {
		return nil, fmt.Errorf("job: %w", coffer.ErrNotFound)
	}
	it, err := q.DB.Get(ctx, metaKey(id))
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", id, err)
	}
	j := &Job{version: it.Version}
	if err := json.Unmarshal(it.Value, j); err != nil {
		return nil, fmt.Errorf("job %s: %w", id, coffer.ErrCorrupt)
	}
	if j.State != Running {
		return j, nil
	}
	busy, err := q.busy(ctx, id)
	if err == nil && !busy {
		j.State = Interrupted
	}
	return j, err
}

// Hand leaves a job that was made by [Jobs.New] or [Jobs.Named], or whose failed items are to be tried again, to whatever worker is free, on
// behalf of ask; [Jobs.Waiting] lists it from then on. The items ask the policy by themselves, with what is in force when they are done.
// A job at which a worker is, or that waits already for the same caller, is left as it is. One that is done or cancelled gives an error
// wrapping coffer.ErrConflict.
func (q *Jobs) Hand(ctx context.Context, ask access.Ask, id string) (*Job, error) {
	for range 8 {
		j, err := q.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		switch {
		case j.State == Done || j.State == Cancelled:
			return j, fmt.Errorf("job %s is %s: %w", id, j.State, coffer.ErrConflict)
		case j.State == Running, j.Waits(q.Now()) && j.Ask.Caller.ID == ask.Caller.ID:
			return j, nil
		}
		ask.Context = ask.Context.Claimed()
		j.State, j.Ended, j.Handed, j.Ask = Running, time.Time{}, q.Now().UTC(), ask
		op := putIf(metaKey(id), j, j.version)
		err = q.DB.Apply(ctx, op, put(waitKey(id), j.Kind))
		if errors.Is(err, coffer.ErrConflict) {
			continue // a worker was at it
		}
		if err != nil {
			return nil, fmt.Errorf("store job %s: %w", id, err)
		}
		j.State, j.version = Interrupted, op.Item.Version
		return j, nil
	}
	return nil, fmt.Errorf("job %s: others keep changing it: %w", id, coffer.ErrConflict)
}

// Waiting returns the jobs that wait for a worker, without asking the policy, in no particular order. It forgets those that wait no more.
func (q *Jobs) Waiting(ctx context.Context) ([]*Job, error) {
	var out []*Job
	for it, err := range q.DB.Query(ctx, "JW", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("jobs that wait: %w", err)
		}
		j, err := q.Get(ctx, it.Key.Sort)
		if err != nil && !errors.Is(err, coffer.ErrNotFound) {
			return nil, err
		}
		switch {
		case err == nil && j.Waits(q.Now()):
			out = append(out, j)
		case err != nil || j.State.Ended() || j.State == Interrupted:
			// The version keeps one that is handed over again in this moment.
			op := store.Op{Verb: store.Delete, Expect: it.Version, Item: store.Item{Key: it.Key}}
			if err := q.DB.Apply(ctx, op); err != nil && !errors.Is(err, coffer.ErrConflict) {
				return nil, fmt.Errorf("jobs that wait: %w", err)
			}
		}
	}
	return out, nil
}

// busy reports whether a worker holds the job.
func (q *Jobs) busy(ctx context.Context, id string) (bool, error) {
	it, err := q.DB.Get(ctx, leaseKey(id))
	if errors.Is(err, coffer.ErrNotFound) {
		return false, nil
	}
	var l Lease
	if err == nil && json.Unmarshal(it.Value, &l) != nil {
		err = coffer.ErrCorrupt
	}
	if err != nil {
		return false, fmt.Errorf("lease of job %s: %w", id, err)
	}
	return q.Now().Before(l.Until), nil
}

// Items returns the items of a job with their results.
func (q *Jobs) Items(ctx context.Context, id string) ([]Item, error) {
	var out []Item
	for it, err := range q.DB.Query(ctx, part(id), store.Range{From: "i#", To: "i$"}) {
		if err != nil {
			return nil, fmt.Errorf("items of job %s: %w", id, err)
		}
		var i Item
		if err := json.Unmarshal(it.Value, &i); err != nil {
			return nil, fmt.Errorf("items of job %s: %w", id, coffer.ErrCorrupt)
		}
		out = append(out, i)
	}
	return out, nil
}

// Run works at the items of the job that are not done yet, in their order, and tries again those that failed. work does one item
// and returns a short result for the record, which holds no value; its context ends when the job is lost to another worker. An
// error of work that trying again would not change, or a conflict, is the item's result, and the next item follows; any other,
// and the end of ctx, stops the worker and leaves the job to be resumed by another Run.
//
// Between two items Run looks whether the job was cancelled; then it ends it and returns nil. progress, if not nil, is told how
// far the job has come. A job at which another worker is gives an error wrapping coffer.ErrConflict.
func (q *Jobs) Run(ctx context.Context, id string, work func(ctx context.Context, ref string) (string, error), progress func(*Job)) (*Job, error) {
	j, err := q.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if j.State == Done || j.State == Cancelled {
		return j, fmt.Errorf("job %s is %s: %w", id, j.State, coffer.ErrConflict)
	}
	held, err := Acquire(ctx, q.DB, leaseKey(id), q.Worker, leaseTTL, q.Now)
	if err != nil {
		return j, fmt.Errorf("job %s: %w", id, err)
	}
	w := &worker{q: q, lease: held}
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	stop := w.keep(ctx, lost)
	defer func() {
		stop()
		held.Release(ctx)
	}()
	if j, err = q.Get(ctx, id); err != nil { // again, now that nobody else changes it
		return nil, err
	}
	j.State, j.Error, j.Failed, j.Ended = Running, "", 0, time.Time{}
	err = w.run(ctx, j, work, progress)
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	return j, err
}

// worker is one call of Run.
type worker struct {
	q     *Jobs
	mu    sync.Mutex // guards lease
	lease *Lease
}

// keep renews the lease while an item takes long.
func (w *worker) keep(ctx context.Context, lost context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(leaseTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			w.mu.Lock()
			err := w.lease.Renew(ctx)
			w.mu.Unlock()
			if errors.Is(err, coffer.ErrConflict) {
				lost(fmt.Errorf("the job was taken over by another worker: %w", err))
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (w *worker) run(ctx context.Context, j *Job, work func(context.Context, string) (string, error), progress func(*Job)) error {
	n := -1
	for it, err := range w.q.DB.Query(ctx, part(j.ID), store.Range{From: "i#", To: "i$"}) {
		if err != nil {
			return fmt.Errorf("items of job %s: %w", j.ID, err)
		}
		n++
		var i Item
		if err := json.Unmarshal(it.Value, &i); err != nil || it.Key.Sort != itemSort(n) {
			return fmt.Errorf("items of job %s: %w", j.ID, coffer.ErrCorrupt)
		}
		if i.State == Done {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		cancelled, err := w.q.cancelled(ctx, j.ID)
		if err != nil {
			return err
		}
		if cancelled {
			return w.end(ctx, j, Cancelled)
		}
		result, err := work(ctx, i.Ref)
		switch {
		case err == nil:
			i = Item{Ref: i.Ref, State: Done, Result: result}
			j.Done++
		case ctx.Err() != nil:
			return err
		case coffer.Permanent(err) || errors.Is(err, coffer.ErrConflict):
			i = Item{Ref: i.Ref, State: Failed, Error: short(err)}
			j.Failed++
			j.Error = i.Error
		default:
			// Whoever looks at the job is told what stopped it, unless that is the store itself.
			j.Error = short(err)
			_ = w.record(ctx, j) // the job can be resumed as it is
			return err
		}
		if err := w.record(ctx, j, put(it.Key, i)); err != nil {
			return err
		}
		if progress != nil {
			progress(j)
		}
	}
	if n+1 != j.Total {
		return fmt.Errorf("job %s has %d items, of %d: %w", j.ID, n+1, j.Total, coffer.ErrCorrupt)
	}
	state := Done
	if j.Failed > 0 {
		state = Failed
	}
	return w.end(ctx, j, state)
}

func short(err error) string {
	s := err.Error()
	if len(s) > maxError {
		s = strings.ToValidUTF8(s[:maxError], "")
	}
	return s
}

// record stores the job with more, if the lease is still ours.
func (w *worker) record(ctx context.Context, j *Job, more ...store.Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.lease.Renew(ctx); err != nil {
		return err
	}
	op := putIf(metaKey(j.ID), j, j.version)
	if err := w.q.DB.Apply(ctx, append(more, op, w.lease.Held())...); err != nil {
		return fmt.Errorf("store job %s: %w", j.ID, err)
	}
	j.version = op.Item.Version
	return nil
}

func (w *worker) end(ctx context.Context, j *Job, s State) error {
	j.State, j.Ended = s, w.q.Now().UTC()
	return w.record(ctx, j,
		store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: cancelKey(j.ID)}},
		store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: waitKey(j.ID)}})
}

func (q *Jobs) cancelled(ctx context.Context, id string) (bool, error) {
	_, err := q.DB.Get(ctx, cancelKey(id))
	if errors.Is(err, coffer.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// List returns the jobs that the caller may see, the newest first: all, or those that the caller started.
func (q *Jobs) List(ctx context.Context, ask access.Ask) ([]*Job, error) {
	policy, err := q.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	ask.Context.Requester = ""
	all := policy.Decide(access.Request{
		Caller: ask.Caller, Action: access.AdminJob, Resource: access.Resource{Kind: access.System}, Context: ask.Context,
	}).Allow
	if !all {
		ask.Context.Requester = ask.Caller.ID
	}
	permit, err := q.Guard.Check(ctx, ask.Caller, access.AdminJob, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	out, err := q.All(ctx)
	if err != nil {
		return nil, err
	}
	if !all {
		out = slices.DeleteFunc(out, func(j *Job) bool { return j.By != ask.Caller.ID })
	}
	slices.SortFunc(out, func(a, b *Job) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	_, err = q.Guard.Log.Append(ctx, permit.Entry(audit.Done))
	return out, err
}

// All returns the jobs without asking the policy.
func (q *Jobs) All(ctx context.Context) ([]*Job, error) {
	var out []*Job
	for it, err := range q.DB.Query(ctx, "JL", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("list of jobs: %w", err)
		}
		j, err := q.Get(ctx, it.Key.Sort)
		if errors.Is(err, coffer.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}

// Cancel ends a job: at once when nobody is at it, else its worker ends it after the item that it is doing now. What was done
// stays done. A job that has ended gives an error wrapping coffer.ErrConflict.
func (q *Jobs) Cancel(ctx context.Context, ask access.Ask, id string) (*Job, error) {
	j, err := q.Get(ctx, id)
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return nil, err
	}
	// Policies may let people see to what they started. That they did is the store's word.
	ask.Context.Requester = ""
	if err == nil {
		ask.Context.Requester = j.By
	}
	permit, denied := q.Guard.Check(ctx, ask.Caller, access.AdminJob, access.Resource{Kind: access.System}, ask.Context)
	if denied != nil {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	if j.State.Ended() {
		return j, fmt.Errorf("job %s is %s: %w", id, j.State, coffer.ErrConflict)
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"job": id, "step": "cancel"}
	// The flag in either case: a worker may be about to resume.
	ops := []store.Op{put(cancelKey(id), ask.Caller.ID)}
	if j.State == Interrupted {
		j.State, j.Ended = Cancelled, q.Now().UTC()
		ops = append(ops, putIf(metaKey(id), j, j.version))
	}
	_, err = q.Guard.Log.Apply(ctx, e, ops...)
	return j, err
}

// prune removes jobs that ended long ago.
func (q *Jobs) prune(ctx context.Context) error {
	jobs, err := q.All(ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.State.Ended() || q.Now().Sub(j.Ended) < keepFor {
			continue
		}
		keys := []store.Key{listKey(j.ID)} // first, so that a crash leaves no listed job without items
		for it, err := range q.DB.Query(ctx, part(j.ID), store.Range{}) {
			if err != nil {
				return fmt.Errorf("remove job %s: %w", j.ID, err)
			}
			keys = append(keys, it.Key)
		}
		for batch := range slices.Chunk(keys, store.MaxOps) {
			var ops []store.Op
			for _, k := range batch {
				ops = append(ops, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: k}})
			}
			if err := q.DB.Apply(ctx, ops...); err != nil {
				return fmt.Errorf("remove job %s: %w", j.ID, err)
			}
		}
	}
	return nil
}
