package s3fake

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// count reads a page size; more than the greatest is the greatest.
func (c *call) count(name string, greatest int) (int, error) {
	v := c.q.Get(name)
	if v == "" {
		return greatest, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, invalidArgument(name, v, "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return min(n, greatest), nil
}

// common returns the common prefix under which a key is rolled up, or "".
func common(key, prefix, delimiter string) string {
	if delimiter == "" {
		return ""
	}
	head, _, ok := strings.Cut(key[len(prefix):], delimiter)
	if !ok {
		return ""
	}
	return prefix + head + delimiter
}

func listBuckets(c *call) (*response, error) {
	limit, err := c.count("max-buckets", 10000)
	if err != nil {
		return nil, err
	}
	d := newDocument("ListAllMyBucketsResult")
	d.owner("Owner", c.s.Account)
	d.open("Buckets")
	token, _ := base64.StdEncoding.DecodeString(c.q.Get("continuation-token")) // our own
	n, next := 0, ""
	for _, name := range slices.Sorted(maps.Keys(c.s.buckets)) {
		b := c.s.buckets[name]
		if c.s.owner(b) != c.s.Account || !strings.HasPrefix(name, c.q.Get("prefix")) || name <= string(token) {
			continue
		}
		if n == limit {
			break
		}
		d.open("Bucket")
		d.add("Name", name)
		d.time("CreationDate", b.created)
		d.add("BucketRegion", c.s.Region)
		d.close()
		if n++; n == limit {
			next = base64.StdEncoding.EncodeToString([]byte(name))
		}
	}
	d.close()
	d.some("Prefix", c.q.Get("prefix"))
	if c.q.Has("max-buckets") {
		d.some("ContinuationToken", next)
	}
	return d.answer(200), nil
}

func listObjects(c *call) (*response, error) {
	b := c.b()
	enc, err := c.encoder()
	if err != nil {
		return nil, err
	}
	limit, err := c.count("max-keys", 1000)
	if err != nil {
		return nil, err
	}
	prefix, delimiter, after := c.q.Get("prefix"), c.q.Get("delimiter"), c.q.Get("start-after")
	if t := c.q.Get("continuation-token"); c.q.Has("continuation-token") {
		raw, err := base64.URLEncoding.DecodeString(t)
		if err != nil || t == "" {
			return nil, invalidArgument("continuation-token", t, "The continuation token provided is incorrect")
		}
		after = string(raw) // the start-after of the first page plays no part any more
	}
	d := newDocument("ListBucketResult")
	n, last, rolled, more := 0, "", "", false
	var prefixes []string
	for _, key := range b.sorted() {
		v := b.live(key)
		if v == nil || !strings.HasPrefix(key, prefix) {
			continue
		}
		p := common(key, prefix, delimiter)
		if key <= after || p != "" && (p == rolled || p <= after) {
			continue
		}
		if n == limit {
			more = true
			break
		}
		n++
		if last = key; p != "" {
			last, rolled = p, p
			prefixes = append(prefixes, p)
			continue
		}
		d.open("Contents")
		d.add("Key", enc(key))
		d.time("LastModified", v.modified)
		d.add("ETag", quote(v.etag))
		d.add("ChecksumAlgorithm", v.checksumAlgorithm())
		d.number("Size", v.body.size)
		d.add("StorageClass", v.class())
		if c.q.Get("fetch-owner") == "true" {
			d.owner("Owner", c.s.owner(b))
		}
		c.restoreStatus(d, v)
		d.close()
	}
	for _, p := range prefixes {
		d.open("CommonPrefixes")
		d.add("Prefix", enc(p))
		d.close()
	}
	d.add("Name", c.bucket)
	d.add("Prefix", enc(prefix))
	d.some("Delimiter", enc(delimiter))
	d.some("StartAfter", enc(c.q.Get("start-after")))
	d.some("EncodingType", c.q.Get("encoding-type"))
	d.some("ContinuationToken", c.q.Get("continuation-token"))
	d.number("KeyCount", int64(n))
	d.number("MaxKeys", int64(limit))
	d.bool("IsTruncated", more && limit > 0)
	if more && limit > 0 {
		d.add("NextContinuationToken", base64.URLEncoding.EncodeToString([]byte(last)))
	}
	return d.answer(200), nil
}

func (v *version) checksumAlgorithm() string {
	if v.known.algorithm == "" {
		return "CRC64NVME"
	}
	return v.known.algorithm
}

// restoreStatus is in lists for those who ask for it.
func (c *call) restoreStatus(d *document, v *version) {
	if c.h("X-Amz-Optional-Object-Attributes") != "RestoreStatus" || v.Restore == (Restore{}) {
		return
	}
	d.open("RestoreStatus")
	d.bool("IsRestoreInProgress", v.Restore.Ongoing)
	if !v.Restore.Ongoing {
		d.time("RestoreExpiryDate", v.Restore.Until)
	}
	d.close()
}

func listVersions(c *call) (*response, error) {
	b := c.b()
	enc, err := c.encoder()
	if err != nil {
		return nil, err
	}
	limit, err := c.count("max-keys", 1000)
	if err != nil {
		return nil, err
	}
	prefix, delimiter, after, afterID := c.q.Get("prefix"), c.q.Get("delimiter"), c.q.Get("key-marker"), c.q.Get("version-id-marker")
	if afterID != "" && after == "" {
		return nil, invalidArgument("version-id-marker", afterID, "A version-id marker cannot be specified without a key marker.")
	}
	if afterID != "" && !validID(afterID) {
		return nil, invalidArgument("version-id-marker", afterID, "Invalid version id specified")
	}
	d := newDocument("ListVersionsResult")
	n, lastKey, lastID, rolled, more := 0, "", "", "", false
	var prefixes []string
page:
	for _, key := range b.sorted() {
		if !strings.HasPrefix(key, prefix) || key < after || key == after && afterID == "" {
			continue
		}
		if p := common(key, prefix, delimiter); p != "" {
			if p == rolled || p <= after {
				continue
			}
			if n == limit {
				more = true
				break
			}
			n, rolled, lastKey, lastID = n+1, p, p, ""
			prefixes = append(prefixes, p)
			continue
		}
		for i, v := range b.objects[key] {
			// The marker's version may be gone; the listing goes on behind the place where it was.
			if key == after && v.placed >= b.placed[key+"\x00"+afterID] {
				continue
			}
			if n == limit {
				more = true
				break page
			}
			n, lastKey, lastID = n+1, key, v.id
			if v.marker {
				d.open("DeleteMarker")
			} else {
				d.open("Version")
			}
			d.add("Key", enc(key))
			d.add("VersionId", v.id)
			d.bool("IsLatest", i == 0)
			d.time("LastModified", v.modified)
			if !v.marker {
				d.add("ETag", quote(v.etag))
				d.add("ChecksumAlgorithm", v.checksumAlgorithm())
				d.number("Size", v.body.size)
				d.add("StorageClass", v.class())
				c.restoreStatus(d, v)
			}
			d.owner("Owner", c.s.owner(b))
			d.close()
		}
	}
	for _, p := range prefixes {
		d.open("CommonPrefixes")
		d.add("Prefix", enc(p))
		d.close()
	}
	d.add("Name", c.bucket)
	d.add("Prefix", enc(prefix))
	d.some("Delimiter", enc(delimiter))
	d.add("KeyMarker", enc(after))
	d.add("VersionIdMarker", afterID)
	d.some("EncodingType", c.q.Get("encoding-type"))
	d.number("MaxKeys", int64(limit))
	d.bool("IsTruncated", more && limit > 0)
	if more && limit > 0 {
		d.add("NextKeyMarker", enc(lastKey))
		d.some("NextVersionIdMarker", lastID)
	}
	return d.answer(200), nil
}

func listUploads(c *call) (*response, error) {
	b := c.b()
	enc, err := c.encoder()
	if err != nil {
		return nil, err
	}
	limit, err := c.count("max-uploads", 1000)
	if err != nil {
		return nil, err
	}
	if c.q.Get("delimiter") != "" {
		return nil, notImplemented("delimiter")
	}
	prefix, after, afterID := c.q.Get("prefix"), c.q.Get("key-marker"), c.q.Get("upload-id-marker")
	d := newDocument("ListMultipartUploadsResult")
	n, lastKey, lastID, more := 0, "", "", false
	skip := after != "" && afterID != ""
	for _, u := range b.sortedUploads() {
		if !strings.HasPrefix(u.key, prefix) || u.key < after || u.key == after && afterID == "" && after != "" {
			continue
		}
		if u.key == after && skip {
			skip = u.id != afterID
			continue
		}
		if n == limit {
			more = true
			break
		}
		n, lastKey, lastID = n+1, u.key, u.id
		d.open("Upload")
		d.add("Key", enc(u.key))
		d.add("UploadId", u.id)
		d.owner("Initiator", c.s.Account)
		d.owner("Owner", c.s.owner(b))
		d.add("StorageClass", (&version{Attrs: u.attrs}).class())
		d.time("Initiated", u.started)
		d.some("ChecksumAlgorithm", u.algorithm)
		d.some("ChecksumType", u.kind)
		d.close()
	}
	d.add("Bucket", c.bucket)
	d.add("Prefix", enc(prefix))
	d.add("KeyMarker", enc(after))
	d.add("UploadIdMarker", afterID)
	d.some("EncodingType", c.q.Get("encoding-type"))
	d.number("MaxUploads", int64(limit))
	d.bool("IsTruncated", more && limit > 0)
	if more && limit > 0 {
		d.add("NextKeyMarker", enc(lastKey))
		d.add("NextUploadIdMarker", lastID)
	}
	return d.answer(200), nil
}
