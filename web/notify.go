package web

import (
	"context"
	"net/http"

	"coffer/access"
	"coffer/api"
)

type (
	ofTarget struct {
		Target string `path:"target" maxLength:"64"`
	}
	actsOnTarget struct {
		Target string `path:"target" maxLength:"64"`
		Key    string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
	}
)

func (i *actsOnTarget) attempt() (string, []byte) { return i.Key, nil }

func (s *Server) notifyRoutes() {
	handle(s, &route{
		id: "list-targets", method: http.MethodGet, path: "/v1/notify/targets", tag: "installation", action: access.AdminNotify,
		summary: "Those that are told what happens, and how deliveries to each go",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Targets], error) {
		list, err := s.Home.Targets(ctx, c.ask)
		return &reply[api.Targets]{Status: http.StatusOK, Body: api.Targets{Targets: list}}, err
	})
	handle(s, &route{
		id: "show-target", method: http.MethodGet, path: "/v1/notify/targets/{target}", tag: "installation", action: access.AdminNotify,
		summary: "What was delivered to a target, what waits and what was put aside",
	}, func(ctx context.Context, c *call, in *ofTarget) (*reply[api.TargetDetail], error) {
		t, err := s.Home.Target(ctx, c.ask, in.Target)
		if err != nil {
			return nil, err
		}
		return &reply[api.TargetDetail]{Status: http.StatusOK, Body: *t}, nil
	})
	order := func(do func(context.Context, access.Ask, string) (api.TargetOutcome, error)) func(context.Context, *call, *actsOnTarget) (*reply[api.TargetOutcome], error) {
		return func(ctx context.Context, c *call, in *actsOnTarget) (*reply[api.TargetOutcome], error) {
			out, err := do(ctx, c.ask, in.Target)
			return &reply[api.TargetOutcome]{Status: http.StatusOK, Body: out}, err
		}
	}
	handle(s, &route{
		id: "test-target", method: http.MethodPost, path: "/v1/notify/targets/{target}/test", tag: "installation", action: access.AdminNotify,
		summary: "Send a message that says that it is a test; where that would change something, ask whether the target can be used",
		also:    []int{409},
	}, order(s.Home.TestTarget))
	handle(s, &route{
		id: "retry-target", method: http.MethodPost, path: "/v1/notify/targets/{target}/retry", tag: "installation", action: access.AdminNotify,
		summary: "Send what a target refused again, and end the wait of one that was down", also: []int{409},
	}, order(s.Home.RetryTarget))
}
