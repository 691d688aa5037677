package macie

import (
	"context"
	"errors"
	"iter"
	"time"

	"coffer"
)

// MaxIDs is the most findings that one call of GetFindings reads, and the most ids in one page of ListFindings (Macie API reference).
const MaxIDs = 50

// MaxListed is how many findings Macie shows at most of one run of a job ("Quotas for Macie": 100,000 and a part of those beyond), and
// what a list is trusted to hold.
const MaxListed = 100_000

// Retention is how long Macie keeps a finding ("Quotas for Macie").
const Retention = 90 * 24 * time.Hour

// ErrRefused says that Macie does not let Coffer make a call: a permission is missing. Such an error also wraps coffer.ErrUnavailable, since
// it says nothing of what was asked for.
var ErrRefused = errors.New("refused by Macie")

// API is what is asked of Macie itself; nothing there is ever changed. Package macie/live asks the service.
//
// Calls are repeated after throttling, server errors and broken connections. What stays wrong wraps coffer.ErrUnavailable: whoever
// asks knows then nothing of the finding, and must not take that for an answer. Trust: Macie says what is a finding. What it says
// is parsed like any other document.
type API interface {
	// Findings reads at most MaxIDs findings and returns a document for each that Macie has, by id: sensitive data findings
	// whether or not they are archived, and what else stands under these ids. An id without a document is one that Macie does not
	// have, or not any more: it keeps findings for [Retention].
	Findings(ctx context.Context, ids []string) (map[string]Document, error)
	// List yields pages of the ids of sensitive data findings, samples among them, in the order in which they were changed last.
	// The list is none of one moment: what changes meanwhile can be on two pages or on none. An error ends it; one that wraps
	// coffer.ErrLimit says that [MaxListed] were listed, so that more may be there: a shorter time has fewer.
	List(ctx context.Context, q Query) iter.Seq2[[]string, error]
	// Identifier returns a custom data identifier as the JSON of GetCustomDataIdentifier, deleted ones included. They never change.
	// The id is that in a detection: bare or an ARN. Coffer.ErrNotFound when there is none.
	Identifier(ctx context.Context, id string) ([]byte, error)
	// Managed returns the ids of the managed data identifiers that Macie has today.
	Managed(ctx context.Context) ([]coffer.DataType, error)
	// Session returns how Macie is set up in the account and Region.
	Session(ctx context.Context) (Session, error)
}

// Query selects findings by when they were changed last, from Since until before Until.
type Query struct {
	Since, Until time.Time
	// Archived asks for those that a suppression rule or a person has set aside, which are in no other list; false for all others.
	Archived bool
}

// Session is how Macie is set up in an account and Region.
type Session struct {
	Enabled bool // false: never enabled, or paused
	// Bucket and Prefix are where discovery results go; no Bucket: they cannot be read.
	Bucket, Prefix string
}
