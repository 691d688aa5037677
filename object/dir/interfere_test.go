//go:build unix && !aix && !solaris

package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coffer"
	"coffer/object"
)

const (
	oldBytes = "old bytes"
	newBytes = "new bytes"
	foreignA = "foreign A" // all of one length, so that size tells nothing
	foreignB = "foreign B"
)

// world is a folder with one bucket and one object, and another program that writes into it.
type world struct {
	t    testing.TB
	root string
	d    *Dir
	key  string
	path string
	// written are the bytes that the other program put, in order, that it has not itself overwritten or removed since.
	written []string
	changed bool // it has changed anything at all
}

func newWorld(t testing.TB, noExchange bool) *world {
	// In memory where there is such a folder: what is tested are names, and syncing thousands of files takes its time.
	root, err := os.MkdirTemp("/dev/shm", "coffer-dir-test-")
	if err != nil {
		root = t.TempDir()
	}
	d, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	d.noExchange = noExchange
	w := &world{t: t, root: root, d: d, key: "a/b.csv", path: filepath.Join(root, "bucket", "a", "b.csv")}
	w.check(d.CreateBucket(t.Context(), "bucket"))
	return w
}

func (w *world) close() {
	w.check(errors.Join(w.d.Close(), os.RemoveAll(w.root)))
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) object() coffer.Object { return coffer.Object{Bucket: "bucket", Key: w.key} }

func (w *world) put(body string) coffer.Object {
	w.t.Helper()
	st, err := w.d.Stage(w.t.Context(), w.object(), object.Attrs{}, fill(body))
	w.check(err)
	o, err := st.Commit(w.t.Context())
	w.check(err)
	return o
}

func fill(body string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, body); return err }
}

// current returns the bytes at the object's name, "" if there are none.
func (w *world) current() string {
	b, err := os.ReadFile(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	w.check(err)
	return string(b)
}

// everywhere returns the bytes of all files in the bucket, hidden ones apart.
func (w *world) everywhere() (visible, hidden []string) {
	w.check(filepath.WalkDir(filepath.Join(w.root, "bucket"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if strings.HasPrefix(e.Name(), reserved) {
			hidden = append(hidden, string(b))
		} else {
			visible = append(visible, string(b))
		}
		return err
	}))
	return visible, hidden
}

// interference is what another program does at one moment.
var interference = map[string]func(*world){
	"replace":   func(w *world) { w.foreignReplace(foreignA) },
	"replace B": func(w *world) { w.foreignReplace(foreignB) },
	"replace twice": func(w *world) {
		w.foreignReplace(foreignA)
		w.foreignReplace(foreignB)
	},
	"append": func(w *world) {
		f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_APPEND, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		w.check(err)
		_, err = f.WriteString(foreignA)
		w.check(errors.Join(err, f.Close()))
		w.written, w.changed = []string{foreignA}, true
	},
	"remove": func(w *world) {
		if err := os.Remove(w.path); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			w.check(err)
			w.written, w.changed = nil, true
		}
	},
	"create": func(w *world) {
		f, err := os.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return
		}
		w.check(err)
		_, err = f.WriteString(foreignB)
		w.check(errors.Join(err, f.Close()))
		w.written, w.changed = append(w.written, foreignB), true
	},
	"folder": func(w *world) {
		if err := os.Remove(w.path); !errors.Is(err, fs.ErrNotExist) {
			w.check(err)
			w.written, w.changed = nil, true
		}
		w.check(os.Mkdir(w.path, 0o755))
		w.check(os.WriteFile(filepath.Join(w.path, "inside"), []byte(foreignB), 0o644))
		w.written, w.changed = append(w.written, foreignB), true
	},
}

func (w *world) foreignReplace(body string) {
	w.check(os.WriteFile(w.path+"~", []byte(body), 0o644))
	if err := os.Rename(w.path+"~", w.path); err != nil { // a folder of "folder" stands there
		w.check(os.Remove(w.path + "~"))
		return
	}
	w.written, w.changed = []string{body}, true
}

// crash ends a call in the middle, as a kill would; locks and descriptors are let go by hand.
type crash struct{}

// TestInterference lets another program act at every moment of a commit and a delete, once or twice, with and without an
// exchange of names, with and without versions, and with the process dying at a later moment. In the end no byte of the other
// program is missing, and if Coffer says that it committed, what it replaced was what it had compared.
func TestInterference(t *testing.T) {
	runs := 0
	steps := []string{"prepared", "exchanged", "moved away", "linked"}
	for _, op := range []string{"commit", "create", "delete", "purge"} {
		for _, noExchange := range []bool{false, true} {
			for _, versioned := range []bool{false, true} {
				if op == "purge" && !versioned {
					continue
				}
				for _, at := range steps {
					for name, act := range interference {
						for _, then := range []string{"", "replace B", "remove"} {
							if runs%4 == 0 { // the others die somewhere; what they do before is the same
								interfereOnce(t, op, noExchange, versioned, at, name, act, then, "")
								runs++
							}
							interfereOnce(t, op, noExchange, versioned, at, name, act, then, steps[runs%len(steps)])
							runs++
						}
					}
				}
			}
		}
	}
	t.Logf("%d runs", runs)
}

