package coffer

import "time"

// Origin says on whose word a finding stands. A finding gives no rights; its origin decides what may be read for it.
type Origin string

// The origins of a finding.
const (
	OriginMacie     Origin = "macie"     // re-read from Macie by id
	OriginOperator  Origin = "operator"  // given by the operator of this installation
	OriginSubmitted Origin = "submitted" // given by a caller of the API; nothing is read until it is confirmed
	OriginScan      Origin = "scan"      // found by Coffer's own detectors
)

// Severity is Macie's severity of a finding. The numbers are Macie's scores and order correctly.
type Severity int

// The severities, with Macie's scores.
const (
	SeverityUnknown Severity = 0
	SeverityLow     Severity = 1
	SeverityMedium  Severity = 2
	SeverityHigh    Severity = 3
)

func (s Severity) String() string {
	switch s {
	case SeverityLow:
		return "low"
	case SeverityMedium:
		return "medium"
	case SeverityHigh:
		return "high"
	}
	return "unknown"
}

// Object names one version of one object in object storage.
type Object struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	VersionID string `json:"versionId,omitempty"` // empty in a bucket without versioning
	ETag      string `json:"etag,omitempty"`      // without quotes; empty: not known
}

// Tag is one key and value of an object's or bucket's tag set.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Detection is one kind of data that Macie detected in the object, with how often. Count counts all occurrences, located
// or not.
type Detection struct {
	Type     DataType `json:"type"`
	Custom   string   `json:"custom,omitempty"`   // the custom identifier's id (opaque); empty for managed identifiers
	Category string   `json:"category,omitempty"` // CREDENTIALS, FINANCIAL_INFORMATION, PERSONAL_INFORMATION or CUSTOM_IDENTIFIER
	Count    int64    `json:"count"`
}

// OccurrenceSource says who located an occurrence.
type OccurrenceSource string

// The sources of an occurrence.
const (
	FromFinding OccurrenceSource = "finding" // located in the finding itself
	FromResult  OccurrenceSource = "result"  // located in the discovery result
	FromSweep   OccurrenceSource = "sweep"   // found by Coffer while fixing the object
)

// Occurrence is one place where Macie says that a value of a type stands. It is made in package macie, travels unchanged
// through every stage, and is named by finding id and number everywhere.
type Occurrence struct {
	N      int              `json:"n"` // 1-based, unique in its finding
	Type   DataType         `json:"type"`
	Custom string           `json:"custom,omitempty"` // the custom identifier's id; empty for managed identifiers
	At     Location         `json:"at"`
	Column string           `json:"column,omitempty"` // the column name as Macie reported it, when it did
	Source OccurrenceSource `json:"source,omitempty"`
}

// Protection is what Macie reported about the access to and the encryption of a bucket or object when it made the finding.
// Empty strings mean that Macie did not say.
type Protection struct {
	Encryption   string `json:"encryption,omitempty"`   // NONE, AES256, aws:kms, aws:kms:dsse, UNKNOWN
	KMSKey       string `json:"kmsKey,omitempty"`       // ARN or id
	PublicAccess string `json:"publicAccess,omitempty"` // PUBLIC, NOT_PUBLIC, UNKNOWN
	Tags         []Tag  `json:"tags,omitempty"`
}

// Finding is a Macie sensitive data finding, in the words and units of this program. Package macie makes it from any of the
// forms in which findings travel.
type Finding struct {
	ID          string    `json:"id"` // opaque; two shapes exist
	Origin      Origin    `json:"origin,omitempty"`
	AccountID   string    `json:"accountId,omitempty"`
	Partition   string    `json:"partition,omitempty"`
	Region      string    `json:"region,omitempty"`
	Type        string    `json:"type"`
	Severity    Severity  `json:"severity"`
	CreatedAt   time.Time `json:"createdAt"`
	JobID       string    `json:"jobId,omitempty"`      // empty for automated discovery
	OriginType  string    `json:"originType,omitempty"` // SENSITIVE_DATA_DISCOVERY_JOB or AUTOMATED_SENSITIVE_DATA_DISCOVERY
	Archived    bool      `json:"archived,omitempty"`
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`

	Object       Object     `json:"object"`
	Size         int64      `json:"size"` // bytes; -1 when not said
	StorageClass string     `json:"storageClass,omitempty"`
	LastModified time.Time  `json:"lastModified"`
	MIMEType     string     `json:"mimeType,omitempty"`
	OnBucket     Protection `json:"onBucket"`
	OnObject     Protection `json:"onObject"`

	Status         string `json:"status,omitempty"`       // COMPLETE, PARTIAL, SKIPPED
	StatusReason   string `json:"statusReason,omitempty"` // Macie's reason code
	ResultLocation string `json:"resultLocation,omitempty"`
	// More says that Macie detected more occurrences than the finding locates; the discovery result has them.
	More        bool         `json:"more,omitempty"`
	Detections  []Detection  `json:"detections"`
	Occurrences []Occurrence `json:"occurrences"`
}

// Outcome says what stands at a reported place.
type Outcome string

// The outcomes of locating an occurrence.
const (
	OutcomeExact       Outcome = "exact"       // a value of the type; its checksum, if the type has one, holds
	OutcomeRegion      Outcome = "region"      // no known pattern: the whole region
	OutcomeRejected    Outcome = "rejected"    // a value stands there but fails its checksum: likely a false positive
	OutcomeMissing     Outcome = "missing"     // nothing of the type stands there
	OutcomeChanged     Outcome = "changed"     // the object is not what Macie saw; nothing was read
	OutcomeUnsupported Outcome = "unsupported" // the format or the place cannot be read
)

// Holds reports whether a value stands at the place, so that it is sealed.
func (o Outcome) Holds() bool {
	return o == OutcomeExact || o == OutcomeRegion || o == OutcomeRejected
}
