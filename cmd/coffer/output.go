package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// output writes what a command has to say: JSON Lines, or tables for people that fit the terminal.
type output struct {
	w     io.Writer
	err   io.Writer
	json  bool
	width int  // of the terminal; 0: not a terminal, nothing is cut
	color bool // the terminal may show colours
	bar   bool // standard error is a terminal: progress may be shown
	enc   *json.Encoder
}

func newOutput(e *env) *output {
	o := &output{w: e.stdout, err: e.stderr, json: e.JSON, enc: json.NewEncoder(e.stdout)}
	o.enc.SetEscapeHTML(false)
	if f, ok := e.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.width = w
		}
		o.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if f, ok := e.stderr.(*os.File); ok && !e.JSON {
		o.bar = term.IsTerminal(int(f.Fd()))
	}
	return o
}

// element writes one JSON line.
func (o *output) element(v any) error { return o.enc.Encode(v) }

// say writes a line for people; in JSON mode nothing.
func (o *output) say(format string, args ...any) {
	if !o.json {
		fmt.Fprintf(o.w, format+"\n", args...)
	}
}

// safe makes text from outside harmless for a terminal, on one line: no control, no bidirectional or invisible characters.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return '↵'
		}
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// table collects rows and prints them aligned. When the table is wider than the terminal, the last column is wrapped, and the
// column that may shrink loses the beginning of its texts: the end of an object's key tells more.
type table struct {
	o      *output
	head   []string
	rows   [][]string
	shrink int
}

const (
	leastWrapped = 24 // characters of a wrapped last column
	leastShrunk  = 16 // characters of the column that shrinks
)

func (o *output) table(shrink int, head ...string) *table {
	return &table{o: o, head: head, shrink: shrink}
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = safe(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print() {
	if len(t.rows) == 0 {
		return
	}
	width := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	over := -2
	for _, w := range width {
		over += w + 2
	}
	over -= t.o.width
	give := func(i, least int) {
		if t.o.width > 0 && over > 0 && width[i] > least {
			d := min(over, width[i]-least)
			width[i] -= d
			over -= d
		}
	}
	last := len(width) - 1
	give(last, leastWrapped)
	give(t.shrink, leastShrunk)
	t.line(width, t.head, "\x1b[1m")
	for _, r := range t.rows {
		t.line(width, r, "")
	}
}

// line prints one row, its last cell over as many lines as it needs.
func (t *table) line(width []int, r []string, style string) {
	last := len(r) - 1
	rest := wrap(r[last], width[last])
	var b strings.Builder
	for i, c := range r[:last] {
		runes := []rune(c)
		if len(runes) > width[i] {
			runes = append([]rune("…"), runes[len(runes)-width[i]+1:]...)
		}
		b.WriteString(string(runes))
		b.WriteString(strings.Repeat(" ", width[i]-len(runes)+2))
	}
	indent := strings.Repeat(" ", utf8.RuneCountInString(b.String()))
	for i, part := range rest {
		text := indent + part
		if i == 0 {
			text = b.String() + part
		}
		text = strings.TrimRight(text, " ")
		if style != "" && t.o.color {
			text = style + text + "\x1b[0m"
		}
		fmt.Fprintln(t.o.w, text)
	}
}

// wrap breaks a text into lines of at most width characters, at spaces where it can. There is at least one line.
func wrap(s string, width int) []string {
	runes := []rune(s)
	var out []string
	for len(runes) > width {
		cut := width
		for i := width; i > width/2; i-- {
			if runes[i] == ' ' {
				cut = i
				break
			}
		}
		out = append(out, string(runes[:cut]))
		runes = runes[cut:]
		for len(runes) > 0 && runes[0] == ' ' {
			runes = runes[1:]
		}
	}
	return append(out, string(runes))
}

// progress shows how far long work has come, on standard error, once it has taken a second.
type progress struct {
	o     *output
	what  string
	start time.Time
	last  time.Time
	shown bool
}

func (o *output) progress(what string) *progress {
	return &progress{o: o, what: what, start: time.Now()}
}

// at reports n of total; total 0 means unknown.
func (p *progress) at(n, total int) {
	now := time.Now()
	if !p.o.bar || now.Sub(p.start) < time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	if total > 0 {
		const width = 24
		full := width * n / total
		fmt.Fprintf(p.o.err, "\r\x1b[K%s [%s%s] %d/%d", p.what, strings.Repeat("#", full), strings.Repeat(".", width-full), n, total)
		return
	}
	fmt.Fprintf(p.o.err, "\r\x1b[K%s %d", p.what, n)
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.o.err, "\r\x1b[K")
	}
}

// wait shows, like a progress of which nothing is known, how long something takes that is one step, until the function that it returns is
// called.
func (o *output) wait(what string) (end func()) {
	if !o.bar {
		return func() {}
	}
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-stop:
				if n > 1 {
					fmt.Fprint(o.err, "\r\x1b[K")
				}
				return
			case <-tick.C:
				fmt.Fprintf(o.err, "\r\x1b[K%s %d s", what, n)
			}
		}
	}()
	return func() {
		close(stop)
		<-over
	}
}

// plural returns "1 value", "2 values".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "y") && !strings.HasSuffix(what, "ey") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size writes a number of bytes for people.
func size(n int64) string {
	const units = "KMGTP"
	if n < 1000 {
		return plural(int(n), "byte")
	}
	f, i := float64(n)/1000, 0
	for ; f >= 999.5 && i < len(units)-1; i++ {
		f /= 1000
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, units[i])
	}
	return fmt.Sprintf("%.0f %cB", f, units[i])
}
