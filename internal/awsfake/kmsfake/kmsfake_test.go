package kmsfake_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/fault"
)

const principal = "AKIACOFFERTEST"

// client drives the fake with the SDK, without repetitions.
func client(f *kmsfake.Fake, region string) *kms.Client {
	return kms.New(kms.Options{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(principal, "secret", ""),
		HTTPClient: &http.Client{Transport: f.Transport()}, Retryer: aws.NopRetryer{},
	})
}

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// code demands an answer with this error code.
func code[T any](t *testing.T, want string) func(T, error) {
	return func(_ T, err error) {
		t.Helper()
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func newKey(t *testing.T, c *kms.Client, multi bool) *string {
	t.Helper()
	return ok[*kms.CreateKeyOutput](t)(c.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: &multi})).KeyMetadata.Arn
}

var encContext = map[string]string{"app": "coffer", "set": "0a1b"}

func TestDataKeys(t *testing.T) {
	f := new(kmsfake.Fake)
	c := client(f, "eu-central-1")
	id, second := newKey(t, c, false), newKey(t, c, false)
	dk := ok[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256, EncryptionContext: encContext}))
	if len(dk.Plaintext) != 32 || *dk.KeyId != *id || bytes.Contains(dk.CiphertextBlob, dk.Plaintext) {
		t.Error("data key")
	}
	decrypt := func(change func(*kms.DecryptInput)) (*kms.DecryptOutput, error) {
		in := &kms.DecryptInput{CiphertextBlob: dk.CiphertextBlob, EncryptionContext: maps.Clone(encContext)}
		change(in)
		return c.Decrypt(t.Context(), in)
	}
	short := (*id)[strings.LastIndex(*id, "/")+1:]
	for _, name := range []*string{nil, id, &short} {
		out := ok[*kms.DecryptOutput](t)(decrypt(func(in *kms.DecryptInput) { in.KeyId = name }))
		if !bytes.Equal(out.Plaintext, dk.Plaintext) || *out.KeyId != *id {
			t.Error("another plaintext or key")
		}
	}
	code[*kms.DecryptOutput](t, "IncorrectKeyException")(decrypt(func(in *kms.DecryptInput) { in.KeyId = second }))
	code[*kms.DecryptOutput](t, "NotFoundException")(decrypt(func(in *kms.DecryptInput) { in.KeyId = aws.String("alias/none") }))
	code[*kms.DecryptOutput](t, "NotFoundException")(decrypt(func(in *kms.DecryptInput) {
		in.KeyId = aws.String(strings.Replace(*id, "eu-central-1", "eu-west-1", 1))
	}))
	for what, change := range map[string]func(*kms.DecryptInput){
		"none":   func(in *kms.DecryptInput) { in.EncryptionContext = nil },
		"case":   func(in *kms.DecryptInput) { in.EncryptionContext["app"] = "Coffer" },
		"more":   func(in *kms.DecryptInput) { in.EncryptionContext["x"] = "y" },
		"less":   func(in *kms.DecryptInput) { delete(in.EncryptionContext, "set") },
		"joined": func(in *kms.DecryptInput) { in.EncryptionContext = map[string]string{"app": "coffer" + "set" + "0a1b"} },
		"cut":    func(in *kms.DecryptInput) { in.CiphertextBlob = in.CiphertextBlob[:len(in.CiphertextBlob)-1] },
		"short":  func(in *kms.DecryptInput) { in.CiphertextBlob = in.CiphertextBlob[:2] },
	} {
		t.Run(what, func(t *testing.T) { code[*kms.DecryptOutput](t, "InvalidCiphertextException")(decrypt(change)) })
	}
	code[*kms.DecryptOutput](t, "ValidationException")(decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = make([]byte, 6145) }))

	without := ok[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(c.GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: id, NumberOfBytes: aws.Int32(64)}))
	if out := ok[*kms.DecryptOutput](t)(c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: without.CiphertextBlob})); len(out.Plaintext) != 64 {
		t.Error("a data key of another size")
	}
	code[*kms.GenerateDataKeyOutput](t, "ValidationException")(c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: id}))
	ok[*kms.EncryptOutput](t)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: make([]byte, 4096)}))
	code[*kms.EncryptOutput](t, "ValidationException")(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: make([]byte, 4097)}))

	moved := ok[*kms.ReEncryptOutput](t)(c.ReEncrypt(t.Context(), &kms.ReEncryptInput{
		CiphertextBlob: dk.CiphertextBlob, SourceKeyId: id, SourceEncryptionContext: encContext, DestinationKeyId: second, DestinationEncryptionContext: map[string]string{"b": "2"}}))
	out := ok[*kms.DecryptOutput](t)(c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, KeyId: second, EncryptionContext: map[string]string{"b": "2"}}))
	if !bytes.Equal(out.Plaintext, dk.Plaintext) || *moved.SourceKeyId != *id || *moved.KeyId != *second {
		t.Error("re-encrypted to something else")
	}
	code[*kms.ReEncryptOutput](t, "IncorrectKeyException")(c.ReEncrypt(t.Context(), &kms.ReEncryptInput{
		CiphertextBlob: dk.CiphertextBlob, SourceKeyId: second, SourceEncryptionContext: encContext, DestinationKeyId: second}))
}

