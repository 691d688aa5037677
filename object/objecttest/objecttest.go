// Package objecttest is the specification of package object as tests. Every adapter runs [Test].
package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"coffer"
	"coffer/internal/fault"
	"coffer/object"
)

// Storage is one storage under test, with one empty bucket that never had versioning.
type Storage struct {
	Store  object.Store
	Bucket string
	// Second is the same storage as another process sees it. Nil: Store.
	Second object.Store
	// Put and Remove are another program that knows nothing of Coffer: it writes or removes the object, unconditionally.
	Put    func(t testing.TB, key string, body []byte)
	Remove func(t testing.TB, key string)
	// SetVersioning switches versioning of the bucket on or suspends it. Nil: the storage has none.
	SetVersioning func(t testing.TB, on bool)
	// ForeignVersions says that what Put and Remove replace or remove in a versioned bucket becomes a noncurrent version.
	ForeignVersions bool
	// IgnoresVersionID says that a version id is not compared in a bucket without versioning.
	IgnoresVersionID bool
	// SetFault sets the injector that fails the calls of Store. Nil: calls cannot be failed.
	SetFault func(*fault.Injector)
	// Requests says that a call of the injector is a request to a server: a method makes several, and may repeat one that failed or
	// find out what became of it.
	Requests bool
	// Slow says that a write takes so long that a listing of several pages is left to other storages.
	Slow bool
	// Lock locks a version against removal. Nil: the storage has no locks.
	Lock func(t testing.TB, o coffer.Object, why string)
	// SweepsLiving says that Sweep also takes stages that are in somebody's hands.
	SweepsLiving bool
	// CannotHold are keys, legal in S3, that this storage refuses with coffer.ErrInvalid.
	CannotHold []string
	// Wrong is where the server behind the storage is known to be wrong, so that no adapter can be right on it.
	Wrong Wrong
}

// Wrong are known faults of servers that stand in for another in tests. Each leaves out what it says and no more.
type Wrong struct {
	Keys        []string // are lost or changed
	NoClasses   bool     // every object is STANDARD
	OldAttrs    bool     // a PUT keeps attributes of what it replaces
	TagBytes    bool     // the length of tags is counted in bytes
	NoNull      bool     // the version "null" cannot be named
	MarkerIsAll bool     // a condition that nothing be there fails on a delete marker
	LateDelete  bool     // a conditional delete compares and removes in two steps
	NoEmptyTags bool     // an empty tag set is an error
	MarkerOrder bool     // markers are listed apart from versions, with times to the second, so that their order is lost
	NoSuspended bool     // suspending versioning removes versions
	// LateConditions: conditions are looked at before the write and not with it, so that of writers at the same moment two can win.
	LateConditions bool
}

// Test runs the suite on storages that open makes, a fresh one for each test.
func Test(t *testing.T, open func(t testing.TB) Storage) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"RoundTrip", testRoundTrip},
		{"Missing", testMissing},
		{"Keys", testKeys},
		{"Pinned", testPinned},
		{"Stage", testStage},
		{"Conditions", testConditions},
		{"Race", testRace},
		{"RaceToCreate", testRaceToCreate},
		{"RaceToDelete", testRaceToDelete},
		{"Foreign", testForeign},
		{"ReadWhileReplaced", testReadWhileReplaced},
		{"Delete", testDelete},
		{"Copy", testCopy},
		{"Tags", testTags},
		{"TagLimits", testTagLimits},
		{"Retag", testRetag},
		{"List", testList},
		{"ListOrder", testListOrder},
		{"Versions", testVersions},
		{"VersionsRemoved", testVersionsRemoved},
		{"Suspended", testSuspended},
		{"Locks", testLocks},
		{"Sweep", testSweep},
		{"Canceled", testCanceled},
		{"Faults", testFaults},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := open(t)
			if st.Second == nil {
				st.Second = st.Store
			}
			c.run(&suite{t, st})
		})
	}
}

type suite struct {
	*testing.T
	Storage
}

func (s *suite) key(k string) coffer.Object { return coffer.Object{Bucket: s.Bucket, Key: k} }

// want fails unless err wraps the sentinel.
func (s *suite) want(err, sentinel error, what string) {
	s.Helper()
	if !errors.Is(err, sentinel) {
		s.Fatalf("%s: error %v, want one that wraps %q", what, err, sentinel)
	}
}

func (s *suite) ok(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *suite) stage(o coffer.Object, body string, a object.Attrs) object.Staged {
	s.Helper()
	st, err := s.Store.Stage(s.Context(), o, a, func(w io.Writer) error { _, err := io.WriteString(w, body); return err })
	s.ok(err, "stage")
	return st
}

// put commits body as the object o, under the condition that o's ETag is.
func (s *suite) put(o coffer.Object, body string, a object.Attrs) coffer.Object {
	s.Helper()
	made, err := s.stage(o, body, a).Commit(s.Context())
	s.ok(err, "commit")
	return made
}

func (s *suite) stat(o coffer.Object) object.Info {
	s.Helper()
	i, err := s.Store.Stat(s.Context(), o)
	s.ok(err, "stat")
	return i
}

// holds fails unless the object has exactly this body, read through both views and at random.
func (s *suite) holds(o coffer.Object, body string) {
	s.Helper()
	for _, store := range []object.Store{s.Store, s.Second} {
		b, err := store.Open(s.Context(), o)
		s.ok(err, "open")
		got, err := io.ReadAll(b)
		s.ok(err, "read")
		if string(got) != body {
			s.Fatalf("object has %d bytes of SHA-256 %x, want %d bytes of %x", len(got), sha256.Sum256(got), len(body),
				sha256.Sum256([]byte(body)))
		}
		if b.Info.Size != int64(len(body)) || b.Info.ETag == "" || b.Info.ETagIsMD5 && b.Info.ETag != etag(body) {
			s.Fatalf("info of a body of %d bytes: size %d, ETag %q", len(body), b.Info.Size, b.Info.ETag)
		}
		if b.ReaderAt != nil && len(body) > 2 {
			var two [2]byte
			if n, err := b.ReaderAt.ReadAt(two[:], 1); n != 2 || string(two[:]) != body[1:3] {
				s.Fatalf("reading at random: %d bytes, %v", n, err)
			}
		}
		s.ok(b.Close(), "close")
	}
}

