package keyfile_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/envelopetest"
	"coffer/envelope/keyfile"
)

var testContext = envelope.Context{"app": "coffer", "finding": "01"}

func TestMain(m *testing.M) {
	if path := os.Getenv("KEYFILE_TEST_PATH"); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

// child opens or creates the key file and prints what it wrapped under its key.
func child(path string) int {
	r, err := keyfile.OpenOrCreate(path, nil)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	dk, err := r.Generate(context.Background(), testContext)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(dk); err != nil {
		return 1
	}
	return 0
}

func TestKeys(t *testing.T) {
	for name, pass := range map[string][]byte{"plain": nil, "passphrase": []byte("correct horse")} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			var shared *keyfile.Ring
			envelopetest.Test(t, func(t *testing.T) envelope.Keys {
				if pass != nil && shared != nil {
					return shared // a passphrase costs a quarter of a second; the plain file is opened anew each time
				}
				r, err := keyfile.OpenOrCreate(path, pass)
				if err != nil {
					t.Fatal(err)
				}
				shared = r
				return r
			})
		})
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	if _, err := keyfile.Open(path, nil); !errors.Is(err, coffer.ErrNotFound) {
		t.Fatalf("no file: %v", err)
	}
	a, err := keyfile.Create(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Create(path, nil); !errors.Is(err, coffer.ErrConflict) {
		t.Fatalf("created twice: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Fatal("a refused Create changed the file")
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyfile.Open(path, nil); !errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := keyfile.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b)
	if _, err := keyfile.Open(dir, nil); err == nil {
		t.Error("opened a folder")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files, want the key file alone", len(entries))
	}
}

// exchange demands that b unwraps what a wraps.
func exchange(t *testing.T, a, b envelope.Keys) {
	t.Helper()
	dk, err := a.Generate(t.Context(), testContext)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range dk.Wrapped {
		if got, err := b.Unwrap(t.Context(), w, testContext); err != nil || !bytes.Equal(got.Key, dk.Key) {
			t.Fatalf("recipient %s: %v", w.Recipient, err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	path, plain := filepath.Join(dir, "keys"), filepath.Join(dir, "plain")
	pass := []byte("synthetic passphrase")
	a, err := keyfile.Create(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Create(plain, nil); err != nil {
		t.Fatal(err)
	}
	b, err := keyfile.Open(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b)
	for _, c := range []struct {
		path string
		pass string
	}{{path, ""}, {path, "Synthetic passphrase"}, {path, "synthetic passphrase "}, {plain, "synthetic passphrase"}} {
		if r, err := keyfile.Open(c.path, []byte(c.pass)); !errors.Is(err, coffer.ErrUnavailable) || r != nil {
			t.Errorf("opened, or %v", err)
		} else if c.pass != "" && strings.Contains(err.Error(), c.pass) {
			t.Error("the error holds the passphrase")
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"reveal", "verify", "ring", string(pass)} {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("the wrapped file holds %q", word)
		}
	}
}

// TestDamage: every changed byte of a key file is noticed, unless the file means the same.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	a, err := keyfile.Create(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	try := func(b []byte, what string) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := keyfile.Open(path, nil)
		switch {
		case err == nil:
			same++
			exchange(t, a, r) // white space, the time of creation, the case of a field's name
			exchange(t, r, a)
		case !errors.Is(err, coffer.ErrCorrupt) && !errors.Is(err, coffer.ErrUnsupported):
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range whole {
		for _, flip := range []byte{1, 2, 0x20} {
			b := bytes.Clone(whole)
			b[i] ^= flip
			try(b, "flip")
		}
	}
	if same > len(whole) {
		t.Errorf("%d of %d changes went unnoticed", same, 3*len(whole))
	}
	for i := range len(whole) - 1 {
		try(whole[:i], "cut")
	}
	for what, b := range map[string][]byte{
		"behind":        append(bytes.Clone(whole), "{}"...),
		"null":          []byte("null"),
		"array":         []byte("[]"),
		"unknown field": bytes.Replace(whole, []byte(`"version"`), []byte(`"more": 1, "version"`), 1),
		"no ring":       []byte(`{"format":"coffer keyfile","version":1}`),
		"version 0":     bytes.Replace(whole, []byte(`"version": 1`), []byte(`"version": 0`), 1),
		"other format":  bytes.Replace(whole, []byte(`coffer keyfile`), []byte(`coffer keys`), 1),
		"large":         append(bytes.Clone(whole), bytes.Repeat([]byte(" "), 1<<20)...),
		"weak kdf":      []byte(`{"format":"coffer keyfile","version":1,"passphrase":{"kdf":"PBKDF2-HMAC-SHA-256","iterations":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="},"sealed":"AAAA"}`),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		pass := []byte(nil)
		if what == "weak kdf" {
			pass = []byte("p")
		}
		if _, err := keyfile.Open(path, pass); !errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	newer := []byte(`{"format":"coffer keyfile","version":2,"something":"new"}`)
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Open(path, nil); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("newer: %v", err)
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	first, err := keyfile.Create(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	rings := make([]*keyfile.Ring, 4)
	for i := range rings {
		wg.Go(func() {
			r, err := keyfile.Open(path, nil)
			if err == nil {
				_, err = r.Rotate(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	wg.Wait()
	now, err := keyfile.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	// No rotation lost another's key, the first one still opens what it sealed, and every ring that is open follows.
	keys := list(t, now, "stranger")
	if len(keys) != 6 || keys[5].ID != "stranger" || keys[5].State != envelope.NotConfigured {
		t.Fatalf("keys: %+v", keys)
	}
	keys = keys[:5]
	current := keys[4].ID
	for _, r := range append(rings, first, now) {
		exchange(t, r, now)
		exchange(t, now, r)
		dk, err := r.Generate(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if dk.Wrapped[0].KeyID != current {
			t.Error("an open ring wraps under a key of before")
		}
		old := slices.Clone(dk.Wrapped)
		old[1].KeyID = keys[0].ID
		if !r.Current(dk.Wrapped) || r.Current(old) || r.Current(dk.Wrapped[:1]) || r.Current(nil) {
			t.Error("what is wrapped by the current key alone is not told from the rest")
		}
	}
	for i, k := range keys {
		if last := i == 4; k.Current != last || k.Superseded.IsZero() != last || k.Created.IsZero() {
			t.Errorf("key %d of %d: %+v", i, len(keys), k)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Rotate(t.Context()); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("rotated what is not there: %v", err)
	}
}

// TestRetire: a retired key is gone from the file and from every open ring that looks, and no other is touched.
func TestRetire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	pass := []byte("correct horse")
	old, err := keyfile.Create(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	dk, err := old.Generate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	now, err := keyfile.Open(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := now.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := old.Wrap(t.Context(), dk.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := list(t, now)
	for id, want := range map[string]error{keys[1].ID: coffer.ErrConflict, "none": coffer.ErrNotFound} {
		if err := now.Retire(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("retire %s: %v", id, err)
		}
	}
	if err := now.Retire(t.Context(), keys[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*keyfile.Ring{old, now} {
		if left := list(t, r); len(left) != 1 || left[0].ID != keys[1].ID || !left[0].Current {
			t.Errorf("keys: %+v", left)
		}
		if _, err := r.Unwrap(t.Context(), dk.Wrapped[0], nil); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("what the retired key wraps: %v", err)
		}
		if got, err := r.Unwrap(t.Context(), again[0], nil); err != nil || !bytes.Equal(got.Key, dk.Key) {
			t.Errorf("what the current key wraps: %v", err)
		}
	}
	// A file that cannot be read any more takes nothing away from who has it open.
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := now.Unwrap(t.Context(), again[0], nil); err != nil || !bytes.Equal(got.Key, dk.Key) {
		t.Errorf("after damage of the file: %v", err)
	}
}

// TestProcesses: several processes that start at once on an empty home have the same keys.
func TestProcesses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		path := filepath.Join(t.TempDir(), "keys")
		var wg sync.WaitGroup
		out := make([]envelope.DataKey, 5)
		for i := range out {
			wg.Go(func() {
				cmd := exec.Command(exe, "-test.run=^$")
				cmd.Env = append(os.Environ(), "KEYFILE_TEST_PATH="+path)
				b, err := cmd.Output()
				if err == nil {
					err = json.Unmarshal(b, &out[i])
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		r, err := keyfile.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, dk := range out {
			if got, err := r.Unwrap(t.Context(), dk.Wrapped[0], testContext); err != nil || !bytes.Equal(got.Key, dk.Key) {
				t.Fatalf("a process had a key of its own: %v", err)
			}
		}
	}
}

// TestVectors opens the key files of ../testdata/vectors.json, which a script made from the specification.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		KeyFile struct {
			Plain, Wrapped, Passphrase, Current string
			Context                             envelope.Context
			DataKeys                            []struct{ Recipient, Provider, KeyID, Blob, DataKey string }
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	f := v.KeyFile
	for _, c := range []struct{ file, pass string }{{f.Plain, ""}, {f.Wrapped, f.Passphrase}} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := keyfile.Open(path, []byte(c.pass))
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range f.DataKeys {
			blob, _ := hex.DecodeString(d.Blob)
			w := envelope.Wrapped{Recipient: d.Recipient, Provider: d.Provider, KeyID: d.KeyID, Blob: blob}
			if got, err := r.Unwrap(t.Context(), w, f.Context); err != nil || hex.EncodeToString(got.Key) != d.DataKey {
				t.Errorf("data key %d: %v", i, err)
			}
		}
		if len(f.DataKeys) != 4 {
			t.Errorf("%d data keys", len(f.DataKeys))
		}
		dk, err := r.Generate(t.Context(), nil)
		if err != nil || dk.Wrapped[0].KeyID != f.Current {
			t.Errorf("the current key is another one: %v", err)
		}
	}
}

// FuzzOpen: no file makes Open panic, and no file but a key file with whole keys opens.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "keys")
	if _, err := keyfile.Create(path, nil); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":"coffer keyfile","version":1,"ring":{"current":"","keys":[]}}`))
	f.Add([]byte(`{"format":"coffer keyfile","version":1,"ring":{"current":"x","keys":[{"id":"x","reveal":"","verify":""}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := keyfile.Open(path, nil)
		if err == nil {
			exchange(t, r, r)
		} else if r != nil {
			t.Error("an error and keys")
		}
	})
}

func list(t *testing.T, r *keyfile.Ring, named ...string) []envelope.WrappingKey {
	t.Helper()
	keys, err := r.List(t.Context(), named...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
