package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"

	"coffer/access"
	"coffer/identity"
)

// call is one request on its way through the server.
type call struct {
	id    string // of the request
	trace string // of the trace that it is part of, in hex; empty: of none
	local bool   // the operator on this machine, in the process itself
	r     *http.Request

	route   string // id of the route, once it is known
	finding string // id of a finding that exists, for the program's own log
	ask     access.Ask
	asked   bool             // ask is filled in
	session identity.Session // of a browser; zero for who comes otherwise
	attempt string           // names what an acting request changes; empty: it came without a key
	known   bool             // the caller may know that what the body names exists, or it names nothing
	problem string
	passive bool // looks again at who began a stream, which is no use of their credential
	page    bool // a page was asked for: problems are shown as one
}

type callKey struct{}

// of returns the call of a context; never nil.
func of(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// newCall begins a call with an id of its own: what a caller sends as one has no meaning here.
func newCall(r *http.Request) *call {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return &call{id: "req-" + hex.EncodeToString(b[:]), trace: traceOf(r.Header), local: isLocal(r.Context())}
}

// logged is the id under which the request stands in the entries of the audit log, with that of its trace.
func (c *call) logged() string {
	if c.trace == "" {
		return c.id
	}
	return c.id + "." + c.trace
}

// traceOf returns the trace id of a W3C traceparent (https://www.w3.org/TR/trace-context/), or "" when there is none that is valid.
func traceOf(h http.Header) string {
	list := h["Traceparent"]
	if len(list) != 1 {
		return ""
	}
	v, rest, _ := strings.Cut(list[0], "-")
	trace, rest, _ := strings.Cut(rest, "-")
	parent, flags, _ := strings.Cut(rest, "-")
	// Versions to come may append members; the four of version 00 stay where they are.
	if v == "00" && strings.Contains(flags, "-") {
		return ""
	}
	flags, _, _ = strings.Cut(flags, "-")
	if !isHex(v, 2) || v == "ff" || !isHex(trace, 32) || !isHex(parent, 16) || !isHex(flags, 2) ||
		strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	return trace
}

func isHex(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" }

// network returns where the request comes from. Nothing that a proxy says about it is believed.
func network(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}
