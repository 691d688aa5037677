package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/identity"

	"github.com/fxamacker/cbor/v2"
)

// authenticator is a passkey in software, as small as one can be: one P-256 key, attestation "none". Its fields are what a browser and a
// device would see to, so that each can be wrong.
type authenticator struct {
	key     *ecdsa.PrivateKey
	id      []byte
	user    []byte
	counter uint32
	origin  string
	rp      string
	flags   byte // user present 1, verified 4
	typ     string
	cross   bool
}

func newAuthenticator(t testing.TB) *authenticator {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{key: k, id: make([]byte, 32), origin: "https://coffer.example", rp: "coffer.example", flags: 1 | 4}
	_, _ = rand.Read(a.id)
	return a
}

// options is what of the options a device looks at.
type options struct {
	PublicKey struct {
		Challenge        string `json:"challenge"`
		RPID             string `json:"rpId"`
		UserVerification string `json:"userVerification"`
		RP               struct {
			ID string `json:"id"`
		} `json:"rp"`
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		AuthenticatorSelection struct {
			UserVerification string `json:"userVerification"`
			ResidentKey      string `json:"residentKey"`
		} `json:"authenticatorSelection"`
		AllowCredentials []struct {
			ID string `json:"id"`
		} `json:"allowCredentials"`
	} `json:"publicKey"`
}

func parseOptions(t testing.TB, raw json.RawMessage) options {
	t.Helper()
	var o options
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (a *authenticator) clientData(typ, challenge string) []byte {
	if a.typ != "" {
		typ = a.typ
	}
	return asJSON(map[string]any{"type": typ, "challenge": challenge, "origin": a.origin, "crossOrigin": a.cross})
}

func (a *authenticator) data(attested []byte) []byte {
	sum := sha256.Sum256([]byte(a.rp))
	flags := a.flags
	if attested != nil {
		flags |= 0x40
	}
	return append(binary.BigEndian.AppendUint32(append(sum[:], flags), a.counter), attested...)
}

// register answers the options of a registration.
func (a *authenticator) register(t testing.TB, o options) []byte {
	t.Helper()
	user, err := base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	a.user = user
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		t.Fatal(err)
	}
	attested := append(make([]byte, 16), byte(len(a.id)>>8), byte(len(a.id)))
	attested = append(append(attested, a.id...), cose...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": a.data(attested)})
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": b64(a.clientData("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object), "transports": []string{"internal"},
		},
	})
}

// sign answers the options of a sign-in.
func (a *authenticator) sign(t testing.TB, o options) []byte {
	t.Helper()
	if a.counter > 0 {
		a.counter++
	}
	client := a.clientData("webauthn.get", o.PublicKey.Challenge)
	sum := sha256.Sum256(client)
	data := a.data(nil)
	digest := sha256.Sum256(append(append([]byte{}, data...), sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": b64(a.user),
		},
	})
}

// enrolPasskey adds a user and registers the passkey.
func (w *world) enrolPasskey(name string, a *authenticator) (string, identity.Session) {
	w.t.Helper()
	_, code := w.add(name, access.RoleEngineer)
	setup, err := w.SignInWithCode(ctx, code, meta)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := w.BeginRegistration(ctx, setup.Secret)
	if err != nil {
		w.t.Fatal(err)
	}
	o := parseOptions(w.t, raw)
	if o.PublicKey.RP.ID != "coffer.example" || o.PublicKey.AuthenticatorSelection.UserVerification != "required" ||
		o.PublicKey.AuthenticatorSelection.ResidentKey != "required" {
		w.t.Errorf("options %s", raw)
	}
	cookie, s, err := w.FinishRegistration(ctx, setup.Secret, a.register(w.t, o), meta)
	if err != nil {
		w.t.Fatal(identity.CauseOf(err), err)
	}
	return cookie, s
}

