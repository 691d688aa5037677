package dynamo

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"coffer"
	"coffer/store"
)

type attributes = map[string]types.AttributeValue

func binaryOf(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }

func keyOf(k store.Key) attributes {
	return attributes{attrPart: binaryOf(k.Part), attrSort: binaryOf(k.Sort)}
}

func encode(it store.Item) attributes {
	a := keyOf(it.Key)
	a[attrVersion] = binaryOf(it.Version)
	a[attrValue] = binaryOf(string(it.Value))
	if !it.Expires.IsZero() {
		a[attrExpires] = &types.AttributeValueMemberN{Value: strconv.FormatInt(it.Expires.Unix(), 10)}
	}
	return a
}

// decode reads an item. One that this package cannot have written comes with as much of its key as there is.
func decode(a attributes) (store.Item, error) {
	var it store.Item
	ok := true
	get := func(name string) []byte {
		b, is := a[name].(*types.AttributeValueMemberB)
		if !is {
			ok = false
			return nil
		}
		return b.Value
	}
	it.Key = store.Key{Part: string(get(attrPart)), Sort: string(get(attrSort))}
	version, value := get(attrVersion), get(attrValue)
	if e, there := a[attrExpires]; there {
		n, is := e.(*types.AttributeValueMemberN)
		if !is {
			n = &types.AttributeValueMemberN{}
		}
		sec, err := strconv.ParseInt(n.Value, 10, 64)
		it.Expires = time.Unix(sec, 0).UTC()
		ok = ok && err == nil
	}
	if !ok {
		return store.Item{Key: it.Key}, fmt.Errorf("dynamodb: item with other attributes than a store's: %w", coffer.ErrCorrupt)
	}
	it.Version, it.Value = string(version), value
	return it, nil
}

// Get implements [store.DB].
func (db *DB) Get(ctx context.Context, k store.Key) (store.Item, error) {
	if err := store.ValidateKey(k); err != nil {
		return store.Item{}, err
	}
	a, err := db.get(ctx, k, "")
	if err != nil {
		return store.Item{}, err
	}
	if a == nil {
		return store.Item{}, fmt.Errorf("item: %w", coffer.ErrNotFound)
	}
	return decode(a)
}

// get returns the attributes of an item, or those that the projection names; nil if there is no item.
func (db *DB) get(ctx context.Context, k store.Key, projection string) (attributes, error) {
	in := &dynamodb.GetItemInput{
		TableName: &db.table, Key: keyOf(k), ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: db.report(),
	}
	if projection != "" {
		in.ProjectionExpression = &projection
	}
	var a attributes
	err := db.do(ctx, "GetItem", false, func(ctx context.Context) error {
		out, err := db.client.GetItem(ctx, in)
		if err != nil {
			return err
		}
		db.read(out.ConsumedCapacity)
		a = out.Item
		return nil
	})
	return a, err
}

// Query implements [store.DB]. A page is what DynamoDB reads at once, 1 MB.
func (db *DB) Query(ctx context.Context, part string, r store.Range) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidatePart(part); err != nil {
			yield(store.Item{}, err)
			return
		}
		if r.To != "" && r.From >= r.To {
			return
		}
		condition, values := keyCondition(part, r)
		in := &dynamodb.QueryInput{
			TableName: &db.table, KeyConditionExpression: &condition, ExpressionAttributeValues: values,
			ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!r.Reverse), ReturnConsumedCapacity: db.report(),
		}
		pages(yield, r, func() ([]attributes, bool, error) {
			var out *dynamodb.QueryOutput
			err := db.do(ctx, "Query", false, func(ctx context.Context) (err error) {
				out, err = db.client.Query(ctx, in)
				return err
			})
			if err != nil {
				return nil, false, err
			}
			db.read(out.ConsumedCapacity)
			in.ExclusiveStartKey = out.LastEvaluatedKey
			return out.Items, len(out.LastEvaluatedKey) > 0, nil
		})
	}
}

// keyCondition returns the condition for the items of the range, and perhaps a few beside it: DynamoDB takes one condition on the
// sort, whose bounds are inclusive if there are two, and no bound longer than a sort can be. A sort lies below a longer
// bound exactly when it does not lie above the bound's beginning of that length.
func keyCondition(part string, r store.Range) (string, attributes) {
	condition, values := attrPart+" = :part", attributes{":part": binaryOf(part)}
	bound := func(s string) types.AttributeValue { return binaryOf(s[:min(len(s), store.MaxSort)]) }
	switch {
	case r.From != "" && r.To != "":
		condition += " AND " + attrSort + " BETWEEN :from AND :to"
		values[":from"], values[":to"] = bound(r.From), bound(r.To)
	case r.From != "":
		condition += " AND " + attrSort + " >= :from"
		values[":from"] = bound(r.From)
	case r.To != "":
		condition += " AND " + attrSort + " <= :to"
		values[":to"] = bound(r.To)
	}
	return condition, values
}

// Scan implements [store.DB].
func (db *DB) Scan(ctx context.Context, shard, of int) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidateShard(shard, of); err != nil {
			yield(store.Item{}, err)
			return
		}
		in := &dynamodb.ScanInput{
			TableName: &db.table, Segment: aws.Int32(int32(shard)), TotalSegments: aws.Int32(int32(of)), // both at most MaxShards
			ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: db.report(),
		}
		pages(yield, store.Range{}, func() ([]attributes, bool, error) {
			var out *dynamodb.ScanOutput
			err := db.do(ctx, "Scan", false, func(ctx context.Context) (err error) {
				out, err = db.client.Scan(ctx, in)
				return err
			})
			if err != nil {
				return nil, false, err
			}
			db.read(out.ConsumedCapacity)
			in.ExclusiveStartKey = out.LastEvaluatedKey
			return out.Items, len(out.LastEvaluatedKey) > 0, nil
		})
	}
}

// pages yields the items within r of one page after the other, each fetched when the one before is used up.
func pages(yield func(store.Item, error) bool, r store.Range, next func() (page []attributes, more bool, err error)) {
	for more := true; more; {
		var page []attributes
		var err error
		if page, more, err = next(); err != nil {
			yield(store.Item{}, err)
			return
		}
		for _, a := range page {
			it, err := decode(a)
			if it.Key.Sort < r.From || r.To != "" && it.Key.Sort >= r.To {
				continue
			}
			if !yield(it, err) {
				return
			}
		}
	}
}
