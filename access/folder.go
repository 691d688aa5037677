package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"coffer"
)

const (
	// look is how often a folder is looked at, at most.
	look = time.Second
	// settled is how long the files of a folder must have been left alone before a change of them is taken in: an editor or a copy
	// that is half done can leave a set that is valid and lacks a forbid.
	settled = 2 * time.Second
)

// Folder is a folder of policies that is followed when its files change. A permission that is taken away there is gone within 5 s of
// the last change. Concurrent use is safe.
type Folder struct {
	dir fs.FS

	mu      sync.Mutex
	policy  *Policy
	said    bool      // the set in force was given to report
	looked  time.Time // when the folder was looked at last
	refused string    // hash of the content that was refused last
	err     error     // why
}

// Follow loads the policies in dir, or the default set when dir is nil, as [Load] does, and follows them.
func Follow(dir fs.FS) (*Folder, error) {
	p, err := Load(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{dir: dir, policy: p}, nil
}

// Policy returns the policies in force, without looking at the folder.
func (f *Folder) Policy() *Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.policy
}

// Err returns why what is in the folder now is not in force; nil when it is.
func (f *Folder) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Current returns the policies in force at now. It reads the folder once a second at most and takes in what changed there once
// the files have been left alone for two. Before a set decides anything, report is told: at the first call with old nil, later
// with the set that it replaces. A set that cannot be read or is not valid is given to report as an error, once, with now nil, and
// is not taken in. When report fails Current does too; the next call tries again.
func (f *Folder) Current(now time.Time, report func(old, now *Policy, err error) error) (*Policy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.said {
		if err := report(nil, f.policy, nil); err != nil {
			return nil, err
		}
		f.said = true
	}
	// A clock that was put back must not stop the looking.
	if f.dir == nil || !f.looked.IsZero() && now.Sub(f.looked) < look && !now.Before(f.looked) {
		return f.policy, nil
	}
	hash, changed, err := fingerprint(f.dir)
	switch {
	case err == nil && hash == f.policy.hash:
		f.looked, f.refused, f.err = now, "", nil
		return f.policy, nil
	case err == nil && now.Sub(changed) < settled && now.Sub(changed) > -settled:
		f.looked = now
		return f.policy, nil
	}
	var next *Policy
	if err == nil {
		next, err = Load(f.dir)
	}
	if err == nil && next.hash != hash {
		return f.policy, nil // changed while it was read
	}
	if err != nil {
		if hash == "" {
			hash = err.Error()
		}
		if hash == f.refused {
			f.looked = now
			return f.policy, nil
		}
		if rerr := report(f.policy, nil, err); rerr != nil {
			return nil, rerr
		}
		f.looked, f.refused, f.err = now, hash, err
		return f.policy, nil
	}
	if err := report(f.policy, next, nil); err != nil {
		return nil, err
	}
	f.looked, f.refused, f.err, f.policy = now, "", nil, next
	return f.policy, nil
}

// fingerprint returns the hash that a set with these files has, and when the folder or one of its files was changed last.
func fingerprint(dir fs.FS) (hash string, changed time.Time, err error) {
	at := func(info fs.FileInfo, err error) error {
		if err == nil && info.ModTime().After(changed) {
			changed = info.ModTime()
		}
		return err
	}
	if err := at(fs.Stat(dir, ".")); err != nil {
		return "", changed, fmt.Errorf("looking at the policy folder: %w", err)
	}
	text, err := embedded.ReadFile(path.Join("policies", schemaFile))
	if err != nil {
		return "", changed, err
	}
	h := sha256.New()
	part(h, text)
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return "", changed, fmt.Errorf("reading the policy folder: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() || path.Ext(e.Name()) != ".cedar" })
	if len(entries) > MaxPolicyFiles {
		return "", changed, fmt.Errorf("policy folder of more than %d files: %w", MaxPolicyFiles, coffer.ErrLimit)
	}
	for _, e := range entries {
		if err := at(fs.Stat(dir, e.Name())); err != nil {
			return "", changed, fmt.Errorf("looking at policy file %s: %w", e.Name(), err)
		}
		body, err := readFile(dir, e.Name())
		if err != nil {
			return "", changed, err
		}
		part(h, []byte(e.Name()))
		part(h, body)
	}
	return hex.EncodeToString(h.Sum(nil)), changed, nil
}
