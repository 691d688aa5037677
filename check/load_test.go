package check_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"coffer"
	"coffer/app"
	"coffer/audit/audittest"
	"coffer/internal/fault"
	"coffer/internal/lookalike"
	"coffer/macie"
	"coffer/remedy"
	"coffer/store"
	"coffer/store/dynamo"
	storemem "coffer/store/mem"
)

// meter counts what a store would consume on DynamoDB: write units of 1 KB of an item (twice in a transaction, and for the larger of the
// old and the new item), read units of 4 KB. It must stand below the sealing of values, like an adapter.
type meter struct {
	store.DB
	mu    sync.Mutex
	calls map[string]int
	write float64
	alone float64 // of those, outside transactions
	read  float64
	parts map[string]float64    // write units of each part
	items map[store.Key]float64 // what writing each item that stands once costs, outside a transaction
}

func newMeter(db store.DB) *meter {
	m := &meter{DB: db, items: map[store.Key]float64{}}
	m.reset()
	return m
}

// reset forgets what was counted, but not what stands in the store.
func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls, m.parts, m.write, m.alone, m.read = map[string]int{}, map[string]float64{}, 0, 0, 0
}

// size is that of an item on DynamoDB: the names and values of its attributes.
func size(it store.Item) int {
	n := len("pk") + len(it.Key.Part) + len("sk") + len(it.Key.Sort) + len("v") + len(it.Value) + len("ver") + len(it.Version)
	if !it.Expires.IsZero() {
		n += len("exp") + 6 // a number of ten digits
	}
	return n
}

func units(bytes, unit int) float64 { return float64(max(1, (bytes+unit-1)/unit)) }

func (m *meter) Apply(ctx context.Context, ops ...store.Op) error {
	if err := m.DB.Apply(ctx, ops...); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls["Apply"]++
	if len(ops) == 1 && ops[0].Verb == store.Check {
		m.read += cmp.Or(m.items[ops[0].Item.Key], 1)
		return nil
	}
	for _, op := range ops {
		k := op.Item.Key
		n := cmp.Or(m.items[k], 1)
		switch op.Verb {
		case store.Put:
			now := units(size(op.Item), 1024)
			n, m.items[k] = max(n, now), now
		case store.Delete:
			delete(m.items, k)
		}
		if len(ops) > 1 {
			n *= 2
		} else {
			m.alone += n
		}
		m.write += n
		m.parts[k.Part] += n
	}
	return nil
}

func (m *meter) Get(ctx context.Context, k store.Key) (store.Item, error) {
	it, err := m.DB.Get(ctx, k)
	if err == nil || errors.Is(err, coffer.ErrNotFound) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls["Get"]++
		m.read += units(size(it), 4096)
	}
	return it, err
}

// Query counts pages of 1 MB.
func (m *meter) Query(ctx context.Context, part string, r store.Range) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		n := 0
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.calls["Query"] += 1 + n>>20
			m.read += units(n, 4096)
		}()
		for it, err := range m.DB.Query(ctx, part, r) {
			n += size(it)
			if !yield(it, err) {
				return
			}
		}
	}
}

// kind is the part without the ids.
func kind(part string) string {
	if strings.HasPrefix(part, "audit/entry/") {
		return "audit/entry/*"
	}
	if name, _, ok := strings.Cut(part, "#"); ok {
		return name + "#*"
	}
	return part
}

