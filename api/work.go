package api

import (
	"time"

	"coffer"
)

// StatusBody says who is at work on a finding.
type StatusBody struct {
	Status string `json:"status" enum:"begin,stop,reopen" doc:"begin: somebody works on it. stop: nobody does. reopen: a closed one is open again."`
}

// OwnerBody makes somebody the owner of a finding.
type OwnerBody struct {
	Owner string `json:"owner" maxLength:"128" doc:"Pseudonymous id; empty: nobody."`
}

// TicketsBody replaces the tickets of a finding.
type TicketsBody struct {
	Tickets []string `json:"tickets" maxItems:"10" maxLength:"200"`
}

// NoteBody adds a note to a finding.
type NoteBody struct {
	Text string `json:"text" minLength:"1" maxLength:"2000"`
}

// Note is what somebody wrote about a finding.
type Note struct {
	Text string    `json:"text"`
	By   string    `json:"by" doc:"Pseudonymous id."`
	At   time.Time `json:"at"`
}

// Notes are those of a finding, the oldest first.
type Notes struct {
	Notes []Note `json:"notes"`
}

// CloseBody closes a finding with what PCI DSS 4.0.1 requirement 12.10.7 asks to be recorded: all four for findings of card data, the
// disposition for others.
type CloseBody struct {
	Disposition        string `json:"disposition" minLength:"1" maxLength:"500" doc:"What was done with the data."`
	AuthenticationData *bool  `json:"authenticationData,omitempty" doc:"Was card authentication data stored with it?"`
	Origin             string `json:"origin,omitempty" maxLength:"500" doc:"Where it came from."`
	CorrectiveAction   string `json:"correctiveAction,omitempty" maxLength:"500" doc:"What was done so that it does not happen again."`
}

// WorkBody does the same with several findings: those with the ids, or those that the filter selects.
type WorkBody struct {
	Findings []string   `json:"findings,omitempty" maxItems:"10000" maxLength:"256"`
	Filter   []string   `json:"filter,omitempty" maxItems:"64" maxLength:"2048"`
	Count    int        `json:"count,omitempty" minimum:"0" doc:"How many the filter was said to select; if there are others now, nothing is done."`
	Do       string     `json:"do" enum:"judge,withdraw,begin,stop,reopen,assign,mute,unmute,note,tickets,close" doc:"withdraw takes the verdict on the finding back; mute leaves it out of the lists and counts of what is to be done."`
	Verdict  string     `json:"verdict,omitempty" enum:"true,false-positive,intended" doc:"For judge."`
	Note     string     `json:"note,omitempty" maxLength:"2000" doc:"For judge and note."`
	Owner    string     `json:"owner,omitempty" maxLength:"128" doc:"For assign; nobody when left out."`
	Tickets  []string   `json:"tickets,omitempty" maxItems:"10" maxLength:"200" doc:"For tickets; none when left out."`
	Closing  *CloseBody `json:"closing,omitempty" doc:"For close."`
}

// Worked is what became of each of several findings.
type Worked struct {
	Results []WorkResult `json:"results"`
}

// WorkResult is what became of one of them: the finding, or why nothing was done.
type WorkResult struct {
	Finding string   `json:"finding"`
	Now     *Finding `json:"now,omitempty"`
	Code    string   `json:"code,omitempty"`
	Detail  string   `json:"detail,omitempty"`
}

// Protected is one protection of a finding's bucket or object, as Macie reported it and as it is now.
type Protected struct {
	Of       string `json:"of" doc:"bucket or object."`
	What     string `json:"what"`
	Reported string `json:"reported,omitempty"`
	Now      string `json:"now,omitempty"`
	Differs  bool   `json:"differs,omitempty"`
}

// Protections answers "is it protected?".
type Protections struct {
	Protections []Protected `json:"protections"`
}

// Elsewhere is another finding that holds values of a finding.
type Elsewhere struct {
	Finding string        `json:"finding"`
	Object  coffer.Object `json:"object"`
	Values  int           `json:"values" doc:"Different values that both hold."`
	Types   []string      `json:"types"`
}

