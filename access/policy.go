package access

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"coffer"
	"coffer/internal/lazyregexp"
)

// Limits of a policy set.
const (
	MaxPolicyFile  = 1 << 20 // bytes
	MaxPolicyFiles = 256
)

//go:embed policies
var embedded embed.FS

const schemaFile = "coffer.cedarschema"

// Policy is a validated policy set. What it decides does not change; concurrent use is safe.
type Policy struct {
	set    *cedar.PolicySet
	check  *validator
	advice map[string]string // by policy id, of the forbids
	roles  []string          // that the policies name, sorted
	hash   string
	about  map[Action]*concern
	memo   memo
}

// Load reads the policies in the *.cedar files at the top of dir, or the default set when dir is nil. Other files are ignored.
// Every policy must carry a unique @id of lower-case letters, digits and hyphens, by which decisions and log entries name
// it, and may carry an @advice, which is shown to those whom a forbid denies. The set is checked against the schema that is
// part of the program; Load refuses a set that is empty, malformed or invalid as a whole, with an error wrapping
// [coffer.ErrInvalid] that says where. Nothing is ever decided by half a set.
func Load(dir fs.FS) (*Policy, error) {
	defaults, err := fs.Sub(embedded, "policies")
	if err != nil {
		return nil, err
	}
	if dir == nil {
		dir = defaults
	}
	text, err := fs.ReadFile(defaults, schemaFile)
	if err != nil {
		return nil, err
	}
	check, err := newValidator(text)
	if err != nil {
		return nil, err
	}
	p := &Policy{set: cedar.NewPolicySet(), check: check, advice: make(map[string]string)}
	h := sha256.New()
	part(h, text)

	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	files := 0
	for _, e := range entries { // sorted by name
		if e.IsDir() || path.Ext(e.Name()) != ".cedar" {
			continue
		}
		if files++; files > MaxPolicyFiles {
			return nil, fmt.Errorf("policy folder of more than %d files: %w", MaxPolicyFiles, coffer.ErrLimit)
		}
		body, err := readFile(dir, e.Name())
		if err != nil {
			return nil, err
		}
		part(h, []byte(e.Name()))
		part(h, body)
		if err := p.add(e.Name(), body); err != nil {
			return nil, err
		}
	}
	if files == 0 {
		return nil, fmt.Errorf("policy folder without *.cedar files: %w", coffer.ErrInvalid)
	}
	p.hash = hex.EncodeToString(h.Sum(nil))
	p.concerns()
	return p, nil
}

// part adds one length-prefixed part to a hash, so that no two lists of parts hash alike.
func part(w io.Writer, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	_, _ = w.Write(n[:]) // a hash.Hash never fails
	_, _ = w.Write(b)
}

func readFile(dir fs.FS, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening policy file %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxPolicyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading policy file %s: %w", name, err)
	}
	if len(b) > MaxPolicyFile {
		return nil, fmt.Errorf("policy file %s of more than %d bytes: %w", name, MaxPolicyFile, coffer.ErrLimit)
	}
	return b, nil
}

func (p *Policy) add(file string, body []byte) error {
	list, err := cedar.NewPolicyListFromBytes(file, body)
	if err != nil {
		return fmt.Errorf("parsing policy file %s: %w: %w", file, err, coffer.ErrInvalid)
	}
	for _, pol := range list {
		pos := pol.Position()
		notes := pol.Annotations()
		id := string(notes["id"])
		if !validPolicyID(id) {
			return fmt.Errorf("policy at %s:%d has no @id of lower-case letters, digits and hyphens: %w", file, pos.Line, coffer.ErrInvalid)
		}
		if p.set.Get(cedar.PolicyID(id)) != nil {
			return fmt.Errorf("policy at %s:%d has the @id %s of another policy: %w", file, pos.Line, id, coffer.ErrInvalid)
		}
		if err := p.check.policy(id, pol); err != nil {
			return fmt.Errorf("policy at %s:%d does not fit the schema: %w: %w", file, pos.Line, err, coffer.ErrInvalid)
		}
		p.set.Add(cedar.PolicyID(id), pol)
		if pol.Effect() == cedar.Forbid {
			p.advice[id] = string(notes["advice"])
		}
		for _, m := range roleName().FindAllSubmatch(pol.MarshalCedar(), -1) {
			if i, ok := slices.BinarySearch(p.roles, string(m[1])); !ok {
				p.roles = slices.Insert(p.roles, i, string(m[1]))
			}
		}
	}
	return nil
}

func validPolicyID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Hash identifies the policy set: the hex SHA-256 over the schema and then the name and content of every policy file in order
// of name, each preceded by its length as 8 bytes, big-endian.
func (p *Policy) Hash() string { return p.hash }

