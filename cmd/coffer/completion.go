package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the long help of the command.
func (completionCmd) Help() string {
	return "For bash: source <(coffer completion bash). For zsh: source <(coffer completion zsh). For fish: coffer completion fish | source."
}

// completions lists, for each command path, the words that can follow it.
func completions(n *kong.Node, path string, to map[string][]string) {
	var words []string
	for _, c := range n.Children {
		if c.Hidden {
			continue
		}
		words = append(words, c.Name)
		completions(c, strings.TrimSpace(path+" "+c.Name), to)
	}
	for _, p := range n.Positional {
		if p.Enum != "" {
			for _, v := range strings.Split(p.Enum, ",") {
				if v != "" {
					words = append(words, v)
				}
			}
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			words = append(words, "--"+f.Name)
		}
	}
	to[path] = words
}

// takers collects the flags that take a value: the word behind one is no command.
func takers(n *kong.Node, to map[string]bool) {
	for _, f := range n.Flags {
		if !f.IsBool() && !f.IsCounter() {
			to["--"+f.Name] = true
		}
	}
	for _, c := range n.Children {
		takers(c, to)
	}
}

func (c *completionCmd) Run(e *env) error {
	table, values := map[string][]string{}, map[string]bool{}
	completions(e.parser.Model.Node, "", table)
	takers(e.parser.Model.Node, values)
	paths, taking := slices.Sorted(maps.Keys(table)), strings.Join(slices.Sorted(maps.Keys(values)), "|")
	var b strings.Builder
	switch c.Shell {
	case "fish":
		fmt.Fprintf(&b, fishPath, strings.ReplaceAll(taking, "|", " "), "'"+strings.Join(paths[1:], "' '")+"'")
		for _, p := range paths {
			fmt.Fprintf(&b, "complete -c coffer -n %q -a %q\n", "test (__coffer_path) = '"+p+"'", strings.Join(table[p], " "))
		}
	default:
		if c.Shell == "zsh" {
			b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		}
		fmt.Fprintf(&b, bashHead, taking)
		for _, p := range paths {
			fmt.Fprintf(&b, "      %q) words=%q; break ;;\n", p, strings.Join(table[p], " "))
		}
		b.WriteString(bashTail)
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

// The shells' parts find the longest command path in the words up to the cursor. bash splits a word at "=" and ":".
const (
	bashHead = `_coffer() {
  local path= word words= value=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$value$word" in
      [=:]|=[=:]) value== ;;
      =*) value= ;;
      %s) value== ;;
      -*) ;;
      *) path="${path:+$path }$word" ;;
    esac
  done
  while :; do
    case "$path" in
`
	bashTail = `      *\ *) path="${path% *}" ;;
      *) path= ;;
    esac
  done
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _coffer coffer
`
	fishPath = `function __coffer_path
  set -l taking %s
  set -l known %s
  set -l path
  set -l value 0
  for word in (commandline -opc)[2..-1]
    if test $value = 1
      set value 0
    else if contains -- $word $taking
      set value 1
    else if not string match -q -- '-*' $word
      set -l longer (string join ' ' $path $word)
      contains -- $longer $known; or break
      set path $longer
    end
  end
  echo "$path"
end
complete -c coffer -f
`
)
