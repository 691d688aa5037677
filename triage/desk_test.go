package triage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/object"
	objectmem "coffer/object/mem"
	"coffer/store/mem"
)

// office is a desk with its log, in memory.
type office struct {
	*Desk
	t   *testing.T
	now time.Time
	log *audit.Log
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, now: time.Date(2026, 7, 15, 9, 0, 0, 0, time.UTC)}
	db := &mem.DB{}
	dir := t.TempDir()
	digits := regexp.MustCompile(`[0-9]{8,}`)
	scrub := func(b []byte) []byte { return digits.ReplaceAll(b, []byte("[removed]")) }
	var err error
	o.log = audittest.Open(t, db, dir, func() time.Time { return o.now }, scrub)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.log.Close() })
	policy, err := access.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Desk = &Desk{
		Records: Records{DB: db}, Guard: &audit.Guard{Log: o.log, Policy: policy}, Now: func() time.Time { return o.now },
		MAC: func(label string, b []byte) []byte {
			m := hmac.New(sha256.New, []byte("key of tests "+label))
			m.Write(b)
			return m.Sum(nil)
		},
		Scrub: func(s string) string { return string(scrub([]byte(s))) },
		Allow: func(string) bool { return true },
	}
	return o
}

// by is a person of a role who asks.
func by(id, role string) access.Ask {
	return access.Ask{Caller: access.Caller{ID: id, Name: id, Kind: access.UserCaller, Roles: []string{role}},
		Context: access.Context{Request: "req", MFA: true, SignedIn: time.Date(2026, 7, 15, 8, 59, 0, 0, time.UTC)}}
}

var engineer = by("eng", access.RoleEngineer)

func (o *office) add(id string, types ...coffer.DataType) *Record {
	o.t.Helper()
	r := &Record{
		Finding: coffer.Finding{
			ID: id, Type: "SensitiveData:S3Object/Financial", Origin: coffer.OriginMacie, CreatedAt: o.now, Region: "eu-west-1",
			Object: coffer.Object{Bucket: "bank", Key: "exports/" + id},
		},
		State: StateSealed, Status: Open, Received: o.now, ObjectID: "object-" + id,
	}
	for _, t := range types {
		r.Finding.Detections = append(r.Finding.Detections, coffer.Detection{Type: t, Count: 1})
	}
	var lines []Line
	for i := range 50 {
		lines = append(lines, Line{Occurrence: coffer.Occurrence{N: i + 1, Type: types[i%len(types)]}})
	}
	r.Count = len(lines)
	if err := o.Records.DB.Apply(o.t.Context(), append(r.Save(), SaveLines(id, lines)...)...); err != nil {
		o.t.Fatal(err)
	}
	return r
}

func (o *office) want(err, is error) {
	o.t.Helper()
	if !errors.Is(err, is) || is == nil && err != nil {
		o.t.Fatalf("error %v, want %v", err, is)
	}
}

func at(id string) Target { return Target{Finding: id} }

