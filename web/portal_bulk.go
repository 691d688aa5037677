package web

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/triage"
)

const (
	undoCookie = "__Host-coffer-undo" // how to take back what was just done to several findings
	maxUndo    = 3800                 // bytes of it: a browser keeps 4,096 of a cookie with its name
	undoFor    = time.Minute          // how long it is offered
)

// back is how one finding is as it was again: what to do, for the state that it was left in.
type back struct {
	Finding string            `json:"f"`
	Match   string            `json:"m"`
	Do      map[string]string `json:"d"`
}

// selection reads which findings a form is about.
func (v *visit) selection() (triage.Selection, url.Values, error) {
	q, err := url.ParseQuery(v.form.Get("filter"))
	if err != nil {
		return triage.Selection{}, nil, fmt.Errorf("filter: %w", coffer.ErrInvalid)
	}
	f, err := triage.FilterOf(q, own...)
	if err == nil && v.field("q") != "" {
		var more triage.Filter
		more, err = triage.ParseFilter("q=" + v.field("q"))
		f = f.Override(more)
	}
	if err != nil {
		return triage.Selection{}, nil, err
	}
	sel := triage.Selection{IDs: v.form["finding"]}
	if v.field("all") != "" {
		n, err := strconv.Atoi(v.field("count"))
		if err != nil {
			return sel, nil, fmt.Errorf("count: %w", coffer.ErrInvalid)
		}
		sel = triage.Selection{Filter: f, Count: n}
	}
	if sel.Count == 0 && len(sel.IDs) == 0 {
		return sel, q, fmt.Errorf("nothing is selected: %w", coffer.ErrInvalid)
	}
	return sel, q, nil
}

// bulkActs are what a list does with what is selected: what it is called in the domain, and how it is said afterwards.
var bulkActs = map[string]struct {
	do   map[string]string
	said string
}{
	"true": {map[string]string{"do": "judge", "verdict": "true"}, "Verdict set to true"}, "false-positive": {map[string]string{"do": "judge", "verdict": "false-positive"}, "Verdict set to false positive"},
	"intended": {map[string]string{"do": "judge", "verdict": "intended"}, "Verdict set to intended"}, "withdraw": {map[string]string{"do": "withdraw"}, "Verdict taken back"},
	"mine": {map[string]string{"do": "assign"}, "Assigned to you"}, "nobody": {map[string]string{"do": "assign", "owner": ""}, "Assigned to nobody"},
	"mute": {map[string]string{"do": "mute"}, "Muted"}, "unmute": {map[string]string{"do": "unmute"}, "Not muted any more"},
	"begin": {map[string]string{"do": "begin"}, "In progress"}, "stop": {map[string]string{"do": "stop"}, "Open, nobody at work"}, "reopen": {map[string]string{"do": "reopen"}, "Opened again"},
}

