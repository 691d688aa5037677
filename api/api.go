// Package api has the words of Coffer's REST API as they travel: the bodies of requests and answers, one JSON object each. Package
// web serves them and package client asks for them, so that the two cannot drift apart. An element of a list is exactly what the
// command of the same name writes as a line with --json.
//
// No member holds a sensitive value but [Revealed.Value], [SearchBody.Value], [SeenBody.Value] and [TokenBody.Token], which appear in bodies alone.
package api

import (
	"encoding/json"
	"time"

	"coffer"
)

// ContentLines is the media type of an answer of one JSON object per line.
const ContentLines = "application/x-ndjson"

// Headers of the API.
const (
	// IdempotencyKey names one attempt at something that acts: the same key with the same request gives the same answer for a
	// day, with another request an error. Chosen by the caller, best at random.
	IdempotencyKey = "Idempotency-Key"
	// RequestID names a request in answers, in the program's own log and in the entries of the audit log.
	RequestID = "X-Request-Id"
)

// FindingHead is what every view of a finding begins with.
type FindingHead struct {
	Finding  string        `json:"finding" doc:"Macie's id of the finding."`
	Type     string        `json:"type" doc:"Macie's type of the finding."`
	Types    []string      `json:"types" doc:"The identifiers of the data that was detected."`
	Severity int           `json:"severity" minimum:"0" maximum:"3" doc:"1 low, 2 medium, 3 high, 0 not known."`
	Object   coffer.Object `json:"object"`
	Account  string        `json:"account,omitempty"`
	Region   string        `json:"region,omitempty"`
	Origin   string        `json:"origin,omitempty" doc:"On whose word the finding stands: macie, operator, submitted, scan."`
	Created  time.Time     `json:"created"`
	Received time.Time     `json:"received"`
	State    string        `json:"state" doc:"How far intake has come: received, sealing, sealed, partial, unsealed, parked, failed."`
	Reason   string        `json:"reason,omitempty"`
	Status   string        `json:"status" doc:"Where the finding stands for the people who work on it: open, fixed, closed."`
	Verdict  string        `json:"verdict,omitempty"`
	Rescan   string        `json:"rescan,omitempty" doc:"The earlier finding on the same object version."`
	Plan     string        `json:"plan,omitempty" doc:"The fix that was applied last."`
	Sealed   int           `json:"sealed" doc:"How many of its values are sealed."`
	Owner    string        `json:"owner,omitempty" doc:"Pseudonymous id of who sees to it."`
	Tickets  []string      `json:"tickets,omitempty"`
	Reach    string        `json:"reach,omitempty" doc:"Who can read the object, as Macie reported: public or private; absent when it did not say."`
	Muted    bool          `json:"muted,omitempty" doc:"Left out of lists and counts of what is to be done."`
	Updated  time.Time     `json:"updated,omitzero"`
	Judged   time.Time     `json:"judged,omitzero"`
	Revision uint64        `json:"revision" doc:"Counts the changes of the record."`
	Notes    int           `json:"notes,omitempty" doc:"How many notes there are, where the finding is shown by itself."`
}

// Finding is a finding as a list shows it.
type Finding struct {
	FindingHead
	Occurrences int `json:"occurrences" doc:"How many places Macie located."`
	// FalsePositives and Confirmed are the types whose identifiers were judged wrong or right.
	FalsePositives []string `json:"falsePositives,omitempty"`
	Confirmed      []string `json:"confirmed,omitempty"`
}

// FindingDetail is a finding with its places and masked values.
type FindingDetail struct {
	FindingHead
	Unverified string   `json:"unverified,omitempty" doc:"Why the object could not be compared with what Macie saw."`
	Tagged     bool     `json:"tagged"`
	TagReason  string   `json:"tagReason,omitempty"`
	Note       string   `json:"note,omitempty"`
	Closing    *Closing `json:"closing,omitempty"`
	// Confirmed is who stands for a submitted finding beside its submitter.
	Confirmed   *Confirmation `json:"confirmed,omitempty"`
	OnBucket    Protection    `json:"onBucket" doc:"As Macie reported it."`
	OnObject    Protection    `json:"onObject" doc:"As Macie reported it."`
	Occurrences []Occurrence  `json:"occurrences"`
}

// Confirmation is a second person's word for a submitted finding.
type Confirmation struct {
	By string    `json:"by" doc:"Pseudonymous id."`
	At time.Time `json:"at"`
}

