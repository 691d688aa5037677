package object

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

const mib = 1 << 20

// partSizes are the part sizes that common upload tools use: the AWS SDKs (5 MiB; 8 MiB for the CLI and boto3, doubled for
// very large objects), s3cmd (15), the console and MinIO's client (16), and the settings that guides recommend.
var partSizes = []int64{
	5 * mib, 6 * mib, 8 * mib, 10 * mib, 15 * mib, 16 * mib, 20 * mib, 25 * mib, 32 * mib, 50 * mib, 64 * mib, 100 * mib,
	128 * mib, 256 * mib, 512 * mib, 1024 * mib,
}

// maxParts is S3's limit on the parts of a multipart upload.
const maxParts = 10_000

// MatchETag compares an ETag that S3 reported with an object's bytes. Quotes around want are ignored.
//
// An ETag of 32 hexadecimal digits is compared with the MD5 of the bytes. That is what S3 computes for a single-part upload
// with SSE-S3 or no encryption. An ETag made under SSE-KMS or SSE-C looks the same and is no MD5: a caller that knows of
// such encryption must not ask.
//
// An ETag "digest-N" belongs to a multipart upload of N parts and depends on the size of the parts, which nobody recorded.
// It is compared for the usual part sizes that cut size bytes into N parts. If there are such sizes and none gives the
// digest, the answer is a known mismatch: an object that somebody uploaded in unusual parts is then taken for a changed one,
// which is the safe side.
//
// known is false where the bytes cannot answer: want is empty or of another form, or no usual part size gives N parts.
// match is true only if known is. size is the length that the bytes are expected to have; other lengths are a known mismatch
// as soon as they show. open is called at most once, and what it returns is closed if it is an io.Closer. It is read once,
// whatever the number of part sizes. Errors are those of open and of reading; they leave the question open.
func MatchETag(want string, size int64, open func() (io.Reader, error)) (match, known bool, err error) {
	digest, parts, ok := parseETag(want)
	if !ok || size < 0 {
		return false, false, nil
	}
	var sums []*partSum
	switch {
	case parts == 0:
		sums = []*partSum{{}}
	case parts == 1:
		sums = []*partSum{newPartSum(max(size, 1))}
	default:
		for _, p := range usualParts(size) {
			if (size+p-1)/p == int64(parts) {
				sums = append(sums, newPartSum(p))
			}
		}
	}
	if len(sums) == 0 {
		return false, false, nil
	}
	r, err := open()
	if err != nil {
		return false, false, fmt.Errorf("comparing ETag: %w", err)
	}
	if c, ok := r.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	whole := MD5()
	buf := make([]byte, 256<<10)
	var n int64
	for {
		k, rerr := r.Read(buf)
		n += int64(k)
		if n > size {
			return false, true, nil
		}
		for _, s := range sums {
			if s.size == 0 {
				whole.Write(buf[:k])
			} else {
				s.write(buf[:k])
			}
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return false, false, fmt.Errorf("comparing ETag: %w", rerr)
		}
	}
	if n != size {
		return false, true, nil
	}
	for _, s := range sums {
		got := whole.Sum(nil)
		if s.size != 0 {
			got = s.sum()
		}
		if string(got) == digest {
			return true, true, nil
		}
	}
	return false, true, nil
}

// parseETag splits an ETag into its digest and its number of parts, 0 for a single-part ETag.
func parseETag(s string) (digest string, parts int, ok bool) {
	s = strings.Trim(s, `"`)
	hexa, num, multi := strings.Cut(s, "-")
	d, err := hex.DecodeString(hexa)
	if err != nil || len(d) != md5.Size {
		return "", 0, false
	}
	if multi {
		parts, err = strconv.Atoi(num)
		if err != nil || parts < 1 || parts > maxParts || num != strconv.Itoa(parts) {
			return "", 0, false
		}
	}
	return string(d), parts, true
}

// usualParts returns the part sizes to try for an object of this size: the fixed ones, and those that SDKs compute for an
// object that would need too many parts.
func usualParts(size int64) []int64 {
	ps := partSizes
	if size > maxParts*partSizes[0] {
		ps = append(append([]int64(nil), ps...), size/maxParts+1)
		if size%maxParts == 0 {
			ps = append(ps, size/maxParts)
		}
	}
	return ps
}

// partSum computes a multipart ETag's digest: the MD5 of the concatenated MD5s of the parts. The zero partSum stands for the
// plain MD5.
type partSum struct {
	size, left  int64
	part, outer hash.Hash
}

func newPartSum(size int64) *partSum {
	return &partSum{size: size, left: size, part: MD5(), outer: MD5()}
}

func (s *partSum) write(b []byte) {
	for len(b) > 0 {
		if s.left == 0 {
			s.outer.Write(s.part.Sum(nil))
			s.part.Reset()
			s.left = s.size
		}
		n := min(int64(len(b)), s.left)
		s.part.Write(b[:n])
		s.left -= n
		b = b[n:]
	}
}

func (s *partSum) sum() []byte {
	s.outer.Write(s.part.Sum(nil))
	return s.outer.Sum(nil)
}
