package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"coffer"
	"coffer/job"
)

// Wake is the message that tells a worker of a job. It is a hint and no order: the job itself, with who asked for it, is in the store, and
// whoever forges a message has a job taken up that waits anyway.
type Wake struct {
	Job string `json:"coffer.job"`
}

// ParseWake returns the message that a body holds; ok is false when it holds something else.
func ParseWake(body string) (w Wake, ok bool) {
	return w, json.Unmarshal([]byte(body), &w) == nil && strings.HasPrefix(w.Job, "job-") && len(w.Job) <= 64
}

// RoleOf is the role that does jobs of a kind.
func RoleOf(kind string) Role {
	switch {
	case strings.HasPrefix(kind, "remedy."):
		return Remedy
	case kind == "event.take":
		return Worker
	case strings.HasPrefix(kind, "event."), kind == "finding.relocate":
		return Intake
	}
	return API
}

// Queues tell the functions that do jobs of jobs that wait. It is safe for concurrent use.
type Queues struct {
	client *sqs.Client
	urls   map[Role]string
}

// OpenQueues opens the queues of the roles, by their URLs; nothing is called.
func (a *App) OpenQueues(ctx context.Context, urls map[Role]string) (*Queues, error) {
	for _, r := range slices.Sorted(maps.Keys(urls)) {
		if !strings.HasPrefix(urls[r], "https://") && !strings.HasPrefix(urls[r], "http://") {
			return nil, fmt.Errorf("the queue of %s is named by its URL: %w", r, coffer.ErrInvalid)
		}
	}
	c, err := a.aws(ctx, Spec{Scheme: "sqs"})
	if err != nil {
		return nil, err
	}
	return &Queues{client: sqs.NewFromConfig(c), urls: urls}, nil
}

// Wake tells the role that does jobs of this kind of a job. A role without a queue looks for what waits by itself.
func (q *Queues) Wake(ctx context.Context, j *job.Job) error {
	return q.Tell(ctx, RoleOf(j.Kind), j.ID)
}

// Tell tells a role of a job.
func (q *Queues) Tell(ctx context.Context, role Role, id string) error {
	url, ok := q.urls[role]
	if !ok {
		return nil
	}
	body, err := json.Marshal(Wake{Job: id})
	if err != nil {
		return err
	}
	if _, err := q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(string(body))}); err != nil {
		return fmt.Errorf("tell %s of a job: %w: %w", role, coffer.ErrUnavailable, err)
	}
	return nil
}

// Await waits up to 20 seconds for a message to a role and removes it: what it tells of is in the store. It returns at once, and without
// an error, when the role has no queue; told is false then, and when there was none.
func (q *Queues) Await(ctx context.Context, role Role) (told bool, err error) {
	url, ok := q.urls[role]
	if !ok {
		return false, nil
	}
	out, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20})
	if err != nil {
		return false, fmt.Errorf("queue of %s: %w: %w", role, coffer.ErrUnavailable, err)
	}
	for _, m := range out.Messages {
		if _, err := q.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return true, fmt.Errorf("queue of %s: %w: %w", role, coffer.ErrUnavailable, err)
		}
	}
	return len(out.Messages) > 0, nil
}
