package app

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit/audittest"
	envmem "coffer/envelope/mem"
	objmem "coffer/object/mem"
	"coffer/remedy"
	storemem "coffer/store/mem"
)

// TestQuestions: only who belongs to the installation is answered, whoever else may invoke the function.
func TestQuestions(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	open := func() *App {
		objects, originals := objmem.New(), objmem.New()
		objects.CreateBucket("statements")
		originals.CreateBucket(remedy.OriginalsBucket)
		files, key := audittest.Parts(t, t.TempDir())
		a, err := Assemble(t.Context(), Adapters{
			Objects: objects, Originals: originals, DB: &storemem.DB{}, Headers: &storemem.DB{}, Keys: &envmem.Keys{}, Log: files, LogKey: key,
		}, Config{}, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		a.role = Remedy
		return a
	}
	a, other := open(), open()
	look := question{Look: &lookQuestion{lookVersioning, coffer.Object{Bucket: "statements"}}}
	signed := func(a *App, q question) []byte {
		b, err := a.sign(q)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := signed(a, look)
	for range 2 { // asked again after an answer that was lost
		if out, err := a.Answer(t.Context(), good); err != nil || !Asked(good) || len(out) == 0 {
			t.Fatalf("a question of this installation: %v", err)
		}
	}
	changed := func(f func(*asked)) []byte {
		var q asked
		if err := json.Unmarshal(good, &q); err != nil {
			t.Fatal(err)
		}
		f(&q)
		b, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	forged, err := json.Marshal(question{Certify: &certifyQuestion{
		access.Ask{Caller: access.Caller{ID: "op-1", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}}, "plan-1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{
		"bare":                     forged,
		"another installation's":   signed(other, look),
		"without a hash":           changed(func(q *asked) { q.MAC = nil }),
		"another question":         changed(func(q *asked) { q.Question = string(forged) }),
		"an old one, made new":     changed(func(q *asked) { q.At = q.At.Add(time.Minute) }),
		"part of the hash":         changed(func(q *asked) { q.MAC = q.MAC[:16] }),
		"a hash under a role's id": changed(func(q *asked) { q.MAC = a.MAC("take", []byte(q.Question)) }),
	} {
		if out, err := a.Answer(t.Context(), payload); !errors.Is(err, coffer.ErrDenied) || out != nil {
			t.Errorf("%s: answered, %v", name, err)
		}
	}
	for _, d := range []time.Duration{askedFor + time.Second, -askedFor - time.Second} {
		now = now.Add(d)
		if _, err := a.Answer(t.Context(), good); !errors.Is(err, coffer.ErrDenied) {
			t.Errorf("%v later: %v", d, err)
		}
		now = now.Add(-d)
	}
	if _, err := a.Answer(t.Context(), signed(a, question{Verify: &verifyQuestion{}})); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("remedy is asked what verify is for: %v", err)
	}
}
