package grant

import (
	"slices"
	"time"

	"coffer/access"
)

// Approval is one person's consent to exactly one thing, until a time.
type Approval struct {
	By    string    `json:"by"` // pseudonymous id
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	// For is the digest of what was consented to. When what would be done has another, the approval is void.
	For string `json:"for"`
}

// Approvals are the consents that were given, at most one of each person for each thing.
type Approvals []Approval

// With returns as with a added, in place of an earlier consent of the same person to the same thing.
func (as Approvals) With(a Approval) Approvals {
	out := slices.DeleteFunc(slices.Clone(as), func(b Approval) bool { return b.By == a.By && b.For == a.For })
	return append(out, a)
}

// Good returns the consents to the thing with this digest that are in force at now and were not given by who asked for it.
func (as Approvals) Good(digest, asked string, now time.Time) Approvals {
	return slices.DeleteFunc(slices.Clone(as), func(a Approval) bool {
		return a.For != digest || a.By == asked || !now.Before(a.Until)
	})
}

// Tell adds to c what policies may ask about the consents: who gave them, and until when all of them are in force.
func (as Approvals) Tell(c *access.Context) {
	c.Approvers, c.ApprovedUntil = nil, time.Time{}
	for _, a := range as {
		c.Approvers = append(c.Approvers, a.By)
		if c.ApprovedUntil.IsZero() || a.Until.Before(c.ApprovedUntil) {
			c.ApprovedUntil = a.Until
		}
	}
}
