// Package app builds the program from its configuration: the one place that knows the adapters. Commands and servers open an
// [App] and use the domain packages in it.
package app

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/format/detect"
	"coffer/grant"
	"coffer/identity"
	"coffer/internal/lazyregexp"
	"coffer/notify"
	"coffer/pipeline"
	"coffer/remedy"

	"go.yaml.in/yaml/v3"
)

// Config is the file HOME/config.yaml. Every member can be left out.
type Config struct {
	// Objects, Originals, Keys, Store and Log are spec strings; a flag of the same name wins.
	Objects   string `yaml:"objects,omitempty"`
	Originals string `yaml:"originals,omitempty"`
	Keys      string `yaml:"keys,omitempty"`
	Store     string `yaml:"store,omitempty"`
	Log       string `yaml:"log,omitempty"`
	// Verifier and Looker are the functions on Lambda, as lambda:NAME, that compare sealed values for whoever fixes objects, and that
	// look at objects for whoever opens sealed values. Left out, a process does so itself.
	Verifier string `yaml:"verifier,omitempty"`
	Looker   string `yaml:"looker,omitempty"`
	// Buckets are those that may be read and changed; none given: all of a folder, none of s3.
	Buckets []string `yaml:"buckets,omitempty"`
	// Identifiers are the custom data identifiers.
	Identifiers []Identifier `yaml:"identifiers,omitempty"`
	// Macie is asked about every finding and compared with what came in; left out, it is not asked.
	Macie *Macie `yaml:"macie,omitempty"`
	// Reasons are the accepted reason codes.
	Reasons []string `yaml:"reasons,omitempty"`
	// Grace is how long a fix can be undone: "168h", "7d".
	Grace string `yaml:"grace,omitempty"`
	// Policies is a folder of Cedar policies that replaces the default set. Relative to the home.
	Policies string `yaml:"policies,omitempty"`
	// Access says what requests for access take and how much each caller may see.
	Access Access `yaml:"access,omitempty"`
	// Anchors are files to which every checkpoint of the log is appended.
	Anchors []string `yaml:"anchors,omitempty"`
	// Passphrase is a file whose first line wraps a new keyring. Relative to the home.
	Passphrase string `yaml:"passphraseFile,omitempty"`
	// Identity says who may come to a server, and from where.
	Identity identity.Config `yaml:"identity,omitempty"`
	// TLS is how a server is reached from elsewhere; without it, it listens on a loopback address alone.
	TLS TLS `yaml:"tls,omitempty"`
	// Notify are the targets that are told what happens.
	Notify []notify.Target `yaml:"notify,omitempty"`
	// Operator "none" takes its rights from the operating system's user on the command line: everybody signs in.
	Operator string `yaml:"operator,omitempty"`
}

// Macie says which Macie is asked. What is left out comes from the environment, as for every AWS client.
type Macie struct {
	Region   string `yaml:"region,omitempty"`
	Profile  string `yaml:"profile,omitempty"`
	FIPS     bool   `yaml:"fips,omitempty"`
	Endpoint string `yaml:"endpoint,omitempty"` // replaces AWS's address
	// Results is where Macie puts discovery results: s3://BUCKET/PREFIX, the prefix as it is configured in Macie. They are read as
	// objects are, from objects:, and their bucket needs not stand under buckets:.
	Results string `yaml:"results,omitempty"`
}

