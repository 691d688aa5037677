package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/format/detect"
	"coffer/grant"
	"coffer/identity"
	"coffer/internal/awsmeter"
	"coffer/internal/durable"
	"coffer/job"
	"coffer/macie"
	"coffer/notify"
	"coffer/object"
	"coffer/object/dir"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/store"
	"coffer/store/sqlite"
	"coffer/triage"
	"coffer/vault"
)

// HomeFormat is the format of the home that this program reads and writes. Formats 1, in which a list and the chain of a writer of the log
// each lay in one part of the store, and 2, in which kept originals were sealed for the same purpose as values, were never released.
const HomeFormat = 3

// Options say where the home is and override its configuration. Empty members mean the configuration's, then the default. Relative
// paths are relative to the working directory; those in the configuration are relative to the home.
type Options struct {
	Home      string
	Objects   string
	Originals string
	Keys      string
	Store     string
	Log       string
	// Role is what this process does of it all; none given: everything.
	Role Role
	// Config is the configuration; nil: HOME/config.yaml. With it there is no folder of the home unless something is kept in one.
	Config *Config
	Now    func() time.Time
	Logger *slog.Logger
}

// App is the whole program, built. Close it.
type App struct {
	Home      string
	Config    Config
	Objects   object.Store
	Originals object.Store
	// Dir is Objects when it is a folder, for what only a folder can do.
	Dir *dir.Dir
	// Meter counts the calls to AWS; there are none in a home in a folder.
	Meter     *awsmeter.Meter
	DB        store.DB // data table, values sealed
	Headers   store.DB // key table
	Keys      envelope.Keys
	Log       *audit.Log
	Guard     *audit.Guard
	Grants    *grant.Grants
	Policy    *access.Policy // in force at the start; Guard.Current says which are now
	Detectors *detect.Set
	Records   triage.Records
	Desk      *triage.Desk
	Vault     *vault.Vault
	Pipeline  *pipeline.Pipeline
	Remedy    *remedy.Remedy
	Jobs      *job.Jobs
	Notifier  *notify.Notifier
	Identity  *identity.Identity
	Now       func() time.Time

	role        Role
	homeless    bool // the configuration is not that of a folder
	logger      *slog.Logger
	specs       specs
	logFiles    audit.Files
	keyPath     string        // of the keyring; with other keys, where it would be
	tables      []*sqlite.DB  // data and key table of a home in a folder
	dynamo      []dynamoTable // data and key table of a store in DynamoDB
	originalsIn string
	macie       macie.API
	macieRegion string // that of the configuration or of the environment
	verifier    remedy.Verifier
	pass        []byte
	opener      *envelope.Opener
	macs        sync.Map   // label -> *envelope.MAC
	closing     sync.Mutex // guards closers
	closers     []func() error
}

// DefaultHome is the platform's data folder for Coffer.
func DefaultHome() (string, error) {
	if h := os.Getenv("COFFER_HOME"); h != "" {
		return filepath.Abs(h)
	}
	var base string
	switch runtime.GOOS {
	case "windows":
		base = os.Getenv("LOCALAPPDATA")
	case "darwin":
		if h, err := os.UserHomeDir(); err == nil {
			base = filepath.Join(h, "Library", "Application Support")
		}
	default:
		if base = os.Getenv("XDG_DATA_HOME"); base == "" {
			if h, err := os.UserHomeDir(); err == nil {
				base = filepath.Join(h, ".local", "share")
			}
		}
	}
	if base == "" {
		return "", fmt.Errorf("no data folder is known on this machine; give --home DIR or set COFFER_HOME: %w", coffer.ErrInvalid)
	}
	return filepath.Join(base, "coffer"), nil
}

