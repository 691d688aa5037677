package remedy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format"
	"coffer/format/all"
	"coffer/format/detect"
	"coffer/internal/planted"
	"coffer/job"
	"coffer/object"
	"coffer/pipeline"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

const (
	leaseTTL = 30 * time.Second
	// approvalTTL is how long an approval of a plan is good for.
	approvalTTL = 24 * time.Hour
	// maxSealedSweep is how many values that only the sweep found are sealed as occurrences; all are in the kept original.
	maxSealedSweep = 100_000
	// OriginalsBucket is the bucket of kept originals where nothing else is said.
	OriginalsBucket = "originals"
)

// Closing is what a person adds to the closing of the findings (PCI DSS 12.10.7).
type Closing struct {
	Origin           string // where the data came from
	CorrectiveAction string // what was done so that it does not come again
}

// Approve records the caller's consent to what can be done next with exactly this plan, good for a day: to applying it, also when
// that was begun; once it is applied, to purging it, which is another act with a consent of its own. A consent of the same person
// takes the place of their earlier one.
func (m *Remedy) Approve(ctx context.Context, ask access.Ask, id string) (*Plan, error) {
	p, permit, err := m.begin(ctx, ask, access.RemedyApprove, id)
	if err != nil {
		return nil, err
	}
	step := "approve"
	switch p.State {
	case Planned, Approved:
		p.State = Approved
	case Applying: // the consent ran out before somebody could take up what a crash left
	case Applied:
		step = "approve-purge"
	default:
		return nil, fmt.Errorf("plan %s is %s; there is nothing to approve: %w", id, p.State, coffer.ErrConflict)
	}
	now := m.Now().UTC()
	p.Approvals = p.Approvals.With(Approval{By: ask.Caller.ID, At: now, Until: now.Add(approvalTTL), For: p.consent(access.RemedyApprove)})
	return p, m.record(ctx, permit, p, step, audit.Done)
}

// Deny ends a plan before anything was written. The note says why, to who made the plan; it must not be empty. A plan of which the
// writing was begun, or that has ended, gives an error wrapping coffer.ErrConflict.
func (m *Remedy) Deny(ctx context.Context, ask access.Ask, id, note string) (*Plan, error) {
	ask.Context.Note = note
	p, permit, err := m.begin(ctx, ask, access.RemedyApprove, id)
	if err != nil {
		return nil, err
	}
	if p.Reason = strings.TrimSpace(m.Guard.Log.Scrub(note)); p.Reason == "" {
		return nil, fmt.Errorf("say why, to the person who planned it: %w", coffer.ErrInvalid)
	}
	return p, m.drop(ctx, permit, p, Denied)
}

// Withdraw takes back a plan of the caller's own before anything was written; the plan of somebody else gives an error wrapping
// coffer.ErrConflict, as does one of which the writing was begun, or that has ended.
func (m *Remedy) Withdraw(ctx context.Context, ask access.Ask, id string) (*Plan, error) {
	p, permit, err := m.begin(ctx, ask, access.RemedyPlan, id)
	if err != nil {
		return nil, err
	}
	if p.By != ask.Caller.ID {
		return nil, fmt.Errorf("plan %s is somebody else's: %w", p.ID, coffer.ErrConflict)
	}
	return p, m.drop(ctx, permit, p, Withdrawn)
}

// drop ends a plan that nobody began to apply.
func (m *Remedy) drop(ctx context.Context, permit *audit.Permit, p *Plan, s State) error {
	if p.State != Planned && p.State != Approved {
		return fmt.Errorf("plan %s is %s; nothing is left to decide: %w", p.ID, p.State, coffer.ErrConflict)
	}
	p.State, p.Ended, p.EndedBy = s, m.Now().UTC(), permit.Caller().ID
	return m.record(ctx, permit, p, string(s), audit.Done)
}

// consent is the digest of what is consented to: everything about the plan that does not change once it is made, and the act. In
// state Applied what can be approved next is the purge.
func (p *Plan) consent(action access.Action) string {
	act := access.RemedyApply
	if action == access.RemedyPurge || action == access.RemedyApprove && p.State == Applied {
		act = access.RemedyPurge
	}
	sum := sha256.Sum256(encode([]any{
		"coffer plan 1", act, p.ID, p.Action, p.Include, p.Only, p.AsText, p.Object, p.Size, p.Findings, p.Changes, p.Digest, p.Counts,
		p.Swept, p.PossibleCount, p.Authenticates, p.By, p.Created,
	}))
	return hex.EncodeToString(sum[:])
}

