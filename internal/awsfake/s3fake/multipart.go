package s3fake

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func (b *bucket) sortedUploads() []*upload {
	return slices.SortedFunc(maps.Values(b.uploads), func(x, y *upload) int {
		return cmp.Or(cmp.Compare(x.key, y.key), x.started.Compare(y.started), cmp.Compare(x.id, y.id))
	})
}

// kinds are the types that an algorithm's checksum over a multipart object may have; the first is the default.
func kinds(algorithm string) []string {
	switch algorithm {
	case "CRC64NVME":
		return []string{fullObject}
	case "CRC32", "CRC32C":
		return []string{composite, fullObject}
	}
	return []string{composite}
}

func createUpload(c *call) (*response, error) {
	b := c.b()
	attrs, err := c.given()
	if err != nil {
		return nil, err
	}
	u := &upload{key: c.key, id: c.s.opaque() + c.s.opaque(), attrs: attrs, started: c.s.now(), parts: map[int]*part{}}
	if u.algorithm = strings.ToUpper(c.h("X-Amz-Checksum-Algorithm")); u.algorithm != "" {
		if algorithms[u.algorithm] == nil {
			return nil, notImplemented("x-amz-checksum-algorithm")
		}
		allowed := kinds(u.algorithm)
		if u.kind = cmp.Or(c.h("X-Amz-Checksum-Type"), allowed[0]); !slices.Contains(allowed, u.kind) {
			return nil, invalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", u.kind, strings.ToLower(u.algorithm))
		}
	} else if c.h("X-Amz-Checksum-Type") != "" {
		return nil, invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	}
	if len(c.key) > 1024 {
		return nil, failure(400, "KeyTooLongError", "Your key is too long").with("MaxSizeAllowed", "1024")
	}
	b.uploads[u.id] = u
	d := newDocument("InitiateMultipartUploadResult")
	d.add("Bucket", c.bucket)
	d.add("Key", c.key)
	d.add("UploadId", u.id)
	a := d.answer(200)
	if u.algorithm != "" {
		a.set("x-amz-checksum-algorithm", u.algorithm)
		a.set("x-amz-checksum-type", u.kind)
	}
	v := &version{Attrs: attrs.clone(), modified: u.started}
	c.s.fill(b, v)
	v.Encryption.show(a, true)
	return a, nil
}

// upload finds the upload that the request names.
func (c *call) upload() (*upload, error) {
	id := c.q.Get("uploadId")
	if u := c.b().uploads[id]; u != nil && u.key == c.key {
		return u, nil
	}
	return nil, noSuchUpload(id)
}

func (c *call) partNumber() (int, error) {
	n, err := strconv.Atoi(c.q.Get("partNumber"))
	if err != nil || n < 1 || n > c.s.Limits.MaxParts {
		return 0, invalidArgument("partNumber", c.q.Get("partNumber"), "Part number must be an integer between 1 and %d, inclusive", c.s.Limits.MaxParts)
	}
	return n, nil
}

// encryptionOf is what the upload's parts and object are encrypted with.
func (c *call) encryptionOf(u *upload) Encryption {
	v := &version{Attrs: u.attrs.clone()}
	c.s.fill(c.b(), v)
	return v.Encryption
}

func uploadPart(c *call) (*response, error) {
	u, err := c.upload()
	if err != nil {
		return nil, err
	}
	n, err := c.partNumber()
	if err != nil {
		return nil, err
	}
	known, err := c.verify()
	if err != nil {
		return nil, err
	}
	if err := c.unlock(&version{Attrs: u.attrs}, "X-Amz-Server-Side-Encryption"); err != nil {
		return nil, err
	}
	if u.algorithm != "" && known.algorithm != u.algorithm {
		return nil, invalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
			strings.ToLower(u.algorithm), cmp.Or(strings.ToLower(known.algorithm), "null"))
	}
	e := c.encryptionOf(u)
	p := &part{body: bytesContent(c.body), known: known, modified: c.s.now()}
	p.etag = c.s.etagOf(p.body, e)
	u.parts[n] = p
	a := answer(200)
	a.set("ETag", quote(p.etag))
	if known.algorithm != "" {
		a.set("x-amz-checksum-"+strings.ToLower(known.algorithm), known.value)
	}
	e.show(a, false)
	return a, nil
}

