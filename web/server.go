// Package web is the REST API of Coffer, and the one tree of handlers that the portal, the command line and every other client share.
//
// A request goes through the same gates whatever it asks for: the host and the origin that it names, who sends it, how often, whether
// the policies permit it, and only then what it says. Every route is registered by one function, [handle], which refuses a route
// without an action, so that there is none that forgot to ask. The domain packages ask again with everything they know, and
// record: the gate here exists so that somebody who may not do something learns nothing about how it would be done.
//
// The OpenAPI document comes from the same registrations as the handlers. Bodies are strict JSON. Answers repeat nothing of a
// request, and the program's log has routes in place of paths.
package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/check"
	"coffer/grant"
	"coffer/identity"
	"coffer/job"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/triage"
	"coffer/vault"
)

// Authenticator says who asks; [identity.Identity] does. An error wrapping [coffer.ErrDenied] says that the credential is none, without
// saying why; one wrapping [coffer.ErrUnavailable] that it cannot be told now; one with a method RetryAfter that there were too many
// attempts. The methods may be called concurrently.
type Authenticator interface {
	// Bearer identifies who comes with an access token.
	Bearer(ctx context.Context, token string, m identity.Meta) (access.Caller, identity.Proof, error)
	// IAM identifies who signed a request, by the ARN for which AWS has verified the signature.
	IAM(ctx context.Context, arn string, m identity.Meta) (access.Caller, identity.Proof, error)
	// Session identifies who holds a session by the value of its cookie.
	Session(ctx context.Context, cookie string, m identity.Meta) (identity.Session, error)
	// Still returns who began work that outlives their request as they are by now, or refuses them.
	Still(ctx context.Context, ask access.Ask) (access.Caller, error)
}

// SessionCookie is the name of the cookie of a session.
const SessionCookie = "__Host-coffer"

type signedKey struct{}

// Signed returns a context for a request whose signature AWS has verified for the role or user of this ARN. Nothing that comes with the
// request then says who asks. No header can do the same.
func Signed(ctx context.Context, arn string) context.Context {
	return context.WithValue(ctx, signedKey{}, arn)
}

// Installation is what belongs to the home as a whole.
type Installation interface {
	Keys(ctx context.Context, ask access.Ask) ([]api.Key, error)
	// RotateKeys renews the wrapping keys where that is possible, and returns the items of the job that wraps the data keys anew.
	RotateKeys(ctx context.Context, ask access.Ask) (items []string, err error)
	// Rewrap does one such item and returns how many data keys it wrapped.
	Rewrap(ctx context.Context, ask access.Ask, item string) (int, error)
	RetireKeys(ctx context.Context, ask access.Ask, age time.Duration) ([]string, error)
	// SetVersioning sets the versioning of a bucket, where the storage is a folder; else the error wraps coffer.ErrUnsupported.
	SetVersioning(ctx context.Context, bucket string, on bool) error
	// Certify is [remedy.Remedy.Certificate], in this process or in one that reaches the object.
	Certify(ctx context.Context, ask access.Ask, plan string) (*remedy.Certificate, error)
	// SweepStages removes what crashed writers left in the storages, and returns how much.
	SweepStages(ctx context.Context) (int, error)
	Diagnose(ctx context.Context, ask access.Ask) []api.Diagnosis
	// Targets are those that are told what happens; Target is one of them with its messages.
	Targets(ctx context.Context, ask access.Ask) ([]api.Target, error)
	Target(ctx context.Context, ask access.Ask, name string) (*api.TargetDetail, error)
	TestTarget(ctx context.Context, ask access.Ask, name string) (api.TargetOutcome, error)
	RetryTarget(ctx context.Context, ask access.Ask, name string) (api.TargetOutcome, error)
	Check(ctx context.Context, ask access.Ask, opt check.Options) (*check.Report, error)
	// VerifyLog verifies the installation's own log against checkpoints that were kept elsewhere, with a verifier key that was, too;
	// empty: the log's own.
	VerifyLog(ctx context.Context, key string, checkpoints []byte) (*audit.Report, error)
	Config() api.Config
	Build() api.Build
	// Scrub replaces what the detectors find in a text that somebody wrote.
	Scrub(text string) string
	// Cut replaces what the detectors find in the names inside a location.
	Cut(at coffer.Location) coffer.Location
}

