package macie

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"coffer"
)

// The limits of a document. One that exceeds them is unreadable, with an error that wraps coffer.ErrLimit.
const (
	// MaxDocument is the most bytes of one document, event or batch. An event holds at most 256 KiB; a discovery result line
	// lists up to 1,000 places per type and takes a few megabytes.
	MaxDocument = 16 << 20
	// MaxDepth is the most objects and arrays in one another. Macie's own findings have 12 levels, Security Hub's 14.
	MaxDepth = 64
	// MaxOccurrences is the most places in one finding: Macie's 1,000 for each of some 150 managed and 30 custom identifiers,
	// rounded up.
	MaxOccurrences = 200_000
	// MaxID is the most bytes of a finding's id.
	MaxID = 256
	// MaxKey is the most bytes of an object's key. It is S3's own limit.
	MaxKey = 1024
)

const (
	maxCode     = 256  // codes, names and ids other than the finding's
	maxAddress  = 2048 // ARNs and the place of the discovery result
	maxPath     = 4096 // the path of a file in an archive
	maxProse    = 1024 // title and description; longer ones are cut
	maxTags     = 256
	maxTypeName = 128 // Macie's limit for the name of a custom identifier, in characters
	maxKinds    = 4096
)

// sampleBucket is the bucket of every sample finding (Macie User Guide, "Working with sample findings").
const sampleBucket = "macie-sample-finding-bucket"

// draft is a finding under way: what a document says, before it is decided what the document is.
type draft struct {
	coffer.Finding
	category   string
	updated    time.Time
	sample     bool
	native     bool // members were seen that findings have and discovery results lack
	classified bool // the result of an analysis was there
	bucketARN  string
	path       string // <bucket>/<key>
	embedded   bool   // a line about a file inside an archive
	file       string // path of that file
	custom     []coffer.Detection
	customAt   []coffer.Occurrence
}

// Members of a finding and of a discovery result, which differ in which of them they have (section 4.3 of Macie's schema).
var (
	findingFields = fields{"id", "accountId", "partition", "region", "type", "category", "title", "description", "severity",
		"createdAt", "updatedAt", "count", "archived", "sample", "resourcesAffected", "classificationDetails", "policyDetails"}
	severityFields = fields{"score", "description"}
	affectedFields = fields{"s3Bucket", "s3Object"}
	bucketFields   = fields{"arn", "name", "tags", "defaultServerSideEncryption", "publicAccess"}
	objectFields   = fields{"bucketArn", "key", "path", "eTag", "versionId", "lastModified", "size", "storageClass",
		"serverSideEncryption", "publicAccess", "tags", "embeddedFileDetails"}
	accessFields    = fields{"effectivePermission"}
	cipherFields    = fields{"encryptionType", "kmsMasterKeyId"}
	tagFields       = fields{"key", "value"}
	embeddedFields  = fields{"filePath"}
	classifyFields  = fields{"originType", "jobId", "detailedResultsLocation", "result"}
	resultFields    = fields{"status", "mimeType", "additionalOccurrences", "sensitiveData", "customDataIdentifiers"}
	statusFields    = fields{"code", "reason"}
	categoryFields  = fields{"category", "detections"}
	detectionFields = fields{"type", "arn", "name", "count", "occurrences"}
	placeFields     = fields{"cells", "lineRanges", "pages", "records", "offsetRanges"}
	cellFields      = fields{"row", "column", "columnName", "cellReference"}
	rangeFields     = fields{"start", "end", "startColumn"}
	pageFields      = fields{"pageNumber"}
	recordFields    = fields{"recordIndex", "jsonPath"}
)

// finding reads a finding or a discovery result.
func (d *draft) finding(r *reader) *problem {
	d.Size = -1
	r.peek()
	at := r.i
	p := r.object(findingFields, func(name string) *problem {
		switch name {
		case "id":
			return r.id(&d.ID)
		case "accountId":
			return r.token(&d.AccountID, maxCode)
		case "partition":
			return r.token(&d.Partition, maxCode)
		case "region":
			return r.token(&d.Region, maxCode)
		case "type":
			return r.token(&d.Type, maxCode)
		case "category":
			return r.token(&d.category, maxCode)
		case "title":
			return r.prose(&d.Title, maxProse)
		case "description":
			return r.prose(&d.Description, maxProse)
		case "severity":
			return d.severity(r)
		case "createdAt":
			return r.time(&d.CreatedAt)
		case "updatedAt":
			return r.time(&d.updated)
		case "archived":
			d.native = true
			return r.boolean(&d.Archived)
		case "sample":
			d.native = true
			return r.boolean(&d.sample)
		case "resourcesAffected":
			return r.object(affectedFields, func(name string) *problem {
				if name == "s3Bucket" {
					return d.bucket(r)
				}
				return d.object(r)
			})
		case "classificationDetails":
			return d.classification(r)
		case "count", "policyDetails":
			d.native = true
		}
		r.skip()
		return nil
	})
	if p == nil && d.embedded && d.file == "" {
		p = &problem{at: at, path: "resourcesAffected.s3Object.embeddedFileDetails.filePath", what: "is missing", is: coffer.ErrInvalid}
	}
	return p
}

