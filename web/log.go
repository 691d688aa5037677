package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/internal/filter"
	"coffer/vault"
)

// entriesIn chooses entries of the log, with the filter as query parameters; which there are is package audit's to say.
type entriesIn struct {
	Since  string `query:"since" maxLength:"40" doc:"From this time on: 2026-07-15, 2026-07-15T03:21:07Z or -7d."`
	Until  string `query:"until" maxLength:"40" doc:"Before this time."`
	Oldest bool   `query:"oldest" doc:"Oldest first."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000"`
	Cursor string `query:"cursor" maxLength:"512"`

	filter url.Values
}

// Resolve implements [huma.Resolver]: it collects the terms.
func (in *entriesIn) Resolve(ctx huma.Context) []error {
	in.filter = terms(ctx, "since", "until", "oldest", "limit", "cursor")
	return nil
}

type exportIn struct {
	Since  string `query:"since" maxLength:"40"`
	Until  string `query:"until" maxLength:"40"`
	Oldest bool   `query:"oldest" default:"true"`
	Format string `query:"format" enum:"jsonl,csv,ocsf" default:"jsonl" doc:"JSON Lines; CSV in which no cell is a formula; or events of the Open Cybersecurity Schema Framework as JSON Lines."`

	filter url.Values
}

// Resolve implements [huma.Resolver].
func (in *exportIn) Resolve(ctx huma.Context) []error {
	in.filter = terms(ctx, "since", "until", "oldest", "format")
	return nil
}

// terms returns the query without a route's own parameters.
func terms(ctx huma.Context, own ...string) url.Values {
	u := ctx.URL()
	q := u.Query()
	for _, name := range own {
		q.Del(name)
	}
	return q
}

type reviewIn struct {
	From    string `query:"from" required:"true" maxLength:"40" doc:"First day or instant: 2026-07-01, 2026-07-01T08:00:00Z or -90d."`
	To      string `query:"to" maxLength:"40" doc:"Last day or instant, included; now when left out."`
	Person  string `query:"person" maxLength:"128"`
	Finding string `query:"finding" maxLength:"256"`
}

type followIn struct {
	Last string `header:"Last-Event-ID" maxLength:"20" pattern:"^[0-9]*$" doc:"Index of the last entry that was seen."`

	filter url.Values
}

// Resolve implements [huma.Resolver].
func (in *followIn) Resolve(ctx huma.Context) []error {
	in.filter = terms(ctx)
	return nil
}

type personIn struct {
	Person string `path:"person" maxLength:"128"`
}

// entryParams documents the filter of the log: every field with the operators that it takes.
func entryParams() []*huma.Param {
	now := time.Now()
	return filterParams(audit.FilterFields(), func(pair string) error { _, err := audit.ParseFilter(now, pair); return err })
}

var errTime = fmt.Errorf("write a time as 2026-07-15, 2026-07-15T03:21:07Z or -7d: %w", coffer.ErrInvalid)

