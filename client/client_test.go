package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/api"
)

// serve returns a client of a handler, and the pauses that it made between tries.
func serve(t *testing.T, h http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cl, err := New(srv.URL, "the-token")
	if err != nil {
		t.Fatal(err)
	}
	var waited []time.Duration
	cl.pause = func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}
	return cl, &waited
}

func refuse(w http.ResponseWriter, p api.Problem) {
	w.Header().Set("Content-Type", api.ContentProblem)
	w.Header().Set(api.RequestID, "req-1")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// TestErrorsAreSentinels: a command reads an error of a server like one of its own.
func TestErrorsAreSentinels(t *testing.T) {
	for code, want := range map[string]error{
		"denied": coffer.ErrDenied, "unauthenticated": coffer.ErrDenied, "foreign-origin": coffer.ErrDenied, "wrong-host": coffer.ErrDenied,
		"conflict": coffer.ErrConflict, "precondition-failed": coffer.ErrConflict, "in-progress": coffer.ErrConflict, "changed": coffer.ErrChanged,
		"not-found": coffer.ErrNotFound, "invalid": coffer.ErrInvalid, "malformed": coffer.ErrInvalid, "method": coffer.ErrInvalid,
		"media-type": coffer.ErrInvalid, "key-reused": coffer.ErrInvalid, "unsupported": coffer.ErrUnsupported, "limit": coffer.ErrLimit,
		"too-many": coffer.ErrLimit, "too-large": coffer.ErrLimit, "corrupt": coffer.ErrCorrupt, "unavailable": coffer.ErrUnavailable,
	} {
		cl, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, api.Problem{Status: api.Status(code), Code: code, Detail: "Because.", Request: "req-1", Rules: []string{"a-rule"}})
		})
		_, err := cl.Search(t.Context(), api.SearchBody{Value: "x"})
		var p *api.Error
		if !errors.Is(err, want) || !errors.As(err, &p) || p.Problem.Code != code || p.Problem.Request != "req-1" || !strings.Contains(err.Error(), "Because.") {
			t.Errorf("%s: %v, want %v", code, err, want)
		}
	}
	for status, want := range map[int]error{502: coffer.ErrUnavailable, 404: coffer.ErrInvalid, 302: coffer.ErrInvalid} {
		cl, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>"))
		})
		if _, err := cl.Search(t.Context(), api.SearchBody{Value: "x"}); !errors.Is(err, want) {
			t.Errorf("an answer %d of something else: %v, want %v", status, err, want)
		}
	}
	cl, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"total":`)) })
	if _, err := cl.FindingsPage(t.Context(), api.FindingsQuery{}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("half an answer: %v", err)
	}
}

// TestWhatIsSentAgain: only what cannot act twice, or carries a key, is tried again after an answer that says so or none at all.
func TestWhatIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func(*Client) error
		want int
		key  bool
	}{
		{"a list", func(cl *Client) error { _, err := cl.Keys(t.Context()); return err }, tries, false},
		{"what sets the whole", func(cl *Client) error { return cl.SetDisabled(t.Context(), "u", true) }, tries, false},
		{"what removes", func(cl *Client) error { return cl.EndSessions(t.Context(), "") }, tries, false},
		{"an attempt", func(cl *Client) error { _, err := cl.Approve(t.Context(), "plan-1", ""); return err }, tries, true},
		{"a long one", func(cl *Client) error { _, err := cl.Long(t.Context(), "undo", "plan-1", "", nil); return err }, tries, true},
		{"a reveal", func(cl *Client) error { _, err := cl.Reveal(t.Context(), "f", api.RevealBody{}); return err }, 1, false},
		{"a search", func(cl *Client) error { _, err := cl.Search(t.Context(), api.SearchBody{}); return err }, 1, false},
		{"a stream", func(cl *Client) error {
			for _, err := range cl.Ingest(t.Context(), strings.NewReader("{}"), "", false) {
				return err
			}
			return nil
		}, 1, false},
	} {
		for _, how := range []string{"503", "no answer"} {
			var mu sync.Mutex
			var keys []string
			sent := 0
			cl, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				sent++
				keys = append(keys, r.Header.Get(api.IdempotencyKey))
				mu.Unlock()
				if r.Header.Get("Authorization") != "Bearer the-token" {
					t.Errorf("%s: without the token", c.name)
				}
				if how == "503" {
					refuse(w, api.Problem{Status: 503, Code: "unavailable", RetryAfter: 1})
					return
				}
				panic(http.ErrAbortHandler)
			})
			cl.http.Transport = &http.Transport{DisableKeepAlives: true} // net/http itself would repeat on a connection that was used before
			if err := c.ask(cl); !errors.Is(err, coffer.ErrUnavailable) {
				t.Errorf("%s, %s: %v", c.name, how, err)
			}
			mu.Lock()
			if sent != c.want {
				t.Errorf("%s, %s: sent %d times, want %d", c.name, how, sent, c.want)
			}
			if keys = slices.Compact(keys); len(keys) != 1 || (keys[0] != "") != c.key {
				t.Errorf("%s, %s: keys %q", c.name, how, keys)
			}
			mu.Unlock()
		}
	}
}

// TestWaits: as long as the server says, and not at all where that is long.
func TestWaits(t *testing.T) {
	n := 0
	cl, waited := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 1 {
			refuse(w, api.Problem{Status: 429, Code: "too-many", RetryAfter: 7})
			return
		}
		_, _ = w.Write([]byte(`{"keys":[]}`))
	})
	if _, err := cl.Keys(t.Context()); err != nil || !slices.Equal(*waited, []time.Duration{7 * time.Second}) {
		t.Errorf("%v, waited %v", err, *waited)
	}
	cl, waited = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, api.Problem{Status: 429, Code: "too-many", RetryAfter: 3600})
	})
	_, err := cl.Keys(t.Context())
	var p *api.Error
	if !errors.Is(err, coffer.ErrLimit) || !errors.As(err, &p) || p.RetryAfter() != time.Hour || len(*waited) != 0 {
		t.Errorf("%v, waited %v", err, *waited)
	}
}

// TestWatchResumes: a stream that breaks off is taken up behind the last event, and an end that the server announced is one.
func TestWatchResumes(t *testing.T) {
	var from []string
	cl, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		switch len(from) {
		case 1:
			_, _ = fmt.Fprint(w, ": begun\n\nevent: job\nid: 1-0-running\ndata: {\"job\":\"job-1\",\"state\":\"running\",\"done\":1}\n\nevent: job\nid: 2-0")
		case 2:
			panic(http.ErrAbortHandler)
		default:
			_, _ = fmt.Fprint(w, "event: job\nid: 3-0-done\ndata: {\"job\":\"job-1\",\"state\":\"done\",\"done\":3}\n\nevent: job\nid: 4\ndata: {}\n\n")
		}
	})
	var done []int
	for j, err := range cl.Watch(t.Context(), "job-1") {
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, j.Done)
	}
	if !slices.Equal(done, []int{1, 3}) || !slices.Equal(from, []string{"", "1-0-running", "1-0-running"}) {
		t.Errorf("done %v, taken up from %q", done, from)
	}

	cl, _ = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "event: problem\nid: \ndata: {\"status\":404,\"code\":\"not-found\"}\n\n")
	})
	for _, err := range cl.Watch(t.Context(), "job-1") {
		if !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("a problem in the stream: %v", err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "coffer.example", "http://coffer.example", "https://user:pw@coffer.example", "https://coffer.example/?a=b", "ftp://coffer.example"} {
		if _, err := New(bad, ""); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// What stands in a path is one part of it, whatever it is.
	var path string
	cl, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		_, _ = w.Write([]byte(`{}`))
	})
	if _, _, err := cl.Finding(t.Context(), "a/b?c"); err != nil || path != "/v1/findings/a%2Fb%3Fc" {
		t.Errorf("%v, %s", err, path)
	}
}
