package macie

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"coffer"
)

// ResultLocation is where Macie says that the discovery result of a finding is.
type ResultLocation struct {
	Bucket string // empty if Unset
	Key    string // verbatim, never URL-decoded; of a file, or the common prefix of several files if Folder
	Folder bool
	// Unset says that no bucket for results was configured when the finding was made, so that nothing can be read. If a
	// bucket was configured within the following 90 days, Macie writes the result there later, under the same Key.
	Unset bool
}

// unset is what Macie writes for the bucket when none is configured.
const unset = "[export-config-not-set]"

// ParseResultLocation reads a finding's detailedResultsLocation. An empty text gives an error that wraps coffer.ErrNotFound,
// a malformed one coffer.ErrInvalid.
func ParseResultLocation(s string) (ResultLocation, error) {
	if s == "" {
		return ResultLocation{}, fmt.Errorf("place of the discovery result: %w", coffer.ErrNotFound)
	}
	// No URI parser sees this text: the placeholder's brackets are no host, and a key is not URL-encoded.
	rest, ok := strings.CutPrefix(s, "s3://")
	bucket, key, _ := strings.Cut(rest, "/")
	if !ok || key == "" || len(key) > MaxKey || bucket != unset && !bucketName(bucket) {
		return ResultLocation{}, fmt.Errorf("place of the discovery result is not s3://BUCKET/KEY: %w", coffer.ErrInvalid)
	}
	l := ResultLocation{Bucket: bucket, Key: key, Folder: !strings.HasSuffix(key, ".jsonl.gz")}
	if bucket == unset {
		l.Bucket, l.Unset = "", true
	}
	return l, nil
}

// SameVersion reports whether a and b are the same version of the same object, as far as both say: bucket and key are equal,
// and so are the version ids and the ETags where both have them, which must be the case for one of the two. It links a
// rescan to the earlier finding, and a discovery result, which names no version, to its finding.
func SameVersion(a, b coffer.Object) bool {
	if a.Bucket != b.Bucket || a.Key != b.Key {
		return false
	}
	known := false
	for _, p := range [][2]string{{a.VersionID, b.VersionID}, {a.ETag, b.ETag}} {
		if p[0] != "" && p[1] != "" {
			if p[0] != p[1] {
				return false
			}
			known = true
		}
	}
	return known
}

// Results collects what discovery results say about the object of one finding: all places that Macie located, of which the
// finding itself lists at most 15, and none for the files of an archive. It is not safe for concurrent use.
type Results struct {
	object  coffer.Object
	lines   []line
	seen    map[[2]string]bool // id and member of the lines
	located int
	over    bool
	others  int
	bad     int
	first   error
}

// line is one line of a discovery result.
type line struct {
	coffer.Finding
	embedded bool   // about a file inside an archive
	member   string // that file, as in a location
}

// NewResults returns an empty collection for the object of a finding.
func NewResults(o coffer.Object) *Results { return &Results{object: o, seen: make(map[[2]string]bool)} }

// Read adds the lines of one result file that are about the object; lines about others and about other versions of it are
// passed over. The file may be compressed with gzip. Results that Macie splits over several files are read one after the
// other, in any order. A line that cannot be read is counted, and [Results.Merge] reports it. The error is the reader's or
// the context's; what was read before it stays.
func (rs *Results) Read(ctx context.Context, r io.Reader) error {
	return frames(ctx, r, func(f frame) bool {
		if f.problem != nil {
			rs.fail(f.at(f.problem))
			return true
		}
		var d draft
		if p := d.finding(&reader{b: f.raw}); p != nil {
			rs.fail(f.at(p))
			return true
		}
		d.settle()
		if !d.classified {
			rs.fail(f.at(&problem{path: "classificationDetails.result", what: "is missing", is: coffer.ErrInvalid}))
			return true
		}
		if !rs.about(d.Object) {
			rs.others++
			return true
		}
		rs.add(&d)
		return true
	})
}

func (rs *Results) fail(err error) {
	rs.bad++
	if rs.first == nil {
		rs.first = err
	}
}

// about is SameVersion, but takes a place on trust where neither a version id nor an ETag can be compared.
func (rs *Results) about(o coffer.Object) bool {
	mine := rs.object
	if mine.ETag == "" || o.ETag == "" {
		mine.ETag, o.ETag = "-", "-"
	}
	return SameVersion(mine, o)
}

func (rs *Results) add(d *draft) {
	l := line{embedded: d.embedded}
	if d.embedded {
		l.member = coffer.MemberPath(d.file)
	}
	if key := [2]string{d.ID, l.member}; d.ID != "" {
		if rs.seen[key] {
			return
		}
		rs.seen[key] = true
	}
	for i := range d.Occurrences {
		d.Occurrences[i].Source = coffer.FromResult
	}
	if room := MaxOccurrences - rs.located; len(d.Occurrences) > room {
		d.Occurrences, rs.over = d.Occurrences[:room:room], true
	}
	rs.located += len(d.Occurrences)
	l.Finding = d.Finding
	rs.lines = append(rs.lines, l)
}

