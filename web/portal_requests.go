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

	"coffer"
	"coffer/access"
	"coffer/grant"
	"coffer/remedy"
	"coffer/triage"
)

const (
	requestsShown = 50 // of each group
	askHours      = 8  // that an approval can be asked for
)

// requestsPage is the inbox: requests for access, broken glass, and plans that wait for an approval.
type requestsPage struct {
	Show    string
	Tabs    []tab
	Groups  []requestGroup
	Access  *accessPage
	Fix     *fixPage
	Nothing string
	Detail  bool // a request was chosen, which a narrow screen shows alone

	Back, More string // the pages of the list beside this one
}

type requestGroup struct {
	Name  string
	Count int
	Rows  []requestRow
	from  int // rows that the pages before showed
}

type requestRow struct {
	ID        string // of a request, or plan: and the id of a plan
	Icon      string
	Head, Sub string
	Age       string
	At        *when
	To        string
	Here      bool
}

// accessPage is one request for access, or one broken glass.
type accessPage struct {
	ID, Short string
	Glass     bool
	Head      string
	Note      string
	Asked     *when
	Sign      sign
	Facts     []factRow
	Hash      string
	Match     string
	Missing   string
	Typed     string
	Values    int

	Mine, CanDecide, CanWithdraw, CanReview bool

	Says   string // in place of buttons
	Use    string // where what was approved can be used
	Answer string
	By     string
}

// factRow is a fact with a place that it leads to.
type factRow struct {
	Name, Value, To string
}

func (s *Server) requestPages() {
	s.page(&route{id: "requests", method: http.MethodGet, path: "/requests", action: access.AccessList}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.inbox(ctx, v, "", nil)
	})
	s.page(&route{id: "request", method: http.MethodGet, path: "/requests/{request}", action: access.AccessList, on: request}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.inbox(ctx, v, v.r.PathValue("request"), nil)
	})
	s.page(&route{id: "request-fix", method: http.MethodGet, path: "/requests/fixes/{plan}", action: access.ObjectRead, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.inbox(ctx, v, "plan:"+v.r.PathValue("plan"), nil)
	})
	decide := func(id, path string, action access.Action, do func(context.Context, *visit, string) (*screen, error)) {
		s.page(&route{id: id, method: http.MethodPost, path: "/requests/{request}/" + path, action: action, on: request}, func(ctx context.Context, v *visit) (*screen, error) {
			r := v.r.PathValue("request")
			if path != "approve" && path != "withdraw" && v.field("note") == "" {
				return s.noteMissing(ctx, v, r)
			}
			if err := s.matchRequest(ctx, v.call, r, v.field("match")); err != nil {
				return nil, err
			}
			return do(ctx, v, r)
		})
	}
	decide("request-approve", "approve", access.AccessApprove, func(ctx context.Context, v *visit, id string) (*screen, error) {
		r, err := s.Grants.Approve(ctx, v.ask, id, v.field("hash"))
		if err != nil {
			return nil, err
		}
		said := "Approved. " + s.personName(ctx, v, r.By) + " can use it once, for " + age(r.Duration) + "."
		if r.State(v.now) == grant.Requested {
			said = fmt.Sprintf("Approved; it takes %s.", counted(r.Need-len(r.Approvals), "more approval"))
		}
		return &screen{to: "/requests/" + url.PathEscape(id), said: said}, nil
	})
	decide("request-deny", "deny", access.AccessApprove, func(ctx context.Context, v *visit, id string) (*screen, error) {
		r, err := s.Grants.Deny(ctx, v.ask, id, v.field("note"))
		if err != nil {
			return nil, err
		}
		return &screen{to: "/requests/" + url.PathEscape(id), said: "Denied. " + s.personName(ctx, v, r.By) + " reads why."}, nil
	})
	decide("request-review", "review", access.AccessReview, func(ctx context.Context, v *visit, id string) (*screen, error) {
		_, err := s.Grants.Review(ctx, v.ask, id, v.field("note"))
		return &screen{to: "/requests/" + url.PathEscape(id), said: "Reviewed. What you found is in the log."}, err
	})
	decide("request-withdraw", "withdraw", access.AccessList, func(ctx context.Context, v *visit, id string) (*screen, error) {
		_, err := s.Grants.Withdraw(ctx, v.ask, id)
		return &screen{to: "/requests/" + url.PathEscape(id), said: "Withdrawn."}, err
	})
	s.page(&route{id: "ask-form", method: http.MethodGet, path: "/findings/{finding}/ask", action: access.AccessRequest, on: finding}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.askForm(ctx, v, v.r.URL.Query(), nil)
	})
	s.page(&route{id: "ask", method: http.MethodPost, path: "/findings/{finding}/ask", action: access.AccessRequest, on: finding}, s.ask)
}

