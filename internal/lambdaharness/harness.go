// Package lambdaharness plays the part of AWS Lambda around a real binary for provided.al2023: the Runtime API over HTTP, the end of a
// process at its deadline, Invoke as other functions call it, and the poller of a queue with partial batch responses. The server of the
// queue is somebody else's.
//
// Its source is Lambda's developer guide: "Using the Lambda runtime API", "Lambda execution environment lifecycle", "Handling errors for an
// SQS event source". Where that leaves a choice it is as bad as it may be: an environment that failed, in whatever way, is not used again,
// and there is one environment, so that a second invocation finds what the first left in memory.
package lambdaharness

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Account and Region are those of the functions.
const (
	Account = "123456789012"
	Region  = "eu-central-1"
)

// Function is a binary as a function on Lambda, with one environment. Methods may be called concurrently; invocations take turns.
type Function struct {
	Name    string
	Binary  string
	Env     []string      // beside what Lambda sets; nothing of this process's own comes along
	Timeout time.Duration // of an invocation; 0: 30 s
	Init    time.Duration // of initialisation; 0: the 10 s that Lambda gives it
	// Arrived, if set, is called when an event was handed to the process, on which the process has not been heard yet.
	Arrived func(n int)

	turn sync.Mutex // one invocation at a time

	mu     sync.Mutex // guards the rest
	env    *environment
	said   tail
	starts int
	events int
	inits  []time.Duration
}

// Errors of an invocation.
var (
	ErrTimedOut = errors.New("the invocation was ended at its deadline")
	ErrExited   = errors.New("the process ended during the invocation")
	ErrInit     = errors.New("the function could not be initialised")
)

// FunctionError is an error that the function returned.
type FunctionError struct{ Payload []byte }

func (e *FunctionError) Error() string { return "the function returned an error: " + string(e.Payload) }

// environment is one process with its Runtime API.
type environment struct {
	cmd    *exec.Cmd
	server *http.Server
	died   chan struct{}
	begun  time.Time
	ready  chan struct{} // closed by the first request for an event
	once   sync.Once
	next   chan event

	mu      sync.Mutex // guards the rest
	initErr []byte
	current *invocation
}

type event struct {
	id       string
	payload  []byte
	deadline time.Time
}

type invocation struct {
	id   string
	done chan outcome
}

type outcome struct {
	payload []byte
	err     error
}

// Invoke hands an event to the function and waits for what it says, until its time is over.
func (f *Function) Invoke(payload []byte) ([]byte, error) {
	f.turn.Lock()
	defer f.turn.Unlock()
	env, err := f.environment()
	if err != nil {
		return nil, err
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	timeout := f.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	inv := &invocation{id: hex.EncodeToString(b[:]), done: make(chan outcome, 1)}
	env.mu.Lock()
	env.current = inv
	env.mu.Unlock()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	select {
	case env.next <- event{inv.id, payload, time.Now().Add(timeout)}:
		f.mu.Lock()
		f.events++
		n := f.events
		f.mu.Unlock()
		if f.Arrived != nil {
			f.Arrived(n)
		}
	case <-env.died:
		f.Kill()
		return nil, ErrExited
	case <-deadline.C:
		f.Kill()
		return nil, ErrTimedOut
	}
	select {
	case o := <-inv.done:
		if o.err != nil {
			f.Kill()
		}
		return o.payload, o.err
	case <-env.died:
		// It may have answered and ended.
		select {
		case o := <-inv.done:
			f.Kill()
			return o.payload, o.err
		default:
		}
		f.Kill()
		return nil, ErrExited
	case <-deadline.C:
		f.Kill()
		return nil, ErrTimedOut
	}
}

// environment returns the one that is up, or a new one.
func (f *Function) environment() (*environment, error) {
	f.mu.Lock()
	env := f.env
	f.mu.Unlock()
	if env == nil {
		var err error
		if env, err = f.start(); err != nil {
			return nil, err
		}
	}
	select {
	case <-env.ready:
		return env, nil
	case <-env.died:
	case <-time.After(cmp.Or(f.Init, 10*time.Second)):
	}
	env.mu.Lock()
	said := env.initErr
	env.mu.Unlock()
	f.Kill()
	return nil, fmt.Errorf("%w: %s %s", ErrInit, said, f.Said())
}

func (f *Function) start() (*environment, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	env := &environment{died: make(chan struct{}), ready: make(chan struct{}), next: make(chan event)}
	env.server = &http.Server{Handler: env.runtimeAPI(f), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = env.server.Serve(ln) }() // ends with Kill
	//nolint:gosec // a binary that the test built
	env.cmd = exec.Command(f.Binary)
	env.cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + ln.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=" + f.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1024", "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand", "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=/var/task",
		"AWS_REGION=" + Region, "TZ=:UTC", "PATH=/usr/bin:/bin",
	}, f.Env...)
	env.cmd.Stdout, env.cmd.Stderr = &f.said, &f.said
	env.begun = time.Now()
	if err := env.cmd.Start(); err != nil {
		_ = env.server.Close() // nobody came
		return nil, err
	}
	go func() {
		_ = env.cmd.Wait() // how it ended is told by what it did not say
		close(env.died)
	}()
	f.mu.Lock()
	f.env = env
	f.starts++
	f.mu.Unlock()
	return env, nil
}

