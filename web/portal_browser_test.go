package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"coffer/access"
)

// browser is a real one, headless, with a portal.
type browser struct {
	*portal
	ctx context.Context
	axe string

	others []string // origins that it may ask beside the portal's

	mu      *sync.Mutex
	foreign *[]string // requests that left the origin, of everybody in this browser
}

// newBrowser starts a browser; the test is skipped where there is none, but not in continuous integration. internal/lookalike/install
// installs it, and axe-core.
func newBrowser(t *testing.T, people ...string) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	exe, err := exec.LookPath("chromium")
	if err != nil {
		const how = "no chromium; internal/lookalike/install installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	b := &browser{portal: newPortal(t, people...), mu: new(sync.Mutex), foreign: new([]string)}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if source, err := os.ReadFile(filepath.Join(cache, "coffer", "axe-core-4.14.1", "axe.min.js")); err == nil {
		b.axe = string(source)
	} else if os.Getenv("CI") == "true" {
		t.Fatalf("no axe-core: %v; internal/lookalike/install installs it", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.Flag("headless", true), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute) // a machine with more to do than this
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b.ctx = ctx
	b.listen()
	return b
}

// another is somebody else with the same browser, who shares nothing with the first: another profile.
func (b *browser) another() *browser {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.Cleanup(cancel)
	out := *b
	out.ctx = ctx
	out.listen()
	return &out
}

// listen opens a first page and notes from then on what is asked of others than the portal.
func (b *browser) listen() {
	b.Helper()
	b.do(chromedp.Navigate("about:blank"))
	if err := chromedp.Listen(b.ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			u, err := url.Parse(e.Request.URL)
			if err != nil || u.Scheme+"://"+u.Host != b.at && !slices.Contains(b.others, u.Scheme+"://"+u.Host) && u.Scheme != "about" && u.Scheme != "data" {
				b.mu.Lock()
				*b.foreign = append(*b.foreign, e.Request.URL)
				b.mu.Unlock()
			}
		}
	}); err != nil {
		b.Fatal(err)
	}
}

