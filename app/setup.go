package app

import (
	"context"
	"errors"

	"coffer"
	"coffer/envelope/kms"
	"coffer/store/dynamo"
)

// Step is a thing in the cloud that an installation needs.
type Step struct {
	What string `json:"what"` // "table", "bucket", "key"
	Name string `json:"name"`
	// Status is "made", "there", "missing" (for a dry run) or "failed".
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// The statuses of a Step.
const (
	StepMade    = "made"
	StepThere   = "there"
	StepMissing = "missing"
	StepFailed  = "failed"
)

// Setup makes what the specs name in the cloud and what is not there: the two tables, the bucket of the kept originals, that of the log, the
// wrapping keys behind aliases. What is there stays as it is, but for the settings of tables that a promise rests on; a step that fails does not
// keep the others from being tried. With dry it only looks. It needs an administrator's credentials and comes before the log exists:
// the record of it is the cloud's own (CloudTrail). Buckets of objects are never made.
func Setup(ctx context.Context, opt Options, dry bool) ([]Step, error) {
	a := &App{Home: opt.Home}
	defer a.Close()
	var err error
	if a.Home == "" {
		if a.Home, err = DefaultHome(); err != nil {
			return nil, err
		}
	}
	if a.Config, err = ReadConfig(a.Home); err != nil {
		return nil, err
	}
	if a.specs, err = specsOf(a.Home, opt, a.Config); err != nil {
		return nil, err
	}
	var out []Step
	step := func(what, name string, look func() error, build func() (bool, error)) {
		s := Step{What: what, Name: name, Status: StepThere}
		var err error
		var made bool
		if dry {
			if err = look(); errors.Is(err, coffer.ErrNotFound) {
				s.Status, err = StepMissing, nil
			}
		} else if made, err = build(); made {
			s.Status = StepMade
		}
		if err != nil {
			s.Status, s.Reason = StepFailed, err.Error()
		}
		out = append(out, s)
	}
	if s := a.specs.store; !s.Local() {
		c, err := a.aws(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, t := range []struct {
			name string
			opt  dynamo.Options
		}{
			{s.Name, dynamo.Options{PITR: s.Options.Get("endpoint") == "", DeletionProtection: true}},
			// No recovery of the keys: what a purge destroyed must not come back.
			{KeyTable(s.Name), dynamo.Options{DeletionProtection: true}},
		} {
			cfg := dynamo.Config{AWS: c, Endpoint: s.Options.Get("endpoint"), Table: t.name}
			look := func() error {
				db, err := dynamo.Open(ctx, cfg)
				if err == nil {
					err = db.Close()
				}
				return err
			}
			step("table", t.name, look, func() (bool, error) {
				found := look()
				if found != nil && !errors.Is(found, coffer.ErrNotFound) {
					return false, found
				}
				return found != nil, dynamo.Create(ctx, cfg, t.opt)
			})
		}
	}
	if s := a.specs.keys; !s.Local() {
		c, err := a.aws(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{s.Name, s.Options.Get("verify")} {
			if name == "" {
				continue
			}
			cfg := kms.Config{AWS: c, Endpoint: s.Options.Get("endpoint"), Key: name}
			step("key", name, func() error {
				k, err := kms.Open(ctx, cfg)
				if err != nil {
					return err
				}
				return k.State(ctx)[0].Err // a key ARN is opened without a call
			}, func() (bool, error) {
				_, made, err := kms.Create(ctx, cfg, name)
				return made, err
			})
		}
	}
	if s := a.specs.log; !s.Local() {
		st, err := a.openS3(ctx, s)
		if err != nil {
			return nil, err
		}
		retention, err := s.retention()
		if err != nil {
			return nil, err
		}
		step("bucket", s.Name, func() error { return logFits(ctx, st, s.Name) }, func() (bool, error) {
			made, err := st.CreateLockedBucket(ctx, s.Name, retention)
			if err != nil {
				return made, err
			}
			return made, logFits(ctx, st, s.Name)
		})
	}
	if s := a.specs.originals; !s.Local() {
		st, err := a.openS3(ctx, s)
		if err != nil {
			return nil, err
		}
		step("bucket", s.Name, func() error { return originalsFit(ctx, st, s.Name) }, func() (bool, error) {
			made, err := st.CreateBucket(ctx, s.Name)
			if err != nil {
				return made, err
			}
			return made, originalsFit(ctx, st, s.Name)
		})
	}
	return out, nil
}
