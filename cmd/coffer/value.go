package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer"
	"coffer/vault"

	"golang.org/x/term"
)

type valueCmd struct {
	Reveal valueRevealCmd `cmd:"" help:"Show sealed values of a finding in plain, or the value of a token. This is logged."`
	Search valueSearchCmd `cmd:"" help:"In which objects does a value stand? The value is read from standard input."`
	Index  valueIndexCmd  `cmd:"" help:"Show, turn on or turn off the equality index of types."`
}

// why is the reason that a reveal needs.
type why struct {
	Reason string `help:"Reason code." required:"" placeholder:"CODE"`
	Note   string `help:"Why, in at least 10 characters." required:"" placeholder:"TEXT"`
}

// granted is what else an act on values may rest on.
type granted struct {
	Ticket string `help:"Number of a ticket elsewhere." placeholder:"ID"`
	Grant  string `help:"Id of the approved request, or of the broken glass, to act on." placeholder:"REQUEST"`
}

type valueRevealCmd struct {
	ID string   `arg:"" help:"Finding id, or a token."`
	N  []string `arg:"" optional:"" help:"Numbers of occurrences; all when none is given."`
	why
	granted
}

// Help is the long help of the command.
func (valueRevealCmd) Help() string {
	return "Example: coffer value reveal ID 1 2 --reason investigation --note \"customer asked which card\". Reason codes: see coffer config show."
}

// revealLine is the contract of `coffer value reveal --json`.
type revealLine struct {
	Finding  string          `json:"finding"`
	N        int             `json:"n"`
	Type     coffer.DataType `json:"type"`
	At       coffer.Location `json:"at"`
	Value    string          `json:"value"`
	Encoding string          `json:"encoding,omitempty"`
}