func uploadPartCopy(c *call) (*response, error) {
	u, err := c.upload()
	if err != nil {
		return nil, err
	}
	n, err := c.partNumber()
	if err != nil {
		return nil, err
	}
	from, src, err := c.source()
	if err != nil {
		return nil, err
	}
	size := src.body.size
	body := src.body
	if r := c.h("X-Amz-Copy-Source-Range"); r != "" {
		spec, ok := strings.CutPrefix(r, "bytes=")
		lo, hi, dash := strings.Cut(spec, "-")
		first, ferr := strconv.ParseInt(lo, 10, 64)
		last, lerr := strconv.ParseInt(hi, 10, 64)
		switch {
		case !ok || !dash || ferr != nil || lerr != nil || first > last:
			return nil, invalidArgument("x-amz-copy-source-range", r, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
		case last >= size:
			return nil, invalidArgument("x-amz-copy-source-range", r, "Range specified is not valid for source object of size: %d", size)
		case size <= c.s.Limits.RangeCopy:
			return nil, invalidRequest("Range copies need a source object larger than %d bytes", c.s.Limits.RangeCopy)
		}
		body = body.slice(first, last+1)
	}
	if body.size > c.s.Limits.MaxPart {
		return nil, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", c.s.Limits.MaxPart)
	}
	p := &part{body: body, modified: c.s.now()}
	e := c.encryptionOf(u)
	p.etag = c.s.etagOf(body, e)
	if u.algorithm != "" {
		p.known = body.checksum(u.algorithm)
	}
	u.parts[n] = p
	d := newDocument("CopyPartResult")
	d.add("ETag", quote(p.etag))
	d.time("LastModified", p.modified)
	d.some("Checksum"+p.known.algorithm, p.known.value)
	a := d.answer(200)
	a.set("x-amz-copy-source-version-id", from.shownID(src))
	e.show(a, false)
	return a, nil
}

// listed is a part as CompleteMultipartUpload names it.
type listed struct {
	PartNumber int
	ETag       string
	Checksums  []struct {
		XMLName xml.Name
		Value   string `xml:",chardata"`
	} `xml:",any"`
}

func (l listed) checksum() (algorithm, value string) {
	for _, k := range l.Checksums {
		if a, ok := strings.CutPrefix(k.XMLName.Local, "Checksum"); ok {
			return a, strings.TrimSpace(k.Value)
		}
	}
	return "", ""
}

func completeUpload(c *call) (*response, error) {
	b := c.b()
	u, err := c.upload()
	if err != nil {
		return nil, err
	}
	if u.lost {
		// After a conflict S3 wants a new upload. The old one stays, with its parts, until it is aborted.
		return nil, conditionalConflict(c.key)
	}
	var in struct {
		Part []listed
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Part) == 0 {
		return nil, malformedXML()
	}
	var body content
	var sizes []int64
	var sums []checksum
	etags := md5.New()
	for i, l := range in.Part {
		if i > 0 && l.PartNumber <= in.Part[i-1].PartNumber {
			return nil, failure(400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.").with("UploadId", u.id)
		}
	}
	for i, l := range in.Part {
		p := u.parts[l.PartNumber]
		if p == nil || unquote(l.ETag) != p.etag {
			return nil, failure(400, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
				with("UploadId", u.id).with("PartNumber", strconv.Itoa(l.PartNumber))
		}
		algorithm, value := l.checksum()
		// A checksum is no part's of an upload that was begun without an algorithm, even if the part came with one.
		if algorithm != "" && (algorithm != u.algorithm || value != p.known.value) {
			return nil, failure(400, "InvalidPart", "One or more of the specified parts could not be found.").with("PartNumber", strconv.Itoa(l.PartNumber))
		}
		if u.kind == composite {
			if algorithm == "" {
				return nil, invalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
					strings.ToLower(u.algorithm), l.PartNumber)
			}
			if l.PartNumber != i+1 {
				return nil, failure(500, "InternalError", "Multipart uploads with additional checksums need consecutive part numbers.")
			}
		}
		if i < len(in.Part)-1 && p.body.size < c.s.Limits.MinPart {
			return nil, failure(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").
				with("ProposedSize", strconv.FormatInt(p.body.size, 10)).with("MinSizeAllowed", strconv.FormatInt(c.s.Limits.MinPart, 10)).with("PartNumber", strconv.Itoa(l.PartNumber))
		}
		raw, _ := hex.DecodeString(p.etag) // made by etagOf
		_, _ = etags.Write(raw)            // a hash never fails
		body = body.join(p.body)
		sizes = append(sizes, p.body.size)
		sums = append(sums, p.known)
	}
	if want := c.h("X-Amz-Mp-Object-Size"); want != "" && want != strconv.FormatInt(body.size, 10) {
		return nil, invalidRequest("The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", want, body.size)
	}
	v := &version{Attrs: u.attrs, body: body, modified: u.started, parts: sizes}
	switch u.kind {
	case composite:
		var ok bool
		if v.known, ok = compositeOf(u.algorithm, sums); !ok {
			return nil, internalError()
		}
	case fullObject:
		v.known = body.checksum(u.algorithm)
	}
	if algorithm, value, err := c.sent(); err != nil {
		return nil, err
	} else if algorithm != "" {
		if v.known.algorithm == "" {
			v.known = body.checksum(algorithm)
		}
		if algorithm != v.known.algorithm || strings.TrimSuffix(value, "-"+strconv.Itoa(len(sizes))) != strings.TrimSuffix(v.known.value, "-"+strconv.Itoa(len(sizes))) {
			return nil, failure(400, "BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
		}
	}
	if err := c.writable(b); err != nil {
		return nil, err
	}
	c.s.fill(b, v)
	v.etag = hex.EncodeToString(etags.Sum(nil)) + "-" + strconv.Itoa(len(sizes))
	d := newDocument("CompleteMultipartUploadResult")
	d.add("Location", "https://"+c.bucket+".s3."+c.s.Region+".amazonaws.com/"+uriEncode(c.key, true))
	d.add("Bucket", c.bucket)
	d.add("Key", c.key)
	d.add("ETag", quote(v.etag))
	if v.known.algorithm != "" {
		d.add("Checksum"+v.known.algorithm, v.known.value)
		d.add("ChecksumType", v.known.kind)
	}
	a := d.answer(200)
	if err := c.store(b, v, a); err != nil {
		return nil, err
	}
	delete(b.uploads, u.id)
	return a, nil
}

func abortUpload(c *call) (*response, error) {
	u, err := c.upload()
	if err != nil {
		return nil, err
	}
	delete(c.b().uploads, u.id)
	return answer(204), nil
}

func listParts(c *call) (*response, error) {
	u, err := c.upload()
	if err != nil {
		return nil, err
	}
	limit, err := c.count("max-parts", 1000)
	if err != nil {
		return nil, err
	}
	after, _ := strconv.Atoi(c.q.Get("part-number-marker")) // none: from the first
	d := newDocument("ListPartsResult")
	d.add("Bucket", c.bucket)
	d.add("Key", c.key)
	d.add("UploadId", u.id)
	d.number("PartNumberMarker", int64(after))
	d.number("MaxParts", int64(limit))
	d.add("StorageClass", (&version{Attrs: u.attrs}).class())
	d.some("ChecksumAlgorithm", u.algorithm)
	d.some("ChecksumType", u.kind)
	n, last, more := 0, after, false
	for _, number := range slices.Sorted(maps.Keys(u.parts)) {
		if number <= after {
			continue
		}
		if n == limit {
			more = true
			break
		}
		p := u.parts[number]
		d.open("Part")
		d.number("PartNumber", int64(number))
		d.time("LastModified", p.modified)
		d.add("ETag", quote(p.etag))
		d.number("Size", p.body.size)
		d.some("Checksum"+p.known.algorithm, p.known.value)
		d.close()
		n, last = n+1, number
	}
	d.number("NextPartNumberMarker", int64(last))
	d.bool("IsTruncated", more)
	return d.answer(200), nil
}
