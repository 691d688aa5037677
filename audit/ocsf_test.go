package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"coffer/access"
	"coffer/audit"
)

// ocsfSchema is what testdata/ocsf/schema.json has of the OCSF schema: the classes that the export uses with every attribute that they
// have without profiles, and the objects in them.
type ocsfSchema struct {
	Version string              `json:"version"`
	Classes map[string]ocsfType `json:"classes"`
	Objects map[string]ocsfType `json:"objects"`
	Types   map[string]struct {
		Type   string    `json:"type"`
		Regex  string    `json:"regex"`
		MaxLen int       `json:"max_len"`
		Range  []float64 `json:"range"`
	} `json:"types"`
}

type ocsfType struct {
	UID         int                      `json:"uid"`
	CategoryUID int                      `json:"category_uid"`
	Caption     string                   `json:"caption"`
	Category    string                   `json:"category"`
	Constraints map[string][]string      `json:"constraints"`
	Attributes  map[string]ocsfAttribute `json:"attributes"`
}

type ocsfAttribute struct {
	Type       string            `json:"type"`
	Object     string            `json:"object"`
	Array      bool              `json:"array"`
	Required   bool              `json:"required"`
	Deprecated bool              `json:"deprecated"`
	Enum       map[string]string `json:"enum"`
	Sibling    string            `json:"sibling"`
}

