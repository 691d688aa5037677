package web

import (
	"context"
	"net/http"
	"time"

	"coffer/access"
	"coffer/api"
	"coffer/pipeline"
)

type ledgerIn struct {
	Since time.Time `query:"since" doc:"The first day (a time on it); left out: all."`
}

func (s *Server) intakeRoutes() {
	handle(s, &route{
		id: "show-ledger", method: http.MethodGet, path: "/v1/intake/ledger", tag: "intake", action: access.FindingList,
		summary: "How what came in compares with what Macie says, day by day",
	}, func(ctx context.Context, c *call, in *ledgerIn) (*reply[api.Ledger], error) {
		l, err := s.ledger(ctx, c.ask, in.Since)
		if err != nil {
			return nil, err
		}
		return &reply[api.Ledger]{Status: http.StatusOK, Body: *l}, nil
	})
	handle(s, &route{
		id: "reconcile", method: http.MethodPost, path: "/v1/intake/reconcile", tag: "intake", action: access.EventReconcile, status: http.StatusAccepted,
		summary: "Compare what came in with what Macie lists, and take in what never came, as a job",
		doc:     "Findings younger than five minutes are left to their events. What is compared a second time changes nothing.",
	}, func(ctx context.Context, c *call, in *actsWith[api.ReconcileBody]) (*reply[api.Job], error) {
		attempt := s.attemptID(c, in.Key)
		j, err := s.Jobs.Get(ctx, "job-"+attempt)
		if notThere(err) {
			var steps []string
			if steps, err = s.Pipeline.Reconcile(ctx, c.ask, in.Body.Since); err != nil {
				return nil, err
			}
			j, err = s.runner.start(ctx, c, kindReconcile, attempt, nil, steps)
		}
		if err != nil {
			return nil, err
		}
		return s.accepted(j), nil
	})
}

// ledger is the ledger of the days from since on as the API and the portal show it.
func (s *Server) ledger(ctx context.Context, ask access.Ask, since time.Time) (*api.Ledger, error) {
	l, err := s.Pipeline.Ledger(ctx, ask, since)
	if err != nil {
		return nil, err
	}
	out := &api.Ledger{Configured: l.Configured, From: l.From, Until: l.Until, Finished: l.Finished, Sum: ledgerDay(l.Sum()), Days: []api.LedgerDay{}}
	for _, d := range l.Days {
		out.Days = append(out.Days, ledgerDay(d))
	}
	return out, nil
}

func ledgerDay(d pipeline.Day) api.LedgerDay {
	out := api.LedgerDay{
		Day: d.Day, AsOf: d.AsOf, Events: d.Events, Retaken: d.Retaken, Stored: d.Stored, Listed: d.Listed, Suppressed: d.Suppressed,
		Samples: d.Samples, Empty: d.Empty, Results: d.Results, Classified: d.Classified, Gaps: d.Gaps, Named: []api.Gap{},
	}
	for _, g := range d.Named {
		gap := api.Gap{Kind: string(g.Kind), Finding: g.Finding, Object: g.Object}
		if g.Time != nil {
			gap.Since, gap.Until = g.Time.From, g.Time.Until
		}
		for _, k := range pipeline.Gaps {
			if k.Kind == g.Kind {
				gap.Means = k.Doc
			}
		}
		out.Named = append(out.Named, gap)
	}
	return out
}
