package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/app"
	"coffer/web"

	"go.yaml.in/yaml/v3"
)

type policyCmd struct {
	Check   policyCheckCmd   `cmd:"" help:"Check a folder of policies against the schema."`
	Test    policyTestCmd    `cmd:"" help:"Ask the policies the questions of a file and compare the answers with those it expects."`
	Explain policyExplainCmd `cmd:"" help:"Say which policies decide about an action, why, and whom to ask."`
	Matrix  policyMatrixCmd  `cmd:"" help:"Say what each role sees of each kind of data."`
}

// asksServer reports whether the policies are those in force at a server. A folder that a command names is read where the command runs,
// and no server has to do with it.
func (e *env) asksServer(dir string) bool { return e.Server != "" && dir == "" }

// policies loads the policies in dir; without one those of the configuration, else the default set. Nothing is opened.
func (e *env) policies(dir string) (p *access.Policy, from string, err error) {
	var set fs.FS
	if dir == "" {
		home, err := e.home()
		if err != nil {
			return nil, "", err
		}
		c, err := app.ReadConfig(home)
		if err != nil {
			return nil, "", err
		}
		dir = c.PolicyDir(home)
	}
	from = "the default set"
	if dir != "" {
		from, set = dir, os.DirFS(dir)
	}
	p, err = access.Load(set)
	return p, from, err
}

type policyCheckCmd struct {
	Dir string `arg:"" optional:"" type:"existingdir" help:"Folder of *.cedar files; the policies in force when it is left out."`
}

func (c *policyCheckCmd) Run(e *env) error {
	if e.asksServer(c.Dir) {
		cl, err := e.client()
		if err != nil {
			return err
		}
		p, err := cl.Policies(e.ctx)
		if err != nil {
			return err
		}
		return e.fit(e.Server, p.Policies, p.Roles, p.Hash)
	}
	p, from, err := e.policies(c.Dir)
	if err != nil {
		return err
	}
	return e.fit(from, p.IDs(), p.Roles(), p.Hash())
}

// fit says which policies fit the schema.
func (e *env) fit(from string, policies, roles []string, hash string) error {
	if e.JSON {
		return e.out.element(map[string]any{"from": from, "policies": policies, "roles": roles, "hash": hash})
	}
	e.out.say("%s: %s for the roles %s fit the schema.", safe(from), plural(len(policies), "policy"), strings.Join(roles, ", "))
	e.out.say("hash %s", hash)
	return nil
}

type policyMatrixCmd struct {
	Dir string `arg:"" optional:"" type:"existingdir" help:"Folder of *.cedar files; the policies in force when it is left out."`
}

func (c *policyMatrixCmd) Run(e *env) error {
	cells, err := c.cells(e)
	if err != nil {
		return err
	}
	head, row := []string{"ROLE"}, []string(nil)
	var rows [][]string
	for _, m := range cells {
		if e.JSON {
			if err := e.out.element(m); err != nil {
				return err
			}
			continue
		}
		if len(row) == 0 || row[0] != m.Role {
			row = []string{m.Role}
			rows = append(rows, row)
		}
		if len(rows) == 1 {
			head = append(head, m.Category)
		}
		row = append(row, m.Sight)
		rows[len(rows)-1] = row
	}
	if e.JSON {
		return nil
	}
	t := e.out.table(0, head...)
	for _, r := range rows {
		t.row(r...)
	}
	t.print()
	e.out.say("exists: that there is a finding; approved: values with an approved request; full: values with a reason")
	return nil
}

func (c *policyMatrixCmd) cells(e *env) ([]api.MatrixCell, error) {
	if e.asksServer(c.Dir) {
		cl, err := e.client()
		if err != nil {
			return nil, err
		}
		m, err := cl.Matrix(e.ctx)
		return m.Cells, err
	}
	p, _, err := e.policies(c.Dir)
	if err != nil {
		return nil, err
	}
	return web.MatrixOf(p, time.Now()).Cells, nil
}

type policyTestCmd struct {
	File     string `arg:"" help:"YAML or JSON with cases; - is standard input."`
	Policies string `help:"Folder of *.cedar files; the policies in force when it is left out." type:"existingdir" placeholder:"DIR"`
}

// Help is the long help of the command.
func (policyTestCmd) Help() string {
	return `The file holds a list of cases:

  - name: an engineer reveals with a reason
    caller: {id: eve, kind: user, roles: [engineer], teams: [payments]}
    action: value.reveal
    resource: {kind: Finding, types: [CREDIT_CARD_NUMBER], severity: high, origins: [macie]}
    context: {reason: audit, note: quarterly check, values: 1}
    expect: allow
    by: [engineer-reveal]

Left out: a caller's id is "caller" and its kind "user"; a resource's id is "resource", its kind the first that the action is for and
its origin macie; now is 2026-01-01T00:00:00Z and the caller just signed in (signInAge: 20m says otherwise). by, when it is given, names all policies that decide.`
}