func (s *suite) gone(o coffer.Object) {
	s.Helper()
	_, err := s.Store.Stat(s.Context(), o)
	s.want(err, coffer.ErrNotFound, "stat of what is not there")
	_, err = s.Second.Open(s.Context(), o)
	s.want(err, coffer.ErrNotFound, "open of what is not there")
}

func etag(body string) string {
	h := md5.Sum([]byte(body))
	return hex.EncodeToString(h[:])
}

func collect(s *suite, seq iter.Seq2[object.Info, error]) []object.Info {
	s.Helper()
	var infos []object.Info
	for i, err := range seq {
		s.ok(err, "sequence")
		infos = append(infos, i)
	}
	return infos
}

func keys(infos []object.Info) []string {
	var ks []string
	for _, i := range infos {
		ks = append(ks, i.Key)
	}
	return ks
}

func (s *suite) list(prefix, after string) []string {
	s.Helper()
	return keys(collect(s, s.Store.List(s.Context(), s.Bucket, prefix, after)))
}

func sorted(tags []coffer.Tag) []coffer.Tag {
	return slices.SortedFunc(slices.Values(tags), func(a, b coffer.Tag) int { return strings.Compare(a.Key, b.Key) })
}

func sameTags(a, b []coffer.Tag) bool { return slices.Equal(sorted(a), sorted(b)) }

func (s *suite) full() object.Attrs {
	a := fullAttrs
	if s.Wrong.NoClasses {
		a.StorageClass = "STANDARD"
	}
	return a
}

var fullAttrs = object.Attrs{
	ContentType: "text/csv", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: `attachment; filename="a.csv"`,
	CacheControl: "no-store", Expires: "not a date", Redirect: "/elsewhere", StorageClass: "STANDARD_IA",
	Metadata: map[string]string{"source": "moontrust", "run": "7"},
	Tags:     []coffer.Tag{{Key: "team", Value: "payments"}, {Key: "empty", Value: ""}},
}

// sameAttrs compares all but System, which the adapter may have filled. Tags have no order.
func sameAttrs(a, b object.Attrs) bool {
	a.System, b.System = nil, nil
	a.Tags, b.Tags = sorted(a.Tags), sorted(b.Tags)
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

func testRoundTrip(s *suite) {
	for i, body := range []string{"", "a", "name,account\nAda,0001\n", strings.Repeat("0123456789abcdef", 200_000)} {
		o := s.key(fmt.Sprintf("dir/file-%d.csv", i))
		st := s.stage(o, body, s.full())
		if st.Size() != int64(len(body)) || st.SHA256() != sha256.Sum256([]byte(body)) {
			s.Fatalf("staged %d bytes: size %d, wrong SHA-256: %v", len(body), st.Size(), st.SHA256() != sha256.Sum256([]byte(body)))
		}
		made, err := st.Commit(s.Context())
		s.ok(err, "commit")
		if made.Bucket != o.Bucket || made.Key != o.Key || made.ETag != etag(body) || made.VersionID != "" {
			s.Fatalf("commit returned another object than was written (ETag %q, version %q)", made.ETag, made.VersionID)
		}
		s.holds(o, body)
		s.holds(made, body)
		info := s.stat(o)
		if info.Object != made || !info.Latest || info.Marker || !info.ETagIsMD5 || info.Modified.IsZero() {
			s.Fatalf("stat disagrees with commit: %+v", info)
		}
		if !sameAttrs(info.Attrs, s.full()) {
			s.Fatalf("attributes changed on the way: %+v", info.Attrs)
		}
		// Attrs go back unchanged, System too.
		again := s.put(made, body+"x", info.Attrs)
		if got := s.stat(again); fmt.Sprint(got.Attrs) != fmt.Sprint(info.Attrs) {
			s.Fatalf("attributes changed in a rewrite: %+v, were %+v", got.Attrs, info.Attrs)
		}
	}
	v, err := s.Store.Versioning(s.Context(), s.Bucket)
	if err != nil || v != object.VersioningOff {
		s.Fatalf("versioning of a new bucket: %q, %v", v, err)
	}
	c, err := s.Store.Copies(s.Context(), s.key("dir/file-0.csv"))
	if err != nil || len(c) > 0 {
		s.Fatalf("copies of an object without copies: %v, %v", c, err)
	}
}

func testMissing(s *suite) {
	ctx := s.Context()
	o := s.key("no/such")
	s.gone(o)
	s.want(s.Store.Tag(ctx, o, nil), coffer.ErrNotFound, "tag")
	_, err := s.Store.Delete(ctx, o)
	s.want(err, coffer.ErrNotFound, "delete")
	_, err = s.Store.Copy(ctx, s.key("copy"), o)
	s.want(err, coffer.ErrNotFound, "copy")
	_, err = s.Store.Copies(ctx, o)
	s.want(err, coffer.ErrNotFound, "copies")
	if vs := collect(s, s.Store.Versions(ctx, o)); len(vs) > 0 {
		s.Fatalf("%d versions of nothing", len(vs))
	}
	if ks := s.list("", ""); len(ks) > 0 {
		s.Fatalf("an empty bucket lists %d objects", len(ks))
	}

	n := coffer.Object{Bucket: "no-such-bucket", Key: "a"}
	s.gone(n)
	for _, err := range s.Store.List(ctx, n.Bucket, "", "") {
		s.want(err, coffer.ErrNotFound, "list without bucket")
	}
	for _, err := range s.Store.Versions(ctx, n) {
		s.want(err, coffer.ErrNotFound, "versions without bucket")
	}
	_, err = s.Store.Versioning(ctx, n.Bucket)
	s.want(err, coffer.ErrNotFound, "versioning without bucket")
	_, err = s.Store.Stage(ctx, n, object.Attrs{}, func(io.Writer) error { return nil })
	s.want(err, coffer.ErrNotFound, "stage without bucket")

	made := s.put(s.key("a"), "body", object.Attrs{})
	made.VersionID = "no-such-version"
	if s.IgnoresVersionID {
		s.holds(made, "body")
	} else {
		s.gone(made)
		_, err = s.Store.Delete(ctx, made)
		s.want(err, coffer.ErrNotFound, "delete of a version that is not there")
	}
	made.ETag = ""
	_, err = s.Store.Delete(ctx, made)
	s.want(err, coffer.ErrNotFound, "delete of an unknown version without ETag")
	s.holds(s.key("a"), "body")
}

// awkward keys are legal in S3.
var awkward = []string{
	" leading and trailing ", "a..b", "...", "..a/b..", ".hidden", "ünïcödé/日本語/😀.csv", "new\nline", "tab\tand\x01control",
	`quote"'back\slash`, "percent%2Fencoded", "a+b=c&d?e#f", "-rf", "~", "con", strings.Repeat("k", 255),
	strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 5), "/"),
	"e\u0301", "\u00e9x", "a/b/c/d/e/f/g/h", "trailing./dot.", "a//b", "/leading", "trailing/", "./a", "a/../b", "..", "nul\x00byte",
	strings.Repeat("k", 256), ".coffer-stage-x", "a/.coffer-x/b",
}

