// Package kms has AWS KMS keep the wrapping keys, which never leave it. A data key costs one GenerateDataKey, and one Encrypt
// where verification has a key of its own; unwrapping costs one Decrypt. The encryption context goes with every call and
// CloudTrail shows it to all its readers, so it holds opaque ids only.
//
// A header stores the ARN of the key that wrapped it. Decrypt always names a key from the configuration, so KMS uses that one or
// none: a wrapped form that names any other is refused before it is sent. Those allowed are the configured keys, what their
// aliases stood for earlier in the life of this process, and Config.Old. The related keys of a multi-Region key are one key:
// what one wrapped the configured one opens, in its own Region.
//
// Retries: GenerateDataKey, Encrypt, Decrypt and DescribeKey change nothing, so the SDK repeats them after throttling, 5xx
// answers and broken connections, with exponential backoff and jitter, until the context ends, six attempts were made or a
// process has used up its quota of repetitions. A refusal is never repeated, nor is RotateKeyOnDemand.
//
// Trust: KMS sees every data key. Its answers are looked at, not believed: the key that answered must be the one named, a data
// key has 32 bytes, and the header's commitment is checked by the caller. Disabling a key and policies reach all of KMS within
// seconds to minutes, not at once.
package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"coffer"
	"coffer/envelope"
	"coffer/internal/lazyregexp"
)

const (
	provider = "aws-kms"

	maxAttempts = 6
	maxBackoff  = 5 * time.Second
	maxOld      = 256
)

// Config says which keys to use and how to reach KMS.
type Config struct {
	// AWS has the Region, the credentials and the HTTP client. Whether FIPS or dual-stack endpoints are used is read from where it
	// was loaded, as the SDK does (AWS_USE_FIPS_ENDPOINT). Its retryer and log mode are not used.
	AWS aws.Config
	// Endpoint replaces the address of KMS in every Region; "" is AWS's.
	Endpoint string
	// Key wraps for reveal: a key's ARN or id, an alias' ARN or name ("alias/..."). A key ARN is used in its own Region and pins
	// the key; an alias follows whoever may change it. All but a key ARN need the permission kms:DescribeKey.
	Key string
	// Verify wraps for verify, in the same forms; "" wraps for reveal alone. It must be another key than Key, with another policy.
	Verify string
	// Old are the ARNs of further keys that may open what they wrapped: Key and Verify of before, after a change of the
	// configuration, until no header names them.
	Old []string
	// Backoff gives the pauses between attempts. Nil: exponential with jitter, at most five seconds.
	Backoff retry.BackoffDelayer
}

// Keys implements [envelope.Keyring] and may be used concurrently.
type Keys struct {
	cfg     Config
	clients map[string]*kms.Client // by Region
	current []*wrappingKey         // for reveal, then for verify if configured
	old     []arn
}

var _ envelope.Keyring = (*Keys)(nil)

// wrappingKey is a configured key.
type wrappingKey struct {
	recipient string
	name      string // as configured, and as calls that wrap name it
	alias     bool   // the name may come to stand for another key
	client    *kms.Client

	mu   sync.Mutex
	seen []arn // the keys that the name stood for; the last is current
}

// arn is the ARN of a key, taken apart.
type arn struct{ partition, region, account, id string }

func (a arn) String() string {
	return "arn:" + a.partition + ":kms:" + a.region + ":" + a.account + ":key/" + a.id
}

// related reports whether two ARNs are of the same key material: the same key, or related multi-Region keys.
func (a arn) related(b arn) bool {
	if !strings.HasPrefix(a.id, "mrk-") {
		return a == b
	}
	b.region = a.region
	return a == b
}

