// Command accountdemo plays the service that owns accounts.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/accountdemo"
)

const description = `Plays the service that owns accounts, and publishes its events.

accountdemo health asks a running one whether it is ready. Exit codes: 0 as asked, 1 failed, 2 wrong flags or variables.`

// version is set by release builds.
var version string

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if len(args) > 0 && args[0] == "health" {
		return health(ctx, args[1:])
	}
	cfg, err := config.Parse[accountdemo.Config]("accountdemo", description, args, os.LookupEnv)
	if err != nil {
		return said(err, 2)
	}
	log := cfg.Log.NewLogger(os.Stdout, slog.String("service", "accountdemo"))
	log.InfoContext(ctx, "starting", slog.String("version", telemetry.Version(version)), slog.Any("config", config.Describe(cfg)))
	if err := accountdemo.Run(ctx, cfg, log); err != nil {
		log.ErrorContext(ctx, "failed", slog.Any("error", err))
		return 1
	}
	log.InfoContext(ctx, "stopped")
	return 0
}

func health(ctx context.Context, args []string) int {
	cfg, err := config.Parse[struct {
		Addr string `name:"accounts-addr" default:"127.0.0.1:8081" help:"Where it serves."`
	}]("accountdemo health", "Asks a running demo whether it is ready.", args, os.LookupEnv)
	if err != nil {
		return said(err, 2)
	}
	return said(telemetry.Probe(ctx, cfg.Addr), 1)
}

// said prints an error for a person and returns the exit code.
func said(err error, code int) int {
	if err == nil || errors.Is(err, config.ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "accountdemo:", err)
	return code
}
