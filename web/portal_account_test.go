package web_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/notify"
)

// post sends a form and returns the page that it leads to, which must have this status.
func (v *visitor) post(path string, status int, form url.Values) string {
	v.Helper()
	res, body := v.ask(http.MethodPost, path, form)
	if res.StatusCode != status {
		v.Fatalf("POST %s: %d, want %d", path, res.StatusCode, status)
	}
	return body
}

// has reports what of want is not in a page. The page itself is not printed: it could hold anything.
func has(t *testing.T, name, page string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("%s: no %q", name, w)
		}
	}
}

// revealed opens the first value of a finding as an engineer and returns it.
func (p *portal) revealed(v *visitor) string {
	p.Helper()
	body := v.post("/findings/"+p.one()+"/reveal", http.StatusOK, url.Values{
		"n": {"1"}, "scope": {"some"}, "key": {"a-key-of-the-test"}, "reason": {"investigation"}, "note": {"a look for a test of the portal"}, "ticket": {"MT-1"},
	})
	m := regexp.MustCompile(`<span class="open-value"><bdi>([^<]+)</bdi>`).FindStringSubmatch(body)
	if m == nil {
		p.Fatal("no value is open")
	}
	return strings.NewReplacer("&#43;", "+", "&amp;", "&", "&#39;", "'").Replace(m[1])
}

