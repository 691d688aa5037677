package web_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"coffer/access"
)

// loads does something that leads to another page, and waits for that page. A page that loads itself anew may be about to: only what replaces
// the page of before counts.
func (b *browser) loads(do func()) {
	b.Helper()
	b.loadsWhere("true", do)
}

// loadsWhere waits for a page of which an expression is true, over those on the way.
func (b *browser) loadsWhere(expression string, do func()) {
	b.Helper()
	eval[bool](b, "(window.before = true)")
	loaded := chromedp.Events(b.ctx, page.LoadEventFired)
	do()
	for _, err := range loaded {
		if err != nil {
			b.Fatal(err)
		}
		if eval[bool](b, "!window.before && "+expression) {
			break
		}
	}
}

// until waits for an expression to be true; the browser looks at every frame.
func (b *browser) until(expression string) {
	b.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression)); err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
}

// click presses the mouse where an element is, as a person does: what covers it gets the click.
func (b *browser) click(selector string) {
	b.Helper()
	q, _ := json.Marshal(selector) // a string
	at := eval[[]float64](b, fmt.Sprintf(`(() => { const e = [...document.querySelectorAll(%s)].find(e => e.getClientRects().length);
		e.scrollIntoView({block: "center"}); const r = e.getClientRects()[0]; return [r.x + r.width / 2, r.y + r.height / 2] })()`, q))
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// write types into whatever has the focus.
func (b *browser) write(text string) {
	b.Helper()
	b.do(chromedp.KeyEvent(text))
}

// tab goes on with Tab until the element has the focus, and fails when it is not reached.
func (b *browser) tab(selector string) {
	b.Helper()
	q, _ := json.Marshal(selector) // a string
	for range 80 {
		if eval[bool](b, fmt.Sprintf(`document.activeElement.matches(%s)`, q)) {
			b.seen(selector)
			return
		}
		b.write(kb.Tab)
	}
	b.Fatalf("%s is not reached by Tab; the focus is on %s", selector, eval[string](b, `document.activeElement.outerHTML.slice(0, 80)`))
}

// seen fails unless what has the focus shows it, and is not covered by anything (WCAG 2.2, 2.4.7 and 2.4.11).
func (b *browser) seen(selector string) {
	b.Helper()
	if why := eval[string](b, `(() => { const e = document.activeElement, r = e.getClientRects()[0];
		if (!r) return "it has no place";
		const ring = n => { const s = getComputedStyle(n); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 };
		if (!ring(e) && !(e.closest("tr") && ring(e.closest("tr")))) return "no ring";
		const top = document.elementFromPoint(Math.max(0, Math.min(innerWidth - 1, r.x + r.width / 2)), Math.max(0, Math.min(innerHeight - 1, r.y + Math.min(r.height, 20) / 2)));
		return top && (e.contains(top) || top.contains(e) || e.labels && [...e.labels].some(l => l.contains(top))) ? "" : "covered" })()`); why != "" {
		b.Errorf("focus on %s: %s", selector, why)
	}
}

// clean fails if a text is anywhere that outlives the answer which showed it, and if the browser refused something or asked somebody else.
func (b *browser) clean(value string) {
	b.Helper()
	for where, expression := range map[string]string{
		"the address": "location.href", "the title": "document.title", "the page": "document.documentElement.outerHTML",
		"storage": "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, document.cookie])",
	} {
		if strings.Contains(eval[string](b, expression), value) {
			b.Errorf("the value is in %s", where)
		}
	}
	b.quiet()
}

// shift is where the parts of the page below and beside a value stand.
const shift = `JSON.stringify([...document.querySelectorAll("h1, .tabs, tbody tr, aside h2, .hint")].map(e => { const r = e.getBoundingClientRect(); return [Math.round(r.x), Math.round(r.y), Math.round(r.width), Math.round(r.height)] }))`

// TestBrowserByMouse is what an engineer does with a finding: find it, look, reveal a value, copy it, hide it, judge, and think better of it.
func TestBrowserByMouse(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer)
	b.do(chromedp.EmulateViewport(1440, 900))
	b.login(access.RoleEngineer)
	b.loads(func() { b.click(`.places a[href="/findings"]`) })
	b.loads(func() { b.click(`tr:has([title$="web/receipt.html"]) .object-name`) })
	if text := eval[string](b, `document.querySelector(".beside").textContent`); !strings.Contains(text, " of 16") {
		t.Errorf("beside the finding stands %q", text)
	}
	before := eval[string](b, shift)
	b.click(`.eye`)
	b.until(`document.querySelector("#reveal").open`)
	if got := eval[string](b, `document.querySelector("#reveal-head").textContent + document.activeElement.name`); got != "Reveal 1 card numberreason" {
		t.Errorf("the dialog is headed and begins with %q", got)
	}
	b.check("finding-reveal-dialog")
	b.click(`#reveal [data-close]`)
	b.until(`!document.querySelector("#reveal").open && document.activeElement.matches(".eye")`)
	b.click(`.eye`)
	eval[bool](b, `(document.querySelector("#reason").value = "investigation", true)`)
	b.click("#note")
	b.write("a look for a test of the portal")
	b.loads(func() { b.click(`#reveal button[type=submit]`) })
	value := eval[string](b, `document.querySelector(".open-value").textContent`)
	if len(value) < 8 {
		t.Fatalf("no value is open: %d characters", len(value))
	}
	// The bar at the bottom and the value itself move nothing.
	if after := eval[string](b, shift); after != before {
		t.Errorf("the page shifts when a value opens:\n%s\n%s", before, after)
	}
	b.picture("reveal")
	b.click(`[data-longer]`)
	b.until(`parseInt(document.querySelector("[data-left]").textContent) > 30`)
	b.click(`[data-hide]`)
	b.until(`!document.querySelector(".open-value")`)
	if after := eval[string](b, shift); after != before {
		t.Errorf("the page shifts when a value is hidden:\n%s\n%s", before, after)
	}
	b.clean(value)
	// Who opens the next one has not to say again why.
	b.loads(func() { b.click(`.crumbs [data-key=u]`) })
	b.arrived("/findings")
	b.loads(func() { b.click(`tr:has([title$="web/receipt.html"]) .object-name`) })
	b.click(`.eye`)
	if got := eval[string](b, `document.querySelector("#reason").value`); got != "investigation" {
		t.Errorf("the next reveal begins with %q", got)
	}
	b.click(`#reveal [data-close]`)
	b.click(`.acts [data-key=v]`)
	b.until(`document.querySelector("#judge").open`)
	b.click(`#judge [value="true"]`)
	b.loads(func() { b.click(`#judge button[type=submit]`) })
	if said := eval[string](b, `document.querySelector(".said").textContent`); !strings.Contains(said, "Judged the finding: true") {
		t.Errorf("the page says %q", said)
	}
	// Two findings at once, and back again.
	b.loads(func() { b.click(`.crumbs [data-key=u]`) })
	b.click(`tbody tr:nth-child(2) [name=finding]`)
	b.click(`tbody tr:nth-child(3) [name=finding]`)
	b.loads(func() { b.click(`[data-bulk] [value=mute]`) })
	if text := eval[string](b, `document.querySelector(".said").textContent + document.querySelector(".counted").textContent`); !strings.Contains(text, "Muted: 2 findings.") || !strings.Contains(text, "2 more are muted") {
		t.Errorf("after muting: %q", text)
	}
	b.check("findings-undo")
	b.loads(func() { b.click(`.toast button`) })
	if text := eval[string](b, `document.querySelector(".said").textContent + document.querySelector(".counted").textContent`); !strings.Contains(text, "Taken back: 2 findings.") || strings.Contains(text, "muted") {
		t.Errorf("after taking it back: %q", text)
	}
	b.picture("findings")
	b.clean(value)
}

