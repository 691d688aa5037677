package app

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"coffer"
)

// Spec names a store: a folder or file on this machine ("dir:PATH"), or a service with options ("s3:?endpoint=URL&region=NAME").
type Spec struct {
	Scheme  string
	Name    string // path, bucket, table, key: what the scheme says
	Options url.Values
}

// String returns the text form.
func (s Spec) String() string {
	t := s.Scheme + ":" + s.Name
	if len(s.Options) > 0 {
		t += "?" + s.Options.Encode()
	}
	return t
}

// Local reports whether the spec names a path on this machine.
func (s Spec) Local() bool { return schemes[s.Scheme].local }

// scheme says what may stand in a spec.
type scheme struct {
	local bool
	name  string // what the name is, for messages
	deflt string // the name of a spec without one; "" and no optional: a name must be given
	bare  bool   // the spec needs no name at all
	opts  []string
}

// awsOptions are understood by every service: where it is and as whom it is called. What is left out comes from the environment, as
// for every AWS client.
var awsOptions = []string{"endpoint", "region", "profile", "fips"}

var schemes = map[string]scheme{
	"dir":      {local: true, name: "PATH"},
	"keyfile":  {local: true, name: "PATH"},
	"sqlite":   {local: true, name: "PATH"},
	"s3":       {name: "BUCKET", bare: true, opts: append([]string{"owner", "requester-pays", "retention"}, awsOptions...)},
	"kms":      {name: "KEY", deflt: "alias/coffer", opts: append([]string{"verify", "old"}, awsOptions...)},
	"lambda":   {name: "FUNCTION", opts: awsOptions},
	"dynamodb": {name: "TABLE", deflt: "coffer", opts: awsOptions},
}

// roles are the things that a spec can stand for, with the schemes that can play them; the first is the one of a home in a folder,
// where its part lies unless it is said otherwise.
var roles = map[string]struct {
	schemes []string
	deflt   string
}{
	"objects":   {[]string{"dir", "s3"}, "dir:objects"},
	"originals": {[]string{"dir", "s3"}, "dir:originals"},
	"keys":      {[]string{"keyfile", "kms"}, "keyfile:keys/ring"},
	"store":     {[]string{"sqlite", "dynamodb"}, "sqlite:store"},
	"log":       {[]string{"dir", "s3"}, "dir:log"},
	"verifier":  {[]string{"lambda"}, ""},
	"looker":    {[]string{"lambda"}, ""},
	"to":        {[]string{"dir", "s3"}, ""}, // of a target of messages
}

// ParseSpec parses the spec of a role: "objects", "originals", "keys", "store", "log", "verifier", "looker", or "to" of a target of messages.
// An empty text is the role's default.
func ParseSpec(role, text string) (Spec, error) {
	r := roles[role]
	text = cmp.Or(text, r.deflt)
	name, rest, ok := strings.Cut(text, ":")
	s := schemes[name]
	if !ok || !slices.Contains(r.schemes, name) {
		return Spec{}, fmt.Errorf("%s: write %s: %w", role, forms(r.schemes), coffer.ErrInvalid)
	}
	spec := Spec{Scheme: name, Name: rest}
	if !s.local {
		// Not a URL: the ARN of a key has colons and slashes.
		n, query, _ := strings.Cut(rest, "?")
		opts, err := url.ParseQuery(query)
		if err != nil {
			return Spec{}, fmt.Errorf("%s: the options after ? are no query: %w", role, coffer.ErrInvalid)
		}
		for _, o := range slices.Sorted(maps.Keys(opts)) {
			if !slices.Contains(s.opts, o) {
				return Spec{}, fmt.Errorf("%s: %s knows no option %q, only %s: %w", role, name, o, strings.Join(s.opts, ", "), coffer.ErrInvalid)
			}
		}
		spec.Name, spec.Options = cmp.Or(n, s.deflt), opts
	}
	switch bare := s.bare && role == "objects"; {
	case bare && spec.Name != "":
		return Spec{}, fmt.Errorf("%s: s3: names no bucket; the buckets that may be read stand under buckets: in config.yaml: %w", role, coffer.ErrInvalid)
	case !bare && spec.Name == "":
		return Spec{}, fmt.Errorf("%s: write %s:%s: %w", role, name, s.name, coffer.ErrInvalid)
	}
	return spec, nil
}

func forms(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n + ":" + schemes[n].name
	}
	return strings.Join(out, " or ")
}

// from returns s with a path made absolute against dir.
func (s Spec) from(dir string) Spec {
	if s.Local() && !filepath.IsAbs(s.Name) {
		s.Name = filepath.Join(dir, s.Name)
	}
	return s
}
