package app_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/envelope"
	"coffer/envelope/keyfile"
	"coffer/envelope/kms"
	"coffer/internal/awsfake/kmsfake"
	"coffer/object"
	objmem "coffer/object/mem"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/store"
	storemem "coffer/store/mem"
)

const bucket = "moontrust-statements"

// site is what the processes of an installation share: stores and a clock.
type site struct {
	t         testing.TB
	objects   *objmem.Store
	originals *objmem.Store
	db        *storemem.DB
	headers   *storemem.DB
	dir       string
	processes int
	minutes   atomic.Int64
}

func newSite(t testing.TB) *site {
	s := &site{t: t, objects: objmem.New(), originals: objmem.New(), db: &storemem.DB{}, headers: &storemem.DB{}, dir: memoryDir(t)}
	s.objects.CreateBucket(bucket)
	s.originals.CreateBucket(remedy.OriginalsBucket)
	return s
}

// memoryDir is a folder in memory where the system has one: the log syncs its files.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "coffer-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *site) now() time.Time {
	return time.Date(2026, 7, 15, 9, 0, 0, 0, time.UTC).Add(time.Duration(s.minutes.Load()) * time.Minute)
}

func (s *site) ask() access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: "op-1", Name: "tester", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}},
		Context: access.Context{Now: s.now(), Local: true},
	}
}

// start is a new process with these keys; headers replaces the key table unless it is nil.
func (s *site) start(keys envelope.Keys, headers store.DB) *app.App {
	s.t.Helper()
	if headers == nil {
		headers = s.headers
	}
	s.processes++
	files, key := audittest.Parts(s.t, s.dir)
	a, err := app.Assemble(s.t.Context(), app.Adapters{
		Objects: s.objects, Originals: s.originals, DB: s.db, Headers: headers, Keys: keys,
		Log: files, LogKey: key,
	}, app.Config{}, s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = a.Close() })
	return a
}

// account is the synthetic value in a row of an object.
func account(finding, row int) string { return fmt.Sprintf("%04d%08d", 1000+finding, row) }

// ingest takes in a finding on an object of its own with so many values, and returns its id.
func (s *site) ingest(a *app.App, finding, values int) string {
	s.t.Helper()
	var body bytes.Buffer
	body.WriteString("id,bank_account_number\n")
	id := fmt.Sprintf("%032x", finding+1)
	f := coffer.Finding{
		ID: id, Origin: coffer.OriginOperator, AccountID: "111122223333", Type: "SensitiveData:S3Object/Financial", Severity: coffer.SeverityHigh,
		CreatedAt: s.now(), Detections: []coffer.Detection{{Type: coffer.BankAccountNumber, Category: "FINANCIAL_INFORMATION", Count: int64(values)}},
	}
	for i := range values {
		fmt.Fprintf(&body, "%d,%s\n", i, account(finding, i))
		f.Occurrences = append(f.Occurrences, coffer.Occurrence{
			N: i + 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: int64(i) + 2, Column: 2}, Source: coffer.FromFinding,
		})
	}
	sum := md5.Sum(body.Bytes())
	f.Size = int64(body.Len())
	f.Object = coffer.Object{Bucket: bucket, Key: fmt.Sprintf("customer-erika-mustermann-%d.csv", finding), ETag: hex.EncodeToString(sum[:])}
	s.objects.Foreign().Put(bucket, f.Object.Key, body.Bytes(), object.Attrs{ContentType: "text/csv"})
	res, err := a.Pipeline.Take(s.t.Context(), s.ask(), f)
	if err != nil || res.Status != pipeline.Sealed {
		s.t.Fatalf("ingest: %+v, %v", res, err)
	}
	return id
}

// reveal opens values of a finding and compares them.
func (s *site) reveal(a *app.App, id string, finding int, ns ...int) error {
	ask := s.ask()
	ask.Context.Reason, ask.Context.Note = "investigation", "synthetic test of a rotation"
	got, err := a.Vault.Reveal(s.t.Context(), ask, id, ns...)
	if err != nil {
		return err
	}
	for _, v := range got {
		if string(v.Plain.Expose()) != account(finding, v.N-1) {
			return fmt.Errorf("value %d of finding %d is another: %w", v.N, finding, coffer.ErrCorrupt)
		}
	}
	return nil
}

