package s3fake

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// published is the server of the examples in AWS's documentation of signatures.
func published() *Server {
	s := New()
	s.AccessKey, s.SecretKey, s.Region = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"
	return s
}

func request(method, target string, headers ...string) *http.Request {
	r, err := http.NewRequest(method, "https://examplebucket.s3.amazonaws.com"+target, nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func authorize(r *http.Request, signed, signature string) *http.Request {
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="+signed+",Signature="+signature)
	return r
}

// TestPublishedSignatures: the examples of "Signature Calculations for the Authorization Header".
func TestPublishedSignatures(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"GET object": authorize(request("GET", "/test.txt", "Range", "bytes=0-9"),
			"host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
		"PUT object": authorize(request("PUT", "/test%24file.text", "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
			"X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
		"GET lifecycle": authorize(request("GET", "/?lifecycle"),
			"host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		"list": authorize(request("GET", "/?max-keys=2&prefix=J"),
			"host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
	} {
		t.Run(name, func(t *testing.T) {
			q := r.URL.Query()
			if _, err := published().authenticate(r, q); err != nil {
				t.Errorf("the published signature: %v", err)
			}
			r.URL.Path += "x"
			if _, err := published().authenticate(r, q); err == nil {
				t.Error("another path has the same signature")
			}
		})
	}
}

// chunked is an aws-chunked body.
func chunked(chunks [][2]string, trailer string) []byte {
	var b bytes.Buffer
	for _, c := range chunks {
		b.WriteString(strconv.FormatInt(int64(len(c[0])), 16))
		if c[1] != "" {
			b.WriteString(";chunk-signature=" + c[1])
		}
		b.WriteString("\r\n" + c[0])
		if c[0] != "" {
			b.WriteString("\r\n")
		}
	}
	b.WriteString(trailer + "\r\n")
	return b.Bytes()
}

// TestPublishedChunks: the examples of "Transferring Payload in Multiple Chunks" and "Signature calculations for trailing headers".
func TestPublishedChunks(t *testing.T) {
	first, second := strings.Repeat("a", 65536), strings.Repeat("a", 1024)
	const trailer = "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
	for _, tt := range []struct {
		name, payload, signed, seed string
		headers                     []string
		body                        []byte
	}{
		{
			"chunks", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
			"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", []string{"Content-Length", "66824"},
			chunked([][2]string{
				{first, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"},
				{second, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"},
				{"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"},
			}, ""),
		},
		{
			"trailer", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
			"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e", []string{"X-Amz-Trailer", "x-amz-checksum-crc32c"},
			chunked([][2]string{
				{first, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"},
				{second, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"},
				{"", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"},
			}, trailer),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			try := func(body []byte) ([]byte, http.Header, error) {
				r := authorize(request("PUT", "/examplebucket/chunkObject.txt", append([]string{
					"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
					"X-Amz-Content-Sha256", tt.payload,
				}, tt.headers...)...), tt.signed, tt.seed)
				r.Host = "s3.amazonaws.com"
				g, err := published().authenticate(r, url.Values{})
				if err != nil {
					t.Fatalf("the seed: %v", err)
				}
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				return readBody(r, g, 1<<20)
			}
			got, trailer, err := try(tt.body)
			if err != nil || string(got) != first+second {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if tt.name == "trailer" && trailer.Get("x-amz-checksum-crc32c") != "sOO8/Q==" {
				t.Errorf("trailer %v", trailer)
			}
			for name, bad := range map[string][]byte{
				"a byte":            bytes.Replace(tt.body, []byte("aaa"), []byte("aba"), 1),
				"a trailing header": bytes.Replace(tt.body, []byte("sOO8"), []byte("tOO8"), 1),
				"the last chunk":    tt.body[:len(tt.body)-100],
				"the end":           tt.body[:len(tt.body)-2],
			} {
				if bytes.Equal(bad, tt.body) {
					continue
				}
				if _, _, err := try(bad); err == nil && !(name == "the end" && tt.name == "chunks") {
					t.Errorf("%s was changed, and nobody noticed", name)
				}
			}
		})
	}
}

// TestChecksumVectors: the check values of the CRC catalogue.
func TestChecksumVectors(t *testing.T) {
	for algorithm, want := range map[string]string{"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888"} {
		if got := bytesContent([]byte("123456789")).sum(algorithm); hexOf(got) != want {
			t.Errorf("%s: %s, want %s", algorithm, hexOf(got), want)
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestContent(t *testing.T) {
	a, b := bytesContent([]byte("0123456789")), bytesContent([]byte("abcdef"))
	c := a.slice(2, 7).join(b).join(a.slice(9, 10))
	const want = "23456abcdef9"
	got, err := io.ReadAll(c.reader())
	if err != nil || string(got) != want || c.size != int64(len(want)) {
		t.Fatalf("%q, %d, %v", got, c.size, err)
	}
	for i := range want {
		for j := i; j <= len(want); j++ {
			p := make([]byte, j-i)
			if n, err := c.ReadAt(p, int64(i)); n != len(p) || string(p) != want[i:j] || err != nil {
				t.Fatalf("[%d:%d]: %q, %v", i, j, p, err)
			}
		}
	}
	if n, err := c.ReadAt(make([]byte, 5), 10); n != 2 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}
