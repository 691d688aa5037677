package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// How is the way in which somebody proved who they are.
type How string

// The ways.
const (
	ByPassphrase How = "passphrase"
	ByPasskey    How = "passkey"
	ByCode       How = "code" // opens no session, only the choice of a passphrase or passkey
	ByOIDC       How = "oidc"
	ByToken      How = "token"  // a personal token
	ByJWT        How = "jwt"    // an issuer's access token
	ByIAM        How = "iam"    // a signature that AWS has verified
	byLogout     How = "logout" // a provider's logout token
)

// Session is somebody who signed in. Its caller is as of this very moment: roles that were taken away are not in it.
type Session struct {
	ID       string // names it in lists and in the log; opens nothing
	Caller   access.Caller
	How      How
	MFA      bool      // more than one factor was proved
	SignedIn time.Time // when the person last proved who they are
	Started  time.Time // a step-up does not move it
	LastSeen time.Time // to half a minute, never too late
	Until    time.Time // when it ends unless it is used or ended before
	Network  netip.Addr
}

// Context returns the circumstances that a session adds to a request, for the policy.
func (s Session) Context(now time.Time, m Meta) access.Context {
	return access.Context{Now: now, Request: m.Request, Network: m.Network, SignedIn: s.SignedIn, MFA: s.MFA, Session: s.ID}
}

// session is what is stored. Its part in the store is the keyed hash of the cookie.
type session struct {
	ID       string     `json:"id"`
	Person   string     `json:"person"`
	Name     string     `json:"name,omitempty"` // for display; of a provider's user it is nowhere else but in the log's table
	Epoch    int        `json:"epoch"`
	How      How        `json:"how"`
	MFA      bool       `json:"mfa,omitempty"`
	SignedIn time.Time  `json:"signedIn"`
	Started  time.Time  `json:"started"`
	LastSeen time.Time  `json:"lastSeen"`
	Network  netip.Addr `json:"network,omitzero"`
	Sid      string     `json:"sid,omitempty"` // hash of the provider's session

	hash, version string
}

func sessionKey(hash string) store.Key { return store.Key{Part: "IS#" + hash, Sort: "session"} }
func sessionsPart(person string) string {
	return "IL#" + person
}
func sidPart(hash string) string { return "ID#" + hash }

func (id *Identity) idle() time.Duration {
	if id.Config.Idle > 0 {
		return id.Config.Idle
	}
	return DefaultIdle
}

func (id *Identity) absolute() time.Duration {
	if id.Config.Absolute > 0 {
		return id.Config.Absolute
	}
	return DefaultAbsolute
}

// Session returns the session that a cookie opens, and notes that it was used. Everything is looked at anew each time: whoever was
// disabled, signed out everywhere or lost a role a moment ago is not what they were. Errors wrap a [*RefusedError], or
// [coffer.ErrUnavailable] and others when the store does not answer.
func (id *Identity) Session(ctx context.Context, cookie string, m Meta) (Session, error) {
	s, a, err := id.open(ctx, cookie)
	if err != nil {
		return Session{}, err
	}
	now := id.Now().UTC()
	if !m.Passive && now.Sub(s.LastSeen) >= touchEvery {
		s.LastSeen = now
		op := put(sessionKey(s.hash), s, s.version, now.Add(id.absolute()))
		err := id.DB.Apply(ctx, op)
		switch {
		case err == nil:
			s.version = op.Item.Version
		case errors.Is(err, coffer.ErrConflict):
			// Another request of this session was quicker, or it was ended this very moment.
			if s, a, err = id.open(ctx, cookie); err != nil {
				return Session{}, err
			}
		default:
			return Session{}, fmt.Errorf("noting the use of a session: %w", err)
		}
	}
	return id.view(s, a), nil
}

// open reads the session of a cookie with the account of its person, and refuses what is not good any more.
func (id *Identity) open(ctx context.Context, cookie string) (*session, *account, error) {
	if cookie == "" {
		return nil, nil, refuse(NoCredential)
	}
	if len(cookie) != 43 {
		return nil, nil, refuse(Unknown)
	}
	return id.openHash(ctx, id.hash("session", cookie))
}

func (id *Identity) openHash(ctx context.Context, hash string) (*session, *account, error) {
	s := &session{hash: hash}
	var err error
	s.version, err = id.get(ctx, sessionKey(hash), s)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, nil, refuse(Unknown)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("session: %w", err)
	}
	now := id.Now()
	switch {
	case !now.Before(s.Started.Add(id.absolute())):
		return nil, nil, refuse(Expired)
	case !now.Before(s.LastSeen.Add(id.idle())):
		return nil, nil, refuse(Idle)
	}
	a, err := id.account(ctx, s.Person)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return nil, nil, refuse(Ended)
	case err != nil:
		return nil, nil, err
	case a.Disabled:
		return nil, nil, refuse(Disabled)
	case a.Epoch != s.Epoch || !id.from(a):
		return nil, nil, refuse(Ended)
	}
	return s, a, nil
}

