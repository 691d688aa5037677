package main

import (
	"fmt"
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

func (c *completionCmd) Run(e *env) error {
	table := map[string][]string{}
	completions(e.parser.Model.Node, "", table)
	paths := make([]string, 0, len(table))
	for p := range table {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var b strings.Builder
	switch c.Shell {
	case "fish":
		b.WriteString("complete -c coffer -f\n")
		for _, p := range paths {
			cond := "__fish_use_subcommand"
			if p != "" {
				cond = "string match -qr '^coffer " + p + "( |$)' -- (commandline -cp)"
			}
			fmt.Fprintf(&b, "complete -c coffer -n %q -a %q\n", cond, strings.Join(table[p], " "))
		}
	default:
		if c.Shell == "zsh" {
			b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		}
		b.WriteString("_coffer() {\n  local path= word words=\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n  done\n  while :; do\n    case \"$path\" in\n")
		for _, p := range paths {
			fmt.Fprintf(&b, "      %q) words=%q; break ;;\n", p, strings.Join(table[p], " "))
		}
		b.WriteString("      *\\ *) path=\"${path% *}\" ;;\n      *) path= ;;\n    esac\n  done\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _coffer coffer\n")
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}
