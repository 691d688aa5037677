// Package jobtest has what tests of packages above package job need of it.
package jobtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"coffer/store"
)

// LoseAnswers leaves every attempt in the store as a process does that died between the act and the record of its answer: begun, and
// without an answer. It returns how many answers it took away. Errors are the store's.
func LoseAnswers(ctx context.Context, db store.DB) (int, error) {
	n := 0
	for it, err := range db.Scan(ctx, 0, 1) {
		if err != nil {
			return n, err
		}
		if !strings.HasPrefix(it.Key.Part, "K#") || it.Key.Sort != "answer" {
			continue
		}
		var attempt map[string]json.RawMessage
		if err := json.Unmarshal(it.Value, &attempt); err != nil {
			return n, fmt.Errorf("an attempt: %w", err)
		}
		if attempt["answer"] == nil {
			continue
		}
		delete(attempt, "answer")
		begun, err := json.Marshal(attempt)
		if err != nil {
			return n, err
		}
		op := store.Op{Verb: store.Put, Expect: it.Version, Item: store.Item{Key: it.Key, Value: begun, Version: store.NewVersion(), Expires: it.Expires}}
		if err := db.Apply(ctx, op); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
