package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"coffer/app"
)

// scriptReceiver starts a receiver of webhooks, for as long as the script runs: its address stands in receiver.url, what it takes in
// received, and what it answers in answer, while there is such a file.
func scriptReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: receiver")
	}
	var mu sync.Mutex // guards the file
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if b, err := os.ReadFile(ts.MkAbs("answer")); err == nil {
			code, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				code = http.StatusInternalServerError
			}
			w.WriteHeader(code)
			return
		}
		body, err := io.ReadAll(r.Body)
		f, ferr := os.OpenFile(ts.MkAbs("received"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil || ferr != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, err = f.WriteString(r.Header.Get("webhook-id") + " " + r.Header.Get("webhook-signature") + " " + string(body) + "\n")
		if cerr := f.Close(); err != nil || cerr != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(srv.Close)
	ts.Check(os.WriteFile(ts.MkAbs("receiver.url"), []byte(srv.URL+"/private-path\n"), 0o600))
}

// scriptDeliver does what the clock of a server does: it brings the log into order and has the targets told what stands in it.
func scriptDeliver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: deliver")
	}
	ctx := context.Background()
	a, err := app.Open(ctx, app.Options{Home: ts.Getenv("COFFER_HOME")})
	ts.Check(err)
	err = errors.Join(a.Log.Sequence(ctx), a.Notifier.Step(ctx, a.Service("timed-work", "deliver")))
	ts.Check(errors.Join(err, a.Close()))
}
