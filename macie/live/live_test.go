package live_test

import (
	"context"
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
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"coffer"
	"coffer/internal/awsfake/maciefake"
	"coffer/internal/fault"
	"coffer/internal/lookalike"
	"coffer/macie"
	"coffer/macie/live"
)

var (
	start = time.Date(2026, 7, 15, 0, 0, 0, 0, time.UTC)
	all   = macie.Query{Since: start, Until: start.Add(30 * 24 * time.Hour)}
)

// open returns the adapter on a transport, without pauses between attempts.
func open(t testing.TB, rt http.RoundTripper) *live.Macie {
	t.Helper()
	m, err := live.Open(live.Config{
		AWS: aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIACOFFERMACIE", "secret", ""),
			HTTPClient: &http.Client{Transport: rt}},
		Backoff: retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil }), Unpaced: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// put makes n findings, one a second.
func put(f *maciefake.Fake, n int) []string {
	ids := make([]string, n)
	for i := range n {
		ids[i] = fmt.Sprintf("%032x", i+1)
		f.Put(macie.Event(coffer.Finding{
			ID: ids[i], AccountID: "111122223333", Region: "eu-central-1", Type: "SensitiveData:S3Object/Financial", Severity: coffer.SeverityHigh,
			CreatedAt: start.Add(time.Duration(i) * time.Second), Object: coffer.Object{Bucket: "moontrust-statements", Key: fmt.Sprintf("f/%d.csv", i), ETag: "e"},
			Size: 10, Status: "COMPLETE", MIMEType: "text/csv",
			Detections:  []coffer.Detection{{Type: coffer.BankAccountNumber, Category: "FINANCIAL_INFORMATION", Count: 1}},
			Occurrences: []coffer.Occurrence{{N: 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2}, Source: coffer.FromFinding}},
		}))
	}
	return ids
}

// list collects a list.
func list(t testing.TB, m macie.API, q macie.Query) (ids []string, pages int) {
	t.Helper()
	for page, err := range m.List(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, page...)
		pages++
	}
	return ids, pages
}

// TestPages: every number of findings around the edges of a page comes once, in order, in as few calls as that takes.
func TestPages(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 51, 99, 100, 101, 150} {
		f := maciefake.New()
		want := put(f, n)
		got, pages := list(t, open(t, f.Transport()), all)
		if !slices.Equal(got, want) || pages != (n+49)/50 || f.Calls("ListFindings") != max(1, (n+49)/50) {
			t.Errorf("%d findings: %d in %d pages with %d calls", n, len(got), pages, f.Calls("ListFindings"))
		}
	}
}

// TestListLimit: a list as long as Macie's lists are at most is not taken for whole.
func TestListLimit(t *testing.T) {
	page := `"` + strings.Join(slices.Repeat([]string{"a"}, macie.MaxIDs), `","`) + `"`
	for _, total := range []int{macie.MaxListed - macie.MaxIDs, macie.MaxListed, macie.MaxListed + macie.MaxIDs} {
		n := 0
		m := open(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close() // a request from memory
			n += macie.MaxIDs
			token := fmt.Sprintf(`,"nextToken":"%d"`, n)
			if n == total {
				token = ""
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
				Body: io.NopCloser(strings.NewReader(`{"findingIds":[` + page + `]` + token + `}`))}, nil
		}))
		listed := 0
		var last error
		for ids, err := range m.List(t.Context(), all) {
			listed, last = listed+len(ids), err
		}
		if want := min(total, macie.MaxListed); listed != want || errors.Is(last, coffer.ErrLimit) != (want == macie.MaxListed) {
			t.Errorf("%d findings: %d listed, then %v", total, listed, last)
		}
	}
}

// TestPolite: ten thousand findings are read from a Macie that allows ten calls a second without one that it refuses, and two thousand from
// one that allows three, in about the time that this takes.
func TestPolite(t *testing.T) {
	for rate, n := range map[float64]int{10: 10_000, 3: 2_000} {
		most := 2 * time.Duration(float64(2*n/macie.MaxIDs)/rate) * time.Second
		synctest.Test(t, func(t *testing.T) {
			f := maciefake.New()
			put(f, n)
			f.Limit(rate, rate)
			m, err := live.Open(live.Config{AWS: aws.Config{Region: "eu-central-1", HTTPClient: &http.Client{Transport: f.Transport()},
				Credentials: credentials.NewStaticCredentialsProvider("AKIACOFFERMACIE", "secret", "")}})
			if err != nil {
				t.Fatal(err)
			}
			began, read := time.Now(), 0
			for ids, err := range m.List(t.Context(), all) {
				if err != nil {
					t.Fatal(err)
				}
				docs, err := m.Findings(t.Context(), ids)
				if err != nil {
					t.Fatal(err)
				}
				read += len(docs)
			}
			calls := f.Calls("ListFindings") + f.Calls("GetFindings")
			t.Logf("%v calls a second: %d findings in %d calls, %d of them throttled, %v", rate, read, calls, f.Throttled(), time.Since(began))
			if read != n || calls != 2*n/macie.MaxIDs+f.Throttled() || time.Since(began) > most || rate == 10 && f.Throttled() > 0 {
				t.Errorf("%v calls a second: %d findings, %d calls, %d throttled, %v", rate, read, calls, f.Throttled(), time.Since(began))
			}
		})
	}
}

