package remedy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/planted"
	"coffer/job"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// Undo puts the original back: bytes, metadata and tags as they were before the fix. It is possible until the grace period
// ends or the plan is purged, and goes back in order: under a later plan on the same object the error wraps
// coffer.ErrConflict and names that plan. An object that somebody changed since the fix is left alone, with the same sentinel.
// It can be called again after any failure; undoing an undone plan does nothing.
func (m *Remedy) Undo(ctx context.Context, ask access.Ask, id string) (*Plan, error) {
	p, permit, err := m.begin(ctx, ask, access.RemedyUndo, id)
	if err != nil {
		return nil, err
	}
	return m.locked(ctx, p, func(ctx context.Context, p *Plan, l *job.Lease) error {
		switch {
		case p.State == Undone:
			return m.forget(ctx, permit, p, l)
		case p.State != Applied:
			return fmt.Errorf("plan %s is %s; there is nothing to undo: %w", p.ID, p.State, coffer.ErrConflict)
		case p.Original == nil:
			return fmt.Errorf("plan %s: the kept original was destroyed: %w", p.ID, coffer.ErrConflict)
		case !p.Until.IsZero() && m.Now().After(p.Until) && !planted.On(planted.UndoAfterGrace):
			return fmt.Errorf("plan %s could be undone until %s: %w", p.ID, p.Until.Format("2006-01-02 15:04:05 MST"), coffer.ErrConflict)
		}
		if later, err := m.later(ctx, p); err != nil {
			return err
		} else if later != "" {
			return fmt.Errorf("plan %s was applied to the object later; undo it first: %w", later, coffer.ErrConflict)
		}
		return m.undo(ctx, permit, p, l)
	})
}

// later returns the plan that was applied to the object after p and still is.
func (m *Remedy) later(ctx context.Context, p *Plan) (string, error) {
	later := ""
	for it, err := range m.DB.Query(ctx, "O#"+p.ObjectID, store.Range{From: "p#", To: "p$"}) {
		if err != nil {
			return "", fmt.Errorf("plans on the object: %w", err)
		}
		other, err := m.Get(ctx, it.Key.Sort[strings.LastIndexByte(it.Key.Sort, '#')+1:])
		if err != nil {
			return "", err
		}
		if other.ID != p.ID && (other.State == Applied || other.State == Purged) && other.Epoch > p.Epoch {
			later = other.ID
		}
	}
	return later, nil
}

func (m *Remedy) undo(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease) error {
	current, err := m.Objects.Stat(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key})
	gone := errors.Is(err, coffer.ErrNotFound)
	if err != nil && !gone {
		return fmt.Errorf("object: %w", err)
	}
	ours, err := m.isResult(ctx, p, current, gone)
	if err != nil {
		return err
	}
	if !ours && !planted.On(planted.UndoUnchecked) {
		// An earlier call may have put the original back without living to record it.
		restored := false
		if !gone && current.Size == p.Original.Size {
			sum, _, err := m.digest(ctx, current.Object)
			if err != nil {
				return err
			}
			restored = sum == p.Original.SHA256
		}
		if !restored {
			return fmt.Errorf("the object was changed since the fix; undo would overwrite that: %w", coffer.ErrConflict)
		}
		return m.restored(ctx, permit, p, l, current.Object)
	}
	if err := m.record(ctx, permit, p, "undo", audit.Intent, l.Held()); err != nil {
		return err
	}
	target := coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}
	if !gone {
		target.ETag = current.ETag
	}
	attrs := p.Original.Attrs
	if planted.On(planted.DropForeignTag) {
		attrs.Tags = nil
	}
	staged, err := m.Objects.Stage(ctx, target, attrs, func(w io.Writer) error {
		return m.readOriginal(ctx, permit, p, w)
	})
	if err != nil {
		return fmt.Errorf("bring the original back: %w", err)
	}
	defer func() { _ = staged.Abort(context.WithoutCancel(ctx)) }()
	if sum := staged.SHA256(); hex.EncodeToString(sum[:]) != p.Original.SHA256 {
		return fmt.Errorf("the kept original is not what was kept: %w", coffer.ErrCorrupt)
	}
	back, err := staged.Commit(ctx)
	if errors.Is(err, coffer.ErrConflict) {
		now, serr := m.Objects.Stat(ctx, coffer.Object{Bucket: target.Bucket, Key: target.Key})
		if serr == nil {
			sum, _, derr := m.digest(ctx, now.Object)
			if derr == nil && sum == p.Original.SHA256 {
				return m.restored(ctx, permit, p, l, now.Object)
			}
		}
		return fmt.Errorf("the object was changed while it was restored: %w", err)
	}
	if err != nil {
		return fmt.Errorf("bring the original back: %w", err)
	}
	return m.restored(ctx, permit, p, l, back)
}