// TestAuditPages reads the log without scripts: the proof, views, filters, an act that opens, its proof and the checkpoint, and what a
// changed log says.
func TestAuditPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor)
	engineer, auditor := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	value := p.revealed(engineer)
	engineer.post("/findings/"+p.one()+"/shown", http.StatusNoContent, url.Values{"n": {"1"}, "what": {"hidden-asked"}, "seconds": {"7"}})
	if res, body := engineer.ask(http.MethodGet, "/audit", nil); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "auditor") {
		t.Errorf("an engineer reads the log: %d", res.StatusCode)
	}
	if strings.Contains(engineer.get("/overview"), `href="/access-review"`) {
		t.Error("an engineer is offered the access review")
	}
	auditor.signIn(access.RoleAuditor)
	page := auditor.get("/audit")
	has(t, "the log", page, "The log is whole: ", "none changed, none missing", "Values revealed", `<code class="exposed">value.reveal</code>`, "engineer-reveal", ">forbid<")
	if strings.Contains(page, value) {
		t.Error("the log shows a value")
	}
	if !strings.Contains(page, "Log verified") {
		t.Error("the foot does not say that the log was verified")
	}
	view := auditor.get("/audit?action=value.reveal&decision=allow")
	has(t, "the view", view, "Values revealed <small>1</small>", "came since")
	if n := strings.Count(view, `class="exposed">value.reveal`); n != 1 {
		t.Errorf("%d rows of one reveal: intent and result are one act", n)
	}
	link := regexp.MustCompile(`href="(/audit\?[^"]*entry=(\d+)[^"#]*)#`).FindStringSubmatch(view)
	if link == nil {
		t.Fatal("the act does not open")
	}
	opened := auditor.get(strings.ReplaceAll(link[1], "&amp;", "&"))
	has(t, "the act", opened, "durable before anything was opened", "a look for a test of the portal", "MT-1", "hidden after 7 s", "Inclusion in the signed tree")
	has(t, "refusals", auditor.get("/audit?decision=deny"), "audit.read", ">forbid<")
	has(t, "nothing", auditor.get("/audit?reason=legal"), "Nothing on record matches")
	if res, _ := auditor.ask(http.MethodPost, "/audit/filter", url.Values{"filter": {"decision=deny"}, "field": {"time"}, "op": {".gte="}, "value": {"-7d"}}); res.Request.URL.RawQuery != "decision=deny&time.gte=-7d" {
		t.Errorf("the filter leads to %s", res.Request.URL)
	}
	for _, bad := range []string{"/audit?colour=red", "/audit?before=x", "/audit?entry=1&time.gte=never"} {
		if res, _ := auditor.ask(http.MethodGet, bad, nil); res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, res.StatusCode)
		}
	}

	// The proof can be checked with the key and the entry alone.
	res, proof := auditor.ask(http.MethodGet, "/audit/"+link[2]+"/proof", nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Disposition"), ".tlog-proof") {
		t.Fatalf("proof: %d", res.StatusCode)
	}
	checkProof(t, proof, link[2], p.app.Log)
	if res, _ := auditor.ask(http.MethodGet, "/audit/99999999/proof", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("proof of what is not there: %d", res.StatusCode)
	}
	res, checkpoint := auditor.ask(http.MethodGet, "/audit/checkpoint", nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("checkpoint: %d", res.StatusCode)
	}
	has(t, "compared", auditor.post("/audit/verify", http.StatusOK, url.Values{"checkpoint": {strings.ReplaceAll(checkpoint, "\n", "\r\n")}}), "and the one you kept (")
	auditor.post("/audit/verify", http.StatusUnprocessableEntity, url.Values{"checkpoint": {"this is none"}})

	// Somebody changes an entry on the disk.
	file := ""
	err := filepath.WalkDir(filepath.Join(p.app.Home, "log"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, filepath.Join("tile", "entries")) {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no entries: %v", err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte("MT-1"), []byte("MT-2"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := auditor.post("/audit/verify", http.StatusOK, url.Values{})
	has(t, "a changed log", changed, "The log was changed", `role="alert"`, "Stop revealing")
	if strings.Contains(changed, "The log is whole") {
		t.Error("a changed log is called whole")
	}
}

// checkProof checks a proof as somebody without this program would: https://c2sp.org/tlog-proof.
func checkProof(t *testing.T, text, index string, l *audit.Log) {
	t.Helper()
	head, signed, ok := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != "index "+index {
		t.Fatalf("proof begins %q", lines[:2])
	}
	v, err := note.NewVerifier(l.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	var size, at int64
	var root string
	if _, err := fmt.Sscanf(strings.SplitN(n.Text, "\n", 2)[1], "%d\n%s\n", &size, &root); err != nil {
		t.Fatal(err)
	}
	hash, err := tlog.ParseHash(root)
	if err != nil {
		t.Fatal(err)
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			t.Fatal(err)
		}
		path = append(path, h)
	}
	if _, err := fmt.Sscan(index, &at); err != nil {
		t.Fatal(err)
	}
	for e, err := range l.Entries(t.Context(), audit.Filter{Index: at, Before: at + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := audit.WriteJSON(&b, func(yield func(audit.Entry, error) bool) { yield(e, nil) }); err != nil {
			t.Fatal(err)
		}
		_, leaf, _ := bytes.Cut(bytes.TrimSuffix(b.Bytes(), []byte("}\n")), []byte(`"entry":`))
		if err := tlog.CheckRecord(path, size, hash, at, tlog.RecordHash(leaf)); err != nil {
			t.Error(err)
		}
		if tlog.CheckRecord(path, size, hash, at, tlog.RecordHash(append(leaf, ' '))) == nil {
			t.Error("the proof proves anything")
		}
		return
	}
	t.Error("the entry is not there")
}

// TestLogPages turns pages of the log there and back: every act once, and the same number that the view says.
func TestLogPages(t *testing.T) {
	p := newPortal(t, access.RoleAuditor, access.RoleEngineer)
	engineer := p.visitor()
	engineer.signIn(access.RoleEngineer)
	for range 70 {
		engineer.ask(http.MethodGet, "/audit", nil) // refused, and on record
	}
	v := p.visitor()
	v.signIn(access.RoleAuditor)
	row := regexp.MustCompile(`<tr id="e([^"]+)"`)
	turn := func(body, key string) string {
		m := regexp.MustCompile(`data-key="` + regexp.QuoteMeta(key) + `" href="([^"]+)"`).FindStringSubmatch(body)
		if m == nil {
			return ""
		}
		return strings.ReplaceAll(m[1], "&amp;", "&")
	}
	seen := map[string]int{}
	var pages [][]string
	at := "/audit?decision=deny"
	last := ""
	for at != "" {
		body := v.get(at)
		var ids []string
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			ids = append(ids, m[1])
			seen[m[1]]++
		}
		pages = append(pages, ids)
		last, at = body, turn(body, "]")
		if len(pages) > 9 {
			t.Fatal("the pages do not end")
		}
	}
	if len(pages) != 2 || len(pages[0]) != 50 || len(seen) < 70 {
		t.Errorf("%d pages, %d acts", len(pages), len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("entry %s on %d pages", id, n)
		}
	}
	has(t, "the view", last, fmt.Sprintf("Refused <small>%d</small>", len(seen)))
	back := turn(last, "[")
	if back == "" {
		t.Fatal("there is no way back")
	}
	if m := row.FindStringSubmatch(v.get(back)); m == nil || m[1] != pages[0][0] {
		t.Errorf("the way back begins with %v, not %s", m, pages[0][0])
	}
}

// TestReviewPages: who saw what is there to be reviewed, and that it was is on record.
func TestReviewPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor)
	engineer, v := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	value := p.revealed(engineer)
	engineer.ask(http.MethodGet, "/audit", nil)
	v.signIn(access.RoleAuditor)
	list := v.get("/access-review")
	has(t, "review", list, "1 value shown to ", "engineer", "investigation 1", "not yet")
	m := regexp.MustCompile(`href="(/access-review\?days=30&amp;person=([^"]+))">(?:<bdi>)?engineer`).FindStringSubmatch(list)
	if m == nil {
		t.Fatal("the engineer cannot be looked at")
	}
	one := v.get(strings.ReplaceAll(m[1], "&amp;", "&"))
	has(t, "the person", one, "1 value in 30 days", "At what hours", "own right", "Refused")
	mark := url.Values{"person": {m[2]}, "from": {"-30d"}, "days": {"30"}, "note": {"one look, with a ticket"}}
	has(t, "marked", v.post("/access-review", http.StatusOK, mark), "is on record")
	has(t, "the mark", v.get(strings.ReplaceAll(m[1], "&amp;", "&")), "one look, with a ticket")
	mark.Set("note", " ")
	v.post("/access-review", http.StatusUnprocessableEntity, mark)
	marks, err := p.app.Log.Marks(t.Context(), p.app.Now().AddDate(0, 0, -1))
	if err != nil || len(marks) != 1 || marks[0].Person != m[2] || marks[0].Note != "one look, with a ticket" {
		t.Errorf("on record: %d, %v", len(marks), err)
	}
	for name, body := range map[string]string{"the list": list, "the person": one} {
		if strings.Contains(body, value) {
			t.Errorf("%s shows a value", name)
		}
	}
	if res, _ := engineer.ask(http.MethodPost, "/access-review", mark); res.StatusCode != http.StatusForbidden {
		t.Errorf("an engineer reviews: %d", res.StatusCode)
	}
	for _, bad := range []string{"/access-review?days=0", "/access-review?days=9999"} {
		if res, _ := v.ask(http.MethodGet, bad, nil); res.StatusCode < 400 {
			t.Errorf("%s: %d", bad, res.StatusCode)
		}
	}
	if res, _ := v.ask(http.MethodGet, "/access-review?person=p-nobody", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a review of nobody: %d", res.StatusCode)
	}
}