// Config is what a server is made of. All members but Auth, People, Hosts, TLS and Logger are required.
type Config struct {
	Desk     *triage.Desk
	Vault    *vault.Vault
	Pipeline *pipeline.Pipeline
	Remedy   *remedy.Remedy
	Grants   *grant.Grants
	Jobs     *job.Jobs
	Once     *job.Once
	Guard    *audit.Guard
	Home     Installation
	MAC      func(label string, data []byte) []byte
	Now      func() time.Time

	// Hand tells a worker of a job that waits for one; jobs then run in no process of this kind, and what reads or changes objects is
	// always a job. Nil: jobs run in this process.
	Hand func(ctx context.Context, j *job.Job) error
	// Auth identifies callers from outside; nil: there are none, and only [Server.Local] gets in.
	Auth Authenticator
	// People signs in whoever comes with a browser; nil: nobody can.
	People *identity.Identity
	// Hosts are the values of Host that are answered, with port unless it is the scheme's own. A page of a stranger whose name
	// was made to resolve to this machine (DNS rebinding) sends another.
	Hosts []string
	// TLS says that the server is reached by TLS alone.
	TLS bool
	// Rate is how many requests per second a caller may send on average; 0: 50. A burst of four seconds is allowed.
	Rate   float64
	Logger *slog.Logger
}

// Limits of a request.
const (
	maxBody   = 1 << 20  // bytes of a JSON body
	maxEvents = 64 << 20 // bytes of findings in one request
	maxHeader = 32 << 10 // the line with the URL included
)

// Server is the API as an [http.Handler]. It is safe for concurrent use. Close it.
type Server struct {
	Config
	log     *slog.Logger
	mux     *http.ServeMux
	making  sync.Mutex // guards api until everything is made, and handler
	api     huma.API
	handler http.HandlerFunc // of the operation that is being made
	doc     []byte           // the OpenAPI document, once it is published
	pages   pages
	portal  *portal
	hosts   []string
	origins *http.CrossOriginProtection
	routes  []*route
	metrics *metrics
	limits  *limits
	runner  *runner
	tick    time.Duration // between two looks of a stream

	proof  *latest[*audit.Report]   // of the log
	health *latest[[]api.Diagnosis] // of the installation
	tally  *tally                   // of the log
	looks  sync.WaitGroup           // that run in the background

	waiting waiting // what the navigation counts

	published func() error // makes doc and pages

	closing chan struct{}
	close   sync.Once
}