func TestJudge(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.add("f1", coffer.BankAccountNumber, coffer.PersonName)
	// One occurrence after the other; a changed mind counts once.
	for _, v := range []Verdict{True, FalsePositive} {
		_, err := o.Judge(ctx, engineer, Target{Finding: "f1", N: 41}, v, "account 12345678 of ours")
		o.want(err, nil)
	}
	rec, lines, err := o.Read(ctx, engineer, "f1")
	o.want(err, nil)
	if lines[40].Verdict != FalsePositive || lines[40].Note != "account [removed] of ours" || lines[41].Verdict != "" {
		t.Errorf("lines: %+v, %+v", lines[40], lines[41])
	}
	if s := rec.Summary(); !slices.Equal(s.FalsePositives, []coffer.DataType{coffer.BankAccountNumber}) || s.Confirmed != nil || rec.Status != Open {
		t.Errorf("after one occurrence: %+v", s)
	}
	rec, err = o.Judge(ctx, engineer, at("f1"), True, "")
	o.want(err, nil)
	if s := rec.Summary(); !slices.Equal(s.FalsePositives, []coffer.DataType{coffer.BankAccountNumber}) || !slices.Equal(s.Confirmed, []coffer.DataType{coffer.PersonName}) {
		t.Errorf("the occurrence's judgement is lost: %+v", s)
	}
	// Closed by a verdict, opened by another.
	rec, err = o.Judge(ctx, engineer, at("f1"), Intended, "")
	o.want(err, nil)
	if rec.Status != Closed || rec.Closing.By != "eng" {
		t.Errorf("%+v", rec)
	}
	rec, err = o.Judge(ctx, engineer, at("f1"), True, "")
	o.want(err, nil)
	if rec.Status != Open || rec.Closing != nil || rec.Opened.IsZero() {
		t.Errorf("%+v", rec)
	}
	_, err = o.Judge(ctx, engineer, at("f1"), "perhaps", "")
	o.want(err, coffer.ErrInvalid)
	_, err = o.Judge(ctx, engineer, Target{Finding: "f1", N: 51}, True, "")
	o.want(err, coffer.ErrNotFound)
	// What one has not seen one does not change.
	_, err = o.Judge(ctx, engineer, Target{Finding: "f1", Match: rec.Tag()}, FalsePositive, "")
	o.want(err, nil)
	_, err = o.Judge(ctx, engineer, Target{Finding: "f1", Match: rec.Tag()}, True, "")
	o.want(err, coffer.ErrConflict)
	_, err = o.Judge(ctx, by("aud", access.RoleAuditor), at("f1"), True, "")
	o.want(err, coffer.ErrDenied)
	_, err = o.Judge(ctx, engineer, at("f2"), True, "")
	o.want(err, coffer.ErrNotFound)
}

// TestWithdraw takes a verdict back, and what it did.
func TestWithdraw(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.add("f1", coffer.BankAccountNumber)
	_, err := o.Withdraw(ctx, engineer, at("f1"))
	o.want(err, coffer.ErrConflict)
	_, err = o.Judge(ctx, engineer, at("f1"), FalsePositive, "a test file")
	o.want(err, nil)
	rec, err := o.Withdraw(ctx, engineer, at("f1"))
	o.want(err, nil)
	if rec.Verdict != "" || rec.Status != Open || rec.Note != "" || rec.Closing != nil || !rec.Judged.IsZero() {
		t.Errorf("a verdict taken back leaves %s, %s", rec.Verdict, rec.Status)
	}
	// What was closed for another reason stays closed.
	_, err = o.Close(ctx, engineer, at("f1"), Closing{Disposition: "moved elsewhere"}, nil)
	o.want(err, nil)
	_, err = o.Judge(ctx, engineer, at("f1"), Intended, "")
	o.want(err, nil)
	if rec, err = o.Withdraw(ctx, engineer, at("f1")); err != nil || rec.Status != Closed {
		t.Errorf("%v, %s", err, rec.Status)
	}
	_, err = o.Withdraw(ctx, by("aud", access.RoleAuditor), at("f1"))
	o.want(err, coffer.ErrDenied)
}

// TestMute: a muted finding is left out where that is asked for, and is otherwise as it was.
func TestMute(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.add("f1", coffer.BankAccountNumber)
	o.add("f2", coffer.BankAccountNumber)
	rec, err := o.Mute(ctx, engineer, at("f1"), true)
	o.want(err, nil)
	if !rec.Muted || rec.Status != Open {
		t.Errorf("muted %v, %s", rec.Muted, rec.Status)
	}
	f, err := ParseFilter("muted=no")
	o.want(err, nil)
	list, err := o.List(ctx, engineer, f)
	if o.want(err, nil); len(list) != 1 || list[0].ID != "f2" {
		t.Errorf("not muted: %v", list)
	}
	_, err = o.Mute(ctx, by("aud", access.RoleAuditor), at("f1"), false)
	o.want(err, coffer.ErrDenied)
	rec, err = o.Mute(ctx, engineer, at("f1"), false)
	if o.want(err, nil); rec.Muted {
		t.Error("still muted")
	}
	b, err := o.Beside(ctx, engineer, f, "", "f1")
	if o.want(err, nil); b.Of != 2 || b.At == 0 || b.Prev+b.Next != "f2" {
		t.Errorf("beside %v", b)
	}
	_, err = o.Beside(ctx, by("nobody", "none"), f, "", "f1")
	o.want(err, coffer.ErrDenied)
}

