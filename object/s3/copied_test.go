package s3_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
	"coffer/internal/lookalike"
)

// TestCopiedPartsOfCompositeObject rewrites an object that another client uploaded in parts, with a checksum of checksums: its ranges are
// copied inside the server, which must not be handed a checksum that is not the part's own.
func TestCopiedPartsOfCompositeObject(t *testing.T) {
	for _, b := range []*bed{newBed(t, lookalike.S3(t)), newFake(t)} {
		o := coffer.Object{Bucket: b.bucket, Key: "quarter 3/ledger ü.jsonl"}
		body := bytes.Repeat([]byte("0123456789abcdef"), 18<<20/16)
		up := must2(b.raw.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{
			Bucket: &o.Bucket, Key: &o.Key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeComposite,
		}))(t)
		var parts []types.CompletedPart
		for n := range int32(3) {
			p := must2(b.raw.UploadPart(t.Context(), &sdk.UploadPartInput{
				Bucket: &o.Bucket, Key: &o.Key, UploadId: up.UploadId, PartNumber: aws.Int32(n + 1), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
				Body: bytes.NewReader(body[n*(6<<20) : (n+1)*(6<<20)]),
			}))(t)
			parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n + 1), ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32})
		}
		must2(b.raw.CompleteMultipartUpload(t.Context(), &sdk.CompleteMultipartUploadInput{
			Bucket: &o.Bucket, Key: &o.Key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		}))(t)

		info := must2(b.store.Stat(t.Context(), o))(t)
		const at = 9 << 20
		st, err := b.store.Stage(t.Context(), info.Object, info.Attrs, func(w io.Writer) error {
			c, ok := w.(interface{ CopyRange(start, end int64) error })
			if !ok {
				t.Fatal("the writer copies no ranges")
			}
			if err := c.CopyRange(0, at); err != nil {
				return err
			}
			if _, err := io.WriteString(w, "REDACTED"); err != nil {
				return err
			}
			return c.CopyRange(at+16, int64(len(body)))
		})
		if err != nil {
			t.Fatal(err)
		}
		made, err := st.Commit(t.Context())
		if err != nil {
			t.Fatalf("commit: %v", err)
		}
		got := must2(b.store.Open(t.Context(), made))(t)
		h := sha256.New()
		if _, err := io.Copy(h, got); err != nil {
			t.Fatal(err)
		}
		_ = got.Close() // only read from
		if want := st.SHA256(); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Error("other bytes than were staged")
		}
	}
}
