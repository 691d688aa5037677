package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/triage"
)

// pageSize is how many findings a page of the list shows.
const pageSize = 50

type findingsPage struct {
	Tabs    []tab
	Chips   []chip
	Clear   string
	Query   string // the filter as a query, for forms; what stands in bodies alone is in Words
	Words   string // what was looked for in names
	Order   string
	Page    *triage.Listing
	Rows    []findingRow
	Columns []column
	Group   string
	Groups  []groupRow
	Here    string // this list, to come back to
	First   int
	Last    int
	Muted   linked
	Next    string
	Prev    string
	Hints   []hintless
	Cursor  string
	Key     string // of an act on many findings
	Fields  []filterField
	Facets  []facetOf
	Terms   []term // the filter and what else the URL says, but for the grouping
	Owner   string // the reader
	Change  bool   // the reader may judge
	AsOf    *when
	Lags    bool
}

type tab struct {
	Name, To string
	Count    int
	Here     bool
}

// chip is one term of the filter.
type chip struct{ Field, Op, Value, Without string }

// hintless is a term without which there would be more, for a list with nothing in it.
type hintless struct {
	Name string
	N    int
	To   string
}

type column struct {
	ID, Name  string
	Sort      string // the order in which the list goes by it; empty: none
	To        string
	Sorted    string // ascending, descending; empty: the list does not go by it
	Number    bool
	On, Fixed bool
}

type findingRow struct {
	triage.Summary
	Name, Folder string
	To           string
	Severity     severityMark
	Sign         sign
	What         string
	Reach        sign
	OwnerName    string
	Age          string
	Late         string // high or warn; empty: within its limit
	Created      *when
	Changed      *when
}

type groupRow struct {
	Name, To string
	Count    int
	Width    int
}

// facetOf is a field with its most frequent values in the list, each with the list of those alone.
type facetOf struct {
	Name string
	Rows []groupRow
	More string // the list by this field; empty: all values are here
}

// faceted are the fields whose values the menu of filters counts.
var faceted = []string{"severity", "status", "verdict", "type", "bucket", "reach", "owner", "state"}

const facetShown = 5 // values of a field

type filterField struct{ ID, Name string }

// term is a parameter that a form carries along.
type term struct{ Name, Value string }

// filterFields are those that a reader chooses from, in this order. Names of objects are looked for with Find, which is no URL.
var filterFields = []filterField{
	{"severity", "Severity"}, {"type", "Kind"}, {"bucket", "Bucket"}, {"status", "Status"}, {"verdict", "Verdict"}, {"state", "Intake"}, {"owner", "Owner"},
	{"account", "Account"}, {"region", "Region"}, {"origin", "Origin"}, {"created", "Found by Macie"}, {"updated", "Last changed"}, {"sealed", "Values"},
	{"reach", "Reach"}, {"muted", "Muted"}, {"ticket", "Ticket"}, {"month", "Month"}, {"category", "Category"}, {"plan", "Fix"}, {"occurrences", "Places"}, {"received", "Taken in"}, {"judged", "Judged"},
	{"false-positive", "Judged wrong"}, {"confirmed", "Judged right"}, {"finding", "Finding"},
}

var groupable = []filterField{{"severity", "Severity"}, {"type", "Kind"}, {"bucket", "Bucket"}, {"status", "Status"}, {"verdict", "Verdict"}, {"owner", "Owner"}, {"reach", "Reach"}, {"account", "Account"}, {"month", "Month"}}

var opWords = map[string]string{"=": "is", "!=": "is not", ".gte=": "at least", ".gt=": "more than", ".lte=": "at most", ".lt=": "less than"}

var timeWords = map[string]string{"=": "on", ".gte=": "since", ".gt=": "after", ".lte=": "until", ".lt=": "before"}

// orderColumns says by which column an order goes.
var orderColumns = map[triage.Order]string{
	triage.NewestFirst: "age", triage.OldestFirst: "age", triage.MostSevere: "severity", triage.MostValues: "values", triage.LastChanged: "changed",
}

// own are the parameters of the list that are no terms of its filter.
var own = []string{"order", "cursor", "cols", "group"}

