package lambdaharness

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// Gateway plays an HTTP API of API Gateway with a Lambda proxy integration (payload 2.0) in front of a function. With Secrets it has an IAM
// authoriser: requests that are not signed by one of these callers are refused with 403, as API Gateway does.
type Gateway struct {
	Function *Function
	// Secrets are the secret keys by access key id, and Callers the ARN of whom each belongs to.
	Secrets, Callers map[string]string
	// Overwrite are the headers that a parameter mapping sets.
	Overwrite map[string]string
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 10<<20+1)) // API Gateway takes 10 MB, a function 6
	if err != nil || len(body) > 10<<20 {
		http.Error(w, `{"message":"Request Too Long"}`, http.StatusRequestEntityTooLarge)
		return
	}
	in := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery, Headers: map[string]string{"host": r.Host},
	}
	for name, v := range r.Header {
		if name == "Cookie" {
			in.Cookies = strings.Split(strings.Join(v, "; "), "; ")
			continue
		}
		in.Headers[strings.ToLower(name)] = strings.Join(v, ",")
	}
	for name, v := range g.Overwrite {
		in.Headers[strings.ToLower(name)] = v
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	in.Headers["x-forwarded-for"] = strings.TrimPrefix(in.Headers["x-forwarded-for"]+", "+from, ", ")
	in.RequestContext.HTTP.Method, in.RequestContext.HTTP.Path, in.RequestContext.HTTP.SourceIP = r.Method, r.URL.Path, from
	in.RequestContext.Stage, in.RequestContext.RouteKey = "$default", "$default"
	if g.Secrets != nil {
		key, err := g.signed(r, body)
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"Forbidden"}`) // whoever asked may be gone
			return
		}
		in.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
			IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{AccessKey: key, UserARN: g.Callers[key], AccountID: Account},
		}
	}
	if in.Body = string(body); !utf8.Valid(body) {
		in.Body, in.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	payload, err := json.Marshal(in)
	if err != nil {
		panic(err) // of strings and numbers
	}
	answer, err := g.Function.Invoke(payload)
	var out events.APIGatewayV2HTTPResponse
	if err != nil || json.Unmarshal(answer, &out) != nil {
		http.Error(w, `{"message":"Internal Server Error"}`, http.StatusInternalServerError)
		return
	}
	for name, v := range out.Headers {
		w.Header().Set(name, v)
	}
	for _, c := range out.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	said := []byte(out.Body)
	if out.IsBase64Encoded {
		if said, err = base64.StdEncoding.DecodeString(out.Body); err != nil {
			http.Error(w, `{"message":"Internal Server Error"}`, http.StatusInternalServerError)
			return
		}
	}
	w.WriteHeader(out.StatusCode)
	_, _ = w.Write(said) // whoever asked may be gone
}

var errSignature = errors.New("the signature is not right")

// signed returns the access key id by which a request is signed, as "Create a signed AWS API request" in the IAM User Guide describes
// Signature Version 4: the algorithm written down a second time, independent of the SDK.
func (g *Gateway) signed(r *http.Request, body []byte) (string, error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", errSignature
	}
	said := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		said[name] = v
	}
	scope := strings.Split(said["Credential"], "/") // key, date, Region, service, aws4_request
	names := strings.Split(said["SignedHeaders"], ";")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || len(scope) != 5 || scope[1] != at.Format("20060102") || scope[2] != Region || scope[4] != "aws4_request" ||
		time.Since(at).Abs() > 5*time.Minute || !slices.Contains(names, "host") || g.Secrets[scope[0]] == "" {
		return "", errSignature
	}
	var headers strings.Builder
	for _, name := range names {
		v := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			v = r.Host
		case "content-length":
			v = r.Header.Get("Content-Length")
			if v == "" {
				v = strconv.FormatInt(r.ContentLength, 10)
			}
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(v), " ") + "\n")
	}
	hash := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20") // sorted by name
	var path []string
	for _, segment := range strings.Split(r.URL.EscapedPath(), "/") {
		path = append(path, strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")) // once more, as for all services but S3
	}
	request := strings.Join([]string{r.Method, strings.Join(path, "/"), query, headers.String(), said["SignedHeaders"], hash(body)}, "\n")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), hash([]byte(request))}, "\n")
	key := []byte("AWS4" + g.Secrets[scope[0]])
	for _, s := range scope[1:] {
		key = mac(key, s)
	}
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(mac(key, text))), []byte(said["Signature"])) != 1 {
		return "", errSignature
	}
	return scope[0], nil
}
