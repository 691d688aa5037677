// Package cost says what Coffer costs on AWS: by service, for a finding, a fix and a month, from the calls that the tests counted (counts.json,
// which deploy's TestCounts compares with the code) and prices of a dated file (prices.json) that whoever asks can replace. Memory and duration
// of functions are assumptions and stand in the answer. It is an estimate and no bill.
package cost

import (
	"bytes"
	_ "embed" // the two files
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coffer"
)

//go:embed prices.json
var defaultPrices []byte

//go:embed counts.json
var counted []byte

// Prices are what units cost, at a date, in a Region.
type Prices struct {
	Date     string           `json:"date"`
	Region   string           `json:"region"`
	Currency string           `json:"currency"`
	Note     string           `json:"note"`
	Source   string           `json:"source"`
	Prices   map[string]Price `json:"prices"`
}

// Price is that of one unit.
type Price struct {
	USD  float64 `json:"usd"`
	Unit string  `json:"unit"`
}

// Default are the prices that come with the program.
func Default() Prices {
	p, err := ParsePrices(defaultPrices)
	if err != nil {
		panic("internal error: " + err.Error()) // the file is compiled in and tested
	}
	return p
}

// ParsePrices reads a file of prices. One that lacks a price, or has one below zero or unknown, or no date or source, gives coffer.ErrInvalid.
func ParsePrices(b []byte) (p Prices, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fmt.Errorf("prices: %v: %w", err, coffer.ErrInvalid)
	}
	if p.Date == "" || p.Source == "" || p.Region == "" {
		return p, fmt.Errorf("prices: date, region and source say what they are: %w", coffer.ErrInvalid)
	}
	for _, n := range needed {
		if _, ok := p.Prices[n]; !ok {
			return p, fmt.Errorf("prices: %s is missing: %w", n, coffer.ErrInvalid)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(p.Prices)) {
		if !slices.Contains(needed, n) || p.Prices[n].USD < 0 {
			return p, fmt.Errorf("prices: %q is no price of this program, or below zero: %w", n, coffer.ErrInvalid)
		}
	}
	return p, nil
}

var needed = []string{
	"lambda.request", "lambda.gbsecond", "s3.put", "s3.get", "s3.gbmonth", "kms.request", "kms.keymonth", "dynamodb.write", "dynamodb.read",
	"dynamodb.gbmonth", "sqs.request", "secretsmanager.month", "cloudwatch.alarmmonth", "cloudwatch.dashmonth",
}

// Counts are the billed units of each step: "seal", "reveal", "plan", "apply", "purge", "log", as the tests counted them for a finding of
// MoonTrust with a small object.
func Counts() map[string]map[string]float64 {
	var c map[string]map[string]float64
	if err := json.Unmarshal(counted, &c); err != nil {
		panic("internal error: " + err.Error()) // the file is compiled in and tested
	}
	return c
}

// lambda is what a step is assumed to take in a function: seconds and GB.
var lambda = map[string]struct{ seconds, gb float64 }{
	"seal": {1, 1}, "reveal": {0.2, 1}, "plan": {1, 2}, "apply": {2, 2}, "purge": {1, 2}, "log": {0.5, 1},
}

// Size is a customer.
type Size struct {
	Name     string  `json:"name"`
	Findings float64 `json:"findings"` // in a month
	Reveals  float64 `json:"reveals"`
	Fixes    float64 `json:"fixes"`
	KeptGB   float64 `json:"keptGB"` // of originals in their grace period
}

// Sizes are three customers: a team, a bank, a group.
var Sizes = []Size{{"small", 1_000, 200, 500, 5}, {"medium", 50_000, 5_000, 20_000, 200}, {"large", 1_000_000, 50_000, 300_000, 5_000}}

// Line is what one service costs for one thing.
type Line struct {
	For     string  `json:"for"` // "finding", "reveal", "fix", "installation, a month", or a size
	Service string  `json:"service"`
	USD     float64 `json:"usd"`
}

// Estimate returns the costs by service, for a finding (sealed and tagged), a reveal, a fix (planned, applied, purged), an installation that
// nobody uses for a month, and each of the sizes.
func Estimate(p Prices) []Line {
	counts := Counts()
	of := func(steps ...string) map[string]float64 {
		by := map[string]float64{}
		for _, s := range steps {
			for unit, n := range counts[s] {
				by[service(unit)] += n * p.Prices[unit].USD
			}
			l := lambda[s]
			by["lambda"] += p.Prices["lambda.request"].USD + l.seconds*l.gb*p.Prices["lambda.gbsecond"].USD
		}
		return by
	}
	finding, reveal, fix := of("seal"), of("reveal"), of("plan", "apply", "purge")
	// A message is sent, received and deleted; pollers ask four times a second at most, which the fixed costs have.
	finding["sqs"] += 3 * p.Prices["sqs.request"].USD
	fix["sqs"] += 9 * p.Prices["sqs.request"].USD
	const minutes = 30 * 24 * 60
	idle := map[string]float64{}
	for s, usd := range of("log") {
		idle[s] += usd * minutes // as if each minute had something to order: less when quiet
	}
	idle["kms"] += 3 * p.Prices["kms.keymonth"].USD
	idle["secretsmanager"] += p.Prices["secretsmanager.month"].USD
	idle["cloudwatch"] += 13*p.Prices["cloudwatch.alarmmonth"].USD + p.Prices["cloudwatch.dashmonth"].USD
	idle["sqs"] += 2 * 5 * minutes * 3 * p.Prices["sqs.request"].USD // five pollers on two queues, each waiting up to 20 seconds
	var out []Line
	say := func(what string, by map[string]float64) {
		for _, s := range slices.Sorted(maps.Keys(by)) {
			out = append(out, Line{what, s, by[s]})
		}
	}
	say("finding", finding)
	say("reveal", reveal)
	say("fix", fix)
	say("installation, a month", idle)
	for _, z := range Sizes {
		by := maps.Clone(idle)
		for _, part := range []struct {
			n  float64
			by map[string]float64
		}{{z.Findings, finding}, {z.Reveals, reveal}, {z.Fixes, fix}} {
			for s, usd := range part.by {
				by[s] += part.n * usd
			}
		}
		by["s3"] += z.KeptGB * p.Prices["s3.gbmonth"].USD
		by["dynamodb"] += z.Findings * 12 * 10e3 / 1e9 * p.Prices["dynamodb.gbmonth"].USD // a year of findings, 10 KB each
		say(z.Name+", a month", by)
	}
	return out
}

func service(unit string) string {
	s, _, _ := strings.Cut(unit, ".")
	return s
}
