package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/job"
	"coffer/remedy"
	"coffer/triage"
)

// fixPage is a plan with everything that somebody who is to decide on it, or to carry it out, wants to know.
type fixPage struct {
	ID           string
	Number       string // the id, short
	Head         string // what, and how many: Redact 32 values in a.csv
	Short        string // the same without the object
	Plea         string // and inside a sentence
	Name, Folder string
	Now          string // where it stands, in a sentence
	Sign         sign
	By           string
	Mine         bool
	Match        string // the state that is shown; an approval is of exactly this
	Key          string // names the attempt to decide
	Bucket       string
	Version      string
	Size         string
	Finding      string // one of those that it covers
	Findings     int
	Values       int
	Kinds        string
	Planned      *when
	Stages       []stage
	Wrong        *banner
	Diff         diffView
	Instead      string // what happens to an object that is not rewritten in place
	Copies       []copyRow
	CopiesLeft   string
	Remaining    string // how many of them are not clean after the plan
	Approvals    []approvalRow
	Deciders     string // whose word it waits for
	Waits        string // why there is no button to apply it
	Swept        int
	SweptAt      []diffItem
	Possible     int
	PossibleAt   []fact
	Leaves       []fact
	Warnings     []string
	Undo         string
	UndoLeft     string
	Blanked      int

	CanApply, CanApprove, CanUndo, CanPurge, CanWithdraw, CanPlan bool

	Purging   bool // what can be approved now is the purge
	Certified bool
	Changed   string // why nobody can decide any more
	Progress  *progress
	Back      string // where a decision goes on
	Note      string
	Missing   string // what the note is missed for
	Action    string
	Acts      string // the act as a noun: redaction
	Typed     string
	Step      string // of the page that asks once more
	Rewrites  bool
}

type stage struct {
	Name, Line  string
	Done, Here  bool
	Bad, Future bool
}

type banner struct{ Icon, Tone, Head, Text string }

type approvalRow struct {
	Name, Note string
	At         *when
}

type copyRow struct {
	What, Where, Version string
	Values               string
	Sign                 sign
	Next, To             string
}

// progress is how far long work has come.
type progress struct {
	State string `json:"state"`
	Text  string `json:"text"`
	Done  int    `json:"done"`
	Of    int    `json:"of"`
	Over  bool   `json:"over"` // there is more to see than progress: load the page anew
}

// nouns are the actions as things that are done.
var nouns = map[remedy.Action]string{
	remedy.Redact: "redaction", remedy.Mask: "masking", remedy.Tokenise: "tokenisation", remedy.Quarantine: "quarantine", remedy.Delete: "deletion",
}

var pastWords = map[remedy.Action]string{
	remedy.Redact: "redacted", remedy.Mask: "masked", remedy.Tokenise: "tokenised", remedy.Quarantine: "quarantined", remedy.Delete: "deleted",
}

// act says what a plan does, and to how many values: redact 32 values.
func act(p *remedy.Plan) string {
	if p.Action.Rewrites() {
		return string(p.Action) + " " + counted(p.Changes, "value")
	}
	return string(p.Action) + " 1 object"
}

// fixSign is where a plan stands.
func fixSign(p *remedy.Plan) sign {
	switch p.State {
	case remedy.Planned:
		return sign{"Waiting", "ring-half", "accent"}
	case remedy.Approved:
		return sign{"Approved", "ring-half", "accent"}
	case remedy.Applying:
		return sign{"Applying", "ring-three", "accent"}
	case remedy.Applied, remedy.Purged:
		switch p.Clean {
		case "all":
			return sign{"All copies clean", "disc-tick", "good"}
		case "current":
			return sign{"Current clean", "ring-tick", "good"}
		}
		return sign{"Not clean", "ring-cross", "high"}
	case remedy.Undone:
		return sign{"Undone", "undo", "quiet"}
	case remedy.Conflict:
		return sign{"Conflict", "triangle", "warn"}
	case remedy.Refused:
		return sign{"Refused", "ring-cross", "high"}
	case remedy.Denied:
		return sign{"Denied", "cross", "quiet"}
	}
	return sign{"Withdrawn", "dash", "quiet"}
}

// planNumber is the id of a plan as long as it is needed to be told from others.
func planNumber(id string) string { return id[:min(len("plan-")+8, len(id))] }

func fixPath(id string) string { return "/fixes/" + url.PathEscape(id) }

