package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"coffer/access"
	"coffer/audit"
)

// What the receivers take, as their references have it. Members that are not here are refused by the test: an exact decoder reads them.
type (
	// https://docs.slack.dev/reference/block-kit/blocks: a message has at most 50 blocks, a section's text 3,000 characters, its fields are
	// at most ten of 2,000 each; a context has at most ten elements. Text beside blocks is cut at 40,000.
	slackText struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Verbatim bool   `json:"verbatim"`
	}
	slackMessage struct {
		Text   string `json:"text"`
		Blocks []struct {
			Type     string      `json:"type"`
			Text     *slackText  `json:"text"`
			Fields   []slackText `json:"fields"`
			Elements []slackText `json:"elements"`
		} `json:"blocks"`
	}
	// The envelope of a workflow's webhook and, in it, schema 1.4 of Adaptive Cards (schemas/1.4.0/adaptive-card.json in
	// microsoft/AdaptiveCards): a TextBlock has weight and color of its lists, a FactSet facts with title and value. A message may have 28 KB.
	teamsMessage struct {
		Type        string `json:"type"`
		Attachments []struct {
			ContentType string  `json:"contentType"`
			ContentURL  *string `json:"contentUrl"`
			Content     struct {
				Type    string `json:"type"`
				Schema  string `json:"$schema"`
				Version string `json:"version"`
				Body    []struct {
					Type   string `json:"type"`
					Text   string `json:"text"`
					Weight string `json:"weight"`
					Color  string `json:"color"`
					Wrap   bool   `json:"wrap"`
					Facts  []struct {
						Title string `json:"title"`
						Value string `json:"value"`
					} `json:"facts"`
				} `json:"body"`
				Actions []struct {
					Type  string `json:"type"`
					Title string `json:"title"`
					URL   string `json:"url"`
				} `json:"actions"`
			} `json:"content"`
		} `json:"attachments"`
	}
	// What a rule makes an issue of: a summary is one line of at most 255 characters, a label has no blanks and at most 255, a description
	// at most 32,767 (jira.text.field.character.limit).
	jiraMessage struct {
		Summary     string          `json:"summary"`
		Description string          `json:"description"`
		Priority    string          `json:"priority"`
		Labels      []string        `json:"labels"`
		Data        json.RawMessage `json:"data"`
	}
)

// extreme are messages of every action and outcome, from one that says next to nothing to one in which every member is as long as it can be.
func extreme() []Message {
	var out []Message
	long := strings.Repeat("x", 200)
	for _, d := range access.Actions {
		for _, o := range []audit.Outcome{audit.Done, audit.Denied, audit.Failed, audit.Intent} {
			e := audit.Entry{Action: d.Action, Outcome: o, Time: time.Unix(1772366400, 0).UTC(), Writer: "w", Seq: 1, Index: 1}
			e.Actor = audit.Actor{ID: "u-1", Kind: access.UserCaller}
			out = append(out, eventOf(e, "").Message)
			e.Actor.ID, e.Reason, e.Finding, e.Plan, e.Object, e.Writer, e.Seq, e.Index = long, long, long, long, long, strings.Repeat("w", 64), 1<<63, 1<<62
			e.Detail = map[string]string{}
			for name := range told {
				e.Detail[name] = long
			}
			for i := range 1000 {
				e.Occurrences = append(e.Occurrences, i+1)
			}
			out = append(out, eventOf(e, "https://"+strings.Repeat("portal.", 30)+"test").Message)
			// What looks like an address, a mention or a mark in an id.
			e.Finding, e.Plan, e.Actor.ID = "https://evil.test/a", "f_a_1-_", "@here"
			out = append(out, eventOf(e, "https://coffer.test").Message)
			// And what no id looks like, should one ever.
			m := eventOf(e, "https://coffer.test").Message
			m.Finding, m.Plan, m.Actor = "<!channel>", "<https://evil.test|a fix>", "<@U1> & co"
			out = append(out, m)
		}
	}
	return append(out, probeMessage(time.Unix(1772366400, 0)))
}

