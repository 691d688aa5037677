package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/macie"
	"coffer/object"
	"coffer/store"
	"coffer/triage"
)

const (
	// overlap is how much of what was compared is compared again: discovery results and findings may show late.
	overlap = 24 * time.Hour
	// lag is how old a finding is at least before it is missed: its event may be on its way.
	lag = 5 * time.Minute
	// window is the time whose findings are one step of a run.
	window = 24 * time.Hour
	// maxPasses bounds how often a window is listed when what is listed keeps changing.
	maxPasses = 5
	// fromMacie names Macie's list as where something came from, in the record of arrivals.
	fromMacie = "macie"
)

// ReconcileJob is the kind of the jobs whose items are the steps of a run.
const ReconcileJob = "event.reconcile"

// The steps of a run, as items of a job: "list SINCE/UNTIL", "results SINCE/UNTIL", "settle SINCE/UNTIL". Each can be repeated.
const (
	stepList    = "list"
	stepResults = "results"
	stepSettle  = "settle"
)

// Reconcile returns the steps of a run that compares what came in with what Macie says, for [Pipeline.ReconcileStep] to do in their
// order. It begins at since, or where the last run ended, with an overlap; the first run, at the oldest that Macie keeps. What is
// younger than five minutes is left to its event. Without a Macie to ask the error wraps coffer.ErrUnsupported, and for a since
// in the future coffer.ErrInvalid.
func (p *Pipeline) Reconcile(ctx context.Context, ask access.Ask, since time.Time) ([]string, error) {
	if _, err := p.Guard.Check(ctx, ask.Caller, access.EventReconcile, access.Resource{Kind: access.System}, ask.Context); err != nil {
		return nil, err
	}
	if p.Macie == nil {
		return nil, fmt.Errorf("no Macie is configured; set macie: in config.yaml: %w", coffer.ErrUnsupported)
	}
	now := p.Now().UTC()
	until, oldest := now.Add(-lag).Truncate(time.Millisecond), now.Add(-macie.Retention).Truncate(time.Millisecond)
	if since.IsZero() {
		s, _, err := p.reconciled(ctx)
		if err != nil {
			return nil, err
		}
		since = s.Until.Add(-overlap)
	}
	if since.After(until) {
		return nil, fmt.Errorf("nothing is older than five minutes since then: %w", coffer.ErrInvalid)
	}
	if since = since.UTC().Truncate(time.Millisecond); since.Before(oldest) {
		since = oldest
	}
	var steps []string
	for from := since; from.Before(until); {
		to := from.Truncate(window).Add(window)
		if to.After(until) {
			to = until
		}
		steps = append(steps, step(stepList, from, to))
		from = to
	}
	if p.Results.Bucket != "" {
		steps = append(steps, step(stepResults, since, until))
	}
	return append(steps, step(stepSettle, since, until)), nil
}

func step(what string, since, until time.Time) string {
	return what + " " + since.Format(time.RFC3339Nano) + "/" + until.Format(time.RFC3339Nano)
}

// ReconcileStep does one step of a run and returns in a few words what came of it. It is safe to repeat, and at the same time. An
// error that wraps coffer.ErrUnavailable says that Macie or the storage could not be asked: the step is to be done again.
func (p *Pipeline) ReconcileStep(ctx context.Context, ask access.Ask, ref string) (string, error) {
	permit, err := p.Guard.Check(ctx, ask.Caller, access.EventReconcile, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return "", err
	}
	if p.Macie == nil {
		return "", fmt.Errorf("no Macie is configured: %w", coffer.ErrUnsupported)
	}
	what, span, _ := strings.Cut(ref, " ")
	from, to, _ := strings.Cut(span, "/")
	since, err1 := time.Parse(time.RFC3339Nano, from)
	until, err2 := time.Parse(time.RFC3339Nano, to)
	if err1 != nil || err2 != nil {
		return "", fmt.Errorf("step of a run: %w", coffer.ErrInvalid)
	}
	r := &run{p: p, ask: ask, permit: permit}
	var result string
	detail := map[string]string{"step": what, "since": from, "until": to}
	switch what {
	case stepList:
		for _, archived := range []bool{false, true} {
			if err := r.window(ctx, macie.Query{Since: since, Until: until, Archived: archived}); err != nil {
				return "", err
			}
		}
		result = fmt.Sprintf("%d listed, %d re-taken", r.listed, r.retaken)
		detail["listed"], detail["retaken"] = strconv.Itoa(r.listed), strconv.Itoa(r.retaken)
	case stepResults:
		if err := r.results(ctx, since, until); err != nil {
			return "", err
		}
		result = fmt.Sprintf("%d files, %d objects without a finding", r.files, r.orphans)
		detail["files"], detail["gaps"] = strconv.Itoa(r.files), strconv.Itoa(r.orphans)
	case stepSettle:
		sum, err := p.settle(ctx, since, until)
		if err != nil {
			return "", err
		}
		result = fmt.Sprintf("%d events, %d re-taken, %d stored, %d suppressed, %d gaps", sum.Events, sum.Retaken, sum.Stored, sum.Suppressed, sum.Gaps)
		detail["gaps"] = strconv.Itoa(sum.Gaps)
	default:
		return "", fmt.Errorf("step of a run: %w", coffer.ErrInvalid)
	}
	e := permit.Entry(audit.Done)
	e.Detail = detail
	_, err = p.Guard.Log.Append(ctx, e)
	return result, err
}

