package s3fake

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

// The states of versioning, as the API writes them.
const (
	VersioningOff       = ""
	VersioningEnabled   = "Enabled"
	VersioningSuspended = "Suspended"
)

// Null is the id of a version written while versioning was off or suspended.
const Null = "null"

// Tag is an object tag.
type Tag struct{ Key, Value string }

// Lock is what Object Lock says of one version. The zero value is an unlocked version.
type Lock struct {
	Mode      string // GOVERNANCE, COMPLIANCE or empty
	Until     time.Time
	LegalHold bool
	// EventHold keeps the version until somebody releases it, and for HoldDays after that (a year counts as 365).
	EventHold bool
	HoldDays  int
}

// Encryption is how a version is encrypted at rest. The zero value of a version put by a test means AES256.
type Encryption struct {
	Algorithm string // AES256, aws:kms, aws:kms:dsse; empty with a customer's key
	KeyID     string
	Context   string // base64 of JSON, as sent
	BucketKey bool
	// CustomerKeyMD5 is set when the customer provides the key with each request (SSE-C).
	CustomerKeyMD5 string
}

func (e Encryption) md5able() bool { return e.Algorithm == "AES256" }

// Restore is the temporary copy of an archived version. The zero value: there is none, and none was asked for.
type Restore struct {
	Ongoing bool
	Until   time.Time
}

// Grant is an entry of an access control list.
type Grant struct {
	ID, URI    string // a canonical user's id, or a group
	Permission string
}

// Attrs is everything about a version but its bytes.
type Attrs struct {
	// Headers are Content-Type, -Encoding, -Language, -Disposition, Cache-Control and Expires, as given.
	Headers  map[string]string
	Metadata map[string]string // names in lower case
	// MissingMeta counts metadata that cannot be represented as headers.
	MissingMeta  int
	Redirect     string
	StorageClass string // empty: STANDARD
	// ArchiveStatus is ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS for a version in INTELLIGENT_TIERING that went there.
	ArchiveStatus string
	Restore       Restore
	Tags          []Tag
	Annotations   map[string][]byte
	Lock          Lock
	Encryption    Encryption
	ACL           []Grant // nil: private to the owner
	Replication   string  // PENDING, COMPLETED, FAILED, REPLICA or empty
}

func (a Attrs) clone() Attrs {
	a.Headers, a.Metadata, a.Annotations = maps.Clone(a.Headers), maps.Clone(a.Metadata), maps.Clone(a.Annotations)
	a.Tags, a.ACL = slices.Clone(a.Tags), slices.Clone(a.ACL)
	for k, v := range a.Annotations {
		a.Annotations[k] = bytes.Clone(v)
	}
	return a
}

// ReplicationRule is a rule of a bucket's replication configuration.
type ReplicationRule struct {
	ID, Prefix    string
	Tag           Tag    // if set the rule is for objects with this tag
	Destination   string // a bucket's name; its account plays no part
	Disabled      bool
	DeleteMarkers bool
}

// Config is a bucket's configuration.
type Config struct {
	Owner      string // account id; empty: the server's
	Versioning string
	MFADelete  bool
	ObjectLock bool // allows locks; needs versioning
	// DefaultLock is what new versions get: a mode with Days, an event hold with HoldDays, or both.
	DefaultMode     string
	DefaultDays     int
	DefaultHoldDays int
	Encryption      Encryption // of new objects that ask for none; zero: AES256
	Ownership       string     // empty: BucketOwnerEnforced
	ACL             []Grant    // of the bucket; none: its owner alone
	RequesterPays   bool
	Replication     []ReplicationRule
	// Documents are further subresources as they were put: "lifecycle", "policy", "cors", ...
	Documents map[string]string
}

// Version is one version or delete marker of a key.
type Version struct {
	Attrs
	ID             string
	Latest, Marker bool
	ETag           string // without quotes
	Size           int64
	Modified       time.Time
	Body           *io.SectionReader
}

// Bytes reads the whole version.
func (v Version) Bytes() []byte {
	b := make([]byte, v.Size)
	_, _ = v.Body.ReadAt(b, 0) // pieces are in memory
	return b
}

// Upload is a multipart upload that was neither completed nor aborted.
type Upload struct {
	Attrs
	Key, ID string
	Started time.Time
	Parts   map[int]*io.SectionReader
}

type version struct {
	Attrs
	id       string
	marker   bool
	body     content
	etag     string
	modified time.Time
	parts    []int64  // sizes, of a multipart upload
	known    checksum // what the client sent or asked for; if empty S3 added a CRC64NVME
	added    string   // that one, once somebody asked
	placed   uint64
}

// checksum returns the checksum that S3 keeps for the version, and computes it on the first question.
func (v *version) checksum() checksum {
	if v.known.algorithm != "" {
		return v.known
	}
	if v.added == "" {
		v.added = v.body.checksum("CRC64NVME").value
	}
	return checksum{"CRC64NVME", fullObject, v.added}
}

