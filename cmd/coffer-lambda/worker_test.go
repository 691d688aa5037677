package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coffer"
	"coffer/app"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
	"coffer/macie"
)

// workerVariables are the variables that the template gives the worker.
func workerVariables(t testing.TB) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean("../../deploy/template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\{ Name: (COFFER_[A-Z_]+), Value`).FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < 10 {
		t.Fatalf("the template gives the worker %v", names)
	}
	return names
}

// worker starts `coffer worker` as the template starts it: with the variables that stand there, and of the configuration only what says
// where the servers are. until waits for what it is to bring about; end tells it to end, and returns all that it said.
func (c *cloud) worker() (until func(what string, is func() bool), end func() string) {
	c.Helper()
	home, config := filepath.Join(c.TempDir(), "home"), map[string]string{}
	for _, v := range c.env {
		if name, value, _ := strings.Cut(v, "="); slices.Contains(workerVariables(c), name) {
			config[name] = value
		}
	}
	all, err := json.Marshal(map[string]any{"macie": map[string]string{"endpoint": c.options.Config.Macie.Endpoint}})
	if err != nil {
		c.Fatal(err)
	}
	config["COFFER_HOME"], config["COFFER_CONFIG"] = home, string(all)
	bin := lambdaharness.Build(c, c.TempDir(), "../coffer")
	p := exec.CommandContext(c.Context(), bin, "worker")
	for _, v := range c.env {
		if !strings.HasPrefix(v, "COFFER_") {
			p.Env = append(p.Env, v)
		}
	}
	for name, value := range config {
		p.Env = append(p.Env, name+"="+value)
	}
	var said said
	p.Stdout, p.Stderr = &said, &said
	if err := p.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = p.Process.Kill() }) // it has ended, unless the test failed
	until = func(what string, is func() bool) {
		c.Helper()
		for begun := time.Now(); !is(); time.Sleep(20 * time.Millisecond) { // another process
			if time.Since(begun) > 40*time.Second {
				c.Fatalf("%s does not come to its end; the worker: %s", what, said.String())
			}
		}
	}
	return until, func() string {
		c.Helper()
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			c.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			c.Errorf("the worker: %v", err)
		}
		return said.String()
	}
}

// inArchive has Macie say of a finding where in the archive the value is. That stands in the discovery result alone, which is a file in a bucket.
func (c *cloud) inArchive(event []byte, place string) []byte {
	c.Helper()
	at, err := coffer.ParseLocation(place)
	if err != nil {
		c.Fatal(err)
	}
	results, name := c.name+"-results", "macie/AWSLogs/"+lookalike.Account+"/Macie/"+lookalike.Region+"/j1/"+lookalike.Account+"/1.jsonl.gz"
	lookalike.AWS(c, c.s3, "s3api", "create-bucket", "--bucket", results, "--create-bucket-configuration", "LocationConstraint="+lookalike.Region)
	for d, err := range macie.Decode(c.Context(), bytes.NewReader(event)) {
		if err != nil {
			c.Fatal(err)
		}
		f := *d.Finding
		f.Occurrences[0].At, f.ResultLocation = at, "s3://"+results+"/"+name
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(macie.ResultLines(f))
		file := filepath.Join(c.TempDir(), "result")
		if err := errors.Join(err, z.Close(), os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
			c.Fatal(err)
		}
		lookalike.AWS(c, c.s3, "s3api", "put-object", "--bucket", results, "--key", name, "--body", file)
		event = macie.Event(f)
	}
	c.macie.Put(event)
	where := func(env []string) []string {
		return append(slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "COFFER_MACIE=") }), "COFFER_MACIE=s3://"+results+"/macie")
	}
	c.env = where(c.env)
	for _, f := range c.fn {
		f.Env = where(f.Env)
	}
	return event
}

