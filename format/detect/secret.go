package detect

import (
	"bytes"
	"encoding/base64"
	"slices"

	"coffer"
)

// patterns are the types that are found in a way of their own.
var patterns = [...]struct {
	id   coffer.DataType
	make func(*keywords) Detector
}{
	{"AWS_CREDENTIALS", own(true, findAWS, func(b []byte) bool { return bytes.HasSuffix(b, []byte("EXAMPLEKEY")) })},
	{"GCP_API_KEY", own(true, findGCP, nil)},
	{"HTTP_BASIC_AUTH_HEADER", own(true, findBasicAuth, nil)},
	{"HTTP_COOKIE", own(true, findCookie, nil)},
	{"JSON_WEB_TOKEN", own(true, findJWT, nil)},
	{"OPENSSH_PRIVATE_KEY", own(true, pem("OPENSSH PRIVATE KEY"), nil)},
	{"PGP_PRIVATE_KEY", own(true, pem("PGP PRIVATE KEY BLOCK"), nil)},
	{"PKCS", own(true, pem("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), nil)},
	{"PUTTY_PRIVATE_KEY", own(true, findPuTTY, nil)},
	{"STRIPE_CREDENTIALS", own(true, findStripe, stripeExample)},
	{coffer.CardMagneticStripe, own(true, findStripes, nil)},
	{coffer.CardExpiration, own(false, findExpirations, nil)},
	{coffer.CardSecurityCode, func(w *keywords) Detector {
		return &pattern{find: func(t Text) []found { return findSecurityCodes(t, w) }}
	}},
	{coffer.BirthDate, own(false, findDates, nil)},
	{"LATITUDE_LONGITUDE", own(false, findCoordinates, nil)},
	{"MEDICAL_DEVICE_UDI", own(true, findUDI, nil)},
	{"PHONE_NUMBER", phone("US")},
	{"BRAZIL_PHONE_NUMBER", phone("BR")},
	{"FRANCE_PHONE_NUMBER", phone("FR")},
	{"GERMANY_PHONE_NUMBER", phone("DE")},
	{"ITALY_PHONE_NUMBER", phone("IT")},
	{"SPAIN_PHONE_NUMBER", phone("ES")},
	{"UK_PHONE_NUMBER", phone("GB")},
	{coffer.PersonName, func(*keywords) Detector { return person{} }},
	{coffer.Address, func(*keywords) Detector { return address{} }},
}

func own(distinct bool, find func(Text) []found, except func([]byte) bool) func(*keywords) Detector {
	return func(w *keywords) Detector { return &pattern{rule: rule{w, except}, distinct: distinct, find: find} }
}

// charset is a set of ASCII characters.
type charset [4]uint64

func newCharset(s string) (c charset) {
	for i := range len(s) {
		c[s[i]>>6] |= 1 << (s[i] & 63)
	}
	return c
}

func (c *charset) has(b byte) bool { return c[b>>6]&(1<<(b&63)) != 0 }

const alnums = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

var (
	base64Chars    = newCharset(alnums + "+/")
	base64URLChars = newCharset(alnums + "-_")
	tokenChars     = newCharset(alnums + "!#$%&'*+-.^_`|~") // RFC 9110, section 5.6.2
)

// run returns the end of the characters of c that begin at i.
func (c *charset) run(b []byte, i int) int {
	for i < len(b) && c.has(b[i]) {
		i++
	}
	return i
}

// eachRun calls f for every maximal run of at least n characters of c. It looks at every n-th byte, for a run of that length
// holds one, so that text without runs costs little.
func (c *charset) eachRun(b []byte, n int, f func(start, end int)) {
	for i, low := n-1, 0; i < len(b); {
		if !c.has(b[i]) {
			i += n
			continue
		}
		s := i
		for s > low && c.has(b[s-1]) {
			s--
		}
		e := c.run(b, i)
		if e-s >= n {
			f(s, e)
		}
		low = e
		i = e + n
	}
}

// eachPrefix calls f with the offset of every p in b. f returns where to go on.
func eachPrefix(b []byte, p string, f func(i int) int) {
	for i := 0; ; {
		k := bytes.Index(b[i:], []byte(p))
		if k < 0 {
			return
		}
		i = max(f(i+k), i+k+len(p))
		if i > len(b) {
			return
		}
	}
}

// merge puts f, whose beginning may lie before the last match, into its place.
func merge(fs []found, f found) []found {
	i := len(fs)
	for i > 0 && fs[i-1].start > f.start {
		i--
	}
	if i > 0 && fs[i-1].end > f.start || i < len(fs) && fs[i].start < f.end {
		return fs
	}
	fs = append(fs, found{})
	copy(fs[i+1:], fs[i:])
	fs[i] = f
	return fs
}

// findAWS finds secret access keys: 40 characters of base64 with capitals, small letters and digits. An access key id that is
// joined to one by a colon is part of the value; where there are only ids, they are the value.
func findAWS(t Text) (fs []found) {
	b := t.Text
	base64Chars.eachRun(b, 40, func(s, e int) {
		if e-s != 40 || e < len(b) && b[e] == '=' {
			return
		}
		var upper, lower, digit int
		for _, c := range b[s:e] {
			switch {
			case class[c] == isDigit:
				digit++
			case class[c] == isLetter && c >= 'a':
				lower++
			case class[c] == isLetter:
				upper++
			}
		}
		v := sure
		switch {
		case upper == 0 || lower == 0: // hexadecimal digests have one case
			return
		case digit == 0:
			v = plausible
		}
		if s > accessKeyID && b[s-1] == ':' && accessKey(b, s-1-accessKeyID) {
			s -= 1 + accessKeyID
		}
		fs = append(fs, found{s, e, v})
	})
	if fs == nil {
		for _, p := range [...]string{"AKIA", "ASIA"} {
			eachPrefix(b, p, func(i int) int {
				if accessKey(b, i) {
					fs = merge(fs, found{i, i + accessKeyID, plausible})
				}
				return i
			})
		}
	}
	return fs
}

const accessKeyID = 20

func accessKey(b []byte, i int) bool {
	if i+accessKeyID > len(b) || !bytes.HasPrefix(b[i:], []byte("AKIA")) && !bytes.HasPrefix(b[i:], []byte("ASIA")) ||
		alnumAt(b, i-1) || alnumAt(b, i+accessKeyID) {
		return false
	}
	for _, c := range b[i : i+accessKeyID] {
		if !(c >= 'A' && c <= 'Z' || c >= '2' && c <= '7') {
			return false
		}
	}
	return true
}

// findGCP: "AIza" and 35 more characters.
func findGCP(t Text) (fs []found) {
	b := t.Text
	eachPrefix(b, "AIza", func(i int) int {
		e := base64URLChars.run(b, i)
		if e-i == 39 && (i == 0 || !base64URLChars.has(b[i-1])) {
			fs = append(fs, found{i, e, sure})
		}
		return e
	})
	return fs
}

// findStripe: secret, restricted and publishable keys and the secrets of webhooks.
func findStripe(t Text) (fs []found) {
	b := t.Text
	for _, p := range [...]string{"k_live_", "k_test_", "whsec_"} {
		eachPrefix(b, p, func(i int) int {
			s := i
			if p[0] == 'k' {
				if s--; s < 0 || b[s] != 's' && b[s] != 'r' && b[s] != 'p' {
					return i
				}
			}
			e := base64Chars.run(b, i+len(p))
			if e-i-len(p) >= 16 && !alnumAt(b, s-1) {
				fs = merge(fs, found{s, e, sure})
			}
			return e
		})
	}
	return fs
}

// stripeExample: the two keys of Stripe's public documentation.
func stripeExample(b []byte) bool {
	return bytes.HasSuffix(b, []byte("_test_4eC39HqLyjWDarjtT1zdp7dc")) || bytes.HasSuffix(b, []byte("_test_TYooMQauvdEDq54NiTphI7jx"))
}

// findJWT: the compact serialisation of RFC 7515 (header, payload and signature, which may be empty), whose header names an
// algorithm.
func findJWT(t Text) (fs []found) {
	b := t.Text
	eachPrefix(b, "eyJ", func(i int) int {
		if i > 0 && (base64URLChars.has(b[i-1]) || b[i-1] == '.') {
			return i
		}
		h := base64URLChars.run(b, i)
		if h == len(b) || b[h] != '.' {
			return h
		}
		p := base64URLChars.run(b, h+1)
		if p == h+1 || p == len(b) || b[p] != '.' || !joseHeader(b[i:h]) {
			return h
		}
		e := base64URLChars.run(b, p+1)
		fs = append(fs, found{i, e, sure})
		return e
	})
	return fs
}

func joseHeader(b []byte) bool {
	var out [768]byte
	b = b[:min(len(b), 1024)] // a longer header is cut at a multiple of four
	n, err := base64.RawURLEncoding.Decode(out[:], b)
	return err == nil && bytes.Contains(out[:n], []byte(`"alg"`))
}

// header calls f for every header field of the given name: with the beginning of the field name, the beginning of the value
// and the end of the line or of the quoted string. In a cell or member of that name the whole text is the value.
func header(t Text, names []string, f func(start, value, end int)) {
	b := t.Text
	if t.Cell {
		name := t.Name[bytes.LastIndexByte(t.Name, '.')+1:]
		for _, n := range names {
			if bytes.EqualFold(name, []byte(n)) {
				s, e := trim(b)
				f(s, s, e)
				return
			}
		}
	}
	for i := 0; i < len(b); {
		k := bytes.IndexByte(b[i:], ':')
		if k < 0 {
			return
		}
		i += k
		e := i
		for e > 0 && (b[e-1] == ' ' || b[e-1] == '"' || b[e-1] == '\'') && i-e < 3 {
			e--
		}
		s := e
		for s > 0 && e-s < 20 && tokenChars.has(b[s-1]) && b[s-1] != '\'' {
			s--
		}
		i++
		for _, n := range names {
			if !bytes.EqualFold(b[s:e], []byte(n)) {
				continue
			}
			v := i
			for v < len(b) && (b[v] == ' ' || b[v] == '\t' || b[v] == '"' || b[v] == '\'') {
				v++
			}
			end := v
			for end < len(b) && b[end] >= ' ' && b[end] != '"' && b[end] != '\'' {
				end++
			}
			for end > v && b[end-1] == ' ' {
				end--
			}
			f(s, v, end)
			i = max(i, end)
		}
	}
}

// findBasicAuth: the complete header of RFC 7617; its credentials decode to a name and a password with a colon between.
func findBasicAuth(t Text) (fs []found) {
	b := t.Text
	header(t, []string{"Authorization", "Proxy-Authorization"}, func(s, v, e int) {
		if e-v < 6 || !bytes.EqualFold(b[v:v+6], []byte("Basic ")) {
			return
		}
		c := v + 6
		for c < e && b[c] == ' ' {
			c++
		}
		end := base64Chars.run(b[:e], c)
		for end < e && b[end] == '=' {
			end++
		}
		if end == c {
			return
		}
		var out [768]byte
		cred := bytes.TrimRight(b[c:end], "=")
		n, err := base64.RawStdEncoding.Decode(out[:], cred[:min(len(cred), 1024)])
		w := bad
		if err == nil && bytes.IndexByte(out[:n], ':') >= 0 {
			w = sure
		}
		fs = append(fs, found{s, end, w})
	})
	return fs
}

// findCookie: the complete header of RFC 6265, which begins with a name and an equals sign.
func findCookie(t Text) (fs []found) {
	header(t, []string{"Cookie", "Set-Cookie"}, func(s, v, e int) {
		if n := tokenChars.run(t.Text[:e], v); n > v && n < e && t.Text[n] == '=' {
			fs = append(fs, found{s, e, sure})
		}
	})
	return fs
}

// maxBlock bounds the length of a private key's text. The largest in use, RSA 16384, has 13 KiB.
const maxBlock = 64 << 10

// pem finds the blocks of RFC 7468 and RFC 9580 with one of the labels, lines of a block included. If the end line is missing
// the block ends with the last line that may belong to it.
func pem(labels ...string) func(Text) []found {
	return func(t Text) (fs []found) {
		b := t.Text
		const begin, dashes = "-----BEGIN ", "-----"
		eachPrefix(b, begin, func(i int) int {
			label := b[i+len(begin):]
			n := bytes.Index(label[:min(len(label), 64)], []byte(dashes))
			if n < 0 || !slices.Contains(labels, string(label[:n])) {
				return i
			}
			label = label[:n]
			start := i + len(begin) + n + len(dashes)
			// No block goes on behind the beginning of another, so that a text full of beginnings is read once.
			body := b[start:min(len(b), start+maxBlock)]
			if k := bytes.Index(body, []byte(begin)); k >= 0 {
				body = body[:k]
			}
			for at := 0; ; {
				k := bytes.Index(body[at:], []byte("-----END "))
				if k < 0 {
					break
				}
				at += k + len("-----END ")
				if bytes.HasPrefix(body[at:], label) && bytes.HasPrefix(body[at+n:], []byte(dashes)) {
					e := start + at + n + len(dashes)
					fs = append(fs, found{i, e, sure})
					return e
				}
			}
			f := found{i, start, bad}
			if k := blockEnd(body); k > 0 {
				f = found{i, start + k, sure}
			}
			fs = append(fs, f)
			return f.end
		})
		return fs
	}
}

// blockEnd returns where the lines of base64 and header fields at the beginning of b end.
func blockEnd(b []byte) (end int) {
	for i := 0; i < len(b); {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			n = len(b) - i
		}
		line := bytes.TrimSpace(b[i : i+n])
		k := base64Chars.run(line, 0)
		if rest := len(bytes.TrimRight(line[k:], "=")); rest != 0 && !bytes.Contains(line, []byte(": ")) {
			return end
		}
		if len(line) > 0 {
			end = i + n
			if b[end-1] == '\r' {
				end--
			}
		}
		i += n + 1
	}
	return end
}

// findPuTTY: the file of a PuTTY key, whose headers stand in one order and of which the last is Private-MAC.
func findPuTTY(t Text) (fs []found) {
	b := t.Text
	const first = "PuTTY-User-Key-File-"
	eachPrefix(b, first, func(i int) int {
		rest := b[i:min(len(b), i+maxBlock)]
		if k := bytes.Index(rest[len(first):], []byte(first)); k >= 0 {
			rest = rest[:len(first)+k]
		}
		at := 0
		for _, h := range [...]string{"Encryption: ", "Comment: ", "Public-Lines: ", "Private-Lines: ", "Private-MAC: "} {
			k := bytes.Index(rest[at:], []byte(h))
			if k < 0 {
				if at > 0 {
					fs = append(fs, found{i, i + at, bad})
				}
				return i + at
			}
			at += k + len(h)
		}
		e := base64Chars.run(rest, at)
		fs = append(fs, found{i, i + e, sure})
		return i + e
	})
	return fs
}

// findStripes: the tracks of ISO/IEC 7813: "%B", number, "^", name, "^", expiry and the rest up to "?"; ";", number, "=",
// expiry and the rest up to "?". The sentinels around a track may be missing.
func findStripes(t Text) (fs []found) {
	b := t.Text
	track := func(sep byte, open string, rest func(c byte) bool) {
		for i := 0; i < len(b); {
			k := bytes.IndexByte(b[i:], sep)
			if k < 0 {
				return
			}
			at := i + k
			i = at + 1
			s := at
			for s > 0 && at-s < 20 && digitAt(b, s-1) {
				s--
			}
			pan := b[s:at]
			if len(pan) < 12 || len(pan) > 19 {
				continue
			}
			e := at + 1
			if sep == '^' {
				n := bytes.IndexByte(b[e:min(len(b), e+32)], '^')
				if n < 2 || bytes.IndexByte(b[e:e+n], '\n') >= 0 {
					continue
				}
				e += n + 1
			}
			d := e
			for d < len(b) && d-e < 7 && digitAt(b, d) {
				d++
			}
			if d-e < 7 || !yymm(b[e:e+4]) {
				continue
			}
			for e < len(b) && rest(b[e]) && e-at < 80 {
				e++
			}
			if e < len(b) && b[e] == '?' {
				e++
			}
			for j := len(open); j > 0 && s > 0 && b[s-1] == open[j-1]; j-- {
				s--
			}
			fs = merge(fs, found{s, e, passes(luhn(pan))})
			i = e
		}
	}
	track('^', "%B", func(c byte) bool { return c >= ' ' && c != '?' && c != '"' && c != ',' && c < 0x7f })
	track('=', ";", func(c byte) bool { return class[c] == isDigit })
	return fs
}

func yymm(b []byte) bool { m := num(b[2:4]); return m >= 1 && m <= 12 }

// findSecurityCodes: three or four digits. They look like anything, so in running text only those with a keyword near count, if
// there are any.
func findSecurityCodes(t Text, w *keywords) (fs []found) {
	b := t.Text
	for i := nextDigit(b, 0); i < len(b); i = nextDigit(b, i) {
		e := i
		for digitAt(b, e) {
			e++
		}
		if n := e - i; (n == 3 || n == 4) && opens(b, i, false) && closes(b, e, false) {
			fs = append(fs, found{i, e, plausible})
		}
		i = e
	}
	if !t.Cell {
		fs = nearest(t, fs, w)
	}
	return fs
}

// findUDI: device identifiers as GS1, HIBCC and ICCBBA write them for people: (01) and a GTIN with more fields in brackets, "+" and a
// code with its check character, "=" or "&" fields of ISBT 128.
func findUDI(t Text) (fs []found) {
	b := t.Text
	udiEnd := func(i int) int {
		for i < len(b) && b[i] > ' ' && b[i] < 0x7f && b[i] != ',' && b[i] != '"' && b[i] != ';' {
			i++
		}
		return i
	}
	for _, p := range [...]string{"(01)", "01"} {
		eachPrefix(b, p, func(i int) int {
			g := i + len(p)
			e := g
			for e < len(b) && e-g < 14 && digitAt(b, e) {
				e++
			}
			if e-g < 14 || p == "01" && (!opens(b, i, false) || !closes(b, e, false)) {
				return i
			}
			v := bad
			if gtin(b[g:e]) {
				v = sure
			}
			e = udiEnd(e)
			fs = merge(fs, found{i, e, v})
			return e
		})
	}
	eachPrefix(b, "+", func(i int) int {
		e := udiEnd(i + 1)
		if e-i >= 8 && e-i <= 80 && class[b[i+1]] == isLetter && (i == 0 || b[i-1] <= ' ' || b[i-1] == ',' || b[i-1] == '"' || b[i-1] == ':') {
			fs = merge(fs, found{i, e, plausible})
		}
		return e
	})
	eachPrefix(b, "=/", func(i int) int {
		e := udiEnd(i)
		if e-i >= 12 && e-i <= 100 {
			fs = merge(fs, found{i, e, plausible})
		}
		return e
	})
	return fs
}

// gtin checks a GTIN-14: weights 3 and 1 by turns, modulo ten.
func gtin(b []byte) bool {
	sum := 0
	for i, c := range b {
		sum += int(c-'0') * [2]int{3, 1}[i%2]
	}
	return sum%10 == 0
}
