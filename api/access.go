package api

import "time"

// AccessBody asks for values that the policies show only with an approval.
type AccessBody struct {
	Action  string `json:"action" enum:"value.reveal,value.search"`
	Finding string `json:"finding,omitempty" maxLength:"256" doc:"Whose values; for value.reveal."`
	Numbers []int  `json:"numbers,omitempty" maxItems:"10000" minimum:"1" doc:"Numbers of occurrences; any when there are none."`
	Values  int    `json:"values,omitempty" minimum:"0" maximum:"1000000" doc:"How many values at most; all when left out."`
	Seconds int    `json:"seconds,omitempty" minimum:"0" maximum:"28800" doc:"How long the approval is to be good."`
	Reason  string `json:"reason" maxLength:"40" doc:"Reason code."`
	Note    string `json:"note,omitempty" maxLength:"2000" doc:"Why, in at least 10 characters; or give a ticket."`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// GlassBody breaks the glass.
type GlassBody struct {
	Reason  string `json:"reason" enum:"incident"`
	Note    string `json:"note" minLength:"1" maxLength:"2000" doc:"What happened."`
	Ticket  string `json:"ticket" minLength:"1" maxLength:"64" doc:"Number of the incident's ticket."`
	Seconds int    `json:"seconds,omitempty" minimum:"0" maximum:"1800" doc:"How long; 15 minutes when left out."`
}

// Request is a request for access, or broken glass, and what became of it.
type Request struct {
	Request    string          `json:"request"`
	Glass      bool            `json:"glass,omitempty" doc:"It is no request but broken glass."`
	By         string          `json:"by" doc:"Pseudonymous id of who asked, who alone can use it."`
	Action     string          `json:"action"`
	Finding    string          `json:"finding,omitempty"`
	Generation string          `json:"generation,omitempty" doc:"The set of sealed values that it is about."`
	Numbers    []int           `json:"numbers,omitempty"`
	Values     int             `json:"values"`
	Reason     string          `json:"reason"`
	Note       string          `json:"note,omitempty"`
	Ticket     string          `json:"ticket,omitempty"`
	Duration   string          `json:"duration"`
	Need       int             `json:"need" doc:"Approvals that it takes."`
	Created    time.Time       `json:"created"`
	Hash       string          `json:"hash" doc:"Digest of what is asked for; an approval names it."`
	Deadline   time.Time       `json:"deadline"`
	Approvals  []GrantApproval `json:"approvals,omitempty"`
	Spent      int             `json:"spent,omitempty"`
	Answer     string          `json:"answer,omitempty"`
	Ended      time.Time       `json:"ended,omitzero"`
	EndedBy    string          `json:"endedBy,omitempty"`
	State      string          `json:"state" doc:"requested, approved, denied, withdrawn, used, expired; of broken glass broken, expired or reviewed."`
	Until      *time.Time      `json:"until,omitempty" doc:"Until when it can be used; absent while it cannot."`
}

// GrantApproval is one person's consent to a request.
type GrantApproval struct {
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	For   string    `json:"for" doc:"The hash that was consented to."`
}

// Requests lists requests for access, newest first.
type Requests struct {
	Requests []Request `json:"requests"`
}

// ApproveBody consents to exactly what was shown.
type ApproveBody struct {
	Hash string `json:"hash" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]*$" doc:"Hash of the request that was shown."`
}

// AnswerBody denies a request or a plan, or reviews broken glass.
type AnswerBody struct {
	Note string `json:"note" minLength:"1" maxLength:"2000" doc:"For who asked; of a review, what was found, in at least 10 characters."`
}