// TestSearchPages looks for a value without its being in a page or an address, by right and by approved request.
func TestSearchPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RolePrivacyOfficer)
	engineer, v := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	value := p.revealed(engineer)
	if res, _ := engineer.ask(http.MethodPost, "/search", url.Values{"value": {value}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("an engineer searches: %d", res.StatusCode)
	}
	v.signIn(access.RolePrivacyOfficer)
	has(t, "nothing indexed", v.get("/search"), "Nothing is decrypted. This search is recorded.", `method="post" action="/search"`)
	if body := v.post("/search", http.StatusUnprocessableEntity, url.Values{"value": {value}}); strings.Contains(body, value) {
		t.Error("the page repeats the value")
	}
	rec, lines, err := p.app.Desk.Read(t.Context(), p.operator(), p.one())
	if err != nil {
		t.Fatal(err)
	}
	typ := string(lines[0].Type)
	if err := p.app.Vault.Index(t.Context(), p.operator(), []coffer.DataType{lines[0].Type}, true); err != nil {
		t.Fatal(err)
	}
	res, body := v.ask(http.MethodPost, "/search", url.Values{"value": {" " + value + " "}, "type": {typ}})
	has(t, "found", body, "The value stands in 1 object", "receipt.html", rec.Finding.Object.Bucket, "without the value", "This search is recorded.")
	if strings.Contains(body, value) || strings.Contains(res.Request.URL.String(), value) || res.Header.Get("Cache-Control") != "no-store" {
		t.Error("the value is in the answer, or the answer is kept")
	}
	has(t, "not found", v.post("/search", http.StatusOK, url.Values{"value": {"no such value"}}), "stands in no object")
	exported := v.post("/findings/export", http.StatusOK, url.Values{"id": {p.one()}})
	if !strings.Contains(exported, p.one()) || strings.Contains(exported, value) {
		t.Error("the export is not the list without the value")
	}
	same := "/findings/" + p.one() + "/same"
	has(t, "same values", v.get(same), "stand in other objects, too?", `method="post"`)
	has(t, "same values, asked", v.post(same, http.StatusOK, url.Values{}), "that were looked for stands in another object")
	has(t, "same values, without the right", engineer.get(same), "You may not search by value")
	if res, _ := engineer.ask(http.MethodPost, same, url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("an engineer compares: %d", res.StatusCode)
	}
	if strings.Contains(p.log.String(), value) {
		t.Error("the program's log holds the value")
	}
	// Turning a kind off, by the form.
	v.post("/search/index", http.StatusOK, url.Values{})
	if on, err := p.app.Vault.Indexed(t.Context()); err != nil || len(on) != 0 {
		t.Errorf("%d kinds are on: %v", len(on), err)
	}
}

