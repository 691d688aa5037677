// Command coffer is the whole product in one binary: it takes in Macie's findings, seals the values they report, shows them to
// those who may see them, and fixes the objects. Run "coffer help".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/client"
	"coffer/store"
	"coffer/web"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // failed or refused
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// globals are the flags that every command has.
type globals struct {
	Home      string `help:"Folder of this installation." placeholder:"DIR" env:"COFFER_HOME"`
	Objects   string `help:"Where the objects are." placeholder:"dir:PATH|s3:"`
	Originals string `help:"Where originals are kept, sealed." placeholder:"dir:PATH|s3:BUCKET"`
	Keys      string `help:"Where the wrapping keys are." placeholder:"keyfile:PATH|kms:KEY"`
	Store     string `help:"Where findings and sealed values are stored." placeholder:"sqlite:PATH|dynamodb:TABLE"`
	Log       string `name:"log-files" help:"Where the files of the log are." placeholder:"dir:PATH|s3:BUCKET"`
	Server    string `help:"Address of a Coffer server: ask it instead of a home on this machine." placeholder:"URL" env:"COFFER_SERVER"`
	TokenFile string `help:"File with the access token for the server; else it is in COFFER_TOKEN." placeholder:"FILE" env:"COFFER_TOKEN_FILE"`
	Sign      bool   `help:"Instead of a token: sign requests to the server with this terminal's AWS credentials, where it lets roles of AWS in." env:"COFFER_SIGN"`
	JSON      bool   `name:"json" help:"Write JSON Lines to standard output, and an error as one object to standard error."`
}

// cli is the command line; the documentation of each command is in its help tag, the code in the file of its name.
type cli struct {
	globals

	Demo       demoCmd       `cmd:"" help:"Set up the MoonTrust scenario and show what happens with it."`
	Serve      serveCmd      `cmd:"" help:"Serve the API until it is interrupted."`
	Ingest     ingestCmd     `cmd:"" help:"Take in findings: EventBridge events, GetFindings answers, exports, ASFF, discovery results."`
	Intake     intakeCmd     `cmd:"" help:"What came in and what became of it."`
	Finding    findingCmd    `cmd:"" help:"List findings and show them, masked."`
	Value      valueCmd      `cmd:"" help:"Reveal and search sealed values."`
	Verdict    verdictCmd    `cmd:"" help:"Judge a finding or one of its occurrences."`
	Remedy     remedyCmd     `cmd:"" help:"Fix objects: plan, approve, apply, undo, purge, certificate."`
	Object     objectCmd     `cmd:"" help:"Show objects with their tags, versions and findings."`
	Audit      auditCmd      `cmd:"" help:"Read, verify and export the log."`
	Check      checkCmd      `cmd:"" help:"Check every invariant of store, log and objects."`
	Job        jobCmd        `cmd:"" help:"List and cancel long work."`
	Worker     workerCmd     `cmd:"" help:"Do the work that other processes have left to a worker."`
	Key        keyCmd        `cmd:"" help:"List and rotate the wrapping keys."`
	Setup      setupCmd      `cmd:"" help:"Make the tables, bucket and keys in the cloud that the configuration names."`
	Sidedoor   sidedoorCmd   `cmd:"" help:"Who reads sensitive objects past Coffer: the policy against it, and who would lose access."`
	Cost       costCmd       `cmd:"" help:"What findings and fixes cost on AWS, from the calls that the tests counted."`
	Doctor     doctorCmd     `cmd:"" help:"Look at the installation and say what is wrong and what helps."`
	Backup     backupCmd     `cmd:"" help:"Write a consistent copy of the home, without objects and by default without keys."`
	Restore    restoreCmd    `cmd:"" help:"Make a new home from a backup."`
	Access     accessCmd     `cmd:"" help:"Requests for access: ask, approve, deny; emergencies and their review."`
	Policy     policyCmd     `cmd:"" help:"Check, test and explain the policies."`
	Notify     notifyCmd     `cmd:"" help:"See how messages to the configured targets go, test a target, send again."`
	User       userCmd       `cmd:"" help:"Say who can sign in to the server."`
	Token      tokenCmd      `cmd:"" help:"Make, list and revoke access tokens for scripts."`
	Config     configCmd     `cmd:"" help:"Show and check the configuration."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a completion script for bash, zsh or fish."`
}

