// Command prefsctl looks after a deployment: migrations, topics, tokens, the
// outbox.
package main

import (
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/ctl"
)

// version is set by release builds.
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := command.Context()
	defer stop()
	return ctl.Run(ctx, ctl.Process{
		Args: os.Args[1:], Lookup: os.LookupEnv, Version: telemetry.Version(version), Out: os.Stdout, Err: os.Stderr,
	})
}
