package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/identity"
)

func TestConfig(t *testing.T) {
	good := func() identity.Config {
		roles := identity.Mapping{Claim: "groups", Values: map[string]string{"g": access.RoleEngineer}}
		return identity.Config{
			Origin: "https://coffer.example", Idle: time.Minute, Absolute: 24 * time.Hour,
			Provider: &identity.Provider{Issuer: "https://id.example/realm", ClientID: "coffer", Roles: roles},
			Issuers:  []identity.Issuer{{Issuer: "https://id.example", JWKS: "https://id.example/keys", Audience: "coffer", Roles: roles}},
		}
	}
	c := good()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"http://127.0.0.1:8443", "http://localhost", "http://[::1]:80"} {
		if c.Origin = origin; c.Check() != nil {
			t.Errorf("%s is refused", origin)
		}
	}
	for what, change := range map[string]func(*identity.Config){
		"http beyond this machine":  func(c *identity.Config) { c.Origin = "http://coffer.example" },
		"origin with a path":        func(c *identity.Config) { c.Origin = "https://coffer.example/app" },
		"origin with a user":        func(c *identity.Config) { c.Origin = "https://a@coffer.example" },
		"no origin":                 func(c *identity.Config) { c.Origin = "" },
		"idle for long":             func(c *identity.Config) { c.Idle = 2 * time.Hour },
		"sessions for days":         func(c *identity.Config) { c.Absolute = 25 * time.Hour },
		"issuer over http":          func(c *identity.Config) { c.Provider.Issuer = "http://id.example" },
		"no client":                 func(c *identity.Config) { c.Provider.ClientID = "" },
		"symmetric":                 func(c *identity.Config) { c.Provider.Algorithms = []string{"HS256"} },
		"none":                      func(c *identity.Config) { c.Issuers[0].Algorithms = []string{"none"} },
		"no roles":                  func(c *identity.Config) { c.Provider.Roles = identity.Mapping{Claim: "groups"} },
		"the operator's role":       func(c *identity.Config) { c.Provider.Roles.Values = map[string]string{"g": access.RoleOperator} },
		"no audience":               func(c *identity.Config) { c.Issuers[0].Audience = "" },
		"keys over http":            func(c *identity.Config) { c.Issuers[0].JWKS = "http://id.example/keys" },
		"keys from a file":          func(c *identity.Config) { c.Issuers[0].JWKS = "file:///etc/keys" },
		"an issuer twice":           func(c *identity.Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) },
		"a scope for what is not":   func(c *identity.Config) { c.Issuers[0].Scopes = map[string][]access.Action{"x": {"everything"}} },
		"a team that is no name":    func(c *identity.Config) { c.Issuers[0].Teams.Values = map[string]string{"g": "a b"} },
		"an address that is no URL": func(c *identity.Config) { c.Issuers[0].JWKS = "://" },
	} {
		c := good()
		change(&c)
		if err := c.Check(); !errors.Is(err, coffer.ErrInvalid) || !strings.HasPrefix(err.Error(), "identity: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzBearer: whatever comes as a token is refused without a panic.
func FuzzBearer(f *testing.F) {
	is := newIssuer(f)
	w := newWorld(f, identity.Config{Issuers: []identity.Issuer{{
		Issuer: "https://issuer.example", JWKS: is.URL, Audience: "coffer",
		Roles: identity.Mapping{Claim: "a.b", Values: map[string]string{"eng": access.RoleEngineer}},
	}}})
	now := w.now().Unix()
	header := asJSON(map[string]any{"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"})
	claims := asJSON(map[string]any{
		"iss": "https://issuer.example", "aud": "coffer", "sub": "s", "client_id": "c", "jti": "j", "iat": now, "exp": now + 60, "scope": "finding.list",
		"a": map[string]any{"b": []string{"eng"}},
	})
	f.Add(header, claims)
	f.Add([]byte(`{"alg":"none"}`), []byte(`{}`))
	f.Add([]byte("{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"rsa-1\"}"), []byte(`{"exp":1e400,"aud":[[[]]]}`))
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		// Signed rightly, so that the judgement of the claims is reached.
		who, _, err := w.Bearer(ctx, compact(header, claims, signRS256(is.rsa)), meta)
		if err == nil && (who.ID == "" || len(who.Scopes) == 0 || who.Kind != access.TokenCaller) {
			t.Errorf("let in as %+v", who)
		}
		_, _, _ = w.Bearer(ctx, string(header)+"."+string(claims)+".", meta)
	})
}
