package object

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"coffer"
)

// MaxKey is S3's limit on the length of a key, in bytes of its UTF-8 form.
const MaxKey = 1024

// CheckKey reports whether S3 could hold an object of this key: 1 to [MaxKey] bytes of UTF-8. Its errors wrap
// coffer.ErrInvalid and do not repeat the key. An adapter may be able to hold fewer keys.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("empty key: %w", coffer.ErrInvalid)
	case len(key) > MaxKey:
		return fmt.Errorf("key of %d bytes, S3 allows %d: %w", len(key), MaxKey, coffer.ErrInvalid)
	case !utf8.ValidString(key):
		return fmt.Errorf("key is not UTF-8: %w", coffer.ErrInvalid)
	}
	return nil
}

// CheckTags reports whether S3 would take these tags as an object's tag set: at most [MaxTags], keys unique and not empty,
// no key in the reserved namespace "aws:", lengths and characters within S3's limits. Its errors wrap coffer.ErrInvalid and
// name a tag by its position alone.
//
// Source: S3 User Guide, "Categorizing your objects using tags". S3 holds tags as UTF-16, so that a character outside the
// basic plane counts as two; the character set is the pattern [\p{L}\p{Z}\p{N}_.:/=+\-@] of the tagging APIs.
func CheckTags(tags []coffer.Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%d tags, S3 allows %d: %w", len(tags), MaxTags, coffer.ErrInvalid)
	}
	for i, t := range tags {
		if err := checkTag(t); err != nil {
			return fmt.Errorf("tag %d: %w", i+1, err)
		}
		for _, u := range tags[:i] {
			if u.Key == t.Key {
				return fmt.Errorf("tag %d: key stands twice: %w", i+1, coffer.ErrInvalid)
			}
		}
	}
	return nil
}

func checkTag(t coffer.Tag) error {
	switch {
	case t.Key == "":
		return fmt.Errorf("empty key: %w", coffer.ErrInvalid)
	case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
		return fmt.Errorf("key in the reserved namespace aws: %w", coffer.ErrInvalid)
	}
	if err := checkTagText("key", t.Key, MaxTagKey); err != nil {
		return err
	}
	return checkTagText("value", t.Value, MaxTagValue)
}

func checkTagText(what, s string, limit int) error {
	n := 0
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return fmt.Errorf("%s is not UTF-8: %w", what, coffer.ErrInvalid)
			}
		}
		if !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r) {
			return fmt.Errorf("%s holds a character that S3 does not allow: %w", what, coffer.ErrInvalid)
		}
		n++
		if r > 0xFFFF {
			n++
		}
	}
	if n > limit {
		return fmt.Errorf("%s of %d characters, S3 allows %d: %w", what, n, limit, coffer.ErrInvalid)
	}
	return nil
}

// MergeTags returns the tag set have with ours laid over it: a key that both hold takes our value in its place, the others
// of have stay as they are and where they are, and the rest of ours follows in order of key. A foreign tag is never given
// up to make room: if the union does not fit, the error wraps coffer.ErrLimit and says how many tags stand there and how
// many would have to be added. A tag of ours that S3 would refuse gives coffer.ErrInvalid. have is not modified.
func MergeTags(have []coffer.Tag, ours map[string]string) ([]coffer.Tag, error) {
	for k, v := range ours {
		if err := checkTag(coffer.Tag{Key: k, Value: v}); err != nil {
			return nil, fmt.Errorf("merging tags: %w", err)
		}
	}
	merged := make([]coffer.Tag, 0, len(have)+len(ours))
	placed := make(map[string]bool, len(ours))
	for _, t := range have {
		if v, ok := ours[t.Key]; ok {
			t.Value = v
			placed[t.Key] = true
		}
		merged = append(merged, t)
	}
	for _, k := range slices.Sorted(maps.Keys(ours)) {
		if !placed[k] {
			merged = append(merged, coffer.Tag{Key: k, Value: ours[k]})
		}
	}
	if len(merged) > MaxTags {
		return nil, fmt.Errorf("tag set full: %d of %d tags are there, %d more are needed: %w",
			len(have), MaxTags, len(merged)-len(have), coffer.ErrLimit)
	}
	return merged, nil
}

// retagAttempts bounds how often Retag starts again after another tagger wrote over its tags.
const retagAttempts = 5

// Retag lays ours over the tags of the version that o names and makes sure that they stand there: it reads the tags, merges
// (see [MergeTags]), writes, and reads again. If another tagger's write has taken ours away in the meantime it merges with
// what that tagger left, a few times; then it gives up with an error wrapping coffer.ErrConflict. If our tags stand there
// already nothing is written, so that a repeated call has one effect.
//
// Tag sets cannot be written conditionally, in S3 or elsewhere. What remains is the time between the read and the write of
// one attempt: a tag that another program adds in it is lost, and nobody can see it afterwards. Callers that share an object
// must take turns (Coffer's pipeline holds a lease per object).
//
// Errors are those of Stat, Tag and MergeTags. After an error it is open whether the tags were written; calling again is safe.
func Retag(ctx context.Context, rt interface {
	Reader
	Tagger
}, o coffer.Object, ours map[string]string) error {
	for range retagAttempts {
		info, err := rt.Stat(ctx, o)
		if err != nil {
			return fmt.Errorf("reading tags: %w", err)
		}
		if holds(info.Attrs.Tags, ours) {
			return nil
		}
		merged, err := MergeTags(info.Attrs.Tags, ours)
		if err != nil {
			return err
		}
		if err := rt.Tag(ctx, o, merged); err != nil {
			return fmt.Errorf("writing tags: %w", err)
		}
		if info, err = rt.Stat(ctx, o); err != nil {
			return fmt.Errorf("reading tags back: %w", err)
		}
		if holds(info.Attrs.Tags, ours) {
			return nil
		}
	}
	return fmt.Errorf("tags were overwritten by another writer %d times: %w", retagAttempts, coffer.ErrConflict)
}

// holds reports whether every tag of ours stands in have.
func holds(have []coffer.Tag, ours map[string]string) bool {
	n := 0
	for _, t := range have {
		if v, ok := ours[t.Key]; ok && v == t.Value {
			n++
		}
	}
	return n == len(ours)
}
