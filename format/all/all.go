// Package all is the list of the formats and the choice between them.
//
// # The choice
//
// The bytes win. What begins like an archive, a Parquet file, an image is one, whatever it is called, and nothing else is one:
// content types of objects are often wrong, and names often older than what they name. (Two kinds of file have no beginning of
// their own: a zip file behind a program that unpacks it, and a tar file without members. They go by their names.)
//
// Among texts the bytes say little. There the extension of the name decides if it is a known one, then the content type, then
// whether the text begins like JSON; otherwise it is lines of text. A file called JSON that cannot begin a JSON value is lines
// of text too. Everything that is not binary is a text.
//
// Which places are wanted has the last word among texts: Macie reports cells for what it read as a table and fields for what it
// read as JSON, so cells wanted from a ".txt" are looked for in a table. Lines can be wanted from every text.
package all

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"path"
	"strings"
	"sync"

	"coffer"
	"coffer/format"
	"coffer/format/archive"
	"coffer/format/delimited"
	"coffer/format/jsondoc"
	"coffer/format/text"
)

// HeadSize is how much of a document's beginning [Choose] should be given; more does not hurt, less only if there is no more.
const HeadSize = archive.HeadSize

// Kind names a kind of document.
type Kind string

// The kinds that can be read.
const (
	CSV  Kind = "csv" // with any delimiter
	TSV  Kind = "tsv"
	JSON Kind = "json" // and JSON Lines
	Text Kind = "text"
	GZip Kind = "gzip"
	Zip  Kind = "zip"
	Tar  Kind = "tar"
)

// Archive reports whether documents of the kind hold other documents.
func (k Kind) Archive() bool { return k == GZip || k == Zip || k == Tar }

// Choose returns the format for a document with this name (an object's key or the name of a file in an archive), content type
// and first bytes, and the kind that it is. Name and content type may be empty.
//
// A kind that is known and cannot be read gives an error wrapping coffer.ErrUnsupported that names the kind, which is returned as
// well. The format is one value for everything inside an archive too: files there are chosen the same way, and those that
// cannot be read are opaque. It is safe for concurrent use.
func Choose(name, contentType string, head []byte) (format.Format, Kind, error) {
	kind, ok := recognise(name, contentType, head)
	if !ok {
		return nil, kind, fmt.Errorf("document of kind %s: %w", kind, coffer.ErrUnsupported)
	}
	switch kind {
	case GZip, Zip, Tar:
		return container(kind, name, member), kind, nil
	}
	return plain(kind), kind, nil
}

// member is the chooser for the files in an archive.
func member(name string, head []byte) format.Format {
	f, _, err := Choose(name, "", head)
	if err != nil {
		return nil
	}
	return f
}

