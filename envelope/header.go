package envelope

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"coffer"
)

// The layout of a header, specified in docs/format-seal.md.
const (
	magic         = "CFRS"
	headerVersion = 1
	suiteGCM      = 1 // HKDF-SHA-256, AES-256-GCM with random nonces

	messageIDSize  = 32
	commitmentSize = 32
	listTagSize    = 32
)

// MaxHeader is the greatest number of bytes that a header can have.
const MaxHeader = len(magic) + 2 + messageIDSize +
	2 + MaxContextEntries*(4+MaxContextKey+MaxContextValue) +
	1 + MaxRecipients*(1+len(ForReveal)+1+MaxProvider+2+MaxKeyID+2+MaxBlob) +
	commitmentSize + listTagSize

// header is a parsed header. Its fields share the bytes it was parsed from.
type header struct {
	id         []byte
	context    []byte // canonical, as Context.Encode gives it
	recipients []Wrapped
	core       []byte // everything before the recipients: what never changes
	body       []byte // everything before the commitment
	commitment []byte // to the data key and core
	listTag    []byte // authenticates body, and so the recipients
}

func appendField8[T string | []byte](b []byte, f T) []byte {
	return append(append(b, byte(len(f))), f...)
}

func appendField16[T string | []byte](b []byte, f T) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
}

// compareWrapped orders the recipients of a header.
func compareWrapped(a, b Wrapped) int {
	if c := strings.Compare(a.Recipient, b.Recipient); c != 0 {
		return c
	}
	if c := strings.Compare(a.Provider, b.Provider); c != 0 {
		return c
	}
	return strings.Compare(a.KeyID, b.KeyID)
}

func (w Wrapped) valid() bool {
	return (w.Recipient == ForReveal || w.Recipient == ForVerify) &&
		w.Provider != "" && len(w.Provider) <= MaxProvider &&
		len(w.KeyID) <= MaxKeyID &&
		len(w.Blob) > 0 && len(w.Blob) <= MaxBlob
}

// appendCore appends a header up to and without its recipients.
func appendCore(b, id, context []byte) []byte {
	b = append(b, magic...)
	b = append(b, headerVersion, suiteGCM)
	b = append(b, id...)
	return append(b, context...)
}

// appendRecipients appends the recipients of a header, which are valid and in order.
func appendRecipients(b []byte, recipients []Wrapped) []byte {
	b = append(b, byte(len(recipients)))
	for _, w := range recipients {
		b = appendField8(b, w.Recipient)
		b = appendField8(b, w.Provider)
		b = appendField16(b, w.KeyID)
		b = appendField16(b, w.Blob)
	}
	return b
}

// cursor reads fields from untrusted bytes. After a failure it stays failed and yields empty fields.
type cursor struct {
	b      []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if c.failed || n > len(c.b) {
		c.failed = true
		return nil
	}
	f := c.b[:n:n]
	c.b = c.b[n:]
	return f
}

func (c *cursor) number(bytes int) int {
	n := 0
	for _, b := range c.take(bytes) {
		n = n<<8 | int(b)
	}
	return n
}

func (c *cursor) field(lengthBytes int) []byte { return c.take(c.number(lengthBytes)) }

// parseHeader reads a header. It accepts the canonical form only, so that writing the fields gives the same bytes. An unknown
// version or suite gives coffer.ErrUnsupported, everything else that is wrong errMessage.
func parseHeader(b []byte) (header, error) {
	if len(b) > MaxHeader {
		return header{}, errMessage
	}
	var h header
	c := &cursor{b: b}
	if string(c.take(len(magic))) != magic {
		return header{}, errMessage
	}
	if version, suite := c.number(1), c.number(1); c.failed {
		return header{}, errMessage
	} else if version != headerVersion || suite != suiteGCM {
		return header{}, fmt.Errorf("sealed message of version %d, suite %d: %w", version, suite, coffer.ErrUnsupported)
	}
	h.id = c.take(messageIDSize)

	start := c.b
	var last []byte
	entries := c.number(2)
	if entries > MaxContextEntries {
		return header{}, errMessage
	}
	for range entries {
		key, value := c.field(2), c.field(2)
		if len(key) == 0 || len(key) > MaxContextKey || len(value) > MaxContextValue || bytes.Compare(last, key) >= 0 {
			return header{}, errMessage
		}
		last = key
	}
	h.context = start[:len(start)-len(c.b)]
	h.core = b[:len(b)-len(c.b)]

	n := c.number(1)
	if n < 1 || n > MaxRecipients {
		return header{}, errMessage
	}
	for i := range n {
		w := Wrapped{Recipient: string(c.field(1)), Provider: string(c.field(1)), KeyID: string(c.field(2)), Blob: c.field(2)}
		if !w.valid() || i > 0 && compareWrapped(h.recipients[i-1], w) >= 0 {
			return header{}, errMessage
		}
		h.recipients = append(h.recipients, w)
	}
	h.body = b[:len(b)-len(c.b)]
	h.commitment = c.take(commitmentSize)
	h.listTag = c.take(listTagSize)
	if c.failed || len(c.b) != 0 {
		return header{}, errMessage
	}
	return h, nil
}