// from reports whether people may come from where the account is: here without a provider, else the provider alone.
func (id *Identity) from(a *account) bool {
	if p := id.Config.Provider; p != nil {
		return a.Issuer == p.Issuer
	}
	return a.Issuer == ""
}

func (id *Identity) view(s *session, a *account) Session {
	until := s.LastSeen.Add(id.idle())
	if end := s.Started.Add(id.absolute()); end.Before(until) {
		until = end
	}
	return Session{
		ID: s.ID, Caller: a.caller(s.Name), How: s.How, MFA: s.MFA, SignedIn: s.SignedIn, Started: s.Started, LastSeen: s.LastSeen,
		Until: until, Network: s.Network,
	}
}

// start is a sign-in that was proved.
type start struct {
	how      How
	mfa      bool
	signedIn time.Time
	name     string
	sid      string
	stepUp   *session // the session that it strengthens; nil: a new one
	set      How      // the credential that was chosen with it; empty: none
}

// begin opens a session, with a cookie of its own whatever came before, in one Apply with its entry and ops. It ends the session of the
// cookie that came along, and the oldest one when there would be too many. a is as it was read; ops may hold its new version, else
// it must be unchanged.
func (id *Identity) begin(ctx context.Context, a *account, how start, m Meta, ops ...store.Op) (string, Session, error) {
	p, err := id.Guard.Check(ctx, a.caller(how.name), access.SessionStart, access.Resource{Kind: access.System}, id.context(m))
	if err != nil {
		return "", Session{}, err
	}
	now := id.Now().UTC()
	cookie := newSecret()
	s := &session{
		ID: newID("s-"), Person: a.ID, Name: how.name, Epoch: a.Epoch, How: how.how, MFA: how.mfa, SignedIn: how.signedIn.UTC(),
		Started: now, LastSeen: now, Network: m.Network, Sid: how.sid, hash: id.hash("session", cookie),
	}
	ends := []*session{}
	if old := how.stepUp; old != nil {
		s.Started = old.Started
		ends = append(ends, old)
	} else if m.Cookie != "" {
		old, _, err := id.open(ctx, m.Cookie)
		if err != nil && causeOf(err) == "" {
			return "", Session{}, err
		}
		if err == nil {
			ends = append(ends, old)
		}
	}
	live, err := id.sessions(ctx, a)
	if err != nil {
		return "", Session{}, err
	}
	for len(live) >= MaxSessions {
		ends = append(ends, live[0])
		live = live[1:]
	}
	until := s.Started.Add(id.absolute())
	own := !slices.ContainsFunc(ops, func(op store.Op) bool { return op.Item.Key == accountKey(a.ID) })
	if own {
		ops = append(ops, a.unchanged())
	}
	gone := make(map[store.Key]bool)
	for _, old := range ends {
		for _, op := range old.end() {
			if !gone[op.Item.Key] {
				gone[op.Item.Key] = true
				ops = append(ops, op)
			}
		}
	}
	ops = append(ops,
		put(sessionKey(s.hash), s, store.Absent, until),
		put(store.Key{Part: sessionsPart(a.ID), Sort: s.ID}, s.hash, store.Absent, until),
		put(seenKey(a.ID), seen{now}, store.Any, time.Time{}))
	if s.Sid != "" {
		ops = append(ops, put(store.Key{Part: sidPart(s.Sid), Sort: s.ID}, s.hash, store.Absent, until))
	}
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"how": string(how.how), "session": s.ID, "mfa": fmt.Sprint(how.mfa)}
	if how.stepUp != nil {
		e.Detail["step-up"] = how.stepUp.ID
	}
	if how.set != "" {
		e.Detail["set"] = string(how.set)
	}
	if _, err := id.Guard.Log.Apply(ctx, e, ops...); err != nil {
		return "", Session{}, fmt.Errorf("opening a session: %w", err)
	}
	return cookie, id.view(s, a), nil
}

// end returns the operations that end the session.
func (s *session) end() []store.Op {
	ops := []store.Op{del(sessionKey(s.hash)), del(store.Key{Part: sessionsPart(s.Person), Sort: s.ID})}
	if s.Sid != "" {
		ops = append(ops, del(store.Key{Part: sidPart(s.Sid), Sort: s.ID}))
	}
	return ops
}

