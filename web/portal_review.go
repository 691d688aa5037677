package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// reviewDays are the periods of an access review that a reader chooses from.
var reviewDays = []int{1, 7, 30, 90, 365}

type reviewPage struct {
	Days   int
	Tabs   []tab
	From   string
	People []reviewedRow
	One    *reviewedPerson
	Values int // shown to anybody
}

type reviewedRow struct {
	ID, Name, Roles string
	To              string
	Values          int
	Possible        int
	Kinds           string
	Reasons         string
	Denials         linked
	Last            *when
	Reviewed        string
	BreakGlass      int
}

// reviewedPerson is what one person did.
type reviewedPerson struct {
	reviewedRow
	Head     string
	Facts    []linkedFact
	Findings []reviewedFinding
	Hours    []hourMark
	Most     int
	Zone     string
	Marks    []markRow
	Reveals  string // the list behind the number
	Back     string
	Key      string
}

type linkedFact struct {
	Name, Value, To string
}

type reviewedFinding struct {
	Finding, To string
	Numbers     string
	Reveals     int
	Possible    int
	Reasons     string
	Grants      string
	First, Last *when
}

// hourMark is one hour of the day in the plot, with its reveals.
type hourMark struct {
	X, Y, H, N int
	Label      string
	Name       string
}

type markRow struct {
	By   string
	At   *when
	Note string
	Days string
}

func (s *Server) reviewPages() {
	s.page(&route{id: "access-review", method: http.MethodGet, path: "/access-review", action: access.AuditRead}, s.reviewPage)
	s.page(&route{id: "access-review-mark", method: http.MethodPost, path: "/access-review", action: access.AuditRead}, func(ctx context.Context, v *visit) (*screen, error) {
		person := v.field("person")
		if err := s.markReviewed(ctx, v.call, person, v.field("from"), v.field("to"), v.field("note")); err != nil {
			return nil, err
		}
		return &screen{to: "/access-review?days=" + url.QueryEscape(v.field("days")), said: "The review of " + s.personName(ctx, v, person) + " is on record."}, nil
	})
}

