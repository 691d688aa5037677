package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"coffer"
)

// maxDepth bounds how deep a body nests; none of ours goes deeper than four.
const maxDepth = 16

// strict reports what is wrong with a JSON text beyond what encoding/json refuses: names that stand twice in an object, bytes and
// escapes that are no UTF-8, more than one value, and depth. Two readers that take such a text differently are a way round
// whatever stands between them (RFC 8725 and ASVS 5.0 V1.5.3 ask for it).
func strict(data []byte) error {
	bad := func(what string) error { return fmt.Errorf("JSON with %s: %w", what, coffer.ErrInvalid) }
	if !utf8.Valid(data) {
		return bad("invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	type level struct {
		names map[string]bool // nil for an array
		value bool            // a value follows, not a name
	}
	var open []level
	for first := true; ; first = false {
		t, err := dec.Token()
		if err == io.EOF && !first && len(open) == 0 {
			return nil
		}
		if err != nil {
			return bad("a syntax error")
		}
		if !first && len(open) == 0 {
			return bad("something behind its end")
		}
		top := len(open) - 1
		if s, ok := t.(string); ok {
			// The decoder puts U+FFFD for half a surrogate pair; a text that means that character writes it.
			if bytes.ContainsRune([]byte(s), utf8.RuneError) && !bytes.ContainsRune(data, utf8.RuneError) {
				return bad("half a surrogate pair")
			}
			if top >= 0 && open[top].names != nil && !open[top].value {
				if open[top].names[s] {
					return bad("a name that stands twice")
				}
				open[top].names[s] = true
				open[top].value = true
				continue
			}
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			top--
			if top >= 0 {
				open[top].value = false
			}
			continue
		default:
			if top >= 0 {
				open[top].value = false
			}
			continue
		}
		if len(open) > maxDepth {
			return bad("too many levels")
		}
	}
}

var errMalformed = errors.New("malformed")

// unmarshal is the only decoder of bodies. Its errors repeat nothing of them.
func unmarshal(data []byte, v any) error {
	if strict(data) != nil || json.Unmarshal(data, v) != nil {
		return errMalformed
	}
	return nil
}

func marshal(w io.Writer, v any) error {
	if p, ok := v.(*problem); ok {
		v = p.Problem
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
