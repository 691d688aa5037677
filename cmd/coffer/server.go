package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"coffer"
	"coffer/api"
	"coffer/app"
	"coffer/client"
	"coffer/web"

	"github.com/alecthomas/kong"
)

// here are the commands about this machine: they make a home, look after its files, or serve it. No server does that for somebody else.
var here = []string{"demo", "serve", "worker", "setup", "backup", "restore", "config"}

// nowhere are the commands about the program itself. COFFER_SERVER in the environment is nothing to them.
var nowhere = []string{"version", "completion"}

// ofHome are the flags that choose a home or its parts.
var ofHome = []string{"home", "objects", "originals", "keys", "store"}

// where settles whether the command asks a server or a home, and refuses what makes no sense at a server: to act on a home here while
// somebody believes to act there would be worse than not to act.
func (e *env) where(kctx *kong.Context) error {
	if e.Server == "" {
		if e.Sign && slices.ContainsFunc(kctx.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == "sign" }) {
			return usage("--sign is of requests to a server; name it with --server")
		}
		return nil
	}
	command := strings.Join(slices.DeleteFunc(strings.Fields(kctx.Command()), func(w string) bool { return w[0] == '<' || w[0] == '[' }), " ")
	among := func(list []string) bool {
		return slices.ContainsFunc(list, func(c string) bool { return command == c || strings.HasPrefix(command, c+" ") })
	}
	given := map[string]bool{} // as flags, not by the environment
	for _, p := range kctx.Path {
		if p.Flag != nil {
			given[p.Flag.Name] = true
		}
	}
	switch {
	case among(nowhere) && !given["server"]:
		e.Server = ""
		return nil
	case among(here) || among(nowhere):
		return usage("coffer %s is about this machine; run it where the home is, without --server and COFFER_SERVER", command)
	}
	for _, f := range ofHome {
		if given[f] {
			return usage("--%s is of a home on this machine; a server has its own", f)
		}
	}
	return nil
}

// client returns what every command that is not about this machine alone talks to: the API of the server, or the same API on the home,
// in the process itself and as the operator.
func (e *env) client() (*client.Client, error) {
	if e.asks != nil {
		return e.asks, nil
	}
	if e.Server != "" && e.Sign {
		rt, err := app.Signing(e.ctx, e.Server)
		if err != nil {
			return nil, err
		}
		e.asks, err = client.At(e.Server, "", rt)
		return e.asks, err
	}
	if e.Server != "" {
		token, err := e.token()
		if err != nil {
			return nil, err
		}
		e.asks, err = client.New(e.Server, token)
		return e.asks, err
	}
	a, err := e.open()
	if err != nil {
		return nil, err
	}
	if e.api, err = a.API(web.Config{}); err != nil {
		return nil, err
	}
	e.asks = client.Local(e.api.Local(e.caller))
	return e.asks, nil
}

// maxToken bounds a file with a token.
const maxToken = 64 << 10

// token returns the access token: from the file, else from the environment. There is no flag for it: the list of processes is for everybody.
func (e *env) token() (string, error) {
	if e.TokenFile == "" {
		token := strings.TrimSpace(os.Getenv("COFFER_TOKEN"))
		if token == "" {
			return "", usage("a server wants an access token: --token-file FILE or COFFER_TOKEN; coffer token create makes one, where the server's home is. Or --sign, with AWS credentials, for a server on AWS")
		}
		return token, nil
	}
	b, err := readFile(e.TokenFile, maxToken)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return "", fmt.Errorf("token file: %w: %w", coffer.ErrInvalid, err)
	}
	defer clear(b)
	info, err := os.Stat(e.TokenFile)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("token file: others may read it; chmod go-rwx it: %w", coffer.ErrInvalid)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", fmt.Errorf("token file: it is empty: %w", coffer.ErrInvalid)
	}
	return string(b), nil
}

// named says what it was that a server does not know: its answer repeats nothing of the question. In the process itself the error says so.
func (e *env) named(thing, id string, err error) error {
	switch {
	case e.Server == "" || !errors.Is(err, coffer.ErrNotFound):
		return err
	case id == "":
		return fmt.Errorf("%s: %w", thing, coffer.ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w", thing, id, coffer.ErrNotFound)
}

// text is what an error says: at a server in the words of a home here, so that a script reads the same.
func (e *env) text(err error) string {
	var p *api.Error
	if !errors.As(err, &p) || e.Server == "" && len(p.Problem.Errors) == 0 {
		return err.Error()
	}
	said := strings.TrimSuffix(p.Error(), ".")
	if wrong := p.Problem.Errors; len(wrong) > 0 {
		said = ""
		for i, x := range wrong {
			if i > 0 {
				said += "; "
			}
			said += strings.TrimPrefix(x.Where, "body.") + ": " + x.What
		}
	}
	if first, n := utf8.DecodeRuneInString(said); n < len(said) && !unicode.IsUpper(rune(said[n])) {
		said = string(unicode.ToLower(first)) + said[n:]
	}
	if is := p.Unwrap(); is != nil && !strings.HasSuffix(said, is.Error()) {
		said += ": " + is.Error()
	}
	if p.Problem.Request != "" && code(err) == "internal" {
		said += " (" + p.Problem.Request + ")"
	}
	return strings.Replace(err.Error(), p.Error(), said, 1)
}
