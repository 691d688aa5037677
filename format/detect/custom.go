package detect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"coffer"
)

// Custom is a custom data identifier, with Macie's meaning and limits (CreateCustomDataIdentifier).
type Custom struct {
	// Name is what the type is called in Coffer; required, unique in a set, at most 128 characters.
	Name string `json:"name" yaml:"name"`
	// ID is the identifier's id in Macie, by which findings name it; may be empty.
	ID string `json:"id,omitempty" yaml:"id,omitempty"`
	// Regex is what a value looks like: at most 512 characters of the syntax of package regexp, which covers Macie's. ^ and $
	// mean the beginning and end of the text.
	Regex string `json:"regex" yaml:"regex"`
	// Keywords are up to 50 words of 3 to 90 characters, one of which has to precede a match, whatever its case, in the text or
	// anywhere in the name; none: no keyword is asked for.
	Keywords []string `json:"keywords,omitempty" yaml:"keywords,omitempty"`
	// IgnoreWords are up to 10 words of 4 to 90 characters; a match that holds one, in the same case, does not count.
	IgnoreWords []string `json:"ignoreWords,omitempty" yaml:"ignoreWords,omitempty"`
	// MaximumMatchDistance is how many characters may lie between the end of a keyword and the end of the match: 1 to 300; 0
	// means Macie's default of 50.
	MaximumMatchDistance int `json:"maximumMatchDistance,omitempty" yaml:"maximumMatchDistance,omitempty"`
}

// ParseCustom reads the answer of Macie's GetCustomDataIdentifier. Its errors wrap coffer.ErrInvalid. What it returns is checked
// by [NewSet].
func ParseCustom(b []byte) (Custom, error) {
	var c Custom
	if err := json.Unmarshal(b, &c); err != nil {
		return Custom{}, fmt.Errorf("custom data identifier is not the JSON of GetCustomDataIdentifier: %w", coffer.ErrInvalid)
	}
	if c.Name == "" || c.Regex == "" {
		return Custom{}, fmt.Errorf("custom data identifier without name or regex: %w", coffer.ErrInvalid)
	}
	return c, nil
}

// customDetector is the detector of a custom identifier. Its regular expression is the customer's definition of the type, so
// every match that keeps the rules of the identifier is the type beyond doubt.
type customDetector struct {
	c        Custom
	re       *regexp.Regexp
	keywords [][]rune  // lower case
	first    [256]bool // the bytes with which a keyword may begin
	ignore   [][]byte
}

// Definition is a custom data identifier that was checked and made ready. It is immutable and safe for concurrent use.
type Definition struct{ d *customDetector }

// Compile makes a custom identifier ready. An error wraps coffer.ErrInvalid and says what is wrong with it, without its content.
func Compile(c Custom) (*Definition, error) {
	d, err := compile(c)
	if err != nil {
		return nil, fmt.Errorf("custom data identifier: %w", err)
	}
	return &Definition{d}, nil
}

// Custom returns the identifier with its defaults filled in.
func (d *Definition) Custom() Custom { return d.d.c }

// Key is the name by which a finding names a custom identifier: its id, or where it has none the type.
func Key(t coffer.DataType, customID string) string { return cmp.Or(customID, string(t)) }

// Defined returns the managed detectors together with these definitions of custom identifiers, by [Key], and no others.
func Defined(definitions map[string]*Definition) *Set {
	s := &Set{defined: make(map[string]*customDetector, len(definitions))}
	for k, d := range definitions {
		s.defined[k] = d.d
	}
	return s
}

// With returns the set together with further definitions, for scanning. Several may be of one identifier.
func (s *Set) With(definitions ...*Definition) *Set {
	out := &Set{custom: slices.Clone(s.custom), defined: s.defined}
	for _, d := range definitions {
		out.custom = append(out.custom, d.d)
	}
	return out
}

// Definition returns the set's definition of a custom identifier; false for managed ones and for those that it does not know.
func (s *Set) Definition(t coffer.DataType, customID string) (*Definition, bool) {
	if d, ok := s.For(t, customID); ok {
		if c, ok := d.(*customDetector); ok {
			return &Definition{c}, true
		}
	}
	return nil, false
}

