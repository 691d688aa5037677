package main

import (
	"coffer/access"
	"coffer/api"
	"coffer/app"
)

type doctorCmd struct{}

// Help is the long help of the command.
func (doctorCmd) Help() string {
	return "Looks at configuration, modes, keys, log, clock, disk, objects, policies, plans and jobs, and says what to do. It exits 1 only if " +
		"something fails. What the store claims about values and objects is for coffer check."
}

func (doctorCmd) Run(e *env) error {
	found, err := e.diagnose()
	if err != nil {
		return err
	}
	failed := false
	for _, x := range found {
		failed = failed || x.Level == string(app.Fail)
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
	if failed {
		return &quietError{}
	}
	return nil
}

// diagnose looks at the installation. On its own machine that is possible even where it cannot be opened.
func (e *env) diagnose() ([]api.Diagnosis, error) {
	if e.Server != "" {
		cl, err := e.client()
		if err != nil {
			return nil, err
		}
		return cl.Diagnose(e.ctx)
	}
	var out []api.Diagnosis
	for _, d := range app.Diagnose(e.ctx, app.Options{Home: e.Home}, func() (*app.App, access.Ask, error) {
		a, err := e.open()
		if err != nil {
			return nil, access.Ask{}, err
		}
		return a, e.ask(), nil
	}) {
		out = append(out, api.Diagnosis{About: d.About, Level: string(d.Level), Found: d.Found, Do: d.Do})
	}
	return out, nil
}
