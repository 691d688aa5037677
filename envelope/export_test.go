package envelope

import "slices"

// Reencode parses a header and writes it again, for the law that only the canonical form is accepted.
func Reencode(b []byte) ([]byte, error) {
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	b = appendRecipients(appendCore(nil, h.id, slices.Clone(h.context)), h.recipients)
	return append(append(b, h.commitment...), h.listTag...), nil
}
