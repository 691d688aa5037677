package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// TokenPrefix begins every personal token, so that people and scanners of secrets know one when they see it.
const TokenPrefix = "coffer_pat_"

// tokenID begins the id of every personal token. Hashes of an issuer's tokens have no hyphen.
const tokenID = "t-"

// Limits of personal tokens.
const (
	DefaultTokenLife = 30 * 24 * time.Hour
	MaxTokenLife     = 90 * 24 * time.Hour
	MaxTokens        = 50 // of a person
	// MaxOwnerAbsence is how long ago the sign-in of a token's owner may be, where the owner comes from a provider: who left the
	// company does not sign in there any more, and nobody tells us.
	MaxOwnerAbsence = 30 * 24 * time.Hour

	maxLabel    = 100             // characters
	maxNetworks = 20              //
	usedEvery   = 5 * time.Minute // how exactly the last use of a token is kept
)

// Token is a personal token, as its owner sees it. What it can do is what the owner can do at the time of use, less what its scopes leave out.
type Token struct {
	ID       string
	Owner    string // person
	Label    string // what it is for, in the owner's words
	Scopes   []access.Action
	Networks []netip.Prefix // from where alone it is good; none: from anywhere
	Created  time.Time
	Expires  time.Time
	LastUsed time.Time // to five minutes; zero: never
}

// TokenSpec is what a new token shall be.
type TokenSpec struct {
	Label    string
	Scopes   []access.Action // at least one
	Life     time.Duration   // 0: DefaultTokenLife; at most MaxTokenLife
	Networks []netip.Prefix
}

// pat is what is stored of a token, under its keyed hash.
type pat struct {
	Token
	hash, version string
}

func tokenKey(hash string) store.Key { return store.Key{Part: "IT#" + hash, Sort: "token"} }
func tokensPart(person string) string {
	return "IP#" + person
}

// tokenText is how the bits of a token are written: no letter that a double click or a line end would cut.
var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newToken returns 256 random bits with a checksum, by which a mistyped or invented token is known without asking the store.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	body := TokenPrefix + tokenText.EncodeToString(b[:])
	return body + checksum(body)
}

func checksum(body string) string {
	return tokenText.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}

// wellFormed reports whether s can be a personal token.
func wellFormed(s string) bool {
	const sum = 7
	return len(s) == len(TokenPrefix)+52+sum && strings.HasPrefix(s, TokenPrefix) && checksum(s[:len(s)-sum]) == s[len(s)-sum:]
}

// CreateToken makes a personal token for its owner and returns its text, which stands nowhere else. People make their own, when they
// have signed in; the operator on the command line makes anybody's.
func (id *Identity) CreateToken(ctx context.Context, ask access.Ask, owner string, spec TokenSpec) (Token, string, error) {
	p, err := id.owned(ctx, ask, owner)
	if err != nil {
		return Token{}, "", err
	}
	if owner != ask.Caller.ID && ask.Caller.Kind != access.OperatorCaller {
		// A token for somebody else is a way to act as them.
		e := about(p, owner, "create-token", "cause", "not-the-owner")
		e.Outcome = audit.Failed
		if _, err := id.Guard.Log.Append(ctx, e); err != nil {
			return Token{}, "", err
		}
		return Token{}, "", fmt.Errorf("a token is made by its owner: %w", coffer.ErrDenied)
	}
	if err := spec.check(); err != nil {
		return Token{}, "", err
	}
	a, err := id.account(ctx, owner)
	if err != nil {
		return Token{}, "", err
	}
	if a.Disabled {
		return Token{}, "", fmt.Errorf("the user is kept out: %w", coffer.ErrConflict)
	}
	have, err := id.tokens(ctx, owner)
	if err != nil {
		return Token{}, "", err
	}
	if len(have) >= MaxTokens {
		return Token{}, "", fmt.Errorf("at most %d tokens: %w", MaxTokens, coffer.ErrLimit)
	}
	now := id.Now().UTC().Truncate(time.Second)
	life := spec.Life
	if life == 0 {
		life = DefaultTokenLife
	}
	text := newToken()
	hash := id.hash("token", text)
	t := Token{
		ID: newID(tokenID), Owner: owner, Label: id.Guard.Log.Scrub(strings.TrimSpace(spec.Label)), Scopes: slices.Compact(slices.Sorted(slices.Values(spec.Scopes))),
		Networks: spec.Networks, Created: now, Expires: now.Add(life),
	}
	e := about(p, owner, "create-token", "token", t.ID, "expires", t.Expires.Format(time.RFC3339), "scopes", joinActions(t.Scopes))
	_, err = id.Guard.Log.Apply(ctx, e, a.unchanged(),
		put(tokenKey(hash), pat{Token: t}, store.Absent, t.Expires),
		put(store.Key{Part: tokensPart(owner), Sort: t.ID}, hash, store.Absent, t.Expires))
	if err != nil {
		return Token{}, "", fmt.Errorf("making a token: %w", err)
	}
	return t, text, nil
}

