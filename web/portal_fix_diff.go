package web

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"coffer"
	"coffer/remedy"
)

const (
	diffRows    = 12 // rows that a diff shows before it folds
	diffTail    = 2  // and behind the fold
	diffColumns = 5  // changed columns beside each other; with more the replacements are listed
	pieceRows   = 3  // of a diff as an inbox shows it
)

// diffView is the masked diff of a plan: for cells of one table the rows before and after, side by side; for everything else, by choice, and
// on narrow screens the list of the replacements.
type diffView struct {
	Cells    bool
	List     bool // the list alone: by choice, or because there is no table
	Sentence string
	Before   string // the version
	Cols     []diffCol
	Rows     []diffRow
	Items    []diffItem
	ToSide   string
	ToList   string
	Last     string // what is not on this page
	ToLast   string
}

type diffCol struct {
	Name string
	Wide bool
}

// diffRow is one row of the table, or a run of rows in a sentence.
type diffRow struct {
	No    string
	Cells []diffCell
	Fold  string
	To    string
}

type diffCell struct {
	Changed bool
	After   string
	Beyond  bool
}

// diffItem is one replacement, or a run of them in a sentence.
type diffItem struct {
	Place, Full, Name, Kind string
	After                   string
	Beyond                  bool // beyond Macie's list
	Inside                  bool // more of the line or cell stands around it
	Fold, To                string
}

// cellColumn is a column of a table in the object.
type cellColumn struct {
	member, sheet string
	n             int64
}

// diff reads at most maxListed changes of a plan, from where the address says, and lays them out. It also returns the first of those that
// the sweep found.
func (s *Server) diff(ctx context.Context, v *visit, p *remedy.Plan) (diffView, []diffItem, error) {
	from, _ := strconv.Atoi(v.get("from")) // what is no number is the beginning
	from = max(0, from)
	whole := from > 0 || v.get("diff") == "all" || v.get("diff") == "list-all"
	var list []remedy.Change
	n := 0
	for ch, err := range s.Remedy.Changes(ctx, p.ID) {
		if err != nil {
			return diffView{}, nil, err
		}
		if n++; n > from {
			list = append(list, ch)
		}
		if len(list) == maxListed {
			break
		}
	}
	names, err := s.columnNames(ctx, p)
	if err != nil {
		return diffView{}, nil, err
	}
	d := diffView{Before: p.Object.VersionID, List: v.get("diff") == "list" || v.get("diff") == "list-all", ToSide: fixPath(p.ID), ToList: fixPath(p.ID) + "?diff=list"}
	d.Sentence = counted(p.Changes, "place") + " change. Every other byte stays as it is."
	if p.Changes == 1 {
		d.Sentence = "1 place changes. Every other byte stays as it is."
	}
	all := "?diff=all"
	if d.List {
		all = "?diff=list-all"
	}
	s.replacements(list, names, &d)
	var beyond []diffItem
	for _, it := range d.Items {
		if it.Beyond && len(beyond) < 5 {
			beyond = append(beyond, it)
		}
	}
	d.table(list, names)
	if !d.Cells {
		d.List = true
	}
	if !whole {
		d.fold(fixPath(p.ID) + all)
	}
	if rest := p.Changes - from - len(list); rest > 0 && p.Resweep && n < p.Changes {
		d.Last = counted(rest, "more replacement") + ", which are not kept one by one; applying finds them again."
	} else if rest > 0 {
		d.Last, d.ToLast = counted(rest, "more replacement"), fixPath(p.ID)+all+"&from="+strconv.Itoa(from+len(list))
	}
	return d, beyond, nil
}

// columnNames are the names that Macie gave the columns in which it reported values.
func (s *Server) columnNames(ctx context.Context, p *remedy.Plan) (map[cellColumn]string, error) {
	names := map[cellColumn]string{}
	for _, id := range p.Findings {
		lines, err := s.Desk.Records.Lines(ctx, id)
		if err != nil {
			return nil, err
		}
		for i := range lines {
			at := lines[i].At
			if at.Kind == coffer.Cell && lines[i].Column != "" {
				names[cellColumn{at.Member, at.Sheet, at.Column}] = lines[i].Column
			}
		}
	}
	return names, nil
}