// sessions returns the live sessions of a person, the oldest first, and tidies away what is left of others.
func (id *Identity) sessions(ctx context.Context, a *account) ([]*session, error) {
	var live []*session
	for it, err := range id.DB.Query(ctx, sessionsPart(a.ID), store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("listing sessions: %w", err)
		}
		var hash string
		if _, err := id.get(ctx, it.Key, &hash); errors.Is(err, coffer.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		s, _, err := id.openHash(ctx, hash)
		if err == nil {
			live = append(live, s)
			continue
		}
		if causeOf(err) == "" {
			return nil, err
		}
		// It was ended, or its time is over: nobody can open it any more, so nothing is lost when this does not succeed.
		_ = id.DB.Apply(ctx, del(sessionKey(hash)), del(it.Key))
	}
	slices.SortFunc(live, func(a, b *session) int { return a.Started.Compare(b.Started) })
	return live, nil
}

// SignOut ends the session of a cookie. With a provider it returns the address to which the browser goes to sign out there too; empty:
// there is none. A cookie that opens nothing is no error: the person is out.
func (id *Identity) SignOut(ctx context.Context, cookie string, m Meta) (string, error) {
	s, a, err := id.open(ctx, cookie)
	if causeOf(err) != "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	p, err := id.Guard.Check(ctx, a.caller(s.Name), access.SessionEnd, access.Resource{Kind: access.System}, id.context(m))
	if err != nil {
		return "", err
	}
	e := p.Entry(audit.Done)
	e.Detail = map[string]string{"session": s.ID}
	if _, err := id.Guard.Log.Apply(ctx, e, s.end()...); err != nil {
		return "", fmt.Errorf("ending a session: %w", err)
	}
	return id.logoutURL(ctx), nil
}

// logoutURL is where the browser goes to sign out at the provider. No ID token goes with it: addresses end up in histories and logs.
func (id *Identity) logoutURL(ctx context.Context) string {
	cfg := id.Config.Provider
	if cfg == nil {
		return ""
	}
	p, err := id.discover(ctx)
	if err != nil || p.endSession == "" {
		return "" // the session here is over all the same
	}
	u, err := webURL(p.endSession)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", cfg.ClientID)
	q.Set("post_logout_redirect_uri", id.Config.Origin+"/")
	u.RawQuery = q.Encode()
	return u.String()
}

// concerning asks whether the caller may do something with the sessions of a person: their own, or as an administrator.
func (id *Identity) concerning(ctx context.Context, ask access.Ask, person string) (*audit.Permit, error) {
	if person == ask.Caller.ID {
		return id.permit(ctx, ask, access.SessionEnd)
	}
	return id.permit(ctx, ask, access.AdminUser)
}

// Sessions returns the live sessions of a person, the oldest first. Others than the person need [access.AdminUser].
func (id *Identity) Sessions(ctx context.Context, ask access.Ask, person string) ([]Session, error) {
	p, err := id.concerning(ctx, ask, person)
	if err != nil {
		return nil, err
	}
	a, err := id.account(ctx, person)
	if err != nil {
		return nil, err
	}
	live, err := id.sessions(ctx, a)
	if err != nil {
		return nil, err
	}
	if _, err := id.Guard.Log.Append(ctx, about(p, person, "sessions")); err != nil {
		return nil, err
	}
	var out []Session
	for _, s := range live {
		out = append(out, id.view(s, a))
	}
	return out, nil
}

// EndSession ends one session of a person by its id; [coffer.ErrNotFound] when there is none. Others than the person need
// [access.AdminUser].
func (id *Identity) EndSession(ctx context.Context, ask access.Ask, person, sessionID string) error {
	p, err := id.concerning(ctx, ask, person)
	if err != nil {
		return err
	}
	a, err := id.account(ctx, person)
	if err != nil {
		return err
	}
	live, err := id.sessions(ctx, a)
	if err != nil {
		return err
	}
	for _, s := range live {
		if s.ID == sessionID {
			_, err := id.Guard.Log.Apply(ctx, about(p, person, "end-session", "session", s.ID), s.end()...)
			return err
		}
	}
	return fmt.Errorf("session: %w", coffer.ErrNotFound)
}

// SignOutEverywhere ends every session of a person at once, also those that begin at this moment. Others than the person need
// [access.AdminUser].
func (id *Identity) SignOutEverywhere(ctx context.Context, ask access.Ask, person string) error {
	p, err := id.concerning(ctx, ask, person)
	if err != nil {
		return err
	}
	a, err := id.account(ctx, person)
	if err != nil {
		return err
	}
	a.Epoch++
	if _, err := id.Guard.Log.Apply(ctx, about(p, person, "sign-out-everywhere"), a.save()); err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	return nil
}