// metered is a world whose stores are metered. The same process serves all findings.
func metered(t testing.TB, data, keys store.DB) (w *world, db, headers *meter) {
	w = newWorld(t)
	w.inj = fault.New()
	db, headers = newMeter(data), newMeter(keys)
	files, key := audittest.Parts(t, w.logDir+"-metered")
	a, err := app.Assemble(w.ctx, app.Adapters{Objects: w.objects, Originals: w.originals, DB: db, Headers: headers, Keys: w.keys,
		Log: files, LogKey: key}, app.Config{}, w.a.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.place.inject(nil) // an injector remembers every call
	w.a = a
	return w, db, headers
}

// reported puts an object with n values and returns the document that reports them.
func (w *world) reported(i, n int) macie.Document {
	var body bytes.Buffer
	body.WriteString("id,bank_account_number\n")
	for row := range n {
		fmt.Fprintf(&body, "%d,%d\n", row, 1405270021+100_000*i+row)
	}
	key := fmt.Sprintf("reported/%d.csv", i)
	w.put(key, body.Bytes())
	f := coffer.Finding{
		ID: fmt.Sprintf("%032x", i+1), AccountID: "111122223333", Region: "eu-central-1",
		Type: "SensitiveData:S3Object/Financial", Severity: coffer.SeverityHigh, CreatedAt: w.now,
		Title: "The S3 object contains financial information", Description: "The object contains bank account numbers.",
		Object: coffer.Object{Bucket: bucket, Key: key, ETag: md5hex(body.Bytes())}, Size: int64(body.Len()),
		Detections: []coffer.Detection{{Type: coffer.BankAccountNumber, Category: "FINANCIAL_INFORMATION", Count: int64(n)}},
	}
	for row := range n {
		f.Occurrences = append(f.Occurrences, coffer.Occurrence{N: row + 1, Type: coffer.BankAccountNumber, Source: coffer.FromFinding,
			At: coffer.Location{Kind: coffer.Cell, Row: int64(row) + 2, Column: 2}})
	}
	return macie.Document{Kind: macie.KindFinding, Finding: &f, ID: f.ID, Object: f.Object}
}

// TestNoHotPart takes findings in at the pace of a burst and counts the write units of each part of the store. DynamoDB bears 1,000 a
// second for a part. A window is 1,000 findings, which is a second of such a burst; the log is sequenced once in it.
func TestNoHotPart(t *testing.T) {
	const window, bears = 1000, 1000.0
	windows := 2
	if os.Getenv("COFFER_TEST_FULL") != "" {
		windows = 100
	}
	w, db, headers := metered(t, new(storemem.DB), new(storemem.DB))
	total, keys := 0.0, map[string]bool{}
	type share struct {
		part  string
		units float64
	}
	hottest := map[string]share{} // of each kind, the part with most units in a window
	sums := map[string]float64{}  // of each kind
	for n := range windows {
		db.reset()
		headers.reset()
		docs := make(chan macie.Document)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for d := range docs {
					res, err := w.a.Pipeline.TakeDocument(w.ctx, w.ask(), d, coffer.OriginOperator, "queue")
					if err != nil || res.Sealed != 1 {
						t.Errorf("%s: %v", res.Status, err)
					}
				}
			})
		}
		for i := range window {
			docs <- w.reported(n*window+i, 1)
		}
		close(docs)
		wg.Wait()
		if err := w.a.Log.Sequence(w.ctx); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*meter{db, headers} {
			for part, u := range m.parts {
				keys[part] = true
				total += u
				k := kind(part)
				sums[k] += u
				if u > hottest[k].units {
					hottest[k] = share{part, u}
				}
			}
		}
	}
	findings := float64(windows * window)
	t.Logf("%.0f findings, %.0f write units (%.1f each) to %d parts", findings, total, total/findings, len(keys))
	t.Logf("%-14s %12s %8s   units to one part in a second, of %.0f", "kind", "units", "share", bears)
	for _, k := range slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Compare(sums[b], sums[a]) }) {
		t.Logf("%-14s %12.0f %7.1f%%   %.0f", k, sums[k], 100*sums[k]/total, hottest[k].units)
		if hottest[k].units > bears {
			t.Errorf("part %s is written with %.0f units a second at %d findings a second", hottest[k].part, hottest[k].units, window)
		}
	}
	for _, k := range []string{"F#*", "V#*", "H#*", "I#*", "L#*", "O#*", "audit/entry/*"} {
		if sums[k] == 0 {
			t.Errorf("nothing was counted for %s", k)
		}
	}
}

// cost is what a step consumed.
type cost struct {
	calls       map[string]int
	write, read float64
	least       float64 // write units, at least
}

// measure runs a step and returns what it consumed. The least is that every item that the step leaves is written once, alone; but
// entries in the log go with the change that they report, in a transaction, which counts twice, as far as there are changes:
// records is how many states of a finding's or plan's record have to be durable one after the other, entries in how many of them
// an entry goes with it.
func measure(t testing.TB, db, headers *meter, records, entries int, step func() error) cost {
	t.Helper()
	before := map[store.Key]float64{}
	for _, m := range []*meter{db, headers} {
		m.reset()
		maps.Copy(before, m.items)
	}
	if err := step(); err != nil {
		t.Fatal(err)
	}
	c := cost{calls: map[string]int{}}
	reports := entries
	for _, m := range []*meter{db, headers} {
		for k, n := range m.calls {
			c.calls[k] += n
		}
		c.write += m.write
		c.read += m.read
		for k, u := range m.items {
			written, record := m.parts[k.Part] > 0, k.Sort == "meta"
			switch kind := kind(k.Part); {
			case written && record:
				c.least += u * float64(records+entries)
			case written && kind == "L#*" && before[k] != 0:
				c.least += 2 * u // the list entry follows the record
			case before[k] != 0:
			case kind == "audit/entry/*" && reports > 0:
				c.least += 2 * u
				reports--
			case kind == "L#*":
				c.least += 2 * u
			default:
				c.least += u
			}
		}
	}
	return c
}

// TestCosts prints what a finding, a reveal and a fix consume, compares it with the least possible and holds it to a multiple of that:
// what is above the least are the checks of the record's version, the lists that follow each state, the occurrences, stored when the
// finding is received and again with their outcomes, and all that is written in transactions although it could be written alone.
func TestCosts(t *testing.T) {
	for _, n := range []int{1, 40, 1000} {
		costs(t, n)
	}
}

