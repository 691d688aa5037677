package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/identity"
	"coffer/job"
)

// on says what a route is about, and so where the gate finds what to ask the policy about.
type on int

const (
	system  on = iota // the installation
	finding           // the finding of the path
	plan              // the plan of the path
	object            // what the body names: the domain package asks about it, the gate about something of which nothing is known
	work              // the job of the path; policies are asked about the installation, and told who started it
	request           // the request for access of the path, or the broken glass
)

// route is what is said of an operation besides the types of its input and output.
type route struct {
	id, method, path string
	summary, doc     string
	tag              string
	action           access.Action // empty: one of public
	on               on
	// direct says that nothing but the id in the path is to be validated, so that the domain package's own question to the policy
	// comes first anyway and the gate need not ask it twice.
	direct bool
	// said says that the body of a route about the installation states circumstances that policies may ask about.
	said bool
	// own says that the route shows what is the caller's own to who may not see all.
	own bool
	// params are query parameters that the handler reads by itself, and refuses if it does not know them.
	params func() []*huma.Param
	// stream is the media types, between spaces, of a body in the answer that is not JSON.
	stream string
	// lines is the media types of a request body that the handler reads by itself.
	lines  []string
	status int // of success; 0: 200
	also   []int
	// made makes the operation and its handler, once; it may be called concurrently.
	made func() http.HandlerFunc
}

// public are the routes that ask for nobody: what can be known of any installation.
var public = []string{"health", "ready", "openapi", "docs", "docs-style"}

// claim checks what is said of a route, whatever serves it. It panics if the route has no action and is not one of those in open, or has
// an action and is; [New] makes an error of that.
func (s *Server) claim(rt *route, open []string) {
	if (rt.action == "") != slices.Contains(open, rt.id) {
		panic(fmt.Sprintf("route %s has no action, or is public and has one", rt.id))
	}
	if rt.action != "" && !slices.ContainsFunc(access.Actions, func(d access.Description) bool { return d.Action == rt.action }) {
		panic(fmt.Sprintf("route %s has an action that does not exist", rt.id))
	}
	for _, is := range []struct {
		on    on
		param string
	}{{finding, "{finding}"}, {plan, "{plan}"}, {work, "{job}"}, {request, "{request}"}} {
		if (rt.on == is.on) != strings.Contains(rt.path, is.param) {
			panic(fmt.Sprintf("route %s is about something else than its path", rt.id))
		}
	}
}

// handle registers a route: its operation in the OpenAPI document and its handler, which are thereby the same. It panics as [Server.claim]
// does. h runs after every gate; the errors it returns are mapped by [Server.fail]. On a server that nobody comes to from outside the
// operation is made when it is first asked for: such a server is a command, which asks for one or two of a hundred.
func handle[I, O any](s *Server, rt *route, h func(context.Context, *call, *I) (*O, error)) {
	s.claim(rt, public)
	s.routes = append(s.routes, rt)
	rt.made = sync.OnceValue(func() http.HandlerFunc {
		s.making.Lock()
		defer s.making.Unlock()
		register(s, rt, h)
		return short(s, rt, h, s.handler)
	})
	if s.Auth != nil {
		s.mux.HandleFunc(rt.method+" "+rt.path, rt.made())
		return
	}
	s.mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { rt.made()(w, r) })
}

// handlers takes the handlers that huma makes of operations. What leads requests to them is the server's own multiplexer, which knows a route
// before its operation is made.
type handlers struct{ s *Server }

func (t handlers) HandleFunc(_ string, h func(http.ResponseWriter, *http.Request)) { t.s.handler = h }

func (t handlers) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.s.mux.ServeHTTP(w, r) }

