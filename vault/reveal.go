package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/grant"
	"coffer/internal/planted"
	"coffer/store"
	"coffer/triage"
)

// Reveal opens the sealed values of a finding, in ascending order: those with the numbers ns, or all when there are none. The entry
// that says so is durable before the first value is opened; when it cannot be written nothing is opened and the error wraps
// coffer.ErrUnavailable. With it the grant is used up on which the caller acts, or their budget is charged: see [grant.Grants.Intend]. A second entry reports the result before the values are returned.
//
// A number that the finding does not have, or whose value is not sealed, gives coffer.ErrNotFound. The caller wipes the values.
func (v *Vault) Reveal(ctx context.Context, ask access.Ask, finding string, ns ...int) ([]Revealed, error) {
	rec, err := v.Records.Get(ctx, finding)
	if err != nil {
		return nil, v.hide(ctx, ask, access.ValueReveal, finding, err)
	}
	var lines []triage.Line
	if len(ns) == 0 {
		lines, err = v.Records.Lines(ctx, finding)
	} else {
		lines, err = v.Records.LinesNear(ctx, finding, slices.Min(ns), slices.Max(ns))
	}
	if err != nil {
		return nil, err
	}
	picked, missing := pick(lines, ns)
	numbers := ns
	if missing == nil {
		numbers = make([]int, len(picked))
		for i, l := range picked {
			numbers[i] = l.N
		}
	}
	act := grant.Act{Action: access.ValueReveal, Resource: rec.Resource(), Numbers: numbers, Generation: rec.Generation, Values: len(numbers)}
	permit, ref, err := v.intend(ctx, ask, act, func(e *audit.Entry) error {
		e.Occurrences, e.Object = numbers, rec.ObjectID
		if s := join(kinds(picked)); s != "" {
			e.Detail = map[string]string{"types": s}
		}
		return missing
	})
	if err != nil {
		return nil, err
	}
	out, requests, err := v.openLines(ctx, rec, picked)
	detail := map[string]string{"values": strconv.Itoa(len(out))}
	if len(requests) > 0 {
		detail["keyRequest"] = audit.List(requests) // so that the key service's log and Coffer's can be compared
	}
	if err2 := v.report(ctx, permit, ref, rec.ObjectID, err, detail, out...); err2 != nil {
		err = errors.Join(err, err2)
	}
	if err != nil {
		for _, r := range out {
			r.Plain.Wipe()
		}
		return nil, err
	}
	return out, nil
}

// report appends the entry that says how an act ended whose intent was recorded as ref, with keyed hashes of the values that it shows.
func (v *Vault) report(ctx context.Context, permit *audit.Permit, ref audit.Ref, objectID string, err error, detail map[string]string, shows ...Revealed) error {
	outcome := audit.Done
	if err != nil {
		outcome, shows = audit.Failed, nil
	}
	e := permit.Entry(outcome)
	if len(shows) <= audit.MaxValues {
		for _, r := range shows {
			norm := Normalise(r.Plain.Expose())
			e.Values = append(e.Values, v.seen(r.Finding, r.N, norm))
			clear(norm)
		}
	}
	e.Object, e.Intent, e.Detail = objectID, ref, detail
	_, err = v.Guard.Log.Append(ctx, e)
	return err
}

// intend asks for the act and records the intent, with whatever grant and budget it uses up.
func (v *Vault) intend(ctx context.Context, ask access.Ask, act grant.Act, prepare func(*audit.Entry) error) (*audit.Permit, audit.Ref, error) {
	if planted.On(planted.RevealUnrecorded) {
		permit, err := v.check(ctx, ask.Values(act.Values), act.Action, act.Resource)
		return permit, audit.Ref{}, errors.Join(err, prepare(new(audit.Entry)))
	}
	return v.Grants.Intend(ctx, ask, act, prepare)
}

// check asks by the caller's own right: what they say of approvals is not believed.
func (v *Vault) check(ctx context.Context, ask access.Ask, action access.Action, r access.Resource) (*audit.Permit, error) {
	return v.Guard.Check(ctx, ask.Caller, action, r, ask.Context.Claimed())
}

// hide answers for a finding that does not exist the way it would for one that the caller may not know of.
func (v *Vault) hide(ctx context.Context, ask access.Ask, action access.Action, finding string, err error) error {
	if !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	_, denied := v.check(ctx, ask, action, access.Resource{Kind: access.Finding, ID: finding, Origins: []coffer.Origin{coffer.OriginOperator}})
	if errors.Is(denied, coffer.ErrUnavailable) {
		return denied
	}
	return err
}

