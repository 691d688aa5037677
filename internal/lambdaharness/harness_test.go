package lambdaharness_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
)

// TestMain is the tests, or the function that they run: this binary itself, when it finds the Runtime API.
func TestMain(m *testing.M) {
	if api := os.Getenv("AWS_LAMBDA_RUNTIME_API"); api != "" {
		function("http://" + api + "/2018-06-01/runtime/")
	}
	os.Exit(m.Run())
}

// function does what its events say, by their first letters.
func function(api string) {
	switch os.Getenv("AT_INIT") {
	case "fail":
		post(api+"init/error", "synthetic reason")
		os.Exit(1)
	case "hang":
		select {}
	}
	for n := 0; ; n++ {
		resp, err := http.Get(api + "invocation/next")
		if err != nil {
			os.Exit(2)
		}
		event, err := io.ReadAll(resp.Body)
		if err != nil {
			os.Exit(2)
		}
		_ = resp.Body.Close() // only read from
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		answer := api + "invocation/" + id + "/response"
		var do struct {
			Do, Text, Endpoint string
			Size               int
		}
		if err := json.Unmarshal(event, &do); err != nil {
			do.Do = "echo"
		}
		switch do.Do {
		case "exit":
			os.Exit(0)
		case "hang":
			select {}
		case "fail":
			post(api+"invocation/"+id+"/error", do.Text)
		case "size":
			post(answer, strings.Repeat("x", do.Size))
		case "other":
			post(api+"invocation/other/response", "an answer to nobody")
			post(answer, "the answer")
		case "call":
			r, err := http.NewRequest(http.MethodPost, do.Endpoint, strings.NewReader("body"))
			if err != nil {
				os.Exit(2)
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/kms/aws4_request, SignedHeaders=host")
			r.Header.Set("X-Amz-Target", "TrentService.Decrypt")
			out, err := http.DefaultClient.Do(r)
			if err != nil {
				os.Exit(3)
			}
			_ = out.Body.Close() // not read
			post(answer, out.Status)
		case "say":
			fmt.Fprintln(os.Stderr, do.Text)
			post(answer, "said")
		default:
			deadline := resp.Header.Get("Lambda-Runtime-Deadline-Ms")
			post(answer, fmt.Sprintf("%d %s %s %t", n, os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), event, deadline != ""))
		}
	}
}

func post(url, body string) {
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		os.Exit(2)
	}
	_ = resp.Body.Close() // not read
}

func start(t *testing.T, env ...string) *lambdaharness.Function {
	f := &lambdaharness.Function{Name: "name", Binary: os.Args[0], Env: env}
	t.Cleanup(f.Kill)
	return f
}

func event(do string, more ...any) []byte {
	m := map[string]any{"do": do}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// TestInvoke: what a function may do, and what becomes of it.
func TestInvoke(t *testing.T) {
	f := start(t)
	f.Timeout = 20 * time.Second
	echo := func(want string) {
		t.Helper()
		out, err := f.Invoke([]byte(`"e"`))
		if err != nil || string(out) != want {
			t.Fatalf("%q, %v, not %q", out, err, want)
		}
	}
	echo(`0 name "e" true`)
	echo(`1 name "e" true`) // in the same process
	if out, err := f.Invoke(event("other")); err != nil || string(out) != "the answer" {
		t.Errorf("an answer to another invocation: %q, %v", out, err)
	}
	if _, err := f.Invoke(event("say", "text", "hello")); err != nil {
		t.Error(err)
	}
	// What is said comes by a pipe, which the answer may overtake.
	for end := time.Now().Add(20 * time.Second); !strings.Contains(f.Said(), "hello"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what it says is lost")
		}
	}
	if n := f.Starts(); n != 1 {
		t.Errorf("%d processes", n)
	}
	var failed *lambdaharness.FunctionError
	if _, err := f.Invoke(event("fail", "text", "because")); !errors.As(err, &failed) || string(failed.Payload) != "because" {
		t.Errorf("an error: %v", err)
	}
	echo(`0 name "e" true`) // what failed is not used again
	if _, err := f.Invoke(event("exit")); !errors.Is(err, lambdaharness.ErrExited) {
		t.Errorf("a process that ends: %v", err)
	}
	if out, err := f.Invoke(event("size", "size", 6<<20)); err != nil || len(out) != 6<<20 {
		t.Errorf("an answer of 6 MB: %d, %v", len(out), err)
	}
	if _, err := f.Invoke(event("size", "size", 6<<20+1)); !errors.As(err, &failed) || !strings.Contains(string(failed.Payload), "ResponseSizeTooLarge") {
		t.Errorf("an answer of more: %v", err)
	}
	f.Timeout = 200 * time.Millisecond
	echo(`0 name "e" true`)
	if _, err := f.Invoke(event("hang")); !errors.Is(err, lambdaharness.ErrTimedOut) {
		t.Errorf("at the deadline: %v", err)
	}
	f.Timeout = 20 * time.Second
	echo(`0 name "e" true`) // in another process: it was ended
	if n := f.Starts(); n != 5 || len(f.Inits()) != n {
		t.Errorf("%d processes, %d of them initialised", n, len(f.Inits()))
	}
}

