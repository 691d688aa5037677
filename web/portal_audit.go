package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

const (
	logPage    = 50              // acts on a page of the log
	logReach   = 4096            // entries behind the last act of a page in which its intents are looked for
	proofAge   = 5 * time.Minute // how old a verification may be that a page shows
	proofWait  = time.Second     // how long a page waits for one
	maxNamed   = 5               // entries that a statement on the log names
	fineTime   = "15:04:05.000 MST"
	logTime    = "15:04:05"
	dayAndZone = "2 Jan 2006, MST"
)

type auditPage struct {
	Proof    *proofStatement
	Tabs     []tab
	Chips    []chip
	Query    string
	Fields   []filterField
	Rows     []logRow
	Newer    string
	Older    string
	Broken   string // why reading stopped
	Export   string // query of the export
	Filtered bool
	Clear    string
	ReadsAll bool // the reader may open findings
}

// proofStatement is what the verification of the log says.
type proofStatement struct {
	Tone, Icon, Head string
	Lines            []string
	Named            []namedEntry
	Root, Key        string
	Busy             bool
}

type namedEntry struct{ Text, To string }

// logRow is one act: its intent and its result together.
type logRow struct {
	Day                string // where it changes
	Index              string
	Time               *when
	Clock              string
	Who, WhoTo, Roles  string
	Action             string
	Exposed            bool // values were shown, or may have been
	What, WhatTo, Rest string
	Answer             sign
	Policy             []string
	Reason             string
	Open               bool
	To                 string
	Facts, Beside      []fact
	Proof              string
	ID                 string
}

// logAct is an entry with the intent that it is the result of, and with what became of values that it showed.
type logAct struct {
	audit.Entry
	intent *audit.Entry
	after  []audit.Entry
}

// logFields are the fields that a reader filters the log by, in this order.
var logFields = []filterField{
	{"action", "Action"}, {"actor", "Who"}, {"role", "Role"}, {"time", "Time"}, {"decision", "Answer"}, {"outcome", "Outcome"}, {"reason", "Reason"}, {"finding", "Finding"},
	{"plan", "Fix"}, {"object", "Object"}, {"policy", "Policy"}, {"ticket", "Ticket"}, {"grant", "Request for access"}, {"network", "Network"}, {"session", "Session"},
	{"token", "Token"}, {"kind", "Kind of caller"}, {"step", "Step"}, {"request", "Request"}, {"purpose", "Purpose"}, {"networkClass", "Kind of network"},
	{"policyHash", "Policy set"}, {"writer", "Writer"}, {"index", "Entry"}, {"occurrences", "Values"},
}

// logViews are the views of the log, counted as it grows. The second is that of a time.
var logViews = []struct{ name, query string }{
	{"Everything", ""}, {"Last 30 days", ""}, {"Values revealed", "action=value.reveal&decision=allow"}, {"Refused", "decision=deny"},
	{"Changes to objects", "action=remedy.apply%2Cremedy.undo%2Cremedy.purge"}, {"Policy and keys", "action=policy.write%2Ckey.rotate"},
}

// ownOfLog are the parameters of the page that are no terms of the filter.
var ownOfLog = []string{"before", "after", "entry"}

