package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/audit/audittest"
	envmem "coffer/envelope/mem"
	"coffer/identity"
	"coffer/internal/lookalike"
	"coffer/macie"
	"coffer/object"
	objmem "coffer/object/mem"
	"coffer/remedy"
	storemem "coffer/store/mem"
)

// inMemory returns a function with an installation in memory, in which a card is sealed, and what it logs.
func inMemory(t testing.TB, role app.Role) (*function, *said) {
	const bucket = "statements"
	objects, originals := objmem.New(), objmem.New()
	objects.CreateBucket(bucket)
	originals.CreateBucket(remedy.OriginalsBucket)
	objects.Foreign().Put(bucket, "cards.csv", []byte(cardList), object.Attrs{})
	files, key := audittest.Parts(t, t.TempDir())
	c := app.Config{Identity: identity.Config{Origin: origin, IAM: []identity.Signer{{
		ARN: "arn:aws:iam::" + lookalike.Account + ":role/engineer", Roles: []string{access.RoleEngineer},
		Scopes: []access.Action{"finding.list", "finding.read", "value.reveal"},
	}}}}
	a, err := app.Assemble(t.Context(), app.Adapters{
		Objects: objects, Originals: originals, DB: &storemem.DB{}, Headers: &storemem.DB{}, Keys: &envmem.Keys{}, Log: files, LogKey: key,
	}, c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	ask := access.Ask{
		Caller:  access.Caller{ID: "op-1", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}},
		Context: access.Context{Local: true, Request: "test"},
	}
	for d, err := range macie.Decode(t.Context(), bytes.NewReader(findingOn(t, bucket, "cards.csv", "finding-1", cardList, time.Now().Add(-time.Hour)))) {
		if err != nil {
			t.Fatal(err)
		}
		if res, err := a.Pipeline.TakeDocument(t.Context(), ask, d, coffer.OriginOperator, "test"); err != nil || res.Sealed != 1 {
			t.Fatalf("%s: %v", res.Reason, err)
		}
	}
	out := &said{}
	f := &function{role: role, config: c, authorizers: []string{"iam"}, secrets: []string{secret}, host: strings.TrimPrefix(origin, "https://"), logger: slog.New(slog.NewJSONHandler(out, nil))}
	q, err := a.OpenQueues(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := f.serve(a, q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	f.opened = &opened{App: a, server: server, queues: q}
	return f, out
}

// said is what a function logs.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *said) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *said) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// inLambda is the context of an invocation.
func inLambda(t testing.TB) context.Context {
	return lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{
		InvokedFunctionArn: "arn:aws:lambda:" + lookalike.Region + ":" + lookalike.Account + ":function:test"})
}

func marshal(t testing.TB, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryRequestIsLookedAt: a function URL has no authoriser of API Gateway before it, so that each request shows by itself that it came
// through one, or is refused. Nothing that who asks can write stands in for that.
func TestEveryRequestIsLookedAt(t *testing.T) {
	type (
		change = func(*events.APIGatewayV2HTTPRequest)
		told   = events.APIGatewayV2HTTPRequestContextAuthorizerDescription
		iam    = events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription
	)
	header := func(name, value string) change {
		return func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = nil
			r.Headers[name] = value
		}
	}
	by := func(arn string) change {
		return func(r *events.APIGatewayV2HTTPRequest) { r.RequestContext.Authorizer.IAM.UserARN = arn }
	}
	both, none := []string{"jwt", "iam"}, []string(nil)
	f, out := inMemory(t, app.API)
	for name, x := range map[string]struct {
		authorizers []string
		change      change
		status      int
	}{
		"as it should be":              {[]string{"iam"}, func(*events.APIGatewayV2HTTPRequest) {}, 200},
		"either authoriser":            {both, func(*events.APIGatewayV2HTTPRequest) {}, 200},
		"a URL that AWS authorises":    {none, func(*events.APIGatewayV2HTTPRequest) {}, 200},
		"nobody authorised it":         {[]string{"iam"}, func(r *events.APIGatewayV2HTTPRequest) { r.RequestContext.Authorizer = nil }, 401},
		"a URL for everybody":          {none, func(r *events.APIGatewayV2HTTPRequest) { r.RequestContext.Authorizer = nil }, 401},
		"an authoriser without a word": {both, func(r *events.APIGatewayV2HTTPRequest) { r.RequestContext.Authorizer = &told{} }, 401},
		"IAM that names nobody": {[]string{"iam"}, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer.IAM = &iam{AccountID: lookalike.Account}
		}, 401},
		"an authoriser of Lambda's": {[]string{"iam"}, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = &told{Lambda: map[string]any{"iam": map[string]any{"userArn": fixer}}}
		}, 401},
		"a token's claims for a signature": {[]string{"iam"}, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = &told{JWT: &events.APIGatewayV2HTTPRequestContextAuthorizerJWTDescription{Claims: map[string]string{"userArn": fixer, "sub": fixer}}}
		}, 401},
		"claims, and no token": {both, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = &told{JWT: &events.APIGatewayV2HTTPRequestContextAuthorizerJWTDescription{Claims: map[string]string{"sub": "alice"}}}
		}, 401},
		"a signature where tokens are asked for": {[]string{"jwt"}, func(*events.APIGatewayV2HTTPRequest) {}, 401},
		"another account":                        {none, by("arn:aws:sts::999999999999:assumed-role/engineer/alice"), 401},
		"another partition":                      {none, by("arn:aws-cn:sts::" + lookalike.Account + ":assumed-role/engineer/alice"), 401},
		"a user of the role's name":              {none, by("arn:aws:iam::" + lookalike.Account + ":user/engineer"), 401},
		"a role with the name in its session":    {none, by("arn:aws:sts::" + lookalike.Account + ":assumed-role/other/engineer"), 401},
		"the root of the account":                {none, by("arn:aws:iam::" + lookalike.Account + ":root"), 401},
		"no ARN":                                 {none, by("engineer"), 401},
		"header: the ARN":                        {none, header("x-amzn-iam-user-arn", fixer), 401},
		"header: an authoriser":                  {none, header("requestcontext.authorizer.iam.userarn", fixer), 401},
		"header: a signature":                    {none, header("authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-central-1/lambda/aws4_request, SignedHeaders=host, Signature=00"), 401},
		"header: a bearer":                       {none, header("authorization", "Bearer "+fixer), 401},
		"header: a user":                         {none, header("x-forwarded-user", "alice"), 401},
		"header: this machine":                   {none, header("x-forwarded-for", "127.0.0.1"), 401},
		"a cookie": {none, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = nil
			r.Cookies = []string{"__Host-coffer=x"}
		}, 401},
		"no secret":            {none, func(r *events.APIGatewayV2HTTPRequest) { delete(r.Headers, "x-coffer-origin") }, 403},
		"part of the secret":   {none, func(r *events.APIGatewayV2HTTPRequest) { r.Headers["x-coffer-origin"] = secret[:len(secret)-1] }, 403},
		"secrets by the dozen": {none, func(r *events.APIGatewayV2HTTPRequest) { r.Headers["x-coffer-origin"] = "guess," + secret }, 403},
		"the secret in another place": {none, func(r *events.APIGatewayV2HTTPRequest) {
			delete(r.Headers, "x-coffer-origin")
			r.QueryStringParameters = map[string]string{"x-coffer-origin": secret}
			r.RawQueryString = "x-coffer-origin=" + secret
		}, 403},
		"the host of the URL itself": {none, func(r *events.APIGatewayV2HTTPRequest) { r.Headers["host"] = "url-id.lambda-url.eu-central-1.on.aws" }, 200},
		"half of base64":             {none, func(r *events.APIGatewayV2HTTPRequest) { r.Body, r.IsBase64Encoded = "%%%", true }, 400},
		"an escape of a path":        {none, func(r *events.APIGatewayV2HTTPRequest) { r.RawPath = "/v1/%zz" }, 404},
	} {
		t.Run(name, func(t *testing.T) {
			f.authorizers = x.authorizers
			r := request("GET", "/v1/findings", nil)
			x.change(&r)
			answer, err := f.Invoke(inLambda(t), marshal(t, r))
			var got events.APIGatewayV2HTTPResponse
			if err != nil || json.Unmarshal(answer, &got) != nil || got.StatusCode != x.status {
				t.Errorf("%d, %v, want %d", got.StatusCode, err, x.status)
			}
			if x.status != 200 && strings.Contains(got.Body, "finding-1") {
				t.Error("a refusal names a finding")
			}
			if strings.Contains(out.String(), secret) || strings.Contains(string(answer), secret) {
				t.Error("the secret is told")
			}
		})
	}
	f.secrets = []string{"synthetic-secret-of-tomorrow", secret} // while it is changed
	for _, s := range f.secrets {
		r := request("GET", "/v1/findings", nil)
		r.Headers["x-coffer-origin"] = s
		var got events.APIGatewayV2HTTPResponse
		if answer, err := f.Invoke(inLambda(t), marshal(t, r)); err != nil || json.Unmarshal(answer, &got) != nil || got.StatusCode != http.StatusOK {
			t.Errorf("one of two secrets: %d, %v", got.StatusCode, err)
		}
	}
}