// Merge replaces the places in f by those of the collected results, which lists more of them, and numbers them anew: by file
// for an archive, then in the order of the result. The result does not depend on the order in which lines were read, nor on
// lines read twice. Counts stay the finding's; an identifier that only the results know is added, and the places of one that
// they do not locate stay the finding's own. It sets f.More, and returns why the places are still not all; empty if they are.
func (rs *Results) Merge(f *coffer.Finding) (incomplete string) {
	lines := slices.Clone(rs.lines)
	if slices.ContainsFunc(lines, func(l line) bool { return l.embedded }) {
		// The line about the archive as a whole repeats what the lines about its files say.
		lines = slices.DeleteFunc(lines, func(l line) bool { return !l.embedded })
	}
	if len(lines) > 0 {
		rs.replace(f, lines)
	}
	f.More = false
	number(f)

	var why []string
	switch {
	case rs.bad > 0:
		why = append(why, fmt.Sprintf("%d lines of the discovery result cannot be read, the first: %v", rs.bad, rs.first))
	case len(lines) == 0 && rs.others > 0:
		why = append(why, "the discovery result is about other objects or another version of this one")
	case len(lines) == 0:
		why = append(why, "the discovery result is empty")
	}
	if rs.over {
		why = append(why, fmt.Sprintf("the discovery result has more than %d places", MaxOccurrences))
	}
	if f.More {
		var counted int64
		for _, k := range f.Detections {
			counted += k.Count
		}
		why = append(why, fmt.Sprintf("Macie counted %d occurrences and located %d", counted, len(f.Occurrences)))
	}
	f.More = len(why) > 0
	return strings.Join(why, "; ")
}

func (rs *Results) replace(f *coffer.Finding, lines []line) {
	slices.SortStableFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.member, b.member), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	known := make(map[identifier]bool, len(f.Detections))
	for _, k := range f.Detections {
		known[identifier{k.Type, k.Custom}] = true
	}
	var all []coffer.Occurrence
	located := make(map[identifier]bool)
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && lines[n].member == lines[0].member {
			n++
		}
		places := lines[0].Occurrences
		for _, l := range lines[1:n] { // several results for one file: the job ran again
			places = append(places[:len(places):len(places)], beyond(places, l.Occurrences)...)
		}
		for _, o := range places {
			located[identifier{o.Type, o.Custom}] = true
		}
		all = append(all, places...)
		tally(f, known, lines[:n])
		lines = lines[n:]
	}
	for _, o := range f.Occurrences {
		if !located[identifier{o.Type, o.Custom}] {
			all = append(all, o)
		}
	}
	f.Occurrences = all
}

// tally adds to f what the lines about one file detected of identifiers that are not known: of each, what the line with the
// most has.
func tally(f *coffer.Finding, known map[identifier]bool, lines []line) {
	most := make(map[identifier]int64)
	var order []coffer.Detection
	for _, l := range lines {
		own := make(map[identifier]int64)
		for _, k := range l.Detections {
			id := identifier{k.Type, k.Custom}
			if known[id] {
				continue
			}
			if _, ok := most[id]; !ok {
				most[id] = 0
				order = append(order, k)
			}
			own[id] += k.Count
			most[id] = max(most[id], own[id])
		}
	}
	for _, k := range order {
		id := identifier{k.Type, k.Custom}
		same := func(have coffer.Detection) bool { return have.Type == k.Type && have.Custom == k.Custom }
		if at := slices.IndexFunc(f.Detections, same); at >= 0 {
			f.Detections[at].Count += most[id]
			continue
		}
		k.Count = most[id]
		f.Detections = append(f.Detections, k)
	}
}

// beyond returns the occurrences of more that have is short of: a place that both name n times is named n times, not 2n.
func beyond(have, more []coffer.Occurrence) []coffer.Occurrence {
	type place struct {
		identifier
		at coffer.Location
	}
	of := func(o coffer.Occurrence) place { return place{identifier{o.Type, o.Custom}, o.At} }
	left := make(map[place]int, len(have))
	for _, o := range have {
		left[of(o)]++
	}
	var out []coffer.Occurrence
	for _, o := range more {
		if p := of(o); left[p] > 0 {
			left[p]--
		} else {
			out = append(out, o)
		}
	}
	return out
}

// finding puts the collected lines together as a finding of their own: the line about the whole object, with the places of
// the lines about its files.
func (rs *Results) finding() coffer.Finding {
	whole := slices.IndexFunc(rs.lines, func(l line) bool { return !l.embedded })
	f := rs.lines[max(whole, 0)].Finding
	if len(rs.lines) == 1 {
		f.More = false
		number(&f)
		return f
	}
	f.Occurrences = nil
	if whole < 0 {
		f.Detections, f.MIMEType = nil, ""
		for _, l := range rs.lines {
			f.Severity = max(f.Severity, l.Severity)
			if l.Status != f.Status {
				f.Status, f.StatusReason = "PARTIAL", "ARCHIVE_CONTAINS_UNPROCESSED_FILES"
			}
		}
	}
	rs.Merge(&f)
	if whole < 0 {
		f.Type = typeOf(f.Detections)
	}
	for _, l := range rs.lines {
		f.ID = cmp.Or(f.ID, l.ID)
	}
	return f
}
