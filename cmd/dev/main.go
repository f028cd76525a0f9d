// Command dev runs all of the product on this machine: make run.
package main

import (
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/dev"
)

const description = `Runs PostgreSQL, a broker, the api, the consumer, a demo owner of accounts and the pages for people, until Ctrl-C.

PREFS_* variables that the api and the consumer read count here as well. Exit codes: 0 stopped as asked, 1 failed, 2 wrong flags or variables.`

// version is set by release builds.
var version string

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := command.Context()
	defer stop()
	cfg, err := config.Parse[dev.Config]("dev", description, args, os.LookupEnv)
	if err != nil {
		return command.Exit("dev", err, command.Misused)
	}
	cfg.Version, cfg.Lookup = telemetry.Version(version), os.LookupEnv
	log := config.Log{Level: cfg.LogLevel, Format: "text"}.NewLogger(os.Stderr)
	return command.Exit("dev", dev.Run(ctx, cfg, os.Stdout, log), command.Failed)
}
