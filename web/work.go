package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/triage"
)

// maxAtOnce is how many findings a request changes before it answers; more are a job.
const maxAtOnce = 100

type workIn struct {
	Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
	Prefer  string `header:"Prefer" maxLength:"256" doc:"respond-async: act as a job, and answer 202 at once (RFC 7240)."`
	RawBody []byte
	Body    api.WorkBody
}

func (i *workIn) attempt() (string, []byte) { return i.Key, i.RawBody }
func (*workIn) hasBody()                    {}

// setsOnFinding is the input of a route that says the whole of something of a finding; twice is as good as once.
type setsOnFinding[T any] struct {
	Finding string `path:"finding" maxLength:"256"`
	IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the record is as it was when it had this ETag."`
	Body    T
}

func (*setsOnFinding[T]) hasBody() {}

// workRoutes are those by which people see to findings.
func (s *Server) workRoutes() {
	handle(s, &route{
		id: "set-status", method: http.MethodPost, path: "/v1/findings/{finding}/status", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Begin or stop work on a finding, or open a closed one again", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnFindingWith[api.StatusBody]) (*reply[api.Finding], error) {
		return s.work(ctx, c, in.Finding, in.IfMatch, map[string]string{"do": in.Body.Status})
	})
	handle(s, &route{
		id: "assign-finding", method: http.MethodPut, path: "/v1/findings/{finding}/owner", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Say who sees to a finding", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *setsOnFinding[api.OwnerBody]) (*reply[api.Finding], error) {
		return s.work(ctx, c, in.Finding, in.IfMatch, map[string]string{"do": "assign", "owner": in.Body.Owner})
	})
	handle(s, &route{
		id: "set-tickets", method: http.MethodPut, path: "/v1/findings/{finding}/tickets", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Replace the tickets of a finding", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *setsOnFinding[api.TicketsBody]) (*reply[api.Finding], error) {
		if err := separable(in.Body.Tickets); err != nil {
			return nil, err
		}
		return s.work(ctx, c, in.Finding, in.IfMatch, map[string]string{"do": "tickets", "tickets": strings.Join(in.Body.Tickets, " ")})
	})
	handle(s, &route{
		id: "list-notes", method: http.MethodGet, path: "/v1/findings/{finding}/notes", tag: "findings", action: access.FindingRead, on: finding, direct: true,
		summary: "What people wrote about a finding, the oldest first",
	}, func(ctx context.Context, c *call, in *ofFinding) (*reply[api.Notes], error) {
		list, err := s.Desk.Notes(ctx, c.ask, in.Finding)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Notes]{Status: http.StatusOK, Body: api.Notes{Notes: make([]api.Note, len(list))}}
		for i, n := range list {
			out.Body.Notes[i] = api.Note(n)
		}
		return out, nil
	})
	handle(s, &route{
		id: "add-note", method: http.MethodPost, path: "/v1/findings/{finding}/notes", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Add a note to a finding; what the detectors find in it is replaced", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnFindingWith[api.NoteBody]) (*reply[api.Finding], error) {
		return s.work(ctx, c, in.Finding, in.IfMatch, map[string]string{"do": "note", "note": in.Body.Text})
	})
	handle(s, &route{
		id: "close-finding", method: http.MethodPost, path: "/v1/findings/{finding}/close", tag: "findings", action: access.VerdictSet, on: finding,
		summary: "Close a finding with what PCI DSS 12.10.7 asks to be recorded", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnFindingWith[api.CloseBody]) (*reply[api.Finding], error) {
		return s.work(ctx, c, in.Finding, in.IfMatch, closeParams(map[string]string{"do": "close"}, &in.Body))
	})
	handle(s, &route{
		id: "work-on-findings", method: http.MethodPost, path: "/v1/findings/work", tag: "findings", action: access.VerdictSet, on: object,
		summary: "Do the same with several findings", also: []int{202, 409},
		doc: "With at most 100 findings the answer has a result for each. With more, or asked to respond-async, it is 202 with a job.",
	}, s.workOnMany)
	handle(s, &route{
		id: "show-protections", method: http.MethodGet, path: "/v1/findings/{finding}/protections", tag: "findings", action: access.FindingRead, on: finding,
		summary: "How bucket and object are protected, as Macie reported and as it is now",
	}, func(ctx context.Context, c *call, in *ofFinding) (*reply[api.Protections], error) {
		list, err := s.Desk.Protections(ctx, c.ask, in.Finding)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Protections]{Status: http.StatusOK, Body: api.Protections{Protections: make([]api.Protected, len(list))}}
		for i, p := range list {
			out.Body.Protections[i] = api.Protected(p)
		}
		return out, nil
	})
	handle(s, &route{
		id: "find-elsewhere", method: http.MethodPost, path: "/v1/findings/{finding}/elsewhere", tag: "findings", action: access.ValueSearch, on: finding,
		summary: "In which other findings do values of this one stand? Never which values",
	}, func(ctx context.Context, c *call, in *ofFinding) (*reply[api.Shared], error) {
		sh, err := s.Vault.Elsewhere(ctx, c.ask, in.Finding)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Shared]{Status: http.StatusOK, Body: api.Shared{
			Findings: make([]api.Elsewhere, len(sh.Findings)), Values: sh.Values, Sought: sh.Sought, NotIndexed: words(sh.NotIndexed), Limited: sh.Limited,
		}}
		for i, f := range sh.Findings {
			f.Object.ETag = "" // of a small object it is an unkeyed hash of what it holds
			out.Body.Findings[i] = api.Elsewhere{Finding: f.Finding, Object: f.Object, Values: f.Values, Types: words(f.Types)}
		}
		return out, nil
	})
	s.listRoutes()
	s.viewRoutes()
}