// TestWindow: a list begins with Since and ends before Until, has what is archived only when asked, and no policy findings.
func TestWindow(t *testing.T) {
	f := maciefake.New()
	ids := put(f, 6)
	f.Change(ids[2], map[string]any{"archived": true})
	f.Change(ids[3], map[string]any{"category": "POLICY"})
	f.Change(ids[4], map[string]any{"sample": true})
	m := open(t, f.Transport())
	q := macie.Query{Since: start.Add(time.Second), Until: start.Add(5 * time.Second)}
	if got, _ := list(t, m, q); !slices.Equal(got, []string{ids[1], ids[4]}) {
		t.Errorf("listed %v", got)
	}
	q.Archived = true
	if got, _ := list(t, m, q); !slices.Equal(got, ids[2:3]) {
		t.Errorf("archived: %v", got)
	}
}

// TestFindings: what comes is named by id in whatever order it came; kinds are told apart; what Macie does not have is missing.
func TestFindings(t *testing.T) {
	f := maciefake.New()
	ids := put(f, 50)
	f.Expire(ids[7])
	f.Forget(ids[8])
	f.Change(ids[9], map[string]any{"archived": true, "updatedAt": "2026-07-16T00:00:00Z"})
	f.Change(ids[10], map[string]any{"sample": true})
	f.Change(ids[11], map[string]any{"classificationDetails": nil})
	m := open(t, f.Transport())
	got, err := m.Findings(t.Context(), ids)
	if err != nil || len(got) != 48 {
		t.Fatalf("%d findings, %v", len(got), err)
	}
	for i, id := range ids {
		d, ok := got[id]
		want := macie.KindFinding
		switch i {
		case 7, 8:
			if ok {
				t.Errorf("finding %d is there", i)
			}
			continue
		case 9:
			want = macie.KindArchived
		case 10:
			want = macie.KindSample
		case 11:
			want = macie.KindUnreadable
		}
		if d.Kind != want || d.ID != id || d.Form != macie.FormFinding || d.Updated.IsZero() || d.Created.IsZero() {
			t.Errorf("finding %d: %+v, want %s", i, d.Kind, want)
		}
		if want == macie.KindFinding && (d.Finding == nil || d.Finding.ID != id || !json.Valid(d.Raw)) {
			t.Errorf("finding %d is not whole", i)
		}
	}
	if !got[ids[9]].Updated.Equal(start.Add(24*time.Hour)) || !got[ids[9]].Created.Before(got[ids[9]].Updated) {
		t.Errorf("times: %v, %v", got[ids[9]].Created, got[ids[9]].Updated)
	}
	for _, n := range []int{0, 51} {
		if _, err := m.Findings(t.Context(), make([]string, n)); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%d ids: %v", n, err)
		}
	}
}

