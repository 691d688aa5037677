// Package remedy fixes objects: it plans a fix, shows it masked, waits for approval where the policy asks for it, applies it
// all or nothing, verifies it, takes it back while that is possible, and certifies what it did.
//
// A plan covers one version of one object and all open findings on it. Its states:
//
//	planned -> approved -> applying -> applied -> undone
//	   |            |         |            \----> purged
//	   |            |         \-> conflict, refused
//	   \------------\-> denied, withdrawn
//
// Applying is safe to repeat at any point: the plan's record says how far it came, and the digest of the bytes that it was
// going to write settles whether a write whose answer was lost happened.
package remedy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format"
	"coffer/format/all"
	"coffer/grant"
	"coffer/internal/planted"
	"coffer/object"
	"coffer/pipeline"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// Action is what a fix does to the values or the object.
type Action string

// The actions.
const (
	Redact     Action = "redact"     // replace each value by the word REDACTED
	Mask       Action = "mask"       // replace each letter and digit by X; keep the last four where the type can bear it
	Tokenise   Action = "tokenise"   // replace each value by a token, the same for the same value everywhere
	Quarantine Action = "quarantine" // move the object, sealed, out of reach until it is released or purged
	Delete     Action = "delete"     // remove the object; it can be restored during the grace period
)

// Actions lists the actions.
var Actions = []Action{Redact, Mask, Tokenise, Quarantine, Delete}

// Rewrites reports whether the action leaves a rewritten object in place.
func (a Action) Rewrites() bool { return a == Redact || a == Mask || a == Tokenise }

// past is the word for the state of the object after the action, and the value of its state tag.
func (a Action) past() string {
	switch a {
	case Redact:
		return "redacted"
	case Mask:
		return "masked"
	case Tokenise:
		return "tokenised"
	case Quarantine:
		return "quarantined"
	}
	return "deleted"
}

// State is where a plan stands.
type State string

// The states of a plan.
const (
	Planned  State = "planned"
	Approved State = "approved"
	Applying State = "applying"
	Applied  State = "applied"
	Undone   State = "undone"
	Purged   State = "purged"
	Conflict State = "conflict" // the object was changed by somebody else; nothing was written
	Refused  State = "refused"  // verification of the rewritten bytes failed; nothing was written

	Denied    State = "denied"    // somebody said no, and why; nothing was written
	Withdrawn State = "withdrawn" // whoever made it took it back before anything was written
)

// Kept is the sealed original of a fix.
type Kept struct {
	Generation string        `json:"generation"`
	Object     coffer.Object `json:"object"` // in the store of originals
	Size       int64         `json:"size"`
	SHA256     string        `json:"sha256"` // of the bytes that undo restores
	Attrs      object.Attrs  `json:"attrs"`
	Blanked    int           `json:"blanked,omitempty"` // card authentication values that were blanked and cannot come back
}

// Outcome is what applying wrote.
type Outcome struct {
	Object  coffer.Object `json:"object"`
	Size    int64         `json:"size"`
	SHA256  string        `json:"sha256"`
	Deleted bool          `json:"deleted,omitempty"`
	Marker  string        `json:"marker,omitempty"` // version id of the delete marker
}

// Approval is one person's consent to applying, or to purging, exactly this plan.
type Approval = grant.Approval

