package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// maxName is the number of bytes of a name that are kept.
const maxName = 200

// Person returns the name behind a pseudonymous id, as it was when the person last acted; an error wrapping
// [coffer.ErrNotFound] when there is none or it was deleted. Reading names is part of [access.AuditRead].
func (l *Log) Person(ctx context.Context, id string) (string, error) {
	if !access.ValidID(id) {
		return "", fmt.Errorf("person's id: %w", coffer.ErrInvalid)
	}
	it, err := l.db.Get(ctx, personKey(id))
	if err != nil {
		return "", fmt.Errorf("reading a person's name: %w", err)
	}
	return string(it.Value), nil
}

// Forget deletes the name behind a pseudonymous id; the entries stay, and stay verifiable. It needs a permit for
// [access.AdminPerson] and is itself recorded. The name is written again when the person acts again.
func (l *Log) Forget(ctx context.Context, p *Permit, id string) error {
	if p == nil || p.action != access.AdminPerson || !access.ValidID(id) {
		return fmt.Errorf("deleting a person's name: %w", coffer.ErrInvalid)
	}
	e := p.Entry(Done)
	e.Detail = map[string]string{"person": id}
	made, err := l.line(&e)
	if err != nil {
		return fmt.Errorf("deleting a person's name: %w", err)
	}
	r := &request{own: true, lines: []line{made}, ops: []store.Op{{Verb: store.Delete, Item: store.Item{Key: personKey(id)}, Expect: store.Any}}}
	if err := l.do(ctx, r); err != nil {
		return fmt.Errorf("deleting a person's name: %w", err)
	}
	l.mu.Lock()
	delete(l.named, id)
	l.mu.Unlock()
	return nil
}

func personKey(id string) store.Key { return store.Key{Part: partPeople, Sort: id} }

// nameOp returns the operation that keeps the caller's name, or nil when it is kept already or there is none. A failure to look
// is no reason to hold up the entry: the name is then kept with a later one.
func (l *Log) nameOp(ctx context.Context, c access.Caller) *store.Op {
	name := cleanName(c.Name)
	if name == "" {
		return nil
	}
	l.mu.Lock()
	known, ok := l.named[c.ID]
	l.mu.Unlock()
	if ok && known == name {
		return nil
	}
	if it, err := l.db.Get(ctx, personKey(c.ID)); err == nil && string(it.Value) == name {
		l.remember(c)
		return nil
	}
	return &store.Op{
		Verb:   store.Put,
		Item:   store.Item{Key: personKey(c.ID), Value: []byte(name), Version: rand.Text()},
		Expect: store.Any,
	}
}

// remember notes that the caller's name is kept.
func (l *Log) remember(c access.Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.named) > 10_000 {
		clear(l.named)
	}
	l.named[c.ID] = cleanName(c.Name)
}

func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}
