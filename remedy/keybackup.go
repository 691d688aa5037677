package remedy

import (
	"context"
	"fmt"
	"time"

	"coffer/audit"
	"coffer/store"
)

// A backup of the key table outlives a purge: whoever holds it, the keyring and an old copy of the data can open what the purge
// made unreadable here. So every such backup is on record, and a purged plan names those that reach back before its end.
//
//	BK  <time>  a backup of the keys was begun

// RecordKeyBackup records that a backup of the key table is about to be made. It must have succeeded before the table is copied.
// The permit is that of the backup; the entry is its intent.
func (m *Remedy) RecordKeyBackup(ctx context.Context, permit *audit.Permit) (audit.Ref, error) {
	e := permit.Entry(audit.Intent)
	e.Detail = map[string]string{"step": "backup", "keys": "true"}
	return m.Guard.Log.Apply(ctx, e, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: store.Key{Part: "BK", Sort: m.Now().UTC().Format(time.RFC3339Nano)}, Value: []byte("keys"), Version: store.NewVersion()}})
}

// keyBackups names the backups of the key table with which what the purge of p destroyed can be opened still.
func (m *Remedy) keyBackups(ctx context.Context, p *Plan) ([]string, error) {
	if p.KeyGone.IsZero() {
		return nil, nil
	}
	var out []string
	for it, err := range m.DB.Query(ctx, "BK", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("backups of the keys: %w", err)
		}
		at, err := time.Parse(time.RFC3339Nano, it.Key.Sort)
		if err != nil || at.After(p.KeyGone) || !p.ValuesGone && at.Before(p.Started) {
			continue
		}
		out = append(out, "backup of the keys of "+at.Format(time.RFC3339)+": with it and a copy of the data of that time the kept original can be opened")
	}
	return out, nil
}