func testKeys(s *suite) {
	for _, k := range awkward {
		o := s.key(k)
		if slices.Contains(s.Wrong.Keys, k) {
			continue
		}
		if slices.Contains(s.CannotHold, k) {
			_, err := s.Store.Stat(s.Context(), o)
			s.want(err, coffer.ErrInvalid, fmt.Sprintf("stat of %q", k))
			_, err = s.Store.Stage(s.Context(), o, object.Attrs{}, func(io.Writer) error { return nil })
			s.want(err, coffer.ErrInvalid, fmt.Sprintf("stage of %q", k))
			_, err = s.Store.Delete(s.Context(), o)
			s.want(err, coffer.ErrInvalid, fmt.Sprintf("delete of %q", k))
			for _, err := range s.Store.Versions(s.Context(), o) {
				s.want(err, coffer.ErrInvalid, fmt.Sprintf("versions of %q", k))
			}
			continue
		}
		st := s.stage(o, "body of "+k, object.Attrs{})
		made, err := st.Commit(s.Context())
		s.ok(err, fmt.Sprintf("commit of %q", k))
		s.holds(made, "body of "+k)
		if !slices.Contains(s.list("", ""), k) {
			s.Fatalf("%q is not listed", k)
		}
		if got := s.list(k, ""); len(got) == 0 || got[0] != k {
			s.Fatalf("%q is not listed under itself as prefix", k)
		}
		_, err = s.Store.Delete(s.Context(), made)
		s.ok(err, "delete")
		s.gone(o)
	}
	for _, k := range []string{"", strings.Repeat("long/", 205), "not\xffutf8"} {
		_, err := s.Store.Stat(s.Context(), s.key(k))
		s.want(err, coffer.ErrInvalid, "stat of an impossible key")
		_, err = s.Store.Stage(s.Context(), s.key(k), object.Attrs{}, func(io.Writer) error { return nil })
		s.want(err, coffer.ErrInvalid, "stage of an impossible key")
	}
	if ks := s.list("", ""); len(ks) > 0 {
		s.Fatalf("left: %q", ks)
	}
}

func testPinned(s *suite) {
	made := s.put(s.key("a"), "one", object.Attrs{})
	wrong := made
	wrong.ETag = etag("other")
	_, err := s.Store.Stat(s.Context(), wrong)
	s.want(err, coffer.ErrChanged, "stat with another ETag")
	_, err = s.Store.Open(s.Context(), wrong)
	s.want(err, coffer.ErrChanged, "open with another ETag")
	s.want(s.Store.Tag(s.Context(), wrong, nil), coffer.ErrChanged, "tag with another ETag")
	quoted := made
	quoted.ETag = `"` + made.ETag + `"`
	s.holds(quoted, "one")
}

func testStage(s *suite) {
	ctx := s.Context()
	o := s.key("a/b")
	st := s.stage(o, "next", s.full())
	s.gone(o)
	if ks := s.list("", ""); len(ks) > 0 {
		s.Fatalf("a staged object is listed: %q", ks)
	}
	b, err := st.Open(ctx)
	s.ok(err, "open staged")
	got, err := io.ReadAll(b)
	s.ok(err, "read staged")
	s.ok(b.Close(), "close staged")
	if string(got) != "next" || b.Info.Size != 4 || b.Info.ETag != etag("next") || !sameAttrs(b.Info.Attrs, s.full()) {
		s.Fatalf("staged bytes read back as %d bytes, %+v", len(got), b.Info)
	}
	s.ok(st.Abort(ctx), "abort")
	s.ok(st.Abort(ctx), "abort again")
	_, err = st.Open(ctx)
	s.want(err, coffer.ErrNotFound, "open after abort")
	_, err = st.Commit(ctx)
	s.want(err, coffer.ErrNotFound, "commit after abort")
	s.gone(o)

	failure := errors.New("fill failed")
	_, err = s.Store.Stage(ctx, o, object.Attrs{}, func(w io.Writer) error {
		_, werr := io.WriteString(w, "half")
		return errors.Join(werr, failure)
	})
	s.want(err, failure, "stage whose fill fails")
	_, err = s.Store.Stage(ctx, o, object.Attrs{Tags: []coffer.Tag{{Key: "", Value: "x"}}}, func(io.Writer) error { return nil })
	s.want(err, coffer.ErrInvalid, "stage with a tag without key")

	st = s.stage(o, "next", object.Attrs{})
	made, err := st.Commit(ctx)
	s.ok(err, "commit")
	s.ok(st.Abort(ctx), "abort after commit")
	again, err := st.Commit(ctx)
	if err != nil || again != made {
		s.Fatalf("second commit: %v", err)
	}
	s.holds(made, "next")
	n, err := s.Store.Sweep(ctx, 0)
	if err != nil || n != 0 {
		s.Fatalf("sweep found %d stages where none is left, %v", n, err)
	}
}

func testConditions(s *suite) {
	ctx := s.Context()
	o := s.key("a")
	with := func(etag string) coffer.Object { o := o; o.ETag = etag; return o }

	_, err := s.stage(with(etag("x")), "one", object.Attrs{}).Commit(ctx)
	s.want(err, coffer.ErrConflict, "replacing what is not there")
	s.gone(o)
	one := s.put(o, "one", s.full())
	_, err = s.stage(o, "two", object.Attrs{}).Commit(ctx)
	s.want(err, coffer.ErrConflict, "creating what is there")
	_, err = s.stage(with(etag("x")), "two", object.Attrs{}).Commit(ctx)
	s.want(err, coffer.ErrConflict, "replacing another version")
	s.holds(one, "one")
	if !sameAttrs(s.stat(one).Attrs, s.full()) {
		s.Fatal("a failed commit changed attributes")
	}

	// A conflict can be overcome: the stage is still there when the condition holds again.
	st := s.stage(with(etag("two")), "three", object.Attrs{})
	_, err = st.Commit(ctx)
	s.want(err, coffer.ErrConflict, "commit too early")
	two := s.put(one, "two", object.Attrs{})
	three, err := st.Commit(ctx)
	s.ok(err, "commit when the condition holds")
	s.holds(three, "three")
	_ = two

	_, err = s.Store.Delete(ctx, with(etag("two")))
	s.want(err, coffer.ErrConflict, "delete of another version")
	s.holds(o, "three")
	_, err = s.Store.Delete(ctx, with(`"`+three.ETag+`"`))
	s.ok(err, "delete under a quoted ETag")
	s.gone(o)
	s.put(o, "again", object.Attrs{})
}

