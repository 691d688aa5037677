package main

import (
	"fmt"

	"coffer/app"

	"go.yaml.in/yaml/v3"
)

type configCmd struct {
	Show  configShowCmd  `cmd:"" help:"Show the configuration in force."`
	Check configCheckCmd `cmd:"" help:"Check config.yaml without opening anything."`
}

func (e *env) home() (string, error) {
	if e.Home != "" {
		return e.Home, nil
	}
	return app.DefaultHome()
}

type configShowCmd struct{}

func (configShowCmd) Run(e *env) error {
	home, err := e.home()
	if err != nil {
		return err
	}
	c, err := app.ReadConfig(home)
	if err != nil {
		return err
	}
	c = c.Defaults()
	if e.JSON {
		return e.out.element(map[string]any{"home": home, "config": c})
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "# %s/config.yaml, with defaults\n%s", home, b)
	return nil
}

type configCheckCmd struct{}

func (configCheckCmd) Run(e *env) error {
	home, err := e.home()
	if err != nil {
		return err
	}
	if _, err := app.ReadConfig(home); err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"home": home, "ok": true})
	}
	e.out.say("%s/config.yaml is well-formed.", home)
	return nil
}
