package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"coffer/access"
	"coffer/remedy/remedytest"
)

// hand is how a person uses a page: with the mouse, or with Tab, letters and Enter alone.
type hand struct {
	*browser
	keys bool
}

// focused evaluates to whether the focus is on what a selector matches, and what is wrong with how it is shown: it has no ring, or something
// covers it (WCAG 2.2, 2.4.7 and 2.4.11). Nothing is wrong where the focus is on the page as a whole.
const focused = `(selector => { const e = document.activeElement; let why = "";
	if (e !== document.body && e.tabIndex >= 0) {
		const r = e.getClientRects()[0], ring = n => { const s = getComputedStyle(n); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 };
		const row = e.closest("tr, li");
		if (!r) why = "it has no place";
		else if (!ring(e) && !(row && ring(row))) why = "no ring";
		else {
			const top = document.elementFromPoint(Math.max(0, Math.min(innerWidth - 1, r.x + r.width / 2)), Math.max(0, Math.min(innerHeight - 1, r.y + Math.min(r.height, 20) / 2)));
			if (!top || !(e.contains(top) || top.contains(e) || e.labels && [...e.labels].some(l => l.contains(top)))) why = "covered";
		}
	}
	return {here: e.matches(selector), why: why && why + ": " + e.outerHTML.slice(0, 100)} })`

type focus struct {
	Here bool   `json:"here"`
	Why  string `json:"why"`
}

// reach moves the focus with a key until it is on what the selector matches. Every stop on the way is looked at.
func (h hand) reach(key, selector string) {
	h.Helper()
	q, _ := json.Marshal(selector) // a string
	for range 120 {
		f := eval[focus](h.browser, focused+fmt.Sprintf("(%s)", q))
		if f.Why != "" {
			h.Errorf("on the way to %s, the focus: %s", selector, f.Why)
		}
		if f.Here {
			return
		}
		h.write(key)
	}
	h.Fatalf("%s is not reached from %s", selector, eval[string](h.browser, "location.pathname"))
}

// use presses a button, a link or the head of what opens.
func (h hand) use(selector string) {
	h.Helper()
	if !h.keys {
		h.click(selector)
		return
	}
	h.reach(kb.Tab, selector)
	h.write(kb.Enter)
}

// follow presses what leads to another page.
func (h hand) follow(selector string) {
	h.Helper()
	h.loads(func() { h.use(selector) })
}

// letter follows what a mouse presses and a letter stands for.
func (h hand) letter(keys, selector string) {
	h.Helper()
	if h.keys {
		h.loads(func() { h.write(keys) })
	} else {
		h.follow(selector)
	}
}

// dialog opens the dialog in which something about a fix is asked once more.
func (h hand) dialog(step string) {
	h.Helper()
	h.use(`a[data-dialog="` + step + `"]`)
	h.until(`document.getElementById("` + step + `").open`)
}

// row opens the row of a list that the selector is the link of.
func (h hand) row(selector string) {
	h.Helper()
	h.loads(func() {
		if !h.keys {
			h.click(selector)
			return
		}
		h.write("j")
		h.reach("j", selector)
		h.write(kb.Enter)
	})
}

// fill writes into a field.
func (h hand) fill(selector, text string) {
	h.Helper()
	if h.keys {
		h.reach(kb.Tab, selector)
	} else {
		h.click(selector)
	}
	h.write(text)
}

// pick takes one of several.
func (h hand) pick(selector string) {
	h.Helper()
	if !h.keys {
		h.click(selector)
		return
	}
	h.reach(kb.Tab, selector)
	h.write(" ")
}

// settles waits until the page, which loads itself anew when there is more to see, says something.
func (h hand) settles(text string) {
	h.Helper()
	q, _ := json.Marshal(text) // a string
	loaded := chromedp.Events(h.ctx, page.LoadEventFired)
	says := func() bool {
		return eval[bool](h.browser, fmt.Sprintf("document.readyState === 'complete' && document.querySelector('main').textContent.includes(%s)", q))
	}
	if says() {
		return
	}
	for _, err := range loaded {
		if err != nil {
			h.Fatalf("waiting for %q: %v", text, err)
		}
		if says() {
			return
		}
	}
}

// enter signs in for the first time.
func (h hand) enter(role string) {
	h.Helper()
	h.open("/")
	h.use("details.code summary")
	h.fill("#code", h.codes[role])
	h.follow(`form[action="/sign-in/code"] button`)
	h.fill("#passphrase", passphrase)
	h.fill("#again", passphrase)
	h.follow(`form[action="/set-up"] button`)
	h.arrived("/overview")
}

// TestBrowserMoonTrustByMouse goes from sign-in to the certificate with the mouse.
func TestBrowserMoonTrustByMouse(t *testing.T) { moonTrust(t, false) }

// TestBrowserMoonTrustByKeyboard does the same with Tab, letters and Enter; no step of it is a click.
func TestBrowserMoonTrustByKeyboard(t *testing.T) { moonTrust(t, true) }

