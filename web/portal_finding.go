package web

import (
	"bytes"
	"context"
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

const (
	groupShown = 12  // values of a kind that the page of a finding shows at first
	groupPage  = 200 // values of one kind on a page of its own
)

type findingPage struct {
	ID, Short    string
	Name, Folder string
	Severity     severityMark
	Sign         sign
	Values       int
	OwnerName    string
	Age, Limit   string
	Late         string
	Part         string // values, object, notes, timeline, raw
	Parts        []tab
	List         string // the list that the reader came from
	Back         string
	Match        string // the state that was read
	Groups       []valueGroup
	Only         string // the kind that the page shows alone
	More         string // the next values of that kind
	Column       string // what the column of names is called
	Protected    []protection
	InOrder      int
	NotAsked     string // why the protections were not asked for
	Timeline     []moment
	Moments      int    // of the whole timeline
	FromLog      bool   // the timeline has what the log has
	Cut          bool   // the log has more than the timeline shows
	At, Of       int    // where the finding stands in the list; 0: it is not there any more, or the reader did not come from one
	Prev, Next   string // findings beside it in the list
	Muted        bool
	Reveal       *revealForm // in a dialog; nil: on its own page
	Judge        *verdictForm
	Facts        []fact
	Notes        []noteRow
	Raw          string
	Note         string
	Reveals      bool // the reader may reveal, as far as can be told
	Change       bool
	Asks         bool // the reader may ask for values that they may not see by their own right
	Fixable      bool // the reader may plan a fix, and there is something to fix
	Tickets      []string
	From         string // what the values were sealed from
	Open         *openValues
	Fix          string
	Status       string
	Active       bool
}

// verdictForm is what a verdict is asked with, on a page or in a dialog over one.
type verdictForm struct {
	ID, Match, List string
	N               string // the place that it is about; empty: the finding
	Head, About     string
	Values          int
	Note            string
}

type valueGroup struct {
	Kind, Type string
	Plural     string // of the kind, inside a sentence
	Sealed     int    // values of the kind
	Hint       string // what showing all of them takes
	Head       string // of the form that reveals one of them
	Sub        string
	Rows       []valueRow
	More       int
	MoreTo     string
}

type valueRow struct {
	N           int
	Place, Full string
	Column      string
	Beside      string
	Outcome     sign
	Verdict     string
	State       string // masked, open, destroyed, unsealed
	Same        *triage.Ref
	Open        string
	Cell        bool
	Kind        string // inside a sentence
}

// About says what a verdict on the value is about.
func (r valueRow) About() string {
	s := r.Kind + ", " + r.Outcome.Word
	if r.Outcome.Word == outcomes[coffer.OutcomeRejected].Word {
		s += ": fails its checksum, probably not what Macie took it for"
	}
	return s
}

type protection struct {
	Icon, Tone, What, Evidence string
	Good                       bool
}

type moment struct {
	At         *when
	Class      string // now, seen, refused, next or none
	What, Note string
	Day, Clock string // Day where it changes
	To, Word   string // where more stands, and what it is called
	time       time.Time
}

type fact struct{ Name, Value string }

type noteRow struct {
	By   string
	At   *when
	Text string
}

func (s *Server) findingPages() {
	s.page(&route{id: "finding", method: http.MethodGet, path: "/findings/{finding}", action: access.FindingRead, on: finding, direct: true},
		func(ctx context.Context, v *visit) (*screen, error) {
			p, err := s.findingPage(ctx, v, v.r.PathValue("finding"), v.get("part"), nil)
			if err != nil {
				return nil, err
			}
			return &screen{page: "finding", title: s.Home.Scrub(p.Name), nav: "/findings", data: p}, nil
		})
	act := func(id, path string, do func(context.Context, *visit, triage.Target) (string, error)) {
		s.page(&route{id: id, method: http.MethodPost, path: "/findings/{finding}/" + path, action: access.VerdictSet, on: finding}, func(ctx context.Context, v *visit) (*screen, error) {
			t := triage.Target{Finding: v.r.PathValue("finding"), Match: v.field("match")}
			said, err := do(ctx, v, t)
			if err != nil {
				return nil, s.stale(ctx, v.call, t.Match, t.Finding, err)
			}
			return &screen{to: findingPath(t.Finding, v.field("list"), v.field("part")), said: said}, nil
		})
	}
	act("finding-verdict", "verdict", func(ctx context.Context, v *visit, t triage.Target) (string, error) {
		verdict := triage.Verdict(v.field("verdict"))
		ask := v.ask
		ask.Context.Note = v.field("note")
		if n := v.field("n"); n != "" {
			var err error
			if t.N, err = strconv.Atoi(n); err != nil || t.N < 1 {
				return "", fmt.Errorf("number of a value: %w", coffer.ErrInvalid)
			}
		}
		if _, err := s.Desk.Judge(ctx, ask, t, verdict, v.field("note")); err != nil {
			return "", err
		}
		about := "the finding"
		if t.N > 0 {
			about = "value " + strconv.Itoa(t.N)
		}
		return "Judged " + about + ": " + strings.ReplaceAll(string(verdict), "-", " ") + ".", nil
	})
	act("finding-owner", "owner", func(ctx context.Context, v *visit, t triage.Target) (string, error) {
		owner := v.field("owner")
		if owner == "me" {
			owner = v.ask.Caller.ID
		}
		_, err := s.Desk.Assign(ctx, v.ask, t, owner)
		if owner == "" {
			return "Assigned to nobody.", err
		}
		return "Assigned to " + strings.Replace(s.personName(ctx, v, owner), "You", "you", 1) + ".", err
	})
	act("finding-work", "work", func(ctx context.Context, v *visit, t triage.Target) (string, error) {
		one, ok := bulkActs[v.field("do")]
		if !ok || one.do["do"] == "judge" || one.do["do"] == "assign" {
			return "", fmt.Errorf("choose what to do with the finding: %w", coffer.ErrInvalid)
		}
		_, err := s.do(ctx, v.ask, t, one.do)
		return one.said + ".", err
	})
	act("finding-note", "note", func(ctx context.Context, v *visit, t triage.Target) (string, error) {
		t.Match = "" // notes add up: another's is no reason not to take this one
		_, err := s.Desk.AddNote(ctx, v.ask, t, v.field("text"))
		return "The note is kept.", err
	})
	act("finding-tickets", "tickets", func(ctx context.Context, v *visit, t triage.Target) (string, error) {
		_, err := s.Desk.SetTickets(ctx, v.ask, t, strings.Fields(v.field("tickets")))
		return "The tickets are set.", err
	})
	s.page(&route{id: "finding-verdict-form", method: http.MethodGet, path: "/findings/{finding}/verdict", action: access.VerdictSet, on: finding}, func(ctx context.Context, v *visit) (*screen, error) {
		p, err := s.findingPage(ctx, v, v.r.PathValue("finding"), "values", nil)
		if err != nil {
			return nil, err
		}
		type verdictPage struct {
			*findingPage
			Form verdictForm
		}
		out := verdictPage{p, verdictForm{ID: p.ID, Match: p.Match, List: p.List, Values: p.Values, Note: p.Note, N: v.get("n"), Head: "Verdict on the finding"}}
		if n, err := strconv.Atoi(out.Form.N); err == nil {
			rec, lines, err := s.Desk.Read(ctx, v.ask, p.ID)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(lines, func(l triage.Line) bool { return l.N == n })
			if i < 0 {
				return nil, fmt.Errorf("value %d of the finding: %w", n, coffer.ErrNotFound)
			}
			row := s.valueRow(rec, lines, &lines[i])
			out.Form.Head, out.Form.About, out.Form.Note = "Verdict on value "+out.Form.N, row.About(), lines[i].Note
		} else {
			out.Form.N = ""
		}
		return &screen{page: "verdict", title: s.Home.Scrub("Verdict, " + p.Name), nav: "/findings", data: out}, nil
	})
	s.page(&route{id: "relocate", method: http.MethodPost, path: "/findings/{finding}/relocate", action: access.EventIngest, on: finding}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("finding")
		if s.isJob("") {
			j, err := s.runner.start(ctx, v.call, kindRelocate, "", nil, []string{id})
			if err != nil {
				return nil, err
			}
			return &screen{to: jobPath(j.ID)}, nil
		}
		res, err := s.Pipeline.Relocate(ctx, v.ask, id)
		if err != nil {
			return nil, err
		}
		s.metrics.sealed.Add(float64(res.Sealed))
		return &screen{to: findingPath(id, v.field("list"), ""), said: fmt.Sprintf("Looked in the bytes of today: %s sealed.", counted(res.Sealed, "value"))}, nil
	})
	s.revealPages()
}

