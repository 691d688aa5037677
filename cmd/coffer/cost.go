package main

import (
	"fmt"
	"os"

	"coffer"
	"coffer/cost"
)

type costCmd struct {
	Prices string `help:"File of prices in place of those that come with the program; docs/cost.md says how it looks." placeholder:"FILE" type:"existingfile"`
}

// Help is the long help of the command.
func (costCmd) Help() string {
	return "For a finding, a reveal, a fix, an idle month and three sizes of customer, by service. The calls are those that the tests counted; how long " +
		"functions run is assumed. It is an estimate and no bill, and the prices have to be checked."
}

func (c *costCmd) Run(e *env) error {
	p := cost.Default()
	if c.Prices != "" {
		b, err := os.ReadFile(c.Prices)
		if err != nil {
			return fmt.Errorf("prices: %w: %w", coffer.ErrUnavailable, err)
		}
		if p, err = cost.ParsePrices(b); err != nil {
			return err
		}
	}
	t := e.out.table(-1, "FOR", "SERVICE", "USD")
	sum := map[string]float64{}
	lines := cost.Estimate(p)
	for i, l := range lines {
		sum[l.For] += l.USD
		if e.JSON {
			if err := e.out.element(l); err != nil {
				return err
			}
			continue
		}
		t.row(l.For, l.Service, fmt.Sprintf("%.6f", l.USD))
		if i+1 == len(lines) || lines[i+1].For != l.For {
			t.row(l.For, "all", fmt.Sprintf("%.6f", sum[l.For]))
		}
	}
	if e.JSON {
		return nil
	}
	t.print()
	e.out.say("Prices of %s, %s, from %s. %s", p.Date, p.Region, p.Source, p.Note)
	return nil
}