// register makes the operation of a route, in the document and as [Server.handler].
func register[I, O any](s *Server, rt *route, h func(context.Context, *call, *I) (*O, error)) {
	open := rt.action == ""
	var in I
	_, keyed := any(&in).(attempted)
	_, hasBody := any(&in).(bodied)
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, Description: rt.doc, Tags: []string{rt.tag},
		DefaultStatus: max(rt.status, 200), MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second,
		Errors: []int{400, 403, 413, 421, 500}, Metadata: map[string]any{"action": string(rt.action)},
		Responses: map[string]*huma.Response{}, RejectUnknownQueryParameters: rt.params == nil,
	}
	if rt.params != nil {
		op.Parameters = rt.params()
	}
	if !open {
		op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
		op.Errors = append(op.Errors, 401, 403, 404, 422, 429, 503)
		op.Extensions = map[string]any{"x-coffer-action": string(rt.action)}
	}
	for _, status := range rt.also {
		if status >= 400 {
			op.Errors = append(op.Errors, status)
		}
	}
	if keyed {
		op.Errors = append(op.Errors, 409)
	}
	if hasBody || rt.lines != nil {
		op.Errors = append(op.Errors, 415)
	}
	if rt.lines != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
		for _, m := range rt.lines {
			op.RequestBody.Content[m] = &huma.MediaType{}
		}
	}
	if rt.stream != "" {
		content := map[string]*huma.MediaType{}
		for _, m := range strings.Fields(rt.stream) {
			content[m] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
		}
		op.Responses[strconv.Itoa(op.DefaultStatus)] = &huma.Response{Description: http.StatusText(op.DefaultStatus), Content: content}
	}
	// The server itself answers so, before any handler and without a problem.
	op.Responses["431"] = &huma.Response{Description: http.StatusText(http.StatusRequestHeaderFieldsTooLarge)}
	slices.Sort(op.Errors)
	op.Errors = slices.Compact(op.Errors)
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		c := of(ctx.Context())
		c.route = rt.id
		if !open {
			if p := s.admit(ctx.Context(), c, rt); p != nil {
				s.answer(ctx, p)
				return
			}
		}
		if p := mediaType(ctx, c, rt, hasBody); p != nil {
			s.answer(ctx, p)
			return
		}
		next(ctx)
	}}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		c := of(ctx)
		out, err := s.once(ctx, c, in, func(ctx context.Context) (any, error) { return h(ctx, c, in) }, func() any { return new(O) })
		if err != nil {
			return nil, s.hide(ctx, c, rt, err)
		}
		return out.(*O), nil
	})
	s.describe(&op, rt, any(new(O)))
}

// short returns a handler that goes the short way where a request says nothing but its path, so that there is nothing to read in it and
// nothing to validate: through the same gates to h, without the reflection that huma needs. Any other request goes to full.
func short[I, O any](s *Server, rt *route, h func(context.Context, *call, *I) (*O, error), full http.HandlerFunc) http.HandlerFunc {
	_, in := any(new(I)).(pathOnly)
	_, out := any(new(O)).(written)
	if !in || !out || rt.params != nil || rt.lines != nil || rt.stream != "" {
		return full
	}
	return func(w http.ResponseWriter, r *http.Request) {
		in := new(I)
		if r.URL.RawQuery != "" || r.ContentLength != 0 || !any(in).(pathOnly).read(r) || !s.takesJSON(r) {
			full(w, r)
			return
		}
		ctx := r.Context()
		c := of(ctx)
		c.route = rt.id
		if rt.action != "" {
			if p := s.admit(ctx, c, rt); p != nil {
				p.write(w)
				return
			}
		}
		out, err := h(ctx, c, in)
		if err != nil {
			var p *problem
			asProblem(s.hide(ctx, c, rt, err), &p)
			p.write(w)
			return
		}
		any(out).(written).write(w) // the caller may be gone
	}
}

// takesJSON reports whether a request takes an answer in JSON.
func (s *Server) takesJSON(r *http.Request) bool {
	accept := r.Header["Accept"]
	if len(accept) == 0 {
		return true
	}
	t, err := s.api.Negotiate(accept[0])
	return len(accept) == 1 && err == nil && t == contentJSON[0]
}