func TestClose(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	no := false
	full := Closing{Disposition: "migrated 1234567890", Origin: "export job", CorrectiveAction: "job stopped"}
	o.add("card", coffer.CardNumber)
	o.add("track", "EMPLOYEE TRACK1")
	o.add("name", coffer.PersonName)
	for _, id := range []string{"card", "track"} {
		rec, err := o.Judge(ctx, engineer, at(id), Intended, "")
		o.want(err, nil)
		if rec.Status != Open {
			t.Fatalf("%s was closed without what PCI DSS asks", id)
		}
		for drop := range 4 {
			c, authentication := full, &no
			switch drop {
			case 0:
				c.Disposition = " "
			case 1:
				c.Origin = ""
			case 2:
				c.CorrectiveAction = ""
			case 3:
				authentication = nil
			}
			_, err := o.Close(ctx, engineer, at(id), c, authentication)
			o.want(err, coffer.ErrInvalid)
		}
		rec, err = o.Close(ctx, engineer, at(id), full, &no)
		o.want(err, nil)
		if rec.Status != Closed || rec.Closing.Disposition != "migrated [removed]" || rec.Closing.At != o.now || rec.Closing.By != "eng" {
			t.Errorf("%+v", rec.Closing)
		}
	}
	_, err := o.Close(ctx, engineer, at("card"), full, &no)
	o.want(err, coffer.ErrConflict)
	_, err = o.Close(ctx, engineer, at("name"), Closing{Disposition: "moved"}, nil)
	o.want(err, nil)
	_, err = o.Reopen(ctx, engineer, at("name"))
	o.want(err, nil)
	// A false positive is no card data.
	_, err = o.Reopen(ctx, engineer, at("card"))
	o.want(err, nil)
	rec, err := o.Judge(ctx, engineer, at("card"), FalsePositive, "")
	o.want(err, nil)
	if rec.Status != Closed {
		t.Error("a false positive stays open")
	}
}

func TestWork(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.add("f1", coffer.PersonName)
	rec, err := o.Begin(ctx, engineer, at("f1"))
	o.want(err, nil)
	if rec.Status != InProgress || !rec.Status.Active() {
		t.Error(rec.Status)
	}
	_, err = o.Begin(ctx, engineer, at("f1"))
	o.want(err, coffer.ErrConflict)
	_, err = o.Stop(ctx, engineer, at("f1"))
	o.want(err, nil)
	_, err = o.Reopen(ctx, engineer, at("f1"))
	o.want(err, coffer.ErrConflict)
	_, err = o.Assign(ctx, engineer, at("f1"), "not an id")
	o.want(err, coffer.ErrInvalid)
	_, err = o.Assign(ctx, engineer, at("f1"), "eng-2")
	o.want(err, nil)
	for _, bad := range [][]string{{""}, {"two words"}, {"4111111111111111"}, {strings.Repeat("x", 201)}, slices.Collect(func(yield func(string) bool) {
		for i := range MaxTickets + 1 {
			yield(fmt.Sprint(i))
		}
	})} {
		_, err = o.SetTickets(ctx, engineer, at("f1"), bad)
		o.want(err, coffer.ErrInvalid)
	}
	rec, err = o.SetTickets(ctx, engineer, at("f1"), []string{"B-2", "A-1", "B-2"})
	o.want(err, nil)
	if !slices.Equal(rec.Tickets, []string{"A-1", "B-2"}) {
		t.Error(rec.Tickets)
	}
	for i := range 12 {
		_, err = o.AddNote(ctx, engineer, at("f1"), fmt.Sprintf(" note %d about 4111111111111111\n", i))
		o.want(err, nil)
		o.now = o.now.Add(-time.Minute) // whatever the clock does, notes stay in order
	}
	_, err = o.AddNote(ctx, engineer, at("f1"), " ")
	o.want(err, coffer.ErrInvalid)
	notes, err := o.Notes(ctx, engineer, "f1")
	o.want(err, nil)
	if len(notes) != 12 || notes[11].Text != "note 11 about [removed]" || notes[0].By != "eng" {
		t.Errorf("%+v", notes)
	}
	// All of it is in the log, and nothing of what was written.
	o.want(o.log.Sequence(ctx), nil)
	changes := 0
	for e, err := range o.log.Entries(ctx, audit.Filter{}) {
		o.want(err, nil)
		if e.Detail["change"] != "" && e.Outcome == audit.Done {
			changes++
		}
		if b, _ := json.Marshal(e); bytes.Contains(b, []byte("4111")) || bytes.Contains(b, []byte("about")) {
			t.Error("a note in the log")
		}
	}
	if changes != 2+1+1+12 {
		t.Errorf("%d changes in the log", changes)
	}
}

