package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
)

// maxIDs is how many findings are asked for at once: a filter of GetFindings takes 20 values.
const maxIDs = 20

// maxNote is how long the note of a finding may be (NoteUpdate in the API reference of Security Hub).
const maxNote = 512

// hub keeps the workflow status of Macie's findings in Security Hub. An entry of the log is only the occasion: what status a finding gets
// follows from its plan and record as they are then, so that a repeated or late delivery says nothing that is not so any more.
//
//	a fix was planned, and nothing else is known     NEW -> NOTIFIED
//	a fix was verified to have left nothing          NEW or NOTIFIED -> RESOLVED
//	the fix was undone                               RESOLVED -> NOTIFIED, where RESOLVED was our word
//
// Nothing else is ever changed: not what somebody suppressed, nor a finding that others resolved.
type hub struct {
	target Target
	open   func(context.Context, Target) (aws.Config, error)
	db     store.DB
	plan   func(context.Context, string) (*remedy.Plan, error)
	record func(context.Context, string) (*triage.Record, error)
	portal string

	mu     sync.Mutex
	client *securityhub.Client // on first use
}

func (h *hub) most() int { return 1 }

// wants chooses what changes the state of a plan.
func (h *hub) wants(e *audit.Entry) bool {
	if e.Plan == "" || e.Outcome != audit.Done {
		return false
	}
	switch e.Action {
	case access.RemedyPlan, access.RemedyUndo, access.RemedyPurge:
		return true
	case access.RemedyApply:
		return e.Detail["step"] == "applied"
	}
	return false
}

func (h *hub) dial(ctx context.Context) (*securityhub.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == nil {
		c, err := h.open(ctx, h.target)
		if err != nil {
			return nil, outage("AWS configuration", err)
		}
		h.client = securityhub.NewFromConfig(c, func(o *securityhub.Options) {
			if h.target.Endpoint != "" {
				o.BaseEndpoint = aws.String(h.target.Endpoint)
			}
		})
	}
	return h.client, nil
}

// proved reports whether a plan removed what a finding is about: it was verified, the finding is closed by this plan, and as many copies
// are clean as the configuration asks for.
func (h *hub) proved(p *remedy.Plan, rec *triage.Record) bool {
	return (p.State == remedy.Applied || p.State == remedy.Purged) && p.Verified && rec.Status == triage.Fixed && rec.Plan == p.ID &&
		(p.Clean == "all" || p.Clean == "current" && h.target.Clean == "current")
}

// product is the ARN under which Macie's findings stand in Security Hub. A partition that the finding does not name follows from the Region.
func product(f *coffer.Finding) string {
	partition := f.Partition
	if partition == "" {
		partition = "aws"
	}
	return fmt.Sprintf("arn:%s:securityhub:%s::product/aws/macie", partition, f.Region)
}

func (h *hub) told(finding string) store.Key {
	return store.Key{Part: "N#" + h.target.Name, Sort: "h#" + finding}
}

