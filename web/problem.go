package web

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"coffer"
	"coffer/api"
	"coffer/audit"
	"coffer/grant"
	"coffer/identity"
)

// problem is an [api.Problem] as huma wants its errors.
type problem struct{ api.Problem }

func (p *problem) Error() string { return p.Code }

// GetStatus implements [huma.StatusError].
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements [huma.ContentTypeFilter].
func (*problem) ContentType(string) string { return api.ContentProblem }

// GetHeaders implements [huma.HeadersError].
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="coffer"`)
	}
	return h
}

func newProblem(c *call, code, detail string) *problem {
	status := api.Status(code)
	c.problem = code
	return &problem{api.Problem{
		Type: "urn:coffer:problem:" + code, Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Request: c.id,
	}}
}

func init() {
	// huma's own errors repeat what was sent. These two are the only places where it makes them.
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		c := &call{}
		if ctx != nil {
			c = of(ctx.Context())
		}
		return refused(c, status, errs)
	}
	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError { return refused(&call{}, status, errs) }
	// A list is a list: an empty one is [].
	huma.DefaultArrayNullable = false
	huma.ValidateStrictCasing = true
}

// refused makes a problem of what huma has against a request.
func refused(c *call, status int, errs []error) *problem {
	code := map[int]string{400: "malformed", 413: "too-large", 415: "media-type", 422: "invalid", 408: "malformed"}[status]
	if code == "" {
		code = "internal"
	}
	p := newProblem(c, code, details[code])
	for _, err := range errs {
		var own *problem
		if errors.As(err, &own) {
			return own
		}
		var d *huma.ErrorDetail
		if !errors.As(err, &d) || len(p.Errors) == 16 {
			continue
		}
		where, what := d.Location, d.Message
		switch {
		case what == validation.MsgUnexpectedProperty || what == "unknown query parameter":
			// The name is the caller's, not ours, dots and all.
			where, _, _ = strings.Cut(where, ".")
		case strings.HasPrefix(what, "expected") || strings.HasPrefix(what, "required") || strings.HasPrefix(what, "invalid integer") || what == "invalid boolean":
		default:
			what = "malformed"
		}
		p.Errors = append(p.Errors, api.Invalid{Where: where, What: what})
	}
	return p
}

// details are the words for codes whose errors may repeat what was sent, or say what is nobody's business.
var details = map[string]string{
	"malformed":       "The request is not well-formed.",
	"invalid":         "The request does not fit the description of the API.",
	"too-large":       "The body is larger than this operation takes.",
	"media-type":      "The body is of a media type that this operation does not take.",
	"not-found":       "There is nothing of this name, or you may not know of it.",
	"unavailable":     "Something that this needs cannot be used now; nothing was done. Try again.",
	"corrupt":         "Stored bytes are not what was stored. Whoever runs this installation finds more in its log.",
	"internal":        "This is a defect of the program. Whoever runs this installation finds more in its log under the id of the request.",
	"unauthenticated": "Sign in, or send a valid access token.",
}

// fail makes the answer to an error of a domain package. What the error says reaches the caller where it is about something that
// the caller may know of.
func (s *Server) fail(ctx context.Context, err error) error {
	c := of(ctx)
	var own *problem
	if errors.As(err, &own) {
		return own
	}
	code := api.Code(err)
	wait := s.waits(err)
	if wait > 0 {
		code = "too-many"
	}
	if code == "internal" && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		code = "unavailable"
	}
	detail, own2 := details[code]
	if !own2 || code == "invalid" {
		detail = sentence(err.Error())
	}
	if c.local {
		detail = err.Error() // whoever runs the installation is told all of it, in the words of the command line
	}
	p := newProblem(c, code, detail)
	var denied *audit.DeniedError
	if errors.As(err, &denied) {
		p.Rules, p.Ask = denied.Rules, denied.Ask
	}
	if wait > 0 {
		p.RetryAfter = max(1, int(math.Ceil(wait.Seconds())))
	}
	switch code {
	case "unavailable":
		p.RetryAfter = 5
		s.log.WarnContext(ctx, "a request cannot be served now", "request", c.id, "route", c.route, "error", err)
	case "internal", "corrupt":
		s.log.ErrorContext(ctx, "a request failed", "request", c.id, "route", c.route, "error", err)
	}
	return p
}

// waits returns how long to wait until what failed by a limit can succeed; zero: waiting does not help, or it is no limit.
func (s *Server) waits(err error) time.Duration {
	var refused *identity.RefusedError
	var spent *grant.LimitError
	switch {
	case errors.As(err, &refused):
		return refused.RetryAfter
	case errors.As(err, &spent) && !spent.RetryAt.IsZero():
		return max(time.Second, spent.RetryAt.Sub(s.Now()))
	}
	return 0
}

// sentence makes a sentence of an error's text. The sentinels at its end say no more than the code does.
func sentence(text string) string {
	for _, is := range []error{coffer.ErrConflict, coffer.ErrInvalid, coffer.ErrLimit, coffer.ErrUnsupported, coffer.ErrChanged} {
		text = strings.TrimSuffix(text, ": "+is.Error())
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// write answers outside huma.
func (p *problem) write(w http.ResponseWriter) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = slices.Clone(v)
	}
	w.Header().Set("Content-Type", api.ContentProblem)
	w.WriteHeader(p.Status)
	_ = marshal(w, p) // the caller may be gone
}
