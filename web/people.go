package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/identity"
	"coffer/job"
)

// The inputs of routes about people.
type (
	ofUser struct {
		User string `path:"user" maxLength:"128" doc:"Pseudonymous id."`
	}
	ofUserWith[T any] struct {
		User string `path:"user" maxLength:"128" doc:"Pseudonymous id."`
		Body T
	}
	actsOnUser struct {
		User string `path:"user" maxLength:"128" doc:"Pseudonymous id."`
		Key  string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
	}
	actsOnUserWith[T any] struct {
		User    string `path:"user" maxLength:"128" doc:"Pseudonymous id."`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		RawBody []byte
		Body    T
	}
	tokenIn struct {
		Token string `path:"token" maxLength:"64"`
	}
	userTokenIn struct {
		User  string `path:"user" maxLength:"128"`
		Token string `path:"token" maxLength:"64"`
	}
	sessionIn struct {
		Session string `path:"session" maxLength:"64"`
	}
	userSessionIn struct {
		User    string `path:"user" maxLength:"128"`
		Session string `path:"session" maxLength:"64"`
	}
)

func (*ofUserWith[T]) hasBody()                        {}
func (i *actsOnUser) attempt() (string, []byte)        { return i.Key, nil }
func (i *actsOnUserWith[T]) attempt() (string, []byte) { return i.Key, i.RawBody }
func (*actsOnUserWith[T]) hasBody()                    {}

// secret is the answer to what makes a secret. What is kept for a repetition is without it: who lost the answer makes a new one.
type secret[T interface{ Bare() T }] struct {
	Status int
	Body   T
}

func (r *secret[T]) save() (job.Answer, error) {
	b, err := json.Marshal(r.Body.Bare())
	return job.Answer{Status: r.Status, Body: b}, err
}

func (r *secret[T]) load(a job.Answer) error {
	r.Status = a.Status
	if err := json.Unmarshal(a.Body, &r.Body); err != nil {
		return fmt.Errorf("answer of an attempt: %w", coffer.ErrCorrupt)
	}
	return nil
}

func (s *Server) peopleRoutes() {
	s.userRoutes()
	s.tokenRoutes()
	s.sessionRoutes()
}

func (s *Server) userRoutes() {
	handle(s, &route{
		id: "list-users", method: http.MethodGet, path: "/v1/users", tag: "people", action: access.AdminUser, summary: "The people who can sign in",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Users], error) {
		list, err := s.People.Users(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Users]{Status: http.StatusOK, Body: api.Users{Users: make([]api.User, len(list))}}
		for i := range list {
			out.Body.Users[i] = userOf(&list[i])
		}
		return out, nil
	})
	handle(s, &route{
		id: "add-user", method: http.MethodPost, path: "/v1/users", tag: "people", action: access.AdminUser, status: http.StatusCreated,
		summary: "Add a person; the answer has the one-time code for the first sign-in", also: []int{409},
		doc: "The code is good for one hour and one use. It stands in the first answer alone: sent again under its key, the request is answered without it.",
	}, func(ctx context.Context, c *call, in *actsWith[api.UserBody]) (*secret[api.NewUser], error) {
		u, code, err := s.People.AddUser(ctx, c.ask, in.Body.Name, in.Body.Roles, in.Body.Teams)
		if err != nil {
			return nil, err
		}
		return &secret[api.NewUser]{Status: http.StatusCreated, Body: api.NewUser{User: userOf(&u), Code: code}}, nil
	})
	handle(s, &route{
		id: "set-roles", method: http.MethodPut, path: "/v1/users/{user}/roles", tag: "people", action: access.AdminUser, status: http.StatusNoContent,
		summary: "Replace a person's roles and teams; sessions and tokens have the new ones at once", also: []int{409},
	}, func(ctx context.Context, c *call, in *ofUserWith[api.RolesBody]) (*struct{}, error) {
		return &struct{}{}, s.People.SetRoles(ctx, c.ask, in.User, in.Body.Roles, in.Body.Teams)
	})
	handle(s, &route{
		id: "set-disabled", method: http.MethodPut, path: "/v1/users/{user}/disabled", tag: "people", action: access.AdminUser, status: http.StatusNoContent,
		summary: "Keep a person out and end their sessions, or let them in again", also: []int{409},
	}, func(ctx context.Context, c *call, in *ofUserWith[api.DisabledBody]) (*struct{}, error) {
		return &struct{}{}, s.People.Disable(ctx, c.ask, in.User, in.Body.Disabled)
	})
	handle(s, &route{
		id: "new-code", method: http.MethodPost, path: "/v1/users/{user}/code", tag: "people", action: access.AdminUser, status: http.StatusCreated,
		summary: "A new one-time code for a person who lost passphrase or passkey", also: []int{409},
		doc: "Earlier codes are void, and with the use of this one passphrase and passkeys end. It stands in the first answer alone.",
	}, func(ctx context.Context, c *call, in *actsOnUser) (*secret[api.NewCode], error) {
		code, err := s.People.NewCode(ctx, c.ask, in.User)
		if err != nil {
			return nil, err
		}
		return &secret[api.NewCode]{Status: http.StatusCreated, Body: api.NewCode{User: in.User, Code: code}}, nil
	})
}

