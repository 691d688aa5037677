package identity_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"
	"coffer/internal/fault"
)

func TestFirstSignIn(t *testing.T) {
	w := newWorld(t, identity.Config{})
	u, code := w.add("Maria.Keller", access.RoleEngineer)
	if u.Name != "maria.keller" || !strings.HasPrefix(u.ID, "u-") {
		t.Errorf("user %+v", u)
	}
	_, _, err := w.SignIn(ctx, "maria.keller", passphrase, meta)
	refused(t, "before a passphrase is set", err, identity.WrongPassphrase)
	// What people do to a code when they type it.
	setup, err := w.SignInWithCode(ctx, strings.ToLower(strings.ReplaceAll(code, "-", " ")), meta)
	if err != nil || setup.Name != "maria.keller" {
		t.Fatalf("%+v, %v", setup, err)
	}
	_, err = w.SignInWithCode(ctx, code, meta)
	refused(t, "the code again", err, identity.Used)
	w.secret(setup.Secret)
	if _, _, err := w.SetPassphrase(ctx, setup.Secret, "short", meta); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a short passphrase: %v", err)
	}
	cookie, s, err := w.SetPassphrase(ctx, setup.Secret, passphrase, meta)
	if err != nil {
		t.Fatal(err)
	}
	w.secret(cookie)
	if s.Caller.ID != u.ID || s.Caller.Kind != access.UserCaller || !slices.Equal(s.Caller.Roles, []string{access.RoleEngineer}) || s.MFA ||
		s.How != identity.ByPassphrase || !s.SignedIn.Equal(w.now()) {
		t.Errorf("session %+v", s)
	}
	w.live("the cookie", cookie)
	_, _, err = w.SetPassphrase(ctx, setup.Secret, passphrase+"!", meta)
	refused(t, "the setup again", err, identity.Used)
	again, _, err := w.SignIn(ctx, " MARIA.Keller ", passphrase, meta)
	if err != nil || again == cookie {
		t.Fatalf("signing in again: %v", err)
	}
	w.secret(again)
	if n := w.recorded(access.SessionStart, audit.Done, "how", "code"); n != 1 {
		t.Errorf("%d entries of codes", n)
	}
	if n := w.recorded(access.SessionStart, audit.Done, "how", "passphrase"); n != 2 {
		t.Errorf("%d entries of sign-ins", n)
	}
	if n := w.recorded(access.SessionStart, audit.Failed, "cause", "wrong-passphrase"); n != 1 {
		t.Errorf("%d entries of refusals", n)
	}
	for _, e := range w.entries() {
		if strings.Contains(fmt.Sprint(e), "maria") {
			t.Errorf("the log names a person: %s", e.Action)
		}
	}
}

