package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"coffer"
)

// EventSource and EventDetail are the source and, before the type of the message, the detail-type of Coffer's events on a bus.
const (
	EventSource = "coffer"
	EventDetail = "Coffer "
)

// maxPut is how many events PutEvents takes.
const maxPut = 10

// bus puts events on an EventBridge bus.
type bus struct {
	choice
	target Target
	open   func(context.Context, Target) (aws.Config, error)
	now    func() time.Time

	mu     sync.Mutex
	client *eventbridge.Client // on first use
}

func (b *bus) most() int { return maxPut }

func (b *bus) dial(ctx context.Context) (*eventbridge.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil {
		c, err := b.open(ctx, b.target)
		if err != nil {
			return nil, outage("AWS configuration", err)
		}
		b.client = eventbridge.NewFromConfig(c, func(o *eventbridge.Options) {
			if b.target.Endpoint != "" {
				o.BaseEndpoint = aws.String(b.target.Endpoint)
			}
		})
	}
	return b.client, nil
}

// outage is an error that trying again later may cure. The text of the SDK's errors is left out: it repeats what was sent.
func outage(what string, err error) error {
	var code interface{ ErrorCode() string }
	if errors.As(err, &code) {
		return fmt.Errorf("%s: %s: %w", what, tell(code.ErrorCode()), coffer.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", what, coffer.ErrUnavailable)
}

func (b *bus) entry(m *Message) (types.PutEventsRequestEntry, error) {
	detail, err := json.Marshal(m)
	if err != nil {
		return types.PutEventsRequestEntry{}, fmt.Errorf("message: %w", coffer.ErrInvalid)
	}
	x := types.PutEventsRequestEntry{
		Source: aws.String(EventSource), DetailType: aws.String(EventDetail + m.Type), Detail: aws.String(string(detail)), Time: aws.Time(m.Time),
	}
	if b.target.Bus != "" {
		x.EventBusName = aws.String(b.target.Bus)
	}
	return x, nil
}

// send puts events in one call. Some may be taken and others not: the call is repeated, once, for those alone, and what is delivered
// then ends before the first that is missing. Those behind it come again, under the same ids.
func (b *bus) send(ctx context.Context, events []event) (int, error) {
	client, err := b.dial(ctx)
	if err != nil {
		return 0, err
	}
	var entries []types.PutEventsRequestEntry
	open := []int{} // which events the entries are
	for i := range events {
		x, err := b.entry(&events[i].Message)
		if err != nil {
			return 0, err
		}
		entries, open = append(entries, x), append(open, i)
	}
	var failed string
	for range 2 {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		out, err := client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
		cancel()
		if err != nil {
			return open[0], outage("PutEvents", err)
		}
		if len(out.Entries) != len(entries) {
			return open[0], fmt.Errorf("PutEvents: an answer for other events: %w", coffer.ErrUnavailable)
		}
		var left []types.PutEventsRequestEntry
		var still []int
		for i, r := range out.Entries {
			if r.ErrorCode != nil || r.EventId == nil {
				if len(left) == 0 {
					failed = aws.ToString(r.ErrorCode)
				}
				left, still = append(left, entries[i]), append(still, open[i])
			}
		}
		if entries, open = left, still; len(entries) == 0 {
			return len(events), nil
		}
	}
	kind := coffer.ErrUnavailable
	if failed == "InvalidArgument" || failed == "MalformedDetail" {
		kind = coffer.ErrInvalid
	}
	return open[0], fmt.Errorf("PutEvents: %s: %w", tell(failed), kind)
}

func (b *bus) probe(ctx context.Context) error {
	_, err := b.send(ctx, []event{{Message: probeMessage(b.now())}})
	return err
}
