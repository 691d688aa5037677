package api

import "time"

// User is a person who can sign in.
type User struct {
	User       string     `json:"user" doc:"Pseudonymous id."`
	Name       string     `json:"name,omitempty"`
	Issuer     string     `json:"issuer,omitempty" doc:"The provider from which the person comes; absent for local users."`
	Roles      []string   `json:"roles"`
	Teams      []string   `json:"teams"`
	Disabled   bool       `json:"disabled"`
	Created    time.Time  `json:"created"`
	SignedIn   *time.Time `json:"signedIn,omitempty"`
	Passphrase bool       `json:"passphrase"`
	Passkeys   int        `json:"passkeys"`
	CodeUntil  *time.Time `json:"codeUntil,omitempty"`
}

// Users lists the people who can sign in.
type Users struct {
	Users []User `json:"users"`
}

// UserBody adds a person.
type UserBody struct {
	Name  string   `json:"name" minLength:"1" maxLength:"64" doc:"To sign in with: a-z 0-9 . _ - @ +"`
	Roles []string `json:"roles,omitempty" maxItems:"64" maxLength:"128"`
	Teams []string `json:"teams,omitempty" maxItems:"64" maxLength:"128"`
}

// NewUser is a person with the one-time code for the next sign-in.
type NewUser struct {
	User
	Code string `json:"code,omitempty" doc:"Stands in the first answer alone, and nowhere else."`
}

// Bare returns the user without the code: what may be kept of the answer.
func (u NewUser) Bare() NewUser {
	u.Code = ""
	return u
}

// RolesBody replaces a person's roles and teams.
type RolesBody struct {
	Roles []string `json:"roles" maxItems:"64" maxLength:"128"`
	Teams []string `json:"teams" maxItems:"64" maxLength:"128"`
}

// DisabledBody keeps a person out, or lets them in again.
type DisabledBody struct {
	Disabled bool `json:"disabled"`
}

// NewCode is a one-time code for a person who lost passphrase or passkey.
type NewCode struct {
	User string `json:"user"`
	Code string `json:"code,omitempty" doc:"Stands in the first answer alone, and nowhere else."`
}

// Bare returns it without the code: what may be kept of the answer.
func (n NewCode) Bare() NewCode {
	n.Code = ""
	return n
}

// NewTokenBody makes an access token for scripts.
type NewTokenBody struct {
	Scopes   []string `json:"scopes" minItems:"1" maxItems:"64" maxLength:"64" doc:"Actions that it is for."`
	Days     int      `json:"days,omitempty" minimum:"0" maximum:"90" doc:"How long it lasts; 30 when left out."`
	Networks []string `json:"networks,omitempty" maxItems:"16" maxLength:"64" doc:"From which alone it is good, as in 10.0.0.0/8."`
	Label    string   `json:"label,omitempty" maxLength:"100" doc:"What it is for."`
}

// Token is an access token as its owner sees it.
type Token struct {
	Token    string     `json:"token" doc:"Its id; opens nothing."`
	User     string     `json:"user"`
	Label    string     `json:"label,omitempty"`
	Scopes   []string   `json:"scopes"`
	Networks []string   `json:"networks,omitempty"`
	Created  time.Time  `json:"created"`
	Expires  time.Time  `json:"expires"`
	LastUsed *time.Time `json:"lastUsed,omitempty"`
}

// NewToken is a token with its text.
type NewToken struct {
	Token
	Secret string `json:"secret,omitempty" doc:"Stands in the first answer alone, and nowhere else."`
}

// Bare returns the token without its text: what may be kept of the answer.
func (t NewToken) Bare() NewToken {
	t.Secret = ""
	return t
}

// Tokens lists tokens that have not expired, the oldest first.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// Session is somebody who signed in.
type Session struct {
	Session  string    `json:"session" doc:"Its id; opens nothing."`
	How      string    `json:"how"`
	MFA      bool      `json:"mfa"`
	SignedIn time.Time `json:"signedIn"`
	Started  time.Time `json:"started"`
	LastSeen time.Time `json:"lastSeen"`
	Until    time.Time `json:"until"`
	Network  string    `json:"network,omitempty"`
	Current  bool      `json:"current,omitempty" doc:"This request came with it."`
}

// Sessions lists the live sessions of a person, the oldest first.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}