func TestPasskeys(t *testing.T) {
	w := newWorld(t, identity.Config{})
	a := newAuthenticator(t)
	a.counter = 1
	cookie, s := w.enrolPasskey("maria", a)
	if !s.MFA || s.How != identity.ByPasskey {
		t.Errorf("session %+v", s)
	}
	in := func(change func(*authenticator), stepUp string) (string, identity.Session, error) {
		t.Helper()
		c, err := w.BeginSignIn(ctx, stepUp)
		if err != nil {
			t.Fatal(err)
		}
		w.secret(c.Secret)
		o := parseOptions(t, c.Options)
		if o.PublicKey.RPID != "coffer.example" || o.PublicKey.UserVerification != "required" || (len(o.PublicKey.AllowCredentials) > 0) != (stepUp != "") {
			t.Errorf("options %s", c.Options)
		}
		was := *a
		if change != nil {
			change(a)
		}
		answer := a.sign(t, o)
		if change != nil {
			counter := a.counter
			*a = was
			a.counter = max(counter, was.counter)
		}
		return w.FinishSignIn(ctx, c.Secret, answer, identity.Meta{})
	}
	_, s, err := in(nil, "")
	if err != nil || !s.MFA || s.Caller.Name != "maria" {
		t.Fatalf("%+v, %v", s, err)
	}
	for what, c := range map[string]struct {
		change func(*authenticator)
		want   identity.Cause
	}{
		"another origin":           {func(a *authenticator) { a.origin = "https://coffer.example.evil" }, identity.BadPasskey},
		"another port":             {func(a *authenticator) { a.origin = "https://coffer.example:8443" }, identity.BadPasskey},
		"plain http":               {func(a *authenticator) { a.origin = "http://coffer.example" }, identity.BadPasskey},
		"inside a foreign page":    {func(a *authenticator) { a.cross = true }, identity.BadPasskey},
		"another relying party":    {func(a *authenticator) { a.rp = "example" }, identity.BadPasskey},
		"no user verification":     {func(a *authenticator) { a.flags = 1 }, identity.BadPasskey},
		"nobody present":           {func(a *authenticator) { a.flags = 4 }, identity.BadPasskey},
		"an answer to a create":    {func(a *authenticator) { a.typ = "webauthn.create" }, identity.BadPasskey},
		"another key":              {func(a *authenticator) { a.key = newAuthenticator(t).key }, identity.BadPasskey},
		"another credential":       {func(a *authenticator) { a.id = newAuthenticator(t).id }, identity.BadPasskey},
		"the user of nobody":       {func(a *authenticator) { a.user = []byte("u-0000") }, identity.Unknown},
		"no user":                  {func(a *authenticator) { a.user = nil }, identity.Unknown},
		"a counter that went back": {func(a *authenticator) { a.counter = 1 }, identity.ClonedPasskey},
		"no counter any more":      {func(a *authenticator) { a.counter = 0 }, identity.ClonedPasskey},
	} {
		_, _, err := in(c.change, "")
		refused(t, what, err, c.want)
	}
	if _, _, err := in(nil, ""); err != nil {
		t.Errorf("after all that: %v", identity.CauseOf(err))
	}

	// An answer is good once, for its own question, for five minutes.
	c, _ := w.BeginSignIn(ctx, "")
	d, _ := w.BeginSignIn(ctx, "")
	answer := a.sign(t, parseOptions(t, c.Options))
	_, _, err = w.FinishSignIn(ctx, d.Secret, answer, meta)
	refused(t, "the answer to another question", err, identity.BadPasskey)
	_, _, err = w.FinishSignIn(ctx, d.Secret, a.sign(t, parseOptions(t, d.Options)), meta)
	refused(t, "a question that was answered wrongly", err, identity.Used)
	if _, _, err = w.FinishSignIn(ctx, c.Secret, answer, meta); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.FinishSignIn(ctx, c.Secret, answer, meta)
	refused(t, "the answer again", err, identity.Used)
	c, _ = w.BeginSignIn(ctx, "")
	w.pass(5 * time.Minute)
	_, _, err = w.FinishSignIn(ctx, c.Secret, a.sign(t, parseOptions(t, c.Options)), meta)
	refused(t, "after five minutes", err, identity.Expired)
	for _, bad := range []string{"", "{}", "null", `{"id":"x"}`, string(make([]byte, 100_000))} {
		c, _ := w.BeginSignIn(ctx, "")
		_, _, err := w.FinishSignIn(ctx, c.Secret, []byte(bad), identity.Meta{})
		refused(t, "no answer at all", err, identity.BadPasskey)
	}

	// Step-up: by the same person alone, and the cookie changes.
	w.pass(time.Minute)
	next, up, err := in(nil, cookie)
	if err != nil || next == cookie || !up.SignedIn.Equal(w.now()) || up.Started.Equal(w.now()) {
		t.Fatalf("%+v, %v", up, err)
	}
	eve := newAuthenticator(t)
	eveIn, _ := w.enrolPasskey("eve", eve)
	_, _, err = in(nil, eveIn)
	refused(t, "a step-up with another's passkey", err, identity.BadPasskey)
	if n := w.recorded(access.SessionStart, audit.Done, "how", "passkey"); n < 6 {
		t.Errorf("%d entries of passkeys", n)
	}

	if err := w.Disable(ctx, w.op(), up.Caller.ID, true); err != nil {
		t.Fatal(err)
	}
	_, _, err = in(nil, "")
	refused(t, "somebody who is kept out", err, identity.Disabled)
}

