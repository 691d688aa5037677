package app

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"coffer/access"
	"coffer/audit"
	"coffer/envelope/kms"
	"coffer/internal/durable"
	"coffer/job"
	"coffer/macie"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
)

// Level says how bad a diagnosis is.
type Level string

// The levels of a diagnosis.
const (
	OK   Level = "ok"
	Warn Level = "warn" // works, and somebody should know
	Fail Level = "fail" // does not work, or a promise does not hold
)

// Diagnosis is what one look of the doctor found.
type Diagnosis struct {
	About string `json:"about"`
	Level Level  `json:"level"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what helps
}

// doctor is one examination.
type doctor struct {
	home string
	now  func() time.Time
	out  []Diagnosis
}

func (d *doctor) say(about string, level Level, do, format string, args ...any) {
	d.out = append(d.out, Diagnosis{about, level, fmt.Sprintf(format, args...), do})
}

const (
	clockSkew = 5 * time.Second
	oldKey    = 365 * 24 * time.Hour
	stale     = time.Hour
	// staleLedger is how long what came in may go without being compared with Macie: three times what a server lets pass.
	staleLedger = 3 * time.Hour
	lowSpace    = 1 << 30
	scantSpace  = 100 << 20
)

// Diagnose looks at a home before and after opening it; with Config in the options there is no folder of it to look at. It changes nothing but
// the log, into which it writes that it looked, and makes no home where there is none. open opens the home for whoever asks.
func Diagnose(ctx context.Context, opt Options, open func() (*App, access.Ask, error)) []Diagnosis {
	d := &doctor{home: opt.Home, now: opt.Now}
	if d.now == nil {
		d.now = time.Now
	}
	var c Config
	if opt.Config != nil {
		c = *opt.Config
		d.say("configuration", OK, "", "the configuration of this process is well-formed")
	} else {
		var ok bool
		if c, ok = d.folder(); !ok {
			return d.out
		}
	}
	a, ask, err := open()
	if err != nil {
		d.say("home", Fail, "see the message; of the rest only what stands in the cloud can be looked at before", "the home cannot be opened: %v", err)
		d.partsOf(ctx, opt, c)
		return d.out
	}
	permit, err := a.Guard.Check(ctx, ask.Caller, access.AdminCheck, access.Resource{Kind: access.System}, ask.Context)
	if err == nil {
		e := permit.Entry(audit.Done)
		e.Detail = map[string]string{"step": "doctor"}
		_, err = a.Log.Append(ctx, e)
	}
	if err != nil {
		d.say("log", Fail, "without a log nothing is revealed or fixed: look at the disk and at who may do what", "%v", err)
		return d.out
	}
	if opt.Config == nil {
		d.say("home", OK, "", "%s opens, format %d", a.Home, HomeFormat)
		d.space(a)
		d.clock()
	}
	d.keys(ctx, a, ask)
	d.tablesOf(ctx, a)
	d.log(ctx, a)
	d.objects(ctx, a)
	d.policies(a, c)
	d.plans(ctx, a)
	d.jobs(ctx, a)
	d.findings(ctx, a)
	d.macie(ctx, a, ask)
	d.notify(ctx, a)
	if fips140.Enabled() {
		d.say("fips", OK, "", "the Go Cryptographic Module runs in FIPS 140-3 mode")
	} else {
		d.say("fips", OK, "", "FIPS 140-3 mode is off; GODEBUG=fips140=on turns it on")
	}
	return d.out
}

// folder looks at the folder of the home before anything in it is opened. False when there is no more to look at.
func (d *doctor) folder() (Config, bool) {
	if d.home == "" {
		h, err := DefaultHome()
		if err != nil {
			d.say("home", Fail, "give --home DIR or set COFFER_HOME", "%v", err)
			return Config{}, false
		}
		d.home = h
	}
	if _, err := os.Stat(filepath.Join(d.home, "format")); errors.Is(err, fs.ErrNotExist) {
		d.say("home", Warn, "the first command that needs it makes it; or give --home DIR", "%s is no home yet", d.home)
		return Config{}, false
	}
	c, err := ReadConfig(d.home)
	if err != nil {
		d.say("configuration", Fail, "correct config.yaml; coffer config check says whether it is right", "%v", err)
		return c, false
	}
	d.say("configuration", OK, "", "config.yaml is well-formed")
	d.modes()
	return c, true
}

// modes looks who else may read the home.
func (d *doctor) modes() {
	if runtime.GOOS == "windows" {
		return
	}
	open := 0
	look := func(path string, forbidden fs.FileMode) {
		fi, err := os.Stat(path)
		if err != nil {
			return
		}
		if fi.Mode().Perm()&forbidden != 0 {
			open++
			d.say("modes", Fail, "chmod go-rwx "+path, "others may reach %s (mode %#o)", path, fi.Mode().Perm())
		}
	}
	look(d.home, 0o077)
	look(filepath.Join(d.home, "config.yaml"), 0o022)
	for _, dir := range []string{"keys", "store", "originals", "log"} {
		look(filepath.Join(d.home, dir), 0o077)
	}
	for _, f := range []string{"keys/ring", "keys/log.key", "store/data.db", "store/keys.db"} {
		look(filepath.Join(d.home, filepath.FromSlash(f)), 0o077)
	}
	if open == 0 {
		d.say("modes", OK, "", "nobody else may read the home")
	}
}

func (d *doctor) space(a *App) {
	free, total, ok := space(a.Home)
	switch {
	case !ok:
	case free < scantSpace:
		d.say("disk", Fail, "make room: without it nothing can be sealed, logged or fixed", "%d MiB free", free>>20)
	case free < lowSpace || free < total/20:
		d.say("disk", Warn, "make room: a fix needs the size of the object twice", "%d MiB free of %d", free>>20, total>>20)
	default:
		d.say("disk", OK, "", "%d GiB free", free>>30)
	}
}

// clock compares the clock with the file system's, which is another machine's where the home is on a network.
func (d *doctor) clock() {
	path := filepath.Join(d.home, ".doctor-"+store.NewVersion())
	before := d.now()
	err := durable.Create(path, nil, 0o600)
	after := d.now()
	if err != nil {
		d.say("disk", Fail, "see that the disk is writable and has room", "nothing can be written to the home: %v", err)
		return
	}
	fi, err := os.Stat(path)
	_ = os.Remove(path)
	if err == nil && (fi.ModTime().Before(before.Add(-clockSkew)) || fi.ModTime().After(after.Add(clockSkew))) {
		d.say("clock", Warn, "set the clock; leases and grace periods rest on it", "the file system's time is %s, the clock says %s",
			fi.ModTime().UTC().Format(time.RFC3339), after.UTC().Format(time.RFC3339))
		return
	}
	d.say("clock", OK, "", "agrees with the file system")
}

func (d *doctor) keys(ctx context.Context, a *App, ask access.Ask) {
	keys, err := a.WrappingKeys(ctx, ask)
	if err != nil {
		d.say("keys", Fail, "", "%v", err)
		return
	}
	if k, ok := a.Keys.(*kms.Keys); ok {
		d.kmsKeys(ctx, k)
		d.superseded(keys)
		return
	}
	rel, err := filepath.Rel(a.Home, a.keyPath)
	inside := err == nil && filepath.IsLocal(rel)
	pass := len(a.pass) > 0 && (a.Config.Passphrase == "" || !filepath.IsLocal(a.Config.Passphrase))
	if inside && !pass {
		d.say("keys", Warn, "keep the keyring elsewhere (keys: in config.yaml), or wrap it by a passphrase from outside the home",
			"the keyring lies beside the store: sealing protects copies of the database, not of this disk")
	} else {
		d.say("keys", OK, "", "the keyring is kept apart from the store, or wrapped by a passphrase")
	}
	d.superseded(keys)
}

// superseded looks for keys that should be replaced, and for data keys that have not followed.
func (d *doctor) superseded(keys []WrappingKey) {
	for _, k := range keys {
		switch {
		case k.Current && d.now().Sub(k.Created) > oldKey:
			d.say("keys", Warn, "coffer key rotate", "the current wrapping key is from %s", k.Created.Format(time.DateOnly))
		case !k.Current && k.Wraps > 0:
			d.say("keys", Warn, "coffer key rotate --resume JOB, or coffer key rotate", "%d data keys are wrapped by a superseded key still", k.Wraps)
		}
	}
}

func (d *doctor) log(ctx context.Context, a *App) {
	if err := a.Log.Sequence(ctx); err != nil {
		d.say("log", Fail, "coffer audit verify", "%v", err)
		return
	}
	opt := audit.VerifyOptions{Key: a.Log.VerifierKey()}
	r, err := audit.Verify(ctx, a.LogFiles(), opt)
	switch {
	case err != nil:
		d.say("log", Fail, "coffer audit verify", "%v", err)
		return
	case r.Err() != nil:
		d.say("log", Fail, "coffer audit verify names the entries; keep the folder as evidence", "%v", r.Err())
		return
	}
	d.say("log", OK, "", "whole: %d entries, the last of %s", r.Checkpoint.Size, r.Last.UTC().Format(time.RFC3339))
	if r.Last.After(d.now().Add(clockSkew)) {
		d.say("clock", Warn, "set the clock", "the log has an entry of %s, later than now", r.Last.UTC().Format(time.RFC3339))
	}
	for _, x := range r.Open {
		if d.now().Sub(x.Time) > stale {
			d.say("log", Warn, "coffer check", "an act was begun at %s and has no result: %s", x.Time.UTC().Format(time.RFC3339), x.Action)
		}
	}
	if len(a.Config.Anchors) == 0 {
		d.say("anchors", Warn, "anchors: in config.yaml, on a disk that the writer of the log cannot rewrite; or keep HOME/log/checkpoint elsewhere",
			"no anchor: that the whole log was set back could not be shown")
		return
	}
	for _, f := range a.Config.Anchors {
		path := under(a.Home, strings.TrimPrefix(f, "anchor:"))
		b, err := readLimited(path, maxManifest)
		if err != nil {
			d.say("anchors", Fail, "see that the folder is there and writable", "%s: %v", path, err)
			continue
		}
		opt.Checkpoint = b
		if r, err = audit.Verify(ctx, a.LogFiles(), opt); err == nil {
			err = r.Err()
		}
		if err != nil {
			d.say("anchors", Fail, "coffer audit verify --checkpoint "+path, "the log does not extend %s: %v", path, err)
			continue
		}
		switch {
		case r.Extends < 0:
			d.say("anchors", Fail, "keep the file as evidence; coffer audit verify --checkpoint "+path, "%s holds no checkpoint of this log", path)
		case r.Ignored > 0:
			d.say("anchors", Warn, "find out who writes to it", "%d parts of %s are no checkpoint signed by this log's key", r.Ignored, path)
		default:
			d.say("anchors", OK, "", "the log extends %s", path)
		}
	}
}

func (d *doctor) objects(ctx context.Context, a *App) {
	d.bucketsOf(ctx, a)
	if a.Dir == nil {
		return
	}
	buckets := 0
	for _, err := range a.Objects.List(ctx, "", "", "") {
		if err != nil {
			d.say("objects", Fail, "see that the folder is there and readable", "%v", err)
			return
		}
		buckets++
	}
	root := a.specs.objects.Name
	probe := filepath.Join(root, ".doctor-"+store.NewVersion()) // a hidden name is no bucket
	if err := durable.Create(probe, nil, 0o600); err != nil {
		d.say("objects", Warn, "make the folder writable for fixes and tags", "the folder of objects is read-only: %v", err)
		return
	}
	_, err := os.Stat(filepath.Join(root, strings.ToUpper(filepath.Base(probe))))
	_ = os.Remove(probe)
	if err == nil {
		d.say("objects", Warn, "keep objects whose keys differ only in case on another file system", "the file system folds case: keys that differ only in case are one object")
		return
	}
	d.say("objects", OK, "", "%d buckets, readable and writable", buckets)
}

func (d *doctor) policies(a *App, c Config) {
	ids := a.Policy.IDs()
	for _, id := range ids {
		if a.Policy.Forbids(id) && a.Policy.Advice(id) == "" {
			d.say("policies", Warn, `add an @advice("...") to it`, "the forbid %s says nothing to those whom it denies", id)
		}
	}
	from := "the default set"
	if dir := c.PolicyDir(a.Home); dir != "" {
		from = dir
	}
	d.say("policies", OK, "", "%d policies from %s", len(ids), from)
}

func (d *doctor) plans(ctx context.Context, a *App) {
	interrupted, past := 0, 0
	for p, err := range a.Remedy.All(ctx) {
		if err != nil {
			d.say("plans", Fail, "coffer check", "%v", err)
			return
		}
		switch {
		case p.State == remedy.Applying && d.now().Sub(p.Started) > stale:
			interrupted++
		case p.State == remedy.Applied && p.Original != nil && !p.Until.IsZero() && d.now().After(p.Until):
			past++
		}
	}
	if interrupted > 0 {
		d.say("plans", Warn, "coffer remedy apply --all takes them up where they stopped", "%d plans were interrupted while they were applied", interrupted)
	}
	if past > 0 {
		d.say("plans", Warn, "coffer remedy purge --expired", "%d kept originals are past their grace period", past)
	}
	if interrupted+past == 0 {
		d.say("plans", OK, "", "none interrupted, none past its grace period")
	}
}

func (d *doctor) jobs(ctx context.Context, a *App) {
	jobs, err := a.Jobs.All(ctx)
	if err != nil {
		d.say("jobs", Fail, "coffer check", "%v", err)
		return
	}
	for _, j := range jobs {
		if j.State == job.Interrupted {
			why := ""
			if j.Error != "" {
				why = ": " + j.Error
			}
			d.say("jobs", Warn, "resume it with --resume "+j.ID+" of its command, or coffer job cancel "+j.ID, "%s (%s) was interrupted after %d of %d%s", j.ID, j.Kind, j.Done, j.Total, why)
		}
	}
}

func (d *doctor) findings(ctx context.Context, a *App) {
	partial, pending, parked := 0, 0, 0
	for s, err := range a.Records.All(ctx) {
		if err != nil {
			d.say("findings", Fail, "coffer check", "%v", err)
			return
		}
		switch {
		case s.State == triage.StatePartial:
			partial++
		case s.State == triage.StateParked:
			parked++
		case !s.State.Final() && d.now().Sub(s.Created) > stale:
			pending++
		}
	}
	if partial > 0 {
		d.say("findings", Warn, "put Macie's discovery results where the findings say, or allow their bucket (buckets: in config.yaml), and ingest again",
			"%d findings were taken in without all of their occurrences", partial)
	}
	if pending > 0 {
		d.say("findings", Warn, "ingest them again", "the intake of %d findings was interrupted", pending)
	}
	if parked > 0 {
		d.say("findings", Warn, "restore their objects (coffer object show s3://BUCKET/KEY says from what) and ingest them again",
			"%d findings are parked: their objects are archived and cannot be read", parked)
	}
	if partial+pending+parked == 0 {
		d.say("findings", OK, "", "all were taken in whole")
	}
}

// macie looks whether Macie answers, writes results where they are looked for, and has found nothing that never came.
func (d *doctor) macie(ctx context.Context, a *App, ask access.Ask) {
	if a.macie == nil {
		if a.specs.objects.Scheme == "s3" {
			d.say("macie", Warn, "set macie: in config.yaml", "no Macie is asked: events are believed, and what never came is not missed")
		}
		return
	}
	s, err := a.macie.Session(ctx)
	results := a.Pipeline.Results
	switch {
	case err != nil && !s.Enabled:
		d.say("macie", Fail, "see what the error names", "%v", err)
	case !s.Enabled:
		d.say("macie", Fail, "enable Macie in this account and Region, or correct macie: in config.yaml", "Macie is not enabled, or paused")
	case err != nil:
		d.say("macie", Warn, "permit the call, so that it can be seen where results go", "%v", err)
	case s.Bucket == "":
		d.say("macie", Warn, "configure a bucket for discovery results in Macie, and name it under macie: results: in config.yaml",
			"Macie keeps its discovery results to itself: of a finding, 15 places at most are known")
	case results.Bucket != s.Bucket || strings.Trim(results.Prefix, "/") != strings.Trim(s.Prefix, "/"):
		d.say("macie", Warn, "write results: s3://"+strings.TrimSuffix(s.Bucket+"/"+s.Prefix, "/")+" under macie: in config.yaml",
			"Macie's discovery results go elsewhere than where they are compared")
	default:
		d.say("macie", OK, "", "enabled; discovery results go to %s", s.Bucket)
	}
	l, err := a.Pipeline.Ledger(ctx, ask, d.now().Add(-macie.Retention))
	if err != nil {
		d.say("intake", Fail, "coffer check", "%v", err)
		return
	}
	sum := l.Sum()
	switch {
	case l.Until.IsZero():
		d.say("intake", Warn, "coffer intake reconcile; coffer serve does it every hour", "what came in was never compared with what Macie lists")
		return
	case d.now().Sub(l.Finished) > staleLedger:
		d.say("intake", Warn, "coffer intake reconcile; coffer serve does it every hour", "what came in was last compared with Macie at %s", l.Finished.UTC().Format(time.RFC3339))
	}
	for _, day := range l.Days {
		for _, g := range day.Named {
			if g.Time != nil {
				d.say("intake", Fail, "coffer job list says why; permit or correct what failed, and coffer intake reconcile takes it up", "%s from %s to %s: what came in was not compared with what Macie says",
					g.Kind, g.Time.From.UTC().Format(time.RFC3339), g.Time.Until.UTC().Format(time.RFC3339))
			}
		}
	}
	d.identifiersOf(ctx, a)
	level, do := OK, ""
	if sum.Gaps > 0 {
		level, do = Warn, "coffer intake ledger --gaps names them"
	}
	d.say("intake", level, do, "until %s: %d events + %d re-taken = %d stored; %d listed, %d with their discovery result, %d suppressed, %d gaps",
		l.Until.UTC().Format(time.RFC3339), sum.Events, sum.Retaken, sum.Stored, sum.Listed, sum.Results, sum.Suppressed, sum.Gaps)
}

// identifiersOf names the custom identifiers of findings of which there is no definition: their values are sealed as whole places.
func (d *doctor) identifiersOf(ctx context.Context, a *App) {
	known, err := a.Pipeline.Identifiers.Known(ctx)
	if err != nil {
		d.say("identifiers", Fail, "coffer check", "%v", err)
		return
	}
	undefined := 0
	for _, k := range known {
		if k.Version == "" {
			undefined++
			d.say("identifiers", Warn, "permit the call, or write the identifier under identifiers: in config.yaml", "custom identifier %s: %s", k.ID, k.Problem)
		}
	}
	if len(known) > 0 {
		d.say("identifiers", OK, "", "%d custom identifiers of Macie's are known, %d without a definition", len(known), undefined)
	}
}

// Worst returns the worst level among diagnoses.
func Worst(all []Diagnosis) Level {
	worst := OK
	for _, x := range all {
		if x.Level == Fail || x.Level == Warn && worst == OK {
			worst = x.Level
		}
	}
	return worst
}

// notify looks how deliveries to the configured targets go.
func (d *doctor) notify(ctx context.Context, a *App) {
	list, err := a.Notifier.Status(ctx)
	if err != nil {
		d.say("notify", Fail, "look at the store", "it cannot be told how deliveries go: %v", err)
		return
	}
	for _, s := range list {
		again := "coffer notify retry " + s.Target
		switch {
		case s.State == "new":
			d.say("notify", Warn, "coffer serve delivers", "target %s (%s) is not on record yet", s.Target, s.Kind)
		case s.State == "failing":
			d.say("notify", Fail, "coffer notify test "+s.Target+" says whether it works now; "+again+" ends the wait",
				"target %s (%s) has failed since %s; it is %d entries of the log behind: %s", s.Target, s.Kind, s.Failing.Format(time.RFC3339), s.Behind, s.Error)
		case s.Dead > 0:
			d.say("notify", Warn, again, "target %s (%s) refused %d messages", s.Target, s.Kind, s.Dead)
		default:
			d.say("notify", OK, "", "target %s (%s) works; %d messages delivered", s.Target, s.Kind, s.Sent)
		}
	}
	if len(list) > 0 && !a.Notifier.TellsOfGlass() {
		d.say("notify", Warn, "leave out the filter of one target, or let it choose access.break-glass", "nobody is told when the glass is broken")
	}
}