func (s *Server) findingsPages() {
	s.page(&route{id: "findings", method: http.MethodGet, path: "/findings", action: access.FindingList}, func(ctx context.Context, v *visit) (*screen, error) {
		q := v.r.URL.Query()
		for name := range q {
			field, _, _ := strings.Cut(strings.TrimSuffix(name, "!"), ".")
			if slices.Contains(inBodies, field) {
				return nil, fmt.Errorf("names of objects do not belong into a URL; use Find: %w", coffer.ErrInvalid)
			}
		}
		return s.findingList(ctx, v, q, "")
	})
	// What is looked for in names of objects can be a value, so that it comes in a body, and each page of the answer by a form.
	s.page(&route{id: "find", method: http.MethodPost, path: "/findings", action: access.FindingList}, func(ctx context.Context, v *visit) (*screen, error) {
		q, err := url.ParseQuery(v.form.Get("filter"))
		if err != nil {
			return nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
		}
		q.Set("cursor", v.form.Get("cursor"))
		return s.findingList(ctx, v, q, v.field("q"))
	})
	s.page(&route{id: "filter", method: http.MethodPost, path: "/findings/filter", action: access.FindingList}, func(_ context.Context, v *visit) (*screen, error) {
		q, err := url.ParseQuery(v.form.Get("filter"))
		field := v.field("field")
		if err != nil || slices.Contains(inBodies, field) {
			return nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
		}
		now, err := triage.FilterOf(q, own...)
		if err != nil {
			return nil, err
		}
		value := v.field("value")
		if op := v.field("op"); op == "=" || op == "!=" {
			value = s.word(field, value, v)
		}
		add, err := triage.ParseFilter(field + v.field("op") + value)
		if err != nil {
			return nil, err
		}
		pairs := append(now.Pairs(), add.Pairs()...)
		f, err := triage.ParseFilter(pairs...)
		if err != nil {
			return nil, err
		}
		return &screen{to: "/findings?" + keep(f.String(), q)}, nil
	})
	s.page(&route{id: "export-findings", method: http.MethodPost, path: "/findings/export", action: access.FindingList}, s.exportFindings)
	s.page(&route{id: "save-view", method: http.MethodPost, path: "/findings/views", action: access.FindingList}, func(ctx context.Context, v *visit) (*screen, error) {
		q, err := url.ParseQuery(v.form.Get("filter"))
		if err != nil {
			return nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
		}
		name, shared := v.field("name"), v.field("shared") != ""
		if v.field("remove") != "" {
			if err := s.Desk.DeleteView(ctx, v.ask, name, shared); err != nil {
				return nil, err
			}
			return &screen{to: "/findings", said: "The view is removed."}, nil
		}
		f, err := triage.FilterOf(q, own...)
		if err != nil {
			return nil, err
		}
		view := triage.View{Name: name, Filter: f.Pairs(), Order: triage.Order(q.Get("order")), Shared: shared}
		if err := s.Desk.SaveView(ctx, v.ask, view); err != nil {
			return nil, err
		}
		return &screen{to: "/findings?" + keep(f.String(), q), said: "The view is saved."}, nil
	})
	s.page(&route{id: "columns", method: http.MethodPost, path: "/findings/columns", action: access.FindingList}, func(_ context.Context, v *visit) (*screen, error) {
		q, err := url.ParseQuery(v.form.Get("filter"))
		if err != nil {
			return nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
		}
		q.Set("cols", strings.Join(append([]string{"object"}, v.form["col"]...), ","))
		return &screen{to: "/findings?" + q.Encode()}, nil
	})
	s.page(&route{id: "undo", method: http.MethodPost, path: "/findings/undo", action: access.VerdictSet, on: object}, s.undo)
	s.page(&route{id: "bulk", method: http.MethodPost, path: "/findings/bulk", action: access.VerdictSet, on: object}, s.bulk)
}

// word makes a value of the filter of what a reader writes: kinds by their names, "me" and "nobody" for owners.
func (s *Server) word(field, value string, v *visit) string {
	switch field {
	case "owner":
		switch strings.ToLower(value) {
		case "me", "you":
			return v.ask.Caller.ID
		case "nobody", "none":
			return ""
		}
	case "type", "false-positive", "confirmed":
		if value != strings.ToUpper(value) {
			for t, name := range kinds {
				if strings.EqualFold(name, value) {
					return string(t)
				}
			}
			// As kind makes names of ids.
			if id := strings.ToUpper(strings.ReplaceAll(value, " ", "_")); strings.EqualFold(kind(coffer.DataType(id)), value) {
				return id
			}
		}
	case "status", "verdict":
		return strings.ReplaceAll(strings.ToLower(value), " ", "-")
	}
	return value
}