type upload struct {
	key, id   string
	attrs     Attrs
	started   time.Time
	algorithm string // of its checksum; empty: the client said nothing
	kind      string
	parts     map[int]*part
	lost      bool // met a conflict: it can only be aborted
}

type part struct {
	body     content
	etag     string
	known    checksum
	modified time.Time
}

type bucket struct {
	Config
	name    string
	created time.Time
	objects map[string][]*version // newest first
	uploads map[string]*upload
	placed  map[string]uint64 // when a version was written, also of those that are gone: where a listing goes on
	writes  uint64
}

func newBucket(name string, created time.Time) *bucket {
	return &bucket{name: name, created: created, objects: map[string][]*version{}, uploads: map[string]*upload{}, placed: map[string]uint64{}}
}

func (b *bucket) place(key string, v *version) {
	b.writes++
	v.placed = b.writes
	b.placed[key+"\x00"+v.id] = v.placed
}

func (b *bucket) current(key string) *version {
	if vs := b.objects[key]; len(vs) > 0 {
		return vs[0]
	}
	return nil
}

// live is the current version, or nil if that is a delete marker.
func (b *bucket) live(key string) *version {
	if v := b.current(key); v != nil && !v.marker {
		return v
	}
	return nil
}

func (b *bucket) version(key, id string) *version {
	for _, v := range b.objects[key] {
		if v.id == id {
			return v
		}
	}
	return nil
}

func (b *bucket) remove(key, id string) {
	b.objects[key] = slices.DeleteFunc(b.objects[key], func(v *version) bool { return v.id == id })
	if len(b.objects[key]) == 0 {
		delete(b.objects, key)
	}
}

func (b *bucket) sorted() []string { return slices.Sorted(maps.Keys(b.objects)) }

// shownID is a version id as answers carry it: none in a bucket that never had versioning.
func (b *bucket) shownID(v *version) string {
	if b.Versioning == VersioningOff {
		return ""
	}
	return v.id
}

// push makes v the current version of the key, under the id that versioning gives it.
func (s *Server) push(b *bucket, key string, v *version) {
	v.id = Null
	if b.Versioning == VersioningEnabled {
		v.id = s.opaque()
	} else {
		b.remove(key, Null)
	}
	for _, r := range b.Replication {
		if r.matches(key, v) {
			v.Replication = "PENDING"
		}
	}
	b.place(key, v)
	b.objects[key] = append([]*version{v}, b.objects[key]...)
}

func (r ReplicationRule) matches(key string, v *version) bool {
	if r.Disabled || !strings.HasPrefix(key, r.Prefix) || v.Replication == "REPLICA" {
		return false
	}
	if v.marker {
		return r.DeleteMarkers && r.Tag == (Tag{})
	}
	return r.Tag == (Tag{}) || slices.Contains(v.Tags, r.Tag)
}

// opaque returns an id of 32 characters, like S3's version ids. It is a hash of a count, so that a run can be repeated.
func (s *Server) opaque() string {
	s.ids++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, s.ids))
	text := new(big.Int).SetBytes(sum[:]).Text(62)
	return strings.Repeat("0", max(0, 32-len(text))) + text[max(0, len(text)-32):]
}

func validID(id string) bool {
	return id == Null || len(id) == 32 && strings.IndexFunc(id, func(r rune) bool {
		return r != '.' && r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// etagOf is the ETag of bytes written at once: their MD5, or, when they are encrypted under a key of KMS or the customer, something
// that is not.
func (s *Server) etagOf(c content, e Encryption) string {
	if e.md5able() {
		return hexMD5(c.md5())
	}
	sum := md5.Sum([]byte(s.opaque()))
	return hex.EncodeToString(sum[:])
}

// now has the resolution of S3's time stamps.
func (s *Server) now() time.Time { return s.Now().UTC().Truncate(time.Second) }

// locked says why a version cannot be removed. bypass: the caller asked to and may lift governance mode.
func (v *version) locked(now time.Time, bypass bool) bool {
	l := v.Lock
	if l.LegalHold || l.EventHold {
		// Whether a bypass lifts an event hold is not documented. Holds do not give way here.
		return true
	}
	return l.Mode != "" && now.Before(l.Until) && (l.Mode == "COMPLIANCE" || !bypass)
}

func archival(class, status string) bool {
	return class == "GLACIER" || class == "DEEP_ARCHIVE" || status != ""
}

// archived reports whether the bytes can not be read now.
func (v *version) archived(now time.Time) bool {
	return archival(v.StorageClass, v.ArchiveStatus) && (v.Restore.Ongoing || !now.Before(v.Restore.Until))
}

func (v *version) class() string {
	if v.StorageClass == "" {
		return "STANDARD"
	}
	return v.StorageClass
}
