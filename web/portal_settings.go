package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"coffer/access"
	"coffer/api"
)

const (
	columnsCookie = "__Host-coffer-columns" // the columns of the list of findings, where a URL does not say

	healthAge  = time.Minute // how old a look at the installation may be that a page shows
	healthWait = 2 * time.Second
)

type settingsPage struct {
	Theme   string
	Letters bool
	Columns []column
	Zone    string
	Build   api.Build

	Head   sign
	Parts  []part
	Looked *when
	Busy   bool
	Text   string // the doctor's output, to copy
	May    bool   // the reader may have the doctor look
	Queues []queueRow
	Jobs   []jobRow
	AllJob bool
	Keys   []api.Key
	Told   []targetRow
	Config *api.Config
}

// part is one part of the installation: where it stands and what that means for whoever reads this.
type part struct {
	Name  string
	Sign  sign
	Found []string
	Do    []string
	Means string
	Since string
}

type queueRow struct {
	Name, Means string
	Count       linked
	Bad         bool
}

type jobRow struct {
	ID, Kind string
	Sign     sign
	Done     int
	Total    int
	Failed   int
	At       *when
	By       string
}

// targetRow is one of those that are told what happens.
type targetRow struct {
	Name, Kind string
	Sign       sign
	Last       *when // delivery; nil: none yet
	Behind     int64
	Dead       int
	Error      string
}

var targetSigns = map[string]sign{
	"ok": {"works", "ring-tick", "good"}, "failing": {"fails", "alert", "high"}, "dead": {"refused some", "triangle", "warn"}, "new": {"not begun", "ring-half", "quiet"},
}

// partWords are the parts of an installation in words, in this order, with what it means when one fails.
var partWords = []struct{ about, name, means string }{
	{"log", "Log", "Nothing is revealed, approved or fixed without it. Reading masked findings goes on."},
	{"anchors", "Checkpoints elsewhere", "That the whole log was set back could not be shown."},
	{"keys", "Keys", "Values cannot be opened or sealed."},
	{"store", "Store", "Nothing can be read or written."},
	{"home", "Home", "Nothing can be read or written."},
	{"disk", "Disk", "Nothing new can be sealed, logged or fixed."},
	{"clock", "Clock", "Leases, approvals and grace periods run wrong."},
	{"objects", "Objects", "Findings cannot be taken in, and nothing can be fixed."},
	{"findings", "Intake", "Some findings are not here with all their values."},
	{"plans", "Fixes", "An object may be half way through a fix; it is taken up where it stopped."},
	{"jobs", "Jobs", "Long work stands still until somebody resumes it."},
	{"policies", "Policies", "Who may do what is decided by what is in force now."},
	{"configuration", "Configuration", "The server runs with what it read when it started."},
	{"modes", "File modes", "Others on this machine may read what is sealed."},
	{"fips", "FIPS 140-3", ""},
}

var levelSigns = map[string]sign{"ok": {"in order", "ring-tick", "good"}, "warn": {"look here", "triangle", "warn"}, "fail": {"does not work", "alert", "high"}}

func (s *Server) settingsPages() {
	s.page(&route{id: "settings", method: http.MethodGet, path: "/settings", action: access.SessionEnd}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.settingsPage(ctx, v, healthAge)
	})
	s.page(&route{id: "settings-look", method: http.MethodPost, path: "/settings/health", action: access.AdminCheck}, func(ctx context.Context, v *visit) (*screen, error) {
		if _, _, err := s.diagnoses(ctx, v, 0); err != nil {
			return nil, err
		}
		return &screen{to: "/settings#health"}, nil
	})
	s.page(&route{id: "settings-set", method: http.MethodPost, path: "/settings", action: access.SessionEnd}, func(_ context.Context, v *visit) (*screen, error) {
		const year = 365 * 24 * time.Hour
		sc := &screen{to: "/settings", said: "The settings are kept in this browser."}
		theme, last := v.field("theme"), year
		if theme != "light" && theme != "dark" {
			theme, last = "", -1
		}
		sc.cookies = append(sc.cookies, hostCookie(themeCookie, theme, last))
		if v.field("letters") == "" {
			sc.cookies = append(sc.cookies, hostCookie(keysCookie, "off", year))
		} else {
			sc.cookies = append(sc.cookies, hostCookie(keysCookie, "", -1))
		}
		var cols []string
		for _, c := range columnsOf("") {
			if c.Fixed || slices.Contains(v.form["col"], c.ID) {
				cols = append(cols, c.ID)
			}
		}
		sc.cookies = append(sc.cookies, hostCookie(columnsCookie, strings.Join(cols, "."), year))
		return sc, nil
	})
}

