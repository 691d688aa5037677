package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/access"
	"coffer/audit"
	"coffer/internal/lazyregexp"
)

// Message is what leaves the installation about one entry of the log: ids, types, states and counts. Objects have opaque ids and people
// pseudonymous ones; there is no value, no masked form, no key and no bucket, and nothing that somebody wrote. What else there is to
// know is behind the link, for those who may.
type Message struct {
	// ID is the same each time the message is sent, and no other message has it.
	ID       string    `json:"id"`
	Type     string    `json:"type"` // the action of the log: remedy.apply
	Outcome  string    `json:"outcome"`
	Severity string    `json:"severity"` // info, low or high
	Time     time.Time `json:"time"`     // of the entry
	Entry    int64     `json:"entry"`    // its position in the log

	Actor       string `json:"actor"`
	ActorKind   string `json:"actorKind"`
	Reason      string `json:"reason,omitempty"` // code
	Finding     string `json:"finding,omitempty"`
	Plan        string `json:"plan,omitempty"`
	Object      string `json:"object,omitempty"`
	Occurrences int    `json:"occurrences,omitempty"` // how many
	// Detail are members of the entry's detail that are ids, types, states or counts.
	Detail map[string]string `json:"detail,omitempty"`
	Link   string            `json:"link,omitempty"` // into the portal
}

// told are the members of an entry's detail that a message repeats. Others can be added to an entry without leaving the installation.
var told = map[string]bool{
	"step": true, "state": true, "status": true, "action": true, "change": true, "changes": true, "findings": true, "sealed": true,
	"occurrences": true, "types": true, "values": true, "seconds": true, "request": true, "grant": true, "for": true, "breakGlass": true,
	"listed": true, "shown": true, "what": true, "keys": true, "index": true, "by": true,
}

// tellable is the form of what a message repeats: a code, an id or a number. Free text has blanks.
var tellable = lazyregexp.New(`^[A-Za-z0-9_.,:+/-]{1,200}$`)

func tell(s string) string {
	if tellable().MatchString(s) {
		return s
	}
	return ""
}

// event is an entry with the message about it.
type event struct {
	audit.Entry
	Message
}

// eventOf makes the message about an entry. portal is the origin of the portal; empty: no link.
func eventOf(e audit.Entry, portal string) event {
	m := Message{
		ID: "coffer-" + e.Writer + "-" + strconv.FormatUint(e.Seq, 10), Type: string(e.Action), Outcome: string(e.Outcome), Time: e.Time,
		Entry: e.Index, Actor: tell(e.Actor.ID), ActorKind: string(e.Actor.Kind), Reason: tell(e.Reason), Finding: tell(e.Finding),
		Plan: tell(e.Plan), Object: tell(e.Object), Occurrences: len(e.Occurrences),
	}
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		if v := tell(e.Detail[name]); told[name] && v != "" {
			if m.Detail == nil {
				m.Detail = map[string]string{}
			}
			m.Detail[name] = v
		}
	}
	m.Severity = "info"
	switch {
	case e.Action == access.AccessBreak || e.Detail["breakGlass"] != "":
		m.Severity = "high"
	case e.Outcome == audit.Denied || e.Outcome == audit.Failed:
		m.Severity = "low"
	}
	if portal != "" {
		m.Link = portal + "/audit?index=" + strconv.FormatInt(e.Index, 10)
		switch {
		case m.Detail["request"] != "":
			m.Link = portal + "/requests/" + m.Detail["request"]
		case m.Plan != "":
			m.Link = portal + "/fixes/" + m.Plan
		case m.Finding != "":
			m.Link = portal + "/findings/" + m.Finding
		}
	}
	return event{e, m}
}

// probeMessage is what `coffer notify test` sends.
func probeMessage(now time.Time) Message {
	return Message{
		ID: "coffer-test-" + strconv.FormatInt(now.UnixNano(), 36), Type: "notify.test", Outcome: string(audit.Done), Severity: "info", Time: now.UTC(),
		Entry: -1, Actor: "coffer", ActorKind: string(access.ServiceCaller),
	}
}

