package s3fake

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// S3's limits on tags and annotations.
const (
	maxTags           = 10
	maxTagKey         = 128 // characters
	maxTagValue       = 256 // characters
	maxAnnotations    = 1000
	maxAnnotation     = mib
	maxAnnotationName = 512 // bytes
)

func invalidTag(format string, args ...any) *apiError {
	return failure(400, "InvalidTag", format, args...)
}

func checkTags(tags []Tag) error {
	if len(tags) > maxTags {
		return failure(400, "BadRequest", "Object tags cannot be greater than 10")
	}
	allowed := func(s string) bool {
		return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsSpace(r) && !strings.ContainsRune("+-=._:/@", r)
		}) < 0
	}
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey || !allowed(t.Key):
			return invalidTag("The TagKey you have provided is invalid")
		case utf8.RuneCountInString(t.Value) > maxTagValue || !allowed(t.Value):
			return invalidTag("The TagValue you have provided is invalid")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return invalidTag("System tags cannot be added/updated by requester")
		case seen[t.Key]:
			return invalidTag("Cannot provide multiple Tags with the same key")
		}
		seen[t.Key] = true
	}
	return nil
}

// givenTags reads x-amz-tagging.
func (c *call) givenTags() ([]Tag, error) {
	h := c.h("X-Amz-Tagging")
	q, err := url.ParseQuery(h)
	var tags []Tag
	for _, k := range slices.Sorted(maps.Keys(q)) {
		if len(q[k]) > 1 || err != nil {
			err = invalidArgument("x-amz-tagging", "", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
			return nil, err
		}
		tags = append(tags, Tag{k, q.Get(k)})
	}
	if err != nil {
		return nil, invalidArgument("x-amz-tagging", "", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	return tags, checkTags(tags)
}

func (c *call) named() (*bucket, *version, error) {
	b := c.b()
	v, err := c.find(b, c.key, c.q.Get("versionId"))
	return b, v, err
}

// about is an answer that tells the version it is about.
func (c *call) about(a *response, b *bucket, v *version) *response {
	a.set("x-amz-version-id", b.shownID(v))
	return a
}

func getTagging(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	d := newDocument("Tagging")
	d.open("TagSet")
	for _, t := range v.Tags {
		d.open("Tag")
		d.add("Key", t.Key)
		d.add("Value", t.Value)
		d.close()
	}
	return c.about(d.answer(200), b, v), nil
}

func putTagging(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if _, err := c.verify(); err != nil {
		return nil, err
	}
	var in struct {
		TagSet *struct{ Tag []Tag }
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.TagSet == nil {
		return nil, malformedXML()
	}
	if err := checkTags(in.TagSet.Tag); err != nil {
		return nil, err
	}
	v.Tags = in.TagSet.Tag
	return c.about(answer(200), b, v), nil
}

func deleteTagging(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	v.Tags = nil
	return c.about(answer(204), b, v), nil
}

// --- access control lists

const enforced = "BucketOwnerEnforced"

func (b *bucket) ownership() string { return cmp.Or(b.Ownership, enforced) }

const allUsers = "http://acs.amazonaws.com/groups/global/AllUsers"

// givenACL reads a canned list or grants of a new object.
func (c *call) givenACL() ([]Grant, error) {
	canned := c.h("X-Amz-Acl")
	var grants []Grant
	for name, permission := range map[string]string{
		"X-Amz-Grant-Full-Control": "FULL_CONTROL", "X-Amz-Grant-Read": "READ", "X-Amz-Grant-Read-Acp": "READ_ACP", "X-Amz-Grant-Write-Acp": "WRITE_ACP",
	} {
		if c.h(name) == "" {
			continue
		}
		for g := range strings.SplitSeq(c.h(name), ",") {
			kind, value, _ := strings.Cut(strings.TrimSpace(g), "=")
			value = strings.Trim(value, `"`)
			switch kind {
			case "id":
				grants = append(grants, Grant{ID: value, Permission: permission})
			case "uri":
				grants = append(grants, Grant{URI: value, Permission: permission})
			default:
				return nil, failure(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
			}
		}
	}
	if canned == "" && grants == nil {
		return nil, nil
	}
	if canned != "" && grants != nil {
		return nil, invalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	}
	if b := c.b(); b.ownership() == enforced && canned != "bucket-owner-full-control" {
		return nil, failure(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	owner := Grant{ID: canonicalID(c.s.Account), Permission: "FULL_CONTROL"}
	switch canned {
	case "":
		slices.SortFunc(grants, func(x, y Grant) int { return cmp.Compare(x.Permission+x.ID+x.URI, y.Permission+y.ID+y.URI) })
		return grants, nil
	case "private", "bucket-owner-full-control", "bucket-owner-read":
		return []Grant{owner}, nil
	case "public-read":
		return []Grant{owner, {URI: allUsers, Permission: "READ"}}, nil
	}
	return nil, invalidArgument("x-amz-acl", canned, "")
}

func (c *call) showACL(account string, grants []Grant) *response {
	if grants == nil {
		grants = []Grant{{ID: canonicalID(account), Permission: "FULL_CONTROL"}}
	}
	d := newDocument("AccessControlPolicy")
	d.owner("Owner", account)
	d.open("AccessControlList")
	for _, g := range grants {
		d.open("Grant")
		kind := "CanonicalUser"
		if g.URI != "" {
			kind = "Group"
		}
		fmt.Fprintf(&d.b, `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type=%q>`, kind)
		d.some("ID", g.ID)
		d.some("URI", g.URI)
		d.b.WriteString("</Grantee>")
		d.add("Permission", g.Permission)
		d.close()
	}
	return d.answer(200)
}

func getACL(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	acl := v.ACL
	if b.ownership() == enforced {
		acl = nil // whatever was granted has no effect and is not shown
	}
	return c.about(c.showACL(c.s.owner(b), acl), b, v), nil
}

func putACL(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if b.ownership() == enforced {
		return nil, failure(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	acl, err := c.givenACL()
	if err != nil {
		return nil, err
	}
	if acl == nil {
		var in struct {
			Grants []struct {
				Grantee    struct{ ID, URI string }
				Permission string
			} `xml:"AccessControlList>Grant"`
		}
		if err := c.decode(&in); err != nil {
			return nil, err
		}
		acl = []Grant{}
		for _, g := range in.Grants {
			acl = append(acl, Grant{g.Grantee.ID, g.Grantee.URI, g.Permission})
		}
	}
	v.ACL = acl
	return c.about(answer(200), b, v), nil
}

// --- Object Lock

func missingLockConfiguration() *apiError {
	return invalidRequest("Bucket is missing Object Lock Configuration")
}

func lockTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, invalidArgument("x-amz-object-lock-retain-until-date", text, "The retain until date must be provided in ISO 8601 format")
	}
	return t, nil
}

// givenLock reads the lock of a new version.
func (c *call) givenLock() (l Lock, err error) {
	mode, until, legal, event := c.h("X-Amz-Object-Lock-Mode"), c.h("X-Amz-Object-Lock-Retain-Until-Date"),
		c.h("X-Amz-Object-Lock-Legal-Hold"), c.h("X-Amz-Object-Lock-Event-Hold")
	if mode+until+legal+event == "" {
		return l, nil
	}
	if !c.b().ObjectLock {
		return l, missingLockConfiguration()
	}
	if (mode == "") != (until == "") && event != "ON" {
		return l, invalidArgument("x-amz-object-lock-mode", mode, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if until != "" {
		if l.Until, err = lockTime(until); err != nil {
			return l, err
		}
		if !l.Until.After(c.s.Now()) {
			return l, invalidArgument("x-amz-object-lock-retain-until-date", until, "The retain until date must be in the future!")
		}
	}
	if l.Mode = mode; mode != "" && mode != "GOVERNANCE" && mode != "COMPLIANCE" {
		return l, invalidArgument("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
	}
	if l.LegalHold = legal == "ON"; legal != "" && legal != "ON" && legal != "OFF" {
		return l, invalidArgument("x-amz-object-lock-legal-hold", legal, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	if l.EventHold = event == "ON"; event != "" && event != "ON" && event != "OFF" {
		return l, invalidArgument("x-amz-object-lock-event-hold", event, "Event Hold must be either of 'ON' or 'OFF'")
	}
	l.HoldDays, err = holdDays(c.h("X-Amz-Object-Lock-Event-Hold-Duration-Days"), c.h("X-Amz-Object-Lock-Event-Hold-Duration-Years"))
	return l, err
}

// holdDays reads a duration given in days (1 to 36,500) or in years (1 to 100).
func holdDays(days, years string) (int, error) {
	bad := invalidArgument("x-amz-object-lock-event-hold-duration", days+years, "The duration must be given in either days or years")
	switch {
	case days != "" && years != "":
		return 0, bad
	case days != "":
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return 0, bad
		}
		return n, nil
	case years != "":
		n, err := strconv.Atoi(years)
		if err != nil || n < 1 || n > 100 {
			return 0, bad
		}
		return 365 * n, nil
	}
	return 0, nil
}

func getRetention(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if !b.ObjectLock {
		return nil, missingLockConfiguration()
	}
	l := v.Lock
	if l.Mode == "" && !l.EventHold && l.Until.IsZero() {
		return nil, failure(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
	}
	d := newDocument("Retention")
	d.some("Mode", l.Mode)
	if !l.Until.IsZero() {
		d.time("RetainUntilDate", l.Until)
	}
	if l.EventHold {
		d.add("EventHold", "ON")
		d.open("EventHoldDuration")
		d.number("Days", int64(l.HoldDays))
		d.close()
	}
	return d.answer(200), nil
}

func putRetention(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if !b.ObjectLock {
		return nil, missingLockConfiguration()
	}
	var in struct {
		Mode, RetainUntilDate, EventHold string
		EventHoldDuration                struct{ Days, Years string }
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	next := v.Lock
	next.Mode, next.Until = in.Mode, time.Time{}
	if in.RetainUntilDate != "" {
		if next.Until, err = lockTime(in.RetainUntilDate); err != nil {
			return nil, err
		}
	}
	if (next.Mode == "") != next.Until.IsZero() && in.EventHold == "" {
		return nil, malformedXML()
	}
	days, err := holdDays(in.EventHoldDuration.Days, in.EventHoldDuration.Years)
	if err != nil {
		return nil, err
	}
	switch in.EventHold {
	case "":
	case "ON":
		next.EventHold, next.HoldDays = true, cmp.Or(days, v.Lock.HoldDays)
	case "OFF":
		if v.Lock.EventHold {
			// The duration begins when the hold is released, and does not shorten what was there.
			if end := c.s.now().AddDate(0, 0, v.Lock.HoldDays); end.After(next.Until) {
				next.Until = end
			}
			next.Mode = cmp.Or(next.Mode, v.Lock.Mode, "GOVERNANCE")
		}
		next.EventHold, next.HoldDays = false, 0
	default:
		return nil, malformedXML()
	}
	// Weaker means: other than stricter, while the old one still holds.
	if held := v.Lock.Mode != "" && c.s.now().Before(v.Lock.Until); held {
		weaker := next.Mode == "" || next.Until.Before(v.Lock.Until) || v.Lock.Mode == "COMPLIANCE" && next.Mode != "COMPLIANCE"
		changed := next.Mode != v.Lock.Mode && v.Lock.Mode == "GOVERNANCE"
		if weaker && v.Lock.Mode == "COMPLIANCE" || (weaker || changed) && !c.bypass() {
			return nil, failure(403, "AccessDenied", "Access Denied because object protected by object lock.")
		}
	}
	v.Lock = next
	return answer(200), nil
}

func getLegalHold(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if !b.ObjectLock {
		return nil, missingLockConfiguration()
	}
	d := newDocument("LegalHold")
	d.add("Status", map[bool]string{true: "ON", false: "OFF"}[v.Lock.LegalHold])
	return d.answer(200), nil
}

func putLegalHold(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	if !b.ObjectLock {
		return nil, missingLockConfiguration()
	}
	var in struct{ Status string }
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Status != "ON" && in.Status != "OFF" {
		return nil, malformedXML()
	}
	v.Lock.LegalHold = in.Status == "ON"
	return answer(200), nil
}

// --- annotations

// annotated finds the version that an annotation's request names, and checks the name and the condition on the object's ETag.
func (c *call) annotated() (*bucket, *version, string, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, nil, "", err
	}
	if m := c.h("X-Amz-Object-If-Match"); m != "" && unquote(m) != v.etag {
		return nil, nil, "", preconditionFailed("x-amz-object-if-match")
	}
	name := c.q.Get("annotationName")
	low := strings.ToLower(name)
	switch {
	case len(name) > maxAnnotationName:
		return nil, nil, "", failure(400, "AnnotationNameTooLong", "The annotation name is too long")
	case name == "" || !utf8.ValidString(name) || strings.HasPrefix(low, "aws") || strings.HasPrefix(low, "s3"):
		return nil, nil, "", failure(400, "InvalidAnnotationName", "The annotation name is not valid")
	}
	return b, v, name, nil
}

func noSuchAnnotation() *apiError {
	return failure(404, "NoSuchAnnotation", "The specified annotation does not exist on this object.")
}

func (c *call) aboutAnnotation(a *response, b *bucket, v *version, payload []byte) *response {
	a.set("x-amz-object-version-id", b.shownID(v))
	a.set("x-amz-server-side-encryption", v.Encryption.Algorithm)
	if payload != nil {
		sum := md5.Sum(payload)
		a.set("ETag", quote(hexMD5(sum)))
	}
	return a
}

func putAnnotation(c *call) (*response, error) {
	b, v, name, err := c.annotated()
	if err != nil {
		return nil, err
	}
	known, err := c.verify()
	switch {
	case err != nil:
		return nil, err
	case v.Encryption.CustomerKeyMD5 != "":
		return nil, invalidRequest("Objects encrypted with SSE-C cannot have annotations.")
	case len(c.body) == 0:
		return nil, invalidRequest("The annotation payload must not be empty")
	case len(c.body) > maxAnnotation:
		return nil, tooLarge(int64(len(c.body)), maxAnnotation)
	case !utf8.Valid(c.body):
		return nil, failure(415, "UnsupportedMediaType", "The annotation payload must be valid UTF-8")
	case v.Annotations[name] == nil && len(v.Annotations) >= maxAnnotations:
		return nil, failure(400, "AnnotationLimitExceeded", "The object has the maximum number of annotations")
	}
	if v.Annotations == nil {
		v.Annotations = map[string][]byte{}
	}
	v.Annotations[name] = c.body
	d := newDocument("PutObjectAnnotationOutput")
	d.add("AnnotationName", name)
	d.add("Key", c.key)
	a := c.aboutAnnotation(d.answer(200), b, v, c.body)
	known.show(a.header)
	return a, nil
}

func getAnnotation(c *call) (*response, error) {
	b, v, name, err := c.annotated()
	if err != nil {
		return nil, err
	}
	payload := v.Annotations[name]
	if payload == nil {
		return nil, noSuchAnnotation()
	}
	a := answer(200)
	a.body = bytesContent(bytes.Clone(payload))
	a.set("Last-Modified", v.modified.Format(http.TimeFormat))
	a.set("x-amz-replication-status", v.Replication)
	if c.h("X-Amz-Checksum-Mode") == "ENABLED" {
		a.body.checksum("CRC64NVME").show(a.header)
	}
	return c.aboutAnnotation(a, b, v, payload), nil
}

func deleteAnnotation(c *call) (*response, error) {
	b, v, name, err := c.annotated()
	if err != nil {
		return nil, err
	}
	if v.Annotations[name] == nil {
		return nil, noSuchAnnotation()
	}
	// Documented for governance mode. What protects more gives way less.
	if v.locked(c.s.now(), c.bypass()) {
		return nil, failure(403, "AccessDenied", "Access Denied because object protected by object lock.")
	}
	delete(v.Annotations, name)
	return c.aboutAnnotation(answer(204), b, v, nil), nil
}

func listAnnotations(c *call) (*response, error) {
	b, v, err := c.named()
	if err != nil {
		return nil, err
	}
	limit, err := c.count("max-annotation-results", maxAnnotations)
	if err != nil {
		return nil, err
	}
	after, terr := base64.URLEncoding.DecodeString(c.q.Get("continuation-token"))
	if terr != nil {
		return nil, invalidArgument("continuation-token", "", "The continuation token provided is incorrect")
	}
	prefix := c.q.Get("annotation-prefix")
	d := newDocument("ListObjectAnnotationsOutput")
	d.add("Bucket", c.bucket)
	d.add("Key", c.key)
	d.some("AnnotationPrefix", prefix)
	d.number("MaxAnnotationResults", int64(limit))
	d.open("Annotations")
	n, next := 0, ""
	last := ""
	for _, name := range slices.Sorted(maps.Keys(v.Annotations)) {
		if !strings.HasPrefix(name, prefix) || name <= string(after) {
			continue
		}
		if n == limit {
			next = base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		sum := md5.Sum(v.Annotations[name])
		d.open("AnnotationEntry")
		d.add("AnnotationName", name)
		d.time("LastModified", v.modified)
		d.number("Size", int64(len(v.Annotations[name])))
		d.add("ETag", quote(hexMD5(sum)))
		d.some("ReplicationStatus", v.Replication)
		d.close()
		n, last = n+1, name
	}
	d.close()
	d.number("AnnotationCount", int64(n))
	d.some("NextContinuationToken", next)
	a := d.answer(200)
	a.set("x-amz-object-version-id", b.shownID(v))
	return a, nil
}

// --- restore

func (v *version) restoreHeader(now time.Time) string {
	switch {
	case v.Restore.Ongoing:
		return `ongoing-request="true"`
	case now.Before(v.Restore.Until):
		return `ongoing-request="false", expiry-date="` + v.Restore.Until.UTC().Format(http.TimeFormat) + `"`
	}
	return ""
}

func restoreObject(c *call) (*response, error) {
	_, v, err := c.named()
	if err != nil {
		return nil, err
	}
	var in struct {
		Days                 int
		Tier                 string
		GlacierJobParameters struct{ Tier string }
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	tier := cmp.Or(in.Tier, in.GlacierJobParameters.Tier, "Standard")
	switch {
	case !archival(v.StorageClass, v.ArchiveStatus):
		return nil, failure(403, "InvalidObjectState", "Restore is not allowed for the object's current storage class").with("StorageClass", v.class())
	case v.Restore.Ongoing:
		return nil, failure(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
	case in.Days < 1 && v.ArchiveStatus == "":
		return nil, malformedXML()
	case !slices.Contains([]string{"Standard", "Bulk", "Expedited"}, tier), tier == "Expedited" && v.StorageClass == "DEEP_ARCHIVE":
		return nil, invalidArgument("Tier", tier, "Retrieval option is not supported for this storage class")
	case c.s.now().Before(v.Restore.Until): // already there: only the time changes
		v.Restore.Until = c.s.now().AddDate(0, 0, in.Days)
		return answer(200), nil
	}
	v.Restore = Restore{Ongoing: true}
	return answer(202), nil
}