// env is what a command runs in.
type env struct {
	*globals
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	out    *output
	parser *kong.Kong
	app    *app.App
	caller access.Caller
	api    *web.Server // of app
	asks   *client.Client
	logger *slog.Logger // where the program says what goes wrong beside the answer
}

// run is the program as a function: tests call it, and main does.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	asked := -1
	parser, err := kong.New(&c,
		kong.Name("coffer"),
		kong.Description("Coffer seals what Amazon Macie finds in your objects, shows it to those who may see it, and removes it from the objects with undo and certificate.\n\nExit codes: 0 done, 1 failed or refused, 2 usage."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { asked = code; panic(stopParsing{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	if len(args) > 0 && args[0] == "help" {
		args = append(args[1:], "--help")
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parse(parser, args)
	if asked >= 0 {
		return asked
	}
	e := &env{globals: &c.globals, ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, parser: parser}
	if err != nil {
		e.JSON = e.JSON || slices.Contains(args, "--json") // the parser may have failed before it came to the flag
	}
	e.out = newOutput(e)
	if err != nil {
		e.fail(fmt.Errorf("%w; run `coffer help`", err), "usage")
		return exitUsage
	}
	if err = e.where(kctx); err == nil {
		err = kctx.Run(e)
	}
	if e.api != nil {
		e.api.Close() // what runs in it ends after the item that it is at
	}
	if e.app != nil {
		// The last entries of the log are under a signed checkpoint when the command ends.
		err = errors.Join(err, e.app.Close())
	}
	var quiet *quietError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return exitFailed
	case errors.Is(err, errUsage):
		e.fail(err, "usage")
		return exitUsage
	}
	e.fail(err, code(err))
	return exitFailed
}

type stopParsing struct{}

// parse keeps kong's wish to exit from ending the process.
func parse(parser *kong.Kong, args []string) (kctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(stopParsing); !ok {
				panic(r)
			}
		}
	}()
	return parser.Parse(args)
}

// errUsage marks errors that are about how a command was called.
var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errUsage)
}

// quietError ends a command with exit code 1 whose output has said everything already.
type quietError struct{}

func (*quietError) Error() string { return "failed" }

// kinds are the stable words for the kinds of errors.
var kinds = []struct {
	is   error
	code string
}{
	{coffer.ErrDenied, "denied"}, {coffer.ErrUnavailable, "unavailable"}, {coffer.ErrConflict, "conflict"},
	{coffer.ErrChanged, "changed"}, {coffer.ErrNotFound, "not-found"}, {coffer.ErrInvalid, "invalid"},
	{coffer.ErrUnsupported, "unsupported"}, {coffer.ErrLimit, "limit"}, {coffer.ErrCorrupt, "corrupt"},
	{context.Canceled, "cancelled"},
}

// code is the stable word for the kind of an error.
func code(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.code
		}
	}
	return "internal"
}

// kept is an error of which there is the text alone, such as one that a job keeps; it is of the same kind.
func kept(text string) error {
	for _, k := range kinds {
		if rest, ok := strings.CutSuffix(text, k.is.Error()); ok {
			return fmt.Errorf("%s%w", rest, k.is)
		}
	}
	return errors.New(text)
}

func (e *env) fail(err error, code string) {
	text := strings.TrimSuffix(e.text(err), ": usage")
	if e.JSON {
		b, _ := json.Marshal(map[string]string{"error": text, "code": code})
		fmt.Fprintf(e.stderr, "%s\n", b)
		return
	}
	fmt.Fprintf(e.stderr, "coffer: %s\n", text)
}

// logs returns where the program says what goes wrong beside the answer.
func (e *env) logs() *slog.Logger {
	if e.logger == nil {
		e.logger = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return e.logger
}

// open opens the installation as the operating system's user.
func (e *env) open() (*app.App, error) {
	if e.app != nil {
		return e.app, nil
	}
	e.logs()
	a, err := app.Open(e.ctx, app.Options{
		Home: e.Home, Objects: e.Objects, Originals: e.Originals, Keys: e.Keys, Store: e.Store, Log: e.Log, Logger: e.logger,
	})
	if err != nil {
		return nil, err
	}
	e.app = a
	e.caller, err = a.Operator()
	return a, err
}

// ask is the operator asking on the command line.
func (e *env) ask() access.Ask {
	return access.Ask{Caller: e.caller, Context: access.Context{Now: e.app.Now(), Local: true, Request: "cli-" + store.NewVersion()}}
}
