package kms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go/logging"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/envelopetest"
	"coffer/envelope/kms"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/fault"
	"coffer/internal/lookalike"
)

const (
	region    = "eu-central-1"
	other     = "eu-west-1"
	principal = "AKIACOFFERREVEAL"
)

var sealContext = envelope.Context{"app": "coffer", "purpose": "values", "set": "0a1b2c", "generation": "1"}

// awsConfig is what an app gives the adapter, with the calls going to rt.
func awsConfig(rt http.RoundTripper) aws.Config {
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(principal, "secret", ""), HTTPClient: &http.Client{Transport: rt},
	}
}

// world is a fake with an administrator, who is another principal.
type world struct {
	*kmsfake.Fake
	t testing.TB
}

func newWorld(t testing.TB) world { return world{new(kmsfake.Fake), t} }

func (w world) admin(region string) *awskms.Client {
	c := awsConfig(w.Transport())
	c.Region = region
	c.Credentials = credentials.NewStaticCredentialsProvider("AKIACOFFERADMIN", "secret", "")
	return awskms.NewFromConfig(c)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newKey makes a key and returns its ARN.
func newKey(t testing.TB, c *awskms.Client, multi bool) string {
	t.Helper()
	out, err := c.CreateKey(t.Context(), &awskms.CreateKeyInput{MultiRegion: aws.Bool(multi)})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

func (w world) open(cfg kms.Config) *kms.Keys {
	w.t.Helper()
	cfg.AWS = awsConfig(w.Transport())
	k, err := kms.Open(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// calls returns what the principal of the tests asked for since the log was emptied, and empties it.
func (w world) calls() []kmsfake.Event {
	events := slices.DeleteFunc(w.Events(), func(e kmsfake.Event) bool { return e.Principal != principal })
	w.Forget()
	return events
}

func ops(events []kmsfake.Event) string {
	var s []string
	for _, e := range events {
		s = append(s, strings.TrimSpace(e.Operation+" "+e.Error))
	}
	return strings.Join(s, ", ")
}

func TestSuiteFake(t *testing.T) {
	t.Run("reveal", func(t *testing.T) {
		w := newWorld(t)
		key := newKey(t, w.admin(region), false)
		envelopetest.Test(t, func(*testing.T) envelope.Keys { return w.open(kms.Config{Key: key}) })
	})
	t.Run("reveal and verify, by aliases", func(t *testing.T) {
		w := newWorld(t)
		for _, alias := range []string{"alias/reveal", "alias/verify"} {
			must[*awskms.CreateAliasOutput](t)(w.admin(region).CreateAlias(t.Context(), &awskms.CreateAliasInput{
				AliasName: aws.String(alias), TargetKeyId: aws.String(newKey(t, w.admin(region), false)),
			}))
		}
		envelopetest.Test(t, func(*testing.T) envelope.Keys {
			return w.open(kms.Config{Key: "alias/reveal", Verify: "arn:aws:kms:" + region + ":" + kmsfake.Account + ":alias/verify"})
		})
	})
}

// TestSuiteMoto: moto joins the entries of an encryption context, and answers AccessDeniedException where KMS answers
// IncorrectKeyException or InvalidCiphertextException for a blob of another key.
func TestSuiteMoto(t *testing.T) {
	endpoint := lookalike.Moto(t)
	cfg := aws.Config{Region: lookalike.Region, Credentials: credentials.NewStaticCredentialsProvider(lookalike.AccessKey, lookalike.SecretKey, "")}
	admin := awskms.NewFromConfig(cfg, func(o *awskms.Options) { o.BaseEndpoint = &endpoint })
	reveal, verify := newKey(t, admin, false), newKey(t, admin, false)
	envelopetest.Test(t, func(t *testing.T) envelope.Keys {
		k, err := kms.Open(t.Context(), kms.Config{AWS: cfg, Endpoint: endpoint, Key: reveal, Verify: verify})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}, envelopetest.JoinsContext, envelopetest.RefusesForeignBlobs, envelopetest.Slow)
}

// TestCalls: what each method costs, and that every call carries the context and names the key.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	reveal, verify := newKey(t, w.admin(region), false), newKey(t, w.admin(region), false)
	w.Forget()
	for name, tt := range map[string]struct {
		cfg            kms.Config
		generate, wrap string
	}{
		"reveal": {kms.Config{Key: reveal}, "GenerateDataKey", "Encrypt"},
		"verify": {kms.Config{Key: reveal, Verify: verify}, "GenerateDataKey, Encrypt", "Encrypt, Encrypt"},
	} {
		k := w.open(tt.cfg)
		if got := w.calls(); len(got) != 0 {
			t.Errorf("%s: open: %s", name, ops(got))
		}
		dk := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
		got := w.calls()
		if ops(got) != tt.generate || dk.Request != got[0].RequestID || got[0].Key != reveal || len(got) > 1 && got[1].Key != verify {
			t.Errorf("%s: generate: %s, %+v", name, ops(got), got)
		}
		for _, e := range got {
			if !maps.Equal(e.Context, sealContext) {
				t.Errorf("%s: context %v", name, e.Context)
			}
		}
		for _, form := range dk.Wrapped {
			again := must[envelope.DataKey](t)(k.Unwrap(t.Context(), form, sealContext))
			got := w.calls()
			if ops(got) != "Decrypt" || got[0].Named != form.KeyID || again.Request != got[0].RequestID || !maps.Equal(got[0].Context, sealContext) {
				t.Errorf("%s: unwrap: %+v, request %s", name, got, again.Request)
			}
		}
		must[[]envelope.Wrapped](t)(k.Wrap(t.Context(), dk.Key, sealContext))
		if got := w.calls(); ops(got) != tt.wrap {
			t.Errorf("%s: wrap: %s", name, ops(got))
		}
	}
}

// TestSubstitution: whoever can write headers cannot have KMS asked about a key of theirs.
func TestSubstitution(t *testing.T) {
	w := newWorld(t)
	reveal, foreign := newKey(t, w.admin(region), false), newKey(t, w.admin(region), false)
	theirs := must[envelope.DataKey](t)(w.open(kms.Config{Key: foreign}).Generate(t.Context(), sealContext))
	k := w.open(kms.Config{Key: reveal})
	w.Forget()
	for what, form := range map[string]envelope.Wrapped{
		"another key":        theirs.Wrapped[0],
		"another account":    {KeyID: strings.Replace(reveal, kmsfake.Account, "444455556666", 1), Blob: theirs.Wrapped[0].Blob},
		"another Region":     {KeyID: strings.Replace(reveal, region, other, 1), Blob: theirs.Wrapped[0].Blob},
		"another partition":  {KeyID: strings.Replace(reveal, "arn:aws:", "arn:aws-cn:", 1), Blob: theirs.Wrapped[0].Blob},
		"an alias":           {KeyID: "alias/reveal", Blob: theirs.Wrapped[0].Blob},
		"a key id alone":     {KeyID: reveal[strings.LastIndex(reveal, "/")+1:], Blob: theirs.Wrapped[0].Blob},
		"a line feed behind": {KeyID: reveal + "\n", Blob: theirs.Wrapped[0].Blob},
		"for verify":         {KeyID: reveal, Recipient: envelope.ForVerify, Blob: theirs.Wrapped[0].Blob},
	} {
		form.Provider = "aws-kms"
		if form.Recipient == "" {
			form.Recipient = envelope.ForReveal
		}
		if dk, err := k.Unwrap(t.Context(), form, sealContext); !errors.Is(err, coffer.ErrNotFound) || dk.Key != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := w.calls(); len(got) != 0 {
		t.Errorf("KMS was asked: %s", ops(got))
	}
	// A foreign blob under the name of our key: KMS is told which key to use, and refuses.
	form := theirs.Wrapped[0]
	form.KeyID = reveal
	if _, err := k.Unwrap(t.Context(), form, sealContext); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("a foreign blob: %v", err)
	}
	if got := w.calls(); ops(got) != "Decrypt IncorrectKeyException" {
		t.Errorf("a foreign blob: %s", ops(got))
	}
}

// TestOld: after a change of the configuration the key of before opens what it wrapped, for both recipients, and wraps nothing.
func TestOld(t *testing.T) {
	w := newWorld(t)
	var keys []string
	for range 4 {
		keys = append(keys, newKey(t, w.admin(region), false))
	}
	before := must[envelope.DataKey](t)(w.open(kms.Config{Key: keys[0], Verify: keys[1]}).Generate(t.Context(), sealContext))
	k := w.open(kms.Config{Key: keys[2], Verify: keys[3], Old: keys[:2]})
	for _, form := range before.Wrapped {
		if got, err := k.Unwrap(t.Context(), form, sealContext); err != nil || !bytes.Equal(got.Key, before.Key) {
			t.Errorf("recipient %s: %v", form.Recipient, err)
		}
	}
	now := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
	if now.Wrapped[0].KeyID != keys[2] || now.Wrapped[1].KeyID != keys[3] {
		t.Error("wrapped by an old key")
	}
	mixed := []envelope.Wrapped{now.Wrapped[0], before.Wrapped[1]}
	if !k.Current(now.Wrapped) || k.Current(before.Wrapped) || k.Current(mixed) || k.Current(now.Wrapped[:1]) || k.Current(nil) {
		t.Error("current forms are not told from others")
	}
	list := must[[]envelope.WrappingKey](t)(k.List(t.Context(), "stranger", keys[0]))
	var got []string
	for _, l := range list {
		got = append(got, fmt.Sprint(slices.Index(keys, l.ID), l.Recipient, l.Current, l.State, l.Created.IsZero()))
	}
	want := []string{"0falsefalse", "1falsefalse", "2revealtruefalse", "3verifytruefalse", "-1false" + envelope.NotConfigured + "true"}
	for i := range want {
		want[i] = strings.NewReplacer(" ", "").Replace(want[i])
		if i < len(got) {
			got[i] = strings.ReplaceAll(got[i], " ", "")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("list %q, want %q", got, want)
	}
}

// TestAlias: an alias that is moved is followed by sealing at once, and by reading when a header names the new key; what was sealed
// before stays readable.
func TestAlias(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(region)
	first, second := newKey(t, admin, false), newKey(t, admin, false)
	must[*awskms.CreateAliasOutput](t)(admin.CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: aws.String("alias/c"), TargetKeyId: &first}))
	w.Forget()
	writer, reader := w.open(kms.Config{Key: "alias/c"}), w.open(kms.Config{Key: "alias/c"})
	if got := ops(w.calls()); got != "DescribeKey, DescribeKey" {
		t.Errorf("open: %s", got)
	}
	before := must[envelope.DataKey](t)(writer.Generate(t.Context(), sealContext))
	must[envelope.DataKey](t)(reader.Unwrap(t.Context(), before.Wrapped[0], sealContext))
	if got := ops(w.calls()); got != "GenerateDataKey, Decrypt" || before.Wrapped[0].KeyID != first {
		t.Errorf("%s, wrapped by %s", got, before.Wrapped[0].KeyID)
	}
	must[*awskms.UpdateAliasOutput](t)(admin.UpdateAlias(t.Context(), &awskms.UpdateAliasInput{AliasName: aws.String("alias/c"), TargetKeyId: &second}))
	after := must[envelope.DataKey](t)(writer.Generate(t.Context(), sealContext))
	if after.Wrapped[0].KeyID != second || !writer.Current(after.Wrapped) || writer.Current(before.Wrapped) {
		t.Error("the alias is not followed")
	}
	w.Forget()
	for range 2 {
		for _, k := range []*kms.Keys{reader, writer} {
			must[envelope.DataKey](t)(k.Unwrap(t.Context(), after.Wrapped[0], sealContext))
			must[envelope.DataKey](t)(k.Unwrap(t.Context(), before.Wrapped[0], sealContext))
		}
	}
	if got := ops(w.calls()); got != "DescribeKey"+strings.Repeat(", Decrypt", 8) {
		t.Errorf("after the alias was moved: %s", got)
	}
	for _, cfg := range []kms.Config{{Key: "alias/none"}, {Key: "00000000-0000-4000-8000-000000000000"}} {
		cfg.AWS = awsConfig(w.Transport())
		if _, err := kms.Open(t.Context(), cfg); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("a name that stands for nothing: %v", err)
		}
	}
}

// TestMultiRegion: what one of related keys wrapped the other opens in its own Region.
func TestMultiRegion(t *testing.T) {
	w := newWorld(t)
	primary := newKey(t, w.admin(region), true)
	replica := *must[*awskms.ReplicateKeyOutput](t)(w.admin(region).ReplicateKey(t.Context(), &awskms.ReplicateKeyInput{
		KeyId: &primary, ReplicaRegion: aws.String(other)})).ReplicaKeyMetadata.Arn
	if primary == replica {
		t.Fatal("one ARN")
	}
	here, there := w.open(kms.Config{Key: primary}), w.open(kms.Config{Key: replica})
	w.Forget()
	for _, tt := range []struct {
		from, to *kms.Keys
		region   string
		key      string
	}{{here, there, other, replica}, {there, here, region, primary}, {there, there, other, replica}} {
		dk := must[envelope.DataKey](t)(tt.from.Generate(t.Context(), sealContext))
		if got, err := tt.to.Unwrap(t.Context(), dk.Wrapped[0], sealContext); err != nil || !bytes.Equal(got.Key, dk.Key) {
			t.Fatalf("to %s: %v", tt.region, err)
		}
		if e := w.calls()[1]; e.Region != tt.region || e.Key != tt.key {
			t.Errorf("decrypted by %s in %s", e.Key, e.Region)
		}
		if !tt.to.Current(dk.Wrapped) {
			t.Error("the related key's material is the same, and is to be wrapped anew")
		}
	}
	list := must[[]envelope.WrappingKey](t)(there.List(t.Context(), primary))
	if len(list) != 2 || list[1].ID != primary || list[1].State != "" || list[1].Recipient != envelope.ForReveal {
		t.Errorf("list: %+v", list)
	}
	// One multi-Region key for both recipients is one key.
	if _, err := kms.Open(t.Context(), kms.Config{AWS: awsConfig(w.Transport()), Key: primary, Verify: replica}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("related keys for both recipients: %v", err)
	}
	// A single-Region key has a namesake in no other Region.
	single := newKey(t, w.admin(region), false)
	dk := must[envelope.DataKey](t)(w.open(kms.Config{Key: single}).Generate(t.Context(), sealContext))
	dk.Wrapped[0].KeyID = strings.Replace(single, region, other, 1)
	if _, err := w.open(kms.Config{Key: single}).Unwrap(t.Context(), dk.Wrapped[0], sealContext); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("another Region's ARN: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	key := newKey(t, w.admin(region), false)
	must[*awskms.CreateAliasOutput](t)(w.admin(region).CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: aws.String("alias/c"), TargetKeyId: &key}))
	for what, cfg := range map[string]kms.Config{
		"no key":            {},
		"a word":            {Key: "coffer"},
		"another service":   {Key: strings.Replace(key, ":kms:", ":s3:", 1)},
		"one key for both":  {Key: key, Verify: key},
		"one by two names":  {Key: key, Verify: "alias/c"},
		"a malformed old":   {Key: key, Old: []string{"alias/c"}},
		"too many old ones": {Key: key, Old: slices.Repeat([]string{key}, 257)},
	} {
		cfg.AWS = awsConfig(w.Transport())
		if _, err := kms.Open(t.Context(), cfg); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	cfg := kms.Config{AWS: awsConfig(w.Transport()), Key: "alias/c"}
	cfg.AWS.Region = ""
	if _, err := kms.Open(t.Context(), cfg); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("no Region: %v", err)
	}
}

