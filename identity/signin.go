package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Setup is the right to choose a passphrase or to register a passkey, once and soon. The secret is for the browser that has it.
type Setup struct {
	Secret string
	Name   string // of the user, to be shown
	Until  time.Time
}

// conversation is what is kept between two requests that belong together, under the hash of a secret that the browser has. Used says
// that it has brought about what it was for.
type conversation struct {
	Kind   string    `json:"kind"`
	Person string    `json:"person,omitempty"`
	Epoch  int       `json:"epoch"`
	Anew   bool      `json:"anew,omitempty"` // a setup that came from a one-time code: earlier credentials end
	Until  time.Time `json:"until"`
	Used   bool      `json:"used,omitempty"`
	// Session is the hash of the session that a step-up is about.
	Session string `json:"session,omitempty"`
	// Passkey is the state of package webauthn, challenge included.
	Passkey []byte `json:"passkey,omitempty"`
	// What follows is of a sign-in at the provider.
	Nonce    string `json:"nonce,omitempty"`
	Verifier string `json:"verifier,omitempty"` // PKCE
	Browser  string `json:"browser,omitempty"`  // hash of the secret in the browser's cookie
	Return   string `json:"return,omitempty"`

	key     store.Key
	version string
}

// The kinds of conversations.
const (
	setupTalk   = "setup"
	passkeyTalk = "passkey"
	oidcTalk    = "oidc"
)

func (id *Identity) talkKey(kind, secret string) store.Key {
	return store.Key{Part: "IX#" + id.hash(kind, secret), Sort: kind}
}

// talk begins a conversation and returns its secret and the operation that keeps it.
func (id *Identity) talk(c *conversation, lasts time.Duration) (string, store.Op) {
	secret := newSecret()
	c.Until = id.Now().UTC().Add(lasts)
	return secret, put(id.talkKey(c.Kind, secret), c, store.Absent, c.Until)
}

// resume reads a conversation that has begun; refused when there is none, it has ended, or its time is over.
func (id *Identity) resume(ctx context.Context, kind, secret string) (*conversation, error) {
	if len(secret) != 43 {
		return nil, refuse(Unknown)
	}
	c := &conversation{key: id.talkKey(kind, secret)}
	var err error
	c.version, err = id.get(ctx, c.key, c)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return nil, refuse(Unknown)
	case err != nil:
		return nil, fmt.Errorf("resuming a sign-in: %w", err)
	case c.Used:
		return nil, refuse(Used)
	case !id.Now().Before(c.Until):
		return nil, refuse(Expired)
	}
	return c, nil
}

// spend returns the operation that ends the conversation. Of two at once one gets [coffer.ErrConflict].
func (c *conversation) spend() store.Op {
	done := conversation{Kind: c.Kind, Until: c.Until, Used: true}
	return put(c.key, done, c.version, c.Until)
}

// once makes the refusal out of the conflict with which the second of two who come with the same secret fails.
func once(err error) error {
	if errors.Is(err, coffer.ErrConflict) {
		return refuse(Used)
	}
	return err
}

// SignIn signs a local user in with a passphrase and returns the cookie of the new session. Name and passphrase that do not belong
// together, a user who is not known, and one who is kept out get the same answer after the same work. Attempts are limited by name
// and by address; see [RefusedError.RetryAfter].
func (id *Identity) SignIn(ctx context.Context, name, text string, m Meta) (string, Session, error) {
	return id.signIn(ctx, name, text, nil, m)
}

// StepUp has the person of a session prove again who they are, by passphrase, and returns the cookie that replaces the session's.
func (id *Identity) StepUp(ctx context.Context, cookie, text string, m Meta) (string, Session, error) {
	s, a, err := id.open(ctx, cookie)
	if err != nil {
		return "", Session{}, err
	}
	return id.signIn(ctx, a.Name, text, s, m)
}

func (id *Identity) signIn(ctx context.Context, name, text string, stepUp *session, m Meta) (string, Session, error) {
	if err := id.local(); err != nil {
		return "", Session{}, err
	}
	name = foldName(name)
	done, err := id.attempt(ctx, "name:"+name, m)
	if err != nil {
		return "", Session{}, err
	}
	a, err := id.byName(ctx, name)
	if err != nil {
		return "", Session{}, err
	}
	right, err := id.verify(ctx, a, text)
	if err != nil {
		return "", Session{}, err
	}
	switch {
	case a == nil:
		return "", Session{}, id.failed(ctx, nobody, ByPassphrase, refuse(Unknown), m)
	case !right:
		return "", Session{}, id.failed(ctx, a.caller(a.Name), ByPassphrase, refuse(WrongPassphrase), m)
	case a.Disabled:
		return "", Session{}, id.failed(ctx, a.caller(a.Name), ByPassphrase, refuse(Disabled), m)
	}
	var ops []store.Op
	if a.Pass.Iterations < id.factor() {
		if a.Pass, err = id.newPassphrase(ctx, text); err != nil {
			return "", Session{}, err
		}
		ops = append(ops, a.save())
	}
	cookie, s, err := id.begin(ctx, a, start{how: ByPassphrase, signedIn: id.Now(), name: a.Name, stepUp: stepUp}, m, ops...)
	if err != nil {
		return "", Session{}, err
	}
	done(true)
	return cookie, s, nil
}

