package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"coffer"
	"coffer/access"
	"coffer/triage"
)

// linked is a number with the list behind it.
type linked struct {
	N    int
	To   string
	Name string // what it counts, for readers who do not see where it stands
	Past bool   // past its limit
	Heat int    // 0 to 4
}

type overviewPage struct {
	AsOf    *when
	Empty   bool
	Open    linked
	Values  int64
	Objects int
	Past    int
	PastBy  []linked
	Clean   linked
	Failed  linked
	// Unjudged are those of severity High.
	Unjudged linked
	Intake   []intakeRow
	Heads    []string
	Heat     []heatRow
	Muted    linked
	Days     days
	Kinds    []barRow
	AllKind  int
	Buckets  []bucketRow
	AllBkts  int
	Needs    []need
	AllKinds string // the list by kind, and by bucket
	AllBkt   string
	Ledger   *ledgerPart
}

// ledgerPart is how what came in compares with what Macie lists; nil: there is no Macie to compare with.
type ledgerPart struct {
	Rows   []ledgerRow
	Gaps   int
	Listed int
	Taken  int
	Until  *when // nil: nothing was compared yet
	Named  []gapRow
	More   int
}

type ledgerRow struct {
	Name, Why string
	N         int
	High      bool
}

type gapRow struct {
	Means, Finding, To string
	Since, Until       *when // the time of which nothing is known, for a gap that is one
}

// need is something that only a person can move.
type need struct{ Icon, What, Why, To, Verb string }

type intakeRow struct {
	Name, Why string
	Count     linked
	High      bool
}

type heatRow struct {
	Severity severityMark
	Cells    []linked
	All      linked
}

type severityMark struct{ Class, Word string }

func markOf(s coffer.Severity) severityMark { return severityMark{s.String(), severity(s)} }

type barRow struct {
	Name  string
	Count linked
	Width int // of 132
}

type bucketRow struct {
	Name          string
	Count         linked
	High, Mid     linked
	Low           linked
	HX, MX, LX    int // widths of the three parts, of 132
	MStart, LFrom int
	Public        linked
	Private       linked
}

// Reach is who can read the objects of the bucket that findings are of.
func (b *bucketRow) Reach() sign {
	switch {
	case b.Public.N > 0:
		return sign{"Public", "alert", "high"}
	case b.Private.N == b.Count.N:
		return sign{"Private", "", "quiet"}
	}
	return sign{"Not known", "", "quiet"}
}

// open is the filter of what is still to be done.
const open = "status=open,in-progress"

// unmuted leaves out what people muted.
const unmuted = "muted=no"

// todo is the filter of what is still to be done and not muted, with more terms.
func todo(more ...string) []string { return append([]string{open, unmuted}, more...) }

// ages are the columns of the table of severities and ages: from which to which age.
var ages = []struct {
	name     string
	from, to string // days; empty: no bound
}{{"< 1 d", "", "1"}, {"1–3 d", "1", "3"}, {"3–7 d", "3", "7"}, {"7–30 d", "7", "30"}, {"> 30 d", "30", ""}}

func (s *Server) overviewPages() {
	s.page(&route{id: "overview", method: http.MethodGet, path: "/overview", action: access.FindingList}, s.overview)
}

// link is the address of the list that these pairs select.
func link(pairs ...string) (string, triage.Filter, error) {
	f, err := triage.ParseFilter(pairs...)
	if err != nil {
		return "", f, fmt.Errorf("a filter of the portal's own: %w", err)
	}
	return "/findings?" + f.String(), f, nil
}

// counter gathers filters, to be counted together, each with where its number goes.
type counter struct {
	filters []triage.Filter
	into    []func(int)
	err     error
}

func (c *counter) add(into func(n int, to string), pairs ...string) {
	to, f, err := link(pairs...)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.filters = append(c.filters, f)
	c.into = append(c.into, func(n int) { into(n, to) })
}

