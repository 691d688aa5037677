package app

import (
	"testing"
	"time"

	"coffer/envelope/mem"
	"coffer/object"
	storemem "coffer/store/mem"
)

// TestJournalsAreApart: what the objects' storage sweeps are its own uploads. The originals may lie on another server, or belong to
// another account, to which the upload would be one that is gone.
func TestJournalsAreApart(t *testing.T) {
	journals := map[string]object.Journal{}
	ad := Adapters{
		DB: &storemem.DB{}, Headers: &storemem.DB{}, Keys: &mem.Keys{},
		Remember:          func(j object.Journal) { journals["objects"] = j },
		RememberOriginals: func(j object.Journal) { journals["originals"] = j },
	}
	// Without a folder for the log the rest is not assembled.
	if _, err := Assemble(t.Context(), ad, Config{}, time.Now); err == nil {
		t.Fatal("assembled without a log")
	}
	up := object.Upload{Bucket: "moontrust-originals", Key: "k", ID: "upload-1", Started: time.Unix(1, 0).UTC()}
	if err := journals["originals"].Begin(t.Context(), up); err != nil {
		t.Fatal(err)
	}
	open := func(name string) (n int) {
		for u, err := range journals[name].Uploads(t.Context()) {
			if err != nil || u != up {
				t.Errorf("%s: %v, %v", name, u, err)
			}
			n++
		}
		return n
	}
	if open("objects") != 0 || open("originals") != 1 {
		t.Errorf("%d uploads to the objects, %d to the originals, want 0 and 1", open("objects"), open("originals"))
	}
	if err := journals["originals"].End(t.Context(), up); err != nil || open("originals") != 0 {
		t.Errorf("an upload that ended is still there: %v", err)
	}
}
