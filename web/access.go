package web

import (
	"context"
	"net/http"
	"time"

	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/grant"
)

type requestsIn struct {
	Inbox bool `query:"inbox" doc:"Only those that wait for the caller to decide or, of broken glass, to review."`
}

type ofRequest struct {
	Request string `path:"request" maxLength:"64"`
}

func (s *Server) accessRoutes() {
	handle(s, &route{
		id: "request-access", method: http.MethodPost, path: "/v1/access/requests", tag: "access", action: access.AccessRequest, on: object, status: http.StatusCreated,
		summary: "Ask for values that the policies show only with an approval", also: []int{409},
		doc: "For value.reveal the request names a finding, for value.search none. An approval is good for exactly this request, by who asked, for a time, and once.",
	}, func(ctx context.Context, c *call, in *actsWith[api.AccessBody]) (*reply[api.Request], error) {
		b := in.Body
		ask := c.ask
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket = b.Reason, b.Note, b.Ticket
		r, err := s.Grants.Ask(ctx, ask, grant.Wanted{
			Action: access.Action(b.Action), Finding: b.Finding, Numbers: b.Numbers, Values: b.Values,
			Duration: time.Duration(b.Seconds) * time.Second, Attempt: s.attemptID(c, in.Key),
		})
		if err != nil {
			c.known = b.Finding == "" || s.mayRead(ctx, c, b.Finding)
			return nil, err
		}
		return s.requested(r, http.StatusCreated)
	})
	handle(s, &route{
		id: "list-requests", method: http.MethodGet, path: "/v1/access/requests", tag: "access", action: access.AccessList,
		summary: "Requests for access and broken glass, newest first",
		doc:     "The caller's own, and those that the caller may decide on; whoever may read the log sees all.",
	}, func(ctx context.Context, c *call, in *requestsIn) (*reply[api.Requests], error) {
		list, err := s.Grants.List(ctx, c.ask, in.Inbox)
		if err != nil {
			return nil, err
		}
		return &reply[api.Requests]{Status: http.StatusOK, Body: s.requests(list)}, nil
	})
	handle(s, &route{
		id: "show-request", method: http.MethodGet, path: "/v1/access/requests/{request}", tag: "access", action: access.AccessList, on: request,
		summary: "Show a request, with the hash by which it is approved",
	}, func(ctx context.Context, c *call, in *ofRequest) (*reply[api.Request], error) {
		r, err := s.Grants.Read(ctx, c.ask, in.Request)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusOK)
	})
	handle(s, &route{
		id: "approve-request", method: http.MethodPost, path: "/v1/access/requests/{request}/approve", tag: "access", action: access.AccessApprove, on: request,
		summary: "Approve exactly the request that was shown", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnRequestWith[api.ApproveBody]) (*reply[api.Request], error) {
		if err := s.matchRequest(ctx, c, in.Request, in.IfMatch); err != nil {
			return nil, err
		}
		r, err := s.Grants.Approve(ctx, c.ask, in.Request, in.Body.Hash)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusOK)
	})
	handle(s, &route{
		id: "deny-request", method: http.MethodPost, path: "/v1/access/requests/{request}/deny", tag: "access", action: access.AccessApprove, on: request,
		summary: "Deny a request, or take back an approval that was not used", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnRequestWith[api.AnswerBody]) (*reply[api.Request], error) {
		if err := s.matchRequest(ctx, c, in.Request, in.IfMatch); err != nil {
			return nil, err
		}
		r, err := s.Grants.Deny(ctx, c.ask, in.Request, in.Body.Note)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusOK)
	})
	handle(s, &route{
		id: "withdraw-request", method: http.MethodPost, path: "/v1/access/requests/{request}/withdraw", tag: "access", action: access.AccessList, on: request,
		summary: "Take back a request of the caller's own", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnRequest) (*reply[api.Request], error) {
		if err := s.matchRequest(ctx, c, in.Request, in.IfMatch); err != nil {
			return nil, err
		}
		r, err := s.Grants.Withdraw(ctx, c.ask, in.Request)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusOK)
	})
	handle(s, &route{
		id: "break-glass", method: http.MethodPost, path: "/v1/access/glass", tag: "access", action: access.AccessBreak, said: true, status: http.StatusCreated,
		summary: "Break the glass: see values in an emergency without an approval", also: []int{409},
		doc: "Everybody will know, and somebody else reviews what was done. The id is given as grant to a reveal.",
	}, func(ctx context.Context, c *call, in *actsWith[api.GlassBody]) (*reply[api.Request], error) {
		b := in.Body
		ask := c.ask
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket = b.Reason, b.Note, b.Ticket
		r, err := s.Grants.Break(ctx, ask, time.Duration(b.Seconds)*time.Second)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusCreated)
	})
	handle(s, &route{
		id: "list-glass", method: http.MethodGet, path: "/v1/access/glass", tag: "access", action: access.FindingList,
		summary: "Broken glass that nobody has reviewed: nobody's secret",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Requests], error) {
		permit, err := s.Guard.Check(ctx, c.ask.Caller, access.FindingList, access.Resource{Kind: access.System}, c.ask.Context)
		if err != nil {
			return nil, err
		}
		list, err := s.Grants.Glass(ctx)
		if err == nil {
			err = s.Guard.Log.Later(ctx, permit.Entry(audit.Done))
		}
		if err != nil {
			return nil, err
		}
		return &reply[api.Requests]{Status: http.StatusOK, Body: s.requests(list)}, nil
	})
	handle(s, &route{
		id: "review-glass", method: http.MethodPost, path: "/v1/access/requests/{request}/review", tag: "access", action: access.AccessReview, on: request,
		summary: "Record that one looked into what was done through broken glass", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnRequestWith[api.AnswerBody]) (*reply[api.Request], error) {
		if err := s.matchRequest(ctx, c, in.Request, in.IfMatch); err != nil {
			return nil, err
		}
		r, err := s.Grants.Review(ctx, c.ask, in.Request, in.Body.Note)
		if err != nil {
			return nil, err
		}
		return s.requested(r, http.StatusOK)
	})
}

