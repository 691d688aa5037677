package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/identity"
)

const (
	setupCookie    = "__Host-coffer-setup"    // the right to choose a passphrase or passkey
	passkeyCookie  = "__Host-coffer-passkey"  //nolint:gosec // a name: a question to a passkey that waits for its answer
	providerCookie = "__Host-coffer-provider" // a sign-in at the provider that was begun in this browser
)

// signInPage is what the pages before and about a sign-in show.
type signInPage struct {
	To       string
	Provider string // host of the provider; empty: people sign in here
	Closed   bool   // nobody can sign in with a browser
	Wrong    string // what was wrong with the last attempt
	At       string // the form that it is about
	Name     string // of whom a set-up is
	Until    *when
	Key      string // of the log, to verify it with
	Anew     bool   // a step-up
	Sessions []sessionRow
}

type sessionRow struct {
	ID, How, Network   string
	Here, MFA          bool
	Started, Seen, End *when
}

// signInPages registers what leads into the portal and out of it.
func (s *Server) signInPages() {
	s.page(&route{id: "home", method: http.MethodGet, path: "/{$}"}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.authenticate(ctx, v.call) == nil && !v.session.Until.IsZero() {
			return &screen{to: "/overview"}, nil
		}
		return s.signIn(v, signInPage{To: "/overview"}), nil
	})
	s.page(&route{id: "sign-in", method: http.MethodGet, path: "/sign-in"}, func(_ context.Context, v *visit) (*screen, error) {
		return s.signIn(v, signInPage{To: localPath(v.get("to"), "/overview")}), nil
	})
	s.page(&route{id: "sign-in-passphrase", method: http.MethodPost, path: "/sign-in"}, func(ctx context.Context, v *visit) (*screen, error) {
		p := signInPage{To: localPath(v.field("to"), "/overview"), At: "passphrase"}
		if s.People == nil {
			return s.signIn(v, p), nil
		}
		cookie, _, err := s.People.SignIn(ctx, v.form.Get("name"), v.form.Get("passphrase"), v.meta())
		return s.in(v, p, cookie, err)
	})
	s.page(&route{id: "sign-in-code", method: http.MethodPost, path: "/sign-in/code"}, func(ctx context.Context, v *visit) (*screen, error) {
		p := signInPage{To: localPath(v.field("to"), "/overview"), At: "code"}
		if s.People == nil {
			return s.signIn(v, p), nil
		}
		setup, err := s.People.SignInWithCode(ctx, v.field("code"), v.meta())
		if err != nil {
			return s.in(v, p, "", err)
		}
		return &screen{to: "/set-up", cookies: []*http.Cookie{hostCookie(setupCookie, setup.Name+"."+setup.Secret, setup.Until.Sub(v.now))}}, nil
	})
	s.page(&route{id: "set-up", method: http.MethodGet, path: "/set-up"}, func(_ context.Context, v *visit) (*screen, error) {
		name, _ := v.setup()
		if name == "" {
			return &screen{to: "/sign-in"}, nil
		}
		return &screen{page: "setup", title: "Choose how to sign in", data: signInPage{Name: name}}, nil
	})
	s.page(&route{id: "set-up-passphrase", method: http.MethodPost, path: "/set-up"}, func(ctx context.Context, v *visit) (*screen, error) {
		name, secret := v.setup()
		if s.People == nil || name == "" {
			return &screen{to: "/sign-in"}, nil
		}
		p := signInPage{Name: name, To: "/overview"}
		if v.form.Get("passphrase") != v.form.Get("again") {
			p.Wrong = "The two are not the same. Type the passphrase again."
			return &screen{page: "setup", title: "Choose how to sign in", data: p, status: http.StatusUnprocessableEntity}, nil
		}
		cookie, _, err := s.People.SetPassphrase(ctx, secret, v.form.Get("passphrase"), v.meta())
		if errors.Is(err, coffer.ErrInvalid) {
			p.Wrong = sentence(err.Error())
			return &screen{page: "setup", title: "Choose how to sign in", data: p, status: http.StatusUnprocessableEntity}, nil
		}
		return s.in(v, p, cookie, err)
	})
	s.passkeyPages()
	s.page(&route{id: "sign-in-provider", method: http.MethodPost, path: "/sign-in/provider"}, func(ctx context.Context, v *visit) (*screen, error) {
		p := signInPage{To: localPath(v.field("to"), "/overview"), At: "provider"}
		if s.People == nil {
			return s.signIn(v, p), nil
		}
		stepUp := ""
		if v.field("anew") != "" {
			stepUp = v.meta().Cookie
		}
		way, err := s.People.BeginOIDC(ctx, p.To, stepUp)
		if err != nil {
			return s.in(v, p, "", err)
		}
		return &screen{away: way.URL, cookies: []*http.Cookie{hostCookie(providerCookie, way.Secret, 10*time.Minute)}}, nil
	})
	s.page(&route{id: "callback", method: http.MethodGet, path: identity.CallbackPath}, func(ctx context.Context, v *visit) (*screen, error) {
		p := signInPage{To: "/overview", At: "provider"}
		if s.People == nil {
			return s.signIn(v, p), nil
		}
		secret := ""
		if k, err := v.r.Cookie(providerCookie); err == nil {
			secret = k.Value
		}
		cookie, _, back, err := s.People.FinishOIDC(ctx, v.r.URL.Query(), secret, v.meta())
		p.To = localPath(back, "/overview")
		return s.in(v, p, cookie, err)
	})
	s.page(&route{id: "sign-out", method: http.MethodPost, path: "/sign-out"}, func(ctx context.Context, v *visit) (*screen, error) {
		out := signedOut()
		if s.People != nil {
			provider, err := s.People.SignOut(ctx, v.meta().Cookie, v.meta())
			if err != nil {
				return nil, err
			}
			if provider != "" {
				out.to, out.away = "", provider
			}
		}
		return out, nil
	})
	s.page(&route{id: "sessions", method: http.MethodGet, path: "/sessions", action: access.SessionEnd}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, fmt.Errorf("sessions: %w", coffer.ErrNotFound)
		}
		list, err := s.People.Sessions(ctx, v.ask, v.ask.Caller.ID)
		if err != nil {
			return nil, err
		}
		var p signInPage
		for _, one := range list {
			p.Sessions = append(p.Sessions, sessionRow{
				ID: one.ID, How: string(one.How), MFA: one.MFA, Network: one.Network.String(), Here: one.ID == v.session.ID,
				Started: v.at(one.Started), Seen: v.at(one.LastSeen), End: v.at(one.Until),
			})
		}
		return &screen{page: "sessions", title: "Sessions", data: p}, nil
	})
	s.page(&route{id: "end-session", method: http.MethodPost, path: "/sessions", action: access.SessionEnd}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, fmt.Errorf("sessions: %w", coffer.ErrNotFound)
		}
		if v.field("all") != "" {
			if err := s.People.SignOutEverywhere(ctx, v.ask, v.ask.Caller.ID); err != nil {
				return nil, err
			}
			return signedOut(), nil
		}
		if err := s.People.EndSession(ctx, v.ask, v.ask.Caller.ID, v.field("session")); err != nil {
			return nil, err
		}
		return &screen{to: "/sessions", said: "The session is ended."}, nil
	})
	s.page(&route{id: "step-up", method: http.MethodGet, path: "/step-up", action: access.SessionStart}, func(_ context.Context, v *visit) (*screen, error) {
		p := s.signInData(signInPage{To: localPath(v.get("to"), "/overview"), Anew: true})
		p.Until = v.at(v.session.SignedIn)
		return &screen{page: "stepup", title: "Sign in again", data: p}, nil
	})
	s.page(&route{id: "step-up-passphrase", method: http.MethodPost, path: "/step-up", action: access.SessionStart}, func(ctx context.Context, v *visit) (*screen, error) {
		p := signInPage{To: localPath(v.field("to"), "/overview"), Anew: true}
		if s.People == nil {
			return nil, fmt.Errorf("sessions: %w", coffer.ErrNotFound)
		}
		cookie, _, err := s.People.StepUp(ctx, v.meta().Cookie, v.form.Get("passphrase"), v.meta())
		return s.in(v, p, cookie, err)
	})
}

