package app

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/envelope/keyfile"
	"coffer/internal/durable"
	"coffer/remedy"
	"coffer/store"
	"coffer/store/sqlite"
)

// A backup is a folder:
//
//	manifest.json       what is in it: names, sizes, SHA-256 of the other files (all of them sealed, or holding no value)
//	manifest.mac        keyed hash of manifest.json under a key of the home
//	data.db             the data table, as it was at one moment; values sealed
//	config.yaml         the configuration, with paths inside the backup
//	policies/           the policies, where the configuration names a folder
//	identifiers/        custom data identifiers that stand in files of their own
//	originals/          kept originals, sealed
//	log/checkpoint      the checkpoint of the log; the log itself is in data.db
//	keys/               with keys: ring and header of the bundle, and the bundle: key table, keyring and log key, sealed by a passphrase
//
// Objects are not in it. Without keys it opens only where the home's key table and keyring are, so that what was purged stays
// unreadable in every backup.
const (
	backupFormat  = "coffer backup"
	backupVersion = 1
	manifestFile  = "manifest.json"
	maxManifest   = 64 << 20
)

var bundleContext = envelope.Context{"app": "coffer", "purpose": "backup"}

// Manifest says what a backup holds.
type Manifest struct {
	Format  string         `json:"format"`
	Version int            `json:"version"`
	Home    int            `json:"home"` // format of the home
	Created time.Time      `json:"created"`
	Keys    bool           `json:"keys"`
	Files   []ManifestFile `json:"files"`
}

