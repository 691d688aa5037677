package s3fake

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"coffer/internal/iam"
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func createBucket(c *call) (*response, error) {
	if !bucketName.MatchString(c.bucket) {
		return nil, failure(400, "InvalidBucketName", "The specified bucket is not valid.")
	}
	if b := c.b(); b != nil {
		if c.s.owner(b) != c.s.Account {
			return nil, failure(409, "BucketAlreadyExists", "The requested bucket name is not available.")
		}
		return nil, failure(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	b := newBucket(c.bucket, c.s.now())
	b.Ownership = c.h("X-Amz-Object-Ownership")
	if c.h("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
		b.ObjectLock, b.Versioning = true, VersioningEnabled
	}
	c.s.buckets[c.bucket] = b
	a := answer(200)
	a.set("Location", "/"+c.bucket)
	return a, nil
}

func deleteBucket(c *call) (*response, error) {
	if len(c.b().objects) > 0 {
		return nil, failure(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
	}
	delete(c.s.buckets, c.bucket)
	return answer(204), nil
}

func headBucket(c *call) (*response, error) {
	a := answer(200)
	a.set("x-amz-bucket-region", c.s.Region)
	return a, nil
}

func getBucketLocation(c *call) (*response, error) {
	d := newDocument("LocationConstraint")
	if c.s.Region != "us-east-1" {
		d.text(c.s.Region)
	}
	return d.answer(200), nil
}

func getBucketVersioning(c *call) (*response, error) {
	b := c.b()
	d := newDocument("VersioningConfiguration")
	d.some("Status", b.Versioning)
	if b.MFADelete {
		d.add("MfaDelete", "Enabled")
	}
	return d.answer(200), nil
}

func putBucketVersioning(c *call) (*response, error) {
	b := c.b()
	var in struct{ Status, MfaDelete string }
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	switch {
	case in.Status != VersioningEnabled && in.Status != VersioningSuspended:
		return nil, malformedXML()
	case (b.MFADelete || in.MfaDelete != "") && c.h("X-Amz-Mfa") != c.s.MFA:
		return nil, failure(403, "AccessDenied", "Mfa Authentication must be used for this request")
	case b.ObjectLock && in.Status == VersioningSuspended:
		return nil, failure(409, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	case len(b.Replication) > 0 && in.Status == VersioningSuspended:
		return nil, failure(409, "InvalidBucketState", "A replication configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	b.Versioning = in.Status
	if in.MfaDelete != "" {
		b.MFADelete = in.MfaDelete == "Enabled"
	}
	return answer(200), nil
}

func getBucketEncryption(c *call) (*response, error) {
	e := c.b().Encryption
	d := newDocument("ServerSideEncryptionConfiguration")
	d.open("Rule")
	d.open("ApplyServerSideEncryptionByDefault")
	d.add("SSEAlgorithm", cmp.Or(e.Algorithm, "AES256"))
	d.some("KMSMasterKeyID", e.KeyID)
	d.close()
	d.bool("BucketKeyEnabled", e.BucketKey)
	return d.answer(200), nil
}

func putBucketEncryption(c *call) (*response, error) {
	var in struct {
		Rule []struct {
			ApplyServerSideEncryptionByDefault struct{ SSEAlgorithm, KMSMasterKeyID string }
			BucketKeyEnabled                   bool
		}
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Rule) != 1 {
		return nil, malformedXML()
	}
	by := in.Rule[0].ApplyServerSideEncryptionByDefault
	c.b().Encryption = Encryption{Algorithm: by.SSEAlgorithm, KeyID: by.KMSMasterKeyID, BucketKey: in.Rule[0].BucketKeyEnabled}
	return answer(200), nil
}

func getOwnershipControls(c *call) (*response, error) {
	d := newDocument("OwnershipControls")
	d.open("Rule")
	d.add("ObjectOwnership", c.b().ownership())
	return d.answer(200), nil
}

func putOwnershipControls(c *call) (*response, error) {
	var in struct {
		Rule []struct{ ObjectOwnership string }
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Rule) != 1 {
		return nil, malformedXML()
	}
	c.b().Ownership = in.Rule[0].ObjectOwnership
	return answer(200), nil
}

func getBucketACL(c *call) (*response, error) {
	grants := c.b().ACL
	if c.b().ownership() == enforced {
		grants = nil // see getACL
	}
	return c.showACL(c.s.owner(c.b()), grants), nil
}

// getPolicyStatus calls a policy public that lets everybody in without a condition (S3 user guide, the meaning of "public", which has
// conditions that leave a policy public, too).
func getPolicyStatus(c *call) (*response, error) {
	text, ok := c.b().Documents["policy"]
	if !ok {
		return nil, failure(404, documents["policy"].missing, "The bucket policy does not exist")
	}
	policy, err := iam.Parse([]byte(text))
	if err != nil {
		return nil, failure(400, "MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
	}
	public := slices.ContainsFunc(policy.Statements, func(s iam.Statement) bool {
		return !s.Deny && s.Principal != nil && s.Principal.Any && len(s.Condition) == 0
	})
	d := newDocument("PolicyStatus")
	d.add("IsPublic", strconv.FormatBool(public))
	return d.answer(200), nil
}

func getRequestPayment(c *call) (*response, error) {
	d := newDocument("RequestPaymentConfiguration")
	d.add("Payer", map[bool]string{true: "Requester", false: "BucketOwner"}[c.b().RequesterPays])
	return d.answer(200), nil
}

func putRequestPayment(c *call) (*response, error) {
	var in struct{ Payer string }
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	c.b().RequesterPays = in.Payer == "Requester"
	return answer(200), nil
}

func getLockConfiguration(c *call) (*response, error) {
	b := c.b()
	if !b.ObjectLock {
		return nil, failure(404, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	}
	d := newDocument("ObjectLockConfiguration")
	d.add("ObjectLockEnabled", "Enabled")
	if b.DefaultMode != "" || b.DefaultHoldDays > 0 {
		d.open("Rule")
		d.open("DefaultRetention")
		if b.DefaultMode != "" {
			d.add("Mode", b.DefaultMode)
			d.number("Days", int64(b.DefaultDays))
		}
		if b.DefaultHoldDays > 0 {
			d.open("DefaultEventHold")
			d.number("Days", int64(b.DefaultHoldDays))
			d.close()
		}
	}
	return d.answer(200), nil
}

func putLockConfiguration(c *call) (*response, error) {
	b := c.b()
	var in struct {
		ObjectLockEnabled string
		Rule              *struct {
			DefaultRetention struct {
				Mode             string
				Days, Years      int
				DefaultEventHold struct{ Days, Years string }
			}
		}
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if b.Versioning != VersioningEnabled {
		return nil, failure(409, "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	if in.ObjectLockEnabled != "Enabled" {
		return nil, malformedXML()
	}
	b.ObjectLock, b.DefaultMode, b.DefaultDays, b.DefaultHoldDays = true, "", 0, 0
	if in.Rule == nil {
		return answer(200), nil
	}
	def := in.Rule.DefaultRetention
	if def.Mode != "" && (def.Days > 0) == (def.Years > 0) {
		return nil, malformedXML()
	}
	hold, err := holdDays(def.DefaultEventHold.Days, def.DefaultEventHold.Years)
	if err != nil {
		return nil, err
	}
	b.DefaultMode, b.DefaultDays, b.DefaultHoldDays = def.Mode, def.Days+365*def.Years, hold
	return answer(200), nil
}

const bucketARN = "arn:aws:s3:::"

func getReplication(c *call) (*response, error) {
	b := c.b()
	if len(b.Replication) == 0 {
		return nil, failure(404, "ReplicationConfigurationNotFoundError", "The replication configuration was not found")
	}
	d := newDocument("ReplicationConfiguration")
	d.add("Role", "arn:aws:iam::"+c.s.Account+":role/replication")
	status := func(off bool) string { return map[bool]string{true: "Disabled", false: "Enabled"}[off] }
	for i, r := range b.Replication {
		d.open("Rule")
		d.add("ID", cmp.Or(r.ID, "rule-"+strconv.Itoa(i+1)))
		d.number("Priority", int64(i+1))
		d.open("Filter")
		if r.Tag != (Tag{}) {
			d.open("And")
			d.add("Prefix", r.Prefix)
			d.open("Tag")
			d.add("Key", r.Tag.Key)
			d.add("Value", r.Tag.Value)
			d.close()
			d.close()
		} else {
			d.add("Prefix", r.Prefix)
		}
		d.close()
		d.add("Status", status(r.Disabled))
		d.open("DeleteMarkerReplication")
		d.add("Status", status(!r.DeleteMarkers))
		d.close()
		d.open("Destination")
		d.add("Bucket", bucketARN+r.Destination)
		d.close()
		d.close()
	}
	return d.answer(200), nil
}

func putReplication(c *call) (*response, error) {
	b := c.b()
	var in struct {
		Rule []struct {
			ID, Status, Prefix string
			Filter             struct {
				Prefix string
				Tag    Tag
				And    struct {
					Prefix string
					Tag    Tag
				}
			}
			DeleteMarkerReplication struct{ Status string }
			Destination             struct{ Bucket string }
		}
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if b.Versioning != VersioningEnabled {
		return nil, invalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
	}
	var rules []ReplicationRule
	for _, r := range in.Rule {
		tag := r.Filter.Tag
		if tag == (Tag{}) {
			tag = r.Filter.And.Tag
		}
		rules = append(rules, ReplicationRule{
			ID: r.ID, Prefix: cmp.Or(r.Prefix, r.Filter.Prefix, r.Filter.And.Prefix), Tag: tag, Destination: strings.TrimPrefix(r.Destination.Bucket, bucketARN),
			Disabled: r.Status != "Enabled", DeleteMarkers: r.DeleteMarkerReplication.Status == "Enabled",
		})
	}
	b.Replication = rules
	return answer(200), nil
}

func deleteReplication(c *call) (*response, error) {
	c.b().Replication = nil
	return answer(204), nil
}

func getDocument(c *call, sub string) (*response, error) {
	text, ok := c.b().Documents[sub]
	if !ok && documents[sub].missing != "" {
		return nil, failure(404, documents[sub].missing, "The configuration does not exist")
	}
	if !ok {
		return newDocument(documents[sub].name).answer(200), nil
	}
	a := answer(200)
	a.set("Content-Type", map[bool]string{true: "application/json", false: "application/xml"}[sub == "policy"])
	a.body = bytesContent([]byte(text))
	return a, nil
}

func putDocument(c *call, sub string) (*response, error) {
	if c.b().Documents == nil {
		c.b().Documents = map[string]string{}
	}
	c.b().Documents[sub] = string(c.body)
	return answer(200), nil
}

func deleteDocument(c *call, sub string) (*response, error) {
	delete(c.b().Documents, sub)
	return answer(204), nil
}
