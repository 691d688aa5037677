package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer"
	"coffer/api"
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

func (c *valueRevealCmd) Run(e *env) error {
	var ns []int
	for _, s := range c.N {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return usage("%q is no number of an occurrence", s)
		}
		ns = append(ns, n)
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	var list []api.Revealed
	if strings.HasPrefix(c.ID, "tok_") {
		list, err = cl.RevealToken(e.ctx, api.TokenBody{Token: c.ID, Reason: c.Reason, Note: c.Note, Ticket: c.Ticket, Grant: c.Grant})
		err = e.named("token", "", err)
	} else {
		list, err = cl.Reveal(e.ctx, c.ID, api.RevealBody{Numbers: ns, Reason: c.Reason, Note: c.Note, Ticket: c.Ticket, Grant: c.Grant})
		err = e.named("finding", c.ID, err)
	}
	if err != nil {
		return err
	}
	t := e.out.table(2, "N", "TYPE", "AT", "VALUE")
	for _, r := range list {
		if e.JSON {
			if err := e.out.element(r); err != nil {
				return err
			}
			continue
		}
		t.row(fmt.Sprint(r.N), r.Type, r.At, r.Value)
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

func (c *valueSearchCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	value, err := e.secret("value: ")
	if err != nil {
		return err
	}
	defer clear(value)
	q := api.SearchBody{Type: c.Type, Value: string(value)}
	if !utf8.Valid(value) {
		q.Value, q.Encoding = base64.StdEncoding.EncodeToString(value), "base64"
	}
	hits, err := cl.Search(e.ctx, q)
	if err != nil {
		return err
	}
	t := e.out.table(3, "FINDING", "N", "TYPE", "AT", "OBJECT", "MASKED")
	for _, h := range hits {
		if e.JSON {
			if err := e.out.element(h); err != nil {
				return err
			}
			continue
		}
		t.row(h.Finding, fmt.Sprint(h.N), h.Type, h.At, "s3://"+h.Object.Bucket+"/"+h.Object.Key, h.Masked)
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
	cl, err := e.client()
	if err != nil {
		return err
	}
	now, tag, err := cl.Index(e.ctx)
	if err != nil {
		return err
	}
	switch {
	case c.Resume != "":
		if _, err := e.resume(cl, c.Resume, "value.index", "index findings", "coffer value index", nil); err != nil {
			return err
		}
	case len(c.Types) > 0:
		types := slices.DeleteFunc(slices.Clone(now.Types), func(t string) bool { return slices.Contains(c.Types, t) })
		if !c.Off {
			types = append(types, c.Types...)
		}
		if now, err = cl.SetIndex(e.ctx, tag, types); err != nil {
			return err
		}
		if now.Job != "" {
			j, err := cl.Job(e.ctx, now.Job)
			if err != nil {
				return err
			}
			if _, err := e.follow(cl, j, nil, "index findings", "coffer value index", nil); err != nil {
				return err
			}
		}
	}
	for _, t := range now.Types {
		if e.JSON {
			if err := e.out.element(map[string]string{"type": t}); err != nil {
				return err
			}
			continue
		}
		e.out.say("%s", t)
	}
	if len(now.Types) == 0 {
		e.out.say("No type is indexed. Turn one on with `coffer value index TYPE`.")
	}
	return nil
}
