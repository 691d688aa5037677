// Package dynamo keeps a store in one DynamoDB table.
//
// Layout: an item has the attributes pk (the part) and sk (the sort), the table's key; v (the value), ver (the version) and, if it
// expires, exp (Unix seconds; the table's TTL attribute). All but exp are binary, because parts, sorts and versions are arbitrary
// bytes and DynamoDB orders binary keys by their bytes, as the contract demands; its strings must be UTF-8. An empty value is an
// empty v.
//
// Durability: Apply returns after DynamoDB acknowledged the write, which it keeps in three zones of the Region.
//
// Consistency: all reads are strongly consistent. Apply of one operation is a conditional PutItem or DeleteItem (a lone Check: a
// read), of several one TransactWriteItems; both are serialisable. The table must not be a global table that is written in two
// Regions: there the last writer wins, conditions or not.
//
// Retries: this package repeats a call at most [attempts] times, with growing random delays, while the context lasts; the SDK's
// own retryer is off, so that nothing is repeated by both. Throttling, conflicts with other transactions, server errors and
// broken connections are repeated. A transaction is repeated under the same ClientRequestToken, so that one that was carried
// out and whose answer was lost ends as success. The token is new for each Apply: one derived from the operations would
// make DynamoDB answer an equal Apply within ten minutes with success without looking at the table. A single write is
// protected by its condition: if it fails because the item has the very version that is being written, the write was ours.
//
// When an answer was lost and the repetition meets another's write, it cannot be known whether ours was carried out before. That
// is no [coffer.ErrConflict], which says that nothing was done, but an error without a sentinel, as the contract of Apply has it.
// In the same way a Put or Delete of [store.Any] whose answer was lost may be carried out again, over a write that came between.
//
// Errors: what DynamoDB says is mapped to the sentinels. The texts keep its error code and request id and drop its message, which
// can hold keys and ARNs.
//
// Scan hands its shards to DynamoDB as segments of a parallel scan. DynamoDB divides a table by the hash of pk, so that a part lies
// in one segment; AWS does not promise it, and nothing in Coffer relies on it. Every item lies in exactly one segment.
//
// Trust: none, see package store.
package dynamo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"coffer"
	"coffer/store"
)

const (
	attempts       = 10
	attemptTimeout = 10 * time.Second // of one attempt: a connection that hangs is given up
	firstDelay     = 25 * time.Millisecond
	lastDelay      = 5 * time.Second
)

// The attributes of an item.
const (
	attrPart    = "pk"
	attrSort    = "sk"
	attrValue   = "v"
	attrVersion = "ver"
	attrExpires = "exp"
)

// Config says which table and how to reach it.
type Config struct {
	// AWS has Region, credentials and HTTP client. Its retryer is not used.
	AWS aws.Config
	// Endpoint is the address of a server other than AWS's own for the Region; empty: that one.
	Endpoint string
	Table    string
	// Consumed, if set, is told the capacity units of each successful call that reads or writes items. It may be called concurrently.
	Consumed func(read, write float64)
}

func (c Config) client() (*dynamodb.Client, error) {
	if c.Table == "" || c.AWS.Region == "" {
		return nil, fmt.Errorf("dynamodb: table and Region must be named: %w", coffer.ErrInvalid)
	}
	return dynamodb.NewFromConfig(c.AWS, func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
		client := o.HTTPClient
		if client == nil {
			client = awshttp.NewBuildableClient()
		}
		o.HTTPClient = marking{client}
	}), nil
}

// marking notes that a request has been handed to the network. What failed before that has had no effect.
type marking struct{ aws.HTTPClient }

type sentKey struct{}

func (m marking) Do(r *http.Request) (*http.Response, error) {
	if sent, ok := r.Context().Value(sentKey{}).(*atomic.Bool); ok {
		sent.Store(true)
	}
	return m.HTTPClient.Do(r)
}

// DB is a store in a DynamoDB table.
type DB struct {
	client   *dynamodb.Client
	table    string
	consumed func(read, write float64)
	wait     func(ctx context.Context, d time.Duration) error

	mu     sync.RWMutex // held for reading by calls
	closed bool
}

var _ store.DB = (*DB)(nil)

// Open opens the table, which must have the key that [Create] gives it and be in use. A table that is missing gives an error
// wrapping coffer.ErrNotFound, one with another key coffer.ErrInvalid, one that is being made or deleted, or that may not be
// looked at, coffer.ErrUnavailable.
func Open(ctx context.Context, c Config) (*DB, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	db := &DB{client: client, table: c.Table, consumed: c.Consumed, wait: wait}
	t, err := db.describeTable(ctx)
	if err != nil {
		return nil, err
	}
	if err := usable(c.Table, t); err != nil {
		return nil, err
	}
	return db, nil
}

// Close implements [store.DB].
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	return nil
}

// do sends a call until it succeeds, fails for good, or has failed too often.
func (db *DB) do(ctx context.Context, op string, effect bool, send func(ctx context.Context) error) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return fmt.Errorf("dynamodb %s after close: %w", op, coffer.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("dynamodb %s: %w", op, err)
	}
	lost := false // an attempt may have had, or may yet have, its effect
	for n := 1; ; n++ {
		f := db.attempt(ctx, op, send)
		if f == nil {
			return nil
		}
		lost = lost || effect && f.open
		if f.again && n < attempts && ctx.Err() == nil && db.wait(ctx, delay(n)) == nil {
			continue
		}
		return f.last(ctx, lost)
	}
}

// attempt sends a call once and says what became of it; nil: it succeeded.
func (db *DB) attempt(ctx context.Context, op string, send func(ctx context.Context) error) *failure {
	var sent atomic.Bool
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, sentKey{}, &sent), attemptTimeout)
	defer cancel()
	if err := send(ctx); err != nil {
		return classify(op, err, sent.Load())
	}
	return nil
}

// delay returns how long to wait after the n-th attempt: a random time, so that writers that met do not meet again.
func delay(n int) time.Duration {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return min(firstDelay<<(n-1), lastDelay) * time.Duration(binary.BigEndian.Uint16(b[:])) / (1 << 16)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// report says whether DynamoDB is to report the capacity that a call consumed.
func (db *DB) report() types.ReturnConsumedCapacity {
	if db.consumed == nil {
		return types.ReturnConsumedCapacityNone
	}
	return types.ReturnConsumedCapacityTotal
}

func (db *DB) read(c *types.ConsumedCapacity) {
	if db.consumed != nil && c != nil {
		db.consumed(aws.ToFloat64(c.CapacityUnits), 0)
	}
}

func (db *DB) wrote(cs ...types.ConsumedCapacity) {
	if db.consumed == nil {
		return
	}
	for _, c := range cs {
		db.consumed(0, aws.ToFloat64(c.CapacityUnits))
	}
}
