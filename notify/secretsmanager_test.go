package notify_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"coffer"
	"coffer/audit"
	"coffer/internal/lookalike"
	"coffer/notify"
)

// safe stands before moto's Secrets Manager and can fail in its stead.
type safe struct {
	http.Handler
	mu     sync.Mutex // guards the rest
	asked  int
	status int    // of the answer in its stead; 0: moto answers
	code   string // of the error in it; empty: the connection is cut
}

func (s *safe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	status, code := s.status, s.code
	s.mu.Unlock()
	switch {
	case status == 0:
		s.Handler.ServeHTTP(w, r)
	case code == "":
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"__type":"`+code+`","Message":"about private-path"}`) // who asked may have gone
	}
}

func (s *safe) answers(status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.code = status, code
}

func (s *safe) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked
	s.asked = 0
	return n
}

// secretly is a world with a target whose address, secrets and certificate are in Secrets Manager: by name, by ARN, and as bytes.
func secretly(t *testing.T) (w *world, in *inbox, front *safe, client *secretsmanager.Client, name string) {
	t.Helper()
	moto := lookalike.Moto(t)
	to, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	front = &safe{Handler: httputil.NewSingleHostReverseProxy(to)}
	srv := httptest.NewServer(front)
	t.Cleanup(srv.Close)
	c, _ := awsConfig(t.Context(), notify.Target{})
	client = secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) { o.BaseEndpoint = &moto })
	in, name = newInbox(t), t.Name()
	put := func(part string, text *string, bytes []byte) string {
		out, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name + part), SecretString: text, SecretBinary: bytes})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ARN
	}
	x := in.target("soc", notify.Webhook)
	put("/url", aws.String(in.srv.URL+"/private-path\n"), nil)
	x.URL, x.URLFile, x.Endpoint = "", "secretsmanager:"+name+"/url", srv.URL
	x.SecretFile = "secretsmanager:" + put("/signing", aws.String(secrets[0]), nil)
	x.CAFile = "secretsmanager:" + put("/ca", nil, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: in.srv.Certificate().Raw}))
	w = newWorld(t, x)
	w.conf.AWS = func(ctx context.Context, x notify.Target) (aws.Config, error) {
		if x.Region != lookalike.Region { // which the ARNs say
			t.Errorf("Region %q", x.Region)
		}
		return awsConfig(ctx, x)
	}
	w.process = w.start("p2")
	return w, in, front, client, name
}

// TestSecretsManager delivers with an address, a secret and a certificate from moto's Secrets Manager: one question for each in five minutes,
// a new secret from then on, and nothing of them in the store, the log or an error. A secret that is not given out any more is not used.
func TestSecretsManager(t *testing.T) {
	w, in, front, client, name := secretly(t)
	w.judged(3)
	w.step()
	if got, asked := len(in.took()), front.questions(); got != 3 || asked != 3 || !in.signedBy(secrets[0]) {
		t.Fatalf("%d messages, %d questions: %+v", got, asked, w.status())
	}
	both := strings.Join(secrets, "\n") + "\n"
	if _, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(name + "/signing"), SecretString: &both}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []struct {
		pass    time.Duration
		asked   int
		secrets []string
	}{{5*time.Minute - time.Second, 0, secrets[:1]}, {time.Second, 3, secrets}, {5*time.Minute - time.Second, 0, secrets}, {-time.Hour, 3, secrets}} {
		w.pass(after.pass)
		w.judged(1)
		w.step()
		if asked := front.questions(); asked != after.asked || !in.signedBy(after.secrets...) {
			t.Errorf("after %s: %d questions, want %d; or other secrets signed", after.pass, asked, after.asked)
		}
	}
	if got := len(in.took()); got != 7 {
		t.Errorf("%d messages", got)
	}
	if _, err := client.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String(name + "/signing")}); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Minute)
	w.judged(1)
	w.step()
	if s := w.status(); s.State != "failing" || !strings.Contains(s.Error, "secretFile: GetSecretValue: ") || len(in.took()) != 7 {
		t.Errorf("with a deleted secret: %+v", s)
	}
	w.nothingKept(append([]string{in.srv.URL}, secrets...)...)
}

// TestSecretsManagerIsAway has one that fails in every way: the last secrets are used for an hour and it is asked at most every thirty
// seconds, unless it says no.
func TestSecretsManagerIsAway(t *testing.T) {
	w, in, front, _, _ := secretly(t)
	// send has one message go, and says whether it went and how often there was a question.
	send := func() (bool, int) {
		t.Helper()
		before := len(in.took())
		w.judged(1)
		w.step()
		return len(in.took()) > before, front.questions()
	}
	back := func() {
		t.Helper()
		front.answers(0, "")
		w.pass(time.Hour) // at most which a target waits
		if went, asked := send(); !went || asked != 3 {
			t.Fatalf("it is back: %v, %d questions: %+v", went, asked, w.status())
		}
	}
	for _, bad := range []struct {
		status int
		code   string
	}{{500, "InternalServiceError"}, {503, "ServiceUnavailable"}, {429, "SlowDown"}, {400, "ThrottlingException"}, {1, ""}} {
		back()
		front.answers(bad.status, bad.code)
		w.pass(5 * time.Minute)
		if went, asked := send(); !went || asked != 3 {
			t.Errorf("%v: %v, %d questions: %+v", bad, went, asked, w.status())
		}
		w.pass(29 * time.Second)
		if went, asked := send(); !went || asked != 0 {
			t.Errorf("%v, at once again: %v, %d questions", bad, went, asked)
		}
		w.pass(time.Second)
		if went, asked := send(); !went || asked != 3 {
			t.Errorf("%v, after thirty seconds: %v, %d questions", bad, went, asked)
		}
		w.pass(time.Hour - 5*time.Minute - 31*time.Second)
		if went, _ := send(); !went {
			t.Errorf("%v: the last secret was used for less than an hour: %+v", bad, w.status())
		}
		w.pass(time.Second)
		if went, _ := send(); went || w.status().State != "failing" {
			t.Errorf("%v: a secret was used for more than an hour", bad)
		}
		w.nothingKept(append([]string{in.srv.URL}, secrets...)...)
	}
	for _, code := range []string{"AccessDeniedException", "ResourceNotFoundException", "InvalidRequestException", "DecryptionFailure"} {
		back()
		front.answers(http.StatusBadRequest, code)
		w.pass(5 * time.Minute)
		if went, _ := send(); went || !strings.Contains(w.status().Error, code) {
			t.Errorf("%s: a secret was used that is not given out: %+v", code, w.status())
		}
		// Nor is it when there is no answer afterwards.
		front.answers(500, "InternalServiceError")
		w.pass(time.Hour / 2)
		if went, _ := send(); went {
			t.Errorf("%s: a secret was used that was not given out", code)
		}
	}
	w.nothingKept(append([]string{in.srv.URL}, secrets...)...)
}

// nothingKept looks for texts in the store, the log and what is said of the target.
func (w *world) nothingKept(texts ...string) {
	w.Helper()
	var all bytes.Buffer
	for it, err := range w.db.Scan(w.Context(), 0, 1) {
		if err != nil {
			w.Fatal(err)
		}
		all.Write(it.Value)
	}
	for e, err := range w.log.Entries(w.Context(), audit.Filter{}) {
		if err != nil {
			w.Fatal(err)
		}
		for _, v := range e.Detail {
			all.WriteString(v)
		}
	}
	all.WriteString(w.status().Error)
	if all.Len() < 100 {
		w.Error("nothing was looked through")
	}
	for _, text := range append(texts, "private-path") {
		if bytes.Contains(all.Bytes(), []byte(text)) {
			w.Errorf("one of the %d texts is kept", len(texts)+1)
		}
	}
}

// TestSecretsInFiles opens no AWS for a target whose secrets are in files.
func TestSecretsInFiles(t *testing.T) {
	in := newInbox(t)
	w := newWorld(t, in.target("soc", notify.Webhook))
	in.trusted(w.home)
	w.conf.AWS = func(context.Context, notify.Target) (aws.Config, error) {
		t.Error("AWS was opened")
		return aws.Config{}, coffer.ErrUnavailable
	}
	w.process = w.start("p2")
	w.judged(1)
	if w.step(); len(in.took()) != 1 {
		t.Errorf("%+v", w.status())
	}
}