var contentJSON = []string{"application/json"}

// describe completes the answers of success in the document: those that have another status than most, and those with two kinds of body.
func (s *Server) describe(op *huma.Operation, rt *route, out any) {
	first := op.Responses[strconv.Itoa(op.DefaultStatus)]
	two, ok := out.(interface {
		bodies() (now, later reflect.Type)
	})
	schema := func(t reflect.Type) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(t, true, "")}}
	}
	var later reflect.Type
	if ok {
		var now reflect.Type
		now, later = two.bodies()
		first.Content = schema(now)
	}
	for _, status := range rt.also {
		if status >= 300 {
			continue
		}
		r := &huma.Response{Description: http.StatusText(status), Content: first.Content, Headers: first.Headers}
		if later != nil {
			r.Content = schema(later)
		}
		op.Responses[strconv.Itoa(status)] = r
	}
}

// admit asks for everything that comes before a look at the request itself.
func (s *Server) admit(ctx context.Context, c *call, rt *route) *problem {
	if err := s.authenticate(ctx, c); err != nil {
		return s.unauthenticated(ctx, c, err)
	}
	if wait := s.limits.take(c); wait > 0 {
		p := newProblem(c, "too-many", "You send more requests than this server takes from one caller.")
		p.RetryAfter = int(wait/time.Second) + 1
		return p
	}
	if rt.direct {
		return nil
	}
	return s.gate(ctx, c, rt)
}

// authenticate finds out who asks.
func (s *Server) authenticate(ctx context.Context, c *call) error {
	ask := access.Ask{Context: access.Context{Now: s.Now(), Request: c.logged()}}
	if l, ok := c.r.Context().Value(localKey{}).(local); ok {
		ask.Caller, ask.Context.Local = l.caller, true
		c.ask, c.asked = ask, true
		return nil
	}
	none := fmt.Errorf("no credential: %w", coffer.ErrDenied)
	if s.Auth == nil {
		return none
	}
	m := identity.Meta{Request: c.id, Network: network(c.r), Passive: c.passive}
	if arn, ok := c.r.Context().Value(signedKey{}).(string); ok {
		who, proof, err := s.Auth.IAM(ctx, arn, m)
		if err != nil {
			return err
		}
		ask.Caller, ask.Context = who, proof.Context(ask.Context.Now, m)
	} else if headers := c.r.Header["Authorization"]; len(headers) > 0 {
		scheme, token, _ := strings.Cut(headers[0], " ")
		if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return none
		}
		who, proof, err := s.Auth.Bearer(ctx, token, m)
		if err != nil {
			return err
		}
		ask.Caller, ask.Context = who, proof.Context(ask.Context.Now, m)
	} else {
		cookies := c.r.CookiesNamed(SessionCookie)
		if len(cookies) != 1 {
			return none
		}
		session, err := s.Auth.Session(ctx, cookies[0].Value, m)
		if err != nil {
			return err
		}
		ask.Caller, ask.Context, c.session = session.Caller, session.Context(ask.Context.Now, m), session
	}
	ask.Context.Request = c.logged()
	c.ask, c.asked = ask, true
	return nil
}

// again asks anew, for an answer that goes on, what let it begin: who the credential stands for by now, and whether the policies permit
// it to them. Of who signed out, lost a role or was kept out nothing goes on.
func (s *Server) again(ctx context.Context, c *call) *problem {
	if c.local {
		return nil
	}
	i := slices.IndexFunc(s.routes, func(rt *route) bool { return rt.id == c.route })
	now := &call{id: c.id, trace: c.trace, r: c.r, route: c.route, passive: true}
	if err := s.authenticate(ctx, now); err != nil {
		return s.unauthenticated(ctx, now, err)
	}
	return s.gate(ctx, now, s.routes[i])
}

