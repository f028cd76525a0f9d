// Command api serves the lists of users over HTTP.
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
	"github.com/prefsd/prefsd/services/api"
)

const description = `Serves the lists of users over HTTP, and publishes events.

api health asks a running one whether it is ready. Exit codes: 0 as asked, 1 failed, 2 wrong flags or variables.`

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
	cfg, err := config.Parse[api.Config]("api", description, args, os.LookupEnv)
	if err != nil {
		return said(err, 2)
	}
	cfg.Version = telemetry.Version(version)
	log := cfg.Log.NewLogger(os.Stdout, slog.String("service", "api"))
	log.InfoContext(ctx, "starting", slog.String("version", cfg.Version), slog.Any("config", config.Describe(cfg)))
	if err := api.Run(ctx, cfg, log); err != nil {
		log.ErrorContext(ctx, "failed", slog.Any("error", err))
		return 1
	}
	log.InfoContext(ctx, "stopped")
	return 0
}

func health(ctx context.Context, args []string) int {
	cfg, err := config.Parse[struct {
		AdminAddr string `name:"admin-addr" default:"127.0.0.1:9090" help:"Where its health is."`
	}]("api health", "Asks a running api whether it is ready.", args, os.LookupEnv)
	if err != nil {
		return said(err, 2)
	}
	return said(telemetry.Probe(ctx, cfg.AdminAddr), 1)
}

// said prints an error for a person and returns the exit code.
func said(err error, code int) int {
	if err == nil || errors.Is(err, config.ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "api:", err)
	return code
}
