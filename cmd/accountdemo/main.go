// Command accountdemo plays the service that owns accounts.
package main

import (
	"os"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/accountdemo"
)

// version is set by release builds.
var version string

func main() {
	os.Exit(command.Service[accountdemo.Config, accountdemo.Health]{
		Name: "accountdemo", Description: "Plays the service that owns accounts, and publishes its events.",
		Version: telemetry.Version(version), Run: accountdemo.Run,
	}.Main(os.Args[1:], os.LookupEnv))
}
