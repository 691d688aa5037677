// Package lookalike starts the servers that play the part of AWS in tests: versitygw for S3, DynamoDB Local for the tables, moto
// for KMS and as a second S3. The script "install" beside it, which the test command runs, fetches them into a cache folder
// outside the repository.
//
// Each server is started once in a test binary, on first use, on a free port of the loopback address, and keeps what it holds in
// a folder or in memory that goes with it; a test makes buckets, tables and keys of its own. Where a server is not installed its
// tests are skipped, except in continuous integration (CI=true), where they fail.
package lookalike

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The credentials and the Region that every server accepts.
const (
	AccessKey = "COFFERLOOKALIKE" // of moto's account, which it would read out of one that looks like a real key
	SecretKey = "lookalike-secret-that-opens-nothing"
	Region    = "eu-central-1"
	Account   = "123456789012" // moto's
)

// The versions are those of the script "install".
const (
	versitygwDir = "versitygw-v1.8.0"
	dynamodbDir  = "dynamodb-local-3.1.0"
	pythonDir    = "moto-5.2.5-awscli-1.46.0"
	strangerDir  = "schemathesis-4.32.5"
	cfnlintDir   = "cfn-lint-1.58.0"
)

// startTimeout is how long a server may take to answer. Java on a busy machine needs most of it.
const startTimeout = 2 * time.Minute

type server struct {
	once sync.Once
	url  string
	err  error
}

var versitygw, dynamodb, moto server

// S3 returns the endpoint of versitygw. Use path-style addresses.
func S3(t testing.TB) string {
	return versitygw.get(t, versitygwDir, func(dir, work, port string) (*exec.Cmd, error) {
		for _, d := range []string{"data", "versions", "sidecar", "iam"} {
			if err := os.Mkdir(filepath.Join(work, d), 0o700); err != nil {
				return nil, err
			}
		}
		// The sidecar keeps metadata in files, so that it works on file systems without extended attributes.
		cmd := command(work, filepath.Join(dir, "versitygw"), "--port", "127.0.0.1:"+port, "--access", AccessKey, "--secret", SecretKey,
			"--region", Region, "--iam-dir", filepath.Join(work, "iam"), "--quiet",
			"posix", "--versioning-dir", filepath.Join(work, "versions"), "--sidecar", filepath.Join(work, "sidecar"), filepath.Join(work, "data"))
		return cmd, nil
	})
}

// DynamoDB returns the endpoint of DynamoDB Local, in memory.
func DynamoDB(t testing.TB) string {
	return dynamodb.get(t, dynamodbDir, func(dir, work, port string) (*exec.Cmd, error) {
		lib := filepath.Join(dir, "lib")
		return command(work, "java", "-Djava.library.path="+lib, "-DDDB_LOCAL_TELEMETRY=0", "-cp", filepath.Join(lib, "*"),
			"software.amazon.dynamodb.services.local.main.ServerRunner", "-inMemory", "-sharedDb", "-port", port), nil
	})
}

// Moto returns the endpoint of moto, which answers for every service it knows.
func Moto(t testing.TB) string {
	return moto.get(t, pythonDir, func(dir, work, port string) (*exec.Cmd, error) {
		return command(work, filepath.Join(dir, "venv", "bin", "moto_server"), "-H", "127.0.0.1", "-p", port), nil
	})
}

