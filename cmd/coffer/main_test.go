package main

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/macie"

	"github.com/rogpeppe/go-internal/testscript"
)

// The binary of the tests is coffer too, when it is called by that name: every command of a story is a process of its own.
func TestMain(m *testing.M) {
	// The race detector lets a process linger for a second at its end, which here are hundreds.
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, map[string]func(){"coffer": main})
}

// TestScripts tells the stories in testdata/script, one for each group of commands. Beside the commands of testscript they use:
//
//	event FILE s3://BUCKET/KEY ID [-more] [-result] [-ago=DURATION] [TYPE@PLACE ...]
//	        writes Macie's event about the object as it is in $COFFER_HOME/objects; -more says that there are more places than
//	        these, -result puts the places into a discovery result in the bucket "results" and leaves the first 15 of them, or all but
//	        the last, in the event; -ago is how long ago it was, else a day in 2026; TYPE is the name of a custom identifier when it has
//	        a space in it
//	macie WHAT ...          has the script's Macie do something; see scriptMacie
//	exit N COMMAND ...      runs a command that must end with this exit code
//	keys FILE|stdout|stderr KEY ...
//	        every line is a JSON object with exactly these members; a name with ? may be missing
//	field NAME KEY [N]      sets the variable to the member, a.b for one inside another, of the Nth line of standard output
//	lines N                 standard output has as many lines
//
// The condition [server] holds where the commands ask a server.
func TestScripts(t *testing.T) {
	t.Setenv("GOTMPDIR", memoryDir(t)) // where testscript makes its folders
	runScripts(t, false, func(*testscript.Env) error { return nil })
}

func runScripts(t *testing.T, server bool, setup func(*testscript.Env) error) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIACOFFERMACIE") // for scripts that ask a Macie
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("COFFER_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("GORACE", os.Getenv("GORACE"))
			if err := setupMacie(e); err != nil {
				return err
			}
			return setup(e)
		},
		Condition: func(c string) (bool, error) {
			if c != "server" {
				return false, fmt.Errorf("condition %q is not known", c)
			}
			return server, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"receiver": scriptReceiver, "deliver": scriptDeliver,
			"event": scriptEvent, "macie": scriptMacie, "exit": scriptExit, "keys": scriptKeys, "field": scriptField, "lines": scriptLines,
		},
	})
}

// memoryDir is a folder in memory where the system has one: every command syncs what it writes, and hundreds of commands would
// wait for the disk.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "coffer-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func scriptEvent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: event FILE s3://BUCKET/KEY ID [-more] [-result] [-ago=DURATION] [TYPE@PLACE ...]")
	}
	o, err := parseURI(args[1], true)
	ts.Check(err)
	objects := filepath.Join(ts.Getenv("COFFER_HOME"), "objects")
	body, err := os.ReadFile(filepath.Join(objects, o.Bucket, filepath.FromSlash(o.Key)))
	ts.Check(err)
	more, result := false, false
	at := time.Date(2026, 7, 15, 3, 20, 0, 0, time.UTC)
	var places []string
	for _, a := range args[3:] {
		ago, isAgo := strings.CutPrefix(a, "-ago=")
		switch {
		case a == "-more":
			more = true
		case a == "-result":
			result = true
		case isAgo:
			d, err := time.ParseDuration(ago)
			ts.Check(err)
			at = time.Now().UTC().Truncate(time.Second).Add(-d)
		default:
			places = append(places, a)
		}
	}
	f, err := finding(o, args[2], body, places)
	ts.Check(err)
	f.More, f.CreatedAt, f.LastModified = more, at, at.Add(-time.Hour)
	if result {
		key := "macie/AWSLogs/111122223333/Macie/us-east-1/" + f.JobID + "/111122223333/" + f.ID + ".jsonl.gz"
		f.ResultLocation = "s3://results/" + key
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		_, err := zw.Write(macie.ResultLines(f))
		path := filepath.Join(objects, "results", filepath.FromSlash(key))
		ts.Check(errors.Join(err, zw.Close(), os.MkdirAll(filepath.Dir(path), 0o700)))
		ts.Check(errors.Join(os.WriteFile(path, b.Bytes(), 0o600), os.Chtimes(path, at, at)))
		f.More = true
		f.Occurrences = f.Occurrences[:min(15, max(1, len(f.Occurrences)-1))]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(macie.Event(f), '\n'), 0o600))
}