// keep adds to the query of a filter what else a list's URL says.
func keep(filter string, q url.Values) string {
	for _, name := range []string{"order", "cols", "group"} {
		if v := q.Get(name); v != "" {
			filter += "&" + name + "=" + url.QueryEscape(v)
		}
	}
	return strings.TrimPrefix(filter, "&")
}

// columnsOf are the columns of a list, those with on shown.
func columnsOf(chosen string) []column {
	cols := []column{
		{ID: "severity", Name: "Severity", Sort: "-severity", On: true}, {ID: "object", Name: "Object", On: true, Fixed: true}, {ID: "what", Name: "What", On: true},
		{ID: "values", Name: "Values", Sort: "-sealed", Number: true, On: true}, {ID: "reach", Name: "Reach", On: true}, {ID: "state", Name: "State", On: true}, {ID: "owner", Name: "Owner", On: true},
		{ID: "account", Name: "Account"}, {ID: "region", Name: "Region"}, {ID: "id", Name: "Finding"}, {ID: "tickets", Name: "Tickets"}, {ID: "changed", Name: "Last changed", Sort: "-updated"},
		{ID: "age", Name: "Age", Number: true, On: true},
	}
	if chosen != "" {
		want := strings.Split(chosen, ",")
		for i := range cols {
			cols[i].On = cols[i].Fixed || slices.Contains(want, cols[i].ID)
		}
	}
	return cols
}

func (s *Server) findingList(ctx context.Context, v *visit, q url.Values, words string) (*screen, error) {
	f, err := triage.FilterOf(q, own...)
	if err != nil {
		return nil, err
	}
	// A list without a filter is that of what is open: closed findings are found by asking for them.
	if len(f.Pairs()) == 0 && words == "" && q.Get("group") == "" && !q.Has("order") && v.r.URL.RawQuery == "" {
		to, _, err := link(todo()...)
		return &screen{to: to}, err
	}
	p := &findingsPage{Query: keep(f.String(), q), Words: words, Order: q.Get("order"), Owner: v.ask.Caller.ID, Group: q.Get("group"), Columns: columnsOf(cmp.Or(q.Get("cols"), columnsChosen(v.r)))}
	p.Here, p.Fields = "/findings?"+p.Query, filterFields
	for _, pair := range f.Pairs() {
		// A comparison has its operator before the first "=", a value may have more of them.
		left, right, _ := strings.Cut(pair, "=")
		p.Terms = append(p.Terms, term{left, right})
	}
	for _, name := range []string{"order", "cols"} {
		if value := q.Get(name); value != "" {
			p.Terms = append(p.Terms, term{name, value})
		}
	}
	asked := f
	if words != "" {
		more, err := triage.ParseFilter("q=" + words)
		if err != nil {
			return nil, err
		}
		asked = f.Override(more)
	}
	query := triage.PageQuery{Filter: asked, Order: triage.Order(p.Order), Limit: pageSize, Cursor: q.Get("cursor"), Facets: faceted}
	if p.Group != "" {
		query.Facets, query.Limit = append([]string{p.Group}, faceted...), 1
	}
	if p.Page, err = s.Desk.Page(ctx, v.ask, query); err != nil {
		return nil, err
	}
	p.AsOf, p.Lags = v.at(p.Page.AsOf), p.Page.Lag != nil
	p.First, p.Last = p.Page.First, p.Page.First+len(p.Page.Findings)-1
	p.Next, p.Prev = p.Page.Next, p.Page.Prev
	p.Cursor, p.Key = q.Get("cursor"), rand.Text()
	p.Change = s.may(ctx, v.call, access.VerdictSet, unknown(access.Finding), v.ask.Context)
	p.chips(f, q)
	p.facets(ctx, s, v, f, q)
	if err := s.tabs(ctx, v, p, f, q.Get("cols")); err != nil {
		return nil, err
	}
	order := triage.Order(p.Order)
	if order == "" {
		order = triage.NewestFirst
	}
	for i := range p.Columns {
		c := &p.Columns[i]
		if c.ID == "age" {
			if c.Sort = string(triage.OldestFirst); order == triage.OldestFirst {
				c.Sort = string(triage.NewestFirst)
			}
		}
		if c.Sort != "" {
			with := url.Values{"order": {c.Sort}, "cols": {q.Get("cols")}}
			c.To = "/findings?" + keep(f.String(), with)
		}
		if orderColumns[order] == c.ID {
			if c.Sorted = "descending"; order == triage.NewestFirst {
				c.Sorted = "ascending" // the youngest first
			}
		}
	}
	if p.Group != "" {
		p.groups(ctx, s, v, f, q)
		return &screen{page: "findings", title: "Findings", nav: "/findings", data: p}, nil
	}
	for i := range p.Page.Findings {
		list := p.Query
		if words != "" {
			list = "" // the list cannot be found again by a URL
		}
		p.Rows = append(p.Rows, s.row(ctx, v, &p.Page.Findings[i], list))
	}
	if len(p.Rows) == 0 {
		if err := s.without(ctx, v, p, f); err != nil {
			return nil, err
		}
	}
	return &screen{page: "findings", title: "Findings", nav: "/findings", data: p}, nil
}

