package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"

	"github.com/go-webauthn/webauthn/webauthn"
)

// User is a person who can sign in, as administrators see them.
type User struct {
	ID         string    // pseudonymous, as in the log
	Name       string    // by which a local user signs in; of others as the log's table of names has it, or empty
	Issuer     string    // the provider from which the person comes; empty: a local user
	Roles      []string  // of others: as the provider gave them at the last sign-in
	Teams      []string  //
	Disabled   bool      //
	Created    time.Time //
	SignedIn   time.Time // last; zero: never
	Passphrase bool      // one is set
	Passkeys   int       //
	CodeUntil  time.Time // a one-time code is open until then; zero: none
}

// account is what is stored about a person.
type account struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"` // of local users: they sign in with it
	Issuer   string    `json:"issuer,omitempty"`
	Roles    []string  `json:"roles,omitempty"`
	Teams    []string  `json:"teams,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
	// Epoch is raised to end every session at once: a session is good only for the epoch in which it began.
	Epoch     int         `json:"epoch"`
	Code      string      `json:"code,omitempty"` // hash of the open one-time code
	CodeUntil time.Time   `json:"codeUntil,omitzero"`
	Pass      *passphrase `json:"pass,omitempty"`
	Passkeys  []passkey   `json:"passkeys,omitempty"`

	version string
}

type passkey struct {
	Credential webauthn.Credential `json:"credential"`
	Added      time.Time           `json:"added"`
}

type seen struct {
	At time.Time `json:"at"`
}

const partUsers = "IU"

func accountKey(id string) store.Key { return store.Key{Part: partUsers + "#" + id, Sort: "account"} }
func seenKey(id string) store.Key    { return store.Key{Part: partUsers + "#" + id, Sort: "seen"} }

// caller is the person as a caller who signed in.
func (a *account) caller(name string) access.Caller {
	return access.Caller{ID: a.ID, Name: name, Kind: access.UserCaller, Roles: a.Roles, Teams: a.Teams}
}

// account reads a person's account; [coffer.ErrNotFound] when there is none.
func (id *Identity) account(ctx context.Context, person string) (*account, error) {
	if !access.ValidID(person) {
		return nil, fmt.Errorf("user: %w", coffer.ErrNotFound)
	}
	a := new(account)
	v, err := id.get(ctx, accountKey(person), a)
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	a.version = v
	return a, nil
}

// save returns the operation that writes a over what was read.
func (a *account) save() store.Op { return put(accountKey(a.ID), a, a.version, time.Time{}) }

// unchanged returns the operation that demands that nobody changed the account since it was read.
func (a *account) unchanged() store.Op {
	return store.Op{Verb: store.Check, Expect: a.version, Item: store.Item{Key: accountKey(a.ID)}}
}

// foldName returns the form of a name under which it is looked up; "" when it cannot be a name.
func foldName(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" || len(name) > 64 {
		return ""
	}
	for _, r := range name {
		if ('a' > r || r > 'z') && ('0' > r || r > '9') && !strings.ContainsRune("._-@+", r) {
			return ""
		}
	}
	return name
}

func (id *Identity) nameKey(folded string) store.Key {
	return store.Key{Part: "IN#" + id.hash("name", folded), Sort: "name"}
}

// byName returns the local account with this name; nil when there is none.
func (id *Identity) byName(ctx context.Context, folded string) (*account, error) {
	var person string
	_, err := id.get(ctx, id.nameKey(folded), &person)
	if err == nil {
		var a *account
		if a, err = id.account(ctx, person); err == nil {
			return a, nil
		}
	}
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, nil
	}
	return nil, err
}

// Find returns the id of the user with this name or id, for an act on that user, which is recorded; [coffer.ErrNotFound] when there is
// none. It needs [access.AdminUser].
func (id *Identity) Find(ctx context.Context, ask access.Ask, nameOrID string) (string, error) {
	if _, err := id.permit(ctx, ask, access.AdminUser); err != nil {
		return "", err
	}
	a, err := id.byName(ctx, foldName(nameOrID))
	if a == nil && err == nil {
		a, err = id.account(ctx, nameOrID)
	}
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

// AddUser adds a local user and returns a one-time code for the first sign-in, good for [CodeFor]; it stands nowhere else. A name is
// 1 to 64 of a-z 0-9 . _ - @ +, case ignored. A name that is taken is [coffer.ErrConflict].
func (id *Identity) AddUser(ctx context.Context, ask access.Ask, name string, roles, teams []string) (User, string, error) {
	if err := id.local(); err != nil {
		return User{}, "", err
	}
	p, err := id.permit(ctx, ask, access.AdminUser)
	if err != nil {
		return User{}, "", err
	}
	folded := foldName(name)
	if folded == "" {
		return User{}, "", fmt.Errorf("a name is 1 to 64 of a-z 0-9 . _ - @ +: %w", coffer.ErrInvalid)
	}
	if roles, teams, err = checkWords(roles, teams); err != nil {
		return User{}, "", err
	}
	now := id.Now().UTC()
	// The subject is random, so that a name that is given again is not the same person.
	a := &account{ID: id.person("", rand.Text()), Name: folded, Roles: roles, Teams: teams, Created: now}
	code, ops := id.openCode(a)
	ops = append(ops, a.save(),
		put(id.nameKey(folded), a.ID, store.Absent, time.Time{}),
		put(store.Key{Part: partUsers, Sort: a.ID}, struct{}{}, store.Absent, time.Time{}))
	if _, err := id.Guard.Log.Apply(ctx, about(p, a.ID, "add", "roles", strings.Join(roles, ",")), ops...); err != nil {
		return User{}, "", fmt.Errorf("adding a user: %w", err)
	}
	return a.user(), code, nil
}

func (a *account) user() User {
	return User{
		ID: a.ID, Name: a.Name, Issuer: a.Issuer, Roles: a.Roles, Teams: a.Teams, Disabled: a.Disabled, Created: a.Created,
		Passphrase: a.Pass != nil, Passkeys: len(a.Passkeys), CodeUntil: a.CodeUntil,
	}
}

// about begins the entry of an administrator's act on a person.
func about(p *audit.Permit, person, what string, more ...string) audit.Entry {
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"person": person, "what": what}
	for pair := range slices.Chunk(more, 2) {
		if pair[1] != "" && len(pair[1]) <= 256 {
			e.Detail[pair[0]] = pair[1]
		}
	}
	return e
}

// permit asks the policy about the installation.
func (id *Identity) permit(ctx context.Context, ask access.Ask, action access.Action) (*audit.Permit, error) {
	return id.Guard.Check(ctx, ask.Caller, action, access.Resource{Kind: access.System}, ask.Context)
}

func checkWords(roles, teams []string) ([]string, []string, error) {
	for _, r := range roles {
		if err := checkRole(r); err != nil {
			return nil, nil, err
		}
	}
	for _, t := range teams {
		if !access.ValidID(t) {
			return nil, nil, fmt.Errorf("a team's name is 1 to 128 of A-Z a-z 0-9 . _ -: %w", coffer.ErrInvalid)
		}
	}
	if len(roles) > maxWords || len(teams) > maxWords {
		return nil, nil, fmt.Errorf("at most %d roles and %d teams: %w", maxWords, maxWords, coffer.ErrLimit)
	}
	sorted := func(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
	return sorted(roles), sorted(teams), nil
}

// Users returns everybody who can sign in or once could, in order of id.
func (id *Identity) Users(ctx context.Context, ask access.Ask) ([]User, error) {
	p, err := id.permit(ctx, ask, access.AdminUser)
	if err != nil {
		return nil, err
	}
	var users []User
	for it, err := range id.DB.Query(ctx, partUsers, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("listing users: %w", err)
		}
		a, err := id.account(ctx, it.Key.Sort)
		if err != nil {
			return nil, err
		}
		u := a.user()
		if u.Name == "" {
			// The name of a provider's user is in the log's table alone, where it can be deleted.
			if u.Name, err = id.Guard.Log.Person(ctx, u.ID); err != nil && !errors.Is(err, coffer.ErrNotFound) {
				return nil, err
			}
		}
		if u.SignedIn, err = id.seen(ctx, u.ID); err != nil {
			return nil, err
		}
		if !u.CodeUntil.After(id.Now()) {
			u.CodeUntil = time.Time{}
		}
		users = append(users, u)
	}
	if _, err := id.Guard.Log.Append(ctx, about(p, "all", "list")); err != nil {
		return nil, err
	}
	return users, nil
}

// seen returns when a person last signed in; zero: never.
func (id *Identity) seen(ctx context.Context, person string) (time.Time, error) {
	var s seen
	if _, err := id.get(ctx, seenKey(person), &s); err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return time.Time{}, err
	}
	return s.At, nil
}

// change changes a person's account and records it. Nobody but the operator on the command line changes their own: who gives
// roles would give them to themselves.
func (id *Identity) change(ctx context.Context, ask access.Ask, person, what string, f func(*account) ([]store.Op, []string, error)) error {
	p, err := id.permit(ctx, ask, access.AdminUser)
	if err != nil {
		return err
	}
	if person == ask.Caller.ID {
		e := about(p, person, what, "cause", "own-account")
		e.Outcome = audit.Failed
		if _, err := id.Guard.Log.Append(ctx, e); err != nil {
			return err
		}
		return fmt.Errorf("somebody else must change your account: %w", coffer.ErrDenied)
	}
	a, err := id.account(ctx, person)
	if err != nil {
		return err
	}
	ops, detail, err := f(a)
	if err != nil {
		return err
	}
	if _, err := id.Guard.Log.Apply(ctx, about(p, a.ID, what, detail...), append(ops, a.save())...); err != nil {
		return fmt.Errorf("changing a user: %w", err)
	}
	return nil
}

// SetRoles replaces the roles and teams of a local user; live sessions and tokens have the new ones with their next request. A
// provider's user has those that the provider gives: [coffer.ErrUnsupported].
func (id *Identity) SetRoles(ctx context.Context, ask access.Ask, person string, roles, teams []string) error {
	return id.change(ctx, ask, person, "roles", func(a *account) (_ []store.Op, _ []string, err error) {
		if a.Issuer != "" {
			return nil, nil, fmt.Errorf("roles of this user come from the provider: %w", coffer.ErrUnsupported)
		}
		a.Roles, a.Teams, err = checkWords(roles, teams)
		return nil, []string{"roles", strings.Join(a.Roles, ",")}, err
	})
}

// Disable keeps a person out, or lets them in again. Their sessions end at once and for good; their tokens are refused while it lasts.
func (id *Identity) Disable(ctx context.Context, ask access.Ask, person string, disabled bool) error {
	what := "disable"
	if !disabled {
		what = "enable"
	}
	return id.change(ctx, ask, person, what, func(a *account) ([]store.Op, []string, error) {
		a.Disabled = disabled
		a.Epoch++
		ops := id.closeCode(a)
		return ops, nil, nil
	})
}

// NewCode returns a one-time code for a local user who has lost the passphrase or passkey, good for [CodeFor]. Earlier codes are void.
// With the code the user begins anew: whoever has the old credentials cannot get in with them any more.
func (id *Identity) NewCode(ctx context.Context, ask access.Ask, person string) (code string, err error) {
	if err := id.local(); err != nil {
		return "", err
	}
	err = id.change(ctx, ask, person, "code", func(a *account) (ops []store.Op, _ []string, err error) {
		if a.Issuer != "" {
			return nil, nil, fmt.Errorf("this user signs in at the provider: %w", coffer.ErrUnsupported)
		}
		ops = id.closeCode(a)
		var more []store.Op
		code, more = id.openCode(a)
		return append(ops, more...), nil, nil
	})
	if err != nil {
		return "", err
	}
	return code, nil
}
