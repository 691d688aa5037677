package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/macie"
	"coffer/pipeline"
)

// eventsIn takes the body as a stream.
type eventsIn struct {
	Name string `header:"Content-Disposition" maxLength:"400" doc:"attachment; filename=\"NAME\": what the stream is called in the record of arrivals."`

	body io.Reader
	ctx  huma.Context
}

// Resolve implements [huma.Resolver].
func (in *eventsIn) Resolve(ctx huma.Context) []error {
	in.body, in.ctx = ctx.BodyReader(), ctx
	return nil
}

type arrivalsIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000"`
	Cursor string `query:"cursor" maxLength:"512"`
}

// streamed is an answer that is written as it comes.
type streamed struct {
	Body func(huma.Context)
}

func (s *Server) eventRoutes() {
	handle(s, &route{
		id: "ingest", method: http.MethodPost, path: "/v1/events", tag: "intake", action: access.EventIngest, on: object,
		summary: "Take in findings", stream: api.ContentLines, lines: []string{"application/json", api.ContentLines},
		doc: "EventBridge event, bare finding, GetFindings answer, ASFF or discovery result: one document, an array, or JSON Lines, 64 MiB at most. " +
			"The answer has one line for each document, written as it is done. A document that comes again is the same document: no key is needed to send it again. " +
			"What a person or token sends is `submitted`: nothing is read for it until Macie or somebody else confirms it. If taking in stops half-way, the last line has the status failed and the connection ends.",
	}, s.ingest)
	handle(s, &route{
		id: "list-intake", method: http.MethodGet, path: "/v1/intake", tag: "intake", action: access.FindingList,
		summary: "What came in and what became of it, latest first",
	}, func(ctx context.Context, c *call, in *arrivalsIn) (*reply[api.Arrivals], error) {
		var start int
		if _, err := s.from(c, "", in.Cursor, &start); err != nil {
			return nil, err
		}
		list, err := s.Pipeline.ListArrivals(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Arrivals]{Status: http.StatusOK, Body: api.Arrivals{Arrivals: []api.Arrival{}}}
		start = min(start, len(list))
		end := min(len(list), start+pageLimit(in.Limit))
		for _, a := range list[start:end] {
			out.Body.Arrivals = append(out.Body.Arrivals, api.Arrival{
				Key: a.Key, Finding: a.Finding, Object: a.Object, Kind: string(a.Kind), From: a.From, Status: string(a.Status), Reason: a.Reason,
				First: a.First, Last: a.Last, Seen: a.Seen, Occurrences: a.Occurrences, Sealed: a.Sealed,
			})
		}
		if end < len(list) {
			out.Body.Next, err = s.cursor(c, "", end)
		}
		return out, err
	})
}

// originOf is on whose word stands what a caller sends.
func originOf(who access.Caller) coffer.Origin {
	if who.Kind == access.OperatorCaller || who.Kind == access.ServiceCaller {
		return coffer.OriginOperator
	}
	return coffer.OriginSubmitted
}

// ingest takes in a stream of documents. Nothing of it is refused as a whole for what one document says.
func (s *Server) ingest(ctx context.Context, c *call, in *eventsIn) (*streamed, error) {
	from, most := nameOf(in.Name), int64(maxEvents)
	if c.local {
		most = math.MaxInt64 // nobody else waits for this process
	}
	origin := originOf(c.ask.Caller)
	return &streamed{Body: func(hc huma.Context) {
		out := newLines(s, hc, api.ContentLines)
		// Reading what is still to come goes on while answers are written.
		_ = http.NewResponseController(out.w).EnableFullDuplex() // HTTP/2 has it anyway, and the local caller does
		read := &bounded{r: in.body, left: most, wake: out.extend}
		for d, err := range macie.Decode(ctx, bufio.NewReaderSize(read, 1<<16)) {
			if err == nil && read.over {
				err = coffer.ErrLimit
			}
			var res pipeline.Result
			if err == nil {
				res, err = s.Pipeline.TakeDocument(ctx, c.ask, d, origin, from)
			}
			if err != nil {
				s.stopped(ctx, out, err)
				return
			}
			s.metrics.taken.WithLabelValues(string(res.Status)).Inc()
			s.metrics.sealed.Add(float64(res.Sealed))
			if !out.write(lineOf(&res)) {
				return
			}
		}
	}}, nil
}

// stopped ends a stream of lines that cannot go on: with the problem where nothing was written yet, else with a failed line.
func (s *Server) stopped(ctx context.Context, out *lines, err error) {
	var p *problem
	asProblem(s.fail(ctx, err), &p)
	if !out.begun {
		p.write(out.w)
		return
	}
	out.write(api.Line{Status: string(pipeline.Failed), Reason: p.Code + ": " + p.Detail, Problem: &p.Problem})
	panic(http.ErrAbortHandler)
}

// nameOf is the name of a stream in its Content-Disposition, without folders; "api" when it has none.
func nameOf(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	name := params["filename"]
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if err != nil || name == "" || len(name) > 255 || printable(name) != name {
		return "api"
	}
	return name
}

func lineOf(res *pipeline.Result) api.Line {
	line := api.Line{Status: string(res.Status), Occurrences: res.Occurrences, Sealed: res.Sealed, Reason: res.Reason, Fetched: res.Fetched}
	if res.IsFinding {
		line.Finding = ptr(res.Finding)
		line.Object = &api.LineObject{Bucket: res.Object.Bucket, Key: res.Object.Key, VersionID: res.Object.VersionID}
	} else if res.Object != nil {
		line.About = &api.LineObject{Bucket: res.Object.Bucket, Key: res.Object.Key, VersionID: res.Object.VersionID}
	}
	return line
}

// bounded reads at most a number of bytes and notes whether there were more.
type bounded struct {
	r    io.Reader
	left int64
	over bool
	wake func()
}

func (b *bounded) Read(p []byte) (int, error) {
	b.wake()
	if b.left <= 0 {
		n, err := b.r.Read(p[:min(1, len(p))])
		if n > 0 {
			b.over = true
			return 0, coffer.ErrLimit
		}
		return 0, err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// lines writes an answer of one JSON object per line, each of them flushed.
type lines struct {
	s     *Server
	w     http.ResponseWriter
	ctl   *http.ResponseController
	begun bool
	kind  string
	enc   *json.Encoder
}

func newLines(s *Server, hc huma.Context, kind string) *lines {
	_, w := unwrap(hc)
	l := &lines{s: s, w: w, ctl: http.NewResponseController(w), kind: kind, enc: json.NewEncoder(w)}
	l.enc.SetEscapeHTML(false)
	l.extend()
	return l
}

// extend gives the reader and the writer of a stream another while: what is bounded is a pause, not the whole.
func (l *lines) extend() {
	until := time.Now().Add(time.Minute)
	_ = l.ctl.SetReadDeadline(until)  // an in-process caller has no deadlines
	_ = l.ctl.SetWriteDeadline(until) // likewise
}

// start sends the headers.
func (l *lines) start() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.kind)
		l.w.WriteHeader(http.StatusOK)
	}
}

// write writes one line and reports whether the caller is still there.
func (l *lines) write(v any) bool {
	l.start()
	l.extend()
	return l.enc.Encode(v) == nil && l.ctl.Flush() == nil
}

// raw writes bytes and reports whether the caller is still there.
func (l *lines) raw(text string) bool {
	l.start()
	l.extend()
	_, err := io.Copy(l.w, strings.NewReader(text))
	return err == nil && l.ctl.Flush() == nil
}