// race runs n attempts at once, from both views, and returns how many had an error that is not coffer.ErrConflict, and which
// succeeded.
func (s *suite) race(n int, attempt func(i int, store object.Store) error) (winners []int) {
	s.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		store := s.Store
		if i%2 == 1 {
			store = s.Second
		}
		wg.Go(func() {
			<-start
			errs[i] = attempt(i, store)
		})
	}
	close(start)
	wg.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
			winners = append(winners, i)
		case !errors.Is(err, coffer.ErrConflict) && !errors.Is(err, coffer.ErrNotFound):
			s.Fatalf("racer %d: %v", i, err)
		}
	}
	return winners
}

const racers = 8

func fillWith(body string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, body); return err }
}

func commitBody(ctx context.Context, store object.Store, o coffer.Object, body string) error {
	st, err := store.Stage(ctx, o, object.Attrs{Metadata: map[string]string{"body": body}}, fillWith(body))
	if err != nil {
		return err
	}
	if _, err = st.Commit(ctx); err != nil {
		return errors.Join(err, st.Abort(ctx))
	}
	return nil
}

func testRace(s *suite) {
	if s.Wrong.LateConditions {
		s.Log("left out: the server is wrong here")
		return
	}
	cur := s.put(s.key("a/b"), "start", object.Attrs{})
	for round := range 8 {
		w := s.race(racers, func(i int, store object.Store) error {
			return commitBody(s.Context(), store, cur, fmt.Sprintf("%d of round %d", i, round))
		})
		if len(w) != 1 {
			s.Fatalf("round %d: %d winners", round, len(w))
		}
		body := fmt.Sprintf("%d of round %d", w[0], round)
		s.holds(s.key("a/b"), body)
		info := s.stat(s.key("a/b"))
		if info.Attrs.Metadata["body"] != body {
			s.Fatal("the winner's bytes carry a loser's attributes")
		}
		cur = info.Object
	}
}

func testRaceToCreate(s *suite) {
	if s.Wrong.LateConditions {
		s.Log("left out: the server is wrong here")
		return
	}
	o := s.key("deep/er/a")
	for round := range 8 {
		w := s.race(racers, func(i int, store object.Store) error {
			return commitBody(s.Context(), store, o, fmt.Sprintf("%d of round %d", i, round))
		})
		if len(w) != 1 {
			s.Fatalf("round %d: %d winners", round, len(w))
		}
		s.holds(o, fmt.Sprintf("%d of round %d", w[0], round))
		_, err := s.Store.Delete(s.Context(), o)
		s.ok(err, "delete")
	}
}

func testRaceToDelete(s *suite) {
	if s.Wrong.LateDelete || s.Wrong.LateConditions {
		s.Log("left out: the server is wrong here")
		return
	}
	for range 8 {
		cur := s.put(s.key("x/y/a"), "start", object.Attrs{})
		w := s.race(racers, func(i int, store object.Store) error {
			if i < racers/2 {
				_, err := store.Delete(s.Context(), cur)
				return err
			}
			return commitBody(s.Context(), store, cur, "next")
		})
		if len(w) != 1 {
			s.Fatalf("%d winners", len(w))
		}
		if w[0] < racers/2 {
			s.gone(s.key("x/y/a"))
			continue
		}
		s.holds(s.key("x/y/a"), "next")
		_, err := s.Store.Delete(s.Context(), s.key("x/y/a"))
		s.ok(err, "delete")
	}
}

// testForeign lets another program write or remove the object between every two calls.
func testForeign(s *suite) {
	ctx := s.Context()
	n := 0
	fresh := func() (coffer.Object, string) {
		n++
		o := s.key(fmt.Sprintf("f/%d/a", n))
		return s.put(o, "ours", s.full()), o.Key
	}
	// Of the same length, so that size alone does not tell.
	for _, body := range []string{"them", "them, longer"} {
		o, k := fresh()
		s.Put(s, k, []byte(body))
		_, err := s.Store.Stat(ctx, o)
		s.want(err, coffer.ErrChanged, "stat")
		_, err = s.Store.Open(ctx, o)
		s.want(err, coffer.ErrChanged, "open")
		s.want(s.Store.Tag(ctx, o, nil), coffer.ErrChanged, "tag")
		_, err = s.Store.Delete(ctx, o)
		s.want(err, coffer.ErrConflict, "delete")
		_, err = s.Store.Copy(ctx, s.key("copy"), o)
		s.want(err, coffer.ErrChanged, "copy of a changed source")
		o.ETag = ""
		s.holds(o, body)
		if a := s.stat(o).Attrs; !s.Wrong.OldAttrs && (len(a.Tags) > 0 || len(a.Metadata) > 0) {
			s.Fatalf("a foreign object inherited attributes: %+v", a)
		}

		o, k = fresh()
		st := s.stage(o, "next", object.Attrs{})
		s.Put(s, k, []byte(body))
		_, err = st.Commit(ctx)
		s.want(err, coffer.ErrConflict, "commit over a foreign object")
		s.holds(s.key(k), body)
		s.Remove(s, k)
		_, err = st.Commit(ctx)
		s.want(err, coffer.ErrConflict, "commit over a removed object")
		s.ok(st.Abort(ctx), "abort")
		s.gone(s.key(k))

		k += "new"
		st = s.stage(s.key(k), "next", object.Attrs{})
		s.Put(s, k, []byte(body))
		_, err = st.Commit(ctx)
		s.want(err, coffer.ErrConflict, "creating over a foreign object")
		s.ok(st.Abort(ctx), "abort")
		s.holds(s.key(k), body)

		// The condition is about bytes: a foreign writer of equal bytes is no conflict, and its attributes count.
		o, k = fresh()
		s.Put(s, k, []byte("ours"))
		s.holds(o, "ours")
		s.put(o, "next", s.stat(o).Attrs)
		s.holds(s.key(k), "next")
		if len(s.stat(s.key(k)).Attrs.Tags) > 0 && !s.Wrong.OldAttrs {
			s.Fatal("tags of a replaced object came back")
		}
	}
}

