package audit

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/store"
)

// Filter chooses entries. Empty fields choose everything; all others must hold.
type Filter struct {
	Actor    string // pseudonymous id
	Action   string // an action, or a group of them as in "remedy.*"
	Decision string // Allow or Deny
	Outcome  Outcome
	Finding  string
	Object   string
	Plan     string
	From, To time.Time // From inclusive, To exclusive
	// Newest yields the latest entries first.
	Newest bool
	// Index chooses entries from this position of the log on, and those that have none yet.
	Index int64
	// Before, unless it is 0, chooses entries below this position of the log alone, and none that have no position yet.
	Before int64

	terms []term // of the grammar; see [ParseFilter]
}

// Match reports whether the filter chooses e.
func (f Filter) Match(e *Entry) bool {
	action := f.Action == "" || f.Action == string(e.Action)
	if group, ok := strings.CutSuffix(f.Action, "*"); ok {
		action = strings.HasPrefix(string(e.Action), group)
	}
	return action &&
		(f.Actor == "" || f.Actor == e.Actor.ID) &&
		(f.Decision == "" || f.Decision == e.Decision) &&
		(f.Outcome == "" || f.Outcome == e.Outcome) &&
		(f.Finding == "" || f.Finding == e.Finding) &&
		(f.Object == "" || f.Object == e.Object) &&
		(f.Plan == "" || f.Plan == e.Plan) &&
		(f.From.IsZero() || !e.Time.Before(f.From)) &&
		(f.To.IsZero() || e.Time.Before(f.To)) &&
		(e.Index < 0 || e.Index >= f.Index) &&
		(f.Before == 0 || e.Index >= 0 && e.Index < f.Before) &&
		!slices.ContainsFunc(f.terms, func(t term) bool { return !t.match(e) })
}

// Entries yields the entries that f chooses in the order of the log, those that are not sequenced yet at its young end with
// Index -1. It holds one bundle of 256 entries at a time, and for the young end at most some thousands; it proves nothing
// about what it yields, which is what [Verify] is for. An entry recorded while the loop runs may be yielded or not; one that is
// sequenced just then can come twice, with and without its Index. Reading needs [access.AuditRead], which the caller checks.
func (l *Log) Entries(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		dir := l.sequencer.files
		size := int64(0)
		msg, err := readBounded(dir, checkpointFile, maxCheckpoint)
		if err == nil {
			var cp Checkpoint
			cp, err = openCheckpoint(msg, l.sequencer.key.verifier)
			size = cp.Size
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(Entry{}, fmt.Errorf("reading the audit log: %w", err))
			return
		}
		young := func() bool {
			if f.Before > 0 {
				return true
			}
			entries, err := l.unsequenced(ctx, size)
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading the audit log: %w", err))
				return false
			}
			if f.Newest {
				slices.Reverse(entries)
			}
			for i := range entries {
				if f.Match(&entries[i]) && !yield(entries[i], nil) {
					return false
				}
			}
			return true
		}
		if f.Newest && !young() {
			return
		}
		bundles := (size + tileWidth - 1) >> tileHeight
		if f.Before > 0 {
			bundles = min(bundles, (f.Before+tileWidth-1)>>tileHeight)
		}
		first := min(max(f.Index, 0)>>tileHeight, bundles)
		for k := range bundles - first {
			n := first + k
			if f.Newest {
				n = bundles - 1 - k
			}
			if err := ctx.Err(); err != nil {
				yield(Entry{}, fmt.Errorf("reading the audit log: %w", err))
				return
			}
			if !readEntries(dir, n, int(min(tileWidth, size-n<<tileHeight)), f, yield) {
				return
			}
		}
		if !f.Newest {
			young()
		}
	}
}

// readEntries yields the chosen entries of one bundle and reports whether to go on.
func readEntries(dir fs.FS, n int64, width int, f Filter, yield func(Entry, error) bool) bool {
	data, whole, err := readTile(dir, -1, n, width)
	var leaves [][]byte
	if err == nil {
		leaves, err = splitBundle(data, width, whole)
	}
	if err != nil {
		yield(Entry{}, fmt.Errorf("reading the audit log at entry %d: %w", n<<tileHeight, err))
		return false
	}
	for k := range leaves {
		i := k
		if f.Newest {
			i = len(leaves) - 1 - k
		}
		e, err := Decode(leaves[i])
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading the audit log at entry %d: %w", n<<tileHeight+int64(i), err))
			return false
		}
		e.Index = n<<tileHeight + int64(i)
		if f.Match(&e) && !yield(e, nil) {
			return false
		}
	}
	return true
}