func (h *hub) send(ctx context.Context, events []event) (int, error) {
	for i := range events {
		if err := h.one(ctx, events[i].Entry.Plan); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

// one brings the findings of a plan to the status that follows from it.
func (h *hub) one(ctx context.Context, id string) error {
	p, err := h.plan(ctx, id)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(p.Findings, maxIDs) {
		if err := h.some(ctx, p, ids); err != nil {
			return err
		}
	}
	return nil
}

// some does so for at most maxIDs findings.
func (h *hub) some(ctx context.Context, p *remedy.Plan, ids []string) error {
	recs := map[string]*triage.Record{}
	var filters types.AwsSecurityFindingFilters
	for _, id := range ids {
		rec, err := h.record(ctx, id)
		if errors.Is(err, coffer.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if rec.Finding.Origin == coffer.OriginScan || rec.Finding.Region == "" {
			continue // Macie has no such finding
		}
		recs[id] = rec
		filters.Id = append(filters.Id, types.StringFilter{Value: aws.String(id), Comparison: types.StringFilterComparisonEquals})
	}
	if len(recs) == 0 {
		return nil
	}
	client, err := h.dial(ctx)
	if err != nil {
		return err
	}
	to := map[types.WorkflowStatus][]types.AwsSecurityFindingIdentifier{}
	seen := map[string]bool{}
	pages := securityhub.NewGetFindingsPaginator(client, &securityhub.GetFindingsInput{Filters: &filters, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := h.page(ctx, pages)
		if err != nil {
			return err
		}
		for i := range page {
			f := &page[i]
			rec := recs[aws.ToString(f.Id)]
			if rec == nil || aws.ToString(f.ProductArn) != product(&rec.Finding) || f.Workflow == nil || seen[rec.Finding.ID] {
				continue
			}
			seen[rec.Finding.ID] = true
			next, err := h.next(ctx, p, rec, f.Workflow.Status)
			if err != nil {
				return err
			}
			if next != "" {
				to[next] = append(to[next], types.AwsSecurityFindingIdentifier{Id: f.Id, ProductArn: f.ProductArn})
			}
		}
	}
	// What Security Hub does not have (Macie publishes these findings only where it is told to) has no status there.
	for _, status := range []types.WorkflowStatus{types.WorkflowStatusNotified, types.WorkflowStatusResolved} {
		if err := h.update(ctx, client, p, status, to[status]); err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) page(ctx context.Context, pages *securityhub.GetFindingsPaginator) ([]types.AwsSecurityFinding, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	out, err := pages.NextPage(ctx)
	if err != nil {
		return nil, outage("GetFindings", err)
	}
	return out.Findings, nil
}

// next is the status that a finding is to get; empty: it keeps the one that it has. That RESOLVED will be our word is kept before it is
// said, so that it can be taken back whatever happens in between.
func (h *hub) next(ctx context.Context, p *remedy.Plan, rec *triage.Record, now types.WorkflowStatus) (types.WorkflowStatus, error) {
	open := now == types.WorkflowStatusNew || now == types.WorkflowStatusNotified || now == ""
	switch p.State {
	case remedy.Undone:
		it, err := h.db.Get(ctx, h.told(rec.Finding.ID))
		if errors.Is(err, coffer.ErrNotFound) || err == nil && string(it.Value) != p.ID {
			return "", nil
		}
		if err != nil || now != types.WorkflowStatusResolved || rec.Status == triage.Fixed {
			return "", err
		}
		return types.WorkflowStatusNotified, nil
	case remedy.Planned, remedy.Approved, remedy.Applying, remedy.Applied, remedy.Purged:
		switch {
		case open && h.proved(p, rec):
			return types.WorkflowStatusResolved, h.db.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
				Key: h.told(rec.Finding.ID), Value: []byte(p.ID), Version: store.NewVersion()}})
		case open && now != types.WorkflowStatusNotified:
			return types.WorkflowStatusNotified, nil
		}
	}
	return "", nil
}

// update sets the status of findings, with a note that says why, in ids.
func (h *hub) update(ctx context.Context, client *securityhub.Client, p *remedy.Plan, status types.WorkflowStatus, ids []types.AwsSecurityFindingIdentifier) error {
	if len(ids) == 0 {
		return nil
	}
	note := "Coffer: " + p.ID + " is " + string(p.State)
	if status == types.WorkflowStatusResolved {
		note += "; verified, " + map[string]string{"all": "all known copies clean", "current": "the current version clean"}[p.Clean]
	}
	if link := "; " + h.portal + "/fixes/" + p.ID; h.portal != "" && len(note)+len(link) <= maxNote {
		note += link
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	out, err := client.BatchUpdateFindings(ctx, &securityhub.BatchUpdateFindingsInput{
		FindingIdentifiers: ids, Workflow: &types.WorkflowUpdate{Status: status},
		Note: &types.NoteUpdate{Text: aws.String(note), UpdatedBy: aws.String("coffer")},
	})
	if err != nil {
		return outage("BatchUpdateFindings", err)
	}
	for _, u := range out.UnprocessedFindings {
		code, kind := aws.ToString(u.ErrorCode), coffer.ErrUnavailable
		switch code {
		case "FindingNotFound": // gone since we asked: 90 days are over
			continue
		case "InvalidInput", "FindingSizeExceeded": // which no waiting cures
			kind = coffer.ErrInvalid
		}
		return fmt.Errorf("BatchUpdateFindings: %s: %w", tell(code), kind)
	}
	return nil
}

// probe asks for a finding that there is none of: it needs the same connection and, but for the update, the same rights.
func (h *hub) probe(ctx context.Context) error {
	client, err := h.dial(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err = client.GetFindings(ctx, &securityhub.GetFindingsInput{MaxResults: aws.Int32(1), Filters: &types.AwsSecurityFindingFilters{
		Id: []types.StringFilter{{Value: aws.String("coffer-test"), Comparison: types.StringFilterComparisonEquals}}}})
	if err != nil {
		return outage("GetFindings", err)
	}
	return nil
}