func testReadWhileReplaced(s *suite) {
	old := strings.Repeat("old bytes ", 400_000)
	o := s.put(s.key("a"), old, object.Attrs{})
	b, err := s.Store.Open(s.Context(), o)
	s.ok(err, "open")
	head := make([]byte, 100)
	_, err = io.ReadFull(b, head)
	s.ok(err, "read")
	s.put(o, strings.Repeat("new", 1000), object.Attrs{})
	s.Put(s, "a", []byte(strings.Repeat("foreign", 1000)))
	rest, err := io.ReadAll(b)
	s.ok(errors.Join(b.Close()), "close")
	if err != nil {
		s.want(err, coffer.ErrChanged, "read after replacement")
	} else if string(head)+string(rest) != old {
		s.Fatal("mixed bytes without an error")
	}
	// And the sequential contract of io.Reader.
	b, err = s.Store.Open(s.Context(), s.key("a"))
	s.ok(err, "open")
	s.ok(iotest.TestReader(b, []byte(strings.Repeat("foreign", 1000))), "reader")
	s.ok(b.Close(), "close")
}

func testDelete(s *suite) {
	o := s.put(s.key("a/b/c"), "body", s.full())
	gone, err := s.Store.Delete(s.Context(), o)
	if err != nil || gone != o {
		s.Fatalf("delete: %v, %v", gone, err)
	}
	s.gone(s.key("a/b/c"))
	if ks := s.list("", ""); len(ks) > 0 {
		s.Fatalf("left: %q", ks)
	}
	// The name is free: as an object again, without the old attributes, and as what was its folder.
	made := s.put(s.key("a/b/c"), "body", object.Attrs{})
	if a := s.stat(made).Attrs; len(a.Tags) > 0 || len(a.Metadata) > 0 {
		s.Fatal("attributes outlived a delete")
	}
	_, err = s.Store.Delete(s.Context(), s.key("a/b/c"))
	s.ok(err, "delete without condition")
	s.put(s.key("a"), "file", object.Attrs{})
	s.holds(s.key("a"), "file")
}

func testCopy(s *suite) {
	ctx := s.Context()
	body := strings.Repeat("copy me ", 100_000)
	src := s.put(s.key("src"), body, s.full())
	made, err := s.Store.Copy(ctx, s.key("to/dst"), src)
	s.ok(err, "copy")
	if made.Key != "to/dst" || made.ETag != etag(body) {
		s.Fatalf("copy returned %v", made)
	}
	s.holds(made, body)
	if !sameAttrs(s.stat(made).Attrs, s.full()) {
		s.Fatal("a copy lost attributes")
	}
	// Of other bytes: after a lost answer an object of the same bytes would count as the copy.
	other := s.put(s.key("other"), "other", object.Attrs{})
	_, err = s.Store.Copy(ctx, s.key("to/dst"), other)
	s.want(err, coffer.ErrConflict, "copy over an object")
	stale := made
	stale.ETag = etag("x")
	_, err = s.Store.Copy(ctx, stale, other)
	s.want(err, coffer.ErrConflict, "copy over another version")
	_, err = s.Store.Copy(ctx, made, other)
	s.ok(err, "copy over this version")
	s.holds(s.key("to/dst"), "other")
	s.holds(src, body)
}

func testTags(s *suite) {
	ctx := s.Context()
	o := s.put(s.key("a"), "body", s.full())
	for _, tags := range [][]coffer.Tag{
		{{Key: "one", Value: "1"}}, {{Key: "z", Value: ""}, {Key: "a", Value: "+ - = . _ : / @ é 日本"}}, nil,
	} {
		if len(tags) == 0 && s.Wrong.NoEmptyTags {
			continue
		}
		s.ok(s.Store.Tag(ctx, o, tags), "tag")
		info := s.stat(o)
		if !sameTags(info.Attrs.Tags, tags) {
			s.Fatalf("tags %v, want %v", info.Attrs.Tags, tags)
		}
		info.Attrs.Tags = fullAttrs.Tags
		if info.Object != o || !sameAttrs(info.Attrs, s.full()) {
			s.Fatal("tagging changed more than tags")
		}
	}
	s.Put(s, "dropped", []byte("theirs"))
	d := s.key("dropped")
	s.ok(s.Store.Tag(ctx, d, []coffer.Tag{{Key: "k", Value: "v"}}), "tag a foreign object")
	if got := s.stat(d).Attrs.Tags; len(got) != 1 {
		s.Fatalf("%d tags", len(got))
	}
	s.holds(d, "theirs")
	s.Put(s, "dropped", []byte("theirs, again"))
	if got := s.stat(d).Attrs.Tags; len(got) != 0 && !s.Wrong.OldAttrs {
		s.Fatal("a PUT kept tags")
	}
}

func testTagLimits(s *suite) {
	o := s.put(s.key("a"), "body", s.full())
	full := make([]coffer.Tag, object.MaxTags)
	value := strings.Repeat("ü", object.MaxTagValue)
	if s.Wrong.TagBytes {
		value = strings.Repeat("v", object.MaxTagValue)
	}
	for i := range full {
		full[i] = coffer.Tag{Key: fmt.Sprintf("%d%s", i, strings.Repeat("k", object.MaxTagKey-1)), Value: value}
	}
	s.ok(s.Store.Tag(s.Context(), o, full), "the largest tag set")
	for name, tags := range map[string][]coffer.Tag{
		"eleven":     append(slices.Clone(full), coffer.Tag{Key: "k"}),
		"long key":   {{Key: strings.Repeat("k", object.MaxTagKey+1)}},
		"long value": {{Key: "k", Value: strings.Repeat("v", object.MaxTagValue+1)}},
		"no key":     {{Value: "v"}},
		"twice":      {{Key: "k", Value: "1"}, {Key: "k", Value: "2"}},
		"character":  {{Key: "k", Value: "a;b"}},
		"reserved":   {{Key: "aws:k", Value: "v"}},
		"not UTF-8":  {{Key: "k", Value: "\xff"}},
	} {
		s.want(s.Store.Tag(s.Context(), o, tags), coffer.ErrInvalid, name)
	}
	if !sameTags(s.stat(o).Attrs.Tags, full) {
		s.Fatal("a refused tag set changed tags")
	}
}

