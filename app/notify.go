package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"

	"coffer"
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