// forms are those that open over the page of a finding. Where the reader must sign in again first, a page of its own says so.
func (s *Server) forms(ctx context.Context, v *visit, p *findingPage, rec *triage.Record, how access.Context) {
	if p.Change {
		p.Judge = &verdictForm{ID: p.ID, Match: p.Match, List: p.List, Values: p.Values, Note: p.Note, Head: "Verdict on the finding"}
	}
	if how.SignedIn = v.ask.Context.SignedIn; p.Reveals && p.Values > 0 && s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
		p.Reveal = s.revealForm(v, p)
		for i := range p.Groups {
			g := &p.Groups[i]
			if how.Values = g.Sealed; !s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how) {
				g.Hint = needsRequest
			}
		}
	}
}

func findingPath(id, list, part string) string {
	q := url.Values{}
	if list != "" {
		q.Set("list", list)
	}
	if part != "" && part != "values" {
		q.Set("part", part)
	}
	to := "/findings/" + url.PathEscape(id)
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	return to
}

// findingPage reads a finding and makes the page of one of its parts. shown are values that were opened a moment ago.
func (s *Server) findingPage(ctx context.Context, v *visit, id, part string, shown *openValues) (*findingPage, error) {
	rec, lines, err := s.Desk.Read(ctx, v.ask, id)
	if err != nil {
		return nil, err
	}
	v.finding = rec.Finding.ID
	f := &rec.Finding
	sum := rec.Summary()
	p := &findingPage{
		ID: f.ID, Short: shortID(f.ID), Severity: markOf(f.Severity), Sign: standing(&sum), Values: rec.Sealed, OwnerName: s.personName(ctx, v, rec.Owner),
		List: v.r.FormValue("list"), Match: rec.Tag(), Only: v.r.FormValue("type"), Note: rec.Note, Tickets: rec.Tickets, Open: shown, Fix: rec.Plan, Status: string(rec.Status), Active: rec.Status.Active(), Muted: rec.Muted,
	}
	if p.Back = "/findings"; p.List != "" {
		p.Back += "?" + p.List
	}
	if !slices.Contains([]string{"object", "notes", "timeline", "raw", "same"}, part) {
		part = "values"
	}
	p.Part = part
	p.Name, p.Folder = fileName(f.Object)
	old := v.now.Sub(f.CreatedAt)
	p.Age = age(old)
	if limit := openLimits[f.Severity]; limit > 0 && rec.Status.Active() {
		if left := limit - old; left > 0 {
			p.Limit = "limit in " + age(left)
			if left < 24*time.Hour {
				p.Late = "warn"
			}
		} else {
			p.Limit, p.Late = "past its limit by "+age(-left), "high"
		}
	}
	p.Change = s.may(ctx, v.call, access.VerdictSet, rec.Resource(), v.ask.Context)
	asks := v.ask.Context
	asks.Reason, asks.Note = s.reasons()[0], strings.Repeat("-", 20)
	p.Asks = s.may(ctx, v.call, access.AccessRequest, rec.Resource(), asks)
	fixable := rec.Resource()
	fixable.Kind = access.Plan
	p.Fixable = rec.Status.Active() && rec.Sealed > 0 && s.may(ctx, v.call, access.RemedyPlan, fixable, v.ask.Context)
	how := v.ask.Context
	how.Reason, how.Note, how.Ticket, how.Values = s.reasons()[0], strings.Repeat("-", 20), "-", 1
	how.SignedIn = v.now // signing in again is offered, not refused
	p.Reveals = s.may(ctx, v.call, access.ValueReveal, rec.Resource(), how)
	for _, one := range []struct {
		id, name string
		n        int
	}{{"values", "Values", rec.Sealed}, {"object", "Object", -1}, {"notes", "Notes", rec.Notes}, {"timeline", "Timeline", -1}, {"raw", "Raw JSON", -1}} {
		p.Parts = append(p.Parts, tab{Name: one.name, Count: one.n, To: findingPath(f.ID, p.List, one.id), Here: one.id == part})
	}
	same := tab{Name: "Same values", Count: -1, To: "/findings/" + url.PathEscape(f.ID) + "/same", Here: part == "same"}
	if p.List != "" {
		same.To += "?list=" + url.QueryEscape(p.List)
	}
	p.Parts = slices.Insert(p.Parts, 2, same)
	switch part {
	case "values":
		if err := p.groups(s, v, rec, lines, shown); err != nil {
			return nil, err
		}
		s.forms(ctx, v, p, rec, how)
	case "object":
		p.objectFacts(v, rec)
	case "notes":
		notes, err := s.Desk.Notes(ctx, v.ask, f.ID)
		if err != nil {
			return nil, err
		}
		for _, n := range slices.Backward(notes) {
			p.Notes = append(p.Notes, noteRow{By: s.personName(ctx, v, n.By), At: v.at(n.At), Text: n.Text})
		}
	case "raw":
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(s.detail(rec, lines)); err != nil {
			return nil, fmt.Errorf("finding: %w", err)
		}
		p.Raw = b.String()
	}
	p.protections(ctx, s, v)
	if err := p.timeline(ctx, s, v, rec); err != nil {
		return nil, err
	}
	return p, p.beside(ctx, s, v)
}