func interfereOnce(t *testing.T, op string, noExchange, versioned bool, at, name string, act func(*world), then, die string) {
	w := newWorld(t, noExchange)
	ctx := t.Context()
	defer w.close()
	if versioned { // as SetVersioning does, without its 64 locks
		side, err := w.d.side("bucket", true)
		w.check(err)
		w.check(writeFile(side, "versioning", []byte(`[{"at":1,"on":true}]`)))
		w.check(side.Close())
	}
	what := fmt.Sprintf("%s, exchange %v, versioned %v: %s at %q, then %q, dying at %q", op, !noExchange, versioned, name, at, then, die)
	defer func() {
		if t.Failed() {
			t.Logf("in: %s", what)
		}
	}()
	var o coffer.Object
	if op == "create" {
		w.check(os.MkdirAll(filepath.Dir(w.path), 0o755))
	} else {
		o = w.put(oldBytes)
	}
	if op == "purge" { // of the current version, with one below that comes back
		st, err := w.d.Stage(ctx, o, object.Attrs{}, fill(newBytes))
		w.check(err)
		o, err = st.Commit(ctx)
		w.check(err)
	}
	acted, early := 0, false
	w.d.step = func(step string) {
		switch {
		case acted == 0 && step == at:
			acted = 1
			act(w)
			early = w.changed && at == "prepared"
		case acted == 1 && then != "": // at whatever comes next
			acted = 2
			interference[then](w)
		}
		if step == die {
			panic(crash{})
		}
	}
	committed, died := false, false
	func() {
		var st object.Staged
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(crash); !ok {
					panic(r)
				}
				died = true
				if st != nil {
					st.(*staged).intent.drop()
				}
			}
		}()
		var err error
		switch op {
		case "delete":
			_, err = w.d.Delete(ctx, w.objectWith(o))
		case "purge":
			_, err = w.d.Delete(ctx, o)
		default:
			if st, err = w.d.Stage(ctx, w.objectWith(o), object.Attrs{}, fill(newBytes)); err != nil {
				w.t.Fatal(err)
			}
			if _, err = st.Commit(ctx); err != nil {
				w.check(st.Abort(ctx))
			}
		}
		committed = err == nil
		if err != nil && !errors.Is(err, coffer.ErrConflict) && !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("error %v", err)
		}
	}()
	w.d.step = func(string) {}
	if died {
		// A new process; the old one's descriptors, and with them its locks, are gone.
		d, err := Open(w.root)
		w.check(err)
		defer d.Close()
		d.noExchange = noExchange
		if _, err := d.Sweep(ctx, 0); err != nil {
			t.Errorf("sweep: %v", err)
		}
	}
	visible, hidden := w.everywhere()
	if len(hidden) > 0 {
		t.Errorf("%d hidden files are left", len(hidden))
	}
	all := strings.Join(visible, "\n")
	for _, b := range w.written {
		if !strings.Contains(all, b) {
			t.Errorf("bytes of the other program are lost")
		}
	}
	if !w.changed && !died && !committed {
		t.Errorf("a conflict without another writer")
	}
	if committed && early && op != "create" {
		t.Errorf("committed over another program's write")
	}
	if len(visible) == 0 && !w.changed && op != "delete" && (died && op == "commit") {
		t.Errorf("a crash lost the object")
	}
	if acted == 2 && then == "replace B" && !committed && !died && !noExchange && len(w.written) == 1 &&
		w.written[0] == foreignB && w.current() != foreignB {
		t.Errorf("the newest of two foreign writes is not the current one")
	}
	if versioned && !w.changed {
		// Each body once, whatever was interrupted, and each under an id of its own.
		var bodies []string
		ids := map[string]bool{}
		for v, err := range w.d.Versions(ctx, w.object()) {
			w.check(err)
			ids[v.VersionID] = true
			body := "marker"
			if !v.Marker {
				b, err := w.d.Open(ctx, v.Object)
				w.check(err)
				got, err := io.ReadAll(b)
				w.check(errors.Join(err, b.Close()))
				body = string(got)
			}
			bodies = append(bodies, body)
		}
		got := strings.Join(bodies, ",")
		after := map[string]string{"commit": newBytes + "," + oldBytes, "create": newBytes, "delete": "marker," + oldBytes, "purge": oldBytes}[op]
		before := map[string]string{"commit": oldBytes, "delete": oldBytes, "purge": newBytes + "," + oldBytes}[op]
		if got != after && (got != before || committed) || len(ids) != len(bodies) {
			t.Errorf("versions %s under %d ids", got, len(ids))
		}
	}
	for _, b := range visible {
		if strings.Contains(b, oldBytes[:4]) && strings.Contains(b, newBytes[:4]) {
			t.Errorf("mixed bytes")
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (w *world) objectWith(o coffer.Object) coffer.Object {
	k := w.object()
	k.ETag = o.ETag
	return k
}
