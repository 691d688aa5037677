package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/identity"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Add a person and print the one-time code for the first sign-in."`
	List    userListCmd    `cmd:"" help:"List the people who can sign in."`
	Roles   userRolesCmd   `cmd:"" help:"Replace a person's roles and teams. Sessions and tokens have the new ones at once."`
	Disable userDisableCmd `cmd:"" help:"Keep a person out, and end their sessions."`
	Enable  userEnableCmd  `cmd:"" help:"Let a person in again."`
	Code    userCodeCmd    `cmd:"" help:"Print a new one-time code for a person who lost passphrase or passkey; the old ones end with its use."`
}

// userJSON is a person on a JSON line.
type userJSON struct {
	User       string     `json:"user"`
	Name       string     `json:"name,omitempty"`
	Issuer     string     `json:"issuer,omitempty"`
	Roles      []string   `json:"roles"`
	Teams      []string   `json:"teams"`
	Disabled   bool       `json:"disabled"`
	Created    time.Time  `json:"created"`
	SignedIn   *time.Time `json:"signedIn,omitempty"`
	Passphrase bool       `json:"passphrase"`
	Passkeys   int        `json:"passkeys"`
	Code       string     `json:"code,omitempty"`
	CodeUntil  *time.Time `json:"codeUntil,omitempty"`
}

func jsonUser(u identity.User) userJSON {
	j := userJSON{
		User: u.ID, Name: u.Name, Issuer: u.Issuer, Roles: append([]string{}, u.Roles...), Teams: append([]string{}, u.Teams...),
		Disabled: u.Disabled, Created: u.Created, Passphrase: u.Passphrase, Passkeys: u.Passkeys,
	}
	for from, to := range map[*time.Time]**time.Time{&u.SignedIn: &j.SignedIn, &u.CodeUntil: &j.CodeUntil} {
		if !from.IsZero() {
			*to = from
		}
	}
	return j
}

type userAddCmd struct {
	Name string   `arg:"" help:"Name to sign in with: a-z 0-9 . _ - @ +"`
	Role []string `help:"Role; repeat for more." placeholder:"ROLE"`
	Team []string `help:"Team; repeat for more." placeholder:"TEAM"`
}

func (c *userAddCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	u, code, err := a.Identity.AddUser(e.ctx, e.ask(), c.Name, c.Role, c.Team)
	if err != nil {
		return err
	}
	if e.JSON {
		j := jsonUser(u)
		j.Code = code
		return e.out.element(j)
	}
	e.out.say("%s is added.", safe(u.Name))
	e.showCode(code)
	return nil
}

// showCode prints a one-time code, once.
func (e *env) showCode(code string) {
	e.out.say("Code for the next sign-in, good for one hour and for one use:\n\n    %s\n\nIt is shown here and nowhere else.", code)
}

type userListCmd struct{}

func (*userListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	users, err := a.Identity.Users(e.ctx, e.ask())
	if err != nil {
		return err
	}
	t := e.out.table(0, "NAME", "USER", "ROLES", "TEAMS", "SIGNS IN WITH", "LAST SIGN-IN")
	for _, u := range users {
		if e.JSON {
			if err := e.out.element(jsonUser(u)); err != nil {
				return err
			}
			continue
		}
		last := "never"
		if !u.SignedIn.IsZero() {
			last = u.SignedIn.Local().Format(time.DateTime)
		}
		t.row(u.Name, u.ID, strings.Join(u.Roles, ", "), strings.Join(u.Teams, ", "), signsIn(u), last)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

func signsIn(u identity.User) string {
	var with []string
	switch {
	case u.Disabled:
		return "kept out"
	case u.Issuer != "":
		return u.Issuer
	}
	if u.Passphrase {
		with = append(with, "passphrase")
	}
	if u.Passkeys > 0 {
		with = append(with, plural(u.Passkeys, "passkey"))
	}
	if !u.CodeUntil.IsZero() {
		with = append(with, "code")
	}
	if len(with) == 0 {
		return "nothing"
	}
	return strings.Join(with, ", ")
}

// user finds a person by name or id.
func (e *env) user(name string) (string, error) {
	a, err := e.open()
	if err != nil {
		return "", err
	}
	return a.Identity.Find(e.ctx, e.ask(), name)
}

type userRolesCmd struct {
	User string   `arg:"" help:"Name or id."`
	Role []string `help:"Role; repeat for more. None: no role is left." placeholder:"ROLE"`
	Team []string `help:"Team; repeat for more." placeholder:"TEAM"`
}

func (c *userRolesCmd) Run(e *env) error {
	id, err := e.user(c.User)
	if err != nil {
		return err
	}
	return e.app.Identity.SetRoles(e.ctx, e.ask(), id, c.Role, c.Team)
}

type userDisableCmd struct {
	User string `arg:"" help:"Name or id."`
}

func (c *userDisableCmd) Run(e *env) error { return e.setDisabled(c.User, true) }

type userEnableCmd struct {
	User string `arg:"" help:"Name or id."`
}

func (c *userEnableCmd) Run(e *env) error { return e.setDisabled(c.User, false) }

func (e *env) setDisabled(name string, disabled bool) error {
	id, err := e.user(name)
	if err != nil {
		return err
	}
	return e.app.Identity.Disable(e.ctx, e.ask(), id, disabled)
}

type userCodeCmd struct {
	User string `arg:"" help:"Name or id."`
}

func (c *userCodeCmd) Run(e *env) error {
	id, err := e.user(c.User)
	if err != nil {
		return err
	}
	code, err := e.app.Identity.NewCode(e.ctx, e.ask(), id)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]string{"user": id, "code": code})
	}
	e.showCode(code)
	return nil
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make an access token for a person's scripts and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens of a person, or of all."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token at once."`
}

