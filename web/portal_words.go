package web

import (
	"fmt"
	"html/template"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"coffer"
	"coffer/triage"
)

// funcs are the functions of the templates. None makes markup.
func (p *portal) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) string { return p.named[name] },
		"icon":  func(name string) string { return p.named["icons.svg"] + "#" + name },
		"text":  func(s string) []segment { return inert(s, maxShown) },
		// groupable are the fields that a list can be grouped by.
		"groupable": func() []filterField { return groupable },
		"num":       func(n any) string { return grouped(n) },
		"count":     counted,
		"add":       func(a, b int) int { return a + b },
		// reason is a reason code as words.
		"reason": func(code string) string { return capital(strings.ReplaceAll(code, "-", " ")) },
		"dict": func(pairs ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i+1 < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			return m
		},
	}
}

// maxShown is how many characters of a text a page shows at once.
const maxShown = 2000

// segment is a stretch of a text: as it is, or the name of a character that could act on what is around it.
type segment struct {
	Text  string
	Token bool
}

// inert takes a text of a stranger apart, so that characters without a look of their own are shown by name: controls, what changes the
// direction of writing, what has no width, and bytes that are no text. More than limit characters are cut, with a word on how much there is.
func inert(s string, limit int) []segment {
	var out []segment
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			out = append(out, segment{Text: plain.String()})
			plain.Reset()
		}
	}
	n := 0
	for i, r := range s {
		if n == limit {
			flush()
			return append(out, segment{Text: "cut here, " + bytesOf(int64(len(s)-i)) + " more", Token: true})
		}
		n++
		if r != ' ' && r != '\n' && (!unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) ||
			unicode.Is(unicode.Variation_Selector, r) || r == '\ufffd' || unicode.Is(unicode.Zs, r)) {
			flush()
			out = append(out, segment{Text: fmt.Sprintf("U+%04X", r), Token: true})
			continue
		}
		plain.WriteRune(r)
	}
	flush()
	return out
}

// when is an instant as a page shows it, in the reader's zone.
type when struct {
	Text string // 23 Nov 2026, 14:02 GMT
	ISO  string
	UTC  string
}

// at makes the form of an instant; the zero time gives nil.
func (v *visit) at(t time.Time) *when {
	if t.IsZero() {
		return nil
	}
	return &when{Text: t.In(v.zone).Format("2 Jan 2006, 15:04 MST"), ISO: t.UTC().Format(time.RFC3339), UTC: t.UTC().Format("2006-01-02 15:04:05 UTC")}
}

// age is a length of time in two units at most: 2 d 4 h.
func age(d time.Duration) string {
	d = max(d, 0)
	day, hour, minute := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	switch {
	case day >= 100:
		return strconv.Itoa(day) + " d"
	case day > 0:
		return fmt.Sprintf("%d d %d h", day, hour)
	case hour > 0:
		return fmt.Sprintf("%d h %d min", hour, minute)
	case minute > 0:
		return fmt.Sprintf("%d min", minute)
	}
	return "now"
}

// grouped writes a number with its thousands apart.
func grouped(n any) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// counted is a number with its noun: 1 value, 2 values.
func counted(n any, one string) string {
	if fmt.Sprint(n) == "1" {
		return "1 " + one
	}
	return grouped(n) + " " + one + "s"
}

