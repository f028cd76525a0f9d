// Package config fills one struct per binary from flags and PREFS_* variables,
// keeps secrets out of everything that is printed, and holds the settings that
// more than one binary has; a binary's struct takes them in as fields with an
// embed tag.
package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Prefix starts the name of every variable that the product reads.
const Prefix = "PREFS_"

// FileSuffix marks a variable that names the file in which a secret stands.
const FileSuffix = "_FILE"

// ErrHelp says that the help was printed as asked, and that there is nothing
// else to do.
var ErrHelp = errors.New("help was printed")

// Lookup finds a variable; commands pass os.LookupEnv.
type Lookup func(name string) (string, bool)

// Parse fills a T from command-line arguments, then variables, then the defaults
// of its tags. The variable of --http-addr is PREFS_HTTP_ADDR unless an env tag
// names another; an empty variable counts as absent. Secrets can be read from a
// file that PREFS_..._FILE names. An error says which variable is wrong.
func Parse[T any](name, description string, args []string, lookup Lookup, options ...kong.Option) (T, error) {
	var cfg, zero T
	parser, err := New(&cfg, name, description, lookup, options...)
	if err != nil {
		return zero, err
	}
	if _, err := parser.Parse(args); err != nil {
		return zero, err
	}
	return cfg, nil
}

// ParseFile reads the file that a flag names. An error says which flag it was.
func ParseFile[T any](flag, path string, parse func([]byte) (T, error)) (T, error) {
	var zero T
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return zero, fmt.Errorf("%s: %w", flag, err)
	}
	parsed, err := parse(text)
	if err != nil {
		return zero, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return parsed, nil
}

// Parser is kong with the product's conventions, for binaries with commands.
type Parser struct{ kong *kong.Kong }

// New prepares to fill target, a pointer to a struct with kong's tags.
func New(target any, name, description string, lookup Lookup, options ...kong.Option) (*Parser, error) {
	all := []kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.ValueFormatter(helpWithVariable),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Exit(func(int) { panic(exited{}) }),
		kong.PostBuild(forgetEnvironment),
		kong.Resolvers(environment(lookup)),
	}
	k, err := kong.New(target, append(all, options...)...)
	if err != nil {
		return nil, fmt.Errorf("describe the configuration of %s: %w", name, err)
	}
	return &Parser{kong: k}, nil
}

// exited carries kong's wish to exit out of its parser: only main may exit.
type exited struct{}

// Parse fills the target. The context runs the command that was chosen.
func (p *Parser) Parse(args []string) (ctx *kong.Context, err error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case exited:
			ctx, err = nil, ErrHelp
		default:
			panic(reason)
		}
	}()
	ctx, err = p.kong.Parse(args)
	if err != nil {
		return nil, p.explain(err)
	}
	return ctx, nil
}

// explain names the variables of the flags that an error is about.
func (p *Parser) explain(err error) error {
	var missing, mentioned []string
	_ = kong.Visit(p.kong.Model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok && mentions(err.Error(), f.Name) {
			mentioned = append(mentioned, variable(f.Value))
			if f.Required && !f.Set {
				missing = append(missing, spoken(f))
			}
		}
		return next(nil)
	})
	slices.Sort(missing)
	missing = slices.Compact(missing) // several commands may have the flag
	mentioned = slices.DeleteFunc(mentioned, func(name string) bool { return name == "" })
	switch {
	case len(missing) > 0 && strings.Contains(err.Error(), "missing flags"):
		return fmt.Errorf("not set: %s", strings.Join(missing, ", "))
	case len(mentioned) > 0:
		slices.Sort(mentioned)
		return fmt.Errorf("%s: %w", strings.Join(slices.Compact(mentioned), ", "), err)
	default:
		return err
	}
}

// spoken is how a person reads a flag: with its variable, if it has one.
func spoken(f *kong.Flag) string {
	if name := variable(f.Value); name != "" {
		return fmt.Sprintf("%s (--%s)", name, f.Name)
	}
	return "--" + f.Name
}

// mentions reports whether the text has the flag, and not just one that starts
// with the same letters.
func mentions(text, flag string) bool {
	for {
		_, rest, found := strings.Cut(text, "--"+flag)
		if !found {
			return false
		}
		if strings.TrimLeft(rest[:min(1, len(rest))], "-abcdefghijklmnopqrstuvwxyz0123456789") != "" || rest == "" {
			return true
		}
		text = rest
	}
}

// variable is the environment variable of a flag, or nothing.
func variable(v *kong.Value) string {
	switch {
	case v.Name == "help":
		return ""
	case v.Tag.Has("env"):
		return strings.TrimPrefix(v.Tag.Get("env"), "-")
	default:
		return Prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(v.Name))
	}
}

var secret = reflect.TypeFor[Secret]()

func helpWithVariable(v *kong.Value) string {
	help := strings.TrimSuffix(v.Help, ".")
	switch name := variable(v); {
	case v.Flag == nil || name == "":
		return v.Help
	case v.Target.Type() == secret:
		return fmt.Sprintf("%s ($%s, or a file named by $%s).", help, name, name+FileSuffix)
	default:
		return fmt.Sprintf("%s ($%s).", help, name)
	}
}

// forgetEnvironment keeps kong from reading variables of env tags by itself: all
// of them come through lookup.
func forgetEnvironment(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			f.Envs, f.Tag.Envs = nil, nil
		}
		return next(nil)
	})
}

// environment resolves flags that the command line leaves open.
func environment(lookup Lookup) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		name := variable(flag.Value)
		if name == "" {
			return nil, nil
		}
		value, _ := lookup(name)
		if flag.Target.Type() == secret {
			var err error
			if value, err = orFile(lookup, name, value); err != nil {
				return nil, err
			}
		}
		if value == "" {
			return nil, nil
		}
		return value, nil
	})
}

// orFile reads a secret from its file if there is one.
func orFile(lookup Lookup, name, value string) (string, error) {
	path, _ := lookup(name + FileSuffix)
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("%s and %s are both set", name, name+FileSuffix)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("%s: %w", name+FileSuffix, err)
	}
	value = strings.TrimRight(string(content), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s: %s is empty", name+FileSuffix, path)
	}
	return value, nil
}
