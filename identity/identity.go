// Package identity answers who is asking: it turns a sign-in, a session's cookie or an access token into an [access.Caller]. What
// the caller may do is not its business; package access decides that, each time anew.
//
// It serves no page and sets no cookie: package web does, and hands in what the browser sent.
//
// # Who is known
//
// Without a provider, people are named here ([Identity.AddUser]), get a one-time code on a terminal, and choose a passphrase or register
// a passkey with it. With an OpenID Connect provider ([Config.Provider]) people come from there and local sign-in is off: an account
// that the provider's administrators cannot close would be a back door. Programs come with tokens, see [Identity.Bearer].
//
// A person's id is a keyed hash of issuer and subject, never of an e-mail address, which can pass to somebody else.
//
// # What is stored
//
// Secrets (cookies, codes, tokens, states) are 256 random bits and stand in the store as keyed hashes only, in keys; passphrases as
// PBKDF2 of a keyed hash, so that a copy of the store without the installation's keys cannot even be guessed at. Values are sealed by
// the store. Every secret that is good for one use is marked as used by a conditional write, in the Apply of what it brought about,
// so that of two who come with it one gets in. Expiry is checked by the readers; Item.Expires only tidies up.
//
//	IU               <person>     the list of people
//	IU#<person>      account      what is known about a person
//	IU#<person>      seen         when the person last signed in
//	IN#<hash>        name         sign-in name -> person
//	IC#<hash>        code         one-time code -> person
//	IK#<hash>        passkey      a passkey's id -> person
//	IX#<hash>        <kind>       a conversation that has begun: setup, passkey, oidc
//	IS#<hash>        session      a session, by the hash of its cookie
//	IL#<person>      <session>    the sessions of a person
//	ID#<hash>        <session>    the sessions of a provider's session
//	IJ#<hash>        logout       a logout token that was seen
//	IT#<hash>        token        a personal token
//	IP#<person>      <token>      the tokens of a person
//	IA#<hash>        attempts     how often a name or an address failed
package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Limits and times. Those of sessions are ASVS 5.0 V7.3 at its strictest; Config can shorten and lengthen them within bounds.
const (
	DefaultIdle     = 15 * time.Minute
	DefaultAbsolute = 8 * time.Hour
	// FreshFor is how long after a sign-in a person may change credentials without proving again who they are.
	FreshFor = 15 * time.Minute
	// CodeFor is how long a one-time code is good.
	CodeFor = time.Hour
	// MaxSessions is how many sessions a person can have; one more ends the oldest.
	MaxSessions = 10
	// MaxSkew is how far another machine's clock may differ from this one's.
	MaxSkew = time.Minute

	setupFor   = 10 * time.Minute // from a code or fresh session to the credential
	passkeyFor = 5 * time.Minute  // from challenge to answer
	oidcFor    = 10 * time.Minute // from redirect to the provider to the way back
	touchEvery = 30 * time.Second // how exactly the last use of a session is kept
)

// Identity knows who is asking. Set the fields before the first use; they do not change. It is safe for concurrent use, by several
// processes on one store.
type Identity struct {
	DB store.DB
	// MAC is the installation's keyed hash.
	MAC    func(label string, data []byte) []byte
	Guard  *audit.Guard
	Config Config
	Now    func() time.Time

	iterations int // of PBKDF2 for new passphrases; 0: the constant

	mu        sync.Mutex // guards the rest
	provider  *provider
	issuers   map[string]*keySet
	refusals  refusals
	passkeyRP *relyingParty
}

// Meta is the circumstances of a request, as package web knows them.
type Meta struct {
	Request string     // id of the request, for the log
	Network netip.Addr // where it comes from
	// Cookie is the session cookie that came with a request to sign in; empty: none. The sign-in ends that session.
	Cookie string
	// Passive says that whoever asks only wants to know whether the credential is still good: the look is no use of it, and a session
	// that is left alone goes on to be idle.
	Passive bool
}

// Cause says why somebody was refused. It is for the log and for tests, not for who was refused.
type Cause string