func TestCodes(t *testing.T) {
	w := newWorld(t, identity.Config{})
	u, first := w.add("maria", access.RoleEngineer)
	second, err := w.NewCode(ctx, w.op(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.SignInWithCode(ctx, first, meta)
	refused(t, "a code that was replaced", err, identity.Unknown)
	w.pass(identity.CodeFor)
	_, err = w.SignInWithCode(ctx, w.secret(second), meta)
	refused(t, "an expired code", err, identity.Expired)
	_, err = w.SignInWithCode(ctx, "00000-00000-00000-00000", meta)
	refused(t, "a guessed code", err, identity.Unknown)

	// Of many at once with one code, one gets in.
	third, err := w.NewCode(ctx, w.op(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.secret(third)
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := w.SignInWithCode(ctx, third, meta); err == nil {
				in.Add(1)
			} else if c := identity.CauseOf(err); c != identity.Used && c != identity.TooMany {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in with one code", in.Load())
	}
}

// TestNewCodeBeginsAnew: whoever has the old credentials is out when a user recovers with a code.
func TestNewCodeBeginsAnew(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, s := w.settle("maria", access.RoleEngineer)
	code, err := w.NewCode(ctx, w.op(), s.Caller.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.live("before the code is used", cookie)
	setup, err := w.SignInWithCode(ctx, w.secret(code), meta)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "an old session", err, identity.Ended)
	if _, _, err = w.SetPassphrase(ctx, setup.Secret, "another good passphrase", meta); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.SignIn(ctx, "maria", passphrase, meta)
	refused(t, "the old passphrase", err, identity.WrongPassphrase)

	late, err := w.NewCode(ctx, w.op(), s.Caller.ID)
	if err != nil {
		t.Fatal(err)
	}
	if setup, err = w.SignInWithCode(ctx, late, meta); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	_, _, err = w.SetPassphrase(ctx, setup.Secret, passphrase, meta)
	refused(t, "a setup after ten minutes", err, identity.Expired)
}

func TestCheckPassphrase(t *testing.T) {
	for _, good := range []string{passphrase, "correct horse battery stable", "Wölfe jagen nachts im Moor", "k3#vPq!9zLmw", "密码很长很长的一句话啊对不对"} {
		if err := identity.CheckPassphrase("maria", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "elevenchars", "aaaaaaaaaaaaaaaa", "abababababababab", "123456789012", "abcdefghijklmn", "qwertyuiop123", "QWERTY-123456789",
		"correct horse battery staple", "maria is my name", "M@RIA is mine too", "password12345", "P@ssword 2026!", "coffer-coffer-1",
		"passw0rdpassw0rd", "wxyzwxyzwxyz!", strings.Repeat("long enough ", 30), "line\nbreak in it", "bad \xff\xfe bytes here",
	} {
		if err := identity.CheckPassphrase("maria@bank.example", bad); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCommonPassphrases: each of the 3,000 most frequent passwords that are long enough is refused, in capitals and with marks between, too.
func TestCommonPassphrases(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(identity.Published))
	if err != nil {
		t.Fatal(err)
	}
	list, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	n, accepted := 0, 0
	for line := range strings.Lines(string(list)) {
		word := strings.TrimSuffix(line, "\n")
		n++
		if utf8.RuneCountInString(word) < identity.MinPassphrase {
			t.Errorf("line %d is shorter than a passphrase can be", n)
		}
		r := []rune(word)
		for _, text := range []string{word, strings.ToUpper(word), string(r[:6]) + " - " + string(r[6:]) + " !"} {
			if err := identity.CheckPassphrase("maria", text); !errors.Is(err, coffer.ErrInvalid) {
				accepted++
			}
		}
	}
	if n != 3000 || accepted != 0 {
		t.Errorf("%d passphrases, of which %d forms are accepted", n, accepted)
	}
}

// TestGuessing: failures make attempts wait, known name or not, many at once or one by one, and the answer does not tell which.
func TestGuessing(t *testing.T) {
	for _, name := range []string{"maria", "unheard.of"} {
		w := newWorld(t, identity.Config{})
		w.settle("maria", access.RoleEngineer)
		judged, limited := 0, 0
		var waits []time.Duration
		for range 12 {
			_, _, err := w.SignIn(ctx, name, "wrong wrong wrong", meta)
			var r *identity.RefusedError
			if !errors.As(err, &r) {
				t.Fatal(err)
			}
			if r.RetryAfter == 0 {
				judged++
				if err.Error() != "not signed in" {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			limited++
			waits = append(waits, r.RetryAfter)
			w.pass(r.RetryAfter)
		}
		if judged != 8 || limited != 4 || !slices.IsSorted(waits) {
			t.Errorf("%s: %d judged, %d told to wait: %v", name, judged, limited, waits)
		}
		// Many at once are counted before they are judged.
		w = newWorld(t, identity.Config{})
		w.settle("maria", access.RoleEngineer)
		var tried atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, _, err := w.SignIn(ctx, name, "wrong wrong wrong", meta); identity.CauseOf(err) != identity.TooMany {
					tried.Add(1)
				}
			})
		}
		wg.Wait()
		if tried.Load() > 4 {
			t.Errorf("%s: %d guesses at once were judged", name, tried.Load())
		}
	}
	// A right passphrase clears the name's count; an address that tries many names waits.
	w := newWorld(t, identity.Config{})
	cookie, _ := w.settle("maria", access.RoleEngineer)
	for range 9 {
		for range 3 {
			_, _, err := w.SignIn(ctx, "maria", "wrong wrong wrong", identity.Meta{})
			refused(t, "a wrong one", err, identity.WrongPassphrase)
		}
		if _, _, err := w.SignIn(ctx, "maria", passphrase, identity.Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for i := range 40 {
		if _, _, err := w.SignIn(ctx, fmt.Sprintf("user%d", i), "wrong wrong wrong", meta); identity.CauseOf(err) == identity.TooMany {
			n++
		}
	}
	if n != 19 { // 20 are free, the one behind them begins the waiting
		t.Errorf("%d of 40 names from one address were told to wait", n)
	}
	_, _, err := w.StepUp(ctx, cookie, "wrong wrong wrong", identity.Meta{})
	refused(t, "a step-up with the wrong passphrase", err, identity.WrongPassphrase)
}

func TestRoles(t *testing.T) {
	w := newWorld(t, identity.Config{})
	cookie, s := w.settle("maria", access.RoleEngineer)
	person := s.Caller.ID
	if err := w.SetRoles(ctx, w.op(), person, []string{access.RoleAuditor, access.RoleAuditor}, []string{"risk"}); err != nil {
		t.Fatal(err)
	}
	if s := w.live("with other roles", cookie); !slices.Equal(s.Caller.Roles, []string{access.RoleAuditor}) || !slices.Equal(s.Caller.Teams, []string{"risk"}) {
		t.Errorf("roles of a live session: %v, teams %v", s.Caller.Roles, s.Caller.Teams)
	}
	for _, role := range []string{access.RoleOperator, access.RoleService, "", "with space"} {
		if err := w.SetRoles(ctx, w.op(), person, []string{role}, nil); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("role %q: %v", role, err)
		}
	}
	// Without the right nobody administers; that was recorded.
	if err := w.SetRoles(ctx, w.as(s), person, []string{access.RoleEngineer}, nil); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("an auditor gives roles: %v", err)
	}
	if n := w.recorded(access.AdminUser, audit.Denied); n != 1 {
		t.Errorf("%d denials recorded", n)
	}
	if _, _, err := w.AddUser(ctx, w.op(), "MARIA", nil, nil); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("a name twice: %v", err)
	}
	for _, name := range []string{"", "with space", "a/b", strings.Repeat("x", 65), "ümlaut"} {
		if _, _, err := w.AddUser(ctx, w.op(), name, nil, nil); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	users, err := w.Users(ctx, w.op())
	if err != nil || len(users) != 1 || users[0].Name != "maria" || !users[0].Passphrase || users[0].SignedIn.IsZero() {
		t.Errorf("users %+v, %v", users, err)
	}
	if found, err := w.Find(ctx, w.op(), "Maria"); err != nil || found != person {
		t.Errorf("found %s, %v", found, err)
	}
	if _, err := w.Find(ctx, w.op(), "nobody"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("%v", err)
	}

	if err := w.Disable(ctx, w.op(), person, true); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "a session of somebody who is kept out", err, identity.Disabled)
	_, _, err = w.SignIn(ctx, "maria", passphrase, meta)
	refused(t, "somebody who is kept out", err, identity.Disabled)
	if err := w.Disable(ctx, w.op(), person, false); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "the session of before", err, identity.Ended)
	if _, _, err = w.SignIn(ctx, "maria", passphrase, meta); err != nil {
		t.Errorf("let in again: %v", err)
	}
}

// TestOwnAccount: whoever administers users does not administer themselves.
func TestOwnAccount(t *testing.T) {
	w := newWorld(t, identity.Config{})
	_, s := w.settle("maria", access.RoleEngineer)
	ask := w.op()
	ask.Caller.ID = s.Caller.ID
	if err := w.SetRoles(ctx, ask, s.Caller.ID, []string{access.RoleApprover}, nil); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("own roles: %v", err)
	}
	if n := w.recorded(access.AdminUser, audit.Failed, "cause", "own-account"); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// TestSameWork: an unknown name, one without a passphrase and a wrong passphrase cost the same, so that the time tells nothing.
func TestSameWork(t *testing.T) {
	w := newWorld(t, identity.Config{})
	w.settle("maria", access.RoleEngineer)
	w.add("eve", access.RoleEngineer)
	for _, name := range []string{"maria", "eve", "unheard.of", "", "not a name"} {
		before, entries := w.hashed, len(w.entries())
		_, _, err := w.SignIn(ctx, name, "wrong wrong wrong", identity.Meta{})
		if err == nil || err.Error() != "not signed in" {
			t.Errorf("%q: %v", name, err)
		}
		if n := w.hashed - before; n != 1 {
			t.Errorf("%q: %d passphrases hashed", name, n)
		}
		if n := len(w.entries()) - entries; n != 1 {
			t.Errorf("%q: %d entries", name, n)
		}
	}
	// A passphrase that was hashed with less work is hashed anew when it comes.
	identity.SetIterations(w.Identity, 20)
	before := w.hashed
	for _, want := range []int{2, 1} {
		if _, _, err := w.SignIn(ctx, "maria", passphrase, identity.Meta{}); err != nil {
			t.Fatal(err)
		}
		if n := w.hashed - before; n != want {
			t.Errorf("%d passphrases hashed, want %d", n, want)
		}
		before = w.hashed
	}
}

// TestOutages: a sign-in during which the store fails at any call, before or after the effect, gives no half-made account or session,
// and none without its entry in the log.
func TestOutages(t *testing.T) {
	for _, when := range []fault.When{fault.Before, fault.After} {
		for k := 1; ; k++ {
			w := newWorld(t, identity.Config{})
			w.settle("maria", access.RoleEngineer)
			before := len(w.entries())
			in := fault.New(fault.Fault{Call: k, When: when, Crash: true})
			w.db.Fault = in
			_, _, err := w.SignIn(ctx, "maria", passphrase, meta)
			broke := in.Calls() >= k
			w.db.Fault = nil
			done := w.recorded(access.SessionStart, audit.Done, "how", "passphrase")
			list, lerr := w.Sessions(ctx, w.op(), w.person("maria"))
			if lerr != nil {
				t.Fatal(lerr)
			}
			if len(list) != done {
				t.Errorf("call %d, %v: %d sessions and %d entries of sign-ins", k, when, len(list), done)
			}
			if err == nil && done != 2 {
				t.Errorf("call %d, %v: signed in without a record", k, when)
			}
			if len(w.entries()) < before {
				t.Errorf("call %d: entries were lost", k)
			}
			if !broke {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
}
