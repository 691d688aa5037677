package identity

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// CallbackPath is where the provider sends the browser back to, under [Config.Origin]: the redirect URI that is registered there.
const CallbackPath = "/auth/callback"

// provider is what the provider says about itself.
type provider struct {
	oauth      oauth2.Config
	keys       *keySet
	endSession string
	answersIss bool // the provider promises the parameter iss (RFC 9207)
	until      time.Time
}

// discover returns what the provider says about itself, at most an hour old; older only while it cannot be asked.
func (id *Identity) discover(ctx context.Context) (*provider, error) {
	id.mu.Lock()
	known := id.provider
	id.mu.Unlock()
	if known != nil && id.Now().Before(known.until) {
		return known, nil
	}
	p, err := id.fetchProvider(ctx)
	if err != nil {
		if known == nil {
			return nil, fmt.Errorf("the provider cannot be reached, or is not the one that is configured: %w", coffer.ErrUnavailable)
		}
		again := *known
		again.until = id.Now().Add(time.Minute)
		p = &again
	}
	if known != nil && p.keys.url == known.keys.url {
		p.keys = known.keys
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.provider = p
	return p, nil
}

func (id *Identity) fetchProvider(ctx context.Context) (*provider, error) {
	cfg := id.Config.Provider
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		JWKS       string   `json:"jwks_uri"`
		EndSession string   `json:"end_session_endpoint"`
		AnswersIss bool     `json:"authorization_response_iss_parameter_supported"`
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, err
	}
	end := found.Endpoint()
	for _, u := range []string{end.AuthURL, end.TokenURL, more.JWKS} {
		if _, err := webURL(u); err != nil {
			return nil, err
		}
	}
	// Said outright: a client that tries both ways sends a code twice.
	end.AuthStyle = oauth2.AuthStyleInHeader
	if cfg.ClientSecret == "" || len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		end.AuthStyle = oauth2.AuthStyleInParams
	}
	return &provider{
		oauth: oauth2.Config{
			ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret, Endpoint: end, RedirectURL: id.Config.Origin + CallbackPath,
			Scopes: append([]string{oidc.ScopeOpenID}, cfg.Scopes...),
		},
		keys:       &keySet{url: more.JWKS, algs: signatureAlgorithms(cfg.Algorithms), now: id.Now},
		endSession: more.EndSession, answersIss: more.AnswersIss, until: id.Now().Add(time.Hour),
	}, nil
}

// Redirect is the way to the provider.
type Redirect struct {
	URL string
	// Secret is for a cookie of the browser that is sent to URL: the answer is taken from that browser alone. It is good for ten minutes.
	Secret string
}

// BeginOIDC sends a browser to the provider; back is the path in the portal to which the person returns. With the cookie of a session
// it is a step-up: the provider is told to ask anew, and the same person must come back, having proved who they are since then and, where
// [Provider.ACR] is set, in one of these ways.
func (id *Identity) BeginOIDC(ctx context.Context, back, stepUp string) (Redirect, error) {
	cfg := id.Config.Provider
	if cfg == nil {
		return Redirect{}, fmt.Errorf("no provider is configured: %w", coffer.ErrUnsupported)
	}
	p, err := id.discover(ctx)
	if err != nil {
		return Redirect{}, err
	}
	c := &conversation{
		Kind: oidcTalk, Nonce: newSecret(), Verifier: oauth2.GenerateVerifier(), Return: localPath(back),
	}
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(c.Verifier), oidc.Nonce(c.Nonce)}
	if stepUp != "" {
		s, a, err := id.open(ctx, stepUp)
		if err != nil {
			return Redirect{}, err
		}
		c.Person, c.Epoch, c.Session = a.ID, a.Epoch, s.hash
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
		if len(cfg.ACR) > 0 {
			opts = append(opts, oauth2.SetAuthURLParam("acr_values", strings.Join(cfg.ACR, " ")))
		}
	} else {
		// Whoever asks for max_age is told auth_time.
		opts = append(opts, oauth2.SetAuthURLParam("max_age", strconv.Itoa(int(id.absolute().Seconds()))))
	}
	browser := newSecret()
	c.Browser = id.hash("browser", browser)
	state, op := id.talk(c, oidcFor)
	if err := id.DB.Apply(ctx, op); err != nil {
		return Redirect{}, fmt.Errorf("beginning a sign-in: %w", err)
	}
	return Redirect{URL: p.oauth.AuthCodeURL(state, opts...), Secret: browser}, nil
}

