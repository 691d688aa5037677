package identity

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"

	"github.com/lestrrat-go/jwx/v3/jwa"
)

// Config is the part of the configuration that says who may come, and from where.
type Config struct {
	// Origin is the address under which browsers reach the portal, such as "https://coffer.bank.example". Passkeys and the provider's
	// answers are bound to it. http is for loopback alone.
	Origin string `yaml:"origin,omitempty"`
	// Idle and Absolute bound a session: 1m to 1h (default 15m), and 5m to 24h (default 8h).
	Idle     time.Duration `yaml:"idle,omitempty"`
	Absolute time.Duration `yaml:"absolute,omitempty"`
	// Provider is where people sign in; nil: here, as local users.
	Provider *Provider `yaml:"provider,omitempty"`
	// Issuers are those whose access tokens are accepted.
	Issuers []Issuer `yaml:"issuers,omitempty"`
	// IAM are the roles and users of AWS that are let in where API Gateway has verified their signatures.
	IAM []Signer `yaml:"iam,omitempty"`
}

// Signer is a role or a user of AWS whose signed requests are accepted. Everybody who can assume a role is one caller: the name of a session
// is theirs to choose, and must not make two people of one.
type Signer struct {
	ARN   string   `yaml:"arn"` // arn:aws:iam::ACCOUNT:role/NAME or .../user/NAME
	Roles []string `yaml:"roles"`
	Teams []string `yaml:"teams,omitempty"`
	// Scopes are the actions that the requests are good for, whatever the roles permit; none: all but those that policies want to be
	// named, as they do for value.reveal.
	Scopes []access.Action `yaml:"scopes,omitempty"`
}

// Provider is an OpenID Connect provider at which people sign in.
type Provider struct {
	Issuer       string `yaml:"issuer"`
	ClientID     string `yaml:"clientId"`
	ClientSecret string `yaml:"-"` // the content of the file that the next member names
	// ClientSecretFile is a file whose first line is the client's secret. None: a public client, for which PKCE stands alone.
	ClientSecretFile string   `yaml:"clientSecretFile,omitempty"`
	Scopes           []string `yaml:"scopes,omitempty"`     // beside openid
	Algorithms       []string `yaml:"algorithms,omitempty"` // of ID tokens; default RS256, PS256, ES256
	// Roles says which claim gives roles and which of its values is which role. A value that is not listed gives none.
	Roles Mapping `yaml:"roles"`
	// Teams says which claim gives teams; without values, its values are the teams' names.
	Teams Mapping `yaml:"teams,omitempty"`
	// ACR are the values of acr that a step-up asks for, the preferred one first; one of them must come back.
	ACR []string `yaml:"acr,omitempty"`
	// MFA are the values of acr that mean more than one factor. The value "mfa" of amr (RFC 8176) always does. [EverySignIn] alone says
	// that the provider lets nobody in with less, for those that do not tell, such as Amazon Cognito.
	MFA []string `yaml:"mfa,omitempty"`
}

// EverySignIn as the only value of MFA says that every sign-in takes more than one factor.
const EverySignIn = "*"

// Issuer is an authorisation server whose JWT access tokens are accepted: those of RFC 9068, or those of Amazon Cognito.
type Issuer struct {
	Issuer   string `yaml:"issuer"`
	JWKS     string `yaml:"jwks"`     // where its keys are: configured, never taken from a token
	Audience string `yaml:"audience"` // by which tokens name this installation
	// Cognito says that the issuer is a user pool of Amazon Cognito. Its access tokens have no typ, by which others tell them from ID tokens,
	// but token_use; and no audience, so that Audience is the id of the one client to which they are issued (Amazon Cognito Developer Guide,
	// "Understanding the access token").
	Cognito    bool     `yaml:"cognito,omitempty"`
	Algorithms []string `yaml:"algorithms,omitempty"` // default RS256, PS256, ES256
	Roles      Mapping  `yaml:"roles"`
	Teams      Mapping  `yaml:"teams,omitempty"`
	// Scopes says which actions a scope stands for. A scope that is the name of an action, after ScopePrefix, stands for it without being
	// listed; a resource server of Cognito puts its identifier and a slash before each.
	Scopes      map[string][]access.Action `yaml:"scopes,omitempty"`
	ScopePrefix string                     `yaml:"scopePrefix,omitempty"`
	MFA         []string                   `yaml:"mfa,omitempty"` // as in Provider
}

// Mapping makes words of Coffer from the values of a claim.
type Mapping struct {
	// Claim is the name of a claim, a string or a list of strings; a path with dots where no claim has that very name.
	Claim  string            `yaml:"claim"`
	Values map[string]string `yaml:"values,omitempty"`
}

// defaultAlgorithms are asymmetric, have deterministic verification in the standard library, and are what providers use.
var defaultAlgorithms = []string{"RS256", "PS256", "ES256"}