// TestPolicyPages: the matrix, the rules behind it, made-up questions, and why somebody was refused.
func TestPolicyPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor)
	v, auditor := p.visitor(), p.visitor()
	v.signIn(access.RoleEngineer)
	page := v.get("/policies")
	has(t, "policies", page, "All 9 promises hold", "with approval", ">full<", ">denied<", `id="reveal-needs-reason"`, "give a reason code")
	if strings.Contains(page, "permit (") {
		t.Error("the text of the rules is shown to who may not read the log")
	}
	auditor.signIn(access.RoleAuditor)
	has(t, "policies of an auditor", auditor.get("/policies"), "The rule", "forbid (")
	has(t, "a cell", v.get("/policies?role=privacy-officer&kind=FINANCIAL_INFORMATION"), "privacy officer, financial data", "privacy-officer</a>", "no rule permits it")
	has(t, "what if", v.get("/policies?as=engineer&do=value.reveal&on=FINANCIAL_INFORMATION&values=1&reason=1&fresh=1"), ">permit<", "engineer-reveal")
	stale := v.get("/policies?as=engineer&do=value.reveal&on=FINANCIAL_INFORMATION&values=1&reason=1")
	has(t, "what if, an hour later", stale, ">forbid<", "reveal-needs-fresh-sign-in", "sign in again")
	has(t, "why", v.post("/policies", http.StatusOK, url.Values{"action": {"value.search"}}), ">forbid<", "no rule permits it", "privacy-officer")
	has(t, "why, of a finding", v.post("/policies", http.StatusOK, url.Values{"action": {"value.reveal"}, "on": {p.one()}}), ">permit<")
	for _, form := range []url.Values{{"action": {"value.reveal"}, "on": {"nothing-that-is"}}, {"action": {"fly"}}} {
		if res, _ := v.ask(http.MethodPost, "/policies", form); res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%v: %d", form, res.StatusCode)
		}
	}
	for _, bad := range []string{"/policies?do=fly&as=engineer", "/policies?do=value.reveal&as=king", "/policies?do=value.reveal&as=engineer&on=X", "/policies?role=engineer&kind=X"} {
		if res, _ := v.ask(http.MethodGet, bad, nil); res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: %d", bad, res.StatusCode)
		}
	}
}