// setup returns the name and the secret of the set-up that this browser may do; empty: none.
func (v *visit) setup() (name, secret string) {
	k, err := v.r.Cookie(setupCookie)
	if err != nil {
		return "", ""
	}
	i := strings.LastIndexByte(k.Value, '.')
	if i < 0 {
		return "", ""
	}
	return k.Value[:i], k.Value[i+1:]
}

// signedOut leaves nothing of the session in the browser, pages kept for the back button included.
func signedOut() *screen {
	return &screen{
		to: "/sign-in", cookies: []*http.Cookie{hostCookie(SessionCookie, "", -1)},
		header: http.Header{"Clear-Site-Data": {`"cache", "storage"`}},
	}
}

func (s *Server) signInData(p signInPage) signInPage {
	if s.People == nil || s.Auth == nil {
		p.Closed = true
		return p
	}
	if c := s.People.Config.Provider; c != nil {
		p.Provider = c.Issuer
		if u, err := url.Parse(c.Issuer); err == nil {
			p.Provider = u.Host
		}
	}
	p.Key, _, _ = strings.Cut(s.Guard.Log.VerifierKey(), "+")
	return p
}

func (s *Server) signIn(_ *visit, p signInPage) *screen {
	sc := &screen{page: "signin", title: "Sign in", data: s.signInData(p)}
	if p.Wrong != "" {
		sc.status = http.StatusUnauthorized
	}
	return sc
}