func (s *Server) auditPages() {
	s.page(&route{id: "audit", method: http.MethodGet, path: "/audit", action: access.AuditRead}, func(ctx context.Context, v *visit) (*screen, error) {
		proof, busy, err := s.proofOf(ctx, v.call, proofAge)
		if err != nil {
			return nil, err
		}
		sc, err := s.auditPage(ctx, v, s.statement(v, proof, busy, false))
		if err == nil && busy {
			sc.header = http.Header{"Refresh": {"3"}}
		}
		return sc, err
	})
	s.page(&route{id: "audit-verify", method: http.MethodPost, path: "/audit/verify", action: access.AuditRead}, func(ctx context.Context, v *visit) (*screen, error) {
		kept, key := v.form.Get("checkpoint"), v.field("key")
		if strings.TrimSpace(kept) == "" && key == "" {
			if _, _, err := s.proofOf(ctx, v.call, 0); err != nil {
				return nil, err
			}
			return &screen{to: "/audit"}, nil
		}
		if err := s.reads(ctx, v.call, "verify"); err != nil {
			return nil, err
		}
		begun := time.Now()
		r, err := s.verify(ctx, key, []byte(strings.ReplaceAll(kept, "\r\n", "\n")))
		if err != nil {
			return nil, err
		}
		return s.auditPage(ctx, v, s.statement(v, found[*audit.Report]{r, nil, s.Now(), time.Since(begun), true}, false, true))
	})
	s.page(&route{id: "audit-filter", method: http.MethodPost, path: "/audit/filter", action: access.AuditRead}, func(_ context.Context, v *visit) (*screen, error) {
		q, err := url.ParseQuery(v.form.Get("filter"))
		if err != nil {
			return nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
		}
		name, value := v.field("field")+strings.TrimSuffix(v.field("op"), "="), v.field("value")
		if v.field("field") == "actor" && strings.EqualFold(value, "me") {
			value = v.ask.Caller.ID
		}
		q.Add(name, value)
		if _, err := audit.FilterOf(s.Now(), q, ownOfLog...); err != nil {
			return nil, err
		}
		return &screen{to: "/audit?" + q.Encode()}, nil
	})
	s.page(&route{id: "audit-checkpoint", method: http.MethodGet, path: "/audit/checkpoint", action: access.AuditRead}, func(ctx context.Context, v *visit) (*screen, error) {
		if err := s.reads(ctx, v.call, "checkpoint"); err != nil {
			return nil, err
		}
		if err := s.Guard.Log.Sequence(ctx); err != nil {
			return nil, err
		}
		cp, err := s.Guard.Log.Checkpoint()
		return &screen{kind: "text/plain; charset=utf-8", body: cp, header: attachment("coffer-log-" + v.now.UTC().Format("20060102-1504") + ".checkpoint")}, err
	})
	s.page(&route{id: "audit-proof", method: http.MethodGet, path: "/audit/{entry}/proof", action: access.AuditRead}, func(ctx context.Context, v *visit) (*screen, error) {
		n, err := strconv.ParseInt(v.r.PathValue("entry"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("entry of the log: %w", coffer.ErrNotFound)
		}
		if err := s.reads(ctx, v.call, "proof"); err != nil {
			return nil, err
		}
		proof, err := s.Guard.Log.Prove(n)
		return &screen{kind: "text/plain; charset=utf-8", body: proof, header: attachment(fmt.Sprintf("coffer-log-%d.tlog-proof", n))}, err
	})
}

func attachment(name string) http.Header {
	return http.Header{"Content-Disposition": {`attachment; filename="` + name + `"`}}
}

// verify proves the log anew, against checkpoints that were kept elsewhere where there are some.
func (s *Server) verify(ctx context.Context, key string, kept []byte) (*audit.Report, error) {
	// A damaged log is not extended any more; the report says what is wrong with it.
	if err := s.Guard.Log.Sequence(ctx); err != nil && !errors.Is(err, coffer.ErrCorrupt) {
		return nil, err
	}
	return s.Home.VerifyLog(ctx, key, kept)
}

// proofOf returns a verification of the log that is at most fresh old. One that is made for this reader is recorded as theirs.
func (s *Server) proofOf(ctx context.Context, c *call, fresh time.Duration) (found[*audit.Report], bool, error) {
	return s.proof.get(ctx, fresh, proofWait, func() error { return s.reads(ctx, c, "verify") },
		func(ctx context.Context) (*audit.Report, error) { return s.verify(ctx, "", nil) })
}

// statement puts a verification into words. kept says that it was made against a checkpoint of the reader's.
func (s *Server) statement(v *visit, f found[*audit.Report], busy, kept bool) *proofStatement {
	p := &proofStatement{Busy: busy, Key: s.Guard.Log.VerifierKey()}
	if i := strings.LastIndexByte(p.Key, '+'); i > 0 {
		p.Key = p.Key[:i] // name and hash of the key
	}
	switch {
	case !f.known:
		p.Tone, p.Icon, p.Head = "quiet", "ring-dashed", "The log is being verified"
		p.Lines = []string{"This page shows the result as soon as it is there."}
		return p
	case f.err != nil:
		p.Tone, p.Icon, p.Head = "high", "alert", "The log could not be verified"
		p.Lines = []string{"It could not be read to its end. Nothing is said about what is in it."}
		return p
	}
	r := f.value
	p.Root = r.Checkpoint.Root.String()
	length := fmt.Sprintf("%.1f s", f.took.Seconds())
	if f.took < 100*time.Millisecond {
		length = fmt.Sprintf("%d ms", f.took.Milliseconds())
	}
	took := "Checked " + v.at(f.at).Text + " in " + length + " against its signed checkpoint"
	name := func(e int64, text string) {
		if len(p.Named) < maxNamed {
			n := namedEntry{Text: text}
			if e >= 0 {
				n.To = fmt.Sprintf("/audit?before=%d&entry=%d#e%d", e+1, e, e)
			}
			p.Named = append(p.Named, n)
		}
	}
	if r.Count > 0 {
		p.Tone, p.Icon, p.Head = "high", "alert", "The log was changed"
		p.Lines = []string{took + ". " + counted(r.Count, "contradiction") + ". Stop revealing, and keep a copy of the folder as it is."}
		for _, x := range r.Problems {
			name(x.Index, fmt.Sprintf("Entry %s, %s: %s", grouped(x.Index), x.Kind, x.What))
		}
		return p
	}
	p.Tone, p.Icon, p.Head = "good", "ring-tick", fmt.Sprintf("The log is whole: %s, none changed, none missing", plural(r.Checkpoint.Size, "entry", "entries"))
	switch {
	case r.Extends >= 0:
		p.Lines = append(p.Lines, fmt.Sprintf("%s, and the one you kept (%s).", took, plural(r.Extends, "entry", "entries")))
	case kept:
		p.Tone, p.Icon, p.Head = "warn", "triangle", "The log is whole, but what you gave is no checkpoint of it"
		p.Lines = append(p.Lines, took+". Nothing in the text is a checkpoint that this log's key signed.")
	default:
		p.Lines = append(p.Lines, took+".", "That all of it was set back to an earlier state is excluded only by a checkpoint that you kept elsewhere.")
	}
	if size, err := s.Guard.Log.Size(); err == nil && size > r.Checkpoint.Size {
		p.Lines = append(p.Lines, plural(size-r.Checkpoint.Size, "entry", "entries")+" came since.")
	}
	if n := len(r.Open); n > 0 {
		p.Lines = append(p.Lines, counted(n, "act")+" began and "+map[bool]string{true: "has", false: "have"}[n == 1]+" no result: under way, or cut off.")
		for _, x := range r.Open {
			name(x.Index, fmt.Sprintf("Entry %s, %s", grouped(x.Index), x.Action))
		}
	}
	return p
}

// plural is a number with its noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

func (s *Server) auditPage(ctx context.Context, v *visit, proof *proofStatement) (*screen, error) {
	q := url.Values{}
	if v.r.Method == http.MethodGet {
		q = v.r.URL.Query()
	}
	position := func(name string) (int64, error) {
		if q.Get(name) == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(q.Get(name), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("place in the log: %w", coffer.ErrInvalid)
		}
		return n, nil
	}
	before, err := position("before")
	if err != nil {
		return nil, err
	}
	after, err := position("after")
	if err != nil {
		return nil, err
	}
	entry := q.Get("entry")
	for _, name := range ownOfLog {
		q.Del(name)
	}
	f, err := audit.FilterOf(v.now, q)
	if err != nil {
		return nil, err
	}
	if err := s.reads(ctx, v.call, "list"); err != nil {
		return nil, err
	}
	p := &auditPage{Proof: proof, Query: q.Encode(), Fields: logFields, Filtered: len(q) > 0, Clear: "/audit"}
	p.ReadsAll = s.may(ctx, v.call, access.FindingRead, unknown(access.Finding), v.ask.Context)
	p.Export = "/v1/audit/export"
	sep := "?"
	if p.Query != "" {
		p.Export, sep = p.Export+"?"+p.Query, "&"
	}
	p.Export += sep + "format="
	// What was just recorded gets its place and is counted. Damaged files are for the statement to name; what can be read is shown.
	if err := s.Guard.Log.Sequence(ctx); err != nil && !errors.Is(err, coffer.ErrCorrupt) {
		return nil, err
	}
	if err := s.tally.count(ctx, s.Guard.Log); err != nil {
		p.Broken = "The log cannot be read to its end, so that nothing is counted."
	}
	p.tabs(s, v, q, p.Broken == "")
	p.chips(ctx, s, v, q)
	acts, more, err := s.acts(ctx, f, q.Has("outcome"), before, after)
	if err != nil {
		p.Broken = "Entries behind this one cannot be read."
	}
	here := func(name string, at int64) string {
		to := maps.Clone(q)
		to.Set(name, strconv.FormatInt(at, 10))
		return "/audit?" + to.Encode()
	}
	names := map[string]string{}
	day := ""
	for i := range acts {
		row := s.logRow(ctx, v, &acts[i], names)
		row.Open = entry != "" && entry == row.ID
		at := maps.Clone(q)
		if before > 0 {
			at.Set("before", strconv.FormatInt(before, 10))
		} else if after > 0 {
			at.Set("after", strconv.FormatInt(after, 10))
		}
		if !row.Open {
			at.Set("entry", row.ID)
		}
		row.To = "/audit?" + at.Encode() + "#e" + row.ID
		if d := acts[i].Time.In(v.zone).Format(dayAndZone); d != day {
			day, row.Day = d, d
		}
		if !p.ReadsAll && strings.HasPrefix(row.WhatTo, "/findings/") {
			row.WhatTo = ""
		}
		p.Rows = append(p.Rows, row)
	}
	if n := len(acts); n > 0 {
		if acts[0].Index >= 0 && (before > 0 || after > 0 && more) {
			p.Newer = here("after", acts[0].Index+1)
		}
		if last := acts[n-1].Index; last > 0 && (more || after > 0) {
			p.Older = here("before", last)
		}
	}
	return &screen{page: "audit", title: "Audit log", nav: "/audit", data: p}, nil
}

// thirtyDays is the first day of the view of that name.
func (v *visit) thirtyDays() string { return v.now.UTC().AddDate(0, 0, -30).Format(time.DateOnly) }

func (p *auditPage) tabs(s *Server, v *visit, q url.Values, counts bool) {
	now := q.Encode()
	for i, view := range logViews {
		t := tab{Name: view.name, To: "/audit", Count: -1}
		query := view.query
		from := ""
		if i == 1 {
			from = v.thirtyDays()
			query = "time.gte=" + from
		}
		if query != "" {
			t.To += "?" + query
		}
		t.Here = now == query
		if counts {
			t.Count = s.tally.acts(i, from)
		}
		p.Tabs = append(p.Tabs, t)
	}
}

func (p *auditPage) chips(ctx context.Context, s *Server, v *visit, q url.Values) {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		for i, value := range q[name] {
			field, op := name, "="
			if f, ok := strings.CutSuffix(name, "!"); ok {
				field, op = f, "!="
			} else if f, cmp, ok := strings.Cut(name, "."); ok {
				field, op = f, "."+cmp+"="
			}
			c := chip{Field: field, Op: opWords[op], Value: strings.ReplaceAll(value, ",", " or ")}
			for _, known := range logFields {
				if known.ID == field {
					c.Field = known.Name
				}
			}
			switch field {
			case "time":
				c.Op = timeWords[op]
			case "actor":
				c.Value = s.personName(ctx, v, value)
			}
			if value == "" {
				c.Value = "none"
			}
			rest := maps.Clone(q)
			if rest[name] = slices.Delete(slices.Clone(q[name]), i, i+1); len(rest[name]) == 0 {
				rest.Del(name)
			}
			if c.Without = "/audit"; len(rest) > 0 {
				c.Without += "?" + rest.Encode()
			}
			p.Chips = append(p.Chips, c)
		}
	}
}

