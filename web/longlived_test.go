package web_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"coffer/access"
	"coffer/api"
	"coffer/identity"
	"coffer/web"
)

// stream opens a stream of events as who holds the token, and returns its lines; they end with the stream.
func stream(t *testing.T, at, path, token string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = res.Body.Close() // only read from
	})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", path, res.StatusCode)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(res.Body); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	return lines
}

// TestStreamsEndWithTheRight: a stream that is open ends when the token behind it is revoked, when its owner loses the role, and when they
// are kept out; nothing of the log comes after, and the refusal by policies is an entry.
func TestStreamsEndWithTheRight(t *testing.T) {
	p := newPortal(t)
	operator, err := p.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	ask := access.Ask{Caller: operator, Context: access.Context{Now: p.app.Now(), Local: true}}
	for what, end := range map[string]func(user, token string) error{
		"token revoked": func(user, token string) error { return p.app.Identity.RevokeToken(t.Context(), ask, user, token) },
		"role taken away": func(user, _ string) error {
			return p.app.Identity.SetRoles(t.Context(), ask, user, []string{access.RoleEngineer}, nil)
		},
		"kept out": func(user, _ string) error { return p.app.Identity.Disable(t.Context(), ask, user, true) },
	} {
		user, _, err := p.app.Identity.AddUser(t.Context(), ask, strings.ReplaceAll(what, " ", "-"), []string{access.RoleAuditor}, nil)
		if err != nil {
			t.Fatal(err)
		}
		made, secret, err := p.app.Identity.CreateToken(t.Context(), ask, user.ID, identity.TokenSpec{Label: what, Scopes: []access.Action{access.AuditRead}})
		if err != nil {
			t.Fatal(err)
		}
		lines := stream(t, p.at, "/v1/audit/follow", secret)
		if first := <-lines; !strings.HasPrefix(first, ":") {
			t.Errorf("%s: the stream begins with %d characters that are no comment", what, len(first))
		}
		if err := end(user.ID, made.ID); err != nil {
			t.Fatal(err)
		}
		problem := ""
		for line := range lines { // until the server ends it
			if strings.HasPrefix(line, "data: ") {
				problem = line
			}
		}
		want := `"status":401`
		if what == "role taken away" {
			want = `"status":403`
		}
		if !strings.Contains(problem, want) {
			t.Errorf("%s: the last event is %q, want %s", what, problem, want)
		}
	}
}

// leaving is an authenticator whose caller is somebody else by the time that work is done.
type leaving struct {
	badge
	still func() (access.Caller, error)
}

func (l leaving) Still(context.Context, access.Ask) (access.Caller, error) { return l.still() }

// TestJobsAreOfWhoTheyAreNow: each item of a job is done for who began it as they are by then. Of somebody who lost the role, or is
// kept out, no further item is done.
func TestJobsAreOfWhoTheyAreNow(t *testing.T) {
	w := newWorld(t)
	for what, still := range map[string]func() (access.Caller, error){
		"role taken away": func() (access.Caller, error) {
			return access.Caller{ID: "p-engineer", Kind: access.UserCaller, Roles: []string{access.RoleAuditor}}, nil
		},
		"kept out": func() (access.Caller, error) {
			return access.Caller{}, &identity.RefusedError{Cause: identity.Disabled}
		},
	} {
		s, err := w.app.API(web.Config{Auth: leaving{badge{w.app.Now}, still}, Hosts: []string{host}, Rate: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "https://"+host+"/v1/plans", strings.NewReader(`{"filter":["status=open","sealed.gte=1"],"action":"redact"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer engineer/user")
		r.Header.Set(api.IdempotencyKey, "job-"+url.QueryEscape(what))
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		if rec.Code != http.StatusAccepted {
			t.Fatalf("%s: %d", what, rec.Code)
		}
		id := strings.TrimPrefix(rec.Header().Get("Location"), "/v1/jobs/")
		var last api.Job
		for j, err := range w.local.Watch(t.Context(), id) {
			if err != nil {
				t.Fatal(err)
			}
			last = j
		}
		s.Close()
		if last.Total < 5 || last.Done != 0 || last.Failed != last.Total {
			t.Errorf("%s: %d of %d items were done, %d failed", what, last.Done, last.Total, last.Failed)
		}
	}
}
