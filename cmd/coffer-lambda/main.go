// Command coffer-lambda is Coffer's part of the functions on AWS Lambda: one program, of which COFFER_FUNCTION says what it does.
//
//	intake    takes findings in: events of EventBridge by SQS; and does the jobs of intake
//	api       answers requests of API Gateway (HTTP API, payload 2.0) and of a function URL
//	remedy    does the jobs that read and change objects, woken by SQS; tells api how objects stand
//	verify    compares sealed values with the digests of those that a fix has before it, for remedy
//	schedule  puts the log in order and hands out what time brings
//
// Beside what [app.Environment] reads there are
//
//	COFFER_QUEUE           URL of the queue of remedy
//	COFFER_INTAKE_QUEUE    of intake, for its jobs; the one of the events will do
//	COFFER_API_QUEUE       of api, for its jobs (work on many findings, the index of values, rotation of keys)
//	COFFER_WORKER_QUEUE    of `coffer worker`, which takes what is too large for a function
//	COFFER_ACCOUNTS        accounts whose events are taken, separated by commas; left out, the function's own
//	COFFER_AUTHORIZERS     jwt, iam or both: requests that came through none of these authorisers of API Gateway are refused
//	COFFER_ORIGIN_SECRET   what the header X-Coffer-Origin must hold, so that nobody comes past what stands before the API; two
//	                       with a comma between them while it is changed. A function behind a function URL alone has none: AWS
//	                       has verified the signature, and nothing can add the header
//
// A queue that is left out is not told of anything: its jobs are found by whoever looks for what waits, schedule and the worker.
//
// Everything that is kept is in the services; the home is none but a name, and nothing is written to /tmp. The installation is opened by the
// first invocation, and during initialisation only where that happens ahead of requests (provisioned concurrency). Errors and panics are
// told without what the function was at: Lambda writes them into a log.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"coffer"
	"coffer/app"
	"coffer/web"
)

func main() {
	f, err := newFunction(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "coffer-lambda: %v\n", err)
		os.Exit(1)
	}
	if os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE") == "provisioned-concurrency" {
		ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second) // initialisation may take ten
		_, _ = f.open(ctx)                                                      // tried again, and told of, by the first invocation
		cancel()
	}
	lambda.Start(f)
}

// function is the program as one of the functions. It is safe for concurrent use.
type function struct {
	role        app.Role
	config      app.Config
	queues      map[app.Role]string
	accounts    []string
	authorizers []string
	secrets     []string
	host        string // of the address under which browsers reach the portal; "" when none is configured
	logger      *slog.Logger

	mu     sync.Mutex // guards opened
	opened *opened
}

// opened is the installation as this function has it open.
type opened struct {
	*app.App
	server *web.Server // nil for verify
	queues *app.Queues
}

// newFunction reads what the environment says; nothing is opened yet.
func newFunction(getenv func(string) string) (*function, error) {
	name := getenv("COFFER_FUNCTION")
	if name == "" {
		name = getenv("_HANDLER")
	}
	f := &function{role: app.Role(name), queues: map[app.Role]string{}}
	if f.role == app.Worker || !slices.Contains(app.Roles(), f.role) {
		return nil, fmt.Errorf("COFFER_FUNCTION is intake, api, remedy, verify or schedule: %w", coffer.ErrInvalid)
	}
	var err error
	if f.config, err = app.Environment(getenv); err != nil {
		return nil, err
	}
	for role, name := range map[app.Role]string{
		app.Remedy: "COFFER_QUEUE", app.Intake: "COFFER_INTAKE_QUEUE", app.API: "COFFER_API_QUEUE", app.Worker: "COFFER_WORKER_QUEUE",
	} {
		if url := getenv(name); url != "" {
			f.queues[role] = url
		}
	}
	list := func(name string) []string {
		return strings.FieldsFunc(getenv(name), func(r rune) bool { return r == ',' || r == ' ' })
	}
	f.accounts, f.authorizers, f.secrets = list("COFFER_ACCOUNTS"), list("COFFER_AUTHORIZERS"), list("COFFER_ORIGIN_SECRET")
	for _, a := range f.authorizers {
		if a != "jwt" && a != "iam" {
			return nil, fmt.Errorf("COFFER_AUTHORIZERS: jwt, iam or both: %w", coffer.ErrInvalid)
		}
	}
	for _, s := range f.secrets {
		if len(s) < 16 {
			return nil, fmt.Errorf("COFFER_ORIGIN_SECRET: at least 16 characters: %w", coffer.ErrInvalid)
		}
	}
	if o := f.config.Identity.Origin; o != "" {
		u, err := url.Parse(o)
		if err != nil {
			return nil, fmt.Errorf("identity.origin: %w", coffer.ErrInvalid)
		}
		f.host = u.Host
	}
	// As JSON, which CloudWatch takes apart.
	f.logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	return f, nil
}

