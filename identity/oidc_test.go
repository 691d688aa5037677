package identity_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"
	"coffer/identity/identitytest"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// realm is a provider with the groups of these tests.
type realm struct {
	*identitytest.Provider
	client *http.Client
}

const redirect = "https://coffer.example" + identity.CallbackPath

func newRealm(t testing.TB) *realm {
	t.Helper()
	return &realm{
		Provider: identitytest.NewProvider(t, testKeys()[0], redirect),
		client:   &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

func (r *realm) config() identity.Config {
	return identity.Config{Provider: &identity.Provider{
		Issuer: r.URL, ClientID: identitytest.ClientID, ClientSecret: identitytest.ClientSecret,
		Roles: identity.Mapping{Claim: "groups", Values: map[string]string{"coffer-eng": access.RoleEngineer, "coffer-aud": access.RoleAuditor}},
		ACR:   []string{"urn:strong"}, MFA: []string{"urn:strong"},
	}}
}

// visit follows a browser to the provider, where it is decided who it is, and returns the answer with which it comes back, and what the
// provider was asked.
func (r *realm) visit(t testing.TB, to string, who func(*identitytest.Request)) (url.Values, *oidc.AuthRequest) {
	t.Helper()
	get := func(to string) *url.URL {
		resp, err := r.client.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		next, err := resp.Location()
		if err != nil {
			t.Fatalf("the provider answers %d", resp.StatusCode)
		}
		return next
	}
	login := get(to)
	id := login.Query().Get("id")
	req, ok := r.Prove(id, who)
	if !ok {
		t.Fatalf("the provider refuses the request")
	}
	back := get(r.URL + "/authorize/callback?id=" + id)
	if base, _, _ := strings.Cut(back.String(), "?"); base != redirect {
		t.Fatalf("sent back to %s", base)
	}
	return back.Query(), req
}

func maria(r *identitytest.Request) { r.Subject = "maria-sub" }

// realTime sets the clock of the installation to the real one, by which the provider stamps its tokens.
func realTime(w *world) *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = time.Now().UTC()
	return w
}

func TestProvider(t *testing.T) {
	r := newRealm(t)
	w := realTime(newWorld(t, r.config()))
	w.secret(identitytest.ClientSecret)
	to, err := w.BeginOIDC(ctx, "/findings?status=open", "")
	if err != nil {
		t.Fatal(err)
	}
	w.secret(to.Secret)
	answer, asked := r.visit(t, to.URL, maria)
	if asked.CodeChallengeMethod != oidc.CodeChallengeMethodS256 || len(asked.CodeChallenge) != 43 || asked.Nonce == "" || len(answer.Get("state")) != 43 {
		t.Errorf("asked for %+v", asked)
	}
	w.secret(answer.Get("state"))
	w.secret(asked.Nonce)
	w.secret(answer.Get("code"))

	// Another browser, first: it gets nothing and takes nothing away.
	_, _, _, err = w.FinishOIDC(ctx, answer, "", meta)
	refused(t, "no browser secret", err, identity.ForeignBrowser)
	foreign, err := w.BeginOIDC(ctx, "/", "")
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = w.FinishOIDC(ctx, answer, foreign.Secret, meta)
	refused(t, "another browser's secret", err, identity.ForeignBrowser)
	wrong := url.Values{"code": answer["code"], "state": answer["state"], "iss": {"https://evil.example"}}
	_, _, _, err = w.FinishOIDC(ctx, wrong, to.Secret, meta)
	refused(t, "an answer of another issuer", err, identity.WrongIssuer)

	cookie, s, back, err := w.FinishOIDC(ctx, answer, to.Secret, meta)
	if err != nil {
		t.Fatal(identity.CauseOf(err), err)
	}
	w.secret(cookie)
	if back != "/findings?status=open" || s.How != identity.ByOIDC || s.MFA || !slices.Equal(s.Caller.Roles, []string{access.RoleEngineer}) ||
		s.Caller.Name != "Name of maria-sub" || w.now().Sub(s.SignedIn) > time.Minute {
		t.Errorf("session %+v, back to %s", s, back)
	}
	w.live("the cookie", cookie)

	// Replays.
	_, _, _, err = w.FinishOIDC(ctx, answer, to.Secret, meta)
	refused(t, "the whole answer again", err, identity.Used)
	next, err := w.BeginOIDC(ctx, "/", "")
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := r.visit(t, next.URL, maria)
	mixed := url.Values{"code": answer["code"], "state": fresh["state"]}
	_, _, _, err = w.FinishOIDC(ctx, mixed, next.Secret, meta)
	refused(t, "an old code with a new state", err, identity.WrongCode)
	_, _, _, err = w.FinishOIDC(ctx, fresh, next.Secret, meta)
	refused(t, "a state that was used up", err, identity.Used)

	// A code that was meant for somebody else's conversation: PKCE.
	one, _ := w.BeginOIDC(ctx, "/", "")
	two, _ := w.BeginOIDC(ctx, "/", "")
	theirs, _ := r.visit(t, one.URL, func(r *identitytest.Request) { r.Subject = "eve-sub" })
	mine, _ := r.visit(t, two.URL, maria)
	_, _, _, err = w.FinishOIDC(ctx, url.Values{"code": theirs["code"], "state": mine["state"]}, two.Secret, meta)
	refused(t, "another's code", err, identity.WrongCode)

	for what, bad := range map[string]url.Values{
		"nothing":        {},
		"no state":       {"code": {"x"}},
		"unknown state":  {"code": {"x"}, "state": {strings.Repeat("a", 43)}},
		"state as a key": {"code": {"x"}, "state": {"../../IU"}},
	} {
		_, _, _, err := w.FinishOIDC(ctx, bad, to.Secret, meta)
		refused(t, what, err, identity.Unknown)
	}
	_, _, _, err = w.FinishOIDC(ctx, url.Values{"state": {"a", "b"}}, to.Secret, meta)
	refused(t, "a parameter twice", err, identity.Malformed)
	late, _ := w.BeginOIDC(ctx, "/", "")
	answer, _ = r.visit(t, late.URL, maria)
	w.pass(10 * time.Minute)
	_, _, _, err = w.FinishOIDC(ctx, answer, late.Secret, meta)
	refused(t, "after ten minutes", err, identity.Expired)
	w.pass(-10 * time.Minute)
	denied, _ := w.BeginOIDC(ctx, "/", "")
	state := mustQuery(t, denied.URL).Get("state")
	_, _, _, err = w.FinishOIDC(ctx, url.Values{"error": {"access_denied"}, "state": {state}}, denied.Secret, meta)
	refused(t, "the provider says no", err, identity.ProviderRefused)

	// Roles are the provider's of the last sign-in; a new sign-in takes one away from the old session too.
	again, _ := w.BeginOIDC(ctx, "//evil.example/", "")
	answer, _ = r.visit(t, again.URL, func(r *identitytest.Request) { maria(r); r.Groups = []string{"coffer-aud"} })
	if _, s, back, err = w.FinishOIDC(ctx, answer, again.Secret, meta); err != nil || back != "/" {
		t.Fatal(back, err)
	}
	if old := w.live("the first session", cookie); !slices.Equal(old.Caller.Roles, []string{access.RoleAuditor}) || old.Caller.ID != s.Caller.ID {
		t.Errorf("roles %v", old.Caller.Roles)
	}
	if err := w.SetRoles(ctx, w.op(), s.Caller.ID, []string{access.RoleApprover}, nil); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("roles given here: %v", err)
	}
	if users, err := w.Users(ctx, w.op()); err != nil || len(users) != 1 || users[0].Name != "Name of maria-sub" || users[0].Issuer != r.URL {
		t.Errorf("users %+v, %v", users, err)
	}

	// Local ways are off.
	if _, _, err := w.SignIn(ctx, "maria", passphrase, meta); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("a passphrase: %v", err)
	}
	if _, _, err := w.AddUser(ctx, w.op(), "maria", nil, nil); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("a local user: %v", err)
	}

	// Kept out here, whatever the provider says.
	if err := w.Disable(ctx, w.op(), s.Caller.ID, true); err != nil {
		t.Fatal(err)
	}
	out, _ := w.BeginOIDC(ctx, "/", "")
	answer, _ = r.visit(t, out.URL, maria)
	_, _, _, err = w.FinishOIDC(ctx, answer, out.Secret, meta)
	refused(t, "somebody who is kept out", err, identity.Disabled)
	if n := w.recorded(access.SessionStart, audit.Failed, "how", "oidc", "cause", "browser"); n != 2 {
		t.Errorf("%d entries of foreign browsers", n)
	}
}

