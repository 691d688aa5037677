package kms

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"coffer"
	"coffer/envelope"
)

// Permission is what a dry run said of one operation.
type Permission string

// The permissions.
const (
	Permitted Permission = "permitted"
	Refused   Permission = "refused"
	Unknown   Permission = "unknown" // the dry run did not say
)

// State is what KMS says of a configured key, for the doctor and the list of keys.
type State struct {
	Key       string // ARN
	Recipient string // envelope.ForReveal or envelope.ForVerify; "" for an old key
	Current   bool
	// Err is why the key could not be described; nothing from Status to NextRotation is known then.
	Err         error
	Status      string // KMS' word: "Enabled", "Disabled", "PendingDeletion", ...
	Enabled     bool
	Usable      bool // symmetric, for encryption: what this package needs
	MultiRegion bool
	Created     time.Time
	Deletion    time.Time // when it is deleted, if that is scheduled
	// RotationErr is why it is not known whether the key is rotated each period.
	RotationErr  error
	Rotation     bool
	NextRotation time.Time // zero when not scheduled
	// Wrap (by GenerateDataKey, for the key for verify by Encrypt; Unknown for an old key) and Decrypt are the permissions of who runs
	// this. A role may rightly have one of them alone.
	Wrap, Decrypt Permission

	client *kms.Client
}

// trouble says in a word why the key cannot be used; "" when nothing is known against it.
func (s State) trouble() string {
	switch {
	case errors.Is(s.Err, coffer.ErrNotFound):
		return "not found"
	case s.Err != nil:
		return "unknown"
	case !s.Deletion.IsZero():
		return "pending deletion"
	case s.Status == string(types.KeyStateDisabled):
		return "disabled"
	case !s.Enabled:
		return s.Status
	case !s.Usable:
		return "unsuitable"
	}
	return ""
}

// State asks KMS about every configured key: DescribeKey, GetKeyRotationStatus, and dry runs of the calls that use it, which change
// nothing. What is refused is part of the answer. The encryption context of the dry runs is that of sealed values without ids; a
// policy that demands an id of a certain form refuses them and not the real calls.
func (k *Keys) State(ctx context.Context) []State {
	out := k.describeAll(ctx)
	for i := range out {
		k.examine(ctx, &out[i])
	}
	return out
}

// describeAll describes the old keys, then the current ones, after finding out for which keys aliases stand by now.
func (k *Keys) describeAll(ctx context.Context) []State {
	var out []State
	for _, a := range k.old {
		out = append(out, k.describe(ctx, a))
	}
	for _, w := range k.current {
		if w.alias {
			_ = w.resolve(ctx) // what is wrong is told by the description of the key that it stood for last
		}
		s := k.describe(ctx, w.now())
		s.Recipient, s.Current = w.recipient, true
		out = append(out, s)
	}
	return out
}

func (k *Keys) describe(ctx context.Context, a arn) State {
	s := State{Key: a.String(), client: k.clients[a.region]}
	d, err := s.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(s.Key)})
	if err != nil {
		s.Err = mapError(ctx, "DescribeKey", "", err)
		return s
	}
	m := d.KeyMetadata
	s.Status, s.Enabled, s.MultiRegion = string(m.KeyState), m.Enabled, aws.ToBool(m.MultiRegion)
	s.Usable = m.KeyUsage == types.KeyUsageTypeEncryptDecrypt && m.KeySpec == types.KeySpecSymmetricDefault
	s.Created, s.Deletion = aws.ToTime(m.CreationDate), aws.ToTime(m.DeletionDate)
	return s
}

var dryContext = envelope.Context{"app": "coffer", "purpose": "values"}

// examine asks about rotation and permissions.
func (k *Keys) examine(ctx context.Context, s *State) {
	id := aws.String(s.Key)
	r, err := s.client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: id})
	if err != nil {
		s.RotationErr = mapError(ctx, "GetKeyRotationStatus", "", err)
	} else {
		s.Rotation, s.NextRotation = r.KeyRotationEnabled, aws.ToTime(r.NextRotationDate)
	}
	_, err = s.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: id, EncryptionContext: dryContext, DryRun: aws.Bool(true),
		DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext},
	})
	s.Decrypt, s.Wrap = permission(err), Unknown
	switch s.Recipient {
	case envelope.ForReveal:
		_, err = s.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
			KeyId: id, KeySpec: types.DataKeySpecAes256, EncryptionContext: dryContext, DryRun: aws.Bool(true),
		})
		s.Wrap = permission(err)
	case envelope.ForVerify:
		_, err = s.client.Encrypt(ctx, &kms.EncryptInput{
			KeyId: id, Plaintext: make([]byte, envelope.KeySize), EncryptionContext: dryContext, DryRun: aws.Bool(true),
		})
		s.Wrap = permission(err)
	}
}

// permission reads the answer to a dry run, which is always an error.
func permission(err error) Permission {
	switch errorCode(err) {
	case "DryRunOperationException":
		return Permitted
	case "AccessDeniedException":
		return Refused
	}
	return Unknown
}

// errorCode returns the code of an answer of KMS; "" when it gave none.
func errorCode(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return api.ErrorCode()
}

func requestID(m middleware.Metadata) string {
	id, _ := awsmiddleware.GetRequestIDMetadata(m)
	if len(id) > envelope.MaxRequest {
		return ""
	}
	return id
}