func bytesOf(n int64) string {
	switch {
	case n < 0:
		return "not known"
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// kinds are the words for identifiers whose ids make bad ones.
var kinds = map[coffer.DataType]string{ //nolint:gosec // names of kinds, among them of credentials
	coffer.CardNumber: "Card number", coffer.CardNumberNoKeyword: "Card number, no keyword", coffer.CardExpiration: "Card expiry date",
	coffer.CardSecurityCode: "Card verification code", coffer.CardMagneticStripe: "Card track data", coffer.PersonName: "Name",
	"AWS_CREDENTIALS": "AWS secret key", "OPENSSH_PRIVATE_KEY": "OpenSSH private key", "PGP_PRIVATE_KEY": "PGP private key", "EMAIL_ADDRESS": "E-mail address",
	"IP_ADDRESS": "IP address", "URL": "URL", "PKCS": "PKCS private key", "HTTP_COOKIE": "HTTP cookie", "HTTP_BASIC_AUTH_HEADER": "HTTP basic authorisation", "DATE_OF_BIRTH": "Date of birth",
}

// capitals are words of identifiers that are written so.
var capitals = map[string]string{"USA": "US", "UK": "UK", "NHS": "NHS", "AWS": "AWS", "ITIN": "ITIN", "VIN": "VIN", "JSON": "JSON", "MAC": "MAC", "DEA": "DEA", "IBAN": "IBAN", "NPI": "NPI"}

// kind is a type of data in words. Names of custom identifiers stay as their makers wrote them.
func kind(t coffer.DataType) string {
	if k := kinds[t]; k != "" {
		return k
	}
	if strings.ToUpper(string(t)) != string(t) {
		return string(t)
	}
	words := strings.Split(string(t), "_")
	for i, w := range words {
		if c := capitals[w]; c != "" {
			words[i] = c
		} else {
			words[i] = strings.ToLower(w)
		}
	}
	return capital(strings.Join(words, " "))
}

// lowerKind is a kind inside a sentence.
func lowerKind(t coffer.DataType) string {
	k := kind(t)
	if first, _, _ := strings.Cut(k, " "); first != strings.ToUpper(first) && k != "" && kinds[t] != "OpenSSH private key" {
		return strings.ToLower(k[:1]) + k[1:]
	}
	return k
}

// pluralKind is the kind for more than one.
func pluralKind(t coffer.DataType, n int) string {
	k := lowerKind(t)
	if n == 1 {
		return k
	}
	switch {
	case strings.HasSuffix(k, "date of birth"):
		return strings.TrimSuffix(k, "date of birth") + "dates of birth"
	case strings.HasSuffix(k, "s"):
		return k + "es"
	case strings.HasSuffix(k, "data"), strings.Contains(k, ","):
		return k
	}
	return k + "s"
}

// sign is a state in a word with the mark that goes with it, and the tone of its colour.
type sign struct{ Word, Icon, Tone string }

// standing says where a finding stands.
func standing(s *triage.Summary) sign {
	switch {
	case s.Status == triage.Fixed:
		return sign{"Current clean", "ring-tick", "good"}
	case s.Verdict == triage.FalsePositive:
		return sign{"False positive", "ring-slash", "quiet"}
	case s.Verdict == triage.Intended:
		return sign{"Intended", "shield", "quiet"}
	case s.Status == triage.Closed:
		return sign{"Closed", "ring-tick", "quiet"}
	case s.State == triage.StateFailed || s.State == triage.StateUnsealed:
		return sign{"Not sealed", "ring-cross", "high"}
	case s.Status == triage.InProgress:
		return sign{"In progress", "ring-half", "accent"}
	case s.Verdict == triage.True:
		return sign{"To fix", "ring", "quiet"}
	}
	return sign{"Unjudged", "ring-dashed", "quiet"}
}

var outcomes = map[coffer.Outcome]sign{
	coffer.OutcomeExact: {"exact", "square-full", "ink"}, coffer.OutcomeRegion: {"region", "square", "ink"}, coffer.OutcomeMissing: {"missing", "dash", "quiet"},
	coffer.OutcomeChanged: {"changed", "triangle", "warn"}, coffer.OutcomeUnsupported: {"unsupported", "cross", "quiet"},
	coffer.OutcomeRejected: {"rejected", "square-slash", "quiet"}, "": {"not looked at", "ring-dashed", "quiet"},
}

// reachOf is the word for who can read an object.
func reachOf(reach string) sign {
	switch reach {
	case "public":
		return sign{"Public", "alert", "high"}
	case "private":
		return sign{"Private", "", "quiet"}
	}
	return sign{"Not known", "", "quiet"}
}

// capital is a word as it begins a line.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

var severityWords = map[coffer.Severity]string{coffer.SeverityHigh: "High", coffer.SeverityMedium: "Medium", coffer.SeverityLow: "Low"}

func severity(s coffer.Severity) string {
	if w := severityWords[s]; w != "" {
		return w
	}
	return "Not known"
}

// fileName is the last part of an object's key, and what is before it.
func fileName(o coffer.Object) (name, folder string) {
	name = path.Base("/" + o.Key)
	if name == "/" || strings.HasSuffix(o.Key, "/") {
		name = o.Key
	}
	folder = strings.TrimSuffix(strings.TrimSuffix(o.Key, name), "/")
	if folder == "" {
		return name, o.Bucket
	}
	return name, o.Bucket + "/" + folder
}

// openLimits are how long a finding of a severity may be open; none for Low. They are a measure for the eye: nothing is refused by them.
var openLimits = map[coffer.Severity]time.Duration{coffer.SeverityHigh: 7 * 24 * time.Hour, coffer.SeverityMedium: 30 * 24 * time.Hour}

// shortID is an id as long as it is needed to be told from others.
func shortID(id string) string { return id[:min(12, len(id))] }

// escapeWord writes a word of a filter so that a comma in it is one.
func escapeWord(s string) string { return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s) }
