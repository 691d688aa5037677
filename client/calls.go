package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/api"
)

func at(parts ...string) string {
	p := "/v1"
	for _, s := range parts {
		p += "/" + url.PathEscape(s)
	}
	return p
}

func get[T any](ctx context.Context, cl *Client, path string, q url.Values) (T, error) {
	out, _, err := ask[T](ctx, cl, &call{method: http.MethodGet, path: path, query: q})
	return out, err
}

func post[T any](ctx context.Context, cl *Client, path string, body any) (T, error) {
	out, _, err := ask[T](ctx, cl, &call{method: http.MethodPost, path: path, body: body})
	return out, err
}

// act sends what is done once for its key, which is new: what is sent again after a lost answer is the same attempt.
func act[T any](ctx context.Context, cl *Client, path, match string, body any) (T, error) {
	out, _, err := ask[T](ctx, cl, &call{method: http.MethodPost, path: path, body: body, key: Key(), match: match})
	return out, err
}

// Ingest sends a stream of findings and yields what became of each document as it is done. name, which may be empty, is what the stream is
// called in the record of arrivals. lines says that it is JSON Lines; else it is one JSON document or an array.
func (cl *Client) Ingest(ctx context.Context, r io.Reader, name string, asLines bool) iter.Seq2[api.Line, error] {
	c := &call{method: http.MethodPost, path: at("events"), stream: r, kind: "application/json", accept: api.ContentLines}
	if asLines {
		c.kind = api.ContentLines
	}
	if name != "" {
		c.name = mime.FormatMediaType("attachment", map[string]string{"filename": name})
	}
	return func(yield func(api.Line, error) bool) {
		for line, err := range lines[api.Line](ctx, cl, c) {
			if err == nil && line.Problem != nil {
				yield(api.Line{}, &api.Error{Problem: *line.Problem})
				return
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// Arrivals yields what came in, latest first; limit 0: all.
func (cl *Client) Arrivals(ctx context.Context, limit int) iter.Seq2[api.Arrival, error] {
	return pages(limit, func(cursor string, n int) ([]api.Arrival, string, error) {
		p, err := get[api.Arrivals](ctx, cl, at("intake"), pageQuery(cursor, n))
		return p.Arrivals, p.Next, err
	})
}

// Ledger returns how what came in compares with what Macie says, from the day of since on; the zero time: all of it.
func (cl *Client) Ledger(ctx context.Context, since time.Time) (api.Ledger, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	return get[api.Ledger](ctx, cl, at("intake", "ledger"), q)
}

// Reconcile starts a job that compares what came in with what Macie lists, from since on; the zero time: from where the last one ended.
func (cl *Client) Reconcile(ctx context.Context, since time.Time) (api.Job, error) {
	return act[api.Job](ctx, cl, at("intake", "reconcile"), "", api.ReconcileBody{Since: since})
}

// Findings yields the findings that the filter selects, newest first; limit 0: all.
func (cl *Client) Findings(ctx context.Context, filter []string, limit int) iter.Seq2[api.Finding, error] {
	return pages(limit, func(cursor string, n int) ([]api.Finding, string, error) {
		p, err := cl.FindingsPage(ctx, api.FindingsQuery{Filter: filter, Cursor: cursor, Limit: n})
		return p.Findings, p.Next, err
	})
}

// FindingsPage returns one page of findings with counts of the list.
func (cl *Client) FindingsPage(ctx context.Context, q api.FindingsQuery) (api.Findings, error) {
	return post[api.Findings](ctx, cl, at("findings", "query"), q)
}

// Finding returns a finding with its places, masked, and its ETag.
func (cl *Client) Finding(ctx context.Context, id string) (api.FindingDetail, string, error) {
	return ask[api.FindingDetail](ctx, cl, &call{method: http.MethodGet, path: at("findings", id)})
}

// Relocate looks for a changed object's values in its bytes of today.
func (cl *Client) Relocate(ctx context.Context, id string) (api.FindingDetail, error) {
	return act[api.FindingDetail](ctx, cl, at("findings", id, "relocate"), "", nil)
}

// Judge records a verdict. match is the ETag of the finding as it was seen; empty: any.
func (cl *Client) Judge(ctx context.Context, id, match string, b api.VerdictBody) (api.Finding, error) {
	return act[api.Finding](ctx, cl, at("findings", id, "verdict"), match, b)
}

// Reveal returns values in plain. It is sent once: every time is a reveal of its own.
func (cl *Client) Reveal(ctx context.Context, id string, b api.RevealBody) ([]api.Revealed, error) {
	out, err := post[api.Reveal](ctx, cl, at("findings", id, "reveal"), b)
	return out.Values, err
}

// RevealToken returns the value behind a token.
func (cl *Client) RevealToken(ctx context.Context, b api.TokenBody) ([]api.Revealed, error) {
	out, err := post[api.Reveal](ctx, cl, at("findings", "by-token", "reveal"), b)
	return out.Values, err
}

// Search returns where a value stands.
func (cl *Client) Search(ctx context.Context, b api.SearchBody) ([]api.Hit, error) {
	out, err := post[api.Hits](ctx, cl, at("values", "search"), b)
	return out.Hits, err
}

// Index returns the types that can be searched, and the ETag for SetIndex.
func (cl *Client) Index(ctx context.Context) (api.Index, string, error) {
	return ask[api.Index](ctx, cl, &call{method: http.MethodGet, path: at("values", "index")})
}

// SetIndex chooses the types that can be searched.
func (cl *Client) SetIndex(ctx context.Context, match string, types []string) (api.Index, error) {
	out, _, err := ask[api.Index](ctx, cl, &call{method: http.MethodPut, path: at("values", "index"), match: match, body: api.Index{Types: types}})
	return out, err
}

// MakePlans asks for plans.
func (cl *Client) MakePlans(ctx context.Context, b api.PlanBody) (api.Planned, error) {
	return act[api.Planned](ctx, cl, at("plans"), "", b)
}

// Plans yields plans, newest first; limit 0: all.
func (cl *Client) Plans(ctx context.Context, states []string, limit int) iter.Seq2[api.PlanSummary, error] {
	return pages(limit, func(cursor string, n int) ([]api.PlanSummary, string, error) {
		q := pageQuery(cursor, n)
		if len(states) > 0 {
			q.Set("state", strings.Join(states, ","))
		}
		p, err := get[api.Plans](ctx, cl, at("plans"), q)
		return p.Plans, p.Next, err
	})
}

// Plan returns a plan with its masked diff and its ETag.
func (cl *Client) Plan(ctx context.Context, id string) (api.Plan, string, error) {
	return ask[api.Plan](ctx, cl, &call{method: http.MethodGet, path: at("plans", id)})
}

// Changes yields the changes of a plan.
func (cl *Client) Changes(ctx context.Context, id string) iter.Seq2[api.Change, error] {
	return pages(0, func(cursor string, n int) ([]api.Change, string, error) {
		p, err := get[api.Changes](ctx, cl, at("plans", id, "changes"), pageQuery(cursor, n))
		return p.Changes, p.Next, err
	})
}

// Approve approves exactly the plan that was seen: match is its ETag; empty: any.
func (cl *Client) Approve(ctx context.Context, id, match string) (api.Approved, error) {
	return act[api.Approved](ctx, cl, at("plans", id, "approve"), match, nil)
}

// DenyPlan denies a plan before anything is written, and says why to who made it. match is the ETag of the plan as it was seen; empty: any.
func (cl *Client) DenyPlan(ctx context.Context, id, match, note string) (api.Plan, error) {
	return act[api.Plan](ctx, cl, at("plans", id, "deny"), match, api.AnswerBody{Note: note})
}

// WithdrawPlan takes back a plan of the caller's own before anything is written. match is as for [Client.DenyPlan].
func (cl *Client) WithdrawPlan(ctx context.Context, id, match string) (api.Plan, error) {
	return act[api.Plan](ctx, cl, at("plans", id, "withdraw"), match, nil)
}

// Apply carries a plan out.
func (cl *Client) Apply(ctx context.Context, id, match string, b api.ApplyBody) (api.Applied, error) {
	return act[api.Applied](ctx, cl, at("plans", id, "apply"), match, b)
}

// ApplyMany carries several plans out as a job.
func (cl *Client) ApplyMany(ctx context.Context, b api.ApplyManyBody) (api.Job, error) {
	return act[api.Job](ctx, cl, at("plans", "apply"), "", b)
}

// Undo puts the original back.
func (cl *Client) Undo(ctx context.Context, id string) (api.Undone, error) {
	return act[api.Undone](ctx, cl, at("plans", id, "undo"), "", nil)
}

// Purge destroys the kept original.
func (cl *Client) Purge(ctx context.Context, id string, b api.PurgeBody) (api.Purged, error) {
	return act[api.Purged](ctx, cl, at("plans", id, "purge"), "", b)
}

// PurgeExpired purges the plans whose grace period is over.
func (cl *Client) PurgeExpired(ctx context.Context) (api.PurgedExpired, error) {
	return act[api.PurgedExpired](ctx, cl, at("plans", "purge-expired"), "", nil)
}

// Certificate certifies what a fix did.
func (cl *Client) Certificate(ctx context.Context, id string) (api.Certificate, error) {
	return get[api.Certificate](ctx, cl, at("plans", id, "certificate"), nil)
}

// Object returns what is known of an object.
func (cl *Client) Object(ctx context.Context, q api.ObjectQuery) (api.ObjectDetail, error) {
	return post[api.ObjectDetail](ctx, cl, at("objects", "query"), q)
}

// Objects yields the objects of a bucket, or the buckets; limit 0: all.
func (cl *Client) Objects(ctx context.Context, bucket, prefix string, limit int) iter.Seq2[api.ListedObject, error] {
	return pages(limit, func(cursor string, n int) ([]api.ListedObject, string, error) {
		p, err := post[api.Objects](ctx, cl, at("objects", "list"), api.ObjectsQuery{Bucket: bucket, Prefix: prefix, Cursor: cursor, Limit: n})
		return p.Objects, p.Next, err
	})
}

// Versioning returns the versioning of a bucket.
func (cl *Client) Versioning(ctx context.Context, bucket string) (api.Versioning, error) {
	return get[api.Versioning](ctx, cl, at("buckets", bucket, "versioning"), nil)
}

// SetVersioning sets the versioning of a bucket: on or suspended.
func (cl *Client) SetVersioning(ctx context.Context, bucket, state string) (api.Versioning, error) {
	out, _, err := ask[api.Versioning](ctx, cl, &call{method: http.MethodPut, path: at("buckets", bucket, "versioning"), body: api.VersioningBody{Versioning: state}})
	return out, err
}

// Entries yields entries of the log. The members of filter are the query parameters of the list; limit 0: all.
func (cl *Client) Entries(ctx context.Context, filter url.Values, limit int) iter.Seq2[api.Entry, error] {
	return pages(limit, func(cursor string, n int) ([]api.Entry, string, error) {
		q := pageQuery(cursor, n)
		for k, v := range filter {
			q[k] = v
		}
		p, err := get[api.Entries](ctx, cl, at("audit", "entries"), q)
		return p.Entries, p.Next, err
	})
}

// Log yields the whole log in one answer; the members of filter are those of Export.
func (cl *Client) Log(ctx context.Context, filter url.Values) iter.Seq2[api.Entry, error] {
	return lines[api.Entry](ctx, cl, &call{method: http.MethodGet, path: at("audit", "export"), query: filter})
}

// Export copies the log to w in the format of the filter: jsonl, csv or ocsf. It fails if it broke off.
func (cl *Client) Export(ctx context.Context, filter url.Values, w io.Writer) error {
	res, err := cl.send(ctx, &call{method: http.MethodGet, path: at("audit", "export"), query: filter})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the export broke off: %w", coffer.ErrUnavailable)
	}
	return nil
}

// Review returns an access review. The members of period are the query parameters: from, to, person, finding.
func (cl *Client) Review(ctx context.Context, period url.Values) (api.Review, error) {
	return get[api.Review](ctx, cl, at("audit", "review"), period)
}

// MarkReviewed records that the caller reviewed what a person did in a period.
func (cl *Client) MarkReviewed(ctx context.Context, m api.MarkBody) error {
	_, err := post[struct{}](ctx, cl, at("audit", "review"), m)
	return err
}

// Seen returns who saw a value, from since on; empty: ever.
func (cl *Client) Seen(ctx context.Context, value, since string) ([]api.Sight, error) {
	out, err := post[api.Sights](ctx, cl, at("audit", "seen"), api.SeenBody{Value: value, Since: since})
	return out.Sights, err
}

// Follow yields entries that the filter chooses as they come under a checkpoint, from behind the index last on; last < 0: those to come.
func (cl *Client) Follow(ctx context.Context, filter url.Values, last int64) iter.Seq2[api.Entry, error] {
	id := ""
	if last >= 0 {
		id = strconv.FormatInt(last, 10)
	}
	return decoded[api.Entry](cl.events(ctx, at("audit", "follow"), filter, id, func(event) bool { return false }))
}

func decoded[T any](seq iter.Seq2[event, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e, err := range seq {
			var v T
			if err == nil && json.Unmarshal(e.data, &v) != nil {
				err = fmt.Errorf("an event is not the API's: %w", coffer.ErrInvalid)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Checkpoint returns the newest checkpoint and the key that verifies it.
func (cl *Client) Checkpoint(ctx context.Context) (api.Checkpoint, error) {
	return get[api.Checkpoint](ctx, cl, at("audit", "checkpoint"), nil)
}

// Verify proves that the log is whole.
func (cl *Client) Verify(ctx context.Context, b api.VerifyBody) (api.Verified, error) {
	return post[api.Verified](ctx, cl, at("audit", "verify"), b)
}

// Person returns the name behind a pseudonymous id.
func (cl *Client) Person(ctx context.Context, id string) (api.Person, error) {
	return get[api.Person](ctx, cl, at("people", id), nil)
}

// Forget deletes it.
func (cl *Client) Forget(ctx context.Context, id string) error {
	_, _, err := ask[struct{}](ctx, cl, &call{method: http.MethodDelete, path: at("people", id)})
	return err
}

// Jobs returns the jobs, newest first.
func (cl *Client) Jobs(ctx context.Context) ([]api.Job, error) {
	out, err := get[api.Jobs](ctx, cl, at("jobs"), nil)
	return out.Jobs, err
}

// Job returns a job.
func (cl *Client) Job(ctx context.Context, id string) (api.Job, error) {
	return get[api.Job](ctx, cl, at("jobs", id), nil)
}

// Items yields the items of a job.
func (cl *Client) Items(ctx context.Context, id string) iter.Seq2[api.Item, error] {
	return pages(0, func(cursor string, n int) ([]api.Item, string, error) {
		p, err := get[api.Items](ctx, cl, at("jobs", id, "items"), pageQuery(cursor, n))
		return p.Items, p.Next, err
	})
}

// Cancel stops a job.
func (cl *Client) Cancel(ctx context.Context, id string) (api.Job, error) {
	return act[api.Job](ctx, cl, at("jobs", id, "cancel"), "", nil)
}

// Resume takes a job up again.
func (cl *Client) Resume(ctx context.Context, id string) (api.Job, error) {
	return act[api.Job](ctx, cl, at("jobs", id, "resume"), "", nil)
}

// Watch yields a job as it comes further, until nobody is at it.
func (cl *Client) Watch(ctx context.Context, id string) iter.Seq2[api.Job, error] {
	return decoded[api.Job](cl.events(ctx, at("jobs", id, "events"), nil, "", func(e event) bool {
		var j api.Job
		return json.Unmarshal(e.data, &j) == nil && (j.Over() || j.State == "interrupted")
	}))
}

// Keys returns the wrapping keys.
func (cl *Client) Keys(ctx context.Context) ([]api.Key, error) {
	out, err := get[api.Keys](ctx, cl, at("keys"), nil)
	return out.Keys, err
}

// RotateKeys renews the wrapping key and wraps all data keys anew, as a job.
func (cl *Client) RotateKeys(ctx context.Context) (api.Job, error) {
	return act[api.Job](ctx, cl, at("keys", "rotate"), "", nil)
}

// RetireKeys removes superseded wrapping keys.
func (cl *Client) RetireKeys(ctx context.Context, b api.RetireBody) ([]string, error) {
	out, err := act[api.Retired](ctx, cl, at("keys", "retire"), "", b)
	return out.Retired, err
}

// Targets returns those that are told what happens, and how deliveries to each go.
func (cl *Client) Targets(ctx context.Context) ([]api.Target, error) {
	out, err := get[api.Targets](ctx, cl, at("notify", "targets"), nil)
	return out.Targets, err
}

// Target returns a target with what was delivered to it, what waits and what was put aside.
func (cl *Client) Target(ctx context.Context, name string) (api.TargetDetail, error) {
	return get[api.TargetDetail](ctx, cl, at("notify", "targets", name), nil)
}

// TestTarget sends a test to a target. That it did not arrive is in the outcome.
func (cl *Client) TestTarget(ctx context.Context, name string) (api.TargetOutcome, error) {
	return act[api.TargetOutcome](ctx, cl, at("notify", "targets", name, "test"), "", nil)
}

// RetryTarget sends what a target refused again. That it was refused again is in the outcome.
func (cl *Client) RetryTarget(ctx context.Context, name string) (api.TargetOutcome, error) {
	return act[api.TargetOutcome](ctx, cl, at("notify", "targets", name, "retry"), "", nil)
}

// Policies returns the policies in force.
func (cl *Client) Policies(ctx context.Context) (api.Policies, error) {
	return get[api.Policies](ctx, cl, at("policies"), nil)
}

// Explain says which policies decide.
func (cl *Client) Explain(ctx context.Context, b api.ExplainBody) (api.Explained, error) {
	return post[api.Explained](ctx, cl, at("policies", "explain"), b)
}

// Diagnose looks at the installation.
func (cl *Client) Diagnose(ctx context.Context) ([]api.Diagnosis, error) {
	out, err := get[api.Diagnoses](ctx, cl, at("doctor"), nil)
	return out.Diagnoses, err
}

// Check checks every invariant.
func (cl *Client) Check(ctx context.Context, b api.CheckBody) (api.Checked, error) {
	return post[api.Checked](ctx, cl, at("check"), b)
}

// Config returns the configuration in force.
func (cl *Client) Config(ctx context.Context) (api.Config, error) {
	return get[api.Config](ctx, cl, at("config"), nil)
}

// Version says what serves.
func (cl *Client) Version(ctx context.Context) (api.Build, error) {
	return get[api.Build](ctx, cl, at("version"), nil)
}

// Caller returns who asks, as the server sees them.
func (cl *Client) Caller(ctx context.Context) (api.Caller, error) {
	return get[api.Caller](ctx, cl, at("caller"), nil)
}
