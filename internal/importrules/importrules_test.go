// Package importrules keeps the shape of the code: which package may import which, each rule with its reason. A rule that stands in
// the way is changed here, on purpose and in view, or not at all.
package importrules

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// pkg is what the go command says about a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

const module = "coffer"

// is reports whether p is one of the folders, or below one that ends with "/...".
func is(p string, folders ...string) bool {
	for _, f := range folders {
		if below, ok := strings.CutSuffix(f, "/..."); ok {
			if p == below || strings.HasPrefix(p, below+"/") {
				return true
			}
		} else if p == f {
			return true
		}
	}
	return false
}

func in(folders ...string) func(string) bool {
	return func(p string) bool { return is(p, folders...) }
}

func not(f func(string) bool) func(string) bool {
	return func(p string) bool { return !f(p) }
}

func both(a, b func(string) bool) func(string) bool {
	return func(p string) bool { return a(p) && b(p) }
}

func prefix(s string) func(string) bool {
	return func(p string) bool { return strings.HasPrefix(p, s) }
}

func everybody(string) bool { return true }

// adapters are what stands behind the contracts.
var adapters = in("envelope/keyfile", "envelope/kms", "envelope/mem", "store/sqlite", "store/dynamo", "store/mem", "object/dir", "object/s3", "object/mem", "macie/live")

// stages are the packages of the flow that formats must not know.
var stages = in("macie/...", "envelope/...", "store/...", "object/...", "pipeline", "vault", "triage", "remedy", "grant", "access", "identity",
	"audit", "job", "notify", "web", "client", "app", "demo", "check", "cmd/...")

// rules: nobody among "who" imports anything among "what". Paths are relative to the module; those of others are whole.
var rules = []struct {
	why       string
	who, what func(string) bool
	tests     bool // also for the tests of the packages
}{
	{
		why: "everything is built in one place: a domain package that knows an adapter works with that one alone",
		who: not(in("app", "cmd/...", "envelope/keyfile", "envelope/kms", "envelope/mem", "store/sqlite", "store/dynamo", "store/mem",
			"object/dir", "object/s3", "object/mem", "macie/live")),
		what: adapters,
	},
	{
		why: "an adapter knows its contract and no other adapter: one can be replaced without the others",
		who: adapters, what: adapters,
	},
	{
		why:  "what the cloud sees, who pays for it and what it costs in start-up time is decided at the edges",
		who:  not(in("object/s3", "envelope/kms", "store/dynamo", "macie/live", "notify", "app", "cmd/coffer-lambda", "internal/lambdaharness")),
		what: prefix("github.com/aws/"),
	},
	{
		why: "a handler reaches values and objects only through the guarded packages",
		who: in("web/..."), what: in("store/...", "envelope/...", "object/..."), tests: true,
	},
	{
		why: "a format is a document and nothing else, so that it can be fuzzed, replaced and reused alone",
		who: in("format/..."), what: stages, tests: true,
	},
	{
		why: "detectors judge bytes, whatever document they stand in",
		who: in("format/detect"), what: in("format", "format/..."), tests: true,
	},
	{
		why: "parsing is pure: what an event says is decided before anything is read for it",
		who: in("macie"), what: both(stages, not(in("macie/..."))), tests: true,
	},
	{
		why: "a decision rests on what is passed in, so that the same question gets the same answer",
		who: in("access"), what: both(in("macie/...", "format/...", "envelope/...", "store/...", "object/...", "audit", "triage", "time/tzdata", "net/..."),
			not(in("net/netip"))), tests: true, // an address is a number
	},
	{
		why: "the edges depend on the core, never the reverse",
		who: not(in("web", "app", "cmd/...", "demo")), what: in("web", "app", "cmd/...", "demo"),
	},
	{
		why: "a client is linked into other people's programs: it brings the words of the API and nothing of the server",
		who: in("client", "api"), what: stages, tests: true,
	},
	{
		why: "the envelope knows no store and no caller: what seals must not decide who may open",
		who: in("envelope/..."), what: in("store/...", "object/...", "access", "audit", "vault", "remedy", "pipeline", "triage"), tests: true,
	},
	{
		why: "a store and an object store keep bytes: they know nothing of findings, keys or callers",
		who: in("store/...", "object/..."), what: in("macie/...", "envelope/...", "format/...", "access", "audit", "vault", "remedy", "pipeline", "triage"), tests: true,
	},
	{
		why: "sealed values are opened by the vault alone",
		who: not(in("envelope/...", "vault", "app")), what: in("envelope"),
	},
	{
		why: "faults are for tests and for the adapters in memory, which tests alone use",
		who: not(in("envelope/mem", "store/mem", "object/mem", "object/objecttest", "store/storetest", "envelope/envelopetest",
			"internal/awsfake/...")), what: in("internal/fault"),
	},
	{
		why: "the test kits of contracts are called by tests",
		who: everybody, what: in("envelope/envelopetest", "store/storetest", "object/objecttest", "format/formattest", "audit/audittest", "job/jobtest", "triage/triagetest"),
	},
	{
		why: "what plays the part of AWS is called by tests",
		who: not(in("internal/awsfake/...")), what: in("internal/awsfake/...", "internal/lookalike", "internal/lambdaharness"),
	},
	{
		// Synthetic documents and the spread of time stamps within a millisecond need no secret.
		why: "math/rand is predictable; everything random here is a key, a nonce or an id that nobody may guess",
		who: not(in("demo", "object/dir", "format/formattest", "store/storetest")), what: in("math/rand", "math/rand/v2"),
	},
	{
		why: "names of files inside archives and buckets come from strangers; unsafe and cgo would take the memory safety that holds them",
		who: not(in("object/dir")), what: in("unsafe", "C"), tests: true,
	},
	{
		why: "nothing on one machine opens a connection: the network belongs to servers and cloud adapters",
		who: not(in("web", "client", "identity", "identity/identitytest", "notify", "app", "cmd/...", "object/s3", "envelope/kms", "store/dynamo", "macie/live",
			"internal/awsfake/...", "internal/awsmeter", "internal/lookalike", "internal/lambdaharness")),
		what: in("net", "net/http"),
	},
}

