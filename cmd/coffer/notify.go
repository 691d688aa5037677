package main

import (
	"fmt"
	"time"
)

type notifyCmd struct {
	List  notifyListCmd  `cmd:"" help:"List the targets with how far each is, what failed and what was put aside."`
	Test  notifyTestCmd  `cmd:"" help:"Send a test message to a target; where that would change something, ask whether it can be used."`
	Retry notifyRetryCmd `cmd:"" help:"Send the messages that a target refused again, and end the wait of one that was down."`
}

type notifyListCmd struct{}

func (notifyListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	list, err := a.Notifier.List(e.ctx, e.ask())
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
		t.row(s.Target, string(s.Kind), s.State, fmt.Sprint(s.Behind), fmt.Sprint(s.Sent), fmt.Sprint(s.Dead), next, s.Error)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type notifyTestCmd struct {
	Target string `arg:"" help:"Name of the target in config.yaml."`
}

func (c *notifyTestCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	if err := a.Notifier.Test(e.ctx, e.ask(), c.Target); err != nil {
		return fmt.Errorf("target %s: %w", c.Target, err)
	}
	if e.JSON {
		return e.out.element(map[string]any{"target": c.Target, "ok": true})
	}
	e.out.say("%s works.", c.Target)
	return nil
}

type notifyRetryCmd struct {
	Target string `arg:"" help:"Name of the target in config.yaml."`
}

func (c *notifyRetryCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	n, err := a.Notifier.Retry(e.ctx, e.ask(), c.Target)
	if err != nil {
		return fmt.Errorf("target %s: %d were delivered: %w", c.Target, n, err)
	}
	if e.JSON {
		return e.out.element(map[string]any{"target": c.Target, "delivered": n})
	}
	e.out.say("%s delivered; what is new goes with coffer serve.", plural(n, "message"))
	return nil
}