// acts returns a page of the acts that a filter chooses, the newest first: those before a place of the log, or those right after one.
// An intent stands with its result; alone only where there is none, or where intents say that they are asked for.
func (s *Server) acts(ctx context.Context, f audit.Filter, intents bool, before, after int64) (list []logAct, more bool, err error) {
	if after > 0 {
		list, more, err = s.actsAfter(ctx, f, intents, after)
		if err != nil || len(list) == logPage {
			return list, more, err
		}
		before = 0 // the newest page is as long as the others
	}
	waiting := map[audit.Ref]int{}      // intents of acts in the list
	met := map[audit.Ref]bool{}         // young entries, which may come twice
	looks := map[string][]audit.Entry{} // what became of values, by who saw them and where
	behind := 0
	for e, err := range s.Guard.Log.Entries(ctx, audit.Filter{Newest: true, Before: before}) {
		if err != nil {
			return list, more, err
		}
		ref := e.Ref()
		if i, ok := waiting[ref]; ok {
			list[i].intent = &e
			delete(waiting, ref)
		} else if more {
			behind++
		} else if !met[ref] && (e.Outcome != audit.Intent || intents || e.Index < 0 || s.tally.open(ref)) && f.Match(&e) {
			if len(list) == logPage {
				more = true
			} else {
				a := logAct{Entry: e}
				if e.Action == access.ValueReveal && e.Outcome == audit.Done {
					a.after = looks[e.Actor.ID+" "+e.Finding]
					delete(looks, e.Actor.ID+" "+e.Finding)
				}
				if !e.Intent.IsZero() {
					waiting[e.Intent] = len(list)
				}
				list = append(list, a)
			}
		}
		if e.Index < 0 {
			met[ref] = true
		}
		if e.Detail["shown"] != "" {
			key := e.Actor.ID + " " + e.Finding
			looks[key] = append(looks[key], e)
		}
		if more && (len(waiting) == 0 || behind > logReach) {
			break
		}
	}
	return list, more, nil
}

