package macie

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
)

// count is a whole number, which findings write as a number and discovery results as text.
type count struct {
	n    int64
	text bool
}

func (c count) MarshalJSON() ([]byte, error) {
	s := strconv.FormatInt(c.n, 10)
	if c.text {
		s = `"` + s + `"`
	}
	return []byte(s), nil
}

// The members of a finding in Macie's form, in Macie's order. What is nil is left out.
type (
	jsonEvent struct {
		Version    string      `json:"version"`
		ID         string      `json:"id"`
		DetailType string      `json:"detail-type"`
		Source     string      `json:"source"`
		Account    string      `json:"account"`
		Time       string      `json:"time"`
		Region     string      `json:"region"`
		Resources  []string    `json:"resources"`
		Detail     jsonFinding `json:"detail"`
	}
	jsonFinding struct {
		SchemaVersion string             `json:"schemaVersion"`
		ID            string             `json:"id,omitempty"`
		AccountID     string             `json:"accountId,omitempty"`
		Partition     string             `json:"partition,omitempty"`
		Region        string             `json:"region,omitempty"`
		Type          string             `json:"type,omitempty"`
		Title         string             `json:"title,omitempty"`
		Description   string             `json:"description,omitempty"`
		Severity      *jsonSeverity      `json:"severity,omitempty"`
		CreatedAt     string             `json:"createdAt,omitempty"`
		UpdatedAt     string             `json:"updatedAt,omitempty"`
		Count         *count             `json:"count,omitempty"`
		Affected      jsonAffected       `json:"resourcesAffected"`
		Category      string             `json:"category"`
		Details       jsonClassification `json:"classificationDetails"`
		Sample        *bool              `json:"sample,omitempty"`
		Archived      *bool              `json:"archived,omitempty"`
	}
	jsonSeverity struct {
		Score       count  `json:"score"`
		Description string `json:"description"`
	}
	jsonAffected struct {
		Bucket jsonBucket `json:"s3Bucket"`
		Object jsonObject `json:"s3Object"`
	}
	jsonCipher struct {
		Type string `json:"encryptionType,omitempty"`
		Key  string `json:"kmsMasterKeyId,omitempty"`
	}
	jsonBucket struct {
		ARN    string       `json:"arn"`
		Name   string       `json:"name"`
		Tags   []coffer.Tag `json:"tags"`
		Cipher *jsonCipher  `json:"defaultServerSideEncryption,omitempty"`
		Public *jsonPublic  `json:"publicAccess,omitempty"`
	}
	jsonPublic struct {
		Effective string `json:"effectivePermission"`
	}
	jsonObject struct {
		BucketARN    string       `json:"bucketArn"`
		Key          string       `json:"key"`
		Path         string       `json:"path"`
		Extension    string       `json:"extension"`
		LastModified string       `json:"lastModified,omitempty"`
		VersionID    *string      `json:"versionId,omitempty"`
		Cipher       *jsonCipher  `json:"serverSideEncryption,omitempty"`
		Size         *count       `json:"size,omitempty"`
		StorageClass string       `json:"storageClass,omitempty"`
		Tags         []coffer.Tag `json:"tags"`
		Public       *bool        `json:"publicAccess,omitempty"`
		ETag         string       `json:"eTag,omitempty"`
		Embedded     *jsonFile    `json:"embeddedFileDetails,omitempty"`
	}
	jsonFile struct {
		Path      string `json:"filePath"`
		Extension string `json:"fileExtension"`
	}
	jsonClassification struct {
		JobARN     string     `json:"jobArn,omitempty"`
		JobID      string     `json:"jobId,omitempty"`
		Result     jsonResult `json:"result"`
		Location   string     `json:"detailedResultsLocation,omitempty"`
		OriginType string     `json:"originType,omitempty"`
	}
	jsonResult struct {
		Status     jsonStatus     `json:"status"`
		MIMEType   string         `json:"mimeType,omitempty"`
		Additional *bool          `json:"additionalOccurrences,omitempty"`
		Sensitive  []jsonCategory `json:"sensitiveData"`
		Custom     *jsonCategory  `json:"customDataIdentifiers,omitempty"`
	}
	jsonStatus struct {
		Code   string `json:"code,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	jsonCategory struct {
		Category   string          `json:"category,omitempty"`
		TotalCount count           `json:"totalCount"`
		Detections []jsonDetection `json:"detections"`
	}
	jsonDetection struct {
		Type        string      `json:"type,omitempty"`
		ARN         string      `json:"arn,omitempty"`
		Name        string      `json:"name,omitempty"`
		Count       count       `json:"count"`
		Occurrences *jsonPlaces `json:"occurrences,omitempty"`
	}
	jsonPlaces struct {
		Lines   []jsonRange  `json:"lineRanges,omitzero"`
		Offsets []jsonRange  `json:"offsetRanges,omitempty"`
		Pages   []jsonPage   `json:"pages,omitzero"`
		Records []jsonRecord `json:"records,omitzero"`
		Cells   []jsonCell   `json:"cells,omitzero"`
	}
	jsonRange struct {
		Start       count  `json:"start"`
		End         count  `json:"end"`
		StartColumn *count `json:"startColumn,omitempty"`
	}
	jsonPage struct {
		Number count `json:"pageNumber"`
	}
	jsonRecord struct {
		Index count  `json:"recordIndex"`
		Path  string `json:"jsonPath,omitempty"`
	}
	jsonCell struct {
		Row       count  `json:"row"`
		Column    *count `json:"column,omitempty"`
		Name      string `json:"columnName,omitempty"`
		Reference string `json:"cellReference,omitempty"`
	}
)

// form writes in one of the two forms.
type form struct{ result bool }

func (w form) count(n int64) count { return count{n, w.result} }

// Event returns an EventBridge event of Macie with f as its finding, as one line of JSON without a line break. [Decode] gives
// f back, except for what the form has no words for: the origin and the sources of occurrences, and places inside an
// archive, which Macie gives in discovery results alone (see [ResultLines]); f.More is then true. F's detections stand by
// category with custom identifiers last, and its occurrences by detection, as Decode orders them. Unlike Macie, Event does
// not stop at 15 places.
func Event(f coffer.Finding) []byte {
	f.Occurrences = slices.DeleteFunc(slices.Clone(f.Occurrences), func(o coffer.Occurrence) bool {
		return o.At.Member != "" || o.At.Kind == coffer.NoPlace
	})
	f.More = f.More || len(missing(&f)) > 0
	w := form{}
	no := false
	detail := w.finding(&f)
	detail.UpdatedAt, detail.Count, detail.Sample, detail.Archived = detail.CreatedAt, &count{n: 1}, &no, &f.Archived
	detail.Details.Result.Additional = &f.More
	return marshal(jsonEvent{
		Version: "0", ID: f.ID, DetailType: "Macie Finding", Source: "aws.macie", Account: f.AccountID,
		Time: f.CreatedAt.UTC().Format(time.RFC3339), Region: f.Region, Resources: []string{}, Detail: detail,
	})
}

// ResultLines returns f as a sensitive data discovery result, one line of JSON each for the object and for every file
// inside it, if it is an archive. [Results] reads the places back, and [Decode] the whole as one finding, except for what
// the form has no words for: the origin, whether it is archived, and fractions of a second.
func ResultLines(f coffer.Finding) []byte {
	w := form{result: true}
	var members []string
	inside := make(map[string][]coffer.Occurrence)
	for _, o := range f.Occurrences {
		m := o.At.Member
		if _, ok := inside[m]; !ok && m != "" {
			members = append(members, m)
		}
		if o.At.Kind != coffer.NoPlace {
			o.At.Member = ""
			inside[m] = append(inside[m], o)
		}
	}
	whole := f
	whole.Occurrences = inside[""]
	out := append(marshal(w.finding(&whole)), '\n')
	for _, m := range members {
		file := f
		file.Occurrences, file.Detections = inside[m], nil
		for _, k := range f.Detections {
			k.Count = 0
			for _, o := range file.Occurrences {
				if o.Type == k.Type && o.Custom == k.Custom {
					k.Count++
				}
			}
			if k.Count > 0 && !slices.ContainsFunc(file.Detections, func(d coffer.Detection) bool {
				return d.Type == k.Type && d.Custom == k.Custom
			}) {
				file.Detections = append(file.Detections, k)
			}
		}
		line := w.finding(&file)
		path := strings.Join(coffer.Location{Member: m}.Names(), "/")
		line.Affected.Object.Embedded = &jsonFile{Path: path, Extension: extension(path)}
		out = append(append(out, marshal(line)...), '\n')
	}
	return out
}

func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("internal error: " + err.Error()) // strings and numbers alone cannot fail
	}
	return bytes.TrimSuffix(b.Bytes(), newline)
}

func (w form) finding(f *coffer.Finding) jsonFinding {
	arn := "arn:" + orAWS(f.Partition) + ":s3:::" + f.Object.Bucket
	out := jsonFinding{
		SchemaVersion: "1.0", ID: f.ID, AccountID: f.AccountID, Partition: f.Partition, Region: f.Region, Type: f.Type,
		Title: f.Title, Description: f.Description, CreatedAt: w.time(f.CreatedAt), Category: "CLASSIFICATION",
		Affected: jsonAffected{
			Bucket: jsonBucket{ARN: arn, Name: f.Object.Bucket, Tags: tags(f.OnBucket.Tags), Cipher: cipher(f.OnBucket)},
			Object: jsonObject{
				BucketARN: arn, Key: f.Object.Key, Path: f.Object.Bucket + "/" + f.Object.Key, Extension: extension(f.Object.Key),
				LastModified: w.time(f.LastModified), Cipher: cipher(f.OnObject), StorageClass: f.StorageClass,
				Tags: tags(f.OnObject.Tags), ETag: f.Object.ETag,
			},
		},
		Details: jsonClassification{
			JobID: f.JobID, Location: f.ResultLocation, OriginType: f.OriginType,
			Result: jsonResult{Status: jsonStatus{f.Status, f.StatusReason}, MIMEType: f.MIMEType, Sensitive: []jsonCategory{}},
		},
	}
	if coffer.SeverityLow <= f.Severity && f.Severity <= coffer.SeverityHigh {
		name := f.Severity.String()
		out.Severity = &jsonSeverity{w.count(int64(f.Severity)), strings.ToUpper(name[:1]) + name[1:]}
	}
	if f.OnBucket.PublicAccess != "" {
		out.Affected.Bucket.Public = &jsonPublic{f.OnBucket.PublicAccess}
	}
	if a := f.OnObject.PublicAccess; a == "PUBLIC" || a == "NOT_PUBLIC" {
		public := a == "PUBLIC"
		out.Affected.Object.Public = &public
	}
	if f.Object.VersionID != "" || !w.result {
		out.Affected.Object.VersionID = &f.Object.VersionID
	}
	if f.Size >= 0 {
		size := w.count(f.Size)
		out.Affected.Object.Size = &size
	}
	if f.JobID != "" {
		out.Details.JobARN = "arn:" + orAWS(f.Partition) + ":macie2:" + f.Region + ":" + f.AccountID + ":classification-job/" + f.JobID
	}
	w.detections(f, &out.Details.Result)
	return out
}

func orAWS(partition string) string {
	if partition == "" {
		return "aws"
	}
	return partition
}

// detections writes the detections, each with its occurrences. Where an identifier is detected twice, the first has them all.
func (w form) detections(f *coffer.Finding, r *jsonResult) {
	places := make(map[identifier]*jsonPlaces)
	for i := range f.Occurrences {
		o := &f.Occurrences[i]
		id := identifier{o.Type, o.Custom}
		if places[id] == nil {
			places[id] = &jsonPlaces{}
			if w.result {
				*places[id] = jsonPlaces{Lines: []jsonRange{}, Pages: []jsonPage{}, Records: []jsonRecord{}, Cells: []jsonCell{}}
			}
		}
		w.place(places[id], o)
	}
	for _, k := range f.Detections {
		id := identifier{k.Type, k.Custom}
		d := jsonDetection{Type: string(k.Type), Count: w.count(k.Count), Occurrences: places[id]}
		delete(places, id)
		var in *jsonCategory
		if k.Custom != "" {
			d.Type, d.ARN, d.Name = "", k.Custom, string(k.Type)
			if r.Custom == nil {
				r.Custom = &jsonCategory{TotalCount: w.count(0)}
			}
			in = r.Custom
		} else {
			if n := len(r.Sensitive); n == 0 || r.Sensitive[n-1].Category != k.Category {
				r.Sensitive = append(r.Sensitive, jsonCategory{Category: k.Category, TotalCount: w.count(0)})
			}
			in = &r.Sensitive[len(r.Sensitive)-1]
		}
		in.TotalCount.n += k.Count
		in.Detections = append(in.Detections, d)
	}
}

func (w form) place(to *jsonPlaces, o *coffer.Occurrence) {
	l := o.At
	switch l.Kind {
	case coffer.Cell:
		c := jsonCell{Row: w.count(l.Row), Name: o.Column}
		if l.Column > 0 {
			column := w.count(l.Column)
			c.Column = &column
			if l.Sheet != "" {
				c.Reference = "'" + strings.ReplaceAll(l.Sheet, "'", "''") + "'!" + letters(l.Column) + strconv.FormatInt(l.Row, 10)
			}
		}
		to.Cells = append(to.Cells, c)
	case coffer.Lines, coffer.Offset:
		r := jsonRange{Start: w.count(l.Start), End: w.count(l.End)}
		if l.StartColumn > 0 {
			column := w.count(l.StartColumn)
			r.StartColumn = &column
		}
		if l.Kind == coffer.Offset {
			to.Offsets = append(to.Offsets, r)
		} else {
			to.Lines = append(to.Lines, r)
		}
	case coffer.Page:
		to.Pages = append(to.Pages, jsonPage{w.count(l.Page)})
	case coffer.Record:
		r := jsonRecord{Index: w.count(l.Index)}
		if l.Path != "$" {
			r.Path = l.Path
		}
		to.Records = append(to.Records, r)
	}
}

// letters returns the name of a column as Excel counts: A to Z, AA and so on.
func letters(column int64) string {
	var b []byte
	for ; column > 0; column = (column - 1) / 26 {
		b = append(b, byte('A'+(column-1)%26))
	}
	slices.Reverse(b)
	return string(b)
}

func (w form) time(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case w.result:
		return t.UTC().Format(time.RFC3339)
	case t.Nanosecond()%1e6 != 0:
		return t.UTC().Format(time.RFC3339Nano)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func cipher(p coffer.Protection) *jsonCipher {
	if p.Encryption == "" && p.KMSKey == "" {
		return nil
	}
	return &jsonCipher{p.Encryption, p.KMSKey}
}

func tags(t []coffer.Tag) []coffer.Tag {
	if t == nil {
		return []coffer.Tag{}
	}
	return t
}

// extension returns what Macie calls the extension of a key: what follows the last dot of its last name.
func extension(key string) string {
	name := key[strings.LastIndexByte(key, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i+1:]
	}
	return ""
}
