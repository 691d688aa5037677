package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/internal/awsmeter"
	"coffer/internal/durable"
	"coffer/notify"
	"coffer/object"
	"coffer/object/dir"
)

// archiveBucket is the bucket of OCSF files in a folder.
const archiveBucket = "ocsf"

// openNotify builds the Notifier. It opens nothing: what a target needs is opened when something goes to it.
func (a *App) openNotify() (err error) {
	if len(a.Config.Notify) > 0 && a.Meter == nil {
		a.Meter = &awsmeter.Meter{} // deliveries run beside each other
	}
	a.Notifier, err = notify.New(notify.Config{
		DB: a.DB, Guard: a.Guard, Targets: a.Config.Notify, Home: a.Home, Portal: a.Config.Identity.Origin, Plan: a.Remedy.Get, Record: a.Records.Get,
		AWS: func(ctx context.Context, t notify.Target) (aws.Config, error) {
			return a.aws(ctx, Spec{Scheme: string(t.Kind), Options: url.Values{
				"region": {t.Region}, "profile": {t.Profile}, "fips": {strconv.FormatBool(t.FIPS)},
			}})
		},
		Bucket: a.archive, Now: a.Now, Worker: a.Jobs.Worker, Logger: a.logger,
		Elsewhere: a.role != Whole && a.role != Schedule,
	})
	return err
}

// archive opens the bucket or folder of OCSF files.
func (a *App) archive(ctx context.Context, text string) (object.Store, string, error) {
	s, err := ParseSpec("to", text)
	if err != nil {
		return nil, "", err
	}
	s = s.from(a.Home)
	if s.Scheme == "s3" {
		st, err := a.openS3(ctx, s)
		return st, s.Name, err
	}
	if err := durable.MkdirAll(s.Name, 0o700); err != nil {
		return nil, "", fmt.Errorf("folder of the OCSF files: %w: %w", coffer.ErrUnavailable, err)
	}
	d, err := dir.Open(s.Name)
	if err != nil {
		return nil, "", err
	}
	if err := d.CreateBucket(ctx, archiveBucket); err != nil {
		return nil, "", errors.Join(err, d.Close())
	}
	a.onClose(d.Close)
	return d, archiveBucket, nil
}

func targetOf(s notify.Status) api.Target {
	return api.Target{
		Target: s.Target, Kind: string(s.Kind), State: s.State, Behind: s.Behind, Sent: s.Sent, SentAt: s.SentAt, Failing: s.Failing,
		RetryAt: s.RetryAt, Error: s.Error, Dead: s.Dead, Tested: s.Tested, TestError: s.TestError, Asked: s.Asked,
	}
}

func (i installation) Targets(ctx context.Context, ask access.Ask) ([]api.Target, error) {
	list, err := i.a.Notifier.List(ctx, ask)
	out := []api.Target{}
	for _, s := range list {
		out = append(out, targetOf(s))
	}
	return out, err
}

func (i installation) Target(ctx context.Context, ask access.Ask, name string) (*api.TargetDetail, error) {
	d, err := i.a.Notifier.Show(ctx, ask, name)
	if err != nil {
		return nil, err
	}
	deliveries := func(list []notify.Receipt) []api.Delivery {
		out := []api.Delivery{}
		for _, r := range list {
			out = append(out, api.Delivery(r))
		}
		return out
	}
	return &api.TargetDetail{Target: targetOf(d.Status), Last: deliveries(d.Last), Waiting: deliveries(d.Waiting), Put: deliveries(d.Put)}, nil
}

func (i installation) TestTarget(ctx context.Context, ask access.Ask, name string) (api.TargetOutcome, error) {
	out, err := i.a.Notifier.Test(ctx, ask, name)
	return outcomeOf(name, out), err
}

func (i installation) RetryTarget(ctx context.Context, ask access.Ask, name string) (api.TargetOutcome, error) {
	out, err := i.a.Notifier.Retry(ctx, ask, name)
	return outcomeOf(name, out), err
}

func outcomeOf(name string, o notify.Outcome) api.TargetOutcome {
	out := api.TargetOutcome{Target: name, State: "done", Delivered: o.Delivered, Error: o.Error}
	switch {
	case o.Asked:
		out.State = "asked"
	case o.Error != "":
		out.State = "failed"
	}
	return out
}
