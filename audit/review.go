package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
)

// Review is an access review for a period: who saw what, when and why.
type Review struct {
	From, To time.Time
	People   []Reviewed // who acted or was denied in the period; those who saw most first
}

// Reviewed is what the log has of one person in the period of a review.
type Reviewed struct {
	Person string // pseudonymous id
	Kinds  []access.CallerKind
	Roles  []string // all with which they acted
	// Reveals counts reveals with a result, Values what they showed: a value that was shown twice counts twice.
	Reveals, Values int
	// PossibleReveals counts intents without a result on record, PossibleValues what they asked for: the values may have been shown.
	PossibleReveals, PossibleValues int
	FailedReveals                   int // tried, and nothing was shown
	Searches                        int // by value, which shows places and masked forms
	Changes                         int // plans applied, undone or purged
	Approvals                       int // of plans and of requests for access
	BreakGlass                      int // times that they broke the glass
	Denials                         int
	Exports                         int // readings of the log
	Types                           []string
	Reasons                         map[string]int // reason code -> reveals, possible ones included
	Findings                        []ReviewedFinding
	Hours                           [24]int   // reveals, possible ones included, by the hour of the day in which they were asked for
	First, Last                     time.Time // of what they did
	LastReveal                      time.Time // zero: none
}

// ReviewedFinding is what a person saw of one finding.
type ReviewedFinding struct {
	Finding                  string
	Reveals, PossibleReveals int
	Numbers                  []int // of the occurrences that were shown, ascending; those that may have been included
	First, Last              time.Time
	Reasons                  []string
	Grants                   []string // requests, or broken glass, acted on
}

// MaxReview bounds the period of a review, and with it what is held in memory.
const MaxReview = 400 * 24 * time.Hour

// ReviewOptions chooses what is reviewed. From inclusive, To exclusive; Person and Finding narrow it where set.
type ReviewOptions struct {
	From, To        time.Time
	Person, Finding string
	Zone            *time.Location // of the hours of the day; nil: UTC
}

// stepReviewed is what the entry of [Log.MarkReviewed] calls its act.
const stepReviewed = "reviewed"

// MarkReviewed records that whoever holds the permit for [access.AuditRead] looked at what a person did from a time on until another,
// with the note of the permit's circumstances. When it returns nil the entry is durable.
func (l *Log) MarkReviewed(ctx context.Context, p *Permit, person string, from, to time.Time) error {
	if p == nil || p.action != access.AuditRead || !access.ValidID(person) || !from.Before(to) {
		return fmt.Errorf("marking an access review: %w", coffer.ErrInvalid)
	}
	e := p.Entry(Done)
	e.Detail = map[string]string{
		"step": stepReviewed, "person": person, "from": from.UTC().Format(time.RFC3339), "to": to.UTC().Format(time.RFC3339),
	}
	_, err := l.Append(ctx, e)
	return err
}

// Mark is a review of what a person did that somebody marked as done.
type Mark struct {
	At       time.Time
	By       string // pseudonymous id
	Person   string
	From, To time.Time // the period that was reviewed
	Note     string
}

// Marks returns the reviews that were marked as done from a time on, oldest first. Reading needs [access.AuditRead], which the caller checks.
func (l *Log) Marks(ctx context.Context, from time.Time) ([]Mark, error) {
	var out []Mark
	for e, err := range l.Entries(ctx, Filter{From: from, Action: string(access.AuditRead), Outcome: Done}) {
		if err != nil {
			return nil, err
		}
		if e.Detail["step"] != stepReviewed {
			continue
		}
		m := Mark{At: e.Time, By: e.Actor.ID, Person: e.Detail["person"], Note: e.Note}
		m.From, _ = time.Parse(time.RFC3339, e.Detail["from"]) // as MarkReviewed wrote them
		m.To, _ = time.Parse(time.RFC3339, e.Detail["to"])
		out = append(out, m)
	}
	return out, nil
}

// pending is an intent of a reveal of which no result has come yet.
type pending struct {
	person, finding, reason, grant string
	types                          []string
	numbers                        []int
	at                             time.Time
}

// Review reads the log for an access review. Reveals belong to the period in which they were asked for; a result that comes after its end
// still counts. It proves nothing about the log, which is what [Verify] is for. Reading needs [access.AuditRead], which the caller checks.
func (l *Log) Review(ctx context.Context, o ReviewOptions) (*Review, error) {
	if !o.From.Before(o.To) || o.To.Sub(o.From) > MaxReview {
		return nil, fmt.Errorf("access review: the period ends after it begins, and is at most %d days long: %w", MaxReview/(24*time.Hour), coffer.ErrInvalid)
	}
	zone := o.Zone
	if zone == nil {
		zone = time.UTC
	}
	rv := &reviewer{zone: zone, people: map[string]*Reviewed{}, findings: map[string]map[string]*ReviewedFinding{}, open: map[Ref]*pending{}, results: map[Ref]Outcome{}}
	for e, err := range l.Entries(ctx, Filter{From: o.From, Actor: o.Person, Finding: o.Finding}) {
		if err != nil {
			return nil, err
		}
		rv.entry(&e, e.Time.Before(o.To))
	}
	for _, p := range rv.open {
		rv.reveal(p, Intent)
	}
	return rv.review(o), nil
}

// reviewer gathers a review.
type reviewer struct {
	zone     *time.Location
	people   map[string]*Reviewed
	findings map[string]map[string]*ReviewedFinding // person -> finding
	open     map[Ref]*pending
	results  map[Ref]Outcome // of intents that stand behind them in the log: another process may have recorded them
}

