package triage

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
)

// world is a store with findings and indexes of several processes on it.
type world struct {
	t       *rapid.T
	db      *mem.DB
	rs      Records
	ids     []string
	indexes []*Index
	n       int
}

// TestMain keeps the laws to seconds; more of them with -rapid.checks.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "30")
	flag.Parse()
	os.Exit(m.Run())
}

func ctx() context.Context { return context.Background() }

func (w *world) open() *Index {
	x := NewIndex(w.rs)
	x.least = 3
	return x
}

func pick[T any](t *rapid.T, name string, from ...T) T { return rapid.SampledFrom(from).Draw(t, name) }

// draw gives the record new fields.
func (w *world) draw(r *Record) {
	t := w.t
	f := &r.Finding
	f.Severity = pick(t, "severity", coffer.SeverityUnknown, coffer.SeverityLow, coffer.SeverityMedium, coffer.SeverityHigh)
	f.Type = pick(t, "type", "SensitiveData:S3Object/Financial", "SensitiveData:S3Object/Personal", "")
	f.Object = coffer.Object{
		Bucket: pick(t, "bucket", "alpha", "Alpha", "alpha-two", "beta"), Key: pick(t, "key", "a.csv", "A.csv", "sub/a.csv", "sub/ä,b\\c", "x*"),
		VersionID: pick(t, "version", "", "v1"),
	}
	f.AccountID, f.Region = pick(t, "account", "", "111122223333"), pick(t, "region", "eu-west-1", "us-east-1")
	f.Origin = pick(t, "origin", coffer.OriginMacie, coffer.OriginScan)
	f.CreatedAt = time.Date(2000, 1, 1, 0, 0, 0, 1000*rapid.IntRange(0, 3).Draw(t, "µs"), time.UTC).AddDate(0, 0, -rapid.IntRange(0, 40).Draw(t, "age"))
	r.State, r.Reason = pick(t, "state", StateSealed, StatePartial), pick(t, "reason", "", "why")
	r.Status, r.Verdict = pick(t, "status", Open, InProgress, Fixed, Closed), pick(t, "verdict", "", True, FalsePositive, Intended)
	r.Owner, r.Plan = pick(t, "owner", "", "ann", "bo"), pick(t, "plan", "", "plan-1")
	r.Tickets = pick(t, "tickets", nil, []string{"T-1"}, []string{"T-1", "T-2"})
	r.Muted = rapid.Bool().Draw(t, "muted")
	f.OnBucket.PublicAccess, f.OnObject.PublicAccess = pick(t, "bucket access", "", "UNKNOWN", "PUBLIC"), pick(t, "object access", "", "PUBLIC", "NOT_PUBLIC")
	r.Count, r.Sealed = rapid.IntRange(0, 3).Draw(t, "count"), rapid.IntRange(0, 3).Draw(t, "sealed")
	f.Detections = nil
	for _, d := range []coffer.DataType{coffer.CardNumber, coffer.PersonName} {
		if rapid.Bool().Draw(t, "has "+string(d)) {
			f.Detections = append(f.Detections, coffer.Detection{Type: d})
		}
	}
	r.Tallies = pick(t, "tallies", nil, map[coffer.DataType]Tally{coffer.CardNumber: {False: 2}}, map[coffer.DataType]Tally{coffer.CardNumber: {False: 2, True: 1}})
}

// record returns a new record, or one that is there.
func (w *world) record() *Record {
	if len(w.ids) > 0 && rapid.IntRange(0, 2).Draw(w.t, "old") > 0 {
		r, err := w.rs.Get(ctx(), pick(w.t, "id", w.ids...))
		if err != nil {
			w.t.Fatal(err)
		}
		return r
	}
	w.n++
	r := &Record{Finding: coffer.Finding{ID: fmt.Sprintf("f%d", w.n)}, Received: time.Now()}
	w.ids = append(w.ids, r.Finding.ID)
	return r
}

// process is the index of one of the processes.
func (w *world) process() *Index { return w.indexes[rapid.IntRange(0, 1).Draw(w.t, "process")] }

func (w *world) apply(ops []store.Op) {
	if err := w.db.Apply(ctx(), ops...); err != nil {
		w.t.Fatal(err)
	}
}