// newCustom checks and compiles all[i].
func newCustom(all []Custom, i int) (*customDetector, error) {
	c := all[i]
	for j, o := range all[:i] {
		if o.Name == c.Name || o.ID != "" && o.ID == c.ID {
			return nil, fmt.Errorf("custom data identifier %d: same name or id as %d: %w", i+1, j+1, coffer.ErrInvalid)
		}
	}
	if _, ok := managed().byID[coffer.DataType(c.Name)]; ok {
		return nil, fmt.Errorf("custom data identifier %d: name of a managed data identifier: %w", i+1, coffer.ErrInvalid)
	}
	d, err := compile(c)
	if err != nil {
		return nil, fmt.Errorf("custom data identifier %d: %w", i+1, err)
	}
	return d, nil
}

// compile checks an identifier by itself.
func compile(c Custom) (*customDetector, error) {
	fail := func(what string) error { return fmt.Errorf("%s: %w", what, coffer.ErrInvalid) }
	if c.Name == "" || utf8.RuneCountInString(c.Name) > 128 {
		return nil, fail("name of 1 to 128 characters required")
	}
	if c.Regex == "" || utf8.RuneCountInString(c.Regex) > 512 {
		return nil, fail("regex of 1 to 512 characters required")
	}
	re, err := regexp.Compile(c.Regex)
	if err != nil {
		return nil, fail("regex does not compile")
	}
	if len(c.Keywords) > 50 || len(c.IgnoreWords) > 10 {
		return nil, fail("more than 50 keywords or 10 ignore words")
	}
	if c.MaximumMatchDistance == 0 {
		c.MaximumMatchDistance = 50
	}
	if c.MaximumMatchDistance < 1 || c.MaximumMatchDistance > 300 {
		return nil, fail("maximumMatchDistance not between 1 and 300")
	}
	d := &customDetector{c: c, re: re}
	for _, w := range c.Keywords {
		r := []rune(strings.Map(unicode.ToLower, w))
		if len(r) < 3 || len(r) > 90 || !utf8.ValidString(w) {
			return nil, fail("a keyword has not 3 to 90 UTF-8 characters")
		}
		d.keywords = append(d.keywords, r)
		for c := range d.first {
			d.first[c] = d.first[c] || unicode.ToLower(rune(c)) == r[0] || c >= utf8.RuneSelf
		}
	}
	for _, w := range c.IgnoreWords {
		if n := utf8.RuneCountInString(w); n < 4 || n > 90 || !utf8.ValidString(w) {
			return nil, fail("an ignore word has not 4 to 90 UTF-8 characters")
		}
		d.ignore = append(d.ignore, []byte(w))
	}
	return d, nil
}

func (d *customDetector) Distinct() bool { return true }

// Find returns the matches whose keyword stands where Macie asks for it; if there are none, all.
func (d *customDetector) Find(t Text) []Match {
	if m := d.Scan(t); m != nil {
		return m
	}
	return d.matches(t, false)
}

func (d *customDetector) Scan(t Text) []Match { return d.matches(t, true) }

func (d *customDetector) matches(t Text, keyword bool) (out []Match) {
	keyword = keyword && d.keywords != nil
	var ends []int // of the keywords in the text, ascending, as far as they precede the present match
next:
	for i, m := range d.re.FindAllIndex(t.Text, -1) {
		if i == 0 && keyword {
			if len(d.ends(t.Name)) > 0 {
				keyword = false
			} else {
				ends = d.ends(t.Text)
			}
		}
		if m[0] == m[1] {
			continue
		}
		for _, w := range d.ignore {
			if bytes.Contains(t.Text[m[0]:m[1]], w) {
				continue next
			}
		}
		if keyword {
			for len(ends) > 1 && ends[1] <= m[0] {
				ends = ends[1:]
			}
			if len(ends) == 0 || ends[0] > m[0] || back(t.Text, m[1], d.c.MaximumMatchDistance) > ends[0] {
				continue
			}
		}
		out = append(out, Match{m[0], m[1], true})
	}
	return out
}

// ends returns where the keywords in b end, ascending.
func (d *customDetector) ends(b []byte) (out []int) {
	for i, c := range b {
		if !d.first[c] {
			continue
		}
		for _, w := range d.keywords {
			j, k := i, 0
			for ; k < len(w) && j < len(b); k++ {
				r, n := utf8.DecodeRune(b[j:])
				if unicode.ToLower(r) != w[k] {
					break
				}
				j += n
			}
			if k == len(w) {
				out = append(out, j)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
