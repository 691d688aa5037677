package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"coffer/access"
	"coffer/client"
	"coffer/web"
)

// portal is a server on a port of this machine, over the findings of a world, with people who can sign in.
type portal struct {
	*world
	at    string // its origin
	codes map[string]string
}

const passphrase = "a passphrase of four words"

// newPortal starts a portal. Everybody of people has the role of that name.
func newPortal(t *testing.T, people ...string) *portal {
	t.Helper()
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(nil)
	_, port, _ := strings.Cut(srv.Listener.Addr().String(), ":")
	p := &portal{world: w, at: "http://localhost:" + port, codes: map[string]string{}}
	p.app.Identity.Config.Origin = p.at
	server, err := p.app.API(web.Config{Auth: p.app.Identity, People: p.app.Identity, Hosts: []string{"localhost:" + port}, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p.web = server
	srv.Config.Handler = server
	srv.Start()
	t.Cleanup(srv.Close)
	operator, err := p.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	p.local = client.Local(server.Local(operator)) // which knows of the jobs that wait in it
	ask := access.Ask{Caller: operator, Context: access.Context{Now: p.app.Now(), Local: true}}
	for _, role := range people {
		_, code, err := p.app.Identity.AddUser(t.Context(), ask, role, []string{role}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.codes[role] = code
	}
	return p
}

// visitor is a browser without scripts.
type visitor struct {
	*portal
	*http.Client
}

func (p *portal) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // never fails
	return &visitor{p, &http.Client{Jar: secure{jar}}}
}

// secure keeps cookies that are for TLS on this machine, as browsers do for loopback addresses.
type secure struct{ http.CookieJar }

func (s secure) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		c.Secure = false
	}
	s.CookieJar.SetCookies(u, cookies)
}

// arrived is what came back beside the body: the status, the headers, and the request that got it, after redirects.
type arrived struct {
	StatusCode int
	Header     http.Header
	Request    *http.Request
}

// ask sends a request as a form of the portal would and returns the answer with its body.
func (v *visitor) ask(method, path string, form url.Values) (arrived, string) {
	v.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(v.Context(), method, v.at+path, body)
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.at)
	}
	res, err := v.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	return arrived{res.StatusCode, res.Header, res.Request}, string(b)
}

func (v *visitor) get(path string) string {
	v.Helper()
	res, body := v.ask(http.MethodGet, path, nil)
	if res.StatusCode != http.StatusOK {
		v.Fatalf("%s: %d", path, res.StatusCode)
	}
	return body
}

// signIn redeems the code of a role and chooses a passphrase.
func (v *visitor) signIn(role string) {
	v.Helper()
	if res, _ := v.ask(http.MethodPost, "/sign-in/code", url.Values{"code": {v.codes[role]}}); res.Request.URL.Path != "/set-up" {
		v.Fatalf("the code leads to %s", res.Request.URL.Path)
	}
	res, body := v.ask(http.MethodPost, "/set-up", url.Values{"passphrase": {passphrase}, "again": {passphrase}})
	if res.Request.URL.Path != "/overview" || !strings.Contains(body, "<h1>Overview</h1>") {
		v.Fatalf("a new passphrase leads to %s, %d", res.Request.URL.Path, res.StatusCode)
	}
}

// TestSignIn goes in and out without scripts: by code, by passphrase, wrongly, from elsewhere, everywhere.
func TestSignIn(t *testing.T) {
	p := newPortal(t, "engineer")
	v := p.visitor()
	if res, _ := v.ask(http.MethodGet, "/overview", nil); res.Request.URL.Path != "/sign-in" {
		t.Errorf("nobody is shown %s", res.Request.URL)
	}
	if body := v.get("/"); !strings.Contains(body, "Sign in to Coffer") {
		t.Error("the front door is no sign-in page")
	}
	if res, body := v.ask(http.MethodPost, "/sign-in", url.Values{"name": {"engineer"}, "passphrase": {passphrase}}); res.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "do not belong together") {
		t.Errorf("a passphrase that was never set: %d", res.StatusCode)
	}
	v.signIn("engineer")
	if res, _ := v.ask(http.MethodPost, "/sign-in/code", url.Values{"code": {v.codes["engineer"]}}); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a code twice: %d", res.StatusCode)
	}
	sessions := v.get("/sessions")
	if !strings.Contains(sessions, "this one") {
		t.Error("the session is not among the sessions")
	}
	other := p.visitor()
	if res, _ := other.ask(http.MethodPost, "/sign-in", url.Values{"name": {"engineer"}, "passphrase": {passphrase}, "to": {"//elsewhere.example/"}}); res.Request.URL.Path != "/overview" {
		t.Errorf("signed in to %s", res.Request.URL)
	}
	if res, _ := other.ask(http.MethodPost, "/step-up", url.Values{"passphrase": {"wrong"}, "to": {"/sessions"}}); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong step-up: %d", res.StatusCode)
	}
	if res, _ := other.ask(http.MethodPost, "/step-up", url.Values{"passphrase": {passphrase}, "to": {"/sessions"}}); res.Request.URL.Path != "/sessions" {
		t.Errorf("a step-up leads to %s", res.Request.URL)
	}
	res, _ := v.ask(http.MethodPost, "/sign-out", url.Values{})
	if res.Request.URL.Path != "/sign-in" {
		t.Errorf("signed out to %s", res.Request.URL)
	}
	if res, _ := v.ask(http.MethodGet, "/sessions", nil); res.Request.URL.Path != "/sign-in" {
		t.Error("signed out, and still in")
	}
	if res, _ := other.ask(http.MethodPost, "/sessions", url.Values{"all": {"1"}}); res.Request.URL.Path != "/sign-in" {
		t.Errorf("out everywhere, at %s", res.Request.URL)
	}
	if res, _ := other.ask(http.MethodGet, "/overview", nil); res.Request.URL.Path != "/sign-in" {
		t.Error("signed out everywhere, and still in")
	}
}

// TestPagesRefuse sends what a page of another origin would, and looks at the headers of every kind of page.
func TestPagesRefuse(t *testing.T) {
	p := newPortal(t, "engineer", "platform")
	v := p.visitor()
	v.signIn("engineer")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.at+"/sessions", strings.NewReader("all=1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://elsewhere.example")
	res, err := v.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // only its status matters
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another origin: %d", res.StatusCode)
	}
	for _, path := range []string{"/sign-in", "/overview", "/keys", "/nowhere", "/v1/findings"} {
		res, _ := v.ask(http.MethodGet, path, nil)
		h := res.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s: %v", path, h)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}
