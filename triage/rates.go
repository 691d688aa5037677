package triage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// Rate is how often the identifier of a type was wrong. One judgement is one type in one finding, however many occurrences it has
// there: they are of one making, and counting each would make the interval look sure of itself.
type Rate struct {
	Type           coffer.DataType `json:"type"`
	Judged         int             `json:"judged"`
	FalsePositives int             `json:"falsePositives"`
	// Low and High are the 95 % Wilson score interval of the true rate. It holds for few judgements, too, as long as what was judged
	// was not chosen because it looked wrong.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Suppression proposes a rule by which Macie archives findings of one kind in one place by itself. Macie does not publish what a rule
// archives, so nothing of it reaches Coffer any more.
type Suppression struct {
	Type     coffer.DataType `json:"type"`
	Bucket   string          `json:"bucket"`
	Prefix   string          `json:"prefix"`           // of the keys, up to a "/"; empty: the whole bucket
	Region   string          `json:"region,omitempty"` // where the rule is to be made
	Findings int             `json:"findings"`         // that were judged a false positive there; no other judgement was made
	Covers   int             `json:"covers"`           // findings that the rule would have archived, judged or not
	// Input is the request of Macie's CreateFindingsFilter.
	Input FindingsFilter `json:"input"`
}

// FindingsFilter is CreateFindingsFilterInput of Macie's API, as far as a proposal has it.
type FindingsFilter struct {
	Name            string `json:"name"`
	Description     string `json:"description"`
	Action          string `json:"action"` // ARCHIVE
	FindingCriteria struct {
		Criterion map[string]Criterion `json:"criterion"`
	} `json:"findingCriteria"`
}

// Criterion is CriterionAdditionalProperties of Macie's API.
type Criterion struct {
	Eq           []string `json:"eq,omitempty"`
	EqExactMatch []string `json:"eqExactMatch,omitempty"`
}

// Command returns the command that makes the rule, for a POSIX shell.
func (s *Suppression) Command() string {
	c := "aws macie2 create-findings-filter"
	if s.Region != "" {
		c += " --region " + quote(s.Region)
	}
	return c + " --cli-input-json " + quote(string(encode(s.Input)))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Review is what the verdicts say about the identifiers.
type Review struct {
	Rates        []Rate        `json:"rates"`        // of all types that were judged, the worst first
	Suppressions []Suppression `json:"suppressions"` // the ones that cover most first
}

const (
	// suppressLeast is how many false positives in a place are a pattern.
	suppressLeast = 3
	// suppressKeys is how many keys a rule names. Macie compares whole values, so a rule for a folder has to.
	suppressKeys = 50
	z95          = 1.959963984540054 // the 97.5 % quantile of the normal distribution
)

// FalsePositives returns how often each identifier was wrong in the findings that the filter selects, and proposes suppression rules for
// places where all that was judged was wrong. It holds no values: a rule names identifier, bucket and, where it is not for the whole
// bucket, keys, which lists show, too.
//
// It proposes no allow list. The list of exact texts that Macie takes would be a file of the reported values in plain, in a bucket; and
// a regular expression made from values that nobody looked at would let true ones pass.
func (d *Desk) FalsePositives(ctx context.Context, ask access.Ask, f Filter) (*Review, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	page, err := d.Index().Query(ctx, Query{Filter: f, Now: d.Now()})
	if err != nil {
		return nil, err
	}
	if page.Lag != nil {
		return nil, page.Lag
	}
	return review(page.Findings), d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

func review(findings []Summary) *Review {
	rates := map[string]*Rate{}
	for i := range findings {
		s := &findings[i]
		count := func(types []coffer.DataType, wrong int) {
			for _, t := range types {
				r := rates[string(t)]
				if r == nil {
					r = &Rate{Type: t}
					rates[string(t)] = r
				}
				r.Judged++
				r.FalsePositives += wrong
			}
		}
		count(s.FalsePositives, 1)
		count(s.Confirmed, 0)
	}
	out := &Review{Rates: []Rate{}, Suppressions: []Suppression{}}
	for _, t := range sortedKeys(rates) {
		r := rates[t]
		r.Low, r.High = wilson(r.FalsePositives, r.Judged)
		out.Rates = append(out.Rates, *r)
		out.Suppressions = append(out.Suppressions, suppressions(r.Type, findings)...)
	}
	slices.SortStableFunc(out.Rates, func(a, b Rate) int {
		switch {
		case a.Low > b.Low:
			return -1
		case a.Low < b.Low:
			return 1
		}
		return 0
	})
	slices.SortStableFunc(out.Suppressions, func(a, b Suppression) int { return b.Covers - a.Covers })
	return out
}

// wilson returns the 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927).
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	p, m := float64(k)/float64(n), float64(n)
	mid := p + z95*z95/(2*m)
	half := z95 * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	below := 1 + z95*z95/m
	return max(0, (mid-half)/below), min(1, (mid+half)/below)
}

// suppressions proposes the widest places in which a type was judged wrong, often enough and every time. Findings with other types
// beside it do not count: the rules do not touch them.
func suppressions(t coffer.DataType, findings []Summary) []Suppression {
	type place struct{ bucket, prefix string }
	type tally struct {
		wrong, right int
		findings     []*Summary
	}
	places := map[place]*tally{}
	for i := range findings {
		s := &findings[i]
		if len(s.Types) != 1 || s.Types[0] != t {
			continue
		}
		for _, prefix := range prefixes(s.Object.Key) {
			p := place{s.Object.Bucket, prefix}
			if places[p] == nil {
				places[p] = &tally{}
			}
			n := places[p]
			n.findings = append(n.findings, s)
			n.wrong += len(s.FalsePositives)
			n.right += len(s.Confirmed)
		}
	}
	good := func(p place) bool { n := places[p]; return n != nil && n.wrong >= suppressLeast && n.right == 0 }
	var out []Suppression
	for p, n := range places {
		// The widest place says it all.
		if !good(p) || slices.ContainsFunc(prefixes(p.prefix), func(prefix string) bool {
			return len(prefix) < len(p.prefix) && good(place{p.bucket, prefix})
		}) {
			continue
		}
		s := Suppression{Type: t, Bucket: p.bucket, Prefix: p.prefix, Region: n.findings[0].Region, Findings: n.wrong, Covers: len(n.findings)}
		field := "classificationDetails.result.sensitiveData.detections.type"
		if strings.HasSuffix(n.findings[0].Type, "/CustomIdentifier") {
			field = "classificationDetails.result.customDataIdentifiers.detections.name"
		}
		// The findings' own type keeps the rule from those that have something else beside this identifier: a custom one beside a managed
		// one, or a second category, makes another type of the finding.
		var kinds []string
		for _, f := range n.findings {
			kinds = append(kinds, f.Type)
		}
		slices.Sort(kinds)
		c := map[string]Criterion{
			"type":                            {Eq: slices.Compact(kinds)},
			field:                             {EqExactMatch: []string{string(t)}},
			"resourcesAffected.s3Bucket.name": {Eq: []string{p.bucket}},
		}
		if p.prefix != "" {
			var keys []string
			for _, f := range n.findings {
				keys = append(keys, f.Object.Key)
			}
			slices.Sort(keys)
			if keys = slices.Compact(keys); len(keys) > suppressKeys {
				continue
			}
			c["resourcesAffected.s3Object.key"] = Criterion{Eq: keys}
		}
		sum := sha256.Sum256([]byte(string(t) + "\x00" + p.bucket + "\x00" + p.prefix))
		s.Input = FindingsFilter{
			Name: "coffer-false-positives-" + hex.EncodeToString(sum[:4]), Action: "ARCHIVE",
			Description: fmt.Sprintf("%d findings of this kind were judged false positives, none a true one.", n.wrong),
		}
		s.Input.FindingCriteria.Criterion = c
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Suppression) int { return strings.Compare(a.Bucket+"/"+a.Prefix, b.Bucket+"/"+b.Prefix) })
	return out
}

// prefixes returns the folders that a key is in, from none to the last.
func prefixes(key string) []string {
	out := []string{""}
	for i := range len(key) {
		if key[i] == '/' && i+1 < len(key) {
			out = append(out, key[:i+1])
		}
	}
	return out
}