// TestNameless: a finding that does not say which it is makes no other one disappear, and none look gone.
func TestNameless(t *testing.T) {
	f := maciefake.New()
	ids := put(f, 3)
	f.Change(ids[1], map[string]any{"severity": 7})
	m := open(t, f.Transport())
	strange := roundTrip(func(r *http.Request) (*http.Response, error) {
		res, err := f.Transport().RoundTrip(r)
		if err != nil || r.URL.Path != "/findings/describe" {
			return res, err
		}
		b, _ := io.ReadAll(res.Body)
		// The id of the second is lost on the way.
		res.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(b), `"id":"`+ids[1]+`"`, `"no":"`+ids[1]+`"`)))
		return res, nil
	})
	for name, m := range map[string]*live.Macie{"malformed": m, "without an id": open(t, strange)} {
		got, err := m.Findings(t.Context(), ids)
		if err != nil || len(got) != 3 || got[ids[0]].Finding == nil || got[ids[2]].Finding == nil || got[ids[1]].Kind != macie.KindUnreadable {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// ask makes every call once.
func ask(ctx context.Context, m macie.API, ids []string) error {
	for _, err := range m.List(ctx, all) {
		if err != nil {
			return err
		}
	}
	if got, err := m.Findings(ctx, ids); err != nil || len(got) != len(ids) {
		return fmt.Errorf("%d findings: %w", len(got), err)
	}
	if _, err := m.Identifier(ctx, "arn:aws:macie2:eu-central-1:111122223333:custom-data-identifier/one"); err != nil {
		return err
	}
	if got, err := m.Managed(ctx); err != nil || len(got) != 120 {
		return fmt.Errorf("%d managed identifiers: %w", len(got), err)
	}
	_, err := m.Session(ctx)
	return err
}

func furnished(n int) (*maciefake.Fake, []string) {
	f := maciefake.New()
	ids := put(f, n)
	f.PutIdentifier("one", []byte(`{"id":"one","name":"ticket","regex":"T-[0-9]{6}"}`))
	managed := make([]string, 120)
	for i := range managed {
		managed[i] = fmt.Sprintf("TYPE_%d", i)
	}
	f.SetManaged(managed...)
	return f, ids
}

// TestPasses: throttling, server errors and broken connections, before and after the effect, at each call pass by repetition.
func TestPasses(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "InternalServerException", "ServiceUnavailable"} {
		f, ids := furnished(50)
		for _, op := range []string{"ListFindings", "GetFindings", "GetCustomDataIdentifier", "ListManagedDataIdentifiers", "GetMacieSession", "GetClassificationExportConfiguration"} {
			f.Fail(code, 3, op)
		}
		if err := ask(t.Context(), open(t, f.Transport()), ids); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	f, ids := furnished(50)
	f.Fault = fault.New()
	if err := ask(t.Context(), open(t, f.Transport()), ids); err != nil {
		t.Fatal(err)
	}
	calls := f.Fault.Calls()
	for k := 1; k <= calls; k++ {
		for _, when := range []fault.When{fault.Before, fault.After} {
			f, ids := furnished(50)
			f.Fault = fault.New(fault.Fault{Call: k, When: when})
			srv := httptest.NewServer(f)
			m, err := live.Open(live.Config{Endpoint: srv.URL, AWS: aws.Config{Region: "eu-central-1",
				Credentials: credentials.NewStaticCredentialsProvider("AKIACOFFERMACIE", "secret", "")},
				Backoff: retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })})
			if err == nil {
				err = ask(t.Context(), m, ids)
			}
			if err != nil {
				t.Errorf("call %d of %d: %v", k, calls, err)
			}
			srv.Close()
		}
	}
}

// TestStays: what does not pass is unavailable, never an answer; the text has call, code and request and nothing of Macie's.
func TestStays(t *testing.T) {
	for code, want := range map[string]string{
		"ThrottlingException":     "ThrottlingException",
		"InternalServerException": "InternalServerException",
		"ValidationException":     "ValidationException",
		"AccessDeniedException":   "is not permitted",
		"ExpiredTokenException":   "the credentials have expired",
	} {
		f, ids := furnished(1)
		f.Fail(code, 1000)
		m := open(t, f.Transport())
		_, err := m.Findings(t.Context(), ids)
		if !errors.Is(err, coffer.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "on demand") {
			t.Errorf("%s: %v", code, err)
		}
		for _, lerr := range m.List(t.Context(), all) {
			err = lerr
		}
		if !errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("%s: the list ended with %v", code, err)
		}
	}
	f, _ := furnished(1)
	if _, err := open(t, f.Transport()).Identifier(t.Context(), "two"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("identifier: %v", err)
	}
	if _, err := open(t, f.Transport()).Identifier(t.Context(), "a/../b?c"); !errors.Is(err, coffer.ErrNotFound) || f.Calls("GetCustomDataIdentifier") != 1 {
		t.Errorf("malformed identifier: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, f.Transport()).Findings(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestHostileAnswers: an answer that is none is never taken for one that lists nothing.
func TestHostileAnswers(t *testing.T) {
	foreign := string(macie.Event(coffer.Finding{ID: "other", CreatedAt: start, Object: coffer.Object{Bucket: "moontrust-statements", Key: "k"}}))
	for name, body := range map[string]string{
		"empty": "", "no JSON": "<html>", "cut": `{"findings":[{"id":"`, "an array": `[1]`, "an object": "{}", "another finding": `{"findings":[` + foreign + `]}`,
		"too long": `{"findings":[` + strings.Repeat(" ", macie.MaxDocument) + `]}`,
	} {
		f, ids := furnished(3)
		f.Answer("GetFindings", []byte(body))
		got, err := open(t, f.Transport()).Findings(t.Context(), ids)
		if !errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	f, _ := furnished(1)
	f.Answer("ListFindings", []byte(`{"findingIds":["a"],"nextToken":"again"}`))
	n := 0
	var last error
	for _, err := range open(t, f.Transport()).List(t.Context(), all) {
		last = err
		n++
	}
	if !errors.Is(last, coffer.ErrUnavailable) || n != 3 {
		t.Errorf("a list without end: %d steps, %v", n, last)
	}
}

// TestExpired: credentials that ran out are asked for anew, once, and the call goes on.
func TestExpired(t *testing.T) {
	f, ids := furnished(1)
	given := 0
	cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		given++
		return aws.Credentials{AccessKeyID: fmt.Sprintf("AKIACOFFER%d", given), SecretAccessKey: "secret"}, nil
	}))
	m, err := live.Open(live.Config{AWS: aws.Config{Region: "eu-central-1", Credentials: cache, HTTPClient: &http.Client{Transport: f.Transport()}}})
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("ExpiredTokenException", 1)
	if got, err := m.Findings(t.Context(), ids); err != nil || len(got) != 1 || given != 2 {
		t.Errorf("%d findings, credentials given %d times, %v", len(got), given, err)
	}
}