func (s *Server) row(ctx context.Context, v *visit, sum *triage.Summary, list string) findingRow {
	r := findingRow{Summary: *sum, Severity: markOf(sum.Severity), Sign: standing(sum), To: findingPath(sum.ID, list, ""), Reach: reachOf(sum.Reach),
		Created: v.at(sum.Created), Changed: v.at(sum.Updated)}
	r.Name, r.Folder = fileName(sum.Object)
	var what []string
	for _, t := range sum.Types {
		what = append(what, kind(t))
	}
	r.What = strings.Join(what, ", ")
	old := v.now.Sub(sum.Created)
	r.Age = age(old)
	if limit := openLimits[sum.Severity]; limit > 0 && sum.Status.Active() {
		switch {
		case old >= limit:
			r.Late = "high"
		case old >= limit-24*time.Hour:
			r.Late = "warn"
		}
	}
	r.OwnerName = s.personName(ctx, v, sum.Owner)
	return r
}

// personName is who an id is: the reader, a name of the log's table, or the id where the name was deleted.
func (s *Server) personName(ctx context.Context, v *visit, id string) string {
	switch id {
	case "":
		return ""
	case v.ask.Caller.ID:
		return "You"
	}
	if name, err := s.Guard.Log.Person(ctx, id); err == nil && name != "" {
		return name
	}
	return id
}

// chips makes the terms of the filter readable, each with the list without it.
func (p *findingsPage) chips(f triage.Filter, q url.Values) {
	pairs := f.Pairs()
	for i, pair := range pairs {
		left, value, _ := strings.Cut(pair, "=")
		op := "="
		field, not := strings.CutSuffix(left, "!")
		if not {
			op = "!="
		}
		if name, cmp, ok := strings.Cut(field, "."); ok {
			field, op = name, "."+cmp+"="
		}
		c := chip{Field: field, Op: opWords[op], Value: value}
		for _, known := range filterFields {
			if known.ID == field {
				c.Field = known.Name
			}
		}
		switch field {
		case "created", "updated", "received", "judged":
			c.Op = timeWords[op]
			if ago, ok := strings.CutPrefix(value, "-"); ok {
				c.Value = ago[:len(ago)-1] + " " + ago[len(ago)-1:] + " ago"
			}
		case "type", "false-positive", "confirmed":
			var names []string
			for _, t := range strings.Split(value, ",") {
				names = append(names, kind(coffer.DataType(t)))
			}
			c.Value = strings.Join(names, " or ")
		case "owner":
			c.Value = strings.ReplaceAll(value, p.Owner, "you")
			if value == "" {
				c.Value = "nobody"
			}
		case "status", "verdict":
			c.Value = strings.ReplaceAll(strings.ReplaceAll(value, ",", " or "), "-", " ")
		default:
			c.Value = strings.ReplaceAll(value, ",", " or ")
		}
		if c.Value == "" {
			c.Value = "none"
		}
		rest, err := triage.ParseFilter(slices.Delete(slices.Clone(pairs), i, i+1)...)
		if err != nil {
			continue // they were read a moment ago
		}
		c.Without = "/findings?" + keep(rest.String(), q)
		if rest.String() == "" {
			c.Without = "/findings?order=" + url.QueryEscape(string(triage.NewestFirst))
		}
		p.Chips = append(p.Chips, c)
	}
	p.Clear = "/findings?order=" + url.QueryEscape(string(triage.NewestFirst))
}

