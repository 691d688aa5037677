package s3fake

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// system are the headers that are kept as they are given.
var system = []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Expires"}

const maxMetadata = 2048 // bytes of names and values

// given reads the attributes of a new object from the headers of the request.
func (c *call) given() (a Attrs, err error) {
	a.Headers, a.Metadata = c.headers()
	n := 0
	for k, v := range a.Metadata {
		n += len(k) + len(v)
	}
	if n > maxMetadata {
		return a, failure(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.").with("Size", strconv.Itoa(n))
	}
	if a.StorageClass, err = c.class(); err != nil {
		return a, err
	}
	a.Redirect = c.h("X-Amz-Website-Redirect-Location")
	if r := a.Redirect; r != "" && !strings.HasPrefix(r, "/") && !strings.HasPrefix(r, "http://") && !strings.HasPrefix(r, "https://") {
		return a, failure(400, "InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	if a.Tags, err = c.givenTags(); err != nil {
		return a, err
	}
	if a.Encryption, err = c.encryption("X-Amz-Server-Side-Encryption"); err != nil {
		return a, err
	}
	if a.ACL, err = c.givenACL(); err != nil {
		return a, err
	}
	a.Lock, err = c.givenLock()
	return a, err
}

func (c *call) headers() (sys, meta map[string]string) {
	sys, meta = map[string]string{}, map[string]string{}
	for _, name := range system {
		v := c.h(name)
		if name == "Content-Encoding" {
			// aws-chunked is how the request came, not what the object is.
			v = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(v, "aws-chunked"), ","), ",aws-chunked")
		}
		if v != "" {
			sys[name] = v
		}
	}
	if sys["Content-Type"] == "" {
		sys["Content-Type"] = "binary/octet-stream"
	}
	for name, vs := range c.r.Header {
		if k, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			meta[k] = strings.Join(vs, ",")
		}
	}
	return sys, meta
}

func (c *call) class() (string, error) {
	switch class := c.h("X-Amz-Storage-Class"); class {
	case "", "STANDARD":
		return "", nil
	case "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY":
		return class, nil
	default:
		return "", failure(400, "InvalidStorageClass", "The storage class you specified is not valid").with("StorageClassRequested", class)
	}
}

