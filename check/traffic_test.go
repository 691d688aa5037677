package check_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/envelope"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/awsmeter"
	"coffer/object"
	"coffer/remedy"
)

// meteredCloud is a cloud whose requests are counted.
type meteredCloud struct {
	*cloud
	meter *awsmeter.Meter
}

func (c *meteredCloud) adapters(t testing.TB, now func() time.Time) (object.Store, object.Store, envelope.Keys) {
	c.over = c.meter.Transport
	return c.cloud.adapters(t, now)
}

// traffic is what one step asked of S3 and KMS.
type traffic struct {
	s3, kms        int64 // calls
	sent, received int64 // bytes of bodies
	names          []string
}

func (c *meteredCloud) step(t testing.TB, do func() error) (x traffic) {
	t.Helper()
	before := c.meter.Counts()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.meter.Since(before) {
		if n.Service == "kms" {
			x.kms += n.Calls
		} else {
			x.s3 += n.Calls
			x.sent += n.Sent
			x.received += n.Received
		}
		x.names = append(x.names, fmt.Sprintf("%d %s", n.Calls, n.Name))
	}
	return x
}

// table is an object of rows of 64 bytes whose column "account" holds numbers that are no account's, but for the rows named.
type table struct {
	size int64
	at   map[int64]string // value of a row, 0-based without the header
}

const rowSize = 64

func headerRow() string { return fmt.Sprintf("%-*s\r\n", rowSize-2, "row,bank_account_number,memo") }

// row is quick: a large object has many, and they are made each time it is read.
func (x table) row(i int64) string {
	b := []byte("00000000000,none        ,transfer of the night batch          \r\n")
	if v, ok := x.at[i]; ok {
		copy(b[12:24], v)
	}
	for at := 10; i > 0; at-- {
		b[at] = byte('0' + i%10)
		i /= 10
	}
	return string(b)
}

