package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"coffer/access"
	"coffer/app"
	"coffer/identity"
)

// identityOf is who may come to the function api, as the program reads it from its environment.
func identityOf(t *testing.T, parameters map[string]any) identity.Config {
	t.Helper()
	s := newStack(t, template(t), parameters)
	env := s.resources["ApiFunction"].properties["Environment"].(map[string]any)["Variables"].(map[string]any)
	c, err := app.Environment(func(name string) string { v, _ := env[name].(string); return v })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Identity.Check(); err != nil {
		t.Fatalf("%v in %v", err, env["COFFER_CONFIG"])
	}
	return c.Identity
}

// TestSignIn: with a user pool people sign in there and bring its tokens; with another provider as the parameters say; and roles of AWS
// come when they are named.
func TestSignIn(t *testing.T) {
	pool := identityOf(t, full())
	if p := pool.Provider; p == nil || !slices.Equal(p.MFA, []string{identity.EverySignIn}) || p.Issuer != pool.Issuers[0].Issuer || p.ClientID != pool.Issuers[0].Audience {
		t.Errorf("the provider is not the pool: %+v", p)
	}
	if is := pool.Issuers[0]; !is.Cognito || is.ScopePrefix != "coffer/" || is.Roles.Claim != "cognito:groups" {
		t.Errorf("the issuer is not the pool: %+v", is)
	}
	other := identityOf(t, plain())
	if other.Provider != nil || other.Issuers[0].Cognito || other.Issuers[0].Audience != "coffer" || len(other.IAM) != 0 {
		t.Errorf("tokens of another issuer alone: %+v", other)
	}
	p := plain()
	p["ClientId"], p["Signers"] = "portal", `[{"arn":"arn:aws:iam::111122223333:role/engineer","roles":["engineer"],"scopes":["finding.list"]}]`
	other = identityOf(t, p)
	if other.Provider == nil || other.Provider.ClientID != "portal" || other.Provider.Issuer != "https://id.moontrust.example" || len(other.Provider.MFA) != 0 {
		t.Errorf("another provider: %+v", other.Provider)
	}
	if len(other.IAM) != 1 || other.IAM[0].Roles[0] != access.RoleEngineer {
		t.Errorf("signers: %+v", other.IAM)
	}
}

// TestScopes: tokens of the user pool can be asked for every action that a token may be good for, and for nothing else.
func TestScopes(t *testing.T) {
	s := newStack(t, template(t), full())
	var defined []string
	for _, x := range s.resources["UserPoolScopes"].properties["Scopes"].([]any) {
		defined = append(defined, x.(map[string]any)["ScopeName"].(string))
	}
	var allowed []string
	for _, x := range s.resources["UserPoolClient"].properties["AllowedOAuthScopes"].([]any) {
		if name, ok := strings.CutPrefix(x.(string), "coffer/"); ok {
			allowed = append(allowed, name)
		}
	}
	var want []string
	for _, a := range access.Actions {
		// Sessions are of browsers, and the glass is broken by people who are there.
		if a.Action != access.SessionStart && a.Action != access.SessionEnd && a.Action != access.AccessBreak {
			want = append(want, string(a.Action))
		}
	}
	for name, got := range map[string][]string{"the resource server": defined, "the client": allowed} {
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s has the scopes %q", name, got)
		}
	}
	if n := len(allowed) + 2; n > 50 {
		t.Errorf("%d scopes of a client, of which Cognito takes 50", n)
	}
}