// Protection is what Macie reported about access and encryption; empty members are what it did not say.
type Protection struct {
	Encryption   string `json:"encryption,omitempty"`
	PublicAccess string `json:"publicAccess,omitempty"`
}

// Closing is what PCI DSS 4.0.1 requirement 12.10.7 asks to be recorded.
type Closing struct {
	Disposition        string    `json:"disposition"`
	AuthenticationData bool      `json:"authenticationData"`
	Origin             string    `json:"origin"`
	CorrectiveAction   string    `json:"correctiveAction"`
	At                 time.Time `json:"at"`
	By                 string    `json:"by" doc:"Pseudonymous id."`
}

// Occurrence is one place of a finding with what was found there, masked.
type Occurrence struct {
	N       int    `json:"n"`
	Type    string `json:"type"`
	At      string `json:"at" doc:"The text form of a location."`
	Outcome string `json:"outcome" doc:"exact, region, rejected, missing, changed or unsupported; empty before intake came to it."`
	Masked  string `json:"masked"`
	Source  string `json:"source,omitempty"`
	Sealed  bool   `json:"sealed"`
	Same    *Ref   `json:"same,omitempty" doc:"The occurrence of an earlier finding under which the value is sealed."`
	Verdict string `json:"verdict,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Ref names an occurrence of a finding.
type Ref struct {
	Finding string `json:"finding"`
	N       int    `json:"n"`
}

// Findings is one page of findings, with counts of the whole list.
type Findings struct {
	Findings []Finding        `json:"findings"`
	Total    int              `json:"total" doc:"How many findings the filter selects."`
	Values   int64            `json:"values" doc:"How many sealed values they have."`
	Objects  int              `json:"objects" doc:"On how many objects they stand."`
	First    int              `json:"first" doc:"Number of the page's first finding in the list, from 1; 0 for an empty page."`
	Facets   map[string]Facet `json:"facets,omitempty"`
	AsOf     time.Time        `json:"asOf" doc:"What was stored before is in the answer."`
	Lags     bool             `json:"lags,omitempty" doc:"Newer changes could not be read."`
	Next     string           `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one."`
	Prev     string           `json:"prev,omitempty" doc:"Cursor of the page before."`
}

// Facet is the counts of a field: of its most frequent values, and how many values there are in all.
type Facet struct {
	Values   []Count `json:"values"`
	Distinct int     `json:"distinct"`
}

// Count is how many findings of a list have a value of a field.
type Count struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// FindingsQuery selects findings.
type FindingsQuery struct {
	Filter []string `json:"filter,omitempty" maxItems:"64" maxLength:"2048" doc:"Pairs: field=a,b field!=a field.gte=x; all must hold."`
	Order  string   `json:"order,omitempty" maxLength:"40" doc:"newest when left out."`
	Limit  int      `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"Elements of a page; 100 when left out."`
	Cursor string   `json:"cursor,omitempty" maxLength:"4096" doc:"The next of the page before."`
	Facets []string `json:"facets,omitempty" maxItems:"16" maxLength:"40" doc:"Fields whose values are counted over the whole list."`
}

// Line is what became of one document that was taken in.
type Line struct {
	Finding     *string     `json:"finding" nullable:"true" doc:"Null for what is no finding."`
	Object      *LineObject `json:"object" nullable:"true"`
	Status      string      `json:"status" enum:"sealed,partial,unsealed,skipped,failed"`
	Occurrences int         `json:"occurrences"`
	Sealed      int         `json:"sealed"`
	Reason      string      `json:"reason"`
	Fetched     int64       `json:"fetched,omitempty" doc:"Bytes of the object that came over the network."`
	About       *LineObject `json:"about,omitempty" doc:"The object that something names that is no finding to be taken in."`
	Problem     *Problem    `json:"problem,omitempty" doc:"Why taking in stopped here: the line is the last."`
}

// LineObject is the object of a [Line].
type LineObject struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	VersionID string `json:"versionId"`
}

// Arrival is what came in and what became of it.
type Arrival struct {
	Key         string         `json:"key"`
	Finding     string         `json:"finding,omitempty"`
	Object      *coffer.Object `json:"object,omitempty"`
	Kind        string         `json:"kind"`
	From        string         `json:"from,omitempty"`
	Status      string         `json:"status"`
	Reason      string         `json:"reason,omitempty"`
	First       time.Time      `json:"first"`
	Last        time.Time      `json:"last"`
	Seen        int            `json:"seen"`
	Occurrences int            `json:"occurrences"`
	Sealed      int            `json:"sealed"`
}

