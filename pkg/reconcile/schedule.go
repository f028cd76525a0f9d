package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// Calendar is the port to the work that begins by the clock.
type Calendar interface {
	// Now is the time by which what has begun is remembered.
	Now(ctx context.Context) (time.Time, error)
	// Tick begins an operation of the kind if nobody has since it was due.
	Tick(ctx context.Context, name string, due time.Time, kind preferences.OperationKind, request json.RawMessage) (begun bool, err error)
}

// Schedule begins operations of a kind at the times of a cron expression. Every
// replica runs it; one of them gets each tick.
type Schedule struct {
	Kind     preferences.OperationKind
	Calendar Calendar
	Log      *slog.Logger
	Begun    func() // called when this process has begun one
	times    cron.Schedule
}

const (
	// How often it is looked at, so that a clock that is set, or a database that
	// was away, delays a tick by no more.
	lookEvery = 20 * time.Second

	// How long ago a tick may have been due that nobody was there for.
	longestGap = 48 * time.Hour
)

// ParseSchedule reads a cron expression of five fields, or a word like @daily.
func ParseSchedule(expression string) (*Schedule, error) {
	times, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("%q is no cron expression of five fields, such as 17 3 * * *: %w", expression, err)
	}
	return &Schedule{times: times, Begun: func() {}}, nil
}

// Due is the last time at or before now at which the schedule wanted to begin;
// zero if that is too long ago.
func (s *Schedule) Due(now time.Time) (due time.Time) {
	for t := s.times.Next(now.Add(-longestGap)); !t.IsZero() && !t.After(now); t = s.times.Next(t) {
		due = t
	}
	return due
}

// Run works until ctx ends.
func (s *Schedule) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look goes by the calendar's clock: a replica whose own is ahead would begin
// too early, and keep the others from beginning until then.
func (s *Schedule) look(ctx context.Context) {
	var due time.Time
	var begun bool
	now, err := s.Calendar.Now(ctx)
	if err == nil {
		due = s.Due(now)
	}
	if !due.IsZero() {
		begun, err = s.Calendar.Tick(ctx, string(s.Kind), due, s.Kind, json.RawMessage(`{}`))
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.Log.WarnContext(ctx, "schedule cannot be looked at", slog.String("kind", string(s.Kind)), slog.Any("error", err))
	case begun:
		s.Log.InfoContext(ctx, "scheduled operation begins", slog.String("kind", string(s.Kind)), slog.Time("due", due))
		s.Begun()
	}
}
