package web_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/client"
	"coffer/demo"
	"coffer/identity"
	"coffer/web"
)

// badge is an authenticator for tests: a token is roles and a kind of caller.
type badge struct{ now func() time.Time }

func (badge) IAM(context.Context, string, identity.Meta) (access.Caller, identity.Proof, error) {
	return access.Caller{}, identity.Proof{}, coffer.ErrDenied
}

func (b badge) Bearer(_ context.Context, token string, m identity.Meta) (access.Caller, identity.Proof, error) {
	role, kind, ok := strings.Cut(token, "/")
	if !ok {
		return access.Caller{}, identity.Proof{}, fmt.Errorf("no token: %w", coffer.ErrDenied)
	}
	return access.Caller{ID: "p-" + strings.ReplaceAll(role, "+", "."), Name: role, Kind: access.CallerKind(kind), Roles: strings.Split(role, "+")},
		identity.Proof{SignedIn: b.now(), MFA: true}, nil
}

func (badge) Session(context.Context, string, identity.Meta) (identity.Session, error) {
	return identity.Session{}, fmt.Errorf("no session: %w", coffer.ErrDenied)
}

func (badge) Still(_ context.Context, ask access.Ask) (access.Caller, error) { return ask.Caller, nil }

// buffer takes what several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// world is an installation with some of the demo's findings, and a server on it.
type world struct {
	*testing.T
	app   *app.App
	home  string
	web   *web.Server
	log   *buffer
	local *client.Client
	// findings by the end of their object's key
	findings map[string]string
}

const host = "coffer.test"

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{log: &buffer{}, findings: map[string]string{}}
	level := slog.LevelInfo // that of serve
	if tt, ok := t.(*testing.T); ok {
		w.T, level = tt, slog.LevelDebug
	}
	home := t.TempDir()
	w.home = home
	s := demo.New()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.WriteFile(filepath.Join(home, "config.yaml"), []byte(s.Config), 0o600))
	for _, f := range s.Objects {
		if len(f.Body) > 1<<20 {
			continue
		}
		name := filepath.Join(home, "objects", f.Bucket, filepath.FromSlash(f.Key))
		check(os.MkdirAll(filepath.Dir(name), 0o700))
		check(os.WriteFile(name, f.Body, 0o600))
	}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: level}))
	a, err := app.Open(ctx, app.Options{Home: home, Logger: logger})
	check(err)
	t.Cleanup(func() { _ = a.Close() })
	w.app = a
	operator, err := a.Operator()
	check(err)
	w.web, err = a.API(web.Config{Auth: badge{a.Now}, Hosts: []string{host}, Rate: 1e9, Logger: logger})
	check(err)
	t.Cleanup(w.web.Close)
	w.local = client.Local(w.web.Local(operator))
	for _, d := range s.Findings {
		for line, err := range w.local.Ingest(ctx, bytes.NewReader(d.Body), "", false) {
			check(err)
			if line.Object != nil && line.Sealed > 0 {
				w.findings[line.Object.Key[strings.LastIndexByte(line.Object.Key, '/')+1:]] = *line.Finding
			}
		}
	}
	if len(w.findings) < 4 {
		t.Fatalf("only %d findings have sealed values", len(w.findings))
	}
	return w
}

// send sends a request as whoever holds the token; empty: nobody.
func (w *world) send(method, path, token, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://"+host+path, nil)
	if body != "" {
		r = httptest.NewRequest(method, "https://"+host+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.TLS = nil
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.web.ServeHTTP(rec, r)
	return rec
}

// one returns a finding with sealed values.
func (w *world) one() string {
	id := w.findings["receipt.html"]
	if id == "" {
		w.Fatalf("no receipt among %v", w.findings)
	}
	return id
}