// filter draws a filter in its text form.
func filterText(t *rapid.T) []string {
	pairs := []string{
		"severity=high,low", "severity!=medium", "severity.gte=medium", "severity.lt=high", "bucket=ALPHA", "bucket=alpha*", "bucket!=beta",
		"key=a.csv", "key=sub/*", `key=sub/ä\,b\\c`, "key!=a.csv,A.csv", "finding=f1,f3", "finding!=f2", "finding=f1*", "type=credit_card_number",
		"type!=NAME", "category=financial", "category=", "account=", "region!=us-east-1", "origin=macie", "state=sealed", "status=open,in-progress",
		"status!=closed", "verdict=", "verdict!=,true", "owner=ann", "owner=", "plan!=", "ticket=t-2", "month=1999-12", "false-positive=CREDIT_CARD_NUMBER",
		"confirmed=NAME", "created.gte=-20d", "created.lte=1999-12-20", "created.gt=1999-12-20", "created=1999-12-25", "received.gte=-1h", "updated.lt=-5m",
		"occurrences=1,2", "occurrences!=0", "sealed.gt=1", "q=a", "q=alpha SUB", "q=csv", "q=Ä", "muted=no", "muted!=no", "reach=public,private", "reach=",
	}
	return rapid.SliceOfN(rapid.SampledFrom(pairs), 0, 3).Draw(t, "filter")
}

// check compares what an index answers with what a scan of the records says.
func (w *world) check(x *Index) {
	t := w.t
	f, err := ParseFilter(filterText(t)...)
	if err != nil {
		t.Fatal(err)
	}
	order := pick(t, "order", orders...)
	now := time.Now()
	var want []Summary
	for s, err := range w.rs.All(ctx()) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Match(&s, now) {
			want = append(want, s)
		}
	}
	slices.SortFunc(want, func(a, b Summary) int {
		by := 0
		switch order {
		case OldestFirst:
			by = a.Created.Compare(b.Created)
		case NewestFirst:
			by = b.Created.Compare(a.Created)
		case LastReceived:
			by = b.Received.Compare(a.Received)
		case LastChanged:
			by = b.Updated.Compare(a.Updated)
		case MostSevere:
			by = cmp.Or(int(b.Severity-a.Severity), b.Created.Compare(a.Created))
		case MostValues:
			by = b.Sealed - a.Sealed
		}
		return cmp.Or(by, strings.Compare(a.ID, b.ID))
	})
	values, objects, facets := int64(0), map[[2]string]bool{}, map[string]map[string]int{}
	for _, name := range FacetFields() {
		facets[name] = map[string]int{}
	}
	for _, s := range want {
		values += int64(s.Sealed)
		objects[[2]string{s.Object.Bucket, s.Object.Key}] = true
		for name, counts := range facets {
			for _, v := range fields[name].words(&s) {
				counts[v]++
			}
		}
	}
	// All of it, forward in pages, then back.
	limit := rapid.IntRange(2, 8).Draw(t, "limit")
	q := Query{Filter: f, Order: order, Limit: limit, Now: now, Facets: FacetFields()}
	var got []Summary
	var last Page
	for {
		p, err := x.Query(ctx(), q)
		if err != nil || p.Lag != nil {
			t.Fatal(err, p.Lag)
		}
		if p.Total != len(want) || p.Values != values || p.Objects != len(objects) {
			t.Fatalf("filter %v: total %d, values %d, objects %d; want %d, %d, %d", f.Pairs(), p.Total, p.Values, p.Objects, len(want), values, len(objects))
		}
		if len(p.Findings) > 0 && p.First != len(got)+1 {
			t.Fatalf("page begins with number %d, want %d", p.First, len(got)+1)
		}
		for name, counts := range facets {
			if q.After != nil {
				break // they are those of the first page
			}
			if len(p.Facets[name].Values) != len(counts) || p.Facets[name].Distinct != len(counts) {
				t.Fatalf("filter %v: %d values of %s, want %d", f.Pairs(), len(p.Facets[name].Values), name, len(counts))
			}
			for _, c := range p.Facets[name].Values {
				if counts[c.Value] != c.Count {
					t.Fatalf("filter %v: %d findings with %s=%s, want %d", f.Pairs(), c.Count, name, c.Value, counts[c.Value])
				}
			}
		}
		got = append(got, p.Findings...)
		last = p
		if p.Next == nil {
			break
		}
		q.After, q.Facets = p.Next, nil
	}
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("filter %v, order %s:\n got %v\nwant %v", f.Pairs(), order, got, want)
	}
	if len(w.ids) > 0 {
		id := pick(t, "beside", w.ids...)
		b, err := x.Beside(ctx(), f, order, id, now)
		i := slices.IndexFunc(want, func(s Summary) bool { return s.ID == id })
		if err == nil && i >= 0 {
			ids := make([]string, len(want)+2)
			for j, s := range want {
				ids[j+1] = s.ID
			}
			if exact := (Beside{i + 1, len(want), ids[i], ids[i+2]}); b != exact {
				t.Fatalf("filter %v, order %s: beside %s %v, want %v", f.Pairs(), order, id, b, exact)
			}
		}
		if err != nil && !errors.Is(err, coffer.ErrNotFound) || err != nil && i >= 0 || err == nil && (b.Of != len(want) || i < 0 && b.At != 0) {
			t.Fatalf("filter %v, order %s: beside %s %v, %v", f.Pairs(), order, id, b, err)
		}
	}
	at := len(got) - len(last.Findings)
	for last.Prev != nil {
		q.After = last.Prev
		if last, err = x.Query(ctx(), q); err != nil {
			t.Fatal(err)
		}
		at -= len(last.Findings)
		if at < 0 || !reflect.DeepEqual(last.Findings, want[at:at+len(last.Findings)]) || last.First != at+1 {
			t.Fatalf("filter %v, order %s: a page back differs at %d", f.Pairs(), order, at)
		}
	}
	if at != 0 && len(got) > 0 {
		t.Fatalf("pages back end at %d", at)
	}
}