// actsAfter returns the page of acts right after a place of the log.
func (s *Server) actsAfter(ctx context.Context, f audit.Filter, intents bool, after int64) (list []logAct, more bool, err error) {
	begun := map[audit.Ref]*audit.Entry{}
	for e, err := range s.Guard.Log.Entries(ctx, audit.Filter{Index: after}) {
		if err != nil {
			return list, more, err
		}
		if e.Outcome == audit.Intent {
			begun[e.Ref()] = &e
			if !intents && e.Index >= 0 && !s.tally.open(e.Ref()) {
				continue
			}
		}
		if !f.Match(&e) {
			continue
		}
		if len(list) == logPage {
			more = true
			break
		}
		list = append(list, logAct{Entry: e, intent: begun[e.Intent]})
	}
	slices.Reverse(list)
	return list, more, nil
}

// logRow makes the row of an act.
func (s *Server) logRow(ctx context.Context, v *visit, a *logAct, names map[string]string) logRow {
	e := &a.Entry
	who := func(id string) string {
		name, ok := names[id]
		if !ok {
			name = s.personName(ctx, v, id)
			names[id] = name
		}
		return name
	}
	r := logRow{
		Index: "new", Time: v.at(e.Time), Clock: e.Time.In(v.zone).Format(logTime), Who: who(e.Actor.ID), WhoTo: "/audit?actor=" + url.QueryEscape(e.Actor.ID),
		Action: string(e.Action), Policy: e.Policies, Reason: strings.ReplaceAll(e.Reason, "-", " "), ID: e.Ref().String(),
	}
	if e.Index >= 0 {
		r.Index, r.ID = grouped(e.Index), strconv.FormatInt(e.Index, 10)
		r.Proof = fmt.Sprintf("/audit/%d/proof", e.Index)
	}
	r.Exposed = e.Action == access.ValueReveal && e.Decision == audit.Allow && e.Outcome != audit.Failed || e.Detail["shown"] != ""
	switch {
	case e.Decision == audit.Deny:
		r.Answer = sign{"forbid", "cross", "high"}
	case e.Outcome == audit.Failed:
		r.Answer = sign{"failed", "alert", "high"}
	case e.Outcome == audit.Intent:
		r.Answer = sign{"begun", "ring-dashed", "warn"}
	default:
		r.Answer = sign{"permit", "tick", "good"}
	}
	shown := e
	if a.intent != nil {
		shown = a.intent
	}
	n := len(shown.Occurrences)
	switch {
	case e.Finding != "" && n == 1:
		r.What, r.WhatTo, r.Rest = "finding "+shortID(e.Finding), "/findings/"+url.PathEscape(e.Finding), fmt.Sprintf(", value %d", shown.Occurrences[0])
	case e.Finding != "":
		r.What, r.WhatTo = "finding "+shortID(e.Finding), "/findings/"+url.PathEscape(e.Finding)
		if n > 0 {
			r.Rest = ", " + counted(n, "value")
		}
	case e.Plan != "":
		r.What = e.Plan
	default:
		r.Rest = besides(e.Detail, who)
	}
	add := func(to *[]fact, name, value string) {
		if value != "" {
			*to = append(*to, fact{name, value})
		}
	}
	at := func(e *audit.Entry) string {
		place := "not sequenced yet"
		if e.Index >= 0 {
			place = "entry " + grouped(e.Index)
		}
		return place + ", " + e.Time.In(v.zone).Format(fineTime)
	}
	if a.intent != nil {
		before := "durable before it was done"
		if e.Action == access.ValueReveal {
			before = "durable before anything was opened"
		}
		add(&r.Facts, "Intent", at(a.intent)+", "+before)
		add(&r.Facts, "Result", at(e)+", "+string(e.Outcome))
	} else {
		add(&r.Facts, "Recorded", at(e)+", "+string(e.Outcome))
		if !e.Intent.IsZero() {
			add(&r.Facts, "Result of", e.Intent.String())
		}
	}
	for _, x := range slices.Backward(a.after) {
		text := x.Detail["shown"] + ", as the browser said"
		if sec := x.Detail["seconds"]; sec != "" {
			text = x.Detail["shown"] + " after " + sec + " s, as the browser said"
		}
		add(&r.Facts, "Afterwards", text)
	}
	if n > 1 {
		var numbers []string
		for _, one := range shown.Occurrences[:min(n, 40)] {
			numbers = append(numbers, strconv.Itoa(one))
		}
		if n > len(numbers) {
			numbers = append(numbers, "and "+grouped(n-len(numbers))+" more")
		}
		add(&r.Facts, "Values", strings.Join(numbers, ", "))
	}
	add(&r.Facts, "Note", shown.Note)
	add(&r.Facts, "Ticket", shown.Detail["ticket"])
	add(&r.Facts, "Detail", besides(e.Detail, who))
	if e.ClockBack > 0 {
		add(&r.Facts, "Clock", "stood "+age(time.Duration(e.ClockBack)*time.Microsecond)+" before the entry before it")
	}
	from := string(e.Actor.Kind)
	if e.Actor.Local {
		from += " on this machine"
	}
	if x := shown.Detail["session"]; x != "" {
		from += ", session " + shortID(x)
	}
	if x := shown.Detail["token"]; x != "" {
		from += ", token " + shortID(x)
	}
	if x := shown.Detail["network"]; x != "" {
		from += ", " + x
	}
	add(&r.Beside, "From", from)
	add(&r.Beside, "Roles", strings.ReplaceAll(strings.Join(e.Actor.Roles, ", "), "-", " "))
	add(&r.Beside, "Person", e.Actor.ID)
	add(&r.Beside, "Policy set", shortID(e.Hash))
	add(&r.Beside, "Object", shortID(e.Object))
	add(&r.Beside, "Request", e.Request)
	return r
}

