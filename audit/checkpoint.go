package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/internal/durable"
)

// Checkpoint is the state of the log to which its key has signed: the first Size entries have the Merkle root Root.
type Checkpoint struct {
	Origin string // name of the log, also of its key
	Size   int64
	Root   tlog.Hash
}

const checkpointFile = "checkpoint"

// maxCheckpoint bounds a checkpoint with its signatures, those of witnesses included.
const maxCheckpoint = 16 << 10

// Key is the key that signs the log, Ed25519 in the form of https://c2sp.org/signed-note. A process without it can record and read
// and verify, and leaves the order of the entries to others.
type Key struct {
	signer   note.Signer // nil: only the public half is known
	verifier note.Verifier
	public   string // the verifier key's text form
}

// NewKey makes a key and returns it and its secret text form, for [ParseKey].
func NewKey() (*Key, string, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	secret, _, err := note.GenerateKey(rand.Reader, "coffer/log/"+hex.EncodeToString(b[:]))
	if err != nil {
		return nil, "", fmt.Errorf("making the log's signing key: %w", err)
	}
	k, err := ParseKey(secret)
	return k, secret, err
}

// KeyFile reads the signing key at path, or makes one, mode 0600. Its public half is kept beside it, with ".pub" added to the name.
func KeyFile(path string) (*Key, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, secret, gerr := NewKey()
		if gerr != nil {
			return nil, gerr
		}
		err = durable.Create(path, []byte(secret+"\n"), 0o600)
		if err == nil || errors.Is(err, fs.ErrExist) { // of several processes one is first
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the log's signing key: %w", err)
	}
	k, err := ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	if err := durable.Create(path+".pub", []byte(k.public+"\n"), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("the log's verifier key: %w", err)
	}
	return k, nil
}

// PublicKey returns a key of which only the public half is known, from its text form.
func PublicKey(text string) (*Key, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("the log's verifier key is malformed: %w", coffer.ErrCorrupt)
	}
	return &Key{verifier: v, public: text}, nil
}

// Public returns the public half in its text form, which [PublicKey] and [Verify] take.
func (k *Key) Public() string { return k.public }

// ParseKey returns the key with this secret text form. Its errors wrap [coffer.ErrCorrupt] and repeat nothing of it.
func ParseKey(skey string) (*Key, error) {
	bad := fmt.Errorf("the log's signing key is malformed: %w", coffer.ErrCorrupt)
	k := &Key{}
	var err error
	if k.signer, err = note.NewSigner(skey); err != nil {
		return nil, bad // the package's error could repeat the key
	}
	// PRIVATE+KEY+name+hash+key; the last field is base64 and may hold plus signs itself.
	f := strings.SplitN(skey, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(f[len(f)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, bad
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return nil, bad
	}
	if k.public, err = note.NewEd25519VerifierKey(k.signer.Name(), public); err != nil {
		return nil, bad
	}
	if k.verifier, err = note.NewVerifier(k.public); err != nil {
		return nil, bad
	}
	return k, nil
}

// VerifierKey returns the public key that verifies the log's checkpoints, in the text form that [Verify] takes.
func (l *Log) VerifierKey() string { return l.sequencer.key.public }

// Checkpoint returns the log's current signed checkpoint as it stands in the folder, for somebody else to keep; an error wrapping
// [coffer.ErrNotFound] while there is none.
func (l *Log) Checkpoint() ([]byte, error) {
	b, err := readBounded(l.sequencer.files, checkpointFile, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("checkpoint: %w", coffer.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	return b, nil
}

// Size returns how many entries are under the log's current checkpoint; 0 while there is none.
func (l *Log) Size() (int64, error) {
	msg, err := readBounded(l.sequencer.files, checkpointFile, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var cp Checkpoint
	if err == nil {
		cp, err = openCheckpoint(msg, l.sequencer.key.verifier)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the checkpoint: %w", err)
	}
	return cp.Size, nil
}

// sign returns the signed note of a checkpoint.
func (k *Key) sign(size int64, root tlog.Hash) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", k.signer.Name(), size, root)
	b, err := note.Sign(&note.Note{Text: text}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("signing the checkpoint: %w", err)
	}
	return b, nil
}

// openCheckpoint verifies a signed checkpoint. Its errors wrap [coffer.ErrCorrupt].
func openCheckpoint(msg []byte, key note.Verifier) (Checkpoint, error) {
	bad := func(what string) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("checkpoint: %s: %w", what, coffer.ErrCorrupt)
	}
	if len(msg) > maxCheckpoint {
		return bad("too long")
	}
	n, err := note.Open(msg, note.VerifierList(key))
	if err != nil {
		return bad("no valid signature by " + key.Name())
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 { // lines behind the third are extensions
		return bad("malformed")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return bad("malformed size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return bad("malformed root")
	}
	if lines[0] != key.Name() {
		return bad("of another log")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// splitCheckpoints finds the signed notes in what somebody kept: one of them, an anchor file, or several files together. What is
// no note (a line torn by a crash) comes as one too and fails to verify.
func splitCheckpoints(b []byte) [][]byte {
	var notes [][]byte
	var cur []byte
	signed, blank := false, false
	end := func() {
		if len(cur) > 0 {
			notes = append(notes, cur)
		}
		cur, signed, blank = nil, false, false
	}
	for line := range bytes.Lines(b) {
		text := bytes.TrimSuffix(line, []byte("\n"))
		isSignature := bytes.HasPrefix(text, []byte("— "))
		switch {
		case len(text) == 0 && (len(cur) == 0 || signed || blank):
			end()
		case len(text) == 0:
			blank = true
			cur = append(cur, '\n')
		case blank && isSignature:
			signed = true
			cur = append(append(cur, text...), '\n')
		default:
			if blank {
				end()
			}
			cur = append(append(cur, text...), '\n')
		}
	}
	end()
	return notes
}

// anchor appends a checkpoint to the file at path unless its end holds it already.
func anchor(path string, checkpoint []byte) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("anchoring the checkpoint: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("anchoring the checkpoint: %w", cerr)
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("anchoring the checkpoint: %w", err)
	}
	tail := make([]byte, min(fi.Size(), 4*maxCheckpoint))
	if _, err := f.ReadAt(tail, fi.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("anchoring the checkpoint: %w", err)
	}
	if bytes.Contains(tail, checkpoint) {
		return nil
	}
	line := append(bytes.Clone(checkpoint), '\n')
	if len(tail) > 0 && !bytes.HasSuffix(tail, []byte("\n\n")) {
		line = append([]byte("\n\n"), line...) // a line torn by a crash ends here
	}
	if _, err := f.Write(line); err != nil {
		return fmt.Errorf("anchoring the checkpoint: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("anchoring the checkpoint: %w", err)
	}
	return nil
}
