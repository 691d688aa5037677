package mem

import (
	"context"

	"coffer"
	"coffer/object"
)

var _ object.Protector = (*Store)(nil)

// Protections implements [object.Protector]. The call is named object.Protections for Fault. Objects are not encrypted and not public.
func (s *Store) Protections(ctx context.Context, o coffer.Object) (bucket, obj object.Protection, err error) {
	err = s.call(ctx, "Protections", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		b, err := s.bucket(o.Bucket)
		if err != nil {
			return err
		}
		bucket = object.Protection{
			Encryption: object.NotEncrypted, PublicAccess: object.NotPublic, Versioning: string(b.state), Lock: "none", TagsUnknown: true,
		}
		_, v, err := s.find(o)
		if err != nil {
			return err
		}
		obj = bucket
		obj.Tags, obj.TagsUnknown = append([]coffer.Tag(nil), v.attrs.Tags...), false
		if v.lock != "" {
			obj.Lock = v.lock
		}
		return nil
	})
	return bucket, obj, err
}