// Kill ends the process, if there is one, wherever it is. The next invocation starts another.
func (f *Function) Kill() {
	f.mu.Lock()
	env := f.env
	f.env = nil
	f.mu.Unlock()
	if env == nil {
		return
	}
	_ = env.cmd.Process.Kill() // it may have ended
	<-env.died
	_ = env.server.Close() // its clients are gone
}

// Starts is how many processes were started, and Inits how long each took until it asked for its first event.
func (f *Function) Starts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts
}

// Inits returns how long each process took until it asked for its first event.
func (f *Function) Inits() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Duration(nil), f.inits...)
}

// Said is the end of what the processes wrote to their logs.
func (f *Function) Said() string { return f.said.String() }

const runtimePath = "/2018-06-01/runtime/"

func (env *environment) runtimeAPI(f *Function) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimePath+"invocation/next", func(w http.ResponseWriter, r *http.Request) {
		env.once.Do(func() {
			f.mu.Lock()
			f.inits = append(f.inits, time.Since(env.begun))
			f.mu.Unlock()
			close(env.ready)
		})
		select {
		case e := <-env.next:
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
			h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(e.deadline.UnixMilli(), 10))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:"+Region+":"+Account+":function:"+f.Name)
			_, _ = w.Write(e.payload) // a process that is gone is seen to be
		case <-r.Context().Done():
		}
	})
	settle := func(failed bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
			env.mu.Lock()
			defer env.mu.Unlock()
			if err != nil || env.current == nil || env.current.id != r.PathValue("id") {
				http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
				return
			}
			o := outcome{payload: body}
			switch {
			case failed:
				o = outcome{err: &FunctionError{body}}
			case len(body) > 6<<20:
				http.Error(w, `{"errorType":"RequestEntityTooLarge"}`, http.StatusRequestEntityTooLarge)
				env.current.done <- outcome{err: &FunctionError{[]byte(`{"errorType":"Function.ResponseSizeTooLarge"}`)}}
				env.current = nil
				return
			}
			env.current.done <- o
			env.current = nil
			w.WriteHeader(http.StatusAccepted)
		}
	}
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/response", settle(false))
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/error", settle(true))
	mux.HandleFunc("POST "+runtimePath+"init/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10)) // what came
		env.mu.Lock()
		env.initErr = body
		env.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

// Invoker answers Invoke of Lambda's API for these functions, by name or ARN. It looks at no signature.
func Invoker(functions ...*Function) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		name = name[strings.LastIndex(name, ":")+1:]
		payload, err := io.ReadAll(io.LimitReader(r.Body, 6<<20+1))
		if err != nil || len(payload) > 6<<20 {
			fail(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException")
			return
		}
		for _, f := range functions {
			if f.Name != name {
				continue
			}
			out, err := f.Invoke(payload)
			w.Header().Set("Content-Type", "application/json")
			var fe *FunctionError
			switch {
			case errors.As(err, &fe):
				w.Header().Set("X-Amz-Function-Error", "Unhandled")
				out = fe.Payload
			case err != nil:
				w.Header().Set("X-Amz-Function-Error", "Unhandled")
				out, _ = json.Marshal(map[string]string{"errorMessage": err.Error()}) // a string
			}
			_, _ = w.Write(out) // a caller that is gone has had its effect
			return
		}
		fail(w, http.StatusNotFound, "ResourceNotFoundException")
	})
	return mux
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amzn-ErrorType", code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"Type":"User","Message":%q}`, code)
}

// Build builds a package for this machine as the functions are built, but for further build tags, into a folder, and returns the binary.
func Build(t testing.TB, dir, pkg string, tags ...string) string {
	t.Helper()
	name := filepath.Join(dir, "bootstrap")
	tags = append([]string{"lambda.norpc"}, tags...)
	//nolint:gosec // what a test asks for
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-tags="+strings.Join(tags, ","), "-o", name, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // as deploy/build
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", pkg, err, out)
	}
	return name
}

// tail keeps the last of what is said.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = append(w.end, b...)
	if n := len(w.end) - 1<<20; n > 0 {
		w.end = bytes.Clone(w.end[n:])
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.end)
}
