package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
)

// entriesIn chooses entries of the log.
type entriesIn struct {
	Actor   string `query:"actor" maxLength:"128" doc:"Pseudonymous id of who acted."`
	Action  string `query:"action" maxLength:"64" doc:"Action, or a group such as remedy.*"`
	Outcome string `query:"outcome" enum:"intent,done,failed,denied"`
	Finding string `query:"finding" maxLength:"256"`
	Plan    string `query:"plan" maxLength:"64"`
	Since   string `query:"since" maxLength:"40" doc:"From this time on: 2026-07-15 or 2026-07-15T03:21:07Z."`
	Until   string `query:"until" maxLength:"40" doc:"Before this time."`
	Oldest  bool   `query:"oldest" doc:"Oldest first."`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000"`
	Cursor  string `query:"cursor" maxLength:"512"`
}

type exportIn struct {
	Actor   string `query:"actor" maxLength:"128"`
	Action  string `query:"action" maxLength:"64"`
	Outcome string `query:"outcome" enum:"intent,done,failed,denied"`
	Finding string `query:"finding" maxLength:"256"`
	Plan    string `query:"plan" maxLength:"64"`
	Since   string `query:"since" maxLength:"40"`
	Until   string `query:"until" maxLength:"40"`
	Oldest  bool   `query:"oldest" default:"true"`
	Format  string `query:"format" enum:"jsonl,csv" default:"jsonl" doc:"JSON Lines, or CSV in which no cell is a formula."`
}

type followIn struct {
	Last string `header:"Last-Event-ID" maxLength:"20" pattern:"^[0-9]*$" doc:"Index of the last entry that was seen."`
}

type personIn struct {
	Person string `path:"person" maxLength:"128"`
}

// filterOf returns the filter of a query.
func filterOf(actor, action, outcome, finding, plan, since, until string) (audit.Filter, error) {
	f := audit.Filter{Actor: actor, Action: action, Outcome: audit.Outcome(outcome), Finding: finding, Plan: plan}
	for _, t := range []struct {
		s  string
		to *time.Time
	}{{since, &f.From}, {until, &f.To}} {
		if t.s == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.s)
		if err != nil {
			at, err = time.Parse(time.DateOnly, t.s)
		}
		if err != nil {
			return f, fmt.Errorf("write a time as 2026-07-15 or 2026-07-15T03:21:07Z: %w", coffer.ErrInvalid)
		}
		*t.to = at
	}
	return f, nil
}

// entries asks whether the log may be read, records that, and returns the chosen entries.
func (s *Server) entries(ctx context.Context, c *call, f audit.Filter, step string) (iter.Seq2[audit.Entry, error], error) {
	if err := s.reads(ctx, c, step); err != nil {
		return nil, err
	}
	return s.Guard.Log.Entries(ctx, f), nil
}