// unsequenced returns the entries that are recorded and not among the first size leaves, oldest first.
func (l *Log) unsequenced(ctx context.Context, size int64) ([]Entry, error) {
	var entries []Entry
	add := func(leaf []byte) error {
		e, err := Decode(leaf)
		if err == nil {
			entries = append(entries, e)
		}
		return err
	}
	// Ordered, but not under the checkpoint yet: a process is writing the files, or died at it.
	for it, err := range l.db.Query(ctx, partOrder, store.Range{From: number(uint64(size))}) {
		if err != nil {
			return nil, err
		}
		for leaf, err := range orderedLeaves(ctx, l.db, it.Value) {
			if err == nil {
				err = add(leaf)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	ordered := len(entries)
	for it, err := range l.db.Query(ctx, partLive, store.Range{}) {
		if err != nil {
			return nil, err
		}
		var cur cursor
		if err := json.Unmarshal(it.Value, &cur); err != nil {
			return nil, fmt.Errorf("cursor of a writer: %w", coffer.ErrCorrupt)
		}
		for fenced := false; !fenced; {
			leaves, err := l.sequencer.chain(ctx, it.Key.Sort, &cur, &fenced, stepEntries, stepBytes)
			if err != nil {
				return nil, err
			}
			if len(leaves) == 0 {
				break
			}
			for _, leaf := range leaves {
				if err := add(leaf.bytes); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.SortStableFunc(entries[ordered:], func(a, b Entry) int { return a.Time.Compare(b.Time) })
	return entries, nil
}

// WriteJSON writes entries as JSON Lines: {"index":N,"entry":E}, where E is the canonical encoding, from which the leaf hash
// can be computed. It stops at the first error.
func WriteJSON(w io.Writer, entries iter.Seq2[Entry, error]) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		leaf, err := e.encode()
		if err != nil {
			return err
		}
		line := make([]byte, 0, len(leaf)+32)
		line = append(line, `{"index":`...)
		line = strconv.AppendInt(line, e.Index, 10)
		line = append(line, `,"entry":`...)
		line = append(line, leaf...)
		line = append(line, "}\n"...)
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
	}
	return nil
}

var csvHeader = []string{
	"index", "time", "writer", "seq", "actor kind", "actor", "roles", "local", "action", "decision", "policies", "policy hash", "request",
	"reason", "note", "finding", "occurrences", "object", "plan", "values", "outcome", "intent", "epoch", "detail",
}

// WriteCSV writes entries as CSV with a header line, for spreadsheets: a cell that one would run as a formula gets an
// apostrophe in front (CWE-1236). It stops at the first error.
func WriteCSV(w io.Writer, entries iter.Seq2[Entry, error]) error {
	c := csv.NewWriter(w)
	if err := c.Write(csvHeader); err != nil {
		return fmt.Errorf("exporting the audit log: %w", err)
	}
	for e, err := range entries {
		if err != nil {
			c.Flush()
			return err
		}
		detail := ""
		if len(e.Detail) > 0 {
			b, err := json.Marshal(e.Detail)
			if err != nil {
				return fmt.Errorf("exporting the audit log: %w", err)
			}
			detail = string(b)
		}
		row := []string{
			strconv.FormatInt(e.Index, 10), e.Time.Format(timeLayout), e.Writer, strconv.FormatUint(e.Seq, 10),
			string(e.Actor.Kind), e.Actor.ID, strings.Join(e.Actor.Roles, " "), strconv.FormatBool(e.Actor.Local),
			string(e.Action), e.Decision, strings.Join(e.Policies, " "), e.Hash, e.Request,
			e.Reason, e.Note, e.Finding, formatRanges(e.Occurrences), e.Object, e.Plan, strings.Join(e.Values, " "), string(e.Outcome), e.Intent.String(),
			strconv.FormatInt(e.Epoch, 10), detail,
		}
		for i := range row {
			row[i] = inert(row[i])
		}
		// The numbers are ours; -1 is no formula.
		row[0] = strconv.FormatInt(e.Index, 10)
		if err := c.Write(row); err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("exporting the audit log: %w", err)
	}
	return nil
}

// inert returns a cell that no spreadsheet takes for a formula.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n|%＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}
