package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/kms"
	"coffer/internal/awsmeter"
	"coffer/macie"
	"coffer/macie/live"
	"coffer/object"
	"coffer/object/s3"
	"coffer/store"
	"coffer/store/dynamo"
)

const (
	connections   = 32              // kept open to one host
	answerTimeout = 5 * time.Minute // S3 may take its time over the copy of a large part
)

// KeyTable is the name of the key table that belongs to a data table.
func KeyTable(table string) string { return table + "-keys" }

// aws returns the SDK's configuration for a spec: Region, profile and FIPS endpoints from its options, everything else from the
// environment, as for every AWS client. All calls are counted by Meter.
func (a *App) aws(ctx context.Context, s Spec) (aws.Config, error) {
	if a.Meter == nil {
		a.Meter = &awsmeter.Meter{}
	}
	// The SDK's own client understands AWS_CA_BUNDLE and its like.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = connections, answerTimeout
	})
	// What the SDK has to say is in its errors.
	opts := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithLogger(logging.Nop{})}
	if r := s.Options.Get("region"); r != "" {
		opts = append(opts, config.WithRegion(r))
	}
	if p := s.Options.Get("profile"); p != "" {
		opts = append(opts, config.WithSharedConfigProfile(p))
	}
	fips, err := s.flag("fips")
	if err != nil {
		return aws.Config{}, err
	}
	if fips {
		opts = append(opts, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	c, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return c, fmt.Errorf("AWS configuration: %w: %w", coffer.ErrInvalid, err)
	}
	c.HTTPClient = a.Meter.Client(c.HTTPClient)
	if c.Region == "" {
		return c, fmt.Errorf("%s: no Region; write %s:%s?region=NAME or set AWS_REGION: %w", s.Scheme, s.Scheme, s.Name, coffer.ErrInvalid)
	}
	return c, nil
}

// flag returns an option that is true or false.
func (s Spec) flag(name string) (bool, error) {
	text := s.Options.Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s: %s is true or false: %w", s.Scheme, name, coffer.ErrInvalid)
	}
	return on, nil
}

func (a *App) openS3(ctx context.Context, s Spec) (*s3.Store, error) {
	c, err := a.aws(ctx, s)
	if err != nil {
		return nil, err
	}
	payer, err := s.flag("requester-pays")
	if err != nil {
		return nil, err
	}
	return s3.Open(s3.Config{AWS: c, Endpoint: s.Options.Get("endpoint"), Owner: s.Options.Get("owner"), RequesterPays: payer})
}

// openMacie opens the Macie that the configuration names; nil when it names none.
func (a *App) openMacie(ctx context.Context) (macie.API, error) {
	m := a.Config.Macie
	if m == nil {
		return nil, nil
	}
	c, err := a.aws(ctx, Spec{Scheme: "macie", Options: url.Values{
		"region": {m.Region}, "profile": {m.Profile}, "fips": {strconv.FormatBool(m.FIPS)},
	}})
	if err != nil {
		return nil, err
	}
	a.macieRegion = c.Region
	return live.Open(live.Config{AWS: c, Endpoint: m.Endpoint})
}

// dynamoTable is an open table, for the doctor.
type dynamoTable struct {
	name string
	*dynamo.DB
}

func (a *App) openDynamo(ctx context.Context, s Spec, table string) (*dynamo.DB, error) {
	c, err := a.aws(ctx, s)
	if err != nil {
		return nil, err
	}
	db, err := dynamo.Open(ctx, dynamo.Config{AWS: c, Endpoint: s.Options.Get("endpoint"), Table: table})
	if err == nil {
		a.dynamo = append(a.dynamo, dynamoTable{table, db})
	}
	return db, err
}

// originalsFit returns why a bucket must not hold kept originals: what is purged from it has to be gone.
func originalsFit(ctx context.Context, st object.Store, bucket string) error {
	v, err := st.Versioning(ctx, bucket)
	if errors.Is(err, coffer.ErrNotFound) {
		return fmt.Errorf("the bucket of the kept originals, %s, does not exist; `coffer setup` makes it: %w", bucket, coffer.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("bucket of the kept originals: %w", err)
	}
	if v != object.VersioningOff {
		return fmt.Errorf("the bucket of the kept originals, %s, is or was versioned: what is purged from it would stay as a noncurrent version: %w",
			bucket, coffer.ErrInvalid)
	}
	return nil
}

// keeper opens the keeper of the wrapping keys.
func (a *App) keeper(ctx context.Context) (envelope.Keys, error) {
	s := a.specs.keys
	if s.Scheme == "keyfile" {
		return a.ring()
	}
	a.keyPath = filepath.Join(a.Home, "keys", "ring") // beside which the key of a log in a folder is
	return a.openKMS(ctx, s)
}

func (a *App) openKMS(ctx context.Context, s Spec) (*kms.Keys, error) {
	c, err := a.aws(ctx, s)
	if err != nil {
		return nil, err
	}
	k, err := kms.Open(ctx, kms.Config{
		AWS: c, Endpoint: s.Options.Get("endpoint"), Key: s.Name, Verify: s.Options.Get("verify"), Old: s.Options["old"],
	})
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, fmt.Errorf("%w; `coffer setup` makes a key behind an alias", err)
	}
	return k, err
}

// uploads is the journal of uploads to one storage, in the data table.
type uploads struct {
	db store.DB
	to string // "objects" or "originals"
}

// uploadParts spreads the journal, so that a burst of fixes does not write to one place.
const uploadParts = 16

func (u uploads) part(shard int) string { return fmt.Sprintf("U#%s#%02d", u.to, shard) }

func (u uploads) key(up object.Upload) store.Key {
	return store.Key{Part: u.part(int(crc32.ChecksumIEEE([]byte(up.ID)) % uploadParts)), Sort: up.ID}
}

// Begin implements [object.Journal].
func (u uploads) Begin(ctx context.Context, up object.Upload) error {
	b, err := json.Marshal(up)
	if err != nil {
		return err
	}
	return u.db.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: u.key(up), Value: b, Version: store.NewVersion()}})
}

// End implements [object.Journal].
func (u uploads) End(ctx context.Context, up object.Upload) error {
	return u.db.Apply(ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: u.key(up)}})
}

// Uploads implements [object.Journal].
func (u uploads) Uploads(ctx context.Context) iter.Seq2[object.Upload, error] {
	return func(yield func(object.Upload, error) bool) {
		for shard := range uploadParts {
			for it, err := range u.db.Query(ctx, u.part(shard), store.Range{}) {
				var up object.Upload
				if err == nil && json.Unmarshal(it.Value, &up) != nil {
					err = fmt.Errorf("journal of uploads: %w", coffer.ErrCorrupt)
				}
				if !yield(up, err) || err != nil {
					return
				}
			}
		}
	}
}
