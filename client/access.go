package client

import (
	"context"
	"net/url"

	"coffer/api"
)

// RequestAccess asks for values that the policies show only with an approval.
func (cl *Client) RequestAccess(ctx context.Context, b api.AccessBody) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "requests"), "", b)
}

// Requests returns the requests that the caller may see, newest first; with inbox those that wait for the caller.
func (cl *Client) Requests(ctx context.Context, inbox bool) ([]api.Request, error) {
	q := url.Values{}
	if inbox {
		q.Set("inbox", "true")
	}
	out, err := get[api.Requests](ctx, cl, at("access", "requests"), q)
	return out.Requests, err
}

// Request returns a request and its ETag.
func (cl *Client) Request(ctx context.Context, id string) (api.Request, string, error) {
	return ask[api.Request](ctx, cl, &call{method: "GET", path: at("access", "requests", id)})
}

// ApproveRequest approves exactly the request that was seen: the one with this hash, in the state that match, its ETag, names; empty: any.
func (cl *Client) ApproveRequest(ctx context.Context, id, match, hash string) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "requests", id, "approve"), match, api.ApproveBody{Hash: hash})
}

// DenyRequest denies a request, and says why to who asked.
func (cl *Client) DenyRequest(ctx context.Context, id, note string) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "requests", id, "deny"), "", api.AnswerBody{Note: note})
}

// WithdrawRequest takes back a request of the caller's own.
func (cl *Client) WithdrawRequest(ctx context.Context, id string) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "requests", id, "withdraw"), "", nil)
}

// BreakGlass breaks the glass.
func (cl *Client) BreakGlass(ctx context.Context, b api.GlassBody) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "glass"), "", b)
}

// Glass returns the broken glass that nobody has reviewed.
func (cl *Client) Glass(ctx context.Context) ([]api.Request, error) {
	out, err := get[api.Requests](ctx, cl, at("access", "glass"), nil)
	return out.Requests, err
}

// ReviewGlass records that the caller looked into what was done through broken glass.
func (cl *Client) ReviewGlass(ctx context.Context, id, note string) (api.Request, error) {
	return act[api.Request](ctx, cl, at("access", "requests", id, "review"), "", api.AnswerBody{Note: note})
}

// Matrix says what each role sees of each kind of data.
func (cl *Client) Matrix(ctx context.Context) (api.Matrix, error) {
	return get[api.Matrix](ctx, cl, at("policies", "matrix"), nil)
}

// TestPolicies asks the policies in force questions.
func (cl *Client) TestPolicies(ctx context.Context, cases []api.PolicyCase) (api.PolicyAnswers, error) {
	return post[api.PolicyAnswers](ctx, cl, at("policies", "test"), api.PolicyTests{Cases: cases})
}
