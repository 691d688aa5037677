package notify

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer"
)

// TestStandardWebhooksVector signs the example that the reference libraries of Standard Webhooks test themselves with.
func TestStandardWebhooksVector(t *testing.T) {
	key, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	other, err := parseSecret("whsec_" + strings.Repeat("QUFB", 8))
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got := sign([][]byte{other, key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if _, second, _ := strings.Cut(got, " "); second != want {
		t.Errorf("signature %q, want %q behind that of the other secret", got, want)
	}
	for _, bad := range []string{"", "whsec_", "whsec_c2hvcnQ=", strings.Repeat("A", 40), "whsec_!!", "whsec_" + strings.Repeat("AAAA", 30)} {
		if _, err := parseSecret(bad); err == nil || strings.Contains(err.Error(), bad) && len(bad) > 6 {
			t.Errorf("a secret of %d characters: %v", len(bad), err)
		}
	}
}

// names resolves to the answers that it was given, one after the other.
type names struct{ answers [][]string }

func (n *names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if len(n.answers) == 0 {
		return nil, errors.New("no such host")
	}
	var out []netip.Addr
	for _, a := range n.answers[0] {
		out = append(out, netip.MustParseAddr(a))
	}
	n.answers = n.answers[1:]
	return out, nil
}

// TestAddresses asks for every range that a receiver must not be in, by address and by name, and for some that it may be in.
func TestAddresses(t *testing.T) {
	refused := strings.Fields(`127.0.0.1 127.9.9.9 0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.8
		192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16
		100.100.100.200 ::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:10.0.0.1 ::10.0.0.1 64:ff9b::a00:1
		64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:a00:1::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd12::1
		fe80::1 febf::1 fec0::1 ff02::1 4000::1`)
	allowed := strings.Fields(`1.1.1.1 8.8.8.8 93.184.215.14 172.32.0.1 2606:4700::1111 2a00:1450:4001::200e`)
	dialled := ""
	d := dialer{dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = addr
		return nil, errors.New("not really")
	}}
	try := func(host string, answers ...[]string) string {
		dialled, d.resolver = "", &names{answers}
		_, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443"))
		if dialled == "" && !errors.Is(err, coffer.ErrDenied) {
			t.Errorf("%s: %v", host, err)
		}
		return dialled
	}
	for _, a := range refused {
		if try(a) != "" || try("name.test", []string{a}) != "" || try("name.test", []string{"1.1.1.1", a}) != "" {
			t.Errorf("%s was dialled", a)
		}
	}
	for _, a := range allowed {
		if try(a) == "" || try("name.test", []string{a}) != net.JoinHostPort(a, "443") {
			t.Errorf("%s was not dialled", a)
		}
	}
	// A name that has another answer the next time it is asked for is dialled at the address that was looked at.
	if got := try("name.test", []string{"1.1.1.1"}, []string{"169.254.169.254"}); got != "1.1.1.1:443" {
		t.Errorf("dialled %q", got)
	}
	// The configuration opens a network inside, and nothing beside it; over http nothing else.
	d.allow = prefixes("10.20.0.0/16")
	if try("10.20.3.4") == "" || try("10.21.3.4") != "" || try("1.1.1.1") == "" {
		t.Error("allow: is not what it says")
	}
	d.only = true
	if try("10.20.3.4") == "" || try("1.1.1.1") != "" {
		t.Error("over http the public network was reached")
	}
	if d.only, d.allow = false, nil; d.may(netip.MustParseAddr("1.1.1.1"), "22") || d.may(netip.MustParseAddr("fe80::1%eth0"), "443") {
		t.Error("a port that is no receiver's, or an address of a link")
	}
}

// arnOfTest is that of a secret.
const arnOfTest = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:private-path-AbCdEf"

// TestConfiguration shows targets that are refused, and that no message of that repeats an address.
func TestConfiguration(t *testing.T) {
	hook := func(change func(*Target)) []Target {
		x := Target{Name: "soc", Kind: Webhook, URL: "https://hooks.test/private-path", SecretFile: "s"}
		change(&x)
		return []Target{x}
	}
	if err := Check(hook(func(*Target) {})); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Target){
		"http":                  func(x *Target) { x.URL = "http://hooks.test/private-path" },
		"http in the network":   func(x *Target) { x.URL, x.Allow = "http://hooks.test/private-path", []string{"10.0.0.0/8"} },
		"another scheme":        func(x *Target) { x.URL = "gopher://hooks.test/private-path" },
		"a password":            func(x *Target) { x.URL = "https://a:b@hooks.test/private-path" },
		"no secret":             func(x *Target) { x.SecretFile = "" },
		"no name of a secret":   func(x *Target) { x.SecretFile = "secretsmanager:" },
		"an ARN of a queue":     func(x *Target) { x.SecretFile = "secretsmanager:arn:aws:sqs:eu-central-1:111122223333:private-path" },
		"secrets far apart":     func(x *Target) { x.Region, x.SecretFile = "us-east-1", inSecretsManager+arnOfTest },
		"a region for files":    func(x *Target) { x.Region = "us-east-1" },
		"two addresses":         func(x *Target) { x.URLFile = "u" },
		"metadata allowed":      func(x *Target) { x.Allow = []string{"169.254.169.254/32"} },
		"everything allowed":    func(x *Target) { x.Allow = []string{"0.0.0.0/0"} },
		"everything, IPv6":      func(x *Target) { x.Allow = []string{"::/0"} },
		"bits behind the mask":  func(x *Target) { x.Allow = []string{"10.1.1.1/8"} },
		"unknown kind":          func(x *Target) { x.Kind = "pager" },
		"name":                  func(x *Target) { x.Name = "SOC room" },
		"unknown filter":        func(x *Target) { x.Filter = []string{"colour=red"} },
		"member of another":     func(x *Target) { x.Bus = "b" },
		"ocsf without a region": func(x *Target) { *x = Target{Name: "lake", Kind: OCSF, To: "dir:x", Account: "1"} },
		"ocsf that climbs": func(x *Target) {
			*x = Target{Name: "lake", Kind: OCSF, To: "dir:x", Account: "1", Region: "r", Prefix: "../"}
		},
		"hub": func(x *Target) { *x = Target{Name: "hub", Kind: SecurityHub, Clean: "mostly"} },
	} {
		err := Check(hook(change))
		if !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "private-path") {
			t.Errorf("%s: the error repeats the address: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Target){
		"a secret's name": func(x *Target) { x.SecretFile, x.Region, x.FIPS = "secretsmanager:prod/coffer@soc", "us-east-1", true },
		"a secret's ARN":  func(x *Target) { x.SecretFile, x.Region = inSecretsManager+arnOfTest, "eu-central-1" },
		"all in secrets":  func(x *Target) { x.URL, x.URLFile, x.CAFile = "", inSecretsManager+arnOfTest, "secretsmanager:ca" },
	} {
		if err := Check(hook(change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(append(hook(func(*Target) {}), hook(func(*Target) {})...)); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("the same name twice: %v", err)
	}
}

// local returns a receiver for a server of the test.
func local(t *testing.T, h http.HandlerFunc) (*receiver, *httptest.Server) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	r, err := newReceiver(&Target{Name: "x", Kind: Webhook, URL: srv.URL + "/private-path", Allow: []string{"127.0.0.1/32"}}, "", nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return r, srv
}

// TestHostileReceivers posts to receivers that do what they can to the sender.
func TestHostileReceivers(t *testing.T) {
	post := func(r *receiver) error {
		err := r.post(t.Context(), http.Header{}, []byte("{}"))
		if err != nil && strings.Contains(err.Error(), "private-path") {
			t.Errorf("the error repeats the address: %v", err)
		}
		return err
	}
	t.Run("redirect", func(t *testing.T) {
		for _, to := range []string{"http://169.254.169.254/latest/meta-data/", "/elsewhere"} {
			asked := 0
			r, _ := local(t, func(w http.ResponseWriter, req *http.Request) {
				asked++
				http.Redirect(w, req, to, http.StatusTemporaryRedirect)
			})
			if err := post(r); !errors.Is(err, coffer.ErrUnavailable) || asked != 1 {
				t.Errorf("%v after %d requests", err, asked)
			}
		}
	})
	t.Run("endless answer", func(t *testing.T) {
		// What a connection has under way on one machine is a few MiB; somebody who read on would take thousands until the time is over.
		const most = 64 << 20
		said := make(chan int, 1)
		r, _ := local(t, func(w http.ResponseWriter, _ *http.Request) {
			n := 0
			for chunk := strings.Repeat("x", 1<<16); n < most; {
				k, err := io.WriteString(w, chunk)
				if n += k; err != nil {
					break
				}
			}
			said <- n
		})
		if err := post(r); err != nil {
			t.Error(err)
		}
		if n := <-said; n >= most {
			t.Errorf("%d bytes of the answer were taken", n)
		}
	})
	t.Run("endless headers", func(t *testing.T) {
		r, _ := local(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		})
		if err := post(r); !errors.Is(err, coffer.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		done := make(chan struct{})
		r, _ := local(t, func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-done:
			}
		})
		defer close(done)
		r.timeout = 50 * time.Millisecond
		if err := post(r); !errors.Is(err, coffer.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		r, _ := local(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
		r.dialer.allow = nil
		if err := post(r); !errors.Is(err, coffer.ErrDenied) {
			t.Error(err)
		}
	})
	t.Run("certificates", func(t *testing.T) {
		for name, try := range map[string]struct {
			host    string // that the address names; the certificate is for 127.0.0.1 and example.com
			trusted bool
			newest  uint16
			works   bool
		}{
			"trusted":         {"example.com", true, tls.VersionTLS13, true},
			"of nobody":       {"example.com", false, tls.VersionTLS13, false},
			"of another host": {"hooks.test", true, tls.VersionTLS13, false},
			"TLS 1.1":         {"example.com", true, tls.VersionTLS11, false},
		} {
			asked := false
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: try.newest}
			srv.StartTLS()
			r, err := named(t, srv, "https://"+try.host)
			if err != nil {
				t.Fatal(err)
			}
			if try.trusted {
				r.target.CAFile = filepath.Join(t.TempDir(), "ca.pem")
				b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
				if err := os.WriteFile(r.target.CAFile, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err = post(r)
			srv.Close()
			if try.works != (err == nil) || asked != try.works || err != nil && !errors.Is(err, coffer.ErrUnavailable) {
				t.Errorf("%s: %v, a request arrived: %v", name, err, asked)
			}
		}
	})
}

// named returns a receiver that is reached by a name, which resolves to the server's address and needs a proxy where there is one: to
// addresses of the machine itself none is ever used.
func named(t *testing.T, srv *httptest.Server, origin string) (*receiver, error) {
	t.Helper()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newReceiver(&Target{Name: "x", Kind: Webhook, URL: origin + ":" + u.Port() + "/private-path", Allow: []string{"127.0.0.1/32"}}, "", nil, time.Now)
	if err == nil {
		r.dialer.resolver = &names{[][]string{{"127.0.0.1"}}}
	}
	return r, err
}

// TestProxiesOfTheEnvironment is done in a process of its own: net/http reads the environment once.
func TestProxiesOfTheEnvironment(t *testing.T) {
	const child = "COFFER_TEST_PROXIED"
	if os.Getenv(child) == "" {
		asked := make(chan string, 8)
		proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { asked <- req.Method + " " + req.Host }))
		defer proxy.Close()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxiesOfTheEnvironment$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "ALL_PROXY="+proxy.URL, "NO_PROXY=")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v: %s", err, out)
		}
		select {
		case what := <-asked:
			t.Errorf("the proxy was asked: %s", what)
		default:
		}
		return
	}
	arrived := 0
	for _, start := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		srv := start(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived++ }))
		defer srv.Close()
		scheme, _, _ := strings.Cut(srv.URL, ":")
		r, err := named(t, srv, scheme+"://example.com")
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "https" {
			r.target.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(r.target.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.post(t.Context(), http.Header{}, []byte("{}")); err != nil {
			t.Error(err)
		}
	}
	if arrived != 2 {
		t.Errorf("%d requests arrived", arrived)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "7": 7 * time.Second, "99999999999": maxBackoff, "Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT": 0, "Mon, 01 Mar 2027 12:00:00 GMT": maxBackoff,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
