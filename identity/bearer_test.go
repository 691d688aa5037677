package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/identity"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// issuer is an authorisation server of the tests: its keys, and a page where they are. Tokens are signed here by hand, so that they can
// be wrong in any way.
type issuer struct {
	*httptest.Server
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	other *rsa.PrivateKey // whose public half nobody publishes

	mu      sync.Mutex
	keys    []map[string]any
	down    bool
	fetches atomic.Int32
}

var testKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var k [2]*rsa.PrivateKey
	for i := range k {
		var err error
		if k[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return k
})

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	k := testKeys()
	i := &issuer{rsa: k[0], other: k[1]}
	var err error
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	i.keys = []map[string]any{rsaJWK("rsa-1", &i.rsa.PublicKey), ecJWK("ec-1", &i.ec.PublicKey)}
	i.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.down {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		keys := i.keys
		if r.URL.Path == "/second" {
			keys = nil
		}
		_, _ = rw.Write(asJSON(map[string]any{"keys": keys}))
	}))
	t.Cleanup(i.Close)
	return i
}

func rsaJWK(kid string, k *rsa.PublicKey) map[string]any {
	return map[string]any{"kty": "RSA", "use": "sig", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

func ecJWK(kid string, k *ecdsa.PublicKey) map[string]any {
	point, err := k.Bytes()
	if err != nil {
		panic(err)
	}
	half := (len(point) - 1) / 2
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
}

func signRS256(k *rsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		s, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return s
	}
}

func signRS512(k *rsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha512.Sum512(text)
		s, err := rsa.SignPKCS1v15(nil, k, crypto.SHA512, sum[:])
		if err != nil {
			panic(err)
		}
		return s
	}
}

func signES256(k *ecdsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func signHMAC(key []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		return h.Sum(nil)
	}
}

// compact signs header and claims, given as JSON texts.
func compact(header, claims []byte, sign func([]byte) []byte) string {
	text := b64(header) + "." + b64(claims)
	return text + "." + b64(sign([]byte(text)))
}

