package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/audit"
	"coffer/internal/lazyregexp"
)

// Kind says what is at a target.
type Kind string

// The kinds of targets.
const (
	Webhook     Kind = "webhook"     // Standard Webhooks, signed
	Slack       Kind = "slack"       // an incoming webhook of Slack
	Teams       Kind = "teams"       // a webhook of a workflow in Microsoft Teams, with an Adaptive Card
	Jira        Kind = "jira"        // an incoming webhook of Jira Automation
	EventBridge Kind = "eventbridge" // a bus of Amazon EventBridge
	SecurityHub Kind = "securityhub" // the workflow status of Macie's findings in AWS Security Hub
	OCSF        Kind = "ocsf"        // files of OCSF events in a bucket: the whole log
)

// MaxTargets bounds the targets of an installation.
const MaxTargets = 32

// Target is one place to which messages go, as it stands in the configuration. Files are relative to the home.
type Target struct {
	// Name is how log, commands and metrics speak of the target: lower-case letters, digits and hyphens, at most 40. A target whose name
	// changes is a new one.
	Name string `yaml:"name" json:"name"`
	Kind Kind   `yaml:"kind" json:"kind"`

	// URL is the receiver of a webhook; URLFile is a file whose first line it is, for addresses that are secrets (Slack, Teams, Jira).
	//
	// Where a file is named, secretsmanager:NAME or secretsmanager:ARN names a secret of AWS Secrets Manager that holds what the file would:
	// a function on AWS has no files of its own. It is asked for when something is sent and at most every five minutes; while Secrets
	// Manager is away the last one is used, for at most an hour.
	URL     string `yaml:"url,omitempty" json:"url,omitempty"`
	URLFile string `yaml:"urlFile,omitempty" json:"urlFile,omitempty"`
	// SecretFile has the secrets, one a line, of which each signs: whsec_ and 24 to 64 bytes in base64. While one is replaced by another
	// both stand there. For Jira its first line is the token of the webhook. Files are read again for every message.
	SecretFile string `yaml:"secretFile,omitempty" json:"secretFile,omitempty"`
	// CAFile has the certificates, in PEM, that the receiver's is verified against, instead of the system's.
	CAFile string `yaml:"caFile,omitempty" json:"caFile,omitempty"`
	// Allow are networks that are not public and may be reached all the same, such as 10.20.0.0/16 or 127.0.0.1/32. Over http they are
	// the only ones, and all of them loopback. Link-local and metadata addresses are never reached.
	Allow []string `yaml:"allow,omitempty" json:"allow,omitempty"`

	// Filter are pairs of the log's grammar (see [audit.ParseFilter]) that all must hold, in place of the usual choice: what changes a
	// finding, an object or somebody's access, broken glass, and denied reveals. Not for securityhub and ocsf.
	Filter []string `yaml:"filter,omitempty" json:"filter,omitempty"`

	// Region, Profile, FIPS and Endpoint say which AWS is called; what is left out comes from the ARN of a secret, or the environment.
	Region   string `yaml:"region,omitempty" json:"region,omitempty"`
	Profile  string `yaml:"profile,omitempty" json:"profile,omitempty"`
	FIPS     bool   `yaml:"fips,omitempty" json:"fips,omitempty"`
	Endpoint string `yaml:"endpoint,omitempty" json:"endpoint,omitempty"`

	// Bus is the name or ARN of the event bus; empty: the account's default one.
	Bus string `yaml:"bus,omitempty" json:"bus,omitempty"`

	// Clean says what proves a fix to Security Hub: "all" known copies clean, which is the default, or the "current" version.
	Clean string `yaml:"clean,omitempty" json:"clean,omitempty"`

	// To is where OCSF files go, a spec string: s3:BUCKET or dir:PATH. Prefix stands in front of their names, Account and Region in them.
	To      string `yaml:"to,omitempty" json:"to,omitempty"`
	Prefix  string `yaml:"prefix,omitempty" json:"prefix,omitempty"`
	Account string `yaml:"account,omitempty" json:"account,omitempty"`
}

var (
	nameForm    = lazyregexp.New(`^[a-z0-9][a-z0-9-]{0,39}$`)
	prefixForm  = lazyregexp.New(`^[A-Za-z0-9!_.*'()/=-]{0,200}$`)
	accountForm = lazyregexp.New(`^[A-Za-z0-9-]{1,40}$`)
)

// http reports whether the target is a receiver of HTTP requests.
func (t *Target) http() bool { return slices.Contains([]Kind{Webhook, Slack, Teams, Jira}, t.Kind) }

// Check reports what is wrong with the targets, with the member and what to write instead; its error wraps coffer.ErrInvalid and
// repeats no address. Files are not looked at: they are read when something is sent.
func Check(targets []Target) error {
	if len(targets) > MaxTargets {
		return fmt.Errorf("notify: at most %d targets: %w", MaxTargets, coffer.ErrInvalid)
	}
	seen := map[string]bool{}
	for i := range targets {
		t := &targets[i]
		if !nameForm().MatchString(t.Name) {
			return fmt.Errorf("notify[%d]: name: lower-case letters, digits and hyphens, at most 40: %w", i, coffer.ErrInvalid)
		}
		if seen[t.Name] {
			return fmt.Errorf("notify: %s: two targets have this name: %w", t.Name, coffer.ErrInvalid)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return fmt.Errorf("notify: %s: %w", t.Name, err)
		}
	}
	return nil
}

