package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/format/detect"
	"coffer/internal/recent"
	"coffer/macie"
	"coffer/store"
)

const (
	// maxIdentifiers bounds the custom identifiers of one finding that are looked up: over three times the 30 that a job of Macie's has.
	maxIdentifiers = 100
	// askAgain is how long it stands that Macie gave no definition of an identifier.
	askAgain = time.Hour
	// learnAgain is how long a process may not know of the definitions that others have learned.
	learnAgain = time.Minute
	// maxKnown bounds what is kept in memory, in identifiers and in definitions.
	maxKnown = 2000
)

// Identifiers says what the custom data identifiers mean by which findings name types: what the configuration says, or else what Macie
// says, which is asked once for each and kept in the store.
//
// Each definition has a version, made of what it finds. A finding's record names those by which its values were found, and whatever looks for the
// values again (a fix, its verification, a check) takes these and no others, whatever is configured or known by then. So a definition
// that was once used is never removed. It is safe for concurrent use, by several processes on one store.
//
//	CI  k#<keyed hash of the id>  an [Identifier]
//	CI  v#<version>               a definition
type Identifiers struct {
	DB store.DB
	// Configured has the managed identifiers and those of the configuration, which go before Macie's.
	Configured *detect.Set
	Macie      macie.API // nil: only the configuration is asked
	MAC        func(label string, data []byte) []byte
	Now        func() time.Time

	mu       sync.Mutex
	known    recent.Map[string, Identifier]         // with a version, by id
	compiled recent.Map[string, *detect.Definition] // by version
	all      *detect.Set                            // see All
	learned  time.Time                              // when the store was asked for all
}

// Identifier is what is known of a custom identifier of Macie's.
type Identifier struct {
	ID      string    `json:"id"`
	Version string    `json:"version,omitempty"` // of its definition
	Problem string    `json:"problem,omitempty"` // why there is none
	At      time.Time `json:"at"`                // when Macie was asked
}

const identifierPart = "CI"

func (x *Identifiers) key(id string) store.Key {
	return store.Key{Part: identifierPart, Sort: fmt.Sprintf("k#%x", x.MAC("identifier", []byte(id))[:16])}
}

func definitionKey(version string) store.Key {
	return store.Key{Part: identifierPart, Sort: "v#" + version}
}

// version names a definition by what it finds: keyed, because an expression can be a value.
func (x *Identifiers) version(d *detect.Definition) string {
	c := d.Custom()
	c.Name, c.ID = "", ""
	b, err := json.Marshal(c)
	if err != nil {
		panic("internal error: " + err.Error()) // strings and a number
	}
	return fmt.Sprintf("%x", x.MAC("definition", b)[:8])
}

// Define returns the versions of the definitions of the custom identifiers that are named, as a [triage.Record] keeps them, and why each is
// missing of which Macie gave none. Nil: none is named. An error that wraps coffer.ErrUnavailable says that Macie cannot be asked now.
func (x *Identifiers) Define(ctx context.Context, detections []coffer.Detection, occs []coffer.Occurrence) (versions map[string]string, problems []string, err error) {
	define := func(t coffer.DataType, custom string) error {
		k := detect.Key(t, custom)
		if _, ok := versions[k]; ok {
			return nil
		}
		if _, ok := x.Configured.For(t, custom); ok && custom == "" {
			if _, own := x.Configured.Definition(t, custom); !own {
				return nil // managed
			}
		}
		if versions == nil {
			versions = map[string]string{}
		}
		versions[k] = ""
		if len(versions) > maxIdentifiers {
			problems = append(problems, fmt.Sprintf("custom identifier %s: one of more than %d", t, maxIdentifiers))
			return nil
		}
		known, err := x.define(ctx, t, custom)
		if err != nil {
			return fmt.Errorf("definition of a custom identifier: %w", err)
		}
		if versions[k] = known.Version; known.Problem != "" {
			problems = append(problems, fmt.Sprintf("custom identifier %s: %s", t, known.Problem))
		}
		return nil
	}
	for _, d := range detections {
		if err := define(d.Type, d.Custom); err != nil {
			return nil, nil, err
		}
	}
	for _, o := range occs {
		if err := define(o.Type, o.Custom); err != nil {
			return nil, nil, err
		}
	}
	return versions, problems, nil
}

func (x *Identifiers) define(ctx context.Context, t coffer.DataType, custom string) (Identifier, error) {
	if d, ok := x.Configured.Definition(t, custom); ok {
		k := Identifier{ID: custom, Version: x.version(d)}
		x.mu.Lock()
		_, stored := x.compiled.Get(k.Version)
		x.mu.Unlock()
		if stored {
			return k, nil
		}
		if err := x.DB.Apply(ctx, putOp(definitionKey(k.Version), d.Custom())); err != nil {
			return Identifier{}, err
		}
		x.keep(k, d)
		return k, nil
	}
	if x.Macie == nil || custom == "" {
		return Identifier{}, nil
	}
	x.mu.Lock()
	k, ok := x.known.Get(custom)
	x.mu.Unlock()
	if ok {
		return k, nil
	}
	it, err := x.DB.Get(ctx, x.key(custom))
	switch {
	case errors.Is(err, coffer.ErrNotFound):
	case err != nil:
		return k, err
	case json.Unmarshal(it.Value, &k) != nil:
		return k, coffer.ErrCorrupt
	case k.Version != "" || x.Now().Sub(k.At) < askAgain:
		x.keep(k, nil)
		return k, nil
	}
	return x.ask(ctx, Identifier{ID: custom})
}