// pick returns the lines with the numbers ns, or all that are sealed.
func pick(lines []triage.Line, ns []int) ([]triage.Line, error) {
	var out []triage.Line
	if len(ns) == 0 {
		for _, l := range lines {
			if l.Sealed {
				out = append(out, l)
			}
		}
		return out, nil
	}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(ns))) {
		i, ok := slices.BinarySearchFunc(lines, n, func(l triage.Line, n int) int { return l.N - n })
		switch {
		case !ok:
			return nil, fmt.Errorf("occurrence %d of the finding: %w", n, coffer.ErrNotFound)
		case !lines[i].Sealed:
			return nil, fmt.Errorf("occurrence %d is %s; no value of it is sealed: %w", n, lines[i].Outcome, coffer.ErrNotFound)
		}
		out = append(out, lines[i])
	}
	return out, nil
}

// kinds returns the types of lines, each once.
func kinds(lines []triage.Line) []coffer.DataType {
	var out []coffer.DataType
	for _, l := range lines {
		if !slices.Contains(out, l.Type) {
			out = append(out, l.Type)
		}
	}
	slices.Sort(out)
	return out
}

// source is where the value of a line is sealed.
type source struct {
	set Set
	n   int
}

// openLines opens the values of lines, one Unwrap for each set they are sealed in, and returns the keeper's ids of these calls.
func (v *Vault) openLines(ctx context.Context, rec *triage.Record, lines []triage.Line) (out []Revealed, requests []string, err error) {
	openers := map[Set]*envelope.Opener{}
	defer func() {
		for _, o := range openers {
			o.Wipe()
		}
	}()
	for _, l := range lines {
		src := source{Set{rec.Finding.ID, rec.Generation}, l.N}
		at := l.At
		if l.Same != nil {
			other, err := v.Records.Get(ctx, l.Same.Finding)
			if err != nil {
				return out, requests, err
			}
			src = source{Set{other.Finding.ID, other.Generation}, l.Same.N}
		}
		opener := openers[src.set]
		if opener == nil {
			if opener, err = v.open(ctx, src.set, forValues, envelope.ForReveal); err != nil {
				return out, requests, err
			}
			openers[src.set] = opener
			if id := opener.Request(); id != "" {
				requests = append(requests, id)
			}
		}
		plain, err := v.openOne(ctx, src, opener, l.Type, at)
		if err != nil {
			return out, requests, err
		}
		out = append(out, Revealed{Finding: rec.Finding.ID, N: l.N, Type: l.Type, At: at, Plain: plain})
	}
	return out, requests, nil
}

// openOne reads the one chunk that holds the value and opens the value alone.
func (v *Vault) openOne(ctx context.Context, src source, o *envelope.Opener, t coffer.DataType, at coffer.Location) (plain coffer.Plaintext, err error) {
	errFound := errors.New("found")
	err = v.boxes(ctx, src.set, store.Range{To: number(src.n + 1), Reverse: true}, func(n int, box []byte) error {
		if n > src.n {
			return fmt.Errorf("sealed occurrence %d: %w", src.n, coffer.ErrNotFound)
		}
		if n < src.n {
			return nil
		}
		plain, err = o.Open(src.set.identity(n, t, at), box)
		if err == nil {
			err = errFound
		}
		return err
	})
	switch {
	case errors.Is(err, errFound):
		return plain, nil
	case err == nil:
		return plain, fmt.Errorf("sealed occurrence %d: %w", src.n, coffer.ErrNotFound)
	}
	return plain, fmt.Errorf("open occurrence %d: %w", src.n, err)
}

// OpenAll opens every sealed value of the finding for a check, which records what it does and shows nothing. The caller wipes
// the values.
func (v *Vault) OpenAll(ctx context.Context, _ *audit.Permit, rec *triage.Record, lines []triage.Line) ([]Revealed, error) {
	sealed, err := pick(lines, nil)
	if err != nil {
		return nil, err
	}
	out, _, err := v.openLines(ctx, rec, sealed)
	return out, err
}

// Boxes returns how many sealed values the set holds.
func (v *Vault) Boxes(ctx context.Context, s Set) (n int, err error) {
	err = v.boxes(ctx, s, store.Range{}, func(int, []byte) error {
		n++
		return nil
	})
	return n, err
}