func (s *Server) overview(ctx context.Context, v *visit) (*screen, error) {
	_, openFilter, err := link(todo()...)
	if err != nil {
		return nil, err
	}
	list, err := s.Desk.Page(ctx, v.ask, triage.PageQuery{Filter: openFilter, Limit: 1, Facets: []string{"type", "bucket"}})
	if err != nil {
		return nil, err
	}
	p := &overviewPage{AsOf: v.at(list.AsOf), Values: list.Values, Objects: list.Objects}
	p.Open = linked{N: list.Total, To: "/findings?" + openFilter.String()}
	c := &counter{}
	set := func(l *linked, name string) func(int, string) {
		return func(n int, to string) { *l = linked{N: n, To: to, Name: name, Past: l.Past, Heat: l.Heat} }
	}
	// Severities and ages.
	severities := []coffer.Severity{coffer.SeverityHigh, coffer.SeverityMedium, coffer.SeverityLow}
	p.Heat = make([]heatRow, len(severities))
	for _, a := range ages {
		p.Heads = append(p.Heads, a.name)
	}
	for i, sev := range severities {
		row := &p.Heat[i]
		row.Severity, row.Cells = markOf(sev), make([]linked, len(ages))
		word := "severity=" + sev.String()
		c.add(set(&row.All, "All "+row.Severity.Word), todo(word)...)
		for j, a := range ages {
			pairs := todo(word)
			if a.from != "" {
				pairs = append(pairs, "created.lte=-"+a.from+"d")
				if limit := openLimits[sev]; limit > 0 {
					var days int
					_, _ = fmt.Sscan(a.from, &days) // our own number
					row.Cells[j].Past = time.Duration(days)*24*time.Hour >= limit
				}
			}
			if a.to != "" {
				pairs = append(pairs, "created.gt=-"+a.to+"d")
			}
			c.add(set(&row.Cells[j], row.Severity.Word+", "+a.name), pairs...)
		}
	}
	p.PastBy = make([]linked, 2)
	c.add(set(&p.PastBy[0], "High"), todo("severity=high", "created.lte=-7d")...)
	c.add(set(&p.PastBy[1], "Medium"), todo("severity=medium", "created.lte=-30d")...)
	c.add(set(&p.Clean, ""), "status=fixed")
	c.add(set(&p.Unjudged, ""), todo("verdict=", "severity=high")...)
	c.add(set(&p.Failed, ""), "state=failed,parked")
	// Intake.
	for _, in := range []struct{ name, why, state string }{
		{"Sealed", "every value that stands at a reported place", "sealed"}, {"Partly sealed", "some values not located", "partial"},
		{"Not sealed", "nothing to seal; the finding says why", "unsealed"}, {"Being taken in", "received or sealing", "received,sealing"},
		{"Waiting", "the bytes cannot be read now", "parked"}, {"Failed", "taking it in again tries again", "failed"},
	} {
		p.Intake = append(p.Intake, intakeRow{Name: in.name, Why: in.why, High: in.state == "failed"})
		i := len(p.Intake) - 1
		c.add(func(n int, to string) { p.Intake[i].Count = linked{N: n, To: to, Name: in.name} }, "state="+in.state)
	}
	// Thirty days: what came, and what was last changed that day and is not open any more.
	p.Days.day = make([]day, trendDays)
	for i := range p.Days.day {
		d := v.now.UTC().AddDate(0, 0, i-trendDays+1)
		at := d.Format(time.DateOnly)
		p.Days.day[i].at = d
		c.add(func(n int, to string) { p.Days.day[i].opened, p.Days.day[i].toOpened = n, to }, "created="+at)
		c.add(func(n int, to string) { p.Days.day[i].closed, p.Days.day[i].toClosed = n, to }, "status=fixed,closed", "updated="+at)
	}
	c.add(func(n int, _ string) { p.Days.open = n }, open)
	// Kinds and buckets.
	most := 1
	kinds := list.Facets["type"]
	p.AllKind = kinds.Distinct
	for _, k := range kinds.Values[:min(8, len(kinds.Values))] {
		most = max(most, k.Count)
		to, _, err := link(todo("type=" + escapeWord(k.Value))...)
		if err != nil {
			return nil, err
		}
		p.Kinds = append(p.Kinds, barRow{Name: kind(coffer.DataType(k.Value)), Count: linked{N: k.Count, To: to}, Width: max(1, 132*k.Count/most)})
	}
	buckets := list.Facets["bucket"]
	p.AllBkts = buckets.Distinct
	top := buckets.Values[:min(8, len(buckets.Values))]
	p.Buckets = make([]bucketRow, len(top))
	for i, b := range top {
		row := &p.Buckets[i]
		row.Name = b.Value
		word := "bucket=" + escapeWord(b.Value)
		c.add(set(&row.Count, b.Value), todo(word)...)
		c.add(set(&row.High, "High"), todo(word, "severity=high")...)
		c.add(set(&row.Mid, "Medium"), todo(word, "severity=medium")...)
		c.add(set(&row.Low, "Low"), todo(word, "severity=low,unknown")...)
		c.add(set(&row.Public, b.Value+", public"), todo(word, "reach=public")...)
		c.add(set(&row.Private, b.Value+", private"), todo(word, "reach=private")...)
	}
	if c.err != nil {
		return nil, c.err
	}
	counts, err := s.Desk.Counts(ctx, v.ask, c.filters...)
	if err != nil {
		return nil, err
	}
	all := 0
	for i, n := range counts {
		c.into[i](n)
	}
	most = 1
	for _, row := range p.Heat {
		for _, cell := range row.Cells {
			most = max(most, cell.N)
		}
	}
	for i := range p.Heat {
		for j := range p.Heat[i].Cells {
			cell := &p.Heat[i].Cells[j]
			if cell.Past = cell.Past && cell.N > 0; cell.N > 0 {
				cell.Heat = 1 + min(3, 4*cell.N/(most+1))
			}
		}
	}
	for _, one := range p.PastBy {
		p.Past += one.N
	}
	for _, in := range p.Intake {
		all += in.Count.N
	}
	p.Empty = all == 0
	most = 1
	for _, b := range top {
		most = max(most, b.Count)
	}
	for i := range p.Buckets {
		b := &p.Buckets[i]
		width := func(n int) int {
			if n == 0 {
				return 0
			}
			return max(2, 132*n/most)
		}
		b.HX, b.MX, b.LX = width(b.High.N), width(b.Mid.N), width(b.Low.N)
		b.MStart, b.LFrom = b.HX, b.HX+b.MX
	}
	p.AllKinds, p.AllBkt = p.Open.To+"&group=type", p.Open.To+"&group=bucket"
	p.Days.draw()
	p.needs()
	if err := p.ledger(ctx, s, v); err != nil {
		return nil, err
	}
	return &screen{page: "overview", title: "Overview", nav: "/overview", data: p}, nil
}

