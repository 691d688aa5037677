package audit_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// TestReview: who saw what, when and why, in a period, with what may have been seen kept apart.
func TestReview(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	l, other := h.open(), h.open()
	begin := h.now()
	zone := time.FixedZone("UTC+9", 9*60*60)
	engineer := access.Caller{ID: "u-7", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	check := func(l *audit.Log, who access.Caller, action access.Action, what access.Resource, c access.Context) *audit.Permit {
		t.Helper()
		c.SignedIn, c.MFA, c.Local = h.now(), true, who.Kind == access.OperatorCaller
		p, err := guard(l).Check(ctx, who, action, what, c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	add := func(l *audit.Log, e audit.Entry) audit.Ref {
		t.Helper()
		ref, err := l.Append(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	intent := func(l *audit.Log, who access.Caller, id, reason string, ns ...int) (*audit.Permit, audit.Ref) {
		t.Helper()
		f := finding
		f.ID = id
		p := check(l, who, access.ValueReveal, f, access.Context{Reason: reason, Note: "reading for the review", Values: len(ns)})
		e := p.Entry(audit.Intent)
		e.Occurrences, e.Detail = ns, map[string]string{"types": "BANK_ACCOUNT_NUMBER"}
		return p, add(l, e)
	}
	result := func(l *audit.Log, p *audit.Permit, ref audit.Ref, o audit.Outcome) {
		t.Helper()
		e := p.Entry(o)
		e.Intent = ref
		add(l, e)
	}
	p, ref := intent(l, engineer, "f-1", "audit", 1, 2, 3)
	result(l, p, ref, audit.Done)
	p, ref = intent(l, engineer, "f-1", "legal", 3, 7)
	result(other, p, ref, audit.Done) // by another process, in whichever order the two come into the log
	p, ref = intent(l, engineer, "f-2", "audit", 1)
	result(l, p, ref, audit.Failed)
	intent(l, engineer, "f-3", "incident", 4, 5) // and then the power went
	p, late := intent(l, operator, "f-1", "audit", 9)
	if _, err := guard(l).Check(ctx, engineer, access.AuditRead, access.Resource{Kind: access.System}, access.Context{}); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("an engineer reads the log: %v", err)
	}
	add(l, check(l, operator, access.AuditRead, access.Resource{Kind: access.System}, access.Context{Local: true}).Entry(audit.Done))
	end := h.now()
	result(l, p, late, audit.Done)
	afterwards, ref := intent(l, engineer, "f-9", "audit", 1)
	result(l, afterwards, ref, audit.Done)
	if err := l.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	rv, err := l.Review(ctx, audit.ReviewOptions{From: begin, To: end, Zone: zone})
	if err != nil || len(rv.People) != 2 {
		t.Fatalf("%v: %+v", err, rv)
	}
	e, o := rv.People[0], rv.People[1]
	if e.Person != "u-7" || e.Reveals != 2 || e.Values != 5 || e.PossibleReveals != 1 || e.PossibleValues != 2 || e.FailedReveals != 1 || e.Denials != 1 ||
		!maps.Equal(e.Reasons, map[string]int{"audit": 1, "legal": 1, "incident": 1}) || !slices.Equal(e.Types, []string{"BANK_ACCOUNT_NUMBER"}) ||
		!slices.Equal(e.Roles, []string{"engineer"}) || !slices.Equal(e.Kinds, []access.CallerKind{access.UserCaller}) {
		t.Errorf("the engineer: %+v", e)
	}
	if len(e.Findings) != 2 || e.Findings[0].Finding != "f-1" || e.Findings[0].Span() != "1-3,7" || e.Findings[0].Reveals != 2 || e.Findings[0].PossibleReveals != 0 ||
		!slices.Equal(e.Findings[0].Reasons, []string{"audit", "legal"}) || e.Findings[1].Finding != "f-3" || e.Findings[1].PossibleReveals != 1 || e.Findings[1].Span() != "4-5" {
		t.Errorf("what the engineer saw: %+v", e.Findings)
	}
	hours, at := 0, e.LastReveal.In(zone).Hour()
	for _, n := range e.Hours {
		hours += n
	}
	if hours != e.Reveals+e.PossibleReveals || e.Hours[at] == 0 {
		t.Errorf("at what hours: %v, the last at %d", e.Hours, at)
	}
	if !e.LastReveal.Equal(e.Findings[1].Last) || e.First.After(e.LastReveal) || e.Last.Before(e.LastReveal) || e.Last.After(end) {
		t.Errorf("when: first %v, last reveal %v, last %v", e.First, e.LastReveal, e.Last)
	}
	if o.Person != "op-1" || o.Reveals != 1 || o.Values != 1 || o.PossibleReveals != 0 || o.Exports != 1 {
		t.Errorf("the operator, whose result came after the period: %+v", o)
	}
	for _, test := range []struct {
		o    audit.ReviewOptions
		want string
	}{
		{audit.ReviewOptions{From: begin, To: end, Person: "op-1"}, "op-1 1+0"},
		{audit.ReviewOptions{From: begin, To: end, Finding: "f-3"}, "u-7 0+2"},
		{audit.ReviewOptions{From: end, To: end.Add(time.Hour)}, "u-7 1+0 op-1 0+0"},
		{audit.ReviewOptions{From: begin.Add(-time.Hour), To: begin}, ""},
	} {
		rv, err := l.Review(ctx, test.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range rv.People {
			got = append(got, p.Person, strings.Join([]string{string(rune('0' + p.Values)), string(rune('0' + p.PossibleValues))}, "+"))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %v, want %v", test.o, got, test.want)
		}
	}
	for _, bad := range []audit.ReviewOptions{{From: end, To: begin}, {From: begin, To: begin}, {From: begin, To: begin.Add(audit.MaxReview + 1)}} {
		if _, err := l.Review(ctx, bad); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	closeLog(t, l)
	closeLog(t, other)
	h.sound()
}

func TestDetailList(t *testing.T) {
	h := newHome(t)
	l := h.open()
	long := slices.Repeat([]string{"CREDIT_CARD_NUMBER"}, 40)
	for _, test := range []struct {
		items []string
		want  string
	}{
		{nil, ""}, {[]string{"a"}, "a"}, {[]string{"a", "b"}, "a,b"}, {[]string{"Employee <ID>, old", "ü"}, "Employee__ID___old,_"},
		{long, strings.Repeat("CREDIT_CARD_NUMBER,", 13) + "+27"}, {[]string{strings.Repeat("x", 300)}, "+1"},
	} {
		got := audit.List(test.items)
		if got != test.want {
			t.Errorf("%q: %q", test.items, got)
		}
		e := permit(t, l).Entry(audit.Done)
		e.Detail = map[string]string{"types": got}
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Errorf("%q is not taken: %v", got, err)
		}
	}
}

// TestHashesOfValues: what stands in Values is a hash in its one form, or the entry is refused.
func TestHashesOfValues(t *testing.T) {
	h := newHome(t)
	l := h.open()
	hash := "Abc-_0123456789z"
	for _, test := range []struct {
		values []string
		ok     bool
	}{
		{[]string{hash}, true}, {slices.Repeat([]string{hash}, audit.MaxValues), true}, {slices.Repeat([]string{hash}, audit.MaxValues+1), false},
		{[]string{"4000001234567899"[:15]}, false}, {[]string{hash[:15] + "="}, false}, {[]string{""}, false},
	} {
		e := permit(t, l).Entry(audit.Done)
		e.Values = test.values
		if _, err := l.Append(t.Context(), e); (err == nil) != test.ok {
			t.Errorf("%d of length %d: %v", len(test.values), len(test.values[0]), err)
		}
	}
	got := all(t, l, audit.Filter{})
	if len(got) != 2 || len(got[1].Values) != audit.MaxValues || got[0].Values[0] != hash {
		t.Errorf("%d entries", len(got))
	}
	closeLog(t, l)
	h.sound()
}
