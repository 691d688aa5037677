// Package live asks Amazon Macie: findings by id and by time, identifiers, how it is set up. It reads only; the permissions that it
// needs are macie2:GetFindings, ListFindings, GetCustomDataIdentifier, ListManagedDataIdentifiers, GetMacieSession and
// GetClassificationExportConfiguration.
//
// Retries: every call is idempotent, so the SDK repeats it after throttling, 5xx answers and broken connections, with exponential
// backoff and jitter, until the context ends, eight attempts were made or a process has used up its quota of repetitions.
// The pages of a list are paced. Credentials that have expired are asked for anew, once. A refusal is never repeated.
//
// The answer of GetFindings is not decoded by the SDK: its bytes go to package macie, which has one reading of a finding for every
// way in which it can come. Errors name the call, the code and the request id, and nothing that Macie or the SDK wrote.
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/macie2"
	"github.com/aws/aws-sdk-go-v2/service/macie2/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"coffer"
	"coffer/internal/lazyregexp"
	"coffer/macie"
)

const (
	maxAttempts = 8
	maxBackoff  = 20 * time.Second
	// maxAnswer bounds one answer in bytes. Fifty findings with all their members take less than a tenth of it.
	maxAnswer = macie.MaxDocument
	// maxPages bounds the pages of one list, most of them empty if it is ever reached.
	maxPages = 40_000
	// pace is the least time from one page of a list to the next. Whoever compares a list reads the findings of each page with a call of
	// its own, so that it makes ten calls a second at most. Macie publishes no rate that it allows; events have to have room beside it.
	pace = 200 * time.Millisecond
)

// Config says which Macie is asked, and as whom.
type Config struct {
	// AWS has the Region, the credentials and the HTTP client. Its retryer and log mode are not used.
	AWS aws.Config
	// Endpoint replaces the address of Macie; "" is AWS's in the Region.
	Endpoint string
	// Backoff gives the pauses between attempts. Nil: exponential with jitter, at most twenty seconds.
	Backoff retry.BackoffDelayer
	// Unpaced has the pages of a list follow each other without the pauses that leave room to other calls.
	Unpaced bool
}

// Macie implements [macie.API]. It is safe for concurrent use.
type Macie struct {
	client *macie2.Client
	renew  func() // forgets the credentials
	pace   time.Duration
}

var _ macie.API = (*Macie)(nil)

// Open returns the Macie of a Region. It makes no call. Without a Region the error wraps coffer.ErrInvalid.
func Open(cfg Config) (*Macie, error) {
	if cfg.AWS.Region == "" {
		return nil, fmt.Errorf("macie: no Region: %w", coffer.ErrInvalid)
	}
	m := &Macie{renew: func() {}, pace: pace}
	if cfg.Unpaced {
		m.pace = 0
	}
	if c, ok := cfg.AWS.Credentials.(*aws.CredentialsCache); ok {
		m.renew = c.Invalidate
	}
	m.client = macie2.NewFromConfig(cfg.AWS, func(o *macie2.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
		o.ClientLogMode = 0 // findings name objects
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
			if cfg.Backoff != nil {
				o.Backoff = cfg.Backoff
			}
			// An answer that breaks off is none, and may be whole the next time.
			o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				return aws.BoolTernary(errors.Is(err, io.ErrUnexpectedEOF))
			}))
		})
		o.APIOptions = append(o.APIOptions, bound)
	})
	return m, nil
}

// call makes one call, with new credentials if the old ones have expired.
func call[In, Out any](ctx context.Context, m *Macie, op string, f func(context.Context, *In, ...func(*macie2.Options)) (*Out, error), in *In, opts ...func(*macie2.Options)) (*Out, error) {
	out, err := f(ctx, in, opts...)
	if slices.Contains(expired, errorCode(err)) {
		m.renew()
		out, err = f(ctx, in, opts...)
	}
	if err != nil {
		return nil, mapError(ctx, op, err)
	}
	return out, nil
}

// expired are the codes for credentials that were good once.
var expired = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired"}

