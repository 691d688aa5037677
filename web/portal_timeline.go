package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/remedy"
	"coffer/triage"
	"coffer/vault"
)

const (
	asideMoments = 8   // of the timeline beside the values
	logMoments   = 500 // of the log on a timeline
)

// timeline is the one line from event to certificate, the newest first, as far as the record tells. The log has the rest.
func (p *findingPage) timeline(ctx context.Context, s *Server, v *visit, rec *triage.Record) error {
	p.FromLog = p.Part == "timeline" && s.may(ctx, v.call, access.AuditRead, access.Resource{Kind: access.System}, v.ask.Context)
	f := &rec.Finding
	add := func(at time.Time, class, what, note string) {
		if !at.IsZero() {
			p.Timeline = append(p.Timeline, moment{At: v.at(at), Class: class, What: what, Note: note, time: at})
		}
	}
	from := "Automated discovery"
	if f.JobID != "" {
		from = "Discovery job"
	}
	if f.Region != "" {
		from += ", " + f.Region
	}
	add(f.CreatedAt, "", "Macie made the finding", from)
	add(rec.Received, "", "Taken in", "On the word of "+map[coffer.Origin]string{coffer.OriginMacie: "Macie, re-read by id", coffer.OriginOperator: "the operator",
		coffer.OriginSubmitted: "who submitted it", coffer.OriginScan: "Coffer's own detectors"}[f.Origin])
	tagged := ""
	if rec.Tagged {
		tagged = "The object is tagged"
	} else if rec.TagReason != "" {
		tagged = "The object is not tagged: " + rec.TagReason
	}
	add(rec.SealedAt, "", fmt.Sprintf("Sealed %d of %s", rec.Sealed, counted(rec.Count, "value")), tagged)
	if p.FromLog {
		if err := p.logged(ctx, s, v); err != nil {
			return err
		}
	} else {
		add(rec.Judged, "", "Judged", strings.ReplaceAll(string(rec.Verdict), "-", " "))
		add(rec.Opened, "", "Opened again", "")
		if c := rec.Closing; c != nil {
			add(c.At, "", "Closed by "+s.personName(ctx, v, c.By), strings.ReplaceAll(c.Disposition, "-", " "))
		}
	}
	if rec.Plan != "" && s.may(ctx, v.call, access.ObjectRead, access.Resource{Kind: access.Object, ID: rec.ObjectID, Bucket: f.Object.Bucket}, v.ask.Context) {
		if plan, err := s.Remedy.Read(ctx, v.ask, rec.Plan); err == nil {
			p.fixed(ctx, s, v, plan, add)
		}
	}
	slices.SortStableFunc(p.Timeline, func(a, b moment) int { return b.time.Compare(a.time) })
	if rec.Status.Active() {
		next := moment{Class: "next", What: "Next: a verdict", Note: "True, false positive, or intended and protected"}
		if rec.Verdict == triage.True || rec.Plan != "" {
			next = moment{Class: "next", What: "Next: a fix", Note: "Nothing is written before somebody approves it, where the policy asks for that"}
		}
		p.Timeline = append([]moment{next}, p.Timeline...)
	}
	for i := range p.Timeline {
		// The day stands where it changes.
		at := p.Timeline[i].time.In(v.zone)
		p.Timeline[i].Clock = at.Format("15:04")
		if i == 0 || p.Timeline[i-1].time.In(v.zone).Format(time.DateOnly) != at.Format(time.DateOnly) {
			p.Timeline[i].Day = at.Format("2 Jan 2006")
		}
		if p.Timeline[i].time.IsZero() {
			p.Timeline[i].Clock, p.Timeline[i].Day = "", ""
		}
	}
	if p.Moments = len(p.Timeline); p.Part != "timeline" {
		p.Timeline = p.Timeline[:min(asideMoments, len(p.Timeline))]
	}
	return nil
}

// logged adds what the log has about the finding. That it was read is an entry, too.
func (p *findingPage) logged(ctx context.Context, s *Server, v *visit) error {
	list, err := s.entries(ctx, v.call, audit.Filter{Finding: p.ID, Newest: true}, "finding")
	if err != nil {
		return err
	}
	for e, err := range list {
		if err != nil {
			return err
		}
		m, ok := s.logMoment(ctx, v, &e)
		if !ok {
			continue
		}
		if len(p.Timeline) >= logMoments {
			p.Cut = true
			break
		}
		p.Timeline = append(p.Timeline, m)
	}
	return nil
}

