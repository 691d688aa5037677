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

// needsRequest is what it takes to see more values than the policy gives without one.
const needsRequest = "Needs an approved request"

// revealForm is what a reveal is asked with, on a page or in a dialog over one. Nothing about a value is in it.
type revealForm struct {
	ID, Short, List string
	Head            string // what, and how many
	Name            string // of the object
	Place           string
	Column          string
	N               string // numbers, separated by commas
	Type            string // the kind that could be shown whole
	Kind            string
	One, All        int    // how many values the two scopes show
	Scope           string // some or all
	AllHint         string // what showing all takes
	Reasons         []string
	Reason          string
	Ticket          string
	Text            string // the note
	Grant           string
	Key             string
	Person          string
}

type revealPage struct {
	*findingPage
	Form    revealForm
	Problem *problemPage
	StepUp  string
}

// reasonCookie keeps reason and ticket of a reveal for as long as somebody goes on with the same work, so that they are not typed again.
const (
	reasonCookie = "__Host-coffer-reason"
	reasonFor    = 5 * time.Minute
)

// revealForm returns the form, filled with the reader's last reason and ticket.
func (s *Server) revealForm(v *visit, p *findingPage) *revealForm {
	f := &revealForm{ID: p.ID, Short: p.Short, List: p.List, Name: p.Name, Scope: "some", One: 1, Reasons: s.reasons(), Key: rand.Text(), Person: v.ask.Caller.Name}
	if k, err := v.r.Cookie(reasonCookie); err == nil {
		if last, err := url.ParseQuery(k.Value); err == nil {
			f.Reason, f.Ticket = last.Get("reason"), last.Get("ticket")
		}
	}
	return f
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
	p := revealPage{findingPage: fp, Form: *s.revealForm(v, fp), Problem: problem}
	f := &p.Form
	f.One = len(ns)
	if problem != nil {
		f.Reason, f.Ticket, f.Text, f.Grant, f.Scope = said.Get("reason"), said.Get("ticket"), said.Get("note"), said.Get("grant"), said.Get("scope")
	} else if g := said.Get("grant"); g != "" {
		f.Grant = g // a link from an approved request
	}
	var names []string
	for _, n := range ns {
		names = append(names, strconv.Itoa(n))
	}
	f.N = strings.Join(names, ",")
	i := slices.IndexFunc(sealed, func(l triage.Line) bool { return l.N == ns[0] })
	if i < 0 {
		return nil, fmt.Errorf("sealed value %d of the finding: %w", ns[0], coffer.ErrNotFound)
	}
	first := sealed[i]
	f.Type, f.Kind = string(first.Type), pluralKind(first.Type, 2)
	for _, l := range sealed {
		if l.Type == first.Type {
			f.All++
		}
	}
	f.Head = fmt.Sprintf("Reveal %s %s", grouped(len(ns)), pluralKind(first.Type, len(ns)))
	f.Place, f.Column = s.Home.Cut(first.At).String(), first.Column
	how := v.ask.Context
	how.Reason, how.Note, how.Ticket, how.Values, how.SignedIn = s.reasons()[0], strings.Repeat("-", 20), "-", f.All, v.now
	if !s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
		f.AllHint = needsRequest
	}
	how = v.ask.Context
	how.Reason, how.Note, how.Ticket, how.Values = s.reasons()[0], strings.Repeat("-", 20), "-", len(ns)
	if !s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
		if how.SignedIn = v.now; s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
			p.StepUp = "/step-up?to=" + url.QueryEscape("/findings/"+url.PathEscape(id)+"/reveal?n="+f.N)
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
	sc := &screen{page: "finding", title: s.Home.Scrub(p.Name), nav: "/findings", data: p}
	last := url.Values{"reason": {ask.Context.Reason}}
	if t := ask.Context.Ticket; t != "" && s.Home.Scrub(t) == t {
		last.Set("ticket", t)
	}
	sc.cookies = append(sc.cookies, hostCookie(reasonCookie, last.Encode(), reasonFor))
	return sc, nil
}