func TestRegistration(t *testing.T) {
	w := newWorld(t, identity.Config{})
	a := newAuthenticator(t)
	_, code := w.add("maria", access.RoleEngineer)
	setup, err := w.SignInWithCode(ctx, code, meta)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.FinishRegistration(ctx, setup.Secret, []byte("{}"), meta)
	refused(t, "before it began", err, identity.Used)
	for what, change := range map[string]func(*authenticator){
		"another origin":        func(a *authenticator) { a.origin = "https://evil.example" },
		"another relying party": func(a *authenticator) { a.rp = "evil.example" },
		"no user verification":  func(a *authenticator) { a.flags = 1 },
		"an answer to a get":    func(a *authenticator) { a.typ = "webauthn.get" },
	} {
		raw, err := w.BeginRegistration(ctx, setup.Secret)
		if err != nil {
			t.Fatal(err)
		}
		b := newAuthenticator(t)
		change(b)
		_, _, err = w.FinishRegistration(ctx, setup.Secret, b.register(t, parseOptions(t, raw)), meta)
		refused(t, what, err, identity.BadPasskey)
		b = newAuthenticator(t)
		_, _, err = w.FinishRegistration(ctx, setup.Secret, b.register(t, parseOptions(t, raw)), meta)
		refused(t, what+", then the challenge again", err, identity.Used)
	}
	raw, err := w.BeginRegistration(ctx, setup.Secret)
	if err != nil {
		t.Fatal(err)
	}
	answer := a.register(t, parseOptions(t, raw))
	cookie, _, err := w.FinishRegistration(ctx, setup.Secret, answer, meta)
	if err != nil {
		t.Fatal(identity.CauseOf(err), err)
	}
	_, _, err = w.FinishRegistration(ctx, setup.Secret, answer, meta)
	refused(t, "the whole registration again", err, identity.Used)

	// One more device for the same person; nobody registers a credential that is taken.
	more, err := w.Enrol(ctx, cookie)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = w.BeginRegistration(ctx, more.Secret); err != nil {
		t.Fatal(err)
	}
	taken := newAuthenticator(t)
	taken.id = a.id
	_, _, err = w.FinishRegistration(ctx, more.Secret, taken.register(t, parseOptions(t, raw)), meta)
	refused(t, "a credential that is taken", err, identity.Used)
	if raw, err = w.BeginRegistration(ctx, more.Secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err = w.FinishRegistration(ctx, more.Secret, newAuthenticator(t).register(t, parseOptions(t, raw)), meta); err != nil {
		t.Fatal(identity.CauseOf(err), err)
	}
	users, err := w.Users(ctx, w.op())
	if err != nil || users[0].Passkeys != 2 || users[0].Passphrase {
		t.Errorf("%+v, %v", users, err)
	}

	// A new code takes the lost devices away.
	code, err = w.NewCode(ctx, w.op(), users[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if setup, err = w.SignInWithCode(ctx, code, meta); err != nil {
		t.Fatal(err)
	}
	if _, _, err = w.SetPassphrase(ctx, setup.Secret, passphrase, meta); err != nil {
		t.Fatal(err)
	}
	c, err := w.BeginSignIn(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.FinishSignIn(ctx, c.Secret, a.sign(t, parseOptions(t, c.Options)), meta)
	refused(t, "a lost device", err, identity.BadPasskey)

	without := newWorld(t, identity.Config{})
	without.Config.Origin = ""
	if _, err := without.BeginSignIn(ctx, ""); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("without an origin: %v", err)
	}
}
