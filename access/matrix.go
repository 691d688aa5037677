package access

import (
	"time"

	"coffer"
)

// Sight is how much of a finding a role sees.
type Sight string

// The sights, from nothing to everything.
const (
	SeesNothing  Sight = "denied"
	SeesExistent Sight = "exists" // that there is a finding
	SeesMasked   Sight = "masked"
	SeesApproved Sight = "approved" // values, with an approved request
	SeesFull     Sight = "full"     // values, by their own right
)

// MatrixCell says what people with one role see of one kind of data.
type MatrixCell struct {
	Role     string `json:"role"`
	Category string `json:"category"` // Macie's
	Sight    Sight  `json:"sight"`
}

// categories are Macie's, each with a type of it that policies may ask about.
var categories = []struct {
	name string
	typ  coffer.DataType
}{
	{"CREDENTIALS", "AWS_CREDENTIALS"},
	{"CUSTOM_IDENTIFIER", "CUSTOM"},
	{"FINANCIAL_INFORMATION", coffer.BankAccountNumber},
	{"PERSONAL_INFORMATION", coffer.PersonName},
}

// Matrix says, for every role that the policies name and every category of data, what a person with that role alone sees at best: one
// who just signed in with two factors, gives a reason and asks for one value of a finding of high severity that Macie made. The
// policies answer, nothing else; conditions on accounts, buckets and tags are met by no example and count as unmet.
func (p *Policy) Matrix(now time.Time) []MatrixCell {
	var out []MatrixCell
	for _, role := range p.roles {
		for _, c := range categories {
			r := Request{
				Caller: Caller{ID: "example", Kind: UserCaller, Roles: []string{role}},
				Resource: Resource{
					Kind: Finding, ID: "example", Types: []coffer.DataType{c.typ}, Categories: []string{c.name}, Severity: coffer.SeverityHigh,
					Origins: []coffer.Origin{coffer.OriginMacie},
				},
				Context: Context{Now: now, Reason: Reasons[0], Note: "an example of a note", Ticket: "EXAMPLE", Values: 1, SignedIn: now, MFA: true},
			}
			if role == RoleOperator {
				r.Caller.Kind, r.Context.Local = OperatorCaller, true
			}
			allows := func(a Action) bool {
				r.Action = a
				return p.Decide(r).Allow
			}
			sight := SeesNothing
			approved := r
			approved.Action = ValueReveal
			approved.Context.Requester, approved.Context.Approvers, approved.Context.ApprovedUntil = "example", []string{"another"}, now.Add(time.Hour)
			list := r
			list.Action, list.Resource = FindingList, Resource{Kind: System}
			switch {
			case allows(ValueReveal):
				sight = SeesFull
			case p.Decide(approved).Allow:
				sight = SeesApproved
			case allows(FindingRead):
				sight = SeesMasked
			case p.Decide(list).Allow:
				sight = SeesExistent
			}
			out = append(out, MatrixCell{role, c.name, sight})
		}
	}
	return out
}
