package api

import (
	"time"

	"coffer"
)

// ReconcileBody starts a run that compares what came in with what Macie says.
type ReconcileBody struct {
	Since time.Time `json:"since,omitzero" doc:"Where to begin, at most 90 days ago; left out: every time that was not compared yet, and the last day again."`
}

// LedgerDay compares what Macie found on a day with what came in of it. Counts are of findings by the day (UTC) on which Macie made
// them; events + retaken = stored.
type LedgerDay struct {
	Day        string    `json:"day"`
	AsOf       time.Time `json:"asOf" doc:"Events that came later are not in it."`
	Events     int       `json:"events" doc:"Came by themselves, and Macie confirmed them."`
	Retaken    int       `json:"retaken" doc:"Never came, and were taken in from Macie's list."`
	Stored     int       `json:"stored" doc:"Of those, how many have a record."`
	Listed     int       `json:"listed" doc:"In Macie's list: also those that are suppressed, samples or about nothing."`
	Suppressed int       `json:"suppressed" doc:"Archived, and so never sent; not taken in."`
	Samples    int       `json:"samples" doc:"Example data of Macie's."`
	Empty      int       `json:"empty" doc:"Nothing was detected, or nothing analysed."`
	Results    int       `json:"results" doc:"Of those listed, how many have their discovery result in place."`
	Classified int       `json:"classified" doc:"Objects of which discovery results of the day speak."`
	Gaps       int       `json:"gaps" doc:"What does not add up."`
	Named      []Gap     `json:"named" doc:"The gaps, at most a thousand."`
}

// Gap is something that does not add up.
type Gap struct {
	Kind    string         `json:"kind"`
	Finding string         `json:"finding,omitempty"`
	Object  *coffer.Object `json:"object,omitempty"`
	Since   time.Time      `json:"since,omitzero" doc:"With until: the time of which nothing is known."`
	Until   time.Time      `json:"until,omitzero"`
	Means   string         `json:"means"`
}

// Ledger is how what came in compares with what Macie says, the latest day first.
type Ledger struct {
	Configured bool        `json:"configured" doc:"There is a Macie to compare with."`
	From       time.Time   `json:"from,omitzero" doc:"Since when everything was compared."`
	Until      time.Time   `json:"until,omitzero" doc:"Until when; left out: nothing yet."`
	Finished   time.Time   `json:"finished,omitzero" doc:"When the last run ended."`
	Sum        LedgerDay   `json:"sum" doc:"All the days together."`
	Days       []LedgerDay `json:"days"`
}