// words are types of data as they travel.
func words(types []coffer.DataType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

// separable refuses tickets that could not be told apart in the parameters of a job; package triage refuses them anyway.
func separable(tickets []string) error {
	for _, t := range tickets {
		if len(strings.Fields(t)) != 1 || strings.TrimSpace(t) != t {
			return fmt.Errorf("a ticket has no white space: %w", coffer.ErrInvalid)
		}
	}
	return nil
}

func closeParams(p map[string]string, b *api.CloseBody) map[string]string {
	p["disposition"], p["origin"], p["correctiveAction"] = b.Disposition, b.Origin, b.CorrectiveAction
	if b.AuthenticationData != nil {
		p["authenticationData"] = strconv.FormatBool(*b.AuthenticationData)
	}
	return p
}

// work does something with one finding.
func (s *Server) work(ctx context.Context, c *call, id, ifMatch string, params map[string]string) (*reply[api.Finding], error) {
	seen, err := matching(c, ifMatch)
	if err != nil {
		return nil, err
	}
	rec, err := s.do(ctx, c.ask, triage.Target{Finding: id, Match: seen, Attempt: c.attempt}, params)
	if err != nil {
		return nil, s.stale(ctx, c, seen, id, err)
	}
	sum := rec.Summary()
	return &reply[api.Finding]{Status: http.StatusOK, ETag: etag(rec), Body: summary(&sum)}, nil
}

// do does what the parameters of a job, or of one request, say with a finding.
func (s *Server) do(ctx context.Context, ask access.Ask, t triage.Target, p map[string]string) (*triage.Record, error) {
	switch p["do"] {
	case "judge":
		ask.Context.Note = p["note"]
		return s.Desk.Judge(ctx, ask, t, triage.Verdict(p["verdict"]), p["note"])
	case "withdraw":
		return s.Desk.Withdraw(ctx, ask, t)
	case "mute", "unmute":
		return s.Desk.Mute(ctx, ask, t, p["do"] == "mute")
	case "begin":
		return s.Desk.Begin(ctx, ask, t)
	case "stop":
		return s.Desk.Stop(ctx, ask, t)
	case "reopen":
		return s.Desk.Reopen(ctx, ask, t)
	case "assign":
		return s.Desk.Assign(ctx, ask, t, p["owner"])
	case "note":
		return s.Desk.AddNote(ctx, ask, t, p["note"])
	case "tickets":
		return s.Desk.SetTickets(ctx, ask, t, strings.Fields(p["tickets"]))
	case "close":
		var authentication *bool
		if v, ok := p["authenticationData"]; ok {
			authentication = ptr(v == "true")
		}
		return s.Desk.Close(ctx, ask, t, triage.Closing{
			Disposition: p["disposition"], Origin: p["origin"], CorrectiveAction: p["correctiveAction"]}, authentication)
	}
	return nil, fmt.Errorf("nothing of this name is done with findings: %w", coffer.ErrInvalid)
}

func (s *Server) workOnMany(ctx context.Context, c *call, in *workIn) (*later[api.Worked], error) {
	b := &in.Body
	if (len(b.Findings) == 0) == (len(b.Filter) == 0) {
		return nil, fmt.Errorf("name either findings or a filter: %w", coffer.ErrInvalid)
	}
	p := map[string]string{"do": b.Do}
	switch b.Do {
	case "judge":
		p["verdict"], p["note"] = b.Verdict, s.Home.Scrub(b.Note)
	case "note":
		p["note"] = s.Home.Scrub(b.Note)
	case "assign":
		p["owner"] = b.Owner
	case "tickets":
		if err := separable(b.Tickets); err != nil {
			return nil, err
		}
		p["tickets"] = strings.Join(b.Tickets, " ")
		if s.Home.Scrub(p["tickets"]) != p["tickets"] {
			return nil, fmt.Errorf("a ticket looks like a sensitive value: %w", coffer.ErrInvalid)
		}
	case "close":
		if b.Closing == nil {
			return nil, fmt.Errorf("closing says what was done with the data: %w", coffer.ErrInvalid)
		}
		closing := *b.Closing
		for _, text := range []*string{&closing.Disposition, &closing.Origin, &closing.CorrectiveAction} {
			*text = s.Home.Scrub(*text)
		}
		closeParams(p, &closing)
	}
	sel := triage.Selection{IDs: b.Findings, Count: b.Count}
	if len(b.Filter) > 0 {
		f, err := triage.ParseFilter(b.Filter...)
		if err != nil {
			return nil, err
		}
		sel.Filter = f
	}
	ids, err := s.Desk.Select(ctx, c.ask, sel)
	if err != nil {
		return nil, err
	}
	if len(ids) > maxAtOnce || wantsJob(in.Prefer) {
		j, err := s.runner.start(ctx, c, kindWork, s.attemptID(c, in.Key), p, ids)
		if err != nil {
			return nil, err
		}
		return &later[api.Worked]{Status: http.StatusAccepted, Location: "/v1/jobs/" + j.ID, Applied: respondAsync, Body: s.jobOf(j)}, nil
	}
	results, err := s.Desk.Bulk(ctx, c.ask, triage.Selection{IDs: ids}, func(ctx context.Context, t triage.Target) (*triage.Record, error) {
		t.Attempt = c.attempt
		return s.do(ctx, c.ask, t, p)
	})
	if err != nil {
		return nil, err
	}
	out := api.Worked{Results: make([]api.WorkResult, len(results))}
	for i, r := range results {
		out.Results[i].Finding = r.Finding
		if r.Err != nil {
			var prob *problem
			asProblem(s.fail(ctx, concealed(c, r.Err)), &prob)
			out.Results[i].Code, out.Results[i].Detail = prob.Code, prob.Detail
			continue
		}
		sum := r.Record.Summary()
		out.Results[i].Now = ptr(summary(&sum))
	}
	return done(out), nil
}
