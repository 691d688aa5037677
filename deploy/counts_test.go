package deploy_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"coffer"
	"coffer/cost"
	"coffer/internal/awsmeter"
	"coffer/remedy"
)

// till counts what is paid for.
type till struct {
	mu    sync.Mutex
	units map[string]float64
}

func (c *till) add(what string, n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.units[what] += n
}

// over counts the requests that next answers. Units of DynamoDB are those of its developer guide: a write unit for each KB begun, two in a
// transaction; a read unit for each 4 KB begun of what is read consistently. Sizes are those of the JSON, which is larger than the items.
func (c *till) over(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body) // a broken request counts as a short one
		req.Body = io.NopCloser(bytes.NewReader(body))
		op := awsmeter.Name(req)
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // who asked may have gone
		ceil := func(n, of int) float64 { return float64(max(1, (n+of-1)/of)) }
		switch op.Service {
		case "kms":
			c.add("kms.request", 1)
		case "s3":
			switch {
			case req.Method == http.MethodDelete: // free
			case req.Method == http.MethodPut, req.Method == http.MethodPost, strings.HasPrefix(op.Name, "List"):
				c.add("s3.put", 1)
			default:
				c.add("s3.get", 1)
			}
		case "dynamodb":
			switch op.Name {
			case "GetItem", "Query", "Scan":
				c.add("dynamodb.read", ceil(answer.Body.Len(), 4096))
			case "PutItem", "DeleteItem":
				c.add("dynamodb.write", ceil(len(body), 1024))
			case "TransactWriteItems":
				var in struct{ TransactItems []json.RawMessage }
				_ = json.Unmarshal(body, &in) // the SDK wrote it
				for _, i := range in.TransactItems {
					c.add("dynamodb.write", 2*ceil(len(i), 1024))
				}
			}
		}
	})
}

// count runs one finding through its life and returns what each step is billed for.
func count(t *testing.T) map[string]map[string]float64 {
	c := newCloud(t)
	ctx := t.Context()
	paid := &till{units: map[string]float64{}}
	c.through = paid.over
	const table = "deploy-counts"
	if err := c.setup(table); err != nil {
		t.Fatal(err)
	}
	f := c.open("whole", table)
	f.Remedy.Verifier = f.Vault
	out := map[string]map[string]float64{}
	step := func(name string, do func() error) {
		t.Helper()
		paid.units = map[string]float64{}
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = paid.units
	}
	var id string
	step("seal", func() error {
		for doc, err := range macieDocuments(ctx, c.demo.Findings[0].Body) {
			if err != nil {
				return err
			}
			res, err := f.Pipeline.TakeDocument(ctx, f.ask(), doc, coffer.OriginMacie, "test")
			if err != nil {
				return err
			}
			if id = res.Finding; res.Sealed < 100 {
				// The first 15 of its values are in the event, the others in the discovery result.
				t.Errorf("%d values are sealed: %s; what is counted is a finding with hundreds", res.Sealed, res.Reason)
			}
			break
		}
		return nil
	})
	step("reveal", func() error { _, err := f.Vault.Reveal(ctx, f.ask(), id, 1); return err })
	var p *remedy.Plan
	step("plan", func() error {
		g, err := f.Remedy.Groups(ctx, id)
		if err == nil {
			p, err = f.Remedy.Plan(ctx, f.ask(), g[0], remedy.Options{Action: remedy.Redact})
		}
		return err
	})
	step("apply", func() error { _, err := f.Remedy.Apply(ctx, f.ask(), p.ID, remedy.Closing{}); return err })
	step("purge", func() error { _, err := f.Remedy.Purge(ctx, f.ask(), p.ID, remedy.PurgeOptions{}); return err })
	step("log", func() error { return f.Log.Sequence(ctx) })
	f.end()
	return out
}

// TestCounts: the counts behind `coffer cost` are those of today's code, give or take a tenth and two; with -update they are written anew.
func TestCounts(t *testing.T) {
	got := count(t)
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../cost/counts.json", append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for step, units := range cost.Counts() {
		for what, want := range units {
			if n := got[step][what]; n > want*1.1+2 || n < want*0.9-2 {
				t.Errorf("%s: %s %g, counts.json has %g; look at it and run with -update", step, what, n, want)
			}
		}
	}
}
