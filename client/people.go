package client

import (
	"context"
	"net/http"

	"coffer/api"
)

// set says the whole of something; twice is as good as once.
func set(ctx context.Context, cl *Client, path string, body any) error {
	_, _, err := ask[struct{}](ctx, cl, &call{method: http.MethodPut, path: path, body: body})
	return err
}

func remove(ctx context.Context, cl *Client, path string) error {
	_, _, err := ask[struct{}](ctx, cl, &call{method: http.MethodDelete, path: path})
	return err
}

// Users returns the people who can sign in.
func (cl *Client) Users(ctx context.Context) ([]api.User, error) {
	out, err := get[api.Users](ctx, cl, at("users"), nil)
	return out.Users, err
}

// AddUser adds a person. The code for the first sign-in is empty if the answer that had it was lost; then ask for another by NewCode.
func (cl *Client) AddUser(ctx context.Context, b api.UserBody) (api.NewUser, error) {
	return act[api.NewUser](ctx, cl, at("users"), "", b)
}

// SetRoles replaces a person's roles and teams.
func (cl *Client) SetRoles(ctx context.Context, user string, b api.RolesBody) error {
	return set(ctx, cl, at("users", user, "roles"), b)
}

// SetDisabled keeps a person out, or lets them in again.
func (cl *Client) SetDisabled(ctx context.Context, user string, disabled bool) error {
	return set(ctx, cl, at("users", user, "disabled"), api.DisabledBody{Disabled: disabled})
}

// NewCode returns a one-time code for a person who lost passphrase or passkey. It is empty if the answer that had it was lost.
func (cl *Client) NewCode(ctx context.Context, user string) (string, error) {
	out, err := act[api.NewCode](ctx, cl, at("users", user, "code"), "", nil)
	return out.Code, err
}

// person is the path of somebody; empty: of the caller.
func person(user string, more ...string) string {
	if user == "" {
		return at(append([]string{"caller"}, more...)...)
	}
	return at(append([]string{"users", user}, more...)...)
}

// Tokens returns the access tokens of a person; of the caller when user is empty.
func (cl *Client) Tokens(ctx context.Context, user string) ([]api.Token, error) {
	out, err := get[api.Tokens](ctx, cl, person(user, "tokens"), nil)
	return out.Tokens, err
}

// CreateToken makes an access token for the caller, or, where user is not empty, for somebody else. Its secret is empty if the answer
// that had it was lost.
func (cl *Client) CreateToken(ctx context.Context, user string, b api.NewTokenBody) (api.NewToken, error) {
	return act[api.NewToken](ctx, cl, person(user, "tokens"), "", b)
}

// RevokeToken ends a token of a person, or of the caller when user is empty.
func (cl *Client) RevokeToken(ctx context.Context, user, token string) error {
	return remove(ctx, cl, person(user, "tokens", token))
}

// Sessions returns the live sessions of a person; of the caller when user is empty.
func (cl *Client) Sessions(ctx context.Context, user string) ([]api.Session, error) {
	out, err := get[api.Sessions](ctx, cl, person(user, "sessions"), nil)
	return out.Sessions, err
}

// EndSession ends a session of a person, or of the caller when user is empty.
func (cl *Client) EndSession(ctx context.Context, user, session string) error {
	return remove(ctx, cl, person(user, "sessions", session))
}

// EndSessions signs a person out everywhere; the caller when user is empty.
func (cl *Client) EndSessions(ctx context.Context, user string) error {
	return remove(ctx, cl, person(user, "sessions"))
}
