package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/access"
)

// Limits of an entry.
const (
	MaxNote   = 2000  // bytes of Entry.Note; a longer note is cut at a character
	MaxDetail = 32    // members of Entry.Detail
	MaxEntry  = 60000 // bytes of the encoded entry; tlog-tiles bundles end at 65535
	maxID     = 256   // bytes of every id and of a value of Entry.Detail
)

// version is the version of the encoding.
const version = 1

// Outcome says how far the act had come when the entry was made.
type Outcome string

// The outcomes.
const (
	Intent Outcome = "intent" // recorded before the act; a later entry that names it says how it ended
	Done   Outcome = "done"
	Failed Outcome = "failed" // tried and not done, or not wholly
	Denied Outcome = "denied" // the policy said no
)

// Words of Entry.Decision, after Cedar's.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Ref names an entry: the writer's chain and the position in it. Its text form is "writer:seq". The zero Ref names none.
type Ref struct {
	Writer string
	Seq    uint64
}

// IsZero reports whether r names no entry.
func (r Ref) IsZero() bool { return r == Ref{} }

// String returns the text form; "" for the zero Ref.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Writer + ":" + strconv.FormatUint(r.Seq, 10)
}

// ParseRef reads the text form of a Ref. Its errors wrap [coffer.ErrInvalid].
func ParseRef(s string) (Ref, error) {
	if s == "" {
		return Ref{}, nil
	}
	w, n, ok := strings.Cut(s, ":")
	seq, err := strconv.ParseUint(n, 10, 64)
	r := Ref{w, seq}
	if !ok || err != nil || !validWriter(w) || seq == 0 || r.String() != s {
		return Ref{}, fmt.Errorf("reference to an entry: %w", coffer.ErrInvalid)
	}
	return r, nil
}

// Actor is who acted, as the log knows them: without a name.
type Actor struct {
	Kind  access.CallerKind
	ID    string // pseudonymous
	Roles []string
	Local bool // on the command line of the machine itself
}

// Entry is one line of the log: who did what to which record, when, why, under which policy, and how it ended. It holds no
// sensitive value and no unkeyed hash of one.
//
// The log fills in what the writer of an entry could get wrong: Time, Writer, Seq, Prev and ClockBack when it is written,
// and Actor to Hash from the [Permit] that it was made from, without which it is refused.
type Entry struct {
	Index int64 // position in the Merkle log; -1 while not yet sequenced. Not part of the encoding

	Time      time.Time // UTC, microseconds; never before the previous entry of the same writer
	Writer    string    // the chain: 32 hex digits, random for each run of the program
	Seq       uint64    // position in the chain, from 1
	Prev      tlog.Hash // RFC 6962 leaf hash of the chain's previous entry; zero for the first
	ClockBack int64     // microseconds by which the clock stood before the previous entry's time; 0: it did not

	Actor    Actor
	Action   access.Action
	Decision string   // Allow or Deny
	Policies []string // ids of the policies that decided
	Hash     string   // of the policy set
	Request  string   // id of the request
	Reason   string   // reason code
	Note     string   // as given, with everything that a detector found in it replaced

	Finding     string // finding id
	Occurrences []int  // numbers of the finding's occurrences, ascending
	Object      string // opaque id: a keyed hash of bucket and key
	Plan        string

	Outcome Outcome
	Intent  Ref               // the entry with outcome Intent that this one is the result of
	Epoch   int64             // of the lease under which the act ran; 0: under none
	Detail  map[string]string // ids, types, states and counts; never a value

	permit *Permit
}

// Ref returns the entry's own reference.
func (e *Entry) Ref() Ref { return Ref{e.Writer, e.Seq} }

