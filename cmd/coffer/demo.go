package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/app"
	"coffer/demo"
	"coffer/object"
)

type demoCmd struct {
	Once bool   `help:"Stop after the summary."`
	Addr string `help:"Where the portal listens; a loopback address." default:"127.0.0.1:8484" placeholder:"HOST:PORT"`
}

// demoPerson is somebody of the demo, with the code for the first sign-in.
type demoPerson struct{ role, code string }

// Help is the long help of the command.
func (demoCmd) Help() string {
	return "The scenario is put into the home that --home or COFFER_HOME names if that holds no findings, else into a new folder, whose path is printed."
}

func (c *demoCmd) Run(e *env) error {
	home, err := demoHome(e)
	if err != nil {
		return err
	}
	s := demo.New()
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
	}
	config := filepath.Join(home, "config.yaml")
	if _, err := os.Stat(config); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(config, []byte(s.Config), 0o600); err != nil {
			return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
		}
	}
	e.Home = home
	cl, err := e.client()
	if err != nil {
		return err
	}
	a := e.app
	bytesPut, err := putObjects(e, s)
	if err != nil {
		return err
	}
	events := filepath.Join(home, "events")
	if err := os.MkdirAll(events, 0o700); err != nil {
		return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
	}
	e.out.say("MoonTrust, a bank that does not exist: %s in three buckets, %.1f MB, and %s of Macie.", plural(len(s.Objects), "object"),
		float64(bytesPut)/1e6, plural(len(s.Findings), "event"))
	e.out.say("  objects  %s", filepath.Join(home, "objects"))
	e.out.say("  events   %s\n", events)

	t := e.out.table(2, "EVENT", "STATUS", "OBJECT", "FOUND", "SEALED")
	var why []string
	var results []api.Line
	for _, d := range s.Findings {
		if err := os.WriteFile(filepath.Join(events, d.Name), d.Body, 0o600); err != nil {
			return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
		}
		for line, err := range cl.Ingest(e.ctx, bytes.NewReader(d.Body), d.Name, true) {
			if err != nil {
				return fmt.Errorf("%s: %w", d.Name, err)
			}
			results = append(results, line)
			if e.JSON {
				line.About = nil
				if err := e.out.element(line); err != nil {
					return err
				}
				continue
			}
			name := ""
			for _, o := range []*api.LineObject{line.Object, line.About} {
				if o != nil {
					name = o.Bucket + "/" + o.Key
				}
			}
			event := strings.TrimSuffix(d.Name, ".json")
			t.row(event, line.Status, name, fmt.Sprint(line.Occurrences), fmt.Sprint(line.Sealed))
			if line.Reason != "" {
				why = append(why, fmt.Sprintf("  %-20s  %s", event, safe(line.Reason)))
			}
		}
	}
	types := []coffer.DataType{coffer.BankAccountNumber, coffer.CardNumber}
	if err := a.Vault.Index(e.ctx, e.ask(), types, true); err != nil {
		return err
	}
	if e.JSON {
		return nil
	}
	t.print()
	e.out.say("\nWhat is not sealed, and why:")
	for _, w := range why {
		e.out.say("%s", w)
	}
	e.next(home, results)
	if c.Once {
		return nil
	}
	people, err := demoPeople(e)
	if err != nil {
		return err
	}
	e.out.say("")
	return (&serveCmd{Addr: c.Addr, people: people}).Run(e)
}

// demoPeople adds one person of each role that the scenario needs, or renews the code of who is there already.
func demoPeople(e *env) ([]demoPerson, error) {
	var out []demoPerson
	for _, role := range []string{access.RoleEngineer, access.RoleApprover, access.RoleAuditor, access.RolePrivacyOfficer} {
		_, code, err := e.app.Identity.AddUser(e.ctx, e.ask(), role, []string{role}, nil)
		if errors.Is(err, coffer.ErrConflict) {
			id, ferr := e.app.Identity.Find(e.ctx, e.ask(), role)
			if ferr != nil {
				return nil, ferr
			}
			code, err = e.app.Identity.NewCode(e.ctx, e.ask(), id)
		}
		if err != nil {
			return nil, fmt.Errorf("the people of the demo: %w", err)
		}
		out = append(out, demoPerson{role, code})
	}
	return out, nil
}