// noteMissing shows a request again to somebody who decided without the note that it takes.
func (s *Server) noteMissing(ctx context.Context, v *visit, id string) (*screen, error) {
	return s.inbox(ctx, v, id, func(p *requestsPage) {
		const missing = "Say why, in the note. Whoever asked reads it."
		if p.Access != nil {
			p.Access.Missing = missing
		}
		if p.Fix != nil {
			p.Fix.Missing = missing
		}
	})
}

// inbox lists what waits for the reader, what of theirs waits for others, and what was decided, beside the one that is chosen.
func (s *Server) inbox(ctx context.Context, v *visit, chosen string, change func(*requestsPage)) (*screen, error) {
	show := v.get("show")
	if show != "open" && show != "decided" {
		show = ""
	}
	p := &requestsPage{Show: show, Detail: chosen != ""}
	from, _ := strconv.Atoi(v.get("from")) // what is no number is the beginning
	from = max(0, from)
	waits, mine := requestGroup{Name: "Waits for you", from: from}, requestGroup{Name: "Yours, with others", from: from}
	decided, others := requestGroup{Name: "Decided", from: from}, requestGroup{Name: "With others", from: from}
	list, err := s.Grants.List(ctx, v.ask, false)
	if err != nil {
		return nil, err
	}
	inbox, err := s.Grants.List(ctx, v.ask, true)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		row, err := s.requestRow(ctx, v, r)
		if err != nil {
			return nil, err
		}
		state := r.State(v.now)
		open := state == grant.Requested || state == grant.Broken || state == grant.Approved
		switch {
		case slices.ContainsFunc(inbox, func(o *grant.Request) bool { return o.ID == r.ID }):
			waits.add(row)
		case r.By == v.ask.Caller.ID && open:
			mine.add(row)
		case open:
			others.add(row)
		default:
			decided.add(row)
		}
	}
	if err := s.plansAsked(ctx, v, &waits, &mine, &decided); err != nil {
		return nil, err
	}
	open := waits.Count + mine.Count + others.Count
	for _, t := range []struct {
		id, name string
		n        int
	}{{"", "All", open + decided.Count}, {"open", "Open", open}, {"decided", "Decided", decided.Count}} {
		to := "/requests"
		if t.id != "" {
			to += "?show=" + t.id
		}
		p.Tabs = append(p.Tabs, tab{Name: t.name, Count: t.n, To: to, Here: t.id == show})
	}
	groups := []*requestGroup{&waits, &mine, &others, &decided}
	switch show {
	case "open":
		groups = groups[:3]
	case "decided":
		groups = groups[3:]
	}
	for _, g := range groups {
		if len(g.Rows) > 0 {
			p.Groups = append(p.Groups, *g)
		}
		if g.Count > from+requestsShown {
			p.More = listPath(show, from+requestsShown)
		}
	}
	if from > 0 {
		p.Back = listPath(show, max(0, from-requestsShown))
	}
	if chosen == "" && len(p.Groups) > 0 {
		chosen = p.Groups[0].Rows[0].ID
	}
	for i := range p.Groups {
		for j := range p.Groups[i].Rows {
			row := &p.Groups[i].Rows[j]
			row.Here = row.ID == chosen
			row.To += strings.TrimPrefix(listPath(show, from), "/requests")
		}
	}
	title := "Requests"
	switch id, isPlan := strings.CutPrefix(chosen, "plan:"); {
	case isPlan:
		plan, err := s.Remedy.Read(ctx, v.ask, id)
		if err != nil {
			return nil, err
		}
		if p.Fix, err = s.fixPage(ctx, v, plan); err != nil {
			return nil, err
		}
		p.Fix.Diff, p.Fix.Back, p.Fix.Typed = p.Fix.Diff.piece(), "/requests/fixes/"+url.PathEscape(id), v.field("note")
		title = "Request, " + p.Fix.Name
	case chosen != "":
		r, err := s.Grants.Read(ctx, v.ask, chosen)
		if err != nil {
			return nil, err
		}
		if p.Access, err = s.accessPage(ctx, v, r); err != nil {
			return nil, err
		}
	default:
		p.Nothing = "Nothing waits for you."
	}
	sc := &screen{page: "requests", title: s.Home.Scrub(title), nav: "/requests", data: p}
	if change != nil {
		change(p)
		sc.status = http.StatusUnprocessableEntity
	}
	return sc, nil
}

