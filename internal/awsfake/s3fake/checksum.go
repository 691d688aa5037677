package s3fake

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// nvme is the table of CRC-64/NVME; the constant is its polynomial, reflected.
var nvme = crc64.MakeTable(0x9A6C9329AC4BC9B5)

// algorithms are the checksums that can be verified, by their names in headers (lower case) and documents (upper case).
var algorithms = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(nvme) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
	"SHA512":    sha512.New,
	"MD5":       md5.New,
}

// The two ways of a multipart object's checksum: over its bytes, or over its parts' checksums.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// checksum is what is known of a version's or a part's bytes.
type checksum struct {
	algorithm string
	kind      string
	value     string // base64, for composite ones with "-N"
}

func (c content) sum(algorithm string) []byte {
	h := algorithms[algorithm]()
	_, _ = io.Copy(h, c.reader()) // a hash never fails
	return h.Sum(nil)
}

func (c content) checksum(algorithm string) checksum {
	return checksum{algorithm, fullObject, base64.StdEncoding.EncodeToString(c.sum(algorithm))}
}

// compositeOf is the checksum over the parts' checksums, as S3 computes it.
func compositeOf(algorithm string, parts []checksum) (checksum, bool) {
	h := algorithms[algorithm]()
	for _, p := range parts {
		raw, err := base64.StdEncoding.DecodeString(p.value)
		if err != nil || p.algorithm != algorithm {
			return checksum{}, false
		}
		_, _ = h.Write(raw) // a hash never fails
	}
	return checksum{algorithm, composite, base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))}, true
}

// sent returns the algorithm and value that the client sent along, as header or trailer. More than one is an error.
func (c *call) sent() (algorithm, value string, err error) {
	for _, from := range []http.Header{c.r.Header, c.trailer} {
		for name, values := range from {
			a, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-checksum-")
			if !ok || a == "algorithm" || a == "type" || a == "mode" {
				continue
			}
			a = strings.ToUpper(a)
			if algorithms[a] == nil {
				return "", "", notImplemented(name)
			}
			if algorithm != "" {
				return "", "", invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
			}
			algorithm, value = a, values[0]
		}
	}
	return algorithm, value, nil
}

// verify compares the body with everything that the client said about it. It returns the checksum that S3 keeps: the client's, or
// none (then S3 adds one of its own, see version.checksum).
func (c *call) verify() (checksum, error) {
	if md := c.h("Content-Md5"); md != "" {
		want, err := base64.StdEncoding.DecodeString(md)
		if err != nil || len(want) != md5.Size {
			return checksum{}, failure(400, "InvalidDigest", "The Content-MD5 you specified was invalid")
		}
		if got := md5.Sum(c.body); string(got[:]) != string(want) {
			return checksum{}, failure(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	algorithm, value, err := c.sent()
	if err != nil || algorithm == "" {
		return checksum{}, err
	}
	if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) != algorithms[algorithm]().Size() {
		return checksum{}, invalidRequest("Value for x-amz-checksum-%s header is invalid.", strings.ToLower(algorithm))
	}
	got := bytesContent(c.body).checksum(algorithm)
	if got.value != value {
		return checksum{}, failure(400, "BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
	}
	return got, nil
}

// show puts a checksum into headers.
func (k checksum) show(h http.Header) {
	if k.algorithm != "" {
		h.Set("x-amz-checksum-"+strings.ToLower(k.algorithm), k.value)
		h.Set("x-amz-checksum-type", k.kind)
	}
}