func joinActions(actions []access.Action) string {
	var s []string
	for _, a := range actions {
		s = append(s, string(a))
	}
	return audit.List(s)
}

func (s TokenSpec) check() error {
	bad := func(why string) error { return fmt.Errorf("token: %s: %w", why, coffer.ErrInvalid) }
	if len(s.Scopes) == 0 {
		return bad("name at least one action that it is for")
	}
	for _, a := range s.Scopes {
		if !isAction(a) {
			return bad("there is no such action")
		}
	}
	if s.Life < 0 || s.Life > MaxTokenLife {
		return bad("it can last at most 90 days")
	}
	if len(s.Networks) > maxNetworks {
		return bad(fmt.Sprintf("at most %d networks", maxNetworks))
	}
	for _, n := range s.Networks {
		if !n.IsValid() {
			return bad("a network is written as in 10.0.0.0/8")
		}
	}
	if utf8.RuneCountInString(s.Label) > maxLabel || strings.ContainsFunc(s.Label, unicode.IsControl) {
		return bad(fmt.Sprintf("a label has at most %d printable characters", maxLabel))
	}
	return nil
}

// owned asks whether the caller may do something with the tokens of a person: their own, or those of others by [access.AdminToken].
func (id *Identity) owned(ctx context.Context, ask access.Ask, owner string) (*audit.Permit, error) {
	if owner == ask.Caller.ID {
		return id.permit(ctx, ask, access.TokenCreate)
	}
	return id.permit(ctx, ask, access.AdminToken)
}

// Tokens returns the tokens of a person that have not expired, the oldest first. Those of others need [access.AdminToken].
func (id *Identity) Tokens(ctx context.Context, ask access.Ask, owner string) ([]Token, error) {
	p, err := id.owned(ctx, ask, owner)
	if err != nil {
		return nil, err
	}
	have, err := id.tokens(ctx, owner)
	if err != nil {
		return nil, err
	}
	if _, err := id.Guard.Log.Append(ctx, about(p, owner, "tokens")); err != nil {
		return nil, err
	}
	var out []Token
	for _, t := range have {
		out = append(out, t.Token)
	}
	return out, nil
}

func (id *Identity) tokens(ctx context.Context, owner string) ([]*pat, error) {
	var out []*pat
	for it, err := range id.DB.Query(ctx, tokensPart(owner), store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("listing tokens: %w", err)
		}
		var hash string
		if _, err := id.get(ctx, it.Key, &hash); errors.Is(err, coffer.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		t, err := id.pat(ctx, hash)
		if errors.Is(err, coffer.ErrNotFound) || err == nil && !id.Now().Before(t.Expires) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *pat) int { return a.Created.Compare(b.Created) })
	return out, nil
}

func (id *Identity) pat(ctx context.Context, hash string) (*pat, error) {
	t := &pat{hash: hash}
	var err error
	t.version, err = id.get(ctx, tokenKey(hash), t)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return t, nil
}

// RevokeToken ends a token at once; [coffer.ErrNotFound] when the person has none with this id. Those of others need
// [access.AdminToken].
func (id *Identity) RevokeToken(ctx context.Context, ask access.Ask, owner, tokenID string) error {
	p, err := id.owned(ctx, ask, owner)
	if err != nil {
		return err
	}
	have, err := id.tokens(ctx, owner)
	if err != nil {
		return err
	}
	for _, t := range have {
		if t.ID == tokenID {
			_, err := id.Guard.Log.Apply(ctx, about(p, owner, "revoke-token", "token", t.ID),
				del(tokenKey(t.hash)), del(store.Key{Part: tokensPart(owner), Sort: t.ID}))
			if err != nil {
				return fmt.Errorf("revoking a token: %w", err)
			}
			return nil
		}
	}
	return fmt.Errorf("token: %w", coffer.ErrNotFound)
}
