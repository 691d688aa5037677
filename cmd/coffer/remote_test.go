package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/identity"
	"coffer/web"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScriptsAtServer tells the same stories once more, with a server on the script's home that every command asks. The caller is who
// would be the home's operator on the command line, so that everybody's rights are the same; everything else is as for a stranger: over a
// socket, with a token, told what strangers are told. Lines and scripts about this machine alone carry the condition [!server].
func TestScriptsAtServer(t *testing.T) {
	t.Setenv("GOTMPDIR", memoryDir(t))
	policies := ofOperators(t)
	runScripts(t, true, func(e *testscript.Env) error {
		address, token, stop, err := serveHome(e.Getenv("COFFER_HOME"), policies)
		if err != nil {
			return err
		}
		e.Defer(stop)
		e.Setenv("COFFER_SERVER", address)
		e.Setenv("COFFER_TOKEN", token)
		return nil
	})
}

// ofOperators is the default set of policies, in which the operator need not be at the machine.
func ofOperators(t *testing.T) *access.Policy {
	t.Helper()
	set := fstest.MapFS{}
	changed := 0
	for _, name := range []string{"roles.cedar", "rules.cedar"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "access", "policies", name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		changed += strings.Count(text, " && context.local")
		set[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, " && context.local", ""))}
	}
	if changed == 0 {
		t.Fatal("no policy asks whether the operator is at the machine")
	}
	p, err := access.Load(fs.FS(set))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bearer lets in who holds a token, as the operator.
type bearer struct {
	token    string
	operator access.Caller
}

func (bearer) IAM(context.Context, string, identity.Meta) (access.Caller, identity.Proof, error) {
	return access.Caller{}, identity.Proof{}, coffer.ErrDenied
}

func (b bearer) Bearer(_ context.Context, token string, _ identity.Meta) (access.Caller, identity.Proof, error) {
	if subtle.ConstantTimeCompare([]byte(token), []byte(b.token)) != 1 {
		return access.Caller{}, identity.Proof{}, fmt.Errorf("token: %w", coffer.ErrDenied)
	}
	return b.operator, identity.Proof{How: identity.ByToken}, nil
}

func (bearer) Session(context.Context, string, identity.Meta) (identity.Session, error) {
	return identity.Session{}, fmt.Errorf("session: %w", coffer.ErrDenied)
}

func (bearer) Still(_ context.Context, ask access.Ask) (access.Caller, error) { return ask.Caller, nil }

// serveHome serves a home on a free port until stop is called.
func serveHome(home string, policies *access.Policy) (address, token string, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.Open(ctx, app.Options{Home: home})
	if err != nil {
		cancel()
		return "", "", nil, err
	}
	fail := func(err error) (string, string, func(), error) {
		cancel()
		_ = a.Close()
		return "", "", nil, err
	}
	a.Guard.Policy, a.Guard.Folder = policies, nil
	operator, err := a.Operator()
	if err != nil {
		return fail(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	who := bearer{token: "synthetic-token-of-a-test", operator: operator}
	api, err := a.API(web.Config{Auth: who, Hosts: web.Hosts(ln.Addr())})
	if err != nil {
		return fail(err)
	}
	srv := api.HTTP()
	var work sync.WaitGroup
	work.Go(func() { _ = a.Log.Run(ctx) }) // always nil
	work.Go(func() { _ = srv.Serve(ln) })  // until it is closed
	return "http://" + ln.Addr().String(), who.token, func() {
		_ = srv.Close() // whoever still asks is the script's own leftover
		api.Close()
		cancel()
		work.Wait()
		_ = a.Close()
	}, nil
}
