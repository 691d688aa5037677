package s3fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"coffer/internal/fault"
)

// The credentials, Region and account of [New].
const (
	AccessKey = "AKIACOFFERS3FAKE"
	SecretKey = "fake-secret-that-opens-nothing"
	Region    = "eu-central-1"
	Account   = "111122223333"
)

// Limits are S3's. Tests that must run small lower them; the default of [New] is the real ones.
type Limits struct {
	MinPart   int64 // of every part but the last
	MaxPart   int64 // of a part, a PUT and a copy
	MaxParts  int
	RangeCopy int64 // a range is copied only from a source larger than this
}

const mib = 1 << 20

// Server is the fake. Fields are set before the first request. It is safe for concurrent use; each request has its effect at one
// instant.
type Server struct {
	AccessKey, SecretKey, Region, Account string
	// MFA is the serial number and code that x-amz-mfa must carry where it is needed.
	MFA    string
	Limits Limits
	// Now gives the time of new versions, and by which locks and restores end.
	Now func() time.Time
	// Injector, if set, has every request as one call "s3.<Operation>". A failed call is a connection that broke: before the
	// request had its effect, or after that and before the answer.
	Injector *fault.Injector

	mu      sync.Mutex
	buckets map[string]*bucket
	ids     uint64
	denied  map[string]bool
	calls   []*record
	counts  map[string]int
	decide  func(op string, n int) Kind
}

// New returns an empty S3 with the package's credentials, the real limits and the real time.
func New() *Server {
	return &Server{
		AccessKey: AccessKey, SecretKey: SecretKey, Region: Region, Account: Account, MFA: "arn:aws:iam::" + Account + ":mfa/root 123456", Now: time.Now,
		Limits:  Limits{MinPart: 5 * mib, MaxPart: 5 << 30, MaxParts: 10000, RangeCopy: 5 * mib},
		buckets: map[string]*bucket{}, denied: map[string]bool{}, counts: map[string]int{},
	}
}

// Kind is a way to fail, as documented.
type Kind int

// The kinds of failure. Those named After have the effect of the request first; if the request is refused by itself its own answer
// is given instead.
const (
	None               Kind = iota
	SlowDown                // 503
	InternalError           // 500
	Reset                   // the connection breaks
	Conflict                // 409 ConditionalRequestConflict; a multipart upload can only be aborted after it
	Aborted                 // 409 OperationAborted
	ErrorIn200              // 200, white space, then an error: CopyObject, UploadPartCopy, CompleteMultipartUpload
	Truncated               // the body of the answer ends in the middle, and the connection with it
	InternalErrorAfter      // 500
	ResetAfter              // the connection breaks before the answer
	ErrorIn200After         // as ErrorIn200
)

// Fault has f decide how the n-th request (1-based) for an operation fails. f is called before the request has any effect and may
// itself change the state, as somebody else would. Nil: none fails.
func (s *Server) Fault(f func(op string, n int) Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = f
}

// FailNext fails the next request for an operation, once.
func (s *Server) FailNext(op string, k Kind) {
	var done atomic.Bool
	s.Fault(func(o string, _ int) Kind {
		if o == op && !done.Swap(true) {
			return k
		}
		return None
	})
}

// Deny takes permissions away from the caller: "s3:ListBucket", "s3:GetObjectRetention". Requests that need one get 403, and answers
// leave out what only the permitted see.
func (s *Server) Deny(actions ...string) { s.permit(true, actions) }

// Allow gives them back.
func (s *Server) Allow(actions ...string) { s.permit(false, actions) }

func (s *Server) permit(denied bool, actions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		s.denied[a] = denied
	}
}

// Call is a request that came in.
type Call struct {
	Op          string // as in the API; "Unknown" for what the fake does not know
	Bucket, Key string
	Status      int // 0: the connection broke
	Code        string
	// In and Out are bytes of the bodies, Out as far as the client took them.
	In, Out int64
}

type record struct {
	Call
	out atomic.Int64
}

// Calls returns all requests so far, in the order in which they came.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, r := range s.calls {
		out[i] = r.Call
		out[i].Out = r.out.Load()
	}
	return out
}

// Forget empties the account of calls.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// response is an answer before it becomes one of a server or of a transport.
type response struct {
	status int
	header http.Header
	body   content
	cut    bool // the connection breaks in the middle of the body
	record *record
}

