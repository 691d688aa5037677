package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"coffer"
	"coffer/macie"
)

// marker is a value that may stand nowhere but in its object and in the answer to a reveal.
type marker struct {
	name  string
	value string
	// forms are the bytes that would give it away: the value, its beginning and its encodings, and the unkeyed digests of it
	// and of the object that holds little else.
	forms map[string][]byte
}

func newMarker(name, value string, object []byte) marker {
	m := marker{name, value, map[string][]byte{}}
	spell := func(what string, b []byte) {
		m.forms[what] = b
		m.forms[what+", hex"] = []byte(hex.EncodeToString(b))
		m.forms[what+", HEX"] = []byte(strings.ToUpper(hex.EncodeToString(b)))
		m.forms[what+", base32"] = []byte(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
		// In base64 a value looks different for each offset; the characters at the edges belong to its neighbours too.
		for shift := range 3 {
			for alphabet, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				s := enc.EncodeToString(append(make([]byte, shift), b...))
				m.forms[fmt.Sprintf("%s, %s at offset %d", what, alphabet, shift)] = []byte(s[(shift*8+5)/6 : len(s)-1])
			}
		}
	}
	v := []byte(value)
	spell("the value", v)
	m.forms["its beginning"] = v[:8]
	reversed := slices.Clone(v)
	slices.Reverse(reversed)
	spell("the value backwards", reversed)
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		var b []byte
		for _, u := range utf16.Encode([]rune(value)) {
			b = binary.BigEndian.AppendUint16(b, u)
			if order == binary.LittleEndian {
				b[len(b)-1], b[len(b)-2] = b[len(b)-2], b[len(b)-1]
			}
		}
		m.forms["the value in UTF-16 "+order.String()] = b
	}
	for what, b := range map[string][]byte{"the value": v, "the object": object} {
		h1, h2, h3 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b)
		for name, sum := range map[string][]byte{"MD5": h1[:], "SHA-1": h2[:], "SHA-256": h3[:]} {
			spell(name+" of "+what, sum)
		}
	}
	return m
}

// leakStory is one home with an object for each format, each with a marker of its own.
type leakStory struct {
	t       *testing.T
	home    string
	outside string // what is written outside the home: temporary files
	markers []marker
	events  [][]byte
	ids     []string
	objects map[string][]byte // path below the home's objects -> original

	// Of all forms of all markers: their first eight bytes, and a bitmap over a hash of these.
	filter []bool
	first  map[uint64][][3]string // form, marker, bytes
}

func (s *leakStory) object(bucket, key, value string, body []byte, typ coffer.DataType, more bool, at ...string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.home, "objects", bucket, key), string(body))
	s.objects[bucket+"/"+key] = body
	s.markers = append(s.markers, newMarker(key, value, body))
	sum := md5.Sum(body)
	f := coffer.Finding{
		ID: fmt.Sprintf("%032x", len(s.ids)+1), AccountID: "111122223333", Partition: "aws", Region: "eu-west-1",
		Type: "SensitiveData:S3Object/Multiple", Severity: coffer.SeverityHigh, CreatedAt: time.Date(2026, 7, 15, 3, 20, 0, 0, time.UTC),
		Object: coffer.Object{Bucket: bucket, Key: key, ETag: hex.EncodeToString(sum[:])}, Size: int64(len(body)), Status: "COMPLETE",
		OriginType: "SENSITIVE_DATA_DISCOVERY_JOB", JobID: "7c1f0a94d2b84e6fa35b90e1c84d2f17",
		Detections: []coffer.Detection{{Type: typ, Category: "FINANCIAL_INFORMATION", Count: int64(len(at))}},
	}
	for i, text := range at {
		l, err := coffer.ParseLocation(text)
		if err != nil {
			s.t.Fatal(err)
		}
		f.Occurrences = append(f.Occurrences, coffer.Occurrence{N: i + 1, Type: typ, At: l})
		if l.Kind == coffer.Cell && l.Row == 2 {
			// What Macie calls the column is document text, and may be a value itself.
			f.Occurrences[i].Column = "card " + value
		}
	}
	if more {
		key := "results/" + f.ID + ".jsonl.gz"
		f.ResultLocation = "s3://results/" + key
		write(s.t, filepath.Join(s.home, "objects", "results", key), string(gzipped(macie.ResultLines(f), "")))
		f.Occurrences = nil
	}
	s.ids = append(s.ids, f.ID)
	s.events = append(s.events, macie.Event(f))
}

func gzipped(b []byte, name string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Name = name
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}

// leakCard is a number of no issuer with a valid check digit.
func leakCard(i int) string {
	digits := fmt.Sprintf("4%014d", i*7_919_073_819_527)
	for check := range 10 {
		sum := 0
		for k := range 16 {
			d := check
			if k < 15 {
				d = int(digits[k] - '0')
			}
			if k%2 == 0 {
				if d *= 2; d > 9 {
					d -= 9
				}
			}
			sum += d
		}
		if sum%10 == 0 {
			return digits + fmt.Sprint(check)
		}
	}
	panic("no check digit")
}