func TestInit(t *testing.T) {
	for mode, said := range map[string]string{"fail": "synthetic reason", "hang": ""} {
		f := start(t, "AT_INIT="+mode)
		f.Init = 300 * time.Millisecond
		if mode == "fail" {
			f.Init = 20 * time.Second
		}
		if _, err := f.Invoke([]byte(`{}`)); !errors.Is(err, lambdaharness.ErrInit) || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// TestInvoker: functions by name and ARN, and the limit of what they are asked.
func TestInvoker(t *testing.T) {
	f := start(t)
	s := httptest.NewServer(lambdaharness.Invoker(f))
	defer s.Close()
	ask := func(name string, body []byte) (int, string, string) {
		t.Helper()
		resp, err := http.Post(s.URL+"/2015-03-31/functions/"+name+"/invocations", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("X-Amz-Function-Error"), string(b)
	}
	for _, name := range []string{"name", "arn:aws:lambda:eu-central-1:123456789012:function:name"} {
		if status, failed, out := ask(name, event("other")); status != 200 || failed != "" || out != "the answer" {
			t.Errorf("%s: %d %s", name, status, failed)
		}
	}
	if status, _, _ := ask("nobody", []byte(`{}`)); status != 404 {
		t.Errorf("no such function: %d", status)
	}
	if status, failed, out := ask("name", event("fail", "text", "because")); status != 200 || failed != "Unhandled" || out != "because" {
		t.Errorf("an error: %d %q %q", status, failed, out)
	}
	if status, failed, _ := ask("name", event("exit")); status != 200 || failed != "Unhandled" {
		t.Errorf("a process that ends: %d %q", status, failed)
	}
	if status, _, _ := ask("name", bytes.Repeat([]byte("x"), 6<<20+1)); status != 413 {
		t.Errorf("a question of more than 6 MB: %d", status)
	}
}

// TestFailures is the table of Lambda's developer guide, "Handling errors for an SQS event source in Lambda", success and failure conditions.
func TestFailures(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for answer, want := range map[string][]string{
		// A complete success: an empty list, a null list, an empty response, a null response.
		`{"batchItemFailures":[]}`:   nil,
		`{"batchItemFailures":null}`: nil,
		`{}`:                         nil,
		``:                           nil,
		`null`:                       nil,
		// A part.
		`{"batchItemFailures":[{"itemIdentifier":"b"}]}`:                            {"b"},
		`{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}`:     {"c", "a"},
		`{"batchItemFailures":[{"itemIdentifier":"b"}],"something":"that is more"}`: {"b"},
		// A complete failure: an answer that is no JSON of this form, an empty, null or unknown id, a key of another name.
		`not JSON`:                  ids,
		`["b"]`:                     ids,
		`{"batchItemFailures":"b"}`: ids,
		`{"batchItemFailures":[{"itemIdentifier":""}]}`:                        ids,
		`{"batchItemFailures":[{"itemIdentifier":null}]}`:                      ids,
		`{"batchItemFailures":[{"itemIdentifier":7}]}`:                         ids,
		`{"batchItemFailures":[{"item":"b"}]}`:                                 ids,
		`{"batchItemFailures":[{"itemIdentifier":"z"}]}`:                       ids,
		`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":""}]}`: ids,
	} {
		if got := lambdaharness.Failures([]byte(answer), ids, false); !slices.Equal(got, want) {
			t.Errorf("%s: %v come again, want %v", answer, got, want)
		}
		if got := lambdaharness.Failures([]byte(answer), ids, true); got != nil {
			t.Errorf("%s, whole batches: %v come again", answer, got)
		}
	}
}

// TestTap: a process is ended before a call has its effect, or after it; others are throttled or pass.
func TestTap(t *testing.T) {
	effects := 0
	tap := &lambdaharness.Tap{Services: map[string]http.Handler{"kms": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil && string(b) == "body" {
			effects++
		}
		w.WriteHeader(http.StatusTeapot)
	})}}
	f := start(t)
	call := event("call", "endpoint", tap.Listen(t, f))
	for _, x := range []struct {
		fate    lambdaharness.Fate
		answer  string
		err     error
		effects int
	}{
		{lambdaharness.Pass, "418 I'm a teapot", nil, 1},
		{lambdaharness.KillBefore, "", lambdaharness.ErrExited, 0},
		{lambdaharness.KillAfter, "", lambdaharness.ErrExited, 1},
		{lambdaharness.Throttle, "400 Bad Request", nil, 0},
	} {
		effects = 0
		tap.Decide(lambdaharness.At(1, x.fate))
		out, err := f.Invoke(call)
		if string(out) != x.answer || !errors.Is(err, x.err) || effects != x.effects {
			t.Errorf("fate %d: %q, %v, %d effects", x.fate, out, err, effects)
		}
		if all, met := tap.Calls(); len(all) != 1 || all[0].String() != "call 1: name asks kms for Decrypt" || (len(met) == 1) != (x.fate != lambdaharness.Pass) {
			t.Errorf("fate %d: %v, %v", x.fate, all, met)
		}
	}
	tap.Decide(lambdaharness.At(1, lambdaharness.Hang))
	if _, err := f.Invoke([]byte(`"warm"`)); err != nil {
		t.Fatal(err)
	}
	f.Timeout = 200 * time.Millisecond
	if _, err := f.Invoke(call); !errors.Is(err, lambdaharness.ErrTimedOut) {
		t.Errorf("a call without an answer: %v", err)
	}
}

// TestMapping: what a function is not done with is hidden until its time is over, and after three times among the dead letters.
func TestMapping(t *testing.T) {
	moto := lookalike.Moto(t)
	for _, v := range lookalike.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	c, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := sqs.NewFromConfig(c, func(o *sqs.Options) { o.BaseEndpoint = &moto })
	if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("mapping-dead")}); err != nil {
		t.Fatal(err)
	}
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("mapping"), Attributes: map[string]string{
		"VisibilityTimeout": "720", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:123456789012:mapping-dead","maxReceiveCount":"3"}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("body")}); err != nil {
		t.Fatal(err)
	}
	// The function of the tests answers with something that is no list of failures: the whole batch comes again.
	m := &lambdaharness.Mapping{SQS: client, URL: *q.QueueUrl, Function: start(t)}
	poll := func(want int) {
		t.Helper()
		if got, deleted, err := m.Poll(t.Context()); err != nil || got != want || deleted != 0 {
			t.Fatalf("%d messages, %d deleted, %v", got, deleted, err)
		}
	}
	lapse := func(want int) {
		t.Helper()
		if n, err := m.Lapse(t.Context()); err != nil || n != want {
			t.Fatalf("%d lapsed, %v", n, err)
		}
	}
	for range 3 {
		poll(1)
		poll(0) // it is hidden
		lapse(1)
	}
	poll(0)
	dead, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(*q.QueueUrl + "-dead")})
	if err != nil || len(dead.Messages) != 1 || *dead.Messages[0].Body != "body" {
		t.Fatalf("dead letters: %v", err)
	}
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("body")}); err != nil {
		t.Fatal(err)
	}
	m.WholeBatches = true
	if got, deleted, err := m.Poll(t.Context()); err != nil || got != 1 || deleted != 1 {
		t.Fatalf("whole batches: %d messages, %d deleted, %v", got, deleted, err)
	}
	lapse(0)
}
