package web_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/chromedp/chromedp"

	"coffer/access"
	"coffer/identity"
	"coffer/identity/identitytest"
)

// TestBrowserProvider signs in at an OpenID Connect provider, proves there again who it is before a value is opened, and signs out of both.
func TestBrowserProvider(t *testing.T) {
	b := newBrowser(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	provider := identitytest.NewProvider(t, key, b.at+identity.CallbackPath)
	b.others = []string{provider.URL}
	maria := func(r *identitytest.Request) { r.Subject = "maria-sub" }
	provider.Change(func(s *identitytest.Settings) {
		s.People = map[string]func(*identitytest.Request){
			"maria":          maria,
			"eve":            func(r *identitytest.Request) { r.Subject = "eve-sub"; r.ACR = "urn:strong" },
			"maria-strongly": func(r *identitytest.Request) { maria(r); r.ACR, r.AMR = "urn:strong", []string{"pwd", "otp", "mfa"} },
		}
	})
	b.app.Identity.Config.Provider = &identity.Provider{
		Issuer: provider.URL, ClientID: identitytest.ClientID, ClientSecret: identitytest.ClientSecret,
		Roles: identity.Mapping{Claim: "groups", Values: map[string]string{"coffer-eng": access.RoleEngineer}}, ACR: []string{"urn:strong"}, MFA: []string{"urn:strong"},
	}
	b.do(chromedp.EmulateViewport(1440, 900))
	h := hand{b, false}
	// The provider's page comes after one of ours, which a browser may or may not show.
	there := func() {
		t.Helper()
		b.loadsWhere(`location.pathname === "/login"`, func() { h.use(`form[action="/sign-in/provider"] button`) })
	}
	finding := "/findings/" + b.findings["receipt.html"]

	// Where one wanted to go is where one comes to.
	b.open(finding)
	b.arrived("/sign-in")
	b.check("sign-in-provider")
	there()
	h.follow(`[value="maria"]`)
	b.arrived(finding)

	// Somebody else's proof, or a weaker one, is none; the session stays what it was.
	h.open("/step-up?to=" + finding)
	b.check("step-up-provider")
	there()
	h.follow(`[value="eve"]`)
	if text := eval[string](b, "document.body.textContent"); !eval[bool](b, `!!document.querySelector(".wrong")`) {
		t.Errorf("somebody else steps up: %.200s", text)
	}
	h.open("/step-up?to=" + finding)
	there()
	h.follow(`[value="maria"]`)
	if !eval[bool](b, `!!document.querySelector(".wrong")`) {
		t.Error("a weaker proof than was asked for is one")
	}
	h.open("/step-up?to=" + finding)
	there()
	h.follow(`[value="maria-strongly"]`)
	b.arrived(finding)
	h.open("/sessions")
	h.says("more than one factor")

	// Out here is out there, and the way leads back to the door.
	h.use(".person summary")
	b.loadsWhere(`location.origin === "`+b.at+`" && location.pathname === "/"`, func() { h.use(`.person form[action="/sign-out"] button`) })
	b.open("/overview")
	b.arrived("/sign-in")
	b.quiet()
}
