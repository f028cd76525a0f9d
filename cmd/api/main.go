// Command api serves the lists of users over HTTP.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/api"
)

// version is set by release builds.
var version string

func main() {
	os.Exit(command.Service[api.Config, api.Health]{
		Name: "api", Description: "Serves the lists of users over HTTP, and publishes events.", Version: telemetry.Version(version), Run: run,
	}.Main(os.Args[1:], os.LookupEnv))
}

func run(ctx context.Context, cfg api.Config, log *slog.Logger) error {
	cfg.Version = telemetry.Version(version)
	return api.Run(ctx, cfg, log)
}