// Arrivals is one page of arrivals, latest first.
type Arrivals struct {
	Arrivals []Arrival `json:"arrivals"`
	Next     string    `json:"next,omitempty"`
}

// RevealBody asks for values of a finding.
type RevealBody struct {
	Numbers []int  `json:"numbers,omitempty" maxItems:"10000" minimum:"1" doc:"Numbers of occurrences; all sealed values when there are none."`
	Reason  string `json:"reason" maxLength:"40" doc:"Reason code."`
	Note    string `json:"note" maxLength:"2000" doc:"Why, in at least 10 characters."`
	Ticket  string `json:"ticket,omitempty" maxLength:"200"`
	Purpose string `json:"purpose,omitempty" maxLength:"40"`
	Grant   string `json:"grant,omitempty" maxLength:"64" doc:"Id of an approved request for access, or of a broken glass, to act on."`
}

// TokenBody asks for the value behind a token of a tokenising fix.
type TokenBody struct {
	Token   string `json:"token" maxLength:"64"`
	Reason  string `json:"reason" maxLength:"40" doc:"Reason code."`
	Note    string `json:"note" maxLength:"2000" doc:"Why, in at least 10 characters."`
	Ticket  string `json:"ticket,omitempty" maxLength:"200"`
	Purpose string `json:"purpose,omitempty" maxLength:"40"`
	Grant   string `json:"grant,omitempty" maxLength:"64" doc:"Id of an approved request for access, or of a broken glass, to act on."`
}

// Revealed is one value in plain.
type Revealed struct {
	Finding  string `json:"finding"`
	N        int    `json:"n"`
	Type     string `json:"type"`
	At       string `json:"at"`
	Value    string `json:"value"`
	Encoding string `json:"encoding,omitempty" doc:"base64 for a value that is not UTF-8."`
}

// Reveal is the answer to a [RevealBody].
type Reveal struct {
	Values []Revealed `json:"values"`
}

// VerdictBody judges a finding or one of its occurrences.
type VerdictBody struct {
	N       int    `json:"n,omitempty" minimum:"0" doc:"Number of an occurrence; the whole finding when left out."`
	Verdict string `json:"verdict" enum:"true,false-positive,intended"`
	Note    string `json:"note" maxLength:"2000"`
}

// SearchBody asks where a value stands.
type SearchBody struct {
	Type     string `json:"type,omitempty" maxLength:"256" doc:"Search in the index of this type alone."`
	Value    string `json:"value" minLength:"1" maxLength:"262144"`
	Encoding string `json:"encoding,omitempty" enum:"base64" doc:"base64 for a value that is not UTF-8."`
	// What follows is for policies that ask for it.
	Reason  string `json:"reason,omitempty" maxLength:"40" doc:"Reason code."`
	Note    string `json:"note,omitempty" maxLength:"2000"`
	Ticket  string `json:"ticket,omitempty" maxLength:"200"`
	Purpose string `json:"purpose,omitempty" maxLength:"40"`
	Grant   string `json:"grant,omitempty" maxLength:"64" doc:"Id of an approved request for access to act on."`
}

// Hit is an occurrence that holds a value that was searched for.
type Hit struct {
	Finding string        `json:"finding"`
	N       int           `json:"n"`
	Type    string        `json:"type"`
	At      string        `json:"at"`
	Object  coffer.Object `json:"object"`
	Masked  string        `json:"masked"`
}

// Hits is the answer to a [SearchBody].
type Hits struct {
	Hits []Hit `json:"hits"`
}

// Index is the types whose values can be searched. In an answer to a change Job is the job that enters the values that are sealed
// already; until it is done a search can miss them.
type Index struct {
	Types []string `json:"types" maxItems:"256" maxLength:"256"`
	Job   string   `json:"job,omitempty"`
}

// PlanBody asks for plans: for findings by id, or for all open ones that a filter selects.
type PlanBody struct {
	Findings     []string `json:"findings,omitempty" maxItems:"10000" maxLength:"256"`
	Filter       []string `json:"filter,omitempty" maxItems:"64" maxLength:"512"`
	Action       string   `json:"action" enum:"redact,mask,tokenise,quarantine,delete"`
	Include      []string `json:"include,omitempty" maxItems:"3" enum:"rejected,region,possible"`
	OnlyReported bool     `json:"onlyReported,omitempty" doc:"Touch nothing beyond the places that Macie reported."`
}