// IDs returns the ids of the policies, sorted.
func (p *Policy) IDs() []string {
	var ids []string
	for id := range p.set.All() {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return ids
}

// roleName finds the roles in a policy as Cedar writes it back, without its comments.
var roleName = lazyregexp.New(`Role::"([A-Za-z0-9._-]+)"`)

// Roles returns the roles that the policies name, sorted.
func (p *Policy) Roles() []string { return slices.Clone(p.roles) }

// Advice returns what a forbid advises those whom it denies; "" for others and for unknown ids.
func (p *Policy) Advice(id string) string { return p.advice[id] }

// Forbids reports whether the policy with this id is a forbid.
func (p *Policy) Forbids(id string) bool {
	_, ok := p.advice[id]
	return ok
}

// Text returns the policy with this id in Cedar's own layout, without its comments; "" for unknown ids.
func (p *Policy) Text(id string) string {
	pol := p.set.Get(cedar.PolicyID(id))
	if pol == nil {
		return ""
	}
	return string(pol.MarshalCedar())
}

// WhoMay returns those of the policies' roles with which somebody else, a person who just signed in, would be allowed the same
// under the same circumstances: whom to ask after a denial. The names of roles are no secret; who holds them is not known here.
func (p *Policy) WhoMay(r Request) []string {
	r.Context.SignedIn, r.Context.BreakGlass, r.Context.Local = r.Context.Now, false, false
	var roles []string
	for _, role := range p.roles {
		r.Caller = Caller{ID: "somebody-else", Kind: UserCaller, Roles: []string{role}}
		if p.Decide(r).Allow {
			roles = append(roles, role)
		}
	}
	return roles
}

// TokenScope is the id of the rule that a token is good for the actions in its scopes alone. It holds whatever the policies say.
const TokenScope = "token-scope"

// Decide answers a request. It allows only when a policy permits, none forbids, and every policy could be evaluated; a
// request that is incomplete, or that names an action, kind or origin that does not exist, is denied. The same request always
// gets the same answer. Some thousands of answers are kept and given again.
func (p *Policy) Decide(r Request) Decision {
	return p.remembered(&r, func() Decision { return p.evaluate(r) })
}

func (p *Policy) evaluate(r Request) Decision {
	if msg := incomplete(r); msg != "" {
		return Decision{Errors: []string{msg}, Hash: p.hash, Advice: "this is a defect of the program or of its configuration: " + msg}
	}
	if r.Caller.Scopes != nil && !slices.Contains(r.Caller.Scopes, r.Action) {
		return Decision{Policies: []string{TokenScope}, Hash: p.hash, Advice: fmt.Sprintf("the token was not made for %s; use one whose scopes name it", r.Action)}
	}
	req, entities, ok := p.translate(r)
	if !ok {
		return Decision{Errors: []string{"unknown action"}, Hash: p.hash}
	}
	if p.check.request(req, entities) != nil {
		return Decision{Errors: []string{"request does not fit the schema"}, Hash: p.hash}
	}
	return p.decide(req, entities, r)
}

// decide evaluates a request that may be anything.
func (p *Policy) decide(req cedar.Request, entities cedar.EntityMap, r Request) Decision {
	allow, diag := cedar.Authorize(p.about[r.Action], entities, req)
	d := Decision{Allow: bool(allow) && len(diag.Errors) == 0, Hash: p.hash}
	for _, e := range diag.Errors {
		d.Errors = append(d.Errors, string(e.PolicyID))
	}
	slices.Sort(d.Errors)
	// What permits is no reason for a denial that an error brought about.
	if d.Allow || !bool(allow) {
		for _, reason := range diag.Reasons {
			d.Policies = append(d.Policies, string(reason.PolicyID))
		}
		slices.Sort(d.Policies)
	}
	switch {
	case d.Allow:
	case len(d.Errors) > 0:
		d.Advice = "a policy could not be evaluated; whoever maintains the policies must correct it"
	case len(d.Policies) == 0:
		d.Advice = fmt.Sprintf("no policy permits %s to %s", r.Action, held(r.Caller.Roles))
	default:
		var all []string
		for _, id := range d.Policies {
			if a := p.advice[id]; a != "" {
				all = append(all, a)
			}
		}
		d.Advice = strings.Join(all, "; ")
	}
	return d
}

func held(roles []string) string {
	switch len(roles) {
	case 0:
		return "a caller without a role"
	case 1:
		return "the role " + roles[0]
	}
	return "the roles " + strings.Join(roles, ", ")
}

// incomplete names what a request lacks; "" when it is whole.
func incomplete(r Request) string {
	if !ValidID(r.Caller.ID) {
		return "the caller has no usable id"
	}
	switch r.Caller.Kind {
	case OperatorCaller, UserCaller, ServiceCaller, TokenCaller:
	default:
		return "the caller's kind is unknown"
	}
	for _, role := range r.Caller.Roles {
		if !ValidID(role) {
			return "a role is malformed"
		}
	}
	switch r.Resource.Kind {
	case Finding, Plan, Object:
		if r.Resource.ID == "" {
			return "the resource has no id"
		}
	case System:
	default:
		return "the resource's kind is unknown"
	}
	for _, o := range r.Resource.Origins {
		switch o {
		case coffer.OriginMacie, coffer.OriginOperator, coffer.OriginSubmitted, coffer.OriginScan:
		default:
			return "the finding's origin is unknown"
		}
	}
	if r.Resource.Kind == Finding && len(r.Resource.Origins) == 0 {
		return "the finding has no origin"
	}
	for _, ids := range [][]string{r.Resource.Submitters, r.Context.Approvers, {cmp.Or(r.Context.Requester, "none")}} {
		for _, id := range ids {
			if !ValidID(id) {
				return "the id of a submitter, requester or approver is malformed"
			}
		}
	}
	if r.Context.Now.IsZero() {
		return "the time is not known"
	}
	if r.Context.Values < 0 {
		return "the number of values is negative"
	}
	if a := r.Context.Network; a.IsValid() && a.IsUnspecified() {
		return "the network address is no address of a caller"
	}
	return ""
}

// ValidID reports whether s can be a caller's id or a role: 1 to 128 characters of [A-Za-z0-9._-].
func ValidID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidGrant reports whether s can be the id of a request for access or of broken glass: "req-" or "glass-" and 32 hex digits.
func ValidGrant(s string) bool {
	id, ok := strings.CutPrefix(s, "req-")
	if !ok {
		id, ok = strings.CutPrefix(s, "glass-")
	}
	return ok && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

// translate puts a request into Cedar's terms.
func (p *Policy) translate(r Request) (cedar.Request, cedar.EntityMap, bool) {
	user := func(id string) cedar.EntityUID { return cedar.NewEntityUID("User", cedar.String(id)) }
	users := func(ids []string) cedar.Set {
		vs := make([]cedar.Value, len(ids))
		for i, id := range ids {
			vs[i] = user(id)
		}
		return cedar.NewSet(vs...)
	}

	action, ok := p.check.action(cedar.NewEntityUID("Action", cedar.String(r.Action)))
	if !ok {
		return cedar.Request{}, nil, false
	}
	entities := cedar.EntityMap{action.UID: action}

	roles := make([]cedar.EntityUID, len(r.Caller.Roles))
	for i, role := range r.Caller.Roles {
		roles[i] = cedar.NewEntityUID("Role", cedar.String(role))
		entities[roles[i]] = cedar.Entity{UID: roles[i]}
	}
	principal := user(r.Caller.ID)
	entities[principal] = cedar.Entity{
		UID:     principal,
		Parents: cedar.NewEntityUIDSet(roles...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"kind":   cedar.String(r.Caller.Kind),
			"teams":  words(r.Caller.Teams),
			"scopes": words(r.Caller.Scopes),
		}),
	}

	resource := cedar.Entity{UID: cedar.NewEntityUID(cedar.EntityType(r.Resource.Kind), cedar.String(r.Resource.ID))}
	if r.Resource.Kind != System {
		resource.Attributes = cedar.NewRecord(cedar.RecordMap{
			"types":      words(r.Resource.Types),
			"categories": words(r.Resource.Categories),
			"severity":   cedar.Long(r.Resource.Severity),
			"bucket":     cedar.String(r.Resource.Bucket),
			"account":    cedar.String(r.Resource.Account),
			"origins":    words(r.Resource.Origins),
			"submitters": users(r.Resource.Submitters),
		})
		tags := make(cedar.RecordMap, len(r.Resource.BucketTags))
		for _, t := range r.Resource.BucketTags {
			tags[cedar.String(t.Key)] = cedar.String(t.Value)
		}
		resource.Tags = cedar.NewRecord(tags)
	}
	entities[resource.UID] = resource

	c := cedar.RecordMap{
		"now":        cedar.NewDatetime(r.Context.Now),
		"local":      cedar.Boolean(r.Context.Local),
		"reason":     cedar.String(r.Context.Reason),
		"noteLength": cedar.Long(r.Context.NoteLength()),
		"ticket":     cedar.Boolean(r.Context.Ticket != ""),
		"purpose":    cedar.String(r.Context.Purpose),
		"values":     cedar.Long(r.Context.Values),
		"mfa":        cedar.Boolean(r.Context.MFA),
		"approvers":  users(r.Context.Approvers),
		"breakGlass": cedar.Boolean(r.Context.BreakGlass),
	}
	if a := r.Context.Network; a.IsValid() {
		a = a.Unmap().WithZone("") // Cedar knows neither IPv4 inside IPv6 nor zones
		c["network"] = cedar.IPAddr(netip.PrefixFrom(a, a.BitLen()))
	}
	if age, ok := r.Context.signInAge(); ok {
		c["signInAge"] = cedar.Long(age / time.Second)
	}
	if r.Context.Requester != "" {
		c["requester"] = user(r.Context.Requester)
	}
	if !r.Context.ApprovedUntil.IsZero() {
		c["approvedUntil"] = cedar.NewDatetime(r.Context.ApprovedUntil)
	}
	return cedar.Request{Principal: principal, Action: action.UID, Resource: resource.UID, Context: cedar.NewRecord(c)}, entities, true
}

func words[S ~string](list []S) cedar.Set {
	vs := make([]cedar.Value, len(list))
	for i, s := range list {
		vs[i] = cedar.String(s)
	}
	return cedar.NewSet(vs...)
}
