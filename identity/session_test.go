package identity_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"
	"coffer/store"
)

func TestSessionLimits(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, s := w.settle("maria", access.RoleEngineer)
	if want := w.now().Add(identity.DefaultIdle); !s.Until.Equal(want) {
		t.Errorf("until %v, want %v", s.Until, want)
	}
	// Used often enough it lives to the absolute limit, and not a moment longer.
	for range 7*60/14 + 4 {
		w.pass(14 * time.Minute)
		w.live("used every 14 minutes", cookie)
	}
	s = w.live("before the end", cookie)
	if want := s.Started.Add(identity.DefaultAbsolute); !s.Until.Equal(want) {
		t.Errorf("until %v, want %v", s.Until, want)
	}
	w.pass(s.Until.Sub(w.now()) - time.Second)
	w.live("one second before", cookie)
	w.pass(time.Second)
	_, err := w.Session(ctx, cookie, meta)
	refused(t, "after eight hours", err, identity.Expired)

	cookie, _, err = w.SignIn(ctx, "maria", passphrase, meta)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(identity.DefaultIdle - time.Second)
	w.live("one second before the idle limit", cookie)
	w.pass(identity.DefaultIdle)
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "idle", err, identity.Idle)

	for _, bad := range []string{"", "x", cookie + "x", cookie[:42] + "-", "0000000000000000000000000000000000000000000"} {
		want := identity.Unknown
		if bad == "" {
			want = identity.NoCredential
		}
		_, err := w.Session(ctx, bad, meta)
		refused(t, "a wrong cookie", err, want)
	}
}

func TestRotation(t *testing.T) {
	w := newWorld(t, identity.Config{})
	first, a := w.settle("maria", access.RoleEngineer)
	w.pass(10 * time.Minute)

	// A step-up replaces the cookie, keeps the beginning, and renews the proof.
	second, b, err := w.StepUp(ctx, first, passphrase, meta)
	if err != nil {
		t.Fatal(err)
	}
	w.secret(second)
	if second == first || b.ID == a.ID || !b.Started.Equal(a.Started) || !b.SignedIn.Equal(w.now()) {
		t.Errorf("after a step-up %+v, before %+v", b, a)
	}
	_, err = w.Session(ctx, first, meta)
	refused(t, "the cookie before the step-up", err, identity.Unknown)
	if n := w.recorded(access.SessionStart, audit.Done, "step-up", a.ID); n != 1 {
		t.Errorf("%d entries of the step-up", n)
	}

	// A sign-in ends the session whose cookie came along.
	again := meta
	again.Cookie = second
	third, c, err := w.SignIn(ctx, "maria", passphrase, again)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Started.Equal(w.now()) {
		t.Errorf("a sign-in began at %v", c.Started)
	}
	_, err = w.Session(ctx, second, meta)
	refused(t, "the cookie that came along", err, identity.Unknown)
	w.live("the new cookie", w.secret(third))

	// Another's step-up is no step-up, and one of a session that is over is none either.
	_, _, err = w.StepUp(ctx, first, passphrase, meta)
	refused(t, "a step-up of a session that is over", err, identity.Unknown)
}

