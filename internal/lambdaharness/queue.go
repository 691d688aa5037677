package lambdaharness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Mapping is an event source mapping from a queue to a function.
type Mapping struct {
	SQS      *sqs.Client
	URL      string
	Function *Function
	Batch    int32 // messages at most; 0: 10
	// WholeBatches says that FunctionResponseTypes lacks ReportBatchItemFailures: what the function answers is not looked at.
	WholeBatches bool
	// Reverse has the messages of a batch come in the wrong order, and Twice some of them again in the next one although they were deleted.
	Reverse, Twice bool
	// Answer, if set, sees each answer of the function, or its error.
	Answer func(payload []byte, err error)

	again  []types.Message
	hidden []types.Message // received, and not deleted
}

// Poll takes one batch to the function and returns how many messages were in it, and how many of them it was done with. Those that it was not
// done with stay in the queue, hidden as long as its visibility timeout says.
func (m *Mapping) Poll(ctx context.Context) (got, deleted int, err error) {
	batch := m.Batch
	if batch == 0 {
		batch = 10
	}
	out, err := m.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &m.URL, MaxNumberOfMessages: batch, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return 0, 0, err
	}
	m.hidden = append(m.hidden, out.Messages...)
	messages := append(m.again, out.Messages...)
	m.again = nil
	if m.Twice && len(out.Messages) > 0 {
		m.again = out.Messages[:1]
	}
	if len(messages) == 0 {
		return 0, 0, nil
	}
	if m.Reverse {
		slices.Reverse(messages)
	}
	event := events.SQSEvent{}
	for _, x := range messages {
		event.Records = append(event.Records, events.SQSMessage{
			MessageId: *x.MessageId, ReceiptHandle: *x.ReceiptHandle, Body: aws.ToString(x.Body), Md5OfBody: aws.ToString(x.MD5OfBody),
			Attributes: x.Attributes, EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:" + Region + ":" + Account + ":queue", AWSRegion: Region,
		})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return 0, 0, err
	}
	answer, ferr := m.Function.Invoke(payload)
	if m.Answer != nil {
		m.Answer(answer, ferr)
	}
	ids := make([]string, len(messages))
	for i, x := range messages {
		ids[i] = *x.MessageId
	}
	failed := ids
	if ferr == nil {
		failed = Failures(answer, ids, m.WholeBatches)
	}
	var done []types.DeleteMessageBatchRequestEntry
	for i, x := range messages {
		if !slices.Contains(failed, *x.MessageId) {
			done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: x.ReceiptHandle})
		}
	}
	for part := range slices.Chunk(done, 10) {
		if _, err := m.SQS.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &m.URL, Entries: part}); err != nil {
			return len(messages), deleted, fmt.Errorf("delete what is done: %w", err)
		}
		deleted += len(part)
	}
	m.hidden = slices.DeleteFunc(m.hidden, func(x types.Message) bool {
		return !slices.Contains(failed, *x.MessageId) && slices.Contains(ids, *x.MessageId)
	})
	return len(messages), deleted, nil
}

// Lapse has the visibility timeouts end of the messages that came and were not deleted, as time does, and returns how many these were. The
// queue counts each time that a message comes, and moves it to its dead letters after as many as its redrive policy allows.
func (m *Mapping) Lapse(ctx context.Context) (int, error) {
	n := len(m.hidden)
	for _, x := range m.hidden {
		_, err := m.SQS.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &m.URL, ReceiptHandle: x.ReceiptHandle, VisibilityTimeout: 0})
		var gone *types.MessageNotInflight
		if err != nil && !errors.As(err, &gone) {
			return 0, fmt.Errorf("visibility: %w", err)
		}
	}
	m.hidden = nil
	return n, nil
}

// Failures returns the ids of a batch that come again after an answer: none for an empty or null answer or list, all for one that is no JSON
// or that names an empty or unknown id.
func Failures(answer []byte, ids []string, whole bool) []string {
	if whole || len(answer) == 0 {
		return nil
	}
	var a *struct {
		BatchItemFailures []struct {
			ItemIdentifier *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return ids
	}
	if a == nil {
		return nil
	}
	var failed []string
	for _, f := range a.BatchItemFailures {
		if f.ItemIdentifier == nil || *f.ItemIdentifier == "" || !slices.Contains(ids, *f.ItemIdentifier) {
			return ids
		}
		failed = append(failed, *f.ItemIdentifier)
	}
	return failed
}
