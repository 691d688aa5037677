// Package maciefake plays the part of Amazon Macie that is read: findings by id and in lists, identifiers, the session, where
// results go. Its source is the Macie API reference (paths, members, limits and codes as in the service model that the AWS SDK for Go is
// made from) and the user guide. Where these are silent it is as bad as it may be: a list is not of one moment, its tokens are offsets
// into what is there when the page is asked for, and a token is good for one page.
//
// It speaks REST-JSON and looks at no signature; whoever signs for "macie2" is let in. There is one account and one Region. A call that
// it does not know gets 404.
package maciefake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer/internal/awsfake"
	"coffer/internal/fault"
)

// MaxPage is the most ids in a page and in a call of GetFindings, and the size of a page when no other is asked for.
const MaxPage = 50

// Fake is Macie in one account and Region. It may be used concurrently.
type Fake struct {
	// Fault, if set, breaks connections: a fault before the effect loses the request, one after it the answer. The names of the
	// calls are "macie2.GetFindings" and so on. Set it before the first call.
	Fault *fault.Injector
	// Before, if set, is called before each call with its name and number (1-based, for each name), and may change the findings as
	// Macie would in the meantime. Set it before the first call.
	Before func(op string, n int)

	mu         sync.Mutex
	findings   map[string]*finding
	order      []*finding // all of them, by time and id; nil: to be made again
	custom     map[string]json.RawMessage
	managed    []string
	status     string // "ENABLED", "PAUSED"; "" is not enabled
	results    [2]string
	failures   []*failure
	denied     map[string]bool
	pages      map[string]page
	raw        map[string][]byte
	operations map[string]int
	sequence   int
	limit      struct {
		rate, burst, left float64
		at                time.Time
		refused           int
	}
}

type finding struct {
	id               string
	updated          time.Time
	archived, policy bool
	raw              json.RawMessage
	forgotten        bool
}

type page struct {
	request string // what the token is good for
	from    int
}

type failure struct {
	code  string
	left  int
	among []string
}

// New returns an enabled Macie without findings.
func New() *Fake {
	return &Fake{
		findings: map[string]*finding{}, custom: map[string]json.RawMessage{}, status: "ENABLED", denied: map[string]bool{},
		pages: map[string]page{}, raw: map[string][]byte{}, operations: map[string]int{},
	}
}

// Put makes a finding, or replaces it, from its JSON: that of a finding, or an event with one as its detail. It panics when the JSON
// has no id or times.
func (f *Fake) Put(doc []byte) {
	var event struct{ Detail json.RawMessage }
	if err := json.Unmarshal(doc, &event); err == nil && len(event.Detail) > 0 {
		doc = event.Detail
	}
	var d struct {
		ID        string
		UpdatedAt time.Time
		Archived  bool
		Category  string
	}
	if err := json.Unmarshal(doc, &d); err != nil || d.ID == "" || d.UpdatedAt.IsZero() {
		panic("maciefake: this is no finding")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = nil
	f.findings[d.ID] = &finding{id: d.ID, updated: d.UpdatedAt, archived: d.Archived, policy: d.Category == "POLICY", raw: bytes.Clone(doc)}
}

// Change replaces members of a finding, as an update by Macie does.
func (f *Fake) Change(id string, members map[string]any) {
	f.mu.Lock()
	doc := map[string]any{}
	if err := json.Unmarshal(f.findings[id].raw, &doc); err != nil {
		panic("maciefake: " + err.Error())
	}
	f.mu.Unlock()
	for k, v := range members {
		doc[k] = v
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic("maciefake: " + err.Error())
	}
	f.Put(b)
}

// Expire removes a finding, as 90 days do.
func (f *Fake) Expire(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.findings, id)
	f.order = nil
}

// Forget has GetFindings leave a finding out that ListFindings still lists.
func (f *Fake) Forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.findings[id].forgotten = true
}

// PutIdentifier makes a custom data identifier from the JSON of GetCustomDataIdentifier.
func (f *Fake) PutIdentifier(id string, doc []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.custom[id] = bytes.Clone(doc)
}

// SetManaged sets the managed data identifiers.
func (f *Fake) SetManaged(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.managed = ids
}

// SetStatus enables ("ENABLED"), pauses ("PAUSED") or disables ("") Macie.
func (f *Fake) SetStatus(status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

// SetResults says where discovery results go; no bucket: nowhere.
func (f *Fake) SetResults(bucket, prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results = [2]string{bucket, prefix}
}

// Fail answers the next n calls of these operations, or of any when none are named, with the error of this code.
func (f *Fake) Fail(code string, n int, operations ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, &failure{code, n, operations})
}

// Limit refuses, as throttled, the calls of all operations together beyond so many a second, by the clock, once burst of them were made at
// once.
func (f *Fake) Limit(rate, burst float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit.rate, f.limit.burst, f.limit.left, f.limit.at = rate, burst, burst, time.Now()
}