func (g *requestGroup) add(r requestRow) {
	if g.Count++; g.Count > g.from && g.Count <= g.from+requestsShown {
		g.Rows = append(g.Rows, r)
	}
}

// listPath is the address of a part of the inbox, of the rows of each group behind the first from.
func listPath(show string, from int) string {
	q := url.Values{}
	if show != "" {
		q.Set("show", show)
	}
	if from > 0 {
		q.Set("from", strconv.Itoa(from))
	}
	if len(q) == 0 {
		return "/requests"
	}
	return "/requests?" + q.Encode()
}

// named says which object a finding is about, to those who may see it.
func (s *Server) named(ctx context.Context, v *visit, id string) (rec *triage.Record, name string, err error) {
	if id == "" {
		return nil, "", nil
	}
	rec, err = s.Desk.Records.Get(ctx, id)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, "finding " + shortID(id), nil
	}
	if err != nil {
		return nil, "", err
	}
	if !s.may(ctx, v.call, access.FindingRead, rec.Resource(), v.ask.Context) {
		return nil, "finding " + shortID(id), nil
	}
	name, _ = fileName(rec.Finding.Object)
	return rec, name, nil
}

// wants says what a request asks for: reveal 3 values.
func wants(r *grant.Request) string {
	switch {
	case r.Glass:
		return "break the glass"
	case r.Action == access.ValueSearch:
		return "search by value, once"
	case len(r.Numbers) > 0:
		return "reveal " + counted(min(len(r.Numbers), r.Values), "value")
	}
	return "reveal " + counted(r.Values, "value")
}

func (s *Server) requestRow(ctx context.Context, v *visit, r *grant.Request) (requestRow, error) {
	_, name, err := s.named(ctx, v, r.Finding)
	if err != nil {
		return requestRow{}, err
	}
	row := requestRow{ID: r.ID, Icon: "eye", Head: capital(wants(r)), Age: age(v.now.Sub(r.Created)), At: v.at(r.Created), To: "/requests/" + url.PathEscape(r.ID)}
	if r.Glass {
		row.Icon, row.Head = "alert", "Glass broken"
	}
	parts := []string{s.personName(ctx, v, r.By)}
	state := r.State(v.now)
	switch state {
	case grant.Denied, grant.Reviewed:
		row.Icon, parts = "cross", []string{capital(string(state)) + " by " + s.personName(ctx, v, r.EndedBy)}
		if state == grant.Reviewed {
			row.Icon = "tick"
		}
	case grant.Used, grant.Expired, grant.Withdrawn:
		row.Icon = "tick"
		if state != grant.Used {
			row.Icon = "dash"
		}
		parts = append(parts, capital(string(state)))
	case grant.Approved, grant.Requested, grant.Broken:
	}
	if name != "" {
		parts = append(parts, name)
	}
	if state == grant.Requested {
		parts = append(parts, "Lapses in "+age(r.Deadline.Sub(v.now)))
	}
	if state == grant.Approved {
		parts = append(parts, "Approved, good for "+age(r.Until().Sub(v.now)))
	}
	row.Sub = strings.Join(parts, ". ")
	return row, nil
}