// beside finds the finding in the list that the reader came from.
func (p *findingPage) beside(ctx context.Context, s *Server, v *visit) error {
	q, bad := url.ParseQuery(p.List)
	f, alien := triage.FilterOf(q, own...)
	if p.List == "" || bad != nil || alien != nil {
		p.List, p.Back = "", "/findings"
		return nil //nolint:nilerr // the reader came from no list, or from what is none
	}
	b, err := s.Desk.Beside(ctx, v.ask, f, triage.Order(q.Get("order")), p.ID)
	if errors.Is(err, coffer.ErrNotFound) || errors.Is(err, coffer.ErrInvalid) || errors.Is(err, coffer.ErrDenied) {
		return nil // not in the index yet, or no list of this reader's; the page is as good without
	}
	if err != nil {
		return err
	}
	p.At, p.Of = b.At, b.Of
	if b.Prev != "" {
		p.Prev = findingPath(b.Prev, p.List, p.Part)
	}
	if b.Next != "" {
		p.Next = findingPath(b.Next, p.List, p.Part)
	}
	return nil
}

// valueRow makes the row of an occurrence.
func (s *Server) valueRow(rec *triage.Record, lines []triage.Line, l *triage.Line) valueRow {
	at := s.Home.Cut(l.At)
	row := valueRow{N: l.N, Kind: lowerKind(l.Type), Full: at.String(), Column: l.Column, Outcome: outcomes[l.Outcome], Verdict: strings.ReplaceAll(string(l.Verdict), "-", " "), Same: l.Same, Cell: l.At.Kind == coffer.Cell}
	row.Place = row.Full
	if i := strings.LastIndex(row.Place, "cell:"); i == 0 {
		row.Place = row.Place[5:]
	}
	if row.Column == "" && l.At.Kind == coffer.Record {
		row.Column = at.Path
	}
	switch {
	case l.Type.Authentication():
		row.State = "destroyed"
	case l.Sealed || l.Same != nil:
		row.State = "masked"
	default:
		row.State = "unsealed"
	}
	// Neighbours are told by name and kind, never by value: the other reported values of the same row or record.
	var beside []string
	for i := range lines {
		o := &lines[i]
		if o.N == l.N || o.At.Kind != l.At.Kind || o.At.Member != l.At.Member || o.At.Sheet != l.At.Sheet {
			continue
		}
		same := false
		switch l.At.Kind {
		case coffer.Cell:
			same = o.At.Row == l.At.Row
		case coffer.Record:
			same = o.At.Index == l.At.Index
		case coffer.Page:
			same = o.At.Page == l.At.Page
		case coffer.Lines:
			same = o.At.Start == l.At.Start
		case coffer.NoPlace, coffer.Offset:
		}
		if same {
			if name := lowerKind(o.Type); !slices.Contains(beside, name) && len(beside) < 3 {
				beside = append(beside, name)
			}
		}
	}
	row.Beside = strings.Join(beside, ", ")
	return row
}