func TestBulk(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	for i := range 5 {
		o.add(fmt.Sprint("f", i), coffer.PersonName)
	}
	assign := func(ctx context.Context, t Target) (*Record, error) { return o.Assign(ctx, engineer, t, "eng") }
	f, err := ParseFilter("owner=")
	o.want(err, nil)
	_, err = o.Bulk(ctx, engineer, Selection{Filter: f, Count: 4}, assign)
	o.want(err, coffer.ErrConflict)
	_, err = o.Bulk(ctx, engineer, Selection{}, assign)
	o.want(err, coffer.ErrInvalid)
	results, err := o.Bulk(ctx, engineer, Selection{IDs: []string{"f1", "no", "f2"}}, assign)
	o.want(err, nil)
	if len(results) != 3 || results[0].Err != nil || !errors.Is(results[1].Err, coffer.ErrNotFound) || results[2].Record.Owner != "eng" {
		t.Errorf("%+v", results)
	}
	results, err = o.Bulk(ctx, engineer, Selection{Filter: f, Count: 3}, assign)
	o.want(err, nil)
	if len(results) != 3 {
		t.Error(len(results))
	}
	// An outage is not asked about again for each.
	tried := 0
	results, err = o.Bulk(ctx, engineer, Selection{IDs: []string{"f0", "f1", "f2"}}, func(context.Context, Target) (*Record, error) {
		tried++
		return nil, coffer.ErrUnavailable
	})
	o.want(err, nil)
	if tried != 1 || !errors.Is(results[2].Err, coffer.ErrUnavailable) {
		t.Error(tried, results)
	}
}

func TestCursors(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	for i := range 7 {
		o.add(fmt.Sprint("f", i), coffer.PersonName)
	}
	f, _ := ParseFilter("status=open")
	q := PageQuery{Filter: f, Limit: 3}
	p, err := o.Page(ctx, engineer, q)
	o.want(err, nil)
	if len(p.Findings) != 3 || p.Total != 7 || p.Next == "" || p.Prev != "" {
		t.Fatalf("%+v", p)
	}
	good := p.Next
	for i := range good {
		b := []byte(good)
		if b[i]++; i == len(b)-1 {
			continue // the last character can hold bits that are not used
		}
		q.Cursor = string(b)
		_, err := o.Page(ctx, engineer, q)
		o.want(err, coffer.ErrInvalid)
	}
	q.Cursor = good
	_, err = o.Page(ctx, by("other", access.RoleEngineer), q)
	o.want(err, coffer.ErrInvalid)
	other := q
	other.Filter, _ = ParseFilter("status=open", "owner=")
	_, err = o.Page(ctx, engineer, other)
	o.want(err, coffer.ErrInvalid)
	other = q
	other.Order = OldestFirst
	_, err = o.Page(ctx, engineer, other)
	o.want(err, coffer.ErrInvalid)
	p, err = o.Page(ctx, engineer, q)
	o.want(err, nil)
	if p.First != 4 || p.Findings[0].ID != "f3" {
		t.Errorf("%+v", p)
	}
}