func (rv *reviewer) person(id string) *Reviewed {
	p := rv.people[id]
	if p == nil {
		p = &Reviewed{Person: id, Reasons: map[string]int{}}
		rv.people[id] = p
	}
	return p
}

// entry takes one entry into account. inside says that it was recorded in the period; what was not can only be a result.
func (rv *reviewer) entry(e *Entry, inside bool) {
	reveal := e.Action == access.ValueReveal && e.Decision == Allow
	if reveal && e.Outcome != Intent && !e.Intent.IsZero() {
		if p, ok := rv.open[e.Intent]; ok {
			delete(rv.open, e.Intent)
			rv.reveal(p, e.Outcome)
		} else if inside {
			rv.results[e.Intent] = e.Outcome
		}
	}
	if !inside {
		return
	}
	p := rv.person(e.Actor.ID)
	if p.First.IsZero() || e.Time.Before(p.First) {
		p.First = e.Time
	}
	if e.Time.After(p.Last) {
		p.Last = e.Time
	}
	p.Kinds = insert(p.Kinds, e.Actor.Kind)
	for _, r := range e.Actor.Roles {
		p.Roles = insert(p.Roles, r)
	}
	switch {
	case e.Decision == Deny:
		p.Denials++
	case reveal && e.Outcome == Intent:
		w := &pending{e.Actor.ID, e.Finding, e.Reason, e.Detail["grant"], nil, e.Occurrences, e.Time}
		if s := e.Detail["types"]; s != "" {
			w.types = strings.Split(s, ",")
		}
		if o, ok := rv.results[e.Ref()]; ok {
			delete(rv.results, e.Ref())
			rv.reveal(w, o)
		} else {
			rv.open[e.Ref()] = w
		}
	case e.Outcome != Done || reveal:
	case e.Action == access.ValueSearch:
		p.Searches++
	case e.Action == access.RemedyApply || e.Action == access.RemedyUndo || e.Action == access.RemedyPurge:
		p.Changes++
	case e.Action == access.RemedyApprove || e.Action == access.AccessApprove:
		p.Approvals++
	case e.Action == access.AccessBreak:
		p.BreakGlass++
	case e.Action == access.AuditRead:
		p.Exports++
	}
}

// reveal counts a reveal that ended so; Intent: without a result.
func (rv *reviewer) reveal(w *pending, o Outcome) {
	p := rv.person(w.person)
	if o == Failed {
		p.FailedReveals++
		return
	}
	f := rv.findings[w.person][w.finding]
	if f == nil {
		if rv.findings[w.person] == nil {
			rv.findings[w.person] = map[string]*ReviewedFinding{}
		}
		f = &ReviewedFinding{Finding: w.finding, First: w.at, Last: w.at}
		rv.findings[w.person][w.finding] = f
	}
	if o == Intent {
		p.PossibleReveals, p.PossibleValues = p.PossibleReveals+1, p.PossibleValues+len(w.numbers)
		f.PossibleReveals++
	} else {
		p.Reveals, p.Values = p.Reveals+1, p.Values+len(w.numbers)
		f.Reveals++
	}
	p.Reasons[w.reason]++
	p.Hours[w.at.In(rv.zone).Hour()]++
	for _, t := range w.types {
		p.Types = insert(p.Types, t)
	}
	if w.at.After(p.LastReveal) {
		p.LastReveal = w.at
	}
	if w.at.Before(f.First) {
		f.First = w.at
	}
	if w.at.After(f.Last) {
		f.Last = w.at
	}
	f.Numbers = append(f.Numbers, w.numbers...)
	slices.Sort(f.Numbers)
	f.Numbers = slices.Compact(f.Numbers)
	f.Reasons = insert(f.Reasons, w.reason)
	if w.grant != "" {
		f.Grants = insert(f.Grants, w.grant)
	}
}

// insert adds v to a sorted list that does not have it.
func insert[T cmp.Ordered](list []T, v T) []T {
	i, ok := slices.BinarySearch(list, v)
	if ok {
		return list
	}
	return slices.Insert(list, i, v)
}

func (rv *reviewer) review(o ReviewOptions) *Review {
	out := &Review{From: o.From, To: o.To}
	for _, id := range slices.Sorted(maps.Keys(rv.people)) {
		p := rv.people[id]
		for _, f := range slices.Sorted(maps.Keys(rv.findings[id])) {
			p.Findings = append(p.Findings, *rv.findings[id][f])
		}
		out.People = append(out.People, *p)
	}
	slices.SortStableFunc(out.People, func(a, b Reviewed) int {
		return cmp.Or(cmp.Compare(b.Values+b.PossibleValues, a.Values+a.PossibleValues), b.Last.Compare(a.Last))
	})
	return out
}

// Span returns the numbers of occurrences as text: "1-15,17".
func (f *ReviewedFinding) Span() string { return formatRanges(f.Numbers) }

// WhyText returns the reasons as text, the most frequent first: "audit 3, legal 1".
func (p *Reviewed) WhyText() string {
	codes := slices.SortedFunc(maps.Keys(p.Reasons), func(a, b string) int { return cmp.Or(cmp.Compare(p.Reasons[b], p.Reasons[a]), cmp.Compare(a, b)) })
	for i, c := range codes {
		codes[i] = c + " " + strconv.Itoa(p.Reasons[c])
	}
	return strings.Join(codes, ", ")
}
