package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
)

// TestCommandLine: who has a role of AWS that is let in works with the command line against API Gateway, by signed requests.
func TestCommandLine(t *testing.T) {
	c := inCloud(t)
	c.send(app.Intake, string(c.put("cards.csv", "finding-1", cardList)))
	c.drain(app.Intake)
	const role = ":assumed-role/engineer/alice"
	server := httptest.NewServer(&lambdaharness.Gateway{
		Function: c.fn[app.API], Overwrite: map[string]string{"X-Coffer-Origin": secret},
		Secrets: map[string]string{"AKIDALICE": "a secret of the tests", "AKIDMALLORY": "another secret"},
		Callers: map[string]string{"AKIDALICE": "arn:aws:sts::" + lookalike.Account + role, "AKIDMALLORY": "arn:aws:sts::999999999999" + role},
	})
	t.Cleanup(server.Close)
	coffer := filepath.Join(t.TempDir(), "coffer")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", coffer, "coffer/cmd/coffer").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(id, key string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), coffer, append([]string{"--server", server.URL, "--sign"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=" + lookalike.Region}
		if id != "" {
			cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+key)
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for what, args := range map[string][]string{
		"finding-1": {"finding", "list"},
		"cards.csv": {"finding", "show", "finding-1"},
		card:        {"value", "reveal", "finding-1", "--reason", "investigation", "--note", "a look of a test, with signs: ü+& /"},
		"coffer:":   {"object", "show", "s3://" + c.bucket() + "/cards.csv"},
	} {
		out, err := run("AKIDALICE", "a secret of the tests", args...)
		if err != nil || !strings.Contains(out, what) {
			t.Errorf("coffer %s: %v\n%s\n%s", strings.Join(args[:2], " "), err, out, c.fn[app.API].Said())
		}
	}
	for what, x := range map[string]struct{ id, key, said string }{
		"no credentials":            {"", "", "no AWS credentials"},
		"another's secret":          {"AKIDALICE", "another secret", "what stands before the server refuses the request (403)"},
		"a role of another account": {"AKIDMALLORY", "another secret", "sign in, or send a valid access token: denied"},
	} {
		if out, err := run(x.id, x.key, "finding", "list"); err == nil || !strings.Contains(out, x.said) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}
