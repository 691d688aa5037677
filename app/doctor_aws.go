package app

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/kms"
	"coffer/internal/iam"
	"coffer/object"
	"coffer/sidedoor"
	"coffer/store/dynamo"
)

// tablesOf looks at the tables of a store in the cloud. What may not be asked is reported as unknown, never as well.
func (d *doctor) tablesOf(ctx context.Context, a *App) {
	for _, t := range a.dynamo {
		name := t.name
		keys := name == KeyTable(a.specs.store.Name)
		s, err := t.Describe(ctx)
		if err != nil {
			d.say("tables", Fail, "coffer setup makes what is missing", "%s: %v", name, err)
			continue
		}
		before := len(d.out)
		if keys {
			d.setting(s.PITR, dynamo.Off, Fail, "switch it off (aws dynamodb update-continuous-backups): a purge that destroys a key must not be taken back",
				"%s, which holds the wrapped keys: point-in-time recovery is %s", name, s.PITR)
			d.setting(s.Backups, dynamo.Off, Fail, "delete them: with a copy of the keys, values that were purged can be opened again",
				"%s, which holds the wrapped keys: backups exist: %s", name, s.Backups)
			d.setting(s.Streams, dynamo.Off, Fail, "switch the stream off: it is a copy of the keys for 24 hours", "%s: stream is %s", name, s.Streams)
			if len(s.Replicas) > 0 {
				d.say("tables", Warn, "see that a purge reaches them, too", "%s has replicas in %s", name, strings.Join(s.Replicas, ", "))
			}
		} else {
			d.setting(s.PITR, dynamo.On, Warn, "switch it on (aws dynamodb update-continuous-backups), or coffer setup",
				"%s: point-in-time recovery is %s", name, s.PITR)
		}
		d.setting(s.DeletionProtection, dynamo.On, Warn, "coffer setup switches it on", "%s: deletion protection is %s", name, s.DeletionProtection)
		d.setting(s.TTL, dynamo.On, Warn, "coffer setup switches it on", "%s: removal of expired items is %s", name, s.TTL)
		if s.Billing == "provisioned" {
			d.say("tables", Warn, "bill it on demand, or watch for throttling", "%s has provisioned capacity", name)
		}
		if len(d.out) == before {
			d.say("tables", OK, "", "%s is %s, encrypted by %s", name, s.Status, s.Encryption)
		}
	}
}

// setting says what is not as wanted. What is unknown is a warning, whatever it would be.
func (d *doctor) setting(is, want dynamo.Setting, bad Level, do, format string, args ...any) {
	switch is {
	case want:
	case dynamo.Unknown:
		d.say("tables", Warn, "permit the call to whoever runs the doctor", format, args...)
	default:
		d.say("tables", bad, do, format, args...)
	}
}

// kmsKeys looks at the wrapping keys in KMS.
func (d *doctor) kmsKeys(ctx context.Context, k *kms.Keys) {
	verify := false
	for _, s := range k.State(ctx) {
		who := map[string]string{envelope.ForReveal: "the key for reveal", envelope.ForVerify: "the key for verify"}[s.Recipient]
		if who == "" {
			who = "the old key"
		}
		verify = verify || s.Recipient == envelope.ForVerify
		before := len(d.out)
		switch {
		case s.Err != nil:
			d.say("kms", Fail, "see that the key is there and that its policy permits kms:DescribeKey", "%s, %s: %v", who, s.Key, s.Err)
			continue
		case !s.Deletion.IsZero():
			d.say("kms", Fail, "cancel the deletion (aws kms cancel-key-deletion), or rewrap everything first (coffer key rotate)",
				"%s, %s, is deleted on %s: what it wraps is lost then", who, s.Key, s.Deletion.UTC().Format(time.DateOnly))
		case !s.Enabled || !s.Usable:
			d.say("kms", Fail, "enable it, or name another key", "%s, %s, is %s and cannot be used", who, s.Key, s.Status)
		}
		if s.RotationErr == nil && !s.Rotation {
			d.say("kms", Warn, "aws kms enable-key-rotation", "%s, %s, is not rotated", who, s.Key)
		}
		if s.Wrap == kms.Refused && s.Decrypt == kms.Refused {
			d.say("kms", Warn, "permit what this role has to do, in the key's policy", "%s, %s: this role may neither wrap nor open with it", who, s.Key)
		}
		if len(d.out) == before {
			d.say("kms", OK, "", "%s, %s, is enabled (wrapping %s, opening %s)", who, s.Key, s.Wrap, s.Decrypt)
		}
	}
	if !verify {
		d.say("kms", OK, "", "no key for verify: whoever verifies may also reveal; kms:KEY?verify=KEY2 divides them")
	}
}