// SignInWithCode redeems a one-time code for the right to choose a passphrase or register a passkey within ten minutes. The code is
// used up by it.
func (id *Identity) SignInWithCode(ctx context.Context, code string, m Meta) (Setup, error) {
	if err := id.local(); err != nil {
		return Setup{}, err
	}
	done, err := id.attempt(ctx, "", m)
	if err != nil {
		return Setup{}, err
	}
	hash := id.hash("code", foldCode(code))
	var person string
	_, err = id.get(ctx, id.codeKey(hash), &person)
	if errors.Is(err, coffer.ErrNotFound) {
		return Setup{}, id.failed(ctx, nobody, ByCode, refuse(Unknown), m)
	}
	if err != nil {
		return Setup{}, err
	}
	a, err := id.account(ctx, person)
	if err != nil {
		return Setup{}, err
	}
	fail := func(c Cause) (Setup, error) {
		return Setup{}, id.failed(ctx, a.caller(a.Name), ByCode, refuse(c), m)
	}
	switch {
	case a.Code != hash:
		return fail(Used)
	case !id.Now().Before(a.CodeUntil):
		return fail(Expired)
	case a.Disabled:
		return fail(Disabled)
	}
	p, err := id.Guard.Check(ctx, a.caller(a.Name), access.SessionStart, access.Resource{Kind: access.System}, id.context(m))
	if err != nil {
		return Setup{}, err
	}
	// The code is good as long as the account's record names it, and that is written only over what was read here. Its own item
	// stays until it expires, so that a second use is told from a code that never was.
	a.Code, a.CodeUntil = "", time.Time{}
	a.Epoch++
	setup, op := id.setup(a, true)
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"how": string(ByCode)}
	if _, err := id.Guard.Log.Apply(ctx, e, a.save(), op); err != nil {
		if errors.Is(err, coffer.ErrConflict) {
			return fail(Used)
		}
		return Setup{}, fmt.Errorf("redeeming a code: %w", err)
	}
	done(true)
	return setup, nil
}

func (id *Identity) setup(a *account, anew bool) (Setup, store.Op) {
	c := &conversation{Kind: setupTalk, Person: a.ID, Epoch: a.Epoch, Anew: anew}
	secret, op := id.talk(c, setupFor)
	return Setup{Secret: secret, Name: a.Name, Until: c.Until}, op
}

// Enrol gives a local user who proved who they are at most [FreshFor] ago the right to replace the passphrase or to add a passkey.
func (id *Identity) Enrol(ctx context.Context, cookie string) (Setup, error) {
	if err := id.local(); err != nil {
		return Setup{}, err
	}
	s, a, err := id.open(ctx, cookie)
	if err != nil {
		return Setup{}, err
	}
	if id.Now().Sub(s.SignedIn) > FreshFor {
		return Setup{}, refuse(NotFresh)
	}
	setup, op := id.setup(a, false)
	if err := id.DB.Apply(ctx, op); err != nil {
		return Setup{}, fmt.Errorf("beginning an enrolment: %w", err)
	}
	return setup, nil
}

// resumeSetup returns a setup that is still good, with the account that it is about.
func (id *Identity) resumeSetup(ctx context.Context, secret string) (*conversation, *account, error) {
	if err := id.local(); err != nil {
		return nil, nil, err
	}
	c, err := id.resume(ctx, setupTalk, secret)
	if err != nil {
		return nil, nil, err
	}
	a, err := id.account(ctx, c.Person)
	switch {
	case err != nil:
		return nil, nil, err
	case a.Disabled:
		return nil, nil, refuse(Disabled)
	case a.Epoch != c.Epoch:
		return nil, nil, refuse(Ended)
	}
	return c, a, nil
}

// renew prepares the account for a new credential: sessions that were begun with others end, and after a one-time code the others too.
func (id *Identity) renew(c *conversation, a *account) []store.Op {
	a.Epoch++
	ops := []store.Op{c.spend()}
	if c.Anew {
		for _, k := range a.Passkeys {
			ops = append(ops, del(id.passkeyKey(k.Credential.ID)))
		}
		a.Pass, a.Passkeys = nil, nil
	}
	return ops
}

// SetPassphrase sets the passphrase of the user to whom a setup belongs, ends the user's other sessions, and signs the user in. A
// passphrase that [CheckPassphrase] refuses is [coffer.ErrInvalid] and leaves the setup good.
func (id *Identity) SetPassphrase(ctx context.Context, secret, text string, m Meta) (string, Session, error) {
	c, a, err := id.resumeSetup(ctx, secret)
	if err != nil {
		return "", Session{}, err
	}
	if err := CheckPassphrase(a.Name, text); err != nil {
		return "", Session{}, err
	}
	ops := id.renew(c, a)
	if a.Pass, err = id.newPassphrase(ctx, text); err != nil {
		return "", Session{}, err
	}
	how := start{how: ByPassphrase, signedIn: id.Now(), name: a.Name, set: ByPassphrase}
	cookie, s, err := id.begin(ctx, a, how, m, append(ops, a.save())...)
	return cookie, s, once(err)
}