// TestErrors: what each answer of KMS becomes, how often it is asked, and that no message of KMS is in the text. Time is the
// bubble's: waiting costs none.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		code         string
		again        bool  // the call is repeated
		unwrap, wrap error // what it becomes
	}{
		{"ThrottlingException", true, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"LimitExceededException", true, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"KMSInternalException", true, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"DependencyTimeoutException", true, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"KeyUnavailableException", true, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"AccessDeniedException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"DisabledException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"KMSInvalidStateException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"InvalidKeyUsageException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"InvalidGrantTokenException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"ExpiredTokenException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"ValidationException", false, coffer.ErrUnavailable, coffer.ErrUnavailable},
		{"NotFoundException", false, coffer.ErrNotFound, coffer.ErrUnavailable},
		{"InvalidCiphertextException", false, coffer.ErrCorrupt, nil},
		{"IncorrectKeyException", false, coffer.ErrCorrupt, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			reveal, verify := newKey(t, w.admin(region), false), newKey(t, w.admin(region), false)
			k := w.open(kms.Config{Key: reveal, Verify: verify})
			dk := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
			for op, call := range map[string]func() ([]byte, error){
				"Decrypt": func() ([]byte, error) {
					got, err := k.Unwrap(t.Context(), dk.Wrapped[0], sealContext)
					return got.Key, err
				},
				"GenerateDataKey": func() ([]byte, error) {
					got, err := k.Generate(t.Context(), sealContext)
					return got.Key, err
				},
				"Encrypt": func() ([]byte, error) {
					got, err := k.Generate(t.Context(), sealContext)
					return got.Key, err
				},
			} {
				want := tt.wrap
				if op == "Decrypt" {
					want = tt.unwrap
				}
				if want == nil {
					continue
				}
				// For good: the last attempt's answer comes out.
				w.Forget()
				w.Fail(tt.code, 6, op)
				key, err := call()
				got := slices.DeleteFunc(w.calls(), func(e kmsfake.Event) bool { return e.Operation != op })
				if !errors.Is(err, want) || key != nil {
					t.Errorf("%s, %s: %v", op, tt.code, err)
				}
				attempts := 1
				if tt.again {
					attempts = 6
				}
				if len(got) != attempts {
					t.Errorf("%s, %s: asked %d times", op, tt.code, len(got))
				}
				text := err.Error()
				if !strings.Contains(text, tt.code) || !strings.Contains(text, got[len(got)-1].RequestID) || strings.Contains(text, "on demand") ||
					strings.Contains(text, "arn:") || strings.Contains(text, principal) {
					t.Errorf("%s, %s: text %q", op, tt.code, text)
				}
				w.Recover()
				// For a moment: only what passes by itself is asked again.
				w.Forget()
				w.Fail(tt.code, 2, op)
				_, err = call()
				if (err == nil) != tt.again {
					t.Errorf("%s, %s twice: %v", op, tt.code, err)
				}
				w.Recover()
			}
		})
	}
}