// TestBrowserByKeyboard does it without a mouse: Tab, letters and Enter.
func TestBrowserByKeyboard(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer)
	b.do(chromedp.EmulateViewport(1440, 900))
	b.open("/")
	b.tab("details.code summary")
	b.write(kb.Enter)
	b.tab("#code")
	b.write(b.codes[access.RoleEngineer])
	b.loads(func() { b.write(kb.Enter) })
	b.tab("#passphrase")
	b.write(passphrase)
	b.tab("#again")
	b.write(passphrase)
	b.loads(func() { b.write(kb.Enter) })
	b.arrived("/overview")
	b.write(kb.Tab)
	b.seen("the skip link")
	b.write(kb.Enter)
	if eval[string](b, "document.activeElement.id") != "main" {
		t.Error("the skip link does not skip")
	}
	b.write("?")
	b.until(`document.querySelector("#keys").open`)
	b.write(kb.Escape)
	b.loads(func() { b.write("gf") })
	b.arrived("/findings")
	// j moves to the row, x selects it, m goes to Mute and does not press it.
	b.write("jjx")
	if n := eval[int](b, `document.querySelectorAll("[name=finding]:checked").length`); n != 1 {
		t.Errorf("x selects %d", n)
	}
	b.seen("a row")
	b.write("m")
	if !eval[bool](b, `document.activeElement.matches("[value=mute]")`) {
		t.Error("m does not lead to Mute")
	}
	b.write(kb.Escape)
	if n := eval[int](b, `document.querySelectorAll("[name=finding]:checked").length`); n != 0 {
		t.Errorf("after Esc %d are selected", n)
	}
	b.write("/")
	if eval[string](b, "document.activeElement.id") != "find" {
		t.Error("/ does not lead to Find")
	}
	b.write("receipt")
	b.loads(func() { b.write(kb.Enter) })
	b.write("j")
	b.loads(func() { b.write(kb.Enter) })
	b.write("r")
	b.until(`document.querySelector("#reveal").open`)
	b.seen("the reason")
	b.write("inv")
	b.tab("#note")
	b.write("a look for a test of the portal")
	b.tab("#reveal button[type=submit]")
	b.loads(func() { b.write(kb.Enter) })
	value := eval[string](b, `document.querySelector(".open-value").textContent`)
	if len(value) < 8 {
		t.Fatalf("no value is open: %d characters", len(value))
	}
	b.write(kb.Escape)
	b.until(`!document.querySelector(".open-value")`)
	b.clean(value)
	b.write("v")
	b.until(`document.querySelector("#judge").open`)
	b.write(" ")
	b.tab("#judge button[type=submit]")
	b.loads(func() { b.write(kb.Enter) })
	if said := eval[string](b, `document.activeElement.textContent`); !strings.Contains(said, "Judged the finding: true") {
		t.Errorf("the focus is on %q", said)
	}
	// Letters can be switched off.
	eval[bool](b, `(document.body.dataset.letters = "off", true)`)
	b.write("u")
	if !eval[bool](b, `location.pathname.startsWith("/findings/")`) {
		t.Error("a letter is a key after it was switched off")
	}
}