// sentences are the words for what happened, by action and step; "" is for all other steps.
var sentences = map[access.Action]map[string]string{
	access.EventIngest:   {"": "A finding was taken in", "seal": "Values of a finding were sealed", "tag": "The object of a finding was tagged"},
	access.EventConfirm:  {"": "A submitted finding was confirmed"},
	access.VerdictSet:    {"": "A finding was judged or assigned"},
	access.ValueReveal:   {"": "Values were revealed"},
	access.ValueSearch:   {"": "Somebody asked where a value stands"},
	access.RemedyPlan:    {"": "A fix was planned"},
	access.RemedyApprove: {"": "A fix was decided on", "approve": "A fix was approved"},
	access.RemedyApply:   {"": "A fix was applied", "settle": "A finding was settled by a fix"},
	access.RemedyUndo:    {"": "A fix was undone"},
	access.RemedyPurge:   {"": "What a fix had kept was purged", "approve-purge": "A purge was approved"},
	access.AccessRequest: {"": "Somebody asks for access"},
	access.AccessApprove: {"": "A request for access was decided on", "approve": "A request for access was approved", "denied": "A request for access was denied"},
	access.AccessBreak:   {"": "The glass was broken"},
	access.AccessReview:  {"": "Broken glass was reviewed"},
	access.KeyRotate:     {"": "Keys were looked at or rotated"},
	access.PolicyWrite:   {"": "The policies changed"},
	access.AdminUser:     {"": "People or their roles were changed"},
	access.AdminBackup:   {"": "A backup was written"},
	"notify.test":        {"": "This is a test"},
}

// Sentence says in words what the message is about.
func (m *Message) Sentence() string {
	words := sentences[access.Action(m.Type)]
	s := words[m.Detail["step"]]
	if s == "" {
		s = words[""]
	}
	if s == "" {
		s = m.Type
	}
	switch audit.Outcome(m.Outcome) {
	case audit.Denied:
		return "Denied: " + m.Type
	case audit.Failed:
		return "Failed: " + m.Type
	case audit.Intent:
		s = "About to begin: " + m.Type
	}
	if m.Detail["breakGlass"] != "" {
		s += " through broken glass"
	}
	return s
}

// maxFact bounds what people are shown of one fact, in characters: a field of Slack's takes 2,000, its name included
// (https://docs.slack.dev/reference/block-kit/blocks/section-block). All of it is behind the link.
const (
	maxFact = 1900
	more    = ", and more"
)

// facts are the members of the message as names and texts, for people; no text is longer than maxFact.
func (m *Message) facts() [][2]string {
	out := [][2]string{{"Event", m.Type + " " + m.Outcome}, {"Time", m.Time.UTC().Format(time.RFC3339)}, {"By", cmp.Or(m.Actor, m.ActorKind)}}
	for _, f := range [][2]string{{"Finding", m.Finding}, {"Plan", m.Plan}, {"Object", m.Object}, {"Reason", m.Reason}} {
		if f[1] != "" {
			out = append(out, f)
		}
	}
	if m.Occurrences > 0 {
		out = append(out, [2]string{"Occurrences", strconv.Itoa(m.Occurrences)})
	}
	var detail []string
	for _, name := range slices.Sorted(maps.Keys(m.Detail)) {
		detail = append(detail, fmt.Sprintf("%s %s", name, m.Detail[name]))
	}
	if len(detail) > 0 {
		text := strings.Join(detail, ", ")
		if len(text) > maxFact { // what is tellable is ASCII
			text = text[:maxFact-len(more)] + more
		}
		out = append(out, [2]string{"Detail", text})
	}
	return out
}

// choice says which entries a target is told of.
type choice struct {
	filter audit.Filter
	given  bool // the configuration has a filter
}

// wants reports whether the target is told of an entry. What delivery itself writes is told to nobody but the archive of the log: a message
// about a message that did not arrive would be the next one that does not.
func (c choice) wants(e *audit.Entry) bool {
	if e.Action == access.AdminNotify || !slices.ContainsFunc(access.Actions, func(d access.Description) bool { return d.Action == e.Action }) {
		return false
	}
	if c.given {
		return c.filter.Match(e)
	}
	return notable(e)
}

// notable is the usual choice.
func notable(e *audit.Entry) bool {
	step := e.Detail["step"]
	switch {
	case e.Detail["breakGlass"] != "" || e.Action == access.AccessBreak:
		return true
	case e.Outcome == audit.Intent:
		return false
	case e.Outcome == audit.Denied:
		return e.Action == access.ValueReveal || e.Action == access.ValueSearch
	}
	switch e.Action {
	case access.EventIngest:
		return step == "seal"
	case access.RemedyApply:
		return step == "applied" || e.Outcome == audit.Failed
	case access.RemedyUndo:
		return step == "undone" || e.Outcome == audit.Failed
	case access.RemedyPurge:
		return step == "purged" || step == "approve-purge" || e.Outcome == audit.Failed
	case access.KeyRotate, access.AdminBackup:
		return step != "list"
	case access.EventConfirm, access.VerdictSet, access.RemedyPlan, access.RemedyApprove, access.AccessRequest, access.AccessApprove,
		access.AccessReview, access.PolicyWrite, access.AdminUser, access.AdminToken, access.AdminIndex, access.AdminPerson:
		return true
	}
	return false
}