func loadOCSF(t testing.TB) *ocsfSchema {
	t.Helper()
	b, err := os.ReadFile("testdata/ocsf/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := new(ocsfSchema)
	if err := json.Unmarshal(b, s); err != nil || s.Version != audit.OCSFVersion {
		t.Fatalf("version %s: %v", s.Version, err)
	}
	return s
}

// event checks one event the way OCSF's own validation does: known attributes, those that are required, types, enumerations with their
// captions beside them, constraints, and the arithmetic of class, category and type.
func (s *ocsfSchema) event(line []byte) []string {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var x map[string]any
	if err := dec.Decode(&x); err != nil {
		return []string{err.Error()}
	}
	var bad []string
	for _, c := range s.Classes {
		if fmt.Sprint(x["class_uid"]) != fmt.Sprint(c.UID) {
			continue
		}
		bad = s.object("", c, x)
		activity := fmt.Sprint(x["activity_id"])
		caption := c.Attributes["activity_id"].Enum[activity]
		for name, want := range map[string]any{
			"category_uid": c.CategoryUID, "category_name": c.Category, "class_name": c.Caption, "type_uid": fmt.Sprintf("%d%02s", c.UID, activity),
			"type_name": c.Caption + ": " + caption,
		} {
			if fmt.Sprint(x[name]) != fmt.Sprint(want) && (activity != "99" || name != "type_name") {
				bad = append(bad, fmt.Sprintf("%s is %v, want %v", name, x[name], want))
			}
		}
		return bad
	}
	return []string{fmt.Sprintf("class %v is not in the schema", x["class_uid"])}
}

func (s *ocsfSchema) object(path string, c ocsfType, x map[string]any) (bad []string) {
	for name, a := range c.Attributes {
		v, ok := x[name]
		switch {
		case !ok && a.Required:
			bad = append(bad, path+name+" is required")
		case ok && a.Deprecated:
			bad = append(bad, path+name+" is deprecated")
		}
		if ok && a.Enum != nil {
			caption, known := a.Enum[fmt.Sprint(v)]
			if !known {
				bad = append(bad, fmt.Sprintf("%s%s has no value %v", path, name, v))
			}
			if beside := x[a.Sibling]; a.Sibling != "" && (caption == "Other" && beside == nil || caption != "Other" && beside != nil && beside != caption) {
				bad = append(bad, fmt.Sprintf("%s%s is %v beside %v", path, a.Sibling, beside, caption))
			}
		}
	}
	for kind, names := range c.Constraints {
		n := 0
		for _, name := range names {
			if _, ok := x[name]; ok {
				n++
			}
		}
		if n == 0 || kind == "just_one" && n > 1 {
			bad = append(bad, fmt.Sprintf("%s%s of %v", path, kind, names))
		}
	}
	for name, v := range x {
		a, ok := c.Attributes[name]
		if !ok {
			bad = append(bad, path+name+" is not in the schema")
			continue
		}
		list, isList := v.([]any)
		if isList != a.Array {
			bad = append(bad, path+name+" is one for many, or many for one")
		}
		if !isList {
			list = []any{v}
		}
		for _, v := range list {
			bad = append(bad, s.value(path+name, a, v)...)
		}
	}
	return bad
}

func (s *ocsfSchema) value(path string, a ocsfAttribute, v any) []string {
	if a.Object != "" {
		x, ok := v.(map[string]any)
		if !ok {
			return []string{path + " is no object"}
		}
		if a.Object == "object" {
			return nil
		}
		c, ok := s.Objects[a.Object]
		if !ok {
			return []string{path + ": the schema that the test has is without " + a.Object}
		}
		return s.object(path+".", c, x)
	}
	t, ok := s.Types[a.Type]
	if !ok {
		return []string{path + " has the unknown type " + a.Type}
	}
	base := a.Type
	if t.Type != "" {
		base = t.Type
	}
	switch base {
	case "integer_t", "long_t":
		n, ok := v.(json.Number)
		if _, err := n.Int64(); !ok || err != nil {
			return []string{path + " is no integer"}
		}
	case "boolean_t":
		if _, ok := v.(bool); !ok {
			return []string{path + " is no boolean"}
		}
	case "json_t":
	default:
		str, ok := v.(string)
		if !ok || t.MaxLen > 0 && len(str) > t.MaxLen || t.Regex != "" && !regexp.MustCompile(t.Regex).MatchString(str) {
			return []string{path + " is no " + a.Type}
		}
	}
	return nil
}

// sample returns an entry for every action, outcome and kind of caller.
func sample() []audit.Entry {
	var out []audit.Entry
	actions := []access.Action{"something.else"}
	for _, d := range access.Actions {
		actions = append(actions, d.Action)
	}
	for _, action := range actions {
		for i, outcome := range []audit.Outcome{audit.Intent, audit.Done, audit.Failed, audit.Denied} {
			for j, kind := range []access.CallerKind{access.OperatorCaller, access.UserCaller, access.ServiceCaller, access.TokenCaller} {
				e := audit.Entry{
					Index: int64(len(out)) - 1, Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), Writer: strings.Repeat("0a", 16), Seq: uint64(len(out) + 1),
					Actor: audit.Actor{Kind: kind, ID: "u-1"}, Action: action, Decision: audit.Allow, Hash: strings.Repeat("ab", 32), Outcome: outcome,
				}
				if len(out) > 0 {
					e.Prev = tlog.RecordHash([]byte{1})
				}
				if outcome == audit.Denied {
					e.Decision = audit.Deny
				}
				if i%2 == 1 {
					e.Actor.Roles, e.Policies, e.Request = []string{"engineer", "responder"}, []string{"one", "two"}, "req-1"
					e.Reason, e.Note, e.Finding, e.Occurrences, e.Object, e.Plan = "audit", "line\none <b> \"q\" \u2028", "f-1", []int{1, 2, 5}, "o-1", "plan-1"
					e.Intent = audit.Ref{Writer: e.Writer, Seq: 1}
				}
				if j%2 == 1 {
					e.Detail = map[string]string{"network": []string{"192.0.2.7", "2001:db8::7"}[i%2], "session": "s-1", "token": "t-1", "action": []string{"redact", "delete"}[i%2]}
				}
				if j == 2 {
					e.Detail = map[string]string{"breakGlass": "true"}
				}
				out = append(out, e)
			}
		}
	}
	return out
}