// finding is Macie's finding about an object with these bytes.
func finding(o coffer.Object, id string, body []byte, places []string) (coffer.Finding, error) {
	sum := md5.Sum(body)
	o.ETag = hex.EncodeToString(sum[:])
	at := time.Date(2026, 7, 15, 3, 20, 0, 0, time.UTC)
	f := coffer.Finding{
		ID: id, AccountID: "111122223333", Partition: "aws", Region: "us-east-1", Type: "SensitiveData:S3Object/Financial",
		Severity: coffer.SeverityHigh, CreatedAt: at, LastModified: at.Add(-time.Hour), Object: o, Size: int64(len(body)), Status: "COMPLETE",
		JobID: "7c1f0a94d2b84e6fa35b90e1c84d2f17", OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
	}
	for i, p := range places {
		typ, place, ok := strings.Cut(p, "@")
		l, err := coffer.ParseLocation(place)
		if !ok || err != nil {
			return f, fmt.Errorf("write TYPE@PLACE: %q: %w", p, err)
		}
		oc := coffer.Occurrence{N: i + 1, Type: coffer.DataType(typ), At: l}
		category := "FINANCIAL_INFORMATION"
		if strings.Contains(typ, " ") {
			oc.Custom, category = "5a1c7e2b-90d4-4c3f-8b6e-2f7d1e0c9a83", "CUSTOM_IDENTIFIER"
		}
		f.Occurrences = append(f.Occurrences, oc)
		k := slices.IndexFunc(f.Detections, func(d coffer.Detection) bool { return d.Type == oc.Type })
		if k < 0 {
			k = len(f.Detections)
			f.Detections = append(f.Detections, coffer.Detection{Type: oc.Type, Custom: oc.Custom, Category: category})
		}
		f.Detections[k].Count++
	}
	return f, nil
}

func scriptExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit N COMMAND ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// jsonLines are the lines of an output, which must be JSON objects.
func jsonLines(ts *testscript.TestScript, name string) (out []map[string]any) {
	for line := range strings.Lines(ts.ReadFile(name)) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			ts.Fatalf("%s: line %d is no JSON object: %v", name, len(out)+1, err)
		}
		out = append(out, v)
	}
	return out
}

func scriptKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: keys FILE|stdout|stderr KEY ...")
	}
	list := jsonLines(ts, args[0])
	if len(list) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	for i, v := range list {
		for _, k := range args[1:] {
			name, optional := strings.CutSuffix(k, "?")
			if _, ok := v[name]; !ok && !optional {
				ts.Fatalf("%s: line %d has no %q", args[0], i+1, name)
			}
			delete(v, name)
		}
		for k := range v {
			ts.Fatalf("%s: line %d has a member %q that the contract does not know", args[0], i+1, k)
		}
	}
}

func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: field NAME KEY [N]")
	}
	n := 1
	if len(args) == 3 {
		var err error
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	list := jsonLines(ts, "stdout")
	if n > len(list) {
		ts.Fatalf("standard output has %d lines", len(list))
	}
	var v any = list[n-1]
	for k := range strings.SplitSeq(args[1], ".") {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	if v == nil {
		ts.Fatalf("line %d has no %s", n, args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func scriptLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lines N")
	}
	if got := strings.Count(ts.ReadFile("stdout"), "\n"); strconv.Itoa(got) != args[0] {
		ts.Fatalf("standard output has %d lines, want %s", got, args[0])
	}
}

// shown is a command of a document with the output that the document shows for it.
type shown struct {
	where   string // file:line
	command string
	output  string
}

// tour reads the fenced console blocks of a document: a line that begins with "$ " is a command, and what follows it up to the
// next command is its output, as it stands, or with "..." for any text in a line and alone in a line for any lines.
func tour(t *testing.T, path string) (out []shown) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			in = line == "```console"
		case !in:
		case strings.HasPrefix(line, "$ "):
			out = append(out, shown{where: fmt.Sprintf("%s:%d", filepath.Base(path), i+1), command: line[2:]})
		case len(out) == 0:
			t.Fatalf("%s:%d: output before a command", path, i+1)
		default:
			out[len(out)-1].output += line + "\n"
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no console block", path)
	}
	return out
}

// looksLike reports whether a command printed what a document shows.
func looksLike(printed, shown string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(strings.TrimRight(shown, "\n") + "\n") {
		if line == "...\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`))
	}
	return regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(strings.TrimRight(printed, "\n") + "\n")
}