// Plan is a fix with its masked diff, at most 1,000 changes of it.
type Plan struct {
	Plan          string         `json:"plan"`
	Object        coffer.Object  `json:"object"`
	Finding       string         `json:"finding"`
	Findings      []string       `json:"findings"`
	Action        string         `json:"action"`
	Status        string         `json:"status" doc:"planned, approved, applying, applied, undone, purged, conflict, refused, denied or withdrawn."`
	Changes       []Change       `json:"changes"`
	Counts        map[string]int `json:"counts" doc:"Changes by type."`
	Total         int            `json:"total" doc:"How many changes there are."`
	Swept         int            `json:"swept"`
	Possible      int            `json:"possible"`
	PossiblePlace []Place        `json:"possiblePlaces,omitempty"`
	Leaves        map[string]int `json:"leaves,omitempty"`
	Residual      []string       `json:"residual"`
	Warnings      []string       `json:"warnings,omitempty"`
	Approvals     []Approval     `json:"approvals,omitempty"`
	By            string         `json:"by" doc:"Pseudonymous id of who made the plan."`
	Reason        string         `json:"reason,omitempty" doc:"Why it was denied."`
	Applied       *Applied       `json:"applied,omitempty" doc:"How applying it ended."`
	UndoUntil     *time.Time     `json:"undoUntil,omitempty"`
}

// Planned is the answer to a [PlanBody]: a plan where the findings are all on one object, else the job that makes a plan for each
// object; the results of its items are the plans' ids.
type Planned struct {
	Plan *Plan `json:"plan,omitempty"`
	Job  *Job  `json:"job,omitempty"`
}

// Place is where a type of data may stand.
type Place struct {
	Type string `json:"type"`
	At   string `json:"at"`
}

// Change is one replacement; N is 0 for what only the sweep found.
type Change struct {
	N      int    `json:"n,omitempty"`
	Type   string `json:"type"`
	At     string `json:"at"`
	Before string `json:"before" doc:"Masked."`
	After  string `json:"after"`
	Why    string `json:"why"`
}

// Changes is one page of the changes of a plan, in document order.
type Changes struct {
	Changes []Change `json:"changes"`
	Next    string   `json:"next,omitempty"`
}

// PlanSummary is a plan as a list shows it.
type PlanSummary struct {
	Plan     string        `json:"plan"`
	Action   string        `json:"action"`
	Status   string        `json:"status"`
	Object   coffer.Object `json:"object"`
	Findings []string      `json:"findings"`
	Changes  int           `json:"changes"`
	Created  time.Time     `json:"created"`
	Clean    string        `json:"clean"`
}

// Plans is one page of plans, newest first.
type Plans struct {
	Plans []PlanSummary `json:"plans"`
	Next  string        `json:"next,omitempty"`
}

// Approval is one person's consent to exactly this plan.
type Approval struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Approved is a plan after an approval.
type Approved struct {
	Plan      string     `json:"plan"`
	Status    string     `json:"status"`
	Approvals []Approval `json:"approvals"`
}

// ApplyBody is what a person adds to the closing of the findings.
type ApplyBody struct {
	Origin           string `json:"origin,omitempty" maxLength:"2000" doc:"Where the data came from."`
	CorrectiveAction string `json:"correctiveAction,omitempty" maxLength:"2000" doc:"What was done so that it does not come again."`
}

// ApplyManyBody applies several plans as a job.
type ApplyManyBody struct {
	ApplyBody
	Plans []string `json:"plans,omitempty" maxItems:"10000" maxLength:"64" doc:"Every plan that is planned, approved or interrupted when left out."`
}

