package main

import (
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// configured returns a function api with these variables beside the least.
func configured(t *testing.T, more map[string]string) *function {
	t.Helper()
	env := map[string]string{"COFFER_FUNCTION": "api", "COFFER_CONFIG": `{"identity":{"origin":"https://coffer.example"}}`}
	for name, v := range more {
		env[name] = v
	}
	f, err := newFunction(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWhatTheFrontSays: the host and the sender that CloudFront tells are believed when it has shown that it is it, and no others.
func TestWhatTheFrontSays(t *testing.T) {
	const gateway = "abc.execute-api.eu-central-1.amazonaws.com"
	for name, x := range map[string]struct {
		secret, forwarded, source string
		signed                    bool
		host, from                string
	}{
		"no front":                        {"", "", "192.0.2.7", false, gateway, "192.0.2.7:0"},
		"no front, a claim":               {"", "198.51.100.1, 192.0.2.7", "192.0.2.7", false, gateway, "192.0.2.7:0"},
		"CloudFront":                      {secret, "198.51.100.1, 192.0.2.7", "192.0.2.7", false, "coffer.example", "198.51.100.1:0"},
		"CloudFront, a claim":             {secret, "203.0.113.9, 198.51.100.1, 192.0.2.7", "192.0.2.7", false, "coffer.example", "198.51.100.1:0"},
		"CloudFront, a claim in rags":     {secret, ",,x\"; 198.51.100.1,192.0.2.7", "192.0.2.7", false, "coffer.example", "192.0.2.7:0"},
		"CloudFront, IPv6":                {secret, "2001:db8::1, 192.0.2.7", "192.0.2.7", false, "coffer.example", "[2001:db8::1]:0"},
		"a zone":                          {secret, "fe80::1%eth0, 192.0.2.7", "192.0.2.7", false, "coffer.example", "[fe80::1]:0"},
		"another last":                    {secret, "198.51.100.1, 203.0.113.9", "192.0.2.7", false, "coffer.example", "192.0.2.7:0"},
		"signed, which has no CloudFront": {secret, "203.0.113.9, 192.0.2.7", "192.0.2.7", true, "coffer.example", "192.0.2.7:0"},
		"signed, a function URL":          {"", "203.0.113.9, 192.0.2.7", "192.0.2.7", true, "coffer.example", "192.0.2.7:0"},
		"IPv6":                            {"", "", "2001:db8::2", false, gateway, "[2001:db8::2]:0"},
	} {
		t.Run(name, func(t *testing.T) {
			in := events.APIGatewayV2HTTPRequest{Version: "2.0", RawPath: "/v1/findings", Headers: map[string]string{
				"host": gateway, "x-forwarded-for": x.forwarded, "x-coffer-origin": x.secret,
			}}
			in.RequestContext.HTTP.Method, in.RequestContext.HTTP.SourceIP = "GET", x.source
			if x.signed {
				in.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
					IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{UserARN: "arn:aws:sts::111122223333:assumed-role/engineer/alice"},
				}
			}
			more := map[string]string{}
			if x.secret != "" {
				more["COFFER_ORIGIN_SECRET"] = x.secret
			}
			r, status := configured(t, more).request(t.Context(), &in)
			if status != 0 {
				t.Fatalf("refused: %d", status)
			}
			if r.Host != x.host || r.RemoteAddr != x.from || r.Header.Get("Host") != "" || r.Header.Get(originHeader) != "" {
				t.Errorf("host %s from %s, want %s from %s; headers %v", r.Host, r.RemoteAddr, x.host, x.from, r.Header)
			}
		})
	}
}