func (s *Server) fixPages() {
	s.page(&route{id: "fixes", method: http.MethodGet, path: "/fixes", action: access.FindingList}, s.fixList)
	s.page(&route{id: "fix-new", method: http.MethodGet, path: "/fixes/new", action: access.RemedyPlan, on: object}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.askFix(ctx, v, v.r.URL.Query(), nil)
	})
	s.page(&route{id: "fix-make", method: http.MethodPost, path: "/fixes", action: access.RemedyPlan, on: object}, s.makeFix)
	s.page(&route{id: "fix", method: http.MethodGet, path: "/fixes/{plan}", action: access.ObjectRead, on: plan, direct: true}, func(ctx context.Context, v *visit) (*screen, error) {
		p, err := s.Remedy.Read(ctx, v.ask, v.r.PathValue("plan"))
		if err != nil {
			return nil, err
		}
		out, err := s.fixPage(ctx, v, p)
		if err != nil {
			return nil, err
		}
		if v.scripted() {
			return progressOf(out.Progress)
		}
		return &screen{page: "fix", title: s.Home.Scrub("Fix, " + out.Name), nav: "/fixes", data: out}, nil
	})
	// What is asked once more before it is done. Without scripts, and with, it is a page.
	for _, one := range []struct {
		step   string
		action access.Action
	}{{"apply", access.RemedyApply}, {"undo", access.RemedyUndo}, {"purge", access.RemedyPurge}} {
		s.page(&route{id: "fix-" + one.step + "-form", method: http.MethodGet, path: "/fixes/{plan}/" + one.step, action: one.action, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
			return s.askOnceMore(ctx, v, one.step, "")
		})
		s.page(&route{id: "fix-" + one.step, method: http.MethodPost, path: "/fixes/{plan}/" + one.step, action: one.action, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
			return s.actOnFix(ctx, v, one.step)
		})
	}
	s.page(&route{id: "fix-approve", method: http.MethodPost, path: "/fixes/{plan}/approve", action: access.RemedyApprove, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("plan")
		if err := s.matchPlan(ctx, v.call, id, v.field("match")); err != nil {
			return nil, err
		}
		p, err := s.Remedy.Approve(ctx, v.ask, id)
		if err != nil {
			return nil, err
		}
		what := nouns[p.Action]
		if p.State == remedy.Applied {
			what = "purge"
		}
		return &screen{to: localPath(v.field("back"), fixPath(id)), said: "Approved: " + what + " of " + counted(p.Changes, "value") + ". The approval is good for a day."}, nil
	})
	s.page(&route{id: "fix-deny", method: http.MethodPost, path: "/fixes/{plan}/deny", action: access.RemedyApprove, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("plan")
		if v.field("note") == "" {
			return s.noteMissing(ctx, v, "plan:"+id)
		}
		if err := s.matchPlan(ctx, v.call, id, v.field("match")); err != nil {
			return nil, err
		}
		p, err := s.Remedy.Deny(ctx, v.ask, id, v.field("note"))
		if err != nil {
			return nil, err
		}
		return &screen{to: localPath(v.field("back"), fixPath(id)), said: "Denied. " + s.personName(ctx, v, p.By) + " reads why."}, nil
	})
	s.page(&route{id: "fix-withdraw", method: http.MethodPost, path: "/fixes/{plan}/withdraw", action: access.RemedyPlan, on: plan}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("plan")
		_, err := s.Remedy.Withdraw(ctx, v.ask, id)
		return &screen{to: fixPath(id), said: "The plan is withdrawn. Nothing was written."}, err
	})
	s.jobPages()
}

// progressOf answers a script that follows long work.
func progressOf(p *progress) (*screen, error) {
	if p == nil {
		p = &progress{Over: true}
	}
	var b strings.Builder
	if err := marshal(&b, p); err != nil {
		return nil, err
	}
	return &screen{kind: "application/json", body: []byte(b.String())}, nil
}