// policyCase is one question with the answer that is expected, as a file has it.
type policyCase struct {
	Name   string `yaml:"name"`
	Caller struct {
		ID     string   `yaml:"id"`
		Kind   string   `yaml:"kind"`
		Roles  []string `yaml:"roles"`
		Teams  []string `yaml:"teams"`
		Scopes []string `yaml:"scopes"` // of a token
	} `yaml:"caller"`
	Action   string `yaml:"action"`
	Resource struct {
		Kind       string            `yaml:"kind"`
		ID         string            `yaml:"id"`
		Types      []string          `yaml:"types"`
		Categories []string          `yaml:"categories"`
		Severity   string            `yaml:"severity"`
		Bucket     string            `yaml:"bucket"`
		Account    string            `yaml:"account"`
		Origins    []string          `yaml:"origins"`
		Submitters []string          `yaml:"submitters"`
		Tags       map[string]string `yaml:"tags"`
	} `yaml:"resource"`
	Context struct {
		Now     time.Time `yaml:"now"`
		Local   bool      `yaml:"local"`
		Reason  string    `yaml:"reason"`
		Note    string    `yaml:"note"`
		Ticket  string    `yaml:"ticket"`
		Purpose string    `yaml:"purpose"`
		Values  int       `yaml:"values"`
		// Network is the address of who asks; SignInAge how long ago they signed in, such as 5m, 0s when it is left out.
		Network       string        `yaml:"network"`
		SignInAge     time.Duration `yaml:"signInAge"`
		MFA           bool          `yaml:"mfa"`
		BreakGlass    bool          `yaml:"breakGlass"`
		Requester     string        `yaml:"requester"`
		Approvers     []string      `yaml:"approvers"`
		ApprovedUntil time.Time     `yaml:"approvedUntil"`
	} `yaml:"context"`
	Expect string   `yaml:"expect"`
	By     []string `yaml:"by"`
}

// maxCases bounds the file of cases, in bytes.
const maxCases = 4 << 20

func (c *policyTestCmd) Run(e *env) error {
	var b []byte
	var err error
	if c.File == "-" {
		b, err = io.ReadAll(io.LimitReader(e.stdin, maxCases+1))
	} else if b, err = readFile(c.File, maxCases+1); errors.Is(err, fs.ErrNotExist) {
		err = coffer.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cases %s: %w", c.File, err)
	}
	if len(b) > maxCases {
		return fmt.Errorf("cases %s: more than %d bytes: %w", c.File, maxCases, coffer.ErrLimit)
	}
	var cases []policyCase
	dec := yaml.NewDecoder(bytes.NewReader(b)) // JSON is YAML
	dec.KnownFields(true)
	if err := dec.Decode(&cases); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cases %s: %v: %w", c.File, err, coffer.ErrInvalid)
	}
	if len(cases) == 0 {
		return fmt.Errorf("cases %s: there are none: %w", c.File, coffer.ErrInvalid)
	}
	questions := make([]api.PolicyCase, len(cases))
	for i := range cases {
		x := &cases[i]
		if x.Name == "" {
			x.Name = fmt.Sprintf("case %d", i+1)
		}
		if questions[i], err = x.question(); err != nil {
			return fmt.Errorf("%s: %w", x.Name, err)
		}
	}
	answers, err := c.answers(e, questions)
	if err != nil {
		return err
	}
	failed := 0
	for i, a := range answers {
		x := &cases[i]
		if !a.OK {
			failed++
		}
		if e.JSON {
			err := e.out.element(map[string]any{"name": x.Name, "ok": a.OK, "expected": a.Expected, "got": a.Got, "policies": a.Policies, "errors": a.Errors})
			if err != nil {
				return err
			}
			continue
		}
		if !a.OK {
			e.out.say("FAIL %s: expected %s%s, got %s%s", safe(x.Name), a.Expected, by(x.By), a.Got, by(a.Policies))
			for _, s := range a.Errors {
				e.out.say("     error: %s", safe(s))
			}
		}
	}
	if failed > 0 {
		e.out.say("%d of %s failed.", failed, plural(len(cases), "case"))
		return &quietError{}
	}
	e.out.say("%s passed.", plural(len(cases), "case"))
	return nil
}

// casesAtOnce is how many cases a server is asked about in one request, whose body it bounds.
const casesAtOnce = 100

// answers asks the policies in force, or those of the folder that the command names.
func (c *policyTestCmd) answers(e *env, questions []api.PolicyCase) (out []api.PolicyAnswer, err error) {
	if !e.asksServer(c.Policies) {
		p, _, err := e.policies(c.Policies)
		if err != nil {
			return nil, err
		}
		all, err := web.Answers(p, questions)
		return all.Answers, err
	}
	cl, err := e.client()
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(questions, casesAtOnce) {
		part, err := cl.TestPolicies(e.ctx, some)
		if err != nil {
			return nil, err
		}
		if len(part.Answers) != len(some) {
			return nil, fmt.Errorf("the server answers %d of %s: %w", len(part.Answers), plural(len(some), "case"), coffer.ErrInvalid)
		}
		out = append(out, part.Answers...)
	}
	return out, nil
}

