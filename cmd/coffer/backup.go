package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"coffer"
	"coffer/app"
	"coffer/check"

	"golang.org/x/term"
)

type backupCmd struct {
	Dir            string `arg:"" help:"New folder for the backup."`
	WithKeys       bool   `help:"Put the keys in too, sealed by a passphrase."`
	PassphraseFile string `help:"File whose first line is the passphrase; else COFFER_BACKUP_PASSPHRASE, else it is asked for." placeholder:"FILE"`
}

// Help is the long help of the command.
func (backupCmd) Help() string {
	return `A backup holds findings, sealed values, kept originals, the log, configuration and policies; objects it does not hold. Others may
work meanwhile.

Without keys a backup opens only together with the home's key table and keyring, so that a purge stays final: it destroys the key
here, and no backup brings it back. Keep the keyring safe in another way. With --with-keys a backup can be opened by whoever has the
passphrase, also what is purged later; certificates name such backups.`
}

func (c *backupCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	var opt app.BackupOptions
	if c.WithKeys {
		if opt.Passphrase, err = e.passphrase(c.PassphraseFile, true); err != nil {
			return err
		}
	}
	m, err := a.Backup(e.ctx, e.ask(), c.Dir, opt)
	if err != nil {
		return err
	}
	size := int64(0)
	for _, f := range m.Files {
		size += f.Size
	}
	if e.JSON {
		return e.out.element(map[string]any{"backup": c.Dir, "created": m.Created, "keys": m.Keys, "files": len(m.Files), "bytes": size})
	}
	e.out.say("Backed up %s of %d bytes to %s and read them back.", plural(len(m.Files), "file"), size, safe(c.Dir))
	if !m.Keys {
		e.out.say("The keys are not in it: restoring needs the key table and the keyring of this home (--keys-from).")
	}
	return nil
}

// minPassphrase is the least number of bytes of a passphrase for keys that leave the machine.
const minPassphrase = 12

// passphrase reads the passphrase of a backup.
func (e *env) passphrase(file string, fresh bool) ([]byte, error) {
	var b []byte
	var err error
	switch env := os.Getenv("COFFER_BACKUP_PASSPHRASE"); {
	case file != "":
		if b, err = readFile(file, 4<<10); err != nil {
			return nil, fmt.Errorf("passphrase file: %w: %w", coffer.ErrUnavailable, err)
		}
	case env != "":
		b = []byte(env)
	default:
		f, ok := e.stdin.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) || e.JSON {
			return nil, usage("give the passphrase of the keys with --passphrase-file or COFFER_BACKUP_PASSPHRASE")
		}
		if b, err = e.secret("passphrase: "); err != nil {
			return nil, err
		}
		if fresh {
			again, err := e.secret("once more: ")
			if err != nil {
				return nil, err
			}
			if !bytes.Equal(b, again) {
				return nil, errors.Join(usage("the two passphrases differ"))
			}
		}
	}
	b, _, _ = bytes.Cut(b, []byte("\n"))
	b = bytes.TrimSuffix(b, []byte("\r"))
	if fresh && len(b) < minPassphrase {
		return nil, usage("a passphrase for keys has at least %d bytes", minPassphrase)
	}
	return b, nil
}

type restoreCmd struct {
	Dir            string `arg:"" type:"existingdir" help:"Folder of the backup."`
	KeysFrom       string `help:"Home that has the key table and the keyring, when the backup holds no keys." type:"existingdir" placeholder:"HOME"`
	PassphraseFile string `help:"File whose first line is the passphrase of the keys; else COFFER_BACKUP_PASSPHRASE, else it is asked for." placeholder:"FILE"`
}

// Help is the long help of the command.
func (restoreCmd) Help() string {
	return "--home names the new home, which must not exist or be empty. It is checked when it is there. Anything that happened after the " +
		"backup, purges included, is not in it; compare the log with a later checkpoint to see how much that is. A keyring with a passphrase " +
		"of its own is opened with COFFER_PASSPHRASE; name its passphraseFile in the new config.yaml afterwards."
}

func (c *restoreCmd) Run(e *env) error {
	home, err := e.home()
	if err != nil {
		return err
	}
	opt := app.RestoreOptions{Home: home, KeysFrom: c.KeysFrom}
	if c.KeysFrom == "" {
		if opt.Passphrase, err = e.passphrase(c.PassphraseFile, false); err != nil {
			return err
		}
	}
	a, err := app.Restore(e.ctx, c.Dir, opt)
	if err != nil {
		return err
	}
	e.app = a
	if e.caller, err = a.Operator(); err != nil {
		return err
	}
	p := e.out.progress("check")
	r, err := check.Run(e.ctx, a.CheckParts(), e.ask(), check.Options{Age: time.Hour, Progress: func(_ string, n int) { p.at(n, 0) }})
	p.end()
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"home": home, "check": r})
	}
	e.out.say("Restored %s with %s and %s.", safe(home), plural(r.Findings, "finding"), plural(r.Values, "sealed value"))
	for _, v := range r.Violations {
		e.out.say("VIOLATED %s", safe(v.String()))
	}
	if len(r.Violations) > 0 {
		return &quietError{}
	}
	e.out.say("Every invariant holds.")
	return nil
}
