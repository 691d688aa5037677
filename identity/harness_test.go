package identity_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/identity"
	"coffer/store/mem"
)

// world is an installation with a clock of its own.
type world struct {
	*identity.Identity
	t   testing.TB
	db  *mem.DB
	log *audit.Log
	dir string

	mu     sync.Mutex
	clock  time.Time
	hashed int // passphrases
	// secrets are texts that must stand neither in the store nor in the log.
	secrets []string
}

var (
	ctx      = context.Background()
	operator = access.Caller{ID: "op-1", Name: "root", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
	meta     = identity.Meta{Request: "req-1", Network: netip.MustParseAddr("192.0.2.7")}
)

const passphrase = "violet harbour sings twice"

func newWorld(t testing.TB, c identity.Config) *world {
	t.Helper()
	w := &world{t: t, db: new(mem.DB), dir: t.TempDir(), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	policy, err := access.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.log = audittest.Open(t, w.db, w.dir, w.now, nil)
	if c.Origin == "" {
		c.Origin = "https://coffer.example"
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	w.Identity = &identity.Identity{
		DB: w.db, Guard: &audit.Guard{Log: w.log, Policy: policy}, Config: c, Now: w.now,
		MAC: func(label string, data []byte) []byte {
			if label == "identity/passphrase" {
				w.mu.Lock()
				w.hashed++
				w.mu.Unlock()
			}
			h := hmac.New(sha256.New, []byte("a key of the tests/"+label))
			h.Write(data)
			return h.Sum(nil)
		},
	}
	identity.SetIterations(w.Identity, 10)
	t.Cleanup(w.leaks)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// secret notes a text that must not be found anywhere, and returns it.
func (w *world) secret(s string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, s)
	return s
}

// leaks searches keys and values of the store, which the tests do not seal, and the files of the log for the secrets.
func (w *world) leaks() {
	secrets := append([]string{passphrase}, w.secrets...)
	if err := w.log.Close(); err != nil {
		w.t.Errorf("closing the log: %v", err)
	}
	search := func(where string, b []byte) {
		for _, s := range secrets {
			if s != "" && bytes.Contains(b, []byte(s)) {
				w.t.Errorf("a secret of %d characters that begins with %.4s stands in %s", len(s), s, where)
			}
		}
	}
	for it, err := range w.db.Scan(ctx, 0, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		search("the keys of part "+it.Key.Part[:2], []byte(it.Key.Part+" "+it.Key.Sort))
		search("a value of part "+it.Key.Part[:2], it.Value)
	}
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(path)
			search("a file of the log", b)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) op() access.Ask {
	return access.Ask{Caller: operator, Context: access.Context{Now: w.now(), Local: true}}
}

// as is somebody asking with a session.
func (w *world) as(s identity.Session) access.Ask {
	return access.Ask{Caller: s.Caller, Context: s.Context(w.now(), meta)}
}

// add adds a user and returns the id and the one-time code.
func (w *world) add(name string, roles ...string) (identity.User, string) {
	w.t.Helper()
	u, code, err := w.AddUser(ctx, w.op(), name, roles, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.secret(code)
	w.secret(strings.ReplaceAll(code, "-", ""))
	return u, code
}

// settle adds a user with the passphrase of the tests and returns the session and its cookie.
func (w *world) settle(name string, roles ...string) (string, identity.Session) {
	w.t.Helper()
	_, code := w.add(name, roles...)
	setup, err := w.SignInWithCode(ctx, code, meta)
	if err != nil {
		w.t.Fatal(err)
	}
	cookie, s, err := w.SetPassphrase(ctx, w.secret(setup.Secret), passphrase, meta)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.secret(cookie), s
}

// refused demands that err is a refusal for this cause.
func refused(t testing.TB, what string, err error, want identity.Cause) {
	t.Helper()
	var r *identity.RefusedError
	switch {
	case err == nil:
		t.Errorf("%s: not refused, want %s", what, want)
	case !errors.As(err, &r):
		t.Errorf("%s: %v, want a refusal for %s", what, err, want)
	case r.Cause != want:
		t.Errorf("%s: refused for %s, want %s", what, r.Cause, want)
	case !errors.Is(err, coffer.ErrDenied) && !errors.Is(err, coffer.ErrLimit):
		t.Errorf("%s: wraps no sentinel", what)
	case strings.Contains(err.Error(), string(want)) && len(want) > 4:
		t.Errorf("%s: the text tells the cause", what)
	}
}

// person returns the id of a local user.
func (w *world) person(name string) string {
	w.t.Helper()
	id, err := w.Find(ctx, w.op(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// live demands that the cookie opens a session.
func (w *world) live(what, cookie string) identity.Session {
	w.t.Helper()
	s, err := w.Session(ctx, cookie, meta)
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
	return s
}

// entries returns the log's entries in order of time.
func (w *world) entries() []audit.Entry {
	w.t.Helper()
	var out []audit.Entry
	for it, err := range w.db.Scan(ctx, 0, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		if !strings.HasPrefix(it.Key.Part, "audit/entry/") {
			continue
		}
		for leaf := range bytes.SplitSeq(it.Value, []byte("\n")) {
			if e, err := audit.Decode(leaf); err == nil {
				out = append(out, e)
			}
		}
	}
	return out
}

// recorded counts the entries of an action with this outcome and these details.
func (w *world) recorded(a access.Action, o audit.Outcome, detail ...string) int {
	w.t.Helper()
	n := 0
	for _, e := range w.entries() {
		ok := e.Action == a && e.Outcome == o
		for i := 0; i < len(detail); i += 2 {
			ok = ok && e.Detail[detail[i]] == detail[i+1]
		}
		if ok {
			n++
		}
	}
	return n
}
