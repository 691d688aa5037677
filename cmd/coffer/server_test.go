package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coffer"
)

// TestToken: the token comes from a file that others cannot read, else from the environment, and never from the list of processes.
func TestToken(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "good"), " coffer_pat_of_a_file\n")
	open := write(t, filepath.Join(dir, "open"), "coffer_pat_open")
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	empty := write(t, filepath.Join(dir, "empty"), " \n")
	for name, x := range map[string]struct {
		file, env, want string
		err             error
	}{
		"environment":             {env: " coffer_pat_of_env\n", want: "coffer_pat_of_env"},
		"file before environment": {file: good, env: "coffer_pat_of_env", want: "coffer_pat_of_a_file"},
		"neither":                 {err: errUsage},
		"blank environment":       {env: " ", err: errUsage},
		"others may read it":      {file: open, env: "coffer_pat_of_env", err: coffer.ErrInvalid},
		"empty":                   {file: empty, err: coffer.ErrInvalid},
		"no such file":            {file: filepath.Join(dir, "none"), env: "coffer_pat_of_env", err: coffer.ErrInvalid},
	} {
		t.Setenv("COFFER_TOKEN", x.env)
		got, err := (&env{globals: &globals{TokenFile: x.file}}).token()
		if got != x.want || !errors.Is(err, x.err) {
			t.Errorf("%s: %d characters, %v; want %v", name, len(got), err, x.err)
		}
		if err != nil && (strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "coffer_pat")) {
			t.Errorf("%s: the error names the path or the token", name)
		}
	}
	if code, _, _ := invoke(t, "", "finding", "list", "--server", "http://127.0.0.1:1", "--token", "coffer_pat_of_argv"); code != exitUsage {
		t.Errorf("a token among the arguments: exit %d, want %d", code, exitUsage)
	}
}

// TestServerAddress: over TLS alone, but to this machine; nothing else that looks like an address is asked.
func TestServerAddress(t *testing.T) {
	t.Setenv("COFFER_TOKEN", "coffer_pat_of_env")
	for address, text := range map[string]string{
		"http://coffer.example.com":          "over https alone",
		"http://192.0.2.7:8484":              "over https alone",
		"coffer.example.com":                 "the address of a server is https://HOST",
		"ftp://coffer.example.com":           "the address of a server is https://HOST",
		"https://someone@coffer.example.com": "the address of a server is https://HOST",
		"https://coffer.example.com/?q=1":    "the address of a server is https://HOST",
	} {
		want(t, exitFailed, []string{"finding", "list", "--server", address}, text, "invalid")
	}
}

// TestServeAsProcess: a server as a process of its own, and commands that come to it with a personal token: for what the token is for, until
// it is revoked, and with one clear error when nobody is there.
func TestServeAsProcess(t *testing.T) {
	home := filepath.Join(memoryDir(t), "home")
	run := func(code int, token string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "coffer", append(args, "--json")...)
		cmd.Env = append(os.Environ(), "COFFER_SERVER=", "COFFER_HOME="+home, "COFFER_TOKEN="+token)
		out, _ := cmd.CombinedOutput() // its code is looked at
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("coffer %s: exit %d, want %d", strings.Join(args[:2], " "), got, code)
		}
		return string(out)
	}
	run(0, "", "user", "add", "eve", "--role", "auditor")
	var token struct{ Token, Secret string }
	if err := json.Unmarshal([]byte(run(0, "", "token", "create", "--user", "eve", "--scope", "finding.list", "--days", "1")), &token); err != nil || token.Secret == "" {
		t.Fatalf("no token: %v", err)
	}

	var log bytes.Buffer
	server := exec.CommandContext(t.Context(), "coffer", "serve", "--addr", "127.0.0.1:0", "--metrics", "", "--verbose", "--json")
	server.Env, server.Stderr = append(os.Environ(), "COFFER_SERVER=", "COFFER_HOME="+home), &log
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var said struct{ Address string }
	if err = errors.Join(err, json.Unmarshal(line, &said)); err != nil {
		t.Fatalf("it says nothing: %v", errors.Join(err, server.Wait()))
	}

	at := []string{"finding", "list", "--server", said.Address}
	run(0, token.Secret, at...)
	for what, denied := range map[string]string{
		"beyond the scopes": run(1, token.Secret, "audit", "list", "--server", said.Address),
		"a wrong token":     run(1, token.Secret[:len(token.Secret)-4]+"AAAA", at...),
		"no token of ours":  run(1, "nonsense", at...),
	} {
		if !strings.Contains(denied, `"code":"denied"`) {
			t.Errorf("%s: %s", what, denied)
		}
	}
	run(0, "", "token", "revoke", token.Token)
	if denied := run(1, token.Secret, at...); !strings.Contains(denied, `"code":"denied"`) || !strings.Contains(denied, "access token") {
		t.Errorf("revoked: %s", denied)
	}

	if err := errors.Join(server.Process.Signal(syscall.SIGTERM), server.Wait()); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if bytes.Contains(log.Bytes(), []byte(token.Secret)) {
		t.Error("the token is in the server's log")
	}
	if away := run(1, token.Secret, at...); !strings.Contains(away, `"code":"unavailable"`) || !strings.Contains(away, "the server at "+said.Address+" cannot be reached; look whether it runs") {
		t.Errorf("nobody there: %s", away)
	}
	run(0, "", "audit", "verify")
}