// TestHostileMessages: whoever may write into a queue gets nothing done and nothing told. Each message leaves the queue at once, also among
// thousands, and the logs hold no name of an object or a bucket, whatever stands in the message.
func TestHostileMessages(t *testing.T) {
	const key, bucket = "person-4711\nlevel=ERROR.csv", "somebody-elses"
	of := func(change func(*coffer.Finding)) string {
		body := findingOn(t, bucket, key, "finding-9", cardList, time.Now().Add(-time.Hour))
		for d, err := range macie.Decode(t.Context(), bytes.NewReader(body)) {
			if err != nil {
				t.Fatal(err)
			}
			change(d.Finding)
			body = macie.Event(*d.Finding)
		}
		return string(body)
	}
	event := of(func(*coffer.Finding) {})
	messages := map[string]string{
		"a bucket that is not read": event,
		"another account":           of(func(f *coffer.Finding) { f.AccountID = "999999999999" }),
		"another Region":            of(func(f *coffer.Finding) { f.Region = "us-gov-west-1" }),
		"another partition":         of(func(f *coffer.Finding) { f.Partition = "aws-cn" }),
		"an id with a line break":   of(func(f *coffer.Finding) { f.ID = "finding\n9" }),
		"an id of 10,000":           of(func(f *coffer.Finding) { f.ID = strings.Repeat("9", 10_000) }),
		"another source":            strings.Replace(event, `"source":"aws.macie"`, `"source":"my.macie"`, 1),
		"its members twice":         strings.Replace(event, `"source":"aws.macie"`, `"source":"my.macie","source":"aws.macie"`, 1),
		"in another case":           strings.Replace(event, `"account":`, `"Account":"`+lookalike.Account+`","account":`, 1),
		"256 KB":                    strings.Replace(event, `"version"`, `"more":"`+strings.Repeat(key[:6], 256<<10/6)+`","version"`, 1),
		"a hundred thousand deep":   strings.Repeat(`{"detail":[`, 100_000),
		"half of it":                event[:len(event)/2],
		"a bare finding":            `{"id":"finding-9","resourcesAffected":{"s3Bucket":{"name":"` + bucket + `"},"s3Object":{"key":"` + key[:11] + `"}}}`,
		"no text":                   "\x00\xff\xfe" + key + bucket,
		"a job that never was":      `{"coffer.job":"job-00000000000000000000000000"}`,
		"a job with a path":         `{"coffer.job":"job-../../` + bucket + `"}`,
		"a job and an event":        `{"coffer.job":"job-0000",` + event[1:],
		"a question":                `{"question":"{\"look\":{\"at\":\"stat\"}}"}`,
	}
	names := slices.Sorted(maps.Keys(messages))
	for _, role := range []app.Role{app.Intake, app.Remedy, app.API} {
		f, out := inMemory(t, role)
		invoke := func(bodies ...string) (again int) {
			answer, err := f.Invoke(inLambda(t), batchOf(t, bodies...))
			var got events.SQSEventResponse
			if err != nil || json.Unmarshal(answer, &got) != nil {
				t.Fatalf("%s: %v", role, err)
			}
			return len(got.BatchItemFailures)
		}
		var all []string
		for _, name := range names {
			if n := invoke(messages[name]); n != 0 {
				t.Errorf("%s: %s comes again", role, name)
			}
			if !strings.Contains(name, "256") && !strings.Contains(name, "deep") {
				all = append(all, messages[name])
			}
		}
		if n := invoke(slices.Repeat(all, 100)...); n != 0 { // far more than the ten that Lambda hands over
			t.Errorf("%s: %d of a batch come again", role, n)
		}
		for _, secret := range []string{card, "person-4711", bucket} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: its log holds what stood in a message", role)
			}
		}
	}
}

