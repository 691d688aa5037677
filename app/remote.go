package app

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"coffer"
	"coffer/access"
	"coffer/object"
	"coffer/remedy"
	"coffer/vault"
)

// Between the functions on Lambda goes a question at a time, by a synchronous call: whether sealed values are those that a fix has before it
// (asked of the function verify, which opens them and reaches no object), and how an object stands (asked of the function remedy, which
// reaches objects and opens no value). No question or answer holds a value.
//
// A question shows by a keyed hash that it comes from a part of this installation. Whoever may invoke the function by IAM alone, such as an
// administrator of the account, is told nothing: neither how an object stands nor a certificate in somebody else's name, which the log would
// repeat.

// askedFor is how long a question may be answered. Clocks differ, and the SDK asks again after an answer that was lost.
const askedFor = 5 * time.Minute

// asked is a question on its way.
type asked struct {
	Question string    `json:"question"` // JSON, as it was hashed
	At       time.Time `json:"at"`
	MAC      []byte    `json:"mac"`
}

func (q *asked) mac(key func(label string, data []byte) []byte) []byte {
	return key("question", []byte(q.At.UTC().Format(time.RFC3339Nano)+" "+q.Question))
}

// question is what one function asks another; one member is set.
type question struct {
	Verify *verifyQuestion `json:"verify,omitempty"`
	Look   *lookQuestion   `json:"look,omitempty"`
	// Certify asks for a certificate, for which the object's bytes are looked at. The asker has found out who asks for it.
	Certify *certifyQuestion `json:"certify,omitempty"`
}

type certifyQuestion struct {
	Ask  access.Ask `json:"ask"`
	Plan string     `json:"plan"`
}

type verifyQuestion struct {
	Set    vault.Set     `json:"set"`
	Range  vault.Range   `json:"range"`
	Probes []vault.Probe `json:"probes"`
}

// lookQuestion asks for what is known of an object without a look at its bytes.
type lookQuestion struct {
	At     lookAt        `json:"at"`
	Object coffer.Object `json:"object"`
}

type lookAt string

const (
	lookStat        lookAt = "stat"
	lookVersions    lookAt = "versions"
	lookVersioning  lookAt = "versioning"
	lookCopies      lookAt = "copies"
	lookProtections lookAt = "protections"
	lookSharing     lookAt = "sharing"
)

// maxInfos bounds the versions in an answer, which has to fit into 6 MB.
const maxInfos = 5000

// answer is what comes back.
type answer struct {
	Same       []bool               `json:"same,omitempty"`
	Infos      []object.Info        `json:"infos,omitempty"`
	Versioning object.Versioning    `json:"versioning,omitempty"`
	Copies     []object.Copy        `json:"copies,omitempty"`
	Protected  [2]object.Protection `json:"protected,omitzero"`
	Sharing    *object.Sharing      `json:"sharing,omitempty"`
	Certified  *remedy.Certificate  `json:"certified,omitempty"`
	Error      string               `json:"error,omitempty"`
	Is         []string             `json:"is,omitempty"` // the names of the sentinels that the error wraps
}

// sentinels are the errors that are told apart across a call.
var sentinels = []struct {
	name string
	err  error
}{
	{"denied", coffer.ErrDenied}, {"changed", coffer.ErrChanged}, {"unsupported", coffer.ErrUnsupported}, {"invalid", coffer.ErrInvalid},
	{"limit", coffer.ErrLimit}, {"not-found", coffer.ErrNotFound}, {"conflict", coffer.ErrConflict}, {"corrupt", coffer.ErrCorrupt},
	{"unavailable", coffer.ErrUnavailable}, {"refused", object.ErrRefused},
}

func (r *answer) fail(err error) {
	if err == nil {
		return
	}
	r.Error = err.Error()
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			r.Is = append(r.Is, s.name)
		}
	}
	if r.Is == nil {
		r.Is = []string{"unavailable"} // a stranger's error may pass
	}
}

// remoteError is an error of the other side.
type remoteError struct {
	text string
	is   []error
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.is }

func (r *answer) err() error {
	if r.Error == "" {
		return nil
	}
	e := &remoteError{text: r.Error}
	for _, s := range sentinels {
		if slices.Contains(r.Is, s.name) {
			e.is = append(e.is, s.err)
		}
	}
	if e.is == nil {
		e.is = []error{coffer.ErrUnavailable} // a newer function may know other errors
	}
	return e
}