// lettersOf reports whether letter keys are on.
func lettersOf(r *http.Request) bool {
	k, err := r.Cookie(keysCookie)
	return err != nil || k.Value != "off"
}

// columnsChosen are the columns that the reader chose for every list, in the form of the parameter "cols".
func columnsChosen(r *http.Request) string {
	if k, err := r.Cookie(columnsCookie); err == nil {
		return strings.ReplaceAll(k.Value, ".", ",")
	}
	return ""
}

// diagnoses has the doctor look, who records it.
func (s *Server) diagnoses(ctx context.Context, v *visit, fresh time.Duration) (found[[]api.Diagnosis], bool, error) {
	ask := v.ask
	return s.health.get(ctx, fresh, healthWait, func() error { return nil },
		func(ctx context.Context) ([]api.Diagnosis, error) { return s.Home.Diagnose(ctx, ask), nil })
}

func (s *Server) settingsPage(ctx context.Context, v *visit, fresh time.Duration) (*screen, error) {
	p := &settingsPage{Theme: themeOf(v.r), Letters: lettersOf(v.r), Columns: columnsOf(columnsChosen(v.r)), Zone: v.zone.String(), Build: s.Home.Build()}
	system := access.Resource{Kind: access.System}
	sc := &screen{page: "settings", title: "Settings and health", nav: "/settings", data: p}
	p.May = s.may(ctx, v.call, access.AdminCheck, system, v.ask.Context)
	if s.may(ctx, v.call, access.FindingList, system, v.ask.Context) {
		if err := p.queues(ctx, s, v); err != nil {
			return nil, err
		}
	}
	jobs, err := s.Jobs.All(ctx)
	if err != nil {
		return nil, err
	}
	p.AllJob = s.may(ctx, v.call, access.AdminJob, system, v.ask.Context)
	for _, j := range jobs {
		if !p.AllJob && j.By != v.ask.Caller.ID {
			continue
		}
		row := jobRow{ID: j.ID, Kind: j.Kind, Done: j.Done, Total: j.Total, Failed: j.Failed, At: v.at(j.Created), By: s.personName(ctx, v, j.By), Sign: sign{string(j.State), "ring-half", "accent"}}
		switch string(j.State) {
		case "done":
			row.Sign.Icon, row.Sign.Tone = "ring-tick", "good"
		case "failed":
			row.Sign.Icon, row.Sign.Tone = "ring-cross", "high"
		case "interrupted":
			row.Sign.Icon, row.Sign.Tone = "triangle", "warn"
		case "cancelled":
			row.Sign.Icon, row.Sign.Tone = "ring-slash", "quiet"
		}
		if p.Jobs = append(p.Jobs, row); len(p.Jobs) == 20 {
			break
		}
	}
	if !p.May {
		return sc, nil
	}
	config := s.Home.Config()
	if d, err := time.ParseDuration(config.Grace); err == nil {
		config.Grace = age(d)
	}
	p.Config = &config
	if s.may(ctx, v.call, access.KeyRotate, system, v.ask.Context) {
		if p.Keys, err = s.Home.Keys(ctx, v.ask); err != nil {
			return nil, err
		}
	}
	if s.may(ctx, v.call, access.AdminNotify, system, v.ask.Context) {
		told, err := s.Home.Targets(ctx, v.ask)
		if err != nil {
			return nil, err
		}
		for _, t := range told {
			row := targetRow{Name: t.Target, Kind: t.Kind, Sign: targetSigns[t.State], Behind: t.Behind, Dead: t.Dead, Error: t.Error}
			if !t.SentAt.IsZero() {
				row.Last = v.at(t.SentAt)
			}
			p.Told = append(p.Told, row)
		}
	}
	f, busy, err := s.diagnoses(ctx, v, fresh)
	if err != nil {
		return nil, err
	}
	if p.Busy = busy; busy {
		sc.header = http.Header{"Refresh": {"3"}}
	}
	p.Looked = v.at(f.at)
	p.parts(f.value)
	return sc, nil
}