func (s *Server) unauthenticated(ctx context.Context, c *call, err error) *problem {
	if errors.Is(err, coffer.ErrDenied) && !errors.Is(err, coffer.ErrUnavailable) && s.waits(err) == 0 {
		return newProblem(c, "unauthenticated", details["unauthenticated"])
	}
	var p *problem
	asProblem(s.fail(ctx, err), &p)
	return p
}

// circumstances are what a body says that policies may ask about.
type circumstances struct {
	Numbers []int  `json:"numbers"`
	Reason  string `json:"reason"`
	Note    string `json:"note"`
	Ticket  string `json:"ticket"`
	Purpose string `json:"purpose"`
	Grant   string `json:"grant"`
}

// peek reads the circumstances of a request from its body, whatever else is wrong with it, and leaves the body to be read again.
func peek(c *call) (said circumstances, err error) {
	if c.page {
		// A form that says too little is shown again by the page, with what was typed; only the way in counts here. PostForm is nil
		// unless the body is a form.
		return circumstances{Purpose: c.r.PostForm.Get("purpose"), Grant: c.r.PostForm.Get("grant")}, nil
	}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return said, nil
	}
	head, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	if err != nil {
		return said, err
	}
	c.r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), c.r.Body), c.r.Body}
	_ = json.Unmarshal(head, &said) // what is malformed says nothing
	return said, nil
}

// gate asks the policy before anything of the request is validated: with the resource as it is, and with what the body says of reason and
// circumstances; what it leaves out is taken to be as good as it can be, since the domain package asks again. A denial is recorded.
func (s *Server) gate(ctx context.Context, c *call, rt *route) *problem {
	asked := c.ask.Context
	fail := func(err error) *problem {
		var p *problem
		asProblem(s.hide(ctx, c, rt, err), &p)
		return p
	}
	if rt.on == object {
		// Approvals are of what the body names.
		fail = func(err error) *problem {
			var p *problem
			asProblem(s.fail(ctx, err), &p)
			return p
		}
		asked.Requester, asked.Approvers, asked.ApprovedUntil = "somebody-else", []string{"somebody-else"}, asked.Now.Add(time.Hour)
	}
	var said circumstances
	if rt.method == http.MethodPost && (rt.on != system || rt.said) && rt.lines == nil {
		var err error
		if said, err = peek(c); err != nil {
			return newProblem(c, "malformed", details["malformed"])
		}
		asked.Reason, asked.Note, asked.Ticket, asked.Purpose, asked.Values = said.Reason, said.Note, said.Ticket, said.Purpose, len(said.Numbers)
	}
	what, missing := s.about(ctx, c, rt, &asked)
	if missing != nil && !errors.Is(missing, coffer.ErrNotFound) {
		return fail(missing)
	}
	absent := func() *problem {
		switch {
		case missing == nil:
			return nil
		case c.local:
			return fail(missing)
		}
		return newProblem(c, "not-found", details["not-found"])
	}
	best := asked
	reasons := []string{asked.Reason}
	if asked.Reason == "" {
		reasons = s.reasons()
	}
	if best.Note == "" {
		best.Note = strings.Repeat("-", 2000)
	}
	if best.Ticket == "" {
		best.Ticket = "-"
	}
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return fail(err)
	}
	allowed := func(how access.Context) bool {
		return slices.ContainsFunc(reasons, func(reason string) bool {
			how.Reason = reason
			return policy.Decide(access.Request{Caller: c.ask.Caller, Action: rt.action, Resource: what, Context: how}).Allow
		})
	}
	granted := best
	if said.Grant != "" {
		// Whether the grant is good is for the domain package to say; here it is.
		granted.Requester, granted.Approvers, granted.ApprovedUntil = c.ask.Caller.ID, []string{"somebody-else"}, asked.Now.Add(time.Hour)
	}
	broken := granted
	broken.BreakGlass = said.Grant != ""
	if allowed(best) || said.Grant != "" && (allowed(granted) || allowed(broken)) {
		return absent()
	}
	for _, word := range []*string{&asked.Reason, &asked.Ticket, &asked.Purpose} {
		if !access.ValidID(*word) {
			*word = "" // cannot stand in the log
		}
	}
	if _, err := s.Guard.Check(ctx, c.ask.Caller, rt.action, what, asked); err != nil {
		return fail(err)
	}
	return absent()
}

