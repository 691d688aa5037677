package dynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"coffer"
)

// Options say how a table is made. A table of wrapped keys has no point-in-time recovery: a purge that destroyed a key could be
// taken back with it.
type Options struct {
	PITR               bool   // point-in-time recovery, for as long as DynamoDB keeps it by default (35 days)
	DeletionProtection bool   // the table cannot be deleted until this is switched off
	Key                string // KMS key (id, ARN or alias) for encryption at rest; empty: a key that DynamoDB owns
}

// settleTimeout is how long a table may take to become active.
const settleTimeout = 5 * time.Minute

// Create makes the table, billed on demand, and returns when it is in use. It can be repeated: a table that exists is brought to the
// options, but for its encryption, which stays as it is; one with another key gives an error wrapping coffer.ErrInvalid.
//
// Recovery that is asked for where it does not exist, as with DynamoDB Local, gives coffer.ErrUnsupported.
func Create(ctx context.Context, c Config, o Options) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	db := &DB{client: client, table: c.Table, wait: wait}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()

	in := &dynamodb.CreateTableInput{
		TableName: &db.table, BillingMode: types.BillingModePayPerRequest, DeletionProtectionEnabled: &o.DeletionProtection,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(attrPart), KeyType: types.KeyTypeHash}, {AttributeName: aws.String(attrSort), KeyType: types.KeyTypeRange}},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrPart), AttributeType: types.ScalarAttributeTypeB},
			{AttributeName: aws.String(attrSort), AttributeType: types.ScalarAttributeTypeB}},
	}
	if o.Key != "" {
		in.SSESpecification = &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms, KMSMasterKeyId: &o.Key}
	}
	err = db.do(ctx, "CreateTable", false, func(ctx context.Context) error {
		_, err := db.client.CreateTable(ctx, in)
		var exists *types.ResourceInUseException
		if errors.As(err, &exists) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	t, err := db.active(ctx)
	if err != nil {
		return err
	}
	if aws.ToBool(t.DeletionProtectionEnabled) != o.DeletionProtection {
		err := db.do(ctx, "UpdateTable", false, func(ctx context.Context) error {
			_, err := db.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: &db.table, DeletionProtectionEnabled: &o.DeletionProtection})
			return err
		})
		if err != nil {
			return err
		}
		if _, err := db.active(ctx); err != nil {
			return err
		}
	}
	if err := db.setTTL(ctx); err != nil {
		return err
	}
	return db.setPITR(ctx, o.PITR)
}

// active waits until the table is in use.
func (db *DB) active(ctx context.Context) (*types.TableDescription, error) {
	for n := 1; ; n++ {
		t, err := db.describeTable(ctx)
		switch {
		case errors.Is(err, coffer.ErrNotFound): // what was just made may not be known everywhere yet
		case err != nil:
			return nil, err
		case t.TableStatus == types.TableStatusActive:
			return t, usable(db.table, t)
		case t.TableStatus != types.TableStatusCreating && t.TableStatus != types.TableStatusUpdating:
			return nil, usable(db.table, t)
		}
		if err := db.wait(ctx, delay(min(n, 8))); err != nil {
			return nil, fmt.Errorf("dynamodb: waiting for table %s: %w", db.table, err)
		}
	}
}

func (db *DB) setTTL(ctx context.Context) error {
	now, err := db.describeTTL(ctx)
	if err != nil || now == types.TimeToLiveStatusEnabled || now == types.TimeToLiveStatusEnabling {
		return err
	}
	return db.do(ctx, "UpdateTimeToLive", false, func(ctx context.Context) error {
		_, err := db.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: &db.table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrExpires), Enabled: aws.Bool(true)}})
		return err
	})
}

func (db *DB) setPITR(ctx context.Context, on bool) error {
	now, err := db.describePITR(ctx)
	if isCode(err, codeUnknownOperation) {
		if on {
			return fmt.Errorf("dynamodb: this server has no point-in-time recovery: %w", coffer.ErrUnsupported)
		}
		return nil
	}
	if err != nil || (now == types.PointInTimeRecoveryStatusEnabled) == on {
		return err
	}
	return db.do(ctx, "UpdateContinuousBackups", false, func(ctx context.Context) error {
		_, err := db.client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: &db.table,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: &on}})
		return err
	})
}

// Setting is how a property of the table is set, as far as this program may know.
type Setting string

// The settings. Unknown is never "off": a permission is missing, or the server does not know the property.
const (
	Unknown Setting = "unknown"
	On      Setting = "on"
	Off     Setting = "off"
)

func setting(on bool) Setting {
	if on {
		return On
	}
	return Off
}

// State is what a table is and has, for those who check an installation.
type State struct {
	Status             string // DynamoDB's word: ACTIVE, UPDATING, ...; "unknown" if it may not be asked
	PITR               Setting
	Backups            Setting // whether there are backups of the table, on demand or of the system
	TTL                Setting // whether DynamoDB removes expired items
	DeletionProtection Setting
	Streams            Setting  // a stream is a copy of the items, for 24 hours
	Encryption         string   // "DynamoDB's key", "KMS key of the account", or "unknown"
	Billing            string   // "on demand", "provisioned", or "unknown"
	Replicas           []string // other Regions of a global table; unknown like the status
}