// id reads the id of a finding. Two shapes exist and neither is promised, so only what an id needs to be kept, printed and
// put on a command line is asked for: visible ASCII, at most MaxID bytes.
func (r *reader) id(to *string) *problem {
	r.peek()
	at := r.i
	if p := r.text(to, MaxID); p != nil {
		return p
	}
	for i := range len(*to) {
		if c := (*to)[i]; c <= ' ' || c > '~' {
			return &problem{at: at, what: "holds a character that no id has", is: coffer.ErrInvalid}
		}
	}
	return nil
}

func (d *draft) severity(r *reader) *problem {
	var score int64
	var words string
	p := r.object(severityFields, func(name string) *problem {
		if name == "score" {
			return r.integer(&score)
		}
		return r.token(&words, maxCode)
	})
	d.Severity = severity(words)
	if 1 <= score && score <= 3 {
		d.Severity = coffer.Severity(score)
	}
	return p
}

func severity(words string) coffer.Severity {
	for s := coffer.SeverityLow; s <= coffer.SeverityHigh; s++ {
		if strings.EqualFold(words, s.String()) {
			return s
		}
	}
	return coffer.SeverityUnknown
}

func (d *draft) bucket(r *reader) *problem {
	return r.object(bucketFields, func(name string) *problem {
		switch name {
		case "arn":
			return r.token(&d.bucketARN, maxAddress)
		case "name":
			return r.token(&d.Object.Bucket, maxCode)
		case "tags":
			return r.tags(&d.OnBucket.Tags)
		case "publicAccess":
			return r.object(accessFields, func(string) *problem { return r.token(&d.OnBucket.PublicAccess, maxCode) })
		}
		return r.cipher(&d.OnBucket)
	})
}

func (d *draft) object(r *reader) *problem {
	return r.object(objectFields, func(name string) *problem {
		switch name {
		case "bucketArn":
			if d.bucketARN == "" {
				return r.token(&d.bucketARN, maxAddress)
			}
			r.skip()
			return nil
		case "key":
			return r.text(&d.Object.Key, MaxKey)
		case "path":
			return r.text(&d.path, maxCode+MaxKey)
		case "eTag":
			p := r.token(&d.Object.ETag, maxCode)
			d.Object.ETag = strings.Trim(d.Object.ETag, `"`)
			return p
		case "versionId":
			return r.token(&d.Object.VersionID, MaxKey)
		case "lastModified":
			return r.time(&d.LastModified)
		case "size":
			return r.integer(&d.Size)
		case "storageClass":
			return r.token(&d.StorageClass, maxCode)
		case "publicAccess":
			var public bool
			p := r.boolean(&public)
			d.OnObject.PublicAccess = "NOT_PUBLIC"
			if public {
				d.OnObject.PublicAccess = "PUBLIC"
			}
			return p
		case "tags":
			return r.tags(&d.OnObject.Tags)
		case "embeddedFileDetails":
			d.embedded = true
			return r.object(embeddedFields, func(string) *problem { return r.text(&d.file, maxPath) })
		}
		return r.cipher(&d.OnObject)
	})
}

func (r *reader) cipher(on *coffer.Protection) *problem {
	return r.object(cipherFields, func(name string) *problem {
		if name == "encryptionType" {
			return r.token(&on.Encryption, maxCode)
		}
		return r.token(&on.KMSKey, maxAddress)
	})
}

func (r *reader) tags(to *[]coffer.Tag) *problem {
	return r.array(func() *problem {
		if len(*to) == maxTags {
			return &problem{at: r.i, what: "is one tag too many", is: coffer.ErrLimit}
		}
		var t coffer.Tag
		p := r.object(tagFields, func(name string) *problem {
			if name == "key" {
				return r.text(&t.Key, MaxKey)
			}
			return r.text(&t.Value, MaxKey)
		})
		*to = append(*to, t)
		return p
	})
}

func (d *draft) classification(r *reader) *problem {
	return r.object(classifyFields, func(name string) *problem {
		switch name {
		case "originType":
			return r.token(&d.OriginType, maxCode)
		case "jobId":
			return r.token(&d.JobID, maxCode)
		case "detailedResultsLocation":
			return r.token(&d.ResultLocation, maxAddress)
		}
		return d.result(r)
	})
}