func (p *findingPage) groups(s *Server, v *visit, rec *triage.Record, lines []triage.Line, shown *openValues) error {
	after := 0
	if a := v.r.FormValue("after"); a != "" {
		var err error
		if after, err = strconv.Atoi(a); err != nil {
			return fmt.Errorf("number of a value: %w", coffer.ErrInvalid)
		}
	}
	var order []coffer.DataType
	by := map[coffer.DataType][]int{}
	for i := range lines {
		if by[lines[i].Type] == nil {
			order = append(order, lines[i].Type)
		}
		by[lines[i].Type] = append(by[lines[i].Type], i)
	}
	p.Column = "Name"
	for _, t := range order {
		if p.Only != "" && p.Only != string(t) {
			continue
		}
		g := valueGroup{Kind: kind(t), Type: string(t), Plural: pluralKind(t, 2), Head: "Reveal 1 " + pluralKind(t, 1)}
		tally := map[coffer.Outcome]int{}
		sealed := 0
		for _, i := range by[t] {
			tally[lines[i].Outcome]++
			if lines[i].Sealed || lines[i].Same != nil {
				sealed++
			}
		}
		g.Sealed = sealed
		g.Sub = counted(len(by[t]), "place")
		var parts []string
		for _, o := range []coffer.Outcome{coffer.OutcomeExact, coffer.OutcomeRegion, coffer.OutcomeRejected, coffer.OutcomeMissing, coffer.OutcomeChanged, coffer.OutcomeUnsupported, ""} {
			if n := tally[o]; n == len(by[t]) {
				parts = []string{"all " + outcomes[o].Word}
			} else if n > 0 {
				parts = append(parts, grouped(n)+" "+outcomes[o].Word)
			}
		}
		g.Sub += ", " + strings.Join(parts, ", ")
		most := groupShown
		if p.Only != "" {
			most = groupPage
		}
		for _, i := range by[t] {
			l := &lines[i]
			opened, isOpen := "", false
			if shown != nil {
				opened, isOpen = shown.text[l.N]
			}
			if l.N <= after && !isOpen {
				continue
			}
			if len(g.Rows) >= most && !isOpen {
				g.More++
				continue
			}
			row := s.valueRow(rec, lines, l)
			if isOpen {
				row.State, row.Open = "open", opened
			}
			g.Rows = append(g.Rows, row)
		}
		if g.More > 0 {
			q := url.Values{"type": {g.Type}}
			if p.List != "" {
				q.Set("list", p.List)
			}
			if p.Only != "" {
				q.Set("after", strconv.Itoa(g.Rows[len(g.Rows)-1].N))
			}
			g.MoreTo = "/findings/" + url.PathEscape(p.ID) + "?" + q.Encode()
		}
		p.Groups = append(p.Groups, g)
	}
	if r := rec.Read; r != nil {
		p.From = r.VersionID
	}
	return nil
}

