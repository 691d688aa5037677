package detect

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// person finds names of people. A name has no form of its own: in a row it is known by its column, in running text by two or more
// capitalised words in a row, of which a well-known given name is the best.
type person struct{}

func (person) Distinct() bool    { return false }
func (person) Scan(Text) []Match { return nil }

// Find implements [Detector].
func (person) Find(t Text) []Match {
	if t.Cell {
		if s, e := trim(t.Text); nameLike(t.Text[s:e]) {
			return []Match{{s, e, true}}
		}
	}
	fs := findNames(t.Text)
	// Where one of the candidates has a given name, the others are likelier headings than people.
	n := 0
	for _, f := range fs {
		if f.v == sure {
			fs[n] = f
			n++
		}
	}
	if n > 0 {
		fs = fs[:n]
	}
	return publish(fs)
}

// FindRow implements [RowDetector]: by the names of the columns; where they say nothing, by given names in the cells.
func (person) FindRow(row []Text) [][]Piece {
	var out [][]Piece
	// Of the columns that belong together the n-th given name and the n-th family name are one person's.
	type people struct {
		values []int // indices into out
		count  [fullName]int
	}
	groups := make(map[string]*people)
	for i, t := range row {
		role, group := nameRole(t.Name)
		s, e := trim(t.Text)
		if role == 0 || s == e || !hasLetter(t.Text[s:e]) || bytes.IndexByte(t.Text[s:e], '@') >= 0 {
			continue
		}
		p := Piece{i, s, e}
		if role == fullName {
			out = append(out, []Piece{p})
			continue
		}
		g := groups[group]
		if g == nil {
			g = new(people)
			groups[group] = g
		}
		n := g.count[role]
		g.count[role]++
		if n < len(g.values) {
			k := g.values[n]
			out[k] = append(out[k], p)
			continue
		}
		g.values = append(g.values, len(out))
		out = append(out, []Piece{p})
	}
	if out != nil {
		return out
	}
	for i, t := range row {
		s, e := trim(t.Text)
		switch {
		case !oneWord(t.Text) || !isGiven(t.Text[s:e]):
			for _, f := range findNames(t.Text) {
				if f.v == sure {
					out = append(out, []Piece{{i, f.start, f.end}})
				}
			}
		case i+1 < len(row) && oneWord(row[i+1].Text): // given name, family name
			s2, e2 := trim(row[i+1].Text)
			out = append(out, []Piece{{i, s, e}, {i + 1, s2, e2}})
		case i > 0 && oneWord(row[i-1].Text):
			s0, e0 := trim(row[i-1].Text)
			out = append(out, []Piece{{i - 1, s0, e0}, {i, s, e}})
		}
	}
	return disjoint(len(row), out)
}

// disjoint drops values of which a piece is already part of an earlier value. In each of the n cells pieces come in ascending order.
func disjoint(n int, values [][]Piece) [][]Piece {
	used := make([]int, n)
	return slices.DeleteFunc(values, func(v []Piece) bool {
		for _, p := range v {
			if p.Start < used[p.Index] {
				return true
			}
		}
		for _, p := range v {
			used[p.Index] = p.End
		}
		return false
	})
}

// The parts of a name that a column may hold.
const (
	givenName uint8 = 1 << iota
	middleName
	familyName
	fullName
)

// columnWords splits the name of a column into lower-case words without accents: at what is not a letter or digit, and before
// capitals.
func columnWords(name []byte) []string {
	var words []string
	var w []byte
	flush := func() {
		if len(w) > 0 {
			words = append(words, string(w))
			w = w[:0]
		}
	}
	if len(name) > 512 {
		name = name[len(name)-512:]
	}
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRune(name[i:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush()
		} else {
			if unicode.IsUpper(r) && wordBreak(name, i) {
				flush()
			}
			w = utf8.AppendRune(w, fold(r))
		}
		i += n
	}
	flush()
	return words
}

func oneOf(w, list string) bool {
	for x := range strings.SplitSeq(list, " ") {
		if x == w {
			return true
		}
	}
	return false
}

// nameRole says which part of a name the column holds, 0 for none, and by what it belongs to other columns: billing, contact2.
func nameRole(column []byte) (role uint8, group string) {
	words := columnWords(column)
	var rest []string
	named := false
	for _, w := range words {
		switch {
		case oneOf(w, "firstname fname givenname forename vorname prenom nombre nombres givennames"):
			role = givenName
		case oneOf(w, "middlename mname initial initials"):
			role = middleName
		case oneOf(w, "lastname lname surname familyname nachname familienname apellido apellidos cognome sobrenome maidenname secondname"):
			role = familyName
		case oneOf(w, "fullname kundenname cardholder accountholder payee beneficiary"):
			role, named = fullName, true
		case oneOf(w, "name names nome nom"):
			named = true
		case oneOf(w, "user username login file filename host hostname domain company organization organisation org business bank "+
			"product item table column field city state country street event job project service bucket key class type brand "+
			"merchant store vendor school department dept team region role group plan tag template id email phone date time "+
			"device server system category branch currency metric"):
			return 0, ""
		default:
			rest = append(rest, w)
		}
	}
	if role == 0 && named {
		role = fullName
		for i, w := range rest {
			part := uint8(0)
			switch w {
			case "first", "given", "fore", "christian":
				part = givenName
			case "middle":
				part = middleName
			case "last", "family", "sur", "maiden", "birth":
				part = familyName
			default:
				continue
			}
			role = part
			rest = append(rest[:i], rest[i+1:]...)
			break
		}
	}
	return role, strings.Join(rest, " ")
}

