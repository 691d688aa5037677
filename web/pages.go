package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"coffer/api"
	"coffer/triage"
)

//go:embed style.css
var style string

// pagePolicy is the content security policy of pages: nothing from elsewhere, no script.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// pages are the documents that are the same for everybody.
type pages struct{ docs string }

type page struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

func document(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Coffer", Version: version,
			Description: "Seals what Amazon Macie finds in objects, shows it to those who may see it, and removes it from the objects with undo and certificate. " +
				"Errors are application/problem+json with a stable code. Answers repeat nothing of a request."},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":   {Type: "http", Scheme: "bearer", Description: "An access token."},
				"session": {Type: "apiKey", In: "cookie", Name: SessionCookie, Description: "The session of a browser."},
			},
		},
		Tags: []*huma.Tag{{Name: "intake"}, {Name: "findings"}, {Name: "values"}, {Name: "plans"}, {Name: "objects"}, {Name: "log"}, {Name: "access"}, {Name: "people"}, {Name: "jobs"}, {Name: "installation"}, {Name: "public"}},
	}
}

func unwrap(ctx huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(ctx) }

func (s *Server) pageRoutes() {
	show := func(kind string, text func() string) func(context.Context, *call, *none) (*page, error) {
		return func(context.Context, *call, *none) (*page, error) {
			if err := s.published(); err != nil {
				return nil, err
			}
			return &page{ContentType: kind, Policy: pagePolicy, Body: []byte(text())}, nil
		}
	}
	const htmlType = "text/html; charset=utf-8"
	handle(s, &route{id: "docs", method: http.MethodGet, path: "/docs", tag: "public", stream: "text/html", summary: "This description, to be read"},
		show(htmlType, func() string { return s.pages.docs }))
	handle(s, &route{id: "docs-style", method: http.MethodGet, path: "/style.css", tag: "public", stream: "text/css", summary: "How pages look"},
		show("text/css; charset=utf-8", func() string { return style }))
	handle(s, &route{id: "openapi", method: http.MethodGet, path: "/v1/openapi.json", tag: "public", stream: "application/json", summary: "This description"},
		show("application/json", func() string { return string(s.doc) }))
	handle(s, &route{id: "health", method: http.MethodGet, path: "/healthz", tag: "public", stream: "text/plain", summary: "Whether the process lives"},
		show("text/plain; charset=utf-8", func() string { return "ok\n" }))
	handle(s, &route{id: "ready", method: http.MethodGet, path: "/readyz", tag: "public", stream: "text/plain", summary: "Whether it can serve: store and log can be used", also: []int{503}},
		func(ctx context.Context, c *call, _ *none) (*page, error) {
			if err := s.ready(ctx); err != nil {
				return nil, newProblem(c, "unavailable", "Not ready.")
			}
			return &page{ContentType: "text/plain; charset=utf-8", Policy: pagePolicy, Body: []byte("ready\n")}, nil
		})
}

// ready reports whether store and log can be used.
func (s *Server) ready(ctx context.Context) error {
	select {
	case <-s.closing:
		return context.Canceled
	default:
	}
	if _, err := s.Desk.Records.Get(ctx, "ready"); err != nil && !notThere(err) {
		return err
	}
	_, err := s.Guard.Log.Size()
	return err
}

// publish makes the OpenAPI document, and the pages, from what was registered.
func (s *Server) publish() error {
	for _, rt := range s.routes {
		rt.made()
	}
	doc := s.api.OpenAPI()
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			for status, r := range op.Responses {
				if r.Headers == nil {
					r.Headers = map[string]*huma.Param{}
				}
				r.Headers[api.RequestID] = &huma.Param{Schema: &huma.Schema{Type: "string"}}
				if status == "429" || status == "503" {
					r.Headers["Retry-After"] = &huma.Param{Schema: &huma.Schema{Type: "integer"}}
				}
			}
		}
	}
	if in := doc.Paths["/v1/events"]; in != nil {
		in.Post.RequestBody.Content["application/json"].Schema = &huma.Schema{Description: "One document, or an array of documents."}
		in.Post.RequestBody.Content[api.ContentLines].Schema = &huma.Schema{Type: "string", Description: "One JSON document per line."}
	}
	var err error
	if s.doc, err = json.MarshalIndent(doc, "", "  "); err != nil {
		return fmt.Errorf("the OpenAPI document: %w", err)
	}
	s.pages = pages{docs: s.docsPage(doc)}
	return nil
}