// localPath returns a path inside the portal, "/" for everything that could lead elsewhere.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > 1024 || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsAny(s, "\\\r\n\t\x00") {
		return "/"
	}
	return s
}

// FinishOIDC takes the provider's answer, the query of the request to [CallbackPath], from the browser with this secret, and signs the
// person in. It returns the session's cookie and the path to return to. Of one answer one session comes; whoever comes with it again,
// with another browser's, or with one of another provider, is refused.
func (id *Identity) FinishOIDC(ctx context.Context, answer url.Values, browser string, m Meta) (cookie string, s Session, back string, err error) {
	cfg := id.Config.Provider
	if cfg == nil {
		return "", Session{}, "", fmt.Errorf("no provider is configured: %w", coffer.ErrUnsupported)
	}
	done, err := id.attempt(ctx, "", m)
	if err != nil {
		return "", Session{}, "", err
	}
	who := nobody
	cookie, s, back, err = id.finishOIDC(ctx, answer, browser, m, &who)
	if err != nil {
		return "", Session{}, "", id.failed(ctx, who, ByOIDC, err, m)
	}
	done(true)
	return cookie, s, back, nil
}

func (id *Identity) finishOIDC(ctx context.Context, answer url.Values, browser string, m Meta, who *access.Caller) (string, Session, string, error) {
	none := func(err error) (string, Session, string, error) { return "", Session{}, "", err }
	for _, values := range answer {
		if len(values) != 1 {
			return none(refuse(Malformed))
		}
	}
	c, err := id.resume(ctx, oidcTalk, answer.Get("state"))
	if err != nil {
		return none(err)
	}
	// The right browser can still come: what the wrong one brings uses nothing up.
	if subtle.ConstantTimeCompare([]byte(c.Browser), []byte(id.hash("browser", browser))) != 1 {
		return none(refuse(ForeignBrowser))
	}
	p, err := id.discover(ctx)
	if err != nil {
		return none(err)
	}
	if iss := answer.Get("iss"); iss != id.Config.Provider.Issuer && (iss != "" || p.answersIss) {
		return none(refuse(WrongIssuer))
	}
	// Used up before the code is redeemed: it is sent once.
	if err := id.DB.Apply(ctx, c.spend()); err != nil {
		return none(once(err))
	}
	if answer.Has("error") || answer.Get("code") == "" {
		return none(refuse(ProviderRefused))
	}
	octx := context.WithValue(ctx, oauth2.HTTPClient, client)
	token, err := p.oauth.Exchange(octx, answer.Get("code"), oauth2.VerifierOption(c.Verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError:
		return none(refuse(WrongCode))
	case err != nil:
		return none(fmt.Errorf("redeeming a code at the provider: %w", coffer.ErrUnavailable))
	}
	j, err := id.idToken(ctx, p, token, c.Nonce)
	if err != nil {
		return none(err)
	}
	return id.admit(ctx, j, c, m, who)
}

// verified is a token whose signature was verified, as go-oidc asks for it.
type verified struct{ j *jwt }

// VerifySignature implements [oidc.KeySet].
func (v verified) VerifySignature(_ context.Context, raw string) ([]byte, error) {
	if raw != v.j.raw {
		return nil, refuse(BadSignature)
	}
	return decodePayload(raw)
}

// second has go-oidc judge what was judged here, so that a check that one of the two forgets is made all the same.
func (id *Identity) second(j *jwt) *oidc.IDTokenVerifier {
	cfg := id.Config.Provider
	algs := cfg.Algorithms
	if len(algs) == 0 {
		algs = defaultAlgorithms
	}
	return oidc.NewVerifier(cfg.Issuer, verified{j}, &oidc.Config{
		ClientID: cfg.ClientID, SupportedSigningAlgs: algs, Now: func() time.Time { return id.Now().Add(-MaxSkew) },
	})
}

// idToken verifies the ID token of a token response, OpenID Connect Core 3.1.3.7.
func (id *Identity) idToken(ctx context.Context, p *provider, token *oauth2.Token, nonce string) (*jwt, error) {
	cfg := id.Config.Provider
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, refuse(MissingClaim)
	}
	j, err := parseJWT(raw)
	if err != nil {
		return nil, err
	}
	if j.typ != "" && j.typ != "jwt" {
		return nil, refuse(WrongType)
	}
	if err := p.keys.verify(ctx, j); err != nil {
		return nil, err
	}
	now := id.Now()
	if err := j.check(cfg.Issuer, cfg.ClientID, j.audience(), now); err != nil {
		return nil, err
	}
	if azp := j.text("azp"); azp != cfg.ClientID && (len(j.audience()) > 1 || j.claims["azp"] != nil) {
		return nil, refuse(WrongParty)
	}
	if subtle.ConstantTimeCompare([]byte(j.text("nonce")), []byte(nonce)) != 1 {
		return nil, refuse(WrongNonce)
	}
	if j.text("sub") == "" {
		return nil, refuse(MissingClaim)
	}
	checked, err := id.second(j).Verify(ctx, raw)
	if err != nil {
		return nil, refuse(MissingClaim)
	}
	if j.claims["at_hash"] != nil && checked.VerifyAccessToken(token.AccessToken) != nil {
		return nil, refuse(WrongHash)
	}
	return j, nil
}