// reads asks whether the caller may read the log, and records that they do.
func (s *Server) reads(ctx context.Context, c *call, step string) error {
	permit, err := s.Guard.Check(ctx, c.ask.Caller, access.AuditRead, access.Resource{Kind: access.System}, c.ask.Context)
	if err != nil {
		return err
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": step}
	_, err = s.Guard.Log.Append(ctx, e)
	return err
}

// entryOf returns an entry as it travels.
func entryOf(e audit.Entry) (api.Entry, error) {
	var b bytes.Buffer
	err := audit.WriteJSON(&b, func(yield func(audit.Entry, error) bool) { yield(e, nil) })
	if err != nil {
		return api.Entry{}, err
	}
	// The line is {"index":N,"entry":E}; E must stay as it is, byte for byte.
	line := bytes.TrimSuffix(b.Bytes(), []byte("}\n"))
	_, leaf, _ := bytes.Cut(line, []byte(`"entry":`))
	return api.Entry{Index: e.Index, Entry: leaf}, nil
}

func (s *Server) logRoutes() {
	handle(s, &route{
		id: "list-entries", method: http.MethodGet, path: "/v1/audit/entries", tag: "log", action: access.AuditRead,
		summary: "Entries of the audit log, newest first",
	}, func(ctx context.Context, c *call, in *entriesIn) (*reply[api.Entries], error) {
		f, err := filterOf(in.Actor, in.Action, in.Outcome, in.Finding, in.Plan, in.Since, in.Until)
		if err != nil {
			return nil, err
		}
		f.Newest = !in.Oldest
		query := fmt.Sprintf("%q", []string{in.Actor, in.Action, in.Outcome, in.Finding, in.Plan, in.Since, in.Until, strconv.FormatBool(in.Oldest)})
		var after string
		more, err := s.from(c, query, in.Cursor, &after)
		if err != nil {
			return nil, err
		}
		seq, err := s.entries(ctx, c, f, "list")
		if err != nil {
			return nil, err
		}
		out := &reply[api.Entries]{Status: http.StatusOK, Body: api.Entries{Entries: []api.Entry{}}}
		last := ""
		for e, err := range seq {
			if err != nil {
				return nil, err
			}
			if more {
				more = e.Ref().String() != after
				continue
			}
			if len(out.Body.Entries) == pageLimit(in.Limit) {
				out.Body.Next, err = s.cursor(c, query, last)
				return out, err
			}
			shown, err := entryOf(e)
			if err != nil {
				return nil, err
			}
			last = e.Ref().String()
			out.Body.Entries = append(out.Body.Entries, shown)
		}
		return out, nil
	})
	handle(s, &route{
		id: "export-log", method: http.MethodGet, path: "/v1/audit/export", tag: "log", action: access.AuditRead, stream: "text/plain",
		summary: "Take the audit log away", doc: "One line for each entry, oldest first. If it cannot be read to its end the connection breaks, so that half an export does not look like a whole one.",
	}, func(ctx context.Context, c *call, in *exportIn) (*streamed, error) {
		f, err := filterOf(in.Actor, in.Action, in.Outcome, in.Finding, in.Plan, in.Since, in.Until)
		if err != nil {
			return nil, err
		}
		seq, err := s.entries(ctx, c, f, "export")
		if err != nil {
			return nil, err
		}
		return &streamed{Body: func(hc huma.Context) {
			out := newLines(s, hc, "text/plain; charset=utf-8")
			out.w.Header().Set("Content-Disposition", `attachment; filename="coffer-log.`+in.Format+`"`)
			write := audit.WriteJSON
			if in.Format == "csv" {
				write = audit.WriteCSV
			}
			if err := write(exportWriter{out}, seq); err != nil {
				s.stopped(ctx, out, err)
			}
			out.start()
		}}, nil
	})
	handle(s, &route{
		id: "follow-log", method: http.MethodGet, path: "/v1/audit/follow", tag: "log", action: access.AuditRead, stream: eventStream,
		summary: "Follow the audit log by server-sent events",
		doc:     "An event `entry` for each entry as it comes under a checkpoint, its index as id. Taken up with Last-Event-ID it goes on behind that entry; without, it begins with what comes now.",
	}, s.followLog)
	handle(s, &route{
		id: "show-checkpoint", method: http.MethodGet, path: "/v1/audit/checkpoint", tag: "log", action: access.AuditRead,
		summary: "The newest signed checkpoint and the key that verifies it",
		doc:     "Keep it where the writer of the log cannot write: only with an old one can it be excluded that the whole log was set back.",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Checkpoint], error) {
		if err := s.reads(ctx, c, "checkpoint"); err != nil {
			return nil, err
		}
		if err := s.Guard.Log.Sequence(ctx); err != nil {
			return nil, err
		}
		cp, err := s.Guard.Log.Checkpoint()
		return &reply[api.Checkpoint]{Status: http.StatusOK, Body: api.Checkpoint{Checkpoint: string(cp), Key: s.Guard.Log.VerifierKey()}}, err
	})
	handle(s, &route{
		id: "verify-log", method: http.MethodPost, path: "/v1/audit/verify", tag: "log", action: access.AuditRead,
		summary: "Prove that the audit log is whole",
	}, func(ctx context.Context, c *call, in *body[api.VerifyBody]) (*reply[api.Verified], error) {
		if err := s.reads(ctx, c, "verify"); err != nil {
			return nil, err
		}
		// A damaged log is not extended any more; the report says what is wrong with it.
		if err := s.Guard.Log.Sequence(ctx); err != nil && !errors.Is(err, coffer.ErrCorrupt) {
			return nil, err
		}
		r, err := s.Home.VerifyLog(ctx, []byte(in.Body.Checkpoint))
		if err != nil {
			return nil, err
		}
		return &reply[api.Verified]{Status: http.StatusOK, Body: verified(r)}, nil
	})
	handle(s, &route{
		id: "show-person", method: http.MethodGet, path: "/v1/people/{person}", tag: "log", action: access.AuditRead,
		summary: "The name behind a pseudonymous id",
	}, func(ctx context.Context, c *call, in *personIn) (*reply[api.Person], error) {
		if err := s.reads(ctx, c, "person"); err != nil {
			return nil, err
		}
		name, err := s.Guard.Log.Person(ctx, in.Person)
		return &reply[api.Person]{Status: http.StatusOK, Body: api.Person{ID: in.Person, Name: name}}, err
	})
	handle(s, &route{
		id: "forget-person", method: http.MethodDelete, path: "/v1/people/{person}", tag: "log", action: access.AdminPerson, status: http.StatusNoContent,
		summary: "Delete the name behind a pseudonymous id; the entries stay verifiable",
	}, func(ctx context.Context, c *call, in *personIn) (*struct{}, error) {
		permit, err := s.Guard.Check(ctx, c.ask.Caller, access.AdminPerson, access.Resource{Kind: access.System}, c.ask.Context)
		if err != nil {
			return nil, err
		}
		return &struct{}{}, s.Guard.Log.Forget(ctx, permit, in.Person)
	})
}