// plansAsked adds the plans that wait for a decision, and those that the reader decided on.
func (s *Server) plansAsked(ctx context.Context, v *visit, waits, mine, decided *requestGroup) error {
	if !s.may(ctx, v.call, access.FindingList, access.Resource{Kind: access.System}, v.ask.Context) {
		return nil
	}
	list, err := s.Remedy.List(ctx, v.ask)
	if err != nil {
		return err
	}
	for _, p := range list {
		by := p.By == v.ask.Caller.ID
		did := p.EndedBy == v.ask.Caller.ID && p.State == remedy.Denied || slices.ContainsFunc(p.Approvals, func(a remedy.Approval) bool { return a.By == v.ask.Caller.ID })
		if p.State != remedy.Planned && !did && (!by || p.State != remedy.Denied) {
			continue
		}
		res, err := s.Remedy.Resource(ctx, p)
		if errors.Is(err, coffer.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !s.sees(ctx, v.call, p, res) {
			continue
		}
		name, _ := fileName(p.Object)
		row := requestRow{
			ID: "plan:" + p.ID, Icon: "fix", Head: capital(act(p)), Age: age(v.now.Sub(p.Created)), At: v.at(p.Created), To: "/requests/fixes/" + url.PathEscape(p.ID),
			Sub: s.personName(ctx, v, p.By) + ". " + name,
		}
		switch {
		case p.State == remedy.Denied:
			row.Icon, row.Sub = "cross", "Denied by "+s.personName(ctx, v, p.EndedBy)+". "+name
			decided.add(row)
		case did:
			row.Icon, row.Sub = "tick", "Approved by you. "+name
			decided.add(row)
		case by:
			mine.add(row)
		case s.decides(ctx, v.call, p, res):
			waits.add(row)
		}
	}
	return nil
}

// accessPage shows a request to somebody who may see it.
func (s *Server) accessPage(ctx context.Context, v *visit, r *grant.Request) (*accessPage, error) {
	tag, err := s.tag(s.requestOf(r))
	if err != nil {
		return nil, err
	}
	rec, name, err := s.named(ctx, v, r.Finding)
	if err != nil {
		return nil, err
	}
	_, res, err := s.Grants.Look(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	by := s.personName(ctx, v, r.By)
	p := &accessPage{
		ID: r.ID, Short: shortID(strings.TrimPrefix(r.ID, "req-")), Glass: r.Glass, Note: r.Note, Asked: v.at(r.Created), Hash: r.Hash, Match: tag, Values: r.Values, By: by,
		Mine: r.By == v.ask.Caller.ID, Answer: r.Answer, Typed: v.field("note"),
	}
	asks := " asks to "
	if p.Mine {
		asks = " ask to "
	}
	p.Head = by + asks + wants(r)
	if name != "" {
		p.Head += " in " + name
	}
	if r.Glass {
		p.Head = by + " broke the glass"
	}
	p.Head += "."
	state := r.State(v.now)
	p.Sign = map[grant.State]sign{
		grant.Requested: {"Waiting", "ring-half", "accent"}, grant.Approved: {"Approved", "ring-tick", "good"}, grant.Denied: {"Denied", "cross", "high"},
		grant.Withdrawn: {"Withdrawn", "dash", "quiet"}, grant.Used: {"Used", "tick", "quiet"}, grant.Expired: {"Expired", "clock", "quiet"},
		grant.Broken: {"Broken", "alert", "high"}, grant.Reviewed: {"Reviewed", "ring-tick", "good"},
	}[state]
	add := func(name, value, to string) {
		if value != "" {
			p.Facts = append(p.Facts, factRow{name, value, to})
		}
	}
	if rec != nil {
		var words []string
		for _, t := range rec.Summary().Types {
			words = append(words, lowerKind(t))
		}
		add("Kinds", strings.Join(words, ", "), "")
		add("Object", rec.Finding.Object.Bucket+"/"+rec.Finding.Object.Key, "/findings/"+url.PathEscape(r.Finding))
	} else if r.Finding != "" {
		add("Finding", shortID(r.Finding), "")
	}
	if len(r.Numbers) > 0 {
		var ns []string
		for _, n := range r.Numbers[:min(20, len(r.Numbers))] {
			ns = append(ns, strconv.Itoa(n))
		}
		if more := len(r.Numbers) - len(ns); more > 0 {
			ns = append(ns, grouped(more)+" more")
		}
		add("Numbers", strings.Join(ns, ", "), "")
	}
	add("Values", "at most "+grouped(r.Values), "")
	add("Reason", strings.ReplaceAll(r.Reason, "-", " "), "")
	add("Ticket", r.Ticket, "")
	add("Good for", age(r.Duration)+" once approved, and for one use", "")
	if n := len(r.Approvals); r.Need > 1 || n > 0 {
		var who []string
		for _, a := range r.Approvals {
			who = append(who, s.personName(ctx, v, a.By)+", "+v.at(a.At).Text)
		}
		text := fmt.Sprintf("%d of %d", n, r.Need)
		if n > 0 {
			text += ": " + strings.Join(who, "; ")
		}
		add("Approvals", text, "")
	}
	if r.Spent > 0 {
		add("Opened", counted(r.Spent, "value"), "")
	}
	if until := r.Until(); until.After(v.now) {
		add("In force", "until "+v.at(until).Text, "")
	}
	if state == grant.Requested {
		add("Lapses", v.at(r.Deadline).Text+", in "+age(r.Deadline.Sub(v.now)), "")
	}
	if !r.Ended.IsZero() {
		add("Ended", v.at(r.Ended).Text+" by "+s.personName(ctx, v, r.EndedBy), "")
	}
	how := v.ask.Context
	how.Requester = r.By
	open := state == grant.Requested || state == grant.Approved
	p.CanWithdraw = p.Mine && open && !r.Glass
	if r.Glass {
		p.CanReview = !p.Mine && (state == grant.Broken || state == grant.Expired) && s.may(ctx, v.call, access.AccessReview, access.Resource{Kind: access.System}, how)
	} else {
		p.CanDecide = open && s.may(ctx, v.call, access.AccessApprove, res, how) && !slices.ContainsFunc(r.Approvals, func(a grant.Approval) bool { return a.By == v.ask.Caller.ID })
	}
	switch {
	case p.Mine && open:
		p.Says = "You asked for this; someone else decides."
	case p.Mine && r.Glass && state != grant.Reviewed:
		p.Says = "You broke the glass; someone else reviews what was done."
	case open && !p.CanDecide:
		p.Says = "This waits for somebody who may decide on it."
	}
	if p.Mine && state == grant.Approved && r.Action == access.ValueReveal {
		q := url.Values{"grant": {r.ID}}
		if len(r.Numbers) > 0 {
			ns := make([]string, len(r.Numbers))
			for i, n := range r.Numbers {
				ns[i] = strconv.Itoa(n)
			}
			q.Set("n", strings.Join(ns, ","))
		}
		p.Use = "/findings/" + url.PathEscape(r.Finding) + "/reveal?" + q.Encode()
	}
	return p, nil
}

// askForm shows the form that asks for values which the policies show only with an approval.
func (s *Server) askForm(ctx context.Context, v *visit, said url.Values, wrong *problem) (*screen, error) {
	rec, lines, err := s.Desk.Read(ctx, v.ask, v.r.PathValue("finding"))
	if err != nil {
		return nil, err
	}
	ns, err := numbers(said.Get("n"))
	if err != nil {
		return nil, err
	}
	type askPage struct {
		ID, Name, Folder string
		N                string
		Some, All        int
		Scope            string
		Kinds            string
		Reasons          []string
		Reason, Ticket   string
		Text             string
		Hours            int
		HourChoices      []int
		Key              string
		Deciders         string
		Wrong            *problemPage
	}
	p := askPage{
		ID: rec.Finding.ID, Some: len(ns), Scope: said.Get("scope"), Reasons: s.reasons(), Reason: said.Get("reason"), Ticket: said.Get("ticket"), Text: said.Get("note"),
		Hours: 1, HourChoices: []int{1, 2, 4, askHours}, Key: rand.Text(),
	}
	p.Name, p.Folder = fileName(rec.Finding.Object)
	if h, err := strconv.Atoi(said.Get("hours")); err == nil && slices.Contains(p.HourChoices, h) {
		p.Hours = h
	}
	if p.Scope == "" {
		p.Scope = "all"
		if p.Some > 0 {
			p.Scope = "some"
		}
	}
	var words []string
	for i, n := range ns {
		if i < 10_000 {
			words = append(words, strconv.Itoa(n))
		}
	}
	p.N = strings.Join(words, ",")
	count := map[coffer.DataType]int{}
	var order []coffer.DataType
	for i := range lines {
		if l := &lines[i]; l.Sealed || l.Same != nil {
			if count[l.Type]++; count[l.Type] == 1 {
				order = append(order, l.Type)
			}
			p.All++
		}
	}
	if p.All == 0 {
		return nil, fmt.Errorf("sealed values of the finding: %w", coffer.ErrNotFound)
	}
	words = nil
	for _, t := range order {
		words = append(words, grouped(count[t])+" "+pluralKind(t, count[t]))
	}
	p.Kinds = strings.Join(words, ", ")
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	how := v.ask.Context
	how.Requester = v.ask.Caller.ID
	p.Deciders = strings.ReplaceAll(strings.Join(policy.WhoMay(access.Request{Caller: v.ask.Caller, Action: access.AccessApprove, Resource: rec.Resource(), Context: how}), ", "), "-", " ")
	sc := &screen{page: "ask", title: s.Home.Scrub("Ask for access, " + p.Name), nav: "/requests", data: p}
	if wrong != nil {
		page := s.problemPage(v, wrong)
		p.Wrong, sc.data, sc.status = &page, p, wrong.Status
		sc.data = p
	}
	return sc, nil
}

// ask records a request.
func (s *Server) ask(ctx context.Context, v *visit) (*screen, error) {
	id := v.r.PathValue("finding")
	ns, err := numbers(v.field("n"))
	if err != nil {
		return nil, err
	}
	if v.field("scope") != "some" {
		ns = nil
	}
	hours, err := strconv.Atoi(v.field("hours"))
	if err != nil || hours < 1 || hours > askHours {
		hours = 1
	}
	ask := v.ask
	ask.Context.Reason, ask.Context.Note, ask.Context.Ticket = v.field("reason"), v.field("note"), v.field("ticket")
	r, err := s.Grants.Ask(ctx, ask, grant.Wanted{
		Action: access.ValueReveal, Finding: id, Numbers: ns, Values: len(ns), Duration: time.Duration(hours) * time.Hour, Attempt: s.attemptID(v.call, "portal-ask-"+v.field("key")),
	})
	if err != nil {
		var p *problem
		asProblem(s.hide(ctx, v.call, &route{action: access.AccessRequest, on: finding}, err), &p)
		if p.Status == http.StatusNotFound {
			return nil, p
		}
		return s.askForm(ctx, v, v.form, p)
	}
	return &screen{to: "/requests/" + url.PathEscape(r.ID), said: "Asked. Somebody else decides; you find the answer here."}, nil
}