// conformance is what holds of every Macie: enabled or not, and where results go.
func conformance(t *testing.T, m macie.API, enable func(bool)) {
	t.Helper()
	enable(true)
	s, err := m.Session(t.Context())
	if err != nil || !s.Enabled {
		t.Errorf("enabled: %+v, %v", s, err)
	}
}

func TestConformance(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		f := maciefake.New()
		m := open(t, f.Transport())
		conformance(t, m, func(on bool) { f.SetStatus(map[bool]string{true: "ENABLED"}[on]) })
		f.SetResults("moontrust-macie-results", "macie/")
		if s, err := m.Session(t.Context()); err != nil || s != (macie.Session{Enabled: true, Bucket: "moontrust-macie-results", Prefix: "macie/"}) {
			t.Errorf("%+v, %v", s, err)
		}
		f.SetStatus("PAUSED")
		if s, err := m.Session(t.Context()); err != nil || s.Enabled {
			t.Errorf("paused: %+v, %v", s, err)
		}
		f.SetStatus("")
		if s, err := m.Session(t.Context()); err != nil || s.Enabled {
			t.Errorf("disabled: %+v, %v", s, err)
		}
	})
	// Moto knows the session of Macie and nothing of findings.
	t.Run("moto", func(t *testing.T) {
		endpoint := lookalike.Moto(t)
		for _, kv := range lookalike.Env() {
			k, v, _ := strings.Cut(kv, "=")
			t.Setenv(k, v)
		}
		lookalike.AWS(t, endpoint, "macie2", "enable-macie")
		got := lookalike.AWS(t, endpoint, "macie2", "get-macie-session")
		if !strings.Contains(string(got), "ENABLED") {
			t.Fatalf("%s", got)
		}
		m, err := live.Open(live.Config{Endpoint: endpoint, AWS: aws.Config{Region: os.Getenv("AWS_REGION"),
			Credentials: credentials.NewStaticCredentialsProvider(lookalike.AccessKey, lookalike.SecretKey, "")},
			Backoff: retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })})
		if err != nil {
			t.Fatal(err)
		}
		// It has no export configuration, so the half that it has is looked at.
		s, err := m.Session(t.Context())
		if !s.Enabled || err == nil {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestMotoLacks: of the calls that this package makes, moto knows one. When it learns another this fails: then take it as a second opinion in
// TestConformance, beside the fake.
func TestMotoLacks(t *testing.T) {
	endpoint := lookalike.Moto(t)
	for _, x := range []struct {
		operation, method, path, body string
		known                         bool
	}{
		{"GetMacieSession", http.MethodGet, "/macie", "", true},
		{"ListFindings", http.MethodPost, "/findings", `{}`, false},
		{"GetFindings", http.MethodPost, "/findings/describe", `{"findingIds":["00000000000000000000000000000001"]}`, false},
		{"GetCustomDataIdentifier", http.MethodGet, "/custom-data-identifiers/3293a69d-4a1e-4a07-8715-208ddexample", "", false},
		{"ListManagedDataIdentifiers", http.MethodPost, "/managed-data-identifiers/list", `{}`, false},
		{"GetClassificationExportConfiguration", http.MethodGet, "/classification-export-configuration", "", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, endpoint+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+lookalike.AccessKey+"/20260715/us-east-1/macie2/aws4_request, SignedHeaders=host, Signature=0")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // only read from
		if err != nil {
			t.Fatal(err)
		}
		// What it knows it answers with JSON, errors too; for a path that it does not know there is a page.
		if known := res.StatusCode != http.StatusNotFound || json.Valid(b); known != x.known {
			t.Errorf("moto knows %s: %t, and this test says %t (%d)", x.operation, known, x.known, res.StatusCode)
		}
	}
}
