package main

import (
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// TestHost: behind what stands before the API, and behind a verified signature, the host is that of the installation, whatever name API
// Gateway has; of everybody else it is what they asked for, so that a name that was made to lead here (DNS rebinding) is seen.
func TestHost(t *testing.T) {
	const gateway, portal = "a1b2c3.execute-api.eu-central-1.amazonaws.com", "coffer.example"
	config := func(secret string) func(string) string {
		vars := map[string]string{
			"COFFER_FUNCTION": "api", "COFFER_ORIGIN_SECRET": secret, "COFFER_CONFIG": `{"identity":{"origin":"https://` + portal + `"}}`,
		}
		return func(name string) string { return vars[name] }
	}
	iam := &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
		IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{UserARN: "arn:aws:sts::123456789012:assumed-role/engineer/alice"},
	}
	for name, x := range map[string]struct {
		secret, sent string
		auth         *events.APIGatewayV2HTTPRequestContextAuthorizerDescription
		host         string
		status       int
	}{
		"through the front":        {secret, secret, nil, portal, 0},
		"past the front":           {secret, "", nil, "", 403},
		"signed":                   {secret, "", iam, portal, 0},
		"no front":                 {"", "", nil, gateway, 0},
		"no front, a secret of it": {"", secret, nil, gateway, 0},
	} {
		f, err := newFunction(config(x.secret))
		if err != nil {
			t.Fatal(err)
		}
		in := &events.APIGatewayV2HTTPRequest{Version: "2.0", RawPath: "/", Headers: map[string]string{"host": gateway, "x-coffer-origin": x.sent}}
		in.RequestContext.HTTP.Method, in.RequestContext.HTTP.SourceIP = "GET", "192.0.2.7"
		in.RequestContext.Authorizer = x.auth
		r, status := f.request(t.Context(), in)
		if status != x.status {
			t.Errorf("%s: %d, want %d", name, status, x.status)
			continue
		}
		if status == 0 && (r.Host != x.host || r.Header.Get(originHeader) != "") {
			t.Errorf("%s: host %s, want %s; or the secret is passed on", name, r.Host, x.host)
		}
	}
}