// besides puts what an entry says besides into words: ids, types, states and counts.
func besides(d map[string]string, who func(string) string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(d)) {
		value := d[k]
		switch k {
		case "session", "token", "network", "networkClass", "ticket", "mfa":
			continue
		case "person":
			value = who(value)
		case "step":
			out = slices.Insert(out, 0, strings.ReplaceAll(value, "-", " "))
			continue
		}
		out = append(out, strings.ReplaceAll(k, "-", " ")+" "+strings.ReplaceAll(value, ",", ", "))
	}
	return strings.Join(out, ", ")
}

// tally counts the acts of the log by view and day, as it grows. Entries under a checkpoint do not change, so that each is read once.
type tally struct {
	mu      sync.Mutex
	next    int64
	begun   map[audit.Ref]tallied // intents without a result
	filters []audit.Filter
	all     []int
	days    map[string]int // by day in UTC, of the view of a time
	policy  *audit.Entry   // the last change of the policies
}

// tallied is how an act was counted.
type tallied struct {
	views uint
	day   string
}

func newTally() *tally {
	t := &tally{begun: map[audit.Ref]tallied{}, days: map[string]int{}, all: make([]int, len(logViews))}
	for _, view := range logViews {
		q, err := url.ParseQuery(view.query)
		f := audit.Filter{}
		if err == nil {
			f, err = audit.FilterOf(time.Time{}, q)
		}
		if err != nil {
			panic(fmt.Sprintf("view of the log: %v", err)) // our own
		}
		t.filters = append(t.filters, f)
	}
	return t
}

