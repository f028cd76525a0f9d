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
	dir := chosen(c, "dir")
	if dir == "" || flag.Name != "database-url" && flag.Name != "kafka-brokers" {
		return nil, nil
	}
	var env Environment
	if env, s.err = ReadEnvironment(dir); s.err != nil {
		return nil, nil
	}
	if flag.Name == "database-url" {
		return env.DatabaseURL, nil
	}
	return strings.Join(env.Brokers, ","), nil
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
