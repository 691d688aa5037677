package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/vault"
)

type revealIn struct {
	Finding string `path:"finding" maxLength:"256"`
	Body    api.RevealBody
}

func (*revealIn) hasBody() {}

type indexIn struct {
	IfMatch string `header:"If-Match" maxLength:"256" doc:"Change it only if it is as it was when it had this ETag."`
	Body    api.Index
}

func (*indexIn) hasBody() {}

// revealed is the one answer that holds values. It is not a [reply]: it is never kept for a repetition, which is a reveal of its own
// with an entry of its own.
type revealed struct {
	Body api.Reveal
}

func (s *Server) valueRoutes() {
	handle(s, &route{
		id: "reveal-values", method: http.MethodPost, path: "/v1/findings/{finding}/reveal", tag: "values", action: access.ValueReveal, on: finding,
		summary: "Show sealed values of a finding in plain", also: []int{409},
		doc: "The entry of the audit log is durable before the first value is opened; when it cannot be written the answer is 503. Every call is a reveal of its own.",
	}, func(ctx context.Context, c *call, in *revealIn) (*revealed, error) {
		ask := c.ask
		b := in.Body
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket, ask.Context.Purpose = b.Reason, b.Note, b.Ticket, b.Purpose
		ask.Context.Grant = b.Grant
		list, err := s.Vault.Reveal(ctx, ask, in.Finding, b.Numbers...)
		if err != nil {
			return nil, err
		}
		return s.reveal(list), nil
	})
	handle(s, &route{
		id: "reveal-token", method: http.MethodPost, path: "/v1/findings/by-token/reveal", tag: "values", action: access.ValueReveal, on: object,
		summary: "Show the value behind a token of a tokenising fix", also: []int{409},
	}, func(ctx context.Context, c *call, in *body[api.TokenBody]) (*revealed, error) {
		ask := c.ask
		b := in.Body
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket, ask.Context.Purpose = b.Reason, b.Note, b.Ticket, b.Purpose
		ask.Context.Grant = b.Grant
		one, err := s.Vault.Detokenise(ctx, ask, b.Token)
		if err != nil {
			return nil, err
		}
		return s.reveal([]vault.Revealed{one}), nil
	})
	handle(s, &route{
		id: "search-values", method: http.MethodPost, path: "/v1/values/search", tag: "values", action: access.ValueSearch, said: true,
		summary: "In which objects does a value stand?",
		doc:     "Answers with places and masked forms alone. Only types that are indexed can be searched.",
	}, func(ctx context.Context, c *call, in *body[api.SearchBody]) (*reply[api.Hits], error) {
		plain := []byte(in.Body.Value)
		if in.Body.Encoding != "" {
			var err error
			if plain, err = base64.StdEncoding.DecodeString(in.Body.Value); err != nil || len(plain) == 0 {
				return nil, fmt.Errorf("the value is no base64: %w", coffer.ErrInvalid)
			}
		}
		value := coffer.NewPlaintext(plain)
		in.Body.Value = ""
		defer value.Wipe()
		ask := c.ask
		b := &in.Body
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket, ask.Context.Purpose = b.Reason, b.Note, b.Ticket, b.Purpose
		ask.Context.Grant = b.Grant
		hits, err := s.Vault.Search(ctx, ask, coffer.DataType(in.Body.Type), value)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Hits]{Status: http.StatusOK, Body: api.Hits{Hits: []api.Hit{}}}
		for _, h := range hits {
			out.Body.Hits = append(out.Body.Hits, api.Hit{
				Finding: h.Finding, N: h.N, Type: string(h.Type), At: s.Home.Cut(h.At).String(), Masked: h.Masked,
				Object: coffer.Object{Bucket: h.Object.Bucket, Key: h.Object.Key, VersionID: h.Object.VersionID},
			})
		}
		return out, nil
	})
	handle(s, &route{
		id: "show-index", method: http.MethodGet, path: "/v1/values/index", tag: "values", action: access.ValueSearch,
		summary: "Which types can be searched",
	}, func(ctx context.Context, _ *call, _ *none) (*reply[api.Index], error) { return s.index(ctx) })
	handle(s, &route{
		id: "set-index", method: http.MethodPut, path: "/v1/values/index", tag: "values", action: access.AdminIndex,
		summary: "Choose the types that can be searched", also: []int{409, 412},
		doc: "Types that are not named are turned off and their index is removed. For those that are new, the values that are sealed already enter as a job, which the answer names.",
	}, func(ctx context.Context, c *call, in *indexIn) (*reply[api.Index], error) {
		now, err := s.index(ctx)
		if err != nil {
			return nil, err
		}
		if err := match(c, in.IfMatch, now.ETag); err != nil {
			return nil, err
		}
		started, err := s.setIndex(ctx, c, in.Body.Types)
		if err != nil {
			return nil, err
		}
		out, err := s.index(ctx)
		if err != nil {
			return nil, err
		}
		if out.Body.Job = started; started != "" {
			out.Status, out.Location = http.StatusAccepted, "/v1/jobs/"+started
		}
		return out, nil
	})
}

