package web

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// trendDays is how many days the overview looks back.
const trendDays = 30

type day struct {
	at                 time.Time
	opened, closed     int
	toOpened, toClosed string
}

// days is the plot of what was opened and closed each day, drawn 560 wide: opened up, closed down from one zero line.
type days struct {
	day  []day
	open int

	Marks  []dayMark
	Lines  []gridLine
	Labels []plotLabel
	Zero   int
	Height int
	Line   string // of the open total, above the bars: points of an SVG
	NowY   int    // where it ends
	Now    int
	Then   int  // what it begins with
	Few    bool // under five days with anything: the table alone
	None   bool // nothing on any day
}

// dayMark is one day: two bars and the two lists behind them.
type dayMark struct {
	X, UpY, UpH, DownY, DownH  int
	Opened, Closed             int
	ToOpened, ToClosed         string
	Name, NameOpened, NameShut string
}

type gridLine struct {
	Y     int
	Label string
}

type plotLabel struct {
	X    int
	Text string
}

const (
	plotWidth = 520 // of the bars; 40 more for the labels of the scale
	plotUp    = 84  // of the larger of the two halves
	lineUp    = 40  // of the line of the open total
	lineRoom  = 76  // that it takes, with the words below it
)

// draw places the marks.
func (d *days) draw() {
	most, up, down, some := 1, 0, 0, 0
	for _, one := range d.day {
		up, down = max(up, one.opened), max(down, one.closed)
		if one.opened+one.closed > 0 {
			some++
		}
	}
	d.Few, d.None = some < 5, some == 0
	most = scale(max(up, down))
	upper := max(16, plotUp*up/most)
	d.Zero = lineRoom + upper
	d.line()
	step := plotWidth / len(d.day)
	length := func(n int) int {
		if n == 0 {
			return 0
		}
		return max(1, plotUp*n/most)
	}
	for i, one := range d.day {
		at := one.at.Format("2 January")
		d.Marks = append(d.Marks, dayMark{
			X: i * step, UpY: d.Zero - length(one.opened), UpH: length(one.opened), DownY: d.Zero, DownH: length(one.closed),
			Opened: one.opened, Closed: one.closed, ToOpened: one.toOpened, ToClosed: one.toClosed, Name: at,
			NameOpened: fmt.Sprintf("%s: %s opened", at, grouped(one.opened)), NameShut: fmt.Sprintf("%s: %s closed", at, grouped(one.closed)),
		})
		if i%7 == 1 {
			d.Labels = append(d.Labels, plotLabel{i * step, one.at.Format("2 Jan")})
		}
	}
	d.Lines = append(d.Lines, gridLine{d.Zero - plotUp, grouped(most)}) // never above the line of the open total: only where bars are that high
	if up < most/2 {
		d.Lines = d.Lines[:0]
	}
	d.Height = d.Zero + max(16, length(down)) + 24
}

// line draws how many were open at the end of each day, reckoned back from now by what was opened and closed since.
func (d *days) line() {
	n := len(d.day)
	total := make([]int, n)
	total[n-1] = d.open
	for i := n - 1; i > 0; i-- {
		total[i-1] = max(0, total[i]-d.day[i].opened+d.day[i].closed)
	}
	low, high := slices.Min(total), slices.Max(total)
	step := plotWidth / n
	var points strings.Builder
	for i, one := range total {
		d.NowY = 8 + lineUp - lineUp*(one-low)/max(1, high-low)
		fmt.Fprintf(&points, "%d,%d ", i*step+step/2, d.NowY)
	}
	d.Line, d.Now, d.Then = strings.TrimSpace(points.String()), d.open, total[0]
}

// scale is the first round number that is at least n.
func scale(n int) int {
	for unit := 1; ; unit *= 10 {
		for _, m := range []int{1, 2, 5} {
			if unit*m >= n {
				return unit * m
			}
		}
	}
}