// TestBackoff: repetitions wait, and a context that ends meanwhile ends the call.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		k := w.open(kms.Config{Key: newKey(t, w.admin(region), false)})
		w.Fail("ThrottlingException", 1000)
		began := time.Now()
		if _, err := k.Generate(t.Context(), nil); !errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("throttled: %v", err)
		}
		if took := time.Since(began); took == 0 || took > time.Minute {
			t.Errorf("six attempts took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := k.Generate(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("the deadline passed: %v", err)
		}
	})
}

// TestConnection: a request or an answer that is lost is repeated, because no call of these changes anything.
func TestConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		k := w.open(kms.Config{Key: newKey(t, w.admin(region), false)})
		for _, when := range []fault.When{fault.Before, fault.After} {
			w.Fault = fault.New(fault.Fault{Call: 1, When: when}, fault.Fault{Call: 3, When: when})
			dk := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
			again := must[envelope.DataKey](t)(k.Unwrap(t.Context(), dk.Wrapped[0], sealContext))
			if !bytes.Equal(dk.Key, again.Key) || w.Fault.Calls() != 4 {
				t.Errorf("%v: %d calls", when, w.Fault.Calls())
			}
		}
		w.Fault = fault.New(fault.Fault{Call: 1, Crash: true})
		if _, err := k.Generate(t.Context(), sealContext); !errors.Is(err, coffer.ErrUnavailable) || !errors.Is(err, fault.ErrInjected) ||
			strings.Contains(err.Error(), "injected") {
			t.Errorf("no connection: %v", err)
		}
	})
}