// replacements lists the replacements.
func (s *Server) replacements(list []remedy.Change, names map[cellColumn]string, d *diffView) {
	for _, ch := range list {
		at := s.Home.Cut(ch.At)
		it := diffItem{Full: at.String(), Kind: lowerKind(ch.Type), After: printable(ch.After), Beyond: ch.N == 0, Inside: at.Kind == coffer.Lines || at.Kind == coffer.Offset}
		if ch.Custom != "" {
			it.Kind = ch.Custom
		}
		it.Place = it.Full
		switch at.Kind {
		case coffer.Cell:
			it.Name = names[cellColumn{ch.At.Member, ch.At.Sheet, ch.At.Column}]
			if at.Member == "" {
				it.Place = fmt.Sprintf("R%dC%d", at.Row, at.Column)
				if at.Sheet != "" {
					it.Place = at.Sheet + ", " + it.Place
				}
			}
		case coffer.Record:
			it.Name = at.Path
			if at.Member == "" {
				it.Place = fmt.Sprintf("record %d", at.Index)
			}
		case coffer.Lines:
			if at.Member == "" {
				it.Place = fmt.Sprintf("line %d", at.Start)
				if at.StartColumn > 0 {
					it.Place += fmt.Sprintf(", from %d", at.StartColumn)
				}
			}
		case coffer.NoPlace, coffer.Page, coffer.Offset:
		}
		d.Items = append(d.Items, it)
	}
}

// table lays the changes out as rows, where they are cells of one table with few changed columns.
func (d *diffView) table(list []remedy.Change, names map[cellColumn]string) {
	var cols []int64
	for i, ch := range list {
		at := ch.At
		if at.Kind != coffer.Cell || at.Column == 0 || at.Sheet != list[0].At.Sheet || at.Member != list[0].At.Member || i > 0 && at.Row < list[i-1].At.Row {
			return
		}
		if !slices.Contains(cols, at.Column) {
			cols = append(cols, at.Column)
		}
	}
	if len(list) == 0 || len(cols) > diffColumns {
		return
	}
	d.Cells = true
	slices.Sort(cols)
	where := map[int64]int{}
	last := int64(0)
	for _, c := range cols {
		if c > last+1 {
			d.Cols = append(d.Cols, diffCol{})
		}
		name := names[cellColumn{list[0].At.Member, list[0].At.Sheet, c}]
		if name == "" {
			name = "column " + strconv.FormatInt(c, 10)
		}
		where[c] = len(d.Cols)
		d.Cols = append(d.Cols, diffCol{Name: name, Wide: true})
		last = c
	}
	row := int64(0)
	for _, ch := range list {
		if ch.At.Row != row {
			if gap := ch.At.Row - row - 1; row > 0 && gap > 0 {
				fold := fmt.Sprintf("Row %d, nothing to replace", row+1)
				if gap > 1 {
					fold = fmt.Sprintf("Rows %s to %s, nothing to replace", grouped(row+1), grouped(row+gap))
				}
				d.Rows = append(d.Rows, diffRow{Fold: fold})
			}
			row = ch.At.Row
			d.Rows = append(d.Rows, diffRow{No: grouped(row), Cells: make([]diffCell, len(d.Cols))})
		}
		cell := &d.Rows[len(d.Rows)-1].Cells[where[ch.At.Column]]
		cell.Changed, cell.After, cell.Beyond = true, printable(ch.After), ch.N == 0
	}
}

// fold shows the beginning and the end, and what is between in one line that leads to it.
func (d *diffView) fold(to string) {
	beyond := func(n int) string {
		if n == 0 {
			return ""
		}
		return ", " + grouped(n) + " of them beyond Macie's list"
	}
	if n := len(d.Rows); n > diffRows+diffTail+1 {
		mid := d.Rows[diffRows : n-diffTail]
		changes, swept, first, last := 0, 0, "", ""
		for _, r := range mid {
			if r.No != "" {
				if first == "" {
					first = r.No
				}
				last = r.No
			}
			for _, c := range r.Cells {
				if c.Changed {
					changes++
					if c.Beyond {
						swept++
					}
				}
			}
		}
		line := diffRow{Fold: fmt.Sprintf("Rows %s to %s, %s%s", first, last, counted(changes, "replacement"), beyond(swept)), To: to}
		d.Rows = slices.Concat(d.Rows[:diffRows], []diffRow{line}, d.Rows[n-diffTail:])
	}
	if n := len(d.Items); n > diffRows+diffTail+1 {
		swept := 0
		for _, it := range d.Items[diffRows : n-diffTail] {
			if it.Beyond {
				swept++
			}
		}
		line := diffItem{Fold: counted(n-diffRows-diffTail, "more replacement") + beyond(swept), To: to}
		d.Items = slices.Concat(d.Items[:diffRows], []diffItem{line}, d.Items[n-diffTail:])
	}
}

// piece is the beginning of a diff, for an inbox.
func (d diffView) piece() diffView {
	rows := 0
	for i, r := range d.Rows {
		if r.No != "" {
			rows++
		}
		if rows > pieceRows {
			d.Rows = d.Rows[:i]
			break
		}
	}
	d.Items = d.Items[:min(len(d.Items), pieceRows)]
	return d
}