// keeperOf returns Keys of a KMS for a principal.
func keeperOf(t testing.TB, f *kmsfake.Fake, principal string, cfg kms.Config) *kms.Keys {
	t.Helper()
	cfg.AWS = aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider(principal, "secret", ""), HTTPClient: &http.Client{Transport: f.Transport()},
	}
	k, err := kms.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKMSKey(t testing.TB, f *kmsfake.Fake) string {
	t.Helper()
	admin := awskms.New(awskms.Options{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", "secret", ""), HTTPClient: &http.Client{Transport: f.Transport()},
	})
	out, err := admin.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

func count(events []kmsfake.Event, match func(kmsfake.Event) bool) (n int) {
	for _, e := range events {
		if match(e) {
			n++
		}
	}
	return n
}

// TestKMSCalls: one call for each finding sealed, two with a key for verification, one for each reveal; their contexts hold ids
// that Coffer made and nothing else; and the log names the call of KMS that a reveal was.
func TestKMSCalls(t *testing.T) {
	opaque := map[string]*regexp.Regexp{
		"app": regexp.MustCompile(`^coffer$`), "purpose": regexp.MustCompile(`^(home|values)$`),
		"set": regexp.MustCompile(`^[0-9a-f]{32}$`), "generation": regexp.MustCompile(`^[0-9a-z-]{1,64}$`),
	}
	for _, verify := range []bool{false, true} {
		f := new(kmsfake.Fake)
		cfg := kms.Config{Key: newKMSKey(t, f)}
		want := "GenerateDataKey"
		if verify {
			cfg.Verify = newKMSKey(t, f)
			want += " Encrypt"
		}
		s := newSite(t)
		a := s.start(keeperOf(t, f, "AKIACOFFER", cfg), nil)
		took := func() string {
			var ops []string
			for _, e := range f.Events() {
				ops = append(ops, e.Operation)
				for k, v := range e.Context {
					if re := opaque[k]; re == nil || !re.MatchString(v) {
						t.Errorf("the encryption context has %q=%q", k, v)
					}
				}
				if len(e.Context) < 2 || e.Error != "" {
					t.Errorf("%s: context %v, error %q", e.Operation, e.Context, e.Error)
				}
			}
			f.Forget()
			return strings.Join(ops, " ")
		}
		f.Forget()
		for i, values := range []int{1, 40, 1000} {
			id := s.ingest(a, i, values)
			sealed := took()
			if err := s.reveal(a, id, i, values); err != nil {
				t.Fatal(err)
			}
			request := f.Events()[0].RequestID
			one := took()
			if err := s.reveal(a, id, i); err != nil {
				t.Fatal(err)
			}
			all := took()
			t.Logf("verify key %t, %d values: sealed by %s; one revealed by %s; all revealed by %s", verify, values, sealed, one, all)
			if sealed != want || one != "Decrypt" || all != "Decrypt" {
				t.Errorf("%d values: sealed by %q, revealed by %q and %q", values, sealed, one, all)
			}
			if !logged(t, a, "keyRequest", request) {
				t.Error("no entry of the log names the request")
			}
		}
	}
}

// logged reports whether an entry of the log has the detail.
func logged(t *testing.T, a *app.App, name, value string) bool {
	t.Helper()
	found := false
	for e, err := range a.Log.Entries(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || e.Detail[name] == value
	}
	return found
}

// mortal is a key table from which the process that uses it does not come back: after so many writes the answer to one is lost, or
// it does not happen, and so with everything later.
type mortal struct {
	store.DB
	left  int
	after bool
	dead  bool
}

var errDied = errors.New("the process died")

func (m *mortal) Apply(ctx context.Context, ops ...store.Op) error {
	if m.dead {
		return errDied
	}
	if m.left--; m.left >= 0 {
		return m.DB.Apply(ctx, ops...)
	}
	m.dead = true
	if m.after {
		if err := m.DB.Apply(ctx, ops...); err != nil {
			return err
		}
	}
	return errDied
}

// TestReadersDuringRewrap: values are revealed all the while some hundred data keys are wrapped anew by a job that dies twice and is
// resumed; at the end the old key wraps nothing.
func TestReadersDuringRewrap(t *testing.T) {
	const findings = 200
	t.Run("keyfile", func(t *testing.T) {
		path := filepath.Join(memoryDir(t), "ring")
		open := func() envelope.Keys {
			r, err := keyfile.OpenOrCreate(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		duringRewrap(t, findings, open(), []envelope.Keys{open(), open()}, open, func(s *site, a *app.App) {
			if _, err := a.RotateKeys(t.Context(), s.ask()); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("kms", func(t *testing.T) {
		f := new(kmsfake.Fake)
		before, after := newKMSKey(t, f), newKMSKey(t, f)
		next := kms.Config{Key: after, Old: []string{before}}
		starts := 0
		duringRewrap(t, findings,
			keeperOf(t, f, "AKIAWRITER", kms.Config{Key: before}),
			// One process is still on the configuration of before, but may read what the new key wraps.
			[]envelope.Keys{keeperOf(t, f, "AKIAREADER", next), keeperOf(t, f, "AKIAREADER", kms.Config{Key: before, Old: []string{after}})},
			func() envelope.Keys {
				starts++
				return keeperOf(t, f, "AKIAREWRAP", next)
			},
			func(*site, *app.App) {})
		by := func(op, key string) int {
			return count(f.Events(), func(e kmsfake.Event) bool { return e.Principal == "AKIAREWRAP" && e.Operation == op && e.Key == key })
		}
		// The findings, the home's own key, and the one header whose replacement did not happen. Each process opened the home's key,
		// and the last one revealed every finding.
		headers := findings + 2
		encrypt, old, proof := by("Encrypt", after), by("Decrypt", before), by("Decrypt", after)-findings
		t.Logf("%d data keys: %d Encrypt, %d Decrypt by the old key, %d by the new one as proof; %d of these by starts", headers, encrypt, old, proof, starts)
		if encrypt != headers || by("Encrypt", before) != 0 || old < headers || proof < headers || old+proof != 2*headers+starts {
			t.Errorf("%d headers, %d starts: %d Encrypt, %d and %d Decrypt", headers, starts, encrypt, old, proof)
		}
	})
}

// duringRewrap seals by the keys of writer, then rotates and rewraps by processes with keys of rotator while the readers read.
func duringRewrap(t *testing.T, findings int, writer envelope.Keys, readers []envelope.Keys, rotator func() envelope.Keys, rotate func(*site, *app.App)) {
	s := newSite(t)
	w := s.start(writer, nil)
	var ids []string
	for i := range findings {
		ids = append(ids, s.ingest(w, i, 2))
	}
	var wg sync.WaitGroup
	var reads atomic.Int64
	stop, read := make(chan struct{}), make(chan struct{})
	failed, fail := context.WithCancel(t.Context())
	defer fail()
	for i, keys := range readers {
		a := s.start(keys, nil)
		wg.Go(func() {
			for n := i * 7; ; n += 13 {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.reveal(a, ids[n%findings], n%findings, 1+n%2); err != nil {
					t.Errorf("a reader was interrupted: %v", err)
					fail()
					return
				}
				reads.Add(1)
				select {
				case read <- struct{}{}: // somebody waits for it
				default:
				}
			}
		})
	}
	defer wg.Wait()
	defer sync.OnceFunc(func() { close(stop) })()

	id := ""
	total := 0
	for life, table := range []*mortal{{DB: s.headers, left: findings / 4, after: true}, {DB: s.headers, left: findings / 4}, {DB: s.headers, left: 10 * findings}} {
		a := s.start(rotator(), table)
		if id == "" {
			rotate(s, a)
			j, err := a.Jobs.New(t.Context(), s.ask().Caller, "key.rotate", nil, app.RewrapItems())
			if err != nil {
				t.Fatal(err)
			}
			id = j.ID
		}
		j, err := a.Jobs.Run(t.Context(), id, func(ctx context.Context, item string) (string, error) {
			n, err := a.Rewrap(ctx, s.ask(), item)
			total += n
			return fmt.Sprint(n), err
		}, nil)
		if died := life < 2; died != errors.Is(err, errDied) || table.dead != died {
			t.Fatalf("life %d: %v", life, err)
		}
		if life == 2 && j.Done != j.Total {
			t.Fatalf("%d of %d items done", j.Done, j.Total)
		}
		for range 20 { // readers meet every state
			select {
			case <-read:
			case <-failed.Done():
			}
		}
		s.minutes.Add(2) // the lease of who died runs out
	}
	if total < findings/2 || reads.Load() < 60 {
		t.Errorf("%d data keys in the last life, %d reads", total, reads.Load())
	}

	a := s.start(rotator(), nil)
	keys, err := a.WrappingKeys(t.Context(), s.ask())
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	for _, k := range keys {
		want := 0
		if k.Current {
			want = findings + 1 // and the home's
		}
		if k.Wraps != want {
			t.Errorf("%+v, want %d", k, want)
		}
	}
	for i, id := range ids {
		if err := s.reveal(a, id, i); err != nil {
			t.Fatalf("finding %d after the rotation: %v", i, err)
		}
	}
	t.Logf("%d reads while %d data keys were wrapped anew by a job that died twice", reads.Load(), findings+1)
}
