package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// Proof says how a caller with a token is known.
type Proof struct {
	How     How       // ByToken, ByJWT or ByIAM
	Token   string    // id of the personal token, or keyed hash of the access token's jti or of the ARN of the signer's session
	Expires time.Time //
	// SignedIn is when the subject last proved who they are, MFA whether with more than one factor, as the issuer of an access token
	// says. Zero: not known, as with every personal token.
	SignedIn time.Time
	MFA      bool
}

// Context returns the circumstances that a token adds to a request, for the policy.
func (p Proof) Context(now time.Time, m Meta) access.Context {
	return access.Context{Now: now, Request: m.Request, Network: m.Network, SignedIn: p.SignedIn, MFA: p.MFA, Token: p.Token}
}

// Bearer returns who comes with an access token: a personal one, or a JWT (RFC 9068) of a configured issuer under the rules of RFC 8725.
// Such a token is good for whoever has it; that it comes over TLS alone is for package web to see to. Sender-constrained tokens (DPoP,
// mutual TLS) are not taken.
//
// Errors wrap a [*RefusedError], of which a few a minute are recorded with their cause and the others counted, or [coffer.ErrUnavailable].
func (id *Identity) Bearer(ctx context.Context, token string, m Meta) (access.Caller, Proof, error) {
	how := ByJWT
	if strings.HasPrefix(token, TokenPrefix) {
		how = ByToken
	}
	who, proof, err := id.bearer(ctx, how, token, m)
	if err != nil {
		if who.ID == "" {
			who = nobody
		}
		return access.Caller{}, Proof{}, id.refusedToken(ctx, who, how, err, m)
	}
	return who, proof, nil
}

func (id *Identity) bearer(ctx context.Context, how How, token string, m Meta) (access.Caller, Proof, error) {
	switch {
	case token == "":
		return access.Caller{}, Proof{}, refuse(NoCredential)
	case how == ByToken:
		return id.personal(ctx, token, m)
	}
	return id.accessToken(ctx, token)
}

// personal returns who comes with a personal token. On a refusal the caller is the owner, where the token is theirs.
func (id *Identity) personal(ctx context.Context, token string, m Meta) (access.Caller, Proof, error) {
	if !wellFormed(token) {
		return access.Caller{}, Proof{}, refuse(BadChecksum)
	}
	t, err := id.pat(ctx, id.hash("token", token))
	if errors.Is(err, coffer.ErrNotFound) {
		return access.Caller{}, Proof{}, refuse(Unknown)
	}
	if err != nil {
		return access.Caller{}, Proof{}, err
	}
	a, err := id.account(ctx, t.Owner)
	if errors.Is(err, coffer.ErrNotFound) {
		return access.Caller{}, Proof{}, refuse(Ended)
	}
	if err != nil {
		return access.Caller{}, Proof{}, err
	}
	who := a.caller(a.Name)
	now := id.Now().UTC()
	network := m.Network.Unmap().WithZone("")
	switch {
	case !now.Before(t.Expires):
		return who, Proof{}, refuse(Expired)
	case a.Disabled:
		return who, Proof{}, refuse(Disabled)
	case !id.from(a):
		return who, Proof{}, refuse(Ended)
	}
	if len(t.Networks) > 0 {
		in := false
		for _, n := range t.Networks {
			in = in || n.Contains(network)
		}
		if !in {
			return who, Proof{}, refuse(WrongNetwork)
		}
	}
	if a.Issuer != "" {
		last, err := id.seen(ctx, a.ID)
		if err != nil {
			return access.Caller{}, Proof{}, err
		}
		if now.Sub(last) > MaxOwnerAbsence {
			return who, Proof{}, refuse(StaleOwner)
		}
	}
	if !m.Passive && now.Sub(t.LastUsed) >= usedEvery {
		t.LastUsed = now
		err := id.DB.Apply(ctx, put(tokenKey(t.hash), t, t.version, t.Expires))
		if errors.Is(err, coffer.ErrConflict) {
			// Another request was quicker, or the token was revoked this very moment.
			if _, err = id.pat(ctx, t.hash); errors.Is(err, coffer.ErrNotFound) {
				return who, Proof{}, refuse(Unknown)
			}
		}
		if err != nil {
			return access.Caller{}, Proof{}, fmt.Errorf("noting the use of a token: %w", err)
		}
	}
	who.Kind, who.Scopes = access.TokenCaller, slices.Clone(t.Scopes)
	return who, Proof{How: ByToken, Token: t.ID, Expires: t.Expires}, nil
}