func newLeakStory(t *testing.T) *leakStory {
	s := &leakStory{t: t, home: filepath.Join(t.TempDir(), "home"), outside: t.TempDir(), objects: map[string][]byte{}}
	t.Setenv("TMPDIR", s.outside)
	const b = "bucket"
	n := 0
	next := func() string { n++; return leakCard(n) }
	const card = coffer.CardNumber

	v := next()
	s.object(b, "a.csv", v, []byte("id,card\r\n1,\"x \"\""+v+"\"\"\r\ny\"\r\n2,"+v+"\r\n"), card, false, "cell:R2C2")
	v = next()
	s.object(b, "header.csv", v, []byte("card "+v+",x\n1,2\n"), card, false, "line:1-1:6")
	v = next()
	s.object(b, "a.tsv", v, []byte("id\tcard\n1\t"+v+"\n"), card, false, "cell:R2C2")
	v = next()
	s.object(b, "utf16.csv", v, utf16le("id;card\n1;"+v+"\n"), card, false, "cell:R2C2")
	v = next()
	s.object(b, "a.json", v, []byte(`{"card":{"n":"\u0034`+v[1:]+`","m":`+v+`}}`), card, false, "record:0:$.card.n")
	v = next()
	s.object(b, "key.json", v, []byte(`{"cards":{"`+v+`":{"x":"1"}}}`), card, false, "record:0:$")
	v = next()
	s.object(b, "below.json", v, []byte(`{"`+v+`":{"card":"`+v+`"}}`), card, false, "record:0:$..card")
	v = next()
	s.object(b, "a.jsonl", v, []byte("{\"card\":1}\n{\"card\":\""+v+"\"}\n"), card, false, "record:1:$.card")
	v = next()
	s.object(b, "a.log", v, []byte("x\ncard "+v+" and card "+v+"\n"), card, false, "line:2-2:6")
	v = next()
	s.object(b, "a.html", v, []byte("<p title=\"card "+v+"\">card "+v+"</p>"), card, false, "line:1-1:16")
	v = next()
	s.object(b, "a.eml", v, []byte("Subject: card "+v+"\r\n\r\ncard "+v+"\r\n"), card, false, "line:1-1:15")
	v = next()
	s.object(b, "a.yaml", v, []byte("card: "+v+"\n"), card, false, "line:1-1:7")
	v = next()
	s.object(b, "tiny.txt", v, []byte(v), card, false, "line:1-1:1")
	v = next()
	s.object(b, "a.csv.gz", v, gzipped([]byte("id,card\n1,"+v+"\n"), "a.csv"), card, true, "a.csv!cell:R2C2")
	v = next()
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	var tb bytes.Buffer
	tw := tar.NewWriter(&tb)
	row := "id,card\n1," + v + "\n"
	_ = tw.WriteHeader(&tar.Header{Name: "in.csv", Mode: 0o600, Size: int64(len(row))})
	_, _ = tw.Write([]byte(row))
	_ = tw.Close()
	for name, body := range map[string][]byte{"in.tar.gz": gzipped(tb.Bytes(), ""), "b.csv": []byte(row)} {
		w, _ := zw.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		_, _ = w.Write(body)
	}
	_ = zw.Close()
	s.object(b, "a.zip", v, z.Bytes(), card, true, "in.tar.gz!in.csv!cell:R2C2")
	s.object(b, "rejected.csv", "4000007777777777", []byte("card,x\n4000007777777777,1\n"), card, false, "cell:R2C1")
	s.object(b, "track.txt", "4000001234562=29051011000012300000", []byte("swipe ;4000001234562=29051011000012300000? end\n"), coffer.CardMagneticStripe, false, "line:1-1:7")
	s.object(b, "aws.txt", "wJqlrXUtnFZMIK7MDWNGbPxRfiCYKq8vTzL3sEYh", []byte("aws_secret_access_key = wJqlrXUtnFZMIK7MDWNGbPxRfiCYKq8vTzL3sEYh\n"), "AWS_CREDENTIALS", false, "line:1-1:25")
	s.object(b, "person.csv", "Saanvi Sarkar-Whitfield", []byte("id,name,town\n1,Saanvi Sarkar-Whitfield,x\n"), coffer.PersonName, false, "cell:R2C2")
	s.object(b, "unknown.csv", "zq81-zz-4711-kk", []byte("id,code\n1,zq81-zz-4711-kk\n"), "SOME_NEW_IDENTIFIER", false, "cell:R2C2")
	s.object("versioned", "v.csv", leakCard(500), []byte("id,card\n1,"+leakCard(500)+"\n"), card, false, "cell:R2C2")
	return s
}

