package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/triage"
)

// findingsIn has the filter as query parameters. They are documented one by one in the OpenAPI document; which there are is package
// triage's to say.
type findingsIn struct {
	Order  string `query:"order" maxLength:"40" doc:"newest when left out."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"Elements of a page; 100 when left out."`
	Cursor string `query:"cursor" maxLength:"4096" doc:"The next of the page before."`
	Facets string `query:"facets" maxLength:"256" doc:"Fields whose values are counted over the whole list, separated by commas."`

	filter url.Values
}

// Resolve implements [huma.Resolver]: it collects the terms.
func (in *findingsIn) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.filter = u.Query()
	for _, own := range []string{"order", "limit", "cursor", "facets"} {
		in.filter.Del(own)
	}
	return nil
}

// inBodies are the fields of a filter that hold names of objects, or parts of them. Those can hold values, which have no place in a URL.
var inBodies = []string{"key", "q"}

// findingParams documents the filter of findings.
func findingParams() []*huma.Param {
	return filterParams(triage.FilterFields(), func(pair string) error { _, err := triage.ParseFilter(pair); return err })
}

// filterParams documents a filter: every field with the operators that it takes.
func filterParams(fields []string, parse func(pair string) error) []*huma.Param {
	var out []*huma.Param
	for _, f := range fields {
		if slices.Contains(inBodies, f) {
			continue
		}
		for _, op := range []struct{ op, what string }{
			{"", "Any of these values, separated by commas."}, {"!", "None of these values."}, {".gte", "At least this."}, {".gt", "More than this."},
			{".lte", "At most this."}, {".lt", "Less than this."},
		} {
			// Whether a field takes an operator is asked with an example of each kind of value.
			if slices.ContainsFunc([]string{"low", "2026-01-01", "1", ""}, func(v string) bool { return parse(f+op.op+"="+v) == nil }) {
				out = append(out, &huma.Param{Name: f + op.op, In: "query", Description: op.what, Schema: &huma.Schema{Type: "string", MaxLength: ptr(512)}})
			}
		}
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func (s *Server) findingRoutes() {
	handle(s, &route{
		id: "list-findings", method: http.MethodGet, path: "/v1/findings", tag: "findings", action: access.FindingList,
		summary: "List findings, newest first", params: findingParams,
		doc: "Filters are query parameters: `severity.gte=medium&status=open&bucket!=scratch`. All must hold. Names of objects can hold values and have no place in a URL; filter by `key` with query-findings.",
	}, func(ctx context.Context, c *call, in *findingsIn) (*reply[api.Findings], error) {
		for name := range in.filter {
			field, _, _ := strings.Cut(strings.TrimSuffix(name, "!"), ".")
			if slices.Contains(inBodies, field) {
				return nil, fmt.Errorf("names of objects do not belong into a URL; send the filter in the body of POST /v1/findings/query: %w", coffer.ErrInvalid)
			}
		}
		f, err := triage.FilterOf(in.filter)
		if err != nil {
			return nil, err
		}
		facets := strings.FieldsFunc(in.Facets, func(r rune) bool { return r == ',' })
		return s.findings(ctx, c, f, api.FindingsQuery{Order: in.Order, Limit: in.Limit, Cursor: in.Cursor, Facets: facets})
	})
	handle(s, &route{
		id: "query-findings", method: http.MethodPost, path: "/v1/findings/query", tag: "findings", action: access.FindingList,
		summary: "List findings by a filter in the body",
	}, func(ctx context.Context, c *call, in *body[api.FindingsQuery]) (*reply[api.Findings], error) {
		f, err := triage.ParseFilter(in.Body.Filter...)
		if err != nil {
			return nil, err
		}
		return s.findings(ctx, c, f, in.Body)
	})
	handle(s, &route{
		id: "show-finding", method: http.MethodGet, path: "/v1/findings/{finding}", tag: "findings", action: access.FindingRead, on: finding, direct: true,
		summary: "Show a finding with its places and masked values",
	}, func(ctx context.Context, c *call, in *ofFinding) (*reply[api.FindingDetail], error) {
		return s.finding(ctx, c, in.Finding)
	})
	handle(s, &route{
		id: "relocate-finding", method: http.MethodPost, path: "/v1/findings/{finding}/relocate", tag: "findings", action: access.EventIngest, on: finding,
		summary: "Look for a changed object's values in its bytes of today", also: []int{202, 409, 412},
	}, func(ctx context.Context, c *call, in *laterOnFinding) (*later[api.FindingDetail], error) {
		if err := s.matchFinding(ctx, c, in.Finding, in.IfMatch); err != nil {
			return nil, err
		}
		if s.isJob(in.Prefer) {
			return asJob[api.FindingDetail](ctx, s, c, kindRelocate, in.Key, nil, in.Finding)
		}
		res, err := s.Pipeline.Relocate(ctx, c.ask, in.Finding)
		if err != nil {
			return nil, err
		}
		s.metrics.sealed.Add(float64(res.Sealed))
		return s.detailNow(ctx, c, in.Finding)
	})
	handle(s, &route{
		id: "confirm-finding", method: http.MethodPost, path: "/v1/findings/{finding}/confirm", tag: "findings", action: access.EventConfirm, on: finding,
		summary: "Stand for a finding that somebody else submitted, so that its object is read", also: []int{202, 409, 412},
		doc: "Nothing is read for a submitted finding before. Who submitted it still cannot reveal its values.",
	}, func(ctx context.Context, c *call, in *laterOnFinding) (*later[api.FindingDetail], error) {
		seen, err := matching(c, in.IfMatch)
		if err != nil {
			return nil, err
		}
		if s.isJob(in.Prefer) {
			if err := s.matchFinding(ctx, c, in.Finding, in.IfMatch); err != nil {
				return nil, err
			}
			return asJob[api.FindingDetail](ctx, s, c, kindConfirm, in.Key, map[string]string{"seen": seen}, in.Finding)
		}
		res, err := s.Pipeline.Confirm(ctx, c.ask, in.Finding, seen)
		if err != nil {
			return nil, s.stale(ctx, c, seen, in.Finding, err)
		}
		s.metrics.sealed.Add(float64(res.Sealed))
		return s.detailNow(ctx, c, in.Finding)
	})
	handle(s, &route{
		id: "judge-finding", method: http.MethodPost, path: "/v1/findings/{finding}/verdict", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Judge a finding or one of its occurrences", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnFindingWith[api.VerdictBody]) (*reply[api.Finding], error) {
		seen, err := matching(c, in.IfMatch)
		if err != nil {
			return nil, err
		}
		ask := c.ask
		ask.Context.Note = in.Body.Note
		rec, err := s.Desk.Judge(ctx, ask, triage.Target{Finding: in.Finding, N: in.Body.N, Match: seen, Attempt: c.attempt}, triage.Verdict(in.Body.Verdict), in.Body.Note)
		if err != nil {
			return nil, s.stale(ctx, c, seen, in.Finding, err)
		}
		sum := rec.Summary()
		return &reply[api.Finding]{Status: http.StatusOK, ETag: etag(rec), Body: summary(&sum)}, nil
	})
}

func (s *Server) findings(ctx context.Context, c *call, f triage.Filter, q api.FindingsQuery) (*reply[api.Findings], error) {
	page, err := s.Desk.Page(ctx, c.ask, triage.PageQuery{
		Filter: f, Order: triage.Order(q.Order), Limit: pageLimit(q.Limit), Cursor: q.Cursor, Facets: q.Facets,
	})
	if err != nil {
		return nil, err
	}
	out := &reply[api.Findings]{Status: http.StatusOK, Body: api.Findings{
		Findings: make([]api.Finding, len(page.Findings)), Total: page.Total, Values: page.Values, Objects: page.Objects, First: page.First,
		AsOf: page.AsOf, Lags: page.Lag != nil, Next: page.Next, Prev: page.Prev,
	}}
	for i := range page.Findings {
		out.Body.Findings[i] = summary(&page.Findings[i])
	}
	for name, f := range page.Facets {
		if out.Body.Facets == nil {
			out.Body.Facets = map[string]api.Facet{}
		}
		counts := api.Facet{Values: make([]api.Count, len(f.Values)), Distinct: f.Distinct}
		for i, n := range f.Values {
			counts.Values[i] = api.Count(n)
		}
		out.Body.Facets[name] = counts
	}
	return out, nil
}

// etag is the entity tag of a finding.
func etag(rec *triage.Record) string { return `"` + rec.Tag() + `"` }

func (s *Server) finding(ctx context.Context, c *call, id string) (*reply[api.FindingDetail], error) {
	v, err := s.Desk.Look(ctx, c.ask, id)
	if err != nil {
		return nil, err
	}
	c.finding = v.Record.Finding.ID
	// The same for everybody who may look: masks hold nothing that depends on who it is.
	return v.Made(func() any {
		return (&reply[api.FindingDetail]{Status: http.StatusOK, ETag: etag(v.Record), Body: s.detail(v.Record, v.Lines)}).encode()
	}).(*reply[api.FindingDetail]), nil
}

// detailNow answers what became of a finding with all of it.
func (s *Server) detailNow(ctx context.Context, c *call, id string) (*later[api.FindingDetail], error) {
	r, err := s.finding(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &later[api.FindingDetail]{Status: r.Status, ETag: r.ETag, Body: r.Body}, nil
}

// matchFinding compares the record with an If-Match header.
func (s *Server) matchFinding(ctx context.Context, c *call, id, header string) error {
	seen, err := matching(c, header)
	if seen == "" || err != nil {
		return err
	}
	rec, err := s.Desk.Records.Get(ctx, id)
	if err == nil && rec.Tag() != seen {
		return newProblem(c, "precondition-failed", changedSince)
	}
	return err
}

// stale says of a conflict whether it is with what the caller has seen.
func (s *Server) stale(ctx context.Context, c *call, seen, id string, err error) error {
	if seen != "" && errors.Is(err, coffer.ErrConflict) {
		if rec, rerr := s.Desk.Records.Get(ctx, id); rerr == nil && rec.Tag() != seen {
			return newProblem(c, "precondition-failed", changedSince)
		}
	}
	return err
}

func (s *Server) detail(rec *triage.Record, lines []triage.Line) api.FindingDetail {
	sum := rec.Summary()
	f := &rec.Finding
	d := api.FindingDetail{
		FindingHead: summary(&sum).FindingHead, Unverified: rec.Unverified, Tagged: rec.Tagged, TagReason: rec.TagReason, Note: rec.Note, Confirmed: confirmed(rec),
		Closing: closing(rec.Closing), OnBucket: api.Protection{Encryption: f.OnBucket.Encryption, PublicAccess: f.OnBucket.PublicAccess},
		OnObject:    api.Protection{Encryption: f.OnObject.Encryption, PublicAccess: f.OnObject.PublicAccess},
		Occurrences: make([]api.Occurrence, len(lines)),
	}
	d.Notes = rec.Notes
	for i, l := range lines {
		o := api.Occurrence{
			N: l.N, Type: string(l.Type), At: s.Home.Cut(l.At).String(), Outcome: string(l.Outcome), Masked: l.Masked, Source: string(l.Source),
			Sealed: l.Sealed, Verdict: string(l.Verdict), Note: l.Note,
		}
		if l.Same != nil {
			o.Same = &api.Ref{Finding: l.Same.Finding, N: l.Same.N}
		}
		d.Occurrences[i] = o
	}
	return d
}

func confirmed(rec *triage.Record) *api.Confirmation {
	if rec.Confirmed == nil {
		return nil
	}
	return ptr(api.Confirmation(*rec.Confirmed))
}

func closing(c *triage.Closing) *api.Closing {
	if c == nil {
		return nil
	}
	return ptr(api.Closing(*c))
}

func summary(s *triage.Summary) api.Finding {
	f := api.Finding{FindingHead: api.FindingHead{
		Finding: s.ID, Type: s.Type, Types: make([]string, 0, len(s.Types)), Severity: int(s.Severity), Object: s.Object, Account: s.Account, Region: s.Region,
		Origin: string(s.Origin), Created: s.Created, Received: s.Received, State: string(s.State), Reason: s.Reason, Status: string(s.Status),
		Verdict: string(s.Verdict), Rescan: s.Rescan, Plan: s.Plan, Sealed: s.Sealed, Owner: s.Owner, Tickets: s.Tickets, Reach: s.Reach, Muted: s.Muted, Updated: s.Updated, Judged: s.Judged,
		Revision: s.Revision,
	}, Occurrences: s.Count}
	for _, t := range s.Types {
		f.Types = append(f.Types, string(t))
	}
	for _, t := range s.FalsePositives {
		f.FalsePositives = append(f.FalsePositives, string(t))
	}
	for _, t := range s.Confirmed {
		f.Confirmed = append(f.Confirmed, string(t))
	}
	return f
}

// notThere reports that an error says of something that it does not exist.
func notThere(err error) bool { return errors.Is(err, coffer.ErrNotFound) }
