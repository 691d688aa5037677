package notify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"coffer/access"
	"coffer/app"
	"coffer/client"
	"coffer/demo"
	"coffer/notify"
	"coffer/remedy"
	"coffer/web"
)

// TestNothingPlainInMessages takes the demo scenario in, reveals and fixes, and looks through every message of every kind of receiver, with
// all entries of the log chosen, for the values, the names of buckets and objects, and what was written.
func TestNothingPlainInMessages(t *testing.T) {
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := newInbox(t)
	var headers bytes.Buffer
	home := t.TempDir()
	in.trusted(home)
	check(os.WriteFile(filepath.Join(home, "secret"), []byte(strings.Join(secrets, "\n")), 0o600))
	var targets []notify.Target
	for _, kind := range []notify.Kind{notify.Webhook, notify.Slack, notify.Teams, notify.Jira} {
		x := in.target(string(kind), kind)
		x.Filter = []string{"time.gte=2020-01-01"} // everything
		targets = append(targets, x)
	}
	s := demo.New()
	// Where the home begins without one, its configuration is the demo's with the targets.
	root := filepath.Join(t.TempDir(), "home")
	check(os.MkdirAll(root, 0o700))
	for i := range targets {
		targets[i].SecretFile, targets[i].CAFile = filepath.Join(home, "secret"), filepath.Join(home, "ca.pem")
	}
	more, err := yaml.Marshal(map[string]any{"notify": targets})
	check(err)
	check(os.WriteFile(filepath.Join(root, "config.yaml"), append([]byte(s.Config+"\n"), more...), 0o600))
	names := map[string]bool{}
	for _, f := range s.Objects {
		if len(f.Body) > 1<<20 {
			continue
		}
		name := filepath.Join(root, "objects", f.Bucket, filepath.FromSlash(f.Key))
		check(os.MkdirAll(filepath.Dir(name), 0o700))
		check(os.WriteFile(name, f.Body, 0o600))
		names[f.Bucket], names[f.Key] = true, true
	}
	a, err := app.Open(ctx, app.Options{Home: root})
	check(err)
	defer func() { check(a.Close()) }()
	operator, err := a.Operator()
	check(err)
	ask := func() access.Ask {
		return access.Ask{Caller: operator, Context: access.Context{
			Now: a.Now(), Local: true, Request: "cli-1", Reason: "incident", Note: "Wilhelmina asked about her account"}}
	}
	check(a.Notifier.Step(ctx, ask())) // the targets are on record before anything happens
	srv, err := a.API(web.Config{})
	check(err)
	defer srv.Close()
	cl := client.Local(srv.Local(operator))
	var findings []string
	for _, d := range s.Findings {
		for line, err := range cl.Ingest(ctx, bytes.NewReader(d.Body), "", false) {
			check(err)
			if line.Finding != nil && line.Sealed > 0 {
				findings = append(findings, *line.Finding)
			}
		}
	}
	values := map[string]bool{}
	for _, id := range findings {
		list, err := a.Vault.Reveal(ctx, ask(), id)
		check(err)
		for _, v := range list {
			if b := v.Plain.Expose(); len(b) >= 6 {
				values[string(b)] = true
				values[base64.StdEncoding.EncodeToString(b)], values[hex.EncodeToString(b)] = true, true
			}
		}
	}
	groups, err := a.Remedy.Groups(ctx, findings[:2]...)
	check(err)
	for _, g := range groups {
		p, err := a.Remedy.Plan(ctx, ask(), g, remedy.Options{Action: remedy.Redact})
		check(err)
		_, err = a.Remedy.Apply(ctx, ask(), p.ID, remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"})
		check(err)
	}
	check(a.Log.Sequence(ctx))
	check(a.Notifier.Step(ctx, ask()))
	list, err := a.Notifier.Status(ctx)
	check(err)
	for _, x := range list {
		if x.State != "ok" || x.Sent < int64(len(findings)) {
			t.Errorf("%+v", x)
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	_ = in.headers.Write(&headers) // a buffer takes everything
	if len(in.bodies) < 4*len(findings) || len(values) < 20 {
		t.Fatalf("%d messages, %d values", len(in.bodies), len(values))
	}
	all := append(bytes.Join(in.bodies, []byte("\n")), headers.Bytes()...)
	for v := range values {
		if bytes.Contains(all, []byte(v)) {
			t.Error("a message has a value in it")
		}
	}
	for n := range names {
		if bytes.Contains(all, []byte(n)) {
			t.Errorf("a message names %s", n)
		}
	}
	if bytes.Contains(all, []byte("Wilhelmina")) {
		t.Error("a message repeats what somebody wrote")
	}
	t.Logf("%d findings, %d messages, %d bytes, %d forms of values", len(findings), len(in.bodies), len(all), len(values))
}