// partsOf looks at what stands in the cloud, each part by itself, where the home cannot be opened: a key that is disabled or a table that
// is missing keeps everything else shut.
func (d *doctor) partsOf(ctx context.Context, opt Options, c Config) {
	a := &App{Home: d.home, Config: c}
	defer a.Close()
	var err error
	if a.specs, err = specsOf(a.Home, opt, c); err != nil {
		return // the home could not be opened for that
	}
	if s := a.specs.keys; s.Scheme == "kms" {
		if k, err := a.openKMS(ctx, s); err != nil {
			d.say("kms", Fail, "name a key that is there under keys: in config.yaml; coffer setup makes one behind an alias", "%v", err)
		} else {
			d.kmsKeys(ctx, k)
		}
	}
	if s := a.specs.store; s.Scheme == "dynamodb" {
		for _, name := range []string{s.Name, KeyTable(s.Name)} {
			db, err := a.openDynamo(ctx, s, name)
			if err != nil {
				d.say("tables", Fail, "coffer setup makes what is missing", "%s: %v", name, err)
				continue
			}
			a.closers = append(a.closers, db.Close)
		}
		d.tablesOf(ctx, a)
	}
	for _, part := range []struct {
		spec Spec
		to   *object.Store
	}{{a.specs.objects, &a.Objects}, {a.specs.originals, &a.Originals}} {
		if part.spec.Scheme != "s3" {
			continue
		}
		if *part.to, err = a.openS3(ctx, part.spec); err != nil {
			return // no Region, or options that are none: the home could not be opened for that
		}
	}
	d.bucketsOf(ctx, a)
}

// bucketsOf looks at the buckets in S3 that may be read, and at that of the kept originals.
func (d *doctor) bucketsOf(ctx context.Context, a *App) {
	if a.specs.objects.Scheme == "s3" {
		if len(a.Config.Buckets) == 0 {
			d.say("objects", Warn, "name them under buckets: in config.yaml", "no bucket may be read: of S3 none is unless it is named")
		}
		for _, b := range a.Config.Buckets {
			v, err := a.Objects.Versioning(ctx, b)
			switch {
			case errors.Is(err, coffer.ErrNotFound):
				d.say("objects", Fail, "correct buckets: in config.yaml", "bucket %s does not exist", b)
			case err != nil:
				d.say("objects", Fail, "see what the error names", "bucket %s: %v", b, err)
			case v == object.VersioningOff:
				d.say("objects", OK, "", "bucket %s, not versioned", b)
			default:
				d.say("objects", OK, "", "bucket %s, versioning %s: versions behind the current one are part of every plan", b, v)
			}
			if err == nil {
				d.sideDoor(ctx, a, b)
			}
		}
	}
	if _, out := a.Originals.(unreached); out {
		return // another part of the installation keeps them
	}
	if s := a.specs.originals; s.Scheme == "s3" {
		if err := originalsFit(ctx, a.Originals, s.Name); err != nil {
			d.say("originals", Fail, "name a bucket of its own; coffer setup makes one", "%v", err)
			return
		}
		d.say("originals", OK, "", "bucket %s, not versioned", s.Name)
	}
}

// sideDoor looks who reads the sensitive objects of a bucket without Coffer, as far as the bucket's own settings say. Whoever they let in
// and whatever they leave open is a warning; only a policy that denies it to all whom it does not name is well.
func (d *doctor) sideDoor(ctx context.Context, a *App, bucket string) {
	const do = "coffer sidedoor policy prints the policy that closes it; coffer sidedoor simulate says beforehand who loses access"
	sharer, ok := a.Objects.(object.Sharer)
	if !ok {
		return
	}
	sharing, err := sharer.Sharing(ctx, bucket)
	if err != nil {
		d.say("side door", Warn, "see what the error names", "bucket %s: who reads sensitive objects without Coffer is not known: %v", bucket, err)
		return
	}
	s := sidedoor.Situation{Bucket: bucket, Account: a.specs.objects.Options.Get("owner"), Sharing: sharing}
	readers, err := s.Readers()
	closed := false
	if err == nil {
		closed, err = s.Closed()
	}
	if err != nil {
		d.say("side door", Warn, "look at the policy of the bucket", "bucket %s: who reads sensitive objects without Coffer is not known: %v", bucket, err)
		return
	}
	for _, r := range readers {
		if r.Allowed == iam.Yes {
			d.say("side door", Warn, do, "bucket %s: %s may read sensitive objects without Coffer (%s, by %s)", bucket, r.Principal, r.Action, strings.Join(r.By, ", "))
			continue
		}
		d.say("side door", Warn, do, "bucket %s: %s: not known whether they may read sensitive objects without Coffer (%s); it rests on %s",
			bucket, r.Principal, r.Action, strings.Join(r.Unknown, ", "))
	}
	if closed {
		d.say("side door", OK, "", "bucket %s: its policy denies sensitive objects to all whom it does not name", bucket)
		return
	}
	d.say("side door", Warn, do, "bucket %s: whoever is permitted by their own policies reads sensitive objects without Coffer; "+
		"policies of principals and of the organisation are not known here", bucket)
}

// Sharing asks S3 for the settings of a bucket that the account owns, at the endpoint and with the profile of the objects where those are
// kept in S3. A home that is not there has no configuration.
func Sharing(ctx context.Context, opt Options, account, bucket string) (object.Sharing, error) {
	if opt.Home == "" {
		h, err := DefaultHome()
		if err != nil {
			return object.Sharing{}, err
		}
		opt.Home = h
	}
	c, err := ReadConfig(opt.Home)
	if err != nil {
		return object.Sharing{}, err
	}
	spec, err := ParseSpec("objects", cmp.Or(opt.Objects, c.Objects))
	if err != nil {
		return object.Sharing{}, err
	}
	if spec.Scheme != "s3" {
		spec = Spec{Scheme: "s3"}
	}
	if spec.Options == nil {
		spec.Options = url.Values{}
	}
	spec.Options.Set("owner", account)
	st, err := (&App{}).openS3(ctx, spec)
	if err != nil {
		return object.Sharing{}, err
	}
	return st.Sharing(ctx, bucket)
}