func (s *Server) tokenRoutes() {
	const shown = "The text of the token stands in the first answer alone: sent again under its key, the request is answered without it."
	create := func(ctx context.Context, c *call, owner string, b *api.NewTokenBody) (*secret[api.NewToken], error) {
		spec := identity.TokenSpec{Label: s.Home.Scrub(b.Label), Life: time.Duration(b.Days) * 24 * time.Hour}
		for _, a := range b.Scopes {
			spec.Scopes = append(spec.Scopes, access.Action(a))
		}
		for _, n := range b.Networks {
			p, err := netip.ParsePrefix(n)
			if err != nil {
				return nil, fmt.Errorf("a network is written as in 10.0.0.0/8: %w", coffer.ErrInvalid)
			}
			spec.Networks = append(spec.Networks, p.Masked())
		}
		t, text, err := s.People.CreateToken(ctx, c.ask, owner, spec)
		if err != nil {
			return nil, err
		}
		return &secret[api.NewToken]{Status: http.StatusCreated, Body: api.NewToken{Token: tokenOf(&t), Secret: text}}, nil
	}
	list := func(ctx context.Context, c *call, owner string) (*reply[api.Tokens], error) {
		list, err := s.People.Tokens(ctx, c.ask, owner)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Tokens]{Status: http.StatusOK, Body: api.Tokens{Tokens: make([]api.Token, len(list))}}
		for i := range list {
			out.Body.Tokens[i] = tokenOf(&list[i])
		}
		return out, nil
	}
	handle(s, &route{
		id: "list-own-tokens", method: http.MethodGet, path: "/v1/caller/tokens", tag: "people", action: access.TokenCreate, summary: "The caller's access tokens",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Tokens], error) {
		return list(ctx, c, c.ask.Caller.ID)
	})
	handle(s, &route{
		id: "create-own-token", method: http.MethodPost, path: "/v1/caller/tokens", tag: "people", action: access.TokenCreate, status: http.StatusCreated,
		summary: "Make an access token for scripts", doc: shown, also: []int{409},
	}, func(ctx context.Context, c *call, in *actsWith[api.NewTokenBody]) (*secret[api.NewToken], error) {
		return create(ctx, c, c.ask.Caller.ID, &in.Body)
	})
	handle(s, &route{
		id: "revoke-own-token", method: http.MethodDelete, path: "/v1/caller/tokens/{token}", tag: "people", action: access.TokenCreate, status: http.StatusNoContent,
		summary: "End one of the caller's tokens at once",
	}, func(ctx context.Context, c *call, in *tokenIn) (*struct{}, error) {
		return &struct{}{}, s.People.RevokeToken(ctx, c.ask, c.ask.Caller.ID, in.Token)
	})
	handle(s, &route{
		id: "list-tokens", method: http.MethodGet, path: "/v1/users/{user}/tokens", tag: "people", action: access.AdminToken, summary: "A person's access tokens",
	}, func(ctx context.Context, c *call, in *ofUser) (*reply[api.Tokens], error) {
		return list(ctx, c, in.User)
	})
	handle(s, &route{
		id: "create-token", method: http.MethodPost, path: "/v1/users/{user}/tokens", tag: "people", action: access.AdminToken, status: http.StatusCreated,
		summary: "Make an access token for somebody's scripts; for the operator of the machine alone", doc: shown, also: []int{409},
	}, func(ctx context.Context, c *call, in *actsOnUserWith[api.NewTokenBody]) (*secret[api.NewToken], error) {
		return create(ctx, c, in.User, &in.Body)
	})
	handle(s, &route{
		id: "revoke-token", method: http.MethodDelete, path: "/v1/users/{user}/tokens/{token}", tag: "people", action: access.AdminToken, status: http.StatusNoContent,
		summary: "End one of a person's tokens at once",
	}, func(ctx context.Context, c *call, in *userTokenIn) (*struct{}, error) {
		return &struct{}{}, s.People.RevokeToken(ctx, c.ask, in.User, in.Token)
	})
}

