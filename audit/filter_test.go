package audit_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/audit"
)

func TestFilterGrammar(t *testing.T) {
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	e := audit.Entry{
		Index: 41, Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), Actor: audit.Actor{Kind: "user", ID: "u-1", Roles: []string{"engineer", "responder"}},
		Action: "value.reveal", Decision: audit.Allow, Policies: []string{"engineer-reveal"}, Outcome: audit.Done, Finding: "f-1", Occurrences: []int{1, 2},
		Reason: "audit", Detail: map[string]string{"network": "10.0.0.7", "networkClass": "private", "session": "s-1"},
	}
	for pairs, want := range map[string]bool{
		"":                                 true,
		"action=value.reveal":              true,
		"action=value.*":                   true,
		"action=value":                     false,
		"action=remedy.*,value.*":          true,
		"action!=remedy.*":                 true,
		"action!=value.*":                  false,
		"actor=u-1 actor=u-2":              true,
		"actor=u-2":                        false,
		"role=responder":                   true,
		"role!=responder":                  false,
		"role=":                            false,
		"policy=engineer-reveal":           true,
		"plan=":                            true,
		"plan!=":                           false,
		"outcome!=intent outcome!=denied":  true,
		"decision=deny":                    false,
		"time=2026-03-01":                  true,
		"time=2026-03-02":                  false,
		"time.gte=-7d":                     true,
		"time.gte=-6d":                     false,
		"time.lt=2026-03-01T12:00:00Z":     false,
		"time.gt=2026-03-01T12:00:00Z":     true,
		"time.lte=2026-03-01":              true,
		"index.gte=41 index.lt=42":         true,
		"index=40":                         false,
		"occurrences.gt=1":                 true,
		"occurrences.gt=2":                 false,
		"network=10.*":                     true,
		"networkClass=public":              false,
		"session=s-1 reason=audit,legal":   true,
		"finding=f-1 action=value.search":  false,
		`finding=a\,b,f-1 kind!=operator`:  true,
		"ticket!= action=value.*":          false,
		"request=req-* action=value.*":     false,
		"purpose= grant= token= step= ":    true,
		"writer= policyHash= object=":      true,
		"time.gte=2026-03-01 index.gte=42": false,
	} {
		f, err := audit.ParseFilter(now, strings.Fields(pairs)...)
		if err != nil {
			t.Fatalf("%s: %v", pairs, err)
		}
		if f.Match(&e) != want {
			t.Errorf("%s: %v", pairs, !want)
		}
		q := url.Values{"limit": {"7"}}
		for _, p := range strings.Fields(pairs) {
			left, right, _ := strings.Cut(p, "=")
			q.Add(left, right)
		}
		if g, err := audit.FilterOf(now, q, "limit"); err != nil || g.Match(&e) != want {
			t.Errorf("%s as a query: %v", pairs, err)
		}
	}
	for _, bad := range []string{
		"action", "secret-1=2", "action.gte=a", "time!=2026-03-01", "time=-7d", "time=secret-1", "index=secret-1", "index!=1", "outcome=secret-1", "action.x=1", "a.b!=1",
		"decision=", "index=-1",
	} {
		if _, err := audit.ParseFilter(now, bad); !errors.Is(err, coffer.ErrInvalid) || strings.Contains(err.Error(), "secret-1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