// TestIndexIsAScan: whatever happened, the index answers what a scan of the records answers.
func TestIndexIsAScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			w := &world{t: t, db: &mem.DB{Fault: fault.New()}}
			w.rs = Records{DB: w.db}
			w.indexes = []*Index{w.open(), w.open()}
			change := func(t *rapid.T) {
				r := w.record()
				w.draw(r)
				w.apply(r.Save())
			}
			t.Repeat(map[string]func(*rapid.T){
				"change":  change,
				"changes": func(t *rapid.T) { change(t); change(t); change(t) },
				"conflict": func(t *rapid.T) {
					r := w.record()
					if r.version == "" {
						w.draw(r)
						w.apply(r.Save())
						return
					}
					other := *r
					w.draw(r)
					w.apply(r.Save())
					w.draw(&other)
					if err := w.db.Apply(ctx(), other.Save()...); !errors.Is(err, coffer.ErrConflict) {
						t.Fatal(err)
					}
				},
				"late": func(t *rapid.T) {
					r := w.record()
					w.draw(r)
					ops := r.Save()
					w.check(w.process())
					time.Sleep(time.Duration(rapid.IntRange(1, 500).Draw(t, "seconds")) * time.Second)
					w.check(w.process())
					w.apply(ops)
					time.Sleep(feedDeep)
				},
				"unread": func(t *rapid.T) {
					// The feed cannot be read once: the index says that it lags, and catches up.
					x := w.process()
					if x.table == nil {
						return
					}
					w.db.Fault.Arm(fault.Fault{Call: 1, Crash: true})
					defer func() { w.db.Fault.Disarm(); w.db.Fault.Restart() }()
					p, err := x.Query(ctx(), Query{Now: time.Now()})
					if err != nil || p.Lag == nil {
						t.Fatal("no word of the lag", err)
					}
				},
				"reopen": func(t *rapid.T) { w.indexes[rapid.IntRange(0, 1).Draw(t, "process")] = w.open() },
				"pass":   func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 1000).Draw(t, "seconds")) * time.Second) },
				"days":   func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 9).Draw(t, "days")) * 24 * time.Hour) },
				"compact": func(t *rapid.T) {
					if err := w.process().Compact(ctx()); err != nil {
						t.Fatal(err)
					}
				},
				"": func(t *rapid.T) {
					w.t = t
					w.check(w.process())
				},
			})
		})
	})
}

