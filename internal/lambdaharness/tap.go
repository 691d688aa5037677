package lambdaharness

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Tap stands between functions and the services that they call. It sees every request, knows whose it is, and decides its fate: a process can be
// ended at any call, before it has an effect or after that and before its answer; a service can be throttled, or never answer.
//
// Which service a request is for is what its signature says, so that a function needs one endpoint for all. What is behind it answers as if the
// request had come straight.
type Tap struct {
	// Services are what answers, by the names that signatures carry: "s3", "dynamodb", "kms", "sqs", "macie2", "lambda". Set it before the
	// first call.
	Services map[string]http.Handler
	// Body, if set, sees the body of every request before it is passed on. Set it before the first call; it may be called concurrently.
	Body func(Call, []byte)

	mu    sync.Mutex // guards the rest
	fate  func(Call) Fate
	pause func(Call)
	calls []Call
	met   []Call
}

// Call is a request of a function to a service.
type Call struct {
	N        int // 1-based, since [Tap.Decide]
	Function string
	Service  string
	Op       string
	Bucket   string // of S3
}

// String names the call in the messages of tests.
func (c Call) String() string {
	return fmt.Sprintf("call %d: %s asks %s for %s", c.N, c.Function, c.Service, c.Op)
}

// Fate is what becomes of a call.
type Fate int

// The fates.
const (
	Pass       Fate = iota
	KillBefore      // the process ends, and the request never arrives
	KillAfter       // the request has its effect, and the process ends without its answer
	Throttle        // the service answers that there were too many
	Hang            // the service does not answer as long as somebody waits
)

// At is the fate of the n-th call; all others pass.
func At(n int, x Fate) func(Call) Fate {
	return func(c Call) Fate {
		if c.N == n {
			return x
		}
		return Pass
	}
}

// Decide forgets the calls so far, and has f decide the fate of those to come, by one call at a time; nil has all pass.
func (t *Tap) Decide(f func(Call) Fate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fate, t.pause, t.calls, t.met = f, nil, nil, nil
}

// Pause has f called before each call is passed on, after [Tap.Decide]: whoever calls waits as long as f takes, and others go on. f may be
// called concurrently.
func (t *Tap) Pause(f func(Call)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause = f
}

// Calls returns the calls since [Tap.Decide], and those of them that did not pass.
func (t *Tap) Calls() (all, met []Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Call(nil), t.calls...), append([]Call(nil), t.met...)
}

// Listen returns the endpoint of all services for a function. It is there until the test ends.
func (t *Tap) Listen(tb testing.TB, f *Function) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.serve(f, w, r) }))
	tb.Cleanup(s.Close)
	return s.URL
}

// Direct answers as the services do, and is not counted: it is for who looks on.
func (t *Tap) Direct() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, _ := asked(r)
		t.behind(service).ServeHTTP(w, r)
	})
}

func (t *Tap) behind(service string) http.Handler {
	if h := t.Services[service]; h != nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such service", http.StatusNotImplemented)
	})
}

func (t *Tap) serve(f *Function, w http.ResponseWriter, r *http.Request) {
	service, op := asked(r)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the process is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := Call{Function: f.Name, Service: service, Op: op}
	if service == "s3" {
		c.Bucket, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	}
	t.mu.Lock()
	c.N = len(t.calls) + 1
	t.calls = append(t.calls, c)
	fate := Pass
	if t.fate != nil {
		fate = t.fate(c)
	}
	if fate != Pass {
		t.met = append(t.met, c)
	}
	pause := t.pause
	t.mu.Unlock()
	if t.Body != nil {
		t.Body(c, body)
	}
	if pause != nil {
		pause(c)
	}
	switch fate {
	case Pass:
		t.behind(service).ServeHTTP(w, r)
	case KillBefore:
		f.Kill()
		panic(http.ErrAbortHandler)
	case KillAfter:
		t.behind(service).ServeHTTP(httptest.NewRecorder(), r)
		f.Kill()
		panic(http.ErrAbortHandler)
	case Throttle:
		throttled(w, service)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// asked is what a request asks for, by its signature: "AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<Region>/<service>/aws4_request, ...".
func asked(r *http.Request) (service, op string) {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	if fields := strings.Split(scope, "/"); len(fields) == 5 {
		service = fields[3]
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return service, target[strings.LastIndex(target, ".")+1:]
	}
	op = r.Method
	// Of S3, what of an object or bucket is meant: its tags, its versions, a part. Names say nothing that matters.
	for name := range r.URL.Query() {
		switch name {
		case "tagging", "versions", "uploads", "uploadId", "versioning", "list-type", "partNumber", "object-lock", "replication":
			op += " " + name
		}
	}
	return service, op
}

// throttled answers as the service does when it is asked too often, as its API reference says.
func throttled(w http.ResponseWriter, service string) {
	header, status, body := map[string]string{"Content-Type": "application/x-amz-json-1.1"}, http.StatusBadRequest, `{"__type":"ThrottlingException","message":"Rate exceeded"}`
	switch service {
	case "s3":
		header, status = map[string]string{"Content-Type": "application/xml"}, http.StatusServiceUnavailable
		body = `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`
	case "dynamodb":
		header["Content-Type"] = "application/x-amz-json-1.0"
		body = `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded"}`
	case "sqs":
		header["Content-Type"], status = "application/x-amz-json-1.0", http.StatusForbidden
		body = `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded"}`
	case "macie2":
		header = map[string]string{"Content-Type": "application/json", "X-Amzn-Errortype": "ThrottlingException"}
		status, body = http.StatusTooManyRequests, `{"message":"Rate exceeded"}`
	case "lambda":
		header = map[string]string{"Content-Type": "application/json", "X-Amzn-Errortype": "TooManyRequestsException"}
		status, body = http.StatusTooManyRequests, `{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`
	}
	for name, v := range maps.All(header) {
		w.Header().Set(name, v)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a client that is gone has nothing to read
}

// Behind passes requests on to a server as they came.
func Behind(tb testing.TB, endpoint string) http.Handler {
	u, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = u.Scheme, u.Host
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorLog:     log.New(io.Discard, "", 0), // that clients died is what tests are about
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}
