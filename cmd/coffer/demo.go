package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"coffer"
	"coffer/app"
	"coffer/demo"
	"coffer/macie"
	"coffer/object"
	"coffer/pipeline"
)

type demoCmd struct {
	Once bool `help:"Stop after the summary."`
}

// Help is the long help of the command.
func (demoCmd) Help() string {
	return "The scenario is put into the given home if it holds no findings, else into a new folder, whose path is printed."
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
	a, err := e.open()
	if err != nil {
		return err
	}
	bytesPut, err := putObjects(e, s)
	if err != nil {
		return err
	}
	events := filepath.Join(home, "events")
	if err := os.MkdirAll(events, 0o700); err != nil {
		return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
	}
	e.out.say("MoonTrust, a bank that does not exist, in %s", home)
	e.out.say("%s in three buckets, %.1f MB, and %s of Macie in %s.\n", plural(len(s.Objects), "object"), float64(bytesPut)/1e6,
		plural(len(s.Findings), "event"), events)

	t := e.out.table(2, "MACIE'S FINDING", "STATUS", "OBJECT", "FOUND", "SEALED", "WHY")
	var results []pipeline.Result
	for _, d := range s.Findings {
		if err := os.WriteFile(filepath.Join(events, d.Name), d.Body, 0o600); err != nil {
			return fmt.Errorf("home: %w: %w", coffer.ErrUnavailable, err)
		}
		for doc, err := range macie.Decode(e.ctx, bytes.NewReader(d.Body)) {
			if err != nil {
				return err
			}
			res, err := a.Pipeline.TakeDocument(e.ctx, e.ask(), doc, coffer.OriginOperator, d.Name)
			if err != nil {
				return fmt.Errorf("%s: %w", d.Name, err)
			}
			results = append(results, res)
			if e.JSON {
				in := &intake{e: e, p: e.out.progress("")}
				if err := in.report(res); err != nil {
					return err
				}
				continue
			}
			name := ""
			if res.Object != nil {
				name = res.Object.Bucket + "/" + res.Object.Key
			}
			t.row(strings.TrimSuffix(d.Name, ".json"), string(res.Status), name, fmt.Sprint(res.Occurrences), fmt.Sprint(res.Sealed), res.Reason)
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
	e.next(home, s, results)
	return nil
}

// demoHome chooses the home: the given or default one if it holds no findings, else a new folder.
func demoHome(e *env) (string, error) {
	home, err := e.home()
	if err != nil {
		return "", err
	}
	used, err := used(e, home)
	if err != nil {
		return "", err
	}
	if !used {
		return home, nil
	}
	return os.MkdirTemp("", "coffer-demo-")
}

// used reports whether a home holds findings.
func used(e *env, home string) (bool, error) {
	if _, err := os.Stat(filepath.Join(home, "format")); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	a, err := app.Open(e.ctx, app.Options{Home: home, Objects: e.Objects, Originals: e.Originals, Keys: e.Keys, Store: e.Store})
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
func (e *env) next(home string, s *demo.Scenario, results []pipeline.Result) {
	id := func(key string) string {
		for _, r := range results {
			if r.Object != nil && strings.HasSuffix(r.Object.Key, key) {
				return r.Finding
			}
		}
		return ""
	}
	cmd := "coffer"
	if home != os.Getenv("COFFER_HOME") {
		cmd += " --home " + home
	}
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		cmd = "go run ./cmd/" + cmd
	}
	log := id("2026-07-14.log")
	sealed := 0
	for _, r := range results {
		sealed += r.Sealed
	}
	e.out.say("\n%s sealed. The index for equality search is on for account and card numbers.", plural(sealed, "value"))
	e.out.say("\nTry next:")
	for _, c := range []struct{ what, args string }{
		{"see a finding, masked", "finding show " + log},
		{"reveal one value; this is logged", "value reveal " + log + ` 1 --reason investigation --note "checking the demo"`},
		{"plan a fix and look at its masked diff", "remedy plan " + log + " --action mask"},
		{"carry out what is planned", "remedy apply --all"},
		{"see the plans, for undo, purge and certificate", "remedy list"},
		{"look at a changed object as it is now", "finding relocate " + id("fx-desks.csv")},
		{"judge the false positive", "verdict " + id("card-shipments.csv") + ` false-positive --note "shipment numbers"`},
		{"read the log, and prove it whole", "audit list --limit 10"},
		{"", "audit verify"},
		{"check every invariant", "check"},
	} {
		if c.what != "" {
			e.out.say("  # %s", c.what)
		}
		e.out.say("  %s %s", cmd, c.args)
	}
}

func writer(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}
