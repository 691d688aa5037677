package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a page shows times in the reader's zone, whatever the machine has

	"coffer"
	"coffer/access"
	"coffer/identity"
)

// The portal is pages over the same gates and domain packages as the API. A page is put together on the server by html/template, which
// escapes by context; there is no markup in a string of Go. Scripts are our own, only show and hide what the server sent, and every
// page but live progress works without them.
//
// Requests that act are forms sent by POST. A page of another origin cannot send one: [http.CrossOriginProtection] refuses by Sec-Fetch-Site
// and Origin, which every browser since 2020 sends with a POST, and the cookie of the session is not sent along (SameSite=Lax). A
// token in each form would say the same a third time.

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// portalPolicy is the content security policy of the portal: everything from here, no inline code or style, no markup made of strings.
const portalPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; " +
	"report-uri " + reportPath + "; report-to csp"

const (
	themeCookie = "__Host-coffer-theme" // light or dark; none: as the system has it
	zoneCookie  = "__Host-coffer-zone"  // the reader's time zone, an IANA name, written by the script
	saidCookie  = "__Host-coffer-said"  // the sentence that says what was just done, shown once
	keysCookie  = "__Host-coffer-keys"  // off: letters are no keys (WCAG 2.2, 2.1.4)

	maxForm = 256 << 10 // bytes of a form
)

// publicPages are the pages that ask for nobody: those before sign-in, and what is the same for everybody.
var publicPages = []string{
	"home", "static", "icon", "csp-report", "theme", "sign-in", "sign-in-passphrase", "sign-in-code", "sign-in-passkey-begin", "sign-in-passkey",
	"set-up", "set-up-passphrase", "set-up-passkey-begin", "set-up-passkey", "sign-in-provider", "callback", "sign-out", "keys",
}

// portal is what the pages are made from.
type portal struct {
	pages  map[string]*template.Template
	assets map[string]asset  // by the name in the URL, which changes with the content
	named  map[string]string // file name -> path of the URL
}

type asset struct {
	kind string
	body []byte
}

// visit is one request for a page.
type visit struct {
	*call
	form url.Values // of a POST; else empty
	zone *time.Location
	now  time.Time
}

// get returns a parameter of the query.
func (v *visit) get(name string) string { return v.r.URL.Query().Get(name) }

// field returns a field of the form with the line breaks of every system as one, which limits of length count.
func (v *visit) field(name string) string {
	return strings.TrimSpace(strings.ReplaceAll(v.form.Get(name), "\r\n", "\n"))
}

// scripted reports whether one of our scripts asks, which wants JSON.
func (v *visit) scripted() bool { return v.r.Header.Get("Accept") == "application/json" }

// screen is the answer to a visit: a page, a way to go on, or a body as it is.
type screen struct {
	page   string // name of the template
	title  string // of the document, without a value and without a filter that may hold one
	nav    string // entry of the navigation that this belongs to
	data   any    // for the template
	status int    // 0: 200

	to   string // where to go on, by GET
	away string // an address of the provider of identities, where to go on
	said string // what was done, in a sentence, shown there
	// warned is what was not done, and why, shown there.
	warned string
	undo   string // how to take back what was said; empty: it is not offered

	kind string // media type of body
	body []byte

	cookies []*http.Cookie
	header  http.Header
}

// frame is what every page is given.
type frame struct {
	Title, Nav    string
	Theme         string
	Path          string // of this page, to come back to
	Person        string // name; empty: nobody is signed in
	Roles         string
	Groups        []navGroup
	Log           logState
	Glass         []glassBanner // broken, and not yet reviewed
	Said, Warned  string
	Undo          bool // what was said can be taken back
	Keys          bool // letters are keys
	Data          any
	Build         string
	SignedInUntil string // RFC 3339
}

// glassBanner is what every page says of broken glass until somebody has reviewed it: nobody's secret.
type glassBanner struct {
	Who, Until string // Until, in the reader's zone; empty: its time is over
	Values     int    // that were opened through it
	To         string
}

type navGroup struct {
	Name    string
	Entries []navEntry
}

type navEntry struct {
	Name, Path, Icon, Key string
	Here                  bool
	Count                 int           // what is there; 0: nothing, or it is not counted
	Waits                 bool          // what is counted waits for the reader
	need                  access.Action // without which the place is not offered; empty: it is to everybody
}

// logState is the state of the log as the foot of the navigation shows it.
type logState struct {
	Entries  int64
	Failed   bool
	Verified string // when it was last proved whole, in the reader's zone; empty: not since the server started
	Broken   bool   // it was found not to be
}

