package coffer

import "errors"

// The sentinels. Every error that leaves a package wraps at most one of them, and every edge (exit code, HTTP status) is
// derived from them in one place. An error text never carries a sensitive value.
var (
	// ErrNotFound: the thing named does not exist, or the caller may not know that it does.
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else was first: a conditional write met a different version, a state had moved on.
	ErrConflict = errors.New("conflict")
	// ErrDenied: the policy does not permit the caller to do this, or could not be evaluated.
	ErrDenied = errors.New("denied")
	// ErrChanged: the object is not what Macie saw.
	ErrChanged = errors.New("object changed")
	// ErrUnsupported: Coffer knows what this is and cannot process it.
	ErrUnsupported = errors.New("unsupported")
	// ErrInvalid: the input is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a budget (bytes, depth, entries, ratio, time) is exhausted.
	ErrLimit = errors.New("over limit")
	// ErrUnavailable: something that the operation needs cannot be used now; nothing was done. The audit log that cannot be
	// written is the most important case.
	ErrUnavailable = errors.New("unavailable")
	// ErrCorrupt: stored bytes are not what was stored.
	ErrCorrupt = errors.New("corrupt")
)

// Permanent reports whether err is about the thing itself (what it is, what it holds, who may), so that trying again changes
// nothing. Everything else, errors of strangers included, may pass: an outage must never be recorded as a property of a
// finding or an object.
func Permanent(err error) bool {
	for _, is := range []error{ErrInvalid, ErrUnsupported, ErrLimit, ErrChanged, ErrNotFound, ErrDenied, ErrCorrupt} {
		if errors.Is(err, is) {
			return !errors.Is(err, ErrUnavailable)
		}
	}
	return false
}