// FuzzInvoke hands a function whatever comes: it does not panic, shows nobody a value, and says of a batch only what was in it.
func FuzzInvoke(f *testing.F) {
	url := request("POST", "/v1/findings/finding-1/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})
	url.RequestContext.Authorizer = nil
	other := request("GET", "/v1/findings", nil)
	other.RequestContext.Authorizer.IAM.UserARN = "arn:aws:sts::999999999999:assumed-role/engineer/alice"
	encoded := request("POST", "/v1/plans", nil)
	encoded.Body, encoded.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(`{"findings":["finding-1"],"action":"delete"}`)), true
	encoded.RequestContext.Authorizer = nil
	event := findingOn(f, "statements", "cards.csv", "finding-2", cardList, time.Now().Add(-time.Hour))
	for _, seed := range [][]byte{
		nil, []byte(`null`), []byte(`{}`), []byte(`[]`), []byte(`"x"`), []byte(`{"Records":null}`), []byte(`{"Records":[{}]}`),
		[]byte(`{"Records":[{"eventSource":"aws:sqs","messageId":"a","body":"{"}]}`), []byte(`{"Records":[{"eventSource":"aws:sqs"},{"messageId":7}]}`),
		[]byte(`{"question":"{\"verify\":{\"set\":{},\"probes\":[]}}","at":"2026-03-02T10:00:00Z","mac":"AAAA"}`), []byte(`{"question":"{\"look\":{}}"}`), []byte(`{"question":7}`),
		[]byte(`{"certify":{"ask":{"caller":{"id":"op-1","kind":"operator","roles":["operator"]},"context":{"local":true}},"plan":"p"}}`),
		[]byte(`{"version":"1.0","requestContext":{"http":{}}}`), []byte(`{"version":"2.0","requestContext":{"http":{"method":"\n","path":"//"}},"rawPath":"//x%2f..","rawQueryString":"%"}`),
		marshal(f, url), marshal(f, other), marshal(f, encoded), batchOf(f, string(event), `{"coffer.job":"job-0000"}`, "{not JSON", ""),
	} {
		for role := range byte(4) {
			f.Add(role, seed)
		}
	}
	roles := []app.Role{app.Intake, app.API, app.Remedy, app.Schedule}
	functions := map[app.Role]*function{}
	logs := map[app.Role]*said{}
	for _, r := range roles {
		functions[r], logs[r] = inMemory(f, r)
	}
	f.Fuzz(func(t *testing.T, role byte, payload []byte) {
		fn := functions[roles[int(role)%len(roles)]]
		ctx, cancel := context.WithTimeout(inLambda(t), 20*time.Second)
		defer cancel()
		answer, err := fn.Invoke(ctx, payload)
		if errors.Is(err, errPanicked) || strings.Contains(logs[fn.role].String(), "panicked") {
			t.Fatalf("%s panicked: %s", fn.role, logs[fn.role])
		}
		text := string(answer)
		if err != nil {
			text = err.Error()
		}
		if strings.Contains(text, card) || strings.Contains(logs[fn.role].String(), card) {
			t.Fatalf("%s shows the value", fn.role)
		}
		if err != nil {
			return
		}
		var batch events.SQSEvent
		if kind, err := kindOf(payload); err != nil || kind != fromQueue || json.Unmarshal(payload, &batch) != nil {
			return
		}
		var ids []string
		for _, m := range batch.Records {
			ids = append(ids, m.MessageId)
		}
		var out events.SQSEventResponse
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Fatalf("%s answers a batch with something else", fn.role)
		}
		for _, x := range out.BatchItemFailures {
			if !slices.Contains(ids, x.ItemIdentifier) {
				t.Fatalf("%s names a message that was not in the batch", fn.role)
			}
		}
	})
}

// TestClock: what is shipped has no clock that can be moved from outside.
func TestClock(t *testing.T) {
	const name = "COFFER_HARNESS_CLOCK"
	for _, x := range []struct {
		p    *program
		want bool
	}{{&movable, true}, {&shipped, false}} {
		b, err := os.ReadFile(x.p.built(t))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(name)) != x.want {
			t.Errorf("built with %v: that it reads %s is %t", x.p.tags, name, !x.want)
		}
	}
	for _, file := range []string{"../../deploy/build", "../../deploy/template.yaml", "../../test"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("harness ")) || bytes.Contains(b, []byte(name)) {
			t.Errorf("%s knows of it", file)
		}
	}
}
