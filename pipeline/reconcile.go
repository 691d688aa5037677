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
	// showing is how long after its time something may show in Macie's list or among the discovery results. What was compared earlier is
	// compared again.
	showing = 24 * time.Hour
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

// The steps of a run, as items of a job: "list SINCE/UNTIL", "results SINCE/UNTIL", "settle SINCE/UNTIL", "identifiers SINCE/UNTIL". Each can be repeated, and
// none needs another to have succeeded: each records the time that it has done, and what is missing is done by the next run.
const (
	stepList    = "list"
	stepResults = "results"
	stepSettle  = "settle"
	// stepIdentifiers asks Macie again for the definitions of custom identifiers. It comes last, so that it holds up nothing.
	stepIdentifiers = "identifiers"
)

// Reconcile returns the steps of a run that compares what came in with what Macie says, for [Pipeline.ReconcileStep] to do in their
// order. With the zero since they cover every time, as far back as Macie keeps findings, that no run has compared, or has compared
// within a day; otherwise all from since on. What is younger than five minutes is left to its event. Without a Macie to ask the error
// wraps coffer.ErrUnsupported, and for a since in the future coffer.ErrInvalid.
func (p *Pipeline) Reconcile(ctx context.Context, ask access.Ask, since time.Time) ([]string, error) {
	if _, err := p.Guard.Check(ctx, ask.Caller, access.EventReconcile, access.Resource{Kind: access.System}, ask.Context); err != nil {
		return nil, err
	}
	if p.Macie == nil {
		return nil, fmt.Errorf("no Macie is configured; set macie: in config.yaml: %w", coffer.ErrUnsupported)
	}
	now := p.Now().UTC()
	all := Span{now.Add(-macie.Retention).Truncate(time.Millisecond), now.Add(-lag).Truncate(time.Millisecond)}
	if since.After(all.Until) {
		return nil, fmt.Errorf("nothing is older than five minutes since then: %w", coffer.ErrInvalid)
	}
	var list, results spans
	if since.IsZero() {
		s, _, err := p.reconciled(ctx)
		if err != nil {
			return nil, err
		}
		list, results = s.List.Settled.missing(all), s.Results.Settled.missing(all)
	} else {
		all.From = later(all.From, since.UTC().Truncate(time.Millisecond))
		list, results = spans{all}, spans{all}
	}
	var steps []string
	for _, x := range list {
		for from := x.From; from.Before(x.Until); {
			to := earlier(from.Truncate(window).Add(window), x.Until)
			steps = append(steps, step(stepList, Span{from, to}))
			from = to
		}
	}
	if p.Results.Bucket != "" && len(results) > 0 {
		// All results are listed whatever their time, so that one step takes all spans.
		steps = append(steps, step(stepResults, Span{results[0].From, results.last().Until}))
	}
	return append(steps, step(stepSettle, all), step(stepIdentifiers, all)), nil
}

func step(what string, s Span) string {
	return what + " " + s.From.Format(time.RFC3339Nano) + "/" + s.Until.Format(time.RFC3339Nano)
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
	r := &run{p: p, ask: ask}
	var result string
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": what, "since": from, "until": to}
	at, began := Span{since, until}, p.Now().UTC()
	kind := func(s *reconciled) *progress { return &s.List }
	switch what {
	case stepList:
		if err := r.begin(ctx, at, kind); err != nil {
			return "", err
		}
		for _, archived := range []bool{false, true} {
			if err := r.window(ctx, macie.Query{Since: since, Until: until, Archived: archived}); err != nil {
				return "", err
			}
		}
		result = fmt.Sprintf("%d listed, %d re-taken", r.listed, r.retaken)
		e.Detail["listed"], e.Detail["retaken"] = strconv.Itoa(r.listed), strconv.Itoa(r.retaken)
	case stepResults:
		kind = func(s *reconciled) *progress { return &s.Results }
		if err := r.begin(ctx, at, kind); err != nil {
			return "", err
		}
		if err := r.results(ctx, since, until); err != nil {
			return "", err
		}
		result = fmt.Sprintf("%d files, %d objects without a finding", r.files, r.orphans)
		e.Detail["files"], e.Detail["gaps"] = strconv.Itoa(r.files), strconv.Itoa(r.orphans)
	case stepSettle:
		sum, err := p.settle(ctx)
		if err != nil {
			return "", err
		}
		result = fmt.Sprintf("%d events, %d re-taken, %d stored, %d suppressed, %d gaps", sum.Events, sum.Retaken, sum.Stored, sum.Suppressed, sum.Gaps)
		e.Detail["gaps"] = strconv.Itoa(sum.Gaps)
	case stepIdentifiers:
		known, undefined, err := p.Identifiers.refresh(ctx)
		if err != nil {
			return "", err
		}
		taken, left, err := p.takeAgain(ctx, ask)
		if err != nil {
			return "", err
		}
		e.Detail["undefined"], e.Detail["retaken"] = strconv.Itoa(undefined), strconv.Itoa(taken)
		result = fmt.Sprintf("%d custom identifiers, %d without a definition", known, undefined)
		if taken+left > 0 {
			result += fmt.Sprintf("; %d findings taken in again, %d left as they are", taken, left)
		}
		_, err = p.Guard.Log.Append(ctx, e)
		return result, err
	default:
		return "", fmt.Errorf("step of a run: %w", coffer.ErrInvalid)
	}
	return result, p.advance(ctx, func(s *reconciled) {
		if what == stepSettle {
			s.Finished = p.Now().UTC()
			return
		}
		g := kind(s)
		g.Done = g.Done.with(at)
		if !r.moving {
			g.Settled = g.Settled.with(Span{since, earlier(until, began.Add(-showing))})
		}
	}, func(op store.Op) error {
		_, err := p.Guard.Log.Apply(ctx, e, op)
		return err
	})
}

