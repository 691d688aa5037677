package dynamo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"coffer"
	"coffer/store"
	"coffer/store/dynamo"
	"coffer/store/mem"
)

// fault is what happens to a request.
type fault struct {
	name   string
	effect bool // it reaches DynamoDB
	lost   bool // the client cannot know whether it did
	status int  // of the answer that the client gets; 0: the connection breaks
	code   string
}

var faults = []fault{
	{name: "connection breaks before", lost: true},
	{name: "connection breaks after", effect: true, lost: true},
	{name: "server error before", lost: true, status: 500, code: "InternalServerError"},
	{name: "server error after", effect: true, lost: true, status: 500, code: "InternalServerError"},
	{name: "gateway's page after", effect: true, lost: true, status: 503},
	{name: "answer is cut off", effect: true, lost: true, status: 200},
	{name: "in progress after", effect: true, lost: true, status: 400, code: "TransactionInProgressException"},
	{name: "throttled", status: 400, code: "ThrottlingException"},
	{name: "no capacity", status: 400, code: "ProvisionedThroughputExceededException"},
	{name: "too many requests", status: 400, code: "RequestLimitExceeded"},
	{name: "another transaction", status: 400, code: "TransactionConflictException"},
}

// line is a connection that breaks.
type line struct {
	mu    sync.Mutex
	calls int
	hit   func(call int) *fault // nil: none
	after func()                // called when a fault hit, before the client gets to know
	last  int                   // the call that was hit last
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.calls++
	var f *fault
	if l.hit != nil {
		f = l.hit(l.calls)
	}
	after := l.after
	if f != nil {
		l.last = l.calls
	}
	l.mu.Unlock()
	if f == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	if f.effect {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, resp.Body) // only read from
		_ = resp.Body.Close()
	}
	if after != nil {
		after()
	}
	if f.status == 0 {
		return nil, errors.New("connection reset: nobody-may-see-this")
	}
	body := fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"nobody-may-see-this"}`, f.code)
	if f.code == "" {
		body = "{ nobody-may-see-this"
	}
	return &http.Response{
		StatusCode: f.status, Request: r, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"REQUEST1"}},
	}, nil
}

// arm sets what happens from the next call on.
func (l *line) arm(hit func(call int) *fault, after func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls, l.last, l.hit, l.after = 0, 0, hit, after
}

func (l *line) seen() (calls, last int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls, l.last
}

// broken opens a new table over a line, and beside it without.
func broken(t *testing.T) (db, beside *dynamo.DB, l *line) {
	c := config(t)
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	beside = open(t, c)
	l = new(line)
	c.AWS.HTTPClient = &http.Client{Transport: l}
	db = open(t, c)
	db.DoNotWait()
	return db, beside, l
}

// workload is a history with every form of Apply, in parts of its own. Some of it conflicts.
func workload(run string) [][]store.Op {
	k := func(s string) store.Key { return store.Key{Part: run + s[:1], Sort: s} }
	p := func(s, version, expect string) store.Op {
		return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{Key: k(s), Version: version, Value: []byte(version)}}
	}
	d := func(s, expect string) store.Op {
		return store.Op{Verb: store.Delete, Expect: expect, Item: store.Item{Key: k(s)}}
	}
	c := func(s, expect string) store.Op {
		return store.Op{Verb: store.Check, Expect: expect, Item: store.Item{Key: k(s)}}
	}
	return [][]store.Op{
		{p("a1", "1", store.Absent)},
		{p("a1", "2", "1")},
		{p("a1", "3", "1")}, // conflicts
		{p("b1", "1", store.Absent), p("a2", "1", store.Absent), c("a1", "2")},
		{p("b1", "2", store.Absent), p("c1", "1", store.Absent)}, // conflicts
		{p("b1", "1", store.Absent), p("c1", "1", store.Any)},    // the first counts as done
		{d("a2", "1"), p("b1", "3", "1"), c("zz", store.Absent)},
		{d("a2", "1"), d("c1", store.Any)}, // the first counts as done
		{c("a1", "2")},
		{c("a1", "9")}, // conflicts
		{d("a1", "2")},
		{p("a1", "4", store.Any)},
		{p("b1", "5", store.Any), p("a1", "5", "4"), c("c1", store.Absent)},
		{d("b1", store.Any)},
	}
}

// TestFaults fails every request of the workload in every way and demands what a store in memory does: each operation has its effect
// exactly once, what succeeded is not called a conflict, what conflicted is not called a success.
func TestFaults(t *testing.T) {
	t.Parallel()
	db, beside, l := broken(t)
	l.arm(nil, nil)
	for _, ops := range workload("dry") {
		_ = db.Apply(t.Context(), ops...)
	}
	calls, _ := l.seen()
	for i, f := range faults {
		if i%2 == 1 && i > 1 && os.Getenv("COFFER_TEST_FULL") == "" {
			continue // the first two are the two sides of an effect; of the others, which differ in the answer, some
		}
		for k := 1; k <= calls; k++ {
			run := fmt.Sprintf("%s %d ", f.name, k)
			l.arm(func(call int) *fault {
				if call == k {
					return &f
				}
				return nil
			}, nil)
			model := new(mem.DB)
			for i, ops := range workload(run) {
				from, _ := l.seen()
				err := db.Apply(t.Context(), ops...)
				_, hit := l.seen()
				want := model.Apply(t.Context(), ops...)
				if hit <= from {
					hit = 0 // not in this Apply
				}
				switch {
				case want == nil && err == nil, want != nil && errors.Is(err, coffer.ErrConflict):
				case want != nil && hit > 0 && f.lost && open1(err):
				default:
					t.Errorf("%s, apply %d: %v, want %v", run, i, err, want)
				}
				if err != nil && strings.Contains(err.Error(), "nobody") {
					t.Errorf("%s, apply %d: an error tells what DynamoDB said: %v", run, i, err)
				}
			}
			if _, hit := l.seen(); hit != k {
				t.Errorf("%s: request %d of %d was not hit", run, k, calls)
			}
			for _, part := range []string{"a", "b", "c", "z"} {
				if got, want := items(t, beside, run+part), items(t, model, run+part); got != want {
					t.Errorf("%s: %s holds %s, want %s", run, part, got, want)
				}
			}
		}
	}
	t.Logf("%d requests failed", calls)
}

// open1 reports whether err leaves it open what happened.
func open1(err error) bool {
	if err == nil {
		return false
	}
	for _, is := range []error{coffer.ErrConflict, coffer.ErrUnavailable, coffer.ErrInvalid, coffer.ErrNotFound, coffer.ErrCorrupt} {
		if errors.Is(err, is) {
			return false
		}
	}
	return strings.Contains(err.Error(), "not known")
}

func items(t *testing.T, db store.DB, part string) string {
	t.Helper()
	var b strings.Builder
	for it, err := range db.Query(t.Context(), part, store.Range{}) {
		must(t, err)
		fmt.Fprintf(&b, "%s=%s,%s ", it.Key.Sort, it.Version, it.Value)
	}
	return b.String()
}

// TestReadsAreRepeated: a read that fails once gives what it would have given.
func TestReadsAreRepeated(t *testing.T) {
	t.Parallel()
	db, _, l := broken(t)
	must(t, db.Apply(t.Context(), put("p", "s", "1", "v", store.Absent)))
	for _, f := range faults {
		l.arm(func(call int) *fault {
			if call%2 == 1 {
				return &f
			}
			return nil
		}, nil)
		if it, err := db.Get(t.Context(), store.Key{Part: "p", Sort: "s"}); err != nil || string(it.Value) != "v" {
			t.Errorf("get, %s: %v", f.name, err)
		}
		if got := items(t, db, "p"); got != "s=1,v " {
			t.Errorf("query, %s: %s", f.name, got)
		}
		n := 0
		for _, err := range db.Scan(t.Context(), 0, 1) {
			must(t, err)
			n++
		}
		if n != 1 {
			t.Errorf("scan, %s: %d items", f.name, n)
		}
	}
}

// TestPersistent: a fault that stays ends as an error that says what may have happened, after a bounded number of attempts.
func TestPersistent(t *testing.T) {
	t.Parallel()
	db, beside, l := broken(t)
	for _, f := range faults {
		l.arm(func(int) *fault { return &f }, nil)
		for i, ops := range [][]store.Op{
			{put("p", f.name+"1", "1", "v", store.Absent)},
			{put("p", f.name+"2", "1", "v", store.Absent), put("p", f.name+"3", "1", "v", store.Absent)},
		} {
			from, _ := l.seen()
			err := db.Apply(t.Context(), ops...)
			calls, _ := l.seen()
			if f.lost != open1(err) || f.lost == errors.Is(err, coffer.ErrUnavailable) {
				t.Errorf("%s, apply %d: %v", f.name, i, err)
			}
			if calls-from != dynamo.Attempts {
				t.Errorf("%s, apply %d: %d attempts", f.name, i, calls-from)
			}
			_, gerr := beside.Get(t.Context(), ops[0].Item.Key)
			if done := gerr == nil; done != f.effect {
				t.Errorf("%s, apply %d: %v", f.name, i, gerr)
			}
		}
		if _, err := db.Get(t.Context(), store.Key{Part: "p", Sort: "s"}); !errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("%s, get: %v", f.name, err)
		}
	}
}

// TestRefused: what DynamoDB refuses for good is not repeated.
func TestRefused(t *testing.T) {
	t.Parallel()
	db, _, l := broken(t)
	for code, want := range map[string]error{
		"AccessDeniedException": coffer.ErrUnavailable, "ResourceNotFoundException": coffer.ErrUnavailable,
		"UnrecognizedClientException": coffer.ErrUnavailable, "ExpiredTokenException": coffer.ErrUnavailable,
		"ValidationException": coffer.ErrInvalid, "ItemCollectionSizeLimitExceededException": coffer.ErrInvalid,
	} {
		f := fault{status: 400, code: code}
		l.arm(func(int) *fault { return &f }, nil)
		for _, ops := range [][]store.Op{
			{put("p", "s", "1", "v", store.Absent)},
			{put("p", "s", "1", "v", store.Absent), put("p", "t", "1", "v", store.Absent)},
			{{Verb: store.Check, Item: store.Item{Key: store.Key{Part: "p", Sort: "s"}}}},
		} {
			l.arm(func(int) *fault { return &f }, nil)
			err := db.Apply(t.Context(), ops...)
			if calls, _ := l.seen(); !errors.Is(err, want) || calls != 1 || !strings.Contains(err.Error(), code) ||
				!strings.Contains(err.Error(), "REQUEST1") || strings.Contains(err.Error(), "nobody") {
				t.Errorf("%s: %d calls, %v", code, calls, err)
			}
		}
	}
}

// TestForeignWriteAfterLostAnswer: between our write, whose answer is lost, and its repetition somebody else replaces the item.
func TestForeignWriteAfterLostAnswer(t *testing.T) {
	t.Parallel()
	db, beside, l := broken(t)
	lose := func(foreign store.Op) {
		l.arm(func(call int) *fault {
			if call == 1 {
				return &fault{effect: true}
			}
			return nil
		}, func() { must(t, beside.Apply(context.Background(), foreign)) })
	}
	lose(put("p", "s", "theirs", "", "ours"))
	if err := db.Apply(t.Context(), put("p", "s", "ours", "", store.Absent)); !open1(err) {
		t.Errorf("one operation: %v; it was carried out, so this is no conflict", err)
	}
	lose(put("q", "s", "theirs", "", "ours"))
	if err := db.Apply(t.Context(), put("q", "s", "ours", "", store.Absent), put("q", "t", "ours", "", store.Any)); err != nil {
		t.Errorf("a transaction: %v; its token says that it was carried out", err)
	}
	for _, part := range []string{"p", "q"} {
		if it, err := beside.Get(t.Context(), store.Key{Part: part, Sort: "s"}); err != nil || it.Version != "theirs" {
			t.Errorf("their write is lost: %v", err)
		}
	}
}

// TestEqualApply: an Apply that is equal to an earlier one looks at the table again.
func TestEqualApply(t *testing.T) {
	t.Parallel()
	db := created(t)
	a, b := put("p", "a", "1", "v", store.Any), put("p", "b", "1", "v", store.Any)
	must(t, db.Apply(t.Context(), a, b))
	other := a
	other.Item.Value = []byte("another content under the same version")
	must(t, db.Apply(t.Context(), other, b))
	if got := items(t, db, "p"); got != "a=1,v b=1,v " {
		t.Errorf("the part holds %s", got)
	}
	gone := []store.Op{{Verb: store.Delete, Item: store.Item{Key: a.Item.Key}, Expect: store.Any}, {Verb: store.Delete, Item: store.Item{Key: b.Item.Key}, Expect: store.Any}}
	for range 2 {
		must(t, db.Apply(t.Context(), gone...))
		if got := items(t, db, "p"); got != "" {
			t.Errorf("the part holds %s", got)
		}
		must(t, db.Apply(t.Context(), a, b))
	}
	check := []store.Op{{Verb: store.Check, Item: store.Item{Key: a.Item.Key}, Expect: "1"}, {Verb: store.Check, Item: store.Item{Key: b.Item.Key}, Expect: "1"}}
	must(t, db.Apply(t.Context(), check...))
	must(t, db.Apply(t.Context(), put("p", "a", "2", "v", "1")))
	if err := db.Apply(t.Context(), check...); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("the same check after a change: %v", err)
	}
}

// TestForeignItem: what Coffer did not write is an error of its own, and what is behind it is still read.
func TestForeignItem(t *testing.T) {
	t.Parallel()
	c := config(t)
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	db := open(t, c)
	must(t, db.Apply(t.Context(), put("p", "a", "1", "v", store.Absent), put("p", "c", "1", "v", store.Absent)))
	foreign(t, c, "p", "b")
	var seen []string
	for it, err := range db.Query(t.Context(), "p", store.Range{}) {
		if (it.Key.Sort == "b") != errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("item %s: %v", it.Key.Sort, err)
		}
		seen = append(seen, it.Key.Sort)
	}
	if fmt.Sprint(seen) != "[a b c]" {
		t.Errorf("saw %v", seen)
	}
	if _, err := db.Get(t.Context(), store.Key{Part: "p", Sort: "b"}); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("get: %v", err)
	}
	if err := db.Apply(t.Context(), put("p", "b", "2", "v", "1")); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("put over it: %v", err)
	}
}

// TestLongBounds: bounds that no sort can reach still cut where they stand.
func TestLongBounds(t *testing.T) {
	t.Parallel()
	db := created(t)
	full := string(bytes.Repeat([]byte{'k'}, store.MaxSort))
	for _, s := range []string{full[:store.MaxSort-1], full, full[:store.MaxSort-1] + "l", "a", "z"} {
		must(t, db.Apply(t.Context(), put("p", s, "1", "", store.Absent)))
	}
	for _, c := range []struct {
		r    store.Range
		want int
	}{
		{store.Range{From: full}, 3}, {store.Range{From: full + "\x00"}, 2}, {store.Range{To: full}, 2}, {store.Range{To: full + "\x00"}, 3},
		{store.Range{From: full, To: full + "\x00"}, 1}, {store.Range{From: full + "\x00", To: full + "\x01"}, 0}, {store.Range{From: "z", To: "a"}, 0},
	} {
		n := 0
		for _, err := range db.Query(t.Context(), "p", c.r) {
			must(t, err)
			n++
		}
		if n != c.want {
			t.Errorf("range of %d to %d bytes: %d items, want %d", len(c.r.From), len(c.r.To), n, c.want)
		}
	}
}