// filterOf returns the filter of a query.
func (s *Server) filterOf(query url.Values, since, until string) (audit.Filter, error) {
	now := s.Now()
	f, err := audit.FilterOf(now, query)
	if err != nil {
		return f, err
	}
	for _, t := range []struct {
		s  string
		to *time.Time
	}{{since, &f.From}, {until, &f.To}} {
		if t.s == "" {
			continue
		}
		m, ok := filter.ParseMoment(t.s)
		if !ok {
			return f, errTime
		}
		*t.to, _ = m.At(now)
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
		summary: "Entries of the audit log, newest first", params: entryParams,
		doc: "Filters are query parameters: `action=remedy.*&outcome!=intent&time.gte=-7d`. All must hold.",
	}, func(ctx context.Context, c *call, in *entriesIn) (*reply[api.Entries], error) {
		f, err := s.filterOf(in.filter, in.Since, in.Until)
		if err != nil {
			return nil, err
		}
		f.Newest = !in.Oldest
		query := fmt.Sprintf("%q", []string{in.filter.Encode(), in.Since, in.Until, strconv.FormatBool(in.Oldest)})
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
		id: "export-log", method: http.MethodGet, path: "/v1/audit/export", tag: "log", action: access.AuditRead, stream: "text/plain", params: entryParams,
		summary: "Take the audit log away", doc: "One line for each entry, oldest first. If it cannot be read to its end the connection breaks, so that half an export does not look like a whole one.",
	}, func(ctx context.Context, c *call, in *exportIn) (*streamed, error) {
		f, err := s.filterOf(in.filter, in.Since, in.Until)
		if err != nil {
			return nil, err
		}
		seq, err := s.entries(ctx, c, f, "export")
		if err != nil {
			return nil, err
		}
		return &streamed{Body: func(hc huma.Context) {
			out := newLines(s, hc, "text/plain; charset=utf-8")
			name, write := "coffer-log.jsonl", audit.WriteJSON
			switch in.Format {
			case "csv":
				name, write = "coffer-log.csv", audit.WriteCSV
			case "ocsf":
				name, write = "coffer-log.ocsf.jsonl", audit.WriteOCSF
			}
			out.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
			if err := write(exportWriter{out}, seq); err != nil {
				s.stopped(ctx, out, err)
			}
			out.start()
		}}, nil
	})
	handle(s, &route{
		id: "review-access", method: http.MethodGet, path: "/v1/audit/review", tag: "log", action: access.AuditRead,
		summary: "Access review: who saw what in a period, when and why",
		doc:     "A period of at most 400 days. Intents without a result are counted apart: the values may have been shown.",
	}, func(ctx context.Context, c *call, in *reviewIn) (*reply[api.Review], error) {
		o, err := s.period(in.From, in.To)
		if err != nil {
			return nil, err
		}
		o.Person, o.Finding = in.Person, in.Finding
		if err := s.reads(ctx, c, "review"); err != nil {
			return nil, err
		}
		rv, err := s.Guard.Log.Review(ctx, o)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Review]{Status: http.StatusOK, Body: api.Review{From: rv.From, To: rv.To, People: []api.Reviewed{}}}
		for i := range rv.People {
			p := Reviewed(&rv.People[i])
			if p.Name, err = s.Guard.Log.Person(ctx, p.Person); err != nil && !errors.Is(err, coffer.ErrNotFound) && !errors.Is(err, coffer.ErrInvalid) {
				return nil, err
			}
			out.Body.People = append(out.Body.People, p)
		}
		return out, nil
	})
	handle(s, &route{
		id: "mark-review", method: http.MethodPost, path: "/v1/audit/review", tag: "log", action: access.AuditRead, status: http.StatusNoContent,
		summary: "Record that an access review of a person was done, with a note",
	}, func(ctx context.Context, c *call, in *body[api.MarkBody]) (*struct{}, error) {
		b := &in.Body
		return &struct{}{}, s.markReviewed(ctx, c, b.Person, b.From, b.To, b.Note)
	})
	handle(s, &route{
		id: "find-sights", method: http.MethodPost, path: "/v1/audit/seen", tag: "log", action: access.AuditRead,
		summary: "Who saw a value?",
		doc:     "From keyed hashes in the log, also of values that were destroyed since. It needs the right to search by value, too, and is charged as a search.",
	}, func(ctx context.Context, c *call, in *body[api.SeenBody]) (*reply[api.Sights], error) {
		value := coffer.NewPlaintext([]byte(in.Body.Value))
		in.Body.Value = ""
		defer value.Wipe()
		f, err := s.filterOf(nil, in.Body.Since, "")
		if err != nil {
			return nil, err
		}
		seen, err := s.Vault.Seen(ctx, c.ask, value, f)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Sights]{Status: http.StatusOK, Body: api.Sights{Sights: []api.Sight{}}}
		for _, x := range seen {
			out.Body.Sights = append(out.Body.Sights, Sight(x))
		}
		return out, nil
	})
	handle(s, &route{
		id: "follow-log", method: http.MethodGet, path: "/v1/audit/follow", tag: "log", action: access.AuditRead, stream: eventStream, params: entryParams,
		summary: "Follow the audit log by server-sent events",
		doc:     "An event `entry` for each entry as it comes under a checkpoint, its index as id. Taken up with Last-Event-ID it goes on behind that entry; without, it begins with what comes now. Filters are those of list-entries; a time that is relative to now stays what it was when the stream began.",
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
		r, err := s.Home.VerifyLog(ctx, in.Body.Key, []byte(in.Body.Checkpoint))
		if err != nil {
			return nil, err
		}
		return &reply[api.Verified]{Status: http.StatusOK, Body: Verified(r)}, nil
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

// period reads the period of a review.
func (s *Server) period(from, to string) (audit.ReviewOptions, error) {
	now := s.Now()
	o := audit.ReviewOptions{To: now}
	m, ok := filter.ParseMoment(from)
	o.From, _ = m.At(now)
	if ok && to != "" {
		m, ok = filter.ParseMoment(to)
		_, o.To = m.At(now)
	}
	if !ok {
		return o, errTime
	}
	return o, nil
}

// markReviewed records that the caller reviewed what a person did.
func (s *Server) markReviewed(ctx context.Context, c *call, person, from, to, note string) error {
	o, err := s.period(from, to)
	if err != nil {
		return err
	}
	if strings.TrimSpace(note) == "" {
		return fmt.Errorf("say in a note what came of the review: %w", coffer.ErrInvalid)
	}
	how := c.ask.Context
	how.Note = note
	permit, err := s.Guard.Check(ctx, c.ask.Caller, access.AuditRead, access.Resource{Kind: access.System}, how)
	if err != nil {
		return err
	}
	return s.Guard.Log.MarkReviewed(ctx, permit, person, o.From, o.To)
}

// exportWriter writes an export without flushing each line.
type exportWriter struct{ *lines }

func (w exportWriter) Write(b []byte) (int, error) {
	w.start()
	w.extend()
	return w.w.Write(b)
}

// Reviewed is what a review has of a person as it travels, without the name.
func Reviewed(p *audit.Reviewed) api.Reviewed {
	out := api.Reviewed{
		Person: p.Person, Kinds: []string{}, Roles: some(p.Roles), Reveals: p.Reveals, Values: p.Values, PossibleReveals: p.PossibleReveals,
		PossibleValues: p.PossibleValues, FailedReveals: p.FailedReveals, Types: some(p.Types), Reasons: p.Reasons, Searches: p.Searches, Changes: p.Changes,
		Approvals: p.Approvals, BreakGlass: p.BreakGlass, Denials: p.Denials, LogReads: p.Exports, First: p.First, Last: p.Last, LastReveal: p.LastReveal,
		Findings: []api.ReviewedFinding{},
	}
	for _, k := range p.Kinds {
		out.Kinds = append(out.Kinds, string(k))
	}
	for _, f := range p.Findings {
		out.Findings = append(out.Findings, api.ReviewedFinding{
			Finding: f.Finding, Reveals: f.Reveals, PossibleReveals: f.PossibleReveals, Numbers: f.Span(), First: f.First, Last: f.Last,
			Reasons: some(f.Reasons), Grants: some(f.Grants),
		})
	}
	return out
}

// some is a list that is never null in JSON.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Sight is one time that a value was shown as it travels.
func Sight(x vault.Sight) api.Sight {
	return api.Sight{Time: x.Time, Person: x.Person, Finding: x.Finding, N: x.N, Reason: x.Reason, Intent: x.Intent.String(), Possible: x.Possible}
}

// Verified is what a verification found as it travels.
func Verified(r *audit.Report) api.Verified {
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
	f, err := s.filterOf(in.filter, "", "")
	if err != nil {
		return nil, err
	}
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
				f.Index = next
				for e, err := range s.Guard.Log.Entries(ctx, f) {
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
				next = max(next, size) // what the filter does not choose is not looked at again
			}
			if !ev.wait(ctx) {
				return
			}
		}
	}}, nil
}