// fixList lists plans by where they stand.
func (s *Server) fixList(ctx context.Context, v *visit) (*screen, error) {
	list, err := s.Remedy.List(ctx, v.ask)
	if err != nil {
		return nil, err
	}
	type fixRow struct {
		ID, Name, Folder, Act string
		Values                int
		Sign                  sign
		By                    string
		At                    *when
		Age, Undo             string
	}
	type fixesPage struct {
		Tabs   []tab
		Rows   []fixRow
		All    int
		More   string
		Here   string
		Shown  int
		Action string
	}
	groups := []struct {
		id, name string
		states   []remedy.State
	}{
		{"open", "Open", []remedy.State{remedy.Planned, remedy.Approved, remedy.Applying}}, {"undo", "Can be undone", []remedy.State{remedy.Applied}},
		{"ended", "Purged and undone", []remedy.State{remedy.Purged, remedy.Undone}},
		{"not", "Not applied", []remedy.State{remedy.Conflict, remedy.Refused, remedy.Denied, remedy.Withdrawn}}, {"all", "All", nil},
	}
	here := v.get("show")
	if !slices.ContainsFunc(groups, func(g struct {
		id, name string
		states   []remedy.State
	}) bool {
		return g.id == here
	}) {
		here = "open"
	}
	p := fixesPage{All: len(list), Here: here}
	var shown []*remedy.Plan
	for _, g := range groups {
		var in []*remedy.Plan
		for _, one := range list {
			if g.states == nil || slices.Contains(g.states, one.State) {
				in = append(in, one)
			}
		}
		to := "/fixes"
		if g.id != "open" {
			to += "?show=" + g.id
		}
		p.Tabs = append(p.Tabs, tab{Name: g.name, Count: len(in), To: to, Here: g.id == here})
		if g.id == here {
			shown = in
		}
	}
	from, _ := strconv.Atoi(v.get("from")) // what is no number is the beginning
	from = max(0, min(from, len(shown)))
	end := min(len(shown), from+200)
	if end < len(shown) {
		p.More = "/fixes?show=" + here + "&from=" + strconv.Itoa(end)
	}
	p.Shown = len(shown)
	for _, one := range shown[from:end] {
		row := fixRow{ID: one.ID, Act: capital(string(one.Action)), Values: one.Changes, Sign: fixSign(one), By: s.personName(ctx, v, one.By), At: v.at(one.Created), Age: age(v.now.Sub(one.Created))}
		row.Name, row.Folder = fileName(one.Object)
		if one.State == remedy.Applied {
			row.Undo = "until purged"
			if left := one.Until.Sub(v.now); !one.Until.IsZero() {
				row.Undo = age(left)
				if left <= 0 {
					row.Undo = "over"
				}
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return &screen{page: "fixes", title: "Fixes", nav: "/fixes", data: p}, nil
}

// fixPage makes the page of a plan that the reader may see.
func (s *Server) fixPage(ctx context.Context, v *visit, p *remedy.Plan) (*fixPage, error) {
	shown, err := s.planOf(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &fixPage{
		ID: p.ID, Number: planNumber(p.ID), Sign: fixSign(p), By: s.personName(ctx, v, p.By), Mine: p.By == v.ask.Caller.ID, Key: rand.Text(), Bucket: p.Object.Bucket, Version: p.Object.VersionID,
		Size: bytesOf(p.Size), Findings: len(p.Findings), Values: p.Changes, Planned: v.at(p.Created), Swept: p.Swept, Possible: p.PossibleCount, Warnings: p.Warnings,
		Blanked: p.Authenticates, Action: string(p.Action), Acts: nouns[p.Action], Rewrites: p.Action.Rewrites(), Back: fixPath(p.ID),
	}
	if out.Match, err = s.tag(shown); err != nil {
		return nil, err
	}
	if len(p.Findings) > 0 {
		out.Finding = p.Findings[0]
	}
	out.Name, out.Folder = fileName(p.Object)
	out.Plea = act(p)
	out.Short = capital(out.Plea)
	out.Head = out.Short + " in "
	if !p.Action.Rewrites() {
		out.Head = capital(string(p.Action)) + " "
	}
	out.kinds(p)
	res, err := s.Remedy.Resource(ctx, p)
	if err != nil {
		return nil, err
	}
	may := func(a access.Action, consent bool) bool {
		how := v.ask.Context
		p.Circumstances(&how, a)
		if consent {
			how.Approvers, how.ApprovedUntil = []string{"somebody-else"}, v.now.Add(time.Hour)
		}
		return s.may(ctx, v.call, a, res, how)
	}
	waiting := p.State == remedy.Planned || p.State == remedy.Approved
	out.CanPlan = may(access.RemedyPlan, false)
	out.CanWithdraw = waiting && out.Mine && out.CanPlan
	out.CanApply = waiting && may(access.RemedyApply, false)
	out.CanApprove = (waiting || p.State == remedy.Applied) && may(access.RemedyApprove, false)
	out.Purging = p.State == remedy.Applied
	over := !p.Until.IsZero() && v.now.After(p.Until)
	out.CanUndo = p.State == remedy.Applied && p.Original != nil && !over && may(access.RemedyUndo, false)
	out.CanPurge = p.State == remedy.Applied && may(access.RemedyPurge, false)
	out.Certified = p.State == remedy.Applied || p.State == remedy.Purged || p.State == remedy.Undone
	if waiting {
		if err := s.stillThere(ctx, v, p, out); err != nil {
			return nil, err
		}
		if !out.CanApply && may(access.RemedyApply, true) && out.Changed == "" {
			out.Waits = "Apply, once approved"
		}
	}
	if err := s.deciders(ctx, v, p, res, out); err != nil {
		return nil, err
	}
	s.fixStages(ctx, v, p, out)
	if err := s.fixProgress(ctx, v, p, out); err != nil {
		return nil, err
	}
	out.copies(p)
	out.leaves(s, p)
	out.undo(v, p, s.Remedy.Grace)
	if p.Action.Rewrites() {
		out.Diff, out.SweptAt, err = s.diff(ctx, v, p)
	} else {
		out.Instead = map[remedy.Action]string{
			remedy.Quarantine: "The object is not rewritten: it is kept, sealed, out of reach, and removed from its bucket. Releasing it by undo brings it back byte for byte.",
			remedy.Delete:     "The object is not rewritten: it is removed. Until undo ends it is kept, sealed, and can be brought back byte for byte.",
		}[p.Action]
	}
	return out, err
}

// kinds says which kinds the values are of: 27 bank account numbers, 4 card numbers.
func (f *fixPage) kinds(p *remedy.Plan) {
	var words []string
	types := slices.SortedFunc(maps.Keys(p.Counts), func(a, b coffer.DataType) int {
		if n := p.Counts[b] - p.Counts[a]; n != 0 {
			return n
		}
		return strings.Compare(string(a), string(b))
	})
	for i, t := range types {
		if i == 4 {
			words = append(words, counted(len(types)-i, "further kind"))
			break
		}
		words = append(words, grouped(p.Counts[t])+" "+pluralKind(t, p.Counts[t]))
	}
	f.Kinds = strings.Join(words, ", ")
}

// stillThere looks whether the object is the version that the plan is for.
func (s *Server) stillThere(ctx context.Context, v *visit, p *remedy.Plan, out *fixPage) error {
	look, err := s.Remedy.Look(ctx, v.ask, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key})
	switch {
	case errors.Is(err, coffer.ErrNotFound) || err == nil && !look.Exists:
		out.Changed = "The object does not exist any more. The plan was made for a version that is gone."
	case err != nil:
		return err
	case look.Info.ETag != p.Object.ETag || look.Info.VersionID != p.Object.VersionID:
		out.Changed = "The object was changed since this plan was made" + onDay(v, look.Info.Modified) + ". What the plan shows is not what is there."
	}
	if out.Changed != "" {
		out.CanApply, out.CanApprove = false, false
	}
	return nil
}

func onDay(v *visit, t time.Time) string {
	if at := v.at(t); at != nil {
		return ", on " + at.Text
	}
	return ""
}

// deciders says who has consented to what can be done next, and whose word it waits for.
func (s *Server) deciders(ctx context.Context, v *visit, p *remedy.Plan, res access.Resource, out *fixPage) error {
	for _, a := range p.Approvals {
		row := approvalRow{Name: s.personName(ctx, v, a.By), At: v.at(a.At), Note: "good until " + v.at(a.Until).Text}
		if v.now.After(a.Until) {
			row.Note = "ended " + v.at(a.Until).Text
		}
		out.Approvals = append(out.Approvals, row)
	}
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return err
	}
	how := v.ask.Context
	p.Circumstances(&how, access.RemedyApprove)
	out.Deciders = strings.ReplaceAll(strings.Join(policy.WhoMay(access.Request{Caller: v.ask.Caller, Action: access.RemedyApprove, Resource: res, Context: how}), ", "), "-", " ")
	return nil
}

// fixStages is the line from plan to certificate.
func (s *Server) fixStages(ctx context.Context, v *visit, p *remedy.Plan, out *fixPage) {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(v.zone).Format("2 Jan, 15:04")
	}
	st := []stage{
		{Name: "Plan", Line: out.By + ", " + at(p.Created), Done: true}, {Name: "Approve", Line: "waits for one of: " + out.Deciders}, {Name: "Apply", Line: out.Size},
		{Name: "Verify", Line: "read back and scanned again"}, {Name: "Certificate", Line: "states which copies are clean"},
	}
	here := 1
	if n := len(p.Approvals); n > 0 {
		st[1].Line, st[1].Done = s.personName(ctx, v, p.Approvals[n-1].By)+", "+at(p.Approvals[n-1].At), true
	}
	switch p.State {
	case remedy.Planned:
		if out.CanApply {
			st[1].Line, here = "not asked for by the policies", 2
		}
	case remedy.Approved, remedy.Applying:
		here = 2
		if p.Result != nil {
			here = 3
		}
	case remedy.Applied, remedy.Purged, remedy.Undone:
		st[1].Done, st[2].Done, st[3].Done, here = true, true, true, 4
		st[2].Line = at(p.Finished)
		st[3].Line = "nothing left in the current object"
		if p.Clean == "" && p.State != remedy.Undone {
			st[3].Line = "something is left in the current object"
		}
		if !p.Verified {
			st[3].Line, st[3].Bad = "not verified", true
		}
		if len(p.Approvals) == 0 {
			st[1].Line = "not asked for by the policies"
		}
		st[4].Line = fixSign(p).Word
		if p.State == remedy.Purged {
			st[4].Done = true
		}
	case remedy.Conflict:
		here, st[2].Bad, st[2].Line = 2, true, "the object was changed"
	case remedy.Refused:
		here, st[3].Bad, st[3].Line, st[2].Line = 3, true, "not passed; nothing was written", "staged"
	case remedy.Denied:
		st[1].Bad, st[1].Done, st[1].Line = true, false, "denied by "+s.personName(ctx, v, p.EndedBy)
	case remedy.Withdrawn:
		st[1].Bad, st[1].Done, st[1].Line = true, false, "withdrawn"
	}
	st[here].Here = !st[here].Done
	for i := range st {
		st[i].Future = !st[i].Done && !st[i].Here && !st[i].Bad
	}
	out.Stages = st
	out.Now = map[remedy.State]string{
		remedy.Planned: "Nothing has been written yet.", remedy.Approved: "Approved. Nothing has been written yet.", remedy.Applying: "Being applied.",
		remedy.Undone: "The object is back byte for byte, with its metadata and tags.", remedy.Withdrawn: "Withdrawn. Nothing was written.", remedy.Denied: "Denied. Nothing was written.",
		remedy.Conflict: "Not applied. Nothing was changed.", remedy.Refused: "Not applied. Nothing was changed.",
	}[p.State]
	copies := "No other copy is known."
	if n := len(p.Residual); n > 0 {
		copies = counted(n, "copy")
		if n > 1 {
			copies = grouped(n) + " copies"
		}
		copies += " may still hold them."
	}
	done := capital(counted(p.Changes, "value")) + " " + pastWords[p.Action] + ", read back and scanned again. "
	if !p.Action.Rewrites() {
		done = "The object is " + pastWords[p.Action] + ". "
	}
	switch p.State {
	case remedy.Applied:
		out.Now = done + copies
	case remedy.Purged:
		out.Now = done + "The kept original was destroyed; they cannot come back. " + copies
	case remedy.Conflict:
		out.Wrong = &banner{"triangle", "warn", "Not applied.", sentence(p.Reason) + " Nothing was changed. Plan again on the version that is there now."}
	case remedy.Refused:
		out.Wrong = &banner{"alert", "high", "Not applied: the new bytes did not pass the verification.", sentence(p.Reason) + " Nothing was changed."}
	case remedy.Denied:
		out.Wrong = &banner{"cross", "quiet", s.personName(ctx, v, p.EndedBy) + " said no.", p.Reason}
	case remedy.Planned, remedy.Approved, remedy.Applying, remedy.Undone, remedy.Withdrawn:
	}
	if out.Changed != "" {
		out.Wrong = &banner{"triangle", "warn", "Nobody can approve or apply this plan.", out.Changed}
	}
}

// fixProgress says how far an apply, undo or purge has come that is under way.
func (s *Server) fixProgress(ctx context.Context, v *visit, p *remedy.Plan, out *fixPage) error {
	running := false
	if id := v.get("job"); id != "" {
		j, err := s.Jobs.Get(ctx, id)
		switch {
		case errors.Is(err, coffer.ErrNotFound):
		case err != nil:
			return err
		case j.By == v.ask.Caller.ID: // what becomes of it is for who started it
			shown := s.jobOf(j)
			running = shown.State == string(job.Running)
			if items, err := s.Jobs.Items(ctx, id); err == nil && !running && len(items) == 1 && items[0].Ref == p.ID && items[0].Error != "" {
				out.Wrong = &banner{"alert", "high", "Not done.", sentence(items[0].Error)}
			}
		}
	}
	if !running && p.State != remedy.Applying {
		return nil
	}
	pr := &progress{State: string(p.State), Of: 4, Text: "Beginning"}
	if p.State == remedy.Applying {
		switch {
		case p.Result != nil:
			pr.Done, pr.Text = 3, "New bytes are verified; making them current"
		case p.Original != nil:
			pr.Done, pr.Text = 2, "The original is kept, sealed; rewriting beside it"
		default:
			pr.Done, pr.Text = 1, "Keeping the original, sealed"
		}
	}
	out.Progress = pr
	out.CanApply, out.CanUndo, out.CanPurge, out.CanWithdraw, out.CanApprove = false, false, false, false, false
	out.Waits = ""
	// What a process that died left is taken up by applying again.
	if p.State == remedy.Applying && !running && v.now.Sub(p.Started) > time.Minute {
		out.CanApply = true
	}
	return nil
}

// copies lists where the values stand besides, as far as it is known, with what to do about each.
func (f *fixPage) copies(p *remedy.Plan) {
	applied := p.State == remedy.Applied || p.State == remedy.Purged
	n := grouped(p.Changes)
	now := copyRow{What: "Current object", Where: p.Object.Bucket, Version: p.Object.VersionID, Values: n, Sign: sign{"Will be clean", "fix", "accent"}, Next: "Rewritten by this plan"}
	if !p.Action.Rewrites() {
		now.Next, now.Sign.Word = "Removed by this plan", "Will be gone"
	}
	switch {
	case applied && p.Result != nil && p.Result.Deleted:
		now.Version, now.Values, now.Sign, now.Next = p.Result.Marker, "0", sign{"Gone", "ring-tick", "good"}, ""
	case applied && p.Result != nil:
		now.Version, now.Values, now.Sign, now.Next = p.Result.Object.VersionID, "0", sign{"Clean", "ring-tick", "good"}, ""
		if len(p.Unfixed) > 0 {
			now.Values, now.Sign = "some", sign{"Holds values", "warn", "warn"}
		}
	case p.State != remedy.Planned && p.State != remedy.Approved && p.State != remedy.Applying:
		now.Sign, now.Next = sign{"Holds values", "warn", "warn"}, "Plan again"
	}
	f.Copies = append(f.Copies, now)
	if !applied && p.Object.VersionID != "" && f.waits(p) {
		f.Copies = append(f.Copies, copyRow{What: "Noncurrent version, then", Where: p.Object.Bucket, Version: p.Object.VersionID, Values: n, Sign: sign{"Will hold values", "warn", "warn"}, Next: "Purge removes it"})
	}
	for _, r := range p.Residual {
		f.Copies = append(f.Copies, f.copyOf(p, r))
	}
	if applied && p.Original != nil {
		f.Copies = append(f.Copies, copyRow{What: "Kept original", Where: "Coffer, sealed", Values: n, Sign: sign{"Holds values", "warn", "warn"}, Next: "Purge destroys its key", To: f.purgePath()})
	}
	left := len(f.Copies) - 1
	switch f.CopiesLeft, f.Remaining = "All known copies are listed.", grouped(left)+" copies"; left {
	case 0:
		f.CopiesLeft, f.Remaining = "No other copy is known.", "none known"
	case 1:
		f.Remaining = "1 copy"
	}
}

func (f *fixPage) waits(p *remedy.Plan) bool {
	return p.State == remedy.Planned || p.State == remedy.Approved || p.State == remedy.Applying
}

func (f *fixPage) purgePath() string {
	if f.CanPurge {
		return fixPath(f.ID) + "/purge"
	}
	return ""
}

// copyOf reads one line of what remains: package remedy says it in words.
func (f *fixPage) copyOf(p *remedy.Plan, r string) copyRow {
	holds, unknown := sign{"Holds values", "warn", "warn"}, sign{"Not looked at", "ring-dashed", "quiet"}
	row := copyRow{What: "Copy", Where: r, Values: "?", Sign: unknown, Next: "Look at it"}
	rest, isVersion := strings.CutPrefix(r, "version ")
	switch what, name, _ := strings.Cut(r, " "); {
	case isVersion:
		row.What, row.Where = "Noncurrent version", p.Object.Bucket
		row.Version, _, _ = strings.Cut(rest, " (")
		row.Next = "Have it scanned, or remove it"
		if strings.Contains(rest, "the one the plan is for") {
			row.Values, row.Sign, row.Next, row.To = grouped(p.Changes), holds, "Purge removes it", f.purgePath()
		}
		if _, lock, ok := strings.Cut(rest, ", locked: "); ok {
			row.Next, row.To = "Locked: "+lock+"; purge when that ends", ""
		}
	case strings.HasPrefix(r, "hard link "):
		row.What, row.Where, row.Values, row.Sign, row.Next = "Hard link", strings.TrimPrefix(r, "hard link "), grouped(p.Changes), holds, "Have it scanned and fix it, too"
	case what == "replica":
		row.What, row.Where, row.Values, row.Sign, row.Next = "Replica", name, grouped(p.Changes), holds, "Fix it there, too"
	case what == "annotation":
		row.What, row.Where, row.Next = "Annotation", name, "Goes with its version"
	case strings.HasPrefix(r, "unfinished upload "):
		row.What, row.Where, row.Next = "Unfinished upload", strings.TrimPrefix(r, "unfinished upload "), "Abort it"
	case strings.HasPrefix(r, "replication source "):
		row.What, row.Where, row.Next = "Source of replication", strings.TrimPrefix(r, "replication source "), "Fix it there first"
	case strings.HasPrefix(r, "current version: "):
		row.What, row.Where, row.Sign, row.Next = "In the current object", strings.TrimPrefix(r, "current version: "), holds, "Rename by hand"
		if strings.Contains(r, "not examined") {
			row.Sign, row.Next = unknown, "Look by hand"
		}
	case what == "unknown" || strings.HasPrefix(r, "other copies: "):
		row.What, row.Where, row.Next = "Copies that cannot be listed", strings.TrimPrefix(strings.TrimPrefix(r, "unknown "), "other copies: "), "Permit Coffer to list them"
	case strings.Contains(r, "backup"):
		row.What, row.Sign, row.Next = "Backup", holds, "Remove the backup"
	}
	return row
}

// leaves lists what the plan does not touch, and why.
func (f *fixPage) leaves(s *Server, p *remedy.Plan) {
	for _, why := range slices.Sorted(maps.Keys(p.Leaves)) {
		short, _, _ := strings.Cut(why, "; --")
		f.Leaves = append(f.Leaves, fact{short, grouped(p.Leaves[why])})
	}
	for _, one := range p.Possible[:min(10, len(p.Possible))] {
		f.PossibleAt = append(f.PossibleAt, fact{kind(one.Type), s.Home.Cut(one.At).String()})
	}
}

// length is a length of time that is configured: whole days as such.
func length(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return counted(int(d/day), "day")
	}
	return age(d)
}

