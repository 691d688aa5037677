package notify_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"coffer/access"
	"coffer/app"
	"coffer/client"
	"coffer/demo"
	"coffer/internal/lookalike"
	"coffer/notify"
	"coffer/remedy"
	"coffer/web"
)

// wire keeps what goes through it to a handler: the lines, headers and bodies of requests.
type wire struct {
	http.Handler
	mu   sync.Mutex // guards sent
	sent map[string]*bytes.Buffer
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// To which target it goes is in the path of a hook, and for AWS in the service that the signature is for.
	to := strings.TrimPrefix(r.URL.Path, "/")
	for _, service := range []string{"events", "securityhub"} {
		if strings.Contains(r.Header.Get("Authorization"), "/"+service+"/aws4_request") {
			to = service
		}
	}
	w.mu.Lock()
	if w.sent[to] == nil {
		w.sent[to] = &bytes.Buffer{}
	}
	_, _ = w.sent[to].WriteString(r.Method + " " + r.URL.String() + "\n") // a buffer takes everything
	_ = r.Header.Write(w.sent[to])
	_, _ = w.sent[to].Write(append(body, '\n'))
	w.mu.Unlock()
	w.Handler.ServeHTTP(rw, r)
}

// TestNothingPlainInMessages takes the demo scenario in, reveals, fixes, undoes and is denied, with all entries of the log chosen, and looks
// through everything that goes to every kind of target, headers and addresses included, for the values, the names of buckets and
// objects, and what was written. With COFFER_TEST_FULL=1 the objects with thousands of values are among them: what is told of a finding is the
// same whether it has ten or a thousand.
func TestNothingPlainInMessages(t *testing.T) {
	moto, err := url.Parse(lookalike.Moto(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range lookalike.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	root := filepath.Join(t.TempDir(), "home")
	check(os.MkdirAll(root, 0o700))
	in := newInbox(t)
	hooks := &wire{Handler: in.srv.Config.Handler, sent: map[string]*bytes.Buffer{}}
	in.srv.Config.Handler = hooks
	beside := t.TempDir()
	in.trusted(beside)
	check(os.WriteFile(filepath.Join(beside, "secret"), []byte(strings.Join(secrets, "\n")), 0o600))
	amazon := &wire{Handler: &updates{Handler: httputil.NewSingleHostReverseProxy(moto), t: t, moto: moto.String()}, sent: map[string]*bytes.Buffer{}}
	front := httptest.NewServer(amazon)
	defer front.Close()

	everything := []string{"time.gte=2020-01-01"}
	hook := func(kind notify.Kind) notify.Target {
		x := in.target(string(kind), kind)
		x.URL, x.Filter = in.srv.URL+"/"+string(kind), everything
		x.SecretFile, x.CAFile = filepath.Join(beside, "secret"), filepath.Join(beside, "ca.pem")
		return x
	}
	lake := filepath.Join(beside, "lake")
	kinds := []struct {
		target notify.Target
		sent   func() []byte // all that went there
		notes  bool          // what people wrote is in it
	}{
		{hook(notify.Webhook), func() []byte { return hooks.sent["webhook"].Bytes() }, false},
		{hook(notify.Slack), func() []byte { return hooks.sent["slack"].Bytes() }, false},
		{hook(notify.Teams), func() []byte { return hooks.sent["teams"].Bytes() }, false},
		{hook(notify.Jira), func() []byte { return hooks.sent["jira"].Bytes() }, false},
		{notify.Target{Name: "bus", Kind: notify.EventBridge, Endpoint: front.URL, Filter: everything}, func() []byte { return amazon.sent["events"].Bytes() }, false},
		{notify.Target{Name: "hub", Kind: notify.SecurityHub, Endpoint: front.URL, Clean: "current"}, func() []byte { return amazon.sent["securityhub"].Bytes() }, false},
		// The archive is the log: what an auditor exports.
		{notify.Target{Name: "lake", Kind: notify.OCSF, To: "dir:" + lake, Region: "eu-central-1", Account: lookalike.Account}, func() []byte { return unpackedUnder(t, lake) }, true},
	}
	var targets []notify.Target
	for _, k := range kinds {
		targets = append(targets, k.target)
	}
	s := demo.New()
	// Where the home begins without one, its configuration is the demo's with the targets.
	more, err := yaml.Marshal(map[string]any{"notify": targets})
	check(err)
	check(os.WriteFile(filepath.Join(root, "config.yaml"), append([]byte(s.Config+"\n"), more...), 0o600))
	names := map[string]bool{}
	most := 64 << 10
	if os.Getenv("COFFER_TEST_FULL") == "1" {
		most = 1 << 20
	}
	for _, f := range s.Objects {
		if len(f.Body) > most {
			continue // its findings end without values, which is told as well
		}
		name := filepath.Join(root, "objects", f.Bucket, filepath.FromSlash(f.Key))
		check(os.MkdirAll(filepath.Dir(name), 0o700))
		check(os.WriteFile(name, f.Body, 0o600))
		names[f.Bucket], names[f.Key] = true, true
	}
	var later atomic.Int64
	a, err := app.Open(ctx, app.Options{Home: root, Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
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
	for _, id := range findings {
		rec, err := a.Records.Get(ctx, id)
		check(err)
		importToHub(t, moto.String(), id, rec.Finding.Region, "NEW")
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
	for i, g := range groups {
		p, err := a.Remedy.Plan(ctx, ask(), g, remedy.Options{Action: remedy.Redact})
		check(err)
		_, err = a.Remedy.Apply(ctx, ask(), p.ID, remedy.Closing{Origin: "a test", CorrectiveAction: "none needed"})
		check(err)
		check(a.Notifier.Step(ctx, ask())) // what Security Hub is told follows from how things are then
		if i == 0 {
			_, err = a.Remedy.Undo(ctx, ask(), p.ID)
			check(err)
		}
	}
	stranger := ask()
	stranger.Caller = access.Caller{ID: "stranger", Kind: access.UserCaller, Roles: []string{access.RoleAuditor}}
	if _, err := a.Vault.Reveal(ctx, stranger, findings[0]); err == nil {
		t.Fatal("an auditor revealed values")
	}
	check(a.Log.Sequence(ctx))
	check(a.Notifier.Step(ctx, ask()))
	later.Store(int64(time.Hour)) // by when the file of the newest entries is due
	check(a.Notifier.Step(ctx, ask()))
	list, err := a.Notifier.Status(ctx)
	check(err)
	for _, x := range list {
		if x.State != "ok" || x.Kind != notify.SecurityHub && x.Kind != notify.OCSF && x.Sent < int64(len(findings)) {
			t.Errorf("%+v", x)
		}
	}
	if len(values) < 20 || len(findings) < 10 {
		t.Fatalf("%d findings, %d values", len(findings), len(values))
	}
	for _, k := range kinds {
		all := k.sent()
		// Ids are there: what is looked through is what was told.
		if !bytes.Contains(all, []byte(findings[0])) {
			t.Errorf("%s: it was told nothing of the first finding in %d bytes", k.target.Kind, len(all))
		}
		for v := range values {
			if bytes.Contains(all, []byte(v)) {
				t.Errorf("%s: a message has a value in it", k.target.Kind)
			}
		}
		for n := range names {
			if bytes.Contains(all, []byte(n)) {
				t.Errorf("%s: a message names %s", k.target.Kind, n)
			}
		}
		if bytes.Contains(all, []byte("Wilhelmina")) != k.notes {
			t.Errorf("%s: a message repeats what somebody wrote, or the archive does not: %v", k.target.Kind, !k.notes)
		}
		t.Logf("%s: %d bytes", k.target.Kind, len(all))
	}
	t.Logf("%d findings, %d forms of values, %d names", len(findings), len(values), len(names))
}

// unpackedUnder returns what the files in a folder hold, with their names.
func unpackedUnder(t *testing.T, root string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json.gz") {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return err
		}
		out.WriteString(strings.TrimPrefix(name, root) + "\n")
		_, err = io.Copy(&out, io.LimitReader(z, 1<<30))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