func (c *valueRevealCmd) Run(e *env) error {
	var ns []int
	for _, s := range c.N {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return usage("%q is no number of an occurrence", s)
		}
		ns = append(ns, n)
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	ask := e.reason(c.Reason, c.Note)
	ask.Context.Ticket, ask.Context.Grant = c.Ticket, c.Grant
	var list []vault.Revealed
	if strings.HasPrefix(c.ID, "tok_") {
		var one vault.Revealed
		one, err = a.Vault.Detokenise(e.ctx, ask, c.ID)
		list = []vault.Revealed{one}
	} else {
		list, err = a.Vault.Reveal(e.ctx, ask, c.ID, ns...)
	}
	if err != nil {
		return err
	}
	defer func() {
		for _, r := range list {
			r.Plain.Wipe()
		}
	}()
	t := e.out.table(2, "N", "TYPE", "AT", "VALUE")
	for _, r := range list {
		b := r.Plain.Expose()
		line := revealLine{Finding: r.Finding, N: r.N, Type: r.Type, At: r.At, Value: string(b)}
		if !utf8.Valid(b) {
			line.Value, line.Encoding = base64.StdEncoding.EncodeToString(b), "base64"
		}
		if e.JSON {
			if err := e.out.element(line); err != nil {
				return err
			}
			continue
		}
		t.row(fmt.Sprint(r.N), string(r.Type), r.At.String(), line.Value)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type valueSearchCmd struct {
	Type string `help:"Search in the index of this type only." placeholder:"TYPE"`
}

// Help is the long help of the command.
func (valueSearchCmd) Help() string {
	return "The value is asked for, or read from standard input; on the command line it would stand in the shell's history and in the list of processes. The types to search in are turned on by coffer value index TYPE."
}

type hitLine struct {
	Finding string          `json:"finding"`
	N       int             `json:"n"`
	Type    coffer.DataType `json:"type"`
	At      coffer.Location `json:"at"`
	Object  coffer.Object   `json:"object"`
	Masked  string          `json:"masked"`
}

func (c *valueSearchCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	value, err := e.secret("value: ")
	if err != nil {
		return err
	}
	defer clear(value)
	hits, err := a.Vault.Search(e.ctx, e.ask(), coffer.DataType(c.Type), coffer.NewPlaintext(value))
	if err != nil {
		return err
	}
	t := e.out.table(3, "FINDING", "N", "TYPE", "AT", "OBJECT", "MASKED")
	for _, h := range hits {
		at := a.Detectors.Cut(h.At)
		o := coffer.Object{Bucket: h.Object.Bucket, Key: h.Object.Key, VersionID: h.Object.VersionID}
		if e.JSON {
			if err := e.out.element(hitLine{h.Finding, h.N, h.Type, at, o, h.Masked}); err != nil {
				return err
			}
			continue
		}
		t.row(h.Finding, fmt.Sprint(h.N), string(h.Type), at.String(), "s3://"+o.Bucket+"/"+o.Key, h.Masked)
	}
	if !e.JSON {
		t.print()
		if len(hits) == 0 {
			e.out.say("The value stands in no sealed finding of an indexed type.")
		}
	}
	return nil
}

// secret reads a value without showing it: from the terminal without echo, else the first line of standard input. A value on
// the command line would stand in the shell's history and in the list of processes.
func (e *env) secret(prompt string) ([]byte, error) {
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !e.JSON {
		fmt.Fprint(e.stderr, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(e.stderr)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(e.stdin, vault.MaxPlaintext))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w: %w", coffer.ErrUnavailable, err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return nil, errors.Join(usage("give the value on standard input"))
	}
	return b, nil
}

type valueIndexCmd struct {
	Types []string `arg:"" optional:"" name:"type" help:"Types to index; none lists those that are."`
	Off   bool     `help:"Turn the index of the types off and remove it."`
	resuming
}

func (c *valueIndexCmd) Run(e *env) error {
	if c.Resume != "" && (len(c.Types) > 0 || c.Off) {
		return usage("--resume takes the types from the job")
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	var types []coffer.DataType
	for _, t := range c.Types {
		types = append(types, coffer.DataType(t))
	}
	if c.Off && len(types) > 0 {
		if err := a.Vault.TurnIndex(e.ctx, e.ask(), types, false); err != nil {
			return err
		}
	} else if c.Resume != "" || len(types) > 0 {
		if err := c.index(e, types); err != nil {
			return err
		}
	}
	types, err = a.Vault.Indexed(e.ctx)
	if err != nil {
		return err
	}
	for _, t := range types {
		if e.JSON {
			if err := e.out.element(map[string]coffer.DataType{"type": t}); err != nil {
				return err
			}
			continue
		}
		e.out.say("%s", t)
	}
	if len(types) == 0 {
		e.out.say("No type is indexed. Turn one on with `coffer value index TYPE`.")
	}
	return nil
}

// index turns the index of types on and enters the values of all findings, as a job.
func (c *valueIndexCmd) index(e *env, types []coffer.DataType) error {
	j, err := e.begin(c.Resume, "value.index", func() (map[string]string, []string, error) {
		if err := e.app.Vault.TurnIndex(e.ctx, e.ask(), types, true); err != nil {
			return nil, nil, err
		}
		var ids []string
		for s, err := range e.app.Records.All(e.ctx) {
			if err != nil {
				return nil, nil, err
			}
			ids = append(ids, s.ID)
		}
		return map[string]string{"types": strings.Join(c.Types, " ")}, ids, nil
	})
	if err != nil {
		return err
	}
	types = nil
	for _, t := range strings.Fields(j.Params["types"]) {
		types = append(types, coffer.DataType(t))
	}
	return e.work(j, "index findings", "coffer value index", func(ctx context.Context, id string) (string, error) {
		n, err := e.app.Vault.IndexFinding(ctx, e.ask(), id, types)
		if errors.Is(err, coffer.ErrNotFound) {
			err = nil // its values were destroyed
		}
		return plural(n, "value"), err
	})
}