func (s *Server) reviewPage(ctx context.Context, v *visit) (*screen, error) {
	p := &reviewPage{Days: 30}
	if d := v.get("days"); d != "" {
		n, err := strconv.Atoi(d)
		if err != nil || n < 1 || n > 400 {
			return nil, fmt.Errorf("days of a review, 1 to 400: %w", coffer.ErrInvalid)
		}
		p.Days = n
	}
	person := v.get("person")
	from := v.now.AddDate(0, 0, -p.Days)
	p.From = from.UTC().Format(time.RFC3339)
	address := func(days int, person string) string {
		to := "/access-review?days=" + strconv.Itoa(days)
		if person != "" {
			to += "&person=" + url.QueryEscape(person)
		}
		return to
	}
	for _, d := range reviewDays {
		p.Tabs = append(p.Tabs, tab{Name: counted(d, "day"), To: address(d, person), Count: -1, Here: d == p.Days})
	}
	if err := s.reads(ctx, v.call, "review"); err != nil {
		return nil, err
	}
	rv, err := s.Guard.Log.Review(ctx, audit.ReviewOptions{From: from, To: v.now, Person: person, Zone: v.zone})
	if err != nil {
		return nil, err
	}
	marks, err := s.Guard.Log.Marks(ctx, from)
	if err != nil {
		return nil, err
	}
	reviewed := map[string]audit.Mark{}
	for _, m := range marks {
		reviewed[m.Person] = m
	}
	since := "&time.gte=" + url.QueryEscape(p.From)
	row := func(r *audit.Reviewed) reviewedRow {
		out := reviewedRow{
			ID: r.Person, Name: s.personName(ctx, v, r.Person), Roles: strings.ReplaceAll(strings.Join(r.Roles, ", "), "-", " "), To: address(p.Days, r.Person), Values: r.Values,
			Possible: r.PossibleValues, Reasons: strings.ReplaceAll(r.WhyText(), "-", " "), Last: v.at(r.Last), BreakGlass: r.BreakGlass,
			Denials: linked{N: r.Denials, To: "/audit?actor=" + url.QueryEscape(r.Person) + "&decision=deny" + since},
		}
		var kinds []string
		for _, t := range r.Types {
			kinds = append(kinds, kind(coffer.DataType(t)))
		}
		out.Kinds = strings.Join(kinds, ", ")
		if m, ok := reviewed[r.Person]; ok {
			out.Reviewed = v.at(m.At).Text
		}
		return out
	}
	for i := range rv.People {
		p.People = append(p.People, row(&rv.People[i]))
		p.Values += rv.People[i].Values + rv.People[i].PossibleValues
	}
	sc := &screen{page: "review", title: "Access review", nav: "/access-review", data: p}
	if person == "" {
		return sc, nil
	}
	if len(rv.People) == 0 {
		// Whether there is such a person is asked of the log's names: without one, and without an act, there is nobody to review.
		if _, err := s.Guard.Log.Person(ctx, person); err != nil && !errors.Is(err, coffer.ErrUnavailable) {
			return nil, fmt.Errorf("person: %w", coffer.ErrNotFound)
		}
		rv.People = []audit.Reviewed{{Person: person}}
	}
	r := &rv.People[0]
	one := &reviewedPerson{reviewedRow: row(r), Zone: v.zone.String(), Back: address(p.Days, ""), Key: p.From}
	one.Reveals = "/audit?actor=" + url.QueryEscape(person) + "&action=value.reveal&decision=allow" + since
	one.Head = fmt.Sprintf("%s in %s", counted(r.Values, "value"), counted(p.Days, "day"))
	act := func(name string, n int, query string) {
		one.Facts = append(one.Facts, linkedFact{name, grouped(n), "/audit?actor=" + url.QueryEscape(person) + query + since})
	}
	act("Reveals", r.Reveals, "&action=value.reveal&decision=allow")
	if r.PossibleReveals > 0 {
		act("Begun, no result", r.PossibleReveals, "&action=value.reveal&outcome=intent")
	}
	act("Refused", r.Denials, "&decision=deny")
	act("Searches by value", r.Searches, "&action=value.search")
	act("Objects changed", r.Changes, "&action=remedy.apply%2Cremedy.undo%2Cremedy.purge")
	act("Approvals given", r.Approvals, "&action=remedy.approve%2Caccess.approve")
	act("Glass broken", r.BreakGlass, "&action=access.break-glass")
	act("Readings of the log", r.Exports, "&action=audit.read")
	for i := range r.Findings {
		f := &r.Findings[i]
		numbers := f.Span()
		if len(numbers) > 60 {
			numbers = numbers[:60] + "…"
		}
		one.Findings = append(one.Findings, reviewedFinding{
			Finding: shortID(f.Finding), To: "/audit?actor=" + url.QueryEscape(person) + "&finding=" + url.QueryEscape(f.Finding) + since, Numbers: numbers, Reveals: f.Reveals,
			Possible: f.PossibleReveals, Reasons: strings.ReplaceAll(strings.Join(f.Reasons, ", "), "-", " "), Grants: strings.Join(f.Grants, ", "), First: v.at(f.First), Last: v.at(f.Last),
		})
	}
	for _, n := range r.Hours {
		one.Most = max(one.Most, n)
	}
	for h, n := range r.Hours {
		m := hourMark{X: h * 22, N: n, Name: fmt.Sprintf("%02d to %02d: %s", h, h+1, counted(n, "reveal"))}
		if n > 0 {
			m.H = max(2, 48*n/one.Most)
		}
		m.Y = 52 - m.H
		if h%6 == 0 {
			m.Label = fmt.Sprintf("%02d", h)
		}
		one.Hours = append(one.Hours, m)
	}
	for i := len(marks) - 1; i >= 0; i-- {
		if m := &marks[i]; m.Person == person {
			one.Marks = append(one.Marks, markRow{s.personName(ctx, v, m.By), v.at(m.At), m.Note,
				m.From.In(v.zone).Format("2 Jan 2006") + " to " + m.To.In(v.zone).Format("2 Jan 2006")})
		}
	}
	p.One = one
	return sc, nil
}