var (
	keyARN   = lazyregexp.New(`^arn:(aws[a-z-]{0,20}):kms:([a-z0-9-]{1,30}):([0-9]{12}):key/([0-9a-zA-Z-]{1,64})$`)
	aliasARN = lazyregexp.New(`^arn:aws[a-z-]{0,20}:kms:([a-z0-9-]{1,30}):[0-9]{12}:alias/[a-zA-Z0-9/_-]{1,250}$`)
	aliasRef = lazyregexp.New(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
	keyID    = lazyregexp.New(`^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
)

func parseARN(s string) (arn, bool) {
	m := keyARN().FindStringSubmatch(s)
	if m == nil {
		return arn{}, false
	}
	return arn{m[1], m[2], m[3], m[4]}, true
}

// Open looks at the configuration and finds out for which keys its names stand: one DescribeKey for each that is no key ARN, else
// no call. A malformed name, no Region, and one key for both recipients give coffer.ErrInvalid; an alias or id that is not there
// coffer.ErrNotFound; everything else that KMS refuses coffer.ErrUnavailable.
func Open(ctx context.Context, cfg Config) (*Keys, error) {
	k := &Keys{cfg: cfg, clients: map[string]*kms.Client{}}
	if len(cfg.Old) > maxOld {
		return nil, fmt.Errorf("kms: %d old keys, at most %d: %w", len(cfg.Old), maxOld, coffer.ErrInvalid)
	}
	for _, s := range cfg.Old {
		a, ok := parseARN(s)
		if !ok {
			return nil, fmt.Errorf("kms: an old key is named by its key ARN: %w", coffer.ErrInvalid)
		}
		k.client(a.region)
		k.old = append(k.old, a)
	}
	for _, c := range []struct{ recipient, name string }{{envelope.ForReveal, cfg.Key}, {envelope.ForVerify, cfg.Verify}} {
		if c.name == "" && c.recipient == envelope.ForVerify {
			continue
		}
		w := &wrappingKey{recipient: c.recipient, name: c.name}
		region := cfg.AWS.Region
		if a, ok := parseARN(c.name); ok {
			region = a.region
			w.seen = []arn{a}
		} else if m := aliasARN().FindStringSubmatch(c.name); m != nil {
			region = m[1]
			w.alias = true
		} else if w.alias = aliasRef().MatchString(c.name); !w.alias && !keyID().MatchString(c.name) {
			return nil, fmt.Errorf("kms: the key for %s is named by an ARN, a key id or alias/NAME: %w", c.recipient, coffer.ErrInvalid)
		}
		if region == "" {
			return nil, fmt.Errorf("kms: no Region: %w", coffer.ErrInvalid)
		}
		w.client = k.client(region)
		if len(w.seen) == 0 {
			if err := w.resolve(ctx); err != nil {
				return nil, err
			}
		}
		k.current = append(k.current, w)
	}
	return k, k.distinct()
}

// client returns the client for a Region. Only Open makes new ones.
func (k *Keys) client(region string) *kms.Client {
	c := k.clients[region]
	if c == nil {
		c = kms.NewFromConfig(k.cfg.AWS, func(o *kms.Options) {
			o.Region = region
			if k.cfg.Endpoint != "" {
				o.BaseEndpoint = aws.String(k.cfg.Endpoint)
			}
			o.ClientLogMode = 0 // bodies hold data keys
			// Not the adaptive mode: after one throttled call a process that was quiet before would make one call in two seconds, and
			// who waits for a reveal would wait for that.
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
				if k.cfg.Backoff != nil {
					o.Backoff = k.cfg.Backoff
				}
				o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: transient})
			})
		})
		k.clients[region] = c
	}
	return c
}

// distinct refuses one key for both recipients: verification would be no privilege of its own, and a header has no place for it.
func (k *Keys) distinct() error {
	if len(k.current) == 2 && k.current[0].now().related(k.current[1].now()) {
		return fmt.Errorf("kms: the keys for reveal and verify are one: %w", coffer.ErrInvalid)
	}
	return nil
}

// now returns the key that the name stands for.
func (w *wrappingKey) now() arn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[len(w.seen)-1]
}

// find returns the key among those seen that is named, or one related to it.
func (w *wrappingKey) find(named arn) (arn, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return pick(w.seen, named)
}

// pick prefers the key itself to one that is related.
func pick(keys []arn, named arn) (arn, bool) {
	if slices.Contains(keys, named) {
		return named, true
	}
	if i := slices.IndexFunc(keys, named.related); i >= 0 {
		return keys[i], true
	}
	return arn{}, false
}

// answered takes note of the key that KMS says it used for the name. A key ARN has to be that key.
func (w *wrappingKey) answered(op string, by *string) (arn, error) {
	a, ok := parseARN(aws.ToString(by))
	if !ok {
		return arn{}, fmt.Errorf("kms %s: the answer names no key: %w", op, coffer.ErrUnavailable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.seen) > 0 && w.seen[len(w.seen)-1] == a:
	case len(w.seen) > 0 && !w.alias:
		return arn{}, fmt.Errorf("kms %s: another key than the one named answered: %w", op, coffer.ErrUnavailable)
	default:
		w.seen = append(slices.DeleteFunc(w.seen, func(s arn) bool { return s == a }), a)
	}
	return a, nil
}

func (w *wrappingKey) resolve(ctx context.Context) error {
	out, err := w.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(w.name)})
	if err != nil {
		return mapError(ctx, "DescribeKey", "what the configured name of the key for "+w.recipient+" stands for", err)
	}
	_, err = w.answered("DescribeKey", out.KeyMetadata.Arn)
	return err
}

// Generate implements [envelope.Keys].
func (k *Keys) Generate(ctx context.Context, c envelope.Context) (envelope.DataKey, error) {
	if err := ready(ctx, c); err != nil {
		return envelope.DataKey{}, err
	}
	w := k.current[0]
	out, err := w.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: aws.String(w.name), KeySpec: types.DataKeySpecAes256, EncryptionContext: c,
	})
	if err != nil {
		return envelope.DataKey{}, mapError(ctx, "GenerateDataKey", "", err)
	}
	dk := envelope.DataKey{Key: out.Plaintext, Request: requestID(out.ResultMetadata)}
	form, err := w.form("GenerateDataKey", out.KeyId, out.CiphertextBlob)
	if err == nil && len(dk.Key) != envelope.KeySize {
		err = fmt.Errorf("kms GenerateDataKey: a data key of %d bytes: %w", len(dk.Key), coffer.ErrUnavailable)
	}
	var rest []envelope.Wrapped
	if err == nil {
		rest, err = k.encrypt(ctx, k.current[1:], dk.Key, c)
	}
	if err == nil {
		err = k.distinct() // an alias may have been moved meanwhile
	}
	if err != nil {
		dk.Wipe()
		return envelope.DataKey{}, err
	}
	dk.Wrapped = append([]envelope.Wrapped{form}, rest...)
	return dk, nil
}

// Wrap implements [envelope.Keys], by one Encrypt for each recipient.
func (k *Keys) Wrap(ctx context.Context, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	if err := ready(ctx, c); err != nil {
		return nil, err
	}
	if len(key) != envelope.KeySize {
		return nil, fmt.Errorf("data key of %d bytes: %w", len(key), coffer.ErrInvalid)
	}
	wrapped, err := k.encrypt(ctx, k.current, key, c)
	if err == nil {
		err = k.distinct()
	}
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// encrypt wraps a data key under each of the keys.
func (k *Keys) encrypt(ctx context.Context, under []*wrappingKey, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	var wrapped []envelope.Wrapped
	for _, w := range under {
		out, err := w.client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(w.name), Plaintext: key, EncryptionContext: c})
		if err != nil {
			return nil, mapError(ctx, "Encrypt", "under the key for "+w.recipient, err)
		}
		form, err := w.form("Encrypt", out.KeyId, out.CiphertextBlob)
		if err != nil {
			return nil, err
		}
		wrapped = append(wrapped, form)
	}
	return wrapped, nil
}

func (w *wrappingKey) form(op string, by *string, blob []byte) (envelope.Wrapped, error) {
	a, err := w.answered(op, by)
	if err != nil {
		return envelope.Wrapped{}, err
	}
	if len(blob) == 0 || len(blob) > envelope.MaxBlob {
		return envelope.Wrapped{}, fmt.Errorf("kms %s: a ciphertext of %d bytes: %w", op, len(blob), coffer.ErrUnavailable)
	}
	return envelope.Wrapped{Recipient: w.recipient, Provider: provider, KeyID: a.String(), Blob: blob}, nil
}

// Unwrap implements [envelope.Keys], by one Decrypt. A wrapped form that names a key which is not configured gives
// coffer.ErrNotFound, and nothing is sent; only where an alias is configured one DescribeKey asks whether it stands for that key by
// now.
func (k *Keys) Unwrap(ctx context.Context, wrapped envelope.Wrapped, c envelope.Context) (envelope.DataKey, error) {
	if err := ready(ctx, c); err != nil {
		return envelope.DataKey{}, err
	}
	named, ok := parseARN(wrapped.KeyID)
	if !ok || wrapped.Provider != provider {
		return envelope.DataKey{}, fmt.Errorf("kms: the data key is wrapped by no KMS key: %w", coffer.ErrNotFound)
	}
	if len(wrapped.Blob) == 0 || len(wrapped.Blob) > envelope.MaxBlob {
		return envelope.DataKey{}, fmt.Errorf("kms: wrapped key of %d bytes: %w", len(wrapped.Blob), coffer.ErrCorrupt)
	}
	key, err := k.allowed(ctx, wrapped.Recipient, named)
	if err != nil {
		return envelope.DataKey{}, err
	}
	out, err := k.clients[key.region].Decrypt(ctx, &kms.DecryptInput{
		KeyId: aws.String(key.String()), CiphertextBlob: wrapped.Blob, EncryptionContext: c,
	})
	if err != nil {
		return envelope.DataKey{}, mapError(ctx, "Decrypt", "", err)
	}
	dk := envelope.DataKey{Key: out.Plaintext, Request: requestID(out.ResultMetadata)}
	if by, ok := parseARN(aws.ToString(out.KeyId)); !ok || by != key || len(dk.Key) != envelope.KeySize {
		dk.Wipe()
		return envelope.DataKey{}, fmt.Errorf("kms Decrypt: not a data key of the key named: %w", coffer.ErrCorrupt)
	}
	return dk, nil
}

// allowed returns the configured key that may open what the named one wrapped for the recipient.
func (k *Keys) allowed(ctx context.Context, recipient string, named arn) (arn, error) {
	if recipient != envelope.ForReveal && recipient != envelope.ForVerify {
		return arn{}, fmt.Errorf("kms: unknown recipient: %w", coffer.ErrNotFound)
	}
	for _, w := range k.current {
		if w.recipient != recipient {
			continue
		}
		if a, ok := w.find(named); ok {
			return a, nil
		}
	}
	if a, ok := pick(k.old, named); ok {
		return a, nil
	}
	for _, w := range k.current {
		if w.recipient != recipient || !w.alias {
			continue
		}
		if err := w.resolve(ctx); err != nil {
			return arn{}, err
		}
		if a, ok := w.find(named); ok {
			return a, nil
		}
	}
	return arn{}, fmt.Errorf("kms: the data key is wrapped by a key that is not configured for %s: %w", recipient, coffer.ErrNotFound)
}

// ready refuses a call before it is made.
func ready(ctx context.Context, c envelope.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := c.Encode()
	return err
}

// Current implements [envelope.Keyring]. A form of a related multi-Region key is current too: its material is the same.
func (k *Keys) Current(wrapped []envelope.Wrapped) bool {
	if len(wrapped) != len(k.current) {
		return false
	}
	for _, w := range k.current {
		now := w.now()
		if !slices.ContainsFunc(wrapped, func(f envelope.Wrapped) bool {
			a, ok := parseARN(f.KeyID)
			return ok && f.Recipient == w.recipient && f.Provider == provider && a.related(now)
		}) {
			return false
		}
	}
	return true
}

// Rotate implements [envelope.Keyring], by one RotateKeyOnDemand for each current key. KMS keeps the old material and decrypts
// with it, so there is nothing to wrap anew. It allows 25 in a key's life (coffer.ErrLimit), one at a time (coffer.ErrConflict), and
// none on the replica of a multi-Region key (coffer.ErrUnsupported).
func (k *Keys) Rotate(ctx context.Context) ([]string, error) {
	var ids []string
	for _, w := range k.current {
		if err := ctx.Err(); err != nil {
			return ids, err
		}
		id := w.now().String() // the call takes no alias
		_, err := w.client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: aws.String(id)}, func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
		if err != nil {
			return ids, mapError(ctx, "RotateKeyOnDemand", "the key for "+w.recipient, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// List implements [envelope.Keyring], by one DescribeKey for each configured key. A key that cannot be described is listed with the
// reason.
func (k *Keys) List(ctx context.Context, named ...string) ([]envelope.WrappingKey, error) {
	var out []envelope.WrappingKey
	for _, s := range k.describeAll(ctx) {
		out = append(out, envelope.WrappingKey{ID: s.Key, Recipient: s.Recipient, Created: s.Created, Current: s.Current, State: s.trouble()})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b envelope.WrappingKey) int {
		switch {
		case a.Current == b.Current:
			return a.Created.Compare(b.Created)
		case a.Current:
			return 1
		}
		return -1
	})
	for _, id := range named {
		if slices.ContainsFunc(out, func(l envelope.WrappingKey) bool { return l.ID == id }) {
			continue
		}
		l := envelope.WrappingKey{ID: id, State: envelope.NotConfigured}
		if a, ok := parseARN(id); ok {
			for _, w := range k.current {
				if _, found := w.find(a); found {
					l.Recipient, l.State = w.recipient, ""
				}
			}
			if _, found := pick(k.old, a); found {
				l.State = ""
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// callError is what a call to KMS ended with. Its text has the error code and the request id; the SDK's own, which names principals
// and keys, is only behind Unwrap.
type callError struct {
	text  string
	is    error // sentinel or the context's error
	cause error
}

func (e *callError) Error() string   { return e.text + ": " + e.is.Error() }
func (e *callError) Unwrap() []error { return []error{e.is, e.cause} }

// transient are the codes that pass by themselves, beside those of throttling.
var transient = map[string]struct{}{"KMSInternalException": {}, "DependencyTimeoutException": {}, "KeyUnavailableException": {}}

// mapError turns the SDK's error into one of this package.
func mapError(ctx context.Context, op, what string, err error) error {
	e := &callError{text: "kms " + op, is: coffer.ErrUnavailable, cause: err}
	if what != "" {
		e.text += ", " + what
	}
	if cerr := ctx.Err(); cerr != nil {
		e.is = cerr
		return e
	}
	code := errorCode(err)
	if code == "" {
		e.text += ": no answer"
		return e
	}
	e.text += ": " + code
	var answer interface{ ServiceRequestID() string }
	if errors.As(err, &answer) && answer.ServiceRequestID() != "" {
		e.text += " (request " + answer.ServiceRequestID() + ")"
	}
	switch code {
	case "InvalidCiphertextException", "IncorrectKeyException":
		e.is = coffer.ErrCorrupt
	case "NotFoundException":
		// While wrapping, a key that is not there says nothing about what is to be sealed: nothing could be.
		if op == "Decrypt" || op == "DescribeKey" {
			e.is = coffer.ErrNotFound
		}
	case "LimitExceededException":
		if op == "RotateKeyOnDemand" {
			e.is = coffer.ErrLimit
		}
	case "ConflictException":
		if op == "RotateKeyOnDemand" {
			e.is = coffer.ErrConflict
		}
	case "UnsupportedOperationException":
		e.is = coffer.ErrUnsupported
	}
	return e
}