// in ends a sign-in: with the cookie of the session, or with the page again, which says the same whatever was wrong with name, passphrase or
// code.
func (s *Server) in(v *visit, p signInPage, cookie string, err error) (*screen, error) {
	var refused *identity.RefusedError
	switch {
	case err == nil:
		gone := []*http.Cookie{hostCookie(SessionCookie, cookie, 0)}
		for _, name := range []string{setupCookie, passkeyCookie, providerCookie} {
			if _, cerr := v.r.Cookie(name); cerr == nil {
				gone = append(gone, hostCookie(name, "", -1))
			}
		}
		return &screen{to: p.To, cookies: gone}, nil
	case errors.As(err, &refused) && refused.RetryAfter > 0:
		p.Wrong = "Too many attempts. Wait " + age(refused.RetryAfter+time.Minute) + " before the next one."
	case errors.As(err, &refused):
		p.Wrong = "That did not let you in. The attempt is recorded."
		switch p.At {
		case "code":
			p.Wrong = "This code does not let you in: it was used, its hour is over, or it was never given. Ask for a new one."
		case "passphrase":
			p.Wrong = "Name and passphrase do not belong together. The attempt is recorded."
		}
	default:
		return nil, err
	}
	if p.Anew {
		p = s.signInData(p)
		return &screen{page: "stepup", title: "Sign in again", data: p, status: http.StatusUnauthorized}, nil
	}
	return s.signIn(v, p), nil
}

