package access

// Action is one thing that can be done. The same words name it in policies, audit entries, routes and commands.
type Action string

// The actions. [Actions] says what each one covers.
const (
	EventIngest  Action = "event.ingest"
	EventConfirm Action = "event.confirm"
	// EventReconcile is done on the word of Macie alone, so that whoever may do it needs no right to hand in findings.
	EventReconcile Action = "event.reconcile"
	FindingList    Action = "finding.list"
	FindingRead    Action = "finding.read"
	ObjectRead     Action = "object.read"
	ValueReveal    Action = "value.reveal"
	ValueSearch    Action = "value.search"
	VerdictSet     Action = "verdict.set"
	RemedyPlan     Action = "remedy.plan"
	RemedyApprove  Action = "remedy.approve"
	RemedyApply    Action = "remedy.apply"
	RemedyUndo     Action = "remedy.undo"
	RemedyPurge    Action = "remedy.purge"
	AccessList     Action = "access.list"
	AccessRequest  Action = "access.request"
	AccessApprove  Action = "access.approve"
	AccessBreak    Action = "access.break-glass"
	AccessReview   Action = "access.review"
	AuditRead      Action = "audit.read"
	SessionStart   Action = "session.start"
	SessionEnd     Action = "session.end"
	TokenCreate    Action = "token.create"
	KeyRotate      Action = "key.rotate"
	PolicyWrite    Action = "policy.write"
	AdminUser      Action = "admin.user"
	AdminToken     Action = "admin.token"
	AdminIndex     Action = "admin.index"
	AdminObject    Action = "admin.object"
	AdminPerson    Action = "admin.person"
	AdminBackup    Action = "admin.backup"
	AdminCheck     Action = "admin.check"
	AdminJob       Action = "admin.job"
	AdminNotify    Action = "admin.notify"
)

// Description says what an action covers and on which kinds of resource it is asked.
type Description struct {
	Action Action
	On     []Kind
	Doc    string
}

// Actions is the whole vocabulary, in the order of the flow. An action that is not in it is denied. The schema of the
// policies declares the same actions on the same kinds; a test compares the two.
var Actions = []Description{
	{EventIngest, []Kind{System, Finding}, "take in events and findings, locate and seal what they name; look for a changed object's values anew"},
	{EventConfirm, []Kind{Finding}, "confirm a finding that somebody else submitted, so that its object is read"},
	{EventReconcile, []Kind{System, Finding}, "compare what came in with what Macie lists, and take in what never came"},
	{FindingList, []Kind{System}, "see that findings exist: lists and counts"},
	{FindingRead, []Kind{Finding}, "see a finding with its places and masked values"},
	{ObjectRead, []Kind{Object}, "see an object's state, tags, versions and findings"},
	{ValueReveal, []Kind{Finding}, "see sealed values of a finding in plain"},
	{ValueSearch, []Kind{System}, "ask where a value stands, without seeing it"},
	{VerdictSet, []Kind{Finding}, "judge a finding or an occurrence"},
	{RemedyPlan, []Kind{Plan}, "make a plan and look at its masked diff; withdraw it"},
	{RemedyApprove, []Kind{Plan}, "approve or deny a plan"},
	{RemedyApply, []Kind{Plan}, "change the object as planned"},
	{RemedyUndo, []Kind{Plan}, "put the original back"},
	{RemedyPurge, []Kind{Plan}, "destroy the kept original before the grace period ends"},
	{AccessList, []Kind{System}, "see requests for access: one's own, and those that one may decide on"},
	{AccessRequest, []Kind{Finding, System}, "ask for access that the policy grants only on request; withdraw the request"},
	{AccessApprove, []Kind{Finding, System}, "approve or deny a request for access"},
	{AccessBreak, []Kind{System}, "break the glass: see values in an emergency without an approval"},
	{AccessReview, []Kind{System}, "review what was done after the glass was broken"},
	{AuditRead, []Kind{System}, "list, verify and export the log"},
	{SessionStart, []Kind{System}, "sign in, and prove again who one is"},
	{SessionEnd, []Kind{System}, "sign out; see and end one's own sessions"},
	{TokenCreate, []Kind{System}, "make, list and revoke one's own access tokens"},
	{KeyRotate, []Kind{System}, "list and rotate keys"},
	{PolicyWrite, []Kind{System}, "replace the policies"},
	{AdminUser, []Kind{System}, "add people, give and take their roles, let them in and keep them out; see and end their sessions"},
	{AdminToken, []Kind{System}, "list and revoke the access tokens of others"},
	{AdminIndex, []Kind{System}, "choose the types that can be searched by value"},
	{AdminObject, []Kind{Object}, "set the versioning of a bucket kept in a folder"},
	{AdminPerson, []Kind{System}, "delete the name behind a pseudonymous id"},
	{AdminBackup, []Kind{System}, "back up and restore the installation"},
	{AdminCheck, []Kind{System}, "check every invariant; opens sealed values and shows none"},
	{AdminJob, []Kind{System}, "see jobs and how far they have come; cancel and resume them"},
	{AdminNotify, []Kind{System}, "deliver messages to the configured targets; see how that goes, test them, send again"},
}
