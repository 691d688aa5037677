package access

import (
	"slices"
	"time"

	"coffer"
)

// Suppose returns a made-up request with the parts that it leaves out filled in, for asking what the policies would say: the caller
// is "caller", a person who just signed in; the resource is "resource", of the first kind that the action is for, and from Macie; now is the
// beginning of 2026. An action that does not exist stays a request that is denied.
func Suppose(r Request) Request {
	if r.Caller.ID == "" {
		r.Caller.ID = "caller"
	}
	if r.Caller.Kind == "" {
		r.Caller.Kind = UserCaller
	}
	if i := slices.IndexFunc(Actions, func(d Description) bool { return d.Action == r.Action }); i >= 0 && r.Resource.Kind == "" {
		r.Resource.Kind = Actions[i].On[0]
	}
	if r.Resource.Kind != System {
		if r.Resource.ID == "" {
			r.Resource.ID = "resource"
		}
		if r.Resource.Origins == nil {
			r.Resource.Origins = []coffer.Origin{coffer.OriginMacie}
		}
	}
	if r.Context.Now.IsZero() {
		r.Context.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if r.Context.SignedIn.IsZero() {
		r.Context.SignedIn = r.Context.Now
	}
	return r
}