// TestStates: a key that cannot be used says nothing about what it wraps, and is not asked twice.
func TestStates(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(region)
	id := newKey(t, admin, false)
	k := w.open(kms.Config{Key: id})
	dk := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
	refused := func(code string) {
		t.Helper()
		w.Forget()
		_, err := k.Unwrap(t.Context(), dk.Wrapped[0], sealContext)
		_, err2 := k.Generate(t.Context(), sealContext)
		if !errors.Is(err, coffer.ErrUnavailable) || !errors.Is(err2, coffer.ErrUnavailable) || coffer.Permanent(err) {
			t.Errorf("%s: %v; %v", code, err, err2)
		}
		if got := ops(w.calls()); got != "Decrypt "+code+", GenerateDataKey "+code {
			t.Errorf("calls: %s", got)
		}
	}
	states := func() kms.State { return k.State(t.Context())[0] }
	s := states()
	if s.Key != id || s.Recipient != envelope.ForReveal || !s.Current || s.Err != nil || s.Status != "Enabled" || !s.Enabled || !s.Usable || s.MultiRegion ||
		s.Created.IsZero() || !s.Deletion.IsZero() || s.Rotation || s.Wrap != kms.Permitted || s.Decrypt != kms.Permitted {
		t.Errorf("%+v", s)
	}
	must[*awskms.EnableKeyRotationOutput](t)(admin.EnableKeyRotation(t.Context(), &awskms.EnableKeyRotationInput{KeyId: &id}))
	w.Deny(principal, "Decrypt")
	if s = states(); !s.Rotation || s.NextRotation.IsZero() || s.Wrap != kms.Permitted || s.Decrypt != kms.Refused {
		t.Errorf("rotation on, decrypt denied: %+v", s)
	}
	w.Permit(principal, "Decrypt")

	must[*awskms.DisableKeyOutput](t)(admin.DisableKey(t.Context(), &awskms.DisableKeyInput{KeyId: &id}))
	refused("DisabledException")
	if s = states(); s.Status != "Disabled" || s.Enabled || s.Wrap != kms.Unknown {
		t.Errorf("disabled: %+v", s)
	}
	must[*awskms.ScheduleKeyDeletionOutput](t)(admin.ScheduleKeyDeletion(t.Context(), &awskms.ScheduleKeyDeletionInput{KeyId: &id}))
	refused("KMSInvalidStateException")
	if s = states(); s.Deletion.IsZero() || s.RotationErr == nil {
		t.Errorf("pending deletion: %+v", s)
	}
	if l := must[[]envelope.WrappingKey](t)(k.List(t.Context())); l[0].State != "pending deletion" {
		t.Errorf("list: %+v", l)
	}
	must[*awskms.CancelKeyDeletionOutput](t)(admin.CancelKeyDeletion(t.Context(), &awskms.CancelKeyDeletionInput{KeyId: &id}))
	must[*awskms.EnableKeyOutput](t)(admin.EnableKey(t.Context(), &awskms.EnableKeyInput{KeyId: &id}))
	if got, err := k.Unwrap(t.Context(), dk.Wrapped[0], sealContext); err != nil || !bytes.Equal(got.Key, dk.Key) {
		t.Errorf("enabled again: %v", err)
	}
	w.Deny(principal, "DescribeKey")
	if s = states(); !errors.Is(s.Err, coffer.ErrUnavailable) || s.Decrypt != kms.Permitted {
		t.Errorf("not to be described: %+v", s)
	}
}

