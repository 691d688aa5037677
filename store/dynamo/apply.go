package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"coffer"
	"coffer/store"
)

// Apply implements [store.DB].
func (db *DB) Apply(ctx context.Context, ops ...store.Op) error {
	if err := store.Validate(ops); err != nil {
		return err
	}
	if len(ops) > 1 {
		return db.transact(ctx, ops)
	}
	switch op := ops[0]; op.Verb {
	case store.Put:
		return db.put(ctx, op)
	case store.Delete:
		return db.remove(ctx, op)
	default:
		return db.check(ctx, op)
	}
}

// condition returns the expression that holds exactly when op must be carried out, with its values; empty: always. It agrees with
// [store.Holds], but for a Put whose version the item has already: then it is false, because there is nothing to write.
func condition(op store.Op) (*string, attributes) {
	const absent, exists = "attribute_not_exists(" + attrPart + ")", "attribute_exists(" + attrPart + ")"
	const expected, other = attrVersion + " = :expected", attrVersion + " <> :version"
	switch {
	case op.Expect == store.Absent:
		return aws.String(absent), nil
	case op.Verb == store.Put && op.Expect == store.Any:
		return aws.String(absent + " OR " + other), attributes{":version": binaryOf(op.Item.Version)}
	case op.Verb == store.Put:
		return aws.String(expected + " AND " + other), attributes{":expected": binaryOf(op.Expect), ":version": binaryOf(op.Item.Version)}
	case op.Verb == store.Delete && op.Expect == store.Any:
		return nil, nil
	case op.Verb == store.Delete:
		return aws.String(absent + " OR " + expected), attributes{":expected": binaryOf(op.Expect)}
	case op.Expect == store.Any:
		return aws.String(exists), nil
	}
	return aws.String(expected), attributes{":expected": binaryOf(op.Expect)}
}

// settle says what it means for op that its condition failed on the item that old holds, empty if there is none: nil when op counts
// as done.
func settle(op store.Op, old attributes) error {
	version, err := versionOf(old)
	if err != nil {
		return err
	}
	if !store.Holds(op, version, len(old) > 0) {
		return coffer.ErrConflict
	}
	return nil
}

func versionOf(a attributes) (string, error) {
	v, ok := a[attrVersion].(*types.AttributeValueMemberB)
	if !ok {
		if len(a) > 0 {
			return "", fmt.Errorf("dynamodb: item without a version: %w", coffer.ErrCorrupt)
		}
		return "", nil
	}
	return string(v.Value), nil
}

func (db *DB) put(ctx context.Context, op store.Op) error {
	in := &dynamodb.PutItemInput{
		TableName: &db.table, Item: encode(op.Item), ReturnConsumedCapacity: db.report(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	in.ConditionExpression, in.ExpressionAttributeValues = condition(op)
	return db.do(ctx, "PutItem", true, func(ctx context.Context) error {
		out, err := db.client.PutItem(ctx, in)
		if err == nil && out.ConsumedCapacity != nil {
			db.wrote(*out.ConsumedCapacity)
		}
		return settled(op, err)
	})
}

func (db *DB) remove(ctx context.Context, op store.Op) error {
	in := &dynamodb.DeleteItemInput{
		TableName: &db.table, Key: keyOf(op.Item.Key), ReturnConsumedCapacity: db.report(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	in.ConditionExpression, in.ExpressionAttributeValues = condition(op)
	return db.do(ctx, "DeleteItem", true, func(ctx context.Context) error {
		out, err := db.client.DeleteItem(ctx, in)
		if err == nil && out.ConsumedCapacity != nil {
			db.wrote(*out.ConsumedCapacity)
		}
		return settled(op, err)
	})
}

// settled replaces the error of a failed condition by what it means for op.
func settled(op store.Op, err error) error {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return settle(op, failed.Item)
	}
	return err
}

// check carries out a lone Check: a consistent read says all that a transaction would, at a fourth of the price.
func (db *DB) check(ctx context.Context, op store.Op) error {
	a, err := db.get(ctx, op.Item.Key, attrPart+", "+attrVersion)
	if err != nil {
		return err
	}
	if err := settle(op, a); err != nil {
		return fmt.Errorf("operation 0: %w", err)
	}
	return nil
}

// transact carries out several operations as one transaction.
//
// A condition that fails because a Put's own version stands there already fails the whole transaction. Then that Put is replaced by a
// check that its version still stands there, and the rest is tried with it: at the moment at which the transaction succeeds, every
// operation holds.
func (db *DB) transact(ctx context.Context, ops []store.Op) error {
	t := transaction{db: db, ops: ops, done: make([]bool, len(ops))}
	t.build()
	return db.do(ctx, "TransactWriteItems", true, func(ctx context.Context) error {
		// Each round but the last turns Puts into checks, or such a check back when somebody replaced the item meanwhile.
		for range len(ops) + 1 {
			out, err := db.client.TransactWriteItems(ctx, t.in)
			if err == nil {
				db.wrote(out.ConsumedCapacity...)
				return nil
			}
			var cancelled *types.TransactionCanceledException
			if !errors.As(err, &cancelled) {
				return err
			}
			changed, cerr := t.reconsider(cancelled.CancellationReasons)
			if cerr != nil {
				return cerr
			}
			if !changed {
				return err
			}
		}
		return errContended
	})
}

// transaction is an Apply on its way.
type transaction struct {
	db   *DB
	ops  []store.Op
	done []bool // Puts whose version stood there when last looked at
	in   *dynamodb.TransactWriteItemsInput
}

// build makes the request, under a token of its own.
func (t *transaction) build() {
	items := make([]types.TransactWriteItem, len(t.ops))
	table, old := &t.db.table, types.ReturnValuesOnConditionCheckFailureAllOld
	for i, op := range t.ops {
		if t.done[i] {
			op = store.Op{Verb: store.Check, Item: op.Item, Expect: op.Item.Version}
		}
		expr, values := condition(op)
		switch op.Verb {
		case store.Put:
			items[i].Put = &types.Put{TableName: table, Item: encode(op.Item), ConditionExpression: expr,
				ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: old}
		case store.Delete:
			items[i].Delete = &types.Delete{TableName: table, Key: keyOf(op.Item.Key), ConditionExpression: expr,
				ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: old}
		default:
			items[i].ConditionCheck = &types.ConditionCheck{TableName: table, Key: keyOf(op.Item.Key), ConditionExpression: expr,
				ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: old}
		}
	}
	t.in = &dynamodb.TransactWriteItemsInput{
		TransactItems: items, ClientRequestToken: aws.String(store.NewVersion()), ReturnConsumedCapacity: t.db.report(),
	}
}

// reconsider looks at the conditions that failed. It returns an error when an expectation does not hold, and otherwise whether the
// transaction must be tried in another form.
func (t *transaction) reconsider(reasons []types.CancellationReason) (changed bool, err error) {
	for i, r := range reasons {
		if aws.ToString(r.Code) != reasonCondition || i >= len(t.ops) {
			continue
		}
		if err := settle(t.ops[i], r.Item); err != nil {
			return false, fmt.Errorf("operation %d: %w", i, err)
		}
		version, err := versionOf(r.Item)
		if err != nil {
			return false, err
		}
		op := t.ops[i]
		t.done[i] = op.Verb == store.Put && len(r.Item) > 0 && version == op.Item.Version
		changed = true
	}
	if changed {
		t.build()
	}
	return changed, nil
}