// ledger compares what came in with what Macie lists, of the same days as the plot.
func (p *overviewPage) ledger(ctx context.Context, s *Server, v *visit) error {
	l, err := s.ledger(ctx, v.ask, v.now.AddDate(0, 0, -trendDays+1))
	if err != nil || !l.Configured {
		return err
	}
	sum := &l.Sum
	p.Ledger = &ledgerPart{Gaps: sum.Gaps, Listed: sum.Listed, Taken: sum.Events + sum.Retaken, Until: v.at(l.Until)}
	p.Ledger.Rows = []ledgerRow{
		{Name: "Listed by Macie", N: sum.Listed}, {Name: "Came as events", N: sum.Events}, {Name: "Taken from Macie's list", Why: "no event came", N: sum.Retaken},
		{Name: "Not to be taken in", Why: "suppressed, samples, nothing detected", N: sum.Suppressed + sum.Samples + sum.Empty},
		{Name: "Not accounted for", N: sum.Gaps, High: true},
	}
	const shown = 5
	for _, g := range sum.Named[:min(shown, len(sum.Named))] {
		row := gapRow{Means: capital(g.Means), Finding: shortID(g.Finding), Since: v.at(g.Since), Until: v.at(g.Until)}
		if g.Finding != "" {
			row.To = findingPath(g.Finding, "", "")
		}
		p.Ledger.Named = append(p.Ledger.Named, row)
	}
	p.Ledger.More = sum.Gaps - len(p.Ledger.Named)
	return nil
}

// needs lists what a person can move next, the most pressing first.
func (p *overviewPage) needs() {
	if n := p.PastBy[0]; n.N > 0 {
		p.Needs = append(p.Needs, need{"clock", counted(n.N, "High finding") + " past the 7 day limit", "Judge, plan a fix, or say why they stay", n.To, "Open"})
	}
	if n := p.Unjudged; n.N > 0 {
		p.Needs = append(p.Needs, need{"ring-dashed", counted(n.N, "High finding") + " without a verdict", "True, false positive, or intended and protected", n.To, "Judge"})
	}
	if n := p.Intake[1].Count; n.N > 0 {
		p.Needs = append(p.Needs, need{"triangle", counted(n.N, "finding") + " with values that could not be located", "Re-locate, or ask Macie to scan again", n.To, "Open"})
	}
	if p.Failed.N > 0 {
		p.Needs = append(p.Needs, need{"alert", counted(p.Failed.N, "finding") + " could not be taken in", "Each says why; taking it in again tries again", p.Failed.To, "Open"})
	}
}
