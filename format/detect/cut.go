package detect

import (
	"slices"
	"strings"

	"coffer"
)

// Cut returns l with what the detectors find in its names replaced by "...", the way Macie leaves out the name of a field that
// is itself sensitive. The full place is for the inside; this one is for showing.
func (s *Set) Cut(l coffer.Location) coffer.Location {
	l.Path = s.cut(l.Path)
	l.Sheet = s.cut(l.Sheet)
	if l.Member != "" {
		names := l.Names()
		for i := range names {
			names[i] = s.cut(names[i])
		}
		l.Member = coffer.MemberPath(names...)
	}
	return l
}

func (s *Set) cut(name string) string {
	if len(name) < MinValue {
		return name
	}
	text := []byte(name)
	var cuts []Match
	s.ScanAll(Text{Text: text}, s.Types(), func(_ coffer.DataType, m Match) bool {
		cuts = append(cuts, m)
		return true
	})
	// Without a keyword a scan says nothing of an account or social security number; in a name any long number is one too many.
	for i := 0; i < len(text); {
		j, digits := i, 0
		for j < len(text) && ('0' <= text[j] && text[j] <= '9' || digits > 0 && (text[j] == '-' || text[j] == ' ')) {
			if text[j] >= '0' && text[j] <= '9' {
				digits++
			}
			j++
		}
		if digits >= 9 {
			cuts = append(cuts, Match{Start: i, End: j})
		}
		i = max(j, i+1)
	}
	if len(cuts) == 0 {
		return name
	}
	slices.SortFunc(cuts, func(a, b Match) int { return a.Start - b.Start })
	var b strings.Builder
	pos := 0
	for _, c := range cuts {
		if c.End <= pos {
			continue
		}
		if c.Start >= pos {
			b.WriteString(name[pos:c.Start])
			b.WriteString("...")
		}
		pos = c.End
	}
	b.WriteString(name[pos:])
	return b.String()
}
