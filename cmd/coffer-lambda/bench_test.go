package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"coffer/app"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
)

// requestOf returns an event that each role answers without changing anything.
func (c *cloud) requestOf(r app.Role, taken []byte) []byte {
	c.Helper()
	var event any = struct{}{}
	switch r {
	case app.Intake: // a finding that is taken in already
		event = events.SQSEvent{Records: []events.SQSMessage{{MessageId: "again", EventSource: "aws:sqs", Body: string(taken)}}}
	case app.API:
		in := events.APIGatewayV2HTTPRequest{Version: "2.0", RawPath: "/v1/findings", Headers: map[string]string{
			"host": "coffer.example", "x-coffer-origin": secret,
		}}
		in.RequestContext.HTTP.Method, in.RequestContext.HTTP.SourceIP, in.RequestContext.Stage = "GET", "192.0.2.7", "$default"
		in.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
			IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{
				UserARN: "arn:aws:sts::" + lookalike.Account + ":assumed-role/engineer/alice",
			},
		}
		event = in
	}
	b, err := json.Marshal(event)
	if err != nil {
		c.Fatal(err)
	}
	return b
}

// spread is the distribution of durations.
type spread []time.Duration

func (s spread) at(q float64) time.Duration {
	slices.Sort(s)
	return s[int(q*float64(len(s)-1)+0.5)]
}

func (s spread) median() float64 { return float64(s.at(0.5).Microseconds()) / 1000 }

func (s spread) String() string {
	ms := func(q float64) string { return fmt.Sprintf("%.1f", float64(s.at(q).Microseconds())/1000) }
	return fmt.Sprintf("%s ms (%s to %s)", ms(0.5), ms(0.1), ms(0.9))
}

// BenchmarkColdStart starts the functions and an empty one in turns and reports how long each takes until it asks for its first event, and
// until the first event is answered, which opens the installation on servers of this machine. Beside that it says which packages take the
// longest to initialise. Run it with -benchtime 20x or more.
func BenchmarkColdStart(b *testing.B) {
	c := inCloud(b)
	event := c.put("cards.csv", "finding-1", cardList)
	c.send(app.Intake, string(event))
	c.drain(app.Intake)
	roles := []app.Role{app.Intake, app.API, app.Remedy, app.Verify, app.Schedule}
	functions := []*lambdaharness.Function{{Name: "empty", Binary: lambdaharness.Build(b, b.TempDir(), "../../internal/lambdaharness/testdata/empty")}}
	payloads := [][]byte{[]byte(`{}`)}
	for _, r := range roles {
		functions = append(functions, c.fn[r])
		payload := c.requestOf(r, event)
		if r == app.Remedy || r == app.Verify {
			payload = nil // what they are asked is others' to say; only their start is measured
		}
		payloads = append(payloads, payload)
	}
	inits, firsts := make([]spread, len(functions)), make([]spread, len(functions))
	for b.Loop() {
		for i, f := range functions {
			f.Kill()
			begun := time.Now()
			payload := payloads[i]
			if payload == nil {
				payload = []byte(`"no event of any kind"`)
			}
			_, err := f.Invoke(payload)
			if err != nil && payloads[i] != nil {
				b.Fatalf("%s: %v\n%s", f.Name, err, f.Said())
			}
			firsts[i] = append(firsts[i], time.Since(begun))
			all := f.Inits()
			inits[i] = append(inits[i], all[len(all)-1])
			f.Kill()
		}
	}
	for i, f := range functions {
		line := fmt.Sprintf("%-8s asks for its first event after %v", f.Name, inits[i])
		if payloads[i] != nil {
			line += fmt.Sprintf(", has answered it after %v", firsts[i])
		}
		fmt.Fprintln(os.Stdout, line)
	}
	b.ReportMetric(0, "ns/op") // the sum of all says nothing
	b.ReportMetric(inits[0].median(), "empty-ms")
	var worst float64
	for i := range roles {
		worst = max(worst, inits[i+1].median())
	}
	b.ReportMetric(worst, "coffer-ms")
	b.ReportMetric(worst-inits[0].median(), "more-ms")
	fmt.Fprint(os.Stdout, initialisation(b, c))
}

// initialisation starts a function with GODEBUG=inittrace=1 and returns what its packages take to initialise: the ten that take longest, all
// of Coffer, and the sum; each the median of five starts.
func initialisation(b *testing.B, c *cloud) string {
	took := map[string][]float64{} // milliseconds
	bytes := map[string]int{}
	const starts = 5
	for range starts {
		f := c.fn[app.API]
		g := &lambdaharness.Function{Name: f.Name, Binary: f.Binary, Env: append([]string{"GODEBUG=inittrace=1"}, f.Env...)}
		if _, err := g.Invoke(c.requestOf(app.API, nil)); err != nil {
			b.Fatal(err)
		}
		g.Kill()
		for line := range strings.Lines(g.Said()) {
			// init PACKAGE @T ms, N ms clock, N bytes, N allocs
			w := strings.Fields(line)
			if len(w) != 11 || w[0] != "init" {
				continue
			}
			ms, err := strconv.ParseFloat(w[4], 64)
			size, err2 := strconv.Atoi(w[7])
			if err != nil || err2 != nil {
				b.Fatalf("what GODEBUG=inittrace=1 says has another form: %q", line)
			}
			took[w[1]] = append(took[w[1]], ms)
			bytes[w[1]] = size
		}
	}
	type row struct {
		name string
		ms   float64
	}
	var rows []row
	var sum, own float64
	all := 0
	for name, ms := range took {
		slices.Sort(ms)
		r := row{name, ms[len(ms)/2]}
		rows = append(rows, r)
		sum += r.ms
		all += bytes[name]
		if name == "coffer" || strings.HasPrefix(name, "coffer/") {
			own += r.ms
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(b.ms, a.ms), cmp.Compare(a.name, b.name)) })
	var s strings.Builder
	fmt.Fprintf(&s, "initialisation of %d packages: %.1f ms, %d KB; of Coffer's own %.2f ms\n", len(rows), sum, all>>10, own)
	for _, r := range rows[:min(10, len(rows))] {
		fmt.Fprintf(&s, "%7.2f ms %5d KB  %s\n", r.ms, bytes[r.name]>>10, r.name)
	}
	return s.String()
}