// Plan is a fix of one object version.
type Plan struct {
	ID       string        `json:"plan"`
	Action   Action        `json:"action"`
	Include  Include       `json:"include"`
	Only     bool          `json:"onlyReported,omitempty"`
	AsText   bool          `json:"asText,omitempty"` // the object does not parse; it is fixed as lines of text
	Object   coffer.Object `json:"object"`           // the pinned version
	ObjectID string        `json:"objectId"`
	Size     int64         `json:"size"`
	Findings []string      `json:"findings"`
	// Generations are those of the findings' sealed values that the plan was made on.
	Generations map[string]string `json:"generations,omitempty"`
	State       State             `json:"state"`
	Reason      string            `json:"reason,omitempty"`

	Changes       int                     `json:"changes"`
	Digest        string                  `json:"digest,omitempty"`  // keyed, of all changes
	Resweep       bool                    `json:"resweep,omitempty"` // too many changes to store: applying sweeps again
	Counts        map[coffer.DataType]int `json:"counts"`
	Swept         int                     `json:"swept"`            // of the changes, those found by the sweep alone
	Sealed        int                     `json:"sealed"`           // of those, how many are sealed too
	Leaves        map[string]int          `json:"leaves,omitempty"` // reported values that stay, by the reason why
	PossibleCount int                     `json:"possibleCount"`
	Possible      []Possible              `json:"possible,omitempty"`
	Authenticates int                     `json:"authentication,omitempty"` // card authentication values among the changes
	Residual      []string                `json:"residual,omitempty"`       // copies that the fix does not touch
	// Replicas are those of Residual that another bucket holds: they count as residual after the fix, whatever becomes of the rule.
	Replicas []string `json:"replicas,omitempty"`
	// Unfixed is what the fix cannot remove from the current version; it counts as residual after the fix.
	Unfixed []string `json:"unfixed,omitempty"`
	// Unexamined is what nothing can be said about, files of unreadable kinds in an archive; it counts as residual, too.
	Unexamined []string `json:"unexamined,omitempty"`
	Warnings   []string `json:"warnings,omitempty"`

	By        string          `json:"by"`
	Created   time.Time       `json:"created"`
	Approvals grant.Approvals `json:"approvals,omitempty"`

	Started     time.Time `json:"started,omitzero"`
	Original    *Kept     `json:"original,omitempty"`
	SweepValues string    `json:"sweepValues,omitempty"` // generation of the values found by the sweep
	Result      *Outcome  `json:"result,omitempty"`      // recorded before the write; see State
	Finished    time.Time `json:"finished,omitzero"`
	// Epoch of the object's lease under which the plan was applied: it orders the fixes of an object.
	Epoch      int64     `json:"epoch,omitempty"`
	Verified   bool      `json:"verified,omitempty"`
	Clean      string    `json:"clean,omitempty"` // current or all; empty when the fix left something in the current version
	Until      time.Time `json:"undoUntil,omitzero"`
	Ended      time.Time `json:"ended,omitzero"`        // undone, purged, denied or withdrawn
	EndedBy    string    `json:"endedBy,omitempty"`     // of a plan that was denied: by whom; the words are its Reason
	KeyGone    time.Time `json:"keyDestroyed,omitzero"` // from then on no copy of the kept original can be opened
	ValuesGone bool      `json:"valuesDestroyed,omitempty"`

	version string
	intent  audit.Ref // of the act that is under way
}

// Remedy is safe for concurrent use.
type Remedy struct {
	Objects     object.Store
	Originals   object.Store
	DB          store.DB
	Records     triage.Records
	Vault       *vault.Vault
	Verifier    Verifier
	Guard       *audit.Guard
	Grants      *grant.Grants
	Identifiers *pipeline.Identifiers // what the types of findings mean
	Allow       func(bucket string) bool
	MAC         func(label string, data []byte) []byte
	Now         func() time.Time
	Worker      string // names this process in leases
	// OriginalsIn is the bucket of Originals into which originals are kept; empty: OriginalsBucket.
	OriginalsIn string
	Grace       time.Duration // how long undo stays possible
}

// DefaultGrace is how long undo stays possible unless configured otherwise.
const DefaultGrace = 7 * 24 * time.Hour

// Options of a plan.
type Options struct {
	// Attempt names the plan, so that repeating the attempt that makes it (see [job.Once.Attempt]) finds it; empty: any name.
	Attempt      string
	Action       Action
	Include      Include
	OnlyReported bool
}

// plans is the list of plans.
var plans = store.Spread{Name: "PL", Shards: 16}

func planKey(id string) store.Key { return store.Key{Part: "P#" + id, Sort: "meta"} }

// Get returns a plan without asking the policy; an error wrapping coffer.ErrNotFound when there is none.
func (m *Remedy) Get(ctx context.Context, id string) (*Plan, error) {
	if id == "" || len(id) > 64 {
		return nil, fmt.Errorf("plan: %w", coffer.ErrNotFound)
	}
	it, err := m.DB.Get(ctx, planKey(id))
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", id, err)
	}
	var p Plan
	if err := json.Unmarshal(it.Value, &p); err != nil {
		return nil, fmt.Errorf("plan %s: %w", id, coffer.ErrCorrupt)
	}
	p.version = it.Version
	return &p, nil
}

