package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/api"
	"coffer/client"
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

type userAddCmd struct {
	Name string   `arg:"" help:"Name to sign in with: a-z 0-9 . _ - @ +"`
	Role []string `help:"Role; repeat for more." placeholder:"ROLE"`
	Team []string `help:"Team; repeat for more." placeholder:"TEAM"`
}

func (c *userAddCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	u, err := cl.AddUser(e.ctx, api.UserBody{Name: c.Name, Roles: c.Role, Teams: c.Team})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(u)
	}
	e.out.say("%s is added.", safe(u.Name))
	e.showCode(u.Name, u.Code)
	return nil
}

// showCode prints a one-time code, once. It is empty when the answer in which it stood was lost on the way.
func (e *env) showCode(name, code string) {
	if code == "" {
		e.out.say("The answer with the code was lost, and it stands nowhere else. Make another: coffer user code %s", safe(name))
		return
	}
	e.out.say("Code for the next sign-in, good for one hour and for one use:\n\n    %s\n\nIt is shown here and nowhere else.", code)
}

type userListCmd struct{}

func (*userListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	users, err := cl.Users(e.ctx)
	if err != nil {
		return err
	}
	t := e.out.table(0, "NAME", "USER", "ROLES", "TEAMS", "SIGNS IN WITH", "LAST SIGN-IN")
	for _, u := range users {
		if e.JSON {
			if err := e.out.element(u); err != nil {
				return err
			}
			continue
		}
		t.row(u.Name, u.User, strings.Join(u.Roles, ", "), strings.Join(u.Teams, ", "), signsIn(u), last(u.SignedIn))
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

// last is when something happened last, which may be never.
func last(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

func signsIn(u api.User) string {
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
	if u.CodeUntil != nil {
		with = append(with, "code")
	}
	if len(with) == 0 {
		return "nothing"
	}
	return strings.Join(with, ", ")
}

// onUser does something with the person of this name or id. A name is folded like at a sign-in, and comes before an id.
func (e *env) onUser(name string, do func(cl *client.Client, id string) error) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	users, err := cl.Users(e.ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(users, func(u api.User) bool { return u.Issuer == "" && u.Name != "" && strings.EqualFold(u.Name, name) })
	if i < 0 {
		i = slices.IndexFunc(users, func(u api.User) bool { return u.User == name })
	}
	if i < 0 {
		return fmt.Errorf("user: %w", coffer.ErrNotFound)
	}
	return do(cl, users[i].User)
}

type userRolesCmd struct {
	User string   `arg:"" help:"Name or id."`
	Role []string `help:"Role; repeat for more. None: no role is left." placeholder:"ROLE"`
	Team []string `help:"Team; repeat for more." placeholder:"TEAM"`
}

func (c *userRolesCmd) Run(e *env) error {
	return e.onUser(c.User, func(cl *client.Client, id string) error {
		return cl.SetRoles(e.ctx, id, api.RolesBody{Roles: append([]string{}, c.Role...), Teams: append([]string{}, c.Team...)})
	})
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
	return e.onUser(name, func(cl *client.Client, id string) error { return cl.SetDisabled(e.ctx, id, disabled) })
}

type userCodeCmd struct {
	User string `arg:"" help:"Name or id."`
}

func (c *userCodeCmd) Run(e *env) error {
	return e.onUser(c.User, func(cl *client.Client, id string) error {
		code, err := cl.NewCode(e.ctx, id)
		if err != nil {
			return err
		}
		if e.JSON {
			return e.out.element(api.NewCode{User: id, Code: code})
		}
		e.showCode(c.User, code)
		return nil
	})
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make an access token for a person's scripts and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens of a person, or of all."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token at once."`
}

type tokenCreateCmd struct {
	User    string   `required:"" help:"Whose token it is: name or id. It can do what this person can, less what the scopes leave out." placeholder:"USER"`
	Scope   []string `required:"" help:"Action that it is for, such as finding.list; repeat for more." placeholder:"ACTION"`
	Days    int      `help:"How long it lasts, 1 to 90." default:"30"`
	Network []string `help:"Network from which alone it is good; repeat for more." placeholder:"CIDR"`
	Label   string   `help:"What it is for." placeholder:"TEXT"`
}

func (c *tokenCreateCmd) Run(e *env) error {
	if c.Days < 1 || time.Duration(c.Days)*24*time.Hour > identity.MaxTokenLife {
		return usage("--days is 1 to 90")
	}
	for _, n := range c.Network {
		if _, err := netip.ParsePrefix(n); err != nil {
			return usage("--network is written as in 10.0.0.0/8")
		}
	}
	return e.onUser(c.User, func(cl *client.Client, id string) error {
		t, err := cl.CreateToken(e.ctx, id, api.NewTokenBody{Scopes: c.Scope, Days: c.Days, Networks: c.Network, Label: c.Label})
		switch {
		case err != nil:
			return err
		case e.JSON:
			return e.out.element(t)
		case t.Secret == "":
			e.out.say("The answer with the token was lost, and it stands nowhere else. Revoke it and make another: coffer token revoke %s", t.Token.Token)
			return nil
		}
		e.out.say("%s\n\nIt is shown here and nowhere else, and ends on %s. Revoke it with: coffer token revoke %s",
			t.Secret, t.Expires.Local().Format(time.DateOnly), t.Token.Token)
		return nil
	})
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
			if err := e.out.element(k); err != nil {
				return err
			}
			continue
		}
		t.row(k.Token, k.Label, k.User, k.Expires.Local().Format(time.DateOnly), last(k.LastUsed), strings.Join(k.Scopes, ", "))
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

// tokens returns the tokens of a person, or of everybody.
func (e *env) tokens(name string) (all []api.Token, err error) {
	if name != "" {
		err = e.onUser(name, func(cl *client.Client, id string) error {
			all, err = cl.Tokens(e.ctx, id)
			return err
		})
		return all, err
	}
	cl, err := e.client()
	if err != nil {
		return nil, err
	}
	users, err := cl.Users(e.ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		tokens, err := cl.Tokens(e.ctx, u.User)
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
	i := slices.IndexFunc(tokens, func(t api.Token) bool { return t.Token == c.Token })
	if i < 0 {
		return fmt.Errorf("token: %w", coffer.ErrNotFound)
	}
	return e.asks.RevokeToken(e.ctx, tokens[i].User, c.Token)
}