// Opaque counts the files inside an archive, at any depth, that no format can read, by their kinds. A walk over everything
// passes them by, so what it says of the archive does not hold for them. Of a plain document it is empty.
func Opaque(ctx context.Context, name string, src format.Source) (map[Kind]int, error) {
	head := make([]byte, HeadSize)
	n, err := io.ReadFull(src.Reader, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	src.Reader = io.MultiReader(bytes.NewReader(head[:n]), src.Reader)
	count := map[Kind]int{}
	kind, ok := recognise(name, "", head[:n])
	if !ok || !kind.Archive() {
		return count, nil
	}
	var mu sync.Mutex // an archive reads ahead of its members' walks
	var choose archive.Chooser
	choose = func(name string, head []byte) format.Format {
		kind, ok := recognise(name, "", head)
		switch {
		case !ok && len(head) > 0:
			mu.Lock()
			defer mu.Unlock()
			count[kind]++
			return nil
		case kind.Archive():
			return container(kind, name, choose)
		}
		return unread{}
	}
	err = container(kind, name, choose).Walk(ctx, nil, src, nil, func(*format.Region) ([]format.Edit, error) { return nil, nil })
	return count, err
}

// unread is a format that looks at nothing.
type unread struct{}

func (unread) Walk(context.Context, io.Writer, format.Source, []coffer.Location, format.Visitor) error {
	return nil
}

func container(kind Kind, name string, choose archive.Chooser) format.Format {
	switch kind {
	case GZip:
		return archive.Gzip{Name: name, Choose: choose}
	case Zip:
		return archive.Zip{Choose: choose}
	}
	return archive.Tar{Choose: choose}
}

// Reading returns f, which [Choose] chose, such that a walk over everything reads each text as a walk that wants the places
// would: a ".log" in which fields were found is walked as JSON. The places are those of regions that f has visited.
func Reading(f format.Format, places []coffer.Location) format.Format {
	as := map[string]asked{}
	for _, l := range places {
		name := ""
		if names := l.Names(); names != nil {
			name = names[len(names)-1]
			if i := strings.LastIndexByte(name, '#'); i > 0 {
				// The second of two members of one name; at worst its namesake is read the same way.
				as[name[:i]] = as[name[:i]].and(l)
			}
		}
		as[name] = as[name].and(l)
	}
	return reading(f, "", as)
}

func reading(f format.Format, name string, as map[string]asked) format.Format {
	switch f := f.(type) {
	case archive.Gzip:
		// The file inside has no place of its own in a member path.
		f.Choose = func(inner string, head []byte) format.Format {
			if m := member(inner, head); m != nil {
				return reading(m, name, as)
			}
			return nil
		}
		return f
	case archive.Zip:
		f.Choose = members(as)
		return f
	case archive.Tar:
		f.Choose = members(as)
		return f
	case document:
		return plain(as[name].kind(f.kind))
	}
	return f
}

func members(as map[string]asked) archive.Chooser {
	return func(name string, head []byte) format.Format {
		if m := member(name, head); m != nil {
			return reading(m, name, as)
		}
		return nil
	}
}

// document is a text in whatever encoding.
type document struct {
	format.Format
	kind Kind
}

func plain(kind Kind) document { return document{format.Decode(textual{kind}), kind} }

// asked says of which kinds the places in a text are.
type asked struct{ cells, records bool }

func (a asked) and(l coffer.Location) asked {
	return asked{a.cells || l.Kind == coffer.Cell, a.records || l.Kind == coffer.Record}
}

// kind is how a text of the kind k is read for these places.
func (a asked) kind(k Kind) Kind {
	switch {
	case a.cells && !a.records && k != TSV:
		return CSV
	case a.records && !a.cells:
		return JSON
	}
	return k
}

// textual walks a text with the format of its kind, unless places are wanted that only another format knows.
type textual struct{ kind Kind }

func (t textual) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	var a asked
	for _, l := range want {
		a = a.and(l)
	}
	var f format.Format = text.Format{}
	switch a.kind(t.kind) {
	case CSV:
		f = delimited.Format{}
	case TSV:
		f = delimited.Format{Comma: '\t'}
	case JSON:
		f = jsondoc.Format{}
	}
	return f.Walk(ctx, dst, src, want, visit)
}

// AsText returns a format that reads a document as lines of text although f, which [Choose] returned for it, knows a grammar
// for it. An archive has no lines: for it the error wraps coffer.ErrInvalid.
func AsText(f format.Format) (format.Format, error) {
	switch f.(type) {
	case archive.Gzip, archive.Zip, archive.Tar:
		return nil, fmt.Errorf("an archive read as text: %w", coffer.ErrInvalid)
	}
	return plain(Text), nil
}

// recognise returns the kind, and whether it can be read.
func recognise(name, contentType string, head []byte) (Kind, bool) {
	ext := strings.ToLower(path.Ext(name))
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")):
		return GZip, true
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")), bytes.HasPrefix(head, []byte("PK\x06\x06")):
		if kind := office(ext, head); kind != "" {
			return kind, false
		}
		return Zip, true
	case archive.IsTar(head) && (head[0] != 0 || ext == ".tar"):
		return Tar, true
	}
	binary := binary(head)
	for _, m := range magics {
		if (binary || m.sure) && len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.bytes)) {
			if m.kind == "ole" {
				return ole(ext), false
			}
			return m.kind, false
		}
	}
	if binary {
		if ext == ".zip" {
			return Zip, true
		}
		return "binary", false
	}
	return textKind(ext, contentType, head), true
}

// magic is how documents of a kind begin.
type magic struct {
	kind  Kind
	bytes string
	at    int
	// sure says that no text begins like this; otherwise it counts only where the rest is binary.
	sure bool
}

