package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"coffer"
	"coffer/store"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

const (
	// MaxPasskeys is how many passkeys a user can have.
	MaxPasskeys = 10
	// maxPasskeyAnswer bounds what a browser sends back, in bytes.
	maxPasskeyAnswer = 64 << 10
)

// relyingParty is this installation as package webauthn knows it.
type relyingParty = webauthn.WebAuthn

// passkeyUser is an account as package webauthn knows it. The handle that the authenticator keeps is the pseudonymous id.
type passkeyUser struct{ a *account }

func (u passkeyUser) WebAuthnID() []byte          { return []byte(u.a.ID) }
func (u passkeyUser) WebAuthnName() string        { return u.a.Name }
func (u passkeyUser) WebAuthnDisplayName() string { return u.a.Name }
func (u passkeyUser) WebAuthnCredentials() []webauthn.Credential {
	var out []webauthn.Credential
	for _, k := range u.a.Passkeys {
		out = append(out, k.Credential)
	}
	return out
}

// passkeyKey is where it stands that a credential is taken, so that nobody registers another's.
func (id *Identity) passkeyKey(credential []byte) store.Key {
	return store.Key{Part: "IK#" + id.hash("passkey", string(credential)), Sort: "passkey"}
}

func (id *Identity) rp() (*relyingParty, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.passkeyRP != nil {
		return id.passkeyRP, nil
	}
	u, err := url.Parse(id.Config.Origin)
	if err != nil || id.Config.Origin == "" {
		return nil, fmt.Errorf("passkeys need the origin in the configuration: %w", coffer.ErrUnsupported)
	}
	rp, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Coffer", RPOrigins: []string{id.Config.Origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("passkeys: the origin in the configuration: %w", coffer.ErrUnsupported)
	}
	id.passkeyRP = rp
	return rp, nil
}

// BeginRegistration returns the options, as JSON, with which the browser of a setup makes a passkey. Earlier options are void.
func (id *Identity) BeginRegistration(ctx context.Context, secret string) (json.RawMessage, error) {
	rp, err := id.rp()
	if err != nil {
		return nil, err
	}
	c, a, err := id.resumeSetup(ctx, secret)
	if err != nil {
		return nil, err
	}
	u := passkeyUser{a}
	var exclude []protocol.CredentialDescriptor
	if !c.Anew {
		if len(a.Passkeys) >= MaxPasskeys {
			return nil, fmt.Errorf("at most %d passkeys: %w", MaxPasskeys, coffer.ErrLimit)
		}
		exclude = webauthn.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()
	}
	options, state, err := rp.BeginRegistration(u, webauthn.WithExclusions(exclude))
	if err != nil {
		return nil, fmt.Errorf("beginning a registration: %w", coffer.ErrUnsupported)
	}
	return id.keepChallenge(ctx, c, options, state)
}

// keepChallenge stores what the answer will be compared with and returns the options for the browser.
func (id *Identity) keepChallenge(ctx context.Context, c *conversation, options any, state *webauthn.SessionData) (json.RawMessage, error) {
	out, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("options for a passkey: %w", err)
	}
	if c.Passkey, err = json.Marshal(state); err != nil {
		return nil, fmt.Errorf("state of a passkey: %w", err)
	}
	if err := id.DB.Apply(ctx, put(c.key, c, c.version, c.Until)); err != nil {
		return nil, fmt.Errorf("keeping a challenge: %w", err)
	}
	return out, nil
}

// FinishRegistration takes the passkey that a browser made into the user's account, ends the user's other sessions and signs the user
// in. answer is the JSON of the browser's PublicKeyCredential. Origin, relying party, challenge and user verification must be right; a
// wrong answer uses the challenge up and leaves the setup good.
func (id *Identity) FinishRegistration(ctx context.Context, secret string, answer []byte, m Meta) (string, Session, error) {
	rp, err := id.rp()
	if err != nil {
		return "", Session{}, err
	}
	c, a, err := id.resumeSetup(ctx, secret)
	if err != nil {
		return "", Session{}, err
	}
	state, err := c.challenge()
	if err != nil {
		return "", Session{}, id.failed(ctx, a.caller(a.Name), ByPasskey, err, m)
	}
	var made *webauthn.Credential
	if len(answer) <= maxPasskeyAnswer {
		if parsed, perr := protocol.ParseCredentialCreationResponseBytes(answer); perr == nil {
			made, _ = rp.CreateCredential(passkeyUser{a}, *state, parsed)
		}
	}
	if made == nil {
		c.Passkey = nil
		if err := id.DB.Apply(ctx, put(c.key, c, c.version, c.Until)); err != nil {
			return "", Session{}, once(err)
		}
		return "", Session{}, id.failed(ctx, a.caller(a.Name), ByPasskey, refuse(BadPasskey), m)
	}
	// The attestation is not asked for; what came of it says only which device the user has.
	made.Attestation = webauthn.CredentialAttestation{}
	ops := id.renew(c, a)
	a.Passkeys = append(a.Passkeys, passkey{Credential: *made, Added: id.Now().UTC()})
	ops = append(ops, put(id.passkeyKey(made.ID), a.ID, store.Absent, time.Time{}), a.save())
	how := start{how: ByPasskey, mfa: true, signedIn: id.Now(), name: a.Name, set: ByPasskey}
	cookie, s, err := id.begin(ctx, a, how, m, ops...)
	return cookie, s, once(err)
}

