package sidedoor

import (
	"bytes"
	"encoding/json"
	"fmt"

	"coffer"
	"coffer/internal/iam"
	"coffer/object"
)

// TakePolicy takes the bucket's policy from its text: a policy document, or what `aws s3api get-bucket-policy` prints around one. No text says
// that the bucket has none. What is neither gives coffer.ErrInvalid.
func TakePolicy(to *object.Sharing, b []byte) error {
	b = bytes.TrimSpace(b)
	var printed struct{ Policy *string }
	if json.Unmarshal(b, &printed) == nil && printed.Policy != nil {
		b = []byte(*printed.Policy)
	}
	if len(b) > 0 {
		if _, err := iam.Parse(b); err != nil {
			return fmt.Errorf("policy of the bucket: %w", err)
		}
	}
	to.Policy, to.PolicyUnknown = string(b), false
	return nil
}

// TakeACL takes the bucket's ACL from what `aws s3api get-bucket-acl` prints. Something else gives coffer.ErrInvalid.
func TakeACL(to *object.Sharing, b []byte) error {
	var printed struct {
		Owner  *struct{ ID string }
		Grants []struct {
			Grantee    struct{ ID, URI string }
			Permission string
		}
	}
	if err := json.Unmarshal(b, &printed); err != nil || printed.Owner == nil {
		return fmt.Errorf("ACL of the bucket: not what aws s3api get-bucket-acl prints: %w", coffer.ErrInvalid)
	}
	to.Owner, to.ACLUnknown, to.Grants = printed.Owner.ID, false, nil
	for _, g := range printed.Grants {
		to.Grants = append(to.Grants, object.Grant{Canonical: g.Grantee.ID, Group: g.Grantee.URI, Permission: g.Permission})
	}
	return nil
}

// TakeBlock takes the bucket's public access block from what `aws s3api get-public-access-block` prints. No text says that the bucket has
// none, something else gives coffer.ErrInvalid.
func TakeBlock(to *object.Sharing, b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		to.RestrictPolicy, to.IgnoreACLs = object.Off, object.Off
		return nil
	}
	var printed struct {
		PublicAccessBlockConfiguration *struct{ RestrictPublicBuckets, IgnorePublicAcls bool }
	}
	if err := json.Unmarshal(b, &printed); err != nil || printed.PublicAccessBlockConfiguration == nil {
		return fmt.Errorf("public access block: not what aws s3api get-public-access-block prints: %w", coffer.ErrInvalid)
	}
	setting := map[bool]string{true: object.On, false: object.Off}
	c := printed.PublicAccessBlockConfiguration
	to.RestrictPolicy, to.IgnoreACLs = setting[c.RestrictPublicBuckets], setting[c.IgnorePublicAcls]
	return nil
}