// page registers a page. It panics as [Server.claim] does. h runs after every gate that the API has; what it returns as an error is shown as
// a page, or as a problem to a script.
func (s *Server) page(rt *route, h func(context.Context, *visit) (*screen, error)) {
	s.claim(rt, publicPages)
	s.mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		c := of(ctx)
		c.r, c.route, c.page = r, rt.id, true
		v := &visit{call: c, zone: zoneOf(r), now: s.Now()}
		malformed := false
		if r.Method == http.MethodPost && r.Header.Get("Content-Type") == formType {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			malformed = r.ParseForm() != nil
			v.form = r.PostForm
		}
		if rt.action != "" {
			if p := s.admit(ctx, c, rt); p != nil {
				s.show(w, v, s.instead(v, p))
				return
			}
		}
		if malformed {
			s.show(w, v, s.instead(v, newProblem(c, "malformed", details["malformed"])))
			return
		}
		sc, err := h(ctx, v)
		if r.Method == http.MethodPost {
			s.waiting.anew()
		}
		if err != nil {
			var p *problem
			asProblem(s.hide(ctx, c, rt, err), &p)
			sc = s.instead(v, p)
		}
		s.show(w, v, sc)
	})
}

const formType = "application/x-www-form-urlencoded"

// instead is what is shown in place of a page that cannot be.
func (s *Server) instead(v *visit, p *problem) *screen {
	switch {
	case p.Status == http.StatusUnauthorized && !v.scripted() && v.r.Method == http.MethodGet:
		to := "/sign-in"
		if back := v.r.URL.RequestURI(); back != "/overview" {
			to += "?to=" + url.QueryEscape(back)
		}
		return &screen{to: to}
	case v.scripted():
		b := &bytes.Buffer{}
		_ = marshal(b, p) // a buffer takes everything
		return &screen{status: p.Status, kind: "application/problem+json", body: b.Bytes(), header: p.GetHeaders()}
	}
	head := p.GetHeaders()
	head.Del("WWW-Authenticate") // a browser would ask for a name and password of its own
	return &screen{page: "problem", title: problemTitle(p), status: p.Status, data: s.problemPage(v, p), header: head}
}