// accessToken returns who comes with a JWT access token.
func (id *Identity) accessToken(ctx context.Context, raw string) (access.Caller, Proof, error) {
	none := func(err error) (access.Caller, Proof, error) { return access.Caller{}, Proof{}, err }
	j, err := parseJWT(raw)
	if err != nil {
		return none(err)
	}
	is, keys := id.keysOf(j.text("iss"))
	// An ID token, a logout token or whatever else the issuer signs is not an access token (RFC 9068 4, RFC 8725 3.11).
	whose := j.audience()
	switch {
	case is != nil && is.Cognito:
		if j.typ != "" && j.typ != "jwt" || j.text("token_use") != "access" {
			return none(refuse(WrongType))
		}
		whose = []string{j.text("client_id")}
	case j.typ != "at+jwt":
		return none(refuse(WrongType))
	}
	if keys == nil {
		return none(refuse(WrongIssuer))
	}
	if err := keys.verify(ctx, j); err != nil {
		return none(err)
	}
	now := id.Now()
	if err := j.check(is.Issuer, is.Audience, whose, now); err != nil {
		return none(err)
	}
	subject := j.text("sub")
	if subject == "" || j.text("client_id") == "" || j.text("jti") == "" {
		return none(refuse(MissingClaim))
	}
	at, mfa, err := j.proved(is.MFA, now)
	if err != nil {
		return none(err)
	}
	who := access.Caller{
		ID: id.person(is.Issuer, subject), Kind: access.TokenCaller, Roles: is.Roles.apply(j.claims), Teams: is.Teams.apply(j.claims),
		Scopes: []access.Action{},
	}
	for scope := range strings.FieldsSeq(scopeText(j)) {
		if name, ok := strings.CutPrefix(scope, is.ScopePrefix); ok && isAction(access.Action(name)) {
			who.Scopes = append(who.Scopes, access.Action(name))
		}
		who.Scopes = append(who.Scopes, is.Scopes[scope]...)
	}
	slices.Sort(who.Scopes)
	who.Scopes = slices.Compact(who.Scopes)
	if len(who.Scopes) == 0 {
		return who, Proof{}, refuse(NothingPermitted)
	}
	// Whoever is kept out here stays out, whatever their provider says.
	switch a, err := id.account(ctx, who.ID); {
	case err == nil && a.Disabled:
		return who, Proof{}, refuse(Disabled)
	case err != nil && !errors.Is(err, coffer.ErrNotFound):
		return none(err)
	}
	exp, err := j.moment("exp")
	if err != nil {
		return none(err)
	}
	return who, Proof{How: ByJWT, Token: id.hash("jti", is.Issuer+"\x00"+j.text("jti"))[:20], Expires: exp, SignedIn: at, MFA: mfa}, nil
}

// Still returns who began work that outlives their request as they are by now: with today's roles and teams, and with the scopes of their
// personal token. Somebody who was removed or kept out, or whose token was revoked or expired, is refused, with a [*RefusedError]. That
// a session ended is no reason: people sign out while their work goes on. Roles that an issuer's access token brought are known from
// nowhere else and stay. Callers who did not come through this package are returned as they are.
func (id *Identity) Still(ctx context.Context, ask access.Ask) (access.Caller, error) {
	who := ask.Caller
	personal := strings.HasPrefix(ask.Context.Token, tokenID)
	if who.Kind != access.UserCaller && who.Kind != access.TokenCaller {
		return who, nil
	}
	a, err := id.account(ctx, who.ID)
	switch {
	case errors.Is(err, coffer.ErrNotFound) && who.Kind == access.TokenCaller && !personal:
		return who, nil
	case errors.Is(err, coffer.ErrNotFound):
		return access.Caller{}, refuse(Ended)
	case err != nil:
		return access.Caller{}, err
	case a.Disabled:
		return access.Caller{}, refuse(Disabled)
	case who.Kind == access.TokenCaller && !personal:
		return who, nil
	case !id.from(a):
		return access.Caller{}, refuse(Ended)
	}
	now := a.caller(who.Name)
	if !personal {
		return now, nil
	}
	tokens, err := id.tokens(ctx, a.ID)
	if err != nil {
		return access.Caller{}, err
	}
	i := slices.IndexFunc(tokens, func(t *pat) bool { return t.ID == ask.Context.Token })
	if i < 0 {
		return access.Caller{}, refuse(Ended)
	}
	now.Kind, now.Scopes = access.TokenCaller, slices.Clone(tokens[i].Scopes)
	return now, nil
}

// scopeText returns the claim scope, a string with spaces; some issuers write a list.
func scopeText(j *jwt) string {
	if s, ok := j.claims["scope"].(string); ok && len(s) <= 4096 {
		return s
	}
	return strings.Join(j.words("scope"), " ")
}

// perMinute is how many refusals of tokens are recorded in a minute. Each is one request of whoever sends them; the log is not theirs
// to fill.
const perMinute = 30

// refusals counts the refusals of tokens of the running minute.
type refusals struct {
	mu     sync.Mutex
	minute time.Time
	n      int
	hidden int // not recorded since the last one that was
}

// next reports whether a refusal is recorded, and how many before it were not.
func (r *refusals) next(now time.Time) (hidden int, record bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(r.minute) {
		r.minute, r.n = minute, 0
	}
	if r.n++; r.n > perMinute {
		r.hidden++
		return 0, false
	}
	hidden, r.hidden = r.hidden, 0
	return hidden, true
}

// refusedToken records the refusal of a token, unless there were too many, and returns err.
func (id *Identity) refusedToken(ctx context.Context, who access.Caller, how How, err error, m Meta) error {
	cause := causeOf(err)
	if cause == "" || cause == NoCredential {
		return err
	}
	hidden, record := id.refusals.next(id.Now())
	if !record {
		return err
	}
	who.Kind, who.Scopes = access.UserCaller, nil // it was not let in as a token; the entry is about a person
	p, perr := id.Guard.Check(ctx, who, access.SessionStart, access.Resource{Kind: access.System}, id.context(m))
	if errors.Is(perr, coffer.ErrDenied) {
		return err
	}
	if perr != nil {
		return perr
	}
	e := p.Entry(audit.Failed)
	e.Detail = map[string]string{"how": string(how), "cause": string(cause)}
	if hidden > 0 {
		e.Detail["unrecorded"] = strconv.Itoa(hidden)
	}
	if _, aerr := id.Guard.Log.Append(ctx, e); aerr != nil {
		return aerr
	}
	return err
}
