package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/triage"
	"coffer/vault"
)

// searchPage is the form of a search by value and what it found. The value that was looked for is in neither.
type searchPage struct {
	Types   []typeChoice
	Type    string
	Reasons []string
	Reason  string
	Note    string
	Grant   string
	Problem *problemPage

	Done    bool
	Objects int
	Values  int
	Buckets []foundBucket
	IDs     []string // findings
	Choose  bool     // the reader may choose which types are indexed
	Job     string
}

type typeChoice struct {
	ID, Name string
	On       bool
}

type foundBucket struct {
	Name string
	Rows []foundRow
}

type foundRow struct {
	Name, Folder string
	To           string
	Version      string
	Kind, Places string
	Shared       int
	Sign         sign
	Owner        string
	Known        bool // the finding is in the list; else it came a moment ago
}

func (s *Server) searchPages() {
	s.page(&route{id: "search", method: http.MethodGet, path: "/search", action: access.ValueSearch}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.searchPage(ctx, v, nil, nil)
	})
	s.page(&route{id: "search-now", method: http.MethodPost, path: "/search", action: access.ValueSearch, said: true}, func(ctx context.Context, v *visit) (*screen, error) {
		// As it is typed: white space around a value is taken away by the comparison.
		value := coffer.NewPlaintext([]byte(v.form.Get("value")))
		v.form.Del("value")
		defer value.Wipe()
		ask := v.ask
		ask.Context.Reason, ask.Context.Note, ask.Context.Ticket, ask.Context.Grant = v.field("reason"), v.field("note"), v.field("ticket"), v.field("grant")
		hits, err := s.Vault.Search(ctx, ask, coffer.DataType(v.field("type")), value)
		if err != nil {
			var p *problem
			asProblem(s.fail(ctx, err), &p)
			page := s.problemPage(v, p)
			return s.searchPage(ctx, v, nil, &page)
		}
		return s.searchPage(ctx, v, &hits, nil)
	})
	s.page(&route{id: "search-index", method: http.MethodPost, path: "/search/index", action: access.AdminIndex}, func(ctx context.Context, v *visit) (*screen, error) {
		job, err := s.setIndex(ctx, v.call, v.form["on"])
		if err != nil {
			return nil, err
		}
		said := "The types that can be searched are set."
		if job != "" {
			said += " Values that are sealed already are entered by the job " + job + "."
		}
		return &screen{to: "/search", said: said}, nil
	})
	s.page(&route{id: "same-values", method: http.MethodPost, path: "/findings/{finding}/same", action: access.ValueSearch, on: finding}, s.sameValues)
	s.page(&route{id: "same-values-form", method: http.MethodGet, path: "/findings/{finding}/same", action: access.FindingRead, on: finding, direct: true},
		func(ctx context.Context, v *visit) (*screen, error) {
			p, err := s.samePage(ctx, v)
			if err != nil {
				return nil, err
			}
			return &screen{page: "same", title: s.Home.Scrub("Same values, " + p.Name), nav: "/findings", data: p}, nil
		})
}

