package dynamo_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"coffer"
	"coffer/internal/lookalike"
	"coffer/store"
	"coffer/store/dynamo"
)

// TestDescribe: what doctor asks for, on moto, which has the calls that DynamoDB Local does not have.
func TestDescribe(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Endpoint = lookalike.Moto(t)
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{PITR: true, DeletionProtection: true}))
	db := open(t, c)
	want := dynamo.State{
		Status: "ACTIVE", PITR: dynamo.On, Backups: dynamo.Off, TTL: dynamo.On, DeletionProtection: dynamo.On, Streams: dynamo.Off,
		Encryption: "DynamoDB's key", Billing: "on demand",
	}
	compare := func() {
		t.Helper()
		got, err := db.Describe(t.Context())
		must(t, err)
		if got.Replicas = nil; !equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	compare()
	name := "a-backup"
	_, err := client(c).CreateBackup(t.Context(), &dynamodb.CreateBackupInput{TableName: &c.Table, BackupName: &name})
	must(t, err)
	// The key table's options: recovery is switched off again.
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	want.PITR, want.Backups, want.DeletionProtection = dynamo.Off, dynamo.On, dynamo.Off
	compare()
}

func equal(a, b dynamo.State) bool {
	return a.Status == b.Status && a.PITR == b.PITR && a.Backups == b.Backups && a.TTL == b.TTL && a.DeletionProtection == b.DeletionProtection &&
		a.Streams == b.Streams && a.Encryption == b.Encryption && a.Billing == b.Billing && len(a.Replicas) == len(b.Replicas)
}

func client(c dynamo.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(c.AWS, func(o *dynamodb.Options) { o.BaseEndpoint = &c.Endpoint })
}

// TestDescribeWithoutPermission: what may not be asked is unknown, not off; an outage is an error.
func TestDescribeWithoutPermission(t *testing.T) {
	t.Parallel()
	db, _, l := broken(t)
	denied := fault{status: 400, code: "AccessDeniedException"}
	l.arm(func(int) *fault { return &denied }, nil)
	s, err := db.Describe(t.Context())
	must(t, err)
	unknown := dynamo.State{
		Status: "unknown", PITR: dynamo.Unknown, Backups: dynamo.Unknown, TTL: dynamo.Unknown, DeletionProtection: dynamo.Unknown,
		Streams: dynamo.Unknown, Encryption: "unknown", Billing: "unknown",
	}
	if !equal(s, unknown) {
		t.Errorf("%+v", s)
	}
	l.arm(func(int) *fault { return &faults[0] }, nil)
	if _, err := db.Describe(t.Context()); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("while nothing answers: %v", err)
	}
	gone := fault{status: 400, code: "ResourceNotFoundException"}
	l.arm(func(int) *fault { return &gone }, nil)
	if _, err := db.Describe(t.Context()); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("a table that is gone: %v", err)
	}
}

// TestForeignTable: a table with another key is not taken for a store, and not changed into one.
func TestForeignTable(t *testing.T) {
	t.Parallel()
	c := config(t)
	otherTable(t, c)
	if _, err := dynamo.Open(t.Context(), c); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("open: %v", err)
	}
	if err := dynamo.Create(t.Context(), c, dynamo.Options{}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("create: %v", err)
	}
}

// TestNothingListens: a call that cannot have reached anybody is an outage, not a doubt.
func TestNothingListens(t *testing.T) {
	t.Parallel()
	c := config(t)
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	l := &network{RoundTripper: http.DefaultTransport}
	c.AWS.HTTPClient = &http.Client{Transport: l}
	db := open(t, c)
	db.DoNotWait()
	l.RoundTripper = refusing{}
	if err := db.Apply(t.Context(), put("p", "s", "1", "v", store.Absent)); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("apply: %v", err)
	}
}

// network can be replaced between calls.
type network struct{ http.RoundTripper }
