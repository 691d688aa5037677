package remedy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/triage"
)

// Certificate says what a fix did and what is left, in words that can be handed on: it holds no value and no hash of one.
// Bytes that are clean are named by their SHA-256, tainted copies by version id and a keyed digest.
type Certificate struct {
	Version     int                     `json:"version"`
	Issued      time.Time               `json:"issued"`
	Plan        string                  `json:"plan"`
	Action      Action                  `json:"action"`
	State       State                   `json:"state"`
	Object      CertifiedObject         `json:"object"`
	Planned     time.Time               `json:"planned"`
	Approvals   []Approval              `json:"approvals,omitempty"`
	Applied     time.Time               `json:"applied"`
	Ended       time.Time               `json:"ended,omitzero"`
	Values      int                     `json:"values"` // replaced places
	Types       map[coffer.DataType]int `json:"types"`
	BeyondMacie int                     `json:"beyondMacie"` // of the places, those that Macie had not reported
	Left        map[string]int          `json:"left,omitempty"`
	Possible    int                     `json:"possible"`
	Clean       string                  `json:"clean"` // "current clean", "all known copies clean" or "not clean"
	Verified    bool                    `json:"verified"`
	Residual    []string                `json:"residual,omitempty"`
	Original    string                  `json:"original"` // what became of the kept original
	// Unopenable is the instant from which no copy of the kept original, backups included, can be opened.
	Unopenable time.Time          `json:"unopenableFrom,omitzero"`
	Vault      string             `json:"vault"` // what the vault still holds
	Findings   []CertifiedFinding `json:"findings"`
	Log        []string           `json:"log"`                  // the entries that report the fix
	Steps      []CertifiedStep    `json:"steps"`                // who did what, the oldest first
	Checkpoint string             `json:"checkpoint,omitempty"` // of the log, covering them
}

// CertifiedStep is an act that was done, with the entry of the log that reports it.
type CertifiedStep struct {
	Step  string    `json:"step"`
	By    string    `json:"by"` // pseudonymous id
	At    time.Time `json:"at"`
	Entry int64     `json:"entry"` // position in the log
}

// certifiedSteps are the words of the log for the steps of a fix, in their order.
var certifiedSteps = []string{"plan", "approve", "applied", "undone", "approve-purge", "purged"}

// CertifiedObject is the object of a certificate.
type CertifiedObject struct {
	Bucket        string `json:"bucket"`
	Key           string `json:"key"`
	VersionBefore string `json:"versionBefore,omitempty"`
	DigestBefore  string `json:"keyedDigestBefore"` // keyed hash of the SHA-256 of the tainted bytes
	VersionAfter  string `json:"versionAfter,omitempty"`
	SHA256After   string `json:"sha256After,omitempty"`
	SizeBefore    int64  `json:"sizeBefore"`
	SizeAfter     int64  `json:"sizeAfter,omitempty"`
	Removed       bool   `json:"removed,omitempty"`
}

// CertifiedFinding is a finding with the four fields that PCI DSS 4.0.1 requirement 12.10.7 asks for.
type CertifiedFinding struct {
	Finding string          `json:"finding"`
	Status  triage.Status   `json:"status"`
	Closing *triage.Closing `json:"closing,omitempty"`
	Note    string          `json:"note,omitempty"`
}

