// Package command is what the binaries of the product do around their work:
// flags and variables, signals, the log, health, and exit codes.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// Exit codes.
const (
	Done    = 0 // stopped as asked
	Failed  = 1
	Misused = 2 // not begun: a flag or a variable is wrong or missing
)

// Config is what a service can be told; a config.Log embedded in it makes it
// one.
type Config interface {
	NewLogger(w io.Writer, attrs ...slog.Attr) *slog.Logger
}

// Health is the part of a Config that leads to a service while it runs.
type Health interface {
	// HealthAddr is where it says whether it is ready.
	HealthAddr() string
}

// Service is a process that works until it is told to stop.
type Service[C Config, H Health] struct {
	Name        string // as a person types it
	Description string
	Version     string
	Run         func(ctx context.Context, cfg C, log *slog.Logger) error
}

// Main runs the service, or asks a running one for its health if that is the
// first argument, and returns the exit code.
func (s Service[C, H]) Main(args []string, lookup config.Lookup) int {
	ctx, stop := Context()
	defer stop()
	if len(args) > 0 && args[0] == "health" {
		return s.health(ctx, args[1:], lookup)
	}
	cfg, err := config.Parse[C](s.Name, s.Description+"\n\n"+s.Name+" health asks a running one whether it is ready. "+
		"Exit codes: 0 as asked, 1 failed, 2 wrong flags or variables.", args, lookup)
	if err != nil {
		return Exit(s.Name, err, Misused)
	}
	tuneMemory(lookup)
	log := cfg.NewLogger(os.Stdout, slog.String("service", s.Name))
	log.InfoContext(ctx, "starting", slog.String("version", s.Version), slog.Any("config", config.Describe(cfg)))
	if err := s.Run(ctx, cfg, log); err != nil {
		log.ErrorContext(ctx, "failed", slog.Any("error", err))
		return Failed
	}
	log.InfoContext(ctx, "stopped")
	return Done
}

func (s Service[C, H]) health(ctx context.Context, args []string, lookup config.Lookup) int {
	where, err := config.Parse[H](s.Name+" health", "Asks a running "+s.Name+" whether it is ready.", args, lookup)
	if err != nil {
		return Exit(s.Name, err, Misused)
	}
	return Exit(s.Name, telemetry.Probe(ctx, where.HealthAddr()), Failed)
}

// Context ends when the process is told to stop. Told again, the process ends at
// once.
func Context() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Exit tells a person of an error and returns the code, or Done if there is
// none.
func Exit(name string, err error, code int) int {
	if err == nil || errors.Is(err, config.ErrHelp) {
		return Done
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	return code
}
