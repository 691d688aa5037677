package macie

import (
	"bytes"
	"context"
	"strings"

	"coffer"
)

// decoder makes documents of frames.
type decoder struct {
	yield   func(Document, error) bool
	frame   frame
	n       int
	stopped bool

	// Lines of a discovery result about one object that more lines may follow.
	pending *Results
	whole   bool     // the line about the object as a whole is among them
	first   Document // of the first of them
	held    frame    // where that stands
}

func (d *decoder) emit(doc Document) bool {
	d.n++
	doc.N = d.n
	if doc.Line == 0 {
		doc.Line = d.frame.line
	}
	d.stopped = !d.yield(doc, nil)
	return !d.stopped
}

// skip emits a document that is nothing to work on.
func (d *decoder) skip(k Kind, reason string, raw []byte) bool {
	return d.flush() && d.emit(Document{Kind: k, Reason: reason, Raw: raw})
}

// fail emits a document that is unreadable as a whole.
func (d *decoder) fail(p *problem) bool { return d.flush() && d.refuse(p, Document{}) }

// refuse emits an unreadable document with what is known of it.
func (d *decoder) refuse(p *problem, doc Document) bool {
	doc.Kind, doc.Reason, doc.Err, doc.Raw = KindUnreadable, p.String(), d.frame.at(p), nil
	return d.emit(doc)
}

// maxWrappers is the most wrappers around a finding: a message of SQS with one of SNS with an event with a batch.
const maxWrappers = 4

// The members by which a document is known.
var documentFields = fields{"source", "detail-type", "detail", "findings", "findingIds", "resourcesAffected",
	"classificationDetails", "policyDetails", "ProductArn", "ProductName", "Resources", "alert-arn",
	"notification-type", "TopicArn", "Message", "Records"}

// document takes one object apart by what it is. Depth is how many wrappers it came out of.
func (d *decoder) document(r *reader, depth int) bool {
	var source, detailType string
	places := make(map[string]int, len(documentFields)) // where the members' values begin
	start := r.i
	p := r.object(documentFields, func(name string) *problem {
		r.peek()
		places[name] = r.i
		switch name {
		case "source":
			return r.text(&source, maxCode)
		case "detail-type":
			return r.text(&detailType, maxCode)
		}
		r.skip()
		return nil
	})
	raw := r.b[start:r.i]
	has := func(name string) bool { _, ok := places[name]; return ok }
	at := func(name string) *reader { return &reader{b: r.b, i: places[name]} }
	bad := func(what string) bool { return d.fail(&problem{at: start, what: what, is: coffer.ErrInvalid}) }
	switch {
	case p != nil:
		return d.fail(p)
	case depth > maxWrappers:
		return bad("is wrapped too often")
	case has("detail-type"):
		switch {
		case source == "aws.macie" && detailType == "Macie Alert":
			return d.skip(KindClassic, classic, raw)
		case source == "aws.macie" && detailType == "Macie Finding" && has("detail"):
			return d.native(at("detail"), FormEvent)
		case source == "aws.securityhub" && has("detail"):
			return d.hub(at("detail"), raw, depth)
		case source == "aws.macie" && detailType == "Macie Finding", source == "aws.securityhub":
			return bad("detail is missing")
		}
		return d.skip(KindForeign, "this is an event of another kind than Macie's findings", raw)
	case has("findings"):
		return d.batch(at("findings"), raw, depth, (*decoder).document)
	case has("ProductArn"), has("ProductName") && has("Resources"):
		return d.flush() && d.hubFinding(&reader{b: r.b, i: start})
	case has("resourcesAffected"), has("classificationDetails"), has("policyDetails"):
		return d.native(&reader{b: r.b, i: start}, FormFinding)
	case has("alert-arn"), has("notification-type"):
		return d.skip(KindClassic, classic, raw)
	case has("findingIds"):
		return bad("this lists ids of findings, not the findings")
	case has("TopicArn") && has("Message"):
		return d.message(at("Message"), depth)
	case has("Records"):
		return d.batch(at("Records"), raw, depth, (*decoder).record)
	}
	return bad("this is no finding in a known form")
}

const classic = "this is an alert of Macie Classic, which names no places"

// batch takes the elements of an array one by one, so that one that is broken costs only itself.
func (d *decoder) batch(r *reader, raw []byte, depth int, take func(*decoder, *reader, int) bool) bool {
	on, n := true, 0
	p := r.array(func() *problem {
		n++
		r.peek()
		start := r.i
		r.skip()
		if on {
			on = take(d, &reader{b: r.b[:r.i], i: start}, depth+1)
		}
		return nil
	})
	switch {
	case p != nil:
		return d.fail(p)
	case n == 0:
		return d.skip(KindEmpty, "there are no findings in it", raw)
	}
	return on
}