// TestBrowserPasskey makes a passkey with the browser's own authenticator, and signs in with it.
func TestBrowserPasskey(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer)
	b.do(chromedp.EmulateViewport(1440, 900))
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
		AutomaticPresenceSimulation: true, IsUserVerified: true,
	}}); err != nil {
		t.Fatal(err)
	}
	b.open("/sign-in")
	b.submit(`form[action="/sign-in/code"]`, map[string]string{"code": b.codes[access.RoleEngineer]})
	b.loads(func() { b.click(`[data-passkey] button`) })
	b.arrived("/overview")
	b.press(`.person form[action="/sign-out"] button`)
	b.arrived("/sign-in")
	b.loads(func() { b.click(`[data-passkey] button`) })
	b.arrived("/overview")
	b.open("/sessions")
	if text := eval[string](b, "document.body.textContent"); !strings.Contains(text, "more than one factor") {
		t.Error("a passkey counts as one factor")
	}
	b.clean("no value at all")
}

// picture writes a picture for the guide, where COFFER_PICTURES names the folder.
func (b *browser) picture(name string) {
	b.Helper()
	dir := os.Getenv("COFFER_PICTURES")
	if dir == "" {
		return
	}
	eval[bool](b, `(document.documentElement.dataset.theme = "light", true)`)
	b.do(chromedp.EmulateViewport(1280, 760))
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(1440, 900))
}
