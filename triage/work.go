package triage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Limits on what people write.
const (
	MaxNote    = 2000 // characters of a note
	MaxTickets = 10   // tickets of a finding
	maxTicket  = 200  // characters
	maxField   = 500  // characters of a field of a closing
)

// Note is what somebody wrote about a finding. Notes are never changed or removed.
type Note struct {
	Text string    `json:"text"` // scrubbed
	By   string    `json:"by"`   // pseudonymous id
	At   time.Time `json:"at"`
}

// text returns a text that somebody wrote, scrubbed, without white space around it. What is empty or too long gives coffer.ErrInvalid.
func (d *Desk) text(what, s string, limit int) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || utf8.RuneCountInString(s) > limit || !utf8.ValidString(s) {
		return "", fmt.Errorf("%s has 1 to %d characters: %w", what, limit, coffer.ErrInvalid)
	}
	return d.Scrub(s), nil
}

// AddNote appends a note to a finding.
func (d *Desk) AddNote(ctx context.Context, ask access.Ask, t Target, text string) (*Record, error) {
	return d.change(ctx, ask, t, "note", func(rec *Record, _ map[string]string) ([]store.Op, error) {
		text, err := d.text("a note", text, MaxNote)
		if err != nil {
			return nil, err
		}
		n := Note{Text: text, By: ask.Caller.ID, At: micro(d.Now())}
		// The number keeps notes in order whatever the clocks say; the record's compare-and-swap keeps it unique.
		rec.Notes++
		return []store.Op{{Verb: store.Put, Expect: store.Absent, Item: store.Item{
			Key: store.Key{Part: part(rec.Finding.ID), Sort: fmt.Sprintf("n#%08d", rec.Notes)}, Value: encode(n), Version: store.NewVersion(),
		}}}, nil
	})
}

// Notes returns the notes of a finding, the oldest first.
func (d *Desk) Notes(ctx context.Context, ask access.Ask, id string) ([]Note, error) {
	_, permit, err := d.get(ctx, ask, access.FindingRead, id)
	if err != nil {
		return nil, err
	}
	var out []Note
	for it, err := range d.Records.DB.Query(ctx, part(id), store.Range{From: "n#", To: "n$"}) {
		if err != nil {
			return nil, fmt.Errorf("notes of finding %s: %w", id, err)
		}
		var n Note
		if json.Unmarshal(it.Value, &n) != nil {
			return nil, fmt.Errorf("notes of finding %s: %w", id, coffer.ErrCorrupt)
		}
		out = append(out, n)
	}
	return out, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Assign makes somebody the owner of a finding; nobody with an empty id.
func (d *Desk) Assign(ctx context.Context, ask access.Ask, t Target, owner string) (*Record, error) {
	return d.change(ctx, ask, t, "owner", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		if owner != "" && !access.ValidID(owner) {
			return nil, fmt.Errorf("owner: give the id of a person: %w", coffer.ErrInvalid)
		}
		rec.Owner = owner
		if detail["owner"] = owner; owner == "" {
			detail["owner"] = "none"
		}
		return nil, nil
	})
}

// SetTickets replaces the tickets of a finding: numbers or addresses, without white space, in which no detector finds a value.
func (d *Desk) SetTickets(ctx context.Context, ask access.Ask, t Target, tickets []string) (*Record, error) {
	return d.change(ctx, ask, t, "tickets", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		tickets := slices.Compact(slices.Sorted(slices.Values(tickets)))
		if len(tickets) > MaxTickets {
			return nil, fmt.Errorf("a finding has at most %d tickets: %w", MaxTickets, coffer.ErrInvalid)
		}
		for _, s := range tickets {
			if s == "" || len(s) > maxTicket || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
				return nil, fmt.Errorf("a ticket has 1 to %d characters and no white space: %w", maxTicket, coffer.ErrInvalid)
			}
			if d.Scrub(s) != s {
				return nil, fmt.Errorf("a ticket looks like a sensitive value: %w", coffer.ErrInvalid)
			}
		}
		rec.Tickets = tickets
		detail["tickets"] = strconv.Itoa(len(tickets))
		return nil, nil
	})
}

// Mute leaves a finding out of the lists and counts of what is to be done, or, with on false, takes it in again. Nothing else about it
// changes: it is open, and its limit runs. What is left out is said beside those counts.
func (d *Desk) Mute(ctx context.Context, ask access.Ask, t Target, on bool) (*Record, error) {
	return d.change(ctx, ask, t, "muted", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		rec.Muted, detail["muted"] = on, yesNo(on)
		return nil, nil
	})
}

// Begin says that somebody works on a finding, which must be open.
func (d *Desk) Begin(ctx context.Context, ask access.Ask, t Target) (*Record, error) {
	return d.status(ctx, ask, t, InProgress, Open)
}

// Stop says that nobody works on a finding any more, which is open again.
func (d *Desk) Stop(ctx context.Context, ask access.Ask, t Target) (*Record, error) {
	return d.status(ctx, ask, t, Open, InProgress)
}

