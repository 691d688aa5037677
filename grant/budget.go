package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// Limit is how much a caller may do by their own right within an hour and within a day, however they spread it: both windows slide.
type Limit struct {
	Hour int `yaml:"hour,omitempty" json:"hour"`
	Day  int `yaml:"day,omitempty" json:"day"`
}

// Budgets are the limits of what gives answers about values. Each is an oracle: many small answers are an export.
type Budgets struct {
	Reveals  Limit `yaml:"reveals,omitempty" json:"reveals"`   // values opened
	Searches Limit `yaml:"searches,omitempty" json:"searches"` // searches by value
	Tokens   Limit `yaml:"tokens,omitempty" json:"tokens"`     // plans that tokenise: equal tokens tell that values are equal
}

// The budgets that are in force where the configuration names no others.
var defaultBudgets = Budgets{Reveals: Limit{100, 300}, Searches: Limit{60, 200}, Tokens: Limit{60, 200}}

// LimitError says that a caller's budget is spent. It wraps coffer.ErrLimit.
type LimitError struct {
	Budget string        // reveals, searches or tokens
	Limit  int           // within Window
	Window time.Duration // an hour or a day
	// RetryAt is when as much as was asked for can be had; the zero time when it is more than the limit and never can.
	RetryAt time.Time
}

// Error names the budget, and when it helps to try again.
func (e *LimitError) Error() string {
	window := "an hour"
	if e.Window > time.Hour {
		window = "a day"
	}
	s := fmt.Sprintf("%v: the budget of %d %s %s does not suffice", coffer.ErrLimit, e.Limit, e.Budget, window)
	if e.RetryAt.IsZero() {
		return s + "; ask for access: coffer access request"
	}
	return s + "; try again after " + e.RetryAt.UTC().Format(time.RFC3339) + ", or ask for access"
}

// Unwrap returns coffer.ErrLimit.
func (*LimitError) Unwrap() error { return coffer.ErrLimit }

// slot is the width in which what was spent is counted. An expense counts until the end of its slot has left the window.
const slot = 5 * time.Minute

// expense is what was spent within one slot.
type expense struct {
	At int64 `json:"at"` // number of the slot since 1970
	N  int   `json:"n"`
}

// spend adds n at now to what was spent, oldest first, without what is older than a day. With a budget that does not suffice it
// returns the error that says so.
func spend(list []expense, name string, l Limit, n int, now time.Time) ([]expense, *LimitError) {
	at := now.Unix() / int64(slot/time.Second)
	first := func(window time.Duration) int64 { return at - int64(window/slot) }
	var out []expense
	for _, e := range list {
		// A clock that was put back makes an expense of the future; it counts.
		if e.At >= first(24*time.Hour) {
			out = append(out, e)
		}
	}
	for _, w := range []struct {
		limit  int
		window time.Duration
	}{{l.Hour, time.Hour}, {l.Day, 24 * time.Hour}} {
		spent := 0
		for _, e := range out {
			if e.At >= first(w.window) {
				spent += e.N
			}
		}
		if spent+n <= w.limit {
			continue
		}
		over := &LimitError{Budget: name, Limit: w.limit, Window: w.window}
		if n > w.limit {
			return nil, over
		}
		for _, e := range out {
			if e.At < first(w.window) {
				continue
			}
			if spent -= e.N; spent+n <= w.limit {
				over.RetryAt = time.Unix((e.At+1)*int64(slot/time.Second), 0).Add(w.window).UTC()
				return nil, over
			}
		}
	}
	if k := len(out); k > 0 && out[k-1].At == at {
		out[k-1].N += n
		return out, nil
	}
	return append(out, expense{at, n}), nil
}

// charge returns the operation that charges n to a budget of the caller. The expenses of a caller are in one item, so that two of
// the caller's acts at once cannot both spend the rest.
func (g *Grants) charge(ctx context.Context, who access.Caller, name string, l Limit, n int, now time.Time) (store.Op, *LimitError, error) {
	k := store.Key{Part: "GU#" + who.ID, Sort: name}
	it, err := g.DB.Get(ctx, k)
	expect := it.Version
	var list []expense
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		expect = store.Absent
	case err != nil:
		return store.Op{}, nil, fmt.Errorf("budget: %w: %w", coffer.ErrUnavailable, err)
	case json.Unmarshal(it.Value, &list) != nil:
		return store.Op{}, nil, fmt.Errorf("budget: %w", coffer.ErrCorrupt)
	}
	list, over := spend(list, name, l, n, now)
	if over != nil {
		return store.Op{}, over, nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return store.Op{}, nil, err
	}
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{
		Key: k, Value: b, Version: store.NewVersion(), Expires: now.Add(24*time.Hour + 2*slot),
	}}, nil, nil
}

// budget returns the budget to which an act by the caller's own right is charged, and how much. The home's own operator has none, and
// neither has an act on an approval or through broken glass: those have limits of their own, which somebody looked at.
func (g *Grants) budget(ask access.Ask, a Act) (name string, l Limit, n int) {
	if ask.Caller.Kind == access.OperatorCaller && ask.Context.Local || ask.Context.Grant != "" {
		return "", Limit{}, 0
	}
	b := g.rules().Budgets
	switch a.Action {
	case access.ValueReveal:
		return "reveals", b.Reveals, a.Values
	case access.ValueSearch:
		return "searches", b.Searches, 1
	case access.RemedyPlan:
		return "tokens", b.Tokens, 1
	}
	return "", Limit{}, 0
}