// open opens the installation, unless it is open.
func (f *function) open(ctx context.Context) (*opened, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened != nil {
		return f.opened, nil
	}
	a, err := app.Open(ctx, app.Options{Home: "/tmp/coffer", Role: f.role, Config: &f.config, Now: clock(), Logger: f.logger})
	if err != nil {
		return nil, err
	}
	o := &opened{App: a}
	if f.role != app.Verify {
		if o.queues, err = a.OpenQueues(ctx, f.queues); err == nil {
			o.server, err = f.serve(a, o.queues)
		}
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	if f.role == app.Intake {
		a.Pipeline.Limits = limits
	}
	f.opened = o
	return o, nil
}

// share is the part of the time that is left which an invocation uses: the rest is for what must be recorded, and for returning.
const share = 0.8

// Invoke implements [lambda.Handler].
func (f *function) Invoke(ctx context.Context, payload []byte) (answer []byte, err error) {
	defer func() {
		// The library would tell the panic's value, which may be anything; where it was is enough.
		if v := recover(); v != nil {
			f.logger.ErrorContext(ctx, "an invocation panicked", "at", where(debug.Stack()))
			answer, err = nil, errPanicked
		}
	}()
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(share*float64(time.Until(deadline))))
		defer cancel()
	}
	o, err := f.open(ctx)
	if err != nil {
		f.logger.ErrorContext(ctx, "the installation cannot be opened", "error", err)
		return nil, err
	}
	kind, err := kindOf(payload)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == fromFunction:
		return o.Answer(ctx, payload)
	case kind == fromHTTP && f.role == app.API:
		return f.http(ctx, o, payload)
	case kind == fromQueue && f.role == app.Intake, kind == fromQueue && f.role == app.Remedy, kind == fromQueue && f.role == app.API:
		return f.batch(ctx, o, payload)
	case f.role == app.Schedule:
		return f.schedule(ctx, o)
	}
	return nil, fmt.Errorf("the function %s takes no such event: %w", f.role, coffer.ErrUnsupported)
}

var errPanicked = errors.New("internal error; the log says where")

// kinds of events.
const (
	fromFunction = "function"
	fromHTTP     = "http"
	fromQueue    = "queue"
	fromClock    = "clock"
)

// kindOf says what an event is.
func kindOf(payload []byte) (string, error) {
	if app.Asked(payload) {
		return fromFunction, nil
	}
	var e struct {
		Records []struct {
			EventSource string `json:"eventSource"`
		}
		RequestContext struct {
			HTTP *struct{} `json:"http"`
		} `json:"requestContext"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return "", fmt.Errorf("the event is not JSON: %w", coffer.ErrInvalid)
	}
	switch {
	case e.RequestContext.HTTP != nil:
		return fromHTTP, nil
	case len(e.Records) > 0 && e.Records[0].EventSource == "aws:sqs":
		return fromQueue, nil
	}
	return fromClock, nil
}

// region and account are those of the function itself, as Lambda names it.
func region(ctx context.Context) string  { return arnPart(ctx, 3) }
func account(ctx context.Context) string { return arnPart(ctx, 4) }

func arnPart(ctx context.Context, n int) string {
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return ""
	}
	parts := strings.Split(lc.InvokedFunctionArn, ":")
	if len(parts) <= n {
		return ""
	}
	return parts[n]
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