// parts makes one line of what was found about each part, the worst first.
func (p *settingsPage) parts(list []api.Diagnosis) {
	rank := map[string]int{"ok": 0, "warn": 1, "fail": 2}
	level := map[string]string{}
	byName := map[string]*part{}
	var order []string
	var text strings.Builder
	for _, d := range list {
		text.WriteString(d.Level + "\t" + d.About + "\t" + d.Found + "\n")
		if d.Do != "" {
			text.WriteString("\t\t" + d.Do + "\n")
		}
		one := byName[d.About]
		if one == nil {
			one = &part{Name: strings.ToUpper(d.About[:1]) + d.About[1:]}
			byName[d.About], level[d.About] = one, "ok"
			order = append(order, d.About)
		}
		if rank[d.Level] > rank[level[d.About]] {
			level[d.About] = d.Level
		}
		one.Found = append(one.Found, d.Found)
		if d.Do != "" {
			one.Do = append(one.Do, d.Do)
		}
	}
	p.Text = text.String()
	place := func(about string) int {
		for i, w := range partWords {
			if w.about == about {
				return i
			}
		}
		return len(partWords)
	}
	slices.SortStableFunc(order, func(a, b string) int {
		if d := rank[level[b]] - rank[level[a]]; d != 0 {
			return d
		}
		return place(a) - place(b)
	})
	worst, fails, warns := "ok", 0, 0
	for _, about := range order {
		one := byName[about]
		one.Sign = levelSigns[level[about]]
		if i := place(about); i < len(partWords) {
			one.Name = partWords[i].name
			if level[about] == "fail" {
				one.Means = partWords[i].means
			}
		}
		switch level[about] {
		case "fail":
			fails++
		case "warn":
			warns++
		}
		if rank[level[about]] > rank[worst] {
			worst = level[about]
		}
		p.Parts = append(p.Parts, *one)
	}
	p.Head = levelSigns[worst]
	switch worst {
	case "ok":
		p.Head.Word = "Everything is in order"
	case "warn":
		p.Head.Word = counted(warns, "part") + " to look at; everything works"
	default:
		p.Head.Word = counted(fails, "part") + map[bool]string{true: " does not work", false: " do not work"}[fails == 1]
	}
}

// queues counts what waits on the way in.
func (p *settingsPage) queues(ctx context.Context, s *Server, v *visit) error {
	c := &counter{}
	rows := []struct{ name, means, state string }{
		{"Being taken in", "received or sealing", "received,sealing"}, {"Waiting", "the bytes cannot be read now", "parked"}, {"Failed", "taking it in again tries again", "failed"},
	}
	p.Queues = make([]queueRow, len(rows))
	for i, r := range rows {
		p.Queues[i] = queueRow{Name: r.name, Means: r.means, Bad: r.state == "failed"}
		c.add(func(n int, to string) { p.Queues[i].Count = linked{N: n, To: to, Name: r.name} }, "state="+r.state)
	}
	if c.err != nil {
		return c.err
	}
	counts, err := s.Desk.Counts(ctx, v.ask, c.filters...)
	for i, n := range counts {
		c.into[i](n)
	}
	return err
}
