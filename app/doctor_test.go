package app_test

import (
	"slices"
	"testing"

	"coffer/access"
	"coffer/app"
)

// TestDiagnoseWithoutHome: a process whose configuration is given to it, as to a function on Lambda, has no folder to look at, and is looked at
// all the same.
func TestDiagnoseWithoutHome(t *testing.T) {
	opt := app.Options{Home: t.TempDir(), Config: &app.Config{}}
	a, err := app.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	who, err := a.Operator()
	if err != nil {
		t.Fatal(err)
	}
	ask := access.Ask{Caller: who, Context: access.Context{Now: a.Now(), Local: true, Request: "test"}}
	var about []string
	for _, d := range app.Diagnose(t.Context(), opt, func() (*app.App, access.Ask, error) { return a, ask, nil }) {
		about = append(about, d.About)
	}
	for _, want := range []string{"configuration", "keys", "log", "policies", "plans"} {
		if !slices.Contains(about, want) {
			t.Errorf("nothing is said about %s, of %q", want, about)
		}
	}
	for _, no := range []string{"home", "disk", "modes"} {
		if slices.Contains(about, no) {
			t.Errorf("there is no folder, and something is said about %s", no)
		}
	}
}

// TestFirstKey: a role that does not sign the log makes no key of an installation that has none, and says who does.
func TestFirstKey(t *testing.T) {
	opt := app.Options{Home: t.TempDir(), Role: app.Worker}
	if a, err := app.Open(t.Context(), opt); err == nil {
		_ = a.Close()
		t.Fatal("a worker makes the key of an installation")
	}
	opt.Role = app.Whole
	a, err := app.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close() // what it holds is on the disk
	opt.Role = app.Worker
	if a, err = app.Open(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	_ = a.Close() // likewise
}
