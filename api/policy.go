package api

import "time"

// Matrix says what each role sees of each kind of data.
type Matrix struct {
	Cells []MatrixCell `json:"cells"`
	Hash  string       `json:"hash" doc:"Of the policies that answered."`
}

// MatrixCell is one of its cells.
type MatrixCell struct {
	Role     string `json:"role"`
	Category string `json:"category" doc:"Macie's."`
	Sight    string `json:"sight" enum:"denied,exists,masked,approved,full"`
}

// PolicyTests are questions to the policies with the answers that are expected.
type PolicyTests struct {
	Cases []PolicyCase `json:"cases" minItems:"1" maxItems:"1000"`
}

// PolicyCase is one question. What it leaves out of caller and resource is filled in: a person who just signed in, and something that
// Macie found.
type PolicyCase struct {
	Caller   PolicyCaller   `json:"caller,omitempty"`
	Action   string         `json:"action" maxLength:"64"`
	Resource PolicyResource `json:"resource,omitempty"`
	Context  PolicyContext  `json:"context,omitempty"`
	Expect   string         `json:"expect" enum:"allow,deny"`
	By       []string       `json:"by,omitempty" maxItems:"64" maxLength:"128" doc:"All policies that decide."`
}

// PolicyCaller is who asks.
type PolicyCaller struct {
	ID     string   `json:"id,omitempty" maxLength:"128"`
	Kind   string   `json:"kind,omitempty" enum:"user,operator,service,token"`
	Roles  []string `json:"roles,omitempty" maxItems:"64" maxLength:"128"`
	Teams  []string `json:"teams,omitempty" maxItems:"64" maxLength:"128"`
	Scopes []string `json:"scopes,omitempty" maxItems:"64" maxLength:"64"`
}

// PolicyResource is what is touched.
type PolicyResource struct {
	Kind       string            `json:"kind,omitempty" enum:"Finding,Plan,Object,System"`
	ID         string            `json:"id,omitempty" maxLength:"128"`
	Types      []string          `json:"types,omitempty" maxItems:"64" maxLength:"128"`
	Categories []string          `json:"categories,omitempty" maxItems:"16" maxLength:"64"`
	Severity   string            `json:"severity,omitempty" enum:"low,medium,high"`
	Bucket     string            `json:"bucket,omitempty" maxLength:"255"`
	Account    string            `json:"account,omitempty" maxLength:"64"`
	Origins    []string          `json:"origins,omitempty" maxItems:"4" enum:"macie,operator,submitted,scan"`
	Submitters []string          `json:"submitters,omitempty" maxItems:"64" maxLength:"128"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// PolicyContext is the circumstances.
type PolicyContext struct {
	Now           time.Time `json:"now,omitzero"`
	Local         bool      `json:"local,omitempty"`
	Reason        string    `json:"reason,omitempty" maxLength:"40"`
	Note          string    `json:"note,omitempty" maxLength:"2000"`
	Ticket        string    `json:"ticket,omitempty" maxLength:"200"`
	Purpose       string    `json:"purpose,omitempty" maxLength:"40"`
	Values        int       `json:"values,omitempty" minimum:"0" maximum:"1000000000"`
	Network       string    `json:"network,omitempty" maxLength:"64"`
	SignInSeconds int       `json:"signInSeconds,omitempty" minimum:"0" maximum:"315360000" doc:"How long ago the caller signed in; just now when left out."`
	MFA           bool      `json:"mfa,omitempty"`
	BreakGlass    bool      `json:"breakGlass,omitempty"`
	Requester     string    `json:"requester,omitempty" maxLength:"128"`
	Approvers     []string  `json:"approvers,omitempty" maxItems:"16" maxLength:"128"`
	ApprovedUntil time.Time `json:"approvedUntil,omitzero"`
}

// PolicyAnswers says which cases answer as expected.
type PolicyAnswers struct {
	Answers []PolicyAnswer `json:"answers"`
	Failed  int            `json:"failed"`
	Hash    string         `json:"hash" doc:"Of the policies that answered."`
}

// PolicyAnswer is the answer to a case.
type PolicyAnswer struct {
	N        int      `json:"n" doc:"Number of the case, from 1."`
	OK       bool     `json:"ok"`
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
	Policies []string `json:"policies"`
	Errors   []string `json:"errors"`
}
