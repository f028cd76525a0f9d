package ctl

import (
	"strings"

	"github.com/alecthomas/kong"
)

// environmentSource resolves addresses from the development environment that
// --dir names. It wins over variables: who types --dir means that one.
type environmentSource struct {
	err error // why the environment could not be read; better than the error that follows from it
}

// Validate implements kong.Resolver.
func (s *environmentSource) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (s *environmentSource) Resolve(c *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if dir := chosen(c, "dir"); dir != "" {
		if value := s.address(dir, flag.Name); value != "" {
			return value, nil
		}
	}
	return nil, nil
}

func (s *environmentSource) address(dir, flag string) string {
	var pick func(Environment) string
	switch flag {
	case "database-url":
		pick = func(e Environment) string { return e.DatabaseURL }
	case "directory-url":
		pick = func(e Environment) string { return e.AccountsURL + "/accounts" }
	case "api-url":
		pick = func(e Environment) string { return e.APIURL }
	case "api-token":
		pick = func(e Environment) string { return e.Tokens.System }
	case "kafka-brokers":
		pick = func(e Environment) string { return strings.Join(e.Brokers, ",") }
	default:
		return ""
	}
	env, err := ReadEnvironment(dir)
	if err != nil {
		s.err = err
		return ""
	}
	return pick(env)
}

// chosen returns the value of a flag on the command line.
func chosen(c *kong.Context, name string) string {
	for _, p := range c.Path {
		if p.Flag != nil && p.Flag.Name == name {
			return c.Value(p).String()
		}
	}
	return ""
}