// show writes a screen.
func (s *Server) show(w http.ResponseWriter, v *visit, sc *screen) {
	h := w.Header()
	h.Set("Content-Security-Policy", portalPolicy)
	h.Set("Reporting-Endpoints", `csp="`+reportPath+`"`)
	for name, values := range sc.header {
		h[name] = slices.Clone(values)
	}
	if text := sc.said + sc.warned; text != "" {
		mark := ""
		switch {
		case sc.warned != "":
			mark = "!"
		case sc.undo != "":
			mark = "~"
			sc.cookies = append(sc.cookies, hostCookie(undoCookie, sc.undo, undoFor))
		}
		sc.cookies = append(sc.cookies, hostCookie(saidCookie, mark+url.QueryEscape(text), time.Minute))
	}
	for _, k := range sc.cookies {
		http.SetCookie(w, k)
	}
	if sc.away != "" {
		// Not by a redirect: browsers hold form-action of the page with the form against where a form is sent on to, too (CSP Level 3,
		// section 6.4.1.1), and that of every page is ours alone.
		sc.page, sc.title, sc.data = "away", "Going on", sc.away
		h.Set("Refresh", "0; url="+sc.away)
	}
	switch {
	case sc.to != "":
		h.Set("Location", sc.to)
		w.WriteHeader(http.StatusSeeOther)
		return
	case sc.kind != "":
		h.Set("Content-Type", sc.kind)
		w.WriteHeader(max(sc.status, http.StatusOK))
		_, _ = w.Write(sc.body) //nolint:gosec // no markup unless kind says so: then it is a template's; the reader may be gone
		return
	case sc.page == "":
		w.WriteHeader(http.StatusNoContent)
		return
	}
	// Wholly made before the first byte is sent: half a page does not look like one.
	var b bytes.Buffer
	if err := s.portal.pages[sc.page].ExecuteTemplate(&b, "layout", s.frame(w, v, sc)); err != nil {
		// What it says may repeat what it was at.
		s.log.Error("a page cannot be made", "request", v.id, "page", sc.page)
		newProblem(v.call, "internal", details["internal"]).write(w)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(max(sc.status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the reader may be gone
}

func (s *Server) frame(w http.ResponseWriter, v *visit, sc *screen) frame {
	f := frame{Title: sc.title, Nav: sc.nav, Data: sc.data, Theme: themeOf(v.r), Keys: lettersOf(v.r), Build: s.Home.Build().Version}
	if v.r.Method == http.MethodGet {
		f.Path = v.r.URL.RequestURI()
	}
	if k, err := v.r.Cookie(saidCookie); err == nil {
		// A stranger cannot set it: the name binds it to this host.
		text, warned := strings.CutPrefix(k.Value, "!")
		text, undo := strings.CutPrefix(text, "~")
		if text, err = url.QueryUnescape(text); err == nil {
			if f.Said, f.Undo = text, undo; warned {
				f.Said, f.Warned = "", text
			}
			http.SetCookie(w, hostCookie(saidCookie, "", -1))
		}
	}
	if !v.asked {
		return f
	}
	f.Person, f.Roles = v.ask.Caller.Name, strings.ReplaceAll(strings.Join(v.ask.Caller.Roles, ", "), "-", " ")
	if f.Person == "" {
		f.Person = v.ask.Caller.ID
	}
	if !v.session.Until.IsZero() {
		f.SignedInUntil = v.session.Until.UTC().Format(time.RFC3339)
	}
	f.Groups = navigation(sc.nav, func(a access.Action) bool {
		return s.may(v.r.Context(), v.call, a, access.Resource{Kind: access.System}, v.ask.Context)
	})
	s.counted(v, f.Groups)
	f.Glass = s.glass(v)
	n, err := s.Guard.Log.Size()
	f.Log = logState{Entries: n, Failed: err != nil}
	if last := s.proof.last(); last.known && last.err == nil {
		f.Log.Verified, f.Log.Broken = last.at.In(v.zone).Format("15:04 MST"), last.value.Count > 0
	}
	return f
}

// glass returns the banners of broken glass. When they cannot be read the page is shown all the same, and the program's log says so.
func (s *Server) glass(v *visit) []glassBanner {
	ctx := v.r.Context()
	broken, err := s.Grants.Glass(ctx)
	if err != nil {
		s.log.ErrorContext(ctx, "broken glass cannot be read", "request", v.id, "error", err)
		return nil
	}
	var out []glassBanner
	for _, r := range broken {
		b := glassBanner{Who: s.personName(ctx, v, r.By), Values: r.Spent, To: "/requests/" + url.PathEscape(r.ID)}
		if r.By == v.ask.Caller.ID {
			b.Who = "you"
		}
		if until := r.Until(); until.After(v.now) {
			b.Until = until.In(v.zone).Format("15:04 MST")
		}
		out = append(out, b)
	}
	return out
}

// navigation is the list of places that are open to the reader, with the one where they are.
func navigation(here string, may func(access.Action) bool) []navGroup {
	groups := []navGroup{
		{"Investigate", []navEntry{
			{Name: "Overview", Path: "/overview", Icon: "overview", Key: "o"}, {Name: "Findings", Path: "/findings", Icon: "findings", Key: "f"},
			{Name: "Search by value", Path: "/search", Icon: "search-value", Key: "v", need: access.ValueSearch},
		}},
		{"Change", []navEntry{
			{Name: "Requests", Path: "/requests", Icon: "requests", Key: "r"}, {Name: "Fixes", Path: "/fixes", Icon: "fix", Key: "x"},
			{Name: "Certificates", Path: "/certificates", Icon: "certificate", Key: "c"},
		}},
		{"Account for", []navEntry{
			{Name: "Audit log", Path: "/audit", Icon: "log", Key: "a", need: access.AuditRead}, {Name: "Access review", Path: "/access-review", Icon: "people", Key: "w", need: access.AuditRead},
			{Name: "Policies", Path: "/policies", Icon: "shield", Key: "p"},
		}},
		{"", []navEntry{{Name: "People", Path: "/people", Icon: "key", need: access.AdminUser}, {Name: "Settings and health", Path: "/settings", Icon: "settings", Key: "s"}}},
	}
	for i := range groups {
		g := &groups[i]
		g.Entries = slices.DeleteFunc(g.Entries, func(e navEntry) bool { return e.need != "" && !may(e.need) })
		for j := range g.Entries {
			g.Entries[j].Here = g.Entries[j].Path == here
		}
	}
	return groups
}

// refuse answers a request that no handler got: with a page where a browser asked for one.
func (s *Server) refuse(w http.ResponseWriter, c *call, p *problem) {
	page := c.page || c.r.Method == http.MethodGet && strings.Contains(c.r.Header.Get("Accept"), "text/html")
	if !page || strings.HasPrefix(c.r.URL.Path, "/v1/") {
		p.write(w)
		return
	}
	v := &visit{call: c, zone: zoneOf(c.r), now: s.Now()}
	s.show(w, v, s.instead(v, p))
}

// hostCookie is a cookie of this host alone that scripts do not see. after is how long it lasts: 0 with the browser, negative not at all.
func hostCookie(name, value string, after time.Duration) *http.Cookie {
	k := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(after / time.Second)}
	if after < 0 {
		k.MaxAge = -1
	}
	return k
}

func themeOf(r *http.Request) string {
	if k, err := r.Cookie(themeCookie); err == nil && (k.Value == "light" || k.Value == "dark") {
		return k.Value
	}
	return ""
}

func zoneOf(r *http.Request) *time.Location {
	if k, err := r.Cookie(zoneCookie); err == nil && len(k.Value) < 64 {
		if name, err := url.QueryUnescape(k.Value); err == nil && name != "Local" {
			if z, err := time.LoadLocation(name); err == nil {
				return z
			}
		}
	}
	return time.UTC
}

// localPath returns a path inside the portal; fallback for everything else.
func localPath(to, fallback string) string {
	u, err := url.Parse(to)
	if err != nil || len(to) > 1024 || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.ContainsAny(to, "\\\r\n\t\x00") {
		return fallback
	}
	return to
}

// may reports whether the caller may do this, without recording the question: to offer only what will be permitted.
func (s *Server) may(ctx context.Context, c *call, a access.Action, what access.Resource, how access.Context) bool {
	policy, err := s.Guard.Current(ctx)
	return err == nil && policy.Decide(access.Request{Caller: c.ask.Caller, Action: a, Resource: what, Context: how}).Allow
}

// newPortal reads templates and static files. Every template of a page is parsed together with the layout and the parts.
func newPortal() (*portal, error) {
	p := &portal{pages: map[string]*template.Template{}, assets: map[string]asset{}, named: map[string]string{}}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, fmt.Errorf("static files: %w", err)
	}
	for _, f := range files {
		b, err := staticFiles.ReadFile("static/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("static files: %w", err)
		}
		ext := path.Ext(f.Name())
		sum := sha256.Sum256(b)
		name := strings.TrimSuffix(f.Name(), ext) + "-" + hex.EncodeToString(sum[:4]) + ext
		p.assets[name] = asset{kinds[ext], b}
		p.named[f.Name()] = "/static/" + name
	}
	base := template.New("").Funcs(p.funcs())
	if base, err = base.ParseFS(templateFiles, "templates/layout.html", "templates/parts*.html"); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	for _, n := range names {
		name := strings.TrimSuffix(path.Base(n), ".html")
		if name == "layout" || strings.HasPrefix(name, "parts") {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, n)
		}
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", name, err)
		}
		p.pages[name] = t
	}
	return p, nil
}