// Applied is a plan after applying it.
type Applied struct {
	Plan      string        `json:"plan"`
	Status    string        `json:"status" doc:"applied, conflict or refused."`
	Object    coffer.Object `json:"object"`
	Clean     string        `json:"clean" doc:"all, current, or empty when something is left in the current version."`
	Verified  bool          `json:"verified"`
	Changes   int           `json:"changes"`
	Possible  int           `json:"possible,omitempty" doc:"Places in the object that merely look alike and were not touched."`
	UndoUntil *time.Time    `json:"undoUntil,omitempty"`
	Residual  []string      `json:"residual,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

// Undone is a plan after undoing it.
type Undone struct {
	Plan   string        `json:"plan"`
	Status string        `json:"status"`
	Object coffer.Object `json:"object"`
	// Blanked says how many values of card authentication data could not come back.
	Blanked int `json:"blanked,omitempty"`
}

// PurgeBody widens a purge.
type PurgeBody struct {
	Values bool `json:"values,omitempty" doc:"Destroy the sealed values of the covered findings too."`
}

// Purged is a plan after purging it.
type Purged struct {
	Plan       string    `json:"plan"`
	Status     string    `json:"status"`
	Clean      string    `json:"clean"`
	Residual   []string  `json:"residual"`
	Unopenable time.Time `json:"unopenableFrom" doc:"From then on no copy of the kept original can be opened."`
}

// PurgedExpired counts the plans that were purged because their grace period is over.
type PurgedExpired struct {
	Purged int `json:"purged"`
}

// Certificate says what a fix did and what is left.
type Certificate struct {
	Version     int                  `json:"version"`
	Issued      time.Time            `json:"issued"`
	Plan        string               `json:"plan"`
	Action      string               `json:"action"`
	State       string               `json:"state"`
	Object      CertificateObject    `json:"object"`
	Planned     time.Time            `json:"planned"`
	Approvals   []Approval           `json:"approvals,omitempty"`
	Applied     time.Time            `json:"applied"`
	Ended       time.Time            `json:"ended,omitzero"`
	Values      int                  `json:"values"`
	Types       map[string]int       `json:"types"`
	BeyondMacie int                  `json:"beyondMacie"`
	Left        map[string]int       `json:"left,omitempty"`
	Possible    int                  `json:"possible"`
	Clean       string               `json:"clean"`
	Verified    bool                 `json:"verified"`
	Residual    []string             `json:"residual,omitempty"`
	Original    string               `json:"original"`
	Unopenable  time.Time            `json:"unopenableFrom,omitzero"`
	Vault       string               `json:"vault"`
	Findings    []CertificateFinding `json:"findings"`
	Log         []string             `json:"log"`
	Steps       []CertificateStep    `json:"steps"`
	Checkpoint  string               `json:"checkpoint,omitempty"`
}

// CertificateObject is the object of a certificate.
type CertificateObject struct {
	Bucket        string `json:"bucket"`
	Key           string `json:"key"`
	VersionBefore string `json:"versionBefore,omitempty"`
	DigestBefore  string `json:"keyedDigestBefore"`
	VersionAfter  string `json:"versionAfter,omitempty"`
	SHA256After   string `json:"sha256After,omitempty"`
	SizeBefore    int64  `json:"sizeBefore"`
	SizeAfter     int64  `json:"sizeAfter,omitempty"`
	Removed       bool   `json:"removed,omitempty"`
}

// CertificateFinding is a finding of a certificate.
type CertificateFinding struct {
	Finding string   `json:"finding"`
	Status  string   `json:"status"`
	Closing *Closing `json:"closing,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// CertificateStep is an act that was done, with the position of its entry in the log.
type CertificateStep struct {
	Step  string    `json:"step" doc:"plan, approve, applied, undone, approve-purge or purged."`
	By    string    `json:"by" doc:"Pseudonymous id."`
	At    time.Time `json:"at"`
	Entry int64     `json:"entry"`
}

// ObjectQuery names an object. Keys can hold values, so that they stand in bodies and never in a URL.
type ObjectQuery struct {
	Bucket string `json:"bucket" minLength:"1" maxLength:"255"`
	Key    string `json:"key" minLength:"1" maxLength:"1024"`
}

// ObjectDetail is what is known of an object.
type ObjectDetail struct {
	Object   coffer.Object     `json:"object"`
	Exists   bool              `json:"exists"`
	Size     int64             `json:"size"`
	Modified time.Time         `json:"modified,omitzero"`
	Type     string            `json:"contentType,omitempty"`
	Tags     []coffer.Tag      `json:"tags"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Versions []Version         `json:"versions"`
	Copies   []Copy            `json:"copies,omitempty"`
	Findings []Finding         `json:"findings"`
}

// Version is one version of an object.
type Version struct {
	VersionID string    `json:"versionId"`
	Size      int64     `json:"size"`
	Modified  time.Time `json:"modified"`
	Latest    bool      `json:"latest,omitempty"`
	Marker    bool      `json:"deleteMarker,omitempty"`
	Locked    string    `json:"locked,omitempty"`
}

// Copy is something outside the version chain that holds the same bytes, or may.
type Copy struct {
	What string `json:"what"`
	Name string `json:"name"`
}

// ObjectsQuery asks for the objects of a bucket, or without one for the buckets.
type ObjectsQuery struct {
	Bucket string `json:"bucket,omitempty" maxLength:"255"`
	Prefix string `json:"prefix,omitempty" maxLength:"1024"`
	Limit  int    `json:"limit,omitempty" minimum:"1" maximum:"1000"`
	Cursor string `json:"cursor,omitempty" maxLength:"4096"`
}

// ListedObject is an object, or with an empty key a bucket.
type ListedObject struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Size   int64  `json:"size"`
}

// Objects is one page of objects.
type Objects struct {
	Objects []ListedObject `json:"objects"`
	Next    string         `json:"next,omitempty"`
}

// Versioning is the versioning state of a bucket.
type Versioning struct {
	Bucket     string `json:"bucket"`
	Versioning string `json:"versioning" doc:"off, on or suspended."`
}

// VersioningBody sets it.
type VersioningBody struct {
	Versioning string `json:"versioning" enum:"on,suspended"`
}

// Entry is one entry of the audit log. The entry is its canonical encoding, from which the leaf hash can be computed; index is -1
// before it is under a checkpoint.
type Entry struct {
	Index int64           `json:"index"`
	Entry json.RawMessage `json:"entry"`
}

// Entries is one page of the audit log.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next,omitempty"`
}

// Review is an access review: who saw what in a period, when and why. From inclusive, to exclusive.
type Review struct {
	From   time.Time  `json:"from"`
	To     time.Time  `json:"to"`
	People []Reviewed `json:"people" doc:"Who acted or was denied in the period; those who saw most first."`
}

// Reviewed is what the log has of one person in the period of a [Review].
type Reviewed struct {
	Person          string            `json:"person" doc:"Pseudonymous id."`
	Name            string            `json:"name,omitempty"`
	Kinds           []string          `json:"kinds" doc:"How they were identified."`
	Roles           []string          `json:"roles"`
	Reveals         int               `json:"reveals" doc:"With a result."`
	Values          int               `json:"values" doc:"Shown by them; what was shown twice counts twice."`
	PossibleReveals int               `json:"possibleReveals" doc:"Intents without a result on record."`
	PossibleValues  int               `json:"possibleValues" doc:"What they asked for: it may have been shown."`
	FailedReveals   int               `json:"failedReveals" doc:"Nothing was shown."`
	Types           []string          `json:"types"`
	Reasons         map[string]int    `json:"reasons" doc:"Reveals by reason code, possible ones included."`
	Searches        int               `json:"searches"`
	Changes         int               `json:"changes" doc:"Plans applied, undone or purged."`
	Approvals       int               `json:"approvals"`
	BreakGlass      int               `json:"breakGlass"`
	Denials         int               `json:"denials"`
	LogReads        int               `json:"logReads"`
	First           time.Time         `json:"first"`
	Last            time.Time         `json:"last"`
	LastReveal      time.Time         `json:"lastReveal,omitzero"`
	Findings        []ReviewedFinding `json:"findings"`
}

// ReviewedFinding is what a person saw of one finding.
type ReviewedFinding struct {
	Finding         string    `json:"finding"`
	Reveals         int       `json:"reveals"`
	PossibleReveals int       `json:"possibleReveals"`
	Numbers         string    `json:"numbers" doc:"Of the occurrences, such as 1-15,17; those that may have been shown included."`
	First           time.Time `json:"first"`
	Last            time.Time `json:"last"`
	Reasons         []string  `json:"reasons"`
	Grants          []string  `json:"grants" doc:"Requests, or broken glass, acted on."`
}

// MarkBody says that an access review of a person was done.
type MarkBody struct {
	Person string `json:"person" minLength:"1" maxLength:"128" doc:"Pseudonymous id."`
	From   string `json:"from" maxLength:"40" doc:"First day or instant that was reviewed."`
	To     string `json:"to,omitempty" maxLength:"40" doc:"Last day or instant, included; now when left out."`
	Note   string `json:"note" minLength:"1" maxLength:"2000" doc:"What came of it."`
}

// SeenBody asks who saw a value.
type SeenBody struct {
	Value string `json:"value" minLength:"1" maxLength:"262144"`
	Since string `json:"since,omitempty" maxLength:"40" doc:"From this time on."`
}

// Sight is one time that a value was shown.
type Sight struct {
	Time     time.Time `json:"time"`
	Person   string    `json:"person"`
	Finding  string    `json:"finding"`
	N        int       `json:"n"`
	Reason   string    `json:"reason"`
	Intent   string    `json:"intent" doc:"Reference to the entry."`
	Possible bool      `json:"possible" doc:"There is no result on record: whether it was shown cannot be told."`
}

// Sights is the answer to a [SeenBody].
type Sights struct {
	Sights []Sight `json:"sights"`
}

// Checkpoint is the log's newest signed checkpoint, as a note, and the key that verifies it.
type Checkpoint struct {
	Checkpoint string `json:"checkpoint"`
	Key        string `json:"key"`
}

// VerifyBody asks for a verification of the log, against checkpoints that were kept elsewhere.
type VerifyBody struct {
	Checkpoint string `json:"checkpoint,omitempty" maxLength:"1048576"`
	Key        string `json:"key,omitempty" maxLength:"1024" doc:"Verifier key that came by another way than the log; the log's own when left out."`
}

// Verified is what verifying the log found.
type Verified struct {
	Whole          bool       `json:"whole"`
	Origin         string     `json:"origin"`
	Entries        int64      `json:"entries" doc:"Under the checkpoint."`
	Root           string     `json:"root"`
	Writers        int        `json:"writers"`
	First          time.Time  `json:"first,omitzero"`
	Last           time.Time  `json:"last,omitzero"`
	Extends        int64      `json:"extends" doc:"Size of the checkpoint that the log extends; -1: none."`
	Pending        int64      `json:"pending" doc:"Entries not yet under the checkpoint."`
	Open           []EntryRef `json:"open" doc:"Intents without a result."`
	Contradictions int        `json:"contradictions"`
	Problems       []EntryRef `json:"problems"`
}

// EntryRef is an entry that a verification names.
type EntryRef struct {
	Index  int64     `json:"index"`
	Time   time.Time `json:"time,omitzero"`
	Action string    `json:"action,omitempty"`
	Kind   string    `json:"kind,omitempty"`
	What   string    `json:"what,omitempty"`
}

// Person is the name behind a pseudonymous id.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Job is long work.
type Job struct {
	Job     string            `json:"job"`
	Kind    string            `json:"kind"`
	Params  map[string]string `json:"params,omitempty"`
	By      string            `json:"by"`
	State   string            `json:"state" doc:"running, interrupted, done, failed or cancelled."`
	Created time.Time         `json:"created"`
	Ended   time.Time         `json:"ended,omitzero"`
	Total   int               `json:"total"`
	Done    int               `json:"done"`
	Failed  int               `json:"failed"`
	Error   string            `json:"error,omitempty"`
}

// Over reports whether no worker is or will be at the job unless it is resumed.
func (j *Job) Over() bool {
	return j.State == "done" || j.State == "failed" || j.State == "cancelled"
}

// Jobs is the list of jobs, newest first.
type Jobs struct {
	Jobs []Job `json:"jobs"`
}

// Item is one piece of a job.
type Item struct {
	Ref    string `json:"ref"`
	State  string `json:"state,omitempty"`
	Result string `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Items is one page of the items of a job, in their order.
type Items struct {
	Items []Item `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Key is a wrapping key with what depends on it.
type Key struct {
	ID         string    `json:"id"`
	Recipient  string    `json:"recipient,omitempty"`
	Created    time.Time `json:"created,omitzero"`
	Current    bool      `json:"current"`
	Superseded time.Time `json:"superseded,omitzero"`
	State      string    `json:"state,omitempty"`
	Wraps      int       `json:"wraps" doc:"Data keys that are wrapped by it."`
}

// Keys lists the wrapping keys, the oldest first.
type Keys struct {
	Keys []Key `json:"keys"`
}

// RetireBody removes superseded wrapping keys.
type RetireBody struct {
	AgeSeconds *int64 `json:"ageSeconds,omitempty" minimum:"0" maximum:"315360000" doc:"Only those superseded at least this long ago; a day when left out."`
}

// Retired lists the ids of wrapping keys that were removed.
type Retired struct {
	Retired []string `json:"retired"`
}

// Policies are the policies in force.
type Policies struct {
	Policies []string `json:"policies"`
	Roles    []string `json:"roles"`
	Hash     string   `json:"hash"`
	Actions  []Action `json:"actions"`
}

// Action is something that policies decide about.
type Action struct {
	Action string   `json:"action"`
	On     []string `json:"on"`
	What   string   `json:"what"`
}

// ExplainBody asks which policies decide about an action.
type ExplainBody struct {
	Action  string   `json:"action" maxLength:"64"`
	On      string   `json:"on,omitempty" maxLength:"256" doc:"Finding or plan id; a finding of which nothing is known when left out."`
	Roles   []string `json:"roles,omitempty" maxItems:"16" maxLength:"64" doc:"Ask for a person with these roles instead of for yourself."`
	Reason  string   `json:"reason,omitempty" maxLength:"40"`
	Note    string   `json:"note,omitempty" maxLength:"2000"`
	Pending bool     `json:"pending,omitempty" doc:"Suppose a request or plan that somebody else made."`
}

// Explained is what policies say to an [ExplainBody].
type Explained struct {
	Action   string   `json:"action"`
	On       string   `json:"on"`
	Decision string   `json:"decision" enum:"allow,deny"`
	Policies []string `json:"policies"`
	Errors   []string `json:"errors"`
	Advice   string   `json:"advice"`
	Ask      []string `json:"ask" doc:"Roles that would be allowed."`
	Hash     string   `json:"hash"`
}

// Diagnosis is what one look of the doctor found.
type Diagnosis struct {
	About string `json:"about"`
	Level string `json:"level" enum:"ok,warn,fail"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
}

// Diagnoses is what the doctor found.
type Diagnoses struct {
	Diagnoses []Diagnosis `json:"diagnoses"`
}

// CheckBody says how to check.
type CheckBody struct {
	Quick  bool `json:"quick,omitempty" doc:"Do not read objects and kept originals."`
	Repair bool `json:"repair,omitempty" doc:"Remove what crashes left behind."`
}

// Checked is what a check of every invariant found.
type Checked struct {
	Findings   int         `json:"findings"`
	Values     int         `json:"values"`
	Plans      int         `json:"plans"`
	Originals  int         `json:"originals"`
	Objects    int         `json:"objects"`
	Entries    int64       `json:"entries"`
	Violations []Violation `json:"violations"`
	Litter     []string    `json:"litter"`
	Repaired   int         `json:"repaired"`
}

// Violation is an invariant that does not hold, and where.
type Violation struct {
	Invariant string `json:"invariant"`
	On        string `json:"on"`
	What      string `json:"what"`
}

// Build says what serves.
type Build struct {
	Version    string `json:"version"`
	Revision   string `json:"revision"`
	Modified   bool   `json:"modified"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	HomeFormat int    `json:"homeFormat"`
	FIPS140    bool   `json:"fips140"`
}

// Config is the configuration in force, without what could open anything.
type Config struct {
	Objects   string   `json:"objects"`
	Originals string   `json:"originals"`
	Keys      string   `json:"keys"`
	Store     string   `json:"store"`
	Buckets   []string `json:"buckets"`
	Reasons   []string `json:"reasons"`
	Grace     string   `json:"grace"`
	// Identifiers are the names of the custom data identifiers.
	Identifiers []string `json:"identifiers"`
	OwnPolicies bool     `json:"ownPolicies"`
	Anchors     int      `json:"anchors"`
	// Macie is which Macie is asked; nil: none.
	Macie *ConfigMacie `json:"macie,omitempty" doc:"Which Macie is asked; left out: none."`
}

// ConfigMacie says which Macie is asked. What is left out comes from the server's environment.
type ConfigMacie struct {
	Region   string `json:"region,omitempty"`
	FIPS     bool   `json:"fips,omitempty"`
	Endpoint string `json:"endpoint,omitempty" doc:"In the place of AWS's address."`
	Results  string `json:"results,omitempty" doc:"Where Macie puts discovery results."`
}

// Caller is who asks, as the server sees them.
type Caller struct {
	ID     string   `json:"id" doc:"Pseudonymous."`
	Kind   string   `json:"kind"`
	Roles  []string `json:"roles"`
	Teams  []string `json:"teams"`
	Scopes []string `json:"scopes,omitempty"`
}
