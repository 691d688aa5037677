// Package object is object storage as Coffer uses it: S3's model (buckets, keys, versions, ETags, tags, conditional writes),
// reduced to what intake and fixes need. [Reader] and [Tagger] are what intake holds; [Store] adds what changes bytes.
//
// Trust: the bytes and names are hostile input; the storage itself is trusted to keep what it acknowledged and to honour
// conditions.
package object

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"coffer"
)

// S3's limits on tags.
const (
	MaxTags     = 10
	MaxTagKey   = 128 // characters
	MaxTagValue = 256 // characters
)

// Attrs are the properties of an object that a rewrite keeps.
type Attrs struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	Expires            string            `json:"expires,omitempty"`
	Redirect           string            `json:"redirect,omitempty"`
	StorageClass       string            `json:"storageClass,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	Tags               []coffer.Tag      `json:"tags,omitempty"`
	// System holds properties that only the adapter understands (a file's mode and owner, an ACL, encryption settings). It
	// goes back unchanged into Stage.
	System map[string]string `json:"system,omitempty"`
}

// Info describes one version of an object.
type Info struct {
	coffer.Object
	Size     int64
	Modified time.Time
	Attrs    Attrs
	// Latest says that this is the current version; Marker that it is a delete marker, which has no bytes.
	Latest, Marker bool
	// Locked says why this version cannot be removed now ("legal hold", "retention until ..."); empty: it can, or the
	// storage does not say (see Residual).
	Locked string
	// Archived says why the bytes cannot be read now ("GLACIER, not restored", "DEEP_ARCHIVE, restore under way"); empty: they
	// can. Opening such a version gives an error wrapping coffer.ErrUnavailable.
	Archived string
	// ETagIsMD5 says that the ETag is the MD5 of the bytes, so that it can be compared with what Macie saw by content.
	ETagIsMD5 bool
}

// ArchivedAtOnce reports whether bytes written with this storage class cannot be read before they are restored.
func ArchivedAtOnce(storageClass string) bool {
	return storageClass == "GLACIER" || storageClass == "DEEP_ARCHIVE"
}

// ErrRefused says that the storage does not let Coffer do this to this object or bucket: a permission is missing, or the bucket is
// somebody else's. It stands beside coffer.ErrUnavailable, since whoever runs the storage may permit it: what is refused waits, and
// nothing else has to.
var ErrRefused = errors.New("refused by the storage")

// Versioning is the versioning state of a bucket.
type Versioning string

// The versioning states.
const (
	VersioningOff       Versioning = "off"
	VersioningOn        Versioning = "on"
	VersioningSuspended Versioning = "suspended"
)

// Copy is something outside the version chain that holds the same bytes, or may: a hard link, a replica, an annotation.
type Copy struct {
	What string `json:"what"` // "hard link", "replica", "annotation", "unfinished upload", ..., or Unknown
	Name string `json:"name"` // how to find it
}

// Replica is the What of a [Copy] in another bucket that the storage keeps up to date. It takes no part in the removal of a version, and
// the storage may stop telling of it while it is there: the rule that made it was taken away.
const Replica = "replica"

// Annotation is the What of a [Copy] that is an annotation of the object. It goes with the version that it belongs to, and none comes along
// to what is written in its place.
const Annotation = "annotation"

// Unknown is the What of a [Copy] that stands for all of one kind that the storage does not let Coffer ask for; Name says what and why.
const Unknown = "unknown"

// Body is an opened object. It also reads at random where the storage can (ReaderAt is nil otherwise). Info is that of the
// bytes being read.
type Body struct {
	io.ReadCloser
	ReaderAt io.ReaderAt
	Info     Info
	// Fetched returns how many bytes of the object have come from the storage so far, those read ahead included. Nil: the
	// storage is at hand, and nobody pays for its bytes.
	Fetched func() int64
}

// Reader reads objects. The suite in objecttest is its specification. Methods may be called concurrently.
//
// An Object argument with a VersionID names that version, without one the current version; with an ETag a mismatch gives an
// error wrapping coffer.ErrChanged. A missing bucket, object or version gives coffer.ErrNotFound; so does a current version
// that is a delete marker. A name that the storage cannot hold or that would leave its bucket (a symlink, "..", a device)
// gives coffer.ErrInvalid.
type Reader interface {
	Stat(ctx context.Context, o coffer.Object) (Info, error)
	// Open returns the bytes of exactly the version that its Info names: a foreign write during the reading shows as an
	// error wrapping coffer.ErrChanged from Read, never as mixed bytes.
	Open(ctx context.Context, o coffer.Object) (Body, error)
	// List yields the current objects whose key has the prefix and is greater than after, in order of the keys' bytes. Without
	// a bucket it yields one Info for each bucket (Key empty). It is no snapshot, and it tells what a listing knows: key, size,
	// time, and the ETag where the storage has it at hand; for version, attributes and tags ask Stat. Names that no Object
	// could name (a symlink, a device) are left out. An error ends the sequence.
	List(ctx context.Context, bucket, prefix, after string) iter.Seq2[Info, error]
	// Versions yields all versions and delete markers of the key, newest first, with their ETags; for attributes and tags ask
	// Stat. In a bucket without versioning it yields the object itself. A key that has none yields nothing.
	Versions(ctx context.Context, o coffer.Object) iter.Seq2[Info, error]
	// Versioning returns the bucket's versioning state.
	Versioning(ctx context.Context, bucket string) (Versioning, error)
	// Copies lists what else holds the object's bytes. An error means unknown, which is not "none"; where one kind of copies cannot be
	// asked for and others can, a Copy with What [Unknown] stands for it.
	Copies(ctx context.Context, o coffer.Object) ([]Copy, error)
}

// Tagger changes tags. Tags cannot be conditional anywhere, so a merge reads, merges, writes and reads again.
type Tagger interface {
	// Tag replaces the tag set of the version that o names (of the current version without a VersionID). Limits of S3
	// apply: MaxTags and lengths, unique keys, characters; beyond them an error wrapping coffer.ErrInvalid. With an ETag,
	// a mismatch gives coffer.ErrChanged, checked as close to the write as the storage allows.
	Tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error
}

// Store changes objects. The suite in objecttest is its specification. Methods may be called concurrently.
type Store interface {
	Reader
	Tagger
	// Stage writes the bytes that fill produces beside the object o, invisible to readers, with attributes a (tags
	// included). o.ETag is the condition under which Commit will succeed: the current version's ETag, or empty for "must
	// not exist" (a current delete marker counts as not there). If fill fails nothing stays behind and its error is returned,
	// wrapped. The writer given to fill is buffered and not safe for concurrent use.
	//
	// Where the storage can copy inside itself the writer has the method CopyRange(start, end int64) error of
	// format.RangeCopier, whose source is the version that o's VersionID and ETag name; the VersionID plays no other part. A
	// storage that cannot show staged bytes, as S3 cannot show the parts of an upload, calls fill once more in
	// [Staged].Open, so fill must write the same bytes each time until Commit.
	Stage(ctx context.Context, o coffer.Object, a Attrs, fill func(io.Writer) error) (Staged, error)
	// Copy copies the bytes and attributes (tags included) of src, or of the version it names, to dst, which must not exist
	// (dst.ETag empty) or have this ETag; otherwise the error wraps coffer.ErrConflict. src is checked as by Open.
	Copy(ctx context.Context, dst, src coffer.Object) (coffer.Object, error)
	// Delete removes: with a VersionID that version or marker, permanently; without one the object (in a versioned bucket by a
	// delete marker, whose Object it returns; otherwise it returns the Object that was removed). An ETag is a condition: if
	// the current version has another, or, with a VersionID, that version has, nothing happens and the error wraps
	// coffer.ErrConflict. Deleting what is not there gives coffer.ErrNotFound; a current marker counts as not there. A locked
	// version gives coffer.ErrConflict; a marker may be laid over it. If the current version is removed by its id the next
	// older one becomes current again, or nothing, if that is a marker.
	Delete(ctx context.Context, o coffer.Object) (coffer.Object, error)
	// Sweep removes what stages of crashed processes left behind, older than age, and reports how many. What is not Coffer's
	// own it leaves alone: a storage that cannot tell remembers its stages in a [Journal].
	Sweep(ctx context.Context, age time.Duration) (int, error)
}

// Staged is a written, not yet visible object.
type Staged interface {
	// Size and SHA256 are those of the staged bytes.
	Size() int64
	SHA256() [32]byte
	// Open reads the staged bytes back from the storage. Where that is impossible they are made by fill once more and compared,
	// at the end, with the digest of those that the storage has acknowledged: a difference gives coffer.ErrCorrupt.
	Open(ctx context.Context) (Body, error)
	// Commit makes the bytes the current version by one conditional call and returns it. If the condition does not hold
	// it returns an error wrapping coffer.ErrConflict and nothing has changed. Other errors leave it open whether the
	// commit happened: compare the current bytes with SHA256. After a success Commit returns the same again, without a
	// second effect; after Abort, or when the staged bytes were swept, it gives coffer.ErrNotFound.
	Commit(ctx context.Context) (coffer.Object, error)
	// Abort removes the staged bytes, so that Open gives coffer.ErrNotFound. After Commit, or a second time, it does nothing.
	Abort(ctx context.Context) error
}

// Upload is a stage that a storage keeps under an id of its own and cannot tell from those of strangers.
type Upload struct {
	Bucket, Key, ID string
	Started         time.Time
}

// Journal remembers the uploads that are under way, so that Sweep finds those of a crashed process and no others. Methods may be
// called concurrently, by several processes.
type Journal interface {
	// Begin is durable when it returns. It comes before the first byte is sent.
	Begin(ctx context.Context, u Upload) error
	// End forgets an upload that was completed or aborted, and does nothing for one it does not know.
	End(ctx context.Context, u Upload) error
	// Uploads yields the uploads that were begun and not ended, in no particular order.
	Uploads(ctx context.Context) iter.Seq2[Upload, error]
}