// setIndex turns the index of exactly these types on. It returns the job that enters the values that are sealed already; empty: there is
// nothing to enter.
func (s *Server) setIndex(ctx context.Context, c *call, types []string) (string, error) {
	now, err := s.Vault.Indexed(ctx)
	if err != nil {
		return "", err
	}
	var on, off []coffer.DataType
	for _, t := range types {
		if !slices.Contains(now, coffer.DataType(t)) && !slices.Contains(on, coffer.DataType(t)) {
			on = append(on, coffer.DataType(t))
		}
	}
	for _, t := range now {
		if !slices.Contains(types, string(t)) {
			off = append(off, t)
		}
	}
	if len(off) > 0 {
		if err := s.Vault.TurnIndex(ctx, c.ask, off, false); err != nil {
			return "", err
		}
	}
	if len(on) == 0 {
		return "", nil
	}
	if err := s.Vault.TurnIndex(ctx, c.ask, on, true); err != nil {
		return "", err
	}
	var ids []string
	for sum, err := range s.Desk.Records.All(ctx) {
		if err != nil {
			return "", err
		}
		ids = append(ids, sum.ID)
	}
	j, err := s.runner.start(ctx, c, kindIndex, "", map[string]string{"types": joinTypes(on)}, ids)
	if err != nil {
		return "", err
	}
	return j.ID, nil
}

func joinTypes(types []coffer.DataType) string {
	var out []string
	for _, t := range types {
		out = append(out, string(t))
	}
	return strings.Join(out, " ")
}

func (s *Server) index(ctx context.Context) (*reply[api.Index], error) {
	types, err := s.Vault.Indexed(ctx)
	if err != nil {
		return nil, err
	}
	out := api.Index{Types: []string{}}
	for _, t := range types {
		out.Types = append(out.Types, string(t))
	}
	tag, err := s.tag(out)
	return &reply[api.Index]{Status: http.StatusOK, ETag: tag, Body: out}, err
}

// reveal puts values into an answer and wipes where they came from.
func (s *Server) reveal(list []vault.Revealed) *revealed {
	out := &revealed{Body: api.Reveal{Values: make([]api.Revealed, 0, len(list))}}
	for _, r := range list {
		b := r.Plain.Expose()
		v := api.Revealed{Finding: r.Finding, N: r.N, Type: string(r.Type), At: r.At.String(), Value: string(b)}
		if !utf8.Valid(b) {
			v.Value, v.Encoding = base64.StdEncoding.EncodeToString(b), "base64"
		}
		r.Plain.Wipe()
		out.Body.Values = append(out.Body.Values, v)
	}
	s.metrics.revealed.Add(float64(len(list)))
	return out
}