// restored records that the original is back, and opens the findings again.
func (m *Remedy) restored(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, back coffer.Object) error {
	sum, _, err := m.digest(ctx, coffer.Object{Bucket: back.Bucket, Key: back.Key})
	if err != nil {
		return fmt.Errorf("verify what was restored: %w", err)
	}
	if sum != p.Original.SHA256 {
		return fmt.Errorf("the restored object is not the original: %w", coffer.ErrConflict)
	}
	recs, err := m.covered(ctx, p)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.Plan != p.ID {
			continue
		}
		rec.Status, rec.Plan, rec.Closing, rec.Note = triage.Open, "", nil, ""
		if err := m.recordFinding(ctx, permit, p, rec, "reopen", l); err != nil {
			return err
		}
	}
	p.State, p.Ended, p.Clean = Undone, m.Now().UTC(), ""
	wrote := store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: m.wroteKey(p.ObjectID, back.ETag), Value: []byte(p.ID), Version: store.NewVersion()}}
	if err := m.record(ctx, permit, p, "undone", audit.Done, wrote, l.Held()); err != nil {
		return err
	}
	return m.forget(ctx, permit, p, l)
}

// forget destroys the kept original of an undone plan: the original itself is back in its place.
func (m *Remedy) forget(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease) error {
	if p.Original == nil {
		return nil
	}
	if err := m.dropOriginal(ctx, permit, p); err != nil {
		return err
	}
	p.Original = nil
	return m.apply1(ctx, p, l)
}

// PurgeOptions widen a purge.
type PurgeOptions struct {
	Values bool // destroy the sealed values of the findings too
}

// Purge ends the plan for good: it destroys the key of the kept original and then its bytes, and removes the versions of the
// object that are known to hold the values, where the storage allows it. With Values it destroys the sealed values of the
// covered findings as well; those of a tokenising plan stay, because tokens would lose their meaning. What remains is named in
// Residual and in the certificate. It can be called again after any failure.
func (m *Remedy) Purge(ctx context.Context, ask access.Ask, id string, opt PurgeOptions) (*Plan, error) {
	p, permit, err := m.begin(ctx, ask, access.RemedyPurge, id)
	if err != nil {
		return nil, err
	}
	return m.locked(ctx, p, func(ctx context.Context, p *Plan, l *job.Lease) error {
		if p.State != Applied && p.State != Purged {
			return fmt.Errorf("plan %s is %s; only an applied one can be purged: %w", p.ID, p.State, coffer.ErrConflict)
		}
		if opt.Values && p.Action == Tokenise {
			return fmt.Errorf("the sealed values of plan %s are what its tokens stand for: %w", p.ID, coffer.ErrInvalid)
		}
		if err := m.record(ctx, permit, p, "purge", audit.Intent, l.Held()); err != nil {
			return err
		}
		return m.purge(ctx, permit, p, l, opt)
	})
}

