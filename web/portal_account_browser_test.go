package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"coffer"
	"coffer/access"
)

// TestBrowserAccount looks at the pages by which an installation is accounted for, as the people who use them.
func TestBrowserAccount(t *testing.T) {
	b := newBrowser(t, access.RoleEngineer, access.RoleAuditor, access.RolePrivacyOfficer, access.RolePlatform)
	b.do(chromedp.EmulateViewport(1440, 900))
	out := func() {
		t.Helper()
		b.press(`.person form[action="/sign-out"] button`)
	}

	// A fresh installation, as far as the log goes.
	b.login(access.RoleAuditor)
	b.open("/access-review?days=1")
	b.check("review-none")
	b.open("/audit?reason=legal")
	b.check("audit-none")
	out()

	// Something to account for.
	engineer := b.visitor()
	engineer.signIn(access.RoleEngineer)
	value := b.revealed(engineer)
	engineer.post("/findings/"+b.one()+"/shown", http.StatusNoContent, url.Values{"n": {"1"}, "what": {"hidden-asked"}, "seconds": {"7"}})
	for range 3 {
		engineer.ask(http.MethodGet, "/audit", nil)
	}
	rec, lines, err := b.app.Desk.Read(t.Context(), b.operator(), b.one())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.app.Vault.Index(t.Context(), b.operator(), []coffer.DataType{lines[0].Type}, true); err != nil {
		t.Fatal(err)
	}

	b.open("/sign-in")
	b.submit(`form[action="/sign-in"]`, map[string]string{"name": access.RoleAuditor, "passphrase": passphrase})
	b.open("/audit")
	b.check("audit")
	b.open("/audit?action=value.reveal&decision=allow")
	b.press(`.log-table [data-row]`)
	b.check("audit-open")
	b.open("/access-review")
	b.check("review")
	b.press(`table [data-row]`)
	b.check("review-person")
	b.open("/policies?role=engineer&kind=FINANCIAL_INFORMATION&as=engineer&do=value.reveal&on=FINANCIAL_INFORMATION&values=30&reason=1")
	b.check("policies")
	b.open("/settings")
	b.check("settings-auditor")
	out()

	b.login(access.RolePrivacyOfficer)
	b.open("/search")
	b.check("search")
	b.submit(`form[action="/search"]`, map[string]string{"value": value})
	b.check("search-found")
	if where := eval[string](b, `location.href + document.title + JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])`); strings.Contains(where, value) {
		t.Error("the value is in the address, the title, storage or history")
	}
	if page := eval[string](b, "document.documentElement.outerHTML"); strings.Contains(page, value) || !strings.Contains(page, rec.Finding.Object.Bucket) {
		t.Error("the page holds the value, or not where it stands")
	}
	b.open("/findings/" + b.one() + "/same")
	b.check("same")
	b.submit(`form[action$="/same"]`, nil)
	b.check("same-asked")
	out()

	b.tells()
	b.login(access.RolePlatform)
	b.open("/settings")
	b.check("settings")
	b.open("/people")
	b.check("people")
	b.submit(`form[action="/people"]`, map[string]string{"name": "ines"})
	b.check("people-code")
	b.quiet()
}