var magics = []magic{
	{kind: "parquet", bytes: "PAR1"},
	{kind: "avro", bytes: "Obj\x01", sure: true},
	{kind: "orc", bytes: "ORC"},
	{kind: "pdf", bytes: "%PDF-", sure: true},
	{kind: "ole", bytes: "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", sure: true},
	{kind: "image", bytes: "\x89PNG\r\n\x1a\n", sure: true},
	{kind: "image", bytes: "\xff\xd8\xff", sure: true},
	{kind: "image", bytes: "GIF87a"},
	{kind: "image", bytes: "GIF89a"},
	{kind: "image", bytes: "BM"},
	{kind: "image", bytes: "II*\x00", sure: true},
	{kind: "image", bytes: "MM\x00*", sure: true},
	{kind: "media", bytes: "RIFF"},
	{kind: "media", bytes: "ftyp", at: 4},
	{kind: "media", bytes: "ID3"},
	{kind: "media", bytes: "OggS"},
	{kind: "zstd", bytes: "\x28\xb5\x2f\xfd", sure: true},
	{kind: "lz4", bytes: "\x04\x22\x4d\x18", sure: true},
	{kind: "compress", bytes: "\x1f\x9d"},
	{kind: "bzip2", bytes: "1AY&SY", at: 4, sure: true},
	{kind: "xz", bytes: "\xfd7zXZ\x00", sure: true},
	{kind: "7z", bytes: "7z\xbc\xaf\x27\x1c", sure: true},
	{kind: "rar", bytes: "Rar!\x1a\x07", sure: true},
	{kind: "sqlite", bytes: "SQLite format 3\x00", sure: true},
	{kind: "encrypted", bytes: "age-encryption.org/v1", sure: true},
	{kind: "encrypted", bytes: "-----BEGIN AGE ENCRYPTED FILE-----", sure: true},
	{kind: "encrypted", bytes: "-----BEGIN PGP MESSAGE-----", sure: true},
	{kind: "encrypted", bytes: "Salted__"},
	{kind: "utf-32", bytes: "\xff\xfe\x00\x00", sure: true},
	{kind: "utf-32", bytes: "\x00\x00\xfe\xff", sure: true},
}

// office returns the kind of a zip file that is an office document; empty: it is not. Those written by office programs begin with
// the list of content types (ECMA-376, part 2) or, in OpenDocument, with a member "mimetype".
func office(ext string, head []byte) Kind {
	first := head[min(len(head), 30):]
	opc := bytes.HasPrefix(first, []byte("[Content_Types].xml")) || bytes.HasPrefix(first, []byte("_rels/.rels"))
	switch ext {
	case ".xlsx", ".xlsm", ".docx", ".docm", ".pptx", ".pptm":
		return Kind(ext[1:])
	}
	switch {
	case bytes.HasPrefix(first, []byte("mimetypeapplication/vnd.oasis.opendocument")):
		return "opendocument"
	case opc && bytes.Contains(head, []byte("xl/")):
		return "xlsx"
	case opc && bytes.Contains(head, []byte("word/")):
		return "docx"
	case opc:
		return "office"
	}
	return ""
}

// ole returns the kind of a compound file, the old container of office documents.
func ole(ext string) Kind {
	switch ext {
	case ".xls", ".doc", ".ppt", ".msg":
		return Kind(ext[1:])
	}
	return "office"
}

// binary reports whether head is no text: more than one byte in twenty is a control character that no text has. Zeros at the end
// are padding.
func binary(head []byte) bool {
	if format.IsUTF16(head) {
		return false
	}
	body := bytes.TrimRight(head, "\x00")
	if len(body) == 0 {
		return len(head) > 0
	}
	controls := 0
	for _, c := range body {
		if c < ' ' && (c < '\b' || c > '\r') && c != 0x1b {
			controls++
		}
	}
	return controls*20 > len(body)
}

// textKind returns the kind of a text.
func textKind(ext, contentType string, head []byte) Kind {
	kind, known := byExtension[ext]
	if !known {
		kind, known = byType(contentType)
	}
	plain := ascii(head)
	if !known || kind == JSON {
		looks, could := likeJSON(plain)
		switch {
		case known && !could:
			return Text
		case !known && looks:
			return JSON
		case !known:
			return Text
		}
	}
	return kind
}

var byExtension = map[string]Kind{
	".csv": CSV, ".tsv": TSV, ".tab": TSV,
	".json": JSON, ".jsonl": JSON, ".ndjson": JSON, ".geojson": JSON,
	".txt": Text, ".log": Text, ".htm": Text, ".html": Text, ".xml": Text, ".yaml": Text, ".yml": Text, ".eml": Text, ".md": Text, ".sql": Text,
}

// byType returns the kind that a content type names; the types that say nothing are not known.
func byType(contentType string) (Kind, bool) {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", false
	}
	switch t {
	case "text/csv", "application/csv":
		return CSV, true
	case "text/tab-separated-values":
		return TSV, true
	case "application/json", "application/x-ndjson", "application/jsonl", "application/json-lines", "text/json":
		return JSON, true
	}
	return JSON, strings.HasSuffix(t, "+json")
}