// protections makes the list that answers "is it protected?".
func (p *findingPage) protections(ctx context.Context, s *Server, v *visit) {
	list, err := s.Desk.Protections(ctx, v.ask, p.ID)
	if err != nil {
		p.NotAsked = "The storage does not tell."
		if errors.Is(err, coffer.ErrDenied) {
			p.NotAsked = "Not asked: the finding is not confirmed, or its bucket is not configured."
		} else if !errors.Is(err, coffer.ErrUnsupported) {
			p.NotAsked = "The storage cannot be asked now."
		}
		return
	}
	for _, one := range list {
		is := one.Now
		known := is != "" && !strings.EqualFold(is, "unknown")
		q := protection{Icon: "ring-dashed", Tone: "quiet", Evidence: "Of the " + one.Of}
		switch one.What {
		case "public access":
			switch is {
			case "NOT_PUBLIC":
				q.What, q.Good = "Not public", true
			case "PUBLIC":
				q.What, q.Icon, q.Tone = "Public", "alert", "high"
			default:
				q.What = "Public access not known"
			}
		case "encryption":
			switch {
			case is == "NONE":
				q.What, q.Icon, q.Tone = "Not encrypted at rest", "alert", "high"
			case known:
				q.What, q.Good = "Encrypted, "+is, true
			default:
				q.What = "Encryption not known"
			}
		case "versioning":
			if one.Of != "bucket" {
				continue
			}
			switch strings.ToLower(is) {
			case "enabled":
				q.What, q.Icon, q.Tone = "Noncurrent versions are kept", "triangle", "warn"
			case "suspended":
				q.What, q.Icon, q.Tone = "Versioning is suspended; old versions stay", "triangle", "warn"
			default:
				q.What = "No versioning"
			}
		case "lock":
			if !known || strings.EqualFold(is, "none") {
				continue
			}
			q.What, q.Icon, q.Tone = "Locked: "+is, "triangle", "warn"
		default:
			continue
		}
		if q.Good {
			q.Icon, q.Tone = "ring-tick", "good"
			p.InOrder++
		}
		if one.Differs {
			q.Evidence += "; Macie reported " + one.Reported
		}
		p.Protected = append(p.Protected, q)
	}
}

// objectFacts tells what is known about the object.
func (p *findingPage) objectFacts(v *visit, rec *triage.Record) {
	f := &rec.Finding
	for _, one := range [][2]string{
		{"Bucket", f.Object.Bucket}, {"Key", f.Object.Key}, {"Version", f.Object.VersionID}, {"Size", bytesOf(f.Size)}, {"Storage class", f.StorageClass}, {"Kind of file", f.MIMEType},
		{"Account", f.AccountID}, {"Region", f.Region}, {"Finding type", f.Type}, {"Macie's title", f.Title}, {"Intake", string(rec.State)}, {"Why", rec.Reason},
		{"Not compared", rec.Unverified}, {"Rescan of", rec.Rescan}, {"Discovery result", f.ResultLocation},
	} {
		if one[1] != "" {
			p.Facts = append(p.Facts, fact{one[0], one[1]})
		}
	}
	if t := v.at(f.LastModified); t != nil {
		p.Facts = append(p.Facts, fact{"Last modified", t.Text})
	}
}
