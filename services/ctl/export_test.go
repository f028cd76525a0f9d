package ctl

import (
	"maps"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
)

// Taught are the examples, by command.
func Taught() map[string]string { return maps.Clone(examples) }

// Commands are those that do something, as they are typed.
func Commands(tb testing.TB) (all []string) {
	tb.Helper()
	k, err := kong.New(&grammar{}, kong.Vars{"version": ""})
	require.NoError(tb, err)
	for _, n := range k.Model.Leaves(true) {
		words := []string{}
		for at := n; at.Parent != nil; at = at.Parent {
			words = append([]string{at.Name}, words...)
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

// Parses says what is wrong with a command line, without running it.
func Parses(vars map[string]string, args ...string) error {
	var g grammar
	parser, err := config.New(&g, "prefsctl", "", func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}, kong.Vars{"version": ""}, kong.Resolvers(&environmentSource{}))
	if err == nil {
		_, err = parser.Parse(args)
	}
	return err
}
