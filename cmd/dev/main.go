// Command dev runs all of the product on this machine: make run.
package main

import (
	"context"
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/dev"
)

const description = `Runs PostgreSQL, a broker, the api, the consumer, a demo owner of accounts and the pages for people, until Ctrl-C.

dev broker stop and dev broker start, in another terminal, take the broker away and bring it back, with all that it holds: saves go on without it.

PREFS_* variables that the api and the consumer read count here as well. Exit codes: 0 stopped as asked, 1 failed, 2 wrong flags or variables.`

// version is set by release builds.
var version string

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := command.Context()
	defer stop()
	if len(args) > 0 && args[0] == "broker" {
		return broker(ctx, args[1:])
	}
	cfg, err := config.Parse[dev.Config]("dev", description, args, os.LookupEnv)
	if err != nil {
		return command.Exit("dev", err, command.Misused)
	}
	cfg.Version, cfg.Lookup = telemetry.Version(version), os.LookupEnv
	log := config.Log{Level: cfg.LogLevel, Format: "text"}.NewLogger(os.Stderr)
	return command.Exit("dev", dev.Run(ctx, cfg, os.Stdout, log), command.Failed)
}

// broker speaks to an environment that runs in another terminal.
func broker(ctx context.Context, args []string) int {
	const name, description = "dev broker", "Stops or starts the broker of an environment that runs. Its address, topics and records stay."
	cfg, err := config.Parse[dev.BrokerConfig](name, description, args, os.LookupEnv)
	if err != nil {
		return command.Exit(name, err, command.Misused)
	}
	return command.Exit(name, dev.Broker(ctx, cfg, os.Stdout), command.Failed)
}
