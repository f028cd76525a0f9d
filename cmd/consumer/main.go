// Command consumer follows the events of owners and keeps lists in step.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/consumer"
)

// version is set by release builds.
var version string

func main() {
	os.Exit(command.Service[consumer.Config, consumer.Health]{
		Name: "consumer", Description: "Takes what owners have deleted out of every list, and publishes events.", Version: telemetry.Version(version), Run: run,
	}.Main(os.Args[1:], os.LookupEnv))
}

func run(ctx context.Context, cfg consumer.Config, log *slog.Logger) error {
	cfg.Version = telemetry.Version(version)
	return consumer.Run(ctx, cfg, log)
}