func answer(status int) *response { return &response{status: status, header: http.Header{}} }

func (d *document) answer(status int) *response {
	a := answer(status)
	a.header.Set("Content-Type", "application/xml")
	a.body = bytesContent(d.bytes())
	return a
}

func (r *response) set(name, value string) {
	if value != "" {
		r.header.Set(name, value)
	}
}

// reader yields the body as far as it goes, and counts it.
func (r *response) reader() io.Reader {
	var in io.Reader
	if in = r.body.reader(); r.cut {
		in = io.MultiReader(r.body.slice(0, r.body.size/2).reader(), broken{})
	}
	return &counted{in, &r.record.out}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type counted struct {
	in io.Reader
	n  *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// call is one request on its way.
type call struct {
	s           *Server
	r           *http.Request
	q           url.Values
	op          string
	bucket, key string
	body        []byte
	trailer     http.Header
}

func (c *call) h(name string) string { return c.r.Header.Get(name) }

// errBroken is what a client sees of a connection that broke.
var errBroken = fmt.Errorf("s3fake: %w", syscall.ECONNRESET)

// serve answers a request, or returns an error for a connection that breaks.
func (s *Server) serve(r *http.Request) (*response, error) {
	c := &call{s: s, r: r}
	var bad error
	c.q, bad = url.ParseQuery(r.URL.RawQuery)
	c.bucket, c.key = place(r)
	c.op = operation(r, c.q, c.bucket, c.key)
	rec := &record{Call: Call{Op: c.op, Bucket: c.bucket, Key: c.key, In: max(0, r.ContentLength)}}
	s.mu.Lock()
	s.calls = append(s.calls, rec)
	s.counts[c.op]++
	n, decide := s.counts[c.op], s.decide
	s.mu.Unlock()
	kind := None
	if decide != nil {
		kind = decide(c.op, n)
	}
	var a *response
	if bad != nil {
		c.op = malformed
	}
	if err := s.Injector.Call("s3."+c.op, func() (err error) {
		a, err = c.fail(kind)
		return err
	}); err != nil {
		return nil, errors.Join(err, errBroken)
	}
	a.record = rec
	s.mu.Lock()
	rec.Status = a.status
	rec.Code = a.header.Get(codeHeader)
	a.header.Del(codeHeader)
	a.header.Set("x-amz-request-id", strings.ToUpper(s.opaque()[:16]))
	s.mu.Unlock()
	a.header.Set("Server", "AmazonS3")
	a.header.Set("Content-Length", strconv.FormatInt(a.body.size, 10))
	if r.Method == http.MethodHead {
		a.body = content{}
	}
	return a, nil
}

// codeHeader carries the error's code to the account of calls; it never leaves the server.
const codeHeader = "X-S3fake-Code"

// fail handles the request, failing in the way that was decided.
func (c *call) fail(k Kind) (*response, error) {
	embeds := c.op == "CopyObject" || c.op == "UploadPartCopy" || c.op == "CompleteMultipartUpload"
	switch {
	case k == SlowDown:
		return c.refuse(slowDown()), nil
	case k == InternalError:
		return c.refuse(internalError()), nil
	case k == Reset:
		return nil, errBroken
	case k == Aborted:
		return c.refuse(failure(409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")), nil
	case k == Conflict:
		c.s.mu.Lock()
		if b := c.s.buckets[c.bucket]; b != nil && b.uploads[c.q.Get("uploadId")] != nil && c.op == "CompleteMultipartUpload" {
			b.uploads[c.q.Get("uploadId")].lost = true
		}
		c.s.mu.Unlock()
		return c.refuse(conditionalConflict(c.key)), nil
	case k == ErrorIn200 && embeds:
		return c.embedded(), nil
	}
	a := c.handle()
	if a.status >= 300 {
		return a, nil
	}
	switch {
	case k == InternalErrorAfter:
		return c.refuse(internalError()), nil
	case k == ResetAfter:
		return nil, errBroken
	case k == ErrorIn200After && embeds:
		return c.embedded(), nil
	case k == Truncated:
		a.cut = true
	}
	return a, nil
}

// embedded is an error that came up after the 200 was sent; S3 keeps the connection alive with white space until then.
func (c *call) embedded() *response {
	a := c.refuse(internalError())
	a.status = 200
	doc, _ := io.ReadAll(a.body.reader())                             // in memory
	doc = bytes.Replace(doc, []byte("?>\n"), []byte("?>\n\n\n  "), 1) // nothing may stand before an XML declaration
	a.body = bytesContent(doc)
	return a
}

// refuse makes an error's answer.
func (c *call) refuse(err error) *response {
	var e *apiError
	if !errors.As(err, &e) {
		e = internalError()
	}
	d := newDocument("Error")
	d.add("Code", e.code)
	d.add("Message", e.message)
	for _, kv := range e.detail {
		d.add(kv[0], kv[1])
	}
	if c.key != "" && e.code == "NoSuchKey" {
		d.add("Key", c.key)
	}
	d.add("Resource", "/"+c.bucket+"/"+c.key)
	a := d.answer(e.status)
	if e.status == http.StatusNotModified {
		a = answer(e.status)
	}
	for k, v := range e.header {
		a.header[k] = v
	}
	a.header.Set(codeHeader, e.code)
	return a
}

func (c *call) handle() *response {
	if c.op == malformed {
		return c.refuse(invalidArgument("query", "", "The query is not well formed"))
	}
	g, err := c.s.authenticate(c.r, c.q)
	if err != nil {
		return c.refuse(err)
	}
	limit := c.s.Limits.MaxPart
	if c.op != "PutObject" && c.op != "UploadPart" {
		limit = 2 * mib // documents and annotations
	}
	if c.body, c.trailer, err = readBody(c.r, g, limit); err != nil {
		return c.refuse(err)
	}
	do := operations[c.op]
	if do == nil {
		return c.refuse(notImplemented("operation"))
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err := c.admit(); err != nil {
		return c.refuse(err)
	}
	a, err := do(c)
	if err != nil {
		return c.refuse(err)
	}
	if b := c.s.buckets[c.bucket]; b != nil && b.RequesterPays && c.s.owner(b) != c.s.Account {
		a.set("x-amz-request-charged", "requester")
	}
	return a
}

func (s *Server) owner(b *bucket) string {
	if b.Owner == "" {
		return s.Account
	}
	return b.Owner
}

// admit checks what is the same for all operations: the bucket, its owner, who pays, and permissions.
func (c *call) admit() error {
	if c.op == "ListBuckets" || c.op == "CreateBucket" {
		return c.allowed(c.needs()...)
	}
	b := c.s.buckets[c.bucket]
	if b == nil {
		return noSuchBucket(c.bucket)
	}
	if err := c.s.admitOwner(b, c.h("X-Amz-Expected-Bucket-Owner")); err != nil {
		return err
	}
	if b.RequesterPays && c.s.owner(b) != c.s.Account && c.h("X-Amz-Request-Payer") != "requester" {
		return accessDenied()
	}
	return c.allowed(c.needs()...)
}

func (s *Server) admitOwner(b *bucket, expected string) error {
	if expected != "" && expected != s.owner(b) {
		return accessDenied()
	}
	return nil
}

func (c *call) allowed(actions ...string) error {
	for _, a := range actions {
		if c.s.denied[a] {
			return c.notAuthorized(a)
		}
	}
	return nil
}

func (c *call) b() *bucket { return c.s.buckets[c.bucket] }

// ServeHTTP answers over a socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := s.serve(r)
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection
	}
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	if _, err := io.Copy(w, a.reader()); err != nil {
		_ = http.NewResponseController(w).Flush() // so that the half arrives; the connection breaks in any case
		panic(http.ErrAbortHandler)
	}
}

// Transport serves requests without a socket. Broken connections are errors, those of the Injector among them.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	defer func() {
		if r.Body != nil {
			_ = r.Body.Close() // only read from
		}
	}()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a, err := t.s.serve(r.Clone(r.Context()))
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, ContentLength: length(a), Body: &body{r.Context(), a.reader()}, Request: r,
	}, nil
}

func length(a *response) int64 {
	n, _ := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64) // set by serve
	return n
}

// body ends when the request's context does, as that of a connection.
type body struct {
	ctx context.Context
	in  io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.in.Read(p)
}

func (*body) Close() error { return nil }