func (t *Target) check() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), coffer.ErrInvalid)
	}
	// What a member is for, so that one in the wrong place is not silently without effect.
	member := func(given bool, name string, kinds ...Kind) error {
		if given && !slices.Contains(kinds, t.Kind) {
			return wrong("%s: not for a target of kind %s", name, t.Kind)
		}
		return nil
	}
	receivers := []Kind{Webhook, Slack, Teams, Jira}
	calls := []Kind{EventBridge, SecurityHub}
	secrets, _, err := t.secretIDs()
	if err != nil {
		return err
	}
	if len(secrets) > 0 {
		calls = append(calls, receivers...)
	}
	for _, m := range []struct {
		given bool
		name  string
		kinds []Kind
	}{
		{t.URL != "", "url", receivers}, {t.URLFile != "", "urlFile", receivers}, {t.SecretFile != "", "secretFile", receivers},
		{t.CAFile != "", "caFile", receivers}, {len(t.Allow) > 0, "allow", receivers},
		{len(t.Filter) > 0, "filter", append([]Kind{EventBridge}, receivers...)},
		{t.Region != "", "region", append([]Kind{OCSF}, calls...)}, {t.Profile != "", "profile", calls}, {t.FIPS, "fips", calls},
		{t.Endpoint != "", "endpoint", calls}, {t.Bus != "", "bus", []Kind{EventBridge}}, {t.Clean != "", "clean", []Kind{SecurityHub}},
		{t.To != "", "to", []Kind{OCSF}}, {t.Prefix != "", "prefix", []Kind{OCSF}}, {t.Account != "", "account", []Kind{OCSF}},
	} {
		if err := member(m.given, m.name, m.kinds...); err != nil {
			return err
		}
	}
	if _, err := audit.ParseFilter(time.Time{}, t.Filter...); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	switch {
	case t.http():
		if (t.URL == "") == (t.URLFile == "") {
			return wrong("give url or urlFile")
		}
		if t.URL != "" {
			if _, err := t.address(t.URL); err != nil {
				return err
			}
		}
		if t.Kind == Webhook && t.SecretFile == "" {
			return wrong("secretFile: name the file, or the secret in Secrets Manager, with the secrets that sign the messages")
		}
		_, err = t.allowed()
		return err
	case t.Kind == EventBridge:
	case t.Kind == SecurityHub:
		if t.Clean != "" && t.Clean != "all" && t.Clean != "current" {
			return wrong("clean: it is all or current")
		}
	case t.Kind == OCSF:
		switch {
		case t.To == "":
			return wrong("to: write s3:BUCKET or dir:PATH")
		case !prefixForm().MatchString(t.Prefix) || strings.Contains(t.Prefix, "//") || strings.HasPrefix(t.Prefix, "/") || strings.Contains(t.Prefix, ".."):
			return wrong("prefix: letters, digits and !_.*'()/=- such as ext/coffer/, at most 200")
		case !accountForm().MatchString(t.Account) || !accountForm().MatchString(t.Region):
			return wrong("account and region: both stand in the names of the files; letters, digits and hyphens")
		}
	default:
		return wrong("kind: one of webhook, slack, teams, jira, eventbridge, securityhub, ocsf")
	}
	return nil
}

// address reads the URL of a receiver. Its errors do not repeat it.
func (t *Target) address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("url: write https://HOST/PATH: %w", coffer.ErrInvalid)
	case u.User != nil:
		return nil, fmt.Errorf("url: no user and password in an address: %w", coffer.ErrInvalid)
	case u.Fragment != "":
		return nil, fmt.Errorf("url: no fragment in an address: %w", coffer.ErrInvalid)
	case u.Scheme == "https":
	case u.Scheme == "http":
		allow, err := t.allowed()
		if err != nil {
			return nil, err
		}
		if len(allow) == 0 || slices.ContainsFunc(allow, func(p netip.Prefix) bool { return !loopback(p) }) {
			return nil, fmt.Errorf("url: http is for receivers on this machine alone, with allow: [127.0.0.1/32]; write https: %w", coffer.ErrInvalid)
		}
	default:
		return nil, fmt.Errorf("url: write https://HOST/PATH: %w", coffer.ErrInvalid)
	}
	return u, nil
}

// allowed are the networks of Allow.
func (t *Target) allowed() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range t.Allow {
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() {
			return nil, fmt.Errorf("allow: networks such as 10.20.0.0/16, without bits behind the mask: %w", coffer.ErrInvalid)
		}
		for _, never := range neverReached {
			if p.Overlaps(never) {
				return nil, fmt.Errorf("allow: link-local, multicast and metadata addresses are never reached: %w", coffer.ErrInvalid)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// digest tells one configuration of the target from another.
func (t *Target) digest() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func under(home, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(home, name)
}
