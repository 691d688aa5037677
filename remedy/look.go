package remedy

import (
	"context"
	"errors"
	"fmt"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/object"
	"coffer/pipeline"
	"coffer/triage"
)

// Look is what is known of an object: itself, its versions and copies, and the findings on it.
type Look struct {
	Info     object.Info // of the current version; only bucket and key where there is none
	Exists   bool        // there is a current version
	Versions []object.Info
	Copies   []object.Copy
	Findings []*triage.Record
}

// Look looks at an object. One of which nothing is known gives an error wrapping coffer.ErrNotFound.
func (m *Remedy) Look(ctx context.Context, ask access.Ask, o coffer.Object) (*Look, error) {
	id := pipeline.ObjectID(m.MAC, o)
	recs, err := pipeline.FindingsOn(ctx, m.Records, id)
	if err != nil {
		return nil, err
	}
	res := resourceOf(id, recs)
	res.Kind, res.Bucket = access.Object, o.Bucket
	if err := m.looked(ctx, ask, res); err != nil {
		return nil, err
	}
	l := &Look{Info: object.Info{Object: coffer.Object{Bucket: o.Bucket, Key: o.Key}}, Findings: recs}
	info, err := m.Objects.Stat(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
	switch {
	case err == nil:
		l.Info, l.Exists = info, true
	case !errors.Is(err, coffer.ErrNotFound):
		return nil, err
	}
	for v, err := range m.Objects.Versions(ctx, l.Info.Object) {
		if errors.Is(err, coffer.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		l.Versions = append(l.Versions, v)
	}
	if l.Exists {
		if l.Copies, err = m.Objects.Copies(ctx, l.Info.Object); err != nil {
			return nil, err
		}
	}
	if !l.Exists && len(l.Versions) == 0 && len(recs) == 0 {
		return nil, fmt.Errorf("object: %w", coffer.ErrNotFound)
	}
	return l, nil
}

// Listed is an object as a list shows it; with an empty key, a bucket.
type Listed struct {
	Bucket, Key string
	Size        int64
}

// ListObjects lists at most limit objects of a bucket with a prefix, in order of their keys, behind the key after; without a bucket, the
// buckets.
func (m *Remedy) ListObjects(ctx context.Context, ask access.Ask, bucket, prefix, after string, limit int) ([]Listed, error) {
	res := access.Resource{Kind: access.Object, ID: "list", Bucket: bucket, Origins: []coffer.Origin{coffer.OriginOperator}}
	if err := m.looked(ctx, ask, res); err != nil {
		return nil, err
	}
	var out []Listed
	for info, err := range m.Objects.List(ctx, bucket, prefix, after) {
		if err != nil {
			return nil, err
		}
		if len(out) == limit {
			break
		}
		out = append(out, Listed{info.Bucket, info.Key, info.Size})
	}
	return out, nil
}

// Versioning returns the versioning state of a bucket: off, on or suspended.
func (m *Remedy) Versioning(ctx context.Context, ask access.Ask, bucket string) (string, error) {
	if err := m.looked(ctx, ask, bucketResource(bucket)); err != nil {
		return "", err
	}
	v, err := m.Objects.Versioning(ctx, bucket)
	return string(v), err
}

// SetVersioning has set change the versioning of a bucket, after the policy was asked and between an intent and a result in the log.
func (m *Remedy) SetVersioning(ctx context.Context, ask access.Ask, bucket string, on bool, set func(ctx context.Context, bucket string, on bool) error) (string, error) {
	permit, err := m.Guard.Check(ctx, ask.Caller, access.AdminObject, bucketResource(bucket), ask.Context)
	if err != nil {
		return "", err
	}
	state := object.VersioningSuspended
	if on {
		state = object.VersioningOn
	}
	intent := permit.Entry(audit.Intent)
	intent.Detail = map[string]string{"versioning": string(state)}
	ref, err := m.Guard.Log.Append(ctx, intent)
	if err != nil {
		return "", err
	}
	err = set(ctx, bucket, on)
	e := permit.Entry(audit.Done)
	if err != nil {
		e = permit.Entry(audit.Failed)
	}
	e.Intent, e.Detail = ref, intent.Detail
	if _, lerr := m.Guard.Log.Append(ctx, e); err == nil {
		err = lerr
	}
	if err != nil {
		return "", err
	}
	v, err := m.Objects.Versioning(ctx, bucket)
	return string(v), err
}

func bucketResource(bucket string) access.Resource {
	return access.Resource{Kind: access.Object, ID: "bucket", Bucket: bucket, Origins: []coffer.Origin{coffer.OriginOperator}}
}

// looked asks whether the caller may look, and records that they did.
func (m *Remedy) looked(ctx context.Context, ask access.Ask, res access.Resource) error {
	permit, err := m.Guard.Check(ctx, ask.Caller, access.ObjectRead, res, ask.Context)
	if err != nil {
		return err
	}
	_, err = m.Guard.Log.Append(ctx, permit.Entry(audit.Done))
	return err
}
