package kmsfake

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The states of a key. Creating, Updating, PendingReplicaDeletion and those of imported and custom-store keys do not occur: a
// replica is there at once.
const (
	stateEnabled         = "Enabled"
	stateDisabled        = "Disabled"
	statePendingDeletion = "PendingDeletion"
)

// Documented quotas and defaults.
const (
	onDemandLimit = 25
	rotationDays  = 365
	minRotation   = 90
	maxRotation   = 2560
	minWindow     = 7
	maxWindow     = 30
)

// key is a key in one Region. The replicas of a multi-Region key share their material.
type key struct {
	*material
	region      string
	id          string
	description string
	created     time.Time
	replica     bool
	state       string
	deletion    time.Time

	before string // the state that cryptographic operations still see
	late   int    // how many of them still do
}

// material is what the replicas of a key have in common.
type material struct {
	multi     bool
	versions  []version // the last is current; the earlier ones decrypt for ever
	onDemand  int
	rotating  bool
	period    int // days
	enabledAt time.Time
	replicas  []*key // all, the primary first
}

type version struct {
	id   string
	key  [32]byte
	at   time.Time
	kind string // "" for the first, "ON_DEMAND"
}

func (k *key) arn() string { return arnOf(k.region, "key/"+k.id) }

func arnOf(region, resource string) string {
	return "arn:aws:kms:" + region + ":" + Account + ":" + resource
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func (m *material) rotate(at time.Time, kind string) {
	v := version{id: hex.EncodeToString(random(32)), at: at, kind: kind}
	copy(v.key[:], random(32))
	m.versions = append(m.versions, v)
}

func (c *call) createKey() (any, error) {
	spec := c.in.KeySpec
	if spec == "" {
		spec = c.in.CustomerMasterKeySpec
	}
	if spec != "" && spec != "SYMMETRIC_DEFAULT" || c.in.KeyUsage != "" && c.in.KeyUsage != "ENCRYPT_DECRYPT" ||
		c.in.Origin != "" && c.in.Origin != "AWS_KMS" {
		return nil, fail("UnsupportedOperationException", "symmetric encryption keys with material of KMS only")
	}
	b := random(16)
	id := hex.EncodeToString(b)
	id = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	if c.in.MultiRegion {
		id = "mrk-" + hex.EncodeToString(b)
	}
	k := &key{
		material: &material{multi: c.in.MultiRegion, period: rotationDays}, region: c.event.Region, id: id, description: c.in.Description,
		created: c.now(), state: stateEnabled,
	}
	k.rotate(c.now(), "")
	k.replicas = []*key{k}
	c.where.keys[id] = k
	c.event.Key = k.arn()
	return map[string]any{"KeyMetadata": k.metadata()}, nil
}

func (c *call) replicateKey() (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	switch {
	case !k.multi || k.replica:
		return nil, fail("UnsupportedOperationException", "%s is not a multi-Region primary key", k.arn())
	case k.state == stateDisabled:
		return nil, fail("DisabledException", "%s is disabled.", k.arn())
	case k.state != stateEnabled:
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case c.in.ReplicaRegion == "" || slices.ContainsFunc(k.replicas, func(r *key) bool { return r.region == c.in.ReplicaRegion }):
		return nil, fail("AlreadyExistsException", "a related key exists in that Region")
	}
	r := &key{material: k.material, region: c.in.ReplicaRegion, id: k.id, description: c.in.Description, created: c.now(), replica: true, state: stateEnabled}
	k.replicas = append(k.replicas, r)
	c.region(r.region).keys[r.id] = r
	return map[string]any{"ReplicaKeyMetadata": r.metadata()}, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (k *key) metadata() map[string]any {
	m := map[string]any{
		"AWSAccountId": Account, "KeyId": k.id, "Arn": k.arn(), "CreationDate": seconds(k.created), "Enabled": k.state == stateEnabled,
		"Description": k.description, "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": k.state, "Origin": "AWS_KMS", "KeyManager": "CUSTOMER",
		"CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT", "EncryptionAlgorithms": []string{"SYMMETRIC_DEFAULT"},
		"MultiRegion": k.multi, "CurrentKeyMaterialId": k.versions[len(k.versions)-1].id,
	}
	if k.state == statePendingDeletion {
		m["DeletionDate"] = seconds(k.deletion)
	}
	if k.multi {
		kind := "PRIMARY"
		if k.replica {
			kind = "REPLICA"
		}
		replicas := []map[string]string{}
		for _, r := range k.replicas[1:] {
			replicas = append(replicas, map[string]string{"Arn": r.arn(), "Region": r.region})
		}
		m["MultiRegionConfiguration"] = map[string]any{
			"MultiRegionKeyType": kind, "ReplicaKeys": replicas,
			"PrimaryKey": map[string]string{"Arn": k.replicas[0].arn(), "Region": k.replicas[0].region},
		}
	}
	return m
}

// key finds the key that a request names: by id or ARN, and where the operation takes them by alias name or alias ARN. Keys of
// other Regions are not found.
func (c *call) key(name string, aliases bool) (*key, error) {
	if name == "" {
		return nil, fail("ValidationException", "KeyId is required")
	}
	short := name
	if strings.HasPrefix(name, "arn:") {
		f := strings.SplitN(name, ":", 6)
		if len(f) != 6 || f[1] != "aws" || f[2] != "kms" || f[3] != c.event.Region {
			return nil, fail("NotFoundException", "Invalid arn %s", c.event.Region)
		}
		if f[4] != Account {
			return nil, fail("AccessDeniedException", "the key is another account's")
		}
		short = f[5]
		if id, ok := strings.CutPrefix(short, "key/"); ok {
			short = id
		} else if !strings.HasPrefix(short, "alias/") {
			return nil, fail("NotFoundException", "Invalid arn")
		}
	}
	if strings.HasPrefix(short, "alias/") {
		if !aliases {
			return nil, fail("ValidationException", "an alias does not name the key here")
		}
		id, ok := c.where.aliases[short]
		if !ok {
			return nil, fail("NotFoundException", "Alias %s is not found.", arnOf(c.event.Region, short))
		}
		short = id
	}
	k := c.where.keys[short]
	if k == nil || k.state == statePendingDeletion && !c.now().Before(k.deletion) { // deleted
		return nil, fail("NotFoundException", "Key '%s' does not exist", arnOf(c.event.Region, "key/"+short))
	}
	c.event.Key = k.arn()
	return k, nil
}

func (c *call) describeKey() (any, error) {
	k, err := c.key(c.in.KeyID, true)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": k.metadata()}, nil
}

func (c *call) listKeys() (any, error) {
	out := []map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(c.where.keys)) {
		out = append(out, map[string]string{"KeyId": id, "KeyArn": c.where.keys[id].arn()})
	}
	return map[string]any{"Keys": out, "Truncated": false}, nil
}

// change gives a key another state, of which cryptographic operations learn late.
func (c *call) change(k *key, state string) {
	k.before, k.late = k.state, c.lag
	k.state = state
}

func (c *call) setState(state string) (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if k.state == statePendingDeletion {
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	}
	c.change(k, state)
	return nil, nil
}

func (c *call) scheduleDeletion() (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	days := maxWindow
	if c.in.PendingWindowInDays != nil {
		days = *c.in.PendingWindowInDays
	}
	switch {
	case k.state == statePendingDeletion:
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case days < minWindow || days > maxWindow:
		return nil, fail("ValidationException", "PendingWindowInDays is from %d to %d", minWindow, maxWindow)
	case k.multi && !k.replica && len(k.replicas) > 1:
		return nil, fail("UnsupportedOperationException", "a primary key with replicas waits in PendingReplicaDeletion, which does not occur here")
	}
	k.deletion = c.now().AddDate(0, 0, days)
	c.change(k, statePendingDeletion)
	return map[string]any{"KeyId": k.arn(), "DeletionDate": seconds(k.deletion), "KeyState": k.state, "PendingWindowInDays": days}, nil
}

// cancelDeletion leaves the key disabled, as KMS does.
func (c *call) cancelDeletion() (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if k.state != statePendingDeletion {
		return nil, fail("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
	}
	c.change(k, stateDisabled)
	return map[string]any{"KeyId": k.arn()}, nil
}

var aliasName = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)

func (c *call) createAlias() (any, error) {
	if !aliasName.MatchString(c.in.AliasName) || strings.HasPrefix(c.in.AliasName, "alias/aws/") {
		return nil, fail("InvalidAliasNameException", "alias name")
	}
	if _, ok := c.where.aliases[c.in.AliasName]; ok {
		return nil, fail("AlreadyExistsException", "An alias with the name exists")
	}
	return c.pointAlias()
}

func (c *call) updateAlias() (any, error) {
	if _, ok := c.where.aliases[c.in.AliasName]; !ok {
		return nil, fail("NotFoundException", "Alias is not found.")
	}
	return c.pointAlias()
}

func (c *call) pointAlias() (any, error) {
	k, err := c.key(c.in.TargetKeyID, false)
	if err != nil {
		return nil, err
	}
	if k.state == statePendingDeletion {
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	}
	c.where.aliases[c.in.AliasName] = k.id
	return nil, nil
}

func (c *call) deleteAlias() (any, error) {
	if _, ok := c.where.aliases[c.in.AliasName]; !ok {
		return nil, fail("NotFoundException", "Alias is not found.")
	}
	delete(c.where.aliases, c.in.AliasName)
	return nil, nil
}

func (c *call) listAliases() (any, error) {
	out := []map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.where.aliases)) {
		out = append(out, map[string]string{"AliasName": name, "AliasArn": arnOf(c.event.Region, name), "TargetKeyId": c.where.aliases[name]})
	}
	return map[string]any{"Aliases": out, "Truncated": false}, nil
}