// encoded is the canonical form: these members in this order, empty ones left out, members of detail sorted.
type encoded struct {
	V           int               `json:"v"`
	Time        string            `json:"time"`
	Writer      string            `json:"writer"`
	Seq         uint64            `json:"seq"`
	Prev        string            `json:"prev,omitempty"`
	ClockBack   int64             `json:"clockBack,omitempty"`
	Actor       encodedActor      `json:"actor"`
	Action      access.Action     `json:"action"`
	Decision    string            `json:"decision"`
	Policies    []string          `json:"policies,omitempty"`
	PolicyHash  string            `json:"policyHash"`
	Request     string            `json:"request,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Note        string            `json:"note,omitempty"`
	Finding     string            `json:"finding,omitempty"`
	Occurrences string            `json:"occurrences,omitempty"`
	Object      string            `json:"object,omitempty"`
	Plan        string            `json:"plan,omitempty"`
	Outcome     Outcome           `json:"outcome"`
	Intent      string            `json:"intent,omitempty"`
	Epoch       int64             `json:"epoch,omitempty"`
	Detail      map[string]string `json:"detail,omitempty"`
}

type encodedActor struct {
	Kind  access.CallerKind `json:"kind"`
	ID    string            `json:"id"`
	Roles []string          `json:"roles,omitempty"`
	Local bool              `json:"local,omitempty"`
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

// encode returns the canonical bytes of e: the leaf of the Merkle log.
func (e *Entry) encode() ([]byte, error) {
	x := encoded{
		V: version, Time: e.Time.UTC().Format(timeLayout), Writer: e.Writer, Seq: e.Seq, ClockBack: e.ClockBack,
		Actor:  encodedActor{e.Actor.Kind, e.Actor.ID, e.Actor.Roles, e.Actor.Local},
		Action: e.Action, Decision: e.Decision, Policies: e.Policies, PolicyHash: e.Hash,
		Request: e.Request, Reason: e.Reason, Note: e.Note,
		Finding: e.Finding, Occurrences: formatRanges(e.Occurrences), Object: e.Object, Plan: e.Plan,
		Outcome: e.Outcome, Intent: e.Intent.String(), Epoch: e.Epoch, Detail: e.Detail,
	}
	if e.Prev != (tlog.Hash{}) {
		x.Prev = e.Prev.String()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return nil, fmt.Errorf("encoding an audit entry: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(out) > MaxEntry {
		return nil, fmt.Errorf("audit entry of %d bytes, at most %d; split its occurrences: %w", len(out), MaxEntry, coffer.ErrLimit)
	}
	return out, nil
}

// Decode reads the canonical bytes of an entry. Anything that the encoder would not have written, down to a space, is an
// error wrapping [coffer.ErrCorrupt]. The entry's Index is -1.
func Decode(leaf []byte) (Entry, error) {
	bad := func(what string) (Entry, error) {
		return Entry{}, fmt.Errorf("audit entry: %s: %w", what, coffer.ErrCorrupt)
	}
	if len(leaf) > MaxEntry {
		return bad("too long")
	}
	var x encoded
	dec := json.NewDecoder(bytes.NewReader(leaf))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return bad("not the JSON of an entry")
	}
	if x.V != version {
		return bad("unknown version")
	}
	t, err := time.Parse(timeLayout, x.Time)
	if err != nil {
		return bad("malformed time")
	}
	e := Entry{
		Index: -1, Time: t, Writer: x.Writer, Seq: x.Seq, ClockBack: x.ClockBack,
		Actor:  Actor{x.Actor.Kind, x.Actor.ID, x.Actor.Roles, x.Actor.Local},
		Action: x.Action, Decision: x.Decision, Policies: x.Policies, Hash: x.PolicyHash,
		Request: x.Request, Reason: x.Reason, Note: x.Note, Finding: x.Finding, Object: x.Object, Plan: x.Plan,
		Outcome: x.Outcome, Epoch: x.Epoch, Detail: x.Detail,
	}
	if x.Prev != "" {
		if e.Prev, err = tlog.ParseHash(x.Prev); err != nil {
			return bad("malformed hash")
		}
	}
	if e.Intent, err = ParseRef(x.Intent); err != nil {
		return bad("malformed intent")
	}
	if e.Occurrences, err = parseRanges(x.Occurrences); err != nil {
		return bad("malformed occurrences")
	}
	if !validWriter(e.Writer) || e.Seq == 0 {
		return bad("malformed writer or number")
	}
	again, err := e.encode()
	if err != nil || !bytes.Equal(again, leaf) {
		return bad("not in canonical form")
	}
	return e, nil
}

// check refuses what must not stand in the log. Its errors wrap [coffer.ErrInvalid] and repeat nothing of the entry.
func (e *Entry) check() error {
	bad := func(what string) error {
		return fmt.Errorf("audit entry with a malformed %s: %w", what, coffer.ErrInvalid)
	}
	if e.permit == nil {
		return fmt.Errorf("audit entry that was not made from a permit: %w", coffer.ErrInvalid)
	}
	switch e.Outcome {
	case Intent, Done, Failed, Denied:
	default:
		return bad("outcome")
	}
	if (e.Outcome == Denied) != (e.Decision == Deny) {
		return bad("outcome for its decision")
	}
	for what, s := range map[string]string{
		"request": e.Request, "reason": e.Reason, "finding": e.Finding, "object": e.Object, "plan": e.Plan, "intent": e.Intent.String(),
	} {
		if !token(s) {
			return bad(what)
		}
	}
	if len(e.Detail) > MaxDetail {
		return bad("detail")
	}
	for k, v := range e.Detail {
		if k == "" || len(k) > 64 || !token(k) || !token(v) {
			return bad("detail")
		}
	}
	for i, n := range e.Occurrences {
		if n < 1 || i > 0 && n <= e.Occurrences[i-1] {
			return bad("list of occurrences")
		}
	}
	return nil
}

// token reports whether s can be an id, a type, a state or a count: printable ASCII without spaces, quotes and angle brackets.
// Free text has no place in an entry outside its note.
func token(s string) bool {
	if len(s) > maxID {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '\'':
			return false
		}
	}
	return true
}

// cleanNote makes a note that was scrubbed fit for one line of the log.
func cleanNote(b []byte) string {
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // line breaks, control and direction characters
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > MaxNote {
		cut := MaxNote
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return s
}

// formatRanges writes ascending numbers as "1-15,17".
func formatRanges(ns []int) string {
	var b strings.Builder
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(ns[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(ns[j]))
		}
		i = j + 1
	}
	return b.String()
}

// maxOccurrences bounds what a few bytes of text can ask for in memory. A discovery result lists 1,000 occurrences of a type, a
// sweep seals up to 100,000.
const maxOccurrences = 1_000_000

func parseRanges(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var ns []int
	for span := range strings.SplitSeq(s, ",") {
		a, b, both := strings.Cut(span, "-")
		first, err := strconv.Atoi(a)
		last := first
		if err == nil && both {
			last, err = strconv.Atoi(b)
		}
		if err != nil || first < 1 || last < first || last > maxOccurrences || len(ns) > 0 && first <= ns[len(ns)-1] {
			return nil, fmt.Errorf("numbers of occurrences: %w", coffer.ErrInvalid)
		}
		ns = slices.Grow(ns, last-first+1)
		for n := first; n <= last; n++ {
			ns = append(ns, n)
		}
	}
	return ns, nil
}

func validWriter(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}
