package macie

import (
	"slices"
	"strings"

	"coffer"
)

// Members of a finding in the AWS Security Finding Format. The mapping is Macie's (User Guide, "Evaluating findings with
// Security Hub"); where it is not published, other spellings are not guessed.
var (
	asffFields = fields{"Id", "ProductArn", "ProductName", "AwsAccountId", "Region", "Types", "Severity", "Title", "Description",
		"CreatedAt", "Sample", "RecordState", "ProductFields", "Resources"}
	labelFields    = fields{"Label", "Normalized"}
	productFields  = fields{"JobId", "OriginType"}
	resourceFields = fields{"Type", "Id", "Tags", "Details", "DataClassification"}
	detailFields   = fields{"AwsS3Object", "AwsS3Bucket"}
	s3Fields       = fields{"ETag", "VersionId", "LastModified", "ServerSideEncryption", "SSEKMSKeyId"}
	defaultFields  = fields{"ServerSideEncryptionConfiguration"}
	ruleFields     = fields{"Rules"}
	applyFields    = fields{"ApplyServerSideEncryptionByDefault"}
	algorithm      = fields{"SSEAlgorithm", "KMSMasterKeyID"}
	dataFields     = fields{"DetailedResultsLocation", "Result"}
)

// asff reads a finding in the AWS Security Finding Format and reports whether it is Macie's.
func (d *draft) asff(r *reader) (ours bool, p *problem) {
	d.Size = -1
	var product, productName, bucketARN, objectARN string
	p = r.object(asffFields, func(name string) *problem {
		switch name {
		case "Id":
			return r.id(&d.ID)
		case "ProductArn":
			return r.token(&product, maxAddress)
		case "ProductName":
			return r.token(&productName, maxCode)
		case "AwsAccountId":
			return r.token(&d.AccountID, maxCode)
		case "Region":
			return r.token(&d.Region, maxCode)
		case "Types":
			return r.array(func() *problem {
				var t string
				p := r.token(&t, maxAddress)
				if d.Type == "" || macieType(t) {
					d.Type = asffType(t)
				}
				return p
			})
		case "Severity":
			return r.object(labelFields, func(name string) *problem {
				if name == "Label" {
					var label string
					p := r.token(&label, maxCode)
					d.Severity = severity(label)
					return p
				}
				var n int64
				p := r.integer(&n)
				if d.Severity == coffer.SeverityUnknown {
					d.Severity = normalized(n)
				}
				return p
			})
		case "Title":
			return r.prose(&d.Title, maxProse)
		case "Description":
			return r.prose(&d.Description, maxProse)
		case "CreatedAt":
			return r.time(&d.CreatedAt)
		case "Sample":
			return r.boolean(&d.sample)
		case "RecordState":
			var state string
			p := r.token(&state, maxCode)
			d.Archived = state == "ARCHIVED"
			return p
		case "ProductFields":
			return r.object(productFields, func(name string) *problem {
				if name == "JobId" {
					return r.token(&d.JobID, maxCode)
				}
				return r.token(&d.OriginType, maxCode)
			})
		}
		return r.array(func() *problem { return d.resource(r, &bucketARN, &objectARN) })
	})
	if p != nil {
		return true, p // whose it is cannot be said, so it is not passed over
	}

	// arn:<partition>:securityhub:<region>::product/aws/macie
	arn := strings.Split(product, ":")
	if len(arn) > 3 {
		d.Partition = arn[1]
		if d.Region == "" {
			d.Region = arn[3]
		}
	}
	if product != "" && !strings.HasSuffix(product, ":product/aws/macie") || product == "" && productName != "Macie" {
		return false, nil
	}
	_, d.Object.Bucket, _ = strings.Cut(bucketARN, ":::")
	_, path, _ := strings.Cut(objectARN, ":::")
	if d.Object.Bucket == "" {
		d.Object.Bucket, _, _ = strings.Cut(path, "/")
	}
	d.path = path
	return true, nil
}

func macieType(t string) bool {
	return strings.Contains(t, "SensitiveData:") || strings.Contains(t, "Policy:")
}

