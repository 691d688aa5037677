// Package identitytest has an OpenID Connect provider for tests: the implementation of zitadel/oidc over a storage of its own. How people
// prove who they are is up to the test.
package identitytest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/identity"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ClientID and ClientSecret are those of the one client, which is Coffer.
const (
	ClientID     = "coffer-portal"
	ClientSecret = "a secret of the provider's client"
)

// Settings are what a test can change while the provider runs.
type Settings struct {
	Key      *rsa.PrivateKey
	KeyID    string
	Redirect string // the one redirect URI that is registered
	// AnswersIss makes the provider promise the parameter iss of RFC 9207 in its answers, which it does not send.
	AnswersIss bool
	Down       bool // every request is answered with 503
	// People can sign in on the provider's page, by their name: how, is written into the request.
	People map[string]func(*Request)
}

// Provider runs on a port of this machine until the test ends. It is safe for concurrent use.
type Provider struct {
	op.Storage // the parts of the contract that the tests do not reach
	*httptest.Server

	mu       sync.Mutex
	requests map[string]*Request
	codes    map[string]string
	now      Settings
}

// Request is one authorisation request, and what came of it.
type Request struct {
	*oidc.AuthRequest
	Subject, ACR string
	AMR, Groups  []string
	At           time.Time // when it was proved
	id           string
	done         bool
}

// GetID implements op.AuthRequest.
func (r *Request) GetID() string { return r.id }

// GetACR implements op.AuthRequest.
func (r *Request) GetACR() string { return r.ACR }

// GetAMR implements op.AuthRequest.
func (r *Request) GetAMR() []string { return r.AMR }

// GetAudience implements op.AuthRequest.
func (r *Request) GetAudience() []string { return []string{r.ClientID} }

// GetAuthTime implements op.AuthRequest.
func (r *Request) GetAuthTime() time.Time { return r.At }

// GetClientID implements op.AuthRequest.
func (r *Request) GetClientID() string { return r.ClientID }

// GetNonce implements op.AuthRequest.
func (r *Request) GetNonce() string { return r.Nonce }

// GetRedirectURI implements op.AuthRequest.
func (r *Request) GetRedirectURI() string { return r.RedirectURI }

// GetScopes implements op.AuthRequest.
func (r *Request) GetScopes() []string { return r.Scopes }

// GetState implements op.AuthRequest.
func (r *Request) GetState() string { return r.State }

// GetSubject implements op.AuthRequest.
func (r *Request) GetSubject() string { return r.Subject }

// Done implements op.AuthRequest.
func (r *Request) Done() bool { return r.done }

// GetResponseType implements op.AuthRequest.
func (r *Request) GetResponseType() oidc.ResponseType { return r.ResponseType }

// GetResponseMode implements op.AuthRequest.
func (r *Request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }

// GetCodeChallenge implements op.AuthRequest.
func (r *Request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// NewProvider starts a provider that signs with key and sends people back to redirect.
func NewProvider(t testing.TB, key *rsa.PrivateKey, redirect string) *Provider {
	t.Helper()
	p := &Provider{requests: map[string]*Request{}, codes: map[string]string{}, now: Settings{Key: key, KeyID: "key-1", Redirect: redirect}}
	var handler http.Handler
	p.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		s := p.Settings()
		switch {
		case s.Down:
			rw.WriteHeader(http.StatusServiceUnavailable)
		case req.URL.Path == "/login":
			p.login(rw, req, s.People)
		case s.AnswersIss && req.URL.Path == oidc.DiscoveryEndpoint:
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, req)
			var doc map[string]any
			_ = json.Unmarshal(rec.Body.Bytes(), &doc)
			doc["authorization_response_iss_parameter_supported"] = true
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(doc) // whoever asked may be gone
		default:
			handler.ServeHTTP(rw, req)
		}
	}))
	t.Cleanup(p.Close)
	provider, err := op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte("test")), CryptoKeyId: "k", CodeMethodS256: true}, p, op.StaticIssuer(p.URL),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	handler = provider
	return p
}

// Settings returns what holds now.
func (p *Provider) Settings() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// Change changes what holds from now on.
func (p *Provider) Change(f func(*Settings)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.now)
}

