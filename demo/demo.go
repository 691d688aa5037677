// Package demo is the MoonTrust scenario: two buckets of a bank that does not exist, full of data of people who do not exist, and
// Macie's findings about them. Everything is made from a fixed seed, so that every demo is the same.
//
// Card numbers, accounts, social security numbers and keys have the right form and belong to nobody: cards begin with ranges
// that no issuer uses, social security numbers with the area 9xx that is never assigned, and names are the personas of AWS's
// documentation.
package demo

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf16"

	"coffer"
	"coffer/macie"
	"coffer/object"
)

// The buckets.
const (
	Statements = "moontrust-statements"
	Exports    = "moontrust-exports" // versioned
	Results    = "moontrust-macie-results"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	jobID   = "7c1f0a94d2b84e6fa35b90e1c84d2f17"
)

// Scenario is what a demo puts into a home.
type Scenario struct {
	Config   string // of config.yaml
	Objects  []File
	Findings []Document // in the order in which they are taken in
	// Changed is put over the object with its key after the findings were made: somebody edited it since Macie's scan.
	Changed File
}

// File is an object to put.
type File struct {
	Bucket, Key string
	Body        []byte
}

// Document is a file with findings.
type Document struct {
	Name string
	Body []byte
}

// scene collects the scenario.
type scene struct {
	Scenario
	rnd    *rand.Rand
	at     time.Time
	n      int
	rescan Document
}

// New makes the scenario.
func New() *Scenario {
	s := &scene{rnd: rand.New(rand.NewPCG(2026, 7)), at: time.Date(2026, 7, 15, 3, 20, 0, 0, time.UTC)}
	s.Config = config
	s.payouts()
	s.customers()
	s.profile()
	s.terminals()
	s.utf16()
	s.mailer()
	s.pages()
	s.archives()
	s.credentials()
	s.partners()
	s.references()
	s.changed()
	s.others()
	return &s.Scenario
}

// config names MoonTrust's own identifier: customer numbers, which Macie finds with a custom data identifier.
const config = `# MoonTrust's own identifiers, as they are configured in Macie.
identifiers:
  - id: 5a1c7e2b-90d4-4c3f-8b6e-2f7d1e0c9a83
    name: MoonTrust customer number
    regex: 'MT-[0-9]{4}-[A-Z]{3}-[0-9]{3}'
    keywords: [customer]
`

const (
	customerNumber   = coffer.DataType("MoonTrust customer number")
	customerNumberID = "5a1c7e2b-90d4-4c3f-8b6e-2f7d1e0c9a83"
)

var people = strings.Split("Akua Mansa,Alejandro Rosalez,Arnav Desai,Carlos Salazar,Diego Ramirez,Jane Roe,John Stiles,Jorge Souza,"+
	"Martha Rivera,Mary Major,Mateo Jackson,Nikki Wolf,Paulo Santos,Richard Roe,Saanvi Sarkar,Shirley Rodriguez,Wang Xiulan,Zhang Wei", ",")

func (s *scene) person() string { return people[s.rnd.IntN(len(people))] }

func (s *scene) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + s.rnd.IntN(10))
	}
	return string(b)
}

// account is a bank account number that does not begin with 0, so that spreadsheets keep it.
func (s *scene) account() string { return fmt.Sprint(1+s.rnd.IntN(9)) + s.digits(9+s.rnd.IntN(3)) }

func (s *scene) ssn() string {
	return fmt.Sprintf("9%s-%02d-%04d", s.digits(2), 1+s.rnd.IntN(99), 1+s.rnd.IntN(9999))
}

// card is a number with a valid check digit in a range that is not issued.
func (s *scene) card() string {
	b := "400000" + s.digits(9)
	return b + luhn(b)
}

