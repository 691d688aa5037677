package triage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/object"
)

// Protected is one protection of a finding's bucket or object, as Macie reported it and as it is now.
type Protected struct {
	Of       string `json:"of"`   // "bucket" or "object"
	What     string `json:"what"` // "encryption", "kms key", "public access", "versioning", "lock", "owner" or "tag KEY"
	Reported string `json:"reported,omitempty"`
	Now      string `json:"now,omitempty"` // "unknown" where the storage does not say; empty: there is none
	// Differs says that both are known and not the same.
	Differs bool `json:"differs,omitempty"`
}

// Protections answers "is it protected?" for a finding: what Macie reported beside what the storage says now of the object's current
// version. Nothing is asked for a finding that was submitted and not confirmed, nor for a bucket that is not configured
// (coffer.ErrDenied), nor of a storage that cannot tell (coffer.ErrUnsupported).
func (d *Desk) Protections(ctx context.Context, ask access.Ask, id string) ([]Protected, error) {
	rec, permit, err := d.get(ctx, ask, access.FindingRead, id)
	if err != nil {
		return nil, err
	}
	f := &rec.Finding
	if rec.Unconfirmed() {
		return nil, fmt.Errorf("protections: the finding was submitted and is not confirmed: %w", coffer.ErrDenied)
	}
	if d.Allow == nil || !d.Allow(f.Object.Bucket) {
		return nil, fmt.Errorf("protections: the bucket is not configured: %w", coffer.ErrDenied)
	}
	p, ok := d.Objects.(object.Protector)
	if !ok {
		return nil, fmt.Errorf("protections: the storage does not tell them: %w", coffer.ErrUnsupported)
	}
	bucket, obj, err := p.Protections(ctx, coffer.Object{Bucket: f.Object.Bucket, Key: f.Object.Key})
	gone := errors.Is(err, coffer.ErrNotFound)
	if err != nil && !gone {
		return nil, fmt.Errorf("protections: %w", err)
	}
	out := beside("bucket", f.OnBucket, bucket)
	if !gone {
		out = append(out, beside("object", f.OnObject, obj)...)
	}
	return out, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// beside puts what was reported beside what is now.
func beside(of string, was coffer.Protection, now object.Protection) []Protected {
	var out []Protected
	add := func(what, reported, is string, compare bool) {
		if reported == "" && is == "" {
			return
		}
		known := reported != "" && !strings.EqualFold(reported, object.Unknown) && is != object.Unknown
		out = append(out, Protected{of, what, reported, is, compare && known && !sameKey(reported, is)})
	}
	add("encryption", was.Encryption, now.Encryption, true)
	add("kms key", was.KMSKey, now.KMSKey, true)
	add("public access", was.PublicAccess, now.PublicAccess, true)
	add("versioning", "", now.Versioning, false)
	add("lock", "", now.Lock, false)
	add("owner", "", now.Owner, false)
	names := map[string][2]string{}
	for _, t := range was.Tags {
		names[t.Key] = [2]string{t.Value}
	}
	for _, t := range now.Tags {
		names[t.Key] = [2]string{names[t.Key][0], t.Value}
	}
	for _, k := range sortedKeys(names) {
		v := names[k]
		has := func(tags []coffer.Tag) bool {
			return slices.ContainsFunc(tags, func(t coffer.Tag) bool { return t.Key == k })
		}
		if now.TagsUnknown {
			out = append(out, Protected{of, "tag " + k, v[0], object.Unknown, false})
			continue
		}
		// Macie that reported no tags at all may not have been able to see them.
		differs := len(was.Tags) > 0 && (has(was.Tags) != has(now.Tags) || v[0] != v[1])
		out = append(out, Protected{of, "tag " + k, v[0], v[1], differs})
	}
	return out
}

// sameKey compares two answers; keys of KMS are the same if one is the ARN of the other's id.
func sameKey(a, b string) bool {
	return strings.EqualFold(a, b) || strings.HasSuffix(a, "key/"+b) || strings.HasSuffix(b, "key/"+a)
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