// undo says how long there is a way back.
func (f *fixPage) undo(v *visit, p *remedy.Plan, grace time.Duration) {
	switch p.State {
	case remedy.Planned, remedy.Approved, remedy.Applying:
		f.Undo = length(grace) + " from applying. The original, its metadata and its tags come back byte for byte."
		if p.Action == remedy.Quarantine {
			f.Undo = "Until it is released or purged. The original, its metadata and its tags come back byte for byte."
		}
	case remedy.Applied:
		if p.Until.IsZero() {
			f.Undo = "Until it is released or purged."
			return
		}
		if left := p.Until.Sub(v.now); left > 0 {
			f.Undo, f.UndoLeft = "Until "+v.at(p.Until).Text+".", age(left)
			return
		}
		f.Undo = "Undo ended " + v.at(p.Until).Text + ". A purge destroys the kept original."
	case remedy.Purged:
		f.Undo = "Not possible any more: the key of the kept original was destroyed" + onDay(v, p.KeyGone) + "."
	case remedy.Undone:
		f.Undo = "Done" + onDay(v, p.Ended) + "."
	case remedy.Conflict, remedy.Refused, remedy.Denied, remedy.Withdrawn:
		f.Undo = "Nothing was written, so there is nothing to undo."
	}
}

// chosen are the findings that a form or a link is about: named one by one, or by the filter of a list.
type chosen struct {
	IDs    []string
	Filter triage.Filter
	Count  int // that the reader was told the filter selects; 0: nothing was said
}