// TestTour runs every command that README.md and docs/guide.md show, in order, in one shell, and compares what it prints with what
// they show. Only `go` is not what it is for the reader: `go run ./cmd/coffer` is the binary of this test, and `go build` nothing.
func TestTour(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tour is for a POSIX shell")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	list := append(tour(t, "../../README.md"), tour(t, "../../docs/guide.md")...)
	const mark = "\x1e"
	var script strings.Builder
	script.WriteString("go() { case \"$1 $2\" in 'run ./cmd/coffer') shift 2; coffer \"$@\" ;; 'build '*) ;; *) return 2 ;; esac; }\nexec 2>&1\n")
	for _, c := range list {
		script.WriteString(c.command + "\nprintf '\\036%d\\036' $?\n")
	}
	cmd := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(t), "HOME="+t.TempDir(), "TZ=UTC", "COFFER_HOME=")
	got, err := cmd.CombinedOutput()
	parts := strings.Split(string(got), mark)
	if len(parts) != 2*len(list)+1 {
		t.Fatalf("%d of %d commands ran: %v", (len(parts)-1)/2, len(list), err)
	}
	for i, c := range list {
		output, code := parts[2*i], parts[2*i+1]
		if !strings.HasSuffix(c.command, "# refused") && code != "0" {
			t.Errorf("%s: %s\nexit code %s:\n%s", c.where, c.command, code, output)
		} else if strings.HasSuffix(c.command, "# refused") && code != "1" {
			t.Errorf("%s: %s\nexit code %s, and it is to be refused:\n%s", c.where, c.command, code, output)
		}
		if !looksLike(output, c.output) {
			t.Errorf("%s: %s\nprinted:\n%s\nshown:\n%s", c.where, c.command, output, c.output)
		}
	}
}

// Eight commands at once on one home, over and over: the same finding and different ones are taken in, revealed, judged, fixed and
// put back. Every command ends well or is refused for a reason that the other commands are, and afterwards every invariant holds.
func TestManyProcesses(t *testing.T) {
	home, events := filepath.Join(memoryDir(t), "home"), t.TempDir()
	command := func(args ...string) (string, error) {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "coffer", args...)
		cmd.Env, cmd.Stderr = append(os.Environ(), "COFFER_HOME="+home), &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("coffer %s: %w: %s", strings.Join(args, " "), err, stderr.String())
		}
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := command(args...)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	event := func(i int) string { return filepath.Join(events, fmt.Sprintf("f%d.json", i)) }
	const objects = 6
	originals := map[string][]byte{}
	for i := range objects {
		name := fmt.Sprintf("f%d", i)
		body := "holder,iban\n"
		var places []string
		for row := range 40 {
			body += fmt.Sprintf("Jane Roe,%s\n", iban(1000*i+row))
			places = append(places, fmt.Sprintf("GERMANY_BANK_ACCOUNT_NUMBER@cell:R%dC2", row+2))
		}
		path := filepath.Join(home, "objects", "bank", name+".csv")
		f, err := finding(coffer.Object{Bucket: "bank", Key: name + ".csv"}, name, []byte(body), places)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(body), 0o600),
			os.WriteFile(event(i), macie.Event(f), 0o600)); err != nil {
			t.Fatal(err)
		}
		originals[path] = []byte(body)
	}
	// A round is eight commands at once; a worker is a story of its own on an object of its own, or looks at what the others do.
	workers := []func(){
		func() { must("ingest", event(0), event(1)) }, // the same findings in three processes, in another order
		func() { must("ingest", event(1), event(0)) },
		func() { must("ingest", events) },
		func() { fix(t, must, "f2", event(2)) },
		func() { fix(t, must, "f3", event(3)) },
		func() {
			must("ingest", event(4))
			if got := strings.Count(must("value", "reveal", "f4", "--json", "--reason", "audit", "--note", "many processes"), "\n"); got != 40 {
				t.Errorf("%d values revealed, want 40", got)
			}
		},
		func() { must("ingest", event(5)); must("verdict", "f5", "true", "--note", "seen in a test") },
		func() { must("finding", "list", "--json"); must("audit", "verify") },
	}
	for range 2 {
		var group sync.WaitGroup
		for _, w := range workers {
			group.Go(w)
		}
		group.Wait()
	}
	for path, body := range originals {
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s is not as it was: %v", filepath.Base(path), err)
		}
	}
	if got := strings.Count(must("finding", "list", "--json"), "\n"); got != objects {
		t.Errorf("%d findings, want %d", got, objects)
	}
	t.Log(strings.TrimSpace(must("check")))
	must("audit", "verify")
}

// fix takes a finding in, fixes its object and puts it back.
func fix(t *testing.T, must func(...string) string, id, event string) {
	must("ingest", event)
	var p struct{ Plan, Status string }
	if err := json.Unmarshal([]byte(must("remedy", "plan", id, "--action", "mask", "--json")), &p); err != nil {
		t.Error(err)
		return
	}
	if err := json.Unmarshal([]byte(must("remedy", "apply", p.Plan, "--json")), &p); err != nil || p.Status != "applied" {
		t.Errorf("plan on %s: status %q, %v", id, p.Status, err)
	}
	must("remedy", "undo", p.Plan)
}

// iban is the nth IBAN of a bank that does not exist, with a check sum that holds.
func iban(n int) string {
	account := fmt.Sprintf("10000000%010d", n) // German bank codes do not begin with 1000000
	rest := 0
	for _, c := range account + "131400" { // D is 13, E is 14
		rest = (rest*10 + int(c-'0')) % 97
	}
	return fmt.Sprintf("DE%02d%s", 98-rest, account)
}