// Open opens the home and makes it on first use, mode 0700. A home of a newer format is refused.
func Open(ctx context.Context, opt Options) (_ *App, err error) {
	a := &App{Now: opt.Now, role: opt.Role}
	if _, ok := parts[a.role]; !ok {
		return nil, fmt.Errorf("there is no role %q: %w", a.role, coffer.ErrInvalid)
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	defer func() {
		if err != nil {
			_ = a.Close()
		}
	}()
	if a.Home = opt.Home; a.Home == "" {
		if a.Home, err = DefaultHome(); err != nil {
			return nil, err
		}
	}
	if a.Home, err = filepath.Abs(a.Home); err != nil {
		return nil, err
	}
	if a.homeless = opt.Config != nil; a.homeless {
		a.Config, err = *opt.Config, opt.Config.Check(a.Home)
	} else {
		if err := makeHome(a.Home); err != nil {
			return nil, fmt.Errorf("home %s: %w", a.Home, err)
		}
		a.Config, err = ReadConfig(a.Home)
	}
	if err != nil {
		return nil, err
	}
	if a.specs, err = specsOf(a.Home, opt, a.Config); err != nil {
		return nil, err
	}
	ad, err := a.adapters(ctx)
	if err != nil {
		return nil, err
	}
	return a, a.assemble(ctx, ad, opt.Logger)
}

// Adapters are the things behind the contracts from which an App is assembled.
type Adapters struct {
	Objects, Originals object.Store
	// OriginalsIn is the bucket of the kept originals; empty: remedy.OriginalsBucket.
	OriginalsIn string
	// Remember and RememberOriginals, where not nil, are given the journals of uploads before anything else is done. Each storage has
	// its own: to another server, or another account, an upload is one that is gone.
	Remember, RememberOriginals func(object.Journal)
	DB, Headers                 store.DB // values of DB are sealed by the App
	Keys                        envelope.Keys
	Log                         audit.Files
	LogKey                      *audit.Key      // nil: sealed in the store
	Macie                       macie.API       // nil: there is none to ask
	Verifier                    remedy.Verifier // nil: the vault
}

// Assemble builds the program from adapters, for a home in no folder: servers and tests use it. now is the clock.
func Assemble(ctx context.Context, ad Adapters, c Config, now func() time.Time) (_ *App, err error) {
	a := &App{Config: c, Now: now}
	defer func() {
		if err != nil {
			_ = a.Close()
		}
	}()
	return a, a.assemble(ctx, ad, nil)
}

func (a *App) assemble(ctx context.Context, ad Adapters, logger *slog.Logger) error {
	if a.role == Verify {
		return a.assembleVerify(ctx, ad)
	}
	custom, err := a.Config.custom(a.Home)
	if err != nil {
		return err
	}
	if a.Detectors, err = detect.NewSet(custom); err != nil {
		return err
	}
	a.Objects, a.Originals, a.DB, a.Headers, a.Keys = ad.Objects, ad.Originals, ad.DB, ad.Headers, ad.Keys
	a.logFiles, a.logger = ad.Log, logger
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if err := a.openHomeKey(ctx); err != nil {
		return err
	}
	if ad.Remember != nil {
		ad.Remember(uploads{a.DB, "objects"})
	}
	if ad.RememberOriginals != nil {
		ad.RememberOriginals(uploads{a.DB, "originals"})
	}
	a.originalsIn = ad.OriginalsIn
	a.macie, a.verifier = ad.Macie, ad.Verifier
	if err := a.openLog(ctx, ad, logger); err != nil {
		return err
	}
	if err := a.build(); err != nil {
		return err
	}
	return a.openIdentity()
}

// assembleVerify builds what answers whether sealed values are those that somebody has before him: the tables and the keys.
func (a *App) assembleVerify(ctx context.Context, ad Adapters) error {
	a.DB, a.Headers, a.Keys = ad.DB, ad.Headers, ad.Keys
	if err := a.openHomeKey(ctx); err != nil {
		return err
	}
	a.Vault = &vault.Vault{DB: a.DB, Headers: a.Headers, Keys: a.Keys, MAC: a.MAC, Now: a.Now}
	return nil
}

// makeHome makes a new home, or checks that an old one is of a format that this program knows.
func makeHome(home string) error {
	if err := durable.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	mark := filepath.Join(home, "format")
	b, err := os.ReadFile(mark)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(home)
		if err != nil {
			return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
		}
		for _, e := range entries {
			if n := e.Name(); n != "config.yaml" && n != "objects" && n != "policies" && n != "format" && !strings.HasPrefix(n, ".") {
				if _, err := os.Stat(mark); err == nil {
					return makeHome(home) // another process was quicker; the mark stands before anything else
				}
				return fmt.Errorf("the folder holds other things (%q); choose an empty one: %w", n, coffer.ErrInvalid)
			}
		}
		err = durable.Create(mark, []byte(strconv.Itoa(HomeFormat)+"\n"), 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || n < 1:
		return fmt.Errorf("the file %q holds no format number: %w", "format", coffer.ErrCorrupt)
	case n > HomeFormat:
		return fmt.Errorf("made by a newer Coffer (format %d, this one knows %d); upgrade: %w", n, HomeFormat, coffer.ErrUnsupported)
	case n < HomeFormat:
		return fmt.Errorf("made by a Coffer before its first release (format %d, this one knows %d); begin a new home: %w", n, HomeFormat, coffer.ErrUnsupported)
	}
	return nil
}

var homeKey = store.Key{Part: "HOME", Sort: "key"}

// openHomeKey opens the message from which the installation's own keys come: those that seal the store's values and that
// make fingerprints, tokens and opaque ids. It is made on first use; whoever is second uses the first one's.
func (a *App) openHomeKey(ctx context.Context) error {
	c := envelope.Context{"app": "coffer", "purpose": "home"}
	for range 2 {
		it, err := a.Headers.Get(ctx, homeKey)
		if err == nil {
			if a.opener, err = envelope.Open(ctx, a.Keys, it.Value, c, envelope.ForReveal); err != nil {
				return fmt.Errorf("the home's key cannot be opened with %s: %w", a.specs.keys, err)
			}
			key, err := a.opener.MAC("store")
			if err != nil {
				return err
			}
			sum := key.Sum([]byte("items"))
			a.DB = store.Sealed(a.DB, sum[:])
			return nil
		}
		if !errors.Is(err, coffer.ErrNotFound) {
			return err
		}
		if !parts[a.role].signs {
			// Others may not be given the right to make it, and whoever asks them comes again.
			return fmt.Errorf("the installation has no key yet; its first command makes one, or the first run of the function schedule: %w", coffer.ErrNotFound)
		}
		s, err := envelope.New(ctx, a.Keys, c)
		if err != nil {
			return err
		}
		err = a.Headers.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Absent, Item: store.Item{
			Key: homeKey, Value: s.Header(), Version: store.NewVersion()}})
		s.Wipe()
		if err != nil && !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("the home's key was stored and cannot be read: %w", coffer.ErrCorrupt)
}

