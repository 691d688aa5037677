package audit_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// TestPolicyChangeIsAnEntry: whichever process meets a change first records it, with the old hash and the new one, once, also when it
// was made while none ran; an invalid set is on record as one that did not come into force.
func TestPolicyChangeIsAnEntry(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	files := fstest.MapFS{"a.cedar": {Data: []byte(`@id("all") permit (principal, action, resource);`)}}
	open := func() (*audit.Log, *audit.Guard) {
		l := h.open()
		f, err := access.Follow(files)
		if err != nil {
			t.Fatal(err)
		}
		return l, &audit.Guard{Log: l, Folder: f}
	}
	ask := func(g *audit.Guard) error {
		_, err := g.Check(ctx, operator, access.FindingRead, finding, access.Context{Local: true})
		return err
	}
	changes := func(l *audit.Log) []audit.Entry {
		return slices.DeleteFunc(all(t, l, audit.Filter{}), func(e audit.Entry) bool { return e.Action != access.PolicyWrite })
	}
	l1, g1 := open()
	first, err := g1.Current(ctx)
	if err != nil || ask(g1) != nil {
		t.Fatal(err)
	}
	if n := len(changes(l1)); n != 0 {
		t.Errorf("%d changes recorded in a new home", n)
	}
	files["b.cedar"] = &fstest.MapFile{Data: []byte(`@id("none") @advice("x") forbid (principal, action, resource);`)}
	_, g2 := open() // a process that begins with the changed set, while another still has the old one
	if err := ask(g2); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("by the changed set: %v", err)
	}
	h.pass(2 * time.Second)
	if err := ask(g1); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("by the changed set, followed: %v", err)
	}
	second, _ := g1.Current(ctx)
	got := changes(l1)
	if len(got) != 1 || got[0].Detail["from"] != first.Hash() || got[0].Detail["to"] != second.Hash() || got[0].Hash != second.Hash() {
		t.Fatalf("changes on record: %+v", got)
	}
	files["b.cedar"] = &fstest.MapFile{Data: []byte(`@id("broken") permit (principal`)}
	h.pass(2 * time.Second)
	for range 2 {
		if err := ask(g1); !errors.Is(err, coffer.ErrDenied) {
			t.Errorf("an invalid set is in force: %v", err)
		}
	}
	got = changes(l1)
	if len(got) != 2 || got[1].Outcome != audit.Denied || got[1].Hash != second.Hash() {
		t.Fatalf("the invalid set on record: %+v", got)
	}
}

// TestCircumstancesAreRecorded: what a decision rested on is in the entry, scrubbed.
func TestCircumstancesAreRecorded(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	l := h.open()
	how := access.Context{
		Local: true, Reason: "audit", Note: "quarterly check", Ticket: "INC", Purpose: "4000-0012-3456-7899", Network: netip.MustParseAddr("::ffff:192.0.2.7"),
		Grant: "req-00112233445566778899aabbccddeeff", Approvers: []string{"u-1", "u-2"},
	}
	p, err := guard(l).Check(ctx, operator, access.ValueReveal, finding, how)
	if err != nil {
		t.Fatal(err)
	}
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"values": "1"}
	if _, err := l.Append(ctx, e); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"values": "1", "ticket": "INC", "purpose": "[removed]", "network": "192.0.2.7", "networkClass": "public", "grant": how.Grant, "approvers": "u-1,u-2",
	}
	if got := all(t, l, audit.Filter{})[0].Detail; !maps.Equal(got, want) {
		t.Errorf("detail %v, want %v", got, want)
	}
	if len(e.Detail) != 1 {
		t.Error("the caller's map was changed")
	}

	err = guard(l).Refuse(ctx, operator, access.ValueReveal, finding, how, "grant-used", "ask anew")
	var denied *audit.DeniedError
	if !errors.As(err, &denied) || !slices.Equal(denied.Rules, []string{"grant-used"}) || denied.Advice != "ask anew" {
		t.Errorf("refusal: %v", err)
	}
	if got := all(t, l, audit.Filter{})[1]; got.Outcome != audit.Denied || !slices.Equal(got.Policies, []string{"grant-used"}) || got.Hash != policies().Hash() {
		t.Errorf("entry of the refusal: %+v", got)
	}
	how.Grant = "4000001234567899"
	if _, err := guard(l).Check(ctx, operator, access.ValueReveal, finding, how); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a grant's id that is none: %v", err)
	}
}
