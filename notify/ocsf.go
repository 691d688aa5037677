package notify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"coffer"
	"coffer/audit"
	"coffer/object"
)

const (
	// maxFile is how many entries a file of OCSF events has.
	maxFile = 5000
	// fileEvery is how long an entry waits for its file. Security Lake asks for files not oftener than every five minutes.
	fileEvery = 5 * time.Minute
	dayForm   = "20060102"
)

// archive writes the log to a bucket, as gzipped JSON Lines of OCSF events, under names in the partitions that Amazon Security Lake has for
// custom sources: region=R/accountId=A/eventDay=YYYYMMDD/FIRST-LAST.json.gz, where FIRST and LAST are positions in the log.
//
// A file holds entries of one day that follow each other. Its range is on record before it is written, and its bytes follow from it, so
// after a crash the same file is written again or found: no entry is in two files, and none in no file.
type archive struct {
	target Target
	open   func(ctx context.Context, spec string) (object.Store, string, error)

	mu     sync.Mutex
	store  object.Store // on first use
	bucket string
}

func (a *archive) wants(*audit.Entry) bool { return true }
func (a *archive) most() int               { return maxFile }

// cut returns how many of the events, from the first on, go into one file; 0: it is too early for one. until is the end of a file that
// was begun; 0: none was.
func (a *archive) cut(events []event, until int64, now time.Time) int {
	if until > 0 {
		return len(events)
	}
	day := events[0].Entry.Time.Format(dayForm)
	n := 1
	for n < len(events) && events[n].Entry.Time.Format(dayForm) == day {
		n++
	}
	if n == len(events) && n < maxFile && now.Sub(events[0].Entry.Time) < fileEvery {
		return 0
	}
	return n
}

func (a *archive) dial(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.store != nil {
		return nil
	}
	var err error
	a.store, a.bucket, err = a.open(ctx, a.target.To)
	if err != nil {
		return fmt.Errorf("bucket of the OCSF files: %w", err)
	}
	return nil
}

// name of the file that holds these entries.
func (a *archive) name(events []event) string {
	first, last := &events[0].Entry, &events[len(events)-1].Entry
	prefix := a.target.Prefix
	if prefix != "" && prefix[len(prefix)-1] != '/' {
		prefix += "/"
	}
	return fmt.Sprintf("%sregion=%s/accountId=%s/eventDay=%s/%020d-%020d.json.gz",
		prefix, a.target.Region, a.target.Account, first.Time.Format(dayForm), first.Index, last.Index)
}

// pack writes the events of a file.
func pack(w io.Writer, events []event) error {
	z := gzip.NewWriter(w)
	entries := iter.Seq2[audit.Entry, error](func(yield func(audit.Entry, error) bool) {
		for i := range events {
			if !yield(events[i].Entry, nil) {
				return
			}
		}
	})
	if err := audit.WriteOCSF(z, entries); err != nil {
		return err
	}
	return z.Close()
}

func (a *archive) send(ctx context.Context, events []event) (int, error) {
	if err := a.dial(ctx); err != nil {
		return 0, err
	}
	o := coffer.Object{Bucket: a.bucket, Key: a.name(events)}
	staged, err := a.store.Stage(ctx, o, object.Attrs{ContentType: "application/x-ndjson", ContentEncoding: "gzip"}, func(w io.Writer) error { return pack(w, events) })
	if err != nil {
		return 0, fmt.Errorf("OCSF file: %w", err)
	}
	if _, err = staged.Commit(ctx); err != nil {
		err = errors.Join(err, staged.Abort(context.WithoutCancel(ctx)))
		if !errors.Is(err, coffer.ErrConflict) {
			return 0, fmt.Errorf("OCSF file: %w", err)
		}
		// There is a file of this name: ours, of the time before a crash, if it says the same.
		if err := a.same(ctx, o, events); err != nil {
			return 0, err
		}
	}
	return len(events), nil
}

// same returns nil when the object holds these events. What it says is compared, not its bytes: another release may pack them otherwise.
func (a *archive) same(ctx context.Context, o coffer.Object, events []event) error {
	var packed bytes.Buffer
	if err := pack(&packed, events); err != nil {
		return err
	}
	body, err := a.store.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("OCSF file: %w", err)
	}
	defer body.Close()
	want, err := unpacked(&packed)
	if err != nil {
		return err
	}
	if have, err := unpacked(body); err != nil || have != want {
		return fmt.Errorf("an OCSF file of this name is there and says something else: %w", coffer.ErrUnavailable)
	}
	return nil
}

// unpacked is the digest of what a gzip file holds.
func unpacked(r io.Reader) (sum [32]byte, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(z, maxFile*(4*65536))); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// probe looks at the bucket. A file that is no part of the log has no place in it.
func (a *archive) probe(ctx context.Context) error {
	if err := a.dial(ctx); err != nil {
		return err
	}
	if _, err := a.store.Versioning(ctx, a.bucket); err != nil {
		return fmt.Errorf("bucket of the OCSF files: %w", err)
	}
	return nil
}
