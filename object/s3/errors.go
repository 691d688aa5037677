package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"coffer"
	"coffer/object"
)

// failure is a call that failed. Its text has the status, the error code and the request id, by which S3's own logs can be searched;
// the message of S3 or the SDK is dropped, because it can hold the object's key.
type failure struct {
	status  int // of HTTP; 0: no answer
	code    string
	request string
	why     string // what it means and what to do, where that is known
	is      error  // the sentinel, or the context's error
	sure    bool   // S3 refused: the call had no effect
	garbled bool   // the answer was a success and not what the protocol says
	refused bool   // a permission is missing; see object.ErrRefused
}

func (f *failure) Error() string {
	var b strings.Builder
	switch {
	case f.status == 0 && f.code == "":
		b.WriteString("no answer from S3")
	case f.garbled:
		fmt.Fprintf(&b, "S3 gave an answer of unknown form with status %d", f.status)
	default:
		fmt.Fprintf(&b, "S3 answered %d", f.status)
		if f.code != "" {
			b.WriteString(" " + f.code)
		}
	}
	if f.request != "" {
		b.WriteString(", request " + f.request)
	}
	if f.why != "" {
		b.WriteString(": " + f.why)
	}
	if f.is != nil {
		b.WriteString(": " + f.is.Error())
	}
	return b.String()
}

func (f *failure) Unwrap() error { return f.is }

func (f *failure) Is(target error) bool { return f.refused && target == object.ErrRefused }

func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

func denied(err error) bool {
	f := asFailure(err)
	return f != nil && f.status == http.StatusForbidden && f.code != "InvalidObjectState"
}

func codeIs(err error, code string) bool {
	f := asFailure(err)
	return f != nil && f.code == code
}

func statusIs(err error, status int) bool {
	f := asFailure(err)
	return f != nil && f.status == status
}

// translate makes a failure of an error of the SDK; nil stays nil. permission is what a refusal with 403 would be for. A failed
// precondition becomes coffer.ErrChanged, as it is for reads; writes make a conflict of it.
func translate(err error, permission string) error {
	if err == nil {
		return nil
	}
	f := &failure{}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		f.status, f.request = resp.HTTPStatusCode(), printable(resp.ServiceRequestID())
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() != "UnknownError" {
		f.code = printable(api.ErrorCode())
	}
	// A truncated answer is none, and may be whole the next time.
	var de *smithy.DeserializationError
	var syntax *xml.SyntaxError
	if errors.As(err, &de) && f.status < 300 && !(errors.As(err, &syntax) && syntax.Msg == "unexpected EOF") {
		f.garbled = true
	}
	for _, is := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			f.is = is
			return f
		}
	}
	f.sure = f.status >= 400 && f.status < 500 && f.code != "RequestTimeout" || f.status == http.StatusNotImplemented
	switch f.code {
	case "InvalidObjectState":
		f.why, f.is = "the object is archived; restore it (RestoreObject), wait, and try again", coffer.ErrUnavailable
		return f
	case "BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "RequestTimeout", "IncompleteBody":
		// What was sent did not arrive. It may the next time.
		return f
	case "OperationAborted", "ExpiredToken", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "InvalidToken", "TokenRefreshRequired":
		f.is = coffer.ErrUnavailable
		return f
	}
	if strings.HasPrefix(f.code, "KMS.") {
		f.why, f.is = "the key of the object cannot be used", coffer.ErrUnavailable
		f.refused = f.code == "KMS.DisabledException" || f.code == "KMS.KMSInvalidStateException" || f.code == "KMS.NotFoundException"
		return f
	}
	switch f.status {
	case http.StatusNotFound, http.StatusGone:
		f.is = coffer.ErrNotFound
	case http.StatusMethodNotAllowed:
		f.why, f.is = "a delete marker has no bytes", coffer.ErrNotFound
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		f.is = coffer.ErrChanged
	case http.StatusConflict:
		f.is = coffer.ErrConflict
	case http.StatusForbidden:
		f.why, f.is = permission+" is not permitted", coffer.ErrUnavailable
		// Other codes are about who asks (an unknown access key, a clock that is wrong), and the same for all objects.
		f.refused = f.code == "AccessDenied" || f.code == "AllAccessDisabled"
		if strings.HasPrefix(permission, "s3:GetObject") {
			f.why += ", or the object does not exist and s3:ListBucket is not permitted"
		}
	case http.StatusBadRequest:
		f.is = coffer.ErrInvalid
	case http.StatusNotImplemented:
		f.why, f.is = "the server does not know this call or this condition", coffer.ErrUnsupported
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		f.why, f.is = "the bucket is in another Region", coffer.ErrUnavailable
	default:
		f.is = coffer.ErrUnavailable
	}
	return f
}

// unknown is what a write returns when nobody can tell whether it happened. It wraps no sentinel: ErrUnavailable would say that
// nothing was done, ErrConflict that somebody else was first. A context's error is kept.
func unknown(err error) error {
	if f := asFailure(err); f != nil {
		g := *f
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			g.is = nil
		}
		g.refused = false
		err = &g
	}
	return fmt.Errorf("it is not known whether this was done: %w", err)
}

// printable cuts what a server sent as a code or an id to letters, digits and a few signs: a hostile server must not write into
// errors what it likes.
func printable(s string) string {
	b := []byte(s)
	b = slices.DeleteFunc(b, func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune(".-_:", rune(c))
	})
	return string(b[:min(len(b), 64)])
}