func mustQuery(t testing.TB, s string) url.Values {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// enter signs somebody in at the provider.
func (r *realm) enter(w *world, who func(*identitytest.Request)) (string, identity.Session) {
	w.t.Helper()
	to, err := w.BeginOIDC(ctx, "/", "")
	if err != nil {
		w.t.Fatal(err)
	}
	answer, _ := r.visit(w.t, to.URL, who)
	cookie, s, _, err := w.FinishOIDC(ctx, answer, to.Secret, meta)
	if err != nil {
		w.t.Fatal(identity.CauseOf(err), err)
	}
	return w.secret(cookie), s
}

func TestProviderStepUp(t *testing.T) {
	r := newRealm(t)
	w := realTime(newWorld(t, r.config()))
	cookie, first := r.enter(w, maria)
	try := func(who func(*identitytest.Request)) (string, identity.Session, error) {
		to, err := w.BeginOIDC(ctx, "/reveal", cookie)
		if err != nil {
			t.Fatal(err)
		}
		answer, asked := r.visit(t, to.URL, who)
		if !slices.Equal(asked.Prompt, oidc.SpaceDelimitedArray{"login"}) || asked.MaxAge == nil || *asked.MaxAge != 0 ||
			!slices.Equal(asked.ACRValues, oidc.SpaceDelimitedArray{"urn:strong"}) {
			t.Errorf("asked for %v, max_age %v, acr %v", asked.Prompt, asked.MaxAge, asked.ACRValues)
		}
		c, s, _, err := w.FinishOIDC(ctx, answer, to.Secret, meta)
		return c, s, err
	}
	strong := func(r *identitytest.Request) { maria(r); r.ACR, r.AMR = "urn:strong", []string{"pwd", "otp", "mfa"} }
	_, _, err := try(func(r *identitytest.Request) { strong(r); r.Subject = "eve-sub" })
	refused(t, "somebody else proves who they are", err, identity.OtherPerson)
	_, _, err = try(maria)
	refused(t, "not as strong as asked for", err, identity.WeakSignIn)
	_, _, err = try(func(r *identitytest.Request) { strong(r); r.At = r.At.Add(-5 * time.Minute) })
	refused(t, "not asked anew", err, identity.WeakSignIn)
	w.live("the session is as it was", cookie)
	next, s, err := try(strong)
	if err != nil {
		t.Fatal(identity.CauseOf(err), err)
	}
	if !s.MFA || !s.Started.Equal(first.Started) || next == cookie {
		t.Errorf("session %+v", s)
	}
	_, err = w.Session(ctx, cookie, meta)
	refused(t, "the cookie before", err, identity.Unknown)
	if c := s.Context(w.now(), meta); !c.MFA || c.SignedIn.IsZero() || c.Network != meta.Network {
		t.Errorf("context %+v", c)
	}
	if to, err := w.SignOut(ctx, next, meta); err != nil || !strings.HasPrefix(to, r.URL+"/end_session?") || strings.Contains(to, "id_token") {
		t.Errorf("signs out at %q, %v", to, err)
	}
}

// TestProviderKeys: the provider changes its key, and the redirect URI that is registered there is not ours.
func TestProviderKeys(t *testing.T) {
	r := newRealm(t)
	w := realTime(newWorld(t, r.config()))
	r.enter(w, maria)
	r.Change(func(s *identitytest.Settings) { s.Key, s.KeyID = testKeys()[1], "key-2" })
	w.pass(31 * time.Second)
	r.enter(w, maria)

	// The document promises the parameter iss: without it, or with another's, nothing is taken.
	r.Change(func(s *identitytest.Settings) { s.AnswersIss = true })
	w = realTime(newWorld(t, r.config()))
	to, err := w.BeginOIDC(ctx, "/", "")
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := r.visit(t, to.URL, maria)
	_, _, _, err = w.FinishOIDC(ctx, answer, to.Secret, meta)
	refused(t, "no iss", err, identity.WrongIssuer)
	answer.Set("iss", r.URL)
	if _, _, _, err := w.FinishOIDC(ctx, answer, to.Secret, meta); err != nil {
		t.Errorf("with iss: %v", err)
	}

	r.Change(func(s *identitytest.Settings) { s.Redirect = "https://evil.example/auth/callback" })
	if to, err = w.BeginOIDC(ctx, "/", ""); err != nil {
		t.Fatal(err)
	}
	if got := mustQuery(t, to.URL).Get("redirect_uri"); got != "https://coffer.example"+identity.CallbackPath {
		t.Errorf("redirect URI %s", got)
	}
	resp, err := r.client.Get(to.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the provider takes a redirect URI that is not registered: %d", resp.StatusCode)
	}

	// The provider is away: an outage, and no refusal; nobody gets in.
	r.Change(func(s *identitytest.Settings) { s.Down, s.Redirect = true, redirect })
	w = realTime(newWorld(t, r.config()))
	if _, err := w.BeginOIDC(ctx, "/", ""); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("the provider is away: %v", err)
	}
	c := r.config()
	c.Provider.Issuer = "http://127.0.0.1:1"
	w = realTime(newWorld(t, c))
	if _, err := w.BeginOIDC(ctx, "/", ""); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestBackChannelLogout(t *testing.T) {
	r := newRealm(t)
	w := realTime(newWorld(t, r.config()))
	mariaIn, _ := r.enter(w, maria)
	eveIn, _ := r.enter(w, func(r *identitytest.Request) { r.Subject = "eve-sub" })
	now := w.now().Unix()
	events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	token := func(set ...any) string {
		c := map[string]any{"iss": r.URL, "aud": identitytest.ClientID, "iat": now, "exp": now + 120, "jti": rand.Text(), "events": events}
		for i := 0; i < len(set); i += 2 {
			c[set[i].(string)] = set[i+1]
		}
		return compact(asJSON(map[string]any{"alg": "RS256", "typ": "logout+jwt", "kid": r.Settings().KeyID}), asJSON(c), signRS256(r.Settings().Key))
	}
	for what, bad := range map[string]struct {
		raw  string
		want identity.Cause
	}{
		"nobody named":        {token(), identity.MissingClaim},
		"with a nonce":        {token("sub", "maria-sub", "nonce", "n"), identity.WrongType},
		"no event":            {token("sub", "maria-sub", "events", map[string]any{}), identity.WrongType},
		"for another":         {token("sub", "maria-sub", "aud", "other"), identity.WrongAudience},
		"of another":          {token("sub", "maria-sub", "iss", "https://evil.example"), identity.WrongIssuer},
		"of yesterday":        {token("sub", "maria-sub", "iat", now-7200, "exp", now-3600), identity.Expired},
		"without id":          {token("sub", "maria-sub", "jti", ""), identity.MissingClaim},
		"not a token":         {"logout please", identity.Malformed},
		"another's signature": {token("sub", "maria-sub")[:200], identity.Malformed},
	} {
		refused(t, what, w.BackChannelLogout(ctx, bad.raw, meta), bad.want)
	}
	w.live("after all that", mariaIn)

	out := token("sid", "sid-of-maria-sub")
	if err := w.BackChannelLogout(ctx, out, meta); err != nil {
		t.Fatal(err)
	}
	_, err := w.Session(ctx, mariaIn, meta)
	refused(t, "signed out at the provider", err, identity.Unknown)
	w.live("somebody else", eveIn)
	refused(t, "the token again", w.BackChannelLogout(ctx, out, meta), identity.ReplayedLogout)
	mariaIn, _ = r.enter(w, maria)
	if err := w.BackChannelLogout(ctx, token("sub", "maria-sub"), meta); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(ctx, mariaIn, meta)
	refused(t, "signed out everywhere at the provider", err, identity.Ended)
	if err := w.BackChannelLogout(ctx, token("sub", "a stranger"), meta); err != nil {
		t.Errorf("a stranger: %v", err)
	}
	if n := w.recorded(access.SessionEnd, audit.Done, "by", "provider"); n != 2 {
		t.Errorf("%d entries", n)
	}

	// A token of a person who has not been seen at the provider for a month is not good any more.
	_, s := r.enter(w, maria)
	_, text, err := w.CreateToken(ctx, w.as(s), s.Caller.ID, identity.TokenSpec{Scopes: []access.Action{access.FindingList}, Life: identity.MaxTokenLife})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(identity.MaxOwnerAbsence)
	if _, _, err := w.Bearer(ctx, w.secret(text), meta); err != nil {
		t.Errorf("after a month: %v", err)
	}
	w.pass(time.Second)
	_, _, err = w.Bearer(ctx, text, meta)
	refused(t, "after more than a month", err, identity.StaleOwner)
}

// TestIDTokens: what a provider's token endpoint could hand out and must not be taken.
func TestIDTokens(t *testing.T) {
	is := newIssuer(t)
	var answer map[string]any
	var self *httptest.Server
	self = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_, _ = rw.Write(asJSON(answer))
			return
		}
		_, _ = rw.Write(asJSON(map[string]any{
			"issuer": self.URL, "authorization_endpoint": self.URL + "/auth", "token_endpoint": self.URL + "/token", "jwks_uri": is.URL,
		}))
	}))
	t.Cleanup(self.Close)
	w := newWorld(t, identity.Config{Provider: &identity.Provider{
		Issuer: self.URL, ClientID: identitytest.ClientID, Roles: identity.Mapping{Claim: "groups", Values: map[string]string{"eng": access.RoleEngineer}},
	}})
	now := w.now().Unix()
	type set = map[string]any
	for _, c := range []struct {
		what   string
		header set
		claims set
		key    *rsa.PrivateKey
		want   identity.Cause
	}{
		{"right", nil, nil, nil, ""},
		{"right, with a party", nil, set{"aud": []string{identitytest.ClientID, "other"}, "azp": identitytest.ClientID}, nil, ""},
		{"another's nonce", nil, set{"nonce": "another"}, nil, identity.WrongNonce},
		{"no nonce", nil, set{"nonce": nil}, nil, identity.WrongNonce},
		{"for another client", nil, set{"aud": "other"}, nil, identity.WrongAudience},
		{"for several, no party", nil, set{"aud": []string{identitytest.ClientID, "other"}}, nil, identity.WrongParty},
		{"for another party", nil, set{"azp": "other"}, nil, identity.WrongParty},
		{"of another issuer", nil, set{"iss": "https://evil.example"}, nil, identity.WrongIssuer},
		{"expired", nil, set{"iat": now - 1000, "exp": now - 61}, nil, identity.Expired},
		{"no expiry", nil, set{"exp": nil}, nil, identity.MissingClaim},
		{"issued in the future", nil, set{"iat": now + 200}, nil, identity.NotYet},
		{"signed in in the future", nil, set{"auth_time": now + 200}, nil, identity.NotYet},
		{"an access token", set{"typ": "at+jwt"}, nil, nil, identity.WrongType},
		{"a logout token", set{"typ": "logout+jwt"}, nil, nil, identity.WrongType},
		{"another access token's hash", nil, set{"at_hash": b64(make([]byte, 16))}, nil, identity.WrongHash},
		{"no subject", nil, set{"sub": nil}, nil, identity.MissingClaim},
		{"another's key", nil, nil, is.other, identity.BadSignature},
		{"alg none", set{"alg": "none"}, nil, nil, identity.WrongAlgorithm},
		{"HS256", set{"alg": "HS256"}, nil, nil, identity.WrongAlgorithm},
		{"its own key", set{"jwk": rsaJWK("rsa-1", &is.other.PublicKey)}, nil, is.other, identity.BadHeader},
	} {
		to, err := w.BeginOIDC(ctx, "/", "")
		if err != nil {
			t.Fatal(err)
		}
		q := mustQuery(t, to.URL)
		header := set{"alg": "RS256", "kid": "rsa-1", "typ": "JWT"}
		claims := set{
			"iss": self.URL, "aud": identitytest.ClientID, "sub": "s", "iat": now, "exp": now + 600, "nonce": q.Get("nonce"), "auth_time": now, "groups": "eng",
		}
		for from, into := range map[*set]set{&c.header: header, &c.claims: claims} {
			for k, v := range *from {
				into[k] = v
				if v == nil {
					delete(into, k)
				}
			}
		}
		key := is.rsa
		if c.key != nil {
			key = c.key
		}
		answer = set{"access_token": "opaque", "token_type": "Bearer", "id_token": compact(asJSON(header), asJSON(claims), signRS256(key))}
		_, s, _, err := w.FinishOIDC(ctx, url.Values{"code": {"c"}, "state": {q.Get("state")}}, to.Secret, identity.Meta{})
		switch {
		case c.want != "":
			refused(t, c.what, err, c.want)
		case err != nil:
			t.Errorf("%s: %v for %s", c.what, err, identity.CauseOf(err))
		case !slices.Equal(s.Caller.Roles, []string{access.RoleEngineer}):
			t.Errorf("%s: %+v", c.what, s)
		}
	}
	to, _ := w.BeginOIDC(ctx, "/", "")
	answer = map[string]any{"access_token": "opaque", "token_type": "Bearer"}
	_, _, _, err := w.FinishOIDC(ctx, url.Values{"code": {"c"}, "state": {mustQuery(t, to.URL).Get("state")}}, to.Secret, identity.Meta{})
	refused(t, "no ID token", err, identity.MissingClaim)
}