// challenge returns the state of package webauthn that was kept.
func (c *conversation) challenge() (*webauthn.SessionData, error) {
	if len(c.Passkey) == 0 {
		return nil, refuse(Used)
	}
	state := new(webauthn.SessionData)
	if err := json.Unmarshal(c.Passkey, state); err != nil {
		return nil, fmt.Errorf("state of a passkey: %w", coffer.ErrCorrupt)
	}
	return state, nil
}

// Challenge is a question to a browser's passkeys.
type Challenge struct {
	Secret  string          // for the browser, to come back with the answer
	Options json.RawMessage // for navigator.credentials.get
}

// BeginSignIn asks for a passkey: any that the browser has for this installation, or, with the cookie of a session for a step-up,
// one of that session's person.
func (id *Identity) BeginSignIn(ctx context.Context, stepUp string) (Challenge, error) {
	if err := id.local(); err != nil {
		return Challenge{}, err
	}
	rp, err := id.rp()
	if err != nil {
		return Challenge{}, err
	}
	c := &conversation{Kind: passkeyTalk}
	var allowed []protocol.CredentialDescriptor
	if stepUp != "" {
		s, a, err := id.open(ctx, stepUp)
		if err != nil {
			return Challenge{}, err
		}
		if len(a.Passkeys) == 0 {
			return Challenge{}, fmt.Errorf("this user has no passkey: %w", coffer.ErrNotFound)
		}
		c.Person, c.Epoch, c.Session = a.ID, a.Epoch, s.hash
		allowed = webauthn.Credentials(passkeyUser{a}.WebAuthnCredentials()).CredentialDescriptors()
	}
	options, state, err := rp.BeginDiscoverableLogin(webauthn.WithAllowedCredentials(allowed))
	if err != nil {
		return Challenge{}, fmt.Errorf("beginning a sign-in: %w", coffer.ErrUnsupported)
	}
	secret, op := id.talk(c, passkeyFor)
	c.key, c.version = op.Item.Key, store.Absent
	out, err := id.keepChallenge(ctx, c, options, state)
	if err != nil {
		return Challenge{}, err
	}
	return Challenge{Secret: secret, Options: out}, nil
}

// FinishSignIn signs a local user in with a passkey's answer, or strengthens the session for which [Identity.BeginSignIn] asked. The
// challenge is used up, whether the answer is right or not. A signature counter that did not go up says that the passkey was copied:
// refused.
func (id *Identity) FinishSignIn(ctx context.Context, secret string, answer []byte, m Meta) (string, Session, error) {
	if err := id.local(); err != nil {
		return "", Session{}, err
	}
	rp, err := id.rp()
	if err != nil {
		return "", Session{}, err
	}
	done, err := id.attempt(ctx, "", m)
	if err != nil {
		return "", Session{}, err
	}
	c, err := id.resume(ctx, passkeyTalk, secret)
	if err != nil {
		return "", Session{}, id.failed(ctx, nobody, ByPasskey, err, m)
	}
	state, err := c.challenge()
	if err != nil {
		return "", Session{}, err
	}
	// Used up before it is judged: an answer is tried once.
	if err := id.DB.Apply(ctx, c.spend()); err != nil {
		return "", Session{}, once(err)
	}
	who := nobody
	fail := func(cause Cause) (string, Session, error) {
		return "", Session{}, id.failed(ctx, who, ByPasskey, refuse(cause), m)
	}
	if len(answer) > maxPasskeyAnswer {
		return fail(BadPasskey)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return fail(BadPasskey)
	}
	var a *account
	var outage error
	_, used, err := rp.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		var err error
		if a, err = id.account(ctx, string(handle)); err != nil {
			if !errors.Is(err, coffer.ErrNotFound) {
				outage = err
			}
			return nil, err
		}
		who = a.caller(a.Name)
		return passkeyUser{a}, nil
	}, *state, parsed)
	switch {
	case outage != nil:
		return "", Session{}, outage
	case err != nil && a == nil:
		return fail(Unknown)
	case err != nil:
		return fail(BadPasskey)
	case a.Disabled:
		return fail(Disabled)
	case used.Authenticator.CloneWarning:
		return fail(ClonedPasskey)
	case !parsed.Response.AuthenticatorData.Flags.HasUserVerified():
		return fail(BadPasskey)
	}
	how := start{how: ByPasskey, mfa: true, signedIn: id.Now(), name: a.Name}
	if c.Session != "" {
		if a.ID != c.Person {
			return fail(OtherPerson)
		}
		if how.stepUp, _, err = id.openHash(ctx, c.Session); err != nil {
			return "", Session{}, err
		}
	}
	for i := range a.Passkeys {
		if string(a.Passkeys[i].Credential.ID) == string(used.ID) {
			a.Passkeys[i].Credential = *used
		}
	}
	cookie, s, err := id.begin(ctx, a, how, m, a.save())
	if err != nil {
		return "", Session{}, err
	}
	done(true)
	return cookie, s, nil
}