// AWS runs the aws command-line client against an endpoint and returns what it prints, as JSON. It fails the test when the client
// fails.
func AWS(t testing.TB, endpoint string, args ...string) []byte {
	t.Helper()
	//nolint:gosec // what a test asks for
	cmd := exec.CommandContext(t.Context(), filepath.Join(installed(t, pythonDir), "venv", "bin", "aws"),
		append([]string{"--endpoint-url", endpoint, "--output", "json"}, args...)...)
	cmd.Env = append(environ(), Env()...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// Schemathesis returns the command that asks an API whatever its OpenAPI document allows, and much that it does not.
// It is to be followed by its arguments. It imports one of its parts ahead of time: where that is first needed deep in a recursion, Python 3.11
// can fail to compile it (SystemError: AST constructor recursion depth mismatch), which would end the run as an error of the API.
func Schemathesis(t testing.TB) []string {
	t.Helper()
	return []string{
		filepath.Join(installed(t, strangerDir), "venv", "bin", "python3"), "-c",
		"import schemathesis.python.asgi; from schemathesis.cli import schemathesis; schemathesis(prog_name='schemathesis')",
	}
}

// CfnLint has cfn-lint read a CloudFormation template. It fails the test when that finds an error; warnings are shown.
func CfnLint(t testing.TB, file string) {
	t.Helper()
	//nolint:gosec // what a test asks for
	cmd := exec.CommandContext(t.Context(), filepath.Join(installed(t, cfnlintDir), "venv", "bin", "cfn-lint"),
		"--non-zero-exit-code", "error", "--format", "parseable", "--", file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("cfn-lint: %v: %s", err, out)
	}
	if len(out) > 0 {
		t.Logf("cfn-lint: %s", out)
	}
}

// Env is the environment in which an AWS client uses the credentials and Region of the servers and no others.
func Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_REGION=" + Region, "AWS_DEFAULT_REGION=" + Region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// environ is the environment without a profile: to Python's clients an empty one is one that is not found.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_PROFILE=") || strings.HasPrefix(v, "AWS_SESSION_TOKEN=")
	})
}

// command runs the program so that it ends with this process, however that ends: a shell beside it waits for the end of its
// standard input, which the system closes, and then kills it. The program's folder goes with it.
func command(work, name string, args ...string) *exec.Cmd {
	const script = `exec 3<&0; "$@" </dev/null & pid=$!
exec >/dev/null 2>&1
(cat <&3; kill -9 $pid) &
wait $pid; rm -rf "$WORK"`
	//nolint:gosec // the servers above
	cmd := exec.Command("sh", append([]string{"-c", script, "sh", name}, args...)...)
	cmd.Dir, cmd.Env = work, append(environ(), "WORK="+work)
	return cmd
}

// installed returns the folder of a server, and skips or fails the test when there is none.
func installed(t testing.TB, name string) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	dir := filepath.Join(cache, "coffer", name)
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil { //nolint:gosec // the developer's own cache
		const how = "is not installed; internal/lookalike/install does it"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s %s", name, how)
		}
		t.Skipf("%s %s", name, how)
	}
	return dir
}

func (s *server) get(t testing.TB, name string, prepare func(dir, work, port string) (*exec.Cmd, error)) string {
	t.Helper()
	dir := installed(t, name)
	s.once.Do(func() { s.url, s.err = start(name, dir, prepare) })
	if s.err != nil {
		t.Fatalf("%s: %v", name, s.err)
	}
	return s.url
}

func start(name, dir string, prepare func(dir, work, port string) (*exec.Cmd, error)) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp("", "coffer-"+name+"-")
	if err != nil {
		return "", err
	}
	cmd, err := prepare(dir, work, port)
	if err != nil {
		return "", err
	}
	// The pipe stays open as long as this process lives; nothing is ever written to it.
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := sync.OnceValue(cmd.Wait)
	died := newSignal(func() { _ = ended() })
	url := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-died:
			return "", fmt.Errorf("%s ended: %s", name, said)
		default:
		}
		// Any answer will do: the servers answer an unsigned request with an error of their own.
		resp, err := http.Get(url + "/")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // only read from
			_ = resp.Body.Close()
			return url, nil
		}
	}
	return "", fmt.Errorf("%s does not answer after %s: %s", name, startTimeout, said)
}

func newSignal(wait func()) <-chan struct{} {
	c := make(chan struct{})
	go func() { wait(); close(c) }()
	return c
}

// tail keeps the last of what a server says.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = append(w.end, b...)
	if n := len(w.end) - 4096; n > 0 {
		w.end = append([]byte(nil), w.end[n:]...)
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.end)
}
