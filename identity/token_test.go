package identity_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"
)

func TestPersonalTokens(t *testing.T) {
	w := newWorld(t, identity.Config{})
	_, s := w.settle("maria", access.RoleEngineer)
	me := s.Caller.ID
	spec := identity.TokenSpec{Label: "nightly", Scopes: []access.Action{access.FindingRead, access.FindingList, access.FindingList}}
	made, text, err := w.CreateToken(ctx, w.as(s), me, spec)
	if err != nil {
		t.Fatal(err)
	}
	w.secret(text)
	w.secret(strings.TrimPrefix(text, identity.TokenPrefix))
	if made.Expires.Sub(made.Created) != identity.DefaultTokenLife || len(made.Scopes) != 2 {
		t.Errorf("token %+v", made)
	}
	who, proof, err := w.Bearer(ctx, text, meta)
	if err != nil {
		t.Fatal(err)
	}
	if who.ID != me || who.Kind != access.TokenCaller || !slices.Equal(who.Roles, []string{access.RoleEngineer}) ||
		!slices.Equal(who.Scopes, []access.Action{access.FindingList, access.FindingRead}) {
		t.Errorf("caller %+v", who)
	}
	if proof.How != identity.ByToken || proof.Token != made.ID || !proof.SignedIn.IsZero() || proof.MFA {
		t.Errorf("proof %+v", proof)
	}
	if list, err := w.Tokens(ctx, w.as(s), me); err != nil || len(list) != 1 || !list[0].LastUsed.Equal(w.now()) {
		t.Errorf("tokens %+v, %v", list, err)
	}
	// Roles are those of now.
	if err := w.SetRoles(ctx, w.op(), me, []string{access.RoleAuditor}, nil); err != nil {
		t.Fatal(err)
	}
	if who, _, err = w.Bearer(ctx, text, meta); err != nil || !slices.Equal(who.Roles, []string{access.RoleAuditor}) {
		t.Errorf("roles %v, %v", who.Roles, err)
	}

	// Every character counts, without asking the store.
	calls := 0
	for i := range text {
		for _, c := range "ax7" {
			if rune(text[i]) == c {
				continue
			}
			_, _, err := w.Bearer(ctx, text[:i]+string(c)+text[i+1:], identity.Meta{})
			if got := identity.CauseOf(err); got != identity.BadChecksum && got != identity.Malformed {
				t.Errorf("character %d changed: %v", i, got)
			}
			calls++
		}
	}
	for _, bad := range []string{text + "a", text[:len(text)-1], identity.TokenPrefix, strings.ToUpper(text)} {
		if _, _, err := w.Bearer(ctx, bad, meta); err == nil {
			t.Error("a mangled token is good")
		}
	}
	if n := w.recorded(access.SessionStart, audit.Failed, "how", "token"); n > identity.PerMinute {
		t.Errorf("%d of %d refusals fill the log", n, calls)
	}
	w.pass(time.Minute)
	_, _, err = w.Bearer(ctx, text[:len(text)-1]+"!", meta)
	refused(t, "a minute later", err, identity.BadChecksum)
	found := false
	for _, e := range w.entries() {
		found = found || e.Detail["unrecorded"] != ""
	}
	if !found {
		t.Error("no entry says how many were not recorded")
	}

	// Disabled, expired, revoked.
	if err := w.Disable(ctx, w.op(), me, true); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Bearer(ctx, text, meta)
	refused(t, "of somebody who is kept out", err, identity.Disabled)
	if err := w.Disable(ctx, w.op(), me, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err = w.Bearer(ctx, text, meta); err != nil {
		t.Errorf("let in again: %v", err)
	}
	w.pass(identity.DefaultTokenLife - 2*time.Minute)
	_, last, err := w.CreateToken(ctx, w.op(), me, spec)
	if err != nil {
		t.Fatal(err)
	}
	w.secret(last)
	w.pass(2 * time.Minute)
	_, _, err = w.Bearer(ctx, text, meta)
	refused(t, "expired", err, identity.Expired)
	list, err := w.Tokens(ctx, w.as(s), me)
	if err != nil || len(list) != 1 {
		t.Fatalf("tokens %+v, %v", list, err)
	}
	_, eve := w.settle("eve", access.RoleEngineer)
	if err := w.RevokeToken(ctx, w.as(eve), me, list[0].ID); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("revoking another's: %v", err)
	}
	if err := w.RevokeToken(ctx, w.as(s), me, list[0].ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Bearer(ctx, last, meta)
	refused(t, "revoked", err, identity.Unknown)
}

func TestTokenRules(t *testing.T) {
	w := newWorld(t, identity.Config{})
	_, s := w.settle("maria", access.RoleEngineer)
	_, eve := w.settle("eve", access.RoleEngineer)
	good := identity.TokenSpec{Scopes: []access.Action{access.FindingList}}
	with := func(f func(*identity.TokenSpec)) identity.TokenSpec {
		c := good
		f(&c)
		return c
	}
	for name, spec := range map[string]identity.TokenSpec{
		"no scope":       with(func(s *identity.TokenSpec) { s.Scopes = nil }),
		"unknown action": with(func(s *identity.TokenSpec) { s.Scopes = []access.Action{"everything"} }),
		"91 days":        with(func(s *identity.TokenSpec) { s.Life = identity.MaxTokenLife + 1 }),
		"backwards":      with(func(s *identity.TokenSpec) { s.Life = -time.Second }),
		"line break":     with(func(s *identity.TokenSpec) { s.Label = "a\nb" }),
		"no network":     with(func(s *identity.TokenSpec) { s.Networks = make([]netip.Prefix, 1) }),
	} {
		if _, _, err := w.CreateToken(ctx, w.as(s), s.Caller.ID, spec); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := w.CreateToken(ctx, w.as(eve), s.Caller.ID, good); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("a token to act as another: %v", err)
	}
	// Not even who may administer tokens makes one for somebody else, unless on the command line.
	admin := w.op()
	admin.Caller.Kind = access.UserCaller
	if _, _, err := w.CreateToken(ctx, admin, s.Caller.ID, good); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("an administrator makes a token to act as another: %v", err)
	}
	_, text, err := w.CreateToken(ctx, w.as(s), s.Caller.ID, good)
	if err != nil {
		t.Fatal(err)
	}
	who, proof, err := w.Bearer(ctx, w.secret(text), meta)
	if err != nil {
		t.Fatal(err)
	}
	ask := access.Ask{Caller: who, Context: proof.Context(w.now(), meta)}
	if _, _, err := w.CreateToken(ctx, ask, who.ID, good); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("a token makes a token: %v", err)
	}

	_, text, err = w.CreateToken(ctx, w.as(s), s.Caller.ID, with(func(s *identity.TokenSpec) {
		s.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	}))
	if err != nil {
		t.Fatal(err)
	}
	for from, ok := range map[string]bool{"192.0.2.7": true, "::ffff:192.0.2.7": true, "2001:db8::1": true, "198.51.100.1": false, "": false} {
		m := identity.Meta{}
		if from != "" {
			m.Network = netip.MustParseAddr(from)
		}
		_, _, err := w.Bearer(ctx, text, m)
		if ok && err != nil {
			t.Errorf("from %s: %v", from, err)
		} else if !ok {
			refused(t, "from "+from, err, identity.WrongNetwork)
		}
	}
}