// run is one step under way.
type run struct {
	p                               *Pipeline
	ask                             access.Ask
	moving                          bool // what is listed did not come to rest
	listed, retaken, files, orphans int
}

// begin records that a time is about to be compared.
func (r *run) begin(ctx context.Context, at Span, kind func(*reconciled) *progress) error {
	if err := r.p.touch(ctx, at); err != nil {
		return err
	}
	return r.p.advance(ctx, func(s *reconciled) {
		g := kind(s)
		g.Begun = g.Begun.with(at)
	}, func(op store.Op) error { return r.p.DB.Apply(ctx, op) })
}

// window compares one window, in halves if Macie does not list all that is in it.
func (r *run) window(ctx context.Context, q macie.Query) error {
	whole, err := r.list(ctx, q)
	if whole || err != nil {
		return err
	}
	half := q.Since.Add(q.Until.Sub(q.Since) / 2).Truncate(time.Millisecond) // in which Macie counts
	if !half.After(q.Since) {
		return fmt.Errorf("more findings of one millisecond than Macie lists: %w", coffer.ErrLimit)
	}
	first, second := q, q
	first.Until, second.Since = half, half
	if err := r.window(ctx, first); err != nil {
		return err
	}
	return r.window(ctx, second)
}

// list compares what Macie lists; not whole, if that is more than it shows. The list is none of one moment: a finding that leaves it
// moves the others, and one of them can fall between two pages. So it is listed again until nothing new is in it.
func (r *run) list(ctx context.Context, q macie.Query) (whole bool, err error) {
	seen := map[string]bool{}
	for pass := range maxPasses {
		fresh := 0
		for ids, err := range r.p.Macie.List(ctx, q) {
			if errors.Is(err, coffer.ErrLimit) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return seen[id] })
			for _, id := range ids {
				seen[id] = true
			}
			n, err := r.page(ctx, q, ids)
			if err != nil {
				return false, err
			}
			fresh += n
		}
		if fresh == 0 {
			break
		}
		r.moving = r.moving || pass == maxPasses-1
	}
	r.listed += len(seen)
	return true, nil
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
		return resultUnset, nil //nolint:nilerr // a location that says nothing is one that is not set
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
		if !at.has(info.Key) || info.Modified.Before(since) || !info.Modified.Before(until) {
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
		id := r.p.ObjectID(o)
		objects[id] = true
		found := d.Kind != macie.KindFinding && d.Kind != macie.KindUnreadable || d.Finding != nil && onlyCustom(d.Finding)
		if !found && d.Finding != nil {
			if found, err = r.p.known(ctx, id, d.Object); err != nil {
				return err
			}
		}
		op := store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: linesOf(dayOf(created)).Key("o#" + id)}}
		if !found {
			r.orphans++
			op = lineOp(created, "o#"+id, line{Object: &o, Kind: d.Kind})
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
func (p *Pipeline) known(ctx context.Context, id string, o coffer.Object) (bool, error) {
	on, err := FindingsOn(ctx, p.Records, id)
	if err != nil {
		return false, err
	}
	for _, rec := range on {
		if macie.SameVersion(rec.Finding.Object, o) || rec.Was != nil && macie.SameVersion(*rec.Was, o) || o.ETag == "" && o.VersionID == "" {
			return true, nil
		}
	}
	for _, err := range p.DB.Query(ctx, "O#"+id, store.Range{From: "s#", To: "s$"}) {
		return err == nil, err
	}
	return false, nil
}