// begin loads the plan and asks whether the caller may do this with it.
func (m *Remedy) begin(ctx context.Context, ask access.Ask, action access.Action, id string) (*Plan, *audit.Permit, error) {
	p, err := m.Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	res, err := m.Resource(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if ask.Context.Now.IsZero() {
		ask.Context.Now = m.Now()
	}
	p.Circumstances(&ask.Context, action)
	permit, err := m.Guard.Check(ctx, ask.Caller, action, res, ask.Context)
	return p, permit, err
}

// Circumstances adds to c what policies may ask about a plan before this action: who made it, who consented to the action and until
// when that is good, and how many values it changes.
func (p *Plan) Circumstances(c *access.Context, action access.Action) {
	*c = c.Claimed()
	c.Requester, c.Values = p.By, p.Changes
	p.Approvals.Good(p.consent(action), "", c.Now).Tell(c)
}

// locked runs act while this worker holds the lease on the plan's object, with the plan read again under it.
func (m *Remedy) locked(ctx context.Context, p *Plan, act func(ctx context.Context, p *Plan, l *job.Lease) error) (*Plan, error) {
	l, err := job.Acquire(ctx, m.DB, pipeline.FixKey(p.ObjectID), m.Worker, leaseTTL, m.Now)
	if err != nil {
		return p, err
	}
	defer l.Release(ctx)
	p, err = m.Get(ctx, p.ID)
	if err != nil {
		return p, err
	}
	return p, act(ctx, p, l)
}

// Apply carries out the plan: it keeps the original, sealed; writes and verifies the new bytes beside; makes them current by one
// conditional call; and verifies again. It can be called again after any failure and takes up where the last call stopped;
// applying an applied plan does nothing.
//
// When the object is not the planned version any more the plan ends as conflict, and when the new bytes do not pass the
// verification as refused; then nothing was written, the plan's Reason says what was wrong, and the error is nil.
func (m *Remedy) Apply(ctx context.Context, ask access.Ask, id string, closing Closing) (*Plan, error) {
	closing.Origin, closing.CorrectiveAction = m.Guard.Log.Scrub(closing.Origin), m.Guard.Log.Scrub(closing.CorrectiveAction)
	p, permit, err := m.begin(ctx, ask, access.RemedyApply, id)
	if err != nil {
		return nil, err
	}
	return m.locked(ctx, p, func(ctx context.Context, p *Plan, l *job.Lease) error {
		switch p.State {
		case Planned, Approved:
			p.State, p.Started = Applying, m.Now().UTC()
			if err := m.record(ctx, permit, p, "apply", audit.Intent, l.Held()); err != nil {
				return err
			}
		case Applying:
			if err := m.record(ctx, permit, p, "resume", audit.Intent, l.Held()); err != nil {
				return err
			}
		case Applied:
			return nil
		default:
			return fmt.Errorf("plan %s is %s; make a new one: %w", p.ID, p.State, coffer.ErrConflict)
		}
		err := m.apply(ctx, permit, p, l, closing)
		var end *endError
		if errors.As(err, &end) {
			p.State, p.Reason = end.state, end.reason
			if derr := m.dropOriginal(ctx, permit, p); derr != nil {
				return derr
			}
			p.Original, p.Result = nil, nil
			return m.record(ctx, permit, p, "apply", audit.Failed, l.Held())
		}
		return err
	})
}

// endError ends a plan in a state other than applied.
type endError struct {
	state  State
	reason string
}

func (e *endError) Error() string { return e.reason }

func conflict(reason string) error { return &endError{Conflict, reason} }

func refused(reason string) error { return &endError{Refused, reason} }

func (m *Remedy) apply(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, closing Closing) error {
	current, err := m.Objects.Stat(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key})
	gone := errors.Is(err, coffer.ErrNotFound)
	if err != nil && !gone {
		return fmt.Errorf("object: %w", err)
	}
	if p.Result != nil && !planted.On(planted.ForgetDigest) {
		// An earlier call got as far as the write. Its answer is the state of the object.
		ours, err := m.isResult(ctx, p, current, gone)
		if err != nil {
			return err
		}
		if ours {
			return m.finish(ctx, permit, p, l, closing, current)
		}
	}
	if gone {
		return conflict("the object does not exist any more")
	}
	if (current.ETag != p.Object.ETag || current.VersionID != p.Object.VersionID) && !planted.On(planted.IgnoreETag) {
		return conflict("the object was changed since the plan was made")
	}
	subjects, err := m.checkSealed(ctx, permit, p)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range subjects {
			for _, piece := range s.found.Pieces {
				piece.Text.Wipe()
			}
		}
	}()
	if err := l.Renew(ctx); err != nil {
		return err
	}
	if err := m.keepOriginal(ctx, permit, p, l, current, subjects); err != nil {
		return err
	}
	if p.Action.Rewrites() {
		return m.rewrite(ctx, permit, p, l, closing, current, subjects)
	}
	p.Result = &Outcome{Deleted: true, Object: p.Object}
	if err := m.record(ctx, permit, p, "before-delete", audit.Done, l.Held()); err != nil {
		return err
	}
	out, err := m.Objects.Delete(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, ETag: p.Object.ETag})
	if errors.Is(err, coffer.ErrConflict) {
		return conflict("the object was changed, or is locked: " + err.Error())
	}
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return fmt.Errorf("delete: %w", err)
	}
	p.Result.Marker = out.VersionID
	return m.finish(ctx, permit, p, l, closing, object.Info{})
}