// Prove says who the person behind an authorisation request is: who writes it into the request, which is that of somebody of the groups
// coffer-eng and others who just typed a password. It reports the request, false when there is none of this id.
func (p *Provider) Prove(id string, who func(*Request)) (*oidc.AuthRequest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	req := p.requests[id]
	if req == nil {
		return nil, false
	}
	req.At, req.done = time.Now(), true
	req.AMR, req.Groups = []string{"pwd"}, []string{"coffer-eng", "others"}
	who(req)
	return req.AuthRequest, true
}

// door is the provider's page on which a browser says who it is.
var door = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Provider</title><h1>Who are you?</h1>
<form method="post">{{range $name, $_ := .}}<button name="who" value="{{$name}}">{{$name}}</button>{{end}}</form></html>`))

func (p *Provider) login(rw http.ResponseWriter, req *http.Request, people map[string]func(*Request)) {
	if req.Method != http.MethodPost {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = door.Execute(rw, people) // whoever asked may be gone
		return
	}
	id := req.URL.Query().Get("id")
	who := people[req.PostFormValue("who")]
	if who == nil {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	if _, ok := p.Prove(id, who); !ok {
		rw.WriteHeader(http.StatusNotFound)
		return
	}
	http.Redirect(rw, req, "/authorize/callback?id="+id, http.StatusSeeOther)
}

// CreateAuthRequest implements op.Storage.
func (p *Provider) CreateAuthRequest(_ context.Context, a *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	req := &Request{AuthRequest: a, id: rand.Text()}
	p.requests[req.id] = req
	return req, nil
}

// AuthRequestByID implements op.Storage.
func (p *Provider) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if req, ok := p.requests[id]; ok {
		return req, nil
	}
	return nil, errors.New("no such request")
}

// AuthRequestByCode implements op.Storage.
func (p *Provider) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	p.mu.Lock()
	id := p.codes[code]
	p.mu.Unlock()
	return p.AuthRequestByID(ctx, id)
}

// SaveAuthCode implements op.Storage.
func (p *Provider) SaveAuthCode(_ context.Context, id, code string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = id
	return nil
}

// DeleteAuthRequest implements op.Storage.
func (p *Provider) DeleteAuthRequest(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.requests, id)
	return nil
}

// CreateAccessToken implements op.Storage.
func (p *Provider) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
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

// SigningKey implements op.Storage.
func (p *Provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return signing{id: p.now.KeyID, key: p.now.Key}, nil
}

// SignatureAlgorithms implements op.Storage.
func (p *Provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet implements op.Storage.
func (p *Provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []op.Key{signing{id: p.now.KeyID, key: p.now.Key, public: true}}, nil
}

// GetClientByClientID implements op.Storage.
func (p *Provider) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID {
		return nil, errors.New("no such client")
	}
	return portal{p.Settings().Redirect}, nil
}

// AuthorizeClientIDSecret implements op.Storage.
func (p *Provider) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != ClientID || secret != ClientSecret {
		return errors.New("wrong client")
	}
	return nil
}

// SetUserinfoFromScopes implements op.Storage.
func (p *Provider) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest implements op.Storage.
func (p *Provider) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, token op.IDTokenRequest, _ []string) error {
	req, ok := token.(*Request)
	if !ok {
		return errors.New("another kind of request")
	}
	info.Subject = req.Subject
	info.AppendClaims("groups", req.Groups)
	info.AppendClaims("sid", "sid-of-"+req.Subject)
	info.AppendClaims("preferred_username", "Name of "+req.Subject)
	return nil
}

// TerminateSession ends nothing: who comes again is asked again.
func (p *Provider) TerminateSession(context.Context, string, string) error { return nil }

// Health implements op.Storage.
func (p *Provider) Health(context.Context) error { return nil }

// portal is Coffer as the provider's client.
type portal struct{ redirect string }

func (portal) GetID() string            { return ClientID }
func (p portal) RedirectURIs() []string { return []string{p.redirect} }
func (p portal) PostLogoutRedirectURIs() []string {
	return []string{strings.TrimSuffix(p.redirect, identity.CallbackPath) + "/"}
}
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