// TestSweep: a change that the feed told too late is found by comparing with the list.
func TestSweep(t *testing.T) {
	rs := Records{DB: &mem.DB{}}
	x := NewIndex(rs)
	if err := x.Refresh(ctx()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	x.now = func() time.Time { return now }
	r := &Record{Finding: coffer.Finding{ID: "f1"}}
	ops := r.Save()
	now = now.Add(time.Hour)
	if err := x.Refresh(ctx()); err != nil {
		t.Fatal(err)
	}
	if err := rs.DB.Apply(ctx(), ops...); err != nil {
		t.Fatal(err)
	}
	total := func() int {
		p, err := x.Query(ctx(), Query{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Total
	}
	now = now.Add(time.Minute)
	if total() != 0 {
		t.Fatal("the feed is read further back than it says")
	}
	for range list.Parts() {
		if err := x.Sweep(ctx()); err != nil {
			t.Fatal(err)
		}
	}
	if total() != 1 {
		t.Error("not found by a sweep")
	}
}

// TestSnapshotThatIsBroken is as if there were none.
func TestSnapshotThatIsBroken(t *testing.T) {
	db := &mem.DB{}
	rs := Records{DB: db}
	for i := range 5 {
		r := &Record{Finding: coffer.Finding{ID: fmt.Sprint("f", i)}}
		if err := db.Apply(ctx(), r.Save()...); err != nil {
			t.Fatal(err)
		}
	}
	x := NewIndex(rs)
	x.least = 1
	if err := x.Refresh(ctx()); err != nil {
		t.Fatal(err)
	}
	s, _, err := readHead(ctx(), db)
	if err != nil || s.Chunks != 1 {
		t.Fatal(s, err)
	}
	if _, _, err := loadSnapshot(ctx(), db); err != nil {
		t.Fatal(err)
	}
	it, err := db.Get(ctx(), s.key(0))
	if err != nil {
		t.Fatal(err)
	}
	it.Value[len(it.Value)/2] ^= 1
	it.Version = store.NewVersion()
	if err := db.Apply(ctx(), store.Op{Verb: store.Put, Expect: store.Any, Item: it}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadSnapshot(ctx(), db); !errors.Is(err, coffer.ErrCorrupt) {
		t.Fatal(err)
	}
	p, err := NewIndex(rs).Query(ctx(), Query{})
	if err != nil || p.Total != 5 {
		t.Error(p.Total, err)
	}
}

// FuzzDecodeTable: whatever the bytes, there is a table or an error.
func FuzzDecodeTable(f *testing.F) {
	t := newTable()
	f.Add(t.encode())
	t.put(&Summary{ID: "f1", Types: []coffer.DataType{"A", "B"}, Object: coffer.Object{Bucket: "b", Key: "K"}, Revision: 1})
	f.Add(t.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := decodeTable(b)
		if err != nil {
			if !errors.Is(err, coffer.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for row := range table.ids {
			_ = table.summary(uint32(row))
		}
	})
}

// FuzzFilter: a filter that parses has a text form that parses to the same filter, both as pairs and as a query.
func FuzzFilter(f *testing.F) {
	rapid.Check(f, func(t *rapid.T) { f.Add(strings.Join(filterText(t), "\n")) })
	f.Add("key=a\\,b\\\\,c\\d\nkey!=\nq=  Two words\ncreated.gte=-7d\nseverity.gte=LOW")
	f.Fuzz(func(t *testing.T, text string) {
		one, err := ParseFilter(strings.Split(text, "\n")...)
		if err != nil {
			if !errors.Is(err, coffer.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		two, err := ParseFilter(one.Pairs()...)
		if err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%q: %v: %v, then %v", text, err, one, two)
		}
		q, err := url.ParseQuery(one.String())
		if err != nil {
			t.Fatal(err)
		}
		three, err := FilterOf(q)
		if err != nil || three.String() != one.String() {
			t.Fatalf("%q: %v: %s, then %s", text, err, one, three)
		}
	})
}
