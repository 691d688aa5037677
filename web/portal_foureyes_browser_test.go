package web_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"coffer/access"
)

// TestBrowserFourEyes has two people in a browser for one fix, from the plan to the certificate: one plans and applies, another decides. It
// looks at every page of theirs, with something on it and without.
func TestBrowserFourEyes(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer, access.RoleApprover)
	b.do(chromedp.EmulateViewport(1440, 900))
	b.login(access.RoleEngineer)
	for _, page := range []string{"fixes", "requests", "certificates", "jobs"} {
		b.open("/" + page)
		b.check(page + "-none")
	}
	id := b.findings["receipt.html"]
	b.open("/findings/" + id)
	b.press(`a[href="/fixes/new?finding=` + id + `"]`)
	b.check("fix-new")
	b.press(`form[action="/fixes"] button[type=submit]`)
	fix := eval[string](b, "location.pathname")
	if !strings.HasPrefix(fix, "/fixes/plan-") {
		t.Fatalf("the plan is at %s", fix)
	}
	plan := strings.TrimPrefix(fix, "/fixes/")
	b.check("fix-planned")
	b.open("/findings/" + id + "/ask")
	b.check("ask")
	b.submit(`form[action$="/ask"]`, map[string]string{"reason": "investigation", "note": "to compare it with the ledger"})
	b.check("request-own")
	for name, one := range b.findings {
		if name != "receipt.html" {
			b.visit(one, name)
		}
	}
	b.press(`.person form[action="/sign-out"] button`)

	b.login(access.RoleApprover)
	b.open("/requests")
	b.check("requests")
	b.open("/requests/fixes/" + plan)
	b.check("requests-fix")
	b.press(`form.decide button[formaction]`)
	b.check("requests-note-missing")
	b.press(`form.decide button.primary`)
	b.arrived("/requests/fixes/" + plan)
	b.check("requests-decided")
	b.press(`.person form[action="/sign-out"] button`)

	b.in(access.RoleEngineer)
	b.open(fix)
	b.check("fix-approved")
	eval[bool](b, `(document.querySelector('a[href="`+fix+`/apply"]').click(), document.querySelector("dialog#apply").open || undefined.shut)`)
	b.check("fix-apply-dialog")
	b.open(fix + "/apply")
	b.check("fix-apply")
	b.press(`form[action$="/apply"] button[type=submit]`)
	for _, err := range b.local.Watch(t.Context(), eval[string](b, `new URLSearchParams(location.search).get("job")`)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.open(fix)
	if text := eval[string](b, `document.querySelector(".context").textContent`); !strings.Contains(text, "read back and scanned again") {
		t.Errorf("the fix says %q", text)
	}
	b.check("fix-applied")
	b.open(fix + "/undo")
	b.check("fix-undo")
	for _, page := range []string{"fixes?show=all", "certificates", "jobs", "certificates/" + plan} {
		b.open("/" + page)
		name, _, _ := strings.Cut(page, "?")
		b.check(strings.ReplaceAll(name, "/"+plan, "-one"))
	}
	b.quiet()
}

// visit plans a fix of another finding and looks at it, where it shows something of its own.
func (b *browser) visit(id, name string) {
	b.Helper()
	kind := map[string]string{"ach-payouts-2026-07-14.csv": "cells", "customers-2026-07.jsonl": "records"}[name]
	if kind == "" {
		return
	}
	b.open("/fixes/new?" + url.Values{"finding": {id}}.Encode())
	b.press(`form[action="/fixes"] button[type=submit]`)
	b.check("fix-" + kind)
}

// in signs in by passphrase.
func (b *browser) in(role string) {
	b.Helper()
	b.open("/sign-in")
	b.submit(`form[action="/sign-in"]`, map[string]string{"name": role, "passphrase": passphrase})
	b.arrived("/overview")
}