// exportWriter writes an export without flushing each line.
type exportWriter struct{ *lines }

func (w exportWriter) Write(b []byte) (int, error) {
	w.start()
	w.extend()
	return w.w.Write(b)
}

func verified(r *audit.Report) api.Verified {
	out := api.Verified{
		Whole: r.Count == 0, Origin: r.Checkpoint.Origin, Entries: r.Checkpoint.Size, Root: r.Checkpoint.Root.String(), Writers: r.Writers,
		First: r.First, Last: r.Last, Extends: r.Extends, Pending: r.Pending, Open: []api.EntryRef{}, Contradictions: r.Count, Problems: []api.EntryRef{},
	}
	for _, x := range r.Open {
		out.Open = append(out.Open, api.EntryRef{Index: x.Index, Time: x.Time, Action: string(x.Action)})
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, api.EntryRef{Index: p.Index, Time: p.Time, Action: string(p.Action), Kind: string(p.Kind), What: p.What})
	}
	return out
}

// followLog sends entries as they come under a checkpoint, where they have an index that stays.
func (s *Server) followLog(ctx context.Context, c *call, in *followIn) (*streamed, error) {
	if err := s.reads(ctx, c, "follow"); err != nil {
		return nil, err
	}
	next := int64(-1)
	if in.Last != "" {
		n, err := strconv.ParseInt(in.Last, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("Last-Event-ID is the index of an entry: %w", coffer.ErrInvalid)
		}
		next = n + 1
	}
	return &streamed{Body: func(hc huma.Context) {
		ev := newEvents(s, hc)
		for {
			size, err := s.Guard.Log.Size()
			if err != nil {
				ev.fail(ctx, err)
				return
			}
			if next < 0 {
				next = size
			}
			if next < size {
				for e, err := range s.Guard.Log.Entries(ctx, audit.Filter{Index: next}) {
					if err != nil {
						ev.fail(ctx, err)
						return
					}
					if e.Index < next {
						break // those at the young end have no index yet
					}
					shown, err := entryOf(e)
					if err != nil || !ev.send("entry", strconv.FormatInt(e.Index, 10), shown) {
						return
					}
					next = e.Index + 1
				}
			}
			if !ev.wait(ctx) {
				return
			}
		}
	}}, nil
}
