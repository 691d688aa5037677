package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	MaxValues = 2000  // members of Entry.Values
	MaxEntry  = 60000 // bytes of the encoded entry; tlog-tiles bundles end at 65535
	maxID     = 256   // bytes of every id and of a value of Entry.Detail
	valueHash = 16    // characters of a member of Entry.Values: 96 bits in base64url
)

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
	// Values are keyed hashes of the values that a reveal showed, in the order of the intent's Occurrences, each bound to its finding
	// and number: with the key it can be told whether a value that is known was among them, and without it nothing. None beyond MaxValues.
	Values []string

	Outcome Outcome
	Intent  Ref               // the entry with outcome Intent that this one is the result of
	Epoch   int64             // of the lease under which the act ran; 0: under none
	Detail  map[string]string // ids, types, states and counts; never a value

	permit *Permit
}

// Ref returns the entry's own reference.
func (e *Entry) Ref() Ref { return Ref{e.Writer, e.Seq} }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// place is where an entry stands in a chain: the beginning of its encoding, which is known when it is written.
type place struct {
	time      time.Time
	writer    string
	seq       uint64
	prev      tlog.Hash
	clockBack int64
}

// maxHead is the length of the longest place.
var maxHead = len(place{time: time.Unix(0, 0), writer: strings.Repeat("0", 32), seq: 1<<64 - 1, prev: tlog.RecordHash(nil), clockBack: 1 << 62}.append(nil))

func (p place) append(b []byte) []byte {
	b = append(b, `{"v":1,"time":"`...)
	b = appendTime(b, p.time.UTC())
	b = append(b, `","writer":`...)
	b = appendString(b, p.writer)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, p.seq, 10)
	if p.prev != (tlog.Hash{}) {
		b = append(b, `,"prev":"`...)
		b = base64.StdEncoding.AppendEncode(b, p.prev[:])
		b = append(b, '"')
	}
	if p.clockBack != 0 {
		b = append(b, `,"clockBack":`...)
		b = strconv.AppendInt(b, p.clockBack, 10)
	}
	return b
}

// encode returns the canonical bytes of e, the leaf of the Merkle log: a JSON object with these members in this order, without
// white space, empty members left out, the members of detail sorted. See docs/format-log.md.
func (e *Entry) encode() ([]byte, error) {
	b := e.append(make([]byte, 0, 1024))
	if len(b) > MaxEntry {
		return nil, tooLong(len(b))
	}
	return b, nil
}

// append appends the canonical bytes of e, however long they are.
func (e *Entry) append(b []byte) []byte {
	return e.appendTail(place{e.Time, e.Writer, e.Seq, e.Prev, e.ClockBack}.append(b))
}

// tail returns what follows the place in the encoding of e.
func (e *Entry) tail() ([]byte, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = e.appendTail((*buf)[:0])
	if n := maxHead + len(*buf); n > MaxEntry {
		return nil, tooLong(n)
	}
	return bytes.Clone(*buf), nil
}

// buffers are for encodings, of which only the length is known when they are done.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func tooLong(n int) error {
	return fmt.Errorf("audit entry of %d bytes, at most %d; split its occurrences: %w", n, MaxEntry, coffer.ErrLimit)
}

