package consumer_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// run starts a runner; stop ends it and waits.
func (h *house) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	runner := operations.NewRunner(operations.Options{
		Store: h.store, Owner: "runner-" + t.Name(), Log: slog.New(slog.DiscardHandler),
		Works: map[preferences.OperationKind]operations.Work{ //nolint:exhaustive // there is no owner to ask
			preferences.KindClean: h.prefs, preferences.KindBulkClean: h.prefs,
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

// await waits until the query returns a number that is not zero.
func (h *house) await(t *testing.T, query string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		return h.admin.QueryRowContext(t.Context(), query).Scan(&n) == nil && n > 0
	}, 20*time.Second, 10*time.Millisecond, query)
}
