package access_test

import (
	"errors"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"coffer"
	"coffer/access"
)

// report notes what a folder reports.
type report struct {
	hashes []string // of the sets that came into force
	errs   []error
	fail   error
}

func (r *report) take(_, now *access.Policy, err error) error {
	switch {
	case r.fail != nil:
		return r.fail
	case err != nil:
		r.errs = append(r.errs, err)
	default:
		r.hashes = append(r.hashes, now.Hash())
	}
	return nil
}

func TestFolderIsFollowed(t *testing.T) {
	files := fstest.MapFS{"a.cedar": {Data: []byte(openDoor), ModTime: now.Add(-time.Hour)}}
	f, err := access.Follow(files)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	at := now
	allowed := func() bool {
		t.Helper()
		p, err := f.Current(at, r.take)
		if err != nil {
			t.Fatal(err)
		}
		return p.Decide(access.Request{
			Caller: access.Caller{ID: "x", Kind: access.UserCaller}, Action: access.FindingRead, Resource: resource(access.Finding),
			Context: access.Context{Now: now},
		}).Allow
	}
	if !allowed() || len(r.hashes) != 1 {
		t.Fatalf("the first set is not in force, or was not reported: %v", r.hashes)
	}

	// A file that was written a moment ago may be half of what it will be.
	shut := `@id("shut") @advice("none") forbid (principal, action, resource);`
	files["b.cedar"] = &fstest.MapFile{Data: []byte(shut), ModTime: at}
	at = at.Add(time.Second)
	if !allowed() {
		t.Error("a set was taken in while its files were being written")
	}
	at = at.Add(time.Second)
	if allowed() || len(r.hashes) != 2 || r.hashes[0] == r.hashes[1] {
		t.Errorf("the changed set is not in force two seconds later: %v", r.hashes)
	}
	// What was left alone for long is taken in at the first look, however long nobody looked.
	files["b.cedar"] = &fstest.MapFile{Data: []byte(`@id("again") permit (principal, action, resource);`), ModTime: at.Add(time.Second)}
	at = at.Add(time.Hour)
	if !allowed() || len(r.hashes) != 3 {
		t.Error("an old change is not in force at the first look")
	}
	// Once a second is enough.
	delete(files, "b.cedar")
	at = at.Add(time.Second - time.Nanosecond)
	if allowed(); len(r.hashes) != 3 {
		t.Error("the folder was looked at twice in a second")
	}
	at = at.Add(time.Second)
	if allowed(); len(r.hashes) != 4 {
		t.Error("a file that is gone is still in force")
	}

	// An invalid set leaves the old one in force, and is reported once.
	files["b.cedar"] = &fstest.MapFile{Data: []byte(`@id("x") permit (principal, action == Action::"value.print", resource);`), ModTime: now}
	for range 3 {
		at = at.Add(time.Second)
		if !allowed() {
			t.Error("an invalid set denies")
		}
	}
	if len(r.errs) != 1 || !errors.Is(r.errs[0], coffer.ErrInvalid) || !errors.Is(f.Err(), coffer.ErrInvalid) {
		t.Errorf("invalid set: reported %v, Err %v", r.errs, f.Err())
	}
	clear(files)
	at = at.Add(time.Second)
	if !allowed() || len(r.errs) != 2 {
		t.Errorf("empty folder: reported %v", r.errs)
	}
	files["a.cedar"] = &fstest.MapFile{Data: []byte(openDoor), ModTime: now.Add(-time.Hour)}
	at = at.Add(time.Second)
	if allowed(); f.Err() != nil || len(r.hashes) != 4 {
		t.Errorf("after the old set was put back: %v, %v", f.Err(), r.hashes)
	}

	// What cannot be reported does not come into force, and the old set does not go on as if nothing were.
	files["a.cedar"] = &fstest.MapFile{Data: []byte(openDoor + shut), ModTime: now}
	at, r.fail = at.Add(time.Second), coffer.ErrUnavailable
	if _, err := f.Current(at, r.take); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("unreported change: %v", err)
	}
	r.fail = nil
	if allowed() || len(r.hashes) != 5 {
		t.Error("the change is not in force once it can be reported")
	}
	// A clock that was put back stops nothing.
	files["a.cedar"] = &fstest.MapFile{Data: []byte(openDoor), ModTime: now.Add(-24 * time.Hour)}
	at = at.Add(-time.Hour)
	if !allowed() {
		t.Error("a clock that was put back stopped the looking")
	}
}

func TestFollowRefusesWhatLoadRefuses(t *testing.T) {
	if _, err := access.Follow(fstest.MapFS{}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("empty folder: %v", err)
	}
	f, err := access.Follow(nil)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	p, err := f.Current(now, r.take)
	if err != nil || !slices.Contains(p.IDs(), "engineer-see") {
		t.Errorf("default set: %v", err)
	}
}
