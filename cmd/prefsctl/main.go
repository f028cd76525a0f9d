// Command prefsctl looks after a deployment: migrations, topics, tokens, the
// outbox.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/ctl"
)

// version is set by release builds.
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	return ctl.Run(ctx, ctl.Process{
		Args: os.Args[1:], Lookup: os.LookupEnv, Version: telemetry.Version(version), Out: os.Stdout, Err: os.Stderr,
	})
}