// tabs makes the views, with their counts.
func (s *Server) tabs(ctx context.Context, v *visit, p *findingsPage, now triage.Filter, cols string) error {
	views, err := s.Desk.Views(ctx, v.ask)
	if err != nil {
		return err
	}
	c := &counter{}
	add := func(name string, order triage.Order, pairs ...string) {
		i := len(p.Tabs)
		p.Tabs = append(p.Tabs, tab{Name: name})
		f, err := triage.ParseFilter(pairs...)
		if err != nil {
			return
		}
		p.Tabs[i].Here = f.String() == now.String() && p.Words == ""
		c.add(func(n int, to string) {
			p.Tabs[i].Count, p.Tabs[i].To = n, "/findings?"+keep(strings.TrimPrefix(to, "/findings?"), url.Values{"order": {string(order)}, "cols": {cols}})
		}, pairs...)
	}
	add("All open", "", todo()...)
	add("Mine", "", todo("owner="+v.ask.Caller.ID)...)
	add("Unjudged", "", todo("verdict=")...)
	add("High, past 7 d", "", todo("severity=high", "created.lte=-7d")...)
	add("Clean", "", "status=fixed")
	for _, view := range views {
		f, err := triage.ParseFilter(view.Filter...)
		if err != nil || slices.ContainsFunc(f.Pairs(), func(pair string) bool {
			return slices.ContainsFunc(inBodies, func(b string) bool {
				return strings.HasPrefix(strings.TrimRight(pair, "!"), b) && len(pair) > len(b) && strings.ContainsRune("=!.", rune(pair[len(b)]))
			})
		}) {
			continue // it holds names of objects, which have no place in a link
		}
		add(view.Name, view.Order, f.Pairs()...)
	}
	if c.err != nil {
		return c.err
	}
	// What a list of what is not muted leaves out is said beside it.
	if slices.Contains(now.Pairs(), unmuted) {
		muted, err := triage.ParseFilter("muted=yes")
		if err != nil {
			return err
		}
		words, err := triage.ParseFilter()
		if p.Words != "" {
			words, err = triage.ParseFilter("q=" + p.Words)
		}
		if err != nil {
			return err
		}
		c.filters = append(c.filters, now.Override(muted).Override(words))
		c.into = append(c.into, func(n int) {
			pairs := slices.DeleteFunc(now.Pairs(), func(pair string) bool { return pair == unmuted })
			if all, err := triage.ParseFilter(pairs...); err == nil { // they were read a moment ago
				p.Muted = linked{N: n, To: "/findings?" + keep(all.String(), url.Values{"order": {p.Order}, "cols": {cols}})}
			}
		})
	}
	counts, err := s.Desk.Counts(ctx, v.ask, c.filters...)
	for i, n := range counts {
		c.into[i](n)
	}
	return err
}

// without counts, for a list with nothing in it, what there would be without each of its terms.
func (s *Server) without(ctx context.Context, v *visit, p *findingsPage, f triage.Filter) error {
	var filters []triage.Filter
	pairs := f.Pairs()
	for i := range pairs {
		rest, err := triage.ParseFilter(slices.Delete(slices.Clone(pairs), i, i+1)...)
		if err != nil {
			return err
		}
		filters = append(filters, rest)
	}
	counts, err := s.Desk.Counts(ctx, v.ask, filters...)
	if err != nil {
		return err
	}
	for i, n := range counts {
		if n > 0 {
			c := p.Chips[i]
			p.Hints = append(p.Hints, hintless{Name: c.Field + " " + c.Op + " " + c.Value, N: n, To: c.Without})
		}
	}
	return nil
}

// groups makes the list by the values of a field.
func (p *findingsPage) groups(ctx context.Context, s *Server, v *visit, f triage.Filter, q url.Values) {
	q = url.Values{"order": q["order"], "cols": q["cols"]}
	p.Groups = p.byValue(ctx, s, v, p.Group, f, q)
}

