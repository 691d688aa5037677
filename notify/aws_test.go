package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/lookalike"
	"coffer/notify"
	"coffer/remedy"
	"coffer/triage"
)

func awsConfig(context.Context, notify.Target) (aws.Config, error) {
	return aws.Config{
		Region: lookalike.Region, Credentials: credentials.NewStaticCredentialsProvider(lookalike.AccessKey, lookalike.SecretKey, ""),
		RetryMaxAttempts: 1,
	}, nil
}

// connected is a world whose targets call AWS.
func connected(t *testing.T, change func(*notify.Config), targets ...notify.Target) *world {
	t.Helper()
	w := newWorld(t, targets...)
	w.conf.AWS = awsConfig
	if change != nil {
		change(&w.conf)
	}
	w.process = w.start("p2")
	return w
}

// TestEventBridge puts events on a bus of moto, from which a rule takes them to a queue.
func TestEventBridge(t *testing.T) {
	endpoint := lookalike.Moto(t)
	ctx := t.Context()
	c, _ := awsConfig(ctx, notify.Target{})
	events := eventbridge.NewFromConfig(c, func(o *eventbridge.Options) { o.BaseEndpoint = &endpoint })
	queues := sqs.NewFromConfig(c, func(o *sqs.Options) { o.BaseEndpoint = &endpoint })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const name = "coffer-messages"
	_, err := events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String(name)})
	check(err)
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(name)})
	check(err)
	attrs, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	check(err)
	_, err = events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String(name), EventBusName: aws.String(name), EventPattern: aws.String(`{"source":["coffer"]}`)})
	check(err)
	_, err = events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String(name), EventBusName: aws.String(name), Targets: []ebtypes.Target{
		{Id: aws.String("q"), Arn: aws.String(attrs.Attributes["QueueArn"])}}})
	check(err)

	w := connected(t, nil, notify.Target{Name: "bus", Kind: notify.EventBridge, Bus: name, Endpoint: endpoint})
	want := w.judged(12)
	w.step()
	if s := w.status(); s.Sent != 12 || s.State != "ok" {
		t.Fatalf("%+v", s)
	}
	var got []string
	for len(got) < len(want) {
		out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10})
		check(err)
		if len(out.Messages) == 0 {
			break
		}
		for _, m := range out.Messages {
			var event struct {
				Source     string
				DetailType string `json:"detail-type"`
				Detail     notify.Message
			}
			check(json.Unmarshal([]byte(*m.Body), &event))
			if event.Source != notify.EventSource || event.DetailType != notify.EventDetail+"verdict.set" {
				t.Errorf("%s", *m.Body)
			}
			got = append(got, event.Detail.ID)
			_, err := queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: q.QueueUrl, ReceiptHandle: m.ReceiptHandle})
			check(err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	same(t, "on the queue", got, want)
}

// TestPartialFailure has a bus that takes some events of a call and not others.
func TestPartialFailure(t *testing.T) {
	var mu sync.Mutex
	var got []string
	refuse, calls := map[string]int{}, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Entries []struct{ Detail string } }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		calls++
		out := map[string]any{}
		var entries []map[string]string
		for i, e := range in.Entries {
			var m notify.Message
			if err := json.Unmarshal([]byte(e.Detail), &m); err != nil {
				t.Error(err)
			}
			if refuse[m.ID] > 0 {
				refuse[m.ID]--
				entries = append(entries, map[string]string{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"})
				continue
			}
			got = append(got, m.ID)
			entries = append(entries, map[string]string{"EventId": fmt.Sprint(calls, i)})
		}
		out["Entries"], out["FailedEntryCount"] = entries, 0
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	w := connected(t, nil, notify.Target{Name: "bus", Kind: notify.EventBridge, Endpoint: srv.URL})
	want := w.judged(5)
	refuse[want[1]] = 1 // taken when the call is repeated for it alone
	w.step()
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) || calls != 2 {
		t.Fatalf("%d events in %d calls", len(got), calls)
	}
	got, want = nil, w.judged(5)
	refuse[want[2]] = 2 // not taken at all: what is behind it comes again
	w.step()
	if s := w.status(); s.Sent != 7 || s.State != "failing" || !strings.Contains(s.Error, "ThrottlingException") {
		t.Errorf("%+v", s)
	}
	w.pass(notifyLater)
	w.step()
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("%s never arrived", id)
		}
	}
	if s := w.status(); s.Sent != 10 || s.State != "ok" || len(got) != 7 {
		t.Errorf("%+v, %d events arrived", s, len(got))
	}
}

const notifyLater = 3600e9

// updates stands before moto, which has no BatchUpdateFindings: it changes the finding that moto has, as documented, and refuses what
// AWS refuses. All else goes through.
type updates struct {
	http.Handler
	t     *testing.T
	moto  string
	calls []string
	// refuse are the codes with which findings are not updated.
	refuse map[string]string
}

