// Package kmsfake plays AWS KMS as it is documented: symmetric keys, aliases, multi-Region keys, rotation, states, dry runs. Its
// source is the KMS API reference and developer guide; where a look-alike and the documentation disagree the documentation
// holds here. It keeps a log of calls as CloudTrail would, and fails on demand: errors by code, refusals by principal, states
// that are seen late, connections that break before or after the effect.
//
// It speaks the JSON 1.1 protocol and looks at no signature: whoever signs as an access key id is that principal, and the
// Region is that of the signature's scope. There are no grants, no key policies, no asymmetric, HMAC, imported or custom-store
// keys; a call that it does not know gets UnknownOperationException.
package kmsfake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"coffer/internal/awsfake"
	"coffer/internal/fault"
)

// Account is the account of all principals and keys.
const Account = "111122223333"

// Fake is one account's KMS in all Regions. It may be used concurrently.
type Fake struct {
	// Fault, if set, breaks connections: a fault before the effect loses the request, one after it the answer. Set it before
	// the first call. The names of the calls are "kms.Decrypt" and so on.
	Fault *fault.Injector
	// Now is the clock; nil is the system's. Set it before the first call.
	Now func() time.Time

	mu       sync.Mutex
	regions  map[string]*region
	events   []Event
	failures []*failure
	denied   map[[2]string]bool // principal, operation
	lag      int
	requests int
}

type region struct {
	keys    map[string]*key   // by key id
	aliases map[string]string // name, "alias/..." -> key id
}

type failure struct {
	code  string
	left  int
	among []string
}

// Event is what the log of calls says of one.
type Event struct {
	Operation string
	Region    string
	Principal string // access key id
	Key       string // ARN of the key that was used; of the destination for ReEncrypt; "" when none was found
	Named     string // the key as the request named it
	Source    string // for ReEncrypt, ARN of the key that the ciphertext was under
	// Context is the encryption context, as CloudTrail shows it to all its readers.
	Context   map[string]string
	DryRun    bool
	Error     string // code; "" for success
	RequestID string
}

// Events returns the log of calls that reached KMS, in order. A broken connection is in it when it broke after the effect.
func (f *Fake) Events() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

// Forget empties the log.
func (f *Fake) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
}

// Fail answers the next n calls of these operations, or of any when none are named, with the error of this code. Several
// failures are worked off in the order in which they were asked for.
func (f *Fake) Fail(code string, n int, operations ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, &failure{code, n, operations})
}

// Recover ends all that Fail asked for.
func (f *Fake) Recover() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = nil
}

// Deny refuses an operation to a principal, as a policy does, until Permit.
func (f *Fake) Deny(principal, operation string) { f.permit(principal, operation, false) }

// Permit ends what Deny began.
func (f *Fake) Permit(principal, operation string) { f.permit(principal, operation, true) }

func (f *Fake) permit(principal, operation string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.denied == nil {
		f.denied = map[[2]string]bool{}
	}
	f.denied[[2]string{principal, operation}] = !yes
}

// Lag has each later change of a key's state seen by cryptographic operations only after so many of them: KMS is eventually
// consistent.
func (f *Fake) Lag(operations int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lag = operations
}

func (f *Fake) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// apiError is an error that KMS answers.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code }

// fault500 are the codes that KMS documents with status 500; all others have 400.
var fault500 = []string{"KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"}

