package api

import "time"

// Target is how deliveries go to one of those that are told what happens.
type Target struct {
	Target    string    `json:"target"`
	Kind      string    `json:"kind"`
	State     string    `json:"state" doc:"ok; failing: deliveries fail; dead: messages were put aside and none fails now; new: before the first delivery."`
	Behind    int64     `json:"behind" doc:"Entries of the log that it was not told of yet, whether it wants them or not."`
	Sent      int64     `json:"sent"`
	SentAt    time.Time `json:"sentAt,omitzero"`
	Failing   time.Time `json:"failingSince,omitzero"`
	RetryAt   time.Time `json:"retryAt,omitzero"`
	Error     string    `json:"error,omitempty" doc:"Why the last delivery failed."`
	Dead      int       `json:"dead" doc:"Messages that it refused and that were put aside."`
	Tested    time.Time `json:"tested,omitzero"`
	TestError string    `json:"testError,omitempty" doc:"Why the last test did not arrive."`
	Asked     []string  `json:"asked,omitempty" doc:"What waits for the process that delivers: test, retry."`
}

// Targets are all of them, in the order of the configuration.
type Targets struct {
	Targets []Target `json:"targets"`
}

// Delivery is a message to a target; of an archive, a file that ends with the entry.
type Delivery struct {
	Entry int64     `json:"entry" doc:"Position in the log."`
	ID    string    `json:"id" doc:"The same each time the message is sent."`
	Type  string    `json:"type"`
	At    time.Time `json:"at" doc:"When it was delivered, put aside or, while it waits, recorded."`
	Error string    `json:"error,omitempty"`
}

// TargetDetail is a target with the messages behind it, at most twenty of each sort.
type TargetDetail struct {
	Target
	Last    []Delivery `json:"last" doc:"Delivered, the newest first."`
	Waiting []Delivery `json:"waiting" doc:"What goes next, in its order."`
	Put     []Delivery `json:"putAside" doc:"Refused by the receiver and put aside, the oldest first."`
}

// TargetOutcome is what became of a test, or of sending again.
type TargetOutcome struct {
	Target    string `json:"target"`
	State     string `json:"state" enum:"done,failed,asked" doc:"asked: the process that delivers does it with its next step."`
	Delivered int    `json:"delivered" doc:"Messages that had been put aside and arrived now."`
	Error     string `json:"error,omitempty" doc:"Why the message did not arrive."`
}