func TestDryRun(t *testing.T) {
	f := new(kmsfake.Fake)
	c := client(f, "eu-central-1")
	id := newKey(t, c, false)
	yes := aws.Bool(true)
	dry := func(want string) {
		t.Helper()
		code[*kms.GenerateDataKeyOutput](t, want)(c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256, DryRun: yes}))
		code[*kms.EncryptOutput](t, want)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte{1}, DryRun: yes}))
		code[*kms.DecryptOutput](t, want)(c.Decrypt(t.Context(), &kms.DecryptInput{KeyId: id, DryRun: yes,
			DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}}))
	}
	dry("DryRunOperationException")
	for _, op := range []string{"GenerateDataKey", "Encrypt", "Decrypt"} {
		f.Deny(principal, op)
	}
	dry("AccessDeniedException")
	for _, op := range []string{"GenerateDataKey", "Encrypt", "Decrypt"} {
		f.Permit(principal, op)
	}
	ok[*kms.DisableKeyOutput](t)(c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: id}))
	dry("DisabledException")
}

func TestStates(t *testing.T) {
	now := time.Date(2026, 7, 15, 9, 0, 0, 0, time.UTC)
	f := &kmsfake.Fake{Now: func() time.Time { return now }}
	c := client(f, "eu-central-1")
	id := newKey(t, c, false)
	use := func() (*kms.EncryptOutput, error) {
		return c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte{1}})
	}
	ok[*kms.EncryptOutput](t)(use())
	f.Lag(2)
	ok[*kms.DisableKeyOutput](t)(c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: id}))
	ok[*kms.EncryptOutput](t)(use())
	ok[*kms.EncryptOutput](t)(use())
	code[*kms.EncryptOutput](t, "DisabledException")(use())
	f.Lag(0)
	ok[*kms.EnableKeyOutput](t)(c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: id}))
	ok[*kms.EncryptOutput](t)(use())
	code[*kms.ScheduleKeyDeletionOutput](t, "ValidationException")(c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(6)}))
	out := ok[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)}))
	if !out.DeletionDate.Equal(now.AddDate(0, 0, 7)) {
		t.Errorf("deleted at %s", out.DeletionDate)
	}
	code[*kms.EncryptOutput](t, "KMSInvalidStateException")(use())
	code[*kms.EnableKeyOutput](t, "KMSInvalidStateException")(c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: id}))
	ok[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: id}))
	code[*kms.EncryptOutput](t, "DisabledException")(use()) // a saved key comes back disabled
	ok[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id}))
	now = now.AddDate(0, 0, 30)
	code[*kms.DescribeKeyOutput](t, "NotFoundException")(c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: id}))
}

func TestRotation(t *testing.T) {
	f := new(kmsfake.Fake)
	c := client(f, "eu-central-1")
	id := newKey(t, c, true)
	old := ok[*kms.EncryptOutput](t)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte("x")}))
	for range 25 {
		ok[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: id}))
	}
	code[*kms.RotateKeyOnDemandOutput](t, "LimitExceededException")(c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: id}))
	ok[*kms.DecryptOutput](t)(c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: old.CiphertextBlob, KeyId: id}))
	r := ok[*kms.ListKeyRotationsOutput](t)(c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: id})).Rotations
	if len(r) != 25 || r[0].RotationType != types.RotationTypeOnDemand || r[24].KeyMaterialState != types.KeyMaterialStateCurrent {
		t.Errorf("%d rotations", len(r))
	}
	ok[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: aws.Int32(180)}))
	s := ok[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: id}))
	if !s.KeyRotationEnabled || *s.RotationPeriodInDays != 180 || s.NextRotationDate == nil {
		t.Errorf("%+v", s)
	}

	replica := ok[*kms.ReplicateKeyOutput](t)(c.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: aws.String("eu-west-1")})).ReplicaKeyMetadata
	there := client(f, "eu-west-1")
	out := ok[*kms.DecryptOutput](t)(there.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: old.CiphertextBlob, KeyId: replica.Arn}))
	if string(out.Plaintext) != "x" || *out.KeyId != *replica.Arn || *out.KeyId == *id {
		t.Error("the replica does not open what the primary encrypted")
	}
	code[*kms.RotateKeyOnDemandOutput](t, "UnsupportedOperationException")(there.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: replica.Arn}))
	single := newKey(t, c, false)
	foreign := ok[*kms.EncryptOutput](t)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: single, Plaintext: []byte("x")}))
	code[*kms.DecryptOutput](t, "InvalidCiphertextException")(there.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: foreign.CiphertextBlob}))
}

