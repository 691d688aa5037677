package web

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"coffer"
)

const cursorMAC = 16

// cursor makes the cursor of a page: opaque, and good only for the caller and the query that it was made for. mark is where the next
// page begins.
func (s *Server) cursor(c *call, query string, mark any) (string, error) {
	b, err := json.Marshal(mark)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(s.cursorSum(c, query, b), b...)), nil
}

func (s *Server) cursorSum(c *call, query string, mark []byte) []byte {
	return s.MAC("cursor", fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", c.route, c.ask.Caller.ID, query, mark))[:cursorMAC]
}

// from reads a cursor into mark and reports whether there was one.
func (s *Server) from(c *call, query, cursor string, mark any) (bool, error) {
	if cursor == "" {
		return false, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < cursorMAC || !hmac.Equal(b[:cursorMAC], s.cursorSum(c, query, b[cursorMAC:])) || json.Unmarshal(b[cursorMAC:], mark) != nil {
		return false, fmt.Errorf("the cursor is not one of this list and this query: %w", coffer.ErrInvalid)
	}
	return true, nil
}

// pageLimit is how many elements a page has.
func pageLimit(asked int) int {
	if asked == 0 {
		return 100
	}
	return asked
}
