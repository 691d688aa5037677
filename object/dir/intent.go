//go:build unix && !aix && !solaris

package dir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"coffer"
)

// intent announces a stage or a delete, so that Sweep can finish it after a crash: the file stages/<id>, locked by its process
// for as long as that lives. It holds one JSON line, and a second one before names are changed.
type intent struct {
	id   string
	root *os.Root // the folder stages
	file *os.File
}

// announcement is a line of an intent.
type announcement struct {
	Key string `json:"key,omitempty"` // first line
	In  *ident `json:"in,omitempty"`  // second line: the file that is put at the name
	Out *ident `json:"out,omitempty"` // second line: the file that is expected to come out
}

func (in *intent) hidden() string { return stagePrefix + in.id }

// announce makes the intent for a change of the key.
func (d *Dir) announce(bucket, key string) (_ *intent, err error) {
	r, err := d.side(bucket+"/stages", true)
	if err != nil {
		return nil, err
	}
	for range 100 {
		in := &intent{id: randomID(), root: r}
		if in.file, err = r.OpenFile(in.id, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
			break
		}
		ok, lerr := tryLock(in.file)
		if err = lerr; err == nil && ok {
			// A sweep that came between the two calls may have taken the file for a left one.
			if _, serr := r.Lstat(in.id); serr == nil {
				if err = in.add(announcement{Key: key}); err == nil {
					err = syncDir(r)
				}
				if err == nil {
					return in, nil
				}
				_ = r.Remove(in.id)
			}
		}
		in.file.Close()
		if err != nil {
			break
		}
	}
	r.Close()
	if err == nil {
		err = fmt.Errorf("swept all the time: %w", coffer.ErrUnavailable)
	}
	return nil, err
}

func (in *intent) add(a announcement) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := in.file.Write(append(b, '\n')); err != nil {
		return err
	}
	return in.file.Sync()
}

// done withdraws the intent: nothing of it is left on disk.
func (in *intent) done() error {
	err := in.root.Remove(in.id)
	in.drop()
	return err
}

// drop lets go of the intent and leaves it, if it is not done, to Sweep. Calling it again is harmless.
func (in *intent) drop() {
	in.file.Close()
	in.root.Close()
}

// Sweep implements [object.Store]. A stage whose process lives is left alone, whatever its age: its intent is locked. A file
// that is neither the staged one nor the one that the stage was to replace belongs to somebody else and is put back.
func (d *Dir) Sweep(ctx context.Context, age time.Duration) (int, error) {
	n := 0
	for b, err := range d.List(ctx, "", "", "") {
		if err != nil {
			return n, err
		}
		k, err := d.sweepBucket(ctx, b.Bucket, age)
		n += k
		if err != nil {
			return n, fail("sweep", err)
		}
	}
	return n, nil
}

func (d *Dir) sweepBucket(ctx context.Context, bucket string, age time.Duration) (int, error) {
	r, err := d.side(bucket+"/stages", false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := r.Open(".")
	if err != nil {
		return 0, err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range names {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		ok, err := d.sweepOne(ctx, r, bucket, id, age)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

func (d *Dir) sweepOne(ctx context.Context, stages *os.Root, bucket, id string, age time.Duration) (bool, error) {
	f, s, err := openRegular(stages, id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	if time.Since(time.Unix(0, s.mtim)) < age {
		return false, nil
	}
	if ok, err := tryLock(f); err != nil || !ok {
		return false, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return false, err
	}
	// A line that a power cut has cut off was not acted upon.
	var a announcement
	for line := range bytes.Lines(b) {
		var l announcement
		if json.Unmarshal(line, &l) != nil {
			break
		}
		if l.Key != "" {
			a.Key = l.Key
		}
		if l.Out != nil {
			a.In, a.Out = l.In, l.Out
		}
	}
	if a.Key != "" {
		unlock, err := d.lock(ctx, bucket, a.Key)
		if err != nil {
			return false, err
		}
		defer unlock()
		p, err := d.locate(bucket, a.Key, false)
		if err == nil {
			defer p.close()
			if err = d.finish(p, stagePrefix+id, a); err == nil {
				err = syncDir(p.parent())
			}
			if err == nil {
				p.prune()
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if err := stages.Remove(id); err != nil {
		return false, err
	}
	return true, nil
}

// finish brings the names of an interrupted stage or delete in order: what is Coffer's goes, what is not gets its name back.
func (d *Dir) finish(p *place, hidden string, a announcement) error {
	r := p.parent()
	is := func(name string, id *ident) bool {
		s, err := lstat(r, name)
		return err == nil && id != nil && s.mode.IsRegular() && s.ident() == *id
	}
	third := hidden + thirdSuffix
	if _, err := r.Lstat(third); err == nil {
		// Cut short in the three-name exchange. Without a file at the name the exchange has not happened.
		if _, err := r.Lstat(p.base); errors.Is(err, fs.ErrNotExist) || !is(third, a.Out) {
			if is(p.base, a.In) {
				if err := r.Remove(p.base); err != nil {
					return err
				}
			}
			if err := p.putBack(third); err != nil {
				return err
			}
		} else if err := r.Remove(third); err != nil {
			return err
		}
	}
	if _, err := r.Lstat(hidden); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if a.Out == nil || is(hidden, a.In) || is(hidden, a.Out) {
		return r.Remove(hidden)
	}
	if is(p.base, a.In) {
		if err := d.swap(r, hidden, p.base); err != nil {
			return err
		}
		if is(hidden, a.In) {
			return r.Remove(hidden)
		}
	}
	return p.putBack(hidden)
}