func testRetag(s *suite) {
	o := s.put(s.key("a"), "body", object.Attrs{Tags: []coffer.Tag{{Key: "team", Value: "x"}, {Key: "ours", Value: "old"}}})
	for range 2 {
		s.ok(object.Retag(s.Context(), s.Store, o, map[string]string{"ours": "new", "also": "1"}), "retag")
		want := []coffer.Tag{{Key: "team", Value: "x"}, {Key: "ours", Value: "new"}, {Key: "also", Value: "1"}}
		if got := s.stat(o).Attrs.Tags; !sameTags(got, want) {
			s.Fatalf("tags %v, want %v", got, want)
		}
	}
}

func testList(s *suite) {
	all := []string{"a", "a-b", "a.b", "a/b", "a/b.c/d", "a0", "b/a", "b/a-", "b/a/x", "é"}
	var held []string
	for _, k := range all {
		if k == "a" || k == "b/a" { // a file and a folder: not everywhere
			continue
		}
		s.Put(s, k, []byte(k))
		held = append(held, k)
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b.", "b/", "b/a/", "c", "é", "a/b/"} {
		for _, after := range append([]string{"", "a", "a/", "a/b.", "b", "b/a.", "zzz"}, held...) {
			var want []string
			for _, k := range held {
				if strings.HasPrefix(k, prefix) && k > after {
					want = append(want, k)
				}
			}
			if got := s.list(prefix, after); !slices.Equal(got, want) {
				s.Fatalf("list(%q, %q) = %q, want %q", prefix, after, got, want)
			}
		}
	}
	for i := range s.Store.List(s.Context(), s.Bucket, "", "") {
		if i.Bucket != s.Bucket || i.Size != int64(len(i.Key)) || i.Modified.IsZero() || i.Marker || !i.Latest {
			s.Fatalf("listed: %+v", i)
		}
		break // stopping early is no error
	}
	buckets := collect(s, s.Store.List(s.Context(), "", "", ""))
	if len(buckets) != 1 || buckets[0].Bucket != s.Bucket || buckets[0].Key != "" {
		s.Fatalf("buckets: %+v", buckets)
	}
}

func testListOrder(s *suite) {
	var want []string
	n := 1500
	if s.Slow {
		n = 150
	}
	for i := range n {
		k := fmt.Sprintf("%s%d%s", []string{"x", "x/", "x-", "x.y/"}[i%4], i, []string{"", "/f", "-g"}[i%3])
		s.Put(s, k, nil)
		want = append(want, k)
	}
	slices.Sort(want)
	if got := s.list("", ""); !slices.Equal(got, want) {
		s.Fatalf("%d keys out of order or missing", len(got))
	}
	// Paging by "after" gives the same as one listing.
	var paged []string
	for after := ""; ; {
		n := 0
		for i, err := range s.Store.List(s.Context(), s.Bucket, "x", after) {
			s.ok(err, "list")
			paged, after = append(paged, i.Key), i.Key
			if n++; n == 97 {
				break
			}
		}
		if n == 0 {
			break
		}
	}
	if !slices.Equal(paged, want) {
		s.Fatalf("%d keys by pages, want %d", len(paged), len(want))
	}
}

// history is what Versions is to say, newest first: a body, or "marker".
func (s *suite) history(key string, want ...string) []object.Info {
	s.Helper()
	vs := collect(s, s.Store.Versions(s.Context(), s.key(key)))
	if len(vs) != len(want) {
		s.Fatalf("%d versions, want %d", len(vs), len(want))
	}
	if s.Wrong.MarkerOrder {
		// The newest is known. What is below it may stand anywhere among the versions.
		below := func(i object.Info) bool { return i.Marker && !i.Latest }
		n := len(vs)
		vs = slices.DeleteFunc(vs, below)
		n -= len(vs)
		for i := len(want) - 1; i > 0 && n > 0; i-- {
			if want[i] == "marker" {
				want, n = slices.Delete(slices.Clone(want), i, i+1), n-1
			}
		}
	}
	ids := map[string]bool{}
	for i, v := range vs {
		if v.VersionID == "" || ids[v.VersionID] {
			s.Fatalf("version %d has no id of its own", i)
		}
		ids[v.VersionID] = true
		if v.Marker != (want[i] == "marker") {
			s.Fatalf("version %d: marker %v, want %v", i, v.Marker, !v.Marker)
		}
		if v.Marker {
			s.gone(v.Object)
			continue
		}
		s.holds(v.Object, want[i])
		if got := s.stat(coffer.Object{Bucket: v.Bucket, Key: v.Key, VersionID: v.VersionID}); got.Latest != (i == 0) || v.Latest != (i == 0) {
			s.Fatalf("version %d: latest %v, %v", i, got.Latest, v.Latest)
		}
	}
	return vs
}

func (s *suite) versioned() {
	if s.SetVersioning == nil {
		s.Skip("no versions here")
	}
}

func tagged(v string) object.Attrs { return object.Attrs{Tags: []coffer.Tag{{Key: "v", Value: v}}} }