func (s *Server) reasons() []string {
	if len(s.Guard.Reasons) > 0 {
		return s.Guard.Reasons
	}
	return access.Reasons
}

// unknown is something of which nothing is known: what a policy is asked about in place of what does not exist.
func unknown(k access.Kind) access.Resource {
	if k == access.System {
		return access.Resource{Kind: access.System}
	}
	return access.Resource{Kind: k, ID: "unknown", Origins: []coffer.Origin{coffer.OriginOperator}}
}

// about describes what the route is about to the policies. For what does not exist the error wraps coffer.ErrNotFound and the resource is
// one of which nothing is known.
func (s *Server) about(ctx context.Context, c *call, rt *route, asked *access.Context) (access.Resource, error) {
	switch rt.on {
	case finding:
		rec, err := s.Desk.Records.Get(ctx, c.r.PathValue("finding"))
		kind := s.kind(rt)
		if err != nil {
			return unknown(kind), err
		}
		c.finding = rec.Finding.ID
		if kind == access.System {
			return unknown(kind), nil
		}
		return rec.Resource(), nil
	case request:
		r, res, err := s.Grants.Look(ctx, c.r.PathValue("request"))
		if err != nil {
			asked.Requester = "somebody-else"
			return unknown(s.kind(rt)), err
		}
		asked.Requester = r.By
		if !slices.Contains(s.kinds(rt.action), res.Kind) {
			res = unknown(s.kind(rt))
		}
		return res, nil
	case plan:
		kind := access.Plan
		if rt.action == access.ObjectRead {
			kind = access.Object
		}
		p, err := s.Remedy.Get(ctx, c.r.PathValue("plan"))
		if err != nil {
			return unknown(kind), err
		}
		res, err := s.Remedy.Resource(ctx, p)
		if err != nil {
			return unknown(kind), err
		}
		p.Circumstances(asked, rt.action)
		if res.Kind = kind; kind == access.Object {
			res.ID = p.ObjectID
		}
		return res, nil
	case object:
		if rt.action == access.EventIngest && originOf(c.ask.Caller) == coffer.OriginSubmitted {
			what := unknown(access.Finding)
			what.Origins, what.Submitters = []coffer.Origin{coffer.OriginSubmitted}, []string{c.ask.Caller.ID}
			return what, nil
		}
		return unknown(s.kinds(rt.action)[0]), nil
	case work:
		j, err := s.Jobs.Get(ctx, c.r.PathValue("job"))
		if err == nil {
			asked.Requester = j.By
		}
		return access.Resource{Kind: access.System}, err
	case system:
		if rt.own {
			asked.Requester = c.ask.Caller.ID
		}
	}
	return access.Resource{Kind: access.System}, nil
}

// kind is that of the resource of which a route's action is asked when nothing is known of it.
func (s *Server) kind(rt *route) access.Kind {
	kinds := s.kinds(rt.action)
	if rt.on == finding && slices.Contains(kinds, access.Finding) {
		return access.Finding
	}
	return kinds[0]
}

// kinds are those of the resources that an action is for.
func (s *Server) kinds(a access.Action) []access.Kind {
	i := slices.IndexFunc(access.Actions, func(d access.Description) bool { return d.Action == a })
	return access.Actions[i].On
}