// findingsOf reads what is chosen: finding or id, repeated, or with all the filter of the list with its words.
func findingsOf(q url.Values) (chosen, error) {
	out := chosen{IDs: append(slices.Clone(q["finding"]), q["id"]...)}
	if len(out.IDs) > 10_000 {
		return out, fmt.Errorf("at most 10,000 findings at once; choose them by a filter: %w", coffer.ErrInvalid)
	}
	if q.Get("all") == "" && len(out.IDs) > 0 {
		return out, nil
	}
	if q.Get("all") == "" {
		return out, fmt.Errorf("choose the findings to plan a fix for: %w", coffer.ErrInvalid)
	}
	terms, err := url.ParseQuery(q.Get("filter"))
	if err != nil {
		return out, fmt.Errorf("filter: %w", coffer.ErrInvalid)
	}
	if out.Filter, err = triage.FilterOf(terms, own...); err != nil {
		return out, err
	}
	if words := q.Get("q"); words != "" {
		more, err := triage.ParseFilter("q=" + words)
		if err != nil {
			return out, err
		}
		out.Filter = out.Filter.Override(more)
	}
	if n, err := strconv.Atoi(q.Get("count")); err == nil {
		out.Count = n
	}
	out.IDs = nil
	return out, nil
}

// askFix shows the form that plans a fix.
func (s *Server) askFix(ctx context.Context, v *visit, q url.Values, wrong *problem) (*screen, error) {
	sel, err := findingsOf(q)
	if err != nil {
		return nil, err
	}
	type choice struct {
		Value, Name, What string
		On                bool
	}
	type newPage struct {
		Head, Name, Folder string
		One                string // the finding, when there is one
		IDs                []string
		All                bool
		Filter, Words      string
		Count              int
		Actions            []choice
		Include            []choice
		Only               bool
		Key                string
		Wrong              *problemPage
	}
	p := newPage{IDs: sel.IDs, Only: q.Get("only") != "", Key: rand.Text(), Head: "Plan fixes for " + counted(len(sel.IDs), "finding")}
	if len(sel.IDs) == 0 {
		p.All, p.Filter, p.Words, p.Count = true, q.Get("filter"), q.Get("q"), sel.Count
		p.Head = "Plan fixes for " + counted(sel.Count, "finding")
	}
	if len(sel.IDs) == 1 {
		rec, _, err := s.Desk.Read(ctx, v.ask, sel.IDs[0])
		if err != nil {
			return nil, s.hide(ctx, v.call, &route{on: object, action: access.RemedyPlan}, err)
		}
		p.One, p.Head = rec.Finding.ID, "Plan a fix"
		p.Name, p.Folder = fileName(rec.Finding.Object)
	}
	chosen := q.Get("action")
	if chosen == "" {
		chosen = string(remedy.Redact)
	}
	for _, a := range []choice{
		{"redact", "Redact", "Each value becomes the word REDACTED. Every other byte stays as it is.", false},
		{"mask", "Mask", "Letters and digits become X; separators stay, and the last four where the kind can bear it.", false},
		{"tokenise", "Tokenise", "Each value becomes a token, the same for the same value everywhere, so that joins still work.", false},
		{"quarantine", "Quarantine", "The object is kept, sealed, out of reach, until it is released or purged.", false},
		{"delete", "Delete", "The object is removed. It can be brought back until undo ends.", false},
	} {
		a.On = a.Value == chosen
		p.Actions = append(p.Actions, a)
	}
	for _, a := range []choice{
		{"possible", "What merely looks alike", "Places that look like one of the kinds and have no checksum or keyword to tell.", false},
		{"rejected", "Values that fail their checksum", "Probably not what Macie took them for.", false},
		{"region", "Whole lines or pages without a known pattern", "More than the value may go.", false},
	} {
		a.On = slices.Contains(q["include"], a.Value)
		p.Include = append(p.Include, a)
	}
	sc := &screen{page: "fix-new", title: s.Home.Scrub("Plan a fix, " + p.Name), nav: "/fixes", data: &p}
	if wrong != nil {
		page := s.problemPage(v, wrong)
		p.Wrong, sc.status = &page, wrong.Status
	}
	return sc, nil
}

