package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"coffer"
)

const (
	sendTimeout    = 10 * time.Second // for a whole exchange, the name's lookup and the answer's end included
	connectTimeout = 5 * time.Second
	maxAnswer      = 4 << 10  // bytes of an answer that are read; nothing in it is used
	maxHeaders     = 16 << 10 // bytes of an answer's headers
	maxSecrets     = 16 << 10 // bytes of a file with secrets, or with an address
	maxCAs         = 1 << 20
)

// neverReached are the addresses that no configuration opens: those of this link, where the metadata of a cloud's machine are
// (169.254.169.254 and its like, also IPv6 and the wire server of Azure), multicast, and what stands for no machine.
var neverReached = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "168.63.129.16/32", "100.100.100.200/32", "224.0.0.0/4", "ff00::/8",
	"0.0.0.0/8", "::/128", "240.0.0.0/4")

// notPublic are the networks of the IANA special-purpose registries of IPv4 and IPv6 that are not global, and those of IPv6 that carry an
// IPv4 address in them (mapped, translated, NAT64, 6to4, Teredo), through which a private one could be named.
var notPublic = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
	"2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10")

// allocated is what IANA has given out of IPv6 for the public network.
var allocated = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func loopback(p netip.Prefix) bool {
	return p.Addr().IsLoopback() && (p.Addr().Is4() && p.Bits() >= 8 || p.Bits() == 128)
}

// errAddress says that a receiver's address is not one that may be reached. It does not say which it is: a name must not tell what the
// inside of a network looks like.
var errAddress = fmt.Errorf("the address of the receiver is not public, and allow: does not name it: %w", coffer.ErrDenied)

// ports are those on which receivers on the public network are reached.
var ports = []string{"443", "8443"}

// dialer connects to receivers. A name is resolved once and what is dialled is the address that was looked at, so that a name with
// another answer the next moment leads nowhere else.
type dialer struct {
	allow    []netip.Prefix
	only     bool // allow are all that may be reached: over http
	resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// may reports whether an address and port may be reached.
func (d *dialer) may(a netip.Addr, port string) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	switch {
	case within(neverReached, a):
		return false
	case within(d.allow, a):
		return true
	case d.only || !a.IsGlobalUnicast() || within(notPublic, a) || a.Is6() && !allocated.Contains(a):
		return false
	}
	return slices.Contains(ports, port)
}

// DialContext connects to a host and port. All addresses of a name must be ones that may be reached: a name that also leads inside is
// not trusted with anything.
func (d *dialer) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address of the receiver: %w", coffer.ErrInvalid)
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = d.resolver.LookupNetIP(ctx, "ip", host); err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("the receiver's name has no address: %w", coffer.ErrUnavailable)
	}
	for _, a := range addrs {
		if !d.may(a, port) {
			return nil, errAddress
		}
	}
	for _, a := range addrs {
		var c net.Conn
		if c, err = d.dial(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the receiver cannot be reached: %w", coffer.ErrUnavailable)
}

// receiver sends requests to one place. It follows no redirect, knows no proxy, keeps no cookie and no connection.
type receiver struct {
	target  *Target
	home    string
	secrets *awsSecrets
	dialer  dialer
	timeout time.Duration // of an exchange
}

// newReceiver returns the receiver of a target. It calls nothing, and opens AWS's configuration only when a secret is asked for.
func newReceiver(t *Target, home string, open func(context.Context, Target) (aws.Config, error), now func() time.Time) (*receiver, error) {
	allow, err := t.allowed()
	if err != nil {
		return nil, err
	}
	_, region, err := t.secretIDs()
	if err != nil {
		return nil, err
	}
	from := *t
	from.Region = cmp.Or(from.Region, region)
	d := dialer{allow: allow, resolver: net.DefaultResolver, dial: (&net.Dialer{Timeout: connectTimeout}).DialContext}
	return &receiver{target: t, home: home, secrets: &awsSecrets{target: from, open: open, now: now}, dialer: d, timeout: sendTimeout}, nil
}

// read returns what a member of the target names: a small file, or a secret in Secrets Manager.
func (r *receiver) read(ctx context.Context, member, name string, limit int64) ([]byte, error) {
	if id, ok := strings.CutPrefix(name, inSecretsManager); ok {
		return r.secrets.read(ctx, member, id, limit)
	}
	f, err := os.Open(under(r.home, name))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", member, coffer.ErrUnavailable)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fmt.Errorf("%s cannot be read, or is larger than %d bytes: %w", member, limit, coffer.ErrUnavailable)
	}
	return b, nil
}

