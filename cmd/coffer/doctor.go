package main

import (
	"coffer/access"
	"coffer/app"
)

type doctorCmd struct{}

// Help is the long help of the command.
func (doctorCmd) Help() string {
	return "Looks at configuration, modes, keys, log, clock, disk, objects, policies, plans and jobs, and says what to do. It exits 1 only if " +
		"something fails. What the store claims about values and objects is for coffer check."
}

func (doctorCmd) Run(e *env) error {
	found := app.Diagnose(e.ctx, app.Options{Home: e.Home}, func() (*app.App, access.Ask, error) {
		a, err := e.open()
		if err != nil {
			return nil, access.Ask{}, err
		}
		return a, e.ask(), nil
	})
	for _, x := range found {
		if e.JSON {
			if err := e.out.element(x); err != nil {
				return err
			}
			continue
		}
		e.out.say("%-5s %-13s %s", x.Level, x.About, safe(x.Found))
		if x.Do != "" {
			e.out.say("%20s%s", "", safe(x.Do))
		}
	}
	if app.Worst(found) == app.Fail {
		return &quietError{}
	}
	return nil
}