// moonTrust is what Coffer is for: a value that Macie reported is looked at, judged, taken out of its object with the word of a second person,
// put back, taken out again, destroyed, and the certificate says so.
func moonTrust(t *testing.T, keys bool) {
	b := newBrowser(t, access.RoleEngineer, access.RoleApprover)
	gate := make(chan struct{})
	remedytest.Hold(b.app.Remedy, gate)
	me, other := hand{b, keys}, hand{b.another(), keys}
	for _, one := range []hand{me, other} {
		one.do(chromedp.EmulateViewport(1440, 900))
	}
	me.enter(access.RoleEngineer)
	other.enter(access.RoleApprover)

	// Findings, a finding, a value, a verdict.
	me.letter("gf", `.places a[href="/findings"]`)
	me.arrived("/findings")
	me.row(`tr:has([title$="web/receipt.html"]) .object-name`)
	finding := eval[string](b, "location.pathname")
	if keys {
		me.write("r")
	} else {
		me.click(".eye")
	}
	me.until(`document.querySelector("#reveal").open`)
	if keys {
		me.write("inv")
	} else {
		// The list of a select is drawn by the system; there is nothing to click at in a browser without a screen.
		eval[bool](b, `(document.querySelector("#reason").value = "investigation", true)`)
	}
	me.fill("#note", "a look before it is taken out")
	me.follow("#reveal button[type=submit]")
	value := eval[string](b, `document.querySelector(".open-value").textContent`)
	if len(value) < 8 {
		t.Fatalf("no value is open: %d characters", len(value))
	}
	me.use("[data-hide]")
	me.until(`!document.querySelector(".open-value")`)
	me.clean(value)
	if keys {
		me.write("v")
	} else {
		me.click(".acts [data-key=v]")
	}
	me.until(`document.querySelector("#judge").open`)
	me.pick(`#judge [value="true"]`)
	me.follow("#judge button[type=submit]")
	me.says("Judged the finding: true")

	// A plan, which somebody else approves, is applied.
	plan := func() string {
		t.Helper()
		me.letter("p", ".acts [data-key=p]")
		me.arrived("/fixes/new")
		me.follow(`form[action="/fixes"] button[type=submit]`)
		at := eval[string](b, "location.pathname")
		if !strings.HasPrefix(at, "/fixes/plan-") {
			t.Fatalf("the plan is at %s", at)
		}
		me.says("Nothing has been written yet")
		other.letter("gr", `.places a[href="/requests"]`)
		other.row(`a[data-row][href="/requests` + at + `"]`)
		if keys {
			other.write("y")
		}
		other.follow("form.decide button.primary")
		other.says("Approved: redaction")
		return at
	}
	apply := func(fix string) {
		t.Helper()
		me.letter("gx", `.places a[href="/fixes"]`)
		me.row(`a[data-row][href="` + fix + `"]`)
		me.dialog("apply")
		me.follow("#apply button[type=submit]")
	}
	fix := plan()
	apply(fix)
	me.until(`!!document.querySelector("[data-progress] progress")`)
	me.until(`document.querySelector("[data-progress-text]").textContent.startsWith("The original is kept, sealed")`)
	close(gate)
	me.settles("redacted, read back and scanned again")
	me.clean(value)

	// It is put back, planned anew, and applied again.
	me.dialog("undo")
	me.follow("#undo button[type=submit]")
	me.settles("back byte for byte")
	me.follow(`.crumbs a[href="` + finding + `"]`)
	fix = plan()
	apply(fix)
	me.settles("redacted, read back and scanned again")

	// The purge takes a consent of its own, and the name of the bucket.
	other.letter("gx", `.places a[href="/fixes"]`)
	other.follow(`.tabs a[href="/fixes?show=undo"]`)
	other.row(`a[data-row][href="` + fix + `"]`)
	if keys {
		other.write("y")
	}
	other.follow("form.decide button.primary")
	other.says("Approved: purge")
	me.letter("gx", `.places a[href="/fixes"]`)
	me.follow(`.tabs a[href="/fixes?show=undo"]`)
	me.row(`a[data-row][href="` + fix + `"]`)
	me.dialog("purge")
	me.fill("#purge [name=bucket]", eval[string](b, `document.querySelector("#purge label code").textContent`))
	me.follow("#purge button.danger")
	me.settles("cannot come back")
	me.follow(`a[href="/certificates/` + strings.TrimPrefix(fix, "/fixes/") + `"]`)
	me.says("None can be recovered")
	me.clean(value)
	other.clean(value)

	// Out; and the way back shows nothing.
	me.use(".person summary")
	me.follow(`.person form[action="/sign-out"] button`)
	me.arrived("/sign-in")
	me.do(chromedp.NavigateBack())
	if text := eval[string](b, "document.body.textContent"); strings.Contains(text, "receipt.html") || strings.Contains(text, "Certificate") {
		t.Error("the back button shows something to nobody")
	}
	me.clean(value)
}

// says fails unless the page says something.
func (h hand) says(text string) {
	h.Helper()
	if said := eval[string](h.browser, `document.querySelector("main").textContent`); !strings.Contains(said, text) {
		h.Errorf("%s does not say %q", eval[string](h.browser, "location.pathname"), text)
	}
}