// TestRotate: new material behind the same id; what the old material wrapped opens; a lost answer is not repeated.
func TestRotate(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(region)
	id, verify := newKey(t, admin, false), newKey(t, admin, false)
	k := w.open(kms.Config{Key: id, Verify: verify})
	dk := must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
	w.Forget()
	if ids := must[[]string](t)(k.Rotate(t.Context())); !slices.Equal(ids, []string{id, verify}) {
		t.Errorf("rotated %v", ids)
	}
	if got := ops(w.calls()); got != "RotateKeyOnDemand, RotateKeyOnDemand" {
		t.Errorf("calls: %s", got)
	}
	if got, err := k.Unwrap(t.Context(), dk.Wrapped[0], sealContext); err != nil || !bytes.Equal(got.Key, dk.Key) || !k.Current(dk.Wrapped) {
		t.Errorf("what was wrapped before: %v", err)
	}
	w.Fault = fault.New(fault.Fault{Call: 1, When: fault.After})
	if _, err := k.Rotate(t.Context()); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("a lost answer: %v", err)
	}
	w.Fault = nil
	if r := must[*awskms.ListKeyRotationsOutput](t)(admin.ListKeyRotations(t.Context(), &awskms.ListKeyRotationsInput{KeyId: &id})); len(r.Rotations) != 2 {
		t.Errorf("%d rotations", len(r.Rotations))
	}
	for range 23 {
		must[[]string](t)(k.Rotate(t.Context()))
	}
	if ids, err := k.Rotate(t.Context()); !errors.Is(err, coffer.ErrLimit) || ids != nil {
		t.Errorf("the 26th: %v", err)
	}
	mrk := newKey(t, admin, true)
	replica := must[*awskms.ReplicateKeyOutput](t)(admin.ReplicateKey(t.Context(), &awskms.ReplicateKeyInput{KeyId: &mrk, ReplicaRegion: aws.String(other)}))
	if _, err := w.open(kms.Config{Key: *replica.ReplicaKeyMetadata.Arn}).Rotate(t.Context()); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("a replica: %v", err)
	}
}

