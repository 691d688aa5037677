package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"coffer"
)

// maxSigned bounds the body of a signed request, in bytes: a signature is over the whole of it, and an invocation takes 6 MB.
const maxSigned = 6 << 20

// Signing returns a transport that signs each request to the server at base with the AWS credentials of the environment (Signature
// Version 4), as an API of API Gateway with an IAM authoriser and a function URL want it. The service and Region are those that the name of
// the host says; behind a name of one's own it is API Gateway in the environment's Region. Credentials are looked for now, so that a
// missing one is told before anything is asked. It is safe for concurrent use.
func Signing(ctx context.Context, base string) (http.RoundTripper, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("the address of the server: %w", coffer.ErrInvalid)
	}
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w: %w", coffer.ErrInvalid, err)
	}
	t := &signing{next: http.DefaultTransport, signer: v4.NewSigner(), credentials: c.Credentials, service: "execute-api", region: c.Region, now: time.Now}
	// HOST.execute-api.REGION.amazonaws.com and HOST.lambda-url.REGION.on.aws
	if parts := strings.Split(u.Hostname(), "."); len(parts) >= 5 && parts[1] == "execute-api" && parts[3] == "amazonaws" ||
		len(parts) == 5 && parts[1] == "lambda-url" && parts[3] == "on" && parts[4] == "aws" {
		t.region = parts[2]
		if parts[1] == "lambda-url" {
			t.service = "lambda"
		}
	}
	if t.region == "" {
		return nil, fmt.Errorf("signing: the server's name tells no Region; set AWS_REGION: %w", coffer.ErrInvalid)
	}
	if _, err := t.credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("signing: no AWS credentials; sign in to AWS, or set AWS_PROFILE: %w: %w", coffer.ErrDenied, err)
	}
	return t, nil
}

type signing struct {
	next            http.RoundTripper
	signer          *v4.Signer
	credentials     aws.CredentialsProvider
	service, region string
	now             func() time.Time
}

// RoundTrip implements [http.RoundTripper].
func (t *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxSigned+1))
		if cerr := r.Body.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
		if len(body) > maxSigned {
			return nil, fmt.Errorf("a signed request of more than %d MB; send fewer findings at once: %w", maxSigned>>20, coffer.ErrLimit)
		}
	}
	r = r.Clone(r.Context()) // a transport changes no request
	r.Body, r.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	who, err := t.credentials.Retrieve(r.Context()) // kept until it expires
	if err != nil {
		return nil, fmt.Errorf("AWS credentials: %w: %w", coffer.ErrDenied, err)
	}
	sum := sha256.Sum256(body)
	if err := t.signer.SignHTTP(r.Context(), who, r, hex.EncodeToString(sum[:]), t.service, t.region, t.now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return t.next.RoundTrip(r)
}
