package access

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"testing/fstest"
	"time"

	"coffer"
)

// TestMemoKeyHoldsEverything changes every part of a request in turn: the key changes with it, unless no policy can see the part.
func TestMemoKeyHoldsEverything(t *testing.T) {
	p, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := func() Request {
		return Request{
			Caller: Caller{ID: "c", Kind: UserCaller, Roles: []string{"r"}, Teams: []string{"t"}, Scopes: []Action{ValueReveal}},
			Action: ValueReveal,
			Resource: Resource{
				Kind: Finding, ID: "f", Types: []coffer.DataType{"T"}, Categories: []string{"C"}, Bucket: "b", Account: "a",
				Origins: []coffer.Origin{coffer.OriginMacie}, Submitters: []string{"s"}, BucketTags: []coffer.Tag{{Key: "k", Value: "v"}},
			},
			Context: Context{
				Now: now, SignedIn: now.Add(-time.Minute), Note: "a note", Network: netip.MustParseAddr("192.0.2.1"),
				Requester: "q", Approvers: []string{"x"}, ApprovedUntil: now.Add(time.Hour),
			},
		}
	}
	unseen := map[string]bool{
		"Caller.Name": true, "Context.Request": true, "Context.Session": true, "Context.Token": true, "Context.Grant": true,
	}
	key := func(r Request) string { return string(p.appendKey(nil, &r)) }
	plain := key(base())
	tried := 0
	var change func(path string, at func(*Request) reflect.Value)
	change = func(path string, at func(*Request) reflect.Value) {
		r := base()
		v := at(&r)
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Second)))
		case netip.Addr:
			v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.2")))
		default:
			switch v.Kind() {
			case reflect.Struct:
				for i := range v.NumField() {
					name := v.Type().Field(i).Name
					if path != "" {
						name = path + "." + name
					}
					change(name, func(r *Request) reflect.Value { return at(r).Field(i) })
				}
				return
			case reflect.Slice:
				change(path+"[0]", func(r *Request) reflect.Value { return at(r).Index(0) })
				v.Set(reflect.Append(v, v.Index(0)))
			case reflect.String:
				v.SetString(v.String() + "x")
			case reflect.Bool:
				v.SetBool(!v.Bool())
			case reflect.Int:
				v.SetInt(v.Int() + 1)
			default:
				t.Fatalf("%s: a kind of field that this test does not know", path)
			}
		}
		tried++
		if changed := key(r) != plain; changed == unseen[path] {
			t.Errorf("%s: the key changes: %v", path, changed)
		}
	}
	change("", func(r *Request) reflect.Value { return reflect.ValueOf(r).Elem() })
	if tried < 35 {
		t.Errorf("only %d parts were changed", tried)
	}
	// Nothing and a list of nothing are two things for the scopes of a token.
	one, other := base(), base()
	one.Caller.Scopes, other.Caller.Scopes = nil, []Action{}
	if key(one) == key(other) {
		t.Error("a token without scopes looks like one with none")
	}
}

// TestMovingCircumstances: a decision that rests on a time is not given again at another.
func TestMovingCircumstances(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		when  string
		looks moving
	}{
		"now":                {`context.now < datetime("2026-03-01T12:00:01Z")`, moving{now: true}},
		"now, by brackets":   {`context["now"] < datetime("2026-03-01T12:00:01Z")`, moving{now: true}},
		"now, escaped":       {`context["n\u{6f}w"] < datetime("2026-03-01T12:00:01Z")`, moving{now: true}},
		"now, in an or":      {`(context has approvedUntil || context.now < datetime("2026-03-01T12:00:01Z")) && !(context has approvedUntil)`, moving{now: true}},
		"approved":           {`context has approvedUntil && context.now < context.approvedUntil`, moving{approved: true}},
		"age":                {`context has signInAge && context.signInAge <= 60`, moving{age: true}},
		"nothing that moves": {`context.reason == "now"`, moving{}},
	} {
		p, err := Load(fstest.MapFS{"a.cedar": {Data: fmt.Appendf(nil, "@id(\"x\") permit (principal, action == Action::\"value.reveal\", resource) when { %s };", c.when)}})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := p.about[ValueReveal].looks; got != c.looks {
			t.Errorf("%s: looks at %+v, want %+v", what, got, c.looks)
		}
		if n := len(p.about[FindingRead].ids); n != 0 {
			t.Errorf("%s: %d policies about another action", what, n)
		}
		r := Suppose(Request{Action: ValueReveal, Context: Context{Now: now, SignedIn: now.Add(-time.Minute), Reason: "now"}})
		if what == "approved" {
			r.Context.ApprovedUntil = now.Add(time.Second)
		}
		for range 2 {
			if !p.Decide(r).Allow {
				t.Errorf("%s: denied", what)
			}
		}
		later := r
		later.Context.Now = now.Add(time.Second)
		if got, want := p.Decide(later).Allow, c.looks == (moving{}); got != want {
			t.Errorf("%s: a second later allowed: %v", what, got)
		}
	}
}

// TestMemoAnswersAsEvaluated: over many requests, twice each and in two orders, what is kept is what would be evaluated; and more requests than
// are kept do no harm.
func TestMemoAnswersAsEvaluated(t *testing.T) {
	p, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []Request
	for _, d := range Actions {
		for _, role := range p.Roles() {
			for _, kind := range []CallerKind{OperatorCaller, UserCaller, TokenCaller, ServiceCaller} {
				for i := range 8 {
					r := Suppose(Request{Action: d.Action, Caller: Caller{ID: "c", Kind: kind, Roles: []string{role}}})
					r.Context.Local, r.Context.MFA = i&1 != 0, i&2 != 0
					r.Context.SignedIn = r.Context.Now.Add(-time.Duration(i) * 5 * time.Minute)
					all = append(all, r)
				}
			}
		}
	}
	if len(all) < memoDecisions/2 {
		t.Fatalf("%d requests do not fill the memo", len(all))
	}
	for range 2 {
		for _, r := range all {
			got := p.Decide(r)
			if want := p.evaluate(r); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s by %s: %+v, evaluated %+v", r.Action, r.Caller.Roles, got, want)
			}
			for i := range got.Policies {
				got.Policies[i] = "overwritten by who asked"
			}
		}
	}
	if n := p.memo.kept.Len(); n == 0 || n > memoDecisions {
		t.Errorf("%d decisions are kept", n)
	}
}
