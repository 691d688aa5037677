package main

import (
	"fmt"
	"strings"
	"time"

	"coffer"
	"coffer/api"
)

type notifyCmd struct {
	List  notifyListCmd  `cmd:"" help:"List the targets with how far each is, what failed and what was put aside."`
	Show  notifyShowCmd  `cmd:"" help:"Show what was delivered to a target, what waits and what was put aside."`
	Test  notifyTestCmd  `cmd:"" help:"Send a test message to a target; where that would change something, ask whether it can be used."`
	Retry notifyRetryCmd `cmd:"" help:"Send the messages that a target refused again, and end the wait of one that was down."`
}

type notifyListCmd struct{}

func (notifyListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	list, err := cl.Targets(e.ctx)
	if err != nil {
		return err
	}
	t := e.out.table(7, "TARGET", "KIND", "STATE", "BEHIND", "SENT", "DEAD", "NEXT TRY", "ERROR")
	for _, s := range list {
		if e.JSON {
			if err := e.out.element(s); err != nil {
				return err
			}
			continue
		}
		next := ""
		if !s.RetryAt.IsZero() {
			next = s.RetryAt.Local().Format(time.DateTime)
		}
		t.row(s.Target, s.Kind, s.State, fmt.Sprint(s.Behind), fmt.Sprint(s.Sent), fmt.Sprint(s.Dead), next, s.Error)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type notifyShowCmd struct {
	Target string `arg:"" help:"Name of the target in the configuration."`
}

func (c *notifyShowCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	d, err := cl.Target(e.ctx, c.Target)
	if err != nil {
		return e.named("target", c.Target, err)
	}
	if e.JSON {
		return e.out.element(d)
	}
	e.out.say("%s (%s): %s, %s delivered, %d put aside, %d entries behind.", d.Target.Target, d.Kind, d.State, plural(int(d.Sent), "message"), d.Dead, d.Behind)
	if d.Error != "" {
		e.out.say("The last delivery failed: %s.", d.Error)
	}
	if len(d.Asked) > 0 {
		e.out.say("Asked for, and done with the next delivery: %s.", strings.Join(d.Asked, ", "))
	}
	if !d.Tested.IsZero() {
		how := "it arrived"
		if d.TestError != "" {
			how = d.TestError
		}
		e.out.say("Tested %s: %s.", d.Tested.Local().Format(time.DateTime), how)
	}
	t := e.out.table(4, "", "ENTRY", "TIME", "TYPE", "ERROR")
	for _, part := range []struct {
		word string
		list []api.Delivery
	}{{"put aside", d.Put}, {"waits", d.Waiting}, {"delivered", d.Last}} {
		for _, x := range part.list {
			t.row(part.word, fmt.Sprint(x.Entry), x.At.Local().Format(time.DateTime), x.Type, x.Error)
		}
	}
	t.print()
	return nil
}

// ordered shows what became of a test or of sending again.
func (e *env) ordered(target string, out api.TargetOutcome, err error, done string) error {
	if err != nil {
		return e.named("target", target, err)
	}
	if e.JSON {
		err = e.out.element(out)
	}
	switch {
	case err != nil:
		return err
	case out.State == "failed":
		why := out.Error // which ends with a sentinel of the other side; here it means that the target cannot be used
		for _, is := range []error{coffer.ErrUnavailable, coffer.ErrInvalid, coffer.ErrDenied} {
			why = strings.TrimSuffix(why, ": "+is.Error())
		}
		return fmt.Errorf("target %s: %s: %w", target, why, coffer.ErrUnavailable)
	case e.JSON:
	case out.State == "asked":
		e.out.say("%s is asked for; what delivers does it with its next step: coffer notify show %s.", target, target)
	default:
		e.out.say("%s", done)
	}
	return nil
}

type notifyTestCmd struct {
	Target string `arg:"" help:"Name of the target in the configuration."`
}

func (c *notifyTestCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	out, err := cl.TestTarget(e.ctx, c.Target)
	return e.ordered(c.Target, out, err, c.Target+" works.")
}

type notifyRetryCmd struct {
	Target string `arg:"" help:"Name of the target in the configuration."`
}

func (c *notifyRetryCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	out, err := cl.RetryTarget(e.ctx, c.Target)
	return e.ordered(c.Target, out, err, plural(out.Delivered, "message")+" delivered; what is new goes with coffer serve.")
}