// Certificate issues the certificate of a plan that was applied. It looks at the copies as they are now.
func (m *Remedy) Certificate(ctx context.Context, ask access.Ask, id string) (*Certificate, error) {
	p, err := m.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	recs, err := m.covered(ctx, p)
	if err != nil {
		return nil, err
	}
	res := resourceOf(id, recs)
	res.Kind, res.ID = access.Object, p.ObjectID
	permit, err := m.Guard.Check(ctx, ask.Caller, access.ObjectRead, res, ask.Context)
	if err != nil {
		return nil, err
	}
	if p.State != Applied && p.State != Purged && p.State != Undone {
		return nil, fmt.Errorf("plan %s is %s; there is nothing to certify yet: %w", id, p.State, coffer.ErrConflict)
	}
	c := &Certificate{
		Version: 1, Issued: m.Now().UTC(), Plan: p.ID, Action: p.Action, State: p.State, Planned: p.Created, Approvals: p.Approvals,
		Applied: p.Finished, Ended: p.Ended, Values: p.Changes, Types: p.Counts, BeyondMacie: p.Swept, Left: p.Leaves,
		Possible: p.PossibleCount, Verified: p.Verified,
		Object: CertifiedObject{
			Bucket: p.Object.Bucket, Key: p.Object.Key, VersionBefore: p.Object.VersionID, SizeBefore: p.Size,
			DigestBefore: fmt.Sprintf("%x", m.MAC("tainted", []byte(p.Object.ETag))),
		},
	}
	if p.Result != nil {
		c.Object.VersionAfter, c.Object.SHA256After = p.Result.Object.VersionID, p.Result.SHA256
		c.Object.SizeAfter, c.Object.Removed = p.Result.Size, p.Result.Deleted
		if p.Result.Deleted {
			c.Object.VersionAfter = p.Result.Marker
		}
	}
	if err := m.look(ctx, p, c); err != nil {
		return nil, err
	}
	for _, rec := range recs {
		c.Findings = append(c.Findings, CertifiedFinding{rec.Finding.ID, rec.Status, rec.Closing, rec.Note})
	}
	// The entries that report the fix get their places in the log first: the certificate names them.
	if err := m.Guard.Log.Sequence(ctx); err != nil {
		return nil, err
	}
	for e, err := range m.Guard.Log.Entries(ctx, audit.Filter{Plan: id}) {
		if err != nil {
			return nil, err
		}
		c.Log = append(c.Log, fmt.Sprintf("%d %s %s %s", e.Index, e.Time.Format(time.RFC3339), e.Action, e.Outcome))
		if step := e.Detail["step"]; e.Outcome == audit.Done && slices.Contains(certifiedSteps, step) {
			c.Steps = append(c.Steps, CertifiedStep{step, e.Actor.ID, e.Time, e.Index})
		}
	}
	checkpoint, err := m.Guard.Log.Checkpoint()
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return nil, err
	}
	c.Checkpoint = string(checkpoint)
	e := permit.Entry(audit.Done)
	e.Plan = id
	e.Detail = map[string]string{"step": "certificate", "clean": strings.ReplaceAll(strings.SplitN(c.Clean, ":", 2)[0], " ", "-")}
	_, err = m.Guard.Log.Append(ctx, e)
	return c, err
}

// look states which copies are clean, from the object as it is now.
func (m *Remedy) look(ctx context.Context, p *Plan, c *Certificate) error {
	current, err := m.Objects.Stat(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key})
	gone := errors.Is(err, coffer.ErrNotFound)
	if err != nil && !gone {
		return fmt.Errorf("object: %w", err)
	}
	c.Clean = "not clean"
	if p.State != Undone && p.Result != nil {
		ours, err := m.isResult(ctx, p, current, gone)
		if err != nil {
			return err
		}
		clean := ""
		if !p.Result.Deleted {
			clean = p.Result.Object.VersionID
		}
		if c.Residual, err = m.remaining(ctx, p, clean); err != nil {
			return err
		}
		backups, err := m.keyBackups(ctx, p)
		if err != nil {
			return err
		}
		c.Residual = append(c.Residual, backups...)
		switch {
		case !ours:
			c.Clean = "unknown: the object was changed by somebody else since the fix"
		case len(p.Unfixed) > 0 && !p.Result.Deleted:
			c.Clean = "not clean"
		case len(c.Residual) > 0 || !p.Verified:
			c.Clean = "current clean"
		default:
			c.Clean = "all known copies clean"
		}
	}
	switch {
	case p.State == Undone:
		c.Original = "put back in place"
	case p.Original == nil:
		c.Original = "destroyed"
		c.Unopenable = p.KeyGone
	case p.Until.IsZero():
		c.Original = "kept, sealed, until it is released or purged"
	default:
		c.Original = "kept, sealed, until " + p.Until.Format(time.RFC3339)
	}
	c.Vault = "holds the sealed values of the findings"
	if p.ValuesGone {
		c.Vault = "holds none of the values: their keys were destroyed"
	}
	return nil
}