// mayRead reports whether the caller may look at a finding, and so know that it exists.
func (s *Server) mayRead(ctx context.Context, c *call, id string) bool {
	rec, err := s.Desk.Records.Get(ctx, id)
	if err != nil {
		return false
	}
	policy, err := s.Guard.Current(ctx)
	return err == nil && policy.Decide(access.Request{Caller: c.ask.Caller, Action: access.FindingRead, Resource: rec.Resource(), Context: c.ask.Context}).Allow
}

// requested answers with a request and its ETag.
func (s *Server) requested(r *grant.Request, status int) (*reply[api.Request], error) {
	shown := s.requestOf(r)
	tag, err := s.tag(shown)
	out := &reply[api.Request]{Status: status, ETag: tag, Body: shown}
	if status == http.StatusCreated {
		out.Location = "/v1/access/requests/" + r.ID
	}
	return out, err
}

// matchRequest compares the request, as it is shown, with an If-Match header.
func (s *Server) matchRequest(ctx context.Context, c *call, id, header string) error {
	if header == "" {
		return nil
	}
	r, _, err := s.Grants.Look(ctx, id)
	if err != nil {
		return err
	}
	tag, err := s.tag(s.requestOf(r))
	if err != nil {
		return err
	}
	return match(c, header, tag)
}

func (s *Server) requests(list []*grant.Request) api.Requests {
	out := api.Requests{Requests: make([]api.Request, len(list))}
	for i, r := range list {
		out.Requests[i] = s.requestOf(r)
	}
	return out
}

func (s *Server) requestOf(r *grant.Request) api.Request {
	now := s.Now()
	out := api.Request{
		Request: r.ID, Glass: r.Glass, By: r.By, Action: string(r.Action), Finding: r.Finding, Generation: r.Generation, Numbers: r.Numbers,
		Values: r.Values, Reason: r.Reason, Note: r.Note, Ticket: r.Ticket, Duration: r.Duration.String(), Need: r.Need, Created: r.Created,
		Hash: r.Hash, Deadline: r.Deadline, Spent: r.Spent, Answer: r.Answer, Ended: r.Ended, EndedBy: r.EndedBy, State: string(r.State(now)),
	}
	for _, a := range r.Approvals {
		out.Approvals = append(out.Approvals, api.GrantApproval(a))
	}
	if until := r.Until(); until.After(now) {
		out.Until = &until
	}
	return out
}
