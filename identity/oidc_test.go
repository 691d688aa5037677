package identity_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// realm is a provider: the implementation of zitadel/oidc over a storage of the tests. How people prove who they are is up to the test.
type realm struct {
	op.Storage // the parts of the contract that these tests do not reach
	*httptest.Server
	client *http.Client

	mu         sync.Mutex
	requests   map[string]*request
	codes      map[string]string
	key        *rsa.PrivateKey
	kid        string
	redirect   string
	answersIss bool
	down       bool
}

// request is one authorisation request, and what came of it.
type request struct {
	*oidc.AuthRequest
	id, sub, acr string
	amr, groups  []string
	at           time.Time
	done         bool
}

func (r *request) GetID() string                      { return r.id }
func (r *request) GetACR() string                     { return r.acr }
func (r *request) GetAMR() []string                   { return r.amr }
func (r *request) GetAudience() []string              { return []string{r.ClientID} }
func (r *request) GetAuthTime() time.Time             { return r.at }
func (r *request) GetClientID() string                { return r.ClientID }
func (r *request) GetNonce() string                   { return r.Nonce }
func (r *request) GetRedirectURI() string             { return r.RedirectURI }
func (r *request) GetScopes() []string                { return r.Scopes }
func (r *request) GetState() string                   { return r.State }
func (r *request) GetSubject() string                 { return r.sub }
func (r *request) Done() bool                         { return r.done }
func (r *request) GetResponseType() oidc.ResponseType { return r.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

const (
	clientID     = "coffer-portal"
	clientSecret = "a secret of the provider's client"
)

func newRealm(t testing.TB) *realm {
	t.Helper()
	r := &realm{
		requests: map[string]*request{}, codes: map[string]string{}, key: testKeys()[0], kid: "key-1", redirect: "https://coffer.example" + identity.CallbackPath,
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	var handler http.Handler
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		answersIss, down := r.answersIss, r.down
		r.mu.Unlock()
		if down {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if !answersIss || req.URL.Path != oidc.DiscoveryEndpoint {
			handler.ServeHTTP(rw, req)
			return
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		var doc map[string]any
		_ = json.Unmarshal(rec.Body.Bytes(), &doc)
		doc["authorization_response_iss_parameter_supported"] = true
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(asJSON(doc))
	}))
	t.Cleanup(r.Close)
	provider, err := op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte("test")), CryptoKeyId: "k", CodeMethodS256: true}, r, op.StaticIssuer(r.URL),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	handler = provider
	return r
}

func (r *realm) config() identity.Config {
	return identity.Config{Provider: &identity.Provider{
		Issuer: r.URL, ClientID: clientID, ClientSecret: clientSecret,
		Roles: identity.Mapping{Claim: "groups", Values: map[string]string{"coffer-eng": access.RoleEngineer, "coffer-aud": access.RoleAuditor}},
		ACR:   []string{"urn:strong"}, MFA: []string{"urn:strong"},
	}}
}

func (r *realm) CreateAuthRequest(_ context.Context, a *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	req := &request{AuthRequest: a, id: rand.Text()}
	r.requests[req.id] = req
	return req, nil
}

func (r *realm) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req, ok := r.requests[id]; ok {
		return req, nil
	}
	return nil, errors.New("no such request")
}

func (r *realm) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r.mu.Lock()
	id := r.codes[code]
	r.mu.Unlock()
	return r.AuthRequestByID(ctx, id)
}

func (r *realm) SaveAuthCode(_ context.Context, id, code string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[code] = id
	return nil
}

func (r *realm) DeleteAuthRequest(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.requests, id)
	return nil
}

func (r *realm) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(5 * time.Minute), nil
}

// signing is the provider's key, as the contract wants it.
type signing struct {
	id     string
	key    *rsa.PrivateKey
	public bool
}

func (s signing) ID() string                                  { return s.id }
func (s signing) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (s signing) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (s signing) Use() string                                 { return "sig" }
func (s signing) Key() any {
	if s.public {
		return &s.key.PublicKey
	}
	return s.key
}

func (r *realm) SigningKey(context.Context) (op.SigningKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return signing{id: r.kid, key: r.key}, nil
}

func (r *realm) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (r *realm) KeySet(context.Context) ([]op.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []op.Key{signing{id: r.kid, key: r.key, public: true}}, nil
}

func (r *realm) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != clientID {
		return nil, errors.New("no such client")
	}
	return portal{r.redirect}, nil
}

func (r *realm) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != clientID || secret != clientSecret {
		return errors.New("wrong client")
	}
	return nil
}

func (r *realm) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (r *realm) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, token op.IDTokenRequest, _ []string) error {
	req, ok := token.(*request)
	if !ok {
		return errors.New("another kind of request")
	}
	info.Subject = req.sub
	info.AppendClaims("groups", req.groups)
	info.AppendClaims("sid", "sid-of-"+req.sub)
	info.AppendClaims("preferred_username", "Name of "+req.sub)
	return nil
}

