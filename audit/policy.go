package audit

import (
	"context"
	"errors"
	"fmt"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// policyKey holds the hash of the policies that were in force last, so that a change is on record once, whichever process meets it
// first, and also when it was made while none ran.
var policyKey = store.Key{Part: "audit/policy", Sort: "hash"}

// refusedPolicies is the id under which the log names the rule that only a valid set of policies comes into force.
const refusedPolicies = "policies-invalid"

// policies records that the policies changed from old to now, or with now nil that what stands in their place was refused because
// of cause. old is nil when this process has just begun. Its errors wrap [coffer.ErrUnavailable].
func (l *Log) policies(ctx context.Context, old, now *access.Policy, cause error) error {
	// Nobody asked: somebody changed files, and the log does not know who.
	p := newPermit(access.Caller{ID: "coffer", Kind: access.ServiceCaller, Roles: []string{access.RoleService}},
		access.PolicyWrite, access.Resource{Kind: access.System}, access.Context{Now: l.now()}, access.Decision{})
	if cause != nil {
		l.log.Error("the changed policies are not valid; those that were in force stay", "error", cause, "hash", old.Hash())
		p.decision = access.Decision{Policies: []string{refusedPolicies}, Hash: old.Hash()}
		if _, err := l.Append(ctx, p.Entry(Denied)); err != nil {
			return fmt.Errorf("recording that the policies are not valid: %w", err)
		}
		return nil
	}
	for range 3 {
		was, version := "", store.Absent
		it, err := l.db.Get(ctx, policyKey)
		switch {
		case err == nil:
			was, version = string(it.Value), it.Version
		case !errors.Is(err, coffer.ErrNotFound):
			return fmt.Errorf("which policies were in force: %w: %w", coffer.ErrUnavailable, err)
		}
		if was == now.Hash() {
			return nil
		}
		op := store.Op{Verb: store.Put, Expect: version, Item: store.Item{Key: policyKey, Value: []byte(now.Hash()), Version: store.NewVersion()}}
		if was == "" {
			err = l.db.Apply(ctx, op) // the first set of an installation is no change
		} else {
			p.decision = access.Decision{Allow: true, Hash: now.Hash()}
			e := p.Entry(Done)
			e.Detail = map[string]string{"from": was, "to": now.Hash()}
			_, err = l.Apply(ctx, e, op)
			l.log.Warn("the policies changed", "from", was, "to", now.Hash())
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return fmt.Errorf("recording a change of the policies: %w: %w", coffer.ErrUnavailable, err)
		}
	}
	return fmt.Errorf("recording a change of the policies: other processes record others: %w", coffer.ErrUnavailable)
}
