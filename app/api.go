package app

import (
	"cmp"
	"context"
	"crypto/fips140"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/check"
	"coffer/job"
	"coffer/remedy"
	"coffer/web"
)

// Version of the release; a build from a checkout also says its revision.
const Version = "0.1.0"

// Build says what this program is.
func Build() api.Build {
	b := api.Build{
		Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, HomeFormat: HomeFormat, FIPS140: fips140.Enabled(),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

// Once returns the memory of attempts.
func (a *App) Once() *job.Once { return &job.Once{DB: a.DB, Now: a.Now, MAC: a.MAC} }

// API builds the API of this installation. c says how it is reached; the parts of the installation are filled in.
func (a *App) API(c web.Config) (*web.Server, error) {
	c.Desk, c.Vault, c.Pipeline, c.Remedy, c.Jobs, c.Once = a.Desk, a.Vault, a.Pipeline, a.Remedy, a.Jobs, a.Once()
	c.Grants, c.People = a.Grants, a.Identity
	c.Guard, c.Home, c.MAC, c.Now = a.Guard, installation{a}, a.MAC, a.Now
	return web.New(c)
}

// installation is the App as the API sees it.
type installation struct{ a *App }

func (i installation) Keys(ctx context.Context, ask access.Ask) ([]api.Key, error) {
	list, err := i.a.WrappingKeys(ctx, ask)
	if err != nil {
		return nil, err
	}
	var out []api.Key
	for _, k := range list {
		out = append(out, api.Key{
			ID: k.ID, Recipient: k.Recipient, Created: k.Created, Current: k.Current, Superseded: k.Superseded, State: k.State, Wraps: k.Wraps,
		})
	}
	return out, nil
}

// RotateKeys renews a key file's key. The keys of a key service come from the configuration; there is nothing to renew here, and the data
// keys follow what it names now.
func (i installation) RotateKeys(ctx context.Context, ask access.Ask) ([]string, error) {
	if i.a.OwnKeys() {
		if _, err := i.a.RotateKeys(ctx, ask); err != nil {
			return nil, err
		}
	}
	return RewrapItems(), nil
}

func (i installation) Rewrap(ctx context.Context, ask access.Ask, item string) (int, error) {
	return i.a.Rewrap(ctx, ask, item)
}

func (i installation) RetireKeys(ctx context.Context, ask access.Ask, age time.Duration) ([]string, error) {
	return i.a.RetireKeys(ctx, ask, age)
}

func (i installation) SetVersioning(ctx context.Context, bucket string, on bool) error {
	if i.a.Dir == nil {
		return fmt.Errorf("the storage is no folder; set the versioning of its buckets with its own tools: %w", coffer.ErrUnsupported)
	}
	return i.a.Dir.SetVersioning(ctx, bucket, on)
}

// Certify issues a certificate, here or where the object can be read.
func (i installation) Certify(ctx context.Context, ask access.Ask, plan string) (*remedy.Certificate, error) {
	if l, ok := i.a.Objects.(looker); ok {
		return l.certify(ctx, ask, plan)
	}
	return i.a.Remedy.Certificate(ctx, ask, plan)
}

func (i installation) SweepStages(ctx context.Context) (int, error) { return i.a.SweepStages(ctx) }

func (i installation) Diagnose(ctx context.Context, ask access.Ask) []api.Diagnosis {
	out := []api.Diagnosis{}
	opt := Options{Home: i.a.Home}
	if i.a.homeless {
		opt.Config = &i.a.Config
	}
	for _, d := range Diagnose(ctx, opt, func() (*App, access.Ask, error) { return i.a, ask, nil }) {
		out = append(out, api.Diagnosis{About: d.About, Level: string(d.Level), Found: d.Found, Do: d.Do})
	}
	return out
}

func (i installation) Check(ctx context.Context, ask access.Ask, opt check.Options) (*check.Report, error) {
	return check.Run(ctx, i.a.CheckParts(), ask, opt)
}

func (i installation) VerifyLog(ctx context.Context, key string, checkpoints []byte) (*audit.Report, error) {
	return audit.Verify(ctx, i.a.logFiles, audit.VerifyOptions{Key: cmp.Or(key, i.a.Log.VerifierKey()), Checkpoint: checkpoints, DB: i.a.DB})
}

// Config leaves out file names and whatever could open anything, but for the spec strings, which name places.
func (i installation) Config() api.Config {
	c := i.a.Config.Defaults()
	out := api.Config{
		Objects: c.Objects, Originals: c.Originals, Keys: c.Keys, Store: c.Store, Buckets: append([]string{}, c.Buckets...), Reasons: c.Reasons,
		Grace: c.Grace, Identifiers: []string{}, OwnPolicies: c.Policies != "", Anchors: len(c.Anchors),
	}
	if m := c.Macie; m != nil {
		out.Macie = &api.ConfigMacie{Region: m.Region, FIPS: m.FIPS, Endpoint: m.Endpoint, Results: m.Results}
	}
	for _, id := range c.Identifiers {
		out.Identifiers = append(out.Identifiers, id.Name)
	}
	return out
}

func (i installation) Build() api.Build { return Build() }

func (i installation) Scrub(text string) string { return i.a.Scrub(text) }

func (i installation) Cut(at coffer.Location) coffer.Location { return i.a.identifiers().Cut(at) }
