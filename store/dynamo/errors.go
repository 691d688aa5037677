package dynamo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"coffer"
)

// The reasons for which DynamoDB cancels a transaction, one for each operation.
const (
	reasonCondition  = "ConditionalCheckFailed"
	reasonCollection = "ItemCollectionSizeLimitExceeded"
	reasonInvalid    = "ValidationError"
)

const opDescribeTable = "DescribeTable"

// Error codes that say that a property of a table cannot be asked for: the permission is missing, or the server does not have it.
var codesUnknown = []string{"AccessDeniedException", "AccessDenied", codeUnknownOperation}

const codeUnknownOperation = "UnknownOperationException"

// errContended says that a transaction had to change its form each time, because others kept writing the same items.
var errContended = errors.New("others keep writing the same items")

// failure is what an attempt that failed means.
type failure struct {
	text  string // operation, error code, request id
	code  string // DynamoDB's error code
	is    error  // what the error wraps: a sentinel, or nil
	again bool   // another attempt may succeed
	open  bool   // the attempt may have had its effect
}

// callError is a call that failed for good.
type callError struct {
	text, code string
	wraps      []error
}

func (e *callError) Error() string {
	s := e.text
	for _, w := range e.wraps {
		s += ": " + w.Error()
	}
	return s
}

func (e *callError) Unwrap() []error { return e.wraps }

// isCode reports whether err is a call that DynamoDB refused with one of these error codes.
func isCode(err error, codes ...string) bool {
	var e *callError
	return errors.As(err, &e) && slices.Contains(codes, e.code)
}

// last returns the error after the last attempt; lost says that one of them may have had an effect.
func (f *failure) last(ctx context.Context, lost bool) error {
	e := &callError{text: f.text, code: f.code}
	switch {
	case lost && !errors.Is(f.is, coffer.ErrInvalid):
		// What is invalid was so at the first attempt. All else says only what became of the last one.
		e.text += ": an answer was lost, and whether the operations were carried out is not known"
	case f.is != nil:
		e.wraps = append(e.wraps, f.is)
	}
	if err := ctx.Err(); err != nil {
		e.wraps = append(e.wraps, err)
	}
	return e
}

// classify says what err, which an attempt returned, means. sent says that the request was handed to the network.
func classify(op string, err error, sent bool) *failure {
	f := &failure{text: "dynamodb " + op, is: coffer.ErrUnavailable}
	var api smithy.APIError
	if errors.As(err, &api) {
		f.code = api.ErrorCode()
		f.text += ": " + f.code
	}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.HTTPStatusCode() != 0 { // 0: there was no answer
		f.text += fmt.Sprintf(" (status %d, request %s)", resp.HTTPStatusCode(), resp.ServiceRequestID())
	}
	var cancelled *types.TransactionCanceledException
	var dial *net.OpError
	switch {
	case errors.Is(err, coffer.ErrConflict), errors.Is(err, coffer.ErrCorrupt): // said by this package
		f.text, f.is = "dynamodb "+op, err
	case errors.Is(err, errContended):
		f.again = true
	case errors.As(err, &cancelled):
		f.again, f.is = cancellation(cancelled.CancellationReasons)
	case errors.As(err, &api):
		f.refused(op, api.ErrorFault(), resp)
	case !sent:
		f.text += ": the request could not be made: are there credentials, and a Region?"
	case errors.As(err, &dial) && dial.Op == "dial":
		f.again = true
		f.text += ": no connection"
	default:
		// The connection broke, the answer came too late, or it is no answer of DynamoDB.
		f.again, f.open = true, true
		f.text += ": no answer"
	}
	return f
}

// cancellation says what it means that a transaction was cancelled and no expectation is to blame.
func cancellation(reasons []types.CancellationReason) (again bool, is error) {
	for _, r := range reasons {
		switch aws.ToString(r.Code) {
		case reasonInvalid, reasonCollection:
			return false, coffer.ErrInvalid
		case "AccessDenied":
			return false, coffer.ErrUnavailable
		}
	}
	return true, coffer.ErrUnavailable // TransactionConflict, ThrottlingError, ProvisionedThroughputExceeded
}

// refused says what it means that DynamoDB answered with the error code of f.
func (f *failure) refused(op string, fault smithy.ErrorFault, resp *awshttp.ResponseError) {
	switch f.code {
	case "ConditionalCheckFailedException":
		f.is = coffer.ErrConflict
	case "ValidationException", "ItemCollectionSizeLimitExceededException", "SerializationException":
		f.is = coffer.ErrInvalid
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException",
		"TransactionConflictException", "ContinuousBackupsUnavailableException", "ReplicatedWriteConflictException":
		f.again = true
	case "TransactionInProgressException": // an earlier attempt of ours is still under way
		f.again, f.open = true, true
	case "IdempotentParameterMismatchException": // cannot be: a token goes with one request
		f.is, f.open = nil, true
	case "ResourceNotFoundException", "TableNotFoundException":
		if op == opDescribeTable {
			f.is = coffer.ErrNotFound
		}
		f.text += ": the table does not exist; `coffer setup` makes it"
	case "AccessDeniedException", "AccessDenied":
		f.text += ": the role of this program may not do this; see the policy that is deployed with it"
	case "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignatureException",
		"ExpiredTokenException", "InvalidClientTokenId":
		f.text += ": the credentials are not valid, or the clock is wrong"
	default:
		if fault == smithy.FaultServer || resp != nil && resp.HTTPStatusCode() >= 500 {
			f.again, f.open = true, true
		}
	}
}