// hide maps an error, and lets a denial about something of which the caller may not even know look like its absence: to the rules that
// would refuse both, and to nothing else.
func (s *Server) hide(ctx context.Context, c *call, rt *route, err error) error {
	if errors.Is(err, coffer.ErrDenied) {
		s.metrics.denied(rt.action)
	}
	denied := errors.Is(err, coffer.ErrDenied) && !errors.Is(err, coffer.ErrUnavailable)
	if c.local || rt.on == system || !denied && !errors.Is(err, coffer.ErrNotFound) || denied && s.mayKnow(ctx, c, rt) {
		return s.fail(ctx, err)
	}
	p := newProblem(c, "not-found", details["not-found"])
	r := access.Request{Caller: c.ask.Caller, Action: rt.action, Resource: unknown(s.kind(rt)), Context: c.ask.Context}
	policy, perr := s.Guard.Current(ctx)
	if perr != nil {
		return s.fail(ctx, perr)
	}
	if d := policy.Decide(r); !d.Allow {
		p.Rules, p.Ask = d.Policies, policy.WhoMay(r)
	}
	return p
}

// mayKnow reports whether the caller may know that what the route is about exists: they may look at it.
func (s *Server) mayKnow(ctx context.Context, c *call, rt *route) bool {
	var asked access.Context
	look := &route{on: rt.on, action: access.FindingRead}
	switch rt.on {
	case plan:
		look.action = access.ObjectRead
	case object:
		return c.known
	case work:
		return false
	case request:
		// Who asked for it, and who may read the log, see it; others see what they may decide on.
		r, _, err := s.Grants.Look(ctx, c.r.PathValue("request"))
		if err == nil && r.By == c.ask.Caller.ID {
			return true
		}
		look = &route{on: system, action: access.AuditRead}
	case finding, system:
	}
	what, err := s.about(ctx, c, look, &asked)
	if err != nil {
		return false
	}
	policy, err := s.Guard.Current(ctx)
	return err == nil && policy.Decide(access.Request{Caller: c.ask.Caller, Action: look.action, Resource: what, Context: c.ask.Context}).Allow
}