// tokenJSON is a token on a JSON line.
type tokenJSON struct {
	Token    string          `json:"token"` // its id
	User     string          `json:"user"`
	Label    string          `json:"label,omitempty"`
	Scopes   []access.Action `json:"scopes"`
	Networks []netip.Prefix  `json:"networks,omitempty"`
	Created  time.Time       `json:"created"`
	Expires  time.Time       `json:"expires"`
	LastUsed *time.Time      `json:"lastUsed,omitempty"`
	Secret   string          `json:"secret,omitempty"` // its text, when it was made
}

func jsonToken(t identity.Token, secret string) tokenJSON {
	j := tokenJSON{
		Token: t.ID, User: t.Owner, Label: t.Label, Scopes: t.Scopes, Networks: t.Networks, Created: t.Created, Expires: t.Expires, Secret: secret,
	}
	if !t.LastUsed.IsZero() {
		j.LastUsed = &t.LastUsed
	}
	return j
}

type tokenCreateCmd struct {
	User    string   `required:"" help:"Whose token it is: name or id. It can do what this person can, less what the scopes leave out." placeholder:"USER"`
	Scope   []string `required:"" help:"Action that it is for, such as finding.list; repeat for more." placeholder:"ACTION"`
	Days    int      `help:"How long it lasts, 1 to 90." default:"30"`
	Network []string `help:"Network from which alone it is good; repeat for more." placeholder:"CIDR"`
	Label   string   `help:"What it is for." placeholder:"TEXT"`
}

func (c *tokenCreateCmd) Run(e *env) error {
	spec := identity.TokenSpec{Label: c.Label, Life: time.Duration(c.Days) * 24 * time.Hour}
	if c.Days < 1 || spec.Life > identity.MaxTokenLife {
		return usage("--days is 1 to 90")
	}
	for _, s := range c.Scope {
		spec.Scopes = append(spec.Scopes, access.Action(s))
	}
	for _, n := range c.Network {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return usage("--network is written as in 10.0.0.0/8")
		}
		spec.Networks = append(spec.Networks, p.Masked())
	}
	id, err := e.user(c.User)
	if err != nil {
		return err
	}
	t, secret, err := e.app.Identity.CreateToken(e.ctx, e.ask(), id, spec)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(jsonToken(t, secret))
	}
	e.out.say("%s\n\nIt is shown here and nowhere else, and ends on %s. Revoke it with: coffer token revoke %s",
		secret, t.Expires.Local().Format(time.DateOnly), t.ID)
	return nil
}

type tokenListCmd struct {
	User string `arg:"" optional:"" help:"Name or id; none: everybody."`
}

func (c *tokenListCmd) Run(e *env) error {
	tokens, err := e.tokens(c.User)
	if err != nil {
		return err
	}
	t := e.out.table(1, "TOKEN", "LABEL", "USER", "EXPIRES", "LAST USED", "SCOPES")
	for _, k := range tokens {
		if e.JSON {
			if err := e.out.element(jsonToken(k, "")); err != nil {
				return err
			}
			continue
		}
		last := "never"
		if !k.LastUsed.IsZero() {
			last = k.LastUsed.Local().Format(time.DateTime)
		}
		var scopes []string
		for _, s := range k.Scopes {
			scopes = append(scopes, string(s))
		}
		t.row(k.ID, k.Label, k.Owner, k.Expires.Local().Format(time.DateOnly), last, strings.Join(scopes, ", "))
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

// tokens returns the tokens of a person, or of everybody.
func (e *env) tokens(name string) ([]identity.Token, error) {
	a, err := e.open()
	if err != nil {
		return nil, err
	}
	if name != "" {
		id, err := e.user(name)
		if err != nil {
			return nil, err
		}
		return a.Identity.Tokens(e.ctx, e.ask(), id)
	}
	users, err := a.Identity.Users(e.ctx, e.ask())
	if err != nil {
		return nil, err
	}
	var all []identity.Token
	for _, u := range users {
		tokens, err := a.Identity.Tokens(e.ctx, e.ask(), u.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, tokens...)
	}
	return all, nil
}

type tokenRevokeCmd struct {
	Token string `arg:"" help:"Id of the token."`
}

func (c *tokenRevokeCmd) Run(e *env) error {
	tokens, err := e.tokens("")
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.ID == c.Token {
			return e.app.Identity.RevokeToken(e.ctx, e.ask(), t.Owner, t.ID)
		}
	}
	return fmt.Errorf("token: %w", coffer.ErrNotFound)
}
