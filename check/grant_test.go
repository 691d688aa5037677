package check_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/grant"
	"coffer/remedy"
)

// as is a person with a role who just signed in.
func (w *world) as(id, role string) access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: id, Kind: access.UserCaller, Roles: []string{role}},
		Context: access.Context{SignedIn: w.now, MFA: true, Reason: "customer-request", Note: "the customer asks for it"},
	}
}

// TestRevealOnApproval: of two reveals at once on one approval one shows the values, the other nothing.
func TestRevealOnApproval(t *testing.T) {
	w := newWorld(t)
	id := w.ingest("payouts.csv")
	officer := w.as("po", access.RolePrivacyOfficer)
	if _, err := w.a.Vault.Reveal(w.ctx, officer, id); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("without a request: %v", err)
	}
	r, err := w.a.Grants.Ask(w.ctx, officer, grant.Wanted{Action: access.ValueReveal, Finding: id})
	if err == nil {
		_, err = w.a.Grants.Approve(w.ctx, w.as("ann", access.RoleApprover), r.ID, r.Hash)
	}
	if err != nil {
		t.Fatal(err)
	}
	officer.Context.Grant = r.ID
	var wg sync.WaitGroup
	var mu sync.Mutex
	shown, denied := 0, 0
	for range 2 {
		wg.Go(func() {
			got, err := w.a.Vault.Reveal(w.ctx, officer, id)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, coffer.ErrDenied) {
				denied++
			}
			if len(got) > 0 {
				shown++
			}
			for _, v := range got {
				v.Plain.Wipe()
			}
		})
	}
	wg.Wait()
	if shown != 1 || denied != 1 {
		t.Errorf("%d shown, %d denied", shown, denied)
	}
	if _, err := w.a.Vault.Search(w.ctx, w.as("eng", access.RoleEngineer), "", coffer.NewPlaintext([]byte("1"))); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("an engineer searches: %v", err)
	}
	if err := w.check(false).Err(); err != nil {
		t.Error(err)
	}
}

// TestPlanApprovals: the approval of a plan is of exactly that plan and that act, runs out, and can be renewed.
func TestPlanApprovals(t *testing.T) {
	w := newWorld(t)
	id := w.ingest("payouts.csv")
	eng, ann := w.as("eng", access.RoleEngineer), w.as("ann", access.RoleApprover)
	groups, err := w.a.Remedy.Groups(w.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.a.Remedy.Plan(w.ctx, eng, groups[0], remedy.Options{Action: remedy.Redact})
	if err != nil {
		t.Fatal(err)
	}
	apply := func() error {
		_, err := w.a.Remedy.Apply(w.ctx, eng, p.ID, remedy.Closing{})
		return err
	}
	purge := func() error {
		_, err := w.a.Remedy.Purge(w.ctx, eng, p.ID, remedy.PurgeOptions{})
		return err
	}
	approve := func() {
		t.Helper()
		if _, err := w.a.Remedy.Approve(w.ctx, ann, p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("applied without an approval: %v", err)
	}
	eng.Context.Approvers, eng.Context.ApprovedUntil = []string{"ann"}, w.now.Add(time.Hour)
	if err := apply(); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("applied on a claimed approval: %v", err)
	}
	approve()
	w.now = w.now.Add(24 * time.Hour)
	if err := apply(); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("applied on an approval that ran out: %v", err)
	}
	approve() // the same person, anew
	if err := apply(); err != nil {
		t.Fatal(err)
	}
	if err := apply(); err != nil {
		t.Errorf("applied again after a lost answer: %v", err)
	}
	if err := purge(); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("purged on the approval to apply: %v", err)
	}
	approve()
	if err := purge(); err != nil {
		t.Errorf("purged on its own approval: %v", err)
	}
}