// passkeyPages registers what the script for passkeys talks to.
func (s *Server) passkeyPages() {
	none := fmt.Errorf("nobody signs in with a browser here: %w", coffer.ErrUnsupported)
	ask := func(secret string, options json.RawMessage, until time.Duration) *screen {
		sc := &screen{kind: "application/json", body: options}
		if secret != "" {
			sc.cookies = []*http.Cookie{hostCookie(passkeyCookie, secret, until)}
		}
		return sc
	}
	answer := func(v *visit) ([]byte, error) {
		b, err := io.ReadAll(io.LimitReader(v.r.Body, maxForm))
		if err != nil {
			return nil, fmt.Errorf("answer of a passkey: %w", coffer.ErrInvalid)
		}
		return b, nil
	}
	done := func(v *visit, to, cookie string, err error) (*screen, error) {
		sc, err := s.in(v, signInPage{To: to}, cookie, err)
		if err != nil {
			return nil, err
		}
		if sc.to == "" {
			return nil, newProblem(v.call, "denied", "This passkey does not let you in. The attempt is recorded.")
		}
		b, err := json.Marshal(map[string]string{"to": sc.to})
		return &screen{kind: "application/json", body: b, cookies: sc.cookies}, err
	}
	s.page(&route{id: "sign-in-passkey-begin", method: http.MethodPost, path: "/sign-in/passkey/begin"}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, none
		}
		stepUp := ""
		if v.get("anew") != "" {
			stepUp = v.meta().Cookie
		}
		c, err := s.People.BeginSignIn(ctx, stepUp)
		if err != nil {
			return nil, err
		}
		return ask(c.Secret, c.Options, 5*time.Minute), nil
	})
	s.page(&route{id: "sign-in-passkey", method: http.MethodPost, path: "/sign-in/passkey"}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, none
		}
		b, err := answer(v)
		if err != nil {
			return nil, err
		}
		secret := ""
		if k, err := v.r.Cookie(passkeyCookie); err == nil {
			secret = k.Value
		}
		cookie, _, err := s.People.FinishSignIn(ctx, secret, b, v.meta())
		return done(v, localPath(v.get("to"), "/overview"), cookie, err)
	})
	s.page(&route{id: "set-up-passkey-begin", method: http.MethodPost, path: "/set-up/passkey/begin"}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, none
		}
		_, secret := v.setup()
		options, err := s.People.BeginRegistration(ctx, secret)
		if err != nil {
			return nil, err
		}
		return ask("", options, 0), nil
	})
	s.page(&route{id: "set-up-passkey", method: http.MethodPost, path: "/set-up/passkey"}, func(ctx context.Context, v *visit) (*screen, error) {
		if s.People == nil {
			return nil, none
		}
		b, err := answer(v)
		if err != nil {
			return nil, err
		}
		_, secret := v.setup()
		cookie, _, err := s.People.FinishRegistration(ctx, secret, b, v.meta())
		return done(v, "/overview", cookie, err)
	})
}

// problemPage is what a page in place of another says.
type problemPage struct {
	api.Problem
	Head, Text string
	Back       string
	StepUp     string // where one proves anew who one is; empty: that would not help
	Nothing    bool   // nothing was done
	Again      string // where the same is asked for once more; empty: that would not help
	At         *when
}

// problemTitle is the head of the page of a problem.
func problemTitle(p *problem) string {
	switch p.Status {
	case http.StatusForbidden:
		return "You may not do this"
	case http.StatusNotFound:
		return "Not found"
	case http.StatusUnauthorized:
		return "Signed out"
	case http.StatusPreconditionFailed, http.StatusConflict:
		return "Changed meanwhile"
	case http.StatusTooManyRequests:
		return "Wait a moment"
	case http.StatusServiceUnavailable:
		return "Not done"
	case http.StatusInternalServerError:
		return "A defect of the program"
	}
	return "Not done"
}

func (s *Server) problemPage(v *visit, p *problem) problemPage {
	out := problemPage{Problem: p.Problem, Head: problemTitle(p), Text: p.Detail, Nothing: v.r.Method == http.MethodPost}
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests {
		// What was sent by a form is not in its address.
		if out.At = v.at(v.now); v.r.Method == http.MethodGet {
			out.Again = v.r.URL.RequestURI()
		}
	}
	if p.Status == http.StatusUnauthorized {
		out.Text = "Your session has ended. What you were about to do was not done."
	}
	for _, rule := range p.Rules {
		if strings.Contains(rule, "fresh-sign-in") {
			back := v.r.URL.RequestURI()
			out.StepUp = "/step-up?to=" + url.QueryEscape(back)
		}
	}
	return out
}