// New builds the server. It fails if a route has no action and is not one of the public ones.
func New(c Config) (*Server, error) {
	if c.Desk == nil || c.Vault == nil || c.Pipeline == nil || c.Remedy == nil || c.Grants == nil || c.Jobs == nil || c.Once == nil || c.Guard == nil || c.Home == nil ||
		c.MAC == nil || c.Now == nil {
		return nil, fmt.Errorf("building the API: incomplete configuration: %w", coffer.ErrInvalid)
	}
	if c.Rate == 0 {
		c.Rate = 50
	}
	s := &Server{
		Config: c, log: c.Logger, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(), limits: newLimits(c.Rate),
		tick: time.Second, closing: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, h := range c.Hosts {
		s.hosts = append(s.hosts, strings.ToLower(h))
	}
	s.proof, s.health, s.tally = newLatest[*audit.Report](s), newLatest[[]api.Diagnosis](s), newTally()
	s.runner = newRunner(s)
	s.metrics = newMetrics(s)
	s.api = humago.New(handlers{s}, huma.Config{
		OpenAPI: document(c.Home.Build().Version),
		Formats: map[string]huma.Format{
			"application/json": {Marshal: marshal, Unmarshal: unmarshal},
			"json":             {Marshal: marshal, Unmarshal: unmarshal},
		},
		DefaultFormat: "application/json",
	})
	if err := s.register(); err != nil {
		return nil, err
	}
	// Made when somebody asks for it: most processes that build a server are commands, of which nobody does.
	s.published = sync.OnceValue(s.publish)
	return s, nil
}

// register registers every route.
func (s *Server) register() (err error) {
	defer func() {
		// huma and the multiplexer panic on routes that make no sense, and so does handle.
		if r := recover(); r != nil {
			err = fmt.Errorf("building the API: %v: %w", r, coffer.ErrInvalid)
		}
	}()
	s.eventRoutes()
	s.intakeRoutes()
	s.findingRoutes()
	s.workRoutes()
	s.valueRoutes()
	s.planRoutes()
	s.objectRoutes()
	s.logRoutes()
	s.accessRoutes()
	s.peopleRoutes()
	s.jobRoutes()
	s.adminRoutes()
	s.notifyRoutes()
	s.policyRoutes()
	s.pageRoutes()
	if s.Auth != nil {
		s.portalRoutes()
	}
	s.mux.HandleFunc("/", s.nowhere)
	return nil
}

// Close ends streams and jobs, which can be resumed, and waits for them. It is called once no new requests come.
func (s *Server) Close() {
	s.close.Do(func() { close(s.closing) })
	s.runner.close()
	s.looks.Wait()
}

// EndStreams ends the streams that are open, so that a graceful shutdown does not wait for their readers.
func (s *Server) EndStreams() { s.close.Do(func() { close(s.closing) }) }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	c := newCall(r)
	ctx := context.WithValue(r.Context(), callKey{}, c)
	r = r.WithContext(ctx)
	c.r = r
	rec := &recorder{ResponseWriter: w}
	s.harden(rec.Header(), c)
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			// What panicked may print what it was at; where it was is enough.
			s.log.ErrorContext(ctx, "a request panicked", "request", c.id, "route", c.route, "at", where(debug.Stack()))
			if rec.status != 0 {
				panic(http.ErrAbortHandler) // half an answer must not look like a whole one
			}
			s.refuse(rec, c, newProblem(c, "internal", details["internal"]))
		}
		s.finished(c, rec.status, time.Since(begun))
	}()
	if p := s.enter(c, r); p != nil {
		s.refuse(rec, c, p)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// enter looks at what is wrong with a request whatever it asks for.
func (s *Server) enter(c *call, r *http.Request) *problem {
	if c.local {
		return nil
	}
	if !slices.Contains(s.hosts, strings.ToLower(r.Host)) {
		return newProblem(c, "wrong-host", "This server does not answer for that host.")
	}
	if s.origins.Check(r) != nil {
		return newProblem(c, "foreign-origin", "A page of another origin sent this.")
	}
	// The multiplexer would redirect to the clean path and repeat it.
	if p := r.URL.Path; p != "/" && path.Clean("/"+p) != p {
		return newProblem(c, "not-found", details["not-found"])
	}
	return nil
}

// harden sets the headers of every answer.
func (s *Server) harden(h http.Header, c *call) {
	h[api.RequestID] = []string{c.id}
	for name, value := range hard {
		h[name] = value
	}
	if s.TLS {
		h["Strict-Transport-Security"] = hardTLS
	}
}

// hard are the headers of every answer. Nobody changes the lists: setting a header puts another in the place.
var (
	hard = map[string][]string{
		"Cache-Control":                {"no-store"},
		"X-Content-Type-Options":       {"nosniff"},
		"Referrer-Policy":              {"no-referrer"},
		"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Permissions-Policy":           {"camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
	}
	hardTLS = []string{"max-age=63072000; includeSubDomains"}
)

// nowhere answers what no route answers.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	c := of(r.Context())
	c.route = "none"
	var allow []string
	for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(other); pattern != "/" && pattern != "" {
			allow = append(allow, m)
		}
	}
	if allow == nil {
		s.refuse(w, c, newProblem(c, "not-found", details["not-found"]))
		return
	}
	if slices.Contains(allow, "GET") {
		allow = append(allow, "HEAD")
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	s.refuse(w, c, newProblem(c, "method", "The method is none of those that this path takes."))
}

// where returns the function and line at which a stack panicked.
func where(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			at, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " ")
			return path.Base(path.Dir(at)) + "/" + path.Base(at)
		}
	}
	return ""
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// finished counts a request and writes its line of the program's log: at debug level, since the audit log is the record of what
// was done. It is the span of the request, too: with the trace that the caller named, the finding that it was about and no value.
func (s *Server) finished(c *call, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.request(c.route, status, took)
	if !s.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", c.id), slog.String("route", c.route), slog.Int("status", status), slog.Duration("took", took),
	}
	for _, a := range [][2]string{{"trace", c.trace}, {"caller", c.ask.Caller.ID}, {"finding", c.finding}, {"problem", c.problem}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "request", attrs...)
}

// HTTP returns an [http.Server] with the time and size limits that the API wants. Streams and long bodies set their own.
func (s *Server) HTTP() *http.Server {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true, // every answer is ours, with our headers
		ErrorLog:  slog.NewLogLogger(quiet{s.log.Handler()}, slog.LevelDebug),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(s.TLS)
	srv.RegisterOnShutdown(s.EndStreams)
	return srv
}

// quiet drops the text of what net/http has to say: it repeats what strangers sent.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "a connection failed", r.PC))
}

// Hosts returns the values of Host that an address is reached by: the address itself and, for a loopback one, localhost.
func Hosts(addr net.Addr, names ...string) []string {
	out := slices.Clone(names)
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return out
	}
	port := fmt.Sprint(ap.Port())
	if ap.Addr().IsUnspecified() {
		return append(out, net.JoinHostPort("localhost", port))
	}
	out = append(out, ap.String())
	if ap.Addr().IsLoopback() {
		out = append(out, net.JoinHostPort("localhost", port))
	}
	return out
}
