package web_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coffer/api"
)

// shape is what the tests need of a JSON Schema.
type shape struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a word, or several
	Properties map[string]*shape `json:"properties"`
	Required   []string          `json:"required"`
	Items      *shape            `json:"items"`
	Enum       []any             `json:"enum"`
	MaxLength  *int              `json:"maxLength"`
	MinLength  *int              `json:"minLength"`
	MaxItems   *int              `json:"maxItems"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	Pattern    string            `json:"pattern"`
}

// schemas resolves references into the OpenAPI document.
type schemas map[string]*shape

func (s schemas) of(x *shape) *shape {
	for x != nil && x.Ref != "" {
		x = s[x.Ref[strings.LastIndexByte(x.Ref, '/')+1:]]
	}
	return x
}

func (x *shape) is(word string) bool {
	list, ok := x.Type.([]any)
	return x.Type == word || ok && slices.Contains(list, any(word))
}

// fit is a value that fits the schema.
func (s schemas) fit(x *shape) any {
	x = s.of(x)
	switch {
	case len(x.Enum) > 0:
		return x.Enum[0]
	case x.is("object"):
		out := map[string]any{}
		for _, name := range x.Required {
			out[name] = s.fit(x.Properties[name])
		}
		return out
	case x.is("array"):
		return []any{s.fit(x.Items)}
	case x.is("string"):
		n := 1
		if x.MinLength != nil {
			n = max(1, *x.MinLength)
		}
		return strings.Repeat("0", n)
	case x.is("integer"), x.is("number"):
		return 1
	case x.is("boolean"):
		return true
	}
	return nil
}

// unfit yields values that do not fit the schema, with what is wrong with each.
func (s schemas) unfit(x *shape, yield func(what string, v any)) {
	x = s.of(x)
	for what, v := range map[string]any{"a number": 1, "a text": "x", "a list": []any{}, "an object": map[string]any{}, "a truth": true} {
		fits := what == "a number" && (x.is("integer") || x.is("number")) || what == "a text" && x.is("string") || what == "a list" && x.is("array") ||
			what == "an object" && x.is("object") || what == "a truth" && x.is("boolean")
		if x.Type != nil && !fits {
			yield(what, v)
		}
	}
	if x.MaxLength != nil && x.is("string") {
		yield("too long", strings.Repeat("0", *x.MaxLength+1))
	}
	if x.MinLength != nil && *x.MinLength > 0 && x.is("string") {
		yield("too short", strings.Repeat("0", *x.MinLength-1))
	}
	if len(x.Enum) > 0 {
		yield("none of the words", "unheard-of")
	}
	if x.Minimum != nil {
		yield("too small", *x.Minimum-1)
	}
	if x.Maximum != nil {
		yield("too great", *x.Maximum+1)
	}
	if x.Pattern != "" {
		yield("of another form", strings.Repeat("\u00e9", len(s.fit(x).(string))))
	}
	if x.MaxItems != nil && x.is("array") && *x.MaxItems <= 1000 {
		yield("too many", slices.Repeat([]any{s.fit(x.Items)}, *x.MaxItems+1))
	}
	if x.is("array") {
		s.unfit(x.Items, func(what string, v any) { yield("an element "+what, []any{v}) })
	}
}

// TestBadBodies sends to every operation that takes a body what its own description rules out: each must be refused as that, and nothing
// may be done. The bodies come from the OpenAPI document.
func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	rec := w.send("GET", "/v1/openapi.json", "", "")
	var doc struct {
		Components struct {
			Schemas schemas `json:"schemas"`
		} `json:"components"`
		Paths map[string]map[string]struct {
			ID          string `json:"operationId"`
			RequestBody *struct {
				Content map[string]struct {
					Schema *shape `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	s := doc.Components.Schemas
	planned, err := w.local.MakePlans(t.Context(), api.PlanBody{Findings: []string{w.one()}, Action: "redact"})
	if err != nil {
		t.Fatal(err)
	}
	const token = "engineer+approver+auditor+privacy-officer+platform+responder/user"
	operations, sent, validated := 0, 0, 0
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, op := range doc.Paths[path] {
			if op.RequestBody == nil || op.ID == "ingest" {
				continue // it takes any JSON, and says of each document what is wrong with it
			}
			operations++
			root := s.of(op.RequestBody.Content["application/json"].Schema)
			to := fill(path, w.one(), planned.Plan.Plan, "job-0123456789abcdef")
			here := 0
			try := func(what, body string) {
				t.Helper()
				sent++
				rec := w.send(strings.ToUpper(method), to, token, body, api.IdempotencyKey, "bad-"+op.ID+strconv.Itoa(sent))
				if rec.Code < 400 || rec.Code >= 500 || op.Responses[strconv.Itoa(rec.Code)] == nil {
					t.Errorf("%s, %s: %d %.300s", op.ID, what, rec.Code, rec.Body)
				}
				if rec.Code == 400 || rec.Code == 422 {
					here++
				}
			}
			for what, body := range map[string]string{"nothing": " ", "no JSON": "{", "a list": "[]", "null": "null", "two": "{} {}", "not UTF-8": "{\"a\":\"\xff\"}"} {
				try(what, body)
			}
			whole, _ := s.fit(root).(map[string]any)
			with := func(what, name string, v any) {
				body := maps.Clone(whole)
				body[name] = v
				b, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				try(what, string(b))
			}
			with("an unknown member", "unheard-of", 1)
			for _, name := range root.Required {
				body := maps.Clone(whole)
				delete(body, name)
				b, _ := json.Marshal(body)
				try("without "+name, string(b))
			}
			for _, name := range slices.Sorted(maps.Keys(root.Properties)) {
				s.unfit(root.Properties[name], func(what string, v any) { with(name+" "+what, name, v) })
			}
			if here > 0 {
				validated++
			}
		}
	}
	if operations < 25 || validated < operations/2 {
		t.Errorf("%d operations take a body, only %d looked at it", operations, validated)
	}
	t.Logf("%d bodies to %d operations, %d of which looked at them", sent, operations, validated)
}