func TestViews(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	other := by("other", access.RoleEngineer)
	o.want(o.SaveView(ctx, engineer, View{Name: "mine", Filter: []string{"created.gte=-7d", "key=a\\,b"}}), nil)
	o.want(o.SaveView(ctx, engineer, View{Name: "ours", Shared: true, Filter: []string{"status=open"}}), nil)
	o.want(o.SaveView(ctx, other, View{Name: "ours", Shared: true}), coffer.ErrDenied)
	o.want(o.DeleteView(ctx, other, "ours", true), coffer.ErrDenied)
	o.want(o.DeleteView(ctx, other, "mine", false), coffer.ErrNotFound)
	o.want(o.SaveView(ctx, engineer, View{Name: "x", Filter: []string{"colour=red"}}), coffer.ErrInvalid)
	o.want(o.SaveView(ctx, engineer, View{Name: "x", Filter: []string{"q=4111111111111111"}}), coffer.ErrInvalid)
	o.want(o.SaveView(ctx, engineer, View{Name: " "}), coffer.ErrInvalid)
	views, err := o.Views(ctx, other)
	o.want(err, nil)
	if len(views) != 1 || views[0].Name != "ours" || views[0].By != "eng" {
		t.Errorf("%+v", views)
	}
	views, err = o.Views(ctx, engineer)
	o.want(err, nil)
	if len(views) != 2 || !slices.Equal(views[0].Filter, []string{"created.gte=-7d", "key=a\\,b"}) {
		t.Errorf("%+v", views)
	}
	match := views[0].Match
	o.want(o.SaveView(ctx, engineer, View{Name: "mine", Match: match}), nil)
	o.want(o.SaveView(ctx, engineer, View{Name: "mine", Match: match}), coffer.ErrConflict)
	o.want(o.DeleteView(ctx, engineer, "mine", false), nil)
}