// encryption reads the encryption that a request asks for, or the customer's key, from headers that begin with prefix.
func (c *call) encryption(prefix string) (e Encryption, err error) {
	e = Encryption{
		Algorithm: c.h(prefix), KeyID: c.h(prefix + "-Aws-Kms-Key-Id"), Context: c.h(prefix + "-Context"),
		BucketKey: c.h(prefix+"-Bucket-Key-Enabled") == "true",
	}
	if algorithm := c.h(prefix + "-Customer-Algorithm"); algorithm != "" || c.h(prefix+"-Customer-Key") != "" {
		key, kerr := base64.StdEncoding.DecodeString(c.h(prefix + "-Customer-Key"))
		sum := md5.Sum(key)
		switch {
		case algorithm != "AES256":
			return e, failure(400, "InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. Supported value: AES256.")
		case e.Algorithm != "":
			return e, invalidArgument(prefix, e.Algorithm, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
		case kerr != nil || len(key) != 32:
			return e, invalidArgument(prefix+"-customer-key", "", "The secret key was invalid for the specified algorithm.")
		case base64.StdEncoding.EncodeToString(sum[:]) != c.h(prefix+"-Customer-Key-Md5"):
			return e, invalidArgument(prefix+"-customer-key-MD5", "", "The calculated MD5 hash of the key did not match the hash that was provided.")
		}
		return Encryption{CustomerKeyMD5: c.h(prefix + "-Customer-Key-Md5")}, nil
	}
	switch e.Algorithm {
	case "", "AES256":
		if e.KeyID != "" || e.Context != "" {
			return e, invalidArgument(prefix, e.Algorithm, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
		if e.Algorithm == "" {
			e = Encryption{}
		}
	case "aws:kms", "aws:kms:dsse":
		if e.Context != "" {
			if b, err := base64.StdEncoding.DecodeString(e.Context); err != nil || !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
				return e, invalidArgument(prefix+"-context", "", "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map")
			}
		}
	default:
		return e, invalidArgument(prefix, e.Algorithm, "The encryption method specified is not supported")
	}
	return e, nil
}

func (e Encryption) show(a *response, written bool) {
	a.set("x-amz-server-side-encryption", e.Algorithm)
	a.set("x-amz-server-side-encryption-aws-kms-key-id", e.KeyID)
	if e.BucketKey {
		a.set("x-amz-server-side-encryption-bucket-key-enabled", "true")
	}
	if written {
		a.set("x-amz-server-side-encryption-context", e.Context) // reads do not tell it
	}
	if e.CustomerKeyMD5 != "" {
		a.set("x-amz-server-side-encryption-customer-algorithm", "AES256")
		a.set("x-amz-server-side-encryption-customer-key-MD5", e.CustomerKeyMD5)
	}
}

// unlock checks the customer's key of a version that needs one.
func (c *call) unlock(v *version, prefix string) error {
	e, err := c.encryption(prefix)
	if err != nil {
		return err
	}
	want := v.Encryption.CustomerKeyMD5
	switch {
	case want == "" && e.CustomerKeyMD5 != "":
		return invalidRequest("The encryption parameters are not applicable to this object.")
	case want != "" && e.CustomerKeyMD5 == "":
		return invalidRequest("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	case want != e.CustomerKeyMD5:
		return accessDenied()
	}
	return nil
}

// find returns the version that a request names. A caller who may not list learns nothing about what is not there.
func (c *call) find(b *bucket, key, id string) (*version, error) {
	missing := func(code, message string) *apiError {
		if c.s.denied["s3:ListBucket"] {
			return c.notAuthorized("s3:ListBucket")
		}
		return failure(404, code, "%s", message)
	}
	if id == "" {
		v := b.current(key)
		switch {
		case v == nil:
			return nil, missing("NoSuchKey", "The specified key does not exist.")
		case v.marker:
			e := missing("NoSuchKey", "The specified key does not exist.")
			e.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {v.id}}
			return nil, e
		}
		return v, nil
	}
	if !validID(id) {
		return nil, invalidArgument("versionId", id, "Invalid version id specified")
	}
	v := b.version(key, id)
	switch {
	case v == nil:
		return nil, missing("NoSuchVersion", "The specified version does not exist.").with("VersionId", id)
	case v.marker:
		e := failure(405, "MethodNotAllowed", "The specified method is not allowed against this resource.").with("ResourceType", "DeleteMarker")
		e.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "Allow": {"DELETE"}, "Last-Modified": {v.modified.Format(http.TimeFormat)}, "X-Amz-Version-Id": {v.id}}
		return nil, e
	}
	return v, nil
}

func unquote(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

func quote(etag string) string { return `"` + etag + `"` }

func matches(list, etag string) bool {
	for e := range strings.SplitSeq(list, ",") {
		if unquote(e) == "*" || unquote(e) == etag {
			return true
		}
	}
	return false
}

// readable evaluates the conditions of a read (prefix "") or of a copy's source, in the order of RFC 9110. A copy answers 412 where a
// read answers 304.
func (c *call) readable(v *version, prefix string) error {
	date := func(name string) (time.Time, bool) {
		t, err := http.ParseTime(c.h(prefix + name))
		return t, err == nil && !t.After(c.s.Now())
	}
	unmodified := func(condition string) error {
		if prefix != "" {
			return preconditionFailed(condition)
		}
		e := failure(304, "NotModified", "Not Modified")
		e.header = http.Header{"Etag": {quote(v.etag)}, "Last-Modified": {v.modified.Format(http.TimeFormat)}}
		return e
	}
	if m := c.h(prefix + "If-Match"); m != "" {
		if !matches(m, v.etag) {
			return preconditionFailed(prefix + "If-Match")
		}
	} else if t, ok := date("If-Unmodified-Since"); ok && v.modified.After(t) {
		return preconditionFailed(prefix + "If-Unmodified-Since")
	}
	if m := c.h(prefix + "If-None-Match"); m != "" {
		if matches(m, v.etag) {
			return unmodified(prefix + "If-None-Match")
		}
	} else if t, ok := date("If-Modified-Since"); ok && !v.modified.After(t) {
		return unmodified(prefix + "If-Modified-Since")
	}
	return nil
}

// writable evaluates the conditions of a write: against the current version, of which a delete marker is as good as none.
func (c *call) writable(b *bucket) error {
	match, none := c.h("If-Match"), c.h("If-None-Match")
	v := b.live(c.key)
	switch {
	case match != "" && none != "", none != "" && none != "*", match == "*":
		return notImplemented("If-None-Match")
	case none != "" && v != nil:
		return preconditionFailed("If-None-Match")
	case match != "" && v == nil:
		return failure(404, "NoSuchKey", "The specified key does not exist.")
	case match != "" && unquote(match) != v.etag:
		return preconditionFailed("If-Match")
	}
	return nil
}

// store makes a new version of the request's key and tells its id.
func (c *call) store(b *bucket, v *version, a *response) error {
	if len(c.key) > 1024 {
		return failure(400, "KeyTooLongError", "Your key is too long").with("MaxSizeAllowed", "1024")
	}
	c.s.fill(b, v)
	c.s.push(b, c.key, v)
	a.set("x-amz-version-id", b.shownID(v))
	v.Encryption.show(a, true)
	return nil
}

func putObject(c *call) (*response, error) {
	b := c.b()
	known, err := c.verify()
	if err != nil {
		return nil, err
	}
	attrs, err := c.given()
	if err != nil {
		return nil, err
	}
	if err := c.digestForLock(b, attrs.Lock, known); err != nil {
		return nil, err
	}
	if err := c.writable(b); err != nil {
		return nil, err
	}
	v := &version{Attrs: attrs, body: bytesContent(c.body), modified: c.s.now(), known: known}
	c.s.fill(b, v)
	v.etag = c.s.etagOf(v.body, v.Encryption)
	a := answer(200)
	if err := c.store(b, v, a); err != nil {
		return nil, err
	}
	a.set("ETag", quote(v.etag))
	v.checksum().show(a.header)
	return a, nil
}

// digestForLock: an upload with a lock, or into a bucket that gives one, must be verifiable.
func (c *call) digestForLock(b *bucket, l Lock, known checksum) error {
	if (l != Lock{} || b.ObjectLock && (b.DefaultMode != "" || b.DefaultHoldDays > 0)) && known.algorithm == "" && c.h("Content-Md5") == "" {
		return invalidRequest("Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	}
	return nil
}

// getObject answers GET and HEAD, which differ in the body alone.
func getObject(c *call) (*response, error) {
	b := c.b()
	v, err := c.find(b, c.key, c.q.Get("versionId"))
	if err != nil {
		return nil, err
	}
	if err := c.unlock(v, "X-Amz-Server-Side-Encryption"); err != nil {
		return nil, err
	}
	if err := c.readable(v, ""); err != nil {
		return nil, err
	}
	if c.op == "GetObject" && v.archived(c.s.now()) {
		return nil, invalidState(v)
	}
	a := answer(200)
	start, end, partial, err := c.span(v)
	if err != nil {
		return nil, err
	}
	a.body = v.body
	if partial {
		a.status = 206
		a.body = v.body.slice(start, end)
		a.set("Content-Range", "bytes "+strconv.FormatInt(start, 10)+"-"+strconv.FormatInt(end-1, 10)+"/"+strconv.FormatInt(v.body.size, 10))
	}
	if c.q.Get("partNumber") != "" && len(v.parts) > 0 {
		a.set("x-amz-mp-parts-count", strconv.Itoa(len(v.parts)))
	}
	c.describe(a, b, v)
	// Over a part of the bytes there is no checksum to show.
	if c.h("X-Amz-Checksum-Mode") == "ENABLED" && !partial {
		v.checksum().show(a.header)
	}
	return a, nil
}

func invalidState(v *version) *apiError {
	e := failure(403, "InvalidObjectState", "The operation is not valid for the object's storage class").with("StorageClass", v.class())
	if v.ArchiveStatus != "" {
		e = e.with("AccessTier", v.ArchiveStatus)
	}
	return e
}

// describe puts what is known of a version into headers, as far as the caller may see it.
func (c *call) describe(a *response, b *bucket, v *version) {
	for k, value := range v.Headers {
		a.set(k, value)
	}
	for k, value := range v.Metadata {
		// What is not ASCII comes back encoded after RFC 2047.
		a.set("x-amz-meta-"+k, mime.BEncoding.Encode("UTF-8", value))
	}
	for _, name := range system {
		a.set(name, c.q.Get("response-"+strings.ToLower(name)))
	}
	if v.MissingMeta > 0 {
		a.set("x-amz-missing-meta", strconv.Itoa(v.MissingMeta))
	}
	a.set("ETag", quote(v.etag))
	a.set("Last-Modified", v.modified.Format(http.TimeFormat))
	a.set("Accept-Ranges", "bytes")
	a.set("x-amz-version-id", b.shownID(v))
	a.set("x-amz-website-redirect-location", v.Redirect)
	if v.class() != "STANDARD" {
		a.set("x-amz-storage-class", v.class())
	}
	a.set("x-amz-archive-status", v.ArchiveStatus)
	a.set("x-amz-restore", v.restoreHeader(c.s.now()))
	a.set("x-amz-replication-status", v.Replication)
	v.Encryption.show(a, false)
	if len(v.Tags) > 0 && !c.s.denied["s3:GetObjectTagging"] {
		a.set("x-amz-tagging-count", strconv.Itoa(len(v.Tags)))
	}
	// Whoever may not see locks sees none.
	if !c.s.denied["s3:GetObjectRetention"] {
		if v.Lock.Mode != "" {
			a.set("x-amz-object-lock-mode", v.Lock.Mode)
		}
		if !v.Lock.Until.IsZero() {
			a.set("x-amz-object-lock-retain-until-date", v.Lock.Until.UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		if v.Lock.EventHold {
			a.set("x-amz-object-lock-event-hold", "ON")
			a.set("x-amz-object-lock-event-hold-duration-days", strconv.Itoa(v.Lock.HoldDays))
		}
	}
	if !c.s.denied["s3:GetObjectLegalHold"] && v.Lock.LegalHold {
		a.set("x-amz-object-lock-legal-hold", "ON")
	}
}

// span returns the bytes that a Range header or a part number asks for. S3 ignores ranges it does not understand, several at once
// among them.
func (c *call) span(v *version) (start, end int64, partial bool, err error) {
	size := v.body.size
	if p := c.q.Get("partNumber"); p != "" {
		n, perr := strconv.Atoi(p)
		parts := v.parts
		if len(parts) == 0 {
			parts = []int64{size}
		}
		if perr != nil || n < 1 {
			return 0, 0, false, invalidArgument("partNumber", p, "Part number must be an integer between 1 and 10000, inclusive")
		}
		if n > len(parts) {
			return 0, 0, false, failure(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
		}
		for _, before := range parts[:n-1] {
			start += before
		}
		return start, start + parts[n-1], true, nil
	}
	spec, ok := strings.CutPrefix(c.h("Range"), "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, size, false, nil
	}
	first, ferr := strconv.ParseInt(from, 10, 64)
	last, lerr := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && lerr == nil && last >= 0: // the last bytes
		start, end = max(0, size-last), size
		if last == 0 {
			start = size
		}
	case ferr == nil && to == "":
		start, end = first, size
	case ferr == nil && lerr == nil && first <= last:
		start, end = first, min(last+1, size)
	default:
		return 0, size, false, nil
	}
	if start >= size {
		e := failure(416, "InvalidRange", "The requested range is not satisfiable").
			with("RangeRequested", c.h("Range")).with("ActualObjectSize", strconv.FormatInt(size, 10))
		e.header = http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(size, 10)}}
		return 0, 0, false, e
	}
	return start, end, true, nil
}

func getAttributes(c *call) (*response, error) {
	b := c.b()
	v, err := c.find(b, c.key, c.q.Get("versionId"))
	if err != nil {
		return nil, err
	}
	d := newDocument("GetObjectAttributesResponse")
	for want := range strings.SplitSeq(strings.Join(c.r.Header.Values("X-Amz-Object-Attributes"), ","), ",") {
		switch strings.TrimSpace(want) {
		case "ETag":
			d.add("ETag", v.etag)
		case "ObjectSize":
			d.number("ObjectSize", v.body.size)
		case "StorageClass":
			d.add("StorageClass", v.class())
		case "Checksum":
			k := v.checksum()
			d.open("Checksum")
			d.add("Checksum"+k.algorithm, k.value)
			d.add("ChecksumType", k.kind)
			d.close()
		case "ObjectParts":
			if len(v.parts) > 0 {
				d.open("ObjectParts")
				d.number("TotalPartsCount", int64(len(v.parts)))
				d.close()
			}
		default:
			return nil, invalidArgument("x-amz-object-attributes", want, "Invalid attribute name specified.")
		}
	}
	a := d.answer(200)
	a.set("Last-Modified", v.modified.Format(http.TimeFormat))
	a.set("x-amz-version-id", b.shownID(v))
	return a, nil
}

// source finds what a copy reads, and checks everything that is asked of it.
func (c *call) source() (b *bucket, v *version, err error) {
	raw := c.h("X-Amz-Copy-Source")
	path, query, _ := strings.Cut(raw, "?")
	path, perr := url.PathUnescape(strings.TrimPrefix(path, "/"))
	name, key, ok := strings.Cut(path, "/")
	id, isVersion := strings.CutPrefix(query, "versionId=")
	if perr != nil || !ok || name == "" || key == "" || query != "" && !isVersion {
		return nil, nil, invalidArgument("x-amz-copy-source", "", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	if b = c.s.buckets[name]; b == nil {
		return nil, nil, noSuchBucket(name)
	}
	if err := c.s.admitOwner(b, c.h("X-Amz-Source-Expected-Bucket-Owner")); err != nil {
		return nil, nil, err
	}
	action := "s3:GetObject"
	if id != "" {
		action = "s3:GetObjectVersion"
	}
	if err := c.allowed(action); err != nil {
		return nil, nil, err
	}
	v, err = c.find(b, key, id)
	if err != nil {
		var e *apiError
		if errors.As(err, &e) && e.status == 405 {
			// A delete marker is no source, whichever way it is named.
			return nil, nil, invalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		return nil, nil, err
	}
	if err := c.unlock(v, "X-Amz-Copy-Source-Server-Side-Encryption"); err != nil {
		return nil, nil, err
	}
	if v.archived(c.s.now()) {
		return nil, nil, failure(403, "InvalidObjectState", "The source object of the COPY operation is not in the active tier").with("StorageClass", v.class())
	}
	return b, v, c.readable(v, "X-Amz-Copy-Source-")
}

func directive(c *call, name, other string) (copying bool, err error) {
	switch v := c.h(name); v {
	case "", "COPY":
		return true, nil
	case other:
		return false, nil
	default:
		return false, invalidArgument(name, v, "Unknown directive.")
	}
}

func copyObject(c *call) (*response, error) {
	b := c.b()
	from, src, err := c.source()
	if err != nil {
		return nil, err
	}
	if src.body.size > c.s.Limits.MaxPart {
		return nil, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", c.s.Limits.MaxPart)
	}
	attrs, err := c.given()
	if err != nil {
		return nil, err
	}
	metaCopied, err := directive(c, "X-Amz-Metadata-Directive", "REPLACE")
	if err != nil {
		return nil, err
	}
	tagsCopied, err := directive(c, "X-Amz-Tagging-Directive", "REPLACE")
	if err != nil {
		return nil, err
	}
	annotationsCopied, err := directive(c, "X-Amz-Object-Annotation-Directive", "EXCLUDE")
	if err != nil {
		return nil, err
	}
	if from == b && src == b.current(c.key) && slices.Contains(b.objects[c.key], src) && metaCopied &&
		attrs.StorageClass == src.StorageClass && attrs.Redirect == "" && attrs.Encryption == (Encryption{}) {
		return nil, invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if metaCopied {
		attrs.Headers, attrs.Metadata = src.Headers, src.Metadata
	}
	if tagsCopied {
		if attrs.Tags = src.Tags; len(src.Tags) > 0 {
			if err := c.allowed("s3:GetObjectTagging", "s3:PutObjectTagging"); err != nil {
				return nil, err
			}
		}
	}
	if annotationsCopied && len(src.Annotations) > 0 {
		if err := c.allowed("s3:GetObjectAnnotation", "s3:PutObjectAnnotation"); err != nil {
			return nil, err
		}
		attrs.Annotations = src.Annotations
	}
	if err := c.writable(b); err != nil {
		return nil, err
	}
	v := &version{Attrs: attrs.clone(), body: src.body, modified: c.s.now()}
	// A copy keeps the algorithm of its source and is one whole.
	algorithm := src.checksum().algorithm
	if want := c.h("X-Amz-Checksum-Algorithm"); want != "" {
		if algorithm = strings.ToUpper(want); algorithms[algorithm] == nil {
			return nil, notImplemented("x-amz-checksum-algorithm")
		}
	}
	if algorithm != "CRC64NVME" {
		v.known = v.body.checksum(algorithm)
	}
	c.s.fill(b, v)
	v.etag = c.s.etagOf(v.body, v.Encryption)
	d := newDocument("CopyObjectResult")
	d.add("ETag", quote(v.etag))
	d.time("LastModified", v.modified)
	d.some("Checksum"+v.known.algorithm, v.known.value)
	a := d.answer(200)
	if err := c.store(b, v, a); err != nil {
		return nil, err
	}
	a.set("x-amz-copy-source-version-id", from.shownID(src))
	return a, nil
}

// removed is what a delete did.
type removed struct {
	marker  bool   // a delete marker was made or removed
	version string // its id, or that of the version removed
}

// erase deletes one key as DeleteObject and DeleteObjects do.
func (c *call) erase(b *bucket, key, id, match string) (removed, error) {
	if match != "" {
		// The condition looks at the current version alone, whichever version is named.
		cur := b.current(key)
		switch {
		case cur == nil:
			return removed{}, failure(404, "NoSuchKey", "The specified key does not exist.")
		case cur.marker, match != "*" && unquote(match) != cur.etag:
			return removed{}, preconditionFailed("If-Match")
		}
	}
	if id == "" {
		if b.Versioning == VersioningOff {
			b.remove(key, Null)
			return removed{}, nil
		}
		v := &version{marker: true, modified: c.s.now()}
		c.s.push(b, key, v)
		return removed{true, v.id}, nil
	}
	if !validID(id) {
		return removed{}, invalidArgument("versionId", id, "Invalid version id specified")
	}
	if b.MFADelete && c.h("X-Amz-Mfa") != c.s.MFA {
		return removed{}, failure(403, "AccessDenied", "Mfa Authentication must be used for this request")
	}
	v := b.version(key, id)
	if v == nil {
		return removed{version: id}, nil
	}
	if !v.marker && v.locked(c.s.now(), c.bypass()) {
		return removed{}, failure(403, "AccessDenied", "Access Denied because object protected by object lock.")
	}
	b.remove(key, id)
	return removed{v.marker, id}, nil
}

// bypass reports whether the caller asked to lift governance mode and may.
func (c *call) bypass() bool {
	return c.h("X-Amz-Bypass-Governance-Retention") == "true" && !c.s.denied["s3:BypassGovernanceRetention"]
}

func deleteObject(c *call) (*response, error) {
	b := c.b()
	done, err := c.erase(b, c.key, c.q.Get("versionId"), c.h("If-Match"))
	if err != nil {
		return nil, err
	}
	a := answer(204)
	if done.marker {
		a.set("x-amz-delete-marker", "true")
	}
	if b.Versioning != VersioningOff {
		a.set("x-amz-version-id", done.version)
	}
	return a, nil
}

func deleteObjects(c *call) (*response, error) {
	b := c.b()
	var in struct {
		Quiet  bool
		Object []struct{ Key, VersionId, ETag string } // names as in the document
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Object) == 0 || len(in.Object) > 1000 {
		return nil, malformedXML()
	}
	if known, err := c.verify(); err != nil {
		return nil, err
	} else if known.algorithm == "" && c.h("Content-Md5") == "" {
		return nil, invalidRequest("Missing required header for this request: Content-MD5")
	}
	d := newDocument("DeleteResult")
	for _, o := range in.Object {
		action := "s3:DeleteObject"
		if o.VersionId != "" {
			action = "s3:DeleteObjectVersion"
		}
		err := c.allowed(action)
		var done removed
		if err == nil {
			done, err = c.erase(b, o.Key, o.VersionId, o.ETag)
		}
		var e *apiError
		if errors.As(err, &e) {
			d.open("Error")
			d.add("Key", o.Key)
			d.some("VersionId", o.VersionId)
			d.add("Code", e.code)
			d.add("Message", e.message)
			d.close()
			continue
		}
		if in.Quiet {
			continue
		}
		d.open("Deleted")
		d.add("Key", o.Key)
		d.some("VersionId", o.VersionId)
		if done.marker {
			d.bool("DeleteMarker", true)
			d.add("DeleteMarkerVersionId", done.version)
		}
		d.close()
	}
	return d.answer(200), nil
}