// Describe returns the state of the table. What it may not ask is unknown and no error; an error wrapping coffer.ErrNotFound
// says that there is no such table, any other that DynamoDB cannot be asked now.
func (db *DB) Describe(ctx context.Context) (State, error) {
	s := State{
		Status: string(Unknown), PITR: Unknown, Backups: Unknown, TTL: Unknown, DeletionProtection: Unknown, Streams: Unknown,
		Encryption: string(Unknown), Billing: string(Unknown),
	}
	t, err := db.describeTable(ctx)
	switch {
	case err == nil:
		s.table(t)
	case !isCode(err, codesUnknown...):
		return s, err
	}
	if ttl, err := db.describeTTL(ctx); err == nil {
		s.TTL = setting(ttl == types.TimeToLiveStatusEnabled || ttl == types.TimeToLiveStatusEnabling)
	} else if !isCode(err, codesUnknown...) {
		return s, err
	}
	if pitr, err := db.describePITR(ctx); err == nil {
		s.PITR = setting(pitr == types.PointInTimeRecoveryStatusEnabled)
	} else if !isCode(err, codesUnknown...) {
		return s, err
	}
	if some, err := db.backups(ctx); err == nil {
		s.Backups = setting(some)
	} else if !isCode(err, codesUnknown...) {
		return s, err
	}
	return s, nil
}

func (s *State) table(t *types.TableDescription) {
	s.Status = string(t.TableStatus)
	s.DeletionProtection = setting(aws.ToBool(t.DeletionProtectionEnabled))
	s.Streams = setting(t.StreamSpecification != nil && aws.ToBool(t.StreamSpecification.StreamEnabled))
	s.Billing = "provisioned" // a table that was never billed otherwise has no summary
	if t.BillingModeSummary != nil && t.BillingModeSummary.BillingMode == types.BillingModePayPerRequest {
		s.Billing = "on demand"
	}
	s.Encryption = "DynamoDB's key"
	if sse := t.SSEDescription; sse != nil && (sse.Status == types.SSEStatusEnabled || sse.Status == types.SSEStatusUpdating) {
		// DescribeTable names the key, not whose it is: the ARN of the account's aws/dynamodb key looks like any other.
		s.Encryption = "KMS key of the account"
	}
	for _, r := range t.Replicas {
		s.Replicas = append(s.Replicas, aws.ToString(r.RegionName))
	}
}

// usable returns why a table cannot serve as a store, nil if it can.
func usable(name string, t *types.TableDescription) error {
	switch t.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
	case types.TableStatusInaccessibleEncryptionCredentials, types.TableStatusArchiving, types.TableStatusArchived:
		return fmt.Errorf("dynamodb: table %s is %s: its KMS key cannot be used; enable the key, or the role's use of it: %w",
			name, t.TableStatus, coffer.ErrUnavailable)
	default:
		return fmt.Errorf("dynamodb: table %s is %s: %w", name, t.TableStatus, coffer.ErrUnavailable)
	}
	binaryKey := 0
	for _, a := range t.AttributeDefinitions {
		if n := aws.ToString(a.AttributeName); (n == attrPart || n == attrSort) && a.AttributeType == types.ScalarAttributeTypeB {
			binaryKey++
		}
	}
	if k := t.KeySchema; binaryKey != 2 || len(k) != 2 || aws.ToString(k[0].AttributeName) != attrPart || aws.ToString(k[1].AttributeName) != attrSort {
		return fmt.Errorf("dynamodb: table %s has another key than Coffer's (%s and %s, binary); name an own table: %w",
			name, attrPart, attrSort, coffer.ErrInvalid)
	}
	return nil
}

func (db *DB) describeTable(ctx context.Context) (*types.TableDescription, error) {
	var t *types.TableDescription
	err := db.do(ctx, opDescribeTable, false, func(ctx context.Context) error {
		out, err := db.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &db.table})
		if err == nil {
			t = out.Table
		}
		return err
	})
	return t, err
}

func (db *DB) describeTTL(ctx context.Context) (types.TimeToLiveStatus, error) {
	var s types.TimeToLiveStatus
	err := db.do(ctx, "DescribeTimeToLive", false, func(ctx context.Context) error {
		out, err := db.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &db.table})
		if err == nil && out.TimeToLiveDescription != nil {
			s = out.TimeToLiveDescription.TimeToLiveStatus
		}
		return err
	})
	return s, err
}

func (db *DB) describePITR(ctx context.Context) (types.PointInTimeRecoveryStatus, error) {
	var s types.PointInTimeRecoveryStatus
	err := db.do(ctx, "DescribeContinuousBackups", false, func(ctx context.Context) error {
		out, err := db.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &db.table})
		if err == nil && out.ContinuousBackupsDescription != nil && out.ContinuousBackupsDescription.PointInTimeRecoveryDescription != nil {
			s = out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
		}
		return err
	})
	return s, err
}

// backups reports whether the table has a backup of any kind.
func (db *DB) backups(ctx context.Context) (bool, error) {
	in := &dynamodb.ListBackupsInput{TableName: &db.table, BackupType: types.BackupTypeFilterAll}
	for {
		var out *dynamodb.ListBackupsOutput
		err := db.do(ctx, "ListBackups", false, func(ctx context.Context) (err error) {
			out, err = db.client.ListBackups(ctx, in)
			return err
		})
		switch {
		case err != nil:
			return false, err
		case len(out.BackupSummaries) > 0:
			return true, nil
		case out.LastEvaluatedBackupArn == nil:
			return false, nil
		}
		in.ExclusiveStartBackupArn = out.LastEvaluatedBackupArn
	}
}