func seq(entries []audit.Entry) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestOCSF validates an event for every action, outcome and kind of caller against the schema as its authors published it.
func TestOCSF(t *testing.T) {
	s := loadOCSF(t)
	entries := sample()
	var b bytes.Buffer
	if err := audit.WriteOCSF(&b, seq(entries)); err != nil {
		t.Fatal(err)
	}
	types := map[access.Action]string{}
	n := 0
	for line := range bytes.Lines(b.Bytes()) {
		for _, bad := range s.event(line) {
			t.Errorf("%s %s: %s", entries[n].Action, entries[n].Outcome, bad)
		}
		var x struct {
			Type int    `json:"type_uid"`
			Raw  string `json:"raw_data"`
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		if got, err := audit.Decode([]byte(x.Raw)); err != nil || got.Ref() != entries[n].Ref() || got.Note != entries[n].Note {
			t.Errorf("%s: raw_data is not the entry: %v", entries[n].Action, err)
		}
		if entries[n].Detail["action"] != "delete" {
			types[entries[n].Action] = fmt.Sprint(x.Type)
		} else if entries[n].Action == access.RemedyApply && x.Type != 600507 {
			t.Errorf("a fix that deletes is %d", x.Type)
		}
		n++
	}
	if n != len(entries) {
		t.Errorf("%d events of %d entries", n, len(entries))
	}
	for action, want := range map[access.Action]string{
		access.ValueReveal: "600510", access.ValueSearch: "600504", access.RemedyApply: "600502", access.RemedyPurge: "600507",
		access.AccessApprove: "600303", access.AdminUser: "600303", access.SessionStart: "300201", "something.else": "600399",
	} {
		if types[action] != want {
			t.Errorf("%s is %s, want %s", action, types[action], want)
		}
	}
	for _, d := range access.Actions {
		if types[d.Action] == "" || strings.HasSuffix(types[d.Action], "99") {
			t.Errorf("%s has no activity of its own: %s", d.Action, types[d.Action])
		}
	}
	t.Logf("%d events of OCSF %s", n, s.Version)
}

// TestOCSFValidatorBites: each of these is one step away from a valid event.
func TestOCSFValidatorBites(t *testing.T) {
	s := loadOCSF(t)
	var b bytes.Buffer
	if err := audit.WriteOCSF(&b, seq(sample()[20:21])); err != nil {
		t.Fatal(err)
	}
	var valid map[string]any
	if err := json.Unmarshal(b.Bytes(), &valid); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"nothing":              func(map[string]any) {},
		"a missing attribute":  func(x map[string]any) { delete(x, "time") },
		"an unknown one":       func(x map[string]any) { x["finding"] = "f" },
		"an unknown activity":  func(x map[string]any) { x["activity_id"] = 77 },
		"another category":     func(x map[string]any) { x["category_uid"] = 3 },
		"another type":         func(x map[string]any) { x["type_uid"] = 600501 },
		"another caption":      func(x map[string]any) { x["severity"] = "High" },
		"text for a number":    func(x map[string]any) { x["time"] = "1" },
		"an object of nothing": func(x map[string]any) { x["src_endpoint"] = map[string]any{} },
		"no address":           func(x map[string]any) { x["src_endpoint"] = map[string]any{"ip": "x"} },
		"one for many":         func(x map[string]any) { x["observables"] = map[string]any{} },
		"no datastore":         func(x map[string]any) { delete(x, "database"); delete(x, "databucket") },
	} {
		x := maps.Clone(valid)
		change(x)
		line, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if bad := s.event(line); (len(bad) > 0) != (name != "nothing") {
			t.Errorf("%s: %q", name, bad)
		}
	}
}

// TestCircumstancesOfTheCaller: which session or token acted, and from where, is in every entry of theirs.
func TestCircumstancesOfTheCaller(t *testing.T) {
	h := newHome(t)
	l := h.open()
	engineer := access.Caller{ID: "u-7", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	for addr, class := range map[string]string{
		"127.0.0.1": "loopback", "10.1.2.3": "private", "192.0.2.7": "public", "fe80::1": "link-local", "::ffff:172.16.0.1": "private", "2001:db8::1": "public",
	} {
		p, err := guard(l).Check(t.Context(), engineer, access.ValueReveal, finding, access.Context{
			Request: "req-1", Reason: "audit", Note: "where from, and by what", Values: 1, Network: netip.MustParseAddr(addr), Session: "s-12", Token: "t-34",
			SignedIn: h.now(), MFA: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), p.Entry(audit.Done)); err != nil {
			t.Fatal(err)
		}
		got := all(t, l, audit.Filter{Newest: true})[0].Detail
		if got["networkClass"] != class || got["session"] != "s-12" || got["token"] != "t-34" {
			t.Errorf("%s: %v", addr, slices.Sorted(maps.Keys(got)))
		}
	}
	closeLog(t, l)
	h.sound()
}