// isResult reports whether the object is in the state that the plan was going to write.
func (m *Remedy) isResult(ctx context.Context, p *Plan, current object.Info, gone bool) (bool, error) {
	if p.Result.Deleted || gone {
		return p.Result.Deleted && gone, nil
	}
	if current.Size != p.Result.Size {
		return false, nil
	}
	sum, _, err := m.digest(ctx, current.Object)
	return sum == p.Result.SHA256, err
}

// digest returns the SHA-256 and size of an object's bytes.
func (m *Remedy) digest(ctx context.Context, o coffer.Object) (string, int64, error) {
	body, err := m.Objects.Open(ctx, o)
	if err != nil {
		return "", 0, err
	}
	defer body.Close()
	h := sha256.New()
	n, err := io.Copy(h, body)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// extract finds the values at occs in an object.
func (m *Remedy) extract(ctx context.Context, o coffer.Object, occs []coffer.Occurrence, set *detect.Set) ([]format.Found, error) {
	body, err := m.Objects.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	found, err := pipeline.Extract(ctx, body, occs, set)
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	return found, nil
}

// checkSealed reads the values at the reported places once more and demands that every one of them is sealed and can be opened
// to the same bytes. Nothing destructive is done before.
func (m *Remedy) checkSealed(ctx context.Context, permit *audit.Permit, p *Plan) ([]subject, error) {
	var subjects []subject
	for _, id := range p.Findings {
		rec, err := m.Records.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if was, ok := p.Generations[id]; ok && was != rec.Generation {
			// What the plan shows would go, and not what is sealed now.
			return nil, conflict("the values of finding " + id + " were found anew since the plan was made")
		}
		lines, err := m.Records.Lines(ctx, id)
		if err != nil {
			return nil, err
		}
		by, err := m.by(ctx, rec)
		if err != nil {
			return nil, err
		}
		found, err := m.extract(ctx, p.Object, occurrences(lines), by.set)
		if err != nil {
			return nil, err
		}
		rewritten := (rec.Read == nil || rec.Read.ETag != p.Object.ETag) && m.wrote(ctx, p.ObjectID, p.Object.ETag)
		if rewritten && !planted.On(planted.SkipCheckSealed) {
			if err := m.stillStanding(ctx, rec, lines, found); err != nil {
				return nil, err
			}
		}
		sets := map[vault.Set][]vault.Value{}
		for i, l := range lines {
			f := found[i]
			if l.Verdict != triage.FalsePositive {
				subjects = append(subjects, subject{id, f, by})
			}
			if !l.Sealed || l.Same != nil || rewritten {
				continue
			}
			set := vault.Set{ID: id, Generation: rec.Generation}
			sets[set] = append(sets[set], vault.Value{N: l.N, Type: l.Type, At: l.At, Plain: f.Value()})
		}
		for set, values := range sets {
			if planted.On(planted.SkipCheckSealed) {
				break
			}
			if err := m.checkSet(ctx, set, values); err != nil {
				return nil, fmt.Errorf("finding %s: the sealed values are not those of the object, so it is left alone: %w", id, err)
			}
			if p.Action == Tokenise {
				if err := m.Vault.KeepTokens(ctx, permit, set, values); err != nil {
					return nil, err
				}
			}
		}
	}
	return subjects, nil
}

// stillStanding is the check for a version that an earlier fix of Coffer wrote: the sealed values are those of the version that
// Macie saw. They must open, and what stands at a place counts only if it is the sealed value.
func (m *Remedy) stillStanding(ctx context.Context, rec *triage.Record, lines []triage.Line, found []format.Found) error {
	fail := func(err error) error {
		return fmt.Errorf("finding %s: the sealed values cannot be opened, so the object is left alone: %w", rec.Finding.ID, err)
	}
	var own []int // of lines, those whose values the finding's own set holds
	var values []vault.Value
	stands := make([]bool, len(lines))
	for i, l := range lines {
		v := vault.Value{N: l.N, Type: l.Type, At: l.At, Plain: found[i].Value()}
		switch {
		case !l.Sealed:
			stands[i] = true // nothing to compare with
		case l.Same == nil:
			own, values = append(own, i), append(values, v)
		default:
			other, err := m.Records.Get(ctx, l.Same.Finding)
			if err != nil {
				return fail(err)
			}
			set := vault.Set{ID: other.Finding.ID, Generation: other.Generation}
			v.N = l.Same.N
			same, err := m.Verifier.Verify(ctx, set, vault.Range{From: v.N, To: v.N + 1}, []vault.Probe{m.Vault.Probe(set, v)})
			if err != nil {
				return fail(err)
			}
			stands[i] = len(same) == 1 && same[0]
		}
	}
	if len(own) > 0 {
		same, err := m.same(ctx, vault.Set{ID: rec.Finding.ID, Generation: rec.Generation}, values)
		if err != nil {
			return fail(err)
		}
		for j, i := range own {
			stands[i] = same[j]
		}
	}
	for i, l := range lines {
		if !stands[i] {
			found[i] = format.Found{Occurrence: l.Occurrence, Outcome: coffer.OutcomeMissing}
		}
	}
	return nil
}

func occurrences(lines []triage.Line) []coffer.Occurrence {
	out := make([]coffer.Occurrence, len(lines))
	for i, l := range lines {
		out[i] = l.Occurrence
	}
	return out
}

// KeptIn is the bucket into which originals are kept.
func (m *Remedy) KeptIn() string { return cmp.Or(m.OriginalsIn, OriginalsBucket) }

// kept is the kept original as an object. The bucket is the one of the time when it was kept.
func (p *Plan) kept() coffer.Object {
	return coffer.Object{Bucket: p.Original.Object.Bucket, Key: p.ID + "/" + p.Original.Generation}
}

// set is the sealed stream of the kept original.
func (p *Plan) set() vault.Set { return vault.Set{ID: p.ID, Generation: p.Original.Generation} }

// keepOriginal seals the pinned bytes into the store of originals and reads them back through the key as undo would.
func (m *Remedy) keepOriginal(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, current object.Info, subjects []subject) error {
	if planted.On(planted.KeepNoOriginal) {
		return nil
	}
	if !planted.On(planted.LeaveOriginal) {
		if err := m.dropOriginal(ctx, permit, p); err != nil {
			return err
		}
	}
	gen := store.NewVersion()[:16]
	p.Original = &Kept{
		Generation: gen, Object: coffer.Object{Bucket: m.KeptIn(), Key: p.ID + "/" + gen}, Size: current.Size, Attrs: current.Attrs,
	}
	// The record names the generation before it is written, so that a crash leaves nothing that nobody knows of.
	if err := m.apply1(ctx, p, l); err != nil {
		return err
	}
	h := sha256.New()
	size := &counter{}
	staged, err := m.Originals.Stage(ctx, p.Original.Object, object.Attrs{ContentType: "application/octet-stream"}, func(w io.Writer) error {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(m.blanked(ctx, p, io.MultiWriter(pw, h, size), subjects)) }()
		err := m.Vault.SealStream(ctx, permit, p.set(), w, pr)
		pr.CloseWithError(err)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the original: %w", err)
	}
	defer func() { _ = staged.Abort(context.WithoutCancel(ctx)) }()
	kept, err := staged.Commit(ctx)
	if err != nil && !errors.Is(err, coffer.ErrConflict) {
		return fmt.Errorf("keep the original: %w", err)
	}
	if err == nil {
		p.Original.Object = kept
	}
	p.Original.SHA256, p.Original.Size = hex.EncodeToString(h.Sum(nil)), size.n
	back := sha256.New()
	if err := m.readOriginal(ctx, permit, p, back); err != nil {
		return fmt.Errorf("read the kept original back: %w", err)
	}
	if !bytes.Equal(back.Sum(nil), h.Sum(nil)) {
		return fmt.Errorf("the kept original is not the original: %w", coffer.ErrCorrupt)
	}
	return m.apply1(ctx, p, l)
}

// apply1 stores the plan's progress under the lease.
func (m *Remedy) apply1(ctx context.Context, p *Plan, l *job.Lease) error {
	return m.DB.Apply(ctx, append(p.save(), l.Held())...)
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// blanked writes the pinned bytes to w, with card authentication data replaced by as many X.
func (m *Remedy) blanked(ctx context.Context, p *Plan, w io.Writer, subjects []subject) error {
	if p.Authenticates > 0 {
		b := newSweep(subjects, p.Include, p.Only, maskText)
		b.chosen = coffer.DataType.Authentication
		err := m.sweepObject(ctx, p, b, w, p.Object)
		p.Original.Blanked = b.counts.changes
		return err
	}
	body, err := m.Objects.Open(ctx, p.Object)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// readOriginal copies the kept original to w.
func (m *Remedy) readOriginal(ctx context.Context, permit *audit.Permit, p *Plan, w io.Writer) error {
	body, err := m.Originals.Open(ctx, p.kept())
	if err != nil {
		return err
	}
	defer body.Close()
	r, wipe, err := m.Vault.OpenStream(ctx, permit, p.set(), body)
	if err != nil {
		return err
	}
	defer wipe()
	_, err = io.Copy(w, r)
	return err
}

// dropOriginal destroys the kept original: its key first.
func (m *Remedy) dropOriginal(ctx context.Context, permit *audit.Permit, p *Plan) error {
	if p.Original == nil {
		return nil
	}
	if planted.On(planted.PurgeBytesFirst) {
		if _, err := m.Originals.Delete(ctx, p.kept()); err != nil {
			return err
		}
	}
	at, err := m.Vault.Destroy(ctx, permit, p.set())
	if err != nil {
		return err
	}
	p.KeyGone = at.UTC()
	_, err = m.Originals.Delete(ctx, p.kept())
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return fmt.Errorf("delete the kept original: %w", err)
	}
	return nil
}

// spans returns what the plan replaces.
func (m *Remedy) spans(ctx context.Context, p *Plan) ([]format.Span, error) {
	var out []format.Span
	for c, err := range m.Changes(ctx, p.ID) {
		if err != nil {
			return nil, err
		}
		if !c.Joined {
			out = append(out, c.Span)
		}
	}
	if planted.On(planted.LoseSpan) {
		out = out[1:]
	}
	return out, nil
}

func (m *Remedy) rewrite(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, closing Closing, current object.Info, subjects []subject) error {
	var spans []format.Span
	var err error
	if !p.Resweep {
		if spans, err = m.spans(ctx, p); err != nil {
			return err
		}
	}
	if err := m.sealSweep(ctx, permit, p, l, subjects); err != nil {
		return err
	}
	attrs := current.Attrs
	recs, err := m.covered(ctx, p)
	if err != nil {
		return err
	}
	if attrs.Tags, err = object.MergeTags(attrs.Tags, stateTags(p, recs)); errors.Is(err, coffer.ErrLimit) {
		attrs.Tags, err = current.Attrs.Tags, nil // no room: the tags stay as they are
	}
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		if p.Resweep {
			s := m.sweep(p, subjects)
			if err := m.sweepObject(ctx, p, s, w, p.Object); err != nil {
				return err
			}
			if m.changesDigest(s) != p.Digest {
				return fmt.Errorf("the object would be changed otherwise than planned: %w", coffer.ErrChanged)
			}
			return nil
		}
		body, err := m.Objects.Open(ctx, p.Object)
		if err != nil {
			return err
		}
		defer body.Close()
		src := format.Source{Reader: body, Size: body.Info.Size, At: body.ReaderAt}
		return all.Splice(ctx, path.Base(p.Object.Key), w, src, spans)
	}
	// The version is the source of ranges that the storage copies by itself.
	target := coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID, ETag: p.Object.ETag}
	if planted.On(planted.IgnoreETag) {
		target.ETag = m.anyETag(ctx, target)
	}
	staged, err := m.Objects.Stage(ctx, target, attrs, write)
	if errors.Is(err, coffer.ErrChanged) {
		return conflict("the object was changed while it was rewritten")
	}
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	defer func() { _ = staged.Abort(context.WithoutCancel(ctx)) }()
	if err := l.Renew(ctx); err != nil {
		return err
	}
	if err := m.verify(ctx, p, staged, subjects, write); err != nil {
		return err
	}
	sum := staged.SHA256()
	p.Result = &Outcome{SHA256: hex.EncodeToString(sum[:]), Size: staged.Size(),
		Object: coffer.Object{Bucket: target.Bucket, Key: target.Key, ETag: target.ETag}}
	if err := m.record(ctx, permit, p, "before-write", audit.Done, l.Held()); err != nil {
		return err
	}
	written, err := staged.Commit(ctx)
	switch {
	case errors.Is(err, coffer.ErrConflict):
		// The storage may be answering a repetition of our own call.
		now, serr := m.Objects.Stat(ctx, coffer.Object{Bucket: target.Bucket, Key: target.Key})
		if serr != nil && !errors.Is(serr, coffer.ErrNotFound) {
			return serr
		}
		ours, derr := m.isResult(ctx, p, now, serr != nil)
		if derr != nil {
			return derr
		}
		if !ours {
			return conflict("the object was changed while it was rewritten")
		}
	case err != nil:
		return fmt.Errorf("write: %w", err)
	default:
		p.Result.Object = written
	}
	now, err := m.Objects.Stat(ctx, coffer.Object{Bucket: target.Bucket, Key: target.Key})
	if err != nil {
		return fmt.Errorf("look at what was written: %w", err)
	}
	return m.finish(ctx, permit, p, l, closing, now)
}

