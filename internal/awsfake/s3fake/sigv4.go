package s3fake

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	signAlgorithm = "AWS4-HMAC-SHA256"
	emptySHA256   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// signature is what the Authorization header said, verified.
type signature struct {
	date, scope string
	key         []byte
	value       string // hexadecimal; the seed of the chunks' chain
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // a hash never fails
	return h.Sum(nil)
}

func (g signature) sign(text string) string { return hex.EncodeToString(mac(g.key, text)) }

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// uriEncode is the encoding of canonical requests: everything but unreserved characters, and slashes where they separate.
func uriEncode(s string, slash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 || c == '/' && !slash {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return b.String()
}

// canonicalRequest follows "Authenticating Requests: Using the Authorization Header".
func canonicalRequest(r *http.Request, q url.Values, signed []string, payload string) string {
	var pairs []string
	for k, vs := range q {
		for _, v := range vs {
			pairs = append(pairs, uriEncode(k, true)+"="+uriEncode(v, true))
		}
	}
	slices.Sort(pairs)
	path := r.URL.Path
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + uriEncode(path, false) + "\n" + strings.Join(pairs, "&") + "\n")
	for _, name := range signed {
		v := strings.Join(r.Header.Values(name), ",")
		switch {
		case name == "host":
			v = host(r)
		case name == "content-length" && v == "":
			v = strconv.FormatInt(r.ContentLength, 10)
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(v), " ") + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String()
}

func host(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}

// authenticate verifies the signature of the request's head. The payload's part in it is verified by readBody.
func (s *Server) authenticate(r *http.Request, q url.Values) (g signature, err error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), signAlgorithm+" ")
	if !ok {
		return g, accessDenied()
	}
	field := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		field[k] = v
	}
	cred := strings.Split(field["Credential"], "/")
	malformed := failure(400, "AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.").with("Region", s.Region)
	if len(cred) != 5 || cred[3] != "s3" || cred[4] != "aws4_request" || cred[2] != s.Region {
		return g, malformed
	}
	if cred[0] != s.AccessKey {
		return g, failure(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		return g, invalidRequest("Missing required header for this request: x-amz-content-sha256")
	}
	g.date, g.scope = r.Header.Get("X-Amz-Date"), strings.Join(cred[1:], "/")
	if len(g.date) != len("20060102T150405Z") || g.date[:8] != cred[1] {
		return g, malformed
	}
	signed := strings.Split(field["SignedHeaders"], ";")
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return g, malformed
	}
	for name := range r.Header {
		// x-amz- headers change what the request means, so S3 wants them signed.
		if low := strings.ToLower(name); strings.HasPrefix(low, "x-amz-") && !slices.Contains(signed, low) {
			return g, failure(403, "AccessDenied", "There were headers present in the request which were not signed").with("HeadersNotSigned", low)
		}
	}
	g.key = mac(mac(mac(mac([]byte("AWS4"+s.SecretKey), cred[1]), s.Region), "s3"), "aws4_request")
	g.value = g.sign(signAlgorithm + "\n" + g.date + "\n" + g.scope + "\n" + sha256Hex([]byte(canonicalRequest(r, q, signed, payload))))
	if !equal(g.value, field["Signature"]) {
		return g, failure(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	return g, nil
}

var errChunks = failure(400, "IncompleteBody", "The request body terminated unexpectedly")

// readBody reads the request's body, verifies it against what was signed, and returns it with its trailers.
func readBody(r *http.Request, g signature, limit int64) (body []byte, trailer http.Header, err error) {
	if r.Body == nil || r.Body == http.NoBody {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(nil)), 0
	}
	if r.ContentLength < 0 {
		return nil, nil, failure(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	// Chunks and trailers take a little more than the bytes themselves.
	if r.ContentLength > limit+limit/1000+4096 {
		return nil, nil, tooLarge(r.ContentLength, limit)
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength+1))
	if err != nil || int64(len(raw)) != r.ContentLength {
		return nil, nil, failure(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	switch payload {
	case "UNSIGNED-PAYLOAD":
		body = raw
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		if body, trailer, err = g.unchunk(raw, strings.Contains(payload, "HMAC"), strings.HasSuffix(payload, "TRAILER")); err != nil {
			return nil, nil, err
		}
		if n, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err != nil {
			return nil, nil, failure(411, "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
		} else if n != int64(len(body)) {
			return nil, nil, errChunks
		}
		for name := range strings.SplitSeq(r.Header.Get("X-Amz-Trailer"), ",") {
			if name = strings.TrimSpace(name); name != "" && trailer.Get(name) == "" {
				return nil, nil, failure(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
			}
		}
	default:
		if len(payload) != sha256.Size*2 {
			return nil, nil, invalidArgument("x-amz-content-sha256", payload, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING form, or a valid sha256 value.")
		}
		if body = raw; sha256Hex(body) != payload {
			return nil, nil, failure(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		}
	}
	if int64(len(body)) > limit {
		return nil, nil, tooLarge(int64(len(body)), limit)
	}
	return body, trailer, nil
}

func tooLarge(n, limit int64) *apiError {
	return failure(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
		with("ProposedSize", strconv.FormatInt(n, 10)).with("MaxSizeAllowed", strconv.FormatInt(limit, 10))
}

// unchunk undoes the aws-chunked encoding; signed chunks form a chain from the request's own signature.
func (g signature) unchunk(raw []byte, signed, trailing bool) (body []byte, trailer http.Header, err error) {
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
	in := bufio.NewReader(bytes.NewReader(raw))
	line := func() (string, error) {
		l, err := in.ReadString('\n')
		if err != nil || !strings.HasSuffix(l, "\r\n") {
			return "", errChunks
		}
		return l[:len(l)-2], nil
	}
	previous := g.value
	for {
		head, err := line()
		if err != nil {
			return nil, nil, err
		}
		size, ext, _ := strings.Cut(head, ";")
		n, perr := strconv.ParseUint(size, 16, 40)
		if perr != nil || n > uint64(len(raw)) {
			return nil, nil, errChunks
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, nil, errChunks
		}
		if signed {
			want := g.sign(signAlgorithm + "-PAYLOAD\n" + g.date + "\n" + g.scope + "\n" + previous + "\n" + emptySHA256 + "\n" + sha256Hex(chunk))
			if got := strings.TrimPrefix(ext, "chunk-signature="); !equal(got, want) {
				return nil, nil, failure(403, "SignatureDoesNotMatch", mismatch)
			}
			previous = want
		}
		body = append(body, chunk...)
		if n == 0 {
			break
		}
		if end, err := line(); err != nil || end != "" {
			return nil, nil, errChunks
		}
	}
	trailer = http.Header{}
	var text strings.Builder
	for {
		l, err := line()
		if errors.Is(err, errChunks) && in.Buffered() == 0 && !trailing {
			return body, trailer, nil
		} else if err != nil {
			return nil, nil, err
		}
		if l == "" {
			break
		}
		k, v, ok := strings.Cut(l, ":")
		if !ok || !trailing {
			return nil, nil, errChunks
		}
		if strings.EqualFold(k, "x-amz-trailer-signature") {
			want := g.sign(signAlgorithm + "-TRAILER\n" + g.date + "\n" + g.scope + "\n" + previous + "\n" + sha256Hex([]byte(text.String())))
			if !equal(strings.TrimSpace(v), want) {
				return nil, nil, failure(403, "SignatureDoesNotMatch", mismatch)
			}
			signed = false // nothing is left to verify
			continue
		}
		trailer.Add(k, strings.TrimSpace(v))
		text.WriteString(strings.ToLower(k) + ":" + strings.TrimSpace(v) + "\n")
	}
	if signed && trailing {
		return nil, nil, failure(403, "SignatureDoesNotMatch", mismatch)
	}
	return body, trailer, nil
}
