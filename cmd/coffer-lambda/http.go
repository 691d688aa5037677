package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"

	"coffer"
	"coffer/app"
	"coffer/web"
)

const (
	// originHeader holds the secret that says that a request came over what stands before the API.
	originHeader = "X-Coffer-Origin"
	// maxAnswer bounds the body of an answer, in bytes: with the form of JSON around it, it has to fit into the 6 MB of an invocation.
	maxAnswer = 5 << 20
)

// serve builds the API. Jobs run in the functions that do them.
func (f *function) serve(a *app.App, q *app.Queues) (*web.Server, error) {
	c := web.Config{Logger: f.logger, Hand: q.Wake}
	if f.role == app.API {
		c.Auth, c.TLS = a.Identity, true
		if f.host != "" {
			c.Hosts = []string{f.host}
		}
	}
	return a.API(c)
}

// http answers a request of API Gateway, payload 2.0, or of a function URL, which has the same form.
func (f *function) http(ctx context.Context, o *opened, payload []byte) ([]byte, error) {
	var in events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &in); err != nil || in.Version != "2.0" {
		return nil, fmt.Errorf("the request is in another form than payload 2.0: %w", coffer.ErrInvalid)
	}
	w := &response{header: http.Header{}}
	r, problem := f.request(ctx, &in)
	if problem != 0 {
		w.refuse(problem)
		return w.encode()
	}
	o.server.ServeHTTP(w, r)
	return w.encode()
}

// request is the request of an event; status is not 0 when it is refused before anybody looks at it.
//
// What stands before the API shows that a request came through it by a secret: CloudFront adds it to what people send, API Gateway to what
// roles of AWS sign (deploy/template.yaml). Only then is believed what the front says: that the request was sent to the installation's own
// address, since CloudFront keeps the Host of the viewer to itself, and from where. A request that somebody hands to the function past the
// front can claim any authoriser, and has no secret.
func (f *function) request(ctx context.Context, in *events.APIGatewayV2HTTPRequest) (r *http.Request, status int) {
	header := http.Header{}
	for name, v := range in.Headers {
		// Values of a repeated header come joined by commas; those that web looks at have one.
		header.Add(name, v)
	}
	front := len(f.secrets) > 0
	if front {
		sum := sha256.Sum256([]byte(header.Get(originHeader)))
		if !slices.ContainsFunc(f.secrets, func(s string) bool {
			want := sha256.Sum256([]byte(s))
			return subtle.ConstantTimeCompare(sum[:], want[:]) == 1
		}) {
			return nil, http.StatusForbidden
		}
	}
	header.Del(originHeader)
	auth := in.RequestContext.Authorizer
	signed := auth != nil && auth.IAM != nil && auth.IAM.UserARN != ""
	if len(f.authorizers) > 0 && !(signed && slices.Contains(f.authorizers, "iam") ||
		auth != nil && auth.JWT != nil && slices.Contains(f.authorizers, "jwt")) {
		return nil, http.StatusUnauthorized
	}
	body := []byte(in.Body)
	if in.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(in.Body); err != nil {
			return nil, http.StatusBadRequest
		}
	}
	// The path begins with the stage, unless that is $default.
	path := in.RawPath
	if stage := in.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
	}
	if path == "" {
		path = "/"
	}
	u := &url.URL{Path: path, RawQuery: in.RawQueryString}
	if p, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = p, path
	}
	if len(in.Cookies) > 0 {
		header["Cookie"] = []string{strings.Join(in.Cookies, "; ")}
	}
	host, from := header.Get("Host"), in.RequestContext.HTTP.SourceIP
	if front || signed { // no browser signs: a page that was made to reach another host under this name (DNS rebinding) is not behind it
		host = cmp.Or(f.host, host)
	}
	if front && !signed {
		from = viewer(header.Get("X-Forwarded-For"), from)
	}
	r = &http.Request{
		Method: in.RequestContext.HTTP.Method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Host: host,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), RequestURI: u.RequestURI(),
		RemoteAddr: net.JoinHostPort(from, "0"),
	}
	header.Del("Host")
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	if signed {
		ctx = web.Signed(ctx, auth.IAM.UserARN)
	}
	return r.WithContext(ctx), 0
}

// viewer returns the address of who sent a request to CloudFront, which appends it to X-Forwarded-For, whatever stands there; API Gateway
// appends CloudFront's own (Amazon CloudFront Developer Guide, "How CloudFront processes and forwards requests to your custom origin";
// the Lambda event's sourceIp is that last one). Anything else leaves it at from.
func viewer(forwarded, from string) string {
	list := strings.Split(forwarded, ",")
	if len(list) < 2 || strings.TrimSpace(list[len(list)-1]) != from {
		return from
	}
	a, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-2]))
	if err != nil {
		return from
	}
	return a.Unmap().WithZone("").String()
}

// response is an answer that is kept until it is whole.
type response struct {
	header http.Header
	sent   http.Header
	status int
	body   bytes.Buffer
	over   bool // the body does not fit
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.over = w.over || w.body.Len()+len(b) > maxAnswer; w.over {
		return 0, fmt.Errorf("an answer of more than %d bytes: %w", maxAnswer, coffer.ErrLimit)
	}
	return w.body.Write(b)
}

// Flush implements [http.Flusher]; the answer goes when it is whole.
func (w *response) Flush() { w.WriteHeader(http.StatusOK) }

// refuse answers without asking anybody.
func (w *response) refuse(status int) {
	w.header = http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"},
	}
	w.status, w.sent, w.over = 0, nil, false
	w.body.Reset()
	w.WriteHeader(status)
	fmt.Fprintf(&w.body, `{"status":%d,"title":%q}`, status, http.StatusText(status))
}

// encode is the answer as API Gateway takes it.
func (w *response) encode() ([]byte, error) {
	if w.over {
		// Half an answer must not look like a whole one.
		w.refuse(http.StatusInsufficientStorage)
	}
	w.WriteHeader(http.StatusOK)
	out := events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: map[string]string{}, Cookies: w.sent.Values("Set-Cookie")}
	w.sent.Del("Set-Cookie")
	for name, v := range w.sent {
		out.Headers[name] = strings.Join(v, ", ")
	}
	if out.IsBase64Encoded = !utf8.Valid(w.body.Bytes()); out.IsBase64Encoded {
		out.Body = base64.StdEncoding.EncodeToString(w.body.Bytes())
	} else {
		out.Body = w.body.String()
	}
	return json.Marshal(out)
}
