package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// invoke runs the program and returns its exit code and output.
func invoke(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// want runs the program and demands the exit code and that its output, both streams together, holds the texts.
func want(t *testing.T, code int, args []string, texts ...string) string {
	t.Helper()
	got, out, err := invoke(t, "", args...)
	if got != code {
		t.Fatalf("coffer %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, err)
	}
	for _, s := range texts {
		if !strings.Contains(out+err, s) {
			t.Errorf("coffer %s: no %q in\n%s%s", strings.Join(args, " "), s, out, err)
		}
	}
	return out
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPolicyCommands(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("COFFER_HOME", home)
	want(t, 0, []string{"policy", "check"}, "the default set", "engineer")
	if _, err := os.Stat(home); err == nil {
		t.Error("checking policies made a home")
	}

	dir := t.TempDir()
	write(t, filepath.Join(dir, "one.cedar"), `@id("lone") permit (principal in Role::"guard", action == Action::"value.reveal", resource);`)
	want(t, 0, []string{"policy", "check", dir}, "1 policy", "guard")
	write(t, filepath.Join(dir, "two.cedar"), `@id("bad") permit (principal, action, resource) when { resource.colour == "red" };`)
	want(t, 1, []string{"policy", "check", dir}, "two.cedar:1", "schema")

	cases := write(t, filepath.Join(t.TempDir(), "cases.yaml"), `
- {name: with reason, caller: {roles: [engineer]}, action: value.reveal, context: {reason: audit, note: quarterly check}, expect: allow, by: [engineer-reveal]}
- {name: without, caller: {roles: [engineer]}, action: value.reveal, expect: deny, by: [reveal-needs-reason]}
- {caller: {roles: [auditor]}, action: audit.read, expect: allow}
`)
	want(t, 0, []string{"policy", "test", cases}, "3 cases passed")
	write(t, cases, `[{"name": "auditors see", "caller": {"roles": ["auditor"]}, "action": "finding.read", "expect": "allow"}]`)
	want(t, 1, []string{"policy", "test", cases, "--json"}, `"ok":false`, `"got":"deny"`)
	write(t, cases, `[{action: finding.read, expect: allow, callar: {}}]`)
	want(t, 1, []string{"policy", "test", cases}, "callar")

	want(t, 0, []string{"policy", "explain"}, "value.reveal", "remedy.purge")
	want(t, 0, []string{"policy", "explain", "remedy.approve", "--role", "engineer", "--pending"}, "denied to engineer", "allowed to: approver")
	want(t, 0, []string{"policy", "explain", "value.reveal"}, "forbidden to operator by reveal-needs-reason", "10 characters")
	want(t, 0, []string{"policy", "explain", "value.reveal", "--reason", "audit", "--note", "quarterly check"}, "allowed to operator by operator")
	want(t, 1, []string{"policy", "explain", "finding.read", "no-such-finding"})
	want(t, 2, []string{"policy", "explain", "value.steal"})
}
