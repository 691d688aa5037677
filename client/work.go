package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"coffer"
	"coffer/api"
)

// SetStatus begins or stops work on a finding, or opens a closed one again. match is the ETag of the finding as it was seen; empty: any.
func (cl *Client) SetStatus(ctx context.Context, id, match, status string) (api.Finding, error) {
	return act[api.Finding](ctx, cl, at("findings", id, "status"), match, api.StatusBody{Status: status})
}

// Assign says who sees to a finding; nobody with an empty owner.
func (cl *Client) Assign(ctx context.Context, id, match, owner string) (api.Finding, error) {
	out, _, err := ask[api.Finding](ctx, cl, &call{method: http.MethodPut, path: at("findings", id, "owner"), match: match, body: api.OwnerBody{Owner: owner}})
	return out, err
}

// SetTickets replaces the tickets of a finding.
func (cl *Client) SetTickets(ctx context.Context, id, match string, tickets []string) (api.Finding, error) {
	if tickets == nil {
		tickets = []string{}
	}
	out, _, err := ask[api.Finding](ctx, cl, &call{method: http.MethodPut, path: at("findings", id, "tickets"), match: match, body: api.TicketsBody{Tickets: tickets}})
	return out, err
}

// Notes returns the notes of a finding, the oldest first.
func (cl *Client) Notes(ctx context.Context, id string) ([]api.Note, error) {
	out, err := get[api.Notes](ctx, cl, at("findings", id, "notes"), nil)
	return out.Notes, err
}

// AddNote adds a note to a finding.
func (cl *Client) AddNote(ctx context.Context, id, match, text string) (api.Finding, error) {
	return act[api.Finding](ctx, cl, at("findings", id, "notes"), match, api.NoteBody{Text: text})
}

// Close closes a finding.
func (cl *Client) Close(ctx context.Context, id, match string, b api.CloseBody) (api.Finding, error) {
	return act[api.Finding](ctx, cl, at("findings", id, "close"), match, b)
}

// Confirm stands for a finding that somebody else submitted.
func (cl *Client) Confirm(ctx context.Context, id, match string) (api.FindingDetail, error) {
	return act[api.FindingDetail](ctx, cl, at("findings", id, "confirm"), match, nil)
}

// Work does the same with several findings. With many of them it returns the job that does it, and no results.
func (cl *Client) Work(ctx context.Context, b api.WorkBody) ([]api.WorkResult, *api.Job, error) {
	out, err := act[struct {
		api.Worked
		api.Job
	}](ctx, cl, at("findings", "work"), "", b)
	if err != nil {
		return nil, nil, err
	}
	if out.Job.Job != "" {
		return nil, &out.Job, nil
	}
	return out.Results, nil, nil
}

// Mute leaves a finding out of the lists and counts of what is to be done, or takes it in again.
func (cl *Client) Mute(ctx context.Context, id string, on bool) (api.Finding, error) {
	if on {
		return cl.workOn(ctx, id, "mute")
	}
	return cl.workOn(ctx, id, "unmute")
}

// WithdrawVerdict takes the verdict on a finding back, as if nobody had judged it.
func (cl *Client) WithdrawVerdict(ctx context.Context, id string) (api.Finding, error) {
	return cl.workOn(ctx, id, "withdraw")
}

// workOn does with one finding what the API does with several at once.
func (cl *Client) workOn(ctx context.Context, id, do string) (api.Finding, error) {
	done, _, err := cl.Work(ctx, api.WorkBody{Findings: []string{id}, Do: do})
	switch {
	case err != nil:
		return api.Finding{}, err
	case len(done) != 1 || done[0].Code == "" && done[0].Now == nil:
		return api.Finding{}, fmt.Errorf("the server answers for another number of findings: %w", coffer.ErrCorrupt)
	case done[0].Code != "":
		return api.Finding{}, &api.Error{Problem: api.Problem{Code: done[0].Code, Detail: done[0].Detail}}
	}
	return *done[0].Now, nil
}

// Protections says how a finding's bucket and object are protected.
func (cl *Client) Protections(ctx context.Context, id string) ([]api.Protected, error) {
	out, err := get[api.Protections](ctx, cl, at("findings", id, "protections"), nil)
	return out.Protections, err
}

// Elsewhere says in which other findings values of a finding stand.
func (cl *Client) Elsewhere(ctx context.Context, id string) (api.Shared, error) {
	return post[api.Shared](ctx, cl, at("findings", id, "elsewhere"), nil)
}

// Count counts findings.
func (cl *Client) Count(ctx context.Context, b api.CountBody) (api.Counts, error) {
	return post[api.Counts](ctx, cl, at("findings", "count"), b)
}

// ExportFindings copies a list to w. It fails if it broke off.
func (cl *Client) ExportFindings(ctx context.Context, b api.ExportBody, w io.Writer) error {
	res, err := cl.send(ctx, &call{method: http.MethodPost, path: at("findings", "export"), body: b})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("the export broke off: %w", coffer.ErrUnavailable)
	}
	return nil
}

// FalsePositives says how often each identifier was wrong, and which suppression rules would spare the work.
func (cl *Client) FalsePositives(ctx context.Context, filter []string) (api.Rates, error) {
	return post[api.Rates](ctx, cl, at("findings", "false-positives"), api.FilterBody{Filter: filter})
}

// Views returns the caller's saved views and the shared ones.
func (cl *Client) Views(ctx context.Context) ([]api.View, error) {
	out, err := get[api.Views](ctx, cl, at("views"), nil)
	return out.Views, err
}

// SaveView saves a view.
func (cl *Client) SaveView(ctx context.Context, b api.ViewBody) error {
	if b.Filter == nil {
		b.Filter = []string{}
	}
	return set(ctx, cl, at("views"), b)
}

// DeleteView deletes a view of the caller's own.
func (cl *Client) DeleteView(ctx context.Context, b api.ViewName) error {
	_, err := act[struct{}](ctx, cl, at("views", "delete"), "", b)
	return err
}

// Long asks for work that can take minutes as a job: a plan to be applied, undone or purged, a finding to be relocated or confirmed.
func (cl *Client) Long(ctx context.Context, kind, id, match string, body any) (api.Job, error) {
	of := "plans"
	if kind == "relocate" || kind == "confirm" {
		of = "findings"
	}
	out, _, err := ask[api.Job](ctx, cl, &call{method: http.MethodPost, path: at(of, id, kind), body: body, key: Key(), match: match, prefer: "respond-async"})
	return out, err
}