func utf16le(text string) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// search looks for all markers in b, in one pass.
func (s *leakStory) search(where string, b []byte) {
	s.t.Helper()
	if s.filter == nil {
		s.filter, s.first = make([]bool, 1<<16), map[uint64][][3]string{}
		for _, m := range s.markers {
			for form, text := range m.forms {
				k := binary.LittleEndian.Uint64(text)
				s.filter[k*0x9E3779B97F4A7C15>>48] = true
				s.first[k] = append(s.first[k], [3]string{form, m.name, string(text)})
			}
		}
	}
	told := map[string]bool{}
	for i := 0; i+8 <= len(b); i++ {
		k := binary.LittleEndian.Uint64(b[i:])
		if !s.filter[k*0x9E3779B97F4A7C15>>48] {
			continue
		}
		for _, f := range s.first[k] {
			if bytes.HasPrefix(b[i:], []byte(f[2])) && !told[f[1]] {
				told[f[1]] = true
				s.t.Errorf("%s: holds %s of the marker of %s", where, f[0], f[1])
			}
		}
	}
}

// coffer runs a command, which must end with that code, and searches its output. It returns the lines of its output.
func (s *leakStory) coffer(code int, args ...string) []map[string]any {
	s.t.Helper()
	got, out, errs := invoke(s.t, "", append(args, "--home", s.home)...)
	if got != code {
		s.t.Errorf("coffer %s: exit %d, want %d: %.300q", strings.Join(args, " "), got, code, errs)
	}
	s.search("the output of coffer "+args[0]+" "+args[1], []byte(out))
	s.search("the errors of coffer "+args[0]+" "+args[1], []byte(errs))
	var lines []map[string]any
	for line := range strings.Lines(out) {
		m := map[string]any{}
		if json.Unmarshal([]byte(line), &m) == nil {
			lines = append(lines, m)
		}
	}
	return lines
}

// files searches the home and the temporary files: names and bytes. Objects are left out unless fixed, and so are the versions
// that a versioned bucket keeps.
func (s *leakStory) files(step string, fixed bool) {
	n := 0
	for _, root := range []string{s.home, s.outside} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			s.search(step+": the name of a file in the home", []byte(rel))
			below, object := strings.CutPrefix(rel, "objects"+string(filepath.Separator))
			if strings.HasPrefix(below, "results") {
				return nil // Macie's own, and it names columns
			}
			if object && !fixed {
				below = filepath.ToSlash(below)
				if _, ok := s.objects[below]; ok || strings.HasPrefix(below, ".coffer/versioned/keys/") && strings.HasPrefix(d.Name(), "v-") {
					return nil
				}
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			n++
			s.search(step+": "+rel, b)
			if plain, err := gunzip(b); err == nil {
				s.search(step+": "+rel+", unpacked", plain)
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if n < 5 {
		s.t.Errorf("%s: only %d files were searched", step, n)
	}
}

func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = out.ReadFrom(r)
	return out.Bytes(), err
}

// look runs every command that shows something, what concerns one thing in one of the two forms of output, and searches the
// files.
func (s *leakStory) look(step string, plans []string) {
	s.t.Helper()
	for _, args := range []string{"finding list", "intake list", "remedy list", "audit list", "job list", "config show", "object list s3://bucket/"} {
		s.coffer(0, strings.Fields(args)...)
		s.coffer(0, append(strings.Fields(args), "--json")...)
	}
	n := 0
	show := func(args ...string) {
		if n++; n%2 == 0 {
			args = append(args, "--json")
		}
		s.coffer(0, args...)
	}
	for _, id := range s.ids {
		show("finding", "show", id)
	}
	for _, p := range plans {
		show("remedy", "show", p)
	}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		show("object", "show", "s3://"+key)
	}
	s.coffer(0, "audit", "export")
	s.coffer(0, "audit", "export", "--format", "csv")
	s.coffer(0, "audit", "verify")
	s.files(step, false)
}

