package identity_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"coffer/access"
	"coffer/identity"
	"coffer/internal/lookalike"
)

// TestCognito: a user pool of moto issues tokens to somebody in a group; the access token is good here, the ID token of the same
// sign-in and the access token of another client of the pool are not.
func TestCognito(t *testing.T) {
	moto := lookalike.Moto(t)
	call := func(out any, args ...string) {
		t.Helper()
		b := lookalike.AWS(t, moto, append([]string{"cognito-idp"}, args...)...)
		if out != nil {
			if err := json.Unmarshal(b, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	var pool struct{ UserPool struct{ Id string } }
	call(&pool, "create-user-pool", "--pool-name", "moontrust")
	client := func(name string) string {
		var c struct{ UserPoolClient struct{ ClientId string } }
		call(&c, "create-user-pool-client", "--user-pool-id", pool.UserPool.Id, "--client-name", name,
			"--explicit-auth-flows", "ALLOW_ADMIN_USER_PASSWORD_AUTH")
		return c.UserPoolClient.ClientId
	}
	ours, others := client("coffer"), client("another")
	call(nil, "admin-create-user", "--user-pool-id", pool.UserPool.Id, "--username", "maria")
	const passphrase = "Violet-harbour-sings-2" // as moto's own policy wants it
	call(nil, "admin-set-user-password", "--user-pool-id", pool.UserPool.Id, "--username", "maria", "--password", passphrase, "--permanent")
	call(nil, "create-group", "--user-pool-id", pool.UserPool.Id, "--group-name", "engineer")
	call(nil, "admin-add-user-to-group", "--user-pool-id", pool.UserPool.Id, "--username", "maria", "--group-name", "engineer")
	type tokens struct{ AccessToken, IdToken string }
	signIn := func(client string) tokens {
		var in struct{ AuthenticationResult tokens }
		call(&in, "admin-initiate-auth", "--user-pool-id", pool.UserPool.Id, "--client-id", client, "--auth-flow", "ADMIN_USER_PASSWORD_AUTH",
			"--auth-parameters", "USERNAME=maria,PASSWORD="+passphrase)
		return in.AuthenticationResult
	}
	mine, theirs := signIn(ours), signIn(others)

	issuer := "https://cognito-idp." + lookalike.Region + ".amazonaws.com/" + pool.UserPool.Id
	w := newWorld(t, identity.Config{Issuers: []identity.Issuer{{
		Issuer: issuer, JWKS: moto + "/" + pool.UserPool.Id + "/.well-known/jwks.json", Audience: ours, Cognito: true, MFA: []string{identity.EverySignIn},
		Roles: identity.Mapping{Claim: "cognito:groups", Values: map[string]string{"engineer": access.RoleEngineer}},
		// What a sign-in by password is given, where no resource server says more.
		Scopes: map[string][]access.Action{"aws.cognito.signin.user.admin": {access.FindingList}},
	}}})
	w.pass(time.Since(w.now()))
	who, proof, err := w.Bearer(ctx, mine.AccessToken, meta)
	if err != nil {
		t.Fatalf("refused for %s", identity.CauseOf(err))
	}
	if !slices.Equal(who.Roles, []string{access.RoleEngineer}) || !slices.Equal(who.Scopes, []access.Action{access.FindingList}) || !proof.MFA || proof.SignedIn.IsZero() {
		t.Errorf("caller %+v, proof %+v", who, proof)
	}
	for what, x := range map[string]struct {
		raw  string
		want identity.Cause
	}{
		"the ID token":                       {mine.IdToken, identity.WrongType},
		"the access token of another client": {theirs.AccessToken, identity.WrongAudience},
		"the ID token of another client":     {theirs.IdToken, identity.WrongType},
	} {
		if _, _, err := w.Bearer(ctx, x.raw, meta); identity.CauseOf(err) != x.want {
			t.Errorf("%s: %v, want %s", what, identity.CauseOf(err), x.want)
		}
	}
}

// TestCognitoForged: what may be missing from the tokens of a user pool lets nothing else in.
func TestCognitoForged(t *testing.T) {
	is := newIssuer(t)
	const pool, strict = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example", "https://issuer.example"
	roles := identity.Mapping{Claim: "cognito:groups", Values: map[string]string{"engineer": access.RoleEngineer}}
	w := newWorld(t, identity.Config{Issuers: []identity.Issuer{
		{Issuer: pool, JWKS: is.URL, Audience: "client-1", Cognito: true, Roles: roles, ScopePrefix: "coffer/"},
		{Issuer: strict, JWKS: is.URL, Audience: "client-1", Roles: roles},
	}})
	now := w.now().Unix()
	token := func(typ string, set map[string]any) string {
		h := map[string]any{"alg": "RS256", "kid": "rsa-1"}
		if typ != "" {
			h["typ"] = typ
		}
		// As the Developer Guide's example has it.
		c := map[string]any{
			"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": []string{"engineer"}, "iss": pool, "version": 2, "client_id": "client-1",
			"origin_jti": "o", "token_use": "access", "scope": "openid coffer/finding.list audit.read", "auth_time": now, "exp": now + 900, "iat": now,
			"jti": "j", "username": "maria",
		}
		maps.Copy(c, set)
		for k, v := range set {
			if v == nil {
				delete(c, k)
			}
		}
		return compact(asJSON(h), asJSON(c), signRS256(is.rsa))
	}
	who, proof, err := w.Bearer(ctx, token("", nil), meta)
	if err != nil {
		t.Fatalf("refused for %s", identity.CauseOf(err))
	}
	// A scope without the prefix is another resource server's.
	if !slices.Equal(who.Scopes, []access.Action{access.FindingList}) || proof.MFA {
		t.Errorf("caller %+v, proof %+v", who, proof)
	}
	for what, x := range map[string]struct {
		raw  string
		want identity.Cause
	}{
		"an ID token":                  {token("", map[string]any{"token_use": "id", "aud": "client-1"}), identity.WrongType},
		"no use":                       {token("", map[string]any{"token_use": nil}), identity.WrongType},
		"a use that is a list":         {token("", map[string]any{"token_use": []string{"access"}}), identity.WrongType},
		"a logout token":               {token("logout+jwt", nil), identity.WrongType},
		"an access token of RFC 9068":  {token("at+jwt", nil), identity.WrongType},
		"an audience, another client":  {token("", map[string]any{"client_id": "client-2", "aud": "client-1"}), identity.WrongAudience},
		"no client":                    {token("", map[string]any{"client_id": nil, "aud": "client-1"}), identity.WrongAudience},
		"the form of one, the other's": {token("", map[string]any{"iss": strict, "aud": "client-1"}), identity.WrongType},
		"no scope of ours":             {token("", map[string]any{"scope": "openid finding.list"}), identity.NothingPermitted},
		"no subject":                   {token("", map[string]any{"sub": nil}), identity.MissingClaim},
	} {
		if _, _, err := w.Bearer(ctx, x.raw, meta); identity.CauseOf(err) != x.want {
			t.Errorf("%s: %v, want %s", what, identity.CauseOf(err), x.want)
		}
	}
}