// ascii returns head without its byte order mark and, if it is UTF-16, without the zeros: enough to see syntax.
func ascii(head []byte) []byte {
	if format.IsUTF16(head) {
		head = bytes.TrimPrefix(bytes.TrimPrefix(head, []byte("\xff\xfe")), []byte("\xfe\xff"))
		return bytes.ReplaceAll(head, []byte{0}, nil)
	}
	return bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
}

// likeJSON reports whether a text looks like JSON (it begins an object, or all of its first line is a value that is no bare
// scalar), and whether it could be JSON at all.
func likeJSON(b []byte) (looks, could bool) {
	b = bytes.TrimLeft(b, " \t\r\n\x00")
	if len(b) == 0 {
		return false, true
	}
	switch c := b[0]; {
	case c == '{':
		rest := bytes.TrimLeft(b[1:], " \t\r\n")
		return len(rest) == 0 || rest[0] == '"' || rest[0] == '}', true
	case c == '[':
		d := json.NewDecoder(bytes.NewReader(b))
		for range 8 {
			if _, err := d.Token(); err != nil {
				return err == io.EOF || err == io.ErrUnexpectedEOF, true
			}
		}
		return true, true
	default: // a scalar
		_, err := json.NewDecoder(bytes.NewReader(b)).Token()
		return false, err == nil || err == io.EOF || err == io.ErrUnexpectedEOF
	}
}

// Splice copies src to dst with the spans replaced, without looking into the documents themselves: the second walk of a fix, for
// plain documents and for members of archives, for which it takes the containers apart and nothing else. name is the name with
// which [Choose] was asked. The spans are those of a walk over the same bytes: per member ascending and without overlap.
//
// A span that finds no place gives an error wrapping coffer.ErrChanged, malformed spans one wrapping coffer.ErrInvalid. As
// for a plain document see [format.Splice].
func Splice(ctx context.Context, name string, dst io.Writer, src format.Source, spans []format.Span) error {
	plain := 0
	for _, s := range spans {
		if s.Member == "" {
			plain++
		}
	}
	switch {
	case plain == len(spans):
		return format.Splice(ctx, dst, src, spans)
	case plain > 0:
		return fmt.Errorf("spans both in the document and in members of it: %w", coffer.ErrInvalid)
	}
	head := make([]byte, HeadSize)
	n, err := io.ReadFull(src.Reader, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	head = head[:n]
	src.Reader = io.MultiReader(bytes.NewReader(head), src.Reader)
	f := spliced(name, head)
	if _, plain := f.(splice); f == nil || plain {
		return fmt.Errorf("spans in members of a document that is no archive: %w", coffer.ErrChanged)
	}
	want := make([]coffer.Location, len(spans))
	for i, s := range spans {
		want[i] = coffer.Location{Member: s.Member, Kind: coffer.Offset, Start: s.Start, End: s.End}
	}
	met := make([]bool, len(spans))
	left := len(spans)
	err = f.Walk(ctx, dst, src, want, func(r *format.Region) ([]format.Edit, error) {
		i := r.Places[0].Want
		// A location may be meant less exactly than it is written; a span may not.
		if r.At != want[i] || met[i] {
			return nil, nil
		}
		met[i] = true
		left--
		return []format.Edit{{New: spans[i].New}}, nil
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d of %d spans are in no member of the archive: %w", left, len(spans), coffer.ErrChanged)
	}
	return err
}

// spliced is the chooser of Splice. It must see archives exactly where Choose does, or members would have other names.
func spliced(name string, head []byte) format.Format {
	_, kind, err := Choose(name, "", head)
	switch {
	case err != nil:
		return nil
	case kind.Archive():
		return container(kind, name, spliced)
	}
	return splice{}
}

// splice is a format without a grammar. It offers every wanted span of bytes as a region without text; what is inserted there
// replaces the span.
type splice struct{}

func (splice) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	var spans []format.Span
	for i, l := range want {
		r := format.Region{At: l, Last: true, Places: []format.Place{{Want: i}}}
		r.Locate = func(int, int) coffer.Location { return l }
		r.Splice = func(edits []format.Edit) ([]format.Span, error) {
			if len(edits) != 1 {
				return nil, fmt.Errorf("span replaced %d times: %w", len(edits), coffer.ErrInvalid)
			}
			return []format.Span{{Start: l.Start, End: l.End, New: edits[0].New}}, nil
		}
		edits, err := visit(&r)
		if err != nil {
			return err
		}
		if len(edits) == 0 {
			continue
		}
		s, err := r.Splice(edits)
		if err != nil {
			return err
		}
		spans = append(spans, s...)
	}
	return format.Splice(ctx, dst, src, spans)
}
