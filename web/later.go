package web

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"coffer/api"
	"coffer/job"
)

// The inputs of routes that can be asked to act as a job.
type (
	laterOnFinding struct {
		Finding string `path:"finding" maxLength:"256"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the record is as it was when it had this ETag."`
		Prefer  string `header:"Prefer" maxLength:"256" doc:"respond-async: act as a job, and answer 202 at once (RFC 7240)."`
	}
	laterOnPlan struct {
		Plan    string `path:"plan" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the plan is as it was when it had this ETag."`
		Prefer  string `header:"Prefer" maxLength:"256" doc:"respond-async: act as a job, and answer 202 at once (RFC 7240)."`
	}
	laterOnPlanWith[T any] struct {
		Plan    string `path:"plan" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the plan is as it was when it had this ETag."`
		Prefer  string `header:"Prefer" maxLength:"256" doc:"respond-async: act as a job, and answer 202 at once (RFC 7240)."`
		RawBody []byte
		Body    T
	}
)

func (i *laterOnFinding) attempt() (string, []byte)     { return i.Key, nil }
func (i *laterOnPlan) attempt() (string, []byte)        { return i.Key, nil }
func (i *laterOnPlanWith[T]) attempt() (string, []byte) { return i.Key, i.RawBody }
func (*laterOnPlanWith[T]) hasBody()                    {}

// later is the answer of a route that acts at once or, asked to, as a job: a T, or with 202 the job.
type later[T any] struct {
	Status   int
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Applied  string `header:"Preference-Applied"`
	Body     any
}

func (*later[T]) bodies() (now, then reflect.Type) {
	return reflect.TypeFor[T](), reflect.TypeFor[api.Job]()
}

func (l *later[T]) save() (job.Answer, error) {
	b, err := json.Marshal(l.Body)
	return job.Answer{Status: l.Status, Location: l.Location, Tag: l.ETag, Body: b}, err
}

func (l *later[T]) load(a job.Answer) error {
	l.Status, l.Location, l.ETag, l.Body = a.Status, a.Location, a.Tag, a.Body
	if l.Status == http.StatusAccepted {
		l.Applied = respondAsync
	}
	return nil
}

const respondAsync = "respond-async"

// wantsJob reports whether a Prefer header asks for an answer before the work is done. What else it prefers is ignored, as RFC 7240 says.
func wantsJob(prefer string) bool {
	for p := range strings.SplitSeq(prefer, ",") {
		p, _, _ = strings.Cut(p, ";")
		if strings.EqualFold(strings.TrimSpace(p), respondAsync) {
			return true
		}
	}
	return false
}

// isJob reports whether what reads or changes an object is to be a job: when that is asked for, and where this process reaches no objects.
func (s *Server) isJob(prefer string) bool { return s.Hand != nil || wantsJob(prefer) }

// asJob starts a job of one item and answers with it.
func asJob[T any](ctx context.Context, s *Server, c *call, kind, key string, params map[string]string, ref string) (*later[T], error) {
	j, err := s.runner.start(ctx, c, kind, s.attemptID(c, key), params, []string{ref})
	if err != nil {
		return nil, err
	}
	return &later[T]{Status: http.StatusAccepted, Location: "/v1/jobs/" + j.ID, Applied: respondAsync, Body: s.jobOf(j)}, nil
}

// done answers that it was done at once.
func done[T any](body T) *later[T] { return &later[T]{Status: http.StatusOK, Body: body} }
