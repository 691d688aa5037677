package s3fake

import (
	"fmt"
	"net/http"
)

// apiError is an error as S3 answers it.
type apiError struct {
	status  int
	code    string
	message string
	detail  [][2]string // further elements of the document
	header  http.Header // further headers
}

func (e *apiError) Error() string { return e.code }

// with adds an element to the document.
func (e *apiError) with(name, value string) *apiError {
	e.detail = append(e.detail, [2]string{name, value})
	return e
}

func failure(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func accessDenied() *apiError { return failure(403, "AccessDenied", "Access Denied") }

// notAuthorized is the long text of today, which names the resource: nobody may let it through to a log.
func (c *call) notAuthorized(action string) *apiError {
	return failure(403, "AccessDenied", "User: arn:aws:iam::%s:user/tester is not authorized to perform: %s on resource: \"arn:aws:s3:::%s\" "+
		"because no identity-based policy allows the %s action", c.s.Account, action, c.bucket+"/"+c.key, action)
}

func invalidArgument(name, value, format string, args ...any) *apiError {
	return failure(400, "InvalidArgument", format, args...).with("ArgumentName", name).with("ArgumentValue", value)
}

func invalidRequest(format string, args ...any) *apiError {
	return failure(400, "InvalidRequest", format, args...)
}

func malformedXML() *apiError {
	return failure(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func notImplemented(header string) *apiError {
	return failure(501, "NotImplemented", "A header or query you provided implies functionality that is not implemented").with("Header", header)
}

func preconditionFailed(condition string) *apiError {
	return failure(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold").with("Condition", condition)
}

func noSuchBucket(name string) *apiError {
	return failure(404, "NoSuchBucket", "The specified bucket does not exist").with("BucketName", name)
}

func noSuchUpload(id string) *apiError {
	return failure(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").
		with("UploadId", id)
}

func conditionalConflict(key string) *apiError {
	return failure(409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.").
		with("Key", key)
}

func slowDown() *apiError { return failure(503, "SlowDown", "Please reduce your request rate.") }

func internalError() *apiError {
	return failure(500, "InternalError", "We encountered an internal error. Please try again.")
}