// TestNoPlaintextAnywhere tells the whole story of a value in every format and searches everything that it leaves behind.
func TestNoPlaintextAnywhere(t *testing.T) {
	s := newLeakStory(t)
	s.coffer(0, "object", "versioning", "versioned", "on")
	s.coffer(0, "value", "index", "CREDIT_CARD_NUMBER")
	events := filepath.Join(t.TempDir(), "events.jsonl")
	write(t, events, string(bytes.Join(s.events, []byte("\n"))))
	for range 2 { // the second time is a duplicate
		for _, l := range s.coffer(0, "ingest", events, "--json") {
			if want := 1 - btoi(l["finding"] == s.id("track.txt")); l["sealed"].(float64) < float64(want) {
				t.Errorf("%v: %v, %v sealed: %v", l["finding"], l["status"], l["sealed"], l["reason"])
			}
		}
	}
	s.look("after ingest", nil)

	// What may hold a value holds it: the search would find it.
	_, out, _ := invoke(t, "", "value", "reveal", s.ids[0], "--reason", "audit", "--note", "the test of leaks", "--home", s.home)
	if !strings.Contains(out, s.markers[0].value) {
		t.Error("the reveal does not show the value")
	}
	s.coffer(1, "value", "reveal", "no-such-finding", "--reason", "audit", "--note", "the test of leaks")
	s.coffer(1, "value", "reveal", s.ids[0], "--reason", "curiosity", "--note", "the test of leaks")
	code, out, errs := invoke(t, s.markers[0].value, "value", "search", "--home", s.home)
	if code != 0 {
		t.Errorf("value search: exit %d: %.300q", code, errs)
	}
	s.search("the output of coffer value search", []byte(out+errs))
	s.coffer(0, "verdict", s.ids[1], "true", "--note", "the test of leaks")

	// Each action on some of the objects, and taken back.
	var plans []string
	for i, action := range []string{"mask", "tokenise", "quarantine", "delete", "redact"} {
		var ids []string
		for k, id := range s.ids {
			// A versioned bucket would keep the versions of both rounds, of which the second purges its own.
			if k%5 == i && id != s.id("v.csv") {
				ids = append(ids, id)
			}
		}
		plans = append(plans, s.plan(action, ids)...)
	}
	s.coffer(0, append([]string{"remedy", "apply", "--json"}, plans...)...)
	s.look("after apply", plans)
	for _, p := range plans {
		s.coffer(0, "remedy", "certificate", p)
		s.coffer(0, "remedy", "undo", p)
	}
	s.look("after undo", plans)
	for key, body := range s.objects {
		if b, err := os.ReadFile(filepath.Join(s.home, "objects", key)); err != nil || !bytes.Equal(b, body) && key != "bucket/track.txt" {
			t.Errorf("%s is not what it was", key)
		}
	}

	// And for good. What undo could not bring back of track.txt is gone already.
	rest := slices.DeleteFunc(slices.Clone(s.ids), func(id string) bool { return id == s.id("track.txt") })
	plans = s.plan("redact", rest)
	s.coffer(0, append([]string{"remedy", "apply"}, plans...)...)
	for _, p := range plans {
		s.coffer(0, "remedy", "certificate", p)
		s.coffer(0, "remedy", "purge", p, "--values", "--yes")
		s.coffer(0, "remedy", "certificate", p, "--json")
		s.coffer(1, "remedy", "undo", p)
	}
	s.coffer(0, "check", "--json")
	s.look("after purge", plans)
	s.files("after purge, objects included", true)
}

func (s *leakStory) plan(action string, ids []string) (plans []string) {
	s.t.Helper()
	include := []string{}
	if action != "quarantine" && action != "delete" {
		include = []string{"--include", "rejected", "--include", "region"}
	}
	lines := s.coffer(0, append(append([]string{"remedy", "plan", "--action", action, "--json"}, include...), ids...)...)
	for _, l := range lines {
		plans = append(plans, l["plan"].(string))
	}
	if len(plans) != len(ids) {
		s.t.Errorf("%s: %d plans for %d findings", action, len(plans), len(ids))
	}
	return plans
}

func (s *leakStory) id(key string) string {
	return s.ids[slices.IndexFunc(s.markers, func(m marker) bool { return m.name == key })]
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestNamesKeepValues: a fix changes what documents hold and not what they are called, and must not claim more.
func TestNamesKeepValues(t *testing.T) {
	s := &leakStory{t: t, home: filepath.Join(t.TempDir(), "home"), objects: map[string][]byte{}}
	v := leakCard(1)
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	w, _ := zw.Create("card-" + v + ".csv")
	_, _ = w.Write([]byte("id,card\n1," + v + "\n"))
	_ = zw.Close()
	s.object("bucket", "a.zip", v, z.Bytes(), coffer.CardNumber, true, coffer.MemberPath("card-"+v+".csv")+"!cell:R2C2")
	v = leakCard(2)
	s.object("bucket", v+".csv", v, []byte("id,card\n1,"+v+"\n"), coffer.CardNumber, false, "cell:R2C2")
	for i, event := range s.events {
		want(t, 0, []string{"ingest", write(t, filepath.Join(t.TempDir(), "event.json"), string(event)), "--home", s.home}, "sealed")
		plan := lines(t, want(t, 0, []string{"remedy", "plan", s.ids[i], "--action", "redact", "--home", s.home, "--json"}))[0]["plan"].(string)
		want(t, 0, []string{"remedy", "apply", plan, "--home", s.home}, "not clean", "hold")
		want(t, 0, []string{"remedy", "certificate", plan, "--home", s.home}, "not clean", "current version: ")
	}
}