func (s *Server) searchPage(ctx context.Context, v *visit, hits *[]vault.Hit, problem *problemPage) (*screen, error) {
	p := &searchPage{Type: v.field("type"), Reasons: s.reasons(), Reason: v.field("reason"), Note: v.field("note"), Grant: v.field("grant"), Problem: problem}
	p.Choose = s.may(ctx, v.call, access.AdminIndex, access.Resource{Kind: access.System}, v.ask.Context)
	on, err := s.Vault.Indexed(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range on {
		p.Types = append(p.Types, typeChoice{string(t), kind(t), true})
	}
	if p.Choose {
		// What there are sealed values of, so that a type can be turned on.
		list, err := s.Desk.Page(ctx, v.ask, triage.PageQuery{Limit: 1, Facets: []string{"type"}})
		if err != nil {
			return nil, err
		}
		for _, one := range list.Facets["type"].Values {
			if t := coffer.DataType(one.Value); t != "" && !slices.Contains(on, t) && !t.Authentication() {
				p.Types = append(p.Types, typeChoice{string(t), kind(t), false})
			}
		}
	}
	sc := &screen{page: "search", title: "Search by value", nav: "/search", data: p}
	if problem != nil {
		sc.status = problem.Status
	}
	if hits == nil {
		return sc, nil
	}
	p.Done, p.Values = true, len(*hits)
	byFinding := map[string][]vault.Hit{}
	objects := map[string]bool{}
	for _, h := range *hits {
		if byFinding[h.Finding] == nil {
			p.IDs = append(p.IDs, h.Finding)
		}
		byFinding[h.Finding] = append(byFinding[h.Finding], h)
		objects[h.Object.Bucket+"\x00"+h.Object.Key] = true
	}
	p.Objects = len(objects)
	var rows []foundAt
	for _, id := range p.IDs {
		list := byFinding[id]
		var kinds, places []string
		for _, h := range list {
			if k := kind(h.Type); !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
			if len(places) < 3 {
				places = append(places, s.Home.Cut(h.At).String())
			}
		}
		if more := len(list) - len(places); more > 0 {
			places = append(places, "and "+grouped(more)+" more")
		}
		rows = append(rows, foundAt{id, list[0].Object, foundRow{Kind: strings.Join(kinds, ", "), Places: strings.Join(places, ", ")}})
	}
	p.Buckets, err = s.byBucket(ctx, v, rows)
	return sc, err
}

// foundAt is a finding that holds what was looked for.
type foundAt struct {
	finding string
	object  coffer.Object
	row     foundRow
}

// byBucket makes the rows of findings, those of a bucket together, with state and owner from the list of findings.
func (s *Server) byBucket(ctx context.Context, v *visit, list []foundAt) ([]foundBucket, error) {
	if len(list) == 0 {
		return nil, nil
	}
	states := map[string]*triage.Summary{}
	for chunk := range slices.Chunk(list, 200) {
		var ids []string
		for _, one := range chunk {
			ids = append(ids, escapeWord(one.finding))
		}
		f, err := triage.ParseFilter("finding=" + strings.Join(ids, ","))
		if err != nil {
			return nil, err
		}
		page, err := s.Desk.Page(ctx, v.ask, triage.PageQuery{Filter: f})
		if err != nil {
			return nil, err
		}
		for i := range page.Findings {
			states[page.Findings[i].ID] = &page.Findings[i]
		}
	}
	var out []foundBucket
	for _, one := range list {
		r := one.row
		r.Name, r.Folder = fileName(one.object)
		r.Folder = strings.TrimPrefix(strings.TrimPrefix(r.Folder, one.object.Bucket), "/")
		r.To, r.Version = "/findings/"+url.PathEscape(one.finding), one.object.VersionID
		if sum := states[one.finding]; sum != nil {
			r.Known, r.Sign, r.Owner = true, standing(sum), s.personName(ctx, v, sum.Owner)
		}
		i := slices.IndexFunc(out, func(b foundBucket) bool { return b.Name == one.object.Bucket })
		if i < 0 {
			out, i = append(out, foundBucket{Name: one.object.Bucket}), len(out)
		}
		out[i].Rows = append(out[i].Rows, r)
	}
	return out, nil
}

// samePage is about the other objects in which values of a finding stand.
type samePage struct {
	*findingPage
	Asked      bool
	Shared     int
	Sought     int
	Objects    int
	Rows       []foundBucket
	NotIndexed string
	Limited    bool
	May        bool
	IDs        []string
}

func (s *Server) samePage(ctx context.Context, v *visit) (*samePage, error) {
	fp, err := s.findingPage(ctx, v, v.r.PathValue("finding"), "same", nil)
	if err != nil {
		return nil, err
	}
	return &samePage{findingPage: fp, May: s.may(ctx, v.call, access.ValueSearch, access.Resource{Kind: access.System}, v.ask.Context)}, nil
}

func (s *Server) sameValues(ctx context.Context, v *visit) (*screen, error) {
	p, err := s.samePage(ctx, v)
	if err != nil {
		return nil, err
	}
	sh, err := s.Vault.Elsewhere(ctx, v.ask, p.ID)
	if err != nil {
		return nil, err
	}
	p.Asked, p.Shared, p.Sought, p.Limited = true, sh.Values, sh.Sought, sh.Limited
	var missing []string
	for _, t := range sh.NotIndexed {
		missing = append(missing, pluralKind(t, 2))
	}
	p.NotIndexed = strings.Join(missing, ", ")
	objects := map[string]bool{}
	var rows []foundAt
	for _, e := range sh.Findings {
		var kinds []string
		for _, t := range e.Types {
			kinds = append(kinds, kind(t))
		}
		objects[e.Object.Bucket+"\x00"+e.Object.Key] = true
		p.IDs = append(p.IDs, e.Finding)
		rows = append(rows, foundAt{e.Finding, e.Object, foundRow{Kind: strings.Join(kinds, ", "), Shared: e.Values}})
	}
	p.Objects = len(objects)
	if p.Rows, err = s.byBucket(ctx, v, rows); err != nil {
		return nil, err
	}
	return &screen{page: "same", title: s.Home.Scrub("Same values, " + p.Name), nav: "/findings", data: p}, nil
}

// Head is the sentence of the page.
func (p *samePage) Head() string {
	if p.Shared == 0 {
		return fmt.Sprintf("None of the %s that were looked for stands in another object", counted(p.Sought, "value"))
	}
	verb := "stand"
	if p.Shared == 1 {
		verb = "stands"
	}
	return strconv.Itoa(p.Shared) + " of " + counted(p.Sought, "value") + " also " + verb + " in " + counted(p.Objects, "other object")
}