func hasLetter(b []byte) bool {
	for _, c := range b {
		if class[c] == isLetter || c >= 0x80 {
			return true
		}
	}
	return false
}

// nameLike reports whether b as a whole can be a name: one to six words of Latin letters.
func nameLike(b []byte) bool {
	if len(b) < 2 || len(b) > 120 {
		return false
	}
	words, letters := 1, 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case unicode.Is(unicode.Latin, r) || unicode.Is(unicode.Mn, r):
			letters++
		case r == ' ' || r == 0xa0:
			words++
		case r == '\'' || r == '’' || r == '-' || r == '.' || r == ',':
		default:
			return false
		}
		i += n
	}
	return letters >= 2 && words <= 6
}

func oneWord(b []byte) bool {
	s, e := trim(b)
	b = b[s:e]
	r, _ := utf8.DecodeRune(b)
	return len(b) > 1 && nameLike(b) && bytes.IndexByte(b, ' ') < 0 && unicode.IsUpper(r)
}

func isGiven(b []byte) bool {
	var w [24]byte
	n := 0
	for i := 0; i < len(b); {
		r, size := foldAt(b, i)
		if r >= utf8.RuneSelf || n == len(w) {
			return false
		}
		w[n] = byte(r)
		n++
		i += size
	}
	return givenNames()[string(w[:n])]
}

// findNames finds two or more words of a name in a row. sure: one of them is a well-known given name.
func findNames(b []byte) (fs []found) {
	// cursor is where the words so far end, end where the last of them that counts does: a name does not end in "de la".
	start, end, cursor, capitals, given := -1, 0, 0, 0, false
	flush := func() {
		if start >= 0 && capitals >= 2 {
			v := plausible
			if given {
				v = sure
			}
			fs = append(fs, found{start, end, v})
		}
		start, capitals, given = -1, 0, false
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if !unicode.IsLetter(r) {
			// One space joins words, as a full stop and a space do after an initial. Everything else ends a name.
			if !(start >= 0 && i == cursor && (r == ' ' || r == '.' && initialBefore(b, i))) {
				flush()
			} else if r == '.' {
				end, cursor = i+1, i+1
			}
			i += n
			continue
		}
		e, latin := i, true
		for e < len(b) {
			c, k := utf8.DecodeRune(b[e:])
			if !unicode.IsLetter(c) && !((c == '\'' || c == '’' || c == '-') && wordAt(b, e+k)) {
				break
			}
			latin = latin && (!unicode.IsLetter(c) || unicode.Is(unicode.Latin, c))
			e += k
		}
		w := b[i:e]
		switch {
		case !latin || wordAt(b, e) || i > 0 && (digitAt(b, i-1) || b[i-1] == '_' || b[i-1] == '@' || b[i-1] == '/'):
			flush()
		case unicode.IsUpper(r) && !stopWord(w):
			if start < 0 || i != cursor+1 {
				flush()
				start = i
			}
			end, cursor = e, e
			if utf8.RuneCount(w) > 1 {
				capitals++
				given = given || isGiven(w)
			}
			if capitals == 5 {
				flush()
			}
		case start >= 0 && i == cursor+1 && particle(w):
			cursor = e
		default:
			flush()
		}
		i = e
	}
	flush()
	return fs
}

func initialBefore(b []byte, i int) bool {
	_, n := utf8.DecodeLastRune(b[:i])
	return !wordBefore(b, i-n)
}

func upperAt(b []byte, i int) bool {
	r, _ := utf8.DecodeRune(b[i:])
	return unicode.IsUpper(r)
}

func particle(w []byte) bool {
	return len(w) <= 4 && oneOf(string(w), "de da do dos das del della der den di du la le van von vom zu zum zur bin ibn al el y e of ter ten af av")
}

// stopWord reports words that stand capitalised before, after or instead of a name.
func stopWord(w []byte) bool {
	if len(w) > 16 {
		return true
	}
	return oneOf(string(bytes.ToLower(w)), "the a an to from dear hello hi mr mrs ms miss mx dr prof sir madam herr frau monsieur madame signor signora senor senora "+
		"customer client patient account name first last street avenue road lane drive city state country united states kingdom "+
		"monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december "+
		"info debug error warn warning fatal trace notice note re subject date invoice order payment refund please thank regards sincerely "+
		"bank card number phone email address ssn id inc llc ltd gmbh corp company and or for of in on at by with this that our your we you i "+
		"page section chapter table figure total amount balance statement report id no yes true false null none")
}