func fail(code, format string, args ...any) error {
	status := http.StatusBadRequest
	if slices.Contains(fault500, code) {
		status = http.StatusInternalServerError
	}
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

// call is one request while it is worked on.
type call struct {
	*Fake
	op    string
	in    request
	where *region
	event *Event
}

// request has the members of all requests that are understood.
type request struct {
	KeyID                        string `json:"KeyId"`
	AliasName                    string
	TargetKeyID                  string `json:"TargetKeyId"`
	Description                  string
	KeyUsage                     string
	KeySpec                      string
	CustomerMasterKeySpec        string
	Origin                       string
	MultiRegion                  bool
	ReplicaRegion                string
	PendingWindowInDays          *int
	RotationPeriodInDays         *int
	EncryptionContext            map[string]string
	SourceEncryptionContext      map[string]string
	DestinationEncryptionContext map[string]string
	SourceKeyID                  string `json:"SourceKeyId"`
	DestinationKeyID             string `json:"DestinationKeyId"`
	CiphertextBlob               []byte
	Plaintext                    []byte
	NumberOfBytes                *int
	EncryptionAlgorithm          string
	DryRun                       bool
	DryRunModifiers              []string
}

var operations = map[string]func(*call) (any, error){
	"CreateKey":                       (*call).createKey,
	"ReplicateKey":                    (*call).replicateKey,
	"DescribeKey":                     (*call).describeKey,
	"ListKeys":                        (*call).listKeys,
	"EnableKey":                       func(c *call) (any, error) { return c.setState(stateEnabled) },
	"DisableKey":                      func(c *call) (any, error) { return c.setState(stateDisabled) },
	"ScheduleKeyDeletion":             (*call).scheduleDeletion,
	"CancelKeyDeletion":               (*call).cancelDeletion,
	"CreateAlias":                     (*call).createAlias,
	"UpdateAlias":                     (*call).updateAlias,
	"DeleteAlias":                     (*call).deleteAlias,
	"ListAliases":                     (*call).listAliases,
	"EnableKeyRotation":               func(c *call) (any, error) { return c.setRotation(true) },
	"DisableKeyRotation":              func(c *call) (any, error) { return c.setRotation(false) },
	"GetKeyRotationStatus":            (*call).rotationStatus,
	"RotateKeyOnDemand":               (*call).rotateOnDemand,
	"ListKeyRotations":                (*call).listRotations,
	"Encrypt":                         (*call).encrypt,
	"Decrypt":                         (*call).decrypt,
	"ReEncrypt":                       (*call).reEncrypt,
	"GenerateDataKey":                 func(c *call) (any, error) { return c.generate(true) },
	"GenerateDataKeyWithoutPlaintext": func(c *call) (any, error) { return c.generate(false) },
}

// answer works on one request. Its error is an injected fault.
func (f *Fake) answer(r *http.Request, body []byte) (a awsfake.Answer, err error) {
	op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	err = f.Fault.Call("kms."+op, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.requests++
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", f.requests)
		a.Header = http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Requestid": {id}}
		event := Event{Operation: op, RequestID: id}
		result, failed := f.work(&event, op, r.Header.Get("Authorization"), body)
		a.Status = http.StatusOK
		if failed != nil {
			e := failed.(*apiError) //nolint:errorlint // every error here is made by fail
			a.Status, event.Error = e.status, e.code
			result = map[string]string{"__type": e.code, "message": e.message}
		}
		f.events = append(f.events, event)
		if result == nil {
			return nil // an empty body
		}
		a.Body, _ = json.Marshal(result) // strings, numbers and bytes
		return nil
	})
	return a, err
}

func (f *Fake) work(event *Event, op, authorization string, body []byte) (any, error) {
	// AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<Region>/kms/aws4_request, ...
	_, scope, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	fields := strings.Split(scope, "/")
	if len(fields) != 5 || fields[3] != "kms" {
		return nil, fail("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	event.Principal, event.Region = fields[0], fields[2]
	run := operations[op]
	if run == nil {
		return nil, fail("UnknownOperationException", "")
	}
	c := &call{Fake: f, op: op, where: f.region(event.Region), event: event}
	if err := json.Unmarshal(body, &c.in); err != nil {
		return nil, fail("SerializationException", "")
	}
	event.Named, event.Context, event.DryRun = c.in.KeyID, maps.Clone(c.in.EncryptionContext), c.in.DryRun
	for _, x := range f.failures {
		if x.left > 0 && (len(x.among) == 0 || slices.Contains(x.among, op)) {
			x.left--
			return nil, fail(x.code, "on demand")
		}
	}
	if f.denied[[2]string{event.Principal, op}] {
		return nil, fail("AccessDeniedException", "User: %s is not authorized to perform: kms:%s", event.Principal, op)
	}
	return run(c)
}

func (f *Fake) region(name string) *region {
	if f.regions == nil {
		f.regions = map[string]*region{}
	}
	if f.regions[name] == nil {
		f.regions[name] = &region{keys: map[string]*key{}, aliases: map[string]string{}}
	}
	return f.regions[name]
}

// ServeHTTP answers one call. An injected fault closes the connection without an answer.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awsfake.Answerer(f.answer).ServeHTTP(w, r)
}

// Transport returns a round tripper that carries calls to the fake without a socket: give it to an http.Client. An injected
// fault is the error that it returns.
func (f *Fake) Transport() http.RoundTripper { return awsfake.Answerer(f.answer) }