// Findings implements [macie.API].
func (m *Macie) Findings(ctx context.Context, ids []string) (map[string]macie.Document, error) {
	if len(ids) == 0 || len(ids) > macie.MaxIDs {
		return nil, fmt.Errorf("macie GetFindings: %d ids, 1 to %d: %w", len(ids), macie.MaxIDs, coffer.ErrInvalid)
	}
	var raw []byte
	_, err := call(ctx, m, "GetFindings", m.client.GetFindings, &macie2.GetFindingsInput{FindingIds: ids}, take(&raw))
	if err != nil {
		return nil, err
	}
	var answer struct{ Findings *[]json.RawMessage }
	if json.Unmarshal(raw, &answer) != nil || answer.Findings == nil {
		return nil, fmt.Errorf("macie GetFindings: an answer of unknown form: %w", coffer.ErrUnavailable)
	}
	out := make(map[string]macie.Document, len(ids))
	nameless := false
	for _, one := range *answer.Findings {
		for d, err := range macie.Decode(ctx, bytes.NewReader(one)) {
			switch {
			case err != nil:
				return nil, mapError(ctx, "GetFindings", err)
			case d.ID == "":
				nameless = true
				continue
			case d.Form == macie.FormResult, !slices.Contains(ids, d.ID):
				return nil, fmt.Errorf("macie GetFindings: the answer has a finding that was not asked for: %w", coffer.ErrUnavailable)
			}
			d.Raw = bytes.Clone(d.Raw)
			out[d.ID] = d
		}
	}
	if !nameless {
		return out, nil
	}
	// One that cannot be read and does not say which it is: asked for alone, it is the one.
	if len(ids) == 1 {
		return nil, fmt.Errorf("macie GetFindings: the answer is no finding: %w", coffer.ErrUnavailable)
	}
	for _, id := range ids {
		if _, ok := out[id]; ok {
			continue
		}
		one, err := m.Findings(ctx, []string{id})
		switch {
		case err == nil && len(one) == 1:
			out[id] = one[id]
		case errors.Is(err, coffer.ErrUnavailable) && ctx.Err() == nil && asCallError(err) == nil:
			out[id] = macie.Document{Kind: macie.KindUnreadable, ID: id, Form: macie.FormFinding, N: 1, Line: 1,
				Reason: "Macie's answer for it is no finding", Err: fmt.Errorf("finding: %w", coffer.ErrInvalid)}
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

// List implements [macie.API].
func (m *Macie) List(ctx context.Context, q macie.Query) iter.Seq2[[]string, error] {
	archived := "false"
	if q.Archived {
		archived = "true"
	}
	in := &macie2.ListFindingsInput{
		MaxResults: aws.Int32(macie.MaxIDs),
		FindingCriteria: &types.FindingCriteria{Criterion: map[string]types.CriterionAdditionalProperties{
			"category":  {Eq: []string{string(types.FindingCategoryClassification)}},
			"archived":  {Eq: []string{archived}},
			"updatedAt": {Gte: aws.Int64(q.Since.UnixMilli()), Lt: aws.Int64(q.Until.UnixMilli())},
		}},
		SortCriteria: &types.SortCriteria{AttributeName: aws.String("updatedAt"), OrderBy: types.OrderByAsc},
	}
	return func(yield func([]string, error) bool) {
		in, listed := *in, 0
		var next <-chan time.Time
		for n := range maxPages {
			if n > 0 {
				select {
				case <-ctx.Done():
					yield(nil, fmt.Errorf("macie ListFindings: %w", ctx.Err()))
					return
				case <-next:
				}
			}
			next = time.After(m.pace)
			out, err := call(ctx, m, "ListFindings", m.client.ListFindings, &in)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, id := range out.FindingIds {
				if id == "" || len(id) > macie.MaxID {
					yield(nil, fmt.Errorf("macie ListFindings: the answer has a malformed id: %w", coffer.ErrUnavailable))
					return
				}
			}
			if len(out.FindingIds) > 0 && !yield(out.FindingIds, nil) {
				return
			}
			if listed += len(out.FindingIds); listed >= macie.MaxListed {
				yield(nil, fmt.Errorf("macie ListFindings: %d findings: %w", listed, coffer.ErrLimit))
				return
			}
			switch token := aws.ToString(out.NextToken); token {
			case "":
				return
			case aws.ToString(in.NextToken):
				yield(nil, fmt.Errorf("macie ListFindings: the list does not end: %w", coffer.ErrUnavailable))
				return
			}
			in.NextToken = out.NextToken
		}
		yield(nil, fmt.Errorf("macie ListFindings: more than %d pages: %w", maxPages, coffer.ErrUnavailable))
	}
}

// identifier is the form of a custom identifier's id: a UUID in all that was seen.
var identifier = lazyregexp.New(`^[0-9A-Za-z-]{1,64}$`)

// Identifier implements [macie.API].
func (m *Macie) Identifier(ctx context.Context, id string) ([]byte, error) {
	id = id[strings.LastIndexByte(id, '/')+1:]
	if !identifier().MatchString(id) {
		return nil, fmt.Errorf("macie GetCustomDataIdentifier: malformed id: %w", coffer.ErrNotFound)
	}
	var raw []byte
	if _, err := call(ctx, m, "GetCustomDataIdentifier", m.client.GetCustomDataIdentifier, &macie2.GetCustomDataIdentifierInput{Id: &id}, take(&raw)); err != nil {
		return nil, err
	}
	return raw, nil
}

// Managed implements [macie.API].
func (m *Macie) Managed(ctx context.Context) ([]coffer.DataType, error) {
	var out []coffer.DataType
	in := &macie2.ListManagedDataIdentifiersInput{}
	for range maxPages {
		page, err := call(ctx, m, "ListManagedDataIdentifiers", m.client.ListManagedDataIdentifiers, in)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Items {
			out = append(out, coffer.DataType(aws.ToString(i.Id)))
		}
		if next := aws.ToString(page.NextToken); next == "" {
			return out, nil
		} else if next == aws.ToString(in.NextToken) {
			break
		}
		in = &macie2.ListManagedDataIdentifiersInput{NextToken: page.NextToken}
	}
	return nil, fmt.Errorf("macie ListManagedDataIdentifiers: the list does not end: %w", coffer.ErrUnavailable)
}

// Session implements [macie.API].
func (m *Macie) Session(ctx context.Context) (macie.Session, error) {
	s, err := call(ctx, m, "GetMacieSession", m.client.GetMacieSession, &macie2.GetMacieSessionInput{})
	if notEnabled(err) {
		return macie.Session{}, nil
	}
	if err != nil {
		return macie.Session{}, err
	}
	out := macie.Session{Enabled: s.Status == types.MacieStatusEnabled}
	c, err := call(ctx, m, "GetClassificationExportConfiguration", m.client.GetClassificationExportConfiguration, &macie2.GetClassificationExportConfigurationInput{})
	if err != nil {
		return out, err
	}
	if c.Configuration != nil && c.Configuration.S3Destination != nil {
		d := c.Configuration.S3Destination
		out.Bucket, out.Prefix = aws.ToString(d.BucketName), aws.ToString(d.KeyPrefix)
	}
	return out, nil
}

// take has the body of a successful answer put into raw; the SDK reads an empty object.
func take(raw *[]byte) func(*macie2.Options) {
	return func(o *macie2.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Deserialize.Insert(deserialize("TakeAnswer", func(r *smithyhttp.Response) error {
				if r.StatusCode < 200 || r.StatusCode >= 300 {
					return nil
				}
				b, err := io.ReadAll(r.Body)
				_ = r.Body.Close() // only read from
				*raw, r.Body = b, io.NopCloser(strings.NewReader("{}"))
				return err
			}), boundID, middleware.Before)
		})
	}
}

const boundID = "BoundAnswer"

// bound limits the bytes of every answer. It stands next to the transport.
func bound(s *middleware.Stack) error {
	return s.Deserialize.Add(deserialize(boundID, func(r *smithyhttp.Response) error {
		r.Body = &limited{r.Body, maxAnswer}
		return nil
	}), middleware.After)
}

// deserialize is a step that looks at an answer before the SDK does.
func deserialize(id string, look func(*smithyhttp.Response) error) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc(id, func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if r, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil {
			err = look(r)
		}
		return out, metadata, err
	})
}