// bulk does the same with each finding that was selected, and goes back to the list as it was. More than the API does at once are a job, as
// they are there.
func (s *Server) bulk(ctx context.Context, v *visit) (*screen, error) {
	sel, q, err := v.selection()
	if err != nil {
		return nil, err
	}
	act, ok := bulkActs[v.field("act")]
	if !ok {
		return nil, fmt.Errorf("choose what to do with what is selected: %w", coffer.ErrInvalid)
	}
	p := map[string]string{"note": s.Home.Scrub(v.field("note"))}
	for name, value := range act.do {
		p[name] = value
	}
	if v.field("act") == "mine" {
		p["owner"] = v.ask.Caller.ID
	}
	if c := v.field("cursor"); c != "" {
		q.Set("cursor", c)
	}
	to := "/findings?" + q.Encode()
	if len(sel.IDs) > 0 {
		to += "#f-" + sel.IDs[0] // the cursor is on the same row
	}
	ids, err := s.Desk.Select(ctx, v.ask, sel)
	if errors.Is(err, coffer.ErrConflict) {
		return &screen{to: to, warned: "Nothing was done: other findings match now than when you selected all of them. Look again, and select again."}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(ids) > maxAtOnce {
		j, err := s.runner.start(ctx, v.call, kindWork, s.attemptID(v.call, v.field("key")), p, ids)
		if err != nil {
			return nil, err
		}
		return &screen{to: to, said: fmt.Sprintf("Begun on %s, as job %s.", counted(len(ids), "finding"), j.ID)}, nil
	}
	var undo []back
	whole := true // all that was done can be taken back
	results, err := s.Desk.Bulk(ctx, v.ask, triage.Selection{IDs: ids}, func(ctx context.Context, t triage.Target) (*triage.Record, error) {
		was, err := s.Desk.Records.Get(ctx, t.Finding)
		if err != nil {
			return nil, err
		}
		// What is taken back later is what was changed now, so that nobody else's change may lie between.
		t.Match = was.Tag()
		rec, err := s.do(ctx, v.ask, t, p)
		if err != nil {
			return nil, err
		}
		if inverse := inverseOf(p, was); inverse != nil {
			undo = append(undo, back{t.Finding, rec.Tag(), inverse})
		} else {
			whole = false
		}
		return rec, nil
	})
	if err != nil {
		return nil, err
	}
	done := 0
	var first error
	for _, r := range results {
		if r.Err == nil {
			done++
		} else if first == nil {
			first = r.Err
		}
	}
	if done == 0 && first != nil {
		return nil, concealed(v.call, first)
	}
	sc := &screen{to: to, said: fmt.Sprintf("%s: %s.", act.said, counted(done, "finding"))}
	if left := len(results) - done; left > 0 {
		sc.said += fmt.Sprintf(" %s could not be changed.", counted(left, "other"))
	}
	if whole {
		if text := undo2text(undo); len(text) <= maxUndo {
			sc.undo = text
		}
	}
	return sc, nil
}

// inverseOf is what takes an act back, for a finding as it was before; nil: nothing does without losing something.
func inverseOf(p map[string]string, was *triage.Record) map[string]string {
	switch p["do"] {
	case "judge":
		if was.Verdict == "" && was.Status.Active() {
			return map[string]string{"do": "withdraw"}
		}
	case "assign":
		return map[string]string{"do": "assign", "owner": was.Owner}
	case "mute", "unmute":
		if was.Muted {
			return map[string]string{"do": "mute"}
		}
		return map[string]string{"do": "unmute"}
	case "begin":
		return map[string]string{"do": "stop"}
	case "stop":
		return map[string]string{"do": "begin"}
	}
	return nil
}

// undo2text writes what an undo does for a cookie. It gives no right: whoever sends it back is asked as for any other change.
func undo2text(undo []back) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one that there is
	_ = json.NewEncoder(w).Encode(undo)                // a buffer takes everything
	_ = w.Close()
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func text2undo(text string) (undo []back, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.NewDecoder(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxForm)).Decode(&undo)
	}
	if err != nil || len(undo) > maxAtOnce {
		return nil, fmt.Errorf("what is to be taken back: %w", coffer.ErrInvalid)
	}
	return undo, nil
}

// undo takes back what was last done to several findings in this browser, but for those that somebody changed since.
func (s *Server) undo(ctx context.Context, v *visit) (*screen, error) {
	sc := &screen{to: localPath(v.field("to"), "/findings"), cookies: []*http.Cookie{hostCookie(undoCookie, "", -1)}}
	kept := v.r.CookiesNamed(undoCookie)
	if len(kept) == 0 {
		sc.warned = "Nothing was taken back: that is offered for a minute. The log has what was done."
		return sc, nil
	}
	undo, err := text2undo(kept[0].Value)
	if err != nil {
		return nil, err
	}
	done := 0
	for _, b := range undo {
		_, err := s.do(ctx, v.ask, triage.Target{Finding: b.Finding, Match: b.Match}, b.Do)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, coffer.ErrConflict):
			return nil, concealed(v.call, err)
		}
	}
	sc.said = fmt.Sprintf("Taken back: %s.", counted(done, "finding"))
	if left := len(undo) - done; left > 0 {
		sc.said += fmt.Sprintf(" %s changed since, and stayed as they are.", counted(left, "other"))
	}
	sc.said = strings.TrimSpace(sc.said)
	return sc, nil
}