// anyETag returns whatever the current ETag is.
func (m *Remedy) anyETag(ctx context.Context, o coffer.Object) string {
	info, err := m.Objects.Stat(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
	if err != nil {
		return o.ETag
	}
	return info.ETag
}

// stateTags returns the tags of the rewritten object.
func stateTags(p *Plan, recs []*triage.Record) map[string]string {
	tags := pipeline.Tags(p.Action.past(), recs)
	tags[pipeline.TagFindings] = strconv.Itoa(0)
	return tags
}

func (m *Remedy) covered(ctx context.Context, p *Plan) ([]*triage.Record, error) {
	var out []*triage.Record
	for _, id := range p.Findings {
		rec, err := m.Records.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// sealSweep seals the values that only the sweep found as occurrences of the plan.
func (m *Remedy) sealSweep(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, subjects []subject) error {
	if p.Swept == 0 {
		return nil
	}
	w := m.sweep(p, subjects)
	w.keep = maxSealedSweep
	if err := m.sweepObject(ctx, p, w, nil, p.Object); err != nil {
		return fmt.Errorf("search the object: %w", err)
	}
	// Only one list of a hundred thousand values at a time.
	values := make([]vault.Value, 0, len(w.sealable))
	for _, s := range w.sealable {
		if s.t.Authentication() || s.plain.Len() > vault.MaxPlaintext {
			s.plain.Wipe()
			continue
		}
		values = append(values, vault.Value{N: len(values) + 1, Type: s.t, At: s.at, Plain: s.plain})
	}
	w.sealable = nil
	defer func() {
		for _, v := range values {
			v.Plain.Wipe()
		}
	}()
	if p.SweepValues != "" {
		if _, err := m.Vault.Destroy(ctx, permit, vault.Set{ID: p.ID, Generation: p.SweepValues}); err != nil {
			return err
		}
	}
	p.SweepValues = store.NewVersion()[:16]
	if err := m.apply1(ctx, p, l); err != nil {
		return err
	}
	p.Sealed = len(values)
	if len(values) == 0 {
		return nil
	}
	set := vault.Set{ID: p.ID, Generation: p.SweepValues}
	if err := m.Vault.Deposit(ctx, permit, set, values); err != nil {
		return err
	}
	if err := m.checkSet(ctx, set, values); err != nil {
		return err
	}
	if p.Action == Tokenise {
		return m.Vault.KeepTokens(ctx, permit, set, values)
	}
	return nil
}

// verify demands of the staged bytes that they parse as before, that nothing outside the spans differs, and that none of the
// values is left.
func (m *Remedy) verify(ctx context.Context, p *Plan, staged object.Staged, subjects []subject, write func(io.Writer) error) error {
	// Outside the spans: what was staged is exactly the original with the spans applied, computed once more.
	h := sha256.New()
	if err := write(h); err != nil {
		return err
	}
	if sum := staged.SHA256(); !bytes.Equal(h.Sum(nil), sum[:]) {
		return refused("the staged bytes are not the original with the planned replacements")
	}
	body, err := staged.Open(ctx)
	if err != nil {
		return fmt.Errorf("read the staged bytes: %w", err)
	}
	defer body.Close()
	body.Info.Key = p.Object.Key
	f, src, err := p.document(body)
	if err != nil && !coffer.Permanent(err) {
		return err
	}
	if err != nil {
		return refused("the rewritten object is not of the same format: " + err.Error())
	}
	again := m.sweep(p, subjects)
	if err := again.run(ctx, nil, f, src); err != nil {
		if ctx.Err() != nil || !coffer.Permanent(err) {
			return err
		}
		return refused("the rewritten object does not parse: " + err.Error())
	}
	// Columns do not count: they hold the replacements.
	if n := again.counts.left; !p.Only && n > 0 {
		return refused(fmt.Sprintf("%d values would still be found in the rewritten object", n))
	}
	still, err := m.still(ctx, p, staged, subjects)
	if err != nil {
		return err
	}
	if still > 0 {
		return refused(fmt.Sprintf("%d reported values would still stand at their places", still))
	}
	return nil
}

// still counts the reported values that the fix takes and that stand at their places in the staged bytes.
func (m *Remedy) still(ctx context.Context, p *Plan, staged object.Staged, subjects []subject) (int, error) {
	w := &sweep{include: p.Include}
	n := 0
	// Finding by finding, since each has definitions of its own.
	for i := 0; i < len(subjects); {
		by := subjects[i].by
		var occs []coffer.Occurrence
		var before []format.Found
		for ; i < len(subjects) && subjects[i].by == by; i++ {
			if s := &subjects[i]; w.takes(s.found) {
				occs = append(occs, s.found.Occurrence)
				before = append(before, s.found)
			}
		}
		after, err := m.staged(ctx, p, staged, occs, by.set)
		if err != nil {
			return 0, err
		}
		for k, f := range after {
			if f.Outcome.Holds() && bytes.Equal(f.Value().Expose(), before[k].Value().Expose()) {
				n++
			}
		}
	}
	return n, nil
}

// staged finds the values at occs in the staged bytes.
func (m *Remedy) staged(ctx context.Context, p *Plan, staged object.Staged, occs []coffer.Occurrence, set *detect.Set) ([]format.Found, error) {
	body, err := staged.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the staged bytes: %w", err)
	}
	defer body.Close()
	body.Info.Key = p.Object.Key
	found, err := pipeline.Extract(ctx, body, occs, set)
	if err != nil {
		return nil, fmt.Errorf("read the staged bytes: %w", err)
	}
	return found, nil
}

// finish records what was written, verifies it once more where it stands, and settles the findings.
func (m *Remedy) finish(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, closing Closing, now object.Info) error {
	p.Finished, p.Epoch = m.Now().UTC(), l.Epoch
	p.Until = p.Finished.Add(m.Grace)
	if p.Action == Quarantine {
		p.Until = time.Time{} // kept until it is released or purged
	}
	var ops []store.Op
	clean := ""
	if p.Result.Deleted {
		p.Verified = true
		if _, err := m.Objects.Stat(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}); !errors.Is(err, coffer.ErrNotFound) {
			p.Verified = false
		}
	} else {
		sum, size, err := m.digest(ctx, now.Object)
		if err != nil {
			return fmt.Errorf("verify what was written: %w", err)
		}
		p.Verified = sum == p.Result.SHA256 && size == p.Result.Size
		p.Result.Object = now.Object
		clean = now.VersionID
		ops = append(ops, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
			Key: m.wroteKey(p.ObjectID, now.ETag), Value: []byte(p.ID), Version: store.NewVersion()}})
	}
	var err error
	if p.Residual, err = m.remaining(ctx, p, clean); err != nil {
		return err
	}
	p.Clean = "current"
	switch {
	case len(p.Unfixed) > 0 && !p.Result.Deleted:
		p.Clean = ""
	case len(p.Residual) == 0:
		p.Clean = "all"
	}
	if err := m.settle(ctx, permit, p, l, closing); err != nil {
		return err
	}
	p.State, p.Reason = Applied, ""
	return m.record(ctx, permit, p, "applied", audit.Done, append(ops, l.Held())...)
}