// url is the address to send to, read anew each time when it does not stand in the configuration.
func (r *receiver) url(ctx context.Context) (*url.URL, error) {
	text := r.target.URL
	if r.target.URLFile != "" {
		b, err := r.read(ctx, "urlFile", r.target.URLFile, maxSecrets)
		if err != nil {
			return nil, err
		}
		lines := linesOf(b)
		if len(lines) == 0 {
			return nil, fmt.Errorf("urlFile is empty: %w", coffer.ErrUnavailable)
		}
		text = lines[0]
	}
	u, err := r.target.address(text)
	if err != nil {
		// What stands there is for whoever runs the installation to set right; it is no fault of the message.
		return nil, fmt.Errorf("%v: %w", err, coffer.ErrUnavailable)
	}
	return u, nil
}

// post sends a body and returns nil for an answer that says that it was taken. Errors name neither address nor anything of the answer
// but its status. One wrapping coffer.ErrInvalid says that the receiver does not want this message, whenever it comes.
func (r *receiver) post(ctx context.Context, header http.Header, body []byte) error {
	u, err := r.url(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.target.CAFile != "" {
		pem, err := r.read(ctx, "caFile", r.target.CAFile, maxCAs)
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("caFile holds no certificate: %w", coffer.ErrUnavailable)
		}
	}
	d := r.dialer
	d.only = u.Scheme == "http"
	tr := &http.Transport{
		DialContext: d.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: sendTimeout,
		MaxResponseHeaderBytes: maxHeaders, DisableCompression: true, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), newBody(body))
	if err != nil {
		return fmt.Errorf("request: %w", coffer.ErrUnavailable)
	}
	req.ContentLength = int64(len(body))
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "coffer")
	resp, err := client.Do(req)
	if err != nil {
		return unreached(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // nothing in it is used; the status has said everything
	return answered(resp)
}

// unreached says why there was no answer, without the address, which [url.Error] repeats.
func unreached(err error) error {
	var cert *tls.CertificateVerificationError
	var deadline interface{ Timeout() bool }
	switch {
	case errors.Is(err, coffer.ErrDenied):
		return errAddress
	case errors.As(err, &cert):
		return fmt.Errorf("the receiver's certificate is not trusted: %w", coffer.ErrUnavailable)
	case errors.As(err, &deadline) && deadline.Timeout():
		return fmt.Errorf("the receiver did not answer in time: %w", coffer.ErrUnavailable)
	case errors.Is(err, coffer.ErrUnavailable):
		return fmt.Errorf("no connection to the receiver: %w", coffer.ErrUnavailable)
	}
	return fmt.Errorf("the exchange with the receiver was broken off: %w", coffer.ErrUnavailable)
}

// laterError says that the receiver wants to be left alone for a while.
type laterError struct {
	after time.Duration
	err   error
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

func answered(resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case 200 <= code && code < 300:
		return nil
	case 300 <= code && code < 400:
		return fmt.Errorf("the receiver redirects (%d), which is not followed: %w", code, coffer.ErrUnavailable)
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnsupportedMediaType ||
		code == http.StatusUnprocessableEntity:
		return fmt.Errorf("the receiver answered %d: %w", code, coffer.ErrInvalid)
	}
	err := fmt.Errorf("the receiver answered %d: %w", code, coffer.ErrUnavailable)
	if d := retryAfter(resp.Header.Get("Retry-After"), time.Now()); d > 0 {
		return &laterError{d, err}
	}
	return err
}
