package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"coffer"
)

// Bounds of a secret of Standard Webhooks, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// parseSecret reads a secret in the form of Standard Webhooks. Its error repeats nothing of it.
func parseSecret(text string) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, "whsec_")
	key, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("secretFile: each line is whsec_ and %d to %d bytes in base64: %w", minSecret, maxSecret, coffer.ErrUnavailable)
	}
	return key, nil
}

// sign returns the value of webhook-signature: a signature for each secret, as version 1 of
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md has them.
func sign(secrets [][]byte, id string, at time.Time, body []byte) string {
	var out []string
	for _, key := range secrets {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " ")
}

// linesOf returns the lines of a file that hold something.
func linesOf(b []byte) []string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func newBody(b []byte) io.Reader { return bytes.NewReader(b) }

// retryAfter reads the header of that name, which is a number of seconds or a date; zero when it is neither.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= int(maxBackoff/time.Second) {
		return time.Duration(n) * time.Second
	} else if err == nil && n > 0 {
		return maxBackoff
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxBackoff)
	}
	return 0
}

// hook sends each event as a request.
type hook struct {
	*receiver
	choice
	now func() time.Time
}

func (h *hook) most() int { return 1 }

func (h *hook) send(ctx context.Context, events []event) (int, error) {
	for i := range events {
		if err := h.one(ctx, &events[i].Message); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

func (h *hook) probe(ctx context.Context) error {
	m := probeMessage(h.now())
	return h.one(ctx, &m)
}

func (h *hook) one(ctx context.Context, m *Message) error {
	body, err := json.Marshal(h.body(m))
	if err != nil {
		return fmt.Errorf("message: %w", coffer.ErrInvalid)
	}
	header := http.Header{}
	if h.target.SecretFile != "" {
		b, err := h.read(ctx, "secretFile", h.target.SecretFile, maxSecrets)
		if err != nil {
			return err
		}
		lines := linesOf(b)
		if len(lines) == 0 {
			return fmt.Errorf("secretFile is empty: %w", coffer.ErrUnavailable)
		}
		if h.target.Kind == Jira {
			header.Set("X-Automation-Webhook-Token", lines[0])
		} else {
			var secrets [][]byte
			for _, line := range lines {
				key, err := parseSecret(line)
				if err != nil {
					return err
				}
				secrets = append(secrets, key)
			}
			now := h.now()
			header.Set("webhook-id", m.ID)
			header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
			header.Set("webhook-signature", sign(secrets, m.ID, now, body))
		}
	}
	return h.post(ctx, header, body)
}

// body is the message in the form that the receiver understands.
func (h *hook) body(m *Message) any {
	switch h.target.Kind {
	case Slack:
		return slackBody(m)
	case Teams:
		return teamsBody(m)
	case Jira:
		return jiraBody(m)
	}
	return map[string]any{"type": m.Type, "timestamp": m.Time.Format(time.RFC3339Nano), "data": m}
}

// slackBody is a message in Block Kit (https://docs.slack.dev/reference/block-kit), with the sentence alone for where blocks are not shown.
// Texts are verbatim: what looks like an address or a channel in an id becomes no link.
func slackBody(m *Message) any {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	type text struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Verbatim bool   `json:"verbatim"`
	}
	type block struct {
		Type     string `json:"type"`
		Text     *text  `json:"text,omitempty"`
		Fields   []text `json:"fields,omitempty"`
		Elements []text `json:"elements,omitempty"`
	}
	head := m.Sentence()
	if m.Severity == "high" {
		head = "*" + escape(head) + "*"
	} else {
		head = escape(head)
	}
	blocks := []block{{Type: "section", Text: &text{"mrkdwn", head, true}}}
	var fields []text
	for _, f := range m.facts() {
		// At most nine; a section takes ten.
		fields = append(fields, text{"mrkdwn", "*" + escape(f[0]) + "*\n" + escape(f[1]), true})
	}
	blocks = append(blocks, block{Type: "section", Fields: fields})
	foot := "Coffer, entry " + strconv.FormatInt(m.Entry, 10) + " of the log"
	if m.Link != "" {
		foot = "<" + escape(m.Link) + "|Open in Coffer>, entry " + strconv.FormatInt(m.Entry, 10) + " of the log"
	}
	blocks = append(blocks, block{Type: "context", Elements: []text{{"mrkdwn", foot, true}}})
	return map[string]any{"text": escape(m.Sentence()), "blocks": blocks}
}

// teamsBody is an Adaptive Card (https://adaptivecards.io/explorer/) in the envelope that a workflow's webhook takes.
func teamsBody(m *Message) any {
	color := map[string]string{"high": "attention", "low": "warning"}[m.Severity]
	if color == "" {
		color = "default"
	}
	var facts []map[string]string
	for _, f := range m.facts() {
		facts = append(facts, map[string]string{"title": f[0], "value": f[1]})
	}
	card := map[string]any{
		"type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4",
		"body": []any{
			map[string]any{"type": "TextBlock", "text": m.Sentence(), "weight": "bolder", "color": color, "wrap": true},
			map[string]any{"type": "FactSet", "facts": facts},
		},
	}
	if m.Link != "" {
		card["actions"] = []any{map[string]string{"type": "Action.OpenUrl", "title": "Open in Coffer", "url": m.Link}}
	}
	return map[string]any{"type": "message", "attachments": []any{
		map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card},
	}}
}

// jiraBody is what a rule of Jira Automation finds under webhookData. The label with the message's id is for the rule to look whether
// there is an issue already: a message can come twice.
func jiraBody(m *Message) any {
	var lines []string
	for _, f := range m.facts() {
		lines = append(lines, f[0]+": "+f[1])
	}
	if m.Link != "" {
		lines = append(lines, m.Link)
	}
	priority := map[string]string{"high": "High", "low": "Low"}[m.Severity]
	if priority == "" {
		priority = "Medium"
	}
	return map[string]any{
		"summary": m.Sentence(), "description": strings.Join(lines, "\n"), "priority": priority,
		"labels": []string{"coffer", "coffer-" + m.ID}, "data": m,
	}
}
