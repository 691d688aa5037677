package web_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCookies: every cookie that the portal sets is for this host alone, over TLS alone, and closed to scripts; and that of a session is
// not sent along by the forms of other sites, and ends with it.
func TestCookies(t *testing.T) {
	p := newPortal(t, "engineer")
	v := p.visitor()
	v.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	seen := map[string]bool{}
	look := func(what string, res arrived) {
		t.Helper()
		for _, c := range (&http.Response{Header: res.Header}).Cookies() {
			seen[c.Name] = true
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
				t.Errorf("%s: cookie %s: Secure %t, HttpOnly %t, Path %q, Domain %q, SameSite %d", what, c.Name, c.Secure, c.HttpOnly, c.Path, c.Domain, c.SameSite)
			}
			if c.Name == "__Host-coffer" && c.Value != "" && len(c.Value) < 43 { // 256 bits in base64url
				t.Errorf("%s: a session of %d characters", what, len(c.Value))
			}
		}
	}
	res, _ := v.ask(http.MethodPost, "/sign-in/code", url.Values{"code": {p.codes["engineer"]}})
	look("code", res)
	res, _ = v.ask(http.MethodPost, "/set-up", url.Values{"passphrase": {passphrase}, "again": {passphrase}})
	look("set-up", res)
	res, _ = v.ask(http.MethodPost, "/theme", url.Values{"theme": {"dark"}})
	look("theme", res)
	res, _ = v.ask(http.MethodPost, "/sign-out", url.Values{})
	look("sign-out", res)
	ended := false
	for _, c := range (&http.Response{Header: res.Header}).Cookies() {
		ended = ended || c.Name == "__Host-coffer" && c.MaxAge < 0 && c.Value == ""
	}
	if !ended || !strings.Contains(res.Header.Get("Clear-Site-Data"), `"storage"`) {
		t.Errorf("sign-out leaves the cookie, or what is stored: %q", res.Header.Get("Clear-Site-Data"))
	}
	if !seen["__Host-coffer"] || len(seen) < 3 {
		t.Errorf("only %d cookies were seen", len(seen))
	}
}

// TestNothingIsKeptInTheBrowser: scripts have no word for storage, caches or workers, and markup none for fields that browsers must not fill;
// passphrases can be pasted and are not shown.
func TestNothingIsKeptInTheBrowser(t *testing.T) {
	scripts, err := filepath.Glob("static/*.js")
	if err != nil || len(scripts) < 2 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	storage := regexp.MustCompile(`(?i)localStorage|sessionStorage|indexedDB|serviceWorker|\bcaches\b|openDatabase|SharedWorker|\.cookieStore|requestFileSystem|onpaste|"paste"|'paste'`)
	cookie := regexp.MustCompile("document\\.cookie = `([^=]+)=")
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := storage.FindString(string(b)); at != "" {
			t.Errorf("%s uses %s", name, at)
		}
		for _, m := range cookie.FindAllSubmatch(b, -1) {
			if string(m[1]) != "__Host-coffer-zone" { // the reader's time zone
				t.Errorf("%s writes the cookie %s", name, m[1])
			}
		}
		if strings.Count(string(b), "document.cookie") != len(cookie.FindAll(b, -1)) {
			t.Errorf("%s touches cookies in another way", name)
		}
	}
	pages, err := filepath.Glob("templates/*.html")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d templates, %v", len(pages), err)
	}
	field := regexp.MustCompile(`<input[^>]*name="(passphrase|again)"[^>]*>`)
	fields := 0
	for _, name := range pages {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "onpaste") {
			t.Errorf("%s forbids pasting", name)
		}
		for _, in := range field.FindAllString(string(b), -1) {
			fields++
			if !strings.Contains(in, `type="password"`) || !regexp.MustCompile(`autocomplete="(current|new)-password"`).MatchString(in) {
				t.Errorf("%s: %s", name, in)
			}
		}
	}
	if fields < 4 {
		t.Errorf("only %d fields of passphrases", fields)
	}
}
