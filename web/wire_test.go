package web_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"coffer/access"
	"coffer/api"
	"coffer/web"
)

// TestOnTheWire sends requests as bytes that no client library would: framing that two readers take differently, names that are not the
// server's, ways round a path. What is not a request of ours comes to nothing, and headers that a proxy could have set change nothing.
func TestOnTheWire(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(nil)
	at := srv.Listener.Addr().String()
	s, err := w.app.API(web.Config{Auth: badge{w.app.Now}, Hosts: []string{at}, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	srv.Config = s.HTTP()
	srv.Start()
	defer srv.Close()
	// send sends the bytes and returns status, headers and body of the first answer, and how many there are.
	send := func(text string) (first arrived, body string, n int) {
		t.Helper()
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i := strings.LastIndex(text, " HTTP/1."); i > 0 { // the last request ends the connection
			i += len(" HTTP/1.1")
			text = text[:i] + "\nConnection: close" + text[i:]
		}
		if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
			t.Fatal(err)
		}
		for r := bufio.NewReader(c); ; n++ {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return first, body, n
			}
			b, _ := io.ReadAll(res.Body) // a part is enough
			_ = res.Body.Close()         // only read from
			if n == 0 {
				first, body = arrived{StatusCode: res.StatusCode, Header: res.Header}, string(b)
			}
		}
	}
	who := "Host: " + at + "\nAuthorization: Bearer engineer/user\n"
	query := "POST /v1/findings/query HTTP/1.1\n" + who
	for name, x := range map[string]struct {
		text string
		want int
	}{
		"two lengths":                    {query + "Content-Type: application/json\nContent-Length: 2\nContent-Length: 3\n\n{} ", 400},
		"a coding that is none":          {query + "Transfer-Encoding: xchunked\n\n", 501},
		"a blank before the colon":       {query + "Transfer-Encoding : chunked\n\n", 400},
		"a zero byte in a header":        {"GET /v1/caller HTTP/1.1\n" + who + "X: a\x00b\n\n", 400},
		"two hosts":                      {"GET /v1/caller HTTP/1.1\n" + who + "Host: elsewhere.example\n\n", 400},
		"another host in the line":       {"GET http://elsewhere.example/v1/caller HTTP/1.1\n" + who + "\n", 421},
		"no host, as of old":             {"GET /v1/caller HTTP/1.0\nAuthorization: Bearer engineer/user\n\n", 421},
		"another port":                   {"GET /v1/caller HTTP/1.1\nHost: 127.0.0.1:1\nAuthorization: Bearer engineer/user\n\n", 421},
		"a way to elsewhere":             {"CONNECT elsewhere.example:443 HTTP/1.1\nHost: elsewhere.example:443\n\n", 421},
		"a question about everything":    {"OPTIONS * HTTP/1.1\n" + who + "\n", 404},
		"a long header":                  {"GET /v1/caller HTTP/1.1\n" + who + "X: " + strings.Repeat("a", 64<<10) + "\n\n", 431},
		"two credentials":                {"GET /v1/caller HTTP/1.1\n" + who + "Authorization: Bearer auditor/user\n\n", 401},
		"a token in the address":         {"GET /v1/caller?access_token=engineer/user HTTP/1.1\nHost: " + at + "\n\n", 401},
		"dots":                           {"GET /v1/x/../caller HTTP/1.1\n" + who + "\n", 404},
		"encoded dots":                   {"GET /v1/%2e%2e/v1/caller HTTP/1.1\n" + who + "\n", 404},
		"an encoded slash":               {"GET /v1/findings%2f..%2fcaller HTTP/1.1\n" + who + "\n", 404},
		"two slashes":                    {"GET //v1/caller HTTP/1.1\n" + who + "\n", 404},
		"a slash behind":                 {"GET /v1/caller/ HTTP/1.1\n" + who + "\n", 404},
		"a parameter of a segment":       {"GET /v1/caller;x=1 HTTP/1.1\n" + who + "\n", 404},
		"a zero byte in the path":        {"GET /v1/caller%00 HTTP/1.1\n" + who + "\n", 404},
		"a file outside":                 {"GET /static/..%2f..%2fconfig.yaml HTTP/1.1\n" + who + "\n", 404},
		"a method in small letters":      {"get /v1/caller HTTP/1.1\n" + who + "\n", 405},
		"another method in a header":     {"GET /v1/jobs HTTP/1.1\n" + who + "X-HTTP-Method-Override: DELETE\n\n", 200},
		"a part of the answer":           {"GET /v1/caller HTTP/1.1\n" + who + "Range: bytes=0-3\n\n", 200},
		"a packed body":                  {query + "Content-Type: application/json\nContent-Encoding: gzip\nContent-Length: 2\n\n{}", 415},
		"a packed body that says not so": {query + "Content-Type: application/json\nContent-Length: 4\n\n\x1f\x8b\x08\x00", 400},
		"another set of characters":      {query + "Content-Type: application/json; charset=utf-16\nContent-Length: 2\n\n{}", 415},
		"a form":                         {query + "Content-Type: application/x-www-form-urlencoded\nContent-Length: 2\n\n{}", 415},
		"a page without an origin":       {query + "Origin: null\nContent-Type: application/json\nContent-Length: 2\n\n{}", 403},
	} {
		res, _, n := send(x.text)
		if n != 1 || res.StatusCode != x.want {
			t.Errorf("%s: %d answers, the first %d; want %d", name, n, res.StatusCode, x.want)
		}
	}
	// Both framings at once: the coding counts (RFC 9112, 6.3), however long the length says that the body is; what stands behind it is a
	// request by itself, with a credential of its own.
	chunked := query + "Content-Type: application/json\nContent-Length: 500\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\n"
	if res, _, n := send(chunked + "GET /v1/audit/export HTTP/1.1\nHost: " + at + "\n\n"); n != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("two framings: %d answers, the first %d", n, res.StatusCode)
	}
	plain, one, _ := send("GET /v1/caller HTTP/1.1\n" + who + "\n")
	_, two, _ := send("GET /v1/caller HTTP/1.1\n" + who + "Forwarded: for=192.0.2.1;host=elsewhere.example;proto=https\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Host: elsewhere.example\nX-Forwarded-Proto: https\nX-Real-IP: 192.0.2.1\n\n")
	if one != two || plain.StatusCode != http.StatusOK || plain.Header.Get("Strict-Transport-Security") != "" {
		t.Error("headers of a proxy change the answer")
	}
}