const reportPath = "/csp-reports"

// portalRoutes registers the pages.
func (s *Server) portalRoutes() {
	p, err := newPortal()
	if err != nil {
		panic(err)
	}
	s.portal = p
	s.page(&route{id: "static", method: http.MethodGet, path: "/static/{name}"}, func(_ context.Context, v *visit) (*screen, error) {
		a, ok := s.portal.assets[v.r.PathValue("name")]
		if !ok {
			return nil, fmt.Errorf("static file: %w", coffer.ErrNotFound)
		}
		// The name changes with the content, and nothing in it is anybody's.
		return &screen{kind: a.kind, body: a.body, header: http.Header{"Cache-Control": {"public, max-age=31536000, immutable"}}}, nil
	})
	s.page(&route{id: "icon", method: http.MethodGet, path: "/favicon.ico"}, func(context.Context, *visit) (*screen, error) {
		return &screen{to: s.portal.named["mark.svg"]}, nil
	})
	s.page(&route{id: "csp-report", method: http.MethodPost, path: reportPath}, func(_ context.Context, v *visit) (*screen, error) {
		// What a browser reports is anybody's text; that it did is what matters.
		_, _ = io.Copy(io.Discard, io.LimitReader(v.r.Body, maxForm)) // the sender may be gone
		s.metrics.violations.Inc()
		s.log.Warn("a browser refused something on a page", "request", v.id)
		return &screen{}, nil
	})
	s.page(&route{id: "theme", method: http.MethodPost, path: "/theme"}, func(_ context.Context, v *visit) (*screen, error) {
		theme, last := v.field("theme"), 365*24*time.Hour
		if theme != "light" && theme != "dark" {
			theme, last = "", -1
		}
		return &screen{to: localPath(v.field("to"), "/overview"), cookies: []*http.Cookie{hostCookie(themeCookie, theme, last)}}, nil
	})
	s.page(&route{id: "keys", method: http.MethodGet, path: "/keys"}, func(ctx context.Context, v *visit) (*screen, error) {
		_ = s.authenticate(ctx, v.call) // the same page for everybody; whoever is signed in sees the way back
		return &screen{page: "keys", title: "Keys"}, nil
	})
	s.signInPages()
	s.overviewPages()
	s.findingsPages()
	s.findingPages()
	s.fixPages()
	s.requestPages()
	s.certificatePages()
	s.searchPages()
	s.auditPages()
	s.reviewPages()
	s.policyPages()
	s.settingsPages()
	s.peoplePages()
}

// meta is the circumstances of a request to sign in.
func (v *visit) meta() identity.Meta {
	m := identity.Meta{Request: v.logged(), Network: network(v.r)}
	if k, err := v.r.Cookie(SessionCookie); err == nil {
		m.Cookie = k.Value
	}
	return m
}