// makeFix makes a plan for the object of the chosen findings, or a job that makes one for each of their objects. Without an action, as
// from the list, it asks which.
func (s *Server) makeFix(ctx context.Context, v *visit) (*screen, error) {
	if v.field("action") == "" {
		return s.askFix(ctx, v, v.form, nil)
	}
	sel, err := findingsOf(v.form)
	if err != nil {
		return nil, err
	}
	if len(sel.IDs) == 0 {
		// Without an open finding in the filter, and when it selects others than the reader was told, nothing is planned.
		ids, err := s.Desk.Select(ctx, v.ask, triage.Selection{Filter: sel.Filter, Count: sel.Count})
		if err != nil {
			return nil, err
		}
		sel.IDs = ids
	}
	in := &actsWith[api.PlanBody]{Key: "portal-plan-" + v.field("key"), Body: api.PlanBody{
		Findings: sel.IDs, Action: v.field("action"), Include: v.form["include"], OnlyReported: v.field("only") != "",
	}}
	made, err := s.makePlans(ctx, v.call, in)
	if err != nil {
		var p *problem
		asProblem(s.hide(ctx, v.call, &route{on: object, action: access.RemedyPlan}, err), &p)
		return s.askFix(ctx, v, v.form, p)
	}
	if j := made.Body.Job; j != nil {
		return &screen{to: "/jobs/" + url.PathEscape(j.Job)}, nil
	}
	return &screen{to: fixPath(made.Body.Plan.Plan)}, nil
}