// Throttled returns how many calls were beyond the limit.
func (f *Fake) Throttled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limit.refused
}

// Answer has an operation answer 200 with this body, as no Macie would; nil ends it.
func (f *Fake) Answer(operation string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.raw[operation] = body
}

// Deny refuses an operation, as a policy does; with false it is permitted again.
func (f *Fake) Deny(operation string, denied bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denied[operation] = denied
}

// Calls returns how often an operation was called.
func (f *Fake) Calls(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.operations[operation]
}

// apiError is an error that Macie answers.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code }

// statuses are those of the codes in the API reference; codes of the protocol itself follow.
var statuses = map[string]int{
	"ValidationException": 400, "ServiceQuotaExceededException": 402, "AccessDeniedException": 403, "ResourceNotFoundException": 404,
	"ConflictException": 409, "UnprocessableEntityException": 422, "ThrottlingException": 429, "InternalServerException": 500,
	"ExpiredTokenException": 403, "UnrecognizedClientException": 403, "ServiceUnavailable": 503,
}

func fail(code, message string) error { return &apiError{cmp.Or(statuses[code], 400), code, message} }

// route is the operation that a request asks for, and the id in its path.
func route(method, path string) (op, id string) {
	custom, ok := strings.CutPrefix(path, "/custom-data-identifiers/")
	switch {
	case method == http.MethodPost && path == "/findings":
		return "ListFindings", ""
	case method == http.MethodPost && path == "/findings/describe":
		return "GetFindings", ""
	case method == http.MethodPost && path == "/managed-data-identifiers/list":
		return "ListManagedDataIdentifiers", ""
	case method == http.MethodGet && path == "/macie":
		return "GetMacieSession", ""
	case method == http.MethodGet && path == "/classification-export-configuration":
		return "GetClassificationExportConfiguration", ""
	case method == http.MethodGet && ok:
		return "GetCustomDataIdentifier", custom
	}
	return "", ""
}

// answer works on one request. Its error is an injected fault.
func (f *Fake) answer(r *http.Request, body []byte) (a awsfake.Answer, err error) {
	op, id := route(r.Method, r.URL.Path)
	f.mu.Lock()
	f.operations[op]++
	n, before := f.operations[op], f.Before
	f.mu.Unlock()
	if before != nil {
		before(op, n)
	}
	err = f.Fault.Call("macie2."+op, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sequence++
		a.Header = http.Header{"Content-Type": {"application/json"}, "X-Amzn-Requestid": {fmt.Sprintf("00000000-0000-4000-8000-%012d", f.sequence)}}
		result, failed := f.work(op, id, r.Header.Get("Authorization"), body)
		a.Status = http.StatusOK
		if failed != nil {
			e := failed.(*apiError) //nolint:errorlint // every error here is made by fail
			a.Status = e.status
			a.Header.Set("X-Amzn-Errortype", e.code)
			result = map[string]string{"message": e.message}
		}
		if raw, ok := result.([]byte); ok {
			a.Body = raw
			return nil
		}
		a.Body, _ = json.Marshal(result) // strings, numbers and JSON
		return nil
	})
	return a, err
}