type limited struct {
	io.ReadCloser
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left+1)])
	if l.left -= n; l.left < 0 {
		return 0, errLong
	}
	return n, err
}

var errLong = errors.New("answer over the limit")

// callError is what a call ended with. The SDK's own text, which can hold what Macie wrote, is only behind Unwrap.
type callError struct {
	text  string
	code  string
	is    error // sentinel or the context's error
	cause error

	refused bool
}

// Is says that a permission is missing.
func (e *callError) Is(target error) bool { return e.refused && target == macie.ErrRefused }

func (e *callError) Error() string   { return e.text + ": " + e.is.Error() }
func (e *callError) Unwrap() []error { return []error{e.is, e.cause} }

func asCallError(err error) *callError {
	var c *callError
	if errors.As(err, &c) {
		return c
	}
	return nil
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return printable(api.ErrorCode())
	}
	return ""
}

// notEnabled reports whether Macie says that it is not enabled in the account, which it does with a refusal.
func notEnabled(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" && strings.Contains(strings.ToLower(api.ErrorMessage()), "macie is not enabled")
}

// mapError turns the SDK's error into one of this package.
func mapError(ctx context.Context, op string, err error) error {
	e := &callError{text: "macie " + op, is: coffer.ErrUnavailable, cause: err, code: errorCode(err)}
	if cerr := ctx.Err(); cerr != nil {
		e.is = cerr
		return e
	}
	var resp interface{ HTTPStatusCode() int }
	status := 0
	if errors.As(err, &resp) {
		status = resp.HTTPStatusCode()
	}
	var de *smithy.DeserializationError
	switch {
	case errors.Is(err, errLong):
		e.text += ": an answer of more than " + fmt.Sprint(maxAnswer) + " bytes"
	case e.code == "" && errors.As(err, &de):
		e.text += ": an answer of unknown form"
	case e.code == "":
		e.text += ": no answer"
	default:
		e.text += ": " + e.code
	}
	var answer interface{ ServiceRequestID() string }
	if errors.As(err, &answer) && answer.ServiceRequestID() != "" {
		e.text += " (request " + printable(answer.ServiceRequestID()) + ")"
	}
	switch {
	case e.code == "ResourceNotFoundException" || status == http.StatusNotFound:
		e.is = coffer.ErrNotFound
	case e.code == "AccessDeniedException" && notEnabled(err):
		e.text += ": Macie is not enabled in this account and Region"
	case e.code == "AccessDeniedException":
		e.text += ": macie2:" + op + " is not permitted"
		e.refused = true
	case slices.Contains(expired, e.code):
		e.text += ": the credentials have expired"
	}
	return e
}

// printable cuts what a server sent as a code or an id to letters, digits and a few signs.
func printable(s string) string {
	b := slices.DeleteFunc([]byte(s), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '-' && c != '_' && c != ':'
	})
	return string(b[:min(len(b), 64)])
}