// TestForbiddenIsAbsent: whoever may not know of a finding gets for it, byte for byte and header for header, the answer for one that does
// not exist, whatever they ask of it; but for the id and the time of the request.
func TestForbiddenIsAbsent(t *testing.T) {
	w := newWorld(t)
	const absent = "1b31be72746be43baf351c141fb9e899"
	d := w.document()
	n := 0
	for path, ops := range d.Paths {
		if !strings.Contains(path, "{finding}") {
			continue
		}
		for method, op := range ops {
			body := ""
			if op.RequestBody != nil {
				body = `{` + reason + `}`
			}
			var answers [2]string
			for i, id := range []string{w.one(), absent} {
				rec := w.send(strings.ToUpper(method), strings.ReplaceAll(path, "{finding}", id), "nobody/user", body, api.IdempotencyKey, "absent-"+op.ID)
				h := rec.Header()
				request := h.Get(api.RequestID)
				h.Del("Date")
				var b strings.Builder
				_ = h.Write(&b) // a builder takes everything
				answers[i] = strings.ReplaceAll(strconv.Itoa(rec.Code)+"\n"+b.String()+rec.Body.String(), request, "R")
			}
			if n++; answers[0] != answers[1] || !strings.HasPrefix(answers[0], "404") {
				t.Errorf("%s: forbidden and absent differ:\n%s\n%s", op.ID, answers[0], answers[1])
			}
		}
	}
	if n < 10 {
		t.Errorf("%d operations on a finding", n)
	}
}

// TestEverybodySeesBrokenGlass: a banner on every page, for everybody, from the break until somebody else has reviewed it.
func TestEverybodySeesBrokenGlass(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor)
	engineer, auditor := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	auditor.signIn(access.RoleAuditor)
	const banner = "Glass broken by"
	if strings.Contains(engineer.get("/overview"), banner) {
		t.Error("a banner of what did not happen")
	}
	operator, err := p.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	ask := access.Ask{Caller: access.Caller{ID: "p-responder", Name: "responder", Kind: access.UserCaller, Roles: []string{"responder"}}, Context: access.Context{
		Now: p.app.Now(), SignedIn: p.app.Now(), MFA: true, Reason: "incident", Note: "the exports are on the street", Ticket: "INC-7"}}
	glass, err := p.app.Grants.Break(t.Context(), ask, 0)
	if err != nil {
		t.Fatal(err)
	}
	for who, v := range map[string]*visitor{"the engineer": engineer, "the auditor": auditor} {
		for _, path := range []string{"/overview", "/findings", "/settings"} {
			page := v.get(path)
			has(t, who+" at "+path, page, banner, `href="/requests/`+url.PathEscape(glass.ID)+`"`, "0 values opened")
			if strings.Contains(page, "on the street") {
				t.Errorf("%s at %s: the banner has the note", who, path)
			}
		}
	}
	review := access.Ask{Caller: operator, Context: access.Context{Now: p.app.Now(), Local: true}}
	if _, err := p.app.Grants.Review(t.Context(), review, glass.ID, "it was right to look"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(engineer.get("/overview"), banner) {
		t.Error("the banner stays behind the review")
	}
}