// Asked reports whether a payload is a question of another function.
func Asked(payload []byte) bool {
	var q asked
	return json.Unmarshal(payload, &q) == nil && q.Question != ""
}

// Answer answers the question of another function, if it is one for this role. A question that was not asked by a part of this installation
// within the last five minutes gives an error wrapping coffer.ErrDenied.
func (a *App) Answer(ctx context.Context, payload []byte) ([]byte, error) {
	var in asked
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fmt.Errorf("question of another function: %w", coffer.ErrInvalid)
	}
	if age := a.Now().Sub(in.At); age > askedFor || age < -askedFor || !hmac.Equal(in.mac(a.MAC), in.MAC) {
		return nil, fmt.Errorf("question of another function: nobody of this installation asks it now: %w", coffer.ErrDenied)
	}
	var q question
	if err := json.Unmarshal([]byte(in.Question), &q); err != nil {
		return nil, fmt.Errorf("question of another function: %w", coffer.ErrInvalid)
	}
	var r answer
	switch {
	case q.Verify != nil && a.role == Verify:
		same, err := a.Vault.Verify(ctx, q.Verify.Set, q.Verify.Range, q.Verify.Probes)
		r.Same = same
		r.fail(err)
	case q.Look != nil && a.role == Remedy:
		r.fail(a.look(ctx, q.Look, &r))
	case q.Certify != nil && a.role == Remedy:
		ask := q.Certify.Ask
		ask.Context = ask.Context.Claimed()
		c, err := a.Remedy.Certificate(ctx, ask, q.Certify.Plan)
		r.Certified = c
		r.fail(err)
	default:
		return nil, fmt.Errorf("this function is not asked that: %w", coffer.ErrUnsupported)
	}
	return json.Marshal(r)
}

// look answers what is known of an object in a bucket that may be read.
func (a *App) look(ctx context.Context, q *lookQuestion, r *answer) (err error) {
	o := q.Object
	if !a.allow(o.Bucket) {
		return fmt.Errorf("bucket is not among those that may be read: %w", coffer.ErrDenied)
	}
	switch q.At {
	case lookStat:
		var info object.Info
		info, err = a.Objects.Stat(ctx, o)
		r.Infos = []object.Info{info}
	case lookVersions:
		for info, err := range a.Objects.Versions(ctx, o) {
			if err != nil {
				return err
			}
			if len(r.Infos) == maxInfos {
				r.Infos = nil
				return fmt.Errorf("more than %d versions of the object: %w", maxInfos, coffer.ErrLimit)
			}
			r.Infos = append(r.Infos, info)
		}
	case lookVersioning:
		r.Versioning, err = a.Objects.Versioning(ctx, o.Bucket)
	case lookCopies:
		r.Copies, err = a.Objects.Copies(ctx, o)
	case lookProtections:
		p, ok := a.Objects.(object.Protector)
		if !ok {
			return fmt.Errorf("the storage does not tell how it protects: %w", coffer.ErrUnsupported)
		}
		r.Protected[0], r.Protected[1], err = p.Protections(ctx, o)
	case lookSharing:
		p, ok := a.Objects.(object.Sharer)
		if !ok {
			return fmt.Errorf("the storage does not tell how buckets are shared: %w", coffer.ErrUnsupported)
		}
		var sh object.Sharing
		sh, err = p.Sharing(ctx, o.Bucket)
		r.Sharing = &sh
	default:
		err = fmt.Errorf("look at an object: %w", coffer.ErrInvalid)
	}
	return err
}

// function is another function of the installation. It is safe for concurrent use.
type function struct {
	client *lambda.Client
	name   string
	sign   func(question) ([]byte, error)
}

// sign makes a question show that this installation asks it.
func (a *App) sign(q question) ([]byte, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	out := asked{Question: string(b), At: a.Now()}
	out.MAC = out.mac(a.MAC)
	return json.Marshal(out)
}

// openFunction opens a function by its spec "lambda:NAME"; nothing is called.
func (a *App) openFunction(ctx context.Context, s Spec) (*function, error) {
	c, err := a.aws(ctx, s)
	if err != nil {
		return nil, err
	}
	return &function{name: s.Name, sign: a.sign, client: lambda.NewFromConfig(c, func(o *lambda.Options) {
		if e := s.Options.Get("endpoint"); e != "" {
			o.BaseEndpoint = aws.String(e)
		}
	})}, nil
}

