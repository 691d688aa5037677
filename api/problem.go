package api

import (
	"errors"
	"fmt"
	"time"

	"coffer"
)

// ContentProblem is the media type of a [Problem].
const ContentProblem = "application/problem+json"

// Problem is the answer to a request that failed (RFC 9457). It repeats nothing of the request.
type Problem struct {
	Type    string    `json:"type" doc:"A URN that ends with the code."`
	Title   string    `json:"title"`
	Status  int       `json:"status"`
	Code    string    `json:"code" doc:"Stable: scripts depend on it."`
	Detail  string    `json:"detail,omitempty"`
	Request string    `json:"request,omitempty" doc:"Id of the request, as in the logs."`
	Rules   []string  `json:"rules,omitempty" doc:"The policies that refused."`
	Ask     []string  `json:"ask,omitempty" doc:"Roles with which somebody else would be allowed the same."`
	Errors  []Invalid `json:"errors,omitempty"`
	// RetryAfter is the header of that name, in seconds.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// Invalid says what is wrong with one part of a request.
type Invalid struct {
	Where string `json:"where" doc:"body, query, path or header, and the member."`
	What  string `json:"what"`
}

// codes maps the codes of problems to the sentinels and HTTP statuses that they stand for. A plain code is the one of an error that
// says no more than its sentinel; of several sentinels in one error the first here counts.
var codes = []struct {
	code   string
	is     error
	status int
	plain  bool
}{
	{"denied", coffer.ErrDenied, 403, true},
	{"unavailable", coffer.ErrUnavailable, 503, true},
	{"conflict", coffer.ErrConflict, 409, true},
	{"changed", coffer.ErrChanged, 409, true},
	{"not-found", coffer.ErrNotFound, 404, true},
	{"invalid", coffer.ErrInvalid, 422, true},
	{"unsupported", coffer.ErrUnsupported, 422, true},
	{"limit", coffer.ErrLimit, 422, true},
	{"corrupt", coffer.ErrCorrupt, 500, true},

	{"unauthenticated", coffer.ErrDenied, 401, false},
	{"foreign-origin", coffer.ErrDenied, 403, false},
	{"wrong-host", coffer.ErrDenied, 421, false},
	{"precondition-failed", coffer.ErrConflict, 412, false},
	{"in-progress", coffer.ErrConflict, 409, false},
	{"malformed", coffer.ErrInvalid, 400, false},
	{"method", coffer.ErrInvalid, 405, false},
	{"media-type", coffer.ErrInvalid, 415, false},
	{"key-reused", coffer.ErrInvalid, 422, false},
	{"too-many", coffer.ErrLimit, 429, false},
	{"too-large", coffer.ErrLimit, 413, false},
}

// Status returns the HTTP status that goes with a code; 500 for one that is not known.
func Status(code string) int {
	for _, c := range codes {
		if c.code == code {
			return c.status
		}
	}
	return 500
}

// Code returns the code for an error by the sentinel that it wraps; "internal" when it wraps none.
func Code(err error) string {
	for _, c := range codes {
		if c.plain && errors.Is(err, c.is) {
			return c.code
		}
	}
	return "internal"
}

// Error is a [Problem] as an error. It wraps the sentinel of its code.
type Error struct{ Problem Problem }

// Error says what went wrong in the words of the server.
func (e *Error) Error() string {
	s := e.Problem.Detail
	if s == "" {
		s = e.Problem.Title
	}
	for _, x := range e.Problem.Errors {
		s += fmt.Sprintf("; %s: %s", x.Where, x.What)
	}
	return s
}

// Unwrap returns the sentinel of the code, or nil.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Problem.Code {
			return c.is
		}
	}
	return nil
}

// RetryAfter is how long to wait before the request is tried again; zero: the server does not say.
func (e *Error) RetryAfter() time.Duration { return time.Duration(e.Problem.RetryAfter) * time.Second }
