package delimited

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// manyQuotes is the distance of quotes below which words beat looking for the next quote.
const manyQuotes = 512

// words skips as much of the window b, from the position up to n, as is quoted by the rules, 64 bytes at a time: the bytes of
// interest become bits, and a bit is inside quotes when the number of quotes up to it is odd. That holds as long as every quote
// that opens follows a delimiter, a line end, or a quote (then the two are a doubled one). At a block where it does not, the
// position stays at the last one that is certainly outside quotes; so it does when row or line may be reached, which the result
// reports. fresh is as in skip.
func (w *walker) words(b []byte, n int, fresh *bool, row, line int64) (near bool) {
	comma := pattern(w.comma)
	carriage := bytes.IndexByte(b[w.p:n], '\r') >= 0
	var inside, separated, quoted uint64 // of the byte before the block: ^0 or 0, and bits 0
	if *fresh {
		separated = 1
	}
	at := struct{ row, line, breaks int64 }{w.row, w.line, w.breaks}
	for i := w.p; i+64 <= n; i += 64 {
		var quote, delimiter, feed, alone uint64
		block := b[i : i+64 : i+64]
		for k := 0; k < 64; k += 8 {
			x := binary.LittleEndian.Uint64(block[k:])
			quote |= equal(x, pattern('"')) << k
			delimiter |= equal(x, comma) << k
			feed |= equal(x, pattern('\n')) << k
		}
		if carriage {
			for k := 0; k < 64; k += 8 {
				alone |= equal(binary.LittleEndian.Uint64(block[k:]), pattern('\r')) << k
			}
			follow := feed >> 1
			if i+64 < len(b) && b[i+64] == '\n' {
				follow |= 1 << 63
			}
			alone &^= follow
		}
		ends := feed | alone
		in := inside
		if quote != 0 {
			in ^= odd(quote)
			if quote&in&^((delimiter|ends)<<1|separated|quote<<1|quoted) != 0 {
				return false
			}
		}
		outer, inner := ends&^in, ends&in
		if at.row+int64(bits.OnesCount64(outer)) >= row || at.line+at.breaks+int64(bits.OnesCount64(ends)) >= line {
			return true
		}
		if outer != 0 {
			at.row += int64(bits.OnesCount64(outer))
			at.line += at.breaks + int64(bits.OnesCount64(ends))
			at.breaks = 0
			if inner != 0 {
				at.breaks = int64(bits.OnesCount64(inner >> (64 - bits.LeadingZeros64(outer))))
				at.line -= at.breaks
			}
		} else {
			at.breaks += int64(bits.OnesCount64(inner))
		}
		inside = uint64(int64(in) >> 63)
		separated, quoted = (delimiter|ends)>>63, quote>>63
		// Behind a closing quote a second one may follow.
		if inside == 0 && quoted == 0 {
			w.p, *fresh = i+64, separated == 1
			w.row, w.line, w.breaks = at.row, at.line, at.breaks
		}
	}
	return false
}

func pattern(c byte) uint64 { return 0x0101010101010101 * uint64(c) }

// equal returns in its lowest eight bits which bytes of x are those of pattern.
func equal(x, pattern uint64) uint64 {
	const low = 0x7f7f7f7f7f7f7f7f
	x ^= pattern
	x = ^((x&low + low) | x | low) // the highest bit of each zero byte
	return (x >> 7) * 0x0102040810204080 >> 56
}

// odd returns in each bit whether the number of bits of x up to and with it is odd.
func odd(x uint64) uint64 {
	x ^= x << 1
	x ^= x << 2
	x ^= x << 4
	x ^= x << 8
	x ^= x << 16
	x ^= x << 32
	return x
}
