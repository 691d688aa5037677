// Package access answers one question: may this caller do this, here and now? The answer comes from Cedar policies
// (https://docs.cedarpolicy.com): a default set is part of the binary, a folder of one's own replaces it.
//
// The package is pure. It reads no store and no clock; whatever a decision rests on is passed in. Recording the answer is the
// work of package audit, whose Guard is the only way from a decision to an act.
//
// Cedar denies by default and lets a forbid overrule every permit, but it skips a policy that fails to evaluate, so that a
// forbid with an error silently stops forbidding. [Policy.Decide] therefore denies whenever any policy reports an error.
package access

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"coffer"
)

// CallerKind says how a caller was identified.
type CallerKind string

// The kinds of callers.
const (
	OperatorCaller CallerKind = "operator" // the operating system's user who runs the command
	UserCaller     CallerKind = "user"     // a person who signed in
	ServiceCaller  CallerKind = "service"  // a part of the installation, acting on nobody's behalf
	TokenCaller    CallerKind = "token"    // a program with a token of its own
)

// Roles of the default policies. Others may be given to callers and named in one's own policies.
const (
	RoleOperator       = "operator"
	RoleEngineer       = "engineer"
	RoleApprover       = "approver"
	RoleAuditor        = "auditor"
	RolePrivacyOfficer = "privacy-officer"
	RoleResponder      = "responder" // on call: may break the glass
	RolePlatform       = "platform"  // runs the installation: users, tokens, jobs, keys; sees that findings exist, and no more
	RoleService        = "service"
)

// Reasons are the reason codes that are accepted when the configuration names no others.
var Reasons = []string{"investigation", "false-positive-check", "remediation", "incident", "audit", "customer-request", "legal"}

// Caller is who asks. It is made by package identity, or by the command line from the operating system's user.
type Caller struct {
	ID    string     // pseudonymous: a keyed hash of the subject, 1 to 128 characters of [A-Za-z0-9._-]
	Name  string     // for people to read; reaches neither a policy nor the log, which keeps it in a deletable table
	Kind  CallerKind // how the caller was identified
	Roles []string
	Teams []string
	// Scopes are the actions that the caller's token is good for, whatever its roles permit. Nil: all of them.
	Scopes []Action
}

// Kind is the kind of a resource.
type Kind string

// The kinds of resources.
const (
	Finding Kind = "Finding"
	Plan    Kind = "Plan"
	Object  Kind = "Object"
	System  Kind = "System" // the installation itself; its ID is empty
)

// Resource is what is touched, with what a policy may ask about it. A plan has the attributes of all its findings together,
// an object those of its open findings.
type Resource struct {
	Kind       Kind
	ID         string // finding id, plan id, or the object's opaque id; never a bucket or key in clear
	Types      []coffer.DataType
	Categories []string
	Severity   coffer.Severity // the highest
	Bucket     string
	Account    string
	Origins    []coffer.Origin
	Submitters []string     // caller ids of those who submitted the findings
	BucketTags []coffer.Tag // as Macie reported them
}

// Context is the circumstances of a request. Policies see the length of the note, not its text.
type Context struct {
	Now     time.Time // required
	Request string    // id of the request, for the log; policies do not see it
	Local   bool      // asked on the command line of this machine
	Reason  string    // reason code; empty: none was given
	Note    string
	Ticket  string // the number of a ticket elsewhere; policies see only whether there is one
	Purpose string // what the data is used for, as the caller declares it; empty: not declared
	Values  int    // how many values would be shown or changed

	Network netip.Addr // where the request comes from; the zero Addr: from this machine's command line
	// Session and Token name the session, and the personal or access token, with which the caller comes, for the log; they open
	// nothing, and policies do not see them. Empty: none.
	Session, Token string
	// SignedIn is when the caller last proved who they are, MFA whether with more than one factor. Zero: not known, which is never fresh.
	SignedIn time.Time
	MFA      bool
	// Grant is the id of the approved request, or of the broken glass, on which the caller wants to act; empty: on their own right.
	Grant string

	// What follows is filled in by the packages that know it, from their own records. What else arrives here is dropped: see
	// [Context.Claimed].

	// BreakGlass says that the caller acts through broken glass, without an approval.
	BreakGlass    bool
	Requester     string   // caller id of who made the request or plan that is to be approved, or that was
	Approvers     []string // caller ids of those who have approved this very act
	ApprovedUntil time.Time
}

// Claimed returns c without approvals: what whoever asks may say about themselves.
func (c Context) Claimed() Context {
	c.BreakGlass, c.Requester, c.Approvers, c.ApprovedUntil = false, "", nil, time.Time{}
	return c
}

// NoteLength is the number of characters of the note, without white space around it.
func (c Context) NoteLength() int { return utf8.RuneCountInString(strings.TrimSpace(c.Note)) }

// clockSkew is how far the clock of whoever signed the caller in may be ahead.
const clockSkew = time.Minute

// signInAge returns how long ago the caller proved who they are, and whether that is known. A time that is further ahead than clocks
// differ is not known: it would stay fresh for as long as somebody chose.
func (c Context) signInAge() (time.Duration, bool) {
	age := c.Now.Sub(c.SignedIn)
	if c.SignedIn.IsZero() || age < -clockSkew {
		return 0, false
	}
	return max(age, 0), true
}

// Request is one question to the policy.
type Request struct {
	Caller   Caller
	Action   Action
	Resource Resource
	Context  Context
}

// Decision is the answer. Its zero value denies.
type Decision struct {
	Allow    bool
	Policies []string // ids of the policies that decided, sorted; none when nothing permits
	Advice   string   // what would help, for the person who was denied
	Errors   []string // ids of policies that failed to evaluate, or what was wrong with the request; any of them denies
	Hash     string   // of the policy set that decided
}
