package s3fake

import (
	"net/http"
	"net/url"
	"strings"
)

// place finds bucket and key: in the path, or the bucket as the first label of a host "BUCKET.s3.…".
func place(r *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if b, _, ok := strings.Cut(host(r), ".s3."); ok {
		return b, path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// parameters are the query's keys that only refine an operation; any other names one.
var parameters = map[string]bool{
	"x-id": true, "versionId": true, "prefix": true, "delimiter": true, "marker": true, "max-keys": true, "encoding-type": true, "start-after": true,
	"continuation-token": true, "fetch-owner": true, "key-marker": true, "version-id-marker": true, "upload-id-marker": true, "max-uploads": true,
	"partNumber": true, "part-number-marker": true, "max-parts": true, "annotationName": true, "annotation-prefix": true, "max-annotation-results": true,
	"max-buckets": true, "bucket-region": true, "response-content-type": true, "response-content-disposition": true, "response-cache-control": true,
	"response-content-encoding": true, "response-content-language": true, "response-expires": true,
}

// subresources of buckets that are kept as the documents they were put as, with the part of the operations' names and, where none was
// put, the error.
var documents = map[string]struct{ name, action, missing string }{
	"lifecycle":         {"LifecycleConfiguration", "LifecycleConfiguration", "NoSuchLifecycleConfiguration"},
	"policy":            {"Policy", "BucketPolicy", "NoSuchBucketPolicy"},
	"cors":              {"Cors", "BucketCORS", "NoSuchCORSConfiguration"},
	"website":           {"Website", "BucketWebsite", "NoSuchWebsiteConfiguration"},
	"tagging":           {"Tagging", "BucketTagging", "NoSuchTagSet"},
	"publicAccessBlock": {"PublicAccessBlock", "BucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"},
	"notification":      {"NotificationConfiguration", "BucketNotification", ""},
	"logging":           {"Logging", "BucketLogging", ""},
	"accelerate":        {"AccelerateConfiguration", "AccelerateConfiguration", ""},
}

// routes are the operations by level, method and subresource.
var routes = map[string]string{
	"service GET ": "ListBuckets",

	"bucket PUT ": "CreateBucket", "bucket DELETE ": "DeleteBucket", "bucket HEAD ": "HeadBucket", "bucket GET ": "ListObjects",
	"bucket GET list-type": "ListObjectsV2", "bucket GET versions": "ListObjectVersions", "bucket GET uploads": "ListMultipartUploads",
	"bucket POST delete": "DeleteObjects", "bucket GET location": "GetBucketLocation",
	"bucket GET versioning": "GetBucketVersioning", "bucket PUT versioning": "PutBucketVersioning",
	"bucket GET encryption": "GetBucketEncryption", "bucket PUT encryption": "PutBucketEncryption",
	"bucket GET ownershipControls": "GetBucketOwnershipControls", "bucket PUT ownershipControls": "PutBucketOwnershipControls",
	"bucket GET object-lock": "GetObjectLockConfiguration", "bucket PUT object-lock": "PutObjectLockConfiguration",
	"bucket GET replication": "GetBucketReplication", "bucket PUT replication": "PutBucketReplication", "bucket DELETE replication": "DeleteBucketReplication",
	"bucket GET requestPayment": "GetBucketRequestPayment", "bucket PUT requestPayment": "PutBucketRequestPayment", "bucket GET acl": "GetBucketAcl", "bucket GET policyStatus": "GetBucketPolicyStatus",

	"object GET ": "GetObject", "object HEAD ": "HeadObject", "object PUT ": "PutObject", "object DELETE ": "DeleteObject",
	"object GET attributes": "GetObjectAttributes", "object GET tagging": "GetObjectTagging", "object PUT tagging": "PutObjectTagging",
	"object DELETE tagging": "DeleteObjectTagging", "object GET acl": "GetObjectAcl", "object PUT acl": "PutObjectAcl",
	"object GET retention": "GetObjectRetention", "object PUT retention": "PutObjectRetention",
	"object GET legal-hold": "GetObjectLegalHold", "object PUT legal-hold": "PutObjectLegalHold",
	"object GET annotation": "ListObjectAnnotations", "object PUT annotation": "PutObjectAnnotation", "object DELETE annotation": "DeleteObjectAnnotation",
	"object POST restore": "RestoreObject", "object POST uploads": "CreateMultipartUpload", "object PUT uploadId": "UploadPart",
	"object POST uploadId": "CompleteMultipartUpload", "object DELETE uploadId": "AbortMultipartUpload", "object GET uploadId": "ListParts",
}

// unknown is the name of every operation that the fake does not know.
const unknown = "Unknown"

// malformed is the name of requests whose query cannot be read.
const malformed = "Malformed"

func operation(r *http.Request, q url.Values, bucket, key string) string {
	level := "object"
	switch {
	case bucket == "":
		level = "service"
	case key == "":
		level = "bucket"
	}
	sub := ""
	for k := range q {
		if parameters[k] {
			continue
		}
		if sub != "" {
			return unknown
		}
		sub = k
	}
	if d, ok := documents[sub]; ok && level == "bucket" {
		verb := map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[r.Method]
		if d.name == "PublicAccessBlock" {
			return verb + d.name
		}
		return verb + "Bucket" + d.name
	}
	op := routes[level+" "+r.Method+" "+sub]
	source := r.Header.Get("X-Amz-Copy-Source") != ""
	switch {
	case op == "":
		return unknown
	case op == "PutObject" && source:
		return "CopyObject"
	case op == "UploadPart" && source:
		return "UploadPartCopy"
	case op == "ListObjectAnnotations" && q.Has("annotationName"):
		return "GetObjectAnnotation"
	case op == "GetObject" && q.Has("annotationName"), op == "ListObjects":
		return unknown // the first listing is not needed by anybody here
	}
	return op
}

// operations are what the fake does. Each runs alone.
var operations map[string]func(*call) (*response, error)

func init() {
	operations = map[string]func(*call) (*response, error){
		"ListBuckets": listBuckets, "CreateBucket": createBucket, "DeleteBucket": deleteBucket, "HeadBucket": headBucket,
		"GetBucketLocation": getBucketLocation, "GetBucketVersioning": getBucketVersioning, "PutBucketVersioning": putBucketVersioning,
		"GetBucketEncryption": getBucketEncryption, "PutBucketEncryption": putBucketEncryption,
		"GetBucketOwnershipControls": getOwnershipControls, "PutBucketOwnershipControls": putOwnershipControls,
		"GetObjectLockConfiguration": getLockConfiguration, "PutObjectLockConfiguration": putLockConfiguration,
		"GetBucketReplication": getReplication, "PutBucketReplication": putReplication, "DeleteBucketReplication": deleteReplication,
		"GetBucketRequestPayment": getRequestPayment, "PutBucketRequestPayment": putRequestPayment, "GetBucketAcl": getBucketACL, "GetBucketPolicyStatus": getPolicyStatus,

		"ListObjectsV2": listObjects, "ListObjectVersions": listVersions, "ListMultipartUploads": listUploads, "ListParts": listParts,

		"PutObject": putObject, "GetObject": getObject, "HeadObject": getObject, "GetObjectAttributes": getAttributes,
		"CopyObject": copyObject, "DeleteObject": deleteObject, "DeleteObjects": deleteObjects,

		"CreateMultipartUpload": createUpload, "UploadPart": uploadPart, "UploadPartCopy": uploadPartCopy,
		"CompleteMultipartUpload": completeUpload, "AbortMultipartUpload": abortUpload,

		"GetObjectTagging": getTagging, "PutObjectTagging": putTagging, "DeleteObjectTagging": deleteTagging,
		"GetObjectAcl": getACL, "PutObjectAcl": putACL,
		"GetObjectRetention": getRetention, "PutObjectRetention": putRetention, "GetObjectLegalHold": getLegalHold, "PutObjectLegalHold": putLegalHold,
		"ListObjectAnnotations": listAnnotations, "GetObjectAnnotation": getAnnotation, "PutObjectAnnotation": putAnnotation,
		"DeleteObjectAnnotation": deleteAnnotation, "RestoreObject": restoreObject,
	}
	for sub, d := range documents {
		on := "Bucket" + d.name
		if d.name == "PublicAccessBlock" {
			on = d.name
		}
		operations["Get"+on] = func(c *call) (*response, error) { return getDocument(c, sub) }
		operations["Put"+on] = func(c *call) (*response, error) { return putDocument(c, sub) }
		operations["Delete"+on] = func(c *call) (*response, error) { return deleteDocument(c, sub) }
	}
}

// needs are the actions that the operation is permitted by. What depends on the object (its tags, a source, a lock) is asked where
// it is known.
func (c *call) needs() (actions []string) {
	of := func(action, versioned string) string {
		if c.q.Get("versionId") != "" {
			return versioned
		}
		return action
	}
	switch c.op {
	case "ListBuckets":
		return []string{"s3:ListAllMyBuckets"}
	case "HeadBucket", "ListObjectsV2":
		return []string{"s3:ListBucket"}
	case "ListObjectVersions":
		return []string{"s3:ListBucketVersions"}
	case "ListMultipartUploads":
		return []string{"s3:ListBucketMultipartUploads"}
	case "ListParts":
		return []string{"s3:ListMultipartUploadParts"}
	case "GetBucketEncryption", "PutBucketEncryption":
		return []string{"s3:" + c.op[:3] + "EncryptionConfiguration"}
	case "GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication":
		return []string{"s3:" + strings.Replace(strings.Replace(c.op, "Bucket", "", 1), "Delete", "Put", 1) + "Configuration"}
	case "GetObjectLockConfiguration", "PutObjectLockConfiguration":
		return []string{"s3:" + c.op[:3] + "BucketObjectLockConfiguration"}
	case "GetObject", "HeadObject":
		return []string{of("s3:GetObject", "s3:GetObjectVersion")}
	case "GetObjectAttributes":
		return []string{of("s3:GetObject", "s3:GetObjectVersion"), of("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes")}
	case "GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging":
		return []string{of("s3:"+c.op, "s3:"+strings.Replace(c.op, "Object", "ObjectVersion", 1))}
	case "GetObjectAcl", "PutObjectAcl":
		return []string{of("s3:"+c.op, "s3:"+strings.Replace(c.op, "Object", "ObjectVersion", 1))}
	case "PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload":
		actions = []string{"s3:PutObject"}
		if c.h("X-Amz-Tagging") != "" {
			actions = append(actions, "s3:PutObjectTagging")
		}
		if c.h("X-Amz-Acl") != "" {
			actions = append(actions, "s3:PutObjectAcl")
		}
		if c.h("X-Amz-Object-Lock-Mode") != "" || c.h("X-Amz-Object-Lock-Event-Hold") != "" {
			actions = append(actions, "s3:PutObjectRetention")
		}
		if c.h("X-Amz-Object-Lock-Legal-Hold") != "" {
			actions = append(actions, "s3:PutObjectLegalHold")
		}
		// A condition on an ETag tells something about the object.
		if c.h("If-Match") != "" {
			actions = append(actions, "s3:GetObject")
		}
		return actions
	case "DeleteObject":
		actions = []string{of("s3:DeleteObject", "s3:DeleteObjectVersion")}
		if b := c.b(); b != nil && b.Versioning == VersioningOff {
			actions = []string{"s3:DeleteObject", "s3:DeleteObjectVersion"} // an explicit deny of either holds
		}
		if m := c.h("If-Match"); m != "" && m != "*" {
			actions = append(actions, "s3:GetObject")
		}
		return actions
	case "DeleteObjects":
		return nil // asked for each key
	case "GetPublicAccessBlock", "PutPublicAccessBlock":
		return []string{strings.Replace("s3:"+c.op, "Public", "BucketPublic", 1)}
	}
	if name, ok := strings.CutPrefix(c.op, "GetBucket"); ok {
		for _, d := range documents {
			if d.name == name {
				return []string{"s3:Get" + d.action}
			}
		}
	}
	return []string{"s3:" + c.op}
}