// count takes in what is new in the log.
func (t *tally) count(ctx context.Context, l *audit.Log) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e, err := range l.Entries(ctx, audit.Filter{Index: t.next}) {
		if err != nil {
			return err
		}
		if e.Index < 0 {
			break // the young end, which is counted when it has its place
		}
		t.next = e.Index + 1
		c := tallied{day: e.Time.UTC().Format(time.DateOnly)}
		for i := range t.filters {
			if t.filters[i].Match(&e) {
				c.views |= 1 << i
			}
		}
		if begun, ok := t.begun[e.Intent]; ok && !e.Intent.IsZero() {
			t.add(begun, -1)
			delete(t.begun, e.Intent)
		}
		t.add(c, 1)
		if e.Outcome == audit.Intent {
			t.begun[e.Ref()] = c
		}
		if e.Action == access.PolicyWrite && e.Decision == audit.Allow && e.Outcome == audit.Done {
			t.policy = &e
		}
	}
	return nil
}

func (t *tally) add(c tallied, n int) {
	t.days[c.day] += n
	for i := range t.all {
		if c.views>>i&1 == 1 {
			t.all[i] += n
		}
	}
}

// open reports whether an intent has no result yet.
func (t *tally) open(ref audit.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.begun[ref]
	return ok
}

// acts returns how many acts are in a view; with from, in all since that day.
func (t *tally) acts(view int, from string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from == "" {
		return t.all[view]
	}
	n := 0
	for day, k := range t.days {
		if day >= from {
			n += k
		}
	}
	return n
}

// lastPolicy returns the entry of the last change of the policies; nil: there is none.
func (t *tally) lastPolicy() *audit.Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.policy
}
