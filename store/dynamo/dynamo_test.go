package dynamo_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"coffer"
	"coffer/internal/lookalike"
	"coffer/store"
	"coffer/store/dynamo"
	"coffer/store/storetest"
)

var tables atomic.Int64

// config names a table of its own on DynamoDB Local.
func config(t testing.TB) dynamo.Config {
	return dynamo.Config{
		AWS:      aws.Config{Region: lookalike.Region, Credentials: credentials, HTTPClient: new(http.Client)},
		Endpoint: lookalike.DynamoDB(t),
		Table:    fmt.Sprintf("coffer-%d", tables.Add(1)),
	}
}

var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: lookalike.AccessKey, SecretAccessKey: lookalike.SecretKey}, nil
})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, c dynamo.Config) *dynamo.DB {
	t.Helper()
	db, err := dynamo.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// created opens a new table.
func created(t testing.TB) *dynamo.DB {
	t.Helper()
	c := config(t)
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	return open(t, c)
}

func TestDB(t *testing.T) {
	t.Parallel()
	storetest.Test(t, func(t *testing.T) store.DB { return created(t) })
}

func TestSealed(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, store.KeySize)
	storetest.Test(t, func(t *testing.T) store.DB { return store.Sealed(created(t), key) })
}

func put(part, sort, version, value, expect string) store.Op {
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{
		Key: store.Key{Part: part, Sort: sort}, Version: version, Value: []byte(value),
	}}
}

// TestLargest: what Validate lets through stays below DynamoDB's own limits (400 KB an item, 4 MB and 100 actions a transaction).
func TestLargest(t *testing.T) {
	const room = 45 // what sealing adds, which Validate leaves
	db := created(t)
	long := func(c string, n int) string { return strings.Repeat(c, n) }
	largest := func(i, size int) store.Op {
		tail := fmt.Sprintf("%02d", i)
		op := put(long("p", store.MaxPart-2)+tail, long("s", store.MaxSort-2)+tail, long("v", store.MaxVersion), "", store.Any)
		op.Item.Value = bytes.Repeat([]byte{0xff}, size)
		op.Item.Expires = maxTime
		return op
	}
	one := largest(0, store.MaxValue+room)
	must(t, store.Validate([]store.Op{one}))
	must(t, db.Apply(t.Context(), one))
	got, err := db.Get(t.Context(), one.Item.Key)
	must(t, err)
	if !bytes.Equal(got.Value, one.Item.Value) || !got.Expires.Equal(maxTime) {
		t.Error("the largest item came back as another")
	}

	// As many bytes as there may be in as many operations as there may be.
	const keys = store.MaxPart + store.MaxSort
	total := store.MaxApplyBytes + room*store.MaxOps
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, largest(i, total/store.MaxOps-keys))
		ops[i].Item.Version = long("w", store.MaxVersion)
	}
	must(t, store.Validate(ops))
	more := append(ops[:99:99], largest(99, total/store.MaxOps-keys+store.MaxOps))
	if store.Validate(more) == nil {
		t.Error("this is not the largest Apply")
	}
	must(t, db.Apply(t.Context(), ops...))
	// And in as few.
	ops = nil
	for left := total; left > keys; left -= keys + store.MaxValue + room {
		ops = append(ops, largest(len(ops), min(store.MaxValue+room, left-keys)))
		ops[len(ops)-1].Item.Version = long("x", store.MaxVersion)
	}
	must(t, store.Validate(ops))
	must(t, db.Apply(t.Context(), ops...))
}

func TestOpen(t *testing.T) {
	c := config(t)
	_, err := dynamo.Open(t.Context(), c)
	if !errors.Is(err, coffer.ErrNotFound) || !strings.Contains(err.Error(), "coffer setup") {
		t.Errorf("a table that is missing: %v", err)
	}
	// Twice, then with other options.
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{}))
	must(t, dynamo.Create(t.Context(), c, dynamo.Options{DeletionProtection: true}))
	s, err := open(t, c).Describe(t.Context())
	must(t, err)
	if s.Status != "ACTIVE" || s.TTL != dynamo.On || s.DeletionProtection != dynamo.On || s.Billing != "on demand" || s.PITR == dynamo.On {
		t.Errorf("%+v", s)
	}
	t.Logf("%+v", s)
	if err := dynamo.Create(t.Context(), c, dynamo.Options{PITR: true, DeletionProtection: true}); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("recovery where there is none: %v", err)
	}
	none := c
	none.Table = ""
	if _, err := dynamo.Open(t.Context(), none); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("no table named: %v", err)
	}
}

var maxTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// TestMain has the random sequences of the suites be fewer: each of their steps is a call over the network.
func TestMain(m *testing.M) {
	checks := "20"
	if os.Getenv("COFFER_TEST_FULL") != "" {
		checks = "100"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// foreign puts an item that has the key alone.
func foreign(t *testing.T, c dynamo.Config, part, sort string) {
	t.Helper()
	_, err := client(c).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &c.Table, Item: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberB{Value: []byte(part)}, "sk": &types.AttributeValueMemberB{Value: []byte(sort)}}})
	must(t, err)
}

// otherTable makes a table with a key that is not a store's.
func otherTable(t *testing.T, c dynamo.Config) {
	t.Helper()
	name := "id"
	_, err := client(c).CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &c.Table, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: &name, KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}},
	})
	must(t, err)
}

// refusing is a network where nobody listens.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
}
