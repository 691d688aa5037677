package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"coffer"
)

// Create makes a symmetric key that is rotated every year, and the alias that name ("alias/...") is, unless there is such an alias;
// it returns the key's ARN and whether it was made. The key has the account's default policy. A template with a policy for each role
// is better where several people or functions share the account; this is for a first look and for small teams. A name that is no
// alias is only looked at. A crash between the two calls leaves a key without an alias.
func Create(ctx context.Context, cfg Config, name string) (key string, made bool, err error) {
	only := cfg
	only.Key, only.Verify, only.Old = name, "", nil
	k, err := Open(ctx, only)
	if err == nil {
		key := k.current[0].now()
		return key.String(), false, k.describe(ctx, key).Err // a key ARN was opened without a call
	}
	if !errors.Is(err, coffer.ErrNotFound) || !strings.HasPrefix(name, "alias/") {
		return "", false, err
	}
	client := (&Keys{cfg: cfg, clients: map[string]*kms.Client{}}).client(cfg.AWS.Region)
	out, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("Coffer: wraps the data keys of sealed values"), KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt,
	})
	if err != nil {
		return "", false, mapError(ctx, "CreateKey", "", err)
	}
	key = aws.ToString(out.KeyMetadata.Arn)
	if _, err := client.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &key}); err != nil {
		return "", false, mapError(ctx, "EnableKeyRotation", "", err)
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &key})
	var exists *types.AlreadyExistsException
	switch {
	case errors.As(err, &exists):
		return "", false, fmt.Errorf("kms: somebody else made %s at the same time; the key %s has no alias: %w", name, key, coffer.ErrConflict)
	case err != nil:
		return "", false, mapError(ctx, "CreateAlias", "", err)
	}
	return key, true, nil
}
