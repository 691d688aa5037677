package job_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/job"
)

// TestHand: a job that is handed out waits for a worker until one is at it, until it has ended, and no longer than the mandate.
func TestHand(t *testing.T) {
	b := newBench(t)
	q, other := b.jobs("w"), b.jobs("o")
	ctx := t.Context()
	waiting := func() (ids []string) {
		t.Helper()
		list, err := other.Waiting(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			ids = append(ids, j.ID)
		}
		return ids
	}
	j, err := q.New(ctx, operator, "test", nil, refs(2))
	if err != nil {
		t.Fatal(err)
	}
	if w := waiting(); len(w) != 0 {
		t.Errorf("before it is handed out: %v", w)
	}
	asked := ask(operator)
	asked.Context.Reason = "investigation"
	handed, err := q.Hand(ctx, asked, j.ID)
	if err != nil || !handed.Waits(b.now) || handed.Ask.Caller.ID != operator.ID {
		t.Fatalf("handed out: %+v, %v", handed, err)
	}
	if again, err := other.Hand(ctx, asked, j.ID); err != nil || !again.Handed.Equal(handed.Handed) {
		t.Errorf("handed out again: %v", err)
	}
	if w := waiting(); len(w) != 1 || w[0] != j.ID {
		t.Fatalf("handed out: %v", w)
	}

	stop := errors.New("the service is away")
	_, err = other.Run(ctx, j.ID, func(context.Context, string) (string, error) {
		if w := waiting(); len(w) != 0 {
			t.Errorf("while a worker is at it: %v", w)
		}
		if _, err := q.Run(ctx, j.ID, nil, nil); !errors.As(err, new(*job.BusyError)) {
			t.Errorf("another worker: %v", err)
		}
		return "", stop
	}, nil)
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if w := waiting(); len(w) != 1 {
		t.Errorf("when its worker has stopped: %v", w)
	}

	// Too long after it was asked for nobody acts on it, until somebody asks again.
	b.now = b.now.Add(job.Mandate - time.Second)
	if w := waiting(); len(w) != 1 {
		t.Errorf("within the mandate: %v", w)
	}
	b.now = b.now.Add(time.Second)
	if w := waiting(); len(w) != 0 {
		t.Errorf("after the mandate: %v", w)
	}
	stranger := access.Caller{ID: "eng-2", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	if again, err := q.Hand(ctx, ask(stranger), j.ID); err != nil || again.Ask.Caller.ID != "eng-2" || again.By != operator.ID {
		t.Errorf("asked for again by another: %v", err)
	}
	if w := waiting(); len(w) != 1 {
		t.Errorf("asked for again: %v", w)
	}

	// An item that failed is tried again when the job is handed out again; one that is done is not.
	fail := map[string]bool{}
	times := map[string]int{}
	work := func(_ context.Context, ref string) (string, error) {
		times[ref]++
		if fail[ref] {
			return "", coffer.ErrNotFound
		}
		return "ok", nil
	}
	for i := range refs(2) {
		fail[refs(2)[i]] = i == 1
	}
	if done, err := other.Run(ctx, j.ID, work, nil); err != nil || done.State != job.Failed || done.Failed != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if w := waiting(); len(w) != 0 {
		t.Errorf("when it has failed: %v", w)
	}
	if _, err := q.Hand(ctx, asked, j.ID); err != nil {
		t.Fatal(err)
	}
	clear(fail)
	if done, err := other.Run(ctx, j.ID, work, nil); err != nil || done.State != job.Done || times[refs(2)[0]] != 1 || times[refs(2)[1]] != 2 {
		t.Errorf("tried again: %+v, %v, %v", done, err, times)
	}
	if w := waiting(); len(w) != 0 {
		t.Errorf("when it is done: %v", w)
	}
	if _, err := q.Hand(ctx, asked, j.ID); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("one that is done: %v", err)
	}
}

// TestHandedByTheInstallation: what intake left to a worker waits for one, however long there is none; no person would ask for it again.
func TestHandedByTheInstallation(t *testing.T) {
	b := newBench(t)
	q, ctx := b.jobs("w1"), t.Context()
	service := access.Caller{ID: "intake", Kind: access.ServiceCaller, Roles: []string{access.RoleService}}
	j, err := q.New(ctx, service, "test", nil, refs(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Hand(ctx, ask(service), j.ID); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(40 * job.Mandate)
	if list, err := q.Waiting(ctx); err != nil || len(list) != 1 || list[0].ID != j.ID {
		t.Fatalf("after forty days: %v, %v", list, err)
	}
	done, err := q.Run(ctx, j.ID, func(context.Context, string) (string, error) { return "ok", nil }, nil)
	if err != nil || done.State != job.Done {
		t.Errorf("done: %+v, %v", done, err)
	}
}