// TestLargeObject follows an archive that is too large for a function: intake leaves it, `coffer worker` seals what Macie found in it and
// fixes it, and the certificate says so.
func TestLargeObject(t *testing.T) {
	if !full() {
		t.Skip("builds the command, and fixes 32 MB: COFFER_TEST_FULL=1")
	}
	c := inCloud(t)
	var body bytes.Buffer
	z := zip.NewWriter(&body)
	member := func(name string) io.Writer {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if _, err := io.WriteString(member("cards.csv"), cardList); err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("nothing to see in this line\n", 64<<10/28))
	for w := member("notes.txt"); body.Len() <= int(limits.Archive); {
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	const key, id = "large.zip", "finding-large"
	event := c.inArchive(c.put(key, id, body.String()), "cards.csv!cell:R2C2")
	c.send(app.Intake, string(event))
	c.drain(app.Intake)
	finding := func() map[string]any {
		status, found := c.ask("GET", "/v1/findings/"+id, nil)
		if status != 200 {
			t.Fatalf("the finding: %d %v", status, found)
		}
		return found
	}
	if n := c.count(c.queue[app.Worker]); n != "1" || c.tag(key, "coffer:state") != "" {
		t.Fatalf("intake did not leave it to the worker, who is told by %s messages, the object is %q: %v\n%s",
			n, c.tag(key, "coffer:state"), finding(), c.fn[app.Intake].Said())
	}
	until, end := c.worker()
	until("the taking in", func() bool { return finding()["sealed"] == 1.0 })
	until("the queue", func() bool { return c.count(c.queue[app.Worker]) == "0" })
	until("the tag", func() bool { return c.tag(key, "coffer:state") == "sensitive" })
	c.tables()
	status, shown := c.ask("POST", "/v1/findings/"+id+"/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})
	if b, _ := json.Marshal(shown); status != 200 || !strings.Contains(string(b), card) {
		t.Errorf("reveal: %d", status)
	}

	// The worker is told as the function remedy tells it of what it has not done in its time; that function's own queue is left alone.
	job := func(method, path string, body any) []any {
		status, answer := c.ask(method, path, body)
		if status != 202 {
			t.Fatalf("%s %s: %d %v", method, path, status, answer)
		}
		name, _ := answer["job"].(string)
		if inner, ok := answer["job"].(map[string]any); ok {
			name, _ = inner["job"].(string)
		}
		wake, err := json.Marshal(app.Wake{Job: name})
		if err != nil {
			t.Fatal(err)
		}
		c.send(app.Worker, string(wake))
		until("the job", func() bool {
			_, j := c.ask("GET", "/v1/jobs/"+name, nil)
			return j["state"] == "done"
		})
		_, items := c.ask("GET", "/v1/jobs/"+name+"/items", nil)
		list, _ := items["items"].([]any)
		return list
	}
	items := job("POST", "/v1/plans", map[string]any{"findings": []string{id}, "action": "redact"})
	plan, _ := items[0].(map[string]any)["result"].(string)
	a, operator := c.look()
	if _, err := a.Remedy.Approve(t.Context(), operator, plan); err != nil {
		t.Fatal(err)
	}
	job("POST", "/v1/plans/"+plan+"/apply", map[string]any{})
	if n := c.fn[app.Verify].Starts(); n == 0 {
		t.Error("the fix was applied and nothing asked the function verify")
	}
	said := end()
	for _, secret := range []string{card, card[4:], key, c.bucket(), "cards.csv"} {
		if strings.Contains(said, secret) {
			t.Errorf("the worker says a value, a key or a bucket")
		}
	}

	file := filepath.Join(t.TempDir(), "after")
	lookalike.AWS(t, c.s3, "s3api", "get-object", "--bucket", c.bucket(), "--key", key, file)
	r, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, m := range r.File {
		in, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		after, err := io.ReadAll(in)
		if err != nil || bytes.Contains(after, []byte(card)) || m.Name == "cards.csv" && !bytes.HasPrefix(after, []byte("id,card\n1,")) {
			t.Errorf("%d bytes after the fix, %v", len(after), err)
		}
	}
	c.invoke(app.Schedule, []byte(`{}`))
	status, cert := c.ask("GET", "/v1/plans/"+plan+"/certificate", nil)
	if status != 200 || cert["verified"] != true || cert["clean"] == "not clean" {
		t.Errorf("certificate: %d %v verified %v clean %v\n%s", status, cert["detail"], cert["verified"], cert["clean"], c.fn[app.API].Said())
	}
	if state := c.tag(key, "coffer:state"); state != "redacted" {
		t.Errorf("the object's state after the fix is %q", state)
	}
	c.sound()
}