// ask asks and waits for the answer. Questions change nothing, so that the SDK repeats them after throttling and broken connections.
func (f *function) ask(ctx context.Context, q question) (*answer, error) {
	payload, err := f.sign(q)
	if err != nil {
		return nil, err
	}
	out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.name, Payload: payload})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("ask the function %s: %w: %w", f.name, coffer.ErrUnavailable, cmp.Or(errors.Unwrap(err), err))
	case out.FunctionError != nil:
		return nil, fmt.Errorf("the function %s failed: %w", f.name, coffer.ErrUnavailable) // its text is in its own log
	}
	var r answer
	if err := json.Unmarshal(out.Payload, &r); err != nil {
		return nil, fmt.Errorf("the function %s gave no answer: %w", f.name, coffer.ErrUnavailable)
	}
	return &r, r.err()
}

var _ remedy.Verifier = (*function)(nil)

// Verify implements [remedy.Verifier] by the function verify.
func (f *function) Verify(ctx context.Context, s vault.Set, r vault.Range, probes []vault.Probe) ([]bool, error) {
	a, err := f.ask(ctx, question{Verify: &verifyQuestion{s, r, probes}})
	if err != nil {
		return nil, fmt.Errorf("verify sealed values: %w", err)
	}
	return a.Same, nil
}

// looker is a storage of which the function remedy tells how its objects stand, and of which no byte is read.
type looker struct {
	unreached
	f *function
}

var (
	_ object.Store     = looker{}
	_ object.Protector = looker{}
	_ object.Sharer    = looker{}
)

func (a *App) openLooker(ctx context.Context, name string) (object.Store, error) {
	spec, err := ParseSpec("looker", name)
	if err != nil {
		return nil, err
	}
	f, err := a.openFunction(ctx, spec)
	if err != nil {
		return nil, err
	}
	return looker{unreached{"the bytes of objects"}, f}, nil
}

func (l looker) look(ctx context.Context, at lookAt, o coffer.Object) (*answer, error) {
	return l.f.ask(ctx, question{Look: &lookQuestion{at, o}})
}

// certify has the function remedy issue a certificate.
func (l looker) certify(ctx context.Context, ask access.Ask, plan string) (*remedy.Certificate, error) {
	a, err := l.f.ask(ctx, question{Certify: &certifyQuestion{ask, plan}})
	if err != nil {
		return nil, err
	}
	if a.Certified == nil {
		return nil, fmt.Errorf("certificate: no answer: %w", coffer.ErrUnavailable)
	}
	return a.Certified, nil
}

// Stat implements [object.Reader].
func (l looker) Stat(ctx context.Context, o coffer.Object) (object.Info, error) {
	a, err := l.look(ctx, lookStat, o)
	if err == nil && len(a.Infos) != 1 {
		err = fmt.Errorf("look at an object: no answer: %w", coffer.ErrUnavailable)
	}
	if err != nil {
		return object.Info{}, err
	}
	return a.Infos[0], nil
}

// Versions implements [object.Reader].
func (l looker) Versions(ctx context.Context, o coffer.Object) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		a, err := l.look(ctx, lookVersions, o)
		if err != nil {
			yield(object.Info{}, err)
			return
		}
		for _, info := range a.Infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Versioning implements [object.Reader].
func (l looker) Versioning(ctx context.Context, bucket string) (object.Versioning, error) {
	a, err := l.look(ctx, lookVersioning, coffer.Object{Bucket: bucket})
	if err != nil {
		return "", err
	}
	return a.Versioning, nil
}

// Copies implements [object.Reader].
func (l looker) Copies(ctx context.Context, o coffer.Object) ([]object.Copy, error) {
	a, err := l.look(ctx, lookCopies, o)
	if err != nil {
		return nil, err
	}
	return a.Copies, nil
}

// Protections implements [object.Protector].
func (l looker) Protections(ctx context.Context, o coffer.Object) (bucket, obj object.Protection, err error) {
	a, err := l.look(ctx, lookProtections, o)
	if a != nil {
		bucket, obj = a.Protected[0], a.Protected[1]
	}
	return bucket, obj, err
}

// Sharing implements [object.Sharer].
func (l looker) Sharing(ctx context.Context, bucket string) (object.Sharing, error) {
	a, err := l.look(ctx, lookSharing, coffer.Object{Bucket: bucket})
	if err == nil && a.Sharing == nil {
		err = fmt.Errorf("look at a bucket: no answer: %w", coffer.ErrUnavailable)
	}
	if err != nil {
		return object.Sharing{}, err
	}
	return *a.Sharing, nil
}