func (u *updates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPatch || r.URL.Path != "/findings/batchupdate" {
		u.Handler.ServeHTTP(w, r)
		return
	}
	var in struct {
		FindingIdentifiers []struct{ Id, ProductArn string }
		Workflow           struct{ Status string }
		Note               struct{ Text, UpdatedBy string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		u.t.Error(err)
	}
	var done, not []any
	for _, id := range in.FindingIdentifiers {
		f := hubFinding(u.t, u.moto, id.Id)
		if f == nil || f["ProductArn"] != id.ProductArn {
			not = append(not, map[string]any{"FindingIdentifier": id, "ErrorCode": "FindingNotFound", "ErrorMessage": ""})
			continue
		}
		if code := u.refuse[id.Id]; code != "" {
			not = append(not, map[string]any{"FindingIdentifier": id, "ErrorCode": code, "ErrorMessage": ""})
			continue
		}
		if n := len(in.Note.Text); n == 0 || n > 512 || in.Note.UpdatedBy == "" {
			u.t.Errorf("a note of %d bytes", n)
		}
		u.calls = append(u.calls, in.Workflow.Status)
		f["Workflow"], f["Note"] = map[string]any{"Status": in.Workflow.Status}, in.Note
		hubCall(u.t, u.moto+"/findings/import", map[string]any{"Findings": []any{f}})
		done = append(done, id)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"ProcessedFindings": done, "UnprocessedFindings": not}); err != nil {
		u.t.Error(err)
	}
}

// hubCall calls moto, which asks for no signature but for the name of a service and a Region.
func hubCall(t *testing.T, to string, in any) []byte {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+lookalike.AccessKey+"/20260301/"+lookalike.Region+"/securityhub/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", to, resp.StatusCode, out, err)
	}
	return out
}

func hubFinding(t *testing.T, moto, id string) map[string]any {
	var out struct{ Findings []map[string]any }
	if err := json.Unmarshal(hubCall(t, moto+"/findings", map[string]any{"MaxResults": 100}), &out); err != nil {
		t.Fatal(err)
	}
	for _, f := range out.Findings {
		if f["Id"] == id {
			return f
		}
	}
	return nil
}

// TestSecurityHubRefuses has one finding that Security Hub updates not now, and one that it will never update: the first is waited for, the
// second is put aside so that those behind it come through.
func TestSecurityHubRefuses(t *testing.T) {
	moto := lookalike.Moto(t)
	u, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	front := &updates{Handler: httputil.NewSingleHostReverseProxy(u), t: t, moto: moto}
	srv := httptest.NewServer(front)
	defer srv.Close()
	for _, id := range []string{"r-1", "r-2"} {
		importToHub(t, moto, id, "eu-central-1", "NEW")
	}
	w := connected(t, func(c *notify.Config) {
		c.Portal = "https://" + strings.Repeat("a", 600) + ".test" // more than a note takes
		c.Plan = func(_ context.Context, id string) (*remedy.Plan, error) {
			return &remedy.Plan{ID: id, State: remedy.Planned, Findings: []string{strings.Replace(id, "plan", "r", 1)}}, nil
		}
		c.Record = func(_ context.Context, id string) (*triage.Record, error) {
			return &triage.Record{Finding: coffer.Finding{ID: id, Region: "eu-central-1", Origin: coffer.OriginMacie}, Status: triage.Open}, nil
		}
	}, notify.Target{Name: "hub", Kind: notify.SecurityHub, Endpoint: srv.URL})
	for _, plan := range []string{"plan-1", "plan-2"} {
		w.happens(access.RemedyPlan, access.Plan, plan, audit.Done, map[string]string{"step": "plan"})
	}
	front.refuse = map[string]string{"r-1": "ConcurrentUpdateError"}
	for range 8 {
		w.step()
		w.pass(2 * time.Hour)
	}
	if s := w.status(); s.State != "failing" || s.Dead != 0 || len(front.calls) != 0 || !strings.Contains(s.Error, "ConcurrentUpdateError") {
		t.Errorf("%+v, %v", s, front.calls)
	}
	front.refuse = map[string]string{"r-1": "InvalidInput"}
	for range 8 {
		w.step()
		w.pass(2 * time.Hour)
	}
	if s := w.status(); s.State != "dead" || s.Dead != 1 {
		t.Errorf("%+v", s)
	}
	same(t, "updates", front.calls, []string{"NOTIFIED"})
	front.refuse = map[string]string{"r-1": "FindingNotFound"} // gone since it was asked for
	if out, err := w.Retry(w.Context(), w.ask(), "hub"); out.Delivered != 1 || out.Error != "" || err != nil {
		t.Errorf("%+v, %v", out, err)
	}
}