// facets makes the menu of what the list can be narrowed to. What the list is of already is not offered.
func (p *findingsPage) facets(ctx context.Context, s *Server, v *visit, f triage.Filter, q url.Values) {
	if p.Words != "" {
		return // a link cannot carry what was looked for in names
	}
	for _, field := range filterFields {
		if !slices.Contains(faceted, field.ID) || p.Page.Facets[field.ID].Distinct < 2 {
			continue
		}
		one := facetOf{Name: field.Name, Rows: p.byValue(ctx, s, v, field.ID, f, q)}
		if len(one.Rows) > facetShown {
			one.Rows = one.Rows[:facetShown]
			one.More = "/findings?" + keep(f.String(), url.Values{"order": q["order"], "cols": q["cols"], "group": {field.ID}})
		}
		p.Facets = append(p.Facets, one)
	}
}

// byValue makes a row for each of the most frequent values of a field, with the list of those alone.
func (p *findingsPage) byValue(ctx context.Context, s *Server, v *visit, field string, f triage.Filter, q url.Values) []groupRow {
	most := 1
	values := p.Page.Facets[field].Values
	for _, n := range values {
		most = max(most, n.Count)
	}
	var out []groupRow
	for _, n := range values {
		term, err := triage.ParseFilter(field + "=" + escapeWord(n.Value))
		if err != nil {
			continue // a value that is no word of a filter, such as none of a kind
		}
		row := groupRow{Name: n.Value, Count: n.Count, Width: max(1, 132*n.Count/most), To: "/findings?" + keep(f.Override(term).String(), q)}
		switch {
		case n.Value == "":
			row.Name = map[string]string{"owner": "Nobody", "reach": "Not known", "verdict": "Unjudged"}[field]
			if row.Name == "" {
				row.Name = "None"
			}
		case field == "type":
			row.Name = kind(coffer.DataType(n.Value))
		case field == "severity", field == "reach", field == "status", field == "verdict", field == "state":
			row.Name = capital(strings.ReplaceAll(n.Value, "-", " "))
		case field == "owner":
			row.Name = s.personName(ctx, v, n.Value)
		}
		out = append(out, row)
	}
	return out
}

// exportFindings answers with the whole list that a filter selects, as CSV or JSON Lines.
func (s *Server) exportFindings(ctx context.Context, v *visit) (*screen, error) {
	sel, q, err := v.selection()
	if err != nil && !errors.Is(err, coffer.ErrInvalid) {
		return nil, err
	}
	f := sel.Filter
	if len(sel.IDs) > 0 {
		if f, err = triage.ParseFilter("finding=" + strings.Join(sel.IDs, ",")); err != nil {
			return nil, err
		}
	} else if sel.Count == 0 {
		if f, err = triage.FilterOf(q, own...); err != nil {
			return nil, err
		}
	}
	list, err := s.Desk.Export(ctx, v.ask, f, triage.Order(q.Get("order")))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	sc := &screen{header: http.Header{}}
	name := "findings-" + v.now.UTC().Format("2006-01-02")
	if v.field("format") == "jsonl" {
		sc.kind, name = "application/x-ndjson", name+".jsonl"
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		for i := range list {
			if err := enc.Encode(summary(&list[i])); err != nil {
				return nil, fmt.Errorf("export: %w", err)
			}
		}
	} else {
		sc.kind, name = "text/csv; charset=utf-8", name+".csv"
		w := csv.NewWriter(&b)
		w.UseCRLF = true
		rows := [][]string{{"finding", "severity", "bucket", "key", "version", "types", "values", "reach", "intake", "status", "verdict", "muted", "owner", "account", "region", "created", "updated"}}
		for i := range list {
			one := &list[i]
			types := make([]string, len(one.Types))
			for j, t := range one.Types {
				types[j] = string(t)
			}
			rows = append(rows, []string{one.ID, one.Severity.String(), one.Object.Bucket, one.Object.Key, one.Object.VersionID, strings.Join(types, " "), strconv.Itoa(one.Sealed),
				one.Reach, string(one.State), string(one.Status), string(one.Verdict), strconv.FormatBool(one.Muted), one.Owner, one.Account, one.Region, one.Created.Format(time.RFC3339), one.Updated.Format(time.RFC3339)})
		}
		for _, row := range rows {
			for i := range row {
				row[i] = cell(row[i])
			}
			if err := w.Write(row); err != nil {
				return nil, fmt.Errorf("export: %w", err)
			}
		}
		w.Flush()
	}
	sc.header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	sc.body = b.Bytes()
	return sc, nil
}

// cell is a text that no spreadsheet takes for a formula (OWASP, CSV injection).
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
