package cost_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"coffer"
	"coffer/cost"
)

// TestEstimate: twice the price is twice the cost, and nothing that was counted is without one.
func TestEstimate(t *testing.T) {
	p := cost.Default()
	for step, units := range cost.Counts() {
		for u, n := range units {
			if _, ok := p.Prices[u]; !ok || n <= 0 {
				t.Errorf("%s: %g of %s", step, n, u)
			}
		}
	}
	once := cost.Estimate(p)
	double := cost.Default()
	for n, price := range double.Prices {
		price.USD *= 2
		double.Prices[n] = price
	}
	seen := map[string]bool{}
	for i, l := range cost.Estimate(double) {
		if l.USD <= 0 || l.USD < 1.999*once[i].USD || l.USD > 2.001*once[i].USD {
			t.Errorf("%s, %s: %g, at twice the prices %g", l.For, l.Service, once[i].USD, l.USD)
		}
		seen[l.For] = true
	}
	for _, want := range []string{"finding", "reveal", "fix", "installation, a month", "small, a month", "medium, a month", "large, a month"} {
		if !seen[want] {
			t.Errorf("nothing for %s", want)
		}
	}
}

func TestPrices(t *testing.T) {
	good, err := json.Marshal(cost.Default())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cost.ParsePrices(good); err != nil {
		t.Errorf("the file itself: %v", err)
	}
	for name, text := range map[string]string{
		"no JSON": "prices", "empty": "{}", "one missing": strings.Replace(string(good), "kms.request", "kms.requests", 1),
		"below zero": strings.Replace(string(good), `"usd":1,`, `"usd":-1,`, 1), "no date": strings.Replace(string(good), cost.Default().Date, "", 1),
	} {
		if _, err := cost.ParsePrices([]byte(text)); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