// hub takes the detail of an event of Security Hub.
func (d *decoder) hub(r *reader, raw []byte, depth int) bool {
	findings := -1
	p := r.object(fields{"findings"}, func(string) *problem {
		r.peek()
		findings = r.i
		r.skip()
		return nil
	})
	switch {
	case p != nil:
		return d.fail(p.under("detail"))
	case findings < 0:
		return d.skip(KindForeign, "this is an event of Security Hub without findings", raw)
	}
	return d.batch(&reader{b: r.b, i: findings}, raw, depth, (*decoder).document)
}

// record takes an element of what SQS and SNS give a function.
func (d *decoder) record(r *reader, depth int) bool {
	start, inner := r.i, -1
	note := func(string) *problem {
		r.peek()
		inner = r.i
		r.skip()
		return nil
	}
	p := r.object(fields{"body", "Sns"}, func(name string) *problem {
		if name == "body" {
			return note(name)
		}
		return r.object(fields{"Message"}, note)
	})
	switch {
	case p != nil:
		return d.fail(p)
	case inner < 0:
		return d.skip(KindForeign, "this is a record of another kind than a message", r.b[start:r.i])
	}
	return d.message(&reader{b: r.b, i: inner}, depth)
}

// message takes a document out of the text it travels in. Problems in it are reported at the message.
func (d *decoder) message(r *reader, depth int) bool {
	start := r.i
	if r.peek() != '"' {
		return d.fail(r.problem("the message is not a string"))
	}
	s := newScanner(context.Background(), bytes.NewReader(plain(r.raw())))
	if s.space() && s.buf[s.i] == '{' {
		if p := s.value(0); p != nil {
			return d.fail(&problem{at: start, what: "the message is malformed", is: p.is})
		}
		doc := s.buf[s.pos:s.i]
		s.advance()
		if !s.space() {
			outer := d.frame
			before := outer.raw[:min(start, len(outer.raw))]
			d.frame = frame{off: outer.off + int64(start), line: outer.line + int64(bytes.Count(before, newline))}
			on := d.document(&reader{b: doc}, depth+1)
			d.frame = outer
			return on
		}
	}
	return d.skip(KindForeign, "this is a message that is not JSON", nil)
}

// hubFinding takes a finding in the AWS Security Finding Format.
func (d *decoder) hubFinding(r *reader) bool {
	start := r.i
	var f draft
	ours, p := f.asff(r)
	doc := Document{Form: FormASFF, Raw: r.b[start:r.i]}
	if !ours {
		doc.Kind, doc.Reason = KindForeign, "this is a finding of another product than Macie"
		return d.emit(doc)
	}
	return d.judge(&f, p, start, doc)
}

// native takes a finding in Macie's own form, or a line of a discovery result, which is a bare finding without certain members.
func (d *decoder) native(r *reader, form Form) bool {
	r.peek()
	start := r.i
	var f draft
	p := f.finding(r)
	if p != nil && form == FormEvent {
		p = p.under("detail")
	}
	doc := Document{Form: form, Raw: r.b[start:r.i]}
	if p == nil && form == FormFinding && !f.native && f.classified {
		doc.Form = FormResult
		return d.line(&f, start, doc)
	}
	return d.flush() && d.judge(&f, p, start, doc)
}

// line takes a line of a discovery result. Lines about the files of one archive are put together.
func (d *decoder) line(f *draft, start int, doc Document) bool {
	f.settle()
	doc.about(f)
	if p := f.unnamed(start); p != nil {
		return d.flush() && d.refuse(p, doc)
	}
	joins := d.pending != nil && d.pending.object == f.Object && (f.embedded || !d.whole)
	if !joins {
		if !d.flush() {
			return false
		}
		d.pending, d.whole, d.first = NewResults(f.Object), false, doc
		d.first.Raw = bytes.Clone(doc.Raw)
		d.first.Line = d.frame.line
		d.held = frame{off: d.frame.off, line: d.frame.line}
	} else {
		d.first.Raw = nil
	}
	d.whole = d.whole || !f.embedded
	d.pending.add(f)
	return true
}

// flush emits the finding of the pending lines.
func (d *decoder) flush() bool {
	if d.pending == nil {
		return true
	}
	f := draft{Finding: d.pending.finding(), classified: true}
	d.pending = nil
	now := d.frame
	d.frame = d.held
	on := d.conclude(&f, 0, d.first)
	d.frame = now
	return on
}

// about names what the document is about.
func (doc *Document) about(f *draft) {
	doc.ID, doc.Object, doc.Created, doc.Updated = f.ID, f.Object, f.CreatedAt, f.updated
}

