package web

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/triage"
)

// listRoutes are those about whole lists of findings.
func (s *Server) listRoutes() {
	handle(s, &route{
		id: "count-findings", method: http.MethodPost, path: "/v1/findings/count", tag: "findings", action: access.FindingList,
		summary: "Count findings by the values of fields",
	}, func(ctx context.Context, c *call, in *body[api.CountBody]) (*reply[api.Counts], error) {
		f, err := triage.ParseFilter(in.Body.Filter...)
		if err != nil {
			return nil, err
		}
		page, err := s.findings(ctx, c, f, api.FindingsQuery{Limit: 1, Facets: in.Body.By})
		if err != nil {
			return nil, err
		}
		p := &page.Body
		out := api.Counts{Total: p.Total, Values: p.Values, Objects: p.Objects, By: p.Facets, AsOf: p.AsOf, Lags: p.Lags}
		if out.By == nil {
			out.By = map[string]api.Facet{}
		}
		return &reply[api.Counts]{Status: http.StatusOK, Body: out}, nil
	})
	handle(s, &route{
		id: "export-findings", method: http.MethodPost, path: "/v1/findings/export", tag: "findings", action: access.FindingList,
		summary: "Take a list of findings away, exactly as it is filtered", stream: api.ContentLines + " text/csv",
		doc: "All findings that the filter selects, in order, as JSON Lines or as CSV in which no cell is a formula. It shows what the list shows: no value, masked or not. That it was taken is an entry of the log before the first byte is sent.",
	}, s.takeAway)
	handle(s, &route{
		id: "rate-identifiers", method: http.MethodPost, path: "/v1/findings/false-positives", tag: "findings", action: access.FindingList,
		summary: "How often each identifier was wrong, and which suppression rules of Macie would spare the work",
	}, func(ctx context.Context, c *call, in *body[api.FilterBody]) (*reply[api.Rates], error) {
		f, err := triage.ParseFilter(in.Body.Filter...)
		if err != nil {
			return nil, err
		}
		r, err := s.Desk.FalsePositives(ctx, c.ask, f)
		if err != nil {
			return nil, err
		}
		out := api.Rates{Rates: []api.Rate{}, Suppressions: []api.Suppression{}}
		for _, x := range r.Rates {
			out.Rates = append(out.Rates, api.Rate{Type: string(x.Type), Judged: x.Judged, FalsePositives: x.FalsePositives, Low: x.Low, High: x.High})
		}
		for i := range r.Suppressions {
			x := &r.Suppressions[i]
			out.Suppressions = append(out.Suppressions, api.Suppression{
				Type: string(x.Type), Bucket: x.Bucket, Prefix: x.Prefix, Region: x.Region, Findings: x.Findings, Covers: x.Covers, Input: x.Input,
				Command: x.Command(),
			})
		}
		return &reply[api.Rates]{Status: http.StatusOK, Body: out}, nil
	})
}

func (s *Server) takeAway(ctx context.Context, c *call, in *body[api.ExportBody]) (*streamed, error) {
	f, err := triage.ParseFilter(in.Body.Filter...)
	if err != nil {
		return nil, err
	}
	list, err := s.Desk.Export(ctx, c.ask, f, triage.Order(in.Body.Order))
	if err != nil {
		return nil, err
	}
	kind, write := api.ContentLines, writeFindings
	if in.Body.Format == "csv" {
		kind, write = "text/csv; charset=utf-8", writeFindingsCSV
	}
	return &streamed{Body: func(hc huma.Context) {
		out := newLines(s, hc, kind)
		out.w.Header().Set("Content-Disposition", `attachment; filename="coffer-findings.`+in.Body.Format+`"`)
		if err := write(exportWriter{out}, list); err != nil {
			s.stopped(ctx, out, err)
		}
		out.start()
	}}, nil
}

// writeFindings writes a list as JSON Lines, each as the list shows it.
func writeFindings(w io.Writer, list []triage.Summary) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range list {
		if err := enc.Encode(summary(&list[i])); err != nil {
			return fmt.Errorf("exporting findings: %w", err)
		}
	}
	return nil
}

var findingColumns = []string{
	"finding", "created", "severity", "status", "verdict", "type", "types", "bucket", "key", "version", "account", "region", "origin", "state", "reason",
	"occurrences", "sealed", "owner", "tickets", "plan", "received", "updated",
}

// writeFindingsCSV writes a list as CSV (RFC 4180). What other people chose, such as the name of an object, is no formula in it.
func writeFindingsCSV(w io.Writer, list []triage.Summary) error {
	c := csv.NewWriter(w)
	err := c.Write(findingColumns)
	for i := 0; i < len(list) && err == nil; i++ {
		f := summary(&list[i])
		row := []string{
			f.Finding, f.Created.Format(time.RFC3339), []string{"", "low", "medium", "high"}[max(0, min(f.Severity, 3))], f.Status, f.Verdict, f.Type,
			strings.Join(f.Types, " "), f.Object.Bucket, f.Object.Key, f.Object.VersionID, f.Account, f.Region, f.Origin, f.State, f.Reason,
			strconv.Itoa(f.Occurrences), strconv.Itoa(f.Sealed), f.Owner, strings.Join(f.Tickets, " "), f.Plan, f.Received.Format(time.RFC3339), "",
		}
		if !f.Updated.IsZero() {
			row[len(row)-1] = f.Updated.Format(time.RFC3339)
		}
		for j := range row {
			row[j] = audit.Inert(row[j])
		}
		err = c.Write(row)
	}
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	if err != nil {
		return fmt.Errorf("exporting findings: %w", err)
	}
	return nil
}

// viewRoutes are those of saved views. Their names are people's words, which have no place in a URL.
func (s *Server) viewRoutes() {
	handle(s, &route{
		id: "list-views", method: http.MethodGet, path: "/v1/views", tag: "findings", action: access.FindingList,
		summary: "The caller's saved views and the shared ones",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Views], error) {
		list, err := s.Desk.Views(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Views]{Status: http.StatusOK, Body: api.Views{Views: make([]api.View, len(list))}}
		for i, v := range list {
			out.Body.Views[i] = api.View{Name: v.Name, Filter: orEmpty(v.Filter), Order: string(v.Order), Shared: v.Shared, By: v.By, Match: v.Match}
		}
		return out, nil
	})
	handle(s, &route{
		id: "save-view", method: http.MethodPut, path: "/v1/views", tag: "findings", action: access.FindingList, status: http.StatusNoContent,
		summary: "Save a filter and order under a name, or replace the caller's own of that name", also: []int{409},
	}, func(ctx context.Context, c *call, in *body[api.ViewBody]) (*struct{}, error) {
		b := &in.Body
		err := s.Desk.SaveView(ctx, c.ask, triage.View{Name: b.Name, Filter: b.Filter, Order: triage.Order(b.Order), Shared: b.Shared, Match: b.Match})
		return &struct{}{}, err
	})
	handle(s, &route{
		id: "delete-view", method: http.MethodPost, path: "/v1/views/delete", tag: "findings", action: access.FindingList, status: http.StatusNoContent,
		summary: "Delete a view of the caller's own", also: []int{409},
	}, func(ctx context.Context, c *call, in *actsWith[api.ViewName]) (*empty, error) {
		return &empty{}, s.Desk.DeleteView(ctx, c.ask, in.Body.Name, in.Body.Shared)
	})
}