func load(t *testing.T) []pkg {
	t.Helper()
	// Every system's files together would need one run each; the packages' imports of Coffer do not differ between them.
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = path.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// relative returns the path inside the module; "" is the root package, and paths of others stay whole.
func relative(p string) string {
	if p == module {
		return ""
	}
	return strings.TrimPrefix(p, module+"/")
}

// breaks returns the imports of p that the rules forbid, each with the reason.
func breaks(p pkg) (out []string) {
	who := relative(p.ImportPath)
	for _, r := range rules {
		if !r.who(who) {
			continue
		}
		imports := p.Imports
		if r.tests {
			imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		}
		for _, i := range imports {
			if what := relative(i); what != who && r.what(what) {
				out = append(out, who+" imports "+what+": "+r.why)
			}
		}
	}
	return out
}

func TestImports(t *testing.T) {
	all := load(t)
	if len(all) < 20 {
		t.Fatalf("%d packages: the list is not whole", len(all))
	}
	for _, p := range all {
		for _, b := range breaks(p) {
			t.Error(b)
		}
	}
}

// TestRulesBite: every rule refuses something, so none is a misspelling.
func TestRulesBite(t *testing.T) {
	for i, bad := range []pkg{
		{ImportPath: "coffer/vault", Imports: []string{"coffer/store/sqlite"}},
		{ImportPath: "coffer/store/sqlite", Imports: []string{"coffer/object/dir"}},
		{ImportPath: "coffer/vault", Imports: []string{"github.com/aws/aws-sdk-go-v2/service/s3"}},
		{ImportPath: "coffer/web", TestImports: []string{"coffer/store"}},
		{ImportPath: "coffer/format/text", XTestImports: []string{"coffer/pipeline"}},
		{ImportPath: "coffer/format/detect", Imports: []string{"coffer/format"}},
		{ImportPath: "coffer/macie", Imports: []string{"coffer/object"}},
		{ImportPath: "coffer/access", Imports: []string{"coffer/store"}},
		{ImportPath: "coffer/remedy", Imports: []string{"coffer/app"}},
		{ImportPath: "coffer/client", Imports: []string{"coffer/remedy"}},
		{ImportPath: "coffer/envelope", Imports: []string{"coffer/access"}},
		{ImportPath: "coffer/store", Imports: []string{"coffer/envelope"}},
		{ImportPath: "coffer/remedy", Imports: []string{"coffer/envelope"}},
		{ImportPath: "coffer/vault", Imports: []string{"coffer/internal/fault"}},
		{ImportPath: "coffer/app", Imports: []string{"coffer/store/storetest"}},
		{ImportPath: "coffer/app", Imports: []string{"coffer/internal/awsfake/s3fake"}},
		{ImportPath: "coffer/vault", Imports: []string{"math/rand/v2"}},
		{ImportPath: "coffer/format/jsondoc", Imports: []string{"unsafe"}},
		{ImportPath: "coffer/pipeline", Imports: []string{"net/http"}},
	} {
		if !slices.ContainsFunc(breaks(bad), func(b string) bool { return strings.HasSuffix(b, rules[i].why) }) {
			t.Errorf("rule %d lets %s import %v: %s", i, bad.ImportPath, slices.Concat(bad.Imports, bad.TestImports, bad.XTestImports), rules[i].why)
		}
	}
}