// The causes of a refusal.
const (
	NoCredential     Cause = "nothing"          // no cookie, no token
	Unknown          Cause = "unknown"          // the name, cookie, code or token is not known
	WrongPassphrase  Cause = "wrong-passphrase" // or no passphrase is set
	Disabled         Cause = "disabled"         // the person is kept out
	Expired          Cause = "expired"
	Idle             Cause = "idle"
	Ended            Cause = "ended"      // everything of the person was ended, or the way of signing in is off
	Used             Cause = "used"       // it was good for one use
	NotFresh         Cause = "not-fresh"  // the sign-in is too long ago for this
	TooMany          Cause = "too-many"   // attempts
	WrongNetwork     Cause = "network"    // the token is bound to another network
	BadChecksum      Cause = "checksum"   // of a personal token
	BadPasskey       Cause = "passkey"    // origin, relying party, challenge, signature or user verification
	ClonedPasskey    Cause = "counter"    // the signature counter went back
	OtherPerson      Cause = "other"      // a step-up by somebody else
	ForeignBrowser   Cause = "browser"    // the answer came to another browser than the question
	ProviderRefused  Cause = "provider"   // the provider answered with an error
	WrongCode        Cause = "code"       // the provider did not take the code
	Malformed        Cause = "malformed"  // not a token
	BadHeader        Cause = "header"     // a member of a token's header that must not be there
	WrongType        Cause = "type"       // another kind of token
	WrongAlgorithm   Cause = "algorithm"  // not one of those configured for the issuer
	UnknownKey       Cause = "key"        // the issuer has no such key
	BadSignature     Cause = "signature"  //
	WrongIssuer      Cause = "issuer"     //
	WrongAudience    Cause = "audience"   //
	WrongParty       Cause = "party"      // azp
	WrongNonce       Cause = "nonce"      //
	WrongHash        Cause = "at-hash"    //
	NotYet           Cause = "not-yet"    // nbf or iat is in the future
	MissingClaim     Cause = "claim"      // a claim is missing or malformed
	TooLong          Cause = "life"       // the token is good for longer than is accepted
	WeakSignIn       Cause = "weak"       // not as recent or as strong as was asked for
	StaleOwner       Cause = "owner"      // the owner of a personal token has not signed in for long
	ReplayedLogout   Cause = "replayed"   //
	NothingPermitted Cause = "no-actions" // no scope of the token is an action
)

// RefusedError says that it is not known who asks. It wraps [coffer.ErrDenied], or [coffer.ErrLimit] when there were too many attempts; its
// text does not tell the cause, so that it can be shown.
type RefusedError struct {
	Cause Cause
	// RetryAfter is how long to wait; 0: waiting does not help.
	RetryAfter time.Duration
}

// Error implements error.
func (r *RefusedError) Error() string {
	if r.RetryAfter > 0 {
		return "too many attempts; wait before the next one"
	}
	return "not signed in"
}

// Unwrap returns the sentinel.
func (r *RefusedError) Unwrap() error {
	if r.RetryAfter > 0 {
		return coffer.ErrLimit
	}
	return coffer.ErrDenied
}

func refuse(c Cause) error { return &RefusedError{Cause: c} }

// causeOf returns the cause of a refusal; "" when err is none.
func causeOf(err error) Cause {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Cause
	}
	return ""
}

// nobody is the caller of an attempt by somebody who is not known.
var nobody = access.Caller{ID: "nobody", Kind: access.UserCaller}

// context returns m as circumstances for the policy.
func (id *Identity) context(m Meta) access.Context {
	return access.Context{Now: id.Now(), Request: m.Request, Network: m.Network}
}

// failed records a refusal and returns it. Whoever it was, the answer is the same: a policy that would not have let this person in
// changes nothing. If it cannot be recorded the error wraps [coffer.ErrUnavailable].
func (id *Identity) failed(ctx context.Context, who access.Caller, how How, err error, m Meta) error {
	cause := causeOf(err)
	if cause == "" {
		return err // an outage, not a refusal
	}
	p, perr := id.Guard.Check(ctx, who, access.SessionStart, access.Resource{Kind: access.System}, id.context(m))
	if errors.Is(perr, coffer.ErrDenied) {
		return err
	}
	if perr != nil {
		return perr
	}
	e := p.Entry(audit.Failed)
	e.Detail = map[string]string{"how": string(how), "cause": string(cause)}
	if _, aerr := id.Guard.Log.Append(ctx, e); aerr != nil {
		return aerr
	}
	return err
}

// newSecret returns 256 random bits as text for cookies and parameters.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newID returns a short random id; it names something and opens nothing.
func newID(prefix string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// hash returns the keyed hash under which a secret stands in the store's keys.
func (id *Identity) hash(kind, secret string) string {
	return hex.EncodeToString(id.MAC("identity/"+kind, []byte(secret)))
}

// person returns the pseudonymous id of who has this subject at this issuer.
func (id *Identity) person(issuer, subject string) string {
	return "u-" + hex.EncodeToString(id.MAC("person", []byte(issuer+"\x00"+subject))[:10])
}

// get reads an item into v and returns its version. An item that is not there is [coffer.ErrNotFound].
func (id *Identity) get(ctx context.Context, k store.Key, v any) (string, error) {
	it, err := id.DB.Get(ctx, k)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(it.Value, v); err != nil {
		return "", fmt.Errorf("an item of package identity: %w", coffer.ErrCorrupt)
	}
	return it.Version, nil
}

func put(k store.Key, v any, expect string, expires time.Time) store.Op {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers, times and bytes
	}
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{Key: k, Value: b, Version: store.NewVersion(), Expires: expires}}
}

func del(k store.Key) store.Op {
	return store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: k}}
}

// local reports an error when people come from a provider.
func (id *Identity) local() error {
	if id.Config.Provider != nil {
		return fmt.Errorf("people sign in at the provider that is configured: %w", coffer.ErrUnsupported)
	}
	return nil
}