func TestSignOut(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, s := w.settle("maria", access.RoleEngineer)
	other, _, err := w.SignIn(ctx, "maria", passphrase, meta)
	if err != nil {
		t.Fatal(err)
	}
	if to, err := w.SignOut(ctx, cookie, meta); err != nil || to != "" {
		t.Fatalf("%q, %v", to, err)
	}
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "signed out", err, identity.Unknown)
	w.live("the other session", other)
	if _, err := w.SignOut(ctx, cookie, meta); err != nil {
		t.Errorf("out twice: %v", err)
	}
	if n := w.recorded(access.SessionEnd, audit.Done, "session", s.ID); n != 1 {
		t.Errorf("%d entries", n)
	}

	list, err := w.Sessions(ctx, w.as(s), s.Caller.ID)
	if err != nil || len(list) != 1 {
		t.Fatalf("own sessions %+v, %v", list, err)
	}
	_, eve := w.settle("eve", access.RoleEngineer)
	if _, err := w.Sessions(ctx, w.as(eve), s.Caller.ID); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("another's sessions: %v", err)
	}
	if err := w.EndSession(ctx, w.as(eve), s.Caller.ID, list[0].ID); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("ending another's session: %v", err)
	}
	if err := w.EndSession(ctx, w.as(eve), eve.Caller.ID, list[0].ID); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("another's session as one's own: %v", err)
	}
	if err := w.SignOutEverywhere(ctx, w.as(eve), s.Caller.ID); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("another out everywhere: %v", err)
	}
	if err := w.EndSession(ctx, w.op(), s.Caller.ID, list[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(ctx, other, meta)
	refused(t, "ended by an administrator", err, identity.Unknown)

	var cookies []string
	for range 3 {
		c, last, err := w.SignIn(ctx, "maria", passphrase, meta)
		if err != nil {
			t.Fatal(err)
		}
		s, cookies = last, append(cookies, c)
	}
	if err := w.SignOutEverywhere(ctx, w.as(s), s.Caller.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		_, err := w.Session(ctx, c, meta)
		refused(t, "out everywhere", err, identity.Ended)
	}
}

func TestManySessions(t *testing.T) {
	w := newWorld(t, identity.Config{})
	first, s := w.settle("maria", access.RoleEngineer)
	for range identity.MaxSessions {
		w.pass(time.Second)
		if _, _, err := w.SignIn(ctx, "maria", passphrase, meta); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Session(ctx, first, meta)
	refused(t, "the oldest of too many", err, identity.Unknown)
	if list, err := w.Sessions(ctx, w.as(s), s.Caller.ID); err != nil || len(list) != identity.MaxSessions {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	// What nobody can open any more is tidied away.
	w.pass(identity.DefaultAbsolute)
	if list, err := w.Sessions(ctx, w.op(), s.Caller.ID); err != nil || len(list) != 0 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	for it := range w.db.Query(ctx, "IL#"+s.Caller.ID, store.Range{}) {
		t.Errorf("left over: %s", it.Key.Sort)
	}
}

// TestConcurrentSession: requests of one session at once neither fail nor bring an ended session back.
func TestConcurrentSession(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, _ := w.settle("maria", access.RoleEngineer)
	var wg sync.WaitGroup
	var ok, out atomic.Int32
	w.pass(time.Minute)
	for i := range 24 {
		wg.Go(func() {
			if i == 12 {
				if _, err := w.SignOut(ctx, cookie, meta); err != nil {
					t.Error(err)
				}
				return
			}
			switch _, err := w.Session(ctx, cookie, meta); {
			case err == nil:
				ok.Add(1)
			case identity.CauseOf(err) == identity.Unknown:
				out.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, err := w.Session(ctx, cookie, meta)
	refused(t, "after the sign-out", err, identity.Unknown)
	t.Logf("%d before the sign-out, %d after it", ok.Load(), out.Load())
}

func TestEnrol(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, _ := w.settle("maria", access.RoleEngineer)
	other, _, err := w.SignIn(ctx, "maria", passphrase, meta)
	if err != nil {
		t.Fatal(err)
	}
	setup, err := w.Enrol(ctx, cookie)
	if err != nil {
		t.Fatal(err)
	}
	fresh, _, err := w.SetPassphrase(ctx, setup.Secret, "quite another passphrase", meta)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{cookie, other} {
		_, err := w.Session(ctx, c, meta)
		refused(t, "a session of before the change", err, identity.Ended)
	}
	w.live("the session of the change", fresh)
	w.pass(identity.FreshFor - time.Second)
	w.live("still fresh", fresh)
	w.pass(2 * time.Second)
	_, err = w.Enrol(ctx, fresh)
	refused(t, "a sign-in of long ago", err, identity.NotFresh)
}
