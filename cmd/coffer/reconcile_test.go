package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"coffer/internal/awsfake/maciefake"

	"github.com/rogpeppe/go-internal/testscript"
)

// macieKey is where a script's Macie is among its values.
type macieKey struct{}

// setupMacie starts a Macie for a script whose config.yaml names "$MACIE" as its endpoint, and writes the address there.
func setupMacie(e *testscript.Env) error {
	path := filepath.Join(e.WorkDir, "home", "config.yaml")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Contains(text, []byte("$MACIE")) {
		return nil
	}
	if err != nil {
		return err
	}
	fake := maciefake.New()
	fake.SetResults("results", "macie/")
	srv := httptest.NewServer(fake)
	e.Defer(srv.Close)
	e.Values[macieKey{}] = fake
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"} {
		e.Setenv(name, os.Getenv(name))
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(text, []byte("$MACIE"), []byte(srv.URL)), 0o600)
}

// scriptMacie has the script's Macie do something:
//
//	macie put FILE             it has the finding of this event
//	macie change ID KEY VALUE  a member of a finding is another; true and false are no strings
//	macie identifier FILE      it has this custom identifier, whose id is the name of the file
//	macie deny|permit CALL     it refuses a call, or does not any more
//	macie disable|enable       it is not enabled, or is again
//	macie fail CODE N CALL     the next N of these calls fail
//	macie calls CALL N         the call was made N times since this was asked last
func scriptMacie(ts *testscript.TestScript, neg bool, args []string) {
	fake, ok := ts.Value(macieKey{}).(*maciefake.Fake)
	if !ok || neg || len(args) == 0 {
		ts.Fatalf("usage: macie WHAT ..., where config.yaml names $MACIE")
	}
	need := func(n int) []string {
		if len(args) != n+1 {
			ts.Fatalf("macie %s takes %d arguments", args[0], n)
		}
		return args[1:]
	}
	switch args[0] {
	case "put":
		fake.Put([]byte(ts.ReadFile(need(1)[0])))
	case "change":
		a := need(3)
		var value any = a[2]
		if b, err := strconv.ParseBool(a[2]); err == nil {
			value = b
		}
		fake.Change(a[0], map[string]any{a[1]: value})
	case "identifier":
		name := need(1)[0]
		fake.PutIdentifier(strings.TrimSuffix(filepath.Base(name), ".json"), []byte(ts.ReadFile(name)))
	case "deny", "permit":
		fake.Deny(need(1)[0], args[0] == "deny")
	case "disable", "enable":
		need(0)
		fake.SetStatus(map[string]string{"enable": "ENABLED"}[args[0]])
	case "fail":
		a := need(3)
		n, err := strconv.Atoi(a[1])
		ts.Check(err)
		fake.Fail(a[0], n, a[2])
	case "calls":
		a := need(2)
		was, _ := strconv.Atoi(ts.Getenv("calls_" + a[0])) // 0 where it was not asked yet
		if got := fmt.Sprint(fake.Calls(a[0]) - was); got != a[1] {
			ts.Fatalf("%s was called %s times, want %s", a[0], got, a[1])
		}
		ts.Setenv("calls_"+a[0], fmt.Sprint(fake.Calls(a[0])))
	default:
		ts.Fatalf("macie %s is not known", args[0])
	}
}