func (e *Entry) appendTail(b []byte) []byte {
	text := func(name, s string) {
		b = append(b, name...)
		b = appendString(b, s)
	}
	some := func(name, s string) {
		if s != "" {
			text(name, s)
		}
	}
	list := func(name string, ss []string) {
		if len(ss) == 0 {
			return
		}
		b = append(b, name...)
		for i, s := range ss {
			if i == 0 {
				b = append(b, '[')
			} else {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		b = append(b, ']')
	}

	text(`,"actor":{"kind":`, string(e.Actor.Kind))
	text(`,"id":`, e.Actor.ID)
	list(`,"roles":`, e.Actor.Roles)
	if e.Actor.Local {
		b = append(b, `,"local":true`...)
	}
	text(`},"action":`, string(e.Action))
	text(`,"decision":`, e.Decision)
	list(`,"policies":`, e.Policies)
	text(`,"policyHash":`, e.Hash)
	some(`,"request":`, e.Request)
	some(`,"reason":`, e.Reason)
	some(`,"note":`, e.Note)
	some(`,"finding":`, e.Finding)
	some(`,"occurrences":`, formatRanges(e.Occurrences))
	some(`,"object":`, e.Object)
	some(`,"plan":`, e.Plan)
	list(`,"values":`, e.Values)
	text(`,"outcome":`, string(e.Outcome))
	some(`,"intent":`, e.Intent.String())
	if e.Epoch != 0 {
		b = append(b, `,"epoch":`...)
		b = strconv.AppendInt(b, e.Epoch, 10)
	}
	if len(e.Detail) > 0 {
		sep := `,"detail":{`
		var array [MaxDetail]string
		names := slices.AppendSeq(array[:0], maps.Keys(e.Detail))
		slices.Sort(names)
		for _, k := range names {
			text(sep, k)
			text(":", e.Detail[k])
			sep = ","
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendTime appends what AppendFormat does with timeLayout, for the years of four digits. Every entry that is verified is written so.
func appendTime(b []byte, t time.Time) []byte {
	y, m, d := t.Date()
	if y < 1000 || y > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	put := func(n, width int, end byte) {
		at := len(b) + width
		b = append(b, "000000"[:width]...)
		for i := at - 1; n > 0; i-- {
			b[i] = byte('0' + n%10)
			n /= 10
		}
		b = append(b, end)
	}
	put(y, 4, '-')
	put(int(m), 2, '-')
	put(d, 2, 'T')
	put(hour, 2, ':')
	put(minute, 2, ':')
	put(second, 2, '.')
	put(t.Nanosecond()/1000, 6, 'Z')
	return b
}

// parseTime reads what [appendTime] writes. Other forms of the same instant may pass; they are not what encoding again gives.
func parseTime(s string) (time.Time, error) {
	if len(s) != len(timeLayout) {
		return time.Time{}, coffer.ErrCorrupt
	}
	bad := false
	get := func(from, to int) (n int) {
		for _, c := range []byte(s[from:to]) {
			bad = bad || c < '0' || c > '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	t := time.Date(get(0, 4), time.Month(get(5, 7)), get(8, 10), get(11, 13), get(14, 16), get(17, 19), get(20, 26)*1000, time.UTC)
	if bad {
		return time.Time{}, coffer.ErrCorrupt
	}
	return t, nil
}

// appendString appends s as a JSON string, the way encoding/json writes it without HTML escapes.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string in memory cannot fail
			return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
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
	// The order of the members is fixed, so a reader that expects them one after the other reads all there is. That what it
	// took in is exactly what stood there is shown by encoding it again.
	s := scanner{rest: string(leaf)} // once, so that its members need not be copied one by one
	e := Entry{Index: -1}
	if !s.take(`{"v":1,"time":`) {
		return bad("not an entry of version 1")
	}
	when := s.text()
	s.need(`,"writer":`)
	e.Writer = s.text()
	s.need(`,"seq":`)
	e.Seq = s.number()
	prev := ""
	if s.take(`,"prev":`) {
		prev = s.text()
	}
	if s.take(`,"clockBack":`) {
		e.ClockBack = s.integer()
	}
	s.need(`,"actor":{"kind":`)
	e.Actor.Kind = access.CallerKind(s.text())
	s.need(`,"id":`)
	e.Actor.ID = s.text()
	if s.take(`,"roles":`) {
		e.Actor.Roles = s.list()
	}
	e.Actor.Local = s.take(`,"local":true`)
	s.need(`},"action":`)
	e.Action = access.Action(s.text())
	s.need(`,"decision":`)
	e.Decision = s.text()
	if s.take(`,"policies":`) {
		e.Policies = s.list()
	}
	s.need(`,"policyHash":`)
	e.Hash = s.text()
	occurrences, intent := "", ""
	for _, m := range []struct {
		name string
		to   *string
	}{
		{`,"request":`, &e.Request}, {`,"reason":`, &e.Reason}, {`,"note":`, &e.Note}, {`,"finding":`, &e.Finding},
		{`,"occurrences":`, &occurrences}, {`,"object":`, &e.Object}, {`,"plan":`, &e.Plan},
	} {
		if s.take(m.name) {
			*m.to = s.text()
		}
	}
	if s.take(`,"values":`) {
		e.Values = s.list()
	}
	s.need(`,"outcome":`)
	e.Outcome = Outcome(s.text())
	if s.take(`,"intent":`) {
		intent = s.text()
	}
	if s.take(`,"epoch":`) {
		e.Epoch = s.integer()
	}
	if s.take(`,"detail":{`) {
		e.Detail = make(map[string]string)
		for more := true; more && !s.bad; more = s.take(",") {
			k := s.text()
			s.need(":")
			e.Detail[k] = s.text()
		}
		s.need("}")
	}
	if s.need("}"); s.bad || len(s.rest) > 0 {
		return bad("not the JSON of an entry")
	}

	var err error
	if e.Time, err = parseTime(when); err != nil {
		return bad("malformed time")
	}
	if prev != "" {
		if e.Prev, err = tlog.ParseHash(prev); err != nil {
			return bad("malformed hash")
		}
	}
	if e.Intent, err = ParseRef(intent); err != nil {
		return bad("malformed intent")
	}
	if e.Occurrences, err = parseRanges(occurrences); err != nil {
		return bad("malformed occurrences")
	}
	if !validWriter(e.Writer) || e.Seq == 0 {
		return bad("malformed writer or number")
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if *buf = e.append((*buf)[:0]); !bytes.Equal(*buf, leaf) {
		return bad("not in canonical form")
	}
	return e, nil
}

// scanner reads an encoded entry from left to right. After the first thing it does not expect it reads nothing more.
type scanner struct {
	rest string
	bad  bool
}

// take consumes lit if it comes next, and reports whether it did.
func (s *scanner) take(lit string) bool {
	rest, ok := strings.CutPrefix(s.rest, lit)
	if s.bad || !ok {
		return false
	}
	s.rest = rest
	return true
}

func (s *scanner) need(lit string) {
	if !s.take(lit) {
		s.bad = true
	}
}

// text consumes a string.
func (s *scanner) text() string {
	if !s.take(`"`) {
		s.bad = true
		return ""
	}
	for i, escaped := 0, false; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			raw := s.rest[:i]
			s.rest = s.rest[i+1:]
			if !escaped {
				return raw
			}
			var out string
			if json.Unmarshal([]byte(`"`+raw+`"`), &out) != nil {
				s.bad = true
			}
			return out
		}
	}
	s.bad = true
	return ""
}

func (s *scanner) list() []string {
	var ss []string
	s.need("[")
	for more := true; more && !s.bad; more = s.take(",") {
		ss = append(ss, s.text())
	}
	s.need("]")
	return ss
}

// digits consumes an optional minus sign and digits.
func (s *scanner) digits() string {
	i := 0
	for i < len(s.rest) && i < 20 && ('0' <= s.rest[i] && s.rest[i] <= '9' || i == 0 && s.rest[i] == '-') {
		i++
	}
	d := s.rest[:i]
	s.rest = s.rest[i:]
	return d
}

func (s *scanner) number() uint64 {
	n, err := strconv.ParseUint(s.digits(), 10, 64)
	s.bad = s.bad || err != nil
	return n
}

func (s *scanner) integer() int64 {
	n, err := strconv.ParseInt(s.digits(), 10, 64)
	s.bad = s.bad || err != nil
	return n
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
	for _, is := range [...]struct{ what, s string }{
		{"request", e.Request}, {"reason", e.Reason}, {"finding", e.Finding}, {"object", e.Object}, {"plan", e.Plan}, {"intent", e.Intent.String()},
	} {
		if !token(is.s) {
			return bad(is.what)
		}
	}
	if len(e.Detail) > MaxDetail {
		return bad("detail")
	}
	if len(e.Values) > MaxValues || slices.ContainsFunc(e.Values, func(s string) bool { return len(s) != valueHash }) {
		return bad("list of hashes of values")
	}
	for _, s := range e.Values {
		if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad("hash of a value")
		}
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

// List writes items as one value of Entry.Detail: joined by commas, as many as fit, and then "+" and how many more there are. What an
// entry does not take in an item, such as a space in the name of a custom identifier, becomes "_".
func List(items []string) string {
	var b strings.Builder
	for i, s := range items {
		s = strings.Map(func(r rune) rune {
			if r == ',' || r >= 0x7f || !token(string(r)) {
				return '_'
			}
			return r
		}, s)
		more := "+" + strconv.Itoa(len(items)-i)
		if b.Len()+len(s)+2+len(more) > maxID {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			return b.String() + more
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s)
	}
	return b.String()
}

// Scrub returns a text that somebody wrote with everything that the detectors find in it replaced. Whatever is kept of such texts, in
// entries or in records, goes through it.
func (l *Log) Scrub(text string) string { return string(l.scrub([]byte(text))) }

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