// Shared is where else the values of a finding stand, and never which.
type Shared struct {
	Findings   []Elsewhere `json:"findings" doc:"The ones that share most first."`
	Values     int         `json:"values" doc:"Different values of the finding that stand elsewhere, too."`
	Sought     int         `json:"sought" doc:"Different values that were looked for."`
	NotIndexed []string    `json:"notIndexed" doc:"Types that were not looked for: they have no index."`
	Limited    bool        `json:"limited,omitempty" doc:"There are more; they were not all compared."`
}

// FilterBody selects findings.
type FilterBody struct {
	Filter []string `json:"filter,omitempty" maxItems:"64" maxLength:"2048" doc:"Pairs: field=a,b field!=a field.gte=x; all must hold."`
}

// CountBody counts findings by the values of fields.
type CountBody struct {
	Filter []string `json:"filter,omitempty" maxItems:"64" maxLength:"2048" doc:"Pairs: field=a,b field!=a field.gte=x; all must hold."`
	By     []string `json:"by,omitempty" maxItems:"16" maxLength:"40" doc:"Fields."`
}

// Counts are honest counts of a whole list.
type Counts struct {
	Total   int              `json:"total"`
	Values  int64            `json:"values"`
	Objects int              `json:"objects"`
	By      map[string]Facet `json:"by"`
	AsOf    time.Time        `json:"asOf" doc:"What was stored before is in the answer."`
	Lags    bool             `json:"lags,omitempty" doc:"Newer changes could not be read."`
}

// ExportBody takes a list away exactly as it is filtered.
type ExportBody struct {
	Filter []string `json:"filter,omitempty" maxItems:"64" maxLength:"2048" doc:"Pairs: field=a,b field!=a field.gte=x; all must hold."`
	Order  string   `json:"order,omitempty" maxLength:"40" doc:"newest when left out."`
	Format string   `json:"format" enum:"jsonl,csv" doc:"JSON Lines, or CSV in which no cell is a formula."`
}

// Rate is how often the identifier of a type was wrong, with the 95 % Wilson score interval of the true rate.
type Rate struct {
	Type           string  `json:"type"`
	Judged         int     `json:"judged" doc:"Types in findings that were judged."`
	FalsePositives int     `json:"falsePositives"`
	Low            float64 `json:"low"`
	High           float64 `json:"high"`
}

// Suppression proposes a rule by which Macie archives findings of one kind in one place by itself.
type Suppression struct {
	Type     string `json:"type"`
	Bucket   string `json:"bucket"`
	Prefix   string `json:"prefix"`
	Region   string `json:"region,omitempty"`
	Findings int    `json:"findings" doc:"That were judged a false positive there; no other judgement was made."`
	Covers   int    `json:"covers" doc:"Findings that the rule would have archived."`
	Input    any    `json:"input" doc:"The request of Macie's CreateFindingsFilter."`
	Command  string `json:"command" doc:"The command that makes the rule, for a POSIX shell."`
}

// Rates is what the verdicts say about the identifiers.
type Rates struct {
	Rates        []Rate        `json:"rates" doc:"Of all types that were judged, the worst first."`
	Suppressions []Suppression `json:"suppressions" doc:"The ones that cover most first."`
}

// View is a filter and order under a name.
type View struct {
	Name   string   `json:"name"`
	Filter []string `json:"filter"`
	Order  string   `json:"order,omitempty"`
	Shared bool     `json:"shared,omitempty" doc:"Everybody sees it; only who made it changes it."`
	By     string   `json:"by" doc:"Pseudonymous id of who made it."`
	Match  string   `json:"match" doc:"Names this state of the view."`
}

// Views are the caller's views and the shared ones, each in order of name.
type Views struct {
	Views []View `json:"views"`
}

// ViewBody saves a view, or replaces the caller's own of that name.
type ViewBody struct {
	Name   string   `json:"name" minLength:"1" maxLength:"80"`
	Filter []string `json:"filter" maxItems:"64" maxLength:"2048"`
	Order  string   `json:"order,omitempty" maxLength:"40"`
	Shared bool     `json:"shared,omitempty"`
	Match  string   `json:"match,omitempty" maxLength:"64" doc:"Replace it only if it is still in this state."`
}

// ViewName names a view of the caller's own.
type ViewName struct {
	Name   string `json:"name" minLength:"1" maxLength:"80"`
	Shared bool   `json:"shared,omitempty" doc:"The shared one of that name."`
}