func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func by(policies []string) string {
	if len(policies) == 0 {
		return ""
	}
	return " by " + strings.Join(policies, ", ")
}

// question returns the question of the case as the API asks it; what it leaves out, [access.Suppose] fills in.
func (x *policyCase) question() (api.PolicyCase, error) {
	var none api.PolicyCase
	if x.Expect != "allow" && x.Expect != "deny" {
		return none, fmt.Errorf("expect is allow or deny: %w", coffer.ErrInvalid)
	}
	if !slices.ContainsFunc(access.Actions, func(d access.Description) bool { return string(d.Action) == x.Action }) {
		return none, fmt.Errorf("no action has this name; coffer policy explain lists them: %w", coffer.ErrInvalid)
	}
	if !slices.Contains([]string{"", "low", "medium", "high"}, x.Resource.Severity) {
		return none, fmt.Errorf("severity is low, medium or high: %w", coffer.ErrInvalid)
	}
	if x.Context.SignInAge < 0 || x.Context.SignInAge%time.Second != 0 {
		return none, fmt.Errorf("signInAge is in whole seconds, such as 20m: %w", coffer.ErrInvalid)
	}
	q := api.PolicyCase{
		Caller: api.PolicyCaller(x.Caller), Action: x.Action, Resource: api.PolicyResource(x.Resource), Expect: x.Expect, By: x.By,
		Context: api.PolicyContext{
			Now: x.Context.Now, Local: x.Context.Local, Reason: x.Context.Reason, Note: x.Context.Note, Ticket: x.Context.Ticket,
			Purpose: x.Context.Purpose, Values: x.Context.Values, Network: x.Context.Network, SignInSeconds: int(x.Context.SignInAge / time.Second),
			MFA: x.Context.MFA, BreakGlass: x.Context.BreakGlass, Requester: x.Context.Requester, Approvers: x.Context.Approvers,
			ApprovedUntil: x.Context.ApprovedUntil,
		},
	}
	return q, nil
}

type policyExplainCmd struct {
	Action  string   `arg:"" optional:"" help:"Action; without it, the list of actions."`
	On      string   `arg:"" optional:"" name:"id" help:"Finding or plan id; a finding of which nothing is known when it is left out."`
	Role    []string `help:"Ask for a person with these roles instead of for yourself." placeholder:"ROLE"`
	Reason  string   `help:"Suppose this reason code." placeholder:"CODE"`
	Note    string   `help:"Suppose this note." placeholder:"TEXT"`
	Pending bool     `help:"Suppose a request or plan that somebody else made, for approvals."`
}

func (c *policyExplainCmd) Run(e *env) error {
	if c.Action == "" {
		t := e.out.table(2, "ACTION", "ON", "WHAT")
		for _, d := range access.Actions {
			if e.JSON {
				if err := e.out.element(map[string]any{"action": d.Action, "on": d.On, "what": d.Doc}); err != nil {
					return err
				}
				continue
			}
			var on []string
			for _, k := range d.On {
				on = append(on, string(k))
			}
			t.row(string(d.Action), strings.Join(on, ", "), d.Doc)
		}
		if !e.JSON {
			t.print()
		}
		return nil
	}
	i := slices.IndexFunc(access.Actions, func(d access.Description) bool { return string(d.Action) == c.Action })
	if i < 0 {
		return usage("no action is called %q; coffer policy explain lists them", c.Action)
	}
	d := access.Actions[i]
	if c.On != "" && !slices.Contains(d.On, access.Plan) && !slices.Contains(d.On, access.Finding) {
		return usage("%s is not asked about findings or plans", d.Action)
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	dec, err := cl.Explain(e.ctx, api.ExplainBody{Action: c.Action, On: c.On, Roles: c.Role, Reason: c.Reason, Note: c.Note, Pending: c.Pending})
	if err != nil {
		return e.named("finding or plan", c.On, err)
	}
	if e.JSON {
		return e.out.element(dec)
	}
	roles := c.Role
	if roles == nil {
		who, err := cl.Caller(e.ctx)
		if err != nil {
			return err
		}
		roles = who.Roles
	}
	role := strings.Join(roles, ", ")
	switch {
	case dec.Decision == "allow":
		e.out.say("%s is allowed to %s%s.", d.Action, safe(role), by(dec.Policies))
	case len(dec.Policies) > 0:
		e.out.say("%s is forbidden to %s%s.", d.Action, safe(role), by(dec.Policies))
	default:
		e.out.say("%s is denied to %s: no policy permits it.", d.Action, safe(role))
	}
	for _, s := range dec.Errors {
		e.out.say("  could not be evaluated: %s", safe(s))
	}
	if dec.Advice != "" {
		e.out.say("  %s", safe(dec.Advice))
	}
	if len(dec.Ask) > 0 {
		e.out.say("  under the same circumstances it is allowed to: %s", strings.Join(dec.Ask, ", "))
	}
	return nil
}