// ManifestFile is one file of a backup.
type ManifestFile struct {
	Name   string `json:"name"` // with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// BackupOptions say what goes into a backup.
type BackupOptions struct {
	// Passphrase, if not empty, has the keys go into the backup too, sealed by it.
	Passphrase []byte
}

// Backup writes a consistent copy of the home into dir, which must not exist or be empty, while other processes may work on,
// and reads it back. The error of a backup that is not whole leaves what was written for a look; it has no manifest.
func (a *App) Backup(ctx context.Context, ask access.Ask, dir string, opt BackupOptions) (*Manifest, error) {
	permit, err := a.Guard.Check(ctx, ask.Caller, access.AdminBackup, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	for _, s := range []Spec{a.specs.store, a.specs.keys, a.specs.originals, a.specs.log} {
		if !s.Local() {
			return nil, fmt.Errorf("%s: is backed up where it is kept (of a table by point-in-time recovery, see `coffer doctor`); only a home in a folder can be backed up: %w", s.Scheme, coffer.ErrUnsupported)
		}
	}
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	var intent audit.Ref
	keys := len(opt.Passphrase) > 0
	if keys {
		intent, err = a.Remedy.RecordKeyBackup(ctx, permit)
	} else {
		e := permit.Entry(audit.Intent)
		e.Detail = map[string]string{"step": "backup", "keys": "false"}
		intent, err = a.Log.Append(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	m, err := a.copyTo(ctx, dir, opt)
	e := permit.Entry(audit.Done)
	if err != nil {
		e = permit.Entry(audit.Failed)
	}
	e.Intent, e.Detail = intent, map[string]string{"step": "backup", "keys": strconv.FormatBool(keys)}
	if m != nil {
		e.Detail["files"] = strconv.Itoa(len(m.Files))
	}
	if _, lerr := a.Log.Append(ctx, e); lerr != nil {
		err = errors.Join(err, lerr)
	}
	return m, err
}

// copyTo makes the backup whose intent is on record.
func (a *App) copyTo(ctx context.Context, dir string, opt BackupOptions) (*Manifest, error) {
	keys := len(opt.Passphrase) > 0
	b := &backup{a: a, dir: dir, m: Manifest{Format: backupFormat, Version: backupVersion, Home: HomeFormat, Created: a.Now().UTC(), Keys: keys}}
	if err := b.write(ctx, opt); err != nil {
		return nil, fmt.Errorf("backup %s: %w", dir, err)
	}
	if err := verifyFiles(dir, &b.m); err != nil {
		return nil, fmt.Errorf("backup %s was not written as it should: %w", dir, err)
	}
	text, err := json.MarshalIndent(b.m, "", "  ")
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	mac := hex.EncodeToString(a.MAC("backup", text)) + "\n"
	if err := durable.WriteFile(filepath.Join(dir, "manifest.mac"), []byte(mac), 0o600); err != nil {
		return nil, fmt.Errorf("backup %s: %w: %w", dir, coffer.ErrUnavailable, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, manifestFile), text, 0o600); err != nil {
		return nil, fmt.Errorf("backup %s: %w: %w", dir, coffer.ErrUnavailable, err)
	}
	return &b.m, nil
}

// emptyDir makes the folder if it is missing, and refuses one that holds something.
func emptyDir(dir string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder %s: %w: %w", dir, coffer.ErrUnavailable, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("folder %s: %w: %w", dir, coffer.ErrUnavailable, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("folder %s is not empty: %w", dir, coffer.ErrConflict)
	}
	return nil
}

// backup is one backup being written.
type backup struct {
	a   *App
	dir string
	m   Manifest
}

func (b *backup) write(ctx context.Context, opt BackupOptions) error {
	// The data before the keys and the originals: what the records of that moment need is then there, unless it was destroyed on
	// purpose meanwhile.
	if err := b.a.tables[0].Backup(ctx, filepath.Join(b.dir, "data.db")); err != nil {
		return err
	}
	if err := b.note("data.db"); err != nil {
		return err
	}
	if err := b.config(); err != nil {
		return err
	}
	for info, err := range b.a.Originals.List(ctx, b.a.Remedy.KeptIn(), "", "") {
		if err != nil {
			return err
		}
		if !filepath.IsLocal(filepath.FromSlash(info.Key)) {
			return fmt.Errorf("a kept original has a name that is no path: %w", coffer.ErrCorrupt)
		}
		body, err := b.a.Originals.Open(ctx, info.Object)
		if errors.Is(err, coffer.ErrNotFound) {
			continue // purged meanwhile
		}
		if err != nil {
			return err
		}
		err = b.add(path.Join("originals", info.Key), body)
		if cerr := body.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	if cp, err := b.a.Log.Checkpoint(); err == nil {
		if err := b.add("log/checkpoint", bytes.NewReader(cp)); err != nil {
			return err
		}
	} else if !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	if len(opt.Passphrase) > 0 {
		return b.keys(ctx, opt.Passphrase)
	}
	return nil
}

// config writes the configuration, and the files that it names, with paths inside the backup.
func (b *backup) config() error {
	c := b.a.Config
	c.Originals, c.Keys, c.Store, c.Passphrase = "", "", "", ""
	if dir := c.PolicyDir(b.a.Home); dir != "" {
		c.Policies = "policies"
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("policies: %w: %w", coffer.ErrUnavailable, err)
		}
		for _, e := range entries {
			if e.IsDir() || path.Ext(e.Name()) != ".cedar" {
				continue
			}
			if err := b.addFile("policies/"+e.Name(), filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	c.Identifiers = append([]Identifier(nil), c.Identifiers...)
	for i, id := range c.Identifiers {
		if id.File == "" {
			continue
		}
		c.Identifiers[i].File = fmt.Sprintf("identifiers/%d.json", i)
		if err := b.addFile(c.Identifiers[i].File, under(b.a.Home, id.File)); err != nil {
			return err
		}
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return b.add("config.yaml", bytes.NewReader(text))
}

// keys writes the key table, the keyring and the log's key, sealed by the passphrase.
func (b *backup) keys(ctx context.Context, pass []byte) error {
	// The copy of the key table stands beside the key table for a moment, where its content is anyway.
	tmp := filepath.Join(filepath.Dir(b.a.keyPath), ".keys-"+store.NewVersion()+".backup")
	defer func() { _ = os.Remove(tmp) }()
	if err := b.a.tables[1].Backup(ctx, tmp); err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Join(b.dir, "keys"), 0o700); err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	ring, err := keyfile.Create(filepath.Join(b.dir, "keys", "ring"), pass)
	if err != nil {
		return err
	}
	if err := b.note("keys/ring"); err != nil {
		return err
	}
	s, err := envelope.New(ctx, ring, bundleContext)
	if err != nil {
		return err
	}
	defer s.Wipe()
	if err := b.add("keys/header", bytes.NewReader(s.Header())); err != nil {
		return err
	}
	pr, pw := io.Pipe()
	go func() {
		w := s.Writer(pw, []byte("bundle"))
		err := b.bundle(w, tmp)
		if err == nil {
			err = w.Close()
		}
		pw.CloseWithError(err)
	}()
	err = b.add("keys/bundle", pr)
	_ = pr.Close() // ends the writer if add failed
	return err
}

// bundle writes what a home needs to be opened as a tar archive.
func (b *backup) bundle(w io.Writer, table string) error {
	t := tar.NewWriter(w)
	logKey := filepath.Join(filepath.Dir(b.a.keyPath), "log.key")
	for _, f := range []struct{ name, from string }{
		{"keys.db", table}, {"ring", b.a.keyPath}, {"log.key", logKey}, {"log.key.pub", logKey + ".pub"},
	} {
		body, err := os.ReadFile(f.from)
		if err != nil {
			return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
		}
		err = t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(body)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = t.Write(body)
		}
		clear(body)
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func (b *backup) addFile(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	return b.add(name, f)
}

// add writes one file of the backup.
func (b *backup) add(name string, r io.Reader) error {
	sum, n, err := writeNew(filepath.Join(b.dir, filepath.FromSlash(name)), r)
	if err != nil {
		return err
	}
	b.m.Files = append(b.m.Files, ManifestFile{name, n, sum})
	return nil
}

// note takes a file into the manifest that stands in the backup already.
func (b *backup) note(name string) error {
	sum, n, err := digestFile(filepath.Join(b.dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	b.m.Files = append(b.m.Files, ManifestFile{name, n, sum})
	return nil
}

// writeNew writes a new file, durably, and returns its SHA-256 and size.
func writeNew(name string, r io.Reader) (sum string, n int64, err error) {
	if err := durable.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return "", 0, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	h := sha256.New()
	n, err = io.Copy(io.MultiWriter(f, h), r)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(name))
	}
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func digestFile(name string) (sum string, n int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// verifyFiles compares the files of a backup with its manifest.
func verifyFiles(dir string, m *Manifest) error {
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return fmt.Errorf("a file of the manifest is outside the backup: %w", coffer.ErrCorrupt)
		}
		sum, n, err := digestFile(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing: %w", f.Name, coffer.ErrCorrupt)
		}
		if err != nil {
			return err
		}
		if n != f.Size || sum != f.SHA256 {
			return fmt.Errorf("%s is not what was backed up: %w", f.Name, coffer.ErrCorrupt)
		}
	}
	return nil
}

// RestoreOptions say where a backup goes and where the keys come from.
type RestoreOptions struct {
	Home       string // the new home; it must not exist or be empty
	Passphrase []byte // of the backup's keys, where it holds them
	KeysFrom   string // a home, or what is left of one, that has the key table and the keyring; instead of Passphrase
	Now        func() time.Time
}

// Restore makes a new home from the backup in dir and returns it, open. The files are compared with the manifest before, and
// the manifest with its keyed hash as soon as the home's keys are there; a backup that is not what was backed up gives an error
// wrapping coffer.ErrCorrupt and leaves no home. The log is made again from its entries and extends the checkpoint in the
// backup. What happened after the backup is not in the new home.
func Restore(ctx context.Context, dir string, opt RestoreOptions) (_ *App, err error) {
	raw, err := readLimited(filepath.Join(dir, manifestFile), maxManifest)
	if err != nil {
		return nil, fmt.Errorf("backup %s: no manifest, so it was not finished: %w", dir, err)
	}
	mac, err := readLimited(filepath.Join(dir, "manifest.mac"), 1<<10)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", dir, err)
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil || m.Format != backupFormat {
		return nil, fmt.Errorf("backup %s: manifest: %w", dir, coffer.ErrCorrupt)
	}
	if m.Version > backupVersion || m.Home > HomeFormat {
		return nil, fmt.Errorf("backup %s was made by a newer Coffer; upgrade: %w", dir, coffer.ErrUnsupported)
	}
	if m.Home < HomeFormat {
		return nil, fmt.Errorf("backup %s is of a home of format %d, from before the first release: %w", dir, m.Home, coffer.ErrUnsupported)
	}
	if err := verifyFiles(dir, &m); err != nil {
		return nil, fmt.Errorf("backup %s: %w", dir, err)
	}
	switch {
	case opt.KeysFrom == "" && !m.Keys:
		return nil, fmt.Errorf("the backup holds no keys; name the home that has them with --keys-from: %w", coffer.ErrInvalid)
	case opt.KeysFrom == "" && len(opt.Passphrase) == 0:
		return nil, fmt.Errorf("the keys in the backup are sealed; give the passphrase: %w", coffer.ErrInvalid)
	}
	if err := emptyDir(opt.Home); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(opt.Home) // it was empty
		}
	}()
	if opt.KeysFrom != "" {
		err = keysFrom(ctx, opt.KeysFrom, opt.Home)
	} else {
		err = keysOf(ctx, dir, opt)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	for _, f := range m.Files {
		to := f.Name
		switch {
		case f.Name == "data.db":
			to = "store/data.db"
		case strings.HasPrefix(f.Name, "keys/"):
			continue
		case strings.HasPrefix(f.Name, "originals/"):
			to = "originals/" + remedy.OriginalsBucket + "/" + strings.TrimPrefix(f.Name, "originals/")
		case f.Name == "log/checkpoint":
			to = "restored.checkpoint"
		}
		if err := copyFile(filepath.Join(opt.Home, filepath.FromSlash(to)), filepath.Join(dir, filepath.FromSlash(f.Name))); err != nil {
			return nil, err
		}
	}
	if err := durable.WriteFile(filepath.Join(opt.Home, "format"), []byte(strconv.Itoa(m.Home)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	a, err := Open(ctx, Options{Home: opt.Home, Now: opt.Now})
	if err != nil {
		return nil, fmt.Errorf("the restored home: %w", err)
	}
	defer func() {
		if err != nil {
			_ = a.Close()
		}
	}()
	want, herr := hex.DecodeString(strings.TrimSpace(string(mac)))
	if herr != nil || !hmac.Equal(a.MAC("backup", raw), want) {
		return nil, fmt.Errorf("backup %s: the manifest is not the one that this home's key signed: %w", dir, coffer.ErrCorrupt)
	}
	if err := a.Log.Sequence(ctx); err != nil {
		return nil, err
	}
	verify := audit.VerifyOptions{DB: a.DB, Key: a.Log.VerifierKey()}
	if cp, err := os.ReadFile(filepath.Join(opt.Home, "restored.checkpoint")); err == nil {
		verify.Checkpoint = cp
	}
	report, err := audit.Verify(ctx, a.LogFiles(), verify)
	if err != nil {
		return nil, err
	}
	return a, report.Err()
}

func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, coffer.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = coffer.ErrLimit
	}
	return b, err
}

func copyFile(to, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	_, _, err = writeNew(to, f)
	return err
}

// keysFrom copies key table, keyring and log key of another home, which may be in use.
func keysFrom(ctx context.Context, home, to string) error {
	c, err := ReadConfig(home)
	if err != nil {
		return err
	}
	s, err := specsOf(home, Options{}, c)
	if err != nil {
		return err
	}
	if s.store.Scheme != "sqlite" || s.keys.Scheme != "keyfile" {
		return fmt.Errorf("home %s does not keep its keys in a folder: %w", home, coffer.ErrUnsupported)
	}
	table, ring := filepath.Join(s.store.Name, "keys.db"), s.keys.Name
	if _, err := os.Stat(table); err != nil {
		return fmt.Errorf("%s: %w", table, coffer.ErrNotFound)
	}
	db, err := sqlite.Open(table)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := durable.MkdirAll(filepath.Join(to, "store"), 0o700); err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	if err := db.Backup(ctx, filepath.Join(to, "store", "keys.db")); err != nil {
		return err
	}
	logKey := filepath.Join(filepath.Dir(ring), "log.key")
	for name, from := range map[string]string{"ring": ring, "log.key": logKey, "log.key.pub": logKey + ".pub"} {
		if err := copyFile(filepath.Join(to, "keys", name), from); err != nil {
			return err
		}
	}
	return nil
}

// keysOf opens the keys in a backup.
func keysOf(ctx context.Context, dir string, opt RestoreOptions) error {
	ring, err := keyfile.Open(filepath.Join(dir, "keys", "ring"), opt.Passphrase)
	if err != nil {
		return err
	}
	header, err := readLimited(filepath.Join(dir, "keys", "header"), int64(envelope.MaxHeader))
	if err != nil {
		return err
	}
	o, err := envelope.Open(ctx, ring, header, bundleContext, envelope.ForReveal)
	if err != nil {
		return err
	}
	defer o.Wipe()
	f, err := os.Open(filepath.Join(dir, "keys", "bundle"))
	if err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	t := tar.NewReader(o.Reader(f, []byte("bundle")))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to, ok := map[string]string{
			"keys.db": "store/keys.db", "ring": "keys/ring", "log.key": "keys/log.key", "log.key.pub": "keys/log.key.pub",
		}[h.Name]
		if !ok {
			return fmt.Errorf("bundle of the keys: %w", coffer.ErrCorrupt)
		}
		if _, _, err := writeNew(filepath.Join(opt.Home, filepath.FromSlash(to)), t); err != nil {
			return err
		}
	}
}