// quiet fails if the browser refused something, or asked somebody else.
func (b *browser) quiet() {
	b.Helper()
	if n := b.reports(); n != "0" {
		b.Errorf("%s reports of what the browser refused", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if *b.foreign != nil {
		b.Errorf("requests to other origins: %v", *b.foreign)
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// eval returns what an expression gives, as JSON would.
func eval[T any](b *browser, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *browser) open(path string) {
	b.Helper()
	b.do(chromedp.Navigate(b.at + path))
}

// submit fills the fields of a form and presses its button.
func (b *browser) submit(selector string, fields map[string]string) {
	b.Helper()
	for name, value := range fields {
		f, _ := json.Marshal([]string{selector, name, value}) // strings
		eval[bool](b, fmt.Sprintf(`((form, name, value) => { const f = document.querySelector(form).elements[name]; f.value = value; return true })(...%s)`, f))
	}
	b.press(selector + " button[type=submit]")
}

// press clicks and waits for the page that follows.
func (b *browser) press(selector string) {
	b.Helper()
	q, _ := json.Marshal(selector) // a string
	b.loads(func() { eval[bool](b, fmt.Sprintf(`(document.querySelector(%s).click(), true)`, q)) })
}

// login signs in by code and passphrase.
func (b *browser) login(role string) {
	b.Helper()
	b.open("/sign-in")
	b.submit(`form[action="/sign-in/code"]`, map[string]string{"code": b.codes[role]})
	b.submit(`form[action="/set-up"]`, map[string]string{"passphrase": passphrase, "again": passphrase})
	b.arrived("/overview")
}

func (b *browser) arrived(path string) {
	b.Helper()
	if got := eval[string](b, "location.pathname"); got != path {
		b.Fatalf("at %s, want %s", got, path)
	}
}

// check runs axe-core over the page and takes its picture in every width that is asked for.
func (b *browser) check(name string) {
	b.Helper()
	for _, theme := range []string{"light", "dark"} {
		eval[bool](b, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, true)`, theme))
		if dir := os.Getenv("COFFER_SCREENSHOTS"); dir != "" {
			for _, width := range []int64{390, 1440, 2560} {
				b.do(chromedp.EmulateViewport(width, 900))
				shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, theme, width)), shot, 0o600)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, width := range []int64{360, 1024, 1440} {
			b.do(chromedp.EmulateViewport(width, 900))
			if wide := eval[float64](b, "document.documentElement.scrollWidth"); wide > float64(width) {
				b.Errorf("%s, %s: %v wide in %d", name, theme, wide, width)
			}
			if width == 360 && theme == "light" {
				// 400 % zoom of 1280 (WCAG 2.2, 1.4.10), and of 1440 text of twice the size (1.4.4), which widths in rem follow.
				for _, narrow := range []int64{320, 720} {
					b.do(chromedp.EmulateViewport(narrow, 900))
					if over := eval[float64](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
						b.Errorf("%s: %v too wide for %d", name, over, narrow)
					}
				}
				b.do(chromedp.EmulateViewport(width, 900))
			}
			if b.axe == "" {
				continue
			}
			eval[bool](b, b.axe+"; true")
			out, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
				.then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + (n.any[0] ? n.any[0].message : "")).slice(0, 4).join("; ")).join("\n"))`,
				chromedp.EvalAwaitPromise))
			if err != nil {
				b.Fatal(err)
			}
			if out != "" {
				b.Errorf("%s, %s, %d:\n%s", name, theme, width, out)
			}
		}
	}
	b.do(chromedp.EmulateViewport(1440, 900))
}

// TestBrowser goes from the front door to an open value and out again, and looks at every page.
func TestBrowser(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer, access.RolePlatform)
	b.do(chromedp.EmulateViewport(1440, 900))
	b.open("/")
	b.check("sign-in")
	b.login(access.RoleEngineer)
	b.check("overview")
	b.open("/findings")
	b.check("findings")
	b.open("/findings?group=bucket&status=open")
	b.check("findings-grouped")
	b.open("/findings?severity=high&status=closed")
	b.check("findings-none")
	id := b.findings["receipt.html"]
	for _, part := range []string{"values", "object", "notes", "raw"} {
		b.open("/findings/" + id + "?part=" + part)
		b.check("finding-" + part)
	}
	b.open("/findings/" + id + "/verdict")
	b.check("verdict")
	for _, name := range []string{"keys", "sessions", "step-up", "nowhere"} {
		b.open("/" + name)
		b.check(name)
	}
	b.open("/findings/" + id + "/reveal?n=1")
	b.check("reveal")

	// The value, and that it leaves nothing behind.
	b.submit(`form[action$="/reveal"]`, map[string]string{"reason": "investigation", "note": "a look for a test of the portal"})
	value := eval[string](b, `document.querySelector(".open-value").textContent`)
	if len(value) < 8 {
		t.Fatalf("no value is open: %d characters", len(value))
	}
	b.check("finding-revealed")
	holds := func(where, text string) {
		t.Helper()
		if strings.Contains(text, value) {
			t.Errorf("the value is in %s", where)
		}
	}
	holds("the address", eval[string](b, "location.href"))
	holds("the title", eval[string](b, "document.title"))
	holds("storage", eval[string](b, "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, document.cookie])"))
	eval[bool](b, `(dispatchEvent(new Event("blur")), true)`)
	holds("the page that the reader turned away from", eval[string](b, "document.documentElement.outerHTML"))
	b.open("/overview")
	b.do(chromedp.NavigateBack())
	holds("the page behind the back button", eval[string](b, "document.documentElement.outerHTML"))

	// Out, and back.
	b.open("/findings/" + id)
	b.press(`.person form[action="/sign-out"] button`)
	b.arrived("/sign-in")
	b.do(chromedp.NavigateBack())
	if text := eval[string](b, "document.body.textContent"); strings.Contains(text, "receipt.html") {
		t.Error("the back button shows a finding to nobody")
	}
	b.quiet()
}

// reports is how many reports of refusals came from browsers.
func (b *browser) reports() string {
	b.Helper()
	rec := httptest.NewRecorder()
	b.web.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if rest, ok := strings.CutPrefix(line, "coffer_csp_reports_total "); ok {
			return strings.TrimSpace(rest)
		}
	}
	b.Fatal("reports are not counted")
	return ""
}