// demoHome chooses the home: the given one if it holds no findings, else a new folder. The default home stays as it is: the
// scenario brings a configuration of its own.
func demoHome(e *env) (string, error) {
	if e.Home != "" {
		home, err := filepath.Abs(e.Home)
		if err != nil {
			return "", err
		}
		if used, err := used(e, home); err != nil || !used {
			return home, err
		}
	}
	return os.MkdirTemp("", "coffer-demo-")
}

// used reports whether a home holds findings.
func used(e *env, home string) (bool, error) {
	if _, err := os.Stat(filepath.Join(home, "format")); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	a, err := app.Open(e.ctx, app.Options{Home: home, Objects: e.Objects, Originals: e.Originals, Keys: e.Keys, Store: e.Store, Log: e.Log})
	if err != nil {
		return false, err
	}
	defer a.Close()
	for _, err := range a.Records.All(e.ctx) {
		return err == nil, err
	}
	return false, nil
}

// putObjects puts the objects of the scenario into their buckets.
func putObjects(e *env, s *demo.Scenario) (n int64, err error) {
	a := e.app
	for _, b := range []string{demo.Statements, demo.Exports, demo.Results} {
		if err := a.Dir.CreateBucket(e.ctx, b); err != nil {
			return n, err
		}
	}
	if err := a.Dir.SetVersioning(e.ctx, demo.Exports, true); err != nil {
		return n, err
	}
	put := func(f demo.File, etag string) error {
		n += int64(len(f.Body))
		staged, err := a.Objects.Stage(e.ctx, coffer.Object{Bucket: f.Bucket, Key: f.Key, ETag: etag}, object.Attrs{}, writer(f.Body))
		if err != nil {
			return err
		}
		_, err = staged.Commit(e.ctx)
		return err
	}
	for _, f := range s.Objects {
		if err := put(f, ""); err != nil {
			return n, err
		}
	}
	old, err := a.Objects.Stat(e.ctx, coffer.Object{Bucket: s.Changed.Bucket, Key: s.Changed.Key})
	if err != nil {
		return n, err
	}
	return n, put(s.Changed, old.ETag)
}

// next prints what to try, each command ready to paste.
func (e *env) next(home string, results []api.Line) {
	id := func(key string) string {
		for _, r := range results {
			if r.Object != nil && strings.HasSuffix(r.Object.Key, key) {
				return *r.Finding
			}
		}
		return ""
	}
	sealed := 0
	for _, r := range results {
		sealed += r.Sealed
	}
	e.out.say("\n%s can be revealed; those of the rescan are the first scan's and not sealed twice.", plural(sealed, "value"))
	e.out.say("Equality search is on for account and card numbers.")
	e.out.say("\nTry next:")
	cmd := "coffer"
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		e.out.say("  go build -o coffer ./cmd/coffer")
		cmd = "./coffer"
	}
	if home != os.Getenv("COFFER_HOME") {
		e.out.say("  export COFFER_HOME=%s", quoted(home))
	}
	receipt := id("receipt.html")
	file := `"$COFFER_HOME/objects/moontrust-statements/web/receipt.html"`
	for _, c := range []struct{ what, line string }{
		{"see what there is; see one finding, masked", cmd + " finding list"},
		{"", cmd + " finding show " + receipt},
		{"reveal its value; the log says who did, and why", cmd + " value reveal " + receipt + ` --reason investigation --note "trying the demo"`},
		{"where else does this number stand? it is read from standard input and not shown", `grep -o '4000[0-9]*' ` + file + " | head -1 | " + cmd + " value search"},
		{"plan a fix: Macie reported one number, the page holds it twice", cmd + " remedy plan " + receipt + " --action mask"},
		{"carry it out, and look", cmd + " remedy apply --all"},
		{"", "cat " + file},
		{"put the original back, byte for byte", "plan=$(" + cmd + " remedy list --ids --limit 1)"},
		{"", cmd + " remedy undo $plan"},
		{"", cmd + " remedy certificate $plan"},
		{"look anew at the object that was edited since the scan", cmd + " finding relocate " + id("fx-desks.csv")},
		{"judge the numbers that fail their check digit", cmd + " verdict " + id("card-shipments.csv") + ` false-positive --note "shipment numbers"`},
		{"who did what; and is it the whole truth?", cmd + " audit list --limit 12"},
		{"", cmd + " audit verify"},
		{"", cmd + " check"},
	} {
		if c.what != "" {
			e.out.say("  # %s", c.what)
		}
		e.out.say("  %s", c.line)
	}
}

// quoted is a path as a shell reads it.
func quoted(path string) string {
	if strings.IndexFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+", r) && (r > 'z' || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

func writer(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}