func TestAliases(t *testing.T) {
	f := new(kmsfake.Fake)
	c := client(f, "eu-central-1")
	first, second := newKey(t, c, false), newKey(t, c, false)
	name := aws.String("alias/c")
	ok[*kms.CreateAliasOutput](t)(c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: name, TargetKeyId: first}))
	code[*kms.CreateAliasOutput](t, "AlreadyExistsException")(c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: name, TargetKeyId: first}))
	code[*kms.CreateAliasOutput](t, "InvalidAliasNameException")(c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("c"), TargetKeyId: first}))
	e := ok[*kms.EncryptOutput](t)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: name, Plaintext: []byte("x")}))
	if *e.KeyId != *first {
		t.Errorf("encrypted by %s", *e.KeyId)
	}
	ok[*kms.UpdateAliasOutput](t)(c.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: name, TargetKeyId: second}))
	code[*kms.DecryptOutput](t, "IncorrectKeyException")(c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: e.CiphertextBlob, KeyId: name}))
	if l := ok[*kms.ListAliasesOutput](t)(c.ListAliases(t.Context(), &kms.ListAliasesInput{})).Aliases; len(l) != 1 || !strings.HasSuffix(*second, *l[0].TargetKeyId) {
		t.Errorf("aliases: %+v", l)
	}
	code[*kms.DisableKeyOutput](t, "ValidationException")(c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: name}))
	ok[*kms.DeleteAliasOutput](t)(c.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: name}))
	code[*kms.DescribeKeyOutput](t, "NotFoundException")(c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: name}))
	if l := ok[*kms.ListKeysOutput](t)(c.ListKeys(t.Context(), &kms.ListKeysInput{})).Keys; len(l) != 2 {
		t.Errorf("%d keys", len(l))
	}
}

// TestFaults: on demand, by transport and by socket; and the log says what happened.
func TestFaults(t *testing.T) {
	f := new(kmsfake.Fake)
	c := client(f, "eu-central-1")
	id := newKey(t, c, false)
	use := func(ctx context.Context) (*kms.EncryptOutput, error) {
		return c.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte{1}, EncryptionContext: encContext})
	}
	f.Forget()
	f.Fail("ThrottlingException", 1, "Encrypt")
	code[*kms.EncryptOutput](t, "ThrottlingException")(use(t.Context()))
	ok[*kms.EncryptOutput](t)(use(t.Context()))
	log := f.Events()
	if len(log) != 2 || log[0].Error != "ThrottlingException" || log[1].Error != "" || log[1].Principal != principal || log[1].Key != *id ||
		log[1].Region != "eu-central-1" || !maps.Equal(log[1].Context, encContext) || log[1].RequestID == "" || log[0].RequestID == log[1].RequestID {
		t.Errorf("log: %+v", log)
	}
	f.Forget()
	f.Fault = fault.New(fault.Fault{Call: 1}, fault.Fault{Call: 2, When: fault.After})
	for range 2 {
		if _, err := use(t.Context()); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("%v", err)
		}
	}
	if n := len(f.Events()); n != 1 {
		t.Errorf("%d of the broken calls had an effect", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := use(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}

	server := httptest.NewServer(f)
	defer server.Close()
	c = kms.New(kms.Options{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider(principal, "secret", ""),
		BaseEndpoint: &server.URL, Retryer: aws.NopRetryer{}})
	ok[*kms.EncryptOutput](t)(use(t.Context()))
	f.Fault = fault.New(fault.Fault{Call: 1, When: fault.After})
	var api smithy.APIError
	if _, err := use(t.Context()); err == nil || errors.As(err, &api) {
		t.Errorf("a connection that breaks: %v", err)
	}
	resp, err := http.Post(server.URL, "application/x-amz-json-1.1", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("unsigned: %s", resp.Status)
	}
}
