package object

import (
	"context"

	"coffer"
)

// Answers of a [Protection] in Macie's words. A storage adds its own where these do not fit.
const (
	NotEncrypted = "NONE" // stored as it is, as far as the storage knows
	Public       = "PUBLIC"
	NotPublic    = "NOT_PUBLIC"
)

// Protection is how a bucket or an object is protected now. Each text is [Unknown] where the storage does not say or does not let
// Coffer ask, and empty where it means nothing (the owner of a bucket whose storage has no owners).
type Protection struct {
	Encryption   string       `json:"encryption,omitempty"`   // of a bucket: what new objects get. NONE, AES256, aws:kms, aws:kms:dsse
	KMSKey       string       `json:"kmsKey,omitempty"`       // ARN, id or alias
	PublicAccess string       `json:"publicAccess,omitempty"` // PUBLIC: strangers can read it, or the storage calls it public
	Versioning   string       `json:"versioning,omitempty"`   // of the bucket
	Lock         string       `json:"lock,omitempty"`         // of a bucket: whether new versions are kept; of an object: why it cannot be removed, or "none"
	Owner        string       `json:"owner,omitempty"`        // as the storage names them
	Tags         []coffer.Tag `json:"tags,omitempty"`
	// TagsUnknown says that Tags could not be asked for.
	TagsUnknown bool `json:"tagsUnknown,omitempty"`
}

// Protector is a [Reader] that can tell how what it holds is protected.
type Protector interface {
	// Protections returns how the bucket of o, and the version of o that it names, are protected now. A missing object gives
	// coffer.ErrNotFound with what there is to say of the bucket. What may not be asked is Unknown, and no error.
	Protections(ctx context.Context, o coffer.Object) (bucket, obj Protection, err error)
}

// Sharing is what a bucket's own settings say about who reaches its objects. What may not be asked, or what the storage does not have a
// call for, is marked as unknown and is never "nobody".
type Sharing struct {
	// Policy is the bucket's policy as it stands there; empty: it has none, or PolicyUnknown.
	Policy        string `json:"policy,omitempty"`
	PolicyUnknown bool   `json:"policyUnknown,omitempty"`
	PublicPolicy  string `json:"publicPolicy"` // what the storage itself says of the policy: Public, NotPublic, Unknown
	// Owner is the owner of the bucket as its ACL names them; empty where ACLUnknown.
	Owner      string  `json:"owner,omitempty"`
	Grants     []Grant `json:"grants,omitempty"`
	ACLUnknown bool    `json:"aclUnknown,omitempty"`
	ACLsOff    bool    `json:"aclsOff,omitempty"` // the owner of the bucket owns every object, and ACLs mean nothing
	// What the bucket's public access block does: On, Off or Unknown. RestrictPolicy keeps a public policy to the owner's account,
	// IgnoreACLs takes the effect from grants to everybody. The account's block is not asked for: it can only add to this one.
	RestrictPolicy string `json:"restrictPolicy"`
	IgnoreACLs     string `json:"ignoreAcls"`
}

// Settings of a [Sharing], beside [Unknown].
const (
	On  = "on"
	Off = "off"
)

// Grant is a grant of an ACL: to an owner's canonical id, or to a group by its URI.
type Grant struct {
	Canonical  string `json:"canonical,omitempty"`
	Group      string `json:"group,omitempty"`
	Permission string `json:"permission"` // READ, FULL_CONTROL, ...
}

// Sharer tells how buckets are shared.
type Sharer interface {
	// Sharing returns the settings of a bucket as they are now. A missing bucket gives coffer.ErrNotFound; what may not be asked is
	// unknown, and no error. Calls are repeated as for every read.
	Sharing(ctx context.Context, bucket string) (Sharing, error)
}
