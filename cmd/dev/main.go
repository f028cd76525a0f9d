// Command dev runs all of the product on this machine: make run.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/dev"
)

const description = `Runs PostgreSQL, a broker, the api, the consumer and a demo owner of accounts, until Ctrl-C.

PREFS_* variables that the api and the consumer read count here as well. Exit codes: 0 stopped as asked, 1 failed, 2 wrong flags or variables.`

// version is set by release builds.
var version string

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	cfg, err := config.Parse[dev.Config]("dev", description, args, os.LookupEnv)
	switch {
	case errors.Is(err, config.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "dev:", err)
		return 2
	}
	cfg.Version, cfg.Lookup = telemetry.Version(version), os.LookupEnv
	log := config.Log{Level: cfg.LogLevel, Format: "text"}.NewLogger(os.Stderr)
	if err := dev.Run(ctx, cfg, os.Stdout, log); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		return 1
	}
	return 0
}