// result reads the result of an analysis. It serves ASFF too, whose words are the same in another casing.
func (d *draft) result(r *reader) *problem {
	d.classified = true
	return r.object(resultFields, func(name string) *problem {
		switch name {
		case "status":
			return r.object(statusFields, func(name string) *problem {
				if name == "code" {
					return r.token(&d.Status, maxCode)
				}
				return r.token(&d.StatusReason, maxCode)
			})
		case "mimeType":
			return r.token(&d.MIMEType, maxCode)
		case "additionalOccurrences":
			d.native = true
			return r.boolean(&d.More)
		case "sensitiveData":
			return r.array(func() *problem {
				first := len(d.Detections)
				var category string
				p := r.object(categoryFields, func(name string) *problem {
					if name == "category" {
						return r.token(&category, maxCode)
					}
					return d.detections(r, false)
				})
				for i := range d.Detections[first:] {
					d.Detections[first+i].Category = category
				}
				return p
			})
		}
		return r.object(categoryFields, func(name string) *problem {
			if name == "category" {
				r.skip()
				return nil
			}
			return d.detections(r, true)
		})
	})
}

const customCategory = "CUSTOM_IDENTIFIER"

// detections reads the detections of a category, or those of all custom identifiers. The latter are kept apart, so that the
// order of a finding's occurrences does not depend on the order of its members.
func (d *draft) detections(r *reader, custom bool) *problem {
	kinds, places := &d.Detections, &d.Occurrences
	if custom {
		kinds, places = &d.custom, &d.customAt
	}
	return r.array(func() *problem {
		r.peek()
		at := r.i
		if len(d.Detections)+len(d.custom) == maxKinds {
			return &problem{at: at, what: "is one detection too many", is: coffer.ErrLimit}
		}
		first := len(*places)
		var k coffer.Detection
		var typ, name string
		counted := false
		p := r.object(detectionFields, func(field string) *problem {
			switch field {
			case "type":
				return r.token(&typ, maxTypeName)
			case "arn":
				return r.id(&k.Custom)
			case "name":
				return r.text(&name, MaxDocument)
			case "count":
				counted = true
				return r.integer(&k.Count)
			}
			return r.object(placeFields, func(kind string) *problem {
				return r.array(func() *problem {
					if len(d.Occurrences)+len(d.customAt) == MaxOccurrences {
						return &problem{at: r.i, what: "is one occurrence too many", is: coffer.ErrLimit}
					}
					o := coffer.Occurrence{Source: coffer.FromFinding}
					p := r.place(kind, &o)
					*places = append(*places, o)
					return p
				})
			})
		})
		if p != nil {
			return p
		}
		k.Type = coffer.DataType(typ)
		if custom {
			k.Category = customCategory
			k.Type = coffer.DataType(customName(name))
			if k.Custom == "" {
				k.Custom = string(k.Type)
			}
			if k.Type == "" {
				k.Type = coffer.DataType(k.Custom)
			}
		} else {
			k.Custom = ""
		}
		if k.Type == "" {
			return &problem{at: at, what: "names no type", is: coffer.ErrInvalid}
		}
		found := (*places)[first:]
		for i := range found {
			found[i].Type, found[i].Custom = k.Type, k.Custom
		}
		// The members of occurrences come in any order; the kinds' own order is as good as any and always the same.
		slices.SortStableFunc(found, func(a, b coffer.Occurrence) int { return cmp.Compare(a.At.Kind, b.At.Kind) })
		if !counted {
			k.Count = int64(len(found))
		}
		*kinds = append(*kinds, k)
		return nil
	})
}

// customName makes the name of a custom identifier fit to be shown: its author chose it freely.
func customName(name string) string {
	n := 0
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		n++
		switch {
		case n > maxTypeName:
			return -1
		case !unicode.IsPrint(c):
			return '_'
		}
		return c
	}, name))
}