// rotatable finds the key of a call about rotation: enabled, and the primary, for rotation is a shared property.
func (c *call) rotatable() (*key, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	switch {
	case k.state == stateDisabled:
		return nil, fail("DisabledException", "%s is disabled.", k.arn())
	case k.state != stateEnabled:
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case k.replica:
		return nil, fail("UnsupportedOperationException", "rotation is a matter of the primary key")
	}
	return k, nil
}

func (c *call) setRotation(on bool) (any, error) {
	k, err := c.rotatable()
	if err != nil {
		return nil, err
	}
	days := rotationDays
	if c.in.RotationPeriodInDays != nil {
		days = *c.in.RotationPeriodInDays
	}
	if days < minRotation || days > maxRotation {
		return nil, fail("ValidationException", "RotationPeriodInDays is from %d to %d", minRotation, maxRotation)
	}
	k.rotating = on
	if on {
		k.period, k.enabledAt = days, c.now()
	}
	return nil, nil
}

func (c *call) rotationStatus() (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if k.state == statePendingDeletion {
		return nil, fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	}
	m := map[string]any{"KeyId": k.arn(), "KeyRotationEnabled": k.rotating}
	if k.rotating {
		m["RotationPeriodInDays"] = k.period
		m["NextRotationDate"] = seconds(k.enabledAt.AddDate(0, 0, k.period))
	}
	return m, nil
}

