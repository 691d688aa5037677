package api_test

import (
	"errors"
	"fmt"
	"testing"

	"coffer"
	"coffer/api"
)

// TestCodes: every sentinel has a code, and the error of that code is the sentinel again.
func TestCodes(t *testing.T) {
	for _, is := range []error{
		coffer.ErrDenied, coffer.ErrUnavailable, coffer.ErrConflict, coffer.ErrChanged, coffer.ErrNotFound, coffer.ErrInvalid, coffer.ErrUnsupported,
		coffer.ErrLimit, coffer.ErrCorrupt,
	} {
		code := api.Code(fmt.Errorf("somewhere: %w", is))
		if code == "internal" || api.Status(code) < 400 {
			t.Errorf("%v: %s %d", is, code, api.Status(code))
		}
		if err := error(&api.Error{Problem: api.Problem{Code: code}}); !errors.Is(err, is) {
			t.Errorf("%s is not %v", code, is)
		}
	}
	// An answer that could not be recorded is no denial, and a denial is no absence.
	if got := api.Code(fmt.Errorf("%w: %w", coffer.ErrUnavailable, coffer.ErrDenied)); got != "denied" {
		t.Errorf("denied and unavailable: %s", got)
	}
	if got := api.Status("a code of a later version"); got != 500 {
		t.Errorf("unknown code: %d", got)
	}
	if api.Code(errors.New("anything")) != "internal" || (&api.Error{Problem: api.Problem{Code: "internal"}}).Unwrap() != nil {
		t.Error("an error of no sentinel has one")
	}
}

// TestBare: what is kept of an answer with a secret is the rest of it.
func TestBare(t *testing.T) {
	if u := (api.NewUser{User: api.User{User: "u"}, Code: "c"}).Bare(); u.Code != "" || u.User.User != "u" {
		t.Errorf("%+v", u)
	}
	if c := (api.NewCode{User: "u", Code: "c"}).Bare(); c.Code != "" || c.User != "u" {
		t.Errorf("%+v", c)
	}
	if k := (api.NewToken{Token: api.Token{Token: "t"}, Secret: "s"}).Bare(); k.Secret != "" || k.Token.Token != "t" {
		t.Errorf("%+v", k)
	}
}
