package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/audit"
	"coffer/envelope"
	"coffer/internal/durable"
	"coffer/object"
	"coffer/store"
)

// openLogFiles opens the place where the log's files are kept, and says where its key is: beside the keys of this machine for a
// folder; for a bucket, which several machines share, sealed in the store (a nil key).
func (a *App) openLogFiles(ctx context.Context) (audit.Files, *audit.Key, error) {
	s := a.specs.log
	if s.Scheme == "s3" {
		st, err := a.openS3(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		if parts[a.role].signs {
			if err := logFits(ctx, st, s.Name); err != nil {
				return nil, nil, err
			}
		}
		return audit.Bucket(st, s.Name), nil, nil
	}
	files, err := audit.Folder(s.Name)
	if err != nil {
		return nil, nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(a.keyPath), 0o700); err != nil {
		return nil, nil, fmt.Errorf("keys: %w: %w", coffer.ErrUnavailable, err)
	}
	key, err := audit.KeyFile(filepath.Join(filepath.Dir(a.keyPath), "log.key"))
	return files, key, err
}

// defaultRetention is how long nobody can remove what a bucket of the log holds: PCI DSS 10.5.1 asks for twelve months.
const defaultRetention = 366 * 24 * time.Hour

// retention returns the time for which a bucket made for the log locks its objects: "retention=400d".
func (s Spec) retention() (time.Duration, error) {
	text := s.Options.Get("retention")
	if text == "" {
		return defaultRetention, nil
	}
	days, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
	if err != nil || !strings.HasSuffix(text, "d") || days < 1 || days > 36500 {
		return 0, fmt.Errorf("%s: retention is a number of days, such as 400d: %w", s.Scheme, coffer.ErrInvalid)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

// logFits returns why a bucket cannot hold the log.
func logFits(ctx context.Context, st object.Store, bucket string) error {
	_, err := st.Versioning(ctx, bucket)
	if errors.Is(err, coffer.ErrNotFound) {
		return fmt.Errorf("the bucket of the log, %s, does not exist; `coffer setup` makes it: %w", bucket, coffer.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("bucket of the log: %w", err)
	}
	return nil
}

// logKey names the header under which the key that signs the log is sealed, and logBox its sealed form with the public half. Both stand
// in the key table: the header is wrapped anew with the others.
var (
	logKey = store.Key{Part: "HOME", Sort: "log"}
	logBox = store.Key{Part: "HOME", Sort: "log-box"}
)

// sealedLogKey is the value of logBox.
type sealedLogKey struct {
	Public string `json:"public"`
	Box    []byte `json:"box"`
}

// logContext is that of the log's key, so that the permission to unwrap it can be given apart from all others.
var logContext = envelope.Context{"app": "coffer", "purpose": "log"}

var logIdentity = []byte("log key")

// storedLogKey returns the key that signs the log, as it is sealed in the store; made on first use, whoever is second uses the first
// one's. Where this process does not sign only the public half is read.
func (a *App) storedLogKey(ctx context.Context, signs bool) (*audit.Key, error) {
	for range 2 {
		it, err := a.Headers.Get(ctx, logBox)
		if err == nil {
			return a.openLogKey(ctx, it.Value, signs)
		}
		if !errors.Is(err, coffer.ErrNotFound) {
			return nil, fmt.Errorf("the log's key: %w", err)
		}
		if !signs {
			return nil, fmt.Errorf("the log has no key yet; a process that signs it makes one (`coffer doctor` does, or the function schedule): %w", coffer.ErrNotFound)
		}
		if err := a.makeLogKey(ctx); err != nil && !errors.Is(err, coffer.ErrConflict) {
			return nil, fmt.Errorf("the log's key: %w", err)
		}
	}
	return nil, fmt.Errorf("the log's key was stored and cannot be read: %w", coffer.ErrCorrupt)
}

func (a *App) openLogKey(ctx context.Context, value []byte, signs bool) (*audit.Key, error) {
	var k sealedLogKey
	if err := json.Unmarshal(value, &k); err != nil {
		return nil, fmt.Errorf("the log's key: %w", coffer.ErrCorrupt)
	}
	if !signs {
		return audit.PublicKey(k.Public)
	}
	header, err := a.Headers.Get(ctx, logKey)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	o, err := envelope.Open(ctx, a.Keys, header.Value, logContext, envelope.ForReveal)
	if err != nil {
		return nil, fmt.Errorf("the log's key cannot be opened with %s: %w", a.specs.keys, err)
	}
	defer o.Wipe()
	secret, err := o.Open(logIdentity, k.Box)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	defer secret.Wipe()
	key, err := audit.ParseKey(string(secret.Expose()))
	if err == nil && key.Public() != k.Public {
		err = fmt.Errorf("the log's key is not the one that is named beside it: %w", coffer.ErrCorrupt)
	}
	return key, err
}

// makeLogKey stores a new key.
func (a *App) makeLogKey(ctx context.Context) error {
	key, secret, err := audit.NewKey()
	if err != nil {
		return err
	}
	s, err := envelope.New(ctx, a.Keys, logContext)
	if err != nil {
		return err
	}
	defer s.Wipe()
	box, err := s.Seal(logIdentity, coffer.NewPlaintext([]byte(secret)))
	if err != nil {
		return err
	}
	value, err := json.Marshal(sealedLogKey{Public: key.Public(), Box: box})
	if err != nil {
		return err
	}
	return a.Headers.Apply(ctx,
		store.Op{Verb: store.Put, Expect: store.Absent, Item: store.Item{Key: logKey, Value: s.Header(), Version: store.NewVersion()}},
		store.Op{Verb: store.Put, Expect: store.Absent, Item: store.Item{Key: logBox, Value: value, Version: store.NewVersion()}})
}