// givenNames is a few hundred given names, common in the countries whose data Macie looks for. They only rank what has the form of
// a name, so the list need not be complete.
var givenNames = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool, 512)
	for n := range strings.FieldsSeq(givenNameList) {
		m[n] = true
	}
	return m
})

const givenNameList = `
aaron adam adrian agnes ahmed aisha alan albert alejandra alejandro alessandra alessandro alex alexander alexandra alexis alfred
alfredo ali alice alicia alison allison alma amanda amber amelia amelie amir amy ana anders andre andrea andreas andres andrew
angel angela angelica angelo anita anja ann anna anne annette annie anthony antoine antonella antonia antonio april arjun arnav
arthur ashley astrid audrey ava barbara beatrice beatriz ben benedikt benjamin bernard bernd bertha betty beth birgit bjorn
bradley brandon brenda brian bruce bruno bryan camila camille carl carla carlo carlos carmen carol carolina caroline carolyn
catalina catherine cecilia chantal charles charlotte chen chiara chloe chris christian christina christine christopher cindy
claire clara claude claudia claudio colin concetta connor craig cristina curtis cynthia daniel daniela danielle david dawn
deborah debra denis denise dennis desai diana diane diego dieter dimitri dirk dolores dominik dominique donald donna doris
dorothy douglas dylan edith eduardo edward edwin eileen elena eleanor eli elias elisa elisabeth elizabeth ella ellen elsa emil
emilia emilie emily emma enrico enrique enzo eric erica erik erika ernesto ethan eugene eva evan evelyn fabian fabio fatima
federica federico felipe felix fernanda fernando filippo fiona florence florian frances francesca francesco francine francis
francisco franco francois frank franz fred frederic frederick friedrich gabriel gabriela gary gavin genevieve george gerald
gerard gerhard gianluca gina giovanni giulia giulio giuseppe gloria gonzalo grace graham greg gregory greta guillaume gunter
gustavo hannah hans harold harriet harry hassan heather hector heidi heinrich heinz helen helena helene helga henri henry herbert
holly horst howard hugo ian ibrahim ignacio ines ingrid irene iris isabel isabella ivan jack jackson jacob jacqueline jacques
jaime jakob james jamie jan jana jane janet janice jason javier jay jean jeff jeffrey jennifer jens jeremy jerome jesse jessica
jesus jill jim joan joao joaquin joe joel johann johanna john johnny jonas jonathan jordan jorge jose josef josefina joseph
joshua joyce juan juana judith judy julia julian juliana julie julien juliette julio jurgen justin jutta karen karin karl
katharina katherine kathleen kathryn katja keith kelly kenneth kevin kim klaus kurt kyle lara larry laura lauren laurent lea
leah lena leo leon leonardo leonie leslie liam lidia lina linda lisa lorenzo louis louise luca lucas lucia luciana lucie luigi
luis luisa lukas luke lydia madeleine madison manfred manuel manuela marc marcel marcela marcelo marco marcos marcus margaret
margarita maria mariana marie marina mario marion marjorie mark marlene markus marta martha martin martina martine mary mason
mateo mateus mathieu matteo matthew matthias mauricio max maximilian maya megan mei melanie melissa mercedes michael michel
michele michelle miguel mike mila mohamed mohammed monica monika monique muhammad nadia nadine nancy natalia natalie natasha
nathan nathalie neil nicholas nicola nicolas nicole nikki nikolaus nina noah noelia nora norbert norma olga oliver olivia olivier
omar oscar otto pablo pamela paola paolo pascal patricia patrick paul paula paulo pauline pedro peggy peter petra philip philipp
philippe phillip phyllis pierre pietro pilar priya rachel rafael rainer ralf ralph ramon randy raquel raul raymond rebecca regina
renate rene ricardo riccardo richard rita robert roberta roberto rodrigo roger roland rolf roman ronald rosa rosario rose roy
ruben russell ruth ryan saanvi sabine sally salvatore sam samantha samuel sandra sara sarah scott sean sebastian sergio sharon
shirley silvia simon simone sofia sonia sophia sophie stefan stefania stefano steffen stella stephan stephanie stephen steve
steven stuart susan susanna susanne suzanne sven sylvia sylvie tamara tanja tanya tara teresa terry theo theodore theresa thierry
thomas tiffany tim timothy tina tobias todd tom tomas tommaso tony tracy ulrich ulrike ursula uwe valentina valeria valerie
vanessa vera veronica veronique victor victoria vincent vincenzo viola virginia viviana vivian walter wang wayne wendy werner
wilhelm william wolfgang xavier xiulan yasmin yolanda yves yvonne zachary zoe`