func testVersions(s *suite) {
	s.versioned()
	ctx := s.Context()
	o, past := s.key("d/a"), []string(nil)
	if !s.Wrong.NoNull {
		o, past = s.put(o, "null", tagged("0")), []string{"null"}
	}
	history := func(want ...string) []object.Info {
		s.Helper()
		return s.history("d/a", append(want, past...)...)
	}
	s.SetVersioning(s, true)
	if v, err := s.Store.Versioning(ctx, s.Bucket); err != nil || v != object.VersioningOn {
		s.Fatalf("versioning: %q, %v", v, err)
	}
	if len(past) > 0 {
		if id := s.stat(s.key("d/a")).VersionID; id != "null" {
			s.Fatalf("a version from before versioning has the id %q", id)
		}
	}
	one := s.put(o, "one", tagged("1"))
	two := s.put(one, "two", tagged("2"))
	if one.VersionID == "" || two.VersionID == "" || one.VersionID == two.VersionID {
		s.Fatal("commit returned no version of its own")
	}
	history("two", "one")
	s.holds(one, "one")
	if got := s.stat(one).Attrs.Tags; len(got) != 1 || got[0].Value != "1" {
		s.Fatalf("a noncurrent version's tags: %v", got)
	}
	s.ok(s.Store.Tag(ctx, one, []coffer.Tag{{Key: "v", Value: "1a"}}), "tag a noncurrent version")
	if a, b := s.stat(one).Attrs.Tags, s.stat(two).Attrs.Tags; len(a) != 1 || a[0].Value != "1a" || len(b) != 1 || b[0].Value != "2" {
		s.Fatalf("tags %v and %v", a, b)
	}
	wrong := one
	wrong.ETag = two.ETag
	_, err := s.Store.Open(ctx, wrong)
	s.want(err, coffer.ErrChanged, "a version with another's ETag")

	marker, err := s.Store.Delete(ctx, coffer.Object{Bucket: s.Bucket, Key: "d/a", ETag: two.ETag})
	s.ok(err, "delete")
	if marker.VersionID == "" || marker.VersionID == two.VersionID {
		s.Fatalf("delete returned no marker: %v", marker)
	}
	s.gone(s.key("d/a"))
	if ks := s.list("", ""); len(ks) > 0 {
		s.Fatalf("a deleted object is listed: %q", ks)
	}
	vs := history("marker", "two", "one")
	if !vs[0].Latest {
		s.Fatal("the marker is not the latest")
	}
	_, err = s.Store.Delete(ctx, s.key("d/a"))
	s.want(err, coffer.ErrNotFound, "delete of what is deleted")
	s.want(s.Store.Tag(ctx, s.key("d/a"), nil), coffer.ErrNotFound, "tag of what is deleted")
	s.holds(two, "two")

	if s.Wrong.MarkerIsAll {
		return
	}
	// A marker counts as nothing there.
	three := s.put(s.key("d/a"), "three", tagged("3"))
	history("three", "marker", "two", "one")
	back, err := s.Store.Copy(ctx, three, one)
	s.ok(err, "copy of an old version over the current one")
	history("one", "three", "marker", "two", "one")
	if back.VersionID == one.VersionID {
		s.Fatal("a copy kept the source's version id")
	}

	if s.ForeignVersions {
		s.Put(s, "d/a", []byte("theirs"))
		s.Remove(s, "d/a")
		history("marker", "theirs", "one", "three", "marker", "two", "one")
		return
	}
	s.Put(s, "d/a", []byte("theirs"))
	theirs := history("theirs", "three", "marker", "two", "one")[0].Object
	s.put(theirs, "four", object.Attrs{})
	if vs := history("four", "theirs", "three", "marker", "two", "one"); vs[1].Object != theirs {
		s.Fatal("a foreign version changed its id when it became noncurrent")
	}
}

func testVersionsRemoved(s *suite) {
	s.versioned()
	ctx := s.Context()
	s.SetVersioning(s, true)
	one := s.put(s.key("d/a"), "one", tagged("1"))
	two := s.put(one, "two", tagged("2"))
	three := s.put(two, "three", tagged("3"))
	remove := func(o coffer.Object, what string) {
		s.Helper()
		got, err := s.Store.Delete(ctx, o)
		s.ok(err, what)
		if got.VersionID != o.VersionID {
			s.Fatalf("%s: returned version %q", what, got.VersionID)
		}
	}
	wrong := two
	wrong.ETag = one.ETag
	_, err := s.Store.Delete(ctx, wrong)
	s.want(err, coffer.ErrConflict, "removing a version under another's ETag")
	remove(two, "removing a noncurrent version")
	s.history("d/a", "three", "one")
	_, err = s.Store.Delete(ctx, two)
	s.want(err, coffer.ErrNotFound, "removing it again")
	s.gone(two)

	remove(three, "removing the current version")
	s.history("d/a", "one")
	if got := s.stat(s.key("d/a")); got.VersionID != one.VersionID || got.Attrs.Tags[0].Value != "1" {
		s.Fatal("the older version did not come back as it was")
	}
	marker, err := s.Store.Delete(ctx, s.key(one.Key))
	s.ok(err, "delete")
	s.history("d/a", "marker", "one")
	remove(marker, "removing the marker")
	s.history("d/a", "one")
	s.holds(s.key("d/a"), "one")

	if s.Wrong.MarkerIsAll {
		return
	}
	// A marker below the current version goes without a trace.
	marker, err = s.Store.Delete(ctx, s.key(one.Key))
	s.ok(err, "delete")
	four := s.put(s.key("d/a"), "four", object.Attrs{})
	remove(marker, "removing a marker below")
	s.history("d/a", "four", "one")
	marker, err = s.Store.Delete(ctx, s.key(one.Key))
	s.ok(err, "delete")
	remove(four, "removing the version below the marker")
	s.history("d/a", "marker", "one")
	remove(one, "removing the last version")
	s.history("d/a", "marker")
	remove(marker, "removing the last marker")
	s.history("d/a")
	s.gone(s.key("d/a"))
}

func testSuspended(s *suite) {
	s.versioned()
	if s.Wrong.NoNull || s.Wrong.NoSuspended {
		s.Log("left out: the server is wrong here")
		return
	}
	ctx := s.Context()
	s.SetVersioning(s, true)
	one := s.put(s.key("a"), "one", object.Attrs{})
	s.SetVersioning(s, false)
	if v, err := s.Store.Versioning(ctx, s.Bucket); err != nil || v != object.VersioningSuspended {
		s.Fatalf("versioning: %q, %v", v, err)
	}
	two := s.put(one, "two", object.Attrs{})
	if two.VersionID != "null" {
		s.Fatalf("a commit in a suspended bucket made the version %q", two.VersionID)
	}
	s.history("a", "two", "one")
	three := s.put(two, "three", object.Attrs{})
	s.history("a", "three", "one")
	marker, err := s.Store.Delete(ctx, s.key(three.Key))
	s.ok(err, "delete")
	if marker.VersionID != "null" {
		s.Fatalf("a delete in a suspended bucket laid the marker %q", marker.VersionID)
	}
	s.history("a", "marker", "one")
	four := s.put(s.key("a"), "four", object.Attrs{})
	s.history("a", "four", "one")
	s.SetVersioning(s, true)
	s.put(four, "five", object.Attrs{})
	s.history("a", "five", "four", "one")
	s.SetVersioning(s, false)
	six := s.put(s.stat(s.key("a")).Object, "six", object.Attrs{})
	s.history("a", "six", "five", "one")
	_, err = s.Store.Delete(ctx, six)
	s.ok(err, "removing the null version")
	s.history("a", "five", "one")
}

