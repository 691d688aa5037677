package envelope

import "slices"

// Reencode parses a header and writes it again, for the law that only the canonical form is accepted.
func Reencode(b []byte) ([]byte, error) {
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	return append(appendBody(nil, h.id, slices.Clone(h.context), h.recipients), h.commitment...), nil
}
