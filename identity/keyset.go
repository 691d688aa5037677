package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"coffer"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

const (
	keysSoft  = 45 * time.Minute // then they are fetched again
	keysHard  = time.Hour        // then they are not used any more
	keysTries = 30 * time.Second // between two fetches, whatever key ids come: nobody makes us ask the issuer for each of theirs
	maxKeys   = 100
	maxBody   = 1 << 20 // bytes of an answer of a provider
)

// client talks to providers. Addresses come from the configuration and from the provider's own document; nothing that a token or a
// browser says is followed, and no redirect is.
var client = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     bounded{http.DefaultTransport},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// bounded limits what is read of an answer, and speaks to https and to this machine alone.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := webURL(r.URL.String()); err != nil {
		return nil, errors.New("an address that is neither https nor of this machine")
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxBody), resp.Body}
	return resp, nil
}

// keySet is the public keys of an issuer, fetched when needed. It is safe for concurrent use.
type keySet struct {
	url  string
	algs map[string]jwa.SignatureAlgorithm
	now  func() time.Time

	fetching sync.Mutex // held during a fetch; the known keys can be used meanwhile
	tried    time.Time  // last fetch, guarded by fetching

	mu      sync.RWMutex
	keys    map[string]jwk.Key
	fetched time.Time
}

// verify checks that the issuer signed the token with one of the algorithms that are configured for it. The algorithm and the id of the
// key in the token only choose among these.
func (k *keySet) verify(ctx context.Context, j *jwt) error {
	alg, ok := k.algs[j.alg]
	if !ok {
		return refuse(WrongAlgorithm)
	}
	if j.kid == "" {
		return refuse(UnknownKey)
	}
	key, err := k.key(ctx, j.kid)
	if err != nil {
		return err
	}
	if only, ok := key.Algorithm(); ok && only.String() != j.alg {
		return refuse(WrongAlgorithm)
	}
	if _, err := jws.Verify([]byte(j.raw), jws.WithKey(alg, key)); err != nil {
		return refuse(BadSignature)
	}
	return nil
}

// known returns the key with this id, whether the keys are good for use, and whether they should be fetched again.
func (k *keySet) known(kid string) (key jwk.Key, good, old bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	age := k.now().Sub(k.fetched)
	return k.keys[kid], age < keysHard, age >= keysSoft
}

func (k *keySet) key(ctx context.Context, kid string) (jwk.Key, error) {
	key, good, old := k.known(kid)
	if key != nil && good && !old {
		return key, nil
	}
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if key, good, old = k.known(kid); key != nil && good && !old {
		return key, nil
	}
	var err error
	if now := k.now(); k.tried.IsZero() || now.Sub(k.tried) >= keysTries {
		k.tried = now
		if err = k.fetch(ctx); err == nil {
			key, good, _ = k.known(kid)
		}
	}
	switch {
	case key != nil && good:
		return key, nil
	case !good:
		return nil, fmt.Errorf("the keys of an issuer of tokens cannot be fetched: %w", coffer.ErrUnavailable)
	}
	return nil, refuse(UnknownKey)
}

func (k *keySet) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("not 200")
	}
	keys, err := parseKeys(b)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.fetched = keys, k.now()
	return nil
}

// parseKeys reads a set of keys (RFC 7517). Keys that are not for verifying signatures with an asymmetric algorithm, are too weak, or
// have no id, are left out; so is one whose id stands twice, because it would be chance which one counts.
func parseKeys(b []byte) (map[string]jwk.Key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil || len(set.Keys) > maxKeys {
		return nil, errJSON
	}
	keys := make(map[string]jwk.Key)
	twice := make(map[string]bool)
	for _, raw := range set.Keys {
		var is struct {
			Kty string `json:"kty"`
			Use string `json:"use"`
			Kid string `json:"kid"`
			D   string `json:"d"`
			N   string `json:"n"`
		}
		if json.Unmarshal(raw, &is) != nil || is.Kid == "" || is.D != "" || is.Use != "" && is.Use != "sig" {
			continue
		}
		switch is.Kty {
		case "RSA":
			if len(is.N) < 2048/6 {
				continue
			}
		case "EC", "OKP":
		default:
			continue
		}
		key, err := jwk.ParseKey(raw)
		if err != nil || key.Validate() != nil {
			continue
		}
		if _, there := keys[is.Kid]; there {
			twice[is.Kid] = true
		}
		keys[is.Kid] = key
	}
	for kid := range twice {
		delete(keys, kid)
	}
	return keys, nil
}

// keysOf returns the keys of an issuer of access tokens; nil when no such issuer is configured.
func (id *Identity) keysOf(issuer string) (*Issuer, *keySet) {
	for i := range id.Config.Issuers {
		is := &id.Config.Issuers[i]
		if is.Issuer != issuer {
			continue
		}
		id.mu.Lock()
		defer id.mu.Unlock()
		if id.issuers == nil {
			id.issuers = make(map[string]*keySet)
		}
		k := id.issuers[issuer]
		if k == nil {
			k = &keySet{url: is.JWKS, algs: signatureAlgorithms(is.Algorithms), now: id.Now}
			id.issuers[issuer] = k
		}
		return is, k
	}
	return nil, nil
}