// TestFormsAreTaken holds what goes to Slack, Teams and Jira against what they take, from the shortest message to the longest.
func TestFormsAreTaken(t *testing.T) {
	exact := func(kind Kind, m *Message, into any) []byte {
		t.Helper()
		h := &hook{receiver: &receiver{target: &Target{Kind: kind}}}
		b, err := json.Marshal(h.body(m))
		if err == nil {
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.DisallowUnknownFields()
			err = dec.Decode(into)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", kind, m.Type, err)
		}
		return b
	}
	longest := map[Kind]int{}
	ours := regexp.MustCompile(`<https://[^|<>]+\|Open in Coffer>`)
	for i, m := range extreme() {
		wrong := func(kind Kind, format string, args ...any) {
			t.Helper()
			t.Errorf("%s, message %d (%s %s): %s", kind, i, m.Type, m.Outcome, fmt.Sprintf(format, args...))
		}
		link := func(kind Kind, u string) {
			if p, err := url.Parse(u); err != nil || p.Scheme != "https" || len(u) > 3000 {
				wrong(kind, "an address of %d characters: %v", len(u), err)
			}
		}

		var s slackMessage
		b := exact(Slack, &m, &s)
		longest[Slack] = max(longest[Slack], len(b))
		text := func(x slackText, most int) {
			if n := utf8.RuneCountInString(x.Text); x.Type != "mrkdwn" || n == 0 || n > most || !x.Verbatim {
				wrong(Slack, "a text of %d characters, at most %d, %+v", n, most, x)
			}
			// The only marks are ours: of somebody else's brackets there are none.
			if rest := ours.ReplaceAllString(x.Text, ""); strings.ContainsAny(rest, "<>") {
				wrong(Slack, "a mark in %q", rest)
			}
		}
		if len(s.Blocks) == 0 || len(s.Blocks) > 50 || s.Text == "" || len(s.Text) > 3000 {
			wrong(Slack, "%d blocks, text %q", len(s.Blocks), s.Text)
		}
		for _, x := range s.Blocks {
			switch {
			case x.Type == "section" && (x.Text != nil || len(x.Fields) > 0) && len(x.Fields) <= 10 && x.Elements == nil:
				if x.Text != nil {
					text(*x.Text, 3000)
				}
				for _, f := range x.Fields {
					text(f, 2000)
				}
			case x.Type == "context" && len(x.Elements) > 0 && len(x.Elements) <= 10 && x.Text == nil && x.Fields == nil:
				text(x.Elements[0], 3000)
			default:
				wrong(Slack, "a block of type %s", x.Type)
			}
		}

		var c teamsMessage
		b = exact(Teams, &m, &c)
		longest[Teams] = max(longest[Teams], len(b))
		if len(b) > 28<<10 || c.Type != "message" || len(c.Attachments) != 1 || c.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
			wrong(Teams, "%d bytes, %s, %d attachments", len(b), c.Type, len(c.Attachments))
			continue
		}
		card := c.Attachments[0].Content
		if card.Type != "AdaptiveCard" || card.Version != "1.4" || len(card.Body) != 2 || len(card.Actions) > 1 {
			wrong(Teams, "%+v", card)
			continue
		}
		if x := card.Body[0]; x.Type != "TextBlock" || x.Text == "" || x.Weight != "bolder" || !x.Wrap || !slices.Contains([]string{"default", "warning", "attention"}, x.Color) || x.Facts != nil {
			wrong(Teams, "%+v", x)
		}
		if x := card.Body[1]; x.Type != "FactSet" || len(x.Facts) == 0 || x.Text != "" {
			wrong(Teams, "%+v", x)
		}
		for _, f := range card.Body[1].Facts {
			if f.Title == "" || f.Value == "" || strings.ContainsAny(f.Value, "[]()`*") {
				wrong(Teams, "%+v", f)
			}
		}
		for _, a := range card.Actions {
			if a.Type != "Action.OpenUrl" || a.Title == "" {
				wrong(Teams, "%+v", a)
			}
			link(Teams, a.URL)
		}

		var j jiraMessage
		b = exact(Jira, &m, &j)
		longest[Jira] = max(longest[Jira], len(b))
		if n := utf8.RuneCountInString(j.Summary); n == 0 || n > 255 || strings.ContainsAny(j.Summary, "\r\n") {
			wrong(Jira, "a summary of %d characters", n)
		}
		if n := utf8.RuneCountInString(j.Description); n == 0 || n > 32767 || !slices.Contains([]string{"High", "Medium", "Low"}, j.Priority) {
			wrong(Jira, "a description of %d characters, priority %q", n, j.Priority)
		}
		for _, l := range j.Labels {
			if l == "" || len(l) > 255 || strings.ContainsAny(l, " \t\n") {
				wrong(Jira, "label %q", l)
			}
		}
		if !slices.ContainsFunc(j.Labels, func(l string) bool { return strings.Contains(l, m.ID) }) {
			wrong(Jira, "no label has the message's id")
		}
	}
	t.Logf("%d messages, at most %v bytes", len(extreme()), longest)
	for _, kind := range slices.Sorted(maps.Keys(longest)) {
		if longest[kind] < 2000 {
			t.Errorf("%s: the longest message has %d bytes", kind, longest[kind])
		}
	}
}