// logMoment says an entry of the log in a sentence. What is no event of the finding's own is left out: looks at the masked page, and the
// intents whose results follow.
func (s *Server) logMoment(ctx context.Context, v *visit, e *audit.Entry) (moment, bool) {
	who := s.personName(ctx, v, e.Actor.ID)
	m := moment{At: v.at(e.Time), time: e.Time}
	if e.Index >= 0 {
		m.Note = "Entry " + grouped(e.Index)
	}
	if e.Reason != "" {
		m.Note = capital(e.Reason) + ". " + m.Note
	}
	values := fmt.Sprintf("%d values", len(e.Occurrences))
	if len(e.Occurrences) == 1 {
		values = fmt.Sprintf("value %d", e.Occurrences[0])
	}
	if e.Decision == audit.Deny {
		m.Class, m.What = "refused", fmt.Sprintf("%s was refused: %s", who, e.Action)
		return m, e.Action != access.FindingRead && e.Action != access.FindingList
	}
	switch {
	case e.Outcome == audit.Intent:
		return m, false
	case e.Action == access.ValueReveal:
		if m.Class, m.What = "seen", who+" revealed "+values; e.Outcome != audit.Done {
			m.What = who + " asked for " + values + ", and nothing was shown"
		}
	case e.Detail["shown"] == string(vault.Copied):
		m.Class, m.What = "seen", who+" copied "+values
	case e.Detail["shown"] == string(vault.Extended):
		m.Class, m.What = "seen", who+" looked at "+values+" for 30 s more"
	case e.Detail["shown"] == string(vault.Hidden):
		if m.What = capital(values) + " hidden again"; e.Detail["seconds"] != "" {
			m.What += ", " + e.Detail["seconds"] + " s on the screen"
		}
	case e.Action == access.FindingRead, e.Action == access.FindingList, e.Action == access.EventIngest:
		return m, false // looks, and what the record tells
	case e.Action == access.VerdictSet:
		about := ""
		if len(e.Occurrences) == 1 {
			about = " on " + values
		}
		switch e.Detail["change"] {
		case "verdict":
			m.What = who + " judged" + about + ": " + strings.ReplaceAll(e.Detail["verdict"], "-", " ")
		case "owner":
			if m.What = who + " assigned it to nobody"; e.Detail["owner"] != "none" {
				m.What = who + " assigned it to " + strings.Replace(s.personName(ctx, v, e.Detail["owner"]), "You", "you", 1)
			}
		case "muted":
			if m.What = who + " took it out of the muted ones"; e.Detail["muted"] == "yes" {
				m.What = who + " muted it"
			}
		case "status":
			m.What = who + " set the status to " + strings.ReplaceAll(e.Detail["status"], "-", " ")
		default:
			m.What = who + " changed its " + e.Detail["change"]
		}
	default:
		m.What = fmt.Sprintf("%s: %s", who, e.Action)
	}
	if e.Outcome == audit.Failed {
		m.What += ", and it failed"
	}
	return m, true
}

func (p *findingPage) fixed(ctx context.Context, s *Server, v *visit, plan *remedy.Plan, add func(time.Time, string, string, string)) {
	link := func(to, word string) {
		if n := len(p.Timeline); n > 0 {
			p.Timeline[n-1].To, p.Timeline[n-1].Word = to, word
		}
	}
	add(plan.Created, "", fmt.Sprintf("%s planned to %s %s", s.personName(ctx, v, plan.By), plan.Action, counted(plan.Changes, "value")), "")
	link(fixPath(plan.ID), "Fix "+planNumber(plan.ID))
	for _, a := range plan.Approvals {
		add(a.At, "", "Approved by "+s.personName(ctx, v, a.By), "")
		link(fixPath(plan.ID), "Fix "+planNumber(plan.ID))
	}
	if plan.Result != nil {
		word := "Applied"
		if plan.Verified {
			word = "Applied and verified"
		}
		add(plan.Finished, "now", word, map[string]string{"all": "All known copies are clean", "current": "The current object is clean"}[plan.Clean])
		link("/certificates/"+url.PathEscape(plan.ID), "Certificate")
	}
	add(plan.KeyGone, "", "The kept original cannot be opened any more", "Its key was destroyed")
}