// run is one step under way.
type run struct {
	p                               *Pipeline
	ask                             access.Ask
	permit                          *audit.Permit
	listed, retaken, files, orphans int
}

// window compares one window. The list is none of one moment: a finding that leaves it moves the others, and one of them can fall
// between two pages. So it is listed again until nothing new is in it.
func (r *run) window(ctx context.Context, q macie.Query) error {
	seen := map[string]bool{}
	for range maxPasses {
		fresh := 0
		for ids, err := range r.p.Macie.List(ctx, q) {
			if err != nil {
				return err
			}
			ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return seen[id] })
			for _, id := range ids {
				seen[id] = true
			}
			n, err := r.page(ctx, q, ids)
			if err != nil {
				return err
			}
			fresh += n
		}
		if fresh == 0 {
			break
		}
	}
	r.listed += len(seen)
	return nil
}

// page compares the findings with these ids and returns how many of them were not known before.
func (r *run) page(ctx context.Context, q macie.Query, ids []string) (fresh int, err error) {
	if slices.Sort(ids); len(ids) == 0 {
		return 0, nil
	}
	ids = slices.Compact(ids)
	docs, err := r.p.Macie.Findings(ctx, ids)
	if err != nil {
		return 0, err
	}
	ops := make([]store.Op, 0, len(ids)+8)
	days := map[string]bool{}
	for _, id := range ids {
		d, ok := docs[id]
		created := d.Created
		if created.IsZero() {
			created = q.Since // of what cannot be read no better day is known
		}
		l := line{Kind: d.Kind}
		switch {
		case !ok:
			l.Gap = GapGone
			if a, _, err := r.p.arrival(ctx, id); err == nil && a.Came != byItself {
				continue // it came while Macie had it
			} else if err != nil && !errors.Is(err, coffer.ErrNotFound) {
				return fresh, err
			}
		case d.Kind == macie.KindUnreadable:
			l.Gap = GapUnreadable
		case d.Kind == macie.KindFinding:
			var isNew bool
			if l.Gap, isNew, err = r.finding(ctx, d); err != nil {
				return fresh, err
			}
			if isNew {
				fresh++
			}
		case d.Kind == macie.KindArchived:
			ops = append(ops, putOp(suppressedKey(r.p.ObjectID(d.Object), id), 1))
		}
		if d.Finding != nil {
			if l.Result, err = r.result(ctx, d.Finding.ResultLocation); err != nil {
				return fresh, err
			}
		}
		ops = append(ops, lineOp(created, "m#"+id, l))
		days[dayOf(created)] = true
	}
	for day := range days {
		ops = append(ops, touchOp(day))
	}
	for batch := range slices.Chunk(ops, store.MaxOps) {
		if err := r.p.DB.Apply(ctx, batch...); err != nil {
			return fresh, fmt.Errorf("ledger: %w", err)
		}
	}
	return fresh, nil
}

func suppressedKey(objectID, id string) store.Key {
	return store.Key{Part: "O#" + objectID, Sort: "s#" + id}
}

// finding takes a finding in that never came, came only by a stranger's word, was not finished, or was changed since.
func (r *run) finding(ctx context.Context, d macie.Document) (gap GapKind, isNew bool, err error) {
	a, _, err := r.p.arrival(ctx, d.ID)
	known := err == nil
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return "", false, err
	}
	rec, err := r.p.Records.Get(ctx, d.ID)
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return "", false, err
	}
	changed := known && !a.Updated.IsZero() && d.Updated.After(a.Updated)
	if changed && rec != nil && rec.State.Final() {
		gap = GapChanged
	}
	whole := rec != nil && !rec.Unconfirmed() && (rec.State.Final() || rec.State == triage.StateFailed || rec.State == triage.StateParked)
	if known && a.Came != byItself && whole {
		return gap, false, nil
	}
	came := retaken
	if known && rec != nil && rec.Finding.Origin != coffer.OriginSubmitted {
		came = event // it came before there was a Macie to ask
	}
	_, err = r.p.takeDocument(ctx, r.ask, access.EventReconcile, d, coffer.OriginMacie, fromMacie, came)
	switch {
	case errors.Is(err, coffer.ErrConflict):
		return GapNotTaken, false, nil
	case err != nil:
		return "", false, fmt.Errorf("take in a finding that Macie lists: %w", err)
	}
	if !known {
		r.retaken++
	}
	return gap, !known, nil
}

