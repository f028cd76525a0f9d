package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/prefsd/prefsd/pkg/status"
)

// LagStore is where the lag of a consumer is written down, for whoever cannot
// ask the process itself.
type LagStore interface {
	SaveLags(ctx context.Context, group, owner string, lags []status.Lag) error
}

// Diary writes down every now and then how far behind this process is.
type Diary struct {
	Store LagStore
	Group string
	Owner string // names this process
	Lags  func() []status.Lag
	Log   *slog.Logger
	Every time.Duration

	away bool // the last entry could not be written
}

// Run writes until ctx ends. An entry that cannot be written stops nothing: the
// last one grows old, and readers see that.
func (d *Diary) Run(ctx context.Context) error {
	ticker := time.NewTicker(d.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		d.write(ctx)
	}
}

func (d *Diary) write(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, d.Every)
	defer cancel()
	err := d.Store.SaveLags(bounded, d.Group, d.Owner, d.Lags())
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !d.away:
		d.Log.WarnContext(ctx, "lag cannot be written down", slog.Any("error", err))
	case err == nil && d.away:
		d.Log.InfoContext(ctx, "lag can be written down again")
	}
	d.away = err != nil
}