// askOnceMore shows what an act will do, next to the button that does it.
func (s *Server) askOnceMore(ctx context.Context, v *visit, step, missing string) (*screen, error) {
	p, err := s.Remedy.Read(ctx, v.ask, v.r.PathValue("plan"))
	if err != nil {
		return nil, err
	}
	out, err := s.fixPage(ctx, v, p)
	if err != nil {
		return nil, err
	}
	allowed := map[string]bool{"apply": out.CanApply, "undo": out.CanUndo, "purge": out.CanPurge}[step]
	if !allowed {
		return &screen{to: fixPath(p.ID), said: "The plan is " + string(p.State) + "; this cannot be done now."}, nil
	}
	out.Step, out.Missing = step, missing
	sc := &screen{page: "fix-act", title: s.Home.Scrub(capital(step) + ", " + out.Name), nav: "/fixes", data: out}
	if missing != "" {
		sc.status = http.StatusUnprocessableEntity
	}
	return sc, nil
}

// actOnFix begins to apply, undo or purge a plan. It is a job, so that nothing is lost when the reader goes away.
func (s *Server) actOnFix(ctx context.Context, v *visit, step string) (*screen, error) {
	id := v.r.PathValue("plan")
	if err := s.matchPlan(ctx, v.call, id, v.field("match")); err != nil {
		return nil, err
	}
	kind, params := map[string]string{"apply": kindApply, "undo": kindUndo, "purge": kindPurge}[step], map[string]string(nil)
	switch step {
	case "apply":
		params = closingParams(s.closingOf(api.ApplyBody{Origin: v.field("origin"), CorrectiveAction: v.field("correctiveAction")}))
	case "purge":
		p, err := s.Remedy.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if v.field("bucket") != p.Object.Bucket {
			return s.askOnceMore(ctx, v, step, "This is not the name of the bucket. Nothing was destroyed.")
		}
		params = map[string]string{"values": strconv.FormatBool(v.field("values") != "")}
	}
	j, err := s.runner.start(ctx, v.call, kind, s.attemptID(v.call, "portal-"+step+"-"+v.field("key")), params, []string{id})
	if err != nil {
		return nil, err
	}
	return &screen{to: fixPath(id) + "?job=" + url.QueryEscape(j.ID)}, nil
}
