package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/grant"
	"coffer/store"
)

// tokenLetters are consonants: a token can neither spell a word nor hold a run of digits that a detector takes for a value.
const tokenLetters = "bcdfghjklmnpqrstvwxz"

// tokenPrefix marks a token, so that it is known for one wherever it turns up.
const tokenPrefix = "tok_"

// Token returns the token of a value: the same for the same value of a type everywhere in this installation, and without its
// keys not to be told from random letters. 22 letters carry 95 bits, so that no two values share one.
func (v *Vault) Token(t coffer.DataType, value []byte) string {
	norm := Normalise(value)
	defer clear(norm)
	sum := v.MAC("token:"+string(tokenFamily(t)), norm)
	var b strings.Builder
	b.WriteString(tokenPrefix)
	// Long division of the sum by the size of the alphabet: every letter depends on all of it.
	for range 22 {
		rem := 0
		for i := range sum {
			cur := rem<<8 | int(sum[i])
			sum[i] = byte(cur / len(tokenLetters))
			rem = cur % len(tokenLetters)
		}
		b.WriteByte(tokenLetters[rem])
	}
	return b.String()
}

// tokenFamily gives types that are one kind of value under two ids the same tokens.
func tokenFamily(t coffer.DataType) coffer.DataType {
	if t == coffer.CardNumberNoKeyword {
		return coffer.CardNumber
	}
	return t
}

// tokenRecord says where the value of a token is sealed.
type tokenRecord struct {
	Set Set             `json:"set"`
	N   int             `json:"n"`
	T   coffer.DataType `json:"type"`
	At  coffer.Location `json:"at"`
}

func tokenKey(token string) store.Key { return store.Key{Part: "T#" + token, Sort: "token"} }

// KeepTokens makes the tokens of sealed values reversible: it remembers where each value is sealed. It must be done before the
// values are replaced in an object.
func (v *Vault) KeepTokens(ctx context.Context, _ *audit.Permit, s Set, values []Value) error {
	seen := map[string]bool{}
	var ops []store.Op
	for _, val := range values {
		token := v.Token(val.Type, val.Plain.Expose())
		if seen[token] {
			continue
		}
		seen[token] = true
		b, err := json.Marshal(tokenRecord{s, val.N, val.Type, val.At})
		if err != nil {
			return err
		}
		ops = append(ops, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: tokenKey(token), Value: b, Version: store.NewVersion()}})
	}
	for batch := range slices.Chunk(ops, store.MaxOps) {
		if err := v.DB.Apply(ctx, batch...); err != nil {
			return fmt.Errorf("keep tokens: %w", err)
		}
	}
	return nil
}

// Detokenise opens the value behind a token. It is a reveal like any other: the policy is asked, and the entry is durable
// before the value is opened.
func (v *Vault) Detokenise(ctx context.Context, ask access.Ask, token string) (Revealed, error) {
	var none Revealed
	if !strings.HasPrefix(token, tokenPrefix) || len(token) != len(tokenPrefix)+22 {
		return none, fmt.Errorf("not a token: %w", coffer.ErrInvalid)
	}
	it, err := v.DB.Get(ctx, tokenKey(token))
	if err != nil {
		return none, v.hide(ctx, ask, access.ValueReveal, token, fmt.Errorf("token: %w", err))
	}
	var rec tokenRecord
	if err := json.Unmarshal(it.Value, &rec); err != nil {
		return none, fmt.Errorf("token: %w", coffer.ErrCorrupt)
	}
	res := access.Resource{Kind: access.Finding, ID: rec.Set.ID, Types: []coffer.DataType{rec.T}, Origins: []coffer.Origin{coffer.OriginOperator}}
	if f, err := v.Records.Get(ctx, rec.Set.ID); err == nil {
		res = f.Resource()
	} else if !errors.Is(err, coffer.ErrNotFound) {
		return none, err
	}
	act := grant.Act{Action: access.ValueReveal, Resource: res, Numbers: []int{rec.N}, Generation: rec.Set.Generation, Values: 1}
	permit, ref, err := v.intend(ctx, ask, act, func(e *audit.Entry) error {
		e.Occurrences, e.Detail = []int{rec.N}, map[string]string{"by": "token", "types": join([]coffer.DataType{rec.T})}
		return nil
	})
	if err != nil {
		return none, err
	}
	out := Revealed{Finding: rec.Set.ID, N: rec.N, Type: rec.T, At: rec.At}
	opener, err := v.open(ctx, rec.Set, forValues, envelope.ForReveal)
	if err == nil {
		out.Plain, err = v.openOne(ctx, source{rec.Set, rec.N}, opener, rec.T, rec.At)
		opener.Wipe()
	}
	if err2 := v.report(ctx, permit, ref, "", err, map[string]string{"by": "token"}, out); err2 != nil {
		err = errors.Join(err, err2)
	}
	if err != nil {
		out.Plain.Wipe()
		return none, err
	}
	return out, nil
}
