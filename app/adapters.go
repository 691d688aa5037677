package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"coffer"
	"coffer/envelope/keyfile"
	"coffer/internal/durable"
	"coffer/object"
	"coffer/object/dir"
	"coffer/remedy"
	"coffer/store"
	"coffer/store/sqlite"
)

// specs are the parts of an installation.
type specs struct{ objects, originals, keys, store, log Spec }

// specsOf returns the parts that the options and the configuration name. Paths of the options are relative to the working directory,
// those of the configuration to the home.
func specsOf(home string, opt Options, c Config) (s specs, err error) {
	here, err := os.Getwd()
	if err != nil {
		return s, fmt.Errorf("working directory: %w: %w", coffer.ErrUnavailable, err)
	}
	for _, part := range []struct {
		role, flag, config string
		to                 *Spec
	}{
		{"objects", opt.Objects, c.Objects, &s.objects},
		{"originals", opt.Originals, c.Originals, &s.originals},
		{"keys", opt.Keys, c.Keys, &s.keys},
		{"store", opt.Store, c.Store, &s.store},
		{"log", opt.Log, c.Log, &s.log},
	} {
		text, base := part.config, home
		if part.flag != "" {
			text, base = part.flag, here
		}
		spec, err := ParseSpec(part.role, text)
		if err != nil {
			return s, err
		}
		*part.to = spec.from(base)
	}
	return s, nil
}

// adapters opens what the specs name.
func (a *App) adapters(ctx context.Context) (ad Adapters, err error) {
	need := parts[a.role]
	if ad.DB, ad.Headers, err = a.stores(ctx); err != nil {
		return ad, err
	}
	if ad.Keys, err = a.keeper(ctx); err != nil {
		return ad, err
	}
	if !need.log {
		return ad, nil
	}
	if ad.Log, ad.LogKey, err = a.openLogFiles(ctx); err != nil {
		return ad, err
	}
	if ad.Macie, err = a.openMacie(ctx); err != nil {
		return ad, err
	}
	if ad.Objects = (unreached{"objects"}); need.objects {
		if ad.Objects, ad.Remember, err = a.storage(ctx, a.specs.objects); err != nil {
			return ad, err
		}
		a.Dir, _ = ad.Objects.(*dir.Dir)
	} else if f := a.Config.Looker; f != "" {
		if ad.Objects, err = a.openLooker(ctx, f); err != nil {
			return ad, err
		}
	}
	if f := a.Config.Verifier; f != "" && need.verifies {
		spec, err := ParseSpec("verifier", f)
		if err != nil {
			return ad, err
		}
		if ad.Verifier, err = a.openFunction(ctx, spec); err != nil {
			return ad, err
		}
	}
	if ad.Originals = (unreached{"kept originals"}); need.originals {
		err = a.openOriginals(ctx, &ad)
	}
	return ad, err
}

// openOriginals opens the storage of the kept originals.
func (a *App) openOriginals(ctx context.Context, ad *Adapters) (err error) {
	if ad.Originals, ad.RememberOriginals, err = a.storage(ctx, a.specs.originals); err != nil {
		return err
	}
	if d, ok := ad.Originals.(*dir.Dir); ok {
		return d.CreateBucket(ctx, remedy.OriginalsBucket)
	}
	ad.OriginalsIn = a.specs.originals.Name
	return originalsFit(ctx, ad.Originals, ad.OriginalsIn)
}

// storage opens a storage of objects. remember, where not nil, is to be given its journal of uploads.
func (a *App) storage(ctx context.Context, s Spec) (_ object.Store, remember func(object.Journal), err error) {
	if s.Scheme == "s3" {
		st, err := a.openS3(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		return st, st.Remember, nil
	}
	if err := durable.MkdirAll(s.Name, 0o700); err != nil {
		return nil, nil, fmt.Errorf("folder %s: %w: %w", s.Name, coffer.ErrUnavailable, err)
	}
	d, err := dir.Open(s.Name)
	if err != nil {
		return nil, nil, err
	}
	a.closers = append(a.closers, d.Close)
	return d, nil, nil
}

// stores opens the data table and the key table. The key table is apart, so that a backup of the data can leave it out.
func (a *App) stores(ctx context.Context) (db, headers store.DB, err error) {
	open := func(name string) (store.DB, error) { return a.openDynamo(ctx, a.specs.store, name) }
	names := []string{a.specs.store.Name, KeyTable(a.specs.store.Name)}
	if a.specs.store.Scheme == "sqlite" {
		dir := a.specs.store.Name
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("store: %w: %w", coffer.ErrUnavailable, err)
		}
		names = []string{"data.db", "keys.db"}
		open = func(name string) (store.DB, error) {
			t, err := sqlite.Open(filepath.Join(dir, name))
			if err == nil {
				a.tables = append(a.tables, t)
			}
			return t, err
		}
	}
	for i, to := range []*store.DB{&db, &headers} {
		t, err := open(names[i])
		if err != nil {
			return nil, nil, err
		}
		a.closers = append(a.closers, t.Close)
		*to = t
	}
	return db, headers, nil
}

// ring opens the keyring, and makes it on first use.
func (a *App) ring() (*keyfile.Ring, error) {
	a.keyPath = a.specs.keys.Name
	if err := durable.MkdirAll(filepath.Dir(a.keyPath), 0o700); err != nil {
		return nil, fmt.Errorf("keys: %w: %w", coffer.ErrUnavailable, err)
	}
	if a.Config.Passphrase != "" {
		b, err := os.ReadFile(under(a.Home, a.Config.Passphrase))
		if err != nil {
			return nil, fmt.Errorf("passphrase file: %w: %w", coffer.ErrUnavailable, err)
		}
		a.pass, _, _ = bytes.Cut(b, []byte("\n"))
	} else if p := os.Getenv("COFFER_PASSPHRASE"); p != "" {
		a.pass = []byte(p)
	}
	return keyfile.OpenOrCreate(a.keyPath, a.pass)
}
