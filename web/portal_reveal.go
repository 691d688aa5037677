package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/job"
	"coffer/triage"
	"coffer/vault"
)

// maxLook is how many times 30 seconds the browser may tell of in one report.
const maxLook = 11 * 30 * time.Second

// openValues are values on a page, by the numbers of their places. They are in the one answer that shows them, and nowhere else.
type openValues struct {
	N     int
	Back  string // the page without them
	text  map[int]string
	Shown string // numbers, for the reports of the script
}

type revealPage struct {
	*findingPage
	Head     string // what, and how many
	Place    string
	Column   string
	N        string // numbers, separated by commas
	Type     string // the kind that could be shown whole
	Kind     string
	One, All int    // how many values the two scopes show
	Scope    string // some or all
	AllHint  string // what showing all takes
	Reasons  []string
	Reason   string
	Ticket   string
	Text     string // the note
	Grant    string
	Key      string
	Problem  *problemPage
	Person   string
	Fresh    bool
	StepUp   string
}

func (s *Server) revealPages() {
	s.page(&route{id: "reveal", method: http.MethodGet, path: "/findings/{finding}/reveal", action: access.FindingRead, on: finding, direct: true}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.askReveal(ctx, v, v.r.URL.Query(), nil)
	})
	s.page(&route{id: "reveal-now", method: http.MethodPost, path: "/findings/{finding}/reveal", action: access.ValueReveal, on: finding}, s.revealNow)
	s.page(&route{id: "shown", method: http.MethodPost, path: "/findings/{finding}/shown", action: access.FindingRead, on: finding, direct: true}, func(ctx context.Context, v *visit) (*screen, error) {
		ns, err := numbers(v.field("n"))
		if err != nil {
			return nil, err
		}
		what, _, _ := strings.Cut(v.field("what"), "-")
		took, err := strconv.Atoi(v.field("seconds"))
		if err != nil || took < 0 || time.Duration(took)*time.Second > maxLook {
			took = 0
		}
		return &screen{}, s.Vault.Observe(ctx, v.ask, v.r.PathValue("finding"), vault.Observation(what), time.Duration(took)*time.Second, ns...)
	})
}

// numbers reads numbers of places, separated by commas.
func numbers(text string) ([]int, error) {
	var out []int
	for one := range strings.SplitSeq(text, ",") {
		if one == "" {
			continue
		}
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 || len(out) == 10_000 {
			return nil, fmt.Errorf("numbers of values: %w", coffer.ErrInvalid)
		}
		out = append(out, n)
	}
	return out, nil
}

// askReveal shows the form. Nothing about a value is in it yet.
func (s *Server) askReveal(ctx context.Context, v *visit, said url.Values, problem *problemPage) (*screen, error) {
	id := v.r.PathValue("finding")
	fp, err := s.findingPage(ctx, v, id, "notes", nil)
	if err != nil {
		return nil, err
	}
	rec, lines, err := s.Desk.Read(ctx, v.ask, id)
	if err != nil {
		return nil, err
	}
	ns, err := numbers(said.Get("n"))
	if err != nil {
		return nil, err
	}
	sealed := slices.DeleteFunc(slices.Clone(lines), func(l triage.Line) bool { return !l.Sealed && l.Same == nil })
	if len(sealed) == 0 {
		return nil, fmt.Errorf("sealed values of the finding: %w", coffer.ErrNotFound)
	}
	if len(ns) == 0 {
		ns = []int{sealed[0].N}
	}
	p := revealPage{
		findingPage: fp, Reasons: s.reasons(), Reason: said.Get("reason"), Ticket: said.Get("ticket"), Text: said.Get("note"), Grant: said.Get("grant"), Scope: said.Get("scope"),
		Key: said.Get("key"), Problem: problem, One: len(ns), Person: v.ask.Caller.Name,
	}
	if p.Scope == "" {
		p.Scope = "some"
	}
	if p.Key == "" || problem == nil {
		p.Key = rand.Text()
	}
	var names []string
	for _, n := range ns {
		names = append(names, strconv.Itoa(n))
	}
	p.N = strings.Join(names, ",")
	i := slices.IndexFunc(sealed, func(l triage.Line) bool { return l.N == ns[0] })
	if i < 0 {
		return nil, fmt.Errorf("sealed value %d of the finding: %w", ns[0], coffer.ErrNotFound)
	}
	first := sealed[i]
	p.Type, p.Kind = string(first.Type), pluralKind(first.Type, 2)
	for _, l := range sealed {
		if l.Type == first.Type {
			p.All++
		}
	}
	p.Head = fmt.Sprintf("Reveal %s %s", grouped(len(ns)), pluralKind(first.Type, len(ns)))
	p.Place, p.Column = s.Home.Cut(first.At).String(), first.Column
	how := v.ask.Context
	how.Reason, how.Note, how.Ticket, how.Values, how.SignedIn = s.reasons()[0], strings.Repeat("-", 20), "-", p.All, v.now
	if !s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
		p.AllHint = "Needs an approved request"
	}
	how = v.ask.Context
	how.Reason, how.Note, how.Ticket, how.Values = s.reasons()[0], strings.Repeat("-", 20), "-", len(ns)
	p.Fresh = s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how)
	if !p.Fresh {
		if how.SignedIn = v.now; s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
			p.StepUp = "/step-up?to=" + url.QueryEscape("/findings/"+url.PathEscape(id)+"/reveal?n="+p.N)
		}
	}
	sc := &screen{page: "reveal", title: s.Home.Scrub("Reveal, " + fp.Name), nav: "/findings", data: p}
	if problem != nil {
		sc.status = problem.Status
	}
	return sc, nil
}

