package identity

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"coffer"
	"coffer/store"

	"golang.org/x/text/unicode/norm"
)

// passphrase is what is stored of one: PBKDF2-HMAC-SHA-256 of its keyed hash. The key of that hash is the installation's, so that
// the record alone is no ground for guessing.
type passphrase struct {
	Salt       []byte `json:"salt"`
	Hash       []byte `json:"hash"`
	Iterations int    `json:"iterations"`
}

const (
	// iterations is OWASP's figure for PBKDF2 with SHA-256 (Password Storage Cheat Sheet, 2023). A passphrase that was set with
	// fewer is hashed anew when it is next given.
	iterations = 600_000
	// MinPassphrase is the least number of characters of a passphrase.
	MinPassphrase = 12
	// MaxPassphrase is the greatest. NIST SP 800-63B wants at least 64 to be possible.
	MaxPassphrase = 256
)

// slots bounds how many passphrases are hashed at once in this process, so that a flood of attempts leaves processors for those
// who are already in.
var slots = make(chan struct{}, 2)

func (id *Identity) factor() int {
	if id.iterations > 0 {
		return id.iterations
	}
	return iterations
}

// derive hashes a passphrase. Its cost is the same for every passphrase.
func (id *Identity) derive(ctx context.Context, text string, salt []byte, n int) ([]byte, error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("checking a passphrase: %w", ctx.Err())
	}
	defer func() { <-slots }()
	// The same characters can reach us composed or decomposed, by keyboard and system.
	keyed := id.MAC("identity/passphrase", []byte(norm.NFC.String(text)))
	h, err := pbkdf2.Key(sha256.New, string(keyed), salt, n, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("hashing a passphrase: %w: %w", coffer.ErrUnavailable, err)
	}
	return h, nil
}

// newPassphrase hashes a passphrase under a salt of its own.
func (id *Identity) newPassphrase(ctx context.Context, text string) (*passphrase, error) {
	p := &passphrase{Salt: make([]byte, 16), Iterations: id.factor()}
	_, _ = rand.Read(p.Salt) // never fails
	var err error
	p.Hash, err = id.derive(ctx, text, p.Salt, p.Iterations)
	return p, err
}

// verify reports whether text is the account's passphrase. Without an account, or one without a passphrase, it does the same work.
func (id *Identity) verify(ctx context.Context, a *account, text string) (bool, error) {
	if utf8.RuneCountInString(text) > MaxPassphrase || len(text) > 4*MaxPassphrase {
		text = ""
	}
	p := passphrase{Salt: make([]byte, 16), Hash: make([]byte, sha256.Size), Iterations: id.factor()}
	known := a != nil && a.Pass != nil
	if known {
		p = *a.Pass
	}
	h, err := id.derive(ctx, text, p.Salt, p.Iterations)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(h, p.Hash) == 1 && known, nil
}

// CheckPassphrase reports what is wrong with a passphrase for a user of this name, in words for that user: length, one that everybody
// tries first, one made of little, or of the name. There are no rules about kinds of characters and no expiry (NIST SP 800-63B
// 3.1.1.2). Its errors wrap [coffer.ErrInvalid].
func CheckPassphrase(name, text string) error {
	bad := func(why string) error { return fmt.Errorf("passphrase: %s: %w", why, coffer.ErrInvalid) }
	if !utf8.ValidString(text) {
		return bad("not valid text")
	}
	text = norm.NFC.String(text)
	n := utf8.RuneCountInString(text)
	if n < MinPassphrase {
		return bad(fmt.Sprintf("use at least %d characters, such as four words", MinPassphrase))
	}
	if n > MaxPassphrase {
		return bad(fmt.Sprintf("use at most %d characters", MaxPassphrase))
	}
	distinct := make(map[rune]bool)
	for _, r := range text {
		if unicode.IsControl(r) {
			return bad("it holds a control character")
		}
		distinct[unicode.ToLower(r)] = true
	}
	if len(distinct) < 5 {
		return bad("use more different characters")
	}
	plain := squeeze(text)
	if local, _, _ := strings.Cut(name, "@"); len(squeeze(local)) >= 3 && strings.Contains(plain, squeeze(local)) {
		return bad("it holds the user's name")
	}
	if common()[plain] {
		return bad("everybody tries this one first")
	}
	for _, c := range []string{"coffer", "password", "passphrase"} {
		// The rest must be a passphrase by itself.
		if strings.Contains(plain, c) && len([]rune(strings.ReplaceAll(plain, c, ""))) < 8 {
			return bad("it is little more than a word that everybody tries first")
		}
	}
	if step := runs(plain); step {
		return bad("it is a sequence")
	}
	return nil
}