func (f *Fake) work(op, id, authorization string, body []byte) (any, error) {
	_, scope, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	fields := strings.Split(scope, "/")
	if len(fields) != 5 || fields[3] != "macie2" {
		return nil, &apiError{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	if l := &f.limit; l.rate > 0 {
		now := time.Now()
		l.left = min(l.burst, l.left+l.rate*now.Sub(l.at).Seconds())
		if l.at = now; l.left < 1 {
			l.refused++
			return nil, fail("ThrottlingException", "Rate exceeded")
		}
		l.left--
	}
	for _, x := range f.failures {
		if x.left > 0 && (len(x.among) == 0 || slices.Contains(x.among, op)) {
			x.left--
			return nil, fail(x.code, "on demand")
		}
	}
	if f.denied[op] {
		return nil, fail("AccessDeniedException", "User is not authorized to perform: macie2:"+op)
	}
	if raw := f.raw[op]; raw != nil {
		return raw, nil
	}
	if op != "" && f.status == "" {
		return nil, fail("AccessDeniedException", "Macie is not enabled")
	}
	switch op {
	case "ListFindings":
		return f.list(body)
	case "GetFindings":
		return f.describe(body)
	case "GetCustomDataIdentifier":
		if doc, ok := f.custom[id]; ok {
			return doc, nil
		}
		return nil, fail("ResourceNotFoundException", "The request failed because the specified resource doesn't exist")
	case "ListManagedDataIdentifiers":
		return f.listManaged(body)
	case "GetMacieSession":
		return map[string]any{"status": f.status, "findingPublishingFrequency": "FIFTEEN_MINUTES"}, nil
	case "GetClassificationExportConfiguration":
		if f.results[0] == "" {
			return map[string]any{}, nil
		}
		return map[string]any{"configuration": map[string]any{"s3Destination": map[string]string{
			"bucketName": f.results[0], "keyPrefix": f.results[1], "kmsKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/0",
		}}}, nil
	}
	return nil, &apiError{http.StatusNotFound, "UnknownOperationException", ""}
}

type criterion struct {
	Eq               []string
	Gt, Gte, Lt, Lte *int64
}

// sortable are the properties by which findings can be sorted (SortCriteria).
var sortable = []string{"count", "createdAt", "resourcesAffected", "severity.score", "type", "updatedAt",
	"policyDetails.action.apiCallDetails.firstSeen", "policyDetails.action.apiCallDetails.lastSeen"}

func (f *Fake) list(body []byte) (any, error) {
	var in struct {
		FindingCriteria struct{ Criterion map[string]criterion }
		MaxResults      *int
		NextToken       string
		SortCriteria    struct{ AttributeName, OrderBy string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fail("ValidationException", "malformed")
	}
	size := MaxPage
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if size < 1 || size > MaxPage {
		return nil, fail("ValidationException", "maxResults")
	}
	if a := in.SortCriteria.AttributeName; a != "" && !slices.Contains(sortable, a) || a != "" && a != "updatedAt" {
		return nil, fail("ValidationException", "sortCriteria")
	}
	archived := false // what is archived is listed only for who asks for it
	for name, c := range in.FindingCriteria.Criterion {
		switch name {
		case "archived":
			archived = slices.Contains(c.Eq, "true")
		case "category", "updatedAt":
		default:
			return nil, fail("ValidationException", "criterion")
		}
	}
	if f.order == nil {
		f.order = slices.SortedFunc(maps.Values(f.findings), func(a, b *finding) int {
			return cmp.Or(a.updated.Compare(b.updated), cmp.Compare(a.id, b.id))
		})
	}
	ids := []string{}
	for _, x := range f.order {
		at := x.updated.UnixMilli()
		u, category := in.FindingCriteria.Criterion["updatedAt"], in.FindingCriteria.Criterion["category"].Eq
		is := "CLASSIFICATION"
		if x.policy {
			is = "POLICY"
		}
		if x.archived != archived || len(category) > 0 && !slices.Contains(category, is) || u.Gte != nil && at < *u.Gte || u.Gt != nil && at <= *u.Gt ||
			u.Lt != nil && at >= *u.Lt || u.Lte != nil && at > *u.Lte {
			continue
		}
		ids = append(ids, x.id)
	}
	if in.SortCriteria.OrderBy == "DESC" {
		slices.Reverse(ids)
	}
	token := in.NextToken
	in.NextToken = ""
	what, _ := json.Marshal(in)
	ids, next, err := f.page(ids, string(what), token, size)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"findingIds": ids}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

// page cuts a page out of a list, and makes the token of the next.
func (f *Fake) page(list []string, request, token string, size int) (out []string, next string, err error) {
	p := page{request: request}
	if token != "" {
		var ok bool
		if p, ok = f.pages[token]; !ok || p.request != request {
			return nil, "", fail("ValidationException", "nextToken")
		}
	}
	from := min(p.from, len(list))
	to := min(from+size, len(list))
	if to < len(list) {
		next = "token-" + strconv.Itoa(len(f.pages)+1)
		f.pages[next] = page{request, to}
	}
	return append([]string{}, list[from:to]...), next, nil
}

func (f *Fake) describe(body []byte) (any, error) {
	var in struct{ FindingIDs []string }
	if err := json.Unmarshal(body, &in); err != nil || len(in.FindingIDs) == 0 || len(in.FindingIDs) > MaxPage {
		return nil, fail("ValidationException", "findingIds")
	}
	out := []json.RawMessage{}
	// In no order that was asked for.
	for _, id := range slices.Backward(in.FindingIDs) {
		if x := f.findings[id]; x != nil && !x.forgotten {
			out = append(out, x.raw)
		}
	}
	return map[string]any{"findings": out}, nil
}

func (f *Fake) listManaged(body []byte) (any, error) {
	var in struct{ NextToken string }
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		return nil, fail("ValidationException", "malformed")
	}
	ids, next, err := f.page(f.managed, "managed", in.NextToken, MaxPage)
	if err != nil {
		return nil, err
	}
	items := []map[string]string{}
	for _, id := range ids {
		items = append(items, map[string]string{"id": id, "category": "FINANCIAL_INFORMATION"})
	}
	out := map[string]any{"items": items}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

// ServeHTTP answers one call. An injected fault closes the connection without an answer.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awsfake.Answerer(f.answer).ServeHTTP(w, r)
}

// Transport returns a round tripper that carries calls to the fake without a socket. An injected fault is the error that it returns.
func (f *Fake) Transport() http.RoundTripper { return awsfake.Answerer(f.answer) }