// importToHub gives a finding of Macie's to moto's Security Hub.
func importToHub(t *testing.T, moto, id, region, status string) {
	t.Helper()
	hubCall(t, moto+"/findings/import", map[string]any{"Findings": []any{map[string]any{
		"SchemaVersion": "2018-10-08", "Id": id, "ProductArn": "arn:aws:securityhub:" + region + "::product/aws/macie", "GeneratorId": "aws/macie",
		"AwsAccountId": lookalike.Account, "CreatedAt": "2026-03-01T12:00:00Z", "UpdatedAt": "2026-03-01T12:00:00Z", "Title": "t", "Description": "d",
		"Severity": map[string]any{"Label": "HIGH"}, "Resources": []any{map[string]any{"Type": "AwsS3Object", "Id": "arn:aws:s3:::b/k"}},
		"Workflow": map[string]any{"Status": status}, "Types": []string{"Sensitive Data Identifications/PII/SensitiveData:S3Object-Personal"},
	}}})
}

// TestSecurityHub goes through a fix, and looks at each step at what Security Hub says of its findings. The plans and records are given; that
// a proof is one is what package remedy tests.
func TestSecurityHub(t *testing.T) {
	endpoint := lookalike.Moto(t)
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	front := &updates{Handler: httputil.NewSingleHostReverseProxy(u), t: t, moto: endpoint}
	srv := httptest.NewServer(front)
	defer srv.Close()
	for _, clean := range []string{"", "current"} {
		t.Run("clean "+clean, func(t *testing.T) {
			front.calls = nil
			pre := "a" + clean + "-"
			ids := []string{pre + "new", pre + "suppressed", pre + "not-in-hub", pre + "others-resolved"}
			importToHub(t, endpoint, ids[0], "eu-central-1", "NEW")
			importToHub(t, endpoint, ids[1], "eu-central-1", "SUPPRESSED")
			importToHub(t, endpoint, ids[3], "eu-central-1", "RESOLVED")
			plan := &remedy.Plan{ID: "plan-1", State: remedy.Planned, Findings: ids}
			status := triage.Open
			w := connected(t, func(c *notify.Config) {
				c.Plan = func(_ context.Context, id string) (*remedy.Plan, error) {
					if id != plan.ID {
						return nil, coffer.ErrNotFound
					}
					p := *plan
					return &p, nil
				}
				c.Record = func(_ context.Context, id string) (*triage.Record, error) {
					return &triage.Record{Finding: coffer.Finding{ID: id, Region: "eu-central-1", Partition: "aws", Origin: coffer.OriginMacie}, Status: status, Plan: "plan-1"}, nil
				}
			}, notify.Target{Name: "hub", Kind: notify.SecurityHub, Clean: clean, Endpoint: srv.URL})
			is := func(what string, want ...string) {
				t.Helper()
				w.step()
				if s := w.status(); s.State != "ok" {
					t.Fatalf("%s: %+v", what, s)
				}
				var got []string
				for _, id := range []string{ids[0], ids[1], ids[3]} {
					got = append(got, hubFinding(t, endpoint, id)["Workflow"].(map[string]any)["Status"].(string))
				}
				same(t, what, got, want)
			}
			step := func(a access.Action, name string, o audit.Outcome) {
				w.happens(a, access.Plan, "plan-1", o, map[string]string{"step": name})
			}
			is("before", "NEW", "SUPPRESSED", "RESOLVED")
			step(access.RemedyPlan, "plan", audit.Done)
			is("planned", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			// Applied, with each part of the proof missing.
			plan.State, plan.Verified, plan.Clean, status = remedy.Applied, false, "all", triage.Fixed
			step(access.RemedyApply, "applied", audit.Done)
			is("not verified", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			plan.Verified, status = true, triage.Open
			step(access.RemedyApply, "applied", audit.Done)
			is("not closed", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			status, plan.Clean = triage.Fixed, ""
			step(access.RemedyApply, "applied", audit.Done)
			is("something left", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			plan.Clean = "current"
			step(access.RemedyApply, "applied", audit.Done)
			if clean == "current" {
				is("current clean", "RESOLVED", "SUPPRESSED", "RESOLVED")
			} else {
				is("current clean", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			}
			plan.Clean, plan.State = "all", remedy.Purged
			step(access.RemedyPurge, "purged", audit.Done)
			is("all clean", "RESOLVED", "SUPPRESSED", "RESOLVED")
			step(access.RemedyPurge, "purged", audit.Done)
			is("again", "RESOLVED", "SUPPRESSED", "RESOLVED")
			plan.State, status = remedy.Undone, triage.Open
			step(access.RemedyUndo, "undone", audit.Done)
			is("undone", "NOTIFIED", "SUPPRESSED", "RESOLVED")
			same(t, "updates", front.calls, []string{"NOTIFIED", "RESOLVED", "NOTIFIED"})
		})
	}
}