// rotateOnDemand gives the key new material at once; KMS takes a while. What the old material encrypted it decrypts.
func (c *call) rotateOnDemand() (any, error) {
	k, err := c.rotatable()
	if err != nil {
		return nil, err
	}
	if k.onDemand >= onDemandLimit {
		return nil, fail("LimitExceededException", "%s was rotated on demand %d times.", k.arn(), onDemandLimit)
	}
	k.onDemand++
	k.rotate(c.now(), "ON_DEMAND")
	return map[string]any{"KeyId": k.arn()}, nil
}

func (c *call) listRotations() (any, error) {
	k, err := c.key(c.in.KeyID, false)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for i, v := range k.versions[1:] {
		state := "NON_CURRENT"
		if i == len(k.versions)-2 {
			state = "CURRENT"
		}
		out = append(out, map[string]any{"KeyId": k.id, "KeyMaterialId": v.id, "RotationDate": seconds(v.at), "RotationType": v.kind, "KeyMaterialState": state})
	}
	return map[string]any{"Rotations": out, "Truncated": false}, nil
}

// usable reports whether a cryptographic operation may use the key, as far as the operation knows.
func (k *key) usable() error {
	state := k.state
	if k.late > 0 {
		k.late--
		state = k.before
	}
	switch state {
	case stateDisabled:
		return fail("DisabledException", "%s is disabled.", k.arn())
	case statePendingDeletion:
		return fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	}
	return nil
}