// result says whether the discovery result of a finding is there.
func (r *run) result(ctx context.Context, at string) (string, error) {
	loc, err := macie.ParseResultLocation(at)
	if err != nil || loc.Unset && r.p.Results.Bucket == "" {
		return resultUnset, nil
	}
	if loc = r.p.Results.fill(loc); !r.p.mayRead(loc.Bucket) {
		return resultUnset, nil
	}
	if !loc.Folder {
		_, err = r.p.Objects.Stat(ctx, coffer.Object{Bucket: loc.Bucket, Key: loc.Key})
	} else {
		err = coffer.ErrNotFound
		for _, lerr := range r.p.Objects.List(ctx, loc.Bucket, loc.Key, "") {
			err = lerr
			break
		}
	}
	switch {
	case err == nil:
		return resultThere, nil
	case errors.Is(err, coffer.ErrNotFound), errors.Is(err, object.ErrRefused):
		return resultMissing, nil
	}
	return "", fmt.Errorf("look for a discovery result: %w", err)
}

// results looks for objects in which, by the discovery results written between since and until, something was detected, and of which
// there is no finding.
func (r *run) results(ctx context.Context, since, until time.Time) error {
	at := r.p.Results
	for info, err := range r.p.Objects.List(ctx, at.Bucket, at.Prefix+"AWSLogs/", "") {
		if err != nil {
			return fmt.Errorf("list discovery results: %w", err)
		}
		if !strings.HasSuffix(info.Key, ".jsonl.gz") || info.Modified.Before(since) || !info.Modified.Before(until) {
			continue
		}
		r.files++
		if err := r.file(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// file compares one file of results. One that cannot be read names itself as an object without a finding.
func (r *run) file(ctx context.Context, info object.Info) error {
	body, err := r.p.Objects.Open(ctx, coffer.Object{Bucket: info.Bucket, Key: info.Key, VersionID: info.VersionID, ETag: info.ETag})
	if errors.Is(err, coffer.ErrNotFound) || errors.Is(err, coffer.ErrChanged) {
		return nil // it was replaced, and is listed again
	}
	if err != nil {
		return fmt.Errorf("read a discovery result: %w", err)
	}
	defer body.Close()
	objects := map[string]bool{}
	created := info.Modified
	var ops []store.Op
	for d, err := range macie.Decode(ctx, body) {
		if err != nil {
			return fmt.Errorf("read a discovery result: %w", err)
		}
		if d.Form != macie.FormResult && d.Kind != macie.KindUnreadable {
			continue
		}
		if !d.Created.IsZero() {
			created = d.Created
		}
		o := d.Object
		if d.Kind == macie.KindUnreadable {
			o = info.Object
		}
		o.ETag = "" // of a small object it is an unkeyed hash of what it holds
		id := r.p.ObjectID(o)
		objects[id] = true
		found := d.Kind != macie.KindFinding && d.Kind != macie.KindUnreadable || d.Finding != nil && onlyCustom(d.Finding)
		if !found && d.Finding != nil {
			if found, err = r.known(ctx, id, d.Object); err != nil {
				return err
			}
		}
		op := store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: linesOf(dayOf(created)).Key("o#" + id)}}
		if !found {
			r.orphans++
			op = lineOp(created, "o#"+id, line{Object: &o})
		}
		ops = slices.DeleteFunc(ops, func(x store.Op) bool { return x.Item.Key == op.Item.Key })
		if ops = append(ops, op); len(ops) == store.MaxOps {
			if err := r.p.DB.Apply(ctx, ops...); err != nil {
				return fmt.Errorf("ledger: %w", err)
			}
			ops = nil
		}
	}
	hash := fmt.Sprintf("%x", r.p.MAC("result", []byte(info.Bucket+"\x00"+info.Key))[:16])
	for batch := range slices.Chunk(append(ops, lineOp(created, "r#"+hash, line{N: len(objects)}), touchOp(dayOf(created))), store.MaxOps) {
		if err := r.p.DB.Apply(ctx, batch...); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}

// onlyCustom reports whether only custom identifiers detected something: below its threshold one of them makes no finding.
func onlyCustom(f *coffer.Finding) bool {
	return !slices.ContainsFunc(f.Detections, func(d coffer.Detection) bool { return d.Custom == "" })
}

// known reports whether there is a finding on this version of an object, or one that is suppressed.
func (r *run) known(ctx context.Context, id string, o coffer.Object) (bool, error) {
	on, err := FindingsOn(ctx, r.p.Records, id)
	if err != nil {
		return false, err
	}
	for _, rec := range on {
		if macie.SameVersion(rec.Finding.Object, o) || rec.Was != nil && macie.SameVersion(*rec.Was, o) || o.ETag == "" && o.VersionID == "" {
			return true, nil
		}
	}
	for _, err := range r.p.DB.Query(ctx, "O#"+id, store.Range{From: "s#", To: "s$"}) {
		return err == nil, err
	}
	return false, nil
}