func (r *realm) Health(context.Context) error { return nil }

// portal is Coffer as the provider's client.
type portal struct{ redirect string }

func (portal) GetID() string                        { return clientID }
func (p portal) RedirectURIs() []string             { return []string{p.redirect} }
func (portal) PostLogoutRedirectURIs() []string     { return []string{"https://coffer.example/"} }
func (portal) ApplicationType() op.ApplicationType  { return op.ApplicationTypeWeb }
func (portal) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethodBasic }
func (portal) ResponseTypes() []oidc.ResponseType   { return []oidc.ResponseType{oidc.ResponseTypeCode} }
func (portal) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (portal) LoginURL(id string) string            { return "/login?id=" + id }
func (portal) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (portal) IDTokenLifetime() time.Duration       { return 10 * time.Minute }
func (portal) DevMode() bool                        { return false }
func (portal) IsScopeAllowed(string) bool           { return false }
func (portal) IDTokenUserinfoClaimsAssertion() bool { return true }
func (portal) ClockSkew() time.Duration             { return 0 }
func (portal) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (portal) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

// visit follows a browser to the provider, where it is decided who it is, and returns the answer with which it comes back, and what the
// provider was asked.
func (r *realm) visit(t testing.TB, to string, who func(*request)) (url.Values, *oidc.AuthRequest) {
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
	r.mu.Lock()
	req := r.requests[id]
	if req != nil {
		req.at, req.done = time.Now(), true
		req.amr, req.groups = []string{"pwd"}, []string{"coffer-eng", "others"}
		who(req)
	}
	r.mu.Unlock()
	if req == nil {
		t.Fatalf("the provider refuses the request")
	}
	back := get(r.URL + "/authorize/callback?id=" + id)
	if base, _, _ := strings.Cut(back.String(), "?"); base != r.redirect {
		t.Fatalf("sent back to %s", base)
	}
	return back.Query(), req.AuthRequest
}

func maria(r *request) { r.sub = "maria-sub" }

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
	w.secret(clientSecret)
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
	theirs, _ := r.visit(t, one.URL, func(r *request) { r.sub = "eve-sub" })
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
	answer, _ = r.visit(t, again.URL, func(r *request) { maria(r); r.groups = []string{"coffer-aud"} })
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
func (r *realm) enter(w *world, who func(*request)) (string, identity.Session) {
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
	try := func(who func(*request)) (string, identity.Session, error) {
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
	strong := func(r *request) { maria(r); r.acr, r.amr = "urn:strong", []string{"pwd", "otp", "mfa"} }
	_, _, err := try(func(r *request) { strong(r); r.sub = "eve-sub" })
	refused(t, "somebody else proves who they are", err, identity.OtherPerson)
	_, _, err = try(maria)
	refused(t, "not as strong as asked for", err, identity.WeakSignIn)
	_, _, err = try(func(r *request) { strong(r); r.at = r.at.Add(-5 * time.Minute) })
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
	r.mu.Lock()
	r.key, r.kid = testKeys()[1], "key-2"
	r.mu.Unlock()
	w.pass(31 * time.Second)
	r.enter(w, maria)

	// The document promises the parameter iss: without it, or with another's, nothing is taken.
	r.mu.Lock()
	r.answersIss = true
	r.mu.Unlock()
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

	r.mu.Lock()
	r.redirect = "https://evil.example/auth/callback"
	r.mu.Unlock()
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
	r.mu.Lock()
	r.down, r.redirect = true, "https://coffer.example"+identity.CallbackPath
	r.mu.Unlock()
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
	eveIn, _ := r.enter(w, func(r *request) { r.sub = "eve-sub" })
	now := w.now().Unix()
	events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	token := func(set ...any) string {
		c := map[string]any{"iss": r.URL, "aud": clientID, "iat": now, "exp": now + 120, "jti": rand.Text(), "events": events}
		for i := 0; i < len(set); i += 2 {
			c[set[i].(string)] = set[i+1]
		}
		return compact(asJSON(map[string]any{"alg": "RS256", "typ": "logout+jwt", "kid": r.kid}), asJSON(c), signRS256(r.key))
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
		Issuer: self.URL, ClientID: clientID, Roles: identity.Mapping{Claim: "groups", Values: map[string]string{"eng": access.RoleEngineer}},
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
		{"right, with a party", nil, set{"aud": []string{clientID, "other"}, "azp": clientID}, nil, ""},
		{"another's nonce", nil, set{"nonce": "another"}, nil, identity.WrongNonce},
		{"no nonce", nil, set{"nonce": nil}, nil, identity.WrongNonce},
		{"for another client", nil, set{"aud": "other"}, nil, identity.WrongAudience},
		{"for several, no party", nil, set{"aud": []string{clientID, "other"}}, nil, identity.WrongParty},
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
			"iss": self.URL, "aud": clientID, "sub": "s", "iat": now, "exp": now + 600, "nonce": q.Get("nonce"), "auth_time": now, "groups": "eng",
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