// MAC is the installation's keyed hash: HMAC-SHA-256 under a key of its own for each label. It is safe for concurrent use.
func (a *App) MAC(label string, data []byte) []byte {
	m, ok := a.macs.Load(label)
	if !ok {
		made, err := a.opener.MAC(label)
		if err != nil {
			panic("internal error: " + err.Error()) // only after Close
		}
		m, _ = a.macs.LoadOrStore(label, made)
	}
	sum := m.(*envelope.MAC).Sum(data)
	return sum[:]
}

func (a *App) openLog(ctx context.Context, ad Adapters, logger *slog.Logger) (err error) {
	var policies fs.FS
	if dir := a.Config.PolicyDir(a.Home); dir != "" {
		policies = os.DirFS(dir)
	}
	folder, err := access.Follow(policies)
	if err != nil {
		return err
	}
	a.Policy = folder.Policy()
	var anchors []string
	for _, f := range a.Config.Anchors {
		anchors = append(anchors, under(a.Home, strings.TrimPrefix(f, "anchor:")))
	}
	if ad.LogKey == nil {
		if ad.LogKey, err = a.storedLogKey(ctx, parts[a.role].signs); err != nil {
			return err
		}
	}
	a.Log, err = audit.Open(ctx, audit.Config{
		DB: a.DB, Files: ad.Log, Key: ad.LogKey, Anchors: anchors, Now: a.Now, Scrub: a.scrubBytes, Logger: logger,
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.Log.Close)
	a.Guard = &audit.Guard{Log: a.Log, Policy: a.Policy, Folder: folder, Reasons: a.Config.reasons()}
	return nil
}

// LogFiles are the log's tiles and checkpoint, to read.
func (a *App) LogFiles() fs.FS { return a.logFiles }

// identifiers are the detectors of everything that is configured or was learned of Macie.
func (a *App) identifiers() *detect.Set {
	if a.Pipeline == nil { // nothing but the log is there yet
		return a.Detectors
	}
	return a.Pipeline.Identifiers.All(context.Background()) // who writes a text and who is shown a name have no say in what is cut out
}

// scrubBytes replaces what the detectors find in a note, so that nobody pastes a value into the log.
func (a *App) scrubBytes(note []byte) []byte {
	var cuts [][2]int
	a.identifiers().ScanAll(detect.Text{Text: note}, nil, func(_ coffer.DataType, m detect.Match) bool {
		cuts = append(cuts, [2]int{m.Start, m.End})
		return true
	})
	// Whatever the type, no long run of digits belongs into a reason.
	start, end, n := -1, 0, 0
	for i := 0; i <= len(note); i++ {
		switch {
		case i < len(note) && '0' <= note[i] && note[i] <= '9':
			if start < 0 {
				start = i
			}
			end = i + 1
			n++
		case i < len(note) && start >= 0 && (note[i] == '-' || note[i] == ' '):
		default:
			if n >= 8 {
				cuts = append(cuts, [2]int{start, end})
			}
			start, n = -1, 0
		}
	}
	slices.SortFunc(cuts, func(a, b [2]int) int { return a[0] - b[0] })
	var out []byte
	pos := 0
	for _, c := range cuts {
		if c[1] <= pos {
			continue
		}
		if c[0] >= pos {
			out = append(append(out, note[pos:c[0]]...), "[removed]"...)
		}
		pos = c[1]
	}
	return append(out, note[pos:]...)
}

// allow says whether a bucket may be read and changed.
func (a *App) allow(bucket string) bool {
	if len(a.Config.Buckets) == 0 {
		// All of a folder; none of S3, where others' buckets are a name away.
		return a.specs.objects.Scheme != "s3"
	}
	return slices.Contains(a.Config.Buckets, bucket)
}

func (a *App) build() error {
	grace, err := a.Config.grace()
	if err != nil {
		return err
	}
	results, err := a.Config.Macie.results()
	if err != nil {
		return err
	}
	results.Region = a.macieRegion
	a.Records = triage.NewRecords(a.DB)
	a.Desk = &triage.Desk{Records: a.Records, Guard: a.Guard, Now: a.Now, MAC: a.MAC, Scrub: a.Scrub, Objects: a.Objects, Allow: a.allow}
	a.Grants = &grant.Grants{DB: a.DB, Records: a.Records, Guard: a.Guard, Scrub: a.Scrub, Now: a.Now, Rules: a.Config.Access.rules(), Alert: a.glass}
	a.Vault = &vault.Vault{
		DB: a.DB, Headers: a.Headers, Keys: a.Keys, Guard: a.Guard, Grants: a.Grants, Records: a.Records, MAC: a.MAC, Now: a.Now,
	}
	identifiers := &pipeline.Identifiers{DB: a.DB, Configured: a.Detectors, Macie: a.macie, MAC: a.MAC, Now: a.Now}
	a.Pipeline = &pipeline.Pipeline{
		Objects: a.Objects, DB: a.DB, Records: a.Records, Vault: a.Vault, Guard: a.Guard, Identifiers: identifiers,
		Allow: a.allow, Macie: a.macie, Results: results, MAC: a.MAC, Now: a.Now,
	}
	if a.verifier == nil {
		a.verifier = a.Vault
	}
	worker := "p" + store.NewVersion()
	a.Jobs = &job.Jobs{DB: a.DB, Guard: a.Guard, Now: a.Now, Worker: worker}
	a.Remedy = &remedy.Remedy{
		Objects: a.Objects, Originals: a.Originals, DB: a.DB, Records: a.Records, Vault: a.Vault, Verifier: a.verifier, Guard: a.Guard,
		Grants: a.Grants, Identifiers: identifiers, Allow: a.allow, MAC: a.MAC, Now: a.Now, Worker: worker, Grace: grace, OriginalsIn: a.originalsIn,
	}
	return a.openNotify()
}

// glass makes a line in the program's log of glass that was broken and of each use of it, at the level of errors, for whoever watches
// that, and has messages about it go at once. What was said of the reason is in the audit log; a note has no place here.
func (a *App) glass(ctx context.Context, r grant.Request) {
	what := "the glass was broken"
	if r.Spent > 0 {
		what = "values were asked for through broken glass"
	}
	a.logger.LogAttrs(ctx, slog.LevelError, what, slog.String("grant", r.ID), slog.String("by", r.By), slog.String("reason", r.Reason),
		slog.Int("values", r.Spent), slog.Int("most", r.Values), slog.Time("until", r.Deadline))
	a.Notifier.Wake()
}

// Operator is the operating system's user as a caller.
func (a *App) Operator() (access.Caller, error) {
	u, err := user.Current()
	if err != nil {
		return access.Caller{}, fmt.Errorf("who runs this command: %w: %w", coffer.ErrUnavailable, err)
	}
	roles := []string{access.RoleOperator}
	if a.Config.Operator == "none" {
		roles = nil // the policies know nobody without a role
	}
	return access.Caller{
		ID:   "op-" + hex.EncodeToString(a.MAC("person", []byte("os\x00"+u.Uid+"\x00"+u.Username))[:10]),
		Name: u.Username, Kind: access.OperatorCaller, Roles: roles,
	}, nil
}

// Close ends everything that Open started, the log first.
func (a *App) Close() error {
	var err error
	a.closing.Lock()
	defer a.closing.Unlock()
	for _, c := range slices.Backward(a.closers) {
		err = errors.Join(err, c())
	}
	a.closers = nil
	return err
}

// onClose has Close end what was opened while the App was in use.
func (a *App) onClose(end func() error) {
	a.closing.Lock()
	defer a.closing.Unlock()
	a.closers = append(a.closers, end)
}

// Scrub replaces what the detectors find in a text that somebody wrote, so that no value gets into notes and reasons.
func (a *App) Scrub(text string) string { return string(a.scrubBytes([]byte(text))) }