// judge emits what became of a finding that was read, or of which p is wrong.
func (d *decoder) judge(f *draft, p *problem, start int, doc Document) bool {
	f.settle()
	doc.about(f)
	switch {
	case p != nil:
		return d.refuse(p, doc)
	case strings.EqualFold(f.category, "POLICY") || strings.HasPrefix(f.Type, "Policy:"):
		doc.Kind, doc.Reason = KindPolicy, "this is a policy finding: it is about the settings of a bucket, not about data"
		return d.emit(doc)
	case f.sample || f.Object.Bucket == sampleBucket:
		doc.Kind, doc.Reason = KindSample, "this is a sample finding: example data about no object"
		return d.emit(doc)
	}
	if p := f.unnamed(start); p != nil {
		return d.refuse(p, doc)
	}
	return d.conclude(f, start, doc)
}

// unnamed returns what is wrong with the name of the object.
func (d *draft) unnamed(start int) *problem {
	p := &problem{at: start, is: coffer.ErrInvalid}
	switch {
	case d.Object.Bucket == "":
		p.what = "the bucket's name is missing"
	case !bucketName(d.Object.Bucket):
		p.what = "the bucket's name is none"
	case d.Object.Key == "":
		p.what = "the object's key is missing"
	case len(d.Object.Key) > MaxKey:
		p.what, p.is = "the object's key is too long", coffer.ErrLimit
	default:
		return nil
	}
	return p
}

// conclude emits the finding, unless there is nothing in it to work on.
func (d *decoder) conclude(f *draft, start int, doc Document) bool {
	doc.about(f)
	detected := len(f.Occurrences) > 0
	for _, k := range f.Detections {
		detected = detected || k.Count > 0
	}
	switch {
	case !f.classified:
		return d.refuse(&problem{at: start, what: "the result of the analysis is missing", is: coffer.ErrInvalid}, doc)
	case strings.EqualFold(f.Status, "SKIPPED"):
		doc.Kind, doc.Reason = KindNotAnalyzed, "Macie did not analyse the object"
		if reasons[f.StatusReason] {
			doc.Reason += ": " + f.StatusReason
		}
		return d.emit(doc)
	case !detected:
		doc.Kind, doc.Reason = KindClean, "Macie detected nothing in the object"
		if !strings.EqualFold(f.Status, "COMPLETE") {
			doc.Reason = "Macie detected nothing in what it analysed of the object"
		}
		return d.emit(doc)
	case f.ID == "":
		return d.refuse(&problem{at: start, path: "id", what: "is missing", is: coffer.ErrInvalid}, doc)
	}
	if f.Type == "" {
		f.Type = typeOf(f.Detections)
	}
	doc.Kind, doc.Finding = KindFinding, &f.Finding
	if f.Archived {
		doc.Kind, doc.Reason = KindArchived, "the finding is archived: a suppression rule or a person has set it aside"
	}
	return d.emit(doc)
}

// typeOf returns the type that Macie gives a finding with these detections.
func typeOf(detections []coffer.Detection) string {
	typ := ""
	for _, k := range detections {
		t := "SensitiveData:S3Object/" + map[string]string{
			"CREDENTIALS": "Credentials", "FINANCIAL_INFORMATION": "Financial", "PERSONAL_INFORMATION": "Personal",
		}[k.Category]
		if k.Custom != "" {
			t = "SensitiveData:S3Object/CustomIdentifier"
		}
		if typ != "" && t != typ || strings.HasSuffix(t, "/") {
			return "SensitiveData:S3Object/Multiple"
		}
		typ = t
	}
	return typ
}

// reasons are the codes with which Macie says why it did not analyse an object, or all of it.
var reasons = func() map[string]bool {
	m := make(map[string]bool)
	for code := range strings.FieldsSeq(`ARCHIVE_CONTAINS_UNPROCESSED_FILES ARCHIVE_EXCEEDS_SIZE_LIMIT
		ARCHIVE_NESTING_LEVEL_OVER_LIMIT ARCHIVE_TOTAL_BYTES_EXTRACTED_OVER_LIMIT
		ARCHIVE_TOTAL_DOCUMENTS_PROCESSED_OVER_LIMIT FILE_EXCEEDS_SIZE_LIMIT
		INVALID_ENCRYPTION INVALID_KMS_KEY INVALID_OBJECT_STATE JSON_NESTING_LEVEL_OVER_LIMIT MALFORMED_FILE
		MALFORMED_OR_FILE_SIZE_EXCEEDS_LIMIT NO_SUCH_BUCKET_AVAILABLE OBJECT_VERSION_MISMATCH
		OOXML_UNCOMPRESSED_RATIO_EXCEEDS_LIMIT OOXML_UNCOMPRESSED_SIZE_EXCEEDS_LIMIT PERMISSION_DENIED
		SOURCE_OBJECT_NO_LONGER_AVAILABLE TIME_CUT_OFF_REACHED UNABLE_TO_PARSE_FILE UNSUPPORTED_FILE_TYPE_EXCEPTION`) {
		m[code] = true
	}
	return m
}()
