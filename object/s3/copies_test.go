package s3_test

import (
	"testing"

	"coffer"
	"coffer/internal/lookalike"
)

// TestServersWithoutAnnotations: a server that does not know annotations answers the question for them with the object, whatever that
// looks like.
func TestServersWithoutAnnotations(t *testing.T) {
	for _, endpoint := range []string{lookalike.S3(t), lookalike.Moto(t)} {
		b := newBed(t, endpoint)
		for _, body := range []string{"", "id,account\n1,2\n", "<a><b/></a>", "<a>", "<html>&x;", "\xff\xfei\x00d\x00", "<ListObjectAnnotationsResult/>"} {
			b.put(t, "object", []byte(body))
			copies, err := b.store.Copies(t.Context(), coffer.Object{Bucket: b.bucket, Key: "object"})
			if err != nil || len(copies) > 0 {
				t.Errorf("an object of %d bytes: copies %v, %v", len(body), copies, err)
			}
		}
	}
}