// admit opens a session for the person of an ID token.
func (id *Identity) admit(ctx context.Context, j *jwt, c *conversation, m Meta, who *access.Caller) (string, Session, string, error) {
	cfg := id.Config.Provider
	none := func(err error) (string, Session, string, error) { return "", Session{}, "", err }
	now := id.Now().UTC()
	at, mfa, err := j.proved(cfg.MFA, now)
	if err != nil {
		return none(err)
	}
	a, ops, err := id.arrive(ctx, cfg.Issuer, j.text("sub"), cfg.Roles.apply(j.claims), cfg.Teams.apply(j.claims))
	if err != nil {
		return none(err)
	}
	name := cmp.Or(j.text("preferred_username"), j.text("name"), j.text("cognito:username"))
	*who = a.caller(name)
	if a.Disabled {
		return none(refuse(Disabled))
	}
	how := start{how: ByOIDC, mfa: mfa, signedIn: at, name: name}
	if sid := j.text("sid"); sid != "" {
		how.sid = id.hash("sid", cfg.Issuer+"\x00"+sid)
	}
	if c.Session != "" {
		if a.ID != c.Person {
			return none(refuse(OtherPerson))
		}
		asked := c.Until.Add(-oidcFor)
		if at.Before(asked.Add(-MaxSkew)) || len(cfg.ACR) > 0 && !slices.Contains(cfg.ACR, j.text("acr")) {
			return none(refuse(WeakSignIn))
		}
		if how.stepUp, _, err = id.openHash(ctx, c.Session); err != nil {
			return none(err)
		}
	}
	cookie, s, err := id.begin(ctx, a, how, m, ops...)
	if err != nil {
		return none(err)
	}
	return cookie, s, c.Return, nil
}