func luhn(b string) string {
	sum := 0
	for i := range b {
		d := int(b[len(b)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return fmt.Sprint((10 - sum%10) % 10)
}

// iban is a German IBAN with valid check digits and a bank code that no bank has.
func (s *scene) iban() string {
	bban := "00000000" + s.digits(10)
	rem := 0
	for _, c := range bban + "131400" { // DE00 moved to the end, letters as numbers
		rem = (rem*10 + int(c-'0')) % 97
	}
	return fmt.Sprintf("DE%02d%s", 98-rem, bban)
}

// digest is the MD5 that is an ETag; ids of findings look the same.
func digest(b []byte) (sum [md5.Size]byte) {
	h := object.MD5()
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// finding is one that is being made.
type finding struct {
	coffer.Finding
	s    *scene
	body []byte
}

// object puts an object and begins a finding on it.
func (s *scene) object(bucket, key, mime string, body []byte) *finding {
	s.Objects = append(s.Objects, File{bucket, key, body})
	s.n++
	s.at = s.at.Add(7 * time.Second)
	sum := digest(body)
	id := digest([]byte(fmt.Sprintf("moontrust finding %d", s.n)))
	return &finding{s: s, body: body, Finding: coffer.Finding{
		ID: hex.EncodeToString(id[:]), AccountID: account, Partition: "aws", Region: region, CreatedAt: s.at, JobID: jobID,
		OriginType: "SENSITIVE_DATA_DISCOVERY_JOB", Object: coffer.Object{Bucket: bucket, Key: key, ETag: hex.EncodeToString(sum[:])},
		Size: int64(len(body)), StorageClass: "STANDARD", LastModified: s.at.Add(-5 * time.Hour), MIMEType: mime, Status: "COMPLETE",
		Title: "The S3 object contains sensitive data", Description: "The S3 object contains sensitive data.",
		OnBucket: coffer.Protection{Encryption: "AES256", PublicAccess: "NOT_PUBLIC", Tags: []coffer.Tag{{Key: "data-owner", Value: "payments"}}},
		OnObject: coffer.Protection{Encryption: "AES256"},
	}}
}

// found adds an occurrence.
func (f *finding) found(t coffer.DataType, at coffer.Location, column string) {
	custom, category := "", "PERSONAL_INFORMATION"
	switch {
	case t == customerNumber:
		custom, category = customerNumberID, "CUSTOM_IDENTIFIER"
	case strings.Contains(string(t), "ACCOUNT") || strings.HasPrefix(string(t), "CREDIT"):
		category = "FINANCIAL_INFORMATION"
	case t == "AWS_CREDENTIALS" || t == "PKCS":
		category = "CREDENTIALS"
	}
	i := 0
	for i < len(f.Detections) && f.Detections[i].Type != t {
		i++
	}
	if i == len(f.Detections) {
		f.Detections = append(f.Detections, coffer.Detection{Type: t, Custom: custom, Category: category})
	}
	f.Detections[i].Count++
	f.Occurrences = append(f.Occurrences, coffer.Occurrence{Type: t, Custom: custom, At: at, Column: column})
}

func cell(row, column int64) coffer.Location {
	return coffer.Location{Kind: coffer.Cell, Row: row, Column: column}
}

func line(n, column int64) coffer.Location {
	return coffer.Location{Kind: coffer.Lines, Start: n, End: n, StartColumn: column}
}

func record(i int64, path string) coffer.Location {
	return coffer.Location{Kind: coffer.Record, Index: i, Path: path}
}

// publish finishes the finding and adds it as an event. Macie locates at most 15 occurrences in a finding; when there are more,
// or they are in an archive, it writes them into a discovery result, at most 1,000 of each type.
func (f *finding) publish(name string, archive bool) {
	kinds := map[string]bool{}
	f.Severity = coffer.SeverityMedium
	for _, d := range f.Detections {
		kinds[d.Category] = true
		if d.Category != "CUSTOM_IDENTIFIER" {
			f.Severity = coffer.SeverityHigh
		}
	}
	f.Type = "SensitiveData:S3Object/Multiple"
	if len(kinds) == 1 {
		for k := range kinds {
			f.Type = "SensitiveData:S3Object/" + map[string]string{
				"CREDENTIALS": "Credentials", "FINANCIAL_INFORMATION": "Financial", "PERSONAL_INFORMATION": "Personal", "CUSTOM_IDENTIFIER": "CustomIdentifier",
			}[k]
		}
	}
	f.ResultLocation = fmt.Sprintf("s3://%s/AWSLogs/%s/Macie/%s/%s/%s/%s.jsonl.gz", Results, account, region, jobID, account, f.ID[:8]+"-7c20-3d8f-a4b1-"+f.ID[20:])
	number(f.Occurrences)
	if archive || len(f.Occurrences) > 15 {
		full := f.Finding
		full.Occurrences = capped(full.Occurrences)
		number(full.Occurrences)
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		_, _ = zw.Write(macie.ResultLines(full)) // into memory
		_ = zw.Close()
		key := strings.TrimPrefix(f.ResultLocation, "s3://"+Results+"/")
		f.s.Objects = append(f.s.Objects, File{Results, key, b.Bytes()})
		f.More = !archive
		f.Occurrences = spread(f.Occurrences, archive)
		number(f.Occurrences)
	}
	f.s.Findings = append(f.s.Findings, Document{name + ".json", macie.Event(f.Finding)})
}

func number(occs []coffer.Occurrence) {
	for i := range occs {
		occs[i].N = i + 1
	}
}

// capped keeps the first 1,000 occurrences of each type.
func capped(occs []coffer.Occurrence) (out []coffer.Occurrence) {
	n := map[coffer.DataType]int{}
	for _, o := range occs {
		if n[o.Type]++; n[o.Type] <= 1000 {
			out = append(out, o)
		}
	}
	return out
}

// spread keeps 15 occurrences, of each type about as many; none for an archive.
func spread(occs []coffer.Occurrence, archive bool) (out []coffer.Occurrence) {
	if archive {
		return nil
	}
	n := map[coffer.DataType]int{}
	for _, o := range occs {
		n[o.Type]++
	}
	share := max(1, 15/len(n))
	clear(n)
	for _, o := range occs {
		if n[o.Type]++; n[o.Type] <= share && len(out) < 15 {
			out = append(out, o)
		}
	}
	return out
}

// payouts is a large CSV as a bank's export tool writes it: a byte order mark, CRLF, notes of several lines.
func (s *scene) payouts() {
	var b strings.Builder
	b.WriteString("\ufeffpayout_id,statement_date,bank_account_number,amount,memo\r\n")
	accounts := make([]string, 12000)
	for i := range accounts {
		accounts[i] = s.account()
		memo := fmt.Sprintf("\"July payout, %s\"", s.person())
		switch {
		case i%97 == 5:
			memo = fmt.Sprintf("\"Held: \"\"%s\"\" asked for a call\r\nback on Monday\"", s.person())
		case i == 40 || i == 4100:
			memo = "returned once to account " + accounts[i-3] // Macie did not report it here
		}
		fmt.Fprintf(&b, "PO-%08d,2026-07-14,%s,%d.%02d,%s\r\n", 26070001+i, accounts[i], 10+s.rnd.IntN(900), s.rnd.IntN(100), memo)
	}
	f := s.object(Statements, "exports/2026/07/ach-payouts-2026-07-14.csv", "text/csv", []byte(b.String()))
	for i := range accounts {
		f.found(coffer.BankAccountNumber, cell(int64(i+2), 3), "bank_account_number")
	}
	f.publish("01-ach-payouts", false)
	// The next run of the job scans the same version again, under a new finding id.
	again := *f
	id := digest([]byte("moontrust rescan"))
	again.ID, again.CreatedAt = hex.EncodeToString(id[:]), f.CreatedAt.Add(24*time.Hour)
	s.rescan = Document{"12-ach-payouts-again.json", macie.Event(again.Finding)}
}

// customers is JSON Lines with names that have spaces and arrays of cards.
func (s *scene) customers() {
	var b strings.Builder
	type place struct {
		t  coffer.DataType
		at coffer.Location
	}
	var places []place
	for i := range int64(3000) {
		var cards []string
		for k := range s.rnd.IntN(3) {
			cards = append(cards, fmt.Sprintf(`{"card number": "%s", "label": "c%d"}`, s.card(), k))
			places = append(places, place{coffer.CardNumber, record(i, fmt.Sprintf("$.cards[%d]['card number']", k))})
		}
		fmt.Fprintf(&b, `{"id": "C-%d", "holder": "%s", "kyc": {"ssn": "%s"}, "payout": {"Bank Account": %s}, "cards": [%s]}`+"\n",
			5000+i, s.person(), s.ssn(), s.account(), strings.Join(cards, ", "))
		places = append(places, place{coffer.USSocialSecurity, record(i, "$.kyc.ssn")}, place{coffer.BankAccountNumber, record(i, "$.payout['Bank Account']")})
	}
	f := s.object(Statements, "exports/2026/07/customers-2026-07.jsonl", "application/json", []byte(b.String()))
	for _, p := range places {
		f.found(p.t, p.at, "")
	}
	f.publish("02-customers", false)
}

// profile is one JSON document with odd names and escapes.
func (s *scene) profile() {
	doc := fmt.Sprintf(`{
  "exported.by": "crm",
  "kunde": {"straße": "Musterweg 1", "IBAN": "%s"},
  "people": [
    {"full name": "Mary Major", "ssn": "%s", "note": "spouse: \"%s\""},
    {"full name": "Richard Roe", "ssn": "%s", "note": "caf\u00e9 account \u0034"}
  ]
}
`, s.iban(), s.ssn(), "Jane Roe", s.ssn())
	f := s.object(Statements, "crm/profile.json", "application/json", []byte(doc))
	f.found("GERMANY_BANK_ACCOUNT_NUMBER", record(0, "$.kunde.IBAN"), "")
	f.found(coffer.USSocialSecurity, record(0, "$.people[0].ssn"), "")
	f.found(coffer.USSocialSecurity, record(0, "$.people[1].ssn"), "")
	f.publish("03-profile", false)
}

// terminals has card verification codes, which must not be kept even sealed.
func (s *scene) terminals() {
	var b strings.Builder
	b.WriteString("terminal\tcard_number\tcvv\tamount\n")
	for i := range 12 {
		fmt.Fprintf(&b, "T%03d\t%s\t%s\t%d.00\n", i, s.card(), s.digits(3), 5+s.rnd.IntN(300))
	}
	f := s.object(Statements, "pos/terminals-2026-07.tsv", "text/tab-separated-values", []byte(b.String()))
	for i := range int64(7) {
		f.found(coffer.CardNumber, cell(i+2, 2), "card_number")
	}
	for i := range int64(7) {
		f.found(coffer.CardSecurityCode, cell(i+2, 3), "cvv")
	}
	f.publish("04-terminals", false)
}

// utf16 is a CSV as a spreadsheet exports it on Windows.
func (s *scene) utf16() {
	text := "name;street;city;zip;bank account\r\n"
	for i := range 8 {
		text += fmt.Sprintf("%s;%d Any Street;Seattle;9810%d;%s\r\n", s.person(), 100+i, i, s.account())
	}
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	f := s.object(Statements, "branches/seattle.csv", "text/csv", b)
	for i := range int64(5) {
		f.found(coffer.BankAccountNumber, cell(i+2, 5), "bank account")
	}
	for i := range int64(5) {
		f.found(coffer.Address, cell(i+2, 1), "name") // at the first cell of the window, as Macie does
	}
	f.publish("05-seattle", false)
}

// mailer is a large log with few values.
func (s *scene) mailer() {
	var b strings.Builder
	f := (*finding)(nil)
	type place struct {
		t    coffer.DataType
		line int64
		col  int64
	}
	var places []place
	for i := range int64(20000) {
		start := time.Date(2026, 7, 14, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second).Format(time.RFC3339)
		text := fmt.Sprintf("%s INFO  dispute-mailer letter=%06d template=letter-v3 queued", start, i)
		switch {
		case i%2500 == 1200:
			head := start + " DEBUG ssn: "
			ssn := s.ssn()
			text = head + ssn + " savings account " + s.account()
			places = append(places, place{coffer.USSocialSecurity, i + 1, int64(len(head) + 1)},
				place{coffer.BankAccountNumber, i + 1, int64(len(head) + len(ssn) + len(" savings account ") + 1)})
		}
		b.WriteString(text + "\n")
	}
	f = s.object(Statements, "logs/dispute-mailer-2026-07-14.log", "text/plain", []byte(b.String()))
	for _, p := range places[:15] {
		f.found(p.t, line(p.line, p.col), "")
	}
	f.publish("06-dispute-mailer", false)
}

// pages are texts with a grammar of their own that Macie reads as lines.
func (s *scene) pages() {
	iban := s.iban()
	eml := "From: treasury@moontrust.example\r\nTo: partner@example.com\r\nSubject: new settlement account\r\n\r\nPlease use IBAN " + iban + "\r\nfrom Monday on.\r\n"
	f := s.object(Statements, "mail/settlement.eml", "message/rfc822", []byte(eml))
	f.found("GERMANY_BANK_ACCOUNT_NUMBER", line(5, 17), "")
	f.publish("07-settlement", false)

	card := s.card()
	html := "<!doctype html>\n<title>Receipt</title>\n<p>Jane Roe &mdash; credit card <b>" + card + "</b></p>\n<!-- credit card " + card + " -->\n"
	f = s.object(Statements, "web/receipt.html", "text/plain", []byte(html))
	f.found(coffer.CardNumber, line(3, int64(strings.Index(html[strings.Index(html, "<p>"):], card)+1)), "")
	f.publish("08-receipt", false)

	acct := s.account()
	xml := "<?xml version=\"1.0\"?>\n<payments>\n  <payment bank-account=\"" + acct + "\" amount=\"12.50\"/>\n</payments>\n"
	f = s.object(Statements, "feeds/payments.xml", "text/plain", []byte(xml))
	f.found(coffer.BankAccountNumber, line(3, 26), "")
	f.publish("09-payments", false)
}

// archives hold files of their own; Macie locates what is in them in the discovery result alone.
func (s *scene) archives() {
	acct := s.account()
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	zw.Name = "nightly.log"
	fmt.Fprintf(zw, "batch start\npayout to bank account %s done\nbatch end\n", acct)
	_ = zw.Close()
	f := s.object(Statements, "logs/nightly.log.gz", "application/gzip", gz.Bytes())
	at := line(2, 24)
	at.Member = coffer.MemberPath("nightly.log")
	f.found(coffer.BankAccountNumber, at, "")
	f.publish("10-nightly", true)

	var z bytes.Buffer
	w := zip.NewWriter(&z)
	put := func(name, body string) {
		m, _ := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: s.at})
		_, _ = m.Write([]byte(body))
	}
	put("readme.txt", "statements of the second quarter\n")
	put("q2/cards.csv", "holder,credit card\nMary Major,"+s.card()+"\nMateo Jackson,"+s.card()+"\n")
	put("q2/people.json", fmt.Sprintf("{\"people\":[{\"ssn\":%q},{\"ssn\":%q}]}\n", s.ssn(), s.ssn()))
	var inner bytes.Buffer
	tg := gzip.NewWriter(&inner)
	tw := tar.NewWriter(tg)
	body := "account holder;bank account\nNikki Wolf;" + s.account() + "\n"
	_ = tw.WriteHeader(&tar.Header{Name: "old/accounts.csv", Mode: 0o600, Size: int64(len(body)), ModTime: s.at})
	_, _ = tw.Write([]byte(body))
	_ = tw.Close()
	_ = tg.Close()
	put("old.tar.gz", inner.String())
	_ = w.Close()
	f = s.object(Statements, "archive/statements-q2.zip", "application/zip", z.Bytes())
	in := func(l coffer.Location, names ...string) coffer.Location {
		l.Member = coffer.MemberPath(names...)
		return l
	}
	f.found(coffer.CardNumber, in(cell(2, 2), "q2/cards.csv"), "credit card")
	f.found(coffer.CardNumber, in(cell(3, 2), "q2/cards.csv"), "credit card")
	f.found(coffer.USSocialSecurity, in(record(0, "$.people[0].ssn"), "q2/people.json"), "")
	f.found(coffer.USSocialSecurity, in(record(0, "$.people[1].ssn"), "q2/people.json"), "")
	f.found(coffer.BankAccountNumber, in(cell(2, 2), "old.tar.gz", "old.tar", "old/accounts.csv"), "bank account")
	f.publish("11-statements-q2", true)
	s.Findings = append(s.Findings, s.rescan)
}

// credentials stand in a configuration file.
func (s *scene) credentials() {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	key := make([]byte, 40)
	for i := range key {
		key[i] = letters[s.rnd.IntN(len(letters))]
	}
	var pem strings.Builder
	pem.WriteString("-----BEGIN RSA PRIVATE KEY-----\n")
	for range 4 {
		for range 64 {
			pem.WriteByte(letters[s.rnd.IntN(len(letters))])
		}
		pem.WriteByte('\n')
	}
	pem.WriteString("-----END RSA PRIVATE KEY-----")
	yaml := "service: dispute-mailer\naws:\n  aws_secret_access_key: " + string(key) + "\n  region: us-east-1\ndeploy-key: |\n  " +
		strings.ReplaceAll(pem.String(), "\n", "\n  ") + "\nreplicas: 2\n"
	f := s.object(Statements, "deploy/mailer.yaml", "text/plain", []byte(yaml))
	f.found("AWS_CREDENTIALS", line(3, 26), "")
	f.found("PKCS", coffer.Location{Kind: coffer.Lines, Start: 6, End: 11, StartColumn: 3}, "")
	f.publish("13-mailer-config", false)
}

// partners is in a versioned bucket: a fix leaves the old version behind until it is purged.
func (s *scene) partners() {
	var b strings.Builder
	b.WriteString("customer,partner,iban\n")
	for i := range 10 {
		fmt.Fprintf(&b, "MT-%04d-ABC-%03d,partner %d,%s\n", 1000+i, 100+i, i, s.iban())
	}
	f := s.object(Exports, "partners/settlement.csv", "text/csv", []byte(b.String()))
	for i := range int64(7) {
		f.found("GERMANY_BANK_ACCOUNT_NUMBER", cell(i+2, 3), "iban")
	}
	for i := range int64(7) {
		f.found(customerNumber, cell(i+2, 1), "customer")
	}
	f.publish("14-partners", false)
}

// references is a false positive: shipment numbers that look like cards and fail the check digit.
func (s *scene) references() {
	var b strings.Builder
	b.WriteString("shipment,card tracking no\n")
	for i := range 3 {
		n := "400000" + s.digits(9)
		wrong := (luhn(n)[0]-'0'+1+byte(s.rnd.IntN(8)))%10 + '0'
		fmt.Fprintf(&b, "S%d,%s%c\n", i, n, wrong)
	}
	f := s.object(Exports, "logistics/card-shipments.csv", "text/csv", []byte(b.String()))
	for i := range int64(3) {
		f.found(coffer.CardNumber, cell(i+2, 2), "card tracking no")
	}
	f.publish("15-card-shipments", false)
}

// changed is edited after Macie's scan.
func (s *scene) changed() {
	row := func(i int, acct string) string { return fmt.Sprintf("desk-%d,%s\n", i, acct) }
	a, b := s.account(), s.account()
	f := s.object(Exports, "treasury/fx-desks.csv", "text/csv", []byte("desk,bank account\n"+row(1, a)+row(2, b)))
	f.found(coffer.BankAccountNumber, cell(2, 2), "bank account")
	f.found(coffer.BankAccountNumber, cell(3, 2), "bank account")
	f.publish("16-fx-desks", false)
	s.Changed = File{Exports, "treasury/fx-desks.csv", []byte("desk,bank account\n" + row(0, s.account()) + row(1, a) + row(2, b))}
}

// others are documents that are no findings to work on.
func (s *scene) others() {
	sample := coffer.Finding{
		ID: "5f3c0d1e-8a77-4b1c-9f64-2d0e7a9b1c55", AccountID: account, Partition: "aws", Region: region, Type: "SensitiveData:S3Object/Financial",
		Severity: coffer.SeverityHigh, CreatedAt: s.at, Object: coffer.Object{Bucket: "macie-sample-finding-bucket", Key: "macie-sample-file.csv"}, Size: 52,
		Status: "COMPLETE", MIMEType: "text/csv",
	}
	s.Findings = append(s.Findings, Document{"17-sample.json", sampled(macie.Event(sample))})
	policy, _ := json.Marshal(map[string]any{
		"version": "0", "id": "0c2d7c7e-6a3e-4d0b-8f57-1f8c4f0a9e21", "detail-type": "Macie Finding", "source": "aws.macie", "account": account,
		"time": s.at.Format(time.RFC3339), "region": region, "resources": []string{},
		"detail": map[string]any{
			"schemaVersion": "1.0", "id": "1d8f3b70-2c4a-4f0e-9d11-6b0a5f7e4c32", "accountId": account, "partition": "aws", "region": region,
			"type": "Policy:IAMUser/S3BlockPublicAccessDisabled", "category": "POLICY", "severity": map[string]any{"score": 3, "description": "High"},
			"createdAt": s.at, "updatedAt": s.at, "count": 1, "archived": false, "sample": false,
			"resourcesAffected": map[string]any{"s3Bucket": map[string]any{"name": Exports, "arn": "arn:aws:s3:::" + Exports}, "s3Object": nil},
		},
	})
	s.Findings = append(s.Findings, Document{"18-policy.json", policy})
}

// sampled marks an event as a sample finding.
func sampled(event []byte) []byte {
	return bytes.Replace(event, []byte(`"sample":false`), []byte(`"sample":true`), 1)
}