// results is the place that Results names.
func (m *Macie) results() (pipeline.Place, error) {
	if m == nil || m.Results == "" {
		return pipeline.Place{}, nil
	}
	rest, ok := strings.CutPrefix(m.Results, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || !bucketName().MatchString(bucket) || len(prefix) > 512 {
		return pipeline.Place{}, fmt.Errorf("configuration: macie: results: write s3://BUCKET or s3://BUCKET/PREFIX: %w", coffer.ErrInvalid)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return pipeline.Place{Bucket: bucket, Prefix: prefix}, nil
}

var (
	bucketName = lazyregexp.New(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	reasonCode = lazyregexp.New(`^[a-z0-9-]{1,40}$`)
)

// TLS names the files of a certificate with its chain and of its key, in PEM. Relative to the home. They are read again for every
// connection's certificate once they have changed, so that a renewed one needs no restart.
type TLS struct {
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// Access is the configuration of requests for access, broken glass and budgets. Durations are written as 90m or 8h; what is left out
// has its default.
type Access struct {
	Approvers     int           `yaml:"approvers,omitempty"`     // that a request takes; 1
	Duration      time.Duration `yaml:"duration,omitempty"`      // of an approval; 1h
	MaxDuration   time.Duration `yaml:"maxDuration,omitempty"`   // that a request may ask for; 8h, which is the most
	Pending       time.Duration `yaml:"pending,omitempty"`       // how long a request can be answered; 72h
	BreakGlass    time.Duration `yaml:"breakGlass,omitempty"`    // how long broken glass can be used; 15m
	MaxBreakGlass time.Duration `yaml:"maxBreakGlass,omitempty"` // 30m, which is the most
	BreakValues   int           `yaml:"breakValues,omitempty"`   // values that can be seen through it; 25
	Budgets       grant.Budgets `yaml:"budgets,omitempty"`
}

func (a Access) rules() grant.Rules {
	return grant.Rules{
		Approvers: a.Approvers, Duration: a.Duration, MaxDuration: a.MaxDuration, Pending: a.Pending, Glass: a.BreakGlass,
		MaxGlass: a.MaxBreakGlass, GlassValues: a.BreakValues, Budgets: a.Budgets,
	}
}

// Identifier is a custom data identifier: given here, or as a file with the JSON of Macie's GetCustomDataIdentifier.
type Identifier struct {
	ID                   string   `yaml:"id,omitempty"`
	Name                 string   `yaml:"name,omitempty"`
	Regex                string   `yaml:"regex,omitempty"`
	Keywords             []string `yaml:"keywords,omitempty"`
	IgnoreWords          []string `yaml:"ignoreWords,omitempty"`
	MaximumMatchDistance int      `yaml:"maximumMatchDistance,omitempty"`
	File                 string   `yaml:"file,omitempty"`
}

// maxConfig bounds the configuration file.
const maxConfig = 1 << 20

// ReadConfig reads HOME/config.yaml; a home without one has the zero Config. Unknown members are errors: a misspelt rule must
// not be a missing one.
func ReadConfig(home string) (Config, error) {
	var c Config
	f, err := os.Open(filepath.Join(home, "config.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("configuration: %w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return c, fmt.Errorf("configuration: %w: %w", coffer.ErrUnavailable, err)
	}
	if len(b) > maxConfig {
		return c, fmt.Errorf("configuration %s is larger than %d bytes: %w", f.Name(), maxConfig, coffer.ErrLimit)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("configuration %s: %v: %w", f.Name(), err, coffer.ErrInvalid)
	}
	return c, c.Check(home)
}

// Environment returns c with what the environment says of it, as the template sets it for the functions on Lambda. COFFER_CONFIG is the
// text of a config.yaml, over which the other variables go:
//
//	COFFER_OBJECTS, _ORIGINALS, _KEYS, _STORE, _LOG   spec strings
//	COFFER_BUCKETS                                    names, separated by commas
//	COFFER_MACIE                                      on, or where discovery results are: s3://BUCKET/PREFIX
//	COFFER_VERIFY_FUNCTION, COFFER_LOOK_FUNCTION      names or ARNs of functions
//
// A variable that is empty says nothing.
func Environment(getenv func(string) string) (Config, error) {
	var c Config
	if text := getenv("COFFER_CONFIG"); text != "" {
		dec := yaml.NewDecoder(strings.NewReader(text))
		dec.KnownFields(true)
		if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("COFFER_CONFIG: %v: %w", err, coffer.ErrInvalid)
		}
	}
	for name, to := range map[string]*string{
		"OBJECTS": &c.Objects, "ORIGINALS": &c.Originals, "KEYS": &c.Keys, "STORE": &c.Store, "LOG": &c.Log,
	} {
		*to = cmp.Or(getenv("COFFER_"+name), *to)
	}
	for name, to := range map[string]*string{"VERIFY": &c.Verifier, "LOOK": &c.Looker} {
		if f := getenv("COFFER_" + name + "_FUNCTION"); f != "" {
			*to = "lambda:" + f
		}
	}
	if b := getenv("COFFER_BUCKETS"); b != "" {
		c.Buckets = strings.FieldsFunc(b, func(r rune) bool { return r == ',' || r == ' ' })
	}
	switch m := getenv("COFFER_MACIE"); {
	case m == "":
	case c.Macie == nil:
		c.Macie = &Macie{}
		fallthrough
	default:
		if m != "on" {
			c.Macie.Results = m
		}
	}
	return c, nil
}

// Check reports what is wrong with c, with the member and what to write instead.
func (c *Config) Check(home string) error {
	if _, err := c.grace(); err != nil {
		return err
	}
	if _, err := c.custom(home); err != nil {
		return err
	}
	if _, err := c.Macie.results(); err != nil {
		return err
	}
	if err := c.Access.rules().Check(); err != nil {
		return fmt.Errorf("configuration: access: %w", err)
	}
	for _, r := range c.Reasons {
		if !reasonCode().MatchString(r) {
			return fmt.Errorf("configuration: reasons: a code is lower-case letters, digits and hyphens: %w", coffer.ErrInvalid)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return fmt.Errorf("configuration: tls: name both cert and key: %w", coffer.ErrInvalid)
	}
	if c.Operator != "" && c.Operator != "none" {
		return fmt.Errorf("configuration: operator: it is none, or left out: %w", coffer.ErrInvalid)
	}
	for role, spec := range map[string]string{"verifier": c.Verifier, "looker": c.Looker} {
		if spec == "" {
			continue
		}
		if _, err := ParseSpec(role, spec); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
	}
	if err := notify.Check(c.Notify); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	for _, t := range c.Notify {
		if t.Kind == notify.OCSF {
			if _, err := ParseSpec("to", t.To); err != nil {
				return fmt.Errorf("configuration: notify: %s: %w", t.Name, err)
			}
		}
	}
	if err := c.Identity.Check(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	for name, spec := range map[string]string{"objects": c.Objects, "originals": c.Originals, "keys": c.Keys, "store": c.Store} {
		if _, err := ParseSpec(name, spec); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
	}
	return nil
}

func (c *Config) grace() (time.Duration, error) {
	if c.Grace == "" {
		return remedy.DefaultGrace, nil
	}
	s := c.Grace
	if d, ok := strings.CutSuffix(s, "d"); ok {
		s = d + "h"
	}
	d, err := time.ParseDuration(s)
	if s != c.Grace {
		d *= 24
	}
	if err != nil || d < 0 || d > 3650*24*time.Hour {
		return 0, fmt.Errorf("configuration: grace: write a duration such as 168h or 7d, at most 3650d: %w", coffer.ErrInvalid)
	}
	return d, nil
}

func (c *Config) custom(home string) ([]detect.Custom, error) {
	var out []detect.Custom
	for i, id := range c.Identifiers {
		cu := detect.Custom{
			Name: id.Name, ID: id.ID, Regex: id.Regex, Keywords: id.Keywords, IgnoreWords: id.IgnoreWords,
			MaximumMatchDistance: id.MaximumMatchDistance,
		}
		if id.File != "" {
			b, err := os.ReadFile(under(home, id.File))
			if err != nil {
				return nil, fmt.Errorf("configuration: identifiers[%d]: %w: %w", i, coffer.ErrInvalid, err)
			}
			if cu, err = detect.ParseCustom(b); err != nil {
				return nil, fmt.Errorf("configuration: identifiers[%d]: %s: %w", i, id.File, err)
			}
		}
		out = append(out, cu)
	}
	if _, err := detect.NewSet(out); err != nil {
		return nil, fmt.Errorf("configuration: identifiers: %w", err)
	}
	return out, nil
}

func (c *Config) reasons() []string {
	if len(c.Reasons) > 0 {
		return c.Reasons
	}
	return access.Reasons
}

// PolicyDir is the folder of policies that replaces the default set; "" when there is none.
func (c *Config) PolicyDir(home string) string {
	if c.Policies == "" {
		return ""
	}
	return under(home, c.Policies)
}

func under(home, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(home, path)
}

// Defaults returns c with the defaults in the places that are empty.
func (c Config) Defaults() Config {
	c.Objects = cmp.Or(c.Objects, roles["objects"].deflt)
	c.Originals = cmp.Or(c.Originals, roles["originals"].deflt)
	c.Keys = cmp.Or(c.Keys, roles["keys"].deflt)
	c.Store = cmp.Or(c.Store, roles["store"].deflt)
	c.Grace = cmp.Or(c.Grace, remedy.DefaultGrace.String())
	c.Reasons = c.reasons()
	return c
}