func (s *Server) sessionRoutes() {
	list := func(ctx context.Context, c *call, person string) (*reply[api.Sessions], error) {
		list, err := s.People.Sessions(ctx, c.ask, person)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Sessions]{Status: http.StatusOK, Body: api.Sessions{Sessions: make([]api.Session, len(list))}}
		for i, x := range list {
			one := api.Session{
				Session: x.ID, How: string(x.How), MFA: x.MFA, SignedIn: x.SignedIn, Started: x.Started, LastSeen: x.LastSeen, Until: x.Until,
				Current: x.ID == c.session.ID,
			}
			if x.Network.IsValid() {
				one.Network = x.Network.String()
			}
			out.Body.Sessions[i] = one
		}
		return out, nil
	}
	handle(s, &route{
		id: "list-own-sessions", method: http.MethodGet, path: "/v1/caller/sessions", tag: "people", action: access.SessionEnd, summary: "Where the caller is signed in",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Sessions], error) {
		return list(ctx, c, c.ask.Caller.ID)
	})
	handle(s, &route{
		id: "end-own-sessions", method: http.MethodDelete, path: "/v1/caller/sessions", tag: "people", action: access.SessionEnd, status: http.StatusNoContent,
		summary: "Sign the caller out everywhere", also: []int{409},
	}, func(ctx context.Context, c *call, _ *none) (*struct{}, error) {
		return &struct{}{}, s.People.SignOutEverywhere(ctx, c.ask, c.ask.Caller.ID)
	})
	handle(s, &route{
		id: "end-own-session", method: http.MethodDelete, path: "/v1/caller/sessions/{session}", tag: "people", action: access.SessionEnd, status: http.StatusNoContent,
		summary: "End one of the caller's sessions",
	}, func(ctx context.Context, c *call, in *sessionIn) (*struct{}, error) {
		return &struct{}{}, s.People.EndSession(ctx, c.ask, c.ask.Caller.ID, in.Session)
	})
	handle(s, &route{
		id: "list-sessions", method: http.MethodGet, path: "/v1/users/{user}/sessions", tag: "people", action: access.AdminUser, summary: "Where a person is signed in",
	}, func(ctx context.Context, c *call, in *ofUser) (*reply[api.Sessions], error) {
		return list(ctx, c, in.User)
	})
	handle(s, &route{
		id: "end-sessions", method: http.MethodDelete, path: "/v1/users/{user}/sessions", tag: "people", action: access.AdminUser, status: http.StatusNoContent,
		summary: "Sign a person out everywhere", also: []int{409},
	}, func(ctx context.Context, c *call, in *ofUser) (*struct{}, error) {
		return &struct{}{}, s.People.SignOutEverywhere(ctx, c.ask, in.User)
	})
	handle(s, &route{
		id: "end-session", method: http.MethodDelete, path: "/v1/users/{user}/sessions/{session}", tag: "people", action: access.AdminUser, status: http.StatusNoContent,
		summary: "End one of a person's sessions",
	}, func(ctx context.Context, c *call, in *userSessionIn) (*struct{}, error) {
		return &struct{}{}, s.People.EndSession(ctx, c.ask, in.User, in.Session)
	})
}

// known is a time that may not be known.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func userOf(u *identity.User) api.User {
	return api.User{
		User: u.ID, Name: u.Name, Issuer: u.Issuer, Roles: orEmpty(u.Roles), Teams: orEmpty(u.Teams), Disabled: u.Disabled, Created: u.Created,
		SignedIn: known(u.SignedIn), Passphrase: u.Passphrase, Passkeys: u.Passkeys, CodeUntil: known(u.CodeUntil),
	}
}

func tokenOf(t *identity.Token) api.Token {
	out := api.Token{
		Token: t.ID, User: t.Owner, Label: t.Label, Scopes: make([]string, len(t.Scopes)), Created: t.Created, Expires: t.Expires, LastUsed: known(t.LastUsed),
	}
	for i, a := range t.Scopes {
		out.Scopes[i] = string(a)
	}
	for _, n := range t.Networks {
		out.Networks = append(out.Networks, n.String())
	}
	return out
}