func testLocks(s *suite) {
	if s.Lock == nil {
		s.Skip("no locks here")
	}
	ctx := s.Context()
	s.SetVersioning(s, true)
	one := s.put(s.key("a"), "one", object.Attrs{})
	s.Lock(s, one, "legal hold")
	if got := s.stat(one).Locked; got != "legal hold" {
		s.Fatalf("locked: %q", got)
	}
	_, err := s.Store.Delete(ctx, one)
	s.want(err, coffer.ErrConflict, "removing a locked version")
	two := s.put(one, "two", object.Attrs{})
	_, err = s.Store.Delete(ctx, s.key(two.Key))
	s.ok(err, "a marker over a locked version")
	_, err = s.Store.Delete(ctx, one)
	s.want(err, coffer.ErrConflict, "removing a noncurrent locked version")
	s.holds(one, "one")
	s.Lock(s, one, "")
	_, err = s.Store.Delete(ctx, one)
	s.ok(err, "removing it unlocked")
}

func testSweep(s *suite) {
	ctx := s.Context()
	o := s.put(s.key("d/a"), "body", object.Attrs{})
	st := s.stage(o, "next", object.Attrs{})
	if n, err := s.Store.Sweep(ctx, time.Hour); err != nil || n != 0 {
		s.Fatalf("sweep took %d young stages, %v", n, err)
	}
	n, err := s.Second.Sweep(ctx, 0)
	s.ok(err, "sweep")
	if s.SweepsLiving {
		if n != 1 {
			s.Fatalf("sweep took %d stages", n)
		}
		_, err = st.Commit(ctx)
		s.want(err, coffer.ErrNotFound, "commit of a swept stage")
		s.holds(o, "body")
		return
	}
	if n != 0 {
		s.Fatal("sweep took a stage that is in use")
	}
	_, err = st.Commit(ctx)
	s.ok(err, "commit")
	s.holds(s.key("d/a"), "next")
}

func testCanceled(s *suite) {
	o := s.put(s.key("a"), "body", object.Attrs{})
	st := s.stage(o, "next", object.Attrs{})
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := st.Commit(ctx)
	s.want(err, context.Canceled, "commit")
	_, err = s.Store.Delete(ctx, o)
	s.want(err, context.Canceled, "delete")
	s.want(s.Store.Tag(ctx, o, nil), context.Canceled, "tag")
	_, err = s.Store.Stage(ctx, s.key("b"), object.Attrs{}, fillWith("x"))
	s.want(err, context.Canceled, "stage")
	s.holds(o, "body")
	s.gone(s.key("b"))
	_, err = st.Commit(s.Context())
	s.ok(err, "commit with a living context")
}

// testFaults fails every call of a small workflow, before and after its effect. Before: nothing has happened. After: the bytes
// tell whether the commit happened, as the contract says.
func testFaults(s *suite) {
	if s.SetFault == nil {
		s.Skip("no faults here")
	}
	ctx := s.Context()
	n := 0
	work := func() (steps int, key string, err error) {
		n++
		key = fmt.Sprintf("f%d", n)
		s.Put(s, key, []byte("old"))
		info, err := s.Store.Stat(ctx, s.key(key))
		if err != nil {
			return 0, key, err
		}
		st, err := s.Store.Stage(ctx, info.Object, info.Attrs, fillWith("new"))
		if err != nil {
			return 1, key, err
		}
		b, err := st.Open(ctx)
		if err != nil {
			return 2, key, err
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, []byte("new")) {
			return 2, key, fmt.Errorf("%d staged bytes, %w", len(got), err)
		}
		made, err := st.Commit(ctx)
		if err != nil {
			return 3, key, err
		}
		if err := s.Store.Tag(ctx, made, []coffer.Tag{{Key: "k", Value: "v"}}); err != nil {
			return 4, key, err
		}
		if _, err := s.Store.Delete(ctx, made); err != nil {
			return 5, key, err
		}
		return 6, key, nil
	}
	if s.Requests {
		s.requestFaults(work)
		return
	}
	const calls = 6
	for call := 1; call <= calls+1; call++ {
		for _, when := range []fault.When{fault.Before, fault.After} {
			in := fault.New(fault.Fault{Call: call, When: when})
			s.SetFault(in)
			done, key, err := work()
			s.SetFault(nil)
			if call > calls {
				s.ok(err, "work without a fault")
				continue
			}
			s.want(err, fault.ErrInjected, fmt.Sprintf("call %d", call))
			if done != call-1 {
				s.Fatalf("call %d failed step %d", call, done)
			}
			switch effects := done + int(when); {
			case effects <= 3:
				s.holds(s.key(key), "old")
			case effects < 6:
				s.holds(s.key(key), "new")
				if tags := s.stat(s.key(key)).Attrs.Tags; (len(tags) == 1) != (effects == 5) {
					s.Fatalf("call %d: %d tags", call, len(tags))
				}
			default:
				s.gone(s.key(key))
			}
		}
	}
}

// requestFaults fails every request of the workflow. The store may overcome it; then the work is done, once. Otherwise the step that
// failed has happened or not, all before it have, none after it, and no error says that somebody else was first.
func (s *suite) requestFaults(work func() (int, string, error)) {
	const steps = 6
	for call, over := 1, false; !over; call++ {
		for _, when := range []fault.When{fault.Before, fault.After} {
			in := fault.New(fault.Fault{Call: call, When: when})
			s.SetFault(in)
			done, key, err := work()
			s.SetFault(nil)
			over = in.Calls() < call
			if err == nil {
				if done != steps {
					s.Fatalf("request %d %v: %d steps without an error", call, when, done)
				}
				s.gone(s.key(key))
				continue
			}
			for _, wrong := range []error{coffer.ErrConflict, coffer.ErrNotFound, coffer.ErrChanged, coffer.ErrCorrupt} {
				if errors.Is(err, wrong) {
					s.Fatalf("request %d %v: step %d met a broken connection and says: %v", call, when, done+1, err)
				}
			}
			info, serr := s.Store.Stat(s.Context(), s.key(key))
			switch {
			case done <= 2:
				s.holds(s.key(key), "old")
			case done == 3:
				s.ok(serr, "stat after a commit in doubt")
				if info.Size != 3 {
					s.Fatalf("%d bytes", info.Size)
				}
			case done == 4:
				s.holds(s.key(key), "new")
			case serr == nil:
				s.holds(s.key(key), "new")
			default:
				s.want(serr, coffer.ErrNotFound, "stat after a delete in doubt")
			}
		}
	}
}