// TestStill: whoever began work is done for as they are by now, by session and by token; a session that ended is no reason to stop.
func TestStill(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, s := w.settle("maria", access.RoleEngineer)
	made, text, err := w.CreateToken(ctx, w.as(s), s.Caller.ID, identity.TokenSpec{Label: "nightly", Scopes: []access.Action{access.FindingRead}})
	if err != nil {
		t.Fatal(err)
	}
	w.secret(text)
	who, proof, err := w.Bearer(ctx, text, meta)
	if err != nil {
		t.Fatal(err)
	}
	bySession, byToken := w.as(s), access.Ask{Caller: who, Context: proof.Context(w.now(), meta)}
	still := func(what string, ask access.Ask, roles ...string) {
		t.Helper()
		now, err := w.Still(ctx, ask)
		if err != nil || now.ID != ask.Caller.ID || now.Kind != ask.Caller.Kind || !slices.Equal(now.Roles, roles) || !slices.Equal(now.Scopes, ask.Caller.Scopes) {
			t.Errorf("%s: %+v, %v", what, now, err)
		}
	}
	if _, err := w.SignOut(ctx, cookie, meta); err != nil {
		t.Fatal(err)
	}
	still("signed out", bySession, access.RoleEngineer)
	if err := w.SetRoles(ctx, w.op(), s.Caller.ID, []string{access.RoleAuditor}, nil); err != nil {
		t.Fatal(err)
	}
	still("another role", bySession, access.RoleAuditor)
	still("another role, by token", byToken, access.RoleAuditor)
	if err := w.RevokeToken(ctx, w.op(), s.Caller.ID, made.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.Still(ctx, byToken)
	refused(t, "token revoked", err, identity.Ended)
	still("token revoked, by session", bySession, access.RoleAuditor)
	if err := w.Disable(ctx, w.op(), s.Caller.ID, true); err != nil {
		t.Fatal(err)
	}
	_, err = w.Still(ctx, bySession)
	refused(t, "kept out", err, identity.Disabled)
	gone := bySession
	gone.Caller.ID = "u-00112233445566778899"
	_, err = w.Still(ctx, gone)
	refused(t, "removed", err, identity.Ended)
	service := access.Ask{Caller: access.Caller{ID: "timed-work", Kind: access.ServiceCaller, Roles: []string{access.RoleService}}}
	still("a service", service, access.RoleService)
}

// TestPassive: looking whether a credential is still good is no use of it: a session that only a stream holds becomes idle.
func TestPassive(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, _ := w.settle("maria", access.RoleEngineer)
	look := meta
	look.Passive = true
	for range 3 {
		w.pass(identity.DefaultIdle / 4)
		if _, err := w.Session(ctx, cookie, look); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(identity.DefaultIdle / 4)
	_, err := w.Session(ctx, cookie, look)
	refused(t, "left alone", err, identity.Idle)
}