// ReadAt implements [io.ReaderAt]: the rows are made when they are read.
func (x table) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) && off < x.size {
		line := headerRow()
		if i := off / rowSize; i > 0 {
			line = x.row(i - 1)
		}
		k := copy(b[n:], line[off%rowSize:])
		n, off = n+k, off+int64(k)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// TestTraffic counts what a finding sealed, a reveal and a fix ask of S3 and KMS, and compares it with the least that could do. The
// figures stand in docs/performance.md.
func TestTraffic(t *testing.T) {
	for _, n := range []int{1, 40, 1000} {
		c := &meteredCloud{newCloud(t), &awsmeter.Meter{}}
		w := newWorldIn(t, c)
		doc := w.reported(0, n)
		id := fmt.Sprintf("%032x", 1)
		var p *remedy.Plan
		var err error
		for _, row := range []struct {
			name string
			// The least calls: of KMS one for each set that is sealed or opened; of S3 see the comments.
			s3, kms int64
			do      func() error
		}{
			// See its version, look at it, read it, tag it and look at the tags.
			{"seal", 5, 1, func() error {
				_, err := w.a.Pipeline.TakeDocument(w.ctx, w.ask(), doc, coffer.OriginOperator, "test")
				return err
			}},
			{"reveal one", 0, 1, func() error {
				_, err := w.a.Vault.Reveal(w.ctx, w.reason(), id, 1)
				return err
			}},
			// Look at it, read it, and ask for versions, replicas, annotations and uploads, in which copies may be.
			{"plan", 6, 0, func() error {
				g, err := w.a.Remedy.Groups(w.ctx, id)
				if err == nil {
					p, err = w.a.Remedy.Plan(w.ctx, w.ask(), g[0], remedy.Options{Action: remedy.Redact})
				}
				return err
			}},
			// Read it, keep it and read that back, write, read what was written, and ask for copies. A set is opened to be compared with
			// the object, one is made for the original and opened when it is read back.
			{"apply", 9, 3, func() error {
				p, err = w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
				return err
			}},
			{"undo", 5, 1, func() error {
				_, err := w.a.Remedy.Undo(w.ctx, w.ask(), p.ID)
				return err
			}},
		} {
			x := c.step(t, row.do)
			t.Logf("%4d values, %-10s: S3 %2d calls (least %d), %7d bytes up, %7d down; KMS %d (least %d): %s", n, row.name, x.s3, row.s3,
				x.sent, x.received, x.kms, row.kms, strings.Join(x.names, ", "))
			if x.s3 > 5*max(row.s3, 1) || x.kms > 2*row.kms+1 {
				t.Errorf("%d values, %s: %d calls of S3 and %d of KMS", n, row.name, x.s3, x.kms)
			}
		}
		if p.State != remedy.Applied && p.State != remedy.Undone {
			t.Errorf("the fix is %s", p.State)
		}
	}
}

// TestLargeObject fixes an object of which one value in the middle is all that must go: what of it moves? 64 MiB by default, 5 GB with
// COFFER_TEST_FULL=1. The unchanged ranges are copied inside S3; what comes down is read to search it and to verify, and what goes up
// beside the window of the value is the sealed original.
func TestLargeObject(t *testing.T) {
	x := table{size: 64 << 20}
	if stride > 1 {
		x.size = 24 << 20 // the race detector has its own reasons to be slow
	}
	if os.Getenv("COFFER_TEST_FULL") != "" {
		x.size = 5_000_000_000 / rowSize * rowSize
	}
	row := x.size / rowSize / 2
	x.at = map[int64]string{row: "140527002100"}
	c := &meteredCloud{newCloud(t), &awsmeter.Meter{}}
	w := newWorldIn(t, c)
	// Encrypted by KMS, its ETag is no hash of its bytes.
	c.s3.PutContent(bucket, "ledger.csv", io.NewSectionReader(x, 0, x.size), s3fake.Attrs{Encryption: s3fake.Encryption{Algorithm: "aws:kms"}})
	f := w.finding("payouts.csv")
	f.ID = strings.Repeat("1e", 16)
	f.Object = coffer.Object{Bucket: bucket, Key: "ledger.csv", ETag: c.s3.Versions(bucket, "ledger.csv")[0].ETag}
	f.Size = x.size
	f.OnObject.Encryption = "aws:kms"
	f.Occurrences = []coffer.Occurrence{{N: 1, Type: coffer.BankAccountNumber, Source: coffer.FromFinding,
		At: coffer.Location{Kind: coffer.Cell, Row: row + 2, Column: 2}}}
	f.Detections[0].Count = 1
	var p *remedy.Plan
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"seal", func() error {
			_, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
			return err
		}},
		{"plan", func() error {
			g, err := w.a.Remedy.Groups(w.ctx, f.ID)
			if err == nil {
				p, err = w.a.Remedy.Plan(w.ctx, w.ask(), g[0], remedy.Options{Action: remedy.Redact})
			}
			return err
		}},
		{"apply", func() (err error) {
			p, err = w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
			return err
		}},
	} {
		before := c.meter.Counts()
		m := c.step(t, step.do)
		written := int64(0)
		for _, n := range c.meter.Since(before) {
			if n.Name == "UploadPart" && n.Sent < x.size {
				written = n.Sent
			}
		}
		t.Logf("%s of %d MB: %d calls of S3, %.1f MB up (%.1f MB in parts), %.1f MB down: %s", step.name, x.size/1e6, m.s3, float64(m.sent)/1e6,
			float64(written)/1e6, float64(m.received)/1e6, strings.Join(m.names, ", "))
		if step.name == "apply" && m.sent > x.size+x.size/50+32<<20 {
			t.Errorf("%d bytes went up: more than the sealed original and the window of the value", m.sent)
		}
	}
	if p.State != remedy.Applied || !p.Verified || p.Changes != 1 {
		t.Fatalf("the fix is %s, verified %t, %d changes", p.State, p.Verified, p.Changes)
	}
	v := c.s3.Versions(bucket, "ledger.csv")[0]
	at := (row + 1) * rowSize
	got := make([]byte, 3*rowSize)
	if _, err := v.Body.ReadAt(got, at-rowSize); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got, []byte("140527002100")) || !bytes.Contains(got, []byte("REDACTED")) {
		t.Fatal("the value is not redacted")
	}
	if !slices.Equal(got[:rowSize], []byte(x.row(row-1))) {
		t.Fatal("the row before it was changed")
	}
}