// ask asks Macie for a definition and stores what it says. One that is known and cannot be had now stays as it was.
func (x *Identifiers) ask(ctx context.Context, was Identifier) (Identifier, error) {
	k := Identifier{ID: was.ID, At: x.Now().UTC()}
	var ops []store.Op
	var d *detect.Definition
	raw, err := x.Macie.Identifier(ctx, was.ID)
	switch {
	case errors.Is(err, macie.ErrRefused):
		k.Problem = "macie2:GetCustomDataIdentifier is not permitted"
	case errors.Is(err, coffer.ErrNotFound):
		k.Problem = "Macie does not have it"
	case err != nil:
		return k, err
	default:
		c, err := detect.ParseCustom(raw)
		if err == nil {
			d, err = detect.Compile(c)
		}
		if err != nil {
			k.Problem = "what Macie says of it cannot be computed here: " + err.Error()
			break
		}
		k.Version = x.version(d)
		ops = append(ops, putOp(definitionKey(k.Version), d.Custom()))
	}
	if k.Problem != "" && was.Version != "" {
		return was, nil
	}
	if err := x.DB.Apply(ctx, append(ops, putOp(x.key(k.ID), k))...); err != nil {
		return k, err
	}
	x.keep(k, d)
	x.forget()
	return k, nil
}

func (x *Identifiers) keep(k Identifier, d *detect.Definition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known.Max, x.compiled.Max = maxKnown, maxKnown
	if k.Version != "" && k.ID != "" {
		x.known.Put(k.ID, k, 1)
	}
	if d != nil {
		x.compiled.Put(k.Version, d, 1)
	}
}

// forget has All look again: what this process learned is cut out from now on.
func (x *Identifiers) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.learned = time.Time{}
}

// Detectors returns the detectors by which the values of a finding were found, from what its record keeps. A definition that is not there
// any more gives coffer.ErrCorrupt.
func (x *Identifiers) Detectors(ctx context.Context, versions map[string]string) (*detect.Set, error) {
	if versions == nil {
		return x.Configured, nil
	}
	out := map[string]*detect.Definition{}
	for key, version := range versions {
		if version == "" {
			continue
		}
		d, err := x.definition(ctx, version)
		if err != nil {
			return nil, fmt.Errorf("definition %s of a custom identifier: %w", version, err)
		}
		out[key] = d
	}
	return detect.Defined(out), nil
}

func (x *Identifiers) definition(ctx context.Context, version string) (*detect.Definition, error) {
	x.mu.Lock()
	d, ok := x.compiled.Get(version)
	x.mu.Unlock()
	if ok {
		return d, nil
	}
	it, err := x.DB.Get(ctx, definitionKey(version))
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, coffer.ErrCorrupt
	}
	if err != nil {
		return nil, err
	}
	var c detect.Custom
	if json.Unmarshal(it.Value, &c) != nil {
		return nil, coffer.ErrCorrupt
	}
	if d, err = detect.Compile(c); err != nil {
		return nil, coffer.ErrCorrupt
	}
	x.keep(Identifier{Version: version}, d)
	return d, nil
}

// All returns the detectors of whatever is configured or was ever learned of Macie, for cutting what they find out of names that are shown
// and texts that are written, where it does not matter which of them a finding was read by. What other processes learn is in it within a
// minute. While the store cannot be read it is what was known before.
func (x *Identifiers) All(ctx context.Context) *detect.Set {
	x.mu.Lock()
	all, now := x.all, x.Now()
	if all != nil && now.Sub(x.learned) < learnAgain {
		x.mu.Unlock()
		return all
	}
	x.learned = now // others go on with what is known
	x.mu.Unlock()
	var definitions []*detect.Definition
	for it, err := range x.DB.Query(ctx, identifierPart, store.Range{From: "v#", To: "v$"}) {
		var d *detect.Definition
		if err == nil {
			d, err = x.definition(ctx, strings.TrimPrefix(it.Key.Sort, "v#"))
		}
		if err != nil {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.learned = time.Time{}
			return cmp.Or(x.all, x.Configured)
		}
		definitions = append(definitions, d)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = x.Configured.With(definitions...)
	return x.all
}

// Known returns the identifiers of Macie's that findings have named, in no particular order.
func (x *Identifiers) Known(ctx context.Context) ([]Identifier, error) {
	var out []Identifier
	for it, err := range x.DB.Query(ctx, identifierPart, store.Range{From: "k#", To: "k$"}) {
		var k Identifier
		if err == nil && json.Unmarshal(it.Value, &k) != nil {
			err = coffer.ErrCorrupt
		}
		if err != nil {
			return nil, fmt.Errorf("custom identifiers: %w", err)
		}
		out = append(out, k)
	}
	return out, nil
}

// refresh asks Macie anew for each identifier that findings have named. One whose definition is known and cannot be had now stays as it is.
func (x *Identifiers) refresh(ctx context.Context) (known, undefined int, err error) {
	all, err := x.Known(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, k := range all {
		if k, err = x.ask(ctx, k); err != nil {
			return 0, 0, fmt.Errorf("definition of a custom identifier: %w", err)
		}
		if k.Version == "" {
			undefined++
		}
	}
	return len(all), undefined, nil
}