// TestSettingsPages: settings stay in the browser and do what they say; health is for who runs the installation.
func TestSettingsPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RolePlatform)
	v, platform := p.visitor(), p.visitor()
	v.signIn(access.RoleEngineer)
	has(t, "settings", v.get("/settings"), "for whoever runs the installation", "Letters move and open")
	if res, _ := v.ask(http.MethodPost, "/settings/health", url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("an engineer has the doctor look: %d", res.StatusCode)
	}
	body := v.post("/settings", http.StatusOK, url.Values{"theme": {"dark"}, "col": {"severity", "region"}})
	has(t, "settings kept", body, `data-theme="dark"`, `data-letters="off"`, "kept in this browser")
	list := v.get("/findings?status=open")
	if !strings.Contains(list, ">Region</th>") || strings.Contains(list, ">Owner</th>") {
		t.Error("the list does not have the columns that were chosen")
	}
	if strings.Contains(v.get("/findings?status=open&cols=object,owner"), ">Region</th>") {
		t.Error("the setting overrules the URL")
	}
	v.post("/settings", http.StatusOK, url.Values{"letters": {"1"}, "col": {"severity"}})
	if strings.Contains(v.get("/settings"), `data-letters="off"`) {
		t.Error("letters stay off")
	}
	platform.signIn(access.RolePlatform)
	has(t, "health", platform.get("/settings"), "Wrapping keys", "current", "What helps", "The doctor's output", "Queues", "agrees with the file system")
	platform.post("/settings/health", http.StatusOK, url.Values{})
}

// tells gives the installation two targets at addresses and with secrets that nobody is to see, one of which is down, and has them told. It
// returns the texts that lead to them.
func (p *portal) tells() []string {
	p.Helper()
	check := func(err error) {
		p.Helper()
		if err != nil {
			p.Fatal(err)
		}
	}
	var took atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/private-path/down" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		took.Add(1)
	}))
	p.Cleanup(receiver.Close)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("n"), 32))
	check(os.WriteFile(filepath.Join(p.home, "signing-secret"), []byte(secret), 0o600))
	check(os.WriteFile(filepath.Join(p.home, "address-of-on-call"), []byte(receiver.URL+"/private-path/down"), 0o600))
	var err error
	p.app.Notifier, err = notify.New(notify.Config{
		DB: p.app.DB, Guard: p.app.Guard, Home: p.home, Now: p.app.Now, Worker: "test", Targets: []notify.Target{
			{Name: "soc-room", Kind: notify.Webhook, URL: receiver.URL + "/private-path", SecretFile: "signing-secret", Allow: []string{"127.0.0.1/32"}},
			{Name: "on-call", Kind: notify.Slack, URLFile: "address-of-on-call", Allow: []string{"127.0.0.1/32"}},
		},
	})
	check(err)
	step := func() {
		p.Helper()
		check(p.app.Log.Sequence(p.Context()))
		check(p.app.Notifier.Step(p.Context(), p.app.Service("timed-work", "test")))
	}
	step() // the targets are on record
	operator, err := p.app.Operator()
	check(err)
	ask := access.Ask{Caller: operator, Context: access.Context{Now: p.app.Now(), Local: true}}
	_, _, err = p.app.Identity.AddUser(p.Context(), ask, "tilda", []string{access.RoleEngineer}, nil)
	check(err)
	step()
	if took.Load() == 0 {
		p.Fatal("nobody was told of somebody who may come from now on")
	}
	return []string{receiver.URL, strings.TrimPrefix(receiver.URL, "http://"), "private-path", "whsec_", "signing-secret", "address-of-on-call"}
}