func costs(t *testing.T, n int) {
	w, db, headers := metered(t, new(storemem.DB), new(storemem.DB))
	warm := w.reported(1, 1) // the first finding pays for the registration of the log's writer
	if _, err := w.a.Pipeline.TakeDocument(w.ctx, w.ask(), warm, coffer.OriginOperator, "queue"); err != nil {
		t.Fatal(err)
	}
	d := w.reported(2, n)
	// A finding's record is received, claimed, sealed and tagged, each durable before what follows; all but the claim have an entry.
	seal := measure(t, db, headers, 4, 3, func() error {
		res, err := w.a.Pipeline.TakeDocument(w.ctx, w.ask(), d, coffer.OriginOperator, "queue")
		if res.Sealed != n {
			t.Errorf("%d of %d sealed: %s", res.Sealed, n, res.Reason)
		}
		return err
	})
	ask := w.ask()
	ask.Context.Reason, ask.Context.Note = "investigation", "what does it cost"
	reveal := measure(t, db, headers, 0, 0, func() error {
		out, err := w.a.Vault.Reveal(w.ctx, ask, d.ID, n)
		for _, r := range out {
			r.Plain.Wipe()
		}
		return err
	})
	var p *remedy.Plan
	plan := measure(t, db, headers, 1, 1, func() (err error) {
		g, err := w.a.Remedy.Groups(w.ctx, d.ID)
		if err != nil {
			return err
		}
		p, err = w.a.Remedy.Plan(w.ctx, w.ask(), g[0], remedy.Options{Action: remedy.Redact})
		return err
	})
	// A plan is applying, has its original kept, its result recorded, and is applied.
	fix := measure(t, db, headers, 4, 4, func() error {
		q, err := w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
		if err == nil && q.State != remedy.Applied {
			t.Errorf("apply: %s: %s", q.State, q.Reason)
		}
		return err
	})
	for _, row := range []struct {
		name string
		cost
	}{{"seal", seal}, {"reveal one", reveal}, {"plan", plan}, {"apply", fix}} {
		t.Logf("%4d values, %-10s: %3d Apply, %3d Get, %3d Query; %6.0f write units (at least %6.0f), %5.0f read units", n, row.name,
			row.calls["Apply"], row.calls["Get"], row.calls["Query"], row.write, row.least, row.read)
		if row.write > 3*row.least {
			t.Errorf("%s of %d values writes %.0f units, more than three times the least", row.name, n, row.write)
		}
		if row.name == "reveal one" && row.read > 8 {
			t.Errorf("revealing one of %d values reads %.0f units", n, row.read)
		}
	}
}

// TestCostsOnDynamoDB compares the meter with what DynamoDB Local says that it consumed. Of a transaction it reports one operation
// alone, and checks not at all, so that transactions are compared as an upper bound; the rule for them is AWS's: twice, for each
// operation.
func TestCostsOnDynamoDB(t *testing.T) {
	endpoint := lookalike.DynamoDB(t)
	var mu sync.Mutex
	var reads, alone, together float64
	transaction := false
	open := func(table string) store.DB {
		c := dynamo.Config{AWS: aws.Config{Region: lookalike.Region, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: lookalike.AccessKey, SecretAccessKey: lookalike.SecretKey}, nil
		})}, Endpoint: endpoint, Table: table, Consumed: func(read, write float64) {
			mu.Lock()
			defer mu.Unlock()
			reads += read
			if transaction {
				together += write
			} else {
				alone += write
			}
		}}
		if err := dynamo.Create(t.Context(), c, dynamo.Options{}); err != nil {
			t.Fatal(err)
		}
		db, err := dynamo.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return tell{db, func(ops int) {
			mu.Lock()
			defer mu.Unlock()
			transaction = ops > 1
		}}
	}
	w, db, headers := metered(t, open("costs"), open("costs-keys"))
	db.reset()
	headers.reset()
	reads, alone, together = 0, 0, 0
	for i, n := range []int{1, 40, 300} {
		res, err := w.a.Pipeline.TakeDocument(w.ctx, w.ask(), w.reported(i, n), coffer.OriginOperator, "queue")
		if err != nil || res.Sealed != n {
			t.Fatalf("%d of %d sealed: %v", res.Sealed, n, err)
		}
	}
	t.Logf("units: reads %.0f, by the meter %.0f; writes alone %.0f, %.0f; in transactions %.0f, %.0f", reads, db.read+headers.read,
		alone, db.alone+headers.alone, together, db.write+headers.write-db.alone-headers.alone)
	if db.read+headers.read != reads || db.alone+headers.alone != alone || db.write+headers.write-alone < together || alone == 0 || together == 0 {
		t.Error("the meter is wrong")
	}
}

// tell is a DB that says beforehand how many operations an Apply has.
type tell struct {
	store.DB
	apply func(ops int)
}

func (d tell) Apply(ctx context.Context, ops ...store.Op) error {
	d.apply(len(ops))
	return d.DB.Apply(ctx, ops...)
}