// settle closes the findings of which nothing is left, and says of the others what is.
func (m *Remedy) settle(ctx context.Context, permit *audit.Permit, p *Plan, l *job.Lease, closing Closing) error {
	recs, err := m.covered(ctx, p)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.Plan == p.ID && rec.Status == triage.Fixed {
			continue
		}
		left, err := m.leftOf(ctx, p, rec)
		if err != nil {
			return err
		}
		rec.Plan = p.ID
		if left == 0 {
			rec.Status = triage.Fixed
			rec.Closing = &triage.Closing{
				Disposition: p.Action.past(), AuthenticationData: p.Authenticates > 0, At: m.Now().UTC(), By: permit.Caller().ID,
				Origin:           first(closing.Origin, "reported by Macie in "+rec.Finding.OriginType+" "+rec.Finding.JobID),
				CorrectiveAction: first(closing.CorrectiveAction, "fixed by "+p.ID),
			}
		} else {
			rec.Note = fmt.Sprintf("%d values are left by %s", left, p.ID)
		}
		if err := m.recordFinding(ctx, permit, p, rec, "settle", l); err != nil {
			return err
		}
	}
	return nil
}

// recordFinding stores a finding's record together with the entry that reports its change.
func (m *Remedy) recordFinding(ctx context.Context, permit *audit.Permit, p *Plan, rec *triage.Record, step string, l *job.Lease) error {
	e := permit.Entry(audit.Done)
	e.Finding, e.Object, e.Epoch = rec.Finding.ID, p.ObjectID, l.Epoch
	e.Detail = map[string]string{"step": step, "status": string(rec.Status)}
	if _, err := m.Guard.Log.Apply(ctx, e, append(rec.Save(), l.Held())...); err != nil {
		return fmt.Errorf("finding %s: %w", rec.Finding.ID, err)
	}
	return nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// leftOf counts the values of a finding that the fix did not take.
func (m *Remedy) leftOf(ctx context.Context, p *Plan, rec *triage.Record) (int, error) {
	if p.Result.Deleted {
		return 0, nil
	}
	lines, err := m.Records.Lines(ctx, rec.Finding.ID)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, l := range lines {
		switch {
		case l.Verdict == triage.FalsePositive:
		case l.Outcome == coffer.OutcomeRejected && !p.Include.Rejected:
			n++
		case l.Outcome == coffer.OutcomeRegion && !p.Include.Region && (l.At.Kind == coffer.Lines || l.At.Kind == coffer.Page):
			n++
		case l.Outcome == coffer.OutcomeUnsupported:
			n++
		}
	}
	return n, nil
}
