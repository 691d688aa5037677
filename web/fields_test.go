package web_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// paths collects the members of a JSON value, those of lists as one.
func paths(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			paths(x, at+"."+k, into)
		}
	case []any:
		for _, x := range v {
			paths(x, at+"[]", into)
		}
	default:
		into[at] = true
	}
}

// TestFieldsByRole compares what each role gets to see, member by member, with a list that is changed on purpose or not at all.
func TestFieldsByRole(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for _, role := range []string{"engineer", "approver", "auditor", "privacy-officer", "responder", "platform", "service", "nobody"} {
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/v1/findings?finding=" + w.one(), ""}, {"GET", "/v1/findings/" + w.one(), ""}, {"POST", "/v1/findings/" + w.one() + "/reveal", `{` + reason + `}`},
			{"POST", "/v1/objects/query", `{"bucket":"moontrust-statements","key":"web/receipt.html"}`}, {"GET", "/v1/audit/checkpoint", ""}, {"GET", "/v1/keys", ""},
		} {
			rec := w.send(r.method, r.path, role+"/user", r.body)
			fmt.Fprintf(&b, "%s %s %s: %d\n", role, r.method, strings.ReplaceAll(r.path, w.one(), "ID"), rec.Code)
			var v any
			if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
				t.Fatal(err)
			}
			into := map[string]bool{}
			paths(v, "", into)
			var all []string
			for p := range into {
				all = append(all, p)
			}
			slices.Sort(all)
			for _, p := range all {
				fmt.Fprintf(&b, "\t%s\n", p)
			}
		}
	}
	const golden = "testdata/fields.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("what roles see is not what %s says; look at each difference, then run with -update:\n%s", golden, b.String())
	}
}