// asffType undoes how Security Hub writes a Macie type: a namespace in front, and the type's own slash as a dash.
func asffType(t string) string {
	for _, family := range []string{"SensitiveData:", "Policy:"} {
		if i := strings.Index(t, family); i >= 0 {
			t = t[i:]
			if !strings.Contains(t, "/") {
				t = strings.Replace(t, "-", "/", 1)
			}
			return t
		}
	}
	return t[strings.LastIndexByte(t, '/')+1:]
}

// normalized maps a normalised severity as Security Hub does: 1 to 39 low, 40 to 69 medium, 70 and above high.
func normalized(n int64) coffer.Severity {
	switch {
	case n <= 0:
		return coffer.SeverityUnknown
	case n < 40:
		return coffer.SeverityLow
	case n < 70:
		return coffer.SeverityMedium
	}
	return coffer.SeverityHigh
}

func (d *draft) resource(r *reader, bucketARN, objectARN *string) *problem {
	var typ, id string
	var tags []coffer.Tag
	p := r.object(resourceFields, func(name string) *problem {
		switch name {
		case "Type":
			return r.token(&typ, maxCode)
		case "Id":
			return r.text(&id, maxAddress+MaxKey)
		case "Tags":
			return r.tagMap(&tags)
		case "Details":
			return r.object(detailFields, func(name string) *problem {
				if name == "AwsS3Bucket" {
					return r.defaults(&d.OnBucket)
				}
				return d.s3Object(r)
			})
		}
		return r.object(dataFields, func(name string) *problem {
			if name == "Result" {
				return d.result(r)
			}
			return r.token(&d.ResultLocation, maxAddress)
		})
	})
	switch typ {
	case "AwsS3Bucket":
		*bucketARN, d.OnBucket.Tags = id, tags
	case "AwsS3Object":
		*objectARN, d.OnObject.Tags = id, tags
	}
	return p
}

func (d *draft) s3Object(r *reader) *problem {
	return r.object(s3Fields, func(name string) *problem {
		switch name {
		case "ETag":
			p := r.token(&d.Object.ETag, maxCode)
			d.Object.ETag = strings.Trim(d.Object.ETag, `"`)
			return p
		case "VersionId":
			return r.token(&d.Object.VersionID, MaxKey)
		case "LastModified":
			return r.time(&d.LastModified)
		case "ServerSideEncryption":
			return r.token(&d.OnObject.Encryption, maxCode)
		}
		return r.token(&d.OnObject.KMSKey, maxAddress)
	})
}

// defaults reads the default encryption of a bucket.
func (r *reader) defaults(on *coffer.Protection) *problem {
	return r.object(defaultFields, func(string) *problem {
		return r.object(ruleFields, func(string) *problem {
			return r.array(func() *problem {
				return r.object(applyFields, func(string) *problem {
					return r.object(algorithm, func(name string) *problem {
						if name == "SSEAlgorithm" {
							return r.token(&on.Encryption, maxCode)
						}
						return r.token(&on.KMSKey, maxAddress)
					})
				})
			})
		})
	})
}

// tagMap reads tags written as an object, in the order of their keys.
func (r *reader) tagMap(to *[]coffer.Tag) *problem {
	if r.peek() != '{' {
		return r.problem("is not an object")
	}
	r.i++
	for {
		switch r.peek() {
		case '}':
			r.i++
			slices.SortStableFunc(*to, func(a, b coffer.Tag) int { return strings.Compare(a.Key, b.Key) })
			return nil
		case ',':
			r.i++
			continue
		}
		if len(*to) == maxTags {
			return &problem{at: r.i, what: "has one tag too many", is: coffer.ErrLimit}
		}
		var t coffer.Tag
		if p := r.text(&t.Key, MaxKey); p != nil {
			return p
		}
		r.peek()
		r.i++ // the colon
		if r.peek() == 'n' {
			r.skip()
		} else if p := r.text(&t.Value, MaxKey); p != nil {
			return p
		}
		*to = append(*to, t)
	}
}
