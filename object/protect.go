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