func TestProtections(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	objects := objectmem.New()
	o.Objects = objects
	r := o.add("f1", coffer.PersonName)
	r.Finding.OnBucket = coffer.Protection{Encryption: "aws:kms", KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/k1", PublicAccess: "UNKNOWN", Tags: []coffer.Tag{{Key: "team", Value: "a"}}}
	r.Finding.OnObject = coffer.Protection{Encryption: "NONE", PublicAccess: "PUBLIC"}
	o.want(o.Records.DB.Apply(ctx, r.Save()...), nil)
	_, err := o.Protections(ctx, engineer, "f1")
	o.want(err, nil) // the bucket is gone: there is what was reported
	objects.CreateBucket("bank")
	all, err := o.Protections(ctx, engineer, "f1")
	o.want(err, nil)
	got := map[string]Protected{}
	for _, p := range all {
		got[p.Of+" "+p.What] = p
	}
	if p := got["bucket encryption"]; !p.Differs || p.Reported != "aws:kms" || p.Now != object.NotEncrypted {
		t.Errorf("%+v", p)
	}
	if p := got["bucket public access"]; p.Differs || p.Now != object.NotPublic {
		t.Errorf("unknown then is no difference: %+v", p)
	}
	if p := got["bucket tag team"]; p.Differs || p.Now != object.Unknown {
		t.Errorf("unknown now is no difference: %+v", p)
	}
	if !sameKey("arn:aws:kms:eu-west-1:111122223333:key/k1", "k1") || sameKey("k1", "k2") {
		t.Error("keys")
	}
	o.Allow = func(string) bool { return false }
	_, err = o.Protections(ctx, engineer, "f1")
	o.want(err, coffer.ErrDenied)
	o.Allow = func(string) bool { return true }
	r.Finding.Origin = coffer.OriginSubmitted
	o.want(o.Records.DB.Apply(ctx, r.Save()...), nil)
	_, err = o.Protections(ctx, engineer, "f1")
	o.want(err, coffer.ErrDenied)
}

// TestWilson: figures of E. B. Wilson's interval as R's prop.test(k, n, correct = FALSE) prints them.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{9, 41, 0.1200, 0.3671}, {0, 10, 0, 0.2775}, {10, 10, 0.7225, 1}, {1, 2, 0.0945, 0.9055}} {
		low, high := wilson(c.k, c.n)
		if math.Abs(low-c.low) > 0.0002 || math.Abs(high-c.high) > 0.0002 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

func TestSuppressions(t *testing.T) {
	finding := func(id, bucket, key string, wrong, right []coffer.DataType, types ...coffer.DataType) Summary {
		return Summary{ID: id, Type: "SensitiveData:S3Object/Personal", Region: "eu-west-1", Object: coffer.Object{Bucket: bucket, Key: key},
			Types: types, FalsePositives: wrong, Confirmed: right}
	}
	name := []coffer.DataType{coffer.PersonName}
	all := []Summary{
		// A folder where all judged were wrong, beside one where a name was a name.
		finding("1", "b", "parts/it's/1", name, nil, coffer.PersonName), finding("2", "b", "parts/it's/2", name, nil, coffer.PersonName),
		finding("3", "b", "parts/it's/3", name, nil, coffer.PersonName), finding("4", "b", "parts/it's/4", nil, nil, coffer.PersonName),
		finding("5", "b", "people/1", nil, name, coffer.PersonName),
		// With another type beside it: the rule does not touch it, so it does not count.
		finding("6", "b", "parts/it's/5", nil, name, coffer.PersonName, coffer.CardNumber),
		// A whole bucket.
		finding("7", "c", "x/1", name, nil, coffer.PersonName), finding("8", "c", "y/1", name, nil, coffer.PersonName), finding("9", "c", "z", name, nil, coffer.PersonName),
		// Too few.
		finding("10", "d", "1", name, nil, coffer.PersonName), finding("11", "d", "2", name, nil, coffer.PersonName),
	}
	got := review(all).Suppressions
	if len(got) != 2 || got[0].Bucket != "b" || got[0].Prefix != "parts/" || got[0].Findings != 3 || got[0].Covers != 4 || got[1].Bucket != "c" || got[1].Prefix != "" {
		t.Fatalf("%+v", got)
	}
	c := got[0].Input.FindingCriteria.Criterion
	if keys := c["resourcesAffected.s3Object.key"].Eq; len(keys) != 4 || keys[0] != "parts/it's/1" {
		t.Errorf("keys %v", keys)
	}
	if e := c["classificationDetails.result.sensitiveData.detections.type"].EqExactMatch; !slices.Equal(e, []string{"NAME"}) {
		t.Errorf("types %v", e)
	}
	if _, ok := got[1].Input.FindingCriteria.Criterion["resourcesAffected.s3Object.key"]; ok {
		t.Error("a rule for a bucket names keys")
	}
	if cmd := got[0].Command(); !strings.Contains(cmd, `it'\''s`) || !strings.HasPrefix(cmd, "aws macie2 create-findings-filter --region 'eu-west-1' --cli-input-json '{") {
		t.Error(cmd)
	}
}

// TestAttempts: a change that is repeated under its name, because the process died before the answer, is made once; others are not held up.
func TestAttempts(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	rec := o.add("f1", coffer.BankAccountNumber)
	target := Target{Finding: "f1", Match: rec.Tag(), Attempt: "first"}
	yes := false
	steps := []struct {
		name string
		do   func(Target) (*Record, error)
	}{
		{"note", func(t Target) (*Record, error) { return o.AddNote(ctx, engineer, t, "seen by the owner") }},
		{"begin", func(t Target) (*Record, error) { return o.Begin(ctx, engineer, t) }},
		{"close", func(t Target) (*Record, error) {
			return o.Close(ctx, engineer, t, Closing{Disposition: "migrated"}, &yes)
		}},
		{"reopen", func(t Target) (*Record, error) { return o.Reopen(ctx, engineer, t) }},
		{"verdict", func(t Target) (*Record, error) {
			t.N = 3
			return o.Judge(ctx, engineer, t, True, "")
		}},
	}
	for _, s := range steps {
		target.Attempt = s.name
		first, err := s.do(target)
		o.want(err, nil)
		again, err := s.do(target) // with the tag of the state before: it was this change that made another
		o.want(err, nil)
		if first.Revision != again.Revision || again.Revision != rec.Revision+1 {
			t.Errorf("%s: revisions %d, %d, %d", s.name, rec.Revision, first.Revision, again.Revision)
		}
		rec, target.Match = again, again.Tag()
	}
	if notes, err := o.Notes(ctx, engineer, "f1"); err != nil || len(notes) != 1 {
		t.Errorf("%d notes, %v", len(notes), err)
	}
	// The same words under another name are another note, and what anybody may not do they may not repeat.
	_, err := o.AddNote(ctx, engineer, Target{Finding: "f1", Attempt: "second"}, "seen by the owner")
	o.want(err, nil)
	_, err = o.AddNote(ctx, by("aud", access.RoleAuditor), Target{Finding: "f1", Attempt: "second"}, "seen by the owner")
	o.want(err, coffer.ErrDenied)
	_, err = o.AddNote(ctx, engineer, Target{Finding: "f1", Attempt: strings.Repeat("x", 65)}, "seen by the owner")
	o.want(err, coffer.ErrInvalid)
	repeated := 0
	for e, err := range o.log.Entries(ctx, audit.Filter{}) {
		o.want(err, nil)
		if e.Detail["repeated"] != "" {
			repeated++
		}
	}
	if repeated != len(steps) {
		t.Errorf("%d repetitions on record, want %d", repeated, len(steps))
	}
	// Names are kept for the last changes alone.
	for i := range 2 * keptAttempts {
		rec, err = o.AddNote(ctx, engineer, Target{Finding: "f1", Attempt: fmt.Sprint(i)}, "one of many")
		o.want(err, nil)
	}
	if len(rec.Attempts) != keptAttempts || rec.Attempts[keptAttempts-1] != fmt.Sprint(2*keptAttempts-1) {
		t.Errorf("kept %v", rec.Attempts)
	}
}

// createFindingsFilter is CreateFindingsFilterRequest of Macie's API as documented, every member of it:
// https://docs.aws.amazon.com/macie/latest/APIReference/findingsfilters.html
type createFindingsFilter struct {
	Action          string            `json:"action"`      // required: ARCHIVE or NOOP
	ClientToken     string            `json:"clientToken"` // filled in by the SDKs
	Description     string            `json:"description"` // at most 512 characters
	FindingCriteria *findingCriteria  `json:"findingCriteria"`
	Name            string            `json:"name"` // required: 3 to 64 characters
	Position        int               `json:"position"`
	Tags            map[string]string `json:"tags"`
}

type findingCriteria struct {
	Criterion map[string]struct {
		Eq           []string `json:"eq"`           // any of these
		EqExactMatch []string `json:"eqExactMatch"` // exactly these
		Gt           *int64   `json:"gt"`
		Gte          *int64   `json:"gte"`
		Lt           *int64   `json:"lt"`
		Lte          *int64   `json:"lte"`
		Neq          []string `json:"neq"`
	} `json:"criterion"`
}

// filterable are the fields that proposals may use, by their documented names; for each, whether eqExactMatch is possible:
// https://docs.aws.amazon.com/macie/latest/user/findings-filter-fields.html
var filterable = map[string]bool{
	"type":                            false,
	"resourcesAffected.s3Bucket.name": false,
	"resourcesAffected.s3Object.key":  false,
	"classificationDetails.result.sensitiveData.detections.type":         true,
	"classificationDetails.result.customDataIdentifiers.detections.name": true,
}

// TestSuppressionIsMaciesInput decodes proposals strictly into the documented request, and looks whether Macie would do with them what is
// said: archive what was judged wrong, and nothing that was judged right or has something else in it.
func TestSuppressionIsMaciesInput(t *testing.T) {
	finding := func(id, kind, key string, wrong bool, types ...coffer.DataType) Summary {
		s := Summary{ID: id, Type: kind, Region: "eu-west-1", Object: coffer.Object{Bucket: "bank", Key: key}, Types: types}
		if wrong {
			s.FalsePositives = types
		}
		return s
	}
	const personal, custom, multiple = "SensitiveData:S3Object/Personal", "SensitiveData:S3Object/CustomIdentifier", "SensitiveData:S3Object/Multiple"
	var all []Summary
	for i := range 3 {
		all = append(all,
			finding(fmt.Sprint("p", i), personal, fmt.Sprintf("parts/ü \"%d\"", i), true, coffer.PersonName),
			finding(fmt.Sprint("c", i), custom, fmt.Sprintf("codes/%d", i), true, "House number"))
	}
	beside := finding("m", multiple, "parts/both", false, coffer.PersonName, "House number")
	right := finding("r", personal, "people/1", false, coffer.PersonName)
	right.Confirmed = right.Types
	all = append(all, beside, right)
	got := review(all).Suppressions
	if len(got) != 2 {
		t.Fatalf("%d proposals", len(got))
	}
	for _, s := range got {
		b := encode(s.Input)
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		var in createFindingsFilter
		if err := dec.Decode(&in); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if in.Action != "ARCHIVE" || len(in.Name) < 3 || len(in.Name) > 64 || len(in.Description) > 512 || in.FindingCriteria == nil || len(in.FindingCriteria.Criterion) < 3 {
			t.Errorf("not what the API takes: %s", b)
		}
		for field, c := range in.FindingCriteria.Criterion {
			exact, known := filterable[field]
			if !known || len(c.Eq)+len(c.EqExactMatch) == 0 || len(c.EqExactMatch) > 0 && !exact || len(c.Eq) > suppressKeys {
				t.Errorf("condition on %s: %+v", field, c)
			}
		}
		archives := func(f *Summary) bool {
			for field, c := range in.FindingCriteria.Criterion {
				var have []string
				switch field {
				case "type":
					have = []string{f.Type}
				case "resourcesAffected.s3Bucket.name":
					have = []string{f.Object.Bucket}
				case "resourcesAffected.s3Object.key":
					have = []string{f.Object.Key}
				default:
					// A rule sees the managed identifiers of a finding, or the custom ones, and nothing of the others.
					for _, x := range f.Types {
						if (x == "House number") == strings.Contains(field, "custom") {
							have = append(have, string(x))
						}
					}
				}
				if len(c.Eq) > 0 && !slices.ContainsFunc(have, func(h string) bool { return slices.Contains(c.Eq, h) }) ||
					len(c.EqExactMatch) > 0 && !slices.Equal(slices.Sorted(slices.Values(have)), c.EqExactMatch) {
					return false
				}
			}
			return true
		}
		covers := 0
		for i := range all {
			switch yes := archives(&all[i]); {
			case yes && len(all[i].FalsePositives) == 0:
				t.Errorf("the rule for %s archives finding %s", s.Type, all[i].ID)
			case yes:
				covers++
			}
		}
		if covers != 3 || covers != s.Covers {
			t.Errorf("the rule for %s archives %d findings, and says %d", s.Type, covers, s.Covers)
		}
	}
	// The same beside it in the same place, where the whole bucket is proposed: only the finding's own type tells them apart.
	all = []Summary{beside}
	for i := range 3 {
		all = append(all, finding(fmt.Sprint("p", i), personal, fmt.Sprint("x/", i), true, coffer.PersonName))
	}
	got = review(all).Suppressions
	if len(got) != 1 || got[0].Prefix != "" || !slices.Equal(got[0].Input.FindingCriteria.Criterion["type"].Eq, []string{personal}) {
		t.Errorf("%+v", got)
	}
}
