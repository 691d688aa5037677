package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
)

// abandonedDays is after how many days S3 itself aborts an upload that nobody completed.
const abandonedDays = 7

// noLocation is the Region whose name CreateBucket does not take.
const noLocation = "us-east-1"

// CreateBucket makes a bucket that is fit for what must be gone when it is deleted: not versioned, not public, with abandoned uploads
// removed. It returns whether it made one. A bucket that is there stays as it is. What a server other than Amazon's does not know of
// these it is not asked for.
func (s *Store) CreateBucket(ctx context.Context, name string) (made bool, err error) {
	return s.createBucket(ctx, name, 0)
}

// CreateLockedBucket is like [Store.CreateBucket] for a bucket whose objects nobody changes or removes for the retention (whole days,
// at least one) after they were written, by Object Lock in compliance mode: not even the account's administrator can shorten it. What is
// written over stays as a version.
func (s *Store) CreateLockedBucket(ctx context.Context, name string, retention time.Duration) (made bool, err error) {
	days := int32(retention / (24 * time.Hour))
	if days < 1 {
		return false, fmt.Errorf("create bucket: a retention of less than a day: %w", coffer.ErrInvalid)
	}
	return s.createBucket(ctx, name, days)
}

func (s *Store) createBucket(ctx context.Context, name string, lockDays int32) (made bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("create bucket: %w", err)
		}
	}()
	if err := checkBucket(name); err != nil {
		return false, err
	}
	_, err = s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	if err = translate(err, "s3:ListBucket"); !errors.Is(err, coffer.ErrNotFound) {
		return false, err
	}
	in := &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}
	if region := s.client.Options().Region; region != noLocation {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	if lockDays > 0 {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	_, err = s.client.CreateBucket(ctx, in)
	if err := translate(err, "s3:CreateBucket"); err != nil {
		return false, err
	}
	if lockDays > 0 {
		_, err = s.client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{
			Bucket: &name, ExpectedBucketOwner: s.owner, ObjectLockConfiguration: &types.ObjectLockConfiguration{
				ObjectLockEnabled: types.ObjectLockEnabledEnabled,
				Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{
					Mode: types.ObjectLockRetentionModeCompliance, Days: aws.Int32(lockDays),
				}},
			},
		})
		if err := translate(err, "s3:PutBucketObjectLockConfiguration"); err != nil {
			return true, err
		}
	}
	_, err = s.client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: &name, ExpectedBucketOwner: s.owner, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	})
	if err := translate(err, "s3:PutBucketPublicAccessBlock"); err != nil && !s.lacks(err) {
		return true, err
	}
	_, err = s.client.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &name, ExpectedBucketOwner: s.owner, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
			ID: aws.String("abandoned-uploads"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
			AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(abandonedDays)},
		}}},
	})
	if err := translate(err, "s3:PutLifecycleConfiguration"); err != nil && !s.lacks(err) {
		return true, err
	}
	return true, nil
}
