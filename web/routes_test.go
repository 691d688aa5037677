package web_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"coffer/api"
	"coffer/client"
	"coffer/web"
)

// document is what the tests need of the OpenAPI document, read as a stranger would.
type document struct {
	OpenAPI string                          `json:"openapi"`
	Paths   map[string]map[string]operation `json:"paths"`
}

type operation struct {
	ID         string `json:"operationId"`
	Action     string `json:"x-coffer-action"`
	Parameters []struct {
		Name, In string
		Required bool
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]any `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]any `json:"content"`
	} `json:"responses"`
	Security []any `json:"security"`
}

func (w *world) document() document {
	w.Helper()
	rec := w.send("GET", "/v1/openapi.json", "", "")
	var d document
	if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil || rec.Code != 200 {
		w.Fatalf("OpenAPI document: %d, %v", rec.Code, err)
	}
	return d
}

// fill puts something into the places of a path.
func fill(path, finding, plan, job string) string {
	return strings.NewReplacer("{finding}", finding, "{plan}", plan, "{job}", job, "{bucket}", "moontrust-exports", "{target}", "soc", "{person}", "p-engineer",
		"{request}", "req-00112233445566778899aabbccddeeff", "{user}", "u-0123456789abcdef", "{token}", "t-0123456789abcdef", "{session}", "s-0123456789abcdef").Replace(path)
}

func problemOf(t *testing.T, body []byte) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" || p.Request == "" || p.Status == 0 || p.Type == "" {
		t.Errorf("not a problem: %s (%v)", body, err)
	}
	return p
}

// TestEveryRouteRefuses sends to every operation of the document what must be refused: without credentials, with the wrong role, with a
// bad body, for what does not exist and for what may not be known of.
func TestEveryRouteRefuses(t *testing.T) {
	w := newWorld(t)
	d := w.document()
	if d.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s", d.OpenAPI)
	}
	open := map[string]bool{"docs": true, "docs-style": true, "openapi": true, "health": true, "ready": true}
	planned, err := w.local.MakePlans(t.Context(), api.PlanBody{Findings: []string{w.one()}, Action: "redact"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, ops := range d.Paths {
		for method, op := range ops {
			method = strings.ToUpper(method)
			if open[op.ID] {
				if len(op.Security) > 0 || op.Action != "" {
					t.Errorf("%s is public and asks for somebody", op.ID)
				}
				delete(open, op.ID)
				continue
			}
			if op.Action == "" || len(op.Security) == 0 {
				t.Errorf("%s has no action in the document", op.ID)
			}
			real := fill(path, w.one(), planned.Plan.Plan, "job-0123456789abcdef")
			wrong := fill(path, "1b31be72746be43baf351c141fb9e899", "plan-0123456789abcdef", "job-0123456789abcdef")
			body := ""
			if op.RequestBody != nil {
				body = `{"unheard of": 1`
			}
			key := []string{api.IdempotencyKey, "k-" + op.ID}
			ask := func(what, path, token, body string, want ...int) []byte {
				t.Helper()
				n++
				rec := w.send(method, path, token, body, key...)
				if !slices.Contains(want, rec.Code) {
					t.Errorf("%s, %s: %d %s, want %v", op.ID, what, rec.Code, rec.Body, want)
				}
				if rec.Code >= 400 {
					problemOf(t, rec.Body.Bytes())
					if ct := rec.Header().Get("Content-Type"); ct != api.ContentProblem {
						t.Errorf("%s, %s: content type %q", op.ID, what, ct)
					}
					if _, ok := op.Responses[strconv.Itoa(rec.Code)]; !ok {
						t.Errorf("%s, %s: answers %d, which is not in the document", op.ID, what, rec.Code)
					}
				}
				if rec.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%s, %s: may be cached", op.ID, what)
				}
				return rec.Body.Bytes()
			}
			ask("no credentials", real, "", body, 401)
			ask("no credentials, nothing there", wrong, "", body, 401)
			ask("a token that is none", real, "nonsense", body, 401)
			nobody := "nobody/user"
			if op.Action == "session.end" || op.Action == "token.create" {
				nobody = "nobody/service" // of a person, sessions and tokens are their own
			}
			hidden := ask("no role", real, nobody, body, 403, 404)
			absent := ask("no role, nothing there", wrong, nobody, body, 403, 404)
			if a, b := same(hidden), same(absent); a != b {
				t.Errorf("%s: what may not be known of answers unlike what is not there:\n%s\n%s", op.ID, a, b)
			}
			if real != wrong {
				for _, role := range []string{"engineer/user", "auditor/user"} {
					ask(role+", nothing there", wrong, role, body, 403, 404)
				}
			}
		}
	}
	if len(open) > 0 {
		t.Errorf("public and not in the document: %v", open)
	}
	t.Logf("%d requests refused", n)
}

// same removes the id of the request from a problem.
func same(b []byte) string {
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	delete(m, "request")
	out, _ := json.Marshal(m)
	return string(out)
}

// TestRoutesAreMadeWhenAskedFor: a server that nobody comes to from outside makes an operation when it is first asked for, whoever asks at
// once, and in the end has all that a server has.
func TestRoutesAreMadeWhenAskedFor(t *testing.T) {
	w := newWorld(t)
	operator, err := w.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.app.API(web.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cl := client.Local(s.Local(operator))
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			_, verr := cl.Version(t.Context())
			_, uerr := cl.Users(t.Context())
			if err := errors.Join(verr, uerr); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	r := httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil)
	r.RequestURI = ""
	res, err := s.Local(operator).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := w.send("GET", "/v1/openapi.json", "", "").Body.Bytes(); res.StatusCode != http.StatusOK || !bytes.Equal(doc, want) {
		t.Errorf("%d, a document of %d bytes; a server on a socket has one of %d", res.StatusCode, len(doc), len(want))
	}
}