// place reads one location of the kind that the array around it has.
func (r *reader) place(kind string, o *coffer.Occurrence) *problem {
	r.peek()
	at := r.i
	l := &o.At
	bad := func(what string) *problem { return &problem{at: at, what: what, is: coffer.ErrInvalid} }
	switch kind {
	case "cells":
		l.Kind = coffer.Cell
		var ref string
		if p := r.object(cellFields, func(name string) *problem {
			switch name {
			case "row":
				return r.integer(&l.Row)
			case "column":
				return r.integer(&l.Column)
			case "columnName":
				return r.text(&o.Column, MaxDocument)
			}
			return r.text(&ref, maxPath)
		}); p != nil {
			return p
		}
		if ref != "" {
			if !reference(ref, l) {
				return bad("has a malformed cell reference")
			}
		} else if l.Row < 1 {
			return bad("has no row")
		}
	case "lineRanges", "offsetRanges":
		l.Kind = coffer.Lines
		l.Start, l.End = -1, -1
		if p := r.object(rangeFields, func(name string) *problem {
			switch name {
			case "start":
				return r.integer(&l.Start)
			case "end":
				return r.integer(&l.End)
			}
			return r.integer(&l.StartColumn)
		}); p != nil {
			return p
		}
		least := int64(1)
		if kind == "offsetRanges" {
			l.Kind, l.StartColumn, least = coffer.Offset, 0, 0
		} else if l.End < 0 {
			l.End = l.Start
		}
		if l.Start < least {
			return bad("has no start")
		}
		if l.End < l.Start {
			return bad("ends before it starts")
		}
	case "pages":
		l.Kind = coffer.Page
		if p := r.object(pageFields, func(string) *problem { return r.integer(&l.Page) }); p != nil {
			return p
		}
		if l.Page < 1 {
			return bad("has no page number")
		}
	case "records":
		l.Kind, l.Index = coffer.Record, -1
		if p := r.object(recordFields, func(name string) *problem {
			if name == "recordIndex" {
				return r.integer(&l.Index)
			}
			return r.text(&l.Path, MaxDocument)
		}); p != nil {
			return p
		}
		if l.Index < 0 {
			return bad("has no record index")
		}
		// Macie leaves the path out when a name in it holds sensitive data.
		if l.Path == "" {
			l.Path = "$"
		}
		if l.Path[0] != '$' {
			return bad("has a path that does not begin at the root")
		}
	}
	return nil
}

// reference reads a cell reference as Excel writes it: C5, $C$5, Sheet2!C5, 'My ”own” sheet'!C5. It reports whether ref is
// one. The sheet is named nowhere else, so the reference is preferred to row and column.
func reference(ref string, l *coffer.Location) bool {
	sheet, cell := "", ref
	if i := strings.LastIndexByte(ref, '!'); i >= 0 {
		sheet, cell = ref[:i], ref[i+1:]
		if n := len(sheet); n >= 2 && sheet[0] == '\'' && sheet[n-1] == '\'' {
			sheet = strings.ReplaceAll(sheet[1:n-1], "''", "'")
		}
		if sheet == "" {
			return false
		}
	}
	cell = strings.TrimPrefix(cell, "$")
	column, i := int64(0), 0
	for ; i < len(cell) && i < 8; i++ {
		c := cell[i] &^ ('a' - 'A')
		if c < 'A' || c > 'Z' {
			break
		}
		column = column*26 + int64(c-'A') + 1
	}
	row, err := strconv.ParseInt(strings.TrimPrefix(cell[i:], "$"), 10, 54)
	if i == 0 || err != nil || row < 1 || !digit(cell[len(cell)-1]) || strings.ContainsAny(cell, "+-") {
		return false
	}
	l.Sheet, l.Row, l.Column = sheet, row, column
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// bucketName reports whether s can be a bucket's name. Old buckets may have upper-case letters, underscores and up to 255
// characters, so this is wider than today's rule.
func bucketName(s string) bool {
	if s == "" || len(s) > 255 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case digit(c), 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// settle puts together what the document says in several places.
func (d *draft) settle() {
	if d.Object.Bucket == "" {
		// arn:<partition>:s3:::<bucket>
		if _, name, ok := strings.Cut(d.bucketARN, ":::"); ok {
			d.Object.Bucket = name
		} else {
			d.Object.Bucket, _, _ = strings.Cut(d.path, "/")
		}
	}
	if d.Object.Key == "" {
		if key, ok := strings.CutPrefix(d.path, d.Object.Bucket+"/"); ok {
			d.Object.Key = key
		}
	}
	if rest, ok := strings.CutPrefix(d.Type, "[SAMPLE]"); ok {
		d.Type, d.sample = strings.TrimSpace(rest), true
	}
	d.Detections = append(d.Detections, d.custom...)
	d.Occurrences = append(d.Occurrences, d.customAt...)
	if d.embedded && d.file != "" {
		for i := range d.Occurrences {
			d.Occurrences[i].At.Member = coffer.MemberPath(d.file)
		}
	}
	number(&d.Finding)
}

// number gives the occurrences their numbers and says whether places are missing.
func number(f *coffer.Finding) {
	for i := range f.Occurrences {
		f.Occurrences[i].N = i + 1
	}
	f.More = f.More || len(missing(f)) > 0
}

// identifier names a data identifier, as findings and results do alike.
type identifier struct {
	typ    coffer.DataType
	custom string
}

// missing returns the identifiers of which f counts more occurrences than it locates.
func missing(f *coffer.Finding) []identifier {
	located := make(map[identifier]int64, len(f.Detections))
	for i := range f.Occurrences {
		o := &f.Occurrences[i]
		located[identifier{o.Type, o.Custom}]++
	}
	var out []identifier
	for _, k := range f.Detections {
		id := identifier{k.Type, k.Custom}
		if located[id] -= k.Count; located[id] < 0 {
			out = append(out, id)
			located[id] = 0
		}
	}
	return out
}