// Reopen opens a closed finding again. A fixed one is opened again by undoing the fix, and by nothing else.
func (d *Desk) Reopen(ctx context.Context, ask access.Ask, t Target) (*Record, error) {
	return d.status(ctx, ask, t, Open, Closed)
}

func (d *Desk) status(ctx context.Context, ask access.Ask, t Target, to, from Status) (*Record, error) {
	return d.change(ctx, ask, t, "status", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		if rec.Status != from {
			return nil, fmt.Errorf("finding %s is %s, not %s: %w", t.Finding, rec.Status, from, coffer.ErrConflict)
		}
		if from == Closed && rec.Plan != "" {
			return nil, fmt.Errorf("finding %s was fixed by %s, whose original is gone: %w", t.Finding, rec.Plan, coffer.ErrConflict)
		}
		detail["status"] = string(to)
		if rec.Status = to; from == Closed {
			rec.reopen(d.Now().UTC())
		}
		return nil, nil
	})
}

// Close closes a finding that is open, with what PCI DSS 4.0.1 requirement 12.10.7 asks to be recorded: what was done with the data,
// whether sensitive authentication data was with it (authentication; nil: not said), where it came from, what was done so that it does not
// happen again. For findings of card data all four are demanded, for others the disposition. At and By are filled in.
func (d *Desk) Close(ctx context.Context, ask access.Ask, t Target, c Closing, authentication *bool) (*Record, error) {
	return d.change(ctx, ask, t, "status", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		if !rec.Status.Active() {
			return nil, fmt.Errorf("finding %s is %s: %w", t.Finding, rec.Status, coffer.ErrConflict)
		}
		card := rec.cardData()
		if card && authentication == nil {
			return nil, fmt.Errorf("closing a finding of card data says whether authentication data was stored with it: %w", coffer.ErrInvalid)
		}
		c.AuthenticationData = authentication != nil && *authentication
		for _, f := range []struct {
			name string
			text *string
			must bool
		}{{"disposition", &c.Disposition, true}, {"origin", &c.Origin, card}, {"corrective action", &c.CorrectiveAction, card}} {
			if !f.must && strings.TrimSpace(*f.text) == "" {
				*f.text = ""
				continue
			}
			var err error
			if *f.text, err = d.text("the "+f.name+" of a closing", *f.text, maxField); err != nil {
				return nil, err
			}
		}
		c.At, c.By = d.Now().UTC(), ask.Caller.ID
		rec.Status, rec.Closing = Closed, &c
		detail["status"] = string(Closed)
		return nil, nil
	})
}

// MaxBulk is how many findings one call of [Desk.Bulk] changes; more are work for a job.
const MaxBulk = 10_000

// Selection says which findings a bulk operation is about: those with the ids, or those that the filter selects.
type Selection struct {
	IDs    []string
	Filter Filter
	// Count is how many the caller has been told that the filter selects. If there are others now, nothing is done.
	Count int
}

// Result is what became of one finding of several.
type Result struct {
	Finding string
	Record  *Record // nil with an error
	Err     error
}

// Select returns the ids of a selection. A filter that selects another number of findings than the caller was told gives
// coffer.ErrConflict, more than MaxBulk coffer.ErrLimit.
func (d *Desk) Select(ctx context.Context, ask access.Ask, s Selection) ([]string, error) {
	ids := slices.Clone(s.IDs)
	if len(ids) == 0 {
		if len(s.Filter.terms) == 0 {
			return nil, fmt.Errorf("give ids of findings, or a filter: %w", coffer.ErrInvalid)
		}
		list, err := d.List(ctx, ask, s.Filter)
		if err != nil {
			return nil, err
		}
		if len(list) != s.Count {
			return nil, fmt.Errorf("the filter selects %d findings, not %d: %w", len(list), s.Count, coffer.ErrConflict)
		}
		for _, f := range list {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) > MaxBulk {
		return nil, fmt.Errorf("%d findings at once, at most %d: %w", len(ids), MaxBulk, coffer.ErrLimit)
	}
	return ids, nil
}

// Bulk does the same with each finding of a selection, one after the other, and returns the results in order. What fails for one does not
// stop the others; but once ctx ends, or the log or the store cannot be used, the rest is given that error untried.
func (d *Desk) Bulk(ctx context.Context, ask access.Ask, s Selection, do func(context.Context, Target) (*Record, error)) ([]Result, error) {
	ids, err := d.Select(ctx, ask, s)
	if err != nil {
		return nil, err
	}
	out := make([]Result, 0, len(ids))
	var stop error
	for _, id := range ids {
		r := Result{Finding: id, Err: stop}
		if stop == nil {
			r.Record, r.Err = do(ctx, Target{Finding: id})
			if ctx.Err() != nil {
				stop = ctx.Err()
			} else if unavailable(r.Err) {
				stop = r.Err
			}
		}
		out = append(out, r)
	}
	return out, nil
}