// revealNow opens values and shows them in their places. The same form sent again, as by a reload, shows nothing.
func (s *Server) revealNow(ctx context.Context, v *visit) (*screen, error) {
	id := v.r.PathValue("finding")
	ns, err := numbers(v.field("n"))
	if err != nil {
		return nil, err
	}
	if v.field("scope") == "all" {
		_, lines, err := s.Desk.Read(ctx, v.ask, id)
		if err != nil {
			return nil, err
		}
		ns = nil
		for _, l := range lines {
			if (l.Sealed || l.Same != nil) && string(l.Type) == v.field("type") {
				ns = append(ns, l.N)
			}
		}
	}
	if len(ns) == 0 {
		return nil, fmt.Errorf("choose which values to reveal: %w", coffer.ErrInvalid)
	}
	ask := v.ask
	ask.Context.Reason, ask.Context.Note, ask.Context.Ticket, ask.Context.Grant = v.field("reason"), v.field("note"), v.field("ticket"), v.field("grant")
	var list []vault.Revealed
	request := fmt.Appendf(nil, "%s\x00%v\x00%s\x00%s\x00%s", id, ns, ask.Context.Reason, ask.Context.Note, ask.Context.Ticket)
	_, replayed, err := s.Once.Do(ctx, ask.Caller.ID, "portal-reveal-"+v.field("key"), request, func(ctx context.Context) (job.Answer, error) {
		var err error
		list, err = s.Vault.Reveal(ctx, ask, id, ns...)
		return job.Answer{Status: http.StatusOK, Body: []byte("{}")}, err
	})
	var reused *job.ReusedError
	var busy *job.BusyError
	if replayed || errors.As(err, &reused) || errors.As(err, &busy) {
		return &screen{to: findingPath(id, v.field("list"), ""), said: "These values were shown already. Opening them again asks again."}, nil
	}
	if err != nil {
		var p *problem
		asProblem(s.hide(ctx, v.call, &route{action: access.ValueReveal, on: finding}, err), &p)
		if p.Status == http.StatusNotFound {
			return nil, p
		}
		page := s.problemPage(v, p)
		return s.askReveal(ctx, v, v.form, &page)
	}
	open := &openValues{N: len(list), Back: findingPath(id, v.field("list"), ""), text: map[int]string{}}
	for _, r := range list {
		b := r.Plain.Expose()
		text := string(b)
		if !utf8.Valid(b) {
			text = fmt.Sprintf("%x", b)
		}
		open.text[r.N] = text
		open.Shown += "," + strconv.Itoa(r.N)
		r.Plain.Wipe()
	}
	open.Shown = strings.TrimPrefix(open.Shown, ",")
	s.metrics.revealed.Add(float64(len(list)))
	p, err := s.findingPage(ctx, v, id, "values", open)
	if err != nil {
		return nil, err
	}
	return &screen{page: "finding", title: s.Home.Scrub(p.Name), nav: "/findings", data: p}, nil
}
