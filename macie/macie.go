// Package macie reads what Amazon Macie says into the words of this program: it turns every form in which findings travel
// into a [coffer.Finding]. It is pure parsing; nothing is fetched and nothing is decided here.
//
// # What comes in
//
// [Decode] reads a stream of documents: EventBridge events of Macie and of Security Hub, as they are or in a message of SNS
// or SQS, bare findings, the answer of GetFindings, the console's export, findings in the AWS Security Finding Format
// (ASFF), and sensitive data discovery results; one document, an array, several documents one after the other, JSON Lines, pretty-printed or not, compressed with
// gzip or not. For every document it says what it is, and why it is no finding to work on. A document that cannot be read
// costs that document alone.
//
// A finding lists at most 15 places. [Results] collects the others from the discovery result, which stands where
// [ParseResultLocation] says. [Event] and [ResultLines] write findings in Macie's own form.
//
// # What is trusted
//
// Nothing. A document's size, depth and lengths are bounded, bytes that are not JSON in UTF-8 are refused, and so is a member
// that stands twice in an object, because two programs would read two findings from it. A document with one malformed
// place is refused as a whole: a finding is read completely or not at all. Texts that people chose (the name of a custom
// identifier, title, description) are made printable or cut. Members that are not read may hold anything.
// Errors say where (line, byte, JSON path) and what, and never repeat the input.
//
// The schema is Macie's, as in its API reference and in real output: every member may be missing or null, names come in any
// casing, whole numbers as numbers or as text, values of enumerations that are not known pass. Places keep Macie's bases: rows,
// columns, lines and pages count from 1, records from 0. A cell without a column is the whole row, a line range without
// an end is one line, a record without a path is the whole record.
//
// # Order
//
// Occurrences are numbered from 1 in the order of the finding: managed identifiers by category and detection as they stand,
// then custom ones; within a detection cells, lines, pages, records, offsets, each as they stand. After [Results.Merge]
// the files of an archive come in the order of their names.
package macie

import (
	"context"
	"io"
	"iter"
	"time"

	"coffer"
)

// MaxInflated is the most bytes that one compressed stream may hold.
const MaxInflated = 4 << 30

// Kind says what a document turned out to be.
type Kind string

// The kinds of documents. Only the first carries a finding to work on.
const (
	KindFinding     Kind = "finding"      // a sensitive data finding
	KindArchived    Kind = "archived"     // one that a suppression rule or a person has archived
	KindPolicy      Kind = "policy"       // a policy finding
	KindSample      Kind = "sample"       // a sample finding: example data about no object
	KindClassic     Kind = "classic"      // an alert of Macie Classic
	KindForeign     Kind = "foreign"      // of another source
	KindClean       Kind = "clean"        // a result for an object in which nothing was detected
	KindNotAnalyzed Kind = "not-analyzed" // a result for an object that Macie could not read
	KindEmpty       Kind = "empty"        // a batch or stream without findings
	KindUnreadable  Kind = "unreadable"   // see Err
)

// Form says in what form a finding came.
type Form string

// The forms of findings.
const (
	FormEvent   Form = "event"   // an EventBridge event of Macie
	FormFinding Form = "finding" // bare, or in an answer of GetFindings
	FormASFF    Form = "asff"    // in the AWS Security Finding Format
	FormResult  Form = "result"  // a sensitive data discovery result
)

// Document is what [Decode] makes of one finding, or of one thing that is none.
type Document struct {
	Kind Kind
	Form Form // empty where it cannot be said

	// Finding is set for KindFinding and KindArchived. Its Origin is empty: who hands the document in decides that.
	Finding *coffer.Finding
	// ID and Object name the finding and its object as far as they are known, for other kinds too. They are not validated
	// beyond their lengths unless Finding is set.
	ID     string
	Object coffer.Object
	// Created and Updated are when Macie made the finding and changed it last; zero where it does not say. Both are set for other
	// kinds, too.
	Created, Updated time.Time

	// Reason says in one sentence why there is nothing to do: for every kind but KindFinding, and without a value of the input.
	Reason string
	// Err is set for KindUnreadable. It wraps coffer.ErrInvalid, or coffer.ErrLimit for a document beyond the limits.
	Err error

	N    int   // 1-based number of the document in the stream; a batch has one for each of its findings
	Line int64 // 1-based line where it begins
	// Raw is the finding's own JSON, without its event or batch, valid until the next document is asked for. Nil if the
	// document is unreadable and for a finding put together from several lines of a discovery result.
	Raw []byte
}

// Decode reads findings from a stream and yields one document for each finding, or for each thing that is none. An error
// is the reader's or the context's and ends the sequence, what came before it stays valid; all that is wrong with the input
// is an unreadable document, after which it goes on with the next. For a stream without documents it yields one of KindEmpty.
//
// A small multiple of [MaxDocument] bytes is held at a time, and the occurrences of one finding. Lines of a
// discovery result about the files of one archive become one finding if they follow one another, as they do in Macie's own
// files. How many documents a hostile stream of a given size yields is bounded by its size alone.
func Decode(ctx context.Context, r io.Reader) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		d := decoder{yield: yield}
		err := frames(ctx, r, func(f frame) bool {
			d.frame = f
			if f.problem != nil {
				return d.fail(f.problem)
			}
			return d.document(&reader{b: f.raw}, 0) // flushes what is pending itself
		})
		switch {
		case d.stopped:
		case err != nil:
			yield(Document{}, err) // what is pending may miss lines that were not read
		case d.flush() && d.n == 0:
			d.emit(Document{Kind: KindEmpty, Line: 1, Reason: "there is nothing in it"})
		}
	}
}