func TestAccessTokens(t *testing.T) {
	is := newIssuer(t)
	const name = "https://issuer.example"
	w := newWorld(t, identity.Config{Issuers: []identity.Issuer{{
		Issuer: name, JWKS: is.URL, Audience: "coffer", Algorithms: []string{"RS256", "ES256"},
		Roles:  identity.Mapping{Claim: "realm.roles", Values: map[string]string{"eng": access.RoleEngineer, "aud": access.RoleAuditor}},
		Teams:  identity.Mapping{Claim: "groups"},
		Scopes: map[string][]access.Action{"coffer:read": {access.FindingList, access.FindingRead}},
		MFA:    []string{"urn:strong"},
	}, {
		Issuer: "https://second.example", JWKS: is.URL + "/second", Audience: "coffer",
		Roles: identity.Mapping{Claim: "roles", Values: map[string]string{"eng": access.RoleEngineer}},
	}}})
	now := w.now().Unix()
	header := map[string]any{"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"}
	claims := map[string]any{
		"iss": name, "aud": "coffer", "sub": "subject-1", "client_id": "robot", "jti": "jti-1", "iat": now, "nbf": now, "exp": now + 300,
		"scope": "coffer:read audit.read openid", "realm": map[string]any{"roles": []string{"eng", "other"}}, "groups": []string{"risk", "not a team"},
		"auth_time": now - 60, "amr": []string{"pwd", "mfa"},
	}
	with := func(m map[string]any, set ...any) map[string]any {
		m = maps.Clone(m)
		for i := 0; i < len(set); i += 2 {
			if set[i+1] == nil {
				delete(m, set[i].(string))
			} else {
				m[set[i].(string)] = set[i+1]
			}
		}
		return m
	}
	good := signRS256(is.rsa)
	token := func(h, c map[string]any) string { return compact(asJSON(h), asJSON(c), good) }
	h := func(set ...any) string { return token(with(header, set...), claims) }
	c := func(set ...any) string { return token(header, with(claims, set...)) }

	// What is right is let in, or the table below proves nothing.
	for what, raw := range map[string]string{
		"RS256":                    token(header, claims),
		"ES256":                    compact(asJSON(with(header, "alg", "ES256", "kid", "ec-1")), asJSON(claims), signES256(is.ec)),
		"the long type":            h("typ", "Application/AT+JWT"),
		"several audiences":        c("aud", []string{"other", "coffer"}),
		"clocks that differ":       c("iat", now+59, "nbf", now+59),
		"expired within the skew":  c("iat", now-100, "exp", now-59),
		"scope as a list":          c("scope", []string{"coffer:read"}),
		"fractions of a second":    c("exp", float64(now)+30.5),
		"members that are unknown": token(with(header, "x5t", "abc", "hint", 1), with(claims, "extra", map[string]any{"a": 1})),
	} {
		who, proof, err := w.Bearer(ctx, raw, meta)
		if err != nil {
			t.Errorf("%s: refused for %s", what, identity.CauseOf(err))
			continue
		}
		if who.Kind != access.TokenCaller || !slices.Equal(who.Roles, []string{access.RoleEngineer}) || !slices.Equal(who.Teams, []string{"risk"}) ||
			!slices.Contains(who.Scopes, access.FindingRead) || !strings.HasPrefix(who.ID, "u-") {
			t.Errorf("%s: caller %+v", what, who)
		}
		if proof.How != identity.ByJWT || proof.SignedIn.Unix() != now-60 || !proof.MFA {
			t.Errorf("%s: proof %+v", what, proof)
		}
	}

	raw := token(header, claims)
	parts := strings.Split(raw, ".")
	public := asJSON(is.keys[0])
	foreign := rsaJWK("rsa-1", &is.other.PublicKey)
	text := func(claims string) string { return compact(asJSON(header), []byte(claims), good) }
	plain := string(asJSON(claims))
	forged := []struct {
		what string
		raw  string
		want identity.Cause
	}{
		{"empty", "", identity.NoCredential},
		{"not a token", "hello", identity.Malformed},
		{"two parts", parts[0] + "." + parts[1], identity.Malformed},
		{"four parts", raw + ".x", identity.Malformed},
		{"five parts, an encrypted token", raw + ".x.y", identity.Malformed},
		{"padding", parts[0] + "=." + parts[1] + "." + parts[2], identity.Malformed},
		{"the other base64", strings.ReplaceAll(strings.ReplaceAll(raw, "-", "+"), "_", "/"), identity.Malformed},
		{"a line break inside", raw[:20] + "\n" + raw[20:], identity.Malformed},
		{"too long", raw + strings.Repeat("A", 16<<10), identity.Malformed},
		{"JSON serialisation", `{"payload":"` + parts[1] + `"}`, identity.Malformed},
		{"header is a list", compact([]byte(`["RS256"]`), asJSON(claims), good), identity.Malformed},
		{"claims are a string", compact(asJSON(header), []byte(`"claims"`), good), identity.Malformed},
		{"something behind the claims", text(plain + `{}`), identity.Malformed},
		{"a claim twice", text(`{"sub":"admin",` + plain[1:]), identity.Malformed},
		{"a claim twice, deep", text(`{"x":{"a":1,"a":2},` + plain[1:]), identity.Malformed},
		{"alg twice", compact([]byte(`{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"rsa-1"}`), asJSON(claims), good), identity.Malformed},
		{"too deep", text(`{"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "," + plain[1:]), identity.Malformed},
		{"bytes that are no text", text("{\"x\":\"\xff\"," + plain[1:]), identity.Malformed},

		{"alg none", parts[0] + "." + parts[1] + ".", identity.BadSignature},
		{"alg none said", b64(asJSON(with(header, "alg", "none"))) + "." + parts[1] + ".", identity.WrongAlgorithm},
		{"alg None", b64(asJSON(with(header, "alg", "None"))) + "." + parts[1] + ".", identity.WrongAlgorithm},
		{"alg missing", h("alg", nil), identity.WrongAlgorithm},
		{"alg is a number", h("alg", 256), identity.BadHeader},
		{"alg in lower case", h("alg", "rs256"), identity.WrongAlgorithm},
		{"HS256 with the public key as secret", compact(asJSON(with(header, "alg", "HS256")), asJSON(claims), signHMAC(public)), identity.WrongAlgorithm},
		{"HS256 with the modulus as secret", compact(asJSON(with(header, "alg", "HS256")), asJSON(claims), signHMAC(is.rsa.N.Bytes())), identity.WrongAlgorithm},
		{"an algorithm that is not configured", compact(asJSON(with(header, "alg", "RS512")), asJSON(claims), signRS512(is.rsa)), identity.WrongAlgorithm},
		{"an algorithm for another kind of key", h("alg", "ES256"), identity.BadSignature},
		{"the key is for another algorithm", h("kid", "ec-1"), identity.WrongAlgorithm},
		{"another's signature", compact(asJSON(header), asJSON(claims), signRS256(is.other)), identity.BadSignature},
		{"another token's signature", parts[0] + "." + b64(asJSON(with(claims, "sub", "admin"))) + "." + parts[2], identity.BadSignature},
		{"ECDSA of zeros", compact(asJSON(with(header, "alg", "ES256", "kid", "ec-1")), asJSON(claims), func([]byte) []byte { return make([]byte, 64) }), identity.BadSignature},
		{"signature cut", compact(asJSON(header), asJSON(claims), func(b []byte) []byte { return good(b)[:250] }), identity.BadSignature},

		{"its own key: jwk", compact(asJSON(with(header, "jwk", foreign)), asJSON(claims), signRS256(is.other)), identity.BadHeader},
		{"its own key: jku", compact(asJSON(with(header, "jku", is.URL+"/mine")), asJSON(claims), signRS256(is.other)), identity.BadHeader},
		{"its own key: x5u", h("x5u", is.URL+"/mine"), identity.BadHeader},
		{"its own key: x5c", h("x5c", []string{"MII"}), identity.BadHeader},
		{"crit", h("crit", []string{"exp"}), identity.BadHeader},
		{"crit b64", h("crit", []string{"b64"}, "b64", false), identity.BadHeader},
		{"compressed", h("zip", "DEF"), identity.BadHeader},
		{"kid missing", h("kid", nil), identity.UnknownKey},
		{"kid unknown", h("kid", "rsa-2"), identity.UnknownKey},
		{"kid is a path", h("kid", "../../../../dev/null"), identity.UnknownKey},
		{"kid is SQL", h("kid", "x' UNION SELECT 'key"), identity.UnknownKey},
		{"kid is a list", h("kid", []string{"rsa-1"}), identity.BadHeader},

		{"an ID token", h("typ", "JWT"), identity.WrongType},
		{"no type", h("typ", nil), identity.WrongType},
		{"a logout token", h("typ", "logout+jwt"), identity.WrongType},
		{"a DPoP proof", h("typ", "dpop+jwt"), identity.WrongType},
		{"another issuer", c("iss", "https://evil.example"), identity.WrongIssuer},
		{"issuer with a slash", c("iss", name+"/"), identity.WrongIssuer},
		{"no issuer", c("iss", nil), identity.WrongIssuer},
		{"issuer is a list", c("iss", []string{name}), identity.WrongIssuer},
		{"the keys of one issuer under the name of the other", c("iss", "https://second.example"), identity.UnknownKey},
		{"for somebody else", c("aud", "other"), identity.WrongAudience},
		{"for nobody", c("aud", nil), identity.WrongAudience},
		{"audience in capitals", c("aud", "Coffer"), identity.WrongAudience},
		{"audience within an object", c("aud", map[string]any{"coffer": true}), identity.WrongAudience},
		{"audiences that are no texts", c("aud", []any{"coffer", 1}), identity.WrongAudience},
		{"expired", c("iat", now-1000, "exp", now-60), identity.Expired},
		{"no expiry", c("exp", nil), identity.MissingClaim},
		{"expiry as text", c("exp", fmt.Sprint(now+300)), identity.MissingClaim},
		{"expiry far beyond", c("exp", 1e30), identity.MissingClaim},
		{"expiry negative", c("exp", -1), identity.MissingClaim},
		{"good for years", c("exp", now+366*86400), identity.TooLong},
		{"not yet", c("nbf", now+200), identity.NotYet},
		{"nbf as text", c("nbf", "now"), identity.MissingClaim},
		{"issued in the future", c("iat", now+200), identity.NotYet},
		{"no time of issue", c("iat", nil), identity.MissingClaim},
		{"no subject", c("sub", nil), identity.MissingClaim},
		{"empty subject", c("sub", ""), identity.MissingClaim},
		{"subject is a number", c("sub", 1), identity.MissingClaim},
		{"subject with a zero byte", c("sub", "a\x00b"), identity.MissingClaim},
		{"subject too long", c("sub", strings.Repeat("s", 256)), identity.MissingClaim},
		{"no client", c("client_id", nil), identity.MissingClaim},
		{"no id", c("jti", nil), identity.MissingClaim},
		{"signed in in the future", c("auth_time", now+200), identity.NotYet},
		{"no scope", c("scope", nil), identity.NothingPermitted},
		{"scopes of others", c("scope", "openid profile Finding.List"), identity.NothingPermitted},
	}
	for _, f := range forged {
		w.pass(time.Second) // more refusals a minute than are recorded are no matter here
		_, _, err := w.Bearer(ctx, f.raw, meta)
		refused(t, f.what, err, f.want)
	}
	t.Logf("%d forged or confused tokens", len(forged))
}

// TestKeys: keys are asked for when they are needed, not when a stranger wants it.
func TestKeys(t *testing.T) {
	is := newIssuer(t)
	w := newWorld(t, identity.Config{Issuers: []identity.Issuer{{
		Issuer: "https://issuer.example", JWKS: is.URL, Audience: "coffer",
		Roles: identity.Mapping{Claim: "roles", Values: map[string]string{"eng": access.RoleEngineer}},
	}}})
	token := func(kid string, k *rsa.PrivateKey) string {
		now := w.now().Unix()
		return compact(asJSON(map[string]any{"alg": "RS256", "typ": "at+jwt", "kid": kid}), asJSON(map[string]any{
			"iss": "https://issuer.example", "aud": "coffer", "sub": "s", "client_id": "c", "jti": "j", "iat": now, "exp": now + 60,
			"scope": "finding.list",
		}), signRS256(k))
	}
	good := func(what, kid string, k *rsa.PrivateKey) {
		t.Helper()
		if _, _, err := w.Bearer(ctx, token(kid, k), meta); err != nil {
			t.Errorf("%s: %v", what, identity.CauseOf(err))
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { good("at the start", "rsa-1", is.rsa) })
	}
	wg.Wait()
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for the first tokens", n)
	}
	// A flood of key ids asks the issuer once in half a minute.
	for i := range 200 {
		_, _, err := w.Bearer(ctx, token(fmt.Sprint("k", i), is.rsa), meta)
		refused(t, "an unknown key", err, identity.UnknownKey)
	}
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("%d fetches after a flood", n)
	}
	// Rotation: the new key is found, the old one ends when it is not published any more.
	w.pass(time.Minute)
	is.mu.Lock()
	is.keys = []map[string]any{rsaJWK("rsa-1", &is.rsa.PublicKey), rsaJWK("rsa-2", &is.other.PublicKey)}
	is.mu.Unlock()
	good("the new key", "rsa-2", is.other)
	good("the old key, still published", "rsa-1", is.rsa)
	is.mu.Lock()
	is.keys = []map[string]any{rsaJWK("rsa-2", &is.other.PublicKey)}
	is.mu.Unlock()
	w.pass(time.Hour)
	_, _, err := w.Bearer(ctx, token("rsa-1", is.rsa), meta)
	refused(t, "the old key, an hour later", err, identity.UnknownKey)
	// The issuer is away: known keys are good for an hour, then nobody gets in, and it is an outage and no refusal.
	is.mu.Lock()
	is.down = true
	is.mu.Unlock()
	w.pass(50 * time.Minute)
	good("the issuer is away", "rsa-2", is.other)
	w.pass(11 * time.Minute)
	if _, _, err := w.Bearer(ctx, token("rsa-2", is.other), meta); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("keys of more than an hour ago: %v", err)
	}
	// Keys that must not count.
	is.mu.Lock()
	is.down = false
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this build makes no weak keys")
	}
	private := rsaJWK("private", &is.rsa.PublicKey)
	private["d"] = b64(is.rsa.D.Bytes())
	enc := rsaJWK("enc", &is.rsa.PublicKey)
	enc["use"] = "enc"
	is.keys = []map[string]any{
		rsaJWK("weak", &weak.PublicKey), private, enc, {"kty": "oct", "kid": "oct", "k": b64([]byte("secret"))},
		rsaJWK("twice", &is.rsa.PublicKey), rsaJWK("twice", &is.other.PublicKey), rsaJWK("rsa-9", &is.rsa.PublicKey),
	}
	is.mu.Unlock()
	w.pass(time.Minute)
	good("the one that counts", "rsa-9", is.rsa)
	for kid, k := range map[string]*rsa.PrivateKey{"private": is.rsa, "enc": is.rsa, "oct": is.rsa, "twice": is.rsa} {
		_, _, err := w.Bearer(ctx, token(kid, k), meta)
		refused(t, "key "+kid, err, identity.UnknownKey)
	}
}