func (m *Remedy) purge(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, opt PurgeOptions) error {
	if p.Original != nil {
		if err := m.dropOriginal(ctx, permit, p); err != nil {
			return err
		}
		p.Original = nil
		p.State = Purged
		if err := m.apply1(ctx, p, l); err != nil {
			return err
		}
	}
	// The version that the plan was for lies below the current one now, so removing it brings nothing older back.
	clean := ""
	if p.Result != nil && !p.Result.Deleted {
		clean = p.Result.Object.VersionID
	}
	if p.Object.VersionID != "" && p.Object.VersionID != clean {
		if err := m.removeVersion(ctx, p); err != nil {
			return err
		}
	}
	if opt.Values {
		recs, err := m.covered(ctx, p)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			for _, gen := range append([]string{rec.Generation}, rec.Stale...) { // an intake that was broken off leaves stale ones
				at, err := m.Vault.Destroy(ctx, permit, vault.Set{ID: rec.Finding.ID, Generation: gen})
				if err != nil {
					return err
				}
				p.KeyGone = at.UTC()
			}
		}
		if p.SweepValues != "" {
			if _, err := m.Vault.Destroy(ctx, permit, vault.Set{ID: p.ID, Generation: p.SweepValues}); err != nil {
				return err
			}
		}
		p.ValuesGone = true
	}
	var err error
	if p.Residual, err = m.remaining(ctx, p, clean); err != nil {
		return err
	}
	backups, err := m.keyBackups(ctx, p)
	if err != nil {
		return err
	}
	p.Residual = append(p.Residual, backups...)
	p.Clean = "current"
	switch {
	case len(p.Unfixed) > 0 && !p.Result.Deleted:
		p.Clean = ""
	case len(p.Residual) == 0:
		p.Clean = "all"
	}
	recs, err := m.covered(ctx, p)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.Plan == p.ID && rec.Status == triage.Fixed {
			rec.Status = triage.Closed
			if err := m.recordFinding(ctx, permit, p, rec, "close", l); err != nil {
				return err
			}
		}
	}
	p.State, p.Ended = Purged, m.Now().UTC()
	return m.record(ctx, permit, p, "purged", audit.Done, l.Held())
}

// removeVersion removes the pinned version if it is no longer the current one.
func (m *Remedy) removeVersion(ctx context.Context, p *Plan) error {
	for info, err := range m.Objects.Versions(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}) {
		if errors.Is(err, coffer.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		if info.VersionID != p.Object.VersionID || info.Latest || info.Marker || info.Locked != "" {
			continue
		}
		_, err := m.Objects.Delete(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID})
		if err != nil && !errors.Is(err, coffer.ErrNotFound) && !errors.Is(err, coffer.ErrConflict) {
			return fmt.Errorf("remove the planned version: %w", err)
		}
		return nil
	}
	return nil
}

// The kinds of jobs that time brings.
const (
	PurgeJob = "remedy.purge" // of the plans that are its items
	SweepJob = "remedy.sweep" // of what crashed writers left in the storages
)

// EndGrace destroys the kept originals of plans whose grace period is over. It returns how many; with the first error it stops.
func (m *Remedy) EndGrace(ctx context.Context, ask access.Ask) (int, error) {
	ids, err := m.Expired(ctx, 0)
	for n, id := range ids {
		if _, err := m.Purge(ctx, ask, id, PurgeOptions{}); err != nil {
			return n, err
		}
	}
	return len(ids), err
}

// Expired returns the plans whose kept originals are to be destroyed since their grace period is over, at most that many; 0: all.
func (m *Remedy) Expired(ctx context.Context, most int) (ids []string, err error) {
	for p, err := range m.All(ctx) {
		if err != nil {
			return ids, err
		}
		if p.State != Applied || p.Until.IsZero() || !m.Now().After(p.Until) || p.Original == nil {
			continue
		}
		if ids = append(ids, p.ID); len(ids) == most {
			break
		}
	}
	return ids, nil
}

// Original copies the kept original of a plan to w, for a check. It fails before it writes a byte that is not authentic.
func (m *Remedy) Original(ctx context.Context, permit *audit.Permit, p *Plan, w io.Writer) error {
	if p.Original == nil {
		return fmt.Errorf("plan %s keeps no original: %w", p.ID, coffer.ErrNotFound)
	}
	return m.readOriginal(ctx, permit, p, w)
}