// squeeze returns the letters and digits of s in lower case, with the usual replacements undone.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '@':
			return 'a'
		case '$':
			return 's'
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// runs reports whether s is one pattern: each character follows the one before at the same distance, or a short piece repeats.
func runs(s string) bool {
	if len(s) < 4 {
		return false
	}
	for period := 1; period <= 4; period++ {
		if len(s) > 2*period && strings.HasPrefix(s[period:], s[:len(s)-period]) {
			return true
		}
	}
	same := 0
	for i := 2; i < len(s); i++ {
		if d := int(s[i]) - int(s[i-1]); d == int(s[i-1])-int(s[i-2]) && -1 <= d && d <= 1 {
			same++
		}
	}
	return same >= (len(s)-2)*3/4
}

// published holds, a line each and sorted, the 3,000 most frequent passwords of at least MinPassphrase characters among the ten million
// that Mark Burnett gave to the public domain in 2015 (https://xato.net; SecLists distributes them under MIT as
// xato-net-10-million-passwords). It is compressed to be small, and because nobody should have to read it.
//
//go:embed common.txt.gz
var published []byte

// ours are passphrases that the published list lacks and that would be tried first here, squeezed.
const ours = `
		qwertyuiop123 qwertyuiopasdf qwertyuiopas qwertyuiop12 qwertyuiop1234 qwertyuiopasdfghjkl qwertyuiopasdfghjklzxcvbnm qwerty123456
		qwerty1234567 qwerty12345678 qwerty123456789 qwertyqwerty 123456qwerty 1234567qwerty 123456789qwe 123456789abc abcdefghijkl
		abcdefghijklm 1q2w3e4r5t6y 1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i q1w2e3r4t5y6 1qaz2wsx3edc 1qaz2wsx3edc4rfv zaq12wsxcde3
		zaq1xsw2cde3 qazwsxedcrfv qazwsxedc123 asdfghjkl123 asdfghjklzxc asdfghjklqwe zxcvbnm12345 zxcvbnmasdfg 123qweasdzxc
		qweasdzxc123 letmeinletmein letmein12345 iloveyou1234 iloveyouforever iloveyousomuch iloveyoubaby trustno1trustno1
		administrator administrator1 admin1234567 adminadminadmin adminadmin123 welcome12345 welcome123456 welcometoall changemeplease
		changeme1234 changeme12345 correcthorsebatterystaple sunshine1234 monkeymonkey dragon123456 football1234 baseball1234
		superman1234 batmanbatman princess1234 starwars1234 whatever1234 computer1234 internet1234 michael12345 jordan123456
		liverpool123 manchester123 chelsea12345 arsenal12345 barcelona123 realmadrid123 summer123456 winter123456 spring123456
		autumn123456 monday123456 unknown12345 mypassword12 nopassword12 p4ssw0rdp4ssw0rd passw0rdpassw0rd passw0rd1234 pa55word1234
		thisisapassword thisismypassword opensesame12 opensesameopensesame letmeinplease iamtheadmin123 rootrootroot1
		testtesttest1 test12345678 testing12345 temporary123 temporary1234 default12345 secret123456 secretsecret supersecret1
		111222333444 112233445566 121212121212 123123123123 123456654321 147258369147 159753159753 987654321098 741852963741
		moontrustbank moontrust123`

// common holds what everybody tries first, squeezed. It is unpacked when a passphrase is first chosen: most processes never see one.
var common = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(ours) {
		m[w] = true
	}
	z, err := gzip.NewReader(bytes.NewReader(published))
	if err != nil {
		panic(err) // it is a part of the binary
	}
	list, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(list)) {
		m[squeeze(line)] = true
	}
	return m
})

// codeText is Crockford's base 32: no letter that is taken for a digit.
var codeText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newCode returns 100 random bits as four groups of five characters, to be read from one screen and typed at another.
func newCode() string {
	var b [13]byte
	_, _ = rand.Read(b[:]) // never fails
	s := codeText.EncodeToString(b[:])[:20]
	return s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:]
}

// foldCode undoes what people do to a code when they type it.
func foldCode(s string) string {
	if len(s) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToUpper(r); r {
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		case '-', ' ', '\t', '\n', '\r':
			return -1
		}
		return r
	}, s)
}

func (id *Identity) codeKey(hash string) store.Key {
	return store.Key{Part: "IC#" + hash, Sort: "code"}
}

// openCode gives the account a one-time code and returns the operation that makes it known.
func (id *Identity) openCode(a *account) (string, []store.Op) {
	code := newCode()
	a.Code = id.hash("code", foldCode(code))
	a.CodeUntil = id.Now().UTC().Add(CodeFor).Truncate(time.Second)
	return code, []store.Op{put(id.codeKey(a.Code), a.ID, store.Absent, a.CodeUntil)}
}

// closeCode voids the account's code. The account's own record decides: a code that is not in it is not good.
func (id *Identity) closeCode(a *account) []store.Op {
	if a.Code == "" {
		return nil
	}
	k := id.codeKey(a.Code)
	a.Code, a.CodeUntil = "", time.Time{}
	return []store.Op{del(k)}
}
