package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxJWT bounds a token, in bytes, before anything of it is decoded.
	maxJWT   = 16 << 10
	maxDepth = 8   // of objects and lists in a token
	maxText  = 255 // bytes of an id in a token: what OpenID Connect allows for sub
	// maxLife is the longest life of an access token that is accepted: what was issued for longer is a password.
	maxLife = 24 * time.Hour
)

// jwt is a token that was taken apart and not yet believed.
type jwt struct {
	raw    string
	alg    string
	kid    string
	typ    string         // lower case, without "application/"
	claims map[string]any // numbers as json.Number
}

// foreignHeaders are members that name keys or change what is verified. Keys come from the configured address alone (RFC 8725 3.8 to
// 3.10), and extensions that must be understood are not understood here.
var foreignHeaders = []string{"crit", "jku", "x5u", "x5c", "jwk", "b64", "zip", "enc", "epk"}

// parseJWT takes a token in compact form apart: three parts, each strict base64url, header and claims each one JSON object in which no
// member stands twice. Nothing is verified.
func parseJWT(raw string) (*jwt, error) {
	if len(raw) > maxJWT {
		return nil, refuse(Malformed)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, refuse(Malformed)
	}
	var decoded [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil || strings.ContainsAny(p, "\r\n") {
			return nil, refuse(Malformed)
		}
		decoded[i] = b
	}
	header, err := strictObject(decoded[0])
	if err != nil {
		return nil, refuse(Malformed)
	}
	claims, err := strictObject(decoded[1])
	if err != nil {
		return nil, refuse(Malformed)
	}
	for _, name := range foreignHeaders {
		if _, there := header[name]; there {
			return nil, refuse(BadHeader)
		}
	}
	j := &jwt{raw: raw, claims: claims}
	for name, to := range map[string]*string{"alg": &j.alg, "kid": &j.kid, "typ": &j.typ} {
		v, there := header[name]
		s, ok := v.(string)
		if there && (!ok || len(s) > maxText) {
			return nil, refuse(BadHeader)
		}
		*to = s
	}
	j.typ = strings.TrimPrefix(strings.ToLower(j.typ), "application/")
	return j, nil
}

var errJSON = errors.New("not one strict JSON object")

// strictObject decodes one JSON object. Valid UTF-8, no member twice in one object, nothing behind it, no deeper than maxDepth.
func strictObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := strictValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errJSON
	}
	return o, nil
}

func strictValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil || depth > maxDepth {
		return nil, errJSON
	}
	switch t {
	case json.Delim('{'):
		o := make(map[string]any)
		for dec.More() {
			k, err := dec.Token()
			name, ok := k.(string)
			if _, twice := o[name]; err != nil || !ok || twice {
				return nil, errJSON
			}
			if o[name], err = strictValue(dec, depth+1); err != nil {
				return nil, err
			}
		}
		if _, err := dec.Token(); err != nil {
			return nil, errJSON
		}
		return o, nil
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := strictValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if _, err := dec.Token(); err != nil {
			return nil, errJSON
		}
		return list, nil
	}
	return t, nil
}

// text returns a claim that is a string of reasonable length; "" when it is missing or something else.
func (j *jwt) text(name string) string {
	s, _ := j.claims[name].(string)
	if len(s) > maxText || strings.ContainsRune(s, 0) {
		return ""
	}
	return s
}

// moment returns a claim that is a time. There is none: the zero time. It is something else: refused.
func (j *jwt) moment(name string) (time.Time, error) {
	v, there := j.claims[name]
	if !there {
		return time.Time{}, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, refuse(MissingClaim)
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f <= 0 || f > 253402300799 { // the year 9999
		return time.Time{}, refuse(MissingClaim)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
}

// audience returns the claim aud, which is a string or a list of strings; nil when it is neither.
func (j *jwt) audience() []string {
	switch v := j.claims["aud"].(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil
			}
			out = append(out, s)
		}
		return out
	}
	return nil
}

// words returns a claim that is a list of strings, such as amr.
func (j *jwt) words(name string) []string {
	list, _ := j.claims[name].([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// check compares the claims that every token has with what is expected; whose are those whom the token says it is for. The signature was
// verified before.
func (j *jwt) check(issuer, audience string, whose []string, now time.Time) error {
	if j.text("iss") != issuer {
		return refuse(WrongIssuer)
	}
	if !slices.Contains(whose, audience) {
		return refuse(WrongAudience)
	}
	exp, err := j.moment("exp")
	if err != nil || exp.IsZero() {
		return refuse(MissingClaim)
	}
	iat, err := j.moment("iat")
	if err != nil || iat.IsZero() {
		return refuse(MissingClaim)
	}
	nbf, err := j.moment("nbf")
	if err != nil {
		return err
	}
	switch {
	case !now.Before(exp.Add(MaxSkew)):
		return refuse(Expired)
	case iat.After(now.Add(MaxSkew)), nbf.After(now.Add(MaxSkew)):
		return refuse(NotYet)
	case exp.Sub(iat) > maxLife:
		return refuse(TooLong)
	}
	return nil
}

// proved returns when the subject last proved who they are, and whether with more than one factor, by the claims auth_time, amr and acr.
// A time in the future is not known.
func (j *jwt) proved(strong []string, now time.Time) (time.Time, bool, error) {
	at, err := j.moment("auth_time")
	if err != nil {
		return time.Time{}, false, err
	}
	if at.After(now) {
		if at.After(now.Add(MaxSkew)) {
			return time.Time{}, false, refuse(NotYet)
		}
		at = now
	}
	acr := j.text("acr")
	mfa := slices.Contains(j.words("amr"), "mfa") || acr != "" && slices.Contains(strong, acr) || slices.Equal(strong, []string{EverySignIn})
	return at, mfa, nil
}

// decodePayload returns the bytes of the claims of a token that parseJWT took apart.
func decodePayload(raw string) ([]byte, error) {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	return base64.RawURLEncoding.DecodeString(payload)
}
