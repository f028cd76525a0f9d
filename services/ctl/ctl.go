// Package ctl is what prefsctl does: the work of operators on a deployment, one
// command each. Results go to the standard output, as a table or as JSON,
// everything else to the standard error.
package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/prefsd/prefsd/pkg/config"
)

// Exit codes of prefsctl.
const (
	Done    = 0 // done, and what was looked at is well
	Failed  = 1 // not done
	Misused = 2 // not begun: a flag or a variable is wrong or missing
	Amiss   = 3 // done, and what was looked at is not well
)

// errAmiss ends a command that has shown what is not well.
var errAmiss = errors.New("not all is well")

const description = `Looks after a deployment of prefsd.

Addresses come from flags, from PREFS_* variables, or with --dir from a running development environment.

Exit codes: 0 done and all is well, 1 failed, 2 wrong flags or variables, 3 done but something is not well
(a migration is pending, a topic is missing or differs, an event is in quarantine, a dead letter is open, an
operation failed).`

// Process is what a command may use of the process that it runs in.
type Process struct {
	Args    []string // without the name of the program
	Lookup  config.Lookup
	Version string
	Out     io.Writer
	Err     io.Writer
}

// grammar is every command with its flags.
type grammar struct {
	Dir     string           `name:"dir" env:"-" placeholder:"DIR" help:"Take addresses from the development environment that runs in DIR (make run: .dev)."`
	JSON    bool             `name:"json" env:"-" help:"Print JSON instead of tables."`
	Version kong.VersionFlag `name:"version" env:"-" help:"Print the version and end."`

	Migrate   migrateCommands  `cmd:"" help:"Move the schema of the database."`
	Token     tokenCommand     `cmd:"" help:"Sign a token with the development key; the token alone goes to the standard output."`
	Topics    topicsCommands   `cmd:"" help:"Look after the topics."`
	Outbox    outboxCommands   `cmd:"" help:"Look after the delivery of events."`
	Reconcile reconcileCommand `cmd:"" help:"Compare lists with what the owner of accounts knows; exit code 3 if nothing could be believed."`
	Dlq       dlqCommands      `cmd:"" name:"dlq" help:"Look after dead letters: events that could not be processed."`

	Doctor     doctorCommand      `cmd:"" help:"Look at everything that a deployment stands on, and say what to do about what is wrong; exit code 3 if a check fails."`
	Completion completionCommand  `cmd:"" help:"Print a script that completes commands and flags in a shell: eval \"$(prefsctl completion bash)\"."`
	Verify     verifyCommand      `cmd:"" help:"Check the promises of the product against the database and the topics; exit code 3 if one is broken. It changes nothing."`
	Operations operationsCommands `cmd:"" help:"Look after long work: cleans, and what takes them back."`
}

// Run does what the arguments ask for and returns the exit code.
func Run(ctx context.Context, p Process) int {
	var g grammar
	source := &environmentSource{}
	parser, err := config.New(&g, "prefsctl", description, p.Lookup,
		kong.Resolvers(source), kong.Writers(p.Out, p.Err), kong.Vars{"version": p.Version}, kong.PostBuild(teach))
	if err != nil {
		return p.fail(Failed, err)
	}
	command, err := parser.Parse(p.Args)
	switch {
	case errors.Is(err, config.ErrHelp):
		return Done
	case source.err != nil:
		return p.fail(Misused, source.err)
	case err != nil:
		return p.fail(Misused, fmt.Errorf("%w\nprefsctl --help lists commands and flags; --dir .dev takes addresses from a running make run", err))
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(&output{w: p.Out, errors: p.Err, json: g.JSON}, &g)
	switch {
	case errors.Is(err, errAmiss):
		return Amiss
	case err != nil:
		return p.fail(Failed, err)
	}
	return Done
}

func (p Process) fail(code int, err error) int {
	_, _ = fmt.Fprintln(p.Err, "prefsctl:", err) // there is nowhere left to report to
	return code
}