// mediaType refuses bodies of the wrong kind, and bodies where there is nothing to say.
func mediaType(ctx huma.Context, c *call, rt *route, hasBody bool) *problem {
	takes := rt.lines
	if hasBody {
		takes = []string{"application/json"}
	}
	if takes == nil {
		if c.r.ContentLength > 0 || len(c.r.TransferEncoding) > 0 {
			return newProblem(c, "media-type", "This operation takes no body.")
		}
		return nil
	}
	if codings := c.r.Header["Content-Encoding"]; len(codings) > 0 {
		// A body that says it is something else than it is read as is two bodies.
		return newProblem(c, "media-type", "Send the body as it is, without a Content-Encoding.")
	}
	types := c.r.Header["Content-Type"]
	if len(types) == 1 {
		t, params, err := mime.ParseMediaType(types[0])
		charset, ok := params["charset"]
		if err == nil && slices.Contains(takes, t) && len(params) <= 1 && (len(params) == 0 || ok && strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	p := newProblem(c, "media-type", details["media-type"])
	p.Errors = []api.Invalid{{Where: "header.Content-Type", What: "expected " + strings.Join(takes, " or ")}}
	return p
}

// answer writes a problem through huma's context.
func (s *Server) answer(ctx huma.Context, p *problem) {
	for k, v := range p.GetHeaders() {
		ctx.SetHeader(k, v[0])
	}
	ctx.SetHeader("Content-Type", api.ContentProblem)
	ctx.SetStatus(p.Status)
	_ = marshal(ctx.BodyWriter(), p) // the caller may be gone
}

// The inputs of routes. They are not put together from parts by embedding: huma does not look into types that are not exported.
type (
	none      struct{}
	ofFinding struct {
		Finding string `path:"finding" maxLength:"256"`
	}
	ofPlan struct {
		Plan string `path:"plan" maxLength:"64"`
	}
	ofJob struct {
		Job string `path:"job" maxLength:"64"`
	}
	// body is the input of a route that only reads and is told what in its body.
	body[T any] struct{ Body T }
	// acts is the input of a route that acts.
	acts struct {
		Key string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt. Sent again with the same request it gives the same answer for a day and acts once; choose it at random."`
	}
	actsWith[T any] struct {
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		RawBody []byte
		Body    T
	}
	actsOnFindingWith[T any] struct {
		Finding string `path:"finding" maxLength:"256"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the record is as it was when it had this ETag."`
		RawBody []byte
		Body    T
	}
	actsOnPlan struct {
		Plan    string `path:"plan" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the plan is as it was when it had this ETag."`
	}
	actsOnPlanWith[T any] struct {
		Plan    string `path:"plan" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the plan is as it was when it had this ETag."`
		RawBody []byte
		Body    T
	}
	actsOnRequest struct {
		Request string `path:"request" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the request is as it was when it had this ETag."`
	}
	actsOnRequestWith[T any] struct {
		Request string `path:"request" maxLength:"64"`
		Key     string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
		IfMatch string `header:"If-Match" maxLength:"256" doc:"Act only if the request is as it was when it had this ETag."`
		RawBody []byte
		Body    T
	}
	actsOnJob struct {
		Job string `path:"job" maxLength:"64"`
		Key string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Names this attempt."`
	}
)

// pathOnly is the input of a route to which nothing is said but its path. read fills it in and reports whether it fits without a closer look.
type pathOnly interface{ read(r *http.Request) bool }

func (*none) read(*http.Request) bool { return true }

func (i *ofFinding) read(r *http.Request) bool {
	i.Finding = r.PathValue("finding")
	return len(i.Finding) <= 256
}

func (i *ofPlan) read(r *http.Request) bool {
	i.Plan = r.PathValue("plan")
	return len(i.Plan) <= 64
}

func (i *ofJob) read(r *http.Request) bool {
	i.Job = r.PathValue("job")
	return len(i.Job) <= 64
}

func (i *acts) attempt() (string, []byte)                 { return i.Key, nil }
func (i *actsWith[T]) attempt() (string, []byte)          { return i.Key, i.RawBody }
func (i *actsOnFindingWith[T]) attempt() (string, []byte) { return i.Key, i.RawBody }
func (i *actsOnPlan) attempt() (string, []byte)           { return i.Key, nil }
func (i *actsOnPlanWith[T]) attempt() (string, []byte)    { return i.Key, i.RawBody }
func (i *actsOnRequest) attempt() (string, []byte)        { return i.Key, nil }
func (i *actsOnRequestWith[T]) attempt() (string, []byte) { return i.Key, i.RawBody }
func (i *actsOnJob) attempt() (string, []byte)            { return i.Key, nil }

func (*body[T]) hasBody()              {}
func (*actsWith[T]) hasBody()          {}
func (*actsOnFindingWith[T]) hasBody() {}
func (*actsOnPlanWith[T]) hasBody()    {}
func (*actsOnRequestWith[T]) hasBody() {}

type bodied interface{ hasBody() }

// attempted is the input of a route that acts: its key, and the body of the request.
type attempted interface{ attempt() (string, []byte) }

// replayable is the output of a route that acts.
type replayable interface {
	save() (job.Answer, error)
	load(job.Answer) error
}

// reply is an answer with a status of its own.
type reply[T any] struct {
	Status   int
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Body     T

	encoded []byte // Body, where the same answer is given more than once
}

// encode encodes the body ahead. Nothing in r changes after that.
func (r *reply[T]) encode() *reply[T] {
	var b bytes.Buffer
	if marshal(&b, &r.Body) == nil { // else it fails, and says so, when it is written
		r.encoded = bytes.Clone(b.Bytes())
	}
	return r
}

// written is an answer that can be written without a closer look at its type.
type written interface{ write(w http.ResponseWriter) }

func (r *reply[T]) write(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = contentJSON
	for _, is := range [...]struct{ name, value string }{{"Location", r.Location}, {"Etag", r.ETag}} {
		if is.value != "" {
			h[is.name] = []string{is.value}
		}
	}
	w.WriteHeader(max(r.Status, http.StatusOK))
	if r.encoded != nil {
		_, _ = w.Write(r.encoded)
		return
	}
	_ = marshal(w, &r.Body)
}

func (r *reply[T]) save() (job.Answer, error) {
	b, err := json.Marshal(r.Body)
	return job.Answer{Status: r.Status, Location: r.Location, Tag: r.ETag, Body: b}, err
}

func (r *reply[T]) load(a job.Answer) error {
	r.Status, r.Location, r.ETag = a.Status, a.Location, a.Tag
	if err := json.Unmarshal(a.Body, &r.Body); err != nil {
		return fmt.Errorf("answer of an attempt: %w", coffer.ErrCorrupt)
	}
	return nil
}

// empty is an answer that says no more than its status.
type empty struct{}

func (*empty) save() (job.Answer, error) {
	return job.Answer{Status: http.StatusNoContent, Body: json.RawMessage("null")}, nil
}

func (*empty) load(job.Answer) error { return nil }

// once carries out act once for the key of an input that has one.
func (s *Server) once(ctx context.Context, c *call, in any, act func(context.Context) (any, error), empty func() any) (any, error) {
	a, ok := in.(attempted)
	if !ok || c.local {
		return act(ctx) // in the process itself no answer is lost, and nothing is sent again
	}
	key, body := a.attempt()
	request := fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00", c.r.Method, c.r.URL.RequestURI(), c.r.Header.Get("If-Match"), c.route)
	request = append(request, body...)
	// The whole request is in the name: a key that was forgotten, and is used for something else, is another attempt.
	c.attempt = s.attemptID(c, key+"\x00"+string(request))
	var out any
	ran := false
	answer, replayed, err := s.Once.Do(ctx, c.ask.Caller.ID, key, request, func(ctx context.Context) (job.Answer, error) {
		ran = true
		var err error
		if out, err = act(ctx); err != nil {
			return job.Answer{}, err
		}
		return out.(replayable).save()
	})
	var busy *job.BusyError
	var reused *job.ReusedError
	switch {
	case errors.As(err, &reused):
		return nil, newProblem(c, "key-reused", sentence(reused.Error()))
	case errors.As(err, &busy) && !ran:
		p := newProblem(c, "in-progress", "A request under this key is being carried out. Send it again later.")
		p.RetryAfter = 2
		return nil, p
	case err != nil || !replayed:
		return out, err
	}
	out = empty()
	return out, out.(replayable).load(answer)
}

// attemptID names what an acting request creates, so that repeating it finds what is there.
func (s *Server) attemptID(c *call, key string) string {
	return s.Once.Attempt(c.ask.Caller.ID, key)
}

// tag is the entity tag of a record as it is shown: a keyed hash, since an unkeyed one of a masked form says something of it.
func (s *Server) tag(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`"%x"`, s.MAC("etag", b)[:12]), nil
}

// matching returns the tag in an If-Match header; empty: any. A list of tags is not taken: nobody has seen two states of one record.
func matching(c *call, header string) (string, error) {
	if header == "" || header == "*" {
		return "", nil
	}
	tag, err := strconv.Unquote(header)
	if err != nil || tag == "" {
		return "", newProblem(c, "precondition-failed", changedSince)
	}
	return tag, nil
}

const changedSince = "It was changed since you read it. Read it again."

// match reports whether an If-Match header, which may be absent, names the tag.
func match(c *call, header, tag string) error {
	if header == "" || header == "*" {
		return nil
	}
	for t := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(t) == tag {
			return nil
		}
	}
	return newProblem(c, "precondition-failed", changedSince)
}
