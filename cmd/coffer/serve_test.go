package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/client"
	"coffer/identity"
	"coffer/internal/awsfake/maciefake"
	"coffer/pipeline"
	"coffer/remedy"
)

// serving runs the command on free ports until stop is called, which returns how it ended.
func serving(t *testing.T, c *serveCmd, home string) (e *env, address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	e = &env{globals: &globals{Home: home, JSON: true}, ctx: ctx, stdout: w, stderr: io.Discard}
	e.out = newOutput(e)
	ended := make(chan error, 1)
	go func() {
		err := c.Run(e)
		_ = w.CloseWithError(io.EOF) // always nil
		ended <- err
	}()
	stop = func() error {
		cancel()
		return <-ended
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("it says nothing: %v", stop())
	}
	var said struct{ Address string }
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	return e, said.Address, stop
}

var inline = regexp.MustCompile(`<script[^>]*>[^<]|<script>`)

func TestServe(t *testing.T) {
	e, address, stop := serving(t, &serveCmd{Addr: "127.0.0.1:0", Metrics: "127.0.0.1:0"}, t.TempDir())
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/readyz": 200, "/docs": 200, "/v1/openapi.json": 200, "/v1/findings": 401, "/v1/x": 404} {
		res, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close() // only read from
		if res.StatusCode != want || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
		// Scripts are the portal's own files, never part of a page.
		if inline.Match(body) {
			t.Errorf("%s has a script in it", path)
		}
	}
	// Somebody of this installation signs in with a token.
	ask := e.ask()
	user, _, err := e.app.Identity.AddUser(t.Context(), ask, "eve", []string{access.RoleAuditor}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := e.app.Identity.CreateToken(t.Context(), ask, user.ID, identity.TokenSpec{Label: "a test", Scopes: []access.Action{access.AuditRead, access.FindingList}})
	if err != nil {
		t.Fatal(err)
	}
	eve, err := client.New(address, token)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := eve.Caller(t.Context()); err != nil || who.ID != user.ID || who.Kind != string(access.TokenCaller) {
		t.Errorf("with a token: %v, %+v", err, who)
	}
	if _, err := eve.Config(t.Context()); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("beyond the token's scope: %v", err)
	}
	cl, err := client.New(address, "coffer_pat_nonsense")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Caller(t.Context()); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("a token that is none: %v", err)
	}
	// A stream that is open does not hold up the end.
	res, err := http.Get(address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // only read from
	if err := stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	r, err := audit.Verify(t.Context(), e.app.LogFiles(), audit.VerifyOptions{Key: e.app.Log.VerifierKey(), DB: e.app.DB})
	if err != nil || r.Err() != nil || r.Pending != 0 || r.Checkpoint.Size == 0 {
		t.Errorf("the log after the end: %v, %+v", err, r)
	}
	if err := e.app.Close(); err != nil {
		t.Error(err)
	}
}

func TestServeStaysOnLoopbackWithoutTLS(t *testing.T) {
	ctx := t.Context()
	for _, c := range []*serveCmd{{Addr: "0.0.0.0:0"}, {Addr: "127.0.0.1:0", Metrics: "0.0.0.0:0"}} {
		e := &env{globals: &globals{Home: t.TempDir(), JSON: true}, ctx: ctx, stdout: io.Discard, stderr: io.Discard}
		e.out = newOutput(e)
		if err := c.Run(e); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", c, err)
		}
		if err := e.app.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFollowWhileServing: a command follows the log of a home that a server is at, and sees what its filter chooses and nothing else. The
// server itself takes in changed policies without being asked for anything.
func TestFollowWhileServing(t *testing.T) {
	home := t.TempDir()
	policies := filepath.Join(home, "policies")
	if err := os.MkdirAll(policies, 0o700); err != nil {
		t.Fatal(err)
	}
	roles, err := os.ReadFile("../../access/policies/roles.cedar")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(policies, "roles.cedar"), roles, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte("policies: policies\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, _, stop := serving(t, &serveCmd{Addr: "127.0.0.1:0", Metrics: ""}, home)

	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	f := &env{globals: &globals{Home: home, JSON: true}, ctx: ctx, stdout: w, stderr: io.Discard}
	f.out = newOutput(f)
	ended := make(chan error, 1)
	go func() {
		c := &auditListCmd{Follow: true}
		c.Filter = []string{"action=policy.write"}
		err := c.Run(f)
		_ = w.CloseWithError(io.EOF) // always nil
		ended <- err
	}()
	lines := make(chan string)
	go func() {
		defer close(lines)
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			lines <- scan.Text()
		}
	}()
	// The command begins with what comes once it is there, so changes are made until it has seen one.
	line := ""
	for i := 0; line == ""; i++ {
		changed := append(bytes.Clone(roles), fmt.Appendf(nil, "\n// change %d\n", i)...)
		if err := os.WriteFile(filepath.Join(policies, "roles.cedar"), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour) // long settled
		for _, name := range []string{"roles.cedar", "."} {
			if err := os.Chtimes(filepath.Join(policies, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case line = <-lines:
		case <-time.After(5 * time.Second):
			if i == 12 {
				t.Fatal("no change of the policies is seen")
			}
		}
	}
	if !strings.Contains(line, `"action":"policy.write"`) || !strings.Contains(line, `"detail":{"from":"`) {
		t.Errorf("followed: %s", line)
	}
	cancel()
	for range lines {
	}
	if err := <-ended; err != nil {
		t.Errorf("the command ended with %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for _, e := range []*env{e, f} {
		if err := e.app.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestServePurgesWhileItReconciles: a run that waits for Macie keeps nothing that is past its grace period.
func TestServePurgesWhileItReconciles(t *testing.T) {
	home := filepath.Join(memoryDir(t), "home")
	fake := maciefake.New()
	asked, answer := make(chan struct{}), make(chan struct{})
	fake.Before = func(_ string, n int) {
		if n == 1 {
			close(asked)
		}
		<-answer
	}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIACOFFERMACIE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for path, text := range map[string]string{
		"config.yaml":        fmt.Sprintf("grace: 0h\nmacie: {region: eu-central-1, endpoint: %q}\n", srv.URL),
		"objects/bank/a.csv": "bank account\n1405270021\n",
	} {
		path = filepath.Join(home, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	e, _, stop := serving(t, &serveCmd{Addr: "127.0.0.1:0", Metrics: "127.0.0.1:0", period: time.Millisecond}, home)
	defer func() { _ = e.app.Close() }()
	<-asked
	ask := e.ask()
	f, err := finding(coffer.Object{Bucket: "bank", Key: "a.csv"}, "f1", []byte("bank account\n1405270021\n"), []string{"BANK_ACCOUNT_NUMBER@cell:R2C1"})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := e.app.Pipeline.Take(t.Context(), ask, f); err != nil || res.Status != pipeline.Sealed {
		t.Fatalf("%+v, %v", res, err)
	}
	groups, err := e.app.Remedy.Groups(t.Context(), "f1")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := e.app.Remedy.Plan(t.Context(), ask, groups[0], remedy.Options{Action: remedy.Redact})
	if err == nil {
		plan, err = e.app.Remedy.Apply(t.Context(), ask, plan.ID, remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"})
	}
	if err != nil || plan.State != remedy.Applied && plan.State != remedy.Purged {
		t.Fatalf("%+v, %v", plan, err)
	}
	for plan.State != remedy.Purged && t.Context().Err() == nil { // the test's own deadline ends it
		if plan, err = e.app.Remedy.Get(t.Context(), plan.ID); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	close(answer)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
