package ctl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Which shell: bash, zsh or fish."`
}

// Run prints a script that is made from the very commands of this binary.
func (c *completionCommand) Run(out *output, k *kong.Context) error {
	commands := completions(k.Model.Node, "prefsctl")
	script := bashScript(commands)
	switch c.Shell {
	case "zsh":
		script = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" + script
	case "fish":
		script = fishScript(commands)
	}
	if _, err := fmt.Fprint(out.w, script); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// completion is what may follow the words of a command.
type completion struct {
	path  string // the words, with the program's name in front
	words []word
}

type word struct{ text, help string }

func completions(n *kong.Node, path string) []completion {
	c := completion{path: path}
	var below []completion
	for _, child := range n.Children {
		if child.Hidden {
			continue
		}
		c.words = append(c.words, word{child.Name, child.Help})
		below = append(below, completions(child, path+" "+child.Name)...)
	}
	for _, arg := range n.Positional {
		for _, value := range arg.EnumSlice() {
			c.words = append(c.words, word{value, arg.Help})
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			c.words = append(c.words, word{"--" + f.Name, f.Help})
		}
	}
	return append([]completion{c}, below...)
}

// bashScript finds the command by the words before the cursor, whatever flags
// stand among them.
func bashScript(commands []completion) string {
	var b strings.Builder
	b.WriteString("_prefsctl() {\n  local cur=${COMP_WORDS[COMP_CWORD]} at=prefsctl word\n")
	b.WriteString("  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$at $word\" in\n      ")
	for i, c := range commands[1:] {
		if i > 0 {
			b.WriteString(" | ")
		}
		fmt.Fprintf(&b, "%q", c.path)
	}
	b.WriteString(") at=\"$at $word\" ;;\n    esac\n  done\n  case \"$at\" in\n")
	for _, c := range commands {
		texts := make([]string, len(c.words))
		for i, w := range c.words {
			texts[i] = w.text
		}
		fmt.Fprintf(&b, "    %q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", c.path, strings.Join(texts, " "))
	}
	b.WriteString("  esac\n}\ncomplete -o default -F _prefsctl prefsctl\n")
	return b.String()
}

// fishScript has a line for each word, with its help.
func fishScript(commands []completion) string {
	var b strings.Builder
	b.WriteString("complete -c prefsctl -f\n")
	for _, c := range commands {
		when := fishCondition(c)
		for _, w := range c.words {
			what := "-a " + w.text
			if flag, ok := strings.CutPrefix(w.text, "--"); ok {
				what = "-l " + flag
			}
			fmt.Fprintf(&b, "complete -c prefsctl -n '%s' %s -d '%s'\n", when, what, strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(w.help))
		}
	}
	return b.String()
}

// fishCondition holds when the words of the command have been typed, and none
// of those below it.
func fishCondition(c completion) string {
	words := strings.Fields(c.path)[1:]
	var tests []string
	for _, w := range words {
		tests = append(tests, "__fish_seen_subcommand_from "+w)
	}
	var below []string
	for _, w := range c.words {
		if !strings.HasPrefix(w.text, "--") {
			below = append(below, w.text)
		}
	}
	if len(below) > 0 {
		tests = append(tests, "not __fish_seen_subcommand_from "+strings.Join(slices.Compact(below), " "))
	}
	if len(tests) == 0 {
		return "true"
	}
	return strings.Join(tests, "; and ")
}