// algorithms that can be configured. Symmetric ones are not among them: whoever verifies could sign.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Check reports what is wrong with c, with the member and what to write instead. Its errors wrap [coffer.ErrInvalid].
func (c *Config) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("identity: "+format+": %w", append(args, coffer.ErrInvalid)...)
	}
	if c.Origin != "" {
		if u, err := webURL(c.Origin); err != nil || u.Path != "" || u.RawQuery != "" {
			return bad("origin: write scheme and host as browsers see them, https://coffer.example.com; http only for a loopback address")
		}
	}
	if c.Idle != 0 && (c.Idle < time.Minute || c.Idle > time.Hour) {
		return bad("idle: 1m to 1h")
	}
	if c.Absolute != 0 && (c.Absolute < 5*time.Minute || c.Absolute > 24*time.Hour) {
		return bad("absolute: 5m to 24h")
	}
	if p := c.Provider; p != nil {
		if _, err := webURL(p.Issuer); err != nil {
			return bad("provider.issuer: an https address; http only for a loopback address")
		}
		if p.ClientID == "" {
			return bad("provider.clientId is missing")
		}
		if c.Origin == "" {
			return bad("origin is needed for a provider's answers to come back")
		}
		if err := rules("provider", p.Algorithms, p.Roles, p.Teams, p.MFA); err != nil {
			return err
		}
	}
	signers := make(map[string]bool)
	for i, signer := range c.IAM {
		who, ok := parseSigner(signer.ARN)
		if !ok || signers[who] || strings.Contains(signer.ARN, ":sts:") {
			return bad("iam[%d].arn: write arn:aws:iam::ACCOUNT:role/NAME or arn:aws:iam::ACCOUNT:user/NAME, each once", i)
		}
		signers[who] = true
		if len(signer.Roles) == 0 {
			return bad("iam[%d].roles: who has no role may do nothing", i)
		}
		for _, role := range signer.Roles {
			if err := checkRole(role); err != nil {
				return fmt.Errorf("identity: iam[%d].roles: %w", i, err)
			}
		}
		for _, a := range signer.Scopes {
			if !isAction(a) {
				return bad("iam[%d].scopes: names an action that does not exist", i)
			}
		}
		for _, team := range signer.Teams {
			if !access.ValidID(team) {
				return bad("iam[%d].teams: a name is 1 to 128 of A-Z a-z 0-9 . _ -", i)
			}
		}
	}
	seen := make(map[string]bool)
	for i, is := range c.Issuers {
		at := fmt.Sprintf("issuers[%d]", i)
		if is.Issuer == "" || seen[is.Issuer] {
			return bad("%s.issuer is missing or there twice", at)
		}
		seen[is.Issuer] = true
		if _, err := webURL(is.JWKS); err != nil {
			return bad("%s.jwks: an https address; http only for a loopback address", at)
		}
		if is.Audience == "" {
			return bad("%s.audience is missing: a token for somebody else would be good here", at)
		}
		if err := rules(at, is.Algorithms, is.Roles, is.Teams, is.MFA); err != nil {
			return err
		}
		for scope, actions := range is.Scopes {
			for _, a := range actions {
				if !isAction(a) {
					return bad("%s.scopes: %q names an action that does not exist", at, scope)
				}
			}
		}
	}
	return nil
}

func rules(at string, algs []string, roles, teams Mapping, mfa []string) error {
	if len(mfa) > 1 && slices.Contains(mfa, EverySignIn) {
		return fmt.Errorf("identity: %s.mfa: %q stands alone: %w", at, EverySignIn, coffer.ErrInvalid)
	}
	for _, a := range algs {
		if !slices.Contains(algorithms, a) {
			return fmt.Errorf("identity: %s.algorithms: use some of %s: %w", at, strings.Join(algorithms, ", "), coffer.ErrInvalid)
		}
	}
	if roles.Claim == "" || len(roles.Values) == 0 {
		return fmt.Errorf("identity: %s.roles: say which claim gives roles and which value is which role: %w", at, coffer.ErrInvalid)
	}
	for _, role := range roles.Values {
		if err := checkRole(role); err != nil {
			return fmt.Errorf("identity: %s.roles: %w", at, err)
		}
	}
	for _, team := range teams.Values {
		if !access.ValidID(team) {
			return fmt.Errorf("identity: %s.teams: a name is 1 to 128 of A-Z a-z 0-9 . _ -: %w", at, coffer.ErrInvalid)
		}
	}
	return nil
}

// checkRole refuses roles that no person can have: those of the command line and of the installation's own parts.
func checkRole(role string) error {
	if !access.ValidID(role) {
		return fmt.Errorf("a role is 1 to 128 of A-Z a-z 0-9 . _ -: %w", coffer.ErrInvalid)
	}
	if role == access.RoleOperator || role == access.RoleService {
		return fmt.Errorf("the role %s is not given to people: %w", role, coffer.ErrInvalid)
	}
	return nil
}

func isAction(a access.Action) bool {
	return slices.ContainsFunc(access.Actions, func(d access.Description) bool { return d.Action == a })
}

// webURL parses an https address, or an http one of this very machine.
func webURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, coffer.ErrInvalid
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return u, nil
	}
	return nil, coffer.ErrInvalid
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func signatureAlgorithms(names []string) map[string]jwa.SignatureAlgorithm {
	if len(names) == 0 {
		names = defaultAlgorithms
	}
	out := make(map[string]jwa.SignatureAlgorithm, len(names))
	for _, n := range names {
		if a, ok := jwa.LookupSignatureAlgorithm(n); ok && slices.Contains(algorithms, n) {
			out[n] = a
		}
	}
	return out
}

// apply returns the words for the values that a claim has in claims.
func (m Mapping) apply(claims map[string]any) []string {
	if m.Claim == "" {
		return nil
	}
	v, ok := claims[m.Claim]
	for rest, in := m.Claim, claims; !ok; {
		first, after, more := strings.Cut(rest, ".")
		if !more {
			v = in[rest]
			break
		}
		inner, is := in[first].(map[string]any)
		if !is {
			return nil
		}
		rest, in = after, inner
	}
	var values []string
	switch v := v.(type) {
	case string:
		values = []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				values = append(values, s)
			}
		}
	}
	var out []string
	for _, s := range values {
		if len(m.Values) > 0 {
			s = m.Values[s]
		}
		if access.ValidID(s) && !slices.Contains(out, s) && len(out) < maxWords {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// maxWords bounds the roles and the teams of a person.
const maxWords = 50
