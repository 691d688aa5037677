package mem_test

import (
	"testing"

	"coffer"
	"coffer/internal/fault"
	"coffer/object"
	"coffer/object/mem"
	"coffer/object/objecttest"
)

func open(t testing.TB) objecttest.Storage {
	s := mem.New()
	s.CreateBucket("moontrust")
	return objecttest.Storage{
		Store:  s,
		Bucket: "moontrust",
		Put: func(_ testing.TB, key string, body []byte) {
			s.Foreign().Put("moontrust", key, body, object.Attrs{})
		},
		Remove: func(_ testing.TB, key string) { s.Foreign().Delete("moontrust", key) },
		SetVersioning: func(t testing.TB, on bool) {
			state := object.VersioningSuspended
			if on {
				state = object.VersioningOn
			}
			if err := s.SetVersioning("moontrust", state); err != nil {
				t.Fatal(err)
			}
		},
		ForeignVersions: true,
		SetFault:        func(in *fault.Injector) { s.Fault = in },
		Lock: func(t testing.TB, o coffer.Object, why string) {
			if err := s.Lock(o, why); err != nil {
				t.Fatal(err)
			}
		},
		SweepsLiving: true,
	}
}

func TestStore(t *testing.T) { objecttest.Test(t, open) }
