package vault_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	keysmem "coffer/envelope/mem"
	"coffer/grant"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
	"coffer/triage"
	"coffer/vault"
)

// world is a vault on memory adapters that share one injector, with two findings: f-1 and f-2, both of account numbers, which have one
// number in common.
type world struct {
	*vault.Vault
	t       *testing.T
	ctx     context.Context
	in      *fault.Injector
	db      *mem.DB
	headers *mem.DB
	keys    *keysmem.Keys
	log     *audit.Log
	at      time.Time
}

const (
	common = "1405270021"
	own    = "89102913724"
	theirs = "004417792051"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), in: fault.New(), at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.db, w.headers, w.keys = &mem.DB{Fault: w.in}, &mem.DB{Fault: w.in}, &keysmem.Keys{Fault: w.in}
	w.start()
	w.seal("f-1", nil, common, own)
	w.seal("f-2", nil, theirs, "1405-270 021") // the same number, written otherwise
	return w
}

// start begins a run of the program on what the adapters hold.
func (w *world) start() {
	w.t.Helper()
	policy, err := access.Load(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = audittest.Open(w.t, w.db, w.t.TempDir(), w.now, nil)
	guard := &audit.Guard{Log: w.log, Policy: policy}
	records := triage.Records{DB: w.db}
	w.Vault = &vault.Vault{
		DB: w.db, Headers: w.headers, Keys: w.keys, Guard: guard, Records: records, Now: w.now,
		Grants: &grant.Grants{DB: w.db, Records: records, Guard: guard, Scrub: func(s string) string { return s }, Now: w.now},
		MAC: func(label string, b []byte) []byte {
			m := hmac.New(sha256.New, []byte("key of tests "+label))
			m.Write(b)
			return m.Sum(nil)
		},
	}
}

func (w *world) now() time.Time { return w.at }

// seal stores a finding with its values sealed, and one occurrence more at which nothing was sealed.
func (w *world) seal(id string, change func(*triage.Record), values ...string) vault.Set {
	w.t.Helper()
	rec := &triage.Record{
		Finding: coffer.Finding{ID: id, Origin: coffer.OriginMacie, Severity: coffer.SeverityHigh, Object: coffer.Object{Bucket: "bank", Key: "exports/" + id}},
		State:   triage.StateSealed, Status: triage.Open, Generation: "g-" + id, ObjectID: "o-" + id, Count: len(values) + 1, Sealed: len(values),
	}
	rec.Finding.Detections = []coffer.Detection{{Type: coffer.BankAccountNumber, Count: int64(len(values))}}
	if change != nil {
		change(rec)
	}
	var lines []triage.Line
	var sealed []vault.Value
	for i, v := range values {
		o := coffer.Occurrence{N: i + 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: int64(i + 2), Column: 1}}
		lines = append(lines, triage.Line{Occurrence: o, Sealed: true, Outcome: coffer.OutcomeExact, Masked: "******"})
		sealed = append(sealed, vault.Value{N: o.N, Type: o.Type, At: o.At, Plain: coffer.NewPlaintext([]byte(v))})
	}
	lines = append(lines, triage.Line{Occurrence: coffer.Occurrence{N: len(values) + 1, Type: coffer.BankAccountNumber}, Outcome: coffer.OutcomeMissing})
	s := vault.Set{ID: id, Generation: rec.Generation}
	err := w.Deposit(w.ctx, nil, s, sealed)
	if err == nil {
		err = w.DB.Apply(w.ctx, append(rec.Save(), triage.SaveLines(id, lines)...)...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// exactly says that the set holds the values and no others.
func (w *world) exactly(s vault.Set, values []vault.Value) error {
	probes := make([]vault.Probe, len(values))
	for i, v := range values {
		probes[i] = w.Probe(s, v)
	}
	same, err := w.Verify(w.ctx, s, vault.Range{}, probes)
	if err == nil && slices.Contains(same, false) {
		err = coffer.ErrCorrupt
	}
	return err
}

// as is a person with these roles who signed in with two factors a minute ago, with a reason.
func (w *world) as(id string, roles ...string) access.Ask {
	return access.Ask{
		Caller: access.Caller{ID: id, Kind: access.UserCaller, Roles: roles},
		Context: access.Context{
			Now: w.at, SignedIn: w.at.Add(-time.Minute), MFA: true, Reason: "incident", Note: "customer asked about it", Ticket: "INC-7", Request: "req-1",
		},
	}
}

func (w *world) eve() access.Ask { return w.as("eve", access.RoleEngineer) }

// operator is the home's own, on the command line.
func (w *world) operator() access.Ask {
	a := w.as("op", access.RoleOperator)
	a.Caller.Kind, a.Context.Local = access.OperatorCaller, true
	return a
}

// indexed turns the index of account numbers on.
func (w *world) indexed() {
	w.t.Helper()
	if err := w.Index(w.ctx, w.as("po", access.RolePrivacyOfficer), []coffer.DataType{coffer.BankAccountNumber}, true); err != nil {
		w.t.Fatal(err)
	}
}

// show reveals and returns the values as text.
func (w *world) show(a access.Ask, finding string, ns ...int) ([]string, error) {
	got, err := w.Reveal(w.ctx, a, finding, ns...)
	var out []string
	for _, r := range got {
		out = append(out, string(r.Plain.Expose()))
		r.Plain.Wipe()
	}
	return out, err
}

// entries returns the log, oldest first, read beside the story.
func (w *world) entries() (out []audit.Entry) {
	w.t.Helper()
	w.in.Aside(func() {
		for e, err := range w.log.Entries(w.ctx, audit.Filter{}) {
			if err != nil {
				w.t.Fatal(err)
			}
			out = append(out, e)
		}
	})
	return out
}

// since returns the calls of the adapters that f makes.
func (w *world) since(f func()) []string {
	n := len(w.in.Trace())
	f()
	return w.in.Trace()[n:]
}

// opened reports whether among the calls is one that unwraps a key, without which nothing can be opened.
func opened(calls []string) bool { return slices.Contains(calls, "envelope.Unwrap") }

// silent demands that neither log, nor store, nor the error has one of the values.
func (w *world) silent(what string, err error) {
	w.t.Helper()
	var b bytes.Buffer
	for _, e := range w.entries() {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	w.in.Aside(func() {
		for _, db := range []store.DB{w.db, w.headers} {
			for it, err := range db.Scan(w.ctx, 0, 1) {
				if err != nil {
					w.t.Fatal(err)
				}
				fmt.Fprintf(&b, "%s %s %s\n", it.Key.Part, it.Key.Sort, it.Value)
			}
		}
	})
	fmt.Fprint(&b, err)
	for _, v := range []string{common, own, theirs} {
		if strings.Contains(b.String(), v) {
			w.t.Errorf("%s: a value of %d characters stands in log, store or error", what, len(v))
		}
	}
}

func (w *world) want(what string, err, is error) {
	w.t.Helper()
	if is == nil && err != nil || is != nil && !errors.Is(err, is) {
		w.t.Errorf("%s: %v, want %v", what, err, is)
	}
}