// hosts answers nothing and keeps the hosts that it was asked at.
type hosts struct {
	mu  sync.Mutex
	all []string
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r.URL.Scheme+"://"+r.URL.Host)
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"__type":"AccessDeniedException"}`)),
	}, nil
}

// TestEndpoints: FIPS endpoints are used where the configuration says so, each key in its Region, and a given endpoint in all.
func TestEndpoints(t *testing.T) {
	for _, env := range lookalike.Env() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_CA_BUNDLE", "") // it needs an HTTP client of the SDK's own
	load := func(rt http.RoundTripper, opts ...func(*config.LoadOptions) error) aws.Config {
		return must[aws.Config](t)(config.LoadDefaultConfig(t.Context(), append(opts, config.WithHTTPClient(&http.Client{Transport: rt}))...))
	}
	const key = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000"
	ask := func(cfg kms.Config, h *hosts) string {
		k := must[*kms.Keys](t)(kms.Open(t.Context(), cfg))
		_, _ = k.Generate(t.Context(), nil)
		return strings.Join(h.all, " ")
	}
	h := new(hosts)
	if got := ask(kms.Config{AWS: load(h), Key: key}, h); got != "https://kms.us-east-1.amazonaws.com" {
		t.Errorf("default: %s", got)
	}
	h = new(hosts)
	if got := ask(kms.Config{AWS: load(h, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled)), Key: key}, h); got != "https://kms-fips.us-east-1.amazonaws.com" {
		t.Errorf("FIPS by option: %s", got)
	}
	h = new(hosts)
	if got := ask(kms.Config{AWS: load(h), Endpoint: "http://127.0.0.1:1", Key: key}, h); got != "http://127.0.0.1:1" {
		t.Errorf("given: %s", got)
	}
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
	h = new(hosts)
	if got := ask(kms.Config{AWS: load(h), Key: key}, h); got != "https://kms-fips.us-east-1.amazonaws.com" {
		t.Errorf("FIPS by environment: %s", got)
	}
}

// TestNoBodiesInLogs: an SDK configuration that logs bodies would log data keys.
func TestNoBodiesInLogs(t *testing.T) {
	w := newWorld(t)
	cfg := kms.Config{AWS: awsConfig(w.Transport()), Key: newKey(t, w.admin(region), false)}
	var log strings.Builder
	cfg.AWS.ClientLogMode = aws.LogRequestWithBody | aws.LogResponseWithBody | aws.LogSigning
	cfg.AWS.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) { fmt.Fprintf(&log, format, args...) })
	k := must[*kms.Keys](t)(kms.Open(t.Context(), cfg))
	must[envelope.DataKey](t)(k.Generate(t.Context(), sealContext))
	if log.Len() != 0 {
		t.Error("the SDK logs what it sends or gets")
	}
}