// shell puts a page together. Everything variable in it is escaped by who gives it.
func shell(title, class, main string) string {
	return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">` +
		`<meta name="robots" content="noindex"><title>` + html.EscapeString(title) + `</title><link rel="stylesheet" href="/style.css">` +
		`<body class="` + class + `"><main>` + main + `</main></body></html>` + "\n"
}

// docsPage writes the document for people, on the server and without a script.
func (s *Server) docsPage(doc *huma.OpenAPI) string {
	var b strings.Builder
	e := html.EscapeString
	b.WriteString(`<h1>The Coffer API</h1><p class="lead">` + e(doc.Info.Description) + `</p>` +
		`<p>Every operation asks the policies for its action before it looks at the request. Operations that act take an <code>Idempotency-Key</code>. ` +
		`Filters of findings: ` + e(strings.Join(triage.FilterFields(), ", ")) + `.</p>` +
		`<p><a href="/v1/openapi.json">OpenAPI 3.1</a></p><nav><ul>`)
	for _, t := range doc.Tags {
		b.WriteString(`<li><a href="#` + e(t.Name) + `">` + e(t.Name) + `</a></li>`)
	}
	b.WriteString(`</ul></nav>`)
	for _, t := range doc.Tags {
		b.WriteString(`<h2 id="` + e(t.Name) + `">` + e(t.Name) + `</h2>`)
		for _, rt := range s.routes {
			if rt.tag == t.Name {
				s.docOperation(&b, doc, rt)
			}
		}
	}
	b.WriteString(`<h2>Bodies</h2>`)
	schemas := doc.Components.Schemas.Map()
	var names []string
	for n := range schemas {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b.WriteString(`<h3 id="schema-` + e(n) + `">` + e(n) + `</h3>`)
		docSchema(&b, schemas[n])
	}
	return shell("API · Coffer", "docs", b.String())
}

func (s *Server) docOperation(b *strings.Builder, doc *huma.OpenAPI, rt *route) {
	e := html.EscapeString
	path := rt.path
	item := doc.Paths[path]
	op := map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete}[rt.method]
	fmt.Fprintf(b, `<section id="%s"><h3><span class="method">%s</span> <code>%s</code></h3><p>%s.</p>`, e(rt.id), e(rt.method), e(path), e(rt.summary))
	if rt.doc != "" {
		b.WriteString(`<p>` + e(rt.doc) + `</p>`)
	}
	if rt.action != "" {
		b.WriteString(`<p class="action">Action <code>` + e(string(rt.action)) + `</code></p>`)
	}
	if len(op.Parameters) > 0 {
		b.WriteString(`<table><tr><th>parameter</th><th>in</th><th></th></tr>`)
		for _, p := range op.Parameters {
			what := p.Description
			if p.Required {
				what = "Required. " + what
			}
			fmt.Fprintf(b, `<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>`, e(p.Name), e(p.In), e(what))
		}
		b.WriteString(`</table>`)
	}
	if op.RequestBody != nil {
		for _, ct := range sortedNames(op.RequestBody.Content) {
			fmt.Fprintf(b, `<p>Body: <code>%s</code> %s</p>`, e(ct), docRef(op.RequestBody.Content[ct].Schema))
		}
	}
	b.WriteString(`<p>Answers:`)
	for _, status := range sortedNames(op.Responses) {
		r := op.Responses[status]
		fmt.Fprintf(b, ` <b>%s</b> %s`, e(status), e(r.Description))
		for _, ct := range sortedNames(r.Content) {
			if ct != api.ContentProblem {
				fmt.Fprintf(b, ` <code>%s</code> %s`, e(ct), docRef(r.Content[ct].Schema))
			}
		}
		b.WriteString(`;`)
	}
	b.WriteString(`</p></section>`)
}

func sortedNames[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// docRef names a schema, as a link where it has a name.
func docRef(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		name := html.EscapeString(s.Ref[strings.LastIndexByte(s.Ref, '/')+1:])
		return `<a href="#schema-` + name + `">` + name + `</a>`
	case s.Type == "array":
		return "list of " + docRef(s.Items)
	}
	return html.EscapeString(s.Type)
}

func docSchema(b *strings.Builder, s *huma.Schema) {
	e := html.EscapeString
	b.WriteString(`<table><tr><th>member</th><th>type</th><th></th></tr>`)
	for _, n := range sortedNames(s.Properties) {
		p := s.Properties[n]
		what := p.Description
		if slices.Contains(s.Required, n) {
			what = "Always there. " + what
		}
		if len(p.Enum) > 0 {
			what += fmt.Sprintf(" One of %v.", p.Enum)
		}
		fmt.Fprintf(b, `<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>`, e(n), docRef(p), e(what))
	}
	b.WriteString(`</table>`)
}
