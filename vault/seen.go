package vault

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/grant"
)

// seenBytes is how much of the keyed hash of a value an entry of the log has.
const seenBytes = 12

// seen returns the keyed hash under which the log knows that a value was shown, as docs/format-log.md says. It is bound to finding and
// number, so that the log does not tell which reveals showed the same value.
func (v *Vault) seen(finding string, n int, norm []byte) string {
	b := binary.AppendUvarint(nil, uint64(len(finding)))
	b = append(b, finding...)
	b = binary.AppendUvarint(b, uint64(n))
	b = append(b, norm...)
	defer clear(b)
	return base64.RawURLEncoding.EncodeToString(v.MAC("audit/value", b)[:seenBytes])
}

// Sight is one time that a value was shown.
type Sight struct {
	Time    time.Time // when it was asked for
	Person  string    // pseudonymous id
	Finding string
	N       int
	Reason  string
	Intent  audit.Ref
	// Possible says that there is no result on record: that the value was shown cannot be excluded, nor whether it was this one.
	Possible bool
}

// Seen says who saw the value, from the log alone, oldest first: also what was destroyed since. Intents without a result name every
// occurrence that may have been shown; they are returned for the findings in which the value was shown to somebody.
//
// It is a search by value and a reading of the log: both rights are needed, and it is charged as a search. Reveals of more than
// [audit.MaxValues] values at once say only which occurrences were shown, and are not found.
func (v *Vault) Seen(ctx context.Context, ask access.Ask, value coffer.Plaintext, f audit.Filter) ([]Sight, error) {
	norm := Normalise(value.Expose())
	defer clear(norm)
	if _, err := v.check(ctx, ask, access.AuditRead, access.Resource{Kind: access.System}); err != nil {
		return nil, err
	}
	act := grant.Act{Action: access.ValueSearch, Resource: access.Resource{Kind: access.System}, Values: 1}
	permit, ref, err := v.intend(ctx, ask, act, func(e *audit.Entry) error {
		e.Detail = map[string]string{"step": "seen"}
		if len(norm) == 0 {
			return fmt.Errorf("empty value: %w", coffer.ErrInvalid)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := v.sights(ctx, norm, f)
	if err2 := v.report(ctx, permit, ref, "", err, map[string]string{"step": "seen", "hits": strconv.Itoa(len(out))}); err2 != nil {
		return nil, errors.Join(err, err2)
	}
	return out, err
}

func (v *Vault) sights(ctx context.Context, norm []byte, f audit.Filter) ([]Sight, error) {
	var out []Sight
	open := map[audit.Ref]audit.Entry{}
	f.Action, f.Newest = string(access.ValueReveal), false
	for e, err := range v.Guard.Log.Entries(ctx, f) {
		if err != nil {
			return nil, err
		}
		if e.Outcome == audit.Intent {
			open[e.Ref()] = e
			continue
		}
		intent, ok := open[e.Intent]
		if !ok {
			continue
		}
		delete(open, e.Intent)
		for i, hash := range e.Values {
			if i < len(intent.Occurrences) && hash == v.seen(intent.Finding, intent.Occurrences[i], norm) {
				out = append(out, sight(&intent, intent.Occurrences[i], false))
			}
		}
	}
	type place struct {
		finding string
		n       int
	}
	shown := map[place]bool{}
	for _, s := range out {
		shown[place{s.Finding, s.N}] = true
	}
	for _, e := range open {
		for _, n := range e.Occurrences {
			if shown[place{e.Finding, n}] {
				out = append(out, sight(&e, n, true))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Sight) int { return a.Time.Compare(b.Time) })
	return out, nil
}

func sight(e *audit.Entry, n int, possible bool) Sight {
	return Sight{Time: e.Time, Person: e.Actor.ID, Finding: e.Finding, N: n, Reason: e.Reason, Intent: e.Ref(), Possible: possible}
}