// save returns the operations that store p, if nobody changed it since, and for a new plan its places in lists.
func (p *Plan) save() []store.Op {
	v := store.NewVersion()
	expect := p.version
	p.version = v
	ops := []store.Op{{Verb: store.Put, Expect: expect, Item: store.Item{Key: planKey(p.ID), Value: encode(p), Version: v}}}
	if expect != store.Absent {
		return ops // the lists name the plan, and what else they show is read from it
	}
	return append(ops,
		store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
			Key: store.Key{Part: "O#" + p.ObjectID, Sort: "p#" + p.Created.Format(time.RFC3339Nano) + "#" + p.ID}, Value: []byte("1"), Version: v}},
		store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: plans.Key(p.ID), Value: []byte("1"), Version: v}})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return b
}

// All yields the plans in order of their ids.
func (m *Remedy) All(ctx context.Context) iter.Seq2[*Plan, error] {
	return func(yield func(*Plan, error) bool) {
		for it, err := range plans.Query(ctx, m.DB, store.Range{}) {
			var p *Plan
			if err == nil {
				p, err = m.Get(ctx, it.Key.Sort)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Resource describes the plan to the policies: the attributes of all its findings together.
func (m *Remedy) Resource(ctx context.Context, p *Plan) (access.Resource, error) {
	var recs []*triage.Record
	for _, id := range p.Findings {
		rec, err := m.Records.Get(ctx, id)
		if err != nil {
			return access.Resource{}, err
		}
		recs = append(recs, rec)
	}
	return resourceOf(p.ID, recs), nil
}

func resourceOf(id string, recs []*triage.Record) access.Resource {
	out := access.Resource{Kind: access.Plan, ID: id}
	for _, rec := range recs {
		r := rec.Resource()
		out.Severity = max(out.Severity, r.Severity)
		out.Bucket, out.Account, out.BucketTags = r.Bucket, r.Account, r.BucketTags
		out.Types = union(out.Types, r.Types)
		out.Categories = union(out.Categories, r.Categories)
		out.Origins = union(out.Origins, r.Origins)
		out.Submitters = union(out.Submitters, r.Submitters)
	}
	return out
}

func union[T comparable](a, b []T) []T {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

// Changes yields the changes of a plan in document order.
func (m *Remedy) Changes(ctx context.Context, id string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for it, err := range m.DB.Query(ctx, "P#"+id, store.Range{From: "c#", To: "c$"}) {
			var chunk []Change
			if err == nil && json.Unmarshal(it.Value, &chunk) != nil {
				err = fmt.Errorf("changes of plan %s: %w", id, coffer.ErrCorrupt)
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
			for _, c := range chunk {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// Group is the findings that one plan will cover.
type Group struct {
	ObjectID string
	Object   coffer.Object
	Records  []*triage.Record
}

// Groups returns for each object on which one of the findings stands all its open findings, in the order of ids.
func (m *Remedy) Groups(ctx context.Context, ids ...string) ([]Group, error) {
	var out []Group
	seen := map[string]bool{}
	for _, id := range ids {
		rec, err := m.Records.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if seen[rec.ObjectID] {
			continue
		}
		seen[rec.ObjectID] = true
		recs, err := pipeline.FindingsOn(ctx, m.Records, rec.ObjectID)
		if err != nil {
			return nil, err
		}
		recs = slices.DeleteFunc(recs, func(r *triage.Record) bool {
			return r.Unconfirmed() || r.Finding.ID != id && (!r.Status.Active() || !r.State.Final() || r.Outcomes[coffer.OutcomeChanged] > 0)
		})
		if rec.Unconfirmed() {
			return nil, fmt.Errorf("finding %s is submitted and not confirmed; nothing is read for it: %w", id, coffer.ErrConflict)
		}
		out = append(out, Group{rec.ObjectID, rec.Finding.Object, recs})
	}
	return out, nil
}

// Plan makes a plan for the group. It reads the object and writes nothing but the plan. An object that is not, or not any
// more, what Macie saw gives coffer.ErrChanged; findings without a value to fix give coffer.ErrInvalid.
func (m *Remedy) Plan(ctx context.Context, ask access.Ask, g Group, opt Options) (*Plan, error) {
	p := &Plan{
		ID: opt.id(), Action: opt.Action, Include: opt.Include, Only: opt.OnlyReported, ObjectID: g.ObjectID,
		State: Planned, By: ask.Caller.ID, Created: m.Now().UTC(), Leaves: map[string]int{}, Generations: map[string]string{},
	}
	for _, r := range g.Records {
		p.Findings = append(p.Findings, r.Finding.ID)
		p.Generations[r.Finding.ID] = r.Generation
	}
	permit, err := m.Guard.Check(ctx, ask.Caller, access.RemedyPlan, resourceOf(p.ID, g.Records), ask.Context)
	if err != nil {
		return nil, err
	}
	if opt.Attempt != "" {
		if made, err := m.Get(ctx, p.ID); !errors.Is(err, coffer.ErrNotFound) {
			return made, err
		}
	}
	if !slices.Contains(Actions, opt.Action) {
		return nil, fmt.Errorf("action is one of redact, mask, tokenise, quarantine, delete: %w", coffer.ErrInvalid)
	}
	info, err := m.pin(ctx, g)
	if err != nil {
		return nil, err
	}
	p.Object, p.Size = info.Object, info.Size
	if info.Locked != "" {
		p.Warnings = append(p.Warnings, "this version is locked ("+info.Locked+"): it stays readable by its version id until then")
	}
	if near, err := m.nearLake(ctx, info.Object); err != nil {
		return nil, err
	} else if near != "" {
		p.Warnings = append(p.Warnings, "the object lies in a lake table ("+near+"): its manifest records sizes and statistics of the files, so change it with the table's own tools, or rebuild the table afterwards")
	}
	if opt.Action.Rewrites() && object.ArchivedAtOnce(info.Attrs.StorageClass) {
		return nil, fmt.Errorf("storage class %s archives what a fix writes at once, so it could not be read back and verified; copy the object to "+
			"a class that can be read, and let that be scanned: %w", info.Attrs.StorageClass, coffer.ErrUnsupported)
	}
	if p.Residual, p.Replicas, err = m.residual(ctx, info.Object, "", info.VersionID); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.Residual, func(r string) bool { return strings.HasPrefix(r, object.Annotation+" ") }) {
		p.Warnings = append(p.Warnings, "the object's annotations do not come along to what a fix writes, and undo does not bring them back: "+
			"keep elsewhere what is needed of them")
	}
	if opt.Action.Rewrites() {
		if err := m.find(ctx, p, info, g.Records); err != nil {
			return nil, err
		}
		if p.Changes == 0 {
			return nil, fmt.Errorf("nothing to %s: %s: %w", opt.Action, p.leavesText(), coffer.ErrInvalid)
		}
	}
	record := func(ops ...store.Op) error {
		p.version = store.Absent
		return m.record(ctx, permit, p, "plan", audit.Done, ops...)
	}
	if opt.Action != Tokenise {
		return p, record()
	}
	// Equal tokens tell that values are equal, so that a plan which makes them is charged to a budget.
	return p, m.Grants.Charge(ctx, ask, grant.Act{Action: access.RemedyPlan, Resource: resourceOf(p.ID, g.Records)}, record)
}

// id returns the id of the plan.
func (o *Options) id() string {
	if o.Attempt != "" {
		return "plan-" + o.Attempt
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "plan-" + hex.EncodeToString(b[:])
}

// record stores the plan together with the entry that reports its change.
func (m *Remedy) record(ctx context.Context, permit *audit.Permit, p *Plan, step string, outcome audit.Outcome, ops ...store.Op) error {
	e := permit.Entry(outcome)
	e.Object = p.ObjectID
	e.Detail = map[string]string{
		"step": step, "action": string(p.Action), "state": string(p.State),
		"changes": strconv.Itoa(p.Changes), "findings": strconv.Itoa(len(p.Findings)),
	}
	if outcome != audit.Intent && !strings.HasPrefix(step, "before-") {
		e.Intent = p.intent // the act ends here
	}
	ref, err := m.Guard.Log.Apply(ctx, e, append(p.save(), ops...)...)
	if outcome == audit.Intent {
		p.intent = ref
	}
	return err
}

// describe tells the plan what the sweep found.
func (w *sweep) describe(p *Plan) {
	p.Changes, p.Counts, p.Swept, p.Authenticates = w.counts.changes, w.counts.byType, w.counts.swept, w.counts.authentic
	p.Possible, p.PossibleCount = w.possible, w.counts.possible
	for _, s := range w.subjects {
		switch f := s.found; {
		case w.takes(f):
		case f.Outcome == coffer.OutcomeRejected:
			p.Leaves["rejected: fails its checksum; --include rejected takes it too"]++
		case f.Outcome == coffer.OutcomeRegion:
			p.Leaves["region: "+regionSize(f.Value().Len())+" of text without a known pattern; --include region takes it too"]++
		default:
			p.Leaves[string(f.Outcome)]++
		}
	}
	if p.Authenticates > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d values are card authentication data: they are blanked in the kept original too and cannot come back", p.Authenticates))
	}
}

func regionSize(n int) string { return fmt.Sprintf("up to %d characters", (n+9)/10*10) }

func (p *Plan) leavesText() string {
	if len(p.Leaves) == 0 {
		return "no value stands at the reported places"
	}
	var parts []string
	for why, n := range p.Leaves {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

func (w *sweep) wipe() {
	for _, s := range w.sealable {
		s.plain.Wipe()
	}
	for _, s := range w.subjects {
		for _, p := range s.found.Pieces {
			p.Text.Wipe()
		}
	}
}

// changeWriter stores the first changes of a plan, in chunks that fit an item.
type changeWriter struct {
	ctx   context.Context
	m     *Remedy
	plan  string
	chunk []Change
	n     int
}

const changesInChunk = 400

func (cw *changeWriter) add(c Change) error {
	if cw.n++; cw.n > maxStored {
		return nil
	}
	if cw.chunk = append(cw.chunk, c); len(cw.chunk) == changesInChunk {
		return cw.flush()
	}
	return nil
}

func (cw *changeWriter) flush() error {
	if len(cw.chunk) == 0 {
		return nil
	}
	first := min(cw.n, maxStored) - len(cw.chunk)
	err := cw.m.DB.Apply(cw.ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: store.Key{Part: "P#" + cw.plan, Sort: fmt.Sprintf("c#%08d", first)}, Value: encode(cw.chunk), Version: store.NewVersion(),
	}})
	cw.chunk = cw.chunk[:0]
	if err != nil {
		return fmt.Errorf("store the plan's changes: %w", err)
	}
	return nil
}

// pin returns the version of the object that the plan is for: the one that Macie saw, or one that Coffer itself wrote since.
func (m *Remedy) pin(ctx context.Context, g Group) (object.Info, error) {
	if !m.Allow(g.Object.Bucket) {
		return object.Info{}, fmt.Errorf("bucket is not among those that may be changed; add it to the configuration: %w", coffer.ErrDenied)
	}
	info, err := m.Objects.Stat(ctx, coffer.Object{Bucket: g.Object.Bucket, Key: g.Object.Key})
	if err != nil {
		return info, fmt.Errorf("object: %w", err)
	}
	// A finding without a sealed value counts too: verification codes are never sealed, and still to be removed.
	if slices.ContainsFunc(g.Records, func(r *triage.Record) bool { return r.Read != nil && r.Read.ETag == info.ETag }) ||
		m.wrote(ctx, g.ObjectID, info.ETag) {
		return info, nil
	}
	if info.Archived != "" {
		return info, fmt.Errorf("the object is archived (%s); restore it and take the finding in again: %w", info.Archived, coffer.ErrUnavailable)
	}
	return info, fmt.Errorf("the object is not what Macie saw: somebody changed it since; `coffer finding relocate` looks at it as it is now: %w", coffer.ErrChanged)
}

// wroteKey remembers, under a keyed hash of its ETag, a version that Coffer wrote.
func (m *Remedy) wroteKey(objectID, etag string) store.Key {
	return store.Key{Part: "O#" + objectID, Sort: fmt.Sprintf("w#%x", m.MAC("etag", []byte(etag))[:16])}
}

func (m *Remedy) wrote(ctx context.Context, objectID, etag string) bool {
	_, err := m.DB.Get(ctx, m.wroteKey(objectID, etag))
	return err == nil
}

// nearLake looks for the manifests of table formats in the folders above the object.
func (m *Remedy) nearLake(ctx context.Context, o coffer.Object) (string, error) {
	for dir := path.Dir(o.Key); dir != "." && dir != "/"; dir = path.Dir(dir) {
		for _, mark := range []string{"_delta_log/", "metadata/"} {
			for info, err := range m.Objects.List(ctx, o.Bucket, dir+"/"+mark, "") {
				if err != nil {
					return "", fmt.Errorf("look for a table's manifest: %w", err)
				}
				if mark == "_delta_log/" {
					return "Delta Lake", nil
				}
				if strings.HasSuffix(info.Key, ".metadata.json") {
					return "Iceberg", nil
				}
				break
			}
		}
	}
	return "", nil
}

// residual names the copies of the object besides its current version that may hold the values: all other versions, and what
// the storage knows outside the version chain, the replicas among them once more by themselves. clean is a version id that is known to
// be clean.
func (m *Remedy) residual(ctx context.Context, o coffer.Object, clean, pinned string) (out, replicas []string, err error) {
	if planted.On(planted.OverclaimClean) {
		return nil, nil, nil
	}
	for info, err := range m.Objects.Versions(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key}) {
		if errors.Is(err, coffer.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list versions: %w", err)
		}
		if info.Latest || info.Marker || clean != "" && info.VersionID == clean {
			continue
		}
		s := "version " + info.VersionID
		if info.VersionID == pinned {
			s += " (the one the plan is for)"
		} else {
			s += " (older, not examined)"
		}
		if info.Locked != "" {
			s += ", locked: " + info.Locked
		}
		out = append(out, s)
	}
	copies, err := m.Objects.Copies(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
	switch {
	case err == nil, errors.Is(err, coffer.ErrNotFound):
	case coffer.Permanent(err):
		out = append(out, "other copies: unknown ("+err.Error()+")")
	default:
		return nil, nil, fmt.Errorf("list copies: %w", err)
	}
	for _, c := range copies {
		out = append(out, c.What+" "+c.Name)
		if c.What == object.Replica {
			replicas = append(replicas, c.What+" "+c.Name)
		}
	}
	return out, replicas, nil
}

// remaining is residual after a fix, together with what the fix could not remove.
func (m *Remedy) remaining(ctx context.Context, p *Plan, clean string) ([]string, error) {
	out, _, err := m.residual(ctx, p.Object, clean, p.Object.VersionID)
	for _, r := range p.Replicas {
		// Whoever takes the rule away leaves the replica, and nothing tells of it any more.
		if !slices.Contains(out, r) {
			out = append(out, r+", known since the plan")
		}
	}
	if p.Result != nil && !p.Result.Deleted {
		out = append(append(out, p.Unfixed...), p.Unexamined...)
	}
	return out, err
}

// find extracts the reported values, sweeps the object, and stores what is to be changed.
func (m *Remedy) find(ctx context.Context, p *Plan, info object.Info, recs []*triage.Record) error {
	var subjects []subject
	for _, rec := range recs {
		lines, err := m.Records.Lines(ctx, rec.Finding.ID)
		if err != nil {
			return err
		}
		by, err := m.by(ctx, rec)
		if err != nil {
			return err
		}
		found, err := m.extract(ctx, info.Object, occurrences(lines), by.set)
		if err != nil {
			return err
		}
		for i, f := range found {
			if lines[i].Verdict != triage.FalsePositive {
				subjects = append(subjects, subject{rec.Finding.ID, f, by})
			}
		}
	}
	cw := &changeWriter{ctx: ctx, m: m, plan: p.ID}
	w := m.sweep(p, subjects)
	w.emit = cw.add
	defer w.wipe()
	err := m.sweepObject(ctx, p, w, nil, info.Object)
	if errors.Is(err, coffer.ErrInvalid) && !p.AsText {
		// What does not parse as what it claims to be is fixed as the text that it is. Macie reads such files as text, too.
		p.AsText = true
		fresh := m.sweep(p, subjects)
		*cw = changeWriter{ctx: ctx, m: m, plan: p.ID}
		fresh.emit, w = cw.add, fresh
		err = m.sweepObject(ctx, p, w, nil, info.Object)
	}
	if err != nil {
		return fmt.Errorf("search the object: %w", err)
	}
	if err := cw.flush(); err != nil {
		return err
	}
	w.describe(p)
	if w.names(info.Key) {
		p.Unfixed = append(p.Unfixed, "current version: the object's name holds a value")
	}
	if n := w.counts.named; n > 0 {
		p.Unfixed = append(p.Unfixed, fmt.Sprintf("current version: the names of %d files in the archive hold a value", n))
	}
	if p.Unexamined, err = m.unexamined(ctx, info.Object); err != nil {
		return err
	}
	p.Residual = append(append(p.Residual, p.Unfixed...), p.Unexamined...)
	p.Resweep = p.Changes > maxStored
	p.Digest = m.changesDigest(w)
	return nil
}

// unexamined says which files inside an archive no format can read: no claim covers them.
func (m *Remedy) unexamined(ctx context.Context, o coffer.Object) ([]string, error) {
	body, err := m.Objects.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	kinds, err := all.Opaque(ctx, path.Base(o.Key), format.Source{Reader: body, Size: body.Info.Size, At: body.ReaderAt})
	if err != nil {
		return nil, fmt.Errorf("look into the archive: %w", err)
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, fmt.Sprintf("current version: files of kind %s in the archive that were not examined: %d", k, kinds[k]))
	}
	return out, nil
}

// sweep returns the sweep that the plan stands for.
func (m *Remedy) sweep(p *Plan, subjects []subject) *sweep {
	return newSweep(subjects, p.Include, p.Only, m.replacer(p.Action))
}

// changesDigest is the keyed digest of the changes that the sweep met.
func (m *Remedy) changesDigest(w *sweep) string {
	return hex.EncodeToString(m.MAC("changes", w.digest.Sum(nil))[:16])
}

// sweepObject runs w over an object; with dst it writes the object with the replacements.
func (m *Remedy) sweepObject(ctx context.Context, p *Plan, w *sweep, dst io.Writer, o coffer.Object) error {
	body, err := m.Objects.Open(ctx, o)
	if err != nil {
		return err
	}
	defer body.Close()
	f, src, err := p.document(body)
	if err != nil {
		return err
	}
	return w.run(ctx, dst, f, src)
}

// document chooses the format in which the plan reads the object.
func (p *Plan) document(body object.Body) (format.Format, format.Source, error) {
	f, src, err := pipeline.Document(body)
	if err == nil && p.AsText {
		f, err = all.AsText(f)
	}
	return f, src, err
}

// replacer returns the function that makes the text that replaces a value.
func (m *Remedy) replacer(a Action) func(coffer.DataType, []byte) []byte {
	switch a {
	case Mask:
		return func(t coffer.DataType, v []byte) []byte { return maskText(t, v) }
	case Tokenise:
		return func(t coffer.DataType, v []byte) []byte {
			if t.Authentication() {
				return []byte(redactedText)
			}
			return []byte(m.Vault.Token(t, v))
		}
	}
	return func(coffer.DataType, []byte) []byte { return []byte(redactedText) }
}

// redactedText is a plain word: it means nothing in any text format, so that a document that holds it still parses.
const redactedText = "REDACTED"

// maskText replaces letters and digits by X, which unlike "*" has no meaning in YAML and Markdown, and keeps separators and
// line breaks, so that widths and layouts stay. The last four letters or digits stay where the type can bear it.
func maskText(t coffer.DataType, v []byte) []byte {
	out := bytes.Clone(v)
	left := 0
	if t.LastFour() {
		n := 0
		for _, c := range v {
			if isWord(c) {
				n++
			}
		}
		if n >= 8 {
			left = 4
		}
	}
	res := make([]byte, 0, len(out))
	for i := len(out); i > 0; {
		size := 1
		for size < 4 && i-size > 0 && out[i-size]&0xc0 == 0x80 {
			size++
		}
		switch c := out[i-size : i]; {
		case left > 0 && isWord(c[0]):
			left--
			for k := size - 1; k >= 0; k-- {
				res = append(res, c[k])
			}
		case isWord(c[0]):
			res = append(res, 'X')
		default:
			res = append(res, c...)
		}
		i -= size
	}
	slices.Reverse(res)
	return res
}

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// List returns all plans, newest first.
func (m *Remedy) List(ctx context.Context, ask access.Ask) ([]*Plan, error) {
	permit, err := m.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	var out []*Plan
	for p, err := range m.All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Plan) int { return b.Created.Compare(a.Created) })
	return out, m.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Read returns a plan for showing.
func (m *Remedy) Read(ctx context.Context, ask access.Ask, id string) (*Plan, error) {
	p, err := m.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	res, err := m.Resource(ctx, p)
	if err != nil {
		return nil, err
	}
	res.Kind, res.ID = access.Object, p.ObjectID
	permit, err := m.Guard.Check(ctx, ask.Caller, access.ObjectRead, res, ask.Context)
	if err != nil {
		return nil, err
	}
	e := permit.Entry(audit.Done)
	e.Plan = id
	_, err = m.Guard.Log.Append(ctx, e)
	return p, err
}