// TestWhoIsToldPages: how deliveries to targets go is for who may administer them, without addresses and secrets.
func TestWhoIsToldPages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RoleAuditor, access.RolePlatform)
	private := p.tells()
	platform, engineer, auditor := p.visitor(), p.visitor(), p.visitor()
	platform.signIn(access.RolePlatform)
	engineer.signIn(access.RoleEngineer)
	auditor.signIn(access.RoleAuditor)
	page := platform.get("/settings")
	has(t, "settings", page, "Who is told what happens", "<b>soc-room</b>", "<b>on-call</b>", ">webhook<", ">slack<", "the receiver answered 503")
	for _, v := range []*visitor{engineer, auditor} {
		for _, text := range []string{"Who is told what happens", "soc-room", "on-call", "answered 503"} {
			if strings.Contains(v.get("/settings"), text) {
				t.Errorf("somebody who may not administer targets sees %q", text)
			}
		}
	}
	for _, text := range private {
		if strings.Contains(page, text) {
			t.Errorf("the page has one of the texts that lead to a receiver: %d characters", len(text))
		}
	}
}

// TestPeoplePages adds somebody, who gets in with the code that was shown once, and takes it all away again.
func TestPeoplePages(t *testing.T) {
	p := newPortal(t, access.RoleEngineer, access.RolePlatform)
	engineer, v := p.visitor(), p.visitor()
	engineer.signIn(access.RoleEngineer)
	for _, path := range []string{"/people", "/people/code", "/people/roles", "/people/disabled"} {
		if res, _ := engineer.ask(http.MethodPost, path, url.Values{"name": {"mallory"}, "role": {"platform"}, "person": {"x"}}); res.StatusCode != http.StatusForbidden {
			t.Errorf("an engineer at %s: %d", path, res.StatusCode)
		}
	}
	v.signIn(access.RolePlatform)
	body := v.post("/people", http.StatusOK, url.Values{"name": {"ines"}, "role": {"engineer"}, "teams": {"payments"}})
	m := regexp.MustCompile(`code-text mono">([^<]+)<`).FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no code")
	}
	list := v.get("/people")
	if strings.Contains(list, m[1]) {
		t.Error("the code is shown again")
	}
	has(t, "people", list, "ines", "a code until")
	p.codes["ines"] = m[1]
	ines := p.visitor()
	ines.signIn("ines")
	id := regexp.MustCompile(`name="person" value="([^"]+)"[^>]*>New code<span class="vh"> for ines`).FindStringSubmatch(list)
	if id == nil {
		t.Fatal("ines has no id")
	}
	v.post("/people/roles", http.StatusOK, url.Values{"person": {id[1]}, "role": {"auditor"}})
	ines.get("/audit")
	v.post("/people/disabled", http.StatusOK, url.Values{"person": {id[1]}, "disabled": {"1"}})
	if res, _ := ines.ask(http.MethodGet, "/overview", nil); res.Request.URL.Path != "/sign-in" {
		t.Error("kept out, and still in")
	}
	if body := v.post("/people/code", http.StatusOK, url.Values{"person": {id[1]}}); !strings.Contains(body, "code-text") || strings.Contains(body, m[1]) {
		t.Error("no new code")
	}
	v.post("/people", http.StatusConflict, url.Values{"name": {"ines"}})
	has(t, "kept out", v.get("/people"), "kept out", "Let in")
}

// operator asks as the machine's own user.
func (p *portal) operator() access.Ask {
	p.Helper()
	who, err := p.app.Operator()
	if err != nil {
		p.Fatal(err)
	}
	return access.Ask{Caller: who, Context: access.Context{Now: p.app.Now(), Local: true}}
}
