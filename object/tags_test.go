package object_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer"
	"coffer/object"
	"coffer/object/mem"
)

func TestCheckTags(t *testing.T) {
	long := func(s string, n int) string { return strings.Repeat(s, n) }
	for name, c := range map[string]struct {
		tag coffer.Tag
		ok  bool
	}{
		"plain":              {coffer.Tag{Key: "coffer:state", Value: "sealed"}, true},
		"all characters":     {coffer.Tag{Key: "a1 +-=._:/@", Value: "a1 +-=._:/@"}, true},
		"letters":            {coffer.Tag{Key: "größe", Value: "日本 Ⅷ"}, true},
		"empty value":        {coffer.Tag{Key: "k"}, true},
		"longest":            {coffer.Tag{Key: long("é", 128), Value: long("é", 256)}, true},
		"longest in UTF-16":  {coffer.Tag{Key: long("𝐀", 64), Value: long("𝐀", 128)}, true},
		"too long in UTF-16": {coffer.Tag{Key: long("𝐀", 65)}, false},
		"long key":           {coffer.Tag{Key: long("k", 129)}, false},
		"long value":         {coffer.Tag{Key: "k", Value: long("v", 257)}, false},
		"no key":             {coffer.Tag{Value: "v"}, false},
		"comma":              {coffer.Tag{Key: "k", Value: "a,b"}, false},
		"asterisk":           {coffer.Tag{Key: "k*"}, false},
		"newline":            {coffer.Tag{Key: "k", Value: "a\nb"}, false},
		"emoji":              {coffer.Tag{Key: "😀"}, false},
		"not UTF-8":          {coffer.Tag{Key: "k", Value: "\xc3"}, false},
		"replacement":        {coffer.Tag{Key: "k", Value: "\ufffd"}, false},
		"reserved":           {coffer.Tag{Key: "AWS:x"}, false},
	} {
		err := object.CheckTags([]coffer.Tag{c.tag})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(c.tag.Value) > 2 && strings.Contains(err.Error(), c.tag.Value) {
			t.Errorf("%s: the error repeats the value", name)
		}
	}
}

// TestMergeTags: the union, with ours on top, in a stable order, or ErrLimit exactly if it does not fit.
func TestMergeTags(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-l]`)
		value := rapid.StringMatching(`[0-9]{0,2}`)
		var have []coffer.Tag
		union := map[string]string{}
		for _, k := range rapid.SliceOfNDistinct(name, 0, object.MaxTags, rapid.ID).Draw(t, "have") {
			have = append(have, coffer.Tag{Key: k, Value: value.Draw(t, "value")})
			union[k] = have[len(have)-1].Value
		}
		before := append([]coffer.Tag(nil), have...)
		ours := rapid.MapOfN(name, value, 0, 6).Draw(t, "ours")
		maps.Copy(union, ours)
		got, err := object.MergeTags(have, ours)
		if (len(union) > object.MaxTags) != errors.Is(err, coffer.ErrLimit) || err != nil && got != nil {
			t.Fatalf("%d tags in the union: %v", len(union), err)
		}
		if fmt.Sprint(have) != fmt.Sprint(before) {
			t.Fatal("have was modified")
		}
		if err != nil {
			return
		}
		if err := object.CheckTags(got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(union) {
			t.Fatalf("%d tags, want %d", len(got), len(union))
		}
		for i, g := range got {
			if v, ok := union[g.Key]; !ok || v != g.Value {
				t.Fatalf("tag %d is not of the union", i)
			}
			if i < len(have) && g.Key != have[i].Key || i > len(have) && g.Key < got[i-1].Key {
				t.Fatalf("tag %d is out of order", i)
			}
		}
		again, err := object.MergeTags(got, ours)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatal("a second merge changes something")
		}
	})
}

func TestMergeTagsFull(t *testing.T) {
	var have []coffer.Tag
	for i := range 9 {
		have = append(have, coffer.Tag{Key: fmt.Sprint(i)})
	}
	_, err := object.MergeTags(have, map[string]string{"a": "", "b": "", "8": ""})
	if !errors.Is(err, coffer.ErrLimit) || !strings.Contains(err.Error(), "tag set full: 9 of 10 tags are there, 2 more are needed") {
		t.Error(err)
	}
	if _, err := object.MergeTags(nil, map[string]string{"a": "b;c"}); !errors.Is(err, coffer.ErrInvalid) {
		t.Error(err)
	}
}

// contended is a storage on which another tagger acts after the n-th call of Tag.
type contended struct {
	*mem.Store
	calls int
	act   func(call int)
}

func (c *contended) Tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	err := c.Store.Tag(ctx, o, tags)
	c.calls++
	c.act(c.calls)
	return err
}

func TestRetag(t *testing.T) {
	open := func(tags ...coffer.Tag) (*contended, coffer.Object) {
		s := mem.New()
		s.CreateBucket("b")
		return &contended{Store: s, act: func(int) {}}, s.Foreign().Put("b", "k", []byte("body"), object.Attrs{Tags: tags})
	}
	ours := map[string]string{"coffer:state": "sealed", "coffer:kinds": "card"}
	has := func(s *contended, o coffer.Object, want ...string) {
		t.Helper()
		info, err := s.Stat(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, g := range info.Attrs.Tags {
			keys = append(keys, g.Key)
		}
		if fmt.Sprint(keys) != fmt.Sprint(want) {
			t.Errorf("tags %v, want %v", keys, want)
		}
	}

	s, o := open(coffer.Tag{Key: "team"})
	for range 3 {
		if err := object.Retag(t.Context(), s, o, ours); err != nil {
			t.Fatal(err)
		}
	}
	has(s, o, "team", "coffer:kinds", "coffer:state")
	if s.calls != 1 {
		t.Errorf("%d writes for one effect", s.calls)
	}

	// Another tagger, who read before us, writes over our tags twice. Nothing of either is missing in the end.
	s, o = open(coffer.Tag{Key: "team"})
	s.act = func(call int) {
		if call <= 2 {
			s.Foreign().Tag("b", "k", []coffer.Tag{{Key: "team"}, {Key: "theirs"}})
		}
	}
	if err := object.Retag(t.Context(), s, o, ours); err != nil {
		t.Fatal(err)
	}
	has(s, o, "team", "theirs", "coffer:kinds", "coffer:state")

	// One who never stops.
	s, o = open()
	s.act = func(int) { s.Foreign().Tag("b", "k", nil) }
	if err := object.Retag(t.Context(), s, o, ours); !errors.Is(err, coffer.ErrConflict) || s.calls > 10 {
		t.Errorf("%v after %d writes", err, s.calls)
	}

	// The object changes meanwhile.
	s, o = open()
	s.act = func(int) { s.Foreign().Put("b", "k", []byte("other"), object.Attrs{}) }
	if err := object.Retag(t.Context(), s, o, ours); !errors.Is(err, coffer.ErrChanged) {
		t.Error(err)
	}
	has(s, coffer.Object{Bucket: "b", Key: "k"})
}