// arrive returns the account of a provider's person with the roles and teams that the provider gives now, and the operations that keep
// it so.
func (id *Identity) arrive(ctx context.Context, issuer, subject string, roles, teams []string) (*account, []store.Op, error) {
	person := id.person(issuer, subject)
	a, err := id.account(ctx, person)
	if errors.Is(err, coffer.ErrNotFound) {
		a = &account{ID: person, Issuer: issuer, Roles: roles, Teams: teams, Created: id.Now().UTC()}
		return a, []store.Op{a.save(), put(store.Key{Part: partUsers, Sort: person}, struct{}{}, store.Any, time.Time{})}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if slices.Equal(a.Roles, roles) && slices.Equal(a.Teams, teams) {
		return a, nil, nil
	}
	a.Roles, a.Teams = roles, teams
	return a, []store.Op{a.save()}, nil
}

// BackChannelLogout ends the sessions that a logout token of the provider names (OpenID Connect Back-Channel Logout 1.0): those of its
// sid, or all of its sub. A token counts once. A person who is not known here is no error.
func (id *Identity) BackChannelLogout(ctx context.Context, raw string, m Meta) error {
	cfg := id.Config.Provider
	if cfg == nil {
		return fmt.Errorf("no provider is configured: %w", coffer.ErrUnsupported)
	}
	j, err := id.logoutToken(ctx, raw)
	if err != nil {
		return id.refusedToken(ctx, nobody, byLogout, err, m)
	}
	seen := put(store.Key{Part: "IJ#" + id.hash("logout", j.text("jti")), Sort: "logout"}, struct{}{}, store.Absent, id.Now().Add(maxLife+MaxSkew))
	if err := id.DB.Apply(ctx, seen); err != nil {
		if errors.Is(err, coffer.ErrConflict) {
			return id.refusedToken(ctx, nobody, byLogout, refuse(ReplayedLogout), m)
		}
		return fmt.Errorf("noting a logout token: %w", err)
	}
	var a *account
	if sub := j.text("sub"); sub != "" {
		if a, err = id.account(ctx, id.person(cfg.Issuer, sub)); errors.Is(err, coffer.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
	}
	sid := j.text("sid")
	if sid == "" {
		a.Epoch++
		return id.loggedOut(ctx, a, "", m, a.save())
	}
	for it, err := range id.DB.Query(ctx, sidPart(id.hash("sid", cfg.Issuer+"\x00"+sid)), store.Range{}) {
		if err != nil {
			return fmt.Errorf("sessions of a logout token: %w", err)
		}
		var hash string
		if _, err := id.get(ctx, it.Key, &hash); err != nil {
			continue // ended meanwhile
		}
		s, owner, err := id.openHash(ctx, hash)
		if causeOf(err) != "" || err == nil && a != nil && owner.ID != a.ID {
			continue
		}
		if err != nil {
			return err
		}
		if err := id.loggedOut(ctx, owner, s.ID, m, s.end()...); err != nil {
			return err
		}
	}
	return nil
}

func (id *Identity) loggedOut(ctx context.Context, a *account, session string, m Meta, ops ...store.Op) error {
	p, err := id.Guard.Check(ctx, a.caller(""), access.SessionEnd, access.Resource{Kind: access.System}, id.context(m))
	if err != nil {
		return err
	}
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"by": "provider"}
	if session != "" {
		e.Detail["session"] = session
	}
	if _, err := id.Guard.Log.Apply(ctx, e, ops...); err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	return nil
}

func (id *Identity) logoutToken(ctx context.Context, raw string) (*jwt, error) {
	j, err := parseJWT(raw)
	if err != nil {
		return nil, err
	}
	if j.typ != "" && j.typ != "jwt" && j.typ != "logout+jwt" {
		return nil, refuse(WrongType)
	}
	p, err := id.discover(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.keys.verify(ctx, j); err != nil {
		return nil, err
	}
	cfg := id.Config.Provider
	if err := j.check(cfg.Issuer, cfg.ClientID, j.audience(), id.Now()); err != nil {
		return nil, err
	}
	if j.claims["nonce"] != nil {
		return nil, refuse(WrongType)
	}
	if j.text("jti") == "" || j.text("sub") == "" && j.text("sid") == "" {
		return nil, refuse(MissingClaim)
	}
	if _, err := id.second(j).VerifyLogout(ctx, raw); err != nil {
		return nil, refuse(WrongType)
	}
	return j, nil
}
